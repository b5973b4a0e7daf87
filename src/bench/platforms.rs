//! How long a message from Telegram or Discord takes to reach the model, and how a burst is taken. The
//! platforms are servers of our own that answer at once and limit nothing.

mod discord;
mod telegram;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{line, model::Model, rig::Rig, row};

/// Private chats, each with one person.
const CHATS: u64 = 40;
/// Messages in each, one after the other; the first warms up and begins the conversation.
const ROUNDS: usize = 6;
/// Messages that come at once.
const BURST: u64 = 1000;
/// A platform takes about one post a second in a chat.
const PACE: Duration = Duration::from_secs(1);
/// How often it is looked what is on disk.
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_mins(5);

/// A platform with [`CHATS`] people who may talk.
trait Platform: Sized {
    const NAME: &'static str;
    async fn start() -> anyhow::Result<Self>;
    /// `channels`, in one line of YAML.
    fn config(&self) -> String;
    /// Whether the daemon listens.
    fn is_heard(&self) -> bool;
    /// Somebody writes in a chat; the message's id.
    fn say(&self, chat: u64) -> u64;
    fn answered(&self) -> &Answered;
}

/// The newest message that was answered, by chat.
#[derive(Debug, Default)]
struct Answered {
    newest: Mutex<HashMap<u64, u64>>,
}

impl Answered {
    fn note(&self, chat: u64, message: u64) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest.entry(chat).or_default();
        *newest = message.max(*newest);
    }

    async fn wait(&self, chat: u64, message: u64) -> anyhow::Result<()> {
        until("a message is answered", || {
            let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest.get(&chat).is_some_and(|newest| *newest >= message)
        })
        .await
    }
}

pub(super) async fn run() -> anyhow::Result<()> {
    one::<telegram::Telegram>().await?;
    one::<discord::Discord>().await
}

async fn one<P: Platform>() -> anyhow::Result<()> {
    let (model, platform) = (Model::start().await?, P::start().await?);
    let rig = Rig::with(&model.url, &format!("channels: {}\n", platform.config())).await?;
    until("the daemon listens", || platform.is_heard()).await?;
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let began = Instant::now();
        for chat in 0..CHATS {
            let sent = Instant::now();
            let message = platform.say(chat);
            platform.answered().wait(chat, message).await?;
            if round > 0 {
                let (called, _) = model.last().context("the model was not called")?;
                took.push(called - sent);
            }
        }
        tokio::time::sleep(PACE.saturating_sub(began.elapsed())).await;
    }
    let what = format!("{}: update received to model called", P::NAME);
    row(&what, &took, "p50 < 5 ms");
    tokio::time::sleep(PACE).await;
    burst(&rig, &platform).await
}

/// Everybody writes at once, many times.
async fn burst<P: Platform>(rig: &Rig, platform: &P) -> anyhow::Result<()> {
    let before = rig.accepted()?;
    let began = Instant::now();
    let mut last = HashMap::new();
    for n in 0..BURST {
        let chat = n % CHATS;
        last.insert(chat, platform.say(chat));
    }
    while rig.accepted()? < before + BURST {
        let patient = began.elapsed() < PATIENCE;
        anyhow::ensure!(patient, "messages of the burst are not on disk");
        tokio::time::sleep(LOOK).await;
    }
    let accepted = began.elapsed().as_secs_f64();
    for (chat, message) in last {
        platform.answered().wait(chat, message).await?;
    }
    anyhow::ensure!(
        rig.backlog().await? == 0,
        "messages wait that were answered"
    );
    let took = began.elapsed().as_secs_f64();
    for (what, took) in [("on disk", accepted), ("answered", took)] {
        let what = format!("{}: {BURST} updates at once, {what} after", P::NAME);
        line(&what, &format!("{took:.2} s"), "");
    }
    Ok(())
}

async fn until(what: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !holds() {
        anyhow::ensure!(began.elapsed() < PATIENCE, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
