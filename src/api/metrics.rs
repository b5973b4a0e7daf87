//! Numbers for Prometheus, and the same as JSON.

mod connectors;

use std::sync::{Arc, atomic::AtomicU64};

use axum::{
    Json as Answer,
    extract::State,
    http::{Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use serde_json::{Value, json};

use connectors::Connectors;

use super::{
    App,
    access::Caller,
    error::{ApiError, ApiResult},
};
use crate::{
    budget::Left,
    store::{inbox, outbox, usage},
    types::money::Scope,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Model {
    provider: String,
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    provider: String,
    model: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    scope: &'static str,
    period: String,
}

type Dollars<L> = Family<L, Gauge<f64, AtomicU64>>;

/// What models took since the database was made, and what budgets leave.
#[derive(Debug, Clone, Default)]
struct Money {
    calls: Family<Model, Gauge>,
    failed: Family<Model, Gauge>,
    tokens: Family<Tokens, Gauge>,
    cost: Dollars<Model>,
    left: Dollars<Limit>,
}

impl Money {
    fn register(&self, registry: &mut Registry) {
        registry.register("model_calls", "Attempts at model calls", self.calls.clone());
        let about = "Attempts at model calls that gave no answer";
        registry.register("model_calls_failed", about, self.failed.clone());
        registry.register(
            "model_tokens",
            "Tokens read, cached and written",
            self.tokens.clone(),
        );
        registry.register("model_cost_usd", "What models cost", self.cost.clone());
        let about = "What budgets of everything leave in their period";
        registry.register("budget_left_usd", about, self.left.clone());
    }

    fn set(&self, totals: &[usage::Total], budgets: &[Left]) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        for total in totals {
            let (provider, model) = (total.provider.clone(), total.model.clone());
            let of = Model { provider, model };
            self.calls.get_or_create(&of).set(number(total.calls));
            self.failed.get_or_create(&of).set(number(total.failed));
            self.cost.get_or_create(&of).set(total.cost.as_number());
            let kinds = [
                ("input", total.usage.input_tokens),
                ("cached", total.usage.cached_tokens),
                ("output", total.usage.output_tokens),
            ];
            for (kind, tokens) in kinds {
                let (provider, model) = (of.provider.clone(), of.model.clone());
                let of = Tokens {
                    provider,
                    model,
                    kind,
                };
                self.tokens.get_or_create(&of).set(number(tokens));
            }
        }
        self.left.clear();
        for (budget, left) in budgets.iter().filter_map(|b| Some((b, b.left_usd?))) {
            let of = Limit {
                scope: budget.scope.as_str(),
                period: budget.period.as_str().to_owned(),
            };
            self.left.get_or_create(&of).set(left.as_number());
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProvider {
    provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCircuit {
    provider: String,
    model: String,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Found {
    found: &'static str,
}

/// What is known of the providers.
#[derive(Debug, Clone, Default)]
struct Providers {
    running: Family<OfProvider, Gauge>,
    waiting: Family<OfProvider, Gauge>,
    circuits: Family<OfCircuit, Gauge>,
    kept: Family<Found, Counter>,
}

impl Providers {
    fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register(
            "provider_running",
            "Model calls under way",
            own.running.clone(),
        );
        registry.register(
            "provider_waiting",
            "Model calls that wait for a place",
            own.waiting.clone(),
        );
        registry.register(
            "provider_circuit",
            "0 while failures count, 1 while one call finds out, 2 while nobody asks",
            own.circuits.clone(),
        );
        registry.register(
            "kept_answers",
            "Requests that are kept, by whether an answer was there",
            own.kept.clone(),
        );
        own
    }

    fn gather(&self, app: &App) {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        for family in [&self.running, &self.waiting] {
            family.clear();
        }
        self.circuits.clear();
        for state in app.agent.parts().live().providers.states() {
            let provider = state.name;
            let labels = OfProvider {
                provider: provider.clone(),
            };
            let (running, waiting) = (number(state.running), number(state.waiting));
            self.running.get_or_create(&labels).set(running);
            self.waiting.get_or_create(&labels).set(waiting);
            for circuit in state.circuits {
                let labels = OfCircuit {
                    provider: provider.clone(),
                    model: circuit.model,
                    class: circuit.class.as_str(),
                };
                let word = match circuit.state {
                    "open" => 2,
                    "half_open" => 1,
                    _ => 0,
                };
                self.circuits.get_or_create(&labels).set(word);
            }
        }
        let counts = app.agent.cache_counts();
        for (found, n) in [("yes", counts.hits), ("no", counts.misses)] {
            let counter = self.kept.get_or_create(&Found { found }).clone();
            counter.inc_by(n.saturating_sub(counter.get()));
        }
    }
}

/// The counters of this process.
#[derive(Debug, Clone)]
pub struct Metrics {
    providers: Providers,
    connectors: Connectors,
    registry: Arc<Registry>,
    requests: Family<Request, Counter>,
    backlog: Gauge,
    undelivered: Gauge,
    dead: Gauge,
    stopped: Gauge,
    free: Gauge,
    turns: Gauge,
    waiting: Gauge,
    held: Gauge,
    uptime: Gauge<f64, AtomicU64>,
    money: Money,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("nexflow");
        let (requests, backlog) = (Family::default(), Gauge::default());
        let (undelivered, dead, uptime) = (Gauge::default(), Gauge::default(), Gauge::default());
        let stopped = Gauge::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "inbox_backlog",
            "Messages without an answer yet",
            backlog.clone(),
        );
        registry.register("outbox_open", "Answers on their way", undelivered.clone());
        registry.register(
            "outbox_given_up",
            "Answers that could not be delivered",
            dead.clone(),
        );
        registry.register(
            "skills_stopped",
            "1 while a person has stopped all skills",
            stopped.clone(),
        );
        let (free, turns) = (Gauge::default(), Gauge::default());
        let (waiting, held) = (Gauge::default(), Gauge::default());
        registry.register(
            "storage_free_bytes",
            "Free on the disk of the database",
            free.clone(),
        );
        registry.register("turns_running", "Turns that run", turns.clone());
        registry.register(
            "turns_waiting",
            "Conversations that wait for a place among the running ones",
            waiting.clone(),
        );
        registry.register("safe_mode", "1 while no turn begins", held.clone());
        registry.register("uptime_seconds", "Time since the start", uptime.clone());
        let money = Money::default();
        money.register(&mut registry);
        let providers = Providers::register(&mut registry);
        let connectors = Connectors::register(&mut registry);
        Self {
            providers,
            connectors,
            registry: Arc::new(registry),
            requests,
            backlog,
            undelivered,
            dead,
            stopped,
            free,
            turns,
            waiting,
            held,
            uptime,
            money,
        }
    }
}

impl Metrics {
    /// Counts an answered request.
    pub(super) fn request(&self, method: &Method, status: StatusCode) {
        let labels = Request {
            method: method.to_string(),
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
    }

    async fn gather(&self, app: &App) -> ApiResult<()> {
        let parts = app.agent.parts();
        let budgets = parts.live().budgets.clone();
        let now = (app.clock().now(), parts.kit.schedules.zone());
        let read = app.store().read(move |c| {
            let mut left = budgets.overview(c, now)?;
            left.retain(|budget| budget.scope == Scope::All);
            let money = (usage::totals(c)?, left);
            Ok((inbox::backlog(c)?, outbox::counts(c)?, money))
        });
        let (backlog, counts, (totals, left)) = read.await?;
        self.money.set(&totals, &left);
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.backlog.set(number(backlog));
        self.undelivered.set(number(counts.open));
        self.dead.set(number(counts.dead + counts.expired));
        let stopped = app.agent.parts().kit.runner.brake().stopped();
        self.stopped.set(i64::from(stopped.is_some()));
        self.free.set(number(app.store().free().bytes));
        let (running, waiting) = app.agent.load();
        self.turns.set(i64::try_from(running).unwrap_or(i64::MAX));
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.providers.gather(app);
        self.connectors.set(&parts.live().connectors.states());
        self.held.set(i64::from(app.agent.held().is_some()));
        self.uptime
            .set(app.clock().now().since(app.started_at).as_secs_f64());
        Ok(())
    }
}

/// For Prometheus.
pub(super) async fn text(State(app): State<App>) -> ApiResult<Response> {
    app.metrics.gather(&app).await?;
    let mut out = String::new();
    encode(&mut out, &app.metrics.registry).map_err(|e| ApiError::bad(e.to_string()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], out).into_response())
}

/// For programs.
pub(super) async fn json(State(app): State<App>, _caller: Caller) -> ApiResult<Answer<Value>> {
    let since = app.clock().now().minus(std::time::Duration::from_hours(24));
    let read = app.store().read(move |c| {
        Ok((
            inbox::backlog(c)?,
            outbox::counts(c)?,
            usage::report(c, usage::By::Model, (since, chrono_tz::Tz::UTC))?,
        ))
    });
    let (backlog, counts, models) = read.await?;
    let (running, waiting) = app.agent.load();
    Ok(Answer(json!({
        "uptime_s": app.clock().now().since(app.started_at).as_secs(),
        "inbox": { "backlog": backlog },
        "turns": { "running": running, "waiting": waiting },
        "outbox": {
            "open": counts.open, "ambiguous": counts.ambiguous,
            "dead": counts.dead, "expired": counts.expired,
        },
        "kept_answers": app.agent.cache_counts(),
        "storage": { "free_bytes": app.store().free().bytes },
        "last_24_h": models,
    })))
}
