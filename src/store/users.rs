//! People, and the accounts through which they speak.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::Result;
use crate::types::{Timestamp, UserId};

/// A person on one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Id of this account.
    pub id: UserId,
    /// The person: accounts on several channels may share it.
    pub person: UserId,
    /// Display name.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What a person may do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Chat and run skills.
    Member,
    /// Everything.
    Owner,
}

impl Role {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Owner => "owner",
        }
    }

    pub(super) fn from_column(text: &str) -> Self {
        match text {
            "owner" => Self::Owner,
            "member" => Self::Member,
            _ => Self::Viewer,
        }
    }
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get("id")?,
        person: row.get("person_id")?,
        name: row.get("name")?,
        role: Role::from_column(&row.get::<_, String>("role")?),
    })
}

/// The owner's account, once there is one.
pub fn find_owner(c: &Connection) -> Result<Option<User>> {
    let sql = "SELECT * FROM users WHERE channel = 'local' AND channel_user_id = 'owner'";
    Ok(c.prepare_cached(sql)?.query_row([], user).optional()?)
}

/// The owner's account, made on first use.
pub fn owner(tx: &Transaction<'_>, now: Timestamp) -> Result<User> {
    ensure(tx, ("local", "owner"), ("owner", Role::Owner), now)
}

/// The account with `(channel, id)`, made with `(name, role)` if it is new.
pub fn ensure(
    tx: &Transaction<'_>,
    (channel, channel_id): (&str, &str),
    (name, role): (&str, Role),
    now: Timestamp,
) -> Result<User> {
    let find = "SELECT * FROM users WHERE channel = ?1 AND channel_user_id = ?2";
    let found = tx
        .prepare_cached(find)?
        .query_row([channel, channel_id], user)
        .optional()?;
    if let Some(found) = found {
        return Ok(found);
    }
    let id = UserId::new();
    let sql = "INSERT INTO users (id, channel, channel_user_id, name, role, person_id, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?1, ?6)";
    tx.prepare_cached(sql)?
        .execute(params![id, channel, channel_id, name, role.as_str(), now])?;
    Ok(User {
        id,
        person: id,
        name: name.to_owned(),
        role,
    })
}

/// An account by id.
pub fn get(c: &Connection, id: UserId) -> Result<Option<User>> {
    let mut query = c.prepare_cached("SELECT * FROM users WHERE id = ?1")?;
    Ok(query.query_row([id], user).optional()?)
}
