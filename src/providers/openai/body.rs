//! What is sent: the conversation in OpenAI's words.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::thoughts;
use crate::{
    providers::{
        Request,
        conversation::{self, Asked, Part, Reader, object},
    },
    types::Attachment,
};

/// What a body depends on besides the request.
pub(super) struct Shape<'a> {
    /// The model.
    pub(super) model: &'a str,
    /// Whether images are sent.
    pub(super) images: bool,
    /// Whether it is OpenAI itself, which has renamed a field that all others keep.
    pub(super) official: bool,
    /// Whose thoughts it takes back.
    pub(super) by: &'a str,
    /// Fields of this vendor and this configuration.
    pub(super) extra: &'a Map<String, Value>,
}

/// The whole body.
pub(super) fn body(request: &Request, shape: &Shape<'_>) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(shape.model));
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
    if shape.official {
        let key = super::responses::cache_key(request);
        body.insert("prompt_cache_key".to_owned(), json!(key));
    }
    body.extend(shape.extra.clone());
    Value::Object(body)
}

fn messages(request: &Request, shape: &Shape<'_>) -> Value {
    let mut out = Vec::new();
    if !request.system.trim().is_empty() {
        out.push(json!({ "role": "system", "content": request.system }));
    }
    let reader = Reader {
        images: shape.images,
        by: shape.by,
    };
    for part in conversation::normal(&request.messages, reader) {
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
            Part::Assistant { text, calls, .. } if calls.is_empty() => {
                out.push(json!({ "role": "assistant", "content": text }));
            }
            Part::Assistant {
                text,
                calls,
                thoughts,
            } => {
                let content = (!text.trim().is_empty()).then_some(text);
                let asked: Vec<Value> = calls.iter().map(call).collect();
                let mut message = Map::new();
                message.insert("role".to_owned(), "assistant".into());
                message.insert("content".to_owned(), json!(content));
                message.insert("tool_calls".to_owned(), asked.into());
                thoughts::put(thoughts, &mut message);
                out.push(Value::Object(message));
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

fn call(asked: &Asked<'_>) -> Value {
    json!({
        "id": asked.id,
        "type": "function",
        "function": { "name": asked.tool, "arguments": asked.args.to_string() },
    })
}

fn result(asked: &Asked<'_>) -> Value {
    json!({ "role": "tool", "tool_call_id": asked.id, "content": asked.result })
}
