//! The mixnet's rules: Sphinx packets, single-use reply blocks, a mixnode and a mix client.
//!
//! Everything here is sans-IO: packets and the current [`Instant`](fogcompute_base::Instant) go in,
//! packets and the next deadline come out. `fogcompute-net` gives it sockets.
//!
//! Meet [`Packet`] and [`Client`] first; a node's hot path is [`open_headers`].
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
//! | feature | adds |
//! |---|---|
//! | `compat-nym` | `nym`: the packet format of the `sphinx-packet` crate |
//!
//! # Security
//!
//! The packet format is `fog-sphinx/1`, whose byte tables are at [`Packet`] and [`Surb`]. It is a
//! Sphinx (Danezis and Goldberg, IEEE S&P 2009) without the blinding of one point: each routing block
//! carries a fresh X25519 point for the next hop, so that a hop costs its node one scalar
//! multiplication instead of two, and 32 bytes ("KEM-Sphinx", as Katzenpost calls it; Outfox,
//! arXiv 2412.19937, does the same with headers that shrink). Everything else is BLAKE3, AES-128 in
//! counter mode or ChaCha20, and LIONESS.
//!
//! - One length for every packet of a [`Geometry`], whatever the length of its route and wherever it
//!   is on it. What the route leaves unused of the header is random: were it zeros, the last hop
//!   could tell how long the route was (Kuhn et al., IEEE S&P 2020).
//! - The header's tag is checked before anything is done with the payload, and covers version, epoch
//!   and point too. A point with another encoding of the same `u`, or with a component of small
//!   order, gives other keys, so it does not verify.
//! - A changed payload is destroyed by the next hop and noticed by the receiver (28 zero bytes).
//!   That it was changed is noticed nowhere on its way: a node at either end of a route that
//!   cooperate can recognise the loss of a packet, as in Sphinx.
//! - Replays are found by a tag from the same key derivation; points that give a zero secret are
//!   refused; delays are exponential, chosen by the sender; every kind of bad packet is dropped in
//!   silence.
//!
//! What is proven and what is not: Sphinx is proven in an idealised setting and under the
//! gap-Diffie-Hellman assumption, with later corrections (Scherer, Weis and Strufe,
//! arXiv 2312.08028); Outfox has a proof of universal composability for the one-multiplication
//! layering. The analysis of constant-length KEM-Sphinx is thinner than either, and this very
//! composition of parts has no proof of its own. Nobody independent has audited it. It does not
//! resist quantum computers. Secrets are erased from the structures that keep them, not from every
//! register and stack slot of the ciphers below.
//!
//! # Mixing
//!
//! - A [`Mixnode`] holds a packet for the time its sender chose, in ticks of 100 µs. What is due in
//!   one tick leaves in random order; what could not leave for [`MixnodeConfig::lateness_max`] after
//!   its time is dropped.
//! - A [`ReplayFilter`] has to hold every packet of a key epoch: rate × epoch tags of 5 bytes. When it
//!   is full it says so and packets are dropped; nothing is forgotten and nothing panics.
//! - [`Client::send_reliably`] sends again what is lost, within a window that follows losses.
//!   Acknowledgements come by reply blocks, so the receiver does not learn where the sender is. Nor does
//!   the sender learn where the receiver is from a block that starts at a node of its own:
//!   [`Client::set_entries`] says where blocks may start.
//! - A [`SurbStore`] is what a client keeps across a restart, encrypted.
//! - [`CoverConfig`] is a client's cover traffic: loops and drops, each a Poisson process of its own,
//!   from the same code as real packets. It hides whether somebody sends. A mixnode's loops are
//!   those of a client beside it ([`Topology::loop_route`], [`Client::handle_cover`]). Real packets are
//!   not made to fit into it: they leave when there is something to send.
//!
//! What it does not do yet: a directory run by several authorities that would say when key epochs
//! begin and which cover is due, routes that senders cannot choose (VRF). A [`Topology`] is trusted
//! as given.

mod bucket;
mod client;
mod cover;
mod crypto;
mod dh;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod geometry;
mod header;
mod key;
mod message;
mod mixnode;
mod noderef;
#[cfg(feature = "compat-nym")]
pub mod nym;
mod packet;
mod poisson;
mod reliable;
mod replay;
mod surb;
mod surb_store;
mod topology;
mod topology_file;
mod wheel;

pub use bucket::TokenBucket;
pub use client::{Client, ClientConfig, ClientEvent, Incoming, ReceiveError, SendError};
pub use cover::{CoverConfig, CoverStats, PowerClass};
pub use dh::x25519_backends;
pub use geometry::{Geometry, GeometryError, HOPS_MAX, PAYLOAD_OVERHEAD_BYTES, Suite};
pub use header::{Instruction, Layer, OpenedHeader, open_header, open_headers};
pub use key::{Contact, EpochParity, KeyRing, ParseContactError, PrivateKey, PublicKey};
pub use message::{FRAGMENT_HEADER_BYTES, MessageError, MessageId};
pub use mixnode::{Delivery, DropReason, EpochKey, MixStats, Mixnode, MixnodeConfig, Transmit};
pub use noderef::NodeRef;
pub use packet::{
    BuildError, DELAY_MAX, Hop, Packet, PacketError, Processed, SealedReply, Unwrapped,
};
pub use poisson::{DELAY_MEANS_MAX, PoissonProcess};
pub use reliable::ReliabilityConfig;
pub use replay::{ReplayFilter, ReplayTag, ReplayVerdict, TooManyTags};
pub use surb::{ReplyKey, Surb, SurbError, SurbId};
pub use surb_store::{ClientMemory, HeldSurbs, StoreKey, SurbStore, SurbStoreError};
pub use topology::{Descriptor, Topology, TopologyError};
pub use topology_file::{TOPOLOGY_FILE_BYTES_MAX, TopologyFile, TopologyFileError};
pub use wheel::Wheel;
