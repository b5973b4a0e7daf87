//! Waits that grow.

use std::time::Duration;

use rand::Rng as _;

/// Waits that double from the shortest to the longest, with a little chance so that many do not come back
/// together.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackOff {
    next: Duration,
    longest: Duration,
}

impl BackOff {
    pub(super) const fn between(shortest: Duration, longest: Duration) -> Self {
        Self {
            next: shortest,
            longest,
        }
    }

    /// How long to wait now: never more than the longest.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next.mul_f64(rand::rng().random_range(0.8..1.2));
        self.next = (self.next * 2).min(self.longest);
        wait.min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::WAITS, *};

    /// However long a network was cut, the next try comes within half a minute of its return.
    #[test]
    fn after_ten_minutes_of_cut_the_next_try_is_soon() {
        let (mut waits, mut passed, mut tries) = (WAITS, Duration::ZERO, 0);
        while passed < Duration::from_mins(10) {
            let wait = waits.next();
            assert!(wait <= Duration::from_secs(30), "{wait:?}");
            passed += wait;
            tries += 1;
        }
        // Neither rarely nor without pause: a session is not begun by a try that finds no network.
        assert!((20..60).contains(&tries), "{tries} tries in ten minutes");
        assert!(passed < Duration::from_mins(10) + Duration::from_secs(30));
        // The first tries come at once: most cuts are short.
        let (mut waits, mut passed) = (WAITS, Duration::ZERO);
        for _ in 0..3 {
            passed += waits.next();
        }
        assert!(passed < Duration::from_secs(5), "{passed:?}");
    }
}
