//! Lengths of time as people write them in configuration: `90s`, `30m`, `1h`, `2d`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A length of time. A text with a unit, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Units and their seconds, the largest first.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let fits = |(_, size): &&(&str, u64)| seconds >= *size && seconds.is_multiple_of(*size);
        match UNITS.iter().find(fits) {
            Some((unit, size)) => write!(f, "{}{unit}", seconds / size),
            None => write!(f, "{seconds}s"),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time such as 30m, 1h or 2d");
        let text = text.trim();
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
        let (number, size) = match unit {
            Some((unit, size)) => (text.strip_suffix(unit).unwrap_or(text).trim_end(), *size),
            None => (text, 1),
        };
        let number: u64 = number.parse().ok().ok_or_else(wrong)?;
        let seconds = number.checked_mul(size).ok_or_else(wrong)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = match serde_json::Value::deserialize(from)? {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        text.parse().map_err(D::Error::custom)
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^[0-9]+ *[smhd]?$",
            "minimum": 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_as_people_do() {
        for (text, seconds, shown) in [
            ("1h", 3600, "1h"),
            (" 90s ", 90, "90s"),
            ("120 m", 7200, "2h"),
            ("2d", 172_800, "2d"),
            ("45", 45, "45s"),
            ("0", 0, "0s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(
                (span.0.as_secs(), span.to_string().as_str()),
                (seconds, shown)
            );
        }
        for wrong in ["", "h", "-1h", "1.5h", "1 week", "99999999999999999999"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
        let number: Span = serde_json::from_str("60").unwrap();
        assert_eq!(number.to_string(), "1m");
    }
}
