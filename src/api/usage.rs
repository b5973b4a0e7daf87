//! What was spent.

use std::time::Duration;

use axum::{Json as Answer, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    error::{ApiError, ApiResult, Query},
};
use crate::store::{
    usage::{self, By},
    users::Role,
};

#[derive(Deserialize)]
pub(super) struct Wanted {
    by: Option<String>,
    days: Option<u64>,
}

/// Sums of the last days, 30 unless told otherwise.
pub(super) async fn report(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let by = match wanted.by.as_deref().unwrap_or("day") {
        "day" => By::Day,
        "model" => By::Model,
        "channel" => By::Channel,
        "user" => By::User,
        other => {
            return Err(ApiError::bad(format!(
                "`{other}`: sum by day, model, channel or user"
            )));
        }
    };
    let zone = app.agent.parts().kit.schedules.zone();
    let days = wanted.days.unwrap_or(30).min(36_500);
    let since = app.clock().now().minus(Duration::from_hours(24 * days));
    let lines = app
        .store()
        .read(move |c| usage::report(c, by, (since, zone)))
        .await?;
    Ok(Answer(json!({ "usage": lines, "since": since })))
}
