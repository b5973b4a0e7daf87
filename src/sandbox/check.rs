//! What a job may ask for, before anything is started.

use std::path::{Component, Path};

use nix::unistd::getpid;

use super::{
    Access, DEFAULT_UID, Job, Mode, Mount, Network, Rule, SandboxError, gate,
    policy::{HOME, Lock, Net, Plan, Policy},
    report::Found,
    wire,
};

/// Trees that no program gets as they are.
const NEVER: &[&str] = &["/proc", "/sys", "/dev", "/run", "/boot"];
/// First and last number of a program's extra descriptors.
const FDS: std::ops::RangeInclusive<i32> = 3..=99;

const NO_LOOPBACK: &str = "A loopback of its own needs a network namespace";

/// This machine can confine such a job.
pub(super) fn supported(found: &Found, job: &Job) -> Result<(), SandboxError> {
    let report = &found.report;
    let unsupported = |what: &str| {
        Err(SandboxError::Unsupported {
            what: what.to_owned(),
            fix: report
                .fix
                .first()
                .cloned()
                .unwrap_or_else(|| "`nexflow doctor` shows what is missing".to_owned()),
        })
    };
    match (report.mode, &job.network) {
        (Mode::None, _) => unsupported(report.summary.trim_end_matches('.')),
        (Mode::Degraded, Network::Loopback) => unsupported(NO_LOOPBACK),
        (Mode::Degraded, Network::Gate(reach)) if reach.rules.contains(&Rule::Loopback) => {
            unsupported(NO_LOOPBACK)
        }
        (Mode::Degraded, Network::Gate(_)) if !found.plan.handed => unsupported(
            "Network access cannot be confined here: there are no namespaces, and connections cannot be handed to the gate",
        ),
        (Mode::Full | Mode::Unconfined, _) | (Mode::Degraded, Network::None | Network::Gate(_)) => {
            Ok(())
        }
    }
}

/// The job asks for nothing that is never given.
pub(super) fn job(job: &Job) -> Result<(), SandboxError> {
    let refused = |why: String| Err(SandboxError::Refused(why));
    match job.argv.first() {
        Some(program) if program.starts_with('/') => {}
        _ => return refused("the program must be an absolute path".to_owned()),
    }
    let texts = job
        .argv
        .iter()
        .chain(job.env.iter().flat_map(|(n, v)| [n, v]));
    if texts.into_iter().any(|t| t.contains('\0')) {
        return refused("arguments and environment hold no NUL".to_owned());
    }
    if let Some((name, _)) = job
        .env
        .iter()
        .find(|(n, _)| n.is_empty() || n.contains('='))
    {
        return refused(format!("{name:?} is no name of a variable"));
    }
    let mut numbers: Vec<i32> = job.fds.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let few = numbers.len() == job.fds.len() && numbers.len() < wire::MAX_FDS;
    if !few || !numbers.iter().all(|n| FDS.contains(n)) {
        return refused("descriptors are numbered 3 to 99, each once".to_owned());
    }
    if job.uid == Some(0) {
        return refused("no program runs as root".to_owned());
    }
    for mount in &job.mounts {
        one_mount(mount).or_else(refused)?;
    }
    let own = ["/", "/tmp", HOME].iter().any(|p| job.cwd == Path::new(p));
    if !own && !job.mounts.iter().any(|m| job.cwd.starts_with(&m.path)) {
        return refused(format!("{} is not in a mount", job.cwd.display()));
    }
    if !plain(&job.cwd) {
        return refused(format!("{} is not a plain path", job.cwd.display()));
    }
    Ok(())
}

fn one_mount(mount: &Mount) -> Result<(), String> {
    let path = &mount.path;
    if !plain(path) || path.to_str().is_none() {
        return Err(format!("{} is not a plain absolute path", path.display()));
    }
    if path.parent().is_none() || NEVER.iter().any(|never| path.starts_with(never)) {
        return Err(format!("{} is never given", path.display()));
    }
    Ok(())
}

/// Absolute, and without `.` or `..` (which `components` would hide).
fn plain(path: &Path) -> bool {
    let dots = path
        .as_os_str()
        .as_encoded_bytes()
        .split(|b| *b == b'/')
        .any(|part| part == b"." || part == b"..");
    path.is_absolute() && !dots && !path.components().any(|c| c == Component::ParentDir)
}

/// The job as the launcher gets it.
pub(super) fn policy(job: &Job, found: &Found) -> Policy {
    let uid = found.switch_user.then(|| job.uid.unwrap_or(DEFAULT_UID));
    trial(job, found.plan.clone(), uid)
}

/// The job by a plan that is not proven yet.
pub(super) fn trial(job: &Job, plan: Plan, uid: Option<u32>) -> Policy {
    let mounts = job.mounts.iter();
    Policy {
        argv: job.argv.clone(),
        env: job.env.clone(),
        cwd: job.cwd.clone(),
        mounts: mounts
            .map(|m| (m.path.clone(), m.access == Access::Write))
            .collect(),
        net: Net::from(&job.network),
        forwards: match &job.network {
            Network::Gate(reach) if plan.namespaces && plan.has(Lock::Network) => {
                gate::forwards(&reach.rules)
            }
            _ => Vec::new(),
        },
        programs: job.programs.clone(),
        limits: job.limits.clone(),
        fds: job.fds.iter().map(|(number, _)| *number).collect(),
        uid,
        daemon: getpid().as_raw(),
        plan,
    }
}
