//! One turn: ask the model, run what it calls, until it answers. Every step is written as it happens,
//! so a turn that was killed goes on from its last step.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    Core, closing,
    context::{self, Context},
    model::{self, Reply},
    resume,
    toolbox::Toolbox,
};
use crate::{
    providers::Request,
    store::{
        Result, Tx,
        inbox::{self, State, Waiting},
        messages,
        turns::{self, Said, Step, StepKind, Turn},
        usage::{self, Spent},
        users,
    },
    types::{
        Place, SessionId, StepId, TurnId,
        chat::{Call, Message},
        frame::{Body, CallStatus},
    },
};

/// Starts of a turn at most; then it fails, visibly.
const ATTEMPTS: u32 = 3;
/// What the closing answer may take beyond the turn's time.
const GRACE: Duration = Duration::from_mins(1);

/// A turn that is being worked on.
pub(super) struct Work {
    pub(super) core: Arc<Core>,
    pub(super) turn: Turn,
    pub(super) asked: Waiting,
    pub(super) place: Place,
    pub(super) cancel: CancellationToken,
    pub(super) toolbox: Toolbox,
    /// What was done so far.
    pub(super) steps: Vec<Step>,
    /// The model step that is written and waits for its answer.
    pub(super) open: Option<StepId>,
}

/// What a claim found.
pub(super) struct Claim {
    pub(super) turn: Turn,
    pub(super) asked: Waiting,
    pub(super) place: Place,
    pub(super) steps: Vec<Step>,
    pub(super) open: Option<StepId>,
}

/// Answers the next message of a session. `false` if none waits.
pub(super) async fn next(
    core: &Arc<Core>,
    session: SessionId,
    stop: &CancellationToken,
) -> Result<bool> {
    let toolbox = Toolbox::now(core);
    let again = toolbox.idempotent();
    let now = core.parts.clock.now();
    let claim = core
        .parts
        .store
        .write(move |tx| match turns::running(tx, session)? {
            Some(turn) => resume::claim(tx, turn, &again, now),
            None => claim(tx, session, now),
        });
    let Some(claim) = claim.await? else {
        return Ok(false);
    };
    let span = tracing::info_span!("turn", turn_id = %claim.turn.id, message_id = %claim.asked.id);
    let cancel = CancellationToken::new();
    core.running().insert(claim.turn.id, cancel.clone());
    let turn = claim.turn.id;
    let mut work = Work {
        core: Arc::clone(core),
        turn: claim.turn,
        asked: claim.asked,
        place: claim.place,
        cancel,
        toolbox,
        steps: claim.steps,
        open: claim.open,
    };
    let answering = guarded(&mut work, stop).instrument(span).await;
    core.running().remove(&turn);
    answering.map(|()| true)
}

/// Takes the oldest message that waits, and begins its turn with its first model call.
fn claim(tx: &Tx<'_>, session: SessionId, now: crate::types::Timestamp) -> Result<Option<Claim>> {
    let Some(asked) = inbox::next(tx, session)? else {
        return Ok(None);
    };
    let turn = Turn {
        id: TurnId::new(),
        session,
        message: asked.id,
        reply_to: asked.from.clone(),
        state: "running".to_owned(),
        attempt: 1,
        provider: None,
        model: None,
        error: None,
        started_at: now,
        finished_at: None,
    };
    turns::start(tx, &turn)?;
    inbox::set_state(tx, asked.id, State::Running, now)?;
    messages::set_turn(tx, asked.id, turn.id)?;
    let open = StepId::new();
    turns::start_model(tx, turn.id, (open, 0), now)?;
    tx.show(
        session,
        Body::Started {
            turn_id: turn.id,
            message_id: asked.id,
            attempt: 1,
        },
    )?;
    let place = place(tx, &asked)?;
    Ok(Some(Claim {
        turn,
        asked,
        place,
        steps: Vec::new(),
        open: Some(open),
    }))
}

/// Where and for whom a message is answered.
pub(super) fn place(tx: &Tx<'_>, asked: &Waiting) -> Result<Place> {
    let user = users::get(tx, asked.user)?;
    Ok(Place {
        session: asked.session,
        user: asked.user,
        person: user.map_or(asked.user, |u| u.person),
        address: asked.from.clone(),
        external_user: asked.external_user.clone(),
    })
}

