//! A ratchet that is given anything as a message, an offer or what was saved: nothing opens that was not sealed for
//! it, and what was sealed opens afterwards.

#![no_main]

use arbitrary::Arbitrary;
use fogcompute_mesh::Identity;
use fogcompute_mesh::ratchet::{RatchetMessage, Ratchets};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Open { is_first: bool, bytes: &'a [u8] },
    Offer { keys: [[u8; 32]; 2] },
    Decode { bytes: &'a [u8] },
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut identities = [[1; 32], [2; 32]].map(|bytes| Identity::from_bytes(bytes, bytes));
    identities.sort_by_key(Identity::noise_key);
    let [a, b] = &identities;
    let (mut starter, mut other) = (Ratchets::new(a), Ratchets::new(b));
    let (a, b) = (a.noise_key(), b.noise_key());
    let RatchetMessage::Offer { identity, one_time } = other.offer(a) else {
        unreachable!("an offer is one");
    };
    starter
        .take_offer(b, identity, one_time)
        .expect("it is the starter's");
    for step in steps {
        match step {
            Step::Open { is_first, bytes } => {
                assert!(other.open(&a, is_first, bytes).is_err());
                assert!(starter.open(&b, is_first, bytes).is_err());
            }
            Step::Offer { keys } => {
                assert!(other.take_offer(a, keys[0], keys[1]).is_err());
                // To somebody else, who may start with any sound key.
                let _ = starter.take_offer(
                    fogcompute_mesh::NoiseKey::from_bytes([0xff; 32]),
                    keys[0],
                    keys[1],
                );
            }
            Step::Decode { bytes } => {
                if let Ok(message) = RatchetMessage::decode(bytes) {
                    let again = message.encode().expect("what was read can be written");
                    assert_eq!(RatchetMessage::decode(&again), Ok(message));
                }
            }
        }
    }
    let Some(RatchetMessage::Sealed { is_first, bytes }) = starter.seal(&b, b"whole") else {
        unreachable!("there is a session");
    };
    let (plaintext, began) = other
        .open(&a, is_first, &bytes)
        .expect("it was sealed for it");
    assert_eq!((plaintext.as_slice(), began), (&b"whole"[..], true));
});
