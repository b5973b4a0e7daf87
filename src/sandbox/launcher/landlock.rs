//! Landlock: the only lock on files where there are no namespaces, and the second lock where there
//! are (a leaked directory descriptor, `/proc/1`, another process of the sandbox).

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, Scope,
};

use super::{At as _, Fail, Run, Step, root};
use crate::sandbox::policy::{HOME, Lock, Net};

/// Newest level whose rights we know; the kernel's own may be lower.
const LEVEL: ABI = ABI::V7;

/// Files of the host's `/proc` that runtimes read and that tell of no process.
const PROC: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/version",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/vm/overcommit_memory",
    "/proc/self/maps",
    "/proc/self/stat",
    "/proc/self/statm",
    "/proc/self/status",
];
/// Libraries, the loader, and helpers of programs such as git's: of what may be started when only
/// some programs may.
const LIBRARIES: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/libx32",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/local/libexec",
];
/// The host's own, where there is no private root to put others in.
const ACCOUNTS: &[&str] = &["/etc/group", "/etc/hosts", "/etc/passwd"];

impl<T> super::At<T> for Result<T, RulesetError> {
    fn at(self, stage: &str) -> Step<T> {
        self.map_err(|error| Fail::new(format!("{stage}: {error}"), libc::EOPNOTSUPP))
    }
}

/// Restricts this process and all that it starts to what the policy grants.
pub(super) fn restrict(run: &Run) -> Step<()> {
    let plan = &run.policy.plan;
    if !plan.landlock || !plan.has(Lock::Landlock) {
        return Ok(());
    }
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LEVEL))
        .at("landlock files")?
        .scope(Scope::from_all(LEVEL))
        .at("landlock scopes")?;
    let own_loopback = match run.policy.net {
        Net::None => false,
        Net::Loopback => true,
        Net::Gate { own_loopback, .. } => own_loopback,
    };
    if !own_loopback {
        rules = rules
            .handle_access(AccessNet::from_all(LEVEL))
            .at("landlock network")?;
    }
    let mut rules = Rules {
        set: rules.create().at("landlock")?,
    };
    rules.system(run)?;
    rules.granted(run)?;
    // A program whose connections are made for it may make none itself.
    let own = !own_loopback && run.asks.is_none();
    if let Some(port) = run.gate.filter(|_| own) {
        let gate = NetPort::new(port, AccessNet::ConnectTcp);
        rules.set = rules.set.add_rule(gate).at("landlock gate")?;
        for forward in &run.policy.forwards {
            let port = NetPort::new(forward.port, AccessNet::ConnectTcp);
            rules.set = rules.set.add_rule(port).at("landlock forward")?;
        }
    }
    let status = rules.set.restrict_self().at("landlock")?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(Fail::new("landlock is not enforced", libc::EOPNOTSUPP));
    }
    Ok(())
}

fn read() -> BitFlags<AccessFs> {
    AccessFs::from_read(LEVEL)
}

fn write() -> BitFlags<AccessFs> {
    let never = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    AccessFs::from_all(LEVEL) & !never
}

struct Rules {
    set: RulesetCreated,
}

impl Rules {
    fn system(&mut self, run: &Run) -> Step<()> {
        let all = root::SYSTEM.iter().chain(root::MERGED).chain(root::ETC);
        if let Some(programs) = &run.policy.programs {
            for path in all {
                self.path(path, read() & !AccessFs::Execute)?;
            }
            for path in LIBRARIES {
                self.path(path, read())?;
            }
            for program in programs {
                self.path(program, AccessFs::ReadFile | AccessFs::Execute)?;
            }
        } else {
            for path in all {
                self.path(path, read())?;
            }
        }
        let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
        for path in root::DEVICES {
            self.path(path, device)?;
        }
        if run.policy.plan.namespaces && run.policy.plan.has(Lock::Root) {
            // All of this is private, made for this run.
            self.path("/", AccessFs::ReadDir.into())?;
            self.path("/etc", read())?;
            self.path("/proc", read())?;
            for path in ["/tmp", "/dev/shm", HOME] {
                self.path(path, write())?;
            }
            return Ok(());
        }
        for path in PROC.iter().chain(ACCOUNTS) {
            self.path(path, AccessFs::ReadFile.into())?;
        }
        if let Some(private) = &run.private {
            self.path(private, write())?;
        }
        Ok(())
    }

    fn granted(&mut self, run: &Run) -> Step<()> {
        for (path, writable) in &run.policy.mounts {
            let stage = format!("landlock {}", path.display());
            let (fd, stat) = root::open_granted(path).at(&stage)?;
            let access = if *writable { write() } else { read() };
            self.open(fd, access, root::is_folder(&stat))?;
        }
        Ok(())
    }

    /// A path of the system's, if there is one.
    fn path(&mut self, path: impl AsRef<Path>, access: BitFlags<AccessFs>) -> Step<()> {
        let path: PathBuf = path.as_ref().to_owned();
        match PathFd::new(&path) {
            Ok(fd) => self.add(PathBeneath::new(fd, narrow(access, path.is_dir()))),
            Err(_) => Ok(()),
        }
    }

    fn open(&mut self, fd: OwnedFd, access: BitFlags<AccessFs>, folder: bool) -> Step<()> {
        self.add(PathBeneath::new(fd, narrow(access, folder)))
    }

    fn add<F: std::os::fd::AsFd>(&mut self, rule: PathBeneath<F>) -> Step<()> {
        (&mut self.set).add_rule(rule).at("landlock rule").map(drop)
    }
}

/// A file takes only the rights that files have.
fn narrow(access: BitFlags<AccessFs>, folder: bool) -> BitFlags<AccessFs> {
    if folder {
        access
    } else {
        access & AccessFs::from_file(LEVEL)
    }
}
