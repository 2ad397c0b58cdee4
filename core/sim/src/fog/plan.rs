//! Which fog is simulated, and what goes wrong in it.

use std::num::NonZeroU64;
use std::time::Duration;

use fogcompute_coord::routing::Strategy;
use fogcompute_coord::{Config, Offer, Placement};
use fogcompute_ledger::Amount;
use fogcompute_schedule::evolution::Nsga2;

use crate::chance::{Chance, below, between, chance, happens};
use crate::clock::ClockConfig;
use crate::disk::CrashPoint;
use crate::fault::{Cut, Fault};
use crate::fog::flaw::Flaw;
use crate::fog::node::Lie;
use crate::fog::submitter::JobShape;
use crate::link::LinkConfig;
use crate::process::ProcessId;

const MIB: u64 = 1 << 20;
const GIGA: u64 = 1_000_000_000;

/// The coordinator of every fog.
pub const COORDINATOR: ProcessId = ProcessId(0);

/// One node.
#[derive(Clone, Debug)]
pub struct PlannedNode {
    /// What it really lends.
    pub offer: Offer,
    /// How it lies, if it does.
    pub lie: Option<Lie>,
    /// Its clocks.
    pub clock: ClockConfig,
    /// When it begins.
    pub begins: Duration,
    /// Heartbeats of a million at which it begins, or ceases, to lend nothing.
    pub vacates_ppm: u32,
}

/// One submitter.
#[derive(Clone, Copy, Debug)]
pub struct PlannedSubmitter {
    /// How many jobs it has.
    pub jobs: u64,
    /// Mean time from one to the next.
    pub interval_mean: Duration,
    /// What they are like.
    pub shape: JobShape,
    /// Times of a million at which it asks after a job that it cancels one of its tasks.
    pub cancels_ppm: u32,
}

/// Everything that a run follows from. Process 0 is the coordinator; submitters come next, then
/// nodes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What links, processes and jobs draw from.
    pub seed: u64,
    /// The coordinator's rules.
    pub rules: Config,
    /// The coordinator's clocks.
    pub clock: ClockConfig,
    /// Every link.
    pub link: LinkConfig,
    /// The nodes.
    pub nodes: Vec<PlannedNode>,
    /// The submitters.
    pub submitters: Vec<PlannedSubmitter>,
    /// What goes wrong, and when.
    pub faults: Vec<(Duration, Fault)>,
    /// What is wrong with the coordinator on purpose.
    pub flaw: Option<Flaw>,
    /// Time from one heartbeat of a node to the next.
    pub heartbeat: Duration,
    /// Events that touch the coordinator, from one look at everything to the next.
    pub full_every: u64,
    /// Events that are kept as text.
    pub trace_lines: usize,
    /// By then everything must be done.
    pub deadline: Duration,
}

