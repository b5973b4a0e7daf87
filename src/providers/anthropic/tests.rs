use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    providers::{
        Collected, Kind, collect,
        contract::{Fake, Reply, messages, plain, said, tool, user},
    },
    types::{
        Entry,
        chat::{Call, Message, Stop, Usage},
    },
};

async fn stream(events: impl AsRef<[Value]>) -> Result<Collected, ProviderError> {
    let body: String = events
        .as_ref()
        .iter()
        .flat_map(|e| ["data: ".to_owned(), e.to_string(), "\n\n".to_owned()])
        .collect();
    let fake = Fake::start(vec![Reply::new(200, "text/event-stream", body)]).await;
    let unknown = Reply::json(404, &json!({ "error": { "message": "no list" } }));
    let fake = fake.always("/v1/models/claude-sonnet-4-5", unknown);
    let request = Request {
        messages: vec![user("hello there")],
        ..Request::default()
    };
    let answer = collect(provider(&fake.url).complete(&request).await?).await;
    let seen = fake.seen();
    let asked = seen.iter().find(|seen| seen.method == "POST").unwrap();
    assert_eq!(asked.path, "/v1/messages");
    assert_eq!(asked.headers["anthropic-version"], VERSION);
    answer
}

fn provider(url: &str) -> std::sync::Arc<dyn Provider> {
    let settings = json!({ "base_url": url, "api_key": "k" });
    let entry = Entry {
        name: "mine".to_owned(),
        kind: "anthropic".to_owned(),
        settings: settings.as_object().cloned().unwrap(),
    };
    (Kind::named("anthropic").unwrap().build)(&entry, &Http::new()).unwrap()
}

const SHAPE: body::Shape<'static> = body::Shape {
    model: "m",
    images: true,
    thinking: None,
    by: "mine/m",
};

/// Whether the API would take a request.
pub(in crate::providers) fn takes(request: &Request) -> Result<(), TestCaseError> {
    check(&body::body(request, &SHAPE))
}

/// Refuses what the API would refuse.
fn check(body: &Value) -> Result<(), TestCaseError> {
    let list = body["messages"].as_array().unwrap();
    prop_assert!(!list.is_empty() && body["max_tokens"].as_u64().unwrap() > 0);
    let mut waiting: HashSet<&str> = HashSet::new();
    let mut ids = HashSet::new();
    for (at, message) in list.iter().enumerate() {
        let role = if at % 2 == 0 { "user" } else { "assistant" };
        prop_assert_eq!(&message["role"], role);
        let blocks = message["content"].as_array().unwrap();
        prop_assert!(!blocks.is_empty());
        let mut texts = 0;
        for block in blocks {
            match block["type"].as_str().unwrap() {
                "text" => {
                    prop_assert!(said(&block["text"]));
                    texts += 1;
                }
                "image" => {
                    prop_assert_eq!(role, "user");
                    prop_assert!(
                        ["image/png", "image/webp"]
                            .contains(&block["source"]["media_type"].as_str().unwrap())
                    );
                    texts += 1;
                }
                "tool_use" => {
                    prop_assert!(role == "assistant" && block["input"].is_object());
                    prop_assert!(plain(&block["id"], 40) && plain(&block["name"], 64));
                    prop_assert!(ids.insert(block["id"].as_str().unwrap()));
                    waiting.insert(block["id"].as_str().unwrap());
                }
                "tool_result" => {
                    prop_assert!(role == "user" && texts == 0, "results come first");
                    prop_assert!(waiting.remove(block["tool_use_id"].as_str().unwrap()));
                    prop_assert!(said(&block["content"]));
                }
                other => prop_assert!(false, "block {}", other),
            }
        }
        prop_assert!(
            role == "assistant" || waiting.is_empty(),
            "calls without results"
        );
    }
    prop_assert_eq!(&list.last().unwrap()["role"], "user");
    prop_assert!(
        ids.is_empty()
            || body["tools"]
                .as_array()
                .is_some_and(|tools| !tools.is_empty())
    );
    Ok(())
}

proptest! {
    #[test]
    fn any_conversation_makes_a_valid_body(messages in messages(), system in " ?[a-z]{0,3}", tools in any::<bool>()) {
        let tools = if tools { vec![tool("a"), tool("b"), tool("a")] } else { Vec::new() };
        let request = Request { system, messages, tools, ..Request::default() };
        check(&body::body(&request, &SHAPE))?;
    }
}

