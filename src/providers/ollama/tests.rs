use std::sync::Arc;

use proptest::prelude::*;

use super::{body::Shape, *};
use crate::{
    providers::{
        Kind, collect,
        contract::{Fake, Reply, messages, plain, said, tool, user},
    },
    types::{Entry, chat::Stop},
};

const MODEL: Model = Model {
    window: 4_096,
    tools: true,
    images: true,
};

fn provider(url: &str, more: &Value) -> Arc<dyn Provider> {
    let mut settings = more.as_object().cloned().unwrap();
    settings.insert("base_url".to_owned(), json!(url));
    let entry = Entry {
        name: "mine".to_owned(),
        kind: "ollama".to_owned(),
        settings,
    };
    (Kind::named("ollama").unwrap().build)(&entry, &Http::new()).unwrap()
}

/// Whether the server would take a request.
pub(in crate::providers) fn takes(request: &Request) -> Result<(), TestCaseError> {
    let shape = Shape {
        name: "m",
        model: MODEL,
        keep_alive: None,
        think: None,
        by: "mine/m",
    };
    check(&body::body(request, &shape))
}

/// Refuses what the API would refuse, and what the templates of models cannot render.
fn check(body: &Value) -> Result<(), TestCaseError> {
    let list = body["messages"].as_array().unwrap();
    let mut waiting: Vec<&Value> = Vec::new();
    let mut before = "";
    for (at, message) in list.iter().enumerate() {
        let role = message["role"].as_str().unwrap();
        prop_assert!(message["content"].is_string());
        prop_assert!(waiting.is_empty() || role == "tool");
        match role {
            "system" => prop_assert!(at == 0),
            "user" => {
                prop_assert!(before != "user");
                let images = message["images"].as_array();
                prop_assert!(
                    said(&message["content"]) || images.is_some_and(|images| !images.is_empty())
                );
            }
            "assistant" => {
                prop_assert!(matches!(before, "user" | "tool") && message["images"].is_null());
                let calls = message["tool_calls"].as_array();
                prop_assert!(said(&message["content"]) || calls.is_some());
                for call in calls.into_iter().flatten() {
                    prop_assert!(call["function"]["arguments"].is_object());
                    prop_assert!(plain(&call["function"]["name"], 64));
                    waiting.push(&call["function"]["name"]);
                }
            }
            "tool" => {
                prop_assert!(!waiting.is_empty(), "a result that nobody asked for");
                prop_assert_eq!(waiting.remove(0), &message["tool_name"]);
            }
            other => prop_assert!(false, "role {}", other),
        }
        before = role;
    }
    prop_assert!(waiting.is_empty() && matches!(before, "user" | "tool"));
    Ok(())
}

proptest! {
    #[test]
    fn any_conversation_makes_a_valid_body(messages in messages(), images in any::<bool>()) {
        let request = Request { messages, tools: vec![tool("a")], ..Request::default() };
        let model = Model { images, ..MODEL };
        check(&body::body(&request, &Shape { name: "m", model, keep_alive: None, think: None, by: "mine/m" }))?;
    }
}

#[test]
fn the_body_says_window_and_limits() {
    let request = Request {
        messages: vec![user("hi")],
        tools: vec![tool("a")],
        max_output_tokens: 9,
        ..Request::default()
    };
    let keep = json!("10m");
    let shape = Shape {
        name: "m",
        model: MODEL,
        keep_alive: Some(&keep),
        think: None,
        by: "mine/m",
    };
    let body = body::body(&request, &shape);
    assert_eq!(
        body["options"],
        json!({ "num_ctx": 4096, "num_predict": 9 })
    );
    assert_eq!(body["keep_alive"], "10m");
    assert_eq!(body["tools"][0]["function"]["name"], "a");
    let plain = Model {
        tools: false,
        ..MODEL
    };
    let body = body::body(
        &request,
        &Shape {
            model: plain,
            ..shape
        },
    );
    assert_eq!(body["tools"], Value::Null);
}

fn shown(window: u32) -> Reply {
    let info = json!({ "general.architecture": "qwen", "qwen.context_length": window });
    Reply::json(
        200,
        &json!({ "model_info": info, "capabilities": ["completion", "vision"] }),
    )
}

fn done() -> Reply {
    let line = json!({ "message": { "role": "assistant", "content": "hi" }, "done": true, "done_reason": "stop" });
    Reply::new(200, "application/x-ndjson", line.to_string())
}

#[tokio::test]
async fn the_first_installed_model_is_taken_and_its_window_is_capped() {
    let tags = json!({ "models": [{ "name": "qwen:7b", "model": "qwen:7b" }, { "name": "b" }] });
    let fake = Fake::start(vec![Reply::json(200, &tags), shown(32_768), done(), done()]).await;
    let provider = provider(&format!("{}/v1/", fake.url), &json!({}));
    assert_eq!(provider.about().model, "");
    let request = Request {
        messages: vec![user("hi")],
        ..Request::default()
    };
    for _ in 0..2 {
        let answer = collect(provider.complete(&request).await.unwrap())
            .await
            .unwrap();
        assert_eq!(answer.text, "hi");
        assert!(answer.usage.estimated);
    }
    let paths: Vec<String> = fake.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/api/tags", "/api/show", "/api/chat", "/api/chat"]);
    let body = fake.seen()[2].body.clone();
    assert_eq!(
        (&body["model"], &body["options"]["num_ctx"]),
        (&json!("qwen:7b"), &json!(16_384))
    );
    let about = provider.about();
    assert_eq!(
        (about.model.as_str(), about.context_tokens, about.images),
        ("qwen:7b", 16_384, true)
    );
}

