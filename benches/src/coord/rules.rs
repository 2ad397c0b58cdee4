//! Routing decisions as the fog grows, what a node takes of memory, and jobs that outlive a crash.

use std::error::Error;
use std::time::{Duration, Instant as Stopwatch};

use fogcompute::base::{AccountId, Instant, JobId, NodeId, Priority, TaskId, UnixMillis};
use fogcompute::coord::routing::Strategy;
use fogcompute::coord::{
    Config, Coordinator, Event, Forgetful, Host, JobSpec, Offer, Placement, PrivacyLevel,
    TaskOrder, genesis,
};
use fogcompute::exec::{Limits, TaskOutput, TaskReport, TaskSpec, Usage};
use fogcompute::ledger::{Amount, Book};
use fogcompute::store::{Durability, JobStore, SqliteLedger};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Deserialize;
use tempfile::TempDir;

use crate::measure::{Effort, counted_on_heap, median};
use crate::row::{Output, Row};

const OWNER: AccountId = AccountId::from_bytes([9; 16]);
const GIGA: u64 = 1_000_000_000;

/// Most tasks of one job.
const JOB: usize = 1_000;

fn config(strategy: Strategy) -> Config {
    Config {
        placement: Placement::Routed(strategy),
        ..Config::default()
    }
}

fn task_id(number: usize) -> TaskId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&(number as u64).to_be_bytes());
    TaskId::from_bytes(bytes)
}

/// A job whose tasks begin at that number.
fn job(first: usize, count: usize) -> Result<JobSpec, Box<dyn Error>> {
    let mut id = [1; 16];
    id[8..].copy_from_slice(&(first as u64).to_be_bytes());
    let spec = TaskSpec::new(vec![0; 1_000], vec![1; 100], Limits::default())?;
    let order = |number| TaskOrder {
        id: task_id(number),
        spec: spec.clone(),
        fuel_estimate: GIGA,
        price_max: Amount(1_000),
    };
    Ok(JobSpec {
        id: JobId::from_bytes(id),
        owner: OWNER,
        // Of less urgent ones no 100,000 may be open at once.
        priority: Priority::Critical,
        privacy: PrivacyLevel::Public,
        tasks: (first..first + count).map(order).collect(),
    })
}

/// A fog whose rules are all that there is of it.
struct Fog {
    rules: Coordinator,
    bank: Book,
    rng: ChaCha8Rng,
    tasks: usize,
    /// Attempts that run, in the order they began.
    running: Vec<(NodeId, TaskId, u32)>,
}

impl Fog {
    fn new(strategy: Strategy, nodes: usize) -> Result<Self, Box<dyn Error>> {
        let mut bank = Book::new();
        bank.execute(&genesis(OWNER, Amount(u128::MAX >> 8)), UnixMillis(0))?;
        let mut fog = Self {
            rules: Coordinator::new(config(strategy))?,
            bank,
            rng: ChaCha8Rng::seed_from_u64(1),
            tasks: 0,
            running: Vec::new(),
        };
        for _ in 0..nodes {
            let mut id = [0; 32];
            fog.rng.fill_bytes(&mut id);
            let (node, offer) = (NodeId::from_bytes(id), offer(&mut fog.rng));
            fog.call(|rules, host| rules.register(node, offer, host))?;
        }
        fog.take_events()?;
        Ok(fog)
    }

    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Coordinator, &mut Host<'_, Book, ChaCha8Rng>) -> T,
    ) -> T {
        let mut host = Host {
            bank: &mut self.bank,
            rng: &mut self.rng,
            now: Instant::from_millis(1),
            wall: UnixMillis(1),
        };
        call(&mut self.rules, &mut host)
    }

    fn take_events(&mut self) -> Result<(), Box<dyn Error>> {
        self.rules
            .flush(&mut Forgetful, &mut self.bank, UnixMillis(1))?;
        while let Some(event) = self.rules.poll_event() {
            if let Event::Dispatch {
                node,
                task,
                attempt,
                ..
            } = event
            {
                self.running.push((node, task, attempt));
            }
        }
        Ok(())
    }

    fn submit(&mut self, count: usize) -> Result<(), Box<dyn Error>> {
        let job = job(self.tasks, count)?;
        self.tasks += count;
        self.call(|rules, host| rules.submit(job, host))?;
        Ok(())
    }

    /// Ends everything that runs.
    fn report(&mut self) -> Result<(), Box<dyn Error>> {
        for (node, task, attempt) in std::mem::take(&mut self.running) {
            let usage = Usage {
                fuel: GIGA / 2,
                ..Usage::default()
            };
            let output = TaskOutput {
                output: Vec::new(),
                usage,
            };
            let report = TaskReport {
                task,
                result: Ok(output),
            };
            self.call(|rules, host| rules.report(node, attempt, report, host))?;
        }
        self.take_events()
    }
}

