//! What is inside a Noise session.

use std::fmt;

use fogcompute_base::{CryptoRng, UnixMillis};
use sha2::{Digest, Sha256};

use crate::announce::Capabilities;
use crate::call::CallSignal;
use crate::chunks::ChunkMessage;
use crate::courier::CourierNews;
use crate::file::File;
use crate::group::GroupState;
use crate::identity::VerifyKey;
use crate::large_group::LargeGroupStep;
use crate::packet::PeerId;
use crate::ratchet::RatchetMessage;
use crate::tlv::{FormatError, array, fields8, once, put8, required, text};
use crate::voice::VoiceFrame;

/// Longest text of a private message, in bytes. What is longer is for a file, or for several messages.
pub const PRIVATE_BYTES_MAX: usize = 255;

const PRIVATE: u8 = 0x01;
const READ: u8 = 0x02;
const DELIVERED: u8 = 0x03;
const GROUP_INVITE: u8 = 0x06;
const GROUP_UPDATE: u8 = 0x07;
const VOICE: u8 = 0x08;
/// What old apps sent for a file.
const FILE_OLD: u8 = 0x09;
const FILE: u8 = 0x20;
const PEER_STATE: u8 = 0x21;
const CALL: u8 = 0x40;
const CHUNK: u8 = 0x41;
const COURIERS: u8 = 0x42;
const RATCHET: u8 = 0x43;
const LARGE_GROUP: u8 = 0x44;

const PEER_STATE_VERSION: u8 = 1;

/// What a message is known by to its sender and its receiver: at most 255 bytes of text.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageId(String);

impl MessageId {
    /// Longest identifier, in bytes.
    pub const BYTES_MAX: usize = 255;

    /// Takes an identifier from its text.
    ///
    /// # Errors
    /// [`FormatError::TooLong`].
    pub fn new(text: impl Into<String>) -> Result<Self, FormatError> {
        let text = text.into();
        if text.len() > Self::BYTES_MAX {
            return Err(FormatError::TooLong {
                actual: text.len(),
                limit: Self::BYTES_MAX,
            });
        }
        Ok(Self(text))
    }

    /// A new one: a UUID of version 4 in capitals, as the apps make them.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = String::with_capacity(36);
        for (index, byte) in bytes.into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02X}"));
        }
        Self(text)
    }

    /// The identifier of a public message, which does not carry one: who has the message has this.
    #[must_use]
    pub fn of_public(sender: PeerId, timestamp: UnixMillis, content: &str) -> Self {
        let text = format!("{sender}|{}|{}", timestamp.0, content.trim());
        let digest = Sha256::digest(text);
        let hex = digest[..16].iter().map(|byte| format!("{byte:02x}"));
        Self(hex.collect())
    }

    /// The identifier's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({:?})", self.0)
    }
}

/// What a peer says of itself where it has proved who it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerState {
    /// What it can do.
    pub capabilities: Capabilities,
    /// The key its packets are signed with.
    pub verify_key: VerifyKey,
}

