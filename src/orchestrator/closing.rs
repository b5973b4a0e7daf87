//! Ending a turn: one transaction writes the answer, closes turn and message, and puts the answer in
//! the outbox.

use serde_json::Value;

use super::{
    decide, deliver,
    work::{Limit, Work},
};
use crate::{
    providers::About,
    store::{
        Result, Tx, frames,
        inbox::{self, State},
        messages::{self, Author, Message},
        outbox::{self, Parcel},
        sessions,
        turns::{self, End, Said, StepKind},
        usage,
    },
    types::{
        MessageId, StepId, Timestamp, TurnId,
        frame::{Body, CallStatus, ErrorInfo, UsageInfo},
    },
};

/// Frames of a session are pruned once in so many turns.
const PRUNE: u64 = 64;

/// What is written at the end.
struct Answer {
    state: State,
    text: String,
    provider: String,
    model: String,
    error: Option<(&'static str, String)>,
    /// The model call that gave the answer.
    said: Option<(StepId, Said, usage::Spent)>,
    notice: Option<String>,
}

/// What a model is told when a ceiling is reached.
pub(super) fn last_word(limit: Limit) -> String {
    let which = match limit {
        Limit::Steps => "number of steps",
        Limit::Time => "time",
    };
    format!(
        "(From Nexflow: this turn reached its limit on {which}. No more tools can be called. Answer now with what you have, and say what is left undone.)"
    )
}

/// The model answered.
pub(super) async fn answered(
    work: &mut Work,
    said: Said,
    about: About,
    last: Option<Limit>,
) -> Result<()> {
    let Some(step) = work.open.take() else {
        return Ok(());
    };
    let spent = work.spent(step, &said, &about);
    let text = all_text(work, &said.text);
    let text = if text.trim().is_empty() {
        "(The model gave an empty answer.)".to_owned()
    } else {
        text
    };
    let notice = last.map(|limit| match limit {
        Limit::Steps => "This turn reached its limit on steps (turns.max_steps).".to_owned(),
        Limit::Time => "This turn reached its limit on time (turns.max_seconds).".to_owned(),
    });
    let answer = Answer {
        state: State::Answered,
        text,
        provider: about.name.clone(),
        model: about.model.clone(),
        error: None,
        said: Some((step, said, spent)),
        notice,
    };
    close(work, answer).await
}

/// The person stopped it.
pub(super) async fn cancelled(work: &mut Work, text: &str) -> Result<()> {
    let said = all_text(work, text);
    let done: Vec<String> = work
        .steps
        .iter()
        .filter_map(|s| match &s.kind {
            StepKind::Tool { call, .. } => Some(format!("`{}` ({})", call.tool, s.status.as_str())),
            StepKind::Model { .. } => None,
        })
        .collect();
    let done = if done.is_empty() {
        String::new()
    } else {
        format!(" Done by then: {}.", done.join(", "))
    };
    let text = format!("{said}\n\n*Stopped.{done}*")
        .trim_start()
        .to_owned();
    let answer = Answer {
        state: State::Cancelled,
        text,
        provider: String::new(),
        model: String::new(),
        error: None,
        said: None,
        notice: None,
    };
    close(work, answer).await
}

/// It failed; the answer says so.
pub(super) async fn failed(work: &mut Work, (code, text): (&'static str, &str)) -> Result<()> {
    tracing::warn!(code, "the turn failed");
    let answer = Answer {
        state: State::Failed,
        text: crate::types::secret::mask(text).into_owned(),
        provider: String::new(),
        model: String::new(),
        error: Some((code, text.to_owned())),
        said: None,
        notice: None,
    };
    close(work, answer).await
}

/// It ended without an answer: writes one, unless there is one after all.
pub(super) async fn failed_if_open(work: &mut Work, why: (&'static str, &str)) -> Result<()> {
    let turn = work.turn.id;
    let found = work
        .core
        .parts
        .store
        .read(move |c| turns::get(c, turn))
        .await?;
    match found {
        Some(turn) if turn.state == "running" => failed(work, why).await,
        _ => Ok(()),
    }
}

/// What the model said in all of the turn.
fn all_text(work: &Work, last: &str) -> String {
    let earlier = work.steps.iter().filter_map(|s| match &s.kind {
        StepKind::Model { text, .. } if s.status == CallStatus::Ok => Some(text.as_str()),
        _ => None,
    });
    let said: Vec<&str> = earlier
        .chain([last])
        .filter(|t| !t.trim().is_empty())
        .collect();
    said.join("\n\n")
}

async fn close(work: &mut Work, answer: Answer) -> Result<()> {
    let now = work.core.parts.clock.now();
    let id = MessageId::new();
    let parcel = deliver::parcel(&work.core, parcel(work, id, &answer.text, now), now);
    let reads_session = parcel.finished_at.is_some();
    let lost = work.open.take();
    let turn = work.turn.clone();
    let state = answer.state;
    let running: Vec<(StepId, Body)> = work
        .steps
        .iter()
        .filter(|s| matches!(s.status, CallStatus::Running | CallStatus::Waiting))
        .filter_map(|s| stopped_call(work, s))
        .collect();
    let write = work.core.parts.store.write(move |tx| {
        let end = End {
            state: match answer.state {
                State::Cancelled => "cancelled",
                State::Failed => "failed",
                _ => "answered",
            },
            provider: answer.provider.clone(),
            model: answer.model.clone(),
            error: answer.error.as_ref().map(|(code, _)| (*code).to_owned()),
        };
        if !turns::finish(tx, turn.id, &end, now)? {
            return Ok(false);
        }
        if let Some(step) = lost {
            turns::end_step(tx, step, CallStatus::Cancelled, "", now)?;
        }
        decide::withdraw(tx, turn.id, now)?;
        for (step, frame) in running {
            turns::end_step(tx, step, CallStatus::Cancelled, "stopped", now)?;
            tx.show(turn.session, frame)?;
        }
        write(tx, &turn, (id, &answer, &parcel), now)?;
        Ok(true)
    });
    if write.await? {
        tracing::info!(state = state.as_str(), "turn ended");
        if !reads_session {
            work.core.posted.notify_one();
        }
    }
    Ok(())
}

fn stopped_call(work: &Work, step: &turns::Step) -> Option<(StepId, Body)> {
    let StepKind::Tool { call, .. } = &step.kind else {
        return None;
    };
    let took = work.core.parts.clock.now().since(step.started_at);
    let body = Body::ToolFinished {
        turn_id: work.turn.id,
        call_id: call.id.clone(),
        skill: call.tool.clone(),
        status: CallStatus::Cancelled,
        output: Value::from("stopped"),
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    };
    Some((step.id, body))
}

fn parcel(work: &Work, id: MessageId, text: &str, now: Timestamp) -> Parcel {
    Parcel {
        id,
        session: work.turn.session,
        turn: Some(work.turn.id),
        in_reply_to: Some(work.asked.external_id.clone()),
        to: work.turn.reply_to.clone(),
        external_user: work.asked.external_user.clone(),
        text: text.to_owned(),
        state: String::new(),
        attempts: 0,
        next_at: now,
        last_error: None,
        created_at: now,
        finished_at: None,
    }
}

fn write(
    tx: &Tx<'_>,
    turn: &turns::Turn,
    (id, answer, parcel): (MessageId, &Answer, &Parcel),
    now: Timestamp,
) -> Result<()> {
    if let Some((step, said, spent)) = &answer.said {
        turns::finish_model(tx, *step, said, now)?;
        usage::insert(tx, spent, now)?;
    }
    let status = match answer.state {
        State::Failed => "failed",
        State::Cancelled => "cancelled",
        _ => "ok",
    };
    let message = Message {
        id,
        session: turn.session,
        turn: Some(turn.id),
        author: Author::Assistant,
        origin: "turn".to_owned(),
        status: status.to_owned(),
        text: answer.text.clone(),
        provenance: None,
        at: now,
    };
    messages::insert(tx, &message)?;
    inbox::set_state(tx, turn.message, answer.state, now)?;
    outbox::insert(tx, parcel)?;
    sessions::touch(tx, turn.session, "", now)?;
    if turn.id.0.as_u128().is_multiple_of(u128::from(PRUNE)) {
        frames::prune(tx, turn.session)?;
    }
    if let Some(text) = &answer.notice {
        let code = "limit".to_owned();
        tx.show(
            turn.session,
            Body::Notice {
                turn_id: Some(turn.id),
                code,
                text: text.clone(),
            },
        )?;
    }
    let (usage, cost) = usage::of_turn(tx, turn.id)?;
    let usage = UsageInfo::new(usage, cost);
    tx.show(turn.session, last_frame(turn.id, (&message, answer), usage))
}

/// The frame that ends a turn.
fn last_frame(turn_id: TurnId, (said, answer): (&Message, &Answer), usage: UsageInfo) -> Body {
    let (text, at, message_id) = (said.text.clone(), said.at, said.id);
    if let Some((code, _)) = &answer.error {
        let error = ErrorInfo {
            code: (*code).to_owned(),
            message: text.clone(),
        };
        return Body::Failed {
            turn_id,
            message_id,
            text,
            error,
            at,
        };
    }
    Body::Completed {
        turn_id: Some(turn_id),
        message_id,
        text,
        status: said.status.clone(),
        usage,
        provider: answer.provider.clone(),
        model: answer.model.clone(),
        at,
    }
}
