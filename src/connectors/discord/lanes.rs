//! What is heard, lane by lane: the messages of a channel are taken one after the other, those of
//! different channels side by side.
//!
//! A message counts once it is on disk. Its channel's position is written with it; the position of all
//! channels together only when no lane is at work. After a new session each lane first fetches what its
//! channels said in between, and only then goes on with what the gateway brings.

mod missed;
mod progress;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::mpsc, time::sleep};

use super::{
    Discord, hear,
    rest::Ask,
    wire::{Deleted, Id, Member, Message},
    world::World,
};
use crate::{
    connectors::{AcceptError, Inbox, NOT_FETCHED},
    store::inbox::Accepted,
    types::{Address, Admission, Cursor, Inbound, Room},
};
use progress::Progress;

/// Lanes side by side.
pub(super) const LANES: usize = 8;
/// What waits in a lane before the gateway is not read any more.
pub(super) const QUEUE: usize = 512;
/// The longest wait between two tries of what must not be passed over.
const LONGEST: Duration = Duration::from_secs(20);

/// Work of a lane.
#[derive(Debug)]
pub(super) enum Job {
    Message(Box<Message>),
    Edited(Box<Message>),
    Deleted(Deleted),
    /// Fetches what a channel said since it was last heard.
    Missed {
        channel: Id,
        guild: Option<Id>,
        last: Option<Id>,
    },
    /// The same, where the gateway has been silent for long.
    Look {
        channel: Id,
        guild: Option<Id>,
    },
}

impl Job {
    pub(super) fn channel(&self) -> Id {
        match self {
            Self::Message(message) | Self::Edited(message) => message.channel_id,
            Self::Deleted(gone) => gone.channel_id,
            Self::Missed { channel, .. } | Self::Look { channel, .. } => *channel,
        }
    }
}

/// Everything that listening shares.
pub(super) struct Ear<'a> {
    pub(super) discord: &'a Discord,
    pub(super) inbox: &'a dyn Inbox,
    /// The bot.
    pub(super) me: Id,
    world: Mutex<World>,
    progress: Mutex<Progress>,
}

impl<'a> Ear<'a> {
    pub(super) fn new(discord: &'a Discord, inbox: &'a dyn Inbox, me: Id) -> Self {
        Self {
            discord,
            inbox,
            me,
            world: Mutex::default(),
            progress: Mutex::default(),
        }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of a channel.
    pub(super) fn at(&self, channel: Id) -> Address {
        Address::new("discord", self.me.to_string(), channel.to_string())
    }

    /// Works through a lane until nothing is put in any more.
    pub(super) async fn lane(&self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            match job {
                Job::Message(message) => drop(self.message(*message).await),
                Job::Edited(message) => self.edited(*message).await,
                Job::Deleted(gone) => self.deleted(gone).await,
                Job::Missed {
                    channel,
                    guild,
                    last,
                } => {
                    self.missed(channel, guild, last).await;
                }
                Job::Look { channel, guild } => {
                    let before = self.progress().seen.get(&channel).copied();
                    self.missed(channel, guild, None).await;
                    let mut progress = self.progress();
                    let after = progress.seen.get(&channel).copied();
                    if after > before {
                        progress.silent = progress.silent.max(after);
                    }
                }
            }
            let mut progress = self.progress();
            progress.open = progress.open.saturating_sub(1);
        }
    }

    /// Takes a message, if it is meant for us.
    async fn message(&self, message: Message) -> Option<Accepted> {
        let (channel, id) = (message.channel_id, message.id);
        let mut taken = None;
        if message.is_said() && self.is_heard(&message) {
            self.discord.pulse.event();
            self.remember(&message).await;
            let mut inbound = self.inbound(&message).await;
            self.attach(&mut inbound, &message).await;
            let newer = self
                .progress()
                .seen
                .get(&channel)
                .is_none_or(|seen| *seen < id);
            inbound.cursor = newer.then(|| Cursor {
                of: channel.to_string(),
                position: id.to_string(),
            });
            taken = self
                .until_taken(|| self.inbox.accept(inbound.clone()))
                .await;
        }
        self.saw(channel, id);
        taken
    }

