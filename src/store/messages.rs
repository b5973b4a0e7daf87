//! What was said: by people and to them.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::Result;
use crate::types::{
    Attachment, MessageId, SessionId, Timestamp, TurnId, effect::Provenance, frame::AttachmentInfo,
};

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// A person.
    User,
    /// The agent.
    Assistant,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Id; that of the inbox row for a person's message.
    pub id: MessageId,
    /// Session.
    pub session: SessionId,
    /// The turn that answers it or that it answers.
    pub turn: Option<TurnId>,
    /// Who said it.
    pub author: Author,
    /// `turn`, `reminder` or `skill`: where it came from.
    pub origin: String,
    /// `ok`, `failed` or `cancelled`.
    pub status: String,
    /// Markdown.
    pub text: String,
    /// Whose words they are; none for the agent's own.
    pub provenance: Option<Provenance>,
    /// When.
    pub at: Timestamp,
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let role: String = row.get("role")?;
    Ok(Message {
        id: row.get("id")?,
        session: row.get("session_id")?,
        turn: row.get("turn_id")?,
        author: if role == "user" {
            Author::User
        } else {
            Author::Assistant
        },
        origin: row.get("origin")?,
        status: row.get("status")?,
        text: row.get("content")?,
        provenance: row
            .get::<_, Option<String>>("provenance")?
            .map(|text| Provenance::parse(&text)),
        at: row.get("created_at")?,
    })
}

/// Writes a message.
pub fn insert(tx: &Transaction<'_>, message: &Message) -> Result<()> {
    let sql =
        "INSERT INTO messages (id, session_id, turn_id, role, origin, status, content, created_at,
                               provenance)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    tx.prepare_cached(sql)?.execute(params![
        message.id,
        message.session,
        message.turn,
        match message.author {
            Author::User => "user",
            Author::Assistant => "assistant",
        },
        message.origin,
        message.status,
        message.text,
        message.at,
        message.provenance.map(Provenance::as_str)
    ])?;
    Ok(())
}

/// Ties a person's message to the turn that answers it.
pub fn set_turn(tx: &Transaction<'_>, id: MessageId, turn: TurnId) -> Result<()> {
    tx.prepare_cached("UPDATE messages SET turn_id = ?2 WHERE id = ?1")?
        .execute(params![id, turn])?;
    Ok(())
}

/// The newest messages of a session before `before`, oldest first.
pub fn latest(
    c: &Connection,
    session: SessionId,
    before: Option<MessageId>,
    limit: u32,
) -> Result<Vec<Message>> {
    let sql = "SELECT * FROM messages WHERE session_id = ?1 AND (?2 IS NULL OR id < ?2)
               ORDER BY id DESC LIMIT ?3";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![session, before, limit], message)?;
    let mut found: Vec<Message> = rows.collect::<rusqlite::Result<_>>()?;
    found.reverse();
    Ok(found)
}

