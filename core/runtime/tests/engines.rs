//! The two engines of WebAssembly beside each other: same results, and each goes on from what the
//! other left.

#![cfg(feature = "wasmtime")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::{Arc, LazyLock, Mutex};

use arbitrary::{Arbitrary, Unstructured};
use fogcompute_exec::{
    Checkpoint, Control, Grants, Limits, Observer, Runtime, Session, TaskError, TaskSpec, TrapKind,
};
use fogcompute_runtime::{WasmConfig, WasmRuntime, WasmtimeConfig, WasmtimeRuntime};
use proptest::prelude::*;

static INTERPRETER: LazyLock<WasmRuntime> =
    LazyLock::new(|| WasmRuntime::new(WasmConfig::default()));
static COMPILER: LazyLock<WasmtimeRuntime> =
    LazyLock::new(|| WasmtimeRuntime::new(&WasmtimeConfig::default()).unwrap());

/// Has the exports of every task.
const SHAPE: &[u8] = include_bytes!("../../../examples/wasm/echo.wasm");

/// A valid module with any code behind the exports of a task.
fn module(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut unstructured = Unstructured::new(bytes);
    let mut config = wasm_smith::Config::arbitrary(&mut unstructured).ok()?;
    config.max_imports = 0;
    config.min_imports = 0;
    config.exports = Some(SHAPE.to_vec());
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
    let module = wasm_smith::Module::new(config, &mut unstructured).ok()?;
    Some(module.to_bytes())
}

/// What may differ: where fuel and stack end.
const fn is_of_the_engine(error: &TaskError) -> bool {
    matches!(
        error,
        TaskError::OutOfFuel { .. }
            | TaskError::Trap {
                kind: TrapKind::StackOverflow
            }
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_module_gives_the_same_in_both_engines(
        bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
    ) {
        let Some(module) = module(&bytes) else {
            return Ok(());
        };
        let limits = Limits {
            fuel: 1_000_000,
            memory_bytes: 1 << 20,
            output_bytes: 1 << 12,
            ..Limits::default()
        };
        let spec = TaskSpec::new(module, b"input".to_vec(), limits).unwrap();
        let run = |runtime: &dyn Runtime| {
            runtime
                .run(&spec)
                .map(|done| (done.output, done.usage.memory_bytes_peak))
        };
        let (ours, theirs) = (run(&*INTERPRETER), run(&*COMPILER));
        prop_assert_ne!(&ours, &Err(TaskError::RuntimeFault));
        prop_assert_ne!(&theirs, &Err(TaskError::RuntimeFault));
        let differs_rightly = |result: &Result<_, TaskError>| {
            result.as_ref().is_err_and(is_of_the_engine)
        };
        if !differs_rightly(&ours) && !differs_rightly(&theirs) {
            prop_assert_eq!(ours, theirs);
        }
    }
}

/// Adds up the squares below 300,000, and makes a checkpoint when it is asked for one.
const SQUARES: &str = r#"(module
    (import "fog" "time_to_checkpoint" (func $time (result i32)))
    (import "fog" "checkpoint_completed" (func $completed))
    (memory (export "memory") 1)
    (global $x (export "x") (mut f64) (f64.const 0))
    (func (export "fog_alloc") (param i32) (result i32) (i32.const 256))
    (func (export "fog_run") (param i32 i32) (result i64) (call $go))
    (func (export "fog_resume") (result i64) (call $go))
    (func $go (result i64) (local $i i64)
        (local.set $i (i64.load (i32.const 8)))
        (loop $next
            (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0))
                (i64.mul (local.get $i) (local.get $i))))
            (global.set $x (f64.add (global.get $x) (f64.sqrt (f64.convert_i64_u
                (local.get $i)))))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (i64.store (i32.const 8) (local.get $i))
            (if (call $time) (then (call $completed)))
            (br_if $next (i64.lt_u (local.get $i) (i64.const 300000))))
        (f64.store (i32.const 8) (global.get $x))
        (i64.const 16)))"#;

/// Keeps the first checkpoint and stops the task.
struct Killer {
    control: Control,
    kept: Mutex<Option<Checkpoint>>,
}

impl Observer for Killer {
    fn log(&self, _: &str) {}
    fn progress(&self, _: u16) {}
    fn checkpoint(&self, checkpoint: Checkpoint) {
        *self.kept.lock().unwrap() = Some(checkpoint);
        self.control.cancel();
    }
}

/// Runs until a checkpoint is made, there ends the task for good, and gives what was kept.
fn killed(runtime: &dyn Runtime, spec: &TaskSpec, from: Option<Checkpoint>) -> Checkpoint {
    let control = Control::new();
    control.request_checkpoint();
    let killer = Arc::new(Killer {
        control: control.clone(),
        kept: Mutex::new(None),
    });
    let session = Session {
        control,
        observer: Arc::<Killer>::clone(&killer),
        from,
    };
    assert_eq!(runtime.execute(spec, &session), Err(TaskError::Cancelled));
    killer.kept.lock().unwrap().take().unwrap()
}

#[test]
fn task_that_was_killed_in_one_engine_goes_on_in_the_other_and_ends_the_same() {
    let grants = Grants {
        host_calls: true,
        ..Grants::default()
    };
    let spec = TaskSpec::new(wat::parse_str(SQUARES).unwrap(), [], Limits::default())
        .and_then(|spec| spec.with_grants(grants))
        .unwrap();
    let engines: [&dyn Runtime; 2] = [&*INTERPRETER, &*COMPILER];
    let whole = engines.map(|engine| engine.run(&spec).unwrap().output);
    assert_eq!(whole[0], whole[1]);
    for first in engines {
        for second in engines {
            // Through bytes, as to another node.
            let bytes = killed(first, &spec, None).encode();
            let from = Checkpoint::decode(&bytes, 1 << 20).unwrap();
            let again = killed(second, &spec, Some(from));
            let session = Session {
                from: Some(again),
                ..Session::default()
            };
            assert_eq!(first.execute(&spec, &session).unwrap().output, whole[0]);
        }
    }
}
