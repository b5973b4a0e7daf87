//! Attempts of skills that nobody waits for any more: a skill may be stopped, or end, while a model still
//! writes for it. What that cost is written all the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Charge, Purse};
use crate::{orchestrator::Core, store::Result};

/// What is to be written.
#[derive(Default)]
pub(in crate::orchestrator) struct Left {
    charges: Mutex<Vec<Charge>>,
    came: Notify,
}

impl Left {
    fn lock(&self) -> MutexGuard<'_, Vec<Charge>> {
        self.charges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settles the attempt that runs in a purse when whoever asked goes away.
pub(in crate::orchestrator) struct Guard<'a> {
    pub(in crate::orchestrator) core: &'a Core,
    pub(in crate::orchestrator) purse: &'a Purse,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let Some(charge) = self.purse.abandoned(self.core, None) else {
            return;
        };
        self.core.left.lock().push(charge);
        self.core.left.came.notify_one();
    }
}

/// Writes what is left, until `cancel`. What comes later is settled by the next start.
pub(in crate::orchestrator) async fn settle(
    core: Arc<Core>,
    cancel: CancellationToken,
) -> Result<()> {
    loop {
        tokio::select! {
            () = core.left.came.notified() => {}
            () = cancel.cancelled() => return Ok(()),
        }
        let charges = std::mem::take(&mut *core.left.lock());
        let now = core.parts.clock.now();
        let write = core
            .parts
            .store
            .keep(move |tx| charges.iter().try_for_each(|charge| charge.write(tx, now)));
        if let Err(error) = write.await {
            tracing::error!(%error, "what a stopped model call took could not be written");
        }
    }
}
