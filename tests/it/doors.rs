//! Who comes in, and what is said to bad input.

use serde_json::{Value, json};

use crate::support::{
    Daemon,
    model::{Act, Model},
    string,
};

#[tokio::test]
async fn strangers_and_foreign_pages_stay_out() {
    let daemon = Daemon::start().await;
    let stranger = daemon.stranger();
    assert_eq!(stranger.get("/health").await.status, 200);
    assert_eq!(stranger.get("/ready").await.status, 200);
    assert!(
        stranger
            .get("/metrics")
            .await
            .body
            .contains("nexflow_http_requests_total")
    );
    for path in [
        "/api/v1/sessions",
        "/api/v1/skills",
        "/api/v1/logs",
        "/api/v1/status",
        "/ws/logs",
    ] {
        let answer = stranger.get(path).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (401, "UNAUTHORIZED"),
            "{path}"
        );
    }
    let foreign = stranger
        .request("GET", "/health")
        .header("origin", "https://evil.example");
    assert_eq!(stranger.send(foreign).await.error(), "FOREIGN_ORIGIN");
    let rebound = stranger
        .request("GET", "/health")
        .header("host", "evil.example");
    assert_eq!(stranger.send(rebound).await.error(), "UNKNOWN_HOST");
}

#[tokio::test]
async fn a_login_link_works_once() {
    let daemon = Daemon::start().await;
    let stranger = daemon.stranger();
    let login = json!({ "code": daemon.login_code() });
    let signed_in = stranger.post("/api/v1/auth/login", login.clone()).await;
    assert_eq!(signed_in.ok()["user"]["role"], "owner");
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().unwrap().to_owned();
    let list = stranger
        .request("GET", "/api/v1/sessions")
        .header("cookie", &pair);
    assert_eq!(stranger.send(list).await.status, 200);
    let again = stranger.post("/api/v1/auth/login", login).await;
    assert_eq!(
        (again.status, again.error().as_str()),
        (401, "UNAUTHORIZED")
    );
    let out = stranger
        .request("POST", "/api/v1/auth/logout")
        .header("cookie", &pair);
    assert_eq!(stranger.send(out).await.status, 204);
    let list = stranger
        .request("GET", "/api/v1/sessions")
        .header("cookie", &pair);
    assert_eq!(stranger.send(list).await.status, 401);
}

#[tokio::test]
async fn tokens_carry_a_role_and_end_when_revoked() {
    let daemon = Daemon::start().await;
    let token = daemon
        .cli_ok(&["token", "create", "--name", "screen", "--role", "viewer"])
        .await;
    let (client, bearer) = (daemon.stranger(), format!("Bearer {}", token.trim()));
    assert_eq!(token.lines().count(), 1);
    let list = client
        .request("GET", "/api/v1/sessions")
        .header("authorization", &bearer);
    assert_eq!(client.send(list).await.status, 200);
    let say = client
        .request("POST", "/api/v1/chat")
        .header("authorization", &bearer);
    let refused = client.send(say.json(&json!({ "message": "hello" }))).await;
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (403, "FORBIDDEN")
    );
    let listed = daemon.owner().get("/api/v1/tokens").await;
    assert!(!listed.body.contains(token.trim()));
    let id = string(&listed.ok()["tokens"][0], "id");
    let owner = daemon.owner();
    assert_eq!(
        owner
            .send(owner.request("DELETE", &format!("/api/v1/tokens/{id}")))
            .await
            .status,
        204
    );
    let list = client
        .request("GET", "/api/v1/sessions")
        .header("authorization", &bearer);
    assert_eq!(client.send(list).await.status, 401);
}

#[tokio::test]
async fn bad_input_is_explained() {
    let daemon = Daemon::start().await;
    let owner = daemon.owner();
    let raw = |body: Vec<u8>| {
        owner
            .request("POST", "/api/v1/chat")
            .header("content-type", "application/json")
            .body(body)
    };
    let unknown = "01a1fcbb-0000-7000-8000-000000000000";
    for (request, status, code) in [
        (raw(b"{".to_vec()), 400, "BAD_REQUEST"),
        (raw(b"{\"message\": 7}".to_vec()), 422, "INVALID"),
        (
            raw(b"{\"message\": \"\xff\xfe\"}".to_vec()),
            400,
            "BAD_REQUEST",
        ),
        (raw(b"{}".to_vec()), 422, "INVALID"),
        (raw(b"{\"message\": \" \"}".to_vec()), 422, "INVALID"),
        (raw(vec![b' '; 10 << 20]), 413, "TOO_LARGE"),
        (
            owner.request("POST", "/api/v1/chat").body("message=hello"),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            owner
                .request("POST", "/api/v1/chat")
                .json(&json!({ "message": "x", "session_id": unknown })),
            404,
            "SESSION_NOT_FOUND",
        ),
        (
            owner.request("GET", &format!("/api/v1/sessions/{unknown}")),
            404,
            "SESSION_NOT_FOUND",
        ),
        (
            owner.request("GET", "/api/v1/sessions/nonsense"),
            404,
            "NOT_FOUND",
        ),
        (
            owner
                .request("POST", "/api/v1/skills/nope")
                .json(&json!({ "input": {} })),
            404,
            "SKILL_NOT_FOUND",
        ),
        (
            owner.request("PUT", "/api/v1/chat"),
            405,
            "METHOD_NOT_ALLOWED",
        ),
        (owner.request("GET", "/api/v1/nope"), 404, "NOT_FOUND"),
        (
            owner
                .request("POST", "/api/v1/schedules")
                .json(&json!({ "when": "soon", "text": "x" })),
            422,
            "INVALID",
        ),
    ] {
        let answer = owner.send(request).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (status, code),
            "{}",
            answer.body
        );
    }
    assert_eq!(daemon.ask("hello").await["status"], "ok");
}

