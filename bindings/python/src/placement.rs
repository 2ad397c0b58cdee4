//! Placement of jobs on nodes.

use fogcompute::schedule::{self, OBJECTIVE_COUNT};
use fogcompute::{NodeId, Placing, Preemption, Preference, TaskId};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::{Constraint, Domain, Hex, Number, Priority, Sharing, Strategy, Tier, Tuple};
use crate::error;
use crate::optimise::Nsga2;
use crate::value::value;

/// What a tier promises and what it costs.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Terms {
    /// How many nodes run the job, each on its own.
    replicas: u8,
    /// What the nodes of two replicas must differ in, all of it.
    distinct: Tuple<Domain>,
    /// Latency of a node that at most one answer in twenty exceeds, in milliseconds.
    latency_ms_p95: f64,
    /// Share of the time for which at least one replica is there, 0 to 1.
    availability: f64,
    /// Largest share of wrong or missing answers, 0 to 1.
    error_rate: f64,
    /// The notice after which the job gives up its place, in milliseconds; `None`: it never does.
    preemption_notice_ms: Option<u64>,
    /// What a node's asking price is multiplied by, in thousandths.
    price_permille: u64,
}

value! {
    Terms {
        replicas,
        distinct,
        latency_ms_p95,
        availability,
        error_rate,
        preemption_notice_ms,
        price_permille,
    }

    #[new]
    fn new(
        replicas: Number<u8>,
        distinct: Tuple<Domain>,
        latency_ms_p95: Number<f64>,
        availability: Number<f64>,
        error_rate: Number<f64>,
        preemption_notice_ms: Option<Number<u64>>,
        price_permille: Number<u64>,
    ) -> Self {
        Self {
            replicas: replicas.0,
            distinct,
            latency_ms_p95: latency_ms_p95.0,
            availability: availability.0,
            error_rate: error_rate.0,
            preemption_notice_ms: preemption_notice_ms.map(|number| number.0),
            price_permille: price_permille.0,
        }
    }
}

/// What a tier promises: `Tier.terms`.
#[pyfunction]
pub(crate) fn _terms(tier: Tier) -> Terms {
    let terms = tier.0.terms();
    Terms {
        replicas: terms.replicas,
        distinct: Tuple(terms.distinct.iter().copied().map(Domain).collect()),
        latency_ms_p95: terms.latency_ms_p95,
        availability: terms.availability,
        error_rate: terms.error_rate,
        preemption_notice_ms: match terms.preemption {
            Preemption::Never => None,
            Preemption::AfterNotice { notice_ms } => Some(notice_ms),
        },
        price_permille: terms.price_permille,
    }
}

/// A bound on how many jobs of a group share a domain.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Spread {
    /// Name of the group. All its jobs say the same of `over` and `most`.
    group: String,
    /// What is a domain.
    over: Domain,
    /// Most jobs of the group in one domain, each replica counted, at least 1.
    most: u32,
}

value! {
    Spread { group, over, most }

    #[new]
    fn new(group: String, over: Domain, most: Number<u32>) -> Self {
        Self { group, over, most: most.0 }
    }

    fn __str__(&self) -> String {
        schedule::Rule::Spread(self.clone().into()).to_string()
    }
}

impl From<Spread> for schedule::Spread {
    fn from(Spread { group, over, most }: Spread) -> Self {
        Self {
            group,
            over: over.0,
            most,
        }
    }
}

/// A rule: replicas of a job must be in different domains.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone, Copy)]
pub(crate) struct Replicas {
    /// What is a domain.
    over: Domain,
}

value! {
    Replicas { over }

    #[new]
    fn new(over: Domain) -> Self {
        Self { over }
    }

    fn __str__(&self) -> String {
        schedule::Rule::Replicas(self.over.0).to_string()
    }
}

/// A rule: jobs must avoid each other.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone, Copy)]
pub(crate) struct AntiAffinity {}

value! {
    AntiAffinity {}

    #[new]
    fn new() -> Self {
        Self {}
    }

    fn __str__(&self) -> String {
        schedule::Rule::AntiAffinity.to_string()
    }
}

/// A rule: nodes have only so much of something.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone, Copy)]
pub(crate) struct Capacity {
    /// What there is too little of.
    of: Constraint,
}

value! {
    Capacity { of }

    #[new]
    fn new(of: Constraint) -> Self {
        Self { of }
    }

    fn __str__(&self) -> String {
        schedule::Rule::Capacity(self.of.0).to_string()
    }
}

