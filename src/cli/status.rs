//! `nexflow status`: what runs.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Setup,
    client::{self, Client},
    out::{self, Level, Style, clean, field, items, line},
};

/// Shows it.
pub(super) async fn run(setup: &Setup, json: bool) -> Result<()> {
    let (report, running) = client::with(setup, async |client| read(client).await).await?;
    if json {
        return out::json(&with_running(report, running));
    }
    let style = setup.style;
    let version = field(&report, "version");
    if running {
        let uptime = report
            .get("uptime_s")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let url = field(&report, "url");
        line(&format!(
            "nexflow {version} runs at {url} for {}",
            span(uptime)
        ))?;
    } else {
        line(&format!(
            "nexflow {version} does not run; `nexflow run` starts it"
        ))?;
    }
    if let Some(provider) = report.get("provider") {
        let (name, model) = (field(provider, "name"), field(provider, "model"));
        line(&format!("Answers:     {}", clean(&join(&[name, model]))))?;
    }
    let sandbox = report.get("sandbox").unwrap_or(&Value::Null);
    let (mode, summary) = (field(sandbox, "mode"), field(sandbox, "summary"));
    line(&format!(
        "Sandbox:     {}",
        clean(&format!("{mode}. {summary}"))
    ))?;
    skills(report.get("skills").unwrap_or(&Value::Null))?;
    parts(style, "Provider", items(&report, "providers"))?;
    parts(style, "Connector", items(&report, "connectors"))?;
    let problems = items(&report, "config_problems");
    let sign = style.mark(Level::Weak, Level::Weak.sign());
    for warning in items(&report, "warnings")
        .iter()
        .filter_map(|w| news(w, problems))
    {
        line(&format!("{sign} {warning}"))?;
    }
    match problems.len() {
        0 => Ok(()),
        1 => line(&format!(
            "{sign} 1 remark on the configuration; `nexflow doctor` shows it"
        )),
        n => line(&format!(
            "{sign} {n} remarks on the configuration; `nexflow doctor` shows them"
        )),
    }
}

/// How many can be used, and whether somebody stopped them all.
fn skills(skills: &Value) -> Result<()> {
    let count = |key| skills.get(key).and_then(Value::as_u64).unwrap_or_default();
    let stopped = skills.get("stopped").is_some_and(|s| !s.is_null());
    let stopped = if stopped { ", all stopped" } else { "" };
    line(&format!(
        "Skills:      {} of {} can be used{stopped}",
        count("available"),
        count("total")
    ))
}

/// A warning that is more than the sum of the remarks on the configuration.
pub(super) fn news(warning: &Value, problems: &[Value]) -> Option<String> {
    let text = words_of(warning);
    let known = problems
        .iter()
        .any(|problem| text.contains(field(problem, "message")));
    (!known).then_some(text)
}

/// The report with everything tried, and whether it is a daemon's.
pub(super) async fn read(client: &Client) -> Result<(Value, bool)> {
    Ok((
        client.get("/api/v1/status?check=true").await?,
        client.running(),
    ))
}

/// The report for programs.
pub(super) fn with_running(mut report: Value, running: bool) -> Value {
    if let Some(report) = report.as_object_mut() {
        report.insert("running".to_owned(), json!(running));
    }
    report
}

fn parts(style: Style, kind: &str, parts: &[Value]) -> Result<()> {
    for part in parts {
        let level = level(part);
        let words = join(&[
            field(part, "name"),
            field(part, "model"),
            field(part, "state"),
        ]);
        let detail = detail(part);
        let detail = if detail.is_empty() {
            detail
        } else {
            format!(" – {detail}")
        };
        let sign = style.mark(level, level.sign());
        line(&format!(
            "{sign} {kind} {}",
            clean(&format!("{words}{detail}"))
        ))?;
    }
    Ok(())
}

/// How a provider or connector stands, by the word for its state.
pub(super) fn level(part: &Value) -> Level {
    match field(part, "state") {
        "ok" | "ready" | "unknown" | "starting" => Level::Good,
        "off" if field(part, "detail") == "switched off" => Level::Good,
        _ => Level::Bad,
    }
}

/// What is said besides.
pub(super) fn detail(part: &Value) -> String {
    let said = ["detail", "error", "reason"].map(|key| field(part, key));
    said.into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_default()
        .to_owned()
}

/// What to do about it, in one line or more.
pub(super) fn mends(part: &Value) -> Vec<String> {
    ["mend", "fix", "hint"]
        .into_iter()
        .filter_map(|key| part.get(key))
        .flat_map(|found| match found {
            Value::Array(all) => all.iter().map(words_of).collect(),
            Value::Null => Vec::new(),
            one => vec![words_of(one)],
        })
        .collect()
}

/// A text, or the message of an object.
pub(super) fn words_of(value: &Value) -> String {
    let text = match value {
        Value::Object(_) => {
            let said = ["text", "message", "detail"].map(|key| field(value, key));
            said.into_iter()
                .find(|text| !text.is_empty())
                .map(str::to_owned)
        }
        _ => None,
    };
    clean(&text.unwrap_or_else(|| out::cell(Some(value)))).into_owned()
}

fn join(words: &[&str]) -> String {
    let mut words: Vec<&str> = words.iter().copied().filter(|w| !w.is_empty()).collect();
    words.dedup();
    words.join(" ")
}

/// Seconds for people.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        assert_eq!(
            [5, 65, 3700, 90_000].map(span),
            ["5 s", "1 min", "1 h 1 min", "1 d 1 h"]
        );
    }

    #[test]
    fn warnings_are_texts_or_objects() {
        assert_eq!(words_of(&json!("plain")), "plain");
        assert_eq!(words_of(&json!({ "path": "a", "message": "said" })), "said");
        assert_eq!(mends(&json!({ "fix": ["one", "two"] })), ["one", "two"]);
    }
}
