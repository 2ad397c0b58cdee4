//! Short tasks through a coordinator and four processes of workers, all on disk, beside engines for
//! Python that keep nothing; and how soon the tasks of a worker that is killed are elsewhere.

use std::error::Error;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fogcompute::base::{AccountId, JobId, NodeId, Priority, TaskId};
use fogcompute::coord::routing::Strategy;
use fogcompute::coord::{Config, Event, JobSpec, Placement, PrivacyLevel, TaskOrder};
use fogcompute::exec::{Limits, TaskSpec, TaskState};
use fogcompute::harvest::HarvestPolicy;
use fogcompute::ledger::Amount;
use fogcompute::node::{CoordinatorConfig, CoordinatorService, NodeConfig, Role, Update, run_node};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::exec::{SHA256, chain, sha256_chain};
use crate::measure::{Effort, median};
use crate::row::{Output, Row};

const OWNER: AccountId = AccountId::from_bytes([9; 16]);
const WORKERS: usize = 4;

/// Most tasks of one job.
const JOB: u32 = 5_000;

/// The first number of tasks that are not among those measured together.
const OTHERS: u32 = 1_000_000_000;

/// How long a worker was given before by the coordinator of the prototype, in milliseconds.
const HEARTBEAT_TIMEOUT_MS: f64 = 90_000.0;

#[derive(Debug, Deserialize)]
struct Told {
    version: String,
    nanos: f64,
    last: String,
    alone: Vec<f64>,
}

/// What a run of a fog took, in milliseconds.
struct Took {
    together_ms: f64,
    alone_ms: Vec<f64>,
    elsewhere_ms: f64,
}

pub(crate) fn run(
    python: &Path,
    effort: Effort,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    // What the engines for Python need to be installed is more than a short run is worth.
    let (tasks, alone, rounds, peers) = match effort {
        Effort::Full => (10_000, 200, 3, &["dask", "ray"][..]),
        Effort::Smoke => (40, 3, 1, &["pool"][..]),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut elsewhere = Vec::new();
    for peer in peers {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let (mut our_alone, mut their_alone, mut version) = (Vec::new(), Vec::new(), String::new());
        for _ in 0..rounds {
            let told = python_tasks(python, peer, tasks, alone)?;
            theirs.push(told.nanos / 1e6);
            their_alone.extend(told.alone.iter().map(|nanos| nanos / 1e6));
            version = told.version;
            let took = fog(&runtime, tasks, alone)?;
            ours.push(took.together_ms);
            our_alone.extend(took.alone_ms);
            elsewhere.push(took.elsewhere_ms);
        }
        let peer = match *peer {
            "pool" => "ProcessPoolExecutor",
            "dask" => "Dask distributed",
            _ => "Ray",
        };
        let mut print = |case: String, ours, theirs, unit, n| {
            output.print(Row {
                area: "coord",
                case,
                ours,
                unit,
                peer: peer.to_owned(),
                peer_version: version.clone(),
                theirs,
                ratio: 0.0,
                n,
            })
        };
        // Times of a task, so that more is slower, as in every row.
        let each = |ms: Vec<f64>| median(ms) * 1e3 / f64::from(tasks);
        let case = format!("a task of {tasks}, through a fog");
        print(
            case,
            each(ours),
            each(theirs),
            "us",
            rounds * u64::from(tasks),
        )?;
        for (name, permille) in [("p50", 500), ("p99", 990)] {
            let case = format!("a task alone, {name}");
            let (ours, theirs) = (&our_alone, &their_alone);
            let n = ours.len() as u64;
            let unit = "ms";
            print(
                case,
                quantile(ours, permille),
                quantile(theirs, permille),
                unit,
                n,
            )?;
        }
    }
    let n = elsewhere.len() as u64;
    output.print(Row {
        area: "coord",
        case: "killed worker's tasks elsewhere".to_owned(),
        ours: median(elsewhere),
        unit: "ms",
        peer: "heartbeat timeout".to_owned(),
        peer_version: String::new(),
        theirs: HEARTBEAT_TIMEOUT_MS,
        ratio: 0.0,
        n,
    })
}

/// The value below which so many thousandths are.
fn quantile(values: &[f64], permille: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let index = values.len() * permille / 1_000;
    values
        .get(index.min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

fn expected(number: u32) -> [u8; 32] {
    sha256_chain(1, &number.to_le_bytes())
}

fn python_tasks(python: &Path, peer: &str, tasks: u32, alone: u32) -> Result<Told, Box<dyn Error>> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/coord.py");
    let run = Command::new(python)
        .arg(program)
        .arg(peer)
        .args([tasks, alone, WORKERS as u32].map(|number| number.to_string()))
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
    let digest: String = expected(tasks - 1)
        .map(|byte| format!("{byte:02x}"))
        .concat();
    if told.last != digest {
        return Err(format!("{peer} has another digest").into());
    }
    Ok(told)
}

/// One worker: a process of its own, until its coordinator is gone.
pub(crate) fn worker(
    coordinator: SocketAddr,
    coordinator_id: NodeId,
    data: PathBuf,
) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(run_node(NodeConfig {
        role: Role::Compute,
        coordinator,
        coordinator_id,
        listen: ([127, 0, 0, 1], 0).into(),
        data,
        policy: HarvestPolicy::always(),
        nodes_on_machine: NonZeroU16::MIN,
        price_per_gigafuel: Amount(1_000),
        heartbeat: Duration::from_secs(1),
        exit_with_coordinator: true,
    }))?)
}

