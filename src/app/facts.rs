//! How the whole daemon stands, for people and programs.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::starts::Starts;
use crate::{
    api,
    config::Problem,
    orchestrator::{self, Live},
    sandbox::{Mode, Report, Runtime, Sandbox},
    skills::{State, catalog::Catalog, run::Brake},
    supervisor::Supervisor,
};

/// Knows every part.
pub struct Facts {
    pub(super) replaceable: Arc<ArcSwap<Live>>,
    pub(super) catalog: Catalog,
    pub(super) brake: Brake,
    pub(super) sandbox: Sandbox,
    pub(super) runtimes: Vec<Runtime>,
    pub(super) problems: ArcSwap<Vec<Problem>>,
    pub(super) data_dir: PathBuf,
    pub(super) starts: Starts,
}

#[async_trait]
impl api::DaemonStatus for Facts {
    async fn report(&self, thorough: bool) -> Value {
        let live = self.replaceable.load_full();
        let states = if thorough {
            live.providers.check().await
        } else {
            live.providers.states()
        };
        let providers: Vec<Value> = states.iter().map(api::shown_provider).collect();
        let left_alone = states
            .iter()
            .filter(|s| s.circuits.iter().any(|c| c.state != "closed"));
        let left_alone = left_alone.map(|s| format!("`{}` is left alone for a while, because it failed again and again; `nexflow doctor` says why.", s.name));
        let about = live.providers.pick().await;
        let skills = self.catalog.snapshot();
        let usable = skills.iter().filter(|s| s.state == State::Trusted).count();
        let unusable: Vec<Value> = skills
            .iter()
            .filter(|s| s.state != State::Trusted)
            .map(|s| json!({ "name": s.name, "state": s.state.as_str(), "reason": s.reason }))
            .collect();
        let sandbox = if thorough {
            self.sandbox.self_test(&self.runtimes).await
        } else {
            self.sandbox.report().await
        };
        let mut warnings = self.warnings(sandbox.mode);
        warnings.extend(left_alone);
        let connectors = live.connectors.states();
        let broken = connectors.iter().filter(|state| state.is_broken());
        warnings.extend(broken.map(|state| {
            let (name, detail) = (&state.name, &state.detail);
            format!(
                "The channel `{name}` does not work: {detail} (`nexflow doctor` shows all of them.)"
            )
        }));
        warnings.extend(connectors.iter().filter_map(|state| state.clock.clone()));
        json!({
            "provider": { "name": about.name, "model": about.model, "offline": about.offline },
            "providers": providers,
            "sandbox": &*sandbox,
            "connectors": connectors,
            "skills": { "total": skills.len(), "available": usable, "unusable": unusable,
                        "stopped": self.brake.stopped() },
            "warnings": warnings,
            "config_problems": &**self.problems.load(),
            "data_dir": self.data_dir,
        })
    }

    async fn checks(&self) -> Value {
        let live = self.replaceable.load_full();
        let states = live.connectors.states();
        let broken = states.iter().filter(|s| s.is_broken());
        let details: serde_json::Map<String, Value> = broken
            .map(|s| (s.name.clone(), s.detail.clone().into()))
            .collect();
        let connectors: serde_json::Map<String, Value> = states
            .into_iter()
            .map(|s| (s.name, s.state.into()))
            .collect();
        let sandbox = self.sandbox.report().await;
        json!({
            "sandbox": sandbox.mode.as_str(),
            "sandbox_summary": sandbox.summary,
            "sandbox_weaker": sandbox.weaker,
            "runtimes": runtimes(&sandbox),
            "connectors": connectors,
            "connectors_broken": details,
            "provider": live.providers.pick().await.name,
            "skills": if self.brake.stopped().is_some() { "stopped" } else { "ok" },
        })
    }

    fn forget_crashes(&self) {
        self.starts.forget();
    }
}

