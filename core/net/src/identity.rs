//! A node's long-term key.

use std::fmt;

use fogcompute_base::{CryptoRng, NodeId};
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

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.node)
    }
}
