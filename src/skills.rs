//! Skills: folders with a SKILL.md that the agent can read or run.
//!
//! [`manifest`] reads the file, [`catalog`] knows what there is and what may be used, [`run`] runs
//! it. Whether content may be used is a person's decision, bound to the hash of the whole folder.

pub mod audit;
pub mod catalog;
pub mod difference;
pub mod explain;
pub mod manifest;
pub mod permission;
pub mod run;

mod available;
mod folder;
pub mod needs;
mod scan;
mod shipped;
mod watch;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    sandbox,
    types::{Secret, text::shorten},
};
use manifest::{Manifest, Runtime};
use permission::Permission;

pub use crate::store::skills::{File, Record};

/// `skills` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Where skills are; made with the shipped ones if it does not exist.
    pub directory: PathBuf,
    /// The longest that a skill may run, in seconds.
    pub timeout_sec: u64,
    /// Whether skills are confined. `false` runs none, unless `allow_unconfined` is set as well.
    pub sandbox_enabled: bool,
    /// With `sandbox_enabled: false`: run skills with all that Nexflow itself may do. Every skill can
    /// then read every file and key of this user; a warning stays on the page.
    pub allow_unconfined: bool,
    /// The most output that is kept of each stream, in KiB.
    pub max_output_kb: u64,
    /// Memory of one run, in MiB.
    pub memory_mb: u64,
    /// Processes and threads of one run.
    pub processes: u32,
    /// Processor time of one run, in percent of one processor.
    pub cpu_percent: u32,
    /// What one run may write, in MiB.
    pub disk_mb: u64,
    /// Variables for skills that ask for them with `env:NAME`.
    pub env: BTreeMap<String, String>,
    /// Secrets for skills that ask for them with `secret:NAME`.
    #[serde(skip_serializing)]
    pub secrets: BTreeMap<String, Secret>,
    /// By the name of a skill, what it is given beyond what its file asks for, once it is trusted.
    pub grants: BTreeMap<String, Vec<Permission>>,
    /// Connections that all runs of one skill together may open within a minute.
    pub egress_per_minute: u64,
    /// What all runs of one skill together may send and receive within an hour, in MiB.
    pub egress_mb_per_hour: u64,
    /// How often one run may ask a model, with the permission for it.
    pub llm_calls: u32,
    /// Tokens that all answers to one run may have together.
    pub llm_tokens: u64,
    /// Whether changes of the directory are seen while the daemon runs.
    pub watch: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("./skills"),
            timeout_sec: 30,
            sandbox_enabled: true,
            allow_unconfined: false,
            max_output_kb: 64,
            memory_mb: 512,
            processes: 128,
            cpu_percent: 200,
            disk_mb: 1024,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            grants: BTreeMap::new(),
            egress_per_minute: 600,
            egress_mb_per_hour: 2048,
            llm_calls: 20,
            llm_tokens: 20_000,
            watch: true,
        }
    }
}

impl Config {
    /// How the sandbox is set for skills.
    pub fn sandbox(&self) -> sandbox::Config {
        sandbox::Config {
            enabled: self.sandbox_enabled,
            unconfined: self.allow_unconfined,
            egress_per_minute: self.egress_per_minute,
            egress_mb_per_hour: self.egress_mb_per_hour,
            ..sandbox::Config::default()
        }
    }
}

/// The interpreters of skills that are installed, for the sandbox's self-test.
pub fn runtimes(path_env: &str) -> Vec<sandbox::Runtime> {
    let all = [Runtime::Bash, Runtime::Python, Runtime::Node];
    all.into_iter()
        .filter_map(|runtime| {
            Some(sandbox::Runtime {
                name: runtime.as_str(),
                program: available::installed(runtime, path_env)?,
            })
        })
        .collect()
}

/// Whether a skill may be used, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may be used.
    Trusted,
    /// Nobody has decided about it yet.
    Discovered,
    /// Its content is not what was trusted: it does nothing until somebody looked at it.
    Quarantined,
    /// It was switched off.
    Disabled,
    /// Something that it needs is not there.
    Unavailable,
    /// It cannot be understood.
    Broken,
}

impl State {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Discovered => "discovered",
            Self::Quarantined => "quarantined",
            Self::Disabled => "disabled",
            Self::Unavailable => "unavailable",
            Self::Broken => "broken",
        }
    }
}

