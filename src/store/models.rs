//! Which models people and conversations chose, and calls of models that no step tells of.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::Result;
use crate::types::{SessionId, StepId, Timestamp, TurnId, UserId};

/// What was chosen, the closest first: for the conversation, by the person.
pub fn chosen(c: &Connection, (session, user): (SessionId, UserId)) -> Result<Vec<String>> {
    let own = of_session(c, session)?;
    Ok(own.into_iter().chain(of_person(c, user)?).collect())
}

/// What was chosen for a conversation.
pub fn of_session(c: &Connection, session: SessionId) -> Result<Option<String>> {
    let mut query = c.prepare_cached("SELECT model FROM sessions WHERE id = ?1")?;
    let found = query.query_row([session], |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

/// What the person chose who speaks through an account.
pub fn of_person(c: &Connection, user: UserId) -> Result<Option<String>> {
    let sql = "SELECT p.model FROM users u JOIN users p ON p.id = u.person_id WHERE u.id = ?1";
    let mut query = c.prepare_cached(sql)?;
    let found = query.query_row([user], |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

/// Chooses for a conversation; none leaves it to the configuration. `false` if it is not there.
pub fn choose_for_session(
    tx: &Transaction<'_>,
    session: SessionId,
    model: Option<&str>,
) -> Result<bool> {
    let sql = "UPDATE sessions SET model = ?2 WHERE id = ?1";
    let changed = tx.prepare_cached(sql)?.execute(params![session, model])?;
    Ok(changed > 0)
}

/// Chooses for a person, on all of their accounts; none leaves it to the configuration.
pub fn choose_for_person(tx: &Transaction<'_>, user: UserId, model: Option<&str>) -> Result<()> {
    let sql = "UPDATE users SET model = ?2
               WHERE id = (SELECT person_id FROM users WHERE id = ?1)";
    tx.prepare_cached(sql)?.execute(params![user, model])?;
    Ok(())
}

/// One call of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelCall {
    /// The turn that caused it; none for a skill that runs outside a turn.
    pub turn: Option<TurnId>,
    /// The step that it was made for; for a skill its row in `usage`.
    pub call: StepId,
    /// `turn`, or `skill:NAME`.
    pub purpose: String,
    /// What for.
    pub task: String,
    /// Who was asked.
    pub provider: String,
    /// For which model.
    pub model: String,
    /// `ok`, `cached` or the word of an error.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

fn call(row: &Row<'_>) -> rusqlite::Result<ModelCall> {
    Ok(ModelCall {
        turn: row.get("turn_id")?,
        call: row.get("call_id")?,
        purpose: row.get("purpose")?,
        task: row.get("task")?,
        provider: row.get("provider")?,
        model: row.get("model")?,
        outcome: row.get("outcome")?,
        error: row.get("error")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
    })
}

/// Keeps a call that ended.
pub fn insert(tx: &Transaction<'_>, call: &ModelCall) -> Result<()> {
    let sql = "INSERT INTO model_calls (turn_id, call_id, purpose, task, provider, model, outcome,
                 error, started_at, finished_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    tx.prepare_cached(sql)?.execute(params![
        call.turn,
        call.call,
        call.purpose,
        call.task,
        call.provider,
        call.model,
        call.outcome,
        call.error,
        call.started_at,
        call.finished_at,
    ])?;
    Ok(())
}

/// The calls of a turn, in order.
pub fn of_turn(c: &Connection, turn: TurnId) -> Result<Vec<ModelCall>> {
    let mut query = c.prepare_cached("SELECT * FROM model_calls WHERE turn_id = ?1 ORDER BY n")?;
    let rows = query.query_map([turn], call)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
