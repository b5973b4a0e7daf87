//! What is known about a skill, for a person who wants to know what they run: what it asks for and
//! got, and what is unusual about its files. Facts only; it judges nothing by its words.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    File, Record, Skill, difference,
    explain::{Words, explain},
    folder,
    permission::Permission,
};

/// A line of this length is not written by hand.
const LONG: usize = 2000;
/// So many characters of base64 in a row are something encoded.
const ENCODED: usize = 512;

/// A permission, and where it stands.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// What it means.
    #[serde(flatten)]
    pub words: Words,
    /// The skill asks for it.
    pub asked: bool,
    /// A run has it now.
    pub granted: bool,
    /// It comes from `skills.grants` of the configuration.
    pub configured: bool,
}

/// Something unusual about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Odd {
    /// The file.
    pub path: String,
    /// What is unusual.
    pub what: String,
}

/// What is known from the skill, its decision and its files.
pub fn audit(skill: &Skill, record: Option<&Record>, files: &[File]) -> Value {
    let trusted = record.filter(|r| r.trusted_hash.is_some());
    let trusted = match (trusted, skill.shipped) {
        (Some(r), _) => json!({ "by": r.trusted_by, "at": r.trusted_at, "hash": r.trusted_hash }),
        (None, true) => json!({ "by": "nexflow: it comes with the program", "hash": skill.hash }),
        (None, false) => Value::Null,
    };
    let bytes: u64 = files.iter().map(|f| f.size).sum();
    json!({
        "name": skill.name, "state": skill.state, "reason": skill.reason,
        "kind": skill.describe().get("kind"), "path": skill.dir, "hash": skill.hash,
        "shipped": skill.shipped, "differs_from_shipped": skill.differs,
        "trusted": trusted,
        "permissions": standings(skill),
        "effects": skill.manifest.effects, "confirm": skill.manifest.confirm,
        "needs": skill.needs,
        "files": { "count": files.len(), "bytes": bytes, "odd": odd(skill, files) },
        "warnings": skill.warnings,
    })
}

fn standings(skill: &Skill) -> Vec<Standing> {
    let asked = &skill.manifest.permissions;
    let given = |p: &Permission| {
        let raw = super::catalog::raw(p);
        skill
            .granted
            .iter()
            .find(|g| *g == p || Some(*g) == raw.as_ref())
    };
    let mut all: Vec<Standing> = asked
        .iter()
        .map(|p| Standing {
            words: explain(given(p).unwrap_or(p)),
            asked: true,
            granted: given(p).is_some(),
            configured: false,
        })
        .collect();
    let more = skill.configured.iter();
    all.extend(more.map(|p| Standing {
        words: explain(p),
        asked: false,
        granted: skill.granted.contains(p),
        configured: true,
    }));
    all
}

/// Files that a person should look at.
pub fn odd(skill: &Skill, files: &[File]) -> Vec<Odd> {
    let mut all = Vec::new();
    for file in files {
        let about = file.text.as_deref();
        let found = [
            place(skill, file),
            about.and_then(lines),
            about.and_then(encoded),
            about.and_then(unseen),
        ];
        let path = difference::visible(&file.path);
        all.extend(found.into_iter().flatten().map(|what| Odd {
            path: path.clone(),
            what,
        }));
    }
    all
}

fn place(skill: &Skill, file: &File) -> Option<String> {
    let hidden = file.path.split('/').any(|part| part.starts_with('.'));
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    let location = skill.manifest.location.as_deref().unwrap_or_default();
    let named = skill.body.contains(name) || location.trim_start_matches("./") == file.path;
    if file.mode == folder::LINK {
        let to = difference::visible(file.text.as_deref().unwrap_or_default());
        Some(format!("a link to {to}"))
    } else if hidden {
        Some("a hidden file".to_owned())
    } else if file.text.is_none() {
        Some(format!(
            "no text, or too much to be looked at ({} bytes)",
            file.size
        ))
    } else if file.mode == folder::PROGRAM && !named {
        Some("a program that SKILL.md does not name".to_owned())
    } else {
        None
    }
}

fn lines(text: &str) -> Option<String> {
    let longest = text.lines().map(|l| l.chars().count()).max()?;
    (longest > LONG)
        .then(|| format!("a line of {longest} characters, as in minified or encoded text"))
}

fn encoded(text: &str) -> Option<String> {
    let of = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    let longest = text.split(|c| !of(c)).map(str::len).max()?;
    (longest >= ENCODED).then(|| format!("{longest} characters in a row that could be base64"))
}

fn unseen(text: &str) -> Option<String> {
    // What joins signs into one is seen as that sign; a mark at the very beginning is common.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found = |line: &str| line.chars().find(|c| difference::hidden(*c) && *c != '\r');
    let (at, first) = text
        .lines()
        .enumerate()
        .find_map(|(n, line)| found(line).map(|c| (n + 1, c)))?;
    let count = text
        .chars()
        .filter(|c| difference::hidden(*c) && *c != '\r')
        .count();
    Some(format!(
        "{count} characters that are not seen or turn text round; the first is U+{:04X} in line {at}",
        u32::from(first)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unusual_is_named_and_nothing_else() {
        assert_eq!(lines("short\nlines\n"), None);
        assert!(lines(&"x ".repeat(2000)).is_some());
        assert_eq!(encoded("a word and another-word"), None);
        assert!(encoded(&format!("data: {}", "QUJD".repeat(200))).is_some());
        assert_eq!(unseen("plain – text, with ümlauts and 👩‍👩‍👧\r\n"), None);
        let said = unseen("one\ntw\u{200b}o \u{202e}x").unwrap();
        assert!(
            said.contains("2 characters") && said.contains("U+200B in line 2"),
            "{said}"
        );
    }
}
