//! Placement of jobs on nodes.

use fogcompute::schedule::OBJECTIVE_COUNT;
use fogcompute::{NodeId, Preference, TaskId};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::{Hex, Number, Priority, Sharing, Tuple};
use crate::error;
use crate::optimise::Nsga2;
use crate::value::value;

/// A job to be placed.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Job {
    /// Its name, 32 hexadecimal digits.
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
    /// Most it may cost, in base units.
    max_cost: Option<u64>,
    /// Highest latency of its node, in milliseconds.
    max_latency_ms: Option<f64>,
    /// Nodes it must not run on.
    excluded: Tuple<Hex<NodeId>>,
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
        ),
        text_signature = "(id, *, cpu_millis, memory_bytes, duration_ms, \
                          priority=Priority.NORMAL, min_trust=0.0, max_cost=None, \
                          max_latency_ms=None, excluded=())"
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
        }
    }
}

impl From<Job> for fogcompute::schedule::Job {
    fn from(job: Job) -> Self {
        Self {
            priority: job.priority.0,
            min_trust: job.min_trust,
            max_cost: job.max_cost,
            max_latency_ms: job.max_latency_ms,
            excluded: job.excluded.0.into_iter().map(|node| node.0).collect(),
            ..Self::new(job.id.0, job.cpu_millis, job.memory_bytes, job.duration_ms)
        }
    }
}

/// A node that takes jobs.
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
    /// A job takes its duration divided by this.
    speed: f64,
    /// Time to reach it and back, in milliseconds.
    latency_ms: f64,
    /// How far it is trusted, 0 to 1.
    trust: f64,
    /// Price of one core for one second, in base units.
    price_per_cpu_second: u64,
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
    }

    #[new]
    #[pyo3(signature = (
        id,
        *,
        cpu_millis_free,
        cpu_millis_total,
        memory_bytes_free,
        speed,
        latency_ms,
        trust,
        price_per_cpu_second,
    ))]
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
        }
    }
}

impl From<Node> for fogcompute::schedule::Node {
    fn from(node: Node) -> Self {
        Self {
            cpu_millis_free: node.cpu_millis_free,
            speed: node.speed,
            latency_ms: node.latency_ms,
            trust: node.trust,
            price_per_cpu_second: node.price_per_cpu_second,
            ..Self::new(node.id.0, node.cpu_millis_total, node.memory_bytes_free)
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

#[derive(FromPyObject)]
pub(crate) enum Preferred {
    Weights(Weights),
    Lexicographic(Lexicographic),
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
    /// Job and node, in the order in which jobs were given.
    assignment: Py<PyTuple>,
    /// What it is worth, in the order of `OBJECTIVE_NAMES`.
    objectives: Py<PyTuple>,
    /// What it costs, in base units.
    cost: u128,
}

value! {
    Point { assignment, objectives, cost }

    #[new]
    fn new(
        py: Python<'_>,
        assignment: Vec<(Hex<TaskId>, Hex<NodeId>)>,
        objectives: Vec<Number<f64>>,
        cost: Number<u128>,
    ) -> PyResult<Self> {
        Ok(Self {
            assignment: PyTuple::new(py, assignment)?.unbind(),
            objectives: PyTuple::new(py, objectives)?.unbind(),
            cost: cost.0,
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

/// Places jobs on nodes with NSGA-II and chooses one placement. One seed gives one plan.
///
/// Without a preference the placement nearest to the best of every objective is chosen. Ctrl-C ends
/// the search between two generations.
///
/// Raises `InfeasibleError`, `ProblemError`, `ArgumentError`.
#[pyfunction]
#[pyo3(
    signature = (jobs, nodes, sharing, config = None, *, preference = None, seed = Number(0)),
    text_signature = "(jobs, nodes, sharing, config=None, *, preference=None, seed=0)"
)]
pub(crate) fn place(
    py: Python<'_>,
    jobs: Vec<Job>,
    nodes: Vec<Node>,
    sharing: Sharing,
    config: Option<Nsga2>,
    preference: Option<Preferred>,
    seed: Number<u64>,
) -> PyResult<Plan> {
    let jobs = jobs.into_iter().map(Into::into).collect();
    let nodes = nodes.into_iter().map(Into::into).collect();
    let config = Nsga2::or_default(config);
    let preference = preference.map_or(Ok(Preference::default()), |preferred| {
        preferred.to_facade(py)
    })?;
    let mut interrupt = None;
    let plan = error::call(py, || {
        let mut go_on = || {
            let checked = Python::attach(|py| {
                py.check_signals().map_err(|exception| {
                    interrupt = Some(exception);
                })
            });
            checked.is_ok()
        };
        fogcompute::place_while(
            jobs, nodes, sharing.0, &config, preference, seed.0, &mut go_on,
        )
    });
    match interrupt {
        Some(exception) => Err(exception),
        None => Plan::from_facade(py, &plan?),
    }
}
