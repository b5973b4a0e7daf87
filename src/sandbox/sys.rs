//! System calls that `nix` lacks, each as one safe function.

#![expect(unsafe_code, reason = "raw system calls")]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

/// `MOUNT_ATTR_*` of `mount_setattr(2)`.
pub(super) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
/// No set-user-id programs.
pub(super) const NO_SET_ID: u64 = libc::MOUNT_ATTR_NOSUID;
/// No device nodes.
pub(super) const NO_DEVICES: u64 = libc::MOUNT_ATTR_NODEV;

fn check(status: libc::c_long) -> io::Result<libc::c_long> {
    if status < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(status)
    }
}

fn owned(status: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(check(status)?).map_err(io::Error::other)?;
    // SAFETY: the call that returned this descriptor made it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A detached copy of the mounts at and below what `place` refers to.
pub(super) fn clone_tree(place: impl AsFd) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | libc::AT_RECURSIVE as u32
        | libc::AT_EMPTY_PATH as u32;
    let fd = place.as_fd().as_raw_fd();
    // SAFETY: the path is an empty C string and the descriptor is open.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, fd, c"".as_ptr(), flags) })
}

/// Sets attributes on a mount and on every mount below it.
pub(super) fn set_attributes(tree: impl AsFd, attributes: u64) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: attr is a live mount_attr of the size given.
    let status = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    check(status).map(drop)
}

/// Attaches a detached mount at a path.
pub(super) fn attach(tree: impl AsFd, to: &CStr) -> io::Result<()> {
    // SAFETY: both paths are C strings and the descriptor is open.
    let status = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    check(status).map(drop)
}

/// Closes all descriptors in a range, or marks them to be closed by `execve`.
pub(super) fn close_range(first: u32, last: u32, on_exec: bool) -> io::Result<()> {
    let flags = if on_exec {
        libc::CLOSE_RANGE_CLOEXEC
    } else {
        0
    };
    if first > last {
        return Ok(());
    }
    // SAFETY: the callers own every descriptor of the process: it is the single-threaded launcher.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// A descriptor for a process.
pub(super) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// SIGKILL to exactly that process.
pub(super) fn pidfd_kill(process: impl AsFd) -> io::Result<()> {
    let fd = process.as_fd().as_raw_fd();
    let none: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, none, 0) })
        .map(drop)
}

/// The level of Landlock that the kernel has; an error where it is not built or not enabled.
pub(super) fn landlock_level() -> io::Result<i32> {
    let none: *const libc::c_void = std::ptr::null();
    // SAFETY: with the version flag the kernel reads no memory.
    let level =
        check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, 1_u32) })?;
    i32::try_from(level).map_err(io::Error::other)
}

/// Effective capabilities of this process, as a bit set.
pub(super) fn capabilities() -> io::Result<u64> {
    let mut sets = [CapData::default(); 2];
    // SAFETY: header and sets have the layout of version 3 and live during the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const HEADER, sets.as_mut_ptr()) })?;
    let [low, high] = sets;
    Ok(u64::from(low.effective) | (u64::from(high.effective) << 32))
}

/// Gives up every capability of this process, including those that a program could regain.
pub(super) fn drop_capabilities() {
    for capability in 0..64_u64 {
        // SAFETY: no memory is involved.
        let status = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if status != 0 {
            // EINVAL ends the list of those the kernel knows; EPERM: none to drop with.
            break;
        }
    }
    // SAFETY: no memory is involved. Fails only on kernels without ambient capabilities.
    let _ = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        )
    };
}

/// Empties the capability sets themselves.
pub(super) fn clear_capabilities() -> io::Result<()> {
    let sets = [CapData::default(); 2];
    // SAFETY: header and sets have the layout of version 3 and live during the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const HEADER, sets.as_ptr()) }).map(drop)
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

static HEADER: CapHeader = CapHeader {
    version: 0x2008_0522,
    pid: 0,
};

/// Sets the loopback interface of this network namespace up.
pub(super) fn loopback_up(socket: impl AsFd) -> io::Result<()> {
    // SAFETY: an all-zero ifreq is valid; it lives during both calls.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
        let fd = socket.as_fd().as_raw_fd();
        check(libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request).into()).map(drop)
    }
}

