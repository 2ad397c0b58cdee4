//! What a task is, what it may use, how it ends, and the trait that every sandbox implements.
//!
//! The crate runs nothing: it has the rules, and `fogcompute-runtime` has the sandboxes. It does
//! not place tasks on nodes and does not price them; the coordinator and the ledger do. It keeps
//! nothing either: `fogcompute-store` does.
//!
//! Meet [`TaskSpec`] (what to run) and [`Runtime`] (what runs it) first; then [`Job`] and
//! [`Executor`], which keeps many tasks through retries, checkpoints and restarts.
//!
//! | module | what is in it |
//! |---|---|
//! | [`job`] | what is submitted: tasks that may wait for each other |
//! | [`executor`] | which tasks of a device run, which wait, what becomes of each |
//! | [`lifecycle`] | the states of a task on its device, with the table of what follows what |
//! | [`replication`] | the same task on several nodes, and whom to believe |
//!
//! ```
//! use fogcompute_exec::{Limits, TaskEvent, TaskSpec, TaskState};
//!
//! let module = b"\0asm\x01\0\0\0".to_vec();
//! let spec = TaskSpec::new(module, b"input".to_vec(), Limits::default())?;
//! assert_eq!(TaskSpec::decode(&spec.encode())?, spec);
//!
//! let state = TaskState::Submitted.advance(TaskEvent::Admit)?;
//! assert_eq!(state, TaskState::Queued { attempts: 0 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guest ABI `fog-task/1`
//!
//! A task is a core WebAssembly module (32-bit memory) that exports exactly these, and anything
//! else it likes:
//!
//! | export | type | meaning |
//! |---|---|---|
//! | `memory` | memory | holds input and output |
//! | `fog_alloc` | `(len: i32) -> i32` | returns where the host writes `len` bytes of input |
//! | `fog_run` | `(ptr: i32, len: i32) -> i64` | runs; returns `out_ptr << 32 \| out_len` |
//!
//! 1. The host makes a fresh instance and runs its start function if it has one, which may use at
//!    most [`START_FUEL_MAX`] of the task's fuel.
//! 2. It calls `fog_alloc` once with the length of the input, also when that is 0, and writes the
//!    input at the returned pointer.
//! 3. It calls `fog_run` once with that pointer and length, and copies the output from memory.
//! 4. It drops the instance: nothing is left for the next task.
//!
//! All integers are unsigned although WebAssembly writes them as signed. Both ranges must lie
//! inside `memory`, also when they are empty.
//!
//! **Without grants no imports are offered**: no clock, no files, no network, no randomness. A module
//! that asks for any is refused. So the same module and input give the same output on every machine,
//! and with the same [`Runtime::name`] also the same fuel.
//!
//! Growing the memory beyond [`Limits::memory_bytes`] ends the task with
//! [`TaskError::OutOfMemory`]; growing beyond the module's own maximum gives -1 as WebAssembly
//! says. References of the host (`externref`), SIMD, threads and 64-bit memory are not part of it.
//! Tables keep the size they are declared with: `table.grow` gives -1. A function has at most
//! [`LOCALS_MAX`] locals.
//!
//! # Extensions `fog-task/2`
//!
//! A task that carries [`Grants`] may import what they name; a module of `/1` runs unchanged.
//!
//! With [`Grants::host_calls`], from module `fog`:
//!
//! | import | type | meaning |
//! |---|---|---|
//! | `log` | `(ptr: i32, len: i32)` | lines for the task's log |
//! | `fraction_done` | `(f64)` | how much is done, 0 to 1 |
//! | `time_to_checkpoint` | `() -> i32` | 1 when a checkpoint is wanted |
//! | `checkpoint_completed` | `()` | what is in memory now is a state to go on from |
//! | `temporary_exit` | `(seconds: i32)` | ends the attempt; it is to go on later from its checkpoint |
//!
//! These are the verbs of BOINC (`boinc_time_to_checkpoint`, `boinc_checkpoint_completed`,
//! `boinc_temporary_exit`, `boinc_fraction_done`). A [`Checkpoint`] is the linear memory and the
//! exported mutable globals. To go on, a host makes a fresh instance, runs its start function, puts
//! both back, and calls, instead of `fog_alloc` and `fog_run`:
//!
//! | export | type | meaning |
//! |---|---|---|
//! | `fog_resume` | `() -> i64` | goes on, and returns as `fog_run` does |
//!
//! The call stack is in no checkpoint, so what the task needs to go on stands in its memory. Modules
//! whose state stands elsewhere are refused when they import `checkpoint_completed`: those that write
//! tables or drop segments, and those with a mutable global that is not exported, but for a first
//! global of type `i32`, where compilers keep the end of their stack. Of WASI, open files are in no
//! checkpoint.
//!
//! With [`Grants::wasi`], from module `wasi_snapshot_preview1`: `args_get`, `args_sizes_get`,
//! `environ_get`, `environ_sizes_get`, `clock_res_get`, `clock_time_get`, `random_get`, `fd_close`,
//! `fd_fdstat_get`, `fd_fdstat_set_flags`, `fd_filestat_get`, `fd_prestat_get`,
//! `fd_prestat_dir_name`, `fd_read`, `fd_seek`, `fd_tell`, `fd_write`, `path_filestat_get`,
//! `path_open`, `proc_exit`, `sched_yield`. Clock and randomness answer `notcapable` without their own
//! grant; files are those of the grant, read-only, below one folder. A module with `_start` and without
//! `fog_run` is a command: input and output are its standard streams, standard error is its log. In
//! other modules standard input is empty, and standard output is log too.
//!
//! Fuel counts the guest's instructions; what a host call does is bounded, at 64 KiB a call, and costs
//! no more than the call.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `testing` | the `conformance` module and `runtime_conformance!` |

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod content;
mod error;
pub mod executor;
pub mod job;
pub mod lifecycle;
mod limits;
pub mod replication;
mod report;
mod runtime;
mod spec;
mod state;

pub use content::{
    CONTENT_BYTES_MAX, ContentId, INPUTS_MAX, InputsError, join_inputs, split_inputs,
};
pub use error::{AbiExport, Feature, GuestText, TaskError, TrapKind};
pub use executor::Executor;
pub use job::{IdempotencyKey, Input, Job, JobError, RetryPolicy, RuntimeKind, Task, TaskRef};
pub use lifecycle::CheckpointRecord;
pub use limits::{
    ClockGrant, Grants, GrantsError, LOCALS_MAX, LOG_BYTES_MAX, Limits, LimitsError,
    RandomnessGrant, START_FUEL_MAX,
};
pub use report::{Checkpoint, GlobalValue, TaskOutput, TaskReport, Usage};
pub use runtime::{CancelToken, Control, CpuShare, Observer, Runtime, Session, Unobserved};
pub use spec::{SpecError, TaskSpec};
pub use state::{ATTEMPTS_MAX, TaskEvent, TaskState, TransitionError};
