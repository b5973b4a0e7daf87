//! Who did what: append only.

use rusqlite::{Connection, Transaction, params};
use serde::Serialize;
use serde_json::Value;

use super::{Result, row};
use crate::types::Timestamp;

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Did what, such as `skill.trust`.
    pub action: String,
    /// To what.
    pub object: String,
    /// With which details; secrets masked by the caller's types.
    pub detail: Value,
}

/// Appends an entry.
pub fn append(tx: &Transaction<'_>, entry: &Entry) -> Result<()> {
    let sql = "INSERT INTO audit (at, actor, action, object, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
    let detail = crate::types::secret::mask(&entry.detail.to_string()).into_owned();
    tx.prepare_cached(sql)?.execute(params![
        entry.at,
        entry.actor,
        entry.action,
        entry.object,
        detail
    ])?;
    Ok(())
}

/// The newest entries, newest first.
pub fn recent(c: &Connection, limit: u32) -> Result<Vec<Entry>> {
    let sql = "SELECT at, actor, action, object, detail FROM audit ORDER BY id DESC LIMIT ?1";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([limit], |r| {
        Ok(Entry {
            at: r.get("at")?,
            actor: r.get("actor")?,
            action: r.get("action")?,
            object: r.get("object")?,
            detail: row::json(r, "detail")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
