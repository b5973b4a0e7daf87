//! Care of the database file: snapshots, checks, restore, and errors that say what to do.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, backup::Backup};
use serde::Serialize;

use super::{Result, StoreError, audit, connect, inbox, lock, migrate};
use crate::types::Clock;

/// What `nexflow db status` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes, with the write-ahead log.
    pub bytes: u64,
    /// Messages that were accepted and are kept; none where they cannot be counted, before the first
    /// migration or in a damaged file.
    pub messages: Option<u64>,
    /// Version of its schema.
    pub version: i64,
    /// Version that this binary writes.
    pub latest: i64,
    /// Migrations that are applied.
    pub applied: Vec<String>,
    /// Migrations that are not.
    pub pending: Vec<String>,
    /// Snapshots beside it, newest first.
    pub snapshots: Vec<PathBuf>,
}

/// Where snapshots of a database are kept.
pub fn snapshots(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).join("snapshots")
}

/// Describes a file without changing it; works while the daemon runs.
pub fn status(path: &Path) -> Result<Status> {
    let connection = look(path)?;
    let found = migrate::version(&connection).map_err(|e| explain(path, e))?;
    let names = |wanted: &dyn Fn(i64) -> bool| {
        let all = migrate::MIGRATIONS.iter();
        all.filter(|m| wanted(m.version))
            .map(|m| m.name.to_owned())
            .collect()
    };
    let size = |p: &Path| std::fs::metadata(p).map_or(0, |m| m.len());
    let mut kept: Vec<PathBuf> = std::fs::read_dir(snapshots(path))
        .map(|dir| dir.flatten().map(|f| f.path()).collect())
        .unwrap_or_default();
    kept.sort_unstable_by(|a, b| b.cmp(a));
    Ok(Status {
        path: path.to_owned(),
        bytes: size(path) + size(&with_suffix(path, "-wal")),
        messages: inbox::count(&connection).ok(),
        version: found,
        latest: migrate::latest(),
        applied: names(&|v| v <= found),
        pending: names(&|v| v > found),
        snapshots: kept,
    })
}

/// Applies what is pending. The daemon must not run.
pub fn migrate(path: &Path) -> Result<Status> {
    let _lock = lock(path)?;
    let mut connection = connect(path)?;
    migrate::to_latest(&mut connection, path)?;
    drop(connection);
    status(path)
}

/// Undoes the last migration after a snapshot; answers its name and the snapshot.
pub fn rollback(path: &Path) -> Result<Option<(String, PathBuf)>> {
    let _lock = lock(path)?;
    look(path)?;
    migrate::rollback(&mut connect(path)?, path)
}

/// Reads the whole file and reports what is wrong with it; empty if it is sound.
pub fn check(path: &Path) -> Result<Vec<String>> {
    let connection = look(path)?;
    let run = |pragma: &str| -> rusqlite::Result<Vec<String>> {
        let mut query = connection.prepare(pragma)?;
        let rows = query.query_map([], |row| {
            row.get::<_, String>(0)
                .or_else(|_not_text| Ok("a broken reference".to_owned()))
        })?;
        rows.collect()
    };
    let mut found = run("PRAGMA integrity_check").map_err(|e| explain(path, e))?;
    found.retain(|line| line != "ok");
    found.extend(
        run("PRAGMA foreign_key_check")?
            .into_iter()
            .map(|t| format!("broken reference in {t}")),
    );
    Ok(found)
}

/// Copies the database to `to`, consistently, also while the daemon runs. `to` must not exist.
pub fn backup(path: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        return Err(StoreError::Unusable(format!(
            "{} exists already; name a file that does not, nothing was overwritten",
            to.display()
        )));
    }
    copy(&look(path)?, to)
}

