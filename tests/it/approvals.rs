//! Questions before something is done: asked, decided from any door, bound to what was asked.

use serde_json::{Value, json};

use crate::support::{
    Client, Daemon, Socket, eventually,
    model::{Act, Model},
    string, write_skill,
};

/// A skill that writes down that it ran, and with what.
const LEDGER: &str =
    "#!/bin/bash\necho \"$NEXFLOW_INPUT_WHAT\" >> ledger.txt\necho '{\"done\":true}'\n";
const LEDGER_HEAD: &str = "permissions: [shell, filesystem]\neffects: [changes_state]\ninput_schema: { type: object, properties: { what: { type: string } } }\n";
/// Asks about that skill.
pub const ASK: &str = "approvals:\n  rules:\n    - { skill: ledger, decision: ask, reason: the ledger is looked at }\n";

pub fn call(name: &str, args: Value) -> Act {
    Act::Call(vec![(name.to_owned(), args)])
}

fn write(what: &str) -> Act {
    call("ledger", json!({ "what": what }))
}

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

pub async fn trust(owner: &Client, name: &str) {
    let path = format!("/api/v1/skills/{name}");
    eventually("the skill is found", || async {
        owner.get(&path).await.status == 200
    })
    .await;
    let change = owner.request("PATCH", &path);
    owner
        .send(change.json(&json!({ "trusted": true })))
        .await
        .ok();
}

/// A daemon with the ledger, asking about it.
pub async fn daemon(model: &Model, more: &str) -> Daemon {
    let daemon = Daemon::with(&format!("{}{more}", model.config())).await;
    write_skill(
        daemon.folder.path(),
        "ledger",
        LEDGER_HEAD,
        ("run.sh", LEDGER),
    );
    trust(&daemon.owner(), "ledger").await;
    daemon
}

pub fn ledger(daemon: &Daemon, session: &str) -> String {
    let path = format!("data/workspaces/{session}/ledger.txt");
    std::fs::read_to_string(daemon.path(&path)).unwrap_or_default()
}

/// Sends a message that must lead to a question; the answer of the API.
pub async fn asks(daemon: &Daemon, text: &str, session: Option<&str>) -> Value {
    let body = json!({ "message": text, "session_id": session });
    let reply = daemon.owner().post("/api/v1/chat", body).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    reply.json()
}

pub async fn decide(daemon: &Daemon, asked: &Value, decision: Value) -> Value {
    let path = format!("/api/v1/approvals/{}", string(&asked["approval"], "id"));
    daemon.owner().post(&path, decision).await.ok()
}

/// The last message of a session, once its turn is over.
pub async fn answer(daemon: &Daemon, session: &str, messages: usize) -> Value {
    let path = format!("/api/v1/sessions/{session}/messages");
    let owner = daemon.owner();
    eventually("the turn ends", || async {
        let all = owner.get(&path).await.ok();
        all["messages"].as_array().unwrap().len() >= messages
    })
    .await;
    let all = owner.get(&path).await.ok();
    all["messages"].as_array().unwrap().last().unwrap().clone()
}

async fn page(daemon: &Daemon) -> Socket {
    daemon.socket("new", None).await
}

