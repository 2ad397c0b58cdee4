//! Rate limits.

use std::time::Duration;

use fogcompute_base::Instant;

/// A token bucket: so many packets a second, with bursts of so many.
///
/// Kept as the generic cell rate algorithm (ITU-T I.371): one time instead of a level that has to be
/// filled up, so it takes 24 bytes and no arithmetic drifts.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// Time one packet takes at the full rate.
    interval: Duration,
    /// How far ahead of its rate a peer may be.
    slack: Duration,
    /// When the peer is back at its rate.
    due: Instant,
}

impl TokenBucket {
    /// A full bucket. A rate of 0 lets a burst through and then nothing for a second at a time.
    #[must_use]
    pub fn new(packets_per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / packets_per_second.max(1);
        Self {
            interval,
            slack: interval.saturating_mul(burst.saturating_sub(1)),
            due: Instant::ZERO,
        }
    }

    /// Takes a packet out. `false` if there is none: the peer is over its rate.
    pub fn take(&mut self, now: Instant) -> bool {
        if self.due.duration_since(now) > self.slack {
            return false;
        }
        self.due = self.due.max(now) + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate() {
        let mut bucket = TokenBucket::new(10, 3);
        let mut passed = |millis| bucket.take(Instant::from_millis(millis));
        assert_eq!(
            [passed(5), passed(5), passed(5), passed(5)],
            [true, true, true, false]
        );
        assert_eq!(
            [passed(104), passed(105), passed(105)],
            [false, true, false]
        );
        // A pause fills it up again, not more than full.
        assert_eq!([0; 4].map(|_| passed(100_000)), [true, true, true, false]);
    }

    #[test]
    fn the_rate_is_kept_over_a_long_time_and_a_clock_that_goes_back_gives_nothing() {
        let mut bucket = TokenBucket::new(250, 10);
        let passed = (0..100_000)
            .filter(|n| bucket.take(Instant::from_nanos(n * 100_000)))
            .count();
        assert!((2_500..=2_510).contains(&passed), "{passed}");
        assert!(!bucket.take(Instant::ZERO));
    }
}
