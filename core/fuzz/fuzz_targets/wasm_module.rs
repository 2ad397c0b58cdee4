//! The sandbox with modules that are valid, and have what a task must export more often than not.

#![no_main]

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use fogcompute_exec::{Limits, Runtime, TaskError, TaskSpec};
use fogcompute_runtime::{WasmConfig, WasmRuntime};
use libfuzzer_sys::fuzz_target;
use wasm_smith::{Config, Module};

static RUNTIME: LazyLock<WasmRuntime> = LazyLock::new(|| {
    WasmRuntime::new(WasmConfig {
        cached_modules_max: 0,
        ..WasmConfig::default()
    })
});

fuzz_target!(|bytes: &[u8]| {
    let mut unstructured = Unstructured::new(bytes);
    let Ok(mut config) = Config::arbitrary(&mut unstructured) else {
        return;
    };
    config.max_imports = 0;
    config.min_imports = 0;
    config.export_everything = true;
    let Ok(module) = Module::new(config, &mut unstructured) else {
        return;
    };
    let limits = Limits {
        fuel: 100_000,
        memory_bytes: 1 << 20,
        output_bytes: 1 << 12,
    };
    let Ok(spec) = TaskSpec::new(module.to_bytes(), b"input".as_slice(), limits) else {
        return;
    };
    let run = || RUNTIME.run(&spec).map(|done| (done.output, done.usage.fuel));
    let first = run();
    assert_ne!(first, Err(TaskError::RuntimeFault));
    assert_eq!(first, run());
});
