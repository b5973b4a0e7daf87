//! The normal form of a conversation, from which every dialect makes its messages.
//!
//! Whatever list comes in, what comes out starts with the user, ends with the user or with
//! results, has no two users and no two plain answers in a row, exactly one result for each call,
//! ids that are unique and fit every dialect, and no empty texts. Knows no wire format.

use std::{borrow::Cow, collections::HashSet};

use serde_json::{Value, json};

use super::Request;
use crate::types::{
    Attachment,
    chat::{Call, Message, ToolSpec, estimate_tokens},
};

/// Image types that every model which sees images accepts.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// What an image costs, roughly, where nobody counts.
const IMAGE_TOKENS: u64 = 1_000;

/// One entry of the normal form.
#[derive(Debug, PartialEq)]
pub(super) enum Part<'a> {
    /// A person. The text is not blank unless there are images.
    User {
        text: Cow<'a, str>,
        images: Vec<&'a Attachment>,
    },
    /// The model: text, calls or both. The results of the calls follow directly.
    Assistant {
        text: Cow<'a, str>,
        calls: Vec<Asked<'a>>,
        /// What it wants back, in its own form; empty if another model thought it.
        thoughts: &'a [Value],
    },
}

/// For whom a conversation is brought into the normal form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// Whether it sees images; else these are mentioned instead.
    pub(super) images: bool,
    /// [`crate::types::chat::Reasoning::by`]: whose thoughts are its own.
    pub(super) by: &'a str,
}

/// A call with what came of it.
#[derive(Debug, PartialEq)]
pub(super) struct Asked<'a> {
    /// `[a-zA-Z0-9_-]{1,40}`, unique in the conversation.
    pub(super) id: String,
    /// `[a-zA-Z0-9_-]{1,64}`.
    pub(super) tool: Cow<'a, str>,
    /// An object.
    pub(super) args: Cow<'a, Value>,
    /// Not blank.
    pub(super) result: Cow<'a, str>,
    pub(super) failed: bool,
}

/// Brings a conversation into the normal form.
pub(super) fn normal<'a>(messages: &'a [Message], reader: Reader<'_>) -> Vec<Part<'a>> {
    let mut builder = Builder {
        parts: Vec::with_capacity(messages.len() + 2),
        ids: HashSet::new(),
        images: reader.images,
    };
    for (at, message) in messages.iter().enumerate() {
        match message {
            Message::User { text, images } => builder.user(text, images),
            Message::Assistant {
                text,
                calls,
                reasoning,
            } => {
                let after = messages.get(at + 1..).unwrap_or_default();
                let own = reasoning.as_ref().filter(|own| own.by == reader.by);
                let thoughts = own.map_or(&[][..], |own| &own.kept);
                builder.assistant((text, thoughts), calls, after);
            }
            // Taken up with its call; without a call there is nothing that it could answer.
            Message::Result { .. } => {}
        }
    }
    builder.finish()
}

struct Builder<'a> {
    parts: Vec<Part<'a>>,
    ids: HashSet<String>,
    images: bool,
}

impl<'a> Builder<'a> {
    fn user(&mut self, text: &'a str, images: &'a [Attachment]) {
        let seen = |image: &&Attachment| self.images && IMAGES.contains(&image.media_type.as_str());
        let (kept, dropped): (Vec<_>, Vec<_>) = images.iter().partition(seen);
        let mut text = Cow::Borrowed(text);
        for image in dropped {
            join(&mut text, Cow::Owned(unseen(image)));
        }
        if text.trim().is_empty() && kept.is_empty() {
            return;
        }
        if let Some(Part::User { text: last, images }) = self.parts.last_mut() {
            join(last, text);
            images.extend(kept);
        } else {
            self.parts.push(Part::User { text, images: kept });
        }
    }

    fn assistant(
        &mut self,
        (text, thoughts): (&'a str, &'a [Value]),
        calls: &'a [Call],
        after: &'a [Message],
    ) {
        let mut results = Results::of(after);
        let calls: Vec<_> = calls
            .iter()
            .map(|call| self.asked(call, &mut results))
            .collect();
        if text.trim().is_empty() && calls.is_empty() {
            return;
        }
        match self.parts.last_mut() {
            Some(Part::Assistant {
                text: last,
                calls: before,
                thoughts: earlier,
            }) if before.is_empty() => {
                join(last, Cow::Borrowed(text));
                *before = calls;
                // They belong to the calls, which are the later one's.
                *earlier = thoughts;
            }
            _ => self.parts.push(Part::Assistant {
                text: Cow::Borrowed(text),
                calls,
                thoughts,
            }),
        }
    }

