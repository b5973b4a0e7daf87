//! The connectors of a daemon: built from its configuration, and how each of them stands.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::Value;

use super::{Condition, Connector, KINDS};
use crate::{
    net::Http,
    types::{Entry, Timestamp},
};

/// Why one is off that the owner does not want.
const SWITCHED_OFF: &str = "switched off";

/// How a connector stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Its name.
    pub name: String,
    /// `off`, or a [`Condition`].
    pub state: &'static str,
    /// More for a person.
    pub detail: String,
    /// When something was last heard from the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Timestamp>,
    /// When the last message or press came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_at: Option<Timestamp>,
    /// That this machine's clock is wrong, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
}

impl State {
    /// Whether the owner wants it off.
    pub fn is_switched_off(&self) -> bool {
        self.state == "off" && self.detail == SWITCHED_OFF
    }

    /// Whether it should work and does not.
    pub fn is_broken(&self) -> bool {
        let works = [Condition::Ok, Condition::Starting].map(Condition::as_str);
        !works.contains(&self.state) && !self.is_switched_off()
    }

    fn off(name: &str, detail: String) -> Self {
        Self {
            name: name.to_owned(),
            state: "off",
            detail,
            heard_at: None,
            event_at: None,
            clock: None,
        }
    }
}

/// The connectors of this daemon.
#[derive(Clone)]
pub struct Registry {
    named: Arc<BTreeMap<String, Arc<dyn Connector>>>,
    off: Arc<[State]>,
}

impl Registry {
    /// Builds what is configured. The page and the command line are there unless switched off; a
    /// section that cannot be built disables that connector alone and is listed with its reason.
    pub fn build(entries: &[Entry], http: &Http) -> Self {
        let mut named = BTreeMap::new();
        let mut off = Vec::new();
        let always = ["web", "cli"].map(|name| Entry {
            name: name.to_owned(),
            kind: name.to_owned(),
            settings: serde_json::Map::new(),
        });
        let missing = always
            .iter()
            .filter(|a| !entries.iter().any(|e| e.name == a.name));
        for entry in entries.iter().chain(missing) {
            match build(entry, http) {
                Ok(Some(connector)) => drop(named.insert(entry.name.clone(), connector)),
                Ok(None) => {
                    off.push(State::off(&entry.name, SWITCHED_OFF.to_owned()));
                }
                Err(detail) => {
                    tracing::error!(connector = entry.name, %detail, "a connector is off");
                    off.push(State::off(&entry.name, detail));
                }
            }
        }
        Self {
            named: Arc::new(named),
            off: off.into(),
        }
    }

    /// These and no others.
    #[cfg(test)]
    pub(crate) fn of(named: impl IntoIterator<Item = (&'static str, Arc<dyn Connector>)>) -> Self {
        let named = named.into_iter().map(|(name, c)| (name.to_owned(), c));
        Self {
            named: Arc::new(named.collect()),
            off: Arc::new([]),
        }
    }

    /// One connector.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Connector>> {
        self.named.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Arc<dyn Connector>)> {
        self.named.iter()
    }

    /// Whether answers through a connector are delivered by being on disk.
    pub fn reads_session(&self, name: &str) -> bool {
        // An unknown one (switched off since) cannot deliver: the answer waits in the outbox.
        self.get(name).is_some_and(|c| c.abilities().reads_session)
    }

    /// Whether what a connector posted can be changed.
    pub fn changes_posts(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|c| c.abilities().changes_posts())
    }

    /// Names of those that can change what they posted.
    pub fn changing_posts(&self) -> Vec<String> {
        let named = self.named.iter();
        let those = named.filter(|(_, c)| c.abilities().changes_posts());
        those.map(|(name, _)| name.clone()).collect()
    }

    /// How they stand.
    pub fn states(&self) -> Vec<State> {
        let on = self.named.iter().map(|(name, connector)| {
            let health = connector.health();
            State {
                name: name.clone(),
                state: health.state.as_str(),
                detail: health.detail,
                heard_at: health.heard_at,
                event_at: health.event_at,
                clock: health.clock,
            }
        });
        on.chain(self.off.iter().cloned()).collect()
    }
}

fn build(entry: &Entry, http: &Http) -> Result<Option<Arc<dyn Connector>>, String> {
    let mut settings = entry.settings.clone();
    if settings.remove("enabled") == Some(Value::Bool(false)) {
        return Ok(None);
    }
    let Some(kind) = KINDS.iter().find(|k| k.name == entry.kind) else {
        return Err(format!(
            "there is no connector `{}` in this version",
            entry.kind
        ));
    };
    (kind.build)(Value::Object(settings), http)
        .map(Some)
        .map_err(|e| format!("channels.{}: {e}", entry.name))
}
