//! `nexflow doctor`: what is wrong and how to mend it.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Setup,
    client::{self, Client},
    out::{self, Level, Style, bytes, clean, field, items, line, time},
    provider,
    status::{detail, level, mends, news, read, with_running, words_of},
    trouble::Trouble,
};

/// Less free room than this is a fault.
const FULL: u64 = 100 << 20;
/// Less than this is worth a word.
const TIGHT: u64 = 1 << 30;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    #[serde(serialize_with = "word")]
    level: Level,
    what: String,
    detail: String,
    mend: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde asks for"
)]
fn word<S: serde::Serializer>(level: &Level, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match level {
        Level::Good => "good",
        Level::Weak => "weak",
        Level::Bad => "bad",
    })
}

impl Finding {
    fn new(level: Level, what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            level,
            what: what.into(),
            detail: detail.into(),
            mend: Vec::new(),
        }
    }

    fn mend(mut self, mend: Vec<String>) -> Self {
        self.mend = mend;
        self
    }
}

/// Looks at everything; an error if something needs mending.
pub(super) async fn run(setup: &Setup, (json, probe): (bool, bool)) -> Result<()> {
    let folder = setup.load()?.config.data_dir;
    let looked = client::with(setup, async |client| look(client, probe).await).await?;
    let Looked {
        report,
        running,
        skills,
        probes,
    } = looked;
    let problems = items(&report, "config_problems");
    let mut found: Vec<Finding> = problems.iter().map(configured).collect();
    found.push(room(&folder));
    found.extend(sandbox(report.get("sandbox").unwrap_or(&Value::Null)));
    found.extend(parts("provider", items(&report, "providers")));
    found.extend(probes.iter().flat_map(probed));
    found.extend(parts("connector", items(&report, "connectors")));
    found.extend(items(&skills, "skills").iter().filter_map(skill));
    found.extend(
        items(&report, "warnings")
            .iter()
            .filter_map(|w| warning(w, problems)),
    );
    let bad = found.iter().filter(|f| f.level == Level::Bad).count();
    if json {
        let report = with_running(report, running);
        out::json(&json!({ "ok": bad == 0, "findings": found, "report": report }))?;
    } else {
        show(setup.style, &found, running)?;
    }
    match bad {
        0 => Ok(()),
        1 => Err(Trouble::new("1 thing needs mending").into()),
        n => Err(Trouble::new(format_args!("{n} things need mending")).into()),
    }
}

/// What the daemon says of itself.
struct Looked {
    report: Value,
    running: bool,
    skills: Value,
    probes: Vec<Value>,
}

async fn look(client: &Client, probe: bool) -> Result<Looked> {
    let (report, running) = read(client).await?;
    Ok(Looked {
        report,
        running,
        skills: client.get("/api/v1/skills").await?,
        probes: if probe {
            provider::probe(client, None).await?
        } else {
            Vec::new()
        },
    })
}

/// What came of trying a provider.
fn probed(probe: &Value) -> Vec<Finding> {
    let finding = |one: &Value| {
        let level = match field(one, "verdict") {
            "good" => Level::Good,
            "weak" => Level::Weak,
            _ => Level::Bad,
        };
        let what = format!("  {} {}", field(probe, "name"), field(one, "what"));
        Finding::new(level, what, field(one, "detail")).mend(mends(one))
    };
    items(probe, "findings").iter().map(finding).collect()
}

fn configured(problem: &Value) -> Finding {
    let level = if field(problem, "severity") == "error" {
        Level::Bad
    } else {
        Level::Weak
    };
    let at = problem.get("line").and_then(Value::as_u64);
    let at = at.map_or_else(String::new, |n| format!(" (line {n})"));
    let name = format!("config {}{at}", field(problem, "path"));
    Finding::new(level, name, field(problem, "message")).mend(mends(problem))
}

/// A warning that says more than the rest of this report does.
fn warning(warning: &Value, problems: &[Value]) -> Option<Finding> {
    let text = news(warning, problems).filter(|text| !text.contains("`nexflow doctor`"));
    text.map(|text| Finding::new(Level::Weak, "warning", text))
}

fn room(folder: &Path) -> Finding {
    let name = format!("data directory {}", folder.display());
    // Before the first start there is none: the disk is that of the folder it will be made in.
    let there = folder
        .ancestors()
        .find(|f| f.exists())
        .unwrap_or(Path::new("."));
    match nix::sys::statvfs::statvfs(there) {
        Err(error) => {
            Finding::new(Level::Bad, name, format!("cannot be read: {error}")).mend(vec![
                "make it readable for the user that runs nexflow".to_owned(),
            ])
        }
        Ok(disk) => {
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            let level = match free {
                0..FULL => Level::Bad,
                FULL..TIGHT => Level::Weak,
                _ => Level::Good,
            };
            let mend = (level != Level::Good).then(|| "make room on this disk".to_owned());
            Finding::new(level, name, format!("{} free", bytes(free)))
                .mend(mend.into_iter().collect())
        }
    }
}

