//! Providers: how they do, trying them, and which model a person prefers.

use axum::{Json as Answer, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    chat::own,
    error::{ApiError, ApiResult, Json, Path},
};
use crate::{
    providers::{self, Circuit, Condition},
    store::{models, users::Role},
    types::SessionId,
};

/// One provider, as it is shown.
pub fn shown(state: &providers::State) -> Value {
    let open = state.circuits.iter().find(|c| c.state != "closed");
    let mut detail = match &state.condition {
        Condition::Failing(why) | Condition::Misconfigured(why) => why.clone(),
        Condition::Unknown | Condition::Ready => String::new(),
    };
    if let Some(circuit) = open {
        detail = left_alone(circuit);
    }
    let mend = open.map(|_| {
        let name = &state.name;
        format!("mend what it says; `nexflow provider reset {name}` has it asked at once")
    });
    json!({
        "name": state.name,
        "kind": state.kind,
        "model": state.model,
        "state": open.map_or(state.condition.word(), |_| "left_alone"),
        "detail": detail,
        "mend": mend,
        "circuits": state.circuits,
        "max_concurrent": state.max_concurrent,
        "running": state.running,
        "waiting": state.waiting,
    })
}

fn left_alone(circuit: &Circuit) -> String {
    let wait = circuit
        .retry_in_s
        .map_or_else(String::new, |s| format!(" for {s} s"));
    format!(
        "left alone{wait} with {}: {}",
        circuit.model, circuit.last_error
    )
}

/// All of them.
pub(super) async fn list(State(app): State<App>, _caller: Caller) -> ApiResult<Answer<Value>> {
    let states = app.agent.parts().live().providers.states();
    let all: Vec<Value> = states.iter().map(shown).collect();
    Ok(Answer(json!({ "providers": all })))
}

/// Forgets the failures of one: it is asked again at once.
pub(super) async fn reset(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    if !app.agent.parts().live().providers.reset(&name) {
        return Err(missing(&app, &name));
    }
    tracing::info!(provider = name, by = caller.name, "failures forgotten");
    Ok(Answer(json!({ "name": name })))
}

/// Tries one with real requests, which cost a few tokens.
pub(super) async fn probe(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let live = app.agent.parts().live();
    match live.providers.probe(&name).await {
        Some(probe) => Ok(Answer(json!(probe))),
        None => Err(missing(&app, &name)),
    }
}

fn missing(app: &App, name: &str) -> ApiError {
    let text = app.agent.parts().live().providers.unknown(name);
    ApiError::new(StatusCode::NOT_FOUND, "PROVIDER_NOT_FOUND", text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chosen {
    /// None leaves it to the configuration.
    model: Option<String>,
}

/// The name, if somebody has it; none for `auto`.
fn known(app: &App, chosen: Chosen) -> ApiResult<Option<String>> {
    let named = chosen.model.filter(|m| !matches!(m.as_str(), "" | "auto"));
    let providers = &app.agent.parts().live().providers;
    match &named {
        Some(name) if providers.choice(name).is_none() => Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "NO_SUCH_MODEL",
            providers.unknown(name),
        )),
        _ => Ok(named),
    }
}

/// What the caller prefers.
pub(super) async fn preferences(
    State(app): State<App>,
    caller: Caller,
) -> ApiResult<Answer<Value>> {
    let user = caller.user;
    let model = app.store().read(move |c| models::of_person(c, user));
    Ok(Answer(json!({ "model": model.await? })))
}

/// Chooses for the caller.
pub(super) async fn prefer(
    State(app): State<App>,
    caller: Caller,
    Json(chosen): Json<Chosen>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Member)?;
    let (user, model) = (caller.user, known(&app, chosen)?);
    let shown = json!({ "model": model });
    let write = app
        .store()
        .write(move |tx| models::choose_for_person(tx, user, model.as_deref()));
    write.await?;
    Ok(Answer(shown))
}

/// Chooses for one conversation.
pub(super) async fn choose(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Json(chosen): Json<Chosen>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Member)?;
    own(&app, &caller, id).await?;
    let model = known(&app, chosen)?;
    let shown = json!({ "id": id, "model": model });
    let write = app
        .store()
        .write(move |tx| models::choose_for_session(tx, id, model.as_deref()));
    write.await?;
    Ok(Answer(shown))
}
