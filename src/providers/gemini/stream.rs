//! What comes back: chunks of a `GenerateContentResponse`.

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(default)]
    prompt_feedback: Option<Value>,
    #[serde(default)]
    usage_metadata: Option<Counts>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    finish_message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Option<Vec<Part<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(default)]
    thought: bool,
    #[serde(borrow, default)]
    thought_signature: Option<Cow<'a, str>>,
    #[serde(default)]
    function_call: Option<FunctionCall>,
}

#[derive(Deserialize)]
struct FunctionCall {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    args: Value,
}

#[derive(Deserialize)]
struct Counts {
    #[serde(default, rename = "promptTokenCount")]
    prompt: u64,
    #[serde(default, rename = "toolUsePromptTokenCount")]
    tool_prompt: u64,
    #[serde(default, rename = "cachedContentTokenCount")]
    cached: u64,
    #[serde(default, rename = "candidatesTokenCount")]
    answer: u64,
    #[serde(default, rename = "thoughtsTokenCount")]
    thoughts: u64,
}

/// An answer that is being put together.
pub(super) struct Chunks {
    provider: String,
    begun: bool,
    calls: Vec<Call>,
    kept: Vec<Value>,
    usage: Option<Usage>,
    stop: Option<Stop>,
    input_estimate: u64,
    output_estimate: u64,
}

impl Chunks {
    pub(super) fn new(provider: &str, input_estimate: u64) -> Self {
        Self {
            provider: provider.to_owned(),
            begun: false,
            calls: Vec::new(),
            kept: Vec::new(),
            usage: None,
            stop: None,
            input_estimate,
            output_estimate: 0,
        }
    }

    fn chunk(&mut self, chunk: Chunk<'_>, out: &mut Vec<Delta>) -> Result<(), ProviderError> {
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(ProviderError::reported(&self.provider, &Report::of(&error)));
        }
        let blocked = chunk.prompt_feedback.as_ref();
        let blocked = blocked.and_then(|told| told.get("blockReason")?.as_str());
        if let Some(reason) = blocked {
            return Err(ProviderError::Refused {
                provider: self.provider.clone(),
                detail: format!(
                    "it does not answer this message ({reason}); say it in other words"
                ),
            });
        }
        if let Some(counts) = chunk.usage_metadata {
            self.count(&counts);
        }
        for candidate in chunk.candidates.into_iter().flatten() {
            if candidate.index == 0 {
                self.candidate(candidate, out)?;
            }
        }
        Ok(())
    }

    fn candidate(
        &mut self,
        candidate: Candidate<'_>,
        out: &mut Vec<Delta>,
    ) -> Result<(), ProviderError> {
        let parts = candidate.content.and_then(|content| content.parts);
        for part in parts.into_iter().flatten() {
            self.part(part, out);
        }
        let Some(reason) = candidate.finish_reason else {
            return Ok(());
        };
        self.stop = Some(match reason.as_ref() {
            "MAX_TOKENS" => Stop::Length,
            "SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "OTHER"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION"
            | "IMAGE_OTHER"
            | "NO_IMAGE" => Stop::Filtered,
            // It wrote something that it cannot read itself: another try is another answer.
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MALFORMED_RESPONSE" => {
                let more = candidate.finish_message.unwrap_or_default();
                let what = format!("it made a tool call that cannot be read ({reason}) {more}");
                return Err(ProviderError::down(&self.provider, &what));
            }
            "MISSING_THOUGHT_SIGNATURE" => {
                return Err(ProviderError::Refused {
                    provider: self.provider.clone(),
                    detail: "a call was handed back without its signature".to_owned(),
                });
            }
            _ => Stop::Done,
        });
        Ok(())
    }

    fn part(&mut self, part: Part<'_>, out: &mut Vec<Delta>) {
        self.begun = true;
        let at = match &part.function_call {
            Some(_) => json!(self.calls.len()),
            None => json!("text"),
        };
        if let Some(signature) = part.thought_signature.filter(|own| !own.is_empty()) {
            self.kept
                .push(json!({ "at": at, "thoughtSignature": signature }));
        }
        if let Some(text) = part.text {
            self.output_estimate += estimate_tokens(&text);
            out.push(if part.thought {
                Delta::Reasoning(text.into_owned())
            } else {
                Delta::Text(text.into_owned())
            });
        }
        if let Some(call) = part.function_call.filter(|call| !call.name.is_empty()) {
            self.output_estimate += estimate_tokens(&call.args.to_string());
            let id = call.id.filter(|id| !id.is_empty());
            self.calls.push(Call {
                id: id.unwrap_or_else(conversation::new_id),
                tool: call.name,
                args: match call.args {
                    Value::Null => json!({}),
                    args => args,
                },
            });
        }
    }

    /// What is read from the cache is part of the prompt; thoughts are paid like the answer.
    fn count(&mut self, counts: &Counts) {
        let input = counts.prompt + counts.tool_prompt;
        let output = counts.answer + counts.thoughts;
        if input == 0 {
            return;
        }
        self.usage = Some(Usage {
            input_tokens: input,
            cached_tokens: counts.cached.min(input),
            output_tokens: output,
            estimated: false,
        });
    }
}

impl Dialect for Chunks {
    fn frame(&mut self, data: &str, out: &mut Vec<Delta>) -> Result<Progress, ProviderError> {
        // Without `alt=sse`, and from servers that do not know it, all chunks come as one list.
        let unreadable = |_| ProviderError::unreadable(&self.provider, data);
        let chunks: Vec<Chunk<'_>> = if data.trim_start().starts_with('[') {
            serde_json::from_str(data).map_err(unreadable)?
        } else {
            vec![serde_json::from_str(data).map_err(unreadable)?]
        };
        if chunks.is_empty() {
            return Err(ProviderError::unreadable(&self.provider, data));
        }
        for chunk in chunks {
            self.chunk(chunk, out)?;
        }
        Ok(match self.stop {
            Some(_) => Progress::Ending,
            None if self.begun => Progress::Middle,
            None => Progress::Waiting,
        })
    }

    fn end(&mut self) -> Ending {
        Ending {
            kept: std::mem::take(&mut self.kept),
            calls: std::mem::take(&mut self.calls),
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
