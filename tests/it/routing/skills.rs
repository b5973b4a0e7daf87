//! Skills that ask a model, in the real sandbox.

use std::time::Duration;

use serde_json::{Value, json};

use super::{llm, section, stages};
use crate::support::{
    Daemon, eventually,
    model::{Act, Model},
    string, write_skill,
};

const BASH: &str = r#"#!/bin/bash
echo '{"id": 7, "method": "llm", "params": {"task": "summarise", "prompt": "Shorten: tok-1234567890-abcdef is a long text", "max_output_tokens": 50}}' >&4
read -r answer <&4
echo "$answer"
"#;

const PYTHON: &str = r#"
import json, os, socket, sys
s = socket.socket(fileno=int(os.environ["NEXFLOW_ABILITIES_FD"]))
f = s.makefile("rw")
answers = []
for call in json.load(sys.stdin)["calls"]:
    f.write(json.dumps({"id": 1, "method": "llm", "params": call}) + "\n")
    f.flush()
    answers.append(json.loads(f.readline()))
print(json.dumps({"answers": answers}))
"#;

/// A daemon with a skill that may ask, and two models: one to talk, one for short work.
struct World {
    daemon: Daemon,
    talks: Model,
    works: Model,
}

impl World {
    async fn new(talks: Vec<Act>, works: Vec<Act>, more: &str) -> Self {
        Self::with((talks, works), (more, "")).await
    }

    /// With more in the section `llm`, and besides it.
    async fn with((talks, works): (Vec<Act>, Vec<Act>), (more, besides): (&str, &str)) -> Self {
        let (talks, works) = (Model::start(talks).await, Model::start(works).await);
        let price = ", price: { input_per_mtok: '10', output_per_mtok: '100' }";
        let config = llm(
            &format!(
                "  tasks: {{ chat: [talks], summarise: [works/small], classify: [works] }}\n{more}"
            ),
            &[
                section("talks", &talks.url, ""),
                section("works", &works.url, price),
            ],
        );
        let config = config
            + besides
            + "skills: { llm_calls: 3, llm_tokens: 600, secrets: { TOKEN: tok-1234567890-abcdef } }\n";
        Self {
            daemon: Daemon::with(&config).await,
            talks,
            works,
        }
    }

    async fn skill(&self, name: &str, permission: &str, script: (&str, &str)) {
        let front = format!(
            "permissions: ['{permission}']\ninput_schema: {{ type: object, properties: {{ calls: {{ type: array }} }} }}\n"
        );
        write_skill(self.daemon.folder.path(), name, &front, script);
        let owner = self.daemon.owner();
        let path = format!("/api/v1/skills/{name}");
        eventually("the skill is found", || async {
            owner.get(&path).await.status == 200
        })
        .await;
        let trust = owner
            .request("PATCH", &path)
            .json(&json!({ "trusted": true }));
        owner.send(trust).await.ok();
    }

