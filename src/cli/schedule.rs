//! `nexflow schedule`: reminders and repeated jobs.

use anyhow::Result;
use clap::{ArgGroup, Subcommand};
use serde_json::{Value, json};

use super::{
    Setup,
    client::{self, Client, path},
    out::{self, cell, field, items, line, time},
    trouble::Trouble,
};

const EXAMPLES: &str = "\
Examples:
  nexflow schedule add \"in 20 minutes\" --text \"tea is ready\"
  nexflow schedule add \"every monday at 8:30\" --prompt \"what is due this week?\"
  nexflow schedule add \"0 6 * * *\" --skill disk-report --input '{\"path\": \"/\"}'";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What will fire, the next first
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Make one: a reminder, a skill, or a question to the agent
    #[command(after_help = EXAMPLES)]
    Add(New),
    /// Remove one
    Remove {
        /// Its id, as `list` shows it
        id: String,
    },
    /// Fire one now, besides its times
    Run {
        /// Its id
        id: String,
    },
    /// What fires next
    Next {
        /// For programs
        #[arg(long)]
        json: bool,
    },
}

/// A new schedule.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(group(ArgGroup::new("what").required(true).args(["text", "prompt", "skill"])))]
pub(super) struct New {
    /// When: "in 20 minutes", "tomorrow at 9", "every day at 7:30", a cron expression, RFC 3339
    when: String,
    /// Say this
    #[arg(long)]
    text: Option<String>,
    /// Ask the agent this
    #[arg(long)]
    prompt: Option<String>,
    /// Run this skill
    #[arg(long, value_name = "NAME")]
    skill: Option<String>,
    /// With this input
    #[arg(long, value_name = "JSON", requires = "skill")]
    input: Option<String>,
    /// In this conversation instead of the one kept for jobs
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Runs one.
pub(super) async fn run(setup: &Setup, command: Command) -> Result<()> {
    client::with(setup, async |client| match &command {
        Command::List { json } => list(setup, client, usize::MAX, *json).await,
        Command::Next { json } => list(setup, client, 1, *json).await,
        Command::Add(new) => add(client, new).await,
        Command::Remove { id } => {
            client.delete(&path(&["schedules", id], &[])?).await?;
            line(&format!("Removed {id}."))
        }
        Command::Run { id } => {
            client
                .post(&path(&["schedules", id, "run"], &[])?, &json!({}))
                .await?;
            line(&format!("Fired {id}."))
        }
    })
    .await
}

async fn list(setup: &Setup, client: &Client, most: usize, json: bool) -> Result<()> {
    let mut answer = client.get("/api/v1/schedules").await?;
    if let Some(all) = answer.get_mut("schedules").and_then(Value::as_array_mut) {
        all.truncate(most);
    }
    if json {
        return out::json(&answer);
    }
    let rows: Vec<Vec<String>> = items(&answer, "schedules")
        .iter()
        .map(|s| {
            let what = match field(s, "skill") {
                "" => cell(s.get("input")),
                skill => format!("{skill} {}", cell(s.get("input"))),
            };
            let cron = cell(s.get("cron"));
            vec![
                cell(s.get("id")),
                time(s, "next_at"),
                cron,
                cell(s.get("kind")),
                what,
            ]
        })
        .collect();
    if rows.is_empty() {
        return line("Nothing is scheduled; `nexflow schedule add --help` shows how.");
    }
    out::table(
        setup.style,
        &["id", "next", "repeats", "kind", "what"],
        &rows,
    )
}

async fn add(client: &Client, new: &New) -> Result<()> {
    let made = client.post("/api/v1/schedules", &body(new)?).await?;
    if new.json {
        return out::json(&made);
    }
    line(&format!(
        "{} fires at {}.",
        field(&made, "id"),
        time(&made, "next_at")
    ))
}

fn body(new: &New) -> Result<Value> {
    let mut body = serde_json::Map::new();
    let given = [
        ("when", Some(&new.when)),
        ("text", new.text.as_ref()),
        ("prompt", new.prompt.as_ref()),
        ("skill", new.skill.as_ref()),
        ("session_id", new.session.as_ref()),
    ];
    for (key, value) in given {
        if let Some(value) = value {
            body.insert(key.to_owned(), value.as_str().into());
        }
    }
    if let Some(input) = &new.input {
        let input: Value = serde_json::from_str(input).map_err(|error| {
            Trouble::usage(format_args!("--input is no JSON: {error}"))
                .hint("quote it for the shell: --input '{\"path\": \"/\"}'")
        })?;
        body.insert("input".to_owned(), input);
    }
    Ok(body.into())
}
