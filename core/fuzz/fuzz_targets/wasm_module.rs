//! The sandbox with modules that are valid and export what a task must, with any code behind it.

#![no_main]

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use fogcompute_exec::{Limits, Runtime, TaskError, TaskSpec};
use fogcompute_runtime::{WasmConfig, WasmRuntime};
use libfuzzer_sys::fuzz_target;
use wasm_smith::{Config, Module};

/// Has the exports of every task.
const SHAPE: &[u8] = include_bytes!("../../../examples/wasm/echo.wasm");

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
    config.exports = Some(SHAPE.to_vec());
    // Proposals that the sandbox refuses: what uses them ends before it begins.
    config.custom_page_sizes_enabled = false;
    config.exceptions_enabled = false;
    config.gc_enabled = false;
    config.memory64_enabled = false;
    config.relaxed_simd_enabled = false;
    config.shared_everything_threads_enabled = false;
    config.simd_enabled = false;
    config.threads_enabled = false;
    config.wide_arithmetic_enabled = false;
    config.max_memory32_bytes = 1 << 20;
    let Ok(module) = Module::new(config, &mut unstructured) else {
        return;
    };
    let limits = Limits {
        fuel: 100_000,
        memory_bytes: 1 << 20,
        output_bytes: 1 << 12,
        ..Limits::default()
    };
    let Ok(spec) = TaskSpec::new(module.to_bytes(), b"input".as_slice(), limits) else {
        return;
    };
    let run = || {
        RUNTIME
            .run(&spec)
            .map(|done| (done.output, done.usage.fuel))
    };
    let first = run();
    assert_ne!(first, Err(TaskError::RuntimeFault));
    assert_eq!(first, run());
});
