//! Who a peer is: an X25519 key, an Ed25519 key, and what is derived from them.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use fogcompute_base::CryptoRng;
use fogcompute_x25519::Engine;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::packet::{PeerId, SIGNATURE_BYTES};

/// A public X25519 key under which a peer makes Noise sessions.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NoiseKey([u8; 32]);

impl NoiseKey {
    /// Takes a key from its bytes, which may be any.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The SHA-256 of the key: what people compare.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(self.0).into())
    }

    /// Who holds the key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.fingerprint().peer_id()
    }

    /// The public key of a secret.
    pub(crate) fn of(secret: &[u8; 32]) -> Self {
        Self(Engine::detect().x25519_base(secret))
    }

    /// Whether secrets with it depend on both sides. With zero and the points of low order they do not:
    /// no honest peer has such a key.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        // Scalars are multiples of eight, so every point of low order gives zero, with any scalar.
        Engine::detect().x25519(&[1; 32], &self.0).is_some()
    }
}

/// A public Ed25519 key with which a peer's signatures are verified.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VerifyKey([u8; 32]);

impl VerifyKey {
    /// Takes a key from its bytes, which may be any: nothing verifies under what is no key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the key's holder signed the message. Keys and signatures with parts of low order are
    /// refused.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(message, &Signature::from_bytes(signature))
                .is_ok()
        })
    }
}

/// The SHA-256 of a [`NoiseKey`].
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Takes a fingerprint from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The fingerprint's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whose it is.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        let [first, ..] = self.0.as_chunks::<8>().0 else {
            unreachable!("a fingerprint has 32 bytes");
        };
        PeerId::from_bytes(*first)
    }
}

macro_rules! shown_in_hex {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}

shown_in_hex!(NoiseKey, VerifyKey, Fingerprint);

/// A peer's own secrets. Erased from memory when dropped.
#[derive(Clone)]
pub struct Identity {
    noise: Zeroizing<[u8; 32]>,
    noise_key: NoiseKey,
    signing: SigningKey,
}

impl Identity {
    /// A new peer.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([[0; 32]; 2]);
        for half in &mut *bytes {
            rng.fill_bytes(half);
        }
        Self::from_bytes(bytes[0], bytes[1])
    }

    /// The peer of these secrets: an X25519 private key and an Ed25519 seed.
    #[must_use]
    pub fn from_bytes(noise: [u8; 32], seed: [u8; 32]) -> Self {
        Self {
            noise_key: NoiseKey::of(&noise),
            noise: Zeroizing::new(noise),
            signing: SigningKey::from_bytes(&seed),
        }
    }

    /// The secrets, for the host to keep: an X25519 private key and an Ed25519 seed.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        let mut bytes = Zeroizing::new([0; 64]);
        bytes[..32].copy_from_slice(&*self.noise);
        bytes[32..].copy_from_slice(self.signing.as_bytes());
        bytes
    }

    /// The peer's name in the mesh.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.noise_key.peer_id()
    }

    /// The public key for Noise sessions.
    #[must_use]
    pub const fn noise_key(&self) -> NoiseKey {
        self.noise_key
    }

    /// The public key for signatures.
    #[must_use]
    pub fn verify_key(&self) -> VerifyKey {
        VerifyKey(self.signing.verifying_key().to_bytes())
    }

    /// Signs a message with Ed25519.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.signing.sign(message).to_bytes()
    }

    pub(crate) fn noise_secret(&self) -> &[u8; 32] {
        &self.noise
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_low_order_are_unsound() {
        let mut one = [0; 32];
        one[0] = 1;
        // p - 1, p, p + 1, and a point of order 8 (Curve25519's low-order points, as in RFC 7748 §6.1).
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        let order_8 = [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
            0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16,
            0x5f, 0x49, 0xb8, 0x00,
        ];
        for bytes in [[0; 32], one, minus_one, order_8] {
            assert!(!NoiseKey(bytes).is_sound());
        }
        assert!(
            Identity::from_bytes([1; 32], [1; 32])
                .noise_key()
                .is_sound()
        );
    }

    #[test]
    fn secrets_are_kept_and_not_shown() {
        let identity = Identity::from_bytes([7; 32], [9; 32]);
        let bytes = identity.to_bytes();
        assert_eq!((&bytes[..32], &bytes[32..]), (&[7; 32][..], &[9; 32][..]));
        assert_eq!(
            format!("{identity:?}"),
            format!("Identity({})", identity.peer_id())
        );
    }
}
