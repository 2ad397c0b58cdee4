//! A set of TCP links that carry frames: some dialled, and dialled again when they end, some accepted.

mod running;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogcompute_base::{Clock, NodeId};
use fogcompute_transport::Ended;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::identity::Identity;
use crate::link::HANDSHAKE_TIMEOUT;

pub use transport::TcpTransport;

/// Longest frame, in bytes: a MiB, but for a byte that says what it is.
pub const TCP_FRAME_BYTES_MAX: usize = LINK_BYTES_MAX - 1;

/// Longest frame of a [`Link`](crate::Link) that is read here.
const LINK_BYTES_MAX: usize = 1 << 20;

/// Nothing to say, but still here.
const KEEP_ALIVE: u8 = 0;
/// What follows is for the host.
const FRAME: u8 = 1;
/// The last one: this side closes.
const BYE: u8 = 2;

/// Limits and habits of [`TcpLinks`].
#[derive(Clone, Copy, Debug)]
pub struct TcpConfig {
    /// Most links at once that peers opened. When reached, further ones are closed after their handshake.
    pub accepted_max: usize,
    /// Most connections at once that have not finished their handshake. When reached, the oldest of them is
    /// closed: honest ones take milliseconds, so who opens many and says nothing keeps nobody out.
    pub handshakes_max: usize,
    /// How long a handshake may take.
    pub handshake_max: Duration,
    /// Bytes that may wait to leave over one link; one frame may exceed it.
    pub queue_bytes_max: usize,
    /// Bytes that a link may have brought and the host has not taken; one frame may exceed it. When reached, the
    /// link is read no further.
    pub window_bytes_max: usize,
    /// After so long without a frame a link sends a sign of life.
    pub keep_alive: Duration,
    /// How long the next whole frame may take, signs of life included, and how long the peer may take to
    /// read one, before the link is lost. Longer than twice the peer's [`TcpConfig::keep_alive`].
    pub idle_max: Duration,
    /// How long to wait before an address is dialled again, the first time. Each further time takes twice as
    /// long; each wait is drawn from a half to three halves of that.
    pub redial_first: Duration,
    /// The longest wait, before it is drawn.
    pub redial_max: Duration,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            accepted_max: 128,
            handshakes_max: 64,
            handshake_max: HANDSHAKE_TIMEOUT,
            queue_bytes_max: 1 << 20,
            window_bytes_max: LINK_BYTES_MAX + (256 << 10),
            keep_alive: Duration::from_secs(15),
            idle_max: Duration::from_secs(60),
            redial_first: Duration::from_millis(250),
            redial_max: Duration::from_secs(30),
        }
    }
}

/// A link, numbered in the order in which they came up. No number is used twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TcpLinkId(pub u64);

/// An address that is dialled.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DialId(u64);

/// What happened.
#[non_exhaustive]
#[derive(Debug, Eq, PartialEq)]
pub enum TcpEvent {
    /// A link is up.
    Up {
        /// Its number.
        link: TcpLinkId,
        /// The key that the peer proved to hold.
        peer: NodeId,
        /// What was dialled, if this side did.
        dial: Option<DialId>,
    },
    /// A link brought a frame.
    Frame {
        /// The link.
        link: TcpLinkId,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// After [`TcpLinks::send`] or [`TcpLinks::has_room`] said that there is none: there is room again.
    Writable {
        /// The link.
        link: TcpLinkId,
    },
    /// A link is down.
    Down {
        /// The link.
        link: TcpLinkId,
        /// Who was at its other end.
        peer: NodeId,
        /// Why.
        ended: Ended,
    },
    /// An attempt to dial came to nothing. When the host is slow to take them, one stands for several.
    DialFailed {
        /// Which.
        dial: DialId,
        /// Who answered was not who was expected, or was this side itself.
        is_wrong_peer: bool,
    },
}

/// Why a frame is not sent.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TcpSendError {
    /// The link is not up.
    #[error("the link is not up")]
    Down,
    /// Too much waits already. [`TcpEvent::Writable`] says when there is room.
    #[error("too much waits to leave over the link")]
    Full,
    /// The frame is too long.
    #[error("frame of {actual} bytes exceeds {limit}")]
    TooLong {
        /// Its length.
        actual: usize,
        /// The limit.
        limit: usize,
    },
}

