//! The skills that come with the program: what they hash to, and how they get into a directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
    sync::LazyLock,
};

use rust_embed::RustEmbed;

use super::folder::Hasher;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/skills"]
struct Files;

/// Hash of each shipped folder.
static HASHES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
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
        .map(|(folder, files)| hash(&folder, files))
        .collect()
});

fn hash(folder: &str, mut files: Vec<String>) -> String {
    files.sort();
    let mut hasher = Hasher::default();
    for rel in files {
        if let Some(file) = Files::get(&format!("{folder}/{rel}")) {
            hasher.file(&rel, false, &file.data);
        }
    }
    hasher.finish()
}

/// Whether a folder with this hash came with the program.
pub(super) fn is_shipped(hash: &str) -> bool {
    HASHES.contains(hash)
}

/// Writes the shipped skills into a directory that does not exist yet.
pub(super) fn unpack(directory: &Path) -> std::io::Result<()> {
    let mut folders = fs::DirBuilder::new();
    folders.recursive(true).mode(0o755);
    folders.create(directory)?;
    for path in Files::iter() {
        let Some(file) = Files::get(&path) else {
            continue;
        };
        let to = directory.join(path.as_ref());
        if let Some(parent) = to.parent() {
            folders.create(parent)?;
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
