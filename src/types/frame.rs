//! Frames: what observers (the page, the command line, event streams) are shown of a session. The
//! page is a projection of these. Documented in `docs/api.md`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::types::{ApprovalId, MessageId, SessionId, Timestamp, TurnId, chat::Usage, money::Usd};

/// One frame: a body with its place in the session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Grows within and across sessions and restarts; gaps mean nothing.
    pub seq: i64,
    /// The session.
    pub session_id: SessionId,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Body {
    /// A message is on disk.
    #[serde(rename = "message.accepted")]
    Accepted {
        /// The message.
        message_id: MessageId,
        /// The sender's own id, where it gave one.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// What was said.
        text: String,
        /// Name of the connector it came through.
        channel: String,
        /// Files that came with it, without their content.
        attachments: Vec<AttachmentInfo>,
        /// When.
        at: Timestamp,
    },
    /// A message that waits has another text: its sender changed it.
    #[serde(rename = "message.edited")]
    Edited {
        /// The message.
        message_id: MessageId,
        /// What it says now.
        text: String,
        /// When.
        at: Timestamp,
    },
    /// A message was deleted by its sender.
    #[serde(rename = "message.deleted")]
    Deleted {
        /// The message.
        message_id: MessageId,
        /// When.
        at: Timestamp,
    },
    /// A turn began, or began again after a restart.
    #[serde(rename = "turn.started")]
    Started {
        /// The turn.
        turn_id: TurnId,
        /// The message it answers.
        message_id: MessageId,
        /// 1, or more after restarts.
        attempt: u32,
    },
    /// A message is answered by a turn that answers another one too.
    #[serde(rename = "message.joined")]
    Joined {
        /// The turn.
        turn_id: TurnId,
        /// The message.
        message_id: MessageId,
    },
    /// Text to append; not kept.
    #[serde(rename = "text.delta")]
    Text {
        /// The turn.
        turn_id: TurnId,
        /// The piece.
        text: String,
    },
    /// Thoughts to append, apart from the text; not kept.
    #[serde(rename = "reasoning.delta")]
    Reasoning {
        /// The turn.
        turn_id: TurnId,
        /// The piece.
        text: String,
    },
    /// The text and the thoughts since the last tool call, or since the turn began, do not count: the
    /// answer broke off and is begun again; not kept.
    #[serde(rename = "text.reset")]
    Reset {
        /// The turn.
        turn_id: TurnId,
    },
    /// A tool call began.
    #[serde(rename = "tool.started")]
    ToolStarted {
        /// The turn.
        turn_id: TurnId,
        /// The call.
        call_id: String,
        /// Name of the tool or skill.
        skill: String,
        /// Its arguments.
        input: Value,
    },
    /// Live output of a running tool; not kept.
    #[serde(rename = "tool.output")]
    ToolOutput {
        /// The turn.
        turn_id: TurnId,
        /// The call.
        call_id: String,
        /// The piece.
        text: String,
        /// 0 to 1, where the skill tells.
        #[serde(skip_serializing_if = "Option::is_none")]
        progress: Option<f64>,
    },
    /// A tool call ended.
    #[serde(rename = "tool.finished")]
    ToolFinished {
        /// The turn.
        turn_id: TurnId,
        /// The call.
        call_id: String,
        /// Name of the tool or skill.
        skill: String,
        /// How.
        status: CallStatus,
        /// What it gave, capped.
        output: Value,
        /// How long it ran.
        duration_ms: u64,
    },
    /// A call waits for a person's decision; the turn goes on when all of its calls have results.
    #[serde(rename = "approval.requested")]
    ApprovalRequested {
        /// The turn.
        turn_id: TurnId,
        /// The call.
        call_id: String,
        /// What is asked, as `GET /api/v1/approvals/{id}` answers it.
        approval: Value,
    },
    /// A plan waits for a person's decision.
    #[serde(rename = "plan.proposed")]
    PlanProposed {
        /// The turn.
        turn_id: TurnId,
        /// The call.
        call_id: String,
        /// The steps: title, tool and arguments.
        steps: Value,
        /// What is asked, as `GET /api/v1/approvals/{id}` answers it.
        approval: Value,
    },
    /// A question was decided, has expired or does not matter any more.
    #[serde(rename = "approval.resolved")]
    ApprovalResolved {
        /// The turn.
        turn_id: TurnId,
        /// The call.
        call_id: String,
        /// The question.
        approval_id: ApprovalId,
        /// `approved`, `denied`, `expired` or `cancelled`.
        state: String,
        /// `once`, `session`, `always` or `deny`.
        decision: Option<String>,
        /// Why.
        note: Option<String>,
        /// Who decided.
        by: String,
        /// Through which door.
        via: String,
        /// When.
        at: Timestamp,
    },
    /// Something worth knowing: a fallback, dropped context, a late reminder.
    #[serde(rename = "notice")]
    Notice {
        /// The turn it belongs to, if any.
        #[serde(skip_serializing_if = "Option::is_none")]
        turn_id: Option<TurnId>,
        /// For programs.
        code: String,
        /// For people.
        text: String,
    },
    /// An answer is final and on disk.
    #[serde(rename = "message.completed")]
    Completed {
        /// The turn; none for a reminder.
        #[serde(skip_serializing_if = "Option::is_none")]
        turn_id: Option<TurnId>,
        /// The answer.
        message_id: MessageId,
        /// The whole text.
        text: String,
        /// `ok` or `cancelled`.
        status: String,
        /// Files that go with it, without their content.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<AttachmentInfo>,
        /// What it took.
        usage: UsageInfo,
        /// Who answered.
        provider: String,
        /// With which model.
        model: String,
        /// When.
        at: Timestamp,
    },
    /// A turn failed; the text says so to the person.
    #[serde(rename = "turn.failed")]
    Failed {
        /// The turn.
        turn_id: TurnId,
        /// The message that says so.
        message_id: MessageId,
        /// For the person.
        text: String,
        /// For programs.
        error: ErrorInfo,
        /// When.
        at: Timestamp,
    },
}

