//! A model server that answers at once, and notes when.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::IntoResponse,
    routing::{get, post},
    serve::ListenerExt as _,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

type Times = Arc<Mutex<Option<(Instant, Instant)>>>;

/// The server; it ends when it is dropped.
pub(super) struct Model {
    pub(super) url: String,
    times: Times,
    _task: JoinSet<()>,
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
            .with_state(Arc::clone(&times));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            // It ends with the benchmark.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self {
            url,
            times,
            _task: task,
        })
    }

    /// When it was last called, and when it had answered.
    pub(super) fn last(&self) -> Option<(Instant, Instant)> {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn complete(State(times): State<Times>, _request: Json<Value>) -> impl IntoResponse {
    let called = Instant::now();
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
    *times.lock().unwrap_or_else(PoisonError::into_inner) = Some((called, Instant::now()));
    ([(header::CONTENT_TYPE, "text/event-stream")], body)
}

fn chunk(choices: &Value, usage: &Value) -> String {
    format!(
        "data: {}\n\n",
        json!({ "id": "b", "object": "chat.completion.chunk", "model": "bench", "choices": choices, "usage": usage })
    )
}
