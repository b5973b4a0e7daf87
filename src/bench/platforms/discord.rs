//! As much of Discord's gateway and REST interface as the daemon uses.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::any,
};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::{
    super::server::{Place, Server},
    Answered, CHATS, Platform,
};

/// Ids of people begin after this, those of their direct conversations after the other.
const PEOPLE: u64 = 700_000_000_000_000_000;
const CONVERSATIONS: u64 = 800_000_000_000_000_000;
/// The bot, and its application.
const BOT: &str = "900000000000000001";
/// Events that wait to be sent.
const WAITING: usize = 4096;

pub(super) struct Discord {
    shared: Arc<Shared>,
    _server: Server,
}

struct Shared {
    url: String,
    /// What happens, without its number.
    events: broadcast::Sender<Value>,
    ids: AtomicU64,
    answered: Answered,
}

impl Platform for Discord {
    const NAME: &'static str = "Discord";

    async fn start() -> anyhow::Result<Self> {
        let place = Place::take().await?;
        let shared = Arc::new(Shared {
            url: place.url.clone(),
            events: broadcast::Sender::new(WAITING),
            // Made just now, as Discord's ids say.
            ids: AtomicU64::new(1_600_000_000_000_000_000),
            answered: Answered::default(),
        });
        let router = Router::new()
            .route("/gateway/", any(open))
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        Ok(Self {
            shared,
            _server: place.serve(router),
        })
    }

    fn config(&self) -> String {
        let people: Vec<String> = (0..CHATS).map(|n| (PEOPLE + n).to_string()).collect();
        format!(
            "{{ discord: {{ bot_token: bench, api_url: '{}', allowed_users: {people:?} }} }}",
            self.shared.url
        )
    }

    fn is_heard(&self) -> bool {
        self.shared.events.receiver_count() > 0
    }

    fn say(&self, chat: u64) -> u64 {
        let id = self.shared.ids.fetch_add(1 << 22, Ordering::Relaxed);
        let who =
            json!({ "id": (PEOPLE + chat).to_string(), "username": "ada", "discriminator": "0" });
        let event = json!({ "t": "MESSAGE_CREATE", "d": {
            "id": id.to_string(), "channel_id": (CONVERSATIONS + chat).to_string(), "author": who,
            "content": "how are you?", "timestamp": "2026-11-21T12:00:00Z", "type": 0, "attachments": [],
            "embeds": [], "mentions": [], "mention_roles": [], "pinned": false, "tts": false,
            "mention_everyone": false,
        } });
        // Nobody misses it: there is one listener, and room for every event.
        drop(self.shared.events.send(event));
        id
    }

    fn answered(&self) -> &Answered {
        &self.shared.answered
    }
}

async fn open(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |socket| drop(serve(&shared, socket).await))
}

/// Serves a connection until it ends.
async fn serve(shared: &Shared, mut socket: WebSocket) -> Result<(), axum::Error> {
    let hello = json!({ "op": 10, "d": { "heartbeat_interval": 40_000 } });
    socket.send(Message::text(hello.to_string())).await?;
    let (mut events, mut seq) = (None::<broadcast::Receiver<Value>>, 0);
    loop {
        let event = async {
            match &mut events {
                Some(events) => events.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = event => {
                let Ok(event) = event else { return Ok(()) };
                seq += 1;
                socket.send(numbered(event, seq)).await?;
            }
            frame = socket.recv() => {
                let Some(frame) = frame.transpose()? else { return Ok(()) };
                let frame: Value = serde_json::from_str(frame.to_text()?).unwrap_or_default();
                match frame.get("op").and_then(Value::as_u64) {
                    Some(1) => socket.send(Message::text(r#"{"op":11}"#)).await?,
                    Some(2) => {
                        seq += 1;
                        socket.send(numbered(ready(shared), seq)).await?;
                        events = Some(shared.events.subscribe());
                    }
                    _ => {}
                }
            }
        }
    }
}

fn numbered(mut event: Value, seq: u64) -> Message {
    if let Some(event) = event.as_object_mut() {
        event.insert("op".to_owned(), 0.into());
        event.insert("s".to_owned(), seq.into());
    }
    Message::text(event.to_string())
}

fn ready(shared: &Shared) -> Value {
    let gateway = shared.url.replacen("http", "ws", 1);
    json!({ "t": "READY", "d": {
        "v": 10, "user": { "id": BOT, "username": "nexflow", "discriminator": "0", "bot": true },
        "guilds": [], "session_id": "bench", "resume_gateway_url": format!("{gateway}/gateway"),
        "application": { "id": BOT, "flags": 1 << 19 }, "private_channels": [], "shard": [0, 1],
    } })
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let parts: Vec<&str> = uri.path().trim_matches('/').split('/').skip(2).collect();
    let said = match (method.as_str(), parts.as_slice()) {
        ("GET", ["gateway", ..]) => {
            let gateway = shared.url.replacen("http", "ws", 1);
            json!({
                "url": format!("{gateway}/gateway"), "shards": 1,
                "session_start_limit": { "total": 1000, "remaining": 999, "reset_after": 1, "max_concurrency": 1 },
            })
        }
        ("POST", ["channels", channel, "messages"]) => {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let replied = body.pointer("/message_reference/message_id");
            let replied = replied
                .and_then(Value::as_str)
                .and_then(|id| id.parse().ok());
            let chat = channel.parse().unwrap_or(CONVERSATIONS);
            if let Some(message) = replied {
                shared
                    .answered
                    .note(chat.saturating_sub(CONVERSATIONS), message);
            }
            let id = shared.ids.fetch_add(1 << 22, Ordering::Relaxed);
            json!({ "id": id.to_string(), "channel_id": channel, "author": { "id": BOT } })
        }
        ("POST", _) => return StatusCode::NO_CONTENT.into_response(),
        ("GET", ["channels", _, "messages"] | ["applications", _, "commands"]) => json!([]),
        ("GET", ["channels", channel]) => json!({ "id": channel, "type": 1 }),
        _ => json!({ "id": BOT, "username": "nexflow", "flags": 1 << 19 }),
    };
    (
        [(header::CONTENT_TYPE, "application/json")],
        said.to_string(),
    )
        .into_response()
}
