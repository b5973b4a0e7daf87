//! `nexflow token`: API tokens.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::{
    Setup,
    client::{self, Client, path},
    out::{self, cell, field, items, line, time},
};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token; it alone is printed, and never again
    #[command(after_help = "Example: TOKEN=$(nexflow token create --name laptop --role owner)")]
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        /// What its holder may do
        #[arg(long, default_value = "owner")]
        role: Role,
    },
    /// Tokens without their values
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// End a token
    Revoke {
        /// Its id, as `list` shows it
        id: String,
    },
}

/// What a token allows.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Role {
    /// Everything
    Owner,
    /// Chat, skills, own sessions
    Member,
    /// Read
    Viewer,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Member => "member",
            Self::Viewer => "viewer",
        }
    }
}

/// Runs one.
pub(super) async fn run(setup: &Setup, command: Command) -> Result<()> {
    client::with(setup, async |client| match &command {
        Command::Create { name, role } => {
            let body = json!({ "name": name, "role": role.as_str() });
            line(field(&client.post("/api/v1/tokens", &body).await?, "token"))
        }
        Command::List { json } => list(setup, client, *json).await,
        Command::Revoke { id } => {
            client.delete(&path(&["tokens", id], &[])?).await?;
            line(&format!("Revoked {id}."))
        }
    })
    .await
}

async fn list(setup: &Setup, client: &Client, json: bool) -> Result<()> {
    let answer = client.get("/api/v1/tokens").await?;
    if json {
        return out::json(&answer);
    }
    let rows: Vec<Vec<String>> = items(&answer, "tokens")
        .iter()
        .map(|t| {
            let [name, role] = ["name", "role"].map(|key| cell(t.get(key)));
            vec![
                cell(t.get("id")),
                name,
                role,
                time(t, "created_at"),
                time(t, "used_at"),
            ]
        })
        .collect();
    if rows.is_empty() {
        return line("There are no tokens; `nexflow token create --name NAME` makes one.");
    }
    out::table(
        setup.style,
        &["id", "name", "role", "created", "last used"],
        &rows,
    )
}
