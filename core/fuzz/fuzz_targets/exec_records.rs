//! What is stored of tasks and held against nodes: one encoding, and evidence that says whether it
//! holds.

#![no_main]

use fogcompute_exec::lifecycle::{Life, Transition};
use fogcompute_exec::replication::Evidence;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(life) = Life::decode(bytes) {
        // Text of a guest is cleaned when it is read, so bytes may differ once.
        let encoded = life.encode();
        assert_eq!(Life::decode(&encoded).as_ref(), Ok(&life));
        if life.error.is_none() {
            assert_eq!(encoded, bytes);
        }
    }
    if let Ok(transition) = Transition::decode(bytes) {
        assert_eq!(transition.encode(), bytes);
        assert!(!transition.to.is_terminal() || !transition.to.may_become(&transition.to));
    }
    if let Ok(evidence) = Evidence::decode(bytes) {
        assert_eq!(evidence.encode(), bytes);
        let _ = (evidence.holds(), evidence.digest());
    }
});
