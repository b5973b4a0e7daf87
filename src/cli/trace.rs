//! `nexflow trace`: what happened to a message, and how long each part took.

use anyhow::Result;
use chrono::DateTime;
use serde_json::Value;

use super::{
    Setup,
    client::{self, path},
    out::{self, Style, clean, field, fit, items, line, raw},
};

/// Width of a bar that spans the whole time.
const BAR: usize = 24;

/// Shows it.
pub(super) async fn run(setup: &Setup, id: &str, json: bool) -> Result<()> {
    let path = path(&["messages", id, "trace"], &[])?;
    let trace = client::with(setup, async |client| client.get(&path).await).await?;
    if json {
        return out::json(&trace);
    }
    line(&format!(
        "Message {} in session {}",
        field(&trace, "message_id"),
        field(&trace, "session_id")
    ))?;
    line(&format!(
        "“{}” – {}",
        fit(field(&trace, "text"), 70),
        field(&trace, "state")
    ))?;
    if let Some(usage) = trace.get("usage") {
        let count = |key| usage.get(key).and_then(Value::as_u64).unwrap_or_default();
        let cost = usage.get("cost_usd").and_then(Value::as_f64);
        let cost = cost.map_or("no known price".to_owned(), |c| format!("{c:.4} USD"));
        let (read, written) = (count("input_tokens"), count("output_tokens"));
        line(&format!("{read} tokens in, {written} out, {cost}"))?;
    }
    raw(&format!(
        "\n{}",
        time_line(setup.style, items(&trace, "stages"))
    ))
}

/// When something began and how long it took, in milliseconds from the first beginning.
struct Part<'a> {
    stage: &'a Value,
    offset: f64,
    took: Option<f64>,
}

fn time_line(style: Style, stages: &[Value]) -> String {
    let begins = |stage: &Value| DateTime::parse_from_rfc3339(field(stage, "at")).ok();
    let first = stages.iter().filter_map(begins).min();
    let parts: Vec<Part<'_>> = stages
        .iter()
        .map(|stage| Part {
            stage,
            offset: first
                .zip(begins(stage))
                .map_or(0.0, |(a, b)| milliseconds(b - a)),
            took: stage.get("duration_ms").and_then(Value::as_f64),
        })
        .collect();
    let end = parts
        .iter()
        .map(|p| p.offset + p.took.unwrap_or_default())
        .fold(1.0, f64::max);
    parts.iter().map(|part| row(style, part, end)).collect()
}

fn row(style: Style, part: &Part<'_>, end: f64) -> String {
    let Part {
        stage,
        offset,
        took,
    } = part;
    let took_text = took.map_or_else(String::new, |t| format!("{t:.1} ms"));
    let name = fit(field(stage, "name"), 36);
    let mut text = format!(
        "{offset:>9.1} ms  {:<8}  {name:<36}  {:<11}  {took_text:>12}  {}",
        field(stage, "stage"),
        field(stage, "status"),
        style.dim(&bar(*offset, *took, end)),
    );
    text.truncate(text.trim_end().len());
    text.push('\n');
    let error = stage.pointer("/detail/error").and_then(Value::as_str);
    if let Some(error) = error {
        let blank = " ".repeat(14);
        text.extend([blank.as_str(), &*clean(error), "\n"]);
    }
    if let Some(purpose) = stage.pointer("/detail/purpose").and_then(Value::as_str) {
        let blank = " ".repeat(14);
        text.push_str(&match purpose {
            "transcription" => format!("{blank}writes down a voice note\n"),
            _ => format!("{blank}asked by {}\n", clean(purpose)),
        });
    }
    for attempt in stage
        .pointer("/detail/attempts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        text.push_str(&paid(attempt));
    }
    text
}

/// What one try of a model call took.
fn paid(attempt: &Value) -> String {
    let count = |key: &str| {
        attempt
            .pointer(key)
            .map_or_else(String::new, Value::to_string)
    };
    let cost = attempt.get("cost_usd").and_then(Value::as_f64);
    let cost = cost.map_or_else(
        || "no known price".to_owned(),
        |cost| format!("{cost:.6} USD"),
    );
    let estimated = attempt.pointer("/usage/estimated") == Some(&Value::Bool(true));
    let unsure = match (estimated, field(attempt, "price_source")) {
        (_, "ceiling") => ", at most",
        (true, _) => ", estimated",
        (false, _) => "",
    };
    let why = match (field(attempt, "error"), field(attempt, "detail")) {
        ("", _) => String::new(),
        (word, "") => format!(" ({word})"),
        (word, text) => format!(" ({word}: {})", clean(text)),
    };
    format!(
        "{}try {} {}/{}: {}{why}, {} tokens in, {} out, {cost}{unsure}\n",
        " ".repeat(14),
        count("/attempt"),
        clean(field(attempt, "provider")),
        clean(field(attempt, "model")),
        field(attempt, "status"),
        count("/usage/input_tokens"),
        count("/usage/output_tokens"),
    )
}

fn bar(offset: f64, took: Option<f64>, end: f64) -> String {
    let before = cells(offset / end).min(BAR - 1);
    let Some(took) = took else {
        return format!("{}·", " ".repeat(before));
    };
    let long = cells(took / end).clamp(1, BAR - before);
    format!("{}{}", " ".repeat(before), "█".repeat(long))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share between 0 and 1 as a few characters"
)]
fn cells(share: f64) -> usize {
    (share * BAR as f64).round().max(0.0) as usize
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn milliseconds(delta: chrono::TimeDelta) -> f64 {
    delta.num_microseconds().unwrap_or_default() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_line_shows_when_and_how_long() {
        let stages = json!([
            { "stage": "inbox", "name": "web", "status": "answered", "at": "2026-01-01T00:00:00Z",
              "duration_ms": 100.0, "detail": {} },
            { "stage": "model", "name": "openai/x", "status": "failed", "at": "2026-01-01T00:00:00.050Z",
              "duration_ms": 50.0, "detail": { "error": "too slow" } },
            { "stage": "answer", "name": "0198", "status": "ok", "at": "2026-01-01T00:00:00.100Z",
              "duration_ms": null, "detail": {} },
        ]);
        let text = time_line(Style::default(), stages.as_array().unwrap());
        insta::assert_snapshot!(text, @"
          0.0 ms  inbox     web                                   answered         100.0 ms  ████████████████████████
         50.0 ms  model     openai/x                              failed            50.0 ms              ████████████
                  too slow
        100.0 ms  answer    0198                                  ok                                                ·
        ");
    }
}
