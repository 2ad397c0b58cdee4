//! How many small tasks one device does in a second, kept on disk, beside engines for Python that
//! keep nothing.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use fogcompute::exec::{Runtime, RuntimeKind};
#[cfg(not(feature = "wasmtime"))]
use fogcompute::runtime::{WasmConfig, WasmRuntime};
#[cfg(feature = "wasmtime")]
use fogcompute::runtime::{WasmtimeConfig, WasmtimeRuntime};
use fogcompute::{Worker, WorkerConfig, WorkerHost, WorkerJob};
use serde::Deserialize;
use tempfile::TempDir;

use super::engines::{SHA256, chain};
use super::native;
use crate::measure::{Effort, median};
use crate::row::{Output, Row};

/// Digests in a task.
const TIMES: u32 = 100;
const WORKERS: u32 = 4;
/// Tasks in a job: they are handed in as a few jobs, for one has a limit.
const JOB_TASKS: usize = 1_000;

#[derive(Debug, Deserialize)]
struct Told {
    version: String,
    nanos: f64,
    last: String,
}

pub(crate) fn run(
    python: &Path,
    effort: Effort,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    // What the engines for Python need to be installed is more than a short run is worth.
    let (tasks, rounds, peers) = match effort {
        Effort::Full => (10_000, 3, &["pool", "dask", "ray"][..]),
        Effort::Smoke => (20, 1, &["pool"][..]),
    };
    for peer in peers {
        let (mut ours, mut theirs, mut version) = (Vec::new(), Vec::new(), String::new());
        for _ in 0..rounds {
            let told = python_tasks(python, peer, tasks)?;
            theirs.push(f64::from(tasks) * 1e9 / told.nanos);
            version = told.version;
            ours.push(worker(tasks)?);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        output.print(Row {
            area: "exec",
            // Times of a task, so that more is slower, as in every row.
            case: format!("a task of {tasks}, all on disk"),
            ours: 1e6 / ours,
            unit: "us",
            peer: match *peer {
                "pool" => "ProcessPoolExecutor",
                "dask" => "Dask distributed",
                _ => "Ray",
            }
            .to_owned(),
            peer_version: version,
            theirs: 1e6 / theirs,
            ratio: 0.0,
            n: rounds * u64::from(tasks),
        })?;
    }
    Ok(())
}

fn expected(tasks: u32) -> [u8; 32] {
    native::sha256_chain(TIMES, &(tasks - 1).to_le_bytes())
}

fn python_tasks(python: &Path, peer: &str, tasks: u32) -> Result<Told, Box<dyn Error>> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/exec.py");
    let run = Command::new(python)
        .args([program, peer, &tasks.to_string(), &WORKERS.to_string()])
        .output()?;
    let told = String::from_utf8_lossy(&run.stdout);
    let last = told.lines().last().unwrap_or_default();
    let told: Told = serde_json::from_str(last).map_err(|error| {
        let errors = String::from_utf8_lossy(&run.stderr);
        format!(
            "{peer}: {error}: {}",
            errors.lines().last().unwrap_or_default()
        )
    })?;
    let digest: String = expected(tasks).map(|byte| format!("{byte:02x}")).concat();
    if told.last != digest {
        return Err(format!("{peer} has another digest").into());
    }
    Ok(told)
}

#[cfg(feature = "wasmtime")]
fn runtime() -> Result<Arc<dyn Runtime>, Box<dyn Error>> {
    Ok(Arc::new(WasmtimeRuntime::new(&WasmtimeConfig::default())?))
}

#[cfg(not(feature = "wasmtime"))]
fn runtime() -> Result<Arc<dyn Runtime>, Box<dyn Error>> {
    Ok(Arc::new(WasmRuntime::new(WasmConfig::default())))
}

/// Tasks a second, from handing them in to the last output, every step on disk.
fn worker(tasks: u32) -> Result<f64, Box<dyn Error>> {
    let folder = TempDir::new()?;
    let config = WorkerConfig {
        path: Some(folder.path().join("tasks")),
        slots: WORKERS,
        ..WorkerConfig::default()
    };
    let host = WorkerHost {
        runtimes: [(RuntimeKind::wasm(), runtime()?)].into(),
        ..WorkerHost::default()
    };
    let worker = Worker::start(config, host)?;
    let inputs = |numbers: &[u32]| {
        numbers
            .iter()
            .map(|number| chain(TIMES, &number.to_le_bytes()))
            .collect()
    };
    // The module is compiled, as the peers' workers have started.
    let first = worker
        .submit(WorkerJob::new(SHA256, inputs(&[1_000_000_000])))
        .wait()?;
    for task in first.task_ids() {
        worker.output(task).wait()?;
    }
    #[expect(clippy::disallowed_methods, reason = "a bench measures elapsed time")]
    let start = Instant::now();
    let mut jobs = Vec::new();
    let numbers: Vec<_> = (0..tasks).collect();
    for some in numbers.chunks(JOB_TASKS) {
        jobs.push(worker.submit(WorkerJob::new(SHA256, inputs(some))));
    }
    let mut last = Vec::new();
    for job in jobs {
        for task in job.wait()?.task_ids() {
            last = worker.output(task).wait()?.output;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    if last != expected(tasks) {
        return Err("the worker has another digest".into());
    }
    Ok(f64::from(tasks) / seconds)
}
