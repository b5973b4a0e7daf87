//! `nexflow skill validate`: mistakes in a skill's folder, without running anything.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::test;
use crate::cli::{
    out::{self, Level, Style, line},
    trouble::Trouble,
};

/// Looks, and fails if there is a mistake.
pub(super) fn run(style: Style, path: &Path, json: bool) -> Result<()> {
    let folder = folder(path);
    let found = problems(folder);
    if json {
        out::json(&json!({ "ok": found.is_empty(), "path": folder, "problems": found }))?;
    } else {
        for problem in &found {
            line(&format!(
                "{} {problem}",
                style.mark(Level::Bad, Level::Bad.sign())
            ))?;
        }
    }
    match found.len() {
        0 if json => Ok(()),
        0 => line(&format!(
            "{} {}: no mistakes",
            style.mark(Level::Good, Level::Good.sign()),
            folder.display()
        )),
        1 => Err(Trouble::new(format_args!("1 mistake in {}", folder.display())).into()),
        n => Err(Trouble::new(format_args!("{n} mistakes in {}", folder.display())).into()),
    }
}

/// The folder of a skill that is named by it or by its SKILL.md.
pub(super) fn folder(path: &Path) -> &Path {
    if path.ends_with("SKILL.md") {
        return path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
    }
    path
}

/// What is wrong.
pub(super) fn problems(folder: &Path) -> Vec<String> {
    let manifest = match manifest(folder) {
        Ok(manifest) => manifest,
        Err(problem) => return vec![problem],
    };
    let mut found = Vec::new();
    for key in ["name", "description"] {
        if out::field(&manifest, key).trim().is_empty() {
            found.push(format!("SKILL.md: `{key}` is missing"));
        }
    }
    if let Some(location) = manifest.get("location").and_then(Value::as_str) {
        let inside = !Path::new(location).is_absolute() && !location.contains("..");
        if !inside {
            found.push(format!(
                "SKILL.md: `location: {location}` leaves the skill's folder"
            ));
        } else if !folder.join(location).is_file() {
            found.push(format!("SKILL.md: there is no file `{location}` to run"));
        }
    }
    let permissions = manifest.get("permissions");
    if permissions.is_some_and(|p| !p.is_null() && !p.is_array()) {
        found.push("SKILL.md: `permissions` is not a list".to_owned());
    }
    if let Err(error) = test::cases(folder) {
        found.push(format!("{error:#}"));
    }
    found
}

/// What stands at the head of a folder's SKILL.md. The seam to the catalogue's own reader.
pub(super) fn manifest(folder: &Path) -> Result<Value, String> {
    let file = folder.join("SKILL.md");
    let text = std::fs::read_to_string(&file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let head = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let head = head
        .strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---"));
    let Some((head, _body)) = head else {
        return Err("SKILL.md: it does not begin with `---`, keys, `---`".to_owned());
    };
    serde_yaml::from_str(head).map_err(|error| format!("SKILL.md: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let of = |text: &str| {
            std::fs::write(folder.path().join("SKILL.md"), text).unwrap();
            problems(folder.path()).join("; ")
        };
        assert!(
            problems(&folder.path().join("none"))
                .join("")
                .contains("cannot be read")
        );
        assert!(of("# no head").contains("does not begin with"));
        assert!(of("---\nname: [\n---\n").starts_with("SKILL.md: "));
        assert_eq!(
            of("---\nname: a\n---\n"),
            "SKILL.md: `description` is missing"
        );
        let gone = of("---\nname: a\ndescription: b\nlocation: ./run.sh\n---\n");
        assert_eq!(gone, "SKILL.md: there is no file `./run.sh` to run");
        let outside = of("---\nname: a\ndescription: b\nlocation: ../run.sh\n---\n");
        assert!(outside.contains("leaves the skill's folder"));
        assert_eq!(of("---\nname: a\ndescription: b\n---\nText."), "");
    }
}
