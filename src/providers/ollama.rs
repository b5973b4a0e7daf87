//! Ollama's own API: models on a machine of yours.

mod body;
mod stream;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{
    About, Answer, Provider, ProviderError, Request, Spec, conversation,
    peer::{BaseUrl, Framing, Peer, default_stall},
};
use crate::{
    net::{Http, lines::Splitter},
    types::{Secret, money::Price},
};

const BASE: &str = "http://127.0.0.1:11434";

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
    /// After how many seconds of silence an answer counts as broken off. Loading a model is silent.
    #[serde(default = "default_stall")]
    stall_timeout_sec: u64,
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
            peer: Peer {
                name: name.to_owned(),
                base,
                stall: Duration::from_secs(config.stall_timeout_sec.max(1)),
                http: http.clone(),
            },
            key: config.api_key.filter(|key| !key.expose().trim().is_empty()),
            model: config.model.filter(|model| !model.trim().is_empty()),
            num_ctx: config.num_ctx.max(1_024),
            keep_alive: config.keep_alive,
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
        let unknown = Model {
            window: self.num_ctx,
            tools: true,
            images: true,
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
            tools: can(&shown, "tools"),
            images: can(&shown, "vision"),
        };
        self.known(|known| known.models.insert(name.to_owned(), model));
        model
    }

    fn no_model(&self, what: &str, model: &str) -> ProviderError {
        ProviderError::Refused {
            provider: self.peer.name.clone(),
            detail: format!("{what}; `ollama pull {model}` installs one"),
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
        let (model, about) = self.known(|known| {
            let model = self.model.clone().or_else(|| known.first.clone());
            let model = model.unwrap_or_default();
            let about = known.models.get(&model).copied();
            (model, about)
        });
        About {
            name: self.peer.name.clone(),
            model,
            context_tokens: about.map_or(self.num_ctx, |model| model.window),
            images: about.is_some_and(|model| model.images),
            offline: false,
            price: Some(Price::FREE),
        }
    }

    async fn complete(&self, request: &Request) -> Result<Answer, ProviderError> {
        let name = self.choose(request).await?;
        let model = self.model(&name).await;
        let shape = body::Shape {
            name: &name,
            model,
            keep_alive: self.keep_alive.as_ref(),
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
        self.peer.read(response, framing, dialect)
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

    async fn model_names(&self) -> Result<Vec<String>, ProviderError> {
        self.installed().await
    }
}

#[cfg(test)]
pub(super) mod tests;
