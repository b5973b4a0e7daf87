//! A model server that answers at once, and notes when.

use std::{
    cmp::Ordering,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State as Given},
    http::header,
    response::IntoResponse,
    routing::{get, post},
};
use futures_util::stream;
use serde_json::{Value, json};

use super::server::{Place, Server};

/// What the server saw, and what it is to do.
#[derive(Default)]
struct State {
    /// When it was last called, and when it had answered.
    last: Option<(Instant, Instant)>,
    /// Calls since the last reset, and when the first of them came.
    calls: usize,
    first: Option<Instant>,
    /// It answers nothing while this is set.
    silent: bool,
}

type Times = Arc<Mutex<State>>;

/// The server; it ends when it is dropped.
pub(super) struct Model {
    pub(super) url: String,
    times: Times,
    _server: Server,
}

impl Model {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let times = Times::default();
        let router = Router::new()
            .route(
                "/v1/models",
                get(async || Json(json!({ "data": [{ "id": "bench" }] }))),
            )
            .route("/v1/chat/completions", post(complete))
            .route("/long/chat/completions", post(long))
            .route("/paced/{tokens}/{millis}/chat/completions", post(paced))
            .with_state(Arc::clone(&times));
        let place = Place::take().await?;
        Ok(Self {
            url: format!("{}/v1", place.url),
            times,
            _server: place.serve(router),
        })
    }

    /// Pieces of an answer of [`Model::long`].
    pub(super) const LONG: u32 = 2000;

    /// Where each answer has many pieces, without a pause.
    pub(super) fn long(&self) -> String {
        self.url.replace("/v1", "/long")
    }

    /// Where each answer has so many tokens, so far apart.
    pub(super) fn paced(&self, tokens: u32, between: Duration) -> String {
        let millis = between.as_millis();
        self.url
            .replace("/v1", &format!("/paced/{tokens}/{millis}"))
    }

    /// When it was last called, and when it had answered.
    pub(super) fn last(&self) -> Option<(Instant, Instant)> {
        lock(&self.times).last
    }

    /// Counts from zero again, and answers or does not from now on.
    pub(super) fn reset(&self, silent: bool) {
        *lock(&self.times) = State {
            silent,
            ..State::default()
        };
    }

    /// How often it was called since the reset, and when first.
    pub(super) fn calls(&self) -> (usize, Option<Instant>) {
        let state = lock(&self.times);
        (state.calls, state.first)
    }
}

fn lock(times: &Times) -> MutexGuard<'_, State> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn complete(Given(times): Given<Times>, _request: Json<Value>) -> impl IntoResponse {
    let called = Instant::now();
    let silent = {
        let mut state = lock(&times);
        state.calls += 1;
        state.first.get_or_insert(called);
        state.silent
    };
    if silent {
        std::future::pending::<()>().await;
    }
    let mut body = String::new();
    for word in ["I ", "am ", "well, ", "thank ", "you."] {
        body.push_str(&chunk(
            &json!([{ "index": 0, "delta": { "content": word }, "finish_reason": null }]),
            &Value::Null,
        ));
    }
    body.push_str(&chunk(
        &json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]),
        &Value::Null,
    ));
    body.push_str(&chunk(
        &json!([]),
        &json!({ "prompt_tokens": 100, "completion_tokens": 5 }),
    ));
    body.push_str("data: [DONE]\n\n");
    lock(&times).last = Some((called, Instant::now()));
    ([(header::CONTENT_TYPE, "text/event-stream")], body)
}

fn word() -> String {
    chunk(
        &json!([{ "index": 0, "delta": { "content": "word " }, "finish_reason": null }]),
        &Value::Null,
    )
}

fn end() -> String {
    let end = json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]);
    let usage = json!({ "prompt_tokens": 100, "completion_tokens": 5 });
    chunk(&end, &usage) + "data: [DONE]\n\n"
}

async fn long() -> impl IntoResponse {
    let words = (0..Model::LONG).map(|_| Ok::<_, std::io::Error>(word()));
    let body = Body::from_stream(stream::iter(words.chain([Ok(end())])));
    ([(header::CONTENT_TYPE, "text/event-stream")], body)
}

/// Each word at its time, however late the one before it was taken.
async fn paced(Path((tokens, millis)): Path<(u32, u64)>) -> impl IntoResponse {
    let began = tokio::time::Instant::now();
    let pieces = stream::unfold(0, move |n| async move {
        tokio::time::sleep_until(began + Duration::from_millis(millis) * n).await;
        let piece = match n.cmp(&tokens) {
            Ordering::Less => word(),
            Ordering::Equal => end(),
            Ordering::Greater => return None,
        };
        Some((Ok::<_, std::io::Error>(piece), n + 1))
    });
    let body = Body::from_stream(pieces);
    ([(header::CONTENT_TYPE, "text/event-stream")], body)
}

fn chunk(choices: &Value, usage: &Value) -> String {
    format!(
        "data: {}\n\n",
        json!({ "id": "b", "object": "chat.completion.chunk", "model": "bench", "choices": choices, "usage": usage })
    )
}
