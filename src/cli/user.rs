//! `nexflow user`: who may talk, as what, and strangers who ask to be let in.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    Setup,
    client::{self, Client, path},
    out::{self, cell, clean, field, items, line, time},
};

const EXAMPLES: &str = "\
Examples:
  nexflow user list
  nexflow user pair ACDE3467                 let somebody in who told you this code
  nexflow user pair ACDE3467 --role owner    the account is your own
  nexflow user role 0193a1c2-… viewer        may talk, nothing is done for them";

/// What a person may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Role {
    /// Talk; nothing is done for them
    Viewer,
    /// Talk and have skills run
    Member,
    /// Everything: the account is yours
    Owner,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Owner => "owner",
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Accounts that may talk, and strangers who ask to be let in
    #[command(after_help = EXAMPLES)]
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Let somebody in who told you the code that they were given
    #[command(after_help = EXAMPLES)]
    Pair {
        /// The code
        code: String,
        /// As what
        #[arg(long, value_enum, default_value = "member")]
        role: Role,
    },
    /// Turn a stranger away: they are not heard for a day
    Deny {
        /// The id under `list`
        id: String,
    },
    /// Give an account a role; `owner` says that it is yours
    Role {
        /// Its id, as `list` shows it
        id: String,
        /// The role
        #[arg(value_enum)]
        role: Role,
    },
    /// Take an account's rights away; one that a list of the configuration names has to go from there too
    Remove {
        /// Its id, as `list` shows it
        id: String,
    },
}

/// Runs one.
pub(super) async fn run(setup: &Setup, command: Command) -> Result<()> {
    client::with(setup, async |client| match &command {
        Command::List { json } => list(setup, client, *json).await,
        Command::Pair { code, role } => {
            let body = json!({ "code": code, "role": role.as_str() });
            let answer = client.post(&path(&["pairings"], &[])?, &body).await?;
            let user = answer.get("user").unwrap_or(&Value::Null);
            tell("Let in", user)
        }
        Command::Deny { id } => {
            let body = json!({ "id": id, "decision": "deny" });
            client.post(&path(&["pairings"], &[])?, &body).await?;
            line("Turned away; they are not heard for a day.")
        }
        Command::Role { id, role } => {
            let body = json!({ "role": role.as_str() });
            let user = client.patch(&path(&["users", id], &[])?, &body).await?;
            tell("Changed", &user)
        }
        Command::Remove { id } => {
            client.delete(&path(&["users", id], &[])?).await?;
            line(
                "Removed. An account that a list of the configuration names comes back with its next message: take it off there.",
            )
        }
    })
    .await
}

fn tell(what: &str, user: &Value) -> Result<()> {
    line(&clean(&format!(
        "{what}: {} ({}) is {}.",
        field(user, "name"),
        field(user, "channel"),
        field(user, "role")
    )))
}

async fn list(setup: &Setup, client: &Client, json: bool) -> Result<()> {
    let users = client.get(&path(&["users"], &[])?).await?;
    let asking = client.get(&path(&["pairings"], &[])?).await?;
    if json {
        return out::json(&json!({
            "users": users.get("users"), "pairings": asking.get("pairings"),
        }));
    }
    let rows: Vec<Vec<String>> = items(&users, "users")
        .iter()
        .map(|one| {
            vec![
                cell(one.get("id")),
                cell(one.get("name")),
                cell(one.get("channel")),
                cell(one.get("role")),
                because(one),
                time(one, "seen_at"),
            ]
        })
        .collect();
    let titles = ["id", "name", "channel", "role", "because", "last seen"];
    out::table(setup.style, &titles, &rows)?;
    let waiting = items(&asking, "pairings");
    if waiting.is_empty() {
        return Ok(());
    }
    line("")?;
    line(
        "Strangers who ask to be let in (`nexflow user pair CODE` with the code that they tell you):",
    )?;
    let rows: Vec<Vec<String>> = waiting
        .iter()
        .map(|one| {
            vec![
                cell(one.get("id")),
                cell(one.get("name")),
                cell(one.get("channel")),
                cell(one.get("state")),
                time(one, "expires_at"),
            ]
        })
        .collect();
    out::table(
        setup.style,
        &["id", "name", "channel", "state", "until"],
        &rows,
    )
}

/// Where a role comes from.
fn because(one: &Value) -> String {
    match (field(one, "listed"), field(one, "granted")) {
        ("operator", _) => "listed as operator".to_owned(),
        ("", "") => "the door".to_owned(),
        (_, "") => "listed".to_owned(),
        _ => "you said so".to_owned(),
    }
}
