//! For tests: the orchestrator's parts with a platform whose posts can be seen, and tasks that can be
//! killed.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Begin, CacheConfig, Config, Core, Delivery, Facts, Live, Orchestrator, Parts, cache, collect,
    deliver, draft, gate, pairing, prompt, running, spend, toolbox,
};
use crate::{
    budget::Budgets,
    bus::Bus,
    connectors::{Abilities, Connector, ConnectorError, Inbox, Posts, Registry, Resend},
    memory::Memory,
    net::Http,
    providers::{Providers, Settings},
    sandbox::Sandbox,
    schedule::Schedules,
    skills::{catalog::Catalog, run::Runner},
    store::{
        Store, Tx,
        inbox::{self, Accepted},
        outbox::Parcel,
        turns::{self, End, Turn},
    },
    supervisor::Supervisor,
    tools::{Kit, Limits, Mind, Post},
    types::{Address, Clock, Draft, Inbound, MessageId, Outgoing, WhenBusy, frame::Body},
};

type Result<T> = std::result::Result<T, ConnectorError>;

/// What a platform was asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    Typing(String),
    Draft(String, Draft),
    Send(String, Outgoing),
}

/// A post, with what can be pressed on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Posted {
    pub(super) chat: String,
    pub(super) text: String,
    pub(super) choices: Vec<&'static str>,
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub(super) enum Wrong {
    /// It is answered so, and does nothing.
    Fails(ConnectorError),
    /// It does what it should, and its answer is lost.
    Lost,
    /// It does what it should, and is never answered.
    Hangs,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) posts: Vec<Posted>,
    pub(super) asked: Vec<(Instant, Asked)>,
    keys: HashMap<String, usize>,
    /// What goes wrong next, in a chat.
    pub(super) wrong: HashMap<String, VecDeque<Wrong>>,
}

/// A platform on which posts can be changed.
pub(super) struct Platform {
    resend: Resend,
    pace: Duration,
    state: Mutex<State>,
}

