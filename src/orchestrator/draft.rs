//! Live drafts: while a turn runs, platforms whose posts can be changed show it in one post, which the
//! answer takes the place of. Lossy: whatever is not shown, the answer is.

mod desk;
mod request;
mod shown;
mod view;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

pub(super) use self::{desk::Desk, request::settle};
use self::{
    request::{Became, Wanted},
    shown::Shown,
    view::View,
};
use super::Core;
use crate::{
    connectors::Connector,
    store::{Result, drafts, turns::StepKind},
    types::{
        Address, SessionId, TurnId,
        frame::{Body, Frame},
    },
};

/// Platforms show for a little longer than this that somebody writes.
const TYPING: Duration = Duration::from_secs(4);
/// Drafts whose answer does not come are looked for this often.
const SWEEP: Duration = Duration::from_secs(15);
/// Turns that are shown at most, and of these, requests at once.
const TURNS: usize = 1024;
const REQUESTS: usize = 128;
/// Turns that are remembered as shown nowhere.
const ELSEWHERE: usize = 4096;
/// Requests may take this long when the daemon stops.
const GRACE: Duration = Duration::from_secs(2);

/// Shows running turns until cancelled.
pub(super) async fn run(core: Arc<Core>, cancel: CancellationToken) -> Result<()> {
    let mut frames = core.parts.bus.watch_all();
    // Nobody else makes requests: nobody waits for those of an earlier run.
    core.parts.store.keep(|tx| drafts::recover(tx)).await?;
    let mut board = Board::new(&core);
    board.look_around().await?;
    let mut requests = FuturesUnordered::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let (due, next) = board.due(REQUESTS.saturating_sub(requests.len()));
        requests.extend(due);
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(done) = requests.next() => board.done(done),
            frame = frames.recv() => board.see(frame).await?,
            _ = sweep.tick() => requests.extend(board.left().await?),
            () = tokio::time::sleep_until(next) => {}
        }
    }
    // What nobody waits for is settled by the next run.
    drop(timeout(GRACE, requests.for_each(async |_| {})).await);
    Ok(())
}

/// A chat of a platform.
struct Chat {
    /// A draft is on its way there.
    busy: bool,
    typing: bool,
    /// Nothing is changed there before.
    next: Instant,
    /// It takes one change in this time.
    pace: Duration,
}

/// A request that ended.
enum Done {
    Draft(TurnId, Address, Became),
    Typing(TurnId, Address, Option<Duration>),
    Left,
}

/// The turns that are shown, and the chats in which they are.
struct Board<'a> {
    core: &'a Core,
    turns: HashMap<TurnId, Shown>,
    chats: HashMap<Address, Chat>,
    /// Turns that are shown nowhere.
    elsewhere: HashSet<TurnId>,
}

impl<'a> Board<'a> {
    fn new(core: &'a Core) -> Self {
        Self {
            core,
            turns: HashMap::new(),
            chats: HashMap::new(),
            elsewhere: HashSet::new(),
        }
    }

    /// Begins anew with what runs now: frames were missed.
    async fn look_around(&mut self) -> Result<()> {
        self.elsewhere.clear();
        if self
            .core
            .parts
            .live()
            .connectors
            .changing_posts()
            .is_empty()
        {
            self.turns.clear();
            return Ok(());
        }
        let limit = u32::try_from(TURNS).unwrap_or(u32::MAX);
        let store = &self.core.parts.store;
        let running = store.read(move |c| drafts::running(c, limit)).await?;
        let still: HashSet<TurnId> = running.iter().map(|(turn, _)| *turn).collect();
        self.turns.retain(|turn, _| still.contains(turn));
        for (turn, session) in running {
            self.look(turn, session).await?;
        }
        Ok(())
    }

    /// Takes in what the bus gives.
    async fn see(&mut self, frame: std::result::Result<Arc<Frame>, RecvError>) -> Result<()> {
        match frame {
            Ok(frame) => self.take(&frame).await,
            Err(RecvError::Lagged(_)) => self.look_around().await,
            // The bus lives as long as its sender, which this holds.
            Err(RecvError::Closed) => Ok(()),
        }
    }

    /// Takes a frame in.
    async fn take(&mut self, frame: &Frame) -> Result<()> {
        let Some(turn) = frame.body.turn() else {
            return Ok(());
        };
        if frame.body.ends_turn() {
            self.turns.remove(&turn);
            self.elsewhere.remove(&turn);
            return Ok(());
        }
        if self.elsewhere.contains(&turn) {
            return Ok(());
        }
        let begins = matches!(frame.body, Body::Started { .. });
        if begins || !self.turns.contains_key(&turn) {
            self.look(turn, frame.session_id).await?;
        }
        if let Some(shown) = self.turns.get_mut(&turn)
            && frame.seq > shown.seen
        {
            shown.seen = frame.seq;
            if shown.view.apply(&frame.body) {
                shown.changed();
            }
        }
        Ok(())
    }

