//! Whether this machine's clock is right: a platform's answers carry the time at which they were made.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::DateTime;
use reqwest::header::HeaderValue;

use crate::types::{Clock, Timestamp};

/// Seconds by which clocks may differ: what an answer takes to get here is in it.
const TOLERATED: i64 = 120;

/// By how much this machine's clock differs from a platform's.
#[derive(Debug)]
pub(super) struct Skew {
    platform: &'static str,
    clock: Clock,
    /// Seconds that this machine is ahead, by the newest answer; [`UNKNOWN`] before there was one.
    ahead: AtomicI64,
}

const UNKNOWN: i64 = i64::MIN;

impl Skew {
    /// From a platform of this name; nothing is known yet.
    pub(super) fn of(platform: &'static str, clock: Clock) -> Self {
        Self {
            platform,
            clock,
            ahead: AtomicI64::new(UNKNOWN),
        }
    }

    /// An answer came just now, with this header `Date`. One that cannot be read tells nothing.
    pub(super) fn heard(&self, date: Option<&HeaderValue>) {
        let date = date.and_then(|value| value.to_str().ok());
        let Some(there) = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok()) else {
            return;
        };
        let here = self.clock.now().utc();
        let ahead = here.signed_duration_since(there).num_seconds();
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    /// Seconds that this machine is ahead of the platform; none before anything was heard.
    pub(super) fn ahead(&self) -> Option<i64> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        (ahead != UNKNOWN).then_some(ahead)
    }

    /// The time by the platform's clock, as far as it is known.
    pub(super) fn platform_now(&self) -> Timestamp {
        let ahead = self.ahead().unwrap_or_default();
        Timestamp(self.clock.now().0 - ahead * 1_000_000)
    }

    /// For a person, if the clock is wrong: by how much, what follows, how to mend it.
    pub(super) fn sentence(&self) -> Option<String> {
        let ahead = self.ahead()?;
        (ahead.abs() > TOLERATED).then(|| {
            format!(
                "This machine's clock is {} {} {}'s: reminders come at a wrong time. Set it (`timedatectl set-ntp true`).",
                long(ahead.unsigned_abs()),
                if ahead > 0 { "ahead of" } else { "behind" },
                self.platform
            )
        })
    }
}

/// Seconds in words; more than [`TOLERATED`].
fn long(seconds: u64) -> String {
    match seconds / 60 {
        minutes @ ..=119 => format!("{minutes} minutes"),
        minutes @ 120..=2879 => format!("{} hours", minutes / 60),
        minutes => format!("{} days", minutes / 60 / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said at this many seconds after 2026-11-21 12:00 UTC of an answer of that moment.
    fn said(seconds: i64) -> Option<String> {
        let noon = 1_795_262_400 + seconds;
        let skew = Skew::of("Telegram", Clock::manual(Timestamp(noon * 1_000_000)));
        assert_eq!(skew.sentence(), None, "before anything was heard");
        let date = HeaderValue::from_static("Sat, 21 Nov 2026 12:00:00 GMT");
        skew.heard(Some(&date));
        // What says nothing changes nothing.
        skew.heard(None);
        skew.heard(Some(&HeaderValue::from_static("yesterday")));
        assert_eq!(skew.ahead(), Some(seconds));
        skew.sentence()
    }

    #[test]
    fn a_wrong_clock_is_told_with_direction_and_size() {
        for seconds in [0, 90, -90, 120, -120] {
            assert_eq!(said(seconds), None, "{seconds}");
        }
        for (seconds, words) in [
            (150, "2 minutes ahead of Telegram's"),
            (3660, "61 minutes ahead of Telegram's"),
            (-3600, "60 minutes behind Telegram's"),
            (3 * 3600, "3 hours ahead of"),
            (-86_400 * 400, "400 days behind"),
        ] {
            let said = said(seconds).unwrap();
            assert!(said.contains(words), "{said}");
            assert!(said.contains("timedatectl"), "{said}");
        }
    }

    #[test]
    fn a_clock_that_was_set_is_right_again() {
        let clock = Clock::manual(Timestamp(1_795_262_400 * 1_000_000));
        let skew = Skew::of("Discord", clock.clone());
        skew.heard(Some(&HeaderValue::from_static(
            "Sat, 21 Nov 2026 13:00:00 GMT",
        )));
        assert!(skew.sentence().unwrap().contains("behind Discord's"));
        clock.advance(std::time::Duration::from_hours(1));
        skew.heard(Some(&HeaderValue::from_static(
            "Sat, 21 Nov 2026 13:00:02 GMT",
        )));
        assert_eq!(skew.sentence(), None);
    }
}
