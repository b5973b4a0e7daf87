//! What a person decides about a skill, and what they look at first.

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
        Skill,
        catalog::{Catalog, Refusal, Wish},
        difference::{self, Difference},
    },
    store::{audit, skills as rows, users::Role},
};

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
    let object = name.clone();
    let all = app.store().write(move |tx| {
        rows::save(tx, &record)?;
        if let Some(files) = files {
            rows::keep_files(tx, &record.name, &files)?;
        }
        let (actor, action) = (caller.name, "skill.change".to_owned());
        audit::append(
            tx,
            &audit::Entry {
                at: now,
                actor,
                action,
                object,
                detail,
            },
        )?;
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
        let again = |skill: &Skill| difference::difference(skill, record.as_ref(), Vec::new());
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
