//! The rules of a BitChat mesh: what its packets are, and a peer that talks to others over links.
//!
//! Everything here is sans-IO: frames of links and the current [`Instant`](fogcompute_base::Instant) go in,
//! frames, events and the next deadline come out. A link is whatever moves bytes between two neighbours: a
//! Bluetooth connection, a TCP connection, a queue in a test. Radios are not here.
//!
//! Meet [`Node`] and [`Packet`] first.
//!
//! ```
//! use fogcompute_base::{Instant, OsEntropy, UnixMillis};
//! use fogcompute_mesh::{Event, Identity, LinkConfig, LinkId, Node, NodeConfig};
//!
//! let (mut rng, now) = (OsEntropy, Instant::ZERO);
//! let unix = UnixMillis(1_760_000_000_000);
//! let mut nodes = ["alice", "bob"].map(|name| {
//!     let identity = Identity::random(&mut rng);
//!     Node::new(identity, name, NodeConfig::default(), unix, now).expect("the name is short")
//! });
//! let link = LinkId(1);
//! for node in &mut nodes {
//!     node.link_up(link, LinkConfig::FRAMED, now);
//!     node.handle_timeout(now, &mut rng); // Both announce themselves.
//! }
//! nodes[0].send_public("hello", now, &mut rng)?;
//! // What leaves one end of the link comes in at the other.
//! for (from, to) in [(0, 1), (1, 0)] {
//!     while let Some(transmit) = nodes[from].poll_transmit() {
//!         nodes[to].handle_input(link, &transmit.bytes, now, &mut rng);
//!     }
//! }
//! let texts: Vec<_> = std::iter::from_fn(|| nodes[1].poll_event())
//!     .filter_map(|event| match event {
//!         Event::Public { text, .. } => Some(text),
//!         _ => None,
//!     })
//!     .collect();
//! assert_eq!(texts, ["hello"]);
//! # Ok::<(), fogcompute_mesh::SendError>(())
//! ```
//!
//! # What it speaks
//!
//! The wire format of the BitChat apps (iOS `permissionlesstech/bitchat` at 9b84b361, Android
//! `permissionlesstech/bitchat-android` at 09b481f1): packets of versions 1 and 2, announces, public and private
//! messages, Noise XX sessions, fragments, sync with Golomb-coded sets, relaying, couriers with one-time keys,
//! groups of up to sixteen, files, voice bursts. Types that mean nothing here are relayed and not looked into. It
//! was checked against vectors from independent libraries and packets of one of them (`bitchat-protocol`), between two
//! nodes on `bumble`'s virtual Bluetooth controllers, and never against an app on a phone.
//!
//! Ours, for peers that announce the capability, inside sessions: [call signalling](call), [files in
//! chunks](chunks), private messages under keys that are used once ([`ratchet`]), [large groups](large_group), and what [couriers tell each
//! other](courier::CourierNews) when a [strategy](courier::CourierStrategy) other than that of the apps chooses who
//! carries.
//!
//! # What it does not do
//!
//! - Nostr, geohash channels, boards and vouching: such packets are relayed.
//! - Packets over a route that the sender chose are passed on along it; no packet is sent so from here.
//! - No ratchet with peers that do not have one, and for files, voice and calls with none: who learns a session's
//!   keys reads that session. Sessions are made anew after a day.
//! - It does not hide who is there: a peer's identifier, name and keys are in clear in its announces, every few
//!   seconds, and the time to live of a packet shows who it started with, so that whoever listens knows who talks to
//!   whom. The apps have that too. Peers that talk only to the members of their own [fog] hide all of it from
//!   others, and cannot be heard by the apps.
//! - A public message of 100 bytes or more that DEFLATE makes shorter may be refused by the iOS app: it packs again
//!   with an encoder of its own to verify the signature, and encoders differ.
//! - Nothing is sent a second time but private texts ([`Node::send_private`]) and what peers miss and ask for.
//!
//! # Trust
//!
//! A peer's identifier is the hash of its Noise key, so a session proves who it is. Its signing key is the first
//! one that was announced for that identifier, and never changes. Who is behind a link is what an announce or a
//! handshake with a full time to live says; nobody signs that, so it chooses where a packet is sent first and
//! nothing else.
//!
//! What couriers tell is what they say: one that claims to meet everybody is given copies, and no more than the budget
//! of an envelope. Who asks couriers tells each neighbour of ours whom it is likely to meet.
//!
//! Whatever links bring is bounded: by link, by peer, by number and bytes ([`NodeConfig`]). What is refused is
//! counted by its kind ([`Counters`]).

#![expect(
    clippy::missing_panics_doc,
    reason = "no caller can cause what an `expect` here says cannot happen"
)]

mod announce;
pub mod call;
pub mod chunks;
mod counters;
pub mod courier;
mod deflate;
pub mod file;
pub mod fog;
pub mod fragment;
mod gcs;
pub mod group;
mod identity;
pub mod large_group;
mod link;
mod node;
pub mod noise;
mod packet;
mod payload;
mod pickles;
pub mod ratchet;
pub mod relay;
mod seen;
mod sessions;
mod sync;
mod tlv;
pub mod voice;

pub use announce::{Announce, Capabilities, NEIGHBOURS_MAX, NICKNAME_BYTES_MAX};
pub use counters::Counters;
pub use fog::{FogConfig, FogKey};
pub use fragment::Fragment;
pub use gcs::{GCS_BYTES_MAX, GCS_REMAINDER_BITS, Gcs, GcsError};
pub use identity::{Fingerprint, Identity, NoiseKey, VerifyKey};
pub use link::{LinkConfig, LinkId};
pub use node::{
    DeliveryState, Event, Node, NodeConfig, PUBLIC_BYTES_MAX, PeerView, Protection, RestoreError,
    SendError, Transmit,
};
pub use packet::{
    PAYLOAD_BYTES_MAX, Packet, PacketError, PacketType, PeerId, ROUTE_HOPS_MAX, SIGNATURE_BYTES,
    TTL_MAX, Tail,
};
pub use payload::{Content, MessageId, PRIVATE_BYTES_MAX, PeerState};
pub use sync::{Keep, SYNC_FRAGMENTS_MAX, SyncError, SyncRequest, SyncStore, SyncTypes};
pub use tlv::FormatError;
