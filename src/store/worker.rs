//! The threads behind the store: one that writes, some that read.

use std::{
    cell::RefCell,
    fs::File,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{Result, StoreError, admin, frames};
use crate::{
    bus::Bus,
    types::{
        SessionId,
        frame::{Body, Frame},
    },
};

const READERS: usize = 3;
const QUEUE: usize = 1024;
/// Writes in one commit at most.
const GROUP: usize = 256;

type ReadJob = Box<dyn FnOnce(&Connection) + Send>;
type Answer = Box<dyn FnOnce(std::result::Result<(), Failure>) + Send>;
type WriteJob = Box<dyn FnOnce(Begun<'_>) -> Answer + Send>;
/// The transaction, or why there is none.
type Begun<'a> = std::result::Result<&'a Tx<'a>, Failure>;

/// A write transaction. Reads like a `Connection`; also shows frames that become visible with the
/// commit.
pub struct Tx<'a> {
    inner: &'a Transaction<'a>,
    bus: &'a Bus,
    shown: RefCell<Vec<Frame>>,
}

impl<'a> Deref for Tx<'a> {
    type Target = Transaction<'a>;

    fn deref(&self) -> &Self::Target {
        self.inner
    }
}

impl Tx<'_> {
    /// Keeps a frame and shows it to observers once this transaction is on disk.
    ///
    /// # Errors
    /// When the row cannot be written.
    pub fn show(&self, session: SessionId, body: Body) -> Result<()> {
        let frame = Frame {
            seq: self.bus.reserve(session),
            session_id: session,
            body,
        };
        let written = frames::insert(self, &frame);
        self.shown.borrow_mut().push(frame);
        written
    }
}

/// Why a commit failed; every write of the group gets it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    Full,
    Other,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full => Self::Full,
            Failure::Other => Self::Closed("the commit failed; the log has the reason"),
        }
    }
}

/// Wraps a query: runs it in a savepoint, answers after the commit.
pub(super) fn write_job<T, F>(query: F, answer: oneshot::Sender<Result<T>>) -> WriteJob
where
    F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    T: Send + 'static,
{
    Box::new(move |begun| {
        let tx = match begun {
            Ok(tx) => tx,
            Err(failure) => return Box::new(move |_| drop(answer.send(Err(failure.into())))),
        };
        let result = in_savepoint(tx, query);
        let (bus, shown) = (tx.bus.clone(), tx.shown.take());
        let kept = result.is_ok();
        Box::new(move |commit| {
            for frame in shown {
                let session = frame.session_id;
                bus.settle(session, (kept && commit.is_ok()).then_some(frame));
            }
            let result = match commit {
                Ok(()) => result.map_err(classify),
                Err(failure) => Err(failure.into()),
            };
            // A caller that went away does not undo its write.
            drop(answer.send(result));
        })
    })
}

fn in_savepoint<T>(tx: &Tx<'_>, query: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
    tx.execute_batch("SAVEPOINT job")?;
    let result = catch_unwind(AssertUnwindSafe(|| query(tx))).unwrap_or(Err(StoreError::Closed(
        "a query panicked; nothing of it was kept",
    )));
    match &result {
        Ok(_) => tx.execute_batch("RELEASE job")?,
        // SQLite may have rolled back everything itself (a full disk): nothing left to undo.
        Err(_) if tx.is_autocommit() => {}
        Err(_) => tx.execute_batch("ROLLBACK TO job; RELEASE job")?,
    }
    result
}

fn is_full(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
    )
}

fn failure_of(error: &rusqlite::Error) -> Failure {
    if is_full(error) {
        Failure::Full
    } else {
        Failure::Other
    }
}

/// SQLite ended the transaction by itself, which it does when the disk is full or failing.
fn rolled_back() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    rusqlite::Error::SqliteFailure(code, Some("the transaction was rolled back".to_owned()))
}

fn classify(error: StoreError) -> StoreError {
    match error {
        StoreError::Sqlite(e) if is_full(&e) => StoreError::Full,
        other => other,
    }
}

/// The running threads.
pub(super) struct Pool {
    queues: Mutex<Option<Queues>>,
    threads: Mutex<Vec<oneshot::Receiver<()>>>,
}

#[derive(Clone)]
struct Queues {
    write: mpsc::Sender<WriteJob>,
    read: mpsc::Sender<ReadJob>,
}

