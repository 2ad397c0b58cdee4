//! The Diffie-Hellman of this crate, in one place so that its implementation can change.

use x25519_dalek::{PublicKey, StaticSecret};

/// `scalars[i]` times the base point, for every `i`.
pub(crate) fn base(scalars: &[[u8; 32]], out: &mut [[u8; 32]]) {
    for (scalar, out) in scalars.iter().zip(out) {
        *out = PublicKey::from(&StaticSecret::from(*scalar)).to_bytes();
    }
}

/// `scalars[i]` times `points[i]` (RFC 7748 X25519), for every `i`.
///
/// A point of small order gives zero, which callers must refuse.
pub(crate) fn exchange(scalars: &[[u8; 32]], points: &[[u8; 32]], out: &mut [[u8; 32]]) {
    for ((scalar, point), out) in scalars.iter().zip(points).zip(out) {
        *out = x25519_dalek::x25519(*scalar, *point);
    }
}
