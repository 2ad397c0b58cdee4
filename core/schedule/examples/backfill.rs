//! What backfilling is worth: the same jobs under each rule, and how long decisions take.
//!
//! `cargo run --release -p fogcompute-schedule --example backfill [-- LOG.swf [NODES PROCESSORS]]`
//!
//! Without a log the jobs are made up: sizes are mostly powers of two, run times spread over four
//! orders of magnitude, and users say that they take one to five times as long as they do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fogcompute_base::{Instant as At, NodeId, TaskId};
use fogcompute_schedule::queue::{Backfill, Config, Decision, Queue};
use fogcompute_schedule::workload::{Arrival, swf};
use fogcompute_schedule::{Job, Node};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

type Error = Box<dyn std::error::Error>;

const BACKFILLS: [Backfill; 3] = [Backfill::None, Backfill::Easy, Backfill::Conservative];

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let log = arguments.next();
    let nodes: u16 = arguments.next().map_or(Ok(16), |text| text.parse())?;
    let processors: u16 = arguments.next().map_or(Ok(16), |text| text.parse())?;
    let arrivals = match &log {
        Some(path) => {
            let log: swf::Log = std::fs::read_to_string(path)?.parse()?;
            log.arrivals(processors.into())?
        }
        None => made_up(4_000, nodes, processors, 1),
    };
    let (jobs, cores) = (arrivals.len(), u32::from(nodes) * u32::from(processors));
    println!("{jobs} jobs on {nodes} nodes of {processors} processors");
    for backfill in BACKFILLS {
        let run = run(&arrivals, nodes, processors, backfill)?;
        let waits = run.waits_ms.values().sum::<f64>() / jobs as f64 / 60e3;
        println!(
            "{backfill:?}: mean wait {waits:.1} min, mean bounded slowdown {:.1}, processors used {:.1} % \
             until the last job is done, {:.0} µs for each of {} events",
            run.slowdowns / jobs as f64,
            100.0 * run.core_ms / f64::from(cores) / run.last_ms as f64,
            run.busy.as_secs_f64() * 1e6 / run.events as f64,
            run.events,
        );
    }
    println!(
        "as many jobs waiting as nodes, all of which are taken; every node frees and takes one"
    );
    // Where everybody has a reservation, a job that comes is held against most nodes.
    for (backfill, count) in BACKFILLS.into_iter().zip([10_000, 10_000, 1_000]) {
        let run = run(&full(count), count, 4, backfill)?;
        println!(
            "{backfill:?}: {count} nodes, {:.0} µs for each of {} events",
            run.busy.as_secs_f64() * 1e6 / run.events as f64,
            run.events,
        );
    }
    Ok(())
}

/// What came of a workload.
#[derive(Default)]
struct Run {
    waits_ms: BTreeMap<TaskId, f64>,
    /// Sum of (wait + time taken) / time taken, of which less than ten seconds count as ten.
    slowdowns: f64,
    core_ms: f64,
    last_ms: u64,
    /// Jobs that came and jobs that ended.
    events: usize,
    /// How long the queue took.
    busy: Duration,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock; the queue does not"
)]
fn run(
    arrivals: &[Arrival],
    nodes: u16,
    processors: u16,
    backfill: Backfill,
) -> Result<Run, Error> {
    let mut queue = Queue::new(Config {
        backfill,
        ..Config::default()
    })?;
    for id in 0..nodes {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        let cpu_millis = u64::from(processors) * 1_000;
        queue.add_node(Node::new(NodeId::from_bytes(bytes), cpu_millis, 1 << 50))?;
    }
    let of: BTreeMap<TaskId, &Arrival> = arrivals.iter().map(|it| (it.job.id, it)).collect();
    let mut coming = arrivals.chunk_by(|a, b| a.job.gang.is_some() && a.job.gang == b.job.gang);
    let mut next = coming.next();
    let mut ends: BTreeSet<(u64, TaskId, NodeId)> = BTreeSet::new();
    let mut run = Run::default();
    loop {
        let at = |arrivals: &[Arrival]| arrivals[0].at_ms;
        let end = ends.first().map(|&(at, ..)| at);
        let timer = queue.poll_timeout();
        let timer = timer.map(|at| at.as_nanos().div_ceil(1_000_000));
        let times = [next.map(at), end, timer].into_iter().flatten();
        let Some(now_ms) = times.min().map(|it| it.max(run.last_ms)) else {
            return Ok(run);
        };
        run.last_ms = now_ms;
        let now = At::from_millis(now_ms);
        let start = Instant::now();
        while let Some(&(at, job, node)) = ends.first()
            && at <= now_ms
        {
            ends.pop_first();
            queue.finish(job, node, now)?;
            run.events += 1;
        }
        while let Some(arrivals) = next.filter(|arrivals| at(arrivals) <= now_ms) {
            let jobs: Vec<Job> = arrivals.iter().map(|it| it.job.clone()).collect();
            queue.submit(&jobs, now)?;
            run.events += 1;
            next = coming.next();
        }
        while let Some(decision) = queue.poll(now) {
            let Decision::Start { job, node } = decision else {
                continue;
            };
            let arrival = of[&job];
            let took_ms = arrival.took_ms.unwrap_or(arrival.job.duration_ms);
            let wait_ms = (now_ms - arrival.at_ms) as f64;
            let counted_ms = f64::max(took_ms as f64, 10e3);
            run.waits_ms.insert(job, wait_ms);
            run.slowdowns += f64::max((wait_ms + took_ms as f64) / counted_ms, 1.0);
            run.core_ms += (took_ms * arrival.job.cpu_millis) as f64 / 1e3;
            ends.insert((now_ms + took_ms, job, node));
        }
        run.busy += start.elapsed();
    }
}

/// A week or so of a busy cluster.
fn made_up(jobs: u16, nodes: u16, processors: u16, seed: u64) -> Vec<Arrival> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let mut unit = || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let mut arrivals = Vec::new();
    let mut core_ms = 0.0;
    for id in 0..jobs {
        let size = 2_f64.powf(unit() * f64::from(processors).log2());
        let is_round = unit() < 0.75;
        let size = if is_round {
            2_f64.powf(size.log2().round())
        } else {
            size.round()
        };
        let took_ms = 5e3 * 10_f64.powf(unit() * 3.5);
        let said_ms = took_ms * (1.0 + 4.0 * unit() * unit());
        // Nine tenths of all processors would be busy if nothing were ever left idle.
        core_ms += size * took_ms;
        let at_ms = core_ms / 0.9 / f64::from(nodes) / f64::from(processors);
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        arrivals.push(Arrival {
            at_ms: at_ms as u64,
            took_ms: Some(took_ms as u64),
            job: Job::new(
                TaskId::from_bytes(bytes),
                size as u64 * 1_000,
                1 << 30,
                said_ms as u64,
            ),
        });
    }
    arrivals
}

/// Two jobs for each node, all at once, and all as large as a node.
fn full(nodes: u16) -> Vec<Arrival> {
    let arrivals = (0..2 * u32::from(nodes)).map(|id| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&id.to_be_bytes());
        let duration_ms = 60_000 + u64::from(id * 7_919 % 60_000);
        Arrival {
            at_ms: 0,
            took_ms: None,
            job: Job::new(TaskId::from_bytes(bytes), 4_000, 1 << 20, duration_ms),
        }
    });
    arrivals.collect()
}
