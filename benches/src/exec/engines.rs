//! The engines beside each other and beside native code.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use fogcompute::exec::{Checkpoint, Control, Grants, Limits, Observer, Runtime, Session, TaskSpec};
#[cfg(feature = "wasmtime")]
use fogcompute::runtime::{Metering, WasmtimeConfig, WasmtimeRuntime};
use fogcompute::runtime::{WasmConfig, WasmRuntime};

use super::native;
use crate::measure::{Clock, Effort, in_turns_by};
use crate::row::{Output, Row};

const ECHO: &[u8] = include_bytes!("../../../examples/wasm/echo.wasm");
const FIB: &[u8] = include_bytes!("../../guests/fib.wasm");
const KEEP: &[u8] = include_bytes!("../../guests/keep.wasm");
const MANDELBROT: &[u8] = include_bytes!("../../guests/mandelbrot.wasm");
pub(crate) const SHA256: &[u8] = include_bytes!("../../guests/sha256.wasm");

type Engine = (&'static str, Box<dyn Runtime>);

/// A guest's work, and the same as this program's own code.
struct Work {
    name: &'static str,
    spec: TaskSpec,
    native: Box<dyn Fn() -> Vec<u8>>,
}

pub(crate) fn run(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let engines = engines()?;
    starts(effort, &engines, output)?;
    #[cfg(feature = "wasmtime")]
    compiling(effort, output)?;
    for work in works(effort)? {
        beside_native(effort, &engines, &work, output)?;
    }
    for engine in &engines {
        checkpoints(effort, engine, output)?;
    }
    Ok(())
}

/// The fastest to start comes first.
#[cfg(feature = "wasmtime")]
fn engines() -> Result<Vec<Engine>, Box<dyn Error>> {
    let wasmtime = |metering, pooled_instances| {
        WasmtimeRuntime::new(&WasmtimeConfig {
            metering,
            pooled_instances,
            ..WasmtimeConfig::default()
        })
    };
    Ok(vec![
        ("wasmtime", Box::new(wasmtime(Metering::Fuel, 8)?)),
        (
            "wasmtime unmetered",
            Box::new(wasmtime(Metering::TimeOnly, 8)?),
        ),
        ("wasmtime on demand", Box::new(wasmtime(Metering::Fuel, 0)?)),
        ("wasmi", Box::new(WasmRuntime::new(WasmConfig::default()))),
    ])
}

#[cfg(not(feature = "wasmtime"))]
fn engines() -> Result<Vec<Engine>, Box<dyn Error>> {
    let wasmi = WasmRuntime::new(WasmConfig::default());
    Ok(vec![("wasmi", Box::new(wasmi))])
}

fn row(case: String, ours: f64, unit: &'static str, peer: &str, theirs: f64, n: u64) -> Row {
    Row {
        area: "exec",
        case,
        ours,
        unit,
        peer: peer.to_owned(),
        peer_version: String::new(),
        theirs,
        ratio: 0.0,
        n,
    }
}

/// A small task from the call to its output, its module compiled before: a fresh instance each
/// time.
fn starts(effort: Effort, engines: &[Engine], output: &mut Output) -> Result<(), Box<dyn Error>> {
    let spec = TaskSpec::new(ECHO, *b"input", limits())?;
    let run = |engine: &Engine| {
        black_box(engine.1.run(&spec)).expect("it is echoed");
    };
    for engine in engines {
        // Without the compiler there is nothing to put beside the interpreter but itself.
        let other = engines
            .iter()
            .rev()
            .find(|other| other.0 != engine.0)
            .unwrap_or(engine);
        let pair = in_turns_by(Clock::Wall, effort, || run(engine), || run(other));
        let case = format!("start to end, {}", engine.0);
        let (ours, theirs) = (pair.ours / 1e3, pair.theirs / 1e3);
        output.print(row(case, ours, "us", other.0, theirs, pair.n))?;
    }
    Ok(())
}

/// A module's first task, with nothing kept and with the code of its functions kept.
#[cfg(feature = "wasmtime")]
fn compiling(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let spec = TaskSpec::new(SHA256, chain(1, b"message"), limits())?;
    let wasmtime = |code_bytes_max| {
        WasmtimeRuntime::new(&WasmtimeConfig {
            cached_modules_max: 0,
            code_bytes_max,
            ..WasmtimeConfig::default()
        })
    };
    let wasmi = WasmRuntime::new(WasmConfig {
        cached_modules_max: 0,
        ..WasmConfig::default()
    });
    let (cold, kept) = (wasmtime(0)?, wasmtime(16 << 20)?);
    let run = |runtime: &dyn Runtime| {
        black_box(runtime.run(&spec)).expect("it is a digest");
    };
    for (case, runtime) in [
        ("compile and run sha256, code kept", &kept as &dyn Runtime),
        ("compile and run sha256, wasmi", &wasmi),
    ] {
        let pair = in_turns_by(Clock::Wall, effort, || run(runtime), || run(&cold));
        let (ours, theirs) = (pair.ours / 1e3, pair.theirs / 1e3);
        output.print(row(
            case.to_owned(),
            ours,
            "us",
            "wasmtime, nothing kept",
            theirs,
            pair.n,
        ))?;
    }
    Ok(())
}

fn limits() -> Limits {
    Limits {
        fuel: u64::MAX >> 1,
        memory_bytes: 256 << 20,
        // Who does not count the work has to count the time.
        wall: Some(Duration::from_secs(600)),
        ..Limits::default()
    }
}

/// The input of the guest `sha256`.
pub(crate) fn chain(times: u32, message: &[u8]) -> Vec<u8> {
    [&times.to_le_bytes(), message].concat()
}

fn works(effort: Effort) -> Result<[Work; 4], Box<dyn Error>> {
    let (n, side, times, kib): (u32, u32, u32, u32) = match effort {
        Effort::Full => (24, 96, 1_000, 256),
        Effort::Smoke => (5, 4, 2, 1),
    };
    let steps: u32 = 200;
    let message: Vec<u8> = (0..kib << 10).map(|i| i as u8).collect();
    let spec = |module: &[u8], input: Vec<u8>| TaskSpec::new(module, input, limits());
    Ok([
        Work {
            name: "fib",
            spec: spec(FIB, n.to_le_bytes().to_vec())?,
            native: Box::new(move || native::fib(n).to_le_bytes().to_vec()),
        },
        Work {
            name: "mandelbrot",
            spec: spec(
                MANDELBROT,
                [side.to_le_bytes(), steps.to_le_bytes()].concat(),
            )?,
            native: Box::new(move || native::mandelbrot(side, steps).to_le_bytes().to_vec()),
        },
        Work {
            name: "sha256 chain",
            spec: spec(SHA256, chain(times, b"message"))?,
            native: Box::new(move || native::sha256_chain(times, b"message").to_vec()),
        },
        Work {
            name: "sha256 message",
            spec: spec(SHA256, chain(1, &message))?,
            native: Box::new(move || native::sha256_chain(1, &message).to_vec()),
        },
    ])
}

fn beside_native(
    effort: Effort,
    engines: &[Engine],
    work: &Work,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    for (name, runtime) in engines {
        if runtime.run(&work.spec)?.output != (work.native)() {
            return Err(format!("{} differs in {name}", work.name).into());
        }
        let pair = in_turns_by(
            Clock::Wall,
            effort,
            || {
                black_box(runtime.run(&work.spec)).expect("it ran before");
            },
            || {
                black_box((work.native)());
            },
        );
        let case = format!("{}, {name}", work.name);
        output.print(row(
            case,
            pair.ours / 1e3,
            "us",
            "native",
            pair.theirs / 1e3,
            pair.n,
        ))?;
    }
    Ok(())
}

/// Takes checkpoints, and does nothing with them but writing them as bytes.
struct Keeper;

impl Observer for Keeper {
    fn log(&self, _: &str) {}
    fn progress(&self, _: u16) {}
    fn checkpoint(&self, checkpoint: Checkpoint) {
        black_box(checkpoint.encode());
    }
}

/// The last checkpoint, for the task that goes on from it.
#[derive(Default)]
struct Last(std::sync::Mutex<Option<Checkpoint>>);

impl Observer for Last {
    fn log(&self, _: &str) {}
    fn progress(&self, _: u16) {}
    fn checkpoint(&self, checkpoint: Checkpoint) {
        let mut last = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = Some(checkpoint);
    }
}

/// What a run with a checkpoint takes, and what going on from one does, beside the run without, by
/// MiB of memory.
fn checkpoints(
    effort: Effort,
    (name, runtime): &Engine,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    let mib: u32 = match effort {
        Effort::Full => 64,
        Effort::Smoke => 1,
    };
    let grants = Grants {
        host_calls: true,
        ..Grants::default()
    };
    let input = (mib * 16).to_le_bytes();
    let spec = TaskSpec::new(KEEP, input, limits())?.with_grants(grants)?;
    let asked = |observer: Arc<dyn Observer>| {
        let control = Control::new();
        control.request_checkpoint();
        Session {
            control,
            observer,
            from: None,
        }
    };
    let last = Arc::new(Last::default());
    runtime.execute(&spec, &asked(Arc::<Last>::clone(&last)))?;
    let last = last.0.lock().ok().and_then(|mut last| last.take());
    let bytes = last.ok_or("no checkpoint was made")?.encode();

    let with = || {
        black_box(runtime.execute(&spec, &asked(Arc::new(Keeper)))).expect("it ran before");
    };
    let without = || {
        black_box(runtime.run(&spec)).expect("it ran before");
    };
    let on = || {
        let from = Checkpoint::decode(&bytes, limits().memory_bytes).expect("it was encoded");
        let session = Session {
            from: Some(from),
            ..Session::default()
        };
        black_box(runtime.execute(&spec, &session)).expect("it goes on");
    };
    for (what, call) in [
        ("run with checkpoint", &with as &dyn Fn()),
        ("go on from checkpoint", &on),
    ] {
        let pair = in_turns_by(Clock::Wall, effort, call, without);
        let by_mib = |nanos: f64| nanos / 1e3 / f64::from(mib);
        let case = format!("{what} a MiB, {name}");
        let (ours, theirs) = (by_mib(pair.ours), by_mib(pair.theirs));
        output.print(row(case, ours, "us", "run without", theirs, pair.n))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_do_what_the_native_code_does() {
        let wasmi = WasmRuntime::new(WasmConfig::default());
        for work in works(Effort::Smoke).unwrap() {
            let output = wasmi.run(&work.spec).unwrap().output;
            assert_eq!(output, (work.native)(), "{}", work.name);
        }
    }
}
