//! The `fogcompute` command: see `fogcompute --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: what runs programs starts this same program to shut them in.
    #[cfg(target_os = "linux")]
    if let Some(code) = fogcompute_runtime::launch_from_args() {
        return code;
    }
    let args = std::env::args_os().collect();
    // Nodes are processes of this same program, wherever it was started from.
    let program = match std::env::current_exe() {
        Ok(path) => path.into_os_string(),
        Err(_) => "fogcompute".into(),
    };
    let code = fogcompute_node::cli::main_with(args, vec![program]);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
