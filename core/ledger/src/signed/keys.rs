//! Keys as points of the curve, which to find costs as much as a fifth of a signature's check.

use std::collections::HashMap;

use ed25519_dalek::{Signature, VerifyingKey};
use fogcompute_base::Digest;

use super::{PublicKey, message};

/// A key that can sign something: a point of the curve, not of small order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SoundKey(VerifyingKey);

impl SoundKey {
    pub(crate) fn of(key: PublicKey) -> Option<Self> {
        let key = VerifyingKey::from_bytes(key.as_bytes()).ok()?;
        (!key.is_weak()).then_some(Self(key))
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::from_bytes(*self.0.as_bytes())
    }

    pub(super) const fn verifying(&self) -> &VerifyingKey {
        &self.0
    }

    /// As [`PublicKey::signed`].
    pub(super) fn signed(&self, context: &[u8], digest: Digest, signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        (self.0)
            .verify_strict(&message(context, digest), &signature)
            .is_ok()
    }
}

/// Whether the nonce of a signature is one that `verify_strict` takes, if it is a point at all:
/// encoded in the one way there is, and not of small order.
///
/// The eight points of small order have five heights `y` among them, so that they are known by
/// their bytes: to find the point for that takes as long as the rest of a check together.
///
/// Source: libsodium, `ge25519_has_small_order`.
pub(super) fn is_strict_nonce(nonce: &[u8; 32]) -> bool {
    let mut height = *nonce;
    // The highest bit is the sign of `x`.
    height[31] &= 0x7f;
    let from_p = height[31] == 0x7f && height[1..31] == [0xff; 30] && height[0] >= 0xed;
    !(from_p || SMALL_ORDER.contains(&height))
}

/// `y` of the points of small order, of order 4, 1, 2, 8 and 8, little-endian.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// Points of the keys that signed last, so that who signs often is not looked for each time.
///
/// It is what the state was asked, no part of what it says: all of them are equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownKeys {
    recent: HashMap<PublicKey, SoundKey>,
    /// Those before them, forgotten when the recent ones are as many.
    older: HashMap<PublicKey, SoundKey>,
}

impl KnownKeys {
    /// Most keys of either age: 3.7 MB for both.
    const MAX: usize = 7 * 1_024;

    /// The point of a key, if it has one that signs.
    pub(crate) fn sound(&self, key: PublicKey) -> Option<SoundKey> {
        let known = self.recent.get(&key).or_else(|| self.older.get(&key));
        known.copied().or_else(|| SoundKey::of(key))
    }

    pub(crate) fn note(&mut self, key: SoundKey) {
        let public = key.public();
        if self.recent.contains_key(&public) {
            return;
        }
        if self.recent.len() >= Self::MAX {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(public, key);
    }
}

impl PartialEq for KnownKeys {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for KnownKeys {}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::edwards::CompressedEdwardsY;
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;

    /// What is asked of the point itself.
    fn by_the_point(nonce: &[u8; 32]) -> bool {
        let point = CompressedEdwardsY(*nonce).decompress();
        point.is_some_and(|point| !point.is_small_order() && point.compress().as_bytes() == nonce)
    }

    #[test]
    fn nonces_of_small_order_are_known_by_their_bytes() {
        for point in EIGHT_TORSION {
            let bytes = point.compress().to_bytes();
            assert!(!is_strict_nonce(&bytes), "{bytes:02x?}");
            // The other sign is another of them, or the same written wrongly.
            let mut other = bytes;
            other[31] ^= 0x80;
            assert!(!is_strict_nonce(&other), "{other:02x?}");
        }
        // No height from p on, which is one below it written wrongly.
        for low in 0xed..=0xff {
            for high in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (low, high);
                assert!(!is_strict_nonce(&bytes), "{bytes:02x?}");
            }
        }
        // The lowest and the highest heights that are points, but for those.
        for low in 2..=0xeb_u8 {
            let mut lowest = [0; 32];
            lowest[0] = low;
            let mut highest = [0xff; 32];
            (highest[0], highest[31]) = (low, 0x7f);
            for bytes in [lowest, highest] {
                assert!(is_strict_nonce(&bytes), "{bytes:02x?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_point_is_a_nonce_as_its_bytes_say(bytes in any::<[u8; 32]>()) {
            let is_point = CompressedEdwardsY(bytes).decompress().is_some();
            prop_assert_eq!(is_point && is_strict_nonce(&bytes), by_the_point(&bytes));
        }
    }

    #[test]
    fn keys_that_signed_last_are_kept_and_no_more() {
        let key = |n: u32| {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            SoundKey::of(PublicKey::of(&SigningKey::from_bytes(&bytes))).unwrap()
        };
        let mut known = KnownKeys::default();
        let count = 2 * u32::try_from(KnownKeys::MAX).unwrap() + 1;
        for n in 0..count {
            known.note(key(n));
        }
        assert_eq!((known.recent.len(), known.older.len()), (1, KnownKeys::MAX));
        let kept = |n| {
            let public = key(n).public();
            known.recent.contains_key(&public) || known.older.contains_key(&public)
        };
        assert!(kept(count - 1) && kept(count - 2) && !kept(0));
        // Forgotten or not, it is the same key.
        for n in [0, count - 1] {
            assert_eq!(known.sound(key(n).public()), Some(key(n)));
        }
    }

    #[test]
    fn keys_of_small_order_sign_nothing() {
        for point in EIGHT_TORSION {
            let key = PublicKey::from_bytes(point.compress().to_bytes());
            assert_eq!(KnownKeys::default().sound(key), None);
        }
    }
}
