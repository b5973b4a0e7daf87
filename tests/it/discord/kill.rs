//! Killed again and again while many talk: every message gets one answer, counted at Discord.
//!
//! Half of the time the process is killed at any instant, half of it it ends at a named boundary of a
//! delivery or a draft. Answers are short or long: a long one is written slowly, so that it is shown as a
//! draft first, and takes several posts. Some messages are sent while nobody listens. Sometimes Discord
//! forgets its nonces, or makes a post and says that it failed.
//!
//! `NEXFLOW_DISCORD_KILLS` says how often (20), `NEXFLOW_DISCORD_SEED` repeats the choices of a run.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nexflow::fail::Point;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::Value;

use super::{Stage, said};
use crate::support::{
    PATIENCE,
    discord::{FRIEND, FRIEND_DM, GARDEN, GENERAL, ME, OWNER, OWNER_DM, THREAD},
    model::Act,
};

/// Where somebody talks, and who.
const TALK: [(&str, &str); 5] = [
    (OWNER_DM, OWNER),
    (FRIEND_DM, FRIEND),
    (GENERAL, FRIEND),
    (GARDEN, OWNER),
    (THREAD, FRIEND),
];
/// Where the process ends, and at which pass at most.
const POINTS: [(Point, u32); 12] = [
    (Point::PartPosted, 4),
    (Point::PartWritten, 4),
    (Point::PartCommitted, 4),
    (Point::DraftBegun, 2),
    (Point::DraftPosted, 2),
    (Point::DraftCommitted, 2),
    (Point::OutboxTaken, 2),
    (Point::OutboxSent, 2),
    (Point::OutboxWritten, 2),
    (Point::OutboxCommitted, 2),
    (Point::AcceptCommitted, 3),
    (Point::FinishCommitted, 2),
];
/// What is answered to a message that the daemon was killed over too often.
const GAVE_UP: &str = "stopped several times";
/// How long a boundary may take to be reached; after it the process is killed where it is.
const REACHED: Duration = Duration::from_secs(8);
/// Waits for the last answers.
const DRAIN: Duration = Duration::from_mins(4);
/// Lines of a long answer: they take several posts.
const LINES: usize = 60;
/// A draft's flag.
const NO_PREVIEWS: u64 = 1 << 2;

#[expect(
    clippy::disallowed_methods,
    reason = "how long to torture is for who runs it"
)]
fn given<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

fn begins(name: &str) -> String {
    format!("answer to {name} begins.")
}

fn ends(name: &str) -> String {
    format!("{name} ends.")
}

fn line(name: &str, n: usize) -> String {
    format!("{name} line {n}:")
}

/// Answers to the name that the last message holds.
fn think(request: &Value) -> Act {
    let messages = request["messages"].as_array().unwrap();
    let asked = messages.iter().rfind(|m| m["role"] == "user").unwrap();
    let text = asked["content"].to_string();
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let name = words
        .rfind(|word| word.starts_with("name-"))
        .unwrap_or("nobody");
    let long = text
        .rsplit(name)
        .next()
        .is_some_and(|t| t.contains("at length"));
    let mut answer = format!("{}\n\n", begins(name));
    if long {
        for n in 0..LINES {
            answer.push_str(&format!("- {} {}\n", line(name, n), "word ".repeat(12)));
        }
        answer.push('\n');
    }
    answer.push_str(&ends(name));
    // About two seconds for a long one.
    Act::Slowly(answer, Duration::from_millis(2))
}

/// A message that somebody sent.
struct Told {
    channel: &'static str,
    id: String,
    name: String,
    long: bool,
}

struct Torture {
    stage: Stage,
    random: StdRng,
    told: Vec<Told>,
    /// Sent while nobody listened.
    down: usize,
    /// At any instant.
    anywhere: u32,
    at: BTreeMap<&'static str, u32>,
}

