//! Where parcels stand on their platforms.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::get;
use crate::{
    store::Result,
    types::{Address, MessageId, SessionId},
};

/// The newest post of a conversation in a chat that is of a parcel from before this one.
pub fn last_post(
    c: &Connection,
    session: SessionId,
    to: &Address,
    before: MessageId,
) -> Result<Option<String>> {
    let sql = "SELECT posts ->> '$[#-1]' FROM outbox
               WHERE session_id = ?1 AND connector = ?2 AND account = ?3 AND chat = ?4 AND id < ?5
                 AND posts <> '[]'
               ORDER BY id DESC LIMIT 1";
    let mut query = c.prepare_cached(sql)?;
    let values = params![session, to.connector, to.account, to.chat, before];
    Ok(query.query_row(values, |row| row.get(0)).optional()?)
}

/// Where a parcel stands that another one replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// In this post.
    Post(String),
    /// Nowhere.
    Nowhere,
    /// It may have arrived, and nothing tells where.
    Unknown,
}

/// Where a parcel stands: in its own post, or in that of the one that it replaced.
pub fn standing(c: &Connection, id: MessageId) -> Result<Standing> {
    let mut next = Some(id);
    // It may have been replaced several times; a chain has an end because ids are made one by one.
    while let Some(id) = next {
        let Some(found) = get(c, id)? else {
            break;
        };
        if let Some(post) = found.posts.last() {
            return Ok(Standing::Post(post.clone()));
        }
        if found.replaces.is_none() && found.unsure {
            return Ok(Standing::Unknown);
        }
        next = found.replaces.filter(|earlier| *earlier < id);
    }
    Ok(Standing::Nowhere)
}
