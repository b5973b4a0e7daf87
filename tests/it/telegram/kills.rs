//! The daemon is killed again and again while people write and long answers are shown as they are
//! written: at any instant, and at each boundary that a post passes. What Telegram then shows is counted:
//! each message has one answer, whole and in order, and nothing else is there.
//!
//! `NEXFLOW_TELEGRAM_KILLS` says how often (20; the acceptance run does 200), `SEED` with which luck.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nexflow::fail::Point;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use crate::support::{
    Daemon,
    model::{Act, Model, names_asked},
    telegram::{Fake, Trick},
};

const CHATS: std::ops::Range<i64> = 1000..1006;
/// Lines of a long answer: three posts of them.
const LINES: usize = 240;
/// How long a boundary may take to be reached before the process is killed where it is.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a boundary is tried that was not reached.
const TRIES: usize = 4;

/// Boundaries of deliveries and drafts, and how often one is passed before it is the last.
const POINTS: &[(Point, u32)] = &[
    (Point::DraftBegun, 1),
    (Point::DraftPosted, 1),
    (Point::DraftCommitted, 1),
    (Point::PartPosted, 1),
    (Point::PartPosted, 2),
    (Point::PartWritten, 2),
    (Point::PartCommitted, 1),
    (Point::PartCommitted, 2),
    (Point::PartPosted, 3),
    (Point::OutboxTaken, 1),
    (Point::OutboxSent, 1),
    (Point::OutboxCommitted, 1),
    (Point::FinishCommitted, 1),
    (Point::AcceptCommitted, 2),
];

#[expect(
    clippy::disallowed_methods,
    reason = "how to torture is for who runs it"
)]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Says of each message that is asked about what [`pieces`] wants: a long one slowly.
fn answer(request: &Value) -> Act {
    let names = names_asked(request, &["msg", "long"]);
    let said: Vec<String> = names.iter().map(|name| pieces(name).join("  \n")).collect();
    let pause = if said.iter().any(|text| text.len() > 1000) {
        Duration::from_millis(6)
    } else {
        Duration::ZERO
    };
    Act::Slowly(said.join("\n\n"), pause)
}

/// The words of a message's answer.
fn pieces(name: &str) -> Vec<String> {
    if name.starts_with("long") {
        (0..LINES)
            .map(|n| format!("{name}.{n:03}-of-many-lines-of-a-long-answer"))
            .collect()
    } else {
        vec![name.to_owned()]
    }
}

/// What people said, and what went wrong with the process.
struct World {
    fake: Fake,
    daemon: Daemon,
    random: StdRng,
    /// By chat, the ids and names of messages.
    said: BTreeMap<i64, Vec<(i64, String)>>,
    /// How often each boundary was the last.
    reached: BTreeMap<String, usize>,
    instants: usize,
    missed: usize,
}

impl World {
    /// Some people write; one wants a long answer, if that is asked for.
    fn write(&mut self, most: usize, long: bool) {
        let count = self.random.random_range(1..=most);
        for n in 0..count {
            let chat = self.random.random_range(CHATS);
            let long = if n == 0 {
                long
            } else {
                self.random.random_bool(0.1)
            };
            let names = self.said.entry(chat).or_default();
            let kind = if long { "long" } else { "msg" };
            let name = format!("{kind}{chat}x{:04}", names.len());
            names.push((self.fake.say(chat, &name), name));
        }
        for (method, chance) in [("sendMessage", 0.1), ("editMessageText", 0.1)] {
            if self.random.random_bool(chance) {
                self.fake.trick(method, 1, &Trick::DoneThenCut);
            }
        }
    }

