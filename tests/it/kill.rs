//! Killed again and again at any instant: what was accepted gets one answer, and no side effect
//! happens twice or goes missing unsaid. Counted where the answers arrive.
//!
//! `NEXFLOW_KILLS` says how often (200), `NEXFLOW_SEED` repeats a run.

mod count;
#[cfg(feature = "failpoints")]
mod points;
mod receiver;
mod senders;
mod world;

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use world::World;

/// People at the webhook, and pages at the WebSocket.
const PEOPLE: (usize, usize) = (6, 3);

#[expect(
    clippy::disallowed_methods,
    reason = "how long to torture is for who runs it"
)]
fn wanted(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_happens_twice() {
    let kills = wanted("NEXFLOW_KILLS").unwrap_or(200);
    let seed = wanted("NEXFLOW_SEED").unwrap_or_else(rand::random);
    eprintln!("kill harness: NEXFLOW_SEED={seed} NEXFLOW_KILLS={kills}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::start(seed).await;
    let _decider = world.decide();
    let senders = world.send_until_stopped(PEOPLE);
    let (began, mut pauses) = (Instant::now(), 0);
    for _ in 0..kills {
        // Mostly something arrives in between, also on a busy machine: else all is given up.
        if random.random_bool(0.8) {
            world.something_arrives().await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..200))).await;
        if random.random_bool(0.1) {
            pauses += 1;
            pause(&world, Duration::from_millis(random.random_range(10..150))).await;
        }
        world.daemon.kill();
        if random.random_bool(0.1) {
            // Also while it starts.
            world.daemon.begin(&[]);
            tokio::time::sleep(Duration::from_micros(random.random_range(0..25_000))).await;
            world.daemon.kill();
        }
        world.launch().await;
    }
    world.stop_sending(senders).await;
    let killing = began.elapsed();
    let counts = world.settle().await;
    eprintln!(
        "kill harness: {kills} kills and {pauses} pauses in {killing:.1?} (seed {seed}): {counts}"
    );
    counts.must_be_right();
    assert!(
        counts.denied > 0 && counts.decisions > counts.denied,
        "too little was decided: {counts}"
    );
    assert!(
        counts.given_up * 2 < counts.accepted,
        "most messages were given up, so little was tested: {counts}"
    );
}

/// Nothing of it runs for a moment.
async fn pause(world: &World, long: Duration) {
    kill(world.daemon.pid(), Signal::SIGSTOP).unwrap();
    tokio::time::sleep(long).await;
    kill(world.daemon.pid(), Signal::SIGCONT).unwrap();
}