impl Platform {
    pub(super) fn new(resend: Resend, pace: Duration) -> Arc<Self> {
        Arc::new(Self {
            resend,
            pace,
            state: Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn posts(&self) -> Vec<Posted> {
        self.state().posts.clone()
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.posts().into_iter().map(|post| post.text).collect()
    }

    pub(super) fn breaks(&self, chat: &str, wrong: impl IntoIterator<Item = Wrong>) {
        let wrong = wrong.into_iter().collect();
        self.state().wrong.insert(chat.to_owned(), wrong);
    }

    /// When drafts of a chat were asked for, with what they said.
    pub(super) fn drafts(&self, chat: &str) -> Vec<(Instant, Draft)> {
        let state = self.state();
        let drafts = state.asked.iter().filter_map(|(at, asked)| match asked {
            Asked::Draft(to, draft) if to == chat => Some((*at, draft.clone())),
            _ => None,
        });
        drafts.collect()
    }

    pub(super) fn typed(&self, chat: &str) -> usize {
        let typed = Asked::Typing(chat.to_owned());
        let state = self.state();
        state.asked.iter().filter(|(_, a)| *a == typed).count()
    }

    fn ask(&self, asked: Asked) {
        self.state().asked.push((Instant::now(), asked));
    }

    fn wrong(&self, chat: &str) -> Option<Wrong> {
        self.state().wrong.get_mut(chat)?.pop_front()
    }

    /// Posts, or changes what is there.
    fn put(&self, (key, part): (&str, usize), post: Option<&str>, posted: Posted) -> String {
        let mut state = self.state();
        let key = format!("{key}/{part}");
        let known = match post {
            Some(post) => Some(post.parse().unwrap()),
            None if self.resend == Resend::WithKey => state.keys.get(&key).copied(),
            None => None,
        };
        let at = match known {
            // The same key again changes nothing.
            Some(at) if post.is_none() => return at.to_string(),
            Some(at) => {
                state.posts[at] = posted;
                at
            }
            None => {
                state.posts.push(posted);
                state.posts.len() - 1
            }
        };
        state.keys.insert(key, at);
        at.to_string()
    }

    async fn answer(&self, wrong: Option<Wrong>, post: String) -> Result<String> {
        match wrong {
            Some(Wrong::Lost) => Err(lost()),
            Some(Wrong::Hangs) => std::future::pending().await,
            _ => Ok(post),
        }
    }
}

pub(super) fn lost() -> ConnectorError {
    ConnectorError::Unsure {
        reason: "the line is dead".to_owned(),
    }
}

pub(super) fn later(after: Duration) -> ConnectorError {
    ConnectorError::Later {
        reason: "not so fast".to_owned(),
        after: Some(after),
    }
}

#[async_trait]
impl Connector for Platform {
    async fn run(&self, _inbox: &dyn Inbox, cancel: CancellationToken) -> Result<()> {
        cancel.cancelled().await;
        Ok(())
    }

    /// Parts are what blank lines separate.
    async fn send(&self, to: &Address, what: &Outgoing, posts: &dyn Posts) -> Result<()> {
        self.ask(Asked::Send(to.chat.clone(), what.clone()));
        let text = what.said().into_owned();
        for (n, part) in text.split("\n---\n").enumerate().skip(what.posted.len()) {
            let wrong = self.wrong(&to.chat);
            if let Some(Wrong::Fails(error)) = wrong {
                return Err(error);
            }
            let choices = what.question.as_ref().map(|q| q.choices.clone());
            let posted = Posted {
                chat: to.chat.clone(),
                text: part.to_owned(),
                choices: choices.unwrap_or_default(),
            };
            let instead = what.replaces.as_deref().filter(|_| n == 0);
            let post = self.put((&what.idempotency_key, n), instead, posted);
            posts.add(&self.answer(wrong, post).await?).await?;
        }
        Ok(())
    }

    async fn find(&self, _to: &Address, what: &Outgoing) -> Result<Option<String>> {
        let key = format!("{}/{}", what.idempotency_key, what.posted.len());
        Ok(self.state().keys.get(&key).map(ToString::to_string))
    }

    async fn draft(&self, to: &Address, draft: &Draft) -> Result<String> {
        self.ask(Asked::Draft(to.chat.clone(), draft.clone()));
        let wrong = self.wrong(&to.chat);
        if let Some(Wrong::Fails(error)) = wrong {
            return Err(error);
        }
        let posted = Posted {
            chat: to.chat.clone(),
            text: format!("{}[{}]", draft.text, draft.status),
            choices: Vec::new(),
        };
        let post = self.put((&draft.idempotency_key, 0), draft.post.as_deref(), posted);
        self.answer(wrong, post).await
    }

    async fn typing(&self, to: &Address) -> Result<()> {
        self.ask(Asked::Typing(to.chat.clone()));
        Ok(())
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            reads_session: false,
            resend: self.resend,
            drafts: Some(self.pace),
        }
    }
}

struct Nothing;

#[async_trait]
impl Facts for Nothing {
    async fn words(&self) -> String {
        String::new()
    }
}

/// The orchestrator's parts, without lanes: turns are begun and ended by the test.
pub(super) struct Rig {
    pub(super) core: Arc<Core>,
    pub(super) platform: Arc<Platform>,
    _folder: tempfile::TempDir,
}

impl Rig {
    pub(super) fn new(resend: Resend, pace: Duration) -> Self {
        let platform = Platform::new(resend, pace);
        let folder = tempfile::tempdir().unwrap();
        let core = core(folder.path(), &platform);
        Self {
            core: Arc::new(core),
            platform,
            _folder: folder,
        }
    }

    /// Delivers until what this answers is dropped, which is as good as a kill.
    pub(super) fn delivers(&self) -> Supervisor {
        let mut tasks = Supervisor::new();
        let core = Arc::clone(&self.core);
        tasks.restarting("deliver", move |cancel| {
            deliver::run(Arc::clone(&core), cancel)
        });
        tasks
    }

    /// The same, and shows drafts.
    pub(super) fn runs(&self) -> Supervisor {
        let mut tasks = self.delivers();
        let core = Arc::clone(&self.core);
        tasks.restarting("drafts", move |cancel| {
            draft::run(Arc::clone(&core), cancel)
        });
        tasks
    }

    /// Everything with lanes, as the daemon runs it: whatever is called needs a person, and no model is
    /// there but the built-in one.
    pub(super) async fn agent(&self) -> (Orchestrator, Supervisor) {
        let parts = self.core.parts.clone();
        let live = Live {
            approvals: crate::policy::Config::careful(),
            ..(*parts.live()).clone()
        };
        parts.replaceable.store(Arc::new(live));
        let begin = Begin {
            held: None,
            patience: Duration::from_secs(1),
        };
        let (mut intake, mut work) = (Supervisor::new(), Supervisor::new());
        let agent = Orchestrator::start(parts, begin, &mut intake, &mut work);
        (agent.await.unwrap(), work)
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Tx<'_>) -> crate::store::Result<T> + Send + 'static,
    ) -> T {
        self.core.parts.store.write(query).await.unwrap()
    }

    /// Somebody says something in a chat, and a turn begins.
    pub(super) async fn turn(&self, chat: &str) -> Turn {
        let now = self.core.parts.clock.now();
        let from = Address::new("platform", "", chat);
        let said = Inbound::new(from, MessageId::new().to_string(), "ada", "hello");
        let claim = self.write(move |tx| {
            let accepted = inbox::accept(tx, &said, WhenBusy::Queue, now)?;
            let Ok(Accepted::New(_, session)) = accepted else {
                panic!("not accepted: {accepted:?}");
            };
            collect::claim(tx, session, true, now)
        });
        claim.await.unwrap().turn
    }

    /// Shows something that happens in a turn.
    pub(super) fn happens(&self, turn: &Turn, body: Body) {
        self.core.parts.bus.live(turn.session, body);
    }

    pub(super) fn says(&self, turn: &Turn, text: &str) {
        let text = text.to_owned();
        self.happens(
            turn,
            Body::Text {
                turn_id: turn.id,
                text,
            },
        );
    }

    /// A turn ends: its answer is in the outbox.
    pub(super) async fn answers(&self, turn: &Turn, text: &str) -> MessageId {
        let now = self.core.parts.clock.now();
        let (turn, text, id) = (turn.clone(), text.to_owned(), MessageId::new());
        self.write(move |tx| {
            let end = End {
                state: "answered",
                provider: String::new(),
                model: String::new(),
                error: None,
            };
            assert!(turns::finish(tx, turn.id, &end, now)?);
            let parcel = Parcel {
                turn: Some(turn.id),
                ..Parcel::new(
                    (id, turn.session),
                    (turn.reply_to.clone(), "ada".to_owned()),
                    text.clone(),
                    now,
                )
            };
            crate::store::outbox::insert(tx, &parcel)?;
            let completed = Body::Completed {
                turn_id: Some(turn.id),
                message_id: id,
                text,
                status: "ok".to_owned(),
                attachments: Vec::new(),
                usage: crate::types::frame::UsageInfo::default(),
                provider: String::new(),
                model: String::new(),
                at: now,
            };
            tx.show(turn.session, completed)
        })
        .await;
        self.core.posted.notify_one();
        id
    }

    pub(super) async fn parcel(&self, id: MessageId) -> Parcel {
        let read = self
            .core
            .parts
            .store
            .read(move |c| crate::store::outbox::get(c, id));
        read.await.unwrap().unwrap()
    }
}

/// Waits until something is so.
pub(super) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(10), "not so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn core(folder: &Path, platform: &Arc<Platform>) -> Core {
    let clock = Clock::system();
    let bus = Bus::new(clock.clone());
    let store = Store::open(&folder.join("t.db"), &bus).unwrap();
    let posted: Arc<Notify> = Arc::default();
    let kit = kit(folder, (&store, &clock), &posted);
    let live = live(platform);
    Core {
        prompts: prompt::Prompts::prepare(folder),
        gate: gate::Gate::new(live.turns.gate()),
        parts: Parts {
            store,
            bus,
            clock,
            replaceable: Arc::new(ArcSwap::from_pointee(live)),
            kit,
            facts: Arc::new(Nothing),
            data_dir: folder.to_owned(),
        },
        built: toolbox::Built::default(),
        running: running::Running::default(),
        posted,
        drafts: draft::Desk::default(),
        asked: Notify::new(),
        cached: cache::Counter::default(),
        tries: pairing::Tries::default(),
        left: spend::Left::default(),
        held: watch::Sender::new(None),
        drained: CancellationToken::new(),
    }
}

fn kit(folder: &Path, (store, clock): (&Store, &Clock), posted: &Arc<Notify>) -> Kit {
    let skills = crate::skills::Config::default();
    Kit {
        store: store.clone(),
        clock: clock.clone(),
        memory: Memory::new(
            store.clone(),
            clock.clone(),
            crate::memory::Config::default(),
        ),
        schedules: Schedules::new(
            store.clone(),
            clock.clone(),
            &crate::schedule::Config::default(),
        ),
        catalog: Catalog::new(&skills, ""),
        runner: Runner::new(
            Sandbox::new(crate::sandbox::Config::default()),
            &skills,
            folder.to_owned(),
        ),
        workspaces: Arc::new(folder.join("workspaces")),
        post: Post {
            reads_session: Arc::new(|_| false),
            posted: Arc::clone(posted),
        },
        mind: Mind::new(Limits {
            calls: 1,
            tokens: 1,
        }),
    }
}

fn live(platform: &Arc<Platform>) -> Live {
    Live {
        providers: Providers::new(Settings::default(), &Http::new()),
        connectors: Registry::of([("platform", Arc::clone(platform) as Arc<dyn Connector>)]),
        turns: Config::default(),
        delivery: Delivery::default(),
        approvals: crate::policy::Config::default(),
        budgets: Budgets::new(
            crate::budget::Config::default(),
            &std::collections::BTreeMap::new(),
            &[],
        ),
        cache: CacheConfig::default(),
    }
}
