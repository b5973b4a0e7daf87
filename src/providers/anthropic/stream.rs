//! What comes back: Anthropic's events.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    providers::{
        ProviderError, conversation,
        error::Report,
        peer::{Dialect, Ending, Progress},
    },
    types::chat::{Call, Delta, Stop, Usage, estimate_tokens},
};

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    /// The whole answer, from a server that does not stream.
    Message(#[serde(borrow)] Whole<'a>),
    MessageStart {
        message: Start,
    },
    ContentBlockStart {
        #[serde(default)]
        index: u64,
        #[serde(borrow)]
        content_block: Block<'a>,
    },
    ContentBlockDelta {
        #[serde(default)]
        index: u64,
        #[serde(borrow)]
        delta: Piece<'a>,
    },
    MessageDelta {
        #[serde(borrow)]
        delta: Finish<'a>,
        #[serde(default)]
        usage: Option<Counts>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// `ping`, `content_block_stop`, and whatever is added one day.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow, default)]
    content: Vec<Block<'a>>,
    #[serde(borrow, flatten)]
    finish: Finish<'a>,
    #[serde(default)]
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    usage: Option<Counts>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        #[serde(borrow, default)]
        text: Cow<'a, str>,
    },
    ToolUse {
        #[serde(borrow, default)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(default)]
        input: Value,
    },
    Thinking {
        #[serde(borrow, default)]
        thinking: Cow<'a, str>,
        #[serde(borrow, default)]
        signature: Cow<'a, str>,
    },
    /// Thoughts that nobody may read, but that must come back.
    RedactedThinking {
        #[serde(borrow)]
        data: Cow<'a, str>,
    },
    /// The tools that the server runs by itself.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece<'a> {
    TextDelta {
        #[serde(borrow)]
        text: Cow<'a, str>,
    },
    InputJsonDelta {
        #[serde(borrow, default)]
        partial_json: Cow<'a, str>,
    },
    ThinkingDelta {
        #[serde(borrow)]
        thinking: Cow<'a, str>,
    },
    SignatureDelta {
        #[serde(borrow)]
        signature: Cow<'a, str>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Finish<'a> {
    #[serde(borrow, default)]
    stop_reason: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Counts {
    #[serde(default, rename = "input_tokens")]
    input: Option<u64>,
    #[serde(default, rename = "cache_creation_input_tokens")]
    cache_written: Option<u64>,
    #[serde(default, rename = "cache_read_input_tokens")]
    cache_read: Option<u64>,
    #[serde(default, rename = "output_tokens")]
    output: Option<u64>,
}

struct Partial {
    index: u64,
    id: String,
    name: String,
    input: Value,
    args: String,
}

/// A block of thoughts.
enum Thought {
    Open {
        index: u64,
        thinking: String,
        signature: String,
    },
    Redacted(String),
}

/// An answer that is being put together.
pub(super) struct Events {
    provider: String,
    begun: bool,
    thoughts: Vec<Thought>,
    calls: Vec<Partial>,
    counts: Counts,
    stop: Option<Stop>,
    input_estimate: u64,
    output_estimate: u64,
}

impl Events {
    pub(super) fn new(provider: &str, input_estimate: u64) -> Self {
        Self {
            provider: provider.to_owned(),
            begun: false,
            thoughts: Vec::new(),
            calls: Vec::new(),
            counts: Counts::default(),
            stop: None,
            input_estimate,
            output_estimate: 0,
        }
    }

    fn event(&mut self, event: Event<'_>, out: &mut Vec<Delta>) -> Result<(), ProviderError> {
        match event {
            Event::Message(whole) => {
                for (index, block) in (0..).zip(whole.content) {
                    self.begin(index, block, out);
                }
                self.count(whole.usage);
                self.finish(&whole.finish);
                self.stop.get_or_insert(Stop::Done);
            }
            Event::MessageStart { message } => self.count(message.usage),
            Event::ContentBlockStart {
                index,
                content_block,
            } => {
                self.begin(index, content_block, out);
            }
            Event::ContentBlockDelta { index, delta } => self.add(index, delta, out),
            Event::MessageDelta { delta, usage } => {
                self.count(usage);
                self.finish(&delta);
            }
            Event::MessageStop | Event::Other => {}
            Event::Error { error } => {
                return Err(ProviderError::reported(&self.provider, &Report::of(&error)));
            }
        }
        Ok(())
    }

    fn finish(&mut self, finish: &Finish<'_>) {
        self.stop = match finish.stop_reason.as_deref() {
            None => self.stop,
            Some("max_tokens" | "model_context_window_exceeded") => Some(Stop::Length),
            Some("refusal") => Some(Stop::Filtered),
            Some(_) => Some(Stop::Done),
        };
    }

    fn begin(&mut self, index: u64, block: Block<'_>, out: &mut Vec<Delta>) {
        self.begun = true;
        match block {
            Block::Text { text: piece } => self.say(piece, out),
            Block::Thinking {
                thinking,
                signature,
            } => {
                self.thoughts.push(Thought::Open {
                    index,
                    thinking: thinking.to_string(),
                    signature: signature.into_owned(),
                });
                out.push(Delta::Reasoning(thinking.into_owned()));
            }
            Block::RedactedThinking { data } => {
                self.thoughts.push(Thought::Redacted(data.into_owned()));
            }
            Block::ToolUse { id, name, input } => self.calls.push(Partial {
                index,
                id: id.into_owned(),
                name: name.into_owned(),
                input,
                args: String::new(),
            }),
            Block::Other => {}
        }
    }

    fn add(&mut self, index: u64, piece: Piece<'_>, out: &mut Vec<Delta>) {
        match piece {
            Piece::TextDelta { text: piece } => self.say(piece, out),
            Piece::ThinkingDelta { thinking: more } => {
                if let Some((thinking, _)) = self.thought(index) {
                    thinking.push_str(&more);
                }
                self.output_estimate += estimate_tokens(&more);
                out.push(Delta::Reasoning(more.into_owned()));
            }
            Piece::SignatureDelta { signature: more } => {
                if let Some((_, signature)) = self.thought(index) {
                    signature.push_str(&more);
                }
            }
            Piece::InputJsonDelta { partial_json } => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.index == index) {
                    call.args.push_str(&partial_json);
                }
            }
            Piece::Other => {}
        }
    }

    fn thought(&mut self, at: u64) -> Option<(&mut String, &mut String)> {
        self.thoughts.iter_mut().find_map(|thought| match thought {
            Thought::Open {
                index,
                thinking,
                signature,
            } if *index == at => Some((thinking, signature)),
            _ => None,
        })
    }

    fn say(&mut self, piece: Cow<'_, str>, out: &mut Vec<Delta>) {
        self.output_estimate += estimate_tokens(&piece);
        out.push(Delta::Text(piece.into_owned()));
    }

    /// The counts are cumulative: the last one of each counts.
    fn count(&mut self, counts: Option<Counts>) {
        let Some(new) = counts else { return };
        let old = &mut self.counts;
        old.input = new.input.or(old.input);
        old.cache_written = new.cache_written.or(old.cache_written);
        old.cache_read = new.cache_read.or(old.cache_read);
        old.output = new.output.or(old.output);
    }

    /// What is read from the cache and what is written to it come on top of `input_tokens`.
    fn usage(&self) -> Usage {
        let cached = self.counts.cache_read.unwrap_or(0);
        let written = self.counts.cache_written.unwrap_or(0);
        match (self.counts.input, self.counts.output) {
            (Some(input), Some(output)) => Usage {
                input_tokens: input + cached + written,
                cached_tokens: cached,
                output_tokens: output,
                estimated: false,
            },
            (input, output) => Usage {
                input_tokens: input.map_or(self.input_estimate, |input| input + cached + written),
                cached_tokens: cached,
                output_tokens: output.unwrap_or(self.output_estimate),
                estimated: true,
            },
        }
    }
}

impl Thought {
    /// As it is given back; a thought without a signature was cut off, or is nobody's business.
    fn kept(self) -> Option<Value> {
        match self {
            Self::Open { signature, .. } if signature.is_empty() => None,
            Self::Open {
                thinking,
                signature,
                ..
            } => Some(json!({ "type": "thinking", "thinking": thinking, "signature": signature })),
            Self::Redacted(data) => Some(json!({ "type": "redacted_thinking", "data": data })),
        }
    }
}

impl Dialect for Events {
    fn frame(&mut self, data: &str, out: &mut Vec<Delta>) -> Result<Progress, ProviderError> {
        let event: Event<'_> = serde_json::from_str(data)
            .map_err(|_unreadable| ProviderError::unreadable(&self.provider, data))?;
        let last = matches!(event, Event::MessageStop | Event::Message(_));
        self.event(event, out)?;
        Ok(match self.stop {
            _ if last => Progress::Last,
            Some(_) => Progress::Ending,
            None if self.begun => Progress::Middle,
            None => Progress::Waiting,
        })
    }

    fn end(&mut self) -> Ending {
        let calls = std::mem::take(&mut self.calls).into_iter().map(|call| {
            self.output_estimate += estimate_tokens(&call.args) + estimate_tokens(&call.name);
            let whole = call.args.is_empty() && call.input.is_object();
            Call {
                id: if call.id.is_empty() {
                    conversation::new_id()
                } else {
                    call.id
                },
                tool: call.name,
                args: if whole {
                    call.input
                } else {
                    conversation::arguments(call.args)
                },
            }
        });
        let kept = std::mem::take(&mut self.thoughts).into_iter();
        Ending {
            kept: kept.filter_map(Thought::kept).collect(),
            calls: calls.collect(),
            usage: self.usage(),
            stop: self.stop.unwrap_or(Stop::Done),
        }
    }
}
