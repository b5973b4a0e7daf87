//! A turn that waits for a person: it takes no thread and no slot, survives restarts, and goes on
//! exactly where it stopped once somebody decided.

use std::collections::HashMap;

use super::{
    allowed,
    ask::{self, Known, Weighed},
    closing, decide, deliver, plan, question, reopen, resume,
    turn::Claim,
    work::Work,
};
use crate::{
    fail::{self, Point},
    policy::fingerprint,
    store::{
        Result, Tx,
        approvals::{self, Approval, Kind, State},
        inbox::Waiting,
        outbox::{self, Parcel},
        parking,
        turns::{self, Step, StepKind, Turn},
    },
    tools::Done,
    types::{MessageId, StepId, Timestamp, chat::Call, effect::Provenance, frame::CallStatus},
};

/// Whether a turn goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    /// It is parked, or has ended.
    Stop,
}

/// What the model is told when the skill is not the one that was approved any more.
const CHANGED: &str = "the skill was changed after it was approved, or may not be used any more";

/// What a receiver is told that does not see the question.
const WAITS: &str =
    "The owner has been asked whether this may be done. The answer follows once that is decided.";

/// The newest question of each step.
type Questions = HashMap<StepId, Approval>;

/// Takes up a parked turn, if something about it was decided.
pub(super) fn claim(
    tx: &Tx<'_>,
    (mut turn, asked): (Turn, Waiting),
    now: Timestamp,
) -> Result<Option<Claim>> {
    let steps = turns::steps(tx, turn.id)?;
    let interrupted = resume::ended_by(tx, &asked)?.is_some();
    if !interrupted && !decided(&questions(tx, &turn)?, &steps) {
        return Ok(None);
    }
    parking::unpark(tx, &mut turn, now)?;
    let mut claim = resume::take_up(tx, (turn, asked), steps)?;
    claim.past = Point::UnparkCommitted;
    fail::point(Point::UnparkWritten);
    Ok(Some(claim))
}

fn questions(tx: &Tx<'_>, turn: &Turn) -> Result<Questions> {
    let all = approvals::of_turn(tx, turn.id)?;
    Ok(all.into_iter().map(|one| (one.step_id, one)).collect())
}

/// Whether a step waits whose question is settled, or that has none.
fn decided(questions: &Questions, steps: &[Step]) -> bool {
    steps
        .iter()
        .filter(|step| step.status == CallStatus::Waiting)
        .any(|step| {
            questions
                .get(&step.id)
                .is_none_or(|q| q.state != State::Pending)
        })
}

/// Does what was decided about calls that wait; parks the turn when something is undecided.
pub(super) async fn wait(work: &mut Work) -> Result<Then> {
    loop {
        if work.cancel.is_cancelled() {
            return Ok(Then::GoOn);
        }
        let waiting = work.waiting_calls();
        if waiting.is_empty() {
            return Ok(Then::GoOn);
        }
        let Some(questions) = look(work).await? else {
            // Stopped while that was written: nobody else would take it up.
            if work.cancel.is_cancelled() {
                return Ok(Then::GoOn);
            }
            tracing::info!("the turn waits for a person");
            return Ok(Then::Stop);
        };
        let mut run = Vec::new();
        for (id, call) in waiting {
            let question = questions.get(&id);
            match question.map_or(State::Cancelled, |q| q.state) {
                State::Pending => {}
                State::Cancelled => work.cancel.cancel(),
                State::Expired => return expired(work).await.map(|()| Then::Stop),
                State::Denied => deny(work, (id, &call), question).await?,
                State::Approved => {
                    if let Some(question) = question
                        && approved(work, (id, &call), question).await?
                    {
                        run.push((id, call));
                    }
                }
            }
        }
        work.act(run).await?;
    }
}

