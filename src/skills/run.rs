//! Runs executable skills, each confined to what it was granted.
//!
//! The input is one JSON object on standard input; the output one on standard output, else it is
//! wrapped. Descriptor 3 takes progress, descriptor 4 speaks to the daemon ([`Abilities`]).

mod brake;
mod channels;
mod folders;
mod job;
mod lacks;
mod output;
mod programs;
mod secrets;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{
    future::{Either, select},
    pin_mut,
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Config, Skill, State, folder};
use crate::{
    sandbox::{Job, Mode, Outcome, Sandbox, SandboxError},
    types::Secret,
};
pub use brake::{Brake, Stopped};
use folders::Folders;
pub use folders::make_workspace;
pub use output::safe;
use secrets::Bound;

/// How long words on the way may take to arrive once the program has ended.
const LAG: Duration = Duration::from_secs(2);

/// What the daemon can do for a skill. The runner asks only for what was granted.
#[async_trait]
pub trait Abilities: Send + Sync + 'static {
    /// Does `method`, or says why not.
    async fn call(&self, method: &str, params: Value) -> Result<Value, String>;
}

/// For whom a skill runs.
#[derive(Clone)]
pub struct RunContext {
    /// The folder that keeps between runs; made if it is not there.
    pub workspace: PathBuf,
    /// What the daemon does for it.
    pub abilities: Option<Arc<dyn Abilities>>,
    /// Takes output while it is made.
    pub live: Option<mpsc::Sender<LiveOutput>>,
}

/// Something that a skill said while it ran.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveOutput {
    /// The text; may be empty where there is progress.
    pub text: String,
    /// How far it is, from 0 to 1.
    pub progress: Option<f64>,
}

/// Whether a skill did what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It ended with exit code 0.
    Ok,
    /// It did not.
    Failed,
    /// It was not started: it may not, or nothing here can confine it.
    Refused,
    /// It was stopped by who asked for it.
    Cancelled,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunResult {
    /// Whether it did what it was asked.
    pub status: Status,
    /// What it said: its JSON object, or one that holds its output. `null` if it was not started.
    pub output: Value,
    /// What went wrong.
    pub error: Option<String>,
    /// What it was confined by.
    pub mode: Option<Mode>,
    /// How long it ran.
    pub duration: Duration,
}

/// Runs skills. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    inner: Arc<Inner>,
}

struct Inner {
    sandbox: Sandbox,
    config: Config,
    data: PathBuf,
    brake: Brake,
}

/// What a program is started with.
struct Given {
    input: Value,
    arguments: Vec<String>,
    /// Instead of the input.
    stdin: Option<String>,
}

/// Why a skill was not started.
#[derive(Debug)]
struct Stop(Status, String);

impl Runner {
    /// A runner that keeps throwaway folders in the data directory, which no skill ever sees.
    pub fn new(sandbox: Sandbox, config: &Config, data_dir: PathBuf) -> Self {
        for secret in config.secrets.values() {
            // Output is shown line by line: a key of several lines is masked line by line.
            let lines = secret.expose().lines().filter(|l| l.len() >= 16);
            lines.for_each(|line| drop(Secret::new(line)));
        }
        let config = config.clone();
        Self {
            inner: Arc::new(Inner {
                sandbox,
                config,
                data: data_dir,
                brake: Brake::default(),
            }),
        }
    }

    /// The emergency stop.
    pub fn brake(&self) -> &Brake {
        &self.inner.brake
    }

    /// Runs a skill to its end. Dropping the future ends the program, as `cancel` does.
    pub async fn run(
        &self,
        skill: &Skill,
        input: Value,
        context: RunContext,
        cancel: &CancellationToken,
    ) -> RunResult {
        let given = Given {
            input,
            arguments: Vec::new(),
            stdin: None,
        };
        self.run_with(skill, given, context, cancel).await
    }

    /// Runs a script of [`super::catalog::Catalog::script`] with arguments, as [`Runner::run`].
    pub async fn run_script(
        &self,
        script: &Skill,
        (arguments, stdin): (Vec<String>, String),
        context: RunContext,
        cancel: &CancellationToken,
    ) -> RunResult {
        let given = Given {
            input: json!({}),
            arguments,
            stdin: Some(stdin),
        };
        self.run_with(script, given, context, cancel).await
    }

