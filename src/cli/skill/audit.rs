//! `nexflow skill audit`: what is known about skills, and whether one of them needs a person.

use anyhow::Result;
use serde_json::{Value, json};

use super::trust::words;
use crate::cli::{
    Setup,
    client::{Client, path},
    out::{self, Level, Style, bytes, cell, clean, field, items, line},
    trouble::Trouble,
};

/// Shows one or all; fails if one is quarantined or broken.
pub(super) async fn run(
    setup: &Setup,
    client: &Client,
    name: Option<&str>,
    json: bool,
) -> Result<()> {
    let names: Vec<String> = if let Some(name) = name {
        vec![name.to_owned()]
    } else {
        let all = client.get("/api/v1/skills").await?;
        let skills = items(&all, "skills").iter();
        skills.map(|s| field(s, "name").to_owned()).collect()
    };
    let mut found = Vec::new();
    for name in &names {
        found.push(client.get(&path(&["skills", name, "audit"], &[])?).await?);
    }
    let bad = |s: &&Value| matches!(field(s, "state"), "quarantined" | "broken");
    let bad: Vec<&str> = found.iter().filter(bad).map(|s| field(s, "name")).collect();
    if json {
        out::json(&json!({ "ok": bad.is_empty(), "skills": found }))?;
    } else {
        for one in &found {
            show(setup.style, one)?;
        }
    }
    if bad.is_empty() {
        return Ok(());
    }
    let what = format!("{} need somebody to look at them", clean(&bad.join(", ")));
    let hint = "`nexflow skill diff NAME` shows what is different";
    Err(Trouble::new(what).hint(hint).into())
}

fn show(style: Style, one: &Value) -> Result<()> {
    let state = field(one, "state");
    let level = match state {
        "trusted" => Level::Good,
        "quarantined" | "broken" => Level::Bad,
        _ => Level::Weak,
    };
    let head = format!("{} {} ({state})", level.sign(), field(one, "name"));
    line(&style.mark(level, &clean(&head)))?;
    said("", field(one, "reason"))?;
    said("in", field(one, "path"))?;
    said("trusted", &trusted(one))?;
    if one.get("differs_from_shipped") == Some(&Value::Bool(true)) {
        said(
            "note",
            "it differs from the one of this name that comes with nexflow",
        )?;
    }
    permissions(style, one)?;
    for need in items(one, "needs") {
        let met = match need.get("met").and_then(Value::as_bool) {
            Some(true) => "there",
            Some(false) => "not there",
            None => "unknown",
        };
        said(
            "needs",
            &format!("{} {}: {met}", field(need, "kind"), field(need, "name")),
        )?;
    }
    said("runs", &runs(one))?;
    for host in items(one, "network") {
        let count = |key| cell(host.get(key));
        let text = format!(
            "{}: {} connections, {} refused",
            field(host, "host"),
            count("allowed"),
            count("refused")
        );
        said("network", &text)?;
    }
    files(one)?;
    for warning in items(one, "warnings") {
        said("warning", &cell(Some(warning)))?;
    }
    Ok(())
}

fn said(what: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    line(&format!("  {what:<10} {}", clean(text)))
}

fn trusted(one: &Value) -> String {
    let Some(trusted) = one.get("trusted").filter(|t| !t.is_null()) else {
        return "by nobody".to_owned();
    };
    match field(trusted, "at") {
        "" => format!("by {}", field(trusted, "by")),
        at => format!("by {} at {at}", field(trusted, "by")),
    }
}

fn permissions(style: Style, one: &Value) -> Result<()> {
    let all = items(one, "permissions");
    if all.is_empty() {
        return said(
            "asks for",
            "nothing: no files but a folder for each run, no network",
        );
    }
    for permission in all {
        let is = |key: &str| permission.get(key).and_then(Value::as_bool) == Some(true);
        let how = match (is("granted"), is("configured")) {
            (true, true) => "granted in the configuration",
            (true, false) => "granted",
            (false, _) => "asked, not granted",
        };
        said("may", &format!("{} ({how})", words(permission)))?;
        let risk = field(permission, "risk");
        if !risk.is_empty() {
            line(&style.dim(&format!("  {:<10}   {}", "", clean(risk))))?;
        }
    }
    Ok(())
}

fn runs(one: &Value) -> String {
    let none = Value::Null;
    let runs = one.get("runs").unwrap_or(&none);
    let days = cell(one.get("days"));
    let total = runs
        .get("total")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    if total == 0 {
        return format!("none in {days} days");
    }
    let by = runs.get("by_status").and_then(Value::as_object);
    let by: Vec<String> = by
        .into_iter()
        .flatten()
        .map(|(status, count)| format!("{count} {status}"))
        .collect();
    let mut text = format!("{total} in {days} days: {}", by.join(", "));
    let error = field(runs, "last_error").lines().next().unwrap_or_default();
    if !error.is_empty() {
        text.push_str(&format!("; the last error: {error}"));
    }
    text
}

fn files(one: &Value) -> Result<()> {
    let none = Value::Null;
    let files = one.get("files").unwrap_or(&none);
    let size = files
        .get("bytes")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    said(
        "files",
        &format!("{}, {}", cell(files.get("count")), bytes(size)),
    )?;
    for odd in items(files, "odd") {
        said(
            "look at",
            &format!("{}: {}", field(odd, "path"), field(odd, "what")),
        )?;
    }
    Ok(())
}