impl Torture {
    fn say(&mut self, (channel, user): (&'static str, &str), long: bool) {
        let name = format!("name-{:04}", self.told.len());
        let mention = if [GENERAL, THREAD].contains(&channel) {
            format!("<@{ME}> ")
        } else {
            String::new()
        };
        let how = if long { "at length" } else { "briefly" };
        let text = format!("{mention}tell {name} {how}");
        let id = self.stage.discord.say(channel, user, &text);
        self.told.push(Told {
            channel,
            id,
            name,
            long,
        });
    }

    /// Somebody says something somewhere.
    fn chat(&mut self) {
        let place = *TALK.choose(&mut self.random).unwrap();
        let long = self.random.random_bool(0.4);
        self.say(place, long);
    }

    async fn pause(&mut self, most_ms: u64) {
        let pause = self.random.random_range(0..most_ms);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    /// Discord misbehaves a little too.
    fn mischief(&mut self) {
        if self.random.random_bool(0.5) {
            self.stage.discord.forget_nonces();
        }
        let lost = u32::from(self.random.random_bool(0.15));
        self.stage.discord.mood(|mood| mood.made_and_lost = lost);
    }

    /// Starts it with a boundary armed or none; returns when it listens, or has ended already.
    async fn launch(&mut self, armed: Option<(Point, u32)>) {
        let armed = armed.map(|(point, nth)| {
            (
                "NEXFLOW_FAILPOINT".to_owned(),
                format!("{}:{nth}", point.name()),
            )
        });
        self.stage.daemon.environment = armed.into_iter().collect();
        let sessions = self.stage.discord.sessions().0;
        self.stage.daemon.begin(&[]);
        let began = Instant::now();
        while self.stage.discord.sessions().0 == sessions && self.stage.daemon.ended().is_none() {
            assert!(began.elapsed() < PATIENCE, "it never listened");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// One life of the daemon.
    async fn live(&mut self) {
        let armed = self.random.random_bool(0.5).then(|| {
            let (point, most) = *POINTS.choose(&mut self.random).unwrap();
            (point, self.random.random_range(1..=most))
        });
        self.mischief();
        self.launch(armed).await;
        for _ in 0..self.random.random_range(1..4) {
            self.chat();
            self.pause(60).await;
        }
        let ended = match armed {
            Some((point, _)) => {
                // Something that will pass the boundary.
                let place = *TALK.choose(&mut self.random).unwrap();
                self.say(place, true);
                self.ends_at(point).await
            }
            None => false,
        };
        if !ended {
            if armed.is_none() {
                self.pause(2500).await;
            }
            self.anywhere += 1;
        }
        self.stage.daemon.kill();
        for _ in 0..self.random.random_range(0..3) {
            self.chat();
            self.down += 1;
        }
    }

    /// Waits until the process ended by itself; whether it did.
    async fn ends_at(&mut self, point: Point) -> bool {
        let began = Instant::now();
        while began.elapsed() < REACHED {
            if self.stage.daemon.ended().is_some() {
                *self.at.entry(point.name()).or_default() += 1;
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_has_one_answer_however_often_it_is_killed() {
    let kills: u32 = given("NEXFLOW_DISCORD_KILLS").unwrap_or(20);
    let seed: u64 = given("NEXFLOW_DISCORD_SEED").unwrap_or_else(rand::random);
    eprintln!("Discord: {kills} kills, seed {seed}");
    let rest = "delivery: { max_attempts: 1000 }\nturns: { when_busy: queue }\nlogging: { level: warn }\nserver: { port: 0, safe_mode_after: 0 }\n";
    let rooms = format!("rooms: {{ '{GARDEN}': {{ always_answer: true }} }}");
    let stage = Stage::with([Act::Think(think)], &rooms, rest).await;
    stage
        .discord
        .mood(|mood| mood.window = (20, Duration::from_millis(400)));
    let mut torture = Torture {
        stage,
        random: StdRng::seed_from_u64(seed),
        told: Vec::new(),
        down: 0,
        anywhere: 0,
        at: BTreeMap::new(),
    };
    // Direct conversations must be known before the first kill: Discord does not list them.
    for place in [TALK[0], TALK[1]] {
        torture.say(place, false);
        torture.stage.discord.posted(place.0, 1).await;
    }
    torture.stage.daemon.kill();
    let began = Instant::now();
    for n in 0..kills {
        torture.live().await;
        if n % 20 == 19 {
            eprintln!("Discord: {} kills in {:.0?}", n + 1, began.elapsed());
        }
    }
    let killing = began.elapsed();
    torture.launch(None).await;
    settle(&torture, (kills, killing)).await;
}

/// Waits for the last answers and counts.
async fn settle(torture: &Torture, (kills, killing): (u32, Duration)) {
    let drained = Instant::now();
    let mut counts = Counts::of(torture);
    while !counts.are_right() && drained.elapsed() < DRAIN {
        tokio::time::sleep(Duration::from_millis(500)).await;
        counts = Counts::of(torture);
    }
    let drained = drained.elapsed();
    // What comes twice, comes soon.
    tokio::time::sleep(Duration::from_secs(3)).await;
    counts = Counts::of(torture);
    let long = torture.told.iter().filter(|told| told.long).count();
    eprintln!(
        "Discord: {kills} kills in {killing:.0?}, {} at any instant, {:?}; {} messages, {long} answered at length, {} sent while it was down; {} answered once, {} of them told that it was given up; {} lost, {} twice or torn, {} drafts left; the last answers took {drained:.0?}",
        torture.anywhere,
        torture.at,
        torture.told.len(),
        torture.down,
        counts.once,
        counts.given_up,
        counts.lost,
        counts.odd,
        counts.left,
    );
    let log = torture.stage.daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    if !counts.are_right() {
        // What is on its way says more than what is not there.
        let owner = torture.stage.daemon.owner();
        let outbox = owner.get("/api/v1/outbox").await.ok();
        eprintln!("{outbox:#}\n{log}");
    }
    assert!(counts.are_right(), "{:#?}", counts.notes);
    assert_eq!(counts.once, torture.told.len());
    assert!(
        counts.given_up * 2 < torture.told.len(),
        "most were given up, so little was tested"
    );
    assert!(
        torture.anywhere > 0 && !torture.at.is_empty() || kills < 10,
        "it was not killed in both ways"
    );
}

#[derive(Debug, Default)]
struct Counts {
    /// One whole answer.
    once: usize,
    /// Of those, told that it was given up.
    given_up: usize,
    /// None.
    lost: usize,
    /// More than one, or pieces.
    odd: usize,
    /// Drafts that nothing took the place of, and whatever else is no answer.
    left: usize,
    notes: Vec<String>,
}

impl Counts {
    fn of(torture: &Torture) -> Self {
        let mut counts = Self::default();
        let discord = &torture.stage.discord;
        let texts: BTreeMap<&str, String> = TALK
            .iter()
            .map(|(channel, _)| {
                let texts: Vec<String> = discord.posts(channel).iter().map(said).collect();
                (*channel, texts.join("\n"))
            })
            .collect();
        for told in &torture.told {
            counts.count(told, &texts[told.channel], &discord.posts(told.channel));
        }
        for (channel, _) in TALK {
            for post in discord.posts(channel) {
                let text = said(&post);
                let draft = post["flags"].as_u64().unwrap_or_default() & NO_PREVIEWS != 0;
                if draft || !(text.contains("name-") || text.contains(GAVE_UP)) {
                    counts.left += 1;
                    counts.notes.push(format!("left in {channel}: {text}"));
                }
            }
        }
        counts
    }

    fn count(&mut self, told: &Told, text: &str, posts: &[Value]) {
        let name = told.name.as_str();
        let mut marks = vec![begins(name), ends(name)];
        if told.long {
            marks.extend((0..LINES).map(|n| line(name, n)));
        }
        let times: Vec<usize> = marks.iter().map(|m| text.matches(m).count()).collect();
        let gave_up = |post: &&Value| {
            let replies = post["message_reference"]["message_id"] == *told.id;
            replies && said(post).contains(GAVE_UP)
        };
        let given_up = posts.iter().filter(gave_up).count();
        let whole = times.iter().all(|n| *n == 1);
        let nothing = times.iter().all(|n| *n == 0);
        match (whole, nothing, given_up) {
            (true, _, 0) => self.once += 1,
            (_, true, 1) => {
                self.once += 1;
                self.given_up += 1;
            }
            (_, true, 0) => {
                self.lost += 1;
                self.notes
                    .push(format!("{name} in {} is lost", told.channel));
            }
            _ => {
                self.odd += 1;
                self.notes.push(format!(
                    "{name} in {}: {times:?}, given up {given_up} times",
                    told.channel
                ));
            }
        }
    }

    fn are_right(&self) -> bool {
        (self.lost, self.odd, self.left) == (0, 0, 0)
    }
}
