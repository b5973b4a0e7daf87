//! Counters of what was spent: for each limit and period one row, so that a limit is checked in the
//! same time however long the history is.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Result, reservations::Bill};
use crate::types::{
    Timestamp,
    money::{Period, Scope, Usd},
};

/// Where a period that never ends, ends.
pub const FOREVER: Timestamp = Timestamp(i64::MAX);

/// A limit in the period that is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// What it counts.
    pub scope: Scope,
    /// Of which one: an id or a name; empty for everything.
    pub key: String,
    /// How long.
    pub period: Period,
    /// From when on.
    pub since: Timestamp,
    /// Until when; [`FOREVER`] where it never begins anew.
    pub until: Timestamp,
    /// At which amount somebody is told.
    pub soft: Option<Usd>,
    /// Which amount is never passed.
    pub hard: Option<Usd>,
}

/// How a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// What calls that ended took.
    pub spent: Usd,
    /// What calls that run may take at most.
    pub reserved: Usd,
}

impl Standing {
    /// What the hard limit leaves; nothing where there is none.
    pub fn left(&self, window: &Window) -> Option<Usd> {
        window
            .hard
            .map(|hard| hard.less(self.spent).less(self.reserved))
    }
}

/// The column of usage and reservations that a scope counts.
fn column(scope: Scope) -> &'static str {
    match scope {
        Scope::All => "''",
        Scope::Turn => "turn_id",
        Scope::Session => "session_id",
        Scope::User => "person_id",
        Scope::Agent => "agent",
        Scope::Channel => "channel",
        Scope::Schedule => "schedule_id",
    }
}

/// What a call counts for.
fn keys(bill: &Bill) -> Vec<(Scope, String)> {
    let mut keys = vec![
        (Scope::All, String::new()),
        (Scope::Session, bill.session.to_string()),
        (Scope::User, bill.person.to_string()),
        (Scope::Agent, bill.agent.clone()),
        (Scope::Channel, bill.channel.clone()),
    ];
    keys.extend(bill.turn.map(|id| (Scope::Turn, id.to_string())));
    keys.extend(bill.schedule.map(|id| (Scope::Schedule, id.to_string())));
    keys
}

/// Adds a cost to every counter that there is for it.
pub(super) fn add(tx: &Transaction<'_>, bill: &Bill, cost: Usd, now: Timestamp) -> Result<()> {
    if cost.0 == 0 {
        return Ok(());
    }
    let sql = "UPDATE budget_counters SET spent_nanousd = spent_nanousd + ?4
               WHERE scope = ?1 AND key = ?2 AND since <= ?3 AND until > ?3";
    let mut update = tx.prepare_cached(sql)?;
    for (scope, key) in keys(bill) {
        update.execute(params![scope.as_str(), key, now, cost.0])?;
    }
    Ok(())
}

fn counted(c: &Connection, window: &Window) -> Result<Option<Usd>> {
    let sql = "SELECT spent_nanousd FROM budget_counters
               WHERE scope = ?1 AND key = ?2 AND since = ?3 AND until = ?4";
    let found = c
        .prepare_cached(sql)?
        .query_row(
            params![
                window.scope.as_str(),
                window.key,
                window.since,
                window.until
            ],
            |row| row.get(0).map(Usd),
        )
        .optional()?;
    Ok(found)
}

fn summed(c: &Connection, window: &Window) -> Result<Usd> {
    let sql = format!(
        "SELECT coalesce(sum(cost_nanousd), 0) FROM usage
         WHERE {} = ?1 AND at >= ?2 AND at < ?3",
        column(window.scope)
    );
    let sum = c
        .prepare_cached(&sql)?
        .query_row(params![window.key, window.since, window.until], |row| {
            row.get(0).map(Usd)
        })?;
    Ok(sum)
}

fn reserved(c: &Connection, window: &Window) -> Result<Usd> {
    let sql = format!(
        "SELECT coalesce(sum(amount_nanousd), 0) FROM reservations WHERE state = 'open' AND {} = ?1",
        column(window.scope)
    );
    let sum = c
        .prepare_cached(&sql)?
        .query_row([&window.key], |row| row.get(0).map(Usd))?;
    Ok(sum)
}

/// How a limit stands.
pub fn standing(c: &Connection, window: &Window) -> Result<Standing> {
    let spent = match counted(c, window)? {
        Some(spent) => spent,
        None => summed(c, window)?,
    };
    Ok(Standing {
        spent,
        reserved: reserved(c, window)?,
    })
}

/// Of which ones something is counted in the scope and period of a window, those that spent most first.
pub fn keys_of(c: &Connection, window: &Window, limit: u32) -> Result<Vec<String>> {
    let sql = "SELECT key FROM budget_counters WHERE scope = ?1 AND since = ?2 AND until = ?3
               ORDER BY spent_nanousd DESC, key LIMIT ?4";
    let mut query = c.prepare_cached(sql)?;
    let given = params![window.scope.as_str(), window.since, window.until, limit];
    let rows = query.query_map(given, |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How a limit stands; its counter exists from then on.
pub(super) fn open(tx: &Transaction<'_>, window: &Window, now: Timestamp) -> Result<Standing> {
    let standing = standing(tx, window)?;
    let sql = "INSERT INTO budget_counters (scope, key, since, until, spent_nanousd)
               VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    let made = tx.prepare_cached(sql)?.execute(params![
        window.scope.as_str(),
        window.key,
        window.since,
        window.until,
        standing.spent.0
    ])?;
    // A new period is a good time to forget old ones.
    if made == 1 && window.until != FOREVER {
        sweep(tx, now)?;
    }
    Ok(standing)
}

/// How a limit stands, if its soft amount is reached and nobody was told; now somebody is.
pub(super) fn passed_softly(
    tx: &Transaction<'_>,
    window: &Window,
    now: Timestamp,
) -> Result<Option<Standing>> {
    let (Some(soft), true) = (window.soft, window.until > now) else {
        return Ok(None);
    };
    let sql = "UPDATE budget_counters SET noticed = 1
               WHERE scope = ?1 AND key = ?2 AND since = ?3 AND until = ?4
                 AND noticed = 0 AND spent_nanousd >= ?5";
    let told = tx.prepare_cached(sql)?.execute(params![
        window.scope.as_str(),
        window.key,
        window.since,
        window.until,
        soft.0
    ])?;
    if told == 0 {
        return Ok(None);
    }
    standing(tx, window).map(Some)
}

/// Forgets counters of periods that ended, and of turns that did.
pub(super) fn sweep(tx: &Transaction<'_>, now: Timestamp) -> Result<()> {
    tx.prepare_cached("DELETE FROM budget_counters WHERE until <= ?1")?
        .execute([now])?;
    let ended = "DELETE FROM budget_counters WHERE scope = 'turn' AND NOT EXISTS
                 (SELECT 1 FROM turns t WHERE t.id = key AND t.state = 'running')";
    tx.prepare_cached(ended)?.execute([])?;
    Ok(())
}
