//! Plain requests that can be recognised with certainty. When in doubt, it is none.

use chrono::{DateTime, Local};
use serde_json::json;

use super::{Plan, one, texts, when};
use crate::{providers::Request, types::Clock};

/// What a plain request asks for.
pub(super) fn plan(said: &str, clock: &Clock, request: &Request) -> Option<Plan> {
    let said = said.trim();
    small_talk(said, clock, request)
        .or_else(|| reminder(said))
        .or_else(|| shell(said))
        .or_else(|| memory(said))
}

fn small_talk(said: &str, clock: &Clock, request: &Request) -> Option<Plan> {
    let plain: String = said
        .chars()
        .filter(|c| c.is_alphanumeric() || c.is_whitespace())
        .collect::<String>()
        .to_lowercase();
    let words: Vec<&str> = plain.split_whitespace().collect();
    Some(match words.join(" ").as_str() {
        "hi" | "hello" | "hey" | "hi there" | "hello there" | "hey there" | "good morning"
        | "good afternoon" | "good evening" | "hi nexflow" | "hello nexflow" | "hey nexflow" => {
            Plan::Say(texts::GREETING.to_owned())
        }
        "thanks" | "thank you" | "thanks a lot" | "thank you very much" => {
            Plan::Say(texts::WELCOME.to_owned())
        }
        "what time is it"
        | "whats the time"
        | "what is the time"
        | "what day is it"
        | "what is the date"
        | "whats the date"
        | "what is todays date"
        | "what time is it now" => Plan::Say(time(clock)),
        "help" | "what can you do" | "what can you do for me" | "what do you do" => {
            Plan::Say(texts::help(request))
        }
        "list skills"
        | "list my skills"
        | "what skills do you have"
        | "which skills do you have" => Plan::call("list_skills", json!({})),
        "list reminders"
        | "list my reminders"
        | "show my reminders"
        | "what reminders do i have" => Plan::call("list_reminders", json!({})),
        _ => return None,
    })
}

fn time(clock: &Clock) -> String {
    let now: DateTime<Local> = clock.now().utc().into();
    now.format("It is %H:%M on %A, %-d %B %Y (UTC%:z).")
        .to_string()
}

fn reminder(said: &str) -> Option<Plan> {
    let rest = after(said, &["please remind me ", "remind me "])?;
    let (when, text) = when::leading(rest)
        .filter(|(_, text)| !text.is_empty())
        .or_else(|| when::trailing(rest))?;
    let text = when::without_joint(text).trim_end_matches(['.', '!']);
    (!text.is_empty()).then(|| Plan::call("remind", json!({ "when": when, "text": text })))
}

/// ``run `uname -a` ``: only what stands in backticks is certainly a command line.
fn shell(said: &str) -> Option<Plan> {
    let rest = after(said, &["please run ", "run ", "execute "])?;
    let rest = rest.trim_end_matches(['.', '!']).trim();
    let rest = after(rest, &["the command "]).unwrap_or(rest);
    let command = rest.trim_matches('`');
    let ticks = rest.len() - command.len();
    let fenced = matches!(ticks, 2 | 6) && rest.starts_with('`') && rest.ends_with('`');
    let command = if ticks == 6 {
        without_language(command)
    } else {
        command
    };
    let certain = fenced && !command.contains('`') && !command.trim().is_empty();
    certain.then(|| Plan::call("shell-run", one("command", command.trim())))
}

fn without_language(fenced: &str) -> &str {
    match fenced.split_once('\n') {
        Some(("sh" | "bash" | "shell" | "", command)) => command,
        _ => fenced,
    }
}

fn memory(said: &str) -> Option<Plan> {
    let certain = |text: &str| !text.is_empty() && !text.ends_with('?');
    let kept = after(
        said,
        &["please remember that ", "remember that ", "remember: "],
    );
    if let Some(text) = kept.filter(|text| certain(text)) {
        return Some(Plan::call("remember", one("text", text)));
    }
    let question = said.trim_end_matches(['?', '.', '!', ' ']);
    let everything = [
        "what do you remember",
        "what do you know about me",
        "what do you remember about me",
    ];
    if everything
        .iter()
        .any(|all| question.eq_ignore_ascii_case(all))
    {
        return Some(Plan::call("list_memories", json!({})));
    }
    let query = after(
        question,
        &[
            "what did i say about ",
            "what did i tell you about ",
            "what do you remember about ",
            "what do you know about ",
        ],
    )?;
    (!query.is_empty()).then(|| Plan::call("recall", one("query", query)))
}

/// What follows one of the beginnings, whatever its case.
fn after<'a>(text: &'a str, beginnings: &[&str]) -> Option<&'a str> {
    beginnings.iter().find_map(|beginning| {
        let head = text.get(..beginning.len())?;
        let rest = text.get(beginning.len()..)?;
        head.eq_ignore_ascii_case(beginning).then(|| rest.trim())
    })
}
