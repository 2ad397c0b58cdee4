//! What runs tasks, and what reads the device they run on.
//!
//! [`WasmRuntime`] runs tasks of the ABI `fog-task` (see `fogcompute-exec`) in the interpreter wasmi,
//! `WasmtimeRuntime` in machine code, and `ProcessRuntime` programs of Linux. `probe::LinuxProbe`
//! reads processor, memory, battery, temperature, network and display from Linux's own files, and
//! asks logind and NetworkManager for the rest; on other systems it does not exist, and the host
//! fills a `fogcompute_harvest::DeviceState` itself. [`ProbeThread`] reads any probe without waiting
//! for it. None of them decides anything: limits come with the task,
//! and whether the device may work is the harvest policy's business.
//!
//! Meet [`WasmRuntime`] and `probe::LinuxProbe` first.
//!
//! ```
//! use fogcompute_exec::{Limits, Runtime, TaskSpec};
//! use fogcompute_runtime::{WasmConfig, WasmRuntime};
//!
//! let sum = include_bytes!("../../../examples/wasm/sum.wasm");
//! let runtime = WasmRuntime::new(WasmConfig::default());
//! let task = TaskSpec::new(&sum[..], [1, 2, 39], Limits::default())?;
//! assert_eq!(runtime.run(&task)?.output, 42_u64.to_le_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `wasmtime` (off by default) | `WasmtimeRuntime`; takes minutes to build |

mod log;
mod pace;
#[cfg(target_os = "linux")]
pub mod probe;
mod probe_thread;
#[cfg(target_os = "linux")]
mod process;
mod task_thread;
mod wasm;
#[cfg(target_os = "linux")]
pub use process::{ProcessConfig, ProcessRuntime, launch_from_args};

pub use probe_thread::ProbeThread;
pub use task_thread::spawn_task_thread;
#[cfg(feature = "wasmtime")]
pub use wasm::{
    BlobError, CodeCacheConfig, Metering, WasmtimeConfig, WasmtimeError, WasmtimeRuntime,
};
pub use wasm::{WasmConfig, WasmRuntime, check_preamble};
