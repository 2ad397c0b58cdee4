//! The jobs and nodes of one batch, checked, and which node may take which job.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fogcompute_base::{Domain, NodeId, Priority, TaskId, Tier};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::batch::PAIRS_MAX;
use super::limits::{Limit, Membership, Slots};
use super::relations::{Group, Relations};
use super::tier::availability_min;
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
///
/// Many jobs say little: `Job { min_trust: 0.5, ..Job::new(id, 1_000, 64 << 20, 500) }`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(description = "A job to be placed."))]
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
    #[serde(default)]
    pub priority: Priority,
    /// Least trust of its node, 0 to 1.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub min_trust: f64,
    /// Most it may cost, in base units. Each of its replicas may cost as much.
    #[serde(default)]
    pub max_cost: Option<u64>,
    /// Highest latency of its node, in milliseconds.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub max_latency_ms: Option<f64>,
    /// Nodes it must not run on.
    #[serde(default)]
    pub excluded: Vec<NodeId>,
    /// Disk it needs, in bytes.
    #[serde(default)]
    pub disk_bytes: u64,
    /// Whole GPUs it needs.
    #[serde(default)]
    pub gpus: u64,
    /// Bandwidth it needs while it runs, in bits per second.
    #[serde(default)]
    pub bandwidth_bps: u64,
    /// Size of what it reads, in bytes. Where that is not yet, it is fetched before the job runs,
    /// at the bandwidth that is free on the node before any job of the batch, and the job holds its
    /// place meanwhile.
    #[serde(default)]
    pub input_bytes: u64,
    /// Nodes that hold its input already. They need not be among those offered.
    #[serde(default)]
    pub input_on: Vec<NodeId>,
    /// Highest market price of one replica, in base units.
    #[serde(default)]
    pub max_price: Option<u64>,
    /// When it must be done and its node have been reached, from now, in milliseconds.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// Regions it may run in; none stands for any.
    #[serde(default)]
    pub regions: Vec<String>,
    /// What it is promised. Nodes that cannot keep the promise are no choice for it.
    #[serde(default)]
    pub tier: Tier,
    /// Jobs that must be on the same node as this one. Saying so of one of two is enough, and who
    /// must be with the same job must be together.
    #[serde(default)]
    pub affinity: Vec<TaskId>,
    /// Jobs that must be on another node than this one. Saying so of one of two is enough.
    #[serde(default)]
    pub anti_affinity: Vec<TaskId>,
    /// How thinly it is spread together with others.
    #[serde(default)]
    pub spread: Option<Spread>,
    /// The gang it is part of: all jobs of a gang are placed, or none.
    #[serde(default)]
    pub gang: Option<String>,
    /// How many nodes run it; if that is not said, as many as its tier has. If there are several, they differ
    /// in what the tier asks for.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub replicas: Option<u8>,
    /// Whether it may be preempted at once, whatever its tier says.
    #[serde(default)]
    pub preemptible: bool,
}

impl Job {
    /// A job of normal priority and the lowest tier that may run anywhere and needs nothing else.
    #[must_use]
    pub fn new(id: TaskId, cpu_millis: u64, memory_bytes: u64, duration_ms: u64) -> Self {
        Self {
            id,
            cpu_millis,
            memory_bytes,
            duration_ms,
            priority: Priority::default(),
            min_trust: 0.0,
            max_cost: None,
            max_latency_ms: None,
            excluded: Vec::new(),
            disk_bytes: 0,
            gpus: 0,
            bandwidth_bps: 0,
            input_bytes: 0,
            input_on: Vec::new(),
            max_price: None,
            deadline_ms: None,
            regions: Vec::new(),
            tier: Tier::default(),
            affinity: Vec::new(),
            anti_affinity: Vec::new(),
            spread: None,
            gang: None,
            replicas: None,
            preemptible: false,
        }
    }

    /// How many nodes run it.
    #[must_use]
    pub fn replica_count(&self) -> u8 {
        self.replicas.unwrap_or(self.tier.terms().replicas)
    }
}

/// A bound on how many jobs of a group share a domain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Spread {
    /// Name of the group. All its jobs say the same of `over` and `most`.
    pub group: String,
    /// What is a domain.
    pub over: Domain,
    /// Most jobs of the group in one domain, each replica counted, at least 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub most: u32,
}

/// A node that takes jobs.
///
/// Region, zone and operator may be empty if they are not known. All nodes of which one is not known
/// count as one domain of it, for nobody can show that they differ.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    #[cfg_attr(feature = "schema", schemars(extend("exclusiveMinimum" = 0)))]
    pub speed: f64,
    /// Time to reach it and back, in milliseconds, 0 to 10¹².
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1e12)))]
    pub latency_ms: f64,
    /// How far it is trusted, 0 to 1: the lower bound of its reputation is a good value.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub trust: f64,
    /// Price of one core for one second, in base units.
    pub price_per_cpu_second: u64,
    /// Disk that is free, in bytes.
    #[serde(default)]
    pub disk_bytes_free: u64,
    /// Whole GPUs that are free.
    #[serde(default)]
    pub gpus_free: u64,
    /// Bandwidth that is free, in bits per second.
    #[serde(default)]
    pub bandwidth_bps_free: u64,
    /// What it asks on the market for one core for one second, in base units; if that is not
    /// said, its price.
    #[serde(default)]
    pub ask_per_cpu_second: Option<u64>,
    /// The part of the world it is in.
    #[serde(default)]
    pub region: String,
    /// What it shares power and network with.
    #[serde(default)]
    pub zone: String,
    /// Who runs it.
    #[serde(default)]
    pub operator: String,
    /// Share of the time for which it is there, 0 to 1, if known.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub availability: Option<f64>,
    /// Share of its answers that are wrong or missing, 0 to 1, if known.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub error_rate: Option<f64>,
}

