//! What goes out through a connector, in the words of Nexflow. All text is Markdown.

use std::borrow::Cow;

use super::{ApprovalId, Attachment, SessionId};

/// Added to what may be there already, where nothing can tell.
const AGAIN: &str = "\n\n*(sent again after a restart: you may have this already)*";

/// What a connector is asked to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Stable over every retry: platforms that know idempotency keys get it.
    pub idempotency_key: String,
    /// The session, for platforms that show it.
    pub session: SessionId,
    /// The external id of the message that this answers, if any; the newest of several.
    pub in_reply_to: Option<String>,
    /// External ids of the others that it answers.
    pub also_in_reply_to: Vec<String>,
    /// The newest post that is known to stand before it in its chat; known where it is looked for.
    pub follows: Option<String>,
    /// The receiver's id on that platform.
    pub user: String,
    /// Markdown.
    pub text: String,
    /// Files that go with it.
    pub files: Vec<Attachment>,
    /// Not an answer: it tells that the answer waits for somebody.
    pub notice: bool,
    /// Not what a model wrote: a command's result, or why there is no answer. Platforms may set it apart.
    pub aside: bool,
    /// A question to decide, as buttons where the platform has some.
    pub question: Option<Question>,
    /// The post that becomes this: a live draft, or a question that was settled. Its first part is an
    /// edit of that post, and only the rest is posted.
    pub replaces: Option<String>,
    /// Posts of its parts that earlier tries made, in order: only the rest is sent.
    pub posted: Vec<String>,
    /// The part after [`Self::posted`] may be there already and nothing can tell: [`Self::said`] says so.
    pub again: bool,
    /// Not an answer: the draft of a running turn, which is only looked for. [`Self::text`] is what it said
    /// when it was first posted, and this is its [`Draft::status`].
    pub draft: Option<String>,
}

impl Outgoing {
    /// What is posted: the text, with a word about it where it may be there already.
    pub fn said(&self) -> Cow<'_, str> {
        if self.again {
            Cow::Owned(format!("{}{AGAIN}", self.text))
        } else {
            Cow::Borrowed(&self.text)
        }
    }
}

/// A question that a person decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which one.
    pub id: ApprovalId,
    /// What can be said to it, in order: `once`, `session`, `always`, `deny`.
    pub choices: Vec<&'static str>,
}

/// A running turn as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Stable for the draft of one turn.
    pub idempotency_key: String,
    /// The external id of the message that is being answered.
    pub in_reply_to: Option<String>,
    /// The receiver's id on that platform.
    pub user: String,
    /// What the answer says so far.
    pub text: String,
    /// What happens now, such as a running skill and its progress; empty while the model writes.
    pub status: String,
    /// The post that shows it; none yet.
    pub post: Option<String>,
}
