//! Executable skills as tools, and running one for whoever asks. Every execution is a row before its
//! process starts.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Done, Kit, Scope, Tool, ability};
use crate::{
    skills::{
        Skill, State,
        permission::{Grant, Permission},
        run::{RunContext, Status},
    },
    store::tasks,
    types::{SessionId, TaskId, chat::ToolSpec, effect::Effects, frame::CallStatus, text::shorten},
};

/// A skill that may run.
struct SkillTool {
    kit: Kit,
    skill: Arc<Skill>,
}

/// Every executable skill that may run now.
pub fn usable(kit: &Kit) -> Vec<Arc<dyn Tool>> {
    let skills = kit.catalog.snapshot();
    let runs = skills
        .iter()
        .filter(|s| s.state == State::Trusted && s.is_executable());
    runs.map(|skill| {
        Arc::new(SkillTool {
            kit: kit.clone(),
            skill: Arc::clone(skill),
        }) as Arc<dyn Tool>
    })
    .collect()
}

/// Name and description of every instruction skill that may be read.
pub fn instructions(kit: &Kit) -> Vec<(String, String)> {
    let skills = kit.catalog.snapshot();
    let texts = skills
        .iter()
        .filter(|s| s.state == State::Trusted && !s.is_executable());
    texts
        .map(|s| (s.name.clone(), shorten(&s.manifest.description, 300)))
        .collect()
}

#[async_trait]
impl Tool for SkillTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.skill.name.clone(),
            description: shorten(&self.skill.manifest.description, 1024),
            input_schema: self.skill.input_schema(),
        }
    }

    fn idempotent(&self) -> bool {
        self.skill.manifest.idempotent
    }

    fn effects(&self) -> Effects {
        effects(&self.skill)
    }

    fn hash(&self) -> String {
        self.skill.hash.clone()
    }

    fn confirm(&self) -> bool {
        self.skill.manifest.confirm
    }

    fn works_on_files(&self) -> bool {
        let files = |permission: &Permission| matches!(permission.grant(), Grant::Files { .. });
        self.skill.granted.iter().any(files)
    }

    async fn call(&self, scope: Scope, args: Value) -> Done {
        match run(&self.kit, &self.skill, scope, args).await {
            Ok((_, done)) => done,
            Err(error) => Done::failed(format!("the execution could not be written: {error}")),
        }
    }
}

/// What a skill says that it does, and what its permissions let it do whatever it says.
pub fn effects(skill: &Skill) -> Effects {
    let granted = skill
        .granted
        .iter()
        .map(|permission| match permission.grant() {
            Grant::Network(_) => Effects::SENDS_OUT.and(Effects::INGESTS_UNTRUSTED),
            Grant::Ability(name) => match name.as_str() {
                "memory:read" => Effects::READS_PRIVATE,
                "memory:write" | "schedule" => Effects::CHANGES_STATE,
                "message:send" => Effects::SENDS_OUT,
                _ => Effects::NONE,
            },
            Grant::Shell
            | Grant::Exec(_)
            | Grant::Files { .. }
            | Grant::Env(_)
            | Grant::Secret { .. } => Effects::NONE,
        });
    let declared = Effects::declared(&skill.manifest.effects);
    granted.fold(declared, Effects::and)
}

/// Where a session's skills work.
pub fn workspace(kit: &Kit, session: SessionId) -> PathBuf {
    kit.workspaces.join(session.to_string())
}

/// Runs a skill and keeps what came of it.
pub async fn run(
    kit: &Kit,
    skill: &Skill,
    scope: Scope,
    input: Value,
) -> crate::store::Result<(TaskId, Done)> {
    let (id, now) = (TaskId::new(), kit.clock.now());
    let (name, given) = (skill.name.clone(), input.clone());
    let belongs = (Some(scope.place.session), scope.turn);
    kit.store
        .write(move |tx| tasks::start(tx, id, (&name, &given), belongs, now))
        .await?;
    let context = RunContext {
        workspace: workspace(kit, scope.place.session),
        abilities: Some(Arc::new(ability::Abilities::new(kit, &scope))),
        live: scope.live.clone(),
    };
    let result = kit.runner.run(skill, input, context, &scope.cancel).await;
    let status = match result.status {
        Status::Ok => CallStatus::Ok,
        Status::Failed => CallStatus::Failed,
        Status::Refused => CallStatus::Refused,
        Status::Cancelled => CallStatus::Cancelled,
    };
    let end = tasks::End {
        status,
        output: result.output.clone(),
        error: result.error.clone(),
        sandbox: result.mode.map(|mode| mode.as_str().to_owned()),
    };
    let now = kit.clock.now();
    kit.store
        .write(move |tx| tasks::finish(tx, id, &end, now))
        .await?;
    let text = match &result.error {
        Some(error) if result.output.is_null() => error.clone(),
        Some(error) => format!("{error}\n{}", result.output),
        None => result.output.to_string(),
    };
    let detail = match (&result.error, result.output) {
        (Some(error), Value::Null) => json!({ "error": error }),
        (Some(error), Value::Object(mut output)) => {
            output
                .entry("error")
                .or_insert_with(|| error.clone().into());
            Value::Object(output)
        }
        (_, output) => output,
    };
    Ok((
        id,
        Done {
            status,
            text,
            detail,
        },
    ))
}
