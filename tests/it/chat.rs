//! A conversation through the real daemon, without and with a model.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Daemon, eventually,
    model::{Act, Model},
    string, write_skill,
};

#[tokio::test]
async fn a_fresh_machine_answers_remembers_reminds_and_runs_skills() {
    let daemon = Daemon::start().await;
    let answer = daemon.ask("what can you do?").await;
    assert!(string(&answer, "reply").contains("/run"), "{answer}");
    assert_eq!(answer["provider"], "offline");

    let answer = daemon.ask("run `uname -a`").await;
    assert!(string(&answer, "reply").contains("Linux"), "{answer}");
    assert_eq!(answer["tool_calls"][0]["skill"], "shell-run");
    assert_eq!(answer["tool_calls"][0]["status"], "ok");

    daemon.ask("remember that my boat is called Ariel").await;
    let answer = daemon.ask("what did I say about the boat?").await;
    assert!(string(&answer, "reply").contains("Ariel"), "{answer}");

    let mut page = daemon.socket("new", None).await;
    page.say("remind me in 1 second to stretch", "c1").await;
    page.until("message.completed").await;
    let reminder = page.until("message.completed").await;
    assert!(string(&reminder, "text").contains("stretch"), "{reminder}");
    assert!(reminder["turn_id"].is_null());
}

#[tokio::test]
async fn a_reminder_that_came_due_while_the_daemon_was_dead_arrives_once_in_its_session() {
    let mut daemon = Daemon::start().await;
    let answer = daemon.ask("remind me in 2 seconds to breathe").await;
    let session = string(&answer, "session_id");
    daemon.kill();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    daemon.launch().await;
    let path = format!("/api/v1/sessions/{session}/messages");
    let reminders = async |daemon: &Daemon| -> usize {
        let all = daemon.owner().get(&path).await.ok();
        let texts = all["messages"].as_array().unwrap().iter();
        texts
            .filter(|m| m["text"].as_str().unwrap().contains("⏰ breathe"))
            .count()
    };
    eventually("the reminder is there", || async {
        reminders(&daemon).await == 1
    })
    .await;
    daemon.kill();
    daemon.launch().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(reminders(&daemon).await, 1);
}

