//! The suite that every [`Runtime`] passes. [`runtime_conformance!`](crate::runtime_conformance)
//! turns it into tests; each function is one of them and panics if its rule is broken.

use std::fmt::Write as _;
use std::sync::mpsc;
use std::thread;

use fogcompute_base::limits::INPUT_BYTES_MAX;

use crate::{
    AbiExport, CancelToken, GuestText, LOCALS_MAX, Limits, Runtime, START_FUEL_MAX, TaskError,
    TaskOutput, TaskSpec, TrapKind,
};

/// Tests that the runtime which the given expression makes passes the suite.
///
/// The expression is evaluated once per test: `runtime_conformance!(WasmRuntime::new(config()))`.
#[macro_export]
macro_rules! runtime_conformance {
    ($make:expr) => {
        $crate::runtime_conformance! { @tests $make;
            echo_returns_its_input
            empty_and_largest_inputs_are_passed
            same_task_gives_the_same_output_and_fuel
            exactly_enough_fuel_is_enough
            endless_loop_ends_out_of_fuel
            endless_allocation_call_ends_out_of_fuel
            endless_start_function_ends_out_of_fuel
            bulk_copies_cost_fuel
            memory_bomb_ends_out_of_memory
            first_memory_over_the_limit_is_refused
            first_table_over_the_limit_is_refused
            memory_up_to_the_limit_is_given_and_counted
            growth_beyond_the_modules_own_maximum_gives_minus_one
            tables_do_not_grow
            output_over_the_limit_is_refused
            ranges_outside_memory_are_refused
            imports_are_refused
            missing_exports_are_named
            exports_of_another_type_are_named
            malformed_modules_are_refused
            second_memory_is_refused
            functions_with_thousands_of_locals_are_refused
            every_trap_is_named
            trap_in_the_start_function_is_named
            segments_outside_their_memory_or_table_trap
            deep_recursion_ends_in_stack_overflow
            loops_do_not_use_up_the_hosts_stack
            nothing_is_left_for_the_next_run
            failed_runs_leave_the_runtime_usable
            float_results_have_one_bit_pattern
            cancelled_before_the_start_does_not_run
            cancelling_stops_a_running_task
            runs_side_by_side_do_not_mix
        }
    };
    (@tests $make:expr; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::$name(&$make);
            }
        )*
    };
}

/// Assembles WebAssembly text.
///
/// # Panics
/// If the text is not WebAssembly.
#[must_use]
pub fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("not WebAssembly text: {error}\n{text}"))
}

/// A module whose `fog_run` has `body`, with a memory of `pages`, `fog_alloc` giving 1024, and
/// `extra` fields.
fn module(pages: u32, extra: &str, body: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") {pages})
            (func (export "fog_alloc") (param i32) (result i32) (i32.const 1024))
            (func $run (export "fog_run") (param $ptr i32) (param $len i32) (result i64) {body})
            {extra})"#
    )
}

/// Returns its input, growing the memory for it.
const ECHO: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "fog_alloc") (param $len i32) (result i32)
        (drop (memory.grow (i32.shr_u (i32.add (local.get $len) (i32.const 65535))
                                      (i32.const 16))))
        (i32.const 65536))
    (func (export "fog_run") (param $ptr i32) (param $len i32) (result i64)
        (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32))
                (i64.extend_i32_u (local.get $len)))))"#;

const ENDLESS: &str = "(loop $again (br $again)) (unreachable)";
const NOTHING: &str = "(i64.const 0)";

/// `(i64.const ..)` for a range of memory.
fn range(ptr: u32, len: u32) -> String {
    format!("(i64.const 0x{:x})", u64::from(ptr) << 32 | u64::from(len))
}

fn spec(text: &str, input: &[u8], limits: Limits) -> TaskSpec {
    TaskSpec::new(assemble(text), input, limits).expect("suite tasks are within the limits")
}

