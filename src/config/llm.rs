//! `llm`: providers, prices, and who is asked.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    Llm, Severity,
    entries::PROVIDERS,
    problem::nearest,
    read::{Reader, path},
    shape::Keys,
};
use crate::{
    providers::Tasks,
    types::{Task, money::Price},
};

impl Reader<'_> {
    /// Reads it; `off` is what lacks a variable.
    pub(super) fn llm(
        &mut self,
        raw: Option<Value>,
        effective: &mut Map<String, Value>,
        off: &[(Keys, String)],
    ) -> Llm {
        let mut tree = match raw {
            Some(Value::Object(tree)) => tree,
            None | Some(Value::Null) => Map::new(),
            Some(_) => {
                let message = "is not a mapping".to_owned();
                self.tell(Severity::Error, &path(&["llm"]), message, None);
                Map::new()
            }
        };
        let providers = tree.shift_remove("providers").unwrap_or_default();
        let named = named(&providers, off);
        self.strip(&path(&["llm"]), &mut tree);
        let default = tree.remove("default_provider");
        let local = tree.remove("ollama_url");
        let voices = tree.remove("transcription");
        let llm = Llm {
            providers: self.entries(&PROVIDERS, Some(providers.clone())),
            default_provider: self
                .value(default, &["llm", "default_provider"], || "auto".to_owned()),
            fallback: self.value(tree.remove("fallback"), &["llm", "fallback"], Vec::new),
            tasks: self.tasks(tree.remove("tasks")),
            breaker: self.part("breaker", &mut tree),
            cache: self.part("cache", &mut tree),
            prices: self.prices(tree.remove("prices")),
            transcription: self.value(voices.clone(), &["llm", "transcription"], || None),
            ollama_url: self.value(local, &["llm", "ollama_url"], || {
                "http://127.0.0.1:11434".to_owned()
            }),
        };
        self.check_names(&llm, &named);
        let shown = json!({
            "default_provider": llm.default_provider,
            "fallback": llm.fallback,
            "ollama_url": llm.ollama_url,
            "transcription": voices,
            "tasks": llm.tasks,
            "breaker": llm.breaker,
            "cache": llm.cache,
            "prices": llm.prices,
            "providers": providers,
        });
        effective.insert("llm".to_owned(), shown);
        llm
    }

    /// A mapping below `llm` that one module owns.
    fn part<T: DeserializeOwned + Default>(
        &mut self,
        name: &str,
        tree: &mut Map<String, Value>,
    ) -> T {
        self.value(tree.remove(name), &["llm", name], T::default)
    }

    /// Lists of tasks, each for itself. What is no task was told before.
    fn tasks(&mut self, raw: Option<Value>) -> Tasks {
        let Some(Value::Object(raw)) = raw else {
            return Tasks::new();
        };
        let mut tasks = Tasks::new();
        for (name, list) in raw {
            if let Some(task) = Task::parse(&name) {
                let list = self.value(Some(list), &["llm", "tasks", &name], Vec::new);
                tasks.insert(task, list);
            }
        }
        tasks
    }

    /// Prices, each for itself: a wrong one spoils no other.
    fn prices(&mut self, raw: Option<Value>) -> BTreeMap<String, Price> {
        let Some(Value::Object(raw)) = raw else {
            return BTreeMap::new();
        };
        let mut prices = BTreeMap::new();
        for (model, price) in raw {
            match serde_json::from_value(price) {
                Ok(price) => drop(prices.insert(model, price)),
                Err(error) => {
                    let keys = path(&["llm", "prices", &model]);
                    let hint = Some("so this price is left out".to_owned());
                    self.tell(Severity::Error, &keys, error.to_string(), hint);
                }
            }
        }
        prices
    }

    /// The names of providers that others refer to.
    fn check_names(&mut self, llm: &Llm, named: &[String]) {
        let mut usable: Vec<&str> = llm.providers.iter().map(|p| p.name.as_str()).collect();
        usable.push("offline");
        if !llm.ollama_url.is_empty() {
            usable.push("ollama");
        }
        let first = (llm.default_provider != "auto").then_some(&llm.default_provider);
        let first = first.map(|name| (path(&["llm", "default_provider"]), name));
        let fallback = llm.fallback.iter();
        let fallback = fallback.map(|name| (path(&["llm", "fallback"]), name));
        let tasks = llm.tasks.iter().flat_map(|(task, names)| {
            let keys = path(&["llm", "tasks", task.as_str()]);
            names.iter().map(move |name| (keys.clone(), name))
        });
        for (keys, name) in first.into_iter().chain(fallback).chain(tasks) {
            // `PROVIDER/MODEL`: which models there are, only the provider knows.
            let provider = match name.split_once('/') {
                Some((provider, model)) if !model.is_empty() => provider,
                _ => name,
            };
            if usable.contains(&provider) {
                continue;
            }
            if named.iter().any(|known| known == provider) {
                let message = format!("the provider `{provider}` is off");
                self.tell(Severity::Warning, &keys, message, None);
            } else {
                let message = format!("there is no provider `{provider}`");
                self.tell(Severity::Error, &keys, message, nearest(provider, &usable));
            }
        }
    }
}

/// Every provider that the file names, also those that are off.
fn named(providers: &Value, off: &[(Keys, String)]) -> Vec<String> {
    let lacking = off.iter().filter_map(|(keys, _)| match keys.as_slice() {
        [llm, family, name] if llm == "llm" && family == "providers" => Some(name.clone()),
        _ => None,
    });
    let there = providers.as_object().into_iter().flat_map(Map::keys);
    lacking.chain(there.cloned()).collect()
}
