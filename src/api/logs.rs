//! The log as it is written.

use axum::{
    Json as Answer,
    extract::{State, WebSocketUpgrade, ws::Message},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    access::Caller,
    error::{ApiResult, Query},
};
use crate::store::users::Role;

#[derive(Deserialize)]
pub(super) struct Wanted {
    limit: Option<usize>,
    level: Option<String>,
}

impl Wanted {
    fn level(&self) -> &str {
        self.level.as_deref().unwrap_or("info")
    }
}

/// Recent lines, oldest first.
pub(super) async fn recent(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Answer<Value>> {
    caller.need(Role::Owner)?;
    let lines = app
        .log
        .recent(wanted.limit.unwrap_or(200).min(1000), wanted.level());
    Ok(Answer(json!({ "logs": lines })))
}

/// Lines as they come.
pub(super) async fn watch(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    upgrade: WebSocketUpgrade,
) -> ApiResult<Response> {
    caller.need(Role::Owner)?;
    let mut lines = app.log.subscribe();
    let earlier = app
        .log
        .recent(wanted.limit.unwrap_or(100).min(1000), wanted.level());
    let stopping = app.stopping.clone();
    Ok(upgrade.on_upgrade(move |mut socket| async move {
        let text = |line: &crate::logging::Line| {
            Message::Text(serde_json::to_string(line).unwrap_or_default().into())
        };
        for line in &earlier {
            if socket.send(text(line)).await.is_err() {
                return;
            }
        }
        loop {
            let sent = tokio::select! {
                line = lines.recv() => match line {
                    Ok(line) if line.is_at_least(wanted.level()) => socket.send(text(&line)).await.is_ok(),
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => true,
                    Err(_) => false,
                },
                message = socket.recv() => matches!(message, Some(Ok(m)) if !matches!(m, Message::Close(_))),
                () = stopping.cancelled() => false,
            };
            if !sent {
                return;
            }
        }
    }))
}