impl Facts {
    /// What is wrong besides the parts.
    fn warnings(&self, mode: Mode) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .problems
            .load()
            .iter()
            .map(ToString::to_string)
            .collect();
        if let Some(stopped) = self.brake.stopped() {
            warnings.push(format!("No skill runs: {}.", stopped.reason()));
        }
        match mode {
            Mode::Full => {}
            Mode::Degraded => warnings.push("Skills are confined by less than everything; `nexflow doctor` says what is missing.".to_owned()),
            Mode::None => warnings.push("No skill runs: nothing confines it; `nexflow doctor` says how to mend it.".to_owned()),
            Mode::Unconfined => warnings.push("Skills run UNCONFINED: they can read, change and send everything that Nexflow can. Remove `skills.sandbox_enabled: false` from the configuration.".to_owned()),
        }
        warnings
    }

    /// Tries the sandbox with every runtime, and says in the log what confines skills here.
    async fn tell_sandbox(&self) {
        let report = self.sandbox.self_test(&self.runtimes).await;
        let (mode, weaker) = (report.mode.as_str(), report.weaker.join(" "));
        match report.mode {
            Mode::Full if weaker.is_empty() => tracing::info!(mode, "sandbox: {}", report.summary),
            Mode::Full => tracing::info!(mode, "sandbox: {} {weaker}", report.summary),
            Mode::Degraded => tracing::warn!(mode, "sandbox: {} {weaker}", report.summary),
            Mode::None | Mode::Unconfined => {
                let fix = report.fix.join(" ");
                tracing::error!(mode, "sandbox: {} {fix}", report.summary);
            }
        }
        for layer in report.layers.iter().filter(|l| !l.ok) {
            tracing::warn!(mode, "sandbox: {}: {}", layer.name, layer.detail);
        }
    }
}

/// Starts the self-test beside everything else.
pub(super) fn test_sandbox(work: &mut Supervisor, facts: Arc<Facts>) {
    work.vital("self-test of the sandbox", |cancel| async move {
        tokio::select! {
            () = facts.tell_sandbox() => {}
            () = cancel.cancelled() => {}
        }
        Ok::<(), String>(())
    });
}

/// What came of each runtime's useful command; empty until it has run.
fn runtimes(report: &Report) -> Value {
    let tested = report.layers.iter().filter_map(|layer| {
        let name = layer.name.strip_prefix("runtime ")?;
        let word = if layer.ok {
            "ok"
        } else {
            layer.detail.as_str()
        };
        Some((name.to_owned(), Value::from(word)))
    });
    Value::Object(tested.collect())
}

#[async_trait]
impl orchestrator::Facts for Facts {
    async fn words(&self) -> String {
        let live = self.replaceable.load_full();
        let about = live.providers.pick().await;
        let sandbox = self.sandbox.report().await;
        let skills = self.catalog.snapshot();
        let usable = skills.iter().filter(|s| s.state == State::Trusted).count();
        let mut text = String::from("**Nexflow** is running.\n\n");
        let model = match (about.offline, about.model.as_str()) {
            (true, _) => "none; the built-in offline mode answers".to_owned(),
            (false, "") => about.name.clone(),
            (false, model) => format!("{} ({model})", about.name),
        };
        text.push_str(&format!("- Model: {model}\n"));
        text.push_str(&format!(
            "- Sandbox: {} – {}\n",
            sandbox.mode.as_str(),
            sandbox.summary
        ));
        text.push_str(&format!("- Skills: {usable} of {} can run\n", skills.len()));
        let names: Vec<String> = live
            .connectors
            .states()
            .into_iter()
            .map(|s| {
                if s.state == "ok" {
                    s.name
                } else {
                    format!("{} ({})", s.name, s.state)
                }
            })
            .collect();
        text.push_str(&format!("- Channels: {}\n", names.join(", ")));
        for warning in self.warnings(sandbox.mode) {
            text.push_str(&format!("- ⚠ {warning}\n"));
        }
        text
    }
}
