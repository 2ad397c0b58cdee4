//! What a coordinator keeps of its nodes.

use std::error::Error;
use std::time::Duration;

use fogcompute::base::{AccountId, Instant, JobId, NodeId, Priority, TaskId, UnixMillis};
use fogcompute::coord::routing::Strategy;
use fogcompute::coord::{
    Config, Coordinator, Event, Forgetful, Host, JobSpec, Offer, Placement, PrivacyLevel,
    TaskOrder, genesis,
};
use fogcompute::exec::{Limits, TaskOutput, TaskReport, TaskSpec, Usage};
use fogcompute::ledger::{Amount, Book};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::counted;

const NODES: u64 = 1_000;
const OWNER: AccountId = AccountId::from_bytes([9; 16]);
const GIGA: u64 = 1_000_000_000;
const OFFER: Offer = Offer {
    cpu_millis: 1_000,
    memory_bytes: 1 << 30,
    fuel_per_second: GIGA,
    price_per_gigafuel: Amount(100),
    latency_ms: 1.0,
};
/// More than the failure detector remembers.
const HEARTBEATS: u64 = 64;

/// An attempt that is to be run, where it is to be run.
type Dispatched = (NodeId, TaskId, u32);

struct Fog {
    rules: Coordinator,
    bank: Book,
    rng: ChaCha8Rng,
    now: Instant,
}

impl Fog {
    /// Calls the rules and gives what they dispatch.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Coordinator, &mut Host<'_, Book, ChaCha8Rng>) -> T,
    ) -> Result<(T, Vec<Dispatched>), Box<dyn Error>> {
        let wall = UnixMillis(self.now.as_nanos() / 1_000_000);
        let mut host = Host {
            bank: &mut self.bank,
            rng: &mut self.rng,
            now: self.now,
            wall,
        };
        let done = call(&mut self.rules, &mut host);
        self.rules.flush(&mut Forgetful, &mut self.bank, wall)?;
        let mut dispatched = Vec::new();
        while let Some(event) = self.rules.poll_event() {
            if let Event::Dispatch {
                node,
                task,
                attempt,
                ..
            } = event
            {
                dispatched.push((node, task, attempt));
            }
        }
        Ok((done, dispatched))
    }

    /// Lets nodes join, lets them be heard and measured until nothing more is remembered of that,
    /// and lets each do a task.
    fn fill(&mut self, nodes: &[NodeId]) -> Result<(), Box<dyn Error>> {
        for node in nodes {
            self.call(|rules, host| rules.register(*node, OFFER, host))?
                .0?;
        }
        for beat in 0..HEARTBEATS {
            self.now = Instant::from_millis(1 + beat * 30_000);
            for node in nodes {
                self.call(|rules, host| rules.heartbeat(*node, OFFER, host))?
                    .0?;
                let trip = Duration::from_micros(1 + self.rng.next_u64() % 100_000);
                self.call(|rules, host| rules.measured(*node, trip, None, host.rng))?
                    .0?;
            }
        }
        let spec = TaskSpec::new(vec![0; 1_000], vec![1; 100], Limits::default())?;
        for number in 0..NODES {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&number.to_be_bytes());
            let job = JobSpec {
                id: JobId::from_bytes(id),
                owner: OWNER,
                priority: Priority::Normal,
                privacy: PrivacyLevel::Public,
                tasks: vec![TaskOrder {
                    id: TaskId::from_bytes(id),
                    spec: spec.clone(),
                    fuel_estimate: GIGA,
                    price_max: Amount(1_000),
                }],
            };
            let (admitted, dispatched) = self.call(|rules, host| rules.submit(job, host))?;
            admitted?;
            for (node, task, attempt) in dispatched {
                let usage = Usage {
                    fuel: GIGA / 2,
                    ..Usage::default()
                };
                let output = Vec::new();
                let result = Ok(TaskOutput { output, usage });
                let report = TaskReport { task, result };
                self.call(|rules, host| rules.report(node, attempt, report, host))?
                    .0?;
            }
        }
        Ok(())
    }
}

fn fog() -> Result<Fog, Box<dyn Error>> {
    let mut bank = Book::new();
    bank.execute(&genesis(OWNER, Amount(u128::MAX >> 8)), UnixMillis(0))?;
    let config = Config {
        placement: Placement::Routed(Strategy::RoundRobin),
        // Of tasks and jobs nothing is to be counted here.
        ended_jobs_max: 0,
        ..Config::default()
    };
    Ok(Fog {
        rules: Coordinator::new(config)?,
        bank,
        rng: ChaCha8Rng::seed_from_u64(1),
        now: Instant::from_millis(1),
    })
}

/// Bytes that a fog of so many nodes takes, which have done all tasks together.
fn bytes_of(count: u64) -> Result<f64, Box<dyn Error>> {
    let nodes: Vec<_> = (0..count)
        .map(|number| {
            let mut id = [1; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            NodeId::from_bytes(id)
        })
        .collect();
    let mut fog = fog()?;
    let (filled, bytes) = counted(|| fog.fill(&nodes));
    filled?;
    if fog.rules.nodes().len() != nodes.len() || fog.rules.metrics().tasks_succeeded != NODES {
        return Err("not every node is there, or not every task was done".into());
    }
    Ok(bytes)
}

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    // What the same tasks leave behind with one node is not the nodes'.
    let bytes = bytes_of(NODES)? - bytes_of(1)?;
    println!(
        "{{\"node\":{},\"nodes\":{NODES}}}",
        bytes / (NODES - 1) as f64
    );
    Ok(())
}
