//! The outbox: takes what is due to its connector, again and again until it arrived or cannot.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use super::Core;
use crate::{
    connectors::{Connector, ConnectorError, Posts, Resend},
    fail::{self, Point},
    store::{
        Result, StoreError, attempts,
        outbox::{self, Parcel},
    },
    types::{MessageId, Outgoing, Timestamp, frame::Body},
};

/// Deliveries taken at once.
const BATCH: u32 = 32;
/// Deliveries under way side by side.
const SIDE_BY_SIDE: usize = 8;
/// The longest wait between two looks, and between two tries.
const LONGEST: Duration = Duration::from_mins(5);

/// Delivers until cancelled; then what the last turns gave, and ends.
pub(super) async fn run(
    core: Arc<Core>,
    cancel: CancellationToken,
) -> std::result::Result<(), StoreError> {
    // Nobody else sends: what an earlier run of this was sending may or may not have arrived.
    core.parts.store.keep(|tx| outbox::recover(tx)).await?;
    loop {
        let posted = core.posted.notified();
        tokio::pin!(posted);
        // Listens before it looks, so that nothing is missed in between.
        posted.as_mut().enable();
        let last = core.drained.is_cancelled();
        let now = core.parts.clock.now();
        let due = core
            .parts
            .store
            .keep(move |tx| {
                let due = outbox::take_due(tx, now, BATCH)?;
                attempts::begin(tx, &due, now)?;
                Ok(due)
            })
            .await?;
        if !due.is_empty() {
            let deliveries = stream::iter(due).map(|parcel| deliver(&core, parcel));
            let mut results = deliveries.buffer_unordered(SIDE_BY_SIDE);
            while let Some(written) = results.next().await {
                written?;
            }
            continue;
        }
        if last && cancel.is_cancelled() {
            return Ok(());
        }
        let next = core.parts.store.read(outbox::next_due).await?;
        let wait = next.map_or(LONGEST, |at| at.since(core.parts.clock.now()).min(LONGEST));
        tokio::select! {
            () = &mut posted => {}
            () = tokio::time::sleep(wait.max(Duration::from_millis(5))) => {}
            () = core.drained.cancelled() => {}
        }
    }
}

/// What follows from one try.
enum Outcome {
    Delivered,
    Retry(String, Option<Duration>),
    Ambiguous(String),
    GivenUp(&'static str, String),
}

/// One try, and what follows from it, written.
async fn deliver(core: &Core, parcel: Parcel) -> Result<()> {
    let outcome = outcome(core, &parcel).await;
    let (now, connector) = (core.parts.clock.now(), parcel.to.connector.clone());
    let (id, attempts, session) = (parcel.id, parcel.attempts, parcel.session);
    let store = &core.parts.store;
    match outcome {
        Outcome::Delivered => {
            tracing::info!(message_id = %id, connector, attempts, "delivered");
            store
                .keep(move |tx| {
                    outbox::delivered(tx, id, now)?;
                    attempts::end(tx, id, now)?;
                    fail::point(Point::OutboxWritten);
                    Ok(())
                })
                .await?;
            fail::point(Point::OutboxCommitted);
            Ok(())
        }
        Outcome::Retry(reason, after) => {
            let wait = after.unwrap_or_else(|| back_off(attempts));
            tracing::warn!(message_id = %id, connector, %reason, wait_ms = wait.as_millis(), "not delivered; trying again");
            store
                .keep(move |tx| {
                    outbox::retry(tx, id, &reason, now.plus(wait))?;
                    attempts::end(tx, id, now)
                })
                .await
        }
        Outcome::Ambiguous(reason) => {
            let wait = back_off(attempts);
            tracing::warn!(message_id = %id, connector, %reason, wait_ms = wait.as_millis(), "it may have been delivered; settling that");
            store
                .keep(move |tx| {
                    outbox::ambiguous(tx, id, &reason, now.plus(wait))?;
                    attempts::end(tx, id, now)
                })
                .await
        }
        Outcome::GivenUp(state, why) => {
            tracing::error!(message_id = %id, connector, state, %why, "not delivered; `nexflow outbox list` shows it");
            let notice = given_up(&parcel, state, &why);
            store
                .keep(move |tx| {
                    outbox::give_up(tx, id, (state, &why), now)?;
                    attempts::end(tx, id, now)?;
                    tx.show(session, notice.clone())
                })
                .await
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
    if core.parts.clock.now().since(since) > live.delivery.max_age.0 {
        return Outcome::GivenUp(
            "expired",
            "it became too old to be sent without asking".to_owned(),
        );
    }
    let tried = match live.connectors.get(&parcel.to.connector) {
        Some(connector) => {
            fail::point(Point::OutboxTaken);
            let posts = Kept {
                core,
                parcel: parcel.id,
            };
            let sent = send(&**connector, parcel, &posts).await;
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
    match tried {
        Ok(()) => Outcome::Delivered,
        Err(ConnectorError::Later { reason, after }) if again => Outcome::Retry(reason, after),
        Err(ConnectorError::Unsure { reason }) if again => Outcome::Ambiguous(reason),
        Err(error) => Outcome::GivenUp("dead", error.to_string()),
    }
}

/// Sends an answer; one that may have arrived already is first settled as the platform lets us.
async fn send(
    connector: &dyn Connector,
    parcel: &Parcel,
    posts: &dyn Posts,
) -> std::result::Result<(), ConnectorError> {
    let mut what = Outgoing {
        idempotency_key: parcel.id.to_string(),
        session: parcel.session,
        in_reply_to: parcel.in_reply_to.clone(),
        also_in_reply_to: parcel.also_in_reply_to.clone(),
        user: parcel.external_user.clone(),
        text: parcel.text.clone(),
        files: Vec::new(),
        notice: parcel.notice,
        question: None,
        replaces: None,
        posted: parcel.posts.clone(),
        again: false,
    };
    if parcel.unsure {
        match connector.abilities().resend {
            Resend::WithKey => {}
            Resend::ReadBack => {
                if let Some(post) = connector.find(&parcel.to, &what).await? {
                    posts.add(&post).await?;
                    what.posted.push(post);
                }
            }
            Resend::Marked => what.again = true,
        }
    }
    connector.send(&parcel.to, &what, posts).await
}

/// Keeps the posts of a parcel.
struct Kept<'a> {
    core: &'a Core,
    parcel: MessageId,
}

#[async_trait]
impl Posts for Kept<'_> {
    async fn add(&self, post: &str) -> std::result::Result<(), ConnectorError> {
        let (id, post) = (self.parcel, post.to_owned());
        let write = self
            .core
            .parts
            .store
            .write(move |tx| outbox::posted(tx, id, &post));
        write.await.map_err(|error| ConnectorError::Unsure {
            reason: format!("what was posted could not be written down: {error}"),
        })
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
