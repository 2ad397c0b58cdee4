//! Objects with files or threads behind them.

use std::mem::forget;
use std::process;
use std::sync::{Arc, PoisonError, RwLock};

use fogcompute::ErrorCode;
use pyo3::prelude::*;

use crate::error;

/// The process that made an object. A forked child must leave it alone: its threads and the locks
/// on its files stayed with the parent.
pub(crate) struct Origin(u32);

impl Origin {
    pub(crate) fn here() -> Self {
        Self(process::id())
    }

    fn is_here(&self) -> bool {
        self.0 == process::id()
    }

    pub(crate) fn check(&self, py: Python<'_>, what: &str) -> PyResult<()> {
        if self.is_here() {
            return Ok(());
        }
        let message = format!("the {what} was made before this process was forked");
        Err(error::of_code(py, ErrorCode::Closed, message))
    }
}

/// Something that can be closed.
pub(crate) struct Handle<T: Send + Sync> {
    what: &'static str,
    origin: Origin,
    inner: RwLock<Option<Arc<T>>>,
}

impl<T: Send + Sync> Handle<T> {
    pub(crate) fn new(what: &'static str, inner: T) -> Self {
        Self {
            what,
            origin: Origin::here(),
            inner: RwLock::new(Some(Arc::new(inner))),
        }
    }

    /// The object, unless it is closed or belongs to the process this one was forked from.
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<Arc<T>> {
        self.origin.check(py, self.what)?;
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.clone().ok_or_else(|| {
            let message = format!("the {} is closed", self.what);
            error::of_code(py, ErrorCode::Closed, message)
        })
    }

    /// The object, also if it has ended by itself. `None` in a process that this one was forked into.
    pub(crate) fn here(&self) -> Option<Arc<T>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.clone().filter(|_| self.origin.is_here())
    }

    /// Takes the object out: from now on it is closed.
    pub(crate) fn take(&self) -> Option<Arc<T>> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let inner = inner.take();
        if self.origin.is_here() {
            return inner;
        }
        forget(inner);
        None
    }
}

impl<T: Send + Sync> Drop for Handle<T> {
    fn drop(&mut self) {
        let mut inner = self.take();
        if inner.is_some() {
            // Dropping may wait for threads; without an interpreter there is nobody to hold up.
            Python::try_attach(|py| py.detach(|| drop(inner.take())));
        }
    }
}
