//! BitChat packets: what is on the air.

use std::fmt;
use std::str::FromStr;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{ParseIdError, UnixMillis};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::deflate::{deflate, inflate};
use crate::identity::{Identity, VerifyKey};

/// Longest payload, packed or unpacked, in bytes: what the iOS app accepts (1 MiB, and room for the
/// fields around a file).
pub const PAYLOAD_BYTES_MAX: usize = (1 << 20) + 131_070 + 18 + 96;
/// Time to live with which a packet starts.
pub const TTL_MAX: u8 = 7;
/// Most hops of a source route.
pub const ROUTE_HOPS_MAX: usize = 255;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Payloads are packed from this length on.
const DEFLATE_BYTES_MIN: usize = 100;
/// A payload that claims to unpack to more than this many times its length is a bomb.
const RATIO_MAX: usize = 50_000;

const FLAG_RECIPIENT: u8 = 0x01;
const FLAG_SIGNATURE: u8 = 0x02;
const FLAG_DEFLATED: u8 = 0x04;
const FLAG_ROUTE: u8 = 0x08;
const FLAG_ANSWER: u8 = 0x10;

/// A peer of the mesh: the first eight bytes of the SHA-256 of its Noise key.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerId([u8; 8]);

impl PeerId {
    /// Length in bytes.
    pub const LEN: usize = 8;
    /// What the Android app writes as the recipient of what is for everybody.
    pub const BROADCAST: Self = Self([0xff; 8]);

    /// Takes the identifier from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The identifier's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl FromStr for PeerId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        if text.len() != 16 || !text.is_ascii() {
            return Err(ParseIdError::Length {
                expected: 16,
                actual: text.chars().count(),
            });
        }
        if let Some(position) = text.bytes().position(|digit| !digit.is_ascii_hexdigit()) {
            return Err(ParseIdError::Digit { position });
        }
        let value = u64::from_str_radix(text, 16).expect("sixteen digits were checked");
        Ok(Self(value.to_be_bytes()))
    }
}

/// What a packet carries. Types that are not named here are relayed and not looked into.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PacketType(pub u8);

impl PacketType {
    /// Who a peer is: an [`Announce`](crate::Announce).
    pub const ANNOUNCE: Self = Self(0x01);
    /// A public message: its text in UTF-8.
    pub const MESSAGE: Self = Self(0x02);
    /// A peer goes. Empty.
    pub const LEAVE: Self = Self(0x03);
    /// A sealed message that somebody carries: an [`Envelope`](crate::courier::Envelope).
    pub const COURIER: Self = Self(0x04);
    /// A message of a Noise handshake.
    pub const HANDSHAKE: Self = Self(0x10);
    /// A message of a Noise session.
    pub const ENCRYPTED: Self = Self(0x11);
    /// A part of a packet: a [`Fragment`](crate::Fragment).
    pub const FRAGMENT: Self = Self(0x20);
    /// What the sender has seen: a [`SyncRequest`](crate::SyncRequest).
    pub const SYNC: Self = Self(0x21);
    /// A public file: a [`File`](crate::file::File).
    pub const FILE: Self = Self(0x22);
    /// One-time keys: a [`PrekeyBundle`](crate::courier::PrekeyBundle).
    pub const PREKEYS: Self = Self(0x24);
    /// A message to a group: a [`GroupMessage`](crate::group::GroupMessage).
    pub const GROUP: Self = Self(0x25);
    /// A part of a public voice burst: a [`VoiceFrame`](crate::voice::VoiceFrame).
    pub const VOICE: Self = Self(0x29);
    /// Ours: a packet inside that only members of a [fog](crate::fog) can read.
    pub const SEALED: Self = Self(0x40);
}

