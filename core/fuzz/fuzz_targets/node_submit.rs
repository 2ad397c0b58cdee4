//! What submitters and a coordinator say to each other.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fogcompute_node::fuzzing::submit(bytes);
});
