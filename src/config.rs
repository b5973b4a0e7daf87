//! The configuration: the sections of all modules together. Each module owns its own section; this one
//! reads the file and the environment and tells a person what is wrong with them.

mod entries;
mod environment;
mod file;
mod fill;
mod llm;
mod parse;
mod problem;
mod read;
mod schema;
mod secrets;
mod shape;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use environment::Environment;
pub use problem::{ConfigError, Problem, Severity};
pub use schema::schema;

use crate::{
    api, budget, logging, memory, orchestrator, policy,
    providers::{Rules, Tasks, Transcription},
    schedule, skills, store,
    types::{Entry, money::Price},
};

/// `config.example.yml`: every key with its default.
pub const EXAMPLE: &str = include_str!("../config.example.yml");

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file it was read from.
    pub file: Option<PathBuf>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the daemon keeps its things.
    pub data_dir: PathBuf,
    /// The HTTP server.
    pub server: api::Config,
    /// The database.
    pub database: store::Config,
    /// Its disk.
    pub storage: store::Storage,
    /// Models.
    pub llm: Llm,
    /// Connectors.
    pub channels: Vec<Entry>,
    /// Skills.
    pub skills: skills::Config,
    /// The log.
    pub logging: logging::Config,
    /// Ceilings of turns.
    pub turns: orchestrator::Config,
    /// The outbox.
    pub delivery: orchestrator::Delivery,
    /// What asks before it is done.
    pub approvals: policy::Config,
    /// What may be spent.
    pub budgets: budget::Config,
    /// Reminders.
    pub scheduler: schedule::Config,
    /// Facts and past messages.
    pub memory: memory::Config,
    /// Events that are counted.
    pub privacy: store::analytics::Config,
    /// As it was read, with everything filled in: for `config show`.
    effective: Value,
    /// `PATH`, where interpreters are looked for.
    pub path: String,
}

/// `llm`.
#[derive(Debug, Clone, PartialEq)]
pub struct Llm {
    /// Name of a provider, or `auto`: the first that answers.
    pub default_provider: String,
    /// Providers to ask when the first fails.
    pub fallback: Vec<String>,
    /// Who is asked for what, in order.
    pub tasks: Tasks,
    /// When a provider is left alone.
    pub breaker: Rules,
    /// Answers that are kept.
    pub cache: orchestrator::CacheConfig,
    /// Prices by model.
    pub prices: std::collections::BTreeMap<String, Price>,
    /// Providers.
    pub providers: Vec<Entry>,
    /// Who writes down what is said in voice notes.
    pub transcription: Option<Transcription>,
    /// Where `auto` looks for an Ollama that nobody configured; empty switches that off.
    pub ollama_url: String,
}

/// Reads file and environment.
///
/// # Errors
/// When the named file is not there or is not YAML or JSON: with file, line and column. Everything
/// less is a [`Problem`], and that section's default is used.
pub fn load(source: &Source) -> Result<Loaded, ConfigError> {
    read::load(source, &Environment::of_process())
}

/// Where a test wants the process to stop (`NEXFLOW_FAILPOINT`).
#[cfg(feature = "failpoints")]
pub fn failpoint() -> Option<String> {
    Environment::of_process()
        .get("NEXFLOW_FAILPOINT")
        .map(str::to_owned)
}

impl Config {
    /// The database file.
    pub fn database_path(&self) -> PathBuf {
        self.database
            .path
            .clone()
            .unwrap_or_else(|| self.data_dir.join("nexflow.db"))
    }

    /// Where the command line reaches the daemon.
    pub fn socket_path(&self) -> PathBuf {
        self.data_dir.join("nexflow.sock")
    }

    /// As JSON, with secrets masked: by the names of their keys, and by value wherever else they stand.
    pub fn show(&self) -> Value {
        secrets::masked(&self.effective)
    }
}

/// A path of the configuration: relative ones are meant from the folder of the file.
fn resolve(base: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() {
        path.to_owned()
    } else {
        // Without the dots of `./data`.
        base.join(path).components().collect()
    }
}

#[cfg(test)]
mod tests;
