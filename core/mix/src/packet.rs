//! One packet of `fog-sphinx/1`: building it, and taking one layer off.

use std::fmt;
use std::time::Duration;

use fogcompute_base::{CryptoRng, NodeId};
use thiserror::Error;

use crate::crypto::{WideBlock, seal};
use crate::geometry::Geometry;
use crate::header::{
    BuiltHeader, Last, Layer, OpenedHeader, build_header, build_headers, open_header, open_with_key,
};
use crate::key::{Contact, EpochParity, KeyRing, PrivateKey, PublicKey};
use crate::noderef::NodeRef;
use crate::replay::ReplayTag;
use crate::surb::SurbId;

/// Longest delay a hop can be asked for, about 71 minutes. Delays are whole microseconds.
pub const DELAY_MAX: Duration = Duration::from_micros(u32::MAX as u64);

/// One stop of a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hop {
    /// Who this hop is: the previous hop learns its [`NodeRef`] and sends the packet there.
    pub node: NodeId,
    /// The key this hop's layer is encrypted to.
    pub key: PublicKey,
    /// The key's epoch, the same for all hops of a route.
    pub epoch: EpochParity,
    /// How long this hop holds the packet, cut to whole microseconds. The last hop does not wait.
    pub delay: Duration,
}

impl Hop {
    /// A stop at `node` with a key of an even epoch, as in networks that never change their keys.
    #[must_use]
    pub const fn new(node: NodeId, key: PublicKey, delay: Duration) -> Self {
        Self {
            node,
            key,
            epoch: EpochParity::Even,
            delay,
        }
    }

    /// A stop at a node with its key and the key's epoch.
    #[must_use]
    pub const fn at(contact: Contact, delay: Duration) -> Self {
        Self {
            node: contact.node,
            key: contact.key,
            epoch: contact.epoch,
            delay,
        }
    }
}

/// Why a packet or a reply block cannot be built.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BuildError {
    /// The route has no hop or more than the geometry has room for.
    #[error("route has {actual} hops, must have 1 to {max}")]
    HopCount {
        /// Hops given.
        actual: usize,
        /// Most hops.
        max: usize,
    },
    /// The same node, or one of the same [`NodeRef`], stands twice in the route.
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
    /// A hop's key is of another epoch than the first hop's.
    #[error("mix key of node {node} is of another epoch than the first hop's")]
    MixedEpochs {
        /// The node.
        node: NodeId,
    },
    /// A hop is asked to hold the packet for longer than a packet can say.
    #[error("delay of {delay:?} at node {node} exceeds {max:?}")]
    DelayTooLong {
        /// The node.
        node: NodeId,
        /// The delay asked for.
        delay: Duration,
        /// The longest one.
        max: Duration,
    },
    /// The message is longer than one packet carries. Use [`Client`](crate::Client) for longer ones.
    #[error("payload of {actual} bytes exceeds the packet's {max}")]
    PayloadTooLarge {
        /// Bytes given.
        actual: usize,
        /// Bytes a packet of this geometry carries.
        max: usize,
    },
    /// The buffer to build into does not have the geometry's packet length.
    #[error("buffer has {actual} bytes, a packet has {expected}")]
    BufferLength {
        /// Bytes of the buffer.
        actual: usize,
        /// Bytes of every packet.
        expected: usize,
    },
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
    /// The packet is of another version of the format or of another suite.
    #[error("packet is of version and suite {actual:#04x}, the geometry says {expected:#04x}")]
    Version {
        /// The packet's first byte.
        actual: u8,
        /// The first byte of every packet.
        expected: u8,
    },
    /// This node has no key of the epoch the packet was made for.
    #[error("no key of the packet's epoch")]
    Epoch,
    /// The sender's point is of small order: everybody could process the packet.
    #[error("point is of small order")]
    LowOrder,
    /// The header's tag does not verify: damaged, forged, or for another key.
    #[error("header tag does not verify")]
    Header,
    /// The header verifies and says what has no meaning in this version of the format.
    #[error("routing block has no meaning")]
    Routing,
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
        next: NodeRef,
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
        /// What to open with its reply key.
        reply: SealedReply,
    },
}

