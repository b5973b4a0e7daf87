//! A model server that does what a test says, in the wire format of Chat Completions. It refuses what
//! the real one would refuse.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

/// One thing the server does when it is asked.
#[derive(Clone, Debug)]
pub enum Act {
    /// Says a text, word by word.
    Say(String),
    /// Says a text slowly: this long between words.
    Slowly(String, Duration),
    /// Writes so many tokens, or as many as the request allows.
    Write(u64),
    /// Asks for calls.
    Call(Vec<(String, Value)>),
    /// Answers with a status and body.
    Status(u16, String),
    /// Streams these bytes and closes.
    Raw(String),
    /// Begins and sends nothing more.
    Stall,
    /// Takes the request and says nothing at all.
    Silent,
    /// Does what this makes of the request.
    Think(fn(&Value) -> Act),
}

/// The server; it answers with its acts in order, the last again and again.
pub struct Model {
    pub url: String,
    seen: Arc<Mutex<Vec<Value>>>,
    counted: Counted,
    task: tokio::task::JoinHandle<()>,
}

/// Tokens that the server read and wrote, answer by answer: its own bill.
type Counted = Arc<Mutex<Vec<(u64, u64)>>>;

#[derive(Clone)]
struct Script {
    acts: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<Value>>>,
    counted: Counted,
}

impl Model {
    #[expect(clippy::disallowed_methods, reason = "the server ends with the test")]
    pub async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let (seen, counted) = (Arc::default(), Counted::default());
        let script = Script {
            acts: Arc::new(Mutex::new(acts.into_iter().collect())),
            seen: Arc::clone(&seen),
            counted: Arc::clone(&counted),
        };
        let router = Router::new()
            .route("/v1/models", get(async || Json(json!({ "object": "list", "data": [{ "id": "scripted", "object": "model" }] }))))
            .route("/v1/chat/completions", post(complete))
            .with_state(script);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            seen,
            counted,
            task,
        }
    }

    /// The `llm` section that points at it.
    pub fn config(&self) -> String {
        format!(
            "llm:\n  default_provider: custom\n  ollama_url: ''\n  providers:\n    custom: {{ base_url: '{}', api_key: sk-the-secret-key-of-the-model, model: scripted, stall_timeout_sec: 2 }}\n",
            self.url
        )
    }

    /// What it was asked.
    pub fn requests(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }

    /// Tokens that it read and wrote, for each answer that it began.
    pub fn counted(&self) -> Vec<(u64, u64)> {
        self.counted.lock().unwrap().clone()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the real API refuses: a result without its call, a call without its result.
fn complaint(request: &Value) -> Option<String> {
    let messages = request["messages"].as_array()?;
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        match message["role"].as_str()? {
            "tool" => {
                let id = message["tool_call_id"].as_str()?;
                let Some(at) = open.iter().position(|o| *o == id) else {
                    return Some(format!("tool_call_id {id} answers no call"));
                };
                open.remove(at);
            }
            role => {
                if let Some(id) = open.first() {
                    return Some(format!(
                        "the call {id} has no result before the next {role}"
                    ));
                }
                for call in message["tool_calls"].as_array().into_iter().flatten() {
                    open.push(call["id"].as_str()?);
                }
            }
        }
    }
    open.first()
        .map(|id| format!("the call {id} has no result"))
}

