use std::ffi::{c_char, c_void};
use std::ptr;
use std::time::Duration;

use fogcompute::{Fog, FogCanceller, FogConfig, FogStats, Limits, TaskId, TaskOutput, TaskSpec};

use crate::completions::{Callback, Completions, UserData};
use crate::support::{
    Failure, c_string, chars, free, give, guard, optional_result, read_or, reference, result, slice,
};
use crate::{FOG_ID_SIZE, fog_amount, fog_status};

/// How a fog is made. Fill it with fog_fog_config_default() and change what should differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_fog_config {
    /// Worker threads, each a node of its own, 1 to 1024.
    pub workers: usize,
    /// What the fog's owner starts with, to pay its workers from.
    pub endowment: fog_amount,
    /// What a worker asks for 10^9 fuel. A task costs at least one base unit unless this is 0.
    pub price_per_gigafuel: fog_amount,
    /// Memory each worker lends, in bytes; not 0. A task whose limit is higher is refused.
    pub memory_bytes: u64,
    /// Seed of the optimiser that places tasks.
    pub seed: u64,
}

/// What one task may use before it is stopped. Fill it with fog_limits_default() and change what
/// should differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_limits {
    /// Work, in units of fuel; about one per simple instruction. At least 1.
    pub fuel: u64,
    /// Linear memory and tables together, in bytes: 64 KiB to 4 GiB.
    pub memory_bytes: u64,
    /// Output, in bytes: at most 1 MiB.
    pub output_bytes: u64,
    /// Log that is kept, in bytes: at most 1 MiB. What is over it is dropped, and the task goes on.
    pub log_bytes: u64,
    /// Time in milliseconds, that in suspension left out: at most a year. 0 leaves it to the fuel.
    pub wall_ms: u64,
}

/// What a task used.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_usage {
    /// Work done, in units of fuel.
    pub fuel: u64,
    /// Most memory held at once, in bytes.
    pub memory_bytes_peak: u64,
    /// Wall time from call to return, in nanoseconds.
    pub wall_ns: u64,
}

/// What a fog has done so far.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_stats {
    /// Tasks that ended with an output.
    pub succeeded: u64,
    /// Tasks that ended otherwise.
    pub failed: u64,
    /// What the owner can still spend.
    pub available: fog_amount,
    /// What was paid to workers.
    pub paid: fog_amount,
}

/// Tells how a submitted task ended. Runs once for each task that was accepted, on a thread of the
/// library, so it should be quick: the callbacks of one fog take turns. It may call any function of
/// the library.
///
/// @param user_data what was given to fog_fog_submit()
/// @param status    FOG_STATUS_OK, or why there is no output
/// @param output    the output, valid until the callback returns; NULL without one
/// @param message   what went wrong, for people, valid until the callback returns; empty if nothing
pub type fog_completion = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        status: fog_status,
        output: *const fog_output,
        message: *const c_char,
    ),
>;

/// A fog inside this process: a coordinator, worker threads with WebAssembly sandboxes, and a
/// ledger in memory.
///
/// A child of fork() has none of its threads: there calls fail with FOG_STATUS_CLOSED, callbacks do
/// not run, and fog_fog_free() stops nothing.
pub struct fog_fog {
    fog: Fog,
    completions: Completions,
}

impl Drop for fog_fog {
    fn drop(&mut self) {
        // Tasks that still run end with `Closed`, so that all callbacks come.
        self.fog.close();
        self.completions.finish();
    }
}

/// A task that was submitted.
pub struct fog_task {
    id: TaskId,
    canceller: FogCanceller,
}

/// What a task returned.
pub struct fog_output(pub(crate) TaskOutput);

/// Puts the usual configuration into a struct: two workers with 1 GiB each.
///
/// Thread safety: any thread.
/// @param out receives the configuration
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_config_default(out: *mut fog_fog_config) -> fog_status {
    guard(|| {
        let config = FogConfig::default();
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_fog_config {
            workers: config.workers,
            endowment: config.endowment.into(),
            price_per_gigafuel: config.price_per_gigafuel.into(),
            memory_bytes: config.memory_bytes,
            seed: config.seed,
        });
        Ok(())
    })
}

/// Puts the usual limits into a struct: 10^9 fuel, 64 MiB of memory, 1 MiB of output, 64 KiB of log, no
/// time limit.
///
/// Thread safety: any thread.
/// @param out receives the limits
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_limits_default(out: *mut fog_limits) -> fog_status {
    guard(|| {
        let limits = Limits::default();
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_limits {
            fuel: limits.fuel,
            memory_bytes: limits.memory_bytes,
            output_bytes: limits.output_bytes,
            log_bytes: limits.log_bytes,
            wall_ms: 0,
        });
        Ok(())
    })
}

