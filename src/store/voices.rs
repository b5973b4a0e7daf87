//! Voice notes and other sound that came with messages, and what is said in it.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::Result;
use crate::types::{Attachment, MessageId};

/// A file of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// Of the file.
    pub id: MessageId,
    /// What the file is called.
    pub name: String,
    /// What is said in it, if that was written down; empty if nothing is said.
    pub transcript: Option<String>,
}

/// The sound that came with a message.
pub fn of(c: &Connection, message: MessageId) -> Result<Vec<Voice>> {
    let sql = "SELECT id, name, transcript FROM blobs
               WHERE message_id = ?1 AND media_type LIKE 'audio/%' ORDER BY id";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([message], |row| {
        Ok(Voice {
            id: row.get("id")?,
            name: row.get("name")?,
            transcript: row.get("transcript")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The file itself; none if its message was deleted meanwhile.
pub fn file(c: &Connection, id: MessageId) -> Result<Option<Attachment>> {
    let sql = "SELECT name, media_type, data FROM blobs WHERE id = ?1";
    let mut query = c.prepare_cached(sql)?;
    let file = query.query_row([id], |row| {
        Ok(Attachment {
            name: row.get("name")?,
            media_type: row.get("media_type")?,
            data: row.get("data")?,
        })
    });
    Ok(file.optional()?)
}

/// Keeps what is said in it.
pub fn keep(tx: &Transaction<'_>, id: MessageId, transcript: &str) -> Result<()> {
    tx.prepare_cached("UPDATE blobs SET transcript = ?2 WHERE id = ?1")?
        .execute(params![id, transcript])?;
    Ok(())
}
