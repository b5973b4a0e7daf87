//! The webhook door: 202 once the message is on disk, the same for one that was there already.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{
    App,
    error::{ApiError, ApiResult, Path},
};
use crate::connectors::{Hook, HookError, Hooked};

/// Asks each connector whether the hook is its own.
pub(super) async fn receive(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> ApiResult<Response> {
    let body = body.map_err(|e| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "TOO_LARGE",
            "the body is larger than server.max_body_bytes",
        ),
        _ => ApiError::bad(e.body_text()),
    })?;
    let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let hook = Hook {
        name,
        signature: header("x-signature-256"),
        token: header("x-telegram-bot-api-secret-token"),
        body: body.to_vec(),
    };
    for (_, connector) in app.agent.parts().live().connectors.iter() {
        match connector.hook(&app.agent, hook.clone()).await {
            Err(HookError::Unknown) => {}
            Err(error) => return Err(error.into()),
            Ok(Hooked::Done) => return Ok(StatusCode::OK.into_response()),
            Ok(Hooked::Message(accepted)) => {
                let (message_id, session_id) = accepted.ids();
                let body = json!({ "message_id": message_id, "session_id": session_id });
                return Ok((StatusCode::ACCEPTED, Json(body)).into_response());
            }
        }
    }
    Err(HookError::Unknown.into())
}
