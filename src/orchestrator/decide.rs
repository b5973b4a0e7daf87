//! Deciding questions, from whichever door and process; taking them back.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Orchestrator, ask, events, plan, question, work::tool_started};
use crate::{
    fail::{self, Point},
    policy::pattern::Arguments,
    store::{
        Result, StoreError, Tx,
        approvals::{self, Approval, Kind, Ruling, State, Who},
        audit::{self, Origin},
        grants::{self, Grant},
        turns::{self, Turn},
        users::Role,
    },
    types::{
        ApprovalId, GrantId, SessionId, StepId, Timestamp, TurnId, UserId, chat::Call, frame::Body,
    },
};

/// What a person says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// This call, now.
    Once,
    /// Calls like this one, in this conversation.
    Session,
    /// Calls like this one, until the grant expires or is revoked.
    Always,
    /// It is not done.
    Deny,
}

impl Choice {
    /// From what a button says.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let all = [Self::Once, Self::Session, Self::Always, Self::Deny];
        all.into_iter().find(|one| one.as_str() == text)
    }

    /// What was done, for the person who chose it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Once => "Approved once",
            Self::Session => "Approved for this conversation",
            Self::Always => "Approved until the grant expires",
            Self::Deny => "Denied",
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Session => "session",
            Self::Always => "always",
            Self::Deny => "deny",
        }
    }
}

/// Who decides.
#[derive(Debug, Clone)]
pub struct Decider {
    /// Their account.
    pub user: UserId,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Through which door: `web` or `cli`.
    pub via: String,
    /// Door and peer, for the audit.
    pub from: Origin,
}

impl Decider {
    /// Passes if they may decide a question.
    pub(super) fn may(&self, question: &Approval) -> std::result::Result<(), DecideError> {
        let theirs = self.role >= Role::Member
            && (self.user == question.user_id || self.user == question.person_id);
        match (self.role, question.who) {
            (Role::Owner, _) => Ok(()),
            (_, Who::Asker) if theirs => Ok(()),
            _ if theirs => Err(DecideError::NotYours),
            _ => Err(DecideError::Unknown),
        }
    }
}

/// A decision.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The question.
    pub id: ApprovalId,
    /// What is said to it.
    pub choice: Choice,
    /// Of a plan: numbers of the steps that may be done, from 1; none for all.
    pub steps: Option<Vec<usize>>,
    /// Why, for the model.
    pub reason: Option<String>,
}

