//! `llm`: a skill asks a model, so often and so much as a run may.

use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    skills::run::safe,
    tools::{Kit, Mind, Scope, Thought},
    types::{Task, effect::Provenance},
};

/// Bytes of one prompt at most.
const LONGEST: usize = 200 << 10;
/// Tokens of one answer where the skill does not say.
const TOKENS: u32 = 1024;

/// What a skill sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    task: Option<Task>,
    prompt: String,
    #[serde(default)]
    system: String,
    #[serde(default)]
    max_output_tokens: Option<u32>,
    #[serde(default)]
    temperature: Option<f32>,
}

/// The thoughts of one run.
pub(super) struct Thoughts {
    mind: Mind,
    scope: Scope,
    skill: String,
    left: Mutex<Left>,
}

struct Left {
    calls: u32,
    tokens: u64,
}

impl Thoughts {
    pub(super) fn new(kit: &Kit, scope: &Scope, skill: &str) -> Self {
        let limits = kit.mind.limits;
        Self {
            mind: kit.mind.clone(),
            scope: scope.clone(),
            skill: skill.to_owned(),
            left: Mutex::new(Left {
                calls: limits.calls,
                tokens: limits.tokens,
            }),
        }
    }

    /// Asks, within what is left of this run.
    pub(super) async fn think(&self, wanted: Wanted) -> Result<Value, String> {
        let length = wanted.prompt.len() + wanted.system.len();
        if wanted.prompt.trim().is_empty() {
            return Err("there is nothing to ask: `prompt` is empty".to_owned());
        }
        if length > LONGEST {
            return Err(format!(
                "the prompt has {length} bytes; at most {LONGEST} are sent"
            ));
        }
        let max_output_tokens = self.take(wanted.max_output_tokens)?;
        let thought = Thought {
            skill: self.skill.clone(),
            task: wanted.task.unwrap_or(Task::Agent),
            system: safe(&wanted.system),
            prompt: safe(&wanted.prompt),
            max_output_tokens,
            temperature: wanted.temperature,
        };
        let answer = self.mind.think(&self.scope, thought).await;
        let used = answer
            .as_ref()
            .map_or(0, |answer| answer.usage.output_tokens);
        self.give_back(u64::from(max_output_tokens).saturating_sub(used));
        answer.map(|answer| {
            let mut shown = json!(answer);
            if let Some(shown) = shown.as_object_mut() {
                // Nobody but this skill said what the model was to answer.
                let from = Provenance::Skill.as_str();
                shown.insert("provenance".to_owned(), from.into());
            }
            shown
        })
    }

    /// Takes a call, and the tokens that its answer may have.
    fn take(&self, wanted: Option<u32>) -> Result<u32, String> {
        let limits = self.mind.limits;
        let mut left = self.lock();
        if left.calls == 0 {
            return Err(format!(
                "a run asks a model at most {} times (skills.llm_calls)",
                limits.calls
            ));
        }
        if left.tokens == 0 {
            return Err(format!(
                "the answers of a run have at most {} tokens (skills.llm_tokens)",
                limits.tokens
            ));
        }
        let most = u32::try_from(left.tokens).unwrap_or(u32::MAX);
        let taken = wanted.unwrap_or(TOKENS).clamp(1, most);
        left.calls -= 1;
        left.tokens -= u64::from(taken);
        Ok(taken)
    }

    fn give_back(&self, tokens: u64) {
        self.lock().tokens += tokens;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Left> {
        self.left
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
