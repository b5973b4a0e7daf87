//! What is sent.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{body, body::Shape};
use crate::{
    providers::{
        Request,
        contract::{messages, plain, said, tool},
    },
    types::{
        Attachment,
        chat::{Call, Message, Reasoning},
    },
};

pub(super) fn shape(extra: &Map<String, Value>) -> Shape<'_> {
    Shape {
        model: "m",
        images: true,
        official: false,
        by: "mine/m",
        extra,
    }
}

/// Whether the API would take a request.
pub(in crate::providers) fn takes(request: &Request) -> Result<(), TestCaseError> {
    check(&body::body(request, &shape(&Map::new())))
}

/// Refuses what the API would refuse.
fn check(body: &Value) -> Result<(), TestCaseError> {
    let list = body["messages"].as_array().unwrap();
    let mut waiting: Vec<&Value> = Vec::new();
    let mut before = "";
    let mut ids = HashSet::new();
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
        let extra = Map::new();
        let body = body::body(&request, &Shape { images, ..shape(&extra) });
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

pub(super) fn question_with_everything() -> Request {
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
                reasoning: None,
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
        temperature: None,
    }
}

#[test]
fn the_body_as_a_whole() {
    let request = question_with_everything();
    let expected = json!({
        "model": "m",
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
    let mut extra = Map::new();
    assert_eq!(body::body(&request, &shape(&extra)), expected);
    let official = Shape {
        official: true,
        ..shape(&extra)
    };
    let body = body::body(&request, &official);
    assert_eq!(
        (&body["max_completion_tokens"], &body["max_tokens"]),
        (&json!(50), &Value::Null)
    );
    assert!(body["prompt_cache_key"].as_str().unwrap().len() > 20);
    extra.insert("tool_stream".to_owned(), json!(true));
    let body = body::body(&request, &shape(&extra));
    assert_eq!(body["tool_stream"], true);
}

#[test]
fn thoughts_go_back_under_the_name_they_came_with() {
    let mut request = question_with_everything();
    let kept = json!({ "reasoning_content": "hm", "x": 1 });
    if let Some(Message::Assistant { reasoning, .. }) = request.messages.get_mut(1) {
        *reasoning = Some(Reasoning {
            by: "mine/m".to_owned(),
            text: "hm".to_owned(),
            kept: vec![kept],
        });
    }
    let extra = Map::new();
    let body = body::body(&request, &shape(&extra));
    assert_eq!(body["messages"][2]["reasoning_content"], "hm");
    assert_eq!(body["messages"][2]["x"], Value::Null);
    let other = Shape {
        by: "mine/other",
        ..shape(&extra)
    };
    let body = body::body(&request, &other);
    assert_eq!(body["messages"][2]["reasoning_content"], Value::Null);
}
