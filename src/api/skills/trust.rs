//! What a person decides about a skill, and what they look at first.

use std::time::Duration;

use axum::{Json as Answer, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{
        App,
        access::Caller,
        error::{ApiError, ApiResult, Json, Path},
    },
    find,
};
use crate::{
    skills::{
        audit::audit,
        catalog::{Catalog, Refusal, Wish},
        difference::{self, Difference},
        run::Stopped,
    },
    store::{audit::append_from, skills as rows, users::Role},
};

/// How far back runs and connections are counted.
const DAYS: u32 = 30;

#[derive(Deserialize)]
pub(in crate::api) struct Change {
    trusted: Option<bool>,
    enabled: Option<bool>,
    /// The content that was looked at.
    hash: Option<String>,
    #[serde(default)]
    raw_secrets: Vec<String>,
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "SKILL_NOT_FOUND", text),
            Refusal::Stale(_) => Self::new(StatusCode::CONFLICT, "SKILL_CHANGED", text),
            Refusal::Cannot(_) => Self::invalid(text),
        }
    }
}

/// Trusts or switches: the permissions that it asks for now, and the content that it has now.
pub(in crate::api) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(wanted): Json<Change>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let catalog = app.agent.parts().kit.catalog.clone();
    find(&app, &name)?;
    let now = app.clock().now();
    let wish = Wish {
        trusted: wanted.trusted,
        enabled: wanted.enabled,
        hash: wanted.hash,
        raw_secrets: wanted.raw_secrets,
    };
    let files = match wanted.trusted {
        Some(true) => Some(seen(&catalog, &name, wish.hash.clone()).await?),
        Some(false) => Some(Vec::new()),
        None => None,
    };
    let record = catalog.decide(&name, wish, (&caller.name, now))?;
    let detail = json!({ "trusted": wanted.trusted, "enabled": wanted.enabled,
                         "hash": record.trusted_hash, "permissions": record.permissions });
    let deed = caller.deed(now, "skill.change", &name).with(detail);
    let origin = caller.origin();
    let all = app.store().write(move |tx| {
        rows::save(tx, &record)?;
        if let Some(files) = files {
            rows::keep_files(tx, &record.name, &files)?;
        }
        append_from(tx, &deed, &origin)?;
        Ok(rows::all(tx)?)
    });
    catalog.set_records(all.await?);
    Ok(Answer(find(&app, &name)?.describe()))
}

/// The files that are trusted now: those that the person looked at, or that are listed if they named
/// none.
async fn seen(catalog: &Catalog, name: &str, hash: Option<String>) -> ApiResult<Vec<rows::File>> {
    let (catalog, name) = (catalog.clone(), name.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        let Some(skill) = catalog.get(&name) else {
            return Err(Refusal::Unknown(name));
        };
        let (now, files) = skill.copy().map_err(Refusal::Cannot)?;
        if now == skill.hash && hash.is_none_or(|seen| seen == now) {
            return Ok(files);
        }
        // Who looks again sees what is there now.
        catalog.load();
        Err(Refusal::Stale(name))
    });
    let read = read.await.map_err(|e| ApiError::bad(e.to_string()))?;
    read.map_err(Into::into)
}

/// What is different since it was trusted, and what it asks for.
pub(in crate::api) async fn diff(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Answer<Difference>> {
    caller.need(Role::Owner)?;
    let skill = find(&app, &name)?;
    let catalog = app.agent.parts().kit.catalog.clone();
    let record = catalog.record(&name);
    let of = name.clone();
    let kept = app.store().read(move |c| rows::files(c, &of)).await?;
    let compare = move || {
        let found = difference::difference(&skill, record.as_ref(), kept)?;
        if found.hash == skill.hash {
            return Ok(found);
        }
        // It changed since the catalogue was read: what it asks for may be different as well.
        catalog.load();
        let skill = catalog.get(&name).ok_or("it is gone")?;
        let again = |skill: &crate::skills::Skill| {
            difference::difference(skill, record.as_ref(), Vec::new())
        };
        Ok(Difference {
            permissions: again(&skill)?.permissions,
            state: skill.state,
            ..found
        })
    };
    let found = tokio::task::spawn_blocking(compare).await;
    let found = found.map_err(|e| ApiError::bad(e.to_string()))?;
    found
        .map(Answer)
        .map_err(|e: String| ApiError::new(StatusCode::CONFLICT, "SKILL_NOT_READABLE", e))
}

/// What is known about it: what it asks for and got, its runs, where it went, its odd files.
pub(in crate::api) async fn report(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let skill = find(&app, &name)?;
    let record = app.agent.parts().kit.catalog.record(&name);
    let since = app.clock().now().minus(DAYS * Duration::from_hours(24));
    let read = app.store().read(move |c| {
        let (runs, reached) = (
            rows::runs(c, &name, since)?,
            rows::reached(c, &name, since)?,
        );
        Ok((runs, reached))
    });
    let (runs, reached) = read.await?;
    let look = move || {
        // What cannot be read is broken, and says why.
        let files = skill.copy().map(|(_, files)| files).unwrap_or_default();
        audit(&skill, record.as_ref(), &files)
    };
    let found = tokio::task::spawn_blocking(look).await;
    let mut found = found.map_err(|e| ApiError::bad(e.to_string()))?;
    if let Some(found) = found.as_object_mut() {
        found.insert("days".to_owned(), DAYS.into());
        found.insert("runs".to_owned(), json!(runs));
        found.insert("network".to_owned(), json!(reached));
    }
    Ok(Answer(found))
}

/// Stops every skill: those that run end at once, and none begins until they are started again.
pub(in crate::api) async fn stop(
    State(app): State<App>,
    caller: Caller,
) -> ApiResult<Answer<Value>> {
    let stopped = Stopped {
        by: caller.name.clone(),
        at: app.clock().now(),
    };
    brake(&app, &caller, Some(stopped)).await
}

/// Lets skills run again.
pub(in crate::api) async fn start(
    State(app): State<App>,
    caller: Caller,
) -> ApiResult<Answer<Value>> {
    brake(&app, &caller, None).await
}

async fn brake(app: &App, caller: &Caller, stopped: Option<Stopped>) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let brake = app.agent.parts().kit.runner.brake().clone();
    // What runs ends now, whatever the disk says: the switch that holds is the one in memory.
    if stopped.is_some() {
        brake.set(stopped.clone());
    }
    let action = if stopped.is_some() {
        "skill.stop_all"
    } else {
        "skill.start_all"
    };
    let deed = caller.deed(app.clock().now(), action, "all skills");
    let origin = caller.origin();
    let text = stopped.as_ref().map(|s| json!(s).to_string());
    let write = app.store().write(move |tx| {
        rows::set_stopped(tx, text.as_deref())?;
        append_from(tx, &deed, &origin)
    });
    write.await?;
    tracing::warn!(by = caller.name, "{action}");
    brake.set(stopped.clone());
    Ok(Answer(json!({ "stopped": stopped })))
}
