//! The last steps before the program: its limits, Landlock, its descriptors, the filter, `execve`.

use std::{
    collections::BTreeMap,
    ffi::CString,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::{
        resource::{Resource, setrlimit},
        stat::{Mode, umask},
    },
    unistd::{chdir, execve, getpid, getppid, setsid},
};

use super::{
    At as _, Fail, Run, Step, checks, landlock,
    seccomp::{self, Surroundings},
};
use crate::sandbox::{
    policy::{HOME, Lock, Net},
    sys, wire,
};

/// Becomes the program. Returns only what went wrong.
pub(super) fn main(run: &mut Run) -> Fail {
    match prepare(run) {
        Ok(()) if run.policy.plan.trial => {
            checks::all(run);
            sys::leave(0)
        }
        Ok(()) => execute(run),
        Err(fail) => fail,
    }
}

fn prepare(run: &mut Run) -> Step<()> {
    if run.policy.plan.has(Lock::Session) {
        setsid().at("setsid")?;
    }
    umask(Mode::from_bits_truncate(0o077));
    let cwd = match &run.private {
        Some(private) if in_private(run) => private.clone(),
        _ => run.policy.cwd.clone(),
    };
    chdir(&cwd).at(&format!("working directory {}", cwd.display()))?;
    if run.policy.plan.has(Lock::Rlimits) {
        limit(run)?;
    }
    let mut filter = filter(run);
    landlock::restrict(run)?;
    descriptors(run)?;
    if run.policy.plan.has(Lock::Seccomp) {
        let asks = run.asks.take();
        let listener = seccomp::load(&mut filter, asks.is_some()).at("seccomp")?;
        if let (Some(asks), Some(listener)) = (asks, listener) {
            let listener = [listener.as_raw_fd()];
            wire::send_with(asks.as_fd(), b"L", &listener).at("filter's listener")?;
        }
    }
    Ok(())
}

/// The working directory is one of those that a run without a private root has elsewhere.
fn in_private(run: &Run) -> bool {
    ["/", "/tmp", HOME]
        .iter()
        .any(|p| run.policy.cwd.as_os_str() == *p)
}

fn limit(run: &Run) -> Step<()> {
    let (limits, plan) = (&run.policy.limits, &run.policy.plan);
    // Counted per user and user namespace: without a group or a namespace of its own, a run must
    // leave room for what the same user runs elsewhere, now and soon: a ceiling, not a share.
    let processes = if run.group.counts_processes() {
        u64::from(limits.processes).saturating_mul(32).max(4096)
    } else if plan.user_namespace {
        limits.processes.into()
    } else {
        u64::from(limits.processes).saturating_mul(8) + run.others
    };
    // What is private and writable. Not the address space: engines reserve gigabytes of it.
    let data = limits.memory_bytes.saturating_mul(4).max(2 << 30);
    let seconds = limits.wall.as_secs().saturating_mul(4).saturating_add(60);
    let all = [
        (Resource::RLIMIT_NPROC, processes),
        (Resource::RLIMIT_NOFILE, limits.open_files.into()),
        (Resource::RLIMIT_FSIZE, limits.file_bytes),
        (Resource::RLIMIT_DATA, data),
        (Resource::RLIMIT_CPU, seconds),
        (Resource::RLIMIT_MEMLOCK, 64 << 10),
        (Resource::RLIMIT_MSGQUEUE, 0),
        (Resource::RLIMIT_SIGPENDING, 256),
        (Resource::RLIMIT_NICE, 0),
        (Resource::RLIMIT_RTPRIO, 0),
        // 1, not 0: a program that collects dumps through a pipe ignores 0 and would run as root.
        (Resource::RLIMIT_CORE, 1),
    ];
    for (resource, value) in all {
        match setrlimit(resource, value, value) {
            // Already below: it cannot be raised, and need not be.
            Ok(()) | Err(Errno::EPERM) => {}
            Err(errno) => return Err(Fail::new(format!("{resource:?}"), errno as i32)),
        }
    }
    Ok(())
}

fn filter(run: &Run) -> Vec<libc::sock_filter> {
    let plan = &run.policy.plan;
    let shared = !plan.namespaces;
    let surroundings = Surroundings {
        shared,
        network: run.policy.net != Net::None,
        same_user: shared && run.policy.uid.is_none(),
        watched: !run.group.counts_memory(),
        landlock: sys::landlock_level().unwrap_or(0),
        protect: if shared {
            vec![run.policy.daemon, getppid().as_raw(), getpid().as_raw()]
        } else {
            Vec::new()
        },
    };
    seccomp::compile(&seccomp::table(&surroundings))
}

/// Puts the program's descriptors where it expects them and closes all others at `execve`.
fn descriptors(run: &mut Run) -> Step<()> {
    let targets = [0].into_iter().chain(run.policy.fds.iter().copied());
    let placed: Vec<(i32, OwnedFd)> = targets.clone().zip(run.fds.drain(..)).collect();
    for (target, fd) in &placed {
        sys::place(fd, *target).at("descriptors")?;
    }
    let mut next = 3;
    let mut kept: Vec<u32> = targets.filter_map(|t| u32::try_from(t).ok()).collect();
    kept.sort_unstable();
    for kept in kept.into_iter().filter(|k| *k >= 3) {
        sys::close_range(next, kept.saturating_sub(1), true).at("close_range")?;
        next = kept + 1;
    }
    sys::close_range(next, u32::MAX, true).at("close_range")
}

fn execute(run: &Run) -> Fail {
    let argv = run.policy.argv.iter().map(|a| CString::new(a.as_str()));
    let env = environment(run)
        .into_iter()
        .map(|(name, value)| CString::new(format!("{name}={value}")));
    let (Ok(argv), Ok(env)) = (
        argv.collect::<Result<Vec<_>, _>>(),
        env.collect::<Result<Vec<_>, _>>(),
    ) else {
        return Fail::new("NUL in arguments or environment", libc::EINVAL);
    };
    let Some(program) = argv.first() else {
        return Fail::new("no program", libc::EINVAL);
    };
    let errno = execve(program, &argv, &env).err().map_or(0, |e| e as i32);
    Fail::new(format!("exec {}", program.to_string_lossy()), errno)
}

/// Built from nothing: defaults, then what the job asks for, then what only the sandbox knows.
fn environment(run: &Run) -> BTreeMap<String, String> {
    let private = run.private.as_ref().and_then(|p| p.to_str());
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut env = BTreeMap::from([
        own(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        own("LANG", "C.UTF-8"),
        own("HOME", private.unwrap_or(HOME)),
        own("TMPDIR", private.unwrap_or("/tmp")),
    ]);
    env.extend(run.policy.env.iter().cloned());
    let (Net::Gate { host_loopback, .. }, Some(port)) = (run.policy.net, run.gate) else {
        return env;
    };
    let url = format!("http://127.0.0.1:{port}");
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        drop(env.insert(name.to_owned(), url.clone()));
    }
    let direct = if host_loopback {
        ""
    } else {
        "localhost,127.0.0.1,::1"
    };
    for name in ["NO_PROXY", "no_proxy"] {
        drop(env.insert(name.to_owned(), direct.to_owned()));
    }
    // Node from 22.21 and 24 on; older ones ignore proxies in `fetch`.
    env.extend([own("NODE_USE_ENV_PROXY", "1")]);
    env
}
