//! Money: no call without a reservation, no limit is passed, and what is shown is what the provider
//! counted.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Daemon, eventually,
    model::{Act, Model},
    string,
};

/// Dollars per million tokens, read and written.
const PRICE: (i128, i128) = (1, 2);

/// A configuration in which the scripted model costs something.
fn priced(model: &Model, more: &str) -> String {
    let (input, output) = PRICE;
    let prices = format!(
        "  prices: {{ scripted: {{ input_per_mtok: '{input}', output_per_mtok: '{output}' }} }}\n"
    );
    let llm = model.config();
    format!(
        "{}{more}",
        llm.replacen("llm:\n", &format!("llm:\n{prices}"), 1)
    )
}

/// What the model server itself makes of its count, in billionths of a dollar.
fn billed(model: &Model) -> i128 {
    let cost = |(read, written): (u64, u64)| {
        (i128::from(read) * PRICE.0 + i128::from(written) * PRICE.1) * 1000
    };
    model.counted().into_iter().map(cost).sum()
}

/// The exact total of what the daemon counted, in billionths of a dollar.
async fn counted(daemon: &Daemon) -> i128 {
    let usage = daemon.owner().get("/api/v1/usage?by=model").await.ok();
    nano(usage["total"]["cost"].as_str().unwrap())
}

fn nano(decimal: &str) -> i128 {
    let (whole, part) = decimal.split_once('.').unwrap();
    format!("{whole}{part:0<9}").parse().unwrap()
}

async fn usage(daemon: &Daemon) -> Value {
    daemon.owner().get("/api/v1/usage?by=model").await.ok()
}

