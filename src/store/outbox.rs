//! Answers on their way: written with the end of the turn, delivered afterwards.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::Result;
use crate::types::{Address, MessageId, SessionId, Timestamp, TurnId};

/// An answer to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The answer's message id; also the idempotency key.
    pub id: MessageId,
    /// Session.
    pub session: SessionId,
    /// Turn; none for a reminder.
    pub turn: Option<TurnId>,
    /// The external id of the message that this answers.
    pub in_reply_to: Option<String>,
    /// Where to.
    pub to: Address,
    /// The receiver's id on the platform.
    pub external_user: String,
    /// Markdown.
    pub text: String,
    /// How it stands.
    pub state: String,
    /// Deliveries tried.
    pub attempts: u32,
    /// When to try next.
    pub next_at: Timestamp,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was settled.
    pub finished_at: Option<Timestamp>,
}

fn parcel(row: &Row<'_>) -> rusqlite::Result<Parcel> {
    Ok(Parcel {
        id: row.get("id")?,
        session: row.get("session_id")?,
        turn: row.get("turn_id")?,
        in_reply_to: row.get("in_reply_to")?,
        to: Address {
            connector: row.get("connector")?,
            account: row.get("account")?,
            chat: row.get("chat")?,
        },
        external_user: row.get("external_user")?,
        text: row.get("text")?,
        state: row.get("state")?,
        attempts: row.get("attempts")?,
        next_at: row.get("next_at")?,
        last_error: row.get("last_error")?,
        created_at: row.get("created_at")?,
        finished_at: row.get("finished_at")?,
    })
}

/// Puts an answer in the outbox: `prepared`, or `delivered` where the receiver reads the session
/// itself.
pub fn insert(tx: &Transaction<'_>, parcel: &Parcel) -> Result<()> {
    let sql = "INSERT INTO outbox (id, session_id, turn_id, in_reply_to, connector, account, chat,
                 external_user, text, state, next_at, created_at, finished_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12)";
    tx.prepare_cached(sql)?.execute(params![
        parcel.id,
        parcel.session,
        parcel.turn,
        parcel.in_reply_to,
        parcel.to.connector,
        parcel.to.account,
        parcel.to.chat,
        parcel.external_user,
        parcel.text,
        parcel.state,
        parcel.created_at,
        parcel.finished_at
    ])?;
    Ok(())
}

/// Takes what is due and marks it as being sent.
pub fn take_due(tx: &Transaction<'_>, now: Timestamp, limit: u32) -> Result<Vec<Parcel>> {
    let sql = "UPDATE outbox SET state = 'sending', attempts = attempts + 1
               WHERE id IN (SELECT id FROM outbox
                            WHERE state IN ('prepared', 'retry', 'ambiguous') AND next_at <= ?1
                            ORDER BY next_at, id LIMIT ?2)
               RETURNING *";
    let mut query = tx.prepare_cached(sql)?;
    let rows = query.query_map(params![now, limit], parcel)?;
    let mut due: Vec<Parcel> = rows.collect::<rusqlite::Result<_>>()?;
    due.sort_by_key(|p| p.id);
    Ok(due)
}

/// When the next delivery is due.
pub fn next_due(c: &Connection) -> Result<Option<Timestamp>> {
    let sql = "SELECT min(next_at) FROM outbox WHERE state IN ('prepared', 'retry', 'ambiguous')";
    Ok(c.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// It arrived.
pub fn delivered(
    tx: &Transaction<'_>,
    id: MessageId,
    receipt: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let sql =
        "UPDATE outbox SET state = 'delivered', receipt = ?2, last_error = NULL, finished_at = ?3
               WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, receipt, now])?;
    Ok(())
}

/// It did not arrive; try again then.
pub fn retry(tx: &Transaction<'_>, id: MessageId, why: &str, at: Timestamp) -> Result<()> {
    let sql = "UPDATE outbox SET state = 'retry', last_error = ?2, next_at = ?3 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, why, at])?;
    Ok(())
}

/// It will not arrive: `dead` (refused) or `expired` (too old to be of use).
pub fn give_up(
    tx: &Transaction<'_>,
    id: MessageId,
    (state, why): (&str, &str),
    now: Timestamp,
) -> Result<()> {
    let sql = "UPDATE outbox SET state = ?2, last_error = ?3, finished_at = ?4 WHERE id = ?1";
    tx.prepare_cached(sql)?
        .execute(params![id, state, why, now])?;
    Ok(())
}

/// After a restart: what was being sent may or may not have arrived.
pub fn recover(tx: &Transaction<'_>) -> Result<usize> {
    let sql = "UPDATE outbox SET state = 'ambiguous', last_error = 'nexflow stopped while sending'
               WHERE state = 'sending'";
    Ok(tx.execute(sql, [])?)
}

/// The delivery of an answer.
pub fn get(c: &Connection, id: MessageId) -> Result<Option<Parcel>> {
    let mut query = c.prepare_cached("SELECT * FROM outbox WHERE id = ?1")?;
    Ok(query.query_row([id], parcel).optional()?)
}

/// How many are open, and how many were given up.
pub fn counts(c: &Connection) -> Result<(u64, u64)> {
    let sql =
        "SELECT count(*) FILTER (WHERE state IN ('prepared', 'sending', 'retry', 'ambiguous')),
                      count(*) FILTER (WHERE state IN ('dead', 'expired')) FROM outbox";
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let (open, dead) = c.prepare_cached(sql)?.query_row([], read)?;
    Ok((open.unsigned_abs(), dead.unsigned_abs()))
}
