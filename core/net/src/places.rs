//! The links a node has accepted: how many, from whom, and how long they may be silent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogcompute_base::{Clock, NodeId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::link::{LinkError, Purpose};

type Key = (NodeId, Purpose);

/// The places for links that peers open. A peer has one for each purpose: whoever holds its key
/// and comes again takes the place of the link that was there.
pub(crate) struct Places {
    slots: Arc<Semaphore>,
    numbers: AtomicU64,
    // Nothing is ever sent: that the sender is dropped tells a link that it was replaced.
    taken: Mutex<BTreeMap<Key, (u64, watch::Sender<()>)>>,
}

/// A link's place, for as long as one half of the link is there.
pub(crate) struct Place {
    places: Arc<Places>,
    key: Key,
    number: u64,
    _slot: OwnedSemaphorePermit,
}

/// What ends an accepted link from this side: a newer one, or silence.
pub(crate) struct Attendance {
    replaced: watch::Receiver<()>,
    clock: Arc<dyn Clock>,
    /// How long the next frame may take.
    silence_max: Duration,
    idle_max: Duration,
    _place: Arc<Place>,
}

impl Places {
    pub(crate) fn new(links_max: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(links_max.min(Semaphore::MAX_PERMITS))),
            numbers: AtomicU64::new(0),
            taken: Mutex::default(),
        })
    }

    /// Waits until one link more may be accepted.
    pub(crate) async fn slot(&self) -> OwnedSemaphorePermit {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        slot.expect("the semaphore is never closed")
    }

    /// Gives a link the place of its peer and purpose. Its first frame must come within
    /// `first_max`, each further one within `idle_max`.
    pub(crate) fn take(
        self: &Arc<Self>,
        key: Key,
        slot: OwnedSemaphorePermit,
        clock: Arc<dyn Clock>,
        first_max: Duration,
        idle_max: Duration,
    ) -> (Arc<Place>, Attendance) {
        let (present, replaced) = watch::channel(());
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.taken().insert(key, (number, present));
        let place = Arc::new(Place {
            places: Arc::clone(self),
            key,
            number,
            _slot: slot,
        });
        let attendance = Attendance {
            replaced,
            clock,
            silence_max: first_max,
            idle_max,
            _place: Arc::clone(&place),
        };
        (place, attendance)
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<Key, (u64, watch::Sender<()>)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if taken
            .get(&self.key)
            .is_some_and(|(number, _)| *number == self.number)
        {
            taken.remove(&self.key);
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.number)
    }
}

impl Attendance {
    /// Waits for a frame, but not longer than the link may be silent or is the newest.
    pub(crate) async fn attend<T>(
        &mut self,
        frame: impl Future<Output = Result<T, LinkError>>,
    ) -> Result<T, LinkError> {
        let limit = self.silence_max;
        let frame = tokio::select! {
            // First of all: a link that is never silent must give way too.
            biased;
            _ = self.replaced.changed() => Err(LinkError::Replaced),
            frame = frame => frame,
            () = passed(&*self.clock, limit) => Err(LinkError::Idle { limit }),
        };
        self.silence_max = self.idle_max;
        frame
    }
}

/// Ends when `clock` has gone on by `time`.
pub(crate) async fn passed(clock: &dyn Clock, time: Duration) {
    let due = clock.now() + time;
    loop {
        let left = due.duration_since(clock.now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}
