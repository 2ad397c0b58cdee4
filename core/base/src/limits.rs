//! Limits that more than one crate must agree on, each with its unit.

/// Longest frame a link carries, in bytes: the longest message of the mixnet fits. A peer that
/// announces more is disconnected.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Longest message the mix client splits into packets, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Largest WebAssembly module a task may carry, in bytes.
pub const MODULE_BYTES_MAX: usize = 1 << 20;

/// Largest input of one task, in bytes.
pub const INPUT_BYTES_MAX: usize = 1 << 20;

/// Largest output of one task, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Most tasks one job may have.
pub const JOB_TASKS_MAX: usize = 8_000;

/// Most nodes one registry holds.
pub const NODES_MAX: usize = 100_000;
