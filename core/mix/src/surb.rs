//! Single-use reply blocks.

use std::fmt;

use fogcompute_base::CryptoRng;
use fogcompute_base::wire::{DecodeError, Reader};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::crypto::{LEFT_BYTES, WideBlock, seal, sealed_length};
use crate::geometry::{Geometry, HEADER_BYTES_MAX, HOPS_MAX};
use crate::header::{BuiltHeader, Last, build_header, build_headers};
use crate::noderef::NodeRef;
use crate::packet::{BuildError, Hop, Packet, SealedReply};
use crate::surb_store::SecretWriter;

const SEED_BYTES: usize = 32;

/// Why a reply block or a reply is refused.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SurbError {
    /// The bytes are not a reply block.
    #[error("{actual} bytes are not a reply block of {expected}")]
    Malformed {
        /// Bytes given.
        actual: usize,
        /// Bytes a reply block has.
        expected: usize,
    },
    /// The reply is longer than one packet carries.
    #[error("reply of {actual} bytes exceeds the packet's {max}")]
    PayloadTooLarge {
        /// Bytes given.
        actual: usize,
        /// Bytes a packet carries.
        max: usize,
    },
    /// The reply does not open: it was changed on its way, or belongs to another reply block.
    #[error("reply does not open with this key")]
    Sealed,
}

/// Names a reply block to its maker. Never zero.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SurbId([u8; 16]);

impl SurbId {
    /// Takes an id from its bytes; zero is none.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The id's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for SurbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SurbId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// A single-use reply block: who holds it can send one packet to its maker without learning who or
/// where that is.
///
/// | bytes | content | in [`Geometry::DEFAULT`] |
/// |---|---|---|
/// | 8 | first node of the way back | 0..8 |
/// | header | what the reply's packet starts with, see [`Packet`] | 8..506 |
/// | 32 | seed of the keys for the reply's payload | 506..538 |
///
/// The seed gives four LIONESS keys as a hop's payload seed does. The replier encrypts with them,
/// every mixnode of the way back decrypts with its own, and the maker undoes it all.
pub struct Surb {
    geometry: Geometry,
    first: NodeRef,
    header: [u8; HEADER_BYTES_MAX],
    seed: Zeroizing<[u8; SEED_BYTES]>,
}

impl Surb {
    /// Makes a reply block whose route ends at its maker, and the key that opens the reply.
    ///
    /// # Errors
    /// [`BuildError`], every variant that speaks of the route.
    pub fn new(
        geometry: Geometry,
        route: &[Hop],
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, ReplyKey), BuildError> {
        let header = build_header(geometry, route, Last::Reply, rng)?;
        Ok(Self::assemble(geometry, route, &header))
    }

    /// Makes many reply blocks, with the scalar multiplications of several done together. They are
    /// those that [`Surb::new`] gives one after the other.
    ///
    /// # Errors
    /// As [`Surb::new`], for the first route that is refused; then none is made.
    pub fn new_batch<R: AsRef<[Hop]>>(
        geometry: Geometry,
        routes: &[R],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<(Self, ReplyKey)>, BuildError> {
        let orders: Vec<_> = routes
            .iter()
            .map(|route| (route.as_ref(), Last::Reply))
            .collect();
        let mut made = Vec::with_capacity(routes.len());
        build_headers(geometry, &orders, rng, |index, header| {
            made.push(Self::assemble(geometry, routes[index].as_ref(), &header));
        })?;
        Ok(made)
    }

    fn assemble(geometry: Geometry, route: &[Hop], built: &BuiltHeader) -> (Self, ReplyKey) {
        let (id, seed) = built.reply.clone().expect("a reply block was asked for");
        let mut header = [0; HEADER_BYTES_MAX];
        header[..geometry.header_bytes()].copy_from_slice(built.bytes());
        // The last hop, the maker, leaves the payload as it comes.
        let layers = built.seeds().len() - 1;
        let mut hops = Zeroizing::new([[0; 32]; HOPS_MAX - 1]);
        hops[..layers].copy_from_slice(&built.seeds()[..layers]);
        let key = ReplyKey {
            geometry,
            id,
            seed: seed.clone(),
            hops,
            layers,
        };
        let surb = Self {
            geometry,
            first: NodeRef::from(route[0].node),
            header,
            seed,
        };
        (surb, key)
    }

    /// Takes a reply block that came in a message.
    ///
    /// Its header cannot be checked by anybody but the first node of the way back.
    ///
    /// # Errors
    /// [`SurbError::Malformed`].
    pub fn from_bytes(geometry: Geometry, bytes: &[u8]) -> Result<Self, SurbError> {
        if bytes.len() != geometry.surb_bytes() {
            return Err(SurbError::Malformed {
                actual: bytes.len(),
                expected: geometry.surb_bytes(),
            });
        }
        let (front, rest) = bytes.split_at(NodeRef::LEN);
        let (middle, end) = rest.split_at(geometry.header_bytes());
        let mut first = [0; NodeRef::LEN];
        first.copy_from_slice(front);
        let mut header = [0; HEADER_BYTES_MAX];
        header[..middle.len()].copy_from_slice(middle);
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        seed.copy_from_slice(end);
        Ok(Self {
            geometry,
            first: NodeRef::from_bytes(first),
            header,
            seed,
        })
    }

    /// The first node of the way back, to which the reply's packet is to be sent.
    #[must_use]
    pub const fn first(&self) -> NodeRef {
        self.first
    }

    /// The reply block as it goes into a message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.first.as_bytes(), self.header(), &self.seed[..]].concat()
    }

