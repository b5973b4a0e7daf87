//! The control socket between daemon and launcher: a policy with descriptors one way, lines and a
//! listener the other.

use std::{
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, send, sendmsg},
    },
};
use tokio::io::{AsyncWriteExt as _, Interest};

use super::{
    Job,
    policy::{Policy, Word},
    sys,
};

/// Most descriptors that pass with one message.
pub(super) const MAX_FDS: usize = 32;

/// Sends bytes with descriptors; returns how many bytes went.
pub(super) fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> io::Result<usize> {
    let rights = [ControlMessage::ScmRights(fds)];
    let messages: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
    Ok(sendmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        messages,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?)
}

/// Receives bytes and whatever descriptors come with them.
pub(super) fn receive_with(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
    let mut slices = [IoSliceMut::new(bytes)];
    let message = recvmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            fds.extend(raw.into_iter().map(sys::received));
        }
    }
    Ok((message.bytes, fds))
}

/// The launcher's side: the whole policy and its descriptors.
pub(super) fn receive(control: &OwnedFd) -> io::Result<(Policy, Vec<OwnedFd>)> {
    let mut first = vec![0; 64 << 10];
    let (count, fds) = receive_with(control.as_fd(), &mut first)?;
    first.truncate(count);
    let mut stream = UnixStream::from(control.try_clone()?);
    while first.len() < 4 {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        first.extend(byte);
    }
    let head = first.first_chunk::<4>().copied().unwrap_or_default();
    let length = Policy::length(head)?;
    let mut body = first.split_off(4);
    let have = body.len();
    body.resize(length.max(have), 0);
    if let Some(rest) = body.get_mut(have..) {
        stream.read_exact(rest)?;
    }
    let fds = fds.into_iter().map(sys::high).collect::<io::Result<_>>()?;
    Ok((Policy::decode(&body)?, fds))
}

/// The launcher's side: one line to the daemon.
pub(super) fn say(control: &OwnedFd, word: &Word) -> io::Result<()> {
    let line = word.line() + "\n";
    send(control.as_raw_fd(), line.as_bytes(), MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

/// The launcher's side: the listener of the gate.
pub(super) fn hand_over(control: &OwnedFd, listener: BorrowedFd<'_>) -> io::Result<()> {
    let line = Word::Listener.line() + "\n";
    send_with(control.as_fd(), line.as_bytes(), &[listener.as_raw_fd()]).map(drop)
}

/// The daemon's side: policy, standard input, and the program's extra descriptors.
pub(super) async fn tell(
    control: &mut tokio::net::UnixStream,
    policy: &Policy,
    job: &Job,
) -> io::Result<()> {
    let input = input(&job.stdin)?;
    let fds: Vec<RawFd> = std::iter::once(input.as_raw_fd())
        .chain(job.fds.iter().map(|(_, fd)| fd.as_raw_fd()))
        .collect();
    let bytes = policy.encode()?;
    let send = || send_with(control.as_fd(), &bytes, &fds);
    let sent = control.async_io(Interest::WRITABLE, send).await?;
    control
        .write_all(bytes.get(sent..).unwrap_or_default())
        .await
}

/// Standard input as a sealed file in memory: no pipe to fill, nobody to wait for.
fn input(bytes: &[u8]) -> io::Result<OwnedFd> {
    if bytes.is_empty() {
        return Ok(std::fs::File::open("/dev/null")?.into());
    }
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = std::fs::File::from(memfd_create("stdin", flags)?);
    file.write_all(bytes)?;
    io::Seek::rewind(&mut file)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
    Ok(file.into())
}
