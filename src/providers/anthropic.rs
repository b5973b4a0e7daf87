//! Anthropic's Messages API.

mod body;
mod stream;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{
    About, Answer, Provider, ProviderError, Request, Spec, conversation,
    knowledge::{self, Facts, Knowledge},
    peer::{BaseUrl, Framing, Peer, Timeouts},
};
use crate::{
    net::{Http, sse},
    types::Secret,
};

const BASE: &str = "https://api.anthropic.com/v1";

/// The version of the wire format that this file speaks.
const VERSION: &str = "2023-06-01";

/// Settings of Anthropic.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Config {
    /// The key.
    #[serde(default)]
    api_key: Option<Secret>,
    /// Where the server is, if it is not Anthropic's own.
    #[serde(default)]
    base_url: Option<BaseUrl>,
    /// The model.
    #[serde(default = "default_model")]
    model: String,
    /// Whether the model thinks before it answers: `adaptive`, or how many tokens it may think
    /// (1024 or more). Newer models take only `adaptive`; absent leaves it to the model.
    #[serde(default)]
    thinking: Option<Thinking>,
    #[serde(flatten)]
    facts: Facts,
    #[serde(flatten)]
    timeouts: Timeouts,
}

/// How a model is asked to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "thinking: `adaptive`, or a number of tokens such as 4000"
)]
pub(super) enum Thinking {
    /// So many tokens at most.
    Tokens(u32),
    /// As much as it finds right.
    Adaptive(Adaptive),
}

/// The word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Adaptive {
    /// `adaptive`.
    Adaptive,
}

fn default_model() -> String {
    "claude-sonnet-4-5".to_owned()
}

/// What a model of theirs can do, where nobody says.
const UNKNOWN: Facts = Facts {
    context_tokens: Some(200_000),
    max_output_tokens: None,
    tools: Some(true),
    images: Some(true),
    price: None,
};

/// Anthropic.
#[derive(Debug)]
pub(super) struct Anthropic {
    peer: Peer,
    knowledge: Knowledge,
    thinking: Option<Thinking>,
    key: Option<Secret>,
}

impl Spec for Anthropic {
    const NAME: &'static str = "anthropic";
    const EXAMPLE: &'static str = "\
anthropic:
  api_key: \"${ANTHROPIC_API_KEY}\"
  model: claude-sonnet-4-5
";
    type Config = Config;
    type Provider = Self;

    fn new(name: &str, config: Config, http: &Http) -> Result<Self, String> {
        let own = || BASE.parse::<Url>().map_err(|e| e.to_string());
        let mut base = config.base_url.map_or_else(own, |base| Ok(base.0))?;
        // People write this address with and without the version.
        if matches!(base.path(), "" | "/") {
            base.set_path("/v1");
        }
        Ok(Self {
            peer: Peer::new(name, base, config.timeouts, http),
            knowledge: Knowledge::new(Self::NAME, &config.model, config.facts),
            thinking: config.thinking,
            key: config.api_key.filter(|key| !key.expose().trim().is_empty()),
        })
    }
}

impl Anthropic {
    fn headers(&self) -> Result<HeaderMap, ProviderError> {
        let Some(key) = &self.key else {
            return Err(ProviderError::credentials(&self.peer.name, "there is none"));
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", self.peer.key_header(key.expose().trim())?);
        headers.insert("anthropic-version", HeaderValue::from_static(VERSION));
        Ok(headers)
    }
}

/// What the list of models says of one.
fn facts(model: &Value) -> Facts {
    let can = |what: &str| {
        let pointer = format!("/capabilities/{what}/supported");
        model.pointer(&pointer).and_then(Value::as_bool)
    };
    Facts {
        context_tokens: knowledge::tokens(model, "/max_input_tokens"),
        max_output_tokens: knowledge::tokens(model, "/max_tokens"),
        images: can("image_input"),
        ..Facts::default()
    }
}

impl Anthropic {
    /// Asks once what a model can do; a server that does not tell is not worse for it.
    async fn learn(&self, model: &str) {
        if !self.knowledge.wants(model) {
            return;
        }
        let Ok(headers) = self.headers() else { return };
        if let Ok(told) = self.peer.get(&format!("models/{model}"), headers).await {
            self.knowledge.tell(model, facts(&told));
        }
    }
}

#[async_trait]
impl Provider for Anthropic {
    fn about_model(&self, model: &str) -> About {
        self.knowledge.about(&self.peer.name, model, UNKNOWN)
    }

    fn about(&self) -> About {
        self.about_model(self.knowledge.model())
    }

    async fn complete(&self, request: &Request) -> Result<Answer, ProviderError> {
        let headers = self.headers()?;
        let model = request.model.as_deref().unwrap_or(self.knowledge.model());
        let shape = body::Shape {
            model,
            images: self.about_model(model).images,
            thinking: self.thinking,
            by: &self.peer.by(model),
        };
        let body = body::body(request, &shape);
        let sent = self.peer.stream("messages", headers, &body);
        let opened = knowledge::meanwhile(sent, self.learn(model)).await?;
        let dialect = stream::Events::new(&self.peer.name, conversation::estimate(request));
        let framing = Framing::Sse(sse::Parser::default());
        self.peer.read(opened, framing, (model, dialect))
    }

    async fn models(&self) -> Result<Vec<About>, ProviderError> {
        let list = self.peer.get("models?limit=1000", self.headers()?).await?;
        let models = list.get("data").and_then(Value::as_array);
        let names = models.into_iter().flatten().filter_map(|model| {
            let name = model.get("id")?.as_str()?;
            self.knowledge.tell(name, facts(model));
            Some(self.about_model(name))
        });
        Ok(names.collect())
    }

    async fn check(&self) -> Result<(), ProviderError> {
        match self.peer.get("models", self.headers()?).await {
            // It answers; servers that imitate it may have no list of models.
            Ok(_) | Err(ProviderError::Refused { .. } | ProviderError::Garbled { .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
