//! The suite that every [`Runtime`] passes. [`runtime_conformance!`](crate::runtime_conformance)
//! turns it into tests; each function is one of them and panics if its rule is broken.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use fogcompute_base::UnixMillis;
use fogcompute_base::limits::INPUT_BYTES_MAX;

use crate::{
    AbiExport, CancelToken, Checkpoint, ClockGrant, Control, CpuShare, Feature, Grants, GuestText,
    LOCALS_MAX, Limits, Observer, RandomnessGrant, Runtime, START_FUEL_MAX, Session, TaskError,
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
            imports_need_their_grant
            log_and_progress_are_passed_on_and_the_log_is_limited
            time_limit_ends_a_task_that_has_fuel
            suspended_task_goes_on_when_resumed_and_ends_the_same
            slowed_down_task_ends_the_same
            task_goes_on_from_its_checkpoint_in_another_instance
            temporary_exit_is_told
            unfit_checkpoints_are_refused
            modules_whose_state_is_not_in_a_checkpoint_cannot_make_one
            wasi_command_sees_what_it_is_granted_and_nothing_else
            wasi_command_that_exits_says_so
            wasi_pointers_outside_memory_are_errors
        }
    };
    (programs: $make:expr) => {
        $crate::runtime_conformance! { @tests $make;
            program_gets_its_input_arguments_environment_and_files
            program_output_over_the_limit_ends_it
            program_log_is_passed_on_and_limited
            program_that_fails_or_is_killed_says_so
            program_that_never_ends_times_out
            program_is_cancelled_with_everything_it_started
            program_is_suspended_and_resumed
            program_cannot_fork_without_end
            program_memory_bomb_ends
            program_has_no_network_and_no_files_of_the_host
            what_is_no_program_or_is_granted_too_little_is_refused
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

/// Remembers what a task says. At its first line of log, suspends, slows down or cancels the task.
#[derive(Default)]
struct Heard {
    lines: Mutex<Vec<String>>,
    progress: Mutex<Vec<u16>>,
    checkpoints: Mutex<Vec<Checkpoint>>,
    first_line: Mutex<Option<mpsc::Sender<()>>>,
}

impl Heard {
    fn lines(&self) -> Vec<String> {
        take(&self.lines)
    }
}

fn take<T: Clone>(kept: &Mutex<T>) -> T {
    kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Observer for Heard {
    fn log(&self, line: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line.to_owned());
        let first = self
            .first_line
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(first) = first {
            // The suite may not wait for it.
            let _ = first.send(());
        }
    }
    fn progress(&self, permille: u16) {
        self.progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(permille);
    }
    fn checkpoint(&self, checkpoint: Checkpoint) {
        self.checkpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(checkpoint);
    }
}

/// Runs a task that logs a line when it has begun; `steer` is called then.
fn run_steered(
    runtime: &impl Runtime,
    spec: &TaskSpec,
    steer: impl FnOnce(&Control),
) -> (Result<TaskOutput, TaskError>, Arc<Heard>) {
    let (first, begun) = mpsc::channel();
    let heard = Arc::new(Heard {
        first_line: Mutex::new(Some(first)),
        ..Heard::default()
    });
    let session = Session {
        observer: Arc::<Heard>::clone(&heard),
        ..Session::default()
    };
    let control = session.control.clone();
    let result = thread::scope(|scope| {
        let task = scope.spawn(|| runtime.execute(spec, &session));
        begun.recv().expect("the task logs a line");
        steer(&control);
        task.join().expect("the task's thread does not panic")
    });
    (result, heard)
}

fn host_calls() -> Grants {
    Grants {
        host_calls: true,
        ..Grants::default()
    }
}

fn granted(text: &str, input: &[u8], limits: Limits, grants: Grants) -> TaskSpec {
    spec(text, input, limits)
        .with_grants(grants)
        .expect("suite grants are within the limits")
}

/// Adds up the numbers below ten times the length of its input: in a global and in memory, which a
/// checkpoint has both, with one asked for after half of them. Says so, and waits until it is asked
/// for if the input begins with `w`.
const COUNTS: &str = r#"(module
    (import "fog" "log" (func $log (param i32 i32)))
    (import "fog" "fraction_done" (func $fraction_done (param f64)))
    (import "fog" "time_to_checkpoint" (func $time (result i32)))
    (import "fog" "checkpoint_completed" (func $completed))
    (memory (export "memory") 1)
    (global $stack (mut i32) (i32.const 4096))
    (global $i (export "i") (mut i64) (i64.const 0))
    (data (i32.const 64) "begun")
    (func (export "fog_alloc") (param i32) (result i32) (i32.const 256))
    (func (export "fog_run") (param $ptr i32) (param $len i32) (result i64)
        (i32.store (i32.const 0) (local.get $len))
        (drop (memory.grow (i32.const 2)))
        (i32.store (i32.const 150000) (i32.const 77))
        (call $log (i32.const 64) (i32.const 5))
        (call $count))
    (func (export "fog_resume") (result i64)
        (if (i32.ne (i32.load (i32.const 150000)) (i32.const 77)) (then (unreachable)))
        (call $count))
    (func $count (result i64) (local $end i64)
        (local.set $end (i64.mul (i64.extend_i32_u (i32.load (i32.const 0))) (i64.const 10)))
        (loop $next
            (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (global.get $i)))
            (global.set $i (i64.add (global.get $i) (i64.const 1)))
            (if (i64.eq (i64.mul (global.get $i) (i64.const 2)) (local.get $end)) (then
                (call $fraction_done (f64.const 0.5))
                (loop $wait
                    (if (call $time) (then (call $completed))
                        (else (br_if $wait
                            (i32.eq (i32.load8_u (i32.const 256)) (i32.const 119))))))))
            (br_if $next (i64.lt_u (global.get $i) (local.get $end))))
        (i64.const 0x800000008)))"#;

