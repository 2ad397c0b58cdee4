//! Placement of jobs on nodes: the instances of FOG-P/1.

use std::array;
use std::convert::Infallible;
use std::error::Error;
use std::hint::black_box;
use std::num::TryFromIntError;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use cpu_time::ThreadTime;
use fogcompute::schedule::evolution::{
    BatchProblem, Bounded, Evolution, Nsga2, Settings, Variable,
};
use fogcompute::schedule::fogp::{NAMES, OBJECTIVES, Problem, Spec, VIOLATION_MAX};
use fogcompute::schedule::{Effort as Work, Job, Node, Placer, Rates, SearchError};
use fogcompute::{NodeId, TaskId};
use genoxide::Individual;
use genoxide::Objective::Minimize;
use genoxide::genome::{Integer, Integers};
use genoxide::multi::{MultiEngine, Nsga2 as PeerNsga2, Scores};
use genoxide::operator::{UniformCrossover, UniformMutation};
use genoxide::prelude::Stop;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::python::{Library, Peers};
use super::row;
use crate::measure::{Effort, median};
use crate::row::Output;

const POPULATION: u32 = 50;
const GENERATIONS: u32 = 100;
/// Its runs take a second and more.
const PYMOO_SEEDS: u64 = 3;

/// Instances that have no placement.
const IMPOSSIBLE_SEEDS: [u64; 3] = [3, 5, 23];

/// Least values of latency, distrust, cost and price that CP-SAT of OR-tools 9.15 found in a minute
/// of one thread for each. Proven to be the least for the first instance and most of the second.
const CP_SAT: [(&str, [f64; 4]); 4] = [
    (
        "P20x50",
        [29.329_048, 0.106_225_6, 534.777_445, 703.795_891],
    ),
    (
        "P50x20",
        [34.651_482, 0.145_531_3, 874.179_843, 1_060.898_768],
    ),
    (
        "P200x100",
        [24.289_360, 0.138_246_8, 2_704.816_747, 3_535.246_649],
    ),
    (
        "P200x100t",
        [23.925_827, 0.114_412_1, 4_328.366_925, 5_191.671_337],
    ),
];

pub(super) fn run(
    effort: Effort,
    peers: &mut Peers,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    generations(effort, peers, output)?;
    for (name, spec) in Spec::NAMED {
        // A debug build takes a minute for the large one.
        if effort == Effort::Full || spec.jobs < 100 {
            fronts(name, spec, effort, output)?;
        }
    }
    impossible(output)?;
    one_at_a_time(effort, output)
}

/// An instance as a table, laid out for speed: an evaluator that takes long would hide what the
/// optimisers take.
struct Table {
    /// The nodes that may take each job, one job after another.
    nodes: Vec<u32>,
    /// What the job adds there, without the imbalance, which is no sum.
    adds: Vec<[f64; OBJECTIVES - 1]>,
    /// Where the nodes of each job start, and where those of the last end.
    starts: Vec<usize>,
    /// Processor, memory and disk that each job needs. All jobs together need less than 2³¹ of each
    /// with what is taken, so sums are exact in integers half as wide as a `f64`.
    needs: Vec<[i32; 4]>,
    /// What is taken of them on each node.
    taken: Vec<[i32; 4]>,
    /// One over each resource of each node.
    inverse: Vec<[f64; 4]>,
    /// Working memory. The peer wants a function that threads may share, so both sides lock it.
    loads: Mutex<Vec<[i32; 4]>>,
}

