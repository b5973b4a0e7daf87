//! Anthropic's Messages API.

mod body;
mod stream;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::{
    About, Answer, Provider, ProviderError, Request, Spec, conversation,
    peer::{BaseUrl, Framing, Peer, default_stall},
    prices,
};
use crate::{
    net::{Http, sse},
    types::{Secret, money::Price},
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
    /// What fits the model's window, in tokens.
    #[serde(default = "default_context")]
    context_tokens: u32,
    /// What the model costs.
    #[serde(default)]
    price: Option<Price>,
    /// After how many seconds of silence an answer counts as broken off.
    #[serde(default = "default_stall")]
    stall_timeout_sec: u64,
}

fn default_model() -> String {
    "claude-sonnet-4-5".to_owned()
}

fn default_context() -> u32 {
    200_000
}

/// Anthropic.
#[derive(Debug)]
pub(super) struct Anthropic {
    peer: Peer,
    about: About,
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

    fn new(name: &str, config: Config, http: &Http) -> Result<Self, String> {
        let own = || BASE.parse::<Url>().map_err(|e| e.to_string());
        let mut base = config.base_url.map_or_else(own, |base| Ok(base.0))?;
        // People write this address with and without the version.
        if matches!(base.path(), "" | "/") {
            base.set_path("/v1");
        }
        let price = config
            .price
            .or_else(|| prices::listed(Self::NAME, &config.model));
        Ok(Self {
            about: About {
                name: name.to_owned(),
                model: config.model,
                context_tokens: config.context_tokens,
                images: true,
                offline: false,
                price,
            },
            peer: Peer {
                name: name.to_owned(),
                base,
                stall: Duration::from_secs(config.stall_timeout_sec.max(1)),
                http: http.clone(),
            },
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

#[async_trait]
impl Provider for Anthropic {
    fn about(&self) -> About {
        self.about.clone()
    }

    async fn complete(&self, request: &Request) -> Result<Answer, ProviderError> {
        let body = body::body(request, &self.about.model);
        let response = self.peer.stream("messages", self.headers()?, &body).await?;
        let dialect = stream::Events::new(&self.peer.name, conversation::estimate(request));
        let framing = Framing::Sse(sse::Parser::default());
        self.peer.read(response, framing, dialect)
    }

    async fn check(&self) -> Result<(), ProviderError> {
        match self.peer.get("models", self.headers()?).await {
            // It answers; servers that imitate it may have no list of models.
            Ok(_) | Err(ProviderError::Refused { .. } | ProviderError::Garbled { .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }

    async fn model_names(&self) -> Result<Vec<String>, ProviderError> {
        let list = self.peer.get("models", self.headers()?).await?;
        Ok(super::listed(&list))
    }
}

#[cfg(test)]
pub(super) mod tests;
