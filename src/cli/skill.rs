//! `nexflow skill`: what the agent can do.

mod audit;
mod new;
mod test;
mod trust;
mod validate;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    Setup,
    client::{self, Client, path},
    out::{self, cell, clean, field, items, line},
    trouble::Trouble,
};

const RUN_EXAMPLES: &str = "\
Examples:
  nexflow skill run disk-report path=/ depth=2
  nexflow skill run web-fetch --input '{\"url\": \"https://example.com\"}'";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What there is
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// One, with what it asks for and its text
    Show {
        /// Its name
        name: String,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Begin one: a folder with a SKILL.md, a script and a test
    #[command(after_help = "Example: nexflow skill new word-count --runtime python")]
    New(new::Args),
    /// Look for mistakes in a skill's folder
    Validate {
        /// The folder, or its SKILL.md
        path: PathBuf,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Run one in its sandbox
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        /// Its name
        name: String,
        /// Its input, a pair at a time
        #[arg(value_name = "KEY=VALUE", conflicts_with = "input")]
        pairs: Vec<String>,
        /// Its whole input
        #[arg(long, value_name = "JSON")]
        input: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Run the cases in a skill's tests/*.json
    #[command(after_help = test::case::FORMAT)]
    Test {
        /// The folder of the skill
        path: PathBuf,
        /// Run one that is not trusted, with what it asks for
        #[arg(long, short)]
        yes: bool,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Allow a skill what it asks for, as it is now
    Trust {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Give it this secret as it is, not a stand-in that only its host can use
        #[arg(long, value_name = "NAME")]
        raw_secret: Vec<String>,
    },
    /// What is different since it was trusted, and what it asks for
    Diff {
        /// Its name
        name: String,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// What skills ask for and got, what they did, and what is unusual about their files
    Audit {
        /// One; all if absent
        name: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Use one again
    Enable {
        /// Its name
        name: String,
    },
    /// Do not use one
    Disable {
        /// Its name
        name: String,
    },
    /// Emergency: end every skill that runs, and let none begin
    Stop {
        /// All of them
        #[arg(long, required = true)]
        all: bool,
    },
    /// Let skills run again after `stop --all`
    Start {
        /// All of them
        #[arg(long, required = true)]
        all: bool,
    },
}

/// Runs one.
pub(super) async fn run(setup: &Setup, command: Command) -> Result<()> {
    match command {
        Command::New(args) => new::run(setup, &args),
        Command::Validate { path, json } => validate::run(setup, &path, json),
        Command::Test { path, yes, json } => test::run(setup, &path, yes, json).await,
        command => client::with(setup, async |client| speak(setup, client, &command).await).await,
    }
}

async fn speak(setup: &Setup, client: &Client, command: &Command) -> Result<()> {
    match command {
        Command::List { json } => list(setup, client, *json).await,
        Command::Show { name, json } => show(setup, client, name, *json).await,
        Command::Run {
            name,
            pairs,
            input,
            json,
        } => {
            let input = match input {
                Some(text) => parsed(text)?,
                None => from_pairs(pairs, &get(client, name).await?)?,
            };
            execute(client, name, &input, *json).await
        }
        Command::Trust {
            name,
            yes,
            raw_secret,
        } => trust::trust(setup, client, name, (*yes, raw_secret)).await,
        Command::Diff { name, json } => trust::diff(setup, client, name, *json).await,
        Command::Audit { name, json } => audit::run(setup, client, name.as_deref(), *json).await,
        Command::Enable { name } => switch(client, name, true).await,
        Command::Disable { name } => switch(client, name, false).await,
        Command::Stop { .. } => {
            client.post("/api/v1/skills/stop", &json!({})).await?;
            line(
                "Every skill is stopped, and none begins. `nexflow skill start --all` lets them run again.",
            )
        }
        Command::Start { .. } => {
            client.post("/api/v1/skills/start", &json!({})).await?;
            line("Skills run again.")
        }
        Command::New(_) | Command::Validate { .. } | Command::Test { .. } => Ok(()),
    }
}

async fn get(client: &Client, name: &str) -> Result<Value> {
    client.get(&path(&["skills", name], &[])?).await
}

async fn list(setup: &Setup, client: &Client, json: bool) -> Result<()> {
    let answer = client.get("/api/v1/skills").await?;
    if json {
        return out::json(&answer);
    }
    let rows: Vec<Vec<String>> = items(&answer, "skills")
        .iter()
        .map(|s| {
            let about = match field(s, "reason") {
                "" => field(s, "description"),
                reason => reason,
            };
            let cell = |key| cell(s.get(key));
            vec![
                cell("name"),
                cell("kind"),
                cell("state"),
                cell("permissions"),
                about.to_owned(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return line("There are no skills; `nexflow skill new NAME` begins one.");
    }
    out::table(
        setup.style,
        &["name", "kind", "state", "permissions", "about"],
        &rows,
    )
}

async fn show(setup: &Setup, client: &Client, name: &str, json: bool) -> Result<()> {
    let skill = get(client, name).await?;
    if json {
        return out::json(&skill);
    }
    let keys = [
        "description",
        "kind",
        "state",
        "reason",
        "runtime",
        "version",
        "author",
        "category",
        "tags",
        "permissions",
        "effects",
        "warnings",
        "path",
        "files",
    ];
    line(&setup.style.bold(&clean(&format!(
        "{} {}",
        field(&skill, "emoji"),
        field(&skill, "name")
    ))))?;
    for key in keys {
        let text = cell(skill.get(key));
        if !text.is_empty() {
            line(&format!("{key:<12} {}", clean(&text)))?;
        }
    }
    if let Some(schema) = skill.get("input_schema").filter(|s| !s.is_null()) {
        line(&format!("{:<12} {}", "input", clean(&schema.to_string())))?;
    }
    line(&format!("\n{}", clean(field(&skill, "body")).trim()))
}

fn parsed(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        Trouble::usage(format_args!("--input is no JSON: {error}"))
            .hint("quote it for the shell: --input '{\"path\": \"/\"}'")
            .into()
    })
}

/// Pairs as an object: text where the skill asks for text, else numbers and the like where a value
/// is one.
fn from_pairs(pairs: &[String], skill: &Value) -> Result<Value> {
    let mut input = Map::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=') else {
            let what = format!("`{pair}` is not KEY=VALUE");
            return Err(Trouble::usage(what)
                .hint("for example path=/tmp, or --input JSON")
                .into());
        };
        let kind = skill
            .get("input_schema")
            .and_then(|s| s.get("properties"))
            .and_then(|p| p.get(key));
        let text = kind.is_some_and(|kind| field(kind, "type") == "string");
        let value = match serde_json::from_str(value) {
            Ok(value) if !text => value,
            _ => Value::from(value),
        };
        input.insert(key.to_owned(), value);
    }
    Ok(input.into())
}

async fn execute(client: &Client, name: &str, input: &Value, json: bool) -> Result<()> {
    let answer = client
        .post(&path(&["skills", name], &[])?, &json!({ "input": input }))
        .await?;
    if json {
        out::json(&answer)?;
    } else {
        match answer.get("output") {
            Some(Value::String(text)) => line(&clean(text))?,
            Some(output) if !output.is_null() => out::json(output)?,
            _ => {}
        }
    }
    match field(&answer, "status") {
        "ok" => Ok(()),
        status => {
            let error = field(&answer, "error");
            let what = format!("the skill `{name}` ended as {status}: {}", clean(error));
            let hint = format!("`nexflow skill show {name}` shows what it needs");
            Err(Trouble::new(what).hint(hint).into())
        }
    }
}

async fn switch(client: &Client, name: &str, enabled: bool) -> Result<()> {
    change(client, name, &json!({ "enabled": enabled })).await
}

async fn change(client: &Client, name: &str, wanted: &Value) -> Result<()> {
    let path = path(&["skills", name], &[])?;
    let skill = client.request(Method::PATCH, &path, Some(wanted)).await?;
    let (state, reason) = (field(&skill, "state"), field(&skill, "reason"));
    let why = if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    };
    line(&format!("{name} is {state}{}.", clean(&why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_what_the_skill_asks_for() {
        let skill = json!({ "input_schema": { "properties": { "code": { "type": "string" } } } });
        let pairs = ["code=123", "n=2", "deep=true", "name=a=b", "list=[1]"].map(str::to_owned);
        let input = from_pairs(&pairs, &skill).unwrap();
        assert_eq!(
            input,
            json!({ "code": "123", "n": 2, "deep": true, "name": "a=b", "list": [1] })
        );
        assert!(from_pairs(&["odd".to_owned()], &skill).is_err());
    }
}
