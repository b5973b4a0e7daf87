//! Money around one attempt at a model call, of a turn or of a skill: reserved before it begins, settled
//! when it ends, however it ends. What the provider would charge for a call that died is charged, marked
//! as an estimate.

mod left;
mod reserve;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub(super) use left::{Guard, Left, settle};
pub(super) use reserve::{cached, reserve, reserve_sound};

use super::{Core, model::Call};
use crate::{
    budget::Currency,
    providers::{About, ProviderError},
    store::{
        Result, Tx,
        budgets::Window,
        reservations,
        turns::Said,
        usage::{self, Ended, Spent},
    },
    types::{
        StepId, Timestamp,
        chat::{Delta, Usage},
        frame::Body,
        money::{Price, PriceSource, Usd},
        secret::mask,
        text::shorten,
    },
};

/// The agent that everything is billed to that names no other.
pub(super) const AGENT: &str = "default";
/// For what a call is billed that writes down a voice note.
pub(super) const SOUND: &str = "transcription";
/// What is reserved for an answer of a paid model where `turns.max_output_tokens` sets no limit: it is
/// the limit then.
pub(super) const LONGEST: u64 = 16_384;
/// A refusal comes at once. A provider that was silent for longer had begun to read, and charges it.
const AT_ONCE: Duration = Duration::from_secs(5);
/// So much is kept of the text of an error.
const DETAIL: usize = 1000;

/// The money of a turn that is being worked on, or of one question of a skill.
pub(super) struct Purse {
    inner: Mutex<Inner>,
}

struct Inner {
    spent: Usd,
    /// The attempt that runs.
    held: Option<Held>,
    /// Attempts in the step so far.
    tried: (Option<StepId>, u32),
}

/// An attempt that runs.
struct Held {
    /// As its usage row will be if it answers, but for what it took.
    spent: Spent,
    /// Whether there is a row to settle.
    reserved: bool,
    price: Price,
    /// What it reads; none where no model does.
    input_tokens: Option<u64>,
    asked_at: Instant,
    /// Whether the provider took the question.
    accepted: bool,
    /// Characters heard: plain ones, and others.
    heard: (usize, usize),
}

impl Held {
    /// What the provider would charge by now.
    fn by_now(&self) -> Usage {
        let Some(input_tokens) = self.input_tokens else {
            return Usage::default();
        };
        let (plain, other) = self.heard;
        Usage {
            input_tokens,
            cached_tokens: 0,
            output_tokens: (plain.div_ceil(4) + other.div_ceil(2)) as u64,
            estimated: true,
        }
    }

    fn ended(mut self, usage: Usage, ended: Ended) -> Spent {
        self.spent.cost = self.price.of(usage);
        self.spent.usage = usage;
        self.spent.ended = ended;
        self.spent
    }
}

