//! One job at a time, onto many nodes.

use std::collections::BTreeMap;

use fogcompute_base::{NodeId, TaskId};
use thiserror::Error;

use super::instance::{
    Demands, Job, NODES_MAX, Node, PlacementError, check_jobs, check_nodes, eligible, run_ms,
};

/// Highest rate: whatever numbers jobs and nodes have, their weighted sum is finite.
pub(crate) const RATE_MAX: f64 = 1e12;

/// Nodes of which one bound is kept.
const BLOCK: usize = 32;

/// A bound is rounded down by this part of it, far more than arithmetic rounds up.
const BOUND_SLACK: f64 = 1e-9;

/// What each objective is worth against the others. All are from 0 to 10¹².
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// For each millisecond until the job is done and its node has been reached.
    pub completion_ms: f64,
    /// For the whole of a node's processors in use, the job included.
    pub node_use: f64,
    /// For a node that is not trusted at all.
    pub distrust: f64,
    /// For each base unit the job costs.
    pub cost: f64,
    /// For each base unit the job costs on the market.
    pub price: f64,
}

/// Why a job could not be placed or a node not be taken in.
#[non_exhaustive]
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PlacerError {
    /// A rate is out of range.
    #[error("rate {rate} is {value}, not from 0 to {RATE_MAX}")]
    Rate {
        /// Its field.
        rate: &'static str,
        /// What it says.
        value: f64,
    },
    /// The job asks for something that concerns other jobs, or for replicas: place it together with
    /// those.
    #[error("{field} of job {job} cannot be seen to while jobs are placed one at a time")]
    Together {
        /// The job.
        job: TaskId,
        /// The field.
        field: &'static str,
    },
    /// The job or the node makes no sense, or no node may take the job now. The reason says which
    /// constraint rules out how many nodes, measured by what is free now.
    #[error(transparent)]
    Placement(#[from] PlacementError),
}

/// A job that is placed.
#[derive(Clone, Copy, Debug)]
struct Placed {
    node: NodeId,
    cpu_millis: u64,
    memory_bytes: u64,
    disk_bytes: u64,
    gpus: u64,
    bandwidth_bps: u64,
}

/// The best of anything in a block of nodes, of different nodes perhaps.
#[derive(Clone, Copy, Debug)]
struct Bound {
    cpu_millis_free: u64,
    cpu_millis_total: u64,
    memory_bytes_free: u64,
    speed: f64,
    latency_ms: f64,
    trust: f64,
    /// Price of one core for one second of a job's duration.
    price: f64,
    /// The same on the market, for the lowest tier.
    ask: f64,
    /// See [`standing`].
    standing: f64,
}

/// Places jobs one at a time, each on the best node that may take it, and keeps what is free.
///
/// No node is passed over: nodes stand in blocks, of each of which is kept what its best node could
/// offer, and a block is left out only if that is not enough. For placing many jobs together, so
/// that they do not take each other's place, use [`Instance`](super::Instance).
///
/// ```
/// use fogcompute_base::{NodeId, TaskId};
/// use fogcompute_schedule::{Job, Node, Placer, Rates};
///
/// let node = |id, trust| Node {
///     latency_ms: 10.0,
///     trust,
///     price_per_cpu_second: 3,
///     ..Node::new(NodeId::from_bytes([id; 32]), 1_000, 1 << 30)
/// };
/// let job = |id| Job {
///     min_trust: 0.5,
///     ..Job::new(TaskId::from_bytes([id; 16]), 1_000, 64 << 20, 500)
/// };
/// let rates =
///     Rates { completion_ms: 0.01, node_use: 1.0, distrust: 10.0, cost: 0.1, price: 0.0 };
/// let mut placer = Placer::new(vec![node(1, 0.9), node(2, 0.6)], rates)?;
/// assert_eq!(placer.place(&job(1))?, NodeId::from_bytes([1; 32]));
/// // The first is full now.
/// assert_eq!(placer.place(&job(2))?, NodeId::from_bytes([2; 32]));
/// placer.release(job(1).id);
/// assert_eq!(placer.place(&job(3))?, NodeId::from_bytes([1; 32]));
/// # Ok::<(), fogcompute_schedule::PlacerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Placer {
    rates: Rates,
    /// What is free is free now.
    nodes: Vec<Node>,
    /// One for each [`BLOCK`] of them.
    bounds: Vec<Bound>,
    /// Where each node stands.
    positions: BTreeMap<NodeId, usize>,
    placed: BTreeMap<TaskId, Placed>,
}

