use std::sync::Arc;

use crate::{
    net::Http,
    providers::{
        Collected, Kind, collect,
        contract::{Fake, Reply, tool, user},
    },
    types::{Attachment, Entry, chat::Call},
};

use super::*;

fn provider(url: &str, more: &Value) -> Arc<dyn Provider> {
    let mut settings = json!({ "base_url": url, "model": "m", "context_tokens": 9_000, "max_output_tokens": 10,
        "tools": true, "images": true, "price": { "input_per_mtok": 1, "output_per_mtok": 1 } });
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    let entry = Entry {
        name: "mine".to_owned(),
        kind: "custom".to_owned(),
        settings: settings.as_object().cloned().unwrap(),
    };
    (Kind::named("custom").unwrap().build)(&entry, &Http::new()).unwrap()
}

fn says(text: &str) -> Reply {
    let chunk = json!({ "choices": [{ "delta": { "content": text }, "finish_reason": "stop" }] });
    Reply::new(
        200,
        "text/event-stream",
        format!("data: {chunk}\n\ndata: [DONE]\n\n"),
    )
}

fn refuses(text: &str) -> Reply {
    Reply::json(
        400,
        &json!({ "error": { "message": text, "type": "invalid_request_error" } }),
    )
}

fn question() -> Request {
    Request {
        messages: vec![user("hi")],
        tools: vec![tool("first"), tool("second")],
        ..Request::default()
    }
}

