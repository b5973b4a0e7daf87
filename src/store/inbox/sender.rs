//! Who sent a message, and which conversation it joins.

use rusqlite::{Connection, Transaction};

use crate::{
    store::{Result, sessions, users},
    types::{Address, Inbound, SessionId, Timestamp, UserId},
};

/// The account of whoever sent a message; none for a stranger.
pub fn sender(
    tx: &Transaction<'_>,
    message: &Inbound,
    now: Timestamp,
) -> Result<Option<users::User>> {
    if let Some(known) = message.person {
        return users::get(tx, known);
    }
    let account = account(&message.from, &message.user);
    let channel = (message.from.connector.as_str(), account.as_str());
    let name = if message.name.is_empty() {
        &message.user
    } else {
        &message.name
    };
    users::admit(tx, channel, (name, message.admission), now)
}

/// Whether whoever sent a message may talk; writes nothing.
pub fn is_known(c: &Connection, message: &Inbound) -> Result<bool> {
    let account = account(&message.from, &message.user);
    let channel = (message.from.connector.as_str(), account.as_str());
    Ok(message.person.is_some() || users::may_talk(c, channel, message.admission)?)
}

/// How an account on a platform is named among those of its connector.
pub fn account(at: &Address, user: &str) -> String {
    format!("{}/{user}", at.account)
}

/// The session that a message joins. That of a room belongs to no speaker: it is the owner's.
pub(super) fn conversation(
    tx: &Transaction<'_>,
    message: &Inbound,
    user: UserId,
    now: Timestamp,
) -> Result<SessionId> {
    let Some(room) = &message.room else {
        return sessions::at(tx, &message.from, user, now);
    };
    let owner = users::owner(tx, now)?.id;
    let session = sessions::at(tx, &message.from, owner, now)?;
    sessions::set_room(tx, session, room)?;
    Ok(session)
}
