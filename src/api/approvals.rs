//! Questions whether something may be done, and lasting answers to them.

use axum::{Json as Answer, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    error::{ApiError, ApiResult, Json, Path, Query},
};
use crate::{
    orchestrator::{Choice, DecideError, Decider, Decision, shown},
    store::{
        approvals::{self, Approval, Wanted},
        grants::{self, Grant},
        turns,
        users::{self, Role},
    },
    types::{ApprovalId, GrantId, SessionId, UserId},
};

/// Questions that a list shows at most.
const MOST: u32 = 500;

#[derive(Deserialize)]
pub(super) struct Filter {
    state: Option<String>,
    session_id: Option<SessionId>,
    limit: Option<u32>,
}

/// What is pending first, then the newest.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> ApiResult<Answer<Value>> {
    let pending = match filter.state.as_deref() {
        None | Some("all") => false,
        Some("pending") => true,
        Some(other) => {
            let text = format!("`{other}` is neither `pending` nor `all`");
            return Err(ApiError::invalid(text));
        }
    };
    let wanted = Wanted {
        user: caller.scope(),
        session: filter.session_id,
        pending,
        limit: filter.limit.unwrap_or(100).min(MOST),
    };
    let found = app
        .store()
        .read(move |c| approvals::list(c, &wanted))
        .await?;
    Ok(Answer(json!({ "approvals": found })))
}

/// One, with how its turn stands.
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<ApprovalId>,
) -> ApiResult<Answer<Value>> {
    let found = app.store().read(move |c| {
        let Some(question) = approvals::get(c, id)? else {
            return Ok(None);
        };
        let turn = turns::get(c, question.turn_id)?;
        Ok(Some((question, turn)))
    });
    let theirs = |q: &Approval| caller.scope().is_none_or(|own| own == q.user_id);
    match found.await? {
        Some((question, turn)) if theirs(&question) => Ok(Answer(shown(&question, turn.as_ref()))),
        _ => Err(DecideError::Unknown.into()),
    }
}

/// A decision, as a page sends it.
#[derive(Deserialize)]
pub(super) struct Answered {
    approval_id: ApprovalId,
    decision: Said,
    reason: Option<String>,
    steps: Option<Vec<usize>>,
}

/// The same, where the path names the question.
#[derive(Deserialize)]
pub(super) struct Ruled {
    decision: Said,
    reason: Option<String>,
    steps: Option<Vec<usize>>,
}

/// What can be said to a question.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Once,
    Session,
    Always,
    Deny,
    Reopen,
}

/// Decides.
pub(super) async fn decide(
    State(app): State<App>,
    caller: Caller,
    Path(approval_id): Path<ApprovalId>,
    Json(ruled): Json<Ruled>,
) -> ApiResult<Answer<Value>> {
    let answered = Answered {
        approval_id,
        decision: ruled.decision,
        reason: ruled.reason,
        steps: ruled.steps,
    };
    let question = answer(&app, &caller, answered).await?;
    Ok(Answer(shown(&question, None)))
}

/// Decides, from whichever door.
pub(super) async fn answer(app: &App, caller: &Caller, said: Answered) -> ApiResult<Approval> {
    caller.need(Role::Member)?;
    let choice = match said.decision {
        Said::Once => Choice::Once,
        Said::Session => Choice::Session,
        Said::Always => Choice::Always,
        Said::Deny => Choice::Deny,
        Said::Reopen => return Ok(app.agent.reopen(said.approval_id, decider(caller)).await?),
    };
    let decision = Decision {
        id: said.approval_id,
        choice,
        steps: said.steps,
        reason: said.reason,
    };
    Ok(app.agent.decide(decision, decider(caller)).await?)
}

pub(super) fn decider(caller: &Caller) -> Decider {
    Decider {
        user: caller.user,
        name: caller.name.clone(),
        role: caller.role,
        via: caller.channel.to_owned(),
        from: caller.origin(),
    }
}

/// Whose grants a caller may see: none stands for everybody's.
async fn person(app: &App, caller: &Caller) -> ApiResult<Option<UserId>> {
    let Some(user) = caller.scope() else {
        return Ok(None);
    };
    let found = app.store().read(move |c| users::get(c, user)).await?;
    Ok(Some(found.map_or(user, |account| account.person)))
}

/// Grants that hold now.
pub(super) async fn grants(State(app): State<App>, caller: Caller) -> ApiResult<Answer<Value>> {
    let (person, now) = (person(&app, &caller).await?, app.clock().now());
    let found = app
        .store()
        .read(move |c| grants::list(c, person, now))
        .await?;
    Ok(Answer(json!({ "grants": found })))
}

/// Takes one back.
pub(super) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<GrantId>,
) -> ApiResult<StatusCode> {
    caller.need(Role::Member)?;
    let (person, now) = (person(&app, &caller).await?, app.clock().now());
    let held = app
        .store()
        .read(move |c| grants::list(c, person, now))
        .await?;
    let theirs = held.iter().any(|grant: &Grant| grant.id == id);
    let gone = if theirs {
        app.agent.revoke(id, decider(&caller)).await?
    } else {
        None
    };
    match gone {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(ApiError::not_found("such grant")),
    }
}

impl From<DecideError> for ApiError {
    fn from(error: DecideError) -> Self {
        let text = error.to_string();
        match error {
            DecideError::Unknown => Self::not_found("such approval"),
            DecideError::NotYours => Self::forbidden(text),
            DecideError::Settled(_, question) => {
                Self::new(StatusCode::CONFLICT, "ALREADY_DECIDED", text).with(json!({
                    "state": question.state,
                    "decision": question.decision,
                    "decided_by": question.decided_by,
                    "decided_via": question.decided_via,
                    "decided_at": question.decided_at,
                }))
            }
            DecideError::Invalid(_) => Self::invalid(text),
            DecideError::Store(store) => store.into(),
        }
    }
}
