//! Voice notes: written down once, before a model is asked, and kept; a note that is not is named.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde_json::{Value, json};

use crate::support::{
    Daemon, Socket,
    model::{Act, Model},
    string,
};

/// Eight bytes, as they go over the wire; two are no text.
const SOUND: &[u8] = b"OggS\x00\xff\r\n";
const SOUND_BASE64: &str = "T2dnUwD/DQo=";

/// A server that writes down what it is told to, and refuses what OpenAI's would refuse.
struct Scribe {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Scribe {
    #[expect(clippy::disallowed_methods, reason = "the server ends with the test")]
    async fn start(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        let seen = Arc::default();
        let script = Script {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            seen: Arc::clone(&seen),
        };
        let router = Router::new()
            .route("/v1/audio/transcriptions", post(transcribe))
            .with_state(script);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen, task }
    }

    /// The configuration with this server and a model.
    fn config(&self, model: &Model) -> String {
        format!(
            "{}  transcription: {{ base_url: '{}', api_key: sk-the-key-of-the-scribe, model: whisper-9 }}\n",
            model.config(),
            self.url
        )
    }

    /// The same, where a minute costs 60 cents, with more sections.
    fn priced(&self, model: &Model, more: &str) -> String {
        let priced = "model: whisper-9, usd_per_minute: '0.60' }";
        self.config(model).replace("model: whisper-9 }", priced) + more
    }

