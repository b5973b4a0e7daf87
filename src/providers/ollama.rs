//! Ollama's own API: models on a machine of yours.

mod body;
mod stream;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{
    About, Answer, Provider, ProviderError, Pulled, Pulling, Request, Spec, conversation,
    peer::{BaseUrl, Framing, Peer, Timeouts},
};
use crate::{
    net::{Http, lines::Splitter},
    types::{Secret, money::Price},
};

const BASE: &str = "http://127.0.0.1:11434";

/// How many of the installed models are asked what they can do when they are listed.
const ASKED: usize = 50;

/// Settings of Ollama.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Config {
    /// Where it listens; `http://127.0.0.1:11434` if absent.
    #[serde(default)]
    base_url: Option<BaseUrl>,
    /// Needed only behind a proxy that asks for one.
    #[serde(default)]
    api_key: Option<Secret>,
    /// The model; the first that is installed if absent.
    #[serde(default)]
    model: Option<String>,
    /// The largest window to ask for, in tokens: memory grows with it.
    #[serde(default = "default_num_ctx")]
    num_ctx: u32,
    /// How long the model stays loaded after an answer, such as `5m` or `-1` for always.
    #[serde(default)]
    keep_alive: Option<Value>,
    /// Whether a model that can think does so before it answers: `true`, `false`, or how hard;
    /// absent leaves it to the model.
    #[serde(default)]
    think: Option<Value>,
    /// Whether the model can call tools, if the server is wrong about it.
    #[serde(default)]
    tools: Option<bool>,
    /// Whether the model sees images, if the server is wrong about it.
    #[serde(default)]
    images: Option<bool>,
    #[serde(flatten)]
    timeouts: Timeouts,
}

fn default_num_ctx() -> u32 {
    16_384
}

/// What a model can do, as the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Model {
    /// The window that we ask for.
    window: u32,
    tools: bool,
    images: bool,
}

/// An Ollama server.
#[derive(Debug)]
pub(super) struct Ollama {
    peer: Peer,
    key: Option<Secret>,
    model: Option<String>,
    num_ctx: u32,
    keep_alive: Option<Value>,
    think: Option<Value>,
    stated: (Option<bool>, Option<bool>),
    known: Mutex<Known>,
}

/// What the server told us.
#[derive(Debug, Default)]
struct Known {
    first: Option<String>,
    models: HashMap<String, Model>,
}

impl Spec for Ollama {
    const NAME: &'static str = "ollama";
    const EXAMPLE: &'static str = "\
ollama: # found by itself when it runs on this machine
  base_url: http://127.0.0.1:11434
  model: llama3.1 # the first installed if left out
  num_ctx: 16384
";
    type Config = Config;
    type Provider = Self;

    fn new(name: &str, config: Config, http: &Http) -> Result<Self, String> {
        let own = || BASE.parse::<Url>().map_err(|e| e.to_string());
        let mut base = config.base_url.map_or_else(own, |base| Ok(base.0))?;
        // People copy the address of its OpenAI dialect.
        if base.path().trim_end_matches('/').ends_with("/v1") {
            let path = base
                .path()
                .trim_end_matches('/')
                .trim_end_matches("/v1")
                .to_owned();
            base.set_path(&path);
        }
        Ok(Self {
            peer: Peer::new(name, base, config.timeouts, http),
            key: config.api_key.filter(|key| !key.expose().trim().is_empty()),
            model: config.model.filter(|model| !model.trim().is_empty()),
            num_ctx: config.num_ctx.max(1_024),
            keep_alive: config.keep_alive,
            think: config.think,
            stated: (config.tools, config.images),
            known: Mutex::default(),
        })
    }
}

impl Ollama {
    fn headers(&self) -> Result<HeaderMap, ProviderError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            let value = self
                .peer
                .key_header(&format!("Bearer {}", key.expose().trim()))?;
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    fn known<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The model to ask: of the request, of the configuration, or the first that is installed.
    async fn choose(&self, request: &Request) -> Result<String, ProviderError> {
        let named = request.model.clone().or_else(|| self.model.clone());
        if let Some(model) = named.or_else(|| self.known(|known| known.first.clone())) {
            return Ok(model);
        }
        self.installed().await?;
        self.known(|known| known.first.clone())
            .ok_or_else(|| self.no_model("no model is installed", "llama3.1"))
    }

    /// Names of the installed models.
    async fn installed(&self) -> Result<Vec<String>, ProviderError> {
        let list = self.peer.get("api/tags", self.headers()?).await?;
        let models = list.get("models").and_then(Value::as_array);
        let name = |model: &Value| {
            let name = model.get("model").or_else(|| model.get("name"))?;
            name.as_str().map(str::to_owned)
        };
        let names: Vec<String> = models.into_iter().flatten().filter_map(name).collect();
        self.known(|known| known.first = names.first().cloned());
        Ok(names)
    }

