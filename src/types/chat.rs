//! What is said to a model and what it answers, in no provider's dialect.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::types::Attachment;

/// One entry of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A person.
    User {
        /// What was said.
        text: String,
        /// Images that came with it (other files are described in the text).
        images: Vec<Attachment>,
    },
    /// The model.
    Assistant {
        /// What it said.
        text: String,
        /// What it asked for; each has exactly one [`Message::Result`] after this entry.
        calls: Vec<Call>,
        /// What it thought before, where it wants that back.
        reasoning: Option<Reasoning>,
    },
    /// What came of a call.
    Result {
        /// [`Call::id`].
        call: String,
        /// [`Call::tool`].
        tool: String,
        /// The output, or the error, as text.
        text: String,
        /// Whether it failed.
        failed: bool,
    },
}

/// What a model thought before it answered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reasoning {
    /// `provider/model` that thought it: `kept` means nothing to any other.
    pub by: String,
    /// As people may read it: all of it, a summary, or nothing.
    #[serde(default)]
    pub text: String,
    /// In the provider's own form, signed or encrypted: given back with the answer as it came.
    #[serde(default)]
    pub kept: Vec<Value>,
}

/// A tool call that a model asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The provider's id, unique within an answer; made up where the provider has none.
    pub id: String,
    /// Name of the tool.
    pub tool: String,
    /// Arguments; an object. [`Value::String`] holds what could not be parsed.
    pub args: Value,
}

/// A tool as it is shown to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// `[a-zA-Z0-9_-]{1,64}`.
    pub name: String,
    /// When to use it.
    pub description: String,
    /// JSON Schema of an object.
    pub input_schema: Value,
}

/// What a call cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Of these, read from the provider's cache.
    #[serde(default)]
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Whether the counts are our estimate, because the provider gave none.
    #[serde(default)]
    pub estimated: bool,
}

impl Reasoning {
    /// Takes up a piece of an answer, if it is one of its thoughts.
    pub fn take(thoughts: &mut Option<Self>, delta: &Delta) {
        match delta {
            Delta::Reasoning(piece) => thoughts.get_or_insert_default().text.push_str(piece),
            Delta::Kept { by, parts } => {
                let thoughts = thoughts.get_or_insert_default();
                thoughts.by.clone_from(by);
                thoughts.kept.clone_from(parts);
            }
            _ => {}
        }
    }
}

impl Usage {
    /// The sum of two; estimated if either is.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens + other.input_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            estimated: self.estimated || other.estimated,
        }
    }
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stop {
    /// It was done, or wants its tools run.
    #[default]
    Done,
    /// It ran into the output limit.
    Length,
    /// The provider withheld the rest.
    Filtered,
}

/// A piece of a streamed answer. [`Delta::Done`] comes once, last.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// Text to append.
    Text(String),
    /// Thoughts to append, for people; no part of the answer.
    Reasoning(String),
    /// Thoughts in the provider's own form, to be given back with this answer. Once, before the calls.
    Kept {
        /// [`Reasoning::by`].
        by: String,
        /// [`Reasoning::kept`].
        parts: Vec<Value>,
    },
    /// Something about this answer that the person should know, such as an image that was not seen.
    Notice(String),
    /// A complete call.
    Call(Call),
    /// The end.
    Done {
        /// What it cost.
        usage: Usage,
        /// Why it ended.
        stop: Stop,
    },
}

/// A rough token count: providers count differently, and too many is the safe side. About four
/// bytes of English or two characters of other scripts make a token.
pub fn estimate_tokens(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let other = text.chars().filter(|c| !c.is_ascii()).count();
    (ascii.div_ceil(4) + other.div_ceil(2)) as u64
}
