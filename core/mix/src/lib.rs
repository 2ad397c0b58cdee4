//! The mixnet's rules: Sphinx packets, single-use reply blocks, a mixnode and a mix client.
//!
//! Everything here is sans-IO: packets and the current [`Instant`](fogcompute_base::Instant) go in,
//! packets and the next deadline come out. `fogcompute-net` gives it sockets.
//!
//! Meet [`Packet`] and [`Client`] first.
//!
//! ```
//! use fogcompute_mix::{Geometry, Hop, Packet, PrivateKey, Processed};
//! use fogcompute_base::{NodeId, OsEntropy};
//! use std::time::Duration;
//!
//! let mut rng = OsEntropy;
//! let keys: Vec<_> = (0..3).map(|_| PrivateKey::random(&mut rng)).collect();
//! let route: Vec<_> = keys
//!     .iter()
//!     .zip(1..)
//!     .map(|(key, n)| Hop::new(NodeId::from_bytes([n; 32]), key.public(), Duration::ZERO))
//!     .collect();
//!
//! let mut packet = Packet::build(Geometry::DEFAULT, &route, b"hello", &mut rng)?;
//! for key in &keys[..2] {
//!     let Processed::Forward { packet: inner, .. } = packet.process(key)?.outcome else {
//!         unreachable!("the first two hops forward");
//!     };
//!     packet = inner;
//! }
//! let Processed::Deliver { payload } = packet.process(&keys[2])?.outcome else {
//!     unreachable!("the last hop receives");
//! };
//! assert_eq!(payload, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Security
//!
//! The packet format is Sphinx (Danezis and Goldberg, IEEE S&P 2009) as the `sphinx-packet` crate
//! implements it (Nym's version 260): X25519 with blinding, HKDF-SHA256, AES-128-CTR headers with an
//! HMAC-SHA256 tag of 16 bytes, a LIONESS payload so that tagging destroys the message, and random
//! header padding (Kuhn et al., PETS 2020). At most [`HOPS_MAX`] hops.
//!
//! What this crate adds: replay detection by the tag derived from the shared secret, refusal of
//! low-order points, one length for every packet of a [`Geometry`], exponential delays chosen by
//! the sender, and one indistinguishable drop for every kind of bad packet.
//!
//! What it does not do yet: cover traffic, key epochs, retransmission, a directory run by several
//! authorities. A [`Topology`] is trusted as given.

mod bucket;
mod client;
mod geometry;
mod key;
mod message;
mod mixnode;
mod packet;
mod poisson;
mod replay;
mod shared_replay;
mod surb;
mod topology;
mod wheel;

pub use bucket::TokenBucket;
pub use client::{Client, ClientConfig, Incoming, ReceiveError, SendError};
pub use geometry::{Geometry, GeometryError, HEADER_BYTES, HOPS_MAX, PAYLOAD_OVERHEAD_BYTES};
pub use key::{PrivateKey, PublicKey};
pub use message::{FRAGMENT_HEADER_BYTES, MessageError, MessageId};
pub use mixnode::{Delivery, DropReason, MixStats, Mixnode, MixnodeConfig, Transmit};
pub use packet::{BuildError, Hop, Packet, PacketError, Processed, SealedReply, Unwrapped};
pub use poisson::{DELAY_MEANS_MAX, PoissonProcess};
pub use replay::{ReplayFilter, ReplayTag, ReplayVerdict};
pub use shared_replay::SharedReplayFilter;
pub use surb::{ReplyKey, SURB_BYTES, Surb, SurbError, SurbId};
pub use topology::{Descriptor, Topology, TopologyError};
pub use wheel::Wheel;
