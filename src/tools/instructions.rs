//! Instruction skills: read on demand, so that only their names stand in every prompt.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Done, Kit, Scope, Tool, arguments, strings};
use crate::{
    skills::{State, catalog::Catalog, needs::Need},
    types::{chat::ToolSpec, effect::Effects},
};

struct Read {
    catalog: Catalog,
}

struct List {
    catalog: Catalog,
}

pub(super) fn read(kit: &Kit) -> Arc<dyn Tool> {
    Arc::new(Read {
        catalog: kit.catalog.clone(),
    })
}

pub(super) fn list(kit: &Kit) -> Arc<dyn Tool> {
    Arc::new(List {
        catalog: kit.catalog.clone(),
    })
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[async_trait]
impl Tool for Read {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "skill".to_owned(),
            description: "Read the instructions of a skill by its name.".to_owned(),
            input_schema: strings(&[("name", "Name of the skill")]),
        }
    }

    fn idempotent(&self) -> bool {
        true
    }

    fn effects(&self) -> Effects {
        Effects::NONE
    }

    async fn call(&self, _scope: Scope, args: Value) -> Done {
        let name = match arguments::<Name>(args) {
            Ok(Name { name }) => name,
            Err(failed) => return failed,
        };
        let Some(skill) = self.catalog.get(&name) else {
            return Done::failed(format!("There is no skill `{name}`."));
        };
        if skill.state != State::Trusted {
            return Done::failed(format!(
                "The skill `{name}` is {}: {}",
                skill.state.as_str(),
                skill.reason
            ));
        }
        let mut text = skill.body.clone();
        let files = skill.files();
        if !files.is_empty() {
            text.push_str(&format!("\n\nFiles of this skill: {}", files.join(", ")));
        }
        let lacking: Vec<String> = skill.needs.iter().filter_map(Need::lacking).collect();
        if !lacking.is_empty() {
            let lacking = lacking.join("; ");
            text.push_str(&format!(
                "\n\n(From Nexflow: this skill says it needs what is not here: {lacking}.)"
            ));
        }
        Done {
            detail: json!({ "text": text }),
            ..Done::text(text)
        }
    }
}

#[async_trait]
impl Tool for List {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "list_skills".to_owned(),
            description: "List skills.".to_owned(),
            input_schema: json!({ "type": "object", "properties": {} }),
        }
    }

    fn for_models(&self) -> bool {
        false
    }

    fn idempotent(&self) -> bool {
        true
    }

    fn effects(&self) -> Effects {
        Effects::NONE
    }

    async fn call(&self, _scope: Scope, _args: Value) -> Done {
        let skills = self.catalog.snapshot();
        if skills.is_empty() {
            return Done::text(
                "There are no skills. Put a folder with a SKILL.md into the skills directory.",
            );
        }
        let mut text = String::new();
        for skill in skills.iter() {
            let emoji = skill.manifest.emoji.clone().unwrap_or_default();
            let state = match skill.state {
                State::Trusted => String::new(),
                other => format!(" *({}: {})*", other.as_str(), skill.reason),
            };
            let about = crate::types::text::shorten(&skill.manifest.description, 160);
            text.push_str(&format!("- {emoji} **{}** – {about}{state}\n", skill.name));
        }
        text.push_str("\n`/run SKILL …` runs one.");
        Done::text(text)
    }
}
