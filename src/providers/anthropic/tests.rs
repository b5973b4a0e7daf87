use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

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
    let request = Request {
        messages: vec![user("hello there")],
        ..Request::default()
    };
    let answer = collect(provider(&fake.url).complete(&request).await?).await;
    let seen = fake.seen();
    assert_eq!(seen[0].path, "/v1/messages");
    assert_eq!(seen[0].headers["anthropic-version"], VERSION);
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

/// Whether the API would take a request.
pub(in crate::providers) fn takes(request: &Request) -> Result<(), TestCaseError> {
    check(&body::body(request, "m"))
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
        check(&body::body(&request, "m"))?;
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
            },
            result("c2", true),
            result("c1", false),
            user("and?"),
        ],
        tools: vec![tool("a"), tool("b")],
        max_output_tokens: 50,
        model: None,
        temperature: None,
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
    assert_eq!(body::body(&request, "m"), expected);
    let closing = Request {
        tools: Vec::new(),
        ..request
    };
    let body = body::body(&closing, "m");
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
async fn thoughts_and_server_tools_are_passed_over() {
    let block =
        |block: Value| json!({ "type": "content_block_start", "index": 0, "content_block": block });
    let delta = |delta: Value| json!({ "type": "content_block_delta", "index": 0, "delta": delta });
    let answer = stream([
        block(json!({ "type": "thinking", "thinking": "" })),
        delta(json!({ "type": "thinking_delta", "thinking": "hm" })),
        delta(json!({ "type": "signature_delta", "signature": "x" })),
        block(json!({ "type": "text", "text": "A" })),
        delta(json!({ "type": "text_delta", "text": "B" })),
        delta(json!({ "type": "citations_delta", "citation": {} })),
        block(json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} })),
        json!({ "type": "content_block_start", "index": 3, "content_block": { "type": "tool_use", "id": "t", "name": "a", "input": { "whole": 1 } } }),
        stop("tool_use", &Value::Null),
    ]);
    let answer = answer.await.unwrap();
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
    ] {
        let event = json!({ "type": "error", "error": { "type": kind, "message": "x" } });
        assert_eq!(stream([event]).await.unwrap_err().word(), word, "{kind}");
    }
}
