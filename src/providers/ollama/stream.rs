//! What comes back: Ollama's lines of JSON.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    providers::{
        ProviderError, conversation,
        error::Report,
        peer::{Dialect, Ending, Progress},
    },
    types::chat::{Call, Delta, Stop, Usage, estimate_tokens},
};

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    message: Option<Piece<'a>>,
    #[serde(default)]
    done: bool,
    #[serde(borrow, default)]
    done_reason: Option<Cow<'a, str>>,
    #[serde(default)]
    prompt_eval_count: Option<u64>,
    #[serde(default)]
    eval_count: Option<u64>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(borrow, default)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    thinking: Option<Cow<'a, str>>,
    #[serde(default)]
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    #[serde(default)]
    id: Option<String>,
    function: FunctionPiece,
}

#[derive(Deserialize)]
struct FunctionPiece {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// An answer that is being put together.
pub(super) struct Lines {
    provider: String,
    begun: bool,
    thoughts: String,
    calls: Vec<Call>,
    counts: (Option<u64>, Option<u64>),
    stop: Stop,
    input_estimate: u64,
    output_estimate: u64,
}

impl Lines {
    pub(super) fn new(provider: &str, input_estimate: u64) -> Self {
        Self {
            provider: provider.to_owned(),
            begun: false,
            thoughts: String::new(),
            calls: Vec::new(),
            counts: (None, None),
            stop: Stop::Done,
            input_estimate,
            output_estimate: 0,
        }
    }

    fn call(&mut self, piece: CallPiece) {
        self.output_estimate += estimate_tokens(&piece.function.arguments.to_string());
        let taken = |id: &str| self.calls.iter().any(|call| call.id == id);
        let id = piece.id.filter(|id| !id.is_empty() && !taken(id));
        self.calls.push(Call {
            id: id.unwrap_or_else(conversation::new_id),
            tool: piece.function.name,
            args: match piece.function.arguments {
                Value::String(text) => conversation::arguments(text),
                Value::Null => Value::Object(serde_json::Map::new()),
                args => args,
            },
        });
    }
}

impl Dialect for Lines {
    fn frame(&mut self, data: &str, out: &mut Vec<Delta>) -> Result<Progress, ProviderError> {
        let line: Line<'_> = serde_json::from_str(data)
            .map_err(|_unreadable| ProviderError::unreadable(&self.provider, data))?;
        if let Some(error) = line.error {
            let mut report = Report::of(&error);
            // In the middle of an answer it can only be the server's own trouble.
            report.status = 500;
            return Err(ProviderError::reported(&self.provider, &report));
        }
        if let Some(piece) = line.message {
            self.begun = true;
            if let Some(thinking) = piece.thinking {
                self.output_estimate += estimate_tokens(&thinking);
                self.thoughts.push_str(&thinking);
                out.push(Delta::Reasoning(thinking.into_owned()));
            }
            if let Some(content) = piece.content {
                self.output_estimate += estimate_tokens(&content);
                out.push(Delta::Text(content.into_owned()));
            }
            for call in piece.tool_calls.into_iter().flatten() {
                self.call(call);
            }
        }
        if !line.done {
            return Ok(if self.begun {
                Progress::Middle
            } else {
                Progress::Waiting
            });
        }
        // Zero means that nobody counted: a cached prompt, a server that does not.
        let counted = |n: Option<u64>| n.filter(|n| *n > 0);
        self.counts = (counted(line.prompt_eval_count), counted(line.eval_count));
        if line.done_reason.as_deref() == Some("length") {
            self.stop = Stop::Length;
        }
        Ok(Progress::Last)
    }

    fn end(&mut self) -> Ending {
        let (input, output) = self.counts;
        let thoughts = std::mem::take(&mut self.thoughts);
        let kept = (!thoughts.is_empty()).then(|| Value::String(thoughts));
        Ending {
            kept: kept.into_iter().collect(),
            calls: std::mem::take(&mut self.calls),
            usage: Usage {
                input_tokens: input.unwrap_or(self.input_estimate),
                cached_tokens: 0,
                output_tokens: output.unwrap_or(self.output_estimate),
                estimated: input.is_none() || output.is_none(),
            },
            stop: self.stop,
        }
    }
}
