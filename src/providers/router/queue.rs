//! Who may ask a provider now: so many calls side by side, and of those that wait one session after the
//! other, however many calls each of them has.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::types::SessionId;

/// The queue of one provider. Memory grows with those that wait.
#[derive(Debug)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Calls side by side at most; none: any number.
    most: Option<usize>,
    running: usize,
    /// Sessions that wait, the next first, each with its calls.
    waiting: VecDeque<(SessionId, VecDeque<oneshot::Sender<Place>>)>,
}

/// The right to ask, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Queue>);

impl Queue {
    pub(super) fn new(most: Option<usize>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            most: most.map(|n| n.max(1)),
            running: 0,
            waiting: VecDeque::new(),
        })))
    }

    /// Waits for a place. Who stops waiting takes none.
    pub(super) async fn enter(self: &Arc<Self>, session: SessionId) -> Place {
        let (grant, granted) = oneshot::channel();
        self.lock().wait(session, grant);
        self.admit();
        match granted.await {
            Ok(place) => place,
            // Cannot happen: who waits is never forgotten.
            Err(_closed) => std::future::pending().await,
        }
    }

    /// Calls at most, those that run and those that wait.
    pub(super) fn counts(&self) -> (Option<usize>, usize, usize) {
        let state = self.lock();
        let waiting = state.waiting.iter().flat_map(|(_, calls)| calls);
        // Who stopped waiting is dropped when its turn comes.
        let waiting = waiting.filter(|call| !call.is_closed()).count();
        (state.most, state.running, waiting)
    }

    fn admit(self: &Arc<Self>) {
        loop {
            let next = self.lock().next();
            let Some(grant) = next else { return };
            // Who went away gives the place back, after the lock is let go.
            drop(grant.send(Place(Arc::clone(self))));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, session: SessionId, grant: oneshot::Sender<Place>) {
        match self.waiting.iter_mut().find(|(id, _)| *id == session) {
            Some((_, calls)) => calls.push_back(grant),
            None => self.waiting.push_back((session, VecDeque::from([grant]))),
        }
    }

    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        if self.most.is_some_and(|most| self.running >= most) {
            return None;
        }
        let (session, mut calls) = self.waiting.pop_front()?;
        let grant = calls.pop_front()?;
        if !calls.is_empty() {
            self.waiting.push_back((session, calls));
        }
        self.running += 1;
        Some(grant)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = self.0.lock();
            state.running = state.running.saturating_sub(1);
        }
        self.0.admit();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn sessions_take_turns_however_many_calls_one_has() {
        let queue = Queue::new(Some(1));
        let (greedy, modest) = (SessionId::new(), SessionId::new());
        let mut held = queue.enter(greedy).await;
        let mut calls: Vec<_> = (0..3)
            .map(|n| (format!("greedy {n}"), Box::pin(queue.enter(greedy))))
            .collect();
        calls.extend((0..2).map(|n| (format!("modest {n}"), Box::pin(queue.enter(modest)))));
        for (_, call) in &mut calls {
            assert!(call.now_or_never().is_none());
        }
        assert_eq!(queue.counts(), (Some(1), 1, 5));
        let mut order = Vec::new();
        while !calls.is_empty() {
            drop(held);
            let (at, place) = calls
                .iter_mut()
                .enumerate()
                .find_map(|(at, (_, call))| Some((at, call.now_or_never()?)))
                .expect("a place is free, and somebody waits");
            held = place;
            order.push(calls.remove(at).0);
            for (name, call) in &mut calls {
                assert!(call.now_or_never().is_none(), "{name}: there is one place");
            }
        }
        assert_eq!(
            order,
            ["greedy 0", "modest 0", "greedy 1", "modest 1", "greedy 2"]
        );
    }

    #[tokio::test]
    async fn who_stops_waiting_takes_no_place() {
        let queue = Queue::new(Some(1));
        let session = SessionId::new();
        let first = queue.enter(session).await;
        drop(Box::pin(queue.enter(session)).now_or_never());
        drop(first);
        assert_eq!(queue.counts(), (Some(1), 0, 0));
        assert!(queue.enter(session).now_or_never().is_some());
    }

    #[tokio::test]
    async fn without_a_limit_nobody_waits() {
        let queue = Queue::new(None);
        let session = SessionId::new();
        let places: Vec<_> = (0..100)
            .map(|_| queue.enter(session).now_or_never().expect("no limit"))
            .collect();
        assert_eq!(queue.counts(), (None, places.len(), 0));
    }
}
