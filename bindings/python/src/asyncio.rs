//! Futures of Rust as futures of `asyncio`.
//!
//! One thread of tokio drives them. It is made by the first `await`, made anew in a forked child,
//! and stopped before the interpreter ends.
//!
//! `pyo3-async-runtimes` does the like, but keeps its runtime over a fork, cannot stop it, and
//! prints an exception for each result that comes after its event loop was closed.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyNone;
use pyo3::{IntoPyObjectExt, PyTypeInfo};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::AbortHandle;

use crate::convert::Span;
use crate::error;

/// How long the end of the interpreter waits for results that are on their way into it.
const STOP: Duration = Duration::from_secs(1);

/// How often a thread that waits looks for Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);

/// The runtime and the process it belongs to.
static RUNTIME: Mutex<Option<(u32, Runtime)>> = Mutex::new(None);

fn runtime() -> MutexGuard<'static, Option<(u32, Runtime)>> {
    RUNTIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn handle() -> io::Result<Handle> {
    let mut current = runtime();
    if let Some((owner, runtime)) = &*current
        && *owner == process::id()
    {
        return Ok(runtime.handle().clone());
    }
    // A runtime from before a fork has no threads here; to drop it would wait for them.
    forget(current.take());
    // One thread is enough: all it does beside polling is to hand results over, one at a time.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("fog-async")
        .build()?;
    let handle = runtime.handle().clone();
    *current = Some((process::id(), runtime));
    Ok(handle)
}

/// Stops the thread. Python calls it at exit, while results can still be delivered.
#[pyfunction]
pub(crate) fn _stop_async(py: Python<'_>) {
    let stopped = runtime().take();
    match stopped {
        Some((owner, runtime)) if owner == process::id() => {
            py.detach(|| runtime.shutdown_timeout(STOP));
        }
        before_fork => forget(before_fork),
    }
}

/// The running event loop.
pub(crate) fn event_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    GET.import(py, "asyncio", "get_running_loop")?.call0()
}

/// An `asyncio.Future` with the outcome of a future of Rust, which is dropped if the other is
/// cancelled.
pub(crate) fn awaitable<'py, T: for<'a> IntoPyObject<'a>>(
    event_loop: &Bound<'py, PyAny>,
    future: impl Future<Output = Result<T, fogcompute::Error>> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>> {
    let py = event_loop.py();
    let handle = handle()?;
    let awaited = event_loop.call_method0(intern!(py, "create_future"))?;
    let (target, event_loop) = (awaited.clone().unbind(), event_loop.clone().unbind());
    let task = handle.spawn(async move {
        let outcome = caught(future).await;
        // There is nobody to deliver to when the interpreter has ended.
        Python::try_attach(|py| deliver(py, event_loop.bind(py), target, outcome));
    });
    let give_up = GiveUp(task.abort_handle());
    awaited.call_method1(intern!(py, "add_done_callback"), (give_up,))?;
    Ok(awaited)
}

/// Does what takes time on a thread apart, so that other awaits go on meanwhile.
async fn apart(work: impl FnOnce() + Send + 'static) -> Result<Nothing, fogcompute::Error> {
    if let Err(error) = tokio::task::spawn_blocking(work).await
        && let Ok(payload) = error.try_into_panic()
    {
        std::panic::resume_unwind(payload);
    }
    Ok(Nothing)
}

/// What `__aenter__` returns: the object itself.
pub(crate) fn enter<T: PyTypeInfo + 'static>(
    py: Python<'_>,
    object: Py<T>,
) -> PyResult<Bound<'_, PyAny>> {
    let event_loop = event_loop(py)?;
    awaitable(&event_loop, async { Ok(object) })
}

/// What `__aexit__` returns: awaits the end of what a handle has, which may wait for threads.
pub(crate) fn exit<T: Send + 'static>(
    py: Python<'_>,
    take: impl FnOnce() -> T,
    end: impl FnOnce(T) + Send + 'static,
) -> PyResult<Bound<'_, PyAny>> {
    let event_loop = event_loop(py)?;
    let taken = take();
    awaitable(&event_loop, apart(move || end(taken)))
}

