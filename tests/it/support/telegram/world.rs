//! What is there: people, chats, messages, files, updates that wait.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use nexflow::types::Clock;
use serde_json::{Value, json};

use super::Trick;

/// The bot's id.
pub const BOT: i64 = 123_456_789;
/// Its name.
pub const NAME: &str = "nex_test_bot";

/// Ids of supergroups are below this; they count their own messages.
const SUPERGROUPS: i64 = -1_000_000_000_000;

/// A call that came, and when.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub body: Value,
    pub at: Instant,
}

/// How a chat stands with the bot.
#[derive(Default)]
pub struct Bot {
    /// The person blocked it, or it was removed.
    pub blocked: bool,
    /// The group is another one now.
    pub moved_to: Option<i64>,
    /// Topics that are there.
    pub threads: HashSet<i64>,
    /// When it posted lately.
    pub posts: VecDeque<Instant>,
}

pub struct World {
    pub token: String,
    /// Updates that were not confirmed.
    pub updates: VecDeque<Value>,
    /// Ids of updates that were confirmed, in the order in which they were.
    pub confirmed: Vec<i64>,
    /// Updates that a client asked to drop.
    pub dropped: usize,
    pub next_update: i64,
    /// Counts the polls, so that an older one knows that there is a newer.
    pub poll: u64,
    pub allowed: Option<HashSet<String>>,
    pub chats: HashMap<i64, Bot>,
    pub messages: BTreeMap<(i64, i64), Value>,
    /// What was uploaded with messages.
    pub uploads: HashMap<(i64, i64), Vec<u8>>,
    pub files: HashMap<String, (String, Vec<u8>)>,
    pub callbacks: HashMap<String, Option<String>>,
    pub commands: Value,
    pub webhook: Option<(String, String)>,
    pub webhook_error: Option<String>,
    pub tricks: HashMap<String, VecDeque<Trick>>,
    pub calls: Vec<Call>,
    /// By how many seconds its clock is ahead of this machine's.
    pub ahead: i64,
    /// Posts that were refused because they came too fast.
    pub too_fast: usize,
    next_message: i64,
    group_messages: HashMap<i64, i64>,
}

impl World {
    pub fn new(token: &str) -> Self {
        Self {
            token: token.to_owned(),
            updates: VecDeque::new(),
            confirmed: Vec::new(),
            dropped: 0,
            next_update: 870_000_001,
            poll: 0,
            allowed: None,
            chats: HashMap::new(),
            messages: BTreeMap::new(),
            uploads: HashMap::new(),
            files: HashMap::new(),
            callbacks: HashMap::new(),
            commands: Value::Null,
            webhook: None,
            webhook_error: None,
            tricks: HashMap::new(),
            calls: Vec::new(),
            ahead: 0,
            too_fast: 0,
            next_message: 1,
            group_messages: HashMap::new(),
        }
    }

    pub fn push(&mut self, mut body: Value) -> i64 {
        let id = self.next_update;
        self.next_update += 1;
        if let Some(body) = body.as_object_mut() {
            body.insert("update_id".to_owned(), id.into());
        }
        self.updates.push_back(body);
        id
    }

    /// Updates below an offset are confirmed and forgotten.
    pub fn confirm(&mut self, offset: i64) {
        while let Some(id) = self.updates.front().and_then(|u| u["update_id"].as_i64()) {
            if id >= offset {
                return;
            }
            self.updates.pop_front();
            self.confirmed.push(id);
        }
    }

    /// The time, in seconds since 1970.
    pub fn now(&self) -> i64 {
        Clock::system().now().utc().timestamp() + self.ahead
    }

    /// In private chats and small groups ids are counted over all of them.
    pub fn message_id(&mut self, chat: i64) -> i64 {
        let counter = if chat < SUPERGROUPS {
            self.group_messages.entry(chat).or_insert(1)
        } else {
            &mut self.next_message
        };
        let id = *counter;
        *counter += 1;
        id
    }

    pub fn person(user: i64) -> Value {
        json!({ "id": user, "is_bot": false, "first_name": format!("Person{user}"), "username": format!("person{user}"), "language_code": "en" })
    }

    pub fn chat(chat: i64) -> Value {
        if chat > 0 {
            json!({ "id": chat, "type": "private", "first_name": format!("Person{chat}"), "username": format!("person{chat}") })
        } else {
            let kind = if chat < SUPERGROUPS {
                "supergroup"
            } else {
                "group"
            };
            json!({ "id": chat, "type": kind, "title": format!("Group {chat}") })
        }
    }

    /// A person writes in a chat.
    pub fn message(&mut self, chat: i64, user: i64, fields: &Value) -> Value {
        self.chats.entry(chat).or_default();
        let id = self.message_id(chat);
        let mut message = json!({ "message_id": id, "from": Self::person(user), "chat": Self::chat(chat), "date": self.now() });
        for (key, value) in fields.as_object().unwrap() {
            message[key] = value.clone();
        }
        self.messages.insert((chat, id), message.clone());
        message
    }

    /// The bot writes in a chat.
    pub fn post(&mut self, chat: i64, fields: &Value) -> Value {
        let id = self.message_id(chat);
        let mut message = json!({
            "message_id": id,
            "from": { "id": BOT, "is_bot": true, "first_name": "Nex", "username": NAME },
            "chat": Self::chat(chat),
            "date": self.now(),
        });
        for (key, value) in fields.as_object().unwrap() {
            message[key] = value.clone();
        }
        self.messages.insert((chat, id), message.clone());
        message
    }

    /// Whether the bot posts faster than the real one lets it: more than 20 a minute in a group, or far
    /// more than one a second in a chat. The seconds to wait.
    pub fn too_fast(&mut self, chat: i64) -> Option<u64> {
        let posts = &mut self.chats.get_mut(&chat)?.posts;
        let now = Instant::now();
        while posts
            .front()
            .is_some_and(|at| now - *at > Duration::from_mins(1))
        {
            posts.pop_front();
        }
        let lately = posts
            .iter()
            .filter(|at| now - **at < Duration::from_secs(3));
        let burst = lately.count() >= 5;
        let group = chat < 0 && posts.len() >= 20;
        if burst || group {
            self.too_fast += 1;
            return Some(if group { 10 } else { 1 });
        }
        posts.push_back(now);
        None
    }
}
