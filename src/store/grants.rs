//! Lasting answers: calls like this one are not asked about again.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;
use serde_json::Value;

use super::{Result, row};
use crate::types::{ApprovalId, GrantId, SessionId, Timestamp, UserId};

/// One.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grant {
    /// Id.
    pub id: GrantId,
    /// The conversation that it holds for; none for all of the person's.
    pub session_id: Option<SessionId>,
    /// Whose calls it is about.
    pub person_id: UserId,
    /// The tool or skill.
    pub tool: String,
    /// Hash of the skill: a changed one is asked about again.
    pub hash: String,
    /// Which calls: `text` is for a person.
    pub pattern: Value,
    /// Whether it holds for calls that the flow gate asks about.
    pub gated: bool,
    /// The question that it answered.
    pub approval_id: Option<ApprovalId>,
    /// Who gave it.
    pub made_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when; none until the conversation is removed.
    pub expires_at: Option<Timestamp>,
    /// How many calls it has let through.
    pub used: u64,
    /// When the last one was.
    pub used_at: Option<Timestamp>,
}

fn grant(row: &Row<'_>) -> rusqlite::Result<Grant> {
    Ok(Grant {
        id: row.get("id")?,
        session_id: row.get("session_id")?,
        person_id: row.get("person_id")?,
        tool: row.get("tool")?,
        hash: row.get("hash")?,
        pattern: row::json(row, "pattern")?,
        gated: row.get("gated")?,
        approval_id: row.get("approval_id")?,
        made_by: row.get("made_by")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        used: row.get::<_, i64>("used")?.unsigned_abs(),
        used_at: row.get("used_at")?,
    })
}

/// Gives one.
pub fn insert(tx: &Transaction<'_>, one: &Grant) -> Result<()> {
    let sql = "INSERT INTO grants (id, session_id, person_id, tool, hash, pattern, gated,
                                   approval_id, made_by, created_at, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    tx.prepare_cached(sql)?.execute(params![
        one.id,
        one.session_id,
        one.person_id,
        one.tool,
        one.hash,
        one.pattern.to_string(),
        one.gated,
        one.approval_id,
        one.made_by,
        one.created_at,
        one.expires_at
    ])?;
    Ok(())
}

/// Takes one back. Answers it, if it was there.
pub fn revoke(tx: &Transaction<'_>, id: GrantId, now: Timestamp) -> Result<Option<Grant>> {
    let sql = "UPDATE grants SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL RETURNING *";
    Ok(tx
        .prepare_cached(sql)?
        .query_row(params![id, now], grant)
        .optional()?)
}

/// Counts a call that one let through.
pub fn used(tx: &Transaction<'_>, id: GrantId, now: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE grants SET used = used + 1, used_at = ?2 WHERE id = ?1")?
        .execute(params![id, now])?;
    Ok(())
}

/// Those that hold now in a person's conversation.
pub fn holding(
    c: &Connection,
    person: UserId,
    session: SessionId,
    now: Timestamp,
) -> Result<Vec<Grant>> {
    let sql = "SELECT * FROM grants WHERE revoked_at IS NULL AND person_id = ?1
                 AND (session_id IS NULL OR session_id = ?2)
                 AND (expires_at IS NULL OR expires_at > ?3) ORDER BY id DESC";
    many(c, sql, params![person, session, now])
}

/// All that hold now, of one person or of everybody, newest first.
pub fn list(c: &Connection, person: Option<UserId>, now: Timestamp) -> Result<Vec<Grant>> {
    let sql = "SELECT * FROM grants WHERE revoked_at IS NULL AND (?1 IS NULL OR person_id = ?1)
                 AND (expires_at IS NULL OR expires_at > ?2) ORDER BY id DESC";
    many(c, sql, params![person, now])
}

fn many(c: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Grant>> {
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params, grant)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
