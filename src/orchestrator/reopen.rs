//! Asking again what nobody decided in time: a new turn of the same conversation begins with the calls
//! that expired.

use super::{
    Orchestrator,
    decide::{DecideError, Decider, Outcome, entry},
    inbox::write as accept,
    work::Work,
};
use crate::{
    policy::Why,
    providers::About,
    store::{
        Result, Tx,
        approvals::{self, Approval, Kind, State},
        audit, inbox,
        turns::{self, Said, StepKind},
    },
    types::{
        ApprovalId, Inbound, Timestamp, WhenBusy,
        chat::{Call, Usage},
        frame::CallStatus,
        money::Price,
    },
};

impl Orchestrator {
    /// Asks an expired question again, as a new turn of its conversation.
    pub async fn reopen(&self, id: ApprovalId, by: Decider) -> Outcome<Approval> {
        let now = self.core.parts.clock.now();
        let write = self.core.parts.store.write(move |tx| {
            let Some(question) = approvals::get(tx, id)? else {
                return Ok(Err(DecideError::Unknown));
            };
            if let Err(error) = by.may(&question) {
                return Ok(Err(error));
            }
            if question.state != State::Expired || question.reopened_by.is_some() {
                let text = match question.reopened_by {
                    Some(_) => "it was asked again already".to_owned(),
                    None => format!("it is {}, not expired", question.state.as_str()),
                };
                return Ok(Err(DecideError::Settled(text, Box::new(question))));
            }
            ask_in_new_turn(tx, &question, now)?;
            let who = (by.name.as_str(), by.via.as_str(), Some(by.user));
            let again = entry("approval.reopen", &question, who, now);
            audit::append_from(tx, &again, &by.from)?;
            Ok(Ok(approvals::get(tx, id)?))
        });
        let question = write.await??.ok_or(DecideError::Unknown)?;
        self.wake(question.session_id).await;
        Ok(question)
    }
}

/// The question of a turn that expired last.
pub(super) async fn newest_expired(work: &Work) -> Result<Option<ApprovalId>> {
    let turn = work.turn.id;
    let store = &work.core.parts.store;
    let all = store.read(move |c| approvals::of_turn(c, turn)).await?;
    Ok(all
        .iter()
        .rfind(|q| q.state == State::Expired)
        .map(|q| q.id))
}

/// The external id of a message that asks again begins with this.
const AGAIN: &str = "reopen:";

/// A message that has the expired calls of a turn made again.
fn ask_in_new_turn(tx: &Tx<'_>, question: &Approval, now: Timestamp) -> Result<()> {
    let Some(turn) = turns::get(tx, question.turn_id)? else {
        return Ok(());
    };
    let asked = inbox::get(tx, turn.message)?;
    let user = asked.as_ref().map(|a| a.external_user.clone());
    let text = format!("Ask me again: {}", question.summary);
    let again = format!("{AGAIN}{}", question.id);
    let message = Inbound {
        person: Some(question.user_id),
        session: Some(question.session_id),
        model: asked.as_ref().and_then(|a| a.model.clone()),
        plan: question.kind == Kind::Plan,
        ..Inbound::new(turn.reply_to, again, user.unwrap_or_default(), text)
    };
    if let Ok(accepted) = accept(tx, (&message, WhenBusy::Queue), now)? {
        let (id, _) = accepted.ids();
        let late = approvals::of_turn(tx, question.turn_id)?;
        for one in late.iter().filter(|q| q.state == State::Expired) {
            approvals::reopen(tx, one.id, id)?;
        }
    }
    Ok(())
}

/// A turn that answers such a message begins with its calls.
pub(super) async fn ask_again(work: &mut Work) -> Result<()> {
    if !work.asked.external_id.starts_with(AGAIN) {
        return Ok(());
    }
    let id = work.asked.id;
    let store = &work.core.parts.store;
    let again = store.read(move |c| approvals::reopened_by(c, id)).await?;
    let begun = |step: &turns::Step| {
        matches!(step.kind, StepKind::Model { .. }) && step.status == CallStatus::Ok
    };
    if again.is_empty() || work.steps.iter().any(begun) {
        return Ok(());
    }
    let call = |q: &Approval| Call {
        id: q.call_id.clone(),
        tool: q.tool.clone(),
        args: q.args.clone(),
    };
    let said = Said {
        name: "nexflow/reopened".to_owned(),
        text: String::new(),
        calls: again.iter().map(call).collect(),
        reasoning: None,
        usage: Usage::default(),
        first_token_at: None,
    };
    let about = About {
        name: "nexflow".to_owned(),
        model: "reopened".to_owned(),
        context_tokens: 0,
        max_output_tokens: None,
        tools: true,
        images: false,
        offline: true,
        price: Some(Price::FREE),
    };
    work.again = again;
    work.open_step().await?;
    let run = work.record(said, &about).await?;
    work.again.clear();
    work.act(run).await
}

impl Work {
    /// Why a call is asked about although it would be allowed now: it was asked about before, and nobody
    /// has said yes.
    pub(super) fn asks_again(&self, call: &Call) -> Option<Why> {
        let same = |q: &&Approval| q.tool == call.tool && q.args == call.args;
        let question = self.again.iter().find(same)?;
        Some(Why {
            reason: question.reason.clone(),
            source: question.source.clone(),
            gated: question.gated,
            who: question.who,
        })
    }

    /// Whether this turn asks expired questions again.
    pub(super) fn asks_again_at_all(&self) -> bool {
        !self.again.is_empty()
    }
}
