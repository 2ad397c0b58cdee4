//! A fog of processes: who submits, a node of it, and its coordinator.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fogcompute::base::UnixMillis;
use fogcompute::coord::topology::Snapshot;
use fogcompute::coord::{Coordinate, NodeKind, Status};
use fogcompute::exec::Grants;
use fogcompute::harvest::DeviceProbe;
use fogcompute::store::{JobRow, TaskRow};
use fogcompute::{
    AccountId, Amount, FogAccess, FogCall, FogClientConfig, FogCoordinatorConfig, FogRecord,
    FogTaskState, JobId, JobOrder, JobTerms, NodeConfig, NodeId, TaskId, TokenTerms, TopologyNode,
};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::asyncio::{self, Nothing};
use crate::convert::{Buffer, Hex, Money, Number, Priority, Span, Tuple};
use crate::error;
use crate::fog::{Limits, Output};
use crate::handle::Handle;
use crate::mesh::address;
use crate::policy::HarvestPolicy;
use crate::value::value;
use crate::worker::Probe;

/// How a job of a fog stands.
#[pyclass(frozen, get_all, module = "fogcompute.fog")]
pub(crate) struct JobStatus {
    /// The job, 32 hexadecimal digits.
    id: Hex<JobId>,
    /// Who pays for it.
    account: Hex<AccountId>,
    /// How urgent it is.
    priority: Priority,
    /// How well its tasks are hidden: `public`, `private`, `confidential` or `secret`.
    privacy: String,
    /// When it was submitted, by the coordinator's clock.
    submitted_unix_ms: u64,
    /// Tasks that ended with an output.
    succeeded: usize,
    /// Tasks that ended with an error.
    failed: usize,
    /// Tasks that were given up after their last attempt.
    lost: usize,
    /// Tasks that were cancelled.
    cancelled: usize,
    /// Tasks that have not ended.
    open: usize,
    /// What was paid for its tasks.
    paid: u128,
    /// What is reserved for those that have not ended.
    reserved: u128,
    /// What was reserved and came back.
    released: u128,
}

value! {
    JobStatus {
        id, account, priority, privacy, submitted_unix_ms, succeeded, failed, lost, cancelled,
        open, paid, reserved, released,
    }

    #[new]
    #[expect(clippy::too_many_arguments, reason = "the fields")]
    fn new(
        id: Hex<JobId>,
        account: Hex<AccountId>,
        priority: Priority,
        privacy: String,
        submitted_unix_ms: Number<u64>,
        succeeded: Number<usize>,
        failed: Number<usize>,
        lost: Number<usize>,
        cancelled: Number<usize>,
        open: Number<usize>,
        paid: Number<u128>,
        reserved: Number<u128>,
        released: Number<u128>,
    ) -> Self {
        Self {
            id,
            account,
            priority,
            privacy,
            submitted_unix_ms: submitted_unix_ms.0,
            succeeded: succeeded.0,
            failed: failed.0,
            lost: lost.0,
            cancelled: cancelled.0,
            open: open.0,
            paid: paid.0,
            reserved: reserved.0,
            released: released.0,
        }
    }
}

impl From<JobRow> for JobStatus {
    fn from(row: JobRow) -> Self {
        Self {
            id: Hex(row.id),
            account: Hex(row.owner),
            priority: Priority(row.priority),
            privacy: row.privacy.name().to_owned(),
            submitted_unix_ms: row.submitted.0,
            succeeded: row.summary.succeeded,
            failed: row.summary.failed,
            lost: row.summary.lost,
            cancelled: row.summary.cancelled,
            open: row.summary.open,
            paid: row.summary.paid.0,
            reserved: row.summary.reserved.0,
            released: row.summary.released.0,
        }
    }
}

/// How a task of a job stands.
#[pyclass(frozen, get_all, module = "fogcompute.fog")]
pub(crate) struct JobTask {
    /// The task, 32 hexadecimal digits.
    id: Hex<TaskId>,
    /// Its job.
    job: Hex<JobId>,
    /// `queued`, `assigned`, `succeeded`, `failed`, `cancelled` or `lost`.
    state: String,
    /// Attempts that were begun.
    attempts: u32,
    /// The node that has it, or had it last.
    node: Option<Hex<NodeId>>,
    /// What was paid for it.
    paid: u128,
    /// When it last changed, by the coordinator's clock.
    changed_unix_ms: u64,
}

value! {
    JobTask { id, job, state, attempts, node, paid, changed_unix_ms }

    #[new]
    fn new(
        id: Hex<TaskId>,
        job: Hex<JobId>,
        state: String,
        attempts: Number<u32>,
        node: Option<Hex<NodeId>>,
        paid: Number<u128>,
        changed_unix_ms: Number<u64>,
    ) -> Self {
        Self {
            id,
            job,
            state,
            attempts: attempts.0,
            node,
            paid: paid.0,
            changed_unix_ms: changed_unix_ms.0,
        }
    }
}

