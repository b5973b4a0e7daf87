//! Money around one attempt at a model call: reserved before it begins, settled when it ends, however
//! it ends. What the provider would charge for a call that died is charged, marked as an estimate.

use std::{
    borrow::Cow,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::work::Work;
use crate::{
    budget::{self, Currency},
    fail::{self, Point},
    providers::{About, ProviderError, Request},
    store::{
        Result, Tx,
        budgets::Window,
        reservations::{self, Bill, Verdict, Wanted},
        turns::Said,
        usage::{self, Ended, Spent},
    },
    types::{
        AttemptId, ScheduleId, StepId, Timestamp,
        chat::{Delta, Usage},
        frame::Body,
        money::{Price, PriceSource, Usd},
    },
};

/// The agent that everything is billed to that names no other.
pub(super) const AGENT: &str = "default";
/// What is reserved for an answer of a paid model where `turns.max_output_tokens` sets no limit: it is
/// the limit then.
pub(super) const LONGEST: u64 = 16_384;
/// A refusal comes at once. A provider that was silent for longer had begun to read, and charges it.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The money of a turn that is being worked on.
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

/// A reserved attempt.
struct Held {
    /// As its usage row will be, but for what it took.
    spent: Spent,
    /// Whether there is a row to settle.
    reserved: bool,
    price: Price,
    input_tokens: u64,
    asked_at: Instant,
    /// Whether the provider took the question.
    accepted: bool,
    /// Characters heard: plain ones, and others.
    heard: (usize, usize),
}

impl Held {
    /// What the provider would charge by now.
    fn by_now(&self) -> Usage {
        let (plain, other) = self.heard;
        Usage {
            input_tokens: self.input_tokens,
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

    fn take(&self) -> Option<Held> {
        self.lock().held.take()
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
    /// Settles the reservation, and tells of a soft limit that this passed.
    pub(super) fn write(&self, tx: &Tx<'_>, now: Timestamp) -> Result<()> {
        if !self.reserved {
            return usage::insert(tx, &self.spent, now);
        }
        for (window, standing) in reservations::settle(tx, &self.spent, &self.windows, now)? {
            let notice = Body::Notice {
                turn_id: Some(self.spent.bill.turn),
                code: "budget_soft".to_owned(),
                text: self.currency.notice(&window, &standing),
            };
            tracing::warn!(scope = window.scope.as_str(), "a soft budget is reached");
            tx.show(self.spent.bill.session, notice)?;
        }
        Ok(())
    }
}

impl Work {
    fn bill(&self) -> Bill {
        // A schedule's message has its id in its own.
        let slot = self.asked.external_id.strip_prefix("schedule:");
        let schedule = slot.and_then(|slot| slot.split(':').next()?.parse::<ScheduleId>().ok());
        Bill {
            step: self.open,
            turn: self.turn.id,
            session: self.turn.session,
            user: self.place.user,
            person: self.place.person,
            agent: AGENT.to_owned(),
            channel: self.turn.reply_to.connector.clone(),
            schedule,
            purpose: "chat".to_owned(),
        }
    }

    fn charge(&self, spent: Spent, reserved: bool) -> Charge {
        let (parts, live) = (&self.core.parts, self.core.parts.live());
        let now = (parts.clock.now(), parts.kit.schedules.zone());
        let mut purse = self.purse.lock();
        purse.spent = purse.spent.plus(spent.cost);
        Charge {
            windows: live.budgets.windows(&spent.bill, now),
            currency: live.budgets.currency(),
            spent,
            reserved,
        }
    }

    /// The attempt that runs gave this answer.
    pub(super) fn paid(&self, said: &Said, about: &About) -> Charge {
        let Some(mut held) = self.purse.take() else {
            return self.charge(self.unreserved(said, about), false);
        };
        held.spent.model.clone_from(&about.model);
        let usage = if said.usage == Usage::default() {
            held.by_now()
        } else {
            said.usage
        };
        let reserved = held.reserved;
        self.charge(held.ended(usage, Ended::Ok), reserved)
    }

    fn unreserved(&self, said: &Said, about: &About) -> Spent {
        Spent {
            id: AttemptId::new(),
            bill: self.bill(),
            attempt: self.purse.next_attempt(self.open),
            provider: about.name.clone(),
            model: about.model.clone(),
            usage: said.usage,
            cost: Usd::default(),
            source: PriceSource::Free,
            ended: Ended::Ok,
            error: None,
        }
    }

    /// The turn ends while an attempt runs, if one does: it is charged up to now.
    pub(super) fn abandoned(&self, error: Option<&'static str>) -> Option<Charge> {
        let held = self.purse.take()?;
        let usage = held.by_now();
        let ended = error.map_or(Ended::Cancelled, |_| Ended::Failed);
        let reserved = held.reserved;
        let mut spent = held.ended(usage, ended);
        spent.error = error.map(str::to_lowercase);
        Some(self.charge(spent, reserved))
    }
}

/// Reserves what an attempt may cost at most, in a transaction of its own that is on disk before the
/// provider is asked: which provider that is, is decided after its step began. Answers the request,
/// with less to write where the budget has no more.
///
/// # Errors
/// A text for the person, where a limit is reached.
pub(super) async fn reserve<'a>(
    work: &Work,
    about: &About,
    request: &'a Request,
) -> std::result::Result<Cow<'a, Request>, String> {
    if about.offline {
        return Ok(Cow::Borrowed(request));
    }
    let wanted = wanted(work, about, request);
    if wanted.quote.price.is_free() {
        // Nothing to reserve, no limit to pass: the answer does not wait for the disk.
        hold(work, wanted, false);
        return Ok(Cow::Borrowed(request));
    }
    let (parts, live) = (&work.core.parts, work.core.parts.live());
    let max_output_tokens = match commit(work, wanted).await {
        Ok(Verdict::Reserved {
            max_output_tokens, ..
        }) => max_output_tokens,
        Ok(Verdict::Refused(short)) => {
            work.purse.take();
            tracing::warn!(
                scope = short.window.scope.as_str(),
                provider = about.name,
                "a budget has no room for a model call"
            );
            return Err(live
                .budgets
                .currency()
                .refusal(&short, parts.kit.schedules.zone()));
        }
        Err(error) => {
            work.purse.take();
            tracing::error!(%error, "what a model call may cost could not be reserved");
            return Err("I did not ask the model: what the call may cost could not be written down. The log has the details.".to_owned());
        }
    };
    fail::point(Point::MoneyReserved);
    let limited = max_output_tokens != u64::from(request.max_output_tokens);
    Ok(if limited {
        Cow::Owned(Request {
            max_output_tokens: u32::try_from(max_output_tokens).unwrap_or(u32::MAX),
            ..request.clone()
        })
    } else {
        Cow::Borrowed(request)
    })
}

/// Writes a reservation down, if the budgets have room for it.
async fn commit(work: &Work, wanted: Wanted) -> Result<Verdict> {
    let (session, turn, told) = (work.turn.session, work.turn.id, wanted.clone());
    let parts = &work.core.parts;
    let (now, currency) = (parts.clock.now(), parts.live().budgets.currency());
    // Before it is written: whoever gives up while it is, settles it.
    hold(work, wanted, true);
    let write = parts.store.keep(move |tx| {
        let verdict = reservations::reserve(tx, &told, now)?;
        if let Verdict::Reserved {
            tell_ceiling: true, ..
        } = verdict
        {
            let notice = Body::Notice {
                turn_id: Some(turn),
                code: "price_unknown".to_owned(),
                text: currency.ceiling(&told.model, &told.quote),
            };
            tx.show(session, notice)?;
        }
        Ok(verdict)
    });
    write.await
}

fn wanted(work: &Work, about: &About, request: &Request) -> Wanted {
    let (parts, live) = (&work.core.parts, work.core.parts.live());
    let bill = work.bill();
    let model = request.model.as_ref().unwrap_or(&about.model);
    let now = (parts.clock.now(), parts.kit.schedules.zone());
    Wanted {
        id: AttemptId::new(),
        attempt: work.purse.next_attempt(bill.step),
        provider: about.name.clone(),
        model: model.clone(),
        quote: live.budgets.quote(&live.providers, about, model),
        input_tokens: budget::with_margin(budget::input_tokens(request)),
        max_output_tokens: match request.max_output_tokens {
            0 => LONGEST,
            limit => u64::from(limit),
        },
        least_output_tokens: live.budgets.min_output_tokens(),
        windows: live.budgets.windows(&bill, now),
        bill,
    }
}

fn hold(work: &Work, wanted: Wanted, reserved: bool) {
    let held = Held {
        reserved,
        price: wanted.quote.price,
        // The margin is for limits; an estimate is to be near.
        input_tokens: wanted.input_tokens * 4 / 5,
        asked_at: Instant::now(),
        accepted: false,
        heard: (0, 0),
        spent: Spent {
            id: wanted.id,
            bill: wanted.bill,
            attempt: wanted.attempt,
            provider: wanted.provider,
            model: wanted.model,
            usage: Usage::default(),
            cost: Usd::default(),
            source: wanted.quote.source,
            ended: Ended::Failed,
            error: None,
        },
    };
    work.purse.lock().held = Some(held);
}

/// The attempt failed. A provider that refused, or was not there, charges nothing; one that stopped in
/// the middle charges what it read and wrote.
pub(super) async fn failed(work: &Work, error: &ProviderError) {
    let Some(held) = work.purse.take() else {
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
    let charge = work.charge(spent, reserved);
    let now = work.core.parts.clock.now();
    let write = work.core.parts.store.keep(move |tx| charge.write(tx, now));
    // The next start settles it on the safe side.
    if let Err(error) = write.await {
        tracing::error!(%error, "what a failed model call took could not be written");
    }
}
