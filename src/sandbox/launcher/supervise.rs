//! What the launcher does while the program runs: it watches time, memory and disk, listens for
//! the daemon (a byte means "end it", a closed socket means that the daemon is gone), and says how
//! it ended.

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        wait::{WaitStatus, waitpid},
    },
    unistd::{Pid, read},
};

use super::{Child, Run, sockets::Sockets, tree};
use crate::sandbox::{
    either_way,
    policy::{Lock, Word},
    sys, wire,
};

/// Between looks at memory, where no group counts it.
const MEMORY_TICK: Duration = Duration::from_millis(20);
/// Between looks at the disk, and at what a group counted.
const DISK_TICK: Duration = Duration::from_millis(200);

/// Watches until the program has ended and everything of it is gone.
pub(super) fn watch(child: &Child, mut run: Run, control: &OwnedFd, started: Instant) {
    // Only the inner processes may hold the writing end, or its closing tells nothing.
    drop(run.status.take());
    // From here on nothing needs to look into this process, and nothing may.
    either_way(prctl::set_dumpable(false));
    if let Ok(null) = fs::File::open("/dev/null") {
        for fd in [1, 2] {
            // Else the output pipes stay open as long as we do.
            either_way(sys::place(&null, fd));
        }
    }
    let mut watch = Watch::new(&run, started);
    let ended = watch.look(child, &mut run, control);
    let last = watch.settle(child, &run, control, ended);
    let told = wire::say(control, &last).is_ok();
    finish(child);
    clean(&mut run, told);
}

/// Removes what outlives processes: groups and the private folder. A daemon that was told removes
/// the groups that this process is in.
pub(super) fn clean(run: &mut Run, told: bool) {
    run.group.remove(told);
    if let Some(private) = run.private.take() {
        // Does not follow links; what cannot be removed stays in the temporary folder.
        either_way(fs::remove_dir_all(private));
    }
}

/// The daemon may be gone: then there is nobody to tell.
fn say(control: &OwnedFd, word: &Word) {
    either_way(wire::say(control, word));
}

/// The last process is gone and reaped.
fn finish(child: &Child) {
    if child.namespace {
        either_way(waitpid(Pid::from_raw(child.pid), None));
    } else {
        tree::end_all();
    }
}

struct Watch {
    disk: tree::Disk,
    deadline: Instant,
    tick: Duration,
    next: Instant,
    next_disk: Instant,
    heard: Vec<u8>,
    /// Nobody can say anything any more: the program has started, or all is over.
    silent: bool,
}

/// What listening brought.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Nothing,
    End(Word),
    Closed,
}

impl Watch {
    fn new(run: &Run, started: Instant) -> Self {
        let folders = run.policy.mounts.iter().filter(|(_, write)| *write);
        let places = folders
            .map(|(path, _)| path.clone())
            .chain(run.private.iter().cloned())
            .collect::<Vec<PathBuf>>();
        let tick = if run.group.counts_memory() {
            DISK_TICK
        } else {
            MEMORY_TICK
        };
        Self {
            disk: tree::Disk::new(places.into_iter()),
            deadline: started + run.policy.limits.wall,
            tick,
            next: started + tick,
            next_disk: started + DISK_TICK,
            heard: Vec::new(),
            silent: false,
        }
    }

    /// Waits for an end: the program's own (`None`), or one that we decide.
    fn look(&mut self, child: &Child, run: &mut Run, control: &OwnedFd) -> Option<Word> {
        loop {
            let now = Instant::now();
            if now >= self.deadline {
                return Some(Word::TimedOut);
            }
            if now >= self.next {
                self.next = now + self.tick;
                if let Some(word) = self.check(run, now) {
                    return Some(word);
                }
            }
            // Once silent, the pipe would only report its end again and again.
            let reports = if self.silent {
                &child.process
            } else {
                &child.reports
            };
            let wait = self.deadline.min(self.next).saturating_duration_since(now);
            let wait = wait + Duration::from_micros(999);
            let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
            let calls = run.sockets.as_ref().and_then(Sockets::fd);
            let mut fds = [
                PollFd::new(control.as_fd(), PollFlags::POLLIN),
                PollFd::new(reports.as_fd(), PollFlags::POLLIN),
                PollFd::new(child.process.as_fd(), PollFlags::POLLIN),
                PollFd::new(calls.unwrap_or(control.as_fd()), PollFlags::POLLIN),
            ];
            either_way(poll(&mut fds, wait));
            let [asked, said, gone, called] = fds.map(|f| f.any().unwrap_or(false));
            if let Some(sockets) = run.sockets.as_mut().filter(|_| called) {
                sockets.serve();
            }
            if asked {
                return Some(Word::Signalled(libc::SIGKILL));
            }
            if gone || (said && self.over(child, control)) {
                return None;
            }
        }
    }

