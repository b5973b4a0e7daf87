//! Accepted messages that their senders change or delete.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::{
    store::Result,
    types::{MessageId, Timestamp, TurnId, WhenBusy},
};

/// What waits says something else now.
pub fn reword(tx: &Transaction<'_>, id: MessageId, text: &str, mode: WhenBusy) -> Result<()> {
    let sql = "UPDATE inbox SET text = ?2, mode = ?3 WHERE id = ?1";
    tx.prepare_cached(sql)?
        .execute(params![id, text, mode.as_str()])?;
    Ok(())
}

/// Another message takes the place of this one: it gives up its id on the platform.
pub fn supersede(tx: &Transaction<'_>, id: MessageId) -> Result<()> {
    let sql = "UPDATE inbox SET external_id = external_id || '#' || id WHERE id = ?1";
    tx.prepare_cached(sql)?.execute([id])?;
    Ok(())
}

/// What a turn answers besides one message waits again: the turn is about to end without an answer.
pub fn put_back(tx: &Transaction<'_>, turn: TurnId, besides: MessageId) -> Result<()> {
    let sql = "UPDATE messages SET turn_id = NULL WHERE id IN (
                 SELECT id FROM inbox WHERE turn_id = ?1 AND id <> ?2 AND state = 'running')";
    tx.prepare_cached(sql)?.execute(params![turn, besides])?;
    let sql = "UPDATE inbox SET state = 'pending', turn_id = NULL, joined = NULL
               WHERE turn_id = ?1 AND id <> ?2 AND state = 'running'";
    tx.prepare_cached(sql)?.execute(params![turn, besides])?;
    Ok(())
}

/// Its sender deleted it.
pub fn set_deleted(tx: &Transaction<'_>, id: MessageId, now: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE inbox SET deleted_at = ?2 WHERE id = ?1")?
        .execute(params![id, now])?;
    Ok(())
}

/// The turn that answers a message, or answered it.
pub fn turn(c: &Connection, id: MessageId) -> Result<Option<TurnId>> {
    let mut query = c.prepare_cached("SELECT turn_id FROM inbox WHERE id = ?1")?;
    let found = query.query_row([id], |row| row.get(0)).optional()?;
    Ok(found.flatten())
}
