//! `nexflow session`: conversations.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    Setup, ask,
    client::{self, Client, path},
    out::{self, cell, clean, field, items, line, time},
};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Conversations, the newest first
    #[command(after_help = "Example: nexflow session list --query invoice")]
    List {
        /// Only with these words
        #[arg(long, short)]
        query: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// What was said in one
    Show {
        /// Its id, as `list` shows it
        id: String,
        /// At most so many of the last messages
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// All of one, as a file
    #[command(after_help = "Example: nexflow session export ID --format markdown --output talk.md")]
    Export {
        /// Its id
        id: String,
        /// As what
        #[arg(long, default_value = "json")]
        format: Format,
        /// Into a file instead of standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Remove some with everything said in them
    Delete {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Formats of an export.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// Everything that is known
    Json,
    /// To read
    Markdown,
}

/// Runs one.
pub(super) async fn run(setup: &Setup, command: Command) -> Result<()> {
    client::with(setup, async |client| match &command {
        Command::List { query, limit, json } => {
            list(
                setup,
                client,
                (query.as_deref().unwrap_or_default(), *limit),
                *json,
            )
            .await
        }
        Command::Show { id, limit, json } => show(setup, client, (id, *limit), *json).await,
        Command::Export { id, format, output } => {
            let text = export(client, id, *format).await?;
            let Some(file) = output else {
                return out::raw(&text);
            };
            std::fs::write(file, text)
                .with_context(|| format!("cannot write {}", file.display()))?;
            line(&format!("Wrote {}.", file.display()))
        }
        Command::Delete { ids, yes } => delete(client, ids, *yes).await,
    })
    .await
}

async fn list(
    setup: &Setup,
    client: &Client,
    (words, limit): (&str, u32),
    json: bool,
) -> Result<()> {
    let limit = limit.to_string();
    let query = [("limit", limit.as_str()), ("q", words)];
    let answer = client.get(&path(&["sessions"], &query)?).await?;
    if json {
        return out::json(&answer);
    }
    let rows: Vec<Vec<String>> = items(&answer, "sessions")
        .iter()
        .map(|s| {
            let cell = |key| cell(s.get(key));
            let updated = time(s, "updated_at");
            vec![
                cell("id"),
                updated,
                cell("channel"),
                cell("message_count"),
                cell("title"),
            ]
        })
        .collect();
    if rows.is_empty() {
        return line("There are no conversations; `nexflow chat` begins one.");
    }
    out::table(
        setup.style,
        &["id", "last", "channel", "messages", "title"],
        &rows,
    )
}

async fn show(setup: &Setup, client: &Client, (id, limit): (&str, u32), json: bool) -> Result<()> {
    let limit = limit.to_string();
    let path = path(&["sessions", id, "messages"], &[("limit", &limit)])?;
    let answer = client.get(&path).await?;
    if json {
        return out::json(&answer);
    }
    for message in items(&answer, "messages") {
        let head = format!("{} {}", field(message, "role"), time(message, "at"));
        line(&setup.style.bold(&head))?;
        for call in items(message, "tool_calls") {
            let call = format!("⚙ {} … {}", field(call, "skill"), field(call, "status"));
            line(&setup.style.dim(&clean(&call)))?;
        }
        line(&format!("{}\n", clean(field(message, "text"))))?;
    }
    Ok(())
}

async fn export(client: &Client, id: &str, format: Format) -> Result<String> {
    let session = client.get(&path(&["sessions", id], &[])?).await?;
    let mut messages: Vec<Value> = Vec::new();
    let mut before: Option<String> = None;
    loop {
        let mut query = vec![("limit", "500")];
        query.extend(before.as_deref().map(|id| ("before", id)));
        let page = client
            .get(&path(&["sessions", id, "messages"], &query)?)
            .await?;
        messages.splice(0..0, items(&page, "messages").iter().cloned());
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(next) => before = Some(next.to_owned()),
            None => break,
        }
    }
    Ok(match format {
        Format::Json => {
            let whole = json!({ "session": session, "messages": messages });
            format!("{}\n", serde_json::to_string_pretty(&whole)?)
        }
        Format::Markdown => markdown(&session, &messages),
    })
}

fn markdown(session: &Value, messages: &[Value]) -> String {
    let mut text = format!("# {}\n", field(session, "title"));
    for message in messages {
        let head = format!(
            "\n## {}, {}\n\n",
            field(message, "role"),
            field(message, "at")
        );
        text.push_str(&head);
        for call in items(message, "tool_calls") {
            let call = format!(
                "- ⚙ `{}`: {}\n",
                field(call, "skill"),
                field(call, "status")
            );
            text.push_str(&call);
        }
        text.push_str(field(message, "text"));
        text.push('\n');
    }
    text
}

async fn delete(client: &Client, ids: &[String], yes: bool) -> Result<()> {
    let question = format!("Remove {} with everything said in it?", ids.join(", "));
    if !yes && ask::watched() && !ask::yes(&question)? {
        return line("Nothing was removed.");
    }
    for id in ids {
        client.delete(&path(&["sessions", id], &[])?).await?;
        line(&format!("Removed {id}."))?;
    }
    Ok(())
}
