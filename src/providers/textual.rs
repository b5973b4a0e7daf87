//! Tools for a model that has none: they are described to it in words, it asks for them in a fenced
//! block of its answer, and results come back as text.
//!
//! Knows no provider: a request becomes another request, an answer another answer.

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{Answer, Request, conversation};
use crate::types::chat::{Call, Delta, Message};

/// How a block is opened, and closed.
const OPEN: &str = "```tool_call";
const CLOSE: &str = "```";

/// A block may not grow beyond this.
const LONGEST: usize = 1 << 20;

/// The request without tools, that says the same in words.
pub(super) fn request(request: &Request) -> Request {
    let mut system = request.system.clone();
    let tools: Vec<String> = conversation::tools(request)
        .map(|tool| {
            let schema = conversation::parameters(tool);
            format!(
                "## {}\n{}\nInput, as JSON Schema: {schema}",
                tool.name, tool.description
            )
        })
        .collect();
    if !tools.is_empty() {
        system.push_str(&format!(
            "\n\n# Tools\nTo use a tool, write a block like this, and end your answer after it:\n\n\
             {OPEN}\n{{\"tool\": \"NAME\", \"args\": {{}}}}\n{CLOSE}\n\n\
             `args` is an object that fits the tool's schema. For several tools write several blocks. \
             The results come in the next message; never make them up. Without a block, your answer \
             goes to the person.\n\n{}",
            tools.join("\n\n")
        ));
    }
    Request {
        system,
        messages: request.messages.iter().map(message).collect(),
        tools: Vec::new(),
        ..request.clone()
    }
}

fn message(message: &Message) -> Message {
    match message {
        Message::Assistant { text, calls, .. } => {
            let blocks = calls.iter().map(|call| {
                let call = json!({ "tool": call.tool, "args": call.args });
                format!("\n{OPEN}\n{call}\n{CLOSE}")
            });
            Message::Assistant {
                text: text.clone() + &blocks.collect::<String>(),
                calls: Vec::new(),
                reasoning: None,
            }
        }
        Message::Result {
            tool, text, failed, ..
        } => {
            let how = if *failed { "failed" } else { "gave" };
            Message::User {
                text: format!("(The tool `{tool}` {how}:)\n{text}"),
                images: Vec::new(),
            }
        }
        other @ Message::User { .. } => other.clone(),
    }
}

/// The answer with calls where blocks were.
pub(super) fn answer(answer: Answer) -> Answer {
    let state = (answer, Scanner::default(), Vec::new().into_iter());
    let next = |(mut answer, mut scanner, mut ready): (Answer, Scanner, std::vec::IntoIter<_>)| async move {
        loop {
            if let Some(delta) = ready.next() {
                return Some((delta, (answer, scanner, ready)));
            }
            let mut out = Vec::new();
            match answer.next().await? {
                Ok(Delta::Text(piece)) => {
                    scanner.push(&piece, &mut out);
                    ready = out.into_iter().map(Ok).collect::<Vec<_>>().into_iter();
                }
                Ok(done @ Delta::Done { .. }) => {
                    scanner.finish(&mut out);
                    out.push(done);
                    ready = out.into_iter().map(Ok).collect::<Vec<_>>().into_iter();
                }
                other => ready = vec![other].into_iter(),
            }
        }
    };
    stream::unfold(state, next).boxed()
}

/// Tells text from blocks, however they are cut.
#[derive(Default)]
struct Scanner {
    /// The line that may still become a fence, or the line inside a block.
    line: String,
    /// Whether the line so far was said already: it began as something else.
    passing: bool,
    /// The lines of an open block.
    block: Option<String>,
    /// What follows the first call is not said: it could only make results up.
    called: bool,
}

impl Scanner {
    fn push(&mut self, piece: &str, out: &mut Vec<Delta>) {
        for part in piece.split_inclusive('\n') {
            if self.block.is_some() {
                self.inside(part, out);
            } else {
                self.outside(part, out);
            }
        }
    }

    fn outside(&mut self, part: &str, out: &mut Vec<Delta>) {
        let ends = part.ends_with('\n');
        if self.passing {
            self.say(part, out);
            self.passing = !ends;
            return;
        }
        self.line.push_str(part);
        let line = self.line.trim_start_matches([' ', '\t']);
        if let Some(rest) = line.strip_prefix(OPEN) {
            // What stands on the same line belongs to the block.
            let rest = rest.to_owned();
            self.line.clear();
            self.block = Some(String::new());
            self.inside(&rest, out);
        } else if ends || !OPEN.starts_with(line) {
            let line = std::mem::take(&mut self.line);
            self.say(&line, out);
            self.passing = !ends;
        }
    }

    fn inside(&mut self, part: &str, out: &mut Vec<Delta>) {
        self.line.push_str(part);
        if !self.line.ends_with('\n') {
            return;
        }
        let line = std::mem::take(&mut self.line);
        let Some(block) = &mut self.block else { return };
        match line.trim_end().strip_suffix(CLOSE) {
            Some(last) => {
                block.push_str(last);
                self.close(out);
            }
            None if block.len() + line.len() > LONGEST => self.close(out),
            None => block.push_str(&line),
        }
    }

    fn close(&mut self, out: &mut Vec<Delta>) {
        let block = self.block.take().unwrap_or_default();
        self.called = true;
        out.extend(calls(block.trim()).into_iter().map(Delta::Call));
    }

    fn finish(&mut self, out: &mut Vec<Delta>) {
        let line = std::mem::take(&mut self.line);
        match &mut self.block {
            Some(block) => {
                let line = line.trim_end();
                block.push_str(line.strip_suffix(CLOSE).unwrap_or(line));
                self.close(out);
            }
            None => self.say(&line, out),
        }
    }

    fn say(&self, text: &str, out: &mut Vec<Delta>) {
        if !self.called && !text.is_empty() {
            out.push(Delta::Text(text.to_owned()));
        }
    }
}

/// The calls of a block. One that cannot be read is a call with its text as arguments, which the model
/// is told about.
fn calls(block: &str) -> Vec<Call> {
    if block.is_empty() {
        return Vec::new();
    }
    match serde_json::from_str(block) {
        Ok(Value::Array(all)) => all.into_iter().map(call).collect(),
        Ok(one @ Value::Object(_)) => vec![call(one)],
        _ => {
            // Several objects, one a line.
            let lines: Result<Vec<Value>, _> = block.lines().map(serde_json::from_str).collect();
            match lines {
                Ok(all) => all.into_iter().map(call).collect(),
                Err(_) => vec![Call {
                    id: conversation::new_id(),
                    tool: named(block).unwrap_or("tool_call").to_owned(),
                    args: Value::String(block.to_owned()),
                }],
            }
        }
    }
}

fn call(mut value: Value) -> Call {
    let names = ["tool", "name", "function"];
    let tool = names.iter().find_map(|key| value.get(key)?.as_str());
    let tool = tool.unwrap_or("tool_call").to_owned();
    let args = ["args", "arguments", "input", "parameters"];
    let args = args.iter().find_map(|key| Some(value.get_mut(key)?.take()));
    Call {
        id: conversation::new_id(),
        tool,
        args: match args {
            Some(Value::String(text)) => conversation::arguments(text),
            Some(Value::Null) | None => json!({}),
            Some(args) => args,
        },
    }
}

/// The name in a block that is not JSON.
fn named(block: &str) -> Option<&str> {
    let (_, rest) = block.split_once("\"tool\"")?;
    let (_, rest) = rest.split_once('"')?;
    let (name, _) = rest.split_once('"')?;
    Some(name)
}

#[cfg(test)]
mod tests;
