//! Characters that a server has cut in two.
//!
//! JSON writes a character beyond the first 65,536 as two escapes (`\ud83e\udd80`). Servers that
//! cut an answer by UTF-16 units send one half in each frame, and no JSON parser takes a half.

/// Moves a first half from the end of a text to the beginning of the next.
#[derive(Debug, Default)]
pub(super) struct Halves {
    first: Option<String>,
}

impl Halves {
    /// The frame with whole characters only; none if there is nothing to mend.
    pub(super) fn mend(&mut self, frame: &str) -> Option<String> {
        if !frame.contains("\\ud") && !frame.contains("\\uD") {
            return None;
        }
        let mut out = String::with_capacity(frame.len() + 6);
        let mut rest = frame;
        while let Some(at) = rest.find('\\') {
            let (before, escape) = rest.split_at(at);
            out.push_str(before);
            let length = match (half(escape), escape.get(6..).and_then(half)) {
                (Some(Half::First), Some(Half::Second)) => {
                    out.push_str(escape.get(..12)?);
                    12
                }
                (Some(Half::First), _) => {
                    self.first = escape.get(..6).map(str::to_owned);
                    6
                }
                (Some(Half::Second), _) => {
                    match self.first.take() {
                        Some(first) => out.extend([first.as_str(), escape.get(..6)?]),
                        None => out.push_str("\\ufffd"),
                    }
                    6
                }
                // Any other escape: what follows the backslash is not the beginning of one.
                (None, _) => {
                    let length = 1 + escape.chars().nth(1).map_or(0, char::len_utf8);
                    out.push_str(escape.get(..length)?);
                    length
                }
            };
            rest = escape.get(length..)?;
        }
        out.push_str(rest);
        Some(out)
    }
}

enum Half {
    First,
    Second,
}

/// Whether a text begins with the escape of half a character.
fn half(text: &str) -> Option<Half> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xd800..=0xdbff => Some(Half::First),
        0xdc00..=0xdfff => Some(Half::Second),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn halves_find_each_other() {
        let mut halves = Halves::default();
        assert_eq!(halves.mend("{\"a\":\"plain\\n\"}"), None);
        assert_eq!(halves.mend("\"a\\ud83e\"").as_deref(), Some("\"a\""));
        assert_eq!(halves.mend("\"nothing\""), None);
        assert_eq!(
            halves.mend("\"\\udd80b\"").as_deref(),
            Some("\"\\ud83e\\udd80b\"")
        );
        assert_eq!(halves.mend("\"\\uDD80\"").as_deref(), Some("\"\\ufffd\""));
        let whole = "\"\\ud83e\\udd80 \\\\ud83e \\\" \\u00e4\"";
        assert_eq!(halves.mend(whole).as_deref(), Some(whole));
    }

    /// As a server does that knows only UTF-16.
    fn escaped(units: &[u16]) -> String {
        let units: Vec<String> = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{}\"", units.concat())
    }

    proptest! {
        #[test]
        fn text_cut_between_halves_is_put_together(text in "[a🦀é\\\\\"𝄞]{0,20}", size in 1usize..4) {
            let units: Vec<u16> = text.encode_utf16().collect();
            let mut halves = Halves::default();
            let mut joined = String::new();
            for piece in units.chunks(size) {
                let frame = escaped(piece);
                let mended = halves.mend(&frame).unwrap_or(frame);
                let value: Value = serde_json::from_str(&mended).unwrap();
                joined.push_str(value.as_str().unwrap());
            }
            prop_assert_eq!(joined, text);
        }

        #[test]
        fn anything_is_survived(text in r#"(\\|u|d|[0-9a-f]|é|"){0,30}"#) {
            Halves::default().mend(&text);
        }
    }
}