/// What was said in a session besides one turn, newest first: everything but people's messages that no
/// turn has taken yet.
pub fn besides(
    c: &Connection,
    session: SessionId,
    turn: TurnId,
    limit: u32,
) -> Result<Vec<Message>> {
    let sql = "SELECT * FROM messages WHERE session_id = ?1
                 AND (turn_id <> ?2 OR turn_id IS NULL AND role = 'assistant')
               ORDER BY id DESC LIMIT ?3";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![session, turn, limit], message)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One message.
pub fn get(c: &Connection, id: MessageId) -> Result<Option<Message>> {
    let mut query = c.prepare_cached("SELECT * FROM messages WHERE id = ?1")?;
    Ok(query.query_row([id], message).optional()?)
}

/// The answer that a turn gave.
pub fn answer_of(c: &Connection, turn: TurnId) -> Result<Option<Message>> {
    let sql = "SELECT * FROM messages WHERE turn_id = ?1 AND role = 'assistant'
               AND session_id = (SELECT session_id FROM turns WHERE id = ?1)";
    Ok(c.prepare_cached(sql)?
        .query_row([turn], message)
        .optional()?)
}

/// Stores a file that came with a message.
pub fn attach(tx: &Transaction<'_>, to: MessageId, file: &Attachment) -> Result<()> {
    let sql =
        "INSERT INTO blobs (id, message_id, name, media_type, data) VALUES (?1, ?2, ?3, ?4, ?5)";
    let id = MessageId::new();
    tx.prepare_cached(sql)?
        .execute(params![id, to, file.name, file.media_type, file.data])?;
    Ok(())
}

/// The files of a message.
pub fn attachments(c: &Connection, of: MessageId) -> Result<Vec<Attachment>> {
    let sql = "SELECT name, media_type, data FROM blobs WHERE message_id = ?1 ORDER BY id";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([of], |row| {
        Ok(Attachment {
            name: row.get("name")?,
            media_type: row.get("media_type")?,
            data: row.get("data")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One file of a message, by its place from 0.
pub fn attachment(c: &Connection, of: MessageId, n: u32) -> Result<Option<Attachment>> {
    let sql = "SELECT name, media_type, data FROM blobs WHERE message_id = ?1
               ORDER BY id LIMIT 1 OFFSET ?2";
    let mut query = c.prepare_cached(sql)?;
    let found = query.query_row(params![of, n], |row| {
        Ok(Attachment {
            name: row.get("name")?,
            media_type: row.get("media_type")?,
            data: row.get("data")?,
        })
    });
    Ok(found.optional()?)
}

/// Which messages of a session have files, from one on.
pub fn with_files(
    c: &Connection,
    session: SessionId,
    from: MessageId,
) -> Result<HashSet<MessageId>> {
    let sql = "SELECT DISTINCT b.message_id FROM messages m JOIN blobs b ON b.message_id = m.id
               WHERE m.session_id = ?1 AND m.id >= ?2";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![session, from], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The files of a message, without their content.
pub fn attachment_infos(c: &Connection, of: MessageId) -> Result<Vec<AttachmentInfo>> {
    let sql = "SELECT name, media_type, length(data) AS size FROM blobs
               WHERE message_id = ?1 ORDER BY id";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([of], |row| {
        Ok(AttachmentInfo {
            name: row.get("name")?,
            media_type: row.get("media_type")?,
            size: row.get::<_, i64>("size")?.unsigned_abs(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What is known of a message besides what was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// What a model is told before its text: who speaks, what it replies to.
    pub preface: String,
    /// Whose words it quotes, where they are neither the agent's nor the sender's own.
    pub quoted: Option<String>,
    /// When its sender changed it.
    pub edited_at: Option<Timestamp>,
    /// When its sender deleted it: no model is told it any more.
    pub deleted_at: Option<Timestamp>,
}

fn note_of(row: &Row<'_>) -> rusqlite::Result<(MessageId, Note)> {
    let note = Note {
        preface: row.get("preface")?,
        quoted: row.get("quoted")?,
        edited_at: row.get("edited_at")?,
        deleted_at: row.get("deleted_at")?,
    };
    Ok((row.get("id")?, note))
}

/// Notes on the messages of a session, from one on; most have none.
pub fn notes(
    c: &Connection,
    session: SessionId,
    from: MessageId,
) -> Result<HashMap<MessageId, Note>> {
    let sql = "SELECT id, preface, quoted, edited_at, deleted_at FROM messages
               WHERE session_id = ?1 AND id >= ?2 AND (preface <> '' OR quoted IS NOT NULL
                 OR edited_at IS NOT NULL OR deleted_at IS NOT NULL)";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![session, from], note_of)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The note on one message.
pub fn note(c: &Connection, id: MessageId) -> Result<Note> {
    let sql = "SELECT id, preface, quoted, edited_at, deleted_at FROM messages WHERE id = ?1";
    let mut query = c.prepare_cached(sql)?;
    let found = query.query_row([id], note_of).optional()?;
    Ok(found.map(|(_, note)| note).unwrap_or_default())
}

/// Writes what a model is told before a message, and whose words it quotes.
pub fn set_preface(
    tx: &Transaction<'_>,
    id: MessageId,
    (preface, quoted): (&str, Option<&str>),
) -> Result<()> {
    let sql = "UPDATE messages SET preface = ?2, quoted = ?3 WHERE id = ?1";
    tx.prepare_cached(sql)?
        .execute(params![id, preface, quoted])?;
    let sql = "UPDATE inbox SET preface = ?2 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, preface])?;
    Ok(())
}

/// Its sender wrote something else.
pub fn reword(tx: &Transaction<'_>, id: MessageId, text: &str, now: Timestamp) -> Result<()> {
    let sql = "UPDATE messages SET content = ?2, edited_at = ?3 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, text, now])?;
    Ok(())
}

/// Notes that a message stands for an earlier one.
pub fn set_edited(tx: &Transaction<'_>, id: MessageId, now: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE messages SET edited_at = ?2 WHERE id = ?1")?
        .execute(params![id, now])?;
    Ok(())
}

/// Its sender deleted it.
pub fn set_deleted(tx: &Transaction<'_>, id: MessageId, now: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE messages SET deleted_at = ?2 WHERE id = ?1")?
        .execute(params![id, now])?;
    Ok(())
}
