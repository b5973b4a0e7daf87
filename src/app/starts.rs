//! Starts that were not followed by a clean stop: several in a short time are a crash loop. Kept in a
//! file of its own, which is written before anything that may crash.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::types::Timestamp;

/// Starts longer ago than this do not count.
const WINDOW: Duration = Duration::from_mins(2);

/// The record.
#[derive(Debug, Clone)]
pub(super) struct Starts {
    file: PathBuf,
}

impl Starts {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self {
            file: data_dir.join("starts"),
        }
    }

    /// Writes that the daemon starts. The reason for safe mode if this is the `limit`th start without a
    /// clean stop in a short time; a limit of 0 is never reached.
    pub(super) fn begin(&self, now: Timestamp, limit: u32) -> Option<String> {
        let recorded = std::fs::read_to_string(&self.file).unwrap_or_default();
        let mut starts: Vec<i64> = recorded
            .lines()
            .filter_map(|line| line.parse().ok())
            .filter(|at| now.since(Timestamp(*at)) <= WINDOW && *at <= now.0)
            .collect();
        starts.push(now.0);
        self.write(&starts);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        (limit > 0 && starts.len() >= limit).then(|| {
            let reason = format!(
                "Nexflow was started {} times within {} minutes without a clean stop, so no message is answered: they are taken and kept. The log says why it ended; `nexflow resume` goes on.",
                starts.len(),
                WINDOW.as_secs() / 60,
            );
            tracing::error!(%reason, "safe mode");
            reason
        })
    }

    /// The daemon stopped as it should, or a person says that all is well.
    pub(super) fn forget(&self) {
        self.write(&[]);
    }

    fn write(&self, starts: &[i64]) {
        let lines: Vec<String> = starts.iter().map(i64::to_string).collect();
        let text = lines.join("\n");
        if let Err(error) = std::fs::write(&self.file, text) {
            tracing::warn!(file = %self.file.display(), %error, "starts cannot be recorded, so a crash loop would not be noticed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp(1_000_000_000 + second * 1_000_000)
    }

    #[test]
    fn many_starts_in_a_short_time_are_a_crash_loop() {
        let folder = tempfile::tempdir().unwrap();
        let starts = Starts::of(folder.path());
        for second in 0..4 {
            assert_eq!(starts.begin(at(second), 5), None);
        }
        let reason = starts.begin(at(4), 5).unwrap();
        assert!(reason.contains("5 times"), "{reason}");
        // It stays so while it goes on, and ends with time or a clean stop.
        assert!(starts.begin(at(60), 5).is_some());
        assert_eq!(starts.begin(at(300), 5), None);
        for second in 300..303 {
            starts.begin(at(second), 5);
        }
        starts.forget();
        assert_eq!(starts.begin(at(303), 5), None);
        for second in 304..320 {
            assert_eq!(starts.begin(at(second), 0), None);
        }
    }

    #[test]
    fn a_record_that_is_damaged_or_from_the_future_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let starts = Starts::of(folder.path());
        let future = at(9999).0;
        std::fs::write(folder.path().join("starts"), format!("x\n{future}\n\n-\n")).unwrap();
        assert_eq!(starts.begin(at(0), 2), None);
    }
}
