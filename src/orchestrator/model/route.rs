//! From a request to an answer: who is asked, again where that may help, then the next.
//!
//! Every call that failed is written down as it fails; who watches the turn is told who answers
//! instead. Text of a call that broke off is taken back before another one says its own.

use std::{sync::PoisonError, time::Duration};

use rand::Rng as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Broken, attempt};
use crate::{
    orchestrator::{
        Core,
        cache::Kept,
        spend::{self, Purse},
        work::Work,
    },
    providers::{About, Blocked, Choice, ProviderError, Request, Wish, is_certain},
    store::{reservations::Bill, turns::Said},
    types::frame::Body,
};

/// Waits for a provider at most, where another could be asked and where none is left.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// Before a call is made again; each time doubles it.
const PAUSE: Duration = Duration::from_millis(300);
/// What took longer to fail is not asked again where another could be asked.
const SLOW: Duration = Duration::from_secs(5);
/// Calls of one provider for one request, where another could be asked and where none is left.
const CALLS: (u32, u32) = (2, 3);

/// One question to whichever model answers.
pub(in crate::orchestrator) struct Call<'a> {
    pub(in crate::orchestrator) core: &'a Core,
    pub(in crate::orchestrator) wish: &'a Wish,
    /// For whom and what; what it costs is theirs.
    pub(in crate::orchestrator) bill: Bill,
    /// What it cost so far, and what the attempt that runs may cost.
    pub(in crate::orchestrator) purse: &'a Purse,
    pub(in crate::orchestrator) cancel: &'a CancellationToken,
    /// The turn whose observers are shown the answer as it comes.
    pub(in crate::orchestrator) work: Option<&'a Work>,
}

/// What a model answered.
pub(in crate::orchestrator) struct Answered {
    pub(in crate::orchestrator) said: Said,
    /// Who.
    pub(in crate::orchestrator) about: About,
    /// Whether it was kept from an earlier time.
    pub(in crate::orchestrator) cached: bool,
}

impl From<(Said, About)> for Answered {
    fn from((said, about): (Said, About)) -> Self {
        Self {
            said,
            about,
            cached: false,
        }
    }
}

/// Why there is no answer.
pub(in crate::orchestrator) enum End {
    /// The person stopped it; what was said by then.
    Stopped(String),
    /// Nobody has the name that was asked for.
    Unknown(String),
    /// Everybody failed, and this one last; none if nobody could be asked.
    Failed(Option<ProviderError>),
    /// A limit on money is reached; the text says which.
    Budget(String),
    /// Everybody is left alone; how long and why.
    LeftAlone(String),
}

/// Why one provider did not answer.
enum Missed {
    Stopped(String),
    /// A limit on money is reached; the text says which.
    Budget(String),
    LeftAlone(Blocked),
    Failed(ProviderError),
}

/// What is known when a provider is to be asked.
#[derive(Clone, Copy)]
struct Round {
    /// It is left alone, and nobody else is left to ask.
    urgent: bool,
    /// Another could be asked.
    more: bool,
}