impl From<TaskRow> for JobTask {
    fn from(row: TaskRow) -> Self {
        Self {
            id: Hex(row.id),
            job: Hex(row.job),
            state: FogTaskState::from(row.state).name().to_owned(),
            attempts: row.attempts,
            node: row.node.map(Hex),
            paid: row.paid.0,
            changed_unix_ms: row.changed.0,
        }
    }
}

/// Something that happened in a fog. What its kind does not have is `None` or 0.
///
/// Kinds: `admitted`, `assigned`, `queued`, `ended`, `job_ended`, and `lagged` when events are
/// forgotten because the watcher was away for so long.
#[pyclass(frozen, get_all, module = "fogcompute.fog")]
pub(crate) struct FogEvent {
    /// What it tells.
    kind: String,
    /// Its number: watching goes on behind it.
    number: u64,
    /// When it was, by the coordinator's clock.
    at_unix_ms: Option<u64>,
    /// The job it is about.
    job: Option<Hex<JobId>>,
    /// The task it is about.
    task: Option<Hex<TaskId>>,
    /// The node a task goes to.
    node: Option<Hex<NodeId>>,
    /// The attempt that begins, from 1, or the attempts that were begun.
    attempts: u32,
    /// How a task ended.
    state: Option<String>,
    /// What was paid for a task that ended.
    paid: u128,
    /// Tasks of a job that was admitted.
    tasks: u32,
    /// Events that are forgotten; 0 if nobody can tell how many.
    missed: u64,
}

value! {
    FogEvent {
        kind, number, at_unix_ms, job, task, node, attempts, state, paid, tasks, missed,
    }

    #[new]
    #[expect(clippy::too_many_arguments, reason = "the fields")]
    fn new(
        kind: String,
        number: Number<u64>,
        at_unix_ms: Option<Number<u64>>,
        job: Option<Hex<JobId>>,
        task: Option<Hex<TaskId>>,
        node: Option<Hex<NodeId>>,
        attempts: Number<u32>,
        state: Option<String>,
        paid: Number<u128>,
        tasks: Number<u32>,
        missed: Number<u64>,
    ) -> Self {
        Self {
            kind,
            number: number.0,
            at_unix_ms: at_unix_ms.map(|at| at.0),
            job,
            task,
            node,
            attempts: attempts.0,
            state,
            paid: paid.0,
            tasks: tasks.0,
            missed: missed.0,
        }
    }
}

impl From<FogRecord> for FogEvent {
    fn from(record: FogRecord) -> Self {
        let kind = record
            .kind
            .map_or("unknown", fogcompute::FogEventKind::name);
        Self {
            kind: kind.to_owned(),
            number: record.number,
            at_unix_ms: record.at.map(|at| at.0),
            job: record.job.map(Hex),
            task: record.task.map(Hex),
            node: record.node.map(Hex),
            attempts: record.attempts,
            state: record.state.map(|state| state.name().to_owned()),
            paid: record.paid.0,
            tasks: record.tasks,
            missed: record.missed,
        }
    }
}

/// Where a node is among the others: distances are round trip times.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute.fog")]
#[derive(Clone)]
pub(crate) struct FogPlace {
    /// Along three axes, in milliseconds.
    position_ms: (f64, f64, f64),
    /// How long the way to the network's core is, in milliseconds.
    height_ms: f64,
    /// By which share of a distance it expects to be wrong.
    error: f64,
}

value! {
    FogPlace { position_ms, height_ms, error }

    #[new]
    fn new(
        position_ms: (Number<f64>, Number<f64>, Number<f64>),
        height_ms: Number<f64>,
        error: Number<f64>,
    ) -> Self {
        Self {
            position_ms: (position_ms.0.0, position_ms.1.0, position_ms.2.0),
            height_ms: height_ms.0,
            error: error.0,
        }
    }
}

impl From<Coordinate> for FogPlace {
    fn from(place: Coordinate) -> Self {
        Self {
            position_ms: place.position().into(),
            height_ms: place.height(),
            error: place.error(),
        }
    }
}