/// A connection that is closed on what was not read yet is reset, and the answer is lost.
#[tokio::test]
async fn a_refusal_reaches_who_is_still_sending() {
    let daemon = Daemon::start().await;
    let doors = [(daemon.owner(), 413), (daemon.stranger(), 401)];
    for (client, status) in doors {
        for _ in 0..8 {
            let request = client
                .request("POST", "/api/v1/chat")
                .header("content-type", "application/json")
                .body(vec![b' '; 24 << 20]);
            assert_eq!(client.send(request).await.status, status);
        }
    }
}

#[tokio::test]
async fn a_socket_says_what_it_does_not_understand() {
    let daemon = Daemon::start().await;
    let mut page = daemon.socket("new", None).await;
    for (frame, code) in [
        (json!({ "type": "dance" }), "BAD_REQUEST"),
        (
            json!({ "type": "message", "text": "  ", "client_id": "c1" }),
            "INVALID",
        ),
        (
            json!({ "type": "cancel", "turn_id": "01a1fcbb-0000-7000-8000-000000000000" }),
            "NOT_FOUND",
        ),
    ] {
        page.send(frame).await;
        assert_eq!(page.until("error").await["code"], code);
    }
    page.send(json!({ "type": "ping" })).await;
    page.until("pong").await;
}

/// Everything that the daemon wrote, anywhere.
fn written(daemon: &Daemon) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        daemon.folder.path().join("log"),
        daemon.folder.path().join("out"),
    ];
    let mut folders = vec![daemon.path("data")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
        .into_iter()
        .map(|f| (f.display().to_string(), std::fs::read(&f).unwrap()))
        .collect()
}

#[tokio::test]
async fn no_secret_is_written_anywhere() {
    let key = "sk-the-secret-key-of-the-model";
    let leak = json!({ "error": { "message": format!("Incorrect API key provided: {key}") } });
    let model = Model::start([
        Act::Call(vec![(
            "shell-run".to_owned(),
            json!({ "command": format!("echo the key is {key}") }),
        )]),
        Act::Status(401, leak.to_string()),
    ])
    .await;
    let config = format!(
        "{}logging: {{ level: trace }}\nskills: {{ secrets: {{ GITHUB_TOKEN: ghp_never_to_be_seen_123 }} }}\n",
        model.config()
    );
    let daemon = Daemon::with(&config).await;
    let token = daemon
        .cli_ok(&["token", "create", "--name", "t", "--role", "owner"])
        .await;
    let answer = daemon.ask("what is my environment?").await;
    assert!(!answer.to_string().contains(key), "{answer}");
    let client = daemon.stranger();
    let list = client
        .request("GET", "/api/v1/sessions")
        .header("authorization", format!("Bearer {}", token.trim()));
    assert_eq!(client.send(list).await.status, 200);
    let shown: Value =
        serde_json::from_str(&daemon.cli_ok(&["config", "show", "--json"]).await).unwrap();
    for secret in [key, token.trim(), "ghp_never_to_be_seen_123"] {
        assert!(!shown.to_string().contains(secret));
        for (file, bytes) in written(&daemon) {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "a secret stands in {file}");
        }
    }
    assert!(daemon.log().contains("[secret]"), "the mask was at work");
}

#[tokio::test]
async fn a_changed_configuration_takes_effect_and_a_broken_one_does_not() {
    let (one, two) = (
        Model::start([Act::Say("one".to_owned())]).await,
        Model::start([Act::Say("two".to_owned())]).await,
    );
    let daemon = Daemon::with(&one.config()).await;
    assert_eq!(daemon.ask("hello").await["reply"], "one");
    daemon.configure("llm: [broken\n");
    crate::support::eventually("the complaint", || async {
        daemon.log().contains("stays in force")
    })
    .await;
    assert_eq!(daemon.ask("hello").await["reply"], "one");
    daemon.configure(&two.config());
    crate::support::eventually("the change", || async {
        daemon.log().contains("was read again")
    })
    .await;
    assert_eq!(daemon.ask("hello").await["reply"], "two");
}
