//! What happens, and the queue in which it waits for the host.

use std::path::PathBuf;

use fogcompute_base::Digest;
use fogcompute_mesh::{Event, PeerId};

use crate::queue::Queue;

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

/// From the node's thread to its users.
pub(super) type Events = Queue<MeshEvent>;

/// A queue in which no more than so many events wait.
pub(super) fn events(limit: usize) -> Events {
    Queue::bounded(MeshEvent::bytes, limit, EVENTS_BYTES_MAX)
}
