//! Turns that wait for a person: what arrives meanwhile, how the daemon stops and starts around them,
//! and who is told what.

use serde_json::{Value, json};

use crate::{
    approvals::{ASK, answer, asks, call, daemon, decide, ledger, trust},
    support::{
        Daemon, Socket, eventually,
        model::{Act, Model},
        string, write_skill,
    },
    webhook::{Received, hook_config, post_hook, receiver},
};

fn write(what: &str) -> Act {
    call("ledger", json!({ "what": what }))
}

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

/// A page whose turn waits, and the question.
async fn waiting(daemon: &Daemon) -> (Socket, Value) {
    let mut page = daemon.socket("new", None).await;
    page.say("write it", "c1").await;
    let asked = page.until("approval.requested").await;
    (page, asked)
}

async fn meanwhile(page: &mut Socket, mode: &str) {
    page.send(
        json!({ "type": "message", "text": "and this too", "client_id": "c2", "mode": mode }),
    )
    .await;
    page.until("message.accepted").await;
}

async fn state_of(daemon: &Daemon, asked: &Value) -> String {
    let path = format!("/api/v1/approvals/{}", string(&asked["approval"], "id"));
    string(&daemon.owner().get(&path).await.ok(), "state")
}

fn told(model: &Model, request: usize) -> String {
    model.requests()[request]["messages"].to_string()
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_question_outlives_any_number_of_crashes_before_its_turn_is_parked() {
    let model = Model::start([write("once"), say("written")]).await;
    let mut daemon = daemon(&model, ASK).await;
    // The crashes that follow are no reason to begin nothing.
    let many = (
        "NEXFLOW__SERVER__SAFE_MODE_AFTER".to_owned(),
        "0".to_owned(),
    );
    let dies = ("NEXFLOW_FAILPOINT".to_owned(), "park.written".to_owned());
    daemon.kill();
    daemon.environment = vec![many.clone(), dies];
    daemon.launch().await;
    let mut page = daemon.socket("new", None).await;
    let session = page.session.clone();
    page.say("write it", "c1").await;
    for start in 0..6 {
        let began = std::time::Instant::now();
        while daemon.ended().is_none() {
            assert!(began.elapsed().as_secs() < 20, "start {start} goes on");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        daemon.begin(&[]);
    }
    daemon.kill();
    daemon.environment = vec![many];
    daemon.launch().await;
    let owner = daemon.owner();
    let waiting = owner.get("/api/v1/approvals?state=pending").await.ok();
    let [asked] = waiting["approvals"].as_array().unwrap().as_slice() else {
        panic!("not one question: {waiting}");
    };
    let asked = json!({ "approval": asked });
    decide(&daemon, &asked, json!({ "decision": "once" })).await;
    assert_eq!(answer(&daemon, &session, 2).await["text"], "written");
    assert_eq!(ledger(&daemon, &session), "once\n");
}

#[tokio::test]
async fn what_is_collected_or_queued_while_a_turn_waits_is_answered_after_it() {
    for mode in ["collect", "queue"] {
        let model = Model::start([write("once"), say("written"), say("that too")]).await;
        let daemon = daemon(&model, ASK).await;
        let (mut page, asked) = waiting(&daemon).await;
        meanwhile(&mut page, mode).await;
        // It neither decides nor is answered before.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert_eq!(state_of(&daemon, &asked).await, "pending");
        assert_eq!(model.requests().len(), 1, "{mode}");
        decide(&daemon, &asked, json!({ "decision": "once" })).await;
        let first = page.until("message.completed").await;
        assert_eq!(
            (&first["text"], &first["turn_id"]),
            (&json!("written"), &asked["turn_id"])
        );
        assert_eq!(page.until("message.completed").await["text"], "that too");
        assert!(!told(&model, 1).contains("and this too"));
        assert!(told(&model, 2).contains("and this too"));
        assert_eq!(ledger(&daemon, &page.session), "once\n");
    }
}

#[tokio::test]
async fn what_steers_a_turn_that_waits_joins_it_once_it_goes_on() {
    let model = Model::start([write("once"), say("both")]).await;
    let daemon = daemon(&model, ASK).await;
    let (mut page, asked) = waiting(&daemon).await;
    meanwhile(&mut page, "steer").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(state_of(&daemon, &asked).await, "pending");
    decide(&daemon, &asked, json!({ "decision": "once" })).await;
    let joined = page.until("message.joined").await;
    assert_eq!(joined["turn_id"], asked["turn_id"]);
    assert_eq!(page.until("message.completed").await["text"], "both");
    assert!(told(&model, 1).contains("and this too"));
    assert_eq!(ledger(&daemon, &page.session), "once\n");
}

#[tokio::test]
async fn what_interrupts_a_turn_that_waits_ends_it_with_its_question() {
    let model = Model::start([write("never"), say("the new one")]).await;
    let daemon = daemon(&model, ASK).await;
    let (mut page, asked) = waiting(&daemon).await;
    meanwhile(&mut page, "interrupt").await;
    let first = page.until("message.completed").await;
    assert_eq!(
        (&first["status"], &first["turn_id"]),
        (&json!("cancelled"), &asked["turn_id"])
    );
    assert_eq!(page.until("message.completed").await["text"], "the new one");
    assert_eq!(state_of(&daemon, &asked).await, "cancelled");
    assert_eq!(ledger(&daemon, &page.session), "");
}

/// What only a crash at the wrong moment leaves: a message that ends the turn waits, and a newer one has
/// joined it.
#[tokio::test]
async fn a_turn_that_a_newer_message_joined_is_ended_by_the_older_one_after_a_crash() {
    let model = Model::start([write("never"), say("the new one")]).await;
    let mut daemon = daemon(&model, ASK).await;
    let (page, asked) = waiting(&daemon).await;
    let session = page.session.clone();
    drop(page);
    daemon.kill();
    let config = |safe: u32| {
        let server = format!("server: {{ port: 0, safe_mode_after: {safe} }}\n");
        format!("{server}{}{ASK}", model.config())
    };
    daemon.configure(&config(1));
    daemon.launch().await;
    let mut page = daemon.socket(&session, None).await;
    for (id, mode) in [("c2", "interrupt"), ("c3", "steer")] {
        page.send(json!({ "type": "message", "text": mode, "client_id": id, "mode": mode }))
            .await;
        page.until("message.accepted").await;
    }
    drop(page);
    daemon.kill();
    let database = rusqlite::Connection::open(daemon.path("data/nexflow.db")).unwrap();
    let joins = "UPDATE inbox SET state = 'running', joined = 0,
                   turn_id = (SELECT turn_id FROM approvals) WHERE mode = 'steer'";
    assert_eq!(database.execute(joins, []).unwrap(), 1);
    drop(database);
    daemon.configure(&config(0));
    daemon.launch().await;
    assert_eq!(answer(&daemon, &session, 5).await["text"], "the new one");
    assert_eq!(state_of(&daemon, &asked).await, "cancelled");
    assert_eq!(ledger(&daemon, &session), "");
}

#[tokio::test]
async fn a_turn_that_waits_outlives_stops_and_starts() {
    let model = Model::start([write("once"), say("written")]).await;
    let mut daemon = daemon(&model, ASK).await;
    let asked = asks(&daemon, "write it", None).await;
    let session = string(&asked, "session_id");
    for _ in 0..5 {
        let began = std::time::Instant::now();
        daemon.stop().await;
        // Nobody waits for a person when the daemon stops.
        assert!(began.elapsed() < std::time::Duration::from_secs(5));
        daemon.launch().await;
    }
    assert_eq!(state_of(&daemon, &asked).await, "pending");
    decide(&daemon, &asked, json!({ "decision": "once" })).await;
    assert_eq!(answer(&daemon, &session, 2).await["text"], "written");
    assert_eq!(ledger(&daemon, &session), "once\n");
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test]
async fn in_safe_mode_a_decision_is_taken_and_acted_on_later() {
    let model = Model::start([write("once"), say("written")]).await;
    let mut daemon = daemon(&model, ASK).await;
    let asked = asks(&daemon, "write it", None).await;
    let session = string(&asked, "session_id");
    daemon.kill();
    let server = "server: { port: 0, safe_mode_after: 1 }\n";
    daemon.configure(&format!("{server}{}{ASK}", model.config()));
    daemon.launch().await;
    let decided = decide(&daemon, &asked, json!({ "decision": "once" })).await;
    assert_eq!(decided["state"], "approved");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(ledger(&daemon, &session), "", "no turn goes on");
    daemon.cli_ok(&["resume"]).await;
    assert_eq!(answer(&daemon, &session, 2).await["text"], "written");
    assert_eq!(ledger(&daemon, &session), "once\n");
}

fn notices(received: &Received) -> Vec<Value> {
    let all = received.lock().unwrap();
    let bodies = all.iter().map(|(_, body)| body.clone());
    bodies.filter(|body| body["kind"] == "notice").collect()
}

#[tokio::test]
async fn whoever_waits_at_a_webhook_is_told_so_once() {
    let model = Model::start([write("one"), write("two"), say("written")]).await;
    let (url, received) = receiver(0).await;
    let hook = hook_config(&url).replace("reply_url", "notices: true, reply_url");
    let mut daemon = daemon(&model, &format!("{ASK}{hook}")).await;
    let body = json!({ "id": "1", "user": "ann", "text": "write it" });
    post_hook(&daemon, &body, None).await.ok();
    eventually("it is told", || async { notices(&received).len() == 1 }).await;
    let notice = notices(&received).remove(0);
    assert_eq!(
        (&notice["in_reply_to"], &notice["user"]),
        (&json!("1"), &json!("ann"))
    );
    assert!(
        string(&notice, "text").contains("owner has been asked"),
        "{notice}"
    );
    for _ in 0..2 {
        daemon.kill();
        daemon.launch().await;
    }
    // Two questions of one answer: told once.
    for n in 1..=2 {
        let path = "/api/v1/approvals?state=pending";
        let owner = daemon.owner();
        eventually("it asks", || async {
            let all = owner.get("/api/v1/approvals").await.ok();
            all["approvals"].as_array().unwrap().len() == n
        })
        .await;
        let all = owner.get(path).await.ok();
        let asked = json!({ "approval": all["approvals"][0] });
        decide(&daemon, &asked, json!({ "decision": "once" })).await;
    }
    eventually("the answer comes", || async {
        let all = received.lock().unwrap();
        all.iter().any(|(_, body)| body["text"] == "written")
    })
    .await;
    let keys = notices(&received);
    assert!(keys.iter().all(|n| n["id"] == notice["id"]), "{keys:?}");
    let all = received.lock().unwrap().clone();
    let answers: Vec<&Value> = all
        .iter()
        .map(|(_, b)| b)
        .filter(|b| b["kind"].is_null())
        .collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_ne!(answers[0]["id"], notice["id"]);
    assert_eq!(answers[0]["in_reply_to"], "1");
}

#[tokio::test]
async fn a_strangers_message_that_joins_a_waiting_turn_closes_the_gate() {
    let model = Model::start([
        call("secret", json!({})),
        write("asked"),
        call("send", json!({})),
        say("never"),
    ])
    .await;
    let (url, received) = receiver(0).await;
    let config = |more: &str| {
        let hook = hook_config(&url).replace("reply_url", &format!("{more}reply_url"));
        format!("{ASK}{hook}")
    };
    let mut daemon = daemon(&model, &config("")).await;
    for (name, effects) in [("secret", "reads_private"), ("send", "sends_out")] {
        let head = format!("permissions: [shell]\neffects: [{effects}]\n");
        let script = "#!/bin/bash\necho done\n";
        write_skill(daemon.folder.path(), name, &head, ("run.sh", script));
        trust(&daemon.owner(), name).await;
    }
    let body = json!({ "id": "1", "user": "ann", "text": "read and write" });
    let posted = post_hook(&daemon, &body, None).await.ok();
    let path = format!(
        "/api/v1/approvals?state=pending&session_id={}",
        string(&posted, "session_id")
    );
    let pending = async |daemon: &Daemon, tool: &str| {
        let owner = daemon.owner();
        eventually("it asks", || async {
            owner.get(&path).await.ok()["approvals"][0]["tool"] == json!(tool)
        })
        .await;
        json!({ "approval": owner.get(&path).await.ok()["approvals"][0] })
    };
    let asked = pending(&daemon, "ledger").await;
    assert_eq!(asked["approval"]["gated"], false);
    // From now on the endpoint passes on what strangers write.
    daemon.kill();
    daemon.configure(&format!(
        "{}{}",
        model.config(),
        config("untrusted: true, ")
    ));
    daemon.launch().await;
    let body = json!({ "id": "2", "user": "ann", "text": "send it to me", "mode": "steer" });
    post_hook(&daemon, &body, None).await.ok();
    decide(&daemon, &asked, json!({ "decision": "once" })).await;
    let gated = pending(&daemon, "send").await;
    assert_eq!(gated["approval"]["gated"], true);
    let source = string(&gated["approval"], "source");
    assert!(source.contains("send it to me"), "{source}");
    // An endpoint that wants answers alone gets nothing besides.
    assert!(received.lock().unwrap().is_empty());
}

async fn entries(daemon: &Daemon, action: &str) -> Vec<Value> {
    let path = format!("/api/v1/audit?action={action}");
    let found = daemon.owner().get(&path).await.ok();
    found["audit"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_audit_says_who_allowed_what_and_from_where() {
    let plan = json!({ "steps": [{ "title": "Write a line", "tool": "ledger" }] });
    let model = Model::start([
        write("a"),
        say("1"),
        write("a"),
        say("2"),
        call("propose_plan", plan),
        write("b"),
        say("3"),
        write("c"),
        say("4"),
    ])
    .await;
    let daemon = daemon(&model, ASK).await;
    // Over the network, from a page.
    let (mut page, asked) = waiting(&daemon).await;
    let id = &asked["approval"]["id"];
    page.send(json!({ "type": "approval", "approval_id": id, "decision": "always" }))
        .await;
    page.until("message.completed").await;
    let decided = &entries(&daemon, "approval.approved").await[0];
    assert_eq!(
        (&decided["actor"], &decided["origin"]),
        (&json!("owner"), &json!("web 127.0.0.1"))
    );
    assert!(decided["detail"]["user_id"].is_string(), "{decided}");
    let run = &entries(&daemon, "skill.run").await[0];
    assert_eq!(run["decided_by"], "owner via web (always)");
    // By the grant.
    daemon.ask("again").await;
    let grants = daemon.owner().get("/api/v1/grants").await.ok();
    let grant = string(&grants["grants"][0], "id");
    let run = &entries(&daemon, "skill.run").await[0];
    let by = json!(format!("owner via grant {grant}"));
    assert_eq!(run["decided_by"], by);
    let used = &entries(&daemon, "grant.use").await[0];
    assert_eq!((&used["object"], &used["decided_by"]), (&json!(grant), &by));
    daemon.cli_ok(&["approval", "revoke", &grant]).await;
    assert_eq!(entries(&daemon, "grant.revoke").await[0]["origin"], "cli");
    // By a plan.
    page.send(json!({ "type": "message", "text": "do it", "client_id": "p", "plan": true }))
        .await;
    let proposed = page.until("plan.proposed").await;
    decide(&daemon, &proposed, json!({ "decision": "once" })).await;
    page.until("message.completed").await;
    let run = &entries(&daemon, "skill.run").await[0];
    assert_eq!(run["decided_by"], "owner via cli (plan)");
    // What was allowed and has become pointless.
    let asked = asks(&daemon, "once more", None).await;
    daemon
        .owner()
        .send(
            daemon
                .owner()
                .request("PATCH", "/api/v1/skills/ledger")
                .json(&json!({ "enabled": false })),
        )
        .await
        .ok();
    decide(&daemon, &asked, json!({ "decision": "once" })).await;
    let session = string(&asked, "session_id");
    answer(&daemon, &session, 2).await;
    let void = &entries(&daemon, "approval.cancelled").await[0];
    assert_eq!(void["object"], asked["approval"]["id"]);
    assert!(
        string(&void["detail"], "note").contains("changed after"),
        "{void}"
    );
    let mut page = daemon.socket(&session, Some(0)).await;
    let frames = page.all_until("message.completed").await;
    let resolved = frames.iter().filter(|f| f["type"] == "approval.resolved");
    let states: Vec<String> = resolved.map(|f| string(f, "state")).collect();
    assert_eq!(states, ["approved", "cancelled"]);
    daemon.cli_ok(&["audit", "verify"]).await;
}
