//! A circuit breaker: who fails again and again is left alone for a while.

use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::Instant;
use thiserror::Error;

/// Why a breaker cannot be configured so.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BreakerConfigError {
    /// No failures would open it: it would never close.
    #[error("breaker opens after no failure")]
    NoFailures,
    /// No successes would close it: it would never be half open.
    #[error("breaker closes after no success")]
    NoSuccesses,
    /// It would be open for no time.
    #[error("breaker is open for no time")]
    NoPause,
    /// The longest time it may be open is less than the first.
    #[error("longest pause of {max:?} is less than the first of {first:?}")]
    Pause {
        /// The first pause.
        first: Duration,
        /// The longest.
        max: Duration,
    },
}

/// How a [`Breaker`] behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BreakerConfig {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Successes in a row that close it again.
    pub successes: u32,
    /// How long it is open at first.
    pub pause: Duration,
    /// How long it is open at most. Each trial that fails doubles the time.
    pub pause_max: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 5,
            successes: 2,
            pause: Duration::from_secs(60),
            pause_max: Duration::from_secs(960),
        }
    }
}

/// Leave to try, from [`Breaker::begin`]. It goes back with the outcome.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "the breaker waits for the outcome"]
pub struct Permit {
    era: u64,
}

/// What a [`Breaker`] does now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BreakerState {
    /// Everything is permitted.
    Closed,
    /// Nothing is permitted.
    Open,
    /// One trial at a time is permitted.
    HalfOpen,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { successes: u32, trial: bool },
}

/// A circuit breaker for one node.
///
/// Closed, it counts failures in a row; at the limit it opens and permits nothing. When its pause
/// is over it is half open and permits **one** trial at a time: enough successes in a row close it,
/// one failure opens it for twice as long. What was begun before it last changed its mind no longer
/// counts, so the late failures of the crowd that opened it do not spoil the trial.
///
/// Every permit goes back, by [`Breaker::succeeded`], [`Breaker::failed`] or [`Breaker::abandoned`]:
/// in a coordinator a lease sees to that.
///
/// Source: Nygard 2018, "Release It!", 2nd edition, chapter 5.
///
/// ```
/// use fogcompute_base::Instant;
/// use fogcompute_coord::{Breaker, BreakerConfig};
///
/// let mut breaker = Breaker::new(BreakerConfig::default())?;
/// for _ in 0..5 {
///     let permit = breaker.begin(Instant::ZERO).expect("it is closed");
///     breaker.failed(permit, Instant::ZERO);
/// }
/// assert!(!breaker.permits(Instant::from_millis(59_999)));
/// let trial = breaker.begin(Instant::from_millis(60_000)).expect("it is half open");
/// assert!(!breaker.permits(Instant::from_millis(60_001)));
/// breaker.succeeded(trial);
/// assert!(breaker.permits(Instant::from_millis(60_002)));
/// # Ok::<(), fogcompute_coord::BreakerConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Breaker {
    /// The same for all nodes of a fog.
    config: Arc<BreakerConfig>,
    state: State,
    /// How long it is open the next time.
    pause: Duration,
    /// Permits of another era do not count.
    era: u64,
}

impl Breaker {
    /// A closed breaker.
    ///
    /// # Errors
    /// [`BreakerConfigError`].
    pub fn new(config: BreakerConfig) -> Result<Self, BreakerConfigError> {
        if config.failures == 0 {
            return Err(BreakerConfigError::NoFailures);
        }
        if config.successes == 0 {
            return Err(BreakerConfigError::NoSuccesses);
        }
        if config.pause.is_zero() {
            return Err(BreakerConfigError::NoPause);
        }
        if config.pause_max.as_nanos() < config.pause.as_nanos() {
            return Err(BreakerConfigError::Pause {
                first: config.pause,
                max: config.pause_max,
            });
        }
        Ok(Self::with(Arc::new(config)))
    }

