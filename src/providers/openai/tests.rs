use axum::body::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{body::Shape, *};
use crate::{
    providers::{
        Collected, Kind, collect,
        contract::{Fake, Reply, messages, plain, said, tool, user},
    },
    types::{
        Attachment, Entry,
        chat::{Call, Message, Stop, Usage},
    },
};

const SHAPE: Shape<'static> = Shape {
    model: "m",
    images: true,
    official: false,
    call_signature: None,
};

fn provider(kind: &str, settings: &Value) -> Result<std::sync::Arc<dyn Provider>, String> {
    let entry = Entry {
        name: "mine".to_owned(),
        kind: kind.to_owned(),
        settings: settings.as_object().cloned().unwrap(),
    };
    (Kind::named(kind).unwrap().build)(&entry, &Http::new())
}

async fn read(kind: &str, content_type: &str, body: &str) -> Result<Collected, ProviderError> {
    let reply = Reply::new(200, content_type, Bytes::from(body.to_owned()));
    let fake = Fake::start(vec![reply]).await;
    let provider = provider(kind, &json!({ "base_url": fake.url, "model": "m" })).unwrap();
    let request = Request {
        messages: vec![user("hello there")],
        ..Request::default()
    };
    collect(provider.complete(&request).await?).await
}

async fn stream(chunks: impl AsRef<[Value]>) -> Result<Collected, ProviderError> {
    let body: String = chunks
        .as_ref()
        .iter()
        .flat_map(|c| ["data: ".to_owned(), c.to_string(), "\n\n".to_owned()])
        .collect();
    read("custom", "text/event-stream", &body).await
}

fn piece(delta: &Value) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta }] })
}

fn finish(reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

/// Refuses what the API would refuse.
fn check(body: &Value) -> Result<(), TestCaseError> {
    let list = body["messages"].as_array().unwrap();
    let mut waiting: Vec<&Value> = Vec::new();
    let mut before = "";
    let mut ids = std::collections::HashSet::new();
    prop_assert!(list.iter().any(|m| m["role"] != "system"));
    for (at, message) in list.iter().enumerate() {
        let role = message["role"].as_str().unwrap();
        prop_assert!(
            waiting.is_empty() || role == "tool",
            "calls without results before {at}"
        );
        match role {
            "system" => prop_assert!(at == 0 && said(&message["content"])),
            "user" => {
                prop_assert!(before != "user");
                let parts = message["content"].as_array();
                let fine = |part: &Value| match part["type"].as_str() {
                    Some("text") => said(&part["text"]),
                    Some("image_url") => part["image_url"]["url"]
                        .as_str()
                        .unwrap()
                        .starts_with("data:image/"),
                    _ => false,
                };
                prop_assert!(parts.map_or(said(&message["content"]), |p| !p.is_empty()
                    && p.iter().all(fine)));
            }
            "assistant" => {
                prop_assert!(matches!(before, "user" | "tool"));
                let calls = message["tool_calls"].as_array();
                prop_assert!(said(&message["content"]) || calls.is_some());
                prop_assert!(calls.is_none_or(|calls| !calls.is_empty()));
                for call in calls.into_iter().flatten() {
                    prop_assert_eq!(&call["type"], "function");
                    prop_assert!(plain(&call["id"], 40) && ids.insert(call["id"].to_string()));
                    prop_assert!(plain(&call["function"]["name"], 64));
                    let args: Value =
                        serde_json::from_str(call["function"]["arguments"].as_str().unwrap())
                            .unwrap();
                    prop_assert!(args.is_object());
                    waiting.push(&call["id"]);
                }
            }
            "tool" => {
                let id = &message["tool_call_id"];
                let asked = waiting.iter().position(|w| *w == id);
                prop_assert!(asked.is_some(), "a result that nobody asked for");
                waiting.remove(asked.unwrap());
                prop_assert!(message["content"].is_string());
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
    fn any_conversation_makes_a_valid_body(messages in messages(), system in " ?[a-z]{0,3}", images in any::<bool>()) {
        let request = Request { system, messages, tools: vec![tool("a"), tool("a")], ..Request::default() };
        let body = body::body(&request, &Shape { images, ..SHAPE });
        check(&body)?;
        prop_assert_eq!(body["tools"].as_array().unwrap().len(), 1);
        let everything = body.to_string();
        for message in &request.messages {
            if let Message::User { text, .. } = message && !text.trim().is_empty() {
                let text = json!(text).to_string();
                prop_assert!(everything.contains(text.trim_matches('"')));
            }
        }
    }
}

fn question_with_everything() -> Request {
    Request {
        system: "Be kind.".to_owned(),
        messages: vec![
            Message::User {
                text: "look".to_owned(),
                images: vec![Attachment {
                    name: "a.png".to_owned(),
                    media_type: "image/png".to_owned(),
                    data: vec![1, 2, 3],
                }],
            },
            Message::Assistant {
                text: String::new(),
                calls: vec![Call {
                    id: "c1".to_owned(),
                    tool: "a".to_owned(),
                    args: json!({ "text": "x" }),
                }],
            },
            Message::Result {
                call: "c1".to_owned(),
                tool: "a".to_owned(),
                text: "done".to_owned(),
                failed: false,
            },
        ],
        tools: vec![tool("a")],
        max_output_tokens: 50,
        model: Some("other".to_owned()),
    }
}

#[test]
fn the_body_as_a_whole() {
    let request = question_with_everything();
    let expected = json!({
        "model": "other",
        "messages": [
            { "role": "system", "content": "Be kind." },
            { "role": "user", "content": [
                { "type": "text", "text": "look" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AQID" } },
            ] },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "a", "arguments": "{\"text\":\"x\"}" } },
            ] },
            { "role": "tool", "tool_call_id": "c1", "content": "done" },
        ],
        "tools": [{ "type": "function", "function": {
            "name": "a",
            "description": "Does a.",
            "parameters": { "type": "object", "properties": { "text": { "type": "string" } } },
        } }],
        "max_tokens": 50,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    assert_eq!(body::body(&request, &SHAPE), expected);
    let official = Shape {
        official: true,
        ..SHAPE
    };
    let body = body::body(&request, &official);
    assert_eq!(
        (&body["max_completion_tokens"], &body["max_tokens"]),
        (&json!(50), &Value::Null)
    );
    let signed = Shape {
        call_signature: Some("s"),
        ..SHAPE
    };
    let body = body::body(&request, &signed);
    let call = &body["messages"][2]["tool_calls"][0];
    assert_eq!(call["extra_content"]["google"]["thought_signature"], "s");
}

#[tokio::test]
async fn counts_that_are_missing_are_estimated() {
    let answer = stream([
        piece(&json!({ "content": "four words of text" })),
        finish("stop"),
    ])
    .await
    .unwrap();
    assert!(
        answer.usage.estimated && answer.usage.input_tokens >= 3 && answer.usage.output_tokens >= 4
    );
}

#[tokio::test]
async fn cached_tokens_are_counted() {
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 100, "completion_tokens": 5,
        "prompt_tokens_details": { "cached_tokens": 80 } } });
    let answer = stream([finish("stop"), usage]).await.unwrap();
    let expected = Usage {
        input_tokens: 100,
        cached_tokens: 80,
        output_tokens: 5,
        estimated: false,
    };
    assert_eq!(answer.usage, expected);
}

