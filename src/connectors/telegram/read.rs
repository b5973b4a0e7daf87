//! A message of Telegram in the words of Nexflow: who said it where, what it says, which files it has.

use super::{
    Who,
    markdown::{covered, markdown, without},
    wire::{Entity, File, Message, Origin, User},
};
use crate::types::{Address, Admission, Command, Inbound, Reply, Room};

/// Names of the reply's text are cut to this many characters.
const QUOTE: usize = 1000;

/// A conversation: a chat, or a topic of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub chat: i64,
    pub thread: Option<i64>,
}

impl Spot {
    /// Where a message was said. Threads are only told apart in forums: elsewhere each reply is one.
    pub(super) fn new(chat: i64, thread: Option<i64>, is_topic: bool) -> Self {
        Self {
            chat,
            thread: thread.filter(|_| is_topic),
        }
    }

    /// From [`Address::chat`].
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (chat, thread) = match text.split_once('/') {
            Some((chat, thread)) => (chat, Some(thread.parse().ok()?)),
            None => (text, None),
        };
        Some(Self {
            chat: chat.parse().ok()?,
            thread,
        })
    }
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.thread {
            Some(thread) => write!(f, "{}/{thread}", self.chat),
            None => write!(f, "{}", self.chat),
        }
    }
}

/// The bot, as `getMe` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Me {
    pub id: i64,
    pub username: String,
}

/// A file that came with a message and is not fetched yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub id: String,
    pub name: String,
    pub media_type: String,
    pub size: u64,
}

/// What a message is for us.
#[derive(Debug)]
pub(super) enum Read {
    /// Nothing, and why.
    Pass(&'static str),
    /// It is for us; its files are still to be fetched.
    Heard(Box<Inbound>, Vec<Sent>),
}

/// What reading needs to know.
pub(super) struct Reader<'a> {
    pub me: &'a Me,
    pub config: &'a super::Config,
    pub commands: &'a [Command],
}

impl Reader<'_> {
    /// What the lists say of somebody in a chat.
    pub(super) fn admission(&self, user: &User, in_listed_group: bool) -> Admission {
        let on = |list: &[Who]| {
            list.iter()
                .any(|who| who.is(user.id, user.username.as_deref()))
        };
        if on(&self.config.operators) {
            Admission::Operator
        } else if in_listed_group || on(&self.config.allowed_users) {
            Admission::Listed
        } else {
            Admission::Unlisted
        }
    }

    /// Whether a group is listed.
    pub(super) fn listed(&self, chat: &super::wire::Chat) -> bool {
        let mut listed = self.config.allowed_chats.iter();
        listed.any(|who| who.is(chat.id, chat.username.as_deref()))
    }

    /// The parts of one message: an album has several.
    pub(super) fn message(&self, parts: &[Message]) -> Read {
        let Some(first) = parts.first() else {
            return Read::Pass("it is empty");
        };
        let Some(sender) = first.from.as_ref().filter(|from| !from.is_bot) else {
            return Read::Pass("no person wrote it");
        };
        let files = parts.iter().flat_map(files).collect::<Vec<_>>();
        let (text, called) = self.text(parts);
        if text.is_empty() && files.is_empty() {
            return Read::Pass("it says nothing");
        }
        let mut room = None;
        if !first.chat.is_private() {
            if !self.listed(&first.chat) {
                return Read::Pass("its group is not in channels.telegram.allowed_chats");
            }
            let settings = self.room(&first.chat);
            if !(called || settings.is_some_and(|room| room.always_answer)) {
                return Read::Pass("the bot is not spoken to");
            }
            room = Some(Room {
                name: first.chat.title.clone().unwrap_or_default(),
                skills: settings.and_then(|room| room.skills.clone()),
            });
        }
        let spot = Spot::new(
            first.chat.id,
            first.message_thread_id,
            first.is_topic_message,
        );
        let from = Address::new("telegram", self.me.id.to_string(), spot.to_string());
        let id = external_id(first.chat.id, first.message_id);
        let inbound = Inbound {
            name: sender.name(),
            admission: self.admission(sender, room.is_some()),
            room,
            reply: self.reply(first),
            ..Inbound::new(from, id, sender.id.to_string(), text)
        };
        Read::Heard(Box::new(inbound), files)
    }

    fn room(&self, chat: &super::wire::Chat) -> Option<&super::RoomConfig> {
        let rooms = self.config.rooms.iter();
        let here = |name: &str| Who::Name(name.to_owned()).is(chat.id, chat.username.as_deref());
        rooms
            .into_iter()
            .find(|(name, _)| here(name))
            .map(|(_, room)| room)
    }

    /// What the parts say, and whether the bot is spoken to.
    fn text(&self, parts: &[Message]) -> (String, bool) {
        let mut texts = Vec::new();
        let mut called = false;
        for part in parts {
            let (text, spoken_to) = self.text_of(part);
            called |= spoken_to;
            if !text.trim().is_empty() {
                texts.push(text);
            }
        }
        let forwarded = parts.first().and_then(|part| part.forward_origin.as_ref());
        if let Some(origin) = forwarded.filter(|_| !texts.is_empty()) {
            texts.insert(0, format!("(forwarded from {})", author(origin)));
        }
        (texts.join("\n\n"), called)
    }

    fn text_of(&self, part: &Message) -> (String, bool) {
        let (text, entities) = match (&part.text, &part.caption) {
            (Some(text), _) => (text, &part.entities),
            (None, Some(caption)) => (caption, &part.caption_entities),
            (None, None) => return (other(part), self.replied_to(part)),
        };
        let (text, entities, named) = self.without_our_name(text, entities);
        let (text, commanded) = self.command(text);
        let called = named || commanded || self.replied_to(part);
        (markdown(&text, &entities), called)
    }

    fn replied_to(&self, part: &Message) -> bool {
        let to = part.reply_to_message.as_ref();
        to.and_then(|to| to.from.as_ref())
            .is_some_and(|from| from.id == self.me.id)
    }

    fn is_us(&self, text: &str, entity: &Entity) -> bool {
        match entity.kind.as_str() {
            "mention" => covered(text, entity)
                .and_then(|word| word.strip_prefix('@'))
                .is_some_and(|name| name.eq_ignore_ascii_case(&self.me.username)),
            "text_mention" => entity.user.as_ref().is_some_and(|u| u.id == self.me.id),
            _ => false,
        }
    }

    /// The text without the bot's name at its beginning, and whether the bot is named anywhere.
    fn without_our_name(&self, text: &str, entities: &[Entity]) -> (String, Vec<Entity>, bool) {
        let named = entities.iter().any(|entity| self.is_us(text, entity));
        let first = entities
            .iter()
            .find(|e| e.offset == 0 && self.is_us(text, e));
        let Some((rest, gone)) = first.and_then(|entity| without(text, entity)) else {
            return (text.to_owned(), entities.to_vec(), named);
        };
        let moved = |entity: &Entity| {
            let mut entity = entity.clone();
            // Telegram counts UTF-16 units; what was taken away with the name is ASCII.
            entity.offset = entity.offset.checked_sub(gone)?;
            Some(entity)
        };
        (rest, entities.iter().filter_map(moved).collect(), named)
    }

    /// `/command@bot` as `/command`, and whether it is one of ours.
    fn command(&self, text: String) -> (String, bool) {
        let Some(word) = text
            .strip_prefix('/')
            .and_then(|rest| rest.split_whitespace().next())
        else {
            return (text, false);
        };
        match word.split_once('@') {
            Some((name, bot)) if bot.eq_ignore_ascii_case(&self.me.username) => {
                let rest = text.get(1 + word.len()..).unwrap_or_default();
                (format!("/{name}{rest}"), true)
            }
            Some(_) => (text, false),
            None => {
                let known = self.commands.iter().any(|command| command.name == word);
                (text, known)
            }
        }
    }

    fn reply(&self, message: &Message) -> Option<Reply> {
        let to = message.reply_to_message.as_ref()?;
        // In a topic everything replies to the message that opened it.
        if message.is_topic_message && message.message_thread_id == Some(to.message_id) {
            return None;
        }
        let text = match &message.quote {
            Some(quote) => quote.text.clone(),
            None => to.text.clone().or_else(|| to.caption.clone())?,
        };
        let own = to.from.as_ref().is_some_and(|from| from.id == self.me.id);
        Some(Reply {
            external_id: external_id(message.chat.id, to.message_id),
            author: match &to.from {
                Some(from) if !own => from.name(),
                _ => String::new(),
            },
            text: text.chars().take(QUOTE).collect(),
        })
    }
}

