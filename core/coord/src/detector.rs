//! Whether a node is still there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::Instant;
use thiserror::Error;

/// Most intervals a detector remembers.
pub const WINDOW_MAX: usize = 1_000;

/// Highest suspicion that is told apart: the chance that the node is there is below 10⁻³⁰⁰.
pub const PHI_MAX: f64 = 300.0;

/// Why a detector cannot be configured so.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum DetectorConfigError {
    /// The interval is zero.
    #[error("heartbeats have no interval between them")]
    NoInterval,
    /// The timeout is not longer than the interval: every node would die between two heartbeats.
    #[error("timeout of {timeout:?} is not longer than the interval of {interval:?}")]
    Timeout {
        /// The timeout.
        timeout: Duration,
        /// The interval.
        interval: Duration,
    },
    /// The threshold is not above zero and below [`PHI_MAX`].
    #[error("threshold {threshold} is not above 0 and below {PHI_MAX}")]
    Threshold {
        /// What was given.
        threshold: f64,
    },
    /// The floor of the deviation is zero: a node that was always on time would be suspected
    /// a moment after its time.
    #[error("deviation has no floor")]
    NoDeviation,
    /// The window has no place, or more than [`WINDOW_MAX`].
    #[error("window of {actual} intervals is not from 1 to {limit}")]
    Window {
        /// What was given.
        actual: usize,
        /// The limit.
        limit: usize,
    },
}

/// How a [`Detector`] judges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectorConfig {
    /// Time between two heartbeats that the node was told. Silence up to here says nothing,
    /// however often it was heard of before.
    pub interval: Duration,
    /// After so much silence it is dead.
    pub timeout: Duration,
    /// Suspicion from which on it is suspect: with 8, the detector is wrong once in 10⁸ heartbeats
    /// if their times are distributed as they were.
    pub threshold: f64,
    /// Least standard deviation of the intervals that is assumed.
    pub deviation_min: Duration,
    /// Intervals that are remembered.
    pub window: usize,
    /// How late the host may run the detector. A host that comes later was asleep itself, and its
    /// nodes are not blamed for what it did not hear.
    pub slack: Duration,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(90),
            threshold: 8.0,
            deviation_min: Duration::from_secs(3),
            window: 32,
            slack: Duration::from_secs(5),
        }
    }
}

impl DetectorConfig {
    fn check(&self) -> Result<(), DetectorConfigError> {
        if self.interval.is_zero() {
            return Err(DetectorConfigError::NoInterval);
        }
        if self.timeout <= self.interval {
            return Err(DetectorConfigError::Timeout {
                timeout: self.timeout,
                interval: self.interval,
            });
        }
        if !(self.threshold > 0.0 && self.threshold < PHI_MAX) {
            return Err(DetectorConfigError::Threshold {
                threshold: self.threshold,
            });
        }
        if self.deviation_min.is_zero() {
            return Err(DetectorConfigError::NoDeviation);
        }
        if !(1..=WINDOW_MAX).contains(&self.window) {
            return Err(DetectorConfigError::Window {
                actual: self.window,
                limit: WINDOW_MAX,
            });
        }
        Ok(())
    }
}

/// What a [`Detector`] thinks of its node.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Health {
    /// It is heard of.
    Alive,
    /// It is late. What it has it keeps; it gets nothing new.
    Suspect,
    /// It was silent for the whole timeout. What it had goes to others.
    Dead,
}