#[tokio::test]
async fn a_question_survives_kill_nine_and_is_answered_from_another_door() {
    let model = Model::start([write("once"), say("written")]).await;
    let mut daemon = daemon(&model, ASK).await;
    let mut page = page(&daemon).await;
    let session = page.session.clone();
    page.say("write it", "c1").await;
    let asked = page.until("approval.requested").await;
    let approval = &asked["approval"];
    assert_eq!(approval["state"], "pending");
    assert_eq!(approval["tool"], "ledger");
    assert_eq!(approval["args"], json!({ "what": "once" }));
    assert_eq!(approval["reason"], "the ledger is looked at");
    assert_eq!(approval["who"], "owner");
    assert_eq!(approval["effects"], json!(["changes_state"]));
    assert!(string(approval, "summary").contains("ledger"), "{approval}");
    assert!(
        string(&approval["pattern"], "text").contains("once"),
        "{approval}"
    );
    assert_eq!(ledger(&daemon, &session), "");
    for _ in 0..4 {
        daemon.kill();
        daemon.launch().await;
    }
    let id = string(approval, "id");
    let listed = daemon.cli_ok(&["approval", "list"]).await;
    assert!(listed.contains(&id), "{listed}");
    daemon.cli_ok(&["approval", "approve", &id]).await;
    let last = answer(&daemon, &session, 2).await;
    assert_eq!(last["text"], "written");
    assert_eq!(ledger(&daemon, &session), "once\n");
    let mut page = daemon.socket(&session, Some(0)).await;
    let frames = page.all_until("message.completed").await;
    let resolved: Vec<&Value> = frames
        .iter()
        .filter(|f| f["type"] == "approval.resolved")
        .collect();
    assert_eq!(resolved.len(), 1);
    assert_eq!(resolved[0]["state"], "approved");
    assert_eq!(resolved[0]["via"], "cli");
    let audit = daemon.owner().get("/api/v1/audit").await.body;
    assert!(
        audit.contains("approval.ask") && audit.contains("approval.approved"),
        "{audit}"
    );
}

#[tokio::test]
async fn a_denial_reaches_the_model_with_its_reason_and_nothing_runs() {
    let model = Model::start([write("no"), say("then not")]).await;
    let daemon = daemon(&model, ASK).await;
    let asked = asks(&daemon, "write it", None).await;
    let session = string(&asked, "session_id");
    let denied = decide(
        &daemon,
        &asked,
        json!({ "decision": "deny", "reason": "not on a Sunday" }),
    )
    .await;
    assert_eq!(denied["state"], "denied");
    assert_eq!(answer(&daemon, &session, 2).await["text"], "then not");
    let told = model.requests().last().unwrap()["messages"].to_string();
    assert!(told.contains("not on a Sunday"), "{told}");
    assert_eq!(ledger(&daemon, &session), "");
    // A second decision comes too late, and says who was first.
    let path = format!("/api/v1/approvals/{}", string(&asked["approval"], "id"));
    let second = daemon
        .owner()
        .post(&path, json!({ "decision": "once" }))
        .await;
    assert_eq!(
        (second.status, second.error().as_str()),
        (409, "ALREADY_DECIDED")
    );
    assert_eq!(second.json()["error"]["details"]["decided_by"], "owner");
}

#[tokio::test]
async fn calls_that_need_nobody_run_while_others_wait() {
    let both = Act::Call(vec![
        ("ledger".to_owned(), json!({ "what": "asked" })),
        ("recall".to_owned(), json!({ "query": "anything" })),
        ("ledger".to_owned(), json!({ "what": "also asked" })),
    ]);
    let model = Model::start([both, say("all done")]).await;
    let daemon = daemon(&model, ASK).await;
    let mut page = page(&daemon).await;
    page.say("do all", "c1").await;
    let mut asked = Vec::new();
    let mut recalled = false;
    while asked.len() < 2 || !recalled {
        let frame = page.next().await.unwrap();
        match frame["type"].as_str().unwrap() {
            "approval.requested" => asked.push(string(&frame["approval"], "id")),
            "tool.finished" => recalled |= frame["skill"] == "recall",
            _ => {}
        }
    }
    // A denied one does not end the wait for the other.
    page.send(json!({ "type": "approval", "approval_id": asked[1], "decision": "deny" }))
        .await;
    let refused = page.until("tool.finished").await;
    assert_eq!(refused["status"], "refused");
    page.send(json!({ "type": "approval", "approval_id": asked[0], "decision": "once" }))
        .await;
    let ran = page.until("tool.finished").await;
    assert_eq!(ran["status"], "ok");
    assert_eq!(page.until("message.completed").await["text"], "all done");
    assert_eq!(ledger(&daemon, &page.session), "asked\n");
}

