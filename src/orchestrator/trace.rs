//! The time line of one message: what happened to it, when, and what it took.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    store::{
        Result,
        approvals::{self, Approval},
        attempts, inbox, messages, outbox,
        turns::{self, Step, StepKind},
        usage::{self, Attempt, Ended},
    },
    types::{MessageId, SessionId, StepId, Timestamp, TurnId, frame::UsageInfo, money::Usd},
};

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// `inbox`, `turn`, `model` (also what a skill asked), `tool`, `approval`, `answer`, `outbox` or `delivery` (one try).
    pub stage: &'static str,
    /// What it was: a provider and model, a skill, a connector.
    pub name: String,
    /// How it stands.
    pub status: String,
    /// When it began.
    pub at: Timestamp,
    /// How long it took; none while it runs.
    pub duration_ms: Option<f64>,
    /// More: usage, arguments, attempts, errors.
    pub detail: Value,
}

/// The time line of one message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// The message.
    pub message_id: MessageId,
    /// Its session.
    pub session_id: SessionId,
    /// Its turn.
    pub turn_id: Option<TurnId>,
    /// How the message stands.
    pub state: String,
    /// What was said.
    pub text: String,
    /// What the turn took.
    pub usage: UsageInfo,
    /// What happened, in order.
    pub stages: Vec<Stage>,
}

/// The time line of a message, or of the message that this one answers.
pub(super) fn of(c: &Connection, id: MessageId) -> Result<Option<Trace>> {
    let id = match messages::get(c, id)?.and_then(|m| m.turn) {
        Some(turn) => turns::get(c, turn)?.map_or(id, |t| t.message),
        None => id,
    };
    let Some(asked) = inbox::get(c, id)? else {
        return Ok(None);
    };
    let (state, ended) = inbox::state(c, id)?.unwrap_or_default();
    let mut stages = vec![Stage {
        stage: "inbox",
        name: asked.from.connector.clone(),
        status: state.clone(),
        at: asked.received_at,
        duration_ms: ended.map(|at| between(asked.received_at, at)),
        detail: json!({ "external_id": asked.external_id, "chat": asked.from.chat }),
    }];
    let turn = turns::of_message(c, id)?;
    let mut used = UsageInfo::default();
    if let Some(turn) = &turn {
        let (usage, cost) = usage::of_turn(c, turn.id)?;
        used = UsageInfo::new(usage, cost);
        stages.push(Stage {
            stage: "turn",
            name: turn.provider.clone().unwrap_or_default(),
            status: turn.state.clone(),
            at: turn.started_at,
            duration_ms: turn.finished_at.map(|at| between(turn.started_at, at)),
            detail: json!({ "attempt": turn.attempt, "error": turn.error }),
        });
        let mut attempts = usage::attempts(c, turn.id)?;
        for done in turns::steps(c, turn.id)? {
            let own = attempts.extract_if(.., |one| one.step == Some(done.id));
            let own: Vec<Attempt> = own.collect();
            stages.push(step(done, &own));
        }
        stages.extend(thoughts(attempts));
        stages.extend(approvals::of_turn(c, turn.id)?.into_iter().map(question));
        stages.sort_by_key(|stage| stage.at);
        if let Some(answer) = messages::answer_of(c, turn.id)? {
            stages.extend(delivery(c, &answer)?);
        }
    }
    Ok(Some(Trace {
        message_id: id,
        session_id: asked.session,
        turn_id: turn.map(|t| t.id),
        state,
        text: asked.text,
        usage: used,
        stages,
    }))
}

/// What attempts cost together, if that is known of each.
fn cost(attempts: &[Attempt]) -> Option<Usd> {
    let costs = attempts.iter().map(|attempt| attempt.cost_usd);
    costs.reduce(|a, b| Some(a?.plus(b?))).flatten()
}

fn cached(attempts: &[Attempt]) -> bool {
    let cached = Ended::Cached.as_str();
    attempts.last().is_some_and(|last| last.status == cached)
}

