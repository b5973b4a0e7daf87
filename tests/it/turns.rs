//! What a message does that comes while a turn runs, and what ends turns.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Daemon, Socket, eventually,
    model::{Act, Model},
    string,
};

fn slowly(words: usize) -> Act {
    Act::Slowly("word ".repeat(words), Duration::from_millis(50))
}

fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

fn shell(command: &str) -> Act {
    Act::Call(vec![(
        "shell-run".to_owned(),
        json!({ "command": command }),
    )])
}

async fn say_as(page: &mut Socket, text: &str, id: &str, mode: &str) {
    page.send(json!({ "type": "message", "text": text, "client_id": id, "mode": mode }))
        .await;
}

/// Frames until so many turns ended.
async fn turns(page: &mut Socket, count: usize) -> Vec<Value> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.extend(page.all_until("message.completed").await);
    }
    seen
}

fn of(frames: &[Value], kind: &str) -> Vec<Value> {
    frames
        .iter()
        .filter(|f| f["type"] == kind)
        .cloned()
        .collect()
}

/// The session's messages: who, how it stands, what.
async fn said(daemon: &Daemon, session: &str) -> Vec<(String, String, String)> {
    let path = format!("/api/v1/sessions/{session}/messages");
    let all = daemon.owner().get(&path).await.ok();
    let all = all["messages"].as_array().unwrap().iter();
    all.map(|m| (string(m, "role"), string(m, "status"), string(m, "text")))
        .collect()
}

#[tokio::test]
async fn messages_that_come_while_a_turn_runs_are_answered_together() {
    let model = Model::start([slowly(40), say("to both")]).await;
    let daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    page.say("first", "c1").await;
    page.until("text.delta").await;
    page.say("second", "c2").await;
    // Whoever asked through the API gets the answer of the turn that it joined.
    let (owner, stranger) = (daemon.owner(), daemon.stranger());
    let token = daemon
        .cli_ok(&["token", "create", "--name", "api", "--role", "owner"])
        .await;
    let asking = stranger
        .request("POST", "/api/v1/chat")
        .bearer_auth(token.trim())
        .json(&json!({ "message": "third", "session_id": page.session }));
    let third = stranger.send(asking).await.ok();
    assert_eq!(third["reply"], "to both");
    let frames = turns(&mut page, 2).await;
    assert_eq!(of(&frames, "turn.started").len(), 1, "{frames:?}");
    let joined = of(&frames, "message.joined");
    assert_eq!(joined.len(), 1);
    assert_eq!(joined[0]["turn_id"], third["turn_id"]);
    let asked = model.requests();
    assert_eq!(asked.len(), 2);
    let last = asked[1]["messages"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .to_string();
    assert!(last.contains("second") && last.contains("third"), "{last}");
    // The first exchange is told before, in its order.
    let told = asked[1]["messages"].to_string();
    let at = |word: &str| {
        told.find(word)
            .unwrap_or_else(|| panic!("no {word}: {told}"))
    };
    assert!(at("first") < at("word word") && at("word word") < at("second"));
    let all = said(&daemon, &page.session).await;
    assert!(all.iter().all(|(_, status, _)| status == "ok"), "{all:?}");
    assert_eq!(
        all.iter().filter(|(role, ..)| role == "assistant").count(),
        2
    );
    // What joined is traced as the turn that answered it.
    let path = format!(
        "/api/v1/messages/{}/trace",
        string(&joined[0], "message_id")
    );
    assert_eq!(owner.get(&path).await.ok()["turn_id"], third["turn_id"]);
}

#[tokio::test]
async fn messages_that_want_turns_of_their_own_get_them_in_order() {
    let model = Model::start([slowly(8), say("to two"), say("to three")]).await;
    let daemon = Daemon::with(&format!(
        "{}turns: {{ when_busy: queue }}\n",
        model.config()
    ))
    .await;
    let mut page = daemon.socket("new", None).await;
    page.say("one", "c1").await;
    page.until("text.delta").await;
    page.say("two", "c2").await;
    page.say("three", "c3").await;
    let frames = turns(&mut page, 3).await;
    let texts: Vec<String> = of(&frames, "message.completed")
        .iter()
        .map(|f| string(f, "text"))
        .collect();
    assert_eq!(texts[1..], ["to two", "to three"]);
    assert!(of(&frames, "message.joined").is_empty());
}

#[tokio::test]
async fn a_message_can_join_the_running_turn_and_a_crash_keeps_it() {
    let model = Model::start([
        shell("sleep 1; echo found"),
        slowly(40),
        say("red, as you said"),
    ])
    .await;
    let mut daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    page.say("paint it", "c1").await;
    page.until("tool.started").await;
    say_as(&mut page, "make it red", "c2", "steer").await;
    let joined = page.until("message.joined").await;
    page.until("text.delta").await;
    let session = page.session.clone();
    daemon.kill();
    daemon.launch().await;
    let mut page = daemon.socket(&session, joined["seq"].as_i64()).await;
    let done = page.until("message.completed").await;
    assert_eq!(done["turn_id"], joined["turn_id"]);
    assert_eq!(done["text"], "red, as you said");
    for request in &model.requests()[1..] {
        let messages = request["messages"].as_array().unwrap();
        let roles: Vec<&str> = messages
            .iter()
            .rev()
            .take(3)
            .map(|m| m["role"].as_str().unwrap())
            .collect();
        assert_eq!(roles, ["user", "tool", "assistant"]);
        assert!(messages.last().unwrap().to_string().contains("make it red"));
    }
    assert_eq!(model.requests().len(), 3);
    let all = said(&daemon, &session).await;
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|(_, status, _)| status == "ok"), "{all:?}");
}

