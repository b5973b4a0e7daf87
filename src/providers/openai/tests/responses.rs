//! Responses: what is sent, and what its documentation shows coming back.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    super::responses,
    bodies::{question_with_everything, shape},
    provider,
};
use crate::{
    providers::{
        Collected, ProviderError, Request, collect,
        contract::{Fake, Reply, messages, plain, said, tool, user},
    },
    types::chat::{Message, Reasoning, Stop, Usage},
};

/// Whether the API would take a request.
pub(in crate::providers) fn takes(request: &Request) -> Result<(), TestCaseError> {
    check(&responses::body(request, &shape(&Map::new())))
}

/// Refuses what the API would refuse.
fn check(body: &Value) -> Result<(), TestCaseError> {
    let mut waiting: HashSet<&str> = HashSet::new();
    let mut ids = HashSet::new();
    let input = body["input"].as_array().unwrap();
    prop_assert!(!input.is_empty());
    for item in input {
        match (item["type"].as_str(), item["role"].as_str()) {
            (None, Some("user")) => {
                for part in item["content"].as_array().unwrap() {
                    match part["type"].as_str().unwrap() {
                        "input_text" => prop_assert!(said(&part["text"])),
                        "input_image" => {
                            let url = part["image_url"].as_str().unwrap();
                            prop_assert!(url.starts_with("data:image/"));
                        }
                        other => prop_assert!(false, "part {}", other),
                    }
                }
            }
            (None, Some("assistant")) => prop_assert!(said(&item["content"])),
            (Some("function_call"), _) => {
                prop_assert!(plain(&item["call_id"], 40) && plain(&item["name"], 64));
                let args: Value =
                    serde_json::from_str(item["arguments"].as_str().unwrap()).unwrap();
                prop_assert!(args.is_object());
                let id = item["call_id"].as_str().unwrap();
                prop_assert!(ids.insert(id));
                waiting.insert(id);
            }
            (Some("function_call_output"), _) => {
                prop_assert!(waiting.remove(item["call_id"].as_str().unwrap()));
                prop_assert!(said(&item["output"]));
            }
            (Some("reasoning"), _) => prop_assert!(item["encrypted_content"].is_string()),
            other => prop_assert!(false, "item {:?}", other),
        }
    }
    prop_assert!(waiting.is_empty());
    Ok(())
}

proptest! {
    #[test]
    fn any_conversation_makes_a_valid_body(messages in messages()) {
        let request = Request { messages, tools: vec![tool("a"), tool("a")], ..Request::default() };
        check(&responses::body(&request, &shape(&Map::new())))?;
    }
}

#[test]
fn the_body_as_a_whole() {
    let mut request = question_with_everything();
    let thought = json!({ "type": "reasoning", "summary": [], "encrypted_content": "gAAA" });
    if let Some(Message::Assistant { reasoning, .. }) = request.messages.get_mut(1) {
        *reasoning = Some(Reasoning {
            by: "mine/m".to_owned(),
            text: String::new(),
            kept: vec![thought.clone()],
        });
    }
    let expected = json!({
        "model": "m",
        "instructions": "Be kind.",
        "input": [
            { "role": "user", "content": [
                { "type": "input_text", "text": "look" },
                { "type": "input_image", "image_url": "data:image/png;base64,AQID" },
            ] },
            thought,
            { "type": "function_call", "call_id": "c1", "name": "a", "arguments": "{\"text\":\"x\"}" },
            { "type": "function_call_output", "call_id": "c1", "output": "done" },
        ],
        "tools": [{ "type": "function", "name": "a", "description": "Does a.", "strict": false,
            "parameters": { "type": "object", "properties": { "text": { "type": "string" } } } }],
        "max_output_tokens": 50,
        "store": false,
        "stream": true,
    });
    let extra = Map::new();
    assert_eq!(responses::body(&request, &shape(&extra)), expected);
    for (model, thinks) in [
        ("gpt-5-mini", true),
        ("o4-mini", true),
        ("gpt-6-sol", true),
        ("gpt-4.1", false),
        ("gpt-5-chat-latest", false),
    ] {
        let shape = super::super::body::Shape {
            model,
            ..shape(&extra)
        };
        let body = responses::body(&request, &shape);
        assert_eq!(body["include"].is_array(), thinks, "{model}");
    }
}

async fn read(kind: &str, body: String) -> Result<Collected, ProviderError> {
    let fake = Fake::start(vec![Reply::new(200, kind, body)]).await;
    let settings =
        json!({ "base_url": fake.url, "model": "m", "api": "responses", "api_key": "k" });
    let provider = provider("openai", &settings).unwrap();
    let request = Request {
        messages: vec![user("hello there")],
        ..Request::default()
    };
    let answer = collect(provider.complete(&request).await?).await;
    assert_eq!(fake.seen()[0].path, "/responses");
    answer
}

