//! `nexflow config`: what is configured, and whether it is right.

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::{
    Setup,
    out::{self, Level, line},
    trouble::Trouble,
};
use crate::config::{self, Loaded, Severity};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look for mistakes; exits 2 if there are any
    #[command(after_help = "Example: nexflow config check --config config.yml")]
    Check {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// What holds, defaults included, secrets masked
    Show {
        /// JSON instead of YAML
        #[arg(long)]
        json: bool,
    },
    /// The JSON Schema of the configuration, for editors
    Schema {
        /// As it is anyway
        #[arg(long, hide = true)]
        json: bool,
    },
}

/// Runs one.
pub(super) fn run(setup: &Setup, command: &Command) -> Result<()> {
    match command {
        Command::Check { json } => check(setup, *json),
        Command::Show { json: true } => out::json(&setup.load()?.config.show()),
        Command::Show { json: false } => {
            out::raw(&serde_yaml::to_string(&setup.load()?.config.show())?)
        }
        Command::Schema { .. } => out::json(&config::schema()),
    }
}

fn check(setup: &Setup, json: bool) -> Result<()> {
    let loaded = config::load(&setup.source).map_err(Trouble::usage)?;
    let errors = loaded
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .count();
    if json {
        let file = &loaded.file;
        out::json(&json!({ "ok": errors == 0, "file": file, "problems": loaded.problems }))?;
    } else {
        show(setup, &loaded)?;
    }
    if errors == 0 {
        return Ok(());
    }
    let noun = if errors == 1 { "mistake" } else { "mistakes" };
    let hint = "the parts with mistakes are left out when nexflow runs; mend them and check again";
    Err(
        Trouble::usage(format_args!("{errors} {noun} in the configuration"))
            .hint(hint)
            .into(),
    )
}

fn show(setup: &Setup, loaded: &Loaded) -> Result<()> {
    for problem in &loaded.problems {
        let level = level(problem.severity);
        line(&format!(
            "{} {problem}",
            setup.style.mark(level, level.sign())
        ))?;
    }
    let name = loaded.file.as_ref().map(|f| f.display().to_string());
    let name = name.unwrap_or_else(|| "No configuration file, the defaults hold".to_owned());
    match loaded.problems.len() {
        0 => line(&format!("{name}: everything is in order.")),
        1 => line(&format!("{name}: 1 remark.")),
        n => line(&format!("{name}: {n} remarks.")),
    }
}

/// How bad a problem is.
pub(super) fn level(severity: Severity) -> Level {
    match severity {
        Severity::Warning => Level::Weak,
        Severity::Error => Level::Bad,
    }
}