fn step(step: Step, attempts: &[Attempt]) -> Stage {
    let took = step.finished_at.map(|at| between(step.started_at, at));
    let first = step.first_token_at.map(|at| between(step.started_at, at));
    let (stage, name, detail) = match step.kind {
        StepKind::Model {
            name,
            calls,
            usage,
            reasoning,
            ..
        } => {
            let thoughts = reasoning.map(|r| crate::types::text::shorten(&r.text, 4_000));
            let calls: Vec<String> = calls.into_iter().map(|c| c.tool).collect();
            (
                "model",
                name,
                json!({ "usage": usage, "cost_usd": cost(attempts), "first_token_ms": first,
                        "calls": calls, "attempts": attempts, "cached": cached(attempts),
                        "reasoning": thoughts }),
            )
        }
        StepKind::Tool { call, output, .. } => {
            let output = crate::types::text::shorten(&output, 400);
            (
                "tool",
                call.tool,
                json!({ "call_id": call.id, "input": call.args, "output": output }),
            )
        }
    };
    let status = step.status.as_str().to_owned();
    Stage {
        stage,
        name,
        status,
        at: step.started_at,
        duration_ms: took,
        detail,
    }
}

/// What skills asked models: each question with all attempts at it.
fn thoughts(attempts: Vec<Attempt>) -> Vec<Stage> {
    let mut questions: BTreeMap<Option<StepId>, Vec<Attempt>> = BTreeMap::new();
    for one in attempts {
        questions.entry(one.step).or_default().push(one);
    }
    questions
        .into_values()
        .filter_map(|all| thought(&all))
        .collect()
}

fn thought(attempts: &[Attempt]) -> Option<Stage> {
    let (first, last) = (attempts.first()?, attempts.last()?);
    let at = first.started_at.unwrap_or(first.at);
    Some(Stage {
        stage: "model",
        name: format!("{}/{}", last.provider, last.model),
        status: last.status.clone(),
        at,
        duration_ms: Some(between(at, last.at)),
        detail: json!({
            "purpose": last.purpose, "task": last.task, "usage": last.usage, "cost_usd": cost(attempts),
            "attempts": attempts, "cached": cached(attempts),
        }),
    })
}

/// A question, from when it was asked to when it was settled.
fn question(one: Approval) -> Stage {
    Stage {
        stage: "approval",
        name: one.tool,
        status: one.state.as_str().to_owned(),
        at: one.created_at,
        duration_ms: one.decided_at.map(|at| between(one.created_at, at)),
        detail: json!({
            "id": one.id, "summary": one.summary, "reason": one.reason, "decision": one.decision,
            "by": one.decided_by, "via": one.decided_via, "note": one.note,
        }),
    }
}

fn delivery(c: &Connection, answer: &messages::Message) -> Result<Vec<Stage>> {
    let said = Stage {
        stage: "answer",
        name: answer.id.to_string(),
        status: answer.status.clone(),
        at: answer.at,
        duration_ms: None,
        detail: json!({ "bytes": answer.text.len() }),
    };
    let tries = attempts::of(c, answer.id)?;
    let parcel = outbox::get(c, answer.id)?;
    let connector = parcel
        .as_ref()
        .map(|p| p.to.connector.clone())
        .unwrap_or_default();
    let sent = parcel.map(|parcel| Stage {
        stage: "outbox",
        name: parcel.to.connector,
        status: parcel.state,
        at: parcel.created_at,
        duration_ms: parcel.finished_at.map(|at| between(parcel.created_at, at)),
        detail: json!({
            "attempts": parcel.attempts,
            "unsure": parcel.unsure,
            "error": parcel.last_error,
            "next_at": parcel.finished_at.is_none().then_some(parcel.next_at),
        }),
    });
    let tried = tries.into_iter().map(|attempt| Stage {
        stage: "delivery",
        name: format!("{connector}, try {}", attempt.n),
        status: attempt.outcome,
        at: attempt.at,
        duration_ms: attempt.ended_at.map(|at| between(attempt.at, at)),
        detail: json!({ "attempt": attempt.n, "error": attempt.error }),
    });
    Ok([said].into_iter().chain(sent).chain(tried).collect())
}

fn between(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64() * 1000.0
}
