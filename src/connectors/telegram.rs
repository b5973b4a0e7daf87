//! Telegram: a bot that listens by long polling or a webhook. Documented in `docs/telegram.md`.
//!
//! The client is our own, on [`Http`]: what we call of the Bot API is a dozen methods. `teloxide-core`
//! would bring sixteen crates for it, sleeps ten seconds inside of a call when a server answers 5xx, and
//! does not tell a request that never left from one that may have been carried out, which is what an
//! answer that must arrive once depends on.

mod batch;
mod client;
mod find;
mod listen;
mod markdown;
mod pace;
mod post;
mod read;
mod take;
mod target;
#[cfg(any(test, fuzzing))]
mod trial;
mod wire;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Abilities, Condition, Connector, ConnectorError, Found, Health, Hook, HookError, Hooked, Inbox,
    Posts, Resend, Spec,
};
use crate::{
    net::Http,
    types::{Address, Clock, Draft, Outgoing, Secret},
};
use client::{Api, Fault};
use pace::Pace;
use read::Me;

/// A private chat takes about one edit a second; groups take fewer, which [`Pace`] sees to.
const DRAFTS: Duration = Duration::from_secs(1);

/// `channels.telegram`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Config {
    /// From `@BotFather`.
    bot_token: Secret,
    /// Who may talk: numeric ids or @names.
    #[serde(default)]
    allowed_users: Vec<Who>,
    /// Who may talk, approve and configure: numeric ids or @names.
    #[serde(default)]
    operators: Vec<Who>,
    /// Groups in which everybody may talk: numeric ids or @names.
    #[serde(default)]
    allowed_chats: Vec<Who>,
    /// Another server than Telegram's: a local Bot API server.
    api_url: Option<Url>,
    /// Telegram calls us instead of being asked.
    webhook: Option<WebhookConfig>,
    /// Settings of single groups, by numeric id or @name.
    #[serde(default)]
    rooms: BTreeMap<String, RoomConfig>,
    /// Show answers while they are written.
    #[serde(default = "yes")]
    drafts: bool,
    /// Seconds that one poll waits for something to happen.
    #[serde(default = "poll_sec")]
    poll_sec: u64,
}

fn yes() -> bool {
    true
}

fn poll_sec() -> u64 {
    50
}

/// `channels.telegram.webhook`.
#[derive(Debug, Deserialize, JsonSchema)]
struct WebhookConfig {
    /// The address under which Telegram reaches `POST /hooks/NAME` of this daemon, by HTTPS.
    url: Url,
    /// Telegram shows it with each call: 1 to 256 of `A-Z a-z 0-9 _ -`.
    secret: Secret,
}

/// `channels.telegram.rooms.CHAT_ID`.
#[derive(Debug, Deserialize, JsonSchema)]
struct RoomConfig {
    /// Tools and skills that may be used there; all if it is left out.
    skills: Option<Vec<String>>,
    /// Answer every message, also when the bot is not spoken to.
    #[serde(default)]
    always_answer: bool,
}

/// A person or a group: a numeric id or an @name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Who {
    Id(i64),
    Name(String),
}

impl Who {
    /// Whether it is this one. Names are not told apart by upper and lower case.
    fn is(&self, id: i64, username: Option<&str>) -> bool {
        match self {
            Self::Id(listed) => *listed == id,
            Self::Name(listed) => {
                let listed = listed.trim();
                let name = listed.strip_prefix('@').unwrap_or(listed);
                name.parse() == Ok(id) || username.is_some_and(|u| u.eq_ignore_ascii_case(name))
            }
        }
    }
}

/// The connector.
pub(super) struct Telegram {
    config: Config,
    api: Api,
    clock: Clock,
    /// The bot's id; none where the token is not one.
    account: Option<i64>,
    me: ArcSwapOption<Me>,
    health: Mutex<Health>,
    pace: Pace,
    /// Until when posts are held up that came too fast.
    held: Mutex<Option<Instant>>,
    /// Groups that have another id now.
    moved: Mutex<HashMap<i64, i64>>,
}

impl Spec for Telegram {
    const NAME: &'static str = "telegram";
    const EXAMPLE: &'static str = "telegram:
  bot_token: ${TELEGRAM_BOT_TOKEN}
  # Numeric ids or @names. Operators may also approve and configure.
  operators: []
  allowed_users: []
  allowed_chats: []
";
    type Config = Config;

