//! Handles for secrets: where a value takes the place of its handle on the way out, and where the
//! handle takes it back on the way in.

use std::sync::{Mutex, PoisonError};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};

use super::{super::Rule, Host, mask::Mask};
use crate::types::Secret;

/// Basic credentials with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a run has instead of a secret.
#[derive(Debug, Clone)]
pub struct Handle {
    text: String,
    value: Secret,
    hosts: Vec<Rule>,
}

impl Handle {
    /// A new handle, random, for a value that only these hosts get; their ports do not matter.
    pub fn new(value: Secret, hosts: Vec<Rule>) -> Self {
        let (high, low): (u128, u32) = rand::random();
        Self {
            text: format!("nxh_{high:032x}{low:08x}"),
            value,
            hosts,
        }
    }

    /// The handle, which is worth nothing elsewhere.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// This host gets the value.
    pub(super) fn is_for(&self, host: &Host, port: u16) -> bool {
        self.hosts.iter().any(|rule| rule.names(host, port))
    }
}

/// How a value is written where its handle stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// In an address or a form: everything but letters, digits and `-._~` as `%XX`.
    Percent,
    /// In a string of JSON.
    Json,
}

impl Form {
    /// The form that a body of this type wants.
    pub(super) fn of(content_type: &str) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let kind = kind.to_ascii_lowercase();
        if kind == "application/x-www-form-urlencoded" {
            Self::Percent
        } else if kind.ends_with("/json") || kind.ends_with("+json") {
            Self::Json
        } else {
            Self::Plain
        }
    }

    fn write(self, value: &str) -> String {
        match self {
            Self::Plain => value.to_owned(),
            Self::Percent => percent(value),
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
                inner.unwrap_or_default().to_owned()
            }
        }
    }
}

fn percent(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The secrets of one host, and what of them must not come back.
#[derive(Debug)]
pub(super) struct Swap {
    pairs: Vec<(String, Secret)>,
    /// What stands for what in answers.
    back: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Swap {
    /// Those of `handles` that this host gets; `None` if it gets none.
    pub(super) fn new(handles: &[Handle], host: &Host, port: u16) -> Option<Self> {
        let fitting = handles
            .iter()
            .filter(|h| h.is_for(host, port) && !h.value.expose().is_empty());
        let pairs: Vec<(String, Secret)> =
            fitting.map(|h| (h.text.clone(), h.value.clone())).collect();
        if pairs.is_empty() {
            return None;
        }
        let swap = Self {
            pairs,
            back: Mutex::default(),
        };
        for (handle, value) in &swap.pairs {
            for form in [Form::Plain, Form::Percent, Form::Json] {
                swap.remember(form.write(value.expose()).into_bytes(), handle.as_bytes());
            }
        }
        Some(swap)
    }

    fn remember(&self, value: Vec<u8>, handle: &[u8]) {
        let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        if back.len() < 256 && !back.iter().any(|(known, _)| *known == value) {
            back.push((value, handle.to_vec()));
        }
    }

    /// A mask for one answer: it knows all that went out until now.
    pub(super) fn mask(&self) -> Mask {
        let back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        Mask::new(back.clone())
    }

    /// With values for handles; `None` if there is no handle.
    pub(super) fn bytes(&self, from: &[u8], form: Form) -> Option<Vec<u8>> {
        let pairs = self.pairs.iter().map(|(handle, value)| {
            let value = form.write(value.expose());
            (handle.clone().into_bytes(), value.into_bytes())
        });
        let mut to_values = Mask::new(pairs.collect());
        let mut out = to_values.push(from);
        out.extend(to_values.finish());
        (to_values.found() > 0).then_some(out)
    }

    /// The same for a header; credentials of `Basic` are looked into.
    pub(super) fn header(&self, name: &str, value: &[u8]) -> Option<Vec<u8>> {
        let basic = (name == "authorization")
            .then(|| self.basic(value))
            .flatten();
        basic.or_else(|| self.bytes(value, Form::Plain))
    }

    fn basic(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (scheme, encoded) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let encoded = encoded.trim();
        let plain = LENIENT.decode(encoded).ok()?;
        let swapped = STANDARD.encode(self.bytes(&plain, Form::Plain)?);
        // A server that says what it got says it in this form.
        self.remember(swapped.clone().into_bytes(), encoded.as_bytes());
        Some(format!("{scheme} {swapped}").into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::host, *};

    fn swap(value: &str) -> (Handle, Swap) {
        let rule = Rule::parse(":api.example.org:*").unwrap();
        let handle = Handle::new(Secret::new(value), vec![rule]);
        let place = host("api.example.org").unwrap();
        let swap = Swap::new(std::slice::from_ref(&handle), &place, 443).unwrap();
        (handle, swap)
    }

    fn text(bytes: Option<Vec<u8>>) -> String {
        String::from_utf8(bytes.expect("a handle was there")).unwrap()
    }

    #[test]
    fn a_handle_is_for_its_host_alone() {
        let (handle, _) = swap("tell-nobody");
        let all = [handle.clone()];
        assert_eq!(handle.as_str().len(), 44);
        assert_ne!(swap("tell-nobody").0.as_str(), handle.as_str());
        let none = |place: &str| Swap::new(&all, &host(place).unwrap(), 443).is_none();
        assert!(none("example.org") && none("evil.org") && none("a.api.example.org"));
        assert!(!none("API.example.org."));
    }

    #[test]
    fn values_stand_where_handles_stood() {
        let (handle, swap) = swap("tell/nobody \"this\"");
        let h = handle.as_str();
        let header = swap.header("authorization", format!("Bearer {h}").as_bytes());
        assert_eq!(text(header), "Bearer tell/nobody \"this\"");
        let address = swap.bytes(format!("/a?k={h}&x").as_bytes(), Form::Percent);
        assert_eq!(text(address), "/a?k=tell%2Fnobody%20%22this%22&x");
        let json = swap.bytes(
            format!("{{\"k\": \"{h}\"}}").as_bytes(),
            Form::of("application/json; charset=utf-8"),
        );
        assert_eq!(text(json), r#"{"k": "tell/nobody \"this\""}"#);
        assert!(swap.bytes(b"nothing to see", Form::Plain).is_none());
        let other = format!("nxh_{}", "0".repeat(40));
        assert!(swap.header("x", other.as_bytes()).is_none());
    }

    #[test]
    fn basic_credentials_are_looked_into_and_taken_back() {
        let (handle, swap) = swap("tell-nobody");
        let sent = STANDARD.encode(format!("user:{}", handle.as_str()));
        let got = text(swap.header("authorization", format!("bAsic {sent}").as_bytes()));
        let real = STANDARD.encode("user:tell-nobody");
        assert_eq!(got, format!("bAsic {real}"));
        let mut mask = swap.mask();
        let mut back = mask.push(format!("you said {real}, that is tell-nobody").as_bytes());
        back.extend(mask.finish());
        let expected = format!("you said {sent}, that is {}", handle.as_str());
        assert_eq!(String::from_utf8(back).unwrap(), expected);
    }
}