impl Pool {
    pub(super) fn start(path: &Path, writer: Connection, bus: Bus, lock: File) -> Result<Self> {
        let (write, writes) = mpsc::channel(QUEUE);
        let (read, reads) = mpsc::channel(QUEUE);
        let reads = Arc::new(Mutex::new(reads));
        let mut threads = Vec::new();
        for n in 0..READERS {
            let connection = read_only(path)?;
            let reads = Arc::clone(&reads);
            threads.push(spawn(format!("store-read-{n}"), move || {
                read_loop(&connection, &reads);
            })?);
        }
        let work = move || {
            write_loop(writer, writes, &bus);
            drop(lock);
        };
        threads.push(spawn("store-write".to_owned(), work)?);
        Ok(Self {
            queues: Mutex::new(Some(Queues { write, read })),
            threads: Mutex::new(threads),
        })
    }

    pub(super) async fn read(&self, job: ReadJob) -> Result<()> {
        let queue = self.queues()?.read;
        queue
            .send(job)
            .await
            .map_err(|_gone| StoreError::Closed("nexflow is stopping"))
    }

    pub(super) async fn write(&self, job: WriteJob) -> Result<()> {
        let queue = self.queues()?.write;
        queue
            .send(job)
            .await
            .map_err(|_gone| StoreError::Closed("nexflow is stopping"))
    }

    pub(super) async fn close(&self) {
        drop(
            self.queues
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for ended in threads {
            // An error means that the thread is gone: that is what is waited for.
            drop(ended.await);
        }
    }

    fn queues(&self) -> Result<Queues> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues
            .clone()
            .ok_or(StoreError::Closed("nexflow is stopping"))
    }
}

/// Starts a thread; the receiver resolves when it has ended.
fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel::<()>();
    let run = move || {
        work();
        // Closing the channel is the signal.
        drop(ended);
    };
    thread::Builder::new()
        .name(name)
        .spawn(run)
        .map_err(|e| StoreError::Unusable(format!("cannot start a thread: {e}")))?;
    Ok(end)
}

fn read_only(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|e| admin::explain(path, e))?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

fn read_loop(connection: &Connection, jobs: &Mutex<mpsc::Receiver<ReadJob>>) {
    loop {
        let job = jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        let Some(job) = job else { return };
        let query = || -> rusqlite::Result<()> {
            // One state for all statements of a query.
            let snapshot = connection.unchecked_transaction()?;
            job(&snapshot);
            snapshot.finish()
        };
        match catch_unwind(AssertUnwindSafe(query)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a read could not begin"),
            Err(_) => tracing::error!("a read query panicked"),
        }
    }
}

fn write_loop(mut connection: Connection, mut jobs: mpsc::Receiver<WriteJob>, bus: &Bus) {
    while let Some(first) = jobs.blocking_recv() {
        if let Err((error, answers)) = commit_group(&mut connection, first, &mut jobs, bus) {
            tracing::error!(%error, "a commit failed; nothing of it was kept");
            for answer in answers {
                answer(Err(failure_of(&error)));
            }
        }
    }
    // A short file to open next time; failure changes nothing.
    if let Err(error) = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)")
    {
        tracing::warn!(%error, "the last checkpoint failed");
    }
}

type GroupFailure = (rusqlite::Error, Vec<Answer>);

fn commit_group(
    connection: &mut Connection,
    first: WriteJob,
    jobs: &mut mpsc::Receiver<WriteJob>,
    bus: &Bus,
) -> std::result::Result<(), GroupFailure> {
    let mut answers: Vec<Answer> = Vec::new();
    let tx = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(tx) => tx,
        Err(error) => {
            answers.push(first(Err(failure_of(&error))));
            return Err((error, answers));
        }
    };
    let mut next = Some(first);
    while let Some(job) = next {
        answers.push(job(Ok(&Tx {
            inner: &tx,
            bus,
            shown: RefCell::default(),
        })));
        if tx.is_autocommit() {
            return Err((rolled_back(), answers));
        }
        next = if answers.len() < GROUP {
            jobs.try_recv().ok()
        } else {
            None
        };
    }
    if let Err(error) = tx.commit() {
        return Err((error, answers));
    }
    for answer in answers {
        answer(Ok(()));
    }
    Ok(())
}
