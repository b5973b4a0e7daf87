//! How long it takes after `kill -9` until unfinished turns go on, and until all are answered.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{line, model::Model, rig::Rig, row};

/// Turns that are cut off.
const TURNS: usize = 1000;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(5);

pub(super) async fn run() -> anyhow::Result<()> {
    // Each turn holds a connection to the model.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let model = Model::start().await?;
    model.reset(true);
    let all = format!("turns: {{ max_parallel: {TURNS}, max_parallel_per_user: {TURNS} }}\n");
    let mut rig = Rig::with(&model.url, &all).await?;
    stream::iter(0..TURNS)
        .map(|_| rig.tell("how are you?"))
        .buffer_unordered(32)
        .try_collect::<()>()
        .await?;
    until("every turn began", async || Ok(model.calls().0 >= TURNS)).await?;
    rig.configure(&model.url, "")?;
    model.reset(false);
    let began = Instant::now();
    rig.restart().await?;
    until("the first turn went on", async || Ok(model.calls().0 > 0)).await?;
    let first = model.calls().1.context("the model was not called")?;
    until("all are answered", async || Ok(rig.backlog().await? == 0)).await?;
    let took = began.elapsed();
    row(
        &format!("start to ready, {TURNS} unfinished turns"),
        &[rig.ready_after],
        "",
    );
    row(
        "start to the first turn going on",
        &[first - began],
        "< 2000 ms",
    );
    line(
        "all answered after",
        &format!("{:.2} s", took.as_secs_f64()),
        "",
    );
    let called = model.calls().0;
    line(
        "model calls for them",
        &called.to_string(),
        &format!("{TURNS}"),
    );
    Ok(())
}

async fn until(
    what: &str,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while !holds().await? {
        anyhow::ensure!(began.elapsed() < PATIENCE, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
