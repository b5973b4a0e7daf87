//! What comes back from OpenAI's Responses: typed events, or the response as a whole.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    providers::{
        ProviderError, conversation,
        error::Report,
        peer::{Dialect, Ending, Progress},
    },
    types::chat::{Call, Delta, Stop, Usage, estimate_tokens},
};

/// An event; the fields that its type does not have are empty.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    /// `response`, for an answer that is not streamed.
    #[serde(borrow, default)]
    object: Option<Cow<'a, str>>,
    #[serde(default)]
    output_index: Option<u64>,
    #[serde(default)]
    summary_index: Option<u64>,
    #[serde(borrow, default)]
    delta: Option<Cow<'a, str>>,
    #[serde(default)]
    item: Option<Value>,
    #[serde(default)]
    response: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

struct Partial {
    at: Option<u64>,
    id: String,
    name: String,
    args: String,
}

/// An answer that is being put together.
pub(super) struct Events {
    provider: String,
    begun: bool,
    refused: bool,
    summary: Option<(Option<u64>, Option<u64>)>,
    kept: Vec<Value>,
    calls: Vec<Partial>,
    usage: Option<Usage>,
    stop: Option<Stop>,
    input_estimate: u64,
    output_estimate: u64,
}

impl Events {
    pub(super) fn new(provider: &str, input_estimate: u64) -> Self {
        Self {
            provider: provider.to_owned(),
            begun: false,
            refused: false,
            summary: None,
            kept: Vec::new(),
            calls: Vec::new(),
            usage: None,
            stop: None,
            input_estimate,
            output_estimate: 0,
        }
    }