impl Plan {
    /// A small fog with everything in it that can go wrong, of 5 to 20 nodes: every choice follows
    /// from the seed. At least two of its nodes are honest and stay, so that there is somebody to
    /// do the work in the end.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let rng = &mut chance(seed, "plan", 0);
        let node_count = between(rng, 5, 20);
        let submitter_count = between(rng, 1, 3);
        let link = LinkConfig {
            latency_min: Duration::from_millis(between(rng, 1, 50)),
            latency_mean: Duration::from_millis(between(rng, 0, 200)),
            loss_ppm: rate(rng, 50_000),
            duplicate_ppm: rate(rng, 50_000),
            reorder_ppm: rate(rng, 100_000),
            bytes_per_second: happens(rng, 300_000)
                .then(|| NonZeroU64::new(between(rng, 10_000, 1_000_000)))
                .flatten(),
        };
        let shape = JobShape {
            tasks: (1, between(rng, 1, 12).try_into().unwrap_or(1)),
            fuel: (GIGA / 10, between(rng, GIGA, 60 * GIGA)),
            memory_bytes: (MIB, 64 * MIB),
            price_max: Amount(100_000),
            fails_ppm: rate(rng, 200_000),
        };
        let submitters = (0..submitter_count)
            .map(|_| PlannedSubmitter {
                jobs: between(rng, 2, 10),
                interval_mean: Duration::from_secs(between(rng, 1, 120)),
                shape,
                cancels_ppm: rate(rng, 50_000),
            })
            .collect();
        let nodes: Vec<_> = (0..node_count)
            .map(|number| random_node(rng, number >= STEADY))
            .collect();
        let mut plan = Self {
            seed,
            rules: small_rules(any_placement(seed)),
            clock: random_clock(rng),
            link,
            nodes,
            submitters,
            faults: Vec::new(),
            flaw: None,
            heartbeat: Duration::from_secs(30),
            full_every: 5,
            trace_lines: 0,
            deadline: Duration::from_hours(12),
        };
        plan.faults = plan.random_faults(rng);
        plan
    }

    /// A large fog: as many nodes, of which some die and some come back, and short tasks, three
    /// for every node.
    #[must_use]
    pub fn large(seed: u64, nodes: u32) -> Self {
        let rng = &mut chance(seed, "large plan", 0);
        let link = LinkConfig {
            latency_min: Duration::from_millis(5),
            latency_mean: Duration::from_millis(20),
            loss_ppm: 1_000,
            duplicate_ppm: 1_000,
            reorder_ppm: 10_000,
            ..LinkConfig::perfect(Duration::ZERO)
        };
        let shape = JobShape {
            tasks: (100, 100),
            fuel: (GIGA, 30 * GIGA),
            memory_bytes: (MIB, 64 * MIB),
            price_max: Amount(100_000),
            fails_ppm: 10_000,
        };
        let jobs = u64::from(nodes) * 3 / 100;
        let span = Duration::from_mins(5);
        let submitters = vec![PlannedSubmitter {
            jobs: jobs.max(1),
            interval_mean: span / u32::try_from(jobs.max(1)).unwrap_or(u32::MAX),
            shape,
            cancels_ppm: 0,
        }];
        let planned = (0..nodes)
            .map(|_| PlannedNode {
                begins: Duration::from_millis(below(rng, 30_000)),
                vacates_ppm: 0,
                ..random_node(rng, false)
            })
            .collect();
        let first = 1 + u32::try_from(submitters.len()).unwrap_or(1);
        let mut faults = Vec::new();
        for number in 0..nodes {
            // The first ones stay.
            if u64::from(number) >= STEADY && happens(rng, 50_000) {
                let back = happens(rng, 500_000);
                let fault = Fault::Crash {
                    process: ProcessId(first + number),
                    silent: happens(rng, 500_000),
                    down: back.then(|| Duration::from_secs(between(rng, 1, 300))),
                };
                faults.push((Duration::from_millis(between(rng, 40_000, 300_000)), fault));
            }
        }
        Self {
            seed,
            rules: small_rules(Placement::Routed(Strategy::LeastLoaded)),
            clock: ClockConfig::default(),
            link,
            nodes: planned,
            submitters,
            faults,
            flaw: None,
            heartbeat: Duration::from_secs(30),
            full_every: u64::MAX,
            trace_lines: 0,
            deadline: Duration::from_hours(12),
        }
    }

    /// The process that a node of this plan is.
    #[must_use]
    pub fn node(&self, number: usize) -> ProcessId {
        ProcessId(u32::try_from(1 + self.submitters.len() + number).unwrap_or(u32::MAX))
    }

    /// The process that a submitter of this plan is.
    #[must_use]
    pub fn submitter(&self, number: usize) -> ProcessId {
        ProcessId(u32::try_from(1 + number).unwrap_or(u32::MAX))
    }

    /// A process that is not the coordinator.
    fn anyone(&self, rng: &mut Chance) -> ProcessId {
        let others = self.submitters.len() + self.nodes.len();
        ProcessId(u32::try_from(between(rng, 1, others as u64)).unwrap_or(1))
    }

    fn random_faults(&self, rng: &mut Chance) -> Vec<(Duration, Fault)> {
        let mut faults = Vec::new();
        let when = |rng: &mut Chance| Duration::from_millis(below(rng, FAULTY_MS));
        for number in 0..self.nodes.len() {
            let process = self.node(number);
            for _ in 0..below(rng, 4) {
                let fault = Fault::Crash {
                    process,
                    silent: happens(rng, 500_000),
                    down: Some(random_pause(rng)),
                };
                faults.push((when(rng), fault));
            }
            if number as u64 >= STEADY && happens(rng, 200_000) {
                // Its battery is empty, and nobody charges it.
                let fault = Fault::Crash {
                    process,
                    silent: true,
                    down: None,
                };
                faults.push((when(rng), fault));
            }
        }
        for number in 0..self.submitters.len() {
            if happens(rng, 300_000) {
                let fault = Fault::Crash {
                    process: self.submitter(number),
                    silent: happens(rng, 500_000),
                    down: Some(random_pause(rng)),
                };
                faults.push((when(rng), fault));
            }
        }
        for _ in 0..below(rng, 4) {
            let fault = Fault::Crash {
                process: COORDINATOR,
                silent: happens(rng, 500_000),
                down: Some(random_pause(rng)),
            };
            faults.push((when(rng), fault));
        }
        for _ in 0..below(rng, 12) {
            let process = if happens(rng, 700_000) {
                COORDINATOR
            } else {
                self.anyone(rng)
            };
            let fault = Fault::CrashInCommit {
                process,
                commits: below(rng, 6),
                point: CrashPoint::ALL[below(rng, 3) as usize],
                silent: happens(rng, 500_000),
                down: Some(random_pause(rng)),
            };
            faults.push((when(rng), fault));
        }
        for _ in 0..below(rng, 4) {
            let members = self.processes().filter(|_| happens(rng, 300_000)).collect();
            let fault = Fault::Partition {
                members,
                cut: [Cut::Both, Cut::Out, Cut::In][below(rng, 3) as usize],
                lasts: random_pause(rng),
            };
            faults.push((when(rng), fault));
        }
        for _ in 0..below(rng, 4) {
            let fault = Fault::DoubtfulCommits {
                process: COORDINATOR,
                commits: between(rng, 1, 5),
            };
            faults.push((when(rng), fault));
        }
        for process in [COORDINATOR, self.anyone(rng)] {
            let by_ms = [-3_600_000, 3_600_000][below(rng, 2) as usize];
            if happens(rng, 500_000) {
                faults.push((when(rng), Fault::ClockJump { process, by_ms }));
            }
            if happens(rng, 400_000) {
                let lasts = random_pause(rng);
                faults.push((when(rng), Fault::DiskFull { process, lasts }));
            }
        }
        faults
    }

    fn processes(&self) -> impl Iterator<Item = ProcessId> + use<> {
        let count = 1 + self.submitters.len() + self.nodes.len();
        (0..u32::try_from(count).unwrap_or(u32::MAX)).map(ProcessId)
    }
}

