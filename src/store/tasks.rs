//! Executions of skills: written before the process starts.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Result, audit, row};
use crate::types::{SessionId, TaskId, Timestamp, TurnId, frame::CallStatus};

/// One execution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// Id.
    pub id: TaskId,
    /// Session, if it belongs to one.
    pub session_id: Option<SessionId>,
    /// Turn, if it belongs to one.
    pub turn_id: Option<TurnId>,
    /// Skill.
    pub skill: String,
    /// Input.
    pub input: Value,
    /// Output.
    pub output: Value,
    /// How it stands.
    pub status: CallStatus,
    /// Why it failed.
    pub error: Option<String>,
    /// How it was confined.
    pub sandbox: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

fn task(row: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        id: row.get("id")?,
        session_id: row.get("session_id")?,
        turn_id: row.get("turn_id")?,
        skill: row.get("skill")?,
        input: row::json(row, "input")?,
        output: row::json(row, "output")?,
        status: CallStatus::parse(&row.get::<_, String>("status")?),
        error: row.get("error")?,
        sandbox: row.get("sandbox")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

/// Begins an execution.
pub fn start(
    tx: &Transaction<'_>,
    id: TaskId,
    (skill, input): (&str, &Value),
    (session, turn): (Option<SessionId>, Option<TurnId>),
    now: Timestamp,
) -> Result<()> {
    let sql =
        "INSERT INTO tasks (id, session_id, turn_id, skill, input, status, created_at, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, 'running', ?6, ?6)";
    let input = input.to_string();
    tx.prepare_cached(sql)?
        .execute(params![id, session, turn, skill, input, now])?;
    Ok(())
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// Status.
    pub status: CallStatus,
    /// Output.
    pub output: Value,
    /// Why it failed.
    pub error: Option<String>,
    /// How it was confined.
    pub sandbox: Option<String>,
}

/// Ends an execution.
pub fn finish(tx: &Transaction<'_>, id: TaskId, end: &End, now: Timestamp) -> Result<()> {
    let sql = "UPDATE tasks SET status = ?2, output = ?3, error = ?4, sandbox = ?5, updated_at = ?6
               WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![
        id,
        end.status.as_str(),
        end.output.to_string(),
        end.error,
        end.sandbox,
        now
    ])?;
    Ok(())
}

/// After a restart: what ran then has an unknown outcome.
pub fn recover(tx: &Transaction<'_>, now: Timestamp) -> Result<usize> {
    for task in running(tx)? {
        let detail = json!({ "task": task.id, "turn": task.turn_id, "outcome": "interrupted" });
        let entry = audit::Entry::new(now, "nexflow", "skill.ended", &task.skill);
        audit::append(tx, &entry.with(detail))?;
    }
    let sql = "UPDATE tasks SET status = 'interrupted', updated_at = ?1,
                 error = 'nexflow stopped while it ran; what it had done is unknown'
               WHERE status = 'running'";
    Ok(tx.execute(sql, [now])?)
}

fn running(c: &Connection) -> Result<Vec<Task>> {
    let mut query = c.prepare_cached("SELECT * FROM tasks WHERE status = 'running' ORDER BY id")?;
    let rows = query.query_map([], task)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One execution.
pub fn get(c: &Connection, id: TaskId) -> Result<Option<Task>> {
    let mut query = c.prepare_cached("SELECT * FROM tasks WHERE id = ?1")?;
    Ok(query.query_row([id], task).optional()?)
}

/// The newest executions, newest first, of one session or of all.
pub fn recent(c: &Connection, session: Option<SessionId>, limit: u32) -> Result<Vec<Task>> {
    let sql = "SELECT * FROM tasks WHERE ?1 IS NULL OR session_id = ?1 ORDER BY id DESC LIMIT ?2";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![session, limit], task)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
