//! The agent: takes messages in, answers them turn by turn, sends the answers out.

mod ask;
mod closing;
mod context;
mod decide;
mod deliver;
mod direct;
mod expire;
mod fires;
mod flow;
mod inbox;
mod lanes;
mod model;
mod park;
mod plan;
mod prompt;
mod recover;
mod reopen;
mod resume;
mod status;
mod toolbox;
mod trace;
mod turn;
mod work;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub use decide::{Choice, DecideError, Decider, Decision, shown};
pub use status::Facts;
pub use trace::{Stage, Trace};

use crate::{
    bus::Bus,
    connectors::Registry,
    policy,
    providers::Providers,
    store::Store,
    supervisor::Supervisor,
    tools::Kit,
    types::{Clock, SessionId, TurnId},
};

/// `turns` in the configuration: ceilings of one turn and of all together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Model calls in a turn at most; then comes one closing answer without tools.
    pub max_steps: u32,
    /// Seconds that a turn may take; then comes one closing answer without tools.
    pub max_seconds: u64,
    /// Tools of one answer that run side by side.
    pub max_parallel_tools: usize,
    /// Sessions that are answered side by side.
    pub max_sessions: usize,
    /// Tokens that a model may write in one answer.
    pub max_output_tokens: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_steps: 24,
            max_seconds: 300,
            max_parallel_tools: 4,
            max_sessions: 64,
            max_output_tokens: 4096,
        }
    }
}

/// `delivery` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Delivery {
    /// An answer that could not be delivered for this long is given up.
    pub max_age_sec: u64,
    /// Deliveries tried at most.
    pub max_attempts: u32,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            max_age_sec: 3600,
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
    lanes: lanes::Wake,
}

/// What its tasks share.
struct Core {
    parts: Parts,
    prompts: prompt::Prompts,
    /// Turns that run now, and how to stop them.
    running: Mutex<HashMap<TurnId, CancellationToken>>,
    /// Limits sessions that are answered side by side; first come, first served.
    slots: Arc<Semaphore>,
    /// Something was put in the outbox.
    posted: Notify,
    /// Somebody is asked something.
    asked: Notify,
}

impl Core {
    fn running(&self) -> MutexGuard<'_, HashMap<TurnId, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Orchestrator {
    /// Prepares the agent and starts its tasks: those that take work in under `intake`, those that
    /// do it under `work`. What an earlier run left unfinished goes on.
    pub async fn start(
        parts: Parts,
        intake: &mut Supervisor,
        work: &mut Supervisor,
    ) -> crate::store::Result<Self> {
        let prompts = prompt::Prompts::prepare(&parts.data_dir);
        let slots = Arc::new(Semaphore::new(parts.live().turns.max_sessions.max(1)));
        let core = Arc::new(Core {
            parts,
            prompts,
            running: Mutex::default(),
            slots,
            posted: Notify::new(),
            asked: Notify::new(),
        });
        let waiting = recover::after_restart(&core).await?;
        let (lanes, wakes) = lanes::channel();
        let orchestrator = Self {
            core: Arc::clone(&core),
            lanes,
        };
        work.vital("lanes", |cancel| {
            lanes::run(Arc::clone(&core), wakes, waiting, cancel)
        });
        let delivering = Arc::clone(&core);
        work.restarting("deliver", move |cancel| {
            deliver::run(Arc::clone(&delivering), cancel)
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
        let running = self.core.running();
        running.get(&turn).inspect(|token| token.cancel()).is_some()
    }

    /// Looks at a session for messages that wait.
    pub async fn wake(&self, session: SessionId) {
        self.lanes.wake(session).await;
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
