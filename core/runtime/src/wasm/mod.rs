//! The WebAssembly sandbox: on the interpreter wasmi, and on the compiler of wasmtime.

mod cache;
mod calls;
mod check;
#[cfg(feature = "wasmtime")]
mod code;
#[cfg(feature = "wasmtime")]
mod compiled;
mod guest;
mod host;
mod interpreter;
mod meter;
mod unfused;

use std::fmt;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use fogcompute_base::{Clock, Instant, SystemClock};
use fogcompute_exec::{GuestText, Runtime, Session, TaskError, TaskOutput, TaskSpec, Usage};

use self::cache::ModuleCache;
pub use self::check::check_preamble;
use self::check::{Entry, check};
#[cfg(feature = "wasmtime")]
pub use self::code::{BlobError, CodeCacheConfig};
#[cfg(feature = "wasmtime")]
pub use self::compiled::{Metering, WasmtimeConfig, WasmtimeError, WasmtimeRuntime};
use self::guest::{Guest, drive};
use self::host::Host;
use self::interpreter::{Compiled, Interpreted};
use self::meter::Meter;
use crate::pace::Pacer;

/// How a [`WasmRuntime`] uses its host. Nothing here changes the result of a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WasmConfig {
    /// Compiled modules kept for the next task. 0 compiles every time.
    pub cached_modules_max: usize,
    /// Modules kept, in bytes before compiling. Compiled they take several times as much.
    pub cached_module_bytes_max: usize,
    /// Fuel between two looks at the control: the default is a few milliseconds.
    pub slice_fuel: NonZeroU64,
}

impl Default for WasmConfig {
    /// 64 modules of together 4 MiB, a million fuel between looks at the token.
    fn default() -> Self {
        Self {
            cached_modules_max: 64,
            cached_module_bytes_max: 4 << 20,
            slice_fuel: const { NonZeroU64::new(1_000_000).expect("a million is not zero") },
        }
    }
}

/// Runs tasks in wasmi, an interpreter: about ten times slower than native code where that waits
/// for its own arithmetic, tens of times slower in calls. It starts in microseconds and needs no
/// right to make memory executable, so it runs on every device.
///
/// Every run has its own instance and store; only compiled modules are shared. Compiling costs the
/// task no fuel: a module is at most 1 MiB and is compiled in one pass.
pub struct WasmRuntime {
    cache: Mutex<ModuleCache<Arc<Compiled>>>,
    slice_fuel: NonZeroU64,
    clock: Arc<dyn Clock>,
}

impl WasmRuntime {
    /// A runtime that measures wall time with the machine's clock.
    #[must_use]
    pub fn new(config: WasmConfig) -> Self {
        Self::with_clock(config, Arc::new(SystemClock::new()))
    }

    /// A runtime that measures wall time with `clock`.
    #[must_use]
    pub fn with_clock(config: WasmConfig, clock: Arc<dyn Clock>) -> Self {
        let cache = ModuleCache::new(config.cached_modules_max, config.cached_module_bytes_max);
        Self {
            cache: Mutex::new(cache),
            slice_fuel: config.slice_fuel,
            clock,
        }
    }

