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
        chat::{Call, Message, Reasoning, Stop, Usage},
    },
};

const NO_THOUGHTS: body::Thinking = body::Thinking {
    tokens: None,
    level: None,
};

const SHAPE: body::Shape<'static> = body::Shape {
    model: "m",
    images: true,
    thinking: &NO_THOUGHTS,
    by: "mine/m",
};

fn provider(url: &str, more: &Value) -> Result<std::sync::Arc<dyn Provider>, String> {
    let mut settings = more.as_object().cloned().unwrap();
    settings.insert("base_url".to_owned(), json!(url));
    settings
        .entry("api_key")
        .or_insert_with(|| json!("gemini-test-key"));
    let entry = Entry {
        name: "mine".to_owned(),
        kind: "gemini".to_owned(),
        settings,
    };
    (Kind::named("gemini").unwrap().build)(&entry, &Http::new())
}

/// Whether the API would take a request.
pub(in crate::providers) fn takes(request: &Request) -> Result<(), TestCaseError> {
    check(&body::body(request, &SHAPE))
}

/// Refuses what the API would refuse.
fn check(body: &Value) -> Result<(), TestCaseError> {
    let list = body["contents"].as_array().unwrap();
    prop_assert_eq!(&list[0]["role"], "user");
    let mut calls: Vec<&Value> = Vec::new();
    for content in list {
        let parts = content["parts"].as_array().unwrap();
        prop_assert!(!parts.is_empty());
        let answers = |part: &&Value| part.get("functionResponse").is_some();
        let results: Vec<&Value> = parts.iter().filter(answers).collect();
        // Directly after the calls, as many as there were, and nothing else beside them.
        prop_assert_eq!(results.len(), calls.len());
        prop_assert!(results.is_empty() || results.len() == parts.len());
        for (call, result) in calls.drain(..).zip(results) {
            prop_assert_eq!(&call["name"], &result["functionResponse"]["name"]);
            prop_assert_eq!(&call["id"], &result["functionResponse"]["id"]);
            prop_assert!(result["functionResponse"]["response"].is_object());
        }
        for part in parts {
            if let Some(call) = part.get("functionCall") {
                prop_assert_eq!(&content["role"], "model");
                prop_assert!(plain(&call["name"], 64) && call["args"].is_object());
                calls.push(call);
            } else if let Some(text) = part.get("text") {
                prop_assert!(said(text));
            } else if let Some(image) = part.get("inlineData") {
                let kind = image["mimeType"].as_str().unwrap();
                prop_assert!(content["role"] == "user" && kind.starts_with("image/"));
            } else {
                prop_assert!(part.get("functionResponse").is_some());
            }
        }
        if let Some(first) = parts.iter().find(|part| part.get("functionCall").is_some()) {
            prop_assert!(
                first["thoughtSignature"].is_string(),
                "a call without a signature"
            );
        }
    }
    prop_assert!(calls.is_empty() && list.last().unwrap()["role"] == "user");
    Ok(())
}

proptest! {
    #[test]
    fn any_conversation_makes_a_valid_body(messages in messages(), images in any::<bool>()) {
        let request = Request { messages, tools: vec![tool("a"), tool("a")], ..Request::default() };
        let body = body::body(&request, &body::Shape { images, ..SHAPE });
        check(&body)?;
        prop_assert_eq!(body["tools"][0]["functionDeclarations"].as_array().unwrap().len(), 1);
    }
}

fn call(id: &str) -> Call {
    Call {
        id: id.to_owned(),
        tool: "a".to_owned(),
        args: json!({ "text": "x" }),
    }
}

fn result(id: &str, failed: bool) -> Message {
    Message::Result {
        call: id.to_owned(),
        tool: "a".to_owned(),
        text: "out".to_owned(),
        failed,
    }
}

