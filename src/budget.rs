//! Budgets: which limits hold for a call, at what price it is counted, and what a person is told.
//!
//! Pure: the counting itself is [`crate::store::reservations`], one transaction. Amounts in the
//! configuration may be in another currency, at a rate the owner writes; everything is counted in US
//! dollars, in which models are priced.

mod left;
mod period;
mod price;
mod tokens;
mod words;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use left::Left;
pub use period::{bounds, midnight};
pub use tokens::{IMAGE, input_tokens, with_margin};
pub use words::Currency;

use crate::{
    store::{budgets::Window, reservations::Bill},
    types::{
        Entry, Timestamp,
        money::{Period, Price, Scope, Usd},
    },
};

/// The soft limit where only a hard one is configured, in hundredths of it.
const SOFT: i64 = 80;

/// `budgets` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Currency of the amounts here, as three letters; models are priced in USD.
    pub currency: String,
    /// What one unit of another currency is worth in US dollars, such as "1.08"; fixed by you.
    pub usd_per_unit: Option<Usd>,
    /// After what `soft` and `hard` begin anew.
    pub period: Period,
    /// At this amount somebody is told; four fifths of `hard` if absent.
    pub soft: Option<Usd>,
    /// This amount is never passed: no call begins that might.
    pub hard: Option<Usd>,
    /// For one turn.
    pub per_turn: Amounts,
    /// For one conversation; its period is `total` if absent.
    pub per_session: Limit,
    /// For each person on all channels.
    pub per_user: Limit,
    /// For each agent.
    pub per_agent: Limit,
    /// For each connector.
    pub per_channel: Limit,
    /// For each schedule.
    pub per_schedule: Limit,
    /// For everything on one day.
    pub per_day: Amounts,
    /// For everything in one month.
    pub per_month: Amounts,
    /// What a model counts as whose price nobody knows.
    pub unknown_price: Ceiling,
    /// Where a budget has room for less than a whole answer, the answer is made shorter, down to this
    /// many tokens; below, there is no call.
    pub min_output_tokens: u32,
}

/// Two amounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Amounts {
    /// At this amount somebody is told; four fifths of `hard` if absent.
    pub soft: Option<Usd>,
    /// This amount is never passed.
    pub hard: Option<Usd>,
}

/// Two amounts, and after what they begin anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limit {
    /// After what they begin anew; as `budgets.period` if absent.
    pub period: Option<Period>,
    /// At this amount somebody is told; four fifths of `hard` if absent.
    pub soft: Option<Usd>,
    /// This amount is never passed.
    pub hard: Option<Usd>,
}

/// A price on the safe side, in US dollars.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ceiling {
    /// Per million tokens read.
    pub input_per_mtok: Usd,
    /// Per million tokens written.
    pub output_per_mtok: Usd,
}

impl Default for Ceiling {
    /// Twice the price of the dearest models in wide use.
    fn default() -> Self {
        Self {
            input_per_mtok: Usd(30_000_000_000),
            output_per_mtok: Usd(150_000_000_000),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            currency: "USD".to_owned(),
            usd_per_unit: None,
            period: Period::Month,
            soft: None,
            hard: None,
            per_turn: Amounts::default(),
            per_session: Limit::default(),
            per_user: Limit::default(),
            per_agent: Limit::default(),
            per_channel: Limit::default(),
            per_schedule: Limit::default(),
            per_day: Amounts::default(),
            per_month: Amounts::default(),
            unknown_price: Ceiling::default(),
            min_output_tokens: 256,
        }
    }
}

impl Config {
    /// For a section that was not understood: nothing that costs money.
    pub fn careful() -> Self {
        Self {
            hard: Some(Usd(0)),
            ..Self::default()
        }
    }

    /// What types cannot say: the key, and what is wrong with it.
    pub fn problems(&self) -> Vec<(Vec<&'static str>, String)> {
        let mut found = Vec::new();
        let plain =
            self.currency.len() == 3 && self.currency.bytes().all(|b| b.is_ascii_uppercase());
        if !plain {
            let text = format!("`{}` is no currency such as USD or EUR", self.currency);
            found.push((vec!["currency"], text));
        } else if self.currency != "USD" && self.usd_per_unit.is_none_or(|rate| rate.0 == 0) {
            let text = format!(
                "amounts are in {}, but models are priced in US dollars: write what one {} is worth as usd_per_unit",
                self.currency, self.currency
            );
            found.push((vec!["usd_per_unit"], text));
        }
        for (name, _, _, soft, hard) in self.limits() {
            if let (Some(soft), Some(hard)) = (soft, hard)
                && soft > hard
            {
                let keys = if name.is_empty() {
                    vec!["soft"]
                } else {
                    vec![name, "soft"]
                };
                found.push((keys, format!("{soft} is more than hard, which is {hard}")));
            }
        }
        found
    }

