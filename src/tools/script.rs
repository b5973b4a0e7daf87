//! Scripts of instruction skills, confined to what the skill was granted.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Done, Kit, Scope, Tool, ability, arguments, skill};
use crate::{
    skills::{Skill, State, run::RunContext},
    types::{chat::ToolSpec, effect::Effects},
};

/// Most arguments of a script.
const MOST: usize = 256;

struct Script {
    kit: Kit,
}

pub(super) fn run(kit: &Kit) -> Arc<dyn Tool> {
    Arc::new(Script { kit: kit.clone() })
}

#[derive(Deserialize)]
struct Wanted {
    skill: String,
    script: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    stdin: String,
}

#[async_trait]
impl Tool for Script {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "run_skill_script".to_owned(),
            description:
                "Run a script from the folder of a skill whose instructions you have read. \
                          It is confined to what that skill was granted."
                    .to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "skill": { "type": "string", "description": "Name of the skill" },
                    "script": { "type": "string", "description": "The file, such as scripts/convert.py" },
                    "args": { "type": "array", "items": { "type": "string" } },
                    "stdin": { "type": "string" }
                },
                "required": ["skill", "script"],
                "additionalProperties": false
            }),
        }
    }

    /// Nothing is known of what a script does.
    fn effects(&self) -> Effects {
        Effects::ALL
    }

    /// Nobody is told of it while no skill has a script.
    fn for_models(&self) -> bool {
        let script = |file: &String| {
            let ends = [".sh", ".bash", ".py", ".js", ".mjs", ".cjs"];
            ends.iter().any(|end| file.ends_with(end))
        };
        let skills = self.kit.catalog.snapshot();
        let mut texts = skills
            .iter()
            .filter(|s| s.state == State::Trusted && !s.is_executable());
        texts.any(|s| s.files().iter().any(script))
    }

    async fn call(&self, scope: Scope, args: Value) -> Done {
        let wanted = match arguments::<Wanted>(args) {
            Ok(wanted) => wanted,
            Err(failed) => return failed,
        };
        let script = match self.find(&wanted).await {
            Ok(script) => script,
            Err(text) => return Done::failed(text),
        };
        let context = RunContext {
            workspace: skill::workspace(&self.kit, scope.place.session),
            abilities: Some(Arc::new(ability::Abilities::new(
                &self.kit,
                &scope,
                &script.name,
            ))),
            live: scope.live.clone(),
        };
        let input = json!({ "script": wanted.script, "args": wanted.args });
        let given = (wanted.args, wanted.stdin);
        let run = self
            .kit
            .runner
            .run_script(&script, given, context, &scope.cancel);
        match skill::kept(&self.kit, &script.name, (&scope, input), run).await {
            Ok((_, done)) => done,
            Err(error) => Done::failed(format!("the execution could not be written: {error}")),
        }
    }
}

impl Script {
    async fn find(&self, wanted: &Wanted) -> Result<Skill, String> {
        let (name, script) = (&wanted.skill, &wanted.script);
        let found = self.kit.catalog.get(name);
        let found = found.ok_or_else(|| format!("There is no skill `{name}`."))?;
        if found.state != State::Trusted {
            let state = found.state.as_str();
            return Err(format!("The skill `{name}` is {state}: {}", found.reason));
        }
        if found.is_executable() {
            return Err(format!("The skill `{name}` is a tool of its own: call it."));
        }
        if wanted.args.len() > MOST {
            return Err(format!("At most {MOST} arguments are given to a script."));
        }
        if wanted.args.iter().any(|arg| arg.contains('\0')) {
            return Err("An argument holds a NUL character.".to_owned());
        }
        let (catalog, path) = (self.kit.catalog.clone(), script.clone());
        let made = tokio::task::spawn_blocking(move || catalog.script(&found, &path)).await;
        let made = made.map_err(|e| e.to_string())?;
        made.map_err(|why| format!("`{script}` of the skill `{name}` cannot run: {why}."))
    }
}
