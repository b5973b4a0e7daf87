pub(in crate::providers) mod bodies;
pub(in crate::providers) mod responses;

use axum::body::Bytes;
use serde_json::{Value, json};

use crate::{
    net::Http,
    providers::{
        Collected, Kind, Provider, ProviderError, Request, collect,
        contract::{Fake, Reply, user},
    },
    types::{
        Entry,
        chat::{Stop, Usage},
    },
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
        (vec![finish("sensitive")], "", Stop::Filtered),
        (vec![finish("function_call")], "", Stop::Done),
        (
            vec![finish("model_context_window_exceeded")],
            "",
            Stop::Length,
        ),
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
    for reason in ["error", "network_error"] {
        let error = stream([piece(&json!({ "content": "x" })), finish(reason)]);
        assert_eq!(error.await.unwrap_err().word(), "down");
    }
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
        // It may be asked for its list of models beside.
        let seen = fake.seen();
        let asked = seen.iter().rfind(|seen| seen.method == "POST").unwrap();
        assert_eq!(asked.path, path);
        assert_eq!(asked.body["model"], "m");
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

/// As z.ai sends them, as vLLM does, and as `OpenRouter` does.
#[tokio::test]
async fn thoughts_are_shown_and_kept_under_their_own_name() {
    let detail = |text: &str, more: Value| {
        let mut detail =
            json!({ "type": "reasoning.text", "index": 0, "text": text, "format": "x" });
        for (key, value) in more.as_object().unwrap() {
            detail[key] = value.clone();
        }
        json!({ "reasoning": text, "reasoning_details": [detail] })
    };
    for (pieces, kept) in [
        (
            vec![
                json!({ "reasoning_content": "Let me " }),
                json!({ "reasoning_content": "see.", "content": "" }),
            ],
            json!({ "reasoning_content": "Let me see." }),
        ),
        (
            vec![
                json!({ "reasoning": "Let me " }),
                json!({ "reasoning": "see." }),
            ],
            json!({ "reasoning": "Let me see." }),
        ),
        (
            vec![
                detail("Let me ", json!({ "signature": null })),
                detail("see.", json!({})),
                json!({ "reasoning_details": [{ "type": "reasoning.text", "index": 0, "signature": "sig" }] }),
                json!({ "reasoning_details": [{ "type": "reasoning.encrypted", "index": 1, "data": "abc" }] }),
            ],
            json!({ "reasoning_details": [
                { "type": "reasoning.text", "index": 0, "text": "Let me see.", "format": "x", "signature": "sig" },
                { "type": "reasoning.encrypted", "index": 1, "data": "abc" },
            ] }),
        ),
    ] {
        let mut chunks: Vec<Value> = pieces.iter().map(piece).collect();
        chunks.extend([piece(&json!({ "content": "Hi" })), finish("stop")]);
        let answer = stream(&chunks).await.unwrap();
        assert_eq!(answer.text, "Hi");
        let thoughts = answer.reasoning.unwrap();
        assert_eq!(
            (thoughts.text.as_str(), thoughts.by.as_str()),
            ("Let me see.", "mine/m")
        );
        assert_eq!(thoughts.kept, [kept]);
    }
}

#[tokio::test]
async fn errors_of_zai_have_their_class() {
    for (status, code, message, word) in [
        (
            401,
            "1001",
            "Authentication parameter not received in Header",
            "credentials",
        ),
        (
            429,
            "1113",
            "Insufficient balance or no resource package. Please recharge.",
            "credentials",
        ),
        (
            400,
            "1211",
            "Unknown Model, please check the model code.",
            "refused",
        ),
        (400, "1261", "Prompt exceeds max length", "too_long"),
        (
            400,
            "1301",
            "System detected potentially unsafe or sensitive content",
            "refused",
        ),
        (
            429,
            "1302",
            "High concurrency usage of this API",
            "rate_limited",
        ),
        (500, "1234", "Network error", "down"),
    ] {
        let error = json!({ "error": { "code": code, "message": message } });
        let fake = Fake::start(vec![Reply::json(status, &error)]).await;
        let settings = json!({ "base_url": fake.url, "model": "glm-4.6", "thinking": false });
        let asked = provider("zai", &settings)
            .unwrap()
            .complete(&Request::default())
            .await;
        assert_eq!(asked.err().unwrap().word(), word, "{code}");
        let body = fake.seen()[0].body.clone();
        assert_eq!(
            (&body["thinking"]["type"], &body["tool_stream"]),
            (&json!("disabled"), &json!(true))
        );
        // The same inside a stream, where no status helps.
        let found = stream([error]).await.unwrap_err();
        assert_eq!(found.word(), word, "{code} in a stream");
    }
}

#[tokio::test]
async fn openrouter_is_told_who_may_answer_and_tells_what_it_costs() {
    let list = json!({ "data": [{ "id": "vendor/model", "context_length": 64_000, "supported_parameters": ["max_tokens"],
        "architecture": { "input_modalities": ["text"] }, "pricing": { "prompt": "0.000001", "completion": "0.000002" } }] });
    let fake = Fake::start(vec![Reply::json(200, &list)]).await;
    let routing = json!({ "order": ["a", "b"], "allow_fallbacks": false });
    let settings = json!({ "base_url": fake.url, "model": "vendor/model", "provider": routing, "models": ["vendor/other"],
        "transforms": ["middle-out"], "reasoning_effort": "low" });
    let provider = provider("openrouter", &settings).unwrap();
    provider.models().await.unwrap();
    let about = provider.about();
    assert_eq!(
        (about.context_tokens, about.tools, about.images),
        (64_000, false, false)
    );
    assert_eq!(about.price.unwrap().output_per_mtok.to_string(), "2.0");
    provider.complete(&Request::default()).await.err().unwrap();
    let body = fake.seen().last().unwrap().body.clone();
    assert_eq!(body["provider"], routing);
    assert_eq!(body["models"], json!(["vendor/other"]));
    assert_eq!(body["transforms"], json!(["middle-out"]));
    assert_eq!(body["usage"], json!({ "include": true }));
    assert_eq!(body["reasoning"], json!({ "effort": "low" }));
}

#[tokio::test]
async fn a_window_is_learnt_from_a_list_beside_the_question() {
    let done = Reply::new(
        200,
        "text/event-stream",
        format!("data: {}\n\ndata: [DONE]\n\n", finish("stop")),
    );
    let list = json!({ "object": "list", "data": [{ "id": "m", "max_model_len": 4_096 }] });
    let fake = Fake::start(vec![done.clone(), done])
        .await
        .always("/models", Reply::json(200, &list));
    let provider = provider("custom", &json!({ "base_url": fake.url, "model": "m" })).unwrap();
    assert_eq!(provider.about().context_tokens, 32_000);
    for _ in 0..2 {
        collect(provider.complete(&Request::default()).await.unwrap())
            .await
            .unwrap();
    }
    let seen = fake.seen();
    let lists = seen.iter().filter(|seen| seen.path == "/models").count();
    assert_eq!(
        (seen.len(), lists),
        (3, 1),
        "asked once, with the first question"
    );
}