/// What `_readable` of something that is received from returns.
pub(crate) fn readable(
    py: Python<'_>,
    readable: impl Future<Output = ()> + Send + 'static,
) -> PyResult<Bound<'_, PyAny>> {
    let event_loop = event_loop(py)?;
    awaitable(&event_loop, async {
        readable.await;
        Ok(Nothing)
    })
}

/// What `receive` returns. What comes must not be on its way to somebody who gives up, so it is taken by
/// the very step of the coroutine that returns it: by `try_receive`, after `_readable`.
pub(crate) fn receive<'py>(from: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static RECEIVE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    RECEIVE
        .import(from.py(), "fogcompute._receive", "receive")?
        .call1((from,))
}

/// The same for `__anext__`, which ends with the object.
pub(crate) fn receive_next<'py>(from: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static NEXT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    NEXT.import(from.py(), "fogcompute._receive", "receive_next")?
        .call1((from,))
}

/// Waits on this thread until something is received or `within` has passed, and lets Ctrl-C through.
pub(crate) fn receive_blocking<T: Send>(
    py: Python<'_>,
    within: Option<Span>,
    receive: impl Fn(Duration) -> Result<Option<T>, fogcompute::Error> + Sync,
) -> PyResult<Option<T>> {
    let mut left = within.map_or(Duration::MAX, |span| span.0);
    loop {
        let step = left.min(SIGNALS);
        let received = error::call(py, || receive(step))?;
        left -= step;
        if received.is_some() || left.is_zero() {
            return Ok(received);
        }
        py.check_signals()?;
    }
}

/// No value, as a result.
pub(crate) struct Nothing;

impl<'py> IntoPyObject<'py> for Nothing {
    type Target = PyNone;
    type Output = Borrowed<'py, 'py, PyNone>;
    type Error = Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(PyNone::get(py))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread, and lets Ctrl-C through, which drops it.
pub(crate) fn wait<T: Send>(
    py: Python<'_>,
    future: impl Future<Output = Result<T, fogcompute::Error>> + Send,
) -> PyResult<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = Box::pin(future);
    loop {
        let poll = error::catch(py, || {
            let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
            if poll.is_pending() {
                thread::park_timeout(SIGNALS);
            }
            poll
        })?;
        match poll {
            Poll::Ready(output) => return output.map_err(|error| error::of_error(py, &error)),
            Poll::Pending => py.check_signals()?,
        }
    }
}

/// The output of a future, or its panic.
async fn caught<T>(future: impl Future<Output = T>) -> thread::Result<T> {
    let mut future = pin!(future);
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => Poll::Ready(Err(payload)),
        },
    )
    .await
}

/// Has the event loop settle a future.
fn deliver<'py, T: IntoPyObject<'py>>(
    py: Python<'py>,
    event_loop: &Bound<'py, PyAny>,
    future: Py<PyAny>,
    outcome: thread::Result<Result<T, fogcompute::Error>>,
) {
    let outcome = match outcome {
        Ok(Ok(value)) => value.into_py_any(py),
        Ok(Err(error)) => Err(error::of_error(py, &error)),
        Err(payload) => Err(error::of_panic(py, &*payload)),
    };
    let settle = Settle {
        future,
        outcome: Mutex::new(Some(outcome)),
    };
    let call = event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (settle,));
    // A loop that was closed meanwhile refuses, and nobody waits for the result any more.
    drop(call);
}

/// Settles a future on the thread of its event loop.
#[pyclass(frozen)]
struct Settle {
    future: Py<PyAny>,
    outcome: Mutex<Option<PyResult<Py<PyAny>>>>,
}

#[pymethods]
impl Settle {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let future = self.future.bind(py);
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been cancelled since this was put into the loop's queue.
        let done = future.call_method0(intern!(py, "done"))?.is_truthy()?;
        match outcome.take() {
            Some(outcome) if !done => match outcome {
                Ok(value) => future.call_method1(intern!(py, "set_result"), (value,))?,
                Err(error) => future.call_method1(intern!(py, "set_exception"), (error,))?,
            },
            _ => return Ok(()),
        };
        Ok(())
    }
}

/// Drops the future of Rust when the other is done. After its own end that does nothing.
#[pyclass(frozen)]
struct GiveUp(AbortHandle);

#[pymethods]
impl GiveUp {
    fn __call__(&self, _future: &Bound<'_, PyAny>) {
        self.0.abort();
    }
}
