//! Tasks in machine code that wasmtime makes: engines, instances, and the clock that interrupts them.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use fogcompute_base::{Clock, SystemClock};
use fogcompute_exec::{
    AbiExport, Checkpoint, Feature, GlobalValue, GuestText, Limits, Runtime, START_FUEL_MAX,
    Session, TaskError, TaskOutput, TaskSpec, TrapKind, Usage,
};
use thiserror::Error;
use wasmtime::{
    CacheStore, Caller, Config, Engine, EngineWeak, Extern, FuncType, Global, Instance,
    InstanceAllocationStrategy, InstancePre, Linker, Memory, Module, PoolingAllocationConfig,
    ResourceLimiter, Store, Trap, UpdateDeadline, Val, ValType, WasmParams, WasmResults,
};

use super::cache::ModuleCache;
use super::calls::{self, Call};
use super::check::{COMMAND, RESUME, Shape, check};
use super::code::{BlobError, CodeCache, CodeCacheConfig, Recorder};
use super::guest::{Enter, Guest, drive};
use super::host::Host;
use super::meter::{Denial, Meter};
use super::{contain_panics, host_of};
use crate::task_thread::{TASK_STACK_BYTES, is_for_tasks};

/// Between two looks at the control of a running task.
const EPOCH: Duration = Duration::from_millis(5);

/// Largest stack of a guest, in bytes: as much as the interpreter gives its values.
const STACK_BYTES_MAX: usize = 1 << 20;

/// Fuel beyond a task's limit: code looks at its fuel at loops and calls only, and a module's longest
/// stretch without either is bounded by the module's length.
const FUEL_SLACK: u64 = 1 << 24;

/// Largest table that a pooled instance may have, in elements.
const POOLED_ELEMENTS: usize = 10_000;

/// Whether work is counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Metering {
    /// In fuel, about a third slower: for tasks that are paid by it.
    #[default]
    Fuel,
    /// Not at all: tasks need a time limit, and report no fuel.
    TimeOnly,
}

/// How a [`WasmtimeRuntime`] uses its host. But for `metering`, nothing here changes the result of a
/// task.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WasmtimeConfig {
    /// Whether work is counted.
    pub metering: Metering,
    /// Compiled modules kept for the next task. 0 compiles every time.
    pub cached_modules_max: usize,
    /// Modules kept, in bytes before compiling. Compiled they take several times as much.
    pub cached_module_bytes_max: usize,
    /// Machine code of single functions kept in memory, in bytes.
    pub code_bytes_max: usize,
    /// Machine code kept on disk.
    pub code_cache: Option<CodeCacheConfig>,
    /// Ed25519 keys whose compiled code is taken.
    pub trusted_signers: BTreeSet<[u8; 32]>,
    /// Instances whose memory is set aside beforehand, which makes starting one cheaper. Tasks beyond
    /// this number wait. 0 makes each anew. Takes 4 GiB of addresses each, and no memory.
    pub pooled_instances: u32,
}

impl Default for WasmtimeConfig {
    /// Fuel; 64 modules of together 4 MiB; 16 MiB of code, nothing on disk; nobody trusted; 32 pooled
    /// instances, none where addresses have 32 bits.
    fn default() -> Self {
        Self {
            metering: Metering::Fuel,
            cached_modules_max: 64,
            cached_module_bytes_max: 4 << 20,
            code_bytes_max: 16 << 20,
            code_cache: None,
            trusted_signers: BTreeSet::new(),
            pooled_instances: if cfg!(target_pointer_width = "64") {
                32
            } else {
                0
            },
        }
    }
}