impl Placer {
    /// A placer for these nodes, of which what is free is free to it.
    ///
    /// # Errors
    ///
    /// [`PlacerError::Rate`], and [`PlacerError::Placement`] if there are no nodes or too many, one
    /// occurs twice, or a number makes no sense.
    pub fn new(mut nodes: Vec<Node>, rates: Rates) -> Result<Self, PlacerError> {
        for (rate, value) in [
            ("completion_ms", rates.completion_ms),
            ("node_use", rates.node_use),
            ("distrust", rates.distrust),
            ("cost", rates.cost),
            ("price", rates.price),
        ] {
            if !(0.0..=RATE_MAX).contains(&value) {
                return Err(PlacerError::Rate { rate, value });
            }
        }
        check_nodes(&nodes)?;
        // Nodes that are alike share a block: strips of one price, within them by what else counts.
        nodes.sort_by(|a, b| price(a).total_cmp(&price(b)).then(a.id.cmp(&b.id)));
        let strips = (nodes.len() / BLOCK).isqrt() + 1;
        for strip in nodes.chunks_mut(BLOCK * strips) {
            strip.sort_by(|a, b| {
                let standing = |node| standing(&rates, node);
                standing(a).total_cmp(&standing(b)).then(a.id.cmp(&b.id))
            });
        }
        let positions = nodes.iter().enumerate();
        Ok(Self {
            rates,
            positions: positions
                .map(|(position, node)| (node.id, position))
                .collect(),
            bounds: nodes
                .chunks(BLOCK)
                .map(|nodes| bound(&rates, nodes))
                .collect(),
            nodes,
            placed: BTreeMap::new(),
        })
    }

    /// The nodes, with what is free on each now, in no particular order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Where a job was placed that was not released since.
    #[must_use]
    pub fn node_of(&self, job: TaskId) -> Option<NodeId> {
        self.placed.get(&job).map(|placed| placed.node)
    }

    /// Takes in a node. Many that come after another cost speed, for they stand among strangers: a
    /// new placer sorts them in.
    ///
    /// # Errors
    ///
    /// [`PlacerError::Placement`] if the node is there already, is one too many, or a number of it
    /// makes no sense.
    pub fn add_node(&mut self, node: Node) -> Result<(), PlacerError> {
        check_nodes(std::slice::from_ref(&node))?;
        if self.positions.contains_key(&node.id) {
            return Err(PlacementError::DuplicateNode { node: node.id }.into());
        }
        if self.nodes.len() == NODES_MAX {
            return Err(PlacementError::TooManyNodes {
                nodes: NODES_MAX + 1,
            }
            .into());
        }
        let position = self.nodes.len();
        self.positions.insert(node.id, position);
        self.nodes.push(node);
        self.rebound(position);
        Ok(())
    }

    /// Takes a node out, and says which jobs were on it; they are forgotten and want another place.
    /// `None` if there is no such node.
    pub fn remove_node(&mut self, node: NodeId) -> Option<Vec<TaskId>> {
        let position = self.positions.remove(&node)?;
        self.nodes.swap_remove(position);
        if let Some(moved) = self.nodes.get(position) {
            self.positions.insert(moved.id, position);
            self.rebound(position);
        }
        self.bounds.truncate(self.nodes.len().div_ceil(BLOCK));
        if !self.nodes.is_empty() {
            self.rebound(self.nodes.len() - 1);
        }
        let jobs: Vec<TaskId> = self
            .placed
            .iter()
            .filter(|(_, placed)| placed.node == node)
            .map(|(&job, _)| job)
            .collect();
        for job in &jobs {
            self.placed.remove(job);
        }
        Some(jobs)
    }

