//! What a model or its server does not take, said in another way: tools, schemas, images, length.
//!
//! Stands around every provider. What was refused once is remembered and not tried again; the person is
//! told what was left out.

mod wrong;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use serde_json::{Map, Value, json};

use self::wrong::{Wrong, unknown_model, wrong};
use super::{About, Answer, Provider, ProviderError, Pulling, Request, conversation, textual};
use crate::types::{
    chat::{Delta, Message, ToolSpec},
    text::head_and_tail,
};

/// How often one request is said in another way.
const TRIES: usize = 8;

/// When a conversation is too long, results are shortened to this many bytes.
const SHORT_RESULT: usize = 2_000;

/// A provider whose refusals are mended.
pub(super) struct Mended<P> {
    inner: P,
    learnt: Mutex<HashMap<String, Learnt>>,
}

/// What a model was found not to take.
#[derive(Debug, Clone, Default)]
struct Learnt {
    no_tools: bool,
    blind: bool,
    /// Tools whose schema is said plainly.
    plain: HashSet<String>,
    /// Tools that are left out.
    dropped: HashSet<String>,
}

impl<P: Provider> Mended<P> {
    pub(super) fn new(inner: P) -> Self {
        Self {
            inner,
            learnt: Mutex::default(),
        }
    }

    fn learnt<T>(&self, model: &str, with: impl FnOnce(&mut Learnt) -> T) -> T {
        let mut all = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        with(all.entry(model.to_owned()).or_default())
    }

    /// Asks in the way that is known to be taken.
    async fn ask(&self, model: &str, request: &Request) -> Result<Answer, ProviderError> {
        let learnt = self.learnt(model, |learnt| learnt.clone());
        let about = self.inner.about_model(model);
        let fitted = fitted(request, &learnt, about.max_output_tokens);
        let words = learnt.no_tools || !about.tools;
        let calls = |message: &Message| matches!(message, Message::Assistant { calls, .. } if !calls.is_empty());
        if words && (!fitted.tools.is_empty() || fitted.messages.iter().any(calls)) {
            let answer = self.inner.complete(&textual::request(&fitted)).await?;
            return Ok(textual::answer(answer));
        }
        self.inner.complete(&fitted).await
    }

    /// What is to be done about a refusal, remembered, and what the person is told; nothing if nothing
    /// can be done.
    fn mend(
        &self,
        model: &str,
        request: &mut Cow<'_, Request>,
        error: &ProviderError,
    ) -> Option<String> {
        let detail = error.detail();
        match wrong(error, request) {
            Wrong::Tools => self.learnt(model, |learnt| {
                let first = !std::mem::replace(&mut learnt.no_tools, true);
                first.then(|| {
                    format!(
                        "{model} cannot call tools by itself, so they are described to it in words."
                    )
                })
            }),
            Wrong::Images => self.learnt(model, |learnt| {
                let first = !std::mem::replace(&mut learnt.blind, true);
                first.then(String::new)
            }),
            Wrong::Schema => self.learnt(model, |learnt| soften(learnt, request, detail)),
            // A key or a server that changed cannot read what it signed before.
            Wrong::Thoughts => {
                for message in &mut request.to_mut().messages {
                    if let Message::Assistant { reasoning, .. } = message {
                        *reasoning = None;
                    }
                }
                Some(String::new())
            }
            Wrong::Length => {
                let shorter = shorter(request)?;
                *request = Cow::Owned(shorter);
                Some(format!(
                    "The conversation is too long for {model}, so older parts of it were left out."
                ))
            }
            Wrong::Other => None,
        }
    }

    /// Images of the question itself that this model was not shown.
    fn unseen(&self, model: &str, request: &Request) -> Option<String> {
        let blind = self.learnt(model, |learnt| learnt.blind);
        if self.inner.about_model(model).images && !blind {
            return None;
        }
        let asked = request.messages.iter().rev();
        let asked = asked.take_while(|message| matches!(message, Message::User { .. }));
        let names: Vec<String> = asked
            .flat_map(|message| match message {
                Message::User { images, .. } => images.as_slice(),
                _ => &[],
            })
            .map(|image| format!("`{}`", image.name))
            .collect();
        let who = if model.is_empty() {
            "This model"
        } else {
            model
        };
        (!names.is_empty()).then(|| {
            format!("{who} does not see images: it was told of {} in words only. Choose a model that sees to have it looked at.", names.join(", "))
        })
    }
}

#[async_trait]
impl<P: Provider> Provider for Mended<P> {
    fn about(&self) -> About {
        let model = self.inner.about().model;
        self.about_model(&model)
    }

    fn about_model(&self, model: &str) -> About {
        let about = self.inner.about_model(model);
        let (no_tools, blind) = self.learnt(model, |learnt| (learnt.no_tools, learnt.blind));
        About {
            tools: about.tools && !no_tools,
            images: about.images && !blind,
            ..about
        }
    }

