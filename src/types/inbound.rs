//! What comes in through a connector, in the words of Nexflow.

use super::{Address, ApprovalId, Attachment, SessionId, UserId, WhenBusy};

/// A normalised message from outside, before it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Where it came from; the reply goes there.
    pub from: Address,
    /// The platform's own id: a redelivery carries the same one.
    pub external_id: String,
    /// The sender's id on that platform.
    pub user: String,
    /// What the sender is called there; empty where the platform has no names.
    pub name: String,
    /// The sender, where the door knows who that is (a login, the command line).
    pub person: Option<UserId>,
    /// What the door's lists say of the sender.
    pub admission: Admission,
    /// The group in which it was said; none in a conversation of two.
    pub room: Option<Room>,
    /// The message that it replies to.
    pub reply: Option<Reply>,
    /// The door vouches for the sender, such as a webhook whose sender holds the owner's secret: what
    /// is said there is not a stranger's.
    pub vouched: bool,
    /// What was said.
    pub text: String,
    /// Files that came with it.
    pub attachments: Vec<Attachment>,
    /// A session named by the sender (web, API, command line); else the address decides.
    pub session: Option<SessionId>,
    /// A model named for this message alone.
    pub model: Option<String>,
    /// What it does when a turn runs; `turns.when_busy` if absent.
    pub mode: Option<WhenBusy>,
    /// Whether a plan is to be shown and approved before anything is done.
    pub plan: bool,
    /// Platform position to store in the same transaction (long-poll offset, IMAP UID).
    pub cursor: Option<Cursor>,
}

impl Inbound {
    /// A message with nothing besides its text, from a sender whom the door let in.
    pub fn new(
        from: Address,
        external_id: impl Into<String>,
        user: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            from,
            external_id: external_id.into(),
            user: user.into(),
            name: String::new(),
            person: None,
            admission: Admission::Open,
            room: None,
            reply: None,
            vouched: false,
            text: text.into(),
            attachments: Vec::new(),
            session: None,
            model: None,
            mode: None,
            plan: false,
            cursor: None,
        }
    }

    /// Adds a paragraph to what was said.
    pub fn append(&mut self, more: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.text.push_str(more);
    }
}

/// What a door's lists say of a sender. Who may talk is not thereby who may operate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The door has its own way to let people in: a login, a signature, the command line.
    Open,
    /// Listed as the owner: may also decide and configure.
    Operator,
    /// Listed as somebody who may talk.
    Listed,
    /// On no list: let in only if the owner has paired them.
    Unlisted,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// What it is called.
    pub name: String,
    /// Tools and skills that may be used in it; none for those that the agent has.
    pub skills: Option<Vec<String>>,
}

/// The message that another one replies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The platform's id of it.
    pub external_id: String,
    /// What its author is called; empty for the agent's own.
    pub author: String,
    /// What it says.
    pub text: String,
}

/// How far a platform's updates were taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Of what: unique within the connector and account; empty where there is only one.
    pub of: String,
    /// The position.
    pub position: String,
}

/// Somebody pressed a button of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    /// Where.
    pub from: Address,
    /// The presser's id on that platform.
    pub user: String,
    /// What they are called there.
    pub name: String,
    /// What the door's lists say of them.
    pub admission: Admission,
    /// The question.
    pub question: ApprovalId,
    /// One of [`super::Question::choices`].
    pub choice: String,
}

/// A slash command, as platforms list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// Without the slash.
    pub name: &'static str,
    /// What it does, in at most 100 bytes.
    pub description: &'static str,
    /// What may follow it, such as `WHEN WHAT`; empty for nothing.
    pub argument: &'static str,
}