#[tokio::test]
async fn calls_of_careless_servers_are_told_apart() {
    let call = |call: Value| piece(&json!({ "tool_calls": [call] }));
    let names = |answer: Collected| -> Vec<(String, Value)> {
        assert!(answer.calls.iter().all(|call| !call.id.is_empty()));
        answer
            .calls
            .into_iter()
            .map(|call| (call.tool, call.args))
            .collect()
    };
    let expected = vec![
        ("a".to_owned(), json!({ "x": 1 })),
        ("b".to_owned(), json!({ "y": 2 })),
    ];
    // No index, no id.
    let answer = stream([
        call(json!({ "function": { "name": "a", "arguments": "{\"x\"" } })),
        call(json!({ "function": { "arguments": ":1}" } })),
        call(json!({ "function": { "name": "b", "arguments": "{\"y\":2}" } })),
        finish("tool_calls"),
    ]);
    assert_eq!(names(answer.await.unwrap()), expected);
    // The same index for all, and arguments that are not text.
    let answer = stream([
        call(
            json!({ "index": 0, "id": "1", "function": { "name": "a", "arguments": { "x": 1 } } }),
        ),
        call(
            json!({ "index": 0, "id": "2", "function": { "name": "b", "arguments": "{\"y\":2}" } }),
        ),
        finish("stop"),
    ]);
    assert_eq!(names(answer.await.unwrap()), expected);
    // Name and id in every piece; interleaved.
    let answer = stream([
        call(json!({ "index": 0, "id": "1", "function": { "name": "a", "arguments": "{\"x\"" } })),
        call(json!({ "index": 1, "id": "2", "function": { "name": "b", "arguments": "{\"y\"" } })),
        call(json!({ "index": 0, "id": "1", "function": { "name": "a", "arguments": ":1}" } })),
        call(json!({ "index": 1, "id": "2", "function": { "name": "b", "arguments": ":2}" } })),
        finish("tool_calls"),
    ]);
    assert_eq!(names(answer.await.unwrap()), expected);
    // Encoded twice; cut off; none.
    let answer = stream([
        call(json!({ "index": 0, "function": { "name": "a", "arguments": "\"{\\\"x\\\":1}\"" } })),
        call(json!({ "index": 1, "function": { "name": "b", "arguments": "{\"y\":" } })),
        call(json!({ "index": 2, "function": { "name": "c" } })),
        finish("length"),
    ]);
    let answer = answer.await.unwrap();
    assert_eq!(answer.stop, Stop::Length);
    assert_eq!(
        names(answer),
        vec![
            ("a".to_owned(), json!({ "x": 1 })),
            ("b".to_owned(), json!("{\"y\":")),
            ("c".to_owned(), json!({})),
        ]
    );
}

