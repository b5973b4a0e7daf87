//! What is sent: the conversation in Anthropic's words.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{Adaptive, Thinking};
use crate::{
    providers::{
        Request,
        conversation::{self, Asked, Part, Reader, object},
    },
    types::Attachment,
};

/// The limit is not optional here: what every current model can do.
const MAX_OUTPUT: u32 = 8_192;

/// The fewest tokens that may be given for thinking.
const LEAST_THINKING: u32 = 1_024;

/// What a body depends on besides the request.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    /// The model.
    pub(super) model: &'a str,
    /// Whether it sees images.
    pub(super) images: bool,
    /// Whether it is to think first.
    pub(super) thinking: Option<Thinking>,
    /// Whose thoughts it takes back.
    pub(super) by: &'a str,
}

/// The whole body.
pub(super) fn body(request: &Request, shape: &Shape<'_>) -> Value {
    let reader = Reader {
        images: shape.images,
        by: shape.by,
    };
    let parts = conversation::normal(&request.messages, reader);
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(shape.model));
    let mut limit = match request.max_output_tokens {
        0 => MAX_OUTPUT,
        limit => limit,
    };
    match shape.thinking.filter(|_| thinks(&parts)) {
        Some(Thinking::Tokens(tokens)) => {
            let budget = tokens.max(LEAST_THINKING);
            // Thoughts count as output.
            limit = limit.saturating_add(budget);
            let thinking = json!({ "type": "enabled", "budget_tokens": budget });
            body.insert("thinking".to_owned(), thinking);
        }
        Some(Thinking::Adaptive(Adaptive::Adaptive)) => {
            body.insert("thinking".to_owned(), json!({ "type": "adaptive" }));
        }
        None => {}
    }
    body.insert("max_tokens".to_owned(), json!(limit));
    if !request.system.trim().is_empty() {
        let system = json!([{ "type": "text", "text": request.system, "cache_control": cached() }]);
        body.insert("system".to_owned(), system);
    }
    let mut tools = tools(request);
    if tools.is_empty() {
        // A conversation with calls is refused without tools, so name those it has, but allow none.
        tools = past_tools(&parts);
        if !tools.is_empty() {
            body.insert("tool_choice".to_owned(), json!({ "type": "none" }));
        }
    }
    if let Some(last) = tools.last_mut().and_then(Value::as_object_mut) {
        last.insert("cache_control".to_owned(), cached());
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    // A model that thinks chooses its words as it likes.
    let thinks = body.contains_key("thinking");
    if let Some(temperature) = request.temperature.filter(|_| !thinks) {
        body.insert("temperature".to_owned(), json!(temperature));
    }
    body.insert("messages".to_owned(), messages(parts));
    body.insert("stream".to_owned(), json!(true));
    Value::Object(body)
}

/// Whether thinking may be asked for: the calls since the person spoke must have come with thoughts,
/// which those of another model did not.
fn thinks(parts: &[Part<'_>]) -> bool {
    let since = parts.iter().rev();
    let mut answers = since.take_while(|part| matches!(part, Part::Assistant { .. }));
    answers.all(|part| !matches!(part, Part::Assistant { thoughts, .. } if thoughts.is_empty()))
}

/// Everything up to here may be kept by the provider for the next request.
fn cached() -> Value {
    json!({ "type": "ephemeral" })
}

fn tools(request: &Request) -> Vec<Value> {
    conversation::tools(request)
        .map(|tool| {
            json!({
                "name": tool.name,
                "description": tool.description,
                "input_schema": conversation::parameters(tool),
            })
        })
        .collect()
}

fn past_tools(parts: &[Part<'_>]) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for part in parts {
        if let Part::Assistant { calls, .. } = part {
            names.extend(calls.iter().map(|asked| asked.tool.as_ref()));
        }
    }
    names.sort_unstable();
    names.dedup();
    let tool =
        |name| json!({ "name": name, "input_schema": { "type": "object", "properties": {} } });
    names.into_iter().map(tool).collect()
}

/// User and assistant in turn; the results of an answer open the user's next message.
fn messages(parts: Vec<Part<'_>>) -> Value {
    let mut out = Vec::new();
    let mut user: Vec<Value> = Vec::new();
    for part in parts {
        match part {
            Part::User { text, images } => {
                user.extend(images.into_iter().map(image));
                if !text.trim().is_empty() {
                    user.push(json!({ "type": "text", "text": text }));
                }
            }
            Part::Assistant {
                text,
                calls,
                thoughts,
            } => {
                if user.is_empty() {
                    // Two answers, the first without calls, do not follow each other in the normal
                    // form; so these are results, and there are some.
                    user.push(json!({ "type": "text", "text": "(no text)" }));
                }
                out.push(message("user", std::mem::take(&mut user)));
                let mut content = thoughts.to_vec();
                if !text.trim().is_empty() {
                    let text = text.trim_end();
                    content.push(json!({ "type": "text", "text": text }));
                }
                content.extend(calls.iter().map(call));
                out.push(message("assistant", content));
                user.extend(calls.iter().map(result));
            }
        }
    }
    if !user.is_empty() {
        out.push(message("user", user));
    }
    Value::Array(out)
}

fn message(role: &str, content: Vec<Value>) -> Value {
    object([("role", role.into()), ("content", Value::Array(content))])
}

fn image(image: &Attachment) -> Value {
    let source = object([
        ("type", "base64".into()),
        ("media_type", image.media_type.as_str().into()),
        ("data", STANDARD.encode(&image.data).into()),
    ]);
    object([("type", "image".into()), ("source", source)])
}

fn call(asked: &Asked<'_>) -> Value {
    json!({ "type": "tool_use", "id": asked.id, "name": asked.tool, "input": asked.args })
}

fn result(asked: &Asked<'_>) -> Value {
    let mut result =
        json!({ "type": "tool_result", "tool_use_id": asked.id, "content": asked.result });
    if let (true, Some(result)) = (asked.failed, result.as_object_mut()) {
        result.insert("is_error".to_owned(), json!(true));
    }
    result
}
