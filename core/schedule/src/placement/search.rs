//! Finding placements: by the search of batches when jobs run at once, by NSGA-II from greedy ones
//! when they queue.

use rand_core::Rng;

use super::OBJECTIVE_COUNT;
use super::batch::{Batch, Choice, Demand, Supply};
use super::evaluate::{Evaluator, Fault, Queue, Value};
use super::explore::{Effort, FRONT_MAX, SearchError};
use super::feasible::{Outcome, settle, settle_within};
use super::instance::{CAPACITIES, Instance, NEEDS, PlacementError, RESOURCES, Rule, Sharing};
use super::plan::{Plan, Point};
use super::room::Room;
use crate::evolution::{EvolutionError, Nsga2, Problem, Variable};
use crate::random::simplex;
use crate::sort::{lexicographic, ranks};

/// How many pairs of a job and a node a search of jobs that run at once may look at for each job of
/// each individual and generation that is asked for. Together they take about as long as NSGA-II
/// would.
const WORK_PER_GENE: u64 = 4;

/// Most pairs of a job and a node that are looked at to tell which rules a proof rests on.
const LOOKS_TELLING_MAX: u64 = 1 << 20;

/// What it takes to write down a pair anew, in looks at one.
pub(super) const LOOKS_PER_PAIR: u64 = 8;

pub(super) type Weights = [f64; OBJECTIVE_COUNT];

pub(super) const COMPLETION: usize = 0;
pub(super) const IMBALANCE: usize = 1;
pub(super) const DISTRUST: usize = 2;
pub(super) const COST: usize = 3;
pub(super) const PRICE: usize = 4;

/// How much a squared change of a node's use counts against the other objectives, which are one
/// per job on average. Found by trial on generated instances; not critical.
const IMBALANCE_GAIN: f64 = 8.0;

/// What the other objectives weigh in a placement that seeks one: enough to settle ties.
const CORNER_REST: f64 = 1e-3;

impl Instance {
    /// Finds placements that no other beats and chooses the knee among them; choose otherwise with
    /// [`Plan::prefer`].
    ///
    /// When jobs run at once, this is the front of [`Batch::search`], as large as the population and
    /// with about the work of NSGA-II of that configuration. When they queue, what a job adds depends
    /// on the others, so it is NSGA-II from greedy placements: one for each objective, one for all
    /// alike, the others for random weights. The plan then holds what nothing beats among the first
    /// and the last population. The same generator gives the same plan on every platform.
    ///
    /// # Errors
    ///
    /// [`PlacementError::Config`] if the configuration makes no sense,
    /// [`PlacementError::Impossible`] if jobs are proven not to fit together; and, without a proof
    /// that there is no placement, [`PlacementError::OverCommitted`],
    /// [`PlacementError::Crowded`] or [`PlacementError::Late`].
    pub fn place(&self, config: &Nsga2, rng: &mut impl Rng) -> Result<Plan, PlacementError> {
        self.place_while(config, rng, &mut || true)
    }

