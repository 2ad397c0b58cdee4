//! FOG-P/1, a family of job placement problems to measure placement with.
//!
//! Anybody can generate an instance from four numbers, evaluate a placement, and say how good a
//! front is, in any language: draws are those of SplitMix64 in a fixed order, and everything else
//! is arithmetic. Benchmarks, tests and peers in other languages therefore speak of the same
//! instances.
//!
//! ```
//! use fogcompute_schedule::fogp::{Problem, Spec};
//!
//! let problem = Problem::generate(Spec::P20X50)?;
//! // Every job on the first node that may take it; they need not fit there together.
//! let nodes: Vec<u32> = (0..20).map(|job| problem.eligible(job)[0]).collect();
//! let value = problem.evaluate(&nodes)?;
//! assert!(value.objectives[0] >= problem.ideal()[0]);
//! # Ok::<(), fogcompute_schedule::fogp::FogpError>(())
//! ```

use thiserror::Error;

use super::batch::{Batch, BatchError, Choice, Demand, Supply};
use super::hypervolume::hypervolume;
use super::{JOBS_MAX, NODES_MAX};

/// How many objectives a placement has.
pub const OBJECTIVES: usize = 5;

/// The objectives in their order. All are minimised.
///
/// - `latency`: mean latency in milliseconds, weighted by tier.
/// - `imbalance`: population standard deviation over all nodes of their use of processors.
/// - `distrust`: mean of one minus trust, weighted by tier.
/// - `cost`: sum of what the nodes' owners pay.
/// - `price`: sum of what the jobs' owners pay.
pub const NAMES: [&str; OBJECTIVES] = ["latency", "imbalance", "distrust", "cost", "price"];

/// The reference point of the hypervolume in every normalised objective.
pub const HYPERVOLUME_REFERENCE: f64 = 1.5;

/// A placement whose violation is at most this is feasible.
pub const VIOLATION_MAX: f64 = 1e-9;

const REGIONS: u64 = 4;
const TIER_WEIGHT: [f64; 4] = [8.0, 4.0, 2.0, 1.0];
const TIER_MIN_TRUST: [f64; 4] = [0.7, 0.55, 0.4, 0.0];
const TIER_LATENCY_MS_MAX: [f64; 4] = [60.0, 90.0, 130.0, 200.0];
const TIER_PRICE: [f64; 4] = [1.5, 1.25, 1.0, 0.8];

/// The four numbers an instance is made of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Spec {
    /// Jobs, 1 to [`JOBS_MAX`].
    pub jobs: usize,
    /// Nodes, 1 to [`NODES_MAX`].
    pub nodes: usize,
    /// What every job's demand is multiplied by.
    pub demand_scale: u32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Spec {
    /// Few jobs, many nodes.
    pub const P20X50: Self = Self::new(20, 50, 4, 1);
    /// Few jobs, fewer nodes.
    pub const P50X20: Self = Self::new(50, 20, 2, 2);
    /// Two jobs a node.
    pub const P200X100: Self = Self::new(200, 100, 2, 3);
    /// The same with demand that barely fits.
    pub const P200X100_TIGHT: Self = Self::new(200, 100, 3, 13);
    /// The large one.
    pub const P1000X500: Self = Self::new(1000, 500, 3, 4);

    /// The instances with names, and their names.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("P20x50", Self::P20X50),
        ("P50x20", Self::P50X20),
        ("P200x100", Self::P200X100),
        ("P200x100t", Self::P200X100_TIGHT),
        ("P1000x500", Self::P1000X500),
    ];

    /// The instance of these numbers.
    #[must_use]
    pub const fn new(jobs: usize, nodes: usize, demand_scale: u32, seed: u64) -> Self {
        Self {
            jobs,
            nodes,
            demand_scale,
            seed,
        }
    }
}

/// Why an instance or a placement makes no sense.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FogpError {
    /// An instance needs jobs and nodes, and not too many.
    #[error("{jobs} jobs on {nodes} nodes are not from 1 to {JOBS_MAX} on from 1 to {NODES_MAX}")]
    Size {
        /// Jobs asked for.
        jobs: usize,
        /// Nodes asked for.
        nodes: usize,
    },
    /// A job fits no node even when it is alone there and everything else is let go.
    #[error("job {job} fits no node")]
    FitsNowhere {
        /// Index of the job.
        job: usize,
    },
    /// A placement does not name one node for each job.
    #[error("{nodes} nodes are named for {jobs} jobs")]
    Length {
        /// Nodes named.
        nodes: usize,
        /// Jobs there are.
        jobs: usize,
    },
    /// A placement names a node that does not exist.
    #[error("job {job} is put on node {node}, which does not exist")]
    UnknownNode {
        /// Index of the job.
        job: usize,
        /// What was named.
        node: u32,
    },
}