/// Gives the loopback interface one more address, by a label of this number.
pub(super) fn own_address(
    socket: impl AsFd,
    number: usize,
    address: std::net::Ipv4Addr,
) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let label = format!("lo:{number}");
    let family = libc::sa_family_t::try_from(libc::AF_INET).map_err(io::Error::other)?;
    let of = |ip: std::net::Ipv4Addr| libc::sockaddr_in {
        sin_family: family,
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(ip.octets()),
        },
        sin_zero: [0; 8],
    };
    let whole = std::net::Ipv4Addr::BROADCAST;
    for (command, value) in [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, whole)] {
        // SAFETY: an all-zero ifreq is valid; a sockaddr_in fits where its address goes, and the
        // request lives during the call.
        unsafe {
            let mut request: libc::ifreq = std::mem::zeroed();
            for (to, from) in request.ifr_name.iter_mut().zip(label.bytes()) {
                *to = from.cast_signed();
            }
            let place = &raw mut request.ifr_ifru.ifru_addr;
            place.cast::<libc::sockaddr_in>().write_unaligned(of(value));
            check(libc::ioctl(fd, command, &raw const request).into())?;
        }
    }
    Ok(())
}

/// Makes `target` refer to what `from` does; `target` survives `execve`.
pub(super) fn place(from: impl AsFd, target: RawFd) -> io::Result<()> {
    // SAFETY: the launcher owns every descriptor of its process; nothing else holds `target`.
    check(unsafe { libc::dup2(from.as_fd().as_raw_fd(), target) }.into()).map(drop)
}

/// Takes ownership of a descriptor that this process was started with.
pub(super) fn inherited(fd: RawFd) -> OwnedFd {
    // SAFETY: called once for descriptor 0 at the start of the launcher, before anything uses it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A process split in two: the child gets `None`.
pub(super) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the launcher has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Ends this process at once, without running anything.
pub(super) fn leave(code: i32) -> ! {
    // SAFETY: ends the process; destructors are the kernel's.
    unsafe { libc::_exit(code) }
}

/// All signals unblocked and handled by default, as a program expects them.
pub(super) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is always valid; signals that cannot be changed fail harmlessly.
        let _ = unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is initialised before it is used.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// The same open file under a number that no program's descriptor takes; the old one is closed.
pub(super) fn high(fd: OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open; the result is new and ours.
    let copy = owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, HIGH) }.into());
    drop(fd);
    copy
}

/// First number that the launcher uses for its own descriptors.
pub(super) const HIGH: i32 = 100;

/// A system call that the filter handed over.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandedCall {
    pub(super) id: u64,
    pub(super) pid: i32,
    pub(super) number: libc::c_long,
    pub(super) args: [u64; 6],
}

/// The next call that waits at a filter's listener.
pub(super) fn next_call(listener: impl AsFd) -> io::Result<HandedCall> {
    let fd = listener.as_fd().as_raw_fd();
    // SAFETY: an all-zero structure is what the kernel asks for; it lives during the call.
    let notice = unsafe {
        let mut notice: libc::seccomp_notif = std::mem::zeroed();
        check(libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notice).into())?;
        notice
    };
    Ok(HandedCall {
        id: notice.id,
        pid: notice.pid.cast_signed(),
        number: notice.data.nr.into(),
        args: notice.data.args,
    })
}

/// Answers a call: 0 for success, else an error number.
pub(super) fn answer(listener: impl AsFd, id: u64, errno: i32) -> io::Result<()> {
    let fd = listener.as_fd().as_raw_fd();
    let mut response = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: -errno,
        flags: 0,
    };
    // SAFETY: the structure lives during the call.
    check(unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response) }.into())
        .map(drop)
}

/// Answers a call with a copy of a descriptor, whose number becomes the call's result.
pub(super) fn answer_with(
    listener: impl AsFd,
    id: u64,
    given: impl AsFd,
    close_on_exec: bool,
) -> io::Result<()> {
    let fd = listener.as_fd().as_raw_fd();
    let flag = |value: libc::c_ulong| u32::try_from(value).unwrap_or(0);
    let mut add = libc::seccomp_notif_addfd {
        id,
        flags: flag(libc::SECCOMP_ADDFD_FLAG_SEND),
        srcfd: given.as_fd().as_raw_fd().cast_unsigned(),
        newfd: 0,
        newfd_flags: if close_on_exec {
            libc::O_CLOEXEC.cast_unsigned()
        } else {
            0
        },
    };
    // SAFETY: the structure lives during the call.
    check(unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw mut add) }.into())
        .map(drop)
}

/// Up to 16 bytes of another process's memory; `None` where they may not be read.
pub(super) fn read_memory(pid: i32, address: u64, length: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0_u8; usize::try_from(length.min(16)).ok()?];
    let here = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let there = libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(usize::try_from(address).ok()?),
        iov_len: bytes.len(),
    };
    // SAFETY: `here` is a live buffer of its length; `there` is only read, by the kernel, which
    // checks it against the other process's memory.
    let read = unsafe { libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0) };
    (usize::try_from(read).ok()? == bytes.len()).then_some(bytes)
}

/// Takes ownership of a descriptor that came over a socket.
pub(super) fn received(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel made the descriptor for this receiver, who asks once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
