//! The machine that lends a device's compute over time.

use std::fmt;
use std::time::Duration;

use fogcompute_base::{Instant, UnixMillis};
use serde::Serialize;

use crate::record::millis;
use crate::{
    Budget, DeviceState, Effect, HarvestPolicy, HarvestRecord, PolicyError, Reason, SessionRecord,
    Stance, Verdict,
};

/// What a device is doing for others.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HarvestState {
    /// Nothing, and nothing is left of an earlier session.
    Idle,
    /// It lends as much as the policy permits.
    Running,
    /// It lends less than that.
    Throttled,
    /// Tasks stand still and keep their memory.
    Suspended,
    /// Tasks write a checkpoint and leave.
    Vacating,
    /// The device rests after a session.
    Cooldown,
}

impl fmt::Display for HarvestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Throttled => "throttled",
            Self::Suspended => "suspended",
            Self::Vacating => "vacating",
            Self::Cooldown => "cooldown",
        })
    }
}

/// What may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Work within this budget, the most that the policy permits.
    Allow(Budget),
    /// Work within this smaller budget.
    Throttle(Budget),
    /// Keep what there is, and let it stand still.
    Suspend,
    /// Have nothing running.
    Stop,
}

impl Action {
    /// How much may be used; all zero unless work may be done.
    #[must_use]
    pub fn budget(&self) -> Budget {
        match self {
            Self::Allow(budget) | Self::Throttle(budget) => *budget,
            Self::Suspend | Self::Stop => Budget::default(),
        }
    }
}

/// What a harvester answers to a reading.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// What the device is doing.
    pub state: HarvestState,
    /// What may be done now.
    pub action: Action,
    /// Everything that contributed, in no order of weight; see [`Reason::effect`].
    pub reasons: Vec<Reason>,
}

/// What running tasks have to do. Each command says what should be from now on, so whoever comes
/// late needs only the last one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Run within this budget: begin, go on, go faster or slower.
    Run(Budget),
    /// Stand still; memory may be kept.
    Suspend,
    /// Write a checkpoint and leave. Tell [`Harvester::handle_vacated`] when the last has.
    Checkpoint {
        /// Until when.
        by: Instant,
    },
    /// End now, without a checkpoint.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Idle,
    Lending {
        throttled: bool,
        /// The budget of the last command.
        told: Budget,
    },
    Suspended {
        since: Instant,
        /// Since when nothing speaks against going on.
        well_since: Option<Instant>,
    },
    Vacating {
        by: Instant,
        reason: Reason,
    },
    Cooldown {
        until: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Session {
    began: Instant,
    /// What of it was before this process.
    before: Duration,
    lent: Duration,
}

/// Lends the compute of one device under a policy: sessions with a longest length, rest between
/// them, suspension that turns into a checkpoint and then into an end, and a quota of bytes a day.
///
/// ```text
///            may begin                  refused
///   Idle ───────────────▶ Running ◀───────────────▶ Suspended
///    ▲                    Throttled   resume_delay    │
///    │ cooldown               │                       │ suspend_max
///    │                        │ session_max, bytes    ▼
///   Cooldown ◀────────────────┴───────────────▶  Vacating
///                 handle_vacated, or vacate_max and Kill
/// ```
///
/// Give it each reading ([`handle_reading`](Self::handle_reading)), call it again at
/// [`poll_timeout`](Self::poll_timeout), and carry out what [`poll_command`](Self::poll_command)
/// says. A probe that falls silent suspends: its last reading grows old. With
/// [`record`](Self::record) a restart forgets neither rest nor quota nor the session.
///
/// With a policy that is not enforced nothing is suspended, and sessions and quotas have no end.
///
/// ```
/// use std::time::Duration;
/// use fogcompute_base::{Instant, UnixMillis};
/// use fogcompute_harvest::{Battery, Command, DeviceClass, DeviceState, HarvestPolicy, HarvestState};
/// use fogcompute_harvest::{Harvester, Network};
///
/// let now = Instant::from_millis(1_000);
/// let policy = HarvestPolicy { window: None, ..HarvestPolicy::default() };
/// let mut harvester = Harvester::new(policy, now, UnixMillis(1_700_000_000_000))?;
/// let server = DeviceState {
///     cpu_load: Some(0.1),
///     memory_available_bytes: Some(48 << 30),
///     battery: Battery::Absent,
///     network: Network::Ethernet,
///     metered: Some(false),
///     ..DeviceState::unknown(DeviceClass::Server, now)
/// };
/// assert_eq!(harvester.handle_reading(&server, now).state, HarvestState::Running);
/// assert!(matches!(harvester.poll_command(), Some(Command::Run(_))));
///
/// let now = now + Duration::from_secs(1);
/// let busy = DeviceState { cpu_load: Some(0.9), read_at: now, ..server };
/// assert_eq!(harvester.handle_reading(&busy, now).state, HarvestState::Suspended);
/// assert_eq!(harvester.poll_command(), Some(Command::Suspend));
/// # Ok::<(), fogcompute_harvest::PolicyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Harvester {
    policy: HarvestPolicy,
    phase: Phase,
    session: Option<Session>,
    last: Option<DeviceState>,
    command: Option<Command>,
    /// Monotonic and wall time of the start, by which one is told from the other.
    started: (Instant, UnixMillis),
    accounted: Instant,
    local_day: Option<u32>,
    bytes_today: u64,
    lent_today: Duration,
    sessions: u64,
    suspensions: u64,
    lent: Duration,
    watched: Duration,
    bytes: u64,
}