    /// Uses the block up: the packet that carries `payload` back, and where to send it.
    ///
    /// # Errors
    /// [`SurbError::PayloadTooLarge`].
    pub fn reply(self, payload: &[u8]) -> Result<(NodeRef, Packet), SurbError> {
        let geometry = self.geometry;
        if payload.len() > geometry.payload_bytes() {
            return Err(SurbError::PayloadTooLarge {
                actual: payload.len(),
                max: geometry.payload_bytes(),
            });
        }
        let mut bytes = vec![0; geometry.packet_bytes()];
        let (front, block) = bytes.split_at_mut(geometry.header_bytes());
        front.copy_from_slice(self.header());
        seal(block, payload);
        WideBlock::new(geometry, &self.seed).encrypt(block);
        Ok((self.first, Packet::from_whole(geometry, bytes)))
    }

    fn header(&self) -> &[u8] {
        &self.header[..self.geometry.header_bytes()]
    }
}

impl fmt::Debug for Surb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surb(..)")
    }
}

/// What the maker of a reply block keeps to open the one reply that comes by it.
pub struct ReplyKey {
    geometry: Geometry,
    id: SurbId,
    seed: Zeroizing<[u8; SEED_BYTES]>,
    hops: Zeroizing<[[u8; 32]; HOPS_MAX - 1]>,
    layers: usize,
}

impl ReplyKey {
    /// The block's id, under which the reply arrives.
    #[must_use]
    pub const fn id(&self) -> SurbId {
        self.id
    }

    /// Appends: 16 id, 32 seed, 1 number of layers, 32 for each.
    pub(crate) fn encode(&self, writer: &mut SecretWriter) {
        writer.raw(self.id.as_bytes());
        writer.raw(&*self.seed);
        // At most one for each hop but the last.
        writer.u8(self.layers as u8);
        writer.raw(self.hops[..self.layers].as_flattened());
    }

    /// Reads what [`ReplyKey::encode`] wrote.
    pub(crate) fn decode(geometry: Geometry, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        let unknown = |at, value| DecodeError::Unknown { at, value };
        let id = SurbId::from_bytes(reader.array()?).ok_or(unknown(at, 0))?;
        let seed = Zeroizing::new(reader.array()?);
        let at = reader.position();
        let layers = usize::from(reader.u8()?);
        if layers >= geometry.hops_max() {
            return Err(unknown(at, layers as u64));
        }
        let mut hops = Zeroizing::new([[0; 32]; HOPS_MAX - 1]);
        for hop in &mut hops[..layers] {
            *hop = reader.array()?;
        }
        Ok(Self {
            geometry,
            id,
            seed,
            hops,
            layers,
        })
    }

    /// Opens the reply.
    ///
    /// # Errors
    /// [`SurbError::Sealed`].
    pub fn open(&self, reply: SealedReply) -> Result<Vec<u8>, SurbError> {
        let mut block = reply.0;
        if block.len() != LEFT_BYTES + self.geometry.payload_bytes() {
            return Err(SurbError::Sealed);
        }
        // Every hop took off a layer that was not there; they are put back, the last one first.
        for seed in self.hops[..self.layers].iter().rev() {
            WideBlock::new(self.geometry, seed).encrypt(&mut block);
        }
        WideBlock::new(self.geometry, &self.seed).decrypt(&mut block);
        let length = sealed_length(&block).ok_or(SurbError::Sealed)?;
        block.copy_within(LEFT_BYTES..LEFT_BYTES + length, 0);
        block.truncate(length);
        Ok(block)
    }
}

