//! What the daemon tells the launcher: one run, decided completely. JSON over the control socket,
//! never in arguments or environment (which other processes can read).

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Limits, Network, gate::Forward};

/// Longest policy that is sent or read.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// Where the gate listens inside a network namespace.
pub(super) const GATE_PORT: u16 = 3128;
/// Home directory inside a private root.
pub(super) const HOME: &str = "/home/skill";

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) cwd: PathBuf,
    /// Folders and files beside the system's: path, and whether it may be written.
    pub(super) mounts: Vec<(PathBuf, bool)>,
    pub(super) net: Net,
    /// Listeners that stand for granted hosts, where the run has a network of its own.
    pub(super) forwards: Vec<Forward>,
    /// The only programs of the system's that may be started; all if `None`.
    pub(super) programs: Option<Vec<PathBuf>>,
    pub(super) limits: Limits,
    /// Descriptor numbers of the program; the descriptors come along in this order.
    pub(super) fds: Vec<i32>,
    /// The user to become.
    pub(super) uid: Option<u32>,
    /// Process of the daemon, which the program may not signal.
    pub(super) daemon: i32,
    pub(super) plan: Plan,
}

/// The network of a run, as far as the kernel enforces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Net {
    None,
    Loopback,
    Gate {
        /// Something on a loopback address was granted: it must go to the gate as well.
        host_loopback: bool,
        /// The run's own loopback was granted as well.
        own_loopback: bool,
    },
}

impl From<&Network> for Net {
    fn from(network: &Network) -> Self {
        match network {
            Network::None => Self::None,
            Network::Loopback => Self::Loopback,
            Network::Gate(reach) => Self::Gate {
                host_loopback: reach.rules.iter().any(super::Rule::is_loopback_address),
                own_loopback: reach.rules.contains(&super::Rule::Loopback),
            },
        }
    }
}

/// Which layers there are on this machine: found by trial runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Plan {
    /// Namespaces and a private root; without, Landlock and seccomp alone.
    pub(super) namespaces: bool,
    /// A user namespace comes first, because the daemon has no capability to make the others.
    pub(super) user_namespace: bool,
    /// A `/proc` of its own.
    pub(super) proc: bool,
    /// Landlock must be enforced.
    pub(super) landlock: bool,
    /// Without namespaces: connections can be made for the program, so that it needs none itself.
    pub(super) handed: bool,
    /// Where a group for the run can be made.
    pub(super) cgroups: Vec<Cgroup>,
    /// Size of each of `/tmp`, `/dev/shm` and the home directory.
    pub(super) tmp_bytes: u64,
    /// Layers left out, by tests that show what each one is for.
    pub(super) without: Vec<Lock>,
    /// Instead of the program: look around and report.
    pub(super) trial: bool,
}

/// A parent directory for the groups of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cgroup {
    pub(super) dir: PathBuf,
    pub(super) kind: CgroupKind,
}

impl Cgroup {
    /// The group of one run, by its launcher.
    pub(super) fn of(&self, launcher: u32) -> PathBuf {
        self.dir.join(format!("nexflow-{launcher}"))
    }
}

/// Which files set the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CgroupKind {
    /// Version 2, both.
    Unified,
    /// Version 1, memory.
    Memory,
    /// Version 1, number of processes.
    Pids,
}

/// A layer that a test can leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Lock {
    Landlock,
    Seccomp,
    Network,
    Processes,
    Ipc,
    Hostname,
    Root,
    ReadOnly,
    ProcMasks,
    User,
    Capabilities,
    NoNewPrivileges,
    Rlimits,
    Session,
    MemoryLimit,
    DiskLimit,
}

/// What a launcher makes before it knows what to run: what is alike for all runs of a plan. Its one
/// argument, as JSON; other processes may read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Early {
    /// Network, host name and the like.
    pub(super) namespaces: bool,
    /// And the user namespace that these need.
    pub(super) user_namespace: bool,
    /// Parents of groups to move into. Moving waits for all processors, up to twenty milliseconds if
    /// nothing has moved for a while; children begin in the group of their parent for nothing.
    pub(super) groups: Vec<Cgroup>,
}

