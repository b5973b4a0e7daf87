//! Launchers that wait for a run. Starting one costs about as much as everything else of a short
//! run, so one is started ahead: it has made the namespaces that are the same for every run, and
//! waits for its policy. When the daemon ends, its socket closes and it ends too.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use nix::{fcntl::OFlag, unistd::pipe2};
use tokio::{
    process::{Child, Command},
    runtime::Handle,
};

use super::{launcher::remove, policy::Early};

/// A launcher that has not been told what to run.
#[derive(Debug)]
pub(super) struct Launcher {
    pub(super) process: Child,
    pub(super) control: UnixStream,
    /// Our ends of its output, and so of the program's.
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    early: Early,
}

impl Launcher {
    /// The groups that it is in.
    pub(super) fn groups(&self) -> Groups {
        let pid = self.process.id();
        let dirs = self.early.groups.iter();
        Groups(dirs.filter_map(|group| Some(group.of(pid?))).collect())
    }
}

/// Groups of a run whose launcher is inside. Leaving them costs as much as entering, so they are
/// removed, by dropping this, once it has ended. The launcher does that itself when the daemon is gone.
#[derive(Debug)]
pub(super) struct Groups(Vec<PathBuf>);

impl Drop for Groups {
    fn drop(&mut self) {
        let groups = std::mem::take(&mut self.0);
        if let (false, Ok(runtime)) = (groups.is_empty(), Handle::try_current()) {
            drop(runtime.spawn_blocking(move || groups.iter().for_each(|dir| remove(dir))));
        }
    }
}

/// Starts launchers, one of them ahead.
#[derive(Debug)]
pub(super) struct Launchers {
    helper: Option<PathBuf>,
    waiting: Mutex<Option<Launcher>>,
}

impl Launchers {
    /// Of this program; of the daemon itself if `None`. Starts nothing yet.
    pub(super) fn new(helper: Option<PathBuf>) -> Self {
        Self {
            helper,
            waiting: Mutex::new(None),
        }
    }

    /// The one that waits, if it is there and lives.
    pub(super) fn waiting(&self, early: &Early) -> Option<Launcher> {
        let mut launcher = self.slot().take()?;
        let lives = matches!(launcher.process.try_wait(), Ok(None));
        (lives && launcher.early == *early).then_some(launcher)
    }

    /// Starts the next one, if none waits. Does not block: the run that was just started has the
    /// processor first.
    pub(super) fn refill(self: &Arc<Self>, early: Early) {
        let launchers = Arc::clone(self);
        let start = move || {
            if launchers.slot().is_some() {
                return;
            }
            match launchers.start(early) {
                Ok(launcher) => *launchers.slot() = Some(launcher),
                // The next run starts its own, and tells what is wrong.
                Err(error) => tracing::debug!("no launcher was started ahead: {error}"),
            }
        };
        drop(tokio::task::spawn_blocking(start));
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Launcher>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts one by `posix_spawn`: nothing here may make the standard library fork, which would
    /// copy the daemon's page tables.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where programs are started"
    )]
    pub(super) fn start(&self, early: Early) -> io::Result<Launcher> {
        let (control, theirs) = UnixStream::pair()?;
        control.set_nonblocking(true)?;
        let (stdout, out) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr, err) = pipe2(OFlag::O_CLOEXEC)?;
        let own = "/proc/self/exe".as_ref();
        let process = Command::new(self.helper.as_deref().unwrap_or(own))
            .args(["__sandbox", &early.argument()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(out))
            .stderr(Stdio::from(err))
            .spawn()?;
        Ok(Launcher {
            process,
            control,
            stdout,
            stderr,
            early,
        })
    }
}
