//! OpenAI: Responses at OpenAI itself, Chat Completions at whatever else answers under its name.

mod body;
mod events;
mod responses;
mod server;
mod stream;
mod thoughts;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) use server::{Common, Server, Vendor};

use super::{Spec, knowledge::Facts};
use crate::net::Http;

/// Settings of OpenAI.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Config {
    /// Which of its interfaces is spoken: `responses` keeps what a model thought between its calls,
    /// `chat` is understood by every server like it. `auto` takes `responses` at OpenAI itself and
    /// `chat` where `base_url` names another server.
    #[serde(default)]
    api: Api,
    /// How hard a reasoning model thinks, such as `low`, `medium` or `high`; absent leaves it to the
    /// model.
    #[serde(default)]
    reasoning_effort: Option<String>,
    #[serde(flatten)]
    common: Common,
}

/// Which interface is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Api {
    /// Whichever fits the server.
    #[default]
    Auto,
    /// Chat Completions.
    Chat,
    /// Responses.
    Responses,
}

static VENDOR: Vendor = Vendor {
    kind: "openai",
    base_url: "https://api.openai.com/v1",
    model: "gpt-4.1-mini",
    check: "models",
    unknown: Facts {
        context_tokens: Some(128_000),
        max_output_tokens: None,
        tools: Some(true),
        images: Some(true),
        price: None,
    },
    facts: None,
};

/// OpenAI.
pub(super) struct OpenAi;

impl Spec for OpenAi {
    const NAME: &'static str = "openai";
    const EXAMPLE: &'static str = "\
openai:
  api_key: \"${OPENAI_API_KEY}\"
  model: gpt-4.1-mini
";
    type Config = Config;
    type Provider = Server;

    fn new(name: &str, config: Config, http: &Http) -> Result<Server, String> {
        let mut server = Server::new(&VENDOR, name, config.common, http)?;
        let responses = match config.api {
            Api::Auto => server.official(),
            Api::Chat => false,
            Api::Responses => true,
        };
        if responses {
            server.speak_responses();
        }
        if let Some(effort) = config.reasoning_effort {
            let (field, value) = if responses {
                ("reasoning", json!({ "effort": effort, "summary": "auto" }))
            } else {
                ("reasoning_effort", Value::String(effort))
            };
            server.send_too(Map::from_iter([(field.to_owned(), value)]));
        }
        Ok(server)
    }
}

#[cfg(test)]
pub(super) mod tests;
