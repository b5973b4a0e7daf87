//! A Discord of its own: gateway and REST interface, as strict as the real one where that matters.
//!
//! It checks intents, sessions and sequences, replays on RESUME, counts `X-RateLimit-*` windows, refuses
//! what Discord refuses (2,000 characters, content types, nonces, late answers to interactions), and
//! misbehaves on command.

mod rest;
mod socket;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use axum::{Router, routing::any};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{PATIENCE, string, telegram::proxy::Wire};

pub const TOKEN: &str = "bot-token.of-a-test.0123456789";
/// The bot, and its application.
pub const ME: &str = "900000000000000001";
pub const APPLICATION: &str = "900000000000000002";
/// A server with two channels and a thread in the first.
pub const GUILD: &str = "800000000000000001";
pub const GENERAL: &str = "810000000000000001";
pub const GARDEN: &str = "810000000000000002";
pub const THREAD: &str = "810000000000000003";
/// Direct conversations: of the owner, of somebody listed, of a stranger.
pub const OWNER_DM: &str = "820000000000000001";
pub const FRIEND_DM: &str = "820000000000000002";
pub const STRANGER_DM: &str = "820000000000000003";
pub const OWNER: &str = "700000000000000001";
pub const FRIEND: &str = "700000000000000002";
pub const STRANGER: &str = "700000000000000003";
/// A role, and the bot's own.
pub const CREW: &str = "830000000000000001";
pub const BOT_ROLE: &str = "830000000000000002";

const EPOCH: u64 = 1_420_070_400_000;
const MESSAGE_CONTENT: u64 = 1 << 15;

/// The server; it ends with this.
pub struct Discord {
    pub url: String,
    world: Shared,
    task: tokio::task::JoinHandle<()>,
}

type Shared = Arc<Mutex<World>>;

/// What a session's connection is told.
#[derive(Debug)]
enum Order {
    Send(String),
    Close(u16),
    Cut,
}

/// A gateway session, as long as it can be resumed.
#[derive(Default)]
struct Session {
    seq: u64,
    events: Vec<(u64, String)>,
    live: Option<mpsc::Sender<Order>>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub body: Value,
    pub files: Vec<(String, Vec<u8>)>,
    pub status: u16,
    pub at: Instant,
}

/// A command or press on its way.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub acknowledged: Option<Duration>,
    pub flags: u64,
    pub said: Option<String>,
}

/// How it behaves; changed by tests.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each goes wrong by itself")]
pub struct Mood {
    pub token: String,
    /// Whether the portal lets the bot read messages.
    pub content: bool,
    /// Whether heartbeats are acknowledged.
    pub acks: bool,
    /// Whether events are sent, while heartbeats are acknowledged.
    pub events: bool,
    /// Whether connections are taken at all.
    pub up: bool,
    /// How many of the next requests get a 429, how long it says to wait, and whether it is global.
    pub storm: (u32, f64, bool),
    /// How many of the next posts are made and then answered with a 502.
    pub made_and_lost: u32,
    /// Rights that the bot does not have in the server.
    pub denied: u64,
    pub heartbeat_ms: u64,
    /// Requests in a window, and its length.
    pub window: (u32, Duration),
    /// Requests of the bot in a second, over all routes.
    pub together: u32,
    /// Seconds by which its clock is ahead of this machine's.
    pub ahead: i64,
}

struct World {
    mood: Mood,
    sessions: HashMap<String, Session>,
    messages: BTreeMap<String, Vec<Value>>,
    nonces: HashMap<String, String>,
    files: HashMap<String, Vec<u8>>,
    /// Names of files that were downloaded.
    fetched: Vec<String>,
    windows: HashMap<String, (Instant, u32)>,
    /// The second that runs, and the requests in it.
    second: (Instant, u32),
    /// By token: the channel, when, and what became of it.
    given: HashMap<String, (String, Instant, Given)>,
    commands: Value,
    seen: Vec<Seen>,
    identified: u32,
    resumed: u32,
    /// 429 that were the client's fault.
    too_fast: u32,
    last: u64,
    url: String,
    roles: HashMap<String, Vec<String>>,
}

