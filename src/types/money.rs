//! Prices and costs, exact: integers, never floating point.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::types::chat::Usage;

/// US dollars in billionths. Decimal string or number in configuration, number in JSON answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Usd(pub i64);

/// Billionths in a dollar.
const NANO: i64 = 1_000_000_000;

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:09}", (self.0 % NANO).abs());
        let cut = digits.trim_end_matches('0');
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(
            f,
            "{sign}{}.{}",
            (self.0 / NANO).abs(),
            if cut.is_empty() { "0" } else { cut }
        )
    }
}

impl FromStr for Usd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an amount such as 2.50");
        let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || part.len() > 9 || !digits(whole) || !digits(part) {
            return Err(wrong());
        }
        let whole: i64 = whole.parse().ok().ok_or_else(wrong)?;
        let part: i64 = format!("{part:0<9}").parse().ok().ok_or_else(wrong)?;
        whole
            .checked_mul(NANO)
            .and_then(|n| n.checked_add(part))
            .map(Self)
            .ok_or_else(wrong)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a JSON number for people; sums stay exact"
        )]
        to.serialize_f64(self.0 as f64 / NANO as f64)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(from)? {
            serde_json::Value::String(text) => text.parse().map_err(D::Error::custom),
            serde_json::Value::Number(n) => n.to_string().parse().map_err(D::Error::custom),
            other => Err(D::Error::custom(format!(
                "{other} is not an amount such as \"2.50\""
            ))),
        }
    }
}

impl schemars::JsonSchema for Usd {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Usd".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "number"],
            "pattern": r"^[0-9]+(\.[0-9]{1,9})?$",
            "description": "an amount in US dollars, such as \"2.50\"",
        })
    }
}

/// What a model costs, per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
pub struct Price {
    /// Per million tokens read.
    pub input_per_mtok: Usd,
    /// Per million tokens written.
    pub output_per_mtok: Usd,
    /// Per million tokens read from the provider's cache; the input price if absent.
    #[serde(default)]
    pub cached_per_mtok: Option<Usd>,
}

impl Price {
    /// Nothing: a local model.
    pub const FREE: Self = Self {
        input_per_mtok: Usd(0),
        output_per_mtok: Usd(0),
        cached_per_mtok: None,
    };

    /// The cost of a call, rounded up.
    pub fn of(&self, usage: Usage) -> Usd {
        let per = |tokens: u64, price: Usd| i128::from(tokens) * i128::from(price.0);
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let sum = per(usage.input_tokens - cached, self.input_per_mtok)
            + per(cached, self.cached_per_mtok.unwrap_or(self.input_per_mtok))
            + per(usage.output_tokens, self.output_per_mtok);
        Usd(i64::try_from((sum + 999_999) / 1_000_000).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!("2.50".parse::<Usd>(), Ok(Usd(2_500_000_000)));
        assert_eq!(Usd(2_500_000_000).to_string(), "2.5");
        assert!("1e3".parse::<Usd>().is_err());
        assert!("-1".parse::<Usd>().is_err());
        let price = Price {
            input_per_mtok: "3".parse().unwrap(),
            output_per_mtok: "15".parse().unwrap(),
            cached_per_mtok: Some("0.3".parse().unwrap()),
        };
        let usage = Usage {
            input_tokens: 1_000_000,
            cached_tokens: 500_000,
            output_tokens: 1,
            estimated: false,
        };
        assert_eq!(price.of(usage), Usd(1_500_000_000 + 150_000_000 + 15_000));
    }
}
