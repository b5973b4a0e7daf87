//! What is to run, with everything that it may have; and what came of it.

use std::{net::IpAddr, os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Authority, Handle, Mode, Rule};

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
    /// The only programs of the system's that it may start, without links in their paths; all of
    /// them if `None`. What lies in a mount or was made by the run can be started either way, and
    /// an interpreter does what its language can: this keeps honest programs to what they said.
    pub programs: Option<Vec<PathBuf>>,
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
            programs: None,
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
#[derive(Debug, Clone)]
pub enum Network {
    /// Nothing.
    None,
    /// Its own loopback, where nobody else is.
    Loopback,
    /// What these rules allow, through the gate's proxy; nothing by itself.
    Gate(Reach),
}

/// What the gate lets a program reach.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// Where to.
    pub rules: Vec<Rule>,
    /// Secrets that the gate fills in.
    pub handles: Vec<Handle>,
    /// Who vouches for the gate where it stands for a host that has a handle; the program must
    /// trust it. Without, no TLS connection is looked into and no handle works there.
    pub authority: Option<Arc<Authority>>,
}

impl From<Vec<Rule>> for Reach {
    fn from(rules: Vec<Rule>) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }
}

impl Reach {
    /// This very address is granted literally.
    pub(super) fn reaches(&self, ip: IpAddr, port: u16) -> bool {
        self.rules.iter().any(|rule| rule.reaches(ip, port))
    }
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
    /// Processor time per time by the clock, in percent of one processor, where a control group of
    /// version 2 can be made.
    pub cpu_percent: u32,
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
            cpu_percent: 200,
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
