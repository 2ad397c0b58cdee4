//! The links a node has accepted: how many, from whom, and how long they may be silent.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogcompute_base::{Clock, NodeId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;

use crate::link::{LinkError, Purpose};

type Key = (NodeId, Purpose);

/// Links by whose they are, the oldest first. Nothing is ever sent: that the sender is dropped tells a link
/// that it was replaced.
type Taken = BTreeMap<Key, Vec<(u64, watch::Sender<()>)>>;

/// Connections by where they come from, the oldest of each address first.
type Waiting = BTreeMap<IpAddr, VecDeque<(u64, AbortHandle)>>;

/// The places for links that peers open. A peer has one for each purpose: whoever holds its key
/// and comes again takes the place of the link that was there. Of control links it may have two: then
/// whoever comes takes the place of the newer one.
pub(crate) struct Places {
    slots: Arc<Semaphore>,
    numbers: AtomicU64,
    control_per_peer_max: usize,
    taken: Mutex<Taken>,
}

/// Connections that have not finished their handshake, by where they come from. Whoever opens many
/// keeps out others that come from where he does, and nobody else.
#[derive(Debug)]
pub(crate) struct Doorstep {
    per_address_max: usize,
    waiting: Mutex<Waiting>,
    /// Those that had to go.
    displaced: AtomicU64,
}

impl Doorstep {
    pub(crate) fn new(per_address_max: usize) -> Self {
        Self {
            per_address_max: per_address_max.max(1),
            waiting: Mutex::default(),
            displaced: AtomicU64::new(0),
        }
    }

    /// Lets another connection in, which `begin` starts and which calls [`Doorstep::leave`] when its
    /// handshake is through. Of too many from one address the oldest ends.
    pub(crate) fn enter(&self, from: IpAddr, number: u64, begin: impl FnOnce() -> AbortHandle) {
        let from = neighbourhood(from);
        // It waits for this lock before it looks for itself.
        let mut waiting = self.waiting();
        let here = waiting.entry(from).or_default();
        here.push_back((number, begin()));
        if here.len() > self.per_address_max
            && let Some((_, oldest)) = here.pop_front()
        {
            oldest.abort();
            self.displaced.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A handshake has ended, however it did: nobody displaces it any more.
    pub(crate) fn leave(&self, from: IpAddr, number: u64) {
        let from = neighbourhood(from);
        let mut waiting = self.waiting();
        if let Some(here) = waiting.get_mut(&from) {
            here.retain(|(of, _)| *of != number);
            if here.is_empty() {
                waiting.remove(&from);
            }
        }
    }

    /// Connections that had to go for newer ones.
    pub(crate) fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address of version 4, or the 64 bits of one of version 6 that its owner does not choose.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        address => address,
    }
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
    pub(crate) fn new(links_max: usize, control_per_peer_max: usize) -> Arc<Self> {
        Arc::new(Self {
            control_per_peer_max: control_per_peer_max.max(1),
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
        let places_max = match key.1 {
            Purpose::Control => self.control_per_peer_max,
            _ => 1,
        };
        let mut taken = self.taken();
        let there = taken.entry(key).or_default();
        there.truncate(places_max - 1);
        there.push((number, present));
        drop(taken);
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

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(there) = taken.get_mut(&self.key) {
            there.retain(|(number, _)| *number != self.number);
            if there.is_empty() {
                taken.remove(&self.key);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_owner_are_one() {
        let near = |a: &str, b: &str| {
            neighbourhood(a.parse().unwrap()) == neighbourhood(b.parse().unwrap())
        };
        assert!(near("2001:db8::1", "2001:db8::2:3"));
        assert!(!near("2001:db8::1", "2001:db8:0:1::1"));
        assert!(near("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(!near("10.0.0.1", "10.0.0.2"));
    }
}
