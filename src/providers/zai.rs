//! z.ai: the GLM models. OpenAI's Chat Completions, with its own words for thinking and errors.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, json};

use super::{
    Spec,
    knowledge::Facts,
    openai::{Common, Server, Vendor},
};
use crate::net::Http;

static VENDOR: Vendor = Vendor {
    kind: "zai",
    base_url: "https://api.z.ai/api/paas/v4",
    model: "glm-4.6",
    check: "models",
    unknown: Facts {
        context_tokens: Some(128_000),
        max_output_tokens: None,
        tools: Some(true),
        images: Some(false),
        price: None,
    },
    facts: None,
};

/// Models that do not stream the arguments of calls.
const OLDER: &[&str] = &["glm-4.5", "glm-4-"];

/// Settings of z.ai.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Config {
    /// Whether the model thinks before it answers; absent leaves it to the model.
    #[serde(default)]
    thinking: Option<bool>,
    #[serde(flatten)]
    common: Common,
}

/// z.ai.
pub(super) struct Zai;

impl Spec for Zai {
    const NAME: &'static str = "zai";
    const EXAMPLE: &'static str = "\
zai:
  api_key: \"${ZAI_API_KEY}\"
  model: glm-4.6
";
    type Config = Config;
    type Provider = Server;

    fn new(name: &str, config: Config, http: &Http) -> Result<Server, String> {
        let model = config.common.model().unwrap_or(VENDOR.model);
        let mut fields = Map::new();
        if !OLDER.iter().any(|older| model.starts_with(older)) {
            // Without this, arguments come in one piece at the end, after a silence.
            fields.insert("tool_stream".to_owned(), json!(true));
        }
        let mut server = Server::new(&VENDOR, name, config.common, http)?;
        if let Some(thinking) = config.thinking {
            let kind = if thinking { "enabled" } else { "disabled" };
            fields.insert("thinking".to_owned(), json!({ "type": kind }));
        }
        server.send_too(fields);
        Ok(server)
    }
}
