//! The whole daemon against model servers that someone else wrote, in every dialect.

use std::{path::Path, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::support::{Daemon, PATIENCE, string};

const KEY: &str = "peer-key-that-is-right";

/// One instance for each test: its counters are server-wide.
struct Peer {
    url: String,
    _child: Child,
    _folder: tempfile::TempDir,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test starts the server that it speaks to"
)]
async fn peer(fixtures: Value, keys: &str) -> Peer {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools");
    let program = tools.join("node_modules/.bin/llmock");
    assert!(
        program.exists(),
        "{} is missing: `make setup` installs it",
        program.display()
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fixtures.json");
    std::fs::write(&file, fixtures.to_string()).unwrap();
    let mut command = Command::new(program);
    if !keys.is_empty() {
        command.env("AIMOCK_API_KEYS", keys);
    }
    let mut child = command
        .args([
            "-p",
            "0",
            "-h",
            "127.0.0.1",
            "--strict",
            "--validate-on-load",
            "-f",
        ])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, url)) = line.split_once("listening on ") {
                return url.trim().to_owned();
            }
        }
        panic!("the server ended before it listened")
    };
    let url = tokio::time::timeout(PATIENCE * 2, url).await.unwrap();
    Peer {
        url,
        _child: child,
        _folder: folder,
    }
}

fn fixtures() -> Value {
    json!({ "fixtures": [
        { "match": { "userMessage": "host and note", "hasToolResult": false },
          "response": { "content": "I will look.", "toolCalls": [
              { "id": "call_a", "name": "shell-run", "arguments": { "command": "echo kernel-$((6*7))" } },
              { "id": "call_b", "name": "file-write", "arguments": { "path": "n.txt", "content": "peer note" } } ],
              "usage": { "prompt_tokens": 120, "completion_tokens": 20, "input_tokens": 120, "output_tokens": 20 } },
          "chunkSize": 3 },
        { "match": { "userMessage": "host and note", "hasToolResult": true },
          "response": { "content": "Both are done: kernel-42 and the note.",
              "usage": { "prompt_tokens": 180, "completion_tokens": 11, "input_tokens": 180, "output_tokens": 11 } },
          "chunkSize": 4 }
    ] })
}