/// Nodes at the head of a plan that are honest, and come back whenever they die.
const STEADY: u64 = 2;

/// How long things go wrong, in milliseconds.
const FAULTY_MS: u64 = 1_200_000;

/// A rate of up to `max_ppm`, and often none: what hides behind a fault shows when it is not there.
fn rate(rng: &mut Chance, max_ppm: u64) -> u32 {
    if happens(rng, 400_000) {
        return 0;
    }
    u32::try_from(below(rng, max_ppm)).unwrap_or(0)
}

/// From a moment to five minutes.
fn random_pause(rng: &mut Chance) -> Duration {
    let limit = [100, 10_000, 300_000][below(rng, 3) as usize];
    Duration::from_millis(between(rng, 1, limit))
}

fn random_clock(rng: &mut Chance) -> ClockConfig {
    ClockConfig {
        drift_ppm: i32::try_from(between(rng, 0, 2_000)).unwrap_or(0) - 1_000,
        wall_offset_ms: i64::try_from(between(rng, 0, 20_000)).unwrap_or(0) - 10_000,
    }
}

fn random_node(rng: &mut Chance, may_lie: bool) -> PlannedNode {
    let lie = may_lie && happens(rng, 200_000);
    let offer = Offer {
        cpu_millis: between(rng, 1, 4) * 1_000 + below(rng, 1_000),
        memory_bytes: between(rng, 64, 512) * MIB,
        fuel_per_second: between(rng, GIGA / 2, 2 * GIGA),
        price_per_gigafuel: Amount(between(rng, 0, 200).into()),
        latency_ms: between(rng, 1, 200) as f64,
    };
    PlannedNode {
        offer,
        lie: lie.then(|| Lie::ALL[below(rng, Lie::ALL.len() as u64) as usize]),
        clock: random_clock(rng),
        begins: Duration::from_millis(below(rng, 60_000)),
        vacates_ppm: if may_lie { rate(rng, 100_000) } else { 0 },
    }
}

/// The optimiser for every other seed, and each strategy in turn for the rest.
fn any_placement(seed: u64) -> Placement {
    if seed.is_multiple_of(2) {
        return Placement::Optimised;
    }
    let turn = usize::try_from(seed / 2).unwrap_or(0) % Strategy::ALL.len();
    Placement::Routed(Strategy::ALL[turn])
}

/// An optimiser that is quick: what is looked for does not hang on where tasks go.
fn small_rules(placement: Placement) -> Config {
    Config {
        placement,
        nsga2: Nsga2 {
            population: 8,
            generations: 4,
            ..Nsga2::default()
        },
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_follows_from_its_seed() {
        let text = |seed| format!("{:?}", Plan::random(seed));
        assert_eq!(text(3), text(3));
        assert_ne!(text(3), text(4));
    }

    #[test]
    fn over_some_seeds_everything_goes_wrong_and_two_nodes_stay() {
        let mut kinds = [0; 6];
        let mut lies = 0;
        for seed in 0..50 {
            let plan = Plan::random(seed);
            assert!((5..=20).contains(&plan.nodes.len()));
            lies += plan.nodes.iter().filter(|node| node.lie.is_some()).count();
            for node in &plan.nodes[..2] {
                assert_eq!((node.lie, node.vacates_ppm), (None, 0));
            }
            for (_, fault) in &plan.faults {
                let kind = match fault {
                    Fault::Crash { process, down, .. } => {
                        let steady = [plan.node(0), plan.node(1)].contains(process);
                        assert!(down.is_some() || !steady);
                        0
                    }
                    Fault::CrashInCommit { .. } => 1,
                    Fault::Partition { .. } => 2,
                    Fault::ClockJump { .. } => 3,
                    Fault::DiskFull { .. } => 4,
                    Fault::DoubtfulCommits { .. } => 5,
                };
                kinds[kind] += 1;
            }
        }
        assert!(kinds.iter().all(|&count| count > 10), "{kinds:?}");
        assert!(lies > 50, "{lies}");
    }
}
