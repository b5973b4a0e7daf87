//! Who answers when the first does not; skills that think; answers that are kept.

mod skills;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Daemon, eventually,
    model::{Act, Model},
    string,
};

/// A section of a provider that speaks to a scripted server.
pub fn section(name: &str, url: &str, more: &str) -> String {
    format!(
        "    {name}: {{ kind: custom, base_url: '{url}', api_key: sk-the-secret-key-of-the-model, model: m, stall_timeout_sec: 1{more} }}\n"
    )
}

/// `llm` with these keys and providers.
pub fn llm(keys: &str, sections: &[String]) -> String {
    format!(
        "llm:\n  ollama_url: ''\n{keys}  providers:\n{}",
        sections.concat()
    )
}

/// An address at which nothing listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

/// The stages of a message's trace of one kind.
pub async fn stages(daemon: &Daemon, answer: &Value, kind: &str) -> Vec<Value> {
    let path = format!("/api/v1/messages/{}/trace", string(answer, "message_id"));
    let trace = daemon.owner().get(&path).await.ok();
    let all = trace["stages"].as_array().unwrap().clone();
    all.into_iter().filter(|s| s["stage"] == kind).collect()
}

/// The attempts of a message's trace that gave no answer.
pub async fn failed(daemon: &Daemon, answer: &Value) -> Vec<Value> {
    let models = stages(daemon, answer, "model").await;
    let attempts = models.iter().flat_map(|m| {
        let attempts = &m["detail"]["attempts"];
        attempts.as_array().unwrap().clone()
    });
    attempts.filter(|a| a["status"] == "failed").collect()
}

const HALF: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"half an answer\"}}]}\n\n";

