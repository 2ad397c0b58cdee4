//! Messages that came in and were not taken yet.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use fogcompute_mix::{HeldSurbs, MessageId, Surb};

use crate::queue::Queue;

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

/// From the client's thread to its users.
pub(super) type Inbox = Queue<MixnetMessage>;

/// A queue of messages. Who puts them there asks how much there is.
pub(super) fn inbox() -> Inbox {
    Queue::new(|message| message.body.len())
}
