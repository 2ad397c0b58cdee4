//! Links over UDP: who is at the other end is proven by Noise IK, and every datagram has one size.
//!
//! Everything here is sans-IO: datagrams and `now` go in, datagrams and the next deadline come out.
//! [`MixEngine`](crate::MixEngine) gives it sockets and threads.
//!
//! # On the wire
//!
//! A network's mix packets have one length F ([`Geometry::packet_bytes`]), and every datagram of its
//! links, handshakes too, has the length D = F + 26. For [`Geometry::DATAGRAM`] that is 1,452 bytes,
//! what IPv6 and UDP leave of a path of 1,500. Larger geometries work too, but IP has to take their
//! datagrams apart and put them together again, and one lost fragment loses the packet; above
//! 65,507 bytes there is no datagram. Integers are big-endian.
//!
//! | datagram | bytes | content |
//! |---|---|---|
//! | initiation | 0 | `0x11` |
//! | | 1..5 | index |
//! | | 5..D-32 | first message of Noise IK; payload: `u32` index again, `u64` stamp, zeros |
//! | | D-32..D-16 | token, or zeros |
//! | | D-16..D | keyed BLAKE3 of all before, by a key derived from the receiver's public key |
//! | response | 0 | `0x12` |
//! | | 1..5 | the initiation's index |
//! | | 5..D | second message of Noise IK; payload: `u32` index, zeros |
//! | retry | 0 | `0x14` |
//! | | 1..5 | the initiation's index |
//! | | 5..21 | token for its sender's address |
//! | | 21..37 | keyed BLAKE3 of the token and the initiation's last 16 bytes |
//! | | 37..D | zeros |
//! | data | 0 | `0x13` |
//! | | 1..5 | index that the receiver chose for this link |
//! | | 5 | lane: each thread of the sender counts in its own |
//! | | 6..10 | count of the lane |
//! | | 10..D | frame of F bytes, ChaCha20-Poly1305 |
//!
//! The Noise protocol is `Noise_IK_25519_ChaChaPoly_BLAKE2s`, its prologue `fogcompute-udp-link/1`.
//! The nonce of data is lane × 2³² + count: a lane that has counted to its end sends no more, which a
//! new handshake long before makes no matter. A frame that begins with a zero byte, as no mix packet
//! does, is cover: it is dropped when it has been opened.
//!
//! # What strangers can do
//!
//! - *Garbage* costs a look at its length and first byte; with the index of a link, one
//!   authentication (a microsecond).
//! - *Initiations* are answered at most once each by a datagram of the same length, so nothing is
//!   amplified. They cost nothing beyond a hash to who cannot name this node's key, and at most
//!   [`handshakes_per_second_max`](UdpLinksConfig::handshakes_per_second_max) are worked on. While
//!   more than [`handshakes_per_second_unproven_max`](UdpLinksConfig::handshakes_per_second_unproven_max)
//!   come, those without a token for their address get one in a retry and are dropped, without a
//!   scalar multiplication and without anything being kept; those with one have the rest of the
//!   rate, each network a part. So whoever invents addresses does not keep others out. Whoever has very
//!   many of them does: then new links are made late or not at all while that lasts, and links that
//!   exist do not suffer. A retry takes one more round trip.
//! - *Retries* that were made without sight of the initiation are refused.
//! - *Replayed initiations* are known by their stamp, which grows with each that a peer makes, as
//!   long as a link to that peer is there. After that one makes a half-open link on which nothing is
//!   ever sent, for only data from the peer itself confirms it. Half-open links are few, short-lived
//!   and the oldest gives way.
//! - *Replayed data* is refused here, by a window of 960 counts a lane, before it costs anything of
//!   the peer's allowance or a Diffie-Hellman. The mix packet inside would be refused by the replay
//!   filter of the mixnode as well, at the price of one.
//! - *Invented identities* are strangers: at most [`strangers_max`](UdpLinksConfig::strangers_max)
//!   of them have links on which something has come. When all places are taken, a stranger of whom
//!   nothing came for three minutes gives way to the next one; if there is none, that one of the
//!   network with most strangers of whom nothing came for longest, provided that this network keeps
//!   as many as that of the next. A network is an IPv4 address or 64 bits of IPv6; if those
//!   have equally few, 24 or 48 bits. So a network keeps its fair share whatever others do, and
//!   whoever has as many networks as there are places keeps further ones out. Nodes of the directory
//!   always have room.
//!
//! [`Geometry::packet_bytes`]: fogcompute_mix::Geometry::packet_bytes
//! [`Geometry::DATAGRAM`]: fogcompute_mix::Geometry::DATAGRAM

mod gate;
mod handshake;
mod link;
mod links;
#[cfg(test)]
mod tests;
mod window;
mod wire;

pub use link::{LinkExhausted, Opened, UdpLink};
pub use links::{UdpLinks, UdpLinksConfig, UdpLinksError, UdpTable, Unreachable};
#[cfg(unix)]
pub(crate) use wire::DATA;
pub use wire::{DATAGRAM_BYTES_MAX, DATAGRAM_OVERHEAD_BYTES, LANES, Refusal};
