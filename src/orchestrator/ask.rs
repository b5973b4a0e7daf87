//! Before a call runs: it is weighed, and written together with what was decided. One that a person has
//! to decide about is written as waiting, with the question.

use std::{io::Read as _, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    allowed::Allowed,
    events, plan,
    work::{Work, tool_started},
};
use crate::{
    fail::{self, Point},
    policy::{self, Case, Flow, Grant, Verdict, Why, fingerprint, pattern::Pattern, words},
    sandbox::{Open, open_beneath},
    store::{
        Result, Tx,
        approvals::{self, Approval, Kind, State},
        audit, grants, parking,
        turns::{self, Step, StepKind, Turn},
    },
    tools::{Done, Tool, skill::workspace},
    types::{
        ApprovalId, GrantId, StepId, Timestamp,
        chat::Call,
        effect::Effects,
        frame::{Body, CallStatus},
    },
};

/// Files larger than this are not compared.
const LARGEST: u64 = 512 << 10;

/// What was decided about a call.
#[derive(Clone)]
pub(super) enum Weighed {
    /// It runs; with who let it, if somebody had to.
    Run(Option<Allowed>),
    /// It does not; why.
    Refuse(String),
    /// A person decides.
    Ask(Box<Approval>),
}

/// A call that begins, in whichever way.
pub(super) struct Begun {
    pub(super) id: StepId,
    pub(super) call: Call,
    ordinal: u32,
    effects: Effects,
    weighed: Weighed,
}

/// Weighs the calls of a step.
pub(super) async fn begin(
    work: &Work,
    (calls, first): (Vec<(StepId, Call)>, u32),
    offline: bool,
) -> Result<Arc<[Begun]>> {
    let mut begun = Vec::with_capacity(calls.len());
    if calls.is_empty() {
        return Ok(begun.into());
    }
    let known = Known::now(work).await?;
    for ((id, call), ordinal) in calls.into_iter().zip(first..) {
        let weighed = match plan::weigh(work, (id, &call), offline) {
            Some(weighed) => weighed,
            None => known.weigh(work, (id, &call)).await,
        };
        let effects = work.toolbox.effects(&call.tool);
        begun.push(Begun {
            id,
            call,
            ordinal,
            effects,
            weighed,
        });
    }
    Ok(begun.into())
}

/// What calls are weighed by, besides themselves.
pub(super) struct Known {
    flow: Flow,
    grants: Vec<Grant>,
}

impl Known {
    pub(super) async fn now(work: &Work) -> Result<Self> {
        let (person, session) = (work.place.person, work.turn.session);
        let now = work.core.parts.clock.now();
        let store = &work.core.parts.store;
        Ok(Self {
            flow: work.flow_now(),
            grants: store
                .read(move |c| grants::holding(c, person, session, now))
                .await?,
        })
    }

    /// Decides about one call.
    pub(super) async fn weigh(&self, work: &Work, (id, call): (StepId, &Call)) -> Weighed {
        // A call of nothing, or with nothing, is explained to the model when it is made.
        let Some(tool) = work
            .toolbox
            .get(&call.tool)
            .filter(|_| call.args.is_object())
        else {
            return Weighed::Run(None);
        };
        if tool.operates() {
            return own_words(work);
        }
        let case = Case {
            tool: &call.tool,
            args: &call.args,
            effects: tool.effects(),
            hash: &tool.hash(),
            confirm: tool.confirm(),
            channel: &work.turn.reply_to.connector,
            role: work.role,
            flow: &self.flow,
            grants: &self.grants,
            planned: work.planning.names(&call.tool),
        };
        let config = &work.core.parts.live().approvals;
        match (policy::decide(config, &case), work.asks_again(call)) {
            (Verdict::Deny(reason), _) => Weighed::Refuse(reason),
            (Verdict::Ask(why), _) | (Verdict::Allow(_), Some(why)) => Weighed::Ask(Box::new(
                question(work, (id, call), tool.as_ref(), why).await,
            )),
            (Verdict::Allow(grant), None) => Weighed::Run(self.allowed(work, call, grant)),
        }
    }

