//! What model calls took: one row for each attempt, and their sums.

mod report;

use rusqlite::{Connection, Row, Transaction, params};
use serde::Serialize;

pub use report::{By, Line, report};

use super::{Result, budgets, reservations::Bill};
use crate::types::{
    AttemptId, SessionId, StepId, Task, Timestamp, TurnId,
    chat::Usage,
    money::{PriceSource, Usd},
};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It answered.
    Ok,
    /// It did not.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// The daemon stopped while it ran.
    Interrupted,
    /// Nobody was asked: an answer of an earlier time was given again.
    Cached,
}

impl Ended {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Cached => "cached",
        }
    }
}

/// One attempt at a model call.
#[derive(Debug, Clone, PartialEq)]
pub struct Spent {
    /// The attempt; the id of its reservation too.
    pub id: AttemptId,
    /// Who pays, and what for.
    pub bill: Bill,
    /// 1, or more where it was tried before in the same step.
    pub attempt: u32,
    /// Provider.
    pub provider: String,
    /// Model.
    pub model: String,
    /// Tokens.
    pub usage: Usage,
    /// What counts against budgets.
    pub cost: Usd,
    /// Where the price came from.
    pub source: PriceSource,
    /// How it ended.
    pub ended: Ended,
    /// One word for what went wrong.
    pub error: Option<String>,
    /// The same in a sentence.
    pub detail: Option<String>,
    /// What for; not known of one that was interrupted.
    pub task: Option<Task>,
    /// When it began.
    pub started_at: Timestamp,
}

pub(super) fn stored(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Writes what an attempt took, and adds it to every counter that it belongs to.
pub fn insert(tx: &Transaction<'_>, spent: &Spent, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO usage (id, step_id, attempt, turn_id, session_id, user_id, person_id, agent,
                 channel, schedule_id, purpose, provider, model, input_tokens, cached_tokens,
                 output_tokens, estimated, cost_nanousd, price_source, status, error, at, detail, task,
                 started_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
                       ?19, ?20, ?21, ?22, ?23, ?24, ?25)";
    let bill = &spent.bill;
    tx.prepare_cached(sql)?.execute(params![
        spent.id,
        bill.step,
        spent.attempt,
        bill.turn,
        bill.session,
        bill.user,
        bill.person,
        bill.agent,
        bill.channel,
        bill.schedule,
        bill.purpose,
        spent.provider,
        spent.model,
        stored(spent.usage.input_tokens),
        stored(spent.usage.cached_tokens),
        stored(spent.usage.output_tokens),
        spent.usage.estimated,
        spent.cost.0,
        spent.source.as_str(),
        spent.ended.as_str(),
        spent.error,
        now,
        spent.detail,
        spent.task.map(Task::as_str),
        spent.started_at
    ])?;
    if spent.ended != Ended::Cached {
        count(tx, spent)?;
    }
    budgets::add(tx, bill, spent.cost, now)
}

fn count(tx: &Transaction<'_>, spent: &Spent) -> Result<()> {
    let sql = "INSERT INTO usage_totals VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT (provider, model) DO UPDATE SET
                 calls = calls + 1, failed = failed + excluded.failed,
                 input_tokens = input_tokens + excluded.input_tokens,
                 cached_tokens = cached_tokens + excluded.cached_tokens,
                 output_tokens = output_tokens + excluded.output_tokens,
                 cost_nanousd = cost_nanousd + excluded.cost_nanousd";
    tx.prepare_cached(sql)?.execute(params![
        spent.provider,
        spent.model,
        spent.ended != Ended::Ok,
        stored(spent.usage.input_tokens),
        stored(spent.usage.cached_tokens),
        stored(spent.usage.output_tokens),
        spent.cost.0
    ])?;
    Ok(())
}

/// All that a model ever took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Provider.
    pub provider: String,
    /// Model.
    pub model: String,
    /// Attempts.
    pub calls: u64,
    /// Of these, attempts that gave no answer.
    pub failed: u64,
    /// Tokens.
    pub usage: Usage,
    /// Cost.
    pub cost: Usd,
}