    /// Places a job where the weighted sum of its objectives is least among all nodes that may take
    /// it and have room; of equals, on the one of the least name.
    ///
    /// # Errors
    ///
    /// [`PlacerError::Together`] if the job has replicas or asks for something that concerns other
    /// jobs, [`PlacerError::Placement`] if it is placed already, a number of it makes no sense, or
    /// no node may take it now: then with what each constraint rules out.
    pub fn place(&mut self, job: &Job) -> Result<NodeId, PlacerError> {
        check_jobs(std::slice::from_ref(job))?;
        for (field, concerns_others) in [
            ("affinity", !job.affinity.is_empty()),
            ("anti_affinity", !job.anti_affinity.is_empty()),
            ("spread", job.spread.is_some()),
            ("gang", job.gang.is_some()),
            ("replicas", job.replica_count() > 1),
        ] {
            if concerns_others {
                return Err(PlacerError::Together { job: job.id, field });
            }
        }
        if self.placed.contains_key(&job.id) {
            return Err(PlacementError::DuplicateJob { job: job.id }.into());
        }
        let Some(position) = self.best(job) else {
            if self.nodes.is_empty() {
                return Err(PlacementError::NoNodes.into());
            }
            return Err(self.reason(job));
        };
        let node = &mut self.nodes[position];
        node.cpu_millis_free -= job.cpu_millis;
        node.memory_bytes_free -= job.memory_bytes;
        node.disk_bytes_free -= job.disk_bytes;
        node.gpus_free -= job.gpus;
        node.bandwidth_bps_free -= job.bandwidth_bps;
        let placed = Placed {
            node: node.id,
            cpu_millis: job.cpu_millis,
            memory_bytes: job.memory_bytes,
            disk_bytes: job.disk_bytes,
            gpus: job.gpus,
            bandwidth_bps: job.bandwidth_bps,
        };
        self.placed.insert(job.id, placed);
        self.rebound(position);
        Ok(placed.node)
    }

    /// Gives back what a job took, and says on which node. `None` if it is not placed.
    pub fn release(&mut self, job: TaskId) -> Option<NodeId> {
        let placed = self.placed.remove(&job)?;
        let position = *self.positions.get(&placed.node)?;
        let node = &mut self.nodes[position];
        node.cpu_millis_free += placed.cpu_millis;
        node.memory_bytes_free += placed.memory_bytes;
        node.disk_bytes_free += placed.disk_bytes;
        node.gpus_free += placed.gpus;
        node.bandwidth_bps_free += placed.bandwidth_bps;
        self.rebound(position);
        Some(placed.node)
    }

    /// Why no node may take `job`.
    fn reason(&self, job: &Job) -> PlacerError {
        match eligible(job, &self.nodes) {
            Err(reason) => reason.into(),
            Ok(_) => unreachable!("the best node was sought among all that are eligible"),
        }
    }

    /// Where the best node for `job` stands.
    fn best(&self, job: &Job) -> Option<usize> {
        let bounds: Vec<f64> = self
            .bounds
            .iter()
            .map(|bound| self.least(bound, job))
            .collect();
        let demands = Demands::new(job);
        let mut best: Option<(f64, NodeId, usize)> = None;
        let first = (0..bounds.len()).min_by(|&a, &b| bounds[a].total_cmp(&bounds[b]))?;
        for block in std::iter::once(first).chain((0..bounds.len()).filter(|&block| block != first))
        {
            if bounds[block].is_infinite() || best.is_some_and(|(least, ..)| bounds[block] > least)
            {
                continue;
            }
            let start = block * BLOCK;
            let end = self.nodes.len().min(start + BLOCK);
            for (position, node) in (start..end).zip(&self.nodes[start..end]) {
                let least = best.map_or(f64::INFINITY, |(least, ..)| least);
                let Some(score) = self.score(&demands, node, least) else {
                    continue;
                };
                if best
                    .is_none_or(|(least, id, _)| score < least || (score <= least && node.id < id))
                {
                    best = Some((score, node.id, position));
                }
            }
        }
        best.map(|(_, _, position)| position)
    }

