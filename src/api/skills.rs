//! Skills: what there is, running one, trusting one; and their executions.

pub(super) mod trust;

use std::{collections::HashMap, sync::Arc};

use axum::{Json as Answer, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    error::{ApiError, ApiResult, Json, Path, Query},
    schedules::place,
};
use crate::{
    skills::{Skill, State as Standing},
    store::{
        tasks::{self, Task},
        users::Role,
    },
    tools::{Scope, skill},
    types::{SessionId, TaskId, frame::CallStatus},
};

/// All of them.
pub(super) async fn list(State(app): State<App>, _caller: Caller) -> ApiResult<Answer<Value>> {
    let skills = app.agent.parts().kit.catalog.snapshot();
    let shown: Vec<Value> = skills.iter().map(|s| s.describe()).collect();
    Ok(Answer(json!({ "skills": shown })))
}

fn find(app: &App, name: &str) -> ApiResult<Arc<Skill>> {
    let found = app.agent.parts().kit.catalog.get(name);
    found.ok_or_else(|| {
        let text = format!("there is no skill `{name}`");
        ApiError::new(StatusCode::NOT_FOUND, "SKILL_NOT_FOUND", text)
    })
}

/// One, with its body.
pub(super) async fn show(
    State(app): State<App>,
    _caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Answer<Value>> {
    let skill = find(&app, &name)?;
    let mut shown = skill.describe();
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("body".to_owned(), skill.body.clone().into());
        shown.insert("files".to_owned(), skill.files().into());
    }
    Ok(Answer(shown))
}

#[derive(Deserialize)]
pub(super) struct Run {
    #[serde(default)]
    input: Option<Value>,
    session_id: Option<SessionId>,
}

/// Runs one outside a conversation (or in the workspace of one).
pub(super) async fn run(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(wanted): Json<Run>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Member)?;
    let skill = find(&app, &name)?;
    if skill.state != Standing::Trusted || !skill.is_executable() {
        let why = if skill.state == Standing::Trusted {
            "it has instructions to read, nothing to run".to_owned()
        } else {
            format!("it is {}: {}", skill.state.as_str(), skill.reason)
        };
        let text = format!("the skill `{name}` cannot run: {why}");
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "SKILL_NOT_USABLE",
            text,
        ));
    }
    let input = wanted.input.unwrap_or_else(|| json!({}));
    skill.check_input(&input).map_err(ApiError::invalid)?;
    let who = (caller.role, caller.channel);
    let may = app.agent.may_run(&skill, &input, who);
    may.map_err(ApiError::forbidden)?;
    let scope = Scope {
        place: place(&app, &caller, wanted.session_id).await?,
        message: None,
        turn: None,
        schedule: None,
        cancel: app.stopping.child_token(),
        live: None,
        allowed: None,
    };
    let (id, done) = skill::run(&app.agent.parts().kit, &skill, scope, input).await?;
    let status = done.status;
    let error = (status != CallStatus::Ok).then_some(done.text);
    Ok(Answer(
        json!({ "task_id": id, "status": status, "output": done.detail, "error": error }),
    ))
}

/// Executions, newest first.
pub(super) async fn tasks(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<HashMap<String, String>>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let limit = wanted
        .get("limit")
        .and_then(|l| l.parse().ok())
        .unwrap_or(50)
        .min(500);
    let found = app
        .store()
        .read(move |c| tasks::recent(c, None, limit))
        .await?;
    Ok(Answer(json!({ "tasks": found })))
}

/// One execution.
pub(super) async fn task(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<TaskId>,
) -> ApiResult<Answer<Task>> {
    caller.need(Role::Member)?;
    let found = app.store().read(move |c| tasks::get(c, id)).await?;
    found
        .map(Answer)
        .ok_or_else(|| ApiError::not_found("such task"))
}

/// Stops the turn that an execution belongs to.
pub(super) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<TaskId>,
) -> ApiResult<StatusCode> {
    caller.need(Role::Member)?;
    let found = app.store().read(move |c| tasks::get(c, id)).await?;
    let task = found.ok_or_else(|| ApiError::not_found("such task"))?;
    match task.turn_id {
        Some(turn) => {
            super::chat::stop(&app, &caller, turn).await?;
            let deed = caller.deed(app.clock().now(), "skill.stop", task.skill);
            let deed = deed.with(json!({ "task": task.id, "turn": turn }));
            super::audit::note(&app, deed, caller.origin()).await?;
            Ok(StatusCode::ACCEPTED)
        }
        None => Err(ApiError::new(
            StatusCode::CONFLICT,
            "NOT_RUNNING",
            "this task belongs to no turn that could be stopped",
        )),
    }
}