#[tokio::test]
async fn a_message_can_end_the_running_turn() {
    let model = Model::start([shell("sleep 20"), say("the new one")]).await;
    let daemon = Daemon::with(&format!(
        "{}turns: {{ when_busy: interrupt }}\n",
        model.config()
    ))
    .await;
    let mut page = daemon.socket("new", None).await;
    page.say("old", "c1").await;
    page.until("tool.started").await;
    let began = Instant::now();
    page.say("new", "c2").await;
    let first = page.until("message.completed").await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(first["status"], "cancelled");
    let text = string(&first, "text");
    assert!(
        text.contains("newer message") && text.contains("`shell-run`"),
        "{text}"
    );
    assert_eq!(page.until("message.completed").await["text"], "the new one");
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test]
async fn an_interruption_that_the_daemon_did_not_live_to_act_on_is_acted_on_after_the_start() {
    let model = Model::start([slowly(100), say("the new one")]).await;
    let mut daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    page.say("old", "c1").await;
    page.until("text.delta").await;
    let session = page.session.clone();
    daemon.kill();
    // In safe mode the message is taken, and no turn runs that it could end.
    let server = "server: { port: 0, safe_mode_after: 1 }\n";
    daemon.configure(&format!("{server}{}", model.config()));
    daemon.launch().await;
    let mut page = daemon.socket(&session, None).await;
    say_as(&mut page, "new", "c2", "interrupt").await;
    page.until("message.accepted").await;
    daemon.cli_ok(&["resume"]).await;
    assert_eq!(page.until("message.completed").await["status"], "cancelled");
    assert_eq!(page.until("message.completed").await["text"], "the new one");
    let all = said(&daemon, &session).await;
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test]
async fn stop_ends_what_runs_and_what_waits_within_a_second_and_says_what_was_done() {
    let model = Model::start([
        shell("echo one"),
        shell("sleep 20; echo late"),
        say("never"),
    ])
    .await;
    let daemon = Daemon::with(&model.config()).await;
    let mut page = daemon.socket("new", None).await;
    page.say("do it", "c1").await;
    page.until("tool.finished").await;
    page.until("tool.started").await;
    page.say("and this", "c2").await;
    page.until("message.accepted").await;
    // The process is there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    page.say("/stop", "c3").await;
    let first = page.until("message.completed").await;
    assert!(
        began.elapsed() < Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    let text = string(&first, "text");
    assert!(text.contains("Done by then: `shell-run`"), "{text}");
    assert!(text.contains("outcome unknown: `shell-run`"), "{text}");
    let second = page.until("message.completed").await;
    assert!(string(&second, "text").contains("Nothing runs"), "{second}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let all = said(&daemon, &page.session).await;
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!(
        all.iter().find(|m| m.2 == "and this").unwrap().1,
        "cancelled"
    );
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test]
async fn a_slow_conversation_delays_no_other() {
    let model = Model::start([slowly(60), say("quick")]).await;
    let daemon = Daemon::with(&model.config()).await;
    let mut slow = daemon.socket("new", None).await;
    slow.say("slow", "c1").await;
    slow.until("text.delta").await;
    let began = Instant::now();
    assert_eq!(daemon.ask("another").await["reply"], "quick");
    assert!(began.elapsed() < Duration::from_secs(2));
    slow.until("message.completed").await;
}

#[tokio::test]
async fn more_conversations_than_places_are_all_answered() {
    let model = Model::start([slowly(4)]).await;
    let config = format!(
        "{}turns: {{ max_parallel: 3, max_parallel_per_user: 2 }}\n",
        model.config()
    );
    let daemon = Daemon::with(&config).await;
    let asked = (0..12).map(|n| {
        let owner = daemon.owner();
        async move {
            let body = json!({ "message": format!("question {n}") });
            owner.post("/api/v1/chat", body).await.ok()
        }
    });
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(|a| a["status"] == "ok"), "{answers:?}");
    let numbers = daemon.owner().get("/api/v1/metrics").await.ok();
    assert_eq!(numbers["turns"], json!({ "running": 0, "waiting": 0 }));
}

#[tokio::test]
async fn going_in_circles_is_ended_with_an_answer_and_a_notice() {
    let read = |path: &str| Act::Call(vec![("file-read".to_owned(), json!({ "path": path }))]);
    let (a, b) = (read("a"), read("b"));
    for (acts, requests, word) in [
        (vec![a.clone()], 4, "same call"),
        (
            vec![a.clone(), b.clone(), a.clone(), b.clone(), a.clone()],
            5,
            "took turns",
        ),
    ] {
        let model = Model::start(acts).await;
        let daemon = Daemon::with(&model.config()).await;
        let mut page = daemon.socket("new", None).await;
        page.say("go", "c1").await;
        let frames = page.all_until("message.completed").await;
        let notices = of(&frames, "notice");
        assert_eq!(notices.len(), 1, "{frames:?}");
        assert_eq!(notices[0]["code"], "loop");
        assert!(string(&notices[0], "text").contains(word), "{notices:?}");
        let asked = model.requests();
        assert_eq!(asked.len(), requests);
        let last = asked.last().unwrap();
        assert!(last["tools"].as_array().is_none_or(Vec::is_empty));
    }
}

#[tokio::test]
async fn a_turn_costs_no_more_than_it_may() {
    let n = std::sync::atomic::AtomicU32::new(0);
    let call = || {
        let n = n.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Act::Call(vec![(
            "recall".to_owned(),
            json!({ "query": format!("x{n}") }),
        )])
    };
    let model = Model::start([call(), call(), call(), call(), say("done")]).await;
    // 100 tokens in and 7 out cost 0.000107 a call.
    let prices = "  prices: { scripted: { input_per_mtok: '1', output_per_mtok: '1' } }\n";
    let llm = model
        .config()
        .replacen("llm:\n", &format!("llm:\n{prices}"), 1);
    let daemon = Daemon::with(&format!("{llm}turns: {{ max_cost_usd: '0.0002' }}\n")).await;
    let mut page = daemon.socket("new", None).await;
    page.say("spend", "c1").await;
    let frames = page.all_until("message.completed").await;
    assert!(string(&of(&frames, "notice")[0], "text").contains("money"));
    assert_eq!(model.requests().len(), 3);
}

#[tokio::test]
async fn without_a_model_every_message_is_a_request_of_its_own() {
    let daemon = Daemon::start().await;
    let mut page = daemon.socket("new", None).await;
    page.say("run `sleep 1`", "c1").await;
    page.until("tool.started").await;
    page.say("remember that my boat is called Ariel", "c2")
        .await;
    page.say("what time is it?", "c3").await;
    let frames = turns(&mut page, 3).await;
    assert!(of(&frames, "message.joined").is_empty());
    let last = string(frames.last().unwrap(), "text");
    assert!(last.contains("UTC"), "{last}");
}

/// Whether a process runs with an argument.
fn runs(argument: &str) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = entries.filter_map(|e| std::fs::read(e.path().join("cmdline")).ok());
    lines.any(|line| {
        line.split(|b| *b == 0)
            .any(|arg| arg == argument.as_bytes())
    })
}

