//! Task reports: what decodes encodes to something that decodes to the same, and has words.

#![no_main]

use fogcompute_exec::TaskReport;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(report) = TaskReport::decode(bytes) {
        let encoded = report.encode();
        assert!(encoded.len() <= TaskReport::ENCODED_BYTES_MAX);
        assert_eq!(TaskReport::decode(&encoded).as_ref(), Ok(&report));
        if let Err(error) = report.result {
            assert!(!error.to_string().is_empty());
        }
    }
});
