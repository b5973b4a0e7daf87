//! The same at each named boundary in turn: the process ends there, or stands still there for a while.

use std::time::{Duration, Instant};

use nexflow::fail::Point;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use super::{
    senders::insist,
    world::{World, many_starts},
};
use crate::support::eventually;

/// How long a boundary may take to be reached.
const PATIENCE: Duration = Duration::from_secs(10);

fn arm(world: &mut World, wanted: Option<String>) {
    let variable = |value| ("NEXFLOW_FAILPOINT".to_owned(), value);
    let plans = wanted
        .as_ref()
        .is_some_and(|point| point.starts_with("plan."));
    let armed = wanted.map(variable);
    let plan = plans.then(|| ("NEXFLOW__APPROVALS__PLAN".to_owned(), "true".to_owned()));
    world.daemon.environment = armed
        .into_iter()
        .chain(plan)
        .chain([many_starts()])
        .collect();
}

fn by_schedule(point: Point) -> bool {
    matches!(point, Point::FireWritten | Point::FireCommitted)
}

fn after_a_restart(point: Point) -> bool {
    matches!(point, Point::ResumeWritten | Point::ResumeCommitted)
}

/// Waits until the process ended by itself.
async fn dies(world: &mut World, point: Point) {
    let began = Instant::now();
    while world.daemon.ended().is_none() {
        assert!(
            began.elapsed() < PATIENCE,
            "{} is not reached",
            point.name()
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until the process stands still.
async fn stands_still(world: &mut World, point: Point) {
    let began = Instant::now();
    let file = format!("/proc/{}/stat", world.daemon.pid());
    while !std::fs::read_to_string(&file).unwrap().contains(") T ") {
        assert!(
            began.elapsed() < PATIENCE,
            "{} is not reached",
            point.name()
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A message of each kind on its way through the boundary, and what it takes to get it there.
async fn through(world: &mut World, (point, n): (Point, usize), pause: bool) {
    let name = format!("w-{n}");
    let verb = match point.name().split_once('.').unwrap().0 {
        "park" | "decide" | "unpark" | "take" => "asks",
        "plan" => "planned",
        _ if n.is_multiple_of(2) => "both",
        _ => "chain",
    };
    let text = format!("{verb} {name}");
    world.daemon.kill();
    let shared = std::sync::Arc::clone(&world.shared);
    let mut sending = tokio::task::JoinSet::new();
    if after_a_restart(point) {
        arm(world, Some(Point::CallsCommitted.name().to_owned()));
        world.launch().await;
        insist(&shared, "ada", &name, &text).await;
        dies(world, Point::CallsCommitted).await;
    }
    let nth = if pause { ":1:pause" } else { "" };
    arm(world, Some(format!("{}{nth}", point.name())));
    if after_a_restart(point) {
        // It may end before it is ready.
        world.daemon.begin(&[]);
    } else {
        world.launch().await;
        if by_schedule(point) {
            let job = json!({ "when": "in 1 second", "prompt": format!("chain s-{n}-{pause}") });
            world
                .daemon
                .owner()
                .post("/api/v1/schedules", job)
                .await
                .ok();
        }
        let (shared, name) = (std::sync::Arc::clone(&shared), name.clone());
        sending.spawn(async move { insist(&shared, "ada", &name, &text).await });
    }
    if pause {
        stands_still(world, point).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        kill(world.daemon.pid(), Signal::SIGCONT).unwrap();
        if after_a_restart(point) {
            world.daemon.kill();
            arm(world, None);
            world.launch().await;
        }
    } else {
        dies(world, point).await;
        arm(world, None);
        world.launch().await;
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    eventually("its answer arrived and nothing runs", || {
        at_rest(world, &name)
    })
    .await;
}

/// The next boundary is for the next message alone.
async fn at_rest(world: &World, name: &str) -> bool {
    let id = world.shared.accepted.lock().unwrap()[name].0.clone();
    let owner = world.daemon.owner();
    let trace = owner
        .get(&format!("/api/v1/messages/{id}/trace"))
        .await
        .ok();
    let stages = trace["stages"].as_array().unwrap();
    let delivered = |s: &Value| s["stage"] == "outbox" && s["status"] == "delivered";
    let sessions = owner.get("/api/v1/sessions").await.ok();
    let sessions = sessions["sessions"].as_array().unwrap();
    let waits = owner.get("/api/v1/schedules").await.ok();
    stages.iter().any(delivered)
        && sessions.iter().all(|s| s["running"] == false)
        && waits["schedules"].as_array().unwrap().is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_boundary_can_be_the_last() {
    let mut world = World::start(1).await;
    world.shared.receiver.behave();
    let _decider = world.decide();
    let began = Instant::now();
    let mut n = 0;
    // A webhook has no posts.
    let points = Point::ALL.iter().filter(|point| !point.is_of_posts());
    for point in points.clone() {
        for pause in [false, true] {
            n += 1;
            through(&mut world, (*point, n), pause).await;
        }
    }
    // What the schedules asked for was done once each.
    let counts = world.settle().await;
    eprintln!(
        "{} boundaries, each as the last and as a pause, in {:.1?}: {counts}",
        points.count(),
        began.elapsed()
    );
    counts.must_be_right();
    assert!(counts.denied > 0 && counts.noticed > 0, "{counts}");
    assert_eq!(counts.accepted, n);
}
