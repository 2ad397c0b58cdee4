//! The clocks of simulated processes.

use fogcompute_base::{Instant, UnixMillis};

/// Wall time at the beginning of every simulation.
pub const WALL_AT_START: UnixMillis = UnixMillis(1_700_000_000_000);

/// Most that a clock may run fast or slow, in millionths: far beyond any quartz.
pub const DRIFT_PPM_MAX: i32 = 100_000;

const MILLION: i128 = 1_000_000;

/// How wrong the clocks of a process are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClockConfig {
    /// How much faster than true time both clocks run, in millionths, at most [`DRIFT_PPM_MAX`]
    /// either way; negative is slower.
    pub drift_ppm: i32,
    /// How far ahead of true time the wall clock is at the beginning, in milliseconds.
    pub wall_offset_ms: i64,
}

/// The clocks of one process. The monotonic one begins at zero whenever the process does, as
/// [`SystemClock`](fogcompute_base::SystemClock) does; the wall clock goes on, and can jump.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessClock {
    drift_ppm: i32,
    wall_offset_ms: i64,
    /// True time at which the process began.
    booted: Instant,
}

impl ProcessClock {
    pub(crate) fn new(config: ClockConfig) -> Self {
        Self {
            drift_ppm: config.drift_ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX),
            wall_offset_ms: config.wall_offset_ms,
            booted: Instant::ZERO,
        }
    }

    pub(crate) fn boot(&mut self, now: Instant) {
        self.booted = now;
    }

    pub(crate) fn jump(&mut self, by_ms: i64) {
        self.wall_offset_ms = self.wall_offset_ms.saturating_add(by_ms);
    }

    /// What the process's monotonic clock says at the true time `now`.
    pub(crate) fn local(&self, now: Instant) -> Instant {
        Instant::from_nanos(
            self.drifted(now.as_nanos() - self.booted.as_nanos().min(now.as_nanos())),
        )
    }

    /// What the process's wall clock says at the true time `now`.
    pub(crate) fn wall(&self, now: Instant) -> UnixMillis {
        let since_start = self.drifted(now.as_nanos()) / 1_000_000;
        let exact =
            i128::from(WALL_AT_START.0) + i128::from(since_start) + i128::from(self.wall_offset_ms);
        UnixMillis(u64::try_from(exact.max(0)).unwrap_or(u64::MAX))
    }

    /// The first true time at which the monotonic clock says `local` or later.
    pub(crate) fn true_time(&self, local: Instant) -> Instant {
        let rate = MILLION + i128::from(self.drift_ppm);
        let exact = (i128::from(local.as_nanos()) * MILLION + rate - 1) / rate;
        let since_boot = u64::try_from(exact).unwrap_or(u64::MAX);
        Instant::from_nanos(self.booted.as_nanos().saturating_add(since_boot))
    }

    fn drifted(&self, nanos: u64) -> u64 {
        let rate = MILLION + i128::from(self.drift_ppm);
        u64::try_from(i128::from(nanos) * rate / MILLION).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clock(drift_ppm: i32, wall_offset_ms: i64) -> ProcessClock {
        ProcessClock::new(ClockConfig {
            drift_ppm,
            wall_offset_ms,
        })
    }

    #[test]
    fn a_clock_that_runs_fast_is_ahead() {
        let clock = clock(100, 0);
        let hour = Instant::from_millis(3_600_000);
        assert_eq!(clock.local(hour), Instant::from_millis(3_600_360));
        assert_eq!(clock.wall(hour).0 - WALL_AT_START.0, 3_600_360);
    }

    #[test]
    fn a_process_that_begins_again_counts_from_zero_and_keeps_its_wall_clock() {
        let mut clock = clock(0, -5_000);
        clock.boot(Instant::from_millis(10_000));
        assert_eq!(clock.local(Instant::from_millis(10_000)), Instant::ZERO);
        assert_eq!(
            clock.wall(Instant::from_millis(10_000)).0,
            WALL_AT_START.0 + 5_000
        );
        clock.jump(3_600_000);
        assert_eq!(
            clock.wall(Instant::from_millis(10_000)).0,
            WALL_AT_START.0 + 3_605_000
        );
        clock.jump(i64::MIN);
        assert_eq!(clock.wall(Instant::from_millis(10_000)).0, 0);
    }

    proptest! {
        /// A timer that were early would be set again for the same moment, for ever.
        #[test]
        fn a_timer_is_never_early_and_hardly_late(
            drift_ppm in -DRIFT_PPM_MAX..=DRIFT_PPM_MAX,
            booted in 0..u64::MAX / 4,
            local in 0..u64::MAX / 4,
        ) {
            let mut clock = clock(drift_ppm, 0);
            clock.boot(Instant::from_nanos(booted));
            let wanted = Instant::from_nanos(local);
            let at = clock.true_time(wanted);
            prop_assert!(clock.local(at) >= wanted);
            prop_assert!(clock.local(Instant::from_nanos(at.as_nanos().saturating_sub(2))) <= wanted);
        }
    }
}
