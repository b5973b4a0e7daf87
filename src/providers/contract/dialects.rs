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
    /// Which of its interfaces, where it has several.
    api: Option<&'static str>,
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
    RESPONSES,
    GEMINI,
    openai("openrouter"),
    openai("zai"),
    openai("custom"),
    Dialect {
        kind: "anthropic",
        api: None,
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
        api: None,
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

const RESPONSES: Dialect = Dialect {
    kind: "openai",
    api: Some("responses"),
    content_type: "text/event-stream; charset=utf-8",
    begin: || {
        let response =
            json!({ "id": "resp_1", "object": "response", "status": "in_progress", "output": [] });
        event(&json!({ "type": "response.created", "sequence_number": 0, "response": response }))
            + &event(&json!({ "type": "response.something_new", "x": [1] }))
            + &event(
                &json!({ "type": "response.output_item.added", "output_index": 0,
                "item": { "type": "message", "id": "msg_1", "role": "assistant", "content": [] } }),
            )
    },
    text: |text| {
        event(
            &json!({ "type": "response.output_text.delta", "output_index": 0, "content_index": 0,
            "item_id": "msg_1", "delta": text }),
        )
    },
    call: |at, id, tool, args| {
        let item = |args: &str| json!({ "type": "function_call", "id": "fc", "call_id": id, "name": tool, "arguments": args });
        let start = event(
            &json!({ "type": "response.output_item.added", "output_index": at + 1, "item": item("") }),
        );
        let pieces = args.chars().map(|c| {
            event(&json!({ "type": "response.function_call_arguments.delta", "output_index": at + 1, "delta": c }))
        });
        let pieces: String = pieces.collect();
        // The end of every other call is left out: what came in pieces must do.
        let end = if at % 2 == 0 {
            event(
                &json!({ "type": "response.output_item.done", "output_index": at + 1, "item": item(args) }),
            )
        } else {
            String::new()
        };
        start + &pieces + &end
    },
    finish: |stop, input, output| {
        let usage = json!({ "input_tokens": input, "input_tokens_details": { "cached_tokens": 0 }, "output_tokens": output });
        let cut = stop != "completed";
        let kind = if cut { "incomplete" } else { "completed" };
        let why = if cut {
            json!({ "reason": stop })
        } else {
            Value::Null
        };
        let response = json!({ "object": "response", "status": kind, "error": null,
            "incomplete_details": why, "usage": usage });
        event(&json!({ "type": format!("response.{kind}"), "response": response }))
    },
    length: "max_output_tokens",
    done: "completed",
    error: |code, message| json!({ "type": "error", "error": { "type": code, "message": message } }),
};

const GEMINI: Dialect = Dialect {
    kind: "gemini",
    api: None,
    content_type: "text/event-stream",
    begin: || data(&json!({ "responseId": "x", "somethingNew": [1] })),
    text: |text| {
        data(
            &json!({ "candidates": [{ "index": 0, "content": { "role": "model", "parts": [{ "text": text }] } }] }),
        )
    },
    call: |_, id, tool, args| {
        let args: Value = serde_json::from_str(args).unwrap();
        let part = json!({ "functionCall": { "id": id, "name": tool, "args": args } });
        data(&json!({ "candidates": [{ "content": { "role": "model", "parts": [part] } }] }))
    },
    finish: |stop, input, output| {
        data(
            &json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": "" }] }, "finishReason": stop, "index": 0 }],
            "usageMetadata": { "promptTokenCount": input, "candidatesTokenCount": output, "totalTokenCount": input + output } }),
        )
    },
    length: "MAX_TOKENS",
    done: "STOP",
    error: |code, message| json!({ "error": { "message": message, "status": code } }),
};

const fn openai(kind: &'static str) -> Dialect {
    Dialect {
        kind,
        api: None,
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
        if let Some(api) = self.api {
            settings.insert("api".to_owned(), json!(api));
        }
        if self.kind != "ollama" {
            // With all of this said, nobody is asked for it.
            settings.insert("context_tokens".to_owned(), json!(100_000));
            settings.insert("max_output_tokens".to_owned(), json!(1_000));
            settings.insert("tools".to_owned(), json!(true));
            settings.insert("images".to_owned(), json!(true));
            let price = json!({ "input_per_mtok": "1", "output_per_mtok": "2" });
            settings.insert("price".to_owned(), price);
        }
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
