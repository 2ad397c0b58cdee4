//! The step for OpenZeppelin's Governor, and its part of the benchmark of governance.

use std::path::PathBuf;
use std::process::Command;

use crate::session::{Session, Stop, prepare};
use crate::tally::Runner;
use crate::workspace::{Workspace, find_tool};

pub(crate) const MANIFEST: &str = "benches/governor/Cargo.toml";
const FOLDER: &str = "benches/governor";
const CONTRACTS: &str = "FOGCOMPUTE_GOVERNOR_CONTRACTS";

/// Compiles the contracts, which come from npm as the lock file names them, and gives the file.
fn contracts(workspace: &Workspace) -> Result<PathBuf, Stop> {
    for tool in ["node", "npm"] {
        if find_tool(tool).is_none() {
            return Err(Stop::Skipped(format!("{tool} is not installed")));
        }
    }
    let folder = workspace.target("governor/npm");
    std::fs::create_dir_all(&folder)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(workspace.path(FOLDER).join(name), folder.join(name))?;
    }
    let mut install = workspace.command("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    prepare(install.current_dir(&folder))?;
    let compiled = folder.join("contracts.json");
    let mut compile = workspace.command("node");
    compile
        .arg(workspace.path(FOLDER).join("contracts/compile.js"))
        .arg(folder.join("node_modules"))
        .arg(&compiled);
    prepare(&mut compile)?;
    Ok(compiled)
}

/// Cargo on the workspace of its own, in a folder of its own: it shares nothing with the others.
fn cargo(workspace: &Workspace, task: &[&str]) -> Command {
    let mut command = workspace.cargo(task.iter().copied());
    command
        .args(["--locked", "--manifest-path", MANIFEST, "--target-dir"])
        .arg(workspace.target("governor"));
    command
}

pub(crate) fn test(session: &mut Session<'_>) -> Result<(), Stop> {
    let workspace = session.workspace;
    let contracts = contracts(workspace)?;
    let mut clippy = cargo(workspace, &["clippy", "--all-targets"]);
    session.check(clippy.args(["--", "-D", "warnings"]))?;
    let mut tests = cargo(workspace, &["test", "--no-fail-fast", "--tests"]);
    session.tests(Runner::Cargo, tests.env(CONTRACTS, &contracts))?;
    let mut stream = cargo(workspace, &["run", "--quiet", "--bin", "stream"]);
    session.check(stream.arg("--").arg(contracts).arg("--smoke"))
}

/// The command that measures the same random operations on both.
pub(crate) fn bench(workspace: &Workspace) -> Result<Command, Stop> {
    let contracts = contracts(workspace)?;
    let mut command = cargo(
        workspace,
        &["run", "--quiet", "--release", "--bin", "stream"],
    );
    command.arg("--").arg(contracts);
    Ok(command)
}
