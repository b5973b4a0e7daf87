//! Which system calls a program in the sandbox may not make, and with which arguments.
//!
//! A list of refusals, because a list of permissions breaks node and python at every release. It
//! aims at the kernel's attack surface (namespaces, mounts, `io_uring`, bpf, keyrings, unusual
//! sockets) and, where there are no namespaces, at everything that Landlock cannot see.

use super::{
    Action, Case, Table, Test, Verdict,
    calls::{
        ATTRIBUTES, BY_PATH, BY_PATH_HERE, BY_PROCESS, MISSING, REFUSED, REFUSED_HERE, SHARED,
    },
};

const EPERM: Action = Action::Errno(libc::EPERM as u16);
const ENOSYS: Action = Action::Errno(libc::ENOSYS as u16);
const EAFNOSUPPORT: Action = Action::Errno(libc::EAFNOSUPPORT as u16);
/// Success without doing anything.
const PRETEND: Action = Action::Errno(0);

const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;
const CREATES: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;
const NAMESPACES: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u32
    | 0x80; // CLONE_NEWTIME
const FAST_OPEN: u32 = libc::MSG_FASTOPEN as u32;

/// What surrounds the program, as far as the filter has to make up for it.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(in crate::sandbox::launcher) struct Surroundings {
    /// No namespaces: the host's sockets, processes and paths are there.
    pub(in crate::sandbox::launcher) shared: bool,
    /// The program may open TCP connections (to the gate, or on its own loopback).
    pub(in crate::sandbox::launcher) network: bool,
    /// The program runs as the daemon's own user on the host's files.
    pub(in crate::sandbox::launcher) same_user: bool,
    /// Memory is only watched, not accounted: refuse what the watch cannot see.
    pub(in crate::sandbox::launcher) watched: bool,
    /// Landlock's level.
    pub(in crate::sandbox::launcher) landlock: i32,
    /// Processes that no signal may reach, where Landlock does not see to it.
    pub(in crate::sandbox::launcher) protect: Vec<i32>,
}

/// The table for a program in these surroundings.
pub(in crate::sandbox::launcher) fn table(around: &Surroundings) -> Table {
    let mut table = Table::new();
    always(&mut table, MISSING, ENOSYS);
    always(&mut table, REFUSED, EPERM);
    always(&mut table, REFUSED_HERE, EPERM);
    arguments(&mut table);
    modes(&mut table);
    sockets(&mut table, around);
    if around.watched {
        always(
            &mut table,
            &[libc::SYS_memfd_create, libc::SYS_shmget],
            EPERM,
        );
    }
    if around.shared {
        shared(&mut table, around);
    }
    table
}

fn always(table: &mut Table, calls: &[i64], action: Action) {
    for call in calls {
        set(table, *call, Verdict::Always(action));
    }
}

fn cases(table: &mut Table, call: i64, all: &[(&[Test], Action)]) {
    let all = all
        .iter()
        .map(|(tests, then)| Case {
            tests: tests.to_vec(),
            then: *then,
        })
        .collect();
    set(table, call, Verdict::Cases(all));
}

fn set(table: &mut Table, call: i64, verdict: Verdict) {
    if let Ok(number) = u32::try_from(call) {
        drop(table.insert(number, verdict));
    }
}

fn arguments(table: &mut Table) {
    cases(
        table,
        libc::SYS_clone,
        &[(&[Test::any(0, NAMESPACES)], EPERM)],
    );
    // TIOCSTI and TIOCLINUX type into a terminal.
    let (sti, linux) = (0x5412, 0x541C);
    cases(
        table,
        libc::SYS_ioctl,
        &[(&[Test::is(1, sti)], EPERM), (&[Test::is(1, linux)], EPERM)],
    );
    cases(
        table,
        libc::SYS_personality,
        &[(&[Test::is_not(0, u32::MAX), Test::is_not(0, 0)], EPERM)],
    );
    // prctl(PR_SET_SECCOMP) as seccomp(2): a filter of the program's own could confuse nobody, but
    // is attack surface that no script needs.
    cases(
        table,
        libc::SYS_prctl,
        &[(&[Test::is(0, libc::PR_SET_SECCOMP as u32)], EPERM)],
    );
}

/// No set-user-id file, whoever would run it; no device node.
fn modes(table: &mut Table) {
    #[cfg(target_arch = "x86_64")]
    {
        for call in [libc::SYS_chmod, libc::SYS_mkdir, libc::SYS_creat] {
            cases(table, call, &[(&[Test::any(1, SET_ID)], EPERM)]);
        }
        cases(
            table,
            libc::SYS_open,
            &[(&[Test::any(1, CREATES), Test::any(2, SET_ID)], EPERM)],
        );
        nodes(table, libc::SYS_mknod, 1);
    }
    cases(table, libc::SYS_fchmod, &[(&[Test::any(1, SET_ID)], EPERM)]);
    for call in [libc::SYS_fchmodat, libc::SYS_fchmodat2, libc::SYS_mkdirat] {
        cases(table, call, &[(&[Test::any(2, SET_ID)], EPERM)]);
    }
    cases(
        table,
        libc::SYS_openat,
        &[(&[Test::any(2, CREATES), Test::any(3, SET_ID)], EPERM)],
    );
    nodes(table, libc::SYS_mknodat, 2);
}

