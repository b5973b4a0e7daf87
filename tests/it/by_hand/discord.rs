//! Discord by hand.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Platform, Who, play};
use crate::support::{
    discord::{Discord, FRIEND, GENERAL, ME, OWNER, OWNER_DM, STRANGER, STRANGER_DM, TOKEN},
    string,
};

struct Played {
    discord: Discord,
    last: String,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits for a person"]
async fn discord() {
    let discord = Discord::start().await;
    play(Played {
        discord,
        last: String::new(),
    })
    .await;
}

impl Platform for Played {
    fn config(&self) -> String {
        self.discord.config("drafts: true")
    }

    fn say(&mut self, who: Who, text: &str) {
        match who {
            Who::Owner => self.last = self.discord.say(OWNER_DM, OWNER, text),
            Who::Stranger => drop(self.discord.say(STRANGER_DM, STRANGER, text)),
            Who::Group => drop(
                self.discord
                    .say(GENERAL, FRIEND, &format!("<@{ME}> {text}")),
            ),
        }
    }

    fn edit(&mut self, text: &str) {
        self.discord.edit(OWNER_DM, &self.last, text);
    }

    fn picture(&mut self) {
        let file = self
            .discord
            .file("cat.png", "image/png", b"\x89PNG\r\n\x1a\n0000");
        let with = json!({ "attachments": [file] });
        self.last = self.discord.say_with(OWNER_DM, OWNER, "my cat", &with);
    }

    fn press(&mut self, label: &str) {
        let posts = self.discord.posts(OWNER_DM);
        let found = posts
            .iter()
            .rev()
            .flat_map(buttons)
            .find(|b| b["label"] == label);
        match found {
            Some(button) => drop(self.discord.press(
                OWNER_DM,
                OWNER,
                &string(&button, "custom_id"),
            )),
            None => println!("there is no such button"),
        }
    }

    fn command(&mut self, name: &str) {
        let (name, argument) = name
            .split_once(' ')
            .map_or((name, None), |(n, a)| (n, Some(a)));
        self.discord.command(OWNER_DM, OWNER, name, argument);
    }

    fn network(&mut self, up: bool) {
        self.discord.mood(|mood| mood.up = up);
        if !up {
            self.discord.cut();
        }
    }

    fn token(&mut self, good: bool) {
        self.discord
            .mood(|mood| mood.token = if good { TOKEN } else { "another" }.to_owned());
        if !good {
            self.discord.close(4004);
        }
    }

    fn storm(&mut self) {
        self.discord.mood(|mood| mood.storm = (20, 1.0, false));
    }

    fn posts(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for channel in [OWNER_DM, GENERAL, STRANGER_DM] {
            for post in self.discord.posts(channel) {
                let boxed = post["embeds"][0]["description"].as_str();
                let mut seen = post["content"].as_str().unwrap_or_default().to_owned();
                seen.extend(boxed.map(|text| format!(" (box: {text})")));
                let files = post["attachments"].as_array().map_or(0, Vec::len);
                if files > 0 {
                    seen.push_str(&format!(" ({files} files)"));
                }
                for button in buttons(&post) {
                    seen.push_str(&format!(" [{}]", string(&button, "label")));
                }
                all.insert(format!("{channel}/{}", string(&post, "id")), seen);
            }
        }
        all
    }
}

fn buttons(post: &Value) -> Vec<Value> {
    let rows = post["components"].as_array().into_iter().flatten();
    let all = rows
        .filter_map(|row| row["components"].as_array())
        .flatten();
    all.cloned().collect()
}
