//! What model calls may cost at most, written before they begin: check and reservation are one
//! transaction, so calls side by side cannot pass a limit together.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::{
    Result, Tx,
    budgets::{self, Standing, Window},
    settings,
    usage::{self, Ended, Spent, number, stored},
};
use crate::types::{
    AttemptId, ScheduleId, SessionId, StepId, Timestamp, TurnId, UserId,
    chat::Usage,
    money::{PriceSource, Quote, Usd},
};

/// Settled reservations are kept for so long: their usage rows say the same.
const KEPT: Duration = Duration::from_hours(30 * 24);
/// They are pruned once in so many calls.
const PRUNE: u128 = 512;

/// Who pays for a call, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// The model step, or an id of its own for what a skill asks.
    pub step: Option<StepId>,
    /// The turn that caused it; none for a skill that runs outside a turn.
    pub turn: Option<TurnId>,
    /// Its conversation.
    pub session: SessionId,
    /// Whose message was answered.
    pub user: UserId,
    /// The person behind all accounts of that user.
    pub person: UserId,
    /// Name of the agent.
    pub agent: String,
    /// Through which connector.
    pub channel: String,
    /// The schedule that asked.
    pub schedule: Option<ScheduleId>,
    /// `chat`, or `skill:NAME`.
    pub purpose: String,
}

/// What is to be reserved.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The attempt.
    pub id: AttemptId,
    /// Who pays.
    pub bill: Bill,
    /// 1, or more where it was tried before in the same step.
    pub attempt: u32,
    /// Provider.
    pub provider: String,
    /// Model.
    pub model: String,
    /// At what price.
    pub quote: Quote,
    /// What it will read, on the safe side.
    pub input_tokens: u64,
    /// What it may write.
    pub max_output_tokens: u64,
    /// An answer shorter than this is not worth asking for: where less is left, there is no call.
    pub least_output_tokens: u64,
    /// The limits that hold for it.
    pub windows: Vec<Window>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The call may begin.
    Reserved {
        /// What it may write: less than was wanted where the budget has no more.
        max_output_tokens: u64,
        /// The price is a ceiling, and nobody was told so for this model yet.
        tell_ceiling: bool,
    },
    /// A limit is reached.
    Refused(Box<Short>),
}

/// A limit that leaves too little.
#[derive(Debug, Clone, PartialEq)]
pub struct Short {
    /// The limit.
    pub window: Window,
    /// How it stands.
    pub standing: Standing,
    /// What even a short answer may cost.
    pub needed: Usd,
}

/// Reserves what a call may cost at most, if every limit has room for it.
pub fn reserve(tx: &Tx<'_>, wanted: &Wanted, now: Timestamp) -> Result<Verdict> {
    let price = &wanted.quote.price;
    let cost = |output_tokens| {
        price.of(Usage {
            input_tokens: wanted.input_tokens,
            output_tokens,
            ..Usage::default()
        })
    };
    let mut output = wanted.max_output_tokens;
    // What costs nothing needs no room.
    let windows: &[Window] = if price.is_free() {
        &[]
    } else {
        &wanted.windows
    };
    for window in windows {
        let standing = budgets::open(tx, window, now)?;
        let Some(left) = standing.left(window) else {
            continue;
        };
        let fits = if left.0 == 0 {
            0
        } else {
            price.affordable_output(left, wanted.input_tokens)
        };
        let least = wanted.least_output_tokens.min(wanted.max_output_tokens);
        if fits < least.max(1) {
            let short = Short {
                window: window.clone(),
                standing,
                needed: cost(least),
            };
            return Ok(Verdict::Refused(Box::new(short)));
        }
        output = output.min(fits);
    }
    insert(tx, wanted, (output, cost(output)), now)?;
    Ok(Verdict::Reserved {
        max_output_tokens: output,
        tell_ceiling: wanted.quote.source == PriceSource::Ceiling && is_news(tx, wanted)?,
    })
}

/// Whether a ceiling stands in for the price of this model for the first time.
fn is_news(tx: &Tx<'_>, wanted: &Wanted) -> Result<bool> {
    let key = format!("price.ceiling.{}/{}", wanted.provider, wanted.model);
    let ceiling = wanted.quote.price;
    let now = format!("{} {}", ceiling.input_per_mtok, ceiling.output_per_mtok);
    if settings::get(tx, &key)?.as_deref() == Some(now.as_str()) {
        return Ok(false);
    }
    settings::set(tx, &key, &now)?;
    Ok(true)
}

