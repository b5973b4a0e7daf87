//! The sandbox: the only place that starts programs.
//!
//! What is not in the [`Job`] does not exist for the program: no file, no process, no network, no
//! descriptor, no variable. The daemon starts itself as `nexflow __sandbox` ([`helper`]), which
//! builds the sandbox from the kernel's own means and watches over the run. Who may ask for what
//! is not decided here: a job is already the intersection of request and grant.
//!
//! A folder that is mounted writable and belongs to root is given to the program's user (the
//! folder itself, not its content) at its first run.

mod check;
mod files;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod gate;
mod job;
mod launcher;
mod launchers;
mod output;
mod policy;
mod report;
mod rule;
mod run;
mod selftest;
mod sys;
mod wire;

use std::{io, path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, mpsc};
use tokio_util::sync::CancellationToken;

pub use files::{Open, interpreter_mounts, open_beneath};
pub use gate::{Authority, Egress, Handle, Resolve, Usage};
pub use job::{
    Access, DEFAULT_UID, End, Job, Limits, Live, Mount, Network, Outcome, Output, Reach, Stream,
};
pub use launcher::helper;
#[doc(hidden)]
pub use policy::Lock;
pub use report::{Layer, Report};
pub use rule::{Ports, Rule};
pub use selftest::Runtime;

/// Why a program was not run. What a program did is an [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// This machine cannot confine what the job asks for.
    #[error("{what}. {fix}")]
    Unsupported {
        /// What is missing.
        what: String,
        /// What a person can do.
        fix: String,
    },
    /// The job asks for something that is never given.
    #[error("refused: {0}")]
    Refused(String),
    /// It could not be started.
    #[error("the sandbox could not start ({stage}): {source}")]
    Start {
        /// The step that failed.
        stage: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What confines programs on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Namespaces with a private root, and everything else.
    Full,
    /// Landlock, the system call filter and limits, on the host's own files and processes.
    Degraded,
    /// Nothing that would hold: no program runs.
    None,
    /// The owner switched confinement off, twice: programs may do what the daemon may.
    Unconfined,
}

impl Mode {
    /// The word in logs and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Degraded => "degraded",
            Self::None => "none",
            Self::Unconfined => "unconfined",
        }
    }
}

/// Settings of the sandbox. Code may set more than a file can.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Whether programs are confined. If not, none runs, unless `unconfined` is set as well.
    pub enabled: bool,
    /// With `enabled` off: run programs with all that the daemon itself may do.
    pub unconfined: bool,
    /// Size of each of the memory file systems `/tmp`, `/dev/shm` and home, in MiB.
    pub tmp_mb: u64,
    /// Output beyond this ends a program, in MiB.
    pub max_output_mb: u64,
    /// Traffic of one run through the gate, both ways together, in MiB.
    pub max_egress_mb: u64,
    /// Connections of all runs of one skill within a minute.
    pub egress_per_minute: u64,
    /// Traffic of all runs of one skill within an hour, both ways together, in MiB.
    pub egress_mb_per_hour: u64,
    /// The program to start as launcher; this very program if `None`.
    #[serde(skip)]
    pub helper: Option<PathBuf>,
    /// Use only this, whatever the machine can do. For tests.
    #[doc(hidden)]
    #[serde(skip)]
    pub force: Option<Mode>,
    /// Leave these out. For tests that show what each layer is for.
    #[doc(hidden)]
    #[serde(skip)]
    pub without: Vec<Lock>,
    /// Make no control groups. For tests of the watch that takes their place.
    #[doc(hidden)]
    #[serde(skip)]
    pub no_cgroups: bool,
    /// Where decisions of the gate are recorded.
    #[serde(skip)]
    pub egress: Option<mpsc::Sender<Egress>>,
    /// What skills have used of their allowance.
    #[serde(skip)]
    pub usage: Usage,
    /// How names become addresses; the system's resolver if `None`.
    #[serde(skip)]
    pub resolver: Option<Arc<dyn Resolve>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            unconfined: false,
            tmp_mb: 64,
            max_output_mb: 8,
            max_egress_mb: 1024,
            egress_per_minute: 600,
            egress_mb_per_hour: 2048,
            helper: None,
            force: None,
            without: Vec::new(),
            no_cgroups: false,
            egress: None,
            usage: Usage::default(),
            resolver: None,
        }
    }
}

/// For results that change nothing, whichever they are; where it is used, a comment says why.
fn either_way<T, E>(_: Result<T, E>) {}

/// Starts programs, confined.
#[derive(Debug, Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    launchers: Arc<launchers::Launchers>,
    found: OnceCell<report::Found>,
    /// The report with what the self-test of runtimes added.
    tested: OnceCell<Arc<Report>>,
}

impl Sandbox {
    /// A sandbox with these settings. Does nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            inner: Arc::new(Inner {
                launchers: Arc::new(launchers::Launchers::new(config.helper.clone())),
                config,
                found: OnceCell::new(),
                tested: OnceCell::new(),
            }),
        }
    }

    /// What confines programs here, found by trial runs at the first call; with the runtimes once
    /// [`Sandbox::self_test`] has run.
    pub async fn report(&self) -> Arc<Report> {
        let found = Arc::clone(&self.found().await.report);
        self.inner.tested.get().map_or(found, Arc::clone)
    }

    /// Runs one useful command with each runtime, confined as a skill is; the first call counts.
    pub async fn self_test(&self, runtimes: &[Runtime]) -> Arc<Report> {
        let test = || async {
            let mut report = self.found().await.report.as_ref().clone();
            if report.mode != Mode::None {
                let found = selftest::try_all(self, runtimes, report.mode).await;
                report.layers.extend(found);
            }
            Arc::new(report)
        };
        Arc::clone(self.inner.tested.get_or_init(test).await)
    }

    /// Runs a job to its end. Dropping the future ends the program, as `cancel` does.
    pub async fn run(&self, job: Job, cancel: &CancellationToken) -> Result<Outcome, SandboxError> {
        let found = self.found().await;
        let launchers = &self.inner.launchers;
        run::run(&self.inner.config, (found, launchers), job, cancel).await
    }

    async fn found(&self) -> &report::Found {
        let Inner {
            config,
            launchers,
            found,
            ..
        } = self.inner.as_ref();
        found
            .get_or_init(|| async {
                let found = report::probe(config, launchers).await;
                if found.report.mode != Mode::None {
                    launchers.refill(policy::Early::of(&found.plan));
                }
                found
            })
            .await
    }
}
