//! The HTTP and WebSocket interface: the table of contents. Documented in `docs/api.md`.

mod access;
mod analytics;
mod approvals;
mod assets;
mod attachments;
mod audit;
mod chat;
mod drain;
mod error;
mod health;
mod hooks;
mod logs;
mod memory;
mod metrics;
mod models;
mod outbox;
mod people;
mod providers;
mod schedules;
mod sessions;
mod skills;
mod socket;
mod stream;
mod tokens;
mod traces;
mod usage;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

pub use access::Door;
pub use audit::Refusals;
pub use health::DaemonStatus;
pub use metrics::Metrics;
pub use providers::shown as shown_provider;

use crate::{
    logging,
    orchestrator::Orchestrator,
    types::{Clock, Timestamp},
};

/// `server` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Names besides IP addresses and loopback names by which browsers may reach the daemon.
    pub allowed_hosts: Vec<String>,
    /// Larger request bodies are refused.
    pub max_body_bytes: usize,
    /// The address that people type, where it is not the one that is listened on (a proxy).
    pub public_url: Option<Url>,
    /// Seconds that a stop may take: turns end by themselves in them or are put down safely.
    pub stop_timeout_sec: u64,
    /// So many starts within two minutes without a clean stop are a crash loop: then no turn begins
    /// until a person says so. 0: never.
    pub safe_mode_after: u32,
}

impl Config {
    /// How long a stop may take.
    pub fn stop_timeout(&self) -> Duration {
        Duration::from_secs(self.stop_timeout_sec)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 8080,
            allowed_hosts: Vec::new(),
            max_body_bytes: 4 << 20,
            public_url: None,
            stop_timeout_sec: 8,
            safe_mode_after: 5,
        }
    }
}

/// What the handlers share.
pub struct Shared {
    /// The agent.
    pub agent: Orchestrator,
    /// What the status page shows.
    pub status: Arc<dyn DaemonStatus>,
    /// The log, for those who watch it.
    pub log: logging::Handle,
    /// Counters.
    pub metrics: Metrics,
    /// Refused callers that were noted lately.
    pub refusals: Refusals,
    /// Settings.
    pub config: Config,
    /// Where people reach the page: with the port that was really taken.
    pub url: String,
    /// When the daemon started.
    pub started_at: Timestamp,
    /// Cancelled when the daemon stops: open streams end then.
    pub stopping: tokio_util::sync::CancellationToken,
    /// Cancelled when no turn runs any more: what was not answered by then is after the next start.
    pub stopped: tokio_util::sync::CancellationToken,
}

impl Shared {
    fn clock(&self) -> &Clock {
        &self.agent.parts().clock
    }

    fn store(&self) -> &crate::store::Store {
        &self.agent.parts().store
    }
}

type App = Arc<Shared>;

/// All routes, as they are served through a door: the network, where callers must say who they are,
/// or the Unix socket, where they are the owner.
pub fn router(shared: Arc<Shared>, door: Door) -> Router {
    let limit = shared.config.max_body_bytes;
    let gate = access::Gate {
        shared: Arc::clone(&shared),
        door,
    };
    Router::new()
        .merge(open_routes())
        .merge(routes())
        .merge(session_routes())
        .merge(model_routes())
        .merge(people_routes())
        .fallback(assets::page)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(DefaultBodyLimit::max(limit))
        .layer(middleware::from_fn_with_state(gate, access::guard))
        .layer(middleware::from_fn_with_state(limit, drain::refused))
        .with_state(shared)
}

/// For everybody.
fn open_routes() -> Router<App> {
    Router::new()
        .route("/health", get(health::live))
        .route("/ready", get(health::ready))
        .route("/metrics", get(metrics::text))
        .route("/hooks/{name}", post(hooks::receive))
        .route("/api/v1/auth/login", post(tokens::login))
        .route("/api/v1/auth/logout", post(tokens::logout))
}