/// A φ-accrual failure detector for one node.
///
/// Suspicion grows with silence, measured by how the node's heartbeats came so far: φ is -log₁₀ of
/// the probability that one comes still later, their intervals taken as normally distributed. A
/// suspect node only gets no new tasks; it is dead when the timeout is over, and a single heartbeat
/// clears it of everything before that.
///
/// **The host sleeps too.** A laptop that runs the coordinator wakes up after an hour and has heard
/// of nobody. So the detector says when it wants to be run, [`Detector::poll_timeout`]; a call that
/// comes later than that by more than [`DetectorConfig::slack`] proves that nobody listened, and
/// the silence since the call before is not counted. (A host that is late every time finds nobody
/// dead: its slack is too small for it.)
///
/// Source: Hayashibara et al. 2004, "The φ accrual failure detector", §3–4.
///
/// ```
/// use fogcompute_base::Instant;
/// use fogcompute_coord::{Detector, DetectorConfig, Health};
/// use std::time::Duration;
///
/// let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
/// let mut detector = Detector::new(DetectorConfig::default(), at(0))?;
/// detector.heard(at(30));
/// assert_eq!(detector.health(at(60)), Health::Alive);
/// let suspect = detector.poll_timeout().expect("there is more to come");
/// assert_eq!(detector.health(suspect), Health::Suspect);
/// assert_eq!(detector.poll_timeout(), Some(at(120)));
/// assert_eq!(detector.health(at(120)), Health::Dead);
/// # Ok::<(), fogcompute_coord::DetectorConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Detector {
    /// The same for all nodes of a fog.
    judgement: Arc<Judgement>,
    /// Milliseconds, the last one at the back.
    window: VecDeque<u32>,
    /// When the silence began that counts: the last heartbeat, or later by as long as nobody listened.
    silent_since: Instant,
    /// The last call.
    run: Instant,
}

/// By what a detector judges.
#[derive(Debug)]
struct Judgement {
    config: DetectorConfig,
    /// How many deviations after the mean the threshold is reached.
    deviations: f64,
}

impl Detector {
    /// A detector for a node that was heard of now.
    ///
    /// # Errors
    /// [`DetectorConfigError`].
    pub fn new(config: DetectorConfig, now: Instant) -> Result<Self, DetectorConfigError> {
        config.check()?;
        let deviations = deviations_at(config.threshold);
        Ok(Self::with(Arc::new(Judgement { config, deviations }), now))
    }

    /// A detector that judges as this one does, for another node that was heard of now. What both
    /// judge by is kept once.
    #[must_use]
    pub fn another(&self, now: Instant) -> Self {
        Self::with(Arc::clone(&self.judgement), now)
    }

    const fn with(judgement: Arc<Judgement>, now: Instant) -> Self {
        Self {
            judgement,
            window: VecDeque::new(),
            silent_since: now,
            run: now,
        }
    }

    /// The node gave a sign of life. It is alive, whatever it was.
    pub fn heard(&mut self, now: Instant) {
        // What nobody listened to, and how long a dead node was away, says nothing of its rhythm.
        if !self.is_late(now) && now < self.dead_at() {
            let millis = now.duration_since(self.silent_since).as_millis();
            if self.window.len() == self.judgement.config.window {
                self.window.pop_front();
            }
            self.window
                .push_back(u32::try_from(millis).unwrap_or(u32::MAX));
        }
        self.run = self.run.max(now);
        self.silent_since = self.run;
    }

    /// How sure it is that the node is gone: φ, from 0 to [`PHI_MAX`].
    #[must_use]
    pub fn phi(&self, now: Instant) -> f64 {
        let silence = now.duration_since(self.silence_began(now)).as_secs_f64();
        let (mean, deviation) = self.rhythm();
        phi_at((silence - mean) / deviation)
    }

    /// What it thinks of the node now, and notes that it was asked.
    pub fn health(&mut self, now: Instant) -> Health {
        let now = self.run.max(now);
        self.silent_since = self.silence_began(now);
        self.run = now;
        self.at(now)
    }

