//! Messages to a peer, whatever carries them: one small trait, and the tests that every carrier passes.
//!
//! Everything here is sans-IO: a transport is told the time and says when it wants to be told again. What is
//! sent arrives whole, once and in order, or the connection is said to have ended. It does not choose between
//! carriers, and stores nothing for peers that are not there.
//!
//! Meet [`Transport`] and [`Loopback`] first. For Bluetooth, [`BleRadio`] is what a radio can do, on any system,
//! and [`VirtualAir`] carries between radios that are not there.
//!
//! ```
//! use fogcompute_base::Instant;
//! use fogcompute_transport::{Event, Loopback, Transport};
//!
//! let now = Instant::ZERO;
//! let (mut here, mut there) = Loopback::pair();
//! let peer = there.address().clone();
//! here.connect(&peer, now)?;
//! here.send(&peer, b"hello", now)?;
//! let events: Vec<_> = std::iter::from_fn(|| there.poll_event()).collect();
//! assert!(matches!(&events[1], Event::Message { bytes, .. } if bytes == b"hello"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use fogcompute_base::Instant;
use thiserror::Error;

pub mod conformance;
mod loopback;
mod radio;
mod radio_air;
pub mod radio_conformance;
mod radio_links;

pub use loopback::{LOOPBACK_BYTES_MAX, LOOPBACK_MESSAGE_BYTES_MAX, Loopback};
pub use radio::{
    Activity, BITCHAT_CHARACTERISTIC, BITCHAT_SERVICE, BleRadio, LinkEnded, MTU_ASKED, MTU_MIN,
    RADIO_BYTES_MAX, RADIO_EVENTS_MAX, RadioError, RadioEvent, RadioFailure, RadioInbox,
    RadioInboxFull, RadioLimits, RadioLink, RadioQueue, Role, SERVICE_DATA_BYTES_MAX,
    VALUE_BYTES_MAX, WriteKind, value_bytes_max,
};
pub use radio_air::{AirConfig, Position, VirtualAir, VirtualRadio, VirtualRadioHandle};
pub use radio_links::{
    RadioCounters, RadioLinkEvent, RadioLinks, RadioLinksConfig, RadioSendError,
};

/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 64;

/// Who a message is for or from, as its transport names peers: a key, or the hash of one.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Address(Vec<u8>);

impl Address {
    /// Takes an address from its bytes; `None` if there are more than [`ADDRESS_BYTES_MAX`].
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= ADDRESS_BYTES_MAX).then(|| Self(bytes.to_vec()))
    }

    /// The address's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Why a connection ended.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// This side closed it.
    Closed,
    /// The peer closed it.
    ClosedByPeer,
    /// What carries it broke.
    Lost,
    /// The peer sent something that means nothing, or more than it may.
    Misbehaved,
}

/// What happened.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// Messages can be sent to a peer.
    Connected {
        /// Who.
        peer: Address,
    },
    /// A message came.
    Message {
        /// From whom.
        peer: Address,
        /// The message.
        bytes: Vec<u8>,
    },
    /// After [`SendError::Full`]: there is room again.
    Writable {
        /// To whom.
        peer: Address,
    },
    /// Nothing can be sent to a peer any more, and what was sent last may not have arrived.
    Disconnected {
        /// Who.
        peer: Address,
        /// Why.
        ended: Ended,
    },
}

/// Why a connection is not attempted.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ConnectError {
    /// The transport knows no way to the peer.
    #[error("no way to {peer} is known")]
    Unreachable {
        /// Who.
        peer: Address,
    },
    /// There are as many connections as there may be. Close one.
    #[error("{limit} connections are open already")]
    Full {
        /// The limit.
        limit: usize,
    },
}

/// Why a message is not sent.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SendError {
    /// There is no connection to the peer.
    #[error("not connected to {peer}")]
    NotConnected {
        /// Who.
        peer: Address,
    },
    /// The message is longer than this transport carries.
    #[error("message of {actual} bytes exceeds {limit}")]
    TooLong {
        /// Its length.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// Too much waits to leave. [`Event::Writable`] says when there is room.
    #[error("too much waits for {peer}")]
    Full {
        /// Who.
        peer: Address,
    },
}

/// Carries messages to peers and back.
///
/// Within one connection messages arrive whole, once, and in the order they were sent. A connection that cannot
/// keep that ends. Every implementation passes [`conformance`].
pub trait Transport {
    /// Longest message, in bytes.
    fn message_bytes_max(&self) -> usize;

    /// Makes a connection, unless there is one; [`Event::Connected`] says when it is there,
    /// [`Event::Disconnected`] that it cannot be made.
    ///
    /// # Errors
    /// [`ConnectError`].
    fn connect(&mut self, peer: &Address, now: Instant) -> Result<(), ConnectError>;

    /// Sends a message, which may be empty.
    ///
    /// # Errors
    /// [`SendError`]. Nothing is sent on an error.
    fn send(&mut self, peer: &Address, message: &[u8], now: Instant) -> Result<(), SendError>;

    /// Ends a connection, if there is one. What was sent before may still arrive; nothing comes any more but
    /// [`Event::Disconnected`].
    fn close(&mut self, peer: &Address, now: Instant);

    /// What happened next.
    fn poll_event(&mut self) -> Option<Event>;

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);

    /// When [`Transport::handle_timeout`] has something to do.
    fn poll_timeout(&self) -> Option<Instant>;
}
