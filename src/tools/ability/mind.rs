//! Asking a model on behalf of a skill. The agent does it; here is what it is asked and answers, because
//! tools do not know the agent.

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use serde::Serialize;

use crate::{
    tools::Scope,
    types::{Task, chat::Usage, money::Usd},
};

/// What a skill wants to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Thought {
    /// The skill; what it asks is paid by the turn that runs it.
    pub skill: String,
    /// What for: decides who is asked.
    pub task: Task,
    /// Who the model is to be; may be empty.
    pub system: String,
    /// What it is asked.
    pub prompt: String,
    /// Tokens that it may answer.
    pub max_output_tokens: u32,
    /// How freely it may choose its words.
    pub temperature: Option<f32>,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Who answered.
    pub provider: String,
    /// With which model.
    pub model: String,
    /// What it took.
    pub usage: Usage,
    /// What that cost, where the price is known.
    pub cost_usd: Option<Usd>,
    /// Whether it was kept from an earlier time.
    pub cached: bool,
}

/// Asks models.
#[async_trait]
pub trait Think: Send + Sync {
    /// Asks whoever there is for such a task. The error is for the skill, and says what to do.
    async fn think(&self, scope: &Scope, thought: Thought) -> Result<Answer, String>;
}

/// What one run of a skill may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls.
    pub calls: u32,
    /// Tokens that all answers together have.
    pub tokens: u64,
}

/// The way from skills to the agent, which comes to life after them. Cheap to clone.
#[derive(Clone)]
pub struct Mind {
    /// Of each run.
    pub limits: Limits,
    agent: Arc<OnceLock<Weak<dyn Think>>>,
}

impl Mind {
    /// Nobody thinks until [`Mind::wake`].
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            agent: Arc::default(),
        }
    }

    /// Says who thinks. It is not kept alive by this.
    pub fn wake(&self, agent: Weak<dyn Think>) {
        // There is one agent for a kit.
        self.agent.set(agent).ok();
    }

    /// Asks.
    ///
    /// # Errors
    /// When nobody thinks, or no model answers.
    pub async fn think(&self, scope: &Scope, thought: Thought) -> Result<Answer, String> {
        match self.agent.get().and_then(Weak::upgrade) {
            Some(agent) => agent.think(scope, thought).await,
            None => Err("no model can be asked before the daemon has started".to_owned()),
        }
    }
}
