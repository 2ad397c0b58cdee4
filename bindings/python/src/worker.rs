//! Tasks that this device keeps and does when its owner permits.

use std::path::PathBuf;
use std::time::Duration;

use fogcompute::base::Instant;
use fogcompute::exec::IdempotencyKey;
use fogcompute::exec::executor::Permission;
use fogcompute::harvest::DeviceProbe;
use fogcompute::{ProbeError, TaskId, WorkerConfig, WorkerHarvest, WorkerHost, WorkerJob};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyAny, PyTuple};

use crate::convert::{Buffer, Bytes, Hex, Number, Span, Tuple};
use crate::fog::{Limits, Output, TaskOutput};
use crate::handle::{Handle, Origin};
use crate::policy::{DeviceState, HarvestPolicy, Reason};
use crate::value::value;
use crate::{asyncio, error};

/// Where a task of a worker is.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct TaskStatus {
    /// `queued`, `running`, `suspended`, `succeeded`, `failed` and so on.
    state: String,
    /// Attempts that were begun.
    attempts: u32,
    /// Attempts that failed or vanished.
    failures: u32,
    /// Attempts that made way for the device's owner.
    preemptions: u32,
    /// Number of its last checkpoint, from 1; 0 without one.
    checkpoints: u64,
    /// How much the running attempt says is done, 0 to 1: not to be trusted.
    fraction_done: f64,
    /// Log that was kept.
    log_bytes: u64,
}

value! {
    TaskStatus {
        state, attempts, failures, preemptions, checkpoints, fraction_done, log_bytes,
    }

    #[new]
    fn new(
        state: String,
        attempts: Number<u32>,
        failures: Number<u32>,
        preemptions: Number<u32>,
        checkpoints: Number<u64>,
        fraction_done: Number<f64>,
        log_bytes: Number<u64>,
    ) -> Self {
        Self {
            state,
            attempts: attempts.0,
            failures: failures.0,
            preemptions: preemptions.0,
            checkpoints: checkpoints.0,
            fraction_done: fraction_done.0,
            log_bytes: log_bytes.0,
        }
    }
}

/// How a worker is.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct WorkerStatus {
    /// Whether tasks may run now.
    lends: bool,
    /// Tasks that may run at a time now.
    slots: u32,
    /// Part of a processor that each of them may take, 0 to 1.
    cpu_share: f64,
    /// What the policy makes of the device: `idle`, `running`, `throttled`, `suspended`, `vacating`
    /// or `cooldown`; `None` without a policy, or before the first reading.
    state: Option<String>,
    /// Why.
    reasons: Py<PyTuple>,
    /// Readings that were looked at.
    readings: u64,
    /// What the probe raised, if the last reading failed.
    probe_error: Option<String>,
    /// Why the file cannot be written now, if it cannot.
    store_error: Option<String>,
    /// Tasks that have not ended.
    open: usize,
    /// Tasks that run or are suspended.
    running: usize,
    /// Sessions ever begun under a policy.
    sessions: u64,
    /// How long compute was ever lent under a policy.
    lent: Span,
}

value! {
    WorkerStatus {
        lends,
        slots,
        cpu_share,
        state,
        reasons,
        readings,
        probe_error,
        store_error,
        open,
        running,
        sessions,
        lent,
    }

    #[new]
    #[expect(clippy::too_many_arguments, reason = "the fields")]
    fn new(
        py: Python<'_>,
        lends: bool,
        slots: Number<u32>,
        cpu_share: Number<f64>,
        state: Option<String>,
        reasons: Vec<Py<Reason>>,
        readings: Number<u64>,
        probe_error: Option<String>,
        store_error: Option<String>,
        open: Number<usize>,
        running: Number<usize>,
        sessions: Number<u64>,
        lent: Span,
    ) -> PyResult<Self> {
        let reasons = PyTuple::new(py, reasons)?.unbind();
        Ok(Self {
            lends,
            slots: slots.0,
            cpu_share: cpu_share.0,
            state,
            reasons,
            readings: readings.0,
            probe_error,
            store_error,
            open: open.0,
            running: running.0,
            sessions: sessions.0,
            lent,
        })
    }
}