/// The plaintext of a session: a byte for its type, and a body.
///
/// | type | body |
/// |---|---|
/// | 01 | private message: fields 00 identifier, 01 text, each at most 255 bytes |
/// | 02, 03 | read, delivered: the message's identifier |
/// | 06, 07 | invitation to a group, its new state |
/// | 08 | a part of a voice burst |
/// | 20 | a file; 09 is read too |
/// | 21 | version 1, then fields 01 capabilities, 02 signing key |
/// | 40 | ours: call signalling, for peers with [`Capabilities::CALLS`] |
/// | 41 | ours: files in chunks, for peers with [`Capabilities::CHUNKS`] |
/// | 42 | ours: what couriers tell each other, for peers with [`Capabilities::COURIERS`] |
/// | 43 | ours: a [ratchet](crate::ratchet) and what is under its keys: a plaintext of type 01, 02, 03, 06, 07 or 44, or nothing; for peers with [`Capabilities::RATCHET`] |
/// | 44 | ours, inside a ratchet alone: a [large group](crate::large_group), for peers with [`Capabilities::LARGE_GROUPS`] |
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// A message for one peer.
    Private {
        /// What receipts name.
        id: MessageId,
        /// The text, at most [`PRIVATE_BYTES_MAX`] bytes.
        text: String,
    },
    /// The user saw a message.
    Read(MessageId),
    /// A message arrived.
    Delivered(MessageId),
    /// An invitation to a group.
    GroupInvite(GroupState),
    /// A group changed.
    GroupUpdate(GroupState),
    /// A part of a voice burst.
    Voice(VoiceFrame),
    /// A file.
    File(File),
    /// What the peer can do and how it signs.
    PeerState(PeerState),
    /// Ours: a step towards a call.
    Call(CallSignal),
    /// Ours: a step of a file in chunks.
    Chunk(ChunkMessage),
    /// Ours: whom a courier meets and what it carries.
    Couriers(CourierNews),
    /// Ours: a step of a ratchet, or something under one of its keys.
    Ratchet(RatchetMessage),
    /// Ours: a step of a large group.
    LargeGroup(LargeGroupStep),
    /// A type that means nothing here.
    Other {
        /// The type.
        kind: u8,
        /// The body.
        body: Vec<u8>,
    },
}

impl Content {
    /// Reads a plaintext.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let Some((&kind, body)) = bytes.split_first() else {
            return Err(FormatError::Missing { tag: 0 });
        };
        let id = || MessageId::new(text(kind, body)?);
        Ok(match kind {
            PRIVATE => decode_private(body)?,
            READ => Self::Read(id()?),
            DELIVERED => Self::Delivered(id()?),
            GROUP_INVITE => Self::GroupInvite(GroupState::decode(body)?),
            GROUP_UPDATE => Self::GroupUpdate(GroupState::decode(body)?),
            VOICE => Self::Voice(VoiceFrame::decode(body)?),
            FILE | FILE_OLD => Self::File(File::decode(body)?),
            PEER_STATE => Self::PeerState(decode_peer_state(body)?),
            CALL => Self::Call(CallSignal::decode(body)?),
            CHUNK => Self::Chunk(ChunkMessage::decode(body)?),
            COURIERS => Self::Couriers(CourierNews::decode(body)?),
            RATCHET => Self::Ratchet(RatchetMessage::decode(body)?),
            LARGE_GROUP => Self::LargeGroup(LargeGroupStep::decode(body)?),
            _ => Self::Other {
                kind,
                body: body.to_vec(),
            },
        })
    }

    /// The plaintext.
    ///
    /// # Errors
    /// [`FormatError`] if something is longer than its field can be.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let (kind, body) = match self {
            Self::Private { id, text } => {
                let mut body = Vec::new();
                put8(&mut body, 0x00, id.0.as_bytes())?;
                put8(&mut body, 0x01, text.as_bytes())?;
                (PRIVATE, body)
            }
            Self::Read(id) => (READ, id.0.as_bytes().to_vec()),
            Self::Delivered(id) => (DELIVERED, id.0.as_bytes().to_vec()),
            Self::GroupInvite(state) => (GROUP_INVITE, state.encode()?),
            Self::GroupUpdate(state) => (GROUP_UPDATE, state.encode()?),
            Self::Voice(frame) => (VOICE, frame.encode()?),
            Self::File(file) => (FILE, file.encode()?),
            Self::PeerState(state) => {
                let mut body = vec![PEER_STATE_VERSION];
                put8(&mut body, 0x01, &state.capabilities.to_bytes())?;
                put8(&mut body, 0x02, state.verify_key.as_bytes())?;
                (PEER_STATE, body)
            }
            Self::Call(signal) => (CALL, signal.encode()?),
            Self::Chunk(message) => (CHUNK, message.encode()?),
            Self::Couriers(news) => (COURIERS, news.encode()?),
            Self::Ratchet(message) => (RATCHET, message.encode()?),
            Self::LargeGroup(step) => (LARGE_GROUP, step.encode()?),
            Self::Other { kind, body } => (*kind, body.clone()),
        };
        let mut bytes = Vec::with_capacity(1 + body.len());
        bytes.push(kind);
        bytes.extend(body);
        Ok(bytes)
    }
}

