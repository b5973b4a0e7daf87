//! Files that came with messages: in the workspace of their session, where skills can read them. Images
//! are shown to models as they are.

use std::{
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use super::work::Work;
use crate::{
    sandbox::{Open, open_beneath},
    skills::run::make_workspace,
    store::{Result, messages},
    tools::skill::workspace,
    types::{Attachment, MessageId, text::shorten},
};

/// Their folder in a workspace.
const FOLDER: &str = "attachments";
/// A name takes at most so many bytes of a path.
const NAME: usize = 100;

/// Those that are kept as files, with their numbers.
pub(super) fn kept(files: &[Attachment]) -> impl Iterator<Item = (usize, &Attachment)> {
    let files = files.iter().enumerate();
    files.filter(|(_, file)| !file.media_type.starts_with("image/"))
}

/// Where a file of a message is, below the workspace: the same whenever it is asked.
pub(super) fn path(message: MessageId, n: usize, name: &str) -> String {
    let plain = |c: char| {
        if c.is_alphanumeric() || matches!(c, '.' | '-' | '_') {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_start_matches('.');
    // The end of a long name says what it is.
    let (stem, end) = match name.rsplit_once('.') {
        Some((stem, end)) if end.len() <= 10 => (stem, format!(".{end}")),
        _ => (name, String::new()),
    };
    let stem: String = shorten(stem, NAME).replace('…', "_");
    let id = message.0.simple().to_string();
    let id = id.get(id.len().saturating_sub(8)..).unwrap_or_default();
    format!("{FOLDER}/{id}-{n}-{stem}{end}")
}

/// Puts the files of the messages that a turn answers where skills can read them; what is there stays.
pub(super) async fn unpack(work: &Work) -> Result<()> {
    let all = work.also.iter().chain([&work.asked]);
    let ids: Vec<MessageId> = all.map(|m| m.id).collect();
    let read = work.core.parts.store.read(move |c| {
        let mut all = Vec::new();
        for id in ids {
            let files = messages::attachments(c, id)?;
            let files = kept(&files).map(|(n, file)| (path(id, n, &file.name), file.data.clone()));
            all.extend(files);
        }
        Ok(all)
    });
    let files = read.await?;
    if files.is_empty() {
        return Ok(());
    }
    let root = workspace(&work.core.parts.kit, work.turn.session);
    let written = tokio::task::spawn_blocking(move || {
        files
            .iter()
            .try_for_each(|(path, data)| write(&root, path, data))
    });
    let failed = match written.await {
        Ok(written) => written.err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(error) = failed {
        tracing::error!(%error, "a file that came with a message is not in the workspace");
    }
    Ok(())
}

/// Writes one that is not there whole yet. A link that a program left in its place is not followed.
fn write(root: &Path, path: &str, data: &[u8]) -> io::Result<()> {
    make_workspace(root)?;
    let below: PathBuf = root.join(FOLDER);
    match std::fs::DirBuilder::new().mode(0o755).create(&below) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if !below.symlink_metadata()?.is_dir() {
        return Err(io::Error::other(format!(
            "{} is no folder",
            below.display()
        )));
    }
    if let Ok(there) = open_beneath(root, Path::new(path), Open::Read)
        && there.metadata()?.len() == data.len() as u64
    {
        return Ok(());
    }
    open_beneath(root, Path::new(path), Open::Write)?.write_all(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let id = MessageId::new();
        let long = format!("{}.pdf", "é".repeat(300));
        for name in [
            "../../etc/passwd",
            "/etc/passwd",
            ".bashrc",
            "a\0b\n.txt",
            "",
            "..",
            &long,
        ] {
            let path = path(id, 0, name);
            let inner = path.strip_prefix("attachments/").unwrap();
            assert!(!inner.contains(['/', '\0', '\n']), "{path:?}");
            assert!(inner.len() < 200, "{path:?}");
        }
        assert_eq!(path(id, 1, &long).rsplit('.').next(), Some("pdf"));
        assert_ne!(path(id, 0, "a"), path(MessageId::new(), 0, "a"));
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("w"), folder.path().join("outside"));
        std::fs::create_dir_all(&outside).unwrap();
        write(&root, "attachments/a", b"first").unwrap();
        std::fs::remove_dir_all(root.join(FOLDER)).unwrap();
        std::os::unix::fs::symlink(&outside, root.join(FOLDER)).unwrap();
        assert!(write(&root, "attachments/a", b"second").is_err());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }
}