#[tokio::test(flavor = "multi_thread")]
async fn however_the_first_fails_the_second_answers_and_the_person_is_told() {
    let limit = json!({ "error": { "message": "slow down", "type": "rate_limit_error" } });
    let ways = [
        (None, "unreachable"),
        (Some(Act::Silent), "down"),
        (Some(Act::Stall), "down"),
        (Some(Act::Status(500, "oops".to_owned())), "down"),
        (Some(Act::Status(429, limit.to_string())), "rate_limited"),
        (Some(Act::Raw(HALF.to_owned())), "down"),
        (Some(Act::Status(401, "no".to_owned())), "credentials"),
    ];
    for (act, word) in ways {
        let shown = format!("{act:?}");
        let first = match act {
            Some(act) => Some(Model::start([act]).await),
            None => None,
        };
        let url = match &first {
            Some(model) => model.url.clone(),
            None => nobody().await,
        };
        let second = Model::start([Act::Say("from the second".to_owned())]).await;
        let config = llm(
            "  tasks: { chat: [first, second/big] }\n",
            &[
                section("first", &url, ""),
                section("second", &second.url, ""),
            ],
        );
        let daemon = Daemon::with(&config).await;
        let mut page = daemon.socket("new", None).await;
        page.say("hello", "c1").await;
        let frames = page.all_until("message.completed").await;
        let done = frames.last().unwrap();
        assert_eq!(done["text"], "from the second", "{shown}");
        assert_eq!(
            (&done["provider"], &done["model"]),
            (&json!("second"), &json!("big"))
        );

        // What was shown of the first is taken back before the second says anything.
        let mut draft = String::new();
        for frame in &frames {
            match frame["type"].as_str().unwrap() {
                "text.delta" => draft.push_str(frame["text"].as_str().unwrap()),
                "text.reset" => draft.clear(),
                _ => {}
            }
        }
        assert_eq!(draft, "from the second", "{shown}: {frames:?}");
        let notice = frames.iter().find(|f| f["code"] == "fallback");
        let notice = string(
            notice.unwrap_or_else(|| panic!("{shown}: {frames:?}")),
            "text",
        );
        assert!(
            notice.contains("`first/m` failed") && notice.contains("`second/big`"),
            "{notice}"
        );

        // The trace has every attempt, with its time, word and model; who comes later sees the notice.
        let accepted = frames
            .iter()
            .find(|f| f["type"] == "message.accepted")
            .unwrap();
        let attempts = failed(&daemon, accepted).await;
        assert!(!attempts.is_empty(), "{shown}");
        for attempt in &attempts {
            assert_eq!(
                (&attempt["provider"], &attempt["model"], &attempt["error"]),
                (&json!("first"), &json!("m"), &json!(word))
            );
            let text = string(attempt, "detail");
            assert!(text.contains("first"), "{shown}: {text}");
            assert!(string(attempt, "started_at") <= string(attempt, "at"));
        }
        let models = stages(&daemon, accepted, "model").await;
        assert_eq!(
            (models.len(), &models[0]["name"]),
            (1, &json!("second/big"))
        );
        let session = page.session.clone();
        let later = daemon
            .socket(&session, Some(0))
            .await
            .all_until("message.completed")
            .await;
        assert!(later.iter().any(|f| f["code"] == "fallback"), "{later:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_again_and_again_is_left_alone_and_asked_after_a_reset() {
    let first = Model::start([Act::Status(401, "no".to_owned())]).await;
    let second = Model::start([Act::Say("from the second".to_owned())]).await;
    let config = llm(
        "  default_provider: first\n  fallback: [second]\n  breaker: { failures: 2, open: 1h, max_open: 2h }\n",
        &[
            section("first", &first.url, ""),
            section("second", &second.url, ""),
        ],
    );
    let daemon = Daemon::with(&config).await;
    for _ in 0..4 {
        assert_eq!(string(&daemon.ask("hello").await, "provider"), "second");
    }
    assert_eq!(first.requests().len(), 2, "then it was left alone");
    let owner = daemon.owner();
    let listed = owner.get("/api/v1/providers").await.ok();
    let circuit = &listed["providers"][0]["circuits"][0];
    assert_eq!(
        (&circuit["class"], &circuit["state"]),
        (&json!("auth"), &json!("open"))
    );
    assert!(circuit["retry_in_s"].as_u64().unwrap() > 3000, "{listed}");
    let metrics = owner.get("/metrics").await.body;
    let line = "nexflow_provider_circuit{provider=\"first\",model=\"m\",class=\"auth\"} 2";
    assert!(metrics.contains(line), "{metrics}");
    let doctor = daemon.cli(&["doctor"]).await;
    let doctor = crate::support::text(&doctor.stdout);
    assert!(
        doctor.contains("left alone") && doctor.contains("nexflow provider reset first"),
        "{doctor}"
    );

    let status = owner.get("/api/v1/status").await.ok();
    assert!(
        status["warnings"]
            .to_string()
            .contains("`first` is left alone"),
        "for the page: {status}"
    );

    let answer = daemon.ask("hello").await;
    let told = failed(&daemon, &answer).await;
    assert!(told.is_empty(), "nothing was tried in vain: {told:?}");
    daemon.cli_ok(&["provider", "reset", "first"]).await;
    daemon.ask("hello").await;
    assert_eq!(first.requests().len(), 3, "asked again at once");
    let wrong = owner.post("/api/v1/providers/frist/reset", json!({})).await;
    assert_eq!(
        (wrong.status, wrong.error().as_str()),
        (404, "PROVIDER_NOT_FOUND")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_provider_is_asked_again_when_it_is_back() {
    let model = Model::start([
        Act::Status(500, "oops".to_owned()),
        Act::Status(500, "oops".to_owned()),
        Act::Status(500, "oops".to_owned()),
        Act::Say("back".to_owned()),
    ])
    .await;
    let config = llm(
        "  default_provider: only\n  breaker: { failures: 2, open: 1h, max_open: 2h }\n",
        &[section("only", &model.url, "")],
    );
    let daemon = Daemon::with(&config).await;
    assert_eq!(string(&daemon.ask("hello").await, "status"), "failed");
    let answer = daemon.ask("hello again").await;
    assert_eq!(
        string(&answer, "reply"),
        "back",
        "nobody else is left: it is tried before its time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_share_a_provider_that_takes_one_call_at_a_time() {
    let slow = Act::Slowly("one two three".to_owned(), Duration::from_millis(100));
    let model = Model::start([slow]).await;
    let config = llm(
        "  default_provider: narrow\n",
        &[section("narrow", &model.url, ", max_concurrent: 1")],
    );
    let daemon = Daemon::with(&config).await;
    let ask = || daemon.ask("hello");
    let answers = async { tokio::join!(ask(), ask(), ask(), ask()) };
    let watch = async {
        let mut most = (0, 0);
        for _ in 0..40 {
            let state = &daemon.owner().get("/api/v1/providers").await.ok()["providers"][0];
            let count = |key: &str| state[key].as_u64().unwrap();
            most = (most.0.max(count("running")), most.1.max(count("waiting")));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        most
    };
    let ((a, b, c, d), most) = tokio::join!(answers, watch);
    for answer in [a, b, c, d] {
        assert_eq!(string(&answer, "reply"), "one two three");
    }
    assert_eq!(most.0, 1, "never two side by side");
    assert!(most.1 >= 2, "others waited: {most:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_waits_for_its_place_can_be_stopped() {
    let slow = Act::Slowly(
        "one two three four five".to_owned(),
        Duration::from_millis(300),
    );
    let model = Model::start([slow]).await;
    let config = llm(
        "  default_provider: narrow\n",
        &[section("narrow", &model.url, ", max_concurrent: 1")],
    );
    let daemon = Daemon::with(&config).await;
    let mut first = daemon.socket("new", None).await;
    first.say("hello", "c1").await;
    first.until("text.delta").await;
    let mut second = daemon.socket("new", None).await;
    second.say("hello", "c1").await;
    let started = second.until("turn.started").await;
    let turn = string(&started, "turn_id");
    let owner = daemon.owner();
    eventually("it waits for its place", || async {
        owner.get("/api/v1/providers").await.ok()["providers"][0]["waiting"] == 1
    })
    .await;
    second
        .send(json!({ "type": "cancel", "turn_id": turn }))
        .await;
    let done = second.until("message.completed").await;
    assert_eq!(done["status"], "cancelled");
    assert_eq!(first.until("message.completed").await["status"], "ok");
    assert_eq!(model.requests().len(), 1, "the stopped one was never made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_a_conversation_and_a_message_choose_their_model() {
    let models = [
        Model::start([]).await,
        Model::start([]).await,
        Model::start([]).await,
    ];
    let names = ["a", "b", "c"];
    let sections: Vec<String> = names
        .iter()
        .zip(&models)
        .map(|(name, model)| section(name, &model.url, ""))
        .collect();
    let daemon = Daemon::with(&llm("  default_provider: a\n", &sections)).await;
    let owner = daemon.owner();
    let session = string(&daemon.ask("hello").await, "session_id");
    let ask = |model: Option<&'static str>| {
        let message = json!({ "message": "hello", "session_id": session, "model": model });
        let owner = owner.clone();
        async move {
            let answer = owner.post("/api/v1/chat", message).await.ok();
            format!(
                "{}/{}",
                string(&answer, "provider"),
                string(&answer, "model")
            )
        }
    };
    let command = |text: &'static str| {
        let message = json!({ "message": text, "session_id": session });
        let owner = owner.clone();
        async move { string(&owner.post("/api/v1/chat", message).await.ok(), "reply") }
    };
    assert_eq!(ask(None).await, "a/m");
    let list = command("/model").await;
    for name in ["a/m", "b/m", "c/m"] {
        assert!(list.contains(name), "{list}");
    }
    assert!(command("/model b").await.contains("b/m"));
    assert_eq!(ask(None).await, "b/m", "the person's");
    command("/model here c/large").await;
    assert_eq!(
        ask(None).await,
        "c/large",
        "the conversation's goes before it"
    );
    assert_eq!(
        ask(Some("a/tiny")).await,
        "a/tiny",
        "and the message's before that"
    );
    let other = daemon.ask("hello").await;
    assert_eq!(string(&other, "provider"), "b", "in another conversation");
    let wrong = command("/model bb").await;
    assert!(wrong.contains("no provider `bb`"), "{wrong}");
    assert_eq!(ask(None).await, "c/large", "a wrong name changes nothing");
    command("/model here auto").await;
    let patch = |path: &'static str, body: Value| {
        let request = owner.request("PATCH", path).json(&body);
        let owner = owner.clone();
        async move { owner.send(request).await }
    };
    let path = "/api/v1/users/me/preferences";
    assert_eq!(owner.get(path).await.ok()["model"], "b");
    patch(path, json!({ "model": "c" })).await.ok();
    assert_eq!(ask(None).await, "c/m");
    assert_eq!(
        patch(path, json!({ "model": "nobody" })).await.error(),
        "NO_SUCH_MODEL"
    );
    patch(path, json!({ "model": null })).await.ok();
    assert_eq!(ask(None).await, "a/m");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tries_each_provider_only_when_it_is_asked_to() {
    let call = Act::Call(vec![("ping".to_owned(), json!({}))]);
    let good = Model::start([Act::Say("one two three".to_owned()), call]).await;
    let missing = json!({ "error": { "message": "The model `m` does not exist", "type": "invalid_request_error" } });
    let lacks = Model::start([Act::Status(404, missing.to_string())]).await;
    let config = llm(
        "  default_provider: good\n",
        &[
            section("good", &good.url, ""),
            section("gone", &nobody().await, ""),
            section("lacks", &lacks.url, ""),
        ],
    );
    let daemon = Daemon::with(&config).await;
    daemon.cli(&["doctor"]).await;
    assert_eq!(
        good.requests().len(),
        0,
        "it costs nothing unless it is asked for"
    );
    let told = daemon.cli(&["doctor", "--probe"]).await;
    assert_eq!(told.status.code(), Some(1), "something needs mending");
    let told = crate::support::text(&told.stdout);
    for line in [
        "good streaming: the answer came in 3 pieces",
        "good tools: it calls tools",
        "correct llm.providers.gone.base_url",
        "lacks auth: it takes our key",
        "set llm.providers.lacks.model to a model that it has, such as `scripted`",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert_eq!(good.requests().len(), 2);
    let one = daemon
        .cli_ok(&["provider", "probe", "good", "--json"])
        .await;
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["probes"][0]["usage"]["output_tokens"], 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_in_a_list_is_told_at_the_start() {
    let config = llm(
        "  tasks: { chat: [frist, first/x], sumarise: [first] }\n",
        &[section("first", "http://127.0.0.1:1", "")],
    );
    let daemon = Daemon::with(&config).await;
    let told = daemon.cli(&["config", "check"]).await;
    let told = crate::support::text(&told.stdout) + &crate::support::text(&told.stderr);
    for text in [
        "there is no provider `frist`",
        "did you mean `first`",
        "llm.tasks.sumarise",
        "did you mean `summarise`",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
}