/// Why bytes are not a packet, or a packet cannot be made.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PacketError {
    /// The bytes end inside the packet.
    #[error("packet is cut off: {0}")]
    Truncated(#[from] DecodeError),
    /// The first byte is no version that is known.
    #[error("packet of version {actual}, known are 1 and 2")]
    Version {
        /// The byte.
        actual: u8,
    },
    /// The payload is longer than is accepted, packed or unpacked.
    #[error("payload of {actual} bytes exceeds {limit}")]
    TooLong {
        /// Length that was announced or given.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// A packed payload is too short to hold the length it unpacks to, does not unpack, or unpacks to
    /// another length.
    #[error("packed payload does not unpack to {expected} bytes")]
    Inflate {
        /// Length that was announced.
        expected: usize,
    },
    /// A packed payload claims to unpack to more than any honest one does.
    #[error("payload claims to unpack from {packed} to {unpacked} bytes")]
    Bomb {
        /// Length on the air.
        packed: usize,
        /// Length that was announced.
        unpacked: usize,
    },
    /// A route has more hops than its length can say.
    #[error("route of {actual} hops exceeds {limit}")]
    RouteTooLong {
        /// Hops that were given.
        actual: usize,
        /// The limit.
        limit: usize,
    },
}

/// What followed a packet in its frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tail {
    /// Nothing.
    None,
    /// Padding as in PKCS #7: this many bytes of this value.
    Padding(u8),
    /// Something else, of this many bytes.
    Other(usize),
}

impl Tail {
    fn of(bytes: &[u8]) -> Self {
        match bytes.last() {
            None => Self::None,
            Some(&value)
                if usize::from(value) == bytes.len() && bytes.iter().all(|byte| *byte == value) =>
            {
                Self::Padding(value)
            }
            Some(_) => Self::Other(bytes.len()),
        }
    }
}

/// A payload, and how it is packed on the air.
#[derive(Clone, Eq, PartialEq)]
struct Payload {
    bytes: Vec<u8>,
    /// What was received. DEFLATE has many encodings of the same bytes and signatures cover the one
    /// that was sent, so it is never made again.
    deflated: Option<Vec<u8>>,
}

/// A packet.
///
/// | bytes, version 1 | version 2 | content |
/// |---|---|---|
/// | 1 | 1 | version |
/// | 1 | 1 | type |
/// | 1 | 1 | time to live |
/// | 8 | 8 | when it was made, in ms since 1970 |
/// | 1 | 1 | flags: 01 recipient, 02 signature, 04 packed, 08 route, 10 answer to a sync request |
/// | 2 | 4 | length of the payload as it is sent, with the length before packing if it is packed |
/// | 8 | 8 | sender |
/// | 0 or 8 | 0 or 8 | recipient |
/// | | 0 or 1 + 8n | route: number of hops, and the hops between sender and recipient |
/// | 0 or 2 | 0 or 4 | length of the payload before it was packed |
/// | n | n | payload |
/// | 0 or 64 | 0 or 64 | signature |
///
/// Numbers are big-endian. Packed is raw DEFLATE (RFC 1951).
#[derive(Clone, Eq, PartialEq)]
pub struct Packet {
    /// What it carries.
    pub kind: PacketType,
    /// How many more hops it may take. No signature covers it.
    pub ttl: u8,
    /// When its sender made it.
    pub timestamp: UnixMillis,
    /// Who made it, or claims to.
    pub sender: PeerId,
    /// Whom it is for; nobody, or [`PeerId::BROADCAST`], is everybody.
    pub recipient: Option<PeerId>,
    /// Whether it answers a sync request. No signature covers it.
    pub answer: bool,
    /// By the sender's signing key.
    pub signature: Option<[u8; SIGNATURE_BYTES]>,
    version: u8,
    route: Option<Vec<PeerId>>,
    payload: Payload,
}

impl Packet {
    /// A packet for everybody, of the lowest version that can carry it, packed if that is worth it.
    ///
    /// # Errors
    /// [`PacketError::TooLong`].
    pub fn new(
        kind: PacketType,
        sender: PeerId,
        timestamp: UnixMillis,
        payload: Vec<u8>,
    ) -> Result<Self, PacketError> {
        check_length(payload.len())?;
        let wide = payload.len() > usize::from(u16::MAX) - 2 || kind == PacketType::FILE;
        let deflated = worth_packing(&payload)
            .then(|| deflate(&payload))
            // What it takes beside is the length before packing.
            .filter(|deflated| deflated.len() < payload.len());
        Ok(Self {
            kind,
            ttl: TTL_MAX,
            timestamp,
            sender,
            recipient: None,
            answer: false,
            signature: None,
            version: if wide { 2 } else { 1 },
            route: None,
            payload: Payload {
                bytes: payload,
                deflated,
            },
        })
    }