/// Why there is no [`WasmtimeRuntime`].
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum WasmtimeError {
    /// The compiler does not know this processor, or the system does not give it addresses. Use
    /// [`WasmRuntime`](crate::WasmRuntime), or fewer pooled instances.
    #[error("wasmtime does not work here: {reason}")]
    Engine {
        /// What the engine says.
        reason: GuestText,
    },
    /// The directory of the code cache cannot be made.
    #[error("code cache: {0}")]
    CodeCache(#[from] io::Error),
    /// The thread that interrupts tasks cannot be started.
    #[error("thread: {0}")]
    Thread(#[source] io::Error),
}

fn engine_error(error: &wasmtime::Error) -> WasmtimeError {
    WasmtimeError::Engine {
        reason: GuestText::new(&format!("{error:#}")),
    }
}

/// Runs tasks in machine code that the compiler of wasmtime makes of them: near the speed of native
/// code, for hosts that may make memory executable.
///
/// Every run has its own instance and store; only compiled code is shared. A run has a thread of its
/// own for the guest's stack.
pub struct WasmtimeRuntime {
    metering: Metering,
    pooled: Option<(Flavour, Slots)>,
    /// For modules that do not fit a pooled instance.
    fresh: Flavour,
    modules: Mutex<ModuleCache<Arc<Compiled>>>,
    code: Arc<CodeCache>,
    trusted_signers: Vec<[u8; 32]>,
    ticker: Ticker,
    clock: Arc<dyn Clock>,
}

/// An engine and what its guests may import.
struct Flavour {
    engine: Engine,
    linker: Linker<Host>,
}

struct Compiled {
    instance: InstancePre<Host>,
    shape: Shape,
    globals: Arc<[String]>,
    is_pooled: bool,
}

impl Flavour {
    fn new(config: &Config) -> Result<Self, wasmtime::Error> {
        let engine = Engine::new(config)?;
        let mut linker = Linker::new(&engine);
        for call in calls::all() {
            define(&mut linker, &engine, call)?;
        }
        Ok(Self { engine, linker })
    }
}

fn config(metering: Metering, code: Arc<dyn CacheStore>) -> Result<Config, wasmtime::Error> {
    let mut config = Config::new();
    config
        .enable_incremental_compilation(code)?
        .consume_fuel(metering == Metering::Fuel)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        // Nobody looks at them, and making them takes time.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        // What the check before lets pass is a part of these; the rest stays off here too.
        .wasm_simd(false)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_tail_call(true)
        .wasm_extended_const(true)
        .concurrency_support(false);
    Ok(config)
}

fn define(linker: &mut Linker<Host>, engine: &Engine, call: Call) -> Result<(), wasmtime::Error> {
    let types = |letters: &str| -> Vec<ValType> {
        let letter = |letter| match letter {
            'i' => ValType::I32,
            'I' => ValType::I64,
            _ => ValType::F64,
        };
        letters.chars().map(letter).collect()
    };
    let (params, results) = call.signature();
    let ty = FuncType::new(engine, types(params), types(results));
    linker.func_new(
        call.module(),
        call.name(),
        ty,
        move |caller, params, results| host_call(caller, call, params, results),
    )?;
    Ok(())
}

fn host_call(
    mut caller: Caller<'_, Host>,
    call: Call,
    params: &[Val],
    results: &mut [Val],
) -> Result<(), wasmtime::Error> {
    let ended = || wasmtime::Error::msg("the host ended the task");
    let memory = caller
        .get_export(AbiExport::Memory.name())
        .and_then(Extern::into_memory)
        .ok_or_else(ended)?;
    if call == Call::CheckpointCompleted {
        let names = Arc::clone(&caller.data().globals);
        let mut globals = Vec::new();
        for name in names.iter() {
            let global = caller.get_export(name).and_then(Extern::into_global);
            let value = global.map(|global| global.get(&mut caller));
            if let Some(value) = value.as_ref().and_then(saved) {
                globals.push((name.clone(), value));
            }
        }
        // Without metering there is no fuel to read.
        let held = caller.get_fuel().unwrap_or(caller.data().fuel_total);
        let fuel = caller.data().fuel_total.saturating_sub(held);
        let content = memory.data(&caller).to_vec();
        caller.data_mut().keep(content, globals, fuel);
        return Ok(());
    }
    let mut args = [0; 9];
    for (arg, param) in args.iter_mut().zip(params) {
        *arg = match param {
            Val::I32(value) => u64::from(*value as u32),
            Val::I64(value) => *value as u64,
            Val::F64(bits) => *bits,
            _ => return Err(ended()),
        };
    }
    let (memory, host) = memory.data_and_store_mut(&mut caller);
    match host.call(call, memory, &args[..params.len()]) {
        Ok(result) => {
            if let (Some(place), Some(result)) = (results.first_mut(), result) {
                *place = Val::I32(result as i32);
            }
            Ok(())
        }
        Err(error) => {
            host.stopped = Some(error);
            Err(ended())
        }
    }
}

fn saved(value: &Val) -> Option<GlobalValue> {
    Some(match value {
        Val::I32(value) => GlobalValue::I32(*value as u32),
        Val::I64(value) => GlobalValue::I64(*value as u64),
        Val::F32(bits) => GlobalValue::F32(*bits),
        Val::F64(bits) => GlobalValue::F64(*bits),
        _ => return None,
    })
}

/// Wasmtime's names for the same questions.
impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.count(desired.saturating_sub(current))
            .map(|()| true)
            .map_err(|_| wasmtime::Error::msg("the task's memory limit"))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<(), wasmtime::Error> {
        // Over 4 GiB, which was not asked above and is no fault of the device.
        if error.to_string().contains("memory type's limits") {
            return Ok(());
        }
        self.host_has_no_more();
        Err(error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        let Some(left) = self.tables_left.checked_sub(1) else {
            // Tables keep the size they are declared with.
            return Ok(false);
        };
        self.tables_left = left;
        self.count_elements(desired.saturating_sub(current))
            .map(|()| true)
            .map_err(|_| wasmtime::Error::msg("the task's memory limit"))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> Result<(), wasmtime::Error> {
        // Growth is refused above and never tried.
        Ok(())
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        usize::MAX
    }

    fn memories(&self) -> usize {
        1
    }
}

impl WasmtimeRuntime {
    /// A runtime that measures wall time with the machine's clock.
    ///
    /// # Errors
    /// [`WasmtimeError`].
    pub fn new(config: &WasmtimeConfig) -> Result<Self, WasmtimeError> {
        Self::with_clock(config, Arc::new(SystemClock::new()))
    }

    /// A runtime that measures wall time with `clock`.
    ///
    /// # Errors
    /// [`WasmtimeError`].
    pub fn with_clock(
        options: &WasmtimeConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WasmtimeError> {
        let disk = options.code_cache.clone();
        let code = Arc::new(CodeCache::new(options.code_bytes_max, disk)?);
        let refused = |error| engine_error(&error);
        let mut settings =
            config(options.metering, Arc::<CodeCache>::clone(&code)).map_err(refused)?;
        let fresh = Flavour::new(&settings).map_err(refused)?;
        let pooled = if options.pooled_instances == 0 {
            None
        } else {
            let mut pool = PoolingAllocationConfig::default();
            pool.total_core_instances(options.pooled_instances)
                .total_memories(options.pooled_instances)
                .total_tables(options.pooled_instances)
                .max_memories_per_module(1)
                .max_tables_per_module(1)
                .table_elements(POOLED_ELEMENTS)
                .max_memory_size(1 << 32)
                // Cleared by hand, which is cheaper than giving a few pages back.
                .linear_memory_keep_resident(64 << 10);
            settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
            let flavour = Flavour::new(&settings).map_err(refused)?;
            Some((flavour, Slots::new(options.pooled_instances)))
        };
        let engines = [Some(&fresh), pooled.as_ref().map(|(flavour, _)| flavour)];
        let engines = engines.into_iter().flatten();
        let ticker = Ticker::start(engines.map(|flavour| flavour.engine.weak()).collect())
            .map_err(WasmtimeError::Thread)?;
        Ok(Self {
            metering: options.metering,
            pooled,
            fresh,
            modules: Mutex::new(ModuleCache::new(
                options.cached_modules_max,
                options.cached_module_bytes_max,
            )),
            code,
            trusted_signers: options.trusted_signers.iter().copied().collect(),
            ticker,
            clock,
        })
    }

    /// Compiles a module and signs the machine code, for nodes of the same build that trust the key
    /// of `signer`.
    ///
    /// # Errors
    /// [`BlobError::Module`].
    pub fn compile_ahead(&self, module: &[u8], signer: &SigningKey) -> Result<Vec<u8>, BlobError> {
        let recorder = Arc::new(Recorder::default());
        check(module)?;
        on_own_stack(|| {
            let code: Arc<dyn CacheStore> = Arc::<Recorder>::clone(&recorder);
            let engine = config(self.metering, code).and_then(|config| Engine::new(&config));
            engine
                .and_then(|engine| Module::new(&engine, module))
                .map_err(|error| refusal(&error))
        })?;
        Ok(recorder.sign(signer))
    }

    /// Takes machine code that [`WasmtimeRuntime::compile_ahead`] made elsewhere: its modules compile
    /// in less time from now on.
    ///
    /// # Errors
    /// [`BlobError`]. Nothing of a blob that no trusted key signed is read.
    pub fn accept_compiled(&self, blob: &[u8]) -> Result<(), BlobError> {
        self.code.accept(blob, &self.trusted_signers)
    }

    fn modules<T>(&self, use_cache: impl FnOnce(&mut ModuleCache<Arc<Compiled>>) -> T) -> T {
        use_cache(&mut self.modules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn module(&self, spec: &TaskSpec, resume: bool) -> Result<Arc<Compiled>, TaskError> {
        let digest = spec.module_digest();
        if let Some(module) = self.modules(|cache| cache.find(digest)) {
            return Ok(module);
        }
        let shape = check(spec.module())?;
        // What cannot run need not be compiled.
        shape.entry(spec.grants(), resume)?;
        let fits = shape.tables <= 1 && shape.table_elements_max <= POOLED_ELEMENTS as u64;
        let pooled = self.pooled.as_ref().filter(|_| fits);
        let flavour = pooled.map_or(&self.fresh, |(flavour, _)| flavour);
        let module = Module::new(&flavour.engine, &**spec.module());
        let module = module.map_err(|error| refusal(&error))?;
        let instance = flavour.linker.instantiate_pre(&module);
        let module = Arc::new(Compiled {
            instance: instance.map_err(|_| TaskError::RuntimeFault)?,
            globals: shape.globals.clone().into(),
            shape,
            is_pooled: pooled.is_some(),
        });
        self.modules(|cache| cache.insert(digest, spec.module().len(), Arc::clone(&module)));
        Ok(module)
    }

    fn run_session(&self, spec: &TaskSpec, session: &Session) -> Result<TaskOutput, TaskError> {
        let start = self.clock.now();
        if session.control.is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        let limits = spec.limits();
        if self.metering == Metering::TimeOnly && limits.wall.is_none() {
            return Err(TaskError::Unsupported {
                feature: Feature::NoTimeLimit,
            });
        }
        let module = self.module(spec, session.from.is_some())?;
        let entry = module.shape.entry(spec.grants(), session.from.is_some())?;
        let mut host = host_of(spec, session, entry, &self.clock, start)?;
        host.meter.tables_left = module.shape.tables;
        host.globals = Arc::clone(&module.globals);
        host.pacer.begin()?;
        let _slot = match &self.pooled {
            Some((_, slots)) if module.is_pooled => Some(slots.take(session)?),
            _ => None,
        };
        let _ticks = self.ticker.ticks();
        let used = session.from.as_ref().map_or(0, |from| from.fuel);
        let metered = self.metering == Metering::Fuel;
        let mut run = Run {
            limits,
            used,
            metered,
            given: 0,
        };
        let mut store = Store::new(module.instance.module().engine(), host);
        let result = run
            .start(&module, &mut store)
            .and_then(|(instance, memory)| {
                let mut guest = Native {
                    store: &mut store,
                    instance,
                    memory,
                    run: &run,
                };
                drive(&mut guest, entry, spec, session.from.as_ref())
            });
        store.data_mut().finish();
        // Code may run on a little behind its limit, and whatever it does there does not count.
        let fuel = run.fuel_used(&store);
        if metered && fuel > run.limit() {
            return Err(TaskError::OutOfFuel { limit: run.limit() });
        }
        Ok(TaskOutput {
            output: result?,
            usage: Usage {
                fuel,
                memory_bytes_peak: store.data().meter.peak(),
                wall: self.clock.now().duration_since(start),
            },
        })
    }
}

impl Runtime for WasmtimeRuntime {
    fn name(&self) -> &'static str {
        // What an operator costs may change with the major version.
        match self.metering {
            Metering::Fuel => "wasmtime-48",
            Metering::TimeOnly => "wasmtime-48-unmetered",
        }
    }

    fn execute(&self, spec: &TaskSpec, session: &Session) -> Result<TaskOutput, TaskError> {
        on_own_stack(|| contain_panics(|| self.run_session(spec, session))).inspect_err(|error| {
            if matches!(error, TaskError::RuntimeFault) {
                self.modules(|cache| cache.remove(spec.module_digest()));
            }
        })
    }
}

impl fmt::Debug for WasmtimeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmtimeRuntime")
            .field("metering", &self.metering)
            .field("cached_modules", &self.modules(|cache| cache.len()))
            .field("is_pooled", &self.pooled.is_some())
            .finish_non_exhaustive()
    }
}

/// Runs `work` on a thread whose stack is large enough for a guest and for the compiler, so that it does
/// not matter whose call it is.
fn on_own_stack<T: Send>(
    work: impl FnOnce() -> Result<T, TaskError> + Send,
) -> Result<T, TaskError> {
    if is_for_tasks() {
        return work();
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("fog-task".to_owned())
            .stack_size(TASK_STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|_| TaskError::HostOutOfMemory)?;
        thread.join().unwrap_or(Err(TaskError::RuntimeFault))
    })
}

/// Why wasmtime refused a module that passed the check.
fn refusal(error: &wasmtime::Error) -> TaskError {
    TaskError::ModuleTooComplex {
        reason: GuestText::new(&format!("{error:#}")),
    }
}

/// Fuel of one run.
struct Run {
    limits: Limits,
    /// Before the checkpoint it goes on from.
    used: u64,
    metered: bool,
    /// What the store was given.
    given: u64,
}

impl Run {
    fn start(
        &mut self,
        module: &Compiled,
        store: &mut Store<Host>,
    ) -> Result<(Instance, Memory), TaskError> {
        store.limiter(|host| &mut host.meter);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| match store.data_mut().pacer.pace() {
            Ok(()) => Ok(UpdateDeadline::Continue(1)),
            Err(error) => {
                store.data_mut().stopped = Some(error);
                Ok(UpdateDeadline::Interrupt)
            }
        });
        let fuel = self.limits.fuel.saturating_sub(self.used);
        // As much as in an engine that cannot interrupt a start function.
        let start_fuel = fuel.min(START_FUEL_MAX);
        self.give(store, start_fuel.saturating_add(FUEL_SLACK))?;
        let started = module.instance.instantiate(&mut *store);
        let spent = self.fuel_used(store) - self.used;
        if self.metered && spent > start_fuel {
            let limit = if start_fuel == fuel {
                self.limits.fuel
            } else {
                START_FUEL_MAX
            };
            return Err(TaskError::OutOfFuel { limit });
        }
        let instance = started.map_err(|error| failure(&error, store, self.limits))?;
        self.give(store, fuel.saturating_add(FUEL_SLACK) - spent)?;
        self.given = self.given.saturating_add(spent);
        store.data_mut().fuel_total = self.used.saturating_add(self.given);
        let memory = instance
            .get_memory(&mut *store, AbiExport::Memory.name())
            .ok_or(TaskError::RuntimeFault)?;
        Ok((instance, memory))
    }

    fn give(&mut self, store: &mut Store<Host>, fuel: u64) -> Result<(), TaskError> {
        if self.metered {
            store.set_fuel(fuel).map_err(|_| TaskError::RuntimeFault)?;
            self.given = fuel;
            store.data_mut().fuel_total = self.used.saturating_add(fuel);
        }
        Ok(())
    }

    fn fuel_used(&self, store: &Store<Host>) -> u64 {
        let held = store.get_fuel().unwrap_or(self.given);
        self.used.saturating_add(self.given.saturating_sub(held))
    }

    const fn limit(&self) -> u64 {
        self.limits.fuel
    }
}

/// A fresh instance.
struct Native<'a> {
    store: &'a mut Store<Host>,
    instance: Instance,
    memory: Memory,
    run: &'a Run,
}