/// TCP links under Noise XX, each of which carries frames up to [`TCP_FRAME_BYTES_MAX`] both ways.
///
/// A frame on a [`Link`](crate::Link) of [`Purpose::Frames`](crate::Purpose::Frames) is a byte and what follows:
///
/// | byte | meaning |
/// |---|---|
/// | 0 | a sign of life; nothing follows |
/// | 1 | a frame |
/// | 2 | this side closes; nothing follows, and nothing comes after |
///
/// There is one link with a peer. Of two that were dialled by the same side the newer one stays; of two that were
/// dialled by different sides the one of the side with the lower key.
///
/// What a peer does costs others nothing: each link has a window of its own, each frame a time in which it has
/// to be there, and what is no frame ends the link.
#[derive(Debug)]
pub struct TcpLinks {
    shared: Arc<Shared>,
    /// Ended when this is dropped, with the links that came of them.
    tasks: Mutex<BTreeMap<u64, AbortHandle>>,
    runtime: Handle,
}

/// What happens on [`TcpLinks`], in order.
#[derive(Debug)]
pub struct TcpEvents {
    queue: mpsc::UnboundedReceiver<Queued>,
}

/// The queue is bounded by what the permits are of: windows, places for links, one report for each dial.
#[derive(Debug)]
struct Queued {
    event: TcpEvent,
    _permit: Option<OwnedSemaphorePermit>,
}

struct Shared {
    identity: Identity,
    config: TcpConfig,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    events: mpsc::UnboundedSender<Queued>,
    places: Arc<Semaphore>,
    numbers: AtomicU64,
    /// Connections whose task has not ended.
    active: AtomicUsize,
    /// A link has gone, or a task.
    changed: Notify,
    /// Frames that were sent, that the wire brought, and that were handed over: what tests wait for.
    #[cfg(test)]
    flow: [AtomicU64; 3],
    /// Links that wait for the host to take something.
    #[cfg(test)]
    stuck: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<TcpLinkId, Arc<Outgoing>>,
    /// The link with each peer, and whether this side dialled it.
    peers: BTreeMap<NodeId, (TcpLinkId, bool)>,
    /// Accepted connections that have not finished their handshake, the oldest first.
    handshakes: VecDeque<(u64, AbortHandle)>,
}

/// What waits to leave over a link.
#[derive(Debug)]
struct Outgoing {
    peer: NodeId,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Somebody was told that there is no room.
    is_full: bool,
    /// Nothing is read any more, and after what waits the link ends.
    is_closing: bool,
    /// Another link took its place.
    is_replaced: bool,
}

/// Bytes that a frame counts for where it waits: even an empty one takes some.
fn cost(frame_bytes: usize) -> usize {
    frame_bytes.max(64)
}

impl Outgoing {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn emit(&self, event: TcpEvent, permit: Option<OwnedSemaphorePermit>) {
        // Without a receiver nobody wants to know.
        let _ = self.events.send(Queued {
            event,
            _permit: permit,
        });
    }
}