    /// Every limit: its key, what it counts, how long, its amounts in its currency.
    #[expect(
        clippy::type_complexity,
        reason = "the rows of one table, read in this file"
    )]
    fn limits(&self) -> [(&'static str, Scope, Period, Option<Usd>, Option<Usd>); 9] {
        let limit = |name, scope, limit: &Limit, otherwise| {
            let period = limit.period.unwrap_or(otherwise);
            (name, scope, period, limit.soft, limit.hard)
        };
        let amounts = |name, scope, period, amounts: &Amounts| {
            (name, scope, period, amounts.soft, amounts.hard)
        };
        [
            amounts("per_turn", Scope::Turn, Period::Total, &self.per_turn),
            limit(
                "per_session",
                Scope::Session,
                &self.per_session,
                Period::Total,
            ),
            limit(
                "per_schedule",
                Scope::Schedule,
                &self.per_schedule,
                self.period,
            ),
            limit("per_user", Scope::User, &self.per_user, self.period),
            limit("per_agent", Scope::Agent, &self.per_agent, self.period),
            limit(
                "per_channel",
                Scope::Channel,
                &self.per_channel,
                self.period,
            ),
            amounts("per_day", Scope::All, Period::Day, &self.per_day),
            amounts("per_month", Scope::All, Period::Month, &self.per_month),
            ("", Scope::All, self.period, self.soft, self.hard),
        ]
    }
}

/// The budgets of a configuration, and the prices it is counted with.
#[derive(Debug, Clone)]
pub struct Budgets {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    prices: price::Prices,
}

impl Budgets {
    /// Of the sections `budgets` and `llm`.
    pub fn new(config: Config, prices: &BTreeMap<String, Price>, providers: &[Entry]) -> Self {
        let prices = price::Prices::new(prices, providers, &config.unknown_price);
        Self {
            inner: Arc::new(Inner { config, prices }),
        }
    }

    /// In what amounts are shown.
    pub fn currency(&self) -> Currency {
        Currency::of(&self.inner.config)
    }

    /// The shortest answer that is worth a call, in tokens.
    pub fn min_output_tokens(&self) -> u64 {
        u64::from(self.inner.config.min_output_tokens)
    }

    /// The limits that hold for a call now; those that concern it most first.
    pub fn windows(&self, bill: &Bill, (now, zone): (Timestamp, Tz)) -> Vec<Window> {
        self.all((now, zone), |scope| match scope {
            Scope::All => Some(String::new()),
            Scope::Turn => bill.turn.map(|id| id.to_string()),
            Scope::Session => Some(bill.session.to_string()),
            Scope::User => Some(bill.person.to_string()),
            Scope::Agent => Some(bill.agent.clone()),
            Scope::Channel => Some(bill.channel.clone()),
            Scope::Schedule => bill.schedule.map(|id| id.to_string()),
        })
    }

    /// The limits now, of what `key` names for each scope.
    pub fn all(
        &self,
        (now, zone): (Timestamp, Tz),
        key: impl Fn(Scope) -> Option<String>,
    ) -> Vec<Window> {
        let currency = self.currency();
        let limits = self.inner.config.limits().into_iter();
        let windows = limits.filter_map(|(_, scope, period, soft, hard)| {
            let hard = hard.map(|amount| currency.to_usd(amount));
            let four_fifths = hard.filter(|h| h.0 > 0).map(|h| h.percent(SOFT));
            let soft = soft.map(|amount| currency.to_usd(amount)).or(four_fifths);
            if soft.is_none() && hard.is_none() {
                return None;
            }
            let (since, until) = bounds(period, now, zone);
            let key = key(scope)?;
            Some(Window {
                scope,
                key,
                period,
                since,
                until,
                soft,
                hard,
            })
        });
        windows.collect()
    }
}