async fn complete(
    State(script): State<Script>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    let refuse = |status: u16, text: &str| {
        let body = json!({ "error": { "message": text, "type": "invalid_request_error" } });
        (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
    };
    if headers
        .get("authorization")
        .is_none_or(|v| v != "Bearer sk-the-secret-key-of-the-model")
    {
        return refuse(401, "Incorrect API key provided");
    }
    if let Some(text) = complaint(&request) {
        return refuse(400, &text);
    }
    script.seen.lock().unwrap().push(request.clone());
    let act = {
        let mut acts = script.acts.lock().unwrap();
        if acts.len() > 1 {
            acts.pop_front()
        } else {
            acts.front().cloned()
        }
    };
    let act = match act.unwrap_or(Act::Say("ok".to_owned())) {
        Act::Think(think) => think(&request),
        other => other,
    };
    let usage = usage(&act, &request);
    if !matches!(act, Act::Status(..)) {
        script.counted.lock().unwrap().push(usage);
    }
    match act {
        Act::Think(_) => refuse(500, "a thought about a thought"),
        Act::Say(text) => stream(words(&text), Duration::ZERO, usage),
        Act::Slowly(text, pause) => stream(words(&text), pause, usage),
        Act::Write(_) => stream(
            words(&"word ".repeat(usize::try_from(usage.1).unwrap())),
            Duration::ZERO,
            usage,
        ),
        Act::Call(calls) => stream(
            vec![
                json!({ "tool_calls": calls.iter().enumerate().map(|(n, (name, args))| json!({
            "index": n, "id": format!("call_{n}"), "type": "function",
            "function": { "name": name, "arguments": args.to_string() } })).collect::<Vec<_>>() }),
            ],
            Duration::ZERO,
            usage,
        ),
        Act::Status(status, body) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Act::Raw(bytes) => ([("content-type", "text/event-stream")], bytes).into_response(),
        Act::Silent => std::future::pending().await,
        Act::Stall => {
            let first = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"wait\"}}]}\n\n";
            let begun = futures_util::stream::once(async move { Ok::<_, std::io::Error>(first) });
            let never = futures_util::stream::pending();
            let body = Body::from_stream(futures_util::StreamExt::chain(begun, never));
            ([("content-type", "text/event-stream")], body).into_response()
        }
    }
}

/// What it counts: for words that it writes to order, what it really read and wrote.
fn usage(act: &Act, request: &Value) -> (u64, u64) {
    let Act::Write(tokens) = act else {
        return (100, 7);
    };
    let most = request["max_completion_tokens"]
        .as_u64()
        .or(request["max_tokens"].as_u64());
    let read = request.to_string().len() as u64 / 5;
    (read, most.map_or(*tokens, |most| most.min(*tokens)))
}

fn words(text: &str) -> Vec<Value> {
    text.split_inclusive(' ')
        .map(|word| json!({ "content": word }))
        .collect()
}

fn stream(deltas: Vec<Value>, pause: Duration, (read, written): (u64, u64)) -> Response {
    let calls = deltas.iter().any(|d| d.get("tool_calls").is_some());
    let chunk = |choices: Value, usage: Value| {
        let body = json!({ "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "scripted", "choices": choices, "usage": usage });
        format!("data: {body}\n\n")
    };
    let mut chunks: Vec<String> = deltas
        .into_iter()
        .map(|delta| {
            chunk(
                json!([{ "index": 0, "delta": delta, "finish_reason": null }]),
                Value::Null,
            )
        })
        .collect();
    let reason = if calls { "tool_calls" } else { "stop" };
    chunks.push(chunk(
        json!([{ "index": 0, "delta": {}, "finish_reason": reason }]),
        Value::Null,
    ));
    chunks.push(chunk(
        json!([]),
        json!({ "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written }),
    ));
    chunks.push("data: [DONE]\n\n".to_owned());
    let pieces = futures_util::stream::unfold(chunks.into_iter(), move |mut rest| async move {
        let next = rest.next()?;
        tokio::time::sleep(pause).await;
        Some((Ok::<_, std::io::Error>(next), rest))
    });
    (
        [("content-type", "text/event-stream")],
        Body::from_stream(pieces),
    )
        .into_response()
}

/// Which messages a request is about: words of its questions since the last answer that begin with one of
/// these.
pub fn names_asked(request: &Value, beginnings: &[&str]) -> Vec<String> {
    let messages = request["messages"].as_array().unwrap();
    let since = messages.iter().rposition(|m| m["role"] == "assistant");
    let asked = messages.iter().skip(since.map_or(0, |at| at + 1));
    let asked = asked.filter(|m| m["role"] == "user");
    let texts: Vec<String> = asked.map(|m| m["content"].to_string()).collect();
    let text = texts.join(" ").replace("\\n", " ");
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let named = words.filter(|word| beginnings.iter().any(|b| word.starts_with(b)));
    named.map(str::to_owned).collect()
}

/// Says which messages it answers: those whose text is a word that begins with `msg`.
pub fn echo(request: &Value) -> Act {
    Act::Say(names_asked(request, &["msg"]).join(" "))
}