    /// Whether a message is for us: said in a conversation of two, meant, or in a room where all is.
    fn is_heard(&self, message: &Message) -> bool {
        if message
            .author
            .as_ref()
            .is_none_or(|author| author.id == self.me)
        {
            return false;
        }
        let world = self.world();
        let place = world.place(message.channel_id);
        let always = self
            .discord
            .lists
            .room(&place)
            .is_some_and(|room| room.always_answer);
        message.guild_id.is_none() || always || hear::is_meant(message, self.me, &world)
    }

    /// A message in the words of Nexflow.
    async fn inbound(&self, message: &Message) -> Inbound {
        let me = self.me;
        let user = message.author.as_ref().map_or(0, |author| author.id);
        let admission = self.admission(message, user).await;
        let world = self.world();
        let text = hear::text(message, me, &world);
        Inbound {
            name: message.author_name().to_owned(),
            admission,
            room: message
                .guild_id
                .map(|_| self.room(&world, message.channel_id)),
            reply: hear::reply(message, me, &world),
            ..Inbound::new(
                self.at(message.channel_id),
                message.id.to_string(),
                user.to_string(),
                text,
            )
        }
    }

    /// Adds the files of a message, unless a stranger sent it.
    async fn attach(&self, inbound: &mut Inbound, message: &Message) {
        if hear::attached(message).next().is_none() {
            return;
        }
        let known = self.until_taken(|| self.inbox.knows(inbound)).await;
        if known != Some(true) {
            inbound.append(NOT_FETCHED);
            return;
        }
        let (files, notes) = hear::files(&self.discord.rest, message).await;
        inbound.attachments = files;
        for note in notes {
            inbound.append(&note);
        }
    }

    /// A server's channel as a room.
    pub(super) fn room(&self, world: &World, channel: Id) -> Room {
        let place = world.place(channel);
        let name = world.channel_name(channel);
        Room {
            name: name.map_or_else(|| channel.to_string(), |name| format!("#{name}")),
            skills: self
                .discord
                .lists
                .room(&place)
                .and_then(|room| room.skills.clone()),
        }
    }

    async fn admission(&self, message: &Message, user: Id) -> Admission {
        let place = self.world().place(message.channel_id);
        let place = if message.guild_id.is_some() {
            place
        } else {
            Vec::new()
        };
        let lists = &self.discord.lists;
        let roles = match (&message.member, message.guild_id) {
            (Some(member), _) => member.roles.clone(),
            // What is fetched comes without its member.
            (None, Some(guild)) if !lists.roles.is_empty() => self.roles(guild, user).await,
            (None, _) => Vec::new(),
        };
        lists.admission(user, &roles, &place)
    }

    async fn roles(&self, guild: Id, user: Id) -> Vec<Id> {
        let path = format!("/guilds/{guild}/members/{user}");
        let asked = self.discord.rest.ask::<Member>(Ask::get(path)).await;
        asked.map(|member| member.roles).unwrap_or_default()
    }

    /// A change of a message; what Discord itself adds to one, such as a picture of a link, is none.
    async fn edited(&self, message: Message) {
        let Some(when) = message.edited_timestamp.clone() else {
            return;
        };
        if !message.is_said()
            || message.content.is_none()
            || message.author.as_ref().is_none_or(|a| a.id == self.me)
        {
            return;
        }
        let again = {
            let mut progress = self.progress();
            if progress.changes.len() > 1000 {
                progress.changes.clear();
            }
            progress.changes.insert(message.id, when.clone()) == Some(when)
        };
        if !again {
            self.discord.pulse.event();
            let inbound = self.inbound(&message).await;
            self.until_taken(|| self.inbox.edited(inbound.clone()))
                .await;
        }
    }

    async fn deleted(&self, gone: Deleted) {
        let from = self.at(gone.channel_id);
        for id in gone.id.into_iter().chain(gone.ids) {
            let id = id.to_string();
            self.until_taken(|| self.inbox.deleted(&from, &id, None))
                .await;
        }
    }

    /// Does something with the inbox until it is done; none where there is nothing to do.
    async fn until_taken<T, F: Future<Output = Result<T, AcceptError>>>(
        &self,
        mut take: impl FnMut() -> F,
    ) -> Option<T> {
        let mut wait = Duration::from_millis(200);
        loop {
            match take().await {
                Ok(done) => return Some(done),
                Err(AcceptError::Later(error)) => {
                    tracing::error!(%error, "a message of Discord could not be stored; trying again");
                }
                Err(AcceptError::Stranger) => return None,
                Err(error) => {
                    tracing::error!(%error, "a message of Discord was not taken");
                    return None;
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
        }
    }
}
