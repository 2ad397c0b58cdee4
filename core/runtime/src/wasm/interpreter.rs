//! Tasks in the interpreter wasmi: one run with its instance, and fuel in slices.

use std::num::NonZeroU64;
use std::sync::Arc;

use fogcompute_exec::{
    AbiExport, Checkpoint, GlobalValue, GuestText, Limits, START_FUEL_MAX, TaskError, TrapKind,
};
use wasmi::errors::{ErrorKind, InstantiationError};
use wasmi::{
    Caller, CompilationMode, Config, EnforcedLimits, Engine, F32, F64, FuncType, Instance, Linker,
    Memory, Module, Store, TrapCode, TypedFunc, TypedResumableCall, Val, ValType, WasmParams,
    WasmResults,
};

use super::calls::Call;
use super::check::{COMMAND, RESUME, Shape, malformed};
use super::guest::{Enter, Guest};
use super::host::Host;
use super::meter::Denial;
use super::unfused::unfused;

/// Deepest nesting of calls. Part of what `wasmi-2` means: a task that needs more traps everywhere.
const CALLS_DEPTH_MAX: usize = 10_000;

/// Largest stack of values, in bytes.
const STACK_BYTES_MAX: usize = 1 << 20;

/// A compiled module with what it imports.
pub(super) struct Compiled {
    module: Module,
    linker: Linker<Host>,
    pub(super) shape: Shape,
    globals: Arc<[String]>,
}

impl Compiled {
    /// Compiles a module of this shape.
    ///
    /// Every module gets its own engine: wasmi's engines keep the code of every module they ever
    /// saw, so with a shared one a dropped module would stay in memory.
    pub(super) fn new(bytes: &[u8], shape: Shape) -> Result<Self, TaskError> {
        let engine = Engine::new(&config());
        let bytes = unfused(bytes).map_err(|error| malformed(&error))?;
        let module = Module::new(&engine, &*bytes).map_err(|error| refusal(&error))?;
        let mut linker = Linker::new(&engine);
        for call in &shape.imports {
            // A module may import one function twice.
            let _ = define(&mut linker, *call);
        }
        Ok(Self {
            module,
            linker,
            globals: shape.globals.clone().into(),
            shape,
        })
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        // The lazy modes charge the first run of a module for translating it, so the fuel of a
        // task would depend on what ran before.
        .compilation_mode(CompilationMode::Eager)
        // Also where these are checked before: what the engine relies on is the engine's.
        .enforced_limits(EnforcedLimits::strict())
        .ignore_custom_sections(true)
        .set_max_recursion_depth(CALLS_DEPTH_MAX)
        .set_max_stack_height(STACK_BYTES_MAX)
        // A stack kept for reuse holds what the last task left on it, and as much memory.
        .set_max_cached_stacks(0)
        // One memory, so that its limit is the limit.
        .wasm_multi_memory(false);
    config
}

/// Why wasmi refused the module.
fn refusal(error: &wasmi::Error) -> TaskError {
    match error.kind() {
        ErrorKind::Wasm(error) => TaskError::MalformedModule {
            offset: error.offset() as u64,
            reason: GuestText::new(error.message()),
        },
        ErrorKind::UserLimits(_)
        | ErrorKind::ImplementationLimits(_)
        | ErrorKind::Translation(_)
        | ErrorKind::Ir(_) => TaskError::ModuleTooComplex {
            reason: GuestText::new(&error.to_string()),
        },
        // Nothing runs while compiling, so no other kind can occur.
        _ => TaskError::RuntimeFault,
    }
}

fn define(linker: &mut Linker<Host>, call: Call) -> Result<(), wasmi::errors::LinkerError> {
    let types = |letters: &str| -> Vec<ValType> {
        let letter = |letter| match letter {
            'i' => ValType::I32,
            'I' => ValType::I64,
            _ => ValType::F64,
        };
        letters.chars().map(letter).collect()
    };
    let (params, results) = call.signature();
    let ty = FuncType::new(types(params), types(results));
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
) -> Result<(), wasmi::Error> {
    let ended = || wasmi::Error::new("the host ended the task");
    let memory = caller
        .get_export(AbiExport::Memory.name())
        .and_then(wasmi::Extern::into_memory)
        .ok_or_else(ended)?;
    if call == Call::CheckpointCompleted {
        let names = Arc::clone(&caller.data().globals);
        let globals = names
            .iter()
            .filter_map(|name| {
                let global = caller.get_export(name)?.into_global()?;
                Some((name.clone(), saved(&global.get(&caller))?))
            })
            .collect();
        let fuel = caller.data().fuel_total.saturating_sub(caller.get_fuel()?);
        let content = memory.data(&caller).to_vec();
        caller.data_mut().keep(content, globals, fuel);
        return Ok(());
    }
    let mut args = [0; 9];
    for (arg, param) in args.iter_mut().zip(params) {
        *arg = match param {
            Val::I32(value) => u64::from(*value as u32),
            Val::I64(value) => *value as u64,
            Val::F64(value) => value.to_bits(),
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
        Val::F32(value) => GlobalValue::F32(value.to_bits()),
        Val::F64(value) => GlobalValue::F64(value.to_bits()),
        _ => return None,
    })
}

/// A fresh instance of a module, and what its task may still use.
///
/// The interpreter gets its fuel in slices. When a slice is used up it pauses, the control is
/// looked at, and the next slice comes out of the reserve. Neither output nor fuel depends on the
/// size of the slices.
pub(super) struct Interpreted {
    store: Store<Host>,
    instance: Instance,
    memory: Memory,
    limits: Limits,
    /// Fuel of the task that the store does not hold yet.
    reserve: u64,
    slice_fuel: u64,
}

impl Interpreted {
    /// Instantiates a module and runs its start function. `used` is the fuel up to a checkpoint.
    pub(super) fn start(
        compiled: &Compiled,
        mut host: Host,
        limits: Limits,
        used: u64,
        slice_fuel: NonZeroU64,
    ) -> Result<Self, TaskError> {
        host.globals = Arc::clone(&compiled.globals);
        host.pacer.begin()?;
        let mut store = Store::new(compiled.module.engine(), host);
        store.limiter(|host| &mut host.meter);
        // wasmi cannot pause a start function, so this slice is all it gets.
        let fuel = limits.fuel.saturating_sub(used);
        let start_fuel = fuel.min(START_FUEL_MAX);
        let limit = if start_fuel == fuel {
            limits.fuel
        } else {
            START_FUEL_MAX
        };
        store.data_mut().fuel_total = used.saturating_add(start_fuel);
        store
            .set_fuel(start_fuel)
            .map_err(|_| TaskError::RuntimeFault)?;
        let instance = compiled
            .linker
            .instantiate_and_start(&mut store, &compiled.module)
            .map_err(|error| failure(&error, &mut store, limits, limit))?;
        // What the start function left goes back, so that the guest proper runs in slices from its
        // first instruction.
        let left = store.get_fuel().map_err(|_| TaskError::RuntimeFault)?;
        store.set_fuel(0).map_err(|_| TaskError::RuntimeFault)?;
        let memory = instance
            .get_memory(&store, AbiExport::Memory.name())
            .ok_or(TaskError::RuntimeFault)?;
        let mut guest = Self {
            store,
            instance,
            memory,
            limits,
            reserve: fuel - start_fuel + left,
            slice_fuel: slice_fuel.get(),
        };
        guest.sum_up();
        Ok(guest)
    }

