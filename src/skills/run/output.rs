//! What a program said and how it ended, as a result. Nothing that it said is believed: control
//! sequences and secrets are taken out.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{RunResult, Status};
use crate::{
    sandbox::{End, Limits, Outcome, Output},
    skills::Skill,
    types::{
        secret::mask,
        text::{clean, shorten},
    },
};

/// Text that can be shown: no control sequences, no secrets.
pub fn safe(text: &str) -> String {
    // Masked once more after cleaning: what was cleaned out may have stood in a secret.
    mask(&clean(&mask(text))).into_owned()
}

/// The result of a run.
pub(super) fn result(outcome: &Outcome, limits: &Limits) -> RunResult {
    let stdout = text(&outcome.stdout, limits.output_bytes);
    let stderr = safe(&text(&outcome.stderr, limits.output_bytes));
    let status = match outcome.end {
        End::Exited(0) => Status::Ok,
        End::Cancelled => Status::Cancelled,
        _ => Status::Failed,
    };
    let output = object(&stdout).unwrap_or_else(|| {
        let code = match outcome.end {
            End::Exited(code) => Some(code),
            _ => None,
        };
        json!({ "exit_code": code, "stdout": safe(&stdout), "stderr": stderr })
    });
    let error = why(outcome.end, limits).map(|why| {
        let own = output.get("error").and_then(Value::as_str);
        let said = own.or_else(|| stderr.lines().rev().find(|l| !l.trim().is_empty()));
        match said {
            Some(said) => format!("{why}: {}", shorten(said.trim(), 500)),
            None => why,
        }
    });
    RunResult {
        status,
        output,
        error,
        mode: Some(outcome.mode),
        duration: outcome.elapsed,
    }
}

/// A skill keeps to the schema of output that it declares, or has failed; its output is kept.
pub(super) fn check(skill: &Skill, result: &mut RunResult) {
    if result.status != Status::Ok {
        return;
    }
    if let Err(text) = skill.check_output(&result.output) {
        result.status = Status::Failed;
        let text = safe(&text);
        result.error = Some(format!(
            "the skill did not keep to its output_schema: {text}"
        ));
    }
}

/// What was said on standard error.
pub(super) fn stderr(outcome: &Outcome) -> String {
    safe(&String::from_utf8_lossy(&outcome.stderr.bytes))
}

/// What a stream holds, with a mark where something was left out.
fn text(output: &Output, limit: usize) -> String {
    if output.dropped == 0 {
        return String::from_utf8_lossy(&output.bytes).into_owned();
    }
    let half = limit.div_ceil(2).min(output.bytes.len());
    let (head, tail) = output.bytes.split_at(half);
    let (head, tail) = (String::from_utf8_lossy(head), String::from_utf8_lossy(tail));
    format!("{head}\n[… {} bytes left out …]\n{tail}", output.dropped)
}

/// One JSON object and nothing else.
fn object(stdout: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(stdout.trim()).ok()?;
    value.is_object().then(|| safe_value(value))
}

/// The same, where line ends are somebody's data.
fn safe_lines(text: &str) -> String {
    let masked = mask(text);
    let lines: Vec<String> = masked.split("\r\n").map(safe).collect();
    lines.join("\r\n")
}

fn safe_value(value: Value) -> Value {
    match value {
        Value::String(text) => safe_lines(&text).into(),
        Value::Array(all) => all.into_iter().map(safe_value).collect(),
        Value::Object(all) => {
            let all: Map<String, Value> = all
                .into_iter()
                .map(|(key, value)| (safe(&key), safe_value(value)))
                .collect();
            Value::Object(all)
        }
        other => other,
    }
}

fn why(end: End, limits: &Limits) -> Option<String> {
    Some(match end {
        End::Exited(0) => return None,
        End::Exited(code) => format!("the skill ended with exit code {code}"),
        End::Signalled(signal) => format!("the skill was ended by signal {signal}"),
        End::TimedOut => format!(
            "the skill took longer than {} and was ended",
            shown(limits.wall)
        ),
        End::Cancelled => "the skill was stopped".to_owned(),
        End::OutputLimit => "the skill wrote far too much output and was ended".to_owned(),
        End::MemoryLimit => {
            format!(
                "the skill took more than {} MiB of memory and was ended",
                limits.memory_bytes >> 20
            )
        }
        End::DiskLimit => {
            format!(
                "the skill wrote more than {} MiB to disk and was ended",
                limits.disk_bytes >> 20
            )
        }
    })
}

fn shown(time: Duration) -> String {
    format!("{} s", time.as_secs())
}