    fn new(config: Config, http: &Http) -> Self {
        let account = account(config.bot_token.expose());
        let url = config.api_url.clone().unwrap_or_else(server);
        let health = Health {
            state: if account.is_some() {
                Condition::Starting
            } else {
                Condition::NeedsOwner
            },
            detail: match account {
                Some(_) => String::new(),
                None => "channels.telegram.bot_token is no token: @BotFather gives one as 123456789:ABC… (/mybots, your bot, API Token)".to_owned(),
            },
            ..Health::default()
        };
        let clock = Clock::system();
        Self {
            api: Api::new(http, (url, config.bot_token.clone()), clock.clone()),
            config,
            clock,
            account,
            me: ArcSwapOption::empty(),
            health: Mutex::new(health),
            pace: Pace::default(),
            held: Mutex::default(),
            moved: Mutex::default(),
        }
    }
}

/// Telegram's own server.
#[expect(clippy::expect_used, reason = "a constant that is an address")]
fn server() -> Url {
    "https://api.telegram.org".parse().expect("it is one")
}

/// A token is the bot's id, a colon and a password.
fn account(token: &str) -> Option<i64> {
    let (id, password) = token.split_once(':')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (!password.is_empty() && password.chars().all(plain))
        .then(|| id.parse().ok())
        .flatten()
}

impl Telegram {
    /// Calls a method; an answer of any kind is a sign of life.
    async fn api_call<T: DeserializeOwned>(
        &self,
        method: &str,
        body: &Value,
        patience: Duration,
    ) -> Result<T, Fault> {
        let answer = self.api.call(method, body, patience).await;
        if !matches!(answer, Err(Fault::Unreachable(_) | Fault::Cut(_))) {
            self.with_health(|health, now| health.heard_at = Some(now));
        }
        answer
    }

    fn heard_event(&self) {
        self.with_health(|health, now| health.event_at = Some(now));
    }

    /// How it stands from now on.
    fn stands(&self, state: Condition, detail: String) {
        self.with_health(|health, _| {
            if health.state != state || health.detail != detail {
                match state {
                    Condition::Ok => tracing::info!("telegram: listening"),
                    Condition::Starting => {}
                    Condition::Failing => tracing::warn!(%detail, "telegram"),
                    Condition::NeedsOwner => tracing::error!(%detail, "telegram"),
                }
            }
            health.state = state;
            health.detail = detail;
        });
    }

    fn with_health(&self, change: impl FnOnce(&mut Health, crate::types::Timestamp)) {
        let now = self.clock.now();
        change(
            &mut self.health.lock().unwrap_or_else(PoisonError::into_inner),
            now,
        );
    }

    /// The id that a group has now.
    fn now_at(&self, chat: i64) -> i64 {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.get(&chat).copied().unwrap_or(chat)
    }

    fn moved(&self, chat: i64, now: i64) {
        tracing::warn!(
            chat,
            now,
            "this group has a new id: put it in channels.telegram.allowed_chats"
        );
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.insert(chat, now);
    }

    /// The bot's name, asked for if nobody did.
    async fn known(&self) -> Result<Arc<Me>, Fault> {
        match self.me.load_full() {
            Some(me) => Ok(me),
            None => self.introduce().await,
        }
    }
}

#[async_trait]
impl Connector for Telegram {
    async fn run(
        &self,
        inbox: &dyn Inbox,
        cancel: CancellationToken,
    ) -> Result<(), ConnectorError> {
        if self.account.is_some() {
            self.listen(inbox, &cancel).await;
        } else {
            self.stands(Condition::NeedsOwner, self.health().detail);
            cancel.cancelled().await;
        }
        Ok(())
    }

    async fn send(
        &self,
        to: &Address,
        what: &Outgoing,
        posts: &dyn Posts,
    ) -> Result<(), ConnectorError> {
        self.post_all(to, what, posts).await
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            reads_session: false,
            resend: Resend::ReadBack,
            drafts: Some(DRAFTS),
        }
    }

    fn health(&self) -> Health {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let mut health = Health {
            clock: self.api.skew.sentence(),
            ..health.clone()
        };
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let left = held.map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(left) = left.filter(|l| !l.is_zero() && health.state == Condition::Ok) {
            health.state = Condition::Failing;
            health.detail = format!(
                "Telegram takes no more for {} s, because too much was asked; what waits is sent then",
                left.as_secs() + 1
            );
        }
        health
    }

    async fn find(&self, to: &Address, what: &Outgoing) -> Result<Found, ConnectorError> {
        self.find_post(to, what).await
    }

    async fn draft(&self, to: &Address, draft: &Draft) -> Result<String, ConnectorError> {
        if !self.config.drafts {
            let off = "channels.telegram.drafts is false";
            return Err(ConnectorError::Refused(off.to_owned()));
        }
        self.post_draft(to, draft).await
    }

    async fn typing(&self, to: &Address) -> Result<(), ConnectorError> {
        self.show_typing(to).await
    }

    async fn hook(&self, inbox: &dyn Inbox, request: Hook) -> Result<Hooked, HookError> {
        let Some(webhook) = &self.config.webhook else {
            return Err(HookError::Unknown);
        };
        let name = webhook.url.path_segments().and_then(Iterator::last);
        if name != Some(request.name.as_str()) {
            return Err(HookError::Unknown);
        }
        let given = request.token.unwrap_or_default();
        let right = webhook.secret.expose().as_bytes();
        if !bool::from(given.as_bytes().ct_eq(right)) {
            return Err(HookError::Signature(
                "X-Telegram-Bot-Api-Secret-Token must be channels.telegram.webhook.secret",
            ));
        }
        self.called(inbox, &request.body).await
    }
}