/// The questions of the turn; none if all that wait are undecided: then the turn is parked, in the same
/// transaction, so that no decision comes between.
async fn look(work: &Work) -> Result<Option<Questions>> {
    let (turn, steps) = (work.turn.clone(), work.steps.clone());
    let now = work.core.parts.clock.now();
    let notice = notice(work, now);
    let live = work.core.parts.live();
    let posts = live.connectors.changes_posts(&work.turn.reply_to.connector);
    let store = &work.core.parts.store;
    let looked = store.keep(move |tx| {
        let questions = questions(tx, &turn)?;
        if decided(&questions, &steps) {
            return Ok(Some(questions));
        }
        parking::park(tx, turn.id, now)?;
        match &notice {
            Some(notice) if posts => question::ask(tx, notice, questions.values())?,
            Some(notice) if !outbox::told(tx, turn.id)? => outbox::insert(tx, notice)?,
            _ => {}
        }
        fail::point(Point::ParkWritten);
        Ok(None)
    });
    let looked = looked.await?;
    if looked.is_none() {
        fail::point(Point::ParkCommitted);
        work.core.posted.notify_one();
    }
    Ok(looked)
}

/// Tells whoever cannot see the question that the answer waits for it, or, where questions are posts,
/// says where to; none for those who see it, or who want answers alone.
fn notice(work: &Work, now: Timestamp) -> Option<Parcel> {
    let live = work.core.parts.live();
    let connector = live.connectors.get(&work.turn.reply_to.connector)?;
    if !connector.wants_notices(&work.turn.reply_to) {
        return None;
    }
    let told = Parcel {
        notice: true,
        ..closing::parcel(work, MessageId::new(), WAITS, now)
    };
    let told = deliver::parcel(&work.core, told, now);
    told.finished_at.is_none().then_some(told)
}

async fn deny(
    work: &mut Work,
    (id, call): (StepId, &Call),
    question: Option<&Approval>,
) -> Result<()> {
    let note = question.and_then(|q| q.note.as_deref()).unwrap_or_default();
    let because = if note.is_empty() {
        "the person said no".to_owned()
    } else {
        format!("the person said no: {note}")
    };
    refuse(work, (id, call), &because, None).await
}

/// A call is not made; an approval that it had becomes pointless.
async fn refuse(
    work: &mut Work,
    (id, call): (StepId, &Call),
    because: &str,
    voided: Option<&Approval>,
) -> Result<()> {
    let (turn, given, now) = (work.turn.clone(), call.clone(), work.core.parts.clock.now());
    let text = ask::refusal(because);
    let (told, voided) = (text.clone(), voided.cloned());
    let store = &work.core.parts.store;
    store
        .keep(move |tx| {
            if let Some(question) = &voided {
                decide::void(tx, question, CHANGED, now)?;
            }
            ask::refuse(tx, &turn, (id, &given), (&told, now))
        })
        .await?;
    work.core.posted.notify_one();
    let done = Done {
        status: CallStatus::Refused,
        ..Done::text(text)
    };
    work.take_result((id, done, Provenance::Skill));
    Ok(())
}

/// Whether an approved call runs now: only if it still is what was approved, and only once.
async fn approved(
    work: &mut Work,
    (id, call): (StepId, &Call),
    question: &Approval,
) -> Result<bool> {
    if question.kind == Kind::Plan {
        plan_approved(work, (id, call), question).await?;
        return Ok(false);
    }
    let tool = work.toolbox.get(&call.tool);
    let Some(hash) = tool.map(|tool| tool.hash()) else {
        refuse(work, (id, call), CHANGED, Some(question)).await?;
        return Ok(false);
    };
    let print = fingerprint::of(&call.tool, &call.args, &hash, work.turn.session);
    if print != question.fingerprint {
        return anew(work, (id, call), question).await;
    }
    let (question, by) = (question.id, allowed::by(question));
    let now = work.core.parts.clock.now();
    let store = &work.core.parts.store;
    let taken = store.keep(move |tx| {
        let taken = approvals::take(tx, question, now)?;
        if taken {
            parking::set_waiting(tx, id, false, now)?;
            parking::set_allowed(tx, id, &by)?;
        }
        fail::point(Point::TakeWritten);
        Ok(taken)
    });
    if !taken.await? {
        refuse(work, (id, call), "its approval was used already", None).await?;
        return Ok(false);
    }
    fail::point(Point::TakeCommitted);
    work.set_status(id, CallStatus::Running);
    Ok(true)
}

