//! One Sphinx packet: building it, and taking one layer off.

use std::fmt;
use std::time::Duration;

use fogcompute_base::{CryptoRng, NodeId};
use sphinx_packet::header::delays::Delay;
use sphinx_packet::payload::Payload;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::{ProcessedPacketData, SphinxPacket, SphinxPacketBuilder};
use thiserror::Error;
use x25519_dalek::StaticSecret;

use crate::geometry::{Geometry, HEADER_BYTES, HOPS_MAX, PAYLOAD_OVERHEAD_BYTES};
use crate::key::{PrivateKey, PublicKey};
use crate::replay::ReplayTag;
use crate::surb::SurbId;

/// One stop of a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hop {
    /// Who this hop is: the previous hop learns it and sends the packet there.
    pub node: NodeId,
    /// The key this hop's layer is encrypted to.
    pub key: PublicKey,
    /// How long this hop holds the packet. The last hop does not wait.
    pub delay: Duration,
}

impl Hop {
    /// A stop at `node`.
    #[must_use]
    pub const fn new(node: NodeId, key: PublicKey, delay: Duration) -> Self {
        Self { node, key, delay }
    }
}

/// Why a packet or a reply block cannot be built.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BuildError {
    /// The route has no hop or more than [`HOPS_MAX`].
    #[error("route has {actual} hops, must have 1 to {max}")]
    HopCount {
        /// Hops given.
        actual: usize,
        /// Most hops.
        max: usize,
    },
    /// The same node stands twice in the route.
    #[error("node {node} stands twice in the route")]
    RepeatedNode {
        /// The node.
        node: NodeId,
    },
    /// A hop's key is of small order.
    #[error("mix key of node {node} is a point of small order")]
    WeakKey {
        /// The node.
        node: NodeId,
    },
    /// The message is longer than one packet carries. Use [`Client`](crate::Client) for longer ones.
    #[error("payload of {actual} bytes exceeds the packet's {max}")]
    PayloadTooLarge {
        /// Bytes given.
        actual: usize,
        /// Bytes a packet of this geometry carries.
        max: usize,
    },
    /// The Sphinx implementation refused the input.
    #[error("sphinx construction failed")]
    Sphinx,
}

/// Why a packet was refused.
///
/// Nodes must not tell the sender which: they drop the packet and count it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PacketError {
    /// The packet does not have the network's packet length.
    #[error("packet has {actual} bytes, the geometry says {expected}")]
    Length {
        /// Bytes received.
        actual: usize,
        /// Bytes every packet has.
        expected: usize,
    },
    /// Alpha is a point of small order.
    #[error("alpha is a point of small order")]
    WeakAlpha,
    /// The header's tag does not verify: damaged, forged, or for another key.
    #[error("header tag does not verify")]
    Header,
    /// The payload does not open: it was changed on its way.
    #[error("payload was changed on its way")]
    Payload,
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
        packet: Packet,
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
        /// What to open with its [`ReplyKey`](crate::ReplyKey).
        reply: SealedReply,
    },
}

/// A reply that only the maker of its reply block can open.
pub struct SealedReply(pub(crate) Payload);

impl fmt::Debug for SealedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedReply(..)")
    }
}

/// A packet with one layer taken off.
#[derive(Debug)]
pub struct Unwrapped {
    /// Names the packet at this hop, whatever was done to its bytes: see it twice, drop it.
    pub replay_tag: ReplayTag,
    /// What to do.
    pub outcome: Processed,
}

/// A Sphinx packet of its network's one length.
///
/// | bytes | field | content |
/// |---|---|---|
/// | 0..32 | alpha | X25519 point of the sender for this hop |
/// | 32..48 | gamma | HMAC-SHA256 of beta, first 16 bytes |
/// | 48..348 | beta | encrypted routing: per hop 32 next node, 8 delay (ns), 3 version, 1 flag, 16 gamma |
/// | 348.. | delta | LIONESS-encrypted payload: 16 zero bytes, message, `0x01`, zero padding |
///
/// Source: Danezis and Goldberg 2009, "Sphinx: A Compact and Provably Secure Mix Format", §3.
#[derive(Clone, Eq, PartialEq)]
pub struct Packet {
    bytes: Vec<u8>,
}

