//! What model calls took.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::Serialize;

use super::Result;
use crate::types::{SessionId, StepId, Timestamp, TurnId, UserId, chat::Usage, money::Usd};

/// One model call.
#[derive(Debug, Clone)]
pub struct Spent {
    /// The step, or for what a skill asked an id of its own.
    pub step: StepId,
    /// Whose doing: `turn`, or `skill:NAME`.
    pub purpose: String,
    /// The turn that caused it; none for a skill that runs outside a turn.
    pub turn: Option<TurnId>,
    /// Session.
    pub session: SessionId,
    /// Whose message was answered.
    pub user: UserId,
    /// Through which connector.
    pub channel: String,
    /// Provider.
    pub provider: String,
    /// Model.
    pub model: String,
    /// Tokens.
    pub usage: Usage,
    /// Cost, where a price is known.
    pub cost: Option<Usd>,
}

/// Writes what a call took.
pub fn insert(tx: &Transaction<'_>, spent: &Spent, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO usage (id, turn_id, session_id, user_id, channel, provider, model,
                 input_tokens, cached_tokens, output_tokens, estimated, cost_nanousd, at, purpose)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    tx.prepare_cached(sql)?.execute(params![
        spent.step,
        spent.turn,
        spent.session,
        spent.user,
        spent.channel,
        spent.provider,
        spent.model,
        count(spent.usage.input_tokens),
        count(spent.usage.cached_tokens),
        count(spent.usage.output_tokens),
        spent.usage.estimated,
        spent.cost.map(|c| c.0),
        now,
        spent.purpose,
    ])?;
    Ok(())
}

/// A line of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The day, model, channel or user.
    pub key: String,
    /// Model calls.
    pub calls: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Known costs.
    pub cost_usd: Usd,
    /// Calls without a known price.
    pub unpriced: u64,
}

/// By what to sum up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Day, UTC.
    Day,
    /// Provider and model.
    Model,
    /// Connector.
    Channel,
    /// Person.
    User,
}

/// Sums since a moment.
pub fn report(c: &Connection, by: By, since: Timestamp) -> Result<Vec<Line>> {
    let key = match by {
        By::Day => "date(at / 1000000, 'unixepoch')",
        By::Model => "provider || '/' || model",
        By::Channel => "channel",
        By::User => "coalesce(user_id, '')",
    };
    let sql = format!(
        "SELECT {key} AS key, count(*) AS calls, sum(input_tokens) AS input,
                sum(output_tokens) AS output, coalesce(sum(cost_nanousd), 0) AS cost,
                count(*) FILTER (WHERE cost_nanousd IS NULL) AS unpriced
         FROM usage WHERE at >= ?1 GROUP BY 1 ORDER BY 1"
    );
    let mut query = c.prepare_cached(&sql)?;
    let rows = query.query_map([since], |row| {
        let count = |name: &str| row.get::<_, i64>(name).map(i64::unsigned_abs);
        Ok(Line {
            key: row.get("key")?,
            calls: count("calls")?,
            input_tokens: count("input")?,
            output_tokens: count("output")?,
            cost_usd: Usd(row.get("cost")?),
            unpriced: count("unpriced")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What one model call cost, if its price is known.
pub fn cost_of_step(c: &Connection, step: StepId) -> Result<Option<Usd>> {
    let sql = "SELECT cost_nanousd FROM usage WHERE id = ?1";
    let mut query = c.prepare_cached(sql)?;
    let found: Option<Option<i64>> = query.query_row([step], |row| row.get(0)).optional()?;
    Ok(found.flatten().map(Usd))
}

/// What is known that a turn cost so far, what its skills asked included.
pub fn known_cost(c: &Connection, turn: TurnId) -> Result<Usd> {
    let sql = "SELECT coalesce(sum(cost_nanousd), 0) FROM usage WHERE turn_id = ?1";
    Ok(Usd(c
        .prepare_cached(sql)?
        .query_row([turn], |row| row.get(0))?))
}

/// What a turn took and cost; no cost if any of its calls has no known price.
pub fn of_turn(c: &Connection, turn: TurnId) -> Result<(Usage, Option<Usd>)> {
    let sql = "SELECT coalesce(sum(input_tokens), 0) AS input, coalesce(sum(cached_tokens), 0) AS cached,
                 coalesce(sum(output_tokens), 0) AS output, coalesce(max(estimated), 0) AS estimated,
                 CASE WHEN count(*) = count(cost_nanousd) THEN coalesce(sum(cost_nanousd), 0) END AS cost
               FROM usage WHERE turn_id = ?1";
    Ok(c.prepare_cached(sql)?.query_row([turn], |row| {
        let count = |name: &str| row.get::<_, i64>(name).map(i64::unsigned_abs);
        let usage = Usage {
            input_tokens: count("input")?,
            cached_tokens: count("cached")?,
            output_tokens: count("output")?,
            estimated: row.get("estimated")?,
        };
        Ok((usage, row.get::<_, Option<i64>>("cost")?.map(Usd)))
    })?)
}