/// Starts a fog: measures this machine's speed, starts the workers.
///
/// Thread safety: any thread.
/// @param config the configuration, or NULL for the usual
/// @param out    receives the fog; free it with fog_fog_free()
/// @return FOG_STATUS_INVALID_ARGUMENT for a configuration that makes no sense
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_new(
    config: *const fog_fog_config,
    out: *mut *mut fog_fog,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a configuration or NULL and gives room for a handle.
        let (config, out) = unsafe { (config.as_ref(), result(out, "out")?) };
        let config = match config {
            None => FogConfig::default(),
            Some(config) => FogConfig {
                workers: config.workers,
                endowment: config.endowment.parse("endowment")?,
                price_per_gigafuel: config.price_per_gigafuel.parse("price_per_gigafuel")?,
                memory_bytes: config.memory_bytes,
                seed: config.seed,
            },
        };
        let fog = fog_fog {
            fog: Fog::new(config)?,
            completions: Completions::default(),
        };
        give(out, fog);
        Ok(())
    })
}

/// # Safety
/// The pointers are to as many bytes as the lengths say, and to limits or NULL.
unsafe fn read_spec(
    module: *const u8,
    module_len: usize,
    input: *const u8,
    input_len: usize,
    limits: *const fog_limits,
) -> Result<TaskSpec, Failure> {
    // SAFETY: as the caller promises.
    let (module, input, limits) = unsafe {
        (
            slice(module, module_len, "module")?,
            slice(input, input_len, "input")?,
            limits.as_ref(),
        )
    };
    Ok(TaskSpec::new(module, input, limits_or_default(limits))?)
}

pub(crate) fn limits_or_default(limits: Option<&fog_limits>) -> Limits {
    limits.map_or_else(Limits::default, |limits| Limits {
        fuel: limits.fuel,
        memory_bytes: limits.memory_bytes,
        output_bytes: limits.output_bytes,
        log_bytes: limits.log_bytes,
        wall: (limits.wall_ms > 0).then(|| Duration::from_millis(limits.wall_ms)),
    })
}

/// Runs a WebAssembly task and waits for its output.
///
/// The module exports `memory`, `fog_alloc(len) -> ptr` and `fog_run(ptr, len) -> ptr << 32 | len`.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_free().
/// @param fog        the fog
/// @param module     the WebAssembly module
/// @param module_len its length, up to 1 MiB
/// @param input      the task's input
/// @param input_len  its length, up to 1 MiB
/// @param limits     what the task may use, or NULL for the usual
/// @param out        receives the output; free it with fog_output_free()
/// @return FOG_STATUS_INVALID_MODULE, FOG_STATUS_OUT_OF_FUEL, FOG_STATUS_OUT_OF_MEMORY,
///         FOG_STATUS_INVALID_OUTPUT, FOG_STATUS_TRAP, FOG_STATUS_INSUFFICIENT_FUNDS,
///         FOG_STATUS_INFEASIBLE if no worker can take it, FOG_STATUS_TASK_LOST, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_run(
    fog: *const fog_fog,
    module: *const u8,
    module_len: usize,
    input: *const u8,
    input_len: usize,
    limits: *const fog_limits,
    out: *mut *mut fog_output,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many bytes as it says, limits or NULL, and
        // room for a handle.
        let (fog, spec, out) = unsafe {
            (
                reference(fog, "fog")?,
                read_spec(module, module_len, input, input_len, limits)?,
                result(out, "out")?,
            )
        };
        give(out, fog_output(fog.fog.run(spec)?));
        Ok(())
    })
}

/// Hands in a WebAssembly task and returns at once. If this succeeds, `done` runs once, whatever
/// becomes of the task; if it fails, `done` does not run.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_free().
/// @param fog        the fog
/// @param module     the WebAssembly module
/// @param module_len its length, up to 1 MiB
/// @param input      the task's input
/// @param input_len  its length, up to 1 MiB
/// @param limits     what the task may use, or NULL for the usual
/// @param done       tells how the task ended, maybe before this call returns
/// @param user_data  passed to `done` as it is; must be usable from another thread until then
/// @param task       receives the task, to cancel it, or NULL; free it with fog_task_free()
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_submit(
    fog: *const fog_fog,
    module: *const u8,
    module_len: usize,
    input: *const u8,
    input_len: usize,
    limits: *const fog_limits,
    done: fog_completion,
    user_data: *mut c_void,
    task: *mut *mut fog_task,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many bytes as it says, limits or NULL, and
        // NULL or room for a handle.
        let (fog, spec, out) = unsafe {
            (
                reference(fog, "fog")?,
                read_spec(module, module_len, input, input_len, limits)?,
                optional_result(task),
            )
        };
        let callback = callback(done, user_data)?;
        // First of all: a forked child is refused before it waits for a lock, which a thread that
        // only its parent has may hold.
        let submitted = fog.fog.submit(spec).map_err(Failure::from);
        let started = submitted.and_then(|submitted| {
            fog.completions.start().map_err(|error| Failure {
                status: fog_status::TaskLost,
                message: format!("thread: {error}"),
            })?;
            Ok(submitted)
        });
        let submitted = match started {
            Ok(submitted) => submitted,
            Err(failure) => {
                callback.forget();
                return Err(failure);
            }
        };
        if let Some(out) = out {
            let (id, canceller) = (submitted.id(), submitted.canceller());
            give(out, fog_task { id, canceller });
        }
        fog.completions.add(submitted, callback);
        Ok(())
    })
}

