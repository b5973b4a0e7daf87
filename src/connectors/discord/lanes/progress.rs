//! How far it has come, and where it goes on after an interruption.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
};

use super::Ear;
use crate::{
    connectors::{
        AcceptError,
        discord::wire::{Id, Message, id_at},
    },
    types::{Address, Cursor},
};

/// Direct conversations that are remembered, to ask in them what was missed.
const CONVERSATIONS: usize = 200;
/// A minute in the ids of messages: channels do not come in the order of their ids to the millisecond.
const MARGIN: Id = 60_000 << 22;
/// The time of the first connection is known to a second or two, in milliseconds.
const FIRST: i64 = 5_000;
/// Under which name the direct conversations are kept.
const DIRECT: &str = "dms";

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Newest message that was seen to, by channel.
    pub(super) seen: HashMap<Id, Id>,
    /// Newest of all.
    pub(super) newest: Id,
    /// What of that is written.
    pub(super) written: Id,
    /// Jobs that are not done.
    pub(super) open: usize,
    pub(super) direct: Vec<Id>,
    /// Newest message that Discord has and the gateway had not brought.
    pub(super) silent: Option<Id>,
    /// When the last change of a message was seen: Discord tells the same change again for its links.
    pub(super) changes: HashMap<Id, String>,
}

impl Ear<'_> {
    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Address {
        Address::new("discord", self.me.to_string(), "")
    }

    /// A job was put into a lane.
    pub(in crate::connectors::discord) fn begun(&self) {
        self.progress().open += 1;
    }

    /// From the first connection on nothing is passed over, also if nothing of it gets here before the
    /// process ends: writes where that was, once.
    pub(in crate::connectors::discord) async fn start(&self) -> Result<(), AcceptError> {
        if self.inbox.position(&self.all(), "").await?.is_some() {
            return Ok(());
        }
        let now = self.discord.rest.skew().platform_now();
        let cursor = Cursor {
            of: String::new(),
            position: id_at(now.0 / 1000 - FIRST).to_string(),
        };
        self.inbox.passed(&self.all(), cursor).await
    }

    /// What Discord has and the gateway did not bring.
    pub(in crate::connectors::discord) fn silent(&self) -> Option<Id> {
        self.progress().silent.take()
    }

    /// Channels that spoke last, at most so many, with their servers.
    pub(in crate::connectors::discord) fn lively(&self, most: usize) -> Vec<(Id, Option<Id>)> {
        let (mut seen, direct) = {
            let progress = self.progress();
            let seen: Vec<(Id, Id)> = progress.seen.iter().map(|(c, m)| (*m, *c)).collect();
            (seen, progress.direct.clone())
        };
        seen.sort_unstable_by(|a, b| b.cmp(a));
        let world = self.world();
        let known = seen.into_iter().filter_map(|(_, channel)| {
            let guild = world.guild_of(channel);
            (guild.is_some() || direct.contains(&channel)).then_some((channel, guild))
        });
        known.take(most).collect()
    }

    /// The direct conversations, read once.
    pub(in crate::connectors::discord) async fn conversations(
        &self,
    ) -> Result<Vec<Id>, AcceptError> {
        let kept = self
            .inbox
            .position(&self.all(), DIRECT)
            .await?
            .unwrap_or_default();
        let kept: Vec<Id> = kept
            .split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect();
        self.progress().direct.clone_from(&kept);
        Ok(kept)
    }

    /// Writes how far all channels are together, if no lane is at work.
    pub(in crate::connectors::discord) async fn keep(&self) -> Result<(), AcceptError> {
        let newest = {
            let progress = self.progress();
            if progress.open > 0 || progress.newest <= progress.written + MARGIN / 2 {
                return Ok(());
            }
            progress.newest
        };
        let position = newest.saturating_sub(MARGIN).to_string();
        let cursor = Cursor {
            of: String::new(),
            position,
        };
        self.inbox.passed(&self.all(), cursor).await?;
        self.progress().written = newest;
        Ok(())
    }

    pub(super) fn saw(&self, channel: Id, message: Id) {
        let mut progress = self.progress();
        let seen = progress.seen.entry(channel).or_default();
        *seen = message.max(*seen);
        progress.newest = progress.newest.max(message);
    }

    /// Keeps a direct conversation in mind before anything of it is taken.
    pub(super) async fn remember(&self, message: &Message) {
        let channel = message.channel_id;
        let position = {
            let mut progress = self.progress();
            if message.guild_id.is_some() || progress.direct.contains(&channel) {
                return;
            }
            progress.direct.push(channel);
            let over = progress.direct.len().saturating_sub(CONVERSATIONS);
            progress.direct.drain(..over);
            let ids: Vec<String> = progress.direct.iter().map(Id::to_string).collect();
            ids.join(" ")
        };
        let cursor = Cursor {
            of: DIRECT.to_owned(),
            position,
        };
        let all = self.all();
        self.until_taken(|| self.inbox.passed(&all, cursor.clone()))
            .await;
    }
}
