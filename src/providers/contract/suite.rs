//! The clauses that every provider must keep, whatever its dialect.

mod errors;

use std::time::Duration;

use axum::body::Bytes;
use futures_util::StreamExt as _;
use proptest::prelude::*;
use serde_json::json;
use tokio::time::timeout;

use super::{
    Fake, Reply, chunked,
    dialects::{DIALECTS, Dialect, KEY},
    fake::Close,
    tool, user,
};
use crate::{
    providers::{Answer, Collected, Offline, Provider as _, ProviderError, Request, collect},
    types::{
        Clock,
        chat::{Call, Delta, Stop, Usage},
    },
};

fn question() -> Request {
    Request {
        system: "You are kind.".to_owned(),
        messages: vec![user("hello")],
        tools: vec![tool("first"), tool("second")],
        max_output_tokens: 100,
        model: None,
        temperature: None,
    }
}

/// Asks a server that replies so.
async fn ask(dialect: &Dialect, reply: Reply) -> (Fake, Result<Answer, ProviderError>) {
    let mut replies = dialect.preludes();
    replies.push(reply);
    let fake = Fake::start(replies).await;
    let answer = dialect.provider(&fake.url).complete(&question()).await;
    (fake, answer)
}

async fn all(dialect: &Dialect, reply: Reply) -> Vec<Result<Delta, ProviderError>> {
    let (_fake, answer) = ask(dialect, reply).await;
    answer.unwrap().collect().await
}

async fn whole(dialect: &Dialect, reply: Reply) -> Result<Collected, ProviderError> {
    let (_fake, answer) = ask(dialect, reply).await;
    collect(answer?).await
}

const TEXTS: &[&str] = &["Grüße, ", "", "🦀 \"quoted\"\n", "data: not one\n\n", "end"];
const CALLS: &[(&str, &str, &str)] = &[
    (
        "call_a",
        "first",
        r#"{"text":"ü🦀 \"x\" \\ \n","n":[1,{"a":null}]}"#,
    ),
    ("call_b", "second", "{}"),
];

fn expected() -> Collected {
    Collected {
        text: TEXTS.concat(),
        calls: CALLS
            .iter()
            .map(|(id, tool, args)| Call {
                id: (*id).to_owned(),
                tool: (*tool).to_owned(),
                args: serde_json::from_str(args).unwrap(),
            })
            .collect(),
        reasoning: None,
        notices: Vec::new(),
        usage: Usage {
            input_tokens: 12,
            output_tokens: 34,
            ..Usage::default()
        },
        stop: Stop::Done,
    }
}

