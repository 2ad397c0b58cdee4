//! The packet format of the `sphinx-packet` crate, which Nym's network speaks.
//!
//! A codec beside `fog-sphinx/1`, for programs that talk to that network and for comparing the two.
//! It is the classic Sphinx: X25519 with blinding, HKDF-SHA256, AES-128-CTR headers with an
//! HMAC-SHA256 tag of 16 bytes, a LIONESS payload of ChaCha20 and BLAKE2b, random padding, at most
//! 5 hops. What this module adds to the crate: typed errors, refusal of points of small order and
//! of repeated nodes, one length for all packets.
//!
//! ```
//! use fogcompute_base::{NodeId, OsEntropy};
//! use fogcompute_mix::nym::{Codec, Processed};
//! use fogcompute_mix::{Hop, PrivateKey};
//! use std::time::Duration;
//!
//! let codec = Codec::default();
//! let key = PrivateKey::random(&mut OsEntropy);
//! let hop = Hop::new(NodeId::from_bytes([1; 32]), key.public(), Duration::ZERO);
//! let packet = codec.build(&[hop], b"hello", &mut OsEntropy)?;
//! let Processed::Deliver { payload } = codec.process(&key, &packet)?.outcome else {
//!     unreachable!("one hop delivers");
//! };
//! assert_eq!(payload, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::time::Duration;

use fogcompute_base::{CryptoRng, NodeId};
use sphinx_packet::constants::MAX_PATH_LENGTH;
use sphinx_packet::header::HEADER_SIZE;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::payload::{PAYLOAD_OVERHEAD_SIZE, Payload};
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{
    ProcessedPacketData, SURB, SURBMaterial, SphinxPacket, SphinxPacketBuilder, SurbReplyRecovery,
};
use thiserror::Error;
use x25519_dalek::{PublicKey as DalekPublic, StaticSecret};

use crate::key::{PrivateKey, PublicKey};
use crate::packet::{Hop, PacketError};
use crate::surb::{SurbError, SurbId};

/// Most hops of a route.
pub const HOPS_MAX: usize = MAX_PATH_LENGTH;

/// Length of a reply block: header 348, first hop 32, seed of the payload's key 16 bytes.
pub const SURB_BYTES: usize = HEADER_SIZE + 32 + 16;

/// Longest delay of a hop: what 64 bits of nanoseconds can say.
pub const DELAY_MAX: Duration = Duration::from_nanos(u64::MAX);

/// Why a packet or a reply block cannot be built.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BuildError {
    /// The route or the payload was refused.
    #[error(transparent)]
    Refused(#[from] crate::packet::BuildError),
    /// The `sphinx-packet` crate refused what was checked before: a defect of this module.
    #[error("sphinx-packet refused the route")]
    Sphinx,
}

/// A payload size that no codec can have.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("payload of {actual} bytes is outside 1 to {max}")]
pub struct PayloadSizeError {
    /// Bytes asked for.
    pub actual: usize,
    /// Most bytes.
    pub max: usize,
}

/// What one layer said to do.
#[derive(Debug)]
pub enum Processed {
    /// Hold the packet for `delay`, then send it to `next`.
    Forward {
        /// The next hop.
        next: NodeId,
        /// How long to hold it.
        delay: Duration,
        /// What to send, as long as the packet that came in.
        packet: Vec<u8>,
    },
    /// This node is the receiver.
    Deliver {
        /// The sender's message.
        payload: Vec<u8>,
    },
    /// This node made the reply block the packet came by.
    Reply {
        /// Which reply block.
        surb: SurbId,
        /// What to open with its [`ReplyKey`].
        reply: SealedReply,
    },
}

/// A packet with one layer taken off.
#[derive(Debug)]
pub struct Unwrapped {
    /// Names the packet at this hop, whatever was done to its bytes: see it twice, drop it.
    pub replay_tag: [u8; 32],
    /// What to do.
    pub outcome: Processed,
}

/// A reply that only the maker of its reply block can open.
pub struct SealedReply(Payload);

impl fmt::Debug for SealedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedReply(..)")
    }
}

/// Builds and processes packets of one length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Codec {
    payload_bytes: usize,
}

impl Default for Codec {
    fn default() -> Self {
        Self {
            payload_bytes: 2048,
        }
    }
}

impl Codec {
    const PAYLOAD_BYTES_MAX: usize = 65_536;

