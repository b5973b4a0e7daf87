//! Google Gemini: `generateContent`, streamed.

mod body;
mod schema;
mod stream;

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{
    About, Answer, Provider, ProviderError, Request, Spec, conversation,
    knowledge::{self, Facts, Knowledge, tokens},
    peer::{BaseUrl, Framing, Peer, Timeouts},
};
use crate::{
    net::{Http, sse},
    types::Secret,
};

const BASE: &str = "https://generativelanguage.googleapis.com/v1beta";

/// What a model of theirs can do, where nobody says.
const UNKNOWN: Facts = Facts {
    context_tokens: Some(1_000_000),
    max_output_tokens: None,
    tools: Some(true),
    images: Some(true),
    price: None,
};

/// Settings of Gemini.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Config {
    /// The key.
    #[serde(default)]
    api_key: Option<Secret>,
    /// Where the server is, if it is not Google's own.
    #[serde(default)]
    base_url: Option<BaseUrl>,
    /// The model.
    #[serde(default = "default_model")]
    model: String,
    /// How many tokens a model of the 2.5 series may think: 0 for none, -1 for as many as it finds
    /// right.
    #[serde(default)]
    thinking_tokens: Option<i32>,
    /// How hard a model of a later series thinks, such as `low` or `high`.
    #[serde(default)]
    thinking_level: Option<String>,
    #[serde(flatten)]
    facts: Facts,
    #[serde(flatten)]
    timeouts: Timeouts,
}

fn default_model() -> String {
    "gemini-2.5-flash".to_owned()
}

/// Gemini.
#[derive(Debug)]
pub(super) struct Gemini {
    peer: Peer,
    knowledge: Knowledge,
    thinking: body::Thinking,
    key: Option<Secret>,
}

impl Spec for Gemini {
    const NAME: &'static str = "gemini";
    const EXAMPLE: &'static str = "\
gemini:
  api_key: \"${GEMINI_API_KEY}\"
  model: gemini-2.5-flash
";
    type Config = Config;
    type Provider = Self;

    fn new(name: &str, config: Config, http: &Http) -> Result<Self, String> {
        let own = || BASE.parse::<Url>().map_err(|e| e.to_string());
        let mut base = config.base_url.map_or_else(own, |base| Ok(base.0))?;
        if base.path().trim_end_matches('/').ends_with("/openai") {
            return Err(
                "base_url ends in /openai, where Gemini imitates OpenAI. Nexflow speaks Gemini's own \
                 language: remove base_url, or make this a section with `kind: custom`"
                    .to_owned(),
            );
        }
        // People write this address with and without the version.
        if matches!(base.path(), "" | "/") {
            base.set_path("/v1beta");
        }
        let model = config.model.trim().trim_start_matches("models/");
        Ok(Self {
            peer: Peer::new(name, base, config.timeouts, http),
            knowledge: Knowledge::new(Self::NAME, model, config.facts),
            thinking: body::Thinking {
                tokens: config.thinking_tokens,
                level: config.thinking_level,
            },
            key: config.api_key.filter(|key| !key.expose().trim().is_empty()),
        })
    }
}

impl Gemini {
    /// The key goes in a header: addresses are written to logs on the way.
    fn headers(&self) -> Result<HeaderMap, ProviderError> {
        let Some(key) = &self.key else {
            return Err(ProviderError::credentials(&self.peer.name, "there is none"));
        };
        let mut headers = HeaderMap::new();
        let key = self.peer.key_header(key.expose().trim())?;
        headers.insert("x-goog-api-key", key);
        Ok(headers)
    }

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

/// What the list of models says of one.
fn facts(model: &Value) -> Facts {
    Facts {
        context_tokens: tokens(model, "/inputTokenLimit"),
        max_output_tokens: tokens(model, "/outputTokenLimit"),
        ..Facts::default()
    }
}

/// Whether a model answers in words; others make images, speech or vectors.
fn talks(model: &Value) -> bool {
    let methods = model.get("supportedGenerationMethods");
    let methods = methods.and_then(Value::as_array);
    methods.is_none_or(|all| all.iter().any(|m| m.as_str() == Some("generateContent")))
}

#[async_trait]
impl Provider for Gemini {
    fn about(&self) -> About {
        self.about_model(self.knowledge.model())
    }

    fn about_model(&self, model: &str) -> About {
        self.knowledge.about(&self.peer.name, model, UNKNOWN)
    }

    async fn complete(&self, request: &Request) -> Result<Answer, ProviderError> {
        let headers = self.headers()?;
        let model = request.model.as_deref().unwrap_or(self.knowledge.model());
        let shape = body::Shape {
            model,
            images: self.about_model(model).images,
            thinking: &self.thinking,
            by: &self.peer.by(model),
        };
        let body = body::body(request, &shape);
        let path = format!("models/{model}:streamGenerateContent?alt=sse");
        let sent = self.peer.stream(&path, headers, &body);
        let opened = knowledge::meanwhile(sent, self.learn(model)).await?;
        let dialect = stream::Chunks::new(&self.peer.name, conversation::estimate(request));
        let framing = Framing::Sse(sse::Parser::default());
        self.peer.read(opened, framing, (model, dialect))
    }

    async fn check(&self) -> Result<(), ProviderError> {
        match self.peer.get("models?pageSize=1", self.headers()?).await {
            // It answers; servers that imitate it may have no list of models.
            Ok(_) | Err(ProviderError::Refused { .. } | ProviderError::Garbled { .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }

    async fn models(&self) -> Result<Vec<About>, ProviderError> {
        let list = self
            .peer
            .get("models?pageSize=1000", self.headers()?)
            .await?;
        let models = list.get("models").and_then(Value::as_array);
        let talking = models.into_iter().flatten().filter(|model| talks(model));
        let names = talking.filter_map(|model| {
            let name = model.get("name")?.as_str()?.trim_start_matches("models/");
            self.knowledge.tell(name, facts(model));
            Some(self.about_model(name))
        });
        Ok(names.collect())
    }
}

#[cfg(test)]
pub(super) mod tests;