impl WorkerStatus {
    fn from_facade(py: Python<'_>, status: &fogcompute::WorkerStatus) -> PyResult<Self> {
        let (lends, slots, permille) = match status.permission {
            Permission::Run(budget) => (true, budget.slots, budget.cpu_permille),
            Permission::Suspend | Permission::Vacate | Permission::Stop => (false, 0, 0),
        };
        let answer = status.answer.as_ref();
        let reasons = answer.map(|answer| answer.reasons.as_slice());
        let reasons = reasons.unwrap_or_default().iter().map(Reason::from_facade);
        Ok(Self {
            lends,
            slots,
            cpu_share: f64::from(permille) / 1_000.0,
            state: answer.map(|answer| answer.state.to_string()),
            reasons: PyTuple::new(py, reasons.collect::<Vec<_>>())?.unbind(),
            readings: status.readings,
            probe_error: status.probe_error.as_ref().map(ToString::to_string),
            store_error: status.store_error.as_ref().map(ToString::to_string),
            open: status.open,
            running: status.running,
            sessions: status.record.map_or(0, |record| record.sessions),
            lent: Span(status.record.map_or(Duration::ZERO, |record| record.lent)),
        })
    }
}

/// A piece of a task's log.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct TaskLog {
    /// The bytes.
    data: Bytes,
    /// Where the next piece begins, from the log's beginning.
    next: u64,
    /// Nothing will follow.
    ended: bool,
}

value! {
    TaskLog { data, next, ended }

    #[new]
    fn new(data: Bytes, next: Number<u64>, ended: bool) -> Self {
        Self { data, next: next.0, ended }
    }
}

/// The facade's piece, until there is an interpreter to make Python's of it.
struct Log(fogcompute::WorkerLog);

impl<'py> IntoPyObject<'py> for Log {
    type Target = TaskLog;
    type Output = Bound<'py, TaskLog>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let log = TaskLog {
            data: Bytes::new(py, &self.0.bytes),
            next: self.0.next,
            ended: self.0.ended,
        };
        log.into_pyobject(py)
    }
}

/// A device probe written in Python. What it raises is a reading that failed.
pub(crate) struct Probe(pub(crate) Py<PyAny>);

impl DeviceProbe for Probe {
    fn read(&mut self, now: Instant) -> Result<fogcompute::DeviceState, ProbeError> {
        // Without an interpreter there is nobody to ask.
        let read = Python::try_attach(|py| {
            let reading = self.0.bind(py).call_method0(intern!(py, "read"))?;
            let state = reading.cast::<DeviceState>()?;
            Ok(fogcompute::DeviceState {
                read_at: now,
                ..state.get().to_facade()
            })
        });
        read.ok_or(ProbeError::Unavailable)?
            .map_err(|exception: PyErr| ProbeError::Host {
                reason: exception.to_string(),
            })
    }
}

/// A task of a worker: await its output, or wait for it on a thread, as often as you like.
///
/// It is the worker's: forgetting this object does not end it.
#[pyclass(frozen, weakref, module = "fogcompute")]
pub(crate) struct WorkerTask {
    id: TaskId,
    origin: Origin,
    worker: Py<Worker>,
}

impl WorkerTask {
    fn worker(&self, py: Python<'_>) -> PyResult<std::sync::Arc<fogcompute::Worker>> {
        self.origin.check(py, "task")?;
        self.worker.get().0.get(py)
    }
}

#[pymethods]
impl WorkerTask {
    /// The task's id, 32 hexadecimal digits, under which `Worker.task` finds it again.
    #[getter]
    fn id(&self) -> Hex<TaskId> {
        Hex(self.id)
    }

    /// Where the task is.
    fn status(&self, py: Python<'_>) -> PyResult<TaskStatus> {
        let worker = self.worker(py)?;
        let status = error::call(py, || Ok(worker.task(self.id).wait()?))?;
        Ok(TaskStatus {
            state: status.state.name().to_owned(),
            attempts: status.attempts,
            failures: status.failures,
            preemptions: status.preemptions,
            checkpoints: status.checkpoints,
            fraction_done: f64::from(status.permille) / 1_000.0,
            log_bytes: status.log_bytes,
        })
    }

