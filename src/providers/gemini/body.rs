//! What is sent: the conversation in Gemini's words.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::schema;
use crate::{
    providers::{
        Request,
        conversation::{self, Asked, Part, Reader, object},
    },
    types::Attachment,
};

/// Documented for calls that another model made; without it, newer models refuse them.
const UNSIGNED: &str = "skip_thought_signature_validator";

/// How hard a model is to think.
#[derive(Debug, Default)]
pub(super) struct Thinking {
    pub(super) tokens: Option<i32>,
    pub(super) level: Option<String>,
}

/// What a body depends on besides the request.
pub(super) struct Shape<'a> {
    pub(super) model: &'a str,
    pub(super) images: bool,
    pub(super) thinking: &'a Thinking,
    /// Whose thoughts it takes back.
    pub(super) by: &'a str,
}

/// The whole body.
pub(super) fn body(request: &Request, shape: &Shape<'_>) -> Value {
    let mut body = Map::new();
    if !request.system.trim().is_empty() {
        let system = json!({ "parts": [{ "text": request.system }] });
        body.insert("systemInstruction".to_owned(), system);
    }
    body.insert("contents".to_owned(), contents(request, shape));
    let tools: Vec<Value> = conversation::tools(request)
        .map(|tool| {
            let mut declared = json!({ "name": tool.name, "description": tool.description });
            let parameters = schema::parameters(&tool.input_schema);
            if let (Some(parameters), Some(declared)) = (parameters, declared.as_object_mut()) {
                declared.insert("parameters".to_owned(), parameters);
            }
            declared
        })
        .collect();
    if !tools.is_empty() {
        let tools = json!([{ "functionDeclarations": tools }]);
        body.insert("tools".to_owned(), tools);
    }
    let generation = generation(request, shape);
    if !generation.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(generation));
    }
    Value::Object(body)
}

fn generation(request: &Request, shape: &Shape<'_>) -> Map<String, Value> {
    let mut config = Map::new();
    if request.max_output_tokens > 0 {
        let limit = json!(request.max_output_tokens);
        config.insert("maxOutputTokens".to_owned(), limit);
    }
    if let Some(temperature) = request.temperature {
        config.insert("temperature".to_owned(), json!(temperature));
    }
    let mut thinking = Map::new();
    if let Some(tokens) = shape.thinking.tokens {
        thinking.insert("thinkingBudget".to_owned(), json!(tokens));
    }
    if let Some(level) = &shape.thinking.level {
        thinking.insert("thinkingLevel".to_owned(), json!(level));
    }
    if shape.thinking.tokens != Some(0) && (thinks(shape.model) || !thinking.is_empty()) {
        thinking.insert("includeThoughts".to_owned(), json!(true));
    }
    if !thinking.is_empty() {
        config.insert("thinkingConfig".to_owned(), Value::Object(thinking));
    }
    config
}

/// Whether a model is known to think: others refuse to be asked for thoughts.
fn thinks(model: &str) -> bool {
    let other = ["image", "tts", "live", "audio", "embedding"];
    let version = model.strip_prefix("gemini-").unwrap_or_default();
    let series = version.chars().next().and_then(|c| c.to_digit(10));
    let new = series.is_some_and(|n| n >= 3) || version.starts_with("2.5");
    new && !other.iter().any(|kind| model.contains(kind))
}

fn contents(request: &Request, shape: &Shape<'_>) -> Value {
    let reader = Reader {
        images: shape.images,
        by: shape.by,
    };
    let mut out = Vec::new();
    for part in conversation::normal(&request.messages, reader) {
        match part {
            Part::User { text, images } => {
                let mut parts: Vec<Value> = images.into_iter().map(image).collect();
                if !text.trim().is_empty() {
                    parts.push(json!({ "text": text }));
                }
                out.push(content("user", parts));
            }
            Part::Assistant {
                text,
                calls,
                thoughts,
            } => {
                out.push(content("model", said(&text, &calls, thoughts)));
                // As many results as calls, and nothing between them.
                if !calls.is_empty() {
                    out.push(content("user", calls.iter().map(result).collect()));
                }
            }
        }
    }
    Value::Array(out)
}

fn content(role: &str, parts: Vec<Value>) -> Value {
    object([("role", role.into()), ("parts", Value::Array(parts))])
}

fn image(image: &Attachment) -> Value {
    let data = object([
        ("mimeType", image.media_type.as_str().into()),
        ("data", STANDARD.encode(&image.data).into()),
    ]);
    object([("inlineData", data)])
}

/// An answer with its signatures where they were.
fn said(text: &str, calls: &[Asked<'_>], thoughts: &[Value]) -> Vec<Value> {
    let signature = |place: &Value| {
        let own = thoughts.iter().find(|own| own.get("at") == Some(place))?;
        own.get("thoughtSignature").cloned()
    };
    let mut parts = Vec::new();
    let of_text = signature(&json!("text"));
    if !text.trim().is_empty() || of_text.is_some() {
        let mut part = Map::from_iter([("text".to_owned(), json!(text))]);
        part.extend(of_text.map(|own| ("thoughtSignature".to_owned(), own)));
        parts.push(Value::Object(part));
    }
    for (n, asked) in calls.iter().enumerate() {
        let call = json!({ "id": asked.id, "name": asked.tool, "args": asked.args });
        let mut part = Map::from_iter([("functionCall".to_owned(), call)]);
        let own = signature(&json!(n));
        // Only the first of an answer needs one.
        let own = own.or_else(|| (n == 0 && thoughts.is_empty()).then(|| json!(UNSIGNED)));
        part.extend(own.map(|own| ("thoughtSignature".to_owned(), own)));
        parts.push(Value::Object(part));
    }
    parts
}

fn result(asked: &Asked<'_>) -> Value {
    let key = if asked.failed { "error" } else { "output" };
    let response = object([(key, asked.result.as_ref().into())]);
    json!({ "functionResponse": { "id": asked.id, "name": asked.tool, "response": response } })
}