/// Asks the providers in order until one answers.
pub(in crate::orchestrator) async fn answer(
    call: &Call<'_>,
    request: &Request,
) -> Result<Answered, End> {
    let providers = &call.core.parts.live().providers;
    let chain = providers.route(call.wish).await.map_err(End::Unknown)?;
    let models: Vec<&Choice> = chain.iter().take_while(|c| !c.about().offline).collect();
    let kept = Kept::of(call, request);
    if let Some((said, about)) = kept.find(call, models.first().copied()).await {
        return Ok(Answered {
            said,
            about,
            cached: true,
        });
    }
    let request = kept.request(request);
    let mut asking = Asking {
        call,
        failed: None,
        over: None,
        reasons: Vec::new(),
    };
    let mut next = models.clone();
    // In the second round nobody else is left: who was left alone is tried before its time.
    for urgent in [false, true] {
        asking.reasons.clear();
        let mut left_alone = Vec::new();
        for (n, choice) in next.iter().enumerate() {
            let well = |other: &&&Choice| other.blocked().is_none();
            let more = !urgent && next.iter().skip(n + 1).any(|other| well(&other));
            match asking.next(choice, request, Round { urgent, more }).await {
                Ok(answered) => {
                    kept.keep(call, choice, &answered.0).await;
                    return Ok(answered.into());
                }
                Err(Missed::Stopped(text)) => return Err(End::Stopped(text)),
                Err(Missed::LeftAlone(why)) => {
                    asking.reasons.push(left_alone_for(choice, &why));
                    left_alone.push(*choice);
                }
                Err(Missed::Budget(text)) => {
                    asking.over = asking.over.or(Some((choice.name(), text)));
                }
                Err(Missed::Failed(error)) => asking.failed = Some((choice.name(), error)),
            }
        }
        next = left_alone;
    }
    let built_in = chain.iter().find(|choice| choice.about().offline);
    asking.built_in(built_in, request, models.is_empty()).await
}

/// The providers that were asked so far.
struct Asking<'a> {
    call: &'a Call<'a>,
    /// The last that failed.
    failed: Option<(String, ProviderError)>,
    /// The first that a budget has no room for, and which budget.
    over: Option<(String, String)>,
    /// Why others were not asked.
    reasons: Vec<String>,
}

impl Asking<'_> {
    /// Asks one, and says so where it stands in for another.
    async fn next(
        &self,
        choice: &Choice,
        request: &Request,
        round: Round,
    ) -> Result<(Said, About), Missed> {
        let why = match (&self.failed, &self.over) {
            (Some((name, error)), _) => Some(format!("`{name}` failed ({})", error.word())),
            (None, Some((name, _))) => Some(format!("A budget has no room for `{name}`")),
            (None, None) => self.reasons.last().filter(|_| !round.urgent).cloned(),
        };
        let blocked = !round.urgent && choice.blocked().is_some();
        if let Some(why) = why.filter(|_| !blocked) {
            if let Some((_, text)) = &self.over {
                tell(self.call, "budget", text.clone()).await;
            }
            stand_in(self.call, &why, &choice.name()).await;
        }
        persist(self.call, choice, request, round).await
    }

    /// The built-in provider stands in for a model only where it is certain; else the failure is the
    /// answer.
    async fn built_in(
        self,
        built_in: Option<&Choice>,
        request: &Request,
        alone: bool,
    ) -> Result<Answered, End> {
        let certain = |work: &&Work| alone || is_certain(&work.asked.text);
        if let (Some(choice), Some(work)) = (built_in, self.call.work.filter(certain)) {
            let round = Round {
                urgent: false,
                more: false,
            };
            let request = super::plain(work, request);
            return match self.next(choice, &request, round).await {
                Ok(answered) => Ok(answered.into()),
                Err(Missed::Stopped(text)) => Err(End::Stopped(text)),
                Err(Missed::Budget(text)) => Err(End::Budget(text)),
                Err(Missed::Failed(error)) => Err(End::Failed(Some(error))),
                Err(Missed::LeftAlone(_)) => Err(End::Failed(None)),
            };
        }
        if let Some((_, text)) = self.over {
            return Err(End::Budget(text));
        }
        match (self.failed, self.reasons.is_empty()) {
            (None, false) => Err(End::LeftAlone(self.reasons.join("; "))),
            (failed, _) => Err(End::Failed(failed.map(|(_, error)| error))),
        }
    }
}

fn left_alone_for(choice: &Choice, why: &Blocked) -> String {
    let name = choice.name();
    match why.for_ {
        Some(time) => format!(
            "`{name}` is left alone for {} s after it failed again and again ({})",
            time.as_secs().max(1),
            why.last_error
        ),
        None => format!(
            "`{name}` is being tried after it failed ({})",
            why.last_error
        ),
    }
}