fn callback(done: fog_completion, user_data: *mut c_void) -> Result<Callback<TaskOutput>, Failure> {
    let done = done.ok_or_else(|| Failure::argument("done is NULL"))?;
    let user_data = UserData::new(user_data);
    Ok(Callback::new(move |result: Result<TaskOutput, Failure>| {
        let (status, output, message) = match result {
            Ok(output) => (fog_status::Ok, Some(fog_output(output)), c_string("")),
            Err(failure) => (failure.status, None, c_string(&failure.message)),
        };
        let output = output.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the output and the message outlive the call; the rest is as the caller of
        // `fog_fog_submit` promises.
        unsafe { done(user_data.into_pointer(), status, output, message.as_ptr()) };
    }))
}

/// Puts what the fog has done so far into a struct.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_free().
/// @param fog the fog
/// @param out receives the figures
/// @return FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_stats(fog: *const fog_fog, out: *mut fog_stats) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (fog, out) = unsafe { (reference(fog, "fog")?, result(out, "out")?) };
        let FogStats {
            succeeded,
            failed,
            available,
            paid,
        } = fog.fog.stats()?;
        out.write(fog_stats {
            succeeded,
            failed,
            available: available.into(),
            paid: paid.into(),
        });
        Ok(())
    })
}

/// Stops a fog: tasks that run or wait end with FOG_STATUS_CLOSED or FOG_STATUS_CANCELLED, later
/// ones are refused. Closing again does nothing.
///
/// Thread safety: any thread, at the same time as other calls but fog_fog_free().
/// @param fog the fog
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_close(fog: *const fog_fog) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        unsafe { reference(fog, "fog") }?.fog.close();
        Ok(())
    })
}

/// Closes a fog and frees it. Returns when all its callbacks have run, unless it is called from one
/// of them.
///
/// Thread safety: no other call may use it.
/// @param fog the fog, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_fog_free(fog: *mut fog_fog) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(fog) }
}

/// Asks a task to stop: it ends with FOG_STATUS_CANCELLED unless it ends otherwise first. Its
/// callback still runs.
///
/// Thread safety: any thread, at the same time as other calls; also after the fog was freed.
/// @param task the task
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_task_cancel(task: *const fog_task) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        unsafe { reference(task, "task") }?.canceller.cancel();
        Ok(())
    })
}

/// An identifier as text.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_id {
    /// 32 hexadecimal digits and a NUL byte.
    pub text: [c_char; FOG_ID_SIZE],
}

/// Puts a task's identifier into a struct.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param task the task
/// @param out  receives the identifier
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_task_id(task: *const fog_task, out: *mut fog_id) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (task, out) = unsafe { (reference(task, "task")?, result(out, "out")?) };
        out.write(fog_id {
            text: chars(&task.id.to_string()),
        });
        Ok(())
    })
}

/// Frees the handle of a task, which goes on.
///
/// Thread safety: no other call may use it.
/// @param task the task, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_task_free(task: *mut fog_task) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(task) }
}

/// The bytes a task returned.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param output the output
/// @return the bytes, as many as fog_output_len() says, valid until the output is freed; NULL if
///         `output` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_output_data(output: *const fog_output) -> *const u8 {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(output, std::ptr::null(), |output| output.0.output.as_ptr()) }
}

/// How many bytes a task returned.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param output the output
/// @return 0 if `output` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_output_len(output: *const fog_output) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(output, 0, |output| output.0.output.len()) }
}

/// Puts what a task used into a struct.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param output the output
/// @param out    receives the figures
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_output_usage(
    output: *const fog_output,
    out: *mut fog_usage,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (output, out) = unsafe { (reference(output, "output")?, result(out, "out")?) };
        let usage = output.0.usage;
        out.write(fog_usage {
            fuel: usage.fuel,
            memory_bytes_peak: usage.memory_bytes_peak,
            wall_ns: u64::try_from(usage.wall.as_nanos()).unwrap_or(u64::MAX),
        });
        Ok(())
    })
}

/// Frees an output. Not the one a callback was given.
///
/// Thread safety: no other call may use it.
/// @param output the output, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_output_free(output: *mut fog_output) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(output) }
}