#[tokio::test]
async fn text_and_arguments_are_put_together_whatever_the_chunks() {
    for dialect in DIALECTS {
        let body = dialect.answer(TEXTS, CALLS, dialect.done);
        for size in [1, 2, 3, 7, 64, 1000, 100_000] {
            let reply = dialect.reply("").in_chunks(chunked(body.as_bytes(), size));
            let answer = whole(dialect, reply).await;
            assert_eq!(answer, Ok(expected()), "{} by {size}", dialect.kind);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Cut anywhere, in the middle of a character, a line, an escape or an argument.
    #[test]
    fn any_split_gives_the_same_deltas(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for dialect in DIALECTS {
            let body = dialect.answer(TEXTS, CALLS, dialect.done).into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| Bytes::copy_from_slice(&body[pair[0]..pair[1]]));
            let pieces = pieces.filter(|piece| !piece.is_empty()).collect();
            let reply = dialect.reply("").in_chunks(pieces);
            let answer = runtime.block_on(whole(dialect, reply));
            prop_assert_eq!(answer, Ok(expected()), "{}", dialect.kind);
        }
    }
}

#[tokio::test]
async fn done_comes_once_and_last() {
    for dialect in DIALECTS {
        let body = dialect.answer(TEXTS, CALLS, dialect.done);
        let deltas = all(dialect, dialect.reply(body)).await;
        let done = |delta: &Result<Delta, _>| matches!(delta, Ok(Delta::Done { .. }));
        assert_eq!(
            deltas.iter().filter(|d| done(d)).count(),
            1,
            "{}",
            dialect.kind
        );
        assert!(done(deltas.last().unwrap()), "{}", dialect.kind);
    }
}

#[tokio::test]
async fn an_empty_answer_is_an_answer() {
    for dialect in DIALECTS {
        let body = dialect.answer(&[], &[], dialect.done);
        let answer = whole(dialect, dialect.reply(body)).await.unwrap();
        assert_eq!(
            (answer.text.as_str(), answer.calls.len()),
            ("", 0),
            "{}",
            dialect.kind
        );
    }
}

#[tokio::test]
async fn the_limit_is_told() {
    for dialect in DIALECTS {
        let body = dialect.answer(&["abc"], &[], dialect.length);
        let answer = whole(dialect, dialect.reply(body)).await.unwrap();
        assert_eq!(answer.stop, Stop::Length, "{}", dialect.kind);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_no_answer() {
    for dialect in DIALECTS {
        for close in [Close::Well, Close::Cut] {
            let reply = dialect.reply(dialect.unfinished(&["half"])).closing(close);
            let deltas = all(dialect, reply).await;
            assert_eq!(
                deltas[0],
                Ok(Delta::Text("half".to_owned())),
                "{}",
                dialect.kind
            );
            assert!(
                matches!(deltas[1], Err(ProviderError::Down { .. })),
                "{}",
                dialect.kind
            );
            assert_eq!(deltas.len(), 2);
        }
    }
}

#[tokio::test]
async fn an_answer_that_stalls_is_given_up() {
    let stalls = DIALECTS.iter().map(|dialect| async move {
        let begun = dialect.unfinished(&["half"]);
        for (said, word) in [
            (begun, "stopped sending for 1 s"),
            (String::new(), "did not begin to answer within 1 s"),
        ] {
            let reply = dialect.reply(said).closing(Close::Hang);
            let began = std::time::Instant::now();
            let deltas = all(dialect, reply).await;
            let took = began.elapsed();
            assert!(
                took < Duration::from_millis(2_500),
                "{} {took:?}",
                dialect.kind
            );
            let Some(Err(error)) = deltas.last() else {
                panic!("{deltas:?}");
            };
            assert_eq!(error.word(), "down", "{}", dialect.kind);
            assert!(error.to_string().contains(word), "{} {error}", dialect.kind);
        }
    });
    futures_util::future::join_all(stalls).await;
}

#[tokio::test]
async fn dropping_an_answer_closes_the_connection() {
    for dialect in DIALECTS {
        let reply = dialect
            .reply(dialect.unfinished(&["half"]))
            .closing(Close::Hang);
        let (mut fake, answer) = ask(dialect, reply).await;
        for _ in dialect.preludes() {
            fake.closed().await;
        }
        let mut answer = answer.unwrap();
        assert_eq!(
            answer.next().await,
            Some(Ok(Delta::Text("half".to_owned())))
        );
        assert!(
            timeout(Duration::from_millis(20), fake.closed())
                .await
                .is_err()
        );
        drop(answer);
        timeout(Duration::from_secs(5), fake.closed())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_check_tells_a_right_key_from_a_wrong_one() {
    for dialect in DIALECTS {
        let list = json!({ "data": [{ "id": "m" }], "models": [{ "name": "m:latest" }] });
        for (reply, word) in [
            (Reply::json(200, &list), "ok"),
            (Reply::json(401, &(dialect.error)("x", "no")), "credentials"),
            (Reply::json(500, &(dialect.error)("x", "no")), "down"),
        ] {
            let mut replies = vec![reply];
            replies.extend(dialect.preludes());
            let fake = Fake::start(replies).await;
            let result = dialect.provider(&fake.url).check().await;
            let found = result.as_ref().err().map_or("ok", ProviderError::word);
            assert_eq!(found, word, "{} {result:?}", dialect.kind);
            assert_eq!(fake.seen()[0].method, "GET");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_cannot_be_reached() {
    for dialect in DIALECTS {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = dialect
            .provider(&url)
            .complete(&question())
            .await
            .err()
            .unwrap();
        assert_eq!(error.word(), "unreachable");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}

/// Whether a second question goes over the connection of the first.
async fn connection_is_kept(dialect: &Dialect) -> bool {
    let body = dialect.answer(TEXTS, CALLS, dialect.done);
    let reply = || dialect.reply(body.clone()).closing(Close::Late);
    let mut replies = dialect.preludes();
    replies.extend([reply(), reply()]);
    let fake = Fake::start(replies).await;
    let provider = dialect.provider(&fake.url);
    for _ in 0..2 {
        let answer = provider.complete(&question()).await.unwrap();
        collect(answer).await.unwrap();
    }
    let from: Vec<_> = fake.seen().iter().map(|request| request.from).collect();
    let questions = from.get(dialect.preludes().len()..).unwrap();
    questions[0] == questions[1]
}

#[tokio::test]
async fn a_connection_serves_one_question_after_another() {
    for dialect in DIALECTS {
        // On a busy machine the end of an answer may come too late now and then.
        let mut kept = false;
        for _ in 0..5 {
            kept = kept || connection_is_kept(dialect).await;
        }
        assert!(kept, "{}", dialect.kind);
    }
}

#[tokio::test]
async fn what_is_known_names_the_section() {
    for dialect in DIALECTS {
        let about = dialect.provider("http://127.0.0.1:1").about();
        assert_eq!((about.name.as_str(), about.model.as_str()), ("peer", "m"));
        assert!(!about.offline && about.context_tokens >= 1_000);
    }
}

#[tokio::test]
async fn the_offline_provider_keeps_the_same_promises() {
    let offline = Offline::new(Clock::system());
    for text in ["", "/help", "/run first abc", "whatever"] {
        let mut request = question();
        request.messages = vec![user(text)];
        let answer = offline.complete(&request).await.unwrap();
        let deltas: Vec<_> = answer.collect().await;
        let done = |delta: &Result<Delta, _>| matches!(delta, Ok(Delta::Done { .. }));
        assert_eq!(deltas.iter().filter(|d| done(d)).count(), 1);
        assert!(done(deltas.last().unwrap()));
        assert_eq!(offline.check().await, Ok(()));
        assert!(offline.about().offline);
    }
}