impl Table {
    fn new(problem: &Problem) -> Result<Self, Box<dyn Error>> {
        let (mut nodes, mut adds, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        for job in 0..problem.jobs().len() {
            for &node in problem.eligible(job) {
                let [latency, _, distrust, cost, price] =
                    problem.adds(job, node).ok_or("no such node")?;
                nodes.push(node);
                adds.push([latency, distrust, cost, price]);
            }
            starts.push(nodes.len());
        }
        let four = |cpu: u64, memory: u64, disk: u64| -> Result<[i32; 4], TryFromIntError> {
            Ok([cpu.try_into()?, memory.try_into()?, disk.try_into()?, 0])
        };
        let needs = problem.jobs().iter();
        let needs: Vec<_> = needs
            .map(|job| four(job.cpu_millis, job.memory_mib, job.disk_gib))
            .collect::<Result<_, _>>()?;
        let taken = problem.nodes().iter();
        let taken: Vec<_> = taken
            .map(|node| four(node.cpu_millis_used, 0, 0))
            .collect::<Result<_, _>>()?;
        for resource in 0..4 {
            let amounts = needs.iter().chain(&taken).map(|four| four[resource]);
            let all = amounts.map(i64::from).sum::<i64>();
            i32::try_from(all)?;
        }
        Ok(Self {
            nodes,
            adds,
            starts,
            needs,
            taken,
            inverse: problem
                .nodes()
                .iter()
                .map(|node| {
                    let capacities = [node.cpu_millis, node.memory_mib, node.disk_gib];
                    let [cpu, memory, disk] = capacities.map(|capacity| 1.0 / capacity as f64);
                    [cpu, memory, disk, 0.0]
                })
                .collect(),
            loads: Mutex::default(),
        })
    }

    fn jobs(&self) -> usize {
        self.needs.len()
    }

    /// How many nodes may take each job.
    fn counts(&self) -> impl Iterator<Item = usize> {
        self.starts.windows(2).map(|ends| ends[1] - ends[0])
    }

    /// Objectives and violation of the placement that puts each job on its choice of this index.
    fn value(&self, choices: impl Iterator<Item = usize>) -> ([f64; OBJECTIVES], f64) {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.clear();
        loads.extend_from_slice(&self.taken);
        let loads = loads.as_mut_slice();
        let (nodes, adds) = (self.nodes.as_slice(), self.adds.as_slice());
        let mut sums = [0.0; OBJECTIVES - 1];
        for ((start, needs), choice) in self.starts.iter().zip(&self.needs).zip(choices) {
            let at = start + choice;
            sums = array::from_fn(|objective| sums[objective] + adds[at][objective]);
            let load = &mut loads[nodes[at] as usize];
            *load = array::from_fn(|resource| load[resource].wrapping_add(needs[resource]));
        }
        let (mut over, mut sum, mut squares) = ([0.0; 4], 0.0, 0.0);
        for (load, inverse) in loads.iter().zip(&self.inverse) {
            let shares: [f64; 4] =
                array::from_fn(|resource| f64::from(load[resource]) * inverse[resource]);
            over = array::from_fn(|resource| {
                // Not `f64::max`, which looks for a NaN as well.
                let beyond = shares[resource] - 1.0;
                over[resource] + if beyond > 0.0 { beyond } else { 0.0 }
            });
            sum += shares[0];
            squares += shares[0] * shares[0];
        }
        // In pairs, so that the loop above adds lanes as they lie.
        let violation = (over[0] + over[2]) + (over[1] + over[3]);
        let mean = sum / loads.len() as f64;
        let variance = squares / loads.len() as f64 - mean * mean;
        let [latency, distrust, cost, price] = sums;
        let imbalance = variance.max(0.0).sqrt();
        (
            [latency, imbalance, distrust, cost, price],
            if violation <= VIOLATION_MAX {
                0.0
            } else {
                violation
            },
        )
    }

    fn to_json(&self) -> serde_json::Value {
        let rows = self.starts.windows(2).map(|ends| ends[0]..ends[1]);
        let choices: Vec<_> = rows.clone().map(|row| &self.nodes[row]).collect();
        let adds = rows.map(|row| {
            let row = self.adds[row].iter();
            row.map(|&[latency, distrust, cost, price]| [latency, 0.0, distrust, cost, price])
                .collect()
        });
        let adds: Vec<Vec<[f64; OBJECTIVES]>> = adds.collect();
        let capacities: Vec<[f64; 3]> = self
            .inverse
            .iter()
            .map(|inverse| [1.0 / inverse[0], 1.0 / inverse[1], 1.0 / inverse[2]])
            .collect();
        serde_json::json!({
            "choices": choices,
            "adds": adds,
            "needs": self.needs,
            "taken": self.taken,
            "capacities": capacities,
        })
    }
}

impl BatchProblem for Table {
    type Error = Infallible;

