//! The content of a skill's folder: its files, and one hash over all of them.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use sha2::{Digest as _, Sha256};

/// Most files of a skill.
const MOST: usize = 4000;
/// Most bytes of a skill.
const LARGEST: u64 = 64 << 20;
/// Deepest folder of a skill.
const DEEPEST: usize = 16;

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// SHA-256 over paths, executable bits and contents.
    pub(super) hash: String,
    /// Relative paths, sorted.
    pub(super) files: Vec<String>,
}

/// Reads a whole folder.
///
/// # Errors
/// Where it is too large, or holds what is no file: nothing of it can be trusted then.
pub(super) fn read(dir: &Path) -> Result<Content, String> {
    let mut files = Vec::new();
    list(dir, "", 0, &mut files)?;
    files.sort();
    let mut hasher = Hasher::default();
    let mut left = LARGEST;
    for rel in &files {
        let path = dir.join(rel);
        let error = |e: std::io::Error| format!("{rel}: {e}");
        if path.is_symlink() {
            let target = fs::read_link(&path).map_err(error)?;
            hasher.link(rel, &target.to_string_lossy());
            continue;
        }
        let file = File::open(&path).map_err(error)?;
        let executable = file.metadata().map_err(error)?.permissions().mode() & 0o111 != 0;
        let mut bytes = Vec::new();
        file.take(left + 1).read_to_end(&mut bytes).map_err(error)?;
        let length = bytes.len() as u64;
        if length > left {
            return Err(format!("the folder holds more than {} MiB", LARGEST >> 20));
        }
        left -= length;
        hasher.file(rel, executable, &bytes);
    }
    Ok(Content {
        hash: hasher.finish(),
        files,
    })
}

fn list(dir: &Path, below: &str, depth: usize, files: &mut Vec<String>) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("{below} is more than {DEEPEST} folders deep"));
    }
    let root = dir.join(below);
    let error = |e: std::io::Error| format!("{}: {e}", if below.is_empty() { "." } else { below });
    for entry in fs::read_dir(&root).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| format!("the name {} is not UTF-8", name.display()))?;
        let rel = if below.is_empty() {
            name.to_owned()
        } else {
            format!("{below}/{name}")
        };
        let kind = entry.file_type().map_err(error)?;
        if kind.is_dir() {
            list(dir, &rel, depth + 1, files)?;
            continue;
        }
        if kind.is_symlink() {
            inside(dir, &rel)?;
        } else if !kind.is_file() {
            return Err(format!("{rel} is neither a file nor a folder"));
        }
        files.push(rel);
        if files.len() > MOST {
            return Err(format!("the folder holds more than {MOST} files"));
        }
    }
    Ok(())
}

/// A link stays in the folder: what it leads to is part of the hash.
fn inside(dir: &Path, rel: &str) -> Result<(), String> {
    let real = dir
        .join(rel)
        .canonicalize()
        .map_err(|e| format!("the link {rel}: {e}"))?;
    let root = dir.canonicalize().map_err(|e| e.to_string())?;
    if real.starts_with(&root) {
        Ok(())
    } else {
        Err(format!("the link {rel} leaves the folder"))
    }
}

/// The hash of a folder, file by file in the order of their paths.
#[derive(Default)]
pub(super) struct Hasher {
    inner: Sha256,
}

impl Hasher {
    /// A file. A script is executable whether its bit says so or not: not every copy keeps bits.
    pub(super) fn file(&mut self, rel: &str, executable: bool, bytes: &[u8]) {
        let kind = if executable || bytes.starts_with(b"#!") {
            b"x"
        } else {
            b"-"
        };
        self.part(kind);
        self.part(rel.as_bytes());
        self.part(bytes);
    }

    fn link(&mut self, rel: &str, target: &str) {
        self.part(b"l");
        self.part(rel.as_bytes());
        self.part(target.as_bytes());
    }

    /// With its length: no two lists of parts give the same bytes.
    fn part(&mut self, bytes: &[u8]) {
        self.inner.update((bytes.len() as u64).to_le_bytes());
        self.inner.update(bytes);
    }

    /// In hexadecimal.
    pub(super) fn finish(self) -> String {
        let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or('0');
        let mut text = String::with_capacity(64);
        for byte in self.inner.finalize() {
            text.extend([digit(byte >> 4), digit(byte & 15)]);
        }
        text
    }
}
