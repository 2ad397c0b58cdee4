//! Messages that came in and were not taken yet.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogcompute_base::Clock;
use fogcompute_mix::{MessageId, Surb};
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
    surbs: Mutex<Option<Vec<Surb>>>,
    count: usize,
    /// Number of the key epoch in which they came.
    epoch: u64,
}

impl ReplyBlocks {
    pub(super) fn new(surbs: Vec<Surb>, epoch: u64) -> Self {
        Self {
            count: surbs.len(),
            epoch,
            surbs: Mutex::new(Some(surbs)),
        }
    }

    /// How many there were at first: packets an answer may have. 0 if none is wanted.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Whether the keys that they were made for are gone in this epoch: those of the one before it
    /// still serve packets on their way.
    pub(super) const fn is_expired(&self, epoch: u64) -> bool {
        self.epoch.saturating_add(1) < epoch
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
