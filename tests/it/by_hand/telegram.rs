//! Telegram by hand.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Platform, Who, play};
use crate::support::telegram::{BOT, Fake, TOKEN, Trick, proxy::State};

const OWNER: i64 = 7;
const STRANGER: i64 = 99;
const GROUP: i64 = -1_001_000_000_001;

struct Telegram {
    fake: Fake,
    last: i64,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits for a person"]
async fn telegram() {
    let fake = Fake::start().await;
    play(Telegram { fake, last: 0 }).await;
}

impl Platform for Telegram {
    fn config(&self) -> String {
        let lists = format!("operators: [{OWNER}], allowed_chats: [{GROUP}]");
        self.fake.config(&lists)
    }

    fn say(&mut self, who: Who, text: &str) {
        match who {
            Who::Owner => self.last = self.fake.say(OWNER, text),
            Who::Stranger => drop(self.fake.say(STRANGER, text)),
            Who::Group => {
                let mention = json!([{ "type": "mention", "offset": 0, "length": 13 }]);
                let text = format!("@nex_test_bot {text}");
                let fields = json!({ "text": text, "entities": mention });
                self.fake.write(GROUP, 8, fields);
            }
        }
    }

    fn edit(&mut self, text: &str) {
        self.fake.edit(OWNER, self.last, text);
    }

    fn picture(&mut self) {
        let photo = self.fake.file("cat.png", b"\x89PNG\r\n\x1a\n0000".to_vec());
        let fields = json!({ "photo": [photo], "caption": "my cat" });
        self.last = self.fake.write(OWNER, OWNER, fields);
    }

    fn press(&mut self, label: &str) {
        let posts = self.fake.posts(OWNER);
        let with = posts
            .iter()
            .rfind(|p| buttons(p).iter().any(|b| b == label));
        match with.and_then(|post| post["message_id"].as_i64()) {
            Some(id) => drop(self.fake.press(OWNER, (OWNER, id), label)),
            None => println!("there is no such button"),
        }
    }

    fn command(&mut self, name: &str) {
        let length = name.split(' ').next().unwrap_or(name).len() + 1;
        let entity = json!([{ "type": "bot_command", "offset": 0, "length": length }]);
        let fields = json!({ "text": format!("/{name}"), "entities": entity });
        self.last = self.fake.write(OWNER, OWNER, fields);
    }

    fn network(&mut self, up: bool) {
        self.fake
            .wire
            .set(if up { State::Whole } else { State::Cut });
    }

    fn token(&mut self, good: bool) {
        self.fake.world().token = if good { TOKEN } else { "1:another" }.to_owned();
    }

    fn storm(&mut self) {
        let refuse = Trick::Refuse(429, "Too Many Requests: retry after 2", Some(2));
        self.fake.trick("sendMessage", 20, &refuse);
    }

    fn posts(&self) -> BTreeMap<String, String> {
        let world = self.fake.world();
        let own = world
            .messages
            .iter()
            .filter(|(_, m)| m["from"]["id"] == BOT);
        let post = |((chat, id), m): (&(i64, i64), &Value)| {
            let text = m["text"].as_str().or(m["caption"].as_str());
            let entities = m["entities"].as_array().map_or(0, Vec::len);
            let mut seen = format!("{} [{entities} entities]", text.unwrap_or("(no text)"));
            if m["document"].is_object() || m["photo"].is_array() {
                seen.push_str(" (a file)");
            }
            for label in buttons(m) {
                seen.push_str(&format!(" [{label}]"));
            }
            (format!("{chat}/{id}"), seen)
        };
        own.map(post).collect()
    }
}

fn buttons(post: &Value) -> Vec<String> {
    let rows = post["reply_markup"]["inline_keyboard"].as_array();
    let all = rows
        .into_iter()
        .flatten()
        .filter_map(Value::as_array)
        .flatten();
    all.filter_map(|b| b["text"].as_str().map(str::to_owned))
        .collect()
}
