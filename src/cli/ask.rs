//! Questions to the person at the keyboard.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::Result;

use super::out;

/// Whether somebody can answer.
pub(super) fn watched() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks; anything but yes is no.
pub(super) fn yes(question: &str) -> Result<bool> {
    out::aside(&format!("{question} [y/N] "));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}
