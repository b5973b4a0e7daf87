//! What every kind of provider has to do, whatever it speaks: one suite, run over all of them
//! against a scripted server.

mod dialects;
mod fake;
mod suite;

use proptest::prelude::*;
use serde_json::{Value, json};

pub(super) use fake::{Fake, Reply, chunked};

use super::Request;
use crate::types::{
    Attachment,
    chat::{Call, Message, Reasoning, ToolSpec},
};

/// Any list of messages: valid, broken, empty.
pub(super) fn messages() -> impl Strategy<Value = Vec<Message>> {
    let text = prop_oneof![
        2 => Just(String::new()),
        1 => Just(" \n".to_owned()),
        6 => "[a-zé🦀 ]{1,12}",
    ];
    let id = prop_oneof![
        4 => "[a-c]",
        1 => Just(String::new()),
        1 => Just("call_0".to_owned()),
        1 => "[a-z:.é]{1,60}",
    ];
    let tool = prop_oneof![4 => "[a-z_-]{1,8}", 1 => Just(String::new()), 1 => "[a-z é]{1,80}"];
    let args = prop_oneof![
        Just(json!({})),
        Just(json!({ "a": [1, null] })),
        Just(json!(null)),
        Just(json!("{\"cut")),
        Just(json!([1])),
    ];
    let image = prop_oneof![
        Just("image/png"),
        Just("image/webp"),
        Just("image/tiff"),
        Just("")
    ];
    let image =
        (image, prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(kind, data)| Attachment {
            name: "x".to_owned(),
            media_type: kind.to_owned(),
            data,
        });
    let call =
        (id.clone(), tool.clone(), args).prop_map(|(id, tool, args)| Call { id, tool, args });
    let foreign = foreign_thoughts();
    let message = prop_oneof![
        (text.clone(), prop::collection::vec(image, 0..2))
            .prop_map(|(text, images)| Message::User { text, images }),
        (text.clone(), prop::collection::vec(call, 0..4), foreign).prop_map(
            |(text, calls, reasoning)| {
                Message::Assistant {
                    text,
                    calls,
                    reasoning,
                }
            }
        ),
        (id, tool, text, any::<bool>()).prop_map(|(call, tool, text, failed)| Message::Result {
            call,
            tool,
            text,
            failed,
        }),
    ];
    prop::collection::vec(message, 0..14)
}

/// Thoughts of another model: no dialect may hand them on.
fn foreign_thoughts() -> impl Strategy<Value = Option<Reasoning>> {
    prop::option::of(Just(Reasoning {
        by: "other/model".to_owned(),
        text: "hm".to_owned(),
        kept: vec![
            json!({ "type": "thinking", "reasoning_content": "hm", "at": 0 }),
            json!("hm"),
        ],
    }))
}

/// Whether every API would take a request.
pub(crate) fn every_dialect_takes(request: &Request) -> Result<(), TestCaseError> {
    super::openai::tests::bodies::takes(request)?;
    super::openai::tests::responses::takes(request)?;
    super::gemini::tests::takes(request)?;
    super::anthropic::tests::takes(request)?;
    super::ollama::tests::takes(request)
}

/// A user's message.
pub(super) fn user(text: &str) -> Message {
    Message::User {
        text: text.to_owned(),
        images: Vec::new(),
    }
}

/// A tool that takes one text.
pub(super) fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: format!("Does {name}."),
        input_schema: json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": { "text": { "type": "string" } },
        }),
    }
}

/// Whether a name or an id has only the characters that every API takes.
pub(super) fn plain(value: &Value, longest: usize) -> bool {
    let text = value.as_str().unwrap_or_default();
    let fits = (1..=longest).contains(&text.len());
    fits && text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Whether there is something to read.
pub(super) fn said(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty())
}
