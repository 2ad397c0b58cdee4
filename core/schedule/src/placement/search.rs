//! Finding placements: greedy ones first, then NSGA-II from there.

use rand_core::Rng;

use super::OBJECTIVE_COUNT;
use super::batch::{Batch, BatchError, Choice, Demand, Supply};
use super::evaluate::{Evaluator, Load, Queue, Value};
use super::explore::{Effort, FRONT_MAX, SearchError};
use super::instance::{Instance, PlacementError, Sharing};
use super::plan::{Plan, Point};
use crate::evolution::{EvolutionError, Nsga2, Problem, Variable};
use crate::random::simplex;
use crate::sort::{lexicographic, ranks};

/// How many pairs of a job and a node a search may look at for each job of each child that NSGA-II
/// makes. Together they take about as long as NSGA-II does.
const WORK_PER_GENE: u64 = 8;

type Weights = [f64; OBJECTIVE_COUNT];

const COMPLETION: usize = 0;
const IMBALANCE: usize = 1;
const DISTRUST: usize = 2;
const COST: usize = 3;
const PRICE: usize = 4;

/// How much a squared change of a node's use counts against the other objectives, which are one
/// per job on average. Found by trial on generated instances; not critical.
const IMBALANCE_GAIN: f64 = 8.0;

/// What the other objectives weigh in a placement that seeks one: enough to settle ties.
const CORNER_REST: f64 = 1e-3;

impl Instance {
    /// Finds placements that no other beats and chooses the knee among them; choose otherwise with
    /// [`Plan::prefer`].
    ///
    /// The first population of NSGA-II are the front of [`Batch::search`] when jobs run at once, and
    /// greedy placements when they queue or that is not enough: one for each objective, one for all
    /// alike, the others for random weights. On such problems they are far better than random ones.
    /// A child in which a node is overcommitted is repaired before it is judged. The plan holds what
    /// nothing beats among the first and the last population. The same generator gives
    /// the same plan on every platform.
    ///
    /// # Errors
    ///
    /// [`PlacementError::Config`] if the configuration makes no sense, and
    /// [`PlacementError::OverCommitted`] if jobs share nodes at once and no placement was found in
    /// which they fit. That is a proof only when the demand exceeds what all nodes have.
    pub fn place(&self, config: &Nsga2, rng: &mut impl Rng) -> Result<Plan, PlacementError> {
        self.place_while(config, rng, &mut || true)
    }

