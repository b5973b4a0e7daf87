//! How the frames of an answer look.

use anyhow::Result;
use serde_json::Value;

use crate::cli::out::{Level, Style, clean, field, fit, raw};

/// Whether the answer is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// More comes.
    NotYet,
    /// It is whole.
    Done,
    /// It failed; the text says why.
    Failed(String),
}

/// What was shown of one answer.
pub(super) struct View {
    style: Style,
    /// Text shown since the last tool call: the answer's end begins with it.
    streamed: String,
    /// Whether the cursor stands within a line.
    within: bool,
    /// The tool call whose line is not finished.
    open: Option<String>,
}

impl View {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            streamed: String::new(),
            within: false,
            open: None,
        }
    }

    /// Shows one frame.
    pub(super) fn show(&mut self, frame: &Value) -> Result<End> {
        let (text, end) = self.render(frame);
        raw(&text)?;
        Ok(end)
    }

    /// Ends the line that is open: something else is shown now.
    pub(super) fn pause(&mut self) -> Result<()> {
        let text = self.break_line();
        raw(&text)
    }

    fn render(&mut self, frame: &Value) -> (String, End) {
        let text = field(frame, "text");
        let shown = match field(frame, "type") {
            "turn.started" => self.started(frame),
            "text.delta" => self.delta(text),
            "text.reset" => {
                self.streamed.clear();
                self.aside("· this broke off and is begun again")
            }
            "tool.started" => self.tool_started(frame),
            "tool.finished" => self.tool_finished(frame),
            "notice" => self.aside(&format!("· {text}")),
            "message.completed" => return (self.completed(frame), End::Done),
            "turn.failed" => return (self.break_line(), End::Failed(clean(text).into_owned())),
            _ => String::new(),
        };
        (shown, End::NotYet)
    }

    fn started(&mut self, frame: &Value) -> String {
        let attempt = frame.get("attempt").and_then(Value::as_u64).unwrap_or(1);
        self.streamed.clear();
        if attempt > 1 {
            self.aside("· begun again after a restart")
        } else {
            String::new()
        }
    }

    fn delta(&mut self, text: &str) -> String {
        let mut shown = if self.open.is_some() {
            self.break_line()
        } else {
            String::new()
        };
        self.streamed.push_str(text);
        let text = clean(text);
        if !text.is_empty() {
            self.within = !text.ends_with('\n');
        }
        shown.push_str(&text);
        shown
    }

    fn tool_started(&mut self, frame: &Value) -> String {
        let mut shown = self.break_line();
        self.streamed.clear();
        self.open = Some(field(frame, "call_id").to_owned());
        self.within = true;
        shown.push_str(&self.style.dim(&call(frame)));
        shown
    }

    fn tool_finished(&mut self, frame: &Value) -> String {
        let took = frame
            .get("duration_ms")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let status = field(frame, "status");
        let level = if status == "ok" {
            Level::Good
        } else {
            Level::Bad
        };
        let end = format!(" {} {took} ms\n", self.style.mark(level, &clean(status)));
        let begun = self.open.as_deref() == Some(field(frame, "call_id"));
        let mut shown = String::new();
        if !begun {
            shown = self.break_line();
            shown.push_str(&self.style.dim(&call(frame)));
        }
        self.open = None;
        self.within = false;
        shown.push_str(&end);
        shown
    }

    /// What was streamed is most often the answer; else the answer is shown whole.
    fn completed(&mut self, frame: &Value) -> String {
        let text = field(frame, "text");
        let streamed = self.streamed.trim();
        let known = !streamed.is_empty() && text.trim().ends_with(streamed);
        let mut shown = self.break_line();
        if !known && !text.trim().is_empty() {
            shown.push_str(clean(text).trim_end());
            shown.push('\n');
        }
        if field(frame, "status") == "cancelled" {
            shown.push_str(&self.aside("· stopped"));
        }
        shown
    }

    fn aside(&mut self, text: &str) -> String {
        let mut shown = self.break_line();
        shown.push_str(&self.style.dim(&clean(text)));
        shown.push('\n');
        shown
    }

    fn break_line(&mut self) -> String {
        self.open = None;
        if std::mem::take(&mut self.within) {
            "\n".to_owned()
        } else {
            String::new()
        }
    }
}

fn call(frame: &Value) -> String {
    let name = clean(field(frame, "skill")).into_owned();
    match frame
        .get("input")
        .and_then(Value::as_object)
        .filter(|input| !input.is_empty())
    {
        Some(input) => {
            let input = serde_json::to_string(input).unwrap_or_default();
            format!("⚙ {name} {} …", fit(&input, 60))
        }
        None => format!("⚙ {name} …"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(frames: &[Value]) -> (String, End) {
        let mut view = View::new(Style::default());
        let mut all = String::new();
        for frame in frames {
            let (text, end) = view.render(frame);
            all.push_str(&text);
            if end != End::NotYet {
                return (all, end);
            }
        }
        (all, End::NotYet)
    }

    fn delta(text: &str) -> Value {
        json!({ "type": "text.delta", "text": text })
    }

    #[test]
    fn text_and_tools_are_shown_as_they_come() {
        let (text, end) = seen(&[
            json!({ "type": "turn.started", "attempt": 1 }),
            delta("Let me "),
            delta("look."),
            json!({ "type": "tool.started", "call_id": "1", "skill": "shell-run", "input": { "command": "ls" } }),
            json!({ "type": "tool.finished", "call_id": "1", "skill": "shell-run", "status": "ok", "duration_ms": 12 }),
            json!({ "type": "notice", "text": "answered by another model" }),
            delta("Two files."),
            json!({ "type": "message.completed", "text": "Let me look.\n\nTwo files.", "status": "ok" }),
        ]);
        insta::assert_snapshot!(text, @r#"
        Let me look.
        ⚙ shell-run {"command":"ls"} … ok 12 ms
        · answered by another model
        Two files.
        "#);
        assert_eq!(end, End::Done);
    }

    #[test]
    fn an_answer_that_broke_off_is_begun_again() {
        let done = json!({ "type": "message.completed", "text": "All of it.", "status": "ok" });
        let reset = json!({ "type": "text.reset" });
        let (text, _) = seen(&[delta("Half"), reset, delta("All of it."), done]);
        insta::assert_snapshot!(text, @r"
        Half
        · this broke off and is begun again
        All of it.
        ");
    }

    #[test]
    fn tools_side_by_side_keep_their_lines() {
        let tool = |kind: &str, id: &str| json!({ "type": kind, "call_id": id, "skill": format!("s{id}"), "status": "failed", "duration_ms": 1 });
        let (text, _) = seen(&[
            tool("tool.started", "1"),
            tool("tool.started", "2"),
            tool("tool.finished", "1"),
            tool("tool.finished", "2"),
        ]);
        insta::assert_snapshot!(text, @"
        ⚙ s1 …
        ⚙ s2 …
        ⚙ s1 … failed 1 ms
        ⚙ s2 … failed 1 ms
        ");
    }

    #[test]
    fn an_answer_that_was_not_streamed_is_shown_whole_and_a_failure_is_an_error() {
        let done = json!({ "type": "message.completed", "text": "All\u{1b}[2J of it.", "status": "cancelled" });
        assert_eq!(
            seen(&[delta("wrong"), done]).0,
            "wrong\nAll\u{fffd}[2J of it.\n· stopped\n"
        );
        let failed = json!({ "type": "turn.failed", "text": "no model answered" });
        let (text, end) = seen(&[delta("some"), failed]);
        assert_eq!(
            (text.as_str(), end),
            ("some\n", End::Failed("no model answered".to_owned()))
        );
    }
}
