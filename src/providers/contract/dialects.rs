//! How each wire format says the same things, written from the published APIs.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::fake::Reply;
use crate::{
    net::Http,
    providers::{Kind, Provider},
    types::Entry,
};

/// The key that tests use; it must never be shown.
pub(super) const KEY: &str = "sk-contract-0123456789";

/// One wire format.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    /// The kind that speaks it.
    pub(super) kind: &'static str,
    content_type: &'static str,
    /// Before an answer, and what is neither text nor call but may come anywhere.
    begin: fn() -> String,
    text: fn(&str) -> String,
    call: fn(usize, &str, &str, &str) -> String,
    /// Why it stops, and what it cost.
    finish: fn(&str, u64, u64) -> String,
    /// The words for running into the limit.
    pub(super) length: &'static str,
    /// The words for being done.
    pub(super) done: &'static str,
    pub(super) error: fn(&str, &str) -> Value,
}

/// All kinds that speak to a server.
pub(super) const DIALECTS: &[Dialect] = &[
    openai("openai"),
    openai("gemini"),
    openai("openrouter"),
    openai("zai"),
    openai("custom"),
    Dialect {
        kind: "anthropic",
        content_type: "text/event-stream; charset=utf-8",
        begin: || {
            event(
                &json!({ "type": "message_start", "message": { "id": "m", "type": "message",
                "role": "assistant", "content": [], "usage": { "input_tokens": 1,
                "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1 } } }),
            ) + &event(&json!({ "type": "ping" }))
                + &event(&json!({ "type": "something_new", "x": [1] }))
                + &event(
                    &json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                )
        },
        text: |text| {
            event(
                &json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }),
            )
        },
        call: |at, id, tool, args| {
            let start = json!({ "type": "content_block_start", "index": at + 1,
                "content_block": { "type": "tool_use", "id": id, "name": tool, "input": {} } });
            let piece = |piece: String| {
                event(&json!({ "type": "content_block_delta", "index": at + 1,
                    "delta": { "type": "input_json_delta", "partial_json": piece } }))
            };
            let pieces: String = args.chars().map(|c| piece(c.into())).collect();
            event(&start)
                + &pieces
                + &event(&json!({ "type": "content_block_stop", "index": at + 1 }))
        },
        finish: |stop, input, output| {
            event(
                &json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null },
                "usage": { "input_tokens": input, "output_tokens": output } }),
            ) + &event(&json!({ "type": "message_stop" }))
        },
        length: "max_tokens",
        done: "end_turn",
        error: |code, message| json!({ "type": "error", "error": { "type": code, "message": message } }),
    },
    Dialect {
        kind: "ollama",
        content_type: "application/x-ndjson",
        begin: || "\n".to_owned(),
        text: |text| {
            line(
                &json!({ "model": "m", "message": { "role": "assistant", "content": text }, "done": false }),
            )
        },
        call: |_, id, tool, args| {
            let args: Value = serde_json::from_str(args).unwrap();
            line(
                &json!({ "model": "m", "message": { "role": "assistant", "content": "",
                "tool_calls": [{ "id": id, "function": { "name": tool, "arguments": args } }] }, "done": false }),
            )
        },
        finish: |stop, input, output| {
            line(
                &json!({ "model": "m", "message": { "role": "assistant", "content": "" }, "done": true,
                "done_reason": stop, "prompt_eval_count": input, "eval_count": output }),
            )
        },
        length: "length",
        done: "stop",
        error: |_, message| json!({ "error": message }),
    },
];

const fn openai(kind: &'static str) -> Dialect {
    Dialect {
        kind,
        content_type: "text/event-stream",
        begin: || {
            ": comment\n\n".to_owned()
                + &data(
                    &json!({ "id": "x", "object": "chat.completion.chunk", "choices": [
                    { "index": 0, "delta": { "role": "assistant", "content": null }, "finish_reason": null }], "usage": null }),
                )
                + &data(&json!({ "object": "something.new" }))
        },
        text: |text| {
            data(
                &json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] }),
            )
        },
        call: |at, id, tool, args| {
            let piece = |call: Value| {
                data(&json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] } }] }))
            };
            let start = json!({ "index": at, "id": id, "type": "function", "function": { "name": tool, "arguments": "" } });
            let more = args
                .chars()
                .map(|c| piece(json!({ "index": at, "function": { "arguments": c } })));
            piece(start) + &more.collect::<String>()
        },
        finish: |stop, input, output| {
            data(&json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": stop }] }))
                + &data(
                    &json!({ "choices": [], "usage": { "prompt_tokens": input, "completion_tokens": output } }),
                )
                + "data: [DONE]\n\n"
        },
        length: "length",
        done: "stop",
        error: |code, message| json!({ "error": { "type": code, "message": message, "code": null } }),
    }
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn event(value: &Value) -> String {
    format!(
        "event: {}\ndata: {value}\n\n",
        value["type"].as_str().unwrap()
    )
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

impl Dialect {
    /// The provider, pointed at a server.
    pub(super) fn provider(&self, url: &str) -> Arc<dyn Provider> {
        let mut settings = Map::new();
        settings.insert("base_url".to_owned(), json!(url));
        settings.insert("api_key".to_owned(), json!(KEY));
        settings.insert("model".to_owned(), json!("m"));
        settings.insert("stall_timeout_sec".to_owned(), json!(1));
        let entry = Entry {
            name: "peer".to_owned(),
            kind: self.kind.to_owned(),
            settings,
        };
        (Kind::named(self.kind).unwrap().build)(&entry, &Http::new()).unwrap()
    }

    /// The beginning of an answer, which is cut there.
    pub(super) fn unfinished(&self, texts: &[&str]) -> String {
        (self.begin)()
            + &texts
                .iter()
                .map(|text| (self.text)(text))
                .collect::<String>()
    }

    /// A whole answer.
    pub(super) fn answer(
        &self,
        texts: &[&str],
        calls: &[(&str, &str, &str)],
        stop: &str,
    ) -> String {
        let calls = calls.iter().enumerate();
        let calls = calls.map(|(at, (id, tool, args))| (self.call)(at, id, tool, args));
        self.unfinished(texts) + &calls.collect::<String>() + &(self.finish)(stop, 12, 34)
    }

    /// A streamed reply.
    pub(super) fn reply(&self, body: impl Into<axum::body::Bytes>) -> Reply {
        Reply::new(200, self.content_type, body)
    }

    /// What the server is asked before the question itself.
    pub(super) fn preludes(&self) -> Vec<Reply> {
        let shown = json!({ "model_info": { "llama.context_length": 8192 }, "capabilities": ["completion", "tools"] });
        match self.kind {
            "ollama" => vec![Reply::json(200, &shown)],
            _ => Vec::new(),
        }
    }
}
