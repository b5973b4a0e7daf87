//! What is shown: lines, tables, JSON, colours. Text of others never reaches a terminal with its
//! control characters.

use std::{
    borrow::Cow,
    io::{IsTerminal as _, Write as _},
};

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

/// On a terminal a cell is at most this wide; in a pipe it is whole.
const WIDEST: usize = 60;

/// How to show things.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Style {
    /// Whether a person watches.
    pub(super) terminal: bool,
    /// Whether to use colours.
    pub(super) colour: bool,
}

impl Style {
    /// Of standard output.
    pub(super) fn new(no_colour: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self {
            terminal,
            colour: terminal && !no_colour,
        }
    }

    /// Dim text.
    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Bold text.
    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Green, yellow or red.
    pub(super) fn mark(self, level: Level, text: &str) -> String {
        let code = match level {
            Level::Good => "32",
            Level::Weak => "33",
            Level::Bad => "31",
        };
        self.paint(code, text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Good,
    /// It works, less than it could.
    Weak,
    /// It needs mending.
    Bad,
}

impl Level {
    /// A sign for it.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Weak => "!",
            Self::Bad => "✗",
        }
    }
}

/// Writes to standard output as it is.
pub(super) fn raw(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a line to standard output.
pub(super) fn line(text: &str) -> Result<()> {
    raw(&format!("{text}\n"))
}

/// Writes to standard error; nobody is left to tell if that fails.
pub(super) fn aside(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

/// Writes JSON for programs.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Text of others without what moves the cursor or recolours the terminal.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(bad) {
        return text.replace("\r\n", "\n").replace(bad, "\u{fffd}").into();
    }
    text.into()
}

/// A table: columns as wide as they need to be, two blanks between them.
pub(super) fn table(style: Style, head: &[&str], rows: &[Vec<String>]) -> Result<()> {
    raw(&aligned(style, head, rows))
}

fn aligned(style: Style, head: &[&str], rows: &[Vec<String>]) -> String {
    let widest = if style.terminal { WIDEST } else { usize::MAX };
    let head: Vec<String> = head.iter().map(|h| h.to_uppercase()).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| fit(cell, widest)).collect())
        .collect();
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = style.dim(&row_text(&head, &widths));
    text.push('\n');
    for row in &rows {
        text.push_str(&row_text(row, &widths));
        text.push('\n');
    }
    text
}

fn row_text(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<String> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    cells.join("  ").trim_end().to_owned()
}

/// One line, at most so many characters.
pub(super) fn fit(text: &str, widest: usize) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = clean(&line.join(" ")).into_owned();
    if line.chars().count() <= widest {
        return line;
    }
    let kept: String = line.chars().take(widest.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// A value as a cell: text without quotes, nothing for null.
pub(super) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| cell(Some(item))).collect();
            items.join(", ")
        }
        Some(other) => other.to_string(),
    }
}

/// The text under a key; empty if there is none.
pub(super) fn field<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The list under a key; empty if there is none.
pub(super) fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The time under a key, in the local zone; empty if there is none.
pub(super) fn time(value: &Value, key: &str) -> String {
    let text = field(value, key);
    chrono::DateTime::parse_from_rfc3339(text).map_or_else(
        |_not_a_time| text.to_owned(),
        |at| {
            at.with_timezone(&chrono::Local)
                .format("%Y-%m-%d %H:%M")
                .to_string()
        },
    )
}

/// Bytes for people.
#[expect(clippy::cast_precision_loss, reason = "a rounded number for people")]
pub(super) fn bytes(count: u64) -> String {
    let mut size = count as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    if unit == "B" {
        format!("{count} B")
    } else {
        format!("{size:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_are_aligned_and_harmless() {
        let rows = vec![
            vec!["a".to_owned(), "two\nlines".to_owned()],
            vec!["longer".to_owned(), "\u{1b}[31mred".to_owned()],
        ];
        let text = aligned(Style::default(), &["id", "text"], &rows);
        assert_eq!(
            text,
            "ID      TEXT\na       two lines\nlonger  \u{fffd}[31mred\n"
        );
    }

    #[test]
    fn a_terminal_gets_short_cells_and_a_pipe_whole_ones() {
        let rows = vec![vec!["x".repeat(100)]];
        let style = Style {
            terminal: true,
            colour: false,
        };
        assert!(
            aligned(style, &["t"], &rows)
                .lines()
                .all(|line| line.chars().count() <= WIDEST)
        );
        assert!(aligned(Style::default(), &["t"], &rows).contains(&"x".repeat(100)));
    }

    #[test]
    fn cells_are_for_people() {
        assert_eq!(cell(Some(&json!(["a", 1, true]))), "a, 1, yes");
        assert_eq!(cell(Some(&Value::Null)), "");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(5 << 20), "5.0 MiB");
    }
}