impl Early {
    /// What every run of this plan needs.
    pub(super) fn of(plan: &Plan) -> Self {
        let namespaces = plan.namespaces && plan.without.is_empty();
        // A group of version 2 may end all that is in it at once, this process too.
        let safe = |group: &&Cgroup| group.kind != CgroupKind::Unified;
        let groups = plan.cgroups.iter().filter(safe).cloned();
        Self {
            namespaces,
            user_namespace: namespaces && plan.user_namespace,
            groups: if plan.has(Lock::MemoryLimit) {
                groups.collect()
            } else {
                Vec::new()
            },
        }
    }

    /// The launcher's argument.
    pub(super) fn argument(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What an argument says; nothing, if it says nothing.
    pub(super) fn parse(argument: &str) -> Self {
        serde_json::from_str(argument).unwrap_or_default()
    }
}

impl Plan {
    pub(super) fn has(&self, lock: Lock) -> bool {
        !self.without.contains(&lock)
    }
}

/// What the launcher answers, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// The listener for the gate comes with this line.
    Listener,
    /// A finding of a trial: name, whether it holds, detail.
    Found(String, bool, String),
    /// A step failed before the program started.
    Failed(String, i32),
    Exited(i32),
    Signalled(i32),
    TimedOut,
    Memory,
    Disk,
}

impl Word {
    /// The line, without its end.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Listener => "listener".to_owned(),
            Self::Found(name, ok, detail) => {
                let detail = detail.replace('\n', " ");
                format!("found {name} {} {detail}", u8::from(*ok))
            }
            Self::Failed(stage, errno) => format!("failed {errno} {}", stage.replace('\n', " ")),
            Self::Exited(code) => format!("exited {code}"),
            Self::Signalled(signal) => format!("signalled {signal}"),
            Self::TimedOut => "timeout".to_owned(),
            Self::Memory => "memory".to_owned(),
            Self::Disk => "disk".to_owned(),
        }
    }

    /// The word that a line says; nothing else passes.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match word {
            "listener" => Self::Listener,
            "found" => {
                let (name, rest) = rest.split_once(' ')?;
                let (ok, detail) = rest.split_once(' ').unwrap_or((rest, ""));
                Self::Found(name.to_owned(), ok == "1", detail.to_owned())
            }
            "failed" => {
                let (errno, stage) = rest.split_once(' ')?;
                Self::Failed(stage.to_owned(), errno.parse().ok()?)
            }
            "exited" => Self::Exited(rest.parse().ok()?),
            "signalled" => Self::Signalled(rest.parse().ok()?),
            "timeout" => Self::TimedOut,
            "memory" => Self::Memory,
            "disk" => Self::Disk,
            _ => return None,
        })
    }
}

impl Policy {
    /// Length and JSON.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 4];
        serde_json::to_writer(&mut bytes, self)?;
        let length = bytes.len() - 4;
        if length > MAX_BYTES {
            return Err(io::Error::other(format!(
                "arguments and environment are {length} bytes; at most {MAX_BYTES} pass"
            )));
        }
        let length = u32::try_from(length).map_err(io::Error::other)?;
        if let Some(head) = bytes.first_chunk_mut::<4>() {
            *head = length.to_le_bytes();
        }
        Ok(bytes)
    }

    /// The length that four bytes announce.
    pub(super) fn length(head: [u8; 4]) -> io::Result<usize> {
        let length = u32::from_le_bytes(head) as usize;
        if length > MAX_BYTES {
            return Err(io::Error::other(format!("a policy of {length} bytes")));
        }
        Ok(length)
    }

    /// The policy in `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        serde_json::from_slice(bytes).map_err(io::Error::other)
    }
}