/// Works on a turn; a panic in it is its failure. When the daemon stops, it is left where it is.
async fn guarded(work: &mut Work, stop: &CancellationToken) -> Result<()> {
    if work.turn.attempt > ATTEMPTS {
        let why = "The daemon stopped several times while it was working on this, so I gave up.";
        return closing::failed(work, ("INTERRUPTED", why)).await;
    }
    let working = AssertUnwindSafe(answer(work)).catch_unwind();
    let ended = tokio::select! {
        ended = working => ended,
        () = stopped(stop) => return Ok(()),
    };
    if let Ok(result) = ended {
        return result;
    }
    tracing::error!("a turn panicked");
    let why = "Something went wrong inside Nexflow; the log has the details.";
    closing::failed_if_open(work, ("INTERNAL", why)).await
}

/// A stopping daemon gives turns a moment to end by themselves.
async fn stopped(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
}

async fn answer(work: &mut Work) -> Result<()> {
    let context = match context::gather(work).await {
        Ok(context) => context,
        Err(error) => {
            tracing::error!(%error, "the context could not be read");
            return closing::failed(
                work,
                (
                    "STORE",
                    "I could not read this conversation from the database.",
                ),
            )
            .await;
        }
    };
    let unfinished = work.unfinished_calls();
    work.act(unfinished).await?;
    loop {
        if work.cancel.is_cancelled() {
            return closing::cancelled(work, "").await;
        }
        let last = work.limit();
        work.open_step().await?;
        let request = work.request(&context, last);
        let patience = Duration::from_secs(work.core.parts.live().turns.max_seconds) + GRACE;
        let reply = tokio::time::timeout(patience, model::ask(work, &request)).await;
        match reply.unwrap_or_else(|_| Reply::Failed("TIMEOUT", model::too_slow(patience))) {
            Reply::Said(mut said, about) => {
                if last.is_some() {
                    said.calls.clear();
                }
                if said.calls.is_empty() {
                    return closing::answered(work, said, about, last).await;
                }
                let calls = work.record(said, &about).await?;
                work.act(calls).await?;
            }
            Reply::Cancelled(text) => return closing::cancelled(work, &text).await,
            Reply::Failed(code, text) => return closing::failed(work, (code, &text)).await,
        }
    }
}

/// A ceiling that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Steps,
    Time,
}

impl Work {
    /// The ceiling that this turn has reached, if any.
    fn limit(&self) -> Option<Limit> {
        let limits = &self.core.parts.live().turns;
        let asked = self
            .steps
            .iter()
            .filter(|s| matches!(s.kind, StepKind::Model { .. }))
            .count();
        let took = self.core.parts.clock.now().since(self.turn.started_at);
        if asked >= limits.max_steps as usize {
            Some(Limit::Steps)
        } else if took >= Duration::from_secs(limits.max_seconds) {
            Some(Limit::Time)
        } else {
            None
        }
    }

    fn next_ordinal(&self) -> u32 {
        self.steps.iter().map(|s| s.ordinal + 1).max().unwrap_or(0)
    }

    /// Writes that the model is being asked, unless that is written already.
    async fn open_step(&mut self) -> Result<()> {
        if self.open.is_none() {
            let (id, turn, ordinal) = (StepId::new(), self.turn.id, self.next_ordinal());
            let now = self.core.parts.clock.now();
            let store = &self.core.parts.store;
            store
                .write(move |tx| turns::start_model(tx, turn, (id, ordinal), now))
                .await?;
            self.open = Some(id);
        }
        Ok(())
    }

    /// Past and present as a provider is asked; at a limit without tools.
    fn request(&self, context: &Context, last: Option<Limit>) -> Request {
        let mut messages = context.past.clone();
        messages.extend(context::said_in(&self.steps));
        if let Some(limit) = last {
            messages.push(Message::User {
                text: closing::last_word(limit),
                images: Vec::new(),
            });
        }
        Request {
            system: context.system.clone(),
            messages,
            tools: if last.is_some() {
                Vec::new()
            } else {
                self.toolbox.specs(self.by_command())
            },
            max_output_tokens: self.core.parts.live().turns.max_output_tokens,
            model: None,
        }
    }