    /// When [`Detector::health`] next changes if nothing is heard, as of the last call. Nothing once
    /// the node is dead.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.at(self.run) {
            Health::Alive => Some(self.suspect_at()),
            Health::Suspect => Some(self.dead_at()),
            Health::Dead => None,
        }
    }

    fn at(&self, now: Instant) -> Health {
        if now >= self.dead_at() {
            Health::Dead
        } else if now >= self.suspect_at() {
            Health::Suspect
        } else {
            Health::Alive
        }
    }

    /// Whether the detector was not run when it had asked for it.
    fn is_late(&self, now: Instant) -> bool {
        self.poll_timeout()
            .is_some_and(|due| now > due + self.judgement.config.slack)
    }

    fn silence_began(&self, now: Instant) -> Instant {
        if self.is_late(now) {
            self.silent_since + now.duration_since(self.run)
        } else {
            self.silent_since
        }
    }

    fn dead_at(&self) -> Instant {
        self.silent_since + self.judgement.config.timeout
    }

    fn suspect_at(&self) -> Instant {
        let (mean, deviation) = self.rhythm();
        let seconds = mean + self.judgement.deviations * deviation;
        let longest = self.judgement.config.timeout;
        // A rhythm that is slower than the timeout leaves no time for suspicion.
        let silence = Duration::try_from_secs_f64(seconds).unwrap_or(longest);
        self.silent_since + silence.min(longest)
    }

    /// Mean and standard deviation of the intervals, in seconds.
    fn rhythm(&self) -> (f64, f64) {
        // Sums of integers: the order in which intervals came does not change the result.
        let count = self.window.len().max(1) as u64;
        let sum: u64 = self.window.iter().map(|millis| u64::from(*millis)).sum();
        let squares = self.window.iter().map(|millis| u64::from(*millis).pow(2));
        let squares: u128 = squares.map(u128::from).sum();
        let spread = squares * u128::from(count) - u128::from(sum).pow(2);
        let deviation = (spread as f64).sqrt() / count as f64 / 1_000.0;
        let mean = sum as f64 / count as f64 / 1_000.0;
        (
            mean.max(self.judgement.config.interval.as_secs_f64()),
            deviation.max(self.judgement.config.deviation_min.as_secs_f64()),
        )
    }
}

/// φ so many standard deviations after the mean.
fn phi_at(deviations: f64) -> f64 {
    // libm rather than the platform's functions: the same bits everywhere.
    let later = 0.5 * libm::erfc(deviations * std::f64::consts::FRAC_1_SQRT_2);
    // Beyond 37 deviations no double tells the probability any more.
    (-libm::log10(later)).clamp(0.0, PHI_MAX)
}