impl Node {
    /// An idle node of speed 1 next door that nobody trusts yet and that asks for nothing.
    #[must_use]
    pub fn new(id: NodeId, cpu_millis: u64, memory_bytes: u64) -> Self {
        Self {
            id,
            cpu_millis_free: cpu_millis,
            cpu_millis_total: cpu_millis,
            memory_bytes_free: memory_bytes,
            speed: 1.0,
            latency_ms: 0.0,
            trust: 0.0,
            price_per_cpu_second: 0,
            disk_bytes_free: 0,
            gpus_free: 0,
            bandwidth_bps_free: 0,
            ask_per_cpu_second: None,
            region: String::new(),
            zone: String::new(),
            operator: String::new(),
            availability: None,
            error_rate: None,
        }
    }

    /// What it asks on the market for one core for one second, in base units.
    #[must_use]
    pub fn ask(&self) -> u64 {
        self.ask_per_cpu_second.unwrap_or(self.price_per_cpu_second)
    }
}

/// How jobs share a node.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// All jobs run at once: together they must fit what is free. For services.
    Concurrent,
    /// Jobs queue: each alone must fit what is free, and starts when those before it on its node
    /// leave enough. Priority decides the order, then the deadline, the earliest first and none
    /// last, then the order in which jobs were given; nobody overtakes. For batches with more jobs than cores.
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
    /// The job would run, or fetch its input, for longer than [`RUN_MS_MAX`].
    RunTime,
    /// The job needs more disk than is free.
    Disk,
    /// The job needs more GPUs than are free.
    Gpu,
    /// The job needs more bandwidth than is free, or any at all to fetch its input.
    Bandwidth,
    /// The node is in none of the job's regions.
    Region,
    /// The market price is higher than the job may pay, or more than an account can hold.
    Price,
    /// The job could not be done in time even if it started at once.
    Deadline,
    /// The node is farther away than the job's tier allows.
    TierLatency,
    /// As many nodes as this one as there are replicas are not there as often as the job's tier
    /// promises, or that is not known. Unknown is good enough for Bronze.
    TierAvailability,
    /// The node errs more often than the job's tier allows, or that is not known. Unknown is good
    /// enough for Bronze.
    TierErrors,
}

impl Constraint {
    /// All constraints, in the order of the counts in [`PlacementError::Infeasible`].
    pub const ALL: [Self; 16] = [
        Self::Excluded,
        Self::Trust,
        Self::Latency,
        Self::Cost,
        Self::Cpu,
        Self::Memory,
        Self::RunTime,
        Self::Disk,
        Self::Gpu,
        Self::Bandwidth,
        Self::Region,
        Self::Price,
        Self::Deadline,
        Self::TierLatency,
        Self::TierAvailability,
        Self::TierErrors,
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
            Self::Disk => "disk",
            Self::Gpu => "GPUs",
            Self::Bandwidth => "bandwidth",
            Self::Region => "region",
            Self::Price => "price",
            Self::Deadline => "deadline",
            Self::TierLatency => "the tier's latency",
            Self::TierAvailability => "the tier's availability",
            Self::TierErrors => "the tier's error rate",
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
    #[error("{field} of job {job} is {value:?}")]
    JobNumber {
        /// The job.
        job: TaskId,
        /// The field.
        field: &'static str,
        /// What it says.
        value: f64,
    },
    /// A number of a node is not finite or out of range.
    #[error("{field} of node {node} is {value:?}")]
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
    /// A job names another that is not in the batch.
    #[error("{field} of job {job} names {other}, which is not in the batch")]
    UnknownJob {
        /// The job.
        job: TaskId,
        /// The field.
        field: &'static str,
        /// What it names.
        other: TaskId,
    },
    /// Two jobs must be on one node and must not.
    #[error("{}", Contradiction(*.job, *.other))]
    AffinityContradiction {
        /// The job.
        job: TaskId,
        /// The other; the job itself if it is to avoid itself.
        other: TaskId,
    },
    /// Two jobs that must be on one node have different numbers of replicas.
    #[error(
        "jobs {job} and {other} must be on the same node but have {replicas} and \
         {other_replicas} replicas"
    )]
    AffinityReplicas {
        /// The job.
        job: TaskId,
        /// Its replicas.
        replicas: u8,
        /// The other.
        other: TaskId,
        /// Its replicas.
        other_replicas: u8,
    },
    /// More jobs of a group must be on one node than may be in one domain.
    #[error(
        "{together} jobs of group {group:?} must be on the same node, but {most} may share a domain"
    )]
    AffinityOverSpread {
        /// The group.
        group: String,
        /// How many must be on one node.
        together: u32,
        /// How many may share a domain.
        most: u32,
    },
    /// Two jobs of a group do not agree how it is spread.
    #[error("jobs {job} and {other} do not agree how group {group:?} is spread")]
    SpreadMismatch {
        /// The group.
        group: String,
        /// A job of it.
        job: TaskId,
        /// Another.
        other: TaskId,
    },
    /// No job of a group may be anywhere.
    #[error("job {job} says that no job of group {group:?} may be anywhere")]
    SpreadOfNone {
        /// The group.
        group: String,
        /// A job of it.
        job: TaskId,
    },
    /// A job is to run nowhere.
    #[error("job {job} has no replicas")]
    NoReplicas {
        /// The job.
        job: TaskId,
    },
    /// Together the jobs have too many replicas; split the batch.
    #[error("{replicas} replicas of all jobs are more than {JOBS_MAX}")]
    TooManyReplicas {
        /// How many they have.
        replicas: usize,
    },
    /// What jobs that run at once need together does not fit 64 bits; split the batch.
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
    /// Jobs must be on one node, but none may take them all.
    #[error(
        "no node may take all of {}: {shared} may take each alone, and have no room for all",
        Tasks(.jobs)
    )]
    NoCommonNode {
        /// The jobs.
        jobs: Vec<TaskId>,
        /// How many nodes may take each of them alone.
        shared: u32,
    },
    /// These jobs cannot be placed together whatever becomes of the others. This is proven.
    #[error("{}, whatever becomes of the others{}", NoPlacement(.jobs), Rules(": ", .rules))]
    Impossible {
        /// The jobs, in the order given.
        jobs: Vec<TaskId>,
        /// What forbids it, all of it together. Of many jobs or rules perhaps more than need be.
        rules: Vec<Rule>,
    },
    /// Every job has a node, but no placement of all was found in which they fit together. There may
    /// be one.
    #[error(
        "no placement was found in which the jobs fit together: at best node {node} lacks {lacks} \
         for job {job}"
    )]
    OverCommitted {
        /// The job that found no room.
        job: TaskId,
        /// The node that lacked least for it.
        node: NodeId,
        /// What it lacks.
        lacks: Lacks,
    },
    /// No placement of all jobs was found: where a job has room, it would be with others that it
    /// must not be with. There may be one.
    #[error(
        "no placement was found that keeps job {job} apart from others, or its replicas from each \
         other, as must be"
    )]
    Crowded {
        /// The job that found no place.
        job: TaskId,
    },
    /// No placement of all jobs was found in which all are done in time. There may be one.
    #[error(
        "no placement was found in which all are done in time: at best job {job} is {late_ms} ms late"
    )]
    Late {
        /// The job that is latest.
        job: TaskId,
        /// By how much, in milliseconds.
        late_ms: u64,
    },
    /// There are more than [`PAIRS_MAX`] pairs of a job and a node that may take it, each counted
    /// once more for each bound on who may share a domain; split the batch.
    #[error("more than {PAIRS_MAX} pairs of a job and a node that may take it")]
    TooManyPairs,
    /// The configuration of the search makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The search was stopped by whoever asked for it.
    #[error("the search was stopped")]
    Stopped,
}

