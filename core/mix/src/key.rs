//! Mix keys and their epochs.

use std::fmt;
use std::str::FromStr;

use fogcompute_base::{CryptoRng, Digest, NodeId, ParseIdError};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::dh;

/// A node's public mix key: the X25519 point to which senders encrypt a hop.
///
/// It is not the node's identity: a node has another mix key in each epoch, and after an end at which
/// what was seen under the key was lost, so that packets recorded before cannot be replayed.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicKey([u8; 32]);

/// The `u` coordinates of small order, canonical or not, with the unused top bit clear.
///
/// A Diffie-Hellman with any of them gives zero whatever the secret, so everybody could process the
/// packet. Source: RFC 7748 §6.1 and §7; Langley et al., "May the Fourth Be With You".
pub(crate) const LOW_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    near_two_to_255(0xec),
    near_two_to_255(0xed),
    near_two_to_255(0xee),
];

const fn near_two_to_255(lowest: u8) -> [u8; 32] {
    let mut point = [0xff; 32];
    point[0] = lowest;
    point[31] = 0x7f;
    point
}

impl PublicKey {
    /// Takes a key from its bytes (RFC 7748 encoding of `u`).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether a Diffie-Hellman with this point gives zero for every secret.
    #[must_use]
    pub fn is_low_order(&self) -> bool {
        let mut point = self.0;
        point[31] &= 0x7f;
        LOW_ORDER.contains(&point)
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A node's private mix key. Erased from memory when dropped.
#[derive(Clone)]
pub struct PrivateKey {
    secret: Zeroizing<[u8; 32]>,
    // Every packet's keys are bound to it, so it is computed once.
    public: PublicKey,
}

impl PrivateKey {
    /// A new key.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self::from_bytes(*bytes)
    }

    /// Takes a key from 32 secret bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let secret = Zeroizing::new(bytes);
        let mut public = [[0; 32]];
        dh::base(std::slice::from_ref(&*secret), &mut public);
        Self {
            secret,
            public: PublicKey(public[0]),
        }
    }

    /// The secret bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        *self.secret
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// Which of two neighbouring key epochs a mix key is of: the lowest bit of the epoch's number.
///
/// Every packet says it in clear, so that a node does one Diffie-Hellman for it and not one for
/// each key it holds. All packets of a time say the same, but for those sent around its end.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum EpochParity {
    /// An epoch of even number; also that of a network which never changes its keys.
    #[default]
    Even = 0,
    /// An epoch of odd number.
    Odd = 1,
}

impl EpochParity {
    /// The parity of an epoch's number.
    #[must_use]
    pub const fn of(epoch: u64) -> Self {
        if epoch.is_multiple_of(2) {
            Self::Even
        } else {
            Self::Odd
        }
    }

    /// The parity that a byte of a frame or a message stands for.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Even),
            1 => Some(Self::Odd),
            _ => None,
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Even => Self::Odd,
            Self::Odd => Self::Even,
        }
    }
}

/// Who can be sent packets to: a node, its mix key, and the epoch the key is of.
///
/// As text, to be handed from one person to another: the node and the key in 64 hexadecimal digits
/// each and `even` or `odd`, with a colon between them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Contact {
    /// The node.
    pub node: NodeId,
    /// Its mix key.
    pub key: PublicKey,
    /// The key's epoch.
    pub epoch: EpochParity,
}

/// Why a text is no [`Contact`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ParseContactError {
    /// There are not three parts with a colon between them.
    #[error("contact has {actual} parts, expected node:key:epoch")]
    Parts {
        /// Parts there are.
        actual: usize,
    },
    /// The first part is no node.
    #[error("node of the contact: {0}")]
    Node(#[source] ParseIdError),
    /// The second part is no key.
    #[error("key of the contact: {0}")]
    Key(#[source] ParseIdError),
    /// The third part is neither `even` nor `odd`.
    #[error("epoch of the contact is neither even nor odd")]
    Epoch,
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = match self.epoch {
            EpochParity::Even => "even",
            EpochParity::Odd => "odd",
        };
        write!(f, "{}:{}:{epoch}", self.node, self.key)
    }
}

impl FromStr for Contact {
    type Err = ParseContactError;

    fn from_str(text: &str) -> Result<Self, ParseContactError> {
        let parts: Vec<_> = text.split(':').collect();
        let [node, key, epoch] = parts[..] else {
            let actual = parts.len();
            return Err(ParseContactError::Parts { actual });
        };
        let key: Digest = key.parse().map_err(ParseContactError::Key)?;
        Ok(Self {
            node: node.parse().map_err(ParseContactError::Node)?,
            key: PublicKey::from_bytes(*key.as_bytes()),
            epoch: match epoch {
                "even" => EpochParity::Even,
                "odd" => EpochParity::Odd,
                _ => return Err(ParseContactError::Epoch),
            },
        })
    }
}

