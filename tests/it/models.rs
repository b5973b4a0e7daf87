//! Models that providers list and fetch, through the command line.

use axum::{
    Json, Router,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::support::{Daemon, text};

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
    assert!(err.contains("custom is not available"), "{err}");
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
