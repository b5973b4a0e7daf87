//! One connection, read to its end.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use twilight_gateway::{CloseFrame, Message, Shard, ShardState};

use super::{Ended, Reader};
use crate::connectors::discord::{
    health::causes,
    interact::Task,
    lanes::{Job, LANES},
    wire::{self, Event, Guild, Id, Interaction},
};

/// A connection that is not ready after this long is made anew.
const READY: Duration = Duration::from_mins(1);
/// How long a message that Discord has may take through the gateway.
const SILENT: Duration = Duration::from_secs(5);
/// Channels that are looked at when the gateway has been silent for long.
const LOOKED_AT: usize = 5;
/// While this machine's clock is wrong, it is looked this often whether it is right again.
const CLOCK: Duration = Duration::from_secs(15);

impl Reader<'_> {
    /// Reads a connection to its end.
    pub(super) async fn read(&mut self, mut shard: Shard, cancel: &CancellationToken) -> Ended {
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
                        break Ended::Again(format!("the connection to the gateway failed: {}", causes(&error)));
                    }
                    Some(Err(error)) => tracing::warn!(error = causes(&error), "the gateway sent what is not understood"),
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
        if watch.clock.elapsed() > CLOCK && discord.rest.skew().sentence().is_some() {
            watch.clock = Instant::now();
            // Where all tasks are taken, others hear of the time.
            drop(self.tasks.try_send(Task::Clock));
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
        if let Err(error) = self.ear.start().await {
            tracing::error!(%error, "where Discord was first heard could not be written");
        }
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
    /// When Discord was last asked for the time.
    clock: Instant,
}

impl Watch {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            ready: false,
            event: now,
            missing: None,
            clock: now,
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
