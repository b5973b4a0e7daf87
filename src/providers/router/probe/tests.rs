use super::*;
use crate::providers::contract::{Fake, Reply};

async fn probe(replies: Vec<Reply>) -> Probe {
    let fake = Fake::start(replies).await;
    // All is said of the model, so that the server is not asked for it meanwhile.
    let settings = json!({ "base_url": fake.url, "model": "gpt-5-min", "api_key": "k",
        "context_tokens": 1000, "max_output_tokens": 100, "tools": true, "images": false,
        "price": { "input_per_mtok": "1", "output_per_mtok": "1" } });
    let entry = crate::types::Entry {
        name: "mine".to_owned(),
        kind: "custom".to_owned(),
        settings: settings.as_object().cloned().unwrap(),
    };
    let kind = crate::providers::Kind::named("custom").unwrap();
    let provider = (kind.build)(&entry, &crate::net::Http::new()).unwrap();
    run(&*provider).await
}

fn frames(deltas: &[serde_json::Value]) -> Reply {
    let mut body = String::new();
    for delta in deltas {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": null });
        body.push_str(&format!("data: {}\n\n", json!({ "choices": [choice] })));
    }
    let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }],
                      "usage": { "prompt_tokens": 20, "completion_tokens": 10 } });
    body.push_str(&format!("data: {end}\n\ndata: [DONE]\n\n"));
    Reply::new(200, "text/event-stream", body)
}

fn words(probe: &Probe) -> Vec<(&'static str, Verdict)> {
    probe.findings.iter().map(|f| (f.what, f.verdict)).collect()
}

fn mend(probe: &Probe) -> String {
    let last = probe.findings.last().unwrap();
    last.mend.clone().unwrap_or_default()
}

#[tokio::test]
async fn a_provider_that_does_everything_is_good() {
    let call = json!({ "tool_calls": [{ "index": 0, "id": "c", "type": "function",
                       "function": { "name": "ping", "arguments": "{}" } }] });
    let count = [json!({ "content": "one " }), json!({ "content": "two" })];
    let found = probe(vec![frames(&count), frames(&[call])]).await;
    assert_eq!(
        words(&found),
        ["reach", "auth", "model", "streaming", "tools"].map(|what| (what, Verdict::Good))
    );
    assert_eq!(
        (found.usage.input_tokens, found.usage.output_tokens),
        (40, 20)
    );
}

#[tokio::test]
async fn less_than_everything_is_weak() {
    let one = [json!({ "content": "one two three" })];
    let found = probe(vec![frames(&one), frames(&one)]).await;
    assert_eq!(
        words(&found)[3..],
        [("streaming", Verdict::Weak), ("tools", Verdict::Weak)]
    );
    let error = json!({ "error": { "message": "no" } });
    let found = probe(vec![frames(&one), Reply::json(400, &error)]).await;
    assert_eq!(words(&found)[4], ("tools", Verdict::Bad));
}

#[tokio::test]
async fn each_failure_names_its_mend() {
    let error = |status, text: &str| Reply::json(status, &json!({ "error": { "message": text } }));
    let models = || {
        Reply::json(
            200,
            &json!({ "data": [{ "id": "gpt-5-mini" }, { "id": "whisper" }] }),
        )
    };

    let found = probe(vec![error(401, "bad key"), models()]).await;
    assert_eq!(
        words(&found),
        [("reach", Verdict::Good), ("auth", Verdict::Bad)]
    );
    assert!(
        mend(&found).contains("llm.providers.mine.api_key"),
        "{found:?}"
    );

    let found = probe(vec![error(404, "The model does not exist"), models()]).await;
    assert_eq!(words(&found)[2], ("model", Verdict::Bad));
    assert!(mend(&found).contains("such as `gpt-5-mini`"), "{found:?}");

    let page = || Reply::new(200, "text/html", "<html>hello</html>".to_owned());
    let found = probe(vec![page(), page()]).await;
    assert_eq!(words(&found), [("reach", Verdict::Bad)]);
    assert!(
        mend(&found).contains("llm.providers.mine.base_url"),
        "{found:?}"
    );

    let found = probe(vec![error(500, "oops"), models()]).await;
    assert_eq!(words(&found), [("reach", Verdict::Bad)]);
}
