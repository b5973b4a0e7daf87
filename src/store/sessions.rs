//! Conversations.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::Result;
use crate::types::{Address, Room, SessionId, Timestamp, UserId};

/// A conversation as people see it in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Id.
    pub id: SessionId,
    /// What it is about: the start of its first message.
    pub title: String,
    /// Name of the connector it came through.
    pub channel: String,
    /// The conversation on that platform.
    pub chat: String,
    /// Whose it is.
    pub user_id: UserId,
    /// When it began.
    pub created_at: Timestamp,
    /// When something was last said.
    pub updated_at: Timestamp,
    /// Messages in it.
    pub message_count: u64,
    /// The start of the last message.
    pub preview: String,
    /// Whether a turn runs.
    pub running: bool,
}

const SELECT: &str = "
    SELECT s.id, s.connector, s.chat, s.user_id, s.created_at, s.updated_at,
           coalesce(s.title, '') AS title,
           (SELECT count(*) FROM messages m WHERE m.session_id = s.id) AS message_count,
           coalesce((SELECT substr(m.content, 1, 160) FROM messages m
                     WHERE m.session_id = s.id ORDER BY m.id DESC LIMIT 1), '') AS preview,
           EXISTS (SELECT 1 FROM inbox i WHERE i.session_id = s.id
                   AND i.state IN ('pending', 'running')) AS running
    FROM sessions s";

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: row.get("id")?,
        title: row.get("title")?,
        channel: row.get("connector")?,
        chat: row.get("chat")?,
        user_id: row.get("user_id")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        message_count: row.get::<_, i64>("message_count")?.unsigned_abs(),
        preview: row.get("preview")?,
        running: row.get("running")?,
    })
}

/// Which sessions to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// How many at most.
    pub limit: u32,
    /// Only those last used before.
    pub before: Option<Timestamp>,
    /// Only those with these words in a message or their title.
    pub words: Option<String>,
    /// Only this user's.
    pub user: Option<UserId>,
}

