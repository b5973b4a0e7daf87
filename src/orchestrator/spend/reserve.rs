//! What an attempt may cost at most is written down before the provider is asked.

use std::borrow::Cow;

use tokio::time::Instant;

use super::{Held, LONGEST, SOUND};
use crate::{
    budget,
    fail::{self, Point},
    orchestrator::model::Call,
    providers::{About, Request},
    store::{
        Result,
        reservations::{self, Verdict, Wanted},
        usage::{Ended, Spent},
    },
    types::{
        AttemptId,
        chat::Usage,
        frame::Body,
        money::{Price, PriceSource, Quote, Usd},
    },
};

/// Reserves what an attempt may cost at most, in a transaction of its own that is on disk before the
/// provider is asked: which provider that is, is decided after its step began. Answers the request,
/// with less to write where the budget has no more.
///
/// # Errors
/// A text for the person, where a limit is reached.
pub(in crate::orchestrator) async fn reserve<'a>(
    call: &Call<'_>,
    about: &About,
    request: &'a Request,
) -> std::result::Result<Cow<'a, Request>, String> {
    if about.offline {
        nobody_reads(call, about, Ended::Ok);
        return Ok(Cow::Borrowed(request));
    }
    let live = call.core.parts.live();
    let quote = live.budgets.quote(&live.providers, about);
    let estimate = budget::input_tokens(request);
    let needs = Needs {
        // The margin is for limits; an estimate is to be near.
        input_tokens: budget::with_margin(estimate),
        max_output_tokens: match request.max_output_tokens {
            0 => LONGEST,
            limit => u64::from(limit),
        },
        least_output_tokens: live.budgets.min_output_tokens(),
        estimate,
    };
    let max_output_tokens = admit(call, about, (quote, needs)).await?;
    let limited =
        max_output_tokens.is_some_and(|most| most != u64::from(request.max_output_tokens));
    Ok(match max_output_tokens.filter(|_| limited) {
        Some(most) => Cow::Owned(Request {
            max_output_tokens: u32::try_from(most).unwrap_or(u32::MAX),
            ..request.clone()
        }),
        None => Cow::Borrowed(request),
    })
}

/// Reserves what writing down a voice note may cost at most.
///
/// # Errors
/// As [`reserve`].
pub(in crate::orchestrator) async fn reserve_sound(
    call: &Call<'_>,
    about: &About,
    (quote, tokens): (Option<Quote>, u64),
) -> std::result::Result<(), String> {
    let quote = quote.unwrap_or_else(|| call.core.parts.live().budgets.ceiling());
    let needs = Needs {
        input_tokens: tokens,
        max_output_tokens: 0,
        least_output_tokens: 0,
        estimate: tokens,
    };
    admit(call, about, (quote, needs)).await.map(|_| ())
}

/// What an attempt needs room for, in tokens.
struct Needs {
    input_tokens: u64,
    max_output_tokens: u64,
    least_output_tokens: u64,
    /// What it is thought to read.
    estimate: u64,
}

/// Holds an attempt, with its reservation if it costs something; answers what it may write then.
async fn admit(
    call: &Call<'_>,
    about: &About,
    (quote, needs): (Quote, Needs),
) -> std::result::Result<Option<u64>, String> {
    let (parts, live) = (&call.core.parts, call.core.parts.live());
    let spent = spent(call, about, quote.source);
    let free = quote.price.is_free();
    let wanted = wanted(call, (&spent, quote), &needs);
    // Before it is written: whoever gives up while it is, settles it. What costs nothing has nothing to
    // reserve and no limit to pass: the answer does not wait for the disk.
    hold(call, &wanted, (spent, needs.estimate, !free));
    if free {
        return Ok(None);
    }
    match commit(call, wanted).await {
        Ok(Verdict::Reserved {
            max_output_tokens, ..
        }) => {
            fail::point(Point::MoneyReserved);
            Ok(Some(max_output_tokens))
        }
        Ok(Verdict::Refused(short)) => {
            call.purse.take();
            tracing::warn!(
                scope = short.window.scope.as_str(),
                provider = about.name,
                "a budget has no room for a model call"
            );
            let zone = parts.kit.schedules.zone();
            Err(live.budgets.currency().refusal(&short, zone))
        }
        Err(error) => {
            call.purse.take();
            tracing::error!(%error, "what a model call may cost could not be reserved");
            Err("I did not ask the model: what the call may cost could not be written down. The log has the details.".to_owned())
        }
    }
}

/// An answer of an earlier time is given again: nobody is asked, and it costs nothing.
pub(in crate::orchestrator) fn cached(call: &Call<'_>, about: &About) {
    nobody_reads(call, about, Ended::Cached);
}

fn nobody_reads(call: &Call<'_>, about: &About, ended: Ended) {
    call.purse.hold(Held {
        spent: Spent {
            ended,
            ..spent(call, about, PriceSource::Free)
        },
        reserved: false,
        price: Price::FREE,
        input_tokens: None,
        asked_at: Instant::now(),
        accepted: true,
        heard: (0, 0),
    });
}

/// Writes a reservation down, if the budgets have room for it.
async fn commit(call: &Call<'_>, wanted: Wanted) -> Result<Verdict> {
    let (session, turn) = (call.bill.session, call.bill.turn);
    let parts = &call.core.parts;
    let key = if wanted.bill.purpose == SOUND {
        "llm.transcription.usd_per_minute"
    } else {
        "llm.prices"
    };
    let (now, currency) = (parts.clock.now(), parts.live().budgets.currency());
    let write = parts.store.keep(move |tx| {
        let verdict = reservations::reserve(tx, &wanted, now)?;
        if let Verdict::Reserved {
            tell_ceiling: true, ..
        } = verdict
        {
            let notice = Body::Notice {
                turn_id: turn,
                code: "price_unknown".to_owned(),
                text: currency.ceiling(&wanted.model, &wanted.quote, key),
            };
            tx.show(session, notice)?;
        }
        Ok(verdict)
    });
    write.await
}

fn wanted(call: &Call<'_>, (spent, quote): (&Spent, Quote), needs: &Needs) -> Wanted {
    let (parts, live) = (&call.core.parts, call.core.parts.live());
    let now = (parts.clock.now(), parts.kit.schedules.zone());
    Wanted {
        id: spent.id,
        attempt: spent.attempt,
        provider: spent.provider.clone(),
        model: spent.model.clone(),
        quote,
        input_tokens: needs.input_tokens,
        max_output_tokens: needs.max_output_tokens,
        least_output_tokens: needs.least_output_tokens,
        windows: live.budgets.windows(&call.bill, now),
        bill: call.bill.clone(),
    }
}

/// Before the call is made, with the row as it will be if it answers.
fn hold(call: &Call<'_>, wanted: &Wanted, (spent, estimate, reserved): (Spent, u64, bool)) {
    call.purse.hold(Held {
        reserved,
        price: wanted.quote.price,
        input_tokens: Some(estimate),
        asked_at: Instant::now(),
        accepted: false,
        heard: (0, 0),
        spent,
    });
}

/// The row of an attempt that answers, before it is known what it takes.
fn spent(call: &Call<'_>, about: &About, source: PriceSource) -> Spent {
    Spent {
        id: AttemptId::new(),
        bill: call.bill.clone(),
        attempt: call.purse.next_attempt(call.bill.step),
        provider: about.name.clone(),
        model: about.model.clone(),
        usage: Usage::default(),
        cost: Usd::default(),
        source,
        ended: Ended::Ok,
        error: None,
        detail: None,
        task: Some(call.wish.task),
        started_at: call.core.parts.clock.now(),
    }
}
