//! The webhook door: signed, acknowledged after it is on disk, answered once.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Daemon, Reply, eventually, string};

const SECRET: &str = "the-secret-of-the-webhook";

fn sign(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let bytes = mac.finalize().into_bytes();
    format!(
        "sha256={}",
        bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()
    )
}

pub type Received = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// A receiver that fails so many times first.
#[expect(clippy::disallowed_methods, reason = "the server ends with the test")]
pub async fn receiver(failures: usize) -> (String, Received) {
    let received = Received::default();
    let tried = Arc::new(Mutex::new(0));
    let take = move |State(to): State<Received>, headers: HeaderMap, body: Bytes| async move {
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(headers["x-signature-256"].to_str().unwrap(), sign(&text));
        to.lock()
            .unwrap()
            .push((headers, serde_json::from_str(&text).unwrap()));
        let mut tried = tried.lock().unwrap();
        *tried += 1;
        if *tried <= failures {
            StatusCode::BAD_GATEWAY
        } else {
            StatusCode::OK
        }
    };
    let router = Router::new()
        .route("/reply", post(take))
        .with_state(Arc::clone(&received));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/reply", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, received)
}

async fn with_hook(url: &str) -> Daemon {
    Daemon::with(&hook_config(url)).await
}

/// The `channels` section with one endpoint.
pub fn hook_config(url: &str) -> String {
    let hook = format!("{{ secret: {SECRET}, reply_url: '{url}' }}");
    format!("channels:\n  webhook:\n    endpoints:\n      home: {hook}\n")
}

pub async fn post_hook(daemon: &Daemon, body: &Value, signature: Option<String>) -> Reply {
    let client = daemon.stranger();
    let text = body.to_string();
    let signature = signature.unwrap_or_else(|| sign(&text));
    let request = client
        .request("POST", "/hooks/home")
        .header("x-signature-256", signature);
    client.send(request.body(text)).await
}

#[tokio::test]
async fn a_message_is_answered_once_however_often_it_comes() {
    let (url, received) = receiver(0).await;
    let daemon = with_hook(&url).await;
    let body = json!({ "id": "m-1", "user": "ada", "text": "what time is it?" });
    let first = post_hook(&daemon, &body, None).await;
    assert_eq!(first.status, 202);
    for _ in 0..3 {
        let again = post_hook(&daemon, &body, None).await;
        assert_eq!((again.status, again.json()), (202, first.json()));
    }
    eventually("the answer came", || async {
        !received.lock().unwrap().is_empty()
    })
    .await;
    // Another user has a session of their own.
    let other = post_hook(
        &daemon,
        &json!({ "id": "m-2", "user": "bob", "text": "hello" }),
        None,
    )
    .await;
    assert_ne!(other.json()["session_id"], first.json()["session_id"]);
    eventually("the second answer came", || async {
        received.lock().unwrap().len() == 2
    })
    .await;
    let (headers, answer) = received.lock().unwrap()[0].clone();
    assert_eq!(string(&answer, "in_reply_to"), "m-1");
    assert_eq!(string(&answer, "user"), "ada");
    assert_eq!(answer["session_id"], first.json()["session_id"]);
    assert_eq!(
        headers["idempotency-key"].to_str().unwrap(),
        string(&answer, "id")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_skill_says_arrives_once_besides_the_answer() {
    let (url, received) = receiver(0).await;
    let daemon = with_hook(&url).await;
    let call = r#"{"id": 1, "method": "message.send", "params": {"text": "half way"}}"#;
    let program = format!("#!/bin/bash\necho '{call}' >&4\nread -r answer <&4\necho done\n");
    let asks = "permissions: ['message:send']\n";
    crate::support::write_skill(daemon.folder.path(), "says", asks, ("run.sh", &program));
    let owner = daemon.owner();
    eventually("the skill is known", || async {
        owner.get("/api/v1/skills/says").await.status == 200
    })
    .await;
    daemon.cli_ok(&["skill", "trust", "says", "--yes"]).await;
    let body = json!({ "id": "m-1", "user": "ada", "text": "/run says" });
    post_hook(&daemon, &body, None).await;
    eventually("word and answer came", || async {
        received.lock().unwrap().len() >= 2
    })
    .await;
    // Time for a second copy that must not come.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let all = received.lock().unwrap().clone();
    let said = |(_, a): &&(HeaderMap, Value)| string(a, "text") == "**says:** half way";
    let words: Vec<_> = all.iter().filter(said).collect();
    assert_eq!((all.len(), words.len()), (2, 1), "{all:?}");
    assert_eq!(words[0].1["user"], "ada");
    assert!(words[0].1["in_reply_to"].is_null());
    let path = format!(
        "/api/v1/sessions/{}/messages",
        string(&words[0].1, "session_id")
    );
    let kept = owner.get(&path).await.ok().to_string();
    assert_eq!(kept.matches("**says:** half way").count(), 1, "{kept}");
}

#[tokio::test]
async fn an_answer_that_did_not_arrive_is_sent_again_with_the_same_key() {
    let (url, received) = receiver(1).await;
    let mut daemon = with_hook(&url).await;
    post_hook(
        &daemon,
        &json!({ "id": "m-1", "user": "ada", "text": "hello" }),
        None,
    )
    .await;
    eventually("it was tried", || async {
        received.lock().unwrap().len() == 1
    })
    .await;
    daemon.kill();
    daemon.launch().await;
    eventually("it was tried again", || async {
        received.lock().unwrap().len() == 2
    })
    .await;
    let tries = received.lock().unwrap().clone();
    assert_eq!(tries[0].0["idempotency-key"], tries[1].0["idempotency-key"]);
    assert_eq!(tries[0].1, tries[1].1);
}

#[tokio::test]
async fn what_is_not_signed_or_not_a_message_is_refused() {
    let (url, received) = receiver(0).await;
    let daemon = with_hook(&url).await;
    let body = json!({ "id": "m-1", "user": "ada", "text": "hello" });
    let wrong = post_hook(&daemon, &body, Some("sha256=00".to_owned())).await;
    assert_eq!(
        (wrong.status, wrong.error().as_str()),
        (401, "UNAUTHORIZED")
    );
    let invalid = post_hook(&daemon, &json!({ "id": "m-1" }), None).await;
    assert_eq!((invalid.status, invalid.error().as_str()), (422, "INVALID"));
    let client = daemon.stranger();
    let unknown = client.post("/hooks/other", body).await;
    assert_eq!(
        (unknown.status, unknown.error().as_str()),
        (404, "NOT_FOUND")
    );
    assert!(received.lock().unwrap().is_empty());
}
