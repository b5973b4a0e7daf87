//! The first process inside: it makes the namespaces and the root, gives up every right, starts
//! the program, and takes everything down when the program ends.
//!
//! It runs as the program's user, because without a capability it could not kill another's
//! processes; it is not dumpable and holds no descriptor that is worth taking.

use std::{
    net::TcpListener,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{Signal, kill},
        socket::{AddressFamily, SockFlag, SockType, socket},
        wait::{WaitStatus, waitpid},
    },
    unistd::{Gid, Pid, Uid, setgroups, sethostname, setresgid, setresuid, write},
};

use super::{At as _, Fail, Run, Step, program, root};
use crate::sandbox::{
    either_way,
    policy::{Early, GATE_PORT, Lock, Net, Word},
    sys, wire,
};

/// The first process of a sandbox with namespaces. Never returns.
pub(super) fn main(run: &mut Run, control: &OwnedFd) -> ! {
    let code = match start(run, control) {
        Ok(child) => reap(run, child),
        Err(fail) => {
            report(run, &fail.word());
            1
        }
    };
    sys::leave(code)
}

/// The program's process where there are no namespaces: nothing stands above it but the launcher.
pub(super) fn alone(run: &mut Run) -> ! {
    let ready = guard(run)
        .and_then(|()| run.group.join())
        .and_then(|()| become_user(run));
    let fail = ready.err().unwrap_or_else(|| program::main(run));
    report(run, &fail.word());
    sys::leave(127)
}

/// One line to the launcher. There is nobody else to tell if that fails; then the launcher finds
/// no word, which it takes for a failure.
pub(super) fn report(run: &Run, word: &Word) {
    let line = word.line() + "\n";
    if let Some(status) = &run.status {
        either_way(write(status, line.as_bytes()));
    }
}

fn start(run: &mut Run, control: &OwnedFd) -> Step<i32> {
    guard(run)?;
    run.group.join()?;
    let plan = &run.policy.plan;
    let mut flags = CloneFlags::CLONE_NEWCGROUP | CloneFlags::CLONE_NEWNS;
    if !Early::of(plan).namespaces {
        for (lock, flag) in [
            (Lock::Network, CloneFlags::CLONE_NEWNET),
            (Lock::Ipc, CloneFlags::CLONE_NEWIPC),
            (Lock::Hostname, CloneFlags::CLONE_NEWUTS),
        ] {
            flags.set(flag, plan.has(lock));
        }
    }
    unshare(flags).at("unshare(mount, cgroup)")?;
    if flags.contains(CloneFlags::CLONE_NEWUTS) {
        sethostname("sandbox").at("sethostname")?;
    }
    network(run, control)?;
    root::build(run)?;
    prctl::set_dumpable(false).at("dumpable")?;
    become_user(run)?;
    guard(run)?;
    if let Some(child) = sys::fork().at("fork")? {
        return Ok(child);
    }
    let fail = program::main(run);
    report(run, &fail.word());
    sys::leave(127)
}

/// Dies with the launcher. A launcher that died before this was asked for shows as a pipe without
/// a reader.
fn guard(run: &Run) -> Step<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).at("parent death signal")?;
    let Some(status) = &run.status else {
        return Ok(());
    };
    let mut ends = [PollFd::new(status.as_fd(), PollFlags::POLLOUT)];
    poll(&mut ends, PollTimeout::ZERO).at("poll")?;
    let gone = ends
        .iter()
        .filter_map(PollFd::revents)
        .any(|e| e.contains(PollFlags::POLLERR));
    if gone {
        return Err(Fail::new("launcher gone", libc::EPIPE));
    }
    Ok(())
}

fn network(run: &mut Run, control: &OwnedFd) -> Step<()> {
    if run.policy.net == Net::None {
        return Ok(());
    }
    if run.policy.plan.has(Lock::Network) {
        let any = socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .at("loopback")?;
        sys::loopback_up(any).at("loopback")?;
    }
    if let Net::Gate { .. } = run.policy.net {
        let port = if run.policy.plan.has(Lock::Network) {
            GATE_PORT
        } else {
            0
        };
        let listener = listen(port)?;
        run.gate = Some(listener.local_addr().at("gate")?.port());
        wire::hand_over(control, listener.as_fd()).at("gate")?;
        forwards(run, control)?;
    }
    Ok(())
}

/// A listener for each host and port that is granted exactly; a granted address becomes one of this
/// network's own.
fn forwards(run: &Run, control: &OwnedFd) -> Step<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    for (number, forward) in run.policy.forwards.iter().enumerate() {
        let stage = format!("forward {}:{}", forward.at, forward.port);
        if !forward.at.is_loopback() {
            let any = socket(AddressFamily::Inet, SockType::Datagram, flags, None).at(&stage)?;
            sys::own_address(any, number, forward.at).at(&stage)?;
        }
        let listener = TcpListener::bind((forward.at, forward.port)).at(&stage)?;
        listener.set_nonblocking(true).at(&stage)?;
        wire::hand_over(control, listener.as_fd()).at(&stage)?;
    }
    Ok(())
}

/// The gate's listener, on loopback.
pub(super) fn listen(port: u16) -> Step<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", port)).at("gate")?;
    listener.set_nonblocking(true).at("gate")?;
    Ok(listener)
}

/// Becomes the program's user, without any capability and without a way back.
fn become_user(run: &Run) -> Step<()> {
    let plan = &run.policy.plan;
    if plan.has(Lock::Capabilities) {
        sys::drop_capabilities();
    }
    if let Some(uid) = run.policy.uid.filter(|_| plan.has(Lock::User)) {
        let gid = Gid::from_raw(uid);
        let uid = Uid::from_raw(uid);
        setgroups(&[]).at("setgroups")?;
        setresgid(gid, gid, gid).at("setresgid")?;
        setresuid(uid, uid, uid).at("setresuid")?;
    }
    if plan.has(Lock::Capabilities) {
        sys::clear_capabilities().at("capset")?;
    }
    if plan.has(Lock::NoNewPrivileges) {
        prctl::set_no_new_privs().at("no_new_privs")?;
    }
    Ok(())
}

/// Waits for the program, then ends all that it left behind, then says how it ended: nothing
/// outlives the answer.
fn reap(run: &mut Run, child: i32) -> i32 {
    run.fds.clear();
    if let Ok(null) = std::fs::File::open("/dev/null") {
        for fd in 0..3 {
            // What remains open here only delays the end of output by the end of this process.
            either_way(sys::place(&null, fd));
        }
    }
    let word = loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == child => break Word::Exited(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == child => {
                break Word::Signalled(signal as i32);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => break Word::Failed("wait".to_owned(), errno as i32),
        }
    };
    if run.policy.plan.has(Lock::Processes) {
        // In a PID namespace of its own, "all processes" are the sandbox's.
        either_way(kill(Pid::from_raw(-1), Signal::SIGKILL));
        while !matches!(waitpid(None, None), Err(Errno::ECHILD)) {}
    }
    report(run, &word);
    0
}
