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
    providers::Condition,
    sandbox::{Mode, Sandbox},
    skills::{State, catalog::Catalog},
};

/// Knows every part.
pub struct Facts {
    pub(super) replaceable: Arc<ArcSwap<Live>>,
    pub(super) catalog: Catalog,
    pub(super) sandbox: Sandbox,
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
        let providers: Vec<Value> = states
            .into_iter()
            .map(|state| {
                let detail = match &state.condition {
                    Condition::Failing(why) | Condition::Misconfigured(why) => why.clone(),
                    Condition::Unknown | Condition::Ready => String::new(),
                };
                json!({ "name": state.name, "kind": state.kind, "model": state.model,
                        "state": state.condition.word(), "detail": detail })
            })
            .collect();
        let about = live.providers.pick().await.about();
        let skills = self.catalog.snapshot();
        let usable = skills.iter().filter(|s| s.state == State::Trusted).count();
        let unusable: Vec<Value> = skills
            .iter()
            .filter(|s| s.state != State::Trusted)
            .map(|s| json!({ "name": s.name, "state": s.state.as_str(), "reason": s.reason }))
            .collect();
        let sandbox = self.sandbox.report().await;
        json!({
            "provider": { "name": about.name, "model": about.model, "offline": about.offline },
            "providers": providers,
            "sandbox": &*sandbox,
            "connectors": live.connectors.states(),
            "skills": { "total": skills.len(), "available": usable, "unusable": unusable },
            "warnings": self.warnings(sandbox.mode),
            "config_problems": &**self.problems.load(),
            "data_dir": self.data_dir,
        })
    }

    async fn checks(&self) -> Value {
        let live = self.replaceable.load_full();
        let connectors: serde_json::Map<String, Value> = live
            .connectors
            .states()
            .into_iter()
            .map(|s| (s.name, s.state.into()))
            .collect();
        json!({
            "sandbox": self.sandbox.report().await.mode.as_str(),
            "connectors": connectors,
            "provider": live.providers.pick().await.about().name,
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
        match mode {
            Mode::Full => {}
            Mode::Degraded => warnings.push("Skills are confined by less than everything; `nexflow doctor` says what is missing.".to_owned()),
            Mode::None => warnings.push("Nothing can confine skills on this machine, so none runs; `nexflow doctor` says how to mend it.".to_owned()),
        }
        warnings
    }
}

#[async_trait]
impl orchestrator::Facts for Facts {
    async fn words(&self) -> String {
        let live = self.replaceable.load_full();
        let about = live.providers.pick().await.about();
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
                    format!("{} (off)", s.name)
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
