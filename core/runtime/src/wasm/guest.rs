//! One run of one task: instance, fuel in slices, input and output.

use std::num::NonZeroU64;

use fogcompute_exec::{AbiExport, CancelToken, Limits, START_FUEL_MAX, TaskError, TrapKind};
use wasmi::errors::{ErrorKind, InstantiationError};
use wasmi::{
    Instance, Linker, Memory, Module, Store, TrapCode, TypedFunc, TypedResumableCall, WasmParams,
    WasmResults,
};

use super::meter::{Denial, Meter};

/// A fresh instance of a module, and what its task may still use.
///
/// The interpreter gets its fuel in slices. When a slice is used up it pauses, the cancel token is
/// looked at, and the next slice comes out of the reserve. Neither output nor fuel depends on the
/// size of the slices.
pub(super) struct Guest<'a> {
    store: Store<Meter>,
    instance: Instance,
    memory: Memory,
    limits: Limits,
    /// Fuel of the task that the store does not hold yet.
    reserve: u64,
    slice_fuel: u64,
    cancel: &'a CancelToken,
}

impl<'a> Guest<'a> {
    /// Instantiates a module that `compile` accepted, and runs its start function.
    pub(super) fn start(
        module: &Module,
        limits: Limits,
        slice_fuel: NonZeroU64,
        cancel: &'a CancelToken,
    ) -> Result<Self, TaskError> {
        let mut store = Store::new(module.engine(), Meter::new(limits.memory_bytes));
        store.limiter(|meter| meter);
        // wasmi cannot pause a start function, so this slice is all it gets.
        let start_fuel = limits.fuel.min(START_FUEL_MAX);
        store
            .set_fuel(start_fuel)
            .map_err(|_| TaskError::RuntimeFault)?;
        let instance = Linker::new(module.engine())
            .instantiate_and_start(&mut store, module)
            .map_err(|error| failure(&error, &store, limits, start_fuel))?;
        // What the start function left goes back, so that the guest proper runs in slices from its
        // first instruction.
        let left = store.get_fuel().map_err(|_| TaskError::RuntimeFault)?;
        store.set_fuel(0).map_err(|_| TaskError::RuntimeFault)?;
        let memory = instance
            .get_memory(&store, AbiExport::Memory.name())
            .ok_or(TaskError::RuntimeFault)?;
        Ok(Self {
            store,
            instance,
            memory,
            limits,
            reserve: limits.fuel - start_fuel + left,
            slice_fuel: slice_fuel.get(),
            cancel,
        })
    }

    /// Passes the input, runs the task and takes its output.
    pub(super) fn run(&mut self, input: &[u8]) -> Result<Vec<u8>, TaskError> {
        let len = u32::try_from(input.len()).map_err(|_| TaskError::RuntimeFault)?;
        let ptr = self.call::<u32, u32>(AbiExport::Alloc, len)?;
        let memory_bytes = self.memory.data_size(&self.store) as u64;
        self.memory
            .data_mut(&mut self.store)
            .get_mut(ptr as usize..)
            .and_then(|free| free.get_mut(..input.len()))
            .ok_or(TaskError::InputOutsideMemory {
                ptr,
                len,
                memory_bytes,
            })?
            .copy_from_slice(input);

        let range = self.call::<(u32, u32), u64>(AbiExport::Run, (ptr, len))?;
        let (ptr, len) = ((range >> 32) as u32, range as u32);
        // First, so that the guest cannot make the host look at more than the task may return.
        if u64::from(len) > self.limits.output_bytes {
            return Err(TaskError::OutputTooLarge {
                actual: len.into(),
                limit: self.limits.output_bytes,
            });
        }
        let data = self.memory.data(&self.store);
        data.get(ptr as usize..)
            .and_then(|rest| rest.get(..len as usize))
            .map(<[u8]>::to_vec)
            .ok_or(TaskError::OutputOutsideMemory {
                ptr,
                len,
                memory_bytes: data.len() as u64,
            })
    }

    /// Fuel used up to now, the start function included.
    pub(super) fn fuel_used(&self) -> Result<u64, TaskError> {
        let held = self.store_fuel()?;
        Ok(self.limits.fuel - self.reserve - held)
    }

    /// Most memory held at once.
    pub(super) fn memory_bytes_peak(&self) -> u64 {
        self.store.data().peak()
    }

    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        export: AbiExport,
        params: P,
    ) -> Result<R, TaskError> {
        let function: TypedFunc<P, R> = self
            .instance
            .get_typed_func(&self.store, export.name())
            .map_err(|_| TaskError::RuntimeFault)?;
        self.check_cancelled()?;
        let mut call = function.call_resumable(&mut self.store, params);
        loop {
            call = match call {
                Ok(TypedResumableCall::Finished(result)) => return Ok(result),
                Ok(TypedResumableCall::OutOfFuel(paused)) => {
                    self.check_cancelled()?;
                    self.refuel(paused.required_fuel())?;
                    paused.resume(&mut self.store)
                }
                // There are no host functions that could trap.
                Ok(TypedResumableCall::HostTrap(_)) => return Err(TaskError::RuntimeFault),
                Err(error) => {
                    return Err(failure(&error, &self.store, self.limits, self.limits.fuel));
                }
            };
        }
    }

    fn check_cancelled(&self) -> Result<(), TaskError> {
        if self.cancel.is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        Ok(())
    }

    /// Moves a slice from the reserve to the store, more if the next operation needs more.
    fn refuel(&mut self, required: u64) -> Result<(), TaskError> {
        let held = self.store_fuel()?;
        let added = self
            .slice_fuel
            .max(required)
            .saturating_sub(held)
            .min(self.reserve);
        if held + added < required {
            return Err(TaskError::OutOfFuel {
                limit: self.limits.fuel,
            });
        }
        if added == 0 {
            // The engine paused with enough fuel; resuming would pause again, for ever.
            return Err(TaskError::RuntimeFault);
        }
        self.reserve -= added;
        self.store
            .set_fuel(held + added)
            .map_err(|_| TaskError::RuntimeFault)
    }

    fn store_fuel(&self) -> Result<u64, TaskError> {
        self.store.get_fuel().map_err(|_| TaskError::RuntimeFault)
    }
}

/// What a failed call or instantiation means for the task.
fn failure(
    error: &wasmi::Error,
    store: &Store<Meter>,
    limits: Limits,
    fuel_limit: u64,
) -> TaskError {
    // The engine has several errors for a denied growth, and the meter knows why it denied it.
    match store.data().denial() {
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
