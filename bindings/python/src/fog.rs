//! A fog in this process.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use fogcompute::{Amount, Error, FogCanceller, FogConfig, TaskId, TaskSpec};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::{Buffer, Bytes, Hex, Number, Span};
use crate::handle::{Handle, Origin};
use crate::value::value;
use crate::worker::run_all;
use crate::{asyncio, error};

/// What a task may use before it is stopped.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Limits {
    /// Work, about one unit for each simple instruction. At least 1.
    fuel: u64,
    /// Linear memory and tables together: 64 KiB to 4 GiB.
    memory_bytes: u64,
    /// Output: at most 1 MiB.
    output_bytes: u64,
    /// Log that is kept: at most 1 MiB. What is over it is dropped, and the task goes on.
    log_bytes: u64,
    /// Time, that in suspension left out: from 1 ms to a year. None leaves it to the fuel.
    wall: Option<Span>,
}

value! {
    Limits { fuel, memory_bytes, output_bytes, log_bytes, wall }

    #[new]
    #[pyo3(
        signature = (
            *,
            fuel = Number(fogcompute::Limits::default().fuel),
            memory_bytes = Number(fogcompute::Limits::default().memory_bytes),
            output_bytes = Number(fogcompute::Limits::default().output_bytes),
            log_bytes = Number(fogcompute::Limits::default().log_bytes),
            wall = None,
        ),
        text_signature = "(*, fuel=1000000000, memory_bytes=67108864, output_bytes=1048576, \
                          log_bytes=65536, wall=None)"
    )]
    fn new(
        fuel: Number<u64>,
        memory_bytes: Number<u64>,
        output_bytes: Number<u64>,
        log_bytes: Number<u64>,
        wall: Option<Span>,
    ) -> Self {
        Self {
            fuel: fuel.0,
            memory_bytes: memory_bytes.0,
            output_bytes: output_bytes.0,
            log_bytes: log_bytes.0,
            wall,
        }
    }
}

impl Limits {
    pub(crate) fn or_default(limits: Option<Self>) -> fogcompute::Limits {
        limits.map_or_else(fogcompute::Limits::default, |limits| fogcompute::Limits {
            fuel: limits.fuel,
            memory_bytes: limits.memory_bytes,
            output_bytes: limits.output_bytes,
            log_bytes: limits.log_bytes,
            wall: limits.wall.map(|wall| wall.0),
        })
    }
}

/// What a task used.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Usage {
    /// Work done: the same wherever the task runs.
    fuel: u64,
    /// Most memory held at once.
    memory_bytes_peak: u64,
    /// Wall time: differs from run to run.
    wall: Span,
}

value! {
    Usage { fuel, memory_bytes_peak, wall }

    #[new]
    fn new(fuel: Number<u64>, memory_bytes_peak: Number<u64>, wall: Span) -> Self {
        Self {
            fuel: fuel.0,
            memory_bytes_peak: memory_bytes_peak.0,
            wall,
        }
    }
}

/// The result of a task that succeeded.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct TaskOutput {
    /// What the task returned.
    output: Bytes,
    /// What it used.
    usage: Usage,
}

value! {
    TaskOutput { output, usage }

    #[new]
    fn new(output: Bytes, usage: Usage) -> Self {
        Self { output, usage }
    }
}

/// The facade's output, until there is an interpreter to make Python's of it.
pub(crate) struct Output(pub(crate) fogcompute::TaskOutput);

impl<'py> IntoPyObject<'py> for Output {
    type Target = TaskOutput;
    type Output = Bound<'py, TaskOutput>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let output = TaskOutput {
            output: Bytes::new(py, &self.0.output),
            usage: Usage {
                fuel: self.0.usage.fuel,
                memory_bytes_peak: self.0.usage.memory_bytes_peak,
                wall: Span(self.0.usage.wall),
            },
        };
        output.into_pyobject(py)
    }
}

/// What a fog has done so far.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct FogStats {
    /// Tasks that ended with an output.
    succeeded: u64,
    /// Tasks that ended otherwise.
    failed: u64,
    /// What the owner can still spend, in base units.
    available: u128,
    /// What was paid to workers, in base units.
    paid: u128,
}

value! {
    FogStats { succeeded, failed, available, paid }

    #[new]
    fn new(
        succeeded: Number<u64>,
        failed: Number<u64>,
        available: Number<u128>,
        paid: Number<u128>,
    ) -> Self {
        Self {
            succeeded: succeeded.0,
            failed: failed.0,
            available: available.0,
            paid: paid.0,
        }
    }
}

/// Cancels a task unless it has ended: a future that is dropped was given up by whoever awaited it.
struct CancelOnDrop(Option<FogCanceller>);

impl CancelOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(canceller) = &self.0 {
            canceller.cancel();
        }
    }
}

fn output_of(task: fogcompute::FogTask) -> impl Future<Output = Result<Output, Error>> + Send {
    // Made here and not by the first poll: a future may be dropped before that.
    let guard = CancelOnDrop(Some(task.canceller()));
    async move {
        let output = task.await;
        guard.disarm();
        Ok(Output(output?))
    }
}

/// A task of a fog: await it, or wait for it on a thread, once; or cancel it.
#[pyclass(frozen, weakref, module = "fogcompute")]
pub(crate) struct FogTask {
    /// The task's id, 32 hexadecimal digits.
    id: TaskId,
    origin: Origin,
    canceller: FogCanceller,
    /// Until somebody waits for it.
    task: Mutex<Option<fogcompute::FogTask>>,
}