    fn check(&mut self, run: &Run, now: Instant) -> Option<Word> {
        let limits = &run.policy.limits;
        if run.policy.plan.has(Lock::MemoryLimit) {
            if run.group.counts_memory() {
                if run.group.out_of_memory() {
                    return Some(Word::Memory);
                }
            } else if tree::memory(tree::own(), limits.memory_bytes) > limits.memory_bytes {
                return Some(Word::Memory);
            }
        }
        if now >= self.next_disk && run.policy.plan.has(Lock::DiskLimit) {
            self.next_disk = now + DISK_TICK;
            if self.disk.over(limits.disk_bytes, tree::own()) {
                return Some(Word::Disk);
            }
        }
        None
    }

    /// Listens once; true if that ends the run.
    fn over(&mut self, child: &Child, control: &OwnedFd) -> bool {
        match self.hear(child, control) {
            Heard::Nothing => false,
            Heard::End(_) => true,
            // Without a first process of our own, the end of the pipe is the program's start.
            Heard::Closed => child.inner,
        }
    }

    /// Reads what the inner processes say. An end stays in the buffer.
    fn hear(&mut self, child: &Child, control: &OwnedFd) -> Heard {
        if let Some(word) = self.sort(control) {
            return Heard::End(word);
        }
        let mut bytes = [0; 4096];
        match read(&child.reports, &mut bytes) {
            Ok(count) if count > 0 => {
                self.heard.extend(bytes.iter().take(count));
                self.sort(control).map_or(Heard::Nothing, Heard::End)
            }
            _ => {
                self.silent = true;
                Heard::Closed
            }
        }
    }

    /// Passes findings on, up to an end.
    fn sort(&mut self, control: &OwnedFd) -> Option<Word> {
        while let Some(end) = self.heard.iter().position(|b| *b == b'\n') {
            let line = String::from_utf8_lossy(self.heard.get(..end).unwrap_or_default());
            match Word::parse(&line) {
                Some(found @ Word::Found(..)) => say(control, &found),
                Some(word) => return Some(word),
                None => {}
            }
            drop(self.heard.drain(..=end));
        }
        None
    }

    /// Ends the tree if it was not its own end, and finds the last word.
    fn settle(&mut self, child: &Child, run: &Run, control: &OwnedFd, ended: Option<Word>) -> Word {
        if let Some(word) = ended {
            if child.namespace {
                // Gone already is as good; the kernel takes the namespace down with it.
                either_way(sys::pidfd_kill(&child.process));
                let mut fds = [PollFd::new(child.process.as_fd(), PollFlags::POLLIN)];
                either_way(poll(&mut fds, 5000_u16));
            } else {
                tree::end_all();
            }
            return word;
        }
        let said = self.last_word(child, control);
        if run.group.out_of_memory() {
            return Word::Memory;
        }
        if child.inner {
            let word = said.unwrap_or(Word::Failed("no word from inside".to_owned(), libc::EIO));
            if !child.namespace {
                tree::end_all();
            }
            return word;
        }
        let word = match (said, waitpid(Pid::from_raw(child.pid), None)) {
            (Some(word), _) => word,
            (None, Ok(WaitStatus::Exited(_, code))) => Word::Exited(code),
            (None, Ok(WaitStatus::Signaled(_, signal, _))) => Word::Signalled(signal as i32),
            (None, _) => Word::Failed("wait".to_owned(), libc::ECHILD),
        };
        tree::end_all();
        word
    }

    /// What the inner processes said last: the first end that is in the pipe.
    fn last_word(&mut self, child: &Child, control: &OwnedFd) -> Option<Word> {
        loop {
            match self.hear(child, control) {
                Heard::Nothing => {}
                Heard::End(word) => return Some(word),
                Heard::Closed => return None,
            }
        }
    }
}