#[tokio::test]
async fn grants_stop_the_questions_of_their_pattern_until_they_are_revoked() {
    let command = |text: &str| call("shell-run", json!({ "command": text }));
    let model = Model::start([
        command("echo one"),
        say("1"),
        command("echo two"),
        say("2"),
        command("printf three"),
        say("3"),
        command("echo four"),
        say("4"),
    ])
    .await;
    let ask = "approvals:\n  rules:\n    - { skill: shell-run, decision: ask }\n";
    let daemon = daemon(&model, ask).await;
    let asked = asks(&daemon, "one", None).await;
    let session = string(&asked, "session_id");
    assert_eq!(asked["approval"]["command"], "echo one");
    assert_eq!(asked["approval"]["pattern"]["text"], "commands `echo *`");
    decide(&daemon, &asked, json!({ "decision": "always" })).await;
    answer(&daemon, &session, 2).await;
    // Another conversation, the same pattern.
    let done = daemon.ask("two").await;
    assert_eq!(done["reply"], "2", "{done}");
    // Another program.
    let other = asks(&daemon, "three", None).await;
    decide(&daemon, &other, json!({ "decision": "deny" })).await;
    answer(&daemon, &string(&other, "session_id"), 2).await;
    let grants = daemon.owner().get("/api/v1/grants").await.ok();
    let grant = &grants["grants"][0];
    assert_eq!(
        (&grant["used"], &grant["session_id"]),
        (&json!(1), &Value::Null)
    );
    assert!(grant["expires_at"].is_string());
    let listed = daemon.cli_ok(&["approval", "grants"]).await;
    assert!(listed.contains("echo *"), "{listed}");
    daemon
        .cli_ok(&["approval", "revoke", &string(grant, "id")])
        .await;
    asks(&daemon, "four", None).await;
}

#[tokio::test]
async fn a_grant_for_a_session_holds_there_alone() {
    let model = Model::start([
        write("same"),
        say("1"),
        write("same"),
        say("2"),
        write("same"),
        say("3"),
    ])
    .await;
    let daemon = daemon(&model, ASK).await;
    let asked = asks(&daemon, "one", None).await;
    let session = string(&asked, "session_id");
    decide(&daemon, &asked, json!({ "decision": "session" })).await;
    answer(&daemon, &session, 2).await;
    let body = json!({ "message": "two", "session_id": session });
    let again = daemon.owner().post("/api/v1/chat", body).await;
    assert_eq!((again.status, &again.json()["reply"]), (200, &json!("2")));
    assert_eq!(ledger(&daemon, &session), "same\nsame\n");
    asks(&daemon, "three", None).await;
}

#[tokio::test]
async fn what_was_changed_after_the_question_does_not_run() {
    let model = Model::start([write("old"), say("after all")]).await;
    let daemon = daemon(&model, ASK).await;
    let asked = asks(&daemon, "write it", None).await;
    let session = string(&asked, "session_id");
    let evil = LEDGER.replace("echo", "echo EVIL; echo");
    write_skill(
        daemon.folder.path(),
        "ledger",
        LEDGER_HEAD,
        ("run.sh", &evil),
    );
    // Somebody even trusts the new one: the approval was not for it.
    let owner = daemon.owner();
    let before = string(&asked["approval"], "hash");
    eventually("the change is seen", || async {
        owner.get("/api/v1/skills/ledger").await.ok()["hash"] != json!(before)
    })
    .await;
    trust(&owner, "ledger").await;
    decide(&daemon, &asked, json!({ "decision": "once" })).await;
    let path = format!("/api/v1/approvals?session_id={session}&state=pending");
    eventually("it is asked anew", || async {
        let all = owner.get(&path).await.ok();
        all["approvals"].as_array().unwrap().len() == 1
    })
    .await;
    assert_eq!(ledger(&daemon, &session), "");
    let anew = owner.get(&path).await.ok();
    let reason = string(&anew["approvals"][0], "reason");
    assert!(reason.contains("changed after it was approved"), "{reason}");
    assert_ne!(
        anew["approvals"][0]["fingerprint"],
        asked["approval"]["fingerprint"]
    );
}

