//! As much of the Bot API as the daemon calls.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    routing::post,
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Duration, timeout},
};

use super::{
    super::server::{Place, Server},
    Answered, CHATS, Platform,
};

/// Ids of people, who are their chats too, begin after this.
const PEOPLE: u64 = 1000;
/// A poll waits for so long.
const POLL: Duration = Duration::from_secs(5);

pub(super) struct Telegram {
    url: String,
    shared: Arc<Shared>,
    _server: Server,
}

struct Shared {
    /// Updates since the start; the first has the number 1.
    updates: watch::Sender<Vec<Value>>,
    polls: AtomicU64,
    posts: AtomicU64,
    answered: Answered,
}

impl Platform for Telegram {
    const NAME: &'static str = "Telegram";

    async fn start() -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            updates: watch::Sender::new(Vec::new()),
            polls: AtomicU64::new(0),
            posts: AtomicU64::new(0),
            answered: Answered::default(),
        });
        let router = Router::new()
            .route("/{bot}/{method}", post(answer))
            .with_state(Arc::clone(&shared));
        let place = Place::take().await?;
        Ok(Self {
            url: place.url.clone(),
            shared,
            _server: place.serve(router),
        })
    }

    fn config(&self) -> String {
        let people: Vec<u64> = (0..CHATS).map(|n| PEOPLE + n).collect();
        format!(
            "{{ telegram: {{ bot_token: '1:bench', api_url: '{}', allowed_users: {people:?} }} }}",
            self.url
        )
    }

    fn is_heard(&self) -> bool {
        self.shared.polls.load(Ordering::Relaxed) > 0
    }

    fn say(&self, chat: u64) -> u64 {
        let id = PEOPLE + chat;
        let mut message = 0;
        self.shared.updates.send_modify(|updates| {
            message = updates.len() as u64 + 1;
            let who = json!({ "id": id, "is_bot": false, "first_name": "Ada" });
            updates.push(json!({ "update_id": message, "message": {
                "message_id": message, "from": who, "chat": { "id": id, "type": "private" },
                "date": 1_800_000_000, "text": "how are you?",
            } }));
        });
        message
    }

    fn answered(&self) -> &Answered {
        &self.shared.answered
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Path((_, method)): Path<(String, String)>,
    body: Bytes,
) -> Json<Value> {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let number = |at: &str| body.pointer(at).and_then(Value::as_u64);
    let result = match method.as_str() {
        "getMe" => json!({ "id": 1, "is_bot": true, "first_name": "Nex", "username": "nex_bot" }),
        "getUpdates" => shared.poll(number("/offset").unwrap_or(1)).await,
        "sendMessage" | "editMessageText" => {
            let chat = number("/chat_id").unwrap_or_default();
            if let Some(message) = number("/reply_parameters/message_id") {
                shared.answered.note(chat.saturating_sub(PEOPLE), message);
            }
            let id = 1_000_000 + shared.posts.fetch_add(1, Ordering::Relaxed);
            json!({ "message_id": id, "date": 1_800_000_000, "chat": { "id": chat, "type": "private" } })
        }
        _ => json!(true),
    };
    Json(json!({ "ok": true, "result": result }))
}

impl Shared {
    async fn poll(&self, offset: u64) -> Value {
        self.polls.fetch_add(1, Ordering::Relaxed);
        let from = usize::try_from(offset.saturating_sub(1)).unwrap_or(usize::MAX);
        let mut updates = self.updates.subscribe();
        let more = updates.wait_for(|updates| updates.len() > from);
        match timeout(POLL, more).await {
            Ok(Ok(updates)) => updates.iter().skip(from).take(100).cloned().collect(),
            _ => json!([]),
        }
    }
}
