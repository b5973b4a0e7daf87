//! What Discord sends, as far as we read it.
//!
//! Lenient on purpose: a field of another shape must not cost a message, so everything that can be left
//! out has a default and what is not read is not described.

mod lenient;

use std::fmt;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use lenient::{bits, each, id, ids, lenient, maybe};

/// A snowflake: an id that sorts by time, over all channels.
pub(super) type Id = u64;

/// The first moment of Discord's ids, in milliseconds since 1970.
const EPOCH: i64 = 1_420_070_400_000;

/// The smallest id of a moment, in milliseconds since 1970.
pub(super) fn id_at(millis: i64) -> Id {
    u64::try_from(millis.saturating_sub(EPOCH)).unwrap_or_default() << 22
}

/// Message flag, and flag of an answer to an interaction: only the person addressed sees it.
pub(super) const EPHEMERAL: u64 = 1 << 6;

/// Kinds of messages that people write: an ordinary one and a reply.
const SAID: [u64; 2] = [0, 19];

/// A frame of the gateway.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    /// 0 for an event.
    pub(super) op: u8,
    /// The event's name.
    #[serde(default)]
    pub(super) t: Option<String>,
    /// The event.
    #[serde(default, borrow)]
    pub(super) d: Option<&'a RawValue>,
}

/// An event that says something to us.
#[derive(Debug)]
pub(super) enum Event {
    Ready(Ready),
    Resumed,
    Guild(Guild),
    Channel(Channel),
    Role(RoleChange),
    Message(Box<Message>),
    Edited(Box<Message>),
    Deleted(Deleted),
    Interaction(Box<Interaction>),
}

/// Reads a frame; none for what says nothing to us, an error for what we should understand and do not.
pub(super) fn event(text: &str) -> Result<Option<Event>, serde_json::Error> {
    let frame: Frame<'_> = serde_json::from_str(text)?;
    let (0, Some(name), Some(data)) = (frame.op, frame.t.as_deref(), frame.d) else {
        return Ok(None);
    };
    let data = data.get();
    Ok(Some(match name {
        "READY" => Event::Ready(read(data)?),
        "RESUMED" => Event::Resumed,
        "GUILD_CREATE" => Event::Guild(read(data)?),
        "CHANNEL_CREATE" | "CHANNEL_UPDATE" | "THREAD_CREATE" | "THREAD_UPDATE" => {
            Event::Channel(read(data)?)
        }
        "GUILD_ROLE_CREATE" | "GUILD_ROLE_UPDATE" => Event::Role(read(data)?),
        "MESSAGE_CREATE" => Event::Message(read(data)?),
        "MESSAGE_UPDATE" => Event::Edited(read(data)?),
        "MESSAGE_DELETE" | "MESSAGE_DELETE_BULK" => Event::Deleted(read(data)?),
        "INTERACTION_CREATE" => Event::Interaction(read(data)?),
        _ => return Ok(None),
    }))
}

fn read<T: DeserializeOwned>(data: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(data)
}

#[derive(Debug, Deserialize)]
pub(super) struct Ready {
    pub(super) application: Application,
}

/// The application that the bot belongs to.
#[derive(Debug, Deserialize)]
pub(super) struct Application {
    #[serde(deserialize_with = "id")]
    pub(super) id: Id,
    #[serde(default)]
    pub(super) flags: u64,
}

/// A server with what is in it.
#[derive(Debug, Deserialize)]
pub(super) struct Guild {
    #[serde(deserialize_with = "id")]
    pub(super) id: Id,
    #[serde(default)]
    pub(super) unavailable: bool,
    #[serde(default, deserialize_with = "each")]
    pub(super) channels: Vec<Channel>,
    #[serde(default, deserialize_with = "each")]
    pub(super) threads: Vec<Channel>,
    #[serde(default, deserialize_with = "each")]
    pub(super) roles: Vec<Role>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Channel {
    #[serde(deserialize_with = "id")]
    pub(super) id: Id,
    #[serde(default, rename = "type")]
    pub(super) kind: u64,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub(super) guild_id: Option<Id>,
    #[serde(default, deserialize_with = "maybe")]
    pub(super) parent_id: Option<Id>,
    #[serde(default, deserialize_with = "maybe")]
    pub(super) last_message_id: Option<Id>,
    #[serde(default, deserialize_with = "each")]
    pub(super) permission_overwrites: Vec<Overwrite>,
}

impl Channel {
    /// Whether it is a thread.
    pub(super) fn is_thread(&self) -> bool {
        (10..=12).contains(&self.kind)
    }

    /// Whether people write messages in it: text, direct messages, announcements, threads, the text
    /// of voice and stage channels.
    pub(super) fn has_messages(&self) -> bool {
        matches!(self.kind, 0..=3 | 5 | 10..=13)
    }
}

/// What a role or a member may and may not do in one channel.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Overwrite {
    #[serde(deserialize_with = "id")]
    pub(super) id: Id,
    #[serde(default, deserialize_with = "bits")]
    pub(super) allow: u64,
    #[serde(default, deserialize_with = "bits")]
    pub(super) deny: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Role {
    #[serde(deserialize_with = "id")]
    pub(super) id: Id,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default, deserialize_with = "bits")]
    pub(super) permissions: u64,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) tags: Option<Tags>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Tags {
    /// The bot whose own role it is.
    #[serde(default, deserialize_with = "maybe")]
    pub(super) bot_id: Option<Id>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RoleChange {
    pub(super) role: Role,
}

/// Somebody.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct User {
    #[serde(deserialize_with = "id")]
    pub(super) id: Id,
    #[serde(default)]
    pub(super) username: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) global_name: Option<String>,
    #[serde(default)]
    pub(super) bot: bool,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) member: Option<Member>,
}