fn offer(rng: &mut ChaCha8Rng) -> Offer {
    Offer {
        cpu_millis: 1_000 * (1 + rng.next_u64() % 4),
        memory_bytes: 1 << 30,
        fuel_per_second: GIGA,
        price_per_gigafuel: Amount(100),
        latency_ms: (rng.next_u64() % 200) as f64,
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures elapsed time")]
fn timed<T, E>(call: impl FnOnce() -> Result<T, E>) -> Result<(Duration, T), E> {
    let start = Stopwatch::now();
    let done = call()?;
    Ok((start.elapsed(), done))
}

pub(crate) fn run(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    for strategy in Strategy::ALL {
        routing(strategy, effort, output)?;
    }
    memory(output)?;
    durable(effort, output)
}

/// What the program `memory` counted.
#[derive(Deserialize)]
struct Memory {
    /// Bytes of each node.
    node: f64,
    nodes: u64,
}

/// Bytes of the heap that a node takes, beside what it may.
fn memory(output: &mut Output) -> Result<(), Box<dyn Error>> {
    const LIMIT: f64 = 2_048.0;
    let Memory { node, nodes } = counted_on_heap("coord")?;
    output.print(Row {
        area: "coord",
        case: "memory of a registered node".to_owned(),
        ours: node,
        unit: "B",
        peer: "limit".to_owned(),
        peer_version: "2 KiB".to_owned(),
        theirs: LIMIT,
        ratio: LIMIT / node,
        n: nodes,
    })
}

/// Nanoseconds from a task's admission to its dispatch, half of the nodes being taken.
fn decision(strategy: Strategy, nodes: usize, rounds: usize) -> Result<f64, Box<dyn Error>> {
    let mut fog = Fog::new(strategy, nodes)?;
    let mut nanos = Vec::new();
    // Half of the slots are taken all along, by whichever tasks.
    for first in (0..nodes).step_by(JOB) {
        fog.submit((nodes - first).min(JOB))?;
        fog.take_events()?;
    }
    let taken = fog.running.len();
    for _ in 0..rounds {
        let count = (nodes / 2).clamp(1, JOB);
        let (time, ()) = timed(|| fog.submit(count))?;
        nanos.push(time.as_secs_f64() * 1e9 / count as f64);
        fog.take_events()?;
        assert_eq!(fog.running.len(), taken + count, "all are dispatched");
        let rest = fog.running.split_off(taken);
        let first = std::mem::replace(&mut fog.running, rest);
        fog.report()?;
        fog.running = first;
    }
    Ok(median(nanos))
}

/// Decisions in fogs of 100, 1,000 and 10,000 nodes; beside the smaller fog, whose decision may be
/// cheaper by the ratio of the logarithms.
fn routing(strategy: Strategy, effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let (sizes, rounds) = match effort {
        Effort::Full => ([100, 1_000, 10_000], 51),
        Effort::Smoke => ([10, 20, 40], 1),
    };
    let mut before: Option<(usize, f64)> = None;
    for nodes in sizes {
        let nanos = decision(strategy, nodes, rounds)?;
        let (smaller, theirs) = match before {
            Some((smaller, nanos)) => {
                let growth = (nodes as f64).ln() / (smaller as f64).ln();
                (format!("{smaller} nodes, and log n"), nanos * growth)
            }
            None => ("itself".to_owned(), nanos),
        };
        output.print(Row {
            area: "coord",
            case: format!("{strategy}, {nodes} nodes"),
            ours: nanos,
            unit: "ns",
            peer: smaller,
            peer_version: String::new(),
            theirs,
            ratio: theirs / nanos,
            n: (rounds * (nodes / 2).clamp(1, JOB)) as u64,
        })?;
        before = Some((nodes, nanos));
    }
    Ok(())
}

/// Submissions that are on disk, and a coordinator that comes back with all of them.
fn durable(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    /// Seconds in which a coordinator must be back.
    const LIMIT: f64 = 5.0;
    let tasks = match effort {
        Effort::Full => 100_000,
        Effort::Smoke => 2_000,
    };
    let folder = TempDir::new()?;
    let path = folder.path().join("jobs.db");
    let mut bank = SqliteLedger::open(folder.path().join("ledger.db"), Durability::Full)?;
    bank.execute(&genesis(OWNER, Amount(u128::MAX >> 8)), UnixMillis(0))?;
    let mut store = JobStore::open(&path, Durability::Full)?;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut rules = Coordinator::new(config(Strategy::LeastLoaded))?;
    let (time, ()) = timed(|| {
        for first in (0..tasks).step_by(JOB) {
            let mut host = Host {
                bank: &mut bank,
                rng: &mut rng,
                now: Instant::ZERO,
                wall: UnixMillis(1),
            };
            rules.submit(job(first, JOB)?, &mut host)?;
            rules.flush(&mut store, &mut bank, UnixMillis(1))?;
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    let each = time.as_secs_f64() * 1e6 / tasks as f64;
    output.print(Row {
        area: "coord",
        case: format!("{tasks} tasks admitted, on disk"),
        ours: each,
        unit: "us",
        peer: "itself".to_owned(),
        peer_version: String::new(),
        theirs: each,
        ratio: 1.0,
        n: tasks as u64,
    })?;
    drop((rules, store));
    let (time, rules) = timed(|| {
        let store = JobStore::open(&path, Durability::Full)?;
        let stored = store.stored()?;
        let config = config(Strategy::LeastLoaded);
        Ok::<_, Box<dyn Error>>(Coordinator::recover(config, stored, Instant::ZERO)?)
    })?;
    assert_eq!(rules.unplaced(), tasks, "nothing is lost");
    let seconds = time.as_secs_f64();
    output.print(Row {
        area: "coord",
        case: format!("back with {tasks} tasks"),
        ours: seconds * 1e3,
        unit: "ms",
        peer: "limit".to_owned(),
        peer_version: format!("{LIMIT} s"),
        theirs: LIMIT * 1e3,
        ratio: LIMIT / seconds,
        n: 1,
    })
}
