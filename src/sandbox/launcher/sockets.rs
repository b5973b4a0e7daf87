//! Sockets of a run that shares the host's network.
//!
//! Landlock knows ports, not hosts: a program that may connect to the gate's port could connect to
//! that port anywhere. So it makes no socket and no connection of its own. The system call filter
//! hands `socket(2)` and `connect(2)` to the launcher, which answers the first with a socket that is
//! already connected to the gate, and the second with what it would have said. Nothing that the
//! program passes decides where a connection goes; its address is read only to tell it the truth.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, poll},
    sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket},
};

use crate::sandbox::{either_way, sys, wire};

/// How long the gate may take to have room for one more connection, in milliseconds.
const PATIENCE: u16 = 200;

/// Answers the calls of one run.
pub(super) struct Sockets {
    /// Where the filter's listener comes from, then the listener itself; `None` once all is over.
    source: Option<Source>,
    gate: u16,
}

enum Source {
    Coming(OwnedFd),
    Listener(OwnedFd),
}

impl Sockets {
    /// Of a program that sends its filter's listener over the other end of `coming`.
    pub(super) fn new(coming: OwnedFd, gate: u16) -> Self {
        Self {
            source: Some(Source::Coming(coming)),
            gate,
        }
    }

    /// What to wait for.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self.source.as_ref()? {
            Source::Coming(fd) | Source::Listener(fd) => Some(fd.as_fd()),
        }
    }

    /// Takes the listener, or answers one call. Call it when `fd` has something to say.
    pub(super) fn serve(&mut self) {
        self.source = match self.source.take() {
            Some(Source::Coming(fd)) => {
                let mut byte = [0];
                let got = wire::receive_with(fd.as_fd(), &mut byte);
                let listener = got.ok().and_then(|(_, mut fds)| fds.pop());
                listener.map(Source::Listener)
            }
            Some(Source::Listener(listener)) => {
                // Once every process of the filter is gone there is nothing left to receive.
                answer(&listener, self.gate).then_some(Source::Listener(listener))
            }
            None => None,
        };
    }
}

/// Answers one call; false if none will come any more.
fn answer(listener: &OwnedFd, gate: u16) -> bool {
    let mut ends = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    either_way(poll(&mut ends, 0_u16));
    let [end] = ends;
    if !end.revents().is_some_and(|e| e.contains(PollFlags::POLLIN)) {
        return false;
    }
    let call = match sys::next_call(listener) {
        Ok(call) => call,
        // Whoever called is gone already.
        Err(error) => return error.raw_os_error() == Some(libc::ENOENT),
    };
    let [_, second, third, ..] = call.args;
    if call.number == libc::SYS_socket {
        let flags = i32::try_from(second & 0xFFFF_FFFF).unwrap_or(0);
        match to_gate(gate, flags & libc::SOCK_NONBLOCK != 0) {
            Ok(socket) => {
                let close_on_exec = flags & libc::SOCK_CLOEXEC != 0;
                either_way(sys::answer_with(listener, call.id, &socket, close_on_exec));
            }
            Err(errno) => either_way(sys::answer(listener, call.id, errno as i32)),
        }
        return true;
    }
    let address = sys::read_memory(call.pid, second, third.min(16));
    let word = match address.as_deref().map(target) {
        Some(Some(asked)) if asked != SocketAddrV4::new(Ipv4Addr::LOCALHOST, gate) => libc::EACCES,
        Some(None) => libc::EACCES,
        _ => 0,
    };
    either_way(sys::answer(listener, call.id, word));
    true
}

/// The address in a `sockaddr_in`.
fn target(bytes: &[u8]) -> Option<SocketAddrV4> {
    let [f0, f1, p0, p1, a, b, c, d, ..] = *bytes else {
        return None;
    };
    let family = i32::from(u16::from_ne_bytes([f0, f1]));
    let ip = Ipv4Addr::new(a, b, c, d);
    (family == libc::AF_INET).then(|| SocketAddrV4::new(ip, u16::from_be_bytes([p0, p1])))
}

fn to_gate(port: u16, nonblocking: bool) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let gate = SockaddrIn::new(127, 0, 0, 1, port);
    let connected = connect(std::os::fd::AsRawFd::as_raw_fd(&made), &gate);
    if connected == Err(Errno::EINPROGRESS) {
        let mut ends = [PollFd::new(made.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ends, PATIENCE)? == 0 {
            return Err(Errno::ECONNREFUSED);
        }
    } else {
        connected?;
    }
    if !nonblocking {
        fcntl(&made, FcntlArg::F_SETFL(OFlag::empty()))?;
    }
    Ok(made)
}
