//! `nexflow outbox`: answers on their way, and those that wait for a decision. `nexflow resume`.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Setup,
    client::{self, path},
    out::{self, cell, field, items, line, time},
};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What is on its way, could not be delivered, or became too old to be sent without asking
    List {
        /// What was delivered or dropped too
        #[arg(long)]
        all: bool,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Send one now, whatever its age
    Send {
        /// Its id, as `list` shows it
        id: String,
    },
    /// Do not send one; its text stays in the conversation
    Drop {
        /// Its id
        id: String,
    },
}

/// Runs one.
pub(super) async fn run(setup: &Setup, command: Command) -> Result<()> {
    client::with(setup, async |client| match &command {
        Command::List { all, json } => {
            let all = if *all { "true" } else { "false" };
            let answer = client.get(&path(&["outbox"], &[("all", all)])?).await?;
            if *json {
                out::json(&answer)
            } else {
                table(setup, &answer)
            }
        }
        Command::Send { id } => {
            let body = json!({ "action": "send" });
            client.post(&path(&["outbox", id], &[])?, &body).await?;
            line(&format!("{id} is being sent."))
        }
        Command::Drop { id } => {
            let body = json!({ "action": "drop" });
            client.post(&path(&["outbox", id], &[])?, &body).await?;
            line(&format!("{id} is dropped."))
        }
    })
    .await
}

fn table(setup: &Setup, answer: &Value) -> Result<()> {
    let row = |parcel: &Value| {
        vec![
            cell(parcel.get("id")),
            field(parcel, "state").to_owned(),
            field(parcel, "channel").to_owned(),
            time(parcel, "created_at"),
            cell(parcel.get("attempts")),
            cell(parcel.get("last_error")),
            field(parcel, "text").to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = items(answer, "outbox").iter().map(row).collect();
    if rows.is_empty() {
        return line("Nothing is on its way, and nothing waits for a decision.");
    }
    let heads = ["id", "state", "channel", "written", "tries", "why", "text"];
    out::table(setup.style, &heads, &rows)
}

/// Leaves safe mode.
pub(super) async fn resume(setup: &Setup) -> Result<()> {
    client::with(setup, async |client| {
        let done = client
            .post("/api/v1/safe-mode", &json!({ "off": true }))
            .await?;
        if done.get("was_on") == Some(&Value::Bool(true)) {
            line("Messages are answered again.")
        } else {
            line("It was not in safe mode.")
        }
    })
    .await
}