/// What a node lacks for a job.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lacks {
    /// Processor, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Disk, in bytes.
    pub disk_bytes: u64,
    /// Whole GPUs.
    pub gpus: u64,
    /// Bandwidth, in bits per second.
    pub bandwidth_bps: u64,
}

impl From<[u64; RESOURCES]> for Lacks {
    fn from([cpu_millis, memory_bytes, disk_bytes, gpus, bandwidth_bps]: [u64; RESOURCES]) -> Self {
        Self {
            cpu_millis,
            memory_bytes,
            disk_bytes,
            gpus,
            bandwidth_bps,
        }
    }
}

impl fmt::Display for Lacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.cpu_millis, "millicores"),
            (self.memory_bytes, "bytes of memory"),
            (self.disk_bytes, "bytes of disk"),
            (self.gpus, "GPUs"),
            (self.bandwidth_bps, "bits per second"),
        ];
        let lacking = all.into_iter().filter(|&(lack, _)| lack > 0);
        for (index, (lack, unit)) in lacking.enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{lack} {unit}")?;
        }
        if *self == Self::default() {
            f.write_str("nothing")?;
        }
        Ok(())
    }
}

/// What contradicts itself about two jobs, or about one that is to avoid itself.
struct Contradiction(TaskId, TaskId);

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(job, other) = self;
        if job == other {
            write!(f, "job {job} must avoid itself")
        } else {
            write!(
                f,
                "job {job} must be on the same node as job {other} and on another"
            )
        }
    }
}

/// What can forbid that jobs are placed together. All there is, as of [`Reason`](super::Reason).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Replicas of a job must be in different domains.
    Replicas(Domain),
    /// Jobs must avoid each other.
    AntiAffinity,
    /// A group is spread.
    Spread(Spread),
    /// Nodes have only so much processor, memory, disk, GPUs or bandwidth.
    Capacity(Constraint),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas(over) => {
                f.write_str("replicas of a job must ")?;
                f.write_str(match over {
                    Domain::Node => "be on different nodes",
                    Domain::Zone => "be in different zones",
                    Domain::Region => "be in different regions",
                    Domain::Operator => "have different operators",
                })
            }
            Self::AntiAffinity => f.write_str("they must avoid each other"),
            Self::Spread(Spread { group, over, most }) => {
                let domain = match over {
                    Domain::Node => "a node",
                    Domain::Zone => "a zone",
                    Domain::Region => "a region",
                    Domain::Operator => "an operator",
                };
                write!(f, "{domain} may have {most} of group {group:?}")
            }
            Self::Capacity(of) => write!(f, "there is only so much {of}"),
        }
    }
}

/// Rules, if there are any, behind a text.
pub(super) struct Rules<'a>(pub(super) &'static str, pub(super) &'a [Rule]);

impl fmt::Display for Rules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.1.iter().enumerate() {
            let before = if index == 0 { self.0 } else { "; " };
            write!(f, "{before}{rule}")?;
        }
        Ok(())
    }
}

/// What is not possible for jobs.
struct NoPlacement<'a>(&'a [TaskId]);

impl fmt::Display for NoPlacement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [job] => write!(f, "job {job} has no placement"),
            jobs => write!(f, "{} cannot be placed together", Tasks(jobs)),
        }
    }
}

/// Names of jobs, the first few of many.
pub(super) struct Tasks<'a>(pub(super) &'a [TaskId]);

impl fmt::Display for Tasks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        f.write_str("jobs ")?;
        for (index, job) in self.0.iter().take(SHOWN).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{job}")?;
        }
        if self.0.len() > SHOWN {
            write!(f, " and {} more", self.0.len() - SHOWN)?;
        }
        Ok(())
    }
}

/// Constraints that removed a node, with how many.
pub(super) struct Counts<'a>(pub(super) &'a [u32; Constraint::ALL.len()]);

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

pub(super) struct List<'a>(pub(super) &'a [Constraint]);

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
pub(crate) struct Pair {
    /// Index of the node.
    pub(crate) node: usize,
    /// How long its input takes to get there.
    pub(crate) transfer_ms: u64,
    /// How long the job runs there.
    pub(crate) run_ms: u64,
    /// What it costs there, in base units.
    pub(crate) cost: u128,
    /// What it costs there on the market, in base units.
    pub(crate) price: u128,
}

impl Pair {
    /// How long the job holds its place there.
    pub(crate) fn held_ms(&self) -> u64 {
        self.transfer_ms + self.run_ms
    }
}

/// What there is of a node: processor, memory, disk, GPUs, bandwidth.
pub(super) const RESOURCES: usize = 5;

