//! What is sent to OpenAI's Responses: the conversation as a list of items. Nothing is stored there;
//! what a model thought between its calls comes encrypted and goes back as it came.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::body::Shape;
use crate::{
    providers::{
        Request,
        conversation::{self, Asked, Part, Reader, object},
    },
    types::Attachment,
};

/// The fewest tokens that it takes for a limit.
const LEAST: u32 = 16;

/// The whole body.
pub(super) fn body(request: &Request, shape: &Shape<'_>) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(shape.model));
    if !request.system.trim().is_empty() {
        body.insert("instructions".to_owned(), json!(request.system));
    }
    body.insert("input".to_owned(), input(request, shape));
    let tools: Vec<Value> = conversation::tools(request)
        .map(|tool| {
            json!({
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": conversation::parameters(tool),
                // Else it makes every field of a schema required.
                "strict": false,
            })
        })
        .collect();
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    if request.max_output_tokens > 0 {
        let limit = request.max_output_tokens.max(LEAST);
        body.insert("max_output_tokens".to_owned(), json!(limit));
    }
    body.insert("store".to_owned(), json!(false));
    if reasons(shape.model) {
        let include = json!(["reasoning.encrypted_content"]);
        body.insert("include".to_owned(), include);
        body.insert("reasoning".to_owned(), json!({ "summary": "auto" }));
    } else if let Some(temperature) = request.temperature {
        body.insert("temperature".to_owned(), json!(temperature));
    }
    if shape.official {
        body.insert("prompt_cache_key".to_owned(), json!(cache_key(request)));
    }
    body.insert("stream".to_owned(), json!(true));
    body.extend(shape.extra.clone());
    Value::Object(body)
}

/// Whether a model thinks: only then it takes the fields for that.
fn reasons(model: &str) -> bool {
    let family = |beginning: &str| model.starts_with(beginning);
    let numbered = model
        .strip_prefix("gpt-")
        .and_then(|rest| rest.chars().next())
        .and_then(|digit| digit.to_digit(10));
    let newer = numbered.is_some_and(|digit| digit >= 5) && !model.contains("chat");
    newer || family("o1") || family("o3") || family("o4")
}

/// The same for all requests that begin alike, so that they meet the same cache.
pub(super) fn cache_key(request: &Request) -> String {
    let mut hash = Sha256::new();
    hash.update(&request.system);
    for tool in conversation::tools(request) {
        hash.update([0]);
        hash.update(&tool.name);
    }
    let hash = URL_SAFE_NO_PAD.encode(hash.finalize());
    format!("nexflow-{hash}")
}

fn input(request: &Request, shape: &Shape<'_>) -> Value {
    let reader = Reader {
        images: shape.images,
        by: shape.by,
    };
    let mut out = Vec::new();
    for part in conversation::normal(&request.messages, reader) {
        match part {
            Part::User { text, images } => {
                let mut content: Vec<Value> = images.into_iter().map(image).collect();
                if !text.trim().is_empty() {
                    content.insert(0, json!({ "type": "input_text", "text": text }));
                }
                out.push(object([
                    ("role", "user".into()),
                    ("content", content.into()),
                ]));
            }
            Part::Assistant {
                text,
                calls,
                thoughts,
            } => {
                // Thoughts without the calls that followed them are refused.
                if !calls.is_empty() {
                    out.extend_from_slice(thoughts);
                }
                if !text.trim().is_empty() {
                    out.push(json!({ "role": "assistant", "content": text }));
                }
                out.extend(calls.iter().map(call));
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
    object([("type", "input_image".into()), ("image_url", url.into())])
}

fn call(asked: &Asked<'_>) -> Value {
    json!({
        "type": "function_call",
        "call_id": asked.id,
        "name": asked.tool,
        "arguments": asked.args.to_string(),
    })
}

fn result(asked: &Asked<'_>) -> Value {
    json!({ "type": "function_call_output", "call_id": asked.id, "output": asked.result })
}