    /// What goes over one link and no further, and is as good as random.
    pub(crate) const fn sealed(sender: PeerId, timestamp: UnixMillis, payload: Vec<u8>) -> Self {
        Self {
            kind: PacketType::SEALED,
            ttl: 1,
            timestamp,
            sender,
            recipient: None,
            answer: false,
            signature: None,
            version: 2,
            route: None,
            payload: Payload {
                bytes: payload,
                deflated: None,
            },
        }
    }

    /// The same, without packing: for what is parts of something that was packed.
    #[must_use]
    pub(crate) fn unpacked(mut self) -> Self {
        self.payload.deflated = None;
        self
    }

    /// The same, for one peer.
    #[must_use]
    pub const fn to(mut self, recipient: PeerId) -> Self {
        self.recipient = Some(recipient);
        self
    }

    /// Whether it is for everybody.
    #[must_use]
    pub fn is_broadcast(&self) -> bool {
        self.recipient
            .is_none_or(|recipient| recipient == PeerId::BROADCAST)
    }

    /// Version of its encoding: 1 or 2.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// What it carries, unpacked.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload.bytes
    }

    /// Takes what it carries out of it.
    #[must_use]
    pub fn into_payload(self) -> Vec<u8> {
        self.payload.bytes
    }

    /// The peers between sender and recipient, if the sender chose them.
    #[must_use]
    pub fn route(&self) -> Option<&[PeerId]> {
        self.route.as_deref()
    }

    /// Sends it over these peers, which takes version 2. A signature must be made after that.
    ///
    /// # Errors
    /// [`PacketError::RouteTooLong`].
    pub fn set_route(&mut self, hops: Vec<PeerId>) -> Result<(), PacketError> {
        if hops.len() > ROUTE_HOPS_MAX {
            return Err(PacketError::RouteTooLong {
                actual: hops.len(),
                limit: ROUTE_HOPS_MAX,
            });
        }
        self.version = 2;
        self.route = Some(hops);
        Ok(())
    }

    /// Reads a packet at the start of `bytes`, and says what follows it.
    ///
    /// Flags without a meaning are ignored, as is a route in version 1.
    ///
    /// # Errors
    /// [`PacketError`], all but the last.
    pub fn decode(bytes: &[u8]) -> Result<(Self, Tail), PacketError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if !matches!(version, 1 | 2) {
            return Err(PacketError::Version { actual: version });
        }
        let kind = PacketType(reader.u8()?);
        let ttl = reader.u8()?;
        let timestamp = UnixMillis(reader.u64()?);
        let flags = reader.u8()?;
        let length = read_length(&mut reader, version)?;
        check_length(length)?;
        let sender = PeerId(reader.array()?);
        let has = |flag| flags & flag != 0;
        let recipient = if has(FLAG_RECIPIENT) {
            Some(PeerId(reader.array()?))
        } else {
            None
        };
        let route = if version == 2 && has(FLAG_ROUTE) {
            let hops = usize::from(reader.u8()?);
            let hops = reader.take(hops * PeerId::LEN)?.as_chunks().0;
            Some(hops.iter().copied().map(PeerId).collect())
        } else {
            None
        };
        let payload = if has(FLAG_DEFLATED) {
            let start = reader.position();
            let unpacked = read_length(&mut reader, version)?;
            check_length(unpacked)?;
            let packed = length
                .checked_sub(reader.position() - start)
                .ok_or(PacketError::Inflate { expected: unpacked })?;
            let deflated = reader.take(packed)?;
            if unpacked / packed.max(1) > RATIO_MAX {
                return Err(PacketError::Bomb { packed, unpacked });
            }
            let bytes =
                inflate(deflated, unpacked).ok_or(PacketError::Inflate { expected: unpacked })?;
            Payload {
                bytes,
                deflated: Some(deflated.to_vec()),
            }
        } else {
            Payload {
                bytes: reader.take(length)?.to_vec(),
                deflated: None,
            }
        };
        let signature = if has(FLAG_SIGNATURE) {
            Some(reader.array()?)
        } else {
            None
        };
        let packet = Self {
            kind,
            ttl,
            timestamp,
            sender,
            recipient,
            answer: has(FLAG_ANSWER),
            signature,
            version,
            route,
            payload,
        };
        Ok((packet, Tail::of(&bytes[reader.position()..])))
    }

    /// The packet's bytes, without padding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_as(self.ttl, self.answer, self.signature.as_ref())
    }

    /// What goes over a link: handshakes and encrypted messages are padded, so that their length says
    /// less; nothing else is.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        let mut bytes = self.encode();
        if matches!(self.kind, PacketType::HANDSHAKE | PacketType::ENCRYPTED) {
            pad(&mut bytes);
        }
        bytes
    }

    /// What a signature covers: the packet without it, with no time to live, not as an answer, padded
    /// whatever its type.
    #[must_use]
    pub fn signing_preimage(&self) -> Vec<u8> {
        let mut bytes = self.encode_as(0, false, None);
        pad(&mut bytes);
        bytes
    }

    /// Signs it.
    pub fn sign(&mut self, identity: &Identity) {
        self.signature = Some(identity.sign(&self.signing_preimage()));
    }

    /// Whether it has a signature by `key`.
    #[must_use]
    pub fn verify(&self, key: &VerifyKey) -> bool {
        self.signature
            .is_some_and(|signature| key.verify(&self.signing_preimage(), &signature))
    }

    /// What tells it from other packets on their way through the mesh. The same for every copy of it,
    /// whatever its time to live and its route.
    #[must_use]
    pub fn dedup_key(&self) -> u64 {
        let payload = Sha256::digest(&self.payload.bytes);
        let mut hash = Sha256::new();
        hash.update(self.sender.0);
        hash.update(self.timestamp.0.to_be_bytes());
        hash.update([self.kind.0]);
        // Without it, a copy that is for somebody else would keep the real one from who it is for.
        hash.update(self.recipient.map_or([0; 8], |recipient| recipient.0));
        hash.update(payload);
        let hash: [u8; 32] = hash.finalize().into();
        let [first, ..] = hash.as_chunks::<8>().0 else {
            unreachable!("a digest has 32 bytes");
        };
        u64::from_be_bytes(*first)
    }

    /// What stands for it in a sync request.
    #[must_use]
    pub fn sync_id(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update([self.kind.0]);
        hash.update(self.sender.0);
        hash.update(self.timestamp.0.to_be_bytes());
        hash.update(&self.payload.bytes);
        let hash: [u8; 32] = hash.finalize().into();
        let [first, ..] = hash.as_chunks::<16>().0 else {
            unreachable!("a digest has 32 bytes");
        };
        *first
    }

    fn encode_as(
        &self,
        ttl: u8,
        answer: bool,
        signature: Option<&[u8; SIGNATURE_BYTES]>,
    ) -> Vec<u8> {
        let mut flags = 0;
        for (flag, set) in [
            (FLAG_RECIPIENT, self.recipient.is_some()),
            (FLAG_SIGNATURE, signature.is_some()),
            (FLAG_DEFLATED, self.payload.deflated.is_some()),
            (FLAG_ROUTE, self.route.is_some()),
            (FLAG_ANSWER, answer),
        ] {
            if set {
                flags |= flag;
            }
        }
        let mut writer = Writer::new();
        writer.u8(self.version);
        writer.u8(self.kind.0);
        writer.u8(ttl);
        writer.u64(self.timestamp.0);
        writer.u8(flags);
        let size_bytes = if self.version == 1 { 2 } else { 4 };
        let length = match &self.payload.deflated {
            Some(deflated) => deflated.len() + size_bytes,
            None => self.payload.bytes.len(),
        };
        write_length(&mut writer, self.version, length);
        writer.raw(&self.sender.0);
        if let Some(recipient) = self.recipient {
            writer.raw(&recipient.0);
        }
        if let Some(route) = &self.route {
            writer.u8(u8::try_from(route.len()).expect("routes have at most 255 hops"));
            for hop in route {
                writer.raw(&hop.0);
            }
        }
        match &self.payload.deflated {
            Some(deflated) => {
                write_length(&mut writer, self.version, self.payload.bytes.len());
                writer.raw(deflated);
            }
            None => writer.raw(&self.payload.bytes),
        }
        if let Some(signature) = signature {
            writer.raw(signature);
        }
        writer.finish()
    }
}

