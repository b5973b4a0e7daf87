//! Identifiers: `UUIDv7`, so that they sort by time of creation. One newtype per thing, so that a
//! turn can never be passed where a session is meant.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id that sorts after those made before it.
            #[expect(clippy::new_without_default, reason = "each call gives another value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )+};
}

ids! {
    /// A conversation.
    SessionId,
    /// A person.
    UserId,
    /// A message of a person, or an answer to one.
    MessageId,
    /// Answering one message.
    TurnId,
    /// A model call or a tool call within a turn.
    StepId,
    /// One try of a model call.
    AttemptId,
    /// One execution of a skill.
    TaskId,
    /// A reminder or a repeated job.
    ScheduleId,
    /// A kept fact.
    MemoryId,
    /// An API token.
    TokenId,
    /// A question whether something may be done.
    ApprovalId,
    /// A lasting answer to such questions.
    GrantId,
    /// Somebody who asks to be let in.
    PairingId,
}
