//! What a person is told of a limit.

use chrono_tz::Tz;

use super::Config;
use crate::{
    store::{
        budgets::{FOREVER, Standing, Window},
        reservations::Short,
    },
    types::money::{Period, Quote, Scope, Usd},
};

/// The currency that the owner thinks in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Currency {
    code: String,
    /// What one unit is worth in US dollars.
    rate: Usd,
}

impl Currency {
    pub(super) fn of(config: &Config) -> Self {
        let one = Usd(1_000_000_000);
        let rate = config.usd_per_unit.filter(|_| config.currency != "USD");
        Self {
            code: config.currency.clone(),
            rate: rate.unwrap_or(one),
        }
    }

    /// Its three letters.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// An amount of the configuration as it is counted.
    pub fn to_usd(&self, amount: Usd) -> Usd {
        amount.at_rate(self.rate)
    }

    /// An amount for people.
    pub fn show(&self, amount: Usd) -> String {
        format!("{} {}", amount.in_units_of(self.rate).short(), self.code)
    }

    /// What is said once when a soft limit is reached.
    pub fn notice(&self, window: &Window, standing: &Standing) -> String {
        let of = window
            .hard
            .map_or_else(String::new, |hard| format!(" of {}", self.show(hard)));
        let then = match window.hard {
            Some(_) => " At the limit, models that cost money are not asked any more.",
            None => "",
        };
        format!(
            "{}{of} are spent {}.{then}",
            self.show(standing.spent),
            what(window)
        )
    }

    /// What is said instead of an answer.
    pub fn refusal(&self, short: &Short, zone: Tz) -> String {
        let (window, standing) = (&short.window, &short.standing);
        let hard = window.hard.unwrap_or_default();
        let reserved = if standing.reserved.0 > 0 {
            format!(
                ", and {} are reserved for answers that are being written",
                self.show(standing.reserved)
            )
        } else {
            String::new()
        };
        let waiting = standing.spent.plus(short.needed) <= hard;
        let next = if waiting && standing.reserved.0 > 0 {
            "Send it again in a moment: what they do not use becomes free.".to_owned()
        } else if window.until == FOREVER {
            "This limit does not begin anew by itself; the owner can raise it under `budgets` in the configuration.".to_owned()
        } else {
            let when = window.until.utc().with_timezone(&zone);
            format!(
                "It begins anew on {} ({}); the owner can raise it under `budgets` in the configuration.",
                when.format("%A %Y-%m-%d at %H:%M"),
                zone.name()
            )
        };
        format!(
            "I did not ask the model: the budget {} is {}, {} are spent{reserved}, and even a short answer may cost {}.\n\n{next} Meanwhile commands such as `/help`, reminders, and skills that need no model go on working, and so do models on this machine.",
            what(window),
            self.show(hard),
            self.show(standing.spent),
            self.show(short.needed),
        )
    }

    /// What is said once of a model whose price nobody knows.
    pub fn ceiling(&self, model: &str, quote: &Quote, key: &str) -> String {
        format!(
            "Nobody knows the price of `{model}`, so it is counted with a ceiling of {} USD for a million tokens read and {} USD for a million written. Write its price under `{key}` in the configuration.",
            quote.price.input_per_mtok.short(),
            quote.price.output_per_mtok.short()
        )
    }
}

/// Which limit: `for this month`, `for you today`.
fn what(window: &Window) -> String {
    let whose = match window.scope {
        Scope::All => "",
        Scope::Turn => "for one answer",
        Scope::Session => "for this conversation",
        Scope::User => "for you",
        Scope::Agent => "for this agent",
        Scope::Channel => "for this channel",
        Scope::Schedule => "for this schedule",
    };
    let when = match window.period {
        Period::Day => "for today",
        Period::Week => "for this week",
        Period::Month => "for this month",
        Period::Total if window.scope == Scope::All => "for everything",
        Period::Total => "",
    };
    [whose, when]
        .iter()
        .filter(|word| !word.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join(" ")
}