    /// Fuel used up to now, the start function included.
    pub(super) fn fuel_used(&self) -> Result<u64, TaskError> {
        let held = self.store_fuel()?;
        Ok(self.limits.fuel.saturating_sub(self.reserve + held))
    }

    fn sum_up(&mut self) {
        self.store.data_mut().fuel_total = self.limits.fuel.saturating_sub(self.reserve);
    }

    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        export: &str,
        params: P,
    ) -> Result<R, TaskError> {
        let function: TypedFunc<P, R> = self
            .instance
            .get_typed_func(&self.store, export)
            .map_err(|_| TaskError::RuntimeFault)?;
        self.store.data_mut().pacer.begin()?;
        // Else it would begin with a pause, and a look at the clock.
        self.top_up(self.slice_fuel)?;
        let mut call = function.call_resumable(&mut self.store, params);
        loop {
            call = match call {
                Ok(TypedResumableCall::Finished(result)) => return Ok(result),
                Ok(TypedResumableCall::OutOfFuel(paused)) => {
                    self.store.data_mut().pacer.pace()?;
                    self.refuel(paused.required_fuel())?;
                    paused.resume(&mut self.store)
                }
                Ok(TypedResumableCall::HostTrap(_)) => {
                    let stopped = self.store.data_mut().stopped.take();
                    return Err(stopped.unwrap_or(TaskError::RuntimeFault));
                }
                Err(error) => {
                    let limit = self.limits.fuel;
                    return Err(failure(&error, &mut self.store, self.limits, limit));
                }
            };
        }
    }