#[tokio::test]
async fn a_question_that_expires_is_told_and_can_be_asked_again() {
    let model = Model::start([write("late"), say("better late")]).await;
    let mut daemon = daemon(&model, ASK).await;
    let asked = asks(&daemon, "write it", None).await;
    let (session, id) = (
        string(&asked, "session_id"),
        string(&asked["approval"], "id"),
    );
    daemon.kill();
    let past = "UPDATE approvals SET expires_at = 1 WHERE id = ?1";
    let database = rusqlite::Connection::open(daemon.path("data/nexflow.db")).unwrap();
    assert_eq!(database.execute(past, [&id]).unwrap(), 1);
    drop(database);
    daemon.launch().await;
    let told = answer(&daemon, &session, 2).await;
    assert!(
        string(&told, "text").contains("nobody decided in time"),
        "{told}"
    );
    assert!(string(&told, "text").contains(&id), "{told}");
    let mut page = daemon.socket(&session, Some(0)).await;
    let notice = page.until("notice").await;
    assert_eq!(notice["code"], "approval_expired");
    page.until("turn.failed").await;
    assert_eq!(ledger(&daemon, &session), "");
    // Too late to decide; not too late to be asked again, once.
    let path = format!("/api/v1/approvals/{id}");
    let late = daemon
        .owner()
        .post(&path, json!({ "decision": "once" }))
        .await;
    assert_eq!(late.status, 409);
    daemon.cli_ok(&["approval", "reopen", &id]).await;
    let again = page.until("approval.requested").await;
    assert_eq!(again["approval"]["args"], json!({ "what": "late" }));
    assert_ne!(again["approval"]["id"], json!(id));
    let twice = daemon
        .owner()
        .post(&path, json!({ "decision": "reopen" }))
        .await;
    assert_eq!(twice.status, 409);
    decide(&daemon, &again, json!({ "decision": "once" })).await;
    assert_eq!(page.until("message.completed").await["text"], "better late");
    assert_eq!(ledger(&daemon, &session), "late\n");
}

#[tokio::test]
async fn a_turn_that_waits_can_be_stopped() {
    let model = Model::start([write("never"), say("unused")]).await;
    let daemon = daemon(&model, ASK).await;
    let asked = asks(&daemon, "write it", None).await;
    let (session, turn) = (string(&asked, "session_id"), string(&asked, "turn_id"));
    let owner = daemon.owner();
    let stop = owner.request("DELETE", &format!("/api/v1/turns/{turn}"));
    assert_eq!(owner.send(stop).await.status, 202);
    let told = answer(&daemon, &session, 2).await;
    assert_eq!(told["status"], "cancelled", "{told}");
    let path = format!("/api/v1/approvals/{}", string(&asked["approval"], "id"));
    assert_eq!(owner.get(&path).await.ok()["state"], "cancelled");
    assert_eq!(ledger(&daemon, &session), "");
}

#[tokio::test]
async fn only_who_may_decides() {
    let model = Model::start([write("mine"), say("done"), write("mine too"), say("done")]).await;
    let rules = "approvals:\n  rules:\n    - { skill: ledger, role: member, when: { what: mine }, decision: ask, who: asker }\n    - { skill: ledger, decision: ask }\n";
    let daemon = daemon(&model, rules).await;
    let member = daemon
        .cli_ok(&["token", "create", "--name", "anna", "--role", "member"])
        .await;
    let viewer = daemon
        .cli_ok(&["token", "create", "--name", "eve", "--role", "viewer"])
        .await;
    let with = |token: &str, request: reqwest::RequestBuilder| request.bearer_auth(token.trim());
    let asked = asks(&daemon, "write it", None).await;
    let path = format!("/api/v1/approvals/{}", string(&asked["approval"], "id"));
    let client = daemon.stranger();
    let once = json!({ "decision": "once" });
    assert_eq!(client.post(&path, once.clone()).await.status, 401);
    for token in [&member, &viewer] {
        let request = with(token, client.request("POST", &path).json(&once));
        assert_eq!(client.send(request).await.status, 403);
    }
    assert_eq!(daemon.owner().get(&path).await.ok()["state"], "pending");
}

