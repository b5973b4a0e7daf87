//! How the connector stands, and for whom that is: most of it only the owner can mend.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    connectors::{Condition, Health},
    types::Clock,
};

/// What a wrong token means.
pub(super) const TOKEN: &str = "Discord does not accept the bot token (channels.discord.bot_token): in the developer portal \
     open the application, `Bot`, `Reset Token`, and put the new one into the configuration";

/// What a missing intent means.
pub(super) const INTENT: &str = "Discord does not let the bot read messages: in the developer portal open the application, \
     `Bot`, and under `Privileged Gateway Intents` switch on `Message Content Intent`, then `Save Changes`";

/// How it stands, written by all that listens and sends.
#[derive(Debug)]
pub(super) struct Pulse {
    clock: Clock,
    now: Mutex<Now>,
}

/// What caused an error, down to its first cause; the error itself if nothing did.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        // Some say what their cause says too.
        if words.last().is_none_or(|last| !last.ends_with(&said)) {
            words.push(said);
        }
        cause = next.source();
    }
    if words.is_empty() {
        error.to_string()
    } else {
        words.join(": ")
    }
}

#[derive(Debug)]
struct Now {
    health: Health,
    token_wrong: bool,
}

impl Default for Pulse {
    fn default() -> Self {
        let health = Health {
            state: Condition::Starting,
            ..Health::default()
        };
        Self {
            clock: Clock::default(),
            now: Mutex::new(Now {
                health,
                token_wrong: false,
            }),
        }
    }
}

impl Pulse {
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn health(&self) -> Health {
        self.lock().health.clone()
    }

    /// Something came from Discord.
    pub(super) fn heard(&self) {
        self.lock().health.heard_at = Some(self.clock.now());
    }

    /// A message or a press came.
    pub(super) fn event(&self) {
        self.lock().health.event_at = Some(self.clock.now());
    }

    /// It listens.
    pub(super) fn ok(&self) {
        let mut now = self.lock();
        if now.health.state != Condition::Ok {
            tracing::info!("Discord: connected");
        }
        now.token_wrong = false;
        now.health.state = Condition::Ok;
        now.health.detail.clear();
    }

    /// It does not hear Discord and goes on trying; what only the owner can mend stays said.
    pub(super) fn failing(&self, why: &str) {
        tracing::warn!(reason = why, "Discord: not connected");
        let mut now = self.lock();
        if now.health.state != Condition::NeedsOwner {
            now.health.state = Condition::Failing;
            now.health.detail = format!("{why}; it goes on trying by itself");
        }
    }

    /// Only the owner can mend it.
    pub(super) fn needs_owner(&self, why: &str) {
        let mut now = self.lock();
        if now.health.detail != why {
            tracing::error!("{why}");
        }
        now.health.state = Condition::NeedsOwner;
        why.clone_into(&mut now.health.detail);
    }

    /// Nothing is asked with this token until it was found good again.
    pub(super) fn token_is_wrong(&self) {
        self.lock().token_wrong = true;
        self.needs_owner(TOKEN);
    }

    pub(super) fn is_token_wrong(&self) -> bool {
        self.lock().token_wrong
    }

    /// The token is good again; it is about to listen.
    pub(super) fn token_is_good(&self) {
        let mut now = self.lock();
        if now.token_wrong {
            now.token_wrong = false;
            now.health.state = Condition::Starting;
            now.health.detail.clear();
        }
    }
}
