//! `cargo xtask demo`.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::session::Stop;
use crate::workspace::Workspace;

const PACKAGE: &str = "fogcompute-node";
pub(crate) const PROGRAM: &str = "fogcompute";

/// Builds the command, then becomes it: its exit code and its interrupts are the demo's own.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode, Stop> {
    eprintln!("building {PROGRAM} (release profile; the first time takes some minutes) …");
    let built = workspace
        .cargo(["build", "--release", "-p", PACKAGE, "--bin", PROGRAM])
        .status()?;
    if !built.success() {
        return Err(Stop::Failed(format!("building {PROGRAM} failed")));
    }
    let program = workspace
        .target("release")
        .join(format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX));
    // From the folder the user is in: `--out` is relative to it.
    let mut demo = Command::new(program);
    demo.arg("demo").args(args);
    replace_by(&mut demo)
}

#[cfg(unix)]
fn replace_by(command: &mut Command) -> Result<ExitCode, Stop> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn replace_by(command: &mut Command) -> Result<ExitCode, Stop> {
    let code = command.status()?.code().unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