    /// Ends the process at a boundary, or where it is if it does not get there: with bad luck the draft that
    /// was to get there waits for an earlier answer, or its post was cut off. Tells which.
    async fn die_at(&mut self, (point, nth): (Point, u32)) -> bool {
        self.daemon.environment = vec![(
            "NEXFLOW_FAILPOINT".to_owned(),
            format!("{}:{nth}", point.name()),
        )];
        // It may end before it is ready.
        self.daemon.begin(&[]);
        self.daemon.environment.clear();
        let began = Instant::now();
        while self.daemon.ended().is_none() {
            if began.elapsed() > PATIENCE {
                self.daemon.kill();
                self.missed += 1;
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        *self
            .reached
            .entry(format!("{}:{nth}", point.name()))
            .or_default() += 1;
        true
    }

    /// Ends the process at any instant: while it starts, takes in, answers or posts.
    async fn die_sometime(&mut self) {
        self.daemon.begin(&[]);
        let most = [300, 1500, 8000][self.random.random_range(0..3)];
        let pause = Duration::from_millis(self.random.random_range(0..most));
        tokio::time::sleep(pause / 2).await;
        self.write(2, false);
        tokio::time::sleep(pause / 2).await;
        self.daemon.kill();
        self.instants += 1;
    }

    /// Waits until everything that was said has its answer, and nothing is on its way any more.
    async fn settle(&mut self) -> usize {
        let wanted: usize = self.said.values().map(Vec::len).sum();
        // What was cut off often waits up to six minutes for its next try.
        let patience = Duration::from_secs(450 + 3 * wanted as u64);
        let began = Instant::now();
        // What comes twice, comes soon.
        let mut quiet = 0;
        loop {
            let open = self.open().await;
            if open == (0, 0) && self.fake.world().updates.is_empty() {
                quiet += 1;
            } else {
                quiet = 0;
            }
            if quiet > 10 {
                return wanted;
            }
            if began.elapsed() > patience {
                eprintln!("not settled: {open:?} sessions run and answers are on their way");
                return wanted;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Sessions that run, and answers that are on their way.
    async fn open(&self) -> (usize, usize) {
        let owner = self.daemon.owner();
        let sessions = owner.get("/api/v1/sessions").await.ok();
        let outbox = owner.get("/api/v1/outbox").await.ok();
        let running = sessions["sessions"].as_array().unwrap().iter();
        let running = running.filter(|s| s["running"] == true).count();
        (running, outbox["outbox"].as_array().unwrap().len())
    }

    /// What Telegram shows now.
    fn counted(&self) -> Counts {
        let mut counts = Counts::default();
        for (chat, names) in &self.said {
            let posts = self.fake.posts(*chat);
            let known = |word: &str| {
                names
                    .iter()
                    .any(|(_, name)| word.starts_with(name.as_str()))
            };
            let (gave_up, posts): (Vec<_>, Vec<_>) =
                posts.iter().partition(|post| text(post).contains(GAVE_UP));
            let (posts, others): (Vec<&Value>, Vec<&Value>) = posts
                .into_iter()
                .partition(|post| text(post).split_whitespace().all(known));
            let (whispers, others): (Vec<&Value>, Vec<&Value>) =
                others.into_iter().partition(|post| text(post) == WHISPER);
            counts.whispers += whispers.len();
            let marked = |post: &&&Value| post["text"].as_str().is_some_and(|t| t.ends_with(AGAIN));
            counts.marked += posts.iter().filter(marked).count();
            let others = others
                .iter()
                .map(|post| format!("in {chat}: {:.100}", text(post)));
            counts.besides.extend(others);
            let words: Vec<&str> = posts
                .iter()
                .flat_map(|post| text(post).split_whitespace())
                .collect();
            let mut rest = words.iter().peekable();
            for (id, name) in names {
                let failed = gave_up
                    .iter()
                    .filter(|post| post["reply_to_message"]["message_id"] == *id);
                let failed = failed.count();
                let wanted = pieces(name);
                let times = |word: &String| words.iter().filter(|one| *one == word).count();
                let (least, most) = (
                    wanted.iter().map(times).min(),
                    wanted.iter().map(times).max(),
                );
                counts.answered += usize::from(least == Some(1) && failed == 0);
                counts.gave_up += usize::from(least == Some(0) && failed == 1);
                match (least.unwrap() + failed, most.unwrap() + failed) {
                    (0, _) => counts.lost.push(name.clone()),
                    (1, 1) => {}
                    times => counts.twice.push(format!("{name} {times:?}")),
                }
                for word in wanted {
                    if rest.next_if(|next| **next == word).is_none() && failed == 0 {
                        counts.out_of_order.push(word);
                    }
                }
            }
        }
        counts
    }
}

/// What became of the messages.
#[derive(Debug, Default)]
struct Counts {
    answered: usize,
    /// Answered by the word that it was given up, because their turn was killed too often.
    gave_up: usize,
    lost: Vec<String>,
    twice: Vec<String>,
    out_of_order: Vec<String>,
    /// Posts that are no answer, such as a draft that was left.
    besides: Vec<String>,
    /// Silent messages by which a post was looked for, left because the kill came before they were deleted.
    whispers: usize,
    /// Answers that say of themselves that they may be there already.
    marked: usize,
}

const WHISPER: &str = "⋯";
const GAVE_UP: &str = "so I gave up";

/// What an answer says that may be there already, as far as could be seen.
const AGAIN: &str = "(sent again after a restart: you may have this already)";

fn text(post: &Value) -> &str {
    let text = post["text"].as_str().unwrap_or("(a file)");
    text.trim_end_matches(AGAIN)
}

async fn world(seed: u64) -> World {
    let people: Vec<String> = CHATS.map(|n| n.to_string()).collect();
    let (fake, model) = (
        Fake::start().await,
        Model::start([Act::Think(answer)]).await,
    );
    let config = format!(
        "{}{}turns: {{ when_busy: queue }}\ndelivery: {{ max_attempts: 1000 }}\n",
        fake.config(&format!("allowed_users: [{}]", people.join(", "))),
        model.config()
    );
    let mut daemon = Daemon::with(&config).await;
    daemon.kill();
    // It lives as long as the test.
    std::mem::forget(model);
    World {
        fake,
        daemon,
        random: StdRng::seed_from_u64(seed),
        said: BTreeMap::new(),
        reached: BTreeMap::new(),
        instants: 0,
        missed: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_during_a_burst_each_message_has_one_answer() {
    let kills = number("NEXFLOW_TELEGRAM_KILLS").unwrap_or(20);
    let seed = number("SEED").unwrap_or_else(rand::random);
    eprintln!("telegram kill harness: {kills} kills, SEED={seed}");
    let mut world = world(seed).await;
    let began = Instant::now();
    let mut points = POINTS.iter().cycle();
    for kill in 0..kills {
        // Written while nothing runs, or while the process before it ran.
        let at_a_point = kill % 2 == 0;
        world.write(3, at_a_point || kill % 5 == 0);
        if at_a_point {
            let point = *points.next().unwrap();
            for _ in 0..TRIES {
                if world.die_at(point).await {
                    break;
                }
                world.write(3, true);
            }
        } else {
            world.die_sometime().await;
        }
    }
    world.daemon.launch().await;
    world.write(6, true);
    let accepted = world.settle().await;
    let mut counts = world.counted();
    eprintln!(
        "telegram kill harness: {} kills at any instant, {} at boundaries {:?} ({} not reached in time); \
         {accepted} messages accepted, {} answered, {} given up visibly, {} lost, {} twice, {} words out of order, \
         {} other posts, {} silent messages left, {} answers marked as sent again; {} posts refused as too fast; {:.0?}",
        world.instants,
        world.reached.values().sum::<usize>(),
        world.reached,
        world.missed,
        counts.answered,
        counts.gave_up,
        counts.lost.len(),
        counts.twice.len(),
        counts.out_of_order.len(),
        counts.besides.len(),
        counts.whispers,
        counts.marked,
        world.fake.world().too_fast,
        began.elapsed()
    );
    let shown: Vec<Value> = CHATS.flat_map(|chat| world.fake.posts(chat)).collect();
    let shown = serde_json::to_string_pretty(&shown).unwrap();
    std::fs::write("target/telegram-kills.json", shown).unwrap();
    std::fs::write("target/telegram-kills.log", world.daemon.log()).unwrap();
    assert!(
        counts.lost.is_empty() && counts.twice.is_empty(),
        "{:?} {:?}",
        counts.lost,
        counts.twice
    );
    counts.out_of_order.truncate(5);
    assert!(counts.whispers as u64 * 20 <= kills + 20, "{counts:?}");
    assert!(
        counts.marked * 20 <= accepted,
        "{} of {accepted}",
        counts.marked
    );
    assert!(counts.besides.is_empty(), "{:?}", counts.besides);
    assert!(counts.out_of_order.is_empty(), "{:?}", counts.out_of_order);
    assert_eq!(counts.answered + counts.gave_up, accepted);
    assert!(
        counts.gave_up * 3 < accepted,
        "most of what was killed goes on"
    );
    assert_eq!(world.fake.world().dropped, 0);
    for (point, _) in POINTS.iter().take(usize::try_from(kills / 2).unwrap()) {
        let reached = world
            .reached
            .keys()
            .any(|key| key.starts_with(point.name()));
        assert!(
            reached || !point.is_of_posts(),
            "{} was not reached",
            point.name()
        );
    }
}