#[tokio::test]
async fn a_small_model_keeps_its_small_window() {
    let fake = Fake::start(vec![shown(2_048), done()]).await;
    let provider = provider(&fake.url, &json!({ "model": "m" }));
    let answer = provider.complete(&Request::default()).await.unwrap();
    collect(answer).await.unwrap();
    assert_eq!(fake.seen()[1].body["options"]["num_ctx"], 2_048);
}

#[tokio::test]
async fn a_model_that_is_not_there_says_how_to_get_it() {
    let missing = Reply::json(404, &json!({ "error": "model 'm' not found" }));
    let fake = Fake::start(vec![missing.clone(), missing]).await;
    let provider = provider(&fake.url, &json!({ "model": "m" }));
    let error = provider.complete(&Request::default()).await.err().unwrap();
    assert!(error.to_string().contains("ollama pull m"), "{error}");

    let tags = json!({ "models": [{ "name": "other:latest" }] });
    let fake = Fake::start(vec![Reply::json(200, &tags)]).await;
    let error = self::provider(&fake.url, &json!({ "model": "m" }))
        .check()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("ollama pull m"), "{error}");

    let fake = Fake::start(vec![Reply::json(200, &json!({ "models": [] }))]).await;
    let error = self::provider(&fake.url, &json!({}))
        .check()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("no model is installed"),
        "{error}"
    );
}

#[tokio::test]
async fn calls_without_ids_get_some() {
    let call = json!({ "function": { "name": "a", "arguments": { "x": 1 } } });
    let line = json!({ "message": { "content": "", "tool_calls": [call, call] }, "done": true });
    let fake = Fake::start(vec![
        shown(1),
        Reply::new(200, "application/x-ndjson", line.to_string()),
    ])
    .await;
    let answer = provider(&fake.url, &json!({ "model": "m" }))
        .complete(&Request::default())
        .await;
    let calls = collect(answer.unwrap()).await.unwrap().calls;
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].id, calls[1].id);
    assert_eq!(calls[1].args, json!({ "x": 1 }));
}

/// Calls may come in any line; thoughts in lines of their own.
#[tokio::test]
async fn thoughts_and_calls_come_in_any_line() {
    let line = |message: Value| {
        json!({ "model": "m", "message": message, "done": false }).to_string() + "\n"
    };
    let call = |name: &str| json!([{ "function": { "name": name, "arguments": { "x": 1 } } }]);
    let body = [
        line(json!({ "role": "assistant", "content": "", "thinking": "Let me " })),
        line(json!({ "role": "assistant", "content": "", "thinking": "see." })),
        line(json!({ "role": "assistant", "content": "", "tool_calls": call("a") })),
        line(json!({ "role": "assistant", "content": "Both." })),
        line(json!({ "role": "assistant", "content": "", "tool_calls": call("b") })),
        json!({ "model": "m", "message": { "role": "assistant", "content": "" }, "done": true, "done_reason": "stop",
            "prompt_eval_count": 5, "eval_count": 6 }).to_string(),
    ];
    let fake = Fake::start(vec![
        shown(9_000),
        Reply::new(200, "application/x-ndjson", body.concat()),
    ])
    .await;
    let provider = provider(
        &fake.url,
        &json!({ "model": "m", "think": "low", "tools": true }),
    );
    let request = Request {
        messages: vec![user("q")],
        tools: vec![tool("a")],
        ..Request::default()
    };
    let answer = collect(provider.complete(&request).await.unwrap())
        .await
        .unwrap();
    assert_eq!(fake.seen()[1].body["think"], "low");
    let names: Vec<&str> = answer.calls.iter().map(|call| call.tool.as_str()).collect();
    assert_eq!((answer.text.as_str(), names), ("Both.", vec!["a", "b"]));
    let thoughts = answer.reasoning.unwrap();
    assert_eq!(
        (thoughts.text.as_str(), thoughts.kept.as_slice()),
        ("Let me see.", &[json!("Let me see.")][..])
    );
    assert_eq!(thoughts.by, "mine/m");
}

#[tokio::test]
async fn a_pull_that_breaks_off_is_an_error() {
    use futures_util::StreamExt as _;
    let line = |value: Value| value.to_string() + "\n";
    let begun = line(json!({ "status": "pulling x", "completed": 1, "total": 2 }));
    for (rest, word) in [
        (String::new(), "down"),
        (line(json!({ "error": "no space left" })), "refused"),
        ("<html>".to_owned(), "garbled"),
    ] {
        let fake = Fake::start(vec![Reply::new(
            200,
            "application/x-ndjson",
            begun.clone() + &rest,
        )])
        .await;
        let pulling = provider(&fake.url, &json!({})).pull("x").await.unwrap();
        let all: Vec<_> = pulling.collect().await;
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all[0].as_ref().unwrap().total, Some(2));
        assert_eq!(all[1].as_ref().unwrap_err().word(), word);
        assert_eq!(fake.seen()[0].body, json!({ "model": "x", "stream": true }));
    }
}

#[tokio::test]
async fn reasons_to_stop() {
    for (reason, stop) in [
        ("stop", Stop::Done),
        ("load", Stop::Done),
        ("length", Stop::Length),
    ] {
        let line = json!({ "message": { "role": "assistant", "content": "x" }, "done": true, "done_reason": reason });
        let reply = Reply::new(200, "application/json; charset=utf-8", line.to_string());
        let fake = Fake::start(vec![shown(9_000), reply]).await;
        let provider = provider(&fake.url, &json!({ "model": "m" }));
        let answer = provider.complete(&Request::default()).await.unwrap();
        assert_eq!(collect(answer).await.unwrap().stop, stop, "{reason}");
    }
}
