//! Joins the modules and runs the daemon: the only file that knows all of them. It decides nothing.

mod egress;
mod facts;
mod lifecycle;
mod reload;
mod starts;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::Router;
use tokio_util::sync::CancellationToken;

pub use facts::Facts;
use starts::Starts;

use crate::{
    api::{self, Door, Shared},
    budget::Budgets,
    bus::Bus,
    config::{Config, Loaded},
    connectors::Registry,
    logging,
    memory::Memory,
    net::Http,
    orchestrator::{Begin, Live, Orchestrator, Parts},
    providers::{Providers, Settings},
    sandbox::Sandbox,
    schedule::Schedules,
    skills::{self, catalog::Catalog, run::Runner},
    store::{self, Store},
    supervisor::Supervisor,
    tools::{Kit, Limits, Mind, Post},
    types::{Clock, Timestamp},
};

/// How long the doors may take to close when nothing runs any more.
const DOORS: Duration = Duration::from_secs(1);

/// What a person is told when the daemon is ready.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Where the page is.
    pub url: String,
    /// The same, signed in: good once, for ten minutes.
    pub login_url: String,
    /// Where the daemon keeps its things.
    pub data_dir: PathBuf,
}

/// Runs the daemon until it is told to stop.
pub async fn serve(loaded: Loaded, announce: impl FnOnce(&Ready)) -> anyhow::Result<()> {
    lifecycle::serve(loaded, announce).await
}

/// The daemon without its doors: for commands that come while none runs.
pub struct Local {
    /// All routes; the caller is the owner.
    pub router: Router,
    daemon: Daemon,
}

/// Opens the data directory and everything in it, but no door.
pub async fn local(loaded: Loaded) -> anyhow::Result<Local> {
    let daemon = Daemon::build(loaded, None).await?;
    Ok(Local {
        router: api::router(Arc::clone(&daemon.shared), Door::Local),
        daemon,
    })
}

impl Local {
    /// Finishes what runs and closes the database.
    pub async fn close(self) {
        self.daemon.stop().await;
    }
}

/// Everything that runs.
struct Daemon {
    shared: Arc<Shared>,
    store: Store,
    intake: Supervisor,
    work: Supervisor,
    starts: Option<Starts>,
    /// What outlives the work, because it writes down how that ended.
    last: Supervisor,
}

impl Daemon {
    /// Opens and joins everything; `listening` is where the page will be reached.
    async fn build(
        loaded: Loaded,
        listening: Option<std::net::SocketAddr>,
    ) -> anyhow::Result<Self> {
        let config = &loaded.config;
        let clock = Clock::system();
        let started_at = clock.now();
        private_folder(&config.data_dir)?;
        let (starts, held) = count_start(config, started_at, listening.is_some());
        let bus = Bus::new(clock.clone());
        let store = open(config, &bus, started_at).await?;
        let http = Http::new();
        let (sandbox, last) = egress::sandbox(config, (&store, &clock));
        let replaceable = Arc::new(ArcSwap::from_pointee(live(config, None, (&http, &clock))));
        let kit = kit(config, (&store, &clock), (&sandbox, post(&replaceable))).await?;
        let facts = Arc::new(Facts {
            replaceable: Arc::clone(&replaceable),
            catalog: kit.catalog.clone(),
            brake: kit.runner.brake().clone(),
            sandbox,
            runtimes: skills::runtimes(&config.path),
            problems: ArcSwap::from_pointee(loaded.problems.clone()),
            starts: starts.clone(),
            data_dir: config.data_dir.clone(),
        });
        let (mut intake, mut work) = (Supervisor::new(), Supervisor::new());
        let parts = Parts {
            store: store.clone(),
            bus,
            clock,
            replaceable,
            kit,
            facts: Arc::clone(&facts) as Arc<dyn crate::orchestrator::Facts>,
            data_dir: config.data_dir.clone(),
        };
        let begin = begin(config, held);
        let agent = Orchestrator::start(parts, begin, &mut intake, &mut work).await?;
        let shared = Arc::new(Shared {
            agent,
            status: Arc::clone(&facts) as Arc<dyn api::DaemonStatus>,
            log: logging::start(&config.logging),
            metrics: api::Metrics::default(),
            refusals: api::Refusals::default(),
            config: config.server.clone(),
            url: url(config, listening),
            started_at,
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
        });
        if listening.is_some() {
            facts::test_sandbox(&mut work, Arc::clone(&facts));
            reload::watch(&mut intake, &shared, (loaded, facts, http));
        }
        Ok(Self {
            shared,
            store,
            intake,
            work,
            starts: listening.is_some().then_some(starts),
            last,
        })
    }

    /// In order: take nothing more in, finish or park what runs, deliver what is there, close the doors,
    /// put everything on disk.
    async fn stop(self) {
        self.shared.stopping.cancel();
        self.work.stop(self.shared.config.stop_timeout()).await;
        self.shared.stopped.cancel();
        self.intake.stop(DOORS).await;
        self.last.stop(DOORS).await;
        self.store.close().await;
        if let Some(starts) = &self.starts {
            starts.forget();
        }
    }
}

