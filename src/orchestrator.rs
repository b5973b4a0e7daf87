//! The agent: takes messages in, answers them turn by turn, sends the answers out.

mod allowed;
mod amend;
mod ask;
mod attachments;
mod cache;
mod choose;
mod closing;
mod collect;
mod context;
mod decide;
mod deliver;
mod direct;
mod draft;
mod estimate;
mod events;
mod expire;
mod fires;
mod flow;
mod gate;
mod inbox;
mod lanes;
mod limits;
mod model;
mod operate;
mod pairing;
mod park;
mod people;
mod plan;
mod preface;
mod prompt;
mod question;
mod recover;
mod reopen;
mod resume;
#[cfg(test)]
mod rig;
mod running;
mod spend;
mod status;
mod think;
mod toolbox;
mod trace;
mod turn;
mod work;

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use cache::{Config as CacheConfig, Counts as CacheCounts};
pub use decide::{Choice, DecideError, Decider, Decision, shown};
pub use estimate::{Draft, Estimate};
pub use pairing::{Asked, PeopleError};
pub use status::Facts;
pub use trace::{Stage, Trace};

use crate::{
    budget::Budgets,
    bus::Bus,
    connectors::Registry,
    policy,
    providers::Providers,
    store::Store,
    supervisor::Supervisor,
    tools::{Kit, Think},
    types::{Clock, SessionId, Span, TurnId, WhenBusy, money::Usd},
};

/// `turns` in the configuration: ceilings of one turn and of all together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Model calls in a turn at most; then comes one closing answer without tools.
    pub max_steps: u32,
    /// Seconds that a turn may take; then comes one closing answer without tools.
    pub max_seconds: u64,
    /// US dollars that a turn may cost where prices are known; then comes one closing answer without
    /// tools.
    pub max_cost_usd: Option<Usd>,
    /// What a message does that comes while a turn runs in its conversation.
    pub when_busy: WhenBusy,
    /// Tools of one answer that run side by side.
    pub max_parallel_tools: usize,
    /// Turns that run side by side.
    pub max_parallel: usize,
    /// Of these, turns of one person.
    pub max_parallel_per_user: usize,
    /// Tokens that a model may write in one answer.
    pub max_output_tokens: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_steps: 24,
            max_seconds: 300,
            max_cost_usd: None,
            when_busy: WhenBusy::Collect,
            max_parallel_tools: 4,
            max_parallel: 64,
            max_parallel_per_user: 48,
            max_output_tokens: 4096,
        }
    }
}

impl Config {
    fn gate(&self) -> gate::Limits {
        gate::Limits {
            all: self.max_parallel,
            each: self.max_parallel_per_user,
        }
    }
}

/// `delivery` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Delivery {
    /// An answer older than this is not sent without asking.
    pub max_age: Span,
    /// Deliveries tried at most.
    pub max_attempts: u32,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            max_age: Span(Duration::from_hours(1)),
            max_attempts: 12,
        }
    }
}

/// What the agent is made of.
#[derive(Clone)]
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Shows what happens.
    pub bus: Bus,
    /// Time.
    pub clock: Clock,
    /// What a change of the configuration replaces.
    pub replaceable: Arc<ArcSwap<Live>>,
    /// Tools.
    pub kit: Kit,
    /// What `/status` says of the daemon.
    pub facts: Arc<dyn Facts>,
    /// Where `USER.md`, `WORKSPACE.md` and `prompts/` are.
    pub data_dir: PathBuf,
}

/// What a change of the configuration replaces while the daemon runs.
#[derive(Clone)]
pub struct Live {
    /// Models.
    pub providers: Providers,
    /// Platforms.
    pub connectors: Registry,
    /// Ceilings.
    pub turns: Config,
    /// How long answers are worth delivering.
    pub delivery: Delivery,
    /// What asks before it is done.
    pub approvals: policy::Config,
    /// What may be spent.
    pub budgets: Budgets,
    /// Which answers of models are kept.
    pub cache: CacheConfig,
}

impl Parts {
    /// What the configuration says now.
    pub fn live(&self) -> Arc<Live> {
        self.replaceable.load_full()
    }
}

/// The running agent. Cheap to clone.
#[derive(Clone)]
pub struct Orchestrator {
    core: Arc<Core>,
}

/// What its tasks share.
struct Core {
    parts: Parts,
    /// Itself, for tools that it holds.
    me: Weak<Core>,
    /// Tells that a session has something to answer.
    lanes: lanes::Wake,
    prompts: prompt::Prompts,
    /// The tools as they last were.
    built: toolbox::Built,
    /// Turns that run now, and how to stop them.
    running: running::Running,
    /// Limits turns side by side.
    gate: Arc<gate::Gate>,
    /// Something was put in the outbox.
    posted: Arc<Notify>,
    /// Requests about drafts that are under way.
    drafts: draft::Desk,
    /// Somebody is asked something.
    asked: Notify,
    /// Wrong codes of strangers lately.
    tries: pairing::Tries,
    /// How often an answer was kept already.
    cached: cache::Counter,
    /// What models took whose answers nobody waits for any more.
    left: spend::Left,
    /// Why no turn begins, while that is so.
    held: watch::Sender<Option<String>>,
    /// Cancelled when the last turn of a stopping daemon has ended.
    drained: CancellationToken,
}