/// A reply that only the maker of its reply block can open.
pub struct SealedReply(pub(crate) Vec<u8>);

impl SealedReply {
    /// Takes what [`Layer::Reply`] gave.
    #[must_use]
    pub fn from_bytes(sealed: &[u8]) -> Self {
        Self(sealed.to_vec())
    }

    /// The same bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

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

/// A packet of its network's one length.
///
/// R is the geometry's `hops_max`, k its payload in KiB; the sizes in the last column are those of
/// [`Geometry::DEFAULT`]. Integers are big-endian.
///
/// | bytes | field | content | |
/// |---|---|---|---|
/// | 1 | version | `0x11`: version 1, AES-128; `0x12`: version 1, ChaCha20 | 0 |
/// | 1 | epoch | parity of the epoch of all hops' keys, 0 or 1 | 1 |
/// | 32 | c | X25519 point of the sender for this hop | 2..34 |
/// | R × 64 | beta | encrypted routing blocks | 34..482 |
/// | 16 | mac | keyed BLAKE3 over all that is before, cut to 16 bytes | 482..498 |
/// | 32 + 1024 k | payload | wide block, one layer of encryption a hop | 498..2578 |
///
/// A routing block, the first 64 bytes of beta once it is decrypted:
///
/// | bytes | field | forward | deliver | reply |
/// |---|---|---|---|---|
/// | 0..32 | next c | point for the next hop | random | 16 bytes [`SurbId`], random |
/// | 32..48 | next mac | tag for the next hop | random | random |
/// | 48..56 | next node | [`NodeRef`] of the next hop | random | random |
/// | 56..60 | delay | microseconds to hold the packet | 0 | 0 |
/// | 60 | flags | 0 | 1 | 2 |
/// | 61..64 | reserved | 0, else refused | 0 | 0 |
///
/// The payload under all its layers: 28 zero bytes, which show whether it was changed, `u32` length
/// of the message, the message, zero bytes.
///
/// Keys of a hop, from the shared secret `ss = X25519(secret, c)` that must not be zero:
///
/// ```text
/// BLAKE3-XOF(key = ss, "fog-sphinx/1 hop keys" | version | R | k | c | the hop's public key)
///     = 32 header stream key | 32 mac key | 32 payload seed | 16 replay tag
/// BLAKE3-XOF(key = payload seed, "fog-sphinx/1 payload keys" | version | R | k)
///     = four LIONESS keys of 32
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Packet {
    geometry: Geometry,
    bytes: Vec<u8>,
}

impl Packet {
    /// Builds a packet that takes `route` and delivers `payload` to its last hop.
    ///
    /// All randomness comes from `rng`: one seed, one packet.
    ///
    /// # Errors
    /// Every variant of [`BuildError`] but [`BuildError::BufferLength`].
    pub fn build(
        geometry: Geometry,
        route: &[Hop],
        payload: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, BuildError> {
        let mut bytes = vec![0; geometry.packet_bytes()];
        Self::build_into(geometry, route, payload, rng, &mut bytes)?;
        Ok(Self { geometry, bytes })
    }

    /// Builds a packet in a buffer of [`Geometry::packet_bytes`] bytes. No heap allocation.
    ///
    /// # Errors
    /// Every variant of [`BuildError`]; the buffer is as it was.
    pub fn build_into(
        geometry: Geometry,
        route: &[Hop],
        payload: &[u8],
        rng: &mut impl CryptoRng,
        packet: &mut [u8],
    ) -> Result<(), BuildError> {
        if packet.len() != geometry.packet_bytes() {
            return Err(BuildError::BufferLength {
                actual: packet.len(),
                expected: geometry.packet_bytes(),
            });
        }
        check_payload(geometry, payload)?;
        let header = build_header(geometry, route, Last::Deliver, rng)?;
        fill(geometry, &header, payload, packet);
        Ok(())
    }

    /// Builds many packets, each of a route and a payload, with the scalar multiplications of
    /// several done together. The packets are those that [`Packet::build`] gives one after the
    /// other.
    ///
    /// # Errors
    /// As [`Packet::build`], for the first route or payload that is refused; then none is built.
    pub fn build_batch(
        geometry: Geometry,
        packets: &[(&[Hop], &[u8])],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<Self>, BuildError> {
        for (_, payload) in packets {
            check_payload(geometry, payload)?;
        }
        let orders: Vec<_> = packets
            .iter()
            .map(|(route, _)| (*route, Last::Deliver))
            .collect();
        let mut built = Vec::with_capacity(packets.len());
        build_headers(geometry, &orders, rng, |index, header| {
            let mut bytes = vec![0; geometry.packet_bytes()];
            fill(geometry, &header, packets[index].1, &mut bytes);
            built.push(Self { geometry, bytes });
        })?;
        Ok(built)
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
        Ok(Self { geometry, bytes })
    }

    /// A packet whose bytes are known to have the geometry's length.
    pub(crate) const fn from_whole(geometry: Geometry, bytes: Vec<u8>) -> Self {
        Self { geometry, bytes }
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

    /// Takes one layer off with this node's private key, of whichever epoch it is.
    ///
    /// This is the convenient way, which copies. Nodes use [`open_header`], which works in place
    /// and lets the replay check come before the payload.
    ///
    /// # Errors
    /// Every variant of [`PacketError`].
    pub fn process(&self, key: &PrivateKey) -> Result<Unwrapped, PacketError> {
        self.finish(|bytes| open_with_key(self.geometry, key, bytes))
    }

    /// Takes one layer off with the key of the packet's epoch.
    ///
    /// # Errors
    /// Every variant of [`PacketError`].
    pub fn process_with(&self, keys: &KeyRing) -> Result<Unwrapped, PacketError> {
        self.finish(|bytes| open_header(self.geometry, keys, bytes))
    }

    fn finish(
        &self,
        open: impl FnOnce(&mut [u8]) -> Result<OpenedHeader, PacketError>,
    ) -> Result<Unwrapped, PacketError> {
        let mut bytes = self.bytes.clone();
        let header = open(&mut bytes)?;
        let replay_tag = header.replay_tag();
        let outcome = match header.open_payload(&mut bytes)? {
            Layer::Forward { next, delay } => Processed::Forward {
                next,
                delay,
                packet: Self::from_whole(self.geometry, bytes),
            },
            Layer::Deliver { payload } => Processed::Deliver {
                payload: payload.to_vec(),
            },
            Layer::Reply { surb, sealed } => Processed::Reply {
                surb,
                reply: SealedReply::from_bytes(sealed),
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

fn check_payload(geometry: Geometry, payload: &[u8]) -> Result<(), BuildError> {
    if payload.len() > geometry.payload_bytes() {
        return Err(BuildError::PayloadTooLarge {
            actual: payload.len(),
            max: geometry.payload_bytes(),
        });
    }
    Ok(())
}

/// Puts header and payload into a buffer of the right length.
fn fill(geometry: Geometry, header: &BuiltHeader, payload: &[u8], packet: &mut [u8]) {
    let (front, block) = packet.split_at_mut(geometry.header_bytes());
    front.copy_from_slice(header.bytes());
    seal(block, payload);
    for seed in header.seeds().iter().rev() {
        WideBlock::new(geometry, seed).encrypt(block);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::geometry::{BETA_AT, HOPS_MAX, Suite};
    use crate::header::open_headers;
    use fogcompute_base::OsEntropy;
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    pub(crate) fn seeded_route(seed: u64, hops: usize) -> (Vec<PrivateKey>, Vec<Hop>) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let keys: Vec<_> = (0..hops).map(|_| PrivateKey::random(&mut rng)).collect();
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

    pub(crate) fn keys_and_route(hops: usize) -> (Vec<PrivateKey>, Vec<Hop>) {
        seeded_route(0x5eed, hops)
    }

    fn build(hops: usize, payload: &[u8]) -> (Vec<PrivateKey>, Packet) {
        let (keys, route) = keys_and_route(hops);
        let packet = Packet::build(Geometry::DEFAULT, &route, payload, &mut OsEntropy).unwrap();
        (keys, packet)
    }

    /// Every number of hops and every payload size that is tried, in both suites.
    pub(crate) fn geometries() -> impl Iterator<Item = Geometry> {
        (1..=HOPS_MAX).flat_map(|hops| {
            [1, 2, 4].into_iter().flat_map(move |kib| {
                let geometry = Geometry::new(hops, kib * 1024).unwrap();
                [geometry, geometry.with_suite(Suite::ChaCha20)]
            })
        })
    }

    /// Follows a packet along its route; returns what arrives.
    fn follow(keys: &[PrivateKey], mut packet: Packet) -> Result<Vec<u8>, PacketError> {
        let bytes = packet.as_bytes().len();
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(packet.as_bytes().len(), bytes);
            match packet.process(key)?.outcome {
                Processed::Forward {
                    next,
                    delay,
                    packet: inner,
                } => {
                    let id = u8::try_from(index + 2).unwrap();
                    assert_eq!(next, NodeRef::from_bytes([id; 8]));
                    assert_eq!(delay, Duration::from_millis(u64::from(id) - 1));
                    packet = inner;
                }
                Processed::Deliver { payload } => {
                    assert_eq!(index, keys.len() - 1);
                    return Ok(payload);
                }
                Processed::Reply { .. } => panic!("no reply block was used"),
            }
        }
        panic!("the last hop receives")
    }

    #[test]
    fn every_route_length_of_every_geometry_delivers_and_keeps_one_size() {
        for geometry in geometries() {
            for hops in 1..=geometry.hops_max() {
                let (keys, route) = keys_and_route(hops);
                let packet = Packet::build(geometry, &route, b"fog", &mut OsEntropy).unwrap();
                assert_eq!(packet.as_bytes().len(), geometry.packet_bytes());
                assert_eq!(follow(&keys, packet), Ok(b"fog".to_vec()));
            }
        }
    }

    #[test]
    fn a_full_payload_fits_and_one_byte_more_is_refused() {
        let max = Geometry::DEFAULT.payload_bytes();
        for length in [0, 1, max - 1, max] {
            let (keys, packet) = build(1, &vec![0; length]);
            assert_eq!(follow(&keys, packet), Ok(vec![0; length]));
        }
        let (_, route) = keys_and_route(1);
        let long = vec![0; max + 1];
        let error = BuildError::PayloadTooLarge {
            actual: max + 1,
            max,
        };
        let built = Packet::build(Geometry::DEFAULT, &route, &long, &mut OsEntropy);
        assert_eq!(built.err(), Some(error));
        let orders = [(&route[..], &b""[..]), (&route[..], &long[..])];
        let built = Packet::build_batch(Geometry::DEFAULT, &orders, &mut OsEntropy);
        assert_eq!(built.err(), Some(error));
    }

    #[test]
    fn bad_routes_are_refused_by_name() {
        let build = |route: &[Hop]| {
            Packet::build(Geometry::DATAGRAM, route, b"", &mut OsEntropy)
                .err()
                .unwrap()
        };
        for hops in [0, 6] {
            assert_eq!(
                build(&keys_and_route(hops).1),
                BuildError::HopCount {
                    actual: hops,
                    max: 5
                }
            );
        }
        let (_, mut route) = keys_and_route(3);
        route[2].node = route[0].node;
        let node = route[0].node;
        assert_eq!(build(&route), BuildError::RepeatedNode { node });
        // Another node of the same reference would get the packet as well.
        let mut twin = [1; 32];
        twin[8] = 0;
        let node = NodeId::from_bytes(twin);
        route[2].node = node;
        assert_eq!(build(&route), BuildError::RepeatedNode { node });
        let (_, mut route) = keys_and_route(2);
        let node = route[1].node;
        route[1].key = PublicKey::from_bytes([0; 32]);
        assert_eq!(build(&route), BuildError::WeakKey { node });
        let (_, mut route) = keys_and_route(2);
        route[1].epoch = EpochParity::Odd;
        assert_eq!(build(&route), BuildError::MixedEpochs { node });
        let (_, mut route) = keys_and_route(2);
        route[1].delay = DELAY_MAX + Duration::from_nanos(1);
        assert_eq!(
            build(&route),
            BuildError::DelayTooLong {
                node,
                delay: route[1].delay,
                max: DELAY_MAX
            }
        );
        route[1].delay = DELAY_MAX;
        let mut short = vec![0; 100];
        let into = Packet::build_into(Geometry::DATAGRAM, &route, b"", &mut OsEntropy, &mut short);
        assert_eq!(
            into,
            Err(BuildError::BufferLength {
                actual: 100,
                expected: 1426
            })
        );
    }

    #[test]
    fn delays_are_told_to_the_microsecond() {
        let (keys, mut route) = keys_and_route(2);
        for (asked, told) in [
            (Duration::from_nanos(1999), Duration::from_micros(1)),
            (DELAY_MAX, DELAY_MAX),
            (Duration::ZERO, Duration::ZERO),
        ] {
            route[0].delay = asked;
            let packet = Packet::build(Geometry::DATAGRAM, &route, b"", &mut OsEntropy).unwrap();
            let Processed::Forward { delay, .. } = packet.process(&keys[0]).unwrap().outcome else {
                panic!("the first hop forwards");
            };
            assert_eq!(delay, told);
        }
    }

    #[test]
    fn what_is_for_another_network_epoch_or_key_is_refused() {
        let (keys, packet) = build(2, b"fog");
        let expected = Geometry::DEFAULT.packet_bytes();
        for actual in [0, 1, 7, 1424, 1426, expected - 1, expected + 1] {
            assert_eq!(
                Packet::from_bytes(Geometry::DEFAULT, vec![0; actual]).err(),
                Some(PacketError::Length { actual, expected })
            );
        }
        assert_eq!(packet.process(&keys[1]).err(), Some(PacketError::Header));
        let ring = KeyRing::new(EpochParity::Odd, keys[0].clone());
        let error = packet.process_with(&ring).err();
        assert_eq!(error, Some(PacketError::Epoch));
        let ring = KeyRing::new(EpochParity::Even, keys[0].clone());
        assert!(packet.process_with(&ring).is_ok());
        let with = |at: usize, value: u8| {
            let mut bytes = packet.as_bytes().to_vec();
            bytes[at] = value;
            let changed = Packet::from_bytes(Geometry::DEFAULT, bytes).unwrap();
            changed.process(&keys[0]).err()
        };
        for actual in [0x00, 0x10, 0x12, 0x13, 0x21, 0xff] {
            let expected = 0x11;
            assert_eq!(
                with(0, actual),
                Some(PacketError::Version { actual, expected })
            );
        }
        // The other parity is not of this packet, and the rest are of none.
        assert_eq!(with(1, 1), Some(PacketError::Header));
        assert_eq!(with(1, 2), Some(PacketError::Epoch));
        // A suite that the sender lies about, and sizes that add up by accident.
        let other = Geometry::DEFAULT.with_suite(Suite::ChaCha20);
        let mut bytes = packet.as_bytes().to_vec();
        bytes[0] = other.version();
        let lied = Packet::from_bytes(other, bytes).unwrap();
        assert_eq!(lied.process(&keys[0]).err(), Some(PacketError::Header));
    }

    #[test]
    fn points_of_small_order_are_refused_and_other_encodings_do_not_verify() {
        let (keys, packet) = build(1, b"fog");
        let with = |point: [u8; 32]| {
            let mut bytes = packet.as_bytes().to_vec();
            bytes[2..34].copy_from_slice(&point);
            let forged = Packet::from_bytes(Geometry::DEFAULT, bytes).unwrap();
            forged.process(&keys[0]).err()
        };
        for point in crate::key::LOW_ORDER {
            for top in [0, 0x80] {
                let mut point = point;
                point[31] |= top;
                assert_eq!(with(point), Some(PacketError::LowOrder));
            }
        }
        // 2^255 - 19 + u is u to X25519; only u < 19 has such an encoding, and 9 is the base point.
        let mut canonical = [0; 32];
        canonical[0] = 9;
        let mut other = [0xff; 32];
        (other[0], other[31]) = (0xed + 9, 0x7f);
        let shared = crate::dh::exchange(keys[0].secret(), &canonical).unwrap();
        assert_eq!(crate::dh::exchange(keys[0].secret(), &other), Some(shared));
        assert_eq!(with(other), Some(PacketError::Header));
        // A header made for the canonical encoding does not verify with the other one.
        let geometry = Geometry::DEFAULT;
        let derive = |point| {
            let public = keys[0].public();
            let hop_keys =
                crate::crypto::HopKeys::derive(geometry, &shared, point, public.as_bytes());
            (hop_keys.tag(b"same"), hop_keys.replay_tag)
        };
        let (canonical, other) = (derive(&canonical), derive(&other));
        assert!(canonical.0 != other.0 && canonical.1 != other.1);
    }

    #[test]
    fn every_flipped_bit_of_a_packet_is_refused_or_destroys_the_message() {
        let geometry = Geometry::DATAGRAM;
        let (keys, route) = keys_and_route(5);
        let packet = Packet::build(geometry, &route, b"fog", &mut OsEntropy).unwrap();
        let mut header_flips = 0;
        for bit in 0..geometry.packet_bytes() * 8 {
            let mut bytes = packet.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = Packet::from_bytes(geometry, bytes).unwrap();
            if bit / 8 >= geometry.header_bytes() {
                // Not seen before the exit, but there.
                assert_eq!(follow(&keys, changed), Err(PacketError::Payload), "{bit}");
                continue;
            }
            header_flips += 1;
            let error = changed.process(&keys[0]).err();
            match bit / 8 {
                0 => assert!(matches!(error, Some(PacketError::Version { .. }))),
                1 if bit != 8 => assert_eq!(error, Some(PacketError::Epoch)),
                _ => assert_eq!(error, Some(PacketError::Header), "{bit}"),
            }
        }
        assert_eq!(header_flips, (2 + 368) * 8);
    }

    #[test]
    fn one_seed_makes_one_packet_and_batches_make_the_same() {
        let routes: Vec<_> = (1..=20)
            .map(|n: usize| seeded_route(n as u64, 1 + n % HOPS_MAX).1)
            .collect();
        let payloads: Vec<_> = (0..20_u8).map(|n| vec![n; 100 * usize::from(n)]).collect();
        let orders: Vec<_> = routes
            .iter()
            .zip(&payloads)
            .map(|(route, payload)| (&route[..], &payload[..]))
            .collect();
        let geometry = Geometry::DEFAULT;
        let one_by_one = |seed| -> Vec<_> {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let build = |order: &(&[Hop], &[u8])| {
                Packet::build(geometry, order.0, order.1, &mut rng).unwrap()
            };
            orders.iter().map(build).collect()
        };
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let batch = Packet::build_batch(geometry, &orders, &mut rng).unwrap();
        assert_eq!(batch, one_by_one(4));
        assert!(batch != one_by_one(5));
        let none = Packet::build_batch(geometry, &[], &mut rng).unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn headers_opened_together_are_those_opened_one_by_one() {
        let geometry = Geometry::DATAGRAM;
        let (keys, route) = keys_and_route(3);
        let mut ring = KeyRing::new(EpochParity::Even, keys[0].clone());
        let odd = PrivateKey::from_bytes([8; 32]);
        let odd_route = [Hop {
            key: odd.public(),
            epoch: EpochParity::Odd,
            ..route[0]
        }];
        ring.insert(EpochParity::Odd, odd);
        let mut packets: Vec<Vec<u8>> = (0..50)
            .map(|n| {
                let route = if n % 3 == 0 { &odd_route } else { &route[..] };
                Packet::build(geometry, route, &[n], &mut OsEntropy)
                    .unwrap()
                    .into_bytes()
            })
            .collect();
        packets[4][0] = 0;
        packets[5][1] = 7;
        packets[6].pop();
        packets[16][2..34].fill(0);
        packets[17][40] ^= 1;
        let mut one_by_one = packets.clone();
        let mut opened = Vec::new();
        for _ in 0..2 {
            // The second time, nothing verifies any more: the headers have been taken off.
            open_headers(geometry, &ring, &mut packets, &mut opened);
            assert_eq!(opened.len(), packets.len());
            let results = opened.drain(..).zip(&mut one_by_one);
            for (batched, single) in results {
                let one = open_header(geometry, &ring, single);
                match (batched, one) {
                    (Ok(batched), Ok(one)) => {
                        assert_eq!(batched.replay_tag(), one.replay_tag());
                        assert_eq!(batched.instruction(), one.instruction());
                        assert_eq!(batched.epoch(), one.epoch());
                    }
                    (batched, one) => assert_eq!(batched.err(), one.err()),
                }
            }
            assert_eq!(packets, one_by_one);
        }
    }

    #[test]
    fn a_refused_packet_is_left_as_it_was() {
        let (keys, packet) = build(2, b"fog");
        let ring = KeyRing::new(EpochParity::Even, keys[1].clone());
        let mut bytes = packet.as_bytes().to_vec();
        assert!(open_header(Geometry::DEFAULT, &ring, &mut bytes).is_err());
        assert_eq!(bytes, packet.as_bytes());
        let ring = KeyRing::new(EpochParity::Even, keys[0].clone());
        let header = open_header(Geometry::DEFAULT, &ring, &mut bytes).unwrap();
        assert_eq!(
            header.open_payload(&mut bytes[1..]),
            Err(PacketError::Length {
                actual: 2577,
                expected: 2578
            })
        );
    }

    /// A packet of one hop whose routing block was changed, with a tag that verifies.
    fn with_block(change: impl FnOnce(&mut [u8])) -> Option<PacketError> {
        let geometry = Geometry::DATAGRAM;
        let (keys, route) = keys_and_route(1);
        let packet = Packet::build(geometry, &route, b"", &mut OsEntropy).unwrap();
        let mut bytes = packet.into_bytes();
        let point: [u8; 32] = bytes[2..34].try_into().unwrap();
        let shared = crate::dh::exchange(keys[0].secret(), &point).unwrap();
        let hop_keys =
            crate::crypto::HopKeys::derive(geometry, &shared, &point, keys[0].public().as_bytes());
        let mac_at = geometry.mac_at();
        hop_keys.stream(geometry, &mut bytes[BETA_AT..mac_at]);
        change(&mut bytes[BETA_AT..BETA_AT + 64]);
        hop_keys.stream(geometry, &mut bytes[BETA_AT..mac_at]);
        let tag = hop_keys.tag(&bytes[..mac_at]);
        bytes[mac_at..mac_at + 16].copy_from_slice(&tag);
        let packet = Packet::from_bytes(geometry, bytes).unwrap();
        packet.process(&keys[0]).err()
    }

    #[test]
    fn routing_blocks_without_meaning_are_refused() {
        assert_eq!(with_block(|_| {}), None);
        for at in 61..64 {
            assert_eq!(
                with_block(|block| block[at] = 1),
                Some(PacketError::Routing)
            );
        }
        for flags in [3, 4, 0x80, 0xff] {
            assert_eq!(
                with_block(|block| block[60] = flags),
                Some(PacketError::Routing)
            );
        }
        let no_id = |block: &mut [u8]| {
            block[..16].fill(0);
            block[60] = 2;
        };
        assert_eq!(with_block(no_id), Some(PacketError::Routing));
    }

    /// Chi-square of bytes against the uniform distribution, 255 degrees of freedom.
    fn chi_square(counts: &[u32; 256]) -> f64 {
        let total: u32 = counts.iter().sum();
        let expected = f64::from(total) / 256.0;
        counts
            .iter()
            .map(|&count| (f64::from(count) - expected).powi(2) / expected)
            .sum()
    }

    #[test]
    fn the_header_tells_no_hop_how_long_the_route_was_or_where_it_stands() {
        // What each hop can see of a header beside its own block: the header it passes on, and at
        // the last hop what the route left unused. 600 packets of each length give 10^5 bytes or
        // more each; at 255 degrees of freedom a value outside 165 to 365 has a chance below 10^-5,
        // and the seed is fixed.
        let geometry = Geometry::DATAGRAM;
        let mut rng = ChaCha20Rng::seed_from_u64(0xc41);
        for hops in 1..=geometry.hops_max() {
            let (keys, route) = seeded_route(1, hops);
            let mut counts = vec![[0_u32; 256]; hops + 1];
            for _ in 0..600 {
                let packet = Packet::build(geometry, &route, b"", &mut rng).unwrap();
                let mut bytes = packet.into_bytes();
                let mut count = |seen: usize, bytes: &[u8]| {
                    for byte in &bytes[BETA_AT..geometry.header_bytes()] {
                        counts[seen][usize::from(*byte)] += 1;
                    }
                };
                count(0, &bytes);
                for (index, key) in keys.iter().enumerate() {
                    open_with_key(geometry, key, &mut bytes).unwrap();
                    count(index + 1, &bytes);
                }
            }
            for (seen, counts) in counts.iter().enumerate() {
                let value = chi_square(counts);
                assert!((165.0..365.0).contains(&value), "{hops} {seen} {value}");
            }
        }
    }

    #[test]
    fn the_chi_square_above_finds_zero_padding() {
        // Four of five blocks random and one of zeros, as before 2020.
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut counts = [0; 256];
        for block in 0..3000 {
            let mut bytes = [0; 64];
            if block % 5 != 0 {
                rand_core::Rng::fill_bytes(&mut rng, &mut bytes);
            }
            bytes
                .iter()
                .for_each(|byte| counts[usize::from(*byte)] += 1);
        }
        assert!(chi_square(&counts) > 365.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn foreign_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..3000), tidy in any::<bool>(),
        ) {
            let key = PrivateKey::from_bytes([9; 32]);
            let geometry = Geometry::DATAGRAM;
            let mut bytes = bytes;
            if tidy {
                bytes.resize(geometry.packet_bytes(), 0);
                bytes[..2].copy_from_slice(&[geometry.version(), 0]);
            }
            let ring = KeyRing::new(EpochParity::Even, key);
            prop_assert!(open_header(geometry, &ring, &mut bytes).is_err());
        }

        #[test]
        fn any_route_of_any_geometry_delivers_any_payload(
            hops_max in 1..=HOPS_MAX, kib in 1_usize..=5, chacha in any::<bool>(),
            length in any::<prop::sample::Index>(), seed in any::<u64>(),
            payload in proptest::collection::vec(any::<u8>(), 0..=5 * 1024),
            delays in proptest::collection::vec(any::<u32>(), HOPS_MAX), odd in any::<bool>(),
        ) {
            let suite = if chacha { Suite::ChaCha20 } else { Suite::Aes128 };
            let geometry = Geometry::new(hops_max, kib * 1024).unwrap().with_suite(suite);
            let payload = &payload[..payload.len().min(geometry.payload_bytes())];
            let (keys, mut route) = seeded_route(seed, 1 + length.index(hops_max));
            for (hop, delay) in route.iter_mut().zip(&delays) {
                hop.delay = Duration::from_micros((*delay).into());
                hop.epoch = EpochParity::of(odd.into());
            }
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let mut packet = Packet::build(geometry, &route, payload, &mut rng).unwrap();
            let mut tags = std::collections::HashSet::new();
            for (index, key) in keys.iter().enumerate() {
                let unwrapped = packet.process(key).unwrap();
                prop_assert!(tags.insert(unwrapped.replay_tag));
                match unwrapped.outcome {
                    Processed::Forward { next, delay, packet: inner } => {
                        prop_assert_eq!(next, NodeRef::from(route[index + 1].node));
                        prop_assert_eq!(delay, route[index].delay);
                        packet = inner;
                    }
                    Processed::Deliver { payload: arrived } => {
                        prop_assert_eq!(index + 1, keys.len());
                        prop_assert_eq!(&arrived, payload);
                    }
                    Processed::Reply { .. } => prop_assert!(false, "no reply block was used"),
                }
            }
        }
    }
}