    /// Reads what a turn has done so far, with the live pieces since.
    async fn look(&mut self, id: TurnId, session: SessionId) -> Result<()> {
        // Joins before it reads: what is in neither comes as a frame.
        let joined = self.core.parts.bus.watch(session);
        let Some((turn, asked, steps)) = request::look(self.core, id).await? else {
            self.turns.remove(&id);
            if self.elsewhere.len() >= ELSEWHERE {
                self.elsewhere.clear();
            }
            self.elsewhere.insert(id);
            return Ok(());
        };
        if self.turns.len() >= TURNS && !self.turns.contains_key(&id) {
            return Ok(());
        }
        let mut view = View::of(&steps);
        // Numbers of frames are times: pieces from before the end of the last answer of the model are in
        // what it said.
        let said = steps
            .iter()
            .filter(|s| matches!(s.kind, StepKind::Model { .. }));
        let ended = said.filter_map(|s| s.finished_at).map(|at| at.0);
        let mut seen = ended.max().unwrap_or(0);
        for piece in joined.pieces.iter().filter(|p| p.body.turn() == Some(id)) {
            if piece.seq > seen {
                seen = piece.seq;
                view.apply(&piece.body);
            }
        }
        let now = Instant::now();
        let before = self.turns.remove(&id);
        let mut shown = Shown {
            wanted: Wanted::of(&turn, &asked),
            view,
            seen,
            since: before.as_ref().and_then(|b| b.since),
            behind: false,
            posted: before.as_ref().is_some_and(|b| b.posted),
            without: before.as_ref().is_some_and(|b| b.without),
            typing_at: before.map_or(now, |b| b.typing_at),
        };
        shown.changed();
        self.turns.insert(id, shown);
        Ok(())
    }

    /// What is to be requested now, at most `room`, and when to look again.
    fn due(&mut self, mut room: usize) -> (Vec<BoxFuture<'a, Done>>, Instant) {
        let now = Instant::now();
        let mut next = now + SWEEP;
        let mut due = Vec::new();
        let live = self.core.parts.live();
        for shown in self.turns.values_mut() {
            if room < 2 {
                // Each request that ends looks again.
                break;
            }
            let to = &shown.wanted.to;
            let Some(connector) = live.connectors.get(&to.connector) else {
                continue;
            };
            let Some(pace) = connector.abilities().drafts else {
                continue;
            };
            let chat = self
                .chats
                .entry(to.clone())
                .or_insert_with(|| Chat::new(now));
            if let Some(at) = shown.types_at().filter(|_| !chat.typing) {
                if at <= now {
                    chat.typing = true;
                    shown.typing_at = now + TYPING;
                    due.push(typing(Arc::clone(connector), shown.wanted.turn, to.clone()));
                    room -= 1;
                }
                next = next.min(shown.typing_at);
            }
            if let Some(at) = shown.shows_at().filter(|_| !chat.busy) {
                let at = at.max(chat.next);
                if at <= now {
                    chat.busy = true;
                    chat.pace = pace;
                    due.push(shown.request(self.core, Arc::clone(connector)));
                    room -= 1;
                } else {
                    next = next.min(at);
                }
            }
        }
        self.tidy(now);
        (due, next)
    }

    /// Forgets what is of no use: chats in which nothing is shown, turns that wait for a person.
    fn tidy(&mut self, now: Instant) {
        self.turns
            .retain(|_, shown| shown.behind && !shown.without || !shown.view.rests());
        if self.chats.len() > self.turns.len() {
            let used: HashSet<&Address> = self.turns.values().map(|s| &s.wanted.to).collect();
            self.chats.retain(|to, chat| {
                chat.busy || chat.typing || chat.next > now || used.contains(to)
            });
        }
    }

    fn done(&mut self, done: Done) {
        let now = Instant::now();
        match done {
            Done::Draft(turn, to, became) => {
                let chat = self.chats.entry(to).or_insert_with(|| Chat::new(now));
                chat.busy = false;
                // Counted from the answer: requests that were held up on their way do not come in a row.
                chat.next = chat.next.max(now + chat.pace);
                if let Became::Later(after) = became {
                    let wait = after.unwrap_or(Duration::from_secs(1));
                    chat.next = chat.next.max(now + wait);
                }
                if let Some(shown) = self.turns.get_mut(&turn) {
                    match became {
                        Became::Shown => shown.posted = true,
                        Became::Later(_) => shown.behind = true,
                        Became::Without => shown.without = true,
                    }
                }
            }
            Done::Typing(turn, to, wait) => {
                if let Some(chat) = self.chats.get_mut(&to) {
                    chat.typing = false;
                }
                if let (Some(shown), Some(wait)) = (self.turns.get_mut(&turn), wait) {
                    shown.typing_at = shown.typing_at.max(now + wait);
                }
            }
            Done::Left => {}
        }
    }

    /// Drafts whose answer does not come.
    async fn left(&self) -> Result<Vec<BoxFuture<'a, Done>>> {
        let read = self.core.parts.store.read(|c| drafts::left(c, 8));
        let core = self.core;
        let leave = |turn| {
            async move {
                if let Err(error) = request::leave(core, turn).await {
                    tracing::warn!(turn_id = %turn, %error, "a draft could not be settled");
                }
                Done::Left
            }
            .boxed()
        };
        Ok(read.await?.into_iter().map(leave).collect())
    }
}

impl Chat {
    fn new(now: Instant) -> Self {
        Self {
            busy: false,
            typing: false,
            next: now,
            pace: Duration::ZERO,
        }
    }
}

fn typing(connector: Arc<dyn Connector>, turn: TurnId, to: Address) -> BoxFuture<'static, Done> {
    async move {
        let wait = request::typing(&*connector, &to).await;
        Done::Typing(turn, to, wait)
    }
    .boxed()
}

#[cfg(test)]
mod tests;