/// How it starts.
#[derive(Debug, Clone)]
pub struct Begin {
    /// Why no turn is to begin until [`Orchestrator::release`].
    pub held: Option<String>,
    /// How long turns may take to end by themselves when the daemon stops.
    pub patience: Duration,
}

impl Orchestrator {
    /// Prepares the agent and starts its tasks: those that take work in under `intake`, those that
    /// do it under `work`. What an earlier run left unfinished goes on.
    pub async fn start(
        parts: Parts,
        begin: Begin,
        intake: &mut Supervisor,
        work: &mut Supervisor,
    ) -> crate::store::Result<Self> {
        let prompts = prompt::Prompts::prepare(&parts.data_dir);
        let gate = gate::Gate::new(parts.live().turns.gate());
        let posted = Arc::clone(&parts.kit.post.posted);
        let (lanes, wakes) = lanes::channel();
        let core = Arc::new_cyclic(|me| Core {
            parts,
            me: Weak::clone(me),
            lanes,
            prompts,
            built: toolbox::Built::default(),
            running: running::Running::default(),
            gate,
            posted,
            drafts: draft::Desk::default(),
            asked: Notify::new(),
            tries: pairing::Tries::default(),
            cached: cache::Counter::default(),
            left: spend::Left::default(),
            held: watch::Sender::new(begin.held),
            drained: CancellationToken::new(),
        });
        let thinking: Weak<dyn Think> = Arc::downgrade(&(Arc::clone(&core) as Arc<dyn Think>));
        core.parts.kit.mind.wake(thinking);
        let waiting = recover::after_restart(&core).await?;
        let orchestrator = Self {
            core: Arc::clone(&core),
        };
        let start = lanes::Start {
            wakes,
            waiting,
            patience: begin.patience,
        };
        work.vital("lanes", |cancel| {
            lanes::run(Arc::clone(&core), start, cancel)
        });
        let delivering = Arc::clone(&core);
        work.restarting("deliver", move |cancel| {
            deliver::run(Arc::clone(&delivering), cancel)
        });
        let showing = Arc::clone(&core);
        work.restarting("drafts", move |cancel| {
            draft::run(Arc::clone(&showing), cancel)
        });
        let settling = Arc::clone(&core);
        work.restarting("settle", move |cancel| {
            spend::settle(Arc::clone(&settling), cancel)
        });
        let expiring = orchestrator.clone();
        work.restarting("approvals", move |cancel| {
            expire::run(expiring.clone(), cancel)
        });
        let firing = orchestrator.clone();
        intake.restarting("schedule", move |cancel| fires::run(firing.clone(), cancel));
        Ok(orchestrator)
    }

    /// Stops a running turn. `false` if it does not run.
    pub fn cancel(&self, turn: TurnId) -> bool {
        self.core.running.cancel(turn)
    }

    /// Stops a turn that is on disk, now or as soon as it is taken up.
    pub fn cancel_soon(&self, turn: TurnId) {
        self.core.running.cancel_soon(turn);
    }

    /// Why no turn begins, while that is so.
    pub fn held(&self) -> Option<String> {
        self.core.held.borrow().clone()
    }

    /// Lets turns begin again. `false` if they were not held.
    pub fn release(&self) -> bool {
        self.core.held.send_replace(None).is_some()
    }

    /// How many turns run, and how many wait for a place.
    pub fn load(&self) -> (usize, usize) {
        self.core.gate.counts()
    }

    /// How often an answer was kept already, and how often it was not.
    pub fn cache_counts(&self) -> CacheCounts {
        self.core.cached.counts()
    }

    /// Looks at the outbox now: something in it was decided.
    pub fn deliver(&self) {
        self.core.posted.notify_one();
    }

    /// Looks at a session for messages that wait.
    pub async fn wake(&self, session: SessionId) {
        self.core.lanes.wake(session).await;
    }

    /// What it is made of.
    pub fn parts(&self) -> &Parts {
        &self.core.parts
    }

    /// The time line of a message.
    pub async fn trace(
        &self,
        message: crate::types::MessageId,
    ) -> crate::store::Result<Option<Trace>> {
        self.core
            .parts
            .store
            .read(move |c| trace::of(c, message))
            .await
    }
}

impl Orchestrator {
    /// Fires a schedule now, besides its times.
    pub async fn fire_now(
        &self,
        schedule: crate::store::schedules::Schedule,
    ) -> crate::store::Result<()> {
        fires::fire_now(self, schedule).await
    }
}
