//! What is different in a skill since it was trusted: files and permissions, for the person who is
//! asked to trust it again. For one that nobody has trusted yet: all of it.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use similar::TextDiff;

use super::{
    Skill, State,
    explain::{Words, explain},
    folder,
    permission::Permission,
    shipped,
};
use crate::store::skills::{File, Record};

/// Most text of one file's difference.
const LONGEST: usize = 64 << 10;
/// Most text of all of them.
const MOST: usize = 1 << 20;
/// After this a coarser difference of one file will do.
const PATIENCE: Duration = Duration::from_millis(200);

/// What is compared with what, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The skill.
    pub name: String,
    /// Its state.
    pub state: State,
    /// The content that was looked at: name it when trusting, so that nothing else is trusted.
    pub hash: String,
    /// `trusted`: what was trusted; `shipped`: what comes with nexflow; `nothing`: there is nothing
    /// to compare with, and every file counts as added.
    pub against: &'static str,
    /// Files that are not the same, by path.
    pub files: Vec<Change>,
    /// How many are the same.
    pub same: usize,
    /// Permissions asked now, and those that were granted and are not asked any more.
    pub permissions: Vec<Asked>,
}

/// A file that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Below the skill's folder.
    pub path: String,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
    /// `file`, `program` or `link`, before and now.
    pub mode: Pair<&'static str>,
    /// Bytes, before and now.
    pub size: Pair<u64>,
    /// SHA-256, before and now.
    pub sha256: Pair<String>,
    /// A unified diff, where both are text and were kept.
    pub diff: Option<String>,
    /// The difference was too long to be shown whole.
    pub cut: bool,
}

/// Before and now; none where there was or is no such file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair<T> {
    /// When it was trusted.
    pub before: Option<T>,
    /// In the folder now.
    pub now: Option<T>,
}

/// A permission, in words, and whether it is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// What it means.
    #[serde(flatten)]
    pub words: Words,
    /// `new`, `granted` (before) or `gone`.
    pub change: &'static str,
}

/// What is different. `kept` are the files that were kept when it was trusted. Blocks.
///
/// # Errors
/// Where the folder cannot be read.
pub fn difference(
    skill: &Skill,
    record: Option<&Record>,
    kept: Vec<File>,
) -> Result<Difference, String> {
    let trusted = record.filter(|r| r.trusted_hash.is_some());
    let (hash, now) = folder::copy(&skill.dir)?;
    let (against, before) = if trusted.is_some() && !kept.is_empty() {
        ("trusted", kept)
    } else if let Some(ours) = shipped::files(&skill.folder()) {
        ("shipped", ours)
    } else {
        ("nothing", Vec::new())
    };
    let (files, same) = changes(&before, &now);
    Ok(Difference {
        name: skill.name.clone(),
        state: skill.state,
        hash,
        against,
        files,
        same,
        permissions: permissions(skill, trusted),
    })
}

fn changes(before: &[File], now: &[File]) -> (Vec<Change>, usize) {
    let mut both: BTreeMap<&str, (Option<&File>, Option<&File>)> = BTreeMap::new();
    for file in before {
        both.entry(&file.path).or_default().0 = Some(file);
    }
    for file in now {
        both.entry(&file.path).or_default().1 = Some(file);
    }
    let all = both.len();
    let mut left = MOST;
    let found: Vec<Change> = both
        .into_iter()
        .filter_map(|(path, (before, now))| {
            let change = change(path, before, now, left)?;
            left -= change.diff.as_ref().map_or(0, String::len);
            Some(change)
        })
        .collect();
    let same = all - found.len();
    (found, same)
}

fn change(path: &str, before: Option<&File>, now: Option<&File>, left: usize) -> Option<Change> {
    let word = match (before, now) {
        (Some(b), Some(n)) if b.sha256 == n.sha256 && b.mode == n.mode => return None,
        (Some(_), Some(_)) => "changed",
        (None, _) => "added",
        (_, None) => "removed",
    };
    let (diff, cut) = text(before, now, LONGEST.min(left));
    Some(Change {
        path: visible(path),
        change: word,
        mode: Pair {
            before: before.map(kind),
            now: now.map(kind),
        },
        size: Pair {
            before: before.map(|f| f.size),
            now: now.map(|f| f.size),
        },
        sha256: Pair {
            before: before.map(|f| f.sha256.clone()),
            now: now.map(|f| f.sha256.clone()),
        },
        diff,
        cut,
    })
}

