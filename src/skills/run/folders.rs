//! The folders of a run: where it works, and what else of the disk it was granted.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use crate::{
    sandbox::Mount,
    skills::{
        Skill,
        permission::{Grant, Permission, Place, overlap},
    },
};

/// First of the users that programs run as where the daemon is root, and how many there are.
const USERS: (u32, u32) = (64_000, 1500);
/// A throwaway folder of this age belongs to nobody any more.
const OLD: Duration = Duration::from_hours(24);

/// Folders of one run. Dropping it removes what was for this run alone.
#[derive(Debug)]
pub(super) struct Folders {
    /// Where the program begins.
    pub(super) cwd: PathBuf,
    /// Where sessions keep their files; the throwaway folder if the skill may not see that.
    pub(super) workspace: PathBuf,
    /// What it sees.
    pub(super) mounts: Vec<Mount>,
    /// The user of this workspace, the same at every run.
    pub(super) uid: u32,
    throwaway: Option<PathBuf>,
    /// Where what is for one run is kept.
    scratch: PathBuf,
    bundle: Option<PathBuf>,
}

impl Drop for Folders {
    fn drop(&mut self) {
        if let Some(dir) = &self.throwaway
            && let Err(error) = fs::remove_dir_all(dir)
        {
            tracing::debug!("{} stays behind: {error}", dir.display());
        }
        if let Some(file) = &self.bundle
            && let Err(error) = fs::remove_file(file)
        {
            tracing::debug!("{} stays behind: {error}", file.display());
        }
    }
}

impl Folders {
    /// Makes the folders that a skill was granted.
    ///
    /// # Errors
    /// Where one of them cannot be given.
    pub(super) fn new(
        skill: &Skill,
        workspace: &Path,
        (data, skills): (&Path, &Path),
    ) -> Result<Self, String> {
        let failed = |e: io::Error| format!("{}: {e}", data.display());
        make(data).map_err(failed)?;
        let data = data.canonicalize().map_err(failed)?;
        let skills = skills.canonicalize().map_err(failed)?;
        let mut folders = Self {
            cwd: PathBuf::new(),
            workspace: PathBuf::new(),
            mounts: vec![Mount::read(&skill.dir)],
            uid: user(workspace),
            throwaway: None,
            scratch: data.join("scratch"),
            bundle: None,
        };
        let mut inside: Vec<(&Path, bool)> = Vec::new();
        for permission in &skill.granted {
            match permission.grant() {
                Grant::Files {
                    place: Place::Workspace(rel),
                    write,
                } => inside.push((rel, *write)),
                Grant::Files {
                    place: Place::Skill(_),
                    ..
                } => {}
                Grant::Files { place, write } => {
                    let path = outside(place, permission)?;
                    apart(&path, permission, &[&data, &skills])?;
                    folders.mounts.push(mount(path, *write));
                }
                Grant::Exec(path) => {
                    let path = real(path, permission)?;
                    apart(&path, permission, &[&data, &skills])?;
                    folders.mounts.push(Mount::read(path));
                }
                _ => {}
            }
        }
        folders.work(&inside, workspace)?;
        Ok(folders)
    }

    /// A file that this run can read and nobody can change.
    pub(super) fn add_bundle(&mut self, text: &str) -> io::Result<PathBuf> {
        let mut passage = DirBuilder::new();
        passage.recursive(true).mode(0o711).create(&self.scratch)?;
        let path = self.scratch.join(format!("{}.pem", uuid::Uuid::new_v4()));
        self.bundle = Some(path.clone());
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        self.mounts.push(Mount::read(&path));
        Ok(path)
    }

    /// Where it works: the workspace, a part of it, or a folder for this run alone.
    fn work(&mut self, inside: &[(&Path, bool)], workspace: &Path) -> Result<(), String> {
        let failed = |e: io::Error| format!("the folder of this run cannot be made: {e}");
        if inside.is_empty() {
            let dir = self.scratch.join(uuid::Uuid::new_v4().to_string());
            make(&dir).map_err(failed)?;
            tidy(&self.scratch);
            self.throwaway = Some(dir.clone());
            self.mounts.push(Mount::write(&dir));
            (self.cwd, self.workspace) = (dir.clone(), dir);
            return Ok(());
        }
        if make(workspace).map_err(failed)? {
            give(workspace, self.uid).map_err(failed)?;
        }
        self.workspace = workspace.canonicalize().map_err(failed)?;
        // The upper folders first: what is granted below them goes on top.
        let mut inside = inside.to_vec();
        inside.sort();
        for (rel, write) in inside {
            let path = below(&self.workspace, rel, self.uid)?;
            self.mounts.push(mount(path.clone(), write));
            if self.cwd.as_os_str().is_empty() && path.is_dir() {
                self.cwd = path;
            }
        }
        Ok(())
    }
}

