//! The emulators of Telegram and Discord to be tried by a person:
//!
//! `cargo test --test it by_hand::telegram -- --ignored --nocapture`
//!
//! starts one, with a model server that plays along, and prints the configuration for a daemon of your
//! own. What you type is what people say there; `help` lists it. What the bot does is shown as it happens.
#![expect(clippy::print_stdout, reason = "a person reads it")]

mod discord;
mod telegram;

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::model::{Act, Model};

const HELP: &str = "\
TEXT             the owner says it in private
edit TEXT        the owner's last message says this now
picture          the owner sends a picture
group TEXT       somebody says it in a group, to the bot
stranger TEXT    a stranger says it in private
press LABEL      the owner presses a button
command NAME     the owner gives a slash command
down, up         the network goes, and comes back
revoke, restore  the token is refused, and taken again
storm            the next 20 requests are answered with 429
quit
The model says: `long` a long answer, `slow` a slow one, `file` sends a file, `write` asks for a skill.";

/// A platform that people use.
trait Platform {
    /// `channels` of the configuration.
    fn config(&self) -> String;
    fn say(&mut self, who: Who, text: &str);
    fn edit(&mut self, text: &str);
    fn picture(&mut self);
    fn press(&mut self, label: &str);
    fn command(&mut self, name: &str);
    fn network(&mut self, up: bool);
    fn token(&mut self, good: bool);
    fn storm(&mut self);
    /// Every post of the bot by where and which it is, as a person would see it.
    fn posts(&self) -> BTreeMap<String, String>;
}

#[derive(Clone, Copy)]
enum Who {
    Owner,
    Group,
    Stranger,
}

/// Lets a person play until they quit.
async fn play(mut platform: impl Platform) {
    let model = Model::start([Act::Think(brain)]).await;
    let rules = "approvals:\n  rules:\n    - { skill: file-write, decision: ask, reason: files are looked at }\n";
    println!("{}{}{rules}", model.config(), platform.config());
    println!("{HELP}");
    let mut typed = BufReader::new(tokio::io::stdin()).lines();
    let mut shown = BTreeMap::new();
    loop {
        tokio::select! {
            line = typed.next_line() => match line.unwrap() {
                Some(line) if line.trim() != "quit" => act(&mut platform, line.trim()),
                _ => return,
            },
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        let posts = platform.posts();
        for (at, post) in &posts {
            match shown.get(at) {
                None => println!("+ {at}: {post}"),
                Some(before) if before != post => println!("~ {at}: {post}"),
                Some(_) => {}
            }
        }
        for at in shown.keys().filter(|at| !posts.contains_key(*at)) {
            println!("- {at}");
        }
        shown = posts;
    }
}

fn act(platform: &mut impl Platform, line: &str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "" => {}
        "help" => println!("{HELP}"),
        "edit" => platform.edit(rest),
        "picture" => platform.picture(),
        "group" => platform.say(Who::Group, rest),
        "stranger" => platform.say(Who::Stranger, rest),
        "press" => platform.press(rest),
        "command" => platform.command(rest),
        "down" | "up" => platform.network(word == "up"),
        "revoke" | "restore" => platform.token(word == "restore"),
        "storm" => platform.storm(),
        _ => platform.say(Who::Owner, line),
    }
}

/// What the model does about the last message.
fn brain(request: &Value) -> Act {
    let messages = request["messages"].as_array().unwrap();
    let last = messages.last().unwrap();
    if last["role"] == "tool" {
        return Act::Say(format!("Done: {}", last["content"]));
    }
    let asked = last["content"].to_string();
    let call = |name: &str, args: Value| Act::Call(vec![(name.to_owned(), args)]);
    if asked.contains("long") {
        return Act::Say(long());
    }
    if asked.contains("slow") {
        let words: Vec<String> = (0..40).map(|n| format!("word{n}")).collect();
        return Act::Slowly(words.join(" "), Duration::from_millis(250));
    }
    if asked.contains("write") {
        let args = serde_json::json!({ "path": "note.txt", "content": "milk" });
        return call("file-write", args);
    }
    if asked.contains("file") {
        return call("send_file", serde_json::json!({ "path": "note.txt" }));
    }
    Act::Say(format!(
        "I was asked {asked} in {} messages.",
        messages.len()
    ))
}

fn long() -> String {
    let rows: String = (0..60)
        .map(|n| format!("| row {n} | {} | **{}** |\n", n * n, n * 2))
        .collect();
    let code: String = (0..80).map(|n| format!("let line_{n} = {n};\n")).collect();
    format!(
        "# A long answer\n\nWith *looks*, `code`, [a link](https://example.org) and 😀.\n\n1. one\n   - inner\n2. two\n\n> quoted\n\n| name | square | twice |\n|---|---:|---|\n{rows}\n```rust\n{code}```\n\nThe end."
    )
}
