//! Answers on their way, and those that wait for a person to decide.

use axum::{Json as Answer, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    chat::own,
    error::{ApiError, ApiResult, Json, Path, Query},
};
use crate::{
    store::{
        outbox::{self, Parcel},
        users::Role,
    },
    types::{MessageId, text::shorten},
};

/// Rows of a list.
const ROWS: u32 = 200;
/// Bytes of a text in a list.
const PREVIEW: usize = 200;

#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    all: bool,
}

/// What is on its way or was given up; with `all=true` what was settled too.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(Which { all }): Query<Which>,
) -> ApiResult<Answer<Value>> {
    let user = caller.scope();
    let read = app.store().read(move |c| outbox::list(c, all, user, ROWS));
    let rows: Vec<Value> = read.await?.iter().map(shown).collect();
    Ok(Answer(json!({ "outbox": rows })))
}

fn shown(parcel: &Parcel) -> Value {
    json!({
        "id": parcel.id,
        "session_id": parcel.session,
        "turn_id": parcel.turn,
        "in_reply_to": parcel.in_reply_to,
        "notice": parcel.notice,
        "channel": parcel.to.connector,
        "account": parcel.to.account,
        "chat": parcel.to.chat,
        "text": shorten(&parcel.text, PREVIEW),
        "state": parcel.state,
        "unsure": parcel.unsure,
        "attempts": parcel.attempts,
        "last_error": parcel.last_error,
        "next_at": parcel.finished_at.is_none().then_some(parcel.next_at),
        "created_at": parcel.created_at,
        "finished_at": parcel.finished_at,
    })
}

#[derive(Deserialize)]
pub(super) struct Decision {
    action: Action,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Send,
    Drop,
}

/// Sends one now whatever its age, or drops it.
pub(super) async fn decide(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<MessageId>,
    Json(Decision { action }): Json<Decision>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Member)?;
    let found = app.store().read(move |c| outbox::get(c, id)).await?;
    let Some(parcel) = found else {
        return Err(ApiError::not_found("such answer in the outbox"));
    };
    own(&app, &caller, parcel.session).await?;
    let now = app.clock().now();
    let write = app.store().write(move |tx| {
        let done = match action {
            Action::Send => outbox::release(tx, id, now)?,
            Action::Drop => outbox::discard(tx, id, now)?,
        };
        Ok((done, outbox::get(tx, id)?))
    });
    let (done, parcel) = write.await?;
    app.agent.deliver();
    match parcel {
        Some(parcel) if done => Ok(Answer(shown(&parcel))),
        parcel => Err(ApiError::new(
            StatusCode::CONFLICT,
            "SETTLED",
            format!(
                "this answer is {}: there is nothing to decide",
                parcel.map_or_else(String::new, |p| p.state)
            ),
        )),
    }
}
