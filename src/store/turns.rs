//! Turns and their steps: what is being done to answer a message, written as it is done.

mod step;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

pub use step::{
    Said, Step, StepKind, end_step, finish_model, finish_tool, start_model, start_tool, steps,
    steps_with_tools,
};

use super::Result;
use crate::types::{Address, MessageId, SessionId, Timestamp, TurnId};

/// A turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Id.
    pub id: TurnId,
    /// Session.
    pub session: SessionId,
    /// The message that it answers.
    pub message: MessageId,
    /// Where the answer goes.
    pub reply_to: Address,
    /// `running`, `answered`, `failed` or `cancelled`.
    pub state: String,
    /// 1, or more after restarts.
    pub attempt: u32,
    /// How often it was put down by a stop that was asked for.
    pub stops: u32,
    /// Who answered.
    pub provider: Option<String>,
    /// With which model.
    pub model: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Since when it waits for a person.
    pub parked_at: Option<Timestamp>,
    /// How long it has waited for persons before, in microseconds.
    pub waited: i64,
}

fn turn(row: &Row<'_>) -> rusqlite::Result<Turn> {
    Ok(Turn {
        id: row.get("id")?,
        session: row.get("session_id")?,
        message: row.get("message_id")?,
        reply_to: Address {
            connector: row.get("connector")?,
            account: row.get("account")?,
            chat: row.get("chat")?,
        },
        state: row.get("state")?,
        attempt: row.get("attempt")?,
        stops: row.get("stops")?,
        provider: row.get("provider")?,
        model: row.get("model")?,
        error: row.get("error")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
        parked_at: row.get("parked_at")?,
        waited: row.get("waited")?,
    })
}

/// Begins a turn.
pub fn start(tx: &Transaction<'_>, turn: &Turn) -> Result<()> {
    let sql = "INSERT INTO turns (id, session_id, message_id, connector, account, chat,
                                  state, attempt, started_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'running', ?7, ?8)";
    tx.prepare_cached(sql)?.execute(params![
        turn.id,
        turn.session,
        turn.message,
        turn.reply_to.connector,
        turn.reply_to.account,
        turn.reply_to.chat,
        turn.attempt,
        turn.started_at
    ])?;
    Ok(())
}

/// A running turn begins again.
pub fn set_attempt(tx: &Transaction<'_>, id: TurnId, attempt: u32) -> Result<()> {
    tx.prepare_cached("UPDATE turns SET attempt = ?2 WHERE id = ?1")?
        .execute(params![id, attempt])?;
    Ok(())
}

/// Turns that run are put down until the next start.
pub fn put_down(tx: &Transaction<'_>) -> Result<usize> {
    let sql = "UPDATE turns SET stops = stops + 1 WHERE state = 'running' AND parked_at IS NULL";
    Ok(tx.execute(sql, [])?)
}

/// That a turn begins again is not counted against it.
pub fn excuse(tx: &Transaction<'_>, turn: &mut Turn) -> Result<()> {
    turn.stops += 1;
    tx.prepare_cached("UPDATE turns SET stops = ?2 WHERE id = ?1")?
        .execute(params![turn.id, turn.stops])?;
    Ok(())
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// `answered`, `failed` or `cancelled`.
    pub state: &'static str,
    /// Who answered.
    pub provider: String,
    /// With which model.
    pub model: String,
    /// Why it failed.
    pub error: Option<String>,
}

/// Ends a turn. `false` if it had ended already: then nothing was changed, and the caller must not
/// answer a second time.
pub fn finish(tx: &Transaction<'_>, id: TurnId, end: &End, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE turns SET state = ?2, provider = ?3, model = ?4, error = ?5, finished_at = ?6
               WHERE id = ?1 AND state = 'running'";
    let changed = tx.prepare_cached(sql)?.execute(params![
        id,
        end.state,
        end.provider,
        end.model,
        end.error,
        now
    ])?;
    Ok(changed == 1)
}

/// The turn that a session was in when the daemon stopped.
pub fn running(c: &Connection, session: SessionId) -> Result<Option<Turn>> {
    let sql = "SELECT * FROM turns WHERE session_id = ?1 AND state = 'running' ORDER BY id LIMIT 1";
    Ok(c.prepare_cached(sql)?
        .query_row([session], turn)
        .optional()?)
}

/// The turn of a session that goes on first: one that works before one that waits for a person.
pub fn unfinished(c: &Connection, session: SessionId) -> Result<Option<Turn>> {
    let sql = "SELECT * FROM turns WHERE session_id = ?1 AND state = 'running'
               ORDER BY parked_at IS NOT NULL, id LIMIT 1";
    Ok(c.prepare_cached(sql)?
        .query_row([session], turn)
        .optional()?)
}

/// A turn by id.
pub fn get(c: &Connection, id: TurnId) -> Result<Option<Turn>> {
    let mut query = c.prepare_cached("SELECT * FROM turns WHERE id = ?1")?;
    Ok(query.query_row([id], turn).optional()?)
}

/// The turn that answers a message.
pub fn of_message(c: &Connection, id: MessageId) -> Result<Option<Turn>> {
    let sql = "SELECT * FROM turns WHERE message_id = ?1 ORDER BY id DESC LIMIT 1";
    Ok(c.prepare_cached(sql)?.query_row([id], turn).optional()?)
}
