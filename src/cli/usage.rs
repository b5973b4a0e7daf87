//! `nexflow usage`: what model calls took, and what is left of the budgets.

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;

use super::{
    Setup,
    client::{self, path},
    out::{self, Level, Style, cell, field, fit, items, line},
};

/// Cells of a bar for the largest amount.
const BAR: u64 = 24;

/// What to sum up.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  nexflow usage                          by day, with a bar for what each cost
  nexflow usage --by model --days 7
  nexflow usage --by user --since 2026-01-01 --csv > usage.csv")]
pub(super) struct Args {
    /// By what
    #[arg(long, default_value = "day")]
    by: By,
    /// How many days back
    #[arg(long, default_value_t = 30, conflicts_with = "since")]
    days: u32,
    /// From a day (2026-01-31, where you are) or moment (RFC 3339) on
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// For spreadsheets, with exact amounts
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    /// Day, in `scheduler.time_zone`
    Day,
    /// Provider and model
    Model,
    /// Agent
    Agent,
    /// Person
    User,
    /// Where the message came from
    Channel,
    /// Conversation
    Session,
    /// Schedule
    Schedule,
}

impl By {
    fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Model => "model",
            Self::Agent => "agent",
            Self::User => "user",
            Self::Channel => "channel",
            Self::Session => "session",
            Self::Schedule => "schedule",
        }
    }
}

/// Shows it.
pub(super) async fn run(setup: &Setup, args: Args) -> Result<()> {
    let days = args.days.to_string();
    let mut query = vec![("by", args.by.as_str())];
    query.push(match &args.since {
        Some(since) => ("since", since.as_str()),
        None => ("days", days.as_str()),
    });
    if args.csv {
        query.push(("format", "csv"));
        let path = path(&["usage"], &query)?;
        return out::raw(&client::with(setup, async |client| client.text(&path).await).await?);
    }
    let path = path(&["usage"], &query)?;
    let answer = client::with(setup, async |client| client.get(&path).await).await?;
    if args.json {
        return out::json(&answer);
    }
    let lines = items(&answer, "usage");
    if lines.is_empty() {
        line(&format!(
            "No model was called since {}.",
            out::time(&answer, "since")
        ))?;
    } else {
        let head = [
            args.by.as_str(),
            "cost (USD)",
            "",
            "calls",
            "failed",
            "tokens in",
            "tokens out",
        ];
        out::table(setup.style, &head, &rows(lines))?;
        let total = answer.pointer("/total/cost").and_then(Value::as_str);
        line(&format!(
            "\nTogether {} USD.{}",
            total.unwrap_or("0"),
            ceilings(lines)
        ))?;
    }
    budgets(setup.style, items(&answer, "budgets"))
}

/// Calls that were counted with a ceiling.
fn ceilings(lines: &[Value]) -> String {
    let unpriced: u64 = lines.iter().map(|l| number(l, "unpriced")).sum();
    if unpriced == 0 {
        return String::new();
    }
    format!(
        " The price of {unpriced} calls is not known: they are counted with budgets.unknown_price."
    )
}

fn number(line: &Value, key: &str) -> u64 {
    line.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn amount(line: &Value, key: &str) -> f64 {
    line.get(key).and_then(Value::as_f64).unwrap_or_default()
}

fn rows(lines: &[Value]) -> Vec<Vec<String>> {
    let most = lines
        .iter()
        .map(|l| amount(l, "cost_usd"))
        .fold(0.0, f64::max);
    let row = |l: &Value| {
        let name = field(l, "name");
        let key = field(l, "key");
        let cost = amount(l, "cost_usd");
        vec![
            fit(if name.is_empty() { key } else { name }, 36),
            format!("{cost:.4}"),
            bar(cost, most),
            cell(l.get("calls")),
            cell(l.get("failed")),
            cell(l.get("input_tokens")),
            cell(l.get("output_tokens")),
        ]
    };
    lines.iter().map(row).collect()
}

/// In eighths of a cell, and at least one for what is not nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share between 0 and 1 as a few characters"
)]
fn bar(cost: f64, most: f64) -> String {
    if cost <= 0.0 || most <= 0.0 {
        return String::new();
    }
    let eighths = ((cost / most * (BAR * 8) as f64).round() as u64).clamp(1, BAR * 8);
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get((eighths % 8) as usize);
    format!(
        "{}{}",
        "█".repeat((eighths / 8) as usize),
        rest.unwrap_or(&"")
    )
}

fn budgets(style: Style, budgets: &[Value]) -> Result<()> {
    if budgets.is_empty() {
        return line(
            "\nNo budget to show: `budgets` in the configuration sets one (docs/money.md).",
        );
    }
    line("")?;
    let rows: Vec<Vec<String>> = budgets
        .iter()
        .map(|b| {
            let name = field(b, "name");
            let key = if name.is_empty() {
                field(b, "key")
            } else {
                name
            };
            let of = format!("{} {}", field(b, "scope"), fit(key, 36));
            vec![
                mark(style, b),
                of.trim_end().to_owned(),
                field(b, "period").to_owned(),
                field(b, "text").to_owned(),
                out::time(b, "resets_at"),
            ]
        })
        .collect();
    out::table(
        style,
        &["", "budget", "period", "how it stands", "begins anew"],
        &rows,
    )
}

fn mark(style: Style, budget: &Value) -> String {
    let (spent, left) = (amount(budget, "spent_usd"), budget.get("left_usd"));
    let told = budget.get("soft_usd").and_then(Value::as_f64);
    let level = if left.and_then(Value::as_f64) == Some(0.0) {
        Level::Bad
    } else if told.is_some_and(|soft| spent >= soft) {
        Level::Weak
    } else {
        Level::Good
    };
    // A table counts characters, and colours would count too.
    let plain = Style {
        colour: false,
        ..style
    };
    plain.mark(level, level.sign())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bars_are_shares_of_the_largest() {
        assert_eq!(bar(1.0, 1.0).chars().count() as u64, BAR);
        assert_eq!(bar(0.5, 1.0).chars().count() as u64, BAR / 2);
        assert_eq!(bar(0.000_001, 1.0), "▏");
        assert_eq!(bar(0.0, 1.0), "");
        let lines = [
            json!({ "key": "a", "cost_usd": 2.0, "calls": 1 }),
            json!({ "key": "id", "name": "Ada", "cost_usd": 1.0 }),
        ];
        let rows = rows(&lines);
        assert_eq!(rows[0][..2], ["a", "2.0000"]);
        assert_eq!(rows[1][0], "Ada");
        assert_eq!(rows[1][2], "█".repeat(12));
    }
}
