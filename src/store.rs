//! The database: one writer thread, a few reader threads, SQLite in WAL mode.
//!
//! Writes that wait together are committed together, each in its own savepoint, so one fsync serves
//! many messages; [`Store::write`] resolves after the commit. A write query takes [`Tx`], a read
//! query a `Connection`: a read cannot write. Nothing outside this folder contains SQL.

pub mod admin;
pub mod analytics;
pub mod answers;
pub mod approvals;
pub mod attempts;
pub mod audit;
pub mod budgets;
pub mod drafts;
pub mod files;
pub mod frames;
pub mod grants;
pub mod inbox;
pub mod memories;
pub mod messages;
pub mod models;
mod migrate;
pub mod outbox;
pub mod pairings;
pub mod parking;
pub mod reservations;
pub mod schedules;
pub mod sessions;
pub mod settings;
pub mod skills;
pub mod tasks;
pub mod tokens;
pub mod turns;
pub mod usage;
pub mod users;

mod room;
mod row;
mod worker;

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::bus::Bus;
pub use room::Free;
pub use worker::Tx;

/// `database` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Config {
    /// `sqlite`; `postgres` is for a later version.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The database file; `nexflow.db` in the data directory if absent.
    pub path: Option<PathBuf>,
    /// Address of a Postgres server; unused with SQLite.
    pub url: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::Sqlite,
            path: None,
            url: None,
        }
    }
}

/// `storage` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Storage {
    /// With less free on the disk of the database, in MiB, new messages are refused until there is
    /// room again.
    pub min_free_mb: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self { min_free_mb: 64 }
    }
}

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One file in the data directory.
    Sqlite,
    /// A server, for many nodes; not in this version.
    Postgres,
}

/// What goes wrong with a database, by what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A query failed.
    #[error("the database refused a query: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// No room: nothing was written.
    #[error("the disk is full: nothing was written; make room on the disk of the data directory")]
    Full,
    /// The daemon is stopping, or a query panicked.
    #[error("the database is closed: {0}")]
    Closed(&'static str),
    /// The file cannot be used as it is. The text says what to do; the file was not touched.
    #[error("{0}")]
    Unusable(String),
}

/// Result of a query.
pub type Result<T> = std::result::Result<T, StoreError>;

/// How often a write that has to wait for room looks again.
const LOOK: Duration = Duration::from_millis(250);

/// The open database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Arc<worker::Pool>,
    room: Arc<room::Room>,
}

impl Store {
    /// Opens `path`, migrating it first (after a snapshot beside it), and holds the lock of its
    /// folder until the last clone is gone.
    ///
    /// # Errors
    /// When another process holds the lock, the file is from a newer version, damaged or unreadable:
    /// with a text that says what to do, and nothing overwritten.
    pub fn open(path: &Path, bus: &Bus) -> Result<Self> {
        let lock = lock(path)?;
        let mut writer = connect(path)?;
        migrate::to_latest(&mut writer, path)?;
        bus.continue_after(frames::last_seq(&writer)?);
        let pool = worker::Pool::start(path, writer, bus.clone(), lock)?;
        Ok(Self {
            pool: Arc::new(pool),
            room: Arc::new(room::Room::of(path)),
        })
    }

    /// Runs a query on a read-only connection; several statements in it see one state.
    pub async fn read<T, F>(&self, query: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        self.pool
            .read(Box::new(move |connection| {
                drop(answer.send(query(connection)));
            }))
            .await?;
        result
            .await
            .unwrap_or(Err(StoreError::Closed("the query did not finish")))
    }

    /// Runs a query in a transaction; resolves when it is on disk. A caller that goes away does not
    /// stop its write. With an `Err` nothing of it is kept.
    pub async fn write<T, F>(&self, query: F) -> Result<T>
    where
        F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        self.pool.write(worker::write_job(query, answer)).await?;
        result
            .await
            .unwrap_or(Err(StoreError::Closed("the query did not finish")))
    }

    /// Like [`Store::write`], for what must not be lost: while the disk is full it waits, and begins
    /// again when there is room. The query may run more than once; at most one run is kept.
    pub async fn keep<T, F>(&self, query: F) -> Result<T>
    where
        F: Fn(&Tx<'_>) -> Result<T> + Clone + Send + 'static,
        T: Send + 'static,
    {
        let mut told = false;
        loop {
            if self.room.free().is_enough_to_go_on() {
                match self.write(query.clone()).await {
                    Err(StoreError::Full) => {}
                    other => return other,
                }
            }
            if !told {
                tracing::warn!("the disk is full: work waits until there is room");
                told = true;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Passes if there is room for something new.
    ///
    /// # Errors
    /// [`StoreError::Full`] below the floor.
    pub fn has_room(&self) -> Result<()> {
        if self.room.free().is_enough() {
            Ok(())
        } else {
            Err(StoreError::Full)
        }
    }

    /// How much room there is.
    pub fn free(&self) -> Free {
        self.room.free()
    }

    /// Below this many bytes nothing new is taken.
    pub fn set_floor(&self, bytes: u64) {
        self.room.set_floor(bytes);
    }

    /// Refuses new work and returns when everything accepted is on disk.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Takes the lock of the folder of a database file.
///
/// # Errors
/// When another process has it.
pub fn lock(path: &Path) -> Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = folder.join("nexflow.lock");
    let unusable = |e: &dyn std::fmt::Display| {
        StoreError::Unusable(format!(
            "cannot write in the data directory {}: {e}; make it writable for the user that runs nexflow, or choose another with --data-dir",
            folder.display()
        ))
    };
    std::fs::create_dir_all(folder).map_err(|e| unusable(&e))?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|e| unusable(&e))?;
    match try_lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unusable(format!(
            "another nexflow uses the data directory {}; stop it, or choose another directory with --data-dir",
            folder.display()
        ))),
        Err(TryLockError::Error(e)) => Err(unusable(&e)),
    }
}

/// Tries for a moment: a process that a killed nexflow was just starting holds its lock until it is a
/// program of its own, or dead.
#[expect(
    clippy::disallowed_methods,
    reason = "before the database is open nothing else runs"
)]
fn try_lock(file: &File) -> std::result::Result<(), TryLockError> {
    for _ in 0..50 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
    file.try_lock()
}

/// Opens the file for writing with the settings that every connection has.
fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).map_err(|e| admin::explain(path, e))?;
    set_up(&connection).map_err(|e| admin::explain(path, e))?;
    Ok(connection)
}

/// `FULL`: what was committed survives a power cut.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

#[cfg(test)]
mod tests;