#[derive(Clone, FromPyObject, IntoPyObject)]
pub(crate) enum Rule {
    Replicas(Replicas),
    AntiAffinity(AntiAffinity),
    Spread(Spread),
    Capacity(Capacity),
}

impl From<Rule> for schedule::Rule {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Replicas(Replicas { over }) => Self::Replicas(over.0),
            Rule::AntiAffinity(AntiAffinity {}) => Self::AntiAffinity,
            Rule::Spread(spread) => Self::Spread(spread.into()),
            Rule::Capacity(Capacity { of }) => Self::Capacity(of.0),
        }
    }
}

impl From<schedule::Rule> for Rule {
    fn from(rule: schedule::Rule) -> Self {
        match rule {
            schedule::Rule::Replicas(over) => Self::Replicas(Replicas { over: Domain(over) }),
            schedule::Rule::AntiAffinity => Self::AntiAffinity(AntiAffinity {}),
            schedule::Rule::Spread(schedule::Spread { group, over, most }) => {
                let over = Domain(over);
                Self::Spread(Spread { group, over, most })
            }
            schedule::Rule::Capacity(of) => Self::Capacity(Capacity { of: Constraint(of) }),
        }
    }
}

/// A job to be placed.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Job {
    /// Its name, 32 hexadecimal digits; a `uuid.UUID` is accepted too.
    id: Hex<TaskId>,
    /// Processor it needs, in thousandths of a core.
    cpu_millis: u64,
    /// Memory it needs, in bytes.
    memory_bytes: u64,
    /// How long it runs on a node of speed 1, in milliseconds.
    duration_ms: u64,
    /// How urgent it is.
    priority: Priority,
    /// Least trust of its node, 0 to 1.
    min_trust: f64,
    /// Most it may cost, in base units. Each of its replicas may cost as much.
    max_cost: Option<u64>,
    /// Highest latency of its node, in milliseconds.
    max_latency_ms: Option<f64>,
    /// Nodes it must not run on.
    excluded: Tuple<Hex<NodeId>>,
    /// Disk it needs, in bytes.
    disk_bytes: u64,
    /// Whole GPUs it needs.
    gpus: u64,
    /// Bandwidth it needs while it runs, in bits per second.
    bandwidth_bps: u64,
    /// Size of what it reads, in bytes. Where that is not yet, it is fetched before the job runs.
    input_bytes: u64,
    /// Nodes that hold its input already. They need not be among those offered.
    input_on: Tuple<Hex<NodeId>>,
    /// Highest market price of one replica, in base units.
    max_price: Option<u64>,
    /// When it must be done and its node have been reached, from now, in milliseconds.
    deadline_ms: Option<u64>,
    /// Regions it may run in; none stands for any.
    regions: Tuple<String>,
    /// What it is promised. Nodes that cannot keep the promise are no choice for it.
    tier: Tier,
    /// Jobs that must be on the same node as this one. Saying so of one of two is enough.
    affinity: Tuple<Hex<TaskId>>,
    /// Jobs that must be on another node than this one. Saying so of one of two is enough.
    anti_affinity: Tuple<Hex<TaskId>>,
    /// How thinly it is spread together with others.
    spread: Option<Spread>,
    /// The gang it is part of: all jobs of a gang are placed, or none.
    gang: Option<String>,
    /// How many nodes run it; if `None`, as many as its tier has.
    replicas: Option<u8>,
    /// Whether it may be preempted at once, whatever its tier says.
    preemptible: bool,
}

