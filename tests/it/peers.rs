//! The whole daemon against model servers that someone else wrote, in three dialects.

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
