//! From a tree to a configuration: section by section, so that a bad one spoils no other.

use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    Config, ConfigError, Environment, Loaded, Problem, Severity, Source,
    entries::CHANNELS,
    file, fill,
    problem::{nearest, unknown_key},
    resolve, schema, secrets,
    shape::{self, Keys, What},
};

/// Sections that later versions will read.
const LATER: &[&str] = &["auth", "agents", "mcp", "alerts"];

/// What follows from a value that cannot be used.
const DEFAULT: &str = "so its default is used";

pub(super) fn load(source: &Source, environment: &Environment) -> Result<Loaded, ConfigError> {
    let found = file::find(source.file.as_deref(), environment);
    let (text, mut tree) = match &found {
        Some(path) => file::read(path)?,
        None => (String::new(), Map::new()),
    };
    let mut reader = Reader {
        text: &text,
        schema: schema::filled(),
        secrets: Vec::new(),
        problems: Vec::new(),
    };
    let overridden = environment.override_keys(&mut tree, &reader.schema);
    let filled = fill::fill(environment, &mut tree, &overridden);
    let places: Vec<Keys> = overridden.iter().chain(&filled.whole).cloned().collect();
    shape::retype(&mut tree, &reader.schema, &places);
    reader.secrets = secrets::register(&tree);
    for (keys, variable) in &filled.off {
        let message = format!("${{{variable}}} is not set, so this is off");
        let hint = Some(format!("set {variable} to use it"));
        reader.tell(Severity::Warning, keys, message, hint);
    }
    let mut config = reader.config(tree, &filled.off);
    let places = Places {
        cwd: &environment.cwd,
        base: found.as_deref().and_then(Path::parent),
        overridden: &overridden,
    };
    places.settle(&mut config, source);
    environment
        .get("PATH")
        .unwrap_or_default()
        .clone_into(&mut config.path);
    let problems = reader.problems;
    Ok(Loaded {
        config,
        file: found,
        problems,
    })
}

/// Where relative paths are meant from: the folder of the file, but for flags and the environment where
/// the command is typed.
struct Places<'a> {
    cwd: &'a Path,
    base: Option<&'a Path>,
    overridden: &'a [Keys],
}

impl Places<'_> {
    fn settle(&self, config: &mut Config, source: &Source) {
        config.data_dir = match &source.data_dir {
            Some(named) => resolve(self.cwd, named),
            None => self.at(&["data_dir"], &config.data_dir),
        };
        config.skills.directory = self.at(&["skills", "directory"], &config.skills.directory);
        let (database, log) = (&mut config.database.path, &mut config.logging.file);
        *database = database
            .take()
            .map(|path| self.at(&["database", "path"], &path));
        *log = log.take().map(|path| self.at(&["logging", "file"], &path));
        let shown = config.data_dir.display().to_string();
        if let Some(place) = config.effective.get_mut("data_dir") {
            *place = shown.into();
        }
    }

    fn at(&self, keys: &[&str], path: &Path) -> PathBuf {
        let typed = self.overridden.iter().any(|k| k == keys);
        let base = self.base.filter(|_| !typed).unwrap_or(self.cwd);
        resolve(base, path)
    }
}