fn insert(
    tx: &Tx<'_>,
    wanted: &Wanted,
    (output, amount): (u64, Usd),
    now: Timestamp,
) -> Result<()> {
    let sql =
        "INSERT INTO reservations (id, step_id, attempt, turn_id, session_id, user_id, person_id,
                 agent, channel, schedule_id, purpose, provider, model, input_tokens,
                 max_output_tokens, amount_nanousd, price_source, state, at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                       'open', ?18)";
    let bill = &wanted.bill;
    tx.prepare_cached(sql)?.execute(params![
        wanted.id,
        bill.step,
        wanted.attempt,
        bill.turn,
        bill.session,
        bill.user,
        bill.person,
        bill.agent,
        bill.channel,
        bill.schedule,
        bill.purpose,
        wanted.provider,
        wanted.model,
        stored(wanted.input_tokens),
        stored(output),
        amount.0,
        wanted.quote.source.as_str(),
        now
    ])?;
    Ok(())
}

/// Replaces a reservation by what the call took, and answers the soft limits that this passed for the
/// first time. A reservation that is settled stays as it is.
pub fn settle(
    tx: &Tx<'_>,
    spent: &Spent,
    windows: &[Window],
    now: Timestamp,
) -> Result<Vec<(Window, Standing)>> {
    let charged = spent.usage.input_tokens + spent.usage.output_tokens > 0;
    let sql = "UPDATE reservations SET state = ?2, ended_at = ?3 WHERE id = ?1 AND state = 'open'";
    let state = if charged { "settled" } else { "released" };
    let changed = tx
        .prepare_cached(sql)?
        .execute(params![spent.id, state, now])?;
    if changed == 0 {
        return Ok(Vec::new());
    }
    // Counters that do not exist yet are summed up before this is added to them.
    let paid: &[Window] = if spent.cost.0 == 0 { &[] } else { windows };
    for window in paid {
        budgets::open(tx, window, now)?;
    }
    usage::insert(tx, spent, now)?;
    if spent.id.0.as_u128().is_multiple_of(PRUNE) {
        prune(tx, now)?;
    }
    let mut passed = Vec::new();
    for window in paid {
        if let Some(standing) = budgets::passed_softly(tx, window, now)? {
            passed.push((window.clone(), standing));
        }
    }
    Ok(passed)
}

fn prune(tx: &Tx<'_>, now: Timestamp) -> Result<()> {
    let sql = "DELETE FROM reservations WHERE state <> 'open' AND ended_at < ?1";
    tx.prepare_cached(sql)?.execute([now.minus(KEPT)])?;
    Ok(())
}

/// A reservation that nobody settled: the daemon was killed while the call ran.
fn lost(row: &Row<'_>) -> rusqlite::Result<Spent> {
    let source: String = row.get("price_source")?;
    Ok(Spent {
        id: row.get("id")?,
        bill: Bill {
            step: row.get("step_id")?,
            turn: row.get("turn_id")?,
            session: row.get("session_id")?,
            user: row.get("user_id")?,
            person: row.get("person_id")?,
            agent: row.get("agent")?,
            channel: row.get("channel")?,
            schedule: row.get("schedule_id")?,
            purpose: row.get("purpose")?,
        },
        attempt: row.get("attempt")?,
        provider: row.get("provider")?,
        model: row.get("model")?,
        usage: Usage {
            input_tokens: number(row, "input_tokens")?,
            cached_tokens: 0,
            output_tokens: number(row, "max_output_tokens")?,
            estimated: true,
        },
        cost: Usd(row.get("amount_nanousd")?),
        source: source_named(&source),
        ended: Ended::Interrupted,
        error: Some("interrupted".to_owned()),
        detail: None,
        task: None,
        started_at: row.get("at")?,
    })
}

fn source_named(name: &str) -> PriceSource {
    serde_json::from_value(name.into()).unwrap_or(PriceSource::Ceiling)
}

/// After a restart: what was open is charged in full, because nobody knows how much of it the provider
/// had written by then. Answers how many there were.
pub fn recover(tx: &Tx<'_>, now: Timestamp) -> Result<usize> {
    let all: Vec<Spent> = {
        let mut query = tx.prepare_cached("SELECT * FROM reservations WHERE state = 'open'")?;
        let rows = query.query_map([], lost)?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    for spent in &all {
        settle(tx, spent, &[], now)?;
    }
    prune(tx, now)?;
    budgets::sweep(tx, now)?;
    Ok(all.len())
}

/// How many calls are reserved and not settled, and for how much.
pub fn pending(c: &Connection) -> Result<(u64, Usd)> {
    let sql = "SELECT count(*) AS n, coalesce(sum(amount_nanousd), 0) AS amount
               FROM reservations WHERE state = 'open'";
    Ok(c.prepare_cached(sql)?
        .query_row([], |row| Ok((number(row, "n")?, Usd(row.get("amount")?))))?)
}
