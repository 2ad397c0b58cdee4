//! Ways to place a batch: the search of many placements, and rules that make one in one pass.
//!
//! All of them respect every constraint, and report what cannot be placed as [`Instance::place`]
//! does. A rule places jobs one after another, each where it is best by the rule at that time; if
//! one finds no room, it asks the solver of [`batch`](super::batch) for a placement that fits and
//! betters that, so tight batches take longer.

use std::fmt;
use std::str::FromStr;

use rand_core::Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::instance::{Instance, PlacementError, RESOURCES, Sharing};
use super::plan::Plan;
use super::search::{COST, DISTRUST, Lines, PRICE};
use crate::evolution::Nsga2;

/// A way to place a batch.
pub trait Strategy {
    /// Its name, as [`Name`] reads it.
    fn name(&self) -> &'static str;

    /// Places all jobs. The same generator gives the same plan.
    ///
    /// # Errors
    ///
    /// Those of [`Instance::place`].
    fn place(&self, instance: &Instance, rng: &mut dyn Rng) -> Result<Plan, PlacementError>;
}

/// The strategies there are, by name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// [`NsgaII`] with its usual configuration.
    NsgaIi,
    /// [`LatencyFirst`].
    LatencyFirst,
    /// [`LoadBalance`].
    LoadBalance,
    /// [`TrustFirst`].
    TrustFirst,
    /// [`CostOptimize`].
    CostOptimize,
    /// [`RoundRobin`].
    RoundRobin,
    /// [`BinPack`].
    BinPack,
    /// [`TopologySpread`].
    TopologySpread,
}

/// No strategy has this name.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{name:?} is no strategy; there are {}", Names)]
pub struct UnknownStrategy {
    /// What was asked for.
    pub name: String,
}

struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in Name::ALL.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::NsgaIi,
        Self::LatencyFirst,
        Self::LoadBalance,
        Self::TrustFirst,
        Self::CostOptimize,
        Self::RoundRobin,
        Self::BinPack,
        Self::TopologySpread,
    ];

    /// The strategy of this name.
    #[must_use]
    pub fn strategy(self) -> Box<dyn Strategy> {
        match self {
            Self::NsgaIi => Box::new(NsgaII::default()),
            Self::LatencyFirst => Box::new(LatencyFirst),
            Self::LoadBalance => Box::new(LoadBalance),
            Self::TrustFirst => Box::new(TrustFirst),
            Self::CostOptimize => Box::new(CostOptimize),
            Self::RoundRobin => Box::new(RoundRobin),
            Self::BinPack => Box::new(BinPack),
            Self::TopologySpread => Box::new(TopologySpread),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.strategy().name())
    }
}

impl FromStr for Name {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        let named = Self::ALL
            .into_iter()
            .find(|name| name.strategy().name() == text);
        named.ok_or_else(|| UnknownStrategy {
            name: text.to_owned(),
        })
    }
}

/// The search of [`Instance::place`], which finds a front: NSGA-II where jobs queue, the search of
/// batches where they run at once.
#[derive(Clone, Debug, Default)]
pub struct NsgaII {
    /// How much is searched.
    pub config: Nsga2,
}

impl Strategy for NsgaII {
    fn name(&self) -> &'static str {
        "nsga_ii"
    }

    fn place(&self, instance: &Instance, mut rng: &mut dyn Rng) -> Result<Plan, PlacementError> {
        instance.place(&self.config, &mut rng)
    }
}

/// Each job where it is done first.
#[derive(Clone, Copy, Debug, Default)]
pub struct LatencyFirst;

impl Strategy for LatencyFirst {
    fn name(&self) -> &'static str {
        "latency_first"
    }

    fn place(&self, instance: &Instance, _rng: &mut dyn Rng) -> Result<Plan, PlacementError> {
        in_one_pass(instance, done_ms)
    }
}

/// Each job where it leaves the use of nodes most even.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadBalance;

impl Strategy for LoadBalance {
    fn name(&self) -> &'static str {
        "load_balance"
    }

    fn place(&self, instance: &Instance, _rng: &mut dyn Rng) -> Result<Plan, PlacementError> {
        in_one_pass(instance, |state, copy, choice| {
            // What the job adds to the variance, times the number of nodes.
            let before = state.uses[instance.node(copy, choice)];
            let added = state.added_use(copy, choice);
            let count = state.uses.len() as f64;
            added * (2.0 * before + added) - added * (2.0 * state.use_sum + added) / count
        })
    }
}

/// Each job on the node that is trusted most.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrustFirst;

impl Strategy for TrustFirst {
    fn name(&self) -> &'static str {
        "trust_first"
    }

    fn place(&self, instance: &Instance, _rng: &mut dyn Rng) -> Result<Plan, PlacementError> {
        in_one_pass(instance, |_, copy, choice| {
            instance.adds(instance.copies[copy], choice)[DISTRUST]
        })
    }
}

/// Each job where it costs least, by prices of nodes and, of equals, on the market.
#[derive(Clone, Copy, Debug, Default)]
pub struct CostOptimize;

