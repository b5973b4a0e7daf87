//! What a skill was granted, as the sandbox enforces it.

use std::{path::Path, time::Duration};

use serde_json::Value;

use super::{folders::Folders, programs, secrets::Bound};
use crate::{
    sandbox::{Job, Limits, Mount, Network, Reach, Rule, interpreter_mounts},
    skills::{Config, Skill, manifest::Runtime, permission::Grant},
};

/// Longest value of the input that is given as a variable as well.
const LONGEST_VARIABLE: usize = 64 << 10;
/// Most bytes of the input in variables.
const MOST_VARIABLES: usize = 256 << 10;

/// The job of one run.
pub(super) fn job(
    (skill, config): (&Skill, &Config),
    input: &Value,
    folders: &Folders,
    bound: Bound,
) -> Job {
    let interpreter = skill.interpreter.clone().unwrap_or_default();
    let location = skill.manifest.location.as_deref().unwrap_or_default();
    let program = skill.dir.join(location.trim_start_matches("./"));
    let mut mounts = folders.mounts.clone();
    let more = interpreter_mounts(&interpreter)
        .into_iter()
        .chain(skill.binaries.iter().cloned());
    for path in more {
        if !mounts.iter().any(|m| m.path == path) {
            mounts.push(Mount::read(path));
        }
    }
    // A folder goes before what is in it.
    mounts.sort_by(|a, b| a.path.cmp(&b.path));
    Job {
        env: environment((skill, config), input, folders, &bound),
        stdin: input.to_string().into_bytes(),
        cwd: folders.cwd.clone(),
        mounts,
        network: network(skill, bound),
        programs: programs::allowed(skill, &interpreter),
        limits: limits(skill, config),
        uid: Some(folders.uid),
        label: skill.name.clone(),
        ..Job::new(command(skill.runtime, &interpreter, &program))
    }
}

fn command(runtime: Option<Runtime>, interpreter: &Path, program: &Path) -> Vec<String> {
    let (interpreter, program) = (
        interpreter.display().to_string(),
        program.display().to_string(),
    );
    match runtime {
        // Output is shown as it comes; nothing of the folder is changed.
        Some(Runtime::Python) => vec![interpreter, "-u".to_owned(), "-B".to_owned(), program],
        _ => vec![interpreter, program],
    }
}

fn environment(
    (skill, config): (&Skill, &Config),
    input: &Value,
    folders: &Folders,
    bound: &Bound,
) -> Vec<(String, String)> {
    let mut env = Vec::new();
    for permission in &skill.granted {
        let (name, value) = match permission.grant() {
            Grant::Env(name) => (name, config.env.get(name).cloned()),
            Grant::Secret { name, host: None } => (
                name,
                config.secrets.get(name).map(|s| s.expose().to_owned()),
            ),
            _ => continue,
        };
        if let Some(value) = value {
            env.push((name.clone(), value));
        }
    }
    env.extend(inputs(input));
    // The last of a name holds: nobody can replace ours.
    env.extend(bound.environment());
    env.push(("PATH".to_owned(), path(skill)));
    env.push((
        "NEXFLOW_WORKSPACE".to_owned(),
        folders.workspace.display().to_string(),
    ));
    env.push((
        "NEXFLOW_SKILL_DIR".to_owned(),
        skill.dir.display().to_string(),
    ));
    let mut names = std::collections::HashSet::new();
    env.reverse();
    env.retain(|(name, _)| names.insert(name.clone()));
    env
}

/// Scalars of the input, as `NEXFLOW_INPUT_NAME`.
fn inputs(input: &Value) -> Vec<(String, String)> {
    let mut left = MOST_VARIABLES;
    let all = input.as_object().into_iter().flatten();
    all.filter_map(|(key, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return None,
        };
        let named = key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !named || value.contains('\0') || value.len() > LONGEST_VARIABLE.min(left) {
            return None;
        }
        left -= value.len();
        let key = key.to_ascii_uppercase().replace('-', "_");
        Some((format!("NEXFLOW_INPUT_{key}"), value))
    })
    .collect()
}

/// The system's folders, and those of the programs that it needs.
fn path(skill: &Skill) -> String {
    let mut path = programs::FOLDERS.join(":");
    let own = skill
        .interpreter
        .iter()
        .chain(&skill.binaries)
        .filter_map(|p| p.parent());
    for dir in own.map(|d| d.display().to_string()) {
        if !dir.contains(':') && !path.split(':').any(|p| p == dir) {
            path = format!("{dir}:{path}");
        }
    }
    path
}

fn network(skill: &Skill, bound: Bound) -> Network {
    let rules = skill.granted.iter().filter_map(|p| match p.grant() {
        Grant::Network(rule) => Some(rule.clone()),
        _ => None,
    });
    let rules: Vec<Rule> = rules.collect();
    if rules.is_empty() {
        Network::None
    } else if rules.iter().all(|r| *r == Rule::Loopback) {
        Network::Loopback
    } else {
        Network::Gate(Reach {
            rules,
            handles: bound.handles,
            authority: bound.authority,
        })
    }
}

/// What it asks for, and never more than the configuration allows.
fn limits(skill: &Skill, config: &Config) -> Limits {
    let wanted = skill.manifest.wanted;
    let wall = Duration::from_secs(config.timeout_sec.max(1));
    let output_kb = wanted
        .output_kb
        .unwrap_or(u64::MAX)
        .min(config.max_output_kb);
    let memory_mb = wanted.memory_mb.unwrap_or(u64::MAX).min(config.memory_mb);
    let disk_bytes = config.disk_mb.saturating_mul(1 << 20);
    let defaults = Limits::default();
    Limits {
        wall: wanted.timeout.unwrap_or(wall).min(wall),
        output_bytes: usize::try_from(output_kb.saturating_mul(1 << 10)).unwrap_or(usize::MAX),
        memory_bytes: memory_mb.saturating_mul(1 << 20),
        processes: config.processes,
        cpu_percent: config.cpu_percent,
        file_bytes: defaults.file_bytes.min(disk_bytes),
        disk_bytes,
        ..defaults
    }
}