impl fmt::Debug for ReplyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyKey({:?})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use crate::packet::Processed;
    use crate::packet::tests::{geometries, keys_and_route, seeded_route};
    use fogcompute_base::OsEntropy;
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// Follows a reply along its route; returns what the maker receives.
    fn follow(keys: &[PrivateKey], mut packet: Packet) -> (SurbId, SealedReply) {
        let bytes = packet.as_bytes().len();
        for key in keys {
            assert_eq!(packet.as_bytes().len(), bytes);
            match packet.process(key).unwrap().outcome {
                Processed::Forward { packet: inner, .. } => packet = inner,
                Processed::Reply { surb, reply } => return (surb, reply),
                Processed::Deliver { .. } => panic!("a reply is not a message"),
            }
        }
        panic!("the last hop receives")
    }

    #[test]
    fn replies_of_every_route_length_and_geometry_reach_the_maker() {
        for geometry in geometries() {
            for hops in 1..=geometry.hops_max() {
                let (keys, route) = keys_and_route(hops);
                let (surb, key) = Surb::new(geometry, &route, &mut OsEntropy).unwrap();
                let bytes = surb.to_bytes();
                assert_eq!(bytes.len(), geometry.surb_bytes());
                let surb = Surb::from_bytes(geometry, &bytes).unwrap();
                assert_eq!(surb.to_bytes(), bytes);
                let (first, packet) = surb.reply(b"answer").unwrap();
                assert_eq!(first, route[0].node.into());
                assert_eq!(packet.as_bytes().len(), geometry.packet_bytes());
                let (id, reply) = follow(&keys, packet);
                assert_eq!(id, key.id());
                assert_eq!(key.open(reply), Ok(b"answer".to_vec()));
            }
        }
    }

    #[test]
    fn only_the_key_of_the_block_opens_its_reply() {
        let (keys, route) = keys_and_route(4);
        let geometry = Geometry::DEFAULT;
        let (surb, _) = Surb::new(geometry, &route, &mut OsEntropy).unwrap();
        let (_, other) = Surb::new(geometry, &route, &mut OsEntropy).unwrap();
        let (_, packet) = surb.reply(b"answer").unwrap();
        let (_, reply) = follow(&keys, packet);
        assert_eq!(other.open(reply), Err(SurbError::Sealed));
        let short = SealedReply::from_bytes(&[0; 40]);
        assert_eq!(other.open(short), Err(SurbError::Sealed));
    }

    #[test]
    fn a_flipped_bit_of_a_reply_is_found_by_its_maker() {
        let geometry = Geometry::DATAGRAM;
        let (keys, route) = keys_and_route(3);
        for bit in (geometry.header_bytes() * 8..geometry.packet_bytes() * 8).step_by(199) {
            let (surb, key) = Surb::new(geometry, &route, &mut OsEntropy).unwrap();
            let (_, packet) = surb.reply(b"answer").unwrap();
            let mut bytes = packet.into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let packet = Packet::from_bytes(geometry, bytes).unwrap();
            let (_, reply) = follow(&keys, packet);
            assert_eq!(key.open(reply), Err(SurbError::Sealed));
        }
    }

    #[test]
    fn one_seed_makes_one_block_and_batches_make_the_same() {
        let routes: Vec<_> = (1..=19)
            .map(|n| seeded_route(n, 1 + n as usize % 7).1)
            .collect();
        let geometry = Geometry::DEFAULT;
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let batch = Surb::new_batch(geometry, &routes, &mut rng).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        assert_eq!(batch.len(), routes.len());
        for (route, (surb, key)) in routes.iter().zip(batch) {
            let (alone, alone_key) = Surb::new(geometry, route, &mut rng).unwrap();
            assert_eq!(surb.to_bytes(), alone.to_bytes());
            assert_eq!(key.id(), alone_key.id());
            assert_eq!((key.seed, key.hops), (alone_key.seed, alone_key.hops));
        }
        let (_, mut bad) = keys_and_route(2);
        bad[1].node = bad[0].node;
        let error = Surb::new_batch(geometry, &[routes[0].clone(), bad.clone()], &mut rng).err();
        assert_eq!(error, Some(BuildError::RepeatedNode { node: bad[0].node }));
    }

    #[test]
    fn malformed_blocks_and_long_replies_are_refused() {
        let geometry = Geometry::DEFAULT;
        for actual in [0, 10, 537, 539] {
            assert_eq!(
                Surb::from_bytes(geometry, &vec![0; actual]).err(),
                Some(SurbError::Malformed {
                    actual,
                    expected: 538
                })
            );
        }
        let (_, route) = keys_and_route(2);
        let (surb, _) = Surb::new(geometry, &route, &mut OsEntropy).unwrap();
        assert_eq!(
            surb.reply(&[0; 2049]).err(),
            Some(SurbError::PayloadTooLarge {
                actual: 2049,
                max: 2048
            })
        );
        assert_eq!(SurbId::from_bytes([0; 16]), None);
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let (_, route) = keys_and_route(1);
        let (surb, key) = Surb::new(Geometry::DEFAULT, &route, &mut OsEntropy).unwrap();
        assert_eq!(format!("{surb:?}"), "Surb(..)");
        assert_eq!(format!("{key:?}"), format!("ReplyKey({:?})", key.id()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_reply_comes_back(
            hops in 1_usize..=7, seed in any::<u64>(),
            payload in proptest::collection::vec(any::<u8>(), 0..=2048),
        ) {
            let (keys, route) = seeded_route(seed, hops);
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let (surb, key) = Surb::new(Geometry::DEFAULT, &route, &mut rng).unwrap();
            let (_, packet) = surb.reply(&payload).unwrap();
            let (id, reply) = follow(&keys, packet);
            prop_assert_eq!(id, key.id());
            prop_assert_eq!(key.open(reply), Ok(payload));
        }
    }
}
