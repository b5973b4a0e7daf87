//! Files that the answer of a running turn brings along. With the answer they become those of its message.

use rusqlite::{Connection, Transaction, params};

use super::Result;
use crate::types::{MessageId, TurnId};

/// Keeps a file for the answer; one of the same path takes the place of the earlier one.
pub fn put(
    tx: &Transaction<'_>,
    turn: TurnId,
    (path, media_type, data): (&str, &str, &[u8]),
) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO files (turn_id, path, media_type, data)
               VALUES (?1, ?2, ?3, ?4)";
    tx.prepare_cached(sql)?
        .execute(params![turn, path, media_type, data])?;
    Ok(())
}

/// How many files the answer brings along besides one of this path, and how many bytes they have.
pub fn besides(c: &Connection, turn: TurnId, path: &str) -> Result<(u64, u64)> {
    let sql = "SELECT count(*), coalesce(sum(length(data)), 0) FROM files
               WHERE turn_id = ?1 AND path <> ?2";
    let unsigned = |n: i64| n.unsigned_abs();
    let mut query = c.prepare_cached(sql)?;
    Ok(query.query_row(params![turn, path], |row| {
        Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
    })?)
}

/// The answer is there: they are its files.
pub fn attach(tx: &Transaction<'_>, turn: TurnId, to: MessageId) -> Result<()> {
    let mut query =
        tx.prepare_cached("SELECT path FROM files WHERE turn_id = ?1 ORDER BY rowid")?;
    let paths = query.query_map([turn], |row| row.get(0))?;
    let paths: Vec<String> = paths.collect::<rusqlite::Result<_>>()?;
    let sql = "INSERT INTO blobs (id, message_id, name, media_type, data)
               SELECT ?1, ?2, ?3, media_type, data FROM files WHERE turn_id = ?4 AND path = ?5";
    let mut insert = tx.prepare_cached(sql)?;
    for path in &paths {
        let name = path.rsplit('/').next().unwrap_or(path);
        insert.execute(params![MessageId::new(), to, name, turn, path])?;
    }
    Ok(())
}

/// The turn has ended.
pub fn forget(tx: &Transaction<'_>, turn: TurnId) -> Result<()> {
    tx.prepare_cached("DELETE FROM files WHERE turn_id = ?1")?
        .execute([turn])?;
    Ok(())
}