    /// Ends the task: its output is a `CancelledError` from now on.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let worker = self.worker(py)?;
        error::call(py, || Ok(worker.cancel(self.id).wait()?))
    }

    /// Waits for the output on this thread. Raises `TaskError`.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, TaskOutput>> {
        let output = self.worker(py)?.output(self.id);
        asyncio::wait(py, async { Ok(Output(output.await?)) })?.into_pyobject(py)
    }

    /// The output of a task that has ended; raises `TaskOpenError` before.
    fn fetch<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, TaskOutput>> {
        let worker = self.worker(py)?;
        let output = error::call(py, || Ok(worker.fetch(self.id).wait()?))?;
        Output(output).into_pyobject(py)
    }

    /// At most `bytes_max` bytes of the log from byte `start` on: as soon as there are some, or the
    /// task has ended.
    #[pyo3(
        signature = (start = Number(0), bytes_max = Number(65_536)),
        text_signature = "($self, start=0, bytes_max=65536)"
    )]
    fn read_log<'py>(
        &self,
        py: Python<'py>,
        start: Number<u64>,
        bytes_max: Number<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = asyncio::event_loop(py)?;
        let log = self.worker(py)?.log(self.id, start.0, bytes_max.0);
        asyncio::awaitable(&event_loop, async { Ok(Log(log.await?)) })
    }

    /// The lines of the log while the task writes them, for `async for`.
    fn log<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static LINES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        LINES
            .import(slf.py(), "fogcompute._tasks", "lines")?
            .call1((slf,))
    }

    fn __await__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = asyncio::event_loop(py)?;
        let output = self.worker(py)?.output(self.id);
        let output = async { Ok(Output(output.await?)) };
        asyncio::awaitable(&event_loop, output)?.call_method0("__await__")
    }

    fn __repr__(&self) -> String {
        format!("<fogcompute.WorkerTask {}>", self.id)
    }
}

/// The tasks of this device: kept in a file, run in sandboxes, when the device's owner permits.
///
/// What `submit` has returned is on disk. A worker that is made again with its file, also after a
/// crash, goes on with its tasks from their last checkpoints. Without `path` they are in memory.
///
/// With a `policy` or a `probe`, tasks run only while the policy allows it: they are slowed down,
/// suspended, and make way. Without `policy` it is that of the device's class, without `probe` the
/// device is read by its own sensors. A probe that raises makes the device unknown, and one that
/// blocks makes its last reading grow old.
#[pyclass(frozen, weakref, module = "fogcompute")]
pub(crate) struct Worker(Handle<fogcompute::Worker>);

impl Worker {
    fn hand_in(
        slf: &Bound<'_, Self>,
        module: &Buffer,
        inputs: Vec<Vec<u8>>,
        limits: Option<Limits>,
        key: Option<&str>,
    ) -> PyResult<Vec<WorkerTask>> {
        let py = slf.py();
        let worker = slf.get().0.get(py)?;
        let key = key
            .map(IdempotencyKey::new)
            .transpose()
            .map_err(|error| error::argument(py, format!("key: {error}")))?;
        let limits = Limits::or_default(limits);
        let submitted = error::call(py, || {
            let job = WorkerJob {
                limits,
                key,
                ..WorkerJob::new(&**module, inputs)
            };
            Ok(worker.submit(job).wait()?)
        })?;
        let tasks = submitted.task_ids().map(|id| WorkerTask {
            id,
            origin: Origin::here(),
            worker: slf.clone().unbind(),
        });
        Ok(tasks.collect())
    }
}

