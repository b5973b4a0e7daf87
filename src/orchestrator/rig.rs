//! For tests: the orchestrator's parts with a platform whose posts can be seen, and tasks that can be
//! killed.

mod platform;

use std::{path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub(super) use self::platform::{Platform, Wrong, later, lost};
use super::{
    Begin, CacheConfig, Config, Core, Delivery, Facts, Live, Orchestrator, Parts, cache, collect,
    deliver, draft, gate, lanes, pairing, prompt, running, spend, toolbox,
};
use crate::{
    budget::Budgets,
    bus::Bus,
    connectors::{Connector, Registry, Resend},
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
    types::{Address, Clock, Inbound, MessageId, WhenBusy, frame::Body},
};

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
        me: std::sync::Weak::new(),
        lanes: lanes::channel().0,
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