/// The jobs and nodes of one batch.
///
/// [`place`](Self::place) finds where the jobs run.
#[derive(Clone, Debug)]
pub struct Instance {
    pub(super) jobs: Vec<Job>,
    pub(super) nodes: Vec<Node>,
    pub(super) sharing: Sharing,
    /// For each job where it may run, in the order of the nodes; never empty, and the same nodes
    /// for all jobs of a unit.
    pub(super) eligible: Vec<Vec<Pair>>,
    /// How much each job weighs in a mean, a whole number.
    pub(super) weights: Vec<f64>,
    /// Their sum, each as often as the job has replicas.
    pub(super) weight_sum: f64,
    /// Jobs that must be on one node. Each job is in one unit.
    pub(super) units: Vec<Vec<usize>>,
    /// What the jobs of each unit need together.
    pub(super) unit_needs: Vec<[u64; RESOURCES]>,
    /// The unit of each copy: what is placed is copies, of which a unit has as many as its jobs
    /// have replicas, one after another.
    pub(super) copies: Vec<usize>,
    /// Jobs with the copy they are part of, in the order in which queues serve them.
    pub(super) order: Vec<(usize, usize)>,
    /// What is free on each node.
    pub(super) free: Vec<[u64; RESOURCES]>,
    /// The domain of each node: in [`PARTITIONS`], in this order.
    pub(super) partitions: Vec<Vec<u32>>,
    pub(super) limits: Vec<Limit>,
    /// What each limit stands for.
    pub(super) rules: Vec<Rule>,
    /// The limits each copy is under.
    pub(super) memberships: Vec<Vec<Membership>>,
    /// The limits, compiled for the choices of each copy.
    pub(super) slots: Slots,
}

/// What domains are told apart by, in the order of an instance's partitions.
const PARTITIONS: [Domain; 4] = [Domain::Node, Domain::Zone, Domain::Region, Domain::Operator];

impl Instance {
    /// Checks the jobs and nodes of a batch and finds which node may take which job.
    ///
    /// # Errors
    ///
    /// [`PlacementError`] if there are none or too many, a name occurs twice, a number makes no
    /// sense, jobs contradict each other, or a job has no node that may take it.
    pub fn new(jobs: Vec<Job>, nodes: Vec<Node>, sharing: Sharing) -> Result<Self, PlacementError> {
        Self::with_pairs_max(jobs, nodes, sharing, PAIRS_MAX)
    }

    fn with_pairs_max(
        jobs: Vec<Job>,
        nodes: Vec<Node>,
        sharing: Sharing,
        pairs_max: usize,
    ) -> Result<Self, PlacementError> {
        check_jobs(&jobs)?;
        check_nodes(&nodes)?;
        let relations = Relations::new(&jobs)?;
        let needs: Vec<[u64; RESOURCES]> = jobs.iter().map(|job| NEEDS.map(|of| of(job))).collect();
        if sharing == Sharing::Concurrent {
            check_sums(&jobs, &needs)?;
        }
        let free: Vec<[u64; RESOURCES]> = nodes.iter().map(free).collect();
        let mut eligible = Vec::with_capacity(jobs.len());
        let mut pair_count = 0;
        for job in &jobs {
            let pairs = self::eligible(job, &nodes)?;
            pair_count += pairs.len();
            if pair_count > pairs_max {
                return Err(PlacementError::TooManyPairs);
            }
            eligible.push(pairs);
        }
        let units = relations.together;
        let unit_needs: Vec<[u64; RESOURCES]> = units
            .iter()
            .map(|unit| {
                // Jobs that queue may together need more than can be counted; nobody asks then.
                std::array::from_fn(|resource| {
                    let needs = unit.iter().map(|&job| needs[job][resource]);
                    needs.fold(0, u64::saturating_add)
                })
            })
            .collect();
        for (unit, needs) in units.iter().zip(&unit_needs) {
            if unit.len() > 1 {
                let room = |node: usize| sharing == Sharing::Queued || fits(needs, &free[node]);
                intersect(unit, &mut eligible, room).map_err(|shared| {
                    PlacementError::NoCommonNode {
                        jobs: unit.iter().map(|&job| jobs[job].id).collect(),
                        shared,
                    }
                })?;
            }
        }
        let mut copies = Vec::new();
        let mut firsts = Vec::with_capacity(units.len());
        for (unit, members) in units.iter().enumerate() {
            firsts.push(copies.len());
            let replicas = usize::from(jobs[members[0]].replica_count());
            copies.extend(std::iter::repeat_n(unit, replicas));
        }
        let mut order: Vec<(usize, usize)> = copies
            .iter()
            .enumerate()
            .flat_map(|(copy, &unit)| units[unit].iter().map(move |&job| (job, copy)))
            .collect();
        order.sort_by_key(|&(job, copy)| {
            let Job {
                priority,
                deadline_ms,
                ..
            } = jobs[job];
            (priority, deadline_ms.is_none(), deadline_ms, job, copy)
        });
        let weights: Vec<f64> = jobs.iter().map(|job| weight(job.priority)).collect();
        let mut instance = Self {
            weight_sum: order.iter().map(|&(job, _)| weights[job]).sum(),
            weights,
            eligible,
            units,
            unit_needs,
            copies,
            order,
            free,
            partitions: PARTITIONS
                .iter()
                .map(|&domain| partition(&nodes, domain))
                .collect(),
            limits: Vec::new(),
            rules: Vec::new(),
            memberships: Vec::new(),
            slots: Slots::default(),
            jobs,
            nodes,
            sharing,
        };
        instance.limit(&relations.apart, &relations.groups, &firsts);
        let pair_count: usize = (0..instance.copies.len())
            .map(|copy| instance.pairs(copy).len() * (1 + instance.memberships[copy].len()))
            .sum();
        if pair_count > pairs_max {
            return Err(PlacementError::TooManyPairs);
        }
        instance.slots = instance.compile();
        Ok(instance)
    }

