//! The sandbox with modules and inputs of strangers. Give it real ones to start from: see README.

#![no_main]

use std::sync::LazyLock;

use fogcompute_exec::{Limits, Runtime, TaskSpec};
use fogcompute_runtime::{WasmConfig, WasmRuntime};
use libfuzzer_sys::fuzz_target;

/// Nothing is cached: a module that was compiled for an earlier input would not be for this one.
static RUNTIME: LazyLock<WasmRuntime> = LazyLock::new(|| {
    WasmRuntime::new(WasmConfig {
        cached_modules_max: 0,
        ..WasmConfig::default()
    })
});

fuzz_target!(|module: &[u8]| {
    let limits = Limits {
        fuel: 100_000,
        memory_bytes: 1 << 20,
        output_bytes: 1 << 12,
        ..Limits::default()
    };
    let Ok(spec) = TaskSpec::new(module, b"input".as_slice(), limits) else {
        return;
    };
    let first = RUNTIME
        .run(&spec)
        .map(|done| (done.output, done.usage.fuel));
    let second = RUNTIME
        .run(&spec)
        .map(|done| (done.output, done.usage.fuel));
    assert_eq!(first, second);
    if let Ok((output, fuel)) = first {
        assert!(output.len() as u64 <= limits.output_bytes && fuel <= limits.fuel);
    }
});
