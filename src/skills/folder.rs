//! The content of a skill's folder: its files, and one hash over all of them.

use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path};

use sha2::{Digest as _, Sha256};

use crate::store::skills::File;

/// Most files of a skill.
const MOST: usize = 4000;
/// Most bytes of a skill.
const LARGEST: u64 = 64 << 20;
/// Deepest folder of a skill.
const DEEPEST: usize = 16;
/// Largest file whose text is kept.
const LARGEST_KEPT: usize = 256 << 10;
/// Most text that is kept of a skill.
const MOST_KEPT: usize = 4 << 20;
/// Modes, as git writes them.
pub(super) const PLAIN: u32 = 0o100_644;
pub(super) const PROGRAM: u32 = 0o100_755;
pub(super) const LINK: u32 = 0o120_000;

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
    let hash = walk(dir, &mut |file| files.push(file.path.to_owned()))?;
    Ok(Content { hash, files })
}

/// Reads a whole folder, to keep it or to compare it: its hash, and each file of it.
///
/// # Errors
/// As [`read`].
pub(super) fn copy(dir: &Path) -> Result<(String, Vec<File>), String> {
    let (mut files, mut left) = (Vec::new(), MOST_KEPT);
    let hash = walk(dir, &mut |found| {
        let file = kept(found, left);
        left -= file.text.as_ref().map_or(0, String::len);
        files.push(file);
    })?;
    Ok((hash, files))
}

/// A file of a folder, while it is read.
pub(super) struct Found<'a> {
    pub(super) path: &'a str,
    pub(super) mode: u32,
    /// Its content, or where the link leads.
    pub(super) bytes: &'a [u8],
}

/// A file as it is kept: with its text where that is not too much.
pub(super) fn kept(found: &Found<'_>, left: usize) -> File {
    let size = found.bytes.len();
    let text = std::str::from_utf8(found.bytes).ok();
    let text = text.filter(|t| size <= LARGEST_KEPT.min(left) && !t.contains('\0'));
    File {
        path: found.path.to_owned(),
        mode: found.mode,
        sha256: hexadecimal(&Sha256::digest(found.bytes)),
        size: size as u64,
        text: text.map(str::to_owned),
    }
}

/// Shows every file of a folder in order, and answers the hash over all.
fn walk(dir: &Path, each: &mut dyn FnMut(&Found<'_>)) -> Result<String, String> {
    let mut files = Vec::new();
    list(dir, "", 0, &mut files)?;
    files.sort();
    let mut hasher = Hasher::default();
    let mut left = LARGEST;
    for path in &files {
        let full = dir.join(path);
        let error = |e: std::io::Error| format!("{path}: {e}");
        if full.is_symlink() {
            let target = fs::read_link(&full).map_err(error)?;
            let target = target.to_string_lossy();
            hasher.link(path, &target);
            let (mode, bytes) = (LINK, target.as_bytes());
            each(&Found { path, mode, bytes });
            continue;
        }
        let file = fs::File::open(&full).map_err(error)?;
        let executable = file.metadata().map_err(error)?.permissions().mode() & 0o111 != 0;
        let mut bytes = Vec::new();
        file.take(left + 1).read_to_end(&mut bytes).map_err(error)?;
        let length = bytes.len() as u64;
        if length > left {
            return Err(format!("the folder holds more than {} MiB", LARGEST >> 20));
        }
        left -= length;
        let (mode, bytes) = (mode(executable, &bytes), bytes.as_slice());
        hasher.file(path, mode, bytes);
        each(&Found { path, mode, bytes });
    }
    Ok(hasher.finish())
}

/// A script is executable whether its bit says so or not: not every copy keeps bits.
pub(super) fn mode(executable: bool, bytes: &[u8]) -> u32 {
    if executable || bytes.starts_with(b"#!") {
        PROGRAM
    } else {
        PLAIN
    }
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
    /// A file, with its [`mode`].
    pub(super) fn file(&mut self, rel: &str, mode: u32, bytes: &[u8]) {
        self.part(if mode == PROGRAM { b"x" } else { b"-" });
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
        hexadecimal(&self.inner.finalize())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or('0');
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    text
}
