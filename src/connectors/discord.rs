//! Discord: a bot that hears servers and direct messages through the gateway and posts through the REST
//! interface. Set up in `docs/discord.md`.
//!
//! The gateway's socket is `twilight-gateway`: it heartbeats, notices a dead connection and resumes.
//! `serenity`, which is better known, still stands on a TLS of 2024 with published holes. Of twilight the
//! socket alone is used. Its models refuse an event for one odd field, which would cost a message, so
//! `wire` reads leniently what we need; its HTTP client would be a second HTTP stack, so requests go
//! through the one of [`crate::net`].
//!
//! - `gateway` keeps connected and sorts events into lanes; `lanes` answers for what is in each, and
//!   fetches what was missed; `hear` makes of a message what the agent takes.
//! - `interact` answers commands and buttons.
//! - `post` sends; `rest` asks at Discord's `pace`; `permission` finds what the bot may not.

mod form;
mod gateway;
mod health;
mod hear;
mod interact;
mod lanes;
mod pace;
mod permission;
mod post;
mod rest;
mod wire;
mod world;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Abilities, Condition, Connector, ConnectorError, Found, Health, Inbox, Posts, Resend, Spec,
};
use crate::{
    net::Http,
    types::{Address, Admission, Draft, Outgoing, Secret},
};
use health::Pulse;
use rest::Rest;
use wire::Id;

/// Discord lets a bot change messages of a channel five times in five seconds; this leaves room for
/// what else is posted there.
const DRAFTS: Duration = Duration::from_millis(1200);

/// An id, as a number or as text.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Key {
    Number(u64),
    Text(String),
}

impl Key {
    fn id(&self) -> Option<Id> {
        match self {
            Self::Number(id) => Some(*id),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }
}

/// `channels.discord`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Config {
    /// From the developer portal: the application, `Bot`, `Reset Token`.
    bot_token: Secret,
    /// Ids of the owner's accounts: they may also approve and configure.
    #[serde(default)]
    operators: Vec<Key>,
    /// Ids of persons who may talk.
    #[serde(default)]
    allowed_users: Vec<Key>,
    /// Ids of roles whose members may talk.
    #[serde(default)]
    allowed_roles: Vec<Key>,
    /// Ids of server channels in which everybody may talk; their threads too.
    #[serde(default)]
    allowed_channels: Vec<Key>,
    /// By channel id: what holds in it and in its threads.
    #[serde(default)]
    rooms: BTreeMap<String, RoomConfig>,
    /// Shows running turns as a message that grows.
    #[serde(default = "yes")]
    drafts: bool,
    /// Where the interface is, if not at Discord; the gateway's address is asked there.
    api_url: Option<Url>,
    /// After so many seconds without any event it looks whether Discord has messages that did not come.
    #[serde(default = "five_minutes")]
    watchdog_sec: u64,
}

/// A channel with rules of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
struct RoomConfig {
    /// Tools and skills that may be used in it; all that the agent has if absent.
    skills: Option<Vec<String>>,
    /// Answers every message, also where it is not mentioned.
    #[serde(default)]
    always_answer: bool,
}

fn yes() -> bool {
    true
}

fn five_minutes() -> u64 {
    300
}

/// Who may do what where.
struct Lists {
    operators: HashSet<Id>,
    users: HashSet<Id>,
    roles: HashSet<Id>,
    channels: HashSet<Id>,
    rooms: HashMap<Id, RoomConfig>,
}

impl Lists {
    /// What they say of somebody with these roles in this place: a channel and what it is in.
    fn admission(&self, user: Id, roles: &[Id], place: &[Id]) -> Admission {
        if self.operators.contains(&user) {
            return Admission::Operator;
        }
        let listed = self.users.contains(&user)
            || roles.iter().any(|role| self.roles.contains(role))
            || place.iter().any(|channel| self.channels.contains(channel));
        if listed {
            Admission::Listed
        } else {
            Admission::Unlisted
        }
    }

    /// The rules of the first of these channels that has some.
    fn room(&self, place: &[Id]) -> Option<&RoomConfig> {
        place.iter().find_map(|channel| self.rooms.get(channel))
    }
}

/// The connector.
pub(super) struct Discord {
    rest: Rest,
    pulse: Arc<Pulse>,
    lists: Lists,
    drafts: bool,
    watchdog: Duration,
}

