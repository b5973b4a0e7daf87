//! Joins the modules and runs the daemon: the only file that knows all of them. It decides nothing.

mod facts;
mod lifecycle;
mod reload;

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

use crate::{
    api::{self, Door, Shared},
    bus::Bus,
    config::{Config, Loaded},
    connectors::Registry,
    logging,
    memory::Memory,
    net::Http,
    orchestrator::{Live, Orchestrator, Parts},
    providers::{Providers, Settings},
    sandbox::Sandbox,
    schedule::Schedules,
    skills::{catalog::Catalog, run::Runner},
    store::{self, Store},
    supervisor::Supervisor,
    tools::Kit,
    types::Clock,
};

/// How long what takes work in, and what does it, may take to stop.
const GRACE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(6));

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
    stopping: CancellationToken,
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
        let bus = Bus::new(clock.clone());
        let store = Store::open(&config.database_path(), &bus)?;
        let http = Http::new();
        let sandbox = sandbox(config);
        let kit = kit(config, (&store, &clock), &sandbox).await?;
        let replaceable = Arc::new(ArcSwap::from_pointee(live(config, &http, &clock)));
        let facts = Arc::new(Facts {
            replaceable: Arc::clone(&replaceable),
            catalog: kit.catalog.clone(),
            sandbox,
            problems: ArcSwap::from_pointee(loaded.problems.clone()),
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
        let agent = Orchestrator::start(parts, &mut intake, &mut work).await?;
        let stopping = CancellationToken::new();
        let shared = Arc::new(Shared {
            agent,
            status: Arc::clone(&facts) as Arc<dyn api::DaemonStatus>,
            log: logging::start(&config.logging),
            metrics: api::Metrics::default(),
            config: config.server.clone(),
            url: url(config, listening),
            started_at,
            stopping: stopping.clone(),
        });
        if listening.is_some() {
            reload::watch(&mut intake, &shared, (loaded, facts, http));
        }
        Ok(Self {
            shared,
            store,
            intake,
            work,
            stopping,
        })
    }

    /// In order: take nothing more in, finish or park what runs, put everything on disk.
    async fn stop(self) {
        self.stopping.cancel();
        self.intake.stop(GRACE.0).await;
        self.work.stop(GRACE.1).await;
        self.store.close().await;
    }
}

/// What a change of the configuration replaces.
fn live(config: &Config, http: &Http, clock: &Clock) -> Live {
    let settings = Settings {
        entries: config.llm.providers.clone(),
        default_provider: config.llm.default_provider.clone(),
        fallback: config.llm.fallback.clone(),
        prices: config.llm.prices.clone(),
        ollama_url: Some(config.llm.ollama_url.clone()).filter(|url| !url.is_empty()),
        clock: clock.clone(),
    };
    Live {
        providers: Providers::new(settings, http),
        connectors: Registry::build(&config.channels, http),
        turns: config.turns.clone(),
        delivery: config.delivery.clone(),
        approvals: config.approvals.clone(),
    }
}

fn sandbox(config: &Config) -> Sandbox {
    let enabled = config.skills.sandbox_enabled;
    Sandbox::new(crate::sandbox::Config {
        enabled,
        ..Default::default()
    })
}

async fn kit(
    config: &Config,
    (store, clock): (&Store, &Clock),
    sandbox: &Sandbox,
) -> anyhow::Result<Kit> {
    let catalog = Catalog::new(&config.skills, &config.path);
    catalog.set_records(store.read(|c| Ok(store::skills::all(c)?)).await?);
    catalog.load();
    let workspaces = config.data_dir.join("workspaces");
    private_folder(&workspaces)?;
    Ok(Kit {
        store: store.clone(),
        clock: clock.clone(),
        memory: Memory::new(store.clone(), clock.clone(), config.memory.clone()),
        schedules: Schedules::new(store.clone(), clock.clone(), &config.scheduler),
        runner: Runner::new(sandbox.clone(), &config.skills, config.data_dir.clone()),
        catalog,
        workspaces: Arc::new(workspaces),
    })
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