impl Discord {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::on(listener, url)
    }

    /// Reached through a wire that can be cut.
    pub async fn wired() -> (Self, Wire) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Wire::to(listener.local_addr().unwrap()).await;
        (Self::on(listener, wire.url()), wire)
    }

    #[expect(clippy::disallowed_methods, reason = "the server ends with the test")]
    fn on(listener: tokio::net::TcpListener, url: String) -> Self {
        let world = Arc::new(Mutex::new(World::new(&url)));
        let router = Router::new()
            .route("/gateway/", any(socket::open))
            // Clients add a slash to an address without path, and this one has a path.
            .route("/resume", any(socket::open))
            .route("/resume/", any(socket::open))
            .fallback(rest::answer)
            .with_state(Arc::clone(&world));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, world, task }
    }

    /// `channels.discord` that points at it; more keys in the flow style.
    pub fn config(&self, more: &str) -> String {
        let users = if more.contains("allowed_users") {
            String::new()
        } else {
            format!("allowed_users: ['{FRIEND}'], ")
        };
        format!(
            "channels:\n  discord: {{ bot_token: {TOKEN}, api_url: '{}', operators: ['{OWNER}'], {users}{more} }}\n",
            self.url
        )
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn mood(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut self.world().mood);
    }

    /// Somebody says something.
    pub fn say(&self, channel: &str, user: &str, text: &str) -> String {
        self.say_with(channel, user, text, &json!({}))
    }

    /// Somebody says something, with more fields.
    pub fn say_with(&self, channel: &str, user: &str, text: &str, more: &Value) -> String {
        let mut world = self.world();
        let mut message = world.message(channel, user, text);
        let map = message.as_object_mut().unwrap();
        map.extend(more.as_object().unwrap().clone());
        world.keep(&message);
        let event = world.with_member(message.clone());
        world.tell("MESSAGE_CREATE", &event);
        string(&message, "id")
    }

    /// Names of files that were downloaded.
    pub fn fetched(&self) -> Vec<String> {
        self.world().fetched.clone()
    }

    /// A file that can be downloaded, as an attachment.
    pub fn file(&self, name: &str, media_type: &str, data: &[u8]) -> Value {
        let mut world = self.world();
        world.files.insert(name.to_owned(), data.to_vec());
        json!({
            "id": world.id(), "filename": name, "content_type": media_type, "size": data.len(),
            "url": format!("{}/files/{name}", self.url), "proxy_url": format!("{}/files/{name}", self.url),
        })
    }

    /// Somebody changes what they said.
    pub fn edit(&self, channel: &str, id: &str, text: &str) {
        let mut world = self.world();
        let at = chrono_now();
        let messages = world.messages.get_mut(channel).unwrap();
        let message = messages.iter_mut().find(|m| m["id"] == id).unwrap();
        message["content"] = text.into();
        message["edited_timestamp"] = at.into();
        let message = message.clone();
        let event = world.with_member(message);
        world.tell("MESSAGE_UPDATE", &event);
    }

    /// Discord adds a picture of a link to a message: no change of anybody.
    pub fn unfurl(&self, channel: &str, id: &str) {
        let mut world = self.world();
        let messages = world.messages.get_mut(channel).unwrap();
        let message = messages.iter_mut().find(|m| m["id"] == id).unwrap();
        message["embeds"] = json!([{ "type": "article", "title": "A page" }]);
        let message = message.clone();
        let event = world.with_member(message);
        world.tell("MESSAGE_UPDATE", &event);
    }

    pub fn delete(&self, channel: &str, id: &str) {
        let mut world = self.world();
        world
            .messages
            .get_mut(channel)
            .unwrap()
            .retain(|m| m["id"] != id);
        let mut event = json!({ "id": id, "channel_id": channel });
        if let Some(guild) = guild_of(channel) {
            event["guild_id"] = guild.into();
        }
        world.tell("MESSAGE_DELETE", &event);
    }

    /// Somebody gives a slash command; its token.
    pub fn command(&self, channel: &str, user: &str, name: &str, argument: Option<&str>) -> String {
        let options: Vec<Value> = argument
            .map(|value| json!({ "type": 3, "name": "text", "value": value }))
            .into_iter()
            .collect();
        let data = json!({ "id": "1", "type": 1, "name": name, "options": options });
        self.interact(channel, user, (2, data))
    }

    /// Somebody presses a button of a message; its token.
    pub fn press(&self, channel: &str, user: &str, custom_id: &str) -> String {
        let data = json!({ "component_type": 2, "custom_id": custom_id });
        self.interact(channel, user, (3, data))
    }

    fn interact(&self, channel: &str, user: &str, (kind, data): (u64, Value)) -> String {
        let mut world = self.world();
        let (id, token) = (world.id(), format!("interaction-token-{}", world.id()));
        let mut event = json!({
            "id": id, "application_id": APPLICATION, "type": kind, "token": token, "version": 1,
            "channel_id": channel, "channel": channel_object(channel), "data": data, "locale": "en-US", "app_permissions": "0", "entitlements": [],
            "authorizing_integration_owners": {}, "attachment_size_limit": 10_485_760,
        });
        match guild_of(channel) {
            Some(guild) => {
                event["guild_id"] = guild.into();
                let mut member = world.member(user);
                member["user"] = person(user);
                event["member"] = member;
            }
            None => event["user"] = person(user),
        }
        let given = (channel.to_owned(), Instant::now(), Given::default());
        world.given.insert(token.clone(), given);
        world.tell("INTERACTION_CREATE", &event);
        token
    }

    /// What became of a command or press.
    pub fn given(&self, token: &str) -> Given {
        self.world().given[token].2.clone()
    }

    /// What the bot posted in a channel, as it stands now.
    pub fn posts(&self, channel: &str) -> Vec<Value> {
        let world = self.world();
        let all = world.messages.get(channel).into_iter().flatten();
        all.filter(|m| m["author"]["id"] == ME).cloned().collect()
    }

    /// Waits for so many posts of the bot in a channel.
    pub async fn posted(&self, channel: &str, count: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let posts = self.posts(channel);
            if posts.len() >= count {
                return posts;
            }
            let seen = || {
                self.seen()
                    .iter()
                    .map(|s| format!("{} {} {}", s.method, s.path, s.status))
                    .collect::<Vec<_>>()
            };
            assert!(
                began.elapsed() < PATIENCE,
                "{count} posts never came: {posts:?} {:#?}",
                seen()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.world().seen.clone()
    }

    pub fn commands(&self) -> Value {
        self.world().commands.clone()
    }

    /// Sessions that were begun, and how often one was resumed.
    pub fn sessions(&self) -> (u32, u32) {
        let world = self.world();
        (world.identified, world.resumed)
    }

    pub fn too_fast(&self) -> u32 {
        self.world().too_fast
    }

    /// Whether it lets its bot in.
    pub fn is_well(&self) -> bool {
        let world = self.world();
        world.mood.up && world.mood.content && world.mood.token == TOKEN
    }

    /// Whether somebody listens.
    pub fn is_heard(&self) -> bool {
        self.world()
            .sessions
            .values()
            .any(|s| s.live.as_ref().is_some_and(|l| !l.is_closed()))
    }

    fn order(&self, order: impl Fn() -> Order) {
        for session in self.world().sessions.values() {
            if let Some(live) = &session.live {
                drop(live.try_send(order()));
            }
        }
    }

    /// Closes every connection with a code.
    pub fn close(&self, code: u16) {
        self.order(|| Order::Close(code));
    }

    /// Cuts every connection without a word.
    pub fn cut(&self) {
        self.order(|| Order::Cut);
    }

    /// Asks every client to connect again (op 7).
    pub fn reconnect(&self) {
        self.order(|| Order::Send(json!({ "op": 7, "d": null }).to_string()));
    }

    /// Sessions cannot be resumed any more.
    pub fn forget(&self) {
        self.world().sessions.clear();
    }

    /// The posts that were made are not known by their nonce any more: Discord keeps it for minutes.
    pub fn forget_nonces(&self) {
        self.world().nonces.clear();
    }

    pub fn set_roles(&self, user: &str, roles: &[&str]) {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self.world().roles.insert(user.to_owned(), roles);
    }
}

