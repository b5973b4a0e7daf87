//! What is sent: the conversation in OpenAI's words.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::{
    providers::{
        Request,
        conversation::{self, Asked, Part, object},
    },
    types::Attachment,
};

/// What a body depends on besides the request.
pub(super) struct Shape<'a> {
    /// The model, unless the request names another.
    pub(super) model: &'a str,
    /// Whether images are sent.
    pub(super) images: bool,
    /// Whether it is OpenAI itself, which has renamed a field that all others keep.
    pub(super) official: bool,
    /// See [`crate::providers::presets::Preset::call_signature`].
    pub(super) call_signature: Option<&'a str>,
}

/// The whole body.
pub(super) fn body(request: &Request, shape: &Shape<'_>) -> Value {
    let mut body = Map::new();
    let model = request.model.as_deref().unwrap_or(shape.model);
    body.insert("model".to_owned(), json!(model));
    body.insert("messages".to_owned(), messages(request, shape));
    let tools: Vec<Value> = conversation::tools(request)
        .map(|tool| {
            json!({ "type": "function", "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": conversation::parameters(tool),
            }})
        })
        .collect();
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    if request.max_output_tokens > 0 {
        let field = if shape.official {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
        body.insert(field.to_owned(), json!(request.max_output_tokens));
    }
    if let Some(temperature) = request.temperature {
        body.insert("temperature".to_owned(), json!(temperature));
    }
    body.insert("stream".to_owned(), json!(true));
    body.insert(
        "stream_options".to_owned(),
        json!({ "include_usage": true }),
    );
    Value::Object(body)
}

fn messages(request: &Request, shape: &Shape<'_>) -> Value {
    let mut out = Vec::new();
    if !request.system.trim().is_empty() {
        out.push(json!({ "role": "system", "content": request.system }));
    }
    for part in conversation::normal(&request.messages, shape.images) {
        match part {
            Part::User { text, images } if images.is_empty() => {
                out.push(json!({ "role": "user", "content": text }));
            }
            Part::User { text, images } => {
                let mut content: Vec<Value> = images.into_iter().map(image).collect();
                if !text.trim().is_empty() {
                    content.insert(0, json!({ "type": "text", "text": text }));
                }
                out.push(object([
                    ("role", "user".into()),
                    ("content", content.into()),
                ]));
            }
            Part::Assistant { text, calls } if calls.is_empty() => {
                out.push(json!({ "role": "assistant", "content": text }));
            }
            Part::Assistant { text, calls } => {
                let content = (!text.trim().is_empty()).then_some(text);
                let asked: Vec<Value> = calls.iter().map(|asked| call(asked, shape)).collect();
                out.push(object([
                    ("role", "assistant".into()),
                    ("content", json!(content)),
                    ("tool_calls", asked.into()),
                ]));
                out.extend(calls.iter().map(result));
            }
        }
    }
    Value::Array(out)
}

fn image(image: &Attachment) -> Value {
    let url = format!(
        "data:{};base64,{}",
        image.media_type,
        STANDARD.encode(&image.data)
    );
    let url = object([("url", url.into())]);
    object([("type", "image_url".into()), ("image_url", url)])
}

fn call(asked: &Asked<'_>, shape: &Shape<'_>) -> Value {
    let mut call = json!({
        "id": asked.id,
        "type": "function",
        "function": { "name": asked.tool, "arguments": asked.args.to_string() },
    });
    if let (Some(signature), Some(call)) = (shape.call_signature, call.as_object_mut()) {
        let extra = json!({ "google": { "thought_signature": signature } });
        call.insert("extra_content".to_owned(), extra);
    }
    call
}

fn result(asked: &Asked<'_>) -> Value {
    json!({ "role": "tool", "tool_call_id": asked.id, "content": asked.result })
}
