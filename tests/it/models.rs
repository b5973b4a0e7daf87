//! Models through the whole daemon: listed and fetched, thinking, blind, without tools, calling wrongly.

use axum::{
    Json, Router,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::support::{
    Daemon, Socket,
    model::{Act, Model},
    string, text,
};

/// An Ollama that has one model and fetches another.
#[expect(clippy::disallowed_methods, reason = "the server ends with the test")]
async fn ollama() -> (String, tokio::task::JoinHandle<()>) {
    let tags = async || Json(json!({ "models": [{ "name": "small:latest" }] }));
    let show = async || {
        Json(
            json!({ "model_info": { "llama.context_length": 8192 }, "capabilities": ["completion", "tools"] }),
        )
    };
    let pull = async |Json(asked): Json<Value>| {
        let lines = if asked["model"] == "big" {
            vec![
                json!({ "status": "pulling manifest" }),
                json!({ "status": "pulling 1a2b", "digest": "sha256:1a2b", "total": 4_000_000_000_u64, "completed": 1_000_000_000_u64 }),
                json!({ "status": "pulling 1a2b", "digest": "sha256:1a2b", "total": 4_000_000_000_u64, "completed": 4_000_000_000_u64 }),
                json!({ "status": "verifying sha256 digest" }),
                json!({ "status": "success" }),
            ]
        } else {
            vec![
                json!({ "status": "pulling manifest" }),
                json!({ "error": "pull model manifest: file does not exist" }),
            ]
        };
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let router = Router::new()
        .route("/api/tags", get(tags))
        .route("/api/show", post(show))
        .route("/api/pull", post(pull));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, task)
}

#[tokio::test]
async fn models_are_listed_and_fetched() {
    let (url, server) = ollama().await;
    let config = format!(
        "llm:\n  default_provider: ollama\n  ollama_url: ''\n  providers:\n    ollama: {{ base_url: '{url}' }}\n    custom: {{ base_url: 'http://127.0.0.1:1', model: m }}\n"
    );
    let daemon = Daemon::with(&config).await;
    let listed = daemon.cli(&["models", "list"]).await;
    assert!(listed.status.success());
    let (out, err) = (text(&listed.stdout), text(&listed.stderr));
    assert!(
        out.contains("small:latest *") && out.contains("8192"),
        "{out}"
    );
    assert!(err.contains("custom cannot be reached"), "{err}");
    let one = daemon.cli_ok(&["models", "list", "ollama", "--json"]).await;
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["models"][0]["tools"], true);
    assert_eq!(one["models"][0]["images"], false);
    assert_eq!(one["errors"], json!([]));

    let pulled = daemon.cli_ok(&["models", "pull", "big"]).await;
    let lines: Vec<&str> = pulled.lines().collect();
    assert_eq!(
        lines,
        [
            "pulling manifest",
            "pulling 1a2b",
            "verifying sha256 digest",
            "big is there."
        ]
    );
    let failed = daemon.cli(&["models", "pull", "bog"]).await;
    assert_eq!(failed.status.code(), Some(1));
    let err = text(&failed.stderr);
    assert!(err.contains("file does not exist"), "{err}");
    let other = daemon
        .cli(&["models", "pull", "big", "--provider", "custom"])
        .await;
    assert!(
        text(&other.stderr).contains("it does not fetch models"),
        "{other:?}"
    );
    let events = daemon
        .owner()
        .post("/api/v1/models/pull", json!({ "model": "big" }))
        .await;
    let body = events.body;
    assert!(
        body.contains("\"completed\":1000000000") && body.trim_end().ends_with("{\"done\":true}"),
        "{body}"
    );
    server.abort();
}

/// A stream of these pieces of an answer.
fn raw(pieces: &[Value], reason: &str) -> Act {
    let chunk = |delta: &Value, reason: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        format!("data: {}\n\n", json!({ "choices": [choice] }))
    };
    let mut all: String = pieces
        .iter()
        .map(|piece| chunk(piece, Value::Null))
        .collect();
    all.push_str(&chunk(&json!({}), json!(reason)));
    Act::Raw(all + "data: [DONE]\n\n")
}

fn call(name: &str, args: &str) -> Value {
    json!({ "tool_calls": [{ "index": 0, "id": format!("call_{name}"), "type": "function",
        "function": { "name": name, "arguments": args } }] })
}

async fn asked(daemon: &Daemon, text: &str) -> (Socket, Vec<Value>) {
    let mut page = daemon.socket("new", None).await;
    page.say(text, "c1").await;
    let frames = page.all_until("message.completed").await;
    (page, frames)
}

fn of<'a>(frames: &'a [Value], kind: &str) -> Vec<&'a Value> {
    frames
        .iter()
        .filter(|frame| frame["type"] == kind)
        .collect()
}