fn sum_below(end: u64) -> Vec<u8> {
    (end * (end - 1) / 2).to_le_bytes().to_vec()
}

/// Shell text as a program, granted what every program has.
fn script(text: &str, input: &[u8], limits: Limits) -> TaskSpec {
    let limits = Limits {
        wall: Some(limits.wall.unwrap_or(Duration::from_secs(60))),
        ..limits
    };
    TaskSpec::new(format!("#!/bin/sh\n{text}\n").into_bytes(), input, limits)
        .and_then(|spec| spec.with_grants(of_programs()))
        .expect("suite tasks are within the limits")
}

fn of_programs() -> Grants {
    Grants {
        clock: ClockGrant::System,
        randomness: RandomnessGrant::System,
        ..Grants::default()
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

    pub fn imports_need_their_grant(runtime: &impl Runtime) {
        let log = r#"(import "fog" "log" (func (param i32 i32)))"#;
        let text = ECHO.replacen("(module", &format!("(module {log}"), 1);
        let forbidden = |module, name| {
            Err(TaskError::ForbiddenImport {
                module: GuestText::new(module),
                name: GuestText::new(name),
            })
        };
        assert_eq!(
            run(runtime, &text, Limits::default()),
            forbidden("fog", "log")
        );
        let wasi = Grants {
            wasi: true,
            ..Grants::default()
        };
        let task =
            |text: &str, grants| runtime.run(&granted(text, b"input", Limits::default(), grants));
        assert_eq!(task(&text, wasi.clone()), forbidden("fog", "log"));
        assert_eq!(
            task(&text, host_calls()).map(|done| done.output),
            Ok(b"input".to_vec())
        );
        // Of another type, and of no name that there is.
        let text = text.replace("i32 i32)))", "i64)))");
        assert_eq!(task(&text, host_calls()), forbidden("fog", "log"));
        let socket = r#"(import "wasi_snapshot_preview1" "sock_accept"
            (func (param i32 i32 i32) (result i32)))"#;
        let text = ECHO.replacen("(module", &format!("(module {socket}"), 1);
        assert_eq!(
            task(&text, wasi),
            forbidden("wasi_snapshot_preview1", "sock_accept")
        );
    }

    pub fn log_and_progress_are_passed_on_and_the_log_is_limited(runtime: &impl Runtime) {
        let text = module(
            1,
            r#"(data (i32.const 0) "first\nsecond")"#,
            "(call $fraction_done (f64.const 0.25)) (call $fraction_done (f64.const 7))
             (call $log (i32.const 0) (i32.const 12)) (call $log (i32.const 0) (i32.const 5))
             (i64.const 0)",
        );
        let imports = r#"(module (import "fog" "log" (func $log (param i32 i32)))
            (import "fog" "fraction_done" (func $fraction_done (param f64)))"#;
        let text = text.replacen("(module", imports, 1);
        let lines = |log_bytes| {
            let limits = Limits {
                log_bytes,
                ..Limits::default()
            };
            let heard = Arc::new(Heard::default());
            let session = Session {
                observer: Arc::<Heard>::clone(&heard),
                ..Session::default()
            };
            let spec = granted(&text, b"", limits, host_calls());
            assert_eq!(
                runtime.execute(&spec, &session).map(|done| done.output),
                Ok(vec![])
            );
            assert_eq!(take(&heard.progress), [250, 1_000]);
            heard.lines()
        };
        assert_eq!(lines(100), ["first", "second", "first"]);
        assert_eq!(
            lines(8),
            ["first", "se", "log ends here: its limit is 8 bytes"]
        );
    }

    pub fn time_limit_ends_a_task_that_has_fuel(runtime: &impl Runtime) {
        let limits = Limits {
            wall: Some(Duration::from_millis(20)),
            ..fuel(u64::MAX)
        };
        assert_eq!(
            fails(runtime, &module(1, "", ENDLESS), limits),
            TaskError::TimedOut { limit_ms: 20 }
        );
    }

    pub fn suspended_task_goes_on_when_resumed_and_ends_the_same(runtime: &impl Runtime) {
        let input = vec![b'w'; 1_000];
        let spec = granted(COUNTS, &input, fuel(u64::MAX), host_calls());
        let (result, _) = run_steered(runtime, &spec, |control| {
            control.suspend();
            // A task that did not halt could end now.
            control.request_checkpoint();
            fails(runtime, &module(1, "", ENDLESS), fuel(5_000_000));
            control.resume();
        });
        assert_eq!(result.map(|done| done.output), Ok(sum_below(10_000)));
        // And while it is suspended it can be cancelled.
        let (result, _) = run_steered(runtime, &spec, |control| {
            control.suspend();
            control.cancel();
        });
        assert_eq!(result, Err(TaskError::Cancelled));
    }

    pub fn slowed_down_task_ends_the_same(runtime: &impl Runtime) {
        let input = vec![b'w'; 1_000];
        let spec = granted(COUNTS, &input, fuel(u64::MAX), host_calls());
        let (result, _) = run_steered(runtime, &spec, |control| {
            control.set_cpu_share(CpuShare::from_permille(300));
            fails(runtime, &module(1, "", ENDLESS), fuel(5_000_000));
            control.request_checkpoint();
        });
        assert_eq!(result.map(|done| done.output), Ok(sum_below(10_000)));
    }

    /// The checkpoint that the given task makes, and then it is stopped.
    fn checkpoint_of(runtime: &impl Runtime, spec: &TaskSpec) -> Checkpoint {
        let (_, heard) = run_steered(runtime, spec, Control::request_checkpoint);
        let checkpoints = take(&heard.checkpoints);
        checkpoints
            .first()
            .expect("the task made a checkpoint")
            .clone()
    }

    pub fn task_goes_on_from_its_checkpoint_in_another_instance(runtime: &impl Runtime) {
        let input = vec![b'w'; 1_000];
        let spec = granted(COUNTS, &input, fuel(u64::MAX), host_calls());
        let made = checkpoint_of(runtime, &spec);
        assert_eq!(made.permille, 500);
        assert!(made.is_of(&spec));
        let bytes = made.encode();
        let from = Checkpoint::decode(&bytes, 1 << 20).expect("what was encoded can be decoded");
        let session = Session {
            from: Some(from),
            ..Session::default()
        };
        let done = runtime.execute(&spec, &session).expect("the task goes on");
        assert_eq!(done.output, sum_below(10_000));
        assert!(done.usage.fuel == 0 || done.usage.fuel > made.fuel);
    }

    pub fn temporary_exit_is_told(runtime: &impl Runtime) {
        let import = r#"(module (import "fog" "temporary_exit" (func $exit (param i32)))"#;
        let text = module(1, "", "(call $exit (i32.const 60)) (unreachable)");
        let text = text.replacen("(module", import, 1);
        let spec = granted(&text, b"", Limits::default(), host_calls());
        assert_eq!(
            runtime.run(&spec),
            Err(TaskError::TemporaryExit { delay_s: 60 })
        );
    }

    pub fn unfit_checkpoints_are_refused(runtime: &impl Runtime) {
        let input = vec![b'w'; 10];
        let spec = granted(COUNTS, &input, fuel(u64::MAX), host_calls());
        let made = checkpoint_of(runtime, &spec);
        let refused = |from: Checkpoint, limits| {
            let session = Session {
                from: Some(from),
                ..Session::default()
            };
            runtime.execute(&granted(COUNTS, &input, limits, host_calls()), &session)
        };
        let mut others = vec![made.clone(); 5];
        others[0].module = made.input;
        others[1].input = made.module;
        others[2].memory.clear();
        others[3].globals[0].0 = "j".to_owned();
        others[4].globals[0].1 = crate::GlobalValue::F32(1);
        for other in others {
            match refused(other, fuel(u64::MAX)) {
                Err(TaskError::UnfitCheckpoint { .. }) => {}
                other => panic!("should be unfit but gave {other:?}"),
            }
        }
        assert_eq!(
            refused(made, memory(65_536)),
            Err(TaskError::OutOfMemory { limit: 65_536 })
        );
    }

    pub fn modules_whose_state_is_not_in_a_checkpoint_cannot_make_one(runtime: &impl Runtime) {
        for (is, instead) in [
            (r#"(export "fog_resume")"#, ""),
            (r#"(export "i")"#, ""),
            (
                r#"(func $count (result i64)"#,
                "(table $t 1 funcref) (func $set (table.set $t (i32.const 0) (ref.null func)))
                 (func $count (result i64)",
            ),
        ] {
            assert!(COUNTS.contains(is));
            let spec = granted(&COUNTS.replace(is, instead), b"w", fuel(1), host_calls());
            match runtime.run(&spec) {
                Err(TaskError::ModuleTooComplex { .. }) => {}
                other => panic!("should be refused but gave {other:?}"),
            }
        }
    }

    /// A command with these calls of WASI, whose parameters and results are all `i32`s, given by the
    /// number of parameters.
    fn command(calls: &[(&str, usize)], body: &str) -> String {
        let mut text = String::from("(module ");
        for (name, params) in calls {
            let types = match *name {
                "clock_time_get" => " i32 i64 i32".to_owned(),
                "path_open" => " i32 i32 i32 i32 i32 i64 i64 i32 i32".to_owned(),
                _ => " i32".repeat(*params),
            };
            let result = if *name == "proc_exit" {
                ""
            } else {
                "(result i32)"
            };
            write!(
                text,
                r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param{types}) {result}))"#
            )
            .expect("writing to a string does not fail");
        }
        write!(
            text,
            r#"(memory (export "memory") 1) (func (export "_start") (local $n i32) {body}))"#
        )
        .expect("writing to a string does not fail");
        text
    }

    pub fn wasi_command_sees_what_it_is_granted_and_nothing_else(runtime: &impl Runtime) {
        // Writes the error of each call, its input, a file, its argument and its environment, the
        // clock and four random bytes.
        let body = r#"
            (i32.store (i32.const 0) (i32.const 1024))
            (i32.store (i32.const 4) (i32.const 100))
            (i32.store8 (i32.const 600) (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1)
                (i32.const 8)))
            (i32.store (i32.const 16) (i32.const 2000))
            (i32.store (i32.const 2000) (i32.const 0x612f61)) 
            (i32.store8 (i32.const 601) (call $path_open (i32.const 3) (i32.const 0)
                (i32.const 2000) (i32.const 3) (i32.const 0) (i64.const 2) (i64.const 0)
                (i32.const 0) (i32.const 20)))
            (i32.store (i32.const 0) (i32.const 1200))
            (i32.store8 (i32.const 602) (call $fd_read (i32.load (i32.const 20)) (i32.const 0)
                (i32.const 1) (i32.const 24)))
            (i32.store8 (i32.const 603) (call $args_get (i32.const 3000) (i32.const 1300)))
            (i32.store8 (i32.const 604) (call $environ_get (i32.const 3100) (i32.const 1400)))
            (i32.store8 (i32.const 605) (call $clock_time_get (i32.const 0) (i64.const 1)
                (i32.const 1500)))
            (i32.store8 (i32.const 606) (call $random_get (i32.const 1600) (i32.const 4)))
            (i32.store (i32.const 32) (i32.const 600)) (i32.store (i32.const 36) (i32.const 7))
            (i32.store (i32.const 40) (i32.const 1024)) (i32.store (i32.const 44)
                (i32.load (i32.const 8)))
            (i32.store (i32.const 48) (i32.const 1200)) (i32.store (i32.const 52)
                (i32.load (i32.const 24)))
            (i32.store (i32.const 56) (i32.const 1300)) (i32.store (i32.const 60) (i32.const 9))
            (i32.store (i32.const 64) (i32.const 1400)) (i32.store (i32.const 68) (i32.const 4))
            (i32.store (i32.const 72) (i32.const 1500)) (i32.store (i32.const 76) (i32.const 8))
            (i32.store (i32.const 80) (i32.const 1600)) (i32.store (i32.const 84) (i32.const 4))
            (drop (call $fd_write (i32.const 1) (i32.const 32) (i32.const 7) (i32.const 28)))
            (drop (call $fd_write (i32.const 2) (i32.const 40) (i32.const 1) (i32.const 28)))"#;
        let text = command(
            &[
                ("fd_read", 4),
                ("fd_write", 4),
                ("path_open", 9),
                ("args_get", 2),
                ("environ_get", 2),
                ("clock_time_get", 3),
                ("random_get", 2),
            ],
            body,
        );
        let grants = Grants {
            wasi: true,
            clock: ClockGrant::Fixed(UnixMillis(1)),
            randomness: RandomnessGrant::Seeded([7; 32]),
            args: vec!["abc".to_owned()],
            env: BTreeMap::from([("E".to_owned(), "f".to_owned())]),
            files: BTreeMap::from([("a/a".to_owned(), Arc::from(*b"file"))]),
            ..Grants::default()
        };
        let run = |grants| {
            let heard = Arc::new(Heard::default());
            let session = Session {
                observer: Arc::<Heard>::clone(&heard),
                ..Session::default()
            };
            let spec = granted(&text, b"input", Limits::default(), grants);
            let done = runtime.execute(&spec, &session);
            (done.expect("the command succeeds").output, heard.lines())
        };
        let (output, lines) = run(grants.clone());
        let mut expected = vec![0; 7];
        expected.extend(b"inputfiletask\0abc\0E=f\0");
        expected.extend(1_000_000_u64.to_le_bytes());
        assert_eq!(output[..expected.len()], expected);
        assert_eq!(output.len(), expected.len() + 4);
        assert_eq!(run(grants).0, output);
        assert_eq!(lines, ["input"]);

        let nothing = Grants {
            wasi: true,
            ..Grants::default()
        };
        let (output, _) = run(nothing);
        // There is no folder to open a file in, and no right to clock and randomness.
        assert_eq!(output[..7], [0, 8, 0, 0, 0, 76, 76]);
    }

    pub fn wasi_command_that_exits_says_so(runtime: &impl Runtime) {
        let wasi = Grants {
            wasi: true,
            ..Grants::default()
        };
        let exit = |status| {
            let body = format!("(call $proc_exit (i32.const {status})) (unreachable)");
            let text = command(&[("proc_exit", 1)], &body);
            runtime
                .run(&granted(&text, b"", Limits::default(), wasi.clone()))
                .map(|done| done.output)
        };
        assert_eq!(exit(0), Ok(vec![]));
        assert_eq!(exit(3), Err(TaskError::Exited { status: 3 }));
        // Output over the limit, written in pieces.
        let body = "(i32.store (i32.const 4) (i32.const 60000)) (loop $more
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br $more))";
        let spec = granted(
            &command(&[("fd_write", 4)], body),
            b"",
            Limits::default(),
            wasi,
        );
        match runtime.run(&spec) {
            Err(TaskError::OutputTooLarge { .. }) => {}
            other => panic!("should be too large but gave {other:?}"),
        }
    }

    pub fn wasi_pointers_outside_memory_are_errors(runtime: &impl Runtime) {
        let wasi = Grants {
            wasi: true,
            randomness: RandomnessGrant::Seeded([1; 32]),
            ..Grants::default()
        };
        // All answer "bad address": where lists, buffers and results lie outside.
        let body = r#"
            (if (i32.ne (call $fd_write (i32.const 1) (i32.const -4) (i32.const 1) (i32.const 8))
                (i32.const 21)) (then (unreachable)))
            (i32.store (i32.const 0) (i32.const 65530)) (i32.store (i32.const 4) (i32.const 100))
            (if (i32.ne (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
                (i32.const 21)) (then (unreachable)))
            (if (i32.ne (call $random_get (i32.const 65535) (i32.const 2)) (i32.const 21))
                (then (unreachable)))
            (if (i32.ne (call $args_get (i32.const 65534) (i32.const 0)) (i32.const 21))
                (then (unreachable)))"#;
        let calls = [
            ("fd_write", 4),
            ("fd_read", 4),
            ("random_get", 2),
            ("args_get", 2),
        ];
        let spec = granted(&command(&calls, body), b"input", Limits::default(), wasi);
        assert_eq!(runtime.run(&spec).map(|done| done.output), Ok(vec![]));
    }

    pub fn program_gets_its_input_arguments_environment_and_files(runtime: &impl Runtime) {
        let grants = Grants {
            args: vec!["one two".to_owned()],
            env: BTreeMap::from([("FOG".to_owned(), "mist".to_owned())]),
            files: BTreeMap::from([("data/a".to_owned(), Arc::from(*b"content\n"))]),
            ..of_programs()
        };
        let text =
            "read line; read file < data/a; echo \"$line|$1|$FOG|$HOME|$file\"; echo x > new";
        let spec = script(text, b"input\n", Limits::default())
            .with_grants(grants)
            .expect("suite grants are within the limits");
        let done = runtime.run(&spec).expect("the program succeeds");
        assert_eq!(
            String::from_utf8_lossy(&done.output),
            "input|one two|mist||content\n"
        );
    }

    pub fn program_output_over_the_limit_ends_it(runtime: &impl Runtime) {
        let limits = Limits {
            output_bytes: 1_000,
            ..Limits::default()
        };
        match runtime.run(&script("while :; do echo more; done", b"", limits)) {
            Err(TaskError::OutputTooLarge { limit: 1_000, .. }) => {}
            other => panic!("should be too large but gave {other:?}"),
        }
    }

    pub fn program_log_is_passed_on_and_limited(runtime: &impl Runtime) {
        let limits = Limits {
            log_bytes: 10,
            ..Limits::default()
        };
        let heard = Arc::new(Heard::default());
        let session = Session {
            observer: Arc::<Heard>::clone(&heard),
            ..Session::default()
        };
        let spec = script("echo one >&2; echo two >&2; echo three >&2", b"", limits);
        assert!(runtime.execute(&spec, &session).is_ok());
        assert_eq!(
            heard.lines(),
            ["one", "two", "th", "log ends here: its limit is 10 bytes"]
        );
    }

    pub fn program_that_fails_or_is_killed_says_so(runtime: &impl Runtime) {
        let run = |text| runtime.run(&script(text, b"", Limits::default()));
        assert_eq!(run("exit 3"), Err(TaskError::Exited { status: 3 }));
        match run("ulimit -t 1; while :; do :; done") {
            Err(TaskError::Killed { signal: 9 | 24 }) => {}
            other => panic!("should be killed but gave {other:?}"),
        }
    }

    pub fn program_that_never_ends_times_out(runtime: &impl Runtime) {
        let limits = Limits {
            wall: Some(Duration::from_millis(300)),
            ..Limits::default()
        };
        assert_eq!(
            runtime.run(&script("while :; do :; done", b"", limits)),
            Err(TaskError::TimedOut { limit_ms: 300 })
        );
        // Neither does one that closed its streams.
        assert_eq!(
            runtime.run(&script(
                "exec <&- >&- 2>&-; while :; do :; done",
                b"",
                limits
            )),
            Err(TaskError::TimedOut { limit_ms: 300 })
        );
    }

    pub fn program_is_cancelled_with_everything_it_started(runtime: &impl Runtime) {
        let text = "trap '' TERM INT HUP; echo begun >&2; while :; do :; done";
        let spec = script(text, b"", Limits::default());
        // What it started would hold its output open, and this would not return.
        let (result, _) = run_steered(runtime, &spec, Control::cancel);
        assert_eq!(result, Err(TaskError::Cancelled));
        let session = Session::default();
        session.control.cancel();
        assert_eq!(runtime.execute(&spec, &session), Err(TaskError::Cancelled));
    }

    pub fn program_is_suspended_and_resumed(runtime: &impl Runtime) {
        let text = "echo begun >&2; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo $i";
        let spec = script(text, b"", Limits::default());
        let (result, _) = run_steered(runtime, &spec, |control| {
            control.suspend();
            let other = script(
                "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done",
                b"",
                Limits::default(),
            );
            assert!(runtime.run(&other).is_ok());
            control.set_cpu_share(CpuShare::from_permille(500));
            control.resume();
        });
        assert_eq!(result.map(|done| done.output), Ok(b"20000\n".to_vec()));
        let (result, _) = run_steered(runtime, &spec, |control| {
            control.suspend();
            control.cancel();
        });
        // It may have ended before.
        if let Err(error) = result {
            assert_eq!(error, TaskError::Cancelled);
        }
    }

    pub fn program_cannot_fork_without_end(runtime: &impl Runtime) {
        let limits = Limits {
            wall: Some(Duration::from_secs(5)),
            ..Limits::default()
        };
        match runtime.run(&script(
            "bomb() { bomb | bomb & }; bomb; bomb; wait; exit 7",
            b"",
            limits,
        )) {
            Err(TaskError::Exited { .. } | TaskError::TimedOut { .. }) => {}
            other => panic!("should have failed but gave {other:?}"),
        }
    }

    pub fn program_memory_bomb_ends(runtime: &impl Runtime) {
        let text = "x=0123456789abcdef; while :; do x=$x$x; done";
        match runtime.run(&script(text, b"", Limits::default())) {
            Err(TaskError::Exited { .. } | TaskError::Killed { .. }) => {}
            other => panic!("should have failed but gave {other:?}"),
        }
    }

    pub fn program_has_no_network_and_no_files_of_the_host(runtime: &impl Runtime) {
        // The shell says what could not be opened; none of these may be.
        for text in [
            "read line < /etc/passwd",
            "read line < /proc/1/environ",
            "echo x > /tmp/fogcompute-must-not-be",
            "echo x >> \"$0\"",
            "cd /root",
            "kill -9 1",
        ] {
            match runtime.run(&script(text, b"", Limits::default())) {
                Err(TaskError::Exited { .. }) => {}
                other => panic!("{text} should have failed but gave {other:?}"),
            }
        }
    }

    pub fn what_is_no_program_or_is_granted_too_little_is_refused(runtime: &impl Runtime) {
        let spec = script("exit 0", b"", Limits::default());
        let unsupported = |feature| Err(TaskError::Unsupported { feature });
        let bare = spec
            .clone()
            .with_grants(Grants::default())
            .expect("no grants are usable");
        assert_eq!(runtime.run(&bare), unsupported(Feature::Grants));
        let module = TaskSpec::new(assemble(ECHO), b"", spec.limits())
            .and_then(|spec| spec.with_grants(of_programs()))
            .expect("suite tasks are within the limits");
        match runtime.run(&module) {
            Err(TaskError::MalformedModule { .. }) => {}
            other => panic!("should be refused but gave {other:?}"),
        }
        let endless = TaskSpec::new(b"#!/bin/sh".to_vec(), b"", Limits::default())
            .and_then(|spec| spec.with_grants(of_programs()))
            .expect("suite tasks are within the limits");
        assert_eq!(runtime.run(&endless), unsupported(Feature::NoTimeLimit));
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