value! {
    Job {
        id,
        cpu_millis,
        memory_bytes,
        duration_ms,
        priority,
        min_trust,
        max_cost,
        max_latency_ms,
        excluded,
        disk_bytes,
        gpus,
        bandwidth_bps,
        input_bytes,
        input_on,
        max_price,
        deadline_ms,
        regions,
        tier,
        affinity,
        anti_affinity,
        spread,
        gang,
        replicas,
        preemptible,
    }

    #[new]
    #[pyo3(
        signature = (
            id,
            *,
            cpu_millis,
            memory_bytes,
            duration_ms,
            priority = Priority(fogcompute::base::Priority::default()),
            min_trust = Number(0.0),
            max_cost = None,
            max_latency_ms = None,
            excluded = Tuple(Vec::new()),
            disk_bytes = Number(0),
            gpus = Number(0),
            bandwidth_bps = Number(0),
            input_bytes = Number(0),
            input_on = Tuple(Vec::new()),
            max_price = None,
            deadline_ms = None,
            regions = Tuple(Vec::new()),
            tier = Tier(fogcompute::Tier::default()),
            affinity = Tuple(Vec::new()),
            anti_affinity = Tuple(Vec::new()),
            spread = None,
            gang = None,
            replicas = None,
            preemptible = false,
        ),
        text_signature = "(id, *, cpu_millis, memory_bytes, duration_ms, \
                          priority=Priority.NORMAL, min_trust=0.0, max_cost=None, \
                          max_latency_ms=None, excluded=(), disk_bytes=0, gpus=0, \
                          bandwidth_bps=0, input_bytes=0, input_on=(), max_price=None, \
                          deadline_ms=None, regions=(), tier=Tier.BRONZE, affinity=(), \
                          anti_affinity=(), spread=None, gang=None, replicas=None, \
                          preemptible=False)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn new(
        id: Hex<TaskId>,
        cpu_millis: Number<u64>,
        memory_bytes: Number<u64>,
        duration_ms: Number<u64>,
        priority: Priority,
        min_trust: Number<f64>,
        max_cost: Option<Number<u64>>,
        max_latency_ms: Option<Number<f64>>,
        excluded: Tuple<Hex<NodeId>>,
        disk_bytes: Number<u64>,
        gpus: Number<u64>,
        bandwidth_bps: Number<u64>,
        input_bytes: Number<u64>,
        input_on: Tuple<Hex<NodeId>>,
        max_price: Option<Number<u64>>,
        deadline_ms: Option<Number<u64>>,
        regions: Tuple<String>,
        tier: Tier,
        affinity: Tuple<Hex<TaskId>>,
        anti_affinity: Tuple<Hex<TaskId>>,
        spread: Option<Spread>,
        gang: Option<String>,
        replicas: Option<Number<u8>>,
        preemptible: bool,
    ) -> Self {
        Self {
            id,
            cpu_millis: cpu_millis.0,
            memory_bytes: memory_bytes.0,
            duration_ms: duration_ms.0,
            priority,
            min_trust: min_trust.0,
            max_cost: max_cost.map(|number| number.0),
            max_latency_ms: max_latency_ms.map(|number| number.0),
            excluded,
            disk_bytes: disk_bytes.0,
            gpus: gpus.0,
            bandwidth_bps: bandwidth_bps.0,
            input_bytes: input_bytes.0,
            input_on,
            max_price: max_price.map(|number| number.0),
            deadline_ms: deadline_ms.map(|number| number.0),
            regions,
            tier,
            affinity,
            anti_affinity,
            spread,
            gang,
            replicas: replicas.map(|number| number.0),
            preemptible,
        }
    }
}

impl From<Job> for schedule::Job {
    fn from(job: Job) -> Self {
        Self {
            id: job.id.0,
            cpu_millis: job.cpu_millis,
            memory_bytes: job.memory_bytes,
            duration_ms: job.duration_ms,
            priority: job.priority.0,
            min_trust: job.min_trust,
            max_cost: job.max_cost,
            max_latency_ms: job.max_latency_ms,
            excluded: ids(job.excluded),
            disk_bytes: job.disk_bytes,
            gpus: job.gpus,
            bandwidth_bps: job.bandwidth_bps,
            input_bytes: job.input_bytes,
            input_on: ids(job.input_on),
            max_price: job.max_price,
            deadline_ms: job.deadline_ms,
            regions: job.regions.0,
            tier: job.tier.0,
            affinity: ids(job.affinity),
            anti_affinity: ids(job.anti_affinity),
            spread: job.spread.map(Into::into),
            gang: job.gang,
            replicas: job.replicas,
            preemptible: job.preemptible,
        }
    }
}

fn ids<T>(ids: Tuple<Hex<T>>) -> Vec<T> {
    ids.0.into_iter().map(|id| id.0).collect()
}

