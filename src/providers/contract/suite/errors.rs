//! What goes wrong, and what is said about it.

use std::time::Duration;

use axum::body::Bytes;

use super::{DIALECTS, KEY, Reply, all, ask, whole};
use crate::{providers::ProviderError, types::chat::Delta};

#[tokio::test]
async fn garbage_is_an_error_and_nothing_worse() {
    let garbage: [(&str, &str, Bytes); 6] = [
        (
            "text/event-stream",
            "down",
            Bytes::from_static(b"data\xff\xfe\n\n"),
        ),
        (
            "text/event-stream",
            "garbled",
            Bytes::from_static(b"data: {\"choices\":[\n\n"),
        ),
        (
            "text/event-stream",
            "garbled",
            Bytes::from_static(b"data: 17\n\ndata: []\n\n"),
        ),
        (
            "text/html; charset=utf-8",
            "garbled",
            Bytes::from_static(b"<html>Sign in</html>"),
        ),
        ("text/event-stream", "down", Bytes::new()),
        ("application/json", "garbled", Bytes::from_static(b"{\"cut")),
    ];
    for dialect in DIALECTS {
        for (kind, word, body) in garbage.clone() {
            let error = whole(dialect, Reply::new(200, kind, body.clone()))
                .await
                .unwrap_err();
            let lines = dialect.kind == "ollama" && !body.is_empty();
            let word = if lines { "garbled" } else { word };
            let word =
                if dialect.kind == "anthropic" && word == "garbled" && kind == "application/json" {
                    "garbled"
                } else {
                    word
                };
            assert_eq!(error.word(), word, "{} {body:?}: {error}", dialect.kind);
        }
        let endless = vec![Bytes::from(vec![b'x'; 1 << 20]); 5];
        let reply = dialect.reply("").in_chunks(endless);
        let error = whole(dialect, reply).await.unwrap_err();
        assert_eq!(error.word(), "garbled", "{}", dialect.kind);
    }
}

#[tokio::test]
async fn the_error_table() {
    let table = [
        (400, "bad", "refused"),
        (401, "bad key", "credentials"),
        (402, "pay", "credentials"),
        (403, "not you", "credentials"),
        (404, "no such model", "refused"),
        (413, "too big", "too_long"),
        (422, "bad", "refused"),
        (429, "slow down", "rate_limited"),
        (500, "oops", "down"),
        (502, "bad gateway", "down"),
        (503, "busy", "down"),
        (529, "overloaded", "down"),
        (
            400,
            "This model's maximum context length is 8192 tokens",
            "too_long",
        ),
        (
            400,
            "prompt is too long: 210000 tokens > 200000 maximum",
            "too_long",
        ),
        (
            429,
            "You exceeded your current quota (insufficient_quota)",
            "credentials",
        ),
        (302, "", "refused"),
    ];
    for dialect in DIALECTS {
        for (status, message, word) in table {
            let reply = Reply::json(status, &(dialect.error)("some_error", message));
            let error = whole(dialect, reply).await.unwrap_err();
            assert_eq!(error.word(), word, "{} {status} {message}", dialect.kind);
            let text = error.to_string();
            assert!(text.contains("peer"), "{text}");
            assert!(status == 302 || text.contains(message), "{text}");
        }
    }
}

#[tokio::test]
async fn the_wait_that_is_asked_for_is_kept() {
    let date = "Sat, 21 Nov 2026 10:00:00 GMT";
    let table = [
        (vec![("retry-after", "7")], Some(7_000)),
        (vec![("retry-after", "1.5")], Some(1_500)),
        (
            vec![("retry-after-ms", "250"), ("retry-after", "9")],
            Some(250),
        ),
        (
            vec![
                ("date", date),
                ("retry-after", "Sat, 21 Nov 2026 10:02:00 GMT"),
            ],
            Some(120_000),
        ),
        (vec![("retry-after", "soon")], None),
        (vec![("retry-after", "-3")], Some(0)),
        (vec![("retry-after", "1e300")], None),
        (vec![], None),
    ];
    for dialect in DIALECTS {
        for (headers, millis) in &table {
            let mut reply = Reply::json(429, &(dialect.error)("rate_limit_error", "slow down"));
            for (name, value) in headers {
                reply = reply.header(name, value);
            }
            let Err(ProviderError::RateLimited { after, .. }) = whole(dialect, reply).await else {
                panic!("{}", dialect.kind);
            };
            assert_eq!(after, millis.map(Duration::from_millis), "{headers:?}");
        }
    }
}

#[tokio::test]
async fn an_error_inside_the_stream_is_told() {
    for dialect in DIALECTS {
        let error = (dialect.error)("overloaded_error", "Overloaded").to_string();
        let error = match dialect.kind {
            "ollama" => format!("{error}\n"),
            _ => format!("data: {error}\n\n"),
        };
        let body = dialect.unfinished(&["half"]) + &error;
        let deltas = all(dialect, dialect.reply(body)).await;
        assert_eq!(deltas[0], Ok(Delta::Text("half".to_owned())));
        let Err(error) = &deltas[1] else {
            panic!("{deltas:?}");
        };
        assert_eq!(error.word(), "down", "{} {error}", dialect.kind);
        assert_eq!(deltas.len(), 2);
    }
}

#[tokio::test]
async fn the_key_is_sent_and_never_shown() {
    for dialect in DIALECTS {
        let reply = Reply::json(
            401,
            &(dialect.error)("x", &format!("Incorrect key {KEY}\u{1b}[0m")),
        );
        let (fake, answer) = ask(dialect, reply).await;
        let error = answer.err().unwrap();
        assert!(!error.to_string().contains(KEY), "{error}");
        assert!(!format!("{error:?}").contains(KEY));
        assert!(
            error.to_string().contains("llm.providers.peer.api_key"),
            "{error}"
        );
        let seen = fake.seen();
        let headers = format!("{:?}", seen.last().unwrap().headers);
        assert!(headers.contains(KEY), "{headers}");
    }
}
