//! Answers of models that are kept, because the same request would be answered in the same way again.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::Result;
use crate::types::{SessionId, Timestamp};

/// SHA-256 of provider, model and the whole request.
pub type Key = [u8; 32];

/// The answer to a request, if one is kept that was made since a moment.
pub fn find(c: &Connection, key: &Key, since: Timestamp) -> Result<Option<String>> {
    let sql = "SELECT answer FROM kept_answers WHERE key = ?1 AND created_at >= ?2";
    let mut query = c.prepare_cached(sql)?;
    let found = query.query_row(params![key, since], |row| row.get(0));
    Ok(found.optional()?)
}

/// An answer was of use: it is dropped later than others.
pub fn used(tx: &Transaction<'_>, key: &Key, now: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE kept_answers SET used_at = ?2 WHERE key = ?1")?
        .execute(params![key, now])?;
    Ok(())
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes at most.
    pub bytes: u64,
    /// Nothing that was made before.
    pub since: Timestamp,
}

/// Keeps an answer, and drops what is too old or too much, the longest unused first.
pub fn keep(
    tx: &Transaction<'_>,
    key: &Key,
    (session, answer): (SessionId, &str),
    (room, now): (Room, Timestamp),
) -> Result<()> {
    let sql =
        "INSERT OR REPLACE INTO kept_answers (key, session_id, answer, bytes, created_at, used_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?5)";
    let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let bytes = size((answer.len() + key.len()) as u64);
    tx.prepare_cached(sql)?
        .execute(params![key, session, answer, bytes, now])?;
    tx.prepare_cached("DELETE FROM kept_answers WHERE created_at < ?1")?
        .execute([room.since])?;
    let sql = "DELETE FROM kept_answers WHERE key IN (
                 SELECT key FROM (
                   SELECT key, sum(bytes) OVER (ORDER BY used_at DESC, key) AS upto
                   FROM kept_answers)
                 WHERE upto > ?1)";
    let most = size(room.bytes);
    let total: i64 = tx
        .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM kept_answers")?
        .query_row([], |row| row.get(0))?;
    if total > most {
        tx.prepare_cached(sql)?.execute([most])?;
    }
    Ok(())
}

/// How many are kept, and their bytes.
pub fn size(c: &Connection) -> Result<(u64, u64)> {
    let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM kept_answers";
    let mut query = c.prepare_cached(sql)?;
    Ok(query.query_row([], |row| {
        let number = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
        Ok((number(0)?, number(1)?))
    })?)
}