impl Native<'_> {
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        export: &str,
        params: P,
    ) -> Result<R, TaskError> {
        let function = self
            .instance
            .get_typed_func::<P, R>(&mut *self.store, export);
        let function = function.map_err(|_| TaskError::RuntimeFault)?;
        self.store.data_mut().pacer.begin()?;
        function
            .call(&mut *self.store, params)
            .map_err(|error| failure(&error, self.store, self.run.limits))
    }

    fn global(&mut self, name: &str) -> Option<Global> {
        self.instance.get_global(&mut *self.store, name)
    }
}

impl Guest for Native<'_> {
    fn enter(&mut self, enter: Enter) -> Result<u64, TaskError> {
        match enter {
            Enter::Alloc(len) => self
                .call::<u32, u32>(AbiExport::Alloc.name(), len)
                .map(u64::from),
            Enter::Run(ptr, len) => self.call(AbiExport::Run.name(), (ptr, len)),
            Enter::Resume => self.call(RESUME, ()),
            Enter::Command => self.call::<(), ()>(COMMAND, ()).map(|()| 0),
        }
    }

    fn grow_to(&mut self, bytes: usize) -> Result<(), TaskError> {
        let pages = (bytes - self.memory.data_size(&*self.store)) >> 16;
        let grown = self.memory.grow(&mut *self.store, pages as u64);
        // Over the module's own maximum nothing grows, which the caller sees.
        match grown.err().and_then(|_| self.store.data().meter.denial()) {
            None => Ok(()),
            Some(Denial::Limit) => Err(TaskError::OutOfMemory {
                limit: self.run.limits.memory_bytes,
            }),
            Some(Denial::Host) => Err(TaskError::HostOutOfMemory),
        }
    }

    fn set_globals(&mut self, from: &Checkpoint) -> Result<bool, TaskError> {
        for (name, value) in &from.globals {
            let value = match *value {
                GlobalValue::I32(bits) => Val::I32(bits as i32),
                GlobalValue::I64(bits) => Val::I64(bits as i64),
                GlobalValue::F32(bits) => Val::F32(bits),
                GlobalValue::F64(bits) => Val::F64(bits),
            };
            let set = self
                .global(name)
                .map(|global| global.set(&mut *self.store, value));
            if !matches!(set, Some(Ok(()))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut *self.store)
    }

    fn host(&mut self) -> &mut Host {
        self.store.data_mut()
    }
}

