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
//! **No imports are offered**: no clock, no files, no network, no randomness. A module that asks
//! for any is refused. So the same module and input give the same output on every machine, and
//! with the same [`Runtime::name`] also the same fuel.
//!
//! Growing the memory beyond [`Limits::memory_bytes`] ends the task with
//! [`TaskError::OutOfMemory`]; growing beyond the module's own maximum gives -1 as WebAssembly
//! says. Tables keep the size they are declared with: `table.grow` gives -1. A function has at most
//! [`LOCALS_MAX`] locals.
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
pub use error::{AbiExport, GuestText, TaskError, TrapKind};
pub use executor::Executor;
pub use job::{IdempotencyKey, Input, Job, JobError, RetryPolicy, RuntimeKind, Task, TaskRef};
pub use lifecycle::Checkpoint;
pub use limits::{LOCALS_MAX, Limits, LimitsError, START_FUEL_MAX};
pub use report::{TaskOutput, TaskReport, Usage};
pub use runtime::{CancelToken, Runtime};
pub use spec::{SpecError, TaskSpec};
pub use state::{ATTEMPTS_MAX, TaskEvent, TaskState, TransitionError};