impl Strategy for CostOptimize {
    fn name(&self) -> &'static str {
        "cost_optimize"
    }

    fn place(&self, instance: &Instance, _rng: &mut dyn Rng) -> Result<Plan, PlacementError> {
        in_one_pass(instance, |_, copy, choice| {
            let adds = instance.adds(instance.copies[copy], choice);
            // Costs are whole numbers, so a share below one settles only ties.
            adds[COST] + adds[PRICE] / (1.0 + adds[PRICE])
        })
    }
}

/// Each job on the next node in the order given that may take it.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

impl Strategy for RoundRobin {
    fn name(&self) -> &'static str {
        "round_robin"
    }

    fn place(&self, instance: &Instance, _rng: &mut dyn Rng) -> Result<Plan, PlacementError> {
        let count = instance.nodes.len();
        in_one_pass(instance, |state, copy, choice| {
            let node = instance.node(copy, choice);
            ((node + count - state.next) % count) as f64
        })
    }
}

/// Each job on a node that has others already, if there is one, where it leaves least unused: so few
/// nodes are in use. Where jobs queue: on the busiest node on which it need not wait, else where it
/// is done first.
#[derive(Clone, Copy, Debug, Default)]
pub struct BinPack;

impl Strategy for BinPack {
    fn name(&self) -> &'static str {
        "bin_pack"
    }

    fn place(&self, instance: &Instance, _rng: &mut dyn Rng) -> Result<Plan, PlacementError> {
        in_one_pass(instance, |state, copy, choice| match instance.sharing {
            Sharing::Concurrent => {
                let alone = state.placed_in[NODE][instance.node(copy, choice)] == 0;
                // Nothing leaves more than all of each resource.
                let opening = if alone { RESOURCES as f64 } else { 0.0 };
                opening + state.left_unused(copy, choice)
            }
            Sharing::Queued => {
                let job = instance.jobs_of(copy)[0];
                let done_ms = done_ms(state, copy, choice);
                let waits = done_ms > instance.alone_ms(instance.pair(job, choice));
                // Uses are far below one million.
                let rank = 1e-6 * state.uses[instance.node(copy, choice)];
                if waits { done_ms } else { -rank }
            }
        })
    }
}

/// Each job in the zone with the fewest, there with the operator with the fewest, there on the node
/// with the fewest.
#[derive(Clone, Copy, Debug, Default)]
pub struct TopologySpread;

impl Strategy for TopologySpread {
    fn name(&self) -> &'static str {
        "topology_spread"
    }

    fn place(&self, instance: &Instance, _rng: &mut dyn Rng) -> Result<Plan, PlacementError> {
        in_one_pass(instance, |state, copy, choice| {
            let node = instance.node(copy, choice);
            // Each count is below 2^17, so their sum is exact.
            [ZONE, OPERATOR, NODE].iter().fold(0.0, |rank, &partition| {
                let domain = instance.partitions[partition][node] as usize;
                rank * f64::from(1 << 17) + f64::from(state.placed_in[partition][domain])
            })
        })
    }
}

/// Where an instance keeps the partitions into nodes, zones and operators.
const NODE: usize = 0;
const ZONE: usize = 1;
const OPERATOR: usize = 3;

/// What a rule sees.
struct State<'a> {
    instance: &'a Instance,
    lines: Lines<'a>,
    /// Which part of its processor each node uses, or where jobs queue, of a second of it.
    uses: Vec<f64>,
    use_sum: f64,
    /// Copies in each domain of each partition of the instance.
    placed_in: Vec<Vec<u32>>,
    /// The node after the one that got a copy last.
    next: usize,
}

impl<'a> State<'a> {
    fn new(instance: &'a Instance) -> Self {
        let uses: Vec<f64> = match instance.sharing {
            Sharing::Concurrent => instance
                .nodes
                .iter()
                .map(|node| {
                    let taken = node.cpu_millis_total - node.cpu_millis_free;
                    taken as f64 / f64::max(node.cpu_millis_total as f64, 1.0)
                })
                .collect(),
            Sharing::Queued => vec![0.0; instance.nodes.len()],
        };
        Self {
            lines: Lines::new(instance),
            use_sum: uses.iter().sum(),
            uses,
            placed_in: vec![vec![0; instance.nodes.len()]; instance.partitions.len()],
            next: 0,
            instance,
        }
    }

    fn added_use(&self, copy: usize, choice: u32) -> f64 {
        let node = &self.instance.nodes[self.instance.node(copy, choice)];
        match self.instance.sharing {
            Sharing::Concurrent => {
                let needs = self.instance.unit_needs[self.instance.copies[copy]];
                needs[0] as f64 / f64::max(node.cpu_millis_total as f64, 1.0)
            }
            Sharing::Queued => {
                let jobs = self.instance.jobs_of(copy).iter();
                let work: f64 = jobs
                    .map(|&job| {
                        let held_ms = self.instance.pair(job, choice).held_ms();
                        held_ms as f64 * self.instance.jobs[job].cpu_millis as f64
                    })
                    .sum();
                work / (1_000.0 * f64::max(node.cpu_millis_free as f64, 1.0))
            }
        }
    }

