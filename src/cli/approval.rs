//! `nexflow approval`: what the agent asks to be allowed, and lasting answers.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Setup,
    client::{self, Client, path},
    out::{self, Style, cell, clean, field, items, line, time},
};

const EXAMPLES: &str = "\
Examples:
  nexflow approval list
  nexflow approval approve 0193a1c2-…            this call, once
  nexflow approval approve 0193a1c2-… --session  and all like it in this conversation
  nexflow approval deny 0193a1c2-… --reason \"ask me tomorrow\"";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What waits for a decision
    #[command(after_help = EXAMPLES)]
    List {
        /// Also what was decided or has expired
        #[arg(long)]
        all: bool,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// One, with everything that is known of it
    Show {
        /// Its id
        id: String,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Let it be done
    #[command(after_help = EXAMPLES)]
    Approve {
        /// Its id
        id: String,
        /// And all calls like it in this conversation
        #[arg(long, conflicts_with = "always")]
        session: bool,
        /// And all calls like it, until the grant expires or is revoked
        #[arg(long)]
        always: bool,
        /// Of a plan: only these steps, such as 1,3
        #[arg(long, value_name = "N", value_delimiter = ',')]
        steps: Vec<usize>,
    },
    /// Do not let it be done
    Deny {
        /// Its id
        id: String,
        /// Why; the model is told
        #[arg(long, short)]
        reason: Option<String>,
    },
    /// Ask an expired one again
    Reopen {
        /// Its id
        id: String,
    },
    /// What is allowed without asking, because somebody said so
    Grants {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Take a grant back
    Revoke {
        /// Its id, as `grants` shows it
        id: String,
    },
}

/// Runs one.
pub(super) async fn run(setup: &Setup, command: Command) -> Result<()> {
    client::with(setup, async |client| match &command {
        Command::List { all, json } => list(setup, client, *all, *json).await,
        Command::Show { id, json } => show(setup, client, id, *json).await,
        Command::Approve {
            id,
            session,
            always,
            steps,
        } => {
            let decision = match (session, always) {
                (true, _) => "session",
                (_, true) => "always",
                _ => "once",
            };
            let mut body = json!({ "decision": decision });
            if let Some(body) = body.as_object_mut().filter(|_| !steps.is_empty()) {
                body.insert("steps".to_owned(), json!(steps));
            }
            decide(client, id, &body).await
        }
        Command::Deny { id, reason } => {
            decide(client, id, &json!({ "decision": "deny", "reason": reason })).await
        }
        Command::Reopen { id } => decide(client, id, &json!({ "decision": "reopen" })).await,
        Command::Grants { json } => grants(setup, client, *json).await,
        Command::Revoke { id } => {
            client.delete(&path(&["grants", id], &[])?).await?;
            line(&format!("Revoked {id}."))
        }
    })
    .await
}

async fn list(setup: &Setup, client: &Client, all: bool, json: bool) -> Result<()> {
    let state = if all { "all" } else { "pending" };
    let answer = client
        .get(&path(&["approvals"], &[("state", state)])?)
        .await?;
    if json {
        return out::json(&answer);
    }
    let found = items(&answer, "approvals");
    if found.is_empty() {
        return line("Nothing waits for a decision.");
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| {
            vec![
                cell(one.get("id")),
                cell(one.get("state")),
                time(one, "expires_at"),
                cell(one.get("summary")),
            ]
        })
        .collect();
    out::table(setup.style, &["id", "state", "expires", "what"], &rows)
}

async fn show(setup: &Setup, client: &Client, id: &str, json: bool) -> Result<()> {
    let one = client.get(&path(&["approvals", id], &[])?).await?;
    if json {
        return out::json(&one);
    }
    line(&described(setup.style, &one))?;
    let by = field(&one, "decided_by");
    let settled = match by {
        "" => format!(
            "{}, expires {}",
            field(&one, "state"),
            time(&one, "expires_at")
        ),
        by => format!(
            "{} by {by} through {}",
            field(&one, "state"),
            field(&one, "decided_via")
        ),
    };
    line(&clean(&settled))
}

/// A question, for somebody who decides it.
pub(super) fn described(style: Style, one: &Value) -> String {
    let mut text = style.bold(&clean(field(one, "summary")));
    let mut add = |label: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("\n{label}{}", clean(value)));
        }
    };
    add("because ", field(one, "reason"));
    if field(one, "command").is_empty() && field(one, "diff").is_empty() {
        add(
            "with ",
            &one.get("args").map(Value::to_string).unwrap_or_default(),
        );
    }
    add("$ ", field(one, "command"));
    add("", field(one, "diff"));
    let pattern = one.get("pattern").unwrap_or(&Value::Null);
    add("session or always would allow ", field(pattern, "text"));
    text
}

/// Sends a decision; where no daemon runs, this process carries it out.
pub(super) async fn decide(client: &Client, id: &str, body: &Value) -> Result<()> {
    let decided = client.post(&path(&["approvals", id], &[])?, body).await?;
    let state = match field(body, "decision") {
        "reopen" => "asked again",
        _ => field(&decided, "state"),
    };
    line(&clean(&format!("{state}: {}", field(&decided, "summary"))))?;
    if client.running() {
        return Ok(());
    }
    loop {
        let now = client.get(&path(&["approvals", id], &[])?).await?;
        if field(&now, "turn_state") != "running" {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn grants(setup: &Setup, client: &Client, json: bool) -> Result<()> {
    let answer = client.get("/api/v1/grants").await?;
    if json {
        return out::json(&answer);
    }
    let found = items(&answer, "grants");
    if found.is_empty() {
        return line("There are no grants.");
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| {
            let pattern = one.get("pattern").unwrap_or(&Value::Null);
            let holds = match field(one, "session_id") {
                "" => time(one, "expires_at"),
                session => format!("in {session}"),
            };
            vec![
                cell(one.get("id")),
                cell(one.get("tool")),
                cell(pattern.get("text")),
                holds,
                cell(one.get("used")),
            ]
        })
        .collect();
    out::table(
        setup.style,
        &["id", "tool", "allows", "until", "used"],
        &rows,
    )
}
