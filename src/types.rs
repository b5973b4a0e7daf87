//! The words of Nexflow: plain data without I/O that every module may use.

pub mod chat;
pub mod clock;
pub mod effect;
pub mod frame;
pub mod id;
pub mod inbound;
pub mod money;
pub mod post;
pub mod secret;
pub mod span;
pub mod task;
pub mod text;

use serde::{Deserialize, Serialize};

pub use clock::{Clock, Timestamp};
pub use id::{
    ApprovalId, AttemptId, GrantId, MemoryId, MessageId, PairingId, ScheduleId, SessionId, StepId,
    TaskId, TokenId, TurnId, UserId,
};
pub use inbound::{Admission, Command, Cursor, Inbound, Press, Reply, Room};
pub use post::{Draft, Outgoing, Question};
pub use secret::Secret;
pub use span::Span;
pub use task::Task;

/// Where a message came from and where its answer goes: a column of the turn, never "the last
/// channel used".
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// Name of the connector, such as `web` or `telegram`.
    pub connector: String,
    /// The account of ours on that platform (a bot, a mailbox, a webhook endpoint).
    pub account: String,
    /// The conversation on that platform.
    pub chat: String,
}

impl Address {
    /// An address from its three parts.
    pub fn new(
        connector: impl Into<String>,
        account: impl Into<String>,
        chat: impl Into<String>,
    ) -> Self {
        Self {
            connector: connector.into(),
            account: account.into(),
            chat: chat.into(),
        }
    }
}

/// A file that came with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// File name as the sender gave it; never used as a path.
    pub name: String,
    /// MIME type, such as `image/png`.
    pub media_type: String,
    /// The content, base64 on the wire.
    #[serde(with = "base64_bytes")]
    pub data: Vec<u8>,
}

/// What a message does when a turn runs in its conversation.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum WhenBusy {
    /// It waits and is answered in the next turn, together with what else waits.
    #[default]
    Collect,
    /// It joins the running turn at its next step.
    Steer,
    /// It ends the running turn and is answered next.
    Interrupt,
    /// It waits for a turn of its own.
    Queue,
    /// It ends the running turn and everything that waits: what `/stop` does.
    #[serde(skip)]
    Stop,
    /// It is answered while a turn waits for a person: what `/approve` and `/deny` do.
    #[serde(skip)]
    Beside,
}

impl WhenBusy {
    /// As it is stored and written in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Steer => "steer",
            Self::Interrupt => "interrupt",
            Self::Queue => "queue",
            Self::Stop => "stop",
            Self::Beside => "beside",
        }
    }

    /// From what is stored; anything unknown has a turn of its own.
    pub fn parse(text: &str) -> Self {
        match text {
            "collect" => Self::Collect,
            "steer" => Self::Steer,
            "interrupt" => Self::Interrupt,
            "stop" => Self::Stop,
            "beside" => Self::Beside,
            _ => Self::Queue,
        }
    }
}

/// Where and for whom something happens: what a tool, a reminder or an answer needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The session.
    pub session: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The person behind the account: memory belongs to persons.
    pub person: UserId,
    /// Where answers go.
    pub address: Address,
    /// The receiver's id on that platform.
    pub external_user: String,
    /// Whether it is a room, where nothing of a person's own is told.
    pub room: bool,
}

/// One named section of configuration whose shape its kind knows: a connector under `channels`, a
/// provider under `llm.providers`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Name of the section; unique within its family.
    pub name: String,
    /// The kind: the key `kind`, else the name.
    pub kind: String,
    /// Everything else, interpolated.
    pub settings: serde_json::Map<String, serde_json::Value>,
}

mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD
            .decode(text.trim())
            .map_err(|e| D::Error::custom(format!("not base64: {e}")))
    }
}
