//! `nexflow usage`: what model calls took.

use anyhow::Result;
use clap::ValueEnum;

use super::{
    Setup,
    client::{self, path},
    out::{self, cell, items, line},
};

/// What to sum up.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: nexflow usage --by model --days 7")]
pub(super) struct Args {
    /// By what
    #[arg(long, default_value = "day")]
    by: By,
    /// How many days back
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    /// Day, UTC
    Day,
    /// Provider and model
    Model,
    /// Where the message came from
    Channel,
    /// Person
    User,
}

/// Shows it.
pub(super) async fn run(setup: &Setup, args: Args) -> Result<()> {
    let by = match args.by {
        By::Day => "day",
        By::Model => "model",
        By::Channel => "channel",
        By::User => "user",
    };
    let days = args.days.to_string();
    let path = path(&["usage"], &[("by", by), ("days", &days)])?;
    let answer = client::with(setup, async |client| client.get(&path).await).await?;
    if args.json {
        return out::json(&answer);
    }
    let rows: Vec<Vec<String>> = items(&answer, "usage")
        .iter()
        .map(|l| {
            let cost = l
                .get("cost_usd")
                .and_then(serde_json::Value::as_f64)
                .unwrap_or_default();
            let cell = |key| cell(l.get(key));
            let cost = format!("{cost:.4}");
            vec![
                cell("key"),
                cell("calls"),
                cell("input_tokens"),
                cell("output_tokens"),
                cost,
                cell("unpriced"),
            ]
        })
        .collect();
    if rows.is_empty() {
        return line(&format!("No model was called in the last {days} days."));
    }
    let head = [
        by,
        "calls",
        "tokens in",
        "tokens out",
        "cost (USD)",
        "calls without a price",
    ];
    out::table(setup.style, &head, &rows)
}