/// A skill as it stands now.
#[derive(Debug, Clone)]
pub struct Skill {
    /// Its name: unique among usable ones.
    pub name: String,
    /// What its file says.
    pub manifest: Manifest,
    /// Whether it may be used.
    pub state: State,
    /// Why not; empty if it may.
    pub reason: String,
    /// The text below the head of its file.
    pub body: String,
    /// Its folder, without links in it.
    pub dir: PathBuf,
    /// What is odd about it, for its author.
    pub warnings: Vec<String>,
    /// Whether it came with the program, unchanged.
    pub shipped: bool,
    /// Whether one of this folder's name comes with the program, and this is not it.
    pub differs: bool,
    /// SHA-256 of the whole folder.
    pub hash: String,
    /// What was asked for and granted, and what the configuration grants besides.
    pub granted: Vec<Permission>,
    /// What the configuration grants besides.
    pub configured: Vec<Permission>,
    /// What interprets it.
    pub runtime: Option<Runtime>,
    /// The interpreter that was found.
    pub interpreter: Option<PathBuf>,
    /// Required programs that were found outside the system's folders.
    pub binaries: Vec<PathBuf>,
    /// What it says it needs on this machine.
    pub needs: Vec<needs::Need>,
    files: Vec<String>,
    missing: Option<String>,
    broken: Option<String>,
    validator: Option<Arc<jsonschema::Validator>>,
    output_validator: Option<Arc<jsonschema::Validator>>,
}

impl Skill {
    /// Whether there is something to run; others have instructions to read.
    pub fn is_executable(&self) -> bool {
        self.manifest.location.is_some()
    }

    /// The schema of its input: always one of an object.
    pub fn input_schema(&self) -> Value {
        let none = || json!({ "type": "object", "properties": {} });
        self.manifest.input_schema.clone().unwrap_or_else(none)
    }

    /// Whether an input fits the schema.
    ///
    /// # Errors
    /// Which property does not, and why.
    pub fn check_input(&self, input: &Value) -> Result<(), String> {
        if !input.is_object() {
            return Err("the input is not a JSON object".to_owned());
        }
        fits(self.validator.as_deref(), input, "input")
    }

    /// Whether an output fits the schema that the skill declares for it.
    ///
    /// # Errors
    /// Which property does not, and why.
    pub fn check_output(&self, output: &Value) -> Result<(), String> {
        fits(self.output_validator.as_deref(), output, "output")
    }

    /// Its folder as it is now: its hash and files. Blocks.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn copy(&self) -> Result<(String, Vec<File>), String> {
        folder::copy(&self.dir)
    }

    /// The name of its folder.
    pub fn folder(&self) -> String {
        let name = self.dir.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Names of the secrets whose value it gets, not a stand-in.
    pub fn raw_secrets(&self) -> Vec<&str> {
        let raw = self.granted.iter().filter(|p| explain::is_raw(p));
        raw.filter_map(|p| p.as_str().strip_prefix("secret:"))
            .collect()
    }

    /// As lists and the API show it.
    pub fn describe(&self) -> Value {
        let m = &self.manifest;
        let kind = match (self.state, self.is_executable()) {
            (State::Broken, _) => "broken",
            (_, true) => "executable",
            (_, false) => "instruction",
        };
        json!({
            "name": self.name, "description": m.description, "emoji": m.emoji,
            "version": m.version, "author": m.author, "category": m.category, "tags": m.tags,
            "homepage": m.homepage, "license": m.license,
            "kind": kind, "state": self.state, "reason": self.reason,
            "runtime": self.runtime, "permissions": m.permissions, "granted": self.granted,
            "raw_secrets": self.raw_secrets(), "configured": self.configured,
            "effects": m.effects, "idempotent": m.idempotent, "confirm": m.confirm,
            "input_schema": self.input_schema(), "output_schema": m.output_schema,
            "needs": self.needs, "requirements": m.requirements, "metadata": m.metadata, "other": m.other,
            "path": self.dir, "hash": self.hash, "warnings": self.warnings, "shipped": self.shipped, "differs_from_shipped": self.differs,
        })
    }

    /// Its files besides SKILL.md, relative to its folder.
    pub fn files(&self) -> Vec<String> {
        self.files.clone()
    }
}

fn fits(
    validator: Option<&jsonschema::Validator>,
    value: &Value,
    what: &str,
) -> Result<(), String> {
    let Some(error) = validator.and_then(|v| v.iter_errors(value).next()) else {
        return Ok(());
    };
    let at = error.instance_path().to_string();
    let at = at.trim_start_matches('/').replace('/', ".");
    let text = shorten(&error.to_string(), 300);
    if at.is_empty() {
        Err(format!("{what}: {text}"))
    } else {
        Err(format!("{what} `{at}`: {text}"))
    }
}