pub(super) struct Reader<'a> {
    text: &'a str,
    pub(super) schema: Value,
    secrets: Vec<String>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn tell(
        &mut self,
        severity: Severity,
        keys: &[String],
        message: String,
        hint: Option<String>,
    ) {
        self.tell_at(severity, (keys, keys), message, hint);
    }

    /// Tells of a section; the line is that of a key in it.
    pub(super) fn tell_at(
        &mut self,
        severity: Severity,
        (keys, place): (&[String], &[String]),
        message: String,
        hint: Option<String>,
    ) {
        let problem = Problem {
            severity,
            path: keys.join("."),
            line: None,
            message,
            hint,
        };
        self.push(problem, place);
    }

    pub(super) fn push(&mut self, mut problem: Problem, place: &[String]) {
        problem.line = file::line_of(self.text, place);
        problem.message = secrets::hide(&problem.message, &self.secrets);
        self.problems.push(problem);
    }

    fn config(&mut self, mut tree: Map<String, Value>, off: &[(Keys, String)]) -> Config {
        self.unknown_sections(&tree);
        self.version(tree.get("version"));
        let mut effective = Map::new();
        let data_dir = tree.remove("data_dir");
        let data_dir: PathBuf = self.value(data_dir, &["data_dir"], || "./data".into());
        effective.insert("data_dir".to_owned(), data_dir.display().to_string().into());
        let llm = tree.remove("llm");
        let channels = tree.remove("channels").unwrap_or_default();
        let (tree, shown) = (&mut tree, &mut effective);
        let mut config = Config {
            data_dir,
            server: self.section("server", tree, shown),
            database: self.section("database", tree, shown),
            storage: self.section("storage", tree, shown),
            llm: self.llm(llm, shown, off),
            channels: self.entries(&CHANNELS, Some(channels.clone())),
            skills: self.section("skills", tree, shown),
            logging: self.section("logging", tree, shown),
            turns: self.section("turns", tree, shown),
            delivery: self.section("delivery", tree, shown),
            approvals: self.section("approvals", tree, shown),
            budgets: self.section("budgets", tree, shown),
            scheduler: self.section("scheduler", tree, shown),
            memory: self.section("memory", tree, shown),
            privacy: self.section("privacy", tree, shown),
            effective: Value::Null,
            path: String::new(),
        };
        effective.insert("channels".to_owned(), channels);
        config.effective = Value::Object(effective);
        self.check(&mut config);
        config
    }

    /// What types cannot say.
    fn check(&mut self, config: &mut Config) {
        self.careful_approvals(config);
        self.careful_budgets(config);
        if config.database.kind == crate::store::Kind::Postgres {
            let message =
                "this version keeps everything in SQLite; postgres is not used".to_owned();
            let hint = Some("write `type: sqlite`".to_owned());
            self.tell(Severity::Error, &path(&["database", "type"]), message, hint);
        }
        if let Err(why) = crate::logging::directives(&config.logging.level) {
            let message = format!("{why}, so it is info");
            self.tell(Severity::Error, &path(&["logging", "level"]), message, None);
            "info".clone_into(&mut config.logging.level);
        }
        if let Some(zone) = &config.scheduler.time_zone
            && zone.parse::<chrono_tz::Tz>().is_err()
        {
            let message = format!(
                "`{zone}` is no IANA name such as Europe/Berlin, so times of day are the system's"
            );
            let keys = path(&["scheduler", "time_zone"]);
            self.tell(Severity::Error, &keys, message, None);
            config.scheduler.time_zone = None;
        }
    }

    /// A rule that was not understood as it was meant must not let anything through.
    fn careful_approvals(&mut self, config: &mut Config) {
        let about = |p: &Problem| p.path == "approvals" || p.path.starts_with("approvals.");
        if self.problems.iter().any(about) {
            config.approvals = crate::policy::Config::careful();
            let message = "was not understood in full, so every call asks".to_owned();
            self.tell(Severity::Warning, &path(&["approvals"]), message, None);
        }
    }

    /// A limit that was not understood as it was meant must not let money out.
    fn careful_budgets(&mut self, config: &mut Config) {
        for (keys, why) in config.budgets.problems() {
            let keys: Keys = path(&["budgets"]).into_iter().chain(path(&keys)).collect();
            self.tell(Severity::Error, &keys, why, None);
        }
        let about = |p: &Problem| p.path == "budgets" || p.path.starts_with("budgets.");
        if self.problems.iter().any(about) {
            config.budgets = crate::budget::Config::careful();
            let message =
                "was not understood in full, so no model that costs money is asked".to_owned();
            self.tell(Severity::Error, &path(&["budgets"]), message, None);
        }
    }

    fn unknown_sections(&mut self, tree: &Map<String, Value>) {
        let known: Vec<&str> = schema::SECTIONS.iter().chain(LATER).copied().collect();
        for (key, value) in tree {
            let keys = [key.clone()];
            if !known.contains(&key.as_str()) {
                let message = "is not a section that this version knows".to_owned();
                self.tell(Severity::Warning, &keys, message, nearest(key, &known));
            } else if LATER.contains(&key.as_str()) && !is_empty(value) {
                let message = "has no effect in this version".to_owned();
                self.tell(Severity::Warning, &keys, message, None);
            }
        }
    }

    fn version(&mut self, version: Option<&Value>) {
        if version.is_some_and(|v| v.as_u64() != Some(1)) {
            let hint = Some("this nexflow reads version 1".to_owned());
            let message = "is not 1".to_owned();
            self.tell(Severity::Warning, &path(&["version"]), message, hint);
        }
    }

    /// A section that one module owns: what it does not know is told, and what cannot be read is told
    /// and left at its default.
    fn section<T>(
        &mut self,
        name: &str,
        tree: &mut Map<String, Value>,
        shown: &mut Map<String, Value>,
    ) -> T
    where
        T: DeserializeOwned + Serialize + Default,
    {
        let keys = path(&[name]);
        let section = match tree.remove(name) {
            None | Some(Value::Null) => T::default(),
            Some(Value::Object(mut raw)) => {
                self.strip(&keys, &mut raw);
                raw.retain(|_, value| !value.is_null());
                self.strip_unreadable::<T>(&keys, &mut raw);
                self.value(Some(Value::Object(raw)), &[name], T::default)
            }
            Some(_) => {
                let hint = Some("so the defaults of this section are used".to_owned());
                self.tell(Severity::Error, &keys, "is not a mapping".to_owned(), hint);
                T::default()
            }
        };
        let value = serde_json::to_value(&section).unwrap_or_default();
        shown.insert(name.to_owned(), value);
        section
    }

    /// Tells what does not fit the schema, and takes values of a wrong type out.
    pub(super) fn strip(&mut self, keys: &[String], raw: &mut Map<String, Value>) {
        let whole = Value::Object(raw.clone());
        let schema = shape::at(&self.schema, &Value::Null, keys).cloned();
        let mut odd = Vec::new();
        let schema = schema.unwrap_or_default();
        shape::compare(&whole, &schema, &mut Keys::new(), &mut odd);
        for one in odd {
            let place: Keys = keys.iter().chain(&one.keys).cloned().collect();
            match one.what {
                What::Unknown(known) => {
                    let known: Vec<&str> = known.iter().map(String::as_str).collect();
                    self.push(unknown_key(&place, &known), &place);
                }
                What::Type(message) => {
                    fill::remove(raw, &one.keys);
                    self.tell(Severity::Error, &place, message, Some(DEFAULT.to_owned()));
                }
            }
        }
    }

    /// Tells which keys have the right type but cannot be read all the same, and takes them out.
    fn strip_unreadable<T: DeserializeOwned>(
        &mut self,
        keys: &[String],
        raw: &mut Map<String, Value>,
    ) {
        let mut bad = Vec::new();
        for (key, value) in &*raw {
            let alone = Map::from_iter([(key.clone(), value.clone())]);
            if let Err(error) = serde_json::from_value::<T>(Value::Object(alone)) {
                bad.push((key.clone(), error.to_string()));
            }
        }
        for (key, message) in bad {
            raw.shift_remove(&key);
            let place: Keys = keys.iter().cloned().chain([key]).collect();
            self.tell(Severity::Error, &place, message, Some(DEFAULT.to_owned()));
        }
    }

    pub(super) fn value<T: DeserializeOwned>(
        &mut self,
        raw: Option<Value>,
        keys: &[&str],
        default: impl FnOnce() -> T,
    ) -> T {
        match raw.filter(|v| !v.is_null()).map(serde_json::from_value) {
            None => default(),
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                let message = error.to_string();
                self.tell(
                    Severity::Error,
                    &path(keys),
                    message,
                    Some(DEFAULT.to_owned()),
                );
                default()
            }
        }
    }
}

pub(super) fn path(keys: &[&str]) -> Keys {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