/// Sessions in which something was said, newest first.
pub fn list(c: &Connection, filter: &Filter) -> Result<Vec<Session>> {
    let sql = format!(
        "{SELECT}
         WHERE s.title IS NOT NULL AND s.updated_at < ?1
           AND (?2 IS NULL OR s.user_id = ?2)
           AND (?3 IS NULL OR s.title LIKE ?4 ESCAPE '\\' OR s.id IN (
                SELECT m.session_id FROM messages_words w JOIN messages m ON m.n = w.rowid
                WHERE messages_words MATCH ?3))
         ORDER BY s.updated_at DESC LIMIT ?5"
    );
    let words = filter.words.as_deref().and_then(super::memories::match_all);
    let like = filter.words.as_deref().map(|w| {
        format!(
            "%{}%",
            w.replace('\\', "\\\\")
                .replace('%', "\\%")
                .replace('_', "\\_")
        )
    });
    let before = filter.before.unwrap_or(Timestamp(i64::MAX));
    let mut query = c.prepare_cached(&sql)?;
    let rows = query.query_map(
        params![before, filter.user, words, like, filter.limit],
        session,
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One session.
pub fn get(c: &Connection, id: SessionId) -> Result<Option<Session>> {
    let mut query = c.prepare_cached(&format!("{SELECT} WHERE s.id = ?1"))?;
    Ok(query.query_row([id], session).optional()?)
}

/// What brought text from outside into the files of a session's workspace.
pub fn tainted(c: &Connection, id: SessionId) -> Result<Option<String>> {
    let mut query = c.prepare_cached("SELECT tainted FROM sessions WHERE id = ?1")?;
    Ok(query
        .query_row([id], |row| row.get(0))
        .optional()?
        .flatten())
}

/// Notes that text from outside may be in the files of a session's workspace; the first source stays.
pub fn taint(tx: &Transaction<'_>, id: SessionId, source: &str) -> Result<()> {
    let sql = "UPDATE sessions SET tainted = ?2 WHERE id = ?1 AND tainted IS NULL";
    tx.prepare_cached(sql)?.execute(params![id, source])?;
    Ok(())
}

/// Who owns a session and where it speaks.
pub fn place(c: &Connection, id: SessionId) -> Result<Option<(UserId, Address)>> {
    let sql = "SELECT user_id, connector, account, chat FROM sessions WHERE id = ?1";
    let mut query = c.prepare_cached(sql)?;
    let found = query.query_row([id], |row| {
        let address = Address::new(
            row.get::<_, String>("connector")?,
            row.get::<_, String>("account")?,
            row.get::<_, String>("chat")?,
        );
        Ok((row.get("user_id")?, address))
    });
    Ok(found.optional()?)
}

/// Makes a session whose chat is its own id (web, command line, API).
pub fn create(
    tx: &Transaction<'_>,
    connector: &str,
    user: UserId,
    now: Timestamp,
) -> Result<SessionId> {
    let id = SessionId::new();
    insert(
        tx,
        id,
        &Address::new(connector, "", id.to_string()),
        (user, now),
    )?;
    Ok(id)
}

/// The session that messages from an address join, made if there is none.
pub fn at(tx: &Transaction<'_>, from: &Address, user: UserId, now: Timestamp) -> Result<SessionId> {
    let sql = "SELECT id FROM sessions
               WHERE connector = ?1 AND account = ?2 AND chat = ?3 AND active = 1";
    let found = tx
        .prepare_cached(sql)?
        .query_row([&from.connector, &from.account, &from.chat], |row| {
            row.get(0)
        })
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    let id = SessionId::new();
    insert(tx, id, from, (user, now))?;
    Ok(id)
}

/// A session that no list shows and no message joins: letters to somebody who may not talk belong to it.
pub fn aside(
    tx: &Transaction<'_>,
    to: &Address,
    user: UserId,
    now: Timestamp,
) -> Result<SessionId> {
    let id = SessionId::new();
    let sql = "INSERT INTO sessions (id, user_id, connector, account, chat, active, created_at,
                 updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?6)";
    tx.prepare_cached(sql)?
        .execute(params![id, user, to.connector, to.account, to.chat, now])?;
    Ok(id)
}

/// The room that a session is the conversation of; none for a conversation of two.
pub fn room(c: &Connection, id: SessionId) -> Result<Option<Room>> {
    let sql = "SELECT room, room_skills FROM sessions WHERE id = ?1";
    let mut query = c.prepare_cached(sql)?;
    let found = query.query_row([id], |row| {
        let skills: Option<String> = row.get("room_skills")?;
        let name: Option<String> = row.get("room")?;
        Ok(name.map(|name| Room {
            name,
            // A list that cannot be read allows nothing.
            skills: skills.map(|list| serde_json::from_str(&list).unwrap_or_default()),
        }))
    });
    Ok(found.optional()?.flatten())
}

/// Writes that a session is the conversation of a room, as the room is now.
pub fn set_room(tx: &Transaction<'_>, id: SessionId, room: &Room) -> Result<()> {
    let skills = room.skills.as_ref().map(|list| serde_json::json!(list));
    let sql = "UPDATE sessions SET room = ?2, room_skills = ?3 WHERE id = ?1";
    tx.prepare_cached(sql)?
        .execute(params![id, room.name, skills.map(|list| list.to_string())])?;
    Ok(())
}

/// The next message from this address begins a new session.
pub fn retire(tx: &Transaction<'_>, id: SessionId) -> Result<()> {
    tx.prepare_cached("UPDATE sessions SET active = 0 WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

fn insert(
    tx: &Transaction<'_>,
    id: SessionId,
    at: &Address,
    (user, now): (UserId, Timestamp),
) -> Result<()> {
    let sql = "INSERT INTO sessions (id, user_id, connector, account, chat, created_at, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)";
    tx.prepare_cached(sql)?
        .execute(params![id, user, at.connector, at.account, at.chat, now])?;
    Ok(())
}

/// Something was said: moves the session up, and titles it if it has no title.
pub fn touch(tx: &Transaction<'_>, id: SessionId, title: &str, now: Timestamp) -> Result<()> {
    let sql = "UPDATE sessions SET updated_at = ?2, title = coalesce(title, ?3) WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, now, title])?;
    Ok(())
}

/// Removes a session with everything said in it; `false` if there is none.
pub fn delete(tx: &Transaction<'_>, id: SessionId) -> Result<bool> {
    Ok(tx
        .prepare_cached("DELETE FROM sessions WHERE id = ?1")?
        .execute([id])?
        > 0)
}

/// Removes sessions in which nothing was ever said.
pub fn sweep(tx: &Transaction<'_>, before: Timestamp) -> Result<()> {
    tx.execute(
        "DELETE FROM sessions WHERE title IS NULL AND account = '' AND created_at < ?1
         AND NOT EXISTS (SELECT 1 FROM schedules x WHERE x.session_id = sessions.id)",
        [before],
    )?;
    Ok(())
}
