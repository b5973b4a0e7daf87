//! The system prompt, made of files that the owner can read and change: `prompts/system.md`,
//! `USER.md` and `WORKSPACE.md` in the data directory. What changes least comes first, so that
//! providers can cache it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};

use super::toolbox::Toolbox;
use crate::types::text::head_and_tail;

const SYSTEM: &str = include_str!("prompts/system.md");
const USER: &str = include_str!("prompts/USER.md");
const WORKSPACE: &str = include_str!("prompts/WORKSPACE.md");

/// What a prompt is made of, besides the skills.
const FILES: [&str; 3] = ["prompts/system.md", "USER.md", "WORKSPACE.md"];

/// A profile file may take this many bytes of the prompt.
const PROFILE: usize = 8000;

/// The prompt files of a data directory.
pub(super) struct Prompts {
    data_dir: PathBuf,
    /// The last ones, with and without what is told of the person, and what they were made of.
    last: Mutex<[Option<(Source, System)>; 2]>,
}

/// A system prompt, and the file of the person's that it tells of.
type System = (String, Option<&'static str>);

/// What a system prompt is made of: it is built once for each change of that.
struct Source {
    files: [Stamp; 3],
    instructions: Arc<[(String, String)]>,
}

/// When a file was changed, and its size; none if it is not there.
type Stamp = Option<(SystemTime, u64)>;

impl Source {
    fn is(&self, other: &Self) -> bool {
        self.files == other.files && Arc::ptr_eq(&self.instructions, &other.instructions)
    }
}

impl Prompts {
    /// Writes the files that are missing, and renews those that the owner never changed.
    pub(super) fn prepare(data_dir: &Path) -> Self {
        let files = [
            ("prompts/system.md", SYSTEM),
            ("USER.md", USER),
            ("WORKSPACE.md", WORKSPACE),
        ];
        for (name, text) in files {
            if let Err(error) = refresh(data_dir, name, text) {
                tracing::warn!(file = name, %error, "a prompt file could not be written; its default is used");
            }
        }
        Self {
            data_dir: data_dir.to_owned(),
            last: Mutex::default(),
        }
    }

    /// The system prompt: who the agent is, which instructions it may read, whom it serves; and the
    /// file of the person's that it tells of, if one is filled in. `private` leaves out what it tells of
    /// the person.
    pub(super) fn system(&self, toolbox: &Toolbox, private: bool) -> System {
        let source = Source {
            files: FILES.map(|name| self.stamp(name)),
            instructions: Arc::clone(toolbox.instructions()),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let [open, closed] = &mut *last;
        let last = if private { closed } else { open };
        if let Some((of, made)) = last
            && of.is(&source)
        {
            return made.clone();
        }
        let made = self.make(&source.instructions, private);
        *last = Some((source, made.clone()));
        made
    }

    fn stamp(&self, name: &str) -> Stamp {
        let data = std::fs::metadata(self.data_dir.join(name)).ok()?;
        Some((data.modified().ok()?, data.len()))
    }

    fn make(&self, index: &[(String, String)], private: bool) -> System {
        let mut prompt = self.read("prompts/system.md", SYSTEM);
        if !index.is_empty() {
            prompt.push_str("\n\n# Instructions\n\nRead one with the tool `skill` before you do what it is about:\n");
            for (name, about) in index {
                prompt.push_str(&format!("\n- {name}: {about}"));
            }
        }
        let mut profile = None;
        if private {
            return (prompt, profile);
        }
        for (title, name) in [
            ("The person", "USER.md"),
            ("Their surroundings", "WORKSPACE.md"),
        ] {
            let text = without_comments(&self.read(name, ""));
            if !text.is_empty() {
                profile.get_or_insert(name);
                prompt.push_str(&format!(
                    "\n\n# {title}\n\n{}",
                    head_and_tail(&text, PROFILE)
                ));
            }
        }
        (prompt, profile)
    }

    fn read(&self, name: &str, default: &str) -> String {
        let text = std::fs::read_to_string(self.data_dir.join(name));
        text.map_or_else(
            |_missing| default.trim().to_owned(),
            |t| t.trim().to_owned(),
        )
    }
}

/// Writes a default where there is none, or where an older default stands unchanged: beside each file
/// its default's fingerprint is kept.
fn refresh(data_dir: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let path = data_dir.join(name);
    let mark = data_dir
        .join("prompts/.defaults")
        .join(name.replace('/', "_"));
    for folder in [path.parent(), mark.parent()].into_iter().flatten() {
        std::fs::create_dir_all(folder)?;
    }
    let fingerprint = |text: &str| format!("{:?}", Sha256::digest(text.as_bytes()));
    let unchanged = match (
        std::fs::read_to_string(&path),
        std::fs::read_to_string(&mark),
    ) {
        (Err(_), _) => true,
        (Ok(found), Ok(known)) => found != text && fingerprint(&found) == known,
        (Ok(_), Err(_)) => false,
    };
    if unchanged {
        std::fs::write(&path, text)?;
        std::fs::write(&mark, fingerprint(text))?;
    }
    Ok(())
}

/// A template that was not filled in says nothing to the model.
fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<!--") {
        out.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_s_changes_stay_and_untouched_defaults_are_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let read = || std::fs::read_to_string(folder.path().join("USER.md")).unwrap();
        refresh(folder.path(), "USER.md", "first").unwrap();
        refresh(folder.path(), "USER.md", "second").unwrap();
        assert_eq!(read(), "second");
        std::fs::write(folder.path().join("USER.md"), "mine").unwrap();
        refresh(folder.path(), "USER.md", "third").unwrap();
        assert_eq!(read(), "mine");
    }

    #[test]
    fn a_prompt_is_made_once_for_each_change() {
        let folder = tempfile::tempdir().unwrap();
        let prompts = Prompts::prepare(folder.path());
        let instructions: Arc<[(String, String)]> = [("a".to_owned(), "b".to_owned())].into();
        let source = |instructions: &Arc<[(String, String)]>| Source {
            files: FILES.map(|name| prompts.stamp(name)),
            instructions: Arc::clone(instructions),
        };
        let before = source(&instructions);
        assert!(before.is(&source(&instructions)), "nothing changed");
        let same_words: Arc<[(String, String)]> = [("a".to_owned(), "b".to_owned())].into();
        assert!(
            !before.is(&source(&same_words)),
            "the skills were read again"
        );
        std::fs::write(folder.path().join("USER.md"), "I am new here").unwrap();
        assert!(!before.is(&source(&instructions)), "a file changed");
        assert!(
            prompts
                .make(&instructions, false)
                .0
                .contains("I am new here")
        );
        assert!(
            !prompts
                .make(&instructions, true)
                .0
                .contains("I am new here")
        );
    }

    #[test]
    fn a_template_that_was_not_filled_in_is_silent() {
        assert_eq!(without_comments(USER), "");
        assert_eq!(without_comments(WORKSPACE), "");
        assert_eq!(without_comments("a <!-- b --> c <!-- d"), "a  c");
    }
}
