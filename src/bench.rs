//! `nexflow bench`: starts a model server and a daemon of its own on loopback, and prints what they
//! do. The figures are of this machine, at this moment.
#![expect(clippy::print_stdout, reason = "a command that prints a table")]

mod model;
mod platforms;
mod providers;
mod recovery;
mod rig;
mod sandbox;
mod server;
mod soak;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::try_join_all;

use model::Model;
use rig::Rig;

/// What can be measured, by name.
pub const NAMES: &[&str] = &[
    "start",
    "latency",
    "throughput",
    "providers",
    "platforms",
    "sandbox",
    "recovery",
    "leftovers",
    "soak",
];

/// Starts of the daemon.
const STARTS: usize = 10;
/// Messages sent one after the other.
const MESSAGES: usize = 200;
/// Sessions side by side, and messages in each.
const SESSIONS: (usize, usize) = (50, 20);

/// Measures one thing, or everything.
pub async fn run(name: Option<&str>) -> anyhow::Result<()> {
    if let Some(name) = name.filter(|n| !NAMES.contains(n)) {
        anyhow::bail!(
            "there is no benchmark `{name}`; there are {}",
            NAMES.join(", ")
        );
    }
    println!("{:<46} {:>12} {:>12}   aim", "", "p50", "p95");
    messages(name).await?;
    daemon(name).await
}

fn wanted(name: Option<&str>, this: &str) -> bool {
    name.is_none_or(|n| n == this)
}

/// What a message takes.
async fn messages(name: Option<&str>) -> anyhow::Result<()> {
    let wanted = |this| wanted(name, this);
    if wanted("start") {
        start().await?;
    }
    if wanted("latency") {
        latency().await?;
    }
    if wanted("throughput") {
        throughput().await?;
    }
    if wanted("providers") {
        providers::run().await?;
    }
    if wanted("platforms") {
        platforms::run().await?;
    }
    Ok(())
}

/// What stands around it.
async fn daemon(name: Option<&str>) -> anyhow::Result<()> {
    let wanted = |this| wanted(name, this);
    if wanted("sandbox") {
        sandbox::all().await?;
    }
    if name == Some("leftovers") {
        sandbox::leftovers().await?;
    }
    if wanted("recovery") {
        recovery::run().await?;
    }
    // Takes minutes and writes a file: only when it is asked for.
    if name == Some("soak") {
        soak::run().await?;
    }
    Ok(())
}

async fn start() -> anyhow::Result<()> {
    let model = Model::start().await?;
    let (mut first, mut again, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let mut rig = Rig::start(&model.url).await?;
        first.push(rig.ready_after);
        tokio::time::sleep(Duration::from_millis(300)).await;
        memory.push(rig.memory_kb()?);
        rig.restart().await?;
        again.push(rig.ready_after);
    }
    row("start to ready, empty data directory", &first, "");
    row("start to ready", &again, "< 50 ms");
    memory.sort_unstable();
    let idle = memory.get(memory.len() / 2).copied().unwrap_or_default();
    line("idle memory (resident)", &megabytes(idle * 1024), "< 30 MB");
    let binary = std::fs::metadata(std::env::current_exe()?)?.len();
    line("binary", &megabytes(binary), "< 30 MB");
    Ok(())
}

async fn latency() -> anyhow::Result<()> {
    let model = Model::start().await?;
    let rig = Rig::start(&model.url).await?;
    let (mut before, mut after, mut added, mut first) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut session = None;
    for n in 0..MESSAGES + 10 {
        let sent = Instant::now();
        let seen = rig.chat(&mut session, "how are you?").await?;
        let (called, answered) = model.last().context("the model was not called")?;
        // The first few warm up connections and caches.
        if n >= 10 {
            before.push(called - sent);
            after.push(seen.completed - answered);
            added.push((called - sent) + (seen.completed - answered));
            first.push(seen.first_text - sent);
        }
    }
    row("message sent to model called", &before, "");
    row("model answered to answer delivered", &after, "");
    row("added latency per message", &added, "p50 < 5 ms");
    row("time to first token", &first, "");
    Ok(())
}

async fn throughput() -> anyhow::Result<()> {
    let model = Model::start().await?;
    let rig = Rig::start(&model.url).await?;
    let began = Instant::now();
    let talks = (0..SESSIONS.0).map(|_| async {
        let mut session = None;
        for _ in 0..SESSIONS.1 {
            rig.ask(&mut session, "how are you?").await?;
        }
        anyhow::Ok(())
    });
    try_join_all(talks).await?;
    let messages = u32::try_from(SESSIONS.0 * SESSIONS.1)?;
    let rate = f64::from(messages) / began.elapsed().as_secs_f64();
    line(
        "messages per second, 50 sessions",
        &format!("{rate:.0}"),
        "> 500",
    );
    line(
        "memory after that (resident)",
        &megabytes(rig.memory_kb()? * 1024),
        "",
    );
    Ok(())
}

fn row(name: &str, times: &[Duration], aim: &str) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
    };
    let show = |time: Option<&Duration>| {
        time.map_or_else(String::new, |t| {
            format!("{:.2} ms", t.as_secs_f64() * 1000.0)
        })
    };
    println!(
        "{name:<46} {:>12} {:>12}   {aim}",
        show(at(50)),
        show(at(95))
    );
}

fn line(name: &str, value: &str, aim: &str) {
    println!("{name:<46} {value:>12} {:>12}   {aim}", "");
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let value = bytes as f64 / f64::from(1 << 20);
    format!("{value:.1} MB")
}
