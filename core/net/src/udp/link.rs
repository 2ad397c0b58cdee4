//! One link: the keys of both directions, shared by all threads.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fogcompute_base::{Instant, NodeId};
use fogcompute_mix::TokenBucket;
use snow::StatelessTransportState;
use thiserror::Error;

use super::window::Window;
use super::wire::{
    COUNT_AT, DATA, DATAGRAM_OVERHEAD_BYTES, HEAD_BYTES, INDEX_AT, LANE_AT, LANES, Refusal, field,
};

/// The link has sent all it ever may. A new handshake replaces links long before.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("link to {peer} has no counts left")]
pub struct LinkExhausted {
    /// Who is at the other end.
    pub peer: NodeId,
}

/// What a datagram held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opened {
    /// A frame.
    Frame,
    /// Cover: nothing.
    Cover,
}

/// A link over UDP: seals frames into datagrams and opens datagrams, for many threads at once.
///
/// [`UdpLinks`](crate::UdpLinks) makes them.
pub struct UdpLink {
    peer: NodeId,
    address: SocketAddr,
    /// What the peer calls this link, and what we call it.
    remote: u32,
    local: u32,
    initiator: bool,
    made: Instant,
    noise: StatelessTransportState,
    counts: [AtomicU64; LANES],
    inbound: Mutex<Inbound>,
    confirmed: AtomicBool,
    /// In nanoseconds since the host's origin.
    received_at: AtomicU64,
    sent_at: AtomicU64,
    /// When the first datagram left of those after which nothing has come.
    unheard_since: AtomicU64,
}

struct Inbound {
    windows: [Window; LANES],
    bucket: TokenBucket,
}

/// What a handshake agreed on.
pub(super) struct Agreed {
    pub(super) peer: NodeId,
    pub(super) address: SocketAddr,
    pub(super) remote: u32,
    pub(super) local: u32,
    pub(super) initiator: bool,
    pub(super) noise: StatelessTransportState,
}