/// What each model ever took.
pub fn totals(c: &Connection) -> Result<Vec<Total>> {
    let mut query = c.prepare_cached("SELECT * FROM usage_totals")?;
    let rows = query.query_map([], |row| {
        Ok(Total {
            provider: row.get("provider")?,
            model: row.get("model")?,
            calls: number(row, "calls")?,
            failed: number(row, "failed")?,
            usage: Usage {
                input_tokens: number(row, "input_tokens")?,
                cached_tokens: number(row, "cached_tokens")?,
                output_tokens: number(row, "output_tokens")?,
                estimated: false,
            },
            cost: Usd(row.get("cost_nanousd")?),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn number(row: &Row<'_>, name: &str) -> rusqlite::Result<u64> {
    row.get::<_, i64>(name).map(i64::unsigned_abs)
}

/// An attempt as it is shown in a trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attempt {
    /// Its model step; for a skill what all attempts at one of its questions share.
    #[serde(skip)]
    pub step: Option<StepId>,
    /// `chat`, or `skill:NAME`.
    #[serde(skip)]
    pub purpose: String,
    /// What for, where that is known.
    #[serde(skip)]
    pub task: Option<String>,
    /// Its number in the step.
    pub attempt: u32,
    /// Provider.
    pub provider: String,
    /// Model.
    pub model: String,
    /// `ok`, `failed`, `cancelled`, `interrupted` or `cached`.
    pub status: String,
    /// One word for what went wrong.
    pub error: Option<String>,
    /// The same in a sentence.
    pub detail: Option<String>,
    /// Tokens.
    pub usage: Usage,
    /// Cost; none for calls of versions that knew no price.
    pub cost_usd: Option<Usd>,
    /// Where the price came from.
    pub price_source: Option<String>,
    /// When it began; none for calls of versions that did not keep that.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub at: Timestamp,
}

/// All attempts of a turn, those of its skills too, in order.
pub fn attempts(c: &Connection, turn: TurnId) -> Result<Vec<Attempt>> {
    let mut query =
        c.prepare_cached("SELECT * FROM usage WHERE turn_id = ?1 ORDER BY at, attempt")?;
    let rows = query.query_map([turn], |row| {
        Ok(Attempt {
            step: row.get("step_id")?,
            purpose: row.get("purpose")?,
            task: row.get("task")?,
            attempt: row.get("attempt")?,
            provider: row.get("provider")?,
            model: row.get("model")?,
            status: row.get("status")?,
            error: row.get("error")?,
            detail: row.get("detail")?,
            usage: tokens(row)?,
            cost_usd: row.get::<_, Option<i64>>("cost_nanousd")?.map(Usd),
            price_source: row.get("price_source")?,
            started_at: row.get("started_at")?,
            at: row.get("at")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What is known that a turn cost so far, what its skills asked included.
pub fn known_cost(c: &Connection, turn: TurnId) -> Result<Usd> {
    let sql = "SELECT coalesce(sum(cost_nanousd), 0) FROM usage WHERE turn_id = ?1";
    let mut query = c.prepare_cached(sql)?;
    Ok(Usd(query.query_row([turn], |row| row.get(0))?))
}

fn tokens(row: &Row<'_>) -> rusqlite::Result<Usage> {
    Ok(Usage {
        input_tokens: number(row, "input_tokens")?,
        cached_tokens: number(row, "cached_tokens")?,
        output_tokens: number(row, "output_tokens")?,
        estimated: row.get("estimated")?,
    })
}

/// What the last answered call of a session took: what its next one will read, but for what is new.
pub fn last_of_session(c: &Connection, session: SessionId) -> Result<Option<Usage>> {
    let sql = "SELECT * FROM usage WHERE session_id = ?1 AND status = 'ok' AND purpose = 'chat'
                 AND provider <> 'offline' ORDER BY at DESC LIMIT 1";
    let mut query = c.prepare_cached(sql)?;
    let mut rows = query.query_map([session], tokens)?;
    Ok(rows.next().transpose()?)
}

/// What a turn took and cost; estimated if tokens or price of any of its calls are. No cost if any of
/// its calls was made by a version that knew no price.
pub fn of_turn(c: &Connection, turn: TurnId) -> Result<(Usage, Option<Usd>)> {
    let sql = "SELECT coalesce(sum(input_tokens), 0) AS input_tokens,
                 coalesce(sum(cached_tokens), 0) AS cached_tokens,
                 coalesce(sum(output_tokens), 0) AS output_tokens,
                 coalesce(max(estimated OR coalesce(price_source, '') = 'ceiling'), 0) AS estimated,
                 CASE WHEN count(*) = count(cost_nanousd) THEN coalesce(sum(cost_nanousd), 0) END AS cost
               FROM usage WHERE turn_id = ?1";
    Ok(c.prepare_cached(sql)?.query_row([turn], |row| {
        Ok((tokens(row)?, row.get::<_, Option<i64>>("cost")?.map(Usd)))
    })?)
}
