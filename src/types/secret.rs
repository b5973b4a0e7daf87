//! Secrets, and the mask that keeps their *values* out of whatever the daemon writes.
//!
//! Every [`Secret`] registers its value when it is made. [`mask`] replaces each registered value,
//! plain or base64, wherever it appears: log lines, errors, skill output, API answers.

use std::{
    borrow::Cow,
    fmt,
    sync::{LazyLock, PoisonError, RwLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer};

/// What stands where a secret was.
pub const MASKED: &str = "[secret]";

/// Shorter values are not masked by value: they would eat ordinary text.
const SHORTEST: usize = 6;

/// Words that stand where a local server wants any key at all: no secrets, and in ordinary text.
const TRIVIAL: &[&str] = &[
    "ollama",
    "lm-studio",
    "not-needed",
    "no-key",
    "default",
    "custom",
    "nexflow",
    "localhost",
    "secret",
    "password",
];

static KNOWN: LazyLock<RwLock<Vec<String>>> = LazyLock::new(RwLock::default);

/// A value that is never shown: no `Display`, no `Serialize`, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value and registers it with the mask.
    pub fn new(value: impl Into<String>) -> Self {
        let value = value.into();
        register(&value);
        Self(value)
    }

    /// The value, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASKED)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::new)
    }
}

impl schemars::JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "writeOnly": true })
    }
}

fn register(value: &str) {
    if value.len() < SHORTEST || TRIVIAL.contains(&value) {
        return;
    }
    let mut forms = vec![value.to_owned()];
    let json = serde_json::Value::from(value).to_string();
    let escaped = json.trim_matches('"');
    if escaped != value {
        forms.push(escaped.to_owned());
    }
    if value.len() >= 12 {
        forms.push(STANDARD_NO_PAD.encode(value));
    }
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    for form in forms {
        if !known.contains(&form) {
            known.push(form);
        }
    }
    // The longest first: a secret that contains another must not leave its rest behind.
    known.sort_by_key(|form| std::cmp::Reverse(form.len()));
}

/// Keys whose names end so hold secrets.
const TELLING: &[&str] = &[
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credentials",
    "authorization",
];

/// Everything below a key of this name is secret.
const ALL_BELOW: &str = "secrets";

/// Whether the value under a key of this name is secret.
pub fn telling(key: &str) -> bool {
    let key = key.to_lowercase();
    TELLING.iter().any(|end| key.ends_with(end)) || key == ALL_BELOW
}

/// A value with [`MASKED`] under every key whose name tells that a secret stands there.
pub fn mask_keys(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let masked = map.iter().map(|(key, value)| {
                let hidden = telling(key) && !value.is_null();
                let value = if hidden {
                    MASKED.into()
                } else {
                    mask_keys(value)
                };
                (key.clone(), value)
            });
            masked.collect()
        }
        Value::Array(items) => items.iter().map(mask_keys).collect(),
        other => other.clone(),
    }
}

/// The text with every known secret replaced by [`MASKED`].
pub fn mask(text: &str) -> Cow<'_, str> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    let mut out = Cow::Borrowed(text);
    for value in known.iter() {
        if out.contains(value.as_str()) {
            out = Cow::Owned(out.replace(value.as_str(), MASKED));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_masked_wherever_it_stands() {
        let secret = Secret::new("s3cr3t-value-one");
        assert_eq!(mask("key=s3cr3t-value-one&x"), "key=[secret]&x");
        let encoded = STANDARD_NO_PAD.encode("s3cr3t-value-one");
        assert_eq!(mask(&encoded), MASKED);
        assert_eq!(format!("{secret:?}"), MASKED);
        assert_eq!(mask("nothing here"), "nothing here");
    }

    #[test]
    fn the_longer_secret_goes_first() {
        let _a = Secret::new("abcdefgh");
        let _b = Secret::new("abcdefgh-and-more");
        assert_eq!(mask("abcdefgh-and-more"), MASKED);
    }
}
