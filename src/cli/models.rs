//! `nexflow models`: what the providers have, and fetching what a local server lacks.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Setup,
    client::{self, path},
    out::{self, Style, cell, clean, field, items, line},
    trouble::Trouble,
};

/// How wide a progress bar is.
const BAR: u64 = 30;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What the providers have, and what that can do
    List {
        /// Only this provider
        provider: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model; for servers that run models themselves, such as Ollama
    #[command(after_help = "Example: nexflow models pull llama3.2")]
    Pull {
        /// Its name
        name: String,
        /// Which provider; the first Ollama if left out
        #[arg(long)]
        provider: Option<String>,
    },
}

/// Runs one.
pub(super) async fn run(setup: &Setup, command: Command) -> Result<()> {
    match command {
        Command::List { provider, json } => list(setup, provider.as_deref(), json).await,
        Command::Pull { name, provider } => pull(setup, &name, provider).await,
    }
}

async fn list(setup: &Setup, provider: Option<&str>, json: bool) -> Result<()> {
    let query: Vec<(&str, &str)> = provider
        .map(|name| ("provider", name))
        .into_iter()
        .collect();
    let path = path(&["models"], &query)?;
    let answer = client::with(setup, async |client| client.get(&path).await).await?;
    if json {
        return out::json(&answer);
    }
    for error in items(&answer, "errors") {
        out::aside(&format!("{}\n", clean(field(error, "message"))));
    }
    let rows: Vec<Vec<String>> = items(&answer, "models").iter().map(row).collect();
    if rows.is_empty() {
        return line("No provider has a model. Configure one, or start Ollama.");
    }
    let head = [
        "provider",
        "model",
        "window",
        "output",
        "tools",
        "images",
        "USD per million in",
        "out",
    ];
    out::table(setup.style, &head, &rows)
}

fn row(model: &Value) -> Vec<String> {
    let yes = |key: &str| {
        let can = model.get(key).and_then(Value::as_bool).unwrap_or(false);
        if can { "yes" } else { "no" }.to_owned()
    };
    let chosen = model.get("chosen").and_then(Value::as_bool) == Some(true);
    let price = |key: &str| cell(model.pointer(&format!("/price/{key}")));
    vec![
        cell(model.get("provider")),
        format!(
            "{}{}",
            field(model, "model"),
            if chosen { " *" } else { "" }
        ),
        cell(model.get("context_tokens")),
        cell(model.get("max_output_tokens")),
        yes("tools"),
        yes("images"),
        price("input_per_mtok"),
        price("output_per_mtok"),
    ]
}

async fn pull(setup: &Setup, name: &str, provider: Option<String>) -> Result<()> {
    let body = json!({ "model": name, "provider": provider });
    let path = path(&["models", "pull"], &[])?;
    let style = setup.style;
    client::with(setup, async |client| {
        let mut events = client.events(&path, &body).await?;
        let mut shown = String::new();
        while let Some(event) = events.next().await? {
            if let Some(error) = event.get("error") {
                end_line(style)?;
                return Err(Trouble::new(clean(field(error, "message")).into_owned()).into());
            }
            if event.get("done").is_some() {
                end_line(style)?;
                return line(&format!("{name} is there."));
            }
            show(style, &event, &mut shown)?;
        }
        end_line(style)?;
        let hint = "run it again: what was fetched is kept";
        Err(
            Trouble::new("the daemon stopped before the model was there")
                .hint(hint)
                .into(),
        )
    })
    .await
}

/// On a terminal one line that changes; in a pipe a line for each new status.
fn show(style: Style, event: &Value, shown: &mut String) -> Result<()> {
    let status = clean(field(event, "status")).into_owned();
    if style.terminal {
        return out::raw(&format!("\r\u{1b}[K{}", progress(&status, event)));
    }
    if *shown != status {
        line(&status)?;
        *shown = status;
    }
    Ok(())
}

fn end_line(style: Style) -> Result<()> {
    if style.terminal {
        return out::raw("\r\u{1b}[K");
    }
    Ok(())
}

/// `pulling abc  [####------]  40 %  1.2 of 3.0 GB`
fn progress(status: &str, event: &Value) -> String {
    let number = |key: &str| event.get(key).and_then(Value::as_u64);
    let (Some(done), Some(total @ 1..)) = (number("completed"), number("total")) else {
        return status.to_owned();
    };
    let done = done.min(total);
    let filled = usize::try_from(u128::from(done) * u128::from(BAR) / u128::from(total));
    let filled = filled.unwrap_or_default();
    let rest = usize::try_from(BAR).unwrap_or_default() - filled;
    let percent = u128::from(done) * 100 / u128::from(total);
    let tenths = |bytes: u64| format!("{}.{}", bytes / 1_000_000_000, bytes / 100_000_000 % 10);
    format!(
        "{status}  [{}{}]  {percent} %  {} of {} GB",
        "#".repeat(filled),
        "-".repeat(rest),
        tenths(done),
        tenths(total)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills() {
        let at = |done: u64| {
            progress(
                "pulling x",
                &json!({ "completed": done, "total": 3_000_000_000_u64 }),
            )
        };
        assert_eq!(
            at(0),
            format!("pulling x  [{}]  0 %  0.0 of 3.0 GB", "-".repeat(30))
        );
        assert!(at(1_500_000_000).contains(&format!(
            "[{}{}]  50 %  1.5",
            "#".repeat(15),
            "-".repeat(15)
        )));
        assert!(at(9_000_000_000).contains("100 %"));
        assert_eq!(
            progress("verifying", &json!({ "total": 0, "completed": 0 })),
            "verifying"
        );
    }
}
