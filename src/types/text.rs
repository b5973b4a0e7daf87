//! Text that people and models see: cut at a limit, cleaned of control sequences.

use unicode_segmentation::UnicodeSegmentation as _;

/// The first `limit` bytes at most, ended at a grapheme boundary, with `…` where something was cut.
pub fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let room = limit.saturating_sub('…'.len_utf8());
    let mut end = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        if at + grapheme.len() > room {
            break;
        }
        end = at + grapheme.len();
    }
    let mut out = text.get(..end).unwrap_or_default().to_owned();
    out.push('…');
    out
}

/// Head and tail of a long text, with a line between them that says how much is missing.
pub fn head_and_tail(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let half = limit / 2;
    let head_end = floor_boundary(text, half);
    let tail_start = ceil_boundary(text, text.len() - half);
    let missing = tail_start - head_end;
    format!(
        "{}\n[… {missing} bytes left out …]\n{}",
        text.get(..head_end).unwrap_or_default(),
        text.get(tail_start..).unwrap_or_default()
    )
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// Output of a program, made safe to show: escape sequences, control characters and the bidirectional
/// overrides that make text read differently from what it says are removed; a carriage return that
/// rewrites a line becomes a line break.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => out.push('\n'),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || is_direction_control(c) => {}
            c => out.push(c),
        }
    }
    out
}

fn is_direction_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
}

/// Skips what follows ESC: CSI ends at a byte from `@` to `~`, OSC and friends at BEL or ST.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            for c in chars.by_ref() {
                if ('@'..='~').contains(&c) {
                    break;
                }
            }
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' {
                    break;
                }
                if c == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    break;
                }
            }
        }
        Some('(' | ')' | '#' | '%') => {
            chars.next();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_and_controls_are_gone() {
        assert_eq!(clean("a\u{1b}[31mred\u{1b}[0m\u{7}b"), "aredb");
        assert_eq!(clean("x\u{1b}]0;title\u{7}y\u{1b}]8;;u\u{1b}\\z"), "xyz");
        assert_eq!(clean("10%\r20%\r\nok\0"), "10%\n20%\nok");
        assert_eq!(clean("safe\u{202e}txt.exe"), "safetxt.exe");
    }

    proptest! {
        #[test]
        fn shortened_text_fits_and_is_a_prefix(text in ".{0,200}", limit in 4usize..80) {
            let short = shorten(&text, limit);
            prop_assert!(short.len() <= limit.max(text.len().min(limit)));
            let kept = short.strip_suffix('…').unwrap_or(&short);
            prop_assert!(text.starts_with(kept));
        }

        #[test]
        fn clean_text_has_no_controls(text in any::<String>()) {
            let cleaned = clean(&text);
            prop_assert!(!cleaned.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            prop_assert_eq!(clean(&cleaned), cleaned.clone());
        }

        #[test]
        fn head_and_tail_never_panics(text in any::<String>(), limit in 0usize..64) {
            head_and_tail(&text, limit);
        }
    }
}