    /// Names of the files that it was asked about.
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn transcribe(State(script): State<Script>, headers: HeaderMap, body: Bytes) -> Response {
    let refused = |why: String| {
        let error = json!({ "error": { "message": why, "type": "invalid_request_error" } });
        (StatusCode::BAD_REQUEST, Json(error)).into_response()
    };
    if headers["authorization"] != "Bearer sk-the-key-of-the-scribe" {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let kind = headers["content-type"].to_str().unwrap();
    let Some(boundary) = kind.strip_prefix("multipart/form-data; boundary=") else {
        return refused(format!("content type {kind}"));
    };
    let mut name = String::new();
    let (mut model, mut sound) = (false, false);
    for (head, content) in parts(&body, boundary) {
        if head.contains("name=\"model\"") {
            model = content == b"whisper-9";
        } else if head.contains("name=\"file\"") {
            sound = content == SOUND && head.contains("Content-Type: audio/ogg");
            let (_, rest) = head.split_once("filename=\"").unwrap();
            rest.split('"').next().unwrap().clone_into(&mut name);
        }
    }
    if !model || !sound {
        return refused(format!("model: {model}, file: {sound}"));
    }
    script.seen.lock().unwrap().push(name);
    let (status, answer) = script.answers.lock().unwrap().pop_front().unwrap();
    (StatusCode::from_u16(status).unwrap(), Json(answer)).into_response()
}

/// Heads and contents of the parts of a form.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<(String, &'a [u8])> {
    let find = |in_: &[u8], what: &[u8]| in_.windows(what.len()).position(|w| w == what);
    let line = format!("--{boundary}\r\n");
    let end = format!("\r\n--{boundary}");
    let mut rest = body;
    let mut all = Vec::new();
    while let Some(at) = find(rest, line.as_bytes()) {
        let part = &rest[at + line.len()..];
        let head = find(part, b"\r\n\r\n").expect("a head ends");
        let content = &part[head + 4..];
        let length = find(content, end.as_bytes()).expect("a part ends");
        all.push((
            String::from_utf8(part[..head].to_vec()).unwrap(),
            &content[..length],
        ));
        rest = &content[length + 2..];
    }
    all
}

async fn send_note(page: &mut Socket, text: &str, client_id: &str) {
    let note = json!([{ "name": "voice.ogg", "media_type": "audio/ogg", "data": SOUND_BASE64 }]);
    page.send(
        json!({ "type": "message", "text": text, "attachments": note, "client_id": client_id }),
    )
    .await;
}

#[tokio::test]
async fn what_is_said_in_a_voice_note_is_told_to_the_model_now_and_later() {
    let model = Model::start([Act::Say("Milk it is.".to_owned())]).await;
    let scribe = Scribe::start([(200, json!({ "text": " Please buy milk. " }))]).await;
    let daemon = Daemon::with(&scribe.config(&model)).await;
    let mut page = daemon.socket("new", None).await;
    send_note(&mut page, "see the note", "c1").await;
    page.until("message.completed").await;
    page.say("what did I want?", "c2").await;
    page.until("message.completed").await;
    assert_eq!(scribe.seen(), ["voice.ogg"]);
    let requests = model.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        let told = request["messages"].to_string();
        let expected = "see the note\\n\\n(Said in the voice note `voice.ogg`:)\\nPlease buy milk.";
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn after_a_crash_it_is_not_asked_again() {
    let model = Model::start([
        Act::Slowly("a b c d e f".to_owned(), Duration::from_millis(80)),
        Act::Say("Milk it is.".to_owned()),
    ])
    .await;
    let scribe = Scribe::start([(200, json!({ "text": "Please buy milk." }))]).await;
    let mut daemon = Daemon::with(&scribe.config(&model)).await;
    let mut page = daemon.socket("new", None).await;
    send_note(&mut page, "", "c1").await;
    let seen = page.until("text.delta").await;
    let session = page.session.clone();
    daemon.kill();
    daemon.launch().await;
    let mut page = daemon.socket(&session, seen["seq"].as_i64()).await;
    let done = page.until("message.completed").await;
    assert_eq!(done["text"], "Milk it is.");
    assert_eq!(scribe.seen(), ["voice.ogg"]);
    let told = model.requests()[1]["messages"].to_string();
    assert!(told.contains("Please buy milk."), "{told}");
}

#[tokio::test]
async fn a_note_that_is_not_written_down_is_named_and_the_person_is_told_why() {
    let model = Model::start([Act::Say("I cannot hear it.".to_owned())]).await;
    let error =
        json!({ "error": { "message": "the audio is too long", "type": "invalid_request_error" } });
    let scribe = Scribe::start([(400, error)]).await;
    let daemon = Daemon::with(&scribe.config(&model)).await;
    let mut page = daemon.socket("new", None).await;
    send_note(&mut page, "listen", "c1").await;
    let frames = page.all_until("message.completed").await;
    let notice = frames.iter().find(|f| f["type"] == "notice").unwrap();
    let text = string(notice, "text");
    assert!(
        text.contains("`voice.ogg`") && text.contains("the audio is too long"),
        "{text}"
    );
    let told = model.requests()[0]["messages"].to_string();
    assert!(
        told.contains("A voice note `voice.ogg` came with this; nobody wrote down"),
        "{told}"
    );
}

#[tokio::test]
async fn without_somebody_who_writes_a_note_is_named() {
    let model = Model::start([Act::Say("I cannot hear it.".to_owned())]).await;
    let daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    send_note(&mut page, "", "c1").await;
    page.until("message.completed").await;
    let told = model.requests()[0]["messages"].to_string();
    assert!(
        told.contains("A voice note `voice.ogg` came with this"),
        "{told}"
    );
}

#[tokio::test]
async fn what_it_costs_counts_and_is_in_the_trace() {
    let model = Model::start([Act::Say("Milk it is.".to_owned())]).await;
    let told = json!({ "text": "Milk.", "usage": { "type": "duration", "seconds": 30.0 } });
    let scribe = Scribe::start([(200, told)]).await;
    let daemon = Daemon::with(&scribe.priced(&model, "")).await;
    let mut page = daemon.socket("new", None).await;
    send_note(&mut page, "", "c1").await;
    let done = page.until("message.completed").await;
    assert_eq!(scribe.seen(), ["voice.ogg"]);
    let id = string(&done, "message_id");
    let trace = daemon
        .owner()
        .get(&format!("/api/v1/messages/{id}/trace"))
        .await
        .ok();
    let stages = trace["stages"].as_array().unwrap();
    let note = stages
        .iter()
        .find(|stage| stage["detail"]["purpose"] == "transcription")
        .unwrap_or_else(|| panic!("{trace}"));
    assert_eq!(note["name"], "transcription/whisper-9");
    assert_eq!(note["detail"]["usage"]["input_tokens"], 300);
    // Half a minute at 0.60 USD.
    assert_eq!(note["detail"]["cost_usd"], 0.3);
    assert_eq!(
        note["detail"]["attempts"][0]["price_source"],
        "configuration"
    );
    assert_eq!(trace["usage"]["cost_usd"], 0.3);
}

#[tokio::test]
async fn what_a_budget_has_no_room_for_is_not_asked() {
    let model = Model::start([Act::Say("I cannot hear it.".to_owned())]).await;
    let scribe = Scribe::start([]).await;
    let limit = "budgets: { per_day: { hard: '0.00001' } }\n";
    let daemon = Daemon::with(&scribe.priced(&model, limit)).await;
    let mut page = daemon.socket("new", None).await;
    send_note(&mut page, "", "c1").await;
    let frames = page.all_until("message.completed").await;
    let notice = frames.iter().find(|f| f["type"] == "notice").unwrap();
    let text = string(notice, "text");
    assert!(
        text.contains("`voice.ogg`") && text.contains("for today"),
        "{text}"
    );
    assert_eq!(scribe.seen(), [""; 0]);
}