    async fn run_with(
        &self,
        skill: &Skill,
        given: Given,
        context: RunContext,
        cancel: &CancellationToken,
    ) -> RunResult {
        let began = Instant::now();
        let stop = cancel.child_token();
        let attempt = Box::pin(self.attempt(skill, &given, context, &stop));
        let pulled = self.inner.brake.pulled();
        pin_mut!(pulled);
        let (done, stopped) = match select(attempt, pulled).await {
            Either::Left((done, _)) => (done, None),
            Either::Right((stopped, attempt)) => {
                stop.cancel();
                (attempt.await, Some(stopped))
            }
        };
        let mut result = done.unwrap_or_else(|Stop(status, text)| RunResult {
            status,
            output: Value::Null,
            error: Some(safe(&text)),
            mode: None,
            duration: began.elapsed(),
        });
        if let Some(stopped) = stopped.filter(|_| result.status == Status::Cancelled) {
            result.error = Some(format!("the skill was stopped: {}", stopped.reason()));
        }
        result
    }

    async fn attempt(
        &self,
        skill: &Skill,
        given: &Given,
        context: RunContext,
        cancel: &CancellationToken,
    ) -> Result<RunResult, Stop> {
        self.may_run(skill)?;
        skill
            .check_input(&given.input)
            .map_err(|text| Stop(Status::Failed, text))?;
        unchanged(skill).await?;
        if self.inner.sandbox.report().await.other_user {
            folders::let_pass(&self.inner.data);
        }
        let folders = Folders::new(
            skill,
            &context.workspace,
            (&self.inner.data, &self.inner.config.directory),
        );
        let mut folders = folders.map_err(|text| Stop(Status::Refused, text))?;
        let config = &self.inner.config;
        let bound = Bound::new(skill, config, &mut folders);
        let bound = bound.map_err(|text| Stop(Status::Failed, text))?;
        let mut job = job::job((skill, config), &given.input, &folders, bound);
        job.argv.extend(given.arguments.iter().cloned());
        if let Some(stdin) = &given.stdin {
            job.stdin = stdin.clone().into_bytes();
        }
        let limits = job.limits.clone();
        let outcome = self.follow(skill, job, context, cancel).await?;
        tokio::task::spawn_blocking(move || drop(folders))
            .await
            .ok();
        let mut result = output::result(&outcome, &limits);
        if given.stdin.is_none() {
            output::check(skill, &mut result);
        }
        if result.status == Status::Failed {
            let said = output::stderr(&outcome);
            if let (Some(lacks), Some(error)) =
                (lacks::lacks(skill, &outcome, &said), &mut result.error)
            {
                error.push('\n');
                error.push_str(&lacks);
            }
        }
        Ok(result)
    }

    fn may_run(&self, skill: &Skill) -> Result<(), Stop> {
        let why = if let Some(stopped) = self.inner.brake.stopped() {
            stopped.reason()
        } else if skill.state != State::Trusted {
            format!("it is {}: {}", skill.state.as_str(), skill.reason)
        } else if !skill.is_executable() {
            "it has instructions to read, nothing to run".to_owned()
        } else if !self.inner.config.sandbox_enabled && !self.inner.config.allow_unconfined {
            "skills.sandbox_enabled is false, and no skill runs unconfined unless \
             skills.allow_unconfined is set as well"
                .to_owned()
        } else {
            return Ok(());
        };
        Err(Stop(
            Status::Refused,
            format!("the skill `{}` cannot run: {why}", skill.name),
        ))
    }

    /// Runs the job, and passes on what is said meanwhile.
    async fn follow(
        &self,
        skill: &Skill,
        mut job: Job,
        context: RunContext,
        cancel: &CancellationToken,
    ) -> Result<Outcome, Stop> {
        let cannot = |e: std::io::Error| {
            Stop(
                Status::Failed,
                format!("the skill could not be started: {e}"),
            )
        };
        let words = channels::open(skill, &mut job, context).map_err(cannot)?;
        let run = self.inner.sandbox.run(job, cancel);
        pin_mut!(run, words);
        let outcome = match select(run, words).await {
            Either::Left((outcome, words)) => {
                // What a program leaves open is not waited for.
                timeout(LAG, words).await.ok();
                outcome
            }
            Either::Right(((), run)) => run.await,
        };
        outcome.map_err(|error| {
            let status = match error {
                SandboxError::Unsupported { .. } | SandboxError::Refused(_) => Status::Refused,
                SandboxError::Start { .. } => Status::Failed,
            };
            Stop(
                status,
                format!("the skill `{}` did not run: {error}", skill.name),
            )
        })
    }
}

/// What runs is what was trusted, also where nobody watches the folder.
async fn unchanged(skill: &Skill) -> Result<(), Stop> {
    let dir = skill.dir.clone();
    let now = tokio::task::spawn_blocking(move || folder::read(&dir)).await;
    let now = now.map_err(|e| e.to_string()).and_then(|content| content);
    let why = match now {
        Ok(content) if content.hash == skill.hash => return Ok(()),
        Ok(_) => "its files were changed just now; look at them, then trust it again".to_owned(),
        Err(error) => error,
    };
    Err(Stop(
        Status::Refused,
        format!("the skill `{}` cannot run: {why}", skill.name),
    ))
}