/// Before anything that may crash: a daemon that does so again and again is to be noticed. With the
/// reason why no turn is to begin, if there is one.
fn count_start(config: &Config, now: Timestamp, serving: bool) -> (Starts, Option<String>) {
    let starts = Starts::of(&config.data_dir);
    let begin = || starts.begin(now, config.server.safe_mode_after);
    let held = serving.then(begin).flatten();
    (starts, held)
}

/// How the agent starts. Turns have most of the time that stopping may take to end by themselves: the
/// rest is for deliveries and the disk.
fn begin(config: &Config, held: Option<String>) -> Begin {
    let stop = config.server.stop_timeout();
    let patience = stop.saturating_sub(Duration::from_secs(2)).max(stop / 2);
    Begin { held, patience }
}

async fn open(config: &Config, bus: &Bus, now: Timestamp) -> store::Result<Store> {
    let store = Store::open(&config.database_path(), bus)?;
    let days = config.privacy.days();
    store
        .write(move |tx| store::analytics::keep(tx, days, now))
        .await?;
    store.set_floor(config.storage.min_free_mb << 20);
    Ok(store)
}

/// What a change of the configuration replaces; what is known of providers that did not change stays.
fn live(config: &Config, earlier: Option<&Providers>, (http, clock): (&Http, &Clock)) -> Live {
    let settings = Settings {
        entries: config.llm.providers.clone(),
        default_provider: config.llm.default_provider.clone(),
        fallback: config.llm.fallback.clone(),
        tasks: config.llm.tasks.clone(),
        breaker: config.llm.breaker,
        prices: config.llm.prices.clone(),
        ollama_url: Some(config.llm.ollama_url.clone()).filter(|url| !url.is_empty()),
        clock: clock.clone(),
    };
    Live {
        providers: Providers::after(earlier, settings, http),
        cache: config.llm.cache.clone(),
        connectors: Registry::build(&config.channels, http),
        turns: config.turns.clone(),
        delivery: config.delivery.clone(),
        approvals: config.approvals.clone(),
        budgets: Budgets::new(
            config.budgets.clone(),
            &config.llm.prices,
            &config.llm.providers,
        ),
    }
}

async fn kit(
    config: &Config,
    (store, clock): (&Store, &Clock),
    (sandbox, post): (&Sandbox, Post),
) -> anyhow::Result<Kit> {
    let catalog = Catalog::new(&config.skills, &config.path);
    let known = store.read(|c| Ok((store::skills::all(c)?, store::skills::shipped(c)?)));
    let (records, history) = known.await?;
    catalog.set_records(records);
    catalog.renew(history);
    catalog.load();
    let (shipped, now) = (catalog.shipped(), clock.now());
    let remember = store.write(move |tx| store::skills::add_shipped(tx, &shipped, now));
    remember.await?;
    let workspaces = config.data_dir.join("workspaces");
    private_folder(&workspaces)?;
    Ok(Kit {
        store: store.clone(),
        clock: clock.clone(),
        memory: Memory::new(store.clone(), clock.clone(), config.memory.clone()),
        schedules: Schedules::new(store.clone(), clock.clone(), &config.scheduler),
        runner: runner(config, store, sandbox).await?,
        catalog,
        workspaces: Arc::new(workspaces),
        post,
        mind: Mind::new(Limits {
            calls: config.skills.llm_calls,
            tokens: config.skills.llm_tokens,
        }),
    })
}

/// Runs skills, unless a person stopped them all before the last restart.
async fn runner(config: &Config, store: &Store, sandbox: &Sandbox) -> anyhow::Result<Runner> {
    let runner = Runner::new(sandbox.clone(), &config.skills, config.data_dir.clone());
    let stopped = store.read(store::skills::stopped).await?;
    if let Some(text) = stopped {
        let stopped = serde_json::from_str(&text)
            .context("the setting `skills.stopped` in the database cannot be read")?;
        runner.brake().set(Some(stopped));
    }
    Ok(runner)
}

/// How messages of skills leave: as the connectors are configured at that time.
fn post(replaceable: &Arc<ArcSwap<Live>>) -> Post {
    let live = Arc::clone(replaceable);
    Post {
        reads_session: Arc::new(move |name| live.load().connectors.reads_session(name)),
        posted: Arc::default(),
    }
}

/// A folder that only the daemon's user can open.
fn private_folder(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.with_context(|| {
        format!(
            "cannot make {}; choose another data directory with --data-dir",
            path.display()
        )
    })
}

fn url(config: &Config, listening: Option<std::net::SocketAddr>) -> String {
    if let Some(public) = &config.server.public_url {
        return public.as_str().trim_end_matches('/').to_owned();
    }
    let Some(address) = listening else {
        return format!("http://127.0.0.1:{}", config.server.port);
    };
    // Listening everywhere is reached here.
    let host = match address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(v6) => format!("[{v6}]"),
        std::net::IpAddr::V4(v4) => v4.to_string(),
    };
    format!("http://{host}:{}", address.port())
}

#[cfg(test)]
mod tests;