    /// A closed breaker that behaves as this one does, for another node. How they behave is kept once.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::with(Arc::clone(&self.config))
    }

    fn with(config: Arc<BreakerConfig>) -> Self {
        Self {
            pause: config.pause,
            config,
            state: State::Closed { failures: 0 },
            era: 0,
        }
    }

    /// What it does at `now`.
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether something may be begun.
    #[must_use]
    pub fn permits(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } => now >= until,
            State::HalfOpen { trial, .. } => !trial,
        }
    }

    /// Begins something, if it is permitted.
    pub fn begin(&mut self, now: Instant) -> Option<Permit> {
        if !self.permits(now) {
            return None;
        }
        match &mut self.state {
            State::Closed { .. } => {}
            State::Open { .. } => {
                self.era += 1;
                self.state = State::HalfOpen {
                    successes: 0,
                    trial: true,
                };
            }
            State::HalfOpen { trial, .. } => {
                self.era += 1;
                *trial = true;
            }
        }
        Some(Permit { era: self.era })
    }

    /// It went well.
    pub fn succeeded(&mut self, permit: Permit) {
        if permit.era != self.era {
            return;
        }
        match &mut self.state {
            State::Closed { failures } => *failures = 0,
            // Whoever held a permit of this era was heard: opening begins a new one.
            State::Open { .. } => {}
            State::HalfOpen { successes, trial } => {
                *successes += 1;
                *trial = false;
                if *successes >= self.config.successes {
                    self.era += 1;
                    self.pause = self.config.pause;
                    self.state = State::Closed { failures: 0 };
                }
            }
        }
    }

    /// It failed.
    pub fn failed(&mut self, permit: Permit, now: Instant) {
        if permit.era != self.era {
            return;
        }
        match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures >= self.config.failures {
                    self.open(now);
                }
            }
            State::Open { .. } => {}
            State::HalfOpen { .. } => self.open(now),
        }
    }

    /// It ended without telling anything of the node: the task was cancelled, say.
    pub const fn abandoned(&mut self, permit: Permit) {
        if permit.era == self.era
            && let State::HalfOpen { trial, .. } = &mut self.state
        {
            *trial = false;
        }
    }

    /// When [`Breaker::permits`] changes by itself.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }

    fn open(&mut self, now: Instant) {
        self.era += 1;
        self.state = State::Open {
            until: now + self.pause,
        };
        self.pause = self.pause.saturating_mul(2).min(self.config.pause_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn fresh() -> Breaker {
        Breaker::new(BreakerConfig::default()).unwrap()
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = fresh();
        for _ in 0..5 {
            let permit = breaker.begin(now).unwrap();
            breaker.failed(permit, now);
        }
        assert_eq!(breaker.state(now), BreakerState::Open);
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it() {
        let mut breaker = fresh();
        for _ in 0..3 {
            for _ in 0..4 {
                let permit = breaker.begin(at(0)).unwrap();
                breaker.failed(permit, at(0));
            }
            let permit = breaker.begin(at(0)).unwrap();
            breaker.succeeded(permit);
        }
        assert_eq!(breaker.state(at(0)), BreakerState::Closed);
        let breaker = opened(at(0));
        assert!(!breaker.permits(at(59)));
        assert_eq!(breaker.poll_timeout(), Some(at(60)));
    }

    #[test]
    fn half_open_permits_one_trial_at_a_time() {
        // The prototype's half-open was closed again: everything was let through at once.
        let mut breaker = opened(at(0));
        let trial = breaker.begin(at(60)).unwrap();
        assert_eq!(breaker.state(at(60)), BreakerState::HalfOpen);
        for _ in 0..10 {
            assert_eq!(breaker.begin(at(61)), None);
        }
        // One success is not enough, and still only one at a time.
        breaker.succeeded(trial);
        assert_eq!(breaker.state(at(62)), BreakerState::HalfOpen);
        let trial = breaker.begin(at(62)).unwrap();
        assert_eq!(breaker.begin(at(62)), None);
        breaker.succeeded(trial);
        assert_eq!(breaker.state(at(63)), BreakerState::Closed);
        assert!(breaker.begin(at(63)).is_some() && breaker.permits(at(63)));
    }

    #[test]
    fn one_failed_trial_opens_it_for_longer_up_to_the_cap() {
        let mut breaker = opened(at(0));
        let mut now = 60;
        for pause in [120, 240, 480, 960, 960, 960] {
            let trial = breaker.begin(at(now)).unwrap();
            breaker.failed(trial, at(now));
            assert_eq!(breaker.poll_timeout(), Some(at(now + pause)));
            assert!(!breaker.permits(at(now + pause - 1)));
            now += pause;
        }
        // Once it was closed, the first pause is the short one again.
        for _ in 0..2 {
            let trial = breaker.begin(at(now)).unwrap();
            breaker.succeeded(trial);
        }
        for _ in 0..5 {
            let permit = breaker.begin(at(now)).unwrap();
            breaker.failed(permit, at(now));
        }
        assert_eq!(breaker.poll_timeout(), Some(at(now + 60)));
    }

    #[test]
    fn what_was_begun_before_does_not_count() {
        let mut breaker = fresh();
        let crowd: Vec<_> = (0..20).map(|_| breaker.begin(at(0)).unwrap()).collect();
        for permit in &crowd[..5] {
            breaker.failed(*permit, at(1));
        }
        // Stragglers neither lengthen the pause nor end it.
        breaker.failed(crowd[5], at(30));
        breaker.succeeded(crowd[6]);
        assert_eq!(breaker.poll_timeout(), Some(at(61)));
        let trial = breaker.begin(at(61)).unwrap();
        breaker.failed(crowd[7], at(62));
        breaker.abandoned(crowd[8]);
        assert_eq!(breaker.begin(at(62)), None);
        breaker.succeeded(trial);
        // Nor is an outcome counted twice.
        breaker.succeeded(trial);
        breaker.succeeded(trial);
        let trial = breaker.begin(at(63)).unwrap();
        breaker.succeeded(trial);
        for permit in &crowd {
            breaker.failed(*permit, at(64));
        }
        assert_eq!(breaker.state(at(64)), BreakerState::Closed);
    }

    #[test]
    fn an_abandoned_trial_makes_room_for_another() {
        let mut breaker = opened(at(0));
        let trial = breaker.begin(at(60)).unwrap();
        breaker.abandoned(trial);
        assert_eq!(breaker.state(at(60)), BreakerState::HalfOpen);
        assert!(breaker.begin(at(60)).is_some());
        assert_eq!(breaker.begin(at(60)), None);
    }

    #[test]
    fn senseless_configurations_are_refused() {
        let sound = BreakerConfig::default();
        let refused = |config| Breaker::new(config).unwrap_err();
        assert_eq!(
            refused(BreakerConfig {
                failures: 0,
                ..sound
            }),
            BreakerConfigError::NoFailures
        );
        assert_eq!(
            refused(BreakerConfig {
                successes: 0,
                ..sound
            }),
            BreakerConfigError::NoSuccesses
        );
        assert_eq!(
            refused(BreakerConfig {
                pause: Duration::ZERO,
                ..sound
            }),
            BreakerConfigError::NoPause
        );
        let max = Duration::from_secs(1);
        assert_eq!(
            refused(BreakerConfig {
                pause_max: max,
                ..sound
            }),
            BreakerConfigError::Pause {
                first: sound.pause,
                max
            }
        );
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Begin,
        Succeed(prop::sample::Index),
        Fail(prop::sample::Index),
        Abandon(prop::sample::Index),
        Wait(u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            3 => Just(Step::Begin),
            2 => index().prop_map(Step::Succeed),
            3 => index().prop_map(Step::Fail),
            1 => index().prop_map(Step::Abandon),
            1 => (0..200_u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Whatever happens: what begins was permitted, an open breaker permits nothing, and of
        /// what a half-open breaker let through no two run at once.
        #[test]
        fn it_keeps_its_promises(steps in proptest::collection::vec(any_step(), 0..300)) {
            let mut breaker = fresh();
            let mut now = at(0);
            let mut out: Vec<(Permit, bool)> = Vec::new();
            for step in steps {
                match step {
                    Step::Begin => {
                        let state = breaker.state(now);
                        let permitted = breaker.permits(now);
                        let trials = out.iter().filter(|(_, trial)| *trial).count();
                        let begun = breaker.begin(now);
                        prop_assert_eq!(begun.is_some(), permitted);
                        match state {
                            BreakerState::Closed => prop_assert!(permitted),
                            BreakerState::Open => prop_assert!(!permitted),
                            BreakerState::HalfOpen => prop_assert_eq!(permitted, trials == 0),
                        }
                        out.extend(begun.map(|permit| (permit, state == BreakerState::HalfOpen)));
                    }
                    Step::Wait(seconds) => now = now + Duration::from_secs(seconds),
                    Step::Succeed(index) | Step::Fail(index) | Step::Abandon(index) => {
                        if out.is_empty() {
                            continue;
                        }
                        let (permit, _) = out.swap_remove(index.index(out.len()));
                        match step {
                            Step::Succeed(_) => breaker.succeeded(permit),
                            Step::Fail(_) => breaker.failed(permit, now),
                            _ => breaker.abandoned(permit),
                        }
                    }
                }
                if let Some(until) = breaker.poll_timeout() {
                    prop_assert!(breaker.permits(until));
                }
            }
        }
    }
}