#[test]
fn the_body_as_a_whole() {
    let call = |id: &str| Call {
        id: id.to_owned(),
        tool: "a".to_owned(),
        args: json!({ "text": "x" }),
    };
    let result = |id: &str, failed| Message::Result {
        call: id.to_owned(),
        tool: "a".to_owned(),
        text: "out".to_owned(),
        failed,
    };
    let request = Request {
        system: "Be kind.".to_owned(),
        messages: vec![
            user("do"),
            Message::Assistant {
                text: "Doing. ".to_owned(),
                calls: vec![call("c1"), call("c2")],
                reasoning: None,
            },
            result("c2", true),
            result("c1", false),
            user("and?"),
        ],
        tools: vec![tool("a"), tool("b")],
        max_output_tokens: 50,
        ..Request::default()
    };
    let schema = json!({ "type": "object", "properties": { "text": { "type": "string" } } });
    let expected = json!({
        "model": "m",
        "max_tokens": 50,
        "system": [{ "type": "text", "text": "Be kind.", "cache_control": { "type": "ephemeral" } }],
        "tools": [
            { "name": "a", "description": "Does a.", "input_schema": schema },
            { "name": "b", "description": "Does b.", "input_schema": schema, "cache_control": { "type": "ephemeral" } },
        ],
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "do" }] },
            { "role": "assistant", "content": [
                { "type": "text", "text": "Doing." },
                { "type": "tool_use", "id": "c1", "name": "a", "input": { "text": "x" } },
                { "type": "tool_use", "id": "c2", "name": "a", "input": { "text": "x" } },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "c1", "content": "out" },
                { "type": "tool_result", "tool_use_id": "c2", "content": "out", "is_error": true },
                { "type": "text", "text": "and?" },
            ] },
        ],
        "stream": true,
    });
    assert_eq!(body::body(&request, &SHAPE), expected);
    let closing = Request {
        tools: Vec::new(),
        ..request
    };
    let body = body::body(&closing, &SHAPE);
    assert_eq!(body["tool_choice"]["type"], "none");
    assert_eq!(body["tools"][0]["name"], "a");
}

fn start(usage: &Value) -> Value {
    json!({ "type": "message_start", "message": { "usage": usage } })
}

fn stop(reason: &str, usage: &Value) -> Value {
    json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": usage })
}

#[tokio::test]
async fn usage_includes_what_is_cached() {
    let usage = json!({ "input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300, "output_tokens": 1 });
    let answer = stream([
        start(&usage),
        stop("end_turn", &json!({ "output_tokens": 7 })),
    ])
    .await
    .unwrap();
    let expected = Usage {
        input_tokens: 330,
        cached_tokens: 300,
        output_tokens: 7,
        estimated: false,
    };
    assert_eq!(answer.usage, expected);
    let answer = stream([stop("end_turn", &Value::Null)]).await.unwrap();
    assert!(answer.usage.estimated && answer.usage.input_tokens > 0);
}

#[tokio::test]
async fn reasons_to_stop() {
    for (reason, expected) in [
        ("end_turn", Stop::Done),
        ("tool_use", Stop::Done),
        ("stop_sequence", Stop::Done),
        ("pause_turn", Stop::Done),
        ("max_tokens", Stop::Length),
        ("model_context_window_exceeded", Stop::Length),
        ("refusal", Stop::Filtered),
        ("something_new", Stop::Done),
    ] {
        assert_eq!(
            stream([stop(reason, &Value::Null)]).await.unwrap().stop,
            expected
        );
    }
}

#[tokio::test]
async fn server_tools_are_passed_over_and_unsigned_thoughts_not_kept() {
    let block =
        |block: Value| json!({ "type": "content_block_start", "index": 0, "content_block": block });
    let delta = |delta: Value| json!({ "type": "content_block_delta", "index": 0, "delta": delta });
    let answer = stream([
        block(json!({ "type": "thinking", "thinking": "" })),
        delta(json!({ "type": "thinking_delta", "thinking": "hm" })),
        block(json!({ "type": "text", "text": "A" })),
        delta(json!({ "type": "text_delta", "text": "B" })),
        delta(json!({ "type": "citations_delta", "citation": {} })),
        block(json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} })),
        json!({ "type": "content_block_start", "index": 3, "content_block": { "type": "tool_use", "id": "t", "name": "a", "input": { "whole": 1 } } }),
        stop("tool_use", &Value::Null),
    ]);
    let answer = answer.await.unwrap();
    let thoughts = answer.reasoning.unwrap();
    assert_eq!((thoughts.text.as_str(), thoughts.kept.len()), ("hm", 0));
    assert_eq!(answer.text, "AB");
    assert_eq!(answer.calls.len(), 1);
    assert_eq!(answer.calls[0].args, json!({ "whole": 1 }));
}

#[tokio::test]
async fn errors_in_the_stream_have_their_class() {
    for (kind, word) in [
        ("overloaded_error", "down"),
        ("api_error", "down"),
        ("rate_limit_error", "rate_limited"),
        ("authentication_error", "credentials"),
        ("permission_error", "credentials"),
        ("billing_error", "credentials"),
        ("request_too_large", "too_long"),
        ("invalid_request_error", "refused"),
        ("not_found_error", "refused"),
        ("timeout_error", "down"),
    ] {
        let event = json!({ "type": "error", "error": { "type": kind, "message": "x" } });
        assert_eq!(stream([event]).await.unwrap_err().word(), word, "{kind}");
    }
}

