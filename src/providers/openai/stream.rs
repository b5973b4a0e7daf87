//! What comes back: chunks of an answer, as OpenAI and the servers like it send them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::thoughts::Thoughts;
use crate::{
    providers::{
        ProviderError, conversation,
        error::Report,
        peer::{Dialect, Ending, Progress},
    },
    types::chat::{Call, Delta, Stop, Usage, estimate_tokens},
};

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow, default)]
    delta: Option<Piece<'a>>,
    /// In place of `delta`, from a server that does not stream.
    #[serde(borrow, default)]
    message: Option<Piece<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Piece<'a> {
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Cow<'a, str>>,
    /// Thoughts, as z.ai and many local servers call them.
    #[serde(borrow, default)]
    pub(super) reasoning_content: Option<Cow<'a, str>>,
    /// Thoughts, as OpenRouter and newer local servers call them.
    #[serde(borrow, default)]
    pub(super) reasoning: Option<Cow<'a, str>>,
    /// Thoughts with their signatures: OpenRouter.
    #[serde(default)]
    pub(super) reasoning_details: Option<Vec<Value>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<CallPiece<'a>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    /// Some send a list of parts, thoughts among them.
    Parts(Vec<Value>),
}

#[derive(Deserialize)]
struct CallPiece<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    function: Option<FunctionPiece<'a>>,
}

#[derive(Deserialize)]
struct FunctionPiece<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    /// Text; from some an object.
    #[serde(default)]
    arguments: Option<Value>,
}

#[derive(Default)]
struct Partial {
    index: Option<u64>,
    id: String,
    name: String,
    args: String,
}

/// An answer that is being put together.
pub(super) struct Chunks {
    provider: String,
    begun: bool,
    thoughts: Thoughts,
    calls: Vec<Partial>,
    usage: Option<Usage>,
    stop: Option<Stop>,
    refused: bool,
    /// For servers that do not count.
    input_estimate: u64,
    output_estimate: u64,
}

impl Chunks {
    pub(super) fn new(provider: &str, input_estimate: u64) -> Self {
        Self {
            provider: provider.to_owned(),
            begun: false,
            thoughts: Thoughts::default(),
            calls: Vec::new(),
            usage: None,
            stop: None,
            refused: false,
            input_estimate,
            output_estimate: 0,
        }
    }

    fn choice(&mut self, choice: Choice<'_>, out: &mut Vec<Delta>) -> Result<(), ProviderError> {
        if let Some(piece) = choice.delta.or(choice.message) {
            self.piece(piece, out);
        }
        match choice.finish_reason.as_deref() {
            None | Some("" | "null") => {}
            Some("error" | "network_error") => {
                return Err(ProviderError::down(
                    &self.provider,
                    "it broke off with an error",
                ));
            }
            Some("length" | "max_tokens" | "model_length" | "model_context_window_exceeded") => {
                self.stop = Some(Stop::Length);
            }
            Some("content_filter" | "safety" | "sensitive") => self.stop = Some(Stop::Filtered),
            Some(_) => self.stop = Some(Stop::Done),
        }
        Ok(())
    }

    fn piece(&mut self, piece: Piece<'_>, out: &mut Vec<Delta>) {
        if let Some(thought) = self.thoughts.take(&piece) {
            self.begun = true;
            self.output_estimate += estimate_tokens(&thought);
            out.push(Delta::Reasoning(thought));
        }
        let (estimate, begun) = (&mut self.output_estimate, &mut self.begun);
        let mut say = |piece: String| {
            *estimate += estimate_tokens(&piece);
            *begun |= !piece.is_empty();
            out.push(Delta::Text(piece));
        };
        match piece.content {
            Some(Content::Text(content)) => say(content.into_owned()),
            Some(Content::Parts(parts)) => parts
                .iter()
                .filter(|part| part.get("type").and_then(Value::as_str) == Some("text"))
                .filter_map(|part| part.get("text").and_then(Value::as_str))
                .for_each(|part| say(part.to_owned())),
            None => {}
        }
        if let Some(refusal) = piece.refusal.filter(|refusal| !refusal.is_empty()) {
            say(refusal.into_owned());
            self.refused = true;
        }
        for call in piece.tool_calls.into_iter().flatten() {
            self.begun = true;
            self.call(call);
        }
    }