    fn allowed(&self, work: &Work, call: &Call, grant: Option<GrantId>) -> Option<Allowed> {
        let Some(id) = grant else {
            let by = work.planning.approved_by(&call.tool)?.to_owned();
            return Some(Allowed { grant: None, by });
        };
        let held = self.grants.iter().find(|held| held.id == id)?;
        let by = format!("{} via grant {id}", held.made_by);
        Some(Allowed { grant, by })
    }
}

/// What only a person's own command does: neither a model nor a schedule says it for them.
fn own_words(work: &Work) -> Weighed {
    if work.by_command() && work.schedule().is_none() {
        return Weighed::Run(None);
    }
    Weighed::Refuse("only a person's own command does it".to_owned())
}

/// A question about a call, with everything that a person needs to decide it.
async fn question(work: &Work, (id, call): (StepId, &Call), tool: &dyn Tool, why: Why) -> Approval {
    let command = call.args.get("command").and_then(Value::as_str);
    let diff = difference(work, call).await;
    Approval {
        hash: tool.hash(),
        fingerprint: fingerprint::of(&call.tool, &call.args, &tool.hash(), work.turn.session),
        effects: tool.effects(),
        summary: words::summary(&call.tool, &call.args),
        command: command.map(str::to_owned),
        diff,
        pattern: serde_json::to_value(Pattern::of(&call.tool, &call.args)).ok(),
        ..plain(work, (id, call), why)
    }
}

/// A question about something that is no call of a tool.
pub(super) fn plain(work: &Work, (id, call): (StepId, &Call), why: Why) -> Approval {
    let now = work.core.parts.clock.now();
    let minutes = work.core.parts.live().approvals.expire_minutes;
    Approval {
        id: ApprovalId::new(),
        session_id: work.turn.session,
        turn_id: work.turn.id,
        step_id: id,
        call_id: call.id.clone(),
        user_id: work.place.user,
        person_id: work.place.person,
        kind: Kind::Call,
        tool: call.tool.clone(),
        hash: String::new(),
        args: call.args.clone(),
        fingerprint: fingerprint::of(&call.tool, &call.args, "", work.turn.session),
        effects: Effects::NONE,
        summary: String::new(),
        reason: why.reason,
        source: why.source,
        command: None,
        diff: None,
        pattern: None,
        gated: why.gated,
        who: why.who,
        state: State::Pending,
        decision: None,
        steps: None,
        note: None,
        decided_by: None,
        decided_via: None,
        decided_at: None,
        used_at: None,
        reopened_by: None,
        created_at: now,
        expires_at: now.plus(Duration::from_secs(minutes.saturating_mul(60))),
    }
}

/// The change that a call makes to a file of the workspace.
async fn difference(work: &Work, call: &Call) -> Option<String> {
    if call.tool != "file-write" {
        return None;
    }
    let text = |key: &str| call.args.get(key).and_then(Value::as_str);
    let (path, content) = (text("path")?.to_owned(), text("content")?.to_owned());
    let appends = text("mode") == Some("append");
    let root = workspace(&work.core.parts.kit, work.turn.session);
    let compare = tokio::task::spawn_blocking(move || {
        let old = read(&root, Path::new(&path))?;
        let new = if appends {
            format!("{old}{content}")
        } else {
            content
        };
        Some(words::diff(&path, &old, &new))
    });
    compare.await.ok().flatten()
}

