//! The system call filter: one BPF program, built from a table of verdicts.
//!
//! The program is a binary search over system call numbers, so that an ordinary call passes after
//! about ten instructions, and is loaded once. It does not decide *which* calls are refused: that
//! is `table.rs`. Arguments are compared as 32 bits, because the kernel truncates them so.

#![expect(unsafe_code, reason = "seccomp(2) has no safe wrapper")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "constants of the kernel, in the width it compares them"
)]

mod calls;
mod table;

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use crate::sandbox::sys;

pub(super) use table::{Surroundings, table};

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    /// Fail with this number; 0 pretends that it worked.
    Errno(u16),
    /// The launcher answers.
    Ask,
}

impl Action {
    const fn word(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Errno(number) => libc::SECCOMP_RET_ERRNO | number as u32,
            Self::Ask => libc::SECCOMP_RET_USER_NOTIF,
        }
    }
}

/// A comparison of `argument & mask` with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Test {
    arg: u8,
    mask: u32,
    equal: bool,
    value: u32,
}

impl Test {
    /// The argument is exactly this.
    pub(super) const fn is(arg: u8, value: u32) -> Self {
        Self {
            arg,
            mask: u32::MAX,
            equal: true,
            value,
        }
    }

    /// The argument is not this.
    pub(super) const fn is_not(arg: u8, value: u32) -> Self {
        Self {
            arg,
            mask: u32::MAX,
            equal: false,
            value,
        }
    }

    /// The masked argument is exactly this.
    pub(super) const fn masked(arg: u8, mask: u32, value: u32) -> Self {
        Self {
            arg,
            mask,
            equal: true,
            value,
        }
    }

    /// At least one of these bits is set.
    pub(super) const fn any(arg: u8, bits: u32) -> Self {
        Self {
            arg,
            mask: bits,
            equal: false,
            value: 0,
        }
    }
}

/// If all tests hold, this action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) tests: Vec<Test>,
    pub(super) then: Action,
}

/// The verdict on one system call: the first case that holds, else it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Always(Action),
    Cases(Vec<Case>),
}

/// Verdicts by system call number; what is not listed is allowed.
pub(super) type Table = BTreeMap<u32, Verdict>;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;

/// Calls from here on are the x32 interface of x86-64.
const X32: u32 = 0x4000_0000;

fn op(code: u16, k: u32) -> libc::sock_filter {
    branch(code, k, 0, 0)
}

fn branch(code: u16, k: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter {
        code,
        jt: yes,
        jf: no,
        k,
    }
}

/// Turns a table into the program.
pub(super) fn compile(table: &Table) -> Vec<libc::sock_filter> {
    let mut program = vec![
        op(LOAD, 4),
        branch(EQUAL, ARCH, 1, 0),
        op(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        op(LOAD, 0),
        branch(AT_LEAST, X32, 0, 1),
        op(RETURN, Action::Errno(libc::ENOSYS as u16).word()),
    ];
    program.extend(search(&segments(table)));
    program
}

/// Neighbouring numbers with the same verdict become one segment, named by its first number.
fn segments(table: &Table) -> Vec<(u32, Verdict)> {
    let allow = Verdict::Always(Action::Allow);
    let mut all = vec![(0, allow.clone())];
    let mut push = |from: u32, verdict: Verdict| match all.last_mut() {
        Some(last) if last.0 == from => last.1 = verdict,
        Some(last) if last.1 == verdict => {}
        _ => all.push((from, verdict)),
    };
    for (number, verdict) in table {
        push(*number, verdict.clone());
        if !table.contains_key(&(number + 1)) {
            push(number + 1, allow.clone());
        }
    }
    all
}

fn search(segments: &[(u32, Verdict)]) -> Vec<libc::sock_filter> {
    let (left, right) = segments.split_at(segments.len() / 2);
    let Some((middle, verdict)) = right.first() else {
        return leaf(&Verdict::Always(Action::Allow));
    };
    if left.is_empty() {
        return leaf(verdict);
    }
    let lower = search(left);
    let mut program = vec![
        branch(AT_LEAST, *middle, 0, 1),
        op(JUMP, u32::try_from(lower.len()).unwrap_or(u32::MAX)),
    ];
    program.extend(lower);
    program.extend(search(right));
    program
}

fn leaf(verdict: &Verdict) -> Vec<libc::sock_filter> {
    let cases = match verdict {
        Verdict::Always(action) => return vec![op(RETURN, action.word())],
        Verdict::Cases(cases) => cases,
    };
    let mut program = Vec::new();
    for case in cases {
        let mut block = vec![op(RETURN, case.then.word())];
        for test in case.tests.iter().rev() {
            // Where the test fails: over what is already in the block, to the next case.
            let skip = u8::try_from(block.len()).unwrap_or(u8::MAX);
            let mut head = vec![op(LOAD, 16 + 8 * u32::from(test.arg))];
            if test.mask != u32::MAX {
                head.push(op(AND, test.mask));
            }
            head.push(if test.equal {
                branch(EQUAL, test.value, 0, skip)
            } else {
                branch(EQUAL, test.value, skip, 0)
            });
            head.append(&mut block);
            block = head;
        }
        program.append(&mut block);
    }
    program.push(op(RETURN, Action::Allow.word()));
    program
}

/// Loads the program for this thread and everything it starts. Needs `no_new_privs`. With `listen`,
/// gives the descriptor at which calls are handed over.
pub(super) fn load(program: &mut [libc::sock_filter], listen: bool) -> io::Result<Option<OwnedFd>> {
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let header = libc::sock_fprog {
        len: length,
        filter: program.as_mut_ptr(),
    };
    let flags = if listen {
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
    } else {
        0
    };
    // SAFETY: header points at `length` instructions that live until the call returns; the kernel
    // copies and checks them.
    let status = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const header,
        )
    };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(listen.then(|| sys::received(status as i32)))
}

#[cfg(test)]
mod tests;