#[tokio::test]
async fn a_file_change_is_shown_as_a_diff() {
    let file = |mode: &str, content: &str| {
        call(
            "file-write",
            json!({ "path": "notes/a.txt", "content": content, "mode": mode }),
        )
    };
    let model = Model::start([
        file("create", "one\ntwo\n"),
        say("1"),
        file("overwrite", "one\n2\n"),
        say("2"),
    ])
    .await;
    let ask = "approvals:\n  rules:\n    - { skill: file-write, when: { mode: overwrite }, decision: ask }\n";
    let daemon = daemon(&model, ask).await;
    let made = daemon.ask("make it").await;
    let session = string(&made, "session_id");
    let asked = asks(&daemon, "change it", Some(&session)).await;
    let diff = string(&asked["approval"], "diff");
    assert!(
        diff.contains("-two\n+2\n") && diff.contains(" one\n"),
        "{diff}"
    );
    assert_eq!(
        asked["approval"]["pattern"]["text"],
        "writing files below `notes/`"
    );
}

#[tokio::test]
async fn the_command_line_asks_and_answers_where_it_talks() {
    let model = Model::start([write("yes"), say("done"), write("no"), say("done")]).await;
    let daemon = daemon(&model, ASK).await;
    let out = daemon.cli_ok(&["chat", "--yes", "write it"]).await;
    assert!(out.contains("done"), "{out}");
    // Without a terminal and without --yes nobody can be asked: it says how to go on.
    let output = daemon.cli(&["chat", "write it"]).await;
    assert!(!output.status.success());
    let told = crate::support::text(&output.stderr);
    assert!(told.contains("nexflow approval approve"), "{told}");
}

#[tokio::test]
async fn a_member_decides_own_calls_where_a_rule_says_so() {
    let model = Model::start([write("mine"), say("done"), write("other"), say("done")]).await;
    let rules = "approvals:\n  rules:\n    - { skill: ledger, when: { what: mine }, decision: ask, who: asker }\n    - { skill: ledger, decision: ask }\n";
    let mut daemon = daemon(&model, rules).await;
    let token = daemon
        .cli_ok(&["token", "create", "--name", "anna", "--role", "member"])
        .await;
    // The token's user is the owner; here it is somebody else's.
    daemon.kill();
    let database = rusqlite::Connection::open(daemon.path("data/nexflow.db")).unwrap();
    database
        .execute_batch(
            "INSERT INTO users (id, channel, channel_user_id, name, role, person_id, created_at)
             VALUES ('01930000-0000-7000-8000-000000000001', 'local', 'anna', 'anna', 'member',
                     '01930000-0000-7000-8000-000000000001', 0);
             UPDATE tokens SET user_id = '01930000-0000-7000-8000-000000000001' WHERE name = 'anna'",
        )
        .unwrap();
    drop(database);
    daemon.launch().await;
    let client = daemon.stranger();
    let anna = |path: &str, body: Value| {
        let request = client.request("POST", path).bearer_auth(token.trim());
        client.send(request.json(&body))
    };
    let once = json!({ "decision": "once" });
    let mine = anna("/api/v1/chat", json!({ "message": "mine" })).await;
    assert_eq!(mine.status, 202, "{}", mine.body);
    let id = string(&mine.json()["approval"], "id");
    let decided = anna(&format!("/api/v1/approvals/{id}"), once.clone())
        .await
        .ok();
    assert_eq!(
        (&decided["state"], &decided["decided_by"]),
        (&json!("approved"), &json!("anna"))
    );
    answer(&daemon, &string(&mine.json(), "session_id"), 2).await;
    let other = anna("/api/v1/chat", json!({ "message": "other" }))
        .await
        .ok();
    let id = string(&other["approval"], "id");
    let refused = anna(&format!("/api/v1/approvals/{id}"), once.clone()).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    // What she runs herself, outside a conversation, falls under the same rules.
    let run = |what: &str| {
        anna(
            "/api/v1/skills/ledger",
            json!({ "input": { "what": what } }),
        )
    };
    assert_eq!(run("mine").await.status, 200);
    assert_eq!(run("other").await.status, 403);
}