#[tokio::test]
async fn thoughts_are_shown_kept_for_the_next_step_and_no_part_of_the_answer() {
    let model = Model::start([
        raw(
            &[
                json!({ "reasoning_content": "The file " }),
                json!({ "reasoning_content": "is missing." }),
                call("file-write", "{\"path\":\"n.txt\",\"content\":\"x\"}"),
            ],
            "tool_calls",
        ),
        Act::Say("Written.".to_owned()),
    ])
    .await;
    let daemon = Daemon::with(&model.config()).await;
    let (mut page, frames) = asked(&daemon, "write a note").await;
    let thought: String = of(&frames, "reasoning.delta")
        .iter()
        .map(|f| string(f, "text"))
        .collect();
    assert_eq!(thought, "The file is missing.");
    assert_eq!(frames.last().unwrap()["text"], "Written.");
    let with_calls = |request: &Value| {
        let messages = request["messages"].as_array().unwrap();
        messages
            .iter()
            .find(|m| m["tool_calls"].is_array())
            .cloned()
            .unwrap()
    };
    let requests = model.requests();
    assert_eq!(
        with_calls(&requests[1])["reasoning_content"],
        "The file is missing."
    );
    let asked = string(of(&frames, "message.accepted")[0], "message_id");
    let trace = daemon
        .owner()
        .get(&format!("/api/v1/messages/{asked}/trace"))
        .await
        .ok();
    assert!(
        trace
            .to_string()
            .contains("\"reasoning\":\"The file is missing.\""),
        "{trace}"
    );
    // In the next turn nobody wants it back.
    page.say("thanks", "c2").await;
    page.all_until("message.completed").await;
    let requests = model.requests();
    assert_eq!(with_calls(&requests[2])["reasoning_content"], Value::Null);
}

#[tokio::test]
async fn what_a_model_calls_wrongly_comes_back_as_a_result_that_it_can_mend() {
    let model = Model::start([
        raw(&[call("shell-rum", "{}")], "tool_calls"),
        raw(&[call("shell-run", "{\"command\": echo")], "tool_calls"),
        raw(
            &[call("shell-run", "{\"command\": \"echo mended-$((6*7))\"}")],
            "tool_calls",
        ),
        Act::Say("There it is.".to_owned()),
    ])
    .await;
    let daemon = Daemon::with(&model.config()).await;
    let (_page, frames) = asked(&daemon, "run something").await;
    assert_eq!(frames.last().unwrap()["text"], "There it is.");
    let results: Vec<Value> = model
        .requests()
        .iter()
        .map(|request| request["messages"].as_array().unwrap().last().unwrap()["content"].clone())
        .collect();
    for (result, word) in
        results
            .iter()
            .skip(1)
            .zip(["Did you mean `shell-run`", "not a JSON object", "mended-42"])
    {
        assert!(result.as_str().unwrap().contains(word), "{result}");
    }
}

#[tokio::test]
async fn a_model_without_tools_calls_them_in_words() {
    let refusal = json!({ "error": { "message": "scripted does not support tools" } });
    let block = "I will look.\n```tool_call\n{\"tool\": \"shell-run\", \"args\": {\"command\": \"echo in-words-$((6*7))\"}}\n```\n";
    let model = Model::start([
        Act::Status(400, refusal.to_string()),
        Act::Say(block.to_owned()),
        Act::Think(|request| {
            let told = request["messages"].to_string();
            let well = told.contains("in-words-42") && request["tools"].is_null();
            Act::Say(if well { "It said 42." } else { "Nothing came." }.to_owned())
        }),
    ])
    .await;
    let daemon = Daemon::with(&model.config()).await;
    let (_page, frames) = asked(&daemon, "run something").await;
    let done = frames.last().unwrap();
    assert!(string(done, "text").ends_with("It said 42."), "{done}");
    assert!(!string(done, "text").contains("tool_call"), "{done}");
    assert_eq!(of(&frames, "tool.finished")[0]["status"], "ok");
    let notices = of(&frames, "notice");
    assert!(
        notices
            .iter()
            .any(|n| string(n, "text").contains("described to it in words")),
        "{notices:?}"
    );
    assert_eq!(model.requests().len(), 3);
}

#[tokio::test]
async fn an_image_for_a_blind_model_is_told_to_it_and_to_the_person() {
    let model = Model::start([Act::Say("I was told of a file.".to_owned())]).await;
    let daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    let image = json!([{ "name": "cat.png", "media_type": "image/png", "data": "iVBORw0KGgo=" }]);
    page.send(json!({ "type": "message", "text": "what is this", "attachments": image, "client_id": "c1" }))
        .await;
    let frames = page.all_until("message.completed").await;
    let notices = of(&frames, "notice");
    assert!(
        notices
            .iter()
            .any(|n| string(n, "text").contains("`cat.png`")),
        "{notices:?}"
    );
    let told = model.requests()[0]["messages"].to_string();
    assert!(
        told.contains("cat.png (image/png, 8 bytes)") && !told.contains("image_url"),
        "{told}"
    );
}

#[tokio::test]
async fn an_answer_that_is_withheld_says_so() {
    let begun = raw(&[json!({ "content": "The first part" })], "content_filter");
    let model = Model::start([begun]).await;
    let daemon = Daemon::with(&model.config()).await;
    let (_page, frames) = asked(&daemon, "tell me").await;
    let said = string(frames.last().unwrap(), "text");
    assert!(
        said.starts_with("The first part") && said.contains("withheld"),
        "{said}"
    );
}
