//! Who may run now: so many turns side by side, in the order in which they began to wait, and not too
//! many of one person while others wait.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::types::UserId;

/// Turns side by side at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of everybody.
    pub(super) all: usize,
    /// Of one person.
    pub(super) each: usize,
}

/// The gate. Memory grows with those that wait.
#[derive(Debug)]
pub(super) struct Gate(Mutex<State>);

#[derive(Debug)]
struct State {
    limits: Limits,
    running: usize,
    of: HashMap<UserId, usize>,
    waiting: VecDeque<(UserId, oneshot::Sender<Permit>)>,
}

/// The right to run one turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    user: UserId,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            limits,
            running: 0,
            of: HashMap::new(),
            waiting: VecDeque::new(),
        })))
    }

    /// Waits for a turn of a person. The limits hold from now on for everybody.
    pub(super) async fn enter(self: &Arc<Self>, user: UserId, limits: Limits) -> Permit {
        let (grant, granted) = oneshot::channel();
        {
            let mut state = self.lock();
            state.limits = limits;
            state.waiting.push_back((user, grant));
        }
        self.admit();
        match granted.await {
            Ok(permit) => permit,
            // Cannot happen: who waits is never forgotten.
            Err(_closed) => std::future::pending().await,
        }
    }

    /// How many run, and how many wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.running, state.waiting.len())
    }

    fn admit(self: &Arc<Self>) {
        loop {
            let next = self.lock().next();
            let Some((user, grant)) = next else { return };
            let permit = Permit {
                gate: Arc::clone(self),
                user,
            };
            // Who went away gives its permit back, after the lock is let go.
            drop(grant.send(permit));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Option<(UserId, oneshot::Sender<Permit>)> {
        if self.running >= self.limits.all.max(1) {
            return None;
        }
        let each = self.limits.each.max(1);
        let free = |user: &UserId| self.of.get(user).is_none_or(|n| *n < each);
        let at = self.waiting.iter().position(|(user, _)| free(user))?;
        let found = self.waiting.remove(at)?;
        self.running += 1;
        *self.of.entry(found.0).or_default() += 1;
        Some(found)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut state = self.gate.lock();
            state.running = state.running.saturating_sub(1);
            if let Some(n) = state.of.get_mut(&self.user) {
                *n -= 1;
                if *n == 0 {
                    state.of.remove(&self.user);
                }
            }
        }
        self.gate.admit();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LIMITS: Limits = Limits { all: 3, each: 2 };

    #[tokio::test]
    async fn the_longest_waiting_is_next_and_nobody_takes_all() {
        let gate = Gate::new(LIMITS);
        let (many, one) = (UserId::new(), UserId::new());
        let first = gate.enter(many, LIMITS).await;
        let second = gate.enter(many, LIMITS).await;
        let mut third = Box::pin(gate.enter(many, LIMITS));
        assert!(
            (&mut third).now_or_never().is_none(),
            "two of three are theirs"
        );
        let other = gate.enter(one, LIMITS).await;
        assert_eq!(gate.counts(), (3, 1));
        let mut late = Box::pin(gate.enter(one, LIMITS));
        assert!((&mut late).now_or_never().is_none(), "all three are taken");
        drop(first);
        let third = (&mut third).now_or_never().expect("waited longest");
        assert!((&mut late).now_or_never().is_none());
        drop((second, third, other));
        assert!(late.now_or_never().is_some());
        assert_eq!(gate.counts(), (0, 0));
    }

    #[tokio::test]
    async fn who_goes_away_while_waiting_takes_no_place() {
        let gate = Gate::new(Limits { all: 1, each: 1 });
        let user = UserId::new();
        let limits = Limits { all: 1, each: 1 };
        let first = gate.enter(user, limits).await;
        drop(Box::pin(gate.enter(user, limits)).now_or_never());
        drop(first);
        assert!(gate.enter(user, limits).now_or_never().is_some());
    }
}