/// A node that takes jobs.
///
/// Region, zone and operator may be empty if they are not known. All nodes of which one is not
/// known count as one domain of it, for nobody can show that they differ.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Node {
    /// Its name, 64 hexadecimal digits.
    id: Hex<NodeId>,
    /// Processor that is free, in thousandths of a core.
    cpu_millis_free: u64,
    /// Processor there is, in thousandths of a core.
    cpu_millis_total: u64,
    /// Memory that is free, in bytes.
    memory_bytes_free: u64,
    /// A job takes its duration divided by this. More than 0.
    speed: f64,
    /// Time to reach it and back, in milliseconds.
    latency_ms: f64,
    /// How far it is trusted, 0 to 1.
    trust: f64,
    /// Price of one core for one second, in base units.
    price_per_cpu_second: u64,
    /// Disk that is free, in bytes.
    disk_bytes_free: u64,
    /// Whole GPUs that are free.
    gpus_free: u64,
    /// Bandwidth that is free, in bits per second.
    bandwidth_bps_free: u64,
    /// What it asks on the market for one core for one second; if `None`, its price.
    ask_per_cpu_second: Option<u64>,
    /// The part of the world it is in.
    region: String,
    /// What it shares power and network with.
    zone: String,
    /// Who runs it.
    operator: String,
    /// Share of the time for which it is there, 0 to 1, if known.
    availability: Option<f64>,
    /// Share of its answers that are wrong or missing, 0 to 1, if known.
    error_rate: Option<f64>,
}

value! {
    Node {
        id,
        cpu_millis_free,
        cpu_millis_total,
        memory_bytes_free,
        speed,
        latency_ms,
        trust,
        price_per_cpu_second,
        disk_bytes_free,
        gpus_free,
        bandwidth_bps_free,
        ask_per_cpu_second,
        region,
        zone,
        operator,
        availability,
        error_rate,
    }

    #[new]
    #[pyo3(
        signature = (
            id,
            *,
            cpu_millis_free,
            cpu_millis_total,
            memory_bytes_free,
            speed = Number(1.0),
            latency_ms = Number(0.0),
            trust = Number(0.0),
            price_per_cpu_second = Number(0),
            disk_bytes_free = Number(0),
            gpus_free = Number(0),
            bandwidth_bps_free = Number(0),
            ask_per_cpu_second = None,
            region = String::new(),
            zone = String::new(),
            operator = String::new(),
            availability = None,
            error_rate = None,
        ),
        text_signature = "(id, *, cpu_millis_free, cpu_millis_total, memory_bytes_free, \
                          speed=1.0, latency_ms=0.0, trust=0.0, price_per_cpu_second=0, \
                          disk_bytes_free=0, gpus_free=0, bandwidth_bps_free=0, \
                          ask_per_cpu_second=None, region='', zone='', operator='', \
                          availability=None, error_rate=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn new(
        id: Hex<NodeId>,
        cpu_millis_free: Number<u64>,
        cpu_millis_total: Number<u64>,
        memory_bytes_free: Number<u64>,
        speed: Number<f64>,
        latency_ms: Number<f64>,
        trust: Number<f64>,
        price_per_cpu_second: Number<u64>,
        disk_bytes_free: Number<u64>,
        gpus_free: Number<u64>,
        bandwidth_bps_free: Number<u64>,
        ask_per_cpu_second: Option<Number<u64>>,
        region: String,
        zone: String,
        operator: String,
        availability: Option<Number<f64>>,
        error_rate: Option<Number<f64>>,
    ) -> Self {
        Self {
            id,
            cpu_millis_free: cpu_millis_free.0,
            cpu_millis_total: cpu_millis_total.0,
            memory_bytes_free: memory_bytes_free.0,
            speed: speed.0,
            latency_ms: latency_ms.0,
            trust: trust.0,
            price_per_cpu_second: price_per_cpu_second.0,
            disk_bytes_free: disk_bytes_free.0,
            gpus_free: gpus_free.0,
            bandwidth_bps_free: bandwidth_bps_free.0,
            ask_per_cpu_second: ask_per_cpu_second.map(|number| number.0),
            region,
            zone,
            operator,
            availability: availability.map(|number| number.0),
            error_rate: error_rate.map(|number| number.0),
        }
    }
}

impl From<Node> for schedule::Node {
    fn from(node: Node) -> Self {
        Self {
            id: node.id.0,
            cpu_millis_free: node.cpu_millis_free,
            cpu_millis_total: node.cpu_millis_total,
            memory_bytes_free: node.memory_bytes_free,
            speed: node.speed,
            latency_ms: node.latency_ms,
            trust: node.trust,
            price_per_cpu_second: node.price_per_cpu_second,
            disk_bytes_free: node.disk_bytes_free,
            gpus_free: node.gpus_free,
            bandwidth_bps_free: node.bandwidth_bps_free,
            ask_per_cpu_second: node.ask_per_cpu_second,
            region: node.region,
            zone: node.zone,
            operator: node.operator,
            availability: node.availability,
            error_rate: node.error_rate,
        }
    }
}