    /// A codec whose packets carry up to `payload_bytes` bytes, 1 to 65,536.
    ///
    /// # Errors
    /// [`PayloadSizeError`].
    pub const fn new(payload_bytes: usize) -> Result<Self, PayloadSizeError> {
        if payload_bytes == 0 || payload_bytes > Self::PAYLOAD_BYTES_MAX {
            return Err(PayloadSizeError {
                actual: payload_bytes,
                max: Self::PAYLOAD_BYTES_MAX,
            });
        }
        Ok(Self { payload_bytes })
    }

    /// Bytes of message one packet carries.
    #[must_use]
    pub const fn payload_bytes(self) -> usize {
        self.payload_bytes
    }

    /// Length of every packet.
    #[must_use]
    pub const fn packet_bytes(self) -> usize {
        HEADER_SIZE + self.sphinx_payload_bytes()
    }

    const fn sphinx_payload_bytes(self) -> usize {
        self.payload_bytes + PAYLOAD_OVERHEAD_SIZE
    }

    /// Builds a packet that takes `route` and delivers `payload` to its last hop.
    ///
    /// The ephemeral key comes from `rng`; the header padding comes from `sphinx-packet`'s own
    /// generator, so two packets from one seed are not equal.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(
        self,
        route: &[Hop],
        payload: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, BuildError> {
        if payload.len() > self.payload_bytes {
            return Err(crate::packet::BuildError::PayloadTooLarge {
                actual: payload.len(),
                max: self.payload_bytes,
            }
            .into());
        }
        let (nodes, delays) = sphinx_route(route)?;
        SphinxPacketBuilder::new()
            .with_payload_size(self.sphinx_payload_bytes())
            .with_initial_secret(&ephemeral(rng))
            .build_packet(payload, &nodes, &destination(route, [0; 16]), &delays)
            .map(|packet| packet.to_bytes())
            .map_err(|_| BuildError::Sphinx)
    }

    /// Takes one layer off a packet with a node's private key.
    ///
    /// # Errors
    /// [`PacketError::Length`], [`PacketError::LowOrder`], [`PacketError::Header`],
    /// [`PacketError::Payload`].
    pub fn process(self, key: &PrivateKey, packet: &[u8]) -> Result<Unwrapped, PacketError> {
        if packet.len() != self.packet_bytes() {
            return Err(PacketError::Length {
                actual: packet.len(),
                expected: self.packet_bytes(),
            });
        }
        let mut alpha = [0; 32];
        alpha.copy_from_slice(&packet[..32]);
        if PublicKey::from_bytes(alpha).is_low_order() {
            return Err(PacketError::LowOrder);
        }
        let packet = SphinxPacket::from_bytes(packet).map_err(|_| PacketError::Header)?;
        let secret = packet
            .header
            .compute_expanded_shared_secret(&StaticSecret::from(key.to_bytes()));
        let replay_tag = *secret.replay_tag();
        let processed = packet
            .process_with_expanded_secret(&secret)
            .map_err(|_| PacketError::Header)?;
        let outcome = match processed.data {
            ProcessedPacketData::ForwardHop {
                next_hop_packet,
                next_hop_address,
                delay,
            } => Processed::Forward {
                next: NodeId::from_bytes(next_hop_address.to_bytes()),
                delay: delay.to_duration(),
                packet: next_hop_packet.to_bytes(),
            },
            ProcessedPacketData::FinalHop {
                identifier,
                payload,
                ..
            } => match SurbId::from_bytes(identifier) {
                Some(surb) => Processed::Reply {
                    surb,
                    reply: SealedReply(payload),
                },
                None => Processed::Deliver {
                    payload: payload
                        .recover_plaintext()
                        .map_err(|_| PacketError::Payload)?,
                },
            },
        };
        Ok(Unwrapped {
            replay_tag,
            outcome,
        })
    }

    /// Uses a reply block up: the packet that carries `payload` back, and where to send it.
    ///
    /// # Errors
    /// [`SurbError::PayloadTooLarge`].
    pub fn reply(self, surb: Surb, payload: &[u8]) -> Result<(NodeId, Vec<u8>), SurbError> {
        let too_large = SurbError::PayloadTooLarge {
            actual: payload.len(),
            max: self.payload_bytes,
        };
        if payload.len() > self.payload_bytes {
            return Err(too_large);
        }
        let (packet, first) = surb
            .0
            .use_surb(payload, self.sphinx_payload_bytes())
            .map_err(|_| too_large)?;
        Ok((NodeId::from_bytes(first.to_bytes()), packet.to_bytes()))
    }
}

