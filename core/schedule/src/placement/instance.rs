//! The jobs and nodes of one batch, checked, and which node may take which job.

use std::collections::BTreeSet;
use std::fmt;

use fogcompute_base::{NodeId, Priority, TaskId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::evolution::ConfigError;

/// Most jobs of one batch.
pub const JOBS_MAX: usize = 1 << 16;

/// Most nodes of one batch.
pub const NODES_MAX: usize = 1 << 16;

/// Longest run time of a job, in milliseconds, about two thousand years. [`JOBS_MAX`] of them one
/// after another still fit 64 bits.
pub const RUN_MS_MAX: u64 = 1 << 46;

/// Highest latency of a node, in milliseconds.
const LATENCY_MS_MAX: f64 = 1e12;

/// A job to be placed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its name.
    pub id: TaskId,
    /// Processor it needs, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory it needs, in bytes.
    pub memory_bytes: u64,
    /// How long it runs on a node of speed 1, in milliseconds.
    pub duration_ms: u64,
    /// How urgent it is. Queues serve the urgent first, and they weigh more in the objectives.
    pub priority: Priority,
    /// Least trust of its node, 0 to 1.
    pub min_trust: f64,
    /// Most it may cost, in base units.
    pub max_cost: Option<u64>,
    /// Highest latency of its node, in milliseconds.
    pub max_latency_ms: Option<f64>,
    /// Nodes it must not run on.
    #[serde(default)]
    pub excluded: Vec<NodeId>,
}

/// A node that takes jobs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Processor that is free, in thousandths of a core.
    pub cpu_millis_free: u64,
    /// Processor there is, in thousandths of a core.
    pub cpu_millis_total: u64,
    /// Memory that is free, in bytes.
    pub memory_bytes_free: u64,
    /// How fast it is: a job takes its duration divided by this. More than 0.
    pub speed: f64,
    /// Time to reach it and back, in milliseconds, 0 to 10¹².
    pub latency_ms: f64,
    /// How far it is trusted, 0 to 1: the lower bound of its reputation is a good value.
    pub trust: f64,
    /// Price of one core for one second, in base units.
    pub price_per_cpu_second: u64,
}

/// How jobs share a node.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// All jobs run at once: together they must fit what is free. For services.
    Concurrent,
    /// Jobs queue: each alone must fit what is free, and starts when those before it on its node
    /// leave enough. Priority decides the order, then the order in which jobs were given; nobody
    /// overtakes. For batches with more jobs than cores.
    Queued,
}

/// A reason why a node may not take a job.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// The job excludes the node.
    Excluded,
    /// The node is not trusted enough.
    Trust,
    /// The node is too far away.
    Latency,
    /// The job would cost more than it may, or more than an account can hold.
    Cost,
    /// The job needs more processor than is free.
    Cpu,
    /// The job needs more memory than is free.
    Memory,
    /// The job would run longer than [`RUN_MS_MAX`].
    RunTime,
}

impl Constraint {
    /// All constraints, in the order of the counts in [`PlacementError::Infeasible`].
    pub const ALL: [Self; 7] = [
        Self::Excluded,
        Self::Trust,
        Self::Latency,
        Self::Cost,
        Self::Cpu,
        Self::Memory,
        Self::RunTime,
    ];
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Excluded => "exclusion",
            Self::Trust => "trust",
            Self::Latency => "latency",
            Self::Cost => "cost",
            Self::Cpu => "processor",
            Self::Memory => "memory",
            Self::RunTime => "run time",
        })
    }
}

