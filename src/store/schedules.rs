//! Reminders and repeated jobs, and the ledger of their firings.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;
use serde_json::Value;

use super::{Result, row};
use crate::types::{Address, ScheduleId, SessionId, Timestamp, UserId};

/// A reminder or a repeated job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Schedule {
    /// Id.
    pub id: ScheduleId,
    /// The session that it reaches.
    pub session_id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// Where it speaks.
    pub address: Address,
    /// The receiver's id on the platform.
    #[serde(skip)]
    pub external_user: String,
    /// What it does.
    pub kind: Kind,
    /// Which skill it runs.
    pub skill: Option<String>,
    /// The text of a reminder or prompt, or the input of a skill.
    pub input: Value,
    /// When it repeats; a single time without.
    pub cron: Option<String>,
    /// IANA name of the zone in which `cron` counts.
    pub time_zone: String,
    /// When it fires next.
    pub next_at: Option<Timestamp>,
    /// Whether it fires.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a schedule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Says a text.
    Reminder,
    /// Runs a skill.
    Skill,
    /// Asks the agent.
    Prompt,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Reminder => "reminder",
            Self::Skill => "skill",
            Self::Prompt => "prompt",
        }
    }
}

fn schedule(row: &Row<'_>) -> rusqlite::Result<Schedule> {
    Ok(Schedule {
        id: row.get("id")?,
        session_id: row.get("session_id")?,
        user_id: row.get("user_id")?,
        address: Address {
            connector: row.get("connector")?,
            account: row.get("account")?,
            chat: row.get("chat")?,
        },
        external_user: row.get("external_user")?,
        kind: match row.get::<_, String>("kind")?.as_str() {
            "reminder" => Kind::Reminder,
            "skill" => Kind::Skill,
            _ => Kind::Prompt,
        },
        skill: row.get("skill")?,
        input: row::json(row, "input")?,
        cron: row.get("cron")?,
        time_zone: row.get("time_zone")?,
        next_at: row.get("next_at")?,
        enabled: row.get("enabled")?,
        created_at: row.get("created_at")?,
    })
}

/// Writes a schedule.
pub fn insert(tx: &Transaction<'_>, s: &Schedule) -> Result<()> {
    let sql =
        "INSERT INTO schedules (id, session_id, user_id, connector, account, chat, external_user,
                 kind, skill, input, cron, time_zone, next_at, enabled, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    tx.prepare_cached(sql)?.execute(params![
        s.id,
        s.session_id,
        s.user_id,
        s.address.connector,
        s.address.account,
        s.address.chat,
        s.external_user,
        s.kind.as_str(),
        s.skill,
        s.input.to_string(),
        s.cron,
        s.time_zone,
        s.next_at,
        s.enabled,
        s.created_at
    ])?;
    Ok(())
}

/// Schedules that still fire, the next first; of one user or of all.
pub fn list(c: &Connection, user: Option<UserId>) -> Result<Vec<Schedule>> {
    let sql = "SELECT * FROM schedules WHERE next_at IS NOT NULL AND (?1 IS NULL OR user_id = ?1)
               ORDER BY next_at";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([user], schedule)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One schedule.
pub fn get(c: &Connection, id: ScheduleId) -> Result<Option<Schedule>> {
    let mut query = c.prepare_cached("SELECT * FROM schedules WHERE id = ?1")?;
    Ok(query.query_row([id], schedule).optional()?)
}

/// What is due.
pub fn due(c: &Connection, now: Timestamp, limit: u32) -> Result<Vec<Schedule>> {
    let sql =
        "SELECT * FROM schedules WHERE enabled = 1 AND next_at <= ?1 ORDER BY next_at LIMIT ?2";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![now, limit], schedule)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// When something is due next.
pub fn next_due(c: &Connection) -> Result<Option<Timestamp>> {
    let sql = "SELECT min(next_at) FROM schedules WHERE enabled = 1";
    Ok(c.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Writes the outcome of a slot; `false` if it has one already, and then it must not fire again.
pub fn record(
    tx: &Transaction<'_>,
    (id, slot): (ScheduleId, Timestamp),
    (outcome, reason): (&str, Option<&str>),
    now: Timestamp,
) -> Result<bool> {
    let sql =
        "INSERT INTO fires (schedule_id, slot, outcome, reason, at) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT DO NOTHING";
    let changed = tx
        .prepare_cached(sql)?
        .execute(params![id, slot, outcome, reason, now])?;
    Ok(changed == 1)
}

/// Sets when a schedule fires next; never again without a time.
pub fn set_next(tx: &Transaction<'_>, id: ScheduleId, next: Option<Timestamp>) -> Result<()> {
    tx.prepare_cached("UPDATE schedules SET next_at = ?2 WHERE id = ?1")?
        .execute(params![id, next])?;
    Ok(())
}

/// Removes a schedule; `false` if there is none.
pub fn remove(tx: &Transaction<'_>, id: ScheduleId) -> Result<bool> {
    Ok(tx
        .prepare_cached("DELETE FROM schedules WHERE id = ?1")?
        .execute([id])?
        > 0)
}
