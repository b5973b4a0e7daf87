//! Decisions of people about skills: which content they trust, for which permissions, and what is
//! switched off. The skills themselves are files.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::Serialize;
use serde_json::Value;

use super::{Result, row, settings};
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

/// A file of a skill, as it was when the skill was trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Below the skill's folder.
    pub path: String,
    /// As git writes it: a plain file, a program or a link.
    pub mode: u32,
    /// SHA-256 of the content in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// The content, where it is text and not too much; where a link leads.
    pub text: Option<String>,
}

/// What is kept of a skill's folder, by path.
pub fn files(c: &Connection, skill: &str) -> Result<Vec<File>> {
    let sql = "SELECT * FROM skill_files WHERE skill = ?1 ORDER BY path";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([skill], |row| {
        Ok(File {
            path: row.get("path")?,
            mode: row.get("mode")?,
            sha256: row.get("sha256")?,
            size: row.get::<_, i64>("size")?.unsigned_abs(),
            text: row.get("text")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Keeps these files of a skill, and no others. Its decision must be there.
pub fn keep_files(tx: &Transaction<'_>, skill: &str, files: &[File]) -> Result<()> {
    tx.prepare_cached("DELETE FROM skill_files WHERE skill = ?1")?
        .execute([skill])?;
    let sql = "INSERT INTO skill_files (skill, path, mode, sha256, size, text)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut insert = tx.prepare_cached(sql)?;
    for file in files {
        let size = i64::try_from(file.size).unwrap_or(i64::MAX);
        insert.execute(params![
            skill,
            file.path,
            file.mode,
            file.sha256,
            size,
            file.text
        ])?;
    }
    Ok(())
}

/// Contents of our own skills that were found here unchanged: folder and hash.
pub fn shipped(c: &Connection) -> Result<Vec<(String, String)>> {
    let mut query = c.prepare_cached("SELECT folder, hash FROM shipped_skills")?;
    let rows = query.query_map([], |row| Ok((row.get("folder")?, row.get("hash")?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Remembers contents of our own skills that were found here unchanged.
pub fn add_shipped(tx: &Transaction<'_>, found: &[(String, String)], now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO shipped_skills (folder, hash, at) VALUES (?1, ?2, ?3)
               ON CONFLICT DO NOTHING";
    let mut insert = tx.prepare_cached(sql)?;
    for (folder, hash) in found {
        insert.execute(params![folder, hash, now])?;
    }
    Ok(())
}

/// Runs of a skill, by how they ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Runs {
    /// All of them.
    pub total: u64,
    /// How many ended in which way.
    pub by_status: BTreeMap<String, u64>,
    /// When the last one began.
    pub last_at: Option<Timestamp>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// The runs of a skill since then.
pub fn runs(c: &Connection, skill: &str, since: Timestamp) -> Result<Runs> {
    let sql = "SELECT status, count(*) AS n, max(created_at) AS at FROM tasks
               WHERE skill = ?1 AND created_at >= ?2 GROUP BY status";
    let mut query = c.prepare_cached(sql)?;
    let mut rows = query.query(params![skill, since])?;
    let mut runs = Runs::default();
    while let Some(row) = rows.next()? {
        let count = row.get::<_, i64>("n")?.unsigned_abs();
        runs.total += count;
        runs.by_status.insert(row.get("status")?, count);
        runs.last_at = runs.last_at.max(row.get("at")?);
    }
    let sql = "SELECT error FROM tasks WHERE skill = ?1 AND created_at >= ?2 AND error IS NOT NULL
               ORDER BY created_at DESC LIMIT 1";
    let mut query = c.prepare_cached(sql)?;
    runs.last_error = query
        .query_row(params![skill, since], |row| row.get(0))
        .optional()?;
    Ok(runs)
}

/// A host that a skill reached, or was kept from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Host, with its port where that is known.
    pub host: String,
    /// Connections that were let through.
    pub allowed: u64,
    /// Connections that were not.
    pub refused: u64,
    /// The last one.
    pub last_at: Timestamp,
}

/// Where a skill's connections went since then, by the entries of the gate in the audit.
pub fn reached(c: &Connection, skill: &str, since: Timestamp) -> Result<Vec<Reached>> {
    let sql = "SELECT coalesce(detail ->> 'host' || ':' || (detail ->> 'port'),
                               detail ->> 'host', object) AS host,
                      count(*) FILTER (WHERE coalesce(detail ->> 'allowed', 1)) AS allowed,
                      count(*) FILTER (WHERE NOT coalesce(detail ->> 'allowed', 1)) AS refused,
                      max(at) AS at
               FROM audit
               WHERE action LIKE '%egress%' AND at >= ?2
                 AND ?1 IN (actor, object, detail ->> 'skill', detail ->> 'label')
               GROUP BY host ORDER BY host LIMIT 200";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![skill, since], |row| {
        Ok(Reached {
            host: row.get("host")?,
            allowed: row.get::<_, i64>("allowed")?.unsigned_abs(),
            refused: row.get::<_, i64>("refused")?.unsigned_abs(),
            last_at: row.get("at")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The setting that holds who stopped all skills.
const STOPPED: &str = "skills.stopped";

/// Who stopped all skills, as it was written; none if they run.
pub fn stopped(c: &Connection) -> Result<Option<String>> {
    settings::get(c, STOPPED)
}

/// Writes who stopped all skills, or that they run again.
pub fn set_stopped(tx: &Transaction<'_>, by: Option<&str>) -> Result<()> {
    match by {
        Some(by) => settings::set(tx, STOPPED, by),
        None => settings::remove(tx, STOPPED),
    }
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