impl Purse {
    /// Of a turn that cost something already, if it goes on after a restart.
    pub(super) fn new(spent: Usd) -> Self {
        let inner = Inner {
            spent,
            held: None,
            tried: (None, 0),
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// What the turn cost so far.
    pub(super) fn spent(&self) -> Usd {
        self.lock().spent
    }

    /// What the turn cost so far as the database knows, with what its skills asked.
    pub(super) fn set_spent(&self, all: Usd) {
        self.lock().spent = all;
    }

    /// The provider took the question.
    pub(super) fn accepted(&self) {
        if let Some(held) = &mut self.lock().held {
            held.accepted = true;
        }
    }

    /// The provider wrote something.
    pub(super) fn heard(&self, delta: &Delta) {
        let mut inner = self.lock();
        let Some(held) = &mut inner.held else { return };
        let mut take_in = |text: &str| {
            let plain = text.bytes().filter(u8::is_ascii).count();
            held.heard.0 += plain;
            held.heard.1 += text.chars().count() - plain;
        };
        match delta {
            Delta::Text(text) | Delta::Reasoning(text) => take_in(text),
            Delta::Call(call) => {
                take_in(&call.tool);
                take_in(&call.args.to_string());
            }
            Delta::Kept { .. } | Delta::Notice(_) | Delta::Done { .. } => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next attempt in a step.
    fn next_attempt(&self, step: Option<StepId>) -> u32 {
        let mut inner = self.lock();
        let (known, tried) = inner.tried;
        inner.tried = (step, if known == step { tried + 1 } else { 1 });
        inner.tried.1
    }

    fn hold(&self, held: Held) {
        self.lock().held = Some(held);
    }

    fn take(&self) -> Option<Held> {
        self.lock().held.take()
    }

    fn charge(&self, core: &Core, spent: Spent, reserved: bool) -> Charge {
        let (parts, live) = (&core.parts, core.parts.live());
        let now = (parts.clock.now(), parts.kit.schedules.zone());
        let mut inner = self.lock();
        inner.spent = inner.spent.plus(spent.cost);
        Charge {
            windows: live.budgets.windows(&spent.bill, now),
            currency: live.budgets.currency(),
            spent,
            reserved,
        }
    }

    /// The attempt that runs gave this answer.
    pub(super) fn paid(&self, core: &Core, said: &Said, about: &About) -> Option<Charge> {
        let told = (said.usage != Usage::default()).then_some(said.usage);
        self.took(core, told, about)
    }

    /// The attempt that runs succeeded, and took this by the provider's count, if it counts.
    pub(super) fn took(&self, core: &Core, told: Option<Usage>, about: &About) -> Option<Charge> {
        let mut held = self.take()?;
        held.spent.model.clone_from(&about.model);
        let usage = told.unwrap_or_else(|| held.by_now());
        let (reserved, ended) = (held.reserved, held.spent.ended);
        Some(self.charge(core, held.ended(usage, ended), reserved))
    }

    /// Nobody waits for the attempt that runs any more, if one does: it is charged up to now.
    pub(super) fn abandoned(&self, core: &Core, error: Option<&'static str>) -> Option<Charge> {
        let held = self.take()?;
        // Where no model is asked there is nothing to tell.
        held.input_tokens?;
        let usage = held.by_now();
        let ended = error.map_or(Ended::Cancelled, |_| Ended::Failed);
        let reserved = held.reserved;
        let mut spent = held.ended(usage, ended);
        spent.error = error.map(str::to_lowercase);
        Some(self.charge(core, spent, reserved))
    }
}

/// What an attempt took, ready to be written in the transaction that writes what came of it.
#[derive(Clone)]
pub(super) struct Charge {
    spent: Spent,
    /// None was reserved for what costs nothing: the built-in provider, a model on this machine.
    reserved: bool,
    windows: Vec<Window>,
    currency: Currency,
}

impl Charge {
    /// What it cost, where that is known.
    pub(super) fn cost(&self) -> Option<Usd> {
        (self.spent.source != PriceSource::Ceiling).then_some(self.spent.cost)
    }

    /// What it took.
    pub(super) fn usage(&self) -> Usage {
        self.spent.usage
    }

    /// Settles the reservation, and tells of a soft limit that this passed.
    pub(super) fn write(&self, tx: &Tx<'_>, now: Timestamp) -> Result<()> {
        if !self.reserved {
            return usage::insert(tx, &self.spent, now);
        }
        for (window, standing) in reservations::settle(tx, &self.spent, &self.windows, now)? {
            let notice = Body::Notice {
                turn_id: self.spent.bill.turn,
                code: "budget_soft".to_owned(),
                text: self.currency.notice(&window, &standing),
            };
            tracing::warn!(scope = window.scope.as_str(), "a soft budget is reached");
            tx.show(self.spent.bill.session, notice)?;
        }
        Ok(())
    }
}

/// The attempt failed. A provider that refused, or was not there, charges nothing; one that stopped in
/// the middle charges what it read and wrote.
pub(super) async fn failed(call: &Call<'_>, error: &ProviderError) {
    let Some(held) = call.purse.take() else {
        return;
    };
    let silent = matches!(error, ProviderError::Down { .. }) && held.asked_at.elapsed() > AT_ONCE;
    let usage = if held.accepted || silent {
        held.by_now()
    } else {
        Usage::default()
    };
    let reserved = held.reserved;
    let mut spent = held.ended(usage, Ended::Failed);
    spent.error = Some(error.word().to_owned());
    spent.detail = Some(shorten(&mask(&error.to_string()), DETAIL));
    let charge = call.purse.charge(call.core, spent, reserved);
    let now = call.core.parts.clock.now();
    let write = call.core.parts.store.keep(move |tx| charge.write(tx, now));
    // The next start settles it on the safe side.
    if let Err(error) = write.await {
        tracing::error!(%error, "what a failed model call took could not be written");
    }
}
