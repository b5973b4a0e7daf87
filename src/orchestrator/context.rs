//! What a model is told: who it is, what it may use, what was said before, as much as fits.

use rusqlite::Connection;

use super::{flow, work::Work};
use crate::{
    policy::Flow,
    store::{
        Result,
        memories::Hit,
        messages::{self, Author},
        turns::{self, Step, StepKind},
    },
    types::{
        Attachment, MessageId, SessionId,
        chat::{Call, Message, estimate_tokens},
        frame::CallStatus,
        text::head_and_tail,
    },
};

/// Messages looked at when the past is gathered.
const LOOK_BACK: u32 = 200;
/// Tokens that an image counts as.
const IMAGE: u64 = 1600;
/// A tool result of an earlier turn is shortened to this many bytes.
const OLD_RESULT: usize = 4000;

/// The part of a request that stays the same through a turn.
pub(super) struct Context {
    pub(super) system: String,
    /// The past, and the message that is being answered.
    pub(super) past: Vec<Message>,
    /// What of that is private, and what somebody else wrote.
    pub(super) flow: Flow,
}

/// A turn of the past: what was said and done in it, together or not at all.
#[derive(Default)]
struct Past {
    messages: Vec<Message>,
    tokens: u64,
    flow: Flow,
}

/// Gathers the context of a turn.
pub(super) async fn gather(work: &Work) -> Result<Context> {
    let parts = &work.core.parts;
    let files = images(work).await?;
    let asked = Message::User {
        text: work.asked.text.clone(),
        images: files,
    };
    let mut flow = asked_flow(work).await?;
    if work.by_command() {
        return Ok(Context {
            system: String::new(),
            past: vec![asked],
            flow,
        });
    }
    let about = parts.live().providers.pick().await.about();
    if about.offline {
        return Ok(Context {
            system: String::new(),
            past: vec![asked],
            flow,
        });
    }
    let (id, session) = (work.asked.id, work.turn.session);
    let hits = parts
        .kit
        .memory
        .recall(work.place.person, &work.asked.text, (id, session))
        .await?;
    let (system, profile) = work.core.prompts.system(&work.toolbox);
    let mut now = volatile(work, &hits);
    let fixed = estimate_tokens(&system)
        + estimate_tokens(&now)
        + estimate_tokens(&work.asked.text)
        + work.toolbox.tokens()
        + u64::from(parts.live().turns.max_output_tokens);
    // Results of this turn's tools need room too.
    let room = u64::from(about.context_tokens).saturating_sub(fixed) * 3 / 4;
    let past = parts.store.read(move |c| past(c, session, id)).await?;
    let (mut messages, dropped, earlier) = fit(past, room);
    flow.take_in(earlier);
    let remembered = (!hits.is_empty()).then_some("what is kept in memory");
    flow.take_in(Flow {
        untrusted: None,
        private: remembered.or(profile).map(str::to_owned),
    });
    if dropped > 0 {
        tracing::info!(dropped, "earlier turns do not fit the model's window");
        now.push_str(&format!("\n{dropped} earlier turns of this conversation are left out because they do not fit; use `recall` to search them."));
    }
    messages.push(Message::User {
        text: now,
        images: Vec::new(),
    });
    messages.push(asked);
    Ok(Context {
        system,
        past: messages,
        flow,
    })
}

/// What changes from message to message, kept apart from what a provider can cache.
fn volatile(work: &Work, hits: &[Hit]) -> String {
    let schedules = &work.core.parts.kit.schedules;
    let now = work
        .core
        .parts
        .clock
        .now()
        .utc()
        .with_timezone(&schedules.zone());
    let mut text = format!(
        "(From Nexflow, not from the person. Now: {} {}. Channel: {}.",
        now.format("%A %Y-%m-%d %H:%M"),
        schedules.zone().name(),
        work.turn.reply_to.connector,
    );
    if !hits.is_empty() {
        text.push_str(" Possibly relevant from memory:");
        for hit in hits {
            let source = match hit.kind {
                "fact" => "kept fact".to_owned(),
                _ => format!("said {} in another conversation", schedules.show(hit.at)),
            };
            text.push_str(&format!("\n- {} [{source}]", hit.text));
        }
        text.push('\n');
    }
    text.push(')');
    text
}

async fn images(work: &Work) -> Result<Vec<Attachment>> {
    let id = work.asked.id;
    let store = &work.core.parts.store;
    let files = store.read(move |c| messages::attachments(c, id)).await?;
    Ok(only_images(files))
}

/// What the message that is answered brings in.
async fn asked_flow(work: &Work) -> Result<Flow> {
    let id = work.asked.id;
    let asked = work
        .core
        .parts
        .store
        .read(move |c| messages::get(c, id))
        .await?;
    Ok(asked.as_ref().map(flow::of_message).unwrap_or_default())
}

/// The newest turns that fit, oldest first, how many do not, and what those that fit bring in.
fn fit(past: Vec<Past>, room: u64) -> (Vec<Message>, usize, Flow) {
    let mut used = 0;
    let mut first = past.len();
    for (n, turn) in past.iter().enumerate().rev() {
        if used + turn.tokens > room {
            break;
        }
        used += turn.tokens;
        first = n;
    }
    let mut flow = Flow::default();
    let mut messages = Vec::new();
    for turn in past.into_iter().skip(first) {
        messages.extend(turn.messages);
        flow.take_in(turn.flow);
    }
    (messages, first, flow)
}