    async fn run(&self, name: &str, calls: Value) -> Vec<Value> {
        let path = format!("/api/v1/skills/{name}");
        let input = json!({ "input": { "calls": calls } });
        let ran = self.daemon.owner().post(&path, input).await.ok();
        assert_eq!(ran["status"], "ok", "{ran}");
        ran["output"]["answers"].as_array().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skill_in_bash_asks_the_model_of_its_task_and_its_turn_pays() {
    let call = Act::Call(vec![("shortens".to_owned(), json!({}))]);
    let world = World::new(
        vec![call, Act::Say("done".to_owned())],
        vec![Act::Say("short".to_owned())],
        "",
    )
    .await;
    world
        .skill("shortens", "llm:summarize", ("run.sh", BASH))
        .await;
    let answer = world.daemon.ask("shorten it").await;
    assert_eq!(string(&answer, "reply"), "done");

    let asked = &world.works.requests()[0];
    assert_eq!(
        (&asked["model"], &asked["max_tokens"]),
        (&json!("small"), &json!(50))
    );
    let prompt = asked["messages"][0]["content"].as_str().unwrap();
    assert!(
        prompt.contains("is a long text") && !prompt.contains("tok-1234567890"),
        "{prompt}"
    );
    assert!(asked["tools"].is_null(), "a skill's question has no tools");
    let told = world.talks.requests()[1].to_string();
    assert!(told.contains("short") && told.contains("works"), "{told}");

    // Billed to the turn: 100 tokens in and 7 out of the second model.
    let models = stages(&world.daemon, &answer, "model").await;
    let thought = models
        .iter()
        .find(|s| s["detail"]["purpose"] == "skill:shortens");
    let thought = thought.unwrap_or_else(|| panic!("{models:?}"));
    assert_eq!(
        (&thought["name"], &thought["detail"]["task"]),
        (&json!("works/small"), &json!("summarise"))
    );
    let total = answer["usage"]["input_tokens"].as_u64().unwrap();
    assert_eq!(total, 300, "two steps and a thought: {answer}");
    let usage = world
        .daemon
        .owner()
        .get("/api/v1/usage?by=model")
        .await
        .ok();
    let lines = usage["usage"].as_array().unwrap();
    assert!(
        lines
            .iter()
            .any(|l| l["key"] == "works/small" && l["calls"] == 1),
        "{usage}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_skill_asks_is_reserved_and_the_limit_of_its_turn_holds() {
    let question = json!({ "task": "classify", "prompt": "is it?", "max_output_tokens": 50 });
    let call = Act::Call(vec![(
        "asks".to_owned(),
        json!({ "calls": [question, question] }),
    )]);
    // A question may cost a little more than 0.005, and costs 0.0017: there is room for one.
    let world = World::with(
        (
            vec![call, Act::Say("done".to_owned())],
            vec![Act::Say("yes".to_owned())],
        ),
        ("", "budgets: { per_turn: { hard: '0.006' } }\n"),
    )
    .await;
    world.skill("asks", "llm", ("run.py", PYTHON)).await;
    let answer = world.daemon.ask("ask it").await;
    assert_eq!(
        string(&answer, "reply"),
        "done",
        "what costs nothing goes on"
    );
    assert_eq!(world.works.requests().len(), 1, "the second was not asked");
    let told = world.talks.requests()[1].to_string();
    for text in ["yes", "the budget", "0.006", "0.0017"] {
        assert!(told.contains(text), "{text}: {told}");
    }
    assert_eq!(answer["usage"]["cost_usd"], 0.0017, "{answer}");
    let usage = world.daemon.owner().get("/api/v1/usage").await.ok();
    assert_eq!(usage["total"]["cost_usd"], 0.0017, "{usage}");
    assert_eq!(usage["running"]["calls"], 0, "{usage}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_skill_asked_is_charged_and_does_not_stay_reserved() {
    let question = json!({ "task": "classify", "prompt": "is it?", "max_output_tokens": 50 });
    let call = Act::Call(vec![("asks".to_owned(), json!({ "calls": [question] }))]);
    let slow = Act::Slowly("well it may be".to_owned(), Duration::from_millis(700));
    let world = World::new(vec![call], vec![slow], "").await;
    world.skill("asks", "llm", ("run.py", PYTHON)).await;
    let owner = world.daemon.owner();
    let running = || async { owner.get("/api/v1/usage").await.ok()["running"]["calls"].clone() };
    let mut page = world.daemon.socket("new", None).await;
    page.say("ask it", "c1").await;
    let turn = string(&page.until("tool.started").await, "turn_id");
    eventually("it is reserved", || async { running().await == 1 }).await;
    page.send(json!({ "type": "cancel", "turn_id": turn }))
        .await;
    page.until("message.completed").await;
    eventually("it is settled", || async { running().await == 0 }).await;
    let usage = owner.get("/api/v1/usage?by=model").await.ok();
    let lines = usage["usage"].as_array().unwrap();
    let line = lines.iter().find(|l| l["key"] == "works/m").unwrap();
    assert_eq!((&line["calls"], &line["failed"]), (&json!(1), &json!(1)));
    assert!(line["cost_usd"].as_f64().unwrap() > 0.0, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_granted_and_what_makes_no_sense_is_refused() {
    let world = World::new(vec![], vec![Act::Say("yes".to_owned())], "").await;
    world
        .skill("sorts", "llm:classify", ("run.py", PYTHON))
        .await;
    world.skill("mute", "memory:read", ("run.py", PYTHON)).await;
    let answers = world
        .run(
            "sorts",
            json!([
                { "task": "classify", "prompt": "is it?" },
                { "task": "summarise", "prompt": "x" },
                { "prompt": "x" },
                { "task": "embed", "prompt": "x" },
                { "task": "guess", "prompt": "x" },
                { "task": "classify", "prompt": " " },
                { "task": "classify", "prompt": "x", "model": "talks" },
            ]),
        )
        .await;
    let first = &answers[0]["result"];
    assert_eq!(
        (&first["text"], &first["provider"], &first["cached"]),
        (&json!("yes"), &json!("works"), &json!(false))
    );
    assert_eq!(first["provenance"], "skill");
    let errors: Vec<&str> = answers[1..]
        .iter()
        .map(|a| a["error"].as_str().unwrap())
        .collect();
    for (error, word) in errors.iter().zip([
        "`llm:summarise`",
        "`llm:agent`",
        "embed",
        "there are chat",
        "empty",
        "unknown field `model`",
    ]) {
        assert!(error.contains(word), "{word}: {error}");
    }
    assert_eq!(world.works.requests().len(), 1);
    let mute = world.run("mute", json!([{ "prompt": "x" }])).await;
    assert!(
        mute[0]["error"]
            .as_str()
            .unwrap()
            .contains("needs the permission"),
        "{mute:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_asks_so_often_and_so_much() {
    let world = World::new(vec![], vec![Act::Say("yes".to_owned())], "").await;
    world.skill("asks", "llm", ("run.py", PYTHON)).await;
    let one =
        |tokens: u32| json!({ "task": "classify", "prompt": "?", "max_output_tokens": tokens });
    let answers = world
        .run("asks", json!([one(5000), one(5000), one(10), one(10)]))
        .await;
    assert!(
        answers[..3].iter().all(|a| a["result"]["text"] == "yes"),
        "{answers:?}"
    );
    assert!(
        answers[3]["error"]
            .as_str()
            .unwrap()
            .contains("skills.llm_calls"),
        "{answers:?}"
    );
    let most = world.works.requests();
    let most: Vec<&Value> = most.iter().map(|r| &r["max_tokens"]).collect();
    // What an answer does not use is given back: 7 of 600 were used.
    assert_eq!(most, [&json!(600), &json!(593), &json!(10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_is_answered_from_what_was_kept() {
    let world = World::new(
        vec![],
        vec![Act::Say("first".to_owned()), Act::Say("second".to_owned())],
        "  cache: { tasks: [classify] }\n",
    )
    .await;
    world.skill("asks", "llm", ("run.py", PYTHON)).await;
    let ask = |task: &str, prompt: &str| json!({ "task": task, "prompt": prompt, "max_output_tokens": 50 });
    let answers = world
        .run(
            "asks",
            json!([
                ask("classify", "a"),
                ask("classify", "a"),
                ask("classify", "b")
            ]),
        )
        .await;
    let texts: Vec<_> = answers
        .iter()
        .map(|a| (a["result"]["text"].clone(), a["result"]["cached"].clone()))
        .collect();
    assert_eq!(
        texts,
        [
            (json!("first"), json!(false)),
            (json!("first"), json!(true)),
            (json!("second"), json!(false))
        ]
    );
    let costs: Vec<_> = answers
        .iter()
        .map(|a| a["result"]["cost_usd"].as_f64().unwrap())
        .collect();
    assert!(
        costs[0] > 0.0 && costs[1] == 0.0 && costs[2] > 0.0,
        "{costs:?}"
    );
    assert_eq!(world.works.requests()[0]["temperature"], 0.0);
    let warm = json!({ "task": "classify", "prompt": "a", "temperature": 0.7 });
    let again = world
        .run(
            "asks",
            json!([ask("summarise", "a"), ask("summarise", "a"), warm]),
        )
        .await;
    assert!(
        again.iter().all(|a| a["result"]["cached"] == false),
        "{again:?}"
    );
    let metrics = world.daemon.owner().get("/metrics").await.body;
    for line in [
        "nexflow_kept_answers_total{found=\"yes\"} 1",
        "nexflow_kept_answers_total{found=\"no\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}
