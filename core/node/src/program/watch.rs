//! Who watches.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogcompute_base::{Clock as _, SystemClock};
use fogcompute_store::HomeProcess;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::thread::FogThread;
use crate::submit::{FogClientError, Watch, Watched};

/// Most events that wait to be taken. When reached, no more are asked for: the coordinator remembers
/// them.
const EVENTS_MAX: usize = 1_024;

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    /// Something came, or nothing will.
    arrived: Condvar,
    /// The same.
    changed: Notify,
    /// Something was taken.
    taken: Notify,
    clock: SystemClock,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Result<Watched, FogClientError>>,
    /// Number of the last event that was taken.
    last: u64,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what came, and waits until there is room for more: after an error, until it was taken.
    async fn put(&self, next: Result<Watched, FogClientError>) {
        let limit = if next.is_err() { 1 } else { EVENTS_MAX };
        self.lock().waiting.push_back(next);
        self.arrived.notify_all();
        self.changed.notify_waiters();
        loop {
            let mut taken = pin!(self.taken.notified());
            // Before looking, so that nothing is taken unnoticed between the two.
            taken.as_mut().enable();
            if self.lock().waiting.len() < limit {
                return;
            }
            taken.await;
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
        self.changed.notify_waiters();
    }

    fn take(&self, state: &mut State) -> Result<Option<Watched>, FogClientError> {
        let Some(next) = state.waiting.pop_front() else {
            return match state.closed {
                true => Err(FogClientError::Ended),
                false => Ok(None),
            };
        };
        self.taken.notify_waiters();
        if let Ok(Watched::Event(event)) = &next {
            state.last = event.number;
        }
        next.map(Some)
    }
}

/// However the watching ends, nobody waits for it in vain.
struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What happens to the jobs of an account, in order, for any thread and any executor. See
/// [`FogAccess::watch`](super::FogAccess::watch).
///
/// Events are asked for ahead, as many as wait to be taken; nothing is missed, whoever is slow.
pub struct FogWatch {
    queue: Arc<Queue>,
    watching: AbortHandle,
    home: HomeProcess,
}

impl FogWatch {
    pub(super) fn start(mut watch: Watch, after: u64, thread: &FogThread) -> Self {
        let queue = Arc::new(Queue {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                last: after,
                closed: false,
            }),
            arrived: Condvar::new(),
            changed: Notify::new(),
            taken: Notify::new(),
            clock: SystemClock::new(),
        });
        let filled = CloseOnDrop(Arc::clone(&queue));
        let watching = thread.handle().spawn(async move {
            loop {
                let next = watch.next().await;
                filled.0.put(next).await;
            }
        });
        Self {
            queue,
            watching: watching.abort_handle(),
            home: thread.home(),
        }
    }

    fn check(&self) -> Result<(), FogClientError> {
        self.home.check().map_err(|_| FogClientError::Forked)
    }

    /// The next thing that happened, if it is known already.
    ///
    /// # Errors
    /// [`FogClientError`]: watching goes on where it was with the next call, unless it is
    /// [`FogClientError::Ended`] or [`FogClientError::Forked`].
    pub fn try_receive(&self) -> Result<Option<Watched>, FogClientError> {
        self.check()?;
        self.queue.take(&mut self.queue.lock())
    }

    /// The same, but waits for it on this thread, for so long.
    ///
    /// # Errors
    /// As [`FogWatch::try_receive`].
    pub fn receive_within(&self, within: Duration) -> Result<Option<Watched>, FogClientError> {
        self.check()?;
        let end = self.queue.clock.now() + within;
        let mut state = self.queue.lock();
        loop {
            if let Some(next) = self.queue.take(&mut state)? {
                return Ok(Some(next));
            }
            let left = end.duration_since(self.queue.clock.now());
            if left.is_zero() {
                return Ok(None);
            }
            let waited = self.queue.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends when [`FogWatch::try_receive`] has something to say. In a forked child, at once.
    pub fn readable(&self) -> impl Future<Output = ()> + Send + use<> {
        let (queue, home) = (Arc::clone(&self.queue), self.home);
        async move {
            while home.is_here() {
                let mut changed = pin!(queue.changed.notified());
                // Before looking, so that nothing comes unnoticed between the two.
                changed.as_mut().enable();
                {
                    let state = queue.lock();
                    if !state.waiting.is_empty() || state.closed {
                        return;
                    }
                }
                changed.await;
            }
        }
    }

    /// The number of the last event that was taken: another watch goes on behind it.
    #[must_use]
    pub fn last(&self) -> u64 {
        match self.home.is_here() {
            true => self.queue.lock().last,
            // Its lock may be held by a thread that stayed with the parent.
            false => 0,
        }
    }

    /// Watches no more. What has come can still be taken.
    pub fn close(&self) {
        if self.home.is_here() {
            self.watching.abort();
            self.queue.close();
        }
    }
}

impl Drop for FogWatch {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for FogWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FogWatch(after {})", self.last())
    }
}
