//! OpenRouter: many vendors behind one key. OpenAI's Chat Completions, with fields for who answers.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Spec,
    knowledge::{Facts, tokens},
    openai::{Common, Server, Vendor},
};
use crate::{
    net::Http,
    types::money::{Price, Usd},
};

static VENDOR: Vendor = Vendor {
    kind: "openrouter",
    base_url: "https://openrouter.ai/api/v1",
    model: "openrouter/auto",
    // Its list of models is public, so that would not tell whether the key is right.
    check: "key",
    unknown: Facts {
        context_tokens: Some(128_000),
        max_output_tokens: None,
        tools: Some(true),
        images: Some(true),
        price: None,
    },
    facts: Some(facts),
};

/// Settings of OpenRouter.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Config {
    /// Which vendors may answer, as OpenRouter documents it: `order`, `only`, `ignore`,
    /// `allow_fallbacks`, `require_parameters`, `data_collection`, `sort`, `max_price` and others.
    #[serde(default)]
    provider: Option<Map<String, Value>>,
    /// Models that OpenRouter asks if the first does not answer, in order.
    #[serde(default)]
    models: Vec<String>,
    /// What OpenRouter may do to a prompt that is too long, such as `middle-out`.
    #[serde(default)]
    transforms: Option<Vec<String>>,
    /// How hard a reasoning model thinks, such as `low`, `medium` or `high`; absent leaves it to the
    /// model.
    #[serde(default)]
    reasoning_effort: Option<String>,
    #[serde(flatten)]
    common: Common,
}

/// What its list says of a model.
fn facts(entry: &Value) -> Facts {
    let among = |pointer: &str, what: &str| {
        let list = entry.pointer(pointer).and_then(Value::as_array);
        list.map(|list| list.iter().any(|one| one.as_str() == Some(what)))
    };
    Facts {
        context_tokens: tokens(entry, "/context_length"),
        max_output_tokens: tokens(entry, "/top_provider/max_completion_tokens"),
        tools: among("/supported_parameters", "tools"),
        images: among("/architecture/input_modalities", "image"),
        price: price(entry),
    }
}

/// Its prices are US dollars for one token, as text; a negative one means that it depends.
fn price(entry: &Value) -> Option<Price> {
    let read = |what: &str| {
        let text = entry.pointer(&format!("/pricing/{what}"))?.as_str()?;
        per_million(text)
    };
    Some(Price {
        input_per_mtok: read("prompt")?,
        output_per_mtok: read("completion")?,
        cached_per_mtok: read("input_cache_read"),
    })
}

/// `0.0000025` for one is 2.5 for a million. Digits beyond a billionth of a dollar are dropped.
fn per_million(text: &str) -> Option<Usd> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() {
        return None;
    }
    let part = format!("{part:0<15}");
    let (millions, rest) = (part.get(..6)?, part.get(6..15)?);
    format!("{whole}{millions}.{rest}").parse().ok()
}

/// OpenRouter.
pub(super) struct OpenRouter;

impl Spec for OpenRouter {
    const NAME: &'static str = "openrouter";
    const EXAMPLE: &'static str = "\
openrouter:
  api_key: \"${OPENROUTER_API_KEY}\"
  model: openrouter/auto
";
    type Config = Config;
    type Provider = Server;

    fn new(name: &str, config: Config, http: &Http) -> Result<Server, String> {
        let mut server = Server::new(&VENDOR, name, config.common, http)?;
        let mut fields = Map::from_iter([("usage".to_owned(), json!({ "include": true }))]);
        let mut field = |key: &str, value: Value| fields.insert(key.to_owned(), value);
        if let Some(routing) = config.provider {
            field("provider", Value::Object(routing));
        }
        if !config.models.is_empty() {
            field("models", json!(config.models));
        }
        if let Some(transforms) = config.transforms {
            field("transforms", json!(transforms));
        }
        if let Some(effort) = config.reasoning_effort {
            field("reasoning", json!({ "effort": effort }));
        }
        server.send_too(fields);
        Ok(server)
    }
}

#[cfg(test)]
mod tests;
