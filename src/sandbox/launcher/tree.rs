//! The processes and files of a run, seen from outside.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::{Gid, Pid, Uid, chown},
};

use crate::sandbox::either_way;

/// Waits without a runtime: the launcher has none.
#[expect(
    clippy::disallowed_methods,
    reason = "the launcher is a process of its own, without a runtime to block"
)]
pub(super) fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// This process.
pub(super) fn own() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// All processes below `root`, itself not among them.
pub(super) fn descendants(root: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        for child in children(pid) {
            if seen.insert(child) {
                found.push(child);
                open.push(child);
            }
        }
    }
    found
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|p| p.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}

/// Threads of a user on this machine, at the moment.
pub(super) fn tasks_of(uid: u32) -> u64 {
    let Ok(entries) = fs::read_dir("/proc") else {
        return 0;
    };
    entries
        .flatten()
        .filter(|e| {
            e.file_name()
                .as_encoded_bytes()
                .iter()
                .all(u8::is_ascii_digit)
        })
        .filter(|e| e.metadata().is_ok_and(|m| m.uid() == uid))
        .filter_map(|e| fs::metadata(e.path().join("task")).ok())
        .map(|m| m.nlink().saturating_sub(2))
        .sum()
}

/// Bytes of memory that the processes below `root` hold, shared pages counted once where the
/// kernel tells.
pub(super) fn memory(root: i32, limit: u64) -> u64 {
    let tree = descendants(root);
    let rough: u64 = tree.iter().map(|pid| resident(*pid)).sum();
    if rough <= limit {
        return rough;
    }
    tree.iter()
        .map(|pid| proportional(*pid).unwrap_or_else(|| resident(*pid)))
        .sum()
}

fn resident(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut pages = text.split(' ').skip(1).map_while(|n| n.parse::<u64>().ok());
    pages.next().unwrap_or(0).saturating_mul(4096)
}

fn proportional(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024)
}

/// Ends all processes below this one and waits for them: stopped first, so that none escapes by
/// forking while the list is read.
pub(super) fn end_all() {
    let give_up = Instant::now() + Duration::from_secs(5);
    while Instant::now() < give_up {
        let tree = descendants(own());
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for pid in &tree {
                // Gone already is as good.
                either_way(kill(Pid::from_raw(*pid), signal));
            }
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::ECHILD) => return,
                Ok(nix::sys::wait::WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
        pause(1);
    }
}

/// Removes private folders that a launcher left when it was killed.
pub(in crate::sandbox) fn sweep() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix("nexflow-run-"));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Does not follow links; another user's is not ours to remove.
            either_way(fs::remove_dir_all(entry.path()));
        }
    }
}

/// A folder for one run, of its user's own, where there is no private root.
pub(super) fn private_folder(uid: Option<u32>) -> io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("nexflow-run-{}", process::id()));
    // A stale one of the same number, from a launcher that was killed.
    either_way(fs::remove_dir_all(&path));
    fs::DirBuilder::new().mode(0o700).create(&path)?;
    if let Some(uid) = uid {
        chown(&path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
    }
    Ok(path)
}

/// How much a run has written: looked at when free space is alarming, and from time to time, because
/// somebody else may make room at the same time.
#[derive(Debug)]
pub(super) struct Disk {
    started: i64,
    places: Vec<(PathBuf, u64)>,
    next_look: Instant,
}

/// Looking takes at most this part of the time.
const SHARE: u32 = 20;

/// Most entries that one look takes.
const ENTRIES: usize = 50_000;

impl Disk {
    /// The state before the run.
    pub(super) fn new(places: impl Iterator<Item = PathBuf>) -> Self {
        let places: Vec<(PathBuf, u64)> = places
            .map(|p| {
                let free = free(&p);
                (p, free)
            })
            .collect();
        Self {
            started: now(),
            places,
            next_look: Instant::now(),
        }
    }

    /// More than `limit` bytes were written in the writable folders.
    pub(super) fn over(&mut self, limit: u64, root: i32) -> bool {
        let alarming = self
            .places
            .iter()
            .any(|(path, before)| before.saturating_sub(free(path)) > limit);
        let began = Instant::now();
        if !alarming && began < self.next_look {
            return false;
        }
        let over = self.written() + deleted(root) > limit;
        self.next_look = began + began.elapsed() * SHARE;
        over
    }

    fn written(&self) -> u64 {
        let mut budget = ENTRIES;
        let mut open: Vec<PathBuf> = self.places.iter().map(|(p, _)| p.clone()).collect();
        let mut total = 0;
        while let Some(path) = open.pop() {
            let Ok(meta) = fs::symlink_metadata(&path) else {
                continue;
            };
            if meta.is_dir() {
                let entries = fs::read_dir(&path).into_iter().flatten().flatten();
                open.extend(entries.take(budget).map(|e| e.path()));
            } else if meta.ctime() >= self.started {
                // The change time is the kernel's: no program can set it back.
                total += meta.blocks() * 512;
            }
            budget = budget.saturating_sub(1);
        }
        total
    }
}

fn free(path: &Path) -> u64 {
    nix::sys::statvfs::statvfs(path).map_or(u64::MAX, |s| {
        s.blocks_available().saturating_mul(s.fragment_size())
    })
}

/// Now, by the clock that file systems use. No clock of the daemon's reaches into its launcher.
fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(0)
}

/// Bytes in files that have no name any more but are still open.
fn deleted(root: i32) -> u64 {
    let mut seen = HashSet::new();
    let mut total = 0;
    for pid in descendants(root) {
        let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        for fd in fds.flatten() {
            if let Ok(meta) = fs::metadata(fd.path())
                && meta.is_file()
                && meta.nlink() == 0
                && seen.insert((meta.dev(), meta.ino()))
            {
                total += meta.blocks() * 512;
            }
        }
    }
    total
}
