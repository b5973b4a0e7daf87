//! API tokens, page sessions and login codes: hashes only.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::{Result, users::Role};
use crate::types::{Timestamp, TokenId, UserId};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Programs.
    Api,
    /// The page's cookie.
    Session,
    /// One login.
    Link,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Session => "session",
            Self::Link => "link",
        }
    }
}

/// A token without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Id.
    pub id: TokenId,
    /// Whose it is.
    pub user_id: UserId,
    /// A name for people.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used (to the hour).
    pub used_at: Option<Timestamp>,
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        name: row.get("name")?,
        role: Role::from_column(&row.get::<_, String>("role")?),
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        used_at: row.get("used_at")?,
    })
}

/// Stores a token by its hash.
pub fn insert(tx: &Transaction<'_>, kind: Kind, hash: &[u8], token: &Token) -> Result<()> {
    let sql = "INSERT INTO tokens (id, user_id, name, kind, role, hash, created_at, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    tx.prepare_cached(sql)?.execute(params![
        token.id,
        token.user_id,
        token.name,
        kind.as_str(),
        token.role.as_str(),
        hash,
        token.created_at,
        token.expires_at
    ])?;
    Ok(())
}

/// The live token of a kind with this hash.
pub fn find(c: &Connection, kind: Kind, hash: &[u8], now: Timestamp) -> Result<Option<Token>> {
    let sql = "SELECT * FROM tokens WHERE hash = ?1 AND kind = ?2
               AND (expires_at IS NULL OR expires_at > ?3)";
    let mut query = c.prepare_cached(sql)?;
    Ok(query
        .query_row(params![hash, kind.as_str(), now], token)
        .optional()?)
}

/// Notes that a token was used.
pub fn touch(tx: &Transaction<'_>, id: TokenId, now: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE tokens SET used_at = ?2 WHERE id = ?1")?
        .execute(params![id, now])?;
    Ok(())
}

/// Ends a token; `false` if there is none.
pub fn remove(tx: &Transaction<'_>, id: TokenId) -> Result<bool> {
    Ok(tx
        .prepare_cached("DELETE FROM tokens WHERE id = ?1")?
        .execute([id])?
        > 0)
}

/// API tokens, oldest first.
pub fn list(c: &Connection) -> Result<Vec<Token>> {
    let mut query = c.prepare_cached("SELECT * FROM tokens WHERE kind = 'api' ORDER BY id")?;
    let rows = query.query_map([], token)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Forgets what has ended.
pub fn sweep(tx: &Transaction<'_>, now: Timestamp) -> Result<()> {
    tx.execute(
        "DELETE FROM tokens WHERE expires_at IS NOT NULL AND expires_at <= ?1",
        [now],
    )?;
    Ok(())
}
