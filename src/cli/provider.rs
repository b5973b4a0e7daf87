//! `nexflow provider`: how the providers do, trying them, asking one again.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Setup,
    client::{self, Client, path},
    out::{self, cell, clean, field, items, line},
};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Which there are, how they do, and who waits for them
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Forget the failures of one: it is asked again at once
    Reset {
        /// Its name
        name: String,
    },
    /// Try one, or all, with two short requests each, which cost a few tokens
    Probe {
        /// Its name
        name: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
}

/// Runs one.
pub(super) async fn run(setup: &Setup, command: Command) -> Result<()> {
    client::with(setup, async |client| match &command {
        Command::List { json } => {
            let answer = client.get("/api/v1/providers").await?;
            if *json {
                out::json(&answer)
            } else {
                table(setup, &answer)
            }
        }
        Command::Reset { name } => {
            let path = path(&["providers", name, "reset"], &[])?;
            client.post(&path, &json!({})).await?;
            line(&format!("{name} is asked again."))
        }
        Command::Probe { name, json } => {
            let probes = probe(client, name.as_deref()).await?;
            if *json {
                return out::json(&json!({ "probes": probes }));
            }
            probes.iter().try_for_each(show)
        }
    })
    .await
}

fn table(setup: &Setup, answer: &Value) -> Result<()> {
    let row = |one: &Value| {
        let most = cell(one.get("max_concurrent"));
        let running = cell(one.get("running"));
        vec![
            field(one, "name").to_owned(),
            field(one, "model").to_owned(),
            field(one, "state").to_owned(),
            if most.is_empty() {
                running
            } else {
                format!("{running} of {most}")
            },
            cell(one.get("waiting")),
            field(one, "detail").to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = items(answer, "providers").iter().map(row).collect();
    let heads = ["provider", "model", "state", "running", "waiting", "why"];
    out::table(setup.style, &heads, &rows)
}

/// Tries one, or all that are configured, one after the other.
pub(super) async fn probe(client: &Client, name: Option<&str>) -> Result<Vec<Value>> {
    let listed = client.get("/api/v1/providers").await?;
    let names: Vec<String> = match name {
        Some(name) => vec![name.to_owned()],
        None => items(&listed, "providers")
            .iter()
            .filter(|p| field(p, "kind") != "offline" && field(p, "state") != "misconfigured")
            .map(|p| field(p, "name").to_owned())
            .collect(),
    };
    let mut probes = Vec::new();
    for name in names {
        let path = path(&["providers", &name, "probe"], &[])?;
        probes.push(client.post(&path, &json!({})).await?);
    }
    Ok(probes)
}

fn show(probe: &Value) -> Result<()> {
    let (name, model) = (field(probe, "name"), field(probe, "model"));
    line(&clean(&format!("{name} {model}")))?;
    for finding in items(probe, "findings") {
        let (what, verdict) = (field(finding, "what"), field(finding, "verdict"));
        let detail = clean(field(finding, "detail")).into_owned();
        line(&format!("  {what}: {verdict}: {detail}"))?;
        let mend = field(finding, "mend");
        if !mend.is_empty() {
            line(&format!("    → {}", clean(mend)))?;
        }
    }
    Ok(())
}
