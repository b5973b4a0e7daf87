//! The parts of the Bot API's JSON that are read here. Everything that may be missing may be missing:
//! what a newer Bot API adds or leaves out must not stop what is understood.

use serde::Deserialize;

/// One update; exactly one of these is there, or something that is not asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Update {
    pub message: Option<Message>,
    pub edited_message: Option<Message>,
    pub callback_query: Option<Callback>,
}

/// A person or a bot.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct User {
    pub id: i64,
    #[serde(default)]
    pub is_bot: bool,
    #[serde(default)]
    pub first_name: String,
    pub last_name: Option<String>,
    pub username: Option<String>,
}

impl User {
    /// What they call themselves.
    pub(super) fn name(&self) -> String {
        match &self.last_name {
            Some(last) => format!("{} {last}", self.first_name),
            None => self.first_name.clone(),
        }
    }
}

/// A conversation.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Chat {
    pub id: i64,
    #[serde(default, rename = "type")]
    pub kind: String,
    pub title: Option<String>,
    pub username: Option<String>,
}

impl Chat {
    /// Whether it is a conversation of two.
    pub(super) fn is_private(&self) -> bool {
        self.kind == "private"
    }
}

/// A message.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the Bot API")]
pub(super) struct Message {
    pub message_id: i64,
    pub message_thread_id: Option<i64>,
    #[serde(default)]
    pub is_topic_message: bool,
    pub from: Option<User>,
    pub chat: Chat,
    pub reply_to_message: Option<Box<Message>>,
    pub quote: Option<Quote>,
    pub forward_origin: Option<Origin>,
    pub text: Option<String>,
    #[serde(default)]
    pub entities: Vec<Entity>,
    pub caption: Option<String>,
    #[serde(default)]
    pub caption_entities: Vec<Entity>,
    #[serde(default)]
    pub photo: Vec<File>,
    pub document: Option<File>,
    pub voice: Option<File>,
    pub audio: Option<File>,
    pub video: Option<File>,
    pub video_note: Option<File>,
    pub animation: Option<File>,
    pub sticker: Option<Sticker>,
    pub location: Option<Location>,
    pub contact: Option<Contact>,
    pub migrate_to_chat_id: Option<i64>,
}

/// The part of a message that another one replies to.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Quote {
    pub text: String,
}

/// Where a forwarded message comes from.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Origin {
    pub sender_user: Option<User>,
    pub sender_user_name: Option<String>,
    pub sender_chat: Option<Chat>,
    pub chat: Option<Chat>,
}

/// A piece of text that means something; in UTF-16 units.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub kind: String,
    pub offset: usize,
    pub length: usize,
    pub url: Option<String>,
    pub user: Option<User>,
    pub language: Option<String>,
}

/// A file, or one size of a photo.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the Bot API")]
pub(super) struct File {
    pub file_id: String,
    pub file_name: Option<String>,
    pub mime_type: Option<String>,
    pub file_size: Option<u64>,
    #[serde(default)]
    pub width: u64,
    #[serde(default)]
    pub height: u64,
}

/// A sticker.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Sticker {
    pub emoji: Option<String>,
}

/// A place.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Location {
    pub latitude: f64,
    pub longitude: f64,
}

/// An entry of an address book.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Contact {
    pub phone_number: String,
    #[serde(default)]
    pub first_name: String,
}

/// Somebody pressed a button.
#[derive(Debug, Deserialize)]
pub(super) struct Callback {
    pub id: String,
    pub from: User,
    pub message: Option<Pressed>,
    pub data: Option<String>,
}

/// The message that holds a button; an old one has little more than its id.
#[derive(Debug, Deserialize)]
pub(super) struct Pressed {
    pub message_thread_id: Option<i64>,
    #[serde(default)]
    pub is_topic_message: bool,
    pub chat: Chat,
}

/// What `getFile` answers.
#[derive(Debug, Deserialize)]
pub(super) struct Stored {
    pub file_path: Option<String>,
}

/// A message that was posted.
#[derive(Debug, Deserialize)]
pub(super) struct Posted {
    pub message_id: i64,
    pub reply_to_message: Option<Box<Message>>,
}