/// The stream of its guide on extended thinking, with a block that may not be read.
#[tokio::test]
async fn thoughts_are_shown_and_kept_signed() {
    let start = |index: u64, block: Value| json!({ "type": "content_block_start", "index": index, "content_block": block });
    let delta = |index: u64, delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
    let answer = stream([
        start(
            0,
            json!({ "type": "thinking", "thinking": "", "signature": "" }),
        ),
        delta(
            0,
            json!({ "type": "thinking_delta", "thinking": "Let me " }),
        ),
        delta(0, json!({ "type": "thinking_delta", "thinking": "see." })),
        delta(0, json!({ "type": "signature_delta", "signature": "EqQB" })),
        json!({ "type": "content_block_stop", "index": 0 }),
        start(1, json!({ "type": "redacted_thinking", "data": "EmwK" })),
        start(
            2,
            json!({ "type": "tool_use", "id": "toolu_1", "name": "a", "input": {} }),
        ),
        stop("tool_use", &json!({ "output_tokens": 30 })),
        json!({ "type": "message_stop" }),
    ])
    .await
    .unwrap();
    let thoughts = answer.reasoning.unwrap();
    assert_eq!(thoughts.text, "Let me see.");
    assert_eq!(thoughts.by, "mine/claude-sonnet-4-5");
    let kept = [
        json!({ "type": "thinking", "thinking": "Let me see.", "signature": "EqQB" }),
        json!({ "type": "redacted_thinking", "data": "EmwK" }),
    ];
    assert_eq!(thoughts.kept, kept);
}

#[test]
fn thoughts_go_back_before_the_calls_and_to_their_model_alone() {
    let kept = vec![
        json!({ "type": "thinking", "thinking": "Let me see.", "signature": "EqQB" }),
        json!({ "type": "redacted_thinking", "data": "EmwK" }),
    ];
    let turn = |by: &str| Request {
        messages: vec![
            user("q"),
            Message::Assistant {
                text: "Looking.".to_owned(),
                calls: vec![Call {
                    id: "toolu_1".to_owned(),
                    tool: "a".to_owned(),
                    args: json!({}),
                }],
                reasoning: Some(crate::types::chat::Reasoning {
                    by: by.to_owned(),
                    text: "Let me see.".to_owned(),
                    kept: kept.clone(),
                }),
            },
        ],
        ..Request::default()
    };
    let shape = body::Shape {
        thinking: Some(Thinking::Tokens(10)),
        by: "mine/m",
        ..SHAPE
    };
    let own = body::body(&turn("mine/m"), &shape);
    let content = own["messages"][1]["content"].as_array().unwrap();
    let kinds: Vec<&str> = content
        .iter()
        .map(|b| b["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["thinking", "redacted_thinking", "text", "tool_use"]);
    assert_eq!(
        own["thinking"],
        json!({ "type": "enabled", "budget_tokens": 1_024 })
    );
    assert_eq!(own["max_tokens"], 8_192 + 1_024);
    // A turn that another model began cannot be thought on: its calls have no thoughts.
    let other = body::body(&turn("other/model"), &shape);
    assert_eq!(other["thinking"], Value::Null);
    assert_eq!(other["messages"][1]["content"][0]["type"], "text");
    let read = |text: &str| serde_json::from_str::<Thinking>(text).ok();
    assert_eq!(
        read("\"adaptive\""),
        Some(Thinking::Adaptive(Adaptive::Adaptive))
    );
    assert_eq!(
        (read("2000"), read("\"much\"")),
        (Some(Thinking::Tokens(2_000)), None)
    );
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [
        { "type": "thinking", "thinking": "Hm.", "signature": "sig" },
        { "type": "text", "text": "Hi" },
        { "type": "tool_use", "id": "toolu_1", "name": "a", "input": { "x": 1 } },
    ], "stop_reason": "tool_use", "stop_sequence": null, "usage": { "input_tokens": 12, "output_tokens": 6 } });
    let fake = Fake::start(vec![Reply::json(200, &message)]).await;
    let asked = Request {
        messages: vec![user("hi")],
        ..Request::default()
    };
    let fake = fake.always("/v1/models/claude-sonnet-4-5", Reply::json(200, &json!({ "id": "claude-sonnet-4-5",
        "max_input_tokens": 300_000, "max_tokens": 50_000, "capabilities": { "image_input": { "supported": false } } })));
    let provider = provider(&fake.url);
    let answer = collect(provider.complete(&asked).await.unwrap())
        .await
        .unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.usage.output_tokens),
        ("Hi", 6)
    );
    assert_eq!(answer.calls[0].args, json!({ "x": 1 }));
    assert_eq!(answer.reasoning.unwrap().kept.len(), 1);
    // What its list of models says was learnt meanwhile, or is by a second question.
    let about = provider.about();
    if about.context_tokens == 300_000 {
        assert_eq!(
            (about.max_output_tokens, about.images),
            (Some(50_000), false)
        );
    }
    let listed =
        json!({ "data": [{ "id": "claude-x", "max_input_tokens": 7_000, "max_tokens": 900 }] });
    let fake = Fake::start(vec![Reply::json(200, &listed)]).await;
    let models = self::provider(&fake.url).models().await.unwrap();
    assert_eq!(
        (models[0].model.as_str(), models[0].context_tokens),
        ("claude-x", 7_000)
    );
    assert_eq!(fake.seen()[0].path, "/v1/models?limit=1000");
}
