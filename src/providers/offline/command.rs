//! Slash commands.

use serde_json::json;

use super::{Plan, args, one, texts, when};
use crate::{providers::Request, types::Command};

/// Every command: what platforms list, and what the help says.
pub const COMMANDS: &[Command] = &[
    command("help", "", "What I understand"),
    command("start", "", "Greets you"),
    command("new", "", "Begins a new conversation"),
    command("stop", "", "Ends what runs and drops what waits"),
    command(
        "approve",
        "[NUMBER] [once|session|always]",
        "Shows what waits for a decision, or allows it",
    ),
    command("deny", "[NUMBER] [REASON]", "Does not allow it"),
    command("status", "", "Shows how things are"),
    command("usage", "", "Shows what models took and cost"),
    command("skills", "", "Lists your skills"),
    command(
        "run",
        "SKILL …",
        "Runs a skill, with text, key=value pairs or a JSON object",
    ),
    command(
        "remind",
        "WHEN WHAT | list | cancel ID",
        "Sets, lists and cancels reminders",
    ),
    command(
        "memory",
        "add TEXT | search WORDS | list | forget ID",
        "Keeps, finds and forgets facts",
    ),
    command(
        "model",
        "[here] [NAME]",
        "Lists the models, or chooses one for you or for this conversation",
    ),
    command(
        "pair",
        "CODE [viewer|member|owner]",
        "Lets somebody in who told you this code",
    ),
];

const fn command(name: &'static str, argument: &'static str, description: &'static str) -> Command {
    Command {
        name,
        description,
        argument,
    }
}

/// Whether a message is a command, known or not: `/word` at its very start. Paths are not.
pub fn is_command(text: &str) -> bool {
    split(text).is_some()
}

/// Whether a message is `/stop`: end what runs, and drop what waits.
pub fn is_stop(text: &str) -> bool {
    split(text).is_some_and(|(word, _)| word == "stop")
}

/// Whether a message is `/approve` or `/deny`: it is answered while a turn waits for a decision.
pub fn is_decision(text: &str) -> bool {
    split(text).is_some_and(|(word, _)| matches!(word.as_str(), "approve" | "deny"))
}

/// The word without the slash, lower case, and what follows it.
fn split(text: &str) -> Option<(String, &str)> {
    let rest = text.trim().strip_prefix('/')?;
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (word, rest) = rest.split_at(end);
    // Telegram appends the name of the bot in groups.
    let word = word.split_once('@').map_or(word, |(word, _bot)| word);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(plain);
    is_word.then(|| (word.to_ascii_lowercase(), rest.trim()))
}

/// What a command asks for; none if the message is no command.
pub(super) fn plan(said: &str, request: &Request) -> Option<Plan> {
    let (word, rest) = split(said)?;
    Some(match word.as_str() {
        "help" => Plan::Say(texts::help(request)),
        "start" => Plan::Say(texts::START.to_owned()),
        "approve" => approve(rest),
        "deny" => deny(rest),
        "usage" => Plan::call("usage", json!({})),
        "pair" => pair(rest),
        "skills" => Plan::call("list_skills", json!({})),
        "status" => Plan::call("status", json!({})),
        "new" => Plan::call("new_session", json!({})),
        "stop" => Plan::Say(texts::STOPPED.to_owned()),
        "run" => args::run(rest, request),
        "remind" => remind(rest),
        "memory" => memory(rest),
        "model" => model(rest),
        unknown => Plan::Say(texts::unknown_command(unknown, request)),
    })
}

fn approve(rest: &str) -> Plan {
    let lasting = |word: &str| matches!(word, "once" | "session" | "always");
    let (first, more) = first_word(rest);
    let (which, choice) = match (first, more) {
        ("" | "list", "") => ("", "list"),
        // Of one that waits alone nobody needs the number.
        (word, "") if lasting(word) => ("", word),
        (which, "") => (which, "once"),
        (which, word) if lasting(word) => (which, word),
        _ => return Plan::Say(texts::APPROVE_USAGE.to_owned()),
    };
    Plan::call("decide", json!({ "choice": choice, "which": which }))
}

fn deny(rest: &str) -> Plan {
    let (which, reason) = first_word(rest);
    let choice = if which == "list" { "list" } else { "deny" };
    let args = json!({ "choice": choice, "which": which, "reason": reason });
    Plan::call("decide", args)
}

fn pair(rest: &str) -> Plan {
    let (code, role) = first_word(rest);
    if code.is_empty() {
        return Plan::Say(texts::PAIR_USAGE.to_owned());
    }
    let role = role.to_ascii_lowercase();
    Plan::call("pair", json!({ "code": code, "role": role }))
}

fn remind(rest: &str) -> Plan {
    let (word, more) = first_word(rest);
    match (word.to_ascii_lowercase().as_str(), more) {
        ("" | "list", "") => Plan::call("list_reminders", json!({})),
        ("cancel" | "delete" | "remove", id) if !id.is_empty() => {
            Plan::call("cancel_reminder", one("id", id))
        }
        _ => match when::leading(rest) {
            Some((when, text)) if !text.is_empty() => {
                Plan::call("remind", json!({ "when": when, "text": text }))
            }
            _ => Plan::Say(texts::REMIND_USAGE.to_owned()),
        },
    }
}

fn memory(rest: &str) -> Plan {
    let (word, more) = first_word(rest);
    match (word.to_ascii_lowercase().as_str(), more) {
        ("" | "list", "") => Plan::call("list_memories", json!({})),
        ("add" | "remember", text) if !text.is_empty() => Plan::call("remember", one("text", text)),
        ("search" | "recall", query) if !query.is_empty() => {
            Plan::call("recall", one("query", query))
        }
        ("forget" | "delete" | "remove", id) if !id.is_empty() => {
            Plan::call("forget", one("id", id))
        }
        _ => Plan::Say(texts::MEMORY_USAGE.to_owned()),
    }
}

fn model(rest: &str) -> Plan {
    let (here, name) = match first_word(rest) {
        ("here", name) => (true, name),
        _ => (false, rest),
    };
    Plan::call("choose_model", json!({ "model": name, "here": here }))
}

/// The first word, and the rest without the space between.
pub(super) fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace)
        .map_or((text, ""), |(word, rest)| (word, rest.trim()))
}
