//! Whether it lives, whether it is ready, how it stands.

use async_trait::async_trait;
use axum::{
    Json as Answer,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    error::{ApiError, ApiResult},
};
use crate::store::{Free, outbox, users::Role};

/// Knows the state of the whole daemon.
#[async_trait]
pub trait DaemonStatus: Send + Sync + 'static {
    /// For `GET /api/v1/status`: providers, sandbox, connectors, skills, warnings. With `thorough`
    /// the providers are asked whether they answer.
    async fn report(&self, thorough: bool) -> Value;

    /// For `GET /ready`: a word for each part.
    async fn checks(&self) -> Value;

    /// Earlier crashes count for nothing any more.
    fn forget_crashes(&self);
}

/// The process lives.
pub(super) async fn live() -> Answer<Value> {
    Answer(json!({ "status": "ok" }))
}

/// It can take messages: the database answers.
pub(super) async fn ready(State(app): State<App>) -> Response {
    let store = app
        .store()
        .read(|c| Ok(c.query_row("SELECT 1", [], |_| Ok(()))?))
        .await;
    let mut checks = app.status.checks().await;
    let free = app.store().free();
    let ok = store.is_ok() && free.is_enough() && !app.stopping.is_cancelled();
    if let Some(checks) = checks.as_object_mut() {
        let room = if free.is_enough() { "ok" } else { "full" };
        checks.insert("storage".to_owned(), room.into());
        if let Some(reason) = app.agent.held() {
            checks.insert("safe_mode".to_owned(), reason.into());
        }
        let word = store
            .err()
            .map_or_else(|| "ok".to_owned(), |e| e.to_string());
        checks.insert("store".to_owned(), word.into());
    }
    let status = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Answer(json!({ "ready": ok, "checks": checks }))).into_response()
}

#[derive(serde::Deserialize)]
pub(super) struct Thorough {
    #[serde(default)]
    check: bool,
}

/// How everything stands.
pub(super) async fn status(
    State(app): State<App>,
    caller: Caller,
    super::error::Query(Thorough { check }): super::error::Query<Thorough>,
) -> ApiResult<Answer<Value>> {
    let mut report = app.status.report(check).await;
    if let Some(report) = report.as_object_mut() {
        let now = app.clock().now();
        report.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
        report.insert("url".to_owned(), app.url.clone().into());
        report.insert(
            "uptime_s".to_owned(),
            now.since(app.started_at).as_secs().into(),
        );
        let user = json!({ "id": caller.user, "name": caller.name, "role": caller.role });
        report.insert("user".to_owned(), user);
        let counts = app.store().read(outbox::counts).await?;
        let free = app.store().free();
        report.insert(
            "outbox".to_owned(),
            json!({ "open": counts.open, "ambiguous": counts.ambiguous,
                    "dead": counts.dead, "expired": counts.expired }),
        );
        report.insert(
            "storage".to_owned(),
            json!({ "free_bytes": free.bytes, "min_free_bytes": free.floor, "ok": free.is_enough() }),
        );
        report.insert("safe_mode".to_owned(), json!(app.agent.held()));
        if let Some(warnings) = report.get_mut("warnings").and_then(Value::as_array_mut) {
            warnings.extend(warned(&app, counts, free).into_iter().map(Value::from));
        }
    }
    Ok(Answer(report))
}

/// What an owner is to know of the agent itself.
fn warned(app: &App, counts: outbox::Counts, free: Free) -> Vec<String> {
    let mut warnings: Vec<String> = app.agent.held().into_iter().collect();
    if !free.is_enough() {
        warnings.push(format!(
            "The disk is nearly full ({} MB free): new messages are refused and turns wait until there is room (storage.min_free_mb).",
            free.bytes >> 20
        ));
    }
    let undecided = counts.dead + counts.expired;
    if undecided > 0 {
        warnings.push(format!(
            "{undecided} answers were not delivered ({} too old to be sent without asking): `nexflow outbox list` shows them, `nexflow outbox send ID` or `drop ID` decides.",
            counts.expired
        ));
    }
    warnings
}

#[derive(serde::Deserialize)]
pub(super) struct SafeMode {
    off: bool,
}

/// Leaves safe mode: turns begin again.
pub(super) async fn safe_mode(
    State(app): State<App>,
    caller: Caller,
    super::error::Json(SafeMode { off }): super::error::Json<SafeMode>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    if !off {
        return Err(ApiError::invalid(
            "safe mode begins by itself after crashes; it can only be left: {\"off\": true}",
        ));
    }
    app.status.forget_crashes();
    let was = app.agent.release();
    if was {
        tracing::info!(by = caller.name, "left safe mode");
    }
    Ok(Answer(json!({ "was_on": was })))
}
