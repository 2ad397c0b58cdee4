//! What the targets share: a packet and a reply block that are sound, and damage to them.
//!
//! Random bytes never get past the first check of a header. So targets start from what an honest
//! sender makes over the route of [`KEYS`], from one seed, so that a finding is found again from its
//! input alone.

use std::sync::LazyLock;
use std::time::Duration;

use arbitrary::Arbitrary;
use fogcompute_base::NodeId;
use fogcompute_mix::{Geometry, Hop, Packet, PrivateKey, ReplyKey, Surb};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A packet of three hops that delivers [`MESSAGE`].
pub static PACKET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    Packet::build(Geometry::DEFAULT, &route(), MESSAGE, &mut rng())
        .expect("the route is sound")
        .into_bytes()
});

/// What [`PACKET`] delivers.
pub const MESSAGE: &[u8] = b"fuzz";

/// Bytes of the private keys of three hops, each repeated 32 times.
pub const KEYS: [u8; 3] = [1, 2, 3];

/// Keys of the three hops.
#[must_use]
pub fn keys() -> [PrivateKey; 3] {
    KEYS.map(|byte| PrivateKey::from_bytes([byte; 32]))
}

/// The route over them.
#[must_use]
pub fn route() -> Vec<Hop> {
    keys()
        .iter()
        .zip(KEYS)
        .map(|(key, byte)| {
            let node = NodeId::from_bytes([byte; 32]);
            Hop::new(node, key.public(), Duration::from_millis(1))
        })
        .collect()
}

/// A reply block over the route, and its key.
#[must_use]
pub fn surb() -> (Surb, ReplyKey) {
    Surb::new(Geometry::DEFAULT, &route(), &mut rng()).expect("the route is sound")
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(0)
}

/// Damage at one place.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Damage {
    at: u16,
    flip: u8,
}

/// Does damage to bytes. `false` if they are the same afterwards.
pub fn damage(bytes: &mut [u8], damages: &[Damage]) -> bool {
    let before = bytes.to_vec();
    for damage in damages {
        let at = usize::from(damage.at) % bytes.len();
        bytes[at] ^= damage.flip;
    }
    before != bytes
}
