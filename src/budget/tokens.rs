//! How much a request will read: an estimate on the safe side.

use crate::{
    providers::Request,
    types::chat::{Message, estimate_tokens},
};

/// Tokens that an image counts as.
pub const IMAGE: u64 = 1600;
/// What every message and tool adds around its text.
const FRAME: u64 = 8;

/// What a provider will count as read, roughly.
pub fn input_tokens(request: &Request) -> u64 {
    let messages = request.messages.iter().map(|message| match message {
        Message::User { text, images } => estimate_tokens(text) + IMAGE * images.len() as u64,
        Message::Assistant {
            text,
            calls,
            reasoning,
        } => {
            // Thoughts go back in the provider's own form, if at all.
            let kept = reasoning.iter().flat_map(|thoughts| &thoughts.kept);
            let kept = kept.map(|part| estimate_tokens(&part.to_string()));
            let calls = calls.iter().map(|call| {
                FRAME + estimate_tokens(&call.tool) + estimate_tokens(&call.args.to_string())
            });
            estimate_tokens(text) + calls.sum::<u64>() + kept.sum::<u64>()
        }
        Message::Result { text, .. } => FRAME + estimate_tokens(text),
    });
    let tools = request.tools.iter().map(|tool| {
        FRAME
            + estimate_tokens(&tool.name)
            + estimate_tokens(&tool.description)
            + estimate_tokens(&tool.input_schema.to_string())
    });
    let messages: u64 = messages.map(|tokens| tokens + FRAME).sum();
    estimate_tokens(&request.system) + messages + tools.sum::<u64>()
}

/// A quarter more: no estimate counts exactly as a provider does, and what is reserved must do.
pub fn with_margin(tokens: u64) -> u64 {
    tokens + tokens.div_ceil(4)
}
