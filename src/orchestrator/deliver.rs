//! The outbox: takes what is due to its connector, again and again until it arrived or cannot.

mod send;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use self::send::Sent;
use super::Core;
use crate::{
    connectors::ConnectorError,
    fail::{self, Point},
    store::{
        Result, StoreError, Tx, attempts, drafts,
        outbox::{self, Parcel},
    },
    types::{Timestamp, frame::Body},
};

/// Deliveries under way side by side.
const SIDE_BY_SIDE: usize = 32;
/// The longest wait between two looks, and between two tries.
const LONGEST: Duration = Duration::from_mins(5);
/// The shortest wait between two looks.
const SHORTEST: Duration = Duration::from_millis(5);
/// How soon it is seen that a platform can be reached again.
const RECOVERY: Duration = Duration::from_secs(1);
/// The wait between two tries meanwhile.
const UNHEARD: Duration = Duration::from_mins(1);

/// Delivers until cancelled; then what the last turns gave, and ends.
pub(super) async fn run(
    core: Arc<Core>,
    cancel: CancellationToken,
) -> std::result::Result<(), StoreError> {
    // Nobody else sends: what an earlier run of this was sending may or may not have arrived.
    core.parts.store.keep(|tx| outbox::recover(tx)).await?;
    // A slow receiver takes one place and holds up nobody else.
    let mut under_way = FuturesUnordered::new();
    let mut broken = BTreeSet::new();
    loop {
        broken = hasten(&core, &broken).await?;
        let posted = core.posted.notified();
        tokio::pin!(posted);
        // Listens before it looks, so that nothing is missed in between.
        posted.as_mut().enable();
        let last = core.drained.is_cancelled();
        let places = SIDE_BY_SIDE.saturating_sub(under_way.len());
        let (due, next) = take(&core, places).await?;
        let none = due.is_empty();
        for parcel in due {
            under_way.push(deliver(&core, parcel));
        }
        if last && none && under_way.is_empty() && cancel.is_cancelled() {
            return Ok(());
        }
        let longest = if broken.is_empty() || next.is_none() {
            LONGEST
        } else {
            RECOVERY
        };
        let wait = next.map_or(longest, |at| at.since(core.parts.clock.now()).min(longest));
        tokio::select! {
            Some(written) = under_way.next() => written?,
            () = &mut posted => {}
            () = tokio::time::sleep(wait.max(SHORTEST)) => {}
            () = core.drained.cancelled(), if !last => {}
            () = cancel.cancelled(), if last && !cancel.is_cancelled() => {}
        }
    }
}

/// What waits to be tried again is tried at once where the platform is heard again; answers those that
/// are not.
async fn hasten(core: &Core, before: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let broken = core.parts.live().connectors.broken();
    let well: Vec<String> = before.difference(&broken).cloned().collect();
    if !well.is_empty() {
        let now = core.parts.clock.now();
        let hasten = core.parts.store.keep(move |tx| {
            let mut well = well.iter();
            well.try_for_each(|connector| outbox::hasten(tx, connector, now))
        });
        hasten.await?;
    }
    Ok(broken)
}

/// Takes what is due, and tells when the next is.
async fn take(core: &Core, places: usize) -> Result<(Vec<Parcel>, Option<Timestamp>)> {
    // What changes its posts is read as a conversation: in order.
    let ordered = core.parts.live().connectors.changing_posts();
    let (store, now) = (&core.parts.store, core.parts.clock.now());
    let next = {
        let ordered = ordered.clone();
        store.read(move |c| outbox::next_due(c, &ordered)).await?
    };
    if places == 0 {
        return Ok((Vec::new(), None));
    }
    if next.is_none_or(|at| at > now) {
        return Ok((Vec::new(), next));
    }
    let limit = u32::try_from(places).unwrap_or(u32::MAX);
    let take = store.keep(move |tx| {
        let due = outbox::take_due(tx, &ordered, now, limit)?;
        attempts::begin(tx, &due, now)?;
        Ok((due, outbox::next_due(tx, &ordered)?))
    });
    take.await
}

