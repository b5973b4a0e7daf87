//! Connectors: code that speaks to a platform. Platform words stay in here.
//!
//! A new one is a file in `connectors/` and its line in [`KINDS`].

mod cli;
mod discord;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod registry;
mod skew;
mod telegram;
mod web;
mod webhook;

pub use registry::{Registry, State};

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use schemars::{JsonSchema, Schema};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    net::Http,
    store::inbox::Accepted,
    types::{Address, Command, Cursor, Draft, Inbound, Outgoing, Press, SessionId, Timestamp},
};

/// Where connectors put what comes in. What is taken is on disk when a call returns `Ok`, and only then
/// may it be acknowledged to the other side.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Whether the sender of a message may talk to us. Files of a stranger are not fetched.
    async fn knows(&self, message: &Inbound) -> Result<bool, AcceptError>;

    /// Takes a message; it will be answered, even after a crash.
    async fn accept(&self, message: Inbound) -> Result<Accepted, AcceptError>;

    /// A message that was taken has another text now: one that waits is changed, one that is being
    /// answered is answered anew, one that was answered is answered again. What was never taken is
    /// passed over, so that an edit in a group is no message.
    async fn edited(&self, message: Inbound) -> Result<(), AcceptError>;

    /// A message that was taken is no more: one that waits is dropped, a turn that answers it alone
    /// is stopped, and no model is told of it again.
    async fn deleted(
        &self,
        from: &Address,
        external_id: &str,
        cursor: Option<Cursor>,
    ) -> Result<(), AcceptError>;

    /// An update that says nothing to us was seen.
    async fn passed(&self, from: &Address, cursor: Cursor) -> Result<(), AcceptError>;

    /// How far updates were taken in; `of` as in [`Cursor`].
    async fn position(&self, from: &Address, of: &str) -> Result<Option<String>, AcceptError>;

    /// Decides a question. What to tell the person who pressed, either way.
    async fn pressed(&self, press: Press) -> Result<String, PressError>;

    /// The slash commands that people may give.
    fn commands(&self) -> &'static [Command];
}

/// Instead of the files of a stranger; it is read only if they are let in at that very moment.
const NOT_FETCHED: &str =
    "(Files came with this. They were not fetched, because the sender was not let in yet.)";

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The named session does not exist.
    #[error("there is no session {0}; leave it out to begin a new one")]
    NoSession(SessionId),
    /// The sender is a stranger. That is written down with the cursor, and if there is something to
    /// tell them (a pairing code), it is in the outbox: the connector goes on.
    #[error("the sender is on no list and not paired")]
    Stranger,
    /// Nothing was written; the other side should send it again later.
    #[error("the message could not be stored: {0}")]
    Later(#[from] crate::store::StoreError),
}

/// Why a press did not count.
#[derive(Debug, thiserror::Error)]
pub enum PressError {
    /// For the person who pressed: it was settled, has expired, or is not theirs to decide.
    #[error("{0}")]
    Refused(String),
    /// Nothing was written.
    #[error("the decision could not be stored: {0}")]
    Later(#[from] crate::store::StoreError),
}

/// Keeps what was posted.
#[async_trait]
pub trait Posts: Send + Sync {
    /// A part was posted (or edited into its place); it is on disk when this returns.
    async fn add(&self, post: &str) -> Result<(), ConnectorError>;
}

/// Code that speaks to one platform.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// Listens until cancelled. `Ok` means done, also when only a person can help (the reason is
    /// the connector's health); `Err` means: call again later.
    async fn run(&self, inbox: &dyn Inbox, cancel: CancellationToken)
    -> Result<(), ConnectorError>;

    /// Delivers an answer, part by part: each goes to `posts` before the next is sent, and parts in
    /// [`Outgoing::posted`] are not sent again. An error is about the part after those.
    async fn send(
        &self,
        to: &Address,
        what: &Outgoing,
        posts: &dyn Posts,
    ) -> Result<(), ConnectorError>;

    /// What the platform can do.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// How it stands now.
    fn health(&self) -> Health {
        Health::default()
    }

    /// Whether an address wants notices: that an answer waits for somebody. What it is sent is else
    /// its answers alone.
    fn wants_notices(&self, _at: &Address) -> bool {
        true
    }

    /// Looks whether the part after [`Outgoing::posted`], which may have arrived, is there
    /// ([`Resend::ReadBack`]). After an error it is looked for again. With [`Outgoing::draft`] it is a
    /// running turn's draft.
    async fn find(&self, _to: &Address, _what: &Outgoing) -> Result<Found, ConnectorError> {
        Ok(Found::Unknown)
    }

    /// Shows a running turn: posts it, or edits [`Draft::post`]. The post that shows it. Only called
    /// where [`Abilities::drafts`] is there.
    async fn draft(&self, _to: &Address, _draft: &Draft) -> Result<String, ConnectorError> {
        Err(ConnectorError::Refused(
            "there are no drafts here".to_owned(),
        ))
    }

    /// Shows for some seconds that an answer is being written.
    async fn typing(&self, _to: &Address) -> Result<(), ConnectorError> {
        Ok(())
    }

    /// Takes a signed request that the platform sent to `POST /hooks/{name}`.
    async fn hook(&self, _inbox: &dyn Inbox, _request: Hook) -> Result<Hooked, HookError> {
        Err(HookError::Unknown)
    }
}