fn kind(file: &File) -> &'static str {
    match file.mode {
        folder::PROGRAM => "program",
        folder::LINK => "link",
        _ => "file",
    }
}

/// A unified diff with every character to be seen, and whether it was cut.
fn text(before: Option<&File>, now: Option<&File>, most: usize) -> (Option<String>, bool) {
    let of = |file: Option<&File>| match file {
        None => Some(String::new()),
        Some(file) => file.text.clone(),
    };
    let (Some(old), Some(new)) = (of(before), of(now)) else {
        return (None, false);
    };
    let mut diff = TextDiff::configure();
    let diff = diff.timeout(PATIENCE).diff_lines(&old, &new);
    let shown = visible(&diff.unified_diff().context_radius(3).to_string());
    if shown.len() <= most {
        return (Some(shown), false);
    }
    let end = shown
        .char_indices()
        .take_while(|(at, c)| at + c.len_utf8() <= most)
        .filter(|(_, c)| *c == '\n')
        .last()
        .map_or(0, |(at, _)| at + 1);
    (Some(shown.get(..end).unwrap_or_default().to_owned()), true)
}

/// Characters that are not seen, or make text read otherwise than it is, as their number.
pub(super) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) {
            out.push_str(&format!("⟨U+{:04X}⟩", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a character cannot be seen, or changes the direction of others.
pub(super) fn hidden(c: char) -> bool {
    let control = c.is_control() && c != '\n' && c != '\t';
    control
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180e}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{e0000}'..='\u{e007f}')
}

fn permissions(skill: &Skill, trusted: Option<&Record>) -> Vec<Asked> {
    let granted = trusted.map_or(&[][..], |r| r.permissions.as_slice());
    let asks = skill.manifest.permissions.iter();
    let asked = asks.map(|permission| {
        let given = super::catalog::given(permission, granted);
        let change = if given.is_some() { "granted" } else { "new" };
        let words = explain(&given.unwrap_or_else(|| permission.clone()));
        Asked { words, change }
    });
    let still = |text: &str| {
        let mut asks = skill.manifest.permissions.iter();
        asks.any(|p| {
            p.as_str() == text || super::catalog::raw(p).is_some_and(|r| r.as_str() == text)
        })
    };
    let gone = granted
        .iter()
        .filter(|text| !still(text))
        .filter_map(|text| Permission::parse(text).ok())
        .map(|permission| Asked {
            words: explain(&permission),
            change: "gone",
        });
    asked.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, mode: u32, bytes: &[u8]) -> File {
        folder::kept(&folder::Found { path, mode, bytes }, usize::MAX)
    }

    #[test]
    fn files_are_added_removed_and_changed() {
        let before = [
            file("same", folder::PLAIN, b"one\n"),
            file("gone", folder::PLAIN, b"one\n"),
            file("run.sh", folder::PLAIN, b"one\ntwo\n"),
            file("mode", folder::PLAIN, b"x"),
            file("data", folder::PLAIN, &[0, 1]),
        ];
        let now = [
            file("same", folder::PLAIN, b"one\n"),
            file("new", folder::PROGRAM, b"#!\n"),
            file("run.sh", folder::PLAIN, "one\ntw\u{202e}o\n".as_bytes()),
            file("mode", folder::PROGRAM, b"x"),
            file("data", folder::PLAIN, &[0, 2]),
        ];
        let (found, same) = changes(&before, &now);
        assert_eq!(same, 1);
        let words: Vec<_> = found.iter().map(|c| (c.path.as_str(), c.change)).collect();
        assert_eq!(
            words,
            [
                ("data", "changed"),
                ("gone", "removed"),
                ("mode", "changed"),
                ("new", "added"),
                ("run.sh", "changed")
            ]
        );
        assert_eq!(found[0].diff, None, "bytes have no text");
        assert_eq!(
            (found[2].mode.before, found[2].mode.now),
            (Some("file"), Some("program"))
        );
        let diff = found[4].diff.as_deref().unwrap();
        assert!(diff.contains("-two\n+tw⟨U+202E⟩o\n"), "{diff}");
        assert!(found[3].diff.as_deref().unwrap().contains("+#!"));
    }

    #[test]
    fn a_long_difference_is_cut_at_a_line() {
        let long = "a line of some length\n".repeat(10_000);
        let now = [file("long", folder::PLAIN, long.as_bytes())];
        let (found, _) = changes(&[], &now);
        assert!(found[0].cut);
        let diff = found[0].diff.as_deref().unwrap();
        assert!(diff.len() <= LONGEST && diff.ends_with("length\n"));
    }
}
