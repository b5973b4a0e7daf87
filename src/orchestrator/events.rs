//! What a turn tells the analytics: states, names and numbers, never texts.

use serde_json::json;

use super::work::Work;
use crate::{
    store::{
        Result, Tx,
        analytics::{self, About, Event},
        approvals::{self, Approval, Kind, Ruling},
        inbox::{self, State},
        turns::{Said, Turn},
    },
    tools::Done,
    types::{Inbound, MessageId, SessionId, Timestamp, UserId, chat::Call},
};

impl Work {
    /// What its events belong to.
    pub(super) fn about(&self) -> About {
        About::turn(self.turn.session, self.turn.id, self.asked.user)
    }
}

/// A message was accepted.
pub(super) fn received(
    tx: &Tx<'_>,
    (id, session): (MessageId, SessionId),
    message: &Inbound,
    now: Timestamp,
) -> Result<()> {
    let about = About {
        session: Some(session),
        turn: None,
        user: inbox::get(tx, id)?.map(|row| row.user),
    };
    let channel = &message.from.connector;
    let what = json!({ "channel": channel, "bytes": message.text.len(), "attachments": message.attachments.len() });
    analytics::record(tx, Event::MessageReceived, about, &what, now)
}

/// A model is asked.
pub(super) fn asked(tx: &Tx<'_>, about: About, ordinal: u32, now: Timestamp) -> Result<()> {
    analytics::record(
        tx,
        Event::AiRequest,
        about,
        &json!({ "step": ordinal }),
        now,
    )
}

/// A model is asked for the first time in a turn.
pub(super) fn begun(tx: &Tx<'_>, turn: &Turn, user: UserId, now: Timestamp) -> Result<()> {
    asked(tx, About::turn(turn.session, turn.id, user), 0, now)
}

/// A model answered.
pub(super) fn said(tx: &Tx<'_>, about: About, said: &Said, now: Timestamp) -> Result<()> {
    let what = json!({ "model": said.name, "calls": said.calls.len(), "bytes": said.text.len(),
                       "input_tokens": said.usage.input_tokens, "output_tokens": said.usage.output_tokens });
    analytics::record(tx, Event::AiResponse, about, &what, now)
}

/// A call that changes something ran.
pub(super) fn applied(
    tx: &Tx<'_>,
    about: About,
    (call, done, took_ms): (&Call, &Done, u64),
    now: Timestamp,
) -> Result<()> {
    let what = json!({ "tool": call.tool, "status": done.status, "duration_ms": took_ms });
    analytics::record(tx, Event::AiApply, about, &what, now)
}

/// A turn ended.
pub(super) fn ended(
    tx: &Tx<'_>,
    about: About,
    (turn, state, error): (&Turn, State, Option<&'static str>),
    now: Timestamp,
) -> Result<()> {
    let took = u64::try_from(now.since(turn.started_at).as_millis()).unwrap_or(u64::MAX);
    if let Some(code) = error {
        analytics::record(tx, Event::AiError, about, &json!({ "code": code }), now)?;
    }
    let channel = &turn.reply_to.connector;
    let what = json!({ "state": state.as_str(), "channel": channel, "attempt": turn.attempt, "duration_ms": took });
    analytics::record(tx, Event::MessageAnswered, about, &what, now)
}

/// A person is asked about a call or a plan.
pub(super) fn question(tx: &Tx<'_>, question: &Approval, now: Timestamp) -> Result<()> {
    let event = match question.kind {
        Kind::Plan => Event::AgentPlanCreated,
        Kind::Call => Event::ApprovalRequested,
    };
    let what = json!({ "tool": question.tool, "gated": question.gated });
    analytics::record(tx, event, about_question(question), &what, now)
}

/// A question was settled, by a person or by time.
pub(super) fn settled(
    tx: &Tx<'_>,
    question: &Approval,
    ruling: &Ruling,
    now: Timestamp,
) -> Result<()> {
    let event = match (question.kind, ruling.state) {
        (Kind::Plan, approvals::State::Approved) => Event::AgentPlanApproved,
        (Kind::Plan, _) => Event::AgentPlanRejected,
        (Kind::Call, _) => Event::ApprovalDecided,
    };
    let what = json!({ "tool": question.tool, "state": ruling.state.as_str(), "decision": ruling.decision,
                       "via": ruling.via, "waited_ms": now.since(question.created_at).as_millis() });
    analytics::record(tx, event, about_question(question), &what, now)
}

fn about_question(question: &Approval) -> About {
    About::turn(question.session_id, question.turn_id, question.user_id)
}
