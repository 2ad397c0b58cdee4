//! What all value classes have in common: equality, hash, text, pattern matching and pickling, from
//! the list of their fields.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// The methods of a value class: the given ones, and those that follow from its fields.
///
/// The names in braces are attributes in the order of pattern matching, and keywords of `__new__`.
macro_rules! value {
    ($class:ident { $($field:ident),* $(,)? } $($methods:tt)*) => {
        #[pymethods]
        impl $class {
            $($methods)*

            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, pyo3::types::PyTuple>> {
                let names: &[&str] = &[$(stringify!($field)),*];
                pyo3::types::PyTuple::new(py, names)
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                crate::value::repr(slf)
            }

            fn __eq__<'py>(
                slf: &Bound<'py, Self>,
                other: &Bound<'py, PyAny>,
            ) -> PyResult<Bound<'py, PyAny>> {
                crate::value::equal(slf, other)
            }

            fn __hash__(slf: &Bound<'_, Self>) -> PyResult<isize> {
                crate::value::fields(slf)?.hash()
            }

            fn __getnewargs_ex__<'py>(
                slf: &Bound<'py, Self>,
            ) -> PyResult<(
                Bound<'py, pyo3::types::PyTuple>,
                Bound<'py, pyo3::types::PyDict>,
            )> {
                crate::value::keywords(slf)
            }
        }
    };
}
pub(crate) use value;

fn names<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    let names = value.get_type().getattr("__match_args__")?;
    Ok(names.cast_into::<PyTuple>()?)
}

/// The values of all fields.
pub(crate) fn fields<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    let values = names(value)?
        .iter()
        .map(|name| value.getattr(name.cast()?))
        .collect::<PyResult<Vec<_>>>()?;
    PyTuple::new(value.py(), values)
}

/// `Class(field=value, ...)`.
pub(crate) fn repr(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let fields = names(value)?
        .iter()
        .zip(fields(value)?)
        .map(|(name, value)| Ok(format!("{}={}", name.str()?, value.repr()?)))
        .collect::<PyResult<Vec<_>>>()?;
    Ok(format!(
        "{}({})",
        value.get_type().name()?,
        fields.join(", ")
    ))
}

/// Whether two objects are of one class and have equal fields.
pub(crate) fn equal<'py>(
    value: &Bound<'py, PyAny>,
    other: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    if !value.get_type().is(other.get_type()) {
        return Ok(py.NotImplemented().into_bound(py));
    }
    let equal = fields(value)?.eq(fields(other)?)?;
    Ok(equal.into_pyobject(py)?.to_owned().into_any())
}

/// The arguments that make an equal object, for `pickle` and `copy`.
pub(crate) fn keywords<'py>(
    value: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
    let keywords = PyDict::new(value.py());
    for (name, value) in names(value)?.iter().zip(fields(value)?) {
        keywords.set_item(name, value)?;
    }
    Ok((PyTuple::empty(value.py()), keywords))
}
