//! From a tree to a configuration: section by section, so that a bad one spoils no other.

use std::{collections::BTreeMap, path::Path};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    Config, ConfigError, Environment, Llm, Loaded, Problem, Severity, Source, file, resolve, schema,
};
use crate::{
    connectors, providers,
    types::{Entry, Secret, money::Price},
};

/// Sections that later versions will read.
const LATER: &[&str] = &[
    "auth",
    "budgets",
    "agents",
    "approvals",
    "mcp",
    "alerts",
    "privacy",
];

pub(super) fn load(source: &Source, environment: &Environment) -> Result<Loaded, ConfigError> {
    let found = file::find(source.file.as_deref(), environment);
    let (text, mut tree) = match &found {
        Some(path) => file::read(path)?,
        None => (String::new(), Map::new()),
    };
    environment.override_keys(&mut tree);
    let mut reader = Reader {
        environment,
        problems: Vec::new(),
    };
    reader.interpolate_tree(&mut tree);
    register_secrets(&Value::Object(tree.clone()));
    let base = found
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(&environment.cwd)
        .to_owned();
    let mut config = reader.config(tree);
    // Flags and the environment are meant from where the command is typed.
    config.data_dir = match &source.data_dir {
        Some(named) => resolve(&environment.cwd, named),
        None => resolve(&base, &config.data_dir),
    };
    config.skills.directory = resolve(&base, &config.skills.directory);
    config.database.path = config.database.path.map(|path| resolve(&base, &path));
    config.logging.file = config.logging.file.map(|path| resolve(&base, &path));
    config.path = environment.get("PATH").unwrap_or_default().to_owned();
    let mut problems = reader.problems;
    for problem in &mut problems {
        problem.line = file::line_of(&text, &problem.path);
    }
    Ok(Loaded {
        config,
        file: found,
        problems,
    })
}

