//! What is sent: the conversation in Ollama's words.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::Model;
use crate::providers::{
    Request,
    conversation::{self, Asked, Part, Reader, object},
};

/// What a body depends on besides the request.
pub(super) struct Shape<'a> {
    pub(super) name: &'a str,
    pub(super) model: Model,
    pub(super) keep_alive: Option<&'a Value>,
    /// Whether it is to think first, or how hard.
    pub(super) think: Option<&'a Value>,
    /// Whose thoughts it takes back.
    pub(super) by: &'a str,
}

/// The whole body.
pub(super) fn body(request: &Request, shape: &Shape<'_>) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(shape.name));
    body.insert("messages".to_owned(), messages(request, shape));
    // A model without tools refuses a request that has some.
    let tools: Vec<Value> = conversation::tools(request)
        .filter(|_| shape.model.tools)
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
    let mut options = json!({ "num_ctx": shape.model.window });
    if let (limit @ 1.., Some(options)) = (request.max_output_tokens, options.as_object_mut()) {
        options.insert("num_predict".to_owned(), json!(limit));
    }
    if let (Some(temperature), Some(options)) = (request.temperature, options.as_object_mut()) {
        options.insert("temperature".to_owned(), json!(temperature));
    }
    body.insert("options".to_owned(), options);
    if let Some(keep_alive) = shape.keep_alive {
        body.insert("keep_alive".to_owned(), keep_alive.clone());
    }
    if let Some(think) = shape.think {
        body.insert("think".to_owned(), think.clone());
    }
    body.insert("stream".to_owned(), json!(true));
    Value::Object(body)
}

fn messages(request: &Request, shape: &Shape<'_>) -> Value {
    let reader = Reader {
        images: shape.model.images,
        by: shape.by,
    };
    let mut out = Vec::new();
    if !request.system.trim().is_empty() {
        out.push(json!({ "role": "system", "content": request.system }));
    }
    for part in conversation::normal(&request.messages, reader) {
        match part {
            Part::User { text, images } if images.is_empty() => {
                out.push(json!({ "role": "user", "content": text }));
            }
            Part::User { text, images } => {
                let images: Vec<String> = images.iter().map(|i| STANDARD.encode(&i.data)).collect();
                out.push(object([
                    ("role", "user".into()),
                    ("content", text.into()),
                    ("images", images.into()),
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
                let asked: Vec<Value> = calls.iter().map(call).collect();
                let mut message = Map::new();
                message.insert("role".to_owned(), "assistant".into());
                message.insert("content".to_owned(), text.into());
                message.insert("tool_calls".to_owned(), asked.into());
                if let Some(thinking) = thoughts.first() {
                    message.insert("thinking".to_owned(), thinking.clone());
                }
                out.push(Value::Object(message));
                out.extend(calls.iter().map(result));
            }
        }
    }
    Value::Array(out)
}

fn call(asked: &Asked<'_>) -> Value {
    json!({ "id": asked.id, "function": { "name": asked.tool, "arguments": asked.args } })
}

/// Older servers tell results apart by their order, newer ones by name and id.
fn result(asked: &Asked<'_>) -> Value {
    json!({
        "role": "tool",
        "tool_name": asked.tool,
        "tool_call_id": asked.id,
        "content": asked.result,
    })
}
