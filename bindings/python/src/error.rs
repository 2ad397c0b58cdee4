//! Exceptions, one for each code of the facade.

use std::any::Any;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fogcompute::{Error, ErrorCode};
use pyo3::exceptions::{PyBaseException, PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyMappingProxy, PyTuple, PyType};

/// The exception class of each code.
static CLASSES: PyOnceLock<BTreeMap<ErrorCode, Py<PyType>>> = PyOnceLock::new();

/// The class between `FogError` and the codes of one hundred.
const fn area(code: ErrorCode) -> Option<(&'static str, &'static str)> {
    match code as u32 / 100 {
        2 => Some(("MixError", "The mixnet refused something.")),
        3 => Some(("ScheduleError", "An optimisation or a placement failed.")),
        4 => Some(("LedgerError", "The ledger refused something.")),
        5 => Some(("HarvestError", "A harvest decision cannot be made.")),
        6 => Some(("TaskError", "A task ended without an output.")),
        7 => Some(("StorageError", "A file failed.")),
        8 => Some(("NodeError", "A node or coordinator failed.")),
        9 => Some((
            "GovernanceError",
            "Governance of a ledger refused something.",
        )),
        10 => Some(("MeshError", "A mesh node refused something.")),
        11 => Some((
            "CoordinatorError",
            "A coordinator refused something, or was not reached.",
        )),
        _ => None,
    }
}

/// `InvalidPacket` is `PacketError`, `OutOfFuel` is `OutOfFuelError`: that something is invalid
/// goes without saying in the name of an exception.
fn class_name(code: ErrorCode) -> String {
    let name = code.name();
    format!("{}Error", name.strip_prefix("Invalid").unwrap_or(name))
}

fn new_class<'py>(
    name: &str,
    doc: &str,
    bases: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyType>> {
    let py = bases.py();
    let attributes = PyDict::new(py);
    attributes.set_item("__doc__", doc)?;
    attributes.set_item("__module__", "fogcompute")?;
    let class = py.get_type::<PyType>().call1((name, bases, attributes))?;
    Ok(class.cast_into::<PyType>()?)
}

/// Makes the exceptions and puts them into the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let add = |class: &Bound<'_, PyType>| module.add(class.name()?, class);
    let root = new_class(
        "FogError",
        "Base of all errors of fogcompute. `code` is the stable number, `name` its name in every \
         language.",
        &PyTuple::new(py, [py.get_type::<PyException>()])?,
    )?;
    root.setattr("job", py.None())?;
    add(&root)?;
    let mut areas = BTreeMap::new();
    let mut classes = BTreeMap::new();
    let table = PyDict::new(py);
    for &code in ErrorCode::ALL {
        let name = class_name(code);
        let parent = match area(code) {
            None => root.clone(),
            Some((area, doc)) => match areas.get(area) {
                Some(class) => Bound::clone(class),
                None => {
                    let class = new_class(area, doc, &PyTuple::new(py, [&root])?)?;
                    add(&class)?;
                    areas.insert(area, class.clone());
                    class
                }
            },
        };
        let class = if parent.name()? == name.as_str() {
            parent
        } else {
            let bases = if code == ErrorCode::InvalidArgument {
                PyTuple::new(py, [parent, py.get_type::<PyValueError>()])?
            } else {
                PyTuple::new(py, [parent])?
            };
            let class = new_class(&name, code.description(), &bases)?;
            if code == ErrorCode::InvalidArgument {
                let method = py.import("functools")?.getattr("partialmethod")?;
                let native = wrap_pyfunction!(name_argument, module)?;
                class.setattr("add_note", method.call1((native,))?)?;
            }
            add(&class)?;
            class
        };
        class.setattr("code", code as u32)?;
        class.setattr("name", code.name())?;
        table.set_item(code as u32, &class)?;
        classes.insert(code, class.unbind());
    }
    module.add("ERROR_CLASSES", PyMappingProxy::new(py, table.as_mapping()))?;
    let _ = CLASSES.set(py, classes);
    Ok(())
}

/// `add_note` of `ArgumentError`. PyO3 says in a note which argument could not be converted, and
/// whoever logs the message alone would not read it: so the message begins with the name.
#[pyfunction]
#[pyo3(signature = (exception, note, /), text_signature = "(self, note, /)")]
fn name_argument(exception: &Bound<'_, PyAny>, note: &Bound<'_, PyAny>) -> PyResult<()> {
    let text: Option<String> = note.extract().ok();
    let name = text
        .as_deref()
        .and_then(|text| text.strip_prefix("while processing '")?.strip_suffix('\''));
    if let Some(name) = name {
        let named = format!("{name}: {}", exception.str()?);
        return exception.setattr("args", (named,));
    }
    let base = exception.py().get_type::<PyBaseException>();
    base.call_method1("add_note", (exception, note)).map(drop)
}

/// The exception of a code.
pub(crate) fn of_code(py: Python<'_>, code: ErrorCode, message: impl Into<String>) -> PyErr {
    let class = CLASSES
        .get(py)
        .and_then(|classes| classes.get(&code))
        .expect("the module has registered a class for each code");
    PyErr::from_type(class.bind(py).clone(), (message.into(),))
}

/// The exception of an error. What lies beneath it is in its notes, unless it was said already.
pub(crate) fn of_error(py: Python<'_>, error: &Error) -> PyErr {
    let mut said = error.to_string();
    let exception = of_code(py, error.code(), said.as_str());
    if let Some(job) = error.unanswered_job() {
        // One that cannot be set leaves the exception as good as it was: the message names the job.
        let _ = exception.value(py).setattr("job", job.to_string());
    }
    let mut source = error.source();
    while let Some(cause) = source {
        let note = cause.to_string();
        if !said.contains(&note) {
            // A note that fails leaves the exception as good as it was.
            let _ = exception.add_note(py, note.as_str());
            said = note;
        }
        source = cause.source();
    }
    exception
}

/// The exception of a panic.
pub(crate) fn of_panic(py: Python<'_>, payload: &(dyn Any + Send)) -> PyErr {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    of_code(
        py,
        ErrorCode::Panic,
        format!("the library panicked: {message}"),
    )
}

/// The exception of a wrong argument.
pub(crate) fn argument(py: Python<'_>, message: impl Into<String>) -> PyErr {
    of_code(py, ErrorCode::InvalidArgument, message)
}

/// Calls the library without the interpreter's lock.
pub(crate) fn call<T: Send>(
    py: Python<'_>,
    function: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    catch(py, function)?.map_err(|error| of_error(py, &error))
}

/// The same for functions with an error of their own.
pub(crate) fn catch<T: Send>(py: Python<'_>, function: impl FnOnce() -> T + Send) -> PyResult<T> {
    // Nothing of the library is used after a panic but what it protects itself, by locks that
    // other threads rely on anyway.
    py.detach(|| catch_unwind(AssertUnwindSafe(function)))
        .map_err(|payload| of_panic(py, &*payload))
}
