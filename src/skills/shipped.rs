//! The skills that come with the program: what they hash to, and how they get into a directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rust_embed::RustEmbed;

use super::folder::{self, Hasher};
use crate::store::skills::File;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/skills"]
struct Files;

/// Hash of each shipped folder.
static HASHES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in Files::iter() {
        if let Some((folder, rest)) = path.split_once('/') {
            folders
                .entry(folder.to_owned())
                .or_default()
                .push(rest.to_owned());
        }
    }
    folders
        .into_iter()
        .map(|(folder, files)| (folder.clone(), hash(&folder, files)))
        .collect()
});

fn hash(folder: &str, mut files: Vec<String>) -> String {
    files.sort();
    let mut hasher = Hasher::default();
    for rel in files {
        if let Some(file) = Files::get(&format!("{folder}/{rel}")) {
            hasher.file(&rel, folder::mode(false, &file.data), &file.data);
        }
    }
    hasher.finish()
}

/// The files of a folder that comes with the program; none if there is no such folder.
pub(super) fn files(folder: &str) -> Option<Vec<File>> {
    let below = format!("{folder}/");
    let mut all: Vec<File> = Files::iter()
        .filter_map(|path| {
            let rel = path.strip_prefix(&below)?;
            let data = Files::get(&path)?.data;
            let (mode, bytes) = (folder::mode(false, &data), data.as_ref());
            let found = folder::Found {
                path: rel,
                mode,
                bytes,
            };
            Some(folder::kept(&found, usize::MAX))
        })
        .collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    (!all.is_empty()).then_some(all)
}

/// Whether a folder with this hash came with the program.
pub(super) fn is_shipped(hash: &str) -> bool {
    HASHES.values().any(|known| known == hash)
}

/// Whether a folder of this name comes with the program.
pub(super) fn has(folder: &str) -> bool {
    HASHES.contains_key(folder)
}

/// Writes the shipped skills into a directory that does not exist yet.
pub(super) fn unpack(directory: &Path) -> io::Result<()> {
    folders().create(directory)?;
    HASHES
        .keys()
        .try_for_each(|folder| write(folder, &directory.join(folder)))
}

fn folders() -> fs::DirBuilder {
    let mut folders = fs::DirBuilder::new();
    folders.recursive(true).mode(0o755);
    folders
}

/// Writes one of them to a folder.
fn write(folder: &str, to: &Path) -> io::Result<()> {
    let below = format!("{folder}/");
    for path in Files::iter() {
        let Some((rel, file)) = path.strip_prefix(&below).zip(Files::get(&path)) else {
            continue;
        };
        let to = to.join(rel);
        if let Some(parent) = to.parent() {
            folders().create(parent)?;
        }
        fs::write(&to, &file.data)?;
        let mode = if file.data.starts_with(b"#!") {
            0o755
        } else {
            0o644
        };
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Replaces every older copy that nobody edited: its content is one that stood there unchanged once.
/// Answers what it tried.
pub(super) fn renew(
    directory: &Path,
    history: &BTreeSet<(String, String)>,
) -> Vec<(String, io::Result<()>)> {
    let mut tried = Vec::new();
    for (folder, current) in HASHES.iter() {
        let place = directory.join(folder);
        restore(directory, folder);
        // A link leads to somebody else's folder.
        if place.is_symlink() || !place.is_dir() {
            continue;
        }
        let Ok(found) = folder::read(&place) else {
            continue;
        };
        if found.hash != *current && history.contains(&(folder.clone(), found.hash)) {
            tried.push((folder.clone(), replace(directory, folder)));
        }
    }
    tried
}

/// Where the new and the old copy stand while they change places.
fn beside(directory: &Path, folder: &str) -> (PathBuf, PathBuf) {
    let at = |word: &str| directory.join(format!(".nexflow-{word}-{folder}"));
    (at("new"), at("old"))
}

fn replace(directory: &Path, folder: &str) -> io::Result<()> {
    let place = directory.join(folder);
    let (new, old) = beside(directory, folder);
    write(folder, &new)?;
    fs::rename(&place, &old)?;
    if let Err(error) = fs::rename(&new, &place) {
        fs::rename(&old, &place)?;
        return Err(error);
    }
    fs::remove_dir_all(&old)
}

/// Undoes what a daemon that was killed in the middle of it left behind.
fn restore(directory: &Path, folder: &str) {
    let (new, old) = beside(directory, folder);
    if !directory.join(folder).exists() && old.is_dir() {
        fs::rename(&old, directory.join(folder)).ok();
    }
    for left in [new, old] {
        fs::remove_dir_all(left).ok();
    }
}