    /// What a model can do; asked once. A server that does not tell is taken to do everything.
    async fn model(&self, name: &str) -> Model {
        if let Some(model) = self.known(|known| known.models.get(name).copied()) {
            return model;
        }
        let (tools, images) = self.stated;
        let unknown = Model {
            window: self.num_ctx,
            tools: tools.unwrap_or(true),
            images: images.unwrap_or(true),
        };
        let Ok(headers) = self.headers() else {
            return unknown;
        };
        let Ok(shown) = self
            .peer
            .ask("api/show", headers, &json!({ "model": name }))
            .await
        else {
            return unknown;
        };
        let model = Model {
            window: window(&shown).unwrap_or(self.num_ctx).min(self.num_ctx),
            tools: tools.unwrap_or_else(|| can(&shown, "tools")),
            images: images.unwrap_or_else(|| can(&shown, "vision")),
        };
        self.known(|known| known.models.insert(name.to_owned(), model));
        model
    }

    fn no_model(&self, what: &str, model: &str) -> ProviderError {
        ProviderError::Refused {
            provider: self.peer.name.clone(),
            detail: format!(
                "{what}; `nexflow models pull {model}` or `ollama pull {model}` installs one"
            ),
        }
    }
}

/// The length of the window that a model was made for.
fn window(shown: &Value) -> Option<u32> {
    let info = shown.get("model_info")?.as_object()?;
    let (_, length) = info
        .iter()
        .find(|(key, _)| key.ends_with(".context_length"))?;
    u32::try_from(length.as_u64()?).ok()
}

/// Old servers list no abilities.
fn can(shown: &Value, ability: &str) -> bool {
    let abilities = shown.get("capabilities").and_then(Value::as_array);
    abilities.is_none_or(|abilities| abilities.iter().any(|a| a.as_str() == Some(ability)))
}

#[async_trait]
impl Provider for Ollama {
    fn about(&self) -> About {
        let first = || self.known(|known| known.first.clone());
        let model = self.model.clone().or_else(first);
        self.about_model(&model.unwrap_or_default())
    }

    fn about_model(&self, model: &str) -> About {
        let known = self.known(|known| known.models.get(model).copied());
        let (tools, images) = self.stated;
        About {
            name: self.peer.name.clone(),
            model: model.to_owned(),
            context_tokens: known.map_or(self.num_ctx, |model| model.window),
            max_output_tokens: None,
            tools: known.map_or(tools.unwrap_or(true), |model| model.tools),
            images: known.map_or(images.unwrap_or(false), |model| model.images),
            offline: false,
            price: Some(Price::FREE),
        }
    }

    async fn complete(&self, request: &Request) -> Result<Answer, ProviderError> {
        let name = self.choose(request).await?;
        let model = self.model(&name).await;
        if !model.tools && !request.tools.is_empty() {
            // What the server would say.
            return Err(ProviderError::Refused {
                provider: self.peer.name.clone(),
                detail: format!("{name} does not support tools"),
            });
        }
        let shape = body::Shape {
            name: &name,
            model,
            keep_alive: self.keep_alive.as_ref(),
            think: self.think.as_ref(),
            by: &self.peer.by(&name),
        };
        let body = body::body(request, &shape);
        let sent = self.peer.stream("api/chat", self.headers()?, &body).await;
        let response = sent.map_err(|error| match error {
            ProviderError::Refused { detail, .. } if detail.contains("not found") => {
                self.no_model(&detail, &name)
            }
            other => other,
        })?;
        let dialect = stream::Lines::new(&self.peer.name, conversation::estimate(request));
        let framing = Framing::Lines(Splitter::default());
        self.peer.read(response, framing, (&name, dialect))
    }

    async fn check(&self) -> Result<(), ProviderError> {
        let installed = self.installed().await?;
        let Some(first) = installed.first() else {
            return Err(self.no_model("no model is installed", "llama3.1"));
        };
        let wanted = self.model.as_deref().unwrap_or(first);
        // A name without a tag means the tag `latest`.
        let tagged = format!("{wanted}:latest");
        if !installed
            .iter()
            .any(|name| name == wanted || *name == tagged)
        {
            return Err(self.no_model(&format!("model {wanted} is not installed"), wanted));
        }
        self.model(wanted).await;
        Ok(())
    }

    async fn models(&self) -> Result<Vec<About>, ProviderError> {
        let names = self.installed().await?;
        for name in names.iter().take(ASKED) {
            self.model(name).await;
        }
        Ok(names.iter().map(|name| self.about_model(name)).collect())
    }

    async fn pull(&self, model: &str) -> Result<Pulling, ProviderError> {
        let body = json!({ "model": model, "stream": true });
        let opened = self.peer.stream("api/pull", self.headers()?, &body).await?;
        Ok(self.peer.watch(opened, pulled))
    }
}

/// A line of the progress of a pull.
fn pulled(provider: &str, line: &str) -> Result<Option<Pulled>, ProviderError> {
    let value: Value = serde_json::from_str(line)
        .map_err(|_unreadable| ProviderError::unreadable(provider, line))?;
    if let Some(error) = value.get("error") {
        return Err(ProviderError::Refused {
            provider: provider.to_owned(),
            detail: error.as_str().unwrap_or("it did not say why").to_owned(),
        });
    }
    let status = value.get("status").and_then(Value::as_str);
    let status = status.ok_or_else(|| ProviderError::unreadable(provider, line))?;
    if status == "success" {
        return Ok(None);
    }
    let number = |key: &str| value.get(key).and_then(Value::as_u64);
    Ok(Some(Pulled {
        status: status.to_owned(),
        completed: number("completed"),
        total: number("total"),
    }))
}

#[cfg(test)]
pub(super) mod tests;
