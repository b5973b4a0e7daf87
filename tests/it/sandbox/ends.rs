//! How runs end: by time, by a person, with the daemon, and always completely.

use std::{
    fs,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nexflow::sandbox::{End, Job, Limits, Live, Mode, Sandbox, SandboxError};
use tokio_util::sync::CancellationToken;

use super::{config, forced, run_in};

fn limits(milliseconds: u64) -> Limits {
    Limits {
        wall: Duration::from_millis(milliseconds),
        ..Limits::default()
    }
}

/// A script whose sleeps are told from those of other test runs on the machine.
fn own(script: &str) -> String {
    of(script, std::process::id())
}

fn of(script: &str, process: u32) -> String {
    script.replace("000", &format!("000.{process}"))
}

fn bash(script: &str) -> Job {
    super::bash(&own(script))
}

/// Processes whose command line says this.
fn processes(marker: &str) -> Vec<String> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(marker)
        })
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// They are gone, or go at once.
pub(super) fn assert_none_left(marker: &str) {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let left = processes(marker);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left: {left:?}");
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_ends_when_its_time_is_up() {
    for mode in [Mode::Full, Mode::Degraded] {
        let mut job = bash(
            "trap '' TERM INT HUP; (setsid sleep 7000 &) ; (sleep 7000 & disown) & sleep 7000",
        );
        job.limits = limits(300);
        let outcome = run_in(forced(mode), job).await.unwrap();
        assert_eq!(outcome.end, End::TimedOut);
        assert!(
            outcome.elapsed < Duration::from_millis(800),
            "{:?}",
            outcome.elapsed
        );
        assert_none_left(&own("sleep 7000"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_ends_when_it_is_cancelled() {
    for mode in [Mode::Full, Mode::Degraded] {
        let cancel = CancellationToken::new();
        let (live, mut pieces) = tokio::sync::mpsc::channel(8);
        let mut job = bash("echo here; (setsid sleep 8000 &); sleep 8000");
        job.live = Some(live);
        let sandbox = Sandbox::new(forced(mode));
        let running = sandbox.run(job, &cancel);
        let stop = async {
            let Live { text, .. } = pieces.recv().await.unwrap();
            assert_eq!(text, b"here\n");
            cancel.cancel();
            Instant::now()
        };
        let (outcome, asked) = tokio::join!(running, stop);
        assert_eq!(outcome.unwrap().end, End::Cancelled);
        assert!(
            asked.elapsed() < Duration::from_millis(500),
            "{:?}",
            asked.elapsed()
        );
        assert_none_left(&own("sleep 8000"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_leaves_behind_goes_with_it() {
    for mode in [Mode::Full, Mode::Degraded] {
        let job = bash("(setsid sleep 6000 >/dev/null 2>&1 &); sleep 6000 & exit 5");
        let outcome = run_in(forced(mode), job).await.unwrap();
        assert_eq!(outcome.end, End::Exited(5));
        assert!(outcome.elapsed < Duration::from_secs(2));
        assert_none_left(&own("sleep 6000"));
    }
}

fn status(pid: &str, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(field)).unwrap();
    line.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_ends_with_its_launcher() {
    let (live, mut pieces) = tokio::sync::mpsc::channel(8);
    let mut job = bash("(setsid sleep 3000 &); echo here; exec sleep 3000");
    job.live = Some(live);
    let sandbox = Sandbox::new(forced(Mode::Full));
    let cancel = CancellationToken::new();
    let running = sandbox.run(job, &cancel);
    let kill = async {
        pieces.recv().await.unwrap();
        let daemon = std::process::id().to_string();
        let program = processes(&own("sleep 3000")).into_iter().next().unwrap();
        let mut launcher = program;
        while status(&launcher, "PPid:") != daemon {
            launcher = status(&launcher, "PPid:");
        }
        assert!(
            Command::new("kill")
                .args(["-9", &launcher])
                .status()
                .unwrap()
                .success()
        );
    };
    let (outcome, ()) = tokio::join!(running, kill);
    assert!(
        matches!(outcome, Err(SandboxError::Start { .. })),
        "{outcome:?}"
    );
    assert_none_left(&own("sleep 3000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_run_ends() {
    let sandbox = Sandbox::new(config());
    sandbox.report().await;
    let cancel = CancellationToken::new();
    let running = sandbox.run(bash("sleep 5000"), &cancel);
    let short = tokio::time::timeout(Duration::from_millis(200), running).await;
    assert!(short.is_err());
    assert_none_left(&own("sleep 5000"));
}

/// Not a test by itself: the daemon that `the_tree_ends_with_the_daemon` kills.
#[tokio::test]
async fn daemon_to_be_killed() {
    let Some(mode) = std::env::var_os("NEXFLOW_TEST_DAEMON") else {
        return;
    };
    let mode = if mode == "full" {
        Mode::Full
    } else {
        Mode::Degraded
    };
    let mut job = bash("echo started >&3; (setsid sleep 9000 &); sleep 9000");
    job.fds = vec![(3, std::io::stderr().try_clone_to_owned())];
    drop(run_in(forced(mode), job).await);
}

trait OwnedStream {
    fn try_clone_to_owned(&self) -> OwnedFd;
}

impl OwnedStream for std::io::Stderr {
    fn try_clone_to_owned(&self) -> OwnedFd {
        use std::os::fd::AsFd as _;
        self.as_fd().try_clone_to_owned().unwrap()
    }
}

#[test]
fn the_tree_ends_with_the_daemon() {
    for mode in ["full", "degraded"] {
        let mut daemon = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "sandbox::ends::daemon_to_be_killed",
                "--nocapture",
            ])
            .env("NEXFLOW_TEST_DAEMON", mode)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 8];
        daemon.stderr.take().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"started\n");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        assert_none_left(&of("sleep 9000", daemon.id()));
    }
}
