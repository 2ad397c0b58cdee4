//! Single-use reply blocks.

use std::fmt;

use fogcompute_base::{CryptoRng, NodeId};
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{SURB, SURBMaterial, SurbReplyRecovery};
use thiserror::Error;

use crate::geometry::{Geometry, HEADER_BYTES};
use crate::packet::{BuildError, Hop, Packet, SealedReply, destination, ephemeral, sphinx_route};

/// Length of a reply block: header 348, first hop 32, payload key seed 16 bytes.
pub const SURB_BYTES: usize = HEADER_BYTES + 32 + 16;

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

    fn random(rng: &mut impl CryptoRng) -> Self {
        loop {
            let mut bytes = [0; 16];
            rng.fill_bytes(&mut bytes);
            if let Some(id) = Self::from_bytes(bytes) {
                return id;
            }
        }
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
    /// As [`Packet::build`], but for the payload.
    pub fn new(route: &[Hop], rng: &mut impl CryptoRng) -> Result<(Self, ReplyKey), BuildError> {
        let (nodes, delays) = sphinx_route(route)?;
        let id = SurbId::random(rng);
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

    /// Uses the block up: the packet that carries `payload` back, and where to send it.
    ///
    /// # Errors
    /// [`SurbError::PayloadTooLarge`].
    pub fn reply(self, geometry: Geometry, payload: &[u8]) -> Result<(NodeId, Packet), SurbError> {
        let too_large = SurbError::PayloadTooLarge {
            actual: payload.len(),
            max: geometry.payload_bytes(),
        };
        if payload.len() > geometry.payload_bytes() {
            return Err(too_large);
        }
        let (packet, first) = self
            .0
            .use_surb(payload, geometry.sphinx_payload_bytes())
            .map_err(|_| too_large)?;
        Ok((
            NodeId::from_bytes(first.to_bytes()),
            Packet::from_sphinx(&packet),
        ))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Processed;
    use crate::packet::tests::keys_and_route;
    use fogcompute_base::OsEntropy;

    #[test]
    fn a_reply_reaches_the_maker_and_only_its_key_opens_it() {
        let (keys, route) = keys_and_route(4);
        let (surb, key) = Surb::new(&route, &mut OsEntropy).unwrap();
        let (_, other) = Surb::new(&route, &mut OsEntropy).unwrap();
        let made = key.id();
        let bytes = surb.to_bytes();
        assert_eq!(bytes.len(), SURB_BYTES);
        let open_with = |key: &ReplyKey| {
            let surb = Surb::from_bytes(&bytes).unwrap();
            let (first, mut packet) = surb.reply(Geometry::DEFAULT, b"answer").unwrap();
            assert_eq!(first, route[0].node);
            for hop in &keys[..3] {
                let Processed::Forward { packet: inner, .. } = packet.process(hop).unwrap().outcome
                else {
                    panic!("mix nodes forward");
                };
                packet = inner;
            }
            let Processed::Reply { surb, reply } = packet.process(&keys[3]).unwrap().outcome else {
                panic!("the maker receives a reply");
            };
            assert_eq!(surb, made);
            key.open(reply)
        };
        assert_eq!(open_with(&key), Ok(b"answer".to_vec()));
        assert_eq!(open_with(&other), Err(SurbError::Sealed));
    }

    #[test]
    fn malformed_blocks_and_long_replies_are_refused() {
        assert_eq!(
            Surb::from_bytes(&[0; 10]).err(),
            Some(SurbError::Malformed {
                actual: 10,
                expected: SURB_BYTES
            })
        );
        let (_, route) = keys_and_route(2);
        let (surb, _) = Surb::new(&route, &mut OsEntropy).unwrap();
        assert_eq!(
            surb.reply(Geometry::DEFAULT, &[0; 2049]).err(),
            Some(SurbError::PayloadTooLarge {
                actual: 2049,
                max: 2048
            })
        );
        assert_eq!(SurbId::from_bytes([0; 16]), None);
    }
}