    /// Whether this is a command, which no model is needed for.
    pub(super) fn by_command(&self) -> bool {
        crate::providers::is_command(&self.asked.text)
    }

    /// The step as what it became.
    pub(super) fn said_step(&self, id: StepId, said: &Said) -> Step {
        let now = self.core.parts.clock.now();
        Step {
            id,
            ordinal: self.next_ordinal(),
            kind: StepKind::Model {
                name: said.name.clone(),
                text: said.text.clone(),
                calls: said.calls.clone(),
                usage: said.usage,
            },
            status: CallStatus::Ok,
            started_at: now,
            first_token_at: said.first_token_at,
            finished_at: Some(now),
        }
    }

    /// What a model call took, as a row.
    pub(super) fn spent(
        &self,
        step: StepId,
        said: &Said,
        about: &crate::providers::About,
    ) -> Spent {
        let cost = self
            .core
            .parts
            .live()
            .providers
            .price(about, &about.model)
            .map(|p| p.of(said.usage));
        Spent {
            step,
            turn: self.turn.id,
            session: self.turn.session,
            user: self.place.user,
            channel: self.turn.reply_to.connector.clone(),
            provider: about.name.clone(),
            model: about.model.clone(),
            usage: said.usage,
            cost,
        }
    }

    /// One transaction: what the model said, what it took, and that its calls begin.
    async fn record(
        &mut self,
        said: Said,
        about: &crate::providers::About,
    ) -> Result<Vec<(StepId, Call)>> {
        let Some(id) = self.open.take() else {
            return Ok(Vec::new());
        };
        let spent = self.spent(id, &said, about);
        self.steps.push(self.said_step(id, &said));
        let first = self.next_ordinal();
        let calls: Vec<(StepId, Call)> = said
            .calls
            .iter()
            .map(|call| (StepId::new(), call.clone()))
            .collect();
        let (turn, session) = (self.turn.id, self.turn.session);
        let now = self.core.parts.clock.now();
        let begun = calls.clone();
        self.core
            .parts
            .store
            .write(move |tx| {
                turns::finish_model(tx, id, &said, now)?;
                usage::insert(tx, &spent, now)?;
                for ((step, call), ordinal) in begun.iter().zip(first..) {
                    turns::start_tool(tx, turn, (*step, ordinal), call, now)?;
                    tx.show(session, tool_started(turn, call))?;
                }
                Ok(())
            })
            .await?;
        for ((step, call), ordinal) in calls.iter().zip(first..) {
            let kind = StepKind::Tool {
                call: call.clone(),
                output: String::new(),
                detail: serde_json::Value::Null,
            };
            self.steps.push(Step {
                id: *step,
                ordinal,
                kind,
                status: CallStatus::Running,
                started_at: now,
                first_token_at: None,
                finished_at: None,
            });
        }
        Ok(calls)
    }

    /// Calls that began before a restart and may run again.
    fn unfinished_calls(&self) -> Vec<(StepId, Call)> {
        let running = self
            .steps
            .iter()
            .filter(|s| s.status == CallStatus::Running);
        running
            .filter_map(|step| match &step.kind {
                StepKind::Tool { call, .. } => Some((step.id, call.clone())),
                StepKind::Model { .. } => None,
            })
            .collect()
    }

    /// Runs calls side by side and takes in their results.
    async fn act(&mut self, calls: Vec<(StepId, Call)>) -> Result<()> {
        if calls.is_empty() {
            return Ok(());
        }
        let finished = self.toolbox.run(self, calls).await?;
        for (id, done) in finished {
            let Some(step) = self.steps.iter_mut().find(|s| s.id == id) else {
                continue;
            };
            step.status = done.status;
            if let StepKind::Tool { output, detail, .. } = &mut step.kind {
                *output = done.text;
                *detail = done.detail;
            }
        }
        Ok(())
    }
}

/// The frame of a call that begins.
pub(super) fn tool_started(turn_id: TurnId, call: &Call) -> Body {
    Body::ToolStarted {
        turn_id,
        call_id: call.id.clone(),
        skill: call.tool.clone(),
        input: call.args.clone(),
    }
}