/// Whether a plaintext goes under a key of its own where that can be: texts, receipts and the secrets of groups.
pub(crate) fn is_ratcheted(plaintext: &[u8]) -> bool {
    matches!(
        plaintext.first(),
        Some(&(PRIVATE | READ | DELIVERED | GROUP_INVITE | GROUP_UPDATE | LARGE_GROUP))
    )
}

fn decode_private(body: &[u8]) -> Result<Content, FormatError> {
    let (mut id, mut content) = (None, None);
    let mut fields = fields8(body);
    while let Some((tag, value)) = fields.next_field()? {
        match tag {
            0x00 => once(&mut id, tag, MessageId(text(tag, value)?))?,
            0x01 => once(&mut content, tag, text(tag, value)?)?,
            _ => return Err(FormatError::Unknown { tag }),
        }
    }
    Ok(Content::Private {
        id: required(id, 0x00)?,
        text: required(content, 0x01)?,
    })
}

fn decode_peer_state(body: &[u8]) -> Result<PeerState, FormatError> {
    let Some((&PEER_STATE_VERSION, body)) = body.split_first() else {
        return Err(FormatError::Value { tag: PEER_STATE });
    };
    let (mut capabilities, mut verify_key) = (None, None);
    let mut fields = fields8(body);
    while let Some((tag, value)) = fields.next_field()? {
        match tag {
            0x01 => {
                let bits = Capabilities::from_bytes(value);
                // One encoding only: what is bound here must not depend on how it is read.
                if value.len() <= 8 && bits.to_bytes() != value {
                    return Err(FormatError::Value { tag });
                }
                once(&mut capabilities, tag, bits)?;
            }
            0x02 => once(
                &mut verify_key,
                tag,
                VerifyKey::from_bytes(array(tag, value)?),
            )?,
            _ => {}
        }
    }
    Ok(PeerState {
        capabilities: required(capabilities, 0x01)?,
        verify_key: required(verify_key, 0x02)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn new_identifiers_are_random_uuids() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let id = MessageId::random(&mut rng);
        let text = id.as_str();
        assert_eq!(text.len(), 36);
        assert_eq!(&text[14..15], "4");
        assert!("89AB".contains(&text[19..20]));
        assert!(
            text.chars()
                .all(|c| c == '-' || c.is_ascii_digit() || c.is_ascii_uppercase())
        );
        assert_ne!(id, MessageId::random(&mut rng));
    }

    #[test]
    fn unknown_fields_of_a_private_message_are_refused_and_those_of_a_peer_state_are_not() {
        let mut private = Content::Private {
            id: MessageId::new("m1").unwrap(),
            text: "hi".to_owned(),
        }
        .encode()
        .unwrap();
        put8(&mut private, 0x02, b"x").unwrap();
        assert_eq!(
            Content::decode(&private),
            Err(FormatError::Unknown { tag: 2 })
        );
        let state = Content::PeerState(PeerState {
            capabilities: Capabilities::GROUPS,
            verify_key: VerifyKey::from_bytes([7; 32]),
        });
        let mut bytes = state.encode().unwrap();
        put8(&mut bytes, 0x7f, b"x").unwrap();
        assert_eq!(Content::decode(&bytes), Ok(state));
        // A zero byte too many, and another version.
        assert!(Content::decode(&[PEER_STATE, 1, 1, 2, 8, 0]).is_err());
        bytes[1] = 2;
        assert!(Content::decode(&bytes).is_err());
    }

    #[test]
    fn a_text_over_the_limit_is_not_sent() {
        let long = Content::Private {
            id: MessageId::new("m1").unwrap(),
            text: "x".repeat(PRIVATE_BYTES_MAX + 1),
        };
        assert!(long.encode().is_err());
        assert!(MessageId::new("x".repeat(256)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(content) = Content::decode(&bytes) {
                let again = content.encode().unwrap();
                prop_assert_eq!(Content::decode(&again), Ok(content));
            }
        }
    }
}
