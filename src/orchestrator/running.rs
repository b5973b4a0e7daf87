//! Turns that run now: how they are stopped, by a person or by a newer message.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::types::{MessageId, SessionId, TurnId};

/// At most one turn a session.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<SessionId, Slot>>);

#[derive(Debug, Default)]
struct Slot {
    cancel: CancellationToken,
    /// The turn and its newest message, once it is claimed.
    claimed: Option<(TurnId, MessageId)>,
    /// The newest message that ends what runs.
    interrupt: Option<MessageId>,
}

impl Slot {
    fn superseded(&self) -> bool {
        self.claimed
            .zip(self.interrupt)
            .is_some_and(|((_, newest), by)| by > newest)
    }

    fn settle(&self) {
        if self.superseded() {
            self.cancel.cancel();
        }
    }
}

/// A session that is being worked on, until this is dropped.
pub(super) struct Busy<'a> {
    running: &'a Running,
    session: SessionId,
    /// Ends the turn.
    pub(super) cancel: CancellationToken,
}

impl Running {
    /// Registers a session before its turn is claimed, so that no interruption is missed between.
    pub(super) fn begin(&self, session: SessionId) -> Busy<'_> {
        let slot = Slot::default();
        let cancel = slot.cancel.clone();
        self.lock().insert(session, slot);
        Busy {
            running: self,
            session,
            cancel,
        }
    }

    /// Stops a turn; `false` if it does not run.
    pub(super) fn cancel(&self, turn: TurnId) -> bool {
        let slots = self.lock();
        let found = slots
            .values()
            .find(|s| s.claimed.is_some_and(|(id, _)| id == turn));
        found.inspect(|slot| slot.cancel.cancel()).is_some()
    }

    /// A message that ends what runs is on disk. A turn that answers it is not ended by it.
    pub(super) fn interrupt(&self, session: SessionId, by: MessageId) {
        if let Some(slot) = self.lock().get_mut(&session) {
            slot.interrupt = slot.interrupt.max(Some(by));
            slot.settle();
        }
    }

    /// Whether the turn of a session was ended by a newer message.
    pub(super) fn superseded(&self, session: SessionId) -> bool {
        self.lock().get(&session).is_some_and(Slot::superseded)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Busy<'_> {
    /// The turn is written; `newest` is the last message that it answers.
    pub(super) fn claimed(&self, turn: TurnId, newest: MessageId) {
        if let Some(slot) = self.running.lock().get_mut(&self.session) {
            slot.claimed = Some((turn, newest));
            slot.settle();
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.running.lock().remove(&self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_ends_older_turns_only_whenever_it_comes() {
        let running = Running::default();
        let session = SessionId::new();
        let (old, new) = (MessageId::new(), MessageId::new());
        // Before the claim of an older message, and after.
        for before in [true, false] {
            let busy = running.begin(session);
            if before {
                running.interrupt(session, new);
            }
            assert!(!busy.cancel.is_cancelled());
            busy.claimed(TurnId::new(), old);
            if !before {
                running.interrupt(session, new);
            }
            assert!(busy.cancel.is_cancelled() && running.superseded(session));
        }
        // The turn that answers it goes on.
        let busy = running.begin(session);
        running.interrupt(session, new);
        busy.claimed(TurnId::new(), new);
        assert!(!busy.cancel.is_cancelled() && !running.superseded(session));
    }

    #[test]
    fn a_turn_is_stopped_by_its_id_while_it_runs() {
        let running = Running::default();
        let (session, turn) = (SessionId::new(), TurnId::new());
        let busy = running.begin(session);
        busy.claimed(turn, MessageId::new());
        assert!(!running.cancel(TurnId::new()));
        assert!(running.cancel(turn) && busy.cancel.is_cancelled());
        drop(busy);
        assert!(!running.cancel(turn));
    }
}
