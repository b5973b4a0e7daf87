//! `/status`: what runs, in words.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{
    tools::{Done, Scope, Tool},
    types::{chat::ToolSpec, effect::Effects},
};

/// Knows the state of the whole daemon; what the API and `/status` show.
#[async_trait]
pub trait Facts: Send + Sync + 'static {
    /// As Markdown.
    async fn words(&self) -> String;
}

pub(super) struct Status {
    facts: Arc<dyn Facts>,
}

impl Status {
    pub(super) fn new(facts: Arc<dyn Facts>) -> Self {
        Self { facts }
    }
}

#[async_trait]
impl Tool for Status {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "status".to_owned(),
            description: "Show how the daemon stands.".to_owned(),
            input_schema: json!({ "type": "object", "properties": {} }),
        }
    }

    fn for_models(&self) -> bool {
        false
    }

    fn personal(&self) -> bool {
        true
    }

    fn idempotent(&self) -> bool {
        true
    }

    fn effects(&self) -> Effects {
        Effects::NONE
    }

    async fn call(&self, _scope: Scope, _args: Value) -> Done {
        Done::text(self.facts.words().await)
    }
}
