//! People, and the accounts through which they speak.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::Result;
use crate::types::{Admission, Timestamp, UserId};

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

    /// From what is written; none for anything that is no role.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Viewer, Self::Member, Self::Owner]
            .into_iter()
            .find(|role| role.as_str() == text)
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

/// An account as the owner sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Id of the account.
    pub id: UserId,
    /// The person: accounts on several channels may share it.
    pub person_id: UserId,
    /// Name of the connector; `local` for the owner's own.
    pub channel: String,
    /// The account on it: the one of ours that it speaks to, and its own id.
    pub account: String,
    /// Display name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The role that the owner gave it; none where the configuration or the door decides.
    pub granted: Option<Role>,
    /// `operator` or `listed`: what the lists of the configuration said the last time.
    pub listed: Option<String>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it last wrote or pressed something.
    pub seen_at: Option<Timestamp>,
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let granted: Option<String> = row.get("granted")?;
    Ok(Account {
        id: row.get("id")?,
        person_id: row.get("person_id")?,
        channel: row.get("channel")?,
        account: row.get("channel_user_id")?,
        name: row.get("name")?,
        role: Role::from_column(&row.get::<_, String>("role")?),
        granted: granted.as_deref().map(Role::from_column),
        listed: row.get("listed")?,
        created_at: row.get("created_at")?,
        seen_at: row.get("seen_at")?,
    })
}

/// Accounts that may talk, the oldest first.
pub fn list(c: &Connection) -> Result<Vec<Account>> {
    let sql = "SELECT * FROM users WHERE removed_at IS NULL ORDER BY id";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([], account)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One account that may talk.
pub fn account_of(c: &Connection, id: UserId) -> Result<Option<Account>> {
    let sql = "SELECT * FROM users WHERE id = ?1 AND removed_at IS NULL";
    Ok(c.prepare_cached(sql)?.query_row([id], account).optional()?)
}

/// The account of a sender who may talk, with the rights that the lists of its door and the owner's
/// word give it now; none for a stranger, who has none from now on.
pub fn admit(
    tx: &Transaction<'_>,
    channel: (&str, &str),
    (name, admission): (&str, Admission),
    now: Timestamp,
) -> Result<Option<User>> {
    let sql = "SELECT * FROM users WHERE channel = ?1 AND channel_user_id = ?2";
    let mut query = tx.prepare_cached(sql)?;
    let known = query
        .query_row([channel.0, channel.1], account)
        .optional()?;
    let granted = known.as_ref().and_then(|known| known.granted);
    let (role, listed) = match admission {
        Admission::Open => return ensure(tx, channel, (name, Role::Member), now).map(Some),
        Admission::Operator => (Some(Role::Owner), Some("operator")),
        Admission::Listed => (Some(granted.unwrap_or(Role::Member)), Some("listed")),
        Admission::Unlisted => (granted, None),
    };
    let Some(role) = role else {
        if let Some(known) = known {
            remove(tx, known.id, now)?;
        }
        return Ok(None);
    };
    let id = ensure(tx, channel, (name, role), now)?.id;
    let person = person_of(tx, id, role, now)?;
    let sql = "UPDATE users SET name = ?2, role = ?3, person_id = ?4, listed = ?5, seen_at = ?6,
                 removed_at = NULL WHERE id = ?1";
    let row = params![id, name, role.as_str(), person, listed, now];
    tx.prepare_cached(sql)?.execute(row)?;
    get(tx, id)
}

/// Whether [`admit`] would let a sender talk; writes nothing.
pub fn may_talk(c: &Connection, channel: (&str, &str), admission: Admission) -> Result<bool> {
    if admission != Admission::Unlisted {
        return Ok(true);
    }
    let sql = "SELECT granted IS NOT NULL FROM users WHERE channel = ?1 AND channel_user_id = ?2";
    let mut query = c.prepare_cached(sql)?;
    let granted = query.query_row([channel.0, channel.1], |row| row.get(0));
    Ok(granted.optional()?.unwrap_or(false))
}

/// Whose person an account with a role is: what has the owner's rights is the owner.
fn person_of(tx: &Transaction<'_>, id: UserId, role: Role, now: Timestamp) -> Result<UserId> {
    if role == Role::Owner {
        return Ok(owner(tx, now)?.id);
    }
    Ok(id)
}

/// The owner gives an account a role; `owner` says that it is theirs.
pub fn grant(tx: &Transaction<'_>, id: UserId, role: Role, now: Timestamp) -> Result<()> {
    let person = person_of(tx, id, role, now)?;
    let sql = "UPDATE users SET granted = ?2, role = ?2, person_id = ?3, removed_at = NULL
               WHERE id = ?1";
    tx.prepare_cached(sql)?
        .execute(params![id, role.as_str(), person])?;
    Ok(())
}

/// An account has no rights any more.
pub fn remove(tx: &Transaction<'_>, id: UserId, now: Timestamp) -> Result<()> {
    let sql = "UPDATE users SET granted = NULL, listed = NULL, role = 'viewer', person_id = id,
                 removed_at = ?2 WHERE id = ?1 AND removed_at IS NULL";
    tx.prepare_cached(sql)?.execute(params![id, now])?;
    Ok(())
}
