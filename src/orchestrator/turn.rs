//! One turn: ask the model, run what it calls, until it answers. Every step is written as it happens,
//! so a turn that was killed goes on from its last step.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::{
    Core, closing, collect, context,
    lanes::Stop,
    model::{self, Reply},
    park::{self, Then},
    plan::{self, Planning},
    reopen, resume,
    running::Interrupt,
    spend::Purse,
    toolbox::Toolbox,
    transcribe,
    work::Work,
};
use crate::{
    fail::{self, Point},
    policy::Flow,
    providers::Wish,
    store::{
        Result, Tx,
        inbox::Waiting,
        sessions,
        turns::{self, Step, Turn},
        users,
    },
    types::{Place, Room, SessionId, StepId, money::Usd},
};

/// How often a turn goes on after it was cut off; then it fails, visibly.
const RESUMED: u32 = 3;
/// What the closing answer may take beyond the turn's time.
const GRACE: Duration = Duration::from_mins(1);

/// What a claim found.
pub(super) struct Claim {
    pub(super) turn: Turn,
    /// The message that the turn replies to, with the texts of all that it was asked together.
    pub(super) asked: Waiting,
    /// Others that it answers too, and those that joined it, oldest first.
    pub(super) also: Vec<Waiting>,
    /// A message that waits and ends this turn.
    pub(super) ended_by: Option<Interrupt>,
    /// Everything that it answers was deleted: it ends.
    pub(super) gone: bool,
    pub(super) place: Place,
    /// The room that it is said in, if it is one.
    pub(super) room: Option<Room>,
    pub(super) role: users::Role,
    pub(super) steps: Vec<Step>,
    pub(super) open: Option<StepId>,
    /// What it cost so far.
    pub(super) spent: Usd,
    /// The boundary that it is past once it is committed.
    pub(super) past: Point,
}

/// Answers what waits in a session next. `false` if nothing does.
pub(super) async fn next(core: &Arc<Core>, session: SessionId, stop: &Stop) -> Result<bool> {
    let toolbox = Toolbox::now(core);
    let again = toolbox.idempotent();
    let live = core.parts.live();
    // Without a model every message is a request of its own.
    let alone = !live.providers.has_model();
    let busy = core.running.begin(session);
    let now = core.parts.clock.now();
    let claim = core
        .parts
        .store
        .keep(move |tx| match turns::unfinished(tx, session)? {
            Some(turn) => match resume::claim(tx, turn, &again, now)? {
                None => collect::beside(tx, session, now),
                claim => Ok(claim),
            },
            None => collect::claim(tx, session, alone, now),
        });
    let Some(claim) = claim.await? else {
        return Ok(false);
    };
    fail::point(claim.past);
    let span = tracing::info_span!("turn", turn_id = %claim.turn.id, message_id = %claim.asked.id);
    // Not what joined it while it ran: that does not protect it from an older message that ends it.
    busy.claimed(claim.turn.id, claim.asked.id);
    if let Some(by) = claim.ended_by {
        core.running.interrupt(session, by);
    }
    if claim.gone {
        busy.cancel.cancel();
    }
    let toolbox = toolbox.in_room(claim.room.as_ref());
    let mut work = Work {
        core: Arc::clone(core),
        turn: claim.turn,
        asked: claim.asked,
        also: claim.also,
        place: claim.place,
        room: claim.room,
        role: claim.role,
        flow: Flow::default(),
        planning: Planning::Off,
        again: Vec::new(),
        cancel: busy.cancel.clone(),
        toolbox,
        steps: claim.steps,
        open: claim.open,
        purse: Purse::new(claim.spent),
        wish: Wish::default(),
        stood_in: Mutex::default(),
        joined: Vec::new(),
    };
    work.load_joined().await?;
    work.wish = model::wish(&work).await?;
    guarded(&mut work, stop)
        .instrument(span)
        .await
        .map(|()| true)
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
        room: sessions::room(tx, asked.session)?.is_some(),
    })
}

/// Works on a turn; a panic in it is its failure. When the daemon stops, it is left where it is.
async fn guarded(work: &mut Work, stop: &Stop) -> Result<()> {
    // Stops that were asked for are nobody's fault.
    if work.turn.attempt > 1 + RESUMED + work.turn.stops {
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
async fn stopped(stop: &Stop) {
    stop.asked.cancelled().await;
    tokio::time::sleep(stop.patience).await;
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
    transcribe::listen(work).await?;
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
                fail::point(Point::ModelAnswered);
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