/// What was approved has changed: it is weighed as if it were called now. Whether it runs.
async fn anew(work: &mut Work, (id, call): (StepId, &Call), old: &Approval) -> Result<bool> {
    let weighed = match Known::now(work).await?.weigh(work, (id, call)).await {
        Weighed::Ask(mut question) => {
            question.reason = format!("{CHANGED}; {}", question.reason);
            Weighed::Ask(question)
        }
        other => other,
    };
    if let Weighed::Refuse(reason) = &weighed {
        refuse(work, (id, call), reason, Some(old)).await?;
        return Ok(false);
    }
    let (runs, old) = (matches!(weighed, Weighed::Run(_)), old.clone());
    let (turn, given, now) = (work.turn.clone(), call.clone(), work.core.parts.clock.now());
    let store = &work.core.parts.store;
    store
        .keep(move |tx| {
            decide::void(tx, &old, CHANGED, now)?;
            parking::set_waiting(tx, id, !runs, now)?;
            ask::settle(tx, &turn, (id, &given, &weighed), now)
        })
        .await?;
    work.core.posted.notify_one();
    if runs {
        work.set_status(id, CallStatus::Running);
    }
    Ok(runs)
}

async fn plan_approved(
    work: &mut Work,
    (id, call): (StepId, &Call),
    question: &Approval,
) -> Result<()> {
    let done = Done::text(plan::go_on(question));
    let from = Provenance::of_result(work.toolbox.effects(&call.tool));
    let (question_id, now) = (question.id, work.core.parts.clock.now());
    let (turn, told, given) = (work.turn.clone(), done.clone(), call.clone());
    let store = &work.core.parts.store;
    store
        .keep(move |tx| {
            approvals::take(tx, question_id, now)?;
            parking::set_provenance(tx, id, from)?;
            ask::finish(tx, &turn, (id, &given, &told), now)?;
            fail::point(Point::PlanTakenWritten);
            Ok(())
        })
        .await?;
    fail::point(Point::PlanTakenCommitted);
    work.take_result((id, done, from));
    work.planning = plan::approved_tools(question);
    Ok(())
}

/// Nobody decided in time: the turn ends, and says how to go on.
async fn expired(work: &mut Work) -> Result<()> {
    let late: Vec<(StepId, Call)> = work.waiting_calls();
    let names: Vec<String> = late
        .iter()
        .map(|(_, call)| format!("`{}`", call.tool))
        .collect();
    for (id, call) in &late {
        refuse(
            work,
            (*id, call),
            "nobody decided in time whether it may be done",
            None,
        )
        .await?;
    }
    let question = reopen::newest_expired(work).await?;
    let again = question
        .map(|id| format!(" To be asked again: `nexflow approval reopen {id}`, or the page."))
        .unwrap_or_default();
    let text = format!(
        "I stopped here: nobody decided in time whether {} may be done, so it was not.{again}",
        names.join(", ")
    );
    closing::failed(work, ("APPROVAL_EXPIRED", &text)).await
}

impl Work {
    /// Calls that wait for a person.
    fn waiting_calls(&self) -> Vec<(StepId, Call)> {
        let waiting = self
            .steps
            .iter()
            .filter(|s| s.status == CallStatus::Waiting);
        waiting
            .filter_map(|step| match &step.kind {
                StepKind::Tool { call, .. } => Some((step.id, call.clone())),
                StepKind::Model { .. } => None,
            })
            .collect()
    }

    fn set_status(&mut self, id: StepId, status: CallStatus) {
        if let Some(step) = self.steps.iter_mut().find(|s| s.id == id) {
            step.status = status;
        }
    }
}
