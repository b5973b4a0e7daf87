//! Sums of usage by day, model, person and the like.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use rusqlite::Connection;
use serde::Serialize;

use super::number;
use crate::{
    store::Result,
    types::{Timestamp, money::Usd},
};

/// Zones differ from UTC by multiples of this, in microseconds.
const QUARTER: i64 = 900 * 1_000_000;

/// A line of a report.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Line {
    /// The day, model, agent, channel, user, session or schedule.
    pub key: String,
    /// Its name for people, where it has another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Attempts at model calls.
    pub calls: u64,
    /// Of these, attempts that gave no answer.
    pub failed: u64,
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Of these, read from the provider's cache.
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Cost.
    pub cost_usd: Usd,
    /// The same as an exact decimal number.
    pub cost: String,
    /// Calls of which tokens or price are estimates.
    pub estimated: u64,
    /// Calls without a known price.
    pub unpriced: u64,
}

impl Line {
    fn take_in(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.input_tokens += other.input_tokens;
        self.cached_tokens += other.cached_tokens;
        self.output_tokens += other.output_tokens;
        self.cost_usd = self.cost_usd.plus(other.cost_usd);
        self.cost = self.cost_usd.to_string();
        self.estimated += other.estimated;
        self.unpriced += other.unpriced;
    }
}

/// By what to sum up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Day in the owner's time zone.
    Day,
    /// Provider and model.
    Model,
    /// Agent.
    Agent,
    /// Connector.
    Channel,
    /// Person.
    User,
    /// Conversation.
    Session,
    /// Schedule.
    Schedule,
}

impl By {
    /// Every one.
    pub const ALL: &[Self] = &[
        Self::Day,
        Self::Model,
        Self::Agent,
        Self::User,
        Self::Channel,
        Self::Session,
        Self::Schedule,
    ];

    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Model => "model",
            Self::Agent => "agent",
            Self::Channel => "channel",
            Self::User => "user",
            Self::Session => "session",
            Self::Schedule => "schedule",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|by| by.as_str() == name)
    }

    /// Key and name as SQL.
    fn columns(self) -> (&'static str, &'static str) {
        match self {
            // Folded to days by [`in_days`].
            Self::Day => ("CAST(at / 900000000 AS TEXT)", "NULL"),
            Self::Model => ("provider || '/' || model", "NULL"),
            Self::Agent => ("agent", "NULL"),
            Self::Channel => ("channel", "NULL"),
            Self::User => (
                "coalesce(person_id, user_id, '')",
                "(SELECT name FROM users WHERE id = coalesce(u.person_id, u.user_id))",
            ),
            Self::Session => (
                "coalesce(session_id, '')",
                "(SELECT title FROM sessions s WHERE s.id = u.session_id)",
            ),
            Self::Schedule => (
                "coalesce(schedule_id, '')",
                "(SELECT input FROM schedules s WHERE s.id = u.schedule_id)",
            ),
        }
    }
}

/// Sums since a moment, by day of a time zone or by something else.
pub fn report(c: &Connection, by: By, (since, zone): (Timestamp, Tz)) -> Result<Vec<Line>> {
    let (key, name) = by.columns();
    let sql = format!(
        "SELECT {key} AS key, {name} AS name, count(*) AS calls,
                count(*) FILTER (WHERE status <> 'ok') AS failed,
                sum(input_tokens) AS input, sum(cached_tokens) AS cached, sum(output_tokens) AS output,
                coalesce(sum(cost_nanousd), 0) AS cost,
                count(*) FILTER (WHERE estimated OR price_source = 'ceiling') AS estimated,
                count(*) FILTER (WHERE cost_nanousd IS NULL OR price_source = 'ceiling') AS unpriced
         FROM usage u WHERE at >= ?1 AND status <> 'cached' GROUP BY 1 ORDER BY 1"
    );
    let mut query = c.prepare_cached(&sql)?;
    let rows = query.query_map([since], |row| {
        let cost_usd = Usd(row.get("cost")?);
        Ok(Line {
            key: row.get("key")?,
            name: row.get("name")?,
            calls: number(row, "calls")?,
            failed: number(row, "failed")?,
            input_tokens: number(row, "input")?,
            cached_tokens: number(row, "cached")?,
            output_tokens: number(row, "output")?,
            cost_usd,
            cost: cost_usd.to_string(),
            estimated: number(row, "estimated")?,
            unpriced: number(row, "unpriced")?,
        })
    })?;
    let lines: Vec<Line> = rows.collect::<rusqlite::Result<_>>()?;
    Ok(if by == By::Day {
        in_days(lines, zone)
    } else {
        lines
    })
}

/// Quarters of an hour, summed up to the days of a zone.
fn in_days(quarters: Vec<Line>, zone: Tz) -> Vec<Line> {
    let mut days: BTreeMap<String, Line> = BTreeMap::new();
    for line in quarters {
        let at = Timestamp(line.key.parse::<i64>().unwrap_or_default() * QUARTER);
        let day = at.utc().with_timezone(&zone).format("%Y-%m-%d").to_string();
        let sum = days.entry(day.clone()).or_insert_with(|| Line {
            key: day,
            ..Line::default()
        });
        sum.take_in(&line);
    }
    days.into_values().collect()
}
