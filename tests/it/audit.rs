//! The audit as the owner sees it: what is in it, that it is whole, and that a change shows.

use serde_json::{Value, json};

use crate::support::{
    Client, Daemon, eventually,
    model::{Act, Model},
    string, text, write_skill,
};

async fn entries(owner: &Client, filter: &str) -> Vec<Value> {
    let found = owner.get(&format!("/api/v1/audit?{filter}")).await.ok();
    found["audit"].as_array().unwrap().clone()
}

#[tokio::test]
async fn who_did_what_is_told_and_whole() {
    let model = Model::start([
        Act::Call(vec![(
            "note".to_owned(),
            json!({ "password": "hunter2hunter2", "line": "x".repeat(2000) }),
        )]),
        Act::Say("done".to_owned()),
    ])
    .await;
    let daemon = Daemon::with(&model.config()).await;
    write_skill(
        daemon.folder.path(),
        "note",
        "permissions: [shell]\n",
        ("run.sh", "#!/bin/bash\necho noted\n"),
    );
    let owner = daemon.owner();
    eventually("the skill is found", || async {
        owner.get("/api/v1/skills/note").await.status == 200
    })
    .await;
    let trust = owner.request("PATCH", "/api/v1/skills/note");
    owner
        .send(trust.json(&json!({ "trusted": true })))
        .await
        .ok();
    let answer = daemon.ask("note it").await;
    let session = string(&answer, "session_id");
    // In by the link, out again, and somebody who guesses.
    let stranger = daemon.stranger();
    let code = json!({ "code": daemon.login_code() });
    stranger.post("/api/v1/auth/login", code.clone()).await.ok();
    for _ in 0..20 {
        assert_eq!(
            stranger
                .post("/api/v1/auth/login", code.clone())
                .await
                .status,
            401
        );
    }
    owner
        .send(owner.request("DELETE", &format!("/api/v1/sessions/{session}")))
        .await
        .ok();

    let all = entries(&owner, "").await;
    let actions: Vec<String> = all.iter().rev().map(|e| string(e, "action")).collect();
    assert_eq!(
        actions,
        [
            "skill.change",
            "skill.run",
            "skill.ended",
            "auth.login",
            "auth.refused",
            "session.delete"
        ]
    );
    let run = &entries(&owner, "action=skill.run&object=note").await[0];
    assert_eq!(run["actor"], "owner");
    assert_eq!(run["detail"]["input"]["password"], "[secret]");
    assert!(string(&run["detail"]["input"], "line").len() < 600);
    assert_eq!(run["detail"]["turn"], answer["turn_id"]);
    assert!(string(run, "origin").starts_with("cli/"), "{run}");
    let ended = &entries(&owner, "action=skill.ended").await[0];
    assert_eq!(ended["detail"]["outcome"], "ok");
    let login = &entries(&owner, "action=auth.login").await[0];
    assert_eq!(login["origin"], "web 127.0.0.1");
    assert_eq!(entries(&owner, "action=skill").await.len(), 3);
    assert_eq!(entries(&owner, "actor=nobody").await.len(), 1);
    assert_eq!(entries(&owner, "until=2001-01-01").await.len(), 0);
    assert_eq!(stranger.get("/api/v1/audit").await.status, 401);

    // In pages, and as an export, it is the same.
    let first = owner.get("/api/v1/audit?limit=4").await.ok();
    let rest = entries(&owner, &format!("cursor={}", first["next_cursor"])).await;
    assert_eq!(
        first["audit"].as_array().unwrap().len() + rest.len(),
        all.len()
    );
    let exported = daemon.cli_ok(&["audit", "export"]).await;
    let lines: Vec<Value> = exported
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), all.len());
    assert!(!exported.contains("hunter2"));
    let listed = daemon
        .cli_ok(&["audit", "list", "--action", "skill.run"])
        .await;
    assert!(
        listed.contains("note") && listed.contains("cli/"),
        "{listed}"
    );
    let verified = daemon.cli_ok(&["audit", "verify"]).await;
    assert!(verified.contains("6 entries"), "{verified}");
}

/// Runs SQL as somebody who has the file.
fn tamper(daemon: &Daemon, sql: &str) {
    let c = rusqlite::Connection::open(daemon.path("data/nexflow.db")).unwrap();
    c.execute_batch(
        "DROP TRIGGER IF EXISTS audit_no_update; DROP TRIGGER IF EXISTS audit_no_delete;",
    )
    .unwrap();
    c.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_change_of_the_file_shows() {
    let mut daemon = Daemon::start().await;
    for n in 0..5 {
        let name = format!("token-{n}");
        daemon.cli_ok(&["token", "create", "--name", &name]).await;
    }
    let head = daemon.cli_ok(&["audit", "head"]).await;
    daemon.stop().await;
    // Also while no daemon runs.
    daemon
        .cli_ok(&["audit", "verify", "--head", head.trim()])
        .await;

    tamper(&daemon, "DELETE FROM audit WHERE id = 5");
    daemon.cli_ok(&["audit", "verify"]).await;
    let cut = daemon
        .cli(&["audit", "verify", "--head", head.trim()])
        .await;
    assert_eq!(cut.status.code(), Some(1));
    assert!(
        text(&cut.stderr).contains("cut off"),
        "{}",
        text(&cut.stderr)
    );

    tamper(&daemon, "UPDATE audit SET actor = 'eve' WHERE id = 2");
    let altered = daemon.cli(&["audit", "verify", "--json"]).await;
    assert_eq!(altered.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&altered.stdout).unwrap();
    assert_eq!(
        (&told["broken"]["id"], &told["broken"]["what"]),
        (&json!(2), &json!("altered"))
    );

    let wrong = daemon.cli(&["audit", "verify", "--head", "nonsense"]).await;
    assert_eq!(wrong.status.code(), Some(1));
}

#[tokio::test]
async fn events_are_counted_and_can_be_switched_off() {
    let model = Model::start([Act::Say("a secret answer".to_owned())]).await;
    let daemon = Daemon::with(&model.config()).await;
    daemon.ask("a secret question").await;
    let owner = daemon.owner();
    let report = owner.get("/api/v1/analytics").await.ok();
    let counted: Vec<(String, u64)> = report["days"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (string(d, "event"), d["count"].as_u64().unwrap()))
        .collect();
    let once = |event: &str| (event.to_owned(), 1);
    assert_eq!(
        counted,
        [
            once("AI_REQUEST"),
            once("AI_RESPONSE"),
            once("MESSAGE_ANSWERED"),
            once("MESSAGE_RECEIVED")
        ]
    );
    assert!(!report.to_string().contains("secret"), "{report}");
    assert_eq!(owner.get("/api/v1/analytics?event=NO").await.status, 422);

    daemon.configure(&format!(
        "{}privacy: {{ analytics: false }}\n",
        model.config()
    ));
    eventually("the events are gone", || async {
        let report = owner.get("/api/v1/analytics").await.ok();
        report["events"].as_array().unwrap().is_empty()
    })
    .await;
    daemon.ask("again").await;
    let report = owner.get("/api/v1/analytics").await.ok();
    assert!(report["events"].as_array().unwrap().is_empty());
    let changes = entries(&owner, "action=config.change").await;
    assert_eq!(changes[0]["detail"]["keys"], json!(["privacy.analytics"]));
}