#[pymethods]
impl Worker {
    #[new]
    #[pyo3(
        signature = (
            path = None,
            *,
            slots = None,
            memory_bytes = Number(WorkerConfig::default().memory_bytes),
            policy = None,
            probe = None,
            reading_every = Span(Duration::from_secs(1)),
        ),
        text_signature = "(path=None, *, slots=None, memory_bytes=4294967296, policy=None, \
                          probe=None, reading_every=...)"
    )]
    fn new(
        py: Python<'_>,
        path: Option<PathBuf>,
        slots: Option<Number<u32>>,
        memory_bytes: Number<u64>,
        policy: Option<Py<HarvestPolicy>>,
        probe: Option<Py<PyAny>>,
        reading_every: Span,
    ) -> PyResult<Self> {
        let config = WorkerConfig {
            path,
            slots: slots.map_or(WorkerConfig::default().slots, |slots| slots.0),
            memory_bytes: memory_bytes.0,
            ..WorkerConfig::default()
        };
        let harvest = (policy.is_some() || probe.is_some()).then(|| {
            let probe: Box<dyn DeviceProbe> = match probe {
                Some(probe) => Box::new(Probe(probe)),
                None => Box::new(fogcompute::node::Device::new()),
            };
            WorkerHarvest {
                reading_every: reading_every.0,
                ..WorkerHarvest::new(policy.map(|policy| policy.get().0.clone()), probe)
            }
        });
        let host = WorkerHost {
            harvest,
            ..WorkerHost::default()
        };
        let worker = error::call(py, || Ok(fogcompute::Worker::start(config, host)?))?;
        Ok(Self(Handle::new("worker", worker)))
    }

    /// Hands a task in: a WebAssembly module (ABI `fog-task`) and its input. Returns when it is on
    /// disk; await the task for its output.
    ///
    /// Handed in again with its `key`, it is the same task. Raises `ArgumentError`, `StorageError`.
    #[pyo3(signature = (module, data, *, limits = None, key = None))]
    fn submit(
        slf: &Bound<'_, Self>,
        module: Buffer,
        data: Buffer,
        limits: Option<Limits>,
        key: Option<&str>,
    ) -> PyResult<WorkerTask> {
        let tasks = Self::hand_in(slf, &module, vec![data.to_vec()], limits, key)?;
        let task = tasks.into_iter().next();
        Ok(task.expect("a job of one input has one task"))
    }

    /// Hands in a task for each input, all or none.
    #[pyo3(signature = (module, inputs, *, limits = None, key = None))]
    fn submit_all(
        slf: &Bound<'_, Self>,
        module: Buffer,
        inputs: Vec<Buffer>,
        limits: Option<Limits>,
        key: Option<&str>,
    ) -> PyResult<Tuple<WorkerTask>> {
        let inputs = inputs.iter().map(|input| input.to_vec()).collect();
        Self::hand_in(slf, &module, inputs, limits, key).map(Tuple)
    }

    /// Runs a task and waits for its output on this thread.
    #[pyo3(signature = (module, data, *, limits = None))]
    fn run_blocking<'py>(
        slf: &Bound<'py, Self>,
        module: Buffer,
        data: Buffer,
        limits: Option<Limits>,
    ) -> PyResult<Bound<'py, TaskOutput>> {
        Self::submit(slf, module, data, limits, None)?.wait(slf.py())
    }

    /// Runs a module on every input; await the outputs, in the order of the inputs.
    ///
    /// `progress` is called with how many have ended and how many there are, or is `True` for a bar
    /// on the standard error. Raises the first error, and cancels what is left then.
    #[pyo3(signature = (module, inputs, *, limits = None, progress = None))]
    fn map<'py>(
        slf: &Bound<'py, Self>,
        module: Bound<'py, PyAny>,
        inputs: Bound<'py, PyAny>,
        limits: Option<Bound<'py, PyAny>>,
        progress: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        run_all(slf.as_any(), module, inputs, limits, progress)
    }

    /// The task of that id, whoever handed it in. Raises `UnknownTaskError`.
    fn task(slf: &Bound<'_, Self>, id: Hex<TaskId>) -> PyResult<WorkerTask> {
        let py = slf.py();
        let worker = slf.get().0.get(py)?;
        error::call(py, || Ok(worker.task(id.0).wait()?))?;
        Ok(WorkerTask {
            id: id.0,
            origin: Origin::here(),
            worker: slf.clone().unbind(),
        })
    }

    /// How the worker is.
    fn status(&self, py: Python<'_>) -> PyResult<WorkerStatus> {
        let worker = self.0.get(py)?;
        let status = error::call(py, || Ok(worker.status().wait()?))?;
        WorkerStatus::from_facade(py, &status)
    }

    /// Goes on under another policy. Without effect on a worker that was made without one.
    fn set_policy(&self, py: Python<'_>, policy: &HarvestPolicy) -> PyResult<()> {
        let worker = self.0.get(py)?;
        error::call(py, || Ok(worker.set_policy(policy.0.clone()).wait()?))
    }

    /// Reads the device now, and not only when it is due.
    fn look(&self, py: Python<'_>) -> PyResult<()> {
        let worker = self.0.get(py)?;
        error::catch(py, || worker.look())
    }

    /// Stops running tasks, which go on when the worker is made again, and closes the file. Closing
    /// again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let worker = self.0.take();
        error::catch(py, || close(worker.as_deref()))
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
        asyncio::exit(py, || self.0.take(), |worker| close(worker.as_deref()))
    }
}

fn close(worker: Option<&fogcompute::Worker>) {
    if let Some(worker) = worker {
        worker.close();
    }
}

/// `map` of a fog or a worker, which is written in Python.
pub(crate) fn run_all<'py>(
    fog: &Bound<'py, PyAny>,
    module: Bound<'py, PyAny>,
    inputs: Bound<'py, PyAny>,
    limits: Option<Bound<'py, PyAny>>,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    static RUN_ALL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    RUN_ALL
        .import(fog.py(), "fogcompute._tasks", "run_all")?
        .call1((fog, module, inputs, limits, progress))
}
