//! What is left of each limit, as people and programs are shown it.

use chrono_tz::Tz;
use rusqlite::Connection;
use serde::Serialize;

use super::Budgets;
use crate::{
    store::{
        Result,
        budgets::{self, FOREVER, Standing, Window},
        reservations::Bill,
        users,
    },
    types::{
        Timestamp,
        money::{Period, Scope, Usd},
    },
};

/// Limits of one kind that are shown at most: those that spent most.
const SHOWN: u32 = 20;

/// One limit in the period that is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Left {
    /// What it counts.
    pub scope: Scope,
    /// Of which one: an id or a name; empty for everything.
    pub key: String,
    /// Its name for people, where it has another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long.
    pub period: Period,
    /// What calls that ended took.
    pub spent_usd: Usd,
    /// What calls that run may take at most.
    pub reserved_usd: Usd,
    /// At which amount somebody is told.
    pub soft_usd: Option<Usd>,
    /// Which amount is never passed.
    pub hard_usd: Option<Usd>,
    /// What may still be spent.
    pub left_usd: Option<Usd>,
    /// When it begins anew.
    pub resets_at: Option<Timestamp>,
    /// Where it stands, in words.
    pub text: String,
}

impl Budgets {
    /// How the limits stand that hold for a call.
    pub fn left(&self, c: &Connection, bill: &Bill, now: (Timestamp, Tz)) -> Result<Vec<Left>> {
        let windows = self.windows(bill, now).into_iter();
        windows.map(|window| self.stands(c, window)).collect()
    }

    /// How all limits stand; of persons, agents, channels, conversations and schedules those that spent
    /// most.
    pub fn overview(&self, c: &Connection, now: (Timestamp, Tz)) -> Result<Vec<Left>> {
        let mut all = Vec::new();
        let kept = |scope| (scope != Scope::Turn).then(String::new);
        for window in self.all(now, kept) {
            if window.scope == Scope::All {
                all.push(self.stands(c, window)?);
                continue;
            }
            for key in budgets::keys_of(c, &window, SHOWN)? {
                let window = Window {
                    key,
                    ..window.clone()
                };
                all.push(self.stands(c, window)?);
            }
        }
        Ok(all)
    }

    fn stands(&self, c: &Connection, window: Window) -> Result<Left> {
        let standing = budgets::standing(c, &window)?;
        let name = match (window.scope, window.key.parse()) {
            (Scope::User, Ok(id)) => users::get(c, id)?.map(|user| user.name),
            _ => None,
        };
        Ok(Left {
            left_usd: standing.left(&window),
            text: self.words(&window, &standing),
            scope: window.scope,
            key: window.key,
            name,
            period: window.period,
            spent_usd: standing.spent,
            reserved_usd: standing.reserved,
            soft_usd: window.soft,
            hard_usd: window.hard,
            resets_at: (window.until != FOREVER).then_some(window.until),
        })
    }

    fn words(&self, window: &Window, standing: &Standing) -> String {
        let currency = self.currency();
        let limit = window.hard.or(window.soft).unwrap_or_default();
        let (spent, limit) = (currency.show(standing.spent), currency.show(limit));
        match standing.left(window) {
            Some(left) => format!("{spent} of {limit} spent, {} left", currency.show(left)),
            None => format!("{spent} spent, told at {limit}"),
        }
    }
}
