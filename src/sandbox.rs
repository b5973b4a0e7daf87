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
mod gate;
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

use std::{io, os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, mpsc};
use tokio_util::sync::CancellationToken;

pub use files::{Open, interpreter_mounts, open_beneath};
pub use gate::{Egress, Resolve};
pub use launcher::helper;
#[doc(hidden)]
pub use policy::Lock;
pub use report::{Layer, Report};
pub use rule::{Ports, Rule};
pub use selftest::Runtime;

/// User of programs where the daemon is root and the job names none.
pub const DEFAULT_UID: u32 = 64_000;

/// One program to run, with everything that it may have.
#[derive(Debug)]
pub struct Job {
    /// The program, as an absolute path, and its arguments.
    pub argv: Vec<String>,
    /// The whole environment, besides what the sandbox adds: defaults of `PATH`, `LANG`, `HOME`
    /// and `TMPDIR`, and the proxy variables of a gated run, which no job can change.
    pub env: Vec<(String, String)>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Working directory: in a mount, or one of `/`, `/tmp`, `/home/skill`.
    pub cwd: PathBuf,
    /// Folders and files, at the same path inside as outside, without symbolic links in them.
    pub mounts: Vec<Mount>,
    /// What it may reach.
    pub network: Network,
    /// When it is ended.
    pub limits: Limits,
    /// The user to run as, where the daemon is root; [`DEFAULT_UID`] if `None`.
    pub uid: Option<u32>,
    /// More descriptors that it gets, under these numbers (3 to 99).
    pub fds: Vec<(i32, OwnedFd)>,
    /// Where output goes while it runs; pieces are dropped rather than waited for.
    pub live: Option<mpsc::Sender<Live>>,
    /// For logs and egress records: the skill's name.
    pub label: String,
}

impl Job {
    /// A program that may have nothing: no folder, no network, no input.
    pub fn new(argv: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            stdin: Vec::new(),
            cwd: PathBuf::from("/tmp"),
            mounts: Vec::new(),
            network: Network::None,
            limits: Limits::default(),
            uid: None,
            fds: Vec::new(),
            live: None,
            label: String::new(),
        }
    }
}

/// A folder or file that the program sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The path, inside and outside.
    pub path: PathBuf,
    /// What may be done there.
    pub access: Access,
}

impl Mount {
    /// To read and execute.
    pub fn read(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            access: Access::Read,
        }
    }

    /// To read, execute, and change.
    pub fn write(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            access: Access::Write,
        }
    }
}

/// What may be done with a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and execute.
    Read,
    /// Read, execute, create, change, delete.
    Write,
}

/// What a program may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// Nothing.
    None,
    /// Its own loopback, where nobody else is.
    Loopback,
    /// What these rules allow, through the gate's proxy; nothing by itself.
    Gate(Vec<Rule>),
}

/// When a program is ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time by the clock.
    pub wall: Duration,
    /// Bytes kept of each output stream; more is read and dropped, up to a hard limit.
    pub output_bytes: usize,
    /// Memory of all its processes together.
    pub memory_bytes: u64,
    /// Processes and threads at a time.
    pub processes: u32,
    /// Size of a single file.
    pub file_bytes: u64,
    /// What it may write to its mounts, together.
    pub disk_bytes: u64,
    /// Open files of each process.
    pub open_files: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(30),
            output_bytes: 64 << 10,
            memory_bytes: 512 << 20,
            processes: 128,
            file_bytes: 256 << 20,
            disk_bytes: 1 << 30,
            open_files: 512,
        }
    }
}

/// A piece of output while the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Which stream.
    pub stream: Stream,
    /// The bytes, as they came.
    pub text: Vec<u8>,
}

/// An output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Standard output. Untrusted text: nothing in it is to be believed.
    pub stdout: Output,
    /// Standard error; as untrusted.
    pub stderr: Output,
    /// From the call to the end.
    pub elapsed: Duration,
    /// What it was confined by.
    pub mode: Mode,
}

/// What was kept of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Beginning and end.
    pub bytes: Vec<u8>,
    /// How many bytes between them were dropped.
    pub dropped: u64,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// Its time was up.
    TimedOut,
    /// The caller cancelled it.
    Cancelled,
    /// It wrote far more than is kept.
    OutputLimit,
    /// It took too much memory.
    MemoryLimit,
    /// It wrote too much to disk.
    DiskLimit,
}

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
            helper: None,
            force: None,
            without: Vec::new(),
            no_cgroups: false,
            egress: None,
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