    async fn complete(&self, request: &Request) -> Result<Answer, ProviderError> {
        let model = request.model.clone();
        let model = model.unwrap_or_else(|| self.inner.about().model);
        let mut request = Cow::Borrowed(request);
        let mut told = Vec::new();
        let mut tries = 0;
        let answer = loop {
            let error = match self.ask(&model, &request).await {
                Ok(answer) => break answer,
                Err(error) => error,
            };
            tries += 1;
            let notice = self.mend(&model, &mut request, &error);
            let (Some(notice), true) = (notice, tries < TRIES) else {
                return Err(unknown_model(error));
            };
            tracing::info!(model, %error, "asking again in another way");
            told.push(notice);
        };
        // A local server may have been asked only now which model it has, and what that can do.
        let model = request.model.clone();
        let model = model.unwrap_or_else(|| self.inner.about().model);
        told.extend(self.unseen(&model, &request));
        told.retain(|notice| !notice.is_empty());
        if told.is_empty() {
            return Ok(answer);
        }
        let told = told.into_iter().map(|notice| Ok(Delta::Notice(notice)));
        Ok(stream::iter(told).chain(answer).boxed())
    }

    async fn check(&self) -> Result<(), ProviderError> {
        self.inner.check().await
    }

    async fn models(&self) -> Result<Vec<About>, ProviderError> {
        self.inner.models().await
    }

    async fn pull(&self, model: &str) -> Result<Pulling, ProviderError> {
        self.inner.pull(model).await
    }
}

/// The tool that a refusal speaks of is said plainly; the second time it is left out.
fn soften(learnt: &mut Learnt, request: &Request, detail: &str) -> Option<String> {
    let sent: Vec<&ToolSpec> = conversation::tools(request)
        .filter(|tool| !learnt.dropped.contains(&tool.name))
        .collect();
    let tool = meant(&sent, detail)?;
    if learnt.plain.insert(tool.to_owned()) {
        return Some(format!(
            "The input schema of the tool `{tool}` was refused; a simpler one is used for this model."
        ));
    }
    learnt.dropped.insert(tool.to_owned());
    Some(format!(
        "The tool `{tool}` was refused ({detail}); this model goes on without it. Mend its input schema to have it back."
    ))
}

/// The tool that is named in quotes, or by its place.
fn meant<'a>(tools: &[&'a ToolSpec], detail: &str) -> Option<&'a str> {
    let quoted = |tool: &&&ToolSpec| {
        let around = ["'", "\"", "`"];
        around
            .iter()
            .any(|q| detail.contains(&format!("{q}{}{q}", tool.name)))
    };
    if let Some(tool) = tools.iter().find(quoted) {
        return Some(&tool.name);
    }
    let places = ["function_declarations[", "tools[", "tools."];
    let place = places.iter().find_map(|before| {
        let (_, rest) = detail.split_once(before)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().ok()
    })?;
    tools.get(place).map(|tool| tool.name.as_str())
}

/// The request as this model takes it; the request itself where nothing is known against it.
fn fitted<'a>(request: &'a Request, learnt: &Learnt, most: Option<u32>) -> Cow<'a, Request> {
    let most = most.unwrap_or(u32::MAX);
    let plain_tools = learnt.plain.is_empty() && learnt.dropped.is_empty();
    if plain_tools && !learnt.blind && request.max_output_tokens <= most {
        return Cow::Borrowed(request);
    }
    let mut fitted = request.clone();
    // More than it can write is refused by some.
    fitted.max_output_tokens = fitted.max_output_tokens.min(most);
    fitted
        .tools
        .retain(|tool| !learnt.dropped.contains(&tool.name));
    for tool in &mut fitted.tools {
        if learnt.plain.contains(&tool.name) {
            *tool = plain(tool);
        }
    }
    if learnt.blind {
        for message in &mut fitted.messages {
            if let Message::User { text, images } = message {
                for image in images.drain(..) {
                    text.push_str("\n\n");
                    text.push_str(&conversation::unseen(&image));
                }
            }
        }
    }
    Cow::Owned(fitted)
}

/// A tool with the names and simple types of its inputs; the whole schema stands in its description.
fn plain(tool: &ToolSpec) -> ToolSpec {
    let properties = tool
        .input_schema
        .get("properties")
        .and_then(Value::as_object);
    let simple = properties.into_iter().flatten().map(|(name, schema)| {
        let kind = match schema.get("type").and_then(Value::as_str) {
            Some("array") => json!({ "type": "array", "items": { "type": "string" } }),
            Some(kind @ ("number" | "integer" | "boolean" | "object")) => json!({ "type": kind }),
            _ => json!({ "type": "string" }),
        };
        (name.clone(), kind)
    });
    let simple: Map<String, Value> = simple.collect();
    ToolSpec {
        name: tool.name.clone(),
        description: format!(
            "{}\nInput, as JSON Schema: {}",
            tool.description, tool.input_schema
        ),
        input_schema: json!({ "type": "object", "properties": simple }),
    }
}

/// Without the older half of what was said, and with shorter results; nothing if that is no shorter.
fn shorter(request: &Request) -> Option<Request> {
    let mut shorter = request.clone();
    let last = request
        .messages
        .iter()
        .rposition(|message| matches!(message, Message::User { .. }))?;
    // What was said last, and what was done about it, stays.
    shorter.messages.drain(..last.div_ceil(2).min(last));
    for message in &mut shorter.messages {
        if let Message::Result { text, .. } = message {
            *text = head_and_tail(text, SHORT_RESULT);
        }
    }
    (conversation::estimate(&shorter) < conversation::estimate(request)).then_some(shorter)
}

#[cfg(test)]
mod tests;
