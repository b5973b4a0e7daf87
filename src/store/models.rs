//! Which models people and conversations chose.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::Result;
use crate::types::{SessionId, UserId};

/// What was chosen, the closest first: for the conversation, if it has begun, and by the person.
pub fn chosen(c: &Connection, (session, user): (Option<SessionId>, UserId)) -> Result<Vec<String>> {
    let own = match session {
        Some(session) => of_session(c, session)?,
        None => None,
    };
    Ok(own.into_iter().chain(of_person(c, user)?).collect())
}

/// What was chosen for a conversation.
pub fn of_session(c: &Connection, session: SessionId) -> Result<Option<String>> {
    let mut query = c.prepare_cached("SELECT model FROM sessions WHERE id = ?1")?;
    let found = query.query_row([session], |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

/// What the person chose who speaks through an account.
pub fn of_person(c: &Connection, user: UserId) -> Result<Option<String>> {
    let sql = "SELECT p.model FROM users u JOIN users p ON p.id = u.person_id WHERE u.id = ?1";
    let mut query = c.prepare_cached(sql)?;
    let found = query.query_row([user], |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

/// Chooses for a conversation; none leaves it to the configuration. `false` if it is not there.
pub fn choose_for_session(
    tx: &Transaction<'_>,
    session: SessionId,
    model: Option<&str>,
) -> Result<bool> {
    let sql = "UPDATE sessions SET model = ?2 WHERE id = ?1";
    let changed = tx.prepare_cached(sql)?.execute(params![session, model])?;
    Ok(changed > 0)
}

/// Chooses for a person, on all of their accounts; none leaves it to the configuration.
pub fn choose_for_person(tx: &Transaction<'_>, user: UserId, model: Option<&str>) -> Result<()> {
    let sql = "UPDATE users SET model = ?2
               WHERE id = (SELECT person_id FROM users WHERE id = ?1)";
    tx.prepare_cached(sql)?.execute(params![user, model])?;
    Ok(())
}