impl TcpLinks {
    /// No links yet, of this identity. Sockets live on `runtime`, which has I/O and time.
    #[must_use]
    pub fn new(
        identity: Identity,
        config: TcpConfig,
        clock: Arc<dyn Clock>,
        runtime: Handle,
    ) -> (Self, TcpEvents) {
        let (events, queue) = mpsc::unbounded_channel();
        let places = config.accepted_max.min(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            identity,
            config,
            clock,
            state: Mutex::default(),
            events,
            places: Arc::new(Semaphore::new(places)),
            numbers: AtomicU64::new(1),
            active: AtomicUsize::new(0),
            changed: Notify::new(),
            #[cfg(test)]
            flow: Default::default(),
            #[cfg(test)]
            stuck: AtomicUsize::new(0),
        });
        let links = Self {
            shared,
            tasks: Mutex::default(),
            runtime,
        };
        (links, TcpEvents { queue })
    }

    /// The key that peers see.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.shared.identity.node()
    }

    /// Accepts connections; gives the address, with the port that was chosen where 0 was asked for.
    ///
    /// # Errors
    /// What the system says when it does not give that address.
    pub fn listen(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let _runtime = self.runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        self.spawn(running::accept(Arc::clone(&self.shared), listener));
        Ok(address)
    }

    /// Dials an address, whoever answers, unless somebody is `expected`. With `again` it is dialled again, ever
    /// more seldom, when that fails or the link ends; without, once.
    pub fn dial(&self, address: SocketAddr, expected: Option<NodeId>, again: bool) -> DialId {
        let shared = Arc::clone(&self.shared);
        let dial = DialId(shared.number());
        let task = running::dial(shared, dial, address, expected, again);
        let handle = self.spawn(task);
        self.tasks().insert(dial.0, handle);
        dial
    }

    /// Dials an address no more. A link that came of it ends as if it had broken.
    pub fn undial(&self, dial: DialId) {
        if let Some(task) = self.tasks().remove(&dial.0) {
            task.abort();
        }
    }

    /// Sends a frame, which may be empty.
    ///
    /// # Errors
    /// [`TcpSendError`]: nothing is sent.
    pub fn send(&self, link: TcpLinkId, frame: &[u8]) -> Result<(), TcpSendError> {
        if frame.len() > TCP_FRAME_BYTES_MAX {
            return Err(TcpSendError::TooLong {
                actual: frame.len(),
                limit: TCP_FRAME_BYTES_MAX,
            });
        }
        let outgoing = self.outgoing(link).ok_or(TcpSendError::Down)?;
        let mut queue = outgoing.lock();
        if queue.bytes >= self.shared.config.queue_bytes_max {
            queue.is_full = true;
            return Err(TcpSendError::Full);
        }
        let mut bytes = Vec::with_capacity(frame.len() + 1);
        bytes.push(FRAME);
        bytes.extend_from_slice(frame);
        queue.bytes += cost(frame.len());
        queue.frames.push_back(bytes);
        drop(queue);
        #[cfg(test)]
        self.shared.flow[0].fetch_add(1, Ordering::SeqCst);
        outgoing.wake.notify_one();
        Ok(())
    }

    /// Whether the link takes a frame now. If not, [`TcpEvent::Writable`] follows.
    #[must_use]
    pub fn has_room(&self, link: TcpLinkId) -> bool {
        self.outgoing(link).is_some_and(|outgoing| {
            let mut queue = outgoing.lock();
            let room = queue.bytes < self.shared.config.queue_bytes_max;
            queue.is_full |= !room;
            room
        })
    }

    /// Closes a link. What waits is still sent; nothing comes from it any more but [`TcpEvent::Down`].
    pub fn close(&self, link: TcpLinkId) {
        if let Some(outgoing) = self.shared.take_down(link, Ended::Closed, None) {
            outgoing.lock().is_closing = true;
            outgoing.wake.notify_one();
        }
    }

    /// Ends when no connection is left: after all were closed, nothing is dialled and nobody dials, or has gone on
    /// for longer than a handshake may.
    pub async fn finished(&self) {
        let wait = async {
            loop {
                let mut changed = std::pin::pin!(self.shared.changed.notified());
                changed.as_mut().enable();
                if self.shared.active.load(Ordering::SeqCst) == 0 {
                    return;
                }
                changed.await;
            }
        };
        tokio::select! {
            () = wait => {}
            () = crate::places::passed(&*self.shared.clock, self.shared.config.handshake_max) => {}
        }
    }

    /// Accepts and dials nothing any more. Links that are there stay.
    pub fn stop(&self) {
        self.shared.places.close();
        self.shared.changed.notify_waiters();
    }

    fn outgoing(&self, link: TcpLinkId) -> Option<Arc<Outgoing>> {
        self.shared.lock().links.get(&link).cloned()
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<u64, AbortHandle>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let handle = self.runtime.spawn(task).abort_handle();
        let mut tasks = self.tasks();
        tasks.retain(|_, task| !task.is_finished());
        tasks.insert(self.shared.number(), handle.clone());
        handle
    }
}

impl Drop for TcpLinks {
    fn drop(&mut self) {
        for task in self.tasks().values() {
            task.abort();
        }
    }
}

impl TcpEvents {
    /// What happened next; `None` when [`TcpLinks`] is gone.
    pub async fn recv(&mut self) -> Option<TcpEvent> {
        Some(self.queue.recv().await?.event)
    }

    /// What happened next, if it has.
    pub fn try_recv(&mut self) -> Option<TcpEvent> {
        Some(self.queue.try_recv().ok()?.event)
    }
}
