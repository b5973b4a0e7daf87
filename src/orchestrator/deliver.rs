//! The outbox: takes what is due to its connector, again and again until it arrived or cannot.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use super::Core;
use crate::{
    connectors::ConnectorError,
    fail::{self, Point},
    store::{
        Result, StoreError, attempts,
        outbox::{self, Parcel},
    },
    types::{Outgoing, Receipt, Timestamp},
};

/// Deliveries taken at once.
const BATCH: u32 = 32;
/// Deliveries under way side by side.
const SIDE_BY_SIDE: usize = 8;
/// The longest wait between two looks, and between two tries.
const LONGEST: Duration = Duration::from_mins(5);

/// Delivers until cancelled.
pub(super) async fn run(
    core: Arc<Core>,
    cancel: CancellationToken,
) -> std::result::Result<(), StoreError> {
    loop {
        let posted = core.posted.notified();
        tokio::pin!(posted);
        // Listens before it looks, so that nothing is missed in between.
        posted.as_mut().enable();
        let now = core.parts.clock.now();
        let due = core
            .parts
            .store
            .write(move |tx| {
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
        let next = core.parts.store.read(outbox::next_due).await?;
        let wait = next.map_or(LONGEST, |at| at.since(core.parts.clock.now()).min(LONGEST));
        tokio::select! {
            () = &mut posted => {}
            () = tokio::time::sleep(wait.max(Duration::from_millis(5))) => {}
            () = cancel.cancelled() => return Ok(()),
        }
    }
}

/// One try, and what follows from it.
async fn deliver(core: &Core, parcel: Parcel) -> Result<()> {
    let outcome = if too_old(core, &parcel) {
        Err(ConnectorError::Refused(
            "it became too old to be of use".to_owned(),
        ))
    } else {
        fail::point(Point::OutboxTaken);
        let sent = send(core, &parcel).await;
        fail::point(Point::OutboxSent);
        sent
    };
    let now = core.parts.clock.now();
    let (id, connector) = (parcel.id, parcel.to.connector.clone());
    match outcome {
        Ok(receipt) => {
            tracing::info!(message_id = %id, connector, attempts = parcel.attempts, "delivered");
            core.parts
                .store
                .write(move |tx| {
                    outbox::delivered(tx, id, receipt.post.as_deref(), now)?;
                    attempts::end(tx, id, now)?;
                    fail::point(Point::OutboxWritten);
                    Ok(())
                })
                .await?;
            fail::point(Point::OutboxCommitted);
            Ok(())
        }
        Err(ConnectorError::Later { reason, after })
            if parcel.attempts < core.parts.live().delivery.max_attempts =>
        {
            let wait = after.unwrap_or_else(|| back_off(parcel.attempts));
            tracing::warn!(message_id = %id, connector, %reason, wait_ms = wait.as_millis(), "not delivered; trying again");
            core.parts
                .store
                .write(move |tx| {
                    outbox::retry(tx, id, &reason, now.plus(wait))?;
                    attempts::end(tx, id, now)
                })
                .await
        }
        Err(error) => {
            tracing::error!(message_id = %id, connector, %error, "delivery given up; `nexflow trace` shows it");
            let state = if too_old(core, &parcel) {
                "expired"
            } else {
                "dead"
            };
            let why = error.to_string();
            core.parts
                .store
                .write(move |tx| {
                    outbox::give_up(tx, id, (state, &why), now)?;
                    attempts::end(tx, id, now)
                })
                .await
        }
    }
}

fn too_old(core: &Core, parcel: &Parcel) -> bool {
    let limit = Duration::from_secs(core.parts.live().delivery.max_age_sec);
    core.parts.clock.now().since(parcel.created_at) > limit
}

async fn send(core: &Core, parcel: &Parcel) -> std::result::Result<Receipt, ConnectorError> {
    let live = core.parts.live();
    let Some(connector) = live.connectors.get(&parcel.to.connector) else {
        let reason = format!(
            "channels.{} is not configured any more",
            parcel.to.connector
        );
        return Err(ConnectorError::Later {
            reason,
            after: None,
        });
    };
    let what = Outgoing {
        idempotency_key: parcel.id.to_string(),
        session: parcel.session,
        in_reply_to: parcel.in_reply_to.clone(),
        user: parcel.external_user.clone(),
        text: parcel.text.clone(),
    };
    connector.send(&parcel.to, &what).await
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
