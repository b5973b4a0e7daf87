//! The models that providers have, and fetching one that a local server lacks.

use std::convert::Infallible;

use axum::{
    Json as Answer,
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{StreamExt as _, future, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    error::{ApiError, ApiResult, Json, Query},
};
use crate::{
    providers::{About, Condition, ProviderError, Providers},
    store::users::Role,
};

#[derive(Deserialize)]
pub(super) struct Wanted {
    provider: Option<String>,
}

/// What the providers say they have. One that does not answer is told beside the others.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Member)?;
    let providers = app.agent.parts().live().providers.clone();
    let mut names = usable(&providers, |_| true);
    if let Some(wanted) = wanted.provider {
        names.retain(|name| *name == wanted);
        if names.is_empty() {
            return Err(ApiError::not_found("such provider"));
        }
    }
    let asked = names.into_iter().filter_map(|name| {
        let provider = providers.get(&name)?;
        Some(async move {
            let told = provider.models().await;
            // A local server's own model is known only now.
            (name, provider.about().model, told)
        })
    });
    let (mut models, mut errors) = (Vec::new(), Vec::new());
    for (name, own, told) in future::join_all(asked).await {
        match told {
            Ok(told) => models.extend(told.iter().map(|about| model(&providers, about, &own))),
            Err(error) => errors.push(json!({ "provider": name, "message": error.to_string() })),
        }
    }
    Ok(Answer(json!({ "models": models, "errors": errors })))
}

/// Names of the providers that can be asked.
fn usable(providers: &Providers, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let states = providers.states().into_iter().filter(|state| {
        let usable = !matches!(state.condition, Condition::Misconfigured(_));
        usable && state.kind != "offline" && wanted(&state.kind)
    });
    states.map(|state| state.name).collect()
}

fn model(providers: &Providers, about: &About, own: &str) -> Value {
    json!({
        "provider": about.name,
        "model": about.model,
        "chosen": about.model == own,
        "context_tokens": about.context_tokens,
        "max_output_tokens": about.max_output_tokens,
        "tools": about.tools,
        "images": about.images,
        "price": providers.price(about),
    })
}

#[derive(Deserialize)]
pub(super) struct Pull {
    model: String,
    provider: Option<String>,
}

/// Fetches a model; the answer is its progress as server-sent events, the last with `done` or `error`.
pub(super) async fn pull(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<Pull>,
) -> ApiResult<Sse<impl stream::Stream<Item = Result<Event, Infallible>>>> {
    caller.need(Role::Owner)?;
    if asked.model.trim().is_empty() {
        return Err(ApiError::invalid("`model` is empty: name one"));
    }
    let providers = app.agent.parts().live().providers.clone();
    let local = || {
        usable(&providers, |kind| kind == "ollama")
            .into_iter()
            .next()
    };
    let name = asked.provider.or_else(local).ok_or_else(|| {
        ApiError::invalid("no configured provider fetches models; add an `ollama` section")
    })?;
    let provider = providers
        .get(&name)
        .ok_or_else(|| ApiError::not_found("such provider"))?;
    let pulling = provider.pull(asked.model.trim()).await.map_err(refused)?;
    let progress = pulling.map(|pulled| match pulled {
        Ok(pulled) => (json!(pulled), false),
        Err(error) => {
            let error =
                json!({ "code": error.word().to_uppercase(), "message": error.to_string() });
            (json!({ "error": error }), true)
        }
    });
    let end = stream::once(future::ready((json!({ "done": true }), true)));
    // An error is the end: `done` does not follow it.
    let all = progress.chain(end).scan(false, |over, (data, last)| {
        let ended = std::mem::replace(over, last);
        future::ready((!ended).then_some(data))
    });
    let stopping = app.stopping.clone().cancelled_owned();
    let events = all.map(|data| Ok(Event::default().data(data.to_string())));
    Ok(Sse::new(events.take_until(stopping)).keep_alive(KeepAlive::default()))
}

fn refused(error: ProviderError) -> ApiError {
    use axum::http::StatusCode;
    match error {
        ProviderError::Refused { .. } => ApiError::invalid(error.to_string()),
        other => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "PROVIDER",
            other.to_string(),
        ),
    }
}