/// What follows from one try.
#[derive(Clone)]
enum Outcome {
    Delivered,
    /// What it says does not hold any more; whether it may have arrived before.
    Withdrawn(bool),
    /// Why, how long to wait, and whether the try counts.
    Retry(String, Duration, bool),
    Ambiguous(String, Duration),
    GivenUp(&'static str, String),
}

/// One try, and what follows from it, written.
async fn deliver(core: &Core, parcel: Parcel) -> Result<()> {
    let outcome = outcome(core, &parcel).await;
    tell(&parcel, &outcome);
    let arrived = matches!(outcome, Outcome::Delivered);
    let now = core.parts.clock.now();
    let written = core.parts.store.keep(move |tx| {
        write(tx, (&parcel, &outcome), now)?;
        attempts::end(tx, parcel.id, now)?;
        if arrived {
            fail::point(Point::OutboxWritten);
        }
        Ok(())
    });
    written.await?;
    if arrived {
        fail::point(Point::OutboxCommitted);
    }
    Ok(())
}

fn tell(parcel: &Parcel, outcome: &Outcome) {
    let (id, connector, attempts) = (parcel.id, &parcel.to.connector, parcel.attempts);
    match outcome {
        Outcome::Delivered => tracing::info!(message_id = %id, connector, attempts, "delivered"),
        Outcome::Withdrawn(_) => {
            tracing::info!(message_id = %id, connector, "not delivered: it was settled before");
        }
        Outcome::Retry(reason, wait, _) => {
            tracing::warn!(message_id = %id, connector, %reason, wait_ms = wait.as_millis(), "not delivered; trying again");
        }
        Outcome::Ambiguous(reason, wait) => {
            tracing::warn!(message_id = %id, connector, %reason, wait_ms = wait.as_millis(), "it may have been delivered; settling that");
        }
        Outcome::GivenUp(state, why) => {
            tracing::error!(message_id = %id, connector, state, %why, "not delivered; `nexflow outbox list` shows it");
        }
    }
}

fn write(tx: &Tx<'_>, (parcel, outcome): (&Parcel, &Outcome), now: Timestamp) -> Result<()> {
    let id = parcel.id;
    match outcome {
        Outcome::Delivered => {
            if let Some(turn) = parcel.turn.filter(|_| !parcel.notice) {
                drafts::forget(tx, turn)?;
            }
            outbox::delivered(tx, id, now)
        }
        Outcome::Withdrawn(unsure) => outbox::withdraw(tx, id, *unsure, now),
        Outcome::Retry(reason, wait, counts) => {
            outbox::retry(tx, id, (reason, *counts), now.plus(*wait))
        }
        Outcome::Ambiguous(reason, wait) => outbox::ambiguous(tx, id, reason, now.plus(*wait)),
        Outcome::GivenUp(state, why) => {
            outbox::give_up(tx, id, (state, why), now)?;
            tx.show(parcel.session, given_up(parcel, state, why))
        }
    }
}

/// What the owner is told.
fn given_up(parcel: &Parcel, state: &str, why: &str) -> Body {
    let connector = &parcel.to.connector;
    let id = parcel.id;
    let what = if state == "expired" {
        format!("An answer for `{connector}` became too old to be sent without asking")
    } else {
        format!("An answer could not be delivered through `{connector}` ({why})")
    };
    Body::Notice {
        turn_id: None,
        code: format!("delivery_{state}"),
        text: format!(
            "{what}: `nexflow outbox send {id}` sends it now, `nexflow outbox drop {id}` drops it."
        ),
    }
}

async fn outcome(core: &Core, parcel: &Parcel) -> Outcome {
    let live = core.parts.live();
    let since = parcel.decided_at.unwrap_or(parcel.created_at);
    let age = core.parts.clock.now().since(since);
    // A question has a time of its own, and what became of it is never too late.
    if parcel.question.is_none() && age > live.delivery.max_age.0 {
        return Outcome::GivenUp(
            "expired",
            "it became too old to be sent without asking".to_owned(),
        );
    }
    let connector = live.connectors.get(&parcel.to.connector);
    let tried = match connector {
        Some(connector) => {
            fail::point(Point::OutboxTaken);
            let sent = send::parcel(core, &**connector, parcel).await;
            fail::point(Point::OutboxSent);
            sent
        }
        None => Err(ConnectorError::Later {
            reason: format!(
                "channels.{} is not configured any more",
                parcel.to.connector
            ),
            after: None,
        }),
    };
    let again = parcel.attempts < live.delivery.max_attempts;
    // A platform that cannot be reached at all, or says when to come again, has not failed at this answer:
    // its age is the limit then. Once the platform is heard, what waits is tried at once.
    let unheard = connector.is_some_and(|c| c.health().state.is_broken());
    match tried {
        Err(ConnectorError::Later { reason, after }) if unheard || after.is_some() => {
            Outcome::Retry(reason, after.unwrap_or(UNHEARD), false)
        }
        Ok(Sent::Delivered) => Outcome::Delivered,
        Ok(Sent::Withdrawn { unsure }) => Outcome::Withdrawn(unsure),
        Err(ConnectorError::Later { reason, .. }) if again => {
            Outcome::Retry(reason, back_off(parcel.attempts), true)
        }
        Err(ConnectorError::Unsure { reason }) if again => {
            Outcome::Ambiguous(reason, back_off(parcel.attempts))
        }
        Err(error) => Outcome::GivenUp("dead", error.to_string()),
    }
}

/// Doubling from one second, with a little chance so that many do not come back together.
fn back_off(attempts: u32) -> Duration {
    let base = Duration::from_secs(1) * 2_u32.saturating_pow(attempts.saturating_sub(1).min(9));
    base.min(LONGEST)
        .mul_f64(rand::rng().random_range(0.8..1.2))
}

/// An answer for the outbox. Receivers that read the session have it as soon as it is on disk.
pub(super) fn parcel(core: &Core, parcel: Parcel, now: Timestamp) -> Parcel {
    let there = core
        .parts
        .live()
        .connectors
        .reads_session(&parcel.to.connector);
    Parcel {
        state: if there { "delivered" } else { "prepared" }.to_owned(),
        finished_at: there.then_some(now),
        ..parcel
    }
}

#[cfg(test)]
mod tests;
