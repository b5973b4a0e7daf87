//! Prices and costs, exact: integers, never floating point.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::types::chat::Usage;

/// US dollars in billionths. Decimal string or number in configuration, number in JSON answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Usd(pub i64);

/// Billionths in a dollar.
const NANO: i64 = 1_000_000_000;

impl Usd {
    /// The sum; the largest amount there is where that is too small for it.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left of this after another amount; nothing where that is more.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    /// A share of this in hundredths, rounded down.
    #[must_use]
    pub fn percent(self, share: i64) -> Self {
        whole(i128::from(self.0) * i128::from(share) / 100)
    }

    /// This many units of which each is worth `rate`, rounded down: a limit never grows by rounding.
    #[must_use]
    pub fn at_rate(self, rate: Self) -> Self {
        whole(i128::from(self.0) * i128::from(rate.0) / i128::from(NANO))
    }

    /// How many units of which each is worth `rate` this is, rounded up; itself where the rate is 0.
    #[must_use]
    pub fn in_units_of(self, rate: Self) -> Self {
        let rate = i128::from(if rate.0 == 0 { NANO } else { rate.0 });
        whole((i128::from(self.0) * i128::from(NANO) + rate - 1) / rate)
    }

    /// Rounded, for programs that take no decimal text. No sum is made of these.
    #[expect(clippy::cast_precision_loss, reason = "shown, never counted with")]
    pub fn as_number(self) -> f64 {
        self.0 as f64 / NANO as f64
    }

    /// For people: cents, and as many more digits as a small amount needs.
    pub fn short(self) -> String {
        let digits = if self.0.abs() >= NANO { 2 } else { 4 };
        let step = NANO / 10_i64.pow(digits);
        // What is not nothing does not look like it.
        let rounded = (self.0 + step / 2) / step * step;
        if rounded == 0 && self.0 != 0 {
            return self.to_string();
        }
        let digits = digits as usize;
        let part = format!("{:09}", (rounded % NANO).abs());
        let shown = part.get(..digits).unwrap_or(&part);
        let cut = shown.trim_end_matches('0');
        let sign = if rounded < 0 { "-" } else { "" };
        format!("{sign}{}.{cut:0<2}", (rounded / NANO).abs())
    }
}

fn whole(sum: i128) -> Usd {
    Usd(i64::try_from(sum).unwrap_or(i64::MAX))
}

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
        to.serialize_f64(self.as_number())
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

    /// Whether it costs nothing, whatever is read and written.
    pub fn is_free(&self) -> bool {
        let paid = [
            Some(self.input_per_mtok),
            Some(self.output_per_mtok),
            self.cached_per_mtok,
        ];
        paid.into_iter().flatten().all(|price| price.0 == 0)
    }

    /// How many tokens can be written for an amount after so many were read; none if that alone costs
    /// more.
    pub fn affordable_output(&self, amount: Usd, input_tokens: u64) -> u64 {
        let read = i128::from(input_tokens) * i128::from(self.input_per_mtok.0);
        let left = i128::from(amount.0) * 1_000_000 - read;
        if left < 0 {
            return 0;
        }
        match i128::from(self.output_per_mtok.0) {
            0 => u64::MAX,
            price => u64::try_from(left / price).unwrap_or(u64::MAX),
        }
    }

    /// The cost of a call, rounded up.
    pub fn of(&self, usage: Usage) -> Usd {
        let per = |tokens: u64, price: Usd| i128::from(tokens) * i128::from(price.0);
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let sum = per(usage.input_tokens - cached, self.input_per_mtok)
            + per(cached, self.cached_per_mtok.unwrap_or(self.input_per_mtok))
            + per(usage.output_tokens, self.output_per_mtok);
        whole((sum + 999_999) / 1_000_000)
    }
}

/// Where a price came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceSource {
    /// The owner wrote it.
    Configuration,
    /// The provider's own list.
    Provider,
    /// The dated list that comes with Nexflow.
    List,
    /// It costs nothing: a server on this machine.
    Free,
    /// Nobody knows it: the ceiling of `budgets.unknown_price`.
    Ceiling,
}

impl PriceSource {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Provider => "provider",
            Self::List => "list",
            Self::Free => "free",
            Self::Ceiling => "ceiling",
        }
    }
}

/// A price, with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// The price.
    #[serde(flatten)]
    pub price: Price,
    /// Where it came from.
    pub source: PriceSource,
    /// When it was listed, as far as that is known: `2025-11`.
    pub as_of: Option<String>,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything.
    All,
    /// One turn.
    Turn,
    /// One conversation.
    Session,
    /// One person, on all channels.
    User,
    /// One agent.
    Agent,
    /// One connector.
    Channel,
    /// One schedule.
    Schedule,
}

impl Scope {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Turn => "turn",
            Self::Session => "session",
            Self::User => "user",
            Self::Agent => "agent",
            Self::Channel => "channel",
            Self::Schedule => "schedule",
        }
    }
}

/// After what a limit begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// At midnight.
    Day,
    /// On Monday.
    Week,
    /// On the first.
    Month,
    /// Never.
    Total,
}

impl Period {
    /// As it is written and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
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
