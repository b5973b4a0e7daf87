//! After a restart: what was unfinished is found and goes on.

use std::time::Duration;

use super::Core;
use crate::{
    store::{Result, attempts, inbox, outbox, reservations, sessions, tasks, tokens},
    types::SessionId,
};

/// An empty session is kept this long.
const EMPTY: Duration = Duration::from_hours(24);

/// Settles what cannot go on and answers the sessions in which something waits.
pub(super) async fn after_restart(core: &Core) -> Result<Vec<SessionId>> {
    let now = core.parts.clock.now();
    let settle = core.parts.store.write(move |tx| {
        let lost = tasks::recover(tx, now)?;
        let unsure = outbox::recover(tx)?;
        attempts::recover(tx)?;
        let open = reservations::recover(tx, now)?;
        sessions::sweep(tx, now.minus(EMPTY))?;
        tokens::sweep(tx, now)?;
        Ok((lost, unsure, open, inbox::sessions_waiting(tx)?))
    });
    let (lost, unsure, open, waiting) = settle.await?;
    if lost + unsure + open + waiting.len() > 0 {
        tracing::info!(
            sessions = waiting.len(),
            interrupted_skills = lost,
            uncertain_deliveries = unsure,
            charged_in_full = open,
            "going on with what an earlier run left unfinished"
        );
    }
    Ok(waiting)
}