    fn event(&mut self, event: Event<'_>, out: &mut Vec<Delta>) -> Result<(), ProviderError> {
        let place = (event.output_index, event.summary_index);
        let delta = event.delta.unwrap_or_default();
        match event.kind.as_deref().unwrap_or_default() {
            "response.output_text.delta" => self.say(delta.into_owned(), out),
            "response.refusal.delta" => {
                self.refused = true;
                self.say(delta.into_owned(), out);
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.think(place, &delta, out);
            }
            "response.output_item.added" => {
                self.begun = true;
                self.add(event.output_index, &event.item.unwrap_or_default());
            }
            "response.function_call_arguments.delta" => {
                let at = event.output_index;
                if let Some(call) = self.calls.iter_mut().rfind(|call| call.at == at) {
                    call.args.push_str(&delta);
                }
            }
            "response.output_item.done" => {
                self.complete(event.output_index, event.item.unwrap_or_default());
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.finish(&event.response.unwrap_or_default())?;
            }
            "error" | "response.error" => {
                return Err(ProviderError::reported(
                    &self.provider,
                    &Report::of(&event.error.unwrap_or_default()),
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn say(&mut self, piece: String, out: &mut Vec<Delta>) {
        self.begun = true;
        self.output_estimate += estimate_tokens(&piece);
        out.push(Delta::Text(piece));
    }

    /// The parts of a summary are paragraphs.
    fn think(&mut self, place: (Option<u64>, Option<u64>), piece: &str, out: &mut Vec<Delta>) {
        self.begun = true;
        self.output_estimate += estimate_tokens(piece);
        let other = self.summary.is_some_and(|last| last != place);
        self.summary = Some(place);
        let piece = format!("{}{piece}", if other { "\n\n" } else { "" });
        out.push(Delta::Reasoning(piece));
    }

    fn add(&mut self, at: Option<u64>, item: &Value) {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("type") == "function_call" {
            self.calls.push(Partial {
                at,
                id: text("call_id").to_owned(),
                name: text("name").to_owned(),
                args: text("arguments").to_owned(),
            });
        }
    }

    /// A whole item: what it says counts, whatever came in pieces before.
    fn complete(&mut self, at: Option<u64>, item: Value) {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("type") {
            "function_call" => {
                let known = self.calls.iter().any(|call| at.is_some() && call.at == at);
                if !known {
                    self.add(at, &item);
                } else if let Some(call) = self.calls.iter_mut().rfind(|call| call.at == at)
                    && !text("arguments").is_empty()
                {
                    text("arguments").clone_into(&mut call.args);
                }
            }
            "reasoning" if item.get("encrypted_content").is_some_and(Value::is_string) => {
                // With `store: false` its id names nothing that could be found again.
                let mut item = item;
                if let Some(fields) = item.as_object_mut() {
                    fields.remove("id");
                    fields.remove("status");
                    fields.entry("summary").or_insert_with(|| json!([]));
                }
                self.kept.push(item);
            }
            _ => {}
        }
    }

    fn finish(&mut self, response: &Value) -> Result<(), ProviderError> {
        if let Some(error) = response.get("error").filter(|error| !error.is_null()) {
            return Err(ProviderError::reported(&self.provider, &Report::of(error)));
        }
        let text = |pointer: &str| response.pointer(pointer).and_then(Value::as_str);
        self.stop = Some(
            match (text("/status"), text("/incomplete_details/reason")) {
                (Some("incomplete"), Some("content_filter")) => Stop::Filtered,
                (Some("incomplete"), _) => Stop::Length,
                (Some("failed" | "cancelled"), _) => {
                    let what = "it broke off with an error";
                    return Err(ProviderError::down(&self.provider, what));
                }
                _ if self.refused => Stop::Filtered,
                _ => Stop::Done,
            },
        );
        let number = |pointer: &str| response.pointer(pointer).and_then(Value::as_u64);
        if let (Some(input), Some(output)) = (
            number("/usage/input_tokens"),
            number("/usage/output_tokens"),
        ) {
            let cached = number("/usage/input_tokens_details/cached_tokens").unwrap_or(0);
            self.usage = Some(Usage {
                input_tokens: input,
                cached_tokens: cached.min(input),
                output_tokens: output,
                estimated: false,
            });
        }
        Ok(())
    }

    /// An answer of a server that does not stream.
    fn whole(&mut self, response: &Value, out: &mut Vec<Delta>) -> Result<(), ProviderError> {
        let items = response.get("output").and_then(Value::as_array);
        for (at, item) in (0..).zip(items.into_iter().flatten()) {
            for part in parts(item, "summary") {
                let text = part.get("text").and_then(Value::as_str);
                self.think((Some(at), None), text.unwrap_or_default(), out);
            }
            for part in parts(item, "content") {
                let text = |key: &str| part.get(key).and_then(Value::as_str);
                self.refused |= text("refusal").is_some();
                if let Some(said) = text("text").or(text("refusal")) {
                    self.say(said.to_owned(), out);
                }
            }
            self.complete(Some(at), item.clone());
        }
        self.finish(response)
    }
}

fn parts<'a>(item: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    let parts = item.get(key).and_then(Value::as_array);
    parts.into_iter().flatten()
}

impl Dialect for Events {
    fn frame(&mut self, data: &str, out: &mut Vec<Delta>) -> Result<Progress, ProviderError> {
        let data = data.trim();
        if data.is_empty() || data == "[DONE]" {
            return Ok(self.progress());
        }
        let unreadable = |_| ProviderError::unreadable(&self.provider, data);
        let event: Event<'_> = serde_json::from_str(data).map_err(unreadable)?;
        if event.object.as_deref() == Some("response") {
            let response: Value = serde_json::from_str(data).map_err(unreadable)?;
            self.whole(&response, out)?;
        } else if event.kind.is_none() {
            return Err(ProviderError::unreadable(&self.provider, data));
        } else if event.kind.as_deref() == Some("error") && event.error.is_none() {
            // Its fields stand in the event itself.
            let error: Value = serde_json::from_str(data).map_err(unreadable)?;
            return Err(ProviderError::reported(&self.provider, &Report::of(&error)));
        } else {
            self.event(event, out)?;
        }
        Ok(self.progress())
    }

    fn end(&mut self) -> Ending {
        let calls = std::mem::take(&mut self.calls).into_iter();
        let calls = calls.filter(|call| !call.name.is_empty()).map(|call| {
            self.output_estimate += estimate_tokens(&call.args) + estimate_tokens(&call.name);
            Call {
                id: if call.id.is_empty() {
                    conversation::new_id()
                } else {
                    call.id
                },
                tool: call.name,
                args: conversation::arguments(call.args),
            }
        });
        let calls = calls.collect();
        Ending {
            kept: std::mem::take(&mut self.kept),
            calls,
            usage: self.usage.unwrap_or(Usage {
                input_tokens: self.input_estimate,
                cached_tokens: 0,
                output_tokens: self.output_estimate,
                estimated: true,
            }),
            stop: self.stop.unwrap_or_default(),
        }
    }
}

impl Events {
    fn progress(&self) -> Progress {
        match self.stop {
            Some(_) => Progress::Last,
            None if self.begun => Progress::Middle,
            None => Progress::Waiting,
        }
    }
}