/// A node of a fog, as its coordinator knows it.
#[pyclass(frozen, get_all, module = "fogcompute.fog")]
pub(crate) struct FogMember {
    /// The node, 64 hexadecimal digits.
    id: Hex<NodeId>,
    /// The mix layer it is in; `None` for a node that computes.
    layer: Option<u8>,
    /// `edge_device`, `relay`, `mixnode`, `compute` or `gateway`.
    kind: String,
    /// Where it accepts links.
    address: String,
    /// `active`, `idle`, `busy`, `suspect`, `draining`, `maintenance` or `offline`.
    status: String,
    /// Whether it is left alone because it failed at its tasks.
    barred: bool,
    /// Whether its link to the coordinator is up.
    linked: bool,
    /// Thousandths of a processor that it lends.
    cpu_millis: u64,
    /// Memory that it lends.
    memory_bytes: u64,
    /// Thousandths of a processor that nothing is promised of.
    free_cpu_millis: u64,
    /// Memory that nothing is promised of.
    free_memory_bytes: u64,
    /// Fuel one of its processors burns in a second.
    fuel_per_second: u64,
    /// Base units it asks for 10⁹ fuel.
    price_per_gigafuel: u128,
    /// Time of a message to it and back.
    latency_ms: f64,
    /// How likely it is to finish what it takes, 0 to 1.
    trust: f64,
    /// Tasks it has.
    running: u32,
    /// Tasks that wait for it.
    waiting: u32,
    /// Where it is among the others, once round trips were measured.
    place: Option<FogPlace>,
}

value! {
    FogMember {
        id, layer, kind, address, status, barred, linked, cpu_millis, memory_bytes,
        free_cpu_millis, free_memory_bytes, fuel_per_second, price_per_gigafuel, latency_ms, trust,
        running, waiting, place,
    }

    #[new]
    #[expect(clippy::too_many_arguments, reason = "the fields")]
    fn new(
        id: Hex<NodeId>,
        layer: Option<Number<u8>>,
        kind: String,
        address: String,
        status: String,
        barred: bool,
        linked: bool,
        cpu_millis: Number<u64>,
        memory_bytes: Number<u64>,
        free_cpu_millis: Number<u64>,
        free_memory_bytes: Number<u64>,
        fuel_per_second: Number<u64>,
        price_per_gigafuel: Number<u128>,
        latency_ms: Number<f64>,
        trust: Number<f64>,
        running: Number<u32>,
        waiting: Number<u32>,
        place: Option<FogPlace>,
    ) -> Self {
        Self {
            id,
            layer: layer.map(|layer| layer.0),
            kind,
            address,
            status,
            barred,
            linked,
            cpu_millis: cpu_millis.0,
            memory_bytes: memory_bytes.0,
            free_cpu_millis: free_cpu_millis.0,
            free_memory_bytes: free_memory_bytes.0,
            fuel_per_second: fuel_per_second.0,
            price_per_gigafuel: price_per_gigafuel.0,
            latency_ms: latency_ms.0,
            trust: trust.0,
            running: running.0,
            waiting: waiting.0,
            place,
        }
    }
}

impl From<&TopologyNode> for FogMember {
    fn from(node: &TopologyNode) -> Self {
        let status = &node.status;
        Self {
            id: Hex(status.node),
            layer: fogcompute::mix_layer(status.role),
            kind: node.kind.name().to_owned(),
            address: status.address.to_string(),
            status: status.status.name().to_owned(),
            barred: status.barred,
            linked: node.linked,
            cpu_millis: status.cpu_millis,
            memory_bytes: status.memory_bytes,
            free_cpu_millis: node.free_cpu_millis,
            free_memory_bytes: node.free_memory_bytes,
            fuel_per_second: status.fuel_per_second,
            price_per_gigafuel: status.price_per_gigafuel.0,
            latency_ms: status.latency_ms,
            trust: status.trust,
            running: status.running,
            waiting: status.waiting,
            place: node.coordinate.map(FogPlace::from),
        }
    }
}

/// The compute nodes of a fog at one moment, in numbers.
#[pyclass(frozen, get_all, module = "fogcompute.fog")]
pub(crate) struct FogSnapshot {
    /// When, by the coordinator's clock.
    at_unix_ms: u64,
    /// How many of each kind, those that are gone included.
    kinds: Tuple<(String, usize)>,
    /// How many of each status.
    statuses: Tuple<(String, usize)>,
    /// Thousandths of a processor that those lend that are there.
    cpu_millis: u64,
    /// Memory that they lend.
    memory_bytes: u64,
    /// Thousandths of a processor that nothing is promised of.
    free_cpu_millis: u64,
    /// Memory that nothing is promised of.
    free_memory_bytes: u64,
    /// Tasks that run on them.
    running: usize,
    /// Tasks that wait for them.
    waiting: usize,
}

value! {
    FogSnapshot {
        at_unix_ms, kinds, statuses, cpu_millis, memory_bytes, free_cpu_millis, free_memory_bytes,
        running, waiting,
    }

    #[new]
    #[expect(clippy::too_many_arguments, reason = "the fields")]
    fn new(
        at_unix_ms: Number<u64>,
        kinds: Tuple<(String, usize)>,
        statuses: Tuple<(String, usize)>,
        cpu_millis: Number<u64>,
        memory_bytes: Number<u64>,
        free_cpu_millis: Number<u64>,
        free_memory_bytes: Number<u64>,
        running: Number<usize>,
        waiting: Number<usize>,
    ) -> Self {
        Self {
            at_unix_ms: at_unix_ms.0,
            kinds,
            statuses,
            cpu_millis: cpu_millis.0,
            memory_bytes: memory_bytes.0,
            free_cpu_millis: free_cpu_millis.0,
            free_memory_bytes: free_memory_bytes.0,
            running: running.0,
            waiting: waiting.0,
        }
    }
}

