//! The sandbox, through its public interface: what runs, what is stopped, and that each layer is
//! what stops it.

use std::time::Duration;

use nexflow::sandbox::{Config, End, Job, Mode, Outcome, Sandbox, SandboxError};
use tokio_util::sync::CancellationToken;

fn config() -> Config {
    Config {
        helper: Some(env!("CARGO_BIN_EXE_nexflow").into()),
        ..Config::default()
    }
}

fn bash(script: &str) -> Job {
    Job::new(["/bin/bash", "-c", script])
}

async fn run(job: Job) -> Result<Outcome, SandboxError> {
    Sandbox::new(config())
        .run(job, &CancellationToken::new())
        .await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_runs_and_says_something() {
    let sandbox = Sandbox::new(config());
    eprintln!("{:#?}", sandbox.report().await);
    let outcome = run(bash(
        "echo hello; echo oops >&2; id; ls -la / /tmp /home /proc/self/fd; pwd; env; exit 3",
    ))
    .await
    .unwrap();
    eprintln!(
        "{}\n{}",
        text(&outcome.stdout.bytes),
        text(&outcome.stderr.bytes)
    );
    assert_eq!(outcome.end, End::Exited(3));
    assert_eq!(outcome.mode, Mode::Full);
    assert!(outcome.elapsed < Duration::from_secs(5));
}