fn run(runtime: &impl Runtime, text: &str, limits: Limits) -> Result<TaskOutput, TaskError> {
    runtime.run(&spec(text, b"input", limits))
}

#[track_caller]
fn succeeds(runtime: &impl Runtime, text: &str, limits: Limits) -> TaskOutput {
    run(runtime, text, limits).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[track_caller]
fn fails(runtime: &impl Runtime, text: &str, limits: Limits) -> TaskError {
    match run(runtime, text, limits) {
        Ok(output) => panic!("should have failed but gave {output:?}\n{text}"),
        Err(error) => error,
    }
}

fn fuel(fuel: u64) -> Limits {
    Limits {
        fuel,
        ..Limits::default()
    }
}

fn memory(memory_bytes: u64) -> Limits {
    Limits {
        memory_bytes,
        ..Limits::default()
    }
}

const TRAP_UNREACHABLE: TaskError = TaskError::Trap {
    kind: TrapKind::Unreachable,
};

// `allow`, not `expect`: in a test build nothing is public and the lints are silent.
#[allow(
    missing_docs,
    clippy::missing_panics_doc,
    reason = "each name says the rule it checks, and each panics when the rule is broken"
)]
mod rules {
    use super::*;

    pub fn echo_returns_its_input(runtime: &impl Runtime) {
        let result = succeeds(runtime, ECHO, Limits::default());
        assert_eq!(result.output, b"input");
        assert!((1..=Limits::default().fuel).contains(&result.usage.fuel));
    }

    pub fn empty_and_largest_inputs_are_passed(runtime: &impl Runtime) {
        for len in [0, INPUT_BYTES_MAX] {
            let input: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let result = runtime.run(&spec(ECHO, &input, Limits::default()));
            assert_eq!(result.map(|result| result.output), Ok(input));
        }
    }

    pub fn same_task_gives_the_same_output_and_fuel(runtime: &impl Runtime) {
        // The first run compiles, the others may find the module in a cache: no difference.
        let runs: Vec<_> = (0..3)
            .map(|_| {
                let result = succeeds(runtime, ECHO, Limits::default());
                (
                    result.output,
                    result.usage.fuel,
                    result.usage.memory_bytes_peak,
                )
            })
            .collect();
        assert_eq!(runs[0], runs[1]);
        assert_eq!(runs[0], runs[2]);
    }

    pub fn exactly_enough_fuel_is_enough(runtime: &impl Runtime) {
        let needed = succeeds(runtime, ECHO, Limits::default()).usage.fuel;
        assert_eq!(succeeds(runtime, ECHO, fuel(needed)).usage.fuel, needed);
        assert_eq!(
            fails(runtime, ECHO, fuel(needed - 1)),
            TaskError::OutOfFuel { limit: needed - 1 }
        );
    }

    pub fn endless_loop_ends_out_of_fuel(runtime: &impl Runtime) {
        let text = module(1, "", ENDLESS);
        for limit in [1, 1_000, 3_000_000] {
            assert_eq!(
                fails(runtime, &text, fuel(limit)),
                TaskError::OutOfFuel { limit }
            );
        }
    }