/// Payloads may be private, so they are not shown.
impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("kind", &self.kind)
            .field("ttl", &self.ttl)
            .field("timestamp", &self.timestamp)
            .field("sender", &self.sender)
            .field("recipient", &self.recipient)
            .field("payload_bytes", &self.payload.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Length of the whole packet that starts here, as far as its header tells; `None` if the header is
/// not whole yet. For links that do not keep writes apart.
pub(crate) fn frame_length(bytes: &[u8]) -> Result<Option<usize>, PacketError> {
    match header_length(bytes) {
        Ok(length) => Ok(Some(length)),
        Err(PacketError::Truncated(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn header_length(bytes: &[u8]) -> Result<usize, PacketError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    if !matches!(version, 1 | 2) {
        return Err(PacketError::Version { actual: version });
    }
    reader.take(10)?;
    let flags = reader.u8()?;
    let length = read_length(&mut reader, version)?;
    check_length(length)?;
    reader.take(PeerId::LEN)?;
    if flags & FLAG_RECIPIENT != 0 {
        reader.take(PeerId::LEN)?;
    }
    if version == 2 && flags & FLAG_ROUTE != 0 {
        let hops = usize::from(reader.u8()?);
        reader.take(hops * PeerId::LEN)?;
    }
    let signature = if flags & FLAG_SIGNATURE != 0 {
        SIGNATURE_BYTES
    } else {
        0
    };
    Ok(reader.position() + length + signature)
}

const fn check_length(actual: usize) -> Result<(), PacketError> {
    if actual > PAYLOAD_BYTES_MAX {
        return Err(PacketError::TooLong {
            actual,
            limit: PAYLOAD_BYTES_MAX,
        });
    }
    Ok(())
}

fn read_length(reader: &mut Reader<'_>, version: u8) -> Result<usize, DecodeError> {
    Ok(if version == 1 {
        usize::from(reader.u16()?)
    } else {
        usize::try_from(reader.u32()?).unwrap_or(usize::MAX)
    })
}

fn write_length(writer: &mut Writer, version: u8, length: usize) {
    if version == 1 {
        writer.u16(u16::try_from(length).expect("what is longer has version 2"));
    } else {
        writer.u32(u32::try_from(length).expect("payloads are far shorter than 4 GiB"));
    }
}

/// The rule of the apps: long enough, and fewer than nine in ten of its bytes differ.
fn worth_packing(payload: &[u8]) -> bool {
    if payload.len() < DEFLATE_BYTES_MIN {
        return false;
    }
    let mut seen = [false; 256];
    for byte in payload {
        seen[usize::from(*byte)] = true;
    }
    let distinct = seen.iter().filter(|seen| **seen).count();
    distinct * 10 < payload.len().min(256) * 9
}

/// Pads to the smallest of four lengths that leaves 16 bytes to spare, if one byte can say how much
/// padding that takes.
fn pad(bytes: &mut Vec<u8>) {
    let length = bytes.len();
    let target = [256, 512, 1024, 2048]
        .into_iter()
        .find(|target| length + 16 <= *target);
    let padding = target.and_then(|target| u8::try_from(target - length).ok());
    if let Some(padding) = padding {
        bytes.resize(length + usize::from(padding), padding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SENDER: PeerId = PeerId([1; 8]);
    const TIME: UnixMillis = UnixMillis(1_760_000_000_123);

    fn packet(kind: PacketType, payload: &[u8]) -> Packet {
        Packet::new(kind, SENDER, TIME, payload.to_vec()).unwrap()
    }

    #[test]
    fn identifiers_are_text_of_sixteen_digits() {
        let id = PeerId([0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0xff]);
        assert_eq!(id.to_string(), "00112233445566ff");
        assert_eq!("00112233445566ff".parse(), Ok(id));
        assert_eq!(
            "+0112233445566ff".parse::<PeerId>(),
            Err(ParseIdError::Digit { position: 0 })
        );
        assert!("00".parse::<PeerId>().is_err());
        assert!("é0112233445566f".parse::<PeerId>().is_err());
    }

    #[test]
    fn every_cut_of_a_packet_is_refused_as_cut() {
        let mut whole = packet(PacketType::MESSAGE, &[b'a'; 200]).to(SENDER);
        whole.set_route(vec![SENDER, PeerId([2; 8])]).unwrap();
        whole.sign(&Identity::from_bytes([1; 32], [2; 32]));
        let bytes = whole.encode();
        assert_eq!(Packet::decode(&bytes), Ok((whole, Tail::None)));
        for end in 0..bytes.len() {
            assert!(
                matches!(
                    Packet::decode(&bytes[..end]),
                    Err(PacketError::Truncated(_))
                ),
                "{end}"
            );
        }
    }

    #[test]
    fn a_payload_over_the_limit_is_refused_before_it_is_read() {
        let mut bytes = packet(PacketType::FILE, b"x").encode();
        bytes[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
        let refused = PacketError::TooLong {
            actual: u32::MAX as usize,
            limit: PAYLOAD_BYTES_MAX,
        };
        assert_eq!(Packet::decode(&bytes), Err(refused));
        let long = vec![0; PAYLOAD_BYTES_MAX + 1];
        assert!(Packet::new(PacketType::FILE, SENDER, TIME, long).is_err());
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let packed = deflate(&vec![0; 100_000]);
        let bomb = |unpacked: u32, packed: &[u8]| {
            let mut bytes = vec![2, 2, 7];
            bytes.extend([0; 8]);
            bytes.push(FLAG_DEFLATED);
            bytes.extend(u32::try_from(packed.len() + 4).unwrap().to_be_bytes());
            bytes.extend([0; 8]);
            bytes.extend(unpacked.to_be_bytes());
            bytes.extend(packed);
            Packet::decode(&bytes)
        };
        assert_eq!(
            bomb(100_000, &packed).unwrap().0.payload(),
            vec![0; 100_000]
        );
        // More comes out than was said, less comes out, or more than any payload may have.
        for unpacked in [10, 99_999, 100_001] {
            let expected = usize::try_from(unpacked).unwrap();
            assert_eq!(
                bomb(unpacked, &packed),
                Err(PacketError::Inflate { expected })
            );
        }
        assert!(matches!(
            bomb(100 << 20, &packed),
            Err(PacketError::TooLong { .. })
        ));
        assert_eq!(
            bomb(1 << 20, &[3, 0]),
            Err(PacketError::Bomb {
                packed: 2,
                unpacked: 1 << 20
            })
        );
    }

    #[test]
    fn a_packed_payload_shorter_than_its_length_field_is_refused() {
        let mut bytes = packet(PacketType::MESSAGE, b"").encode();
        bytes[11] |= FLAG_DEFLATED;
        bytes[13] = 1;
        bytes.extend([0, 9, 9]);
        assert_eq!(
            Packet::decode(&bytes),
            Err(PacketError::Inflate { expected: 9 })
        );
    }

    #[test]
    fn only_noise_is_padded_on_the_air() {
        assert_eq!(packet(PacketType::MESSAGE, b"x").to_frame().len(), 23);
        let noise = packet(PacketType::HANDSHAKE, &[7; 32]);
        let frame = noise.to_frame();
        assert_eq!(frame.len(), 256);
        assert_eq!(Packet::decode(&frame), Ok((noise, Tail::Padding(202))));
        // 256 bytes of padding do not fit into the byte that says how many there are.
        let bare = packet(PacketType::ENCRYPTED, &[7; 234]);
        assert_eq!(bare.to_frame().len(), 256);
    }

    #[test]
    fn what_follows_a_packet_is_told() {
        let mut bytes = packet(PacketType::MESSAGE, b"x").encode();
        bytes.extend([3, 3, 3]);
        assert_eq!(Packet::decode(&bytes).unwrap().1, Tail::Padding(3));
        bytes.push(3);
        assert_eq!(Packet::decode(&bytes).unwrap().1, Tail::Other(4));
    }

    #[test]
    fn a_route_in_version_1_is_no_route() {
        let mut bytes = packet(PacketType::MESSAGE, b"x").encode();
        bytes[11] |= FLAG_ROUTE | 0xe0;
        let (read, tail) = Packet::decode(&bytes).unwrap();
        assert_eq!(
            (read.route(), read.payload(), tail),
            (None, &b"x"[..], Tail::None)
        );
    }

    #[test]
    fn a_signature_covers_all_but_ttl_and_the_mark_of_an_answer() {
        let identity = Identity::from_bytes([1; 32], [2; 32]);
        let mut signed = packet(PacketType::MESSAGE, &[b'a'; 300]);
        signed.sign(&identity);
        let key = identity.verify_key();
        let mut relayed = signed.clone();
        relayed.ttl = 1;
        relayed.answer = true;
        assert!(relayed.verify(&key));
        for change in 0..4 {
            let mut changed = signed.clone();
            match change {
                0 => changed.timestamp.0 += 1,
                1 => changed.recipient = Some(PeerId::BROADCAST),
                2 => changed.kind = PacketType::LEAVE,
                _ => changed.payload.bytes[0] ^= 1,
            }
            // The packed form is what is signed, so a changed payload is one that is packed anew.
            if change == 3 {
                changed.payload.deflated = Some(deflate(&changed.payload.bytes));
            }
            assert!(!changed.verify(&key), "{change}");
        }
        signed.signature = None;
        assert!(!signed.verify(&key));
    }

    #[test]
    fn copies_are_recognised_and_other_packets_are_not() {
        let one = packet(PacketType::MESSAGE, b"one");
        let mut copy = one.clone();
        copy.ttl = 2;
        copy.set_route(vec![SENDER]).unwrap();
        assert_eq!(one.dedup_key(), copy.dedup_key());
        for other in [
            packet(PacketType::MESSAGE, b"two"),
            packet(PacketType::VOICE, b"one"),
            Packet {
                timestamp: UnixMillis(TIME.0 + 1),
                ..one.clone()
            },
            Packet {
                sender: PeerId([9; 8]),
                ..one.clone()
            },
            one.clone().to(SENDER),
        ] {
            assert_ne!(one.dedup_key(), other.dedup_key());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((packet, _)) = Packet::decode(&bytes) {
                let again = packet.encode();
                prop_assert_eq!(Packet::decode(&again), Ok((packet, Tail::None)));
            }
            let _ = frame_length(&bytes);
        }

        #[test]
        fn packets_round_trip(
            kind in any::<u8>(), ttl in any::<u8>(), time in any::<u64>(),
            sender in any::<[u8; 8]>(), recipient in any::<Option<[u8; 8]>>(),
            route in proptest::option::of(proptest::collection::vec(any::<[u8; 8]>(), 0..5)),
            answer in any::<bool>(), signed in any::<bool>(),
            payload in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..400),
                proptest::collection::vec(0_u8..4, 0..70_000),
            ],
        ) {
            let mut packet =
                Packet::new(PacketType(kind), PeerId(sender), UnixMillis(time), payload).unwrap();
            packet.ttl = ttl;
            packet.answer = answer;
            packet.recipient = recipient.map(PeerId);
            if let Some(route) = route {
                packet.set_route(route.into_iter().map(PeerId).collect()).unwrap();
            }
            if signed {
                packet.signature = Some([9; SIGNATURE_BYTES]);
            }
            let bytes = packet.encode();
            prop_assert_eq!(frame_length(&bytes), Ok(Some(bytes.len())));
            let frame = packet.to_frame();
            let (read, tail) = Packet::decode(&frame).unwrap();
            prop_assert!(!matches!(tail, Tail::Other(_)));
            prop_assert_eq!(&read, &packet);
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
