//! What a peer says of itself.

use crate::identity::{NoiseKey, VerifyKey};
use crate::packet::PeerId;
use crate::tlv::{FormatError, array, fields8, from_le, minimal_le, once, put8, required, text};

/// Most neighbours that an announce lists.
pub const NEIGHBOURS_MAX: usize = 10;
/// Longest nickname, in bytes.
pub const NICKNAME_BYTES_MAX: usize = 255;
/// Longest geohash of a bridge, in bytes.
const GEOHASH_BYTES_MAX: usize = 12;

const NICKNAME: u8 = 0x01;
const NOISE_KEY: u8 = 0x02;
const SIGNING_KEY: u8 = 0x03;
const NEIGHBOURS: u8 = 0x04;
const CAPABILITIES: u8 = 0x05;
const BRIDGE: u8 = 0x06;

/// What a peer can do, as a bit field. Bits that mean nothing here are kept.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Takes messages that were sealed to one-time keys.
    pub const PREKEYS: Self = Self(1 << 0);
    /// Takes part in groups.
    pub const GROUPS: Self = Self(1 << 3);
    /// Takes files inside Noise sessions.
    pub const PRIVATE_MEDIA: Self = Self(1 << 8);
    /// Confirms files that it got inside Noise sessions.
    pub const PRIVATE_MEDIA_RECEIPTS: Self = Self(1 << 9);
    /// Ours: understands [`CallSignal`](crate::call::CallSignal). BitChat's own bits end at 10.
    pub const CALLS: Self = Self(1 << 32);
    /// Ours: gives and takes files in [chunks](crate::chunks).
    pub const CHUNKS: Self = Self(1 << 33);

    /// Ours: tells other couriers [whom it meets and what it carries](crate::courier::CourierNews). Announced while
    /// the [strategy](crate::courier::CourierStrategy) asks for it.
    pub const COURIERS: Self = Self(1 << 34);
    /// Ours: private messages under keys that are used [once](crate::ratchet). Not in the defaults of
    /// [`NodeConfig`](crate::NodeConfig): a peer with it draws from the system's generator.
    pub const RATCHET: Self = Self(1 << 35);
    /// Ours: takes part in [large groups](crate::large_group), with [`Capabilities::RATCHET`].
    pub const LARGE_GROUPS: Self = Self(1 << 36);

    /// What has all bits of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of the other are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Little-endian, as short as it can be.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        minimal_le(self.0)
    }

    /// Reads a bit field of any length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(from_le(bytes))
    }
}

/// The payload of an announce.
///
/// | tag | content |
/// |---|---|
/// | 01 | nickname, UTF-8 |
/// | 02 | Noise key, 32 bytes |
/// | 03 | signing key, 32 bytes |
/// | 04 | neighbours, 8 bytes each, at most 10; may be missing |
/// | 05 | capabilities, little-endian; may be missing |
/// | 06 | geohash of a bridge, ASCII, at most 12 bytes; may be missing |
///
/// Each field is its tag, a byte for its length, and the content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Announce {
    /// What the peer wants to be called. Not unique, and nobody checks it.
    pub nickname: String,
    /// The key its identifier is derived from.
    pub noise_key: NoiseKey,
    /// The key its packets are signed with.
    pub verify_key: VerifyKey,
    /// Peers it has links to, if it says so.
    pub neighbours: Option<Vec<PeerId>>,
    /// What it can do, if it says so.
    pub capabilities: Option<Capabilities>,
    /// Where it bridges to, if it does.
    pub bridge: Option<String>,
    /// Fields that are not known, in their order.
    pub unknown: Vec<(u8, Vec<u8>)>,
}