#[tokio::test]
async fn a_plan_is_approved_whole_in_part_or_not_at_all() {
    let plan = json!({ "steps": [
        { "title": "Write a line", "tool": "ledger", "args": { "what": "planned" } },
        { "title": "Look around", "tool": "shell-run" },
    ] });
    let propose = || call("propose_plan", plan.clone());
    let model = Model::start([
        write("too early"),
        propose(),
        write("planned"),
        say("carried out"),
        propose(),
        say("as you like"),
        propose(),
        call("shell-run", json!({ "command": "true" })),
        say("half"),
    ])
    .await;
    let ask = "approvals:\n  default: ask\n";
    let daemon = daemon(&model, ask).await;
    let mut page = page(&daemon).await;
    let session = page.session.clone();
    let message =
        |id: &str| json!({ "type": "message", "text": "do it", "client_id": id, "plan": true });
    let decide = |approval: &Value, more: Value| {
        let mut frame = json!({ "type": "approval", "approval_id": approval["id"] });
        frame
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        frame
    };
    page.send(message("1")).await;
    // What comes before the plan is refused.
    assert_eq!(page.until("tool.finished").await["status"], "refused");
    let proposed = page.until("plan.proposed").await;
    assert_eq!(proposed["steps"], plan["steps"]);
    assert_eq!(proposed["approval"]["kind"], "plan");
    let tools = &model.requests()[0]["tools"];
    assert_eq!(tools.as_array().unwrap().len(), 1, "{tools}");
    page.send(decide(&proposed["approval"], json!({ "decision": "once" })))
        .await;
    // The rest needs no questions: the plan names the tool.
    let frames = page.all_until("message.completed").await;
    assert!(
        !frames.iter().any(|f| f["type"] == "approval.requested"),
        "{frames:?}"
    );
    assert_eq!(ledger(&daemon, &session), "planned\n");

    page.send(message("2")).await;
    let proposed = page.until("plan.proposed").await;
    let no = json!({ "decision": "deny", "reason": "too much" });
    page.send(decide(&proposed["approval"], no)).await;
    assert_eq!(page.until("message.completed").await["text"], "as you like");
    let told = model.requests().last().unwrap()["messages"].to_string();
    assert!(told.contains("too much"), "{told}");

    page.send(message("3")).await;
    let proposed = page.until("plan.proposed").await;
    let part = json!({ "decision": "once", "steps": [1] });
    page.send(decide(&proposed["approval"], part)).await;
    // The second step was not approved: its tool asks.
    let asked = page.until("approval.requested").await;
    assert_eq!(asked["approval"]["tool"], "shell-run");
    let told = model.requests().last().unwrap()["messages"].to_string();
    assert!(told.contains("only these steps"), "{told}");
}

#[tokio::test]
async fn a_rule_denies_with_its_reason_and_a_skill_asks_for_itself() {
    let model = Model::start([
        write("no"),
        say("not done"),
        call("careful", json!({})),
        say("done"),
    ])
    .await;
    let rules = "approvals:\n  rules:\n    - { skill: ledger, when: { what: 'n*' }, decision: deny, reason: the ledger is closed }\n";
    let daemon = daemon(&model, rules).await;
    let head = "confirm: true\npermissions: [shell]\neffects: [none]\n";
    write_skill(daemon.folder.path(), "careful", head, ("run.sh", LEDGER));
    trust(&daemon.owner(), "careful").await;
    let done = daemon.ask("write it").await;
    assert_eq!(done["reply"], "not done");
    assert_eq!(done["tool_calls"][0]["status"], "refused");
    let told = model.requests().last().unwrap()["messages"].to_string();
    assert!(told.contains("the ledger is closed"), "{told}");
    assert_eq!(ledger(&daemon, &string(&done, "session_id")), "");
    let asked = asks(&daemon, "carefully", None).await;
    let reason = string(&asked["approval"], "reason");
    assert!(
        reason.contains("wants every run to be confirmed"),
        "{reason}"
    );
}