/// What a failed call or instantiation means for the task.
fn failure(error: &wasmtime::Error, store: &mut Store<Host>, limits: Limits) -> TaskError {
    if let Some(stopped) = store.data_mut().stopped.take() {
        return stopped;
    }
    match store.data().meter.denial() {
        Some(Denial::Limit) => {
            return TaskError::OutOfMemory {
                limit: limits.memory_bytes,
            };
        }
        Some(Denial::Host) => return TaskError::HostOutOfMemory,
        None => {}
    }
    let trap = |kind| TaskError::Trap { kind };
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => trap(TrapKind::Unreachable),
        Some(Trap::MemoryOutOfBounds) => trap(TrapKind::MemoryOutOfBounds),
        Some(Trap::TableOutOfBounds) => trap(TrapKind::TableOutOfBounds),
        Some(Trap::IndirectCallToNull) => trap(TrapKind::IndirectCallToNull),
        Some(Trap::BadSignature) => trap(TrapKind::IndirectCallTypeMismatch),
        Some(Trap::IntegerDivisionByZero) => trap(TrapKind::IntegerDivisionByZero),
        Some(Trap::IntegerOverflow) => trap(TrapKind::IntegerOverflow),
        Some(Trap::BadConversionToInteger) => trap(TrapKind::InvalidConversionToInteger),
        Some(Trap::StackOverflow) => trap(TrapKind::StackOverflow),
        Some(Trap::OutOfFuel) => TaskError::OutOfFuel { limit: limits.fuel },
        _ => TaskError::RuntimeFault,
    }
}

