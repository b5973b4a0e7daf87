//! `nexflow memory`: kept facts.

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::{
    Setup,
    client::{self, Client, path},
    out::{self, cell, field, items, line, time},
};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Facts and past messages with these words; all facts without
    #[command(after_help = "Example: nexflow memory search birthday")]
    Search {
        /// Words
        words: Vec<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Keep a fact
    #[command(after_help = "Example: nexflow memory add \"Anna's birthday is on 3 May\"")]
    Add {
        /// What to keep
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Forget a fact
    Forget {
        /// Its id, as `search` shows it
        id: String,
    },
}

/// Runs one.
pub(super) async fn run(setup: &Setup, command: Command) -> Result<()> {
    client::with(setup, async |client| match &command {
        Command::Search { words, limit, json } => {
            search(setup, client, (&words.join(" "), *limit), *json).await
        }
        Command::Add { text } => {
            let fact = client
                .post("/api/v1/memory", &json!({ "text": text.join(" ") }))
                .await?;
            line(&format!("Kept as {}.", field(&fact, "id")))
        }
        Command::Forget { id } => {
            client.delete(&path(&["memory", id], &[])?).await?;
            line(&format!("Forgot {id}."))
        }
    })
    .await
}

async fn search(
    setup: &Setup,
    client: &Client,
    (words, limit): (&str, u32),
    json: bool,
) -> Result<()> {
    let limit = limit.to_string();
    let query = [("q", words), ("limit", limit.as_str())];
    let answer = client.get(&path(&["memory"], &query)?).await?;
    if json {
        return out::json(&answer);
    }
    let facts = items(&answer, "facts").iter();
    let facts = facts.map(|f| {
        vec![
            cell(f.get("id")),
            "fact".to_owned(),
            time(f, "created_at"),
            cell(f.get("text")),
        ]
    });
    let hits = items(&answer, "hits").iter();
    let hits = hits.map(|h| {
        vec![
            cell(h.get("id")),
            cell(h.get("kind")),
            time(h, "at"),
            cell(h.get("text")),
        ]
    });
    let rows: Vec<Vec<String>> = facts.chain(hits).collect();
    if rows.is_empty() {
        return line("Nothing found.");
    }
    out::table(setup.style, &["id", "kind", "when", "text"], &rows)
}