    fn call(&mut self, piece: CallPiece<'_>) {
        let id = piece.id.unwrap_or_default();
        let (name, args) = piece
            .function
            .map(|f| (f.name.unwrap_or_default(), f.arguments))
            .unwrap_or_default();
        let Some(call) = self.partial(piece.index, &id, !name.is_empty()) else {
            return;
        };
        if call.id.is_empty() {
            call.id = id.into_owned();
        }
        if call.name.is_empty() {
            call.name = name.into_owned();
        }
        match args {
            Some(Value::String(more)) => call.args.push_str(&more),
            Some(Value::Null) | None => {}
            Some(whole) => call.args = whole.to_string(),
        }
    }

    /// The call that a piece belongs to. Some servers leave out the index, and some give all calls
    /// of an answer the same: another id together with a name begins another call.
    fn partial(&mut self, index: Option<u64>, id: &str, named: bool) -> Option<&mut Partial> {
        let known = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None if id.is_empty() => self.calls.len().checked_sub(1).filter(|_| !named),
            None => self.calls.iter().rposition(|call| call.id == id),
        };
        let known = known.filter(|at| {
            let call = self.calls.get(*at);
            let other = call.is_some_and(|c| !id.is_empty() && !c.id.is_empty() && c.id != id);
            !(other && named)
        });
        if let Some(at) = known {
            return self.calls.get_mut(at);
        }
        self.calls.push(Partial {
            index,
            ..Partial::default()
        });
        self.calls.last_mut()
    }

    fn count(&mut self, usage: &Value) {
        let number = |path: &str| usage.pointer(path).and_then(Value::as_u64);
        let (Some(input), Some(output)) = (number("/prompt_tokens"), number("/completion_tokens"))
        else {
            return;
        };
        let cached = number("/prompt_tokens_details/cached_tokens")
            .or_else(|| number("/prompt_cache_hit_tokens"));
        self.usage = Some(Usage {
            input_tokens: input,
            cached_tokens: cached.unwrap_or(0).min(input),
            output_tokens: output,
            estimated: false,
        });
    }

    fn progress(&self) -> Progress {
        match self.stop {
            Some(_) => Progress::Ending,
            None if self.begun => Progress::Middle,
            None => Progress::Waiting,
        }
    }
}

impl Dialect for Chunks {
    fn frame(&mut self, data: &str, out: &mut Vec<Delta>) -> Result<Progress, ProviderError> {
        let data = data.trim();
        if data == "[DONE]" {
            return Ok(Progress::Last);
        }
        if data.is_empty() {
            return Ok(self.progress());
        }
        let chunk: Chunk<'_> = serde_json::from_str(data)
            .map_err(|_unreadable| ProviderError::unreadable(&self.provider, data))?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(ProviderError::reported(&self.provider, &Report::of(&error)));
        }
        if let Some(usage) = &chunk.usage {
            self.count(usage);
        }
        for choice in chunk.choices.into_iter().flatten() {
            if choice.index == 0 {
                self.choice(choice, out)?;
            }
        }
        Ok(self.progress())
    }

    fn end(&mut self) -> Ending {
        let calls: Vec<Call> = std::mem::take(&mut self.calls)
            .into_iter()
            .filter(|call| !call.name.is_empty())
            .map(|call| {
                self.output_estimate += estimate_tokens(&call.args) + estimate_tokens(&call.name);
                Call {
                    id: if call.id.is_empty() {
                        conversation::new_id()
                    } else {
                        call.id
                    },
                    tool: call.name,
                    args: conversation::arguments(call.args),
                }
            })
            .collect();
        let estimate = Usage {
            input_tokens: self.input_estimate,
            cached_tokens: 0,
            output_tokens: self.output_estimate,
            estimated: true,
        };
        Ending {
            kept: std::mem::take(&mut self.thoughts).kept(),
            calls,
            usage: self.usage.unwrap_or(estimate),
            stop: match self.stop {
                Some(Stop::Done) | None if self.refused => Stop::Filtered,
                stop => stop.unwrap_or(Stop::Done),
            },
        }
    }
}