    /// Share of what is free on a node that a copy leaves, summed over resources it needs.
    fn left_unused(&self, copy: usize, choice: u32) -> f64 {
        let node = self.instance.node(copy, choice);
        let needs = self.instance.unit_needs[self.instance.copies[copy]];
        (0..RESOURCES)
            .filter(|&resource| needs[resource] > 0)
            .map(|resource| {
                let left = self.lines.room.free[node][resource].saturating_sub(needs[resource]);
                left as f64 / self.instance.free[node][resource] as f64
            })
            .sum()
    }

    /// Whether a copy may go where its choice says: there is room, and no job would be late.
    fn may(&self, copy: usize, choice: u32) -> bool {
        let in_time = |&job: &usize| {
            self.instance.sharing == Sharing::Concurrent
                || self.instance.late_ms(job, self.lines.done_ms(job, choice)) <= 0.0
        };
        self.lines.room.fits(copy, choice) && self.instance.jobs_of(copy).iter().all(in_time)
    }

    /// The best choice by a rule; of equals on the node that is used least.
    fn best(&self, copy: usize, rule: &impl Fn(&Self, usize, u32) -> f64) -> Option<u32> {
        let mut best: Option<(f64, f64, u32)> = None;
        for choice in self.instance.choices(copy) {
            if !self.may(copy, choice) {
                continue;
            }
            let score = rule(self, copy, choice);
            let share = self.uses[self.instance.node(copy, choice)];
            if best.is_none_or(|(least, lightest, _)| (score, share) < (least, lightest)) {
                best = Some((score, share, choice));
            }
        }
        best.map(|(.., choice)| choice)
    }

    fn put(&mut self, copy: usize, choice: u32) {
        let node = self.instance.node(copy, choice);
        let added = self.added_use(copy, choice);
        self.lines.room.put(copy, choice);
        self.uses[node] += added;
        self.use_sum += added;
        for (placed, domains) in self.placed_in.iter_mut().zip(&self.instance.partitions) {
            placed[domains[node] as usize] += 1;
        }
        self.next = (node + 1) % self.instance.nodes.len();
    }

    fn take(&mut self, copy: usize, choice: u32) {
        let node = self.instance.node(copy, choice);
        let added = self.added_use(copy, choice);
        self.lines.room.take(copy, choice);
        self.uses[node] -= added;
        self.use_sum -= added;
        for (placed, domains) in self.placed_in.iter_mut().zip(&self.instance.partitions) {
            placed[domains[node] as usize] -= 1;
        }
    }
}

/// When the jobs of a copy, on average, would be done and their node have been reached.
fn done_ms(state: &State<'_>, copy: usize, choice: u32) -> f64 {
    let instance = state.instance;
    let jobs = instance.jobs_of(copy);
    let done_ms = jobs.iter().map(|&job| match instance.sharing {
        Sharing::Concurrent => instance.alone_ms(instance.pair(job, choice)),
        Sharing::Queued => state.lines.done_ms(job, choice),
    });
    done_ms.sum::<f64>() / jobs.len() as f64
}

/// Places each copy where `rule` is least, the hardest first where jobs run at once and the most
/// urgent first where they queue.
fn in_one_pass(
    instance: &Instance,
    rule: impl Fn(&State<'_>, usize, u32) -> f64,
) -> Result<Plan, PlacementError> {
    let mut state = State::new(instance);
    let mut chosen: Vec<Option<u32>> = vec![None; instance.copies.len()];
    let placed = match instance.sharing {
        Sharing::Concurrent => instance.hardest_first().into_iter().all(|copy| {
            let best = state.best(copy, &rule);
            if let Some(choice) = best {
                state.put(copy, choice);
            }
            chosen[copy] = best;
            best.is_some()
        }),
        Sharing::Queued => instance.order.iter().all(|&(job, copy)| {
            let choice = match chosen[copy] {
                Some(choice) => choice,
                None => {
                    let Some(choice) = state.best(copy, &rule) else {
                        return false;
                    };
                    state.put(copy, choice);
                    chosen[copy] = Some(choice);
                    choice
                }
            };
            state.lines.push(job, choice);
            true
        }),
    };
    if placed {
        return instance.plan(vec![chosen.into_iter().flatten().collect()]);
    }
    let mut settled = instance.settled(&mut || true)?;
    if instance.sharing == Sharing::Concurrent {
        let mut state = State::new(instance);
        for (copy, &choice) in settled.iter().enumerate() {
            state.put(copy, choice);
        }
        for copy in instance.hardest_first() {
            let choice = settled[copy];
            state.take(copy, choice);
            let best = state.best(copy, &rule).unwrap_or(choice);
            state.put(copy, best);
            settled[copy] = best;
        }
    }
    instance.plan(vec![settled])
}
