//! What a model is asked for.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a model is wanted for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Answering a person.
    #[default]
    Chat,
    /// Work that a schedule began, and what a skill asks without saying what for.
    Agent,
    /// Making a text shorter.
    #[serde(alias = "summarize")]
    Summarise,
    /// Putting something under one of a few words.
    Classify,
    /// Looking now and then whether there is anything to do.
    Heartbeat,
    /// Turning a text into a vector.
    Embed,
}

impl Task {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Chat,
        Self::Agent,
        Self::Summarise,
        Self::Classify,
        Self::Heartbeat,
        Self::Embed,
    ];

    /// As it is written in the configuration and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Agent => "agent",
            Self::Summarise => "summarise",
            Self::Classify => "classify",
            Self::Heartbeat => "heartbeat",
            Self::Embed => "embed",
        }
    }

    /// From a word; `summarize` is understood too.
    pub fn parse(word: &str) -> Option<Self> {
        let word = if word == "summarize" {
            "summarise"
        } else {
            word
        };
        Self::ALL.into_iter().find(|task| task.as_str() == word)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_task() {
        assert_eq!(Task::parse("summarize"), Some(Task::Summarise));
        assert_eq!(Task::parse("summary"), None);
        for task in Task::ALL {
            assert_eq!(Task::parse(task.as_str()), Some(task));
        }
    }
}