struct Reader<'a> {
    environment: &'a Environment,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn warn(&mut self, path: &str, message: String, hint: Option<String>) {
        self.tell(Severity::Warning, path, message, hint);
    }

    fn tell(&mut self, severity: Severity, path: &str, message: String, hint: Option<String>) {
        self.problems.push(Problem {
            severity,
            path: path.to_owned(),
            line: None,
            message,
            hint,
        });
    }

    /// Replaces variables. One that is not set takes its provider, connector or endpoint with it, or
    /// else the key that it stands in.
    fn interpolate_tree(&mut self, tree: &mut Map<String, Value>) {
        let mut missing = Vec::new();
        for (key, value) in tree.iter_mut() {
            self.interpolate(value, key, &mut missing);
        }
        for (path, variable) in missing {
            let section = section_of(&path);
            if remove(tree, section) {
                let message = format!("${{{variable}}} is not set, so this is off");
                self.warn(section, message, Some(format!("set {variable} to use it")));
            }
        }
    }

    fn interpolate(&self, value: &mut Value, path: &str, missing: &mut Vec<(String, String)>) {
        match value {
            Value::String(text) if text.contains('$') => match self.environment.interpolate(text) {
                Ok(filled) => *text = filled,
                Err(variable) => missing.push((path.to_owned(), variable)),
            },
            Value::Array(items) => {
                for (n, item) in items.iter_mut().enumerate() {
                    self.interpolate(item, &format!("{path}.{n}"), missing);
                }
            }
            Value::Object(map) => {
                for (key, item) in map.iter_mut() {
                    self.interpolate(item, &format!("{path}.{key}"), missing);
                }
            }
            _ => {}
        }
    }

    fn config(&mut self, mut tree: Map<String, Value>) -> Config {
        self.unknown_sections(&tree);
        self.version(tree.get("version"));
        let mut effective = Map::new();
        let data_dir: std::path::PathBuf =
            self.value(tree.remove("data_dir"), "data_dir", || "./data".into());
        effective.insert("data_dir".to_owned(), data_dir.display().to_string().into());
        let llm = tree.remove("llm");
        let channels = tree.remove("channels");
        let known = |kind: &str| {
            let kind = connectors::KINDS.iter().find(|k| k.name == kind)?;
            Some((kind.schema)().to_value())
        };
        let (tree, shown) = (&mut tree, &mut effective);
        let mut config = Config {
            data_dir,
            server: self.section("server", tree, shown),
            database: self.section("database", tree, shown),
            llm: self.llm(llm, shown),
            channels: self.entries("channels", channels, &known, shown),
            skills: self.section("skills", tree, shown),
            logging: self.section("logging", tree, shown),
            turns: self.section("turns", tree, shown),
            delivery: self.section("delivery", tree, shown),
            scheduler: self.section("scheduler", tree, shown),
            memory: self.section("memory", tree, shown),
            effective: Value::Null,
            path: String::new(),
        };
        config.effective = Value::Object(effective);
        self.check_database(&config);
        config
    }

    fn check_database(&mut self, config: &Config) {
        if config.database.kind == crate::store::Kind::Postgres {
            let message =
                "this version keeps everything in SQLite; postgres is not used".to_owned();
            self.tell(
                Severity::Error,
                "database.type",
                message,
                Some("write `type: sqlite`".to_owned()),
            );
        }
    }

    fn unknown_sections(&mut self, tree: &Map<String, Value>) {
        let known: Vec<&str> = schema::SECTIONS.iter().chain(LATER).copied().collect();
        for (key, value) in tree {
            if !known.contains(&key.as_str()) {
                self.warn(
                    key,
                    "is not a section that this version knows".to_owned(),
                    nearest(key, &known),
                );
            } else if LATER.contains(&key.as_str()) && !is_empty(value) {
                self.warn(key, "has no effect in this version".to_owned(), None);
            }
        }
    }

    fn version(&mut self, version: Option<&Value>) {
        if version.is_some_and(|v| v.as_u64() != Some(1)) {
            let hint = Some("this nexflow reads version 1".to_owned());
            self.warn("version", "is not 1".to_owned(), hint);
        }
    }

    /// A section that one module owns: what it does not know is told, and what cannot be read leaves
    /// its defaults.
    fn section<T>(
        &mut self,
        name: &str,
        tree: &mut Map<String, Value>,
        shown: &mut Map<String, Value>,
    ) -> T
    where
        T: DeserializeOwned + Serialize + Default + schemars::JsonSchema,
    {
        let mut unknown = Vec::new();
        let section: T = match tree.remove(name).filter(|v| !v.is_null()) {
            None => T::default(),
            Some(raw) => {
                let read = serde_ignored::deserialize(raw, |path| unknown.push(path.to_string()));
                read.unwrap_or_else(|error: serde_json::Error| {
                    let hint = Some("so the defaults of this section are used".to_owned());
                    self.tell(Severity::Error, name, error.to_string(), hint);
                    T::default()
                })
            }
        };
        let known = schema::keys::<T>();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        self.problems
            .extend(unknown.iter().map(|key| unknown_key(name, key, &known)));
        shown.insert(
            name.to_owned(),
            serde_json::to_value(&section).unwrap_or_default(),
        );
        section
    }

    fn value<T: DeserializeOwned>(
        &mut self,
        raw: Option<Value>,
        path: &str,
        default: impl FnOnce() -> T,
    ) -> T {
        match raw.filter(|v| !v.is_null()).map(serde_json::from_value) {
            None => default(),
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                let hint = Some("its default is used".to_owned());
                self.tell(Severity::Error, path, error.to_string(), hint);
                default()
            }
        }
    }

    fn llm(&mut self, raw: Option<Value>, effective: &mut Map<String, Value>) -> Llm {
        let mut tree = match raw {
            Some(Value::Object(tree)) => tree,
            None => Map::new(),
            Some(_) => {
                self.tell(Severity::Error, "llm", "is not a mapping".to_owned(), None);
                Map::new()
            }
        };
        let known = [
            "default_provider",
            "fallback",
            "prices",
            "providers",
            "ollama_url",
            "tasks",
        ];
        for key in tree.keys().filter(|k| !known.contains(&k.as_str())) {
            self.problems.push(unknown_key("llm", key, &known));
        }
        let mut shown = Map::new();
        let kinds = |kind: &str| Some((providers::Kind::named(kind)?.schema)());
        let entries = self.entries(
            "llm.providers",
            tree.remove("providers"),
            &kinds,
            &mut shown,
        );
        let llm = Llm {
            default_provider: self.value(
                tree.remove("default_provider"),
                "llm.default_provider",
                || "auto".to_owned(),
            ),
            fallback: self.value(tree.remove("fallback"), "llm.fallback", Vec::new),
            prices: self.value(
                tree.remove("prices"),
                "llm.prices",
                BTreeMap::<String, Price>::new,
            ),
            ollama_url: self.value(tree.remove("ollama_url"), "llm.ollama_url", || {
                "http://127.0.0.1:11434".to_owned()
            }),
            providers: entries,
        };
        shown.insert(
            "default_provider".to_owned(),
            llm.default_provider.clone().into(),
        );
        shown.insert("fallback".to_owned(), llm.fallback.clone().into());
        shown.insert("ollama_url".to_owned(), llm.ollama_url.clone().into());
        if let Some(entries) = shown.remove("llm.providers") {
            shown.insert("providers".to_owned(), entries);
        }
        effective.insert("llm".to_owned(), Value::Object(shown));
        llm
    }

    /// Named sections whose shape their kind knows.
    fn entries(
        &mut self,
        family: &str,
        raw: Option<Value>,
        schema_of: &dyn Fn(&str) -> Option<Value>,
        effective: &mut Map<String, Value>,
    ) -> Vec<Entry> {
        let tree = match raw {
            Some(Value::Object(tree)) => tree,
            None | Some(Value::Null) => return Vec::new(),
            Some(_) => {
                self.tell(Severity::Error, family, "is not a mapping".to_owned(), None);
                return Vec::new();
            }
        };
        effective.insert(family.to_owned(), Value::Object(tree.clone()));
        let mut entries = Vec::new();
        for (name, value) in tree {
            let path = format!("{family}.{name}");
            let mut settings = match value {
                Value::Object(settings) => settings,
                Value::Null => Map::new(),
                _ => {
                    self.tell(
                        Severity::Error,
                        &path,
                        "is not a mapping, so it is off".to_owned(),
                        None,
                    );
                    continue;
                }
            };
            let kind = match settings.remove("kind") {
                Some(Value::String(kind)) => kind,
                _ => name.clone(),
            };
            let Some(schema) = schema_of(&kind) else {
                self.warn(
                    &path,
                    format!("`{kind}` is not in this version, so it is off"),
                    None,
                );
                continue;
            };
            self.unknown_keys(&path, &settings, &schema);
            entries.push(Entry {
                name,
                kind,
                settings,
            });
        }
        entries
    }

    fn unknown_keys(&mut self, path: &str, settings: &Map<String, Value>, schema: &Value) {
        let known: Vec<&str> = schema
            .get("properties")
            .and_then(Value::as_object)
            .map(|p| p.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let unknown = settings
            .keys()
            .filter(|k| *k != "enabled" && !known.contains(&k.as_str()));
        let told: Vec<Problem> = unknown.map(|key| unknown_key(path, key, &known)).collect();
        self.problems.extend(told);
    }
}