/// For callers who said who they are; each handler takes a [`Caller`].
fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/auth/link", post(tokens::link))
        .route("/api/v1/status", get(health::status))
        .route("/api/v1/chat", post(chat::send))
        .route("/api/v1/turns/{id}", delete(chat::cancel))
        .route("/api/v1/skills", get(skills::list))
        .route(
            "/api/v1/skills/{name}",
            get(skills::show)
                .post(skills::run)
                .patch(skills::trust::change),
        )
        .route("/api/v1/skills/stop", post(skills::trust::stop))
        .route("/api/v1/skills/start", post(skills::trust::start))
        .route("/api/v1/skills/{name}/audit", get(skills::trust::report))
        .route("/api/v1/skills/{name}/diff", get(skills::trust::diff))
        .route("/api/v1/tasks", get(skills::tasks))
        .route(
            "/api/v1/tasks/{id}",
            get(skills::task).delete(skills::cancel),
        )
        .route(
            "/api/v1/schedules",
            get(schedules::list).post(schedules::add),
        )
        .route("/api/v1/schedules/{id}", delete(schedules::remove))
        .route("/api/v1/schedules/{id}/run", post(schedules::run))
        .route("/api/v1/approvals", get(approvals::list))
        .route(
            "/api/v1/approvals/{id}",
            get(approvals::show).post(approvals::decide),
        )
        .route("/api/v1/grants", get(approvals::grants))
        .route("/api/v1/grants/{id}", delete(approvals::revoke))
        .route("/api/v1/memory", get(memory::search).post(memory::add))
        .route("/api/v1/memory/{id}", delete(memory::forget))
        .route("/api/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/api/v1/tokens/{id}", delete(tokens::revoke))
        .route("/api/v1/outbox", get(outbox::list))
        .route("/api/v1/outbox/{id}", post(outbox::decide))
        .route("/api/v1/safe-mode", post(health::safe_mode))
        .route("/api/v1/usage", get(usage::report))
        .route("/api/v1/estimate", post(usage::estimate))
        .route("/api/v1/metrics", get(metrics::json))
        .route("/api/v1/logs", get(logs::recent))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/analytics", get(analytics::report))
        .route("/api/v1/audit/head", get(audit::head))
        .route("/api/v1/audit/verify", get(audit::verify))
        .route("/ws/chat/{session}", get(socket::chat))
        .route("/ws/logs", get(logs::watch))
}

/// The same, about what was said.
fn session_routes() -> Router<App> {
    Router::new()
        .route("/api/v1/sessions", get(sessions::list))
        .route(
            "/api/v1/sessions/{id}",
            get(sessions::show)
                .delete(sessions::remove)
                .patch(providers::choose),
        )
        .route("/api/v1/sessions/{id}/messages", get(sessions::messages))
        .route("/api/v1/messages/{id}/trace", get(traces::show))
        .route(
            "/api/v1/messages/{id}/attachments/{n}",
            get(attachments::show),
        )
}

/// The same, about models.
fn model_routes() -> Router<App> {
    Router::new()
        .route("/api/v1/models", get(models::list))
        .route("/api/v1/models/pull", post(models::pull))
        .route("/api/v1/providers", get(providers::list))
        .route("/api/v1/providers/{name}/reset", post(providers::reset))
        .route("/api/v1/providers/{name}/probe", post(providers::probe))
        .route(
            "/api/v1/users/me/preferences",
            get(providers::preferences).patch(providers::prefer),
        )
}

/// The same, about people.
fn people_routes() -> Router<App> {
    Router::new()
        .route("/api/v1/users", get(people::list))
        .route(
            "/api/v1/users/{id}",
            delete(people::remove).patch(people::change),
        )
        .route(
            "/api/v1/pairings",
            get(people::waiting).post(people::decide),
        )
}

/// A login link for the owner, who is made at the first start.
pub async fn owner_login(shared: &Arc<Shared>) -> anyhow::Result<String> {
    let made = async {
        let (user, _) = access::owner(shared).await?;
        tokens::make_link(shared, user.id, crate::store::users::Role::Owner).await
    };
    made.await
        .map(|(url, _)| url)
        .map_err(|error| anyhow::anyhow!("the login link could not be made: {error:?}"))
}