/// Why a batch could not be placed.
#[non_exhaustive]
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PlacementError {
    /// There is nothing to place.
    #[error("there are no jobs")]
    NoJobs,
    /// There is nowhere to place.
    #[error("there are no nodes")]
    NoNodes,
    /// The batch is too large; split it.
    #[error("{jobs} jobs are more than {JOBS_MAX}")]
    TooManyJobs {
        /// Jobs given.
        jobs: usize,
    },
    /// There are too many nodes; offer a part of them.
    #[error("{nodes} nodes are more than {NODES_MAX}")]
    TooManyNodes {
        /// Nodes given.
        nodes: usize,
    },
    /// Two jobs have one name.
    #[error("job {job} was given twice")]
    DuplicateJob {
        /// The name.
        job: TaskId,
    },
    /// Two nodes have one name.
    #[error("node {node} was given twice")]
    DuplicateNode {
        /// The name.
        node: NodeId,
    },
    /// A number of a job is not finite or out of range.
    #[error("{field} of job {job} is {value}")]
    JobNumber {
        /// The job.
        job: TaskId,
        /// The field.
        field: &'static str,
        /// What it says.
        value: f64,
    },
    /// A number of a node is not finite or out of range.
    #[error("{field} of node {node} is {value}")]
    NodeNumber {
        /// The node.
        node: NodeId,
        /// The field.
        field: &'static str,
        /// What it says.
        value: f64,
    },
    /// A node claims to have more processor free than it has.
    #[error("node {node} has {cpu_millis_free} of {cpu_millis_total} millicores free")]
    MoreFreeThanTotal {
        /// The node.
        node: NodeId,
        /// What it says is free, in thousandths of a core.
        cpu_millis_free: u64,
        /// What it says it has, in thousandths of a core.
        cpu_millis_total: u64,
    },
    /// What the jobs need together does not fit 64 bits; split the batch.
    #[error("the jobs together need more than can be counted")]
    DemandOverflow,
    /// No node may take a job. The counts say what to relax.
    #[error(
        "no node may take job {job}: {}; node {nearest} comes nearest, failing on {}",
        Counts(.removed_by),
        List(.nearest_fails)
    )]
    Infeasible {
        /// The job.
        job: TaskId,
        /// How many nodes each constraint removes, in the order of [`Constraint::ALL`]. A node may
        /// be removed by several.
        removed_by: [u32; Constraint::ALL.len()],
        /// The node that fails the fewest constraints.
        nearest: NodeId,
        /// Those constraints.
        nearest_fails: Vec<Constraint>,
    },
    /// Every job has a node, but no placement of all was found in which they fit together.
    #[error(
        "the jobs do not fit together: at best node {node} lacks {cpu_millis_over} millicores and \
         {memory_bytes_over} bytes"
    )]
    OverCommitted {
        /// The node that lacks most in the best placement found.
        node: NodeId,
        /// Processor it lacks there, in thousandths of a core.
        cpu_millis_over: u64,
        /// Memory it lacks there, in bytes.
        memory_bytes_over: u64,
    },
    /// The configuration of the search makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The search was stopped by whoever asked for it.
    #[error("the search was stopped")]
    Stopped,
}

/// Constraints that removed a node, with how many.
struct Counts<'a>(&'a [u32; Constraint::ALL.len()]);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = Constraint::ALL.iter().zip(self.0);
        for (index, (constraint, count)) in removed.filter(|&(_, &count)| count > 0).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{constraint} rules out {count}")?;
        }
        Ok(())
    }
}

struct List<'a>(&'a [Constraint]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, constraint) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{constraint}")?;
        }
        Ok(())
    }
}

/// A job on a node that may take it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// Index of the node.
    pub(super) node: usize,
    /// How long the job runs there.
    pub(super) run_ms: u64,
    /// What it costs there, in base units.
    pub(super) cost: u128,
}

/// The jobs and nodes of one batch.
///
/// [`place`](Self::place) finds where the jobs run.
#[derive(Clone, Debug)]
pub struct Instance {
    pub(super) jobs: Vec<Job>,
    pub(super) nodes: Vec<Node>,
    pub(super) sharing: Sharing,
    /// For each job where it may run, in the order of the nodes; never empty.
    pub(super) eligible: Vec<Vec<Pair>>,
    /// How much each job weighs in a mean, a whole number.
    pub(super) weights: Vec<f64>,
    /// Their sum.
    pub(super) weight_sum: f64,
    /// Indices of the jobs in the order in which queues serve them.
    pub(super) order: Vec<usize>,
}

impl Instance {
    /// Checks the jobs and nodes of a batch and finds which node may take which job.
    ///
    /// # Errors
    ///
    /// [`PlacementError`] if there are none or too many, a name occurs twice, a number makes no
    /// sense, or a job has no node that may take it.
    pub fn new(jobs: Vec<Job>, nodes: Vec<Node>, sharing: Sharing) -> Result<Self, PlacementError> {
        check_jobs(&jobs)?;
        check_nodes(&nodes)?;
        let eligible = jobs
            .iter()
            .map(|job| eligible(job, &nodes))
            .collect::<Result<Vec<_>, _>>()?;
        for need in [|job: &Job| job.cpu_millis, |job: &Job| job.memory_bytes] {
            jobs.iter()
                .try_fold(0_u64, |sum, job| sum.checked_add(need(job)))
                .ok_or(PlacementError::DemandOverflow)?;
        }
        let weights: Vec<f64> = jobs.iter().map(|job| weight(job.priority)).collect();
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        order.sort_by_key(|&job| jobs[job].priority);
        Ok(Self {
            weight_sum: weights.iter().sum(),
            weights,
            jobs,
            nodes,
            sharing,
            eligible,
            order,
        })
    }

