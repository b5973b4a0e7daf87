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
    made: Vec<Made>,
}

#[derive(Debug)]
struct Made {
    cgroup: Cgroup,
    /// The launcher is in it, and so is all that it starts.
    joined: bool,
}

impl Group {
    /// Makes groups in these parents and moves this process in, before there is a run.
    pub(super) fn ahead(parents: &[Cgroup]) -> Self {
        let mut group = Self::default();
        for parent in parents {
            let Some(cgroup) = make(parent) else {
                continue;
            };
            let joined = enter(&cgroup.dir).is_ok();
            group.made.push(Made { cgroup, joined });
        }
        group
    }

    /// Makes what the plan says can be made and is not there yet, and sets the limits. What fails is
    /// left out; the watch takes its place.
    pub(super) fn complete(&mut self, policy: &Policy) {
        if policy.plan.has(Lock::MemoryLimit) {
            for parent in &policy.plan.cgroups {
                if !self.made.iter().any(|made| made.cgroup.kind == parent.kind) {
                    let made = make(parent).map(|cgroup| Made {
                        cgroup,
                        joined: false,
                    });
                    self.made.extend(made);
                }
            }
        }
        let limited = |made: &Made| limit(made, policy).is_ok();
        let (made, failed) = self.made.drain(..).partition(limited);
        self.made = made;
        let failed: Vec<Made> = failed;
        for made in failed {
            // This process may be in it: it goes with it, and the next start sweeps.
            either_way(fs::remove_dir(&made.cgroup.dir));
        }
    }

    /// Moves this process in, where its parent is not inside already. When memory is short, of the run
    /// or of the machine, it goes before its launcher and everybody else.
    pub(super) fn join(&self) -> Step<()> {
        for made in self.made.iter().filter(|made| !made.joined) {
            enter(&made.cgroup.dir).at("join cgroup")?;
        }
        fs::write("/proc/self/oom_score_adj", "1000").at("oom_score_adj")
    }

    fn has(&self, kind: CgroupKind) -> bool {
        let counts = [CgroupKind::Unified, kind];
        self.made
            .iter()
            .any(|made| counts.contains(&made.cgroup.kind))
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
        self.made.iter().any(|Made { cgroup, .. }| {
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

    /// Removes the groups; all processes are gone by now, or as good as. Those that this process is
    /// in only if nobody else will.
    pub(super) fn remove(&mut self, somebody_will: bool) {
        for Made { cgroup, joined } in self.made.drain(..) {
            if joined && somebody_will {
                continue;
            }
            if joined && let Some(parent) = cgroup.dir.parent() {
                either_way(enter(parent));
            }
            remove(&cgroup.dir);
        }
    }
}

/// Removes a group whose processes are about to be gone.
pub(in crate::sandbox) fn remove(group: &Path) {
    for _ in 0..250 {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => super::tree::pause(2),
            // Gone, or left to the next start, which sweeps.
            _ => return,
        }
    }
}

fn make(parent: &Cgroup) -> Option<Cgroup> {
    let dir = parent.of(process::id());
    fs::create_dir(&dir).ok()?;
    let kind = parent.kind;
    Some(Cgroup { dir, kind })
}

fn enter(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
}

fn limit(made: &Made, policy: &Policy) -> io::Result<()> {
    let limits = &policy.limits;
    let memory = limits.memory_bytes.to_string();
    // The first process of the sandbox counts too, and the launcher where it is inside.
    let own = 1 + u32::from(made.joined);
    let processes = limits.processes.saturating_add(own).to_string();
    // Of each tenth of a second, in microseconds.
    let quota = limits.cpu_percent.max(1).saturating_mul(1000).to_string();
    let set = |file: &str, value: &str| fs::write(made.cgroup.dir.join(file), value);
    match made.cgroup.kind {
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
    let dir = parent.of(process::id());
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
