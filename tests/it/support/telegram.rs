//! A Bot API server that does what the published Bot API says and refuses what the real one refuses. It
//! keeps updates until they are confirmed, ends a poll when another one comes, counts text in UTF-16, and
//! can fail in every way that networks and servers fail.
//!
//! It is not stricter or laxer than the real one where that is known; a webhook may be plain HTTP, since
//! it is on this machine.

mod methods;
mod multipart;
pub mod proxy;
mod server;
mod world;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle};

use super::eventually;
pub use world::{BOT, Call, World};

pub const TOKEN: &str = "123456789:AAF-the-token-of-a-test_bot";

/// What goes wrong with a call.
#[derive(Clone, Debug)]
pub enum Trick {
    /// It is refused: code, description, `retry_after`.
    Refuse(u16, &'static str, Option<u64>),
    /// It is done, and the connection is closed before the answer.
    DoneThenCut,
    /// The answer is no JSON.
    Garbage,
}

pub struct Fake {
    /// Where it is reached: through a wire that can be cut.
    pub url: String,
    pub wire: proxy::Wire,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    world: Mutex<World>,
    /// Something happened: updates came, or another poll.
    news: Notify,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(TOKEN)),
            news: Notify::new(),
        });
        let (address, task) = server::start(Arc::clone(&shared)).await;
        let wire = proxy::Wire::to(address).await;
        Self {
            url: wire.url(),
            wire,
            shared,
            task,
        }
    }

    /// The configuration of a bot of it, with more keys of `channels.telegram`.
    pub fn config(&self, more: &str) -> String {
        format!(
            "channels:\n  telegram: {{ bot_token: '{TOKEN}', api_url: '{}', poll_sec: 2, {more} }}\n",
            self.url
        )
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap()
    }

    /// The next calls of a method go wrong like this.
    pub fn trick(&self, method: &str, times: usize, trick: &Trick) {
        let mut world = self.world();
        let tricks = world.tricks.entry(method.to_lowercase()).or_default();
        tricks.extend(std::iter::repeat_n(trick.clone(), times));
    }

    /// An update of any kind.
    pub fn update(&self, body: Value) -> i64 {
        let id = self.world().push(body);
        self.shared.news.notify_waiters();
        id
    }

    /// Somebody writes in their private chat with the bot. The message's id.
    pub fn say(&self, user: i64, text: &str) -> i64 {
        self.write(user, user, json!({ "text": text }))
    }

    /// Somebody writes in a chat, with any fields.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "tests write the fields where they call"
    )]
    pub fn write(&self, chat: i64, user: i64, fields: Value) -> i64 {
        let message = self.world().message(chat, user, &fields);
        let id = message["message_id"].as_i64().unwrap();
        self.update(json!({ "message": message }));
        id
    }

    /// Somebody changes a message of theirs.
    pub fn edit(&self, chat: i64, id: i64, text: &str) {
        let message = {
            let mut world = self.world();
            let message = world.messages.get_mut(&(chat, id)).unwrap();
            message["text"] = text.into();
            message["edit_date"] = 2.into();
            message.clone()
        };
        self.update(json!({ "edited_message": message }));
    }

    /// Somebody presses a button by its label. The id of the press.
    pub fn press(&self, user: i64, (chat, id): (i64, i64), label: &str) -> String {
        let (press, callback) = {
            let mut world = self.world();
            let message = world.messages[&(chat, id)].clone();
            let rows = message["reply_markup"]["inline_keyboard"].as_array();
            let mut buttons = rows.unwrap().iter().flat_map(|row| row.as_array().unwrap());
            let button = buttons.find(|b| b["text"] == label).unwrap();
            let press = format!("press-{}", world.callbacks.len());
            world.callbacks.insert(press.clone(), None);
            let callback = json!({
                "id": press,
                "from": World::person(user),
                "message": message,
                "chat_instance": "1",
                "data": button["callback_data"],
            });
            (press, callback)
        };
        self.update(json!({ "callback_query": callback }));
        press
    }

    /// What the bot said to a press.
    pub async fn answered(&self, press: &str) -> String {
        eventually("the press was answered", || async {
            self.world().callbacks[press].is_some()
        })
        .await;
        self.world().callbacks[press].clone().unwrap()
    }

    /// A file that people can send: fields of a `document`, `photo` size or `voice`.
    pub fn file(&self, name: &str, data: Vec<u8>) -> Value {
        let mut world = self.world();
        let id = format!("file-{}", world.files.len());
        let size = data.len();
        world
            .files
            .insert(id.clone(), (format!("documents/{name}"), data));
        json!({ "file_id": id, "file_unique_id": id, "file_size": size, "width": 640, "height": 480 })
    }

    /// What the bot posted in a chat and is still there, oldest first.
    pub fn posts(&self, chat: i64) -> Vec<Value> {
        let world = self.world();
        let here = world.messages.iter().filter(|((at, _), _)| *at == chat);
        let own = here.filter(|(_, message)| message["from"]["id"] == BOT);
        own.map(|(_, message)| message.clone()).collect()
    }

    /// The texts of [`Self::posts`].
    pub fn texts(&self, chat: i64) -> Vec<String> {
        let text = |post: &Value| post["text"].as_str().unwrap_or("(a file)").to_owned();
        self.posts(chat).iter().map(text).collect()
    }

    /// Waits until a post of a chat has this in its text; the post.
    pub async fn post_with(&self, chat: i64, words: &str) -> Value {
        let find = || {
            let posts = self.posts(chat);
            posts
                .into_iter()
                .find(|p| p["text"].as_str().is_some_and(|t| t.contains(words)))
        };
        eventually(&format!("{words:?} was posted"), || async {
            find().is_some()
        })
        .await;
        find().unwrap()
    }

    /// Calls of a method.
    pub fn calls(&self, method: &str) -> Vec<Call> {
        let world = self.world();
        let calls = world
            .calls
            .iter()
            .filter(|call| call.method == method.to_lowercase());
        calls.cloned().collect()
    }

    /// Waits until every update was confirmed.
    pub async fn confirmed(&self) {
        eventually("every update was confirmed", || async {
            self.world().updates.is_empty()
        })
        .await;
    }

    /// Another program polls with the same token: what it is answered.
    #[expect(clippy::disallowed_methods, reason = "tests make their own clients")]
    pub async fn other_poller(&self, seconds: u64) -> Value {
        let url = format!("{}/bot{TOKEN}/getUpdates", self.url);
        let http = reqwest::Client::new();
        let asked = http.post(url).json(&json!({ "timeout": seconds }));
        let answer = asked.timeout(Duration::from_secs(30)).send().await.unwrap();
        answer.json().await.unwrap()
    }
}

/// By chat, how many answers each text had; for counting what came twice.
pub fn counted(texts: impl IntoIterator<Item = String>) -> HashMap<String, usize> {
    texts.into_iter().fold(HashMap::new(), |mut counts, text| {
        *counts.entry(text).or_default() += 1;
        counts
    })
}