/// Places for pooled instances.
struct Slots {
    free: Mutex<u32>,
    freed: Condvar,
}

struct Slot<'a>(&'a Slots);

impl Slots {
    fn new(count: u32) -> Self {
        Self {
            free: Mutex::new(count),
            freed: Condvar::new(),
        }
    }

    /// Waits for a place, or for the session to be cancelled.
    fn take(&self, session: &Session) -> Result<Slot<'_>, TaskError> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            if session.control.is_cancelled() {
                return Err(TaskError::Cancelled);
            }
            let wait = self.freed.wait_timeout(free, Duration::from_millis(50));
            free = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Ok(Slot(self))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// Interrupts running guests every `EPOCH`. Sleeps while there are none.
struct Ticker {
    state: Arc<(Mutex<Ticks>, Condvar)>,
    thread: OnceLock<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Ticks {
    running: u32,
    is_over: bool,
}

/// While it lives, guests are interrupted.
struct Ticking<'a>(&'a Ticker);

impl Ticker {
    fn start(engines: Vec<EngineWeak>) -> io::Result<Self> {
        let state = Arc::new((Mutex::new(Ticks::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        let thread = thread::Builder::new()
            .name("fog-epoch".to_owned())
            .spawn(move || {
                let (ticks, changed) = &*shared;
                let mut ticks = ticks.lock().unwrap_or_else(PoisonError::into_inner);
                while !ticks.is_over {
                    if ticks.running == 0 {
                        ticks = changed.wait(ticks).unwrap_or_else(PoisonError::into_inner);
                        continue;
                    }
                    let waited = changed.wait_timeout(ticks, EPOCH);
                    ticks = waited.unwrap_or_else(PoisonError::into_inner).0;
                    for engine in engines.iter().filter_map(EngineWeak::upgrade) {
                        engine.increment_epoch();
                    }
                }
            })?;
        Ok(Self {
            state,
            thread: OnceLock::from(thread),
        })
    }

    fn change(&self, change: impl FnOnce(&mut Ticks)) {
        change(&mut self.state.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.state.1.notify_one();
    }

    fn ticks(&self) -> Ticking<'_> {
        let mut ticks = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        ticks.running += 1;
        let is_first = ticks.running == 1;
        drop(ticks);
        if is_first {
            self.state.1.notify_one();
        }
        Ticking(self)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        // Without waking the thread: it notices at its next tick.
        let mut ticks = self
            .0
            .state
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ticks.running -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.change(|ticks| ticks.is_over = true);
        if let Some(thread) = self.thread.take() {
            // It does nothing that panics.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_exec::conformance::assemble;
    use std::fs;

    fn runtime(config: &WasmtimeConfig) -> WasmtimeRuntime {
        WasmtimeRuntime::new(config).unwrap()
    }

    fogcompute_exec::runtime_conformance!(runtime(&WasmtimeConfig::default()));

    /// The suite again with every instance made anew, and nothing kept.
    mod fresh {
        use super::*;

        fogcompute_exec::runtime_conformance!(runtime(&WasmtimeConfig {
            cached_modules_max: 0,
            code_bytes_max: 0,
            pooled_instances: 0,
            ..WasmtimeConfig::default()
        }));
    }

    const SUM: &[u8] = include_bytes!("../../../../examples/wasm/sum.wasm");

    fn sum(runtime: &WasmtimeRuntime, limits: Limits) -> Result<TaskOutput, TaskError> {
        runtime.run(&TaskSpec::new(SUM, [1, 2, 39], limits).unwrap())
    }

    #[test]
    fn unmetered_runtime_needs_a_time_limit_and_reports_no_fuel() {
        let runtime = runtime(&WasmtimeConfig {
            metering: Metering::TimeOnly,
            ..WasmtimeConfig::default()
        });
        let feature = Feature::NoTimeLimit;
        assert_eq!(
            sum(&runtime, Limits::default()),
            Err(TaskError::Unsupported { feature })
        );
        let limits = Limits {
            wall: Some(Duration::from_secs(60)),
            fuel: 1,
            ..Limits::default()
        };
        let done = sum(&runtime, limits).unwrap();
        assert_eq!(done.output, 42_u64.to_le_bytes());
        assert_eq!(done.usage.fuel, 0);
        let endless = assemble(
            r#"(module (memory (export "memory") 1)
                (func (export "fog_alloc") (param i32) (result i32) (i32.const 0))
                (func (export "fog_run") (param i32 i32) (result i64)
                    (loop $l (br $l)) (unreachable)))"#,
        );
        let limits = Limits {
            wall: Some(Duration::from_millis(20)),
            ..limits
        };
        let spec = TaskSpec::new(endless, [], limits).unwrap();
        assert_eq!(
            runtime.run(&spec),
            Err(TaskError::TimedOut { limit_ms: 20 })
        );
    }

    #[test]
    fn code_on_disk_is_used_again_and_not_if_it_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        let config = WasmtimeConfig {
            code_cache: Some(CodeCacheConfig {
                dir: dir.path().to_owned(),
                bytes_max: 1 << 20,
                key: [5; 32],
            }),
            ..WasmtimeConfig::default()
        };
        let names = || -> Vec<_> {
            let entries = fs::read_dir(dir.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
            names.sort();
            names
        };
        let first = sum(&runtime(&config), Limits::default()).unwrap();
        let written = names();
        assert!(!written.is_empty());
        let again = sum(&runtime(&config), Limits::default()).unwrap();
        assert_eq!(
            (again.output, again.usage.fuel),
            (first.output.clone(), first.usage.fuel)
        );
        assert_eq!(names(), written);
        for path in &written {
            let mut bytes = fs::read(path).unwrap();
            for byte in &mut bytes {
                *byte ^= 0x55;
            }
            fs::write(path, bytes).unwrap();
        }
        assert_eq!(
            sum(&runtime(&config), Limits::default()).unwrap().output,
            first.output
        );
    }

    #[test]
    fn compiled_code_is_taken_from_trusted_signers_only() {
        let signer = SigningKey::from_bytes(&[9; 32]);
        let blob = runtime(&WasmtimeConfig::default())
            .compile_ahead(SUM, &signer)
            .unwrap();
        let stranger = runtime(&WasmtimeConfig::default());
        assert_eq!(stranger.accept_compiled(&blob), Err(BlobError::Untrusted));
        let friend = runtime(&WasmtimeConfig {
            trusted_signers: BTreeSet::from([signer.verifying_key().to_bytes()]),
            ..WasmtimeConfig::default()
        });
        assert_eq!(friend.accept_compiled(&blob), Ok(()));
        assert_eq!(
            sum(&friend, Limits::default()).unwrap().output,
            42_u64.to_le_bytes()
        );
    }
}
