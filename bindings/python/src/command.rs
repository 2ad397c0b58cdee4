//! The `fogcompute` command.

use std::ffi::OsString;

use pyo3::prelude::*;

use crate::error;

/// Runs the command line and returns its exit code. `node_command` starts another process of it.
#[pyfunction]
pub(crate) fn _run_command(
    py: Python<'_>,
    arguments: Vec<OsString>,
    node_command: Vec<OsString>,
) -> PyResult<i32> {
    error::catch(py, || {
        fogcompute::node::cli::main_with(arguments, node_command)
    })
}
