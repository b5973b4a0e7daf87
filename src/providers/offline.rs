//! The provider that needs no model: commands, and the few plain requests that can be recognised
//! with certainty. Anything else gets an honest answer that says what this is.
//!
//! Deterministic and without I/O. It runs nothing itself: like a model it calls tools, and turns
//! their results into an answer.

mod args;
mod command;
mod phrases;
mod results;
mod texts;
mod when;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{About, Answer, Provider, ProviderError, Request, conversation};
use crate::types::{
    Clock,
    chat::{Call, Delta, Message, Stop, Usage},
    money::Price,
};

pub use command::{COMMANDS, is_command, is_decision, is_stop};

/// Its name, wherever providers are named.
pub(super) const NAME: &str = "offline";

/// A streamed piece of text has about this many bytes.
const PIECE: usize = 160;

/// The built-in provider.
#[derive(Debug)]
pub struct Offline {
    clock: Clock,
}

impl Offline {
    /// It tells the time by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

/// Whether a message is a request that this provider carries out with certainty, so that it can stand
/// in for a model that does not answer.
pub fn is_certain(text: &str) -> bool {
    let plan = phrases::plan(text, &Clock::system(), &Request::default());
    is_command(text) || matches!(plan, Some(Plan::Call { .. }))
}

/// What it makes of a message.
#[derive(Debug, PartialEq)]
enum Plan {
    /// An answer.
    Say(String),
    /// A tool to call, and what its absence is explained with.
    Call { tool: String, args: Value },
}

impl Plan {
    fn call(tool: &str, args: Value) -> Self {
        Self::Call {
            tool: tool.to_owned(),
            args,
        }
    }
}

#[async_trait]
impl Provider for Offline {
    fn about(&self) -> About {
        About {
            name: NAME.to_owned(),
            model: NAME.to_owned(),
            context_tokens: 1_000_000,
            max_output_tokens: None,
            tools: true,
            images: false,
            offline: true,
            price: Some(Price::FREE),
        }
    }

    fn about_model(&self, _: &str) -> About {
        self.about()
    }

    async fn models(&self) -> Result<Vec<About>, ProviderError> {
        Ok(vec![self.about()])
    }

    async fn complete(&self, request: &Request) -> Result<Answer, ProviderError> {
        let deltas: Vec<_> = self.answer(request).into_iter().map(Ok).collect();
        Ok(stream::iter(deltas).boxed())
    }

    async fn check(&self) -> Result<(), ProviderError> {
        Ok(())
    }
}

impl Offline {
    fn answer(&self, request: &Request) -> Vec<Delta> {
        let (said, after) = last_question(&request.messages);
        let plan = self.plan(said, request);
        let results = results::of(after);
        let mut deltas = if results.is_empty() {
            match plan {
                Plan::Say(text) => pieces(&text),
                Plan::Call { tool, args } => vec![Delta::Call(Call {
                    id: conversation::new_id(),
                    tool,
                    args,
                })],
            }
        } else {
            // A turn that a model began, and that no model could finish.
            let ours =
                matches!(plan, Plan::Call { tool, .. } if results.iter().all(|r| r.tool == tool));
            let intro = if ours { "" } else { texts::UNFINISHED };
            pieces(&format!("{intro}{}", results::render(&results)))
        };
        deltas.push(Delta::Done {
            usage: Usage::default(),
            stop: Stop::Done,
        });
        deltas
    }

    /// What is to be done about a message; a tool that is not there is explained, not called.
    fn plan(&self, said: &str, request: &Request) -> Plan {
        let plan = command::plan(said, request)
            .or_else(|| phrases::plan(said, &self.clock, request))
            .unwrap_or_else(|| Plan::Say(texts::not_understood(request)));
        match plan {
            Plan::Call { tool, .. } if !request.tools.iter().any(|t| t.name == tool) => {
                Plan::Say(texts::no_tool(&tool, request))
            }
            plan => plan,
        }
    }
}

/// What the person said last, and what came after that.
fn last_question(messages: &[Message]) -> (&str, &[Message]) {
    let last = messages
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, message)| match message {
            Message::User { text, .. } => Some((at, text.as_str())),
            _ => None,
        });
    match last {
        Some((at, text)) => (text.trim(), messages.get(at + 1..).unwrap_or_default()),
        None => ("", messages),
    }
}

/// The text in a few pieces, cut after spaces and line breaks.
fn pieces(text: &str) -> Vec<Delta> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        piece.push_str(word);
        if piece.len() >= PIECE {
            pieces.push(Delta::Text(std::mem::take(&mut piece)));
        }
    }
    if !piece.is_empty() {
        pieces.push(Delta::Text(piece));
    }
    pieces
}

/// Arguments of a tool that takes one text.
fn one(key: &str, value: &str) -> Value {
    json!({ key: value })
}

#[cfg(test)]
mod tests;