/// Whether something that may have arrived is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is this post.
    Post(String),
    /// It is not there.
    Absent,
    /// The platform does not let us see all that it could be.
    Unknown,
}

impl From<Option<String>> for Found {
    fn from(post: Option<String>) -> Self {
        post.map_or(Self::Absent, Self::Post)
    }
}

/// What a platform can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// Receivers read the session themselves: an answer that is on disk is delivered.
    pub reads_session: bool,
    /// What to do about an answer that may or may not have arrived.
    pub resend: Resend,
    /// Posts can be changed: running turns are shown as drafts, of which a chat takes one change in
    /// this time; questions are posts that change once they are settled; what goes to one chat goes
    /// in order.
    pub drafts: Option<Duration>,
}

impl Abilities {
    /// Whether what was posted can be changed.
    pub fn changes_posts(self) -> bool {
        self.drafts.is_some()
    }
}

/// How a connector stands, for the owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// In a word.
    pub state: Condition,
    /// What is wrong and how to mend it; empty when nothing is.
    pub detail: String,
    /// When something was last heard from the platform: an update, or an answer to a request.
    pub heard_at: Option<Timestamp>,
    /// When the last message or press came.
    pub event_at: Option<Timestamp>,
    /// That this machine's clock is wrong, by the platform's: whatever else holds.
    pub clock: Option<String>,
}

/// How a connector stands, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It listens.
    #[default]
    Ok,
    /// It is about to listen.
    Starting,
    /// It does not hear the platform, and goes on trying.
    Failing,
    /// Only the owner can mend it: a wrong token, a missing right.
    NeedsOwner,
}

impl Condition {
    /// Whether it should hear its platform and does not.
    pub fn is_broken(self) -> bool {
        matches!(self, Self::Failing | Self::NeedsOwner)
    }

    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Starting => "starting",
            Self::Failing => "failing",
            Self::NeedsOwner => "needs_owner",
        }
    }
}

/// What became of a hook's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hooked {
    /// It is a message, and was accepted.
    Message(Accepted),
    /// It was something else, and is done.
    Done,
}

/// What a platform lets us do about an answer that may or may not have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resend {
    /// Nothing: it is sent again with a word that it was ([`Outgoing::again`]), because twice is better
    /// than never.
    #[default]
    Marked,
    /// It is sent again with the same idempotency key; the platform drops what it has seen.
    WithKey,
    /// [`Connector::find`] tells whether it is there.
    ReadBack,
}

/// Why a delivery or a listener failed, by what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectorError {
    /// Try again, after this long at least.
    #[error("{reason}")]
    Later {
        /// What happened.
        reason: String,
        /// What the platform asked for.
        after: Option<Duration>,
    },
    /// The request went out and nothing is known of it: it may have arrived.
    #[error("{reason}; it may have arrived")]
    Unsure {
        /// What happened.
        reason: String,
    },
    /// The platform does not take this; trying again changes nothing.
    #[error("{0}")]
    Refused(String),
}

/// A request to a hook.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The last part of its path.
    pub name: String,
    /// `X-Signature-256`.
    pub signature: Option<String>,
    /// `X-Telegram-Bot-Api-Secret-Token`.
    pub token: Option<String>,
    /// The body as it came.
    pub body: Vec<u8>,
}

/// Why a hook request is refused.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// There is no such hook.
    #[error("there is no such hook")]
    Unknown,
    /// The signature is missing or wrong.
    #[error("{0}")]
    Signature(&'static str),
    /// The body is not what a hook takes.
    #[error("{0}")]
    Invalid(String),
    /// It could not be stored.
    #[error(transparent)]
    Accept(#[from] AcceptError),
}

/// What a connector's file provides.
pub trait Spec: Connector + Sized {
    /// Its name under `channels`.
    const NAME: &'static str;
    /// Its section of `config.example.yml`.
    const EXAMPLE: &'static str;
    /// Its configuration.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes one; no I/O.
    fn new(config: Self::Config, http: &Http) -> Self;
}

/// Makes a connector from its configuration.
type Build = fn(Value, &Http) -> Result<Arc<dyn Connector>, serde_json::Error>;

/// A kind of connector: what [`Spec`] says, as data.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name under `channels`.
    pub name: &'static str,
    /// Its section of `config.example.yml`.
    pub example: &'static str,
    /// JSON Schema of its configuration.
    pub schema: fn() -> Schema,
    /// Makes one from its configuration.
    pub build: Build,
}

impl Kind {
    const fn of<S: Spec>() -> Self {
        Self {
            name: S::NAME,
            example: S::EXAMPLE,
            schema: || schemars::schema_for!(S::Config),
            build: |value, http| Ok(Arc::new(S::new(serde_json::from_value(value)?, http))),
        }
    }
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    Kind::of::<web::Web>(),
    Kind::of::<webhook::Webhook>(),
    Kind::of::<telegram::Telegram>(),
    Kind::of::<discord::Discord>(),
    Kind::of::<cli::Cli>(),
];

/// Waits until cancelled: what a connector does whose messages come through the HTTP server.
async fn served_elsewhere(cancel: CancellationToken) -> Result<(), ConnectorError> {
    cancel.cancelled().await;
    Ok(())
}
