//! The connection to the gateway: made, kept, resumed, made anew, and given up only where the owner has
//! to do something, which is looked after slowly.

use std::{pin::pin, time::Duration};

use futures_util::{StreamExt as _, future::join_all};
use rand::Rng as _;
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use twilight_gateway::{
    CloseFrame, ConfigBuilder, Intents, Message, Session, Shard, ShardId, ShardState,
    queue::InMemoryQueue,
};

use super::{
    Discord, health,
    interact::{self, Task},
    lanes::{Ear, Job, LANES, QUEUE},
    rest::{Ask, Failure},
    wire::{self, Application, Event, Guild, Id, Interaction, User},
};
use crate::connectors::{ConnectorError, Inbox};

/// What it listens to: who is where, what is said in servers and in direct messages, and the words of it.
const INTENTS: Intents = Intents::GUILDS
    .union(Intents::GUILD_MESSAGES)
    .union(Intents::DIRECT_MESSAGES)
    .union(Intents::MESSAGE_CONTENT);

/// Flags of an application whose bot may read messages.
const MAY_READ: u64 = 1 << 18 | 1 << 19;

/// Waits between two connections: the shortest and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Waits between two looks whether the owner has mended it.
const PROBES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(1));
/// Without looking, it is tried after this long: a thousand sessions a day are allowed.
const ANYWAY: Duration = Duration::from_mins(15);
/// A connection that is not ready after this long is made anew.
const READY: Duration = Duration::from_mins(1);
/// A connection that lasted this long was a good one.
const GOOD: Duration = Duration::from_mins(2);
/// How long a message that Discord has may take through the gateway.
const SILENT: Duration = Duration::from_secs(5);
/// Channels that are looked at when the gateway has been silent for long.
const LOOKED_AT: usize = 5;
/// Commands and presses that are answered side by side.
const SIDE_BY_SIDE: usize = 16;

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
    let answering = interact::answer(&ear, interactions, SIDE_BY_SIDE);
    tokio::select! {
        () = reader.run(cancel) => {}
        _ = working => {}
        () = answering => {}
    }
    Ok(())
}

