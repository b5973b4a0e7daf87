//! Shows observers what happens in a session while it happens. Lossy on purpose: nothing depends on
//! it, and whoever missed something reads the kept frames from the store.
//!
//! Frames of one session are seen in the order of their numbers. A kept frame gets its number inside
//! its transaction and is shown after the commit; live text that arrives between the two waits.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast;

use crate::types::{
    Clock, SessionId,
    frame::{Body, Frame},
};

/// Frames that a slow observer may be behind before it has to reconnect.
const BEHIND: usize = 1024;
/// Live pieces kept of a running turn for those who join in the middle of it.
const PIECES: usize = 65_536;

/// The broadcaster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    clock: Clock,
    state: Arc<Mutex<State>>,
    all: broadcast::Sender<Arc<Frame>>,
}

#[derive(Debug, Default)]
struct State {
    last_seq: i64,
    sessions: HashMap<SessionId, Channel>,
}

#[derive(Debug)]
struct Channel {
    watchers: broadcast::Sender<Arc<Frame>>,
    /// Number of the last frame shown.
    shown: i64,
    /// Kept frames that have a number and are not committed yet.
    pending: usize,
    /// Live pieces that wait for them.
    waiting: Vec<Body>,
    /// Live pieces of the running turn.
    pieces: Vec<Arc<Frame>>,
}

/// What a new observer gets.
#[derive(Debug)]
pub struct Subscription {
    /// Everything from now on.
    pub live: broadcast::Receiver<Arc<Frame>>,
    /// Kept frames up to this number are in the store, later ones come through `live`.
    pub upto: i64,
    /// Live pieces of a running turn so far.
    pub pieces: Vec<Arc<Frame>>,
}

impl Bus {
    /// A bus whose numbers follow the clock, so that they grow across restarts.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Arc::default(),
            all: broadcast::channel(BEHIND).0,
        }
    }

    /// Numbers to come are larger than this one (the largest in the store at start).
    pub fn continue_after(&self, seq: i64) {
        let mut state = self.lock();
        state.last_seq = state.last_seq.max(seq);
    }

    /// A number for a frame that is being written. [`Bus::settle`] must follow.
    pub fn reserve(&self, session: SessionId) -> i64 {
        let mut state = self.lock();
        state.channel(session).pending += 1;
        state.next(&self.clock)
    }

    /// The transaction of a reserved frame ended: shows it if it was committed.
    pub fn settle(&self, session: SessionId, committed: Option<Frame>) {
        let mut state = self.lock();
        if let Some(frame) = committed {
            self.show(&mut state, frame);
        }
        let channel = state.channel(session);
        channel.pending = channel.pending.saturating_sub(1);
        if channel.pending == 0 {
            for body in std::mem::take(&mut channel.waiting) {
                self.live_now(&mut state, session, body);
            }
        }
        state.tidy(session);
    }

    /// Shows something that is not kept.
    pub fn live(&self, session: SessionId, body: Body) {
        let mut state = self.lock();
        let channel = state.channel(session);
        if channel.pending > 0 {
            channel.waiting.push(body);
        } else {
            self.live_now(&mut state, session, body);
        }
    }

    /// Joins a session.
    pub fn watch(&self, session: SessionId) -> Subscription {
        let mut state = self.lock();
        let channel = state.channel(session);
        Subscription {
            live: channel.watchers.subscribe(),
            upto: if channel.shown == 0 {
                i64::MAX
            } else {
                channel.shown
            },
            pieces: channel.pieces.clone(),
        }
    }

    /// Every frame of every session.
    pub fn watch_all(&self) -> broadcast::Receiver<Arc<Frame>> {
        self.all.subscribe()
    }

    fn live_now(&self, state: &mut State, session: SessionId, body: Body) {
        let frame = Frame {
            seq: state.next(&self.clock),
            session_id: session,
            body,
        };
        self.show(state, frame);
    }

    fn show(&self, state: &mut State, frame: Frame) {
        let frame = Arc::new(frame);
        let channel = state.channel(frame.session_id);
        channel.shown = frame.seq;
        if frame.body.ends_turn() || matches!(frame.body, Body::Started { .. }) {
            channel.pieces.clear();
        } else if !frame.body.is_kept() && channel.pieces.len() < PIECES {
            channel.pieces.push(Arc::clone(&frame));
        }
        // Nobody watching is no error.
        drop(channel.watchers.send(Arc::clone(&frame)));
        drop(self.all.send(frame));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn channel(&mut self, session: SessionId) -> &mut Channel {
        self.sessions.entry(session).or_insert_with(|| Channel {
            watchers: broadcast::channel(BEHIND).0,
            shown: 0,
            pending: 0,
            waiting: Vec::new(),
            pieces: Vec::new(),
        })
    }

    fn next(&mut self, clock: &Clock) -> i64 {
        self.last_seq = clock.now().0.max(self.last_seq + 1);
        self.last_seq
    }

    /// Forgets a session that nobody watches and in which nothing runs.
    fn tidy(&mut self, session: SessionId) {
        let idle = self.sessions.get(&session).is_some_and(|channel| {
            channel.watchers.receiver_count() == 0
                && channel.pending == 0
                && channel.pieces.is_empty()
        });
        if idle {
            self.sessions.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TurnId;

    fn text(turn_id: TurnId, text: &str) -> Body {
        Body::Text {
            turn_id,
            text: text.to_owned(),
        }
    }

    fn notice(turn_id: TurnId) -> Body {
        Body::Notice {
            turn_id: Some(turn_id),
            code: "x".to_owned(),
            text: "x".to_owned(),
        }
    }

    #[test]
    fn live_text_waits_for_a_frame_that_is_being_written() {
        let bus = Bus::new(Clock::system());
        let (session, turn) = (SessionId::new(), TurnId::new());
        let mut seen = bus.watch(session);
        let seq = bus.reserve(session);
        bus.live(session, text(turn, "after"));
        assert!(seen.live.try_recv().is_err(), "nothing before the commit");
        bus.settle(
            session,
            Some(Frame {
                seq,
                session_id: session,
                body: notice(turn),
            }),
        );
        assert_eq!(seen.live.try_recv().unwrap().seq, seq);
        let later = seen.live.try_recv().unwrap();
        assert!(later.seq > seq && later.body == text(turn, "after"));
    }

    #[test]
    fn who_joins_in_the_middle_gets_the_pieces_so_far() {
        let bus = Bus::new(Clock::system());
        let (session, turn) = (SessionId::new(), TurnId::new());
        bus.live(session, text(turn, "a"));
        bus.live(session, text(turn, "b"));
        let joined = bus.watch(session);
        assert_eq!(joined.pieces.len(), 2);
        assert_eq!(joined.upto, joined.pieces[1].seq);
    }

    #[test]
    fn numbers_grow_even_when_the_clock_stands_still() {
        let bus = Bus::new(Clock::manual(crate::types::Timestamp(5)));
        bus.continue_after(100);
        let session = SessionId::new();
        assert!(bus.reserve(session) > 100);
        assert_eq!(bus.reserve(session), 102);
    }
}
