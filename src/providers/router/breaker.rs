//! The circuit breaker of one provider: who failed again and again is left alone for a while, then asked
//! once, then again like everybody.
//!
//! One circuit for each model and class of error. The section of the configuration, and so its
//! credential, is the provider's: a changed section begins with closed circuits.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use crate::{providers::ProviderError, types::Span};

/// A provider that is told how long to wait is believed up to this.
const LONGEST: Duration = Duration::from_hours(1);
/// A wait that a provider asks for opens its circuit at once if it is longer than this; a shorter one
/// is waited for.
pub(super) const SHORT: Duration = Duration::from_secs(10);
/// Circuits of one provider at most: a message can name any model.
const MOST: usize = 64;

/// `llm.breaker`: when a provider is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Rules {
    /// Failures of one kind within `window` after which it is left alone.
    pub failures: u32,
    /// How long a failure counts.
    pub window: Span,
    /// How long it is left alone the first time; each time doubles it.
    pub open: Span,
    /// How long it is left alone at most.
    pub max_open: Span,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            failures: 3,
            window: Span(Duration::from_mins(5)),
            open: Span(Duration::from_secs(15)),
            max_open: Span(Duration::from_mins(10)),
        }
    }
}

/// Errors that say something about a provider. What is wrong with a request does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Too many requests.
    RateLimit,
    /// It has an error of its own, or stopped in the middle.
    Server,
    /// It does not take our key.
    Auth,
    /// Nothing answers at its address.
    Connect,
}

impl Class {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::Server => "server",
            Self::Auth => "auth",
            Self::Connect => "connect",
        }
    }

    /// What an error counts as; none for the caller's own mistakes.
    pub fn of(error: &ProviderError) -> Option<Self> {
        match error {
            ProviderError::RateLimited { .. } => Some(Self::RateLimit),
            ProviderError::Down { .. } => Some(Self::Server),
            ProviderError::Unreachable { .. } => Some(Self::Connect),
            ProviderError::Credentials { .. } => Some(Self::Auth),
            ProviderError::TooLong { .. }
            | ProviderError::Refused { .. }
            | ProviderError::Garbled { .. } => None,
        }
    }
}

/// One circuit as it is shown; closed ones without failures are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Circuit {
    /// The model.
    pub model: String,
    /// Which errors it counts.
    pub class: Class,
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// Failures that count now.
    pub failures: usize,
    /// Seconds until it is asked again, where it is open.
    pub retry_in_s: Option<u64>,
    /// The last error.
    pub last_error: String,
}

/// Why a provider is not asked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// How long it is left alone; none while somebody else tries it.
    pub for_: Option<Duration>,
    /// The last error.
    pub last_error: String,
}

#[derive(Debug)]
enum State {
    Closed,
    /// Nobody asks until then; `told` if the provider itself said so.
    Open {
        until: Instant,
        told: bool,
    },
    /// One call is under way to see.
    HalfOpen,
}

#[derive(Debug)]
struct Count {
    state: State,
    failures: VecDeque<Instant>,
    /// How often it opened without a success between.
    opened: u32,
    last_error: String,
}

/// The circuits of one provider.
#[derive(Debug)]
pub(super) struct Breaker {
    rules: Rules,
    counts: Mutex<BTreeMap<(String, Class), Count>>,
    /// A call that was to see has ended.
    seen: Notify,
}

/// The right to make one call, which is to tell how it went. Dropped without a word, the call counts
/// as never made: a person stopped it.
#[derive(Debug)]
pub(super) struct Ticket {
    breaker: Arc<Breaker>,
    model: String,
    /// Classes whose circuits are half open for this call.
    probes: Vec<Class>,
}

