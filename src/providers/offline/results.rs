//! Results of tools, as an answer for a person.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::types::chat::Message;

/// What came of one call.
pub(super) struct Outcome<'a> {
    pub(super) tool: &'a str,
    text: &'a str,
    failed: bool,
}

/// The results among these messages.
pub(super) fn of(messages: &[Message]) -> Vec<Outcome<'_>> {
    let results = messages.iter().filter_map(|message| match message {
        Message::Result {
            tool, text, failed, ..
        } => Some(Outcome {
            tool,
            text,
            failed: *failed,
        }),
        _ => None,
    });
    results.collect()
}

/// All of them; with headings if there are several.
pub(super) fn render(outcomes: &[Outcome<'_>]) -> String {
    if let [only] = outcomes {
        return one(only);
    }
    let parts: Vec<String> = outcomes
        .iter()
        .map(|outcome| format!("**{}**\n\n{}", outcome.tool, one(outcome)))
        .collect();
    parts.join("\n\n")
}

fn one(outcome: &Outcome<'_>) -> String {
    let body = match serde_json::from_str(outcome.text.trim()) {
        Ok(Value::Object(object)) => of_object(&object),
        Ok(list @ Value::Array(_)) => pretty(&list),
        _ if outcome.text.trim().is_empty() => "Done.".to_owned(),
        _ => outcome.text.trim_end().to_owned(),
    };
    if outcome.failed {
        return format!("`{}` failed: {body}", outcome.tool);
    }
    body
}

fn of_object(object: &Map<String, Value>) -> String {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    if object.contains_key("stdout") || object.contains_key("exit_code") {
        return of_program(object);
    }
    for key in ["reply", "text", "message"] {
        if let Some(text) = text(key).filter(|text| !text.trim().is_empty()) {
            return text.trim_end().to_owned();
        }
    }
    if object.is_empty() {
        return "Done.".to_owned();
    }
    pretty(&Value::Object(object.clone()))
}

fn of_program(object: &Map<String, Value>) -> String {
    let text = |key: &str| {
        object
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim_end()
    };
    let mut out = String::new();
    if !text("stdout").is_empty() {
        out.push_str(&block(text("stdout"), ""));
    }
    if !text("stderr").is_empty() {
        let gap = if out.is_empty() { "" } else { "\n\n" };
        write!(out, "{gap}Errors:\n\n{}", block(text("stderr"), "")).ok();
    }
    let code = object.get("exit_code").and_then(Value::as_i64).unwrap_or(0);
    if code != 0 {
        let gap = if out.is_empty() { "" } else { "\n\n" };
        write!(out, "{gap}It ended with exit code {code}.").ok();
    }
    if out.is_empty() {
        "Done; it printed nothing.".clone_into(&mut out);
    }
    out
}

fn pretty(value: &Value) -> String {
    block(&format!("{value:#}"), "json")
}

/// A code block whose fence is longer than any inside.
fn block(text: &str, language: &str) -> String {
    let runs = text.split(|c| c != '`').map(str::len);
    let fence = "`".repeat(runs.max().unwrap_or(0).max(2) + 1);
    format!("{fence}{language}\n{text}\n{fence}")
}
