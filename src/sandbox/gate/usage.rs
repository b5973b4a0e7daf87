//! What each skill has used of its allowance, over all of its runs; lost when the daemon ends.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Counts of all skills. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    skills: Mutex<HashMap<String, Arc<Mutex<Windows>>>>,
    lost: AtomicU64,
}

/// Connections of this minute, bytes of this hour.
#[derive(Debug, Default)]
struct Windows {
    minute: Option<(Instant, u64)>,
    hour: Option<(Instant, u64)>,
}

impl Usage {
    /// The allowance of one skill.
    pub(super) fn of(&self, label: &str, (per_minute, per_hour): (u64, u64)) -> Allowance {
        let mut skills = lock(&self.shared.skills);
        let windows = Arc::clone(skills.entry(label.to_owned()).or_default());
        Allowance {
            windows,
            per_minute,
            per_hour,
        }
    }

    /// One more record had no room; how many there were.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What one skill may do.
#[derive(Debug)]
pub(super) struct Allowance {
    windows: Arc<Mutex<Windows>>,
    /// Connections.
    per_minute: u64,
    /// Bytes, both ways together.
    per_hour: u64,
}

impl Allowance {
    /// One more connection; or why not.
    pub(super) fn connect(&self, now: Instant) -> Result<(), String> {
        let mut windows = lock(&self.windows);
        if !add(&mut windows.minute, MINUTE, (1, self.per_minute), now) {
            return Err(format!(
                "this skill has opened {} connections within a minute, which is the most it may",
                self.per_minute
            ));
        }
        if !add(&mut windows.hour, HOUR, (0, self.per_hour), now) {
            return Err(format!(
                "this skill has moved {} MiB within an hour, which is the most it may",
                self.per_hour >> 20
            ));
        }
        Ok(())
    }

    /// So many bytes more; whether that is allowed.
    pub(super) fn pass(&self, bytes: u64, now: Instant) -> bool {
        let mut windows = lock(&self.windows);
        add(&mut windows.hour, HOUR, (bytes, self.per_hour), now)
    }
}

/// Adds to a window, or closes it: what did not fit fills it up. Nothing more fits a full one.
fn add(
    window: &mut Option<(Instant, u64)>,
    length: Duration,
    (more, most): (u64, u64),
    now: Instant,
) -> bool {
    let (began, used) = window
        .filter(|(began, _)| now.saturating_duration_since(*began) < length)
        .unwrap_or((now, 0));
    let sum = used.saturating_add(more);
    *window = Some((began, sum.min(most)));
    sum <= most && used < most
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_for_a_minute_over_all_runs() {
        let (usage, now) = (Usage::default(), Instant::now());
        for _ in 0..3 {
            assert!(usage.of("a", (3, 100)).connect(now).is_ok());
        }
        let why = usage.of("a", (3, 100)).connect(now + MINUTE / 2);
        assert!(why.unwrap_err().contains("3 connections within a minute"));
        assert!(usage.of("b", (3, 100)).connect(now).is_ok());
        assert!(usage.of("a", (3, 100)).connect(now + MINUTE).is_ok());
    }

    #[test]
    fn traffic_is_counted_for_an_hour_over_all_runs() {
        let (usage, now) = (Usage::default(), Instant::now());
        assert!(usage.of("a", (9, 100)).pass(60, now));
        assert!(usage.of("a", (9, 100)).connect(now).is_ok());
        assert!(!usage.of("a", (9, 100)).pass(60, now));
        let why = usage.of("a", (9, 100)).connect(now + HOUR / 2);
        assert!(why.unwrap_err().contains("within an hour"));
        assert!(usage.of("a", (9, 100)).connect(now + HOUR).is_ok());
    }
}
