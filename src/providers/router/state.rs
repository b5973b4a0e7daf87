//! What is known of a provider, for status pages.

use super::breaker::Circuit;

/// How a provider does, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nobody has asked it yet.
    Unknown,
    /// It answered when it was last asked.
    Ready,
    /// It did not; the text says why.
    Failing(String),
    /// Its section cannot be used; the text says why.
    Misconfigured(String),
}

impl Condition {
    /// One word for status pages.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Failing(_) => "failing",
            Self::Misconfigured(_) => "misconfigured",
        }
    }
}

/// One line of a status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Name of the section.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The model; empty if unknown.
    pub model: String,
    /// How it does.
    pub condition: Condition,
    /// Failures that count, and what follows from them.
    pub circuits: Vec<Circuit>,
    /// Calls side by side at most.
    pub max_concurrent: Option<usize>,
    /// Calls under way.
    pub running: usize,
    /// Calls that wait for a place.
    pub waiting: usize,
}

impl State {
    /// Of one that nobody asks through a queue.
    pub(super) fn plain(name: String, kind: String, model: String, condition: Condition) -> Self {
        Self {
            name,
            kind,
            model,
            condition,
            circuits: Vec::new(),
            max_concurrent: None,
            running: 0,
            waiting: 0,
        }
    }
}
