//! The process between the daemon and a program: `nexflow __sandbox`.
//!
//! It is single-threaded and starts nothing of the daemon. It reads one policy from descriptor 0,
//! builds the sandbox, and stays outside of it to watch: time, memory, disk, and whether the
//! daemon still lives. Three processes take part: the launcher (outside), the first process of the
//! sandbox (`init.rs`) and the program (`program.rs`).

mod checks;
mod group;
mod init;
mod landlock;
mod program;
mod root;
mod seccomp;
mod sockets;
mod supervise;
mod tree;

use std::{
    env::ArgsOs,
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use nix::{
    fcntl::OFlag,
    sched::{CloneFlags, unshare},
    sys::prctl,
    unistd::{getgid, getuid, pipe2, sethostname, setsid},
};

pub(super) use group::{parents, remove};
pub(super) use tree::sweep;

use sockets::Sockets;

use super::{
    either_way,
    policy::{Early, Lock, Policy, Word},
    sys, wire,
};

/// A step that failed: what the person reading it should know, and the kernel's answer.
#[derive(Debug)]
struct Fail {
    stage: String,
    errno: i32,
}

type Step<T> = Result<T, Fail>;

impl Fail {
    fn new(stage: impl Into<String>, errno: i32) -> Self {
        Self {
            stage: stage.into(),
            errno,
        }
    }

    fn word(&self) -> Word {
        Word::Failed(self.stage.clone(), self.errno)
    }
}

/// Names the step that an error belongs to.
trait At<T> {
    fn at(self, stage: &str) -> Step<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, stage: &str) -> Step<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => Fail::new(stage, errno),
            None => Fail::new(format!("{stage}: {error}"), libc::EIO),
        })
    }
}

impl<T> At<T> for nix::Result<T> {
    fn at(self, stage: &str) -> Step<T> {
        self.map_err(|errno| Fail::new(stage, errno as i32))
    }
}

/// What the three processes share until the program starts.
struct Run {
    policy: Policy,
    /// Standard input, then the program's extra descriptors.
    fds: Vec<OwnedFd>,
    /// Where the two inner processes report; closed by `execve`.
    status: Option<OwnedFd>,
    group: group::Group,
    /// Threads that the program's user has already, if they count against its limit.
    others: u64,
    /// Without a private root: a folder that serves as `/tmp` and home.
    private: Option<PathBuf>,
    /// Port of the gate, where the program has one.
    gate: Option<u16>,
    /// Where the program sends its filter's listener, if calls are handed over.
    asks: Option<OwnedFd>,
    /// The other end: who answers them.
    sockets: Option<Sockets>,
}

