//! Which system calls a program in the sandbox may not make, and with which arguments.
//!
//! A list of refusals, because a list of permissions breaks node and python at every release. It
//! aims at the kernel's attack surface (namespaces, mounts, `io_uring`, bpf, keyrings, unusual
//! sockets) and, where there are no namespaces, at everything that Landlock cannot see.

use super::{Action, Case, Table, Test, Verdict};

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

/// Calls that do not exist: programs then fall back to an older call whose arguments can be read.
const MISSING: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_openat2,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_memfd_secret,
    libc::SYS_remap_file_pages,
    457, // statmount
    458, // listmount
    459, // lsm_get_self_attr
    460, // lsm_set_self_attr
    461, // lsm_list_modules
    463, // setxattrat
    466, // removexattrat
    468, // file_getattr
    469, // file_setattr
];

const REFUSED: &[i64] = &[
    // the machine
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_nfsservctl,
    libc::SYS_lookup_dcookie,
    // mounts and namespaces
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_tree,
    467, // open_tree_attr
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // other processes, and the inside of the kernel
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    448, // process_mrelease
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_perf_event_open,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_seccomp,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_uselib,
    libc::SYS_sysfs,
    libc::SYS_ustat,
    libc::SYS__sysctl,
    libc::SYS_modify_ldt,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// Without an IPC namespace, and outside Landlock's model.
const SHARED: &[i64] = &[
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semctl,
    libc::SYS_semtimedop,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_inotify_add_watch,
    libc::SYS_fanotify_mark,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_get_robust_list,
];

/// Calls on another process by number: only on oneself (0).
const BY_PROCESS: &[(i64, u8)] = &[
    (libc::SYS_prlimit64, 0),
    (libc::SYS_sched_setparam, 0),
    (libc::SYS_sched_setscheduler, 0),
    (libc::SYS_sched_setattr, 0),
    (libc::SYS_sched_setaffinity, 0),
    (libc::SYS_setpriority, 1),
    (libc::SYS_ioprio_set, 1),
];

/// Changes to a path's inode that Landlock cannot confine.
const BY_PATH: &[i64] = &[
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
];
#[cfg(target_arch = "x86_64")]
const BY_PATH_HERE: &[i64] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const BY_PATH_HERE: &[i64] = &[];

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
        if around.network || !around.shared {
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
    let mut verdict: Vec<Case> = all
        .into_iter()
        .map(|tests| Case {
            tests,
            then: Action::Allow,
        })
        .collect();
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

fn shared(table: &mut Table, around: &Surroundings) {
    always(table, SHARED, EPERM);
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