impl Packet {
    /// Builds a packet that takes `route` and delivers `payload` to its last hop.
    ///
    /// The ephemeral key comes from `rng`; the header padding comes from the Sphinx
    /// implementation's own generator, so two packets from one seed are not equal.
    ///
    /// # Errors
    /// Every variant of [`BuildError`].
    pub fn build(
        geometry: Geometry,
        route: &[Hop],
        payload: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, BuildError> {
        if payload.len() > geometry.payload_bytes() {
            return Err(BuildError::PayloadTooLarge {
                actual: payload.len(),
                max: geometry.payload_bytes(),
            });
        }
        let (nodes, delays) = sphinx_route(route)?;
        let secret = ephemeral(rng);
        let destination = destination(route, [0; 16]);
        let packet = SphinxPacketBuilder::new()
            .with_payload_size(geometry.sphinx_payload_bytes())
            .with_initial_secret(&secret)
            .build_packet(payload, &nodes, &destination, &delays)
            .map_err(|_| BuildError::Sphinx)?;
        Ok(Self {
            bytes: packet.to_bytes(),
        })
    }

    /// Takes a packet that came from outside.
    ///
    /// # Errors
    /// [`PacketError::Length`].
    pub fn from_bytes(geometry: Geometry, bytes: Vec<u8>) -> Result<Self, PacketError> {
        if bytes.len() != geometry.packet_bytes() {
            return Err(PacketError::Length {
                actual: bytes.len(),
                expected: geometry.packet_bytes(),
            });
        }
        Ok(Self { bytes })
    }

    pub(crate) fn from_sphinx(packet: &SphinxPacket) -> Self {
        Self {
            bytes: packet.to_bytes(),
        }
    }

    /// The packet as it goes on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The packet as it goes on the wire.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Takes one layer off with this node's private key.
    ///
    /// # Errors
    /// [`PacketError::WeakAlpha`], [`PacketError::Header`], [`PacketError::Payload`].
    pub fn process(&self, key: &PrivateKey) -> Result<Unwrapped, PacketError> {
        if self.bytes.len() < HEADER_BYTES + PAYLOAD_OVERHEAD_BYTES {
            return Err(PacketError::Header);
        }
        let mut alpha = [0; 32];
        alpha.copy_from_slice(&self.bytes[..32]);
        if PublicKey::from_bytes(alpha).is_low_order() {
            return Err(PacketError::WeakAlpha);
        }
        let packet = SphinxPacket::from_bytes(&self.bytes).map_err(|_| PacketError::Header)?;
        let secret = packet.header.compute_expanded_shared_secret(key.secret());
        let replay_tag = ReplayTag::from_bytes(*secret.replay_tag());
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
                packet: Self::from_sphinx(&next_hop_packet),
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
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet({} bytes)", self.bytes.len())
    }
}

pub(crate) fn ephemeral(rng: &mut impl CryptoRng) -> StaticSecret {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    StaticSecret::from(bytes)
}

pub(crate) fn destination(route: &[Hop], identifier: [u8; 16]) -> Destination {
    let receiver = route.last().map_or([0; 32], |hop| *hop.node.as_bytes());
    Destination::new(DestinationAddressBytes::from_bytes(receiver), identifier)
}

/// Checks a route and puts it into the Sphinx implementation's terms.
pub(crate) fn sphinx_route(route: &[Hop]) -> Result<(Vec<Node>, Vec<Delay>), BuildError> {
    if route.is_empty() || route.len() > HOPS_MAX {
        return Err(BuildError::HopCount {
            actual: route.len(),
            max: HOPS_MAX,
        });
    }
    for (position, hop) in route.iter().enumerate() {
        if route[..position]
            .iter()
            .any(|earlier| earlier.node == hop.node)
        {
            return Err(BuildError::RepeatedNode { node: hop.node });
        }
        if hop.key.is_low_order() {
            return Err(BuildError::WeakKey { node: hop.node });
        }
    }
    let nodes = route
        .iter()
        .map(|hop| {
            Node::new(
                NodeAddressBytes::from_bytes(*hop.node.as_bytes()),
                hop.key.to_dalek(),
            )
        })
        .collect();
    let delays = route
        .iter()
        .map(|hop| Delay::new_from_nanos(u64::try_from(hop.delay.as_nanos()).unwrap_or(u64::MAX)))
        .collect();
    Ok((nodes, delays))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use fogcompute_base::OsEntropy;
    use proptest::prelude::*;

    pub(crate) fn keys_and_route(hops: usize) -> (Vec<PrivateKey>, Vec<Hop>) {
        let keys: Vec<_> = (0..hops)
            .map(|_| PrivateKey::random(&mut OsEntropy))
            .collect();
        let route = keys
            .iter()
            .enumerate()
            .map(|(index, key)| {
                let id = u8::try_from(index + 1).unwrap();
                let delay = Duration::from_millis(u64::from(id));
                Hop::new(NodeId::from_bytes([id; 32]), key.public(), delay)
            })
            .collect();
        (keys, route)
    }

    fn build(hops: usize, payload: &[u8]) -> (Vec<PrivateKey>, Packet) {
        let (keys, route) = keys_and_route(hops);
        let packet = Packet::build(Geometry::DEFAULT, &route, payload, &mut OsEntropy).unwrap();
        (keys, packet)
    }

    #[test]
    fn every_route_length_delivers_and_keeps_one_size() {
        for hops in 1..=HOPS_MAX {
            let (keys, mut packet) = build(hops, b"fog");
            for (index, key) in keys.iter().enumerate() {
                assert_eq!(packet.as_bytes().len(), Geometry::DEFAULT.packet_bytes());
                match packet.process(key).unwrap().outcome {
                    Processed::Forward {
                        next,
                        delay,
                        packet: inner,
                    } => {
                        let id = u8::try_from(index + 2).unwrap();
                        assert_eq!(next, NodeId::from_bytes([id; 32]));
                        assert_eq!(delay, Duration::from_millis(u64::from(id) - 1));
                        packet = inner;
                    }
                    Processed::Deliver { payload } => {
                        assert_eq!(index, hops - 1);
                        assert_eq!(payload, b"fog");
                    }
                    Processed::Reply { .. } => panic!("no reply block was used"),
                }
            }
        }
    }

    #[test]
    fn a_full_payload_fits_and_one_byte_more_is_refused() {
        let max = Geometry::DEFAULT.payload_bytes();
        let (keys, packet) = build(1, &vec![0; max]);
        let Processed::Deliver { payload } = packet.process(&keys[0]).unwrap().outcome else {
            panic!("one hop delivers");
        };
        assert_eq!(payload, vec![0; max]);
        let (_, route) = keys_and_route(1);
        assert_eq!(
            Packet::build(Geometry::DEFAULT, &route, &vec![0; max + 1], &mut OsEntropy).err(),
            Some(BuildError::PayloadTooLarge {
                actual: max + 1,
                max
            })
        );
    }

    #[test]
    fn bad_routes_are_refused_by_name() {
        let build = |route: &[Hop]| {
            Packet::build(Geometry::DEFAULT, route, b"", &mut OsEntropy)
                .err()
                .unwrap()
        };
        assert_eq!(
            build(&[]),
            BuildError::HopCount {
                actual: 0,
                max: HOPS_MAX
            }
        );
        let (_, six) = keys_and_route(6);
        assert_eq!(
            build(&six),
            BuildError::HopCount {
                actual: 6,
                max: HOPS_MAX
            }
        );
        let (_, mut route) = keys_and_route(3);
        route[2].node = route[0].node;
        assert_eq!(
            build(&route),
            BuildError::RepeatedNode {
                node: route[0].node
            }
        );
        let (_, mut route) = keys_and_route(2);
        route[1].key = PublicKey::from_bytes([0; 32]);
        assert_eq!(
            build(&route),
            BuildError::WeakKey {
                node: route[1].node
            }
        );
    }

    #[test]
    fn wrong_length_wrong_key_and_weak_alpha_are_refused() {
        let (keys, packet) = build(2, b"fog");
        let expected = Geometry::DEFAULT.packet_bytes();
        assert_eq!(
            Packet::from_bytes(Geometry::DEFAULT, vec![0; 7]).err(),
            Some(PacketError::Length {
                actual: 7,
                expected
            })
        );
        assert_eq!(packet.process(&keys[1]).err(), Some(PacketError::Header));
        let mut bytes = packet.into_bytes();
        bytes[..32].fill(0);
        let forged = Packet::from_bytes(Geometry::DEFAULT, bytes).unwrap();
        assert_eq!(forged.process(&keys[0]).err(), Some(PacketError::WeakAlpha));
    }

    #[test]
    fn a_flipped_header_bit_is_refused_or_seen_as_a_replay() {
        let (keys, packet) = build(2, b"fog");
        let tag = packet.process(&keys[0]).unwrap().replay_tag;
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = packet.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = Packet::from_bytes(Geometry::DEFAULT, bytes).unwrap();
            match changed.process(&keys[0]) {
                Err(error) => assert_eq!(error, PacketError::Header),
                // X25519 ignores the top bit of alpha: same secret, same tag, caught as a replay.
                Ok(unwrapped) => {
                    assert_eq!(bit, 255);
                    assert_eq!(unwrapped.replay_tag, tag);
                }
            }
        }
    }

    #[test]
    fn a_flipped_payload_bit_destroys_the_message() {
        let (keys, packet) = build(2, b"fog");
        for byte in (HEADER_BYTES..packet.as_bytes().len()).step_by(97) {
            let mut bytes = packet.as_bytes().to_vec();
            bytes[byte] ^= 0x10;
            let tagged = Packet::from_bytes(Geometry::DEFAULT, bytes).unwrap();
            let Processed::Forward { packet, .. } = tagged.process(&keys[0]).unwrap().outcome
            else {
                panic!("the first hop forwards");
            };
            assert_eq!(packet.process(&keys[1]).err(), Some(PacketError::Payload));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let key = PrivateKey::from_bytes([9; 32]);
            let packet = Packet { bytes };
            prop_assert!(packet.process(&key).is_err());
        }
    }
}
