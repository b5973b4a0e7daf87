//! One lane a session: its messages are answered in order, one turn at a time; many sessions side by
//! side, first come, first served.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Core, turn};
use crate::{
    store::{Result, sessions, turns},
    types::{SessionId, UserId},
};

/// Wake-ups that may wait; senders wait beyond that.
const QUEUE: usize = 1024;

/// Tells the lanes that a session has something to answer.
#[derive(Clone)]
pub(super) struct Wake(mpsc::Sender<SessionId>);

impl Wake {
    pub(super) async fn wake(&self, session: SessionId) {
        if self.0.send(session).await.is_err() {
            // The daemon stops: the message is on disk and waits for the next start.
            tracing::debug!(session_id = %session, "left for the next start");
        }
    }
}

/// A channel of wake-ups.
pub(super) fn channel() -> (Wake, mpsc::Receiver<SessionId>) {
    let (send, receive) = mpsc::channel(QUEUE);
    (Wake(send), receive)
}

/// What lanes begin with.
pub(super) struct Start {
    pub(super) wakes: mpsc::Receiver<SessionId>,
    /// Sessions in which something waited at the start.
    pub(super) waiting: Vec<SessionId>,
    /// How long turns may take to end by themselves when the daemon stops.
    pub(super) patience: Duration,
}

/// Runs lanes until cancelled; begins with the sessions that were waiting at the start.
pub(super) async fn run(
    core: Arc<Core>,
    start: Start,
    cancel: CancellationToken,
) -> std::result::Result<(), String> {
    let mut wakes = start.wakes;
    let mut released = core.held.subscribe();
    let stop = Stop {
        asked: cancel.clone(),
        patience: start.patience,
    };
    let mut lanes = Lanes {
        core,
        stop,
        open: HashMap::new(),
        held: HashSet::new(),
        tasks: JoinSet::new(),
    };
    for session in start.waiting {
        lanes.wake(session);
    }
    loop {
        tokio::select! {
            Some(session) = wakes.recv() => lanes.wake(session),
            Some(ended) = lanes.tasks.join_next() => lanes.ended(ended),
            Ok(()) = released.changed() => lanes.release(),
            () = cancel.cancelled() => break,
        }
    }
    // Turns that do not end in time go on after the next start, from their last step.
    while lanes.tasks.join_next().await.is_some() {}
    match lanes.core.parts.store.write(|tx| turns::put_down(tx)).await {
        Ok(0) => {}
        Ok(turns) => tracing::info!(turns, "put down until the next start"),
        Err(error) => tracing::warn!(%error, "turns could not be put down properly"),
    }
    lanes.core.drained.cancel();
    Ok(())
}

/// That the daemon stops, and how long turns may take to end by themselves then.
#[derive(Clone)]
pub(super) struct Stop {
    pub(super) asked: CancellationToken,
    pub(super) patience: Duration,
}

struct Lanes {
    core: Arc<Core>,
    stop: Stop,
    /// Sessions with a task; whether they were woken again since.
    open: HashMap<SessionId, bool>,
    /// Sessions that begin when turns are not held any more.
    held: HashSet<SessionId>,
    tasks: JoinSet<SessionId>,
}

impl Lanes {
    fn wake(&mut self, session: SessionId) {
        if self.core.held.borrow().is_some() {
            self.held.insert(session);
            return;
        }
        match self.open.entry(session) {
            Entry::Occupied(mut lane) => *lane.get_mut() = true,
            Entry::Vacant(lane) => {
                lane.insert(false);
                let work = lane_of(Arc::clone(&self.core), session, self.stop.clone());
                self.tasks.spawn(work);
            }
        }
    }

    fn release(&mut self) {
        if self.core.held.borrow().is_none() {
            for session in std::mem::take(&mut self.held) {
                self.wake(session);
            }
        }
    }

    fn ended(&mut self, ended: std::result::Result<SessionId, tokio::task::JoinError>) {
        match ended {
            Ok(session) => {
                if self.open.remove(&session) == Some(true) {
                    self.wake(session);
                }
            }
            // Cannot happen: a lane catches the panics of its turns.
            Err(error) => tracing::error!(%error, "a lane was lost"),
        }
    }
}

/// Answers what waits in a session, one turn after the other. Each turn waits for its place anew, so a
/// session with much to do does not keep others waiting.
async fn lane_of(core: Arc<Core>, session: SessionId, stop: Stop) -> SessionId {
    let span = tracing::info_span!("lane", session_id = %session);
    async {
        let mut user = None;
        while !stop.asked.is_cancelled() {
            match turn_of(&core, (session, &mut user), &stop).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // The message is on disk; another try follows.
                    tracing::error!(%error, "a turn could not be written");
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                        () = stop.asked.cancelled() => {}
                    }
                }
            }
        }
    }
    .instrument(span)
    .await;
    session
}

/// The next turn of a session, when it has a place. `user` keeps whose session it is.
async fn turn_of(
    core: &Arc<Core>,
    (session, user): (SessionId, &mut Option<UserId>),
    stop: &Stop,
) -> Result<bool> {
    if user.is_none() {
        *user = owner(core, session).await?;
    }
    let Some(user) = *user else {
        return Ok(false);
    };
    let limits = core.parts.live().turns.gate();
    let _permit = tokio::select! {
        permit = core.gate.enter(user, limits) => permit,
        () = stop.asked.cancelled() => return Ok(false),
    };
    turn::next(core, session, stop).await
}

/// Whose session it is; none if it was removed.
async fn owner(core: &Core, session: SessionId) -> Result<Option<UserId>> {
    let place = core.parts.store.read(move |c| sessions::place(c, session));
    Ok(place.await?.map(|(user, _)| user))
}
