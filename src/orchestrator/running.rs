//! Turns that run now: how they are stopped, by a person or by a newer message.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::types::{MessageId, SessionId, TurnId, WhenBusy};

/// Stops that are remembered for turns which are about to be taken up.
const STOPS: usize = 256;

/// At most one turn a session.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    slots: HashMap<SessionId, Slot>,
    /// Turns that are on disk and were stopped before they were taken up; the oldest first.
    stops: VecDeque<TurnId>,
}

#[derive(Debug, Default)]
struct Slot {
    cancel: CancellationToken,
    /// The turn and its newest message, once it is claimed.
    claimed: Option<(TurnId, MessageId)>,
    /// The newest message that ends what runs.
    interrupt: Option<Interrupt>,
}

impl Inner {
    fn cancel(&self, turn: TurnId) -> bool {
        let runs = |slot: &&Slot| slot.claimed.is_some_and(|(id, _)| id == turn);
        let found = self.slots.values().find(runs);
        found.inspect(|slot| slot.cancel.cancel()).is_some()
    }
}

/// A message that ends what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interrupt {
    pub(super) by: MessageId,
    /// It is answered instead; otherwise it only stops.
    instead: bool,
}

impl Interrupt {
    /// What a message does to what runs; none for one that leaves it alone.
    pub(super) fn of(by: MessageId, mode: WhenBusy) -> Option<Self> {
        let instead = match mode {
            WhenBusy::Interrupt => true,
            WhenBusy::Stop => false,
            _ => return None,
        };
        Some(Self { by, instead })
    }
}

impl Slot {
    fn interrupted(&self) -> Option<Interrupt> {
        let (_, newest) = self.claimed?;
        self.interrupt.filter(|interrupt| interrupt.by > newest)
    }

    fn settle(&self) {
        if self.interrupted().is_some() {
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
        self.lock().slots.insert(session, slot);
        Busy {
            running: self,
            session,
            cancel,
        }
    }

    /// Stops a turn; `false` if it does not run.
    pub(super) fn cancel(&self, turn: TurnId) -> bool {
        self.lock().cancel(turn)
    }

    /// Stops a turn that is on disk, now or as soon as it is taken up: after a restart it may wait for
    /// its place, and what tells of its beginning may be faster than its taking up.
    pub(super) fn cancel_soon(&self, turn: TurnId) {
        let mut inner = self.lock();
        if inner.cancel(turn) {
            return;
        }
        if inner.stops.len() >= STOPS {
            inner.stops.pop_front();
        }
        inner.stops.push_back(turn);
    }

    /// A message that ends what runs is on disk. A turn that answers it is not ended by it.
    pub(super) fn interrupt(&self, session: SessionId, interrupt: Interrupt) {
        if let Some(slot) = self.lock().slots.get_mut(&session) {
            slot.interrupt = slot.interrupt.max(Some(interrupt));
            slot.settle();
        }
    }

    /// Whether the turn of a session was ended by a newer message that is answered instead.
    pub(super) fn superseded(&self, session: SessionId) -> bool {
        self.lock()
            .slots
            .get(&session)
            .and_then(Slot::interrupted)
            .is_some_and(|interrupt| interrupt.instead)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Busy<'_> {
    /// The turn is written; `newest` is the last message that it answers.
    pub(super) fn claimed(&self, turn: TurnId, newest: MessageId) {
        let mut inner = self.running.lock();
        let stopped = inner.stops.contains(&turn);
        inner.stops.retain(|stop| *stop != turn);
        if let Some(slot) = inner.slots.get_mut(&self.session) {
            slot.claimed = Some((turn, newest));
            slot.settle();
            if stopped {
                slot.cancel.cancel();
            }
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.running.lock().slots.remove(&self.session);
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
        let by = |instead| Interrupt { by: new, instead };
        // Before the claim of an older message, and after.
        for (before, instead) in [(true, true), (false, true), (false, false)] {
            let busy = running.begin(session);
            if before {
                running.interrupt(session, by(instead));
            }
            assert!(!busy.cancel.is_cancelled());
            busy.claimed(TurnId::new(), old);
            if !before {
                running.interrupt(session, by(instead));
            }
            assert!(busy.cancel.is_cancelled());
            assert_eq!(running.superseded(session), instead);
        }
        // The turn that answers it goes on.
        let busy = running.begin(session);
        running.interrupt(session, by(true));
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

    #[test]
    fn a_stop_that_comes_before_a_turn_is_taken_up_is_kept_for_it_alone() {
        let running = Running::default();
        let (turn, other) = (TurnId::new(), TurnId::new());
        running.cancel_soon(turn);
        let busy = running.begin(SessionId::new());
        busy.claimed(other, MessageId::new());
        assert!(!busy.cancel.is_cancelled());
        let busy = running.begin(SessionId::new());
        busy.claimed(turn, MessageId::new());
        assert!(busy.cancel.is_cancelled());
        drop(busy);
        // Once.
        let again = running.begin(SessionId::new());
        again.claimed(turn, MessageId::new());
        assert!(!again.cancel.is_cancelled());
        running.cancel_soon(turn);
        assert!(again.cancel.is_cancelled());
    }
}