#[tokio::test]
async fn the_end_may_be_told_in_many_ways() {
    for (chunks, text, stop) in [
        (
            vec![piece(&json!({ "content": "x" })), finish("eos")],
            "x",
            Stop::Done,
        ),
        (vec![finish("content_filter")], "", Stop::Filtered),
        (
            vec![piece(&json!({ "refusal": "No." })), finish("stop")],
            "No.",
            Stop::Filtered,
        ),
        (
            vec![
                piece(
                    &json!({ "content": [{ "type": "thinking" }, { "type": "text", "text": "y" }] }),
                ),
                finish("stop"),
            ],
            "y",
            Stop::Done,
        ),
    ] {
        let answer = stream(&chunks).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.stop), (text, stop));
    }
    let done = format!(
        "data: {}\n\ndata: [DONE]",
        piece(&json!({ "content": "x" }))
    );
    assert_eq!(
        read("custom", "text/event-stream", &done)
            .await
            .unwrap_err()
            .word(),
        "down"
    );
    let done = read("custom", "text/event-stream", &format!("{done}\n"))
        .await
        .unwrap();
    assert_eq!(done.text, "x");
    let error = stream([piece(&json!({ "content": "x" })), finish("error")])
        .await
        .unwrap_err();
    assert_eq!(error.word(), "down");
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let body = json!({
        "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": { "role": "assistant", "content": "hi",
            "tool_calls": [{ "id": "1", "type": "function", "function": { "name": "a", "arguments": "{}" } }] } }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 2 },
    });
    let answer = read(
        "custom",
        "application/json; charset=utf-8",
        &body.to_string(),
    )
    .await
    .unwrap();
    assert_eq!(
        (
            answer.text.as_str(),
            answer.calls.len(),
            answer.usage.output_tokens
        ),
        ("hi", 1, 2)
    );
}

#[tokio::test]
async fn errors_in_the_stream_have_their_class() {
    for (error, word) in [
        (
            json!({ "error": { "code": 429, "message": "Rate limited" } }),
            "rate_limited",
        ),
        (
            json!({ "error": { "code": "context_length_exceeded", "message": "x" } }),
            "too_long",
        ),
        (
            json!({ "error": { "code": 502, "message": "Provider returned error", "metadata": { "raw": "boom" } } }),
            "down",
        ),
        (
            json!({ "error": { "type": "invalid_api_key", "message": "x" } }),
            "credentials",
        ),
        (json!({ "error": "model is loading" }), "refused"),
        (
            json!([{ "error": { "code": 503, "status": "UNAVAILABLE", "message": "x" } }]),
            "down",
        ),
    ] {
        let found = stream([error.clone()]).await.unwrap_err();
        assert_eq!(found.word(), word, "{error}");
    }
}

#[tokio::test]
async fn the_path_is_added_and_a_query_stays() {
    let fake = Fake::start(Vec::new()).await;
    for (base, path) in [
        ("/v1/", "/v1/chat/completions"),
        ("", "/chat/completions"),
        (
            "/openai/x?api-version=1",
            "/openai/x/chat/completions?api-version=1",
        ),
    ] {
        let url = format!("{}{base}", fake.url);
        let provider = provider("custom", &json!({ "base_url": url, "model": "m" })).unwrap();
        provider.complete(&Request::default()).await.err().unwrap();
        assert_eq!(fake.seen().last().unwrap().path, path);
        assert_eq!(fake.seen().last().unwrap().body["model"], "m");
    }
}

#[test]
fn settings_are_checked() {
    let wrong = |settings| provider("custom", &settings).err().unwrap();
    assert_eq!(wrong(json!({ "model": "m" })), "base_url is missing");
    assert_eq!(wrong(json!({ "base_url": "http://x" })), "model is missing");
    assert!(wrong(json!({ "base_url": "localhost:8080", "model": "m" })).contains("http://"));
    assert!(wrong(json!({ "base_url": 5 })).contains("string"));
    assert_eq!(
        provider("openai", &json!({})).unwrap().about().model,
        "gpt-4.1-mini"
    );
}

#[tokio::test]
async fn a_vendor_is_not_asked_without_a_key() {
    for kind in ["openai", "gemini", "openrouter", "zai"] {
        let provider = provider(kind, &json!({ "api_key": " " })).unwrap();
        let error = provider.check().await.unwrap_err();
        assert_eq!(error.word(), "credentials", "{error}");
    }
}
