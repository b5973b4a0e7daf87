//! One provider with the model that it is to be asked for, and the right to ask it.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    breaker::{Blocked, Ticket},
    queue::Place,
    slot::Slot,
};
use crate::{
    providers::{About, Provider, ProviderError},
    types::SessionId,
};

/// How long a call waits for another that finds out whether the only provider is back.
const PROBED: Duration = Duration::from_secs(10);

/// Who can be asked, and for which model. Cheap to clone.
#[derive(Clone)]
pub struct Choice {
    /// Who.
    pub provider: Arc<dyn Provider>,
    /// Another model than the provider's own.
    pub model: Option<String>,
    /// None for the built-in one, which never fails.
    pub(super) slot: Option<Arc<Slot>>,
}

/// The right to make one call. It is to be told how the call went; dropped without a word, the call
/// counts as never made.
#[derive(Debug)]
pub struct Pass {
    ticket: Option<Ticket>,
    slot: Option<Arc<Slot>>,
    _place: Option<Place>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Slot").field(&self.entry.name).finish()
    }
}

impl Choice {
    /// What is known of the provider with this model.
    pub fn about(&self) -> About {
        match &self.model {
            Some(model) => self.provider.about_model(model),
            None => self.provider.about(),
        }
    }

    /// `PROVIDER/MODEL`, as it is shown.
    pub fn name(&self) -> String {
        let about = self.about();
        format!("{}/{}", about.name, about.model)
    }

    /// Whether it is left alone now.
    pub fn blocked(&self) -> Option<Blocked> {
        let slot = self.slot.as_ref()?;
        slot.breaker.blocked(&self.about().model)
    }

    /// Waits for a place among the calls that the provider takes side by side. With `urgent` nobody
    /// else is left: then one call is let through even while it is left alone.
    ///
    /// # Errors
    /// When it is left alone, with how long and why.
    pub async fn enter(&self, session: SessionId, urgent: bool) -> Result<Pass, Blocked> {
        let Some(slot) = &self.slot else {
            return Ok(Pass {
                ticket: None,
                slot: None,
                _place: None,
            });
        };
        let model = self.about().model;
        if let (false, Some(why)) = (urgent, slot.breaker.blocked(&model)) {
            return Err(why);
        }
        let place = slot.queue.enter(session).await;
        let seen = slot.breaker.seen();
        let mut ticket = slot.breaker.admit(&model, urgent);
        if urgent && matches!(&ticket, Err(why) if why.for_.is_none()) {
            timeout(PROBED, seen).await.ok();
            ticket = slot.breaker.admit(&model, urgent);
        }
        Ok(Pass {
            ticket: Some(ticket?),
            slot: Some(Arc::clone(slot)),
            _place: Some(place),
        })
    }
}

impl Pass {
    /// The call was answered.
    pub fn answered(self) {
        if let Some(slot) = &self.slot {
            slot.answered();
        }
        if let Some(ticket) = self.ticket {
            ticket.answered();
        }
    }

    /// The call failed.
    pub fn failed(self, error: &ProviderError) {
        if let Some(slot) = &self.slot {
            slot.failed(error);
        }
        if let Some(ticket) = self.ticket {
            ticket.failed(error);
        }
    }
}
