//! Whether it lives, whether it is ready, how it stands.

use async_trait::async_trait;
use axum::{
    Json as Answer,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{App, access::Caller, error::ApiResult};

/// Knows the state of the whole daemon.
#[async_trait]
pub trait DaemonStatus: Send + Sync + 'static {
    /// For `GET /api/v1/status`: providers, sandbox, connectors, skills, warnings. With `thorough`
    /// the providers are asked whether they answer.
    async fn report(&self, thorough: bool) -> Value;

    /// For `GET /ready`: a word for each part.
    async fn checks(&self) -> Value;
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
    let ok = store.is_ok() && !app.stopping.is_cancelled();
    if let Some(checks) = checks.as_object_mut() {
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
    }
    Ok(Answer(report))
}