impl UdpLink {
    pub(super) fn new(agreed: Agreed, bucket: TokenBucket, made: Instant) -> Self {
        Self {
            peer: agreed.peer,
            address: agreed.address,
            remote: agreed.remote,
            local: agreed.local,
            initiator: agreed.initiator,
            made,
            noise: agreed.noise,
            counts: [const { AtomicU64::new(0) }; LANES],
            inbound: Mutex::new(Inbound {
                windows: std::array::from_fn(|_| Window::default()),
                bucket,
            }),
            // Whoever answered our initiation has the keys. Whoever sent one may only have copied it.
            confirmed: AtomicBool::new(agreed.initiator),
            received_at: AtomicU64::new(made.as_nanos()),
            sent_at: AtomicU64::new(made.as_nanos()),
            unheard_since: AtomicU64::new(made.as_nanos()),
        }
    }

    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// Where its datagrams go.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the peer writes into its datagrams to name this link.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.local
    }

    /// Whether the peer has shown that it has the keys, so that something may be sent to it.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// Seals a frame for the peer; `datagram` is [`DATAGRAM_OVERHEAD_BYTES`] longer than it.
    ///
    /// Threads should each use a lane of their own, below [`LANES`]: then they write to different
    /// counters. Higher lanes are taken modulo [`LANES`]. A lane that two threads use is safe.
    ///
    /// # Errors
    /// [`LinkExhausted`].
    ///
    /// # Panics
    /// If `datagram` has another length.
    pub fn seal(
        &self,
        lane: usize,
        frame: &[u8],
        datagram: &mut [u8],
        now: Instant,
    ) -> Result<(), LinkExhausted> {
        assert_eq!(
            datagram.len(),
            frame.len() + DATAGRAM_OVERHEAD_BYTES,
            "a datagram has room for its frame and nothing else"
        );
        let exhausted = LinkExhausted { peer: self.peer };
        let lane = (lane % LANES) as u8;
        let count = self.counts[usize::from(lane)].fetch_add(1, Ordering::Relaxed);
        let count = u32::try_from(count).map_err(|_| exhausted)?;
        let (head, sealed) = datagram.split_at_mut(HEAD_BYTES);
        head[0] = DATA;
        head[INDEX_AT..LANE_AT].copy_from_slice(&self.remote.to_be_bytes());
        head[LANE_AT] = lane;
        head[COUNT_AT..].copy_from_slice(&count.to_be_bytes());
        self.noise
            .write_message(nonce(lane, count), frame, sealed)
            .map_err(|_| exhausted)?;
        self.sent_at.store(now.as_nanos(), Ordering::Relaxed);
        let unheard_since = self.unheard_since.load(Ordering::Relaxed);
        if unheard_since <= self.received_at.load(Ordering::Relaxed) {
            self.unheard_since.store(now.as_nanos(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Opens a datagram of the peer; `frame` is [`DATAGRAM_OVERHEAD_BYTES`] shorter than it.
    ///
    /// # Errors
    /// [`Refusal`]; then `frame` holds nothing of meaning.
    pub fn open(&self, datagram: &[u8], frame: &mut [u8], now: Instant) -> Result<Opened, Refusal> {
        if datagram.len() != frame.len() + DATAGRAM_OVERHEAD_BYTES {
            return Err(Refusal::Length);
        }
        if datagram[0] != DATA {
            return Err(Refusal::Kind);
        }
        if super::wire::index(datagram)? != self.local {
            return Err(Refusal::Index);
        }
        let lane = datagram[LANE_AT];
        if usize::from(lane) >= LANES {
            return Err(Refusal::Forged);
        }
        let count = field(datagram, COUNT_AT)
            .map(u32::from_be_bytes)
            .ok_or(Refusal::Length)?;
        self.noise
            .read_message(nonce(lane, count), &datagram[HEAD_BYTES..], frame)
            .map_err(|_| Refusal::Forged)?;
        {
            // Nothing in here can panic, and a poisoned lock would make the link deaf.
            let mut inbound = self.inbound.lock().unwrap_or_else(PoisonError::into_inner);
            if !inbound.windows[usize::from(lane)].take(count) {
                return Err(Refusal::Replayed);
            }
            if !inbound.bucket.take(now) {
                return Err(Refusal::OverRate);
            }
        }
        self.received_at.store(now.as_nanos(), Ordering::Relaxed);
        match frame.first() {
            None | Some(0) => Ok(Opened::Cover),
            Some(_) => Ok(Opened::Frame),
        }
    }

    pub(super) fn set_confirmed(&self) {
        self.confirmed.store(true, Ordering::Relaxed);
    }

    pub(super) const fn made(&self) -> Instant {
        self.made
    }

    pub(super) const fn is_initiator(&self) -> bool {
        self.initiator
    }

    pub(super) fn received_at(&self) -> Instant {
        Instant::from_nanos(self.received_at.load(Ordering::Relaxed))
    }

    pub(super) fn sent_at(&self) -> Instant {
        Instant::from_nanos(self.sent_at.load(Ordering::Relaxed))
    }

    /// For how long datagrams have left and none has come.
    pub(super) fn unheard_for(&self, now: Instant) -> Duration {
        let since = Instant::from_nanos(self.unheard_since.load(Ordering::Relaxed));
        if since > self.received_at() {
            now.duration_since(since)
        } else {
            Duration::ZERO
        }
    }

    /// The most that any lane has counted.
    pub(super) fn count(&self) -> u64 {
        let counts = self.counts.iter();
        counts
            .map(|count| count.load(Ordering::Relaxed))
            .max()
            .unwrap_or(0)
    }

    #[cfg(test)]
    pub(super) fn set_count(&self, lane: usize, count: u64) {
        self.counts[lane].store(count, Ordering::Relaxed);
    }
}

const fn nonce(lane: u8, count: u32) -> u64 {
    (lane as u64) << 32 | count as u64
}

impl fmt::Debug for UdpLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "UdpLink({:#x} to {} at {})",
            self.local, self.peer, self.address
        )
    }
}