#[test]
fn the_body_as_a_whole() {
    let request = Request {
        system: "Be kind.".to_owned(),
        messages: vec![
            user("do"),
            Message::Assistant {
                text: "Doing.".to_owned(),
                calls: vec![call("c1"), call("c2")],
                reasoning: Some(Reasoning {
                    by: "mine/m".to_owned(),
                    text: "hm".to_owned(),
                    kept: vec![json!({ "at": 0, "thoughtSignature": "sig" })],
                }),
            },
            result("c1", false),
            result("c2", true),
            user("and?"),
        ],
        tools: vec![tool("a")],
        max_output_tokens: 50,
        temperature: Some(0.5),
        model: None,
    };
    let args = json!({ "text": "x" });
    let expected = json!({
        "systemInstruction": { "parts": [{ "text": "Be kind." }] },
        "contents": [
            { "role": "user", "parts": [{ "text": "do" }] },
            { "role": "model", "parts": [
                { "text": "Doing." },
                { "functionCall": { "id": "c1", "name": "a", "args": args }, "thoughtSignature": "sig" },
                { "functionCall": { "id": "c2", "name": "a", "args": args } },
            ] },
            { "role": "user", "parts": [
                { "functionResponse": { "id": "c1", "name": "a", "response": { "output": "out" } } },
                { "functionResponse": { "id": "c2", "name": "a", "response": { "error": "out" } } },
            ] },
            { "role": "user", "parts": [{ "text": "and?" }] },
        ],
        "tools": [{ "functionDeclarations": [{ "name": "a", "description": "Does a.",
            "parameters": { "type": "object", "properties": { "text": { "type": "string" } } } }] }],
        "generationConfig": { "maxOutputTokens": 50, "temperature": 0.5 },
    });
    assert_eq!(body::body(&request, &SHAPE), expected);
    // Another model's calls have no signature of ours: then the documented placeholder stands there.
    let other = body::Shape {
        by: "mine/other",
        ..SHAPE
    };
    let body = body::body(&request, &other);
    let signature = &body["contents"][1]["parts"][1]["thoughtSignature"];
    assert_eq!(signature, "skip_thought_signature_validator");
}

#[test]
fn thoughts_are_asked_for_where_a_model_has_some() {
    let config = |model: &'static str, tokens| {
        let thinking = body::Thinking {
            tokens,
            level: None,
        };
        let shape = body::Shape {
            model,
            thinking: &thinking,
            ..SHAPE
        };
        body::body(&Request::default(), &shape)["generationConfig"]["thinkingConfig"].clone()
    };
    assert_eq!(
        config("gemini-2.5-flash", None),
        json!({ "includeThoughts": true })
    );
    assert_eq!(
        config("gemini-3-pro-preview", None),
        json!({ "includeThoughts": true })
    );
    assert_eq!(
        config("gemini-2.5-flash", Some(0)),
        json!({ "thinkingBudget": 0 })
    );
    for model in ["gemini-2.0-flash", "gemini-2.5-flash-image", "gemma-3-27b"] {
        assert_eq!(config(model, None), Value::Null, "{model}");
    }
}

#[test]
fn schemas_are_brought_into_its_subset() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "$defs": { "Place": { "type": "object", "properties": { "city": { "type": "string", "format": "hostname" } },
            "additionalProperties": false, "required": ["city", "gone"] } },
        "properties": {
            "place": { "$ref": "#/$defs/Place", "description": "Where" },
            "when": { "type": ["string", "null"], "format": "date-time" },
            "unit": { "const": "C" },
            "level": { "enum": [1, 2], "type": "integer", "description": "How much." },
            "any": { "oneOf": [{ "type": "string" }, { "type": "integer", "exclusiveMinimum": 0 }] },
            "maybe": { "anyOf": [{ "type": "boolean" }, { "type": "null" }] },
            "list": { "type": "array" },
            "both": { "type": ["string", "integer"] },
        },
        "required": ["place"],
        "unevaluatedProperties": false,
    });
    let expected = json!({
        "type": "object",
        "properties": {
            "place": { "type": "object", "description": "Where", "properties": { "city": { "type": "string" } }, "required": ["city"] },
            "when": { "type": "string", "nullable": true, "format": "date-time" },
            "unit": { "type": "string", "enum": ["C"] },
            "level": { "type": "integer", "description": "How much. One of: 1, 2." },
            "any": { "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 0 }] },
            "maybe": { "type": "boolean", "nullable": true },
            "list": { "type": "array", "items": { "type": "string" } },
            "both": { "anyOf": [{ "type": "string" }, { "type": "integer" }] },
        },
        "required": ["place"],
    });
    assert_eq!(schema::parameters(&schema), Some(expected));
    assert_eq!(schema::parameters(&json!({ "type": "object" })), None);
    let endless = json!({ "properties": { "a": { "$ref": "#" } } });
    assert!(schema::parameters(&endless).unwrap().to_string().len() < 2_000);
}

