//! `nexflow audit`: who did what, and whether that is all of it.

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use super::{
    Setup,
    client::{self, Client, path},
    out::{self, cell, field, items, line},
    trouble::Trouble,
};

/// Entries asked for at once.
const PAGE: usize = 1000;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Who did what, newest first
    #[command(after_help = "Example: nexflow audit list --action skill --since 2026-01-31")]
    List {
        /// Only what this actor did
        #[arg(long)]
        actor: Option<String>,
        /// Only this action, or all below it: `skill`, `skill.run`, `auth.refused`
        #[arg(long)]
        action: Option<String>,
        /// Only what was done to this: a skill, a session, a token
        #[arg(long)]
        object: Option<String>,
        /// From this day or moment on, such as 2026-01-31 or 2026-01-31T09:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Before this day or moment
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Read all of it and tell the first entry that was altered, removed or moved; exit code 1 then
    #[command(
        after_help = "Example: nexflow audit verify --head \"$(cat /safe/place/audit-head)\""
    )]
    Verify {
        /// A head that was kept elsewhere: then a cut end is noticed too
        #[arg(long, value_name = "NUMBER:HASH")]
        head: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Print the head: number and hash of the last entry, to keep elsewhere
    Head,
    /// Print everything, oldest first, one JSON object a line
    #[command(after_help = "Example: nexflow audit export > audit.jsonl")]
    Export,
}

/// Runs one.
pub(super) async fn run(setup: &Setup, command: Command) -> Result<()> {
    client::with(setup, async |client| match command {
        Command::List {
            actor,
            action,
            object,
            since,
            until,
            limit,
            json,
        } => {
            let wanted = [
                ("actor", actor),
                ("action", action),
                ("object", object),
                ("since", since),
                ("until", until),
            ];
            let given: Vec<(&str, String)> = wanted
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
            let found = newest(client, &given, limit).await?;
            if json {
                out::json(&found)
            } else {
                show(setup, &found)
            }
        }
        Command::Verify { head, json } => verify(client, head.as_deref(), json).await,
        Command::Head => {
            let answer = client.get(&path(&["audit", "head"], &[])?).await?;
            match field(&answer, "head") {
                "" => Err(Trouble::new("the audit is empty, so it has no head").into()),
                head => line(head),
            }
        }
        Command::Export => export(client).await,
    })
    .await
}

/// The newest entries that fit, over as many answers as it takes.
async fn newest(client: &Client, given: &[(&str, String)], limit: usize) -> Result<Vec<Value>> {
    let mut found: Vec<Value> = Vec::new();
    let mut cursor: Option<i64> = None;
    while found.len() < limit {
        let count = (limit - found.len()).min(PAGE).to_string();
        let cursor_text = cursor.map(|c| c.to_string());
        let mut query: Vec<(&str, &str)> = given.iter().map(|(k, v)| (*k, v.as_str())).collect();
        query.push(("limit", &count));
        if let Some(text) = &cursor_text {
            query.push(("cursor", text));
        }
        let page = client.get(&path(&["audit"], &query)?).await?;
        found.extend(items(&page, "audit").iter().cloned());
        cursor = page.get("next_cursor").and_then(Value::as_i64);
        if cursor.is_none() {
            break;
        }
    }
    Ok(found)
}

fn show(setup: &Setup, found: &[Value]) -> Result<()> {
    if found.is_empty() {
        return line("Nothing of that is in the audit.");
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|entry| {
            let text = |key| cell(entry.get(key));
            let mut detail = text("detail");
            if detail == "{}" {
                detail.clear();
            }
            vec![
                text("id"),
                out::time(entry, "at"),
                text("actor"),
                text("action"),
                text("object"),
                text("origin"),
                text("decided_by"),
                detail,
            ]
        })
        .collect();
    let head = [
        "id",
        "at",
        "actor",
        "action",
        "object",
        "from",
        "decided by",
        "detail",
    ];
    out::table(setup.style, &head, &rows)
}

async fn verify(client: &Client, head: Option<&str>, json: bool) -> Result<()> {
    let query: Vec<(&str, &str)> = head.map(|head| ("head", head)).into_iter().collect();
    let answer = client.get(&path(&["audit", "verify"], &query)?).await?;
    if json {
        out::json(&answer)?;
    }
    let entries = answer.get("entries").and_then(Value::as_u64).unwrap_or(0);
    if answer.get("ok").and_then(Value::as_bool) == Some(true) {
        return if json {
            Ok(())
        } else {
            line(&format!("{entries} entries, each as it was written."))?;
            line(&format!("Head: {}", field(&answer, "head")))
        };
    }
    let text = answer.pointer("/broken/text").and_then(Value::as_str);
    let what = format!(
        "the audit is broken after {entries} good entries: {}",
        text.unwrap_or_default()
    );
    Err(Trouble::new(what)
        .hint("keep this database file as it is; `nexflow audit export` shows what is there, an older head or backup shows what was")
        .into())
}

async fn export(client: &Client) -> Result<()> {
    let mut after: i64 = 0;
    let limit = PAGE.to_string();
    loop {
        let from = after.to_string();
        let query = [("after", from.as_str()), ("limit", limit.as_str())];
        let page = client.get(&path(&["audit"], &query)?).await?;
        for entry in items(&page, "audit") {
            line(&entry.to_string())?;
        }
        let next = page.get("next_cursor").and_then(Value::as_i64);
        let Some(next) = next else { return Ok(()) };
        anyhow::ensure!(
            next > after,
            "the export does not go on after entry {after}"
        );
        after = next;
    }
}
