//! Accepted messages: on disk before anybody is told that they arrived.

mod change;
mod sender;

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

pub use change::{put_back, reword, set_deleted, supersede, turn};
pub use sender::{account, is_known, sender};

use super::{Result, sessions};
use crate::types::{
    Address, Cursor, Inbound, MessageId, SessionId, Timestamp, TurnId, UserId, WhenBusy,
};

/// What became of an inbound message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is on disk and will be answered.
    New(MessageId, SessionId),
    /// It was on disk already: a redelivery.
    Again(MessageId, SessionId),
}

impl Accepted {
    /// The message and its session.
    pub fn ids(self) -> (MessageId, SessionId) {
        match self {
            Self::New(message, session) | Self::Again(message, session) => (message, session),
        }
    }
}

/// Why a message is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The sender named a session that does not exist, or is not theirs.
    #[error("there is no session {0}")]
    NoSession(SessionId),
    /// The sender is on no list and not paired.
    #[error("the sender is on no list and not paired")]
    Stranger,
}

/// How a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for its turn.
    Pending,
    /// Is being answered.
    Running,
    /// Was answered.
    Answered,
    /// Was answered with a failure.
    Failed,
    /// Was stopped by the person.
    Cancelled,
    /// Was answered together with another one.
    Merged,
}

impl State {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Merged => "merged",
        }
    }
}

/// A message that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The message.
    pub id: MessageId,
    /// Its session.
    pub session: SessionId,
    /// Who sent it.
    pub user: UserId,
    /// The sender's id on the platform.
    pub external_user: String,
    /// Where the answer goes.
    pub from: Address,
    /// The platform's id of the message.
    pub external_id: String,
    /// What was said.
    pub text: String,
    /// What a model is told before that.
    pub preface: String,
    /// Whether its sender deleted it.
    pub deleted: bool,
    /// A model named for it.
    pub model: Option<String>,
    /// What it does when a turn runs.
    pub mode: WhenBusy,
    /// For one that joined a running turn: said before the step with this ordinal.
    pub joined: Option<u32>,
    /// Whether a plan is wanted first.
    pub plan: bool,
    /// When it was accepted.
    pub received_at: Timestamp,
}

fn waiting(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    Ok(Waiting {
        id: row.get("id")?,
        session: row.get("session_id")?,
        user: row.get("user_id")?,
        external_user: row.get("external_user")?,
        from: Address {
            connector: row.get("connector")?,
            account: row.get("account")?,
            chat: row.get("chat")?,
        },
        external_id: row.get("external_id")?,
        text: row.get("text")?,
        preface: row.get("preface")?,
        deleted: row.get::<_, Option<Timestamp>>("deleted_at")?.is_some(),
        model: row.get("model")?,
        mode: WhenBusy::parse(&row.get::<_, String>("mode")?),
        joined: row.get("joined")?,
        plan: row.get("plan")?,
        received_at: row.get("received_at")?,
    })
}

/// Writes a message and the platform's cursor; `mode` is what it does when a turn runs. A message
/// that is there already changes nothing.
/// The caller adds the message to the session's messages and wakes its lane after the commit.
pub fn accept(
    tx: &Transaction<'_>,
    message: &Inbound,
    mode: WhenBusy,
    now: Timestamp,
) -> Result<std::result::Result<Accepted, Refusal>> {
    if let Some(cursor) = &message.cursor {
        set_cursor(tx, &message.from, cursor)?;
    }
    if let Some((id, session)) = find(tx, &message.from, &message.external_id)? {
        return Ok(Ok(Accepted::Again(id, session)));
    }
    let Some(user) = sender(tx, message, now)?.map(|user| user.id) else {
        return Ok(Err(Refusal::Stranger));
    };
    let session = match message.session {
        Some(named) if sessions::place(tx, named)?.is_none() => {
            return Ok(Err(Refusal::NoSession(named)));
        }
        Some(named) => named,
        None => sender::conversation(tx, message, user, now)?,
    };
    let id = MessageId::new();
    insert(tx, (message, mode), (id, session, user), now)?;
    Ok(Ok(Accepted::New(id, session)))
}