/// Why a decision does not count.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// There is none, or the caller may not see it.
    #[error("there is no such approval")]
    Unknown,
    /// Somebody else decides.
    #[error("only the owner decides about this")]
    NotYours,
    /// It was decided, has expired or was taken back.
    #[error("{0}")]
    Settled(String, Box<Approval>),
    /// The decision makes no sense for this question.
    #[error("{0}")]
    Invalid(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of it.
pub(super) type Outcome<T> = std::result::Result<T, DecideError>;

impl Orchestrator {
    /// Decides a question; its turn goes on at once. Answers the question as it stands then.
    pub async fn decide(&self, decision: Decision, by: Decider) -> Outcome<Approval> {
        let days = self.core.parts.live().approvals.grant_days;
        let now = self.core.parts.clock.now();
        let write = self.core.parts.store.write(move |tx| {
            let question = approvals::get(tx, decision.id)?;
            match rule(question, &decision, &by) {
                Err(error) => Ok(Err(error)),
                Ok((question, ruling)) => {
                    settle(tx, &question, &ruling, now)?;
                    let mut woken = vec![question.session_id];
                    if let Some(days) = lasting(decision.choice, days) {
                        woken.extend(give(tx, &question, (&ruling, days), now)?);
                    }
                    fail::point(Point::DecideWritten);
                    Ok(Ok((approvals::get(tx, question.id)?, woken)))
                }
            }
        });
        let (question, woken) = write.await??;
        fail::point(Point::DecideCommitted);
        self.core.posted.notify_one();
        for session in woken {
            self.wake(session).await;
        }
        question.ok_or(DecideError::Unknown)
    }

    /// Stops a turn that waits for a person. `false` if it does not.
    pub async fn cancel_parked(&self, id: TurnId) -> Result<bool> {
        let now = self.core.parts.clock.now();
        let write = self.core.parts.store.write(move |tx| {
            let turn =
                turns::get(tx, id)?.filter(|t| t.state == "running" && t.parked_at.is_some());
            if let Some(turn) = &turn {
                withdraw(tx, turn.id, now)?;
            }
            Ok(turn.map(|turn| turn.session))
        });
        let session = write.await?;
        if let Some(session) = session {
            self.core.posted.notify_one();
            self.wake(session).await;
        }
        Ok(session.is_some())
    }

    /// Takes a grant back.
    pub async fn revoke(&self, id: GrantId, by: Decider) -> Result<Option<Grant>> {
        let now = self.core.parts.clock.now();
        let write = self.core.parts.store.write(move |tx| {
            let gone = grants::revoke(tx, id, now)?;
            if let Some(grant) = &gone {
                let entry = audit::Entry {
                    at: now,
                    actor: by.name,
                    action: "grant.revoke".to_owned(),
                    object: grant.id.to_string(),
                    detail: json!({ "tool": grant.tool, "pattern": grant.pattern, "via": by.via,
                                    "user_id": by.user }),
                };
                audit::append_from(tx, &entry, &by.from)?;
            }
            Ok(gone)
        });
        write.await
    }
}

/// The ruling that a decision makes, if it may.
fn rule(
    question: Option<Approval>,
    decision: &Decision,
    by: &Decider,
) -> Outcome<(Approval, Ruling)> {
    let question = question.ok_or(DecideError::Unknown)?;
    by.may(&question)?;
    if question.state != State::Pending {
        let who = question.decided_by.as_deref().unwrap_or("nexflow");
        let text = format!(
            "this was settled already: {} by {who}",
            question.state.as_str()
        );
        return Err(DecideError::Settled(text, Box::new(question)));
    }
    let lasts = matches!(decision.choice, Choice::Session | Choice::Always);
    if lasts && question.pattern.is_none() {
        let text = "this can be approved once or denied".to_owned();
        return Err(DecideError::Invalid(text));
    }
    let steps = match (&decision.steps, question.kind) {
        (None, _) => None,
        (Some(wanted), Kind::Plan) => {
            Some(plan::numbers(&question, wanted).map_err(DecideError::Invalid)?)
        }
        (Some(_), Kind::Call) => {
            let text = "`steps` are for plans".to_owned();
            return Err(DecideError::Invalid(text));
        }
    };
    let reason = decision.reason.as_deref().map(str::trim);
    let ruling = Ruling {
        state: if decision.choice == Choice::Deny {
            State::Denied
        } else {
            State::Approved
        },
        decision: Some(decision.choice.as_str().to_owned()),
        steps,
        note: reason.filter(|text| !text.is_empty()).map(str::to_owned),
        by: by.name.clone(),
        via: by.via.clone(),
        from: by.from.from.clone(),
        user: Some(by.user),
    };
    Ok((question, ruling))
}

/// Whether a choice lasts, and for how many days; 0 for as long as the conversation.
fn lasting(choice: Choice, days: u64) -> Option<u64> {
    match choice {
        Choice::Session => Some(0),
        Choice::Always => Some(days.max(1)),
        Choice::Once | Choice::Deny => None,
    }
}

/// Gives the grant, and settles what else it covers. Answers the conversations that go on by it.
fn give(
    tx: &Tx<'_>,
    question: &Approval,
    (ruling, days): (&Ruling, u64),
    now: Timestamp,
) -> Result<Vec<SessionId>> {
    let Some(pattern) = question.pattern.clone() else {
        return Ok(Vec::new());
    };
    let length = std::time::Duration::from_secs(days.saturating_mul(86_400));
    let until = (days > 0).then(|| now.plus(length));
    let session = until.is_none().then_some(question.session_id);
    let grant = Grant {
        id: GrantId::new(),
        session_id: session,
        person_id: question.person_id,
        tool: question.tool.clone(),
        hash: question.hash.clone(),
        pattern: pattern.clone(),
        gated: question.gated,
        approval_id: Some(question.id),
        made_by: ruling.by.clone(),
        created_at: now,
        expires_at: until,
        used: 0,
        used_at: None,
    };
    grants::insert(tx, &grant)?;
    let mut made = entry(
        "grant.make",
        question,
        (&ruling.by, &ruling.via, ruling.user),
        now,
    );
    made.object = grant.id.to_string();
    made.detail = json!({ "tool": grant.tool, "pattern": pattern, "session_id": session,
                          "expires_at": until, "gated": grant.gated, "via": ruling.via,
                          "user_id": ruling.user });
    audit::append_from(tx, &made, &Origin::from(ruling.from.as_str()))?;
    let mut woken = Vec::new();
    for other in approvals::alike(tx, question)? {
        let here = session.is_none_or(|session| session == other.session_id);
        if here && Arguments::of(&other.args).fit(&pattern) {
            settle(tx, &other, ruling, now)?;
            woken.push(other.session_id);
        }
    }
    Ok(woken)
}

/// Writes a ruling and shows it. `false` if the question was settled already.
pub(super) fn settle(
    tx: &Tx<'_>,
    question: &Approval,
    ruling: &Ruling,
    now: Timestamp,
) -> Result<bool> {
    if !approvals::settle(tx, question.id, ruling, now)? {
        return Ok(false);
    }
    events::settled(tx, question, ruling, now)?;
    tell(tx, question, ruling, now).map(|()| true)
}

/// Notes a ruling and shows it, also where the question was posted.
fn tell(tx: &Tx<'_>, question: &Approval, ruling: &Ruling, now: Timestamp) -> Result<()> {
    let action = format!("approval.{}", ruling.state.as_str());
    let by = (ruling.by.as_str(), ruling.via.as_str(), ruling.user);
    let mut settled = entry(&action, question, by, now);
    if let Some(detail) = settled.detail.as_object_mut() {
        detail.insert("decision".to_owned(), json!(ruling.decision));
        detail.insert("note".to_owned(), json!(ruling.note));
    }
    audit::append_from(tx, &settled, &Origin::from(ruling.from.as_str()))?;
    question::settled(tx, question.id, now)?;
    let resolved = Body::ApprovalResolved {
        turn_id: question.turn_id,
        call_id: question.call_id.clone(),
        approval_id: question.id,
        state: ruling.state.as_str().to_owned(),
        decision: ruling.decision.clone(),
        note: ruling.note.clone(),
        by: ruling.by.clone(),
        via: ruling.via.clone(),
        at: now,
    };
    tx.show(question.session_id, resolved)
}

/// Takes back what was allowed and has not begun: it became pointless.
pub(super) fn void(tx: &Tx<'_>, question: &Approval, note: &str, now: Timestamp) -> Result<()> {
    if !approvals::void(tx, question.id, note)? {
        return Ok(());
    }
    let ruling = Ruling::by_itself(State::Cancelled, note, "turn");
    tell(tx, question, &ruling, now)
}

/// Takes back what a turn still asks.
pub(super) fn withdraw(tx: &Tx<'_>, turn: TurnId, now: Timestamp) -> Result<()> {
    let note = "the turn was stopped";
    let ruling = Ruling::by_itself(State::Cancelled, note, "turn");
    let all = approvals::of_turn(tx, turn)?;
    for question in &all {
        match question.state {
            State::Pending => drop(settle(tx, question, &ruling, now)?),
            // Allowed and not begun: a turn that was stopped does nothing more.
            State::Approved if question.used_at.is_none() => {
                void(tx, question, note, now)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Shows the question of a step again, to observers that begin anew with the turn.
pub(super) fn show_again(tx: &Tx<'_>, turn: &Turn, (step, call): (StepId, &Call)) -> Result<()> {
    tx.show(turn.session, tool_started(turn.id, call))?;
    let all = approvals::of_turn(tx, turn.id)?;
    let pending = all
        .iter()
        .find(|q| q.step_id == step && q.state == State::Pending);
    match pending {
        Some(question) => tx.show(turn.session, ask::requested(question)),
        None => Ok(()),
    }
}

/// Who did what about a question.
pub(super) fn entry(
    action: &str,
    question: &Approval,
    (by, via, user): (&str, &str, Option<UserId>),
    at: Timestamp,
) -> audit::Entry {
    audit::Entry {
        at,
        actor: by.to_owned(),
        action: action.to_owned(),
        object: question.id.to_string(),
        detail: json!({ "tool": question.tool, "args": question.args, "turn_id": question.turn_id,
                        "session_id": question.session_id, "via": via, "user_id": user }),
    }
}

/// What a list of questions shows of one, with how its turn stands.
pub fn shown(question: &Approval, turn: Option<&Turn>) -> Value {
    let mut shown = serde_json::to_value(question).unwrap_or_default();
    if let (Some(shown), Some(turn)) = (shown.as_object_mut(), turn) {
        let state = match turn.parked_at {
            Some(_) if turn.state == "running" => "parked",
            _ => turn.state.as_str(),
        };
        shown.insert("turn_state".to_owned(), state.into());
    }
    shown
}
