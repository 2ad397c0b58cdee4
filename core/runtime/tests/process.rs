//! Programs pass the same suite as modules, as far as it is about them.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::PathBuf;

use fogcompute_runtime::{ProcessConfig, ProcessRuntime};

fn runtime() -> ProcessRuntime {
    ProcessRuntime::new(ProcessConfig::new(PathBuf::from(env!(
        "CARGO_BIN_EXE_fog-launch"
    ))))
}

fogcompute_exec::runtime_conformance!(programs: runtime());
