//! Owns every long-lived task: notices when one ends, restarts it or ends the daemon, and stops all
//! of them in order.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// The shortest and the longest wait before a task is started again.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));
/// A task that ran this long before it failed begins with the shortest wait again.
const GOOD_RUN: Duration = Duration::from_mins(2);

/// A group of tasks that stop together.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<(String, Result<(), String>)>,
    cancel: CancellationToken,
}

impl Supervisor {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the group stops.
    pub fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Starts a task without which the daemon is of no use: when it fails, [`Supervisor::failed`]
    /// resolves.
    pub fn vital<F, E>(&mut self, name: &str, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let name = name.to_owned();
        let work = AssertUnwindSafe(work(self.cancel.clone())).catch_unwind();
        self.tasks.spawn(async move {
            let result = match work.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(panic) => Err(reason(&*panic)),
            };
            (name, result)
        });
    }

    /// Starts a task that is started again, after a growing wait, whenever it fails or panics.
    pub fn restarting<F, E, W>(&mut self, name: &str, mut work: W)
    where
        W: FnMut(CancellationToken) -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send,
    {
        let (name, cancel) = (name.to_owned(), self.cancel.clone());
        self.tasks.spawn(async move {
            let mut wait = WAITS.0;
            loop {
                let began = Instant::now();
                let error = match AssertUnwindSafe(work(cancel.clone())).catch_unwind().await {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => error.to_string(),
                    Err(panic) => reason(&*panic),
                };
                if began.elapsed() > GOOD_RUN {
                    wait = WAITS.0;
                }
                tracing::warn!(task = name, %error, wait_ms = wait.as_millis(), "failed; starting it again");
                tokio::select! {
                    () = tokio::time::sleep(wait) => wait = (wait * 2).min(WAITS.1),
                    () = cancel.cancelled() => break,
                }
            }
            (name, Ok(()))
        });
    }

    /// Resolves with a text when a vital task failed.
    pub async fn failed(&mut self) -> String {
        loop {
            match self.tasks.join_next().await {
                Some(Ok((name, Err(error)))) => return format!("{name}: {error}"),
                Some(Ok((name, Ok(())))) if self.cancel.is_cancelled() => {
                    tracing::debug!(task = name, "stopped");
                }
                Some(Ok((name, Ok(())))) => tracing::debug!(task = name, "done"),
                Some(Err(error)) => return format!("a task was lost: {error}"),
                None => std::future::pending().await,
            }
        }
    }

    /// Cancels all and waits for them for as long as `grace`; tells who did not stop in time.
    pub async fn stop(mut self, grace: Duration) {
        self.cancel.cancel();
        let deadline = Instant::now() + grace;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, self.tasks.join_next()).await
        {
            if let Ok((name, Err(error))) = ended {
                tracing::warn!(task = name, %error, "ended badly while stopping");
            }
        }
        if !self.tasks.is_empty() {
            tracing::warn!(tasks = self.tasks.len(), "did not stop in time");
            self.tasks.abort_all();
        }
    }
}

fn reason(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "panicked: {}",
        text.unwrap_or_else(|| "no reason given".to_owned())
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_or_panics_is_started_again() {
        let mut group = Supervisor::new();
        let runs = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&runs);
        group.restarting("flaky", move |_| {
            let n = seen.fetch_add(1, Ordering::SeqCst);
            async move {
                match n {
                    0 => Err("first".to_owned()),
                    1 => panic!("second"),
                    _ => Ok(()),
                }
            }
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        group.stop(Duration::from_secs(1)).await;
    }

    #[tokio::test]
    async fn a_vital_task_that_panics_is_told() {
        let mut group = Supervisor::new();
        group.vital("heart", |_| async {
            std::panic::resume_unwind(Box::new("stopped beating"));
            #[expect(unreachable_code, reason = "gives the task its type")]
            Ok::<(), String>(())
        });
        assert_eq!(group.failed().await, "heart: panicked: stopped beating");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_stop_is_ended_after_the_grace() {
        let mut group = Supervisor::new();
        group.vital("deaf", |_| std::future::pending::<Result<(), String>>());
        let began = Instant::now();
        group.stop(Duration::from_secs(5)).await;
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}
