//! What a task leaves behind in the runtime's memory.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use allocation_counter::measure;
use fogcompute_exec::{Limits, Runtime, TaskSpec};
use fogcompute_runtime::{WasmConfig, WasmRuntime};

/// Calls itself as often as its input has bytes, and returns nothing.
const DEEP: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "fog_alloc") (param i32) (result i32) (i32.const 0))
    (func $down (param i32) (result i64)
        (if (result i64) (i32.eqz (local.get 0))
            (then (i64.const 0))
            (else (i64.add (i64.const 0) (call $down (i32.sub (local.get 0) (i32.const 1)))))))
    (func (export "fog_run") (param i32 i32) (result i64) (call $down (local.get 1))))"#;

#[test]
fn the_stack_of_a_deep_task_is_not_kept_for_the_next() {
    // A stack that is kept holds what the task left on it, for a task of somebody else to find.
    let module = wat::parse_str(DEEP).unwrap();
    let runtime = WasmRuntime::new(WasmConfig::default());
    let run = |depth| {
        let input = vec![0; depth];
        let spec = TaskSpec::new(module.clone(), input, Limits::default()).unwrap();
        runtime.run(&spec).unwrap();
    };
    // What is compiled is kept, and so may be what the first run needs once.
    run(1);
    let kept = measure(|| run(5_000)).bytes_current;
    assert!(kept < 4_096, "{kept} bytes are kept");
}
