//! Ids, digests and amounts as text: what is read is written the same.

#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use fogcompute_base::{Digest, NodeId, TaskId};
use fogcompute_ledger::Amount;
use libfuzzer_sys::fuzz_target;

fn parse<T: Display + FromStr>(text: &str) -> Option<String> {
    text.parse::<T>().ok().map(|value| value.to_string())
}

fuzz_target!(|text: &str| {
    for written in [
        parse::<NodeId>(text),
        parse::<TaskId>(text),
        parse::<Digest>(text),
    ] {
        assert!(written.is_none_or(|written| written == text.to_ascii_lowercase()));
    }
    if let Some(written) = parse::<Amount>(text) {
        assert_eq!(
            written.trim_start_matches('0'),
            text.trim_start_matches('0')
        );
    }
});