    pub fn endless_allocation_call_ends_out_of_fuel(runtime: &impl Runtime) {
        let text = r#"(module
            (memory (export "memory") 1)
            (func (export "fog_alloc") (param i32) (result i32)
                (loop $again (br $again)) (unreachable))
            (func (export "fog_run") (param i32 i32) (result i64) (i64.const 0)))"#;
        assert_eq!(
            fails(runtime, text, fuel(100_000)),
            TaskError::OutOfFuel { limit: 100_000 }
        );
    }

    pub fn endless_start_function_ends_out_of_fuel(runtime: &impl Runtime) {
        let text = module(
            1,
            "(start $init) (func $init (loop $again (br $again)))",
            NOTHING,
        );
        // A start function has its own, lower bound because it cannot be cancelled.
        for limit in [1_000, u64::MAX] {
            assert_eq!(
                fails(runtime, &text, fuel(limit)),
                TaskError::OutOfFuel {
                    limit: limit.min(START_FUEL_MAX)
                }
            );
        }
    }

    pub fn bulk_copies_cost_fuel(runtime: &impl Runtime) {
        // One instruction can move a megabyte; metering that counts it as one can be outrun.
        let fill = |bytes: u32| {
            let body =
                format!("(memory.fill (i32.const 0) (i32.const 1) (i32.const {bytes})) {NOTHING}");
            succeeds(runtime, &module(16, "", &body), Limits::default())
                .usage
                .fuel
        };
        assert!(fill(1 << 20) > fill(1) + 1_000);
    }

    pub fn memory_bomb_ends_out_of_memory(runtime: &impl Runtime) {
        let body = "(loop $more (drop (memory.grow (i32.const 1))) (br $more)) (unreachable)";
        let limit = 1 << 20;
        assert_eq!(
            fails(runtime, &module(1, "", body), memory(limit)),
            TaskError::OutOfMemory { limit }
        );
    }

    pub fn first_memory_over_the_limit_is_refused(runtime: &impl Runtime) {
        assert_eq!(
            fails(runtime, &module(2, "", NOTHING), memory(65_536)),
            TaskError::OutOfMemory { limit: 65_536 }
        );
    }

    pub fn first_table_over_the_limit_is_refused(runtime: &impl Runtime) {
        // A table is memory of the host as well.
        let limit = 1 << 20;
        assert_eq!(
            fails(
                runtime,
                &module(1, "(table 1000000 funcref)", NOTHING),
                memory(limit)
            ),
            TaskError::OutOfMemory { limit }
        );
    }

    pub fn memory_up_to_the_limit_is_given_and_counted(runtime: &impl Runtime) {
        let body = format!("(drop (memory.grow (i32.const 15))) {NOTHING}");
        let result = succeeds(runtime, &module(1, "", &body), memory(1 << 20));
        assert_eq!(result.usage.memory_bytes_peak, 1 << 20);
        let result = succeeds(runtime, &module(3, "", NOTHING), memory(1 << 20));
        assert_eq!(result.usage.memory_bytes_peak, 3 << 16);
    }

    pub fn growth_beyond_the_modules_own_maximum_gives_minus_one(runtime: &impl Runtime) {
        let text = r#"(module
            (memory (export "memory") 1 2)
            (func (export "fog_alloc") (param i32) (result i32) (i32.const 0))
            (func (export "fog_run") (param i32 i32) (result i64)
                (if (i32.ne (memory.grow (i32.const 2)) (i32.const -1)) (then (unreachable)))
                (if (i32.ne (memory.grow (i32.const 1)) (i32.const 1)) (then (unreachable)))
                (i64.const 0)))"#;
        let result = succeeds(runtime, text, Limits::default());
        assert_eq!(result.usage.memory_bytes_peak, 2 << 16);
    }

    pub fn tables_do_not_grow(runtime: &impl Runtime) {
        let body = format!(
            "(if (i32.ne (table.grow $t (ref.null func) (i32.const 1)) (i32.const -1))
                 (then (unreachable)))
             {NOTHING}"
        );
        for size in [0, 1] {
            let table = format!("(table $t {size} funcref)");
            succeeds(runtime, &module(1, &table, &body), Limits::default());
        }
    }

    pub fn output_over_the_limit_is_refused(runtime: &impl Runtime) {
        let with = |output_bytes| Limits {
            output_bytes,
            ..Limits::default()
        };
        assert_eq!(succeeds(runtime, ECHO, with(5)).output, b"input");
        assert_eq!(
            fails(runtime, ECHO, with(4)),
            TaskError::OutputTooLarge {
                actual: 5,
                limit: 4
            }
        );
        assert_eq!(
            fails(
                runtime,
                &module(1, "", &range(0, u32::MAX)),
                Limits::default()
            ),
            TaskError::OutputTooLarge {
                actual: u32::MAX.into(),
                limit: Limits::default().output_bytes
            }
        );
    }

    pub fn ranges_outside_memory_are_refused(runtime: &impl Runtime) {
        let memory_bytes = 65_536;
        for (ptr, len) in [(65_536, 1), (65_535, 2), (u32::MAX, 1), (65_537, 0)] {
            assert_eq!(
                fails(runtime, &module(1, "", &range(ptr, len)), Limits::default()),
                TaskError::OutputOutsideMemory {
                    ptr,
                    len,
                    memory_bytes
                }
            );
        }
        let last = succeeds(
            runtime,
            &module(1, "", &range(65_535, 1)),
            Limits::default(),
        );
        assert_eq!(last.output, [0]);
        let end = succeeds(
            runtime,
            &module(1, "", &range(65_536, 0)),
            Limits::default(),
        );
        assert_eq!(end.output, b"");

        for ptr in [65_532_u32, u32::MAX] {
            let text = format!(
                r#"(module
                    (memory (export "memory") 1)
                    (func (export "fog_alloc") (param i32) (result i32) (i32.const 0x{ptr:x}))
                    (func (export "fog_run") (param i32 i32) (result i64) (i64.const 0)))"#
            );
            assert_eq!(
                fails(runtime, &text, Limits::default()),
                TaskError::InputOutsideMemory {
                    ptr,
                    len: 5,
                    memory_bytes
                }
            );
        }
    }

    pub fn imports_are_refused(runtime: &impl Runtime) {
        for import in [
            r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#,
            r#"(import "wasi_snapshot_preview1" "fd_write" (global i32))"#,
            r#"(import "wasi_snapshot_preview1" "fd_write" (table 1 funcref))"#,
        ] {
            let text = ECHO.replacen("(module", &format!("(module {import}"), 1);
            assert_eq!(
                fails(runtime, &text, Limits::default()),
                TaskError::ForbiddenImport {
                    module: GuestText::new("wasi_snapshot_preview1"),
                    name: GuestText::new("fd_write")
                }
            );
        }
    }

    pub fn missing_exports_are_named(runtime: &impl Runtime) {
        for export in AbiExport::ALL {
            let name = format!("\"{}\"", export.name());
            let text = ECHO.replace(&name, "\"other\"");
            assert_eq!(
                fails(runtime, &text, Limits::default()),
                TaskError::MissingExport { export }
            );
        }
    }

    pub fn exports_of_another_type_are_named(runtime: &impl Runtime) {
        let with = |memory: &str, alloc: &str, run: &str| {
            format!(
                r#"(module
                    (memory 1) (func $alloc {alloc} (unreachable)) (func $run {run} (unreachable))
                    (export "memory" ({memory}))
                    (export "fog_alloc" (func $alloc)) (export "fog_run" (func $run)))"#
            )
        };
        let (alloc, run) = ("(param i32) (result i32)", "(param i32 i32) (result i64)");
        for (text, export) in [
            (with("func $run", alloc, run), AbiExport::Memory),
            (with("memory 0", "(param i32)", run), AbiExport::Alloc),
            (
                with("memory 0", "(param i64) (result i32)", run),
                AbiExport::Alloc,
            ),
            (
                with("memory 0", alloc, "(param i32 i32) (result i32)"),
                AbiExport::Run,
            ),
        ] {
            assert_eq!(
                fails(runtime, &text, Limits::default()),
                TaskError::WrongExportType { export }
            );
        }
    }

    pub fn malformed_modules_are_refused(runtime: &impl Runtime) {
        let refused = |bytes: Vec<u8>| {
            let spec = TaskSpec::new(bytes, [], Limits::default())
                .expect("suite tasks are within the limits");
            match runtime.run(&spec) {
                Err(TaskError::MalformedModule { .. }) => {}
                other => panic!("should be malformed but gave {other:?}"),
            }
        };
        refused(b"not wasm at all".to_vec());
        // Without names: those are in a section at the end that a module can do without.
        let echo = assemble(
            r#"(module
                (memory (export "memory") 1)
                (func (export "fog_alloc") (param i32) (result i32) (i32.const 0))
                (func (export "fog_run") (param i32 i32) (result i64)
                    (i64.extend_i32_u (local.get 1))))"#,
        );
        for len in 1..echo.len() {
            // Cut at a border of sections, what is left may be a module without the exports.
            let spec = TaskSpec::new(&echo[..len], [], Limits::default())
                .expect("suite tasks are within the limits");
            match runtime.run(&spec) {
                Err(TaskError::MalformedModule { .. } | TaskError::MissingExport { .. }) => {}
                other => panic!("should be refused when cut at {len} but gave {other:?}"),
            }
        }
        // Valid in form, but adds an integer to a float: the validator has to look inside.
        refused(assemble(&module(
            1,
            "",
            "(drop (i32.add (i32.const 1) (f32.const 1))) (i64.const 0)",
        )));
        // 64-bit memory is another ABI.
        refused(assemble(
            &ECHO.replace("\"memory\") 1", "\"memory\") i64 1"),
        ));
    }

    pub fn second_memory_is_refused(runtime: &impl Runtime) {
        // Each would have the limit of one.
        match fails(
            runtime,
            &module(1, "(memory 1)", NOTHING),
            Limits::default(),
        ) {
            TaskError::MalformedModule { .. } | TaskError::ModuleTooComplex { .. } => {}
            other => panic!("should be refused but gave {other:?}"),
        }
    }

    pub fn functions_with_thousands_of_locals_are_refused(runtime: &impl Runtime) {
        // Every call clears its locals. With ten thousands of them a call costs the host a
        // thousand times what its fuel says.
        let with = |count: usize| {
            let extra = format!("(func (local{}))", " i64".repeat(count));
            run(runtime, &module(1, &extra, NOTHING), Limits::default())
        };
        assert!(with(LOCALS_MAX as usize).is_ok());
        match with(LOCALS_MAX as usize + 1) {
            Err(TaskError::ModuleTooComplex { .. }) => {}
            other => panic!("should be too complex but gave {other:?}"),
        }
    }

    pub fn every_trap_is_named(runtime: &impl Runtime) {
        let table = r"(table $t 2 funcref) (type $other (func)) (elem (i32.const 0) $run)";
        for (kind, body) in [
            (TrapKind::Unreachable, "(unreachable)"),
            (
                TrapKind::MemoryOutOfBounds,
                "(i64.load (i32.const 0xfffffff8))",
            ),
            (
                TrapKind::TableOutOfBounds,
                "(call_indirect (type $other) (i32.const 2)) (i64.const 0)",
            ),
            (
                TrapKind::IndirectCallToNull,
                "(call_indirect (type $other) (i32.const 1)) (i64.const 0)",
            ),
            (
                TrapKind::IndirectCallTypeMismatch,
                "(call_indirect (type $other) (i32.const 0)) (i64.const 0)",
            ),
            (
                TrapKind::IntegerDivisionByZero,
                "(i64.div_u (i64.const 1) (i64.extend_i32_u (i32.sub (local.get $len) \
                 (i32.const 5))))",
            ),
            (
                TrapKind::IntegerOverflow,
                "(i64.div_s (i64.const 0x8000000000000000) (i64.extend_i32_s (i32.sub \
                 (local.get $len) (i32.const 6))))",
            ),
            (
                TrapKind::InvalidConversionToInteger,
                "(i64.trunc_f64_s (f64.div (f64.const 0) (f64.const 0)))",
            ),
        ] {
            assert_eq!(
                fails(runtime, &module(1, table, body), Limits::default()),
                TaskError::Trap { kind }
            );
        }
    }

    pub fn trap_in_the_start_function_is_named(runtime: &impl Runtime) {
        let text = module(1, "(start $init) (func $init (unreachable))", NOTHING);
        assert_eq!(fails(runtime, &text, Limits::default()), TRAP_UNREACHABLE);
    }

    pub fn segments_outside_their_memory_or_table_trap(runtime: &impl Runtime) {
        for (extra, kind) in [
            (
                r#"(data (i32.const 65535) "ab")"#,
                TrapKind::MemoryOutOfBounds,
            ),
            (
                "(table 1 funcref) (elem (i32.const 1) $run)",
                TrapKind::TableOutOfBounds,
            ),
        ] {
            assert_eq!(
                fails(runtime, &module(1, extra, NOTHING), Limits::default()),
                TaskError::Trap { kind }
            );
        }
    }

    pub fn deep_recursion_ends_in_stack_overflow(runtime: &impl Runtime) {
        // Once with small frames and once with large ones: depth and bytes are both bounded.
        for locals in [1, 1_000] {
            let mut deep = String::from("(func $deep (param i32) (result i32) (local");
            for _ in 0..locals {
                deep.push_str(" i64");
            }
            write!(
                deep,
                ") (i32.add (i32.const 1) (call $deep (local.get 0))))"
            )
            .expect("writing to a string does not fail");
            let body = "(i64.extend_i32_u (call $deep (local.get $len)))";
            assert_eq!(
                fails(runtime, &module(1, &deep, body), fuel(u64::MAX)),
                TaskError::Trap {
                    kind: TrapKind::StackOverflow
                }
            );
        }
    }

    pub fn loops_do_not_use_up_the_hosts_stack(runtime: &impl Runtime) {
        // An interpreter whose instructions call each other needs the compiler to make every such
        // call a jump. wasmi 2.0.0 did so but for failing growth, and a guest could end the
        // process with it. A failure here ends the test's process too.
        let extra = "(table $t 8 funcref) (elem $e func $run) (data $d \"0123\")
            (global $g (mut i64) (i64.const 1)) (type $leaf (func (param i32) (result i32)))
            (func $leaf (type $leaf) (local.get 0)) (elem (i32.const 7) $leaf)";
        let mut bodies = vec![
            "(drop (memory.grow (i32.const 0)))".to_owned(),
            "(drop (memory.grow (i32.const 70000)))".to_owned(),
            "(drop (memory.size))".to_owned(),
            "(memory.copy (i32.const 8) (i32.const 0) (i32.const 9))".to_owned(),
            "(memory.fill (i32.const 8) (i32.const 0) (i32.const 9))".to_owned(),
            "(memory.init $d (i32.const 8) (i32.const 0) (i32.const 4))".to_owned(),
            "(drop (table.grow $t (ref.null func) (i32.const 1)))".to_owned(),
            "(drop (table.size $t))".to_owned(),
            "(table.copy $t $t (i32.const 2) (i32.const 0) (i32.const 3))".to_owned(),
            "(table.fill $t (i32.const 2) (ref.null func) (i32.const 3))".to_owned(),
            "(table.init $t $e (i32.const 2) (i32.const 0) (i32.const 1))".to_owned(),
            "(table.set $t (i32.const 0) (table.get $t (i32.const 1)))".to_owned(),
            "(drop (ref.is_null (table.get $t (i32.const 1))))".to_owned(),
            "(global.set $g (i64.add (global.get $g) (i64.const 1)))".to_owned(),
            "(drop (call $leaf (local.get $len)))".to_owned(),
            "(drop (call_indirect (type $leaf) (local.get $len) (i32.const 7)))".to_owned(),
            "(drop (select (local.get $ptr) (local.get $len) (local.get $i)))".to_owned(),
            "(block $a (block $b (br_table $a $b (local.get $i))))".to_owned(),
            "(if (local.get $i) (then (nop)) (else (nop)))".to_owned(),
        ];
        for (kind, unary, binary, memory) in [
            (
                "i32",
                "clz ctz popcnt eqz extend8_s extend16_s wrap_i64 trunc_sat_f64_s",
                "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr eq ne \
                 lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u",
                "load load8_s load8_u load16_s load16_u store store8 store16",
            ),
            (
                "i64",
                "clz ctz popcnt eqz extend32_s extend_i32_s trunc_sat_f64_u trunc_f32_s",
                "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr eq ne \
                 lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u",
                "load load8_s load16_u load32_s load32_u store store8 store16 store32",
            ),
            (
                "f32",
                "abs neg ceil floor trunc nearest sqrt demote_f64 convert_i64_u",
                "add sub mul div min max copysign eq ne lt gt le ge",
                "load store",
            ),
            (
                "f64",
                "abs neg ceil floor trunc nearest sqrt promote_f32 convert_i32_s",
                "add sub mul div min max copysign eq ne lt gt le ge",
                "load store",
            ),
        ] {
            // The parameters are not zero, so divisions do not trap.
            for op in unary.split_whitespace() {
                let from = ["i32", "i64", "f32", "f64"]
                    .into_iter()
                    .find(|from| op.ends_with(from) || op.contains(&format!("_{from}_")));
                let from = from.unwrap_or(kind);
                bodies.push(format!("(drop ({kind}.{op} (local.get ${from})))"));
            }
            for op in binary.split_whitespace() {
                let value = format!("(local.get ${kind})");
                bodies.push(format!("(drop ({kind}.{op} {value} {value}))"));
                bodies.push(format!("(drop ({kind}.{op} {value} ({kind}.const 3)))"));
                bodies.push(format!("(drop ({kind}.{op} ({kind}.const 3) {value}))"));
            }
            for op in memory.split_whitespace() {
                bodies.push(if op.starts_with("store") {
                    format!("({kind}.{op} offset=64 (local.get $len) (local.get ${kind}))")
                } else {
                    format!("(drop ({kind}.{op} offset=64 (local.get $len)))")
                });
            }
        }
        let round = |body: &str| {
            format!(
                "(loop $again {body}
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $i) (i32.const 40000))))"
            )
        };
        let modules: Vec<String> = bodies
            .iter()
            .map(|body| {
                let body = format!(
                    "(local $i i32) (local $i32 i32) (local $i64 i64) (local $f32 f32)
                     (local $f64 f64)
                     (local.set $i32 (i32.const 7)) (local.set $i64 (i64.const 7))
                     (local.set $f32 (f32.const 7)) (local.set $f64 (f64.const 7))
                     {} {NOTHING}",
                    round(body)
                );
                module(1, extra, &body)
            })
            .collect();
        thread::scope(|scope| {
            thread::Builder::new()
                .stack_size(256 << 10)
                .spawn_scoped(scope, || {
                    for text in &modules {
                        succeeds(runtime, text, Limits::default());
                    }
                })
                .expect("a thread can be started")
                .join()
                .expect("every module succeeds");
        });
    }

    pub fn nothing_is_left_for_the_next_run(runtime: &impl Runtime) {
        // Memory, globals and tables all start afresh.
        let extra =
            r"(global $g (mut i32) (i32.const 0)) (table $t 1 funcref) (elem declare func $run)";
        let body = "(if (i32.load (i32.const 0)) (then (unreachable)))
            (if (global.get $g) (then (unreachable)))
            (if (i32.eqz (ref.is_null (table.get $t (i32.const 0)))) (then (unreachable)))
            (if (i32.ne (memory.size) (i32.const 1)) (then (unreachable)))
            (i32.store (i32.const 0) (i32.const 1))
            (global.set $g (i32.const 1))
            (table.set $t (i32.const 0) (ref.func $run))
            (drop (memory.grow (i32.const 1)))
            (i64.const 0)";
        for _ in 0..3 {
            succeeds(runtime, &module(1, extra, body), Limits::default());
        }
    }

    pub fn failed_runs_leave_the_runtime_usable(runtime: &impl Runtime) {
        // Each of these stops a guest in the middle of something.
        for (body, limits) in [
            (ENDLESS, fuel(10_000)),
            ("(unreachable)", Limits::default()),
            ("(call $run (local.get 0) (local.get 1))", fuel(u64::MAX)),
            (
                "(loop $m (drop (memory.grow (i32.const 1))) (br $m)) (unreachable)",
                memory(65_536),
            ),
        ] {
            fails(runtime, &module(1, "", body), limits);
            let result = succeeds(runtime, ECHO, Limits::default());
            assert_eq!(result.output, b"input");
        }
    }

    pub fn float_results_have_one_bit_pattern(runtime: &impl Runtime) {
        // 0/0 is the one float result whose bits WebAssembly leaves open: processors differ in
        // its sign. Two honest nodes must not differ, so it is the canonical one everywhere.
        let body = "(f64.store (i32.const 0)
                (f64.div (f64.convert_i32_s (i32.sub (local.get $len) (i32.const 5)))
                         (f64.convert_i32_s (i32.sub (local.get $len) (i32.const 5)))))
            (f32.store (i32.const 8)
                (f32.sqrt (f32.convert_i32_s (i32.sub (local.get $len) (i32.const 6)))))
            (i64.const 12)";
        let output = succeeds(runtime, &module(1, "", body), Limits::default()).output;
        assert_eq!(output[..8], 0x7ff8_0000_0000_0000_u64.to_le_bytes());
        assert_eq!(output[8..], 0x7fc0_0000_u32.to_le_bytes());
    }

    pub fn cancelled_before_the_start_does_not_run(runtime: &impl Runtime) {
        let cancel = CancelToken::new();
        cancel.cancel();
        let endless = spec(&module(1, "", ENDLESS), b"", fuel(u64::MAX));
        assert_eq!(
            runtime.run_cancellable(&endless, &cancel),
            Err(TaskError::Cancelled)
        );
    }

    pub fn cancelling_stops_a_running_task(runtime: &impl Runtime) {
        // A runtime that looks at the token only at the start never returns from this. One loop
        // is in `fog_alloc`, one in `fog_run`.
        let in_alloc = r#"(module
            (memory (export "memory") 1)
            (func (export "fog_alloc") (param i32) (result i32)
                (loop $again (br $again)) (unreachable))
            (func (export "fog_run") (param i32 i32) (result i64) (i64.const 0)))"#;
        for text in [in_alloc, &module(1, "", ENDLESS)] {
            let endless = spec(text, b"", fuel(u64::MAX));
            let cancel = CancelToken::new();
            let (started, wait) = mpsc::channel();
            let result = thread::scope(|scope| {
                let task = scope.spawn(|| {
                    started.send(()).expect("the suite waits for this");
                    runtime.run_cancellable(&endless, &cancel)
                });
                wait.recv().expect("the task's thread sends this");
                // Work of its own gives the other thread time to get into the loop.
                fails(runtime, &module(1, "", ENDLESS), fuel(5_000_000));
                cancel.cancel();
                task.join().expect("the task's thread does not panic")
            });
            assert_eq!(result, Err(TaskError::Cancelled));
        }
    }

    pub fn runs_side_by_side_do_not_mix(runtime: &impl Runtime) {
        thread::scope(|scope| {
            for worker in 0..4_u8 {
                scope.spawn(move || {
                    for round in 0..20_u8 {
                        let input = vec![worker, round, worker ^ round];
                        let result = runtime.run(&spec(ECHO, &input, Limits::default()));
                        assert_eq!(result.map(|result| result.output), Ok(input));
                    }
                });
            }
        });
    }
}

pub use rules::*;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_of_the_suite_assemble_and_the_range_has_pointer_and_length() {
        assert!(assemble(ECHO).starts_with(b"\0asm\x01\0\0\0"));
        assert!(assemble(&module(1, "", NOTHING)).starts_with(b"\0asm"));
        assert_eq!(range(1, 2), "(i64.const 0x100000002)");
    }

    #[test]
    #[should_panic(expected = "not WebAssembly text")]
    fn text_that_does_not_assemble_panics_with_its_reason() {
        let _ = assemble("(module");
    }
}