async fn two_skills(kind: &str, path: &str) {
    // An Ollama takes no key.
    let local = kind == "ollama";
    let peer = peer(fixtures(), if local { "" } else { KEY }).await;
    let config = format!(
        "llm:\n  default_provider: {kind}\n  ollama_url: ''\n  providers:\n    {kind}: {{ base_url: '{}{path}', api_key: {KEY}, model: some-model }}\n",
        peer.url
    );
    let config = if local {
        config.replace(&format!("api_key: {KEY}, "), "")
    } else {
        config
    };
    let daemon = Daemon::with(&config).await;
    let mut page = daemon.socket("new", None).await;
    page.say("tell me about host and note", "c1").await;
    let frames = page.all_until("message.completed").await;
    let of = |kind: &str| {
        frames
            .iter()
            .filter(|f| f["type"] == kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("tool.finished").len(), 2, "{frames:?}");
    assert!(
        of("tool.finished").iter().all(|f| f["status"] == "ok"),
        "{frames:?}"
    );
    assert!(
        of("tool.finished")
            .iter()
            .any(|f| f["output"].to_string().contains("kernel-42"))
    );
    assert!(of("text.delta").len() > 4, "it was streamed");
    let done = frames.last().unwrap();
    assert!(
        string(done, "text").contains("Both are done: kernel-42 and the note."),
        "{done}"
    );
    assert_eq!(done["provider"], kind);
    // This peer counts no tokens when it speaks Ollama's dialect: then they are estimated.
    let read = done["usage"]["input_tokens"].as_u64().unwrap();
    assert!(if local { read > 0 } else { read == 300 }, "{done}");
    assert_eq!(done["usage"]["estimated"], local);
    let usage = daemon.owner().get("/api/v1/usage?by=model").await.ok();
    assert_eq!(usage["usage"][0]["calls"], 2, "{usage}");
    let asked = string(of("message.accepted")[0], "message_id");
    let printed = daemon.cli_ok(&["trace", &asked]).await;
    for word in ["inbox", "model", "shell-run", "file-write", "outbox", "ms"] {
        assert!(printed.contains(word), "no {word} in:\n{printed}");
    }
}

#[tokio::test]
async fn two_skills_through_the_openai_dialect() {
    two_skills("openai", "/v1").await;
}

#[tokio::test]
async fn two_skills_through_the_anthropic_dialect() {
    two_skills("anthropic", "").await;
}

#[tokio::test]
async fn two_skills_through_the_ollama_dialect() {
    two_skills("ollama", "").await;
}

#[tokio::test]
async fn two_skills_through_the_gemini_dialect() {
    two_skills("gemini", "").await;
}

#[tokio::test]
async fn a_voice_note_is_written_down_by_a_peer() {
    let fixtures = json!({ "fixtures": [
        { "match": { "endpoint": "transcription", "model": "whisper-1" },
          "response": { "transcription": { "text": "Buy milk for the zebra" } } },
        { "match": { "userMessage": "Buy milk for the zebra" },
          "response": { "content": "Milk for the zebra it is." } },
    ] });
    let peer = peer(fixtures, KEY).await;
    let url = &peer.url;
    let daemon = Daemon::with(&format!(
        "llm:\n  default_provider: openai\n  ollama_url: ''\n  transcription: {{ base_url: '{url}/v1', api_key: {KEY} }}\n  providers:\n    openai: {{ base_url: '{url}/v1', api_key: {KEY}, model: some-model }}\n"
    ))
    .await;
    let note = json!([{ "name": "voice.ogg", "media_type": "audio/ogg", "data": "T2dnUwD/DQo=" }]);
    let body = json!({ "message": "listen", "attachments": note });
    let answer = daemon.owner().post("/api/v1/chat", body).await.ok();
    assert!(
        answer.to_string().contains("Milk for the zebra it is."),
        "{answer}"
    );
}

/// Every kind that can be configured, each a section; OpenAI twice, for it has two interfaces.
const SECTIONS: [(&str, &str); 8] = [
    ("openai", "/v1"),
    ("responses", "/v1"),
    ("anthropic", ""),
    ("gemini", ""),
    ("ollama", ""),
    ("openrouter", "/v1"),
    ("zai", "/v1"),
    ("custom", "/v1"),
];

fn sections(url: &str) -> String {
    let mut config =
        "llm:\n  default_provider: openai\n  ollama_url: ''\n  providers:\n".to_owned();
    for (name, path) in SECTIONS {
        let more = match name {
            "openai" => "api: chat, ",
            "responses" => "kind: openai, api: responses, ",
            _ => "",
        };
        config.push_str(&format!(
            "    {name}: {{ {more}base_url: '{url}{path}', api_key: {KEY}, model: some-model, images: true }}\n"
        ));
    }
    config
}

fn long_answer() -> String {
    let lines =
        (1..=200).map(|n| format!("{n}. A line of a long answer – with “quotes” and 🦀.\n"));
    lines.collect::<String>().trim_end().to_owned()
}

/// Text, image, two parallel tools, a long answer.
async fn story(daemon: &Daemon, provider: &str) -> Value {
    let owner = daemon.owner();
    let mut session = Value::Null;
    for (text, picture) in [
        ("say something plain", false),
        ("look at this picture", true),
        ("tell me about host and note", false),
        ("now a long answer", false),
    ] {
        let mut body = json!({ "message": text, "model": provider });
        if picture {
            body["attachments"] =
                json!([{ "name": "cat.png", "media_type": "image/png", "data": "iVBORw0KGgo=" }]);
        }
        if session.is_string() {
            body["session_id"] = session.clone();
        }
        let answer = owner.post("/api/v1/chat", body).await.ok();
        assert_eq!(answer["provider"], provider, "{answer}");
        session = answer["session_id"].clone();
    }
    let path = format!("/api/v1/sessions/{}/messages", session.as_str().unwrap());
    let messages = owner.get(&path).await.ok();
    let said = messages["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            let calls = message["tool_calls"].as_array().into_iter().flatten();
            // Side by side they may end in any order.
            let mut calls: Vec<Value> = calls
                .map(|call| json!([call["skill"], call["status"], call["input"]]))
                .collect();
            calls.sort_by_key(ToString::to_string);
            json!({ "role": message["role"], "text": message["text"], "status": message["status"],
            "attachments": message["attachments"], "tool_calls": calls })
        });
    said.collect()
}