impl Harvester {
    /// One that has never lent anything. `now` and `unix_now` are the same moment on two clocks.
    ///
    /// # Errors
    /// [`PolicyError`]: the policy contradicts itself.
    pub fn new(
        policy: HarvestPolicy,
        now: Instant,
        unix_now: UnixMillis,
    ) -> Result<Self, PolicyError> {
        let record = HarvestRecord {
            written_at: unix_now,
            ..HarvestRecord::default()
        };
        Self::restore(policy, &record, now, unix_now)
    }

    /// One that goes on where a record ends.
    ///
    /// The time in between counts: rest goes on, and so does a session unless the device has rested
    /// for as long as a cooldown. Tasks do not survive a process, so nothing runs until a reading
    /// permits it. If the wall clock was set back, no time has passed.
    ///
    /// # Errors
    /// [`PolicyError`]: the policy contradicts itself.
    pub fn restore(
        policy: HarvestPolicy,
        record: &HarvestRecord,
        now: Instant,
        unix_now: UnixMillis,
    ) -> Result<Self, PolicyError> {
        policy.validate()?;
        let unix_now = unix_now.max(record.written_at);
        let since =
            |earlier: UnixMillis| Duration::from_millis(unix_now.0.saturating_sub(earlier.0));
        let rested = since(record.written_at) >= policy.cooldown;
        let session = record.session.filter(|_| !rested).map(|session| Session {
            began: now,
            before: since(session.began_at),
            lent: session.lent,
        });
        let rest = record
            .cooldown_until
            .map(|until| Duration::from_millis(until.0.saturating_sub(unix_now.0)))
            // A record from the future, or of a longer cooldown, holds nobody up for longer.
            .map(|left| left.min(policy.cooldown))
            .filter(|left| !left.is_zero());
        Ok(Self {
            phase: rest.map_or(Phase::Idle, |left| Phase::Cooldown { until: now + left }),
            session: session.filter(|_| rest.is_none()),
            policy,
            last: None,
            command: None,
            started: (now, unix_now),
            accounted: now,
            local_day: record.local_day,
            bytes_today: record.bytes_today,
            lent_today: record.lent_today,
            sessions: record.sessions,
            suspensions: record.suspensions,
            lent: record.lent,
            watched: record.watched,
            bytes: record.bytes,
        })
    }

    /// What a restart must not forget. Store it every minute or so, and at each change of state.
    #[must_use]
    pub fn record(&self, now: Instant) -> HarvestRecord {
        let wall = |instant: Instant| self.wall(instant);
        HarvestRecord {
            written_at: wall(now),
            session: self.session.map(|session| SessionRecord {
                began_at: UnixMillis(wall(session.began).0.saturating_sub(millis(session.before))),
                lent: session.lent,
            }),
            cooldown_until: match self.phase {
                Phase::Cooldown { until } => Some(wall(until)),
                _ => None,
            },
            local_day: self.local_day,
            bytes_today: self.bytes_today,
            lent_today: self.lent_today,
            sessions: self.sessions,
            suspensions: self.suspensions,
            lent: self.lent,
            watched: self.watched,
            bytes: self.bytes,
        }
    }

    /// Takes a reading and answers at once.
    pub fn handle_reading(&mut self, state: &DeviceState, now: Instant) -> Answer {
        self.account(now);
        // A date that goes back, as it does at a border or for somebody who sets the clock, must
        // not give a second quota.
        if let Some(day) = state.local_day
            && self.local_day.is_none_or(|last| day > last)
        {
            self.local_day = Some(day);
            self.bytes_today = 0;
            self.lent_today = Duration::ZERO;
        }
        match &mut self.last {
            Some(last) => last.clone_from(state),
            None => self.last = Some(state.clone()),
        }
        self.evaluate(now)
    }