async fn ask(provider: &dyn Provider, request: &Request) -> Collected {
    collect(provider.complete(request).await.unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_model_without_tools_gets_them_in_words() {
    let block =
        "Let me see.\n```tool_call\n{\"tool\": \"first\", \"args\": {\"text\": \"x\"}}\n```";
    let fake = Fake::start(vec![
        refuses("m does not support tools"),
        says(block),
        says("Done."),
    ])
    .await;
    let provider = provider(&fake.url, &json!({}));
    let answer = ask(&*provider, &question()).await;
    assert_eq!(answer.text, "Let me see.\n");
    assert_eq!(answer.calls[0].tool, "first");
    assert_eq!(answer.calls[0].args, json!({ "text": "x" }));
    assert_eq!(answer.notices.len(), 1);
    assert!(!provider.about().tools, "it is remembered");
    let mut next = question();
    next.messages.push(Message::Assistant {
        text: answer.text,
        calls: answer.calls.clone(),
        reasoning: None,
    });
    next.messages.push(Message::Result {
        call: answer.calls[0].id.clone(),
        tool: "first".to_owned(),
        text: "seven".to_owned(),
        failed: false,
    });
    let answer = ask(&*provider, &next).await;
    assert_eq!((answer.text.as_str(), answer.notices.len()), ("Done.", 0));
    let seen = fake.seen();
    assert_eq!(seen.len(), 3, "the second question is not refused first");
    assert_eq!(seen[2].body["tools"], Value::Null);
    let said = seen[2].body["messages"].to_string();
    assert!(
        said.contains("seven") && !said.contains("tool_call_id"),
        "{said}"
    );
}

#[tokio::test]
async fn the_owner_can_say_that_a_model_has_no_tools() {
    let fake = Fake::start(vec![says("Hi.")]).await;
    let provider = provider(&fake.url, &json!({ "tools": false }));
    assert_eq!(ask(&*provider, &question()).await.text, "Hi.");
    let body = &fake.seen()[0].body;
    assert_eq!(body["tools"], Value::Null);
    assert!(
        body["messages"][0]["content"]
            .as_str()
            .unwrap()
            .contains("## second")
    );
}

#[tokio::test]
async fn a_refused_schema_is_said_plainly_and_then_left_out() {
    for refusal in [
        "Invalid schema for function 'second': array schema missing items",
        "tools.1.custom.input_schema: JSON schema is invalid",
        "Invalid value at tools[0].function_declarations[1].parameters",
    ] {
        let fake = Fake::start(vec![
            refuses(refusal),
            refuses(refusal),
            says("ok"),
            says("ok"),
        ])
        .await;
        let provider = provider(&fake.url, &json!({}));
        let answer = ask(&*provider, &question()).await;
        assert_eq!(answer.notices.len(), 2);
        assert!(
            answer
                .notices
                .iter()
                .all(|notice| notice.contains("`second`"))
        );
        assert_eq!(ask(&*provider, &question()).await.notices.len(), 0);
        let seen = fake.seen();
        let plain = seen[1].body["tools"][1]["function"]["description"]
            .as_str()
            .unwrap();
        assert!(plain.contains("JSON Schema"), "{plain}");
        for asked in &seen[2..] {
            assert_eq!(asked.body["tools"].as_array().unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_refusal_that_nothing_mends_is_told() {
    let fake = Fake::start(vec![refuses("the model `m` does not exist")]).await;
    let error = provider(&fake.url, &json!({}))
        .complete(&question())
        .await
        .err()
        .unwrap();
    assert_eq!(error.word(), "refused");
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert!(
        error.to_string().contains("nexflow models list mine"),
        "{error}"
    );
}

fn picture() -> Request {
    Request {
        messages: vec![Message::User {
            text: "what is this".to_owned(),
            images: vec![Attachment {
                name: "cat.png".to_owned(),
                media_type: "image/png".to_owned(),
                data: vec![1, 2, 3],
            }],
        }],
        ..Request::default()
    }
}

#[tokio::test]
async fn a_blind_model_is_told_in_words_and_so_is_the_person() {
    let refused = refuses("This model does not support image input");
    let fake = Fake::start(vec![refused, says("A file."), says("A file.")]).await;
    let provider = provider(&fake.url, &json!({}));
    for _ in 0..2 {
        let answer = ask(&*provider, &picture()).await;
        assert_eq!(answer.notices.len(), 1);
        assert!(
            answer.notices[0].contains("`cat.png`"),
            "{:?}",
            answer.notices
        );
    }
    let seen = fake.seen();
    assert_eq!(seen.len(), 3);
    let said = seen[1].body["messages"][0]["content"].as_str().unwrap();
    assert!(said.contains("cat.png (image/png, 3 bytes)"), "{said}");

    let fake = Fake::start(vec![says("A file.")]).await;
    let provider = self::provider(&fake.url, &json!({ "images": false }));
    let mut later = picture();
    assert_eq!(ask(&*provider, &later).await.notices.len(), 1);
    // It is told once: not again for each step that follows.
    later.messages.push(Message::Assistant {
        text: "Hm".to_owned(),
        calls: Vec::new(),
        reasoning: None,
    });
    later.messages.push(user("go on"));
    let mended = Mended::new(crate::providers::Offline::new(crate::types::Clock::system()));
    assert_eq!(mended.unseen("m", &later), None);
    assert!(mended.unseen("m", &picture()).is_some());
}

#[tokio::test]
async fn a_conversation_that_is_too_long_is_shortened_once_it_is_refused() {
    let long = refuses("This model's maximum context length is 8192 tokens");
    let fake = Fake::start(vec![long.clone(), says("ok")]).await;
    let mut request = Request {
        messages: (0..9).map(|n| user(&format!("message {n}"))).collect(),
        ..Request::default()
    };
    request.messages.push(Message::Assistant {
        text: String::new(),
        calls: vec![Call {
            id: "1".to_owned(),
            tool: "a".to_owned(),
            args: json!({}),
        }],
        reasoning: None,
    });
    request.messages.push(Message::Result {
        call: "1".to_owned(),
        tool: "a".to_owned(),
        text: "long ".repeat(2_000),
        failed: false,
    });
    let answer = ask(&*provider(&fake.url, &json!({})), &request).await;
    assert!(
        answer.notices[0].contains("too long"),
        "{:?}",
        answer.notices
    );
    let said = fake.seen()[1].body["messages"].to_string();
    assert!(!said.contains("message 0") && said.contains("message 8") && said.len() < 4_000);

    // What cannot be made shorter is told to the person.
    let fake = Fake::start(vec![long; 3]).await;
    let one = Request {
        messages: vec![user("one message")],
        ..Request::default()
    };
    let error = provider(&fake.url, &json!({}))
        .complete(&one)
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("Send a shorter message"),
        "{error}"
    );
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn thoughts_that_are_not_taken_back_are_left_out() {
    let fake = Fake::start(vec![
        refuses("messages.1: property 'reasoning_content' is unsupported"),
        says("ok"),
    ])
    .await;
    let mut request = question();
    request.messages.push(Message::Assistant {
        text: String::new(),
        calls: vec![Call {
            id: "1".to_owned(),
            tool: "first".to_owned(),
            args: json!({}),
        }],
        reasoning: Some(crate::types::chat::Reasoning {
            by: "mine/m".to_owned(),
            text: "hm".to_owned(),
            kept: vec![json!({ "reasoning_content": "hm" })],
        }),
    });
    let answer = ask(&*provider(&fake.url, &json!({})), &request).await;
    assert_eq!((answer.text.as_str(), answer.notices.len()), ("ok", 0));
    let sent = |n: usize| fake.seen()[n].body["messages"][1]["reasoning_content"].clone();
    assert_eq!((sent(0), sent(1)), (json!("hm"), Value::Null));
}