impl Announce {
    /// The least that an announce says.
    #[must_use]
    pub const fn new(nickname: String, noise_key: NoiseKey, verify_key: VerifyKey) -> Self {
        Self {
            nickname,
            noise_key,
            verify_key,
            neighbours: None,
            capabilities: None,
            bridge: None,
            unknown: Vec::new(),
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut nickname, mut noise_key, mut verify_key) = (None, None, None);
        let (mut neighbours, mut capabilities, mut bridge) = (None, None, None);
        let mut unknown = Vec::new();
        let mut fields = fields8(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                NICKNAME => once(&mut nickname, tag, text(tag, value)?)?,
                NOISE_KEY => once(
                    &mut noise_key,
                    tag,
                    NoiseKey::from_bytes(array(tag, value)?),
                )?,
                SIGNING_KEY => {
                    once(
                        &mut verify_key,
                        tag,
                        VerifyKey::from_bytes(array(tag, value)?),
                    )?;
                }
                NEIGHBOURS => {
                    let (peers, rest) = value.as_chunks();
                    if !rest.is_empty() || peers.len() > NEIGHBOURS_MAX {
                        return Err(FormatError::Length {
                            tag,
                            actual: value.len(),
                        });
                    }
                    let peers = peers.iter().copied().map(PeerId::from_bytes).collect();
                    once(&mut neighbours, tag, peers)?;
                }
                CAPABILITIES => {
                    if value.is_empty() {
                        return Err(FormatError::Length { tag, actual: 0 });
                    }
                    once(&mut capabilities, tag, Capabilities::from_bytes(value))?;
                }
                BRIDGE => {
                    if value.len() > GEOHASH_BYTES_MAX || !value.is_ascii() {
                        return Err(FormatError::Value { tag });
                    }
                    once(&mut bridge, tag, text(tag, value)?)?;
                }
                _ => unknown.push((tag, value.to_vec())),
            }
        }
        Ok(Self {
            nickname: required(nickname, NICKNAME)?,
            noise_key: required(noise_key, NOISE_KEY)?,
            verify_key: required(verify_key, SIGNING_KEY)?,
            neighbours,
            capabilities,
            bridge,
            unknown,
        })
    }

    /// The payload.
    ///
    /// # Errors
    /// [`FormatError::Length`] if a field is too long.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = Vec::new();
        put8(&mut out, NICKNAME, self.nickname.as_bytes())?;
        put8(&mut out, NOISE_KEY, self.noise_key.as_bytes())?;
        put8(&mut out, SIGNING_KEY, self.verify_key.as_bytes())?;
        if let Some(neighbours) = &self.neighbours {
            let bytes: Vec<u8> = neighbours
                .iter()
                .flat_map(|peer| *peer.as_bytes())
                .collect();
            if neighbours.len() > NEIGHBOURS_MAX {
                return Err(FormatError::Length {
                    tag: NEIGHBOURS,
                    actual: bytes.len(),
                });
            }
            put8(&mut out, NEIGHBOURS, &bytes)?;
        }
        if let Some(capabilities) = self.capabilities {
            put8(&mut out, CAPABILITIES, &capabilities.to_bytes())?;
        }
        if let Some(bridge) = &self.bridge {
            put8(&mut out, BRIDGE, bridge.as_bytes())?;
        }
        for (tag, value) in &self.unknown {
            put8(&mut out, *tag, value)?;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn announce() -> Announce {
        Announce::new(
            "bob".to_owned(),
            NoiseKey::from_bytes([0x11; 32]),
            VerifyKey::from_bytes([0x22; 32]),
        )
    }

    #[test]
    fn a_field_that_must_be_there_is_missed_and_none_may_be_there_twice() {
        let bytes = announce().encode().unwrap();
        let (name, keys) = bytes.split_at(5);
        assert_eq!(
            Announce::decode(keys),
            Err(FormatError::Missing { tag: NICKNAME })
        );
        assert_eq!(
            Announce::decode(&[name, keys, name].concat()),
            Err(FormatError::Repeated { tag: NICKNAME })
        );
    }

    #[test]
    fn more_than_ten_neighbours_are_refused_both_ways() {
        let mut crowded = announce();
        crowded.neighbours = Some(vec![PeerId::BROADCAST; 11]);
        assert!(crowded.encode().is_err());
        let mut bytes = announce().encode().unwrap();
        put8(&mut bytes, NEIGHBOURS, &[0; 88]).unwrap();
        assert!(Announce::decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn announces_round_trip(
            nickname in ".{0,40}",
            neighbours in proptest::option::of(proptest::collection::vec(any::<[u8; 8]>(), 0..=10)),
            capabilities in any::<Option<u64>>(),
            bridge in proptest::option::of("[0-9a-z]{0,12}"),
            unknown in proptest::collection::vec((7_u8.., proptest::collection::vec(any::<u8>(), 0..9)), 0..3),
        ) {
            let announce = Announce {
                nickname,
                neighbours: neighbours.map(|all| all.into_iter().map(PeerId::from_bytes).collect()),
                capabilities: capabilities.map(Capabilities),
                bridge,
                unknown,
                ..announce()
            };
            let bytes = announce.encode().unwrap();
            prop_assert_eq!(Announce::decode(&bytes), Ok(announce));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(announce) = Announce::decode(&bytes) {
                prop_assert_eq!(Announce::decode(&announce.encode().unwrap()), Ok(announce));
            }
        }
    }
}
