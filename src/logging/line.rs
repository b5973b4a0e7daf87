//! One line of the log.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::types::{Clock, Timestamp, secret::mask, text::clean};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// When.
    pub timestamp: Timestamp,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The module that wrote it.
    pub target: String,
    /// For people.
    pub message: String,
    /// For programs: the line's own fields and those of the spans around it.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// The rank of a level; an unknown one counts as info.
fn rank(level: &str) -> u8 {
    match level.to_ascii_lowercase().as_str() {
        "error" => 0,
        "warn" | "warning" => 1,
        "debug" => 3,
        "trace" => 4,
        _ => 2,
    }
}

/// Text that can neither break a line nor steer a terminal.
fn on_one_line(text: &str) -> String {
    clean(text).replace('\n', "\\n").replace('\t', " ")
}

impl Line {
    pub(super) fn plain(level: &str, target: &str, message: &str) -> Self {
        Self {
            timestamp: Clock::system().now(),
            level: level.to_owned(),
            target: target.to_owned(),
            message: message.to_owned(),
            fields: Map::new(),
        }
    }

    /// Whether it is as grave as a level, or graver.
    pub fn is_at_least(&self, level: &str) -> bool {
        rank(&self.level) <= rank(level)
    }

    /// Without any known secret, wherever one may stand.
    pub(super) fn masked(mut self) -> Self {
        self.message = mask(&self.message).into_owned();
        for value in self.fields.values_mut() {
            let text = match &*value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if let std::borrow::Cow::Owned(clean) = mask(&text) {
                *value = Value::String(clean);
            }
        }
        self
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    pub(super) fn pretty(&self) -> String {
        let colour = match self.level.as_str() {
            "error" => "31",
            "warn" => "33",
            "info" => "32",
            _ => "2",
        };
        let time = self.timestamp.utc().format("%H:%M:%S%.3f");
        let level = self.level.to_uppercase();
        let mut text = format!(
            "\u{1b}[2m{time}\u{1b}[0m \u{1b}[{colour}m{level:>5}\u{1b}[0m {}",
            on_one_line(&self.message)
        );
        for (name, value) in &self.fields {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let value = on_one_line(&value);
            text.push_str(&format!(" \u{1b}[2m{name}=\u{1b}[0m{value}"));
        }
        text.push('\n');
        text
    }
}