/// Any bytes as updates, for the fuzzer.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    trial::updates(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Anything that JSON can say, with the keys that are looked at.
    fn anything() -> impl Strategy<Value = Value> {
        let key = prop::sample::select(vec![
            "update_id",
            "message",
            "edited_message",
            "callback_query",
            "chat",
            "from",
            "id",
            "text",
            "message_id",
            "entities",
            "type",
            "offset",
            "length",
            "media_group_id",
            "photo",
            "file_id",
            "reply_to_message",
            "caption",
            "data",
            "document",
            "is_bot",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_i64..9).prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z😀 /@]{0,6}".prop_map(Value::from),
            Just(Value::from("bold")),
            Just(Value::from("private")),
        ];
        leaf.prop_recursive(6, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..8).prop_map(|pairs| {
                    pairs
                        .into_iter()
                        .map(|(k, v)| (k.to_owned(), v))
                        .collect::<Value>()
                }),
            ]
        })
    }

    /// A message whose text and entities are anything.
    fn message() -> impl Strategy<Value = Value> {
        let kind = prop::sample::select(vec![
            "bold",
            "italic",
            "pre",
            "code",
            "text_link",
            "blockquote",
            "mention",
        ]);
        let entity = (kind, 0..12_u8, 0..12_u8).prop_map(|(kind, offset, length)| {
            serde_json::json!({ "type": kind, "offset": offset, "length": length })
        });
        let entities = prop::collection::vec(entity, 0..6);
        (
            "[a😀 \n`]{0,10}",
            entities,
            -3_i64..9,
            prop::option::of("[ab]"),
        )
            .prop_map(|(text, entities, id, album)| {
                serde_json::json!({ "update_id": id, "message": {
                "message_id": id, "chat": { "id": 7, "type": "private" }, "from": { "id": 7 },
                "text": text, "entities": entities, "media_group_id": album,
            } })
            })
    }

    proptest! {
        #[test]
        fn whatever_comes_stops_nothing(updates in prop::collection::vec(anything(), 0..8)) {
            trial::updates(Value::from(updates).to_string().as_bytes());
        }

        #[test]
        fn messages_keep_their_words_and_their_order(updates in prop::collection::vec(message(), 0..8)) {
            trial::updates(Value::from(updates).to_string().as_bytes());
        }
    }

    #[test]
    fn a_token_names_its_bot() {
        assert_eq!(account("123456:AAE-x_9"), Some(123_456));
        for no in [
            "",
            "x",
            "123456",
            "123456:",
            "a:b",
            "1:with space",
            "1:a/../b",
        ] {
            assert_eq!(account(no), None, "{no}");
        }
    }

    #[test]
    fn people_are_listed_by_id_or_name() {
        let list: Vec<Who> = serde_json::from_str(r#"[7, "8", "@Ada", "bob", " -100 "]"#).unwrap();
        let on = |id, name| list.iter().any(|who| who.is(id, name));
        assert!(on(7, None) && on(8, Some("x")) && on(9, Some("ada")) && on(9, Some("BOB")));
        assert!(on(-100, None));
        assert!(!on(9, None) && !on(9, Some("7")) && !on(10, Some("eve")));
    }

    #[test]
    fn a_wrong_token_is_told_at_once() {
        let config: Config = serde_json::from_str(r#"{ "bot_token": "not-a-token" }"#).unwrap();
        let health = Telegram::new(config, &Http::new()).health();
        assert_eq!(health.state, Condition::NeedsOwner);
        assert!(health.detail.contains("@BotFather"), "{}", health.detail);
    }
}