    /// The same, and asks between generations, and between the greedy placements before the first,
    /// whether to go on. Asking changes nothing in the plan.
    ///
    /// # Errors
    ///
    /// [`PlacementError::Stopped`] if not; the others of [`Instance::place`].
    pub fn place_while(
        &self,
        config: &Nsga2,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Plan, PlacementError> {
        config.validate()?;
        let candidates = self
            .candidates(config, rng, go_on)
            .map_err(|Stopped| PlacementError::Stopped)?;
        self.plan(candidates)
    }

    /// The greedy placements and what NSGA-II makes of them. `config` is valid.
    fn candidates(
        &self,
        config: &Nsga2,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Vec<u32>>, Stopped> {
        let count = config.population as usize;
        let weights = seed_weights(count, rng);
        let metrics = Metrics::new(self);
        let mut search = Search {
            instance: self,
            variables: self
                .eligible
                .iter()
                .map(|pairs| Variable::Choice {
                    count: pairs.len() as u32,
                })
                .collect(),
            evaluator: Evaluator::new(self),
            metrics: &metrics,
            weights: &weights,
            turn: 0,
            choices: vec![0; self.jobs.len()],
            evaluations: 0,
            ask_every: count,
            go_on,
        };
        let mut candidates = self.searched_together(config, rng, search.go_on)?;
        // What the search has found takes the place of greedy placements, which it is based on.
        let depth = if candidates.is_empty() {
            Depth::Chain
        } else {
            Depth::Single
        };
        for weights in weights.iter().skip(candidates.len()) {
            search.ask()?;
            let mut choices = self.greedy(&metrics, weights);
            self.make_fit(&metrics, weights, &mut choices, depth);
            candidates.push(choices);
        }
        let worst = candidates
            .iter()
            .map(|choices| search.evaluator.value(choices).violation)
            .enumerate()
            .max_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((worst, violation)) = worst
            && violation > 0.0
        {
            let mut choices = self.pack();
            self.make_fit(&metrics, &weights[worst], &mut choices, Depth::Chain);
            candidates[worst] = choices;
        }
        let seeds: Vec<Vec<f64>> = candidates
            .iter()
            .map(|choices| choices.iter().map(|&choice| f64::from(choice)).collect())
            .collect();
        let front = match config
            .run(&mut search, &seeds, rng)
            .map_err(EvolutionError::into_problem)
        {
            Ok(front) => front,
            Err(Ok(stopped)) => return Err(stopped),
            Err(Err(error)) => unreachable!(
                "a checked instance is a problem with variables, objectives and finite values: \
                 {error}"
            ),
        };
        candidates.extend(front.individuals.iter().map(|individual| {
            let mut choices = vec![0; self.jobs.len()];
            decode(&individual.genes, &mut choices);
            choices
        }));
        Ok(candidates)
    }

    /// The front that [`Batch::search`] finds with about the work of the greedy placements and of
    /// NSGA-II, at most one for each individual. Empty if jobs queue, for then what a job adds
    /// depends on the others, or if nothing was found in which all jobs fit.
    fn searched_together(
        &self,
        config: &Nsga2,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Vec<u32>>, Stopped> {
        if self.sharing == Sharing::Queued {
            return Ok(Vec::new());
        }
        // Too many pairs for a batch are not too many for what follows.
        let Ok(batch) = self.batch() else {
            return Ok(Vec::new());
        };
        let (population, generations) =
            (u64::from(config.population), u64::from(config.generations));
        let genes = population.saturating_mul(self.jobs.len() as u64);
        let effort = Effort {
            front_max: (config.population as usize).min(FRONT_MAX),
            work: genes
                .saturating_mul(WORK_PER_GENE)
                .saturating_mul(generations + 1),
        };
        match batch.search_while(&effort, rng, go_on) {
            Ok(front) => Ok(front
                .iter()
                .map(|placement| self.choices(&placement.nodes))
                .collect()),
            Err(SearchError::Stopped) => Err(Stopped),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// The instance as numbers alone, when jobs run at once.
    fn batch(&self) -> Result<Batch<OBJECTIVE_COUNT>, BatchError> {
        let supplies = self.nodes.iter().map(|node| Supply {
            free: [node.cpu_millis_free, node.memory_bytes_free, 0],
            cpu_taken: node.cpu_millis_total - node.cpu_millis_free,
        });
        let demands = self.jobs.iter().enumerate().map(|(index, job)| {
            let weight = self.weights[index] / self.weight_sum;
            let choices = self.eligible[index].iter().map(|&pair| Choice {
                node: pair.node as u32,
                adds: [
                    weight * self.alone_ms(pair),
                    0.0,
                    weight * (1.0 - self.nodes[pair.node].trust),
                    pair.cost as f64,
                    pair.price as f64,
                ],
            });
            Demand {
                needs: [job.cpu_millis, job.memory_bytes, 0],
                choices: choices.collect(),
            }
        });
        Batch::new(supplies.collect(), demands)
    }

    /// The choice of each job that means the node named for it, which is eligible.
    fn choices(&self, nodes: &[u32]) -> Vec<u32> {
        let named = nodes.iter().zip(&self.eligible);
        named
            .map(|(&node, pairs)| pairs.partition_point(|pair| pair.node < node as usize) as u32)
            .collect()
    }

    /// The plan of those candidates that are feasible and that no other beats.
    fn plan(&self, candidates: Vec<Vec<u32>>) -> Result<Plan, PlacementError> {
        let mut evaluator = Evaluator::new(self);
        let mut valued: Vec<(Vec<u32>, Value)> = candidates
            .into_iter()
            .map(|choices| {
                let value = evaluator.value(&choices);
                (choices, value)
            })
            .collect();
        valued.sort_by(|(choices_a, a), (choices_b, b)| {
            a.violation
                .total_cmp(&b.violation)
                .then(lexicographic(&a.objectives, &b.objectives))
                .then(a.cost.cmp(&b.cost))
                .then(a.price.cmp(&b.price))
                .then(choices_a.cmp(choices_b))
        });
        if let Some((choices, value)) = valued.first()
            && value.violation > 0.0
        {
            return Err(self.over_committed(choices, &mut evaluator));
        }
        valued.retain(|(_, value)| value.violation <= 0.0);
        // Equal nodes make many placements of equal worth; one of each is enough.
        valued.dedup_by(|(_, a), (_, b)| lexicographic(&a.objectives, &b.objectives).is_eq());
        let points: Vec<&[f64]> = valued
            .iter()
            .map(|(_, value)| value.objectives.as_slice())
            .collect();
        let front = ranks(&points)
            .into_iter()
            .zip(&valued)
            .filter(|&(rank, _)| rank == 0)
            .map(|(_, (choices, value))| Point {
                assignment: choices
                    .iter()
                    .enumerate()
                    .map(|(job, &choice)| {
                        let node = self.pair(job, choice).node;
                        (self.jobs[job].id, self.nodes[node].id)
                    })
                    .collect(),
                objectives: value.objectives,
                cost: value.cost,
                price: value.price,
            })
            .collect();
        Ok(Plan::new(front))
    }

    /// The error that names the node which lacks most in a placement.
    fn over_committed(&self, choices: &[u32], evaluator: &mut Evaluator<'_>) -> PlacementError {
        evaluator.value(choices);
        let (node, load) = self
            .nodes
            .iter()
            .zip(evaluator.loads())
            .max_by(|(node_a, a), (node_b, b)| a.violation(node_a).total_cmp(&b.violation(node_b)))
            .expect("an instance has nodes");
        let over = load.over(node);
        PlacementError::OverCommitted {
            node: node.id,
            cpu_millis_over: over.cpu_millis,
            memory_bytes_over: over.memory_bytes,
        }
    }

    /// Puts each job where the weighted sum of objectives grows least.
    fn greedy(&self, metrics: &Metrics, weights: &Weights) -> Vec<u32> {
        match self.sharing {
            Sharing::Concurrent => self.greedy_together(metrics, weights),
            Sharing::Queued => self.greedy_in_turn(metrics, weights),
        }
    }

    fn greedy_together(&self, metrics: &Metrics, weights: &Weights) -> Vec<u32> {
        let mut loads = vec![Load::default(); self.nodes.len()];
        let mut choices = vec![0; self.jobs.len()];
        for job in self.hardest_first() {
            let best = self
                .cheapest(metrics, weights, &loads, job, |_| true)
                .map(|(_, choice)| choice);
            let choice = best.unwrap_or_else(|| self.least_overcommitting(&loads, job));
            choices[job] = choice;
            loads[self.pair(job, choice).node].add(&self.jobs[job]);
        }
        choices
    }

    /// Puts each job where it fills both what is left of processor and of memory, whatever that
    /// does to the objectives. For tight batches, in which placing by objectives strands one of the
    /// two on most nodes.
    fn pack(&self) -> Vec<u32> {
        let mut loads = vec![Load::default(); self.nodes.len()];
        let mut choices = vec![0; self.jobs.len()];
        for job in self.hardest_first() {
            let need = &self.jobs[job];
            let mut best: Option<(f64, u32)> = None;
            for (choice, pair) in self.eligible[job].iter().enumerate() {
                let (node, load) = (&self.nodes[pair.node], loads[pair.node]);
                if !load.has_room(need, node) {
                    continue;
                }
                let fill = |need: u64, free: u64| need as f64 / f64::max(free as f64, 1.0);
                // A job that needs none of what is overcommitted still has room there.
                let cpu_free = node.cpu_millis_free.saturating_sub(load.cpu_millis);
                let memory_free = node.memory_bytes_free.saturating_sub(load.memory_bytes);
                let cpu = fill(need.cpu_millis, cpu_free);
                let memory = fill(need.memory_bytes, memory_free);
                let filled = cpu.min(memory);
                if best.is_none_or(|(most, _)| filled > most) {
                    best = Some((filled, choice as u32));
                }
            }
            let choice = best.map_or_else(
                || self.least_overcommitting(&loads, job),
                |(_, choice)| choice,
            );
            choices[job] = choice;
            loads[self.pair(job, choice).node].add(need);
        }
        choices
    }

    /// Jobs with few nodes to go to, and of those alike the ones that need much of what there is.
    fn hardest_first(&self) -> Vec<usize> {
        let mut free = [0.0, 0.0];
        for node in &self.nodes {
            free[0] += node.cpu_millis_free as f64;
            free[1] += node.memory_bytes_free as f64;
        }
        let share = |job: usize| {
            let cpu = self.jobs[job].cpu_millis as f64 / f64::max(free[0], 1.0);
            let memory = self.jobs[job].memory_bytes as f64 / f64::max(free[1], 1.0);
            cpu.max(memory)
        };
        let mut order: Vec<usize> = (0..self.jobs.len()).collect();
        order.sort_by(|&a, &b| {
            let nodes = self.eligible[a].len().cmp(&self.eligible[b].len());
            nodes.then(share(b).total_cmp(&share(a)))
        });
        order
    }

    fn greedy_in_turn(&self, metrics: &Metrics, weights: &Weights) -> Vec<u32> {
        let mut queues = vec![Queue::default(); self.nodes.len()];
        let mut choices = vec![0; self.jobs.len()];
        for &job in &self.order {
            let mut best = (f64::INFINITY, 0);
            for (choice, pair) in self.eligible[job].iter().enumerate() {
                let node = &self.nodes[pair.node];
                let queue = &queues[pair.node];
                let end_ms = queue.end_ms(&self.jobs[job], pair.held_ms(), Load::free_on(node));
                let capacity = metrics.busy_scale_ms * node.cpu_millis_free as f64;
                let (before, added) = if capacity > 0.0 {
                    let work = pair.held_ms() as f64 * self.jobs[job].cpu_millis as f64;
                    (queue.busy / capacity, work / capacity)
                } else {
                    (0.0, 0.0)
                };
                let completion = self.weights[job] * (end_ms as f64 + node.latency_ms);
                let score = metrics.steady(weights, job, choice)
                    + weights[COMPLETION] * completion * metrics.scale[COMPLETION]
                    + weights[IMBALANCE] * IMBALANCE_GAIN * added * (2.0 * before + added);
                if score < best.0 {
                    best = (score, choice as u32);
                }
            }
            choices[job] = best.1;
            let pair = self.pair(job, best.1);
            let free = Load::free_on(&self.nodes[pair.node]);
            queues[pair.node].push(&self.jobs[job], pair.held_ms(), free);
        }
        choices
    }

    /// What putting a job on a node that carries `load` adds to the weighted objectives, when jobs
    /// run at once.
    fn score(
        &self,
        metrics: &Metrics,
        weights: &Weights,
        load: Load,
        job: usize,
        choice: u32,
    ) -> f64 {
        let node = &self.nodes[self.pair(job, choice).node];
        let total = node.cpu_millis_total as f64;
        let imbalance = if total > 0.0 {
            let taken = node.cpu_millis_total - node.cpu_millis_free;
            let before = (taken as f64 + load.cpu_millis as f64) / total;
            let added = self.jobs[job].cpu_millis as f64 / total;
            added * (2.0 * before + added)
        } else {
            0.0
        };
        metrics.steady(weights, job, choice as usize)
            + weights[IMBALANCE] * IMBALANCE_GAIN * imbalance
    }

    /// The choice of least score among the nodes that `allowed` admits and that have room.
    fn cheapest(
        &self,
        metrics: &Metrics,
        weights: &Weights,
        loads: &[Load],
        job: usize,
        allowed: impl Fn(usize) -> bool,
    ) -> Option<(f64, u32)> {
        let mut best: Option<(f64, u32)> = None;
        for (choice, pair) in self.eligible[job].iter().enumerate() {
            let load = loads[pair.node];
            if !allowed(pair.node) || !load.has_room(&self.jobs[job], &self.nodes[pair.node]) {
                continue;
            }
            let score = self.score(metrics, weights, load, job, choice as u32);
            if best.is_none_or(|(least, _)| score < least) {
                best = Some((score, choice as u32));
            }
        }
        best
    }

    /// Where a job does the least harm that fits nowhere.
    fn least_overcommitting(&self, loads: &[Load], job: usize) -> u32 {
        let mut best = (f64::INFINITY, 0);
        for (choice, pair) in self.eligible[job].iter().enumerate() {
            let mut load = loads[pair.node];
            load.add(&self.jobs[job]);
            let violation = load.violation(&self.nodes[pair.node]);
            if violation < best.0 {
                best = (violation, choice as u32);
            }
        }
        best.1
    }

    /// Moves jobs off overcommitted nodes as long as one can be moved. Jobs that queue always fit.
    fn make_fit(&self, metrics: &Metrics, weights: &Weights, choices: &mut [u32], depth: Depth) {
        if self.sharing == Sharing::Queued {
            return;
        }
        let mut loads = vec![Load::default(); self.nodes.len()];
        for (job, &choice) in choices.iter().enumerate() {
            loads[self.pair(job, choice).node].add(&self.jobs[job]);
        }
        for node in 0..self.nodes.len() {
            // Each turn takes one job off the node and puts none on it, so there is an end.
            while loads[node].violation(&self.nodes[node]) > 0.0 {
                if !self.move_one(metrics, weights, choices, &mut loads, node)
                    && (depth == Depth::Single || !self.move_chain(choices, &mut loads, node))
                {
                    break;
                }
            }
        }
    }

    /// Moves the job off `node` for which that is cheapest, if one has a node with room.
    fn move_one(
        &self,
        metrics: &Metrics,
        weights: &Weights,
        choices: &mut [u32],
        loads: &mut [Load],
        node: usize,
    ) -> bool {
        let mut best: Option<(f64, usize, u32)> = None;
        for (job, &choice) in choices.iter().enumerate() {
            if self.pair(job, choice).node != node {
                continue;
            }
            let mut without = loads[node];
            without.remove(&self.jobs[job]);
            let gain = self.score(metrics, weights, without, job, choice);
            let target = self.cheapest(metrics, weights, loads, job, |other| other != node);
            if let Some((score, choice)) = target
                && best.is_none_or(|(least, ..)| score - gain < least)
            {
                best = Some((score - gain, job, choice));
            }
        }
        let Some((_, job, choice)) = best else {
            return false;
        };
        self.relocate(choices, loads, job, choice);
        true
    }

    /// Moves a job off `node` to one that makes room by moving another job on to a third.
    fn move_chain(&self, choices: &mut [u32], loads: &mut [Load], node: usize) -> bool {
        for job in 0..choices.len() {
            if self.pair(job, choices[job]).node != node {
                continue;
            }
            for (choice, pair) in self.eligible[job].iter().enumerate() {
                let second = pair.node;
                if second == node {
                    continue;
                }
                for other in 0..choices.len() {
                    if self.pair(other, choices[other]).node != second {
                        continue;
                    }
                    let mut without = loads[second];
                    without.remove(&self.jobs[other]);
                    if !without.has_room(&self.jobs[job], &self.nodes[second]) {
                        continue;
                    }
                    let third = self.eligible[other].iter().position(|pair| {
                        pair.node != node
                            && pair.node != second
                            && loads[pair.node].has_room(&self.jobs[other], &self.nodes[pair.node])
                    });
                    if let Some(third) = third {
                        self.relocate(choices, loads, other, third as u32);
                        self.relocate(choices, loads, job, choice as u32);
                        return true;
                    }
                }
            }
        }
        false
    }

    fn relocate(&self, choices: &mut [u32], loads: &mut [Load], job: usize, choice: u32) {
        loads[self.pair(job, choices[job]).node].remove(&self.jobs[job]);
        loads[self.pair(job, choice).node].add(&self.jobs[job]);
        choices[job] = choice;
    }
}

/// How far a repair goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Depth {
    /// A job moves to a node with room.
    Single,
    /// A job may also move to a node that moves another on. Too slow for every child.
    Chain,
}

/// One weight vector for each objective, one for all alike, then random ones, `count` in all.
fn seed_weights(count: usize, rng: &mut impl Rng) -> Vec<Weights> {
    let corner =
        |objective| std::array::from_fn(|other| if other == objective { 1.0 } else { CORNER_REST });
    let mut weights: Vec<Weights> = (0..OBJECTIVE_COUNT).map(corner).collect();
    weights.push([1.0 / OBJECTIVE_COUNT as f64; OBJECTIVE_COUNT]);
    weights.truncate(count);
    while weights.len() < count {
        weights.push(simplex(rng));
    }
    weights
}

/// What each job adds to each objective on each node, scaled so that objectives compare: one is
/// the mean distance per job from the best nodes to the average ones.
struct Metrics {
    /// For each job and each eligible node, scaled; without what depends on other jobs.
    steady: Vec<Vec<Weights>>,
    /// What an objective is multiplied by.
    scale: Weights,
    /// About how long all nodes would be busy if work were spread evenly.
    busy_scale_ms: f64,
}

impl Metrics {
    fn new(instance: &Instance) -> Self {
        let jobs = instance.jobs.len() as f64;
        let raw = |job: usize, choice: usize| -> Weights {
            let pair = instance.eligible[job][choice];
            let weight = instance.weights[job];
            let mut raw = [0.0; OBJECTIVE_COUNT];
            raw[COMPLETION] = weight * instance.alone_ms(pair);
            raw[DISTRUST] = weight * (1.0 - instance.nodes[pair.node].trust);
            raw[COST] = pair.cost as f64;
            raw[PRICE] = pair.price as f64;
            raw
        };
        let (mut best, mut mean) = ([0.0; OBJECTIVE_COUNT], [0.0; OBJECTIVE_COUNT]);
        let mut work = 0.0;
        for (job, pairs) in instance.eligible.iter().enumerate() {
            let count = pairs.len() as f64;
            for objective in [COMPLETION, DISTRUST, COST, PRICE] {
                let values = (0..pairs.len()).map(|choice| raw(job, choice)[objective]);
                best[objective] += values.clone().fold(f64::INFINITY, f64::min);
                mean[objective] += values.sum::<f64>() / count;
            }
            let run_ms = pairs.iter().map(|pair| pair.held_ms() as f64).sum::<f64>() / count;
            work += run_ms * instance.jobs[job].cpu_millis as f64;
        }
        let scale = std::array::from_fn(|objective| {
            // Where jobs queue, time is lost even between equal nodes, so it is measured against
            // the whole of it.
            let queued = objective == COMPLETION && instance.sharing == Sharing::Queued;
            let span = mean[objective] - if queued { 0.0 } else { best[objective] };
            if span > 0.0 { jobs / span } else { 0.0 }
        });
        let steady = instance
            .eligible
            .iter()
            .enumerate()
            .map(|(job, pairs)| {
                (0..pairs.len())
                    .map(|choice| {
                        let mut steady = raw(job, choice);
                        for (value, scale) in steady.iter_mut().zip(&scale) {
                            *value *= scale;
                        }
                        if instance.sharing == Sharing::Queued {
                            // It depends on the queue there.
                            steady[COMPLETION] = 0.0;
                        }
                        steady
                    })
                    .collect()
            })
            .collect();
        let cpu_millis: f64 = instance
            .nodes
            .iter()
            .map(|node| node.cpu_millis_free as f64)
            .sum();
        Self {
            steady,
            scale,
            busy_scale_ms: if cpu_millis > 0.0 {
                work / cpu_millis
            } else {
                0.0
            },
        }
    }

    /// The part of a score that does not depend on where other jobs are.
    fn steady(&self, weights: &Weights, job: usize, choice: usize) -> f64 {
        let steady = &self.steady[job][choice];
        weights[COMPLETION] * steady[COMPLETION]
            + weights[DISTRUST] * steady[DISTRUST]
            + weights[COST] * steady[COST]
            + weights[PRICE] * steady[PRICE]
    }
}

/// Placement as a problem of NSGA-II: one gene for each job, its choice of node.
struct Search<'a> {
    instance: &'a Instance,
    variables: Vec<Variable>,
    evaluator: Evaluator<'a>,
    metrics: &'a Metrics,
    /// Whose turn it is to say where a repair moves a job.
    weights: &'a [Weights],
    turn: usize,
    choices: Vec<u32>,
    evaluations: usize,
    /// How many evaluations a generation has.
    ask_every: usize,
    go_on: &'a mut dyn FnMut() -> bool,
}

/// The host did not want to go on.
#[derive(Debug)]
struct Stopped;

impl Search<'_> {
    fn ask(&mut self) -> Result<(), Stopped> {
        if (self.go_on)() { Ok(()) } else { Err(Stopped) }
    }
}

fn decode(genes: &[f64], choices: &mut [u32]) {
    for (choice, &gene) in choices.iter_mut().zip(genes) {
        *choice = gene as u32;
    }
}

impl Problem for Search<'_> {
    type Error = Stopped;

    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn objective_count(&self) -> usize {
        OBJECTIVE_COUNT
    }

    fn repair(&mut self, genes: &mut [f64]) {
        if self.instance.sharing == Sharing::Queued {
            return;
        }
        decode(genes, &mut self.choices);
        let weights = &self.weights[self.turn % self.weights.len()];
        self.turn += 1;
        self.instance
            .make_fit(self.metrics, weights, &mut self.choices, Depth::Single);
        for (gene, &choice) in genes.iter_mut().zip(&self.choices) {
            *gene = f64::from(choice);
        }
    }

    fn evaluate(&mut self, genes: &[f64], objectives: &mut [f64]) -> Result<f64, Stopped> {
        if self.evaluations.is_multiple_of(self.ask_every) {
            self.ask()?;
        }
        self.evaluations += 1;
        decode(genes, &mut self.choices);
        let value = self.evaluator.value(&self.choices);
        objectives.copy_from_slice(&value.objectives);
        Ok(value.violation)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fogcompute_base::{NodeId, Priority, TaskId};
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::super::instance::tests::{job, node};
    use super::*;
    use crate::evolution::ConfigError;
    use crate::random::below;
    use crate::sort::dominates;
    use crate::{Job, Node, Preference};

    fn small() -> Nsga2 {
        Nsga2 {
            population: 40,
            generations: 40,
            ..Nsga2::default()
        }
    }

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    fn jobs_per_node(point: &Point) -> BTreeMap<NodeId, usize> {
        let mut counts = BTreeMap::new();
        for &(_, node) in &point.assignment {
            *counts.entry(node).or_default() += 1;
        }
        counts
    }

    #[test]
    fn a_search_can_be_stopped_between_generations_and_asking_changes_nothing() {
        let jobs: Vec<_> = (0..12).map(job).collect();
        let nodes: Vec<_> = (0..4).map(node).collect();
        let instance = Instance::new(jobs, nodes, Sharing::Queued).unwrap();
        let config = small();
        let mut asked = 0;
        let plan = instance
            .place_while(&config, &mut rng(1), &mut || {
                asked += 1;
                true
            })
            .unwrap();
        assert_eq!(plan, instance.place(&config, &mut rng(1)).unwrap());
        // Once for each greedy placement, once for the first population and each generation.
        assert_eq!(asked, config.population + 1 + config.generations);
        for last in 0..asked {
            let mut left = last;
            let stopped = instance.place_while(&config, &mut rng(1), &mut || {
                let go_on = left > 0;
                left = left.saturating_sub(1);
                go_on
            });
            assert_eq!(stopped, Err(PlacementError::Stopped));
        }
    }

    #[test]
    fn equal_tiles_are_shared_out_evenly() {
        let nodes: Vec<Node> = (1..=4)
            .map(|id| Node {
                cpu_millis_free: 1_000,
                cpu_millis_total: 1_000,
                ..node(id)
            })
            .collect();
        let jobs = (1..=24).map(job).collect();
        let instance = Instance::new(jobs, nodes, Sharing::Queued).unwrap();
        let plan = instance.place(&small(), &mut rng(1)).unwrap();
        // Six each, all nodes busy to the end, so one placement is best in everything.
        assert_eq!(plan.front().len(), 1);
        let counts = jobs_per_node(plan.chosen());
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [6; 4]);
        assert!((plan.chosen().objectives[COMPLETION] - 3_510.0).abs() < 1e-9);
        assert!(plan.chosen().objectives[IMBALANCE] < 1e-9);
    }

    #[test]
    fn a_trusted_node_is_preferred_when_all_else_is_equal() {
        // The prototype minimised the absolute value of trust, and so took the shady node.
        let nodes = vec![
            Node {
                trust: 0.31,
                ..node(1)
            },
            Node {
                trust: 0.99,
                ..node(2)
            },
        ];
        for sharing in [Sharing::Concurrent, Sharing::Queued] {
            let instance = Instance::new(vec![job(1)], nodes.clone(), sharing).unwrap();
            let plan = instance.place(&small(), &mut rng(2)).unwrap();
            assert_eq!(plan.chosen().assignment, [(job(1).id, node(2).id)]);
        }
    }

    #[test]
    fn priority_decides_who_waits() {
        let one_core = Node {
            cpu_millis_free: 1_000,
            latency_ms: 0.0,
            ..node(1)
        };
        let jobs = vec![
            Job {
                priority: Priority::Bulk,
                duration_ms: 100,
                ..job(1)
            },
            Job {
                priority: Priority::Critical,
                ..job(2)
            },
        ];
        let instance = Instance::new(jobs, vec![one_core], Sharing::Queued).unwrap();
        let plan = instance.place(&small(), &mut rng(3)).unwrap();
        // The critical job ends after 1000 ms, the bulk job after it.
        let expected = (16.0 * 1_000.0 + 1_100.0) / 17.0;
        assert!((plan.chosen().objectives[COMPLETION] - expected).abs() < 1e-9);
    }

    #[test]
    fn jobs_that_do_not_fit_together_are_reported() {
        let jobs = (1..=5).map(job).collect();
        let nodes = vec![
            node(1),
            Node {
                cpu_millis_free: 500,
                ..node(2)
            },
        ];
        let instance = Instance::new(jobs, nodes, Sharing::Concurrent).unwrap();
        let error = instance.place(&small(), &mut rng(4)).unwrap_err();
        assert_eq!(
            error,
            PlacementError::OverCommitted {
                node: node(1).id,
                cpu_millis_over: 1_000,
                memory_bytes_over: 0
            }
        );
        assert!(error.to_string().contains("lacks 1000 millicores"));
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused() {
        let instance = Instance::new(vec![job(1)], vec![node(1)], Sharing::Queued).unwrap();
        let config = Nsga2 {
            population: 5,
            ..small()
        };
        assert_eq!(
            instance.place(&config, &mut rng(5)),
            Err(PlacementError::Config(ConfigError::PopulationOdd {
                population: 5
            }))
        );
    }

    /// Nodes that differ in everything, and jobs that fill `fill` percent of each when placed right.
    fn planted(seed: u64, nodes: u16, jobs_per_node: u16, fill: u64) -> (Vec<Job>, Vec<Node>) {
        let mut rng = rng(seed);
        let nodes: Vec<Node> = (0..nodes)
            .map(|id| Node {
                cpu_millis_free: 2_000 + 1_000 * below(&mut rng, 30),
                cpu_millis_total: 40_000,
                memory_bytes_free: (1 + below(&mut rng, 64)) << 30,
                speed: 0.6 + below(&mut rng, 100) as f64 / 100.0,
                latency_ms: 1.0 + below(&mut rng, 80) as f64,
                trust: 0.3 + below(&mut rng, 70) as f64 / 100.0,
                price_per_cpu_second: 10 + below(&mut rng, 40),
                ..node(id)
            })
            .collect();
        let mut jobs = Vec::new();
        for node in &nodes {
            for part in 0..jobs_per_node {
                let id = jobs.len() as u16;
                jobs.push(Job {
                    cpu_millis: node.cpu_millis_free * fill / 100 / u64::from(jobs_per_node),
                    memory_bytes: node.memory_bytes_free * fill / 100 / u64::from(jobs_per_node),
                    duration_ms: 1_000 + below(&mut rng, 100_000),
                    min_trust: if part == 0 { node.trust } else { 0.0 },
                    ..job(id)
                });
            }
        }
        (jobs, nodes)
    }

    #[test]
    fn a_tight_batch_is_placed_without_overcommitting() {
        let (jobs, nodes) = planted(6, 40, 3, 85);
        let instance = Instance::new(jobs, nodes, Sharing::Concurrent).unwrap();
        let plan = instance.place(&small(), &mut rng(8)).unwrap();
        assert!(plan.front().len() > 10);
        for point in plan.front() {
            check(&instance, point);
        }
    }

    #[test]
    fn a_chain_of_moves_makes_room_where_no_single_move_can() {
        let sized = |id, cpu_millis| Job {
            cpu_millis,
            ..job(id)
        };
        let room = |id, cpu_millis_free| Node {
            cpu_millis_free,
            ..node(id)
        };
        // Node 1 holds 3 + 1 of 3 cores, node 2 holds 1 of 1, node 3 has room for one that may not
        // come from node 1.
        let banned = Job {
            excluded: vec![node(3).id],
            ..sized(2, 1_000)
        };
        let jobs = vec![sized(1, 3_000), banned, sized(3, 1_000)];
        let nodes = vec![room(1, 3_000), room(2, 1_000), room(3, 1_000)];
        let instance = Instance::new(jobs, nodes, Sharing::Concurrent).unwrap();
        let metrics = Metrics::new(&instance);
        let mut choices = vec![0, 0, 1];
        instance.make_fit(&metrics, &[0.2; 5], &mut choices, Depth::Single);
        assert_eq!(choices, [0, 0, 1]);
        instance.make_fit(&metrics, &[0.2; 5], &mut choices, Depth::Chain);
        assert_eq!(choices, [0, 1, 2]);
    }

    /// Checks one point against the jobs and nodes, without the code that made it.
    fn check(instance: &Instance, point: &Point) {
        assert_eq!(point.assignment.len(), instance.jobs().len());
        let mut used: BTreeMap<NodeId, (u64, u64)> = BTreeMap::new();
        let mut cost = 0;
        for (job, &(id, node_id)) in instance.jobs().iter().zip(&point.assignment) {
            assert_eq!(job.id, id);
            let node = instance
                .nodes()
                .iter()
                .find(|node| node.id == node_id)
                .unwrap();
            assert!(!job.excluded.contains(&node_id));
            assert!(node.trust >= job.min_trust);
            assert!(job.max_latency_ms.is_none_or(|max| node.latency_ms <= max));
            assert!(job.cpu_millis <= node.cpu_millis_free);
            assert!(job.memory_bytes <= node.memory_bytes_free);
            let run_ms = (job.duration_ms as f64 / node.speed).ceil() as u64;
            let price = (job.cpu_millis * run_ms * node.price_per_cpu_second).div_ceil(1_000_000);
            assert!(job.max_cost.is_none_or(|max| price <= max));
            cost += u128::from(price);
            let (cpu, memory) = used.entry(node_id).or_default();
            *cpu += job.cpu_millis;
            *memory += job.memory_bytes;
        }
        assert_eq!(point.cost, cost);
        assert!((point.objectives[COST] - cost as f64).abs() < 0.5);
        if instance.sharing == Sharing::Concurrent {
            for node in instance.nodes() {
                let (cpu, memory) = used.get(&node.id).copied().unwrap_or_default();
                assert!(cpu <= node.cpu_millis_free && memory <= node.memory_bytes_free);
            }
        }
    }

    /// The values of all placements that no other beats, by trying every one.
    fn pareto(instance: &Instance) -> Vec<[f64; OBJECTIVE_COUNT]> {
        let mut evaluator = Evaluator::new(instance);
        let mut values = Vec::new();
        let mut choices = vec![0; instance.jobs.len()];
        'all: loop {
            let value = evaluator.value(&choices);
            if value.violation <= 0.0 {
                values.push(value.objectives);
            }
            for (choice, pairs) in choices.iter_mut().zip(&instance.eligible) {
                *choice += 1;
                if (*choice as usize) < pairs.len() {
                    continue 'all;
                }
                *choice = 0;
            }
            break;
        }
        values.sort_by(|a, b| lexicographic(a, b));
        values.dedup_by(|a, b| lexicographic(a, b).is_eq());
        let all = values.clone();
        values.retain(|a| !all.iter().any(|b| dominates(b, a)));
        values
    }

    #[test]
    fn the_whole_front_of_a_small_batch_is_found() {
        for sharing in [Sharing::Concurrent, Sharing::Queued] {
            let nodes = (1..=3_u16)
                .map(|id| Node {
                    cpu_millis_free: 3_000,
                    latency_ms: 5.0 * f64::from(id),
                    trust: 0.9 - 0.2 * f64::from(id % 3),
                    price_per_cpu_second: [9, 4, 6][usize::from(id) - 1],
                    ..node(id)
                })
                .collect();
            let jobs = (1..=5)
                .map(|id| Job {
                    duration_ms: 700 * u64::from(id),
                    ..job(id)
                })
                .collect();
            let instance = Instance::new(jobs, nodes, sharing).unwrap();
            let config = Nsga2 {
                population: 200,
                generations: 100,
                ..Nsga2::default()
            };
            let plan = instance.place(&config, &mut rng(7)).unwrap();
            let found: Vec<_> = plan.front().iter().map(|point| point.objectives).collect();
            let expected = pareto(&instance);
            assert!(expected.len() > 10);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn preferences_reach_the_corners_of_the_front() {
        let (jobs, nodes) = planted(8, 12, 2, 90);
        let instance = Instance::new(jobs, nodes, Sharing::Queued).unwrap();
        let plan = instance.place(&small(), &mut rng(8)).unwrap();
        for objective in 0..OBJECTIVE_COUNT {
            let mut order = [0, 1, 2, 3, 4];
            order.swap(0, objective);
            let plan = plan
                .clone()
                .prefer(Preference::Lexicographic(order))
                .unwrap();
            assert!(plan.explain().trade_offs[objective].given_up() <= 0.0);
        }
    }

    prop_compose! {
        fn any_job()(
            cpu_millis in 0_u64..3_000,
            memory_bytes in 0_u64..400_000,
            duration_ms in 0_u64..10_000,
            priority in prop_oneof![
                Just(Priority::Critical),
                Just(Priority::High),
                Just(Priority::Normal),
                Just(Priority::Low),
                Just(Priority::Bulk),
            ],
            min_trust in prop_oneof![Just(0.0), 0.0..0.6],
            max_cost in proptest::option::of(20_u64..200),
            max_latency_ms in proptest::option::of(20.0..100.0),
            excluded in proptest::option::of(0_u16..8),
        ) -> Job {
            Job {
                cpu_millis,
                memory_bytes,
                duration_ms,
                priority,
                min_trust,
                max_cost,
                max_latency_ms,
                excluded: excluded.map(|id| node(id).id).into_iter().collect(),
                ..job(0)
            }
        }
    }

    prop_compose! {
        fn any_node()(
            cpu_millis_free in 0_u64..6_000,
            cpu_millis_taken in 0_u64..3_000,
            memory_bytes_free in 100_000_u64..1_000_000,
            speed in 0.5..2.0,
            latency_ms in 0.0..60.0,
            trust in 0.2..=1.0,
            price_per_cpu_second in 0_u64..20,
        ) -> Node {
            Node {
                cpu_millis_free,
                cpu_millis_total: cpu_millis_free + cpu_millis_taken,
                memory_bytes_free,
                speed,
                latency_ms,
                trust,
                price_per_cpu_second,
                ..node(0)
            }
        }
    }

    #[test]
    fn a_job_that_needs_nothing_goes_to_an_overcommitted_node() {
        let jobs = [0, 3_000, 3_000]
            .into_iter()
            .zip(1..)
            .map(|(cpu_millis, id)| Job {
                cpu_millis,
                memory_bytes: 0,
                ..job(id)
            })
            .collect();
        let instance = Instance::new(jobs, vec![node(1)], Sharing::Concurrent).unwrap();
        let placed = instance.place(&small(), &mut rng(1));
        assert_eq!(
            placed.unwrap_err(),
            PlacementError::OverCommitted {
                node: node(1).id,
                cpu_millis_over: 2_000,
                memory_bytes_over: 0
            }
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn plans_keep_every_promise(
            jobs in proptest::collection::vec(any_job(), 1..25),
            nodes in proptest::collection::vec(any_node(), 1..8),
            queued: bool,
            seed: u64,
        ) {
            let mut jobs = jobs;
            let mut nodes = nodes;
            for (index, this) in jobs.iter_mut().enumerate() {
                this.id = job(index as u16).id;
            }
            for (index, this) in nodes.iter_mut().enumerate() {
                this.id = node(index as u16).id;
            }
            // A job without a node fails the batch, which other tests cover.
            jobs.retain(|job| {
                Instance::new(vec![job.clone()], nodes.clone(), Sharing::Queued).is_ok()
            });
            prop_assume!(!jobs.is_empty());
            let sharing = if queued { Sharing::Queued } else { Sharing::Concurrent };
            let instance = Instance::new(jobs, nodes, sharing).unwrap();
            let config = Nsga2 { population: 12, generations: 8, ..Nsga2::default() };
            let plan = instance.place(&config, &mut rng(seed));
            prop_assert_eq!(&plan, &instance.place(&config, &mut rng(seed)));
            match plan {
                Ok(plan) => {
                    for a in plan.front() {
                        check(&instance, a);
                        let beaten = |b: &Point| dominates(&b.objectives, &a.objectives);
                        prop_assert!(!plan.front().iter().any(beaten));
                    }
                    prop_assert!(plan.chosen_index() < plan.front().len());
                    let ids: Vec<TaskId> =
                        plan.chosen().assignment.iter().map(|&(job, _)| job).collect();
                    let given: Vec<TaskId> = instance.jobs().iter().map(|job| job.id).collect();
                    prop_assert_eq!(ids, given);
                }
                Err(PlacementError::OverCommitted { cpu_millis_over, memory_bytes_over, .. }) => {
                    prop_assert!(!queued, "queues cannot be overcommitted");
                    prop_assert!(cpu_millis_over > 0 || memory_bytes_over > 0);
                }
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }
}
