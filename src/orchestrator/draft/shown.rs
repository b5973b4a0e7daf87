//! A turn that is shown, and when what of it is to be shown.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::time::Instant;

use super::{
    Done,
    request::{self, Wanted},
    view::View,
};
use crate::{connectors::Connector, orchestrator::Core};

/// What has been there this long is shown: a quick answer needs no draft.
pub(super) const QUICK: Duration = Duration::from_millis(700);

/// A turn that is shown.
pub(super) struct Shown {
    pub(super) wanted: Wanted,
    pub(super) view: View,
    /// Number of the newest frame in it.
    pub(super) seen: i64,
    /// Since when there is something to show.
    pub(super) since: Option<Instant>,
    /// Whether the platform shows less than there is.
    pub(super) behind: bool,
    /// A draft of it was shown.
    pub(super) posted: bool,
    /// No draft of it can be shown.
    pub(super) without: bool,
    pub(super) typing_at: Instant,
}

impl Shown {
    pub(super) fn changed(&mut self) {
        // A question that waits is a post of its own: that alone is worth no draft.
        let alone = self.view.rests() && self.view.text().is_empty() && !self.posted;
        if alone {
            self.since = None;
            self.behind = false;
        } else if !self.view.is_empty() {
            self.since.get_or_insert_with(Instant::now);
            self.behind = true;
        }
    }

    pub(super) fn types_at(&self) -> Option<Instant> {
        (!self.view.rests()).then_some(self.typing_at)
    }

    pub(super) fn shows_at(&self) -> Option<Instant> {
        let since = self.since.filter(|_| self.behind && !self.without);
        since.map(|since| since + QUICK)
    }

    /// A request that shows the turn as it stands now.
    pub(super) fn request<'a>(
        &mut self,
        core: &'a Core,
        connector: Arc<dyn Connector>,
    ) -> BoxFuture<'a, Done> {
        self.behind = false;
        self.view.text().clone_into(&mut self.wanted.draft.text);
        self.wanted.draft.status = self.view.status();
        let wanted = self.wanted.clone();
        async move {
            let (turn, to) = (wanted.turn, wanted.to.clone());
            let became = request::show(core, &*connector, wanted).await;
            Done::Draft(turn, to, became)
        }
        .boxed()
    }
}
