//! A server that speaks OpenAI's dialect, whoever runs it.

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::{body, events, responses, stream};
use crate::{
    net::{Http, is_loopback, sse},
    providers::{
        About, Answer, Provider, ProviderError, Request, conversation,
        knowledge::{self, Facts, Knowledge},
        peer::{BaseUrl, Framing, Peer, Timeouts},
    },
    types::Secret,
};

/// Settings of every server of this dialect.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::providers) struct Common {
    /// The key; local servers often need none.
    #[serde(default)]
    api_key: Option<Secret>,
    /// Where the server is, such as `http://127.0.0.1:8080/v1`.
    #[serde(default)]
    base_url: Option<BaseUrl>,
    /// The model.
    #[serde(default)]
    model: Option<String>,
    #[serde(flatten)]
    facts: Facts,
    #[serde(flatten)]
    timeouts: Timeouts,
}

impl Common {
    /// The model that is configured.
    pub(in crate::providers) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// What differs between those who run one.
#[derive(Debug)]
pub(in crate::providers) struct Vendor {
    /// The kind, as it is written in the configuration.
    pub(in crate::providers) kind: &'static str,
    /// Where it is; empty where that must be configured.
    pub(in crate::providers) base_url: &'static str,
    /// The model used if none is configured; empty where that must be configured.
    pub(in crate::providers) model: &'static str,
    /// What is asked for to see whether it answers and takes the key.
    pub(in crate::providers) check: &'static str,
    /// What is assumed of a model that nobody knows.
    pub(in crate::providers) unknown: Facts,
    /// Reads an entry of its list of models, if that says what they can do.
    pub(in crate::providers) facts: Option<fn(&Value) -> Facts>,
}

/// One server.
#[derive(Debug)]
pub(in crate::providers) struct Server {
    vendor: &'static Vendor,
    peer: Peer,
    knowledge: Knowledge,
    key: Option<Secret>,
    responses: bool,
    extra: Map<String, Value>,
}

impl Server {
    pub(in crate::providers) fn new(
        vendor: &'static Vendor,
        name: &str,
        config: Common,
        http: &Http,
    ) -> Result<Self, String> {
        let base = match config.base_url {
            Some(BaseUrl(url)) => url,
            None if vendor.base_url.is_empty() => return Err("base_url is missing".to_owned()),
            None => vendor.base_url.parse::<Url>().map_err(|e| e.to_string())?,
        };
        let model = config.model.filter(|model| !model.trim().is_empty());
        let model = model.unwrap_or_else(|| vendor.model.to_owned());
        if model.is_empty() {
            return Err("model is missing".to_owned());
        }
        Ok(Self {
            vendor,
            peer: Peer::new(name, base, config.timeouts, http),
            knowledge: Knowledge::new(vendor.kind, &model, config.facts),
            key: config.api_key.filter(|key| !key.expose().trim().is_empty()),
            responses: false,
            extra: Map::new(),
        })
    }

    /// Whether it is OpenAI's own.
    pub(super) fn official(&self) -> bool {
        self.peer.base.host_str() == Some("api.openai.com")
    }

    /// Speaks Responses from now on.
    pub(super) fn speak_responses(&mut self) {
        self.responses = true;
    }

    /// Sends these fields with every request.
    pub(in crate::providers) fn send_too(&mut self, fields: Map<String, Value>) {
        self.extra.extend(fields);
    }

    fn headers(&self) -> Result<HeaderMap, ProviderError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            let value = self
                .peer
                .key_header(&format!("Bearer {}", key.expose().trim()))?;
            headers.insert(AUTHORIZATION, value);
        } else if self.peer.base.as_str().starts_with(self.vendor.base_url)
            && !is_loopback(&self.peer.base)
            && !self.vendor.base_url.is_empty()
        {
            return Err(ProviderError::credentials(&self.peer.name, "there is none"));
        }
        Ok(headers)
    }

    /// Asks once what its models can do; a server that does not tell is not worse for it.
    async fn learn(&self, model: &str) {
        let Some(facts) = self.vendor.facts else {
            return;
        };
        if !self.knowledge.wants(model) {
            return;
        }
        let Ok(headers) = self.headers() else { return };
        if let Ok(list) = self.peer.get("models", headers).await {
            for (name, entry) in entries(&list) {
                self.knowledge.tell(name, facts(entry));
            }
        }
    }

    async fn chat(
        &self,
        request: &Request,
        shape: &body::Shape<'_>,
    ) -> Result<Answer, ProviderError> {
        let headers = self.headers()?;
        let body = body::body(request, shape);
        let sent = self.peer.stream("chat/completions", headers, &body);
        let opened = knowledge::meanwhile(sent, self.learn(shape.model)).await?;
        let dialect = stream::Chunks::new(&self.peer.name, conversation::estimate(request));
        let framing = Framing::Sse(sse::Parser::default());
        self.peer.read(opened, framing, (shape.model, dialect))
    }

    async fn respond(
        &self,
        request: &Request,
        shape: &body::Shape<'_>,
    ) -> Result<Answer, ProviderError> {
        let body = responses::body(request, shape);
        let sent = self.peer.stream("responses", self.headers()?, &body).await;
        let dialect = events::Events::new(&self.peer.name, conversation::estimate(request));
        let framing = Framing::Sse(sse::Parser::default());
        self.peer.read(sent?, framing, (shape.model, dialect))
    }
}

/// A list of models, as most servers give it.
fn entries(list: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let entries = list.get("data").or(Some(list)).and_then(Value::as_array);
    let named = |entry| Some((Value::get(entry, "id")?.as_str()?, entry));
    entries.into_iter().flatten().filter_map(named)
}

#[async_trait]
impl Provider for Server {
    fn about(&self) -> About {
        self.about_model(self.knowledge.model())
    }

    fn about_model(&self, model: &str) -> About {
        self.knowledge
            .about(&self.peer.name, model, self.vendor.unknown)
    }

    async fn complete(&self, request: &Request) -> Result<Answer, ProviderError> {
        let model = request.model.as_deref().unwrap_or(self.knowledge.model());
        let shape = body::Shape {
            model,
            images: self.about_model(model).images,
            official: self.official(),
            by: &self.peer.by(model),
            extra: &self.extra,
        };
        if self.responses {
            self.respond(request, &shape).await
        } else {
            self.chat(request, &shape).await
        }
    }

    async fn check(&self) -> Result<(), ProviderError> {
        match self.peer.get(self.vendor.check, self.headers()?).await {
            // It answers; many small servers have no list of models.
            Ok(_) | Err(ProviderError::Refused { .. } | ProviderError::Garbled { .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }

    async fn models(&self) -> Result<Vec<About>, ProviderError> {
        let list = self.peer.get("models", self.headers()?).await?;
        let models = entries(&list).map(|(name, entry)| {
            if let Some(facts) = self.vendor.facts {
                self.knowledge.tell(name, facts(entry));
            }
            self.about_model(name)
        });
        Ok(models.collect())
    }
}