    fn asked(&mut self, call: &'a Call, results: &mut Results<'a>) -> Asked<'a> {
        let (result, failed) = results
            .take(&call.id)
            .unwrap_or(("no result was recorded", true));
        Asked {
            id: self.id(&call.id),
            tool: tool_name(&call.tool),
            args: as_object(&call.args),
            result: Cow::Borrowed(if result.trim().is_empty() {
                "(no output)"
            } else {
                result
            }),
            failed,
        }
    }

    /// The id itself, if it fits every dialect and was not used before.
    fn id(&mut self, wanted: &str) -> String {
        let fits = (1..=40).contains(&wanted.len()) && wanted.bytes().all(plain);
        let mut id = wanted.to_owned();
        let mut n = self.ids.len();
        while !fits && id == wanted || self.ids.contains(&id) {
            id = format!("call_{n}");
            n += 1;
        }
        self.ids.insert(id.clone());
        id
    }

    fn finish(mut self) -> Vec<Part<'a>> {
        let say = |text| Part::User {
            text: Cow::Borrowed(text),
            images: Vec::new(),
        };
        if !matches!(self.parts.first(), Some(Part::User { .. })) {
            self.parts
                .insert(0, say("(The conversation goes on from here.)"));
        }
        // Some take a last answer as the beginning of theirs, others refuse it.
        if matches!(self.parts.last(), Some(Part::Assistant { calls, .. }) if calls.is_empty()) {
            self.parts.push(say("Please go on."));
        }
        self.parts
    }
}

/// What a model is told of an image that it is not shown.
pub(super) fn unseen(image: &Attachment) -> String {
    format!(
        "[The file {} ({}, {} bytes) came with this message; it cannot be shown to this model.]",
        image.name,
        image.media_type,
        image.data.len()
    )
}

/// The results that follow an answer, until the next one. Each is taken once.
struct Results<'a>(Vec<Option<(&'a str, &'a str, bool)>>);

impl<'a> Results<'a> {
    fn of(after: &'a [Message]) -> Self {
        let near = after
            .iter()
            .take_while(|m| !matches!(m, Message::Assistant { .. }));
        Self(
            near.filter_map(|message| match message {
                Message::Result {
                    call, text, failed, ..
                } => Some(Some((call.as_str(), text.as_str(), *failed))),
                _ => None,
            })
            .collect(),
        )
    }

    fn take(&mut self, call: &str) -> Option<(&'a str, bool)> {
        let slot = self
            .0
            .iter_mut()
            .find(|slot| slot.is_some_and(|(id, _, _)| id == call))?;
        slot.take().map(|(_, text, failed)| (text, failed))
    }
}

fn join<'a>(text: &mut Cow<'a, str>, more: Cow<'a, str>) {
    if text.trim().is_empty() {
        *text = more;
    } else if !more.trim().is_empty() {
        let text = text.to_mut();
        text.push_str("\n\n");
        text.push_str(&more);
    }
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// A model may have made up a name that no dialect lets us repeat.
fn tool_name(name: &str) -> Cow<'_, str> {
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Cow::Borrowed(name);
    }
    let keep = |c: char| {
        if c.is_ascii() && plain(c as u8) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().take(64).map(keep).collect();
    Cow::Owned(if name.is_empty() {
        "unknown".to_owned()
    } else {
        name
    })
}

fn as_object(args: &Value) -> Cow<'_, Value> {
    match args {
        Value::Object(_) => Cow::Borrowed(args),
        Value::Null => Cow::Owned(json!({})),
        other => Cow::Owned(json!({ "unreadable": other })),
    }
}

/// A JSON object from its fields, which are moved (`json!` copies what is put into it).
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(
        fields
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

/// Arguments as a model wrote them: an object, or the text itself where it is none.
pub(super) fn arguments(text: String) -> Value {
    if text.trim().is_empty() {
        return json!({});
    }
    match serde_json::from_str(&text) {
        Ok(args @ Value::Object(_)) => args,
        Ok(Value::Null) => json!({}),
        // Some models encode twice.
        Ok(Value::String(inner)) => match serde_json::from_str(&inner) {
            Ok(args @ Value::Object(_)) => args,
            _ => Value::String(text),
        },
        _ => Value::String(text),
    }
}

/// An id for a call that came without.
pub(super) fn new_id() -> String {
    format!("call_{}", uuid::Uuid::now_v7().simple())
}

/// The tools, each name once.
pub(super) fn tools(request: &Request) -> impl Iterator<Item = &ToolSpec> {
    let mut seen = HashSet::new();
    request
        .tools
        .iter()
        .filter(move |tool| seen.insert(tool.name.as_str()))
}

/// The schema of a tool as every dialect takes it: of an object, with properties.
pub(super) fn parameters(tool: &ToolSpec) -> Value {
    let mut schema = tool.input_schema.as_object().cloned().unwrap_or_default();
    schema.remove("$schema");
    schema.insert("type".to_owned(), json!("object"));
    schema.entry("properties").or_insert_with(|| json!({}));
    Value::Object(schema)
}

/// About how many tokens a request has, where the provider does not say.
pub(super) fn estimate(request: &Request) -> u64 {
    let message = |message: &Message| match message {
        Message::User { text, images } => {
            estimate_tokens(text) + images.len() as u64 * IMAGE_TOKENS
        }
        Message::Assistant { text, calls, .. } => {
            let calls = calls
                .iter()
                .map(|call| estimate_tokens(&call.tool) + estimate_tokens(&call.args.to_string()));
            estimate_tokens(text) + calls.sum::<u64>()
        }
        Message::Result { text, .. } => estimate_tokens(text),
    };
    let tool = |tool: &ToolSpec| {
        estimate_tokens(&tool.name)
            + estimate_tokens(&tool.description)
            + estimate_tokens(&tool.input_schema.to_string())
    };
    estimate_tokens(&request.system)
        + request.messages.iter().map(|m| message(m) + 4).sum::<u64>()
        + request.tools.iter().map(tool).sum::<u64>()
}

#[cfg(test)]
mod tests;
