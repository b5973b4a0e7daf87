//! The emergency stop of all skills: ends what runs, and refuses what comes until it is released.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::types::Timestamp;

/// Who stopped all skills, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Stopped {
    /// Why a skill does not run, and what to do about it.
    pub fn reason(&self) -> String {
        format!(
            "{} stopped all skills; `nexflow skill start --all` lets them run again",
            self.by
        )
    }
}

/// The switch. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Brake {
    state: watch::Sender<Option<Stopped>>,
}

impl Default for Brake {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(None),
        }
    }
}

impl Brake {
    /// Stops every skill, or lets them run again.
    pub fn set(&self, stopped: Option<Stopped>) {
        self.state.send_replace(stopped);
    }

    /// Who stopped all skills, if they are stopped.
    pub fn stopped(&self) -> Option<Stopped> {
        self.state.borrow().clone()
    }

    /// Resolves when all skills are stopped.
    pub(super) async fn pulled(&self) -> Stopped {
        let mut state = self.state.subscribe();
        let stopped = state.wait_for(Option::is_some).await;
        let stopped = stopped.ok().and_then(|s| s.clone());
        match stopped {
            Some(stopped) => stopped,
            // The sender is our own, so the channel is open.
            None => std::future::pending().await,
        }
    }
}