    /// Writes down what must be apart and spread, and what replicas must differ in, as limits.
    /// `firsts` says which copy is the first of each unit.
    fn limit(&mut self, apart: &[Vec<usize>], groups: &[Group], firsts: &[usize]) {
        self.memberships = vec![Vec::new(); self.copies.len()];
        for unit in 0..self.units.len() {
            if self.copies_of(unit, firsts).len() < 2 {
                continue;
            }
            let mut domains: Vec<Domain> = self.units[unit]
                .iter()
                .flat_map(|&job| self.jobs[job].tier.terms().distinct)
                .copied()
                .collect();
            // What is in different zones is on different nodes.
            if domains.iter().any(|&domain| domain != Domain::Node) {
                domains.retain(|&domain| domain != Domain::Node);
            }
            domains.sort_unstable();
            domains.dedup();
            for domain in domains {
                self.limit_units(Rule::Replicas(domain), (domain, 1), &[(unit, 1)], firsts);
            }
        }
        for units in apart {
            let members: Vec<(usize, u32)> = units.iter().map(|&unit| (unit, 1)).collect();
            self.limit_units(Rule::AntiAffinity, (Domain::Node, 1), &members, firsts);
        }
        for group in groups {
            let Spread { over, most, .. } = group.spread;
            let rule = Rule::Spread(group.spread.clone());
            self.limit_units(rule, (over, most), &group.members, firsts);
        }
    }

    /// The copies of a unit.
    fn copies_of(&self, unit: usize, firsts: &[usize]) -> std::ops::Range<usize> {
        let end = firsts.get(unit + 1).copied();
        firsts[unit]..end.unwrap_or(self.copies.len())
    }

    fn limit_units(
        &mut self,
        rule: Rule,
        (domain, cap): (Domain, u32),
        members: &[(usize, u32)],
        firsts: &[usize],
    ) {
        let partition = PARTITIONS.iter().position(|&other| other == domain);
        let limit = self.limits.len() as u32;
        self.rules.push(rule);
        self.limits.push(Limit {
            cap,
            partition: partition.expect("all domains are partitions") as u32,
        });
        for &(unit, count) in members {
            for copy in self.copies_of(unit, firsts) {
                self.memberships[copy].push(Membership { limit, count });
            }
        }
    }