impl Spec for Discord {
    const NAME: &'static str = "discord";
    const EXAMPLE: &'static str = "discord:
  # docs/discord.md tells where to click.
  bot_token: ${DISCORD_BOT_TOKEN}
  # Your own account's id: may also approve and configure.
  operators: ['100000000000000001']
";
    type Config = Config;

    fn new(config: Config, http: &Http) -> Self {
        let ids = |keys: &[Key]| {
            let read = keys.iter().filter_map(|key| {
                let id = key.id();
                if id.is_none() {
                    tracing::error!(
                        ?key,
                        "channels.discord: this is not a Discord id and is passed over"
                    );
                }
                id
            });
            read.collect::<HashSet<Id>>()
        };
        let rooms = config.rooms.into_iter().filter_map(|(key, room)| {
            let id = key.trim().parse().ok();
            if id.is_none() {
                tracing::error!(
                    key,
                    "channels.discord.rooms: this is not a channel's id and is passed over"
                );
            }
            Some((id?, room))
        });
        let pulse = Arc::new(Pulse::default());
        Self {
            lists: Lists {
                operators: ids(&config.operators),
                users: ids(&config.allowed_users),
                roles: ids(&config.allowed_roles),
                channels: ids(&config.allowed_channels),
                rooms: rooms.collect(),
            },
            rest: Rest::new(
                config.api_url.as_ref(),
                config.bot_token,
                http,
                Arc::clone(&pulse),
            ),
            pulse,
            drafts: config.drafts,
            watchdog: Duration::from_secs(config.watchdog_sec.max(1)),
        }
    }
}

#[async_trait]
impl Connector for Discord {
    async fn run(
        &self,
        inbox: &dyn Inbox,
        cancel: CancellationToken,
    ) -> Result<(), ConnectorError> {
        gateway::run(self, inbox, &cancel).await
    }

    async fn send(
        &self,
        to: &Address,
        what: &Outgoing,
        posts: &dyn Posts,
    ) -> Result<(), ConnectorError> {
        post::send(&self.rest, to, what, posts).await
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            reads_session: false,
            resend: Resend::ReadBack,
            drafts: Some(DRAFTS),
        }
    }

    fn health(&self) -> Health {
        let mut health = self.pulse.health();
        health.clock = self.rest.skew().sentence();
        if let Some(held) = self.rest.held().filter(|_| health.state == Condition::Ok) {
            health.state = Condition::Failing;
            health.detail = held;
        }
        health
    }

    async fn find(&self, to: &Address, what: &Outgoing) -> Result<Found, ConnectorError> {
        post::find(&self.rest, to, what).await.map(Found::from)
    }

    async fn draft(&self, to: &Address, draft: &Draft) -> Result<String, ConnectorError> {
        if !self.drafts {
            // Posts change all the same: those of questions.
            let off = "channels.discord.drafts is false";
            return Err(ConnectorError::Refused(off.to_owned()));
        }
        post::draft(&self.rest, to, draft).await
    }

    async fn typing(&self, to: &Address) -> Result<(), ConnectorError> {
        post::typing(&self.rest, to).await
    }
}

/// Any bytes as an event; a message that is one has words.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(Some(wire::Event::Message(message))) = wire::event(&text) {
        let world = world::World::default();
        assert!(!hear::text(&message, 1, &world).is_empty() || !message.attachments.is_empty());
        drop(hear::reply(&message, 1, &world));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(yaml: &str) -> Lists {
        let config: Config = serde_yaml::from_str(&format!("bot_token: x\n{yaml}")).unwrap();
        Discord::new(config, &Http::new()).lists
    }

    #[test]
    fn who_may_talk_is_not_who_may_decide() {
        let lists = lists(
            "operators: [1]\nallowed_users: ['2']\nallowed_roles: [30]\nallowed_channels: [40]\nrooms: { '41': { always_answer: true } }",
        );
        let of = |user, roles: &[Id], place: &[Id]| lists.admission(user, roles, place);
        assert_eq!(of(1, &[], &[]), Admission::Operator);
        assert_eq!(of(2, &[], &[99]), Admission::Listed);
        assert_eq!(of(3, &[], &[99]), Admission::Unlisted);
        assert_eq!(of(3, &[29, 30], &[99]), Admission::Listed);
        // A thread in an allowed channel.
        assert_eq!(of(3, &[], &[77, 40]), Admission::Listed);
        assert!(lists.room(&[77, 41]).unwrap().always_answer);
        assert!(lists.room(&[40]).is_none());
    }
}
