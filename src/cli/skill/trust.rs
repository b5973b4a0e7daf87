//! `nexflow skill diff` and `trust`: what a person looks at, and what they then allow.

use anyhow::Result;
use serde_json::{Value, json};

use super::{change, get};
use crate::cli::{
    Setup, ask,
    client::{Client, path},
    out::{self, Level, Style, bytes, cell, clean, field, items, line},
    trouble::Trouble,
};

/// Shows what is different.
pub(super) async fn diff(setup: &Setup, client: &Client, name: &str, json: bool) -> Result<()> {
    let found = difference(client, name).await?;
    if json {
        return out::json(&found);
    }
    head(setup.style, &found)?;
    permissions(setup.style, &found)?;
    files(setup.style, &found)?;
    line(&format!("\nhash {}", field(&found, "hash")))
}

async fn difference(client: &Client, name: &str) -> Result<Value> {
    client.get(&path(&["skills", name, "diff"], &[])?).await
}

/// Shows what a skill asks for, asks whether it may have it, and trusts exactly what was shown.
pub(super) async fn trust(
    setup: &Setup,
    client: &Client,
    name: &str,
    (yes, raw_secrets): (bool, &[String]),
) -> Result<()> {
    let skill = get(client, name).await?;
    if field(&skill, "state") == "broken" {
        let what = format!(
            "`{name}` cannot be trusted: it is broken: {}",
            clean(field(&skill, "reason"))
        );
        let hint = "mend it; `nexflow skill validate FOLDER` checks it";
        return Err(Trouble::new(what).hint(hint).into());
    }
    let found = difference(client, name).await?;
    let style = setup.style;
    let place = clean(field(&skill, "path")).into_owned();
    line(&style.bold(&format!("{name} ({place})")))?;
    head(style, &found)?;
    permissions(style, &found)?;
    for secret in raw_secrets {
        let text = format!("the raw value of the secret {secret} (raw value)");
        line(&style.mark(Level::Bad, &format!("  + {}", clean(&text))))?;
    }
    let effects = cell(skill.get("effects"));
    if !effects.is_empty() {
        line(&format!("It says of itself: {}", clean(&effects)))?;
    }
    summary(style, name, &found)?;
    if !yes && !ask::watched() {
        let hint = format!("read its files, then: nexflow skill trust {name} --yes");
        return Err(Trouble::new("nobody is there to answer").hint(hint).into());
    }
    if !yes && !ask::yes("Allow it, as it is now?")? {
        return line("It is not trusted.");
    }
    let wish =
        json!({ "trusted": true, "hash": field(&found, "hash"), "raw_secrets": raw_secrets });
    change(client, name, &wish).await
}

fn head(style: Style, found: &Value) -> Result<()> {
    let name = clean(field(found, "name")).into_owned();
    let text = match (field(found, "against"), items(found, "files").len()) {
        ("trusted", 0) => format!("{name} is as it was trusted."),
        ("shipped", 0) => format!("{name} is as it comes with nexflow."),
        ("trusted", n) => format!(
            "{name} is {}: {n} files are not as they were trusted.",
            field(found, "state")
        ),
        ("shipped", n) => format!(
            "{name} is {}: {n} files are not as they come with nexflow.",
            field(found, "state")
        ),
        (_, n) => format!(
            "{name} is {}: nothing is kept to compare it with, so all of its {n} files are shown.",
            field(found, "state")
        ),
    };
    line(&style.bold(&text))
}

fn permissions(style: Style, found: &Value) -> Result<()> {
    let asked = items(found, "permissions");
    if asked.is_empty() {
        return line("It asks for nothing: no files but a folder for each run, no network.");
    }
    line("It asks for:")?;
    for one in asked {
        let text = words(one);
        match field(one, "change") {
            "gone" => line(&style.mark(Level::Bad, &format!("  - {text} (not any more)")))?,
            "new" => line(&style.mark(Level::Good, &format!("  + {text}")))?,
            _ => line(&format!("    {text} (granted before)"))?,
        }
        let risk = field(one, "risk");
        if !risk.is_empty() {
            line(&style.dim(&format!("      {}", clean(risk))))?;
        }
    }
    Ok(())
}

/// A permission as a line.
pub(super) fn words(one: &Value) -> String {
    let raw = one.get("raw_value").and_then(Value::as_bool) == Some(true);
    let mark = if raw { " (raw value)" } else { "" };
    let (permission, text) = (field(one, "permission"), field(one, "text"));
    format!("{}{mark} – {}", clean(permission), clean(text))
}

fn summary(style: Style, name: &str, found: &Value) -> Result<()> {
    let changes = items(found, "files");
    if changes.is_empty() {
        return Ok(());
    }
    for one in changes.iter().take(40) {
        line(&title(style, one))?;
    }
    if changes.len() > 40 {
        line(&format!("  and {} more", changes.len() - 40))?;
    }
    line(&style.dim(&format!(
        "`nexflow skill diff {name}` shows what is in them."
    )))
}

fn files(style: Style, found: &Value) -> Result<()> {
    for one in items(found, "files") {
        line(&format!("\n{}", title(style, one)))?;
        let Some(diff) = one.get("diff").and_then(Value::as_str) else {
            line(&style.dim("    no text to compare, or too much of it"))?;
            continue;
        };
        for text in diff.lines() {
            line(&painted(style, text))?;
        }
        if one.get("cut").and_then(Value::as_bool) == Some(true) {
            line(&style.dim("    … the rest is left out; read the file"))?;
        }
    }
    Ok(())
}

fn painted(style: Style, text: &str) -> String {
    let shown = clean(text);
    match text.chars().next() {
        Some('+') => style.mark(Level::Good, &shown),
        Some('-') => style.mark(Level::Bad, &shown),
        Some('@') => style.dim(&shown),
        _ => shown.into_owned(),
    }
}

/// What happened to a file, in a line.
fn title(style: Style, one: &Value) -> String {
    let of = |key: &str, when: &str| one.get(key).and_then(|pair| pair.get(when)).cloned();
    let (sign, level) = match field(one, "change") {
        "added" => ("+", Level::Good),
        "removed" => ("-", Level::Bad),
        _ => ("~", Level::Weak),
    };
    let size = |when| of("size", when).and_then(|n| n.as_u64()).map(bytes);
    let size = match (size("before"), size("now")) {
        (Some(before), Some(now)) if before != now => format!("{before} → {now}"),
        (_, Some(now)) => now,
        (before, None) => before.unwrap_or_default(),
    };
    let kind = |when| of("mode", when).map(|m| cell(Some(&m)));
    let kind = match (kind("before"), kind("now")) {
        (Some(before), Some(now)) if before != now => format!(", {before} → {now}"),
        (_, Some(kind)) if kind != "file" => format!(", {kind}"),
        _ => String::new(),
    };
    let text = format!(
        "{sign} {} ({}, {size}{kind})",
        field(one, "path"),
        field(one, "change")
    );
    style.mark(level, &format!("  {}", clean(&text)))
}