impl From<&Snapshot> for FogSnapshot {
    fn from(snapshot: &Snapshot) -> Self {
        let kinds = NodeKind::ALL.map(|kind| (kind.name().to_owned(), snapshot.of_kind(kind)));
        let statuses =
            Status::ALL.map(|status| (status.name().to_owned(), snapshot.of_status(status)));
        Self {
            at_unix_ms: snapshot.at.0,
            kinds: Tuple(kinds.into()),
            statuses: Tuple(statuses.into()),
            cpu_millis: snapshot.total.cpu_millis,
            memory_bytes: snapshot.total.memory_bytes,
            free_cpu_millis: snapshot.free.cpu_millis,
            free_memory_bytes: snapshot.free.memory_bytes,
            running: snapshot.running,
            waiting: snapshot.waiting,
        }
    }
}

/// What a fog looks like.
#[pyclass(frozen, get_all, module = "fogcompute.fog")]
pub(crate) struct FogTopology {
    /// When, by the coordinator's clock.
    at_unix_ms: u64,
    /// The coordinator, 64 hexadecimal digits.
    coordinator: Hex<NodeId>,
    /// Where the coordinator is among its nodes.
    place: FogPlace,
    /// Every node that is there.
    members: Py<PyTuple>,
    /// How it was before, the oldest first: at most 100 snapshots since the coordinator was started.
    history: Py<PyTuple>,
}

value! {
    FogTopology { at_unix_ms, coordinator, place, members, history }

    #[new]
    fn new(
        py: Python<'_>,
        at_unix_ms: Number<u64>,
        coordinator: Hex<NodeId>,
        place: FogPlace,
        members: Vec<Py<FogMember>>,
        history: Vec<Py<FogSnapshot>>,
    ) -> PyResult<Self> {
        Ok(Self {
            at_unix_ms: at_unix_ms.0,
            coordinator,
            place,
            members: PyTuple::new(py, members)?.unbind(),
            history: PyTuple::new(py, history)?.unbind(),
        })
    }
}

/// The facade's topology, until there is an interpreter to make Python's of it.
struct Topology(fogcompute::FogTopology);

impl<'py> IntoPyObject<'py> for Topology {
    type Target = FogTopology;
    type Output = Bound<'py, FogTopology>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let UnixMillis(at_unix_ms) = self.0.at;
        let members = self.0.nodes.iter().map(FogMember::from);
        let history = self.0.history.iter().map(FogSnapshot::from);
        let topology = FogTopology {
            at_unix_ms,
            coordinator: Hex(self.0.coordinator),
            place: self.0.coordinate.into(),
            members: PyTuple::new(py, members.collect::<Vec<_>>())?.unbind(),
            history: PyTuple::new(py, history.collect::<Vec<_>>())?.unbind(),
        };
        topology.into_pyobject(py)
    }
}

/// Asks the coordinator of a fog: submits jobs, fetches results, watches what happens, drains nodes.
///
/// Calls are awaited. The link is made at the first of them and again whenever it ends; what was not
/// answered is asked again, and nothing is done twice. A call that takes longer than `patience` raises
/// `CoordinatorUnreachableError` or `CoordinatorSilentError`.
///
/// `token` is the text of a token's file, as `FogCoordinator.issue_token` and
/// `fogcompute token issue` make it. Raises `TokenError`.
#[pyclass(frozen, weakref, module = "fogcompute.fog")]
pub(crate) struct FogClient(Handle<FogAccess>);

const PATIENCE: Span = Span(Duration::from_secs(30));

fn start(py: Python<'_>, config: FogClientConfig, patience: Span) -> PyResult<FogClient> {
    let config = FogClientConfig {
        patience: patience.0,
        ..config
    };
    let access = error::call(py, || Ok(FogAccess::start(config)?))?;
    Ok(FogClient(Handle::new("client of a fog", access)))
}

impl FogClient {
    fn ask<'py, T: Send + 'static, P: for<'a> IntoPyObject<'a>>(
        &self,
        py: Python<'py>,
        ask: impl FnOnce(&FogAccess) -> FogCall<T>,
        made: impl FnOnce(T) -> Result<P, fogcompute::Error> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = asyncio::event_loop(py)?;
        let call = ask(&*self.0.get(py)?);
        asyncio::awaitable(&event_loop, async { made(call.await?) })
    }
}

fn named<T>(py: Python<'_>, found: Result<T, fogcompute::Error>) -> PyResult<T> {
    found.map_err(|error| error::of_error(py, &error))
}

