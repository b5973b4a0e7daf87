//! Vendors that speak OpenAI's dialect, as rows of data.
//!
//! A row says what differs; [`super::openai`] does the work.

use std::sync::Arc;

use super::{Provider, openai::OpenAi, read};
use crate::{net::Http, types::Entry};

/// What differs between vendors.
#[derive(Debug)]
pub(super) struct Preset {
    /// The kind, as it is written in the configuration.
    pub(super) name: &'static str,
    /// Its section of the example configuration.
    pub(super) example: &'static str,
    /// Where it is; empty where that must be configured.
    pub(super) base_url: &'static str,
    /// The model used if none is configured; empty where that must be configured.
    pub(super) model: &'static str,
    /// The window assumed if none is configured.
    pub(super) context_tokens: u32,
    /// Whether its models see images, if nothing is configured.
    pub(super) images: bool,
    /// What is asked for to see whether it answers and takes the key.
    pub(super) check: &'static str,
    /// Whether calls must be handed back with a signature, and this placeholder is taken for one.
    pub(super) call_signature: Option<&'static str>,
}

pub(super) const OPENAI: Preset = Preset {
    name: "openai",
    example: "\
openai:
  api_key: \"${OPENAI_API_KEY}\"
  model: gpt-4.1-mini
",
    base_url: "https://api.openai.com/v1",
    model: "gpt-4.1-mini",
    context_tokens: 128_000,
    images: true,
    check: "models",
    call_signature: None,
};

pub(super) const GEMINI: Preset = Preset {
    name: "gemini",
    example: "\
gemini:
  api_key: \"${GEMINI_API_KEY}\"
  model: gemini-2.5-flash
",
    base_url: "https://generativelanguage.googleapis.com/v1beta/openai",
    model: "gemini-2.5-flash",
    context_tokens: 1_000_000,
    images: true,
    check: "models",
    // Documented for calls that come from elsewhere; older models ignore it.
    call_signature: Some("skip_thought_signature_validator"),
};

pub(super) const OPENROUTER: Preset = Preset {
    name: "openrouter",
    example: "\
openrouter:
  api_key: \"${OPENROUTER_API_KEY}\"
  model: openrouter/auto
",
    base_url: "https://openrouter.ai/api/v1",
    model: "openrouter/auto",
    context_tokens: 128_000,
    images: true,
    // Its list of models is public, so that would not tell whether the key is right.
    check: "key",
    call_signature: None,
};

pub(super) const ZAI: Preset = Preset {
    name: "zai",
    example: "\
zai:
  api_key: \"${ZAI_API_KEY}\"
  model: glm-4.6
",
    base_url: "https://api.z.ai/api/paas/v4",
    model: "glm-4.6",
    context_tokens: 128_000,
    images: false,
    check: "models",
    call_signature: None,
};

pub(super) const CUSTOM: Preset = Preset {
    name: "custom",
    example: "\
custom:
  base_url: \"${CUSTOM_LLM_URL}\" # any server with OpenAI's chat completions, such as http://127.0.0.1:8080/v1
  api_key: \"${CUSTOM_LLM_KEY:-}\"
  model: custom-model
",
    base_url: "",
    model: "",
    context_tokens: 32_000,
    images: false,
    check: "models",
    call_signature: None,
};

/// All of them.
pub(super) const ALL: &[&Preset] = &[&OPENAI, &GEMINI, &OPENROUTER, &ZAI, &CUSTOM];

/// Makes the provider that an entry describes.
pub(super) fn build(entry: &Entry, http: &Http) -> Result<Arc<dyn Provider>, String> {
    let preset = ALL
        .iter()
        .find(|preset| preset.name == entry.kind)
        .ok_or_else(|| format!("there is no kind of provider called `{}`", entry.kind))?;
    let config = read(entry)?;
    Ok(Arc::new(OpenAi::preset(preset, &entry.name, config, http)?))
}