    /// The cache stays consistent between any two of its calls, so a poisoned lock is usable.
    fn cached<T>(&self, use_cache: impl FnOnce(&mut ModuleCache<Arc<Compiled>>) -> T) -> T {
        use_cache(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The compiled module, from the cache or made now.
    fn module(&self, spec: &TaskSpec) -> Result<Arc<Compiled>, TaskError> {
        let digest = spec.module_digest();
        if let Some(module) = self.cached(|cache| cache.find(digest)) {
            return Ok(module);
        }
        // Outside the lock: two tasks may compile the same module at once, which costs less than
        // one slow module holding up every other task.
        let shape = check(spec.module())?;
        let module = Arc::new(Compiled::new(spec.module(), shape)?);
        self.cached(|cache| cache.insert(digest, spec.module().len(), Arc::clone(&module)));
        Ok(module)
    }

    fn run_session(&self, spec: &TaskSpec, session: &Session) -> Result<TaskOutput, TaskError> {
        let start = self.clock.now();
        if session.control.is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        let module = self.module(spec)?;
        let entry = module.shape.entry(spec.grants(), session.from.is_some())?;
        let host = host_of(spec, session, entry, &self.clock, start)?;
        let limits = spec.limits();
        let used = session.from.as_ref().map_or(0, |from| from.fuel);
        let mut guest = Interpreted::start(&module, host, limits, used, self.slice_fuel)?;
        let result = drive(&mut guest, entry, spec, session.from.as_ref());
        guest.host().finish();
        Ok(TaskOutput {
            output: result?,
            usage: Usage {
                fuel: guest.fuel_used()?,
                memory_bytes_peak: guest.host().meter.peak(),
                wall: self.clock.now().duration_since(start),
            },
        })
    }
}

/// The host of one run, after looking whether the checkpoint is the task's.
fn host_of(
    spec: &TaskSpec,
    session: &Session,
    entry: Entry,
    clock: &Arc<dyn Clock>,
    start: Instant,
) -> Result<Host, TaskError> {
    if let Some(from) = &session.from
        && !from.is_of(spec)
    {
        return Err(TaskError::UnfitCheckpoint {
            reason: GuestText::new("it is of another module or input"),
        });
    }
    let limits = spec.limits();
    let pacer = Pacer::new(
        session.control.clone(),
        Arc::clone(clock),
        limits.wall,
        start,
    );
    let meter = Meter::new(limits.memory_bytes);
    Ok(Host::new(
        spec,
        session,
        entry,
        meter,
        pacer,
        Arc::clone(clock),
    ))
}

impl Runtime for WasmRuntime {
    fn name(&self) -> &'static str {
        // Fuel per operator and the depth of the stack may change with wasmi's major version.
        "wasmi-2"
    }

    fn execute(&self, spec: &TaskSpec, session: &Session) -> Result<TaskOutput, TaskError> {
        contain_panics(|| self.run_session(spec, session)).inspect_err(|error| {
            if matches!(error, TaskError::RuntimeFault) {
                // Whatever state the engine was left in goes with the module.
                self.cached(|cache| cache.remove(spec.module_digest()));
            }
        })
    }
}

impl fmt::Debug for WasmRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmRuntime")
            .field("cached_modules", &self.cached(|cache| cache.len()))
            .field("slice_fuel", &self.slice_fuel)
            .finish_non_exhaustive()
    }
}

