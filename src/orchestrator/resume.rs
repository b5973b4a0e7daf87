//! Taking up a turn that the daemon was killed in.

use std::collections::HashSet;

use super::{
    collect, decide, flow, park,
    running::Interrupt,
    turn::{Claim, place},
    work::tool_started,
};
use crate::{
    fail::{self, Point},
    store::{
        Result, Tx, inbox, sessions,
        turns::{self, Step, StepKind, Turn},
        usage,
    },
    types::{
        Timestamp,
        chat::Call,
        frame::{Body, CallStatus},
    },
};

/// What the model is told of a call whose outcome nobody knows.
const UNKNOWN: &str = "The daemon was stopped while this ran. It may have happened in part, in whole or not at all, and it was not run again. Check before you repeat it.";

/// Begins a turn again: what was asked of the model is asked again, a call that may run again is left
/// to run, any other is closed as interrupted.
pub(super) fn claim(
    tx: &Tx<'_>,
    mut turn: Turn,
    may_run_again: &HashSet<String>,
    now: Timestamp,
) -> Result<Option<Claim>> {
    let Some(asked) = inbox::get(tx, turn.message)? else {
        return Ok(None);
    };
    if turn.parked_at.is_some() {
        return park::claim(tx, (turn, asked), now);
    }
    turn.attempt += 1;
    turns::set_attempt(tx, turn.id, turn.attempt)?;
    let (turn_id, session) = (turn.id, turn.session);
    tx.show(
        session,
        Body::Started {
            turn_id,
            message_id: asked.id,
            attempt: turn.attempt,
        },
    )?;
    let found = turns::steps(tx, turn.id)?;
    if only_waits(&found) {
        // It asked a person and was about to park: that it was killed there is not counted against it.
        turns::excuse(tx, &mut turn)?;
    }
    let mut steps = Vec::new();
    for mut step in found {
        match &mut step.kind {
            StepKind::Model { .. } if step.status == CallStatus::Running => {
                turns::end_step(tx, step.id, CallStatus::Interrupted, UNKNOWN, now)?;
                step.status = CallStatus::Interrupted;
            }
            StepKind::Model { .. } => {}
            StepKind::Tool { call, .. } if step.status == CallStatus::Waiting => {
                decide::show_again(tx, &turn, (step.id, call))?;
            }
            StepKind::Tool {
                call,
                output,
                detail,
                ..
            } => {
                tx.show(session, tool_started(turn_id, call))?;
                if step.status == CallStatus::Running && !may_run_again.contains(&call.tool) {
                    turns::end_step(tx, step.id, CallStatus::Interrupted, UNKNOWN, now)?;
                    step.status = CallStatus::Interrupted;
                    UNKNOWN.clone_into(output);
                    *detail = UNKNOWN.into();
                    tracing::warn!(%turn_id, tool = call.tool, "a call was interrupted; its outcome is unknown");
                }
                if step.status != CallStatus::Running {
                    let call = call.clone();
                    tx.show(session, finished(&turn, &step, &call))?;
                }
            }
        }
        steps.push(step);
    }
    let claim = take_up(tx, (turn, asked), steps)?;
    fail::point(Point::ResumeWritten);
    Ok(Some(claim))
}

/// Whether all that is left to do waits for a person.
fn only_waits(steps: &[Step]) -> bool {
    let any = |status| steps.iter().any(|step| step.status == status);
    any(CallStatus::Waiting) && !any(CallStatus::Running)
}

/// A turn that goes on, with everything that it answers and has cost so far.
pub(super) fn take_up(
    tx: &Tx<'_>,
    (turn, mut asked): (Turn, inbox::Waiting),
    steps: Vec<Step>,
) -> Result<Claim> {
    let mut also = inbox::of_turn(tx, turn.id)?;
    let gone = also.iter().all(|m| m.deleted);
    also.retain(|m| m.id != asked.id && !m.deleted);
    collect::question(&also, &mut asked);
    let (_, cost) = usage::of_turn(tx, turn.id)?;
    Ok(Claim {
        ended_by: ended_by(tx, &asked)?,
        gone,
        place: place(tx, &asked)?,
        room: sessions::room(tx, asked.session)?,
        role: flow::role(tx, asked.user)?,
        turn,
        asked,
        also,
        steps,
        open: None,
        spent: cost.unwrap_or_default(),
        past: Point::ResumeCommitted,
    })
}

/// The message that waits and ends the turn of another one, which came before it.
pub(super) fn ended_by(tx: &Tx<'_>, asked: &inbox::Waiting) -> Result<Option<Interrupt>> {
    let newest = inbox::interrupting(tx, asked.session)?;
    let newest = newest.and_then(|(by, mode)| Interrupt::of(by, mode));
    Ok(newest.filter(|newest| newest.by > asked.id))
}

fn finished(turn: &Turn, step: &Step, call: &Call) -> Body {
    let output = match &step.kind {
        StepKind::Tool { detail, .. } => detail.clone(),
        StepKind::Model { .. } => serde_json::Value::Null,
    };
    let took = step
        .finished_at
        .unwrap_or(step.started_at)
        .since(step.started_at);
    Body::ToolFinished {
        turn_id: turn.id,
        call_id: call.id.clone(),
        skill: call.tool.clone(),
        status: step.status,
        output,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}