/// The turns of a session before a message, derived from what is written.
fn past(c: &Connection, session: SessionId, before: MessageId) -> Result<Vec<Past>> {
    let mut all: Vec<Past> = Vec::new();
    let messages = messages::latest(c, session, Some(before), LOOK_BACK)?;
    let Some(first) = messages.first().map(|m| m.id) else {
        return Ok(all);
    };
    let with_files = messages::with_files(c, session)?;
    let mut steps = turns::steps_with_tools(c, session, first)?;
    for message in messages {
        match message.author {
            Author::User => {
                let mut turn = Past {
                    flow: flow::of_message(&message),
                    ..Past::default()
                };
                let mut images = Vec::new();
                if with_files.contains(&message.id) {
                    images = only_images(messages::attachments(c, message.id)?);
                }
                turn.push(Message::User {
                    text: message.text,
                    images,
                });
                let done = message.turn.and_then(|id| steps.remove(&id));
                let done = done.unwrap_or_default();
                turn.flow.take_in(flow::of_steps(&done));
                for step in called(&done) {
                    turn.push(shortened(step));
                }
                all.push(turn);
            }
            Author::Assistant => {
                let turn = match all.last_mut() {
                    Some(turn) if message.turn.is_some() => turn,
                    _ => {
                        all.push(Past::default());
                        let Some(new) = all.last_mut() else { continue };
                        new
                    }
                };
                turn.push(Message::Assistant {
                    text: answer(&message),
                    calls: Vec::new(),
                });
            }
        }
    }
    Ok(all)
}

/// What was done in a turn up to its last result: what was said after that is the answer, which is a
/// message of its own.
fn called(steps: &[Step]) -> Vec<Message> {
    let mut done = said_in(steps);
    let until = done
        .iter()
        .rposition(|m| matches!(m, Message::Result { .. }));
    done.truncate(until.map_or(0, |n| n + 1));
    done
}

fn only_images(mut files: Vec<Attachment>) -> Vec<Attachment> {
    files.retain(|f| f.media_type.starts_with("image/"));
    files
}

/// With tool calls the answer repeats what was said between them; the steps have that.
fn answer(message: &messages::Message) -> String {
    match message.status.as_str() {
        "failed" => format!("(This turn failed: {})", message.text),
        _ => message.text.clone(),
    }
}

fn shortened(message: Message) -> Message {
    match message {
        Message::Result {
            call,
            tool,
            text,
            failed,
        } => Message::Result {
            call,
            tool,
            text: head_and_tail(&text, OLD_RESULT),
            failed,
        },
        Message::Assistant { calls, .. } => Message::Assistant {
            text: String::new(),
            calls,
        },
        other @ Message::User { .. } => other,
    }
}

/// Steps as a conversation: each answer with its calls, then the result of each call.
pub(super) fn said_in(steps: &[Step]) -> Vec<Message> {
    let mut said = Vec::new();
    let mut open: Vec<Call> = Vec::new();
    for step in steps {
        match &step.kind {
            StepKind::Model { text, calls, .. } if step.status == CallStatus::Ok => {
                open.clone_from(calls);
                said.push(Message::Assistant {
                    text: text.clone(),
                    calls: calls.clone(),
                });
            }
            // A result without its call has no place in a conversation.
            StepKind::Tool { call, output, .. } if open.iter().any(|c| c.id == call.id) => {
                said.push(Message::Result {
                    call: call.id.clone(),
                    tool: call.tool.clone(),
                    text: output.clone(),
                    failed: step.status != CallStatus::Ok,
                });
            }
            // Lost model calls, and results whose call is unknown.
            StepKind::Model { .. } | StepKind::Tool { .. } => {}
        }
    }
    said
}

impl Past {
    fn push(&mut self, message: Message) {
        self.tokens += tokens(&message);
        self.messages.push(message);
    }
}

fn tokens(message: &Message) -> u64 {
    4 + match message {
        Message::User { text, images } => estimate_tokens(text) + IMAGE * images.len() as u64,
        Message::Assistant { text, calls } => {
            let of_calls = calls
                .iter()
                .map(|c| estimate_tokens(&c.args.to_string()) + 8);
            estimate_tokens(text) + of_calls.sum::<u64>()
        }
        Message::Result { text, .. } => estimate_tokens(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(text: &str) -> Past {
        let mut past = Past::default();
        past.push(Message::User {
            text: text.to_owned(),
            images: Vec::new(),
        });
        past.push(Message::Assistant {
            text: "ok".to_owned(),
            calls: Vec::new(),
        });
        past
    }

    #[test]
    fn whole_turns_are_left_out_the_oldest_first() {
        let past = || vec![turn("first"), turn(&"long ".repeat(100)), turn("last")];
        let all: u64 = past().iter().map(|t| t.tokens).sum();
        assert_eq!(fit(past(), all).1, 0);
        let (kept, dropped, _) = fit(past(), all - 1);
        assert_eq!((kept.len(), dropped), (4, 1));
        let (kept, dropped, _) = fit(past(), 20);
        assert_eq!((kept.len(), dropped), (2, 2));
        assert!(matches!(kept.first(), Some(Message::User { text, .. }) if text == "last"));
        assert_eq!(fit(past(), 0).0.len(), 0);
    }
}
