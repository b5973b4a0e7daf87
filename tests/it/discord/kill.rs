//! Killed again and again while many talk: every message gets one answer, counted at Discord.
//!
//! `NEXFLOW_DISCORD_KILLS` says how often (20).

use std::time::{Duration, Instant};

use rand::Rng as _;
use serde_json::Value;

use super::{Stage, said};
use crate::support::{
    discord::{FRIEND, FRIEND_DM, GARDEN, GENERAL, ME, OWNER, OWNER_DM},
    model::Act,
};

const CHANNELS: [&str; 4] = [OWNER_DM, FRIEND_DM, GENERAL, GARDEN];
/// What is answered to a message that the daemon was killed over too often.
const GAVE_UP: &str = "stopped several times";
/// Waits for the last answers.
const DRAIN: Duration = Duration::from_mins(2);

#[expect(
    clippy::disallowed_methods,
    reason = "how long to torture is for who runs it"
)]
fn kills() -> u32 {
    let given = std::env::var("NEXFLOW_DISCORD_KILLS").ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(20)
}

/// Answers to the name that the last message holds.
fn think(request: &Value) -> Act {
    let messages = request["messages"].as_array().unwrap();
    let asked = messages.iter().rfind(|m| m["role"] == "user").unwrap();
    let text = asked["content"].to_string();
    let names: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| word.starts_with("name-"))
        .collect();
    Act::Slowly(
        format!("answer to {} .", names.last().unwrap_or(&"nobody")),
        Duration::from_millis(15),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_has_one_answer_however_often_it_is_killed() {
    let kills = kills();
    let rest =
        "delivery: { max_attempts: 1000 }\nturns: { when_busy: queue }\nlogging: { level: warn }\n";
    let rooms = format!("rooms: {{ '{GARDEN}': {{ always_answer: true }} }}");
    let mut stage = Stage::with([Act::Think(think)], &rooms, rest).await;
    stage
        .discord
        .mood(|mood| mood.window = (20, Duration::from_millis(400)));
    stage.daemon.environment = vec![(
        "NEXFLOW__SERVER__SAFE_MODE_AFTER".to_owned(),
        "0".to_owned(),
    )];
    let mut sent = Vec::new();
    // Direct conversations must be known before the first kill: Discord does not list them.
    for (channel, user) in [(OWNER_DM, OWNER), (FRIEND_DM, FRIEND)] {
        sent.push((channel, say(&stage, channel, user, sent.len())));
        stage.discord.posted(channel, 1).await;
    }
    let began = Instant::now();
    for _ in 0..kills {
        let burst = rand::rng().random_range(1..4);
        for _ in 0..burst {
            let (channel, user) = [
                (OWNER_DM, OWNER),
                (FRIEND_DM, FRIEND),
                (GENERAL, FRIEND),
                (GARDEN, OWNER),
            ][rand::rng().random_range(0..4)];
            sent.push((channel, say(&stage, channel, user, sent.len())));
            let pause = rand::rng().random_range(0..60);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        // Mostly something is answered in between, also on a busy machine: else all is given up.
        if rand::rng().random_bool(0.8) {
            something_is_posted(&stage).await;
        }
        let pause = rand::rng().random_range(0..200);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stage.daemon.kill();
        stage.daemon.launch().await;
    }
    let killing = began.elapsed();
    let drained = Instant::now();
    let mut counts = Counts::of(&stage, &sent);
    while counts.missing > 0 && drained.elapsed() < DRAIN {
        tokio::time::sleep(Duration::from_millis(300)).await;
        counts = Counts::of(&stage, &sent);
    }
    // What comes twice, comes soon.
    tokio::time::sleep(Duration::from_secs(2)).await;
    counts = Counts::of(&stage, &sent);
    eprintln!(
        "Discord: {kills} kills in {killing:.1?}, {} messages: {counts:?}",
        sent.len()
    );
    assert_eq!(
        (counts.missing, counts.twice, counts.left),
        (0, 0, 0),
        "{counts:?}"
    );
    assert!(
        counts.given_up * 2 < sent.len(),
        "most were given up, so little was tested: {counts:?}"
    );
}

/// Waits a little for one more post.
async fn something_is_posted(stage: &Stage) {
    let count = || {
        let posts = CHANNELS
            .iter()
            .map(|channel| stage.discord.posts(channel).len());
        posts.sum::<usize>()
    };
    let (before, began) = (count(), Instant::now());
    while count() == before && began.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The name that it holds, and its id.
fn say(stage: &Stage, channel: &str, user: &str, n: usize) -> (String, String) {
    let name = format!("name-{n}");
    let mention = if channel == GENERAL {
        format!("<@{ME}> ")
    } else {
        String::new()
    };
    let text = format!("{mention}hello {name}");
    let id = stage.discord.say(channel, user, &text);
    (name, id)
}

#[derive(Debug, Default)]
struct Counts {
    once: usize,
    twice: usize,
    /// Of those that have one, told that it was given up.
    given_up: usize,
    missing: usize,
    /// Posts that are no answer: drafts that nothing took the place of.
    left: usize,
    notes: Vec<String>,
}

impl Counts {
    fn of(stage: &Stage, sent: &[(&str, (String, String))]) -> Self {
        let mut counts = Self::default();
        for (channel, (name, id)) in sent {
            let answer = format!("answer to {name} .");
            let posts = stage.discord.posts(channel);
            let gave_up = |post: &&Value| {
                let replies = post["message_reference"]["message_id"] == *id;
                replies && said(post).contains(GAVE_UP)
            };
            let given_up = posts.iter().filter(gave_up).count();
            let answered = posts.iter().filter(|post| said(post).contains(&answer));
            let given = answered.count() + given_up;
            counts.given_up += given_up;
            match given {
                0 => counts.missing += 1,
                1 => counts.once += 1,
                _ => counts.twice += 1,
            }
            if given != 1 {
                counts.notes.push(format!("{name} in {channel}: {given}"));
            }
        }
        for channel in CHANNELS {
            for post in stage.discord.posts(channel) {
                let text = said(&post);
                let answer = text.contains("answer to name-") && text.trim_end().ends_with('.');
                if !answer && !text.contains(GAVE_UP) {
                    counts.left += 1;
                    counts.notes.push(format!("left in {channel}: {text}"));
                }
            }
        }
        counts
    }
}