    fn objective_count(&self) -> usize {
        OBJECTIVES
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "genes of choices are small whole numbers"
    )]
    fn evaluate(
        &mut self,
        genes: &[f64],
        objectives: &mut [f64],
        violations: &mut [f64],
    ) -> Result<(), Infallible> {
        let rows = genes.chunks_exact(self.jobs());
        let outs = objectives.chunks_exact_mut(OBJECTIVES).zip(violations);
        for (genes, (out, violation)) in rows.zip(outs) {
            // By way of 32 bits, for which there are instructions.
            let value = self.value(genes.iter().map(|&gene| gene as u32 as usize));
            out.copy_from_slice(&value.0);
            *violation = value.1;
        }
        Ok(())
    }
}

/// What NSGA-II took and found.
struct Outcome {
    nanos: f64,
    /// Placements returned.
    returned: usize,
    /// Those of them that are feasible.
    front: Vec<[f64; OBJECTIVES]>,
}

fn ours(table: &mut Table, generations: u32, seed: u64) -> Result<Outcome, Box<dyn Error>> {
    let start = ThreadTime::now();
    let variables = table.counts().map(|count| Variable::Choice {
        count: count as u32,
    });
    let rates = Nsga2::default().rates();
    let variation = Bounded::new(variables.collect(), &rates)?;
    let settings = Settings {
        population: POPULATION,
        generations,
        ..Settings::default()
    };
    let mut evolution = Evolution::start(settings, variation, table, &[], seed)?;
    evolution.run(table, |_| ControlFlow::Continue(()))?;
    let front = evolution.front();
    let nanos = start.elapsed().as_secs_f64() * 1e9;
    let feasible = front.individuals.iter().filter(|i| i.violation <= 0.0);
    Ok(Outcome {
        nanos,
        returned: front.individuals.len(),
        front: feasible
            .map(|i| array::from_fn(|objective| i.objectives[objective]))
            .collect(),
    })
}

fn theirs(table: &Table, generations: u32, seed: u64) -> Result<Outcome, Box<dyn Error>> {
    let start = ThreadTime::now();
    let bounds: Vec<_> = table.counts().map(|count| 0..=count as i64 - 1).collect();
    let rate = 1.0 / bounds.len() as f64;
    let algorithm = PeerNsga2::builder(Integer::new(bounds)?, [Minimize; OBJECTIVES])
        .population_size(POPULATION as usize)
        .crossover_rate(Nsga2::default().crossover_probability)
        .crossover(UniformCrossover::new())
        .mutate(UniformMutation::per_gene(rate)?)
        .seed(seed)
        .build()?;
    let outcome = MultiEngine::new(algorithm, |genes: &Integers| {
        let choices = genes.iter().map(|&gene| gene as usize);
        table.value(choices)
    })
    .stop_when(Stop::generations(u64::from(generations)))
    .run()?;
    let nanos = start.elapsed().as_secs_f64() * 1e9;
    let scores = outcome.front().iter().filter_map(Individual::fitness);
    let feasible = scores.filter(Scores::is_feasible);
    let front = feasible.filter_map(|scores| scores.values()).collect();
    Ok(Outcome {
        nanos,
        returned: outcome.front().len(),
        front,
    })
}

/// NSGA-II on a placement problem, which all sides evaluate likewise.
fn generations(
    effort: Effort,
    peers: &mut Peers,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    let problem = Problem::generate(Spec::P200X100)?;
    let mut table = Table::new(&problem)?;
    peers.set_placement(&table.to_json())?;
    let (seeds, generations) = match effort {
        Effort::Full => (11, GENERATIONS),
        Effort::Smoke => (1, 2),
    };
    let (mut our_times, mut their_times, mut python_times) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 0..seeds {
        our_times.push(ours(&mut table, generations, seed)?.nanos);
        their_times.push(theirs(&table, generations, seed)?.nanos);
        if seed < PYMOO_SEEDS {
            let answer = peers.run(Library::Pymoo, "placement", generations, seed)?;
            python_times.push(answer.nanos);
        }
    }
    let case = "P200x100, 50 x 100";
    let n = python_times.len() as u64;
    let ours = median(our_times);
    let genoxide = ("genoxide", env!("PEER_GENOXIDE"));
    let pair = (ours, median(their_times));
    output.print(row(case.to_owned(), "ns", pair, seeds, genoxide))?;
    let pymoo = ("pymoo", peers.version(Library::Pymoo));
    let pair = (ours, median(python_times));
    output.print(row(case.to_owned(), "ns", pair, n, pymoo))
}

