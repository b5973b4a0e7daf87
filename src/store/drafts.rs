//! Live drafts: the post that shows a turn on its platform while it runs. A row is written before the
//! first request, so that a draft is found again whatever happens, and goes when the answer took its
//! place.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::Result;
use crate::types::{SessionId, Timestamp, TurnId};

/// What is known of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The first request is on its way.
    Opening,
    /// This post shows it.
    Open(String),
    /// Nobody saw what became of the first request.
    Unknown,
}

fn state(row: &Row<'_>) -> rusqlite::Result<State> {
    let name: String = row.get("state")?;
    Ok(match (name.as_str(), row.get("post")?) {
        (_, Some(post)) => State::Open(post),
        ("opening", None) => State::Opening,
        _ => State::Unknown,
    })
}

/// What a draft shows: what is said, and what happens now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// The text so far.
    pub text: String,
    /// One line below it; often empty.
    pub status: String,
}

/// The first request is about to go out, with these words. `false` if there is a draft already, or the
/// turn has ended.
pub fn begin(tx: &Transaction<'_>, turn: TurnId, words: &Words, now: Timestamp) -> Result<bool> {
    let sql = "INSERT OR IGNORE INTO drafts (turn_id, state, opened_at, first_text, first_status)
               SELECT id, 'opening', ?2, ?3, ?4 FROM turns WHERE id = ?1 AND state = 'running'";
    let values = params![turn, now, words.text, words.status];
    Ok(tx.prepare_cached(sql)?.execute(values)? == 1)
}

/// The words of the first request, by which its post is known again.
pub fn first_words(c: &Connection, turn: TurnId) -> Result<Option<Words>> {
    let sql = "SELECT first_text, first_status FROM drafts WHERE turn_id = ?1";
    let words = |row: &Row<'_>| {
        Ok(Words {
            text: row.get("first_text")?,
            status: row.get("first_status")?,
        })
    };
    Ok(c.prepare_cached(sql)?.query_row([turn], words).optional()?)
}

/// This post shows it.
pub fn opened(tx: &Transaction<'_>, turn: TurnId, post: &str) -> Result<()> {
    let sql = "UPDATE drafts SET state = 'open', post = ?2 WHERE turn_id = ?1";
    tx.prepare_cached(sql)?.execute(params![turn, post])?;
    Ok(())
}

/// The first request may have arrived.
pub fn unsure(tx: &Transaction<'_>, turn: TurnId) -> Result<()> {
    let sql = "UPDATE drafts SET state = 'unknown' WHERE turn_id = ?1 AND post IS NULL";
    tx.prepare_cached(sql)?.execute([turn])?;
    Ok(())
}

/// There is none, or its place was taken.
pub fn forget(tx: &Transaction<'_>, turn: TurnId) -> Result<()> {
    tx.prepare_cached("DELETE FROM drafts WHERE turn_id = ?1")?
        .execute([turn])?;
    Ok(())
}

/// Nobody waits any more for the answers to first requests.
pub fn recover(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(
        "UPDATE drafts SET state = 'unknown' WHERE state = 'opening'",
        [],
    )?;
    Ok(())
}

/// The draft of a turn.
pub fn get(c: &Connection, turn: TurnId) -> Result<Option<State>> {
    let mut query = c.prepare_cached("SELECT state, post FROM drafts WHERE turn_id = ?1")?;
    Ok(query.query_row([turn], state).optional()?)
}

/// Of drafts `d` with their turns `t`: those whose answer does not come, because it was dropped or given
/// up.
const LEFT: &str = "t.state <> 'running' AND NOT EXISTS (
    SELECT 1 FROM outbox o WHERE o.turn_id = t.id AND o.notice = 0
      AND o.state IN ('prepared', 'sending', 'ambiguous', 'retry'))";

/// Drafts whose answer does not come, the oldest first.
pub fn left(c: &Connection, limit: u32) -> Result<Vec<TurnId>> {
    let sql = format!(
        "SELECT t.id FROM drafts d JOIN turns t ON t.id = d.turn_id WHERE {LEFT}
         ORDER BY d.opened_at LIMIT ?1"
    );
    let mut query = c.prepare_cached(&sql)?;
    let rows = query.query_map([limit], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Whether the answer does not come that was to take the place of a turn's draft.
pub fn is_left(c: &Connection, turn: TurnId) -> Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM drafts d JOIN turns t ON t.id = d.turn_id
                        WHERE t.id = ?1 AND {LEFT})"
    );
    Ok(c.prepare_cached(&sql)?
        .query_row([turn], |row| row.get(0))?)
}

/// Turns that run now, with their sessions; not those that wait for a person.
pub fn running(c: &Connection, limit: u32) -> Result<Vec<(TurnId, SessionId)>> {
    let sql = "SELECT id, session_id FROM turns WHERE state = 'running' AND parked_at IS NULL
               ORDER BY id LIMIT ?1";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([limit], |row| Ok((row.get("id")?, row.get("session_id")?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