    /// What no node of a block can beat for `job`, infinite if none may take it.
    fn least(&self, bound: &Bound, job: &Job) -> f64 {
        if job.cpu_millis > bound.cpu_millis_free
            || job.memory_bytes > bound.memory_bytes_free
            || job.min_trust > bound.trust
            || job.max_latency_ms.is_some_and(|max| bound.latency_ms > max)
        {
            return f64::INFINITY;
        }
        let (duration_ms, cpu_millis) = (job.duration_ms as f64, job.cpu_millis as f64);
        let score = bound.standing
            + self.rates.completion_ms * (duration_ms / bound.speed)
            + self.rates.node_use * (cpu_millis / f64::max(bound.cpu_millis_total as f64, 1.0))
            + self.rates.cost * (duration_ms * cpu_millis * 1e-6 * bound.price)
            + self.rates.price * (duration_ms * cpu_millis * 1e-6 * bound.ask * tier_factor(job));
        score * (1.0 - BOUND_SLACK)
    }

    /// The weighted sum for a job on `node`, if it may take it and that can be at most `limit`.
    fn score(&self, demands: &Demands<'_>, node: &Node, limit: f64) -> Option<f64> {
        let job = demands.job();
        if job.cpu_millis > node.cpu_millis_free
            || job.memory_bytes > node.memory_bytes_free
            || job.min_trust > node.trust
            || job.max_latency_ms.is_some_and(|max| node.latency_ms > max)
        {
            return None;
        }
        let run_ms = run_ms(job.duration_ms, node.speed)?;
        let taken = node.cpu_millis_total - node.cpu_millis_free + job.cpu_millis;
        let node_use = taken as f64 / f64::max(node.cpu_millis_total as f64, 1.0);
        let before_cost = self.rates.completion_ms * (run_ms as f64 + node.latency_ms)
            + self.rates.node_use * node_use
            + self.rates.distrust * (1.0 - node.trust);
        if before_cost > limit {
            return None;
        }
        let pair = demands.pair(0, node)?;
        Some(
            before_cost
                + self.rates.completion_ms * pair.transfer_ms as f64
                + self.rates.cost * pair.cost as f64
                + self.rates.price * pair.price as f64,
        )
    }

    /// Brings the bound of the block of a node up to date.
    fn rebound(&mut self, position: usize) {
        let block = position / BLOCK;
        let end = self.nodes.len().min((block + 1) * BLOCK);
        let fresh = bound(&self.rates, &self.nodes[block * BLOCK..end]);
        match self.bounds.get_mut(block) {
            Some(bound) => *bound = fresh,
            None => self.bounds.push(fresh),
        }
    }
}

/// What the job's tier costs, against the lowest.
fn tier_factor(job: &Job) -> f64 {
    job.tier.terms().price_permille as f64 / 1_000.0
}

/// Price of one core for one second of a job's duration.
fn price(node: &Node) -> f64 {
    node.price_per_cpu_second as f64 / node.speed
}

/// The part of a score that is the same for all jobs.
fn standing(rates: &Rates, node: &Node) -> f64 {
    let taken = node.cpu_millis_total - node.cpu_millis_free;
    rates.completion_ms * node.latency_ms
        + rates.node_use * (taken as f64 / f64::max(node.cpu_millis_total as f64, 1.0))
        + rates.distrust * (1.0 - node.trust)
}