fn nodes(table: &mut Table, call: i64, mode: u8) {
    cases(
        table,
        call,
        &[
            (&[Test::any(mode, SET_ID)], EPERM),
            (&[Test::masked(mode, libc::S_IFMT, libc::S_IFCHR)], EPERM),
            (&[Test::masked(mode, libc::S_IFMT, libc::S_IFBLK)], EPERM),
        ],
    );
}

/// Families by permission: what a network namespace does not isolate (vsock reaches the
/// hypervisor) or what has a history of holes does not exist.
fn sockets(table: &mut Table, around: &Surroundings) {
    let stream = Test::masked(1, 0xF, libc::SOCK_STREAM as u32);
    let datagram = Test::masked(1, 0xF, libc::SOCK_DGRAM as u32);
    let family = |family: i32| Test::is(0, family as u32);
    let protocol = |number: i32| Test::is(2, number as u32);
    let mut all: Vec<Vec<Test>> = Vec::new();
    for inet in [libc::AF_INET, libc::AF_INET6] {
        // The gate listens on IPv4; what is handed over is connected to it.
        let handed = around.network && inet == libc::AF_INET;
        if handed || !around.shared {
            all.push(vec![family(inet), stream, protocol(0)]);
            all.push(vec![family(inet), stream, protocol(libc::IPPROTO_TCP)]);
        }
        if !around.shared {
            all.push(vec![family(inet), datagram, protocol(0)]);
            all.push(vec![family(inet), datagram, protocol(libc::IPPROTO_UDP)]);
        }
    }
    if !around.shared {
        all.push(vec![family(libc::AF_UNIX)]);
        all.push(vec![
            family(libc::AF_NETLINK),
            protocol(libc::NETLINK_ROUTE),
        ]);
    }
    let then = if around.shared {
        // A socket on the host's network is never the program's own.
        set(
            table,
            libc::SYS_connect,
            Verdict::Always(connecting(around)),
        );
        Action::Ask
    } else {
        Action::Allow
    };
    let mut verdict: Vec<Case> = all.into_iter().map(|tests| Case { tests, then }).collect();
    verdict.push(Case {
        tests: Vec::new(),
        then: EAFNOSUPPORT,
    });
    set(table, libc::SYS_socket, Verdict::Cases(verdict));
    let mut pairs: Vec<(&[Test], Action)> = vec![(&[], EPERM)];
    let unix = [family(libc::AF_UNIX)];
    let unix_stream = [family(libc::AF_UNIX), stream];
    // A datagram pair can be connected again, to a path.
    pairs.insert(
        0,
        (
            if around.shared { &unix_stream } else { &unix },
            Action::Allow,
        ),
    );
    cases(table, libc::SYS_socketpair, &pairs);
}

fn connecting(around: &Surroundings) -> Action {
    if around.network { Action::Ask } else { EPERM }
}

fn shared(table: &mut Table, around: &Surroundings) {
    always(table, SHARED, EPERM);
    always(table, ATTRIBUTES, Action::Errno(libc::EOPNOTSUPP as u16));
    for (call, arg) in BY_PROCESS {
        cases(table, *call, &[(&[Test::is_not(*arg, 0)], EPERM)]);
    }
    // TCP Fast Open connects without asking Landlock.
    for (call, flags) in [
        (libc::SYS_sendto, 3),
        (libc::SYS_sendmsg, 2),
        (libc::SYS_sendmmsg, 3),
    ] {
        cases(table, call, &[(&[Test::any(flags, FAST_OPEN)], EPERM)]);
    }
    cases(
        table,
        libc::SYS_setsockopt,
        &[(
            &[
                Test::is(1, libc::IPPROTO_TCP as u32),
                Test::is(2, libc::TCP_FASTOPEN_CONNECT as u32),
            ],
            EPERM,
        )],
    );
    if around.landlock < 3 {
        always(table, &[libc::SYS_truncate], EPERM);
    }
    if around.landlock < 6 {
        signals(table, &around.protect);
    }
    if around.same_user {
        always(table, BY_PATH, PRETEND);
        always(table, BY_PATH_HERE, PRETEND);
    }
}

fn signals(table: &mut Table, protect: &[i32]) {
    let targets: Vec<[Test; 1]> = protect
        .iter()
        .flat_map(|pid| [*pid, -*pid])
        .chain([-1])
        .map(|pid| [Test::is(0, pid as u32)])
        .collect();
    let all: Vec<(&[Test], Action)> = targets.iter().map(|t| (t.as_slice(), EPERM)).collect();
    for call in [
        libc::SYS_kill,
        libc::SYS_tgkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_pidfd_open,
    ] {
        cases(table, call, &all);
    }
    always(table, &[libc::SYS_tkill], EPERM);
}
