//! Threads for tasks.

use std::cell::Cell;
use std::io;
use std::thread::{Builder, JoinHandle};

/// Stack for a guest, 1 MiB, and for the compiler, in bytes.
pub(crate) const TASK_STACK_BYTES: usize = 4 << 20;

/// Stack for whatever calls a runtime on a thread for tasks, in bytes.
const CALLER_STACK_BYTES: usize = 512 << 10;

thread_local! {
    static IS_FOR_TASKS: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread whose stack is large enough for tasks of every runtime. Elsewhere, a runtime that needs
/// more stack than threads commonly have takes a thread of its own for each task, which costs tens of
/// microseconds.
///
/// # Errors
/// Those of [`std::thread::Builder::spawn`].
pub fn spawn_task_thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Builder::new()
        .name(name.to_owned())
        .stack_size(TASK_STACK_BYTES + CALLER_STACK_BYTES)
        .spawn(move || {
            IS_FOR_TASKS.set(true);
            work();
        })
}

/// Whether the current thread has a stack for tasks.
#[cfg(feature = "wasmtime")]
pub(crate) fn is_for_tasks() -> bool {
    IS_FOR_TASKS.get()
}
