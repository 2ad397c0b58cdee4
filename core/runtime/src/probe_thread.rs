//! A thread for a probe.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use fogcompute_base::Clock;
use fogcompute_harvest::{DeviceProbe, DeviceState, ProbeError};

/// Reads a probe again and again on a thread of its own.
///
/// Whoever asks for the last reading never waits. A probe that blocks makes it grow old, and a policy
/// refuses an old reading; one that panics is an error, and is asked again the next time.
pub struct ProbeThread {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    latest: Mutex<Latest>,
    changed: Condvar,
}

#[derive(Default)]
struct Latest {
    reading: Option<Result<DeviceState, ProbeError>>,
    /// Readings taken so far.
    count: u64,
    /// A reading is wanted before it is due.
    asked: bool,
    stop: bool,
}

impl Shared {
    /// Nothing is ever done under this lock that could panic in the middle of a change.
    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProbeThread {
    /// Starts reading at once, and again `interval` after each reading.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(
        probe: impl DeviceProbe + 'static,
        interval: Duration,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        Self::start_with(probe, interval, clock, || {})
    }

    /// The same, and calls `heard` after each reading, on the probe's thread.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start_with(
        mut probe: impl DeviceProbe + 'static,
        interval: Duration,
        clock: Arc<dyn Clock>,
        heard: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let here = Arc::clone(&shared);
        thread::Builder::new()
            .name("fog-probe".to_owned())
            .spawn(move || {
                loop {
                    here.lock().asked = false;
                    let now = clock.now();
                    let reading = catch_unwind(AssertUnwindSafe(|| probe.read(now)))
                        .unwrap_or(Err(ProbeError::Broken))
                        .map(|mut state| {
                            // A foreign probe cannot make its readings younger than they are.
                            state.read_at = state.read_at.min(now);
                            state
                        });
                    let mut latest = here.lock();
                    latest.reading = Some(reading);
                    latest.count += 1;
                    here.changed.notify_all();
                    drop(latest);
                    heard();
                    let latest = here.lock();
                    let (latest, _) = here
                        .changed
                        .wait_timeout_while(latest, interval, |latest| {
                            !latest.stop && !latest.asked
                        })
                        .unwrap_or_else(PoisonError::into_inner);
                    if latest.stop {
                        return;
                    }
                }
            })?;
        Ok(Self { shared })
    }

    /// Reads again at once, or after the reading that is being taken.
    pub fn ask(&self) {
        self.shared.lock().asked = true;
        self.shared.changed.notify_all();
    }

    /// The last reading, or `None` before the first.
    #[must_use]
    pub fn latest(&self) -> Option<Result<DeviceState, ProbeError>> {
        self.shared.lock().reading.clone()
    }

    /// Waits for a reading after the `seen` first ones, but no longer than `timeout`, and tells how
    /// many there are.
    #[must_use]
    pub fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let latest = self.shared.lock();
        let (latest, _) = self
            .shared
            .changed
            .wait_timeout_while(latest, timeout, |latest| latest.count <= seen)
            .unwrap_or_else(PoisonError::into_inner);
        latest.count
    }
}

impl Drop for ProbeThread {
    /// Lets the thread end after its reading. It is not waited for: it may never return.
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for ProbeThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latest = self.shared.lock();
        f.debug_struct("ProbeThread")
            .field("reading", &latest.reading)
            .field("count", &latest.count)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use fogcompute_base::{Instant, SystemClock};
    use fogcompute_harvest::DeviceClass;

    use super::*;

    /// A probe that does what its script says, and blocks at its end.
    struct Scripted(mpsc::Receiver<fn(Instant) -> Result<DeviceState, ProbeError>>);

    impl DeviceProbe for Scripted {
        fn read(&mut self, now: Instant) -> Result<DeviceState, ProbeError> {
            match self.0.recv() {
                Ok(step) => step(now),
                Err(_) => Err(ProbeError::Unavailable),
            }
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    fn good(now: Instant) -> Result<DeviceState, ProbeError> {
        Ok(DeviceState::unknown(DeviceClass::Laptop, now))
    }

    #[test]
    fn a_probe_that_panics_is_an_error_and_is_asked_again() {
        let (script, steps) = mpsc::channel();
        let clock = Arc::new(SystemClock::new());
        let thread =
            ProbeThread::start(Scripted(steps), Duration::ZERO, clock).expect("threads are left");
        assert!(thread.latest().is_none());
        let steps: [fn(Instant) -> _; 3] = [
            good,
            |_| panic!("a probe of the host breaks"),
            |now| good(now + LONG),
        ];
        let mut seen = 0;
        for (index, step) in steps.into_iter().enumerate() {
            script.send(step).unwrap();
            seen = thread.wait(seen, LONG);
            assert_eq!(seen, index as u64 + 1);
            let latest = thread.latest().unwrap();
            assert_eq!(latest.is_err(), index == 1, "{latest:?}");
            if index == 1 {
                assert_eq!(latest, Err(ProbeError::Broken));
            }
        }
    }

    #[test]
    fn a_reading_is_never_younger_than_the_question() {
        let (script, steps) = mpsc::channel();
        let clock = Arc::new(SystemClock::new());
        let thread =
            ProbeThread::start(Scripted(steps), LONG, clock.clone()).expect("threads are left");
        let step: fn(Instant) -> _ = |now| good(now + LONG);
        script.send(step).unwrap();
        assert_eq!(thread.wait(0, LONG), 1);
        assert!(thread.latest().unwrap().unwrap().read_at <= clock.now());
    }

    #[test]
    fn a_reading_can_be_had_before_it_is_due_and_is_announced() {
        let (script, steps) = mpsc::channel();
        let (heard, readings) = mpsc::channel();
        let clock = Arc::new(SystemClock::new());
        let thread = ProbeThread::start_with(Scripted(steps), LONG, clock, move || {
            let _ = heard.send(());
        })
        .expect("threads are left");
        let step: fn(Instant) -> _ = good;
        for _ in 0..3 {
            script.send(step).unwrap();
            thread.ask();
            readings.recv_timeout(LONG).unwrap();
        }
        assert!(thread.wait(0, LONG) >= 3);
    }

    #[test]
    fn a_probe_that_blocks_holds_nobody_up() {
        let (script, steps) = mpsc::channel();
        let clock = Arc::new(SystemClock::new());
        let thread =
            ProbeThread::start(Scripted(steps), Duration::ZERO, clock).expect("threads are left");
        assert_eq!(thread.wait(0, Duration::ZERO), 0);
        assert!(thread.latest().is_none());
        drop(thread);
        drop(script);
    }
}
