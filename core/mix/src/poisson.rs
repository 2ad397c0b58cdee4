//! Exponential times.

use std::time::Duration;

use fogcompute_base::{Instant, Rng};

/// A delay is cut at this many means: the quantile 1 - 10⁻¹² of the exponential distribution.
pub const DELAY_MEANS_MAX: f64 = 27.631_021_115_928_547;

/// Most events of a process that are caught up after a pause.
const CATCH_UP_MAX: u32 = 64;

/// An exponentially distributed time by inversion, cut at [`DELAY_MEANS_MAX`] means.
///
/// The uniform number has 53 bits, so the distribution's steps are far below a nanosecond for means
/// of days.
pub(crate) fn exponential(mean: Duration, rng: &mut impl Rng) -> Duration {
    let uniform = (rng.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64);
    let means = -libm::log1p(-uniform);
    mean.mul_f64(means.min(DELAY_MEANS_MAX))
}

/// A Poisson process: events with exponential times between them, whatever else happens.
///
/// Cover traffic must not depend on real traffic, so it is not a timer that real packets reset.
#[derive(Clone, Copy, Debug)]
pub struct PoissonProcess {
    mean: Duration,
    next: Instant,
}

impl PoissonProcess {
    /// A process with this mean time between events, at least a microsecond.
    pub fn new(mean: Duration, now: Instant, rng: &mut impl Rng) -> Self {
        let mean = mean.max(Duration::from_micros(1));
        Self {
            mean,
            next: now + exponential(mean, rng),
        }
    }

    /// When the next event is.
    #[must_use]
    pub const fn next_event(&self) -> Instant {
        self.next
    }

    /// Whether an event is due; call until it says no.
    pub fn poll(&mut self, now: Instant, rng: &mut impl Rng) -> bool {
        if self.next > now {
            return false;
        }
        self.next = self.next + exponential(self.mean, rng);
        // A device that slept an hour does not send an hour's traffic at once. To start anew is no
        // different from having waited: the process has no memory.
        if now.duration_since(self.next) > self.mean.saturating_mul(CATCH_UP_MAX) {
            self.next = now + exponential(self.mean, rng);
        }
        true
    }

    /// Changes the mean time between events from `now` on.
    pub fn set_mean(&mut self, mean: Duration, now: Instant, rng: &mut impl Rng) {
        *self = Self::new(mean, now, rng);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    /// Kolmogorov-Smirnov distance of samples, in means, from the exponential distribution.
    pub(crate) fn distance_from_exponential(mut samples: Vec<f64>) -> f64 {
        samples.sort_unstable_by(f64::total_cmp);
        let count = samples.len() as f64;
        samples
            .iter()
            .zip(0..)
            .map(|(sample, rank)| {
                let expected = 1.0 - (-sample).exp();
                let (below, above) = (f64::from(rank) / count, f64::from(rank + 1) / count);
                (expected - below).abs().max((above - expected).abs())
            })
            .fold(0.0, f64::max)
    }

    /// Distance that exponential samples exceed once in a hundred times (Smirnov 1948).
    pub(crate) fn critical_distance(count: usize) -> f64 {
        1.628 / (count as f64).sqrt()
    }

    #[test]
    fn times_between_events_are_exponential() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let mean = Duration::from_millis(20);
        let mut process = PoissonProcess::new(mean, Instant::ZERO, &mut rng);
        let mut last = Instant::ZERO;
        let samples: Vec<_> = (0..20_000)
            .map(|_| {
                let event = process.next_event();
                assert!(process.poll(event, &mut rng));
                let between = event.duration_since(last);
                last = event;
                between.as_secs_f64() / mean.as_secs_f64()
            })
            .collect();
        let distance = distance_from_exponential(samples);
        assert!(distance < critical_distance(20_000), "{distance}");
    }

    #[test]
    fn the_rate_does_not_depend_on_how_often_it_is_polled() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let mean = Duration::from_millis(1);
        for step_millis in [1, 7, 50] {
            let mut process = PoissonProcess::new(mean, Instant::ZERO, &mut rng);
            let mut events = 0_i32;
            for step in 1..=10_000 / step_millis {
                while process.poll(Instant::from_millis(step * step_millis), &mut rng) {
                    events += 1;
                }
            }
            // 10,000 expected, with a standard deviation of 100.
            assert!(
                (events - 10_000).abs() < 450,
                "{events} at {step_millis} ms"
            );
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let mut process = PoissonProcess::new(Duration::from_millis(1), Instant::ZERO, &mut rng);
        let now = Instant::from_millis(3_600_000);
        let mut events = 0;
        while process.poll(now, &mut rng) {
            events += 1;
        }
        assert_eq!(events, 1);
        assert!(process.next_event() > now);
        process.set_mean(Duration::from_secs(1), now, &mut rng);
        assert!(process.next_event() > now);
    }

    #[test]
    fn no_time_is_longer_than_the_cut() {
        struct Highest;
        impl rand_core::TryRng for Highest {
            type Error = rand_core::Infallible;
            fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
                Ok(u32::MAX)
            }
            fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
                Ok(u64::MAX)
            }
            fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
                bytes.fill(0xff);
                Ok(())
            }
        }
        let longest = exponential(Duration::from_secs(1), &mut Highest).as_secs_f64();
        assert!((longest - DELAY_MEANS_MAX).abs() < 1e-9, "{longest}");
    }
}