async fn told_by_all(url: &str) -> Value {
    let daemon = Daemon::with(&sections(url)).await;
    let mut first = Value::Null;
    for (provider, _) in SECTIONS {
        let state = story(&daemon, provider).await;
        if first.is_null() {
            let said = state.as_array().unwrap();
            assert_eq!(said.len(), 8, "{state}");
            assert!(said.iter().all(|m| m["status"] == "ok"), "{state}");
            assert_eq!(said[3]["text"], "I see a cat.");
            assert_eq!(
                said[5]["tool_calls"].as_array().unwrap().len(),
                2,
                "{state}"
            );
            assert_eq!(said[7]["text"], long_answer());
            first = state;
        } else {
            assert_eq!(state, first, "{provider}");
        }
    }
    first
}

fn story_fixtures() -> Value {
    let mut fixtures = fixtures();
    let more = fixtures["fixtures"].as_array_mut().unwrap();
    more.push(json!({ "match": { "userMessage": "something plain" }, "response": { "content": "Something plain." }, "chunkSize": 3 }));
    more.push(json!({ "match": { "userMessage": "this picture" }, "response": { "content": "I see a cat." }, "chunkSize": 2 }));
    more.push(json!({ "match": { "userMessage": "long answer" }, "response": { "content": long_answer() }, "chunkSize": 7 }));
    fixtures
}

/// Passes requests on as ones that do not ask for a stream: a server that ignores `stream`.
#[expect(
    clippy::disallowed_methods,
    reason = "a test serves and asks by itself"
)]
async fn unstreamed(peer: &str) -> (String, tokio::task::JoinHandle<()>) {
    use axum::{
        body::to_bytes,
        extract::{Request, State},
        response::IntoResponse as _,
    };
    let pass = async |State(peer): State<String>, request: Request| {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let path = parts
            .uri
            .to_string()
            .replace(":streamGenerateContent?alt=sse", ":generateContent");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut asked = client.request(parts.method, format!("{peer}{path}"));
        for name in [
            "authorization",
            "x-api-key",
            "x-goog-api-key",
            "anthropic-version",
            "content-type",
        ] {
            if let Some(value) = parts.headers.get(name) {
                asked = asked.header(name, value);
            }
        }
        if let Ok(mut value) = serde_json::from_slice::<Value>(&body) {
            if value.get("stream").is_some() {
                value["stream"] = json!(false);
            }
            asked = asked.body(value.to_string());
        }
        let answer = asked.send().await.unwrap();
        let status = answer.status();
        let kind = answer.headers()["content-type"].clone();
        let body = answer.bytes().await.unwrap();
        assert!(
            !kind.to_str().unwrap().contains("event-stream"),
            "it streamed: {path}"
        );
        (status, [("content-type", kind)], body).into_response()
    };
    let router = axum::Router::new()
        .fallback(pass)
        .with_state(peer.to_owned());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (
        url,
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
    )
}

#[tokio::test]
async fn the_same_conversation_ends_the_same_with_every_provider_streamed_and_not() {
    let peer = peer(story_fixtures(), KEY).await;
    let streamed = told_by_all(&peer.url).await;
    let (url, proxy) = unstreamed(&peer.url).await;
    let whole = told_by_all(&url).await;
    assert_eq!(streamed, whole);
    proxy.abort();
}