    /// The rules that some copies could break among themselves.
    pub(super) fn rules_of(&self, copies: &[usize]) -> Vec<Rule> {
        // What they would take of each limit in each domain, were all there that may be.
        let mut taken: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for &copy in copies {
            for membership in &self.memberships[copy] {
                let limit = self.limits[membership.limit as usize];
                let domains = &self.partitions[limit.partition as usize];
                let domains: BTreeSet<u32> = self
                    .pairs(copy)
                    .iter()
                    .map(|pair| domains[pair.node])
                    .collect();
                for domain in domains {
                    *taken.entry((membership.limit, domain)).or_insert(0) +=
                        u64::from(membership.count);
                }
            }
        }
        let mut rules: Vec<Rule> = Vec::new();
        for ((limit, _), count) in taken {
            let (limit, rule) = (self.limits[limit as usize], &self.rules[limit as usize]);
            if count > u64::from(limit.cap) && !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
        if self.sharing == Sharing::Concurrent {
            let is_scarce = |resource: usize| {
                let mut needs = vec![0_u64; self.nodes.len()];
                for &copy in copies {
                    for pair in self.pairs(copy) {
                        // The needs of all copies were counted.
                        needs[pair.node] += self.unit_needs[self.copies[copy]][resource];
                    }
                }
                let mut pairs = needs.iter().zip(&self.free);
                pairs.any(|(&needs, free)| needs > free[resource])
            };
            let scarce = CAPACITIES.into_iter().enumerate();
            let scarce = scarce.filter(|&(resource, _)| is_scarce(resource));
            rules.extend(scarce.map(|(_, of)| Rule::Capacity(of)));
        }
        rules
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

    /// The jobs of a copy; there is at least one.
    pub(super) fn jobs_of(&self, copy: usize) -> &[usize] {
        &self.units[self.copies[copy]]
    }

    /// The pairs of one of the jobs of a copy, which has the same nodes as the others.
    pub(super) fn pairs(&self, copy: usize) -> &[Pair] {
        &self.eligible[self.jobs_of(copy)[0]]
    }

    /// The choices that a copy has.
    pub(super) fn choices(&self, copy: usize) -> std::ops::Range<u32> {
        0..self.pairs(copy).len() as u32
    }

    /// The node that a copy goes to with its choice of this number.
    pub(super) fn node(&self, copy: usize, choice: u32) -> usize {
        self.pairs(copy)[choice as usize].node
    }

    fn compile(&self) -> Slots {
        if self.limits.is_empty() {
            return Slots::default();
        }
        Slots::new(&self.partitions, &self.limits, &self.memberships, |copy| {
            self.pairs(copy)
                .iter()
                .map(|pair| pair.node as u32)
                .collect()
        })
    }

    /// Copies with few nodes to go to first, and of those alike the ones that need much of what
    /// there is.
    pub(super) fn hardest_first(&self) -> Vec<usize> {
        let mut all = [0.0; RESOURCES];
        for free in &self.free {
            for (all, &free) in all.iter_mut().zip(free) {
                *all += free as f64;
            }
        }
        let share = |copy: usize| {
            let needs = self.unit_needs[self.copies[copy]].into_iter().zip(all);
            needs
                .map(|(need, all)| need as f64 / f64::max(all, 1.0))
                .fold(0.0, f64::max)
        };
        let mut order: Vec<usize> = (0..self.copies.len()).collect();
        order.sort_by(|&a, &b| {
            let nodes = self.pairs(a).len().cmp(&self.pairs(b).len());
            nodes.then(share(b).total_cmp(&share(a)))
        });
        order
    }
}

/// Checks that what jobs that run at once need together can be counted.
fn check_sums(jobs: &[Job], needs: &[[u64; RESOURCES]]) -> Result<(), PlacementError> {
    for resource in 0..RESOURCES {
        jobs.iter()
            .zip(needs)
            .try_fold(0_u64, |sum, (job, needs)| {
                let replicas = u64::from(job.replica_count());
                sum.checked_add(needs[resource].checked_mul(replicas)?)
            })
            .ok_or(PlacementError::DemandOverflow)?;
    }
    Ok(())
}

/// The domain of each node.
fn partition(nodes: &[Node], domain: Domain) -> Vec<u32> {
    let name = |node: &'_ Node| match domain {
        Domain::Node => None,
        Domain::Zone => Some(node.zone.clone()),
        Domain::Region => Some(node.region.clone()),
        Domain::Operator => Some(node.operator.clone()),
    };
    let mut numbers = BTreeMap::new();
    nodes
        .iter()
        .zip(0_u32..)
        .map(|(node, index)| match name(node) {
            None => index,
            Some(name) => {
                let next = numbers.len() as u32;
                *numbers.entry(name).or_insert(next)
            }
        })
        .collect()
}

/// Leaves to all jobs of a unit the nodes that each may go to and that have room. If there are
/// none, says how many there are without asking for room.
fn intersect(
    unit: &[usize],
    eligible: &mut [Vec<Pair>],
    room: impl Fn(usize) -> bool,
) -> Result<(), u32> {
    let mut common: Vec<usize> = eligible[unit[0]].iter().map(|pair| pair.node).collect();
    for &job in &unit[1..] {
        let pairs = &eligible[job];
        common.retain(|node| pairs.binary_search_by_key(node, |pair| pair.node).is_ok());
    }
    let shared = common.len() as u32;
    common.retain(|&node| room(node));
    if common.is_empty() {
        return Err(shared);
    }
    for &job in unit {
        eligible[job].retain(|pair| common.binary_search(&pair.node).is_ok());
    }
    Ok(())
}

/// What is free on a node.
fn free(node: &Node) -> [u64; RESOURCES] {
    [
        node.cpu_millis_free,
        node.memory_bytes_free,
        node.disk_bytes_free,
        node.gpus_free,
        node.bandwidth_bps_free,
    ]
}

fn fits(needs: &[u64; RESOURCES], free: &[u64; RESOURCES]) -> bool {
    needs.iter().zip(free).all(|(need, free)| need <= free)
}

/// What a job needs of each resource.
pub(super) const NEEDS: [fn(&Job) -> u64; RESOURCES] = [
    |job| job.cpu_millis,
    |job| job.memory_bytes,
    |job| job.disk_bytes,
    |job| job.gpus,
    |job| job.bandwidth_bps,
];

/// What a node has too little of when a resource is scarce.
pub(super) const CAPACITIES: [Constraint; RESOURCES] = [
    Constraint::Cpu,
    Constraint::Memory,
    Constraint::Disk,
    Constraint::Gpu,
    Constraint::Bandwidth,
];

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

pub(crate) fn check_jobs(jobs: &[Job]) -> Result<(), PlacementError> {
    if jobs.is_empty() {
        return Err(PlacementError::NoJobs);
    }
    if jobs.len() > JOBS_MAX {
        return Err(PlacementError::TooManyJobs { jobs: jobs.len() });
    }
    let replicas = jobs
        .iter()
        .map(|job| usize::from(job.replica_count()))
        .sum();
    if replicas > JOBS_MAX {
        return Err(PlacementError::TooManyReplicas { replicas });
    }
    let mut seen = BTreeSet::new();
    for job in jobs {
        if !seen.insert(job.id) {
            return Err(PlacementError::DuplicateJob { job: job.id });
        }
        if job.replica_count() == 0 {
            return Err(PlacementError::NoReplicas { job: job.id });
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

pub(crate) fn check_nodes(nodes: &[Node]) -> Result<(), PlacementError> {
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
            ("speed", Some(node.speed), f64::MIN_POSITIVE, f64::MAX),
            ("latency_ms", Some(node.latency_ms), 0.0, LATENCY_MS_MAX),
            ("trust", Some(node.trust), 0.0, 1.0),
            ("availability", node.availability, 0.0, 1.0),
            ("error_rate", node.error_rate, 0.0, 1.0),
        ] {
            if let Some(value) = value
                && !(min..=max).contains(&value)
            {
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

pub(crate) fn eligible(job: &Job, nodes: &[Node]) -> Result<Vec<Pair>, PlacementError> {
    let mut pairs = Vec::new();
    let mut removed_by = [0; Constraint::ALL.len()];
    let mut nearest: Option<(NodeId, Vec<Constraint>)> = None;
    let demands = Demands::new(job);
    for (index, node) in nodes.iter().enumerate() {
        if let Some(pair) = demands.pair(index, node) {
            pairs.push(pair);
            continue;
        }
        let fails = demands.fails(node);
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

/// Run time, transfer time, cost and price, each if it can be counted.
type Bill = (Option<u64>, Option<u64>, Option<u128>, Option<u128>);

/// What one job asks of a node, with what is the same for all nodes worked out.
pub(crate) struct Demands<'a> {
    job: &'a Job,
    /// Least availability of each of as many nodes as the job has replicas.
    availability_min: f64,
}

impl<'a> Demands<'a> {
    pub(crate) fn new(job: &'a Job) -> Self {
        Self {
            job,
            availability_min: availability_min(job.tier, job.replica_count()),
        }
    }

    pub(super) fn job(&self) -> &'a Job {
        self.job
    }

    /// What the job is on `node`, the one of this index, if it may be there.
    pub(crate) fn pair(&self, index: usize, node: &Node) -> Option<Pair> {
        let bill = self.bill(node);
        if self.checks(node, bill).iter().any(|&(_, fails)| fails) {
            return None;
        }
        let (run_ms, transfer_ms, cost, price) = bill;
        Some(Pair {
            node: index,
            transfer_ms: transfer_ms?,
            run_ms: run_ms?,
            cost: cost?,
            price: price?,
        })
    }

    /// The constraints that forbid the job on `node`.
    fn fails(&self, node: &Node) -> Vec<Constraint> {
        let checks = self.checks(node, self.bill(node)).into_iter();
        checks
            .filter_map(|(constraint, fails)| fails.then_some(constraint))
            .collect()
    }

    /// How long the job runs on `node`, how long its input takes, its cost and its price, as far as
    /// each can be counted.
    fn bill(&self, node: &Node) -> Bill {
        let run_ms = run_ms(self.job.duration_ms, node.speed);
        (
            run_ms,
            transfer_ms(self.job, node),
            run_ms.and_then(|run_ms| cost(self.job, node, run_ms)),
            run_ms.and_then(|run_ms| price(self.job, node, run_ms)),
        )
    }

    /// Whether each constraint forbids the job on `node`. If none does, all of the bill is there.
    fn checks(
        &self,
        node: &Node,
        (run_ms, transfer_ms, cost, price): Bill,
    ) -> [(Constraint, bool); Constraint::ALL.len()] {
        let job = self.job;
        let done_ms = run_ms
            .zip(transfer_ms)
            .map(|(run_ms, transfer_ms)| (run_ms + transfer_ms) as f64 + node.latency_ms);
        let over = |amount: Option<u128>, max: Option<u64>| {
            amount.is_none_or(|amount| max.is_some_and(|max| amount > u128::from(max)))
        };
        let terms = job.tier.terms();
        // What is not known is good enough for the lowest tier only.
        let unknown = job.tier != Tier::Bronze;
        [
            (Constraint::Excluded, job.excluded.contains(&node.id)),
            (Constraint::Trust, node.trust < job.min_trust),
            (
                Constraint::Latency,
                job.max_latency_ms.is_some_and(|max| node.latency_ms > max),
            ),
            // A price nobody can pay must not stop the whole batch, only this pair.
            (
                Constraint::Cost,
                run_ms.is_some() && over(cost, job.max_cost),
            ),
            (Constraint::Cpu, job.cpu_millis > node.cpu_millis_free),
            (
                Constraint::Memory,
                job.memory_bytes > node.memory_bytes_free,
            ),
            (
                Constraint::RunTime,
                run_ms.is_none() || (transfer_ms.is_none() && node.bandwidth_bps_free > 0),
            ),
            (Constraint::Disk, job.disk_bytes > node.disk_bytes_free),
            (Constraint::Gpu, job.gpus > node.gpus_free),
            (
                Constraint::Bandwidth,
                job.bandwidth_bps > node.bandwidth_bps_free
                    || (transfer_ms.is_none() && node.bandwidth_bps_free == 0),
            ),
            (
                Constraint::Region,
                !job.regions.is_empty() && !job.regions.contains(&node.region),
            ),
            (
                Constraint::Price,
                run_ms.is_some() && over(price, job.max_price),
            ),
            (
                Constraint::Deadline,
                done_ms.is_some_and(|done| job.deadline_ms.is_some_and(|max| done > max as f64)),
            ),
            (
                Constraint::TierLatency,
                node.latency_ms > terms.latency_ms_p95,
            ),
            (
                Constraint::TierAvailability,
                node.availability
                    .map_or(unknown, |known| known < self.availability_min),
            ),
            (
                Constraint::TierErrors,
                node.error_rate
                    .map_or(unknown, |known| known > terms.error_rate),
            ),
        ]
    }
}

/// How long a job runs, rounded up, if that is at most [`RUN_MS_MAX`].
pub(super) fn run_ms(duration_ms: u64, speed: f64) -> Option<u64> {
    let run_ms = (duration_ms as f64 / speed).ceil();
    (run_ms <= RUN_MS_MAX as f64).then_some(run_ms as u64)
}

/// How long a job's input takes to get to a node, rounded up, if that is at most [`RUN_MS_MAX`].
fn transfer_ms(job: &Job, node: &Node) -> Option<u64> {
    if job.input_bytes == 0 || job.input_on.contains(&node.id) {
        return Some(0);
    }
    let millibits = u128::from(job.input_bytes) * 8 * 1_000;
    let bandwidth_bps = u128::from(node.bandwidth_bps_free);
    let transfer_ms = (bandwidth_bps > 0).then(|| millibits.div_ceil(bandwidth_bps))?;
    u64::try_from(transfer_ms)
        .ok()
        .filter(|&transfer_ms| transfer_ms <= RUN_MS_MAX)
}

/// Most one job may cost on one node: [`JOBS_MAX`] such jobs have a sum.
const COST_MAX: u128 = u128::MAX / JOBS_MAX as u128;

/// What a job costs, rounded up to whole base units, if that can be counted.
fn cost(job: &Job, node: &Node, run_ms: u64) -> Option<u128> {
    let cost = core_millis(job, run_ms).checked_mul(u128::from(node.price_per_cpu_second))?;
    Some(cost.div_ceil(1_000 * 1_000)).filter(|&cost| cost <= COST_MAX)
}

/// What a job costs on the market, rounded up to whole base units, if that can be counted.
fn price(job: &Job, node: &Node, run_ms: u64) -> Option<u128> {
    let price = core_millis(job, run_ms)
        .checked_mul(u128::from(node.ask()))?
        .checked_mul(u128::from(job.tier.terms().price_permille))?;
    Some(price.div_ceil(1_000 * 1_000 * 1_000)).filter(|&price| price <= COST_MAX)
}

/// Core time, in thousandths of a core times milliseconds.
fn core_millis(job: &Job, run_ms: u64) -> u128 {
    u128::from(job.cpu_millis) * u128::from(run_ms)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn job(id: u16) -> Job {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        Job::new(TaskId::from_bytes(bytes), 1_000, 1_000, 1_000)
    }

    pub(crate) fn node(id: u16) -> Node {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        Node {
            latency_ms: 10.0,
            trust: 0.8,
            price_per_cpu_second: 5,
            ..Node::new(NodeId::from_bytes(bytes), 4_000, 1_000_000)
        }
    }

    fn refused(jobs: Vec<Job>, nodes: Vec<Node>) -> PlacementError {
        Instance::new(jobs, nodes, Sharing::Concurrent).unwrap_err()
    }

    #[test]
    fn a_spread_is_told_with_the_article_of_its_domain() {
        // "a operator" was the fourth.
        let told = |over| {
            let (group, most) = ("db".to_owned(), 1);
            Rule::Spread(Spread { group, over, most }).to_string()
        };
        for (over, start) in [
            (Domain::Node, "a node "),
            (Domain::Zone, "a zone "),
            (Domain::Region, "a region "),
            (Domain::Operator, "an operator "),
        ] {
            assert_eq!(told(over), format!("{start}may have 1 of group \"db\""));
        }
    }

    #[test]
    fn a_number_that_makes_no_sense_is_not_told_in_three_hundred_digits() {
        let far = Node {
            latency_ms: 1e308,
            ..node(1)
        };
        let told = refused(vec![job(1)], vec![far.clone()]).to_string();
        assert_eq!(told, format!("latency_ms of node {} is 1e308", far.id));
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
            (|node| node.availability = Some(1.5), "availability"),
            (|node| node.error_rate = Some(f64::NAN), "error_rate"),
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
    fn pairs_are_counted_and_once_more_for_each_bound() {
        let place = |apart: bool, pairs_max| {
            let shy = Job {
                anti_affinity: if apart { vec![job(2).id] } else { vec![] },
                ..job(1)
            };
            let (jobs, nodes) = (vec![shy, job(2)], vec![node(1), node(2), node(3)]);
            Instance::with_pairs_max(jobs, nodes, Sharing::Queued, pairs_max).err()
        };
        let refused = Some(PlacementError::TooManyPairs);
        assert_eq!((place(false, 5), place(false, 6)), (refused.clone(), None));
        assert_eq!((place(true, 11), place(true, 12)), (refused, None));
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
                removed_by: [1, 2, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
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
    fn each_further_constraint_removes_the_node_that_breaks_it() {
        let able = Node {
            disk_bytes_free: 100,
            gpus_free: 2,
            bandwidth_bps_free: 8_000,
            region: "eu".to_owned(),
            availability: Some(0.97),
            error_rate: Some(0.03),
            ..node(1)
        };
        let exact = Job {
            disk_bytes: 100,
            gpus: 2,
            bandwidth_bps: 8_000,
            // A second at 8000 bits per second, then one of running, then 10 ms of latency.
            input_bytes: 1_000,
            deadline_ms: Some(2_010),
            max_price: Some(5),
            regions: vec!["us".to_owned(), "eu".to_owned()],
            ..job(1)
        };
        let instance =
            Instance::new(vec![exact.clone()], vec![able.clone()], Sharing::Queued).unwrap();
        assert_eq!(instance.eligible[0][0].transfer_ms, 1_000);
        let silver = |job: &mut Job| {
            job.tier = Tier::Silver;
            job.replicas = Some(1);
            job.max_price = None;
        };
        for (constraint, of_job, of_node) in [
            (
                Constraint::Disk,
                (|job| job.disk_bytes += 1) as fn(&mut Job),
                (|_| ()) as fn(&mut Node),
            ),
            (Constraint::Gpu, |job| job.gpus += 1, |_| ()),
            (Constraint::Bandwidth, |job| job.bandwidth_bps += 1, |_| ()),
            (
                Constraint::Bandwidth,
                |job| job.bandwidth_bps = 0,
                |node| node.bandwidth_bps_free = 0,
            ),
            (
                Constraint::RunTime,
                |job| {
                    job.input_bytes = u64::MAX;
                    job.deadline_ms = None;
                },
                |_| (),
            ),
            (Constraint::Region, |job| job.regions.truncate(1), |_| ()),
            (Constraint::Price, |job| job.max_price = Some(4), |_| ()),
            (
                Constraint::Price,
                |_| (),
                |node| node.ask_per_cpu_second = Some(6),
            ),
            (
                Constraint::Deadline,
                |job| job.deadline_ms = Some(2_009),
                |_| (),
            ),
            (
                Constraint::TierLatency,
                |job| job.deadline_ms = None,
                |node| node.latency_ms = 2_500.1,
            ),
            (
                Constraint::TierAvailability,
                |_| (),
                |node| node.availability = Some(0.969),
            ),
            (
                Constraint::TierErrors,
                |_| (),
                |node| node.error_rate = Some(0.031),
            ),
            (Constraint::TierErrors, silver, |node| {
                node.availability = Some(0.99);
                node.error_rate = None;
            }),
            (Constraint::TierAvailability, silver, |node| {
                node.availability = None;
                node.error_rate = Some(0.01);
            }),
        ] {
            let (mut job, mut node) = (exact.clone(), able.clone());
            of_job(&mut job);
            of_node(&mut node);
            let error = refused(vec![job], vec![node]);
            assert!(
                matches!(
                    &error,
                    PlacementError::Infeasible { nearest_fails, .. }
                        if nearest_fails == &[constraint]
                ),
                "{error} is not for {constraint} alone"
            );
        }
    }

    #[test]
    fn input_that_is_there_already_takes_no_time_and_prices_follow_ask_and_tier() {
        let there = Node {
            ask_per_cpu_second: Some(3),
            ..node(1)
        };
        let silver = Job {
            input_bytes: u64::MAX,
            input_on: vec![node(9).id, node(1).id],
            tier: Tier::Silver,
            replicas: Some(1),
            ..job(1)
        };
        let known = Node {
            availability: Some(1.0),
            error_rate: Some(0.0),
            ..there
        };
        let instance = Instance::new(vec![silver], vec![known], Sharing::Queued).unwrap();
        let pair = instance.eligible[0][0];
        // One core second at 3, times 2.5, rounded up.
        assert_eq!((pair.transfer_ms, pair.cost, pair.price), (0, 5, 8));
    }

    #[test]
    fn replicas_are_counted() {
        let none = Job {
            replicas: Some(0),
            ..job(1)
        };
        assert_eq!(
            refused(vec![none], vec![node(1)]),
            PlacementError::NoReplicas { job: job(1).id }
        );
        let many = Job {
            replicas: Some(255),
            ..job(1)
        };
        assert_eq!(
            refused(vec![many; 258], vec![node(1)]),
            PlacementError::TooManyReplicas { replicas: 65_790 }
        );
    }

    #[test]
    fn a_job_says_in_json_only_what_is_not_usual() {
        let id = job(1).id;
        let text = format!(
            r#"{{"id":"{id}","cpu_millis":1,"memory_bytes":2,"duration_ms":3,"tier":"gold",
                "spread":{{"group":"web","over":"zone","most":2}}}}"#
        );
        let job: Job = serde_json::from_str(&text).unwrap();
        let expected = Job {
            tier: Tier::Gold,
            spread: Some(Spread {
                group: "web".to_owned(),
                over: Domain::Zone,
                most: 2,
            }),
            ..Job::new(id, 1, 2, 3)
        };
        assert_eq!(job, expected);
        assert_eq!(job.replica_count(), 3);
    }

    #[test]
    fn constraints_are_counted_where_they_say() {
        for (index, constraint) in Constraint::ALL.into_iter().enumerate() {
            assert_eq!(constraint as usize, index);
        }
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
