use std::ffi::c_char;
use std::path::PathBuf;

use fogcompute::exec::IdempotencyKey;
use fogcompute::exec::lifecycle::State;
use fogcompute::node::Device;
use fogcompute::{Worker, WorkerConfig, WorkerHarvest, WorkerHost, WorkerJob};

use crate::fog::{fog_id, fog_limits, fog_output, limits_or_default};
use crate::fog_status;
use crate::harvest::fog_harvest_policy;
use crate::support::{Failure, chars, free, give, guard, parsed, reference, result, slice, text};

/// Where a task of a worker is. The values never change.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum fog_task_state {
    /// It waits for a slot, for another task, or for its next attempt.
    Waiting = 0,
    /// It runs, or is about to.
    Running = 1,
    /// It keeps its memory and stands still, because the device's owner needs the device.
    Suspended = 2,
    /// It is being stopped.
    Stopping = 3,
    /// It ended with an output.
    Succeeded = 4,
    /// It ended with an error.
    Failed = 5,
    /// It was cancelled.
    Cancelled = 6,
    /// It took longer than it may.
    TimedOut = 7,
    /// It was given up.
    Lost = 8,
    /// It never ran, because a task that it waited for did not succeed.
    Skipped = 9,
}

/// How far a task of a worker is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_task_status {
    /// A fog_task_state; FOG_TASK_STATE_SUCCEEDED and above have ended.
    pub state: i32,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Attempts that failed or vanished.
    pub failures: u32,
    /// Attempts that made way for the device's owner.
    pub preemptions: u32,
    /// Number of its last checkpoint, from 1; 0 without one.
    pub checkpoints: u64,
    /// How much the running attempt says is done, in thousandths: not to be trusted.
    pub permille: u16,
    /// Log that was kept, in bytes.
    pub log_bytes: u64,
}

/// The tasks of this device: kept in a file, run in sandboxes, when the device's owner permits.
///
/// A child of fork() has none of its threads: there calls fail with FOG_STATUS_CLOSED, and
/// fog_worker_free() stops nothing.
pub struct fog_worker(Worker);

/// Opens the file of a worker's tasks, or makes it, and goes on with those that have not ended, each
/// from its last checkpoint.
///
/// Thread safety: any thread.
/// @param path   the file, or NULL to keep tasks in memory
/// @param slots  most tasks at a time, or 0 for one on each processor
/// @param policy when tasks run, by the sensors of this device; NULL is always. It may be freed
///               after this call
/// @param out    receives the worker; free it with fog_worker_free()
/// @return FOG_STATUS_STORAGE_LOCKED if somebody else has the file, and the other codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_worker_open(
    path: *const c_char,
    slots: u32,
    policy: *const fog_harvest_policy,
    out: *mut *mut fog_worker,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a string or NULL, a live handle or NULL, and gives room for a
        // handle.
        let (path, policy, out) = unsafe {
            let path = match path.is_null() {
                true => None,
                false => Some(PathBuf::from(text(path, "path")?)),
            };
            (path, policy.as_ref(), result(out, "out")?)
        };
        let usual = WorkerConfig::default();
        let config = WorkerConfig {
            path,
            slots: if slots == 0 { usual.slots } else { slots },
            ..usual
        };
        let harvest = policy
            .map(|policy| WorkerHarvest::new(Some(policy.0.clone()), Box::new(Device::new())));
        let host = WorkerHost {
            harvest,
            ..WorkerHost::default()
        };
        give(out, fog_worker(Worker::start(config, host)?));
        Ok(())
    })
}

/// Hands in a WebAssembly task. Returns when it is on disk; poll it, and fetch its output.
///
/// Thread safety: any thread, at the same time as other calls but fog_worker_free().
/// @param worker     the worker
/// @param module     the WebAssembly module
/// @param module_len its length, up to 1 MiB
/// @param input      the task's input
/// @param input_len  its length, up to 1 MiB
/// @param limits     what the task may use, or NULL for the usual
/// @param key        a text of up to 255 bytes that makes the same task of one that is handed in
///                   again, or NULL
/// @param task       receives the task's identifier
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_ID_REUSED for a key of another task,
///         FOG_STATUS_TOO_MANY_TASKS, FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_worker_submit(
    worker: *const fog_worker,
    module: *const u8,
    module_len: usize,
    input: *const u8,
    input_len: usize,
    limits: *const fog_limits,
    key: *const c_char,
    task: *mut fog_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many bytes as it says, limits or NULL, a string
        // or NULL, and room for an identifier.
        let (worker, module, input, limits, key, task) = unsafe {
            let key = match key.is_null() {
                true => None,
                false => Some(text(key, "key")?),
            };
            (
                reference(worker, "worker")?,
                slice(module, module_len, "module")?,
                slice(input, input_len, "input")?,
                limits.as_ref(),
                key,
                result(task, "task")?,
            )
        };
        let key = key
            .map(IdempotencyKey::new)
            .transpose()
            .map_err(|error| Failure::argument(format!("key: {error}")))?;
        let job = WorkerJob {
            key,
            limits: limits_or_default(limits),
            ..WorkerJob::new(module, vec![input.to_vec()])
        };
        let submitted = worker.0.submit(job).wait()?;
        let id = submitted.task_ids().next();
        task.write(fog_id {
            text: chars(&id.map_or_else(String::new, |id| id.to_string())),
        });
        Ok(())
    })
}