fn insert(
    tx: &Transaction<'_>,
    (message, mode): (&Inbound, WhenBusy),
    (id, session, user): (MessageId, SessionId, UserId),
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO inbox (id, connector, account, chat, external_id, external_user,
                                  session_id, user_id, text, model, state, received_at, mode, plan)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'pending', ?11, ?12, ?13)";
    tx.prepare_cached(sql)?.execute(params![
        id,
        message.from.connector,
        message.from.account,
        message.from.chat,
        message.external_id,
        message.user,
        session,
        user,
        message.text,
        message.model,
        now,
        mode.as_str(),
        message.plan
    ])?;
    Ok(())
}

/// The message with an external id.
pub fn find(
    c: &Connection,
    from: &Address,
    external_id: &str,
) -> Result<Option<(MessageId, SessionId)>> {
    let sql = "SELECT id, session_id FROM inbox
               WHERE connector = ?1 AND account = ?2 AND external_id = ?3";
    let mut query = c.prepare_cached(sql)?;
    let found = query.query_row([&from.connector, &from.account, external_id], |row| {
        Ok((row.get(0)?, row.get(1)?))
    });
    Ok(found.optional()?)
}

/// The oldest messages of a session that wait for a turn.
pub fn pending(c: &Connection, session: SessionId, limit: u32) -> Result<Vec<Waiting>> {
    let sql =
        "SELECT * FROM inbox WHERE session_id = ?1 AND state = 'pending' ORDER BY id LIMIT ?2";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![session, limit], waiting)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The newest `/stop` that waits in a session.
pub fn stopping(c: &Connection, session: SessionId) -> Result<Option<Waiting>> {
    let sql = "SELECT * FROM inbox WHERE session_id = ?1 AND state = 'pending' AND mode = 'stop'
               ORDER BY id DESC LIMIT 1";
    Ok(c.prepare_cached(sql)?
        .query_row([session], waiting)
        .optional()?)
}

/// The oldest message of a session that is answered beside a turn which waits for a person.
pub fn beside(c: &Connection, session: SessionId) -> Result<Option<Waiting>> {
    let sql = "SELECT * FROM inbox WHERE session_id = ?1 AND state = 'pending' AND mode = 'beside'
               ORDER BY id LIMIT 1";
    Ok(c.prepare_cached(sql)?
        .query_row([session], waiting)
        .optional()?)
}

