//! The launcher alone, for hosts whose own executable does not call `launch_from_args`.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(code) = fogcompute_runtime::launch_from_args() {
        return code;
    }
    eprintln!("fog-launch is started by fogcompute and does nothing else");
    ExitCode::FAILURE
}