async fn stream(events: impl AsRef<[Value]>) -> Result<Collected, ProviderError> {
    let event = |e: &Value| format!("event: {}\ndata: {e}\n\n", e["type"].as_str().unwrap());
    read(
        "text/event-stream",
        events.as_ref().iter().map(event).collect(),
    )
    .await
}

fn completed(more: &Value) -> Value {
    let mut response = json!({ "object": "response", "status": "completed", "error": null });
    for (key, value) in more.as_object().unwrap() {
        response[key] = value.clone();
    }
    let kind = format!("response.{}", response["status"].as_str().unwrap());
    json!({ "type": kind, "response": response })
}

#[tokio::test]
async fn thoughts_are_shown_and_kept_for_the_next_request() {
    let item = json!({ "id": "rs_1", "type": "reasoning", "summary": [{ "type": "summary_text", "text": "A. B." }],
        "encrypted_content": "gAAAAB", "status": "completed" });
    let piece = |at: u64, text: &str| json!({ "type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": at, "delta": text });
    let answer = stream([
        piece(0, "First"),
        piece(0, " this."),
        piece(1, "Then that."),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        json!({ "type": "response.output_text.delta", "output_index": 1, "delta": "Hi" }),
        completed(&json!({ "usage": { "input_tokens": 75, "input_tokens_details": { "cached_tokens": 70 }, "output_tokens": 9 } })),
    ])
    .await
    .unwrap();
    let thoughts = answer.reasoning.unwrap();
    assert_eq!(thoughts.text, "First this.\n\nThen that.");
    assert_eq!(thoughts.by, "mine/m");
    assert_eq!(thoughts.kept.len(), 1);
    assert_eq!(thoughts.kept[0]["encrypted_content"], "gAAAAB");
    assert_eq!(thoughts.kept[0]["id"], Value::Null);
    let usage = Usage {
        input_tokens: 75,
        cached_tokens: 70,
        output_tokens: 9,
        estimated: false,
    };
    assert_eq!((answer.text.as_str(), answer.usage), ("Hi", usage));
}

#[tokio::test]
async fn the_end_and_the_errors_have_their_class() {
    let incomplete = |reason: &str| {
        completed(&json!({ "status": "incomplete", "incomplete_details": { "reason": reason } }))
    };
    for (event, stop) in [
        (completed(&json!({})), Stop::Done),
        (incomplete("max_output_tokens"), Stop::Length),
        (incomplete("content_filter"), Stop::Filtered),
    ] {
        assert_eq!(stream([event]).await.unwrap().stop, stop);
    }
    let refusal =
        json!({ "type": "response.refusal.delta", "output_index": 0, "delta": "I cannot." });
    let answer = stream([refusal, completed(&json!({}))]).await.unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.stop),
        ("I cannot.", Stop::Filtered)
    );
    let failed = |code: &str| {
        completed(&json!({ "status": "failed", "error": { "code": code, "message": "x" } }))
    };
    for (event, word) in [
        (failed("server_error"), "down"),
        (failed("rate_limit_exceeded"), "rate_limited"),
        (failed("context_length_exceeded"), "too_long"),
        (failed("invalid_prompt"), "refused"),
        (completed(&json!({ "status": "failed" })), "down"),
        (
            json!({ "type": "error", "code": "server_error", "message": "x", "param": null }),
            "down",
        ),
    ] {
        assert_eq!(
            stream([event.clone()]).await.unwrap_err().word(),
            word,
            "{event}"
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let response = json!({ "id": "resp_1", "object": "response", "status": "completed", "error": null,
        "output": [
            { "type": "reasoning", "id": "rs", "summary": [{ "type": "summary_text", "text": "Hm." }], "encrypted_content": "gA" },
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "Hi", "annotations": [] }] },
            { "type": "function_call", "id": "fc", "call_id": "call_1", "name": "a", "arguments": "{\"x\":1}" },
        ],
        "usage": { "input_tokens": 1, "output_tokens": 2 } });
    let answer = read("application/json", response.to_string())
        .await
        .unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.usage.output_tokens),
        ("Hi", 2)
    );
    assert_eq!(
        (answer.calls[0].id.as_str(), &answer.calls[0].args),
        ("call_1", &json!({ "x": 1 }))
    );
    let thoughts = answer.reasoning.unwrap();
    assert_eq!((thoughts.text.as_str(), thoughts.kept.len()), ("Hm.", 1));
}