/// The launcher, if this process was started as one. Call it first in `main`, before any thread,
/// logger or runtime exists; `Some` is the exit code to leave with.
pub fn helper(mut args: ArgsOs) -> Option<ExitCode> {
    if args.nth(1)? != "__sandbox" {
        return None;
    }
    let early = args
        .next()
        .and_then(|word| Some(Early::parse(word.to_str()?)));
    Some(match launch(&early.unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn launch(early: &Early) -> io::Result<()> {
    sys::close_range(3, u32::MAX, false)?;
    let control = sys::high(sys::inherited(0))?;
    let null = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    sys::place(null, 0)?;
    sys::reset_signals();
    // Fails only for a process that leads its group already, as under a debugger.
    either_way(setsid());
    let mut group = group::Group::ahead(&early.groups);
    let ready = namespaces(early);
    let (policy, fds) = match wire::receive(&control) {
        Ok(received) => received,
        // There is no run: the daemon has ended.
        Err(error) => {
            group.remove(false);
            return Err(error);
        }
    };
    let started = Instant::now();
    if let Err(fail) = ready {
        group.remove(true);
        return wire::say(&control, &fail.word());
    }
    match prepare((policy, fds), group, &control) {
        Ok((child, mut run)) => {
            run.fds.clear();
            drop(run.asks.take());
            supervise::watch(&child, run, &control, started);
            Ok(())
        }
        Err(fail) => wire::say(&control, &fail.word()),
    }
}

/// Makes what is alike for all runs, before there is one to wait for it.
fn namespaces(early: &Early) -> Step<()> {
    if !early.namespaces {
        return Ok(());
    }
    if early.user_namespace {
        user_namespace()?;
    }
    let flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    unshare(flags).at("unshare(network, ipc, uts)")?;
    sethostname("sandbox").at("sethostname")
}

/// A child to watch, and where it reports.
struct Child {
    pid: i32,
    process: OwnedFd,
    reports: OwnedFd,
    /// It is the first process inside, not the program itself.
    inner: bool,
    /// It is the first process of a PID namespace: its end ends all.
    namespace: bool,
}

fn prepare(
    (policy, fds): (Policy, Vec<OwnedFd>),
    mut group: group::Group,
    control: &OwnedFd,
) -> Step<(Child, Run)> {
    let (reports, status) = pipe2(OFlag::O_CLOEXEC).at("pipe")?;
    let reports = sys::high(reports).at("pipe")?;
    let status = sys::high(status).at("pipe")?;
    group.complete(&policy);
    let inner = policy.plan.namespaces;
    let namespace = inner && policy.plan.has(Lock::Processes);
    // A user that only programs of the sandbox run as has little else; the daemon's own has.
    let shared = policy.uid.is_none() && !policy.plan.user_namespace;
    let others = if shared && !group.counts_processes() {
        tree::tasks_of(getuid().as_raw())
    } else {
        0
    };
    let mut run = Run {
        policy,
        fds,
        status: Some(status),
        group,
        others,
        private: None,
        gate: None,
        asks: None,
        sockets: None,
    };
    let made = if inner {
        full(&mut run, control)
    } else {
        degraded(&mut run, control)
    };
    let made = made.and_then(|pid| Ok((pid, sys::pidfd_open(pid).at("pidfd_open")?)));
    match made {
        Ok((pid, process)) => {
            let child = Child {
                pid,
                process,
                reports,
                inner,
                namespace,
            };
            Ok((child, run))
        }
        Err(fail) => {
            supervise::clean(&mut run, true);
            Err(fail)
        }
    }
}

fn full(run: &mut Run, control: &OwnedFd) -> Step<i32> {
    let early = Early::of(&run.policy.plan);
    if run.policy.plan.user_namespace && !early.namespaces {
        user_namespace()?;
    }
    if run.policy.plan.has(Lock::Processes) {
        unshare(CloneFlags::CLONE_NEWPID).at("unshare(CLONE_NEWPID)")?;
    } else {
        prctl::set_child_subreaper(true).at("subreaper")?;
    }
    match sys::fork().at("fork")? {
        Some(pid) => Ok(pid),
        None => init::main(run, control),
    }
}

fn degraded(run: &mut Run, control: &OwnedFd) -> Step<i32> {
    prctl::set_child_subreaper(true).at("subreaper")?;
    run.private = Some(tree::private_folder(run.policy.uid).at("private folder")?);
    for (path, _) in run.policy.mounts.iter().filter(|(_, write)| *write) {
        let stage = format!("mount {}", path.display());
        let (fd, stat) = root::open_granted(path).at(&stage)?;
        root::give(&fd, &stat, run.policy.uid).at(&stage)?;
    }
    if let super::policy::Net::Gate { .. } = run.policy.net {
        let listener = init::listen(0)?;
        let port = listener.local_addr().at("gate")?.port();
        run.gate = Some(port);
        wire::hand_over(control, listener.as_fd()).at("gate")?;
        if run.policy.plan.handed && run.policy.plan.has(Lock::Seccomp) {
            let (ours, theirs) = UnixStream::pair().at("sockets")?;
            run.asks = Some(sys::high(theirs.into()).at("sockets")?);
            let ours = sys::high(ours.into()).at("sockets")?;
            run.sockets = Some(Sockets::new(ours, port));
        }
    }
    match sys::fork().at("fork")? {
        Some(pid) => Ok(pid),
        None => init::alone(run),
    }
}

/// A user namespace in which the own user has every capability over the namespaces to come.
fn user_namespace() -> Step<()> {
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER).at("unshare(CLONE_NEWUSER)")?;
    fs::write("/proc/self/setgroups", "deny").at("setgroups after unshare(CLONE_NEWUSER)")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))
        .at("uid_map after unshare(CLONE_NEWUSER)")?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
        .at("gid_map after unshare(CLONE_NEWUSER)")
}