#[pymethods]
impl FogClient {
    #[new]
    #[pyo3(
        signature = (token, *, patience = PATIENCE),
        text_signature = "(token, *, patience=...)"
    )]
    fn new(py: Python<'_>, token: &str, patience: Span) -> PyResult<Self> {
        let config = error::call(py, || Ok(FogClientConfig::from_token(token)?))?;
        start(py, config, patience)
    }

    /// A client with the token in a file. Raises `TokenError`, `StorageError`.
    #[staticmethod]
    #[pyo3(
        signature = (path, *, patience = PATIENCE),
        text_signature = "(path, *, patience=...)"
    )]
    fn open(py: Python<'_>, path: PathBuf, patience: Span) -> PyResult<Self> {
        let config = error::call(py, || Ok(FogClientConfig::read(&path)?))?;
        start(py, config, patience)
    }

    /// Submits a job that runs a WebAssembly module once on each input; await how it stands, once it is
    /// on the coordinator's disk.
    ///
    /// Each task may cost `max_price` base units, which are reserved until it has ended.
    /// `fuel_estimate` is the work each will take, a tenth of its limit if it is not said. `priority` is
    /// `Priority.NORMAL` if it is not said. `privacy` is `public`, `private`, `confidential` or `secret`.
    /// `host_calls` lets tasks write a log, tell their progress and keep checkpoints. A job that is
    /// submitted again with its `id` is the same job. Raises `JobError`, `InfeasibleError` if no node
    /// could take a task of it, `CoordinatorBusyError`, `InsufficientFundsError`, `TokenUsedUpError`.
    #[pyo3(
        signature = (
            module,
            inputs,
            *,
            limits = None,
            priority = None,
            privacy = "private",
            max_price = Money(JobTerms::default().price_max),
            fuel_estimate = None,
            id = None,
            host_calls = false,
        ),
        text_signature = "($self, module, inputs, *, limits=None, priority=None, privacy=\"private\", \
                          max_price=1000000000000000000, fuel_estimate=None, id=None, host_calls=False)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        module: Buffer,
        inputs: Vec<Buffer>,
        limits: Option<Limits>,
        priority: Option<Priority>,
        privacy: &str,
        max_price: Money,
        fuel_estimate: Option<Number<u64>>,
        id: Option<Hex<JobId>>,
        host_calls: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let terms = JobTerms {
            job: id.map(|id| id.0),
            limits: Limits::or_default(limits),
            grants: Grants {
                host_calls,
                ..Grants::default()
            },
            fuel_estimate: fuel_estimate.map(|fuel| fuel.0),
            price_max: max_price.0,
            priority: priority.map_or(JobTerms::default().priority, |priority| priority.0),
            privacy: named(py, fogcompute::privacy_named(privacy))?,
        };
        let order = error::call(py, || {
            let inputs = inputs.iter().map(|input| input.to_vec());
            Ok(JobOrder::of(&Arc::from(&*module), inputs, &terms)?)
        })?;
        self.ask(
            py,
            |access| access.submit(order),
            |row| Ok(JobStatus::from(row)),
        )
    }

    /// Await how a job stands. Raises `UnknownTaskError`.
    fn job<'py>(&self, py: Python<'py>, job: Hex<JobId>) -> PyResult<Bound<'py, PyAny>> {
        self.ask(
            py,
            |access| access.job(job.0),
            |row| Ok(JobStatus::from(row)),
        )
    }

    /// Await the latest jobs of the account, at most `limit`, and never more than 1,000.
    #[pyo3(signature = (limit = Number(100)), text_signature = "($self, limit=100)")]
    fn jobs<'py>(&self, py: Python<'py>, limit: Number<u16>) -> PyResult<Bound<'py, PyAny>> {
        let rows = |rows: Vec<JobRow>| Ok(Tuple(rows.into_iter().map(JobStatus::from).collect()));
        self.ask(py, |access| access.jobs(limit.0), rows)
    }

    /// Await the end of all tasks of a job, and how it stands then. Raises `UnknownTaskError`.
    fn wait<'py>(&self, py: Python<'py>, job: Hex<JobId>) -> PyResult<Bound<'py, PyAny>> {
        self.ask(
            py,
            |access| access.ended(job.0),
            |row| Ok(JobStatus::from(row)),
        )
    }

    /// Await the tasks of a job, in the order of its inputs. Raises `UnknownTaskError`.
    fn tasks<'py>(&self, py: Python<'py>, job: Hex<JobId>) -> PyResult<Bound<'py, PyAny>> {
        let rows = |rows: Vec<TaskRow>| Ok(Tuple(rows.into_iter().map(JobTask::from).collect()));
        self.ask(py, |access| access.tasks(job.0), rows)
    }

    /// Await how a task stands. Raises `UnknownTaskError`.
    fn task<'py>(&self, py: Python<'py>, task: Hex<TaskId>) -> PyResult<Bound<'py, PyAny>> {
        self.ask(
            py,
            |access| access.task(task.0),
            |row| Ok(JobTask::from(row)),
        )
    }

    /// Await the output of a task that has ended.
    ///
    /// Raises the `TaskError` it ended with, `TaskOpenError` if it has not ended, `NoResultError` if it
    /// was cancelled, given up or is forgotten, `UnknownTaskError`.
    fn result<'py>(&self, py: Python<'py>, task: Hex<TaskId>) -> PyResult<Bound<'py, PyAny>> {
        let output = |report| fogcompute::output_of(report).map(Output);
        self.ask(py, |access| access.result(task.0), output)
    }

    /// Await what a task that has ended wrote to its log, the end of it if it was more than 64 KiB: empty
    /// if it wrote nothing, was granted no host calls, or its log is forgotten.
    ///
    /// Raises `TaskOpenError` if it has not ended, `UnknownTaskError`.
    fn log<'py>(&self, py: Python<'py>, task: Hex<TaskId>) -> PyResult<Bound<'py, PyAny>> {
        self.ask(py, |access| access.log(task.0), Ok)
    }

    /// Ends what has not ended of a job; await how many tasks that were. Raises `UnknownTaskError`.
    fn cancel<'py>(&self, py: Python<'py>, job: Hex<JobId>) -> PyResult<Bound<'py, PyAny>> {
        self.ask(py, |access| access.cancel(job.0), Ok)
    }

    /// Ends a task; await whether it had not ended. Raises `UnknownTaskError`.
    fn cancel_task<'py>(&self, py: Python<'py>, task: Hex<TaskId>) -> PyResult<Bound<'py, PyAny>> {
        self.ask(py, |access| access.cancel_task(task.0), Ok)
    }

    /// Gives a compute node no more tasks; it finishes what it has. Raises `UnknownNodeError`.
    fn drain<'py>(&self, py: Python<'py>, node: Hex<NodeId>) -> PyResult<Bound<'py, PyAny>> {
        self.ask(py, |access| access.drain(node.0), |()| Ok(Nothing))
    }

    /// Gives a compute node tasks again. Raises `UnknownNodeError`.
    fn undrain<'py>(&self, py: Python<'py>, node: Hex<NodeId>) -> PyResult<Bound<'py, PyAny>> {
        self.ask(py, |access| access.undrain(node.0), |()| Ok(Nothing))
    }

    /// Await what the fog looks like.
    fn topology<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.ask(py, FogAccess::topology, |topology| Ok(Topology(topology)))
    }

    /// Await what the coordinator counts, in the text format of Prometheus.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.ask(py, FogAccess::metrics, Ok)
    }

    /// Await the number of the last thing that happened.
    fn last_event<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.ask(py, FogAccess::last_event, Ok)
    }

    /// What happens to jobs of the account after the event of that number, for `async for`: by default
    /// everything that is remembered.
    ///
    /// Nothing is missed and nothing comes twice, also if the coordinator is started again meanwhile.
    #[pyo3(signature = (after = Number(0)), text_signature = "($self, after=0)")]
    fn watch(&self, py: Python<'_>, after: Number<u64>) -> PyResult<FogWatch> {
        let access = self.0.get(py)?;
        let watch = error::call(py, || Ok(access.watch(after.0)?))?;
        Ok(FogWatch(Handle::new("watch", watch)))
    }

    /// Ends the client: what was asked and not answered raises `ClosedError`, and watching ends. Closing
    /// again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let access = self.0.take();
        error::catch(py, || drop(access))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __aenter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        asyncio::enter(py, slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __aexit__<'py>(
        &self,
        py: Python<'py>,
        _exception: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        asyncio::exit(py, || self.0.take(), drop)
    }
}

