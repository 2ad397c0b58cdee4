//! `fogcompute run`: one task, here.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use fogcompute_base::wire::DecodeError;
use fogcompute_base::{Digest, OsEntropy};
use fogcompute_exec::{
    Checkpoint, ClockGrant, Grants, GuestText, Limits, Observer, RandomnessGrant, Runtime, Session,
    SpecError, TaskError, TaskSpec,
};
use fogcompute_runtime::{WasmConfig, WasmRuntime};
use rand_core::Rng as _;
use thiserror::Error;

/// Which engine runs the task.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum EngineName {
    /// The interpreter: on every device.
    Wasmi,
    /// The compiler: near native speed, where memory may be made executable.
    #[cfg(feature = "wasmtime")]
    Wasmtime,
}

#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    /// The module: a task of the interface fog-task, or with --wasi a command.
    module: PathBuf,
    /// The task's input; without it, none.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where the output goes instead of the standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Which engine runs the task.
    #[arg(long, value_enum, default_value_t = EngineName::Wasmi)]
    engine: EngineName,
    /// Most work, in units of fuel.
    #[arg(long, value_name = "UNITS", default_value_t = Limits::default().fuel)]
    fuel: u64,
    /// Most memory, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().memory_bytes >> 20)]
    memory: u64,
    /// Longest time, in seconds; without it, until the fuel is used up.
    #[arg(long, value_name = "SECONDS")]
    time: Option<u32>,
    /// Let the task use WASI: arguments, streams, and what the options below give it.
    #[arg(long)]
    wasi: bool,
    /// Let it see the clock.
    #[arg(long, requires = "wasi")]
    clock: bool,
    /// Give it randomness.
    #[arg(long, requires = "wasi")]
    randomness: bool,
    /// Give it a copy of a file to read, under its name as written here.
    #[arg(long = "file", value_name = "FILE", requires = "wasi")]
    files: Vec<PathBuf>,
    /// Set a variable of its environment.
    #[arg(long = "env", value_name = "NAME=VALUE", requires = "wasi")]
    env: Vec<String>,
    /// Keep checkpoints here, and go on from the last one. The task must make them.
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Option<PathBuf>,
    /// How often it is asked for a checkpoint, in seconds.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        requires = "checkpoint_dir"
    )]
    checkpoint_every: u32,
    /// Arguments of a command.
    #[arg(last = true)]
    args: Vec<String>,
}