fn bound(rates: &Rates, nodes: &[Node]) -> Bound {
    let mut best = Bound {
        cpu_millis_free: 0,
        cpu_millis_total: 0,
        memory_bytes_free: 0,
        speed: f64::MIN_POSITIVE,
        latency_ms: f64::INFINITY,
        trust: 0.0,
        price: f64::INFINITY,
        ask: f64::INFINITY,
        standing: f64::INFINITY,
    };
    for node in nodes {
        best.cpu_millis_free = best.cpu_millis_free.max(node.cpu_millis_free);
        best.cpu_millis_total = best.cpu_millis_total.max(node.cpu_millis_total);
        best.memory_bytes_free = best.memory_bytes_free.max(node.memory_bytes_free);
        best.speed = best.speed.max(node.speed);
        best.latency_ms = best.latency_ms.min(node.latency_ms);
        best.trust = best.trust.max(node.trust);
        best.price = best.price.min(price(node));
        best.ask = best.ask.min(node.ask() as f64 / node.speed);
        best.standing = best.standing.min(standing(rates, node));
    }
    best
}

#[cfg(test)]
mod tests {
    use fogcompute_base::Tier;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::super::instance::Constraint;
    use super::super::instance::tests::{job, node};
    use super::*;
    use crate::random::{below, unit};

    /// Where the nodes that come later start.
    const LATER: u16 = 200;

    const RATES: Rates = Rates {
        completion_ms: 0.01,
        node_use: 3.0,
        distrust: 10.0,
        cost: 0.2,
        price: 0.1,
    };

