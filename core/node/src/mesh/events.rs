//! What happens, and the queue in which it waits for the host.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogcompute_base::{Clock, Digest};
use fogcompute_mesh::{Event, PeerId};
use tokio::sync::Notify;

/// Bytes of events that wait. When there are more, the oldest are dropped.
const EVENTS_BYTES_MAX: usize = 64 << 20;

/// What happened.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MeshEvent {
    /// What the rules say; never [`Event::Chunk`], of which the others are made.
    Mesh(Event),
    /// A peer offers a file. [`MeshNode::accept_file`](super::MeshNode::accept_file) takes it.
    FileOffered {
        /// Who.
        from: PeerId,
        /// What names the file: the digest of what is in it.
        file: Digest,
        /// What it is called. It came from somebody else: no path to write to.
        title: String,
        /// Its media type.
        mime: String,
        /// Its length in bytes.
        length: u64,
    },
    /// A file goes on. Said about a hundred times for each file, and at its end.
    FileProgress {
        /// The file.
        file: Digest,
        /// Who sends it, or has asked for it.
        peer: PeerId,
        /// Whether it is sent from here.
        is_sent: bool,
        /// Bytes that have come, or that were asked for and sent.
        done: u64,
        /// All of them.
        length: u64,
    },
    /// A file is whole, and on disk.
    FileReceived {
        /// The file.
        file: Digest,
        /// Who sent it.
        from: PeerId,
        /// Where it is.
        path: PathBuf,
    },
    /// A file was given up.
    FileFailed {
        /// The file.
        file: Digest,
        /// Why.
        end: MeshFileEnd,
    },
    /// A link is up: over TCP, a radio, or to a node in the same program.
    LinkUp {
        /// Its number.
        link: u64,
    },
    /// A link is down.
    LinkDown {
        /// Its number.
        link: u64,
    },
    /// The code of a radio threw or panicked: what it was asked is not done, and if that was for one of its
    /// connections, that one ends.
    RadioFailed {
        /// Which radio: 0 is the first one that was added.
        radio: u64,
        /// What it says.
        reason: String,
    },
}

/// Why a file was given up.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MeshFileEnd {
    /// Who offered it does not have it any more.
    Missing,
    /// Nothing of it came for too long.
    Silent,
    /// It could not be written.
    Disk,
}

impl MeshEvent {
    fn bytes(&self) -> usize {
        match self {
            Self::Mesh(Event::File { file, .. }) => file.content.len(),
            Self::Mesh(
                Event::Public { text, .. }
                | Event::Private { text, .. }
                | Event::GroupMessage { text, .. },
            ) => text.len(),
            Self::Mesh(Event::Other { body, .. }) => body.len(),
            Self::RadioFailed { reason, .. } => reason.len(),
            _ => 0,
        }
    }
}

/// A queue from the node's thread to its users, on threads and in futures.
#[derive(Debug)]
pub(super) struct Events {
    state: Mutex<Waiting>,
    arrived: Condvar,
    changed: Notify,
    limit: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<MeshEvent>,
    bytes: usize,
    dropped: u64,
    closed: bool,
}

/// What [`Events::take`] found.
pub(super) enum Taken {
    /// An event.
    Event(MeshEvent),
    /// None, and none will come.
    Closed,
    /// None yet.
    Empty,
}

impl Waiting {
    fn take(&mut self) -> Taken {
        match self.events.pop_front() {
            Some(event) => {
                self.bytes -= event.bytes();
                Taken::Event(event)
            }
            None if self.closed => Taken::Closed,
            None => Taken::Empty,
        }
    }
}

impl Events {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            changed: Notify::new(),
            limit: limit.max(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events that were dropped because nobody took them.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Adds events, and wakes nobody.
    pub(super) fn put(&self, events: impl IntoIterator<Item = MeshEvent>) {
        let mut state = self.lock();
        for event in events {
            state.bytes += event.bytes();
            state.events.push_back(event);
            while state.events.len() > self.limit
                || state.events.len() > 1 && state.bytes > EVENTS_BYTES_MAX
            {
                state.take();
                state.dropped += 1;
            }
        }
    }

    /// Wakes who waits, after [`Events::put`].
    pub(super) fn wake(&self) {
        self.arrived.notify_all();
        self.changed.notify_waiters();
    }

    /// Nothing more happens. What is there can still be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
        self.changed.notify_waiters();
    }

    pub(super) fn take(&self) -> Taken {
        self.lock().take()
    }

    /// The same, but waits on this thread for an event, the end, or `timeout`.
    pub(super) fn take_within(&self, timeout: Duration, clock: &dyn Clock) -> Taken {
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

    /// Ends when there is an event to take, or none will come.
    pub(super) async fn readable(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before looking, so that nothing comes unnoticed between the two.
            changed.as_mut().enable();
            {
                let state = self.lock();
                if !state.events.is_empty() || state.closed {
                    return;
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_takes_is_dropped_oldest_first_and_counted() {
        let events = Events::new(2);
        events.put((0..5).map(|link| MeshEvent::LinkUp { link }));
        assert_eq!(events.dropped(), 3);
        events.close();
        for link in 3..5 {
            assert!(
                matches!(events.take(), Taken::Event(MeshEvent::LinkUp { link: of }) if of == link)
            );
        }
        assert!(matches!(events.take(), Taken::Closed));
    }
}
