//! What channels said while nobody listened.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use super::{Ear, LONGEST};
use crate::{
    connectors::discord::{
        rest::{Ask, Failure},
        wire::{Id, Message},
    },
    store::inbox::Accepted,
};

/// Messages that are fetched at once, and how often at most for one channel.
const PAGE: (usize, usize) = (100, 1000);

impl Ear<'_> {
    /// Fetches what a channel said since it was last heard, and takes it. `last` is its newest message
    /// where that is known.
    pub(super) async fn missed(&self, channel: Id, guild: Option<Id>, last: Option<Id>) {
        let Some(mut after) = self.heard_to(channel).await else {
            // Never heard before: from now on.
            if let Some(last) = last {
                self.saw(channel, last);
            }
            return;
        };
        if last.is_some_and(|last| last <= after) {
            return;
        }
        for _ in 0..PAGE.1 {
            let Some(page) = self.page(channel, after).await else {
                return;
            };
            let full = page.len() >= PAGE.0;
            for mut message in page {
                after = after.max(message.id);
                message.guild_id = guild;
                let edited = message.edited_timestamp.is_some().then(|| message.clone());
                let taken = self.message(message).await;
                // It was taken before it was changed.
                if let (Some(Accepted::Again(..)), Some(edited)) = (taken, edited) {
                    self.edited(edited).await;
                }
            }
            if !full {
                return;
            }
        }
        tracing::error!(
            channel,
            "more was missed in a channel than is fetched: the newest of it is not answered"
        );
    }

    /// A page of messages after one, the oldest first; none where the channel cannot be read.
    async fn page(&self, channel: Id, after: Id) -> Option<Vec<Message>> {
        let mut wait = Duration::from_secs(1);
        loop {
            let path = format!(
                "/channels/{channel}/messages?after={after}&limit={}",
                PAGE.0
            );
            match self.discord.rest.ask::<Vec<Value>>(Ask::get(path)).await {
                Ok(page) => {
                    let read = page
                        .into_iter()
                        .filter_map(|m| serde_json::from_value(m).ok());
                    let mut page: Vec<Message> = read.collect();
                    page.sort_by_key(|message| message.id);
                    return Some(page);
                }
                Err(Failure::Refused { said, .. }) => {
                    tracing::debug!(channel, said, "what was missed in a channel cannot be read");
                    return None;
                }
                Err(failure) => tracing::warn!(
                    channel,
                    ?failure,
                    "what was missed was not fetched; trying again"
                ),
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
        }
    }

    /// The newest message of a channel that was seen to.
    async fn heard_to(&self, channel: Id) -> Option<Id> {
        let seen = self.progress().seen.get(&channel).copied();
        let (own, all) = (channel.to_string(), self.all());
        let of = |of: String| {
            let all = &all;
            async move {
                let read = self.until_taken(|| self.inbox.position(all, &of)).await;
                read.flatten()
                    .and_then(|position| position.parse::<Id>().ok())
            }
        };
        let kept = of(own).await.max(of(String::new()).await);
        seen.max(kept)
    }
}
