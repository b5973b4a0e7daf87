//! People: who may talk through which channel, as what; strangers who ask to be let in.

use axum::{Json as Answer, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    approvals::decider,
    error::{ApiError, ApiResult, Json, Path},
};
use crate::{
    orchestrator::{Asked, PeopleError},
    store::{
        pairings::{self, Pairing},
        users::{self, Role},
    },
    types::{PairingId, UserId},
};

/// Accounts that may talk.
pub(super) async fn list(State(app): State<App>, caller: Caller) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let found = app.store().read(users::list).await?;
    Ok(Answer(json!({ "users": found })))
}

#[derive(Deserialize)]
pub(super) struct Change {
    role: Role,
}

/// Gives an account a role.
pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<UserId>,
    Json(Change { role }): Json<Change>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let account = app.agent.set_role(id, role, decider(&caller)).await?;
    Ok(Answer(json!(account)))
}

/// Takes an account's rights away.
pub(super) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<UserId>,
) -> ApiResult<StatusCode> {
    caller.need(Role::Owner)?;
    app.agent.remove_user(id, decider(&caller)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Strangers who ask to be let in.
pub(super) async fn waiting(State(app): State<App>, caller: Caller) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let now = app.clock().now();
    let found = app.store().read(move |c| pairings::list(c, now)).await?;
    let shown: Vec<Value> = found.iter().map(shown).collect();
    Ok(Answer(json!({ "pairings": shown })))
}

/// Without its code: whoever knows that was told it by the sender.
fn shown(one: &Pairing) -> Value {
    json!({
        "id": one.id,
        "state": one.state,
        "channel": one.from.connector,
        "account": one.from.account,
        "user": one.external_user,
        "name": one.name,
        "created_at": one.created_at,
        "expires_at": one.expires_at,
    })
}

#[derive(Deserialize)]
pub(super) struct Ruling {
    code: Option<String>,
    id: Option<PairingId>,
    role: Option<Role>,
    decision: Option<Said>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Approve,
    Deny,
}

/// Lets one of them in, by code or by id, or turns one away.
pub(super) async fn decide(
    State(app): State<App>,
    caller: Caller,
    Json(ruling): Json<Ruling>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let (asked, by) = (ruling.asked()?, decider(&caller));
    if ruling.decision == Some(Said::Deny) {
        let Asked::Id(id) = asked else {
            return Err(ApiError::invalid("name the one to turn away by its `id`"));
        };
        app.agent.turn_away(id, by).await?;
        return Ok(Answer(json!({ "state": "denied" })));
    }
    let role = ruling.role.unwrap_or(Role::Member);
    let account = app.agent.pair(asked, role, by).await?;
    Ok(Answer(json!({ "state": "approved", "user": account })))
}

impl Ruling {
    fn asked(&self) -> ApiResult<Asked> {
        match (&self.code, self.id) {
            (Some(code), None) => Ok(Asked::Code(code.clone())),
            (None, Some(id)) => Ok(Asked::Id(id)),
            _ => Err(ApiError::invalid("send either `code` or `id`")),
        }
    }
}

impl From<PeopleError> for ApiError {
    fn from(error: PeopleError) -> Self {
        let text = error.to_string();
        match error {
            PeopleError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", text),
            PeopleError::TooOften(wait) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_CODES", text)
                    .with(json!({ "retry_after_s": wait.as_secs().max(1) }))
            }
            PeopleError::Invalid(_) => Self::invalid(text),
            PeopleError::Store(store) => store.into(),
        }
    }
}