/// Messages of a session that wait and came before another one.
pub fn pending_before(
    c: &Connection,
    session: SessionId,
    before: MessageId,
) -> Result<Vec<MessageId>> {
    let sql = "SELECT id FROM inbox WHERE session_id = ?1 AND state = 'pending' AND id < ?2";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![session, before], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The newest message of a session that waits and ends what runs, and how.
pub fn interrupting(c: &Connection, session: SessionId) -> Result<Option<(MessageId, WhenBusy)>> {
    let sql = "SELECT id, mode FROM inbox
               WHERE session_id = ?1 AND state = 'pending' AND mode IN ('interrupt', 'stop')
               ORDER BY id DESC LIMIT 1";
    let mut query = c.prepare_cached(sql)?;
    let newest = query.query_row([session], |row| {
        Ok((row.get(0)?, WhenBusy::parse(&row.get::<_, String>(1)?)))
    });
    Ok(newest.optional()?)
}

/// Every message that a turn answers, oldest first.
pub fn of_turn(c: &Connection, turn: TurnId) -> Result<Vec<Waiting>> {
    let mut query = c.prepare_cached("SELECT * FROM inbox WHERE turn_id = ?1 ORDER BY id")?;
    let rows = query.query_map([turn], waiting)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Messages that joined turns of a session while they ran, by turn, from a message on.
pub fn joined(
    c: &Connection,
    session: SessionId,
    from: MessageId,
) -> Result<HashMap<MessageId, u32>> {
    let sql = "SELECT id, joined FROM inbox
               WHERE session_id = ?1 AND id >= ?2 AND joined IS NOT NULL";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![session, from], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A turn takes a message: as part of what it was asked, or before the step with an ordinal.
pub fn take(tx: &Transaction<'_>, id: MessageId, turn: TurnId, joined: Option<u32>) -> Result<()> {
    let sql = "UPDATE inbox SET state = 'running', turn_id = ?2, joined = ?3 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, turn, joined])?;
    Ok(())
}

/// A message ends without being worked on, together with a turn that answers another.
pub fn drop_with(tx: &Transaction<'_>, id: MessageId, turn: TurnId, now: Timestamp) -> Result<()> {
    let sql = "UPDATE inbox SET state = 'cancelled', turn_id = ?2, finished_at = ?3 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, turn, now])?;
    Ok(())
}

/// The messages that a turn answered besides its own end with it.
pub fn merge(tx: &Transaction<'_>, turn: TurnId, now: Timestamp) -> Result<()> {
    let sql = "UPDATE inbox SET state = 'merged', finished_at = ?2
               WHERE turn_id = ?1 AND state = 'running'";
    tx.prepare_cached(sql)?.execute(params![turn, now])?;
    Ok(())
}

/// A message by id.
pub fn get(c: &Connection, id: MessageId) -> Result<Option<Waiting>> {
    let mut query = c.prepare_cached("SELECT * FROM inbox WHERE id = ?1")?;
    Ok(query.query_row([id], waiting).optional()?)
}

/// State and time of the end of a message.
pub fn state(c: &Connection, id: MessageId) -> Result<Option<(String, Option<Timestamp>)>> {
    let mut query = c.prepare_cached("SELECT state, finished_at FROM inbox WHERE id = ?1")?;
    Ok(query
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Sessions with messages that have no answer yet, the longest waiting first.
pub fn sessions_waiting(c: &Connection) -> Result<Vec<SessionId>> {
    let sql = "SELECT session_id FROM inbox WHERE state IN ('pending', 'running')
               GROUP BY session_id ORDER BY min(id)";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many messages wait or run.
pub fn backlog(c: &Connection) -> Result<u64> {
    let sql = "SELECT count(*) FROM inbox WHERE state IN ('pending', 'running')";
    Ok(c.prepare_cached(sql)?
        .query_row([], |row| row.get::<_, i64>(0))?
        .unsigned_abs())
}

/// Messages that were accepted.
pub fn count(c: &Connection) -> Result<u64> {
    let mut query = c.prepare_cached("SELECT count(*) FROM inbox")?;
    Ok(query
        .query_row([], |row| row.get::<_, i64>(0))?
        .unsigned_abs())
}

/// Moves a message to another state.
pub fn set_state(tx: &Transaction<'_>, id: MessageId, state: State, now: Timestamp) -> Result<()> {
    let ended = !matches!(state, State::Pending | State::Running);
    let sql = "UPDATE inbox SET state = ?2, finished_at = ?3 WHERE id = ?1";
    tx.prepare_cached(sql)?
        .execute(params![id, state.as_str(), ended.then_some(now)])?;
    Ok(())
}

/// The message that a turn replies to ends with it, unless it waits again.
pub fn end(
    tx: &Transaction<'_>,
    (id, turn): (MessageId, TurnId),
    state: State,
    now: Timestamp,
) -> Result<()> {
    let sql = "UPDATE inbox SET state = ?3, finished_at = ?4 WHERE id = ?1 AND turn_id = ?2";
    tx.prepare_cached(sql)?
        .execute(params![id, turn, state.as_str(), now])?;
    Ok(())
}

/// How far a platform's updates were taken in; `of` as in [`Cursor`].
pub fn cursor(c: &Connection, from: &Address, of: &str) -> Result<Option<String>> {
    let sql = "SELECT position FROM cursors WHERE connector = ?1 AND account = ?2";
    Ok(c.prepare_cached(sql)?
        .query_row([&from.connector, &place_of(from, of)], |row| row.get(0))
        .optional()?)
}

/// Updates were taken in up to a position.
pub fn set_cursor(tx: &Transaction<'_>, from: &Address, cursor: &Cursor) -> Result<()> {
    let sql = "INSERT INTO cursors (connector, account, position) VALUES (?1, ?2, ?3)
               ON CONFLICT (connector, account) DO UPDATE SET position = excluded.position";
    tx.prepare_cached(sql)?.execute([
        &from.connector,
        &place_of(from, &cursor.of),
        &cursor.position,
    ])?;
    Ok(())
}

fn place_of(from: &Address, of: &str) -> String {
    if of.is_empty() {
        from.account.clone()
    } else {
        format!("{}/{of}", from.account)
    }
}
