//! Counting and bounding what one connection moves.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Run;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// Counters of one connection, which spend what is left of the run and of the skill.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) run: Arc<Run>,
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
    /// A secret went out in place of its handle.
    pub(super) swapped: AtomicBool,
    /// It was granted, and turned out to be something else.
    pub(super) refused: AtomicBool,
    note: Mutex<String>,
}

impl Meter {
    pub(super) fn new(run: &Arc<Run>) -> Self {
        Self {
            run: Arc::clone(run),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            swapped: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            note: Mutex::default(),
        }
    }

    /// Counts bytes that are about to pass, or says that no more may.
    pub(super) fn take(&self, way: Way, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let budget = &self.run.budget;
        let left = budget.try_update(Ordering::Relaxed, Ordering::Relaxed, |b| {
            b.checked_sub(bytes)
        });
        if left.is_err() {
            // The other direction ends with its next piece.
            budget.store(0, Ordering::Relaxed);
            return Err(self.over("the run has used up its traffic"));
        }
        if !self.run.allowance.pass(bytes, Instant::now()) {
            return Err(self.over("the skill has used up its traffic of this hour"));
        }
        let count = match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        };
        count.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn over(&self, why: &str) -> io::Error {
        self.tell(why);
        io::Error::other(why.to_owned())
    }

    /// Adds to the record why something did not pass; the first time is enough.
    pub(super) fn tell(&self, why: &str) {
        let mut note = self.note.lock().unwrap_or_else(PoisonError::into_inner);
        if note.is_empty() {
            why.clone_into(&mut note);
        }
    }

    /// Says that a connection was not what it was granted as.
    pub(super) fn refuse(&self, why: &str) {
        self.refused.store(true, Ordering::Relaxed);
        self.tell(why);
    }

    /// What was told.
    pub(super) fn note(&self) -> String {
        let note = self.note.lock().unwrap_or_else(PoisonError::into_inner);
        note.clone()
    }
}

/// A connection to a server whose bytes are counted.
#[derive(Debug)]
pub(super) struct Metered<S> {
    pub(super) inner: S,
    pub(super) meter: Arc<Meter>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        Poll::Ready(self.meter.take(Way::Down, read as u64))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.meter.take(Way::Up, written as u64)?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A connection of which some was read already.
#[derive(Debug)]
pub(super) struct Early<S> {
    pub(super) bytes: io::Cursor<Vec<u8>>,
    pub(super) inner: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Early<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.bytes).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Early<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
