//! Model providers: one trait, one table of kinds, one file per wire format.
//!
//! Owns what a provider is asked and answers ([`Request`], [`Answer`], [`ProviderError`]) and the
//! table [`KINDS`]. A provider retries nothing and knows neither budgets nor sessions: the caller
//! decides what follows from an error. Who is asked, and who is left alone, is [`router`]'s business.

mod anthropic;
mod conversation;
mod error;
mod offline;
mod ollama;
mod openai;
mod peer;
mod presets;
mod prices;
mod router;

#[cfg(test)]
pub(crate) mod contract;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream::BoxStream};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    net::Http,
    types::{
        Entry,
        chat::{Call, Delta, Message, Stop, ToolSpec, Usage},
        money::Price,
    },
};

pub use error::ProviderError;
pub use offline::{Offline, is_certain, is_command, is_stop};
pub use router::{
    Blocked, Choice, Circuit, Class, Condition, Finding, Pass, Probe, Providers, Rules, Settings,
    State, Tasks, Verdict, Wish,
};

/// An answer as it comes. [`Delta::Done`] is last, or an error is. Dropping it stops the request.
pub type Answer = BoxStream<'static, Result<Delta, ProviderError>>;

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
    /// Whether it sees images.
    pub images: bool,
    /// Whether it is the built-in provider that needs no model.
    pub offline: bool,
    /// What it costs, where that is known.
    pub price: Option<Price>,
}

/// A way to a model.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// What is known without asking.
    fn about(&self) -> About;

    /// Asks, and answers as soon as the provider has accepted the question.
    async fn complete(&self, request: &Request) -> Result<Answer, ProviderError>;

    /// Whether it answers and takes our key, as cheaply as it can be found out.
    async fn check(&self) -> Result<(), ProviderError>;

    /// Names of the models that it has; none where it does not tell.
    async fn model_names(&self) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }
}

/// The ids of a list of models, as most servers send it: `{"data": [{"id": "..."}]}`.
fn listed(list: &Value) -> Vec<String> {
    let models = list.get("data").and_then(Value::as_array);
    let id = |model: &Value| model.get("id")?.as_str().map(str::to_owned);
    models.into_iter().flatten().filter_map(id).collect()
}

/// What one file of this family provides.
pub trait Spec: Provider + Sized {
    /// The kind, as it is written in the configuration.
    const NAME: &'static str;
    /// Its section of the example configuration, YAML.
    const EXAMPLE: &'static str;
    /// Its settings.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes one, reaching for nothing yet; the error says what is wrong with the settings.
    fn new(name: &str, config: Self::Config, http: &Http) -> Result<Self, String>;
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
    Kind::preset(&presets::GEMINI),
    Kind::preset(&presets::OPENROUTER),
    Kind::preset(&presets::ZAI),
    Kind::preset(&presets::CUSTOM),
];

impl Kind {
    const fn of<S: Spec>() -> Self {
        Self {
            name: S::NAME,
            example: S::EXAMPLE,
            schema: schema::<S::Config>,
            build: |entry, http| Ok(Arc::new(S::new(&entry.name, read(entry)?, http)?)),
        }
    }

    /// A vendor that speaks OpenAI's dialect.
    const fn preset(row: &'static presets::Preset) -> Self {
        Self {
            name: row.name,
            example: row.example,
            schema: schema::<openai::Config>,
            build: presets::build,
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
    /// What it cost.
    pub usage: Usage,
    /// Why it ended.
    pub stop: Stop,
}

/// Waits for a whole answer.
pub async fn collect(mut answer: Answer) -> Result<Collected, ProviderError> {
    let (mut text, mut calls) = (String::new(), Vec::new());
    while let Some(delta) = answer.next().await {
        match delta? {
            Delta::Text(piece) => text.push_str(&piece),
            Delta::Call(call) => calls.push(call),
            Delta::Done { usage, stop } => {
                return Ok(Collected {
                    text,
                    calls,
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
