//! The daemon's own access to files that a program may have made: never through a link.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// To read what is there.
    Read,
    /// To write from the beginning; made if absent, readable by all.
    Write,
    /// To write a file that is not there yet.
    Create,
}

/// Opens a regular file below `root`, with no symbolic link, no way up and no other file system in
/// between, whatever a program does to the folder meanwhile.
///
/// # Errors
/// `ELOOP` or `EXDEV` where the path leads elsewhere, and what `open` says.
pub fn open_beneath(root: &Path, rel: &Path, how: Open) -> io::Result<File> {
    let folder: OwnedFd = openat2(
        AT_FDCWD,
        root,
        OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS),
    )?;
    // Not blocking: a named pipe must not hold up the daemon.
    let common = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
    let (flags, mode) = match how {
        Open::Read => (OFlag::O_RDONLY, Mode::empty()),
        // Truncated below, once it is known to be a regular file.
        Open::Write => (
            OFlag::O_WRONLY | OFlag::O_CREAT,
            Mode::from_bits_truncate(0o644),
        ),
        Open::Create => (
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL,
            Mode::from_bits_truncate(0o644),
        ),
    };
    let file: File = openat2(
        folder,
        rel,
        OpenHow::new().flags(common | flags).mode(mode).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        ),
    )?
    .into();
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if how == Open::Write {
        file.set_len(0)?;
    }
    Ok(file)
}

/// What must be mounted besides the system's folders so that `program` starts: nothing for one in
/// `/usr`, else its version's folder (`/root/.pyenv/versions/3.11.7`), and for a script that of its
/// interpreter. Links are resolved, so that the paths can be mounted; run the resolved program.
pub fn interpreter_mounts(program: &Path) -> Vec<PathBuf> {
    let mut mounts = Vec::new();
    let mut next = Some(program.to_owned());
    // A script's interpreter may be a script; the kernel allows a few in a row.
    for _ in 0..4 {
        let Some(real) = next.take().and_then(|p| p.canonicalize().ok()) else {
            break;
        };
        if !in_system(&real) {
            let folder = version_folder(&real);
            if !mounts.contains(&folder) {
                mounts.push(folder);
            }
        }
        next = shebang(&real);
    }
    mounts
}

fn in_system(path: &Path) -> bool {
    ["/usr", "/nix", "/bin", "/sbin", "/lib", "/lib64"]
        .iter()
        .any(|s| path.starts_with(s))
}

/// The folder above `bin`, unless that is far too much; then the program alone.
fn version_folder(program: &Path) -> PathBuf {
    let folder = program.parent();
    let above = folder
        .filter(|f| f.ends_with("bin"))
        .and_then(Path::parent)
        .filter(|f| f.components().count() > 2);
    above.unwrap_or(program).to_owned()
}

fn shebang(script: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    File::open(script)
        .ok()?
        .take(256)
        .read_to_end(&mut start)
        .ok()?;
    let line = start.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim();
    let interpreter = Path::new(line.split_whitespace().next()?);
    interpreter.is_absolute().then(|| interpreter.to_owned())
}
