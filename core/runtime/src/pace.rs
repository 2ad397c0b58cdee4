//! Holds a task to what its control says: stop, halt, slow down; and to its time limit.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fogcompute_base::{Clock, Instant};
use fogcompute_exec::{Control, CpuShare, TaskError};

/// Between two looks at the control while the task is held.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Longest pause for the CPU share after one stretch of work.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Measures how long a task works, and holds it up.
pub(crate) struct Pacer {
    control: Control,
    clock: Arc<dyn Clock>,
    wall: Option<Duration>,
    worked: Duration,
    working_since: Instant,
}

impl Pacer {
    pub(crate) fn new(
        control: Control,
        clock: Arc<dyn Clock>,
        wall: Option<Duration>,
        start: Instant,
    ) -> Self {
        Self {
            control,
            clock,
            wall,
            worked: Duration::ZERO,
            working_since: start,
        }
    }

    pub(crate) const fn control(&self) -> &Control {
        &self.control
    }

    /// Before work begins: without a look at the clock if nobody holds the task.
    pub(crate) fn begin(&mut self) -> Result<(), TaskError> {
        if self.control.is_suspended() || self.control.is_cancelled() {
            return self.pace();
        }
        Ok(())
    }

    /// After a stretch of work: returns when the task may go on, with an error if it may not.
    pub(crate) fn pace(&mut self) -> Result<(), TaskError> {
        let stretch = self.clock.now().duration_since(self.working_since);
        self.worked = self.worked.saturating_add(stretch);
        if let Some(wall) = self.wall
            && self.worked > wall
        {
            let limit_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
            return Err(TaskError::TimedOut { limit_ms });
        }
        let held_since = self.clock.now();
        loop {
            if self.control.is_cancelled() {
                return Err(TaskError::Cancelled);
            }
            // Asked anew each time, so that a task which may go faster does so at once.
            let held = self.clock.now().duration_since(held_since);
            let left = pause(stretch, self.control.cpu_share()).saturating_sub(held);
            if !self.control.is_suspended() && left.is_zero() {
                break;
            }
            let wait = if self.control.is_suspended() {
                LOOK_EVERY
            } else {
                left
            };
            thread::park_timeout(wait.min(LOOK_EVERY));
        }
        self.working_since = self.clock.now();
        Ok(())
    }
}

/// How long to rest after working for `stretch`, so that the share of both together is right.
pub(crate) fn pause(stretch: Duration, share: CpuShare) -> Duration {
    let permille = u32::from(share.as_permille());
    (stretch * (1_000 - permille) / permille).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::UnixMillis;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A clock that goes 10 ms further at every look.
    #[derive(Default)]
    struct Ticks(AtomicU64);

    impl Clock for Ticks {
        fn now(&self) -> Instant {
            Instant::from_millis(self.0.fetch_add(10, Ordering::Relaxed))
        }
        fn unix_now(&self) -> UnixMillis {
            UnixMillis(0)
        }
    }

    fn pacer(control: &Control, wall: Option<Duration>) -> Pacer {
        let start = Instant::from_millis(0);
        Pacer::new(control.clone(), Arc::new(Ticks::default()), wall, start)
    }

    #[test]
    fn pauses_make_up_the_share() {
        let millis = Duration::from_millis;
        assert_eq!(pause(millis(10), CpuShare::FULL), Duration::ZERO);
        assert_eq!(pause(millis(10), CpuShare::from_permille(500)), millis(10));
        assert_eq!(pause(millis(10), CpuShare::from_permille(250)), millis(30));
        assert_eq!(pause(millis(10), CpuShare::from_permille(1)), PAUSE_MAX);
    }

    #[test]
    fn time_limit_counts_work_and_not_time_in_suspension() {
        let control = Control::new();
        let mut pacer = pacer(&control, Some(Duration::from_millis(25)));
        // Each stretch but the first is 10 ms of this clock, and so is every look within a pause.
        control.set_cpu_share(CpuShare::from_permille(100));
        for _ in 0..3 {
            assert_eq!(pacer.pace(), Ok(()));
        }
        assert_eq!(pacer.pace(), Err(TaskError::TimedOut { limit_ms: 25 }));
    }

    #[test]
    fn suspended_task_is_held_until_resumed_and_can_be_cancelled_meanwhile() {
        let control = Control::new();
        control.suspend();
        let mut held = pacer(&control, None);
        let resumer = control.clone();
        thread::scope(|scope| {
            let task = scope.spawn(move || held.begin());
            resumer.resume();
            assert_eq!(task.join().unwrap(), Ok(()));
        });
        control.suspend();
        let mut held = pacer(&control, None);
        thread::scope(|scope| {
            let task = scope.spawn(move || held.begin());
            control.cancel();
            assert_eq!(task.join().unwrap(), Err(TaskError::Cancelled));
        });
    }
}
