//! A node's long-term key.

use std::fmt;

use fogcompute_base::{CryptoRng, Digest, NodeId};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// A node's long-term X25519 key: links prove it, and its public half is the node's id.
#[derive(Clone)]
pub struct Identity {
    secret: Zeroizing<[u8; 32]>,
    node: NodeId,
}

impl Identity {
    /// A new identity.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Self::from_bytes(secret)
    }

    /// Takes an identity from its 32 secret bytes.
    #[must_use]
    pub fn from_bytes(secret: [u8; 32]) -> Self {
        let public = PublicKey::from(&StaticSecret::from(secret));
        Self {
            secret: Zeroizing::new(secret),
            node: NodeId::from_bytes(public.to_bytes()),
        }
    }

    /// The secret bytes, erased from memory when dropped.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.secret.clone()
    }

    /// The node this is.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// A key that this node and another can work out and nobody else: BLAKE3's key derivation, under a
    /// hard-coded and globally unique `context`, of what X25519 makes of their long-term keys, followed
    /// by both public keys, the lesser first. `None` if the other's id is no usable key, but a point of
    /// low order, for which anybody could.
    #[must_use]
    pub fn shared_with(&self, other: NodeId, context: &str) -> Option<Zeroizing<[u8; 32]>> {
        let secret = StaticSecret::from(*self.secret);
        let shared = secret.diffie_hellman(&PublicKey::from(*other.as_bytes()));
        if !shared.was_contributory() {
            return None;
        }
        let (first, second) = (self.node.min(other), self.node.max(other));
        let parts = [&shared.as_bytes()[..], first.as_bytes(), second.as_bytes()];
        let material = Zeroizing::new(parts.concat());
        Some(Zeroizing::new(
            *Digest::derive(context, &material).as_bytes(),
        ))
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::OsEntropy;

    #[test]
    fn two_share_a_key_that_a_third_and_another_purpose_do_not() {
        let [one, other, third] = [(); 3].map(|()| Identity::random(&mut OsEntropy));
        let key = one.shared_with(other.node(), "tests 1").unwrap();
        assert_eq!(other.shared_with(one.node(), "tests 1"), Some(key.clone()));
        assert_ne!(other.shared_with(one.node(), "tests 2"), Some(key.clone()));
        assert_ne!(third.shared_with(one.node(), "tests 1"), Some(key.clone()));
        assert_ne!(third.shared_with(other.node(), "tests 1"), Some(key));
    }

    #[test]
    fn nothing_is_shared_with_a_point_of_low_order() {
        let one = Identity::random(&mut OsEntropy);
        let mut order_four = [0; 32];
        order_four[0] = 1;
        for point in [[0; 32], order_four] {
            assert_eq!(one.shared_with(NodeId::from_bytes(point), "tests"), None);
        }
    }
}
