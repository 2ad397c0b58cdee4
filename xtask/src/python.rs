//! The step and the bench program for Python.

use std::ffi::OsStr;
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
    let python = install(workspace, Profile::Dev)?.python;
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
    let python = install(workspace, profile)?.python;
    let bench = workspace.path(FOLDER).join("bench/bench.py");
    Ok(Program::new("python", &python).arg(&bench))
}

/// An interpreter with the peers that a file in `benches/peers` names.
pub(crate) fn peers(workspace: &Workspace, venv: &str, file: &str) -> Result<PathBuf, Stop> {
    let peers = Environment::make(workspace, venv)?;
    peers.add_peers(workspace, file)?;
    Ok(peers.python)
}

/// An interpreter with the package and the peers that a file in `benches/peers` names. It is the one that the
/// package is tested with: for another one the extension module would be built anew.
pub(crate) fn package_and_peers(workspace: &Workspace, file: &str) -> Result<PathBuf, Stop> {
    let environment = install(workspace, Profile::Dev)?;
    environment.add_peers(workspace, file)?;
    Ok(environment.python)
}

/// A virtual environment under the build directory.
struct Environment {
    path: PathBuf,
    programs: PathBuf,
    python: PathBuf,
}

impl Environment {
    fn make(workspace: &Workspace, name: &str) -> Result<Self, Stop> {
        let path = workspace.target(name);
        let programs = path.join(if cfg!(windows) { "Scripts" } else { "bin" });
        let python = programs.join(format!("python{}", std::env::consts::EXE_SUFFIX));
        if !runs(&python) {
            let interpreter = interpreter()?;
            prepare(
                workspace
                    .command(interpreter)
                    .args(["-m", "venv", "--clear"])
                    .arg(&path),
            )?;
        }
        Ok(Self {
            path,
            programs,
            python,
        })
    }

    fn add_peers(&self, workspace: &Workspace, file: &str) -> Result<(), Stop> {
        let requirements = workspace.path("benches/peers").join(file);
        self.pip_install(workspace, &["-r".as_ref(), requirements.as_os_str()])
    }

    fn pip_install(&self, workspace: &Workspace, what: &[&OsStr]) -> Result<(), Stop> {
        let mut pip = workspace.command(&self.python);
        pip.args(["-m", "pip", "install", "--quiet"]);
        prepare(pip.arg("--disable-pip-version-check").args(what))
    }
}

/// Builds the package and installs it into a virtual environment.
fn install(workspace: &Workspace, profile: Profile) -> Result<Environment, Stop> {
    let environment = Environment::make(workspace, "python-venv")?;
    environment.pip_install(workspace, &[MATURIN.as_ref()])?;
    let mut develop = workspace.command(environment.programs.join("maturin"));
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
            .env("VIRTUAL_ENV", &environment.path),
    )?;
    Ok(environment)
}

fn in_folder(workspace: &Workspace, python: &Path) -> Command {
    let mut command = workspace.command(python);
    command.current_dir(workspace.path(FOLDER));
    command
}

/// An interpreter that is new enough and can make environments.
pub(crate) fn interpreter() -> Result<PathBuf, Stop> {
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