/// The private keys a node processes packets with: at most one of each parity.
///
/// A node starts with one key. Before an epoch ends it inserts the next one's, and when no packet
/// of the old epoch can still be on its way it removes the old one's.
#[derive(Clone, Debug)]
pub struct KeyRing {
    keys: [Option<PrivateKey>; 2],
}

impl KeyRing {
    /// A ring with one key.
    #[must_use]
    pub fn new(epoch: EpochParity, key: PrivateKey) -> Self {
        let mut ring = Self {
            keys: [const { None }; 2],
        };
        ring.insert(epoch, key);
        ring
    }

    /// Puts a key in the place of the one of its parity, which is erased.
    pub fn insert(&mut self, epoch: EpochParity, key: PrivateKey) {
        self.keys[epoch as usize] = Some(key);
    }

    /// Erases the key of a parity. Packets to it are refused from now on.
    pub fn remove(&mut self, epoch: EpochParity) {
        self.keys[epoch as usize] = None;
    }

    /// The key of a parity.
    #[must_use]
    pub const fn get(&self, epoch: EpochParity) -> Option<&PrivateKey> {
        self.keys[epoch as usize].as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::OsEntropy;

    #[test]
    fn the_listed_points_are_exactly_those_that_contribute_nothing() {
        let secret = PrivateKey::random(&mut OsEntropy);
        for point in LOW_ORDER {
            for top_bit in [0, 0x80] {
                let mut bytes = point;
                bytes[31] |= top_bit;
                let key = PublicKey::from_bytes(bytes);
                assert!(key.is_low_order());
                assert_eq!(dh::exchange(secret.secret(), &bytes), None);
            }
        }
        assert!(!secret.public().is_low_order());
    }

    #[test]
    fn public_key_of_rfc_7748_section_6_1() {
        let alice = PrivateKey::from_bytes([
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2,
            0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5,
            0x1d, 0xb9, 0x2c, 0x2a,
        ]);
        assert_eq!(
            format!("{:?}", alice.public()),
            "PublicKey(8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a)"
        );
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        assert_eq!(
            format!("{:?}", PrivateKey::from_bytes([7; 32])),
            "PrivateKey(..)"
        );
    }

    #[test]
    fn a_ring_has_one_key_of_each_parity() {
        let key = |byte| PrivateKey::from_bytes([byte; 32]);
        let mut ring = KeyRing::new(EpochParity::of(6), key(1));
        let public = |ring: &KeyRing, epoch| ring.get(epoch).map(PrivateKey::public);
        assert_eq!(public(&ring, EpochParity::Even), Some(key(1).public()));
        assert_eq!(public(&ring, EpochParity::Odd), None);
        ring.insert(EpochParity::of(7), key(2));
        ring.insert(EpochParity::of(8), key(3));
        assert_eq!(public(&ring, EpochParity::Even), Some(key(3).public()));
        ring.remove(EpochParity::Odd);
        assert_eq!(public(&ring, EpochParity::Odd), None);
    }

    #[test]
    fn parities_are_the_bytes_0_and_1() {
        for parity in [EpochParity::Even, EpochParity::Odd] {
            assert_eq!(EpochParity::from_byte(parity as u8), Some(parity));
            assert_eq!(parity.other().other(), parity);
            assert_ne!(parity.other(), parity);
        }
        assert_eq!(EpochParity::from_byte(2), None);
    }

    #[test]
    fn a_contact_is_read_as_it_was_written() {
        for epoch in [EpochParity::Even, EpochParity::Odd] {
            let contact = Contact {
                node: NodeId::from_bytes([0xa1; 32]),
                key: PrivateKey::from_bytes([7; 32]).public(),
                epoch,
            };
            assert_eq!(contact.to_string().parse(), Ok(contact));
        }
    }

    #[test]
    fn a_text_that_is_no_contact_is_told_what_is_wrong() {
        let parse = |text: &str| text.parse::<Contact>().unwrap_err();
        let hex = "ab".repeat(32);
        assert_eq!(parse(""), ParseContactError::Parts { actual: 1 });
        assert_eq!(
            parse(&format!("{hex}:{hex}:even:")),
            ParseContactError::Parts { actual: 4 }
        );
        assert_eq!(
            parse(&format!("{}:{hex}:even", &hex[1..])),
            ParseContactError::Node(ParseIdError::Length {
                expected: 64,
                actual: 63
            })
        );
        assert_eq!(
            parse(&format!("{hex}:x{}:even", &hex[1..])),
            ParseContactError::Key(ParseIdError::Digit { position: 0 })
        );
        assert_eq!(
            parse(&format!("{hex}:{hex}:Even")),
            ParseContactError::Epoch
        );
    }
}