/// A single-use reply block.
///
/// | bytes | content |
/// |---|---|
/// | 0..348 | Sphinx header of the way back |
/// | 348..380 | first node of the way back |
/// | 380..396 | seed of the key for the reply's payload |
pub struct Surb(SURB);

impl Surb {
    /// Makes a reply block whose route ends at its maker, and the key that opens the reply.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn new(route: &[Hop], rng: &mut impl CryptoRng) -> Result<(Self, ReplyKey), BuildError> {
        let (nodes, delays) = sphinx_route(route)?;
        let id = loop {
            let mut bytes = [0; 16];
            rng.fill_bytes(&mut bytes);
            if let Some(id) = SurbId::from_bytes(bytes) {
                break id;
            }
        };
        let material = SURBMaterial::new(
            nodes,
            delays,
            destination(route, *id.as_bytes()),
            SINGLE_SEED_SURB_VERSION,
        );
        let (surb, recovery) =
            SURB::new_recoverable(ephemeral(rng), material).map_err(|_| BuildError::Sphinx)?;
        Ok((Self(surb), ReplyKey { id, recovery }))
    }

    /// Takes a reply block that came in a message.
    ///
    /// # Errors
    /// [`SurbError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SurbError> {
        let malformed = SurbError::Malformed {
            actual: bytes.len(),
            expected: SURB_BYTES,
        };
        if bytes.len() != SURB_BYTES {
            return Err(malformed);
        }
        SURB::from_bytes(bytes).map(Self).map_err(|_| malformed)
    }

    /// The reply block as it goes into a message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }
}

impl fmt::Debug for Surb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surb(..)")
    }
}

/// What the maker of a reply block keeps to open the one reply that comes by it.
pub struct ReplyKey {
    id: SurbId,
    recovery: SurbReplyRecovery,
}

impl ReplyKey {
    /// The block's id, under which the reply arrives.
    #[must_use]
    pub const fn id(&self) -> SurbId {
        self.id
    }

    /// Opens the reply.
    ///
    /// # Errors
    /// [`SurbError::Sealed`].
    pub fn open(&self, reply: SealedReply) -> Result<Vec<u8>, SurbError> {
        self.recovery
            .recover_plaintext(reply.0)
            .map_err(|_| SurbError::Sealed)
    }
}

impl fmt::Debug for ReplyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyKey({:?})", self.id)
    }
}

fn ephemeral(rng: &mut impl CryptoRng) -> StaticSecret {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    StaticSecret::from(bytes)
}

fn destination(route: &[Hop], identifier: [u8; 16]) -> Destination {
    let receiver = route.last().map_or([0; 32], |hop| *hop.node.as_bytes());
    Destination::new(DestinationAddressBytes::from_bytes(receiver), identifier)
}