/// The inverse of [`phi_at`], by bisection.
fn deviations_at(phi: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if phi_at(middle) < phi {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn fresh() -> Detector {
        Detector::new(DetectorConfig::default(), at(0)).unwrap()
    }

    /// A detector whose node was on time until `until` seconds.
    fn punctual(until: u64) -> Detector {
        let mut detector = fresh();
        for second in (30..=until).step_by(30) {
            detector.heard(at(second));
        }
        detector
    }

    #[test]
    fn another_judges_alike_and_remembers_nothing() {
        let mut slow = fresh();
        for second in (40..=800).step_by(40) {
            slow.heard(at(second));
        }
        let other = slow.another(at(800));
        let new = Detector::new(DetectorConfig::default(), at(800)).unwrap();
        assert_eq!(other.poll_timeout(), new.poll_timeout());
        assert_eq!(other.phi(at(850)).to_bits(), new.phi(at(850)).to_bits());
        assert!(slow.phi(at(850)) < other.phi(at(850)));
    }

    #[test]
    fn suspicion_is_that_of_the_normal_distribution() {
        // The upper tail of the standard normal distribution: DLMF 7.12, Abramowitz and Stegun
        // table 26.2.
        for (deviations, tail) in [
            (0.0, 0.5),
            (1.0, 0.158_655_253_931_457),
            (3.0, 1.349_898_031_630_09e-3),
            (6.0, 9.865_876_450_376_98e-10),
        ] {
            let expected = -libm::log10(tail);
            assert!((phi_at(deviations) - expected).abs() < 1e-9, "{deviations}");
        }
        assert!(phi_at(-40.0).abs() < 1e-12);
        assert!((phi_at(1e9) - PHI_MAX).abs() < 1e-12);
        assert!((deviations_at(8.0) - 5.612_001_244_174_965).abs() < 1e-9);
    }

    #[test]
    fn one_late_heartbeat_kills_nobody() {
        let mut detector = punctual(300);
        // The one at 330 s is lost.
        assert_eq!(detector.health(at(345)), Health::Alive);
        assert_eq!(detector.health(at(350)), Health::Suspect);
        detector.heard(at(360));
        assert_eq!(detector.health(at(361)), Health::Alive);
        assert_eq!(detector.health(at(390)), Health::Alive);
    }

    #[test]
    fn silence_is_suspect_and_then_dead() {
        let mut detector = punctual(300);
        let suspect = detector.poll_timeout().unwrap();
        assert!(suspect > at(330) && suspect < at(390));
        assert_eq!(
            detector.health(suspect - Duration::from_nanos(1)),
            Health::Alive
        );
        assert_eq!(detector.health(suspect), Health::Suspect);
        assert_eq!(detector.poll_timeout(), Some(at(390)));
        assert_eq!(
            detector.health(at(390) - Duration::from_nanos(1)),
            Health::Suspect
        );
        assert_eq!(detector.health(at(390)), Health::Dead);
        assert_eq!(detector.poll_timeout(), None);
        detector.heard(at(500));
        assert_eq!(detector.health(at(500)), Health::Alive);
    }

    #[test]
    fn nodes_that_talk_much_are_not_suspected_within_the_interval() {
        let mut detector = fresh();
        for second in 0..1_000 {
            detector.heard(at(second));
        }
        assert_eq!(detector.health(at(999 + 40)), Health::Alive);
        assert!(detector.phi(at(999 + 30)) < 1.0);
    }

    #[test]
    fn irregular_nodes_are_suspected_later() {
        let mut irregular = fresh();
        let mut now = 0;
        for pause in [10, 50].repeat(20) {
            now += pause;
            irregular.heard(at(now));
        }
        let regular = punctual(1_200);
        assert_eq!(now, 1_200);
        assert!(irregular.poll_timeout() > regular.poll_timeout());
        assert!(irregular.phi(at(1_250)) < regular.phi(at(1_250)));
        // Its own unrest does not keep it alive.
        assert_eq!(irregular.health(at(1_290)), Health::Dead);
    }

    #[test]
    fn a_host_that_slept_an_hour_blames_nobody() {
        let mut nodes: Vec<_> = (0..100).map(|_| punctual(300)).collect();
        for node in &mut nodes {
            assert!(node.phi(at(300 + 3_600)) < 1.0);
            assert_eq!(node.health(at(300 + 3_600)), Health::Alive);
            // From there on the timeout runs again: who is really gone is found.
            assert_eq!(node.poll_timeout().map(|due| due > at(3_930)), Some(true));
            let suspect = node.poll_timeout().unwrap();
            assert_eq!(node.health(suspect), Health::Suspect);
            assert_eq!(node.health(at(3_990)), Health::Dead);
            // And stays dead, however long the host sleeps then.
            assert_eq!(node.health(at(99_999)), Health::Dead);
        }
    }

    #[test]
    fn silence_before_the_hosts_sleep_still_counts() {
        let mut detector = punctual(300);
        for second in [347, 360, 360 + 3_600] {
            assert_eq!(detector.health(at(second)), Health::Suspect);
        }
        assert_eq!(detector.poll_timeout(), Some(at(3_990)));
        assert_eq!(detector.health(at(3_990)), Health::Dead);
    }

    #[test]
    fn a_gap_is_not_learned_as_the_nodes_rhythm() {
        let mut detector = punctual(300);
        let before = detector.clone();
        detector.heard(at(300 + 3_600));
        assert_eq!(detector.window, before.window);
        // Neither is the absence of a dead one.
        let mut detector = punctual(300);
        let suspect = detector.poll_timeout().unwrap();
        assert_eq!(detector.health(suspect), Health::Suspect);
        assert_eq!(detector.health(at(390)), Health::Dead);
        detector.heard(at(10_000));
        assert_eq!(detector.window, before.window);
    }

    #[test]
    fn a_clock_that_goes_back_changes_nothing() {
        let mut detector = punctual(300);
        detector.heard(at(10));
        assert_eq!(detector.health(at(0)), Health::Alive);
        assert!(detector.phi(at(0)) < 1e-3);
        assert_eq!(detector.health(at(320)), Health::Alive);
    }

    #[test]
    fn senseless_configurations_are_refused() {
        let sound = DetectorConfig::default();
        let refused = |config| Detector::new(config, at(0)).unwrap_err();
        let zero = Duration::ZERO;
        assert_eq!(
            refused(DetectorConfig {
                interval: zero,
                ..sound
            }),
            DetectorConfigError::NoInterval
        );
        assert_eq!(
            refused(DetectorConfig {
                timeout: sound.interval,
                ..sound
            }),
            DetectorConfigError::Timeout {
                timeout: sound.interval,
                interval: sound.interval
            }
        );
        for threshold in [0.0, -1.0, f64::NAN, f64::INFINITY, PHI_MAX] {
            assert!(matches!(
                refused(DetectorConfig { threshold, ..sound }),
                DetectorConfigError::Threshold { .. }
            ));
        }
        assert_eq!(
            refused(DetectorConfig {
                deviation_min: zero,
                ..sound
            }),
            DetectorConfigError::NoDeviation
        );
        for window in [0, WINDOW_MAX + 1] {
            assert_eq!(
                refused(DetectorConfig { window, ..sound }),
                DetectorConfigError::Window {
                    actual: window,
                    limit: WINDOW_MAX
                }
            );
        }
    }

    proptest! {
        /// A host that runs the detector when it asks finds every change at the instant it was
        /// told, and no change in between.
        #[test]
        fn health_changes_when_it_was_said_to(
            pauses in proptest::collection::vec(0..89_000_u64, 0..80),
            look in 0..200_000_u64,
        ) {
            let mut detector = fresh();
            let mut now = Instant::ZERO;
            for pause in pauses {
                let heard = now + Duration::from_millis(pause);
                while let Some(due) = detector.poll_timeout().filter(|due| *due <= heard) {
                    detector.health(due);
                }
                detector.heard(heard);
                now = heard;
                prop_assert_eq!(detector.health(now), Health::Alive);
            }
            let look = now + Duration::from_millis(look);
            let mut health = Health::Alive;
            while let Some(due) = detector.poll_timeout().filter(|due| *due <= look) {
                let mut before = detector.clone();
                prop_assert_eq!(before.health(due - Duration::from_nanos(1)), health);
                let next = detector.health(due);
                prop_assert!(next > health);
                // φ agrees, up to what a nanosecond and rounding change.
                if next == Health::Suspect {
                    prop_assert!((detector.phi(due) - 8.0).abs() < 1e-3);
                }
                health = next;
            }
            prop_assert_eq!(detector.health(look), health);
            // Nobody lives through the timeout, and nobody dies before it.
            let silence = look.duration_since(now);
            prop_assert_eq!(health == Health::Dead, silence >= Duration::from_secs(90));
        }

        /// Suspicion does not fall while nothing is heard.
        #[test]
        fn suspicion_grows_with_silence(first in 0..40_u64, second in 0..40_u64) {
            let detector = punctual(300);
            let (first, second) = (first.min(second), first.max(second));
            prop_assert!(detector.phi(at(300 + first)) <= detector.phi(at(300 + second)));
        }

        /// Any calls at any times: nothing panics, the window stays within its limit, and whoever
        /// was just heard of is alive.
        #[test]
        fn any_clock_is_survived(calls in proptest::collection::vec((any::<u64>(), any::<bool>()), 0..200)) {
            let mut detector = fresh();
            for (nanos, heard) in calls {
                let now = Instant::from_nanos(nanos);
                if heard {
                    detector.heard(now);
                    prop_assert!(detector.health(now) < Health::Dead);
                } else {
                    detector.health(now);
                }
                prop_assert!((0.0..=PHI_MAX).contains(&detector.phi(now)));
                prop_assert!(detector.window.len() <= 32);
            }
        }
    }
}
