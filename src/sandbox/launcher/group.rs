//! A control group for one run: memory and processes, counted by the kernel, and its share of the
//! processors. The share needs version 2: joining one more hierarchy of version 1 costs every run half a
//! millisecond.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{At as _, Step};
use crate::sandbox::{
    either_way,
    policy::{Cgroup, CgroupKind, Lock, Policy},
};

/// The groups of one run; empty where none can be made.
#[derive(Debug, Default)]
pub(super) struct Group {
    made: Vec<Cgroup>,
}

impl Group {
    /// Makes what the plan says can be made. What fails is left out; the watch takes its place.
    pub(super) fn create(policy: &Policy) -> Self {
        let mut group = Self::default();
        if !policy.plan.has(Lock::MemoryLimit) {
            return group;
        }
        for parent in &policy.plan.cgroups {
            let dir = parent.dir.join(format!("nexflow-{}", process::id()));
            if fs::create_dir(&dir).is_err() {
                continue;
            }
            let made = limit(&dir, parent.kind, policy);
            let cgroup = Cgroup {
                dir,
                kind: parent.kind,
            };
            if made.is_ok() {
                group.made.push(cgroup);
            } else {
                // Empty, so this cannot fail for long; the next start sweeps.
                either_way(fs::remove_dir(&cgroup.dir));
            }
        }
        group
    }

    /// Moves this process in.
    pub(super) fn join(&self) -> Step<()> {
        for cgroup in &self.made {
            fs::write(cgroup.dir.join("cgroup.procs"), "0").at("join cgroup")?;
        }
        Ok(())
    }

    fn has(&self, kind: CgroupKind) -> bool {
        let counts = [CgroupKind::Unified, kind];
        self.made.iter().any(|c| counts.contains(&c.kind))
    }

    /// The kernel accounts the run's memory.
    pub(super) fn counts_memory(&self) -> bool {
        self.has(CgroupKind::Memory)
    }

    /// The kernel accounts the run's processes.
    pub(super) fn counts_processes(&self) -> bool {
        self.has(CgroupKind::Pids)
    }

    /// The kernel has ended a process of the run for its memory.
    pub(super) fn out_of_memory(&self) -> bool {
        self.made.iter().any(|cgroup| {
            let file = match cgroup.kind {
                CgroupKind::Unified => "memory.events",
                CgroupKind::Memory => "memory.oom_control",
                CgroupKind::Pids => return false,
            };
            let text = fs::read_to_string(cgroup.dir.join(file)).unwrap_or_default();
            text.lines()
                .filter_map(|line| line.strip_prefix("oom_kill "))
                .any(|count| count.trim() != "0")
        })
    }

    /// Removes the groups; all processes are gone by now, or as good as.
    pub(super) fn remove(&mut self) {
        for cgroup in self.made.drain(..) {
            for _ in 0..50 {
                match fs::remove_dir(&cgroup.dir) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        super::tree::pause(2);
                    }
                    _ => break,
                }
            }
        }
    }
}

fn limit(dir: &Path, kind: CgroupKind, policy: &Policy) -> io::Result<()> {
    let limits = &policy.limits;
    let memory = limits.memory_bytes.to_string();
    // The first process of the sandbox counts too.
    let processes = limits.processes.saturating_add(1).to_string();
    // Of each tenth of a second, in microseconds.
    let quota = limits.cpu_percent.max(1).saturating_mul(1000).to_string();
    let set = |file: &str, value: &str| fs::write(dir.join(file), value);
    match kind {
        CgroupKind::Unified => {
            set("memory.max", &memory)?;
            set("pids.max", &processes)?;
            // Absent without swap, or on older kernels.
            either_way(set("memory.swap.max", "0"));
            either_way(set("memory.oom.group", "1"));
            // Absent where processors are not delegated.
            either_way(set("cpu.max", &format!("{quota} 100000")));
            Ok(())
        }
        CgroupKind::Memory => {
            set("memory.limit_in_bytes", &memory)?;
            // Absent without swap accounting.
            either_way(set("memory.memsw.limit_in_bytes", &memory));
            Ok(())
        }
        CgroupKind::Pids => set("pids.max", &processes),
    }
}

/// Parents in which groups can be made here, found by making one.
pub(in crate::sandbox) fn parents() -> Vec<Cgroup> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let kind = match controllers {
            "" => CgroupKind::Unified,
            "memory" => CgroupKind::Memory,
            "pids" => CgroupKind::Pids,
            _ => continue,
        };
        for dir in candidates(&mounts, controllers, path) {
            sweep(&dir);
            let parent = Cgroup { dir, kind };
            if usable(&parent) {
                found.push(parent);
                break;
            }
        }
    }
    found
}

/// Directories of our own group in a hierarchy. In version 2 a group that holds processes cannot
/// hold groups with limits, so the parent (which a service manager delegates) comes first.
fn candidates(mounts: &str, controllers: &str, path: &str) -> Vec<PathBuf> {
    let Some(mount) = mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let system = kind.next()?;
        let options = kind.nth(1)?;
        let matches = match controllers {
            "" => system == "cgroup2",
            name => system == "cgroup" && options.split(',').any(|o| o == name),
        };
        matches.then(|| place.split(' ').nth(4)).flatten()
    }) else {
        return Vec::new();
    };
    let own = Path::new(mount).join(path.trim_start_matches('/'));
    let parent = own.parent().map(Path::to_owned);
    match parent {
        Some(parent) if controllers.is_empty() && parent.starts_with(mount) => vec![parent, own],
        _ => vec![own],
    }
}

fn usable(parent: &Cgroup) -> bool {
    if parent.kind == CgroupKind::Unified {
        // Refused where it is not ours to delegate; then the files below are missing.
        either_way(fs::write(
            parent.dir.join("cgroup.subtree_control"),
            "+memory +pids",
        ));
        either_way(fs::write(parent.dir.join("cgroup.subtree_control"), "+cpu"));
    }
    let dir = parent.dir.join(format!("nexflow-{}", process::id()));
    if fs::create_dir(&dir).is_err() {
        return false;
    }
    let files: &[&str] = match parent.kind {
        CgroupKind::Unified => &["memory.max", "pids.max"],
        CgroupKind::Memory => &["memory.limit_in_bytes"],
        CgroupKind::Pids => &["pids.max"],
    };
    let writable = files.iter().all(|file| {
        fs::OpenOptions::new()
            .write(true)
            .open(dir.join(file))
            .is_ok()
    });
    fs::remove_dir(&dir).is_ok() && writable
}

/// Ends what still runs in a group whose launcher is gone.
fn end(group: &Path) {
    for _ in 0..100 {
        let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let pids: Vec<i32> = procs.lines().filter_map(|p| p.parse().ok()).collect();
        if pids.is_empty() {
            return;
        }
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for pid in &pids {
                // Gone already is as good.
                either_way(kill(Pid::from_raw(*pid), signal));
            }
        }
        super::tree::pause(1);
    }
}

/// Removes groups that a launcher left when it was killed.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.strip_prefix("nexflow-")) else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            end(&entry.path());
            // Busy means that something still runs in it; the next start tries again.
            either_way(fs::remove_dir(entry.path()));
        }
    }
}