    #[test]
    fn rates_jobs_and_nodes_that_make_no_sense_are_refused() {
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            let rates = Rates {
                cost: value,
                ..RATES
            };
            assert!(matches!(
                Placer::new(vec![node(1)], rates),
                Err(PlacerError::Rate { rate: "cost", .. })
            ));
        }
        let refused = |error: PlacementError| PlacerError::Placement(error);
        assert_eq!(
            Placer::new(vec![], RATES).unwrap_err(),
            refused(PlacementError::NoNodes)
        );
        let mut placer = Placer::new(vec![node(1)], RATES).unwrap();
        let twice = PlacementError::DuplicateNode { node: node(1).id };
        assert_eq!(placer.add_node(node(1)), Err(refused(twice)));
        assert_eq!(placer.place(&job(1)), Ok(node(1).id));
        let twice = PlacementError::DuplicateJob { job: job(1).id };
        assert_eq!(placer.place(&job(1)), Err(refused(twice)));
    }

    #[test]
    fn a_job_that_concerns_others_is_refused() {
        let mut placer = Placer::new(vec![node(1), node(2)], RATES).unwrap();
        for (change, field) in [
            (
                (|job| job.affinity = vec![job.id]) as fn(&mut Job),
                "affinity",
            ),
            (|job| job.gang = Some("all".to_owned()), "gang"),
            (|job| job.tier = Tier::Silver, "replicas"),
        ] {
            let mut wanted = job(1);
            change(&mut wanted);
            let refused = PlacerError::Together {
                job: wanted.id,
                field,
            };
            assert_eq!(placer.place(&wanted), Err(refused));
        }
    }

    #[test]
    fn a_full_placer_says_what_is_lacking() {
        let mut placer = Placer::new(vec![node(1), node(2)], RATES).unwrap();
        let whole = |id| Job {
            cpu_millis: 4_000,
            ..job(id)
        };
        placer.place(&whole(1)).unwrap();
        placer.place(&whole(2)).unwrap();
        let Err(PlacerError::Placement(PlacementError::Infeasible {
            removed_by,
            nearest_fails,
            ..
        })) = placer.place(&job(3))
        else {
            panic!("both nodes are full");
        };
        assert_eq!(removed_by[Constraint::Cpu as usize], 2);
        assert_eq!(nearest_fails, [Constraint::Cpu]);
        assert_eq!(placer.release(whole(2).id), Some(node(2).id));
        assert_eq!(placer.release(whole(2).id), None);
        assert_eq!(placer.place(&job(3)), Ok(node(2).id));
    }

    #[test]
    fn a_node_that_leaves_gives_its_jobs_back() {
        let mut placer = Placer::new(vec![node(1)], RATES).unwrap();
        placer.place(&job(1)).unwrap();
        assert_eq!(placer.remove_node(node(2).id), None);
        assert_eq!(placer.remove_node(node(1).id), Some(vec![job(1).id]));
        assert_eq!(placer.node_of(job(1).id), None);
        assert!(placer.nodes().is_empty());
        assert_eq!(placer.place(&job(1)), Err(PlacementError::NoNodes.into()));
        placer.add_node(node(2)).unwrap();
        assert_eq!(placer.place(&job(1)), Ok(node(2).id));
    }

    fn some_node(id: u16, rng: &mut ChaCha8Rng) -> Node {
        let total = 1_000 * below(rng, 9);
        Node {
            cpu_millis_total: total,
            cpu_millis_free: below(rng, total + 1),
            memory_bytes_free: below(rng, 5_000),
            speed: 0.5 + unit(rng),
            latency_ms: 100.0 * unit(rng),
            trust: unit(rng),
            price_per_cpu_second: below(rng, 20),
            disk_bytes_free: below(rng, 1_000),
            gpus_free: below(rng, 3),
            bandwidth_bps_free: below(rng, 1_000_000),
            ask_per_cpu_second: (unit(rng) < 0.5).then(|| below(rng, 20)),
            availability: (unit(rng) < 0.5).then(|| 0.9 + 0.1 * unit(rng)),
            ..node(id)
        }
    }

    fn some_job(id: u16, rng: &mut ChaCha8Rng) -> Job {
        Job {
            cpu_millis: 100 * below(rng, 20),
            memory_bytes: below(rng, 2_000),
            duration_ms: below(rng, 5_000),
            min_trust: 0.5 * unit(rng),
            max_cost: (unit(rng) < 0.5).then(|| below(rng, 100)),
            max_latency_ms: (unit(rng) < 0.5).then(|| 100.0 * unit(rng)),
            excluded: vec![node(below(rng, 300) as u16).id],
            disk_bytes: below(rng, 500),
            gpus: below(rng, 8) / 7,
            bandwidth_bps: below(rng, 100_000),
            input_bytes: below(rng, 2) * below(rng, 10_000),
            tier: if unit(rng) < 0.2 {
                Tier::Silver
            } else {
                Tier::Bronze
            },
            replicas: Some(1),
            max_price: (unit(rng) < 0.5).then(|| below(rng, 100)),
            deadline_ms: (unit(rng) < 0.3).then(|| below(rng, 10_000)),
            ..job(id)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Blocks leave out nothing: looking at every node finds the same one.
        #[test]
        fn the_best_of_all_nodes_is_taken(seed: u64) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let nodes = (0..LATER).map(|id| some_node(id, &mut rng)).collect();
            let mut placer = Placer::new(nodes, RATES).unwrap();
            let before: u64 = placer.nodes.iter().map(|node| node.cpu_millis_free).sum();
            let mut next_node = LATER;
            for id in 0..150 {
                let wanted = some_job(id, &mut rng);
                let demands = Demands::new(&wanted);
                let all = placer.nodes.iter();
                let scores = all.filter_map(|node| {
                    Some((placer.score(&demands, node, f64::INFINITY)?, node.id))
                });
                let best = scores.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let placed = placer.place(&wanted).ok();
                prop_assert_eq!(placed, best.map(|(_, id)| id));
                match below(&mut rng, 8) {
                    0 => {
                        placer.release(job(id / 2).id);
                    }
                    1 if next_node < LATER + 60 => {
                        let extra = some_node(next_node, &mut rng);
                        placer.add_node(Node { cpu_millis_free: 0, ..extra }).unwrap();
                        next_node += 1;
                    }
                    2 if next_node > LATER => {
                        next_node -= 1;
                        placer.remove_node(node(next_node).id).unwrap();
                    }
                    _ => {}
                }
            }
            for id in 0..150 {
                placer.release(job(id).id);
            }
            let first_later = node(LATER).id;
            let of_old = placer.nodes.iter().filter(|node| node.id < first_later);
            prop_assert_eq!(before, of_old.map(|node| node.cpu_millis_free).sum::<u64>());
        }
    }
}