/// What a file holds; nothing if it is not there, none if it cannot be shown.
fn read(root: &Path, path: &Path) -> Option<String> {
    let mut text = String::new();
    match open_beneath(root, path, Open::Read) {
        Ok(file) => {
            let length = file.take(LARGEST + 1).read_to_string(&mut text).ok()?;
            (length as u64 <= LARGEST).then_some(text)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(text),
        Err(_) => None,
    }
}

impl Begun {
    /// Whether it runs now.
    pub(super) fn runs(&self) -> bool {
        matches!(self.weighed, Weighed::Run(_))
    }

    /// Whether it is a plan that somebody has to approve.
    pub(super) fn proposes(&self) -> bool {
        matches!(&self.weighed, Weighed::Ask(question) if question.kind == Kind::Plan)
    }

    /// Writes that it begins, waits or is refused.
    pub(super) fn write(&self, tx: &Tx<'_>, turn: &Turn, now: Timestamp) -> Result<()> {
        let place = (self.id, self.ordinal);
        turns::start_tool(tx, turn.id, place, (&self.call, self.effects), now)?;
        tx.show(turn.session, tool_started(turn.id, &self.call))?;
        self.settle(tx, turn, now)
    }

    fn settle(&self, tx: &Tx<'_>, turn: &Turn, now: Timestamp) -> Result<()> {
        settle(tx, turn, (self.id, &self.call, &self.weighed), now)
    }

    /// As a step of the turn.
    pub(super) fn step(&self, now: Timestamp) -> Step {
        let (status, output) = match &self.weighed {
            Weighed::Run(_) => (CallStatus::Running, String::new()),
            Weighed::Refuse(reason) => (CallStatus::Refused, refusal(reason)),
            Weighed::Ask(_) => (CallStatus::Waiting, String::new()),
        };
        Step {
            id: self.id,
            ordinal: self.ordinal,
            kind: StepKind::Tool {
                call: self.call.clone(),
                output,
                detail: Value::Null,
                effects: self.effects,
                provenance: None,
            },
            status,
            started_at: now,
            first_token_at: None,
            finished_at: None,
        }
    }
}

/// What a model is told of a call that may not be made.
pub(super) fn refusal(reason: &str) -> String {
    format!("This was not done: {reason}. Do not try to reach the same in another way.")
}

/// Writes what was decided about a step that is written already.
pub(super) fn settle(
    tx: &Tx<'_>,
    turn: &Turn,
    (id, call, weighed): (StepId, &Call, &Weighed),
    now: Timestamp,
) -> Result<()> {
    match weighed {
        Weighed::Run(None) => Ok(()),
        Weighed::Run(Some(allowed)) => allowed.write(tx, turn, (id, call), now),
        Weighed::Refuse(reason) => {
            audit::append(tx, &entry("call.deny", call, reason, now))?;
            refuse(tx, turn, (id, call), (&refusal(reason), now))
        }
        Weighed::Ask(question) => {
            parking::set_waiting(tx, id, true, now)?;
            approvals::insert(tx, question)?;
            events::question(tx, question, now)?;
            let mut asked = entry("approval.ask", call, &question.reason, now);
            asked.object = question.id.to_string();
            audit::append(tx, &asked)?;
            tx.show(turn.session, requested(question))?;
            if question.kind == Kind::Plan {
                fail::point(Point::PlanWritten);
            }
            Ok(())
        }
    }
}

/// A call ends as refused.
pub(super) fn refuse(
    tx: &Tx<'_>,
    turn: &Turn,
    (id, call): (StepId, &Call),
    (text, now): (&str, Timestamp),
) -> Result<()> {
    let done = Done {
        status: CallStatus::Refused,
        text: text.to_owned(),
        detail: json!({ "error": text }),
    };
    finish(tx, turn, (id, call, &done), now)
}

/// A call ends that was never made: nothing ran.
pub(super) fn finish(
    tx: &Tx<'_>,
    turn: &Turn,
    (id, call, done): (StepId, &Call, &Done),
    now: Timestamp,
) -> Result<()> {
    parking::set_waiting(tx, id, false, now)?;
    turns::finish_tool(tx, id, (done.status, &done.text, &done.detail), now)?;
    let finished = Body::ToolFinished {
        turn_id: turn.id,
        call_id: call.id.clone(),
        skill: call.tool.clone(),
        status: done.status,
        output: done.detail.clone(),
        duration_ms: 0,
    };
    tx.show(turn.session, finished)
}

/// The frame of a question.
pub(super) fn requested(question: &Approval) -> Body {
    let (turn_id, call_id) = (question.turn_id, question.call_id.clone());
    let approval = serde_json::to_value(question).unwrap_or_default();
    match question.kind {
        Kind::Call => Body::ApprovalRequested {
            turn_id,
            call_id,
            approval,
        },
        Kind::Plan => Body::PlanProposed {
            turn_id,
            call_id,
            steps: question.args.get("steps").cloned().unwrap_or_default(),
            approval,
        },
    }
}

fn entry(action: &str, call: &Call, reason: &str, at: Timestamp) -> audit::Entry {
    audit::Entry {
        at,
        actor: "agent".to_owned(),
        action: action.to_owned(),
        object: call.tool.clone(),
        detail: json!({ "tool": call.tool, "args": call.args, "reason": reason }),
    }
}
