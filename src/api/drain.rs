//! A refusal must reach whoever is still sending: a connection that is closed on unread bytes is reset,
//! and the answer is lost with it ([RFC 9112, section 9.6](https://www.rfc-editor.org/rfc/rfc9112#section-9.6)).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    extract::{Request, State},
    http::{HeaderMap, header::CONTENT_LENGTH},
    middleware::Next,
    response::Response,
};
use futures_util::{StreamExt as _, future::poll_fn, stream};
use tokio::time::timeout;

/// How much of a refused body is read, and how long.
const MOST: usize = 64 << 20;
const LONGEST: Duration = Duration::from_secs(5);

/// Reads what is left of a body that was too large, before the refusal is sent.
pub(super) async fn refused(State(limit): State<usize>, request: Request, next: Next) -> Response {
    if !may_pass(request.headers(), limit) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body.into_data_stream()));
    let handed = Arc::clone(&body);
    let handed = Body::from_stream(stream::poll_fn(move |cx| {
        with(&handed, |b| b.poll_next_unpin(cx))
    }));
    let response = next.run(Request::from_parts(parts, handed)).await;
    if response.status().is_client_error() {
        // Whoever sends more, or slower, loses the answer.
        let _late = timeout(LONGEST, rest(&body)).await;
    }
    response
}

/// Whether a body may be larger than the limit.
fn may_pass(headers: &HeaderMap, limit: usize) -> bool {
    match headers.get(CONTENT_LENGTH) {
        Some(length) => {
            let length = length.to_str().ok().and_then(|l| l.parse::<usize>().ok());
            length.is_none_or(|length| length > limit)
        }
        None => headers.contains_key("transfer-encoding"),
    }
}

async fn rest(body: &Mutex<BodyDataStream>) {
    let mut left = MOST;
    while let Some(Ok(bytes)) = poll_fn(|cx| with(body, |b| b.poll_next_unpin(cx))).await {
        left = left.saturating_sub(bytes.len());
        if left == 0 {
            return;
        }
    }
}

fn with<T>(body: &Mutex<BodyDataStream>, what: impl FnOnce(&mut BodyDataStream) -> T) -> T {
    what(&mut body.lock().unwrap_or_else(PoisonError::into_inner))
}
