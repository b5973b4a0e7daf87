//! `nexflow skill validate`: mistakes in a skill's folder, without running anything. The catalogue
//! itself reads it, as it would in the skills directory.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::test::case;
use crate::{
    cli::{
        Setup,
        out::{self, Level, Style, clean, line},
        trouble::Trouble,
    },
    skills::{
        self, Skill, State, audit,
        catalog::Catalog,
        explain::{Words, explain},
        needs::Need,
    },
};

/// What is to be said about a skill.
#[derive(Debug, Serialize)]
pub(super) struct Review {
    name: String,
    path: String,
    /// What keeps it from loading or from being tested.
    pub(super) mistakes: Vec<String>,
    /// What is odd, or missing on this machine.
    remarks: Vec<String>,
    /// What it asks for, in words.
    permissions: Vec<Words>,
}

/// Looks, and fails if there is a mistake.
pub(super) fn run(setup: &Setup, path: &Path, json: bool) -> Result<()> {
    let config = setup.load()?.config;
    let found = review(path, (&config.skills, &config.path))?;
    let mistakes: usize = found.iter().map(|r| r.mistakes.len()).sum();
    if json {
        out::json(&json!({ "ok": mistakes == 0, "skills": found }))?;
    } else {
        for review in &found {
            show(setup.style, review)?;
        }
    }
    match mistakes {
        0 => Ok(()),
        1 => Err(Trouble::new("there is 1 mistake").into()),
        n => Err(Trouble::new(format_args!("there are {n} mistakes")).into()),
    }
}

fn show(style: Style, review: &Review) -> Result<()> {
    let good = review.mistakes.is_empty();
    let level = if good { Level::Good } else { Level::Bad };
    let words = if good { "no mistakes" } else { "" };
    let head = format!("{} ({}) {words}", review.name, review.path);
    line(&format!(
        "{} {}",
        style.mark(level, level.sign()),
        clean(head.trim_end())
    ))?;
    for asked in &review.permissions {
        let risk = match asked.risk.as_str() {
            "" => String::new(),
            risk => format!(" ({risk})"),
        };
        let (permission, text) = (&asked.permission, &asked.text);
        line(&clean(&format!("  asks for {permission}: it {text}{risk}")))?;
    }
    let mistakes = review.mistakes.iter().map(|text| (Level::Bad, text));
    let remarks = review.remarks.iter().map(|text| (Level::Weak, text));
    for (level, text) in mistakes.chain(remarks) {
        line(&format!(
            "  {} {}",
            style.mark(level, level.sign()),
            clean(text)
        ))?;
    }
    Ok(())
}

/// Every skill at or below a folder, read without any trust.
pub(super) fn catalog(path: &Path, (config, search): (&skills::Config, &str)) -> Result<Catalog> {
    let folder = folder(path);
    if !folder.is_dir() {
        let what = format!("there is no folder {}", folder.display());
        return Err(Trouble::new(what)
            .hint("name the folder that holds a SKILL.md")
            .into());
    }
    let config = skills::Config {
        directory: folder.to_owned(),
        ..config.clone()
    };
    let catalog = Catalog::new(&config, search);
    catalog.load();
    if catalog.snapshot().is_empty() {
        let what = format!("there is no SKILL.md in {}", folder.display());
        return Err(Trouble::new(what)
            .hint("`nexflow skill new NAME` begins a skill")
            .into());
    }
    Ok(catalog)
}

/// What is wrong and what is odd.
pub(super) fn review(path: &Path, with: (&skills::Config, &str)) -> Result<Vec<Review>> {
    let about = |skill: &Skill| {
        let (mut mistakes, mut remarks) = (Vec::new(), skill.warnings.clone());
        match skill.state {
            State::Broken => mistakes.push(skill.reason.clone()),
            State::Unavailable => remarks.push(skill.reason.clone()),
            _ => {}
        }
        // Its own script is its author's business, not that of this machine.
        if let Some(script) = missing_script(skill) {
            mistakes.push(format!("SKILL.md: there is no file `{script}` to run"));
        }
        if let Err(error) = case::all(&skill.dir) {
            mistakes.push(format!("{error:#}"));
        }
        let lacking = skill.needs.iter().filter_map(Need::lacking);
        remarks.extend(lacking.map(|what| format!("it needs {what}")));
        let (_, files) = skill.copy().unwrap_or_default();
        let odd = audit::odd(skill, &files);
        remarks.extend(odd.iter().map(|o| format!("{}: {}", o.path, o.what)));
        let permissions = skill.manifest.permissions.iter().map(explain).collect();
        let path = skill.dir.display().to_string();
        Review {
            name: skill.name.clone(),
            path,
            mistakes,
            remarks,
            permissions,
        }
    };
    Ok(catalog(path, with)?
        .snapshot()
        .iter()
        .map(|skill| about(skill))
        .collect())
}

fn missing_script(skill: &Skill) -> Option<&str> {
    let script = skill.manifest.location.as_deref()?;
    (skill.state != State::Broken && !skill.dir.join(script).is_file()).then_some(script)
}

/// The folder of a skill that is named by it or by its SKILL.md.
fn folder(path: &Path) -> &Path {
    if path.ends_with("SKILL.md") {
        return path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let config = skills::Config::default();
        let of = |text: &str| {
            std::fs::write(folder.path().join("SKILL.md"), text).unwrap();
            let mut found = review(folder.path(), (&config, "/usr/bin:/bin")).unwrap();
            assert_eq!(found.len(), 1);
            found.remove(0).mistakes
        };
        assert!(review(&folder.path().join("none"), (&config, "")).is_err());
        assert_eq!(of("---\nname: [\n---\n").len(), 1);
        assert_eq!(
            of("---\nname: a\ndescription: b\nlocation: ./run.sh\n---\n").len(),
            1
        );
        assert!(of("---\nname: a\ndescription: b\n---\nText.").is_empty());
        std::fs::create_dir(folder.path().join("tests")).unwrap();
        std::fs::write(folder.path().join("tests/a.json"), "{").unwrap();
        let mistakes = of("---\nname: a\ndescription: b\n---\nText.");
        assert!(mistakes[0].starts_with("tests/a.json"), "{mistakes:?}");
    }
}
