//! Ending a turn: one transaction writes the answer, closes turn and message, and puts the answer in
//! the outbox.

use std::sync::PoisonError;

use serde_json::Value;

use super::{collect, decide, deliver, events, limits::Limit, spend::Charge, work::Work};
use crate::{
    fail::{self, Point},
    providers::About,
    store::{
        Result, Tx, files, frames,
        inbox::State,
        messages::{self, Author, Message},
        outbox::{self, Parcel},
        sessions,
        turns::{self, End, Said, StepKind},
        usage,
    },
    tools::files::NAME as SEND_FILE,
    types::{
        MessageId, StepId, Timestamp, TurnId,
        frame::{Body, CallStatus, ErrorInfo, UsageInfo},
    },
};

/// Frames of a session are pruned once in so many turns.
const PRUNE: u64 = 64;

/// What is written at the end.
#[derive(Clone)]
struct Answer {
    state: State,
    text: String,
    provider: String,
    model: String,
    error: Option<(&'static str, String)>,
    /// The model call that gave the answer.
    said: Option<(StepId, Said)>,
    /// What a model call took, also one that was stopped.
    charge: Option<Charge>,
    /// Why it ended before it was done.
    limit: Option<Limit>,
}

/// The model answered.
pub(super) async fn answered(
    work: &mut Work,
    said: Said,
    about: About,
    last: Option<Limit>,
) -> Result<()> {
    let Some(step) = work.open else {
        return Ok(());
    };
    let charge = work.purse.paid(&work.core, &said, &about);
    work.open = None;
    let text = all_text(work, &said.text) + &captions(work);
    let text = if text.trim().is_empty() {
        "(The model gave an empty answer.)".to_owned()
    } else {
        text
    };
    let answer = Answer {
        state: State::Answered,
        text,
        provider: about.name.clone(),
        model: about.model.clone(),
        error: None,
        said: Some((step, said)),
        charge,
        limit: last,
    };
    close(work, answer).await
}

/// The person stopped it.
pub(super) async fn cancelled(work: &mut Work, text: &str) -> Result<()> {
    let said = all_text(work, text);
    let why = if work.core.running.superseded(work.turn.session) {
        "Stopped for your newer message."
    } else {
        "Stopped."
    };
    let text = format!("{said}\n\n*{why}{}*", what_was_done(work))
        .trim_start()
        .to_owned();
    let answer = Answer {
        state: State::Cancelled,
        text,
        provider: String::new(),
        model: String::new(),
        error: None,
        said: None,
        charge: work.purse.abandoned(&work.core, None),
        limit: None,
    };
    close(work, answer).await
}

/// Which calls had finished by then, and which were stopped.
fn what_was_done(work: &Work) -> String {
    let named = |wanted: &[CallStatus]| {
        let calls = work.steps.iter().filter_map(|s| match &s.kind {
            StepKind::Tool { call, .. } if wanted.contains(&s.status) => {
                Some(format!("`{}`", call.tool))
            }
            _ => None,
        });
        calls.collect::<Vec<_>>().join(", ")
    };
    let unknown = [
        CallStatus::Cancelled,
        CallStatus::Interrupted,
        CallStatus::Running,
    ];
    let parts = [
        ("Done by then", named(&[CallStatus::Ok])),
        (
            "Failed by then",
            named(&[CallStatus::Failed, CallStatus::Refused]),
        ),
        ("Stopped in the middle, outcome unknown", named(&unknown)),
    ];
    let mut text = String::new();
    for (what, calls) in parts.iter().filter(|(_, calls)| !calls.is_empty()) {
        text.push_str(&format!(" {what}: {calls}."));
    }
    text
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
        charge: work.purse.abandoned(&work.core, Some(code)),
        limit: None,
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

/// A line about each file that goes out with the answer, where the model gave one.
fn captions(work: &Work) -> String {
    let mut lines = String::new();
    for step in work.steps.iter().filter(|s| s.status == CallStatus::Ok) {
        let StepKind::Tool { call, .. } = &step.kind else {
            continue;
        };
        let given = |key: &str| call.args.get(key).and_then(Value::as_str);
        let caption = given("caption").map_or("", str::trim);
        if call.tool == SEND_FILE && !caption.is_empty() {
            let name = given("path").and_then(|path| path.rsplit('/').next());
            lines.push_str(&format!("\n\n`{}`: {caption}", name.unwrap_or_default()));
        }
    }
    lines
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
    let mut parcel = deliver::parcel(&work.core, parcel(work, id, &answer.text, now), now);
    let reads_session = parcel.finished_at.is_some();
    if !reads_session && answer.state == State::Answered {
        parcel.text.push_str(&who_answered(work));
    }
    let lost = work.open.take();
    let turn = work.turn.clone();
    let (state, about) = (answer.state, work.about());
    let running: Vec<(StepId, Body)> = work
        .steps
        .iter()
        .filter(|s| matches!(s.status, CallStatus::Running | CallStatus::Waiting))
        .filter_map(|s| stopped_call(work, s))
        .collect();
    let write = work.core.parts.store.keep(move |tx| {
        if !turns::finish(tx, turn.id, &end(&answer), now)? {
            return Ok(false);
        }
        if let Some(step) = lost {
            turns::end_step(tx, step, CallStatus::Cancelled, "", now)?;
        }
        decide::withdraw(tx, turn.id, now)?;
        for (step, frame) in &running {
            turns::end_step(tx, *step, CallStatus::Cancelled, "stopped", now)?;
            tx.show(turn.session, frame.clone())?;
        }
        write(tx, &turn, (id, &answer, &parcel), now)?;
        if let Some((_, said)) = &answer.said {
            events::said(tx, about, said, now)?;
        }
        let code = answer.error.as_ref().map(|(code, _)| *code);
        events::ended(tx, about, (&turn, answer.state, code), now)?;
        fail::point(Point::FinishWritten);
        Ok(true)
    });
    if write.await? {
        fail::point(Point::FinishCommitted);
        tracing::info!(state = state.as_str(), "turn ended");
        if !reads_session {
            work.core.posted.notify_one();
        }
    }
    Ok(())
}

fn end(answer: &Answer) -> End {
    End {
        state: match answer.state {
            State::Cancelled => "cancelled",
            State::Failed => "failed",
            _ => "answered",
        },
        provider: answer.provider.clone(),
        model: answer.model.clone(),
        error: answer.error.as_ref().map(|(code, _)| (*code).to_owned()),
    }
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

/// Who only gets the answer reads there that another model gave it; observers of the session have
/// seen the notice.
fn who_answered(work: &Work) -> String {
    let note = work.stood_in.lock().unwrap_or_else(PoisonError::into_inner);
    note.as_ref()
        .map_or_else(String::new, |note| format!("\n\n*({note})*"))
}

/// What a turn sends to where its message came from.
pub(super) fn parcel(work: &Work, id: MessageId, text: &str, now: Timestamp) -> Parcel {
    let mut answers = work.answers();
    let to = (work.turn.reply_to.clone(), work.asked.external_user.clone());
    Parcel {
        turn: Some(work.turn.id),
        in_reply_to: answers.pop(),
        also_in_reply_to: answers,
        ..Parcel::new((id, work.turn.session), to, text.to_owned(), now)
    }
}

fn write(
    tx: &Tx<'_>,
    turn: &turns::Turn,
    (id, answer, parcel): (MessageId, &Answer, &Parcel),
    now: Timestamp,
) -> Result<()> {
    if let Some((step, said)) = &answer.said {
        turns::finish_model(tx, *step, said, now)?;
    }
    if let Some(charge) = &answer.charge {
        charge.write(tx, now)?;
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
    if answer.state == State::Answered {
        files::attach(tx, turn.id, id)?;
    }
    files::forget(tx, turn.id)?;
    collect::finish(tx, turn, answer.state, now)?;
    outbox::insert(tx, parcel)?;
    sessions::touch(tx, turn.session, "", now)?;
    if turn.id.0.as_u128().is_multiple_of(u128::from(PRUNE)) {
        frames::prune(tx, turn.session)?;
    }
    if let Some(limit) = answer.limit {
        let notice = Body::Notice {
            turn_id: Some(turn.id),
            code: limit.code().to_owned(),
            text: limit.notice().to_owned(),
        };
        tx.show(turn.session, notice)?;
    }
    let (usage, cost) = usage::of_turn(tx, turn.id)?;
    let usage = UsageInfo::new(usage, cost);
    let mut last = last_frame(turn.id, (&message, answer), usage);
    if let Body::Completed { attachments, .. } = &mut last {
        *attachments = messages::attachment_infos(tx, id)?;
    }
    tx.show(turn.session, last)
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
        attachments: Vec::new(),
        usage,
        provider: answer.provider.clone(),
        model: answer.model.clone(),
        at,
    }
}