fn unknown_key(section: &str, key: &str, known: &[&str]) -> Problem {
    Problem {
        severity: Severity::Warning,
        path: format!("{section}.{key}"),
        line: None,
        message: "is not a key that this version knows".to_owned(),
        hint: nearest(key, known),
    }
}

fn nearest(key: &str, known: &[&str]) -> Option<String> {
    let best = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)))?;
    (strsim::jaro_winkler(best, key) > 0.8).then(|| format!("did you mean `{best}`?"))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The part of a path that is off when something in it is missing.
fn section_of(path: &str) -> &str {
    let deep = match path.split('.').collect::<Vec<_>>().as_slice() {
        ["llm", "providers", ..] => 3,
        ["channels", "webhook", "endpoints", ..] => 4,
        ["channels", ..] => 2,
        all => all.len(),
    };
    let end = path
        .match_indices('.')
        .nth(deep.max(1) - 1)
        .map_or(path.len(), |(at, _)| at);
    path.get(..end).unwrap_or(path)
}

fn remove(tree: &mut Map<String, Value>, path: &str) -> bool {
    match path.split_once('.') {
        None => tree.remove(path).is_some(),
        Some((key, rest)) => match tree.get_mut(key) {
            Some(Value::Object(child)) => remove(child, rest),
            // A list loses the whole list: which item was meant is not ours to guess.
            Some(Value::Array(_)) => tree.remove(key).is_some(),
            _ => false,
        },
    }
}

/// Values under names that mean secrets are never shown, wherever they come to stand.
fn register_secrets(value: &Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let telling = ["key", "token", "secret", "password"];
                let name = key.to_lowercase();
                match value {
                    Value::String(text) if telling.iter().any(|t| name.ends_with(t)) => {
                        drop(Secret::new(text.as_str()));
                    }
                    Value::Object(inner) if name == "secrets" => {
                        for text in inner.values().filter_map(Value::as_str) {
                            drop(Secret::new(text));
                        }
                    }
                    other => register_secrets(other),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(register_secrets),
        _ => {}
    }
}