    /// Moves a slice from the reserve to the store, more if the next operation needs more.
    fn refuel(&mut self, required: u64) -> Result<(), TaskError> {
        let before = self.store_fuel()?;
        let held = self.top_up(self.slice_fuel.max(required))?;
        if held < required {
            return Err(TaskError::OutOfFuel {
                limit: self.limits.fuel,
            });
        }
        if held == before {
            // The engine paused with enough fuel; resuming would pause again, for ever.
            return Err(TaskError::RuntimeFault);
        }
        Ok(())
    }

    /// Moves fuel from the reserve to the store until that holds `wanted`, or all there is.
    fn top_up(&mut self, wanted: u64) -> Result<u64, TaskError> {
        let held = self.store_fuel()?;
        let added = wanted.saturating_sub(held).min(self.reserve);
        self.reserve -= added;
        self.sum_up();
        self.store
            .set_fuel(held + added)
            .map_err(|_| TaskError::RuntimeFault)?;
        Ok(held + added)
    }

    fn store_fuel(&self) -> Result<u64, TaskError> {
        self.store.get_fuel().map_err(|_| TaskError::RuntimeFault)
    }
}

impl Guest for Interpreted {
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
        let pages = (bytes - self.memory.data_size(&self.store)) >> 16;
        // Growth costs fuel, which belongs to the task and not to its restoration.
        let held = self.store_fuel()?;
        let fault = |_| TaskError::RuntimeFault;
        self.store.set_fuel(u64::MAX).map_err(fault)?;
        let grown = self.memory.grow(&mut self.store, pages as u64);
        self.store.set_fuel(held).map_err(fault)?;
        // Over the module's own maximum nothing grows, which the caller sees.
        match grown.err().and_then(|_| self.store.data().meter.denial()) {
            None => Ok(()),
            Some(Denial::Limit) => Err(TaskError::OutOfMemory {
                limit: self.limits.memory_bytes,
            }),
            Some(Denial::Host) => Err(TaskError::HostOutOfMemory),
        }
    }

    fn set_globals(&mut self, from: &Checkpoint) -> Result<bool, TaskError> {
        for (name, value) in &from.globals {
            let value = match *value {
                GlobalValue::I32(bits) => Val::I32(bits as i32),
                GlobalValue::I64(bits) => Val::I64(bits as i64),
                GlobalValue::F32(bits) => Val::F32(F32::from_bits(bits)),
                GlobalValue::F64(bits) => Val::F64(F64::from_bits(bits)),
            };
            let global = self.instance.get_global(&self.store, name);
            let set = global.map(|global| global.set(&mut self.store, value));
            if !matches!(set, Some(Ok(()))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    fn host(&mut self) -> &mut Host {
        self.store.data_mut()
    }
}

/// What a failed call or instantiation means for the task.
fn failure(
    error: &wasmi::Error,
    store: &mut Store<Host>,
    limits: Limits,
    fuel_limit: u64,
) -> TaskError {
    if let Some(stopped) = store.data_mut().stopped.take() {
        return stopped;
    }
    // The engine has several errors for a denied growth, and the meter knows why it denied it.
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
    if let ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) =
        error.kind()
    {
        return trap(TrapKind::TableOutOfBounds);
    }
    match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => trap(TrapKind::Unreachable),
        Some(TrapCode::MemoryOutOfBounds) => trap(TrapKind::MemoryOutOfBounds),
        Some(TrapCode::TableOutOfBounds) => trap(TrapKind::TableOutOfBounds),
        Some(TrapCode::IndirectCallToNull) => trap(TrapKind::IndirectCallToNull),
        Some(TrapCode::BadSignature) => trap(TrapKind::IndirectCallTypeMismatch),
        Some(TrapCode::IntegerDivisionByZero) => trap(TrapKind::IntegerDivisionByZero),
        Some(TrapCode::IntegerOverflow) => trap(TrapKind::IntegerOverflow),
        Some(TrapCode::BadConversionToInteger) => trap(TrapKind::InvalidConversionToInteger),
        Some(TrapCode::StackOverflow) => trap(TrapKind::StackOverflow),
        Some(TrapCode::OutOfFuel) => TaskError::OutOfFuel { limit: fuel_limit },
        Some(TrapCode::OutOfSystemMemory) => TaskError::HostOutOfMemory,
        // Growth is only limited by the meter, which was asked above.
        Some(TrapCode::GrowthOperationLimited) | None => TaskError::RuntimeFault,
    }
}