impl Drop for Discord {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    fn new(url: &str) -> Self {
        let mood = Mood {
            token: TOKEN.to_owned(),
            content: true,
            acks: true,
            events: true,
            up: true,
            storm: (0, 0.0, false),
            made_and_lost: 0,
            denied: 0,
            heartbeat_ms: 700,
            window: (5, Duration::from_millis(400)),
            together: 50,
            ahead: 0,
        };
        Self {
            mood,
            sessions: HashMap::new(),
            messages: BTreeMap::new(),
            nonces: HashMap::new(),
            files: HashMap::new(),
            fetched: Vec::new(),
            windows: HashMap::new(),
            second: (Instant::now(), 0),
            given: HashMap::new(),
            commands: json!([]),
            seen: Vec::new(),
            identified: 0,
            resumed: 0,
            too_fast: 0,
            last: 0,
            url: url.to_owned(),
            roles: HashMap::new(),
        }
    }

    /// A new id: the time, and a count.
    fn id(&mut self) -> String {
        let now = u64::try_from(self.now().timestamp_millis()).unwrap();
        let id = (now - EPOCH) << 22;
        self.last = id.max(self.last + 1);
        self.last.to_string()
    }

    /// By its own clock.
    #[expect(clippy::disallowed_methods, reason = "a server has a clock of its own")]
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        chrono::Utc::now() + chrono::Duration::seconds(self.mood.ahead)
    }

    fn message(&mut self, channel: &str, user: &str, text: &str) -> Value {
        let ids: HashSet<&str> = text
            .split("<@")
            .skip(1)
            .filter_map(|m| m.split('>').next())
            .collect();
        let people = ids
            .iter()
            .filter(|id| id.bytes().all(|b| b.is_ascii_digit()));
        json!({
            "id": self.id(), "channel_id": channel, "author": person(user), "content": text, "type": 0,
            "timestamp": chrono_now(), "edited_timestamp": null, "tts": false, "mention_everyone": false,
            "mentions": people.map(|id| person(id)).collect::<Vec<_>>(), "mention_roles": [],
            "attachments": [], "embeds": [], "components": [], "pinned": false, "flags": 0,
        })
    }

    fn keep(&mut self, message: &Value) {
        let channel = string(message, "channel_id");
        self.messages
            .entry(channel)
            .or_default()
            .push(message.clone());
    }

    fn member(&self, user: &str) -> Value {
        let roles = self.roles.get(user).cloned().unwrap_or_default();
        json!({ "nick": null, "roles": roles, "joined_at": chrono_now(), "deaf": false, "mute": false, "flags": 0 })
    }

    /// As the gateway tells it: with server and member, which the REST interface leaves out.
    fn with_member(&self, mut message: Value) -> Value {
        if let Some(guild) = guild_of(message["channel_id"].as_str().unwrap()) {
            message["guild_id"] = guild.into();
            message["member"] = self.member(message["author"]["id"].as_str().unwrap());
        }
        message
    }

    /// Sends an event to every session, also for a later replay.
    fn tell(&mut self, name: &str, data: &Value) {
        let (events, content) = (self.mood.events, self.mood.content);
        for session in self.sessions.values_mut() {
            // Who has not the intent gets no words.
            let data = if content { data.clone() } else { Value::Null };
            session.tell(name, &data, events);
        }
    }

    fn guild(&self) -> Value {
        let last = |channel: &str| {
            let newest = self.messages.get(channel).and_then(|all| all.last());
            newest.map_or(Value::Null, |m| m["id"].clone())
        };
        let channel = |id: &str| {
            let mut channel = channel_object(id);
            channel["last_message_id"] = last(id);
            channel
        };
        let mut guild = json!({
            "id": GUILD, "name": "The house", "owner_id": OWNER, "unavailable": false, "member_count": 4,
            "joined_at": chrono_now(), "features": [], "preferred_locale": "en-US", "large": false,
            "roles": self.guild_roles(), "channels": [channel(GENERAL), channel(GARDEN)], "threads": [channel(THREAD)],
            "members": [{ "user": person(ME), "roles": [BOT_ROLE], "joined_at": chrono_now(), "deaf": false, "mute": false, "flags": 0 }],
        });
        // What a client may rely on besides.
        for list in [
            "emojis",
            "stickers",
            "presences",
            "voice_states",
            "stage_instances",
            "guild_scheduled_events",
            "soundboard_sounds",
        ] {
            guild[list] = json!([]);
        }
        for number in [
            "afk_timeout",
            "default_message_notifications",
            "explicit_content_filter",
            "mfa_level",
            "nsfw_level",
            "premium_tier",
            "system_channel_flags",
            "verification_level",
        ] {
            guild[number] = 0.into();
        }
        for absent in [
            "icon",
            "splash",
            "discovery_splash",
            "afk_channel_id",
            "application_id",
            "system_channel_id",
            "rules_channel_id",
            "vanity_url_code",
            "description",
            "banner",
            "public_updates_channel_id",
            "safety_alerts_channel_id",
        ] {
            guild[absent] = Value::Null;
        }
        guild["premium_progress_bar_enabled"] = false.into();
        guild
    }

    fn guild_roles(&self) -> Value {
        let may = (u64::MAX >> 1) & !(1 << 3) & !self.mood.denied;
        let role = |id: &str, name: &str, permissions: u64| {
            json!({
                "id": id, "name": name, "permissions": permissions.to_string(), "color": 0, "hoist": false, "position": 1,
                "managed": false, "mentionable": true, "flags": 0, "icon": null, "unicode_emoji": null,
                "colors": { "primary_color": 0, "secondary_color": null, "tertiary_color": null },
            })
        };
        let mut bot = role(BOT_ROLE, "Nexflow", 0);
        bot["tags"] = json!({ "bot_id": ME });
        json!([role(GUILD, "@everyone", may), role(CREW, "Crew", 0), bot])
    }
}

