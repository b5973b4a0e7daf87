//! What is wrong with a configuration, for the person who wrote it.

use std::{fmt, path::PathBuf};

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is left out or has no effect.
    Warning,
    /// A section cannot be used as it stands.
    Error,
}

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// Where: `llm.providers.openai`.
    pub path: String,
    /// Line in the file, from 1, where it was found.
    pub line: Option<usize>,
    /// What.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, ", {hint}"),
            None => Ok(()),
        }
    }
}

/// Why there is no configuration at all.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was asked for cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not YAML or JSON.
    #[error("{}:{line}:{column}: {message}\n{excerpt}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What.
        message: String,
        /// The line, with a mark below it.
        excerpt: String,
    },
}

/// A key that nobody knows, and the one that may be meant.
pub(super) fn unknown_key(keys: &[String], known: &[&str]) -> Problem {
    Problem {
        severity: Severity::Warning,
        path: keys.join("."),
        line: None,
        message: "is not a key that this version knows".to_owned(),
        hint: keys.last().and_then(|key| nearest(key, known)),
    }
}

/// The known name that is most like another.
pub(super) fn nearest(key: &str, known: &[&str]) -> Option<String> {
    let best = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)))?;
    (strsim::jaro_winkler(best, key) > 0.8).then(|| format!("did you mean `{best}`?"))
}
