//! Tries of a delivery: each is a row before it begins.

use rusqlite::{Connection, Transaction, params};
use serde::Serialize;

use super::{Result, outbox::Parcel};
use crate::types::{MessageId, Timestamp};

/// One try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Its number, from 1.
    pub n: u32,
    /// When it began.
    pub at: Timestamp,
    /// When it ended; none while it runs, or where nobody saw its end.
    pub ended_at: Option<Timestamp>,
    /// `sending`, or how the parcel stood after it: `delivered`, `retry`, `ambiguous`, `dead`, `expired`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<String>,
}

/// The newest try of a parcel.
const NEWEST: &str = "(SELECT max(n) FROM attempts WHERE parcel_id = ?1)";

/// Tries begin. Each has a row, also those that do not count against the limit.
pub fn begin(tx: &Transaction<'_>, parcels: &[Parcel], now: Timestamp) -> Result<()> {
    let sql = format!(
        "INSERT INTO attempts (parcel_id, n, at, outcome)
         VALUES (?1, coalesce({NEWEST}, 0) + 1, ?2, 'sending')"
    );
    let mut query = tx.prepare_cached(&sql)?;
    for parcel in parcels {
        query.execute(params![parcel.id, now])?;
    }
    Ok(())
}

/// A try ended: how is what its parcel says now.
pub fn end(tx: &Transaction<'_>, parcel: MessageId, now: Timestamp) -> Result<()> {
    let sql = format!(
        "UPDATE attempts SET ended_at = ?2,
           outcome = (SELECT state FROM outbox WHERE id = ?1),
           error = (SELECT last_error FROM outbox WHERE id = ?1)
         WHERE parcel_id = ?1 AND n = {NEWEST}"
    );
    tx.prepare_cached(&sql)?.execute(params![parcel, now])?;
    Ok(())
}

/// After a restart: of tries that were under way nobody saw the end.
pub fn recover(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(
        "UPDATE attempts SET outcome = 'ambiguous', error = 'nexflow stopped while sending'
         WHERE outcome = 'sending'",
        [],
    )?;
    Ok(())
}

/// The tries of a parcel, in order.
pub fn of(c: &Connection, parcel: MessageId) -> Result<Vec<Attempt>> {
    let sql =
        "SELECT n, at, ended_at, outcome, error FROM attempts WHERE parcel_id = ?1 ORDER BY n";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map([parcel], |row| {
        Ok(Attempt {
            n: row.get("n")?,
            at: row.get("at")?,
            ended_at: row.get("ended_at")?,
            outcome: row.get("outcome")?,
            error: row.get("error")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
