//! Kept facts.

use axum::{Json as Answer, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    error::{ApiError, ApiResult, Json, Path, Query},
};
use crate::{
    store::{
        memories::{Fact, Search},
        users,
        users::Role,
    },
    types::UserId,
};

#[derive(Deserialize)]
pub(super) struct Wanted {
    q: Option<String>,
    limit: Option<u32>,
}

async fn person(app: &App, caller: &Caller) -> ApiResult<UserId> {
    let user = caller.user;
    let found = app.store().read(move |c| users::get(c, user)).await?;
    Ok(found.map_or(user, |u| u.person))
}

/// Facts, or what has the words of `q`.
pub(super) async fn search(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Answer<Value>> {
    let person = person(&app, &caller).await?;
    let limit = wanted.limit.unwrap_or(50).clamp(1, 500);
    let memory = &app.agent.parts().kit.memory;
    match wanted.q.filter(|q| !q.trim().is_empty()) {
        None => Ok(Answer(
            json!({ "facts": memory.list(person, limit).await? }),
        )),
        Some(words) => {
            let search = Search {
                person,
                words,
                except: None,
                except_session: None,
                limit,
            };
            Ok(Answer(json!({ "hits": memory.search(search).await? })))
        }
    }
}

#[derive(Deserialize)]
pub(super) struct New {
    text: String,
}

/// Keeps a fact.
pub(super) async fn add(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<New>,
) -> ApiResult<(StatusCode, Answer<Fact>)> {
    caller.need(Role::Member)?;
    if new.text.trim().is_empty() {
        return Err(ApiError::invalid("`text` is empty"));
    }
    let person = person(&app, &caller).await?;
    let fact = app
        .agent
        .parts()
        .kit
        .memory
        .add(person, &new.text, None)
        .await?;
    Ok((StatusCode::CREATED, Answer(fact)))
}

/// Forgets a fact.
pub(super) async fn forget(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    caller.need(Role::Member)?;
    let person = person(&app, &caller).await?;
    match app.agent.parts().kit.memory.forget(person, &id).await? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(ApiError::not_found("such fact")),
    }
}
