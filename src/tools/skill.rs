//! Executable skills as tools, and running one for whoever asks. Every execution is a row before its
//! process starts.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Done, Kit, Scope, Tool, ability};
use crate::{
    fail::{self, Point},
    skills::{
        Skill, State,
        permission::{Grant, Permission},
        run::{RunContext, RunResult, Status},
    },
    store::{
        Tx,
        analytics::{self, About, Event},
        audit::{self, Entry, Origin},
        tasks, users,
    },
    types::{
        Place, SessionId, TaskId, Timestamp, TurnId, chat::ToolSpec, effect::Effects,
        frame::CallStatus, text::shorten,
    },
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

    fn personal(&self) -> bool {
        let memory = |permission: &Permission| matches!(permission.grant(), Grant::Ability(name) if name.starts_with("memory:"));
        self.skill.granted.iter().any(memory)
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

/// Notes what was done on somebody's behalf, and where they asked for it.
fn note(
    tx: &Tx<'_>,
    (whose, allowed): (&Place, Option<String>),
    entry: Entry,
) -> crate::store::Result<()> {
    let actor = users::get(tx, whose.user)?.map_or_else(|| whose.user.to_string(), |u| u.name);
    let to = &whose.address;
    let from = [&to.connector, &to.account, &to.chat];
    let from: Vec<&str> = from
        .into_iter()
        .map(String::as_str)
        .filter(|p| !p.is_empty())
        .collect();
    let origin = Origin {
        from: from.join("/"),
        decided_by: allowed,
    };
    audit::append_from(tx, &Entry { actor, ..entry }, &origin)
}

/// An execution, as long as it lasts.
#[derive(Clone)]
struct Execution {
    id: TaskId,
    skill: String,
    place: Place,
    turn: Option<TurnId>,
    began: Timestamp,
    allowed: Option<String>,
}

impl Execution {
    /// On disk before the process starts.
    async fn begin(&self, kit: &Kit, input: Value) -> crate::store::Result<()> {
        let own = self.clone();
        let write = kit.store.write(move |tx| {
            let belongs = (Some(own.place.session), own.turn);
            tasks::start(tx, own.id, (&own.skill, &input), belongs, own.began)?;
            let detail = json!({ "task": own.id, "turn": own.turn, "session": own.place.session,
                                 "input": input });
            let entry = Entry::new(own.began, "", "skill.run", &own.skill);
            note(tx, (&own.place, own.allowed.clone()), entry.with(detail))
        });
        write.await
    }

    async fn end(&self, kit: &Kit, end: tasks::End) -> crate::store::Result<()> {
        let (own, now) = (self.clone(), kit.clock.now());
        let took = u64::try_from(now.since(own.began).as_millis()).unwrap_or(u64::MAX);
        let write = kit.store.keep(move |tx| {
            tasks::finish(tx, own.id, &end, now)?;
            let detail = json!({ "task": own.id, "outcome": end.status, "error": end.error });
            let entry = Entry::new(now, "", "skill.ended", &own.skill);
            note(tx, (&own.place, None), entry.with(detail))?;
            let about = About {
                session: Some(own.place.session),
                turn: own.turn,
                user: Some(own.place.user),
            };
            let what = json!({ "skill": own.skill, "outcome": end.status, "duration_ms": took });
            analytics::record(tx, Event::SkillRun, about, &what, now)
        });
        write.await
    }
}

/// Runs a skill and keeps what came of it.
pub async fn run(
    kit: &Kit,
    skill: &Skill,
    scope: Scope,
    input: Value,
) -> crate::store::Result<(TaskId, Done)> {
    let context = RunContext {
        workspace: workspace(kit, scope.place.session),
        abilities: Some(Arc::new(ability::Abilities::new(kit, &scope, &skill.name))),
        live: scope.live.clone(),
    };
    let run = async {
        fail::point(Point::ToolStarted);
        let result = kit
            .runner
            .run(skill, input.clone(), context, &scope.cancel)
            .await;
        fail::point(Point::ToolEnded);
        result
    };
    kept(kit, &skill.name, (&scope, input.clone()), run).await
}

/// Writes an execution before it starts, follows it, and keeps what came of it.
pub(super) async fn kept(
    kit: &Kit,
    skill: &str,
    (scope, input): (&Scope, Value),
    run: impl Future<Output = RunResult> + Send,
) -> crate::store::Result<(TaskId, Done)> {
    let execution = Execution {
        id: TaskId::new(),
        skill: skill.to_owned(),
        place: scope.place.clone(),
        turn: scope.turn,
        began: kit.clock.now(),
        allowed: scope.allowed.clone(),
    };
    execution.begin(kit, input).await?;
    let result = run.await;
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
    execution.end(kit, end).await?;
    fail::point(Point::TaskCommitted);
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
        execution.id,
        Done {
            status,
            text,
            detail,
        },
    ))
}