    /// Answers again, because time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Answer {
        self.account(now);
        self.evaluate(now)
    }

    /// Counts bytes that tasks sent and received since the last call.
    pub fn handle_bytes(&mut self, bytes: u64, now: Instant) -> Answer {
        self.account(now);
        self.bytes = self.bytes.saturating_add(bytes);
        self.bytes_today = self.bytes_today.saturating_add(bytes);
        self.evaluate(now)
    }

    /// Hears that the last task has left. Without effect unless the device is vacating.
    pub fn handle_vacated(&mut self, now: Instant) -> Answer {
        self.account(now);
        if matches!(self.phase, Phase::Vacating { .. }) {
            self.rest(now);
        }
        self.evaluate(now)
    }

    /// Goes on under another policy, and answers by it at once.
    ///
    /// # Errors
    /// [`PolicyError`]: the new policy contradicts itself; the old one stays.
    pub fn set_policy(
        &mut self,
        policy: HarvestPolicy,
        now: Instant,
    ) -> Result<Answer, PolicyError> {
        policy.validate()?;
        self.account(now);
        self.policy = policy;
        Ok(self.evaluate(now))
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) if no reading comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let enforced = self.policy.enforced;
        let session_end = self
            .session
            .filter(|_| enforced)
            .map(|session| session.began + self.policy.session_max.saturating_sub(session.before));
        match self.phase {
            Phase::Idle => None,
            Phase::Lending { .. } => {
                // Just after the last moment at which the reading is accepted.
                let stale = self.last.as_ref().filter(|_| enforced).map(|state| {
                    state.read_at + self.policy.reading_age_max + Duration::from_nanos(1)
                });
                session_end.into_iter().chain(stale).min()
            }
            Phase::Suspended { since, well_since } => {
                let next = match well_since {
                    Some(well_since) => well_since + self.policy.resume_delay,
                    None => since + self.policy.suspend_max,
                };
                session_end.into_iter().chain([next]).min()
            }
            Phase::Vacating { by, .. } => Some(by),
            Phase::Cooldown { until } => Some(until),
        }
    }

    /// What tasks have to do, once.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.command.take()
    }

    /// What the device is doing.
    #[must_use]
    pub fn state(&self) -> HarvestState {
        match self.phase {
            Phase::Idle => HarvestState::Idle,
            Phase::Lending {
                throttled: false, ..
            } => HarvestState::Running,
            Phase::Lending {
                throttled: true, ..
            } => HarvestState::Throttled,
            Phase::Suspended { .. } => HarvestState::Suspended,
            Phase::Vacating { .. } => HarvestState::Vacating,
            Phase::Cooldown { .. } => HarvestState::Cooldown,
        }
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &HarvestPolicy {
        &self.policy
    }

    /// Bytes that may still be moved today, if the policy has a quota.
    #[must_use]
    pub fn bytes_left_today(&self) -> Option<u64> {
        let bytes_max = self.policy.bytes_per_day_max?;
        Some(bytes_max.saturating_sub(self.bytes_today))
    }

    fn wall(&self, instant: Instant) -> UnixMillis {
        let (started, unix) = self.started;
        let after = millis(instant.duration_since(started));
        let before = millis(started.duration_since(instant));
        UnixMillis(unix.0.saturating_add(after).saturating_sub(before))
    }

    fn account(&mut self, now: Instant) {
        let passed = now.duration_since(self.accounted);
        self.accounted = self.accounted.max(now);
        self.watched = self.watched.saturating_add(passed);
        if matches!(self.phase, Phase::Lending { .. }) {
            self.lent = self.lent.saturating_add(passed);
            self.lent_today = self.lent_today.saturating_add(passed);
            if let Some(session) = &mut self.session {
                session.lent = session.lent.saturating_add(passed);
            }
        }
    }

    /// Goes through as many phases as this moment asks for.
    fn evaluate(&mut self, now: Instant) -> Answer {
        if let Phase::Vacating { by, reason } = self.phase {
            if now < by {
                return self.answer(Action::Stop, vec![reason]);
            }
            self.command = Some(Command::Kill);
            self.rest(now);
        }
        if let Phase::Cooldown { until } = self.phase {
            if self.policy.enforced && now < until {
                let left = until.duration_since(now);
                let (_, mut reasons) = self.decide(Stance::Begin, now);
                reasons.insert(0, Reason::CoolingDown { left });
                return self.answer(Action::Stop, reasons);
            }
            self.phase = Phase::Idle;
        }
        if let Some(reason) = self.exhausted(now) {
            return self.end(reason, now);
        }
        match self.phase {
            Phase::Lending { throttled, told } => {
                let stance = if throttled {
                    Stance::ContinueThrottled
                } else {
                    Stance::Continue
                };
                let (lent, reasons) = self.decide(stance, now);
                match lent {
                    Some(action) => {
                        self.lend(action, Some(told));
                        self.answer(action, reasons)
                    }
                    None => {
                        self.phase = Phase::Suspended {
                            since: now,
                            well_since: None,
                        };
                        self.suspensions = self.suspensions.saturating_add(1);
                        self.command = Some(Command::Suspend);
                        self.answer(Action::Suspend, reasons)
                    }
                }
            }
            Phase::Suspended { since, well_since } => {
                self.evaluate_suspended(since, well_since, now)
            }
            // What is vacating or resting has been dealt with above.
            Phase::Idle | Phase::Vacating { .. } | Phase::Cooldown { .. } => {
                let (lent, reasons) = self.decide(Stance::Begin, now);
                let Some(action) = lent else {
                    return self.answer(Action::Stop, reasons);
                };
                if self.session.is_none() {
                    self.sessions = self.sessions.saturating_add(1);
                    self.session = Some(Session {
                        began: now,
                        before: Duration::ZERO,
                        lent: Duration::ZERO,
                    });
                }
                self.lend(action, None);
                self.answer(action, reasons)
            }
        }
    }

    fn evaluate_suspended(
        &mut self,
        since: Instant,
        well_since: Option<Instant>,
        now: Instant,
    ) -> Answer {
        let (lent, mut reasons) = self.decide(Stance::Resume, now);
        let Some(action) = lent else {
            let suspend_max = self.policy.suspend_max;
            if now.duration_since(since) >= suspend_max {
                return self.end(Reason::SuspendedTooLong { suspend_max }, now);
            }
            self.phase = Phase::Suspended {
                since,
                well_since: None,
            };
            return self.answer(Action::Suspend, reasons);
        };
        let well_since = well_since.unwrap_or(now);
        let left = self
            .policy
            .resume_delay
            .saturating_sub(now.duration_since(well_since));
        if left.is_zero() {
            self.lend(action, None);
            return self.answer(action, reasons);
        }
        self.phase = Phase::Suspended {
            since,
            well_since: Some(well_since),
        };
        reasons.insert(0, Reason::Settling { left });
        self.answer(Action::Suspend, reasons)
    }

    /// What the policy says of the last reading: a budget, or none.
    fn decide(&self, stance: Stance, now: Instant) -> (Option<Action>, Vec<Reason>) {
        let Some(state) = &self.last else {
            return (None, vec![Reason::NotRead]);
        };
        let decision = self.policy.decide_for(state, stance, now);
        let action = match decision.verdict {
            Verdict::Allow => Some(Action::Allow(decision.budget)),
            Verdict::Throttle => Some(Action::Throttle(decision.budget)),
            Verdict::Refuse => None,
        };
        (action, decision.reasons)
    }

    /// What ends a session, or keeps one from beginning, whatever the readings are.
    fn exhausted(&self, now: Instant) -> Option<Reason> {
        if !self.policy.enforced {
            return None;
        }
        let session_max = self.policy.session_max;
        let over = self.session.is_some_and(|session| {
            session
                .before
                .saturating_add(now.duration_since(session.began))
                >= session_max
        });
        if over {
            return Some(Reason::SessionOver { session_max });
        }
        let bytes_max = self.policy.bytes_per_day_max?;
        (self.bytes_today >= bytes_max).then_some(Reason::BytesSpent {
            bytes: self.bytes_today,
            bytes_max,
        })
    }

    /// Ends what there is of a session.
    fn end(&mut self, reason: Reason, now: Instant) -> Answer {
        match self.phase {
            Phase::Lending { .. } | Phase::Suspended { .. } => {
                let by = now + self.policy.vacate_max;
                self.phase = Phase::Vacating { by, reason };
                self.command = Some(Command::Checkpoint { by });
                self.answer(Action::Stop, vec![reason])
            }
            Phase::Idle | Phase::Vacating { .. } | Phase::Cooldown { .. } => {
                // Nothing runs: a session from before a restart ends without ceremony.
                if self.session.is_some() {
                    self.rest(now);
                }
                let (_, mut reasons) = self.decide(Stance::Begin, now);
                reasons.insert(0, reason);
                self.answer(Action::Stop, reasons)
            }
        }
    }

    fn rest(&mut self, now: Instant) {
        self.session = None;
        self.phase = Phase::Cooldown {
            until: now + self.policy.cooldown,
        };
    }

    fn lend(&mut self, action: Action, told: Option<Budget>) {
        let budget = action.budget();
        let told = match told {
            // A command that was not fetched yet is replaced by the better one.
            Some(told) if !differs(&told, &budget) && self.command.is_none() => told,
            _ => {
                self.command = Some(Command::Run(budget));
                budget
            }
        };
        self.phase = Phase::Lending {
            throttled: matches!(action, Action::Throttle(_)),
            told,
        };
    }

    fn answer(&self, action: Action, reasons: Vec<Reason>) -> Answer {
        debug_assert!(
            !self.policy.enforced
                || action.budget() == Budget::default()
                || reasons
                    .iter()
                    .all(|reason| reason.effect() < Effect::Refuse),
            "nothing is lent against a reason that refuses"
        );
        Answer {
            state: self.state(),
            action,
            reasons,
        }
    }
}

