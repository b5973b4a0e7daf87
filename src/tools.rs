//! Tools: what a model or a command can have done. Built-in ones are files in `tools/`; every
//! executable skill is one more ([`skill`]).

mod ability;
pub mod files;
mod instructions;
pub mod plan;
mod reminders;
mod script;
mod session;
mod facts;
pub mod skill;

use std::sync::Arc;

pub use ability::mind::{Answer, Limits, Mind, Think, Thought};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    memory::Memory,
    schedule::Schedules,
    skills::{
        catalog::Catalog,
        run::{LiveOutput, Runner},
    },
    store::Store,
    types::{
        Clock, MessageId, Place, ScheduleId, TurnId, chat::ToolSpec, effect::Effects,
        frame::CallStatus,
    },
};

/// What tools are made of. Cheap to clone.
#[derive(Clone)]
pub struct Kit {
    /// The database.
    pub store: Store,
    /// Time.
    pub clock: Clock,
    /// Facts and past messages.
    pub memory: Memory,
    /// Reminders.
    pub schedules: Schedules,
    /// Skills.
    pub catalog: Catalog,
    /// Runs skills.
    pub runner: Runner,
    /// Where sessions have their workspaces.
    pub workspaces: Arc<std::path::PathBuf>,
    /// How messages leave that are no answers.
    pub post: Post,
    /// How skills ask a model.
    pub mind: Mind,
}

/// How messages leave that are no answers: into the session, and through its connector.
#[derive(Clone)]
pub struct Post {
    /// Whether the receivers of a connector read the session itself.
    pub reads_session: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Wakes whoever delivers.
    pub posted: Arc<Notify>,
}

/// In whose name a tool is called.
#[derive(Clone)]
pub struct Scope {
    /// Where and for whom.
    pub place: Place,
    /// The message that is being answered.
    pub message: Option<MessageId>,
    /// The turn.
    pub turn: Option<TurnId>,
    /// The schedule that began the turn.
    pub schedule: Option<ScheduleId>,
    /// Ends the call.
    pub cancel: CancellationToken,
    /// Takes output while it is made.
    pub live: Option<mpsc::Sender<LiveOutput>>,
    /// Who allowed the call, where somebody had to: for the audit.
    pub allowed: Option<String>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Whether it did what it was asked.
    pub status: CallStatus,
    /// For the model.
    pub text: String,
    /// For people and programs.
    pub detail: Value,
}

impl Done {
    /// A text that serves both.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            status: CallStatus::Ok,
            detail: json!({ "text": text }),
            text,
        }
    }

    /// A failure that the model is told of; it never ends the turn.
    pub fn failed(text: impl Into<String>) -> Self {
        Self {
            status: CallStatus::Failed,
            ..Self::text(text)
        }
    }
}

/// Something that can be called.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// How it is shown to a model.
    fn spec(&self) -> ToolSpec;

    /// Whether models are shown it; others are for commands alone.
    fn for_models(&self) -> bool {
        true
    }

    /// Whether it may run again after a crash in the middle of it.
    fn idempotent(&self) -> bool {
        false
    }

    /// What it may do to the flow of data; the gate decides on this.
    fn effects(&self) -> Effects;

    /// Whether it is what a person says to Nexflow itself, by a command: no rule is about it, and nobody
    /// else can.
    fn operates(&self) -> bool {
        false
    }

    /// Whether it shows or changes what belongs to one person: it is not there in rooms.
    fn personal(&self) -> bool {
        false
    }

    /// Hash of its content, where that can change while the daemon runs; an approval is bound to it.
    fn hash(&self) -> String {
        String::new()
    }

    /// Whether a person is to be asked before each run.
    fn confirm(&self) -> bool {
        false
    }

    /// Whether it works on the files of the session's workspace.
    fn works_on_files(&self) -> bool {
        false
    }

    /// Does it. What goes wrong is told in the result, for the model to read.
    async fn call(&self, scope: Scope, args: Value) -> Done;
}

/// Makes a built-in tool.
type Make = fn(&Kit) -> Arc<dyn Tool>;

/// Every built-in tool.
pub const KINDS: &[Make] = &[
    facts::remember,
    facts::recall,
    facts::forget,
    facts::list,
    reminders::set,
    reminders::list,
    reminders::cancel,
    instructions::read,
    instructions::list,
    script::run,
    plan::propose,
    session::begin_new,
    files::send,
];

/// The arguments of a call, or what is wrong with them.
fn arguments<T: DeserializeOwned>(args: Value) -> Result<T, Done> {
    serde_json::from_value(args).map_err(|e| Done::failed(format!("wrong arguments: {e}")))
}

/// A schema of an object whose properties are all strings.
fn strings(required: &[(&str, &str)]) -> Value {
    let properties: serde_json::Map<String, Value> = required
        .iter()
        .map(|(name, about)| {
            (
                (*name).to_owned(),
                json!({ "type": "string", "description": about }),
            )
        })
        .collect();
    let names: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "properties": properties, "required": names, "additionalProperties": false })
}

/// The last part of an id: enough for a person to point at a row.
fn short(id: &impl std::fmt::Display) -> String {
    let full = id.to_string();
    full.get(full.len().saturating_sub(6)..)
        .unwrap_or_default()
        .to_owned()
}