/// Tells where a task is.
///
/// Thread safety: any thread, at the same time as other calls but fog_worker_free().
/// @param worker the worker
/// @param task   the task's identifier
/// @param out    receives where it is
/// @return FOG_STATUS_UNKNOWN_TASK, FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_worker_poll(
    worker: *const fog_worker,
    task: *const c_char,
    out: *mut fog_task_status,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for the struct.
        let (worker, task, out) = unsafe {
            (
                reference(worker, "worker")?,
                parsed(task, "task")?,
                result(out, "out")?,
            )
        };
        let status = worker.0.task(task).wait()?;
        let state = match status.state {
            State::Submitted | State::Admitted | State::Queued | State::Retrying { .. } => {
                fog_task_state::Waiting
            }
            State::Assigned(_) | State::Running(_) => fog_task_state::Running,
            State::Suspended(_) => fog_task_state::Suspended,
            State::Stopping { .. } => fog_task_state::Stopping,
            State::Succeeded { .. } => fog_task_state::Succeeded,
            State::Failed => fog_task_state::Failed,
            State::Cancelled => fog_task_state::Cancelled,
            State::TimedOut => fog_task_state::TimedOut,
            State::Lost => fog_task_state::Lost,
            State::Skipped => fog_task_state::Skipped,
        };
        out.write(fog_task_status {
            state: state as i32,
            attempts: status.attempts,
            failures: status.failures,
            preemptions: status.preemptions,
            checkpoints: status.checkpoints,
            permille: status.permille,
            log_bytes: status.log_bytes,
        });
        Ok(())
    })
}

/// Gives the output of a task that has ended.
///
/// Thread safety: any thread, at the same time as other calls but fog_worker_free().
/// @param worker the worker
/// @param task   the task's identifier
/// @param out    receives the output; free it with fog_output_free()
/// @return FOG_STATUS_TASK_OPEN if it has not ended, why it has no output, FOG_STATUS_UNKNOWN_TASK,
///         FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_worker_fetch(
    worker: *const fog_worker,
    task: *const c_char,
    out: *mut *mut fog_output,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for a handle.
        let (worker, task, out) = unsafe {
            (
                reference(worker, "worker")?,
                parsed(task, "task")?,
                result(out, "out")?,
            )
        };
        give(out, fog_output(worker.0.fetch(task).wait()?));
        Ok(())
    })
}

/// Waits until a task has ended, and gives its output.
///
/// Thread safety: any thread, at the same time as other calls but fog_worker_free().
/// @param worker the worker
/// @param task   the task's identifier
/// @param out    receives the output; free it with fog_output_free()
/// @return as fog_worker_fetch(), but FOG_STATUS_TASK_OPEN
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_worker_wait(
    worker: *const fog_worker,
    task: *const c_char,
    out: *mut *mut fog_output,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for a handle.
        let (worker, task, out) = unsafe {
            (
                reference(worker, "worker")?,
                parsed(task, "task")?,
                result(out, "out")?,
            )
        };
        give(out, fog_output(worker.0.output(task).wait()?));
        Ok(())
    })
}

/// Ends a task: from now on it has no output.
///
/// Thread safety: any thread, at the same time as other calls but fog_worker_free().
/// @param worker the worker
/// @param task   the task's identifier
/// @return FOG_STATUS_CANCELLED if it has ended already, FOG_STATUS_UNKNOWN_TASK, FOG_STATUS_CLOSED,
///         and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_worker_cancel(
    worker: *const fog_worker,
    task: *const c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and a string.
        let (worker, task) = unsafe { (reference(worker, "worker")?, parsed(task, "task")?) };
        Ok(worker.0.cancel(task).wait()?)
    })
}

/// Stops running tasks, which go on when the worker is opened again, and closes the file. Closing
/// again does nothing.
///
/// Thread safety: any thread, at the same time as other calls but fog_worker_free().
/// @param worker the worker
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_worker_close(worker: *const fog_worker) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        unsafe { reference(worker, "worker") }?.0.close();
        Ok(())
    })
}

/// Closes a worker and frees it.
///
/// Thread safety: no other call may use it.
/// @param worker the worker, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_worker_free(worker: *mut fog_worker) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(worker) }
}
