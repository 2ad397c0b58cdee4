//! The step and the bench program for Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bench::Program;
use crate::session::{Session, Stop, prepare};
use crate::tally::Runner;
use crate::workspace::{Profile, Workspace, find_tool};

const FOLDER: &str = "python";
/// What `python/pyproject.toml` asks of its build system.
const MATURIN: &str = "maturin>=1.16,<2";

pub(crate) fn test(session: &mut Session<'_>) -> Result<(), Stop> {
    let workspace = session.workspace;
    let python = install(workspace, Profile::Dev)?;
    session.tests(
        Runner::Pytest,
        in_folder(workspace, &python).args(["-m", "pytest"]),
    )?;
    session.check(in_folder(workspace, &python).args(["-m", "mypy"]))?;
    let stubtest = ["-m", "mypy.stubtest", "fogcompute"];
    session.check(in_folder(workspace, &python).args(stubtest))?;
    for example in workspace.files("examples/python", "py")? {
        session.check(workspace.command(&python).arg(example))?;
    }
    Ok(())
}

pub(crate) fn bench_program(workspace: &Workspace, profile: Profile) -> Result<Program, Stop> {
    let python = install(workspace, profile)?;
    let bench = workspace.path(FOLDER).join("bench/bench.py");
    Ok(Program::new("python", &python).arg(&bench))
}

/// Builds the package and installs it into a virtual environment under the build directory. Gives
/// the environment's interpreter.
fn install(workspace: &Workspace, profile: Profile) -> Result<PathBuf, Stop> {
    let environment = workspace.target("python-venv");
    let programs = environment.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let python = programs.join(format!("python{}", std::env::consts::EXE_SUFFIX));
    if !runs(&python) {
        let interpreter = interpreter()?;
        prepare(
            workspace
                .command(interpreter)
                .args(["-m", "venv", "--clear"])
                .arg(&environment),
        )?;
    }
    let mut pip = workspace.command(&python);
    prepare(pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        MATURIN,
    ]))?;
    let mut develop = workspace.command(programs.join("maturin"));
    prepare(
        develop
            .args([
                "develop",
                "--locked",
                "--extras",
                "test",
                "--profile",
                profile.name(),
            ])
            .current_dir(workspace.path(FOLDER))
            .env("VIRTUAL_ENV", &environment),
    )?;
    Ok(python)
}

fn in_folder(workspace: &Workspace, python: &Path) -> Command {
    let mut command = workspace.command(python);
    command.current_dir(workspace.path(FOLDER));
    command
}

/// An interpreter that is new enough and can make environments.
fn interpreter() -> Result<PathBuf, Stop> {
    [
        "python3",
        "python",
        "python3.14",
        "python3.13",
        "python3.12",
        "python3.11",
    ]
    .into_iter()
    .filter_map(find_tool)
    .find(|python| runs(python))
    .ok_or_else(|| Stop::Skipped("no Python of 3.11 or later with venv in the PATH".to_owned()))
}

fn runs(python: &Path) -> bool {
    let script = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
    Command::new(python)
        .args(["-c", script])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
