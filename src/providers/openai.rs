//! OpenAI's Chat Completions, and the many servers that speak it.
//!
//! Owns the dialect; what differs between vendors is in [`super::presets`].

mod body;
mod stream;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::{
    About, Answer, Provider, ProviderError, Request, Spec, conversation,
    peer::{BaseUrl, Framing, Peer, default_stall},
    presets::{OPENAI, Preset},
    prices,
};
use crate::{
    net::{Http, is_loopback, sse},
    types::{Secret, money::Price},
};

/// Settings of OpenAI and of every server that speaks its dialect.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Config {
    /// The key; local servers often need none.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// Where the server is, such as `http://127.0.0.1:8080/v1`.
    #[serde(default)]
    pub base_url: Option<BaseUrl>,
    /// The model.
    #[serde(default)]
    pub model: Option<String>,
    /// What fits the model's window, in tokens.
    #[serde(default)]
    pub context_tokens: Option<u32>,
    /// Whether the model sees images.
    #[serde(default)]
    pub images: Option<bool>,
    /// What the model costs.
    #[serde(default)]
    pub price: Option<Price>,
    /// After how many seconds of silence an answer counts as broken off.
    #[serde(default = "default_stall")]
    pub stall_timeout_sec: u64,
}

/// A server that speaks OpenAI's dialect.
#[derive(Debug)]
pub(super) struct OpenAi {
    preset: &'static Preset,
    peer: Peer,
    about: About,
    key: Option<Secret>,
}

impl Spec for OpenAi {
    const NAME: &'static str = OPENAI.name;
    const EXAMPLE: &'static str = OPENAI.example;
    type Config = Config;

    fn new(name: &str, config: Config, http: &Http) -> Result<Self, String> {
        Self::preset(&OPENAI, name, config, http)
    }
}

impl OpenAi {
    /// One with the peculiarities of a vendor.
    pub(super) fn preset(
        preset: &'static Preset,
        name: &str,
        config: Config,
        http: &Http,
    ) -> Result<Self, String> {
        let base = match config.base_url {
            Some(BaseUrl(url)) => url,
            None if preset.base_url.is_empty() => return Err("base_url is missing".to_owned()),
            None => preset.base_url.parse::<Url>().map_err(|e| e.to_string())?,
        };
        let model = config.model.filter(|model| !model.trim().is_empty());
        let model = model.unwrap_or_else(|| preset.model.to_owned());
        if model.is_empty() {
            return Err("model is missing".to_owned());
        }
        let price = config.price.or_else(|| prices::listed(preset.name, &model));
        Ok(Self {
            preset,
            about: About {
                name: name.to_owned(),
                model,
                context_tokens: config.context_tokens.unwrap_or(preset.context_tokens),
                images: config.images.unwrap_or(preset.images),
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

    fn headers(&self) -> Result<HeaderMap, ProviderError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            let value = self
                .peer
                .key_header(&format!("Bearer {}", key.expose().trim()))?;
            headers.insert(AUTHORIZATION, value);
        } else if self.peer.base.as_str().starts_with(self.preset.base_url)
            && !is_loopback(&self.peer.base)
            && !self.preset.base_url.is_empty()
        {
            return Err(ProviderError::credentials(&self.peer.name, "there is none"));
        }
        Ok(headers)
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn about(&self) -> About {
        self.about.clone()
    }

    async fn complete(&self, request: &Request) -> Result<Answer, ProviderError> {
        let headers = self.headers()?;
        let shape = body::Shape {
            model: &self.about.model,
            images: self.about.images,
            official: self.peer.base.host_str() == Some("api.openai.com"),
            call_signature: self.preset.call_signature,
        };
        let body = body::body(request, &shape);
        let response = self.peer.stream("chat/completions", headers, &body).await?;
        let dialect = stream::Chunks::new(&self.peer.name, conversation::estimate(request));
        let framing = Framing::Sse(sse::Parser::default());
        self.peer.read(response, framing, dialect)
    }

    async fn check(&self) -> Result<(), ProviderError> {
        match self.peer.get(self.preset.check, self.headers()?).await {
            // It answers; many small servers have no list of models.
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
