//! Proposing a plan before anything is done.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Done, Kit, Scope, Tool, arguments};
use crate::types::{chat::ToolSpec, effect::Effects};

/// Name of the tool.
pub const NAME: &str = "propose_plan";
/// Steps of a plan at most.
const MOST: usize = 50;

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Step {
    /// What is to be done.
    pub title: String,
    /// The tool that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// What it is to be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Value>,
}

#[derive(Deserialize)]
struct Plan {
    steps: Vec<Step>,
}

/// The steps in the arguments of a call.
///
/// # Errors
/// What is wrong with them, for the model.
pub fn steps(args: &Value) -> Result<Vec<Step>, String> {
    let plan: Plan = arguments(args.clone()).map_err(|failed| failed.text)?;
    match plan.steps.len() {
        0 => Err("the plan has no steps".to_owned()),
        n if n > MOST => Err(format!("the plan has {n} steps; at most {MOST}")),
        _ => Ok(plan.steps),
    }
}

struct Propose;

pub(super) fn propose(_kit: &Kit) -> Arc<dyn Tool> {
    Arc::new(Propose)
}

#[async_trait]
impl Tool for Propose {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.to_owned(),
            description: "Show the person what you are going to do, step by step, and wait for their approval. Nothing else can be called before.".to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": { "steps": { "type": "array", "minItems": 1, "maxItems": MOST, "items": {
                    "type": "object",
                    "properties": {
                        "title": { "type": "string", "description": "What is done, in one sentence" },
                        "tool": { "type": "string", "description": "Name of the tool that does it" },
                        "args": { "type": "object", "description": "What the tool is given" },
                    },
                    "required": ["title"],
                } } },
                "required": ["steps"],
            }),
        }
    }

    /// Shown where a plan is wanted.
    fn for_models(&self) -> bool {
        false
    }

    fn idempotent(&self) -> bool {
        true
    }

    fn effects(&self) -> Effects {
        Effects::NONE
    }

    async fn call(&self, _scope: Scope, args: Value) -> Done {
        match steps(&args) {
            Ok(steps) => Done::text(format!(
                "No plan is wanted here: go on with your {} steps.",
                steps.len()
            )),
            Err(why) => Done::failed(why),
        }
    }
}