/// The attempts of all model steps of a message.
async fn attempts(daemon: &Daemon, message: &str) -> Vec<Value> {
    let path = format!("/api/v1/messages/{message}/trace");
    let trace = daemon.owner().get(&path).await.ok();
    let stages = trace["stages"].as_array().unwrap().iter();
    let models = stages.filter(|stage| stage["stage"] == "model");
    models
        .flat_map(|stage| stage["detail"]["attempts"].as_array().unwrap().clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_turns_at_once_never_pass_a_hard_limit_and_reminders_still_fire() {
    let model = Model::start([Act::Write(400)]).await;
    let config = priced(&model, "budgets: { hard: '0.05', period: total }\n");
    let daemon = Daemon::with(&config).await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..100 {
        let owner = daemon.owner();
        asking.spawn(async move {
            let message = json!({ "message": format!("speak, number {n}") });
            owner.post("/api/v1/chat", message).await
        });
    }
    let (mut answered, mut refused) = (0, 0);
    while let Some(reply) = asking.join_next().await {
        let reply = reply.unwrap();
        if reply.status == 200 {
            answered += 1;
            continue;
        }
        assert_eq!(
            (reply.status, reply.error().as_str()),
            (402, "BUDGET"),
            "{}",
            reply.body
        );
        let text = string(&reply.json()["error"], "message");
        for part in ["0.05 USD", "reminders", "/help"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        refused += 1;
    }
    assert!(
        answered > 0 && refused > 0,
        "{answered} answered, {refused} refused"
    );
    // Calls at once kept some of it free for each other: use that up too, down to the last short answer.
    let mut more = 0;
    while daemon
        .owner()
        .post("/api/v1/chat", json!({ "message": "speak" }))
        .await
        .status
        == 200
    {
        more += 1;
        assert!(more < 60, "the limit does not hold");
    }
    assert_eq!(model.counted().len(), answered + more);
    let spent = billed(&model);
    assert!(spent <= 50_000_000, "{spent} billionths were spent");
    assert!(spent > 40_000_000, "{spent}: most of it could not be used");
    assert_eq!(counted(&daemon).await, spent);
    assert_eq!(usage(&daemon).await["running"]["calls"], 0);

    // What needs no model goes on.
    let mut page = daemon.socket("new", None).await;
    page.say("remind me in 1 second to stretch", "c1").await;
    let seen = page.all_until("message.completed").await;
    assert!(seen.iter().any(|f| f["code"] == "budget"), "{seen:?}");
    let reminder = page.until("message.completed").await;
    assert!(string(&reminder, "text").contains("stretch"), "{reminder}");
    assert_eq!(billed(&model), spent);
}

#[tokio::test]
async fn every_attempt_is_in_the_trace_with_its_cost_and_they_add_up() {
    let half =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"four words are here\"}}]}\n\n";
    let model = Model::start([
        Act::Status(500, "no".to_owned()),
        Act::Write(50),
        Act::Raw(half.to_owned()),
        Act::Write(60),
    ])
    .await;
    let daemon = Daemon::with(&priced(&model, "")).await;
    let first = daemon.ask("one").await;
    let tried = attempts(&daemon, &string(&first, "message_id")).await;
    assert_eq!(tried.len(), 2, "{tried:?}");
    let row = |n: usize| (tried[n]["attempt"].clone(), tried[n]["status"].clone());
    assert_eq!(row(0), (json!(1), json!("failed")));
    assert_eq!(row(1), (json!(2), json!("ok")));
    // It refused at once: that costs nothing.
    assert_eq!(tried[0]["cost_usd"], 0.0);
    assert_eq!(tried[0]["error"], "down");
    assert_eq!(tried[1]["usage"]["output_tokens"], 50);
    assert_eq!(tried[1]["price_source"], "configuration");
    let [(read, written)] = model.counted()[..] else {
        panic!("{:?}", model.counted())
    };
    assert_eq!(first["usage"]["input_tokens"], read);
    assert_eq!(first["usage"]["output_tokens"], written);
    assert_eq!(counted(&daemon).await, billed(&model));

    // Cut in the middle: what was read and written by then is charged, as an estimate.
    let reply = daemon
        .owner()
        .post("/api/v1/chat", json!({ "message": "two" }))
        .await
        .ok();
    let tried = attempts(&daemon, &string(&reply, "message_id")).await;
    assert_eq!(tried[0]["status"], "failed", "{tried:?}");
    assert_eq!(tried[0]["usage"]["estimated"], true);
    assert_eq!(tried[0]["usage"]["output_tokens"], 5);
    assert!(tried[0]["usage"]["input_tokens"].as_u64().unwrap() > 500);
    assert!(tried[0]["cost_usd"].as_f64().unwrap() > 0.0);
    let shown = daemon
        .cli_ok(&["trace", reply["message_id"].as_str().unwrap()])
        .await;
    assert!(shown.contains("try 1 custom/scripted: failed"), "{shown}");
    assert!(shown.contains("USD, estimated"), "{shown}");
    assert_eq!(usage(&daemon).await["running"]["calls"], 0);
}

#[tokio::test]
async fn a_stopped_call_is_charged_for_what_was_asked_and_heard() {
    let model = Model::start([Act::Stall]).await;
    let daemon = Daemon::with(&priced(&model, "")).await;
    let mut page = daemon.socket("new", None).await;
    page.say("speak", "c1").await;
    let seen = page.until("text.delta").await;
    let running = usage(&daemon).await["running"].clone();
    assert_eq!(running["calls"], 1);
    assert!(
        running["reserved_usd"].as_f64().unwrap() > 0.008,
        "{running}"
    );
    page.send(json!({ "type": "cancel", "turn_id": seen["turn_id"] }))
        .await;
    let done = page.until("message.completed").await;
    assert_eq!(done["status"], "cancelled");
    assert_eq!(done["usage"]["estimated"], true);
    assert_eq!(done["usage"]["output_tokens"], 1);
    let after = usage(&daemon).await;
    assert_eq!(after["running"]["calls"], 0);
    assert_eq!(after["usage"][0]["failed"], 1);
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_kill_between_reservation_and_answer_leaves_nothing_open() {
    // Before the provider is asked, and after it answered.
    for (point, asked) in [("money.reserved", 0), ("model.answered", 1)] {
        let model = Model::start([Act::Write(50)]).await;
        let mut daemon = Daemon::with(&priced(&model, "budgets: { hard: '1' }\n")).await;
        daemon.kill();
        daemon.environment = vec![("NEXFLOW_FAILPOINT".to_owned(), point.to_owned())];
        daemon.launch().await;
        let mut page = daemon.socket("new", None).await;
        let session = page.session.clone();
        page.say("speak", "c1").await;
        eventually("the daemon dies", || {
            std::future::ready(daemon.ended().is_some())
        })
        .await;
        assert_eq!(model.counted().len(), asked, "{point}");
        daemon.environment.clear();
        daemon.launch().await;
        let mut page = daemon.socket(&session, Some(0)).await;
        let done = page.until("message.completed").await;
        assert_eq!(done["status"], "ok");
        let after = usage(&daemon).await;
        assert_eq!(after["running"]["calls"], 0, "{after}");
        let models = &after["usage"][0];
        assert_eq!(
            (&models["calls"], &models["failed"]),
            (&json!(2), &json!(1)),
            "{point}"
        );
        // The lost one is charged in full, because nobody knows: never less than the provider does.
        assert!(counted(&daemon).await >= billed(&model), "{point}");
        assert!(counted(&daemon).await > 4096 * PRICE.1 * 1000, "{point}");
        let budget = &after["budgets"][0];
        assert_eq!(budget["reserved_usd"], 0.0);
        assert_eq!(budget["spent_usd"], after["total"]["cost_usd"]);
    }
}

#[tokio::test]
async fn a_soft_limit_is_told_and_an_answer_is_made_shorter_to_fit() {
    // Some 3,000 tokens in and 4,096 out are reserved at 0.011, of which an answer uses a third.
    let model = Model::start([Act::Write(300)]).await;
    let config = priced(
        &model,
        "budgets: { per_session: { hard: '0.03', soft: '0.006' } }\n",
    );
    let daemon = Daemon::with(&config).await;
    let mut page = daemon.socket("new", None).await;
    let (mut notices, mut limits, mut n) = (Vec::new(), Vec::new(), 0);
    let last = loop {
        n += 1;
        page.say("speak", &format!("c{n}")).await;
        let frame = loop {
            let frame = page.next().await.unwrap();
            match frame["type"].as_str().unwrap() {
                "notice" => notices.push(frame),
                "message.completed" | "turn.failed" => break frame,
                _ => {}
            }
        };
        if frame["type"] == "turn.failed" {
            break frame;
        }
        let request = model.requests().pop().unwrap();
        let limit = request
            .get("max_tokens")
            .or(request.get("max_completion_tokens"));
        limits.push(limit.and_then(Value::as_u64).unwrap());
        assert!(n < 20, "the limit does not hold");
    };
    assert_eq!(last["error"]["code"], "BUDGET");
    assert!(
        string(&last, "text").contains("for this conversation"),
        "{last}"
    );
    let soft: Vec<_> = notices
        .iter()
        .filter(|f| f["code"] == "budget_soft")
        .collect();
    assert_eq!(soft.len(), 1, "{notices:?}");
    assert_eq!(limits[0], 4096);
    assert!(limits.last().unwrap() < &4096, "{limits:?}");
    assert!(limits.iter().all(|limit| *limit >= 256), "{limits:?}");
    assert!(billed(&model) <= 30_000_000);
    // Another conversation has a limit of its own.
    assert_eq!(daemon.ask("speak").await["status"], "ok");
}

#[tokio::test]
async fn an_unknown_price_counts_as_a_ceiling_and_is_told_once() {
    let model = Model::start([Act::Write(10)]).await;
    // This address is not counted as this machine.
    let config = model.config().replace("127.0.0.1", "0.0.0.0");
    let daemon = Daemon::with(&config).await;
    let mut page = daemon.socket("new", None).await;
    for (n, told) in [(1, 1), (2, 0)] {
        page.say("speak", &format!("c{n}")).await;
        let frames = page.all_until("message.completed").await;
        let notices = frames.iter().filter(|f| f["code"] == "price_unknown");
        assert_eq!(notices.count(), told, "{frames:?}");
        let used = &frames.last().unwrap()["usage"];
        assert_eq!(used["estimated"], true);
        // 10 tokens out at 150 dollars for a million, besides what was read.
        assert!(used["cost_usd"].as_f64().unwrap() > 0.0015, "{used}");
    }
    let shown = daemon.cli_ok(&["usage", "--by", "model"]).await;
    assert!(
        shown.contains("The price of 2 calls is not known"),
        "{shown}"
    );
    // On this machine it costs nothing.
    let free = Daemon::with(&model.config()).await;
    let answer = free.ask("speak").await;
    assert_eq!(answer["usage"]["cost_usd"], 0.0);
    assert_eq!(answer["usage"]["estimated"], false);
}

#[tokio::test]
async fn an_estimate_comes_before_the_call_and_asks_nobody() {
    let model = Model::start([Act::Write(40)]).await;
    let budgets = "budgets: { hard: '1', per_user: { hard: '0.5', period: day } }\n";
    let daemon = Daemon::with(&priced(&model, budgets)).await;
    let owner = daemon.owner();
    let estimate = async |body: Value| owner.post("/api/v1/estimate", body).await.ok();
    let new = estimate(json!({ "message": "how is the weather?" })).await;
    assert!(model.requests().is_empty());
    assert_eq!(new["max_output_tokens"], 4096);
    assert_eq!(new["price"]["source"], "configuration");
    assert_eq!(new["budget"].as_array().unwrap().len(), 2, "{new}");
    assert_eq!(new["budget"][0]["scope"], "user");
    assert_eq!(new["budget"][1]["left_usd"], 1.0);
    let (cost, most) = (
        new["cost_usd"].as_f64().unwrap(),
        new["max_cost_usd"].as_f64().unwrap(),
    );
    assert!(0.0 < cost && cost < most, "{new}");

    // It is near what is counted, and once something was said, nearer.
    let said = daemon.ask("how is the weather?").await;
    let read = said["usage"]["input_tokens"].as_u64().unwrap();
    let guessed = new["input_tokens"].as_u64().unwrap();
    assert!(
        (read * 6 / 10..read * 16 / 10).contains(&guessed),
        "{guessed} for {read}"
    );
    let session = string(&said, "session_id");
    let again = estimate(json!({ "message": "and tomorrow?", "session_id": session })).await;
    // What was read and written before, and four tokens more.
    assert_eq!(again["input_tokens"], read + 40 + 4);

    let command = estimate(json!({ "message": "/help" })).await;
    assert_eq!(
        (&command["free"], &command["cost_usd"]),
        (&json!(true), &json!(0.0))
    );
    let picture = json!([{ "name": "a.png", "media_type": "image/png", "data": "" }]);
    let seen = estimate(json!({ "message": "how is the weather?", "attachments": picture })).await;
    assert_eq!(
        seen["input_tokens"].as_u64().unwrap(),
        new["input_tokens"].as_u64().unwrap() + 1600
    );
    let nobody = owner
        .post(
            "/api/v1/estimate",
            json!({ "message": "x", "model": "nobody" }),
        )
        .await;
    assert_eq!(
        (nobody.status, nobody.error().as_str()),
        (404, "NO_SUCH_MODEL")
    );
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test]
async fn usage_is_shown_by_everything_as_bars_csv_and_metrics() {
    let model = Model::start([Act::Write(30)]).await;
    let budgets = "budgets: { hard: '1', per_channel: { hard: '0.5' } }\n";
    let daemon = Daemon::with(&priced(&model, budgets)).await;
    let session = string(&daemon.ask("speak").await, "session_id");
    let owner = daemon.owner();
    let name = owner.get("/api/v1/status").await.ok()["user"]["name"].clone();
    for (by, key) in [
        ("model", "custom/scripted"),
        ("agent", "default"),
        ("session", &session),
        ("channel", "cli"),
    ] {
        let usage = owner.get(&format!("/api/v1/usage?by={by}")).await.ok();
        assert_eq!(usage["usage"][0]["key"], key, "{usage}");
        assert_eq!(
            nano(usage["usage"][0]["cost"].as_str().unwrap()),
            billed(&model)
        );
    }
    let users = owner.get("/api/v1/usage?by=user").await.ok();
    assert_eq!(users["usage"][0]["name"], name);
    assert_eq!(users["budgets"][0]["scope"], "channel");
    assert_eq!(users["budgets"][1]["scope"], "all");
    assert!(users["budgets"][1]["resets_at"].is_string());
    let wrong = owner.get("/api/v1/usage?by=colour").await;
    assert_eq!((wrong.status, wrong.error().as_str()), (400, "BAD_REQUEST"));
    let later = owner.get("/api/v1/usage?since=2999-01-01").await.ok();
    assert_eq!(later["usage"], json!([]));

    let shown = daemon.cli_ok(&["usage"]).await;
    assert!(
        shown.contains("████████████████████████") && shown.contains("left"),
        "{shown}"
    );
    let csv = daemon.cli_ok(&["usage", "--by", "model", "--csv"]).await;
    let row: Vec<&str> = csv.lines().nth(1).unwrap().split(',').collect();
    assert_eq!((row[0], row[2]), ("custom/scripted", "1"));
    assert_eq!(nano(row[7]), billed(&model));
    let metrics = daemon.stranger().get("/metrics").await.body;
    for line in [
        "nexflow_model_calls{provider=\"custom\",model=\"scripted\"} 1",
        "nexflow_model_tokens{provider=\"custom\",model=\"scripted\",kind=\"output\"} 30",
        "nexflow_budget_left_usd{scope=\"all\",period=\"month\"} 0.99",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_schedule_pays_for_its_own_and_has_a_limit_of_its_own() {
    let model = Model::start([Act::Write(30)]).await;
    let daemon = Daemon::with(&priced(
        &model,
        "budgets: { per_schedule: { hard: '0.012' } }\n",
    ))
    .await;
    let owner = daemon.owner();
    let job = json!({ "when": "in 1 second", "prompt": "speak" });
    let made = owner.post("/api/v1/schedules", job).await.ok();
    let id = string(&made, "id");
    let spent = async || {
        let usage = owner.get("/api/v1/usage?by=schedule").await.ok();
        (usage["usage"][0].clone(), usage["budgets"][0].clone())
    };
    eventually("the schedule is billed", || async {
        spent().await.0["key"] == *id
    })
    .await;
    let (line, budget) = spent().await;
    assert_eq!(nano(line["cost"].as_str().unwrap()), billed(&model));
    assert_eq!(
        (&budget["scope"], &budget["key"]),
        (&json!("schedule"), &json!(id))
    );
    // Its limit is no limit of what a person says.
    assert_eq!(daemon.ask("speak").await["status"], "ok");
    assert_eq!(spent().await.0["calls"], 1);
}

#[tokio::test]
async fn a_budget_that_was_not_understood_lets_no_money_out() {
    let model = Model::start([Act::Write(10)]).await;
    let config = priced(&model, "budgets:\n  period: month\n  hard: lots\n");
    let daemon = Daemon::with(&config).await;
    let checked = daemon.cli(&["config", "check"]).await;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr)
    );
    let line = std::fs::read_to_string(daemon.path("config.yml"))
        .unwrap()
        .lines()
        .position(|line| line.contains("hard: lots"))
        .unwrap();
    for part in [
        "budgets.hard",
        &format!("line {}", line + 1),
        "`lots` is not an amount",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let reply = daemon
        .owner()
        .post("/api/v1/chat", json!({ "message": "speak" }))
        .await;
    assert_eq!((reply.status, reply.error().as_str()), (402, "BUDGET"));
    assert!(model.requests().is_empty());
    // Mended, it goes on without a restart.
    daemon.configure(&priced(&model, "budgets: { hard: '1' }\n"));
    eventually("the model is asked", || async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let message = json!({ "message": "speak" });
        daemon.owner().post("/api/v1/chat", message).await.status == 200
    })
    .await;
}