async fn stream(chunks: impl AsRef<[Value]>) -> Result<Collected, ProviderError> {
    let data = |chunk: &Value| format!("data: {chunk}\r\n\r\n");
    let body: String = chunks.as_ref().iter().map(data).collect();
    read("text/event-stream", body).await
}

async fn read(kind: &str, body: String) -> Result<Collected, ProviderError> {
    let fake = Fake::start(vec![Reply::new(200, kind, body)]).await;
    let facts = json!({ "model": "models/m", "context_tokens": 9_000, "max_output_tokens": 10, "tools": true,
        "images": true, "price": { "input_per_mtok": 1, "output_per_mtok": 1 } });
    let request = Request {
        messages: vec![user("hello there")],
        ..Request::default()
    };
    let answer = provider(&fake.url, &facts)
        .unwrap()
        .complete(&request)
        .await;
    let answer = match answer {
        Ok(answer) => collect(answer).await,
        Err(error) => Err(error),
    };
    let seen = &fake.seen()[0];
    assert_eq!(seen.path, "/v1beta/models/m:streamGenerateContent?alt=sse");
    assert_eq!(seen.headers["x-goog-api-key"], "gemini-test-key");
    answer
}

fn parts(parts: &Value) -> Value {
    json!({ "candidates": [{ "content": { "role": "model", "parts": parts }, "index": 0 }] })
}

fn finish(reason: &str) -> Value {
    json!({ "candidates": [{ "finishReason": reason, "index": 0 }] })
}

/// The shapes of its guide on thought signatures: parallel calls, the signature on the first.
#[tokio::test]
async fn thoughts_and_signatures_are_kept() {
    let answer = stream([
        parts(&json!([{ "text": "I should look.", "thought": true }])),
        parts(&json!([{ "text": "Looking." }])),
        parts(&json!([
            { "functionCall": { "name": "a", "args": { "city": "Paris" } }, "thoughtSignature": "<Sig A>" },
            { "functionCall": { "name": "a", "args": { "city": "London" } } },
        ])),
        parts(&json!([{ "text": "", "thoughtSignature": "<Sig B>" }])),
        json!({ "candidates": [{ "finishReason": "STOP" }], "usageMetadata": { "promptTokenCount": 100,
            "cachedContentTokenCount": 60, "candidatesTokenCount": 7, "thoughtsTokenCount": 30, "totalTokenCount": 137 } }),
    ])
    .await
    .unwrap();
    assert_eq!(answer.text, "Looking.");
    assert_eq!(answer.calls.len(), 2);
    assert_ne!(answer.calls[0].id, answer.calls[1].id);
    let thoughts = answer.reasoning.unwrap();
    assert_eq!(thoughts.text, "I should look.");
    let expected = [
        json!({ "at": 0, "thoughtSignature": "<Sig A>" }),
        json!({ "at": "text", "thoughtSignature": "<Sig B>" }),
    ];
    assert_eq!(thoughts.kept, expected);
    let usage = Usage {
        input_tokens: 100,
        cached_tokens: 60,
        output_tokens: 37,
        estimated: false,
    };
    assert_eq!(answer.usage, usage);
}

#[tokio::test]
async fn every_reason_to_stop() {
    for (reason, stop) in [
        ("STOP", Stop::Done),
        ("FINISH_REASON_UNSPECIFIED", Stop::Done),
        ("MAX_TOKENS", Stop::Length),
        ("SAFETY", Stop::Filtered),
        ("RECITATION", Stop::Filtered),
        ("LANGUAGE", Stop::Filtered),
        ("OTHER", Stop::Filtered),
        ("BLOCKLIST", Stop::Filtered),
        ("PROHIBITED_CONTENT", Stop::Filtered),
        ("SPII", Stop::Filtered),
        ("IMAGE_SAFETY", Stop::Filtered),
    ] {
        assert_eq!(
            stream([finish(reason)]).await.unwrap().stop,
            stop,
            "{reason}"
        );
    }
    for (reason, word) in [
        ("MALFORMED_FUNCTION_CALL", "down"),
        ("UNEXPECTED_TOOL_CALL", "down"),
        ("TOO_MANY_TOOL_CALLS", "down"),
        ("MISSING_THOUGHT_SIGNATURE", "refused"),
    ] {
        let error = stream([finish(reason)]).await.unwrap_err();
        assert_eq!(error.word(), word, "{reason}");
    }
    let blocked = json!({ "promptFeedback": { "blockReason": "PROHIBITED_CONTENT" } });
    let error = stream([blocked]).await.unwrap_err();
    assert_eq!(error.word(), "refused");
    assert!(error.to_string().contains("PROHIBITED_CONTENT"), "{error}");
}