impl Breaker {
    pub(super) fn new(rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            rules,
            counts: Mutex::default(),
            seen: Notify::new(),
        })
    }

    /// Why a model is not to be asked now, without taking anything.
    pub(super) fn blocked(&self, model: &str) -> Option<Blocked> {
        blocked(&self.lock(), model, (false, Instant::now()))
    }

    /// Lets one call through, or says why not. With `urgent` nobody else is left to ask: an open
    /// circuit is tried before its time, unless the provider itself named that time.
    pub(super) fn admit(self: &Arc<Self>, model: &str, urgent: bool) -> Result<Ticket, Blocked> {
        let mut counts = self.lock();
        if let Some(why) = blocked(&counts, model, (urgent, Instant::now())) {
            return Err(why);
        }
        let mut probes = Vec::new();
        for ((of, class), count) in counts.iter_mut() {
            if of == model && matches!(count.state, State::Open { .. }) {
                count.state = State::HalfOpen;
                probes.push(*class);
            }
        }
        drop(counts);
        Ok(Ticket {
            breaker: Arc::clone(self),
            model: model.to_owned(),
            probes,
        })
    }

    /// Ends when a call that was to see has ended; it counts from when it is made.
    pub(super) fn seen(&self) -> Notified<'_> {
        self.seen.notified()
    }

    /// Forgets every failure.
    pub(super) fn reset(&self) {
        self.lock().clear();
        self.seen.notify_waiters();
    }

    pub(super) fn circuits(&self) -> Vec<Circuit> {
        let now = Instant::now();
        let counts = self.lock();
        let shown = counts.iter().map(|((model, class), count)| Circuit {
            model: model.clone(),
            class: *class,
            state: match count.state {
                State::Closed => "closed",
                State::Open { .. } => "open",
                State::HalfOpen => "half_open",
            },
            failures: count.recent(self.rules.window.0, now),
            retry_in_s: match count.state {
                State::Open { until, .. } => Some(until.duration_since(now).as_secs()),
                _ => None,
            },
            last_error: count.last_error.clone(),
        });
        shown
            .filter(|circuit| circuit.state != "closed" || circuit.failures > 0)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, Class), Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, model: &str, (class, probed): (Class, bool), error: &ProviderError) {
        let now = Instant::now();
        let mut counts = self.lock();
        make_room(&mut counts);
        let key = (model.to_owned(), class);
        let count = counts.entry(key).or_insert_with(|| Count {
            state: State::Closed,
            failures: VecDeque::new(),
            opened: 0,
            last_error: String::new(),
        });
        count.failures.push_back(now);
        let window = self.rules.window.0;
        count.failures.retain(|at| now.duration_since(*at) < window);
        count.last_error = error.to_string();
        let told = match error {
            ProviderError::RateLimited { after, .. } => after.filter(|after| *after > SHORT),
            _ => None,
        };
        let enough = count.failures.len() >= self.rules.failures.max(1) as usize;
        let wait = match (&count.state, told) {
            (_, Some(after)) => after.min(LONGEST),
            // Calls that were under way when it opened say nothing new.
            (State::Open { .. }, None) => return,
            (State::HalfOpen, None) if !probed => return,
            (State::Closed, None) if !enough => return,
            _ => self.pause(count.opened),
        };
        count.opened = count.opened.saturating_add(1);
        count.state = State::Open {
            until: now + wait,
            told: told.is_some(),
        };
    }

    /// How long it is left alone when it opened so often before.
    fn pause(&self, opened: u32) -> Duration {
        let doubled = self.rules.open.0.saturating_mul(1 << opened.min(20));
        doubled.min(self.rules.max_open.0)
    }
}

impl Count {
    fn recent(&self, window: Duration, now: Instant) -> usize {
        let counts = |at: &&Instant| now.duration_since(**at) < window;
        self.failures.iter().filter(counts).count()
    }
}

fn blocked(
    counts: &BTreeMap<(String, Class), Count>,
    model: &str,
    (urgent, now): (bool, Instant),
) -> Option<Blocked> {
    let own = counts.iter().filter(|((of, _), _)| of == model);
    own.filter_map(|(_, count)| {
        let for_ = match count.state {
            State::HalfOpen => None,
            State::Open { until, told } if until > now && (told || !urgent) => {
                Some(until.duration_since(now))
            }
            State::Closed | State::Open { .. } => return None,
        };
        Some(Blocked {
            for_,
            last_error: count.last_error.clone(),
        })
    })
    .max_by_key(|why| why.for_)
}

/// Forgets what is closed, and if need be whatever comes first.
fn make_room(counts: &mut BTreeMap<(String, Class), Count>) {
    if counts.len() >= MOST {
        counts.retain(|_, count| !matches!(count.state, State::Closed));
    }
    if counts.len() >= MOST {
        counts.pop_first();
    }
}

impl Ticket {
    /// It answered: all is well with this model.
    pub(super) fn answered(mut self) {
        self.probes.clear();
        let mut counts = self.breaker.lock();
        counts.retain(|(model, _), _| *model != self.model);
        drop(counts);
        self.breaker.seen.notify_waiters();
    }

    /// It did not.
    pub(super) fn failed(mut self, error: &ProviderError) {
        let class = Class::of(error);
        let probes = std::mem::take(&mut self.probes);
        {
            // What was to be seen was seen: these errors did not come again.
            let mut counts = self.breaker.lock();
            for probe in probes.iter().filter(|probe| Some(**probe) != class) {
                counts.remove(&(self.model.clone(), *probe));
            }
        }
        if let Some(class) = class {
            let probed = probes.contains(&class);
            self.breaker.note(&self.model, (class, probed), error);
        }
        self.breaker.seen.notify_waiters();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.probes.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut counts = self.breaker.lock();
        for class in self.probes.drain(..) {
            if let Some(count) = counts.get_mut(&(self.model.clone(), class)) {
                // Nothing was seen: the next call is to see.
                count.state = State::Open {
                    until: now,
                    told: false,
                };
            }
        }
        drop(counts);
        self.breaker.seen.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
