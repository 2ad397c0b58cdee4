//! What a task is, what it may use, how it ends, and the trait that every sandbox implements.
//!
//! The crate runs nothing: it has the rules, and `fogcompute-runtime` has the sandboxes. It does
//! not place tasks on nodes and does not price them; the coordinator and the ledger do.
//!
//! Meet [`TaskSpec`] (what to run) and [`Runtime`] (what runs it) first.
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
mod error;
mod limits;
mod report;
mod runtime;
mod spec;
mod state;

pub use error::{AbiExport, Feature, GuestText, TaskError, TrapKind};
pub use limits::{
    ClockGrant, Grants, GrantsError, LOCALS_MAX, LOG_BYTES_MAX, Limits, LimitsError,
    RandomnessGrant, START_FUEL_MAX,
};
pub use report::{Checkpoint, GlobalValue, TaskOutput, TaskReport, Usage};
pub use runtime::{CancelToken, Control, CpuShare, Observer, Runtime, Session, Unobserved};
pub use spec::{SpecError, TaskSpec};
pub use state::{ATTEMPTS_MAX, TaskEvent, TaskState, TransitionError};