#[tokio::test]
async fn a_question_that_needs_two_skills_is_answered_through_them() {
    let model = Model::start([
        Act::Call(vec![
            (
                "shell-run".to_owned(),
                json!({ "command": "echo one-$((40+2))" }),
            ),
            (
                "file-write".to_owned(),
                json!({ "path": "note.txt", "content": "from the model" }),
            ),
        ]),
        Act::Call(vec![(
            "file-read".to_owned(),
            json!({ "path": "note.txt" }),
        )]),
        Act::Say("It says one-42 and the note is written.".to_owned()),
    ])
    .await;
    let daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    page.say("do both", "c1").await;
    let frames = page.all_until("message.completed").await;
    let of = |kind: &str| {
        frames
            .iter()
            .filter(|f| f["type"] == kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("tool.started").len(), 3);
    let finished = of("tool.finished");
    assert!(finished.iter().all(|f| f["status"] == "ok"), "{finished:?}");
    assert!(of("text.delta").len() > 3, "the answer was streamed");
    let done = frames.last().unwrap();
    assert_eq!(done["text"], "It says one-42 and the note is written.");
    assert_eq!(done["usage"]["input_tokens"], 300);
    let seqs: Vec<i64> = frames
        .iter()
        .filter_map(|f| f["seq"].as_i64())
        .filter(|s| *s > 0)
        .collect();
    assert!(seqs.is_sorted(), "{seqs:?}");

    // What the model was told: both results, each after its call.
    let asked = model.requests();
    assert_eq!(asked.len(), 3);
    let told = asked[2]["messages"].to_string();
    assert!(
        told.contains("one-42") && told.contains("from the model"),
        "{told}"
    );
    let usage = daemon.owner().get("/api/v1/usage?by=model").await.ok();
    assert_eq!(usage["usage"][0]["calls"], 3, "{usage}");

    let accepted = of("message.accepted")[0];
    let path = format!("/api/v1/messages/{}/trace", string(accepted, "message_id"));
    let trace = daemon.owner().get(&path).await.ok();
    let stages: Vec<String> = trace["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| string(s, "stage"))
        .collect();
    assert_eq!(
        stages,
        [
            "inbox", "turn", "model", "tool", "tool", "model", "tool", "model", "answer", "outbox"
        ]
    );
    assert!(
        trace["stages"]
            .as_array()
            .unwrap()
            .iter()
            .all(|s| s["at"].is_string())
    );
}

#[tokio::test]
async fn a_page_that_reconnects_is_shown_what_it_missed_once() {
    let model = Model::start([Act::Slowly(
        "one two three four five six".to_owned(),
        Duration::from_millis(60),
    )])
    .await;
    let daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    page.say("count", "c1").await;
    let seen = page.all_until("text.delta").await;
    let (session, last) = (page.session.clone(), seen.last().unwrap()["seq"].as_i64());
    drop(page);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut page = daemon.socket(&session, last).await;
    // Sent again, because the page cannot know that it arrived.
    page.say("count", "c1").await;
    let mut rest = page.all_until("message.completed").await;
    rest.retain(|f| f["type"] != "message.accepted");
    let piece = |f: &Value| f["text"].as_str().unwrap_or_default().to_owned();
    let text: String = seen
        .iter()
        .chain(&rest)
        .filter(|f| f["type"] == "text.delta")
        .map(piece)
        .collect();
    assert_eq!(text, "one two three four five six");
    let all = daemon
        .owner()
        .get(&format!("/api/v1/sessions/{session}/messages"))
        .await
        .ok();
    assert_eq!(all["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn stop_ends_the_stream_and_the_skill() {
    let model = Model::start([
        Act::Call(vec![(
            "shell-run".to_owned(),
            json!({ "command": "sleep 25; echo late" }),
        )]),
        Act::Say("never".to_owned()),
    ])
    .await;
    let daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    page.say("wait", "c1").await;
    let started = page.until("tool.started").await;
    let began = std::time::Instant::now();
    page.send(json!({ "type": "cancel", "turn_id": started["turn_id"] }))
        .await;
    let done = page.until("message.completed").await;
    assert_eq!(done["status"], "cancelled");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(model.requests().len(), 1);
    // The session goes on.
    page.say("/status", "c2").await;
    assert_eq!(page.until("message.completed").await["status"], "ok");
}

#[tokio::test]
async fn a_provider_that_misbehaves_is_told_plainly_and_the_session_goes_on() {
    let cut = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"half\"}}]}\n\n".to_owned();
    for (act, word) in [
        (
            Act::Status(
                401,
                r#"{"error":{"message":"Incorrect API key"}}"#.to_owned(),
            ),
            "key",
        ),
        (Act::Status(500, "oops".to_owned()), "500"),
        (
            Act::Status(429, r#"{"error":{"message":"slow down"}}"#.to_owned()),
            "slow down",
        ),
        (Act::Raw("data: {nonsense\n\n".to_owned()), "custom"),
        (Act::Raw("<html>hello</html>".to_owned()), "custom"),
        (Act::Raw(cut), "custom"),
        (Act::Stall, "custom"),
    ] {
        let model = Model::start([act.clone()]).await;
        let daemon = Daemon::with(&model.config()).await;
        let answer = daemon.ask("hello").await;
        assert_eq!(answer["status"], "failed", "{act:?}: {answer}");
        assert!(string(&answer, "reply").contains(word), "{act:?}: {answer}");
        let session = answer["session_id"].clone();
        let again = json!({ "message": "/status", "session_id": session });
        let again = daemon.owner().post("/api/v1/chat", again).await.ok();
        assert_eq!(again["status"], "ok");
        assert!(daemon.log().contains("a model call failed"));
    }
}

#[tokio::test]
async fn a_second_provider_answers_when_the_first_cannot() {
    let (bad, good) = (
        Model::start([Act::Status(500, String::new())]).await,
        Model::start([Act::Say("from the second".to_owned())]).await,
    );
    let section = |name: &str, url: &str| {
        format!(
            "    {name}: {{ kind: custom, base_url: '{url}', api_key: sk-the-secret-key-of-the-model, model: m }}\n"
        )
    };
    let config = format!(
        "llm:\n  default_provider: first\n  fallback: [second]\n  ollama_url: ''\n  providers:\n{}{}",
        section("first", &bad.url),
        section("second", &good.url)
    );
    let daemon = Daemon::with(&config).await;
    let answer = daemon.ask("hello").await;
    assert_eq!(
        (string(&answer, "reply"), string(&answer, "provider")),
        ("from the second".to_owned(), "second".to_owned())
    );
}

#[tokio::test]
async fn a_skill_dropped_into_the_folder_is_usable_after_trust_without_a_restart() {
    let daemon = Daemon::start().await;
    write_skill(
        daemon.folder.path(),
        "greet",
        "permissions: []\ninput_schema: { type: object, properties: { name: { type: string } }, required: [name] }\n",
        (
            "run.sh",
            "#!/bin/bash\necho \"hello $NEXFLOW_INPUT_NAME\"\n",
        ),
    );
    let owner = daemon.owner();
    eventually("the skill is found", || async {
        owner.get("/api/v1/skills/greet").await.status == 200
    })
    .await;
    let refused = owner
        .post(
            "/api/v1/skills/greet",
            json!({ "input": { "name": "you" } }),
        )
        .await;
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (409, "SKILL_NOT_USABLE")
    );
    let trusted = owner
        .send(
            owner
                .request("PATCH", "/api/v1/skills/greet")
                .json(&json!({ "trusted": true })),
        )
        .await
        .ok();
    assert_eq!(trusted["state"], "trusted");
    let ran = owner
        .post(
            "/api/v1/skills/greet",
            json!({ "input": { "name": "you" } }),
        )
        .await
        .ok();
    assert!(ran["output"].to_string().contains("hello you"), "{ran}");
    let wrong = owner
        .post("/api/v1/skills/greet", json!({ "input": { "name": 7 } }))
        .await;
    assert_eq!(wrong.status, 422, "{}", wrong.body);

    // A change sets it back.
    std::fs::write(
        daemon.path("skills/greet/run.sh"),
        "#!/bin/bash\necho changed\n",
    )
    .unwrap();
    eventually("the change is seen", || async {
        owner.get("/api/v1/skills/greet").await.ok()["state"] == "quarantined"
    })
    .await;
    assert_eq!(
        owner
            .post(
                "/api/v1/skills/greet",
                json!({ "input": { "name": "you" } })
            )
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn a_turn_that_never_ends_by_itself_is_ended() {
    let model = Model::start([Act::Call(vec![(
        "recall".to_owned(),
        json!({ "query": "x" }),
    )])])
    .await;
    let config = format!("{}turns: {{ max_steps: 3 }}\n", model.config());
    let daemon = Daemon::with(&config).await;
    let answer = daemon.ask("loop").await;
    assert_eq!(answer["tool_calls"].as_array().unwrap().len(), 3);
    let asked = model.requests();
    assert_eq!(asked.len(), 4);
    assert!(
        asked[3]["tools"].as_array().is_none_or(Vec::is_empty),
        "the last answer has no tools"
    );
}

#[tokio::test]
async fn a_question_that_came_early_does_not_hide_the_answer_before_it() {
    let model = Model::start([
        Act::Slowly("the first answer".to_owned(), Duration::from_millis(100)),
        Act::Say("the second answer".to_owned()),
    ])
    .await;
    let daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    page.say("the first question", "c1").await;
    page.until("text.delta").await;
    page.say("the second question", "c2").await;
    page.until("message.completed").await;
    page.until("message.completed").await;
    let told = model.requests().last().unwrap()["messages"].to_string();
    let at = |words: &str| {
        told.find(words)
            .unwrap_or_else(|| panic!("no {words} in {told}"))
    };
    assert!(at("the first question") < at("the first answer"));
    assert!(at("the first answer") < at("the second question"));
}
