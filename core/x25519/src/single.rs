//! One multiplication at a time, by other people's crates.

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroize;

use crate::{Backend, KEY_BYTES};

/// An implementation that this CPU can run: there is no other way to make one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Single(Backend);

impl Single {
    pub(crate) const PORTABLE: Self = Self(Backend::Dalek);

    /// `None` if this CPU cannot run it, or if it is no single implementation.
    pub(crate) fn new(backend: Backend) -> Option<Self> {
        let runs = match backend {
            Backend::Dalek => true,
            Backend::Graviola => graviola_runs(),
            Backend::Avx2x4 | Backend::Avx512x8 | Backend::Ifmax8 => false,
        };
        runs.then_some(Self(backend))
    }

    pub(crate) fn backend(self) -> Backend {
        self.0
    }

    /// `None` where the result would be zero.
    pub(crate) fn x25519(
        self,
        scalar: &[u8; KEY_BYTES],
        point: &[u8; KEY_BYTES],
    ) -> Option<[u8; KEY_BYTES]> {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        if self.0 == Backend::Graviola {
            use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
            let secret = StaticPrivateKey::from_array(scalar);
            // Its one error is a result of zero.
            let shared = secret.diffie_hellman(&PublicKey::from_array(point));
            return shared.ok().map(|shared| shared.0);
        }
        let secret = StaticSecret::from(*scalar);
        let shared = secret.diffie_hellman(&PublicKey::from(*point));
        nonzero(shared.to_bytes())
    }

    pub(crate) fn x25519_base(self, scalar: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        if self.0 == Backend::Graviola {
            use graviola::key_agreement::x25519::StaticPrivateKey;
            return StaticPrivateKey::from_array(scalar).public_key().as_bytes();
        }
        PublicKey::from(&StaticSecret::from(*scalar)).to_bytes()
    }
}

/// Takes zero away, without telling by time how much of the result is zero.
///
/// Whether all of it is zero is no secret: a clamped scalar is a multiple of 8 below 2^255, and so
/// of the order of no point of the curve or its twist but those of low order. Thus the result is
/// zero for these points, which are listed in public, whatever the scalar, and for no other.
pub(crate) fn nonzero(mut bytes: [u8; KEY_BYTES]) -> Option<[u8; KEY_BYTES]> {
    let bits = bytes.iter().fold(0, |bits, byte| bits | byte);
    let result = (bits != 0).then_some(bytes);
    bytes.zeroize();
    result
}

/// What `graviola` asserts at every entry, and panics without; and BMI2, whose `mulx` its
/// multiplications use without asking.
#[cfg(target_arch = "x86_64")]
fn graviola_runs() -> bool {
    is_x86_feature_detected!("adx")
        && is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("avx")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("pclmulqdq")
}

/// What `graviola` asserts at every entry, and panics without.
#[cfg(target_arch = "aarch64")]
fn graviola_runs() -> bool {
    use std::arch::is_aarch64_feature_detected;
    is_aarch64_feature_detected!("neon")
        && is_aarch64_feature_detected!("aes")
        && is_aarch64_feature_detected!("pmull")
        && is_aarch64_feature_detected!("sha2")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn graviola_runs() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_nothing_else_is_taken_away() {
        assert_eq!(nonzero([0; KEY_BYTES]), None);
        for i in 0..KEY_BYTES {
            let mut bytes = [0; KEY_BYTES];
            bytes[i] = 0x80;
            assert_eq!(nonzero(bytes), Some(bytes));
        }
    }

    #[test]
    fn implementations_for_batches_are_no_single_ones() {
        for &backend in Backend::ALL {
            assert!(backend.lanes() == 1 || Single::new(backend).is_none());
        }
        assert_eq!(Single::PORTABLE.backend(), Backend::Dalek);
    }
}
