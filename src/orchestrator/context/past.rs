//! What was said and done before: turn by turn, as much of it as fits.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use uuid::Uuid;

use super::{only_images, while_running};
use crate::{
    orchestrator::{flow, preface::told},
    policy::Flow,
    store::{
        Result, inbox,
        messages::{self, Author, Note},
        turns::{self, Step, StepKind},
    },
    types::{
        Attachment, MessageId, SessionId, TurnId,
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

/// A turn of the past: what was said and done in it, together or not at all.
#[derive(Default)]
pub(super) struct Past {
    pub(super) messages: Vec<Message>,
    tokens: u64,
    flow: Flow,
}

/// The newest turns that fit, oldest first, how many do not, and what those that fit bring in.
pub(super) fn fit(past: Vec<Past>, room: u64) -> (Vec<Message>, usize, Flow) {
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

/// What was said and done in a session besides one turn, derived from what is written: turn by turn in
/// the order in which they began, whenever their messages came.
pub(super) fn past(c: &Connection, session: SessionId, turn: TurnId) -> Result<Vec<Past>> {
    let messages = messages::besides(c, session, turn, LOOK_BACK)?;
    let Some(first) = messages.last().map(|m| m.id) else {
        return Ok(Vec::new());
    };
    let with_files = messages::with_files(c, session, first)?;
    let notes = messages::notes(c, session, first)?;
    let turns = messages.iter().filter_map(|m| m.turn).min();
    let mut steps = match turns {
        Some(from) => turns::steps_with_tools(c, session, from)?,
        None => HashMap::new(),
    };
    let joined = inbox::joined(c, session, first)?;
    let mut all: BTreeMap<Uuid, Vec<messages::Message>> = BTreeMap::new();
    for message in messages.into_iter().rev() {
        // A reminder stands for itself.
        let place = message.turn.map_or(message.id.0, |turn| turn.0);
        all.entry(place).or_default().push(message);
    }
    let mut past = Vec::new();
    for (turn, said) in all {
        let steps = steps.remove(&TurnId(turn)).unwrap_or_default();
        let images = |id: MessageId| -> Result<Vec<Attachment>> {
            if with_files.contains(&id) {
                return Ok(only_images(messages::attachments(c, id)?));
            }
            Ok(Vec::new())
        };
        past.push(one_turn(said, &steps, (&joined, &notes), images)?);
    }
    Ok(past)
}

/// One turn: what it was asked, what it did and was told meanwhile, what it answered.
fn one_turn(
    said: Vec<messages::Message>,
    steps: &[Step],
    (joined, notes): (&HashMap<MessageId, u32>, &HashMap<MessageId, Note>),
    images: impl Fn(MessageId) -> Result<Vec<Attachment>>,
) -> Result<Past> {
    let mut turn = Past::default();
    turn.flow.take_in(flow::of_steps(steps));
    let (mut meanwhile, mut answers) = (Vec::new(), Vec::new());
    for message in said {
        let note = notes.get(&message.id);
        if note.is_some_and(|note| note.deleted_at.is_some()) {
            turn.push(deleted());
            continue;
        }
        let quoted = note.and_then(|note| note.quoted.as_deref());
        turn.flow.take_in(flow::of_message(&message, quoted));
        match message.author {
            Author::Assistant => answers.push(Message::Assistant {
                text: answer(&message),
                calls: Vec::new(),
                reasoning: None,
            }),
            Author::User => {
                let images = images(message.id)?;
                let preface = note.map_or("", |note| &note.preface);
                let text = told(preface, &message.text);
                match joined.get(&message.id) {
                    Some(before) => meanwhile.push((*before, while_running(&text, images))),
                    None => turn.push(Message::User { text, images }),
                }
            }
        }
    }
    // Steps without the beginning of their turn have nothing that they answer.
    if !turn.messages.is_empty() {
        for step in called(steps, &meanwhile) {
            turn.push(shortened(step));
        }
    }
    for answer in answers {
        turn.push(answer);
    }
    Ok(turn)
}

/// What stands where a message was that its sender deleted.
fn deleted() -> Message {
    Message::User {
        text: "(From Nexflow: a message that stood here was deleted by its sender.)".to_owned(),
        images: Vec::new(),
    }
}

/// What was done in a turn up to its last result, and what it was told meanwhile: what was said after
/// that is the answer, which is a message of its own.
fn called(steps: &[Step], joined: &[(u32, Message)]) -> Vec<Message> {
    let mut done = said_in(steps, joined);
    let until = done
        .iter()
        .rposition(|m| matches!(m, Message::Result { .. } | Message::User { .. }));
    done.truncate(until.map_or(0, |n| n + 1));
    done
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
        // No provider wants back what was thought in an earlier turn.
        Message::Assistant { calls, .. } => Message::Assistant {
            text: String::new(),
            calls,
            reasoning: None,
        },
        other @ Message::User { .. } => other,
    }
}

/// Steps as a conversation: each answer with its calls, then the result of each call, then what was said
/// meanwhile.
pub(in crate::orchestrator) fn said_in(steps: &[Step], joined: &[(u32, Message)]) -> Vec<Message> {
    let mut said = Vec::new();
    let mut open: Vec<Call> = Vec::new();
    let mut joined = joined.iter().peekable();
    for step in steps {
        while let Some((_, message)) = joined.next_if(|(before, _)| *before <= step.ordinal) {
            said.push(message.clone());
        }
        match &step.kind {
            StepKind::Model {
                text,
                calls,
                reasoning,
                ..
            } if step.status == CallStatus::Ok => {
                open.clone_from(calls);
                said.push(Message::Assistant {
                    text: text.clone(),
                    calls: calls.clone(),
                    reasoning: reasoning.clone(),
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
    said.extend(joined.map(|(_, message)| message.clone()));
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
        Message::Assistant { text, calls, .. } => {
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
            reasoning: None,
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
