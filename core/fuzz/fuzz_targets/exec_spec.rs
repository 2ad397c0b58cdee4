//! Tasks: what decodes is within the limits and has one encoding.

#![no_main]

use fogcompute_exec::TaskSpec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(spec) = TaskSpec::decode(bytes) {
        assert_eq!(spec.limits().validate(), Ok(()));
        assert_eq!(spec.encode(), bytes);
    }
});
