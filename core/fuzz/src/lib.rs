//! What the targets share: a packet and a reply block that are sound, and damage to them.
//!
//! Random bytes never get past the first check of a Sphinx header. So targets start from what an
//! honest sender made, kept in `fixtures/` because making it anew draws on the system's generator
//! and a finding must be found again from its input alone. The fixtures' route is [`KEYS`].

use std::time::Duration;

use arbitrary::Arbitrary;
use fogcompute_base::NodeId;
use fogcompute_mix::{Hop, PrivateKey};

/// A packet of three hops that delivers [`MESSAGE`].
pub const PACKET: &[u8] = include_bytes!("../fixtures/packet.bin");

/// A reply block of three hops.
pub const SURB: &[u8] = include_bytes!("../fixtures/surb.bin");

/// What the fixtures' packet delivers.
pub const MESSAGE: &[u8] = b"fuzz";

/// Bytes of the private keys of the fixtures' three hops, each repeated 32 times.
pub const KEYS: [u8; 3] = [1, 2, 3];

/// Keys of the fixtures' hops.
#[must_use]
pub fn keys() -> [PrivateKey; 3] {
    KEYS.map(|byte| PrivateKey::from_bytes([byte; 32]))
}

/// The fixtures' route.
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
