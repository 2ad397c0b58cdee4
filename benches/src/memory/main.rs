//! Counts what is kept on the heap, and prints it as JSON: a part of `bench mesh` and `bench coord`.

mod coord;
mod mesh;

use std::alloc::System;
use std::error::Error;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What `call` returns, and by how many bytes the heap has grown with it.
fn counted<T>(call: impl FnOnce() -> T) -> (T, f64) {
    let region = Region::new(ALLOCATOR);
    let done = call();
    let change = region.change();
    let bytes = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    (done, bytes)
}

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("mesh") => mesh::run(),
        Some("coord") => coord::run(),
        other => Err(format!("there are mesh and coord, not {other:?}").into()),
    }
}
