//! Decisions of people about skills: which content they trust, for which permissions, and what is
//! switched off. The skills themselves are files.

use rusqlite::{Connection, Transaction, params};
use serde_json::Value;

use super::{Result, row};
use crate::types::Timestamp;

/// What was decided about one skill.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The skill.
    pub name: String,
    /// Its version when it was decided.
    pub version: String,
    /// Its folder.
    pub location: String,
    /// The permissions that were granted.
    pub permissions: Vec<String>,
    /// `metadata` of its manifest.
    pub metadata: Value,
    /// The content that is trusted.
    pub trusted_hash: Option<String>,
    /// Who trusted it.
    pub trusted_by: Option<String>,
    /// When.
    pub trusted_at: Option<Timestamp>,
    /// Whether it may be used at all.
    pub enabled: bool,
    /// When the row was last changed.
    pub updated_at: Timestamp,
}

/// Every decision, by name.
pub fn all(c: &Connection) -> rusqlite::Result<Vec<Record>> {
    let mut query = c.prepare_cached("SELECT * FROM skills ORDER BY name")?;
    let rows = query.query_map([], |row| {
        let permissions = row::json(row, "permissions")?;
        Ok(Record {
            name: row.get("name")?,
            version: row.get("version")?,
            location: row.get("location")?,
            // What cannot be read grants nothing.
            permissions: serde_json::from_value(permissions).unwrap_or_default(),
            metadata: row::json(row, "metadata")?,
            trusted_hash: row.get("trusted_hash")?,
            trusted_by: row.get("trusted_by")?,
            trusted_at: row.get("trusted_at")?,
            enabled: row.get("enabled")?,
            updated_at: row.get("updated_at")?,
        })
    })?;
    rows.collect()
}

/// Writes a decision over what was decided before.
pub fn save(tx: &Transaction<'_>, record: &Record) -> Result<()> {
    let sql = "INSERT INTO skills (name, version, location, permissions, metadata, trusted_hash,
                                   trusted_by, trusted_at, enabled, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
               ON CONFLICT (name) DO UPDATE SET
                   version = excluded.version, location = excluded.location,
                   permissions = excluded.permissions, metadata = excluded.metadata,
                   trusted_hash = excluded.trusted_hash, trusted_by = excluded.trusted_by,
                   trusted_at = excluded.trusted_at, enabled = excluded.enabled,
                   updated_at = excluded.updated_at";
    tx.prepare_cached(sql)?.execute(params![
        record.name,
        record.version,
        record.location,
        Value::from(record.permissions.clone()).to_string(),
        record.metadata.to_string(),
        record.trusted_hash,
        record.trusted_by,
        record.trusted_at,
        record.enabled,
        record.updated_at,
    ])?;
    Ok(())
}