/// Who we are; asked until Discord tells.
async fn identity(discord: &Discord) -> Id {
    let mut wait = PROBES.0;
    loop {
        let user = discord.rest.ask::<User>(Ask::get("/users/@me")).await;
        if user.is_ok() {
            discord.pulse.token_is_good();
        }
        match user {
            Ok(user) => return user.id,
            Err(Failure::Token) => {}
            Err(failure) => discord
                .pulse
                .failing(&ConnectorError::from(failure).to_string()),
        }
        sleep(wait).await;
        wait = (wait * 2).min(PROBES.1);
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
        let mut wait = WAITS.0;
        loop {
            let began = Instant::now();
            let ended = match self.connect().await {
                Ok(shard) => self.read(shard, cancel).await,
                Err(failure) => Ended::Again(ConnectorError::from(failure).to_string()),
            };
            if began.elapsed() > GOOD {
                wait = WAITS.0;
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
                    sleep(jittered(wait)).await;
                }
            };
            if cancel.run_until_cancelled(waited).await.is_none() {
                return;
            }
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// Waits until what only the owner can mend looks mended, or it is time to try anyway.
    async fn mended(&self) {
        let discord = self.ear.discord;
        let intent = discord.pulse.health().detail == health::INTENT;
        let looks = async {
            let mut wait = PROBES.0;
            loop {
                sleep(wait).await;
                wait = (wait * 2).min(PROBES.1);
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

    /// Reads a connection to its end.
    async fn read(&mut self, mut shard: Shard, cancel: &CancellationToken) -> Ended {
        let mut watch = Watch::new();
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                () = cancel.cancelled() => {
                    close(shard).await;
                    return Ended::Stopped;
                }
                _ = tick.tick() => {
                    let down = is_down(&shard);
                    if let Some(ended) = self.look(down, &mut watch).await {
                        break ended;
                    }
                }
                next = shard.next() => match next {
                    Some(Ok(Message::Text(text))) => self.heard(&text, &mut watch).await,
                    Some(Ok(Message::Close(frame))) => break closed(frame.as_ref()),
                    // What cannot be read is no reason to stop reading; a connection that failed is.
                    Some(Err(error)) if is_down(&shard) => {
                        break Ended::Again(reason(&error));
                    }
                    Some(Err(error)) => tracing::warn!(error = reason(&error), "the gateway sent what is not understood"),
                    None => break Ended::Again("the connection to the gateway ended".to_owned()),
                }
            }
        };
        let url = shard.resume_url().map(str::to_owned);
        self.shard = shard.session().map(|session| (session.clone(), url));
        ended
    }

    /// What is to be done once a second.
    async fn look(&mut self, down: bool, watch: &mut Watch) -> Option<Ended> {
        let discord = self.ear.discord;
        if discord.pulse.is_token_wrong() {
            return Some(Ended::Token);
        }
        if !watch.ready && watch.began.elapsed() > READY {
            return Some(Ended::Anew(
                "the gateway did not say in a minute that it is ready".to_owned(),
            ));
        }
        if watch.ready && down {
            return Some(Ended::Again(
                "the connection to the gateway ended".to_owned(),
            ));
        }
        if let Err(error) = self.ear.keep().await {
            tracing::warn!(%error, "how far Discord was heard could not be written");
        }
        if let Some(message) = self.ear.silent() {
            watch.missing = Some((message, Instant::now()));
        }
        match watch.missing {
            Some((message, _)) if self.newest >= message => watch.missing = None,
            Some((_, since)) if since.elapsed() > SILENT => {
                let deaf = "the gateway was connected and did not bring messages that Discord has";
                return Some(Ended::Anew(deaf.to_owned()));
            }
            _ => {}
        }
        if watch.ready && watch.event.elapsed() > discord.watchdog {
            watch.event = Instant::now();
            for (channel, guild) in self.ear.lively(LOOKED_AT) {
                self.put(Job::Look { channel, guild }).await;
            }
        }
        None
    }

    /// Sorts what the gateway says.
    async fn heard(&mut self, text: &str, watch: &mut Watch) {
        let ear = self.ear;
        ear.discord.pulse.heard();
        let event = match wire::event(text) {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "an event of Discord is not understood and was passed over");
                return;
            }
        };
        watch.event = Instant::now();
        match event {
            Event::Ready(ready) => {
                watch.ready = true;
                ear.discord.pulse.ok();
                self.begin(ready.application.id).await;
            }
            Event::Resumed => {
                watch.ready = true;
                ear.discord.pulse.ok();
            }
            Event::Guild(guild) => self.guild(&guild).await,
            Event::Channel(channel) => ear.world().channel(&channel, None),
            Event::Role(change) => ear.world().role(ear.me, &change.role),
            Event::Message(message) => {
                self.newest = self.newest.max(message.id);
                self.put(Job::Message(message)).await;
            }
            Event::Edited(message) => self.put(Job::Edited(message)).await,
            Event::Deleted(gone) => self.put(Job::Deleted(gone)).await,
            Event::Interaction(given) => self.interaction(given),
        }
    }

    fn interaction(&self, given: Box<Interaction>) {
        // They must be answered within three seconds: they do not wait in a lane.
        if self.tasks.try_send(Task::Given(given)).is_err() {
            tracing::warn!("a command or press was passed over: too many at once");
        }
    }

    /// A new session: what was missed is fetched.
    async fn begin(&self, application: Id) {
        drop(self.tasks.try_send(Task::Register(application)));
        match self.ear.conversations().await {
            Ok(direct) => {
                for channel in direct {
                    self.put(Job::Missed {
                        channel,
                        guild: None,
                        last: None,
                    })
                    .await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "direct conversations could not be read: what was missed in them is not fetched");
            }
        }
    }

    async fn guild(&self, guild: &Guild) {
        if guild.unavailable {
            return;
        }
        self.ear.world().guild(self.ear.me, guild);
        for channel in guild.channels.iter().chain(&guild.threads) {
            if let (true, Some(last)) = (channel.has_messages(), channel.last_message_id) {
                let missed = Job::Missed {
                    channel: channel.id,
                    guild: Some(guild.id),
                    last: Some(last),
                };
                self.put(missed).await;
            }
        }
    }

    /// Into the lane of its channel; waits where it is full.
    async fn put(&self, job: Job) {
        // The lowest bits of an id count up within a millisecond; those above are the time.
        let channel = job.channel();
        let lane = usize::try_from((channel ^ (channel >> 22)) % LANES as u64).unwrap_or(0);
        if let Some(lane) = self.lanes.get(lane) {
            self.ear.begun();
            drop(lane.send(job).await);
        }
    }
}

/// What is watched over a connection.
struct Watch {
    began: Instant,
    ready: bool,
    /// When the last event came.
    event: Instant,
    /// A message that Discord has and the gateway did not bring, and since when that is known.
    missing: Option<(Id, Instant)>,
}

impl Watch {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            ready: false,
            event: now,
            missing: None,
        }
    }
}

fn is_down(shard: &Shard) -> bool {
    matches!(
        shard.state(),
        ShardState::Disconnected { .. } | ShardState::FatallyClosed
    )
}

/// What a close of the gateway means.
fn closed(frame: Option<&CloseFrame<'_>>) -> Ended {
    let Some(frame) = frame else {
        return Ended::Again("the gateway closed the connection".to_owned());
    };
    match frame.code {
        4004 => Ended::Token,
        4013 | 4014 => Ended::Intent,
        4010..=4012 => Ended::Owner(format!(
            "Discord does not take this bot ({} {}): a bot in more than 2,500 servers, or a version that is too old",
            frame.code, frame.reason
        )),
        1006 => Ended::Again("the gateway did not answer any more".to_owned()),
        code => Ended::Again(format!(
            "the gateway closed the connection ({code} {})",
            frame.reason
        )),
    }
}

/// A wait with a little chance.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.8..1.2))
}

/// Says good-bye, and does not wait long for the answer.
async fn close(mut shard: Shard) {
    shard.close(CloseFrame::NORMAL);
    let mut bye = pin!(async {
        while let Some(Ok(message)) = shard.next().await {
            if message.is_close() {
                break;
            }
        }
    });
    drop(timeout(Duration::from_secs(1), &mut bye).await);
}

/// An error with what caused it.
fn reason(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
