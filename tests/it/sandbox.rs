//! The sandbox, through its public interface: what runs, what is stopped, and that each layer is
//! what stops it.

#![expect(
    clippy::disallowed_methods,
    reason = "controls run the same programs without the sandbox"
)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of test functions"
)]

mod attacks;
mod bombs;
mod daemon;
mod ends;
mod gate;
mod kernel;
mod layers;
mod machines;
mod programs;
mod races;
mod runs;
mod secrets;
mod sockets;
mod stage;

use std::path::PathBuf;

use nexflow::sandbox::{Config, Job, Mode, Outcome, Sandbox, SandboxError};
use tokio_util::sync::CancellationToken;

/// The launcher: the real program, or a copy of it that another user may read.
fn helper() -> PathBuf {
    let copy = std::env::var_os("NEXFLOW_TEST_HELPER");
    copy.map_or_else(|| env!("CARGO_BIN_EXE_nexflow").into(), PathBuf::from)
}

fn config() -> Config {
    Config {
        helper: Some(helper()),
        ..Config::default()
    }
}

fn forced(mode: Mode) -> Config {
    Config {
        force: Some(mode),
        ..config()
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn bash(script: &str) -> Job {
    Job::new(["/bin/bash", "-c", script])
}

async fn run(job: Job) -> Outcome {
    run_in(config(), job).await.unwrap()
}

async fn run_in(config: Config, job: Job) -> Result<Outcome, SandboxError> {
    Sandbox::new(config)
        .run(job, &CancellationToken::new())
        .await
}

fn out(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stdout.bytes).into_owned()
}

fn err(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stderr.bytes).into_owned()
}