#[tokio::test]
async fn errors_have_their_class_and_their_wait() {
    for (status, error, word) in [
        (
            400,
            json!({ "code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT" }),
            "credentials",
        ),
        (
            400,
            json!({ "code": 400, "message": "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT" }),
            "too_long",
        ),
        (
            403,
            json!({ "code": 403, "message": "x", "status": "PERMISSION_DENIED" }),
            "credentials",
        ),
        (
            404,
            json!({ "code": 404, "message": "models/x is not found", "status": "NOT_FOUND" }),
            "refused",
        ),
        (
            503,
            json!({ "code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE" }),
            "down",
        ),
        (
            504,
            json!({ "code": 504, "message": "x", "status": "DEADLINE_EXCEEDED" }),
            "down",
        ),
    ] {
        let fake = Fake::start(vec![Reply::json(status, &json!({ "error": error })); 2]).await;
        let answer = provider(&fake.url, &json!({})).unwrap();
        let found = answer.check().await.err().map_or("ok", |e| e.word());
        // A check passes over refusals; the answer itself does not.
        assert!(found == word || found == "ok", "{error} {found}");
        let fake = Fake::start(vec![Reply::json(status, &json!({ "error": error })); 2]).await;
        let answer = provider(&fake.url, &json!({})).unwrap();
        let found = answer.complete(&Request::default()).await.err().unwrap();
        assert_eq!(found.word(), word, "{error}");
    }
    let slow = json!({ "error": { "code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [
        { "@type": "type.googleapis.com/google.rpc.Help" },
        { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s" }] } });
    let fake = Fake::start(vec![Reply::json(429, &slow); 2]).await;
    let answer = provider(&fake.url, &json!({}))
        .unwrap()
        .complete(&Request::default())
        .await;
    let Some(ProviderError::RateLimited { after, .. }) = answer.err() else {
        panic!("not told to wait");
    };
    assert_eq!(after, Some(std::time::Duration::from_millis(7_500)));
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let whole = json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": "hi" },
        { "functionCall": { "name": "a", "args": { "x": 1 } } }] }, "finishReason": "STOP" }],
        "usageMetadata": { "promptTokenCount": 3, "candidatesTokenCount": 4 } });
    for body in [
        whole.to_string(),
        json!([parts(&json!([{ "text": "" }])), whole]).to_string(),
    ] {
        let answer = read("application/json; charset=UTF-8", body).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.calls.len()), ("hi", 1));
        assert_eq!(answer.usage.output_tokens, 4);
    }
}

#[tokio::test]
async fn what_its_list_says_is_used() {
    let one = json!({ "name": "models/m", "inputTokenLimit": 32_000, "outputTokenLimit": 8_192,
        "supportedGenerationMethods": ["generateContent", "countTokens"] });
    let other = json!({ "name": "models/vectors", "supportedGenerationMethods": ["embedContent"] });
    let fake = Fake::start(vec![Reply::json(200, &json!({ "models": [one, other] }))]).await;
    let provider = provider(&fake.url, &json!({ "model": "m" })).unwrap();
    assert_eq!(provider.about().context_tokens, 1_000_000);
    let models = provider.models().await.unwrap();
    assert_eq!(models.len(), 1);
    let about = provider.about();
    assert_eq!(
        (about.context_tokens, about.max_output_tokens),
        (32_000, Some(8_192))
    );
}

#[test]
fn the_address_of_its_imitation_of_openai_is_no_longer_right() {
    let error = provider(
        "https://generativelanguage.googleapis.com/v1beta/openai/",
        &json!({}),
    );
    let error = error.err().unwrap();
    assert!(
        error.contains("remove base_url") && error.contains("kind: custom"),
        "{error}"
    );
}