/// Makes a session's workspace as the first skill that works in it would.
///
/// # Errors
/// Where it cannot be made.
pub fn make_workspace(dir: &Path) -> io::Result<()> {
    if make(dir)? {
        give(dir, user(dir))?;
    }
    Ok(())
}

fn mount(path: PathBuf, write: bool) -> Mount {
    if write {
        Mount::write(path)
    } else {
        Mount::read(path)
    }
}

/// Makes a folder for nobody else; those above it can be passed through, not looked into. Says
/// whether it is new.
fn make(dir: &Path) -> io::Result<bool> {
    if dir.is_dir() {
        return Ok(false);
    }
    if let Some(parent) = dir.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        other => other.map(|()| true),
    }
}

/// Lets other users pass through the data directory to their workspaces, after closing everything
/// else in it to them. Once.
pub(super) fn let_pass(data: &Path) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let passages = [data.join("workspaces"), data.join("scratch")];
        let closed = fs::read_dir(data).and_then(|entries| {
            for entry in entries {
                let entry = entry?;
                let (path, kind) = (entry.path(), entry.file_type()?);
                if !kind.is_symlink() && !passages.contains(&path) {
                    let mode = entry.metadata()?.permissions().mode() & 0o700;
                    fs::set_permissions(&path, Permissions::from_mode(mode))?;
                }
            }
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!("{} stays closed to skills: {error}", data.display());
            return;
        }
        for path in passages.iter().map(PathBuf::as_path).chain([data]) {
            if let Err(error) = fs::set_permissions(path, Permissions::from_mode(0o711))
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!("{} stays closed to skills: {error}", path.display());
            }
        }
    });
}

/// Where the daemon is root, programs run as somebody else: the folder is theirs.
fn give(dir: &Path, uid: u32) -> io::Result<()> {
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::lchown(dir, Some(uid), Some(uid))?;
    }
    Ok(())
}

/// Removes, once, what a daemon that was killed left behind.
fn tidy(scratch: &Path) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let entries = fs::read_dir(scratch).into_iter().flatten().flatten();
        for entry in entries {
            let age = entry
                .metadata()
                .and_then(|m| m.modified())
                .ok()
                .and_then(|t| t.elapsed().ok());
            if age.is_some_and(|age| age > OLD) {
                let path = entry.path();
                fs::remove_dir_all(&path)
                    .or_else(|_| fs::remove_file(&path))
                    .ok();
            }
        }
    });
}

/// A part of the workspace, made if it is not there. A program may have put links in the way.
fn below(workspace: &Path, rel: &Path, uid: u32) -> Result<PathBuf, String> {
    let mut path = workspace.to_owned();
    for part in rel {
        path.push(part);
        let shown = path.display();
        match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => return Err(format!("{shown} is a link")),
            Ok(_) => {}
            Err(_) => {
                let made = DirBuilder::new().mode(0o700).create(&path);
                made.and_then(|()| give(&path, uid))
                    .map_err(|e| format!("{shown}: {e}"))?;
            }
        }
    }
    Ok(path)
}

fn outside(place: &Place, permission: &Permission) -> Result<PathBuf, String> {
    match place {
        Place::Home(rel) => {
            let user = nix::unistd::User::from_uid(nix::unistd::getuid());
            let home = user
                .ok()
                .flatten()
                .map(|u| u.dir)
                .ok_or("this user has no home directory")?;
            let home = home
                .canonicalize()
                .map_err(|e| format!("{}: {e}", home.display()))?;
            real(&home.join(rel), permission)
        }
        Place::Absolute(path) | Place::Workspace(path) | Place::Skill(path) => {
            real(path, permission)
        }
    }
}

/// A path that is what it says: there, and without links.
fn real(path: &Path, permission: &Permission) -> Result<PathBuf, String> {
    let real = path
        .canonicalize()
        .map_err(|e| format!("`{permission}`: {}: {e}", path.display()))?;
    if real != path {
        return Err(format!(
            "`{permission}`: the path leads to {}; write that",
            real.display()
        ));
    }
    let kind = real.metadata().map_err(|e| e.to_string())?.file_type();
    if kind.is_dir() || kind.is_file() {
        Ok(real)
    } else {
        Err(format!(
            "`{permission}`: {} is neither a file nor a folder",
            real.display()
        ))
    }
}

/// The daemon's own folders are never granted, nor what contains them.
fn apart(path: &Path, permission: &Permission, own: &[&Path]) -> Result<(), String> {
    match own.iter().find(|dir| overlap(path, dir)) {
        Some(dir) => Err(format!(
            "`{permission}` holds {}, which is the daemon's own",
            dir.display()
        )),
        None => Ok(()),
    }
}

fn user(workspace: &Path) -> u32 {
    let digest = Sha256::digest(workspace.as_os_str().as_encoded_bytes());
    let number = digest
        .iter()
        .take(4)
        .fold(0_u32, |n, byte| (n << 8) | u32::from(*byte));
    USERS.0 + number % USERS.1
}
