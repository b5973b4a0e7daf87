//! What a refusal is about: servers say it in words only.

use crate::{
    providers::{ProviderError, Request},
    types::chat::Message,
};

/// What is wrong with a request, by what was said about it.
pub(super) enum Wrong {
    Tools,
    Images,
    Schema,
    Thoughts,
    Length,
    Other,
}

/// A model that is not there: says where to read which are.
pub(super) fn unknown_model(error: ProviderError) -> ProviderError {
    let gone = [
        "not exist",
        "not found",
        "unknown model",
        "no such model",
        "not a valid model",
    ];
    match error {
        ProviderError::Refused { provider, detail } => {
            let said = detail.to_lowercase();
            let model = said.contains("model") && !said.contains("models pull");
            let hint = if model && gone.iter().any(|word| said.contains(word)) {
                format!(
                    ". `nexflow models list {provider}` shows which it has; set llm.providers.{provider}.model"
                )
            } else {
                String::new()
            };
            ProviderError::Refused {
                detail: detail + &hint,
                provider,
            }
        }
        other => other,
    }
}

/// What servers say when a model has no tools.
const NO_TOOLS: &[&str] = &[
    "does not support tool",
    "doesn't support tool",
    "not support tool use",
    "support tool use",
    "tools are not supported",
    "tool use is not supported",
    "tool calling is not supported",
    "tool calls are not supported",
    "does not support function",
    "function calling is not enabled",
    "function calling is not supported",
    "functions are not supported",
    "enable-auto-tool-choice",
    "tools param requires",
];

/// What they say when it sees no images.
const NO_IMAGES: &[&str] = &[
    "does not support image",
    "doesn't support image",
    "support image input",
    "image input is not",
    "images are not supported",
    "image_url is only supported",
    "not a multimodal model",
    "does not support vision",
    "mmproj",
];

/// What they say when they do not take a schema.
const BAD_SCHEMA: &[&str] = &[
    "schema",
    "function_declarations",
    "invalid_function_parameters",
    "tools.",
    "tools[",
    "parameters",
];

/// What they say when they do not take back what was thought before.
const BAD_THOUGHTS: &[&str] = &[
    "reasoning",
    "thinking",
    "signature",
    "encrypted_content",
    "encrypted content",
];

/// What it was, by the words of the refusal and by what the request has.
pub(super) fn wrong(error: &ProviderError, request: &Request) -> Wrong {
    let detail = error.detail().to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    let images =
        |message: &Message| matches!(message, Message::User { images, .. } if !images.is_empty());
    let thoughts = |message: &Message| {
        matches!(
            message,
            Message::Assistant {
                reasoning: Some(_),
                ..
            }
        )
    };
    match error {
        ProviderError::TooLong { .. } => Wrong::Length,
        ProviderError::Refused { .. }
            if request.messages.iter().any(thoughts) && says(BAD_THOUGHTS) =>
        {
            Wrong::Thoughts
        }
        // Some servers call it an error of their own.
        ProviderError::Refused { .. } | ProviderError::Down { .. }
            if !request.tools.is_empty() && says(NO_TOOLS) =>
        {
            Wrong::Tools
        }
        ProviderError::Refused { .. } | ProviderError::Down { .. }
            if request.messages.iter().any(images) && says(NO_IMAGES) =>
        {
            Wrong::Images
        }
        ProviderError::Refused { .. } if !request.tools.is_empty() && says(BAD_SCHEMA) => {
            Wrong::Schema
        }
        _ => Wrong::Other,
    }
}
