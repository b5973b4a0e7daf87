//! Any server that speaks OpenAI's Chat Completions: llama.cpp, vLLM, LM Studio, a gateway. There can
//! be any number of sections of this kind.

use serde_json::Value;

use super::{
    Spec,
    knowledge::{Facts, tokens},
    openai::{Common, Server, Vendor},
};
use crate::net::Http;

static VENDOR: Vendor = Vendor {
    kind: "custom",
    base_url: "",
    model: "",
    check: "models",
    unknown: Facts {
        context_tokens: Some(32_000),
        max_output_tokens: None,
        tools: Some(true),
        images: Some(false),
        price: None,
    },
    facts: Some(facts),
};

/// What local servers say in their lists: nothing is agreed, so all that is known is tried.
fn facts(entry: &Value) -> Facts {
    let window = [
        "/max_model_len",
        "/context_length",
        "/context_window",
        "/max_context_length",
        "/meta/n_ctx",
    ];
    Facts {
        context_tokens: window.iter().find_map(|place| tokens(entry, place)),
        max_output_tokens: tokens(entry, "/max_completion_tokens"),
        ..Facts::default()
    }
}

/// A server of the owner's own.
pub(super) struct Custom;

impl Spec for Custom {
    const NAME: &'static str = "custom";
    const EXAMPLE: &'static str = "\
custom:
  base_url: \"${CUSTOM_LLM_URL}\" # any server with OpenAI's chat completions, such as http://127.0.0.1:8080/v1
  api_key: \"${CUSTOM_LLM_KEY:-}\"
  model: custom-model
";
    type Config = Common;
    type Provider = Server;

    fn new(name: &str, config: Common, http: &Http) -> Result<Server, String> {
        Server::new(&VENDOR, name, config, http)
    }
}
