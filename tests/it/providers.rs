//! Our providers against model servers that someone else wrote.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may fail where they stand"
)]

use std::{path::Path, process::Stdio, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use nexflow::{
    net::Http,
    providers::{Collected, Kind, Provider, ProviderError, Request, collect},
    types::{
        Attachment, Entry,
        chat::{Delta, Message, Stop, ToolSpec},
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

const KEY: &str = "right-key-for-the-peer";

/// Each in one of its dialects.
const KINDS: [&str; 8] = [
    "openai",
    "openai responses",
    "anthropic",
    "gemini",
    "ollama",
    "openrouter",
    "zai",
    "custom",
];

/// Those whose lists of models this peer has.
const KEYED: [&str; 3] = ["openai", "anthropic", "custom"];

/// A server that speaks every dialect; it ends when it is dropped.
struct Peer {
    url: String,
    _child: Child,
}

impl Peer {
    async fn start() -> Self {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools");
        let program = tools.join("node_modules/.bin/llmock");
        assert!(
            program.exists(),
            "{} is missing: `make test` installs it (or `npm ci` in tests/tools)",
            program.display()
        );
        #[expect(
            clippy::disallowed_methods,
            reason = "a test starts the server that it speaks to"
        )]
        let mut command = Command::new(program);
        let mut child = command
            .args(["-p", "0", "-h", "127.0.0.1", "-f"])
            .arg(tools.join("models.json"))
            .args(["--strict", "--validate-on-load"])
            .env("AIMOCK_API_KEYS", KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, url)) = line.split_once("listening on ") {
                    return url.trim().to_owned();
                }
            }
            String::new()
        };
        let url = tokio::time::timeout(Duration::from_mins(1), url)
            .await
            .unwrap();
        assert!(!url.is_empty(), "the server ended before it listened");
        Self { url, _child: child }
    }

    /// Our provider, pointed at it.
    fn provider(&self, kind: &str, key: &str) -> Arc<dyn Provider> {
        let (kind, api) = kind.split_once(' ').unwrap_or((kind, "auto"));
        let path = match kind {
            "anthropic" | "gemini" | "ollama" => "",
            _ => "/v1",
        };
        let mut settings = json!({
            "base_url": format!("{}{path}", self.url),
            "api_key": key,
            "model": "some-model",
            "images": true,
        });
        if kind == "openai" {
            settings["api"] = json!(api);
        }
        let entry = Entry {
            name: kind.to_owned(),
            kind: kind.to_owned(),
            settings: settings.as_object().cloned().unwrap(),
        };
        (Kind::named(kind).unwrap().build)(&entry, &Http::new()).unwrap()
    }
}

fn user(text: &str) -> Message {
    Message::User {
        text: text.to_owned(),
        images: Vec::new(),
    }
}

fn request(messages: Vec<Message>) -> Request {
    Request {
        system: "You are helpful.".to_owned(),
        messages,
        tools: vec![ToolSpec {
            name: "get_weather".to_owned(),
            description: "The weather of a city.".to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": { "city": { "type": "string" } },
                "required": ["city"],
            }),
        }],
        max_output_tokens: 500,
        model: None,
        temperature: None,
    }
}

async fn ask(provider: &dyn Provider, text: &str) -> Result<Collected, ProviderError> {
    collect(provider.complete(&request(vec![user(text)])).await?).await
}

/// A question, two calls at once, their results, an answer.
async fn converse(provider: &dyn Provider) -> (Collected, Collected) {
    let mut messages = vec![user("What is the weather in Paris and Oslo?")];
    let asked = ask(provider, "What is the weather in Paris and Oslo?")
        .await
        .unwrap();
    messages.push(Message::Assistant {
        text: asked.text.clone(),
        calls: asked.calls.clone(),
        reasoning: asked.reasoning.clone(),
    });
    for (call, degrees) in asked.calls.iter().zip([21, 9]) {
        messages.push(Message::Result {
            call: call.id.clone(),
            tool: call.tool.clone(),
            text: format!("{degrees} degrees"),
            failed: false,
        });
    }
    let answer = provider.complete(&request(messages)).await.unwrap();
    (asked, collect(answer).await.unwrap())
}