    /// The jobs, in the order given.
    #[must_use]
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// The nodes, in the order given.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

/// A job weighs twice as much as one of the next lower priority.
fn weight(priority: Priority) -> f64 {
    match priority {
        Priority::Critical => 16.0,
        Priority::High => 8.0,
        Priority::Normal => 4.0,
        Priority::Low => 2.0,
        Priority::Bulk => 1.0,
    }
}

pub(super) fn check_jobs(jobs: &[Job]) -> Result<(), PlacementError> {
    if jobs.is_empty() {
        return Err(PlacementError::NoJobs);
    }
    if jobs.len() > JOBS_MAX {
        return Err(PlacementError::TooManyJobs { jobs: jobs.len() });
    }
    let mut seen = BTreeSet::new();
    for job in jobs {
        if !seen.insert(job.id) {
            return Err(PlacementError::DuplicateJob { job: job.id });
        }
        for (field, value, max) in [
            ("min_trust", Some(job.min_trust), 1.0),
            ("max_latency_ms", job.max_latency_ms, f64::MAX),
        ] {
            if let Some(value) = value
                && !(0.0..=max).contains(&value)
            {
                return Err(PlacementError::JobNumber {
                    job: job.id,
                    field,
                    value,
                });
            }
        }
    }
    Ok(())
}

pub(super) fn check_nodes(nodes: &[Node]) -> Result<(), PlacementError> {
    if nodes.is_empty() {
        return Err(PlacementError::NoNodes);
    }
    if nodes.len() > NODES_MAX {
        return Err(PlacementError::TooManyNodes { nodes: nodes.len() });
    }
    let mut seen = BTreeSet::new();
    for node in nodes {
        if !seen.insert(node.id) {
            return Err(PlacementError::DuplicateNode { node: node.id });
        }
        for (field, value, min, max) in [
            ("speed", node.speed, f64::MIN_POSITIVE, f64::MAX),
            ("latency_ms", node.latency_ms, 0.0, LATENCY_MS_MAX),
            ("trust", node.trust, 0.0, 1.0),
        ] {
            if !(min..=max).contains(&value) {
                return Err(PlacementError::NodeNumber {
                    node: node.id,
                    field,
                    value,
                });
            }
        }
        if node.cpu_millis_free > node.cpu_millis_total {
            return Err(PlacementError::MoreFreeThanTotal {
                node: node.id,
                cpu_millis_free: node.cpu_millis_free,
                cpu_millis_total: node.cpu_millis_total,
            });
        }
    }
    Ok(())
}

pub(super) fn eligible(job: &Job, nodes: &[Node]) -> Result<Vec<Pair>, PlacementError> {
    let mut pairs = Vec::new();
    let mut removed_by = [0; Constraint::ALL.len()];
    let mut nearest: Option<(NodeId, Vec<Constraint>)> = None;
    for (index, node) in nodes.iter().enumerate() {
        let run_ms = run_ms(job.duration_ms, node.speed);
        let cost = run_ms.and_then(|run_ms| cost(job, node, run_ms));
        let fails: Vec<Constraint> = [
            (Constraint::Excluded, job.excluded.contains(&node.id)),
            (Constraint::Trust, node.trust < job.min_trust),
            (
                Constraint::Latency,
                job.max_latency_ms.is_some_and(|max| node.latency_ms > max),
            ),
            (
                Constraint::Cost,
                // A price nobody can pay must not stop the whole batch, only this pair.
                run_ms.is_some()
                    && cost
                        .is_none_or(|cost| job.max_cost.is_some_and(|max| cost > u128::from(max))),
            ),
            (Constraint::Cpu, job.cpu_millis > node.cpu_millis_free),
            (
                Constraint::Memory,
                job.memory_bytes > node.memory_bytes_free,
            ),
            (Constraint::RunTime, run_ms.is_none()),
        ]
        .into_iter()
        .filter_map(|(constraint, fails)| fails.then_some(constraint))
        .collect();
        match (run_ms, cost) {
            (Some(run_ms), Some(cost)) if fails.is_empty() => pairs.push(Pair {
                node: index,
                run_ms,
                cost,
            }),
            _ => {
                for &constraint in &fails {
                    removed_by[constraint as usize] += 1;
                }
                if nearest
                    .as_ref()
                    .is_none_or(|(_, fewest)| fails.len() < fewest.len())
                {
                    nearest = Some((node.id, fails));
                }
            }
        }
    }
    match nearest {
        Some((nearest, nearest_fails)) if pairs.is_empty() => Err(PlacementError::Infeasible {
            job: job.id,
            removed_by,
            nearest,
            nearest_fails,
        }),
        _ => Ok(pairs),
    }
}

/// How long a job runs, rounded up, if that is at most [`RUN_MS_MAX`].
pub(super) fn run_ms(duration_ms: u64, speed: f64) -> Option<u64> {
    let run_ms = (duration_ms as f64 / speed).ceil();
    (run_ms <= RUN_MS_MAX as f64).then_some(run_ms as u64)
}

/// What a job costs, rounded up to whole base units, if that can be counted.
///
/// At most a millionth of what a `u128` holds, so that the costs of a whole batch have a sum.
pub(super) fn cost(job: &Job, node: &Node, run_ms: u64) -> Option<u128> {
    let core_millis = u128::from(job.cpu_millis) * u128::from(run_ms);
    let cost = core_millis.checked_mul(u128::from(node.price_per_cpu_second))?;
    Some(cost.div_ceil(1_000 * 1_000))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn job(id: u16) -> Job {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        Job {
            id: TaskId::from_bytes(bytes),
            cpu_millis: 1_000,
            memory_bytes: 1_000,
            duration_ms: 1_000,
            priority: Priority::Normal,
            min_trust: 0.0,
            max_cost: None,
            max_latency_ms: None,
            excluded: vec![],
        }
    }

    pub(crate) fn node(id: u16) -> Node {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        Node {
            id: NodeId::from_bytes(bytes),
            cpu_millis_free: 4_000,
            cpu_millis_total: 4_000,
            memory_bytes_free: 1_000_000,
            speed: 1.0,
            latency_ms: 10.0,
            trust: 0.8,
            price_per_cpu_second: 5,
        }
    }

    fn refused(jobs: Vec<Job>, nodes: Vec<Node>) -> PlacementError {
        Instance::new(jobs, nodes, Sharing::Concurrent).unwrap_err()
    }

    #[test]
    fn empty_oversized_and_repeated_input_is_named() {
        assert_eq!(refused(vec![], vec![node(1)]), PlacementError::NoJobs);
        assert_eq!(refused(vec![job(1)], vec![]), PlacementError::NoNodes);
        assert_eq!(
            refused(vec![job(1); JOBS_MAX + 1], vec![node(1)]),
            PlacementError::TooManyJobs { jobs: JOBS_MAX + 1 }
        );
        assert_eq!(
            refused(vec![job(1)], vec![node(1); NODES_MAX + 1]),
            PlacementError::TooManyNodes {
                nodes: NODES_MAX + 1
            }
        );
        assert_eq!(
            refused(vec![job(1), job(2), job(1)], vec![node(1)]),
            PlacementError::DuplicateJob { job: job(1).id }
        );
        assert_eq!(
            refused(vec![job(1)], vec![node(1), node(1)]),
            PlacementError::DuplicateNode { node: node(1).id }
        );
    }

    #[test]
    fn numbers_that_make_no_sense_are_named() {
        for (change, field) in [
            (
                (|job| job.min_trust = f64::NAN) as fn(&mut Job),
                "min_trust",
            ),
            (|job| job.min_trust = 1.1, "min_trust"),
            (|job| job.max_latency_ms = Some(-1.0), "max_latency_ms"),
        ] {
            let mut wrong = job(1);
            change(&mut wrong);
            let error = refused(vec![wrong], vec![node(1)]);
            assert!(
                matches!(error, PlacementError::JobNumber { field: named, .. } if named == field)
            );
        }
        for (change, field) in [
            ((|node| node.speed = 0.0) as fn(&mut Node), "speed"),
            (|node| node.speed = f64::INFINITY, "speed"),
            (|node| node.latency_ms = f64::NAN, "latency_ms"),
            (|node| node.latency_ms = -1.0, "latency_ms"),
            (|node| node.trust = 1.5, "trust"),
        ] {
            let mut wrong = node(1);
            change(&mut wrong);
            let error = refused(vec![job(1)], vec![wrong]);
            assert!(
                matches!(error, PlacementError::NodeNumber { field: named, .. } if named == field)
            );
        }
        let boastful = Node {
            cpu_millis_free: 5_000,
            ..node(1)
        };
        assert_eq!(
            refused(vec![job(1)], vec![boastful]),
            PlacementError::MoreFreeThanTotal {
                node: node(1).id,
                cpu_millis_free: 5_000,
                cpu_millis_total: 4_000
            }
        );
    }

    #[test]
    fn demand_beyond_64_bits_is_refused() {
        let huge = |id| Job {
            memory_bytes: u64::MAX,
            ..job(id)
        };
        let roomy = Node {
            memory_bytes_free: u64::MAX,
            ..node(1)
        };
        assert_eq!(
            refused(vec![huge(1), huge(2)], vec![roomy]),
            PlacementError::DemandOverflow
        );
    }

    #[test]
    fn a_job_without_a_node_learns_what_removed_each() {
        let picky = Job {
            cpu_millis: 2_000,
            min_trust: 0.7,
            max_cost: Some(10),
            max_latency_ms: Some(20.0),
            excluded: vec![node(1).id],
            ..job(1)
        };
        let nodes = vec![
            node(1),
            Node {
                trust: 0.1,
                latency_ms: 50.0,
                ..node(2)
            },
            Node {
                price_per_cpu_second: 6,
                cpu_millis_free: 1_999,
                memory_bytes_free: 999,
                ..node(3)
            },
            Node {
                speed: 1e-300,
                trust: 0.2,
                ..node(4)
            },
        ];
        let error = refused(vec![job(7), picky], nodes);
        assert_eq!(
            error,
            PlacementError::Infeasible {
                job: job(1).id,
                removed_by: [1, 2, 1, 1, 1, 1, 1],
                nearest: node(1).id,
                nearest_fails: vec![Constraint::Excluded],
            }
        );
        assert_eq!(
            error.to_string(),
            format!(
                "no node may take job {}: exclusion rules out 1, trust rules out 2, latency rules \
                 out 1, cost rules out 1, processor rules out 1, memory rules out 1, run time \
                 rules out 1; node {} comes nearest, failing on exclusion",
                job(1).id,
                node(1).id
            )
        );
    }

    #[test]
    fn constraints_hold_at_their_limit() {
        let exact = Job {
            cpu_millis: 4_000,
            memory_bytes: 1_000_000,
            min_trust: 0.8,
            max_cost: Some(20),
            max_latency_ms: Some(10.0),
            ..job(1)
        };
        let instance = Instance::new(vec![exact], vec![node(1)], Sharing::Concurrent).unwrap();
        assert_eq!(instance.eligible[0].len(), 1);
        assert_eq!(instance.jobs().len(), 1);
        assert_eq!(instance.nodes().len(), 1);
    }

    #[test]
    fn costs_are_exact_and_round_up() {
        let slow = Node {
            speed: 0.3,
            price_per_cpu_second: 7,
            ..node(1)
        };
        let instance = Instance::new(vec![job(1)], vec![slow], Sharing::Queued).unwrap();
        // 1000 / 0.3 = 3333.3 ms, rounded up 3334 ms of one core at 7 a second: 23.338.
        assert_eq!(instance.eligible[0][0].run_ms, 3_334);
        assert_eq!(instance.eligible[0][0].cost, 24);
    }

    #[test]
    fn a_price_nobody_can_pay_removes_the_node_and_not_the_batch() {
        let large = |id| Node {
            cpu_millis_total: u64::MAX,
            cpu_millis_free: u64::MAX,
            ..node(id)
        };
        let greedy = Node {
            price_per_cpu_second: u64::MAX,
            speed: 1e-9,
            ..large(1)
        };
        let long = Job {
            duration_ms: 5_000,
            cpu_millis: 1 << 32,
            ..job(1)
        };
        let instance = Instance::new(vec![long], vec![greedy, large(2)], Sharing::Queued).unwrap();
        assert_eq!(instance.eligible[0].len(), 1);
        assert_eq!(instance.eligible[0][0].node, 1);
    }
}
