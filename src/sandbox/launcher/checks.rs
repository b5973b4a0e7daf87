//! A trial: instead of a program, look around from where it would stand, and say what holds.
//! Live attempts, never kernel settings: containers and security modules make those lie.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpStream, UdpSocket},
    path::Path,
    time::Duration,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::signal::kill,
    unistd::{Pid, getpid, getuid},
};

use super::{Run, init::report};
use crate::sandbox::{policy::Word, sys};

/// Says each finding to the launcher.
pub(super) fn all(run: &Run) {
    let say = |name: &str, ok: bool, detail: String| {
        report(run, &Word::Found(name.to_owned(), ok, detail));
    };
    let files = hidden_files();
    say(
        "files",
        files.is_ok(),
        text(files, "nothing but what is granted"),
    );
    let secret = format!("/proc/{}/environ", run.policy.daemon);
    let (ok, detail) = if run.policy.plan.namespaces {
        (
            getpid().as_raw() == 2,
            format!("this process is number {}", getpid()),
        )
    } else {
        (
            fs::read(secret).is_err(),
            "other processes are visible but closed".to_owned(),
        )
    };
    say("processes", ok, detail);
    let network = no_network(run.gate);
    say(
        "network",
        network.is_ok(),
        text(network, "no way out but the gate"),
    );
    let filter = filtered();
    say(
        "seccomp",
        filter.is_ok(),
        text(filter, "namespaces, tracing and mounts are refused"),
    );
    let powers = powerless(run);
    say(
        "privileges",
        powers.is_ok(),
        text(powers, "no capability, no way to regain one"),
    );
    let signals = no_signals(run);
    say(
        "signals",
        signals.is_ok(),
        text(signals, "the daemon cannot be reached"),
    );
    let level = sys::landlock_level();
    let enforced = run.policy.plan.landlock && level.is_ok();
    let detail = level.map_or_else(|e| e.to_string(), |l| format!("level {l}"));
    say("landlock", enforced, detail);
}

fn text(found: Result<(), String>, good: &str) -> String {
    found.err().unwrap_or_else(|| good.to_owned())
}

fn hidden_files() -> Result<(), String> {
    for path in ["/etc/shadow", "/root", "/home", "/var/log", "/boot"] {
        if Path::new(path).is_dir() {
            if let Ok(mut entries) = fs::read_dir(path)
                && entries.any(|e| e.is_ok_and(|e| e.file_name() != "skill"))
            {
                return Err(format!("{path} can be listed"));
            }
        } else if fs::File::open(path).is_ok() {
            return Err(format!("{path} can be read"));
        }
    }
    match fs::write("/usr/nexflow-trial", "") {
        Err(_) => Ok(()),
        Ok(()) => Err("/usr can be written".to_owned()),
    }
}

fn no_network(gate: Option<u16>) -> Result<(), String> {
    if let Some(port) = gate {
        only_the_gate(port)?;
    }
    let soon = Duration::from_millis(50);
    // A documentation address: nothing answers there, so only the error tells.
    let address = ([192, 0, 2, 1], 9).into();
    match TcpStream::connect_timeout(&address, soon).and_then(|s| s.peer_addr()) {
        Ok(reached) if gate == Some(reached.port()) => {}
        Err(error) if error.kind() != io::ErrorKind::TimedOut => {}
        _ => return Err("TCP leaves the sandbox".to_owned()),
    }
    let sent = UdpSocket::bind("0.0.0.0:0").and_then(|s| s.send_to(b"x", address));
    match sent {
        Err(_) => Ok(()),
        Ok(_) => Err("UDP leaves the sandbox".to_owned()),
    }
}

/// Wherever a connection was meant to go, it stands to the gate or not at all.
fn only_the_gate(gate: u16) -> Result<(), String> {
    let peer = |port: u16| {
        let made = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        made.peer_addr()
    };
    match peer(gate) {
        Ok(address) if address.port() == gate => {}
        Ok(address) => return Err(format!("the gate is at port {gate}, not {address}")),
        Err(error) => return Err(format!("the gate is not reached: {error}")),
    }
    match peer(gate ^ 1) {
        Ok(address) if address.port() != gate => Err(format!("{address} can be reached")),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn filtered() -> Result<(), String> {
    match unshare(CloneFlags::CLONE_NEWUSER) {
        Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(format!(
            "unshare: {errno} (of the kernel, not of the filter)"
        )),
        Ok(()) => Err("a user namespace can be made".to_owned()),
    }
}

fn powerless(run: &Run) -> Result<(), String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held = sys::capabilities().map_err(|e| e.to_string())?;
    if held != 0 {
        return Err(format!("capabilities {held:x}"));
    }
    if run.policy.uid.is_some_and(|uid| uid != getuid().as_raw()) {
        return Err(format!("user {}", getuid()));
    }
    let fresh = status.lines().find_map(|l| l.strip_prefix("NoNewPrivs:"));
    match fresh.map(str::trim) {
        Some("1") | None => Ok(()),
        Some(_) => Err("new privileges can be had".to_owned()),
    }
}

fn no_signals(run: &Run) -> Result<(), String> {
    match kill(Pid::from_raw(run.policy.daemon), None) {
        Err(_) => Ok(()),
        Ok(()) if run.policy.plan.namespaces => Ok(()),
        Ok(()) => Err("the daemon can be signalled".to_owned()),
    }
}