/// The front of an instance by the search for placements, beside NSGA-II on the same table.
fn fronts(
    name: &str,
    spec: Spec,
    effort: Effort,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    let problem = Problem::generate(spec)?;
    let (seeds, work) = match effort {
        Effort::Full => (3, Work::default()),
        Effort::Smoke => (
            1,
            Work {
                work: 100_000,
                ..Work::default()
            },
        ),
    };
    let table = Table::new(&problem)?;
    let (mut our_runs, mut their_runs) = (Vec::new(), Vec::new());
    let mut least = [f64::INFINITY; OBJECTIVES];
    for seed in 0..seeds {
        let start = ThreadTime::now();
        let batch = problem.batch()?;
        let front = batch.search(&work, &mut ChaCha8Rng::seed_from_u64(seed))?;
        let nanos = start.elapsed().as_secs_f64() * 1e9;
        let returned = front.len();
        let mut feasible = Vec::new();
        for placement in front {
            let value = problem.evaluate(&placement.nodes)?;
            if value.violation <= VIOLATION_MAX {
                feasible.push(value.objectives);
                for (least, objective) in least.iter_mut().zip(value.objectives) {
                    *least = least.min(objective);
                }
            }
        }
        our_runs.push(Outcome {
            nanos,
            returned,
            front: feasible,
        });
        their_runs.push(theirs(&table, GENERATIONS, seed)?);
    }
    let peer = ("genoxide", env!("PEER_GENOXIDE"));
    let nanos = |runs: &[Outcome]| median(runs.iter().map(|run| run.nanos).collect());
    let pair = (nanos(&our_runs), nanos(&their_runs));
    output.print(row(format!("{name}, front"), "ns", pair, seeds, peer))?;
    let volume = |runs: &[Outcome]| {
        let volumes = runs.iter().map(|run| 1e6 * problem.hypervolume(&run.front));
        median(volumes.collect())
    };
    let pair = (volume(&our_runs), volume(&their_runs));
    output.print(row(format!("{name}, volume"), "ppm", pair, seeds, peer))?;
    let share = |runs: &[Outcome]| {
        let feasible: usize = runs.iter().map(|run| run.front.len()).sum();
        let all: usize = runs.iter().map(|run| run.returned).sum();
        1e6 * feasible as f64 / all as f64
    };
    let pair = (share(&our_runs), share(&their_runs));
    output.print(row(format!("{name}, feasible"), "ppm", pair, seeds, peer))?;
    let Some((_, best)) = CP_SAT.iter().find(|(known, _)| *known == name) else {
        return Ok(());
    };
    for (objective, best) in [0, 2, 3, 4].into_iter().zip(best) {
        let case = format!("{name}, least {}", NAMES[objective]);
        let pair = (1e6 * least[objective] / best, 1e6);
        output.print(row(case, "ppm", pair, seeds, ("CP-SAT", "9.15 recorded")))?;
    }
    Ok(())
}

/// How many instances without a placement are proven to have none.
fn impossible(output: &mut Output) -> Result<(), Box<dyn Error>> {
    let mut proven = 0.0;
    for seed in IMPOSSIBLE_SEEDS {
        let batch = Problem::generate(Spec::new(200, 100, 3, seed))?.batch()?;
        match batch.search(&Work::default(), &mut ChaCha8Rng::seed_from_u64(1)) {
            Err(SearchError::Impossible { .. }) => proven += 1.0,
            found => eprintln!(
                "seed {seed}: no proof but {:?}",
                found.map(|front| front.len())
            ),
        }
    }
    let all = IMPOSSIBLE_SEEDS.len();
    let pair = (proven, all as f64);
    let case = "proven impossible".to_owned();
    output.print(row(
        case,
        "of 3",
        pair,
        all as u64,
        ("CP-SAT", "9.15 recorded"),
    ))
}