/// Prefers the least sum of objectives, weighted in the order of `OBJECTIVE_NAMES`.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Weights {
    /// One weight for each objective.
    weights: Tuple<f64>,
}

value! {
    Weights { weights }

    #[new]
    fn new(py: Python<'_>, weights: Vec<Number<f64>>) -> PyResult<Self> {
        let weights: Vec<f64> = weights.into_iter().map(|number| number.0).collect();
        for_each_objective(py, &weights)?;
        Ok(Self { weights: Tuple(weights) })
    }
}

/// Prefers the best by the first objective named, of equals the best by the second, ...
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Lexicographic {
    /// Indices of all objectives.
    order: Tuple<usize>,
}

value! {
    Lexicographic { order }

    #[new]
    fn new(py: Python<'_>, order: Vec<Number<usize>>) -> PyResult<Self> {
        let order: Vec<usize> = order.into_iter().map(|number| number.0).collect();
        for_each_objective(py, &order)?;
        Ok(Self { order: Tuple(order) })
    }
}

fn for_each_objective<T: Copy>(py: Python<'_>, values: &[T]) -> PyResult<[T; OBJECTIVE_COUNT]> {
    values.try_into().map_err(|_| {
        error::argument(
            py,
            format!("{} values for {OBJECTIVE_COUNT} objectives", values.len()),
        )
    })
}

pub(crate) enum Preferred {
    Weights(Weights),
    Lexicographic(Lexicographic),
}

impl FromPyObject<'_, '_> for Preferred {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(weights) = object.extract() {
            return Ok(Self::Weights(weights));
        }
        object.extract().map(Self::Lexicographic).map_err(|_| {
            let given = object.get_type();
            PyTypeError::new_err(format!("{given} is neither Weights nor Lexicographic"))
        })
    }
}

impl Preferred {
    fn to_facade(&self, py: Python<'_>) -> PyResult<Preference> {
        Ok(match self {
            Self::Weights(Weights { weights }) => {
                Preference::Weights(for_each_objective(py, &weights.0)?)
            }
            Self::Lexicographic(Lexicographic { order }) => {
                Preference::Lexicographic(for_each_objective(py, &order.0)?)
            }
        })
    }
}

/// One placement of all jobs.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Point {
    /// Job and node of each replica, in the order in which jobs were given.
    assignment: Py<PyTuple>,
    /// What it is worth, in the order of `OBJECTIVE_NAMES`.
    objectives: Py<PyTuple>,
    /// What it costs, in base units.
    cost: u128,
    /// What it costs on the market, in base units.
    price: u128,
}

value! {
    Point { assignment, objectives, cost, price }

    #[new]
    fn new(
        py: Python<'_>,
        assignment: Vec<(Hex<TaskId>, Hex<NodeId>)>,
        objectives: Vec<Number<f64>>,
        cost: Number<u128>,
        price: Number<u128>,
    ) -> PyResult<Self> {
        Ok(Self {
            assignment: PyTuple::new(py, assignment)?.unbind(),
            objectives: PyTuple::new(py, objectives)?.unbind(),
            cost: cost.0,
            price: price.0,
        })
    }
}

/// Placements that no other beats, and the one chosen.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Plan {
    /// All placements found of which none is beaten by another in every objective.
    front: Py<PyTuple>,
    /// Which of them is chosen.
    chosen_index: usize,
    /// What it gives up in each objective against the best found, for people to read.
    explanation: String,
}

value! {
    Plan { front, chosen_index, explanation }

    #[new]
    fn new(
        py: Python<'_>,
        front: Vec<Py<Point>>,
        chosen_index: Number<usize>,
        explanation: String,
    ) -> PyResult<Self> {
        if chosen_index.0 >= front.len() {
            return Err(error::argument(py, "chosen_index is not on the front"));
        }
        Ok(Self {
            front: PyTuple::new(py, front)?.unbind(),
            chosen_index: chosen_index.0,
            explanation,
        })
    }

    /// The placement chosen.
    #[getter]
    fn chosen<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.front.bind(py).get_item(self.chosen_index)
    }
}