#[tokio::test]
async fn every_door_stops_a_turn_and_all_processes_of_its_skill() {
    let tree = |n: &str| shell(&format!("sh -c 'sleep {n} & sleep {n}' & sleep {n}"));
    let model = Model::start([tree("31.4159"), tree("31.4160")]).await;
    let daemon = Daemon::with(&model.config()).await;
    let owner = daemon.owner();

    // HTTP.
    let mut page = daemon.socket("new", None).await;
    page.say("wait", "c1").await;
    let turn = string(&page.until("tool.started").await, "turn_id");
    eventually("the tree runs", || async { runs("31.4159") }).await;
    let began = Instant::now();
    let path = format!("/api/v1/turns/{turn}");
    assert_eq!(owner.send(owner.request("DELETE", &path)).await.status, 202);
    assert_eq!(page.until("message.completed").await["status"], "cancelled");
    assert!(!runs("31.4159"));
    assert!(
        began.elapsed() < Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    // The answer is shown a moment before the turn has let go of everything.
    eventually("there is nothing left to stop", || async {
        let again = owner.send(owner.request("DELETE", &path)).await;
        again.status == 409 && again.error() == "NOT_RUNNING"
    })
    .await;

    // Ctrl-C in the terminal.
    let mut chat = daemon.command(&["chat", "wait"]);
    chat.stdout(std::process::Stdio::piped());
    let child = chat.spawn().unwrap();
    eventually("the tree runs", || async { runs("31.4160") }).await;
    let began = Instant::now();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let shown = crate::support::text(&ended.await.unwrap().stdout);
    assert!(
        shown.contains("Stopped") && shown.contains("shell-run"),
        "{shown}"
    );
    assert!(!runs("31.4160"));
    assert!(
        began.elapsed() < Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
}