impl Body {
    /// Whether the frame is written with the change that it tells of. Others are shown to whoever
    /// watches at the time.
    pub fn is_kept(&self) -> bool {
        !matches!(
            self,
            Self::Text { .. }
                | Self::Reasoning { .. }
                | Self::Reset { .. }
                | Self::ToolOutput { .. }
        )
    }

    /// The turn it belongs to.
    pub fn turn(&self) -> Option<TurnId> {
        match self {
            Self::Accepted { .. } | Self::Edited { .. } | Self::Deleted { .. } => None,
            Self::Started { turn_id, .. }
            | Self::Joined { turn_id, .. }
            | Self::Text { turn_id, .. }
            | Self::Reasoning { turn_id, .. }
            | Self::Reset { turn_id }
            | Self::ToolStarted { turn_id, .. }
            | Self::ToolOutput { turn_id, .. }
            | Self::ToolFinished { turn_id, .. }
            | Self::ApprovalRequested { turn_id, .. }
            | Self::PlanProposed { turn_id, .. }
            | Self::ApprovalResolved { turn_id, .. }
            | Self::Failed { turn_id, .. } => Some(*turn_id),
            Self::Notice { turn_id, .. } | Self::Completed { turn_id, .. } => *turn_id,
        }
    }

    /// Whether this ends its turn.
    pub fn ends_turn(&self) -> bool {
        matches!(
            self,
            Self::Failed { .. }
                | Self::Completed {
                    turn_id: Some(_),
                    ..
                }
        )
    }
}

/// How a tool call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// Not yet.
    Running,
    /// It did not begin: a person decides about it.
    Waiting,
    /// It did what it was asked.
    Ok,
    /// It ran and failed, or could not be run.
    Failed,
    /// The daemon stopped while it ran; what it had done is unknown, and it was not run again.
    Interrupted,
    /// The person stopped it.
    Cancelled,
    /// It was not allowed.
    Refused,
}

impl CallStatus {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
        }
    }

    /// From what is stored; anything unknown counts as failed.
    pub fn parse(text: &str) -> Self {
        match text {
            "running" => Self::Running,
            "waiting" => Self::Waiting,
            "ok" => Self::Ok,
            "interrupted" => Self::Interrupted,
            "cancelled" => Self::Cancelled,
            "refused" => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// An attachment without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentInfo {
    /// File name.
    pub name: String,
    /// MIME type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
}

/// What a turn took, as people and programs are shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageInfo {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Cost, where a price is known.
    #[serde(skip_deserializing)]
    pub cost_usd: Option<Usd>,
    /// Whether the counts are estimates.
    pub estimated: bool,
}

impl UsageInfo {
    /// Counts with their cost.
    pub fn new(usage: Usage, cost: Option<Usd>) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cost_usd: cost,
            estimated: usage.estimated,
        }
    }
}

/// An error for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorInfo {
    /// `SNAKE_UPPER`.
    pub code: String,
    /// For a person.
    pub message: String,
}