impl Plan {
    fn from_facade(py: Python<'_>, plan: &fogcompute::Plan) -> PyResult<Self> {
        let front = plan
            .front()
            .iter()
            .map(|point| {
                let assignment = point
                    .assignment
                    .iter()
                    .map(|&(job, node)| (Hex(job), Hex(node)));
                Ok(Point {
                    assignment: PyTuple::new(py, assignment.collect::<Vec<_>>())?.unbind(),
                    objectives: PyTuple::new(py, point.objectives)?.unbind(),
                    cost: point.cost,
                    price: point.price,
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
        Ok(Self {
            front: PyTuple::new(py, front)?.unbind(),
            chosen_index: plan.chosen_index(),
            explanation: plan.explain().to_string(),
        })
    }
}

/// What a node lacks for a job.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone, Copy)]
pub(crate) struct Lacks {
    /// Processor, in thousandths of a core.
    cpu_millis: u64,
    /// Memory, in bytes.
    memory_bytes: u64,
    /// Disk, in bytes.
    disk_bytes: u64,
    /// Whole GPUs.
    gpus: u64,
    /// Bandwidth, in bits per second.
    bandwidth_bps: u64,
}

value! {
    Lacks { cpu_millis, memory_bytes, disk_bytes, gpus, bandwidth_bps }

    #[new]
    fn new(
        cpu_millis: Number<u64>,
        memory_bytes: Number<u64>,
        disk_bytes: Number<u64>,
        gpus: Number<u64>,
        bandwidth_bps: Number<u64>,
    ) -> Self {
        Self {
            cpu_millis: cpu_millis.0,
            memory_bytes: memory_bytes.0,
            disk_bytes: disk_bytes.0,
            gpus: gpus.0,
            bandwidth_bps: bandwidth_bps.0,
        }
    }

    fn __str__(&self) -> String {
        schedule::Lacks::from(*self).to_string()
    }
}

impl From<Lacks> for schedule::Lacks {
    fn from(lacks: Lacks) -> Self {
        Self {
            cpu_millis: lacks.cpu_millis,
            memory_bytes: lacks.memory_bytes,
            disk_bytes: lacks.disk_bytes,
            gpus: lacks.gpus,
            bandwidth_bps: lacks.bandwidth_bps,
        }
    }
}

impl From<schedule::Lacks> for Lacks {
    fn from(lacks: schedule::Lacks) -> Self {
        Self {
            cpu_millis: lacks.cpu_millis,
            memory_bytes: lacks.memory_bytes,
            disk_bytes: lacks.disk_bytes,
            gpus: lacks.gpus,
            bandwidth_bps: lacks.bandwidth_bps,
        }
    }
}

/// A job was left out because no node may take it.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct NoNode {
    /// Each constraint that removes nodes, with how many.
    removed_by: Tuple<(Constraint, u32)>,
    /// The node that fails the fewest constraints.
    nearest: Hex<NodeId>,
    /// Those constraints.
    nearest_fails: Tuple<Constraint>,
}

value! {
    NoNode { removed_by, nearest, nearest_fails }

    #[new]
    fn new(
        removed_by: Vec<(Constraint, Number<u32>)>,
        nearest: Hex<NodeId>,
        nearest_fails: Tuple<Constraint>,
    ) -> Self {
        let removed_by = removed_by
            .into_iter()
            .map(|(constraint, nodes)| (constraint, nodes.0));
        Self {
            removed_by: Tuple(removed_by.collect()),
            nearest,
            nearest_fails,
        }
    }

    fn __str__(&self) -> String {
        let mut removed_by = [0; fogcompute::Constraint::ALL.len()];
        for (constraint, nodes) in &self.removed_by.0 {
            removed_by[constraint.0 as usize] = *nodes;
        }
        let reason = schedule::Reason::NoNode {
            removed_by,
            nearest: self.nearest.0,
            nearest_fails: self.nearest_fails.0.iter().map(|fails| fails.0).collect(),
        };
        reason.to_string()
    }
}

/// A job was left out because no node may take it together with those that must be with it.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct NoCommonNode {
    /// All of them.
    jobs: Tuple<Hex<TaskId>>,
    /// How many nodes may take each of them alone.
    shared: u32,
}

value! {
    NoCommonNode { jobs, shared }

    #[new]
    fn new(jobs: Tuple<Hex<TaskId>>, shared: Number<u32>) -> Self {
        Self { jobs, shared: shared.0 }
    }

    fn __str__(&self) -> String {
        let (jobs, shared) = (ids(self.jobs.clone()), self.shared);
        schedule::Reason::NoCommonNode { jobs, shared }.to_string()
    }
}

/// A job was left out because beside the more urgent jobs no node has room for it.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct NoRoom {
    /// The node that lacks least.
    node: Hex<NodeId>,
    /// What it lacks.
    lacks: Lacks,
}

value! {
    NoRoom { node, lacks }

    #[new]
    fn new(node: Hex<NodeId>, lacks: Lacks) -> Self {
        Self { node, lacks }
    }

    fn __str__(&self) -> String {
        let (node, lacks) = (self.node.0, self.lacks.into());
        schedule::Reason::NoRoom { node, lacks }.to_string()
    }
}

/// A job was left out because wherever it has room, it would be with others that it must not be
/// with.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Crowded {
    /// What forbids that, each of them somewhere.
    rules: Tuple<Rule>,
}