#[tokio::test]
async fn a_conversation_with_two_tools_in_every_dialect() {
    let peer = Peer::start().await;
    for kind in KINDS {
        let provider = peer.provider(kind, KEY);
        let (asked, answered) = converse(&*provider).await;
        let args: Vec<&Value> = asked.calls.iter().map(|call| &call.args).collect();
        let paris = json!({ "city": "Paris", "days": [1, 2], "note": "a \"quoted\" ü🦀\nline" });
        assert_eq!(args, [&paris, &json!({ "city": "Oslo" })], "{kind}");
        assert_eq!(asked.text, "Let me look at both – ü🦀.", "{kind}");
        assert!(asked.calls.iter().all(|call| call.tool == "get_weather"));
        assert_ne!(asked.calls[0].id, asked.calls[1].id, "{kind}");
        assert_eq!(answered.text, "Paris has 21 degrees, Oslo has 9.", "{kind}");
        assert_eq!(
            (answered.calls.len(), answered.stop),
            (0, Stop::Done),
            "{kind}"
        );
        let counts = (answered.usage.input_tokens, answered.usage.output_tokens);
        // This peer counts nothing when it speaks Ollama's dialect: then it is estimated.
        assert_eq!(answered.usage.estimated, kind == "ollama", "{kind}");
        if kind != "ollama" {
            assert_eq!(counts, (150, 9), "{kind}");
        }
    }
}

#[tokio::test]
async fn an_image_is_seen_in_every_dialect() {
    let peer = Peer::start().await;
    for kind in KINDS {
        let messages = vec![Message::User {
            text: "look".to_owned(),
            images: vec![Attachment {
                name: "cat.png".to_owned(),
                media_type: "image/png".to_owned(),
                data: vec![0x89, b'P', b'N', b'G'],
            }],
        }];
        let answer = peer.provider(kind, KEY).complete(&request(messages)).await;
        assert_eq!(
            collect(answer.unwrap()).await.unwrap().text,
            "I see a cat.",
            "{kind}"
        );
    }
}

#[tokio::test]
async fn errors_have_their_class_in_every_dialect() {
    let peer = Peer::start().await;
    for kind in KINDS {
        let provider = peer.provider(kind, KEY);
        let slow = ask(&*provider, "too many").await.unwrap_err();
        let ProviderError::RateLimited { after, detail, .. } = &slow else {
            panic!("{kind}: {slow}");
        };
        assert_eq!(*after, Some(Duration::from_secs(7)), "{kind}");
        assert!(detail.contains("Rate limit reached"), "{kind}: {detail}");
        let busy = ask(&*provider, "overload").await.unwrap_err();
        assert_eq!(busy.word(), "down", "{kind}: {busy}");
        let wrong = ask(&*peer.provider(kind, "wrong-key-for-the-peer"), "look").await;
        let wrong = wrong.unwrap_err();
        assert_eq!(wrong.word(), "credentials", "{kind}: {wrong}");
        assert!(!wrong.to_string().contains("wrong-key"), "{wrong}");
    }
}

#[tokio::test]
async fn a_cut_stream_is_told_after_what_came() {
    let peer = Peer::start().await;
    for kind in KINDS {
        let provider = peer.provider(kind, KEY);
        let answer = provider
            .complete(&request(vec![user("cut")]))
            .await
            .unwrap();
        let mut deltas: Vec<_> = answer.collect().await;
        let end = deltas.pop().unwrap();
        assert!(
            matches!(end, Err(ProviderError::Down { .. })),
            "{kind}: {end:?}"
        );
        let text = |delta: &Result<Delta, _>| matches!(delta, Ok(Delta::Text(_)));
        assert!(
            // Responses begins with so many events that the cut comes before the text.
            (kind == "openai responses" || !deltas.is_empty()) && deltas.iter().all(text),
            "{kind}: {deltas:?}"
        );
    }
}

#[tokio::test]
async fn a_check_finds_the_server_and_the_wrong_key() {
    let peer = Peer::start().await;
    for kind in KEYED {
        assert_eq!(peer.provider(kind, KEY).check().await, Ok(()), "{kind}");
        let wrong = peer.provider(kind, "wrong-key-for-the-peer").check().await;
        assert_eq!(wrong.unwrap_err().word(), "credentials", "{kind}");
    }
}

#[tokio::test]
async fn thoughts_come_apart_from_the_answer_in_every_dialect() {
    let peer = Peer::start().await;
    // This peer calls thoughts `reasoning_content` when it speaks Ollama's dialect; Ollama does not.
    for kind in KINDS.into_iter().filter(|kind| *kind != "ollama") {
        let provider = peer.provider(kind, KEY);
        let answer = ask(&*provider, "ponder").await.unwrap();
        assert_eq!(answer.text, "Forty-two.", "{kind}");
        let thoughts = answer.reasoning.unwrap_or_default();
        assert_eq!(thoughts.text, "Let me think about it – ü🦀.", "{kind}");
    }
}
