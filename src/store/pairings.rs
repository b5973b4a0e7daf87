//! Strangers who ask to be let in: each has a code, and the owner has an hour to say yes.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::Result;
use crate::types::{Address, MessageId, PairingId, SessionId, Timestamp};

/// How a pairing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for the owner.
    Pending,
    /// The owner said no; the sender is not heard until it expires.
    Denied,
}

/// A stranger who asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairing {
    /// Id.
    pub id: PairingId,
    /// Where they write from.
    pub from: Address,
    /// Their id on that platform.
    pub external_user: String,
    /// What they are called there.
    pub name: String,
    /// SHA-256 of the id and the code.
    pub code_hash: Vec<u8>,
    /// The conversation that letters to them belong to.
    pub session: SessionId,
    /// The letter with the code.
    pub letter: MessageId,
    /// How it stands.
    pub state: State,
    /// When they were last told the code.
    pub told_at: Timestamp,
    /// When they first wrote.
    pub created_at: Timestamp,
    /// When it is too late.
    pub expires_at: Timestamp,
}

fn pairing(row: &Row<'_>) -> rusqlite::Result<Pairing> {
    Ok(Pairing {
        id: row.get("id")?,
        from: Address {
            connector: row.get("connector")?,
            account: row.get("account")?,
            chat: row.get("chat")?,
        },
        external_user: row.get("external_user")?,
        name: row.get("name")?,
        code_hash: row.get("code_hash")?,
        session: row.get("session_id")?,
        letter: row.get("letter")?,
        state: if row.get::<_, String>("state")? == "denied" {
            State::Denied
        } else {
            State::Pending
        },
        told_at: row.get("told_at")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
    })
}

/// Somebody asks.
pub fn insert(tx: &Transaction<'_>, one: &Pairing) -> Result<()> {
    let sql = "INSERT INTO pairings (id, connector, account, chat, external_user, name, code_hash,
                 session_id, letter, state, told_at, created_at, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'pending', ?10, ?11, ?12)";
    tx.prepare_cached(sql)?.execute(params![
        one.id,
        one.from.connector,
        one.from.account,
        one.from.chat,
        one.external_user,
        one.name,
        one.code_hash,
        one.session,
        one.letter,
        one.told_at,
        one.created_at,
        one.expires_at
    ])?;
    Ok(())
}

/// The pairing of a sender.
pub fn of(c: &Connection, from: &Address, external_user: &str) -> Result<Option<Pairing>> {
    let sql = "SELECT * FROM pairings
               WHERE connector = ?1 AND account = ?2 AND external_user = ?3";
    let mut query = c.prepare_cached(sql)?;
    let found = query.query_row([&from.connector, &from.account, external_user], pairing);
    Ok(found.optional()?)
}

/// Those that are not too late, the oldest first.
pub fn list(c: &Connection, now: Timestamp) -> Result<Vec<Pairing>> {
    let sql = "SELECT * FROM pairings WHERE expires_at > ?1 ORDER BY id";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([now], pairing)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Those that are too late.
pub fn overdue(c: &Connection, now: Timestamp) -> Result<Vec<Pairing>> {
    let sql = "SELECT * FROM pairings WHERE expires_at <= ?1";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([now], pairing)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The sender was told the code again.
pub fn told(tx: &Transaction<'_>, id: PairingId, letter: MessageId, now: Timestamp) -> Result<()> {
    let sql = "UPDATE pairings SET letter = ?2, told_at = ?3 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, letter, now])?;
    Ok(())
}

/// The owner said no: the sender is not heard until then.
pub fn deny(tx: &Transaction<'_>, id: PairingId, until: Timestamp) -> Result<()> {
    let sql = "UPDATE pairings SET state = 'denied', expires_at = ?2 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, until])?;
    Ok(())
}

/// Removes one; what was sent to the sender stays with its session.
pub fn remove(tx: &Transaction<'_>, id: PairingId) -> Result<()> {
    tx.prepare_cached("DELETE FROM pairings WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}