value! {
    Crowded { rules }

    #[new]
    fn new(rules: Tuple<Rule>) -> Self {
        Self { rules }
    }

    fn __str__(&self) -> String {
        let rules = self.rules.0.iter().cloned().map(Into::into).collect();
        schedule::Reason::Crowded { rules }.to_string()
    }
}

/// A job was left out because wherever it ran, it or a more urgent job would be late.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Late {
    /// By how much at best, in milliseconds.
    late_ms: u64,
}

value! {
    Late { late_ms }

    #[new]
    fn new(late_ms: Number<u64>) -> Self {
        Self { late_ms: late_ms.0 }
    }

    fn __str__(&self) -> String {
        let late_ms = self.late_ms;
        schedule::Reason::Late { late_ms }.to_string()
    }
}

/// A job was left out because another was that it must be with or that is of its gang.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct GoesWith {
    /// The other.
    job: Hex<TaskId>,
}

value! {
    GoesWith { job }

    #[new]
    fn new(job: Hex<TaskId>) -> Self {
        Self { job }
    }

    fn __str__(&self) -> String {
        schedule::Reason::With(self.job.0).to_string()
    }
}

#[derive(FromPyObject, IntoPyObject)]
pub(crate) enum LeftOut {
    NoNode(NoNode),
    NoCommonNode(NoCommonNode),
    NoRoom(NoRoom),
    Crowded(Crowded),
    Late(Late),
    GoesWith(GoesWith),
}

impl From<schedule::Reason> for LeftOut {
    fn from(reason: schedule::Reason) -> Self {
        match reason {
            schedule::Reason::NoNode {
                removed_by,
                nearest,
                nearest_fails,
            } => {
                let removed_by = fogcompute::Constraint::ALL.into_iter().zip(removed_by);
                let removed_by = removed_by.filter(|&(_, nodes)| nodes > 0);
                Self::NoNode(NoNode {
                    removed_by: Tuple(
                        removed_by
                            .map(|(constraint, nodes)| (Constraint(constraint), nodes))
                            .collect(),
                    ),
                    nearest: Hex(nearest),
                    nearest_fails: Tuple(nearest_fails.into_iter().map(Constraint).collect()),
                })
            }
            schedule::Reason::NoCommonNode { jobs, shared } => Self::NoCommonNode(NoCommonNode {
                jobs: Tuple(jobs.into_iter().map(Hex).collect()),
                shared,
            }),
            schedule::Reason::NoRoom { node, lacks } => Self::NoRoom(NoRoom {
                node: Hex(node),
                lacks: lacks.into(),
            }),
            schedule::Reason::Crowded { rules } => Self::Crowded(Crowded {
                rules: Tuple(rules.into_iter().map(Rule::from).collect()),
            }),
            schedule::Reason::Late { late_ms } => Self::Late(Late { late_ms }),
            schedule::Reason::With(job) => Self::GoesWith(GoesWith { job: Hex(job) }),
        }
    }
}

/// A placement of those jobs that fit.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct PartialPlan {
    /// Where they run; `None` if none fits.
    plan: Option<Py<Plan>>,
    /// The others in the order given, each with the reason, whose `str` is for people to read.
    left_out: Py<PyTuple>,
}

value! {
    PartialPlan { plan, left_out }

    #[new]
    fn new(
        py: Python<'_>,
        plan: Option<Py<Plan>>,
        left_out: Vec<(Hex<TaskId>, LeftOut)>,
    ) -> PyResult<Self> {
        Ok(Self {
            plan,
            left_out: PyTuple::new(py, left_out)?.unbind(),
        })
    }
}