/// Why there is no output.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error("{path}: {source}", path = path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("output: {0}")]
    Output(#[source] io::Error),
    #[error("{path}: {source}", path = path.display())]
    Checkpoint {
        path: PathBuf,
        #[source]
        source: DecodeError,
    },
    #[error("{path} is no name that a task can be given a file under", path = path.display())]
    FileName { path: PathBuf },
    #[error("{variable} is not NAME=VALUE")]
    Variable { variable: GuestText },
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Task(#[from] TaskError),
    #[cfg(feature = "wasmtime")]
    #[error(transparent)]
    Engine(#[from] fogcompute_runtime::WasmtimeError),
}

impl RunError {
    pub(crate) const fn exit_code(&self) -> i32 {
        match self {
            Self::FileName { .. } | Self::Variable { .. } | Self::Spec(_) => 2,
            Self::Task(_) => 3,
            _ => 1,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    fs::read(path).map_err(|source| RunError::File {
        path: path.to_owned(),
        source,
    })
}

/// Runs the task and writes its output.
pub(crate) fn run(arguments: &RunArguments) -> Result<(), RunError> {
    let spec = spec(arguments)?;
    let runtime: Box<dyn Runtime> = match arguments.engine {
        EngineName::Wasmi => Box::new(WasmRuntime::new(WasmConfig::default())),
        #[cfg(feature = "wasmtime")]
        EngineName::Wasmtime => {
            let config = fogcompute_runtime::WasmtimeConfig::default();
            Box::new(fogcompute_runtime::WasmtimeRuntime::new(&config)?)
        }
    };
    let file = match &arguments.checkpoint_dir {
        Some(dir) => {
            fs::create_dir_all(dir).map_err(|source| RunError::File {
                path: dir.clone(),
                source,
            })?;
            Some(checkpoint_file(dir, &spec))
        }
        None => None,
    };
    let from = file
        .as_deref()
        .map_or(Ok(None), |file| last_checkpoint(file, &spec))?;
    let session = Session {
        observer: Arc::new(Terminal { file: file.clone() }),
        from,
        ..Session::default()
    };
    let every = Duration::from_secs(arguments.checkpoint_every.max(1).into());
    let (over, is_over) = channel::<()>();
    let result = thread::scope(|scope| {
        if file.is_some() {
            let control = session.control.clone();
            scope.spawn(move || {
                while is_over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    control.request_checkpoint();
                }
            });
        }
        let result = runtime.execute(&spec, &session);
        drop(over);
        result
    })?;
    match &arguments.output {
        Some(path) => fs::write(path, &result.output).map_err(|source| RunError::File {
            path: path.clone(),
            source,
        })?,
        None => io::stdout()
            .write_all(&result.output)
            .map_err(RunError::Output)?,
    }
    if let Some(file) = file {
        // The output is out: there is nothing to go on from. It need not have been there.
        let _ = fs::remove_file(file);
    }
    Ok(())
}

fn spec(arguments: &RunArguments) -> Result<TaskSpec, RunError> {
    let limits = Limits {
        fuel: arguments.fuel,
        memory_bytes: arguments.memory.saturating_mul(1 << 20),
        wall: arguments
            .time
            .map(|seconds| Duration::from_secs(seconds.into())),
        ..Limits::default()
    };
    let mut grants = Grants {
        host_calls: true,
        wasi: arguments.wasi,
        args: arguments.args.clone(),
        ..Grants::default()
    };
    if arguments.clock {
        grants.clock = ClockGrant::System;
    }
    if arguments.randomness {
        // Seeded, so that a task which goes on from a checkpoint is the task it was.
        let mut seed = [0; 32];
        OsEntropy.fill_bytes(&mut seed);
        grants.randomness = RandomnessGrant::Seeded(seed);
    }
    for path in &arguments.files {
        let name = path
            .to_str()
            .ok_or_else(|| RunError::FileName { path: path.clone() })?;
        grants.files.insert(name.to_owned(), read(path)?.into());
    }
    for variable in &arguments.env {
        let (name, value) = variable.split_once('=').ok_or_else(|| RunError::Variable {
            variable: GuestText::new(variable),
        })?;
        grants.env.insert(name.to_owned(), value.to_owned());
    }
    let input = arguments.input.as_deref().map_or(Ok(Vec::new()), read)?;
    let spec = TaskSpec::new(read(&arguments.module)?, input, limits)?;
    Ok(spec.with_grants(grants)?)
}

/// Named after module and input, so that one directory serves many tasks.
fn checkpoint_file(dir: &Path, spec: &TaskSpec) -> PathBuf {
    let (module, input) = (spec.module_digest(), Digest::of(spec.input()));
    let both = [*module.as_bytes(), *input.as_bytes()].concat();
    dir.join(format!("{}.checkpoint", Digest::of(&both)))
}

fn last_checkpoint(file: &Path, spec: &TaskSpec) -> Result<Option<Checkpoint>, RunError> {
    if !file.exists() {
        return Ok(None);
    }
    Checkpoint::decode(&read(file)?, spec.limits().memory_bytes)
        .map(Some)
        .map_err(|source| RunError::Checkpoint {
            path: file.to_owned(),
            source,
        })
}

/// Prints the log, and keeps the last checkpoint in a file.
struct Terminal {
    file: Option<PathBuf>,
}

impl Observer for Terminal {
    fn log(&self, line: &str) {
        eprintln!("{line}");
    }

    fn progress(&self, permille: u16) {
        eprintln!("{}.{} % done", permille / 10, permille % 10);
    }

    fn checkpoint(&self, checkpoint: Checkpoint) {
        let Some(file) = &self.file else {
            return;
        };
        // In one step: a crash leaves the one before. A failure costs the checkpoint, not the task.
        let draft = file.with_extension("draft");
        let kept = fs::write(&draft, checkpoint.encode()).and_then(|()| fs::rename(&draft, file));
        if let Err(error) = kept {
            eprintln!("checkpoint was not kept: {}: {error}", file.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: RunArguments,
    }

    fn run_with(args: &[&str]) -> Result<(), RunError> {
        let args = [&["run"], args].concat();
        run(&Command::try_parse_from(args).unwrap().arguments)
    }

    fn sum() -> String {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/wasm/sum.wasm").to_owned()
    }

    #[test]
    fn output_is_written_and_limits_and_failures_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("input"), [1, 2, 39]).unwrap();
        let (module, input, output) = (sum(), path("input"), path("output"));
        let base = [&*module, "--input", &input, "--output", &output];
        run_with(&base).unwrap();
        assert_eq!(fs::read(&output).unwrap(), 42_u64.to_le_bytes());
        let code = |args: &[&str]| run_with(args).unwrap_err().exit_code();
        assert_eq!(code(&[&base[..], &["--fuel", "1"]].concat()), 3);
        assert_eq!(code(&[&base[..], &["--fuel", "0"]].concat()), 2);
        assert_eq!(code(&["not-there.wasm"]), 1);
        assert_eq!(code(&[&module, "--wasi", "--env", "NAME"]), 2);
        assert_eq!(code(&[&module, "--wasi", "--file", "/etc/hostname"]), 2);
    }

    #[test]
    fn task_goes_on_from_the_checkpoint_in_its_directory() {
        // Without a checkpoint it would not end: `fog_run` traps.
        let text = r#"(module (memory (export "memory") 1)
            (func (export "fog_alloc") (param i32) (result i32) (i32.const 0))
            (func (export "fog_run") (param i32 i32) (result i64) (unreachable))
            (func (export "fog_resume") (result i64) (i64.const 0x800000004)))"#;
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let module = wat::parse_str(text).unwrap();
        fs::write(path("module"), &module).unwrap();
        let (file, kept, output) = (path("module"), path("kept"), path("output"));
        let args = [&*file, "--checkpoint-dir", &kept, "--output", &output];
        assert_eq!(run_with(&args).unwrap_err().exit_code(), 3);

        let spec = TaskSpec::new(module, [], Limits::default()).unwrap();
        let mut memory = vec![0; 65_536];
        memory[8..12].copy_from_slice(b"done");
        let checkpoint = Checkpoint {
            module: spec.module_digest(),
            input: Digest::of(b""),
            fuel: 1,
            permille: 0,
            memory,
            globals: Vec::new(),
        };
        let kept = checkpoint_file(Path::new(&kept), &spec);
        fs::write(&kept, checkpoint.encode()).unwrap();
        run_with(&args).unwrap();
        assert_eq!(fs::read(&output).unwrap(), b"done");
        assert!(!kept.exists());
    }
}