impl FogTask {
    fn take(&self, py: Python<'_>) -> PyResult<fogcompute::FogTask> {
        self.origin.check(py, "task")?;
        self.task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .ok_or_else(|| PyRuntimeError::new_err("the task is already being waited for"))
    }
}

#[pymethods]
impl FogTask {
    /// The task's id, 32 hexadecimal digits.
    #[getter]
    fn id(&self) -> Hex<TaskId> {
        Hex(self.id)
    }

    /// Asks the task to stop: it ends with `CancelledError` unless it ends otherwise first.
    fn cancel(&self) {
        self.canceller.cancel();
    }

    /// Waits for the output on this thread. Ctrl-C cancels the task. Raises `TaskError`.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, TaskOutput>> {
        asyncio::wait(py, output_of(self.take(py)?))?.into_pyobject(py)
    }

    fn __await__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = asyncio::event_loop(py)?;
        asyncio::awaitable(&event_loop, output_of(self.take(py)?))?.call_method0("__await__")
    }

    fn __repr__(&self) -> String {
        format!("<fogcompute.FogTask {}>", self.id)
    }
}

/// A fog inside this process: worker threads with sandboxes, a coordinator, and a ledger.
///
/// Tasks are reserved for, placed, run and paid for as in a fog of many machines.
///
/// Starts a fog of 1 to 1024 workers.
///
/// `endowment` is what its owner starts with and `price_per_gigafuel` what a worker asks for 10**9
/// fuel, both in base units; `memory_bytes` is what each worker lends; `seed` is that of the
/// optimiser which places tasks.
#[pyclass(frozen, weakref, module = "fogcompute")]
pub(crate) struct Fog(Handle<fogcompute::Fog>);

impl Fog {
    fn hand_in(
        &self,
        py: Python<'_>,
        module: &Buffer,
        data: &Buffer,
        limits: Option<Limits>,
    ) -> PyResult<fogcompute::FogTask> {
        let fog = self.0.get(py)?;
        let limits = Limits::or_default(limits);
        error::call(py, || {
            let spec = TaskSpec::new(&**module, &**data, limits)?;
            Ok(fog.submit(spec)?)
        })
    }
}

#[pymethods]
impl Fog {
    #[new]
    #[pyo3(
        signature = (
            workers = Number(FogConfig::default().workers),
            *,
            endowment = Number(FogConfig::default().endowment.0),
            price_per_gigafuel = Number(FogConfig::default().price_per_gigafuel.0),
            memory_bytes = Number(FogConfig::default().memory_bytes),
            seed = Number(FogConfig::default().seed),
        ),
        text_signature = "(workers=2, *, endowment=1000000000000000000000000, \
                          price_per_gigafuel=1000000000000000000, memory_bytes=1073741824, seed=0)"
    )]
    fn new(
        py: Python<'_>,
        workers: Number<usize>,
        endowment: Number<u128>,
        price_per_gigafuel: Number<u128>,
        memory_bytes: Number<u64>,
        seed: Number<u64>,
    ) -> PyResult<Self> {
        let config = FogConfig {
            workers: workers.0,
            endowment: Amount(endowment.0),
            price_per_gigafuel: Amount(price_per_gigafuel.0),
            memory_bytes: memory_bytes.0,
            seed: seed.0,
        };
        let fog = error::call(py, || Ok(fogcompute::Fog::new(config)?))?;
        Ok(Self(Handle::new("fog", fog)))
    }

    /// Runs a WebAssembly module (ABI `fog-task/1`) on `data`; await its output.
    ///
    /// To cancel what awaits it cancels the task. Raises `TaskError`, `ClosedError`.
    #[pyo3(signature = (module, data, *, limits = None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        module: Buffer,
        data: Buffer,
        limits: Option<Limits>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // Without an event loop nobody would wait for the task: find out before it is handed in.
        let event_loop = asyncio::event_loop(py)?;
        let task = self.hand_in(py, &module, &data, limits)?;
        asyncio::awaitable(&event_loop, output_of(task))
    }

    /// Runs a task and waits for its output on this thread. Ctrl-C cancels it.
    #[pyo3(signature = (module, data, *, limits = None))]
    fn run_blocking<'py>(
        &self,
        py: Python<'py>,
        module: Buffer,
        data: Buffer,
        limits: Option<Limits>,
    ) -> PyResult<Bound<'py, TaskOutput>> {
        let task = self.hand_in(py, &module, &data, limits)?;
        asyncio::wait(py, output_of(task))?.into_pyobject(py)
    }

    /// Hands a task in.
    #[pyo3(signature = (module, data, *, limits = None))]
    fn submit(
        &self,
        py: Python<'_>,
        module: Buffer,
        data: Buffer,
        limits: Option<Limits>,
    ) -> PyResult<FogTask> {
        let task = self.hand_in(py, &module, &data, limits)?;
        Ok(FogTask {
            id: task.id(),
            origin: Origin::here(),
            canceller: task.canceller(),
            task: Mutex::new(Some(task)),
        })
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

    /// What the fog has done so far.
    fn stats(&self, py: Python<'_>) -> PyResult<FogStats> {
        let fog = self.0.get(py)?;
        let stats = error::call(py, || Ok(fog.stats()?))?;
        Ok(FogStats {
            succeeded: stats.succeeded,
            failed: stats.failed,
            available: stats.available.0,
            paid: stats.paid.0,
        })
    }

    /// Stops the fog and its tasks. Closing again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let fog = self.0.take();
        error::catch(py, || close(fog.as_deref()))
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
        asyncio::exit(py, || self.0.take(), |fog| close(fog.as_deref()))
    }
}

fn close(fog: Option<&fogcompute::Fog>) {
    if let Some(fog) = fog {
        fog.close();
    }
}
