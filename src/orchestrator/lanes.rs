//! One lane a session: its messages are answered in order, one turn at a time; many sessions side by
//! side, first come, first served.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Core, turn};
use crate::types::SessionId;

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

/// Runs lanes until cancelled; begins with the sessions that were waiting at the start.
pub(super) async fn run(
    core: Arc<Core>,
    mut wakes: mpsc::Receiver<SessionId>,
    waiting: Vec<SessionId>,
    cancel: CancellationToken,
) -> Result<(), String> {
    let mut lanes = Lanes {
        core,
        cancel: cancel.clone(),
        open: HashMap::new(),
        tasks: JoinSet::new(),
    };
    for session in waiting {
        lanes.wake(session);
    }
    loop {
        tokio::select! {
            Some(session) = wakes.recv() => lanes.wake(session),
            Some(ended) = lanes.tasks.join_next() => lanes.ended(ended),
            () = cancel.cancelled() => break,
        }
    }
    // Turns that do not end in time go on after the next start, from their last step.
    while lanes.tasks.join_next().await.is_some() {}
    Ok(())
}

struct Lanes {
    core: Arc<Core>,
    cancel: CancellationToken,
    /// Sessions with a task; whether they were woken again since.
    open: HashMap<SessionId, bool>,
    tasks: JoinSet<SessionId>,
}

impl Lanes {
    fn wake(&mut self, session: SessionId) {
        match self.open.entry(session) {
            Entry::Occupied(mut lane) => *lane.get_mut() = true,
            Entry::Vacant(lane) => {
                lane.insert(false);
                let work = lane_of(Arc::clone(&self.core), session, self.cancel.clone());
                self.tasks.spawn(work);
            }
        }
    }

    fn ended(&mut self, ended: Result<SessionId, tokio::task::JoinError>) {
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

/// Answers what waits in a session, one turn after the other.
async fn lane_of(core: Arc<Core>, session: SessionId, cancel: CancellationToken) -> SessionId {
    let span = tracing::info_span!("lane", session_id = %session);
    async {
        let Ok(_slot) = core.slots.acquire().await else {
            return;
        };
        while !cancel.is_cancelled() {
            match turn::next(&core, session, &cancel).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // The message is on disk; another try follows with the next wake or start.
                    tracing::error!(%error, "a turn could not be written");
                    tokio::select! {
                        () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
                        () = cancel.cancelled() => {}
                    }
                }
            }
        }
    }
    .instrument(span)
    .await;
    session
}