impl User {
    /// What they are called.
    pub(super) fn name(&self) -> &str {
        let chosen = self.global_name.as_deref().filter(|name| !name.is_empty());
        chosen.unwrap_or(&self.username)
    }
}

/// Somebody in a server.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Member {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) nick: Option<String>,
    #[serde(default, deserialize_with = "ids")]
    pub(super) roles: Vec<Id>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) user: Option<Box<User>>,
}

/// A message.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Message {
    #[serde(deserialize_with = "id")]
    pub(super) id: Id,
    #[serde(deserialize_with = "id")]
    pub(super) channel_id: Id,
    #[serde(default, deserialize_with = "maybe")]
    pub(super) guild_id: Option<Id>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) author: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) member: Option<Member>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) content: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) edited_timestamp: Option<String>,
    #[serde(default, deserialize_with = "each")]
    pub(super) mentions: Vec<User>,
    #[serde(default, deserialize_with = "ids")]
    pub(super) mention_roles: Vec<Id>,
    #[serde(default, deserialize_with = "each")]
    pub(super) attachments: Vec<File>,
    #[serde(default, deserialize_with = "each")]
    pub(super) embeds: Vec<Embed>,
    #[serde(default, deserialize_with = "each")]
    pub(super) sticker_items: Vec<Sticker>,
    #[serde(default, deserialize_with = "maybe")]
    pub(super) webhook_id: Option<Id>,
    #[serde(default, rename = "type")]
    pub(super) kind: u64,
    #[serde(default, deserialize_with = "bits")]
    pub(super) flags: u64,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) nonce: Option<String>,
    #[serde(default, rename = "message_reference", deserialize_with = "lenient")]
    pub(super) reference: Option<Reference>,
    #[serde(default, rename = "referenced_message", deserialize_with = "lenient")]
    pub(super) replied: Option<Box<Self>>,
    #[serde(default, rename = "message_snapshots", deserialize_with = "each")]
    pub(super) snapshots: Vec<Snapshot>,
}

impl Message {
    /// Whether a person said it.
    pub(super) fn is_said(&self) -> bool {
        let person = self.author.as_ref().is_some_and(|author| !author.bot);
        person && self.webhook_id.is_none() && SAID.contains(&self.kind)
    }

    /// What its author is called here.
    pub(super) fn author_name(&self) -> &str {
        let nick = self.member.as_ref().and_then(|m| m.nick.as_deref());
        let own = self.author.as_ref().map_or("", User::name);
        nick.filter(|nick| !nick.is_empty()).unwrap_or(own)
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Embed {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) description: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Sticker {
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Reference {
    #[serde(default, deserialize_with = "maybe")]
    pub(super) message_id: Option<Id>,
}

/// A forwarded message.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Snapshot {
    pub(super) message: Forwarded,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Forwarded {
    #[serde(default)]
    pub(super) content: String,
    #[serde(default, deserialize_with = "each")]
    pub(super) attachments: Vec<File>,
}

/// A file that came with a message.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub(super) filename: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) content_type: Option<String>,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) url: String,
}

/// Messages that are no more.
#[derive(Debug, Deserialize)]
pub(super) struct Deleted {
    #[serde(default, deserialize_with = "maybe")]
    pub(super) id: Option<Id>,
    #[serde(default, deserialize_with = "ids")]
    pub(super) ids: Vec<Id>,
    #[serde(deserialize_with = "id")]
    pub(super) channel_id: Id,
}

/// What answers to an interaction are signed with; not for logs.
#[derive(Deserialize)]
pub(super) struct Token(pub(super) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A slash command or a pressed button.
#[derive(Debug, Deserialize)]
pub(super) struct Interaction {
    #[serde(deserialize_with = "id")]
    pub(super) id: Id,
    #[serde(deserialize_with = "id")]
    pub(super) application_id: Id,
    #[serde(rename = "type")]
    pub(super) kind: u64,
    pub(super) token: Token,
    #[serde(default, deserialize_with = "maybe")]
    pub(super) guild_id: Option<Id>,
    #[serde(default, deserialize_with = "maybe")]
    pub(super) channel_id: Option<Id>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) member: Option<Member>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) user: Option<User>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) data: Option<Given>,
}

impl Interaction {
    /// Who gave it.
    pub(super) fn giver(&self) -> Option<&User> {
        let member = self.member.as_ref().and_then(|m| m.user.as_deref());
        member.or(self.user.as_ref())
    }
}

/// What was given.
#[derive(Debug, Deserialize)]
pub(super) struct Given {
    /// The command.
    #[serde(default)]
    pub(super) name: String,
    #[serde(default, deserialize_with = "each")]
    pub(super) options: Vec<Choice>,
    /// The button.
    #[serde(default)]
    pub(super) custom_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    pub(super) value: Value,
}

#[cfg(test)]
mod tests;