/// The generator of the family: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
/// generators".
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in [0, 1), a multiple of 2⁻⁵³.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// A whole number from `low` to `high`. The plain remainder is part of the definition.
    const fn whole(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }
}

/// A node of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Processor there is, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Disk, in GiB.
    pub disk_gib: u64,
    /// Where it is, 0 to 3.
    pub region: u64,
    /// Its place in the unit square.
    pub x: f64,
    /// Its place in the unit square.
    pub y: f64,
    /// Latency to it from its own place, in milliseconds.
    pub base_ms: f64,
    /// A job runs for its duration divided by this.
    pub speed: f64,
    /// How far it is trusted, 0.3 to 1.
    pub trust: f64,
    /// What a core hour costs its owner.
    pub cost_rate: f64,
    /// What its owner asks for a core hour.
    pub ask_rate: f64,
    /// Processor taken already, in thousandths of a core.
    pub cpu_millis_used: u64,
}

/// A job of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// 0 is Platinum, 1 Gold, 2 Silver, 3 Bronze.
    pub tier: usize,
    /// Processor it needs, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory it needs, in MiB.
    pub memory_mib: u64,
    /// Disk it needs, in GiB.
    pub disk_gib: u64,
    /// How long it runs on a node of speed 1, in seconds.
    pub duration_s: u64,
    /// The place of its user in the unit square.
    pub x: f64,
    /// The place of its user in the unit square.
    pub y: f64,
    /// Highest latency, in milliseconds.
    pub latency_ms_max: f64,
    /// Least trust.
    pub trust_min: f64,
    /// The only region it may run in, if it matters.
    pub region: Option<u64>,
    /// Most it may cost.
    pub cost_max: f64,
    /// Longest time it may run, in seconds.
    pub deadline_s: f64,
    /// Indices of nodes it must not run on.
    pub excluded: [u32; 2],
}

impl Job {
    fn weight(&self) -> f64 {
        TIER_WEIGHT[self.tier]
    }

    fn latency_ms(&self, node: &Node) -> f64 {
        let (x, y) = (self.x - node.x, self.y - node.y);
        node.base_ms + 100.0 * (x * x + y * y).sqrt()
    }

    fn run_s(&self, node: &Node) -> f64 {
        self.duration_s as f64 / node.speed
    }

    fn core_hours(&self, node: &Node) -> f64 {
        self.cpu_millis as f64 / 1000.0 * (self.run_s(node) / 3600.0)
    }

    fn cost(&self, node: &Node) -> f64 {
        self.core_hours(node) * node.cost_rate
    }

    /// What it adds to each objective but the imbalance on `node`.
    fn adds(&self, node: &Node, weight_sum: f64) -> [f64; OBJECTIVES] {
        let weight = self.weight();
        [
            weight * self.latency_ms(node) / weight_sum,
            0.0,
            weight * (1.0 - node.trust) / weight_sum,
            self.cost(node),
            self.core_hours(node) * node.ask_rate * TIER_PRICE[self.tier],
        ]
    }

    /// Whether `node` would do, with the wishes from number `relaxed` on. Those before it were let
    /// go: 1 the region, 2 the cost, 3 the trust, 4 the latency, 5 the deadline, 6 the exclusions.
    fn may_run_on(&self, index: u32, node: &Node, relaxed: u8) -> bool {
        let fits = self.cpu_millis <= node.cpu_millis - node.cpu_millis_used
            && self.memory_mib <= node.memory_mib
            && self.disk_gib <= node.disk_gib;
        fits && (relaxed >= 1 || self.region.is_none_or(|region| region == node.region))
            && (relaxed >= 2 || self.cost(node) <= self.cost_max)
            && (relaxed >= 3 || node.trust >= self.trust_min)
            && (relaxed >= 4 || self.latency_ms(node) <= self.latency_ms_max)
            && (relaxed >= 5 || self.run_s(node) <= self.deadline_s)
            && (relaxed >= 6 || !self.excluded.contains(&index))
    }
}

