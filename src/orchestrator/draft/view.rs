//! What a draft shows: the frames of a turn, as text and one line about what happens now.

use crate::{
    store::turns::{Step, StepKind},
    types::{
        frame::{Body, CallStatus},
        text::{clean, shorten},
    },
};

/// Text is kept up to this many bytes; of more, the end.
const TEXT: usize = 32 << 10;
/// Calls that are named; there may be more.
const NAMED: usize = 4;
/// What is shown of a word about progress, and of a notice, in bytes.
const WORD: usize = 80;
const NOTICE: usize = 200;

/// A turn as it stands.
#[derive(Debug, Default, PartialEq)]
pub(super) struct View {
    text: String,
    /// Where the text of the current step begins.
    step: usize,
    calls: Vec<Call>,
    notice: String,
}

/// A call that is not done.
#[derive(Debug, PartialEq)]
struct Call {
    id: String,
    tool: String,
    /// For a person.
    waits: bool,
    progress: Option<f64>,
    word: String,
}

impl View {
    /// What was done before, from the steps that are written.
    pub(super) fn of(steps: &[Step]) -> Self {
        let mut view = Self::default();
        for step in steps {
            match &step.kind {
                StepKind::Model { text, .. } if step.status == CallStatus::Ok => {
                    view.end_step();
                    view.say(text);
                }
                StepKind::Model { .. } => {}
                StepKind::Tool { call, .. } => match step.status {
                    CallStatus::Running => view.begin(&call.id, &call.tool, false),
                    CallStatus::Waiting => view.begin(&call.id, &call.tool, true),
                    _ => {}
                },
            }
        }
        view.end_step();
        view
    }

    /// Takes a frame in. Whether it changed something.
    pub(super) fn apply(&mut self, body: &Body) -> bool {
        match body {
            Body::Text { text, .. } => self.say(text),
            Body::Reset { .. } => {
                let longer = self.text.len() > self.step;
                self.text.truncate(self.step);
                return longer;
            }
            Body::ToolStarted { call_id, skill, .. } => {
                self.end_step();
                self.begin(call_id, skill, false);
            }
            Body::ApprovalRequested { call_id, .. } | Body::PlanProposed { call_id, .. } => {
                self.waits(call_id, true);
            }
            Body::ApprovalResolved { call_id, .. } => self.waits(call_id, false),
            Body::ToolOutput {
                call_id,
                text,
                progress,
                ..
            } => return self.progress(call_id, text, *progress),
            Body::ToolFinished { call_id, .. } => self.calls.retain(|call| call.id != *call_id),
            Body::Notice { text, .. } => self.notice = line(text, NOTICE),
            _ => return false,
        }
        true
    }

    fn say(&mut self, text: &str) {
        if self.step > 0 && self.text.len() == self.step && !text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.text.push_str(text);
        if self.text.len() > TEXT {
            // Half of it goes, so that this is rare.
            let mut from = self.text.len() - TEXT / 2;
            while !self.text.is_char_boundary(from) {
                from += 1;
            }
            self.text.drain(..from);
            self.step = self.step.saturating_sub(from);
        }
    }

    fn end_step(&mut self) {
        self.step = self.text.trim_end().len();
        self.text.truncate(self.step);
    }

    fn begin(&mut self, id: &str, tool: &str, waits: bool) {
        self.calls.retain(|call| call.id != id);
        self.calls.push(Call {
            id: id.to_owned(),
            tool: tool.to_owned(),
            waits,
            progress: None,
            word: String::new(),
        });
    }

    fn waits(&mut self, id: &str, waits: bool) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.id == id) {
            call.waits = waits;
        }
    }

    /// Only what says how far it is: what a program prints is no status.
    fn progress(&mut self, id: &str, text: &str, progress: Option<f64>) -> bool {
        let call = self.calls.iter_mut().find(|call| call.id == id);
        let (Some(call), Some(_)) = (call, progress) else {
            return false;
        };
        call.progress = progress;
        call.word = line(text, WORD);
        true
    }

    /// What the answer says so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What happens now; empty while the model writes.
    pub(super) fn status(&self) -> String {
        let names = |waits: bool| {
            let those = self.calls.iter().filter(|call| call.waits == waits);
            let mut named: Vec<String> = those.clone().take(NAMED).map(Call::named).collect();
            let more = those.count().saturating_sub(NAMED);
            if more > 0 {
                named.push(format!("{more} more"));
            }
            named.join(", ")
        };
        let (runs, waits) = (names(false), names(true));
        let mut parts = Vec::new();
        if !runs.is_empty() {
            parts.push(format!("Running {runs} …"));
        }
        if !waits.is_empty() {
            parts.push(format!("Waiting for a decision about {waits}"));
        }
        if !self.notice.is_empty() {
            parts.push(self.notice.clone());
        }
        parts.join(" · ")
    }

    /// Whether there is something to show.
    pub(super) fn is_empty(&self) -> bool {
        self.text.trim().is_empty() && self.calls.is_empty() && self.notice.is_empty()
    }

    /// Whether nothing happens before somebody decides.
    pub(super) fn rests(&self) -> bool {
        !self.calls.is_empty() && self.calls.iter().all(|call| call.waits)
    }
}

impl Call {
    fn named(&self) -> String {
        let mut named = format!("`{}`", self.tool.replace('`', ""));
        let progress = self.progress.map(|p| format!("{:.0} %", p * 100.0));
        let known = [progress.unwrap_or_default(), self.word.clone()];
        let known: Vec<String> = known.into_iter().filter(|k| !k.is_empty()).collect();
        if !known.is_empty() {
            named.push_str(&format!(" ({})", known.join(", ")));
        }
        named
    }
}

/// The last line of it.
fn line(text: &str, limit: usize) -> String {
    let text = clean(text);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    shorten(last.unwrap_or_default().trim(), limit)
}
