//! Killed at bad moments: every message is answered once, and nothing with effects is run again.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    Daemon, eventually,
    model::{Act, Model},
    string, write_skill,
};

#[tokio::test]
async fn a_message_whose_answer_was_being_streamed_is_answered_once() {
    let model = Model::start([Act::Slowly(
        "a b c d e f g h".to_owned(),
        Duration::from_millis(80),
    )])
    .await;
    let mut daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    page.say("speak", "c1").await;
    let seen = page.until("text.delta").await;
    let session = page.session.clone();
    daemon.kill();
    daemon.launch().await;
    let mut page = daemon.socket(&session, seen["seq"].as_i64()).await;
    let frames = page.all_until("message.completed").await;
    assert!(
        frames
            .iter()
            .any(|f| f["type"] == "turn.started" && f["attempt"] == 2),
        "{frames:?}"
    );
    assert_eq!(frames.last().unwrap()["text"], "a b c d e f g h");
    // The page sends it again: it is the same message.
    page.say("speak", "c1").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let all = daemon
        .owner()
        .get(&format!("/api/v1/sessions/{session}/messages"))
        .await
        .ok();
    let roles: Vec<String> = all["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| string(m, "role"))
        .collect();
    assert_eq!(roles, ["user", "assistant"]);
}

#[tokio::test]
async fn a_skill_with_effects_that_was_killed_is_not_run_again_and_the_model_is_told() {
    let model = Model::start([
        Act::Call(vec![("ledger".to_owned(), json!({}))]),
        Act::Say("done what could be done".to_owned()),
    ])
    .await;
    let mut daemon = Daemon::with(&model.config()).await;
    let script = "#!/bin/bash\necho ran >> ledger.txt\nsync\necho written\nsleep 20\n";
    write_skill(
        daemon.folder.path(),
        "ledger",
        "permissions: [shell, filesystem]\n",
        ("run.sh", script),
    );
    let owner = daemon.owner();
    eventually("the skill is found", || async {
        owner.get("/api/v1/skills/ledger").await.status == 200
    })
    .await;
    owner
        .send(
            owner
                .request("PATCH", "/api/v1/skills/ledger")
                .json(&json!({ "trusted": true })),
        )
        .await
        .ok();
    let mut page = daemon.socket("new", None).await;
    page.say("write it", "c1").await;
    page.until("tool.output").await;
    let session = page.session.clone();
    daemon.kill();
    daemon.launch().await;
    let mut page = daemon.socket(&session, Some(0)).await;
    let frames = page.all_until("message.completed").await;
    let ended = frames
        .iter()
        .filter(|f| f["type"] == "tool.finished")
        .collect::<Vec<_>>();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0]["status"], "interrupted");
    let ledger =
        std::fs::read_to_string(daemon.path(&format!("data/workspaces/{session}/ledger.txt")))
            .unwrap();
    assert_eq!(ledger, "ran\n");
    let told = model.requests().last().unwrap()["messages"].to_string();
    assert!(told.contains("not run again"), "{told}");
    let tasks = daemon.owner().get("/api/v1/tasks").await.ok();
    assert_eq!(tasks["tasks"][0]["status"], "interrupted");
}

#[tokio::test]
async fn a_turn_that_is_killed_again_and_again_fails_visibly() {
    let model = Model::start([Act::Slowly(
        "never ends ".repeat(200),
        Duration::from_millis(50),
    )])
    .await;
    let mut daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    page.say("speak", "c1").await;
    page.until("text.delta").await;
    let session = page.session.clone();
    for _ in 0..4 {
        let asked = model.requests().len();
        daemon.kill();
        daemon.launch().await;
        eventually("it tries or gives up", || async {
            model.requests().len() > asked || daemon.log().contains("the turn failed")
        })
        .await;
    }
    let mut page = daemon.socket(&session, Some(0)).await;
    let failed = page.until("turn.failed").await;
    assert_eq!(failed["error"]["code"], "INTERRUPTED");
}

#[tokio::test]
async fn a_stop_that_is_asked_for_is_clean_and_nothing_is_lost() {
    let mut daemon = Daemon::start().await;
    let answer = daemon.ask("remember that stopping is fine").await;
    daemon.stop().await;
    daemon.launch().await;
    let path = format!(
        "/api/v1/sessions/{}/messages",
        string(&answer, "session_id")
    );
    assert_eq!(
        daemon.owner().get(&path).await.ok()["messages"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}
