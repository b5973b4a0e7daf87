//! The audit: who did what; whether it is whole; and what the doors themselves write there.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{Json as Answer, extract::State};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeZone as _, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    error::{ApiError, ApiResult, Query},
};
use crate::{
    store::{
        audit::{
            self, Entry, Filter, Origin,
            chain::{self, Check, Given},
        },
        users::Role,
    },
    types::Timestamp,
};

/// Entries read at once where all are read: a reader is not kept for longer.
const CHUNK: u32 = 2000;
/// Entries in an answer at most.
const MOST: u32 = 1000;

#[derive(Deserialize)]
pub(super) struct Wanted {
    actor: Option<String>,
    action: Option<String>,
    object: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<u32>,
    cursor: Option<i64>,
    /// Oldest first, from the entry after this number: for export.
    after: Option<i64>,
}

/// Who did what, newest first.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let limit = wanted.limit.unwrap_or(100).clamp(1, MOST);
    let found = if let Some(after) = wanted.after {
        let read = app.store().read(move |c| audit::after(c, after, limit));
        read.await?
    } else {
        let filter = Filter {
            actor: wanted.actor,
            action: wanted.action,
            object: wanted.object,
            since: moment(wanted.since.as_deref(), "since")?,
            until: moment(wanted.until.as_deref(), "until")?,
            before: wanted.cursor,
            limit,
        };
        app.store().read(move |c| audit::list(c, &filter)).await?
    };
    let more = found.len() == limit as usize;
    let next = found.last().filter(|_| more).map(|line| line.id);
    Ok(Answer(json!({ "audit": found, "next_cursor": next })))
}

/// The last entry, by which the chain is recognized later.
pub(super) async fn head(State(app): State<App>, caller: Caller) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let last = app.store().read(chain::last).await?;
    Ok(Answer(json!({
        "head": last.map(|head| head.to_string()),
        "id": last.map(|head| head.id),
        "at": last.map(|head| head.at),
    })))
}

#[derive(Deserialize)]
pub(super) struct Against {
    head: Option<String>,
}

/// Reads all of the chain and tells the first entry that does not fit.
pub(super) async fn verify(
    State(app): State<App>,
    caller: Caller,
    Query(against): Query<Against>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let head = against.head.as_deref().map(str::parse::<Given>);
    let mut check = Check::against(head.transpose().map_err(ApiError::invalid)?);
    loop {
        let after = check.id;
        let chunk = app
            .store()
            .read(move |c| audit::after(c, after, CHUNK))
            .await?;
        let whole = chunk.iter().all(|line| check.take(line));
        if !whole || chunk.len() < CHUNK as usize {
            break;
        }
    }
    let entries = check.entries;
    Ok(Answer(match check.end() {
        Ok(check) => json!({ "ok": true, "entries": entries, "head": check.head() }),
        Err(broken) => json!({ "ok": false, "entries": entries, "broken": broken }),
    }))
}

/// A moment as RFC 3339, or a day, which means its beginning in UTC.
pub(super) fn moment(text: Option<&str>, name: &str) -> ApiResult<Option<Timestamp>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let day = |day: NaiveDate| Utc.from_utc_datetime(&day.and_time(NaiveTime::MIN));
    let read = DateTime::parse_from_rfc3339(text)
        .map(|at| at.with_timezone(&Utc))
        .or_else(|_not_a_moment| text.parse::<NaiveDate>().map(day));
    let wrong = |_neither| {
        ApiError::invalid(format!(
            "`{name}` is a day like 2026-01-31 or a moment like 2026-01-31T09:00:00Z, not `{text}`"
        ))
    };
    read.map(|at| Some(at.into())).map_err(wrong)
}

impl Caller {
    /// An entry of the audit for what the caller does.
    pub(super) fn deed(&self, at: Timestamp, action: &str, object: impl ToString) -> Entry {
        Entry::new(at, &self.name, action, object)
    }

    /// Through which door the caller came, and from where.
    pub(super) fn origin(&self) -> Origin {
        Origin::from(match self.peer {
            Some(peer) => format!("{} {peer}", self.channel),
            None => self.channel.to_owned(),
        })
    }
}

/// Writes an entry that stands alone, with no row that it belongs to.
pub(super) async fn note(app: &App, entry: Entry, origin: Origin) -> ApiResult<()> {
    let write = app
        .store()
        .write(move |tx| audit::append_from(tx, &entry, &origin));
    Ok(write.await?)
}

/// Somebody who was refused: noted, but a guesser cannot fill the disk with it.
pub(super) async fn refused(app: &App, peer: Option<std::net::IpAddr>, why: &str) {
    let now = app.clock().now();
    let from = peer.map_or_else(String::new, |ip| ip.to_string());
    let Some(unsaid) = app.refusals.admit(&from, now) else {
        return;
    };
    let entry = Entry::new(now, "nobody", "auth.refused", "").with(json!({
        "why": why, "not_noted_before": unsaid,
    }));
    if let Err(error) = note(app, entry, Origin::from(format!("web {from}").trim_end())).await {
        tracing::warn!(?error, "a refusal could not be noted");
    }
}

/// Refusals that were noted lately: each peer's once a minute, and so many in an hour of all.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    lately: HashMap<String, Timestamp>,
    hour: i64,
    in_hour: u32,
    unsaid: u64,
}

impl Refusals {
    /// Between two notes of one peer.
    const PAUSE: Duration = Duration::from_mins(1);
    /// Notes in an hour, of all peers together.
    const HOURLY: u32 = 60;

    /// How many were passed over since the last note, if this one is noted.
    fn admit(&self, peer: &str, now: Timestamp) -> Option<u64> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hour = now.0 / 3_600_000_000;
        if noted.hour != hour {
            noted.hour = hour;
            noted.in_hour = 0;
            noted.lately.retain(|_, at| now.since(*at) < Self::PAUSE);
        }
        let last = noted.lately.get(peer).copied();
        let soon = last.is_some_and(|at| now.since(at) < Self::PAUSE);
        if soon || noted.in_hour >= Self::HOURLY {
            noted.unsaid += 1;
            return None;
        }
        noted.in_hour += 1;
        noted.lately.insert(peer.to_owned(), now);
        Some(std::mem::take(&mut noted.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guesser_gets_few_lines_and_is_counted() {
        let refusals = Refusals::default();
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        assert_eq!(refusals.admit("a", at(0)), Some(0));
        for n in 1..60 {
            assert_eq!(refusals.admit("a", at(n)), None);
        }
        assert_eq!(refusals.admit("b", at(59)), Some(59));
        assert_eq!(refusals.admit("a", at(60)), Some(0));
        let many = (0..1000).filter(|n| refusals.admit(&n.to_string(), at(61)).is_some());
        assert_eq!(many.count(), 57);
        assert_eq!(refusals.admit("a", at(3600)), Some(943));
    }

    #[test]
    fn moments_are_days_or_times() {
        let read = |text: &str| moment(Some(text), "since").map(|at| at.unwrap().to_string());
        assert_eq!(read("2026-01-31").unwrap(), "2026-01-31T00:00:00.000000Z");
        assert_eq!(
            read("2026-01-31T01:00:00+01:00").unwrap(),
            "2026-01-31T00:00:00.000000Z"
        );
        assert!(read("yesterday").is_err());
    }
}