/// What happens in a fog, in order: `async for event in watch`, until it or its client is closed.
///
/// An error ends the loop, for instance while the coordinator is away for longer than the client is
/// patient; another loop over the same object goes on where that was.
#[pyclass(frozen, weakref, module = "fogcompute.fog")]
pub(crate) struct FogWatch(Handle<fogcompute::FogWatch>);

#[pymethods]
impl FogWatch {
    /// The number of the last event that was received: another watch goes on behind it.
    #[getter]
    fn last(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.0.get(py)?.last())
    }

    /// The next event, if one is there. Raises what keeps it from watching.
    fn try_receive(&self, py: Python<'_>) -> PyResult<Option<FogEvent>> {
        let watch = self.0.get(py)?;
        let event = error::call(py, || Ok(watch.try_receive()?))?;
        Ok(event.map(|event| FogRecord::from(event).into()))
    }

    /// Await the next event. None is lost if that is cancelled.
    fn receive<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        asyncio::receive(slf.as_any())
    }

    fn _readable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        asyncio::readable(py, self.0.get(py)?.readable())
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        asyncio::receive_next(slf.as_any())
    }

    /// Watches no more. What has come can still be received, then receiving ends with `ClosedError`.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let watch = self.0.here();
        error::catch(py, || {
            if let Some(watch) = watch {
                watch.close();
            }
        })
    }
}