    /// The same, and asks between generations, and between the placements before the first, whether
    /// to go on. Asking changes nothing in the plan.
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
        self.place_from(None, config, rng, go_on)
    }

    /// The same from a placement in which all jobs fit.
    pub(super) fn place_from(
        &self,
        refuge: Option<Vec<u32>>,
        config: &Nsga2,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Plan, PlacementError> {
        config.validate()?;
        let candidates = match self.sharing {
            Sharing::Concurrent => self.search_together(refuge, config, rng, go_on)?,
            Sharing::Queued => self.search_in_turn(refuge, config, rng, go_on)?,
        };
        self.plan(candidates)
    }

    /// The front that [`Batch::search`] finds of jobs that run at once.
    fn search_together(
        &self,
        refuge: Option<Vec<u32>>,
        config: &Nsga2,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Vec<u32>>, PlacementError> {
        let genes = u64::from(config.population).saturating_mul(self.copies.len() as u64);
        let effort = Effort {
            front_max: (config.population as usize).min(FRONT_MAX),
            work: genes
                .saturating_mul(WORK_PER_GENE)
                .saturating_mul(u64::from(config.generations) + 1),
        };
        // What nobody needs would only slow the search.
        let few = self.unit_needs.iter().all(|needs| needs[2..] == [0; 3]);
        let front = if few {
            self.batch::<2>()
                .search_choices(refuge, &effort, rng, go_on)
        } else {
            self.batch::<RESOURCES>()
                .search_choices(refuge, &effort, rng, go_on)
        };
        front.map_err(|error| self.search_error(error))
    }

    fn search_error(&self, error: SearchError) -> PlacementError {
        match error {
            SearchError::Impossible { jobs } => self.impossible(&jobs),
            SearchError::NotFound { job } => self.nearest_miss(job),
            SearchError::Stopped => PlacementError::Stopped,
            SearchError::Front { .. } => {
                unreachable!("a population is not empty and the front no larger than allowed")
            }
        }
    }

    /// The error that names the jobs of copies that cannot be together.
    fn impossible(&self, copies: &[usize]) -> PlacementError {
        let mut jobs: Vec<usize> = copies
            .iter()
            .flat_map(|&copy| self.jobs_of(copy))
            .copied()
            .collect();
        jobs.sort_unstable();
        jobs.dedup();
        PlacementError::Impossible {
            jobs: jobs.into_iter().map(|job| self.jobs[job].id).collect(),
            rules: self.rules_against(copies),
        }
    }

    /// The rules that copies cannot all keep, without those that could be lifted, as far as that is
    /// found out within bounds.
    fn rules_against(&self, copies: &[usize]) -> Vec<Rule> {
        let mut rules = self.rules_of(copies);
        let pairs = copies.iter().map(|&copy| self.pairs(copy).len());
        let cost = LOOKS_PER_PAIR * pairs.sum::<usize>() as u64;
        let mut looks = LOOKS_TELLING_MAX;
        // Capacity is lifted first: who may share what is the plainer reason.
        for at in (0..rules.len()).rev() {
            let Some(left) = looks.checked_sub(cost) else {
                break;
            };
            looks = left;
            let mut fewer = rules.clone();
            fewer.remove(at);
            let batch = self.batch_of::<RESOURCES>(copies, |rule| fewer.contains(rule));
            let outcome = settle_within(&batch, &mut looks, &mut || true);
            if matches!(outcome, Outcome::Impossible(_)) {
                rules = fewer;
            }
        }
        rules
    }

    /// The error that says what a copy lacks that found no room, when the others are packed.
    fn nearest_miss(&self, last: usize) -> PlacementError {
        let mut room = Room::new(self);
        let mut missed = last;
        for copy in self.hardest_first() {
            if copy == last {
                continue;
            }
            match room.tightest(copy) {
                Some(choice) => room.put(copy, choice),
                None => missed = copy,
            }
        }
        let job = self.jobs[self.jobs_of(missed)[0]].id;
        match room.nearest(missed) {
            Some((choice, lacks)) if lacks != [0; RESOURCES] => PlacementError::OverCommitted {
                job,
                node: self.nodes[self.node(missed, choice)].id,
                lacks: lacks.into(),
            },
            _ => PlacementError::Crowded { job },
        }
    }

    /// The instance as numbers alone: the first `R` resources, of which jobs that queue take
    /// nothing from each other.
    fn batch<const R: usize>(&self) -> Batch<OBJECTIVE_COUNT, R> {
        let all: Vec<usize> = (0..self.copies.len()).collect();
        self.batch_of(&all, |_| true)
    }

    /// The same of some copies, were there no rules but those that hold.
    fn batch_of<const R: usize>(
        &self,
        copies: &[usize],
        holds: impl Fn(&Rule) -> bool,
    ) -> Batch<OBJECTIVE_COUNT, R> {
        let supplies = self
            .nodes
            .iter()
            .zip(&self.free)
            .map(|(node, free)| Supply {
                free: std::array::from_fn(|resource| free[resource]),
                cpu_taken: node.cpu_millis_total - node.cpu_millis_free,
            });
        let limit_holds: Vec<bool> = self.rules.iter().map(&holds).collect();
        let counts: [bool; R] = std::array::from_fn(|resource| {
            self.sharing == Sharing::Concurrent && holds(&Rule::Capacity(CAPACITIES[resource]))
        });
        let demands = copies.iter().map(|&copy| (copy, self.copies[copy]));
        let demands = demands.map(|(copy, unit)| Demand {
            needs: std::array::from_fn(|resource| {
                if counts[resource] {
                    self.unit_needs[unit][resource]
                } else {
                    0
                }
            }),
            choices: self
                .choices(copy)
                .map(|choice| Choice {
                    node: self.node(copy, choice) as u32,
                    adds: self.adds(unit, choice),
                })
                .collect(),
            limits: self.memberships[copy]
                .iter()
                .filter(|membership| limit_holds[membership.limit as usize])
                .copied()
                .collect(),
        });
        Batch::with_limits(supplies.collect(), &self.partitions, &self.limits, demands)
            .expect("a checked instance is a batch")
    }

    /// What a copy of a unit adds to each objective, without the imbalance, when its jobs need not
    /// wait.
    pub(super) fn adds(&self, unit: usize, choice: u32) -> Weights {
        let mut adds = [0.0; OBJECTIVE_COUNT];
        for &job in &self.units[unit] {
            let pair = self.pair(job, choice);
            let weight = self.weights[job] / self.weight_sum;
            adds[COMPLETION] += weight * self.alone_ms(pair);
            adds[DISTRUST] += weight * (1.0 - self.nodes[pair.node].trust);
            adds[COST] += pair.cost as f64;
            adds[PRICE] += pair.price as f64;
        }
        adds
    }

    /// A placement in which all fit and limits are kept, whatever it is worth. Deadlines of jobs
    /// that queue are not looked at.
    pub(super) fn settled(
        &self,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<u32>, PlacementError> {
        let batch = self.batch::<RESOURCES>();
        match settle(&batch, go_on) {
            Outcome::Settled(chosen) => Ok(batch.choices(&chosen)),
            Outcome::Impossible(copies) => Err(self.impossible(&copies)),
            Outcome::Unknown(copy) => Err(self.nearest_miss(copy)),
            Outcome::Stopped => Err(PlacementError::Stopped),
        }
    }

    /// The choices of some copies with which they fit and keep limits, if such were found within
    /// about so many looks at a pair. Deadlines of jobs that queue are not looked at.
    pub(super) fn settled_of(
        &self,
        copies: &[usize],
        looks: &mut u64,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<u32>>, PlacementError> {
        let batch = self.batch_of::<RESOURCES>(copies, |_| true);
        match settle_within(&batch, looks, go_on) {
            Outcome::Settled(chosen) => Ok(Some(batch.choices(&chosen))),
            Outcome::Impossible(_) | Outcome::Unknown(_) => Ok(None),
            Outcome::Stopped => Err(PlacementError::Stopped),
        }
    }

    /// The greedy placements of jobs that queue and what NSGA-II makes of them. `config` is valid.
    fn search_in_turn(
        &self,
        refuge: Option<Vec<u32>>,
        config: &Nsga2,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Vec<u32>>, PlacementError> {
        // Where limits bind, one placement that keeps them is among the first.
        let refuge = match refuge {
            None if !self.limits.is_empty() => Some(self.settled(go_on)?),
            refuge => refuge,
        };
        let count = config.population as usize;
        let weights = seed_weights(count, rng);
        let metrics = Metrics::new(self);
        let mut search = Search {
            instance: self,
            variables: (0..self.copies.len())
                .map(|copy| Variable::Choice {
                    count: self.pairs(copy).len() as u32,
                })
                .collect(),
            evaluator: Evaluator::new(self),
            room: Room::new(self),
            metrics: &metrics,
            weights: &weights,
            turn: 0,
            choices: vec![0; self.copies.len()],
            evaluations: 0,
            ask_every: count,
            go_on,
        };
        let mut candidates = Vec::with_capacity(count);
        for weights in &weights {
            search.ask().map_err(|Stopped| PlacementError::Stopped)?;
            candidates.push(self.greedy_in_turn(&metrics, weights));
        }
        if let (Some(refuge), Some(last)) = (refuge, candidates.last_mut()) {
            *last = refuge;
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
            Err(Ok(Stopped)) => return Err(PlacementError::Stopped),
            Err(Err(error)) => unreachable!(
                "a checked instance is a problem with variables, objectives and finite values: \
                 {error}"
            ),
        };
        candidates.extend(front.individuals.iter().map(|individual| {
            let mut choices = vec![0; self.copies.len()];
            decode(&individual.genes, &mut choices);
            choices
        }));
        Ok(candidates)
    }

    /// The plan of those candidates that are feasible and that no other beats.
    pub(super) fn plan(&self, candidates: Vec<Vec<u32>>) -> Result<Plan, PlacementError> {
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
        if valued.iter().all(|(_, value)| value.violation > 0.0) {
            return Err(self.fault(&mut evaluator, &valued));
        }
        valued.retain(|(_, value)| value.violation <= 0.0);
        // Equal nodes make many placements of equal worth; one of each is enough.
        valued.dedup_by(|(_, a), (_, b)| lexicographic(&a.objectives, &b.objectives).is_eq());
        let points: Vec<&[f64]> = valued
            .iter()
            .map(|(_, value)| value.objectives.as_slice())
            .collect();
        let given = self.given_order();
        let front = ranks(&points)
            .into_iter()
            .zip(&valued)
            .filter(|&(rank, _)| rank == 0)
            .map(|(_, (choices, value))| Point {
                assignment: given
                    .iter()
                    .map(|&(job, copy)| {
                        let node = self.pair(job, choices[copy]).node;
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

    /// What is worst about the best of placements of jobs that queue, of which all have a fault.
    fn fault(&self, evaluator: &mut Evaluator<'_>, valued: &[(Vec<u32>, Value)]) -> PlacementError {
        let faults = valued
            .iter()
            .filter_map(|(choices, _)| evaluator.fault(choices));
        // Being late is nearer to a placement than being where it must not be.
        let least = faults.min_by_key(|fault| match fault {
            Fault::Late(_, late_ms) => (false, *late_ms),
            Fault::Crowded(_) => (true, 0),
        });
        match least.expect("a placement that violates something has a fault") {
            Fault::Crowded(copy) => PlacementError::Crowded {
                job: self.jobs[self.jobs_of(copy)[0]].id,
            },
            Fault::Late(job, late_ms) => PlacementError::Late {
                job: self.jobs[job].id,
                late_ms,
            },
        }
    }

    /// Jobs, each as often as it has replicas, in the order in which they were given.
    fn given_order(&self) -> Vec<(usize, usize)> {
        let mut given = self.order.clone();
        given.sort_unstable();
        given
    }

    /// Puts each job that queues where the weighted sum of objectives grows least, if it can be
    /// where no limit is exceeded, and in time.
    pub(super) fn greedy_in_turn(&self, metrics: &Metrics, weights: &Weights) -> Vec<u32> {
        let mut lines = Lines::new(self);
        let mut choices: Vec<Option<u32>> = vec![None; self.copies.len()];
        for &(job, copy) in &self.order {
            if let Some(choice) = choices[copy] {
                lines.push(job, choice);
                continue;
            }
            let unit = self.copies[copy];
            // Of the worse evils first: an exceeded limit, then a missed deadline.
            let mut best = ((true, true, f64::INFINITY), 0);
            for choice in self.choices(copy) {
                let (before, added) = lines.use_of(metrics, unit, choice);
                let done_ms = lines.done_ms(job, choice);
                let completion = self.weights[job] * done_ms;
                let score = metrics.steady(weights, unit, choice)
                    + weights[COMPLETION] * completion * metrics.scale[COMPLETION]
                    + weights[IMBALANCE] * IMBALANCE_GAIN * added * (2.0 * before + added);
                let key = (
                    !lines.room.is_open(copy, choice),
                    self.late_ms(job, done_ms) > 0.0,
                    score,
                );
                if key < best.0 {
                    best = (key, choice);
                }
            }
            let choice = best.1;
            choices[copy] = Some(choice);
            if lines.room.is_open(copy, choice) {
                lines.room.put(copy, choice);
            }
            lines.push(job, choice);
        }
        choices.into_iter().flatten().collect()
    }
}

/// The queues of all nodes while jobs are placed in the order in which queues serve them.
pub(super) struct Lines<'a> {
    instance: &'a Instance,
    pub(super) room: Room<'a>,
    queues: Vec<Queue>,
    needs: Vec<[u64; RESOURCES]>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(instance: &'a Instance) -> Self {
        Self {
            room: Room::new(instance),
            queues: vec![Queue::default(); instance.nodes.len()],
            needs: instance
                .jobs
                .iter()
                .map(|job| NEEDS.map(|of| of(job)))
                .collect(),
            instance,
        }
    }

    /// When a job would be done and its node have been reached.
    pub(super) fn done_ms(&self, job: usize, choice: u32) -> f64 {
        let pair = self.instance.pair(job, choice);
        let free = &self.instance.free[pair.node];
        let end_ms = self.queues[pair.node].end_ms(&self.needs[job], pair.held_ms(), free);
        end_ms as f64 + self.instance.nodes[pair.node].latency_ms
    }

    /// For how much of the time a node is used before a unit joins, and by how much that grows.
    fn use_of(&self, metrics: &Metrics, unit: usize, choice: u32) -> (f64, f64) {
        let jobs = &self.instance.units[unit];
        let node = self.instance.pair(jobs[0], choice).node;
        let capacity = metrics.busy_scale_ms * self.instance.free[node][0] as f64;
        if capacity <= 0.0 {
            return (0.0, 0.0);
        }
        let work: f64 = jobs
            .iter()
            .map(|&job| {
                self.instance.pair(job, choice).held_ms() as f64 * self.needs[job][0] as f64
            })
            .sum();
        (self.queues[node].busy / capacity, work / capacity)
    }

    /// Lets a job queue. Returns when it is done and its node has been reached.
    pub(super) fn push(&mut self, job: usize, choice: u32) -> f64 {
        let pair = self.instance.pair(job, choice);
        let free = &self.instance.free[pair.node];
        let end_ms = self.queues[pair.node].push(self.needs[job], pair.held_ms(), free);
        end_ms as f64 + self.instance.nodes[pair.node].latency_ms
    }
}

impl<const R: usize> Batch<OBJECTIVE_COUNT, R> {
    /// The choice of each copy that its pair means.
    fn choices(&self, pairs: &[u32]) -> Vec<u32> {
        let starts = pairs.iter().zip(&self.starts);
        starts.map(|(&pair, &start)| pair - start).collect()
    }

    /// The front of a search, as the choice of each copy. No choice of an instance is left out of
    /// its batch, so numbers agree.
    fn search_choices(
        &self,
        refuge: Option<Vec<u32>>,
        effort: &Effort,
        rng: &mut impl Rng,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Vec<u32>>, SearchError> {
        let refuge = refuge.map(|choices| {
            let starts = choices.iter().zip(&self.starts);
            starts.map(|(&choice, &start)| start + choice).collect()
        });
        let front = self.search_from(refuge, effort, rng, go_on)?;
        Ok(front
            .iter()
            .map(|placement| {
                let named = placement.nodes.iter().enumerate();
                named
                    .map(|(copy, node)| {
                        let nodes = &self.nodes[self.pairs(copy)];
                        nodes.partition_point(|other| other < node) as u32
                    })
                    .collect()
            })
            .collect())
    }
}

/// One weight vector for each objective, one for all alike, then random ones, `count` in all.
fn seed_weights(count: usize, rng: &mut impl Rng) -> Vec<Weights> {
    let mut weights: Vec<Weights> = (0..OBJECTIVE_COUNT).map(corner_weights).collect();
    weights.push([1.0 / OBJECTIVE_COUNT as f64; OBJECTIVE_COUNT]);
    weights.truncate(count);
    while weights.len() < count {
        weights.push(simplex(rng));
    }
    weights
}

/// Weights of a placement that seeks one objective.
pub(super) fn corner_weights(objective: usize) -> Weights {
    std::array::from_fn(|other| if other == objective { 1.0 } else { CORNER_REST })
}

/// What each unit of jobs that queue adds to each objective on each node, scaled so that objectives
/// compare: one is the mean distance per unit from the best nodes to the average ones.
pub(super) struct Metrics {
    /// For each unit and each eligible node, scaled; without what depends on other jobs.
    steady: Vec<Vec<Weights>>,
    /// What an objective is multiplied by.
    scale: Weights,
    /// About how long all nodes would be busy if work were spread evenly.
    busy_scale_ms: f64,
}

impl Metrics {
    pub(super) fn new(instance: &Instance) -> Self {
        let choices = |unit: &Vec<usize>| 0..instance.eligible[unit[0]].len() as u32;
        let raw = |unit: usize, choice: u32| -> Weights {
            let mut raw = instance.adds(unit, choice);
            raw[COMPLETION] *= instance.weight_sum;
            raw[DISTRUST] *= instance.weight_sum;
            raw
        };
        let (mut best, mut mean) = ([0.0; OBJECTIVE_COUNT], [0.0; OBJECTIVE_COUNT]);
        let mut work = 0.0;
        for (unit, jobs) in instance.units.iter().enumerate() {
            let count = f64::from(choices(jobs).end);
            for objective in [COMPLETION, DISTRUST, COST, PRICE] {
                let values = choices(jobs).map(|choice| raw(unit, choice)[objective]);
                best[objective] += values.clone().fold(f64::INFINITY, f64::min);
                mean[objective] += values.sum::<f64>() / count;
            }
            for &job in jobs {
                let pairs = instance.eligible[job].iter();
                let held_ms = pairs.map(|pair| pair.held_ms() as f64).sum::<f64>() / count;
                work += held_ms * instance.jobs[job].cpu_millis as f64;
            }
        }
        let units = instance.units.len() as f64;
        let scale = std::array::from_fn(|objective| {
            // Time is lost even between equal nodes, so it is measured against the whole of it.
            let whole = objective == COMPLETION;
            let span = mean[objective] - if whole { 0.0 } else { best[objective] };
            if span > 0.0 { units / span } else { 0.0 }
        });
        let steady = instance
            .units
            .iter()
            .enumerate()
            .map(|(unit, jobs)| {
                choices(jobs)
                    .map(|choice| {
                        let mut steady = raw(unit, choice);
                        for (value, scale) in steady.iter_mut().zip(&scale) {
                            *value *= scale;
                        }
                        // It depends on the queue there.
                        steady[COMPLETION] = 0.0;
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
    fn steady(&self, weights: &Weights, unit: usize, choice: u32) -> f64 {
        let steady = &self.steady[unit][choice as usize];
        weights[DISTRUST] * steady[DISTRUST]
            + weights[COST] * steady[COST]
            + weights[PRICE] * steady[PRICE]
    }
}

/// Placement of jobs that queue as a problem of NSGA-II: one gene for each copy, its choice of node.
struct Search<'a> {
    instance: &'a Instance,
    variables: Vec<Variable>,
    evaluator: Evaluator<'a>,
    /// With nothing placed.
    room: Room<'a>,
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

    /// Moves copies that exceed a limit to where they exceed none, if there is such a node.
    fn keep_limits(&mut self) {
        let weights = self.weights[self.turn % self.weights.len()];
        self.turn += 1;
        let mut room = self.room.clone();
        let mut homeless = Vec::new();
        for (copy, &choice) in self.choices.iter().enumerate() {
            if room.is_open(copy, choice) {
                room.put(copy, choice);
            } else {
                homeless.push(copy);
            }
        }
        for copy in homeless {
            let unit = self.instance.copies[copy];
            let score = |choice: u32| self.metrics.steady(&weights, unit, choice);
            let best = self
                .instance
                .choices(copy)
                .filter(|&choice| room.is_open(copy, choice))
                .min_by(|&a, &b| score(a).total_cmp(&score(b)));
            if let Some(choice) = best {
                room.put(copy, choice);
                self.choices[copy] = choice;
            }
        }
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
        if self.instance.limits.is_empty() {
            return;
        }
        decode(genes, &mut self.choices);
        self.keep_limits();
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
    use crate::{Constraint, Job, Lacks, Node, Preference};

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
    fn of_equal_priority_whoever_is_due_first_does_not_wait() {
        let whole = |id, deadline_ms| Job {
            cpu_millis: 4_000,
            deadline_ms,
            ..job(id)
        };
        let jobs = vec![whole(1, None), whole(2, Some(2_500)), whole(3, Some(1_500))];
        let instance = Instance::new(jobs, vec![node(1)], Sharing::Queued).unwrap();
        assert_eq!(instance.order, [(2, 2), (1, 1), (0, 0)]);
        assert_eq!(
            instance.place(&small(), &mut rng(1)).unwrap().front().len(),
            1
        );
    }

    #[test]
    fn jobs_that_queue_may_need_more_together_than_can_be_counted() {
        let large = |id, other| Job {
            memory_bytes: 10_u64.pow(19),
            affinity: vec![job(other).id],
            ..job(id)
        };
        let nodes = [Node {
            memory_bytes_free: u64::MAX,
            ..node(1)
        }];
        let jobs = vec![large(1, 2), large(2, 1)];
        let instance = Instance::new(jobs.clone(), nodes.to_vec(), Sharing::Queued).unwrap();
        let chosen = instance
            .place(&small(), &mut rng(1))
            .unwrap()
            .chosen()
            .clone();
        assert!((chosen.objectives[0] - 1_510.0).abs() < 1e-9);
        assert_eq!(
            Instance::new(jobs, nodes.to_vec(), Sharing::Concurrent).unwrap_err(),
            PlacementError::DemandOverflow
        );
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
    fn jobs_that_do_not_fit_together_are_reported_with_the_proof() {
        let jobs: Vec<Job> = (1..=5).map(job).collect();
        let nodes = vec![
            node(1),
            Node {
                cpu_millis_free: 500,
                ..node(2)
            },
        ];
        let instance = Instance::new(jobs.clone(), nodes, Sharing::Concurrent).unwrap();
        let error = instance.place(&small(), &mut rng(4)).unwrap_err();
        let all = jobs.iter().map(|job| job.id).collect();
        let rules = vec![Rule::Capacity(Constraint::Cpu)];
        assert_eq!(error, PlacementError::Impossible { jobs: all, rules });
        let words = "cannot be placed together, whatever becomes of the others: there is only so \
                     much processor";
        assert!(error.to_string().ends_with(words), "{error}");
    }

    #[test]
    fn without_a_proof_the_nearest_miss_is_named() {
        let large = |id| Job {
            cpu_millis: 2_500,
            ..job(id)
        };
        let jobs = vec![large(1), large(2), large(3)];
        let nodes = vec![node(1), node(2)];
        let instance = Instance::new(jobs, nodes.clone(), Sharing::Concurrent).unwrap();
        let error = instance.nearest_miss(2);
        assert_eq!(
            error,
            PlacementError::OverCommitted {
                job: job(3).id,
                node: node(1).id,
                lacks: Lacks {
                    cpu_millis: 1_000,
                    ..Lacks::default()
                }
            }
        );
        assert!(error.to_string().contains("lacks 1000 millicores for job"));
        let apart = |id, others: [u16; 2]| Job {
            anti_affinity: others.map(|other| job(other).id).to_vec(),
            ..job(id)
        };
        let jobs = vec![apart(1, [2, 3]), apart(2, [1, 3]), job(3)];
        for sharing in [Sharing::Concurrent, Sharing::Queued] {
            let instance = Instance::new(jobs.clone(), nodes.clone(), sharing).unwrap();
            let job = job(3).id;
            assert_eq!(instance.nearest_miss(2), PlacementError::Crowded { job });
        }
    }

    #[test]
    fn more_jobs_that_must_be_apart_than_nodes_are_a_proof() {
        let ids = 0..30;
        let jobs: Vec<Job> = ids
            .clone()
            .map(|id| Job {
                anti_affinity: (0..id).map(|other| job(other).id).collect(),
                ..job(id)
            })
            .collect();
        for sharing in [Sharing::Concurrent, Sharing::Queued] {
            let nodes = (0..29).map(node).collect();
            let instance = Instance::new(jobs.clone(), nodes, sharing).unwrap();
            let jobs = ids.clone().map(|id| job(id).id).collect();
            assert_eq!(
                instance.place(&small(), &mut rng(9)),
                Err(PlacementError::Impossible {
                    jobs,
                    rules: vec![Rule::AntiAffinity]
                })
            );
        }
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

    /// Without what sums in another order would change.
    fn rounded(objectives: &[f64; OBJECTIVE_COUNT]) -> [f64; OBJECTIVE_COUNT] {
        objectives.map(|value| (value * 1e9).round() / 1e9)
    }

    /// The values of all placements that no other beats, by trying every one.
    fn pareto(instance: &Instance) -> Vec<[f64; OBJECTIVE_COUNT]> {
        let mut evaluator = Evaluator::new(instance);
        let mut values = Vec::new();
        let mut choices = vec![0; instance.jobs.len()];
        'all: loop {
            let value = evaluator.value(&choices);
            let mut room = Room::new(instance);
            let fits = choices.iter().enumerate().all(|(copy, &choice)| {
                let fits = room.fits(copy, choice);
                if fits {
                    room.put(copy, choice);
                }
                fits
            });
            if fits && value.violation <= 0.0 {
                values.push(rounded(&value.objectives));
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
            let points = plan.front().iter();
            let mut found: Vec<_> = points.map(|point| rounded(&point.objectives)).collect();
            let all = found.clone();
            found.retain(|a| !all.iter().any(|b| dominates(b, a)));
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
                Err(PlacementError::OverCommitted { lacks, .. }) => {
                    prop_assert!(!queued, "queues cannot be overcommitted");
                    prop_assert!(lacks != Lacks::default());
                }
                Err(PlacementError::Impossible { jobs, rules }) => {
                    prop_assert!(!queued, "queues have room for all");
                    prop_assert!(!jobs.is_empty() && !rules.is_empty());
                }
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }
}
