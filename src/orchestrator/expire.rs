//! Questions that nobody decided in time: they expire, and the person is told.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Orchestrator, decide};
use crate::{
    store::{
        Result,
        approvals::{self, Ruling, State},
    },
    types::frame::Body,
};

/// The clock may be set: it is looked at this often.
const LOOK: Duration = Duration::from_secs(15);

/// Lets questions expire until cancelled.
pub(super) async fn run(orchestrator: Orchestrator, cancel: CancellationToken) -> Result<()> {
    let core = &orchestrator.core;
    loop {
        let next = expire(&orchestrator).await?;
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            () = core.asked.notified() => {}
            () = cancel.cancelled() => return Ok(()),
        }
    }
}

/// Expires what is overdue; how long until the next look.
async fn expire(orchestrator: &Orchestrator) -> Result<Duration> {
    let parts = &orchestrator.core.parts;
    let now = parts.clock.now();
    let late = parts.store.write(move |tx| {
        let late = approvals::overdue(tx, now)?;
        for question in &late {
            let ruling = Ruling::by_itself(State::Expired, "nobody decided in time", "clock");
            if decide::settle(tx, question, &ruling, now)? {
                let notice = Body::Notice {
                    turn_id: Some(question.turn_id),
                    code: "approval_expired".to_owned(),
                    text: format!("Nobody decided in time: {}", question.summary),
                };
                tx.show(question.session_id, notice)?;
            }
        }
        Ok((late, approvals::next_expiry(tx)?))
    });
    let (late, next) = late.await?;
    if !late.is_empty() {
        orchestrator.core.posted.notify_one();
    }
    for question in late {
        tracing::info!(approval_id = %question.id, tool = question.tool, "an approval expired");
        orchestrator.wake(question.session_id).await;
    }
    Ok(next.map_or(LOOK, |at| at.since(now).min(LOOK)))
}