/// Puts a copy back in place; what was there is kept as a snapshot. The daemon must not run.
pub fn restore(path: &Path, from: &Path) -> Result<Option<PathBuf>> {
    let _lock = lock(path)?;
    let source = look(from)?;
    let broken = check(from)?;
    if let Some(first) = broken.first() {
        return Err(StoreError::Unusable(format!(
            "{} is damaged ({first}); nothing was restored",
            from.display()
        )));
    }
    let kept = if path.exists() {
        Some(set_aside(path)?)
    } else {
        None
    };
    copy(&source, path)?;
    note_restore(path, from)?;
    Ok(kept)
}

/// The audit of what was put back says so; it ends where it ended when the copy was made.
fn note_restore(path: &Path, from: &Path) -> Result<()> {
    let mut connection = connect(path)?;
    let tx = connection.transaction()?;
    let now = Clock::system().now();
    let entry = audit::Entry::new(now, "owner", "db.restore", from.display());
    audit::append_to_any(&tx, &entry, &audit::Origin::from("cli"))?;
    Ok(tx.commit()?)
}

/// A snapshot of an open database beside it.
pub(super) fn snapshot(connection: &Connection, path: &Path, why: &str) -> Result<PathBuf> {
    let to = snapshot_name(path, why)?;
    copy(connection, &to)?;
    Ok(to)
}

/// Moves a database file, sound or not, to the snapshots.
fn set_aside(path: &Path) -> Result<PathBuf> {
    let to = snapshot_name(path, "before-restore")?;
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (with_suffix(path, suffix), with_suffix(&to, suffix));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(|e| {
                StoreError::Unusable(format!("cannot move {}: {e}", from.display()))
            })?;
        }
    }
    Ok(to)
}

fn snapshot_name(path: &Path, why: &str) -> Result<PathBuf> {
    let folder = snapshots(path);
    std::fs::create_dir_all(&folder)
        .map_err(|e| StoreError::Unusable(format!("cannot make {}: {e}", folder.display())))?;
    let now = Clock::system().now().utc().format("%Y%m%dT%H%M%S%6fZ");
    Ok(folder.join(format!("{now}-{why}.db")))
}

/// Copies page by page, then makes sure that it is on disk before it gets its name.
fn copy(from: &Connection, to: &Path) -> Result<()> {
    let partial = with_suffix(to, ".partial");
    let done = (|| -> Result<()> {
        let mut target = Connection::open(&partial)?;
        Backup::new(from, &mut target)?.run_to_completion(4096, std::time::Duration::ZERO, None)?;
        target.pragma_update(None, "journal_mode", "DELETE")?;
        drop(target);
        let io =
            |e: std::io::Error| StoreError::Unusable(format!("cannot write {}: {e}", to.display()));
        std::fs::File::open(&partial)
            .and_then(|f| f.sync_all())
            .map_err(io)?;
        std::fs::rename(&partial, to).map_err(io)
    })();
    if done.is_err() {
        // The first error is the one to tell.
        drop(std::fs::remove_file(&partial));
    }
    done
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Opens an existing file for reading.
fn look(path: &Path) -> Result<Connection> {
    if !path.exists() {
        return Err(StoreError::Unusable(format!(
            "there is no database at {}; `nexflow run` makes one, --data-dir chooses another place",
            path.display()
        )));
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|e| explain(path, e))?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    migrate::version(&connection).map_err(|e| explain(path, e))?;
    Ok(connection)
}

/// An error of opening a file, for a person.
pub(super) fn explain(path: &Path, error: rusqlite::Error) -> StoreError {
    let name = path.display();
    let text = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => format!(
            "the database {name} is damaged or is no database ({error}); it was not touched. Restore a snapshot from {} with `nexflow db restore FILE`, or move it away to start afresh",
            snapshots(path).display()
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!(
                "the database {name} is locked by another program; close that program and start again"
            )
        }
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => format!(
            "the database {name} cannot be opened ({error}); make it and its folder readable and writable for the user that runs nexflow"
        ),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => {
            format!(
                "the disk of {name} is full or failing ({error}); make room and start again, nothing was overwritten"
            )
        }
        _ => return StoreError::Sqlite(error),
    };
    StoreError::Unusable(text)
}
