//! Kept frames: what a page that reconnects is shown again.

use rusqlite::{Connection, Transaction, params};

use super::Result;
use crate::types::{SessionId, frame::Frame};

/// Kept frames of a session; older ones are read from its messages.
const KEEP: i64 = 2000;

pub(super) fn insert(tx: &Transaction<'_>, frame: &Frame) -> Result<()> {
    let sql = "INSERT INTO frames (session_id, seq, body) VALUES (?1, ?2, ?3)";
    let body = serde_json::to_string(&frame.body).unwrap_or_default();
    tx.prepare_cached(sql)?
        .execute(params![frame.session_id, frame.seq, body])?;
    Ok(())
}

/// Frames with `after < seq <= upto`, in order; at most `limit`.
pub fn between(
    c: &Connection,
    session: SessionId,
    (after, upto): (i64, i64),
    limit: u32,
) -> Result<Vec<Frame>> {
    let sql = "SELECT seq, body FROM frames
               WHERE session_id = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4";
    let mut query = c.prepare_cached(sql)?;
    let mut rows = query.query(params![session, after, upto, limit])?;
    let mut frames = Vec::new();
    while let Some(row) = rows.next()? {
        let body: String = row.get(1)?;
        // A frame of a version that no longer exists is left out rather than failing the page.
        if let Ok(body) = serde_json::from_str(&body) {
            frames.push(Frame {
                seq: row.get(0)?,
                session_id: session,
                body,
            });
        }
    }
    Ok(frames)
}

/// Number of the last frame of a session, 0 if there is none.
pub fn last_of(c: &Connection, session: SessionId) -> Result<i64> {
    let sql = "SELECT coalesce(max(seq), 0) FROM frames WHERE session_id = ?1";
    Ok(c.prepare_cached(sql)?
        .query_row([session], |row| row.get(0))?)
}

/// Largest number in the store.
pub(super) fn last_seq(c: &Connection) -> Result<i64> {
    // Numbers follow the clock, so the newest sessions hold the largest.
    let sql = "SELECT coalesce(max(f.seq), 0) FROM
                 (SELECT id FROM sessions ORDER BY updated_at DESC LIMIT 64) s
               JOIN frames f ON f.session_id = s.id";
    Ok(c.query_row(sql, [], |row| row.get(0))?)
}

/// Forgets all but the newest frames of a session.
pub fn prune(tx: &Transaction<'_>, session: SessionId) -> Result<()> {
    let sql = "DELETE FROM frames WHERE session_id = ?1 AND seq <= (
                 SELECT seq FROM frames WHERE session_id = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)";
    tx.prepare_cached(sql)?.execute(params![session, KEEP])?;
    Ok(())
}

/// Number of the last frame before a turn began (for the last time).
pub fn before_turn(c: &Connection, session: SessionId, turn: crate::types::TurnId) -> Result<i64> {
    let sql = "SELECT seq - 1 FROM frames WHERE session_id = ?1
               AND json_extract(body, '$.type') = 'turn.started'
               AND json_extract(body, '$.turn_id') = ?2 ORDER BY seq DESC LIMIT 1";
    let found = c
        .prepare_cached(sql)?
        .query_row(params![session, turn], |row| row.get(0));
    match rusqlite::OptionalExtension::optional(found)? {
        Some(seq) => Ok(seq),
        None => last_of(c, session),
    }
}

/// The frame that told of a message.
pub fn of_message(
    c: &Connection,
    session: SessionId,
    message: crate::types::MessageId,
) -> Result<Option<Frame>> {
    let sql = "SELECT seq, body FROM frames WHERE session_id = ?1
               AND json_extract(body, '$.type') = 'message.accepted'
               AND json_extract(body, '$.message_id') = ?2 LIMIT 1";
    let mut query = c.prepare_cached(sql)?;
    let mut rows = query.query(params![session, message])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let body: String = row.get(1)?;
    let seq = row.get(0)?;
    Ok(serde_json::from_str(&body).ok().map(|body| Frame {
        seq,
        session_id: session,
        body,
    }))
}