impl PartialPlan {
    fn from_facade(py: Python<'_>, partial: fogcompute::PartialPlan) -> PyResult<Self> {
        let plan = partial.plan.as_ref();
        let plan = plan.map(|plan| Py::new(py, Plan::from_facade(py, plan)?));
        let left_out = partial.left_out.into_iter();
        let left_out = left_out.map(|(job, reason)| (Hex(job), LeftOut::from(reason)));
        Ok(Self {
            plan: plan.transpose()?,
            left_out: PyTuple::new(py, left_out.collect::<Vec<_>>())?.unbind(),
        })
    }
}

fn placing(
    py: Python<'_>,
    sharing: Sharing,
    config: Option<Nsga2>,
    preference: Option<&Preferred>,
    seed: Number<u64>,
) -> PyResult<Placing> {
    let preference = preference.map(|preferred| preferred.to_facade(py));
    Ok(Placing {
        search: Nsga2::or_default(config),
        preference: preference.transpose()?.unwrap_or_default(),
        seed: seed.0,
        ..Placing::new(sharing.0)
    })
}

/// Searches without the interpreter's lock, until it ends or Ctrl-C is pressed.
fn search<T: Send>(
    py: Python<'_>,
    search: impl FnOnce(&mut dyn FnMut() -> bool) -> Result<T, fogcompute::Error> + Send,
) -> PyResult<T> {
    let mut interrupt = None;
    let found = error::call(py, || {
        search(&mut || {
            let checked = Python::attach(|py| {
                py.check_signals().map_err(|exception| {
                    interrupt = Some(exception);
                })
            });
            checked.is_ok()
        })
    });
    match interrupt {
        Some(exception) => Err(exception),
        None => found,
    }
}

/// Places jobs on nodes and chooses one placement. One seed gives one plan.
///
/// `Strategy.NSGA_II` searches, as much as `config` says, for placements that no other beats; the
/// other strategies make one placement in one pass. Without a preference the placement nearest to
/// the best of every objective is chosen. Ctrl-C ends the search between two generations.
///
/// Raises `InfeasibleError`, `ProblemError`, `ArgumentError`.
#[pyfunction]
#[pyo3(
    signature = (
        jobs,
        nodes,
        sharing,
        config = None,
        *,
        strategy = Strategy(fogcompute::Strategy::NsgaIi),
        preference = None,
        seed = Number(0),
    ),
    text_signature = "(jobs, nodes, sharing, config=None, *, \
                      strategy=fogcompute.Strategy.NSGA_II, preference=None, seed=0)"
)]
#[expect(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn place(
    py: Python<'_>,
    jobs: Vec<Job>,
    nodes: Vec<Node>,
    sharing: Sharing,
    config: Option<Nsga2>,
    strategy: Strategy,
    preference: Option<Preferred>,
    seed: Number<u64>,
) -> PyResult<Plan> {
    let jobs = jobs.into_iter().map(Into::into).collect();
    let nodes = nodes.into_iter().map(Into::into).collect();
    let placing = Placing {
        strategy: strategy.0,
        ..placing(py, sharing, config, preference.as_ref(), seed)?
    };
    let plan = search(py, |go_on| placing.place_while(jobs, nodes, go_on))?;
    Plan::from_facade(py, &plan)
}

/// Places the jobs that fit and says why the others are left out: those that no node may take, then
/// the less urgent, by priority, by tier, then in the order given. A gang is left out whole, and so
/// are jobs that must be together.
///
/// It searches as `place` does. What is left out is not proven to have no place.
///
/// Raises `ProblemError`, `ArgumentError`.
#[pyfunction]
#[pyo3(
    signature = (jobs, nodes, sharing, config = None, *, preference = None, seed = Number(0)),
    text_signature = "(jobs, nodes, sharing, config=None, *, preference=None, seed=0)"
)]
pub(crate) fn place_what_fits(
    py: Python<'_>,
    jobs: Vec<Job>,
    nodes: Vec<Node>,
    sharing: Sharing,
    config: Option<Nsga2>,
    preference: Option<Preferred>,
    seed: Number<u64>,
) -> PyResult<PartialPlan> {
    let jobs: Vec<schedule::Job> = jobs.into_iter().map(Into::into).collect();
    let nodes: Vec<schedule::Node> = nodes.into_iter().map(Into::into).collect();
    let placing = placing(py, sharing, config, preference.as_ref(), seed)?;
    let partial = search(py, |go_on| {
        placing.place_what_fits_while(&jobs, &nodes, go_on)
    })?;
    PartialPlan::from_facade(py, partial)
}
