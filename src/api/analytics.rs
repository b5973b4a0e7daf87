//! Events, counted by day: for the owner alone, from this database alone.

use axum::{Json as Answer, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    audit::moment,
    error::{ApiError, ApiResult, Query},
};
use crate::{
    store::{
        analytics::{self, Event, Filter},
        users::Role,
    },
    types::{SessionId, UserId},
};

#[derive(Deserialize)]
pub(super) struct Wanted {
    event: Option<String>,
    session: Option<SessionId>,
    user: Option<UserId>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<u32>,
    cursor: Option<i64>,
}

/// Counts by day, and the newest events.
pub(super) async fn report(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let event = wanted.event.as_deref().map(|name| {
        Event::parse(name).ok_or_else(|| {
            let names: Vec<&str> = Event::ALL.iter().map(|event| event.as_str()).collect();
            ApiError::invalid(format!(
                "there is no event `{name}`; there are {}",
                names.join(", ")
            ))
        })
    });
    let limit = wanted.limit.unwrap_or(100).min(1000);
    let filter = Filter {
        event: event.transpose()?,
        session: wanted.session,
        user: wanted.user,
        since: moment(wanted.since.as_deref(), "since")?,
        until: moment(wanted.until.as_deref(), "until")?,
        before: wanted.cursor,
        limit,
    };
    let counted = Filter {
        before: None,
        ..filter.clone()
    };
    let read = app.store().read(move |c| {
        Ok((
            analytics::by_day(c, &counted)?,
            analytics::list(c, &filter)?,
        ))
    });
    let (days, events) = read.await?;
    let more = limit > 0 && events.len() == limit as usize;
    let next = events.last().filter(|_| more).map(|event| event.id);
    Ok(Answer(
        json!({ "days": days, "events": events, "next_cursor": next }),
    ))
}
