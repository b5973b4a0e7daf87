//! Turns and calls that wait for a person: columns of `turns` and `steps`.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Result, turns::Turn};
use crate::types::{StepId, Timestamp, TurnId, effect::Provenance};

/// A turn waits for a person: nothing is done for it until one decided.
pub fn park(tx: &Transaction<'_>, id: TurnId, now: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE turns SET parked_at = ?2 WHERE id = ?1 AND state = 'running'")?
        .execute(params![id, now])?;
    Ok(())
}

/// A parked turn goes on; the time that it waited does not count as its own.
pub fn unpark(tx: &Transaction<'_>, turn: &mut Turn, now: Timestamp) -> Result<()> {
    if let Some(since) = turn.parked_at.take() {
        turn.waited += now.0.saturating_sub(since.0).max(0);
    }
    let sql = "UPDATE turns SET parked_at = NULL, waited = ?2 WHERE id = ?1";
    tx.prepare_cached(sql)?
        .execute(params![turn.id, turn.waited])?;
    Ok(())
}

/// A tool call waits for a person, or does not any more.
pub fn set_waiting(tx: &Transaction<'_>, id: StepId, waits: bool, now: Timestamp) -> Result<()> {
    // A call begins when it may run.
    let sql = "UPDATE steps SET waiting = ?2, started_at = CASE WHEN ?2 THEN started_at ELSE ?3 END
               WHERE id = ?1";
    tx.prepare_cached(sql)?.execute(params![id, waits, now])?;
    Ok(())
}

/// Who allowed a call, for the audit of what it does.
pub fn set_allowed(tx: &Transaction<'_>, id: StepId, by: &str) -> Result<()> {
    tx.prepare_cached("UPDATE steps SET allowed_by = ?2 WHERE id = ?1")?
        .execute(params![id, by])?;
    Ok(())
}

/// Who allowed a call; none where nobody had to.
pub fn allowed_by(c: &Connection, id: StepId) -> Result<Option<String>> {
    let mut query = c.prepare_cached("SELECT allowed_by FROM steps WHERE id = ?1")?;
    Ok(query
        .query_row([id], |row| row.get(0))
        .optional()?
        .flatten())
}

/// Where the result of a tool call came from.
pub fn set_provenance(tx: &Transaction<'_>, id: StepId, provenance: Provenance) -> Result<()> {
    tx.prepare_cached("UPDATE steps SET provenance = ?2 WHERE id = ?1")?
        .execute(params![id, provenance.as_str()])?;
    Ok(())
}
