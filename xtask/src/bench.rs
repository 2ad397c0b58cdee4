//! `cargo xtask bench`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::{Command, ExitCode};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::session::{Session, Stop};
use crate::workspace::{Profile, Workspace};
use crate::{c, governor, kotlin, python, swift};

/// What to measure, and how.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What to measure.
    #[arg(value_enum)]
    area: Area,
    /// Print one JSON object per line instead of a table.
    #[arg(long)]
    json: bool,
    /// Measure as little as possible, in the development profile: shows that everything runs.
    #[arg(long)]
    smoke: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Area {
    /// Sphinx packets and reply blocks, beside the sphinx-packet crate.
    Mix,
    /// A mixnode on sockets, beside the sphinx-packet crate without any.
    Node,
    /// The optimiser and placement, beside genoxide, pygmo and pymoo; non-dominated sorting.
    Schedule,
    /// Durable transfers, beside plain rusqlite and Python's sqlite3; a long history.
    Ledger,
    /// Tasks in each engine, beside native code, and on disk, beside engines for Python; a crash.
    Exec,
    /// The coordinator: routing as the fog grows, memory of a node, jobs on disk.
    Coord,
    /// Governance: votes with their signatures, beside ed25519-dalek alone; the past, delegation,
    /// tallies; random operations, beside OpenZeppelin's Governor on revm.
    Dao,
    /// Packets, handshakes and simulated phones of a mesh, beside bitchat-protocol, ed25519-dalek and
    /// snow; memory.
    Mesh,
    /// Asking a harvest policy again, beside the limit of 10 µs.
    Harvest,
    /// What one call costs from each language, beside the same call in Rust.
    Ffi,
}

/// A language's bench program, ready to run.
#[derive(Debug)]
pub(crate) struct Program {
    language: &'static str,
    command: Vec<String>,
    env: BTreeMap<String, String>,
}

impl Program {
    pub(crate) fn new(language: &'static str, program: impl AsRef<OsStr>) -> Self {
        Self {
            language,
            command: Vec::new(),
            env: BTreeMap::new(),
        }
        .arg(program)
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command
            .push(arg.as_ref().to_string_lossy().into_owned());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(
            name.to_owned(),
            value.as_ref().to_string_lossy().into_owned(),
        );
        self
    }

    fn to_json(&self) -> Value {
        json!({"language": self.language, "command": self.command, "env": self.env})
    }
}

type Build = fn(&Workspace, Profile) -> Result<Program, Stop>;

const LANGUAGES: [(&str, Build); 5] = [
    ("c", c::bench_program_c),
    ("cpp", c::bench_program_cpp),
    ("python", python::bench_program),
    ("swift", swift::bench_program),
    ("kotlin", kotlin::bench_program),
];

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, Stop> {
    let (mut command, absent) = command(workspace, options.area, options.smoke)?;
    for reason in absent {
        eprintln!("{reason}");
    }
    if options.json {
        command.arg("--json");
    }
    let code = command.status()?.code().unwrap_or(1);
    // The step `governor` runs it as short as it goes.
    if options.area == Area::Dao && !options.smoke && code == 0 {
        let mut command = governor::bench(workspace)?;
        if options.json {
            command.arg("--json");
        }
        let code = command.status()?.code().unwrap_or(1);
        return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// The step: every area, as short as it goes.
pub(crate) fn smoke(session: &mut Session<'_>) -> Result<(), Stop> {
    let mut all_absent = Vec::new();
    for area in [
        Area::Mix,
        Area::Node,
        Area::Schedule,
        Area::Ledger,
        Area::Exec,
        Area::Coord,
        Area::Dao,
        Area::Mesh,
        Area::Harvest,
        Area::Ffi,
    ] {
        let (mut command, absent) = command(session.workspace, area, true)?;
        session.check(command.arg("--json"))?;
        all_absent.extend(absent);
    }
    if all_absent.is_empty() {
        Ok(())
    } else {
        Err(Stop::Skipped(all_absent.join("; ")))
    }
}

/// The command that measures an area, and what it has to leave out.
fn command(workspace: &Workspace, area: Area, smoke: bool) -> Result<(Command, Vec<String>), Stop> {
    let profile = if smoke {
        Profile::Dev
    } else {
        Profile::Measure
    };
    let (mut programs, mut absent) = (Vec::new(), Vec::new());
    if area == Area::Ffi {
        for (language, build) in LANGUAGES {
            match build(workspace, profile) {
                Ok(program) if smoke => programs.push(program.arg("--short").to_json()),
                Ok(program) => programs.push(program.to_json()),
                Err(Stop::Skipped(reason)) => absent.push(format!("without {language}: {reason}")),
                Err(failed) => return Err(failed),
            }
        }
    }
    let mut command = workspace.cargo(["run", "--quiet", "--locked", "--profile", profile.name()]);
    command.args(["-p", "fogcompute-benches", "--bin", "bench"]);
    // The compiler takes minutes to build: a short run is content with the interpreter.
    if area == Area::Exec && !smoke {
        command.args(["--features", "wasmtime"]);
    }
    command.arg("--");
    match area {
        Area::Mix => {
            command.arg("mix");
        }
        Area::Node => {
            command.arg("node");
        }
        Area::Schedule => {
            let python = python::peers(workspace, "peers-venv", "requirements.txt")?;
            command.args(["schedule", "--python"]).arg(python);
        }
        Area::Ledger => {
            command
                .args(["ledger", "--python"])
                .arg(python::interpreter()?);
        }
        Area::Exec | Area::Coord => {
            // A short run is content with the peer that comes with Python.
            let python = if smoke {
                python::interpreter()?
            } else {
                python::peers(workspace, "exec-peers-venv", "exec-requirements.txt")?
            };
            if area == Area::Coord {
                build_memory(workspace, profile)?;
            }
            let name = if area == Area::Exec { "exec" } else { "coord" };
            command.args([name, "--python"]).arg(python);
        }
        Area::Dao => {
            command.arg("dao");
        }
        Area::Mesh => {
            build_memory(workspace, profile)?;
            let python = python::peers(workspace, "mesh-peers-venv", "mesh-requirements.txt")?;
            command.args(["mesh", "--python"]).arg(python);
        }
        Area::Harvest => {
            command.arg("harvest");
        }
        Area::Ffi => {
            let file = workspace.target("bench-programs.json");
            std::fs::write(&file, Value::from(programs).to_string())?;
            command.args(["ffi", "--programs"]).arg(file);
        }
    }
    if smoke {
        command.arg("--smoke");
    }
    Ok((command, absent))
}

/// The program that counts allocations stands beside the other one, which starts it.
fn build_memory(workspace: &Workspace, profile: Profile) -> Result<(), Stop> {
    let mut memory = workspace.cargo(["build", "--quiet", "--locked", "--profile"]);
    memory.args([
        profile.name(),
        "-p",
        "fogcompute-benches",
        "--bin",
        "memory",
    ]);
    match memory.status()?.success() {
        true => Ok(()),
        false => Err(Stop::Failed("memory cannot be built".to_owned())),
    }
}
