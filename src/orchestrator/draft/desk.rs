//! Requests about drafts that are under way: whoever delivers the answer waits for the last of its turn,
//! so that no late one overwrites it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::types::TurnId;

/// At most one request a turn.
#[derive(Debug, Default)]
pub(in crate::orchestrator) struct Desk {
    under_way: Mutex<HashMap<TurnId, CancellationToken>>,
    ended: Notify,
}

/// A request that is under way, until this is dropped.
pub(super) struct Flight<'a> {
    desk: &'a Desk,
    turn: TurnId,
    /// Nobody waits for it any longer.
    pub(super) stop: CancellationToken,
}

impl Desk {
    /// Notes a request, before it is looked whether it may be made. None if one is under way.
    pub(super) fn begin(&self, turn: TurnId) -> Option<Flight<'_>> {
        let stop = CancellationToken::new();
        let mut under_way = self.lock();
        if under_way.contains_key(&turn) {
            return None;
        }
        under_way.insert(turn, stop.clone());
        Some(Flight {
            desk: self,
            turn,
            stop,
        })
    }

    /// Waits until no request of a turn is under way; one that takes longer than `patience` is stopped.
    pub(super) async fn ended(&self, turn: TurnId, patience: Duration) {
        if timeout(patience, self.none(turn)).await.is_ok() {
            return;
        }
        if let Some(stop) = self.lock().get(&turn) {
            stop.cancel();
        }
        self.none(turn).await;
    }

    async fn none(&self, turn: TurnId) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Listens before it looks.
            ended.as_mut().enable();
            if !self.lock().contains_key(&turn) {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TurnId, CancellationToken>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.desk.lock().remove(&self.turn);
        self.desk.ended.notify_waiters();
    }
}
