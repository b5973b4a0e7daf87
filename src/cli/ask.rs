//! Questions to the person at the keyboard.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::Result;
use serde_json::{Value, json};

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

/// Asks what is to be done with a question of the agent; asks again until the answer is understood.
pub(super) fn decision(lasting: bool) -> Result<Value> {
    let choices = if lasting {
        "[y]es once, this [s]ession, [a]lways, [n]o"
    } else {
        "[y]es, [n]o"
    };
    loop {
        out::aside(&format!("Allow it? {choices} "));
        let mut answer = String::new();
        let ended = std::io::stdin().lock().read_line(&mut answer)? == 0;
        let answer = answer.trim().to_ascii_lowercase();
        let decision = match answer.as_str() {
            "y" | "yes" => "once",
            "s" | "session" if lasting => "session",
            "a" | "always" if lasting => "always",
            "n" | "no" => {
                out::aside("Why not? (told to the model; empty for nothing) ");
                let mut reason = String::new();
                std::io::stdin().lock().read_line(&mut reason)?;
                return Ok(json!({ "decision": "deny", "reason": reason.trim() }));
            }
            _ if ended => "deny",
            _ => continue,
        };
        return Ok(json!({ "decision": decision }));
    }
}