/// How a node of a fog is, as far as it can tell itself.
#[pyclass(frozen, get_all, module = "fogcompute.fog")]
pub(crate) struct FogNodeStatus {
    /// Whether its coordinator has let it in, on the link that is there now.
    joined: bool,
    /// Whether it lends compute now.
    lends: bool,
    /// Why it was not let in, or could not reach its coordinator, the last time that it tried.
    trouble: Option<String>,
    /// Whether it has ended.
    ended: bool,
}

value! {
    FogNodeStatus { joined, lends, trouble, ended }

    #[new]
    fn new(joined: bool, lends: bool, trouble: Option<String>, ended: bool) -> Self {
        Self { joined, lends, trouble, ended }
    }
}

/// A node of a fog in this process: it runs the fog's tasks when its policy allows it, or with `layer`
/// mixes packets in that layer.
///
/// It dials the coordinator until that lets it in, and again whenever the link ends. Its key and what it
/// was at are in the folder `data`; a node that is made again with it goes on.
///
/// Starts a node.
///
/// `coordinator` and `coordinator_id` are what the coordinator says of itself. It lends by `policy`, the
/// usual one if it is not said, and what `probe` reads, the device's own sensors if it is not said: an
/// object with a method `read`. Raises `ListenError`, `PolicyError`, `ArgumentError`, `StorageError`.
#[pyclass(frozen, weakref, module = "fogcompute.fog")]
pub(crate) struct FogNode(Handle<fogcompute::FogNode>);

#[pymethods]
impl FogNode {
    #[new]
    #[pyo3(
        signature = (
            coordinator,
            coordinator_id,
            data,
            *,
            layer = None,
            listen = "127.0.0.1:0",
            policy = None,
            probe = None,
            price_per_gigafuel = Money(Amount::from_credits(1)),
            heartbeat = Span(Duration::from_secs(30)),
            nodes_on_machine = Number(1),
        ),
        text_signature = "(coordinator, coordinator_id, data, *, layer=None, \
                          listen=\"127.0.0.1:0\", policy=None, probe=None, \
                          price_per_gigafuel=1000000000000000000, \
                          heartbeat=..., nodes_on_machine=1)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        coordinator: &str,
        coordinator_id: Hex<NodeId>,
        data: PathBuf,
        layer: Option<Number<u8>>,
        listen: &str,
        policy: Option<Py<HarvestPolicy>>,
        probe: Option<Py<PyAny>>,
        price_per_gigafuel: Money,
        heartbeat: Span,
        nodes_on_machine: Number<u16>,
    ) -> PyResult<Self> {
        let usual = NodeConfig::new(address(py, coordinator)?, coordinator_id.0, data);
        let config = NodeConfig {
            role: fogcompute::role_of(layer.map(|layer| layer.0)),
            listen: address(py, listen)?,
            policy: policy.map_or(usual.policy, |policy| policy.get().0.clone()),
            price_per_gigafuel: price_per_gigafuel.0,
            heartbeat: heartbeat.0,
            nodes_on_machine: NonZeroU16::new(nodes_on_machine.0)
                .ok_or_else(|| error::argument(py, "nodes_on_machine is 0"))?,
            ..usual
        };
        let probe = probe.map(|probe| -> Box<dyn DeviceProbe> { Box::new(Probe(probe)) });
        let node = error::call(py, || Ok(fogcompute::FogNode::start(config, probe)?))?;
        Ok(Self(Handle::new("node", node)))
    }

    /// Who it is, 64 hexadecimal digits.
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<Hex<NodeId>> {
        Ok(Hex(self.0.get(py)?.id()))
    }

    /// Where it accepts links.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<String> {
        let address: SocketAddr = self.0.get(py)?.address();
        Ok(address.to_string())
    }

    /// How it is. Raises why it could not go on, once.
    fn status(&self, py: Python<'_>) -> PyResult<FogNodeStatus> {
        let node = self.0.get(py)?;
        let status = error::call(py, || Ok(node.status()?))?;
        Ok(FogNodeStatus {
            joined: status.joined,
            lends: status.lends,
            trouble: status.trouble,
            ended: status.ended,
        })
    }

    /// Await that its coordinator has let it in. Raises why it could not go on, and `ClosedError`.
    fn joined<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = asyncio::event_loop(py)?;
        let joined = self.0.get(py)?.joined();
        asyncio::awaitable(&event_loop, async {
            joined.await?;
            Ok(Nothing)
        })
    }

    /// Ends the node. Its tasks go on when it is made again with the same data. Closing again does
    /// nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let node = self.0.take();
        error::catch(py, || drop(node))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __aenter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        asyncio::enter(py, slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __aexit__<'py>(
        &self,
        py: Python<'py>,
        _exception: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        asyncio::exit(py, || self.0.take(), drop)
    }
}

