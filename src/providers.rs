//! Model providers: one trait, one table of kinds, one file per wire format.
//!
//! Owns what a provider is asked and answers ([`Request`], [`Answer`], [`ProviderError`]) and the
//! table [`KINDS`]. A provider retries nothing and knows neither budgets nor sessions: the caller
//! decides what follows from an error. Who is asked, and who is left alone, is [`router`]'s business.

mod anthropic;
mod conversation;
mod custom;
mod error;
mod gemini;
mod knowledge;
mod mend;
mod offline;
mod ollama;
mod openai;
mod openrouter;
mod peer;
mod prices;
mod router;
mod textual;
mod zai;

#[cfg(test)]
pub(crate) mod contract;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream::BoxStream};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    net::Http,
    types::{
        Entry,
        chat::{Call, Delta, Message, Reasoning, Stop, ToolSpec, Usage},
        money::Price,
    },
};

pub use error::ProviderError;
pub use offline::{COMMANDS, Offline, is_certain, is_command, is_decision, is_stop};
pub use prices::as_of as prices_as_of;
pub use router::{
    Blocked, Choice, Circuit, Class, Condition, Finding, Pass, Probe, Providers, Rules, Settings,
    State, Tasks, Verdict, Wish,
};

/// An answer as it comes. [`Delta::Done`] is last, or an error is. Dropping it stops the request.
pub type Answer = BoxStream<'static, Result<Delta, ProviderError>>;

/// How far a model is that is being fetched, as it goes on. Ends when it is there, or with an error.
pub type Pulling = BoxStream<'static, Result<Pulled, ProviderError>>;

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// What is being done, in the server's words.
    pub status: String,
    /// Bytes of this part that are there.
    pub completed: Option<u64>,
    /// Bytes of this part.
    pub total: Option<u64>,
}

/// What a model is asked. Any list of messages is fine: each dialect makes a valid one of it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Who the model is and what it knows; comes first and changes least.
    pub system: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// What it may call.
    pub tools: Vec<ToolSpec>,
    /// Where it has to stop; 0 leaves that to the provider.
    pub max_output_tokens: u32,
    /// Another model than the provider's own, for this request alone.
    pub model: Option<String>,
    /// How freely it may choose its words; none leaves that to the provider, 0 asks for the same answer
    /// each time.
    pub temperature: Option<f32>,
}

/// What is known of a provider without asking it.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// Name of its section in the configuration.
    pub name: String,
    /// The model it uses; empty while a local server has not been asked which it has.
    pub model: String,
    /// What fits its window, question and answer together.
    pub context_tokens: u32,
    /// What it can write in one answer, where that is known.
    pub max_output_tokens: Option<u32>,
    /// Whether it can call tools; else they are described to it in words.
    pub tools: bool,
    /// Whether it sees images; else they are described to it in words.
    pub images: bool,
    /// Whether it is the built-in provider that needs no model.
    pub offline: bool,
    /// What it costs, where that is known.
    pub price: Option<Price>,
}

/// A way to a model.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// What is known of its own model without asking.
    fn about(&self) -> About;

    /// What is known of another model of it without asking.
    fn about_model(&self, model: &str) -> About;

    /// Asks, and answers as soon as the provider has accepted the question.
    async fn complete(&self, request: &Request) -> Result<Answer, ProviderError>;

    /// Whether it answers and takes our key, as cheaply as it can be found out.
    async fn check(&self) -> Result<(), ProviderError>;

    /// The models it has, as it says itself.
    async fn models(&self) -> Result<Vec<About>, ProviderError>;

    /// Gets a model that it does not have yet; for servers that run models themselves.
    async fn pull(&self, _model: &str) -> Result<Pulling, ProviderError> {
        Err(ProviderError::Refused {
            provider: self.about().name,
            detail: "it does not fetch models; name one that it has".to_owned(),
        })
    }
}

/// What one file of this family provides.
pub trait Spec {
    /// The kind, as it is written in the configuration.
    const NAME: &'static str;
    /// Its section of the example configuration, YAML.
    const EXAMPLE: &'static str;
    /// Its settings.
    type Config: DeserializeOwned + JsonSchema;
    /// What speaks its wire format; several kinds may speak the same.
    type Provider: Provider;

    /// Makes one, reaching for nothing yet; the error says what is wrong with the settings.
    fn new(name: &str, config: Self::Config, http: &Http) -> Result<Self::Provider, String>;
}

/// One row of [`KINDS`].
pub struct Kind {
    /// The kind, as it is written in the configuration.
    pub name: &'static str,
    /// Its section of the example configuration, YAML.
    pub example: &'static str,
    /// JSON Schema of its settings.
    pub schema: fn() -> Value,
    /// Makes one from its section; the error says what is wrong with the section.
    pub build: Build,
}

/// Makes a provider of a section.
pub type Build = fn(&Entry, &Http) -> Result<Arc<dyn Provider>, String>;

/// Every kind that can be configured.
pub const KINDS: &[Kind] = &[
    Kind::of::<anthropic::Anthropic>(),
    Kind::of::<openai::OpenAi>(),
    Kind::of::<ollama::Ollama>(),
    Kind::of::<gemini::Gemini>(),
    Kind::of::<openrouter::OpenRouter>(),
    Kind::of::<zai::Zai>(),
    Kind::of::<custom::Custom>(),
];

impl Kind {
    const fn of<S: Spec>() -> Self {
        Self {
            name: S::NAME,
            example: S::EXAMPLE,
            schema: schema::<S::Config>,
            build: |entry, http| {
                let provider = S::new(&entry.name, read(entry)?, http)?;
                Ok(Arc::new(mend::Mended::new(provider)))
            },
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }
}

fn schema<C: JsonSchema>() -> Value {
    schemars::schema_for!(C).to_value()
}

fn read<C: DeserializeOwned>(entry: &Entry) -> Result<C, String> {
    serde_json::from_value(Value::Object(entry.settings.clone())).map_err(|e| e.to_string())
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    /// All of its text.
    pub text: String,
    /// What it wants called, in order.
    pub calls: Vec<Call>,
    /// What it thought.
    pub reasoning: Option<Reasoning>,
    /// What the person should know about it.
    pub notices: Vec<String>,
    /// What it cost.
    pub usage: Usage,
    /// Why it ended.
    pub stop: Stop,
}

/// Waits for a whole answer.
pub async fn collect(mut answer: Answer) -> Result<Collected, ProviderError> {
    let (mut text, mut calls) = (String::new(), Vec::new());
    let (mut reasoning, mut notices) = (None, Vec::new());
    while let Some(delta) = answer.next().await {
        match delta? {
            Delta::Text(piece) => text.push_str(&piece),
            delta @ (Delta::Reasoning(_) | Delta::Kept { .. }) => {
                Reasoning::take(&mut reasoning, &delta);
            }
            Delta::Notice(notice) => notices.push(notice),
            Delta::Call(call) => calls.push(call),
            Delta::Done { usage, stop } => {
                return Ok(Collected {
                    text,
                    calls,
                    reasoning,
                    notices,
                    usage,
                    stop,
                });
            }
        }
    }
    Err(ProviderError::Garbled {
        provider: "the provider".to_owned(),
        detail: "its answer has no end".to_owned(),
    })
}