/// Whether tasks have to hear of a new budget. Available memory is never twice the same; a change
/// of less than a sixty-fourth is not worth a command.
fn differs(told: &Budget, now: &Budget) -> bool {
    let apart = |told: f64, now: f64| (told - now).abs() > told.max(now) / 64.0;
    apart(told.cpu_share, now.cpu_share)
        || apart(told.memory_bytes as f64, now.memory_bytes as f64)
        || apart(
            told.bandwidth_bits_per_second as f64,
            now.bandwidth_bits_per_second as f64,
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Battery, DeviceClass, Network};

    const START: Instant = Instant::from_millis(1_000_000);
    const WALL: UnixMillis = UnixMillis(1_700_000_000_000);

    /// A harvester and the phone it lends, on a clock of their own.
    struct Scene {
        harvester: Harvester,
        state: DeviceState,
        now: Instant,
    }

    impl Scene {
        fn new(change: impl FnOnce(&mut HarvestPolicy)) -> Self {
            let mut policy = HarvestPolicy::default();
            change(&mut policy);
            Self {
                harvester: Harvester::new(policy, START, WALL).unwrap(),
                state: DeviceState {
                    cpu_cores: Some(8),
                    cpu_load: Some(0.1),
                    memory_total_bytes: Some(8_000_000_000),
                    memory_available_bytes: Some(3_000_000_000),
                    battery: Battery::Present {
                        level_percent: 90.0,
                        charging: true,
                    },
                    battery_temperature_celsius: Some(30.0),
                    temperature_celsius: Some(35.0),
                    network: Network::Wifi,
                    metered: Some(false),
                    screen_on: Some(false),
                    user_idle: Some(Duration::from_secs(3_600)),
                    minute_of_day: Some(3 * 60),
                    local_day: Some(20_778),
                    ..DeviceState::unknown(DeviceClass::Phone, START)
                },
                now: START,
            }
        }

        fn after(&mut self, seconds: u64) -> &mut Self {
            self.now = self.now + Duration::from_secs(seconds);
            self
        }

        fn read(&mut self) -> Answer {
            self.state.read_at = self.now;
            self.harvester.handle_reading(&self.state, self.now)
        }

        fn charger(&mut self, charging: bool) -> &mut Self {
            if let Battery::Present { charging: here, .. } = &mut self.state.battery {
                *here = charging;
            }
            self
        }

        fn command(&mut self) -> Option<Command> {
            self.harvester.poll_command()
        }

        /// Restarts the process after so many seconds of wall time; its monotonic clock begins anew.
        fn restart(&mut self, seconds: u64) {
            let record = self.harvester.record(self.now);
            let record = HarvestRecord::decode(&record.encode()).unwrap();
            let wall = UnixMillis(record.written_at.0 + seconds * 1_000);
            let policy = self.harvester.policy().clone();
            self.now = Instant::from_millis(7);
            self.harvester = Harvester::restore(policy, &record, self.now, wall).unwrap();
        }
    }

    fn codes(answer: &Answer) -> Vec<&'static str> {
        answer.reasons.iter().map(Reason::code).collect()
    }

    #[test]
    fn a_charger_that_is_pulled_suspends_at_once_and_resumes_after_a_while() {
        let mut scene = Scene::new(|_| {});
        assert_eq!(scene.read().state, HarvestState::Running);
        assert!(matches!(scene.command(), Some(Command::Run(_))));
        assert_eq!(scene.after(1).read().state, HarvestState::Running);
        assert_eq!(scene.command(), None);

        let answer = scene.after(1).charger(false).read();
        assert_eq!(answer.state, HarvestState::Suspended);
        assert_eq!(answer.action, Action::Suspend);
        assert_eq!(codes(&answer), ["not_charging"]);
        assert_eq!(scene.command(), Some(Command::Suspend));

        let answer = scene.after(5).charger(true).read();
        assert_eq!(answer.action, Action::Suspend);
        assert_eq!(
            answer.reasons,
            [Reason::Settling {
                left: Duration::from_secs(10)
            }]
        );
        assert_eq!(scene.after(9).read().state, HarvestState::Suspended);
        let answer = scene.after(1).read();
        assert_eq!(answer.state, HarvestState::Running);
        assert!(matches!(scene.command(), Some(Command::Run(_))));
        assert_eq!(scene.harvester.record(scene.now).suspensions, 1);
    }

    #[test]
    fn a_loose_contact_does_not_resume() {
        let mut scene = Scene::new(|_| {});
        scene.read();
        for _ in 0..20 {
            scene.after(1).charger(false).read();
            assert_eq!(
                scene.after(5).charger(true).read().state,
                HarvestState::Suspended
            );
        }
    }

    #[test]
    fn a_long_suspension_becomes_a_checkpoint_and_then_an_end() {
        let mut scene = Scene::new(|_| {});
        scene.read();
        scene.after(1).charger(false).read();
        assert_eq!(scene.command(), Some(Command::Suspend));
        for _ in 0..59 {
            assert_eq!(scene.after(10).read().state, HarvestState::Suspended);
        }
        let answer = scene.after(10).read();
        assert_eq!(answer.state, HarvestState::Vacating);
        assert_eq!(answer.action, Action::Stop);
        assert_eq!(codes(&answer), ["suspended_too_long"]);
        let by = scene.now + Duration::from_secs(60);
        assert_eq!(scene.command(), Some(Command::Checkpoint { by }));
        assert_eq!(scene.harvester.poll_timeout(), Some(by));

        assert_eq!(scene.after(59).read().state, HarvestState::Vacating);
        assert_eq!(scene.command(), None);
        let answer = scene.after(1).read();
        assert_eq!(answer.state, HarvestState::Cooldown);
        assert_eq!(scene.command(), Some(Command::Kill));
        assert_eq!(codes(&answer), ["cooling_down", "not_charging"]);
    }

    #[test]
    fn tasks_that_have_left_in_time_are_not_killed() {
        let mut scene = Scene::new(|policy| policy.suspend_max = Duration::from_secs(5));
        scene.read();
        scene.after(1).charger(false).read();
        scene.after(5).read();
        assert!(matches!(scene.command(), Some(Command::Checkpoint { .. })));
        let now = scene.after(2).now;
        assert_eq!(
            scene.harvester.handle_vacated(now).state,
            HarvestState::Cooldown
        );
        assert_eq!(scene.command(), None);
        // Half an hour later, the charger is back.
        scene.charger(true);
        assert_eq!(scene.after(1_799).read().state, HarvestState::Cooldown);
        assert_eq!(scene.after(1).read().state, HarvestState::Running);
        assert_eq!(scene.harvester.record(scene.now).sessions, 2);
        // Hearing it again changes nothing.
        let now = scene.now;
        assert_eq!(
            scene.harvester.handle_vacated(now).state,
            HarvestState::Running
        );
    }

    #[test]
    fn a_session_ends_after_eight_hours_and_rests_for_half_an_hour() {
        let mut scene = Scene::new(|policy| policy.window = None);
        scene.read();
        scene.after(8 * 3_600 - 1);
        assert_eq!(scene.read().state, HarvestState::Running);
        let answer = scene.after(1).read();
        assert_eq!(answer.state, HarvestState::Vacating);
        assert_eq!(
            answer.reasons,
            [Reason::SessionOver {
                session_max: Duration::from_secs(8 * 3_600)
            }]
        );
        let now = scene.now;
        scene.harvester.handle_vacated(now);
        assert_eq!(scene.after(1_799).read().state, HarvestState::Cooldown);
        assert_eq!(scene.after(1).read().state, HarvestState::Running);
        let record = scene.harvester.record(scene.now);
        assert_eq!((record.sessions, record.suspensions), (2, 0));
        assert_eq!(record.lent, Duration::from_secs(8 * 3_600));
        assert_eq!(record.watched, Duration::from_secs(8 * 3_600 + 1_800));
    }

    #[test]
    fn a_user_who_touches_the_device_costs_a_minute_and_not_five() {
        let mut scene = Scene::new(|_| {});
        let idle = |seconds| Some(Duration::from_secs(seconds));
        scene.state.user_idle = idle(299);
        assert_eq!(scene.read().state, HarvestState::Idle);
        scene.state.user_idle = idle(300);
        assert_eq!(scene.after(1).read().state, HarvestState::Running);
        scene.state.user_idle = idle(0);
        let answer = scene.after(1).read();
        assert_eq!(answer.state, HarvestState::Suspended);
        assert_eq!(codes(&answer), ["user_active"]);
        scene.state.user_idle = idle(60);
        scene.after(60).read();
        scene.state.user_idle = idle(70);
        assert_eq!(scene.after(10).read().state, HarvestState::Running);
    }

    #[test]
    fn the_owners_load_suspends_above_one_limit_and_resumes_below_a_lower_one() {
        let mut scene = Scene::new(|policy| policy.resume_delay = Duration::ZERO);
        scene.state.cpu_load = Some(0.31);
        assert_eq!(codes(&scene.read()), ["owner_busy"]);
        scene.state.cpu_load = Some(0.3);
        assert_eq!(scene.after(1).read().state, HarvestState::Running);
        for (load, state) in [
            (0.5, HarvestState::Running),
            (0.51, HarvestState::Suspended),
            (0.5, HarvestState::Suspended),
            (0.31, HarvestState::Suspended),
            (0.3, HarvestState::Running),
            (0.5, HarvestState::Running),
        ] {
            scene.state.cpu_load = Some(load);
            assert_eq!(scene.after(1).read().state, state, "{load}");
        }
    }

    #[test]
    fn heat_slows_suspends_and_lets_go_with_a_margin() {
        let mut scene = Scene::new(|policy| policy.resume_delay = Duration::ZERO);
        for (celsius, state) in [
            (54.9, HarvestState::Running),
            (55.0, HarvestState::Throttled),
            (54.9, HarvestState::Throttled),
            (50.0, HarvestState::Throttled),
            (49.9, HarvestState::Running),
            (64.9, HarvestState::Throttled),
            (65.0, HarvestState::Suspended),
            (64.9, HarvestState::Suspended),
            (60.0, HarvestState::Suspended),
            (59.9, HarvestState::Throttled),
            (49.9, HarvestState::Running),
        ] {
            scene.state.temperature_celsius = Some(celsius);
            assert_eq!(scene.after(1).read().state, state, "{celsius}");
        }
        for (celsius, state) in [
            (44.9, HarvestState::Running),
            (45.0, HarvestState::Suspended),
            (40.0, HarvestState::Suspended),
            (39.9, HarvestState::Running),
        ] {
            scene.state.battery_temperature_celsius = Some(celsius);
            assert_eq!(scene.after(1).read().state, state, "battery {celsius}");
        }
    }

    #[test]
    fn a_probe_that_falls_silent_suspends() {
        let mut scene = Scene::new(|_| {});
        scene.read();
        let deadline = scene.harvester.poll_timeout().unwrap();
        assert_eq!(
            deadline.duration_since(scene.now),
            Duration::from_secs(30) + Duration::from_nanos(1)
        );
        let answer = scene
            .harvester
            .handle_timeout(deadline - Duration::from_nanos(1));
        assert_eq!(answer.state, HarvestState::Running);
        let answer = scene.harvester.handle_timeout(deadline);
        assert_eq!(answer.state, HarvestState::Suspended);
        assert_eq!(codes(&answer), ["reading_stale"]);
    }

    #[test]
    fn without_a_reading_nothing_is_lent() {
        let mut scene = Scene::new(|_| {});
        let answer = scene.harvester.handle_timeout(START);
        assert_eq!(answer.action, Action::Stop);
        assert_eq!(answer.reasons, [Reason::NotRead]);
        assert_eq!(scene.harvester.poll_timeout(), None);
    }

    #[test]
    fn bytes_of_a_day_are_counted_and_forgotten_with_the_day() {
        let mut scene = Scene::new(|policy| {
            policy.bytes_per_day_max = Some(1_000);
            policy.cooldown = Duration::ZERO;
        });
        scene.read();
        let now = scene.now;
        let answer = scene.harvester.handle_bytes(999, now);
        assert_eq!(answer.state, HarvestState::Running);
        assert_eq!(scene.harvester.bytes_left_today(), Some(1));
        let answer = scene.harvester.handle_bytes(1, now);
        assert_eq!(answer.state, HarvestState::Vacating);
        assert_eq!(
            answer.reasons,
            [Reason::BytesSpent {
                bytes: 1_000,
                bytes_max: 1_000
            }]
        );
        scene.harvester.handle_vacated(now);
        let answer = scene.after(1).read();
        assert_eq!(answer.action, Action::Stop);
        assert_eq!(codes(&answer), ["bytes_spent"]);
        // A clock that is set back gives no second quota.
        scene.state.local_day = Some(20_777);
        assert_eq!(scene.after(1).read().action, Action::Stop);
        scene.state.local_day = Some(20_779);
        assert_eq!(scene.after(1).read().state, HarvestState::Running);
        assert_eq!(scene.harvester.bytes_left_today(), Some(1_000));
        assert_eq!(scene.harvester.record(scene.now).bytes, 1_000);
    }

    #[test]
    fn a_restart_goes_on_with_rest_quota_and_session() {
        let mut scene = Scene::new(|policy| {
            policy.window = None;
            policy.bytes_per_day_max = Some(1_000);
        });
        scene.read();
        scene.after(7 * 3_600).read();
        let now = scene.now;
        scene.harvester.handle_bytes(600, now);
        scene.restart(60);
        assert_eq!(scene.harvester.state(), HarvestState::Idle);
        assert_eq!(scene.read().state, HarvestState::Running);
        assert_eq!(scene.harvester.bytes_left_today(), Some(400));
        // Seven hours and a minute are over.
        assert_eq!(scene.after(3_539).read().state, HarvestState::Running);
        assert_eq!(scene.after(1).read().state, HarvestState::Vacating);
        let now = scene.now;
        scene.harvester.handle_vacated(now);
        assert_eq!(scene.harvester.record(now).sessions, 1);

        scene.restart(600);
        let answer = scene.read();
        assert_eq!(answer.state, HarvestState::Cooldown);
        assert_eq!(
            answer.reasons[0],
            Reason::CoolingDown {
                left: Duration::from_secs(1_200)
            }
        );
        assert_eq!(scene.after(1_200).read().state, HarvestState::Running);
    }

    #[test]
    fn a_restart_after_a_rest_begins_a_new_session() {
        let mut scene = Scene::new(|policy| policy.window = None);
        scene.read();
        scene.after(7 * 3_600).read();
        scene.restart(1_800);
        scene.read();
        scene.after(3_600);
        assert_eq!(scene.read().state, HarvestState::Running);
        assert_eq!(scene.harvester.record(scene.now).sessions, 2);
    }

    #[test]
    fn a_session_that_is_over_at_the_restart_rests_first() {
        let mut scene = Scene::new(|policy| {
            policy.window = None;
            policy.session_max = Duration::from_secs(100);
        });
        scene.read();
        scene.after(99).read();
        scene.restart(1);
        let answer = scene.read();
        assert_eq!(answer.action, Action::Stop);
        assert_eq!(codes(&answer), ["session_over"]);
        assert_eq!(scene.harvester.state(), HarvestState::Cooldown);
        assert_eq!(scene.command(), None);
    }

    #[test]
    fn a_clock_that_was_set_back_shortens_no_rest_and_prolongs_none() {
        let record = HarvestRecord {
            written_at: WALL,
            cooldown_until: Some(UnixMillis(WALL.0 + 60_000)),
            ..HarvestRecord::default()
        };
        let policy = HarvestPolicy::default();
        let restored = |record, wall| {
            Harvester::restore(policy.clone(), record, START, UnixMillis(wall))
                .unwrap()
                .poll_timeout()
        };
        let minute = Some(START + Duration::from_secs(60));
        assert_eq!(restored(&record, 0), minute);
        assert_eq!(restored(&record, WALL.0), minute);
        assert_eq!(restored(&record, WALL.0 + 60_000), None);
        let far = HarvestRecord {
            cooldown_until: Some(UnixMillis(u64::MAX)),
            ..record
        };
        assert_eq!(restored(&far, WALL.0), Some(START + policy.cooldown));
    }

    #[test]
    fn a_night_with_a_change_of_the_clocks_is_as_long_as_the_clocks_say() {
        // Europe/Berlin, 2026-03-29: 02:00 is 03:00. 2026-10-25: 03:00 is 02:00. The host converts
        // at each reading, here every half hour from 21:30 on.
        let night = |jump_at: u16, to: u16| {
            let mut scene = Scene::new(|policy| policy.session_max = Duration::from_secs(1 << 20));
            let mut minute = 21 * 60 + 30;
            let mut jumped = false;
            let mut lent = 0;
            for _ in 0..30 {
                scene.state.minute_of_day = Some(minute);
                if scene.after(1_800).read().state == HarvestState::Running {
                    lent += 1;
                }
                minute = (minute + 30) % (24 * 60);
                if minute == jump_at && !jumped {
                    jumped = true;
                    minute = to;
                }
            }
            lent
        };
        let never = 9_999;
        assert_eq!(night(never, never), 18);
        assert_eq!(night(2 * 60, 3 * 60), 16);
        assert_eq!(night(3 * 60, 2 * 60), 20);
    }

    #[test]
    fn small_changes_of_the_budget_are_not_worth_a_command() {
        let mut scene = Scene::new(|_| {});
        scene.state.memory_available_bytes = Some(1_000_000_000);
        scene.read();
        scene.command();
        scene.state.memory_available_bytes = Some(990_000_000);
        let answer = scene.after(1).read();
        assert_eq!(answer.action.budget().memory_bytes, 990_000_000);
        assert_eq!(scene.command(), None);
        // They add up.
        scene.state.memory_available_bytes = Some(980_000_000);
        scene.after(1).read();
        assert!(matches!(scene.command(), Some(Command::Run(_))));
    }

    #[test]
    fn a_command_that_nobody_fetched_is_replaced_by_the_newest() {
        let mut scene = Scene::new(|_| {});
        scene.read();
        scene.after(1).charger(false).read();
        assert_eq!(scene.command(), Some(Command::Suspend));
        assert_eq!(scene.command(), None);
    }

    #[test]
    fn a_policy_that_is_not_enforced_never_ends() {
        let mut scene = Scene::new(|policy| {
            policy.enforced = false;
            policy.bytes_per_day_max = Some(1);
        });
        scene.charger(false);
        scene.state.metered = None;
        assert_eq!(scene.read().state, HarvestState::Running);
        let now = scene.after(1_000_000).now;
        assert_eq!(
            scene.harvester.handle_bytes(5, now).state,
            HarvestState::Running
        );
        assert_eq!(scene.harvester.poll_timeout(), None);
    }

    #[test]
    fn another_policy_counts_at_once_and_one_that_makes_no_sense_not_at_all() {
        let mut scene = Scene::new(|_| {});
        scene.read();
        let now = scene.now;
        let strict = HarvestPolicy {
            battery_percent_min: 95.0,
            battery_percent_optimal: 95.0,
            ..HarvestPolicy::default()
        };
        let wrong = HarvestPolicy {
            battery_percent_optimal: 94.0,
            ..strict.clone()
        };
        assert!(matches!(
            scene.harvester.set_policy(wrong, now),
            Err(PolicyError::Reversed { .. })
        ));
        assert_eq!(scene.harvester.policy(), &HarvestPolicy::default());
        let answer = scene.harvester.set_policy(strict, now).unwrap();
        assert_eq!(answer.state, HarvestState::Suspended);
        assert_eq!(codes(&answer), ["battery_low"]);
    }

    #[test]
    fn a_policy_that_contradicts_itself_is_refused() {
        let policy = HarvestPolicy {
            celsius_critical: 1.0,
            ..HarvestPolicy::default()
        };
        assert!(matches!(
            Harvester::new(policy, START, WALL),
            Err(PolicyError::Reversed { .. })
        ));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Timeout,
        Charger(bool),
        Load(Option<f64>),
        Heat(Option<f64>),
        Idle(Option<u64>),
        Metered(Option<bool>),
        Bytes(u64),
        Vacated,
        Restart(u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u64..4_000).prop_map(Step::Wait),
            Just(Step::Timeout),
            Just(Step::Timeout),
            any::<bool>().prop_map(Step::Charger),
            proptest::option::weighted(0.9, 0.0..0.7).prop_map(Step::Load),
            proptest::option::weighted(0.9, 30.0..70.0).prop_map(Step::Heat),
            proptest::option::weighted(0.9, 0_u64..700).prop_map(Step::Idle),
            any::<Option<bool>>().prop_map(Step::Metered),
            (0_u64..600).prop_map(Step::Bytes),
            Just(Step::Vacated),
            (0_u64..4_000).prop_map(Step::Restart),
        ]
    }

    proptest! {
        #[test]
        fn rules_hold_on_every_walk(steps in proptest::collection::vec(any_step(), 1..60)) {
            let mut scene = Scene::new(|policy| policy.bytes_per_day_max = Some(5_000));
            let mut rest_until: Option<Instant> = None;
            for step in steps {
                let before = scene.harvester.state();
                let answer = match step {
                    Step::Wait(seconds) => scene.after(seconds).read(),
                    Step::Timeout => {
                        let Some(deadline) = scene.harvester.poll_timeout() else { continue };
                        scene.now = scene.now.max(deadline);
                        let now = scene.now;
                        let answer = scene.harvester.handle_timeout(now);
                        // Deadlines move on, so that a host that waits for them never spins.
                        prop_assert!(scene.harvester.poll_timeout().is_none_or(|next| next > now));
                        answer
                    }
                    Step::Charger(charging) => scene.charger(charging).read(),
                    Step::Load(load) => { scene.state.cpu_load = load; scene.read() }
                    Step::Heat(celsius) => { scene.state.temperature_celsius = celsius; scene.state.battery_temperature_celsius = None; scene.read() }
                    Step::Idle(seconds) => { scene.state.user_idle = seconds.map(Duration::from_secs); scene.read() }
                    Step::Metered(metered) => { scene.state.metered = metered; scene.read() }
                    Step::Bytes(bytes) => { let now = scene.now; scene.harvester.handle_bytes(bytes, now) }
                    Step::Vacated => { let now = scene.now; scene.harvester.handle_vacated(now) }
                    Step::Restart(seconds) => {
                        let left = rest_until.map(|until| until.duration_since(scene.now));
                        scene.restart(seconds);
                        rest_until = left.map(|left| {
                            scene.now + left.saturating_sub(Duration::from_secs(seconds))
                        });
                        scene.read()
                    }
                };
                prop_assert_eq!(answer.state, scene.harvester.state());
                // Rest is kept, across restarts too.
                if answer.state == HarvestState::Cooldown && rest_until.is_none() {
                    rest_until = Some(scene.now + scene.harvester.policy().cooldown);
                }
                if let Some(until) = rest_until && answer.state != HarvestState::Cooldown {
                    prop_assert!(until <= scene.now, "left its rest early");
                    rest_until = None;
                }
                // Nothing is lent on what is unknown, nor on anything that speaks against it.
                let lends = matches!(answer.action, Action::Allow(_) | Action::Throttle(_));
                let runs = matches!(answer.state, HarvestState::Running | HarvestState::Throttled);
                prop_assert_eq!(lends, runs);
                if lends {
                    prop_assert!(!answer.reasons.iter().any(Reason::is_objection));
                    prop_assert!(scene.state.cpu_load.is_some() && scene.state.user_idle.is_some());
                    prop_assert!(scene.state.metered == Some(false));
                    prop_assert!(scene.state.temperature_celsius.is_some_and(|c| c < 65.0));
                    prop_assert!(scene.harvester.bytes_left_today() > Some(0));
                    prop_assert!(answer.action.budget().cpu_share > 0.0);
                } else if answer.state != HarvestState::Vacating {
                    prop_assert!(answer.reasons.iter().any(Reason::is_objection));
                }
                // What begins was idle or resting; what is killed was asked to leave first.
                match scene.harvester.poll_command() {
                    Some(Command::Run(_)) => prop_assert!(runs),
                    Some(Command::Suspend) => prop_assert_eq!(answer.state, HarvestState::Suspended),
                    Some(Command::Checkpoint { .. }) => prop_assert_eq!(answer.state, HarvestState::Vacating),
                    Some(Command::Kill) => prop_assert_eq!(before, HarvestState::Vacating),
                    None => {}
                }
            }
        }
    }
}