/// One job at a time onto many nodes, beside looking at all of them.
fn one_at_a_time(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let (job_count, node_count) = match effort {
        Effort::Full => (20_000, 10_000),
        Effort::Smoke => (200, 100),
    };
    let problem = Problem::generate(Spec::new(job_count, node_count, 1, 1))?;
    let nodes: Vec<Node> = (0_u64..).zip(problem.nodes()).map(node).collect();
    let jobs: Vec<Job> = (0_u64..).zip(problem.jobs()).map(job).collect();
    let rates = Rates {
        completion_ms: 1e-4,
        node_use: 10.0,
        distrust: 50.0,
        cost: 1e-4,
        price: 0.0,
    };
    let mut placer = Placer::new(nodes.clone(), rates)?;
    let start = ThreadTime::now();
    for job in &jobs {
        black_box(placer.place(job)?);
    }
    let ours = start.elapsed().as_secs_f64() * 1e9 / jobs.len() as f64;
    let mut scan = Scan { nodes, rates };
    let some = &jobs[..jobs.len().min(2_000)];
    let start = ThreadTime::now();
    let mut alike = 0;
    for job in some {
        alike += usize::from(scan.place(job) == placer.node_of(job.id));
    }
    let theirs = start.elapsed().as_secs_f64() * 1e9 / some.len() as f64;
    if alike < some.len() {
        let other = some.len() - alike;
        return Err(format!("{other} jobs were placed elsewhere than by a scan").into());
    }
    let case = format!("one job, {node_count} nodes");
    let peer = ("scan of all nodes", fogcompute::version());
    output.print(row(case, "ns", (ours, theirs), jobs.len() as u64, peer))
}

fn node((id, node): (u64, &fogcompute::schedule::fogp::Node)) -> Node {
    Node {
        cpu_millis_free: node.cpu_millis - node.cpu_millis_used,
        speed: node.speed,
        latency_ms: node.base_ms,
        trust: node.trust,
        price_per_cpu_second: whole(node.ask_rate * 100.0),
        ..Node::new(
            NodeId::from_bytes(array::from_fn(|at| id.to_be_bytes()[at % 8])),
            node.cpu_millis,
            node.memory_mib << 20,
        )
    }
}

fn job((id, job): (u64, &fogcompute::schedule::fogp::Job)) -> Job {
    Job {
        min_trust: job.trust_min,
        max_latency_ms: Some(job.latency_ms_max),
        ..Job::new(
            TaskId::from_bytes(array::from_fn(|at| id.to_be_bytes()[at % 8])),
            job.cpu_millis,
            job.memory_mib << 20,
            1_000 * job.duration_s,
        )
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small positive numbers"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

/// The same decisions by looking at every node for every job.
struct Scan {
    nodes: Vec<Node>,
    rates: Rates,
}

impl Scan {
    fn place(&mut self, job: &Job) -> Option<NodeId> {
        let mut best: Option<(f64, NodeId, usize)> = None;
        for (position, node) in self.nodes.iter().enumerate() {
            if job.cpu_millis > node.cpu_millis_free
                || job.memory_bytes > node.memory_bytes_free
                || node.trust < job.min_trust
                || job.max_latency_ms.is_some_and(|max| node.latency_ms > max)
            {
                continue;
            }
            let run_ms = (job.duration_ms as f64 / node.speed).ceil();
            let used = node.cpu_millis_total - node.cpu_millis_free + job.cpu_millis;
            let cost = u128::from(job.cpu_millis)
                * u128::from(whole(run_ms))
                * u128::from(node.price_per_cpu_second);
            let score = self.rates.completion_ms * (run_ms + node.latency_ms)
                + self.rates.node_use * (used as f64 / node.cpu_millis_total as f64)
                + self.rates.distrust * (1.0 - node.trust)
                + self.rates.cost * cost.div_ceil(1_000_000) as f64;
            let found = (score, node.id, position);
            if best.is_none_or(|least| (score, node.id) < (least.0, least.1)) {
                best = Some(found);
            }
        }
        let (_, id, position) = best?;
        let node = &mut self.nodes[position];
        node.cpu_millis_free -= job.cpu_millis;
        node.memory_bytes_free -= job.memory_bytes;
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_the_evaluator_says() {
        let problem = Problem::generate(Spec::P20X50).unwrap();
        let table = Table::new(&problem).unwrap();
        let last = |job: usize| problem.eligible(job).len() - 1;
        let nodes: Vec<u32> = (0..20)
            .map(|job| problem.eligible(job)[last(job)])
            .collect();
        let exact = problem.evaluate(&nodes).unwrap();
        let (objectives, violation) = table.value((0..20).map(last));
        assert!((violation - exact.violation).abs() < 1e-9);
        for (ours, exact) in objectives.iter().zip(exact.objectives) {
            assert!((ours - exact).abs() < 1e-9 * exact.abs());
        }
    }
}
