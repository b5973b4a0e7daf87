//! One turn: ask the model, run what it calls, until it answers. Every step is written as it happens,
//! so a turn that was killed goes on from its last step.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    Core, closing, context, flow,
    model::{self, Reply},
    park::{self, Then},
    plan::{self, Planning},
    reopen, resume,
    toolbox::Toolbox,
    work::Work,
};
use crate::{
    policy::Flow,
    store::{
        Result, Tx,
        inbox::{self, State, Waiting},
        messages,
        turns::{self, Step, Turn},
        users,
    },
    types::{Place, SessionId, StepId, TurnId, frame::Body},
};

/// Starts of a turn at most; then it fails, visibly.
const ATTEMPTS: u32 = 3;
/// What the closing answer may take beyond the turn's time.
const GRACE: Duration = Duration::from_mins(1);

/// What a claim found.
pub(super) struct Claim {
    pub(super) turn: Turn,
    pub(super) asked: Waiting,
    pub(super) place: Place,
    pub(super) role: users::Role,
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
        role: claim.role,
        flow: Flow::default(),
        planning: Planning::Off,
        again: Vec::new(),
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
        parked_at: None,
        waited: 0,
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
    let role = flow::role(tx, asked.user)?;
    Ok(Some(Claim {
        turn,
        asked,
        place,
        role,
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

/// Goes on with what a turn has begun already.
async fn take_up(work: &mut Work, context: &context::Context) -> Result<()> {
    work.flow = context.flow.clone();
    work.planning = plan::of(work).await?;
    reopen::ask_again(work).await?;
    let unfinished = work.unfinished_calls();
    work.act(unfinished).await
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
    take_up(work, &context).await?;
    loop {
        if park::wait(work).await? == Then::Stop {
            return Ok(());
        }
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
