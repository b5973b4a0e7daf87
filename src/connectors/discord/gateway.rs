//! The connection to the gateway: made, kept, resumed, made anew, and given up only where the owner has
//! to do something, which is looked after slowly.

mod back_off;
mod read;

use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use twilight_gateway::{ConfigBuilder, Intents, Session, Shard, ShardId, queue::InMemoryQueue};

use self::back_off::BackOff;
use super::{
    Discord, health,
    interact::{self, Task},
    lanes::{Ear, Job, LANES, QUEUE},
    rest::{Ask, Failure},
    wire::{Application, Id, User},
};
use crate::connectors::{ConnectorError, Inbox};

/// What it listens to: who is where, what is said in servers and in direct messages, and the words of it.
const INTENTS: Intents = Intents::GUILDS
    .union(Intents::GUILD_MESSAGES)
    .union(Intents::DIRECT_MESSAGES)
    .union(Intents::MESSAGE_CONTENT);

/// Flags of an application whose bot may read messages.
const MAY_READ: u64 = 1 << 18 | 1 << 19;

/// Waits between two connections.
const WAITS: BackOff = BackOff::between(Duration::from_millis(500), Duration::from_secs(30));
/// Waits between two looks whether the owner has mended it.
const PROBES: BackOff = BackOff::between(Duration::from_secs(2), Duration::from_mins(1));
/// Without looking, it is tried after this long: a thousand sessions a day are allowed.
const ANYWAY: Duration = Duration::from_mins(15);
/// A connection that lasted this long was a good one.
const GOOD: Duration = Duration::from_mins(2);

/// How a connection ended.
#[derive(Debug)]
enum Ended {
    /// We stop.
    Stopped,
    /// It is made again, and goes on where it was if it can.
    Again(String),
    /// It is made again from the beginning: it says nothing any more.
    Anew(String),
    /// The token is not valid.
    Token,
    /// An intent is switched off.
    Intent,
    /// Only the owner can mend it.
    Owner(String),
}

/// Listens until cancelled.
pub(super) async fn run(
    discord: &Discord,
    inbox: &dyn Inbox,
    cancel: &CancellationToken,
) -> Result<(), ConnectorError> {
    let Some(me) = cancel.run_until_cancelled(identity(discord)).await else {
        return Ok(());
    };
    let ear = Ear::new(discord, inbox, me);
    let (lanes, jobs): (Vec<_>, Vec<_>) = (0..LANES).map(|_| mpsc::channel(QUEUE)).unzip();
    let (tasks, interactions) = mpsc::channel(QUEUE);
    let reader = Reader {
        ear: &ear,
        lanes,
        tasks,
        shard: None,
        queue: InMemoryQueue::default(),
        newest: 0,
    };
    let working = join_all(jobs.into_iter().map(|jobs| ear.lane(jobs)));
    let answering = interact::answer(&ear, interactions);
    tokio::select! {
        () = reader.run(cancel) => {}
        _ = working => {}
        () = answering => {}
    }
    Ok(())
}

/// Who we are; asked until Discord tells.
async fn identity(discord: &Discord) -> Id {
    let (mut waits, mut probes) = (WAITS, PROBES);
    loop {
        let user = discord.rest.ask::<User>(Ask::get("/users/@me")).await;
        if user.is_ok() {
            discord.pulse.token_is_good();
        }
        let wait = match user {
            Ok(user) => return user.id,
            Err(Failure::Token) => probes.next(),
            Err(failure) => {
                discord
                    .pulse
                    .failing(&ConnectorError::from(failure).to_string());
                waits.next()
            }
        };
        sleep(wait).await;
    }
}

async fn application(discord: &Discord) -> Result<Application, Failure> {
    discord.rest.ask(Ask::get("/applications/@me")).await
}

#[derive(Deserialize)]
struct Gateway {
    url: String,
}

/// Where a session stood.
type Resume = (Session, Option<String>);

/// Reads the gateway and puts what it says into lanes.
struct Reader<'a> {
    ear: &'a Ear<'a>,
    lanes: Vec<mpsc::Sender<Job>>,
    tasks: mpsc::Sender<Task>,
    shard: Option<Resume>,
    /// Sessions are begun five seconds apart, over all connections.
    queue: InMemoryQueue,
    /// Newest message that the gateway brought.
    newest: Id,
}

impl Reader<'_> {
    async fn run(mut self, cancel: &CancellationToken) {
        let pulse = &self.ear.discord.pulse;
        let mut waits = WAITS;
        loop {
            let began = Instant::now();
            let ended = match self.connect().await {
                Ok(shard) => self.read(shard, cancel).await,
                Err(failure) => Ended::Again(ConnectorError::from(failure).to_string()),
            };
            if began.elapsed() > GOOD {
                waits = WAITS;
            }
            match ended {
                Ended::Stopped => return,
                Ended::Again(why) => pulse.failing(&why),
                Ended::Anew(why) => {
                    pulse.failing(&why);
                    self.shard = None;
                }
                Ended::Token => {
                    pulse.token_is_wrong();
                    self.shard = None;
                }
                Ended::Intent => pulse.needs_owner(health::INTENT),
                Ended::Owner(why) => pulse.needs_owner(&why),
            }
            let waited = async {
                if pulse.health().state == crate::connectors::Condition::NeedsOwner {
                    self.mended().await;
                } else {
                    sleep(waits.next()).await;
                }
            };
            if cancel.run_until_cancelled(waited).await.is_none() {
                return;
            }
        }
    }

    /// Waits until what only the owner can mend looks mended, or it is time to try anyway.
    async fn mended(&self) {
        let discord = self.ear.discord;
        let intent = discord.pulse.health().detail == health::INTENT;
        let looks = async {
            let mut probes = PROBES;
            loop {
                sleep(probes.next()).await;
                let good = discord
                    .rest
                    .ask::<User>(Ask::get("/users/@me"))
                    .await
                    .is_ok();
                if !good {
                    continue;
                }
                if discord.pulse.is_token_wrong() {
                    discord.pulse.token_is_good();
                    return;
                }
                if intent
                    && application(discord)
                        .await
                        .is_ok_and(|app| app.flags & MAY_READ != 0)
                {
                    return;
                }
            }
        };
        drop(timeout(ANYWAY, looks).await);
    }

    async fn connect(&self) -> Result<Shard, Failure> {
        let rest = &self.ear.discord.rest;
        let gateway: Gateway = rest.ask(Ask::get("/gateway")).await?;
        let mut config = ConfigBuilder::new(rest.token().expose().to_owned(), INTENTS)
            .proxy_url(gateway.url)
            .queue(self.queue.clone());
        if let Some((session, url)) = &self.shard {
            config = config.session(session.clone());
            if let Some(url) = url {
                config = config.resume_url(url.clone());
            }
        }
        Ok(Shard::with_config(ShardId::ONE, config.build()))
    }
}