/// A message's id within a bot's account.
pub(super) fn external_id(chat: i64, message: i64) -> String {
    format!("{chat}:{message}")
}

/// The message of an id made by [`external_id`], if it is in that chat.
pub(super) fn message_id(external_id: &str, chat: i64) -> Option<i64> {
    let (of, id) = external_id.split_once(':')?;
    (of.parse() == Ok(chat)).then(|| id.parse().ok()).flatten()
}

fn author(origin: &Origin) -> String {
    let chat = origin.sender_chat.as_ref().or(origin.chat.as_ref());
    origin
        .sender_user
        .as_ref()
        .map(User::name)
        .or_else(|| origin.sender_user_name.clone())
        .or_else(|| chat.and_then(|chat| chat.title.clone()))
        .unwrap_or_else(|| "somebody".to_owned())
}

/// What a message without text says.
fn other(part: &Message) -> String {
    if let Some(sticker) = &part.sticker {
        return sticker.emoji.clone().unwrap_or_default();
    }
    if let Some(place) = &part.location {
        return format!("(location: {}, {})", place.latitude, place.longitude);
    }
    if let Some(contact) = &part.contact {
        let (name, number) = (&contact.first_name, &contact.phone_number);
        return format!("(contact: {name}, {number})");
    }
    String::new()
}

/// The files of a message.
fn files(part: &Message) -> Vec<Sent> {
    let id = part.message_id;
    let sent = |file: &File, (name, kind): (&str, &str)| Sent {
        id: file.file_id.clone(),
        name: file
            .file_name
            .clone()
            .unwrap_or_else(|| format!("{name}-{id}.{}", extension(kind))),
        media_type: file.mime_type.clone().unwrap_or_else(|| kind.to_owned()),
        size: file.file_size.unwrap_or(0),
    };
    // Telegram sends a photo in several sizes.
    if let Some(largest) = part
        .photo
        .iter()
        .max_by_key(|size| size.width * size.height)
    {
        return vec![sent(largest, ("photo", "image/jpeg"))];
    }
    // An animation is there as a document as well.
    let kinds = [
        (&part.animation, ("animation", "video/mp4")),
        (&part.document, ("document", "application/octet-stream")),
        (&part.voice, ("voice", "audio/ogg")),
        (&part.audio, ("audio", "audio/mpeg")),
        (&part.video, ("video", "video/mp4")),
        (&part.video_note, ("video-note", "video/mp4")),
    ];
    let there = kinds
        .iter()
        .find_map(|(file, kind)| Some((file.as_ref()?, *kind)));
    there
        .map(|(file, kind)| sent(file, kind))
        .into_iter()
        .collect()
}

fn extension(media_type: &str) -> &str {
    match media_type {
        "image/jpeg" => "jpg",
        "audio/ogg" => "ogg",
        "audio/mpeg" => "mp3",
        "video/mp4" => "mp4",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests;
