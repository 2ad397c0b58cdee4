//! Messages that came in and were not taken yet.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use fogcompute_base::Clock;
use fogcompute_mix::{HeldSurbs, MessageId, Surb};
use tokio::sync::Notify;

/// A message that came in.
#[derive(Debug)]
pub struct MixnetMessage {
    /// The sender's id of the message.
    pub id: MessageId,
    /// The message.
    pub body: Vec<u8>,
    /// What to answer with. Who sent it is not known, nor does an answer tell.
    pub reply: ReplyBlocks,
}

/// The reply blocks of a message. They work once.
pub struct ReplyBlocks {
    surbs: Arc<Mutex<Option<Vec<Surb>>>>,
    count: usize,
    /// Number of the key epoch in which they came.
    epoch: u64,
}

/// Registered blocks among which is looked for dropped ones for the first time.
const REGISTERED_MIN: usize = 64;

/// Knows the reply blocks that came and are not dropped, so that those which were not used can be
/// kept across a restart.
#[derive(Default)]
pub(super) struct Registry {
    known: Vec<Registered>,
    /// When there are so many, those that were dropped are forgotten.
    tidy_at: usize,
}

struct Registered {
    message: MessageId,
    epoch: u64,
    surbs: Weak<Mutex<Option<Vec<Surb>>>>,
}

impl Registry {
    /// The reply blocks of a message, for who answers it.
    pub(super) fn register(&mut self, held: HeldSurbs) -> ReplyBlocks {
        let HeldSurbs {
            message,
            epoch,
            surbs,
        } = held;
        let count = surbs.len();
        let surbs = Arc::new(Mutex::new(Some(surbs)));
        if count > 0 {
            if self.known.len() >= self.tidy_at {
                self.known.retain(|known| known.surbs.strong_count() > 0);
                self.tidy_at = REGISTERED_MIN.max(2 * self.known.len());
            }
            self.known.push(Registered {
                message,
                epoch,
                surbs: Arc::downgrade(&surbs),
            });
        }
        ReplyBlocks {
            surbs,
            count,
            epoch,
        }
    }

    /// Takes all blocks that were not used. Where they were they count as used.
    pub(super) fn take(&mut self) -> Vec<HeldSurbs> {
        let known = self.known.drain(..);
        let held = known.filter_map(|known| {
            let surbs = known.surbs.upgrade()?;
            let surbs = surbs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()?;
            Some(HeldSurbs {
                message: known.message,
                epoch: known.epoch,
                surbs,
            })
        });
        held.collect()
    }
}

/// Whether the keys that reply blocks of `came` were made for are gone in `epoch`: those of the one
/// before it still serve packets on their way.
pub(super) const fn is_expired(came: u64, epoch: u64) -> bool {
    came.saturating_add(1) < epoch
}

impl ReplyBlocks {
    /// How many there were at first: packets an answer may have. 0 if none is wanted.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    pub(super) const fn is_expired(&self, epoch: u64) -> bool {
        is_expired(self.epoch, epoch)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Vec<Surb>>> {
        self.surbs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ReplyBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyBlocks({})", self.count)
    }
}

/// A queue from the client's thread to its users, on threads and in futures.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<MixnetMessage>,
    bytes: usize,
    closed: bool,
}

/// What [`Inbox::take`] found.
pub(super) enum Taken {
    /// A message.
    Message(MixnetMessage),
    /// None, and none will come.
    Closed,
    /// None yet.
    Empty,
}

impl State {
    fn take(&mut self) -> Taken {
        match self.messages.pop_front() {
            Some(message) => {
                self.bytes -= message.body.len();
                Taken::Message(message)
            }
            None if self.closed => Taken::Closed,
            None => Taken::Empty,
        }
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages, and bytes of their bodies.
    pub(super) fn len(&self) -> (usize, usize) {
        let state = self.lock();
        (state.messages.len(), state.bytes)
    }

    pub(super) fn put(&self, message: MixnetMessage) {
        {
            let mut state = self.lock();
            state.bytes += message.body.len();
            state.messages.push_back(message);
        }
        self.arrived.notify_one();
        self.changed.notify_waiters();
    }

    /// Nothing more comes in. What is there can still be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
        self.changed.notify_waiters();
    }

    pub(super) fn take(&self) -> Taken {
        self.lock().take()
    }

    /// The same, but waits on this thread for a message, the end, or `timeout`.
    pub(super) fn take_within(&self, timeout: Duration, clock: &impl Clock) -> Taken {
        let end = clock.now() + timeout;
        let mut state = self.lock();
        loop {
            let taken = state.take();
            if !matches!(taken, Taken::Empty) {
                return taken;
            }
            let left = end.duration_since(clock.now());
            if left.is_zero() {
                return Taken::Empty;
            }
            let waited = self.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends when there is a message to take, or none will come.
    pub(super) async fn readable(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before looking, so that nothing comes unnoticed between the two.
            changed.as_mut().enable();
            {
                let state = self.lock();
                if !state.messages.is_empty() || state.closed {
                    return;
                }
            }
            changed.await;
        }
    }
}