/// One provider, asked again where that may help.
async fn persist(
    call: &Call<'_>,
    choice: &Choice,
    request: &Request,
    round: Round,
) -> Result<(Said, About), Missed> {
    let mut calls = 0;
    let mut last = None;
    loop {
        let entered = tokio::select! {
            entered = choice.enter(call.bill.session, round.urgent) => entered,
            () = call.cancel.cancelled() => return Err(Missed::Stopped(String::new())),
        };
        let pass = match (entered, last.take()) {
            (Ok(pass), _) => pass,
            (Err(_), Some(error)) => return Err(Missed::Failed(error)),
            (Err(why), None) => return Err(Missed::LeftAlone(why)),
        };
        calls += 1;
        let since = Instant::now();
        let (error, heard) = match attempt(call, choice, request).await {
            Ok(said) => {
                pass.answered();
                return Ok(said);
            }
            Err(Broken::Stopped(text)) => return Err(Missed::Stopped(text)),
            Err(Broken::Budget(text)) => return Err(Missed::Budget(text)),
            Err(Broken::Error { error, heard }) => (error, heard),
        };
        pass.failed(&error);
        let took = since.elapsed();
        tracing::warn!(provider = choice.name(), %error, "a model call failed");
        spend::failed(call, &error).await;
        if heard {
            super::take_back(call);
        }
        let wait = pause(&error, (calls, heard, took), round.more);
        let Some(wait) = wait else {
            return Err(Missed::Failed(error));
        };
        tracing::info!(provider = choice.name(), %error, wait_ms = wait.as_millis(), "asking again");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = call.cancel.cancelled() => return Err(Missed::Stopped(String::new())),
        }
        let text = format!("`{}` did not finish; asking again.", choice.name());
        tell(call, "retry", text).await;
        last = Some(error);
    }
}

/// How long to wait before the same provider is asked again; none where that does not help.
fn pause(
    error: &ProviderError,
    (calls, heard, took): (u32, bool, Duration),
    more: bool,
) -> Option<Duration> {
    let (most, patience) = if more {
        (CALLS.0, PATIENCE.0)
    } else {
        (CALLS.1, PATIENCE.1)
    };
    if calls >= most {
        return None;
    }
    let doubled = PAUSE * 2_u32.pow(calls.saturating_sub(1).min(10));
    let wait = match error {
        ProviderError::RateLimited { after, .. } => {
            let wait = after.unwrap_or(doubled.max(Duration::from_secs(1)));
            return (wait <= patience).then(|| wait.mul_f64(rand::rng().random_range(1.0..1.2)));
        }
        // Another answers sooner than this one comes back.
        ProviderError::Unreachable { .. } => (!more).then_some(doubled),
        ProviderError::Down { .. } => (!more || !heard && took < SLOW).then_some(doubled),
        ProviderError::TooLong { .. }
        | ProviderError::Credentials { .. }
        | ProviderError::Refused { .. }
        | ProviderError::Garbled { .. } => None,
    };
    wait.map(|wait| wait.mul_f64(rand::rng().random_range(0.8..1.2)))
}

/// Somebody else answers: who watches reads it now, and whoever only gets the answer reads it there.
async fn stand_in(call: &Call<'_>, why: &str, name: &str) {
    tell(call, "fallback", format!("{why}. Asking `{name}` instead.")).await;
    if let Some(work) = call.work {
        let mut note = work.stood_in.lock().unwrap_or_else(PoisonError::into_inner);
        *note = Some(format!("Answered by `{name}`: {why}."));
    }
}

/// Tells who watches the turn, now and later.
async fn tell(call: &Call<'_>, code: &str, text: String) {
    let (Some(turn), session) = (call.work.and(call.bill.turn), call.bill.session) else {
        return;
    };
    let body = Body::Notice {
        turn_id: Some(turn),
        code: code.to_owned(),
        text,
    };
    let write = call
        .core
        .parts
        .store
        .write(move |tx| tx.show(session, body.clone()));
    if let Err(error) = write.await {
        tracing::error!(%error, "a notice could not be written");
    }
}

#[cfg(test)]
mod tests;