/// Turns a panic of the engine into an error, so that a module which finds a bug in the engine
/// costs its own task and not the node.
fn contain_panics<T>(run: impl FnOnce() -> Result<T, TaskError>) -> Result<T, TaskError> {
    // Unwind safe: store and instance belong to the run and go with it.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(TaskError::RuntimeFault))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::UnixMillis;
    use fogcompute_exec::Limits;
    use fogcompute_exec::conformance::assemble;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    fogcompute_exec::runtime_conformance!(WasmRuntime::new(WasmConfig::default()));

    /// The suite again with so little fuel between looks at the token that every block, bulk
    /// operation and growth is interrupted and resumed.
    mod finely_sliced {
        use super::*;

        fogcompute_exec::runtime_conformance!(with_slice(1));
    }

    /// The suite again without a cache.
    mod uncached {
        use super::*;

        fogcompute_exec::runtime_conformance!(WasmRuntime::new(WasmConfig {
            cached_modules_max: 0,
            ..WasmConfig::default()
        }));
    }

    fn with_slice(fuel: u64) -> WasmRuntime {
        WasmRuntime::new(WasmConfig {
            slice_fuel: NonZeroU64::new(fuel).unwrap(),
            ..WasmConfig::default()
        })
    }

    fn task(text: &str, input: &[u8], limits: Limits) -> TaskSpec {
        TaskSpec::new(assemble(text), input, limits).unwrap()
    }

    fn constant(value: u64) -> String {
        format!(
            r#"(module (memory (export "memory") 1)
                (func (export "fog_alloc") (param i32) (result i32) (i32.const 0))
                (func (export "fog_run") (param i32 i32) (result i64)
                    (i64.store (i32.const 0) (i64.const {value})) (i64.const 8)))"#
        )
    }

    /// Calls, floats in registers, growth, bulk memory and bulk table operations: everything at
    /// which the interpreter can be interrupted.
    const BUSY: &str = r#"(module
        (memory (export "memory") 1)
        (table $t 64 funcref)
        (table $u 64 funcref)
        (elem $e func $mix $mix $mix)
        (data $d "0123456789abcdef")
        (func (export "fog_alloc") (param i32) (result i32) (i32.const 256))
        (func $mix (param $x f64) (param $n i32) (result f64)
            (if (result f64) (i32.eqz (local.get $n))
                (then (f64.mul (local.get $x) (f64.const 1.5)))
                (else (f64.add (f64.sqrt (local.get $x))
                               (call $mix (f64.add (local.get $x) (f64.const 0.25))
                                          (i32.sub (local.get $n) (i32.const 1)))))))
        (func (export "fog_run") (param $ptr i32) (param $len i32) (result i64)
            (local $i i32) (local $sum f64) (local $before i32)
            (loop $next
                (local.set $sum (f64.add (local.get $sum)
                    (call $mix (f64.convert_i32_u (local.get $i)) (i32.const 5))))
                (memory.init $d (i32.const 512) (i32.const 0) (i32.const 16))
                (memory.fill (i32.const 1024) (local.get $i) (i32.const 9000))
                (memory.copy (i32.const 20000) (i32.const 1000) (i32.const 9000))
                (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 3))
                (table.copy $u $t (i32.const 8) (i32.const 0) (i32.const 50))
                (table.fill $t (i32.const 1) (ref.null func) (i32.const 60))
                (drop (table.grow $t (ref.null func) (i32.const 1000)))
                (local.set $before (i32.add (local.get $before) (memory.grow (i32.const 1))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (local.get $len))))
            (f64.store (i32.const 0) (local.get $sum))
            (i32.store (i32.const 8) (local.get $before))
            (i32.store (i32.const 12) (i32.load (i32.const 20500)))
            (i64.const 16)))"#;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn slicing_changes_neither_output_nor_fuel(slice in 1_u64..3_000, limit in 1_u64..6_000) {
            let run = |runtime: &WasmRuntime, limits| {
                runtime
                    .run(&task(BUSY, b"12345678", limits))
                    .map(|done| (done.output, done.usage.fuel, done.usage.memory_bytes_peak))
            };
            let limits = Limits::default();
            let whole = run(&with_slice(u64::MAX), limits);
            prop_assert!(whole.is_ok());
            prop_assert_eq!(run(&with_slice(slice), limits), whole);
            let limits = Limits { fuel: limit, ..limits };
            prop_assert_eq!(run(&with_slice(slice), limits), run(&with_slice(u64::MAX), limits));
        }
    }

    #[test]
    fn guest_that_is_interrupted_around_table_growth_computes_the_same() {
        // Found with wasmi 2.0.0: `table.grow` that ran out of fuel was resumed at an earlier
        // instruction, and the sum came out different.
        let text = r#"(module
            (memory (export "memory") 1)
            (table $t 64 funcref)
            (func (export "fog_alloc") (param i32) (result i32) (i32.const 8))
            (func (export "fog_run") (param i32 i32) (result i64)
                (local $sum i64) (local $i i32)
                (loop $next
                    (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 3))
                                             (i64.const 1)))
                    (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u
                        (table.grow $t (ref.null func) (i32.const 1000)))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $next (i32.lt_u (local.get $i) (i32.const 10))))
                (i64.store (i32.const 0) (local.get $sum))
                (i64.const 8)))"#;
        let run = |slice| {
            let done = with_slice(slice)
                .run(&task(text, b"", Limits::default()))
                .unwrap();
            (done.output, done.usage.fuel)
        };
        let whole = run(u64::MAX);
        for slice in [1, 7, 50, 100, 130, 140, 200] {
            assert_eq!(run(slice), whole, "{slice}");
        }
    }

    #[test]
    fn table_growth_in_a_start_function_gives_minus_one_too() {
        let text = r#"(module
            (memory (export "memory") 1)
            (table $t 0 funcref)
            (start $init)
            (func $init (i32.store (i32.const 0) (table.grow $t (ref.null func) (i32.const 1))))
            (func (export "fog_alloc") (param i32) (result i32) (i32.const 8))
            (func (export "fog_run") (param i32 i32) (result i64) (i64.const 4)))"#;
        let runtime = WasmRuntime::new(WasmConfig::default());
        let result = runtime.run(&task(text, b"", Limits::default())).unwrap();
        assert_eq!(result.output, (-1_i32).to_le_bytes());
    }

    #[test]
    fn module_over_a_limit_of_the_engine_is_too_complex() {
        let mut text = constant(1);
        text.truncate(text.rfind(')').unwrap());
        for _ in 0..1_001 {
            text.push_str("(global i32 (i32.const 0))");
        }
        text.push(')');
        let error = WasmRuntime::new(WasmConfig::default())
            .run(&task(&text, b"", Limits::default()))
            .unwrap_err();
        let TaskError::ModuleTooComplex { reason } = error else {
            panic!("{error:?}");
        };
        assert!(reason.as_str().contains("1000 global"), "{reason}");
    }

    #[test]
    fn malformed_module_says_where_and_why() {
        let text = constant(1).replace("(i64.const 8)", "(f32.const 8)");
        let spec = task(&text, b"", Limits::default());
        let error = WasmRuntime::new(WasmConfig::default())
            .run(&spec)
            .unwrap_err();
        let TaskError::MalformedModule { offset, reason } = error else {
            panic!("{error:?}");
        };
        // At the end of the last function, behind which are only names.
        assert!(
            (60..spec.module().len() as u64).contains(&offset),
            "{offset}"
        );
        assert!(reason.as_str().contains("type mismatch"), "{reason}");
    }

    #[test]
    fn cache_is_bounded_and_a_module_that_left_it_runs_all_the_same() {
        let runtime = WasmRuntime::new(WasmConfig {
            cached_modules_max: 2,
            ..WasmConfig::default()
        });
        for value in [1, 2, 3, 1, 2, 3] {
            let result = runtime.run(&task(&constant(value), b"", Limits::default()));
            assert_eq!(result.unwrap().output, value.to_le_bytes());
            assert!(runtime.cached(|cache| cache.len()) <= 2);
        }
        assert!(format!("{runtime:?}").contains("cached_modules: 2"));
    }

    #[test]
    fn refused_modules_do_not_enter_the_cache() {
        let runtime = WasmRuntime::new(WasmConfig::default());
        let spec = TaskSpec::new(b"junk".to_vec(), [], Limits::default()).unwrap();
        runtime.run(&spec).unwrap_err();
        assert_eq!(runtime.cached(|cache| cache.len()), 0);
    }

    #[test]
    fn panic_inside_the_engine_becomes_a_runtime_fault() {
        let result: Result<(), _> = contain_panics(|| panic!("the engine has a bug"));
        assert_eq!(result, Err(TaskError::RuntimeFault));
        assert_eq!(contain_panics(|| Ok(1)), Ok(1));
    }

    #[test]
    fn wall_time_is_what_the_clock_says() {
        #[derive(Default)]
        struct Ticks(AtomicU64);
        impl Clock for Ticks {
            fn now(&self) -> Instant {
                Instant::from_millis(self.0.fetch_add(7, Ordering::Relaxed))
            }
            fn unix_now(&self) -> UnixMillis {
                UnixMillis(0)
            }
        }
        let runtime = WasmRuntime::with_clock(WasmConfig::default(), Arc::new(Ticks::default()));
        let result = runtime
            .run(&task(&constant(1), b"", Limits::default()))
            .unwrap();
        assert_eq!(result.usage.wall, Duration::from_millis(7));
    }
}