/// Checks a route and puts it into the terms of `sphinx-packet`.
fn sphinx_route(route: &[Hop]) -> Result<(Vec<Node>, Vec<Delay>), crate::packet::BuildError> {
    use crate::packet::BuildError;
    if route.is_empty() || route.len() > HOPS_MAX {
        return Err(BuildError::HopCount {
            actual: route.len(),
            max: HOPS_MAX,
        });
    }
    let mut delays = Vec::with_capacity(route.len());
    for (position, hop) in route.iter().enumerate() {
        let node = hop.node;
        if route[..position].iter().any(|earlier| earlier.node == node) {
            return Err(BuildError::RepeatedNode { node });
        }
        if hop.key.is_low_order() {
            return Err(BuildError::WeakKey { node });
        }
        let delay = hop.delay;
        let nanos = u64::try_from(delay.as_nanos()).map_err(|_| BuildError::DelayTooLong {
            node,
            delay,
            max: DELAY_MAX,
        })?;
        delays.push(Delay::new_from_nanos(nanos));
    }
    let nodes = route
        .iter()
        .map(|hop| {
            Node::new(
                NodeAddressBytes::from_bytes(*hop.node.as_bytes()),
                DalekPublic::from(*hop.key.as_bytes()),
            )
        })
        .collect();
    Ok((nodes, delays))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::keys_and_route;
    use fogcompute_base::OsEntropy;
    use proptest::prelude::*;

    const CODEC: Codec = Codec {
        payload_bytes: 1024,
    };

    fn peer_key(key: &PrivateKey) -> StaticSecret {
        StaticSecret::from(key.to_bytes())
    }

    /// Follows a packet with `sphinx-packet` alone; returns what arrives, and by which reply block.
    fn follow_by_peer(
        keys: &[PrivateKey],
        route: &[Hop],
        bytes: &[u8],
    ) -> Option<([u8; 16], Payload)> {
        let mut packet = SphinxPacket::from_bytes(bytes).ok()?;
        for (index, key) in keys.iter().enumerate() {
            match packet.process(&peer_key(key)).ok()?.data {
                ProcessedPacketData::ForwardHop {
                    next_hop_packet,
                    next_hop_address,
                    delay,
                } => {
                    let next = route[index + 1].node;
                    assert_eq!(next_hop_address.to_bytes(), *next.as_bytes());
                    assert_eq!(delay.to_duration(), route[index].delay);
                    packet = next_hop_packet;
                }
                ProcessedPacketData::FinalHop {
                    identifier,
                    payload,
                    ..
                } => return Some((identifier, payload)),
            }
        }
        None
    }

    /// Follows a packet with the codec.
    fn follow(keys: &[PrivateKey], route: &[Hop], mut packet: Vec<u8>) -> Processed {
        for (index, key) in keys.iter().enumerate() {
            match CODEC.process(key, &packet).unwrap().outcome {
                Processed::Forward {
                    next,
                    delay,
                    packet: inner,
                } => {
                    assert_eq!(inner.len(), packet.len());
                    assert_eq!((next, delay), (route[index + 1].node, route[index].delay));
                    packet = inner;
                }
                outcome => return outcome,
            }
        }
        panic!("the last hop receives")
    }

    fn peer_material(route: &[Hop], id: [u8; 16]) -> SURBMaterial {
        let (nodes, delays) = sphinx_route(route).unwrap();
        SURBMaterial::new(
            nodes,
            delays,
            destination(route, id),
            SINGLE_SEED_SURB_VERSION,
        )
    }

    #[test]
    fn what_the_codec_builds_the_peer_processes() {
        for hops in 1..=HOPS_MAX {
            let (keys, route) = keys_and_route(hops);
            let packet = CODEC.build(&route, b"to the peer", &mut OsEntropy).unwrap();
            assert_eq!(packet.len(), CODEC.packet_bytes());
            let (identifier, payload) = follow_by_peer(&keys, &route, &packet).unwrap();
            assert_eq!(identifier, [0; 16]);
            assert_eq!(payload.recover_plaintext().unwrap(), b"to the peer");
        }
    }

    #[test]
    fn what_the_peer_builds_the_codec_processes() {
        for hops in 1..=HOPS_MAX {
            let (keys, route) = keys_and_route(hops);
            let (nodes, delays) = sphinx_route(&route).unwrap();
            let packet = SphinxPacketBuilder::new()
                .with_payload_size(CODEC.sphinx_payload_bytes())
                .build_packet(
                    b"from the peer",
                    &nodes,
                    &destination(&route, [0; 16]),
                    &delays,
                )
                .unwrap();
            let outcome = follow(&keys, &route, packet.to_bytes());
            let Processed::Deliver { payload } = outcome else {
                panic!("no reply block was used");
            };
            assert_eq!(payload, b"from the peer");
        }
    }

    #[test]
    fn reply_blocks_of_each_work_with_the_other() {
        for hops in 1..=HOPS_MAX {
            let (keys, route) = keys_and_route(hops);
            // Ours, used and carried by the peer.
            let (surb, key) = Surb::new(&route, &mut OsEntropy).unwrap();
            let bytes = surb.to_bytes();
            assert_eq!(bytes.len(), SURB_BYTES);
            let (packet, first) = SURB::from_bytes(&bytes)
                .unwrap()
                .use_surb(b"answer", CODEC.sphinx_payload_bytes())
                .unwrap();
            assert_eq!(first.to_bytes(), *route[0].node.as_bytes());
            let (id, payload) = follow_by_peer(&keys, &route, &packet.to_bytes()).unwrap();
            assert_eq!(id, *key.id().as_bytes());
            assert_eq!(key.open(SealedReply(payload)), Ok(b"answer".to_vec()));
            // The peer's, used and carried by ours.
            let (surb, recovery) = peer_material(&route, [7; 16])
                .construct_recoverable_SURB()
                .unwrap();
            let surb = Surb::from_bytes(&surb.to_bytes()).unwrap();
            let (first, packet) = CODEC.reply(surb, b"other answer").unwrap();
            assert_eq!(first, route[0].node);
            let Processed::Reply { surb, reply } = follow(&keys, &route, packet) else {
                panic!("a reply block was used");
            };
            assert_eq!(surb.as_bytes(), &[7; 16]);
            let opened = recovery.recover_plaintext(reply.0).unwrap();
            assert_eq!(opened, b"other answer");
        }
    }

    #[test]
    fn bad_sizes_routes_and_packets_are_refused_by_name() {
        use crate::packet::BuildError as Refused;
        let max = 65_536;
        for actual in [0, max + 1] {
            assert_eq!(Codec::new(actual), Err(PayloadSizeError { actual, max }));
        }
        assert_eq!(Codec::new(2048), Ok(Codec::default()));
        assert_eq!(Codec::default().packet_bytes(), 2413);
        let build = |route: &[Hop], bytes| {
            CODEC
                .build(route, &vec![0; bytes], &mut OsEntropy)
                .err()
                .unwrap()
        };
        let (keys, route) = keys_and_route(2);
        let (_, six) = keys_and_route(6);
        let max = HOPS_MAX;
        for (route, actual) in [(&[][..], 0), (&six, 6)] {
            let refused = Refused::HopCount { actual, max };
            assert_eq!(build(route, 0), refused.into());
        }
        let node = route[1].node;
        let with = |change: fn(&mut Hop)| {
            let mut route = route.clone();
            change(&mut route[1]);
            build(&route, 0)
        };
        let weak = with(|hop| hop.key = PublicKey::from_bytes([0; 32]));
        assert_eq!(weak, Refused::WeakKey { node }.into());
        let delay = DELAY_MAX + Duration::from_nanos(1);
        let slow = with(|hop| hop.delay = DELAY_MAX + Duration::from_nanos(1));
        let max = DELAY_MAX;
        assert_eq!(slow, Refused::DelayTooLong { node, delay, max }.into());
        let twice = [route[0], route[0]];
        let node = route[0].node;
        assert_eq!(build(&twice, 0), Refused::RepeatedNode { node }.into());
        let (actual, max) = (1025, 1024);
        assert_eq!(
            build(&route, actual),
            Refused::PayloadTooLarge { actual, max }.into()
        );
        let (surb, _) = Surb::new(&route, &mut OsEntropy).unwrap();
        assert_eq!(
            CODEC.reply(surb, &[0; 1025]).err(),
            Some(SurbError::PayloadTooLarge { actual, max })
        );
        assert_eq!(
            Surb::from_bytes(&[0; 10]).err(),
            Some(SurbError::Malformed {
                actual: 10,
                expected: SURB_BYTES
            })
        );

        let packet = CODEC.build(&route, b"fog", &mut OsEntropy).unwrap();
        let process = |packet: &[u8]| CODEC.process(&keys[0], packet).err();
        assert_eq!(
            process(&packet[1..]),
            Some(PacketError::Length {
                actual: packet.len() - 1,
                expected: packet.len()
            })
        );
        let mut weak = packet.clone();
        weak[..32].fill(0);
        assert_eq!(process(&weak), Some(PacketError::LowOrder));
        let mut forged = packet.clone();
        forged[100] ^= 1;
        assert_eq!(process(&forged), Some(PacketError::Header));
        let one = CODEC.build(&route[..1], b"fog", &mut OsEntropy).unwrap();
        let mut tagged = one;
        let last = tagged.len() - 1;
        tagged[last] ^= 1;
        assert_eq!(process(&tagged), Some(PacketError::Payload));
    }

    #[test]
    fn only_the_key_of_the_block_opens_its_reply() {
        let (keys, route) = keys_and_route(3);
        let (surb, _) = Surb::new(&route, &mut OsEntropy).unwrap();
        let (_, other) = Surb::new(&route, &mut OsEntropy).unwrap();
        let (_, packet) = CODEC.reply(surb, b"answer").unwrap();
        let Processed::Reply { reply, .. } = follow(&keys, &route, packet) else {
            panic!("a reply block was used");
        };
        assert_eq!(other.open(reply), Err(SurbError::Sealed));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn foreign_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..1500), tidy in any::<bool>(),
        ) {
            let key = PrivateKey::from_bytes([9; 32]);
            let mut bytes = bytes;
            if tidy {
                bytes.resize(CODEC.packet_bytes(), 0);
            }
            prop_assert!(CODEC.process(&key, &bytes).is_err());
            let _ = Surb::from_bytes(&bytes);
        }
    }
}