fn sandbox(sandbox: &Value) -> Vec<Finding> {
    let mode = field(sandbox, "mode");
    let level = match mode {
        "full" => Level::Good,
        "degraded" => Level::Weak,
        _ => Level::Bad,
    };
    let detail = format!("{mode}: {}", field(sandbox, "summary"));
    let mut mend: Vec<String> = items(sandbox, "weaker").iter().map(words_of).collect();
    mend.extend(mends(sandbox));
    let mut found = vec![Finding::new(level, "sandbox", detail).mend(mend)];
    for layer in items(sandbox, "layers") {
        let ok = layer.get("ok").and_then(Value::as_bool).unwrap_or_default();
        let level = if ok { Level::Good } else { Level::Weak };
        let name = format!("  layer {}", field(layer, "name"));
        found.push(Finding::new(level, name, field(layer, "detail")));
    }
    found
}

fn parts(kind: &str, parts: &[Value]) -> Vec<Finding> {
    let finding = |part: &Value| {
        let name = format!("{kind} {}", field(part, "name"));
        let (state, detail) = (field(part, "state"), detail(part));
        let mut text = if detail.is_empty() {
            state.to_owned()
        } else {
            format!("{state}: {detail}")
        };
        for (key, what) in [("heard_at", "last heard"), ("event_at", "last message")] {
            if !field(part, key).is_empty() {
                text.push_str(&format!("; {what} {}", time(part, key)));
            }
        }
        Finding::new(level(part), name, text).mend(mends(part))
    };
    parts.iter().map(finding).collect()
}

/// Skills that cannot be used as they are.
fn skill(skill: &Value) -> Option<Finding> {
    let (name, state) = (field(skill, "name"), field(skill, "state"));
    let mend = match state {
        "broken" => format!(
            "mend it; `nexflow skill validate {}` checks it",
            field(skill, "path")
        ),
        "quarantined" => format!(
            "`nexflow skill diff {name}` shows what is different; then trust it, or put it back"
        ),
        "discovered" => format!("`nexflow skill trust {name}` shows what it asks for"),
        "unavailable" => format!("give it what it needs, or `nexflow skill disable {name}`"),
        _ => return None,
    };
    let level = if state == "broken" {
        Level::Bad
    } else {
        Level::Weak
    };
    let text = format!("{state}: {}", field(skill, "reason"));
    Some(Finding::new(level, format!("skill {name}"), text).mend(vec![mend]))
}

fn show(style: Style, found: &[Finding], running: bool) -> Result<()> {
    if !running {
        line(&style.dim("The daemon does not run; connectors are not tried."))?;
    }
    for finding in found {
        let sign = style.mark(finding.level, finding.level.sign());
        line(&format!(
            "{sign} {}: {}",
            clean(&finding.what),
            clean(&finding.detail)
        ))?;
        for mend in &finding.mend {
            line(&style.dim(&format!("    → {}", clean(mend))))?;
        }
    }
    if found.iter().all(|f| f.level == Level::Good) {
        line("Everything is in order.")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_mending_is_bad() {
        let level = |mode: &str| sandbox(&json!({ "mode": mode })).pop().map(|f| f.level);
        assert_eq!(
            ["full", "degraded", "none"].map(level),
            [Level::Good, Level::Weak, Level::Bad].map(Some)
        );
        assert!(skill(&json!({ "name": "a", "state": "trusted" })).is_none());
        let broken = skill(&json!({ "name": "a", "state": "broken", "path": "skills/a" }));
        assert_eq!(
            broken.unwrap().mend,
            ["mend it; `nexflow skill validate skills/a` checks it"]
        );
        let provider = json!([{ "name": "openai", "state": "misconfigured", "detail": "no key" }]);
        assert_eq!(
            parts("provider", provider.as_array().unwrap())[0].detail,
            "misconfigured: no key"
        );
        let connectors = json!([
            { "name": "telegram", "state": "needs_owner", "detail": "the token is wrong",
              "heard_at": "2026-01-01T10:00:00Z" },
            { "name": "discord", "state": "failing", "detail": "no answer" },
            { "name": "web", "state": "starting", "detail": "" },
        ]);
        let found = parts("connector", connectors.as_array().unwrap());
        let levels: Vec<Level> = found.iter().map(|one| one.level).collect();
        assert_eq!(levels, [Level::Bad, Level::Bad, Level::Good]);
        let first = &found[0].detail;
        assert!(
            first.starts_with("needs_owner: the token is wrong; last heard "),
            "{first}"
        );
    }

    #[test]
    fn the_disk_of_a_folder_that_is_not_there_yet_is_found() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            room(&folder.path().join("not/yet"))
                .detail
                .ends_with("free")
        );
    }
}