/// The coordinator of a fog in this process. Everything it knows is in the folder `data`: made again with
/// it, also after a crash, and also by the command `fogcompute coordinator run`, it goes on.
///
/// Starts a coordinator.
///
/// Tasks cross one mixnode of each of `layers`, which holds each packet for `delay` in the mean.
/// `placement` is `optimised`, `round_robin`, `least_loaded`, `affinity`, `proximity`, `privacy_aware`
/// or `random`. Its owner's account begins with `endowment` base units, a million credits if it is not
/// said. Raises `ListenError`, `ArgumentError`, `StorageError`.
#[pyclass(frozen, weakref, module = "fogcompute.fog")]
pub(crate) struct FogCoordinator(Handle<fogcompute::FogCoordinator>);

#[pymethods]
impl FogCoordinator {
    #[new]
    #[pyo3(
        signature = (
            data,
            *,
            listen = "127.0.0.1:0",
            layers = Number(1),
            delay = Span(Duration::from_millis(5)),
            placement = "least_loaded",
            endowment = None,
            nodes_max = Number(256),
        ),
        text_signature = "(data, *, listen=\"127.0.0.1:0\", layers=1, \
                          delay=..., \
                          placement=\"least_loaded\", endowment=None, nodes_max=256)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        data: PathBuf,
        listen: &str,
        layers: Number<u8>,
        delay: Span,
        placement: &str,
        endowment: Option<Money>,
        nodes_max: Number<usize>,
    ) -> PyResult<Self> {
        let config = FogCoordinatorConfig {
            listen: address(py, listen)?,
            layers: layers.0,
            delay_mean: delay.0,
            placement: named(py, fogcompute::placement_named(placement))?,
            endowment: endowment.map(|amount| amount.0),
            nodes_max: nodes_max.0,
            ..FogCoordinatorConfig::new(data)
        };
        let fog = error::call(py, || Ok(fogcompute::FogCoordinator::start(config)?))?;
        Ok(Self(Handle::new("coordinator", fog)))
    }

    /// Who it is, 64 hexadecimal digits.
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<Hex<NodeId>> {
        Ok(Hex(self.0.get(py)?.id()))
    }

    /// Where it accepts links of nodes and submitters.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.0.get(py)?.address().to_string())
    }

    /// Its owner's account, 32 hexadecimal digits.
    #[getter]
    fn account(&self, py: Python<'_>) -> PyResult<Hex<AccountId>> {
        Ok(Hex(self.0.get(py)?.account()))
    }

    /// Why it cannot write down what happens, and admits nothing, if it cannot. Raises why it could not
    /// go on, once.
    #[getter]
    fn trouble(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let fog = self.0.get(py)?;
        error::call(py, || Ok(fog.trouble()?))
    }

    /// Issues a token with a key of its own: the text of a token's file. Whoever has it may ask the
    /// coordinator for what it grants.
    ///
    /// `actions` are of `submit`, `cancel`, `query`, `drain` and `maintain`; without them the first three.
    /// At most `tasks_max` tasks may be submitted with it, and `max_spend` base units reserved for them,
    /// on the `account` of the owner if no other is said. It is good for 30 days if `valid_for` does not
    /// say otherwise.
    #[pyo3(
        signature = (
            *,
            actions = None,
            tasks_max = Number(TokenTerms::default().tasks_max),
            max_spend = Money(TokenTerms::default().spend_max),
            valid_for = None,
            account = None,
        ),
        text_signature = "($self, *, actions=None, tasks_max=1000000, \
                          max_spend=1000000000000000000000, valid_for=None, account=None)"
    )]
    fn issue_token(
        &self,
        py: Python<'_>,
        actions: Option<Vec<String>>,
        tasks_max: Number<u64>,
        max_spend: Money,
        valid_for: Option<Span>,
        account: Option<Hex<AccountId>>,
    ) -> PyResult<String> {
        let fog = self.0.get(py)?;
        let usual = TokenTerms::default();
        let actions = actions.map(|names| {
            let actions = names.iter().map(|name| fogcompute::action_named(name));
            actions.collect::<Result<_, _>>()
        });
        let terms = TokenTerms {
            account: account.map(|account| account.0),
            actions: named(py, actions.transpose())?.unwrap_or(usual.actions),
            tasks_max: tasks_max.0,
            spend_max: max_spend.0,
            valid_for: valid_for.map_or(usual.valid_for, |span| span.0),
        };
        error::call(py, || Ok(fog.issue(&terms)?))
    }

    /// Ends the coordinator. Jobs go on when it is made again with the same data. Closing again does
    /// nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let fog = self.0.take();
        error::catch(py, || drop(fog))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __aenter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        asyncio::enter(py, slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __aexit__<'py>(
        &self,
        py: Python<'py>,
        _exception: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        asyncio::exit(py, || self.0.take(), drop)
    }
}