/// What a placement is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// In the order of [`NAMES`].
    pub objectives: [f64; OBJECTIVES],
    /// Sum over nodes and resources of what is used over what there is, as a share of it. At most
    /// [`VIOLATION_MAX`] is feasible.
    pub violation: f64,
}

/// An instance of the family.
#[derive(Clone, Debug)]
pub struct Problem {
    nodes: Vec<Node>,
    jobs: Vec<Job>,
    eligible: Vec<Vec<u32>>,
    relaxed: Vec<u8>,
    weight_sum: f64,
    ideal: [f64; OBJECTIVES],
    reference: [f64; OBJECTIVES],
}

impl Problem {
    /// Generates the instance of `spec`.
    ///
    /// Complexity: O(jobs · nodes).
    ///
    /// # Errors
    ///
    /// [`FogpError::Size`] and [`FogpError::FitsNowhere`].
    pub fn generate(spec: Spec) -> Result<Self, FogpError> {
        let Spec { jobs, nodes, .. } = spec;
        if !(1..=JOBS_MAX).contains(&jobs) || !(1..=NODES_MAX).contains(&nodes) {
            return Err(FogpError::Size { jobs, nodes });
        }
        let mut draws = SplitMix64(spec.seed);
        let nodes: Vec<Node> = (0..nodes).map(|_| draw_node(&mut draws)).collect();
        let last = nodes.len() as u64 - 1;
        let jobs: Vec<Job> = (0..jobs)
            .map(|_| draw_job(&mut draws, u64::from(spec.demand_scale), last))
            .collect();
        let (mut eligible, mut relaxed) = (Vec::new(), Vec::new());
        for (index, job) in jobs.iter().enumerate() {
            let (level, list) = (0..=6)
                .map(|level| (level, eligible_nodes(job, &nodes, level)))
                .find(|(_, list)| !list.is_empty())
                .ok_or(FogpError::FitsNowhere { job: index })?;
            eligible.push(list);
            relaxed.push(level);
        }
        let weight_sum = jobs.iter().map(Job::weight).sum();
        let (mut ideal, mut reference) = ([0.0; OBJECTIVES], [0.0; OBJECTIVES]);
        for (job, list) in jobs.iter().zip(&eligible) {
            let (mut least, mut sum) = ([f64::INFINITY; OBJECTIVES], [0.0; OBJECTIVES]);
            for &node in list {
                let adds = job.adds(&nodes[node as usize], weight_sum);
                for objective in 0..OBJECTIVES {
                    least[objective] = least[objective].min(adds[objective]);
                    sum[objective] += adds[objective];
                }
            }
            for objective in 0..OBJECTIVES {
                ideal[objective] += least[objective];
                reference[objective] += sum[objective] / list.len() as f64;
            }
        }
        // The imbalance has no part of a single job.
        ideal[1] = 0.0;
        reference[1] = 0.5;
        Ok(Self {
            nodes,
            jobs,
            eligible,
            relaxed,
            weight_sum,
            ideal,
            reference,
        })
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The jobs.
    #[must_use]
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// Indices of the nodes that may take `job`, ascending; never empty, except of a job that does
    /// not exist.
    #[must_use]
    pub fn eligible(&self, job: usize) -> &[u32] {
        self.eligible.get(job).map_or(&[], Vec::as_slice)
    }

    /// What `job` adds to each objective on `node`: 0 to the imbalance, which is no sum. `None` if
    /// there is no such job or node.
    #[must_use]
    pub fn adds(&self, job: usize, node: u32) -> Option<[f64; OBJECTIVES]> {
        let (job, node) = (self.jobs.get(job)?, self.nodes.get(node as usize)?);
        Some(job.adds(node, self.weight_sum))
    }

    /// How many jobs had no node until some of their wishes were let go.
    #[must_use]
    pub fn relaxed_count(&self) -> usize {
        self.relaxed.iter().filter(|&&level| level > 0).count()
    }

    /// Sum over jobs of the least each adds to an objective; 0 for the imbalance.
    #[must_use]
    pub const fn ideal(&self) -> &[f64; OBJECTIVES] {
        &self.ideal
    }

    /// Sum over jobs of the mean each adds to an objective over its eligible nodes; a half for the
    /// imbalance.
    #[must_use]
    pub const fn reference(&self) -> &[f64; OBJECTIVES] {
        &self.reference
    }

    /// What the placement is worth that puts each job on the node named for it. Whether that node
    /// is eligible is not asked.
    ///
    /// # Errors
    ///
    /// [`FogpError::Length`] and [`FogpError::UnknownNode`].
    pub fn evaluate(&self, nodes: &[u32]) -> Result<Value, FogpError> {
        if nodes.len() != self.jobs.len() {
            return Err(FogpError::Length {
                nodes: nodes.len(),
                jobs: self.jobs.len(),
            });
        }
        let mut objectives = [0.0; OBJECTIVES];
        let mut loads: Vec<[u64; 3]> = self
            .nodes
            .iter()
            .map(|node| [node.cpu_millis_used, 0, 0])
            .collect();
        for (index, (job, &named)) in self.jobs.iter().zip(nodes).enumerate() {
            let node = self
                .nodes
                .get(named as usize)
                .ok_or(FogpError::UnknownNode {
                    job: index,
                    node: named,
                })?;
            for (sum, adds) in objectives.iter_mut().zip(job.adds(node, self.weight_sum)) {
                *sum += adds;
            }
            let load = &mut loads[named as usize];
            for (load, need) in load.iter_mut().zip(job.needs()) {
                *load += need;
            }
        }
        let mut violation = 0.0;
        let mut uses = Vec::with_capacity(self.nodes.len());
        for (node, load) in self.nodes.iter().zip(&loads) {
            let capacities = [node.cpu_millis, node.memory_mib, node.disk_gib];
            let shares: [f64; 3] =
                std::array::from_fn(|resource| load[resource] as f64 / capacities[resource] as f64);
            violation += shares
                .iter()
                .map(|share| f64::max(0.0, share - 1.0))
                .sum::<f64>();
            uses.push(shares[0]);
        }
        objectives[1] = deviation(&uses);
        Ok(Value {
            objectives,
            violation,
        })
    }

    /// Objectives measured from the ideal, 0, to the reference, 1.
    #[must_use]
    pub fn normalise(&self, objectives: &[f64; OBJECTIVES]) -> [f64; OBJECTIVES] {
        std::array::from_fn(|objective| {
            let span = self.reference[objective] - self.ideal[objective];
            (objectives[objective] - self.ideal[objective]) / span
        })
    }

    /// How much of the box from the ideal to one and a half times the reference, in normalised
    /// objectives, the points of a front dominate together, 0 to 1. Give feasible points only.
    ///
    /// Exponential in the worst case; a front of 100 points takes milliseconds.
    #[must_use]
    pub fn hypervolume(&self, front: &[[f64; OBJECTIVES]]) -> f64 {
        let points: Vec<[f64; OBJECTIVES]> =
            front.iter().map(|point| self.normalise(point)).collect();
        let reference = [HYPERVOLUME_REFERENCE; OBJECTIVES];
        hypervolume(&points, &reference) / reference.iter().product::<f64>()
    }

    /// The instance as a [`Batch`], which can be searched.
    ///
    /// # Errors
    ///
    /// [`BatchError::DemandOverflow`] for a demand scale near its end.
    pub fn batch(&self) -> Result<Batch<OBJECTIVES>, BatchError> {
        let supplies = self.nodes.iter().map(|node| Supply {
            free: [
                node.cpu_millis - node.cpu_millis_used,
                node.memory_mib,
                node.disk_gib,
            ],
            cpu_taken: node.cpu_millis_used,
        });
        let demands = self.jobs.iter().zip(&self.eligible).map(|(job, list)| {
            let choices = list.iter().map(|&node| Choice {
                node,
                adds: job.adds(&self.nodes[node as usize], self.weight_sum),
            });
            Demand {
                limits: Vec::new(),
                needs: job.needs(),
                choices: choices.collect(),
            }
        });
        Batch::new(supplies.collect(), demands)
    }
}

impl Job {
    const fn needs(&self) -> [u64; 3] {
        [self.cpu_millis, self.memory_mib, self.disk_gib]
    }
}

fn eligible_nodes(job: &Job, nodes: &[Node], relaxed: u8) -> Vec<u32> {
    (0_u32..)
        .zip(nodes)
        .filter(|&(index, node)| job.may_run_on(index, node, relaxed))
        .map(|(index, _)| index)
        .collect()
}

/// Draws a node. The order of the draws is part of the definition.
fn draw_node(draws: &mut SplitMix64) -> Node {
    let class = match draws.whole(0, 9) {
        0..5 => 0,
        5..8 => 1,
        _ => 2,
    };
    let (low, high) = [(2, 4), (8, 16), (32, 64)][class];
    let cores = draws.whole(low, high);
    let cpu_millis = 1000 * cores;
    let memory_mib = cores * 1024 * draws.whole(1, 4);
    let (low, high) = [(16, 64), (100, 500), (500, 2000)][class];
    let disk_gib = draws.whole(low, high);
    let region = draws.whole(0, REGIONS - 1);
    let (x, y) = (draws.unit(), draws.unit());
    let (base, span) = [(1.0, 4.0), (5.0, 10.0), (15.0, 25.0)][class];
    let base_ms = base + span * draws.unit();
    let (base, span) = [(0.6, 0.4), (0.9, 0.2), (1.2, 0.6)][class];
    let speed = base + span * draws.unit();
    let trust = 0.3 + 0.7 * draws.unit();
    let cost_rate = 10.0 + 40.0 * draws.unit();
    let ask_rate = cost_rate * (0.8 + 0.8 * draws.unit());
    let cpu_millis_used = (cpu_millis as f64 * 0.5 * draws.unit()) as u64;
    Node {
        cpu_millis,
        memory_mib,
        disk_gib,
        region,
        x,
        y,
        base_ms,
        speed,
        trust,
        cost_rate,
        ask_rate,
        cpu_millis_used,
    }
}

/// Draws a job. The order of the draws is part of the definition.
fn draw_job(draws: &mut SplitMix64, scale: u64, last_node: u64) -> Job {
    let tier = match draws.whole(0, 9) {
        0 => 0,
        1..3 => 1,
        3..6 => 2,
        _ => 3,
    };
    let cpu_millis = 100 * draws.whole(1, 20) * scale;
    let memory_mib = 256 * draws.whole(1, 16) * scale;
    let disk_gib = draws.whole(1, 8) * scale;
    let duration_s = draws.whole(30, 3600);
    let (x, y) = (draws.unit(), draws.unit());
    let latency_ms_max = TIER_LATENCY_MS_MAX[tier] * (0.8 + 0.4 * draws.unit());
    let bound = draws.unit() < 0.2;
    let region = draws.whole(0, REGIONS - 1);
    let core_hours = cpu_millis as f64 / 1000.0 * (duration_s as f64 / 3600.0);
    let cost_max = core_hours * (45.0 + 30.0 * draws.unit());
    let deadline_s = duration_s as f64 * (1.2 + 2.0 * draws.unit());
    let excluded = [
        draws.whole(0, last_node) as u32,
        draws.whole(0, last_node) as u32,
    ];
    Job {
        tier,
        cpu_millis,
        memory_mib,
        disk_gib,
        duration_s,
        x,
        y,
        latency_ms_max,
        trust_min: TIER_MIN_TRUST[tier],
        region: bound.then_some(region),
        cost_max,
        deadline_s,
        excluded,
    }
}

/// Population standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    (squares / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_values() {
        // SplitMix64 seeded with 1, from the definition of FOG-P/1.
        let mut draws = SplitMix64(1);
        assert_eq!(draws.next(), 0x910a_2dec_8902_5cc1);
        assert_eq!(draws.next(), 0xbeeb_8da1_658e_ec67);
        assert_eq!(draws.next(), 0xf893_a2ee_fb32_555e);
    }

    #[test]
    fn specs_and_placements_that_make_no_sense_are_refused() {
        for (jobs, nodes) in [(0, 1), (1, 0), (JOBS_MAX + 1, 1), (1, NODES_MAX + 1)] {
            assert_eq!(
                Problem::generate(Spec::new(jobs, nodes, 1, 1)).unwrap_err(),
                FogpError::Size { jobs, nodes }
            );
        }
        assert_eq!(
            Problem::generate(Spec::new(3, 3, u32::MAX, 1)).unwrap_err(),
            FogpError::FitsNowhere { job: 0 }
        );
        let problem = Problem::generate(Spec::P20X50).unwrap();
        assert_eq!(
            problem.evaluate(&[0]).unwrap_err(),
            FogpError::Length { nodes: 1, jobs: 20 }
        );
        let mut nodes = [0; 20];
        nodes[7] = 50;
        assert_eq!(
            problem.evaluate(&nodes).unwrap_err(),
            FogpError::UnknownNode { job: 7, node: 50 }
        );
        assert!(problem.eligible(20).is_empty());
    }
}
