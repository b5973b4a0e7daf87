//! Named sections whose shape their kind knows: providers and connectors.

use serde_json::{Map, Value};

use super::{
    Severity, fill,
    problem::unknown_key,
    read::Reader,
    shape::{self, Keys, What},
};
use crate::{connectors, net::Http, providers, types::Entry};

/// What differs between the families.
pub(super) struct Family {
    /// Where its sections are.
    path: &'static [&'static str],
    /// Tries to make one of a kind; none if there is no such kind.
    build: fn(&Entry) -> Option<Result<(), String>>,
    /// Sections that hold unless somebody says no.
    always: &'static [&'static str],
}

/// `llm.providers`.
pub(super) const PROVIDERS: Family = Family {
    path: &["llm", "providers"],
    build: |entry| {
        let kind = providers::Kind::named(&entry.kind)?;
        let mut own = entry.clone();
        own.settings.shift_remove("max_concurrent");
        Some((kind.build)(&own, &Http::new()).map(drop))
    },
    always: &[],
};

/// `channels`.
pub(super) const CHANNELS: Family = Family {
    path: &["channels"],
    build: |entry| {
        let kind = connectors::KINDS.iter().find(|k| k.name == entry.kind)?;
        let mut settings = entry.settings.clone();
        settings.shift_remove("enabled");
        let built = (kind.build)(Value::Object(settings), &Http::new());
        Some(built.map(drop).map_err(|e| e.to_string()))
    },
    always: &["web", "cli"],
};

impl Family {
    fn keys(&self, name: &str) -> Keys {
        let outer = self.path.iter().map(|key| (*key).to_owned());
        outer.chain([name.to_owned()]).collect()
    }

    /// The place of one that is left out: nothing, or one that is off.
    fn off(&self, name: &str) -> Option<Entry> {
        self.always.contains(&name).then(|| Entry {
            name: name.to_owned(),
            kind: name.to_owned(),
            settings: Map::from_iter([("enabled".to_owned(), false.into())]),
        })
    }
}

impl Reader<'_> {
    /// The sections of a family that can be used.
    pub(super) fn entries(&mut self, family: &Family, raw: Option<Value>) -> Vec<Entry> {
        let tree = match raw {
            Some(Value::Object(tree)) => tree,
            None | Some(Value::Null) => return Vec::new(),
            Some(_) => {
                let keys: Keys = family.path.iter().map(|key| (*key).to_owned()).collect();
                self.tell(Severity::Error, &keys, "is not a mapping".to_owned(), None);
                return Vec::new();
            }
        };
        let read = tree.into_iter().filter_map(|(name, value)| {
            let entry = self.entry(family, &name, value);
            entry.or_else(|| family.off(&name))
        });
        read.collect()
    }

    fn entry(&mut self, family: &Family, name: &str, value: Value) -> Option<Entry> {
        let keys = family.keys(name);
        if !fill::is_on(&value) {
            // A provider that is off is not there; a connector that is off is listed as such.
            let listed = family.path == CHANNELS.path;
            return listed.then(|| Entry {
                name: name.to_owned(),
                kind: kind_of(name, &value),
                settings: Map::from_iter([("enabled".to_owned(), false.into())]),
            });
        }
        let kind = kind_of(name, &value);
        let mut settings = match value {
            Value::Object(settings) => settings,
            Value::Null => Map::new(),
            _ => {
                let message = "is not a mapping, so it is off".to_owned();
                self.tell(Severity::Error, &keys, message, None);
                return None;
            }
        };
        let known = family.path.iter().try_fold(&self.schema, |schema, key| {
            schema.get("properties")?.get(key)
        });
        let schema = known.and_then(|s| s.get("properties")?.get(&kind)).cloned();
        let Some(schema) = schema else {
            let message = format!("`{kind}` is not in this version, so it is off");
            self.tell(Severity::Warning, &keys, message, None);
            return None;
        };
        if !self.fits(&keys, &settings, &schema) {
            return None;
        }
        settings.shift_remove("kind");
        if family.path != CHANNELS.path {
            settings.shift_remove("enabled");
        }
        settings.retain(|_, value| !value.is_null());
        let entry = Entry {
            name: name.to_owned(),
            kind,
            settings,
        };
        match (family.build)(&entry)? {
            Ok(()) => Some(entry),
            Err(why) => {
                let message = format!("{why}, so it is off");
                self.tell(Severity::Error, &keys, message, None);
                None
            }
        }
    }

    /// Tells what does not fit; whether the section can be tried.
    fn fits(&mut self, keys: &Keys, settings: &Map<String, Value>, schema: &Value) -> bool {
        let mut odd = Vec::new();
        let whole = Value::Object(settings.clone());
        shape::compare(&whole, schema, &mut Keys::new(), &mut odd);
        let mut fits = true;
        for one in odd {
            let place: Keys = keys.iter().chain(&one.keys).cloned().collect();
            match one.what {
                What::Unknown(known) => {
                    let known: Vec<&str> = known.iter().map(String::as_str).collect();
                    let problem = unknown_key(&place, &known);
                    self.push(problem, &place);
                }
                What::Type(message) => {
                    fits = false;
                    let message = format!("`{}`: {message}, so it is off", one.keys.join("."));
                    self.tell_at(Severity::Error, (keys, &place), message, None);
                }
            }
        }
        fits
    }
}

fn kind_of(name: &str, section: &Value) -> String {
    let kind = section.get("kind").and_then(Value::as_str);
    kind.unwrap_or(name).to_owned()
}