/// Processes that end when this is dropped.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn job(id: u32, numbers: std::ops::Range<u32>, times: u32) -> Result<JobSpec, Box<dyn Error>> {
    // As much as a thousand bytes take to be hashed, and more for long ones.
    let fuel = 1_000_000 + 10_000 * u64::from(times);
    let limits = Limits {
        fuel,
        memory_bytes: 1 << 20,
        output_bytes: 32,
        ..Limits::default()
    };
    let order = |number: u32| {
        let input = chain(times, &number.to_le_bytes());
        Ok::<_, Box<dyn Error>>(TaskOrder {
            id: TaskId::from_bytes(u128::from(number).to_be_bytes()),
            spec: TaskSpec::new(SHA256, input, limits)?,
            fuel_estimate: fuel / 10,
            price_max: Amount(1_000_000_000),
        })
    };
    Ok(JobSpec {
        id: JobId::from_bytes(u128::from(id).to_be_bytes()),
        owner: OWNER,
        priority: Priority::Normal,
        privacy: PrivacyLevel::Public,
        tasks: numbers.map(order).collect::<Result<_, _>>()?,
    })
}

fn fog(runtime: &Runtime, tasks: u32, alone: u32) -> Result<Took, Box<dyn Error>> {
    runtime.block_on(measure(tasks, alone))
}

async fn measure(tasks: u32, alone: u32) -> Result<Took, Box<dyn Error>> {
    let folder = TempDir::new()?;
    let mut fog = CoordinatorService::start(CoordinatorConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        ledger: folder.path().join("ledger"),
        jobs: folder.path().join("jobs"),
        owner: OWNER,
        endowment: Amount::from_credits(1_000_000),
        delay_mean: Duration::from_millis(1),
        layers: 1,
        seed: 1,
        nodes_max: 8,
        rules: Config {
            placement: Placement::Routed(Strategy::RoundRobin),
            ..Config::default()
        },
    })
    .await?;
    let (address, id) = (fog.descriptor().address, fog.descriptor().node);
    let mut workers = Processes(Vec::new());
    for number in 0..WORKERS {
        let child = Command::new(std::env::current_exe()?)
            .arg("coord-worker")
            .arg(address.to_string())
            .arg(id.to_string())
            .arg(folder.path().join(format!("worker-{number}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        workers.0.push(child);
    }
    let lends = |fog: &CoordinatorService| {
        let nodes = fog.rules().nodes();
        nodes.iter().filter(|node| node.offer.slots() > 0).count()
    };
    while lends(&fog) < WORKERS {
        fog.next().await?;
    }
    // The module is compiled by all of them, as the peers' workers have started.
    let warm = WORKERS as u32 * 8;
    together(&mut fog, job(1, OTHERS..OTHERS + warm, 1)?).await?;

    let start = now();
    let mut ends = 0;
    for (id, first) in (2..).zip((0..tasks).step_by(JOB as usize)) {
        fog.submit(job(id, first..tasks.min(first + JOB), 1)?)
            .await?;
    }
    while ends < tasks {
        ends += u32::from(is_end(&fog.next().await?));
    }
    let together_ms = ms(start);
    let last = TaskId::from_bytes(u128::from(tasks - 1).to_be_bytes());
    let report = fog
        .jobs()
        .report(last)?
        .ok_or("the last task has no report")?;
    if report.result?.output != expected(tasks - 1) {
        return Err("the fog has another digest".into());
    }

    let mut alone_ms = Vec::new();
    for number in 0..alone {
        let start = now();
        let first = OTHERS + warm + number;
        together(&mut fog, job(1_000 + number, first..first + 1, 1)?).await?;
        alone_ms.push(ms(start));
    }
    Ok(Took {
        together_ms,
        alone_ms,
        elsewhere_ms: killed(&mut fog, &mut workers).await?,
    })
}

/// How long it takes from the end of a worker that is killed until others have all its tasks.
async fn killed(
    fog: &mut CoordinatorService,
    workers: &mut Processes,
) -> Result<f64, Box<dyn Error>> {
    let first = 2 * OTHERS;
    let long = job(2, first..first + 64, 20_000)?;
    let long = JobSpec {
        id: JobId::from_bytes([0xff; 16]),
        ..long
    };
    let ids: Vec<_> = long.tasks.iter().map(|order| order.id).collect();
    fog.submit(long).await?;
    let mut ended = 0;
    while ended < 8 {
        ended += usize::from(is_end(&fog.next().await?));
    }
    let start = now();
    if let Some(worker) = workers.0.first_mut() {
        worker.kill()?;
    }
    while !matches!(
        fog.next().await?,
        Update::Decided {
            event: Event::NodeLost { .. },
            ..
        }
    ) {}
    // Another attempt at each of those that were begun there.
    while ids.iter().any(|id| {
        let task = fog.rules().task(*id);
        task.is_some_and(|task| task.attempts > 0 && matches!(task.state, TaskState::Queued { .. }))
    }) {
        fog.next().await?;
    }
    Ok(ms(start))
}

async fn together(fog: &mut CoordinatorService, job: JobSpec) -> Result<(), Box<dyn Error>> {
    let count = job.tasks.len();
    fog.submit(job).await?;
    let mut ended = 0;
    while ended < count {
        ended += usize::from(is_end(&fog.next().await?));
    }
    Ok(())
}

fn is_end(update: &Update) -> bool {
    matches!(
        update,
        Update::Decided {
            event: Event::TaskEnded { .. },
            ..
        }
    )
}

#[expect(clippy::disallowed_methods, reason = "a bench measures elapsed time")]
fn now() -> Instant {
    Instant::now()
}

fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
