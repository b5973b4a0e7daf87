//! Small values that outlive a restart.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::Result;

/// The value of a key.
pub fn get(c: &Connection, key: &str) -> Result<Option<String>> {
    let mut query = c.prepare_cached("SELECT value FROM settings WHERE key = ?1")?;
    Ok(query.query_row([key], |row| row.get(0)).optional()?)
}

/// Sets a key.
pub fn set(tx: &Transaction<'_>, key: &str, value: &str) -> Result<()> {
    let sql = "INSERT INTO settings (key, value) VALUES (?1, ?2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    tx.prepare_cached(sql)?.execute(params![key, value])?;
    Ok(())
}

/// Forgets a key.
pub fn remove(tx: &Transaction<'_>, key: &str) -> Result<()> {
    tx.prepare_cached("DELETE FROM settings WHERE key = ?1")?
        .execute([key])?;
    Ok(())
}