impl Session {
    fn tell(&mut self, name: &str, data: &Value, send: bool) {
        self.seq += 1;
        let frame = json!({ "op": 0, "s": self.seq, "t": name, "d": data }).to_string();
        self.events.push((self.seq, frame.clone()));
        if let Some(live) = self.live.as_ref().filter(|_| send) {
            drop(live.try_send(Order::Send(frame)));
        }
    }
}

/// The server that a channel is in; none for a direct conversation.
fn guild_of(channel: &str) -> Option<&'static str> {
    [GENERAL, GARDEN, THREAD]
        .contains(&channel)
        .then_some(GUILD)
}

fn channel_object(id: &str) -> Value {
    match id {
        THREAD => json!({
            "id": id, "type": 11, "name": "seeds", "guild_id": GUILD, "parent_id": GENERAL, "owner_id": OWNER,
            "message_count": 1, "member_count": 1, "total_message_sent": 1, "rate_limit_per_user": 0, "flags": 0,
            "last_message_id": null,
            "thread_metadata": { "archived": false, "auto_archive_duration": 1440, "archive_timestamp": chrono_now(), "locked": false },
        }),
        GENERAL | GARDEN => json!({
            "id": id, "type": 0, "name": if id == GENERAL { "general" } else { "garden" }, "guild_id": GUILD, "position": 0,
            "parent_id": null, "topic": null, "nsfw": false, "rate_limit_per_user": 0, "flags": 0,
            "permission_overwrites": [], "last_message_id": null,
        }),
        _ => {
            let user = [
                (OWNER_DM, OWNER),
                (FRIEND_DM, FRIEND),
                (STRANGER_DM, STRANGER),
            ];
            let user = user
                .iter()
                .find(|(dm, _)| *dm == id)
                .map_or(OWNER, |(_, user)| user);
            json!({ "id": id, "type": 1, "last_message_id": null, "recipients": [person(user)], "flags": 0 })
        }
    }
}

fn person(id: &str) -> Value {
    let (name, bot) = match id {
        ME => ("nexflow", true),
        OWNER => ("ada", false),
        FRIEND => ("bob", false),
        _ => ("eve", false),
    };
    json!({
        "id": id, "username": name, "global_name": null, "discriminator": "0", "avatar": null, "bot": bot,
        "public_flags": 0, "flags": 0, "verified": true, "mfa_enabled": true, "email": null,
    })
}

#[expect(clippy::disallowed_methods, reason = "a server has a clock of its own")]
fn chrono_now() -> String {
    chrono::Utc::now().to_rfc3339()
}
