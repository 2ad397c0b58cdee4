//! Objects with files or threads behind them.

use std::mem::forget;
use std::process;
use std::sync::{Arc, PoisonError, RwLock};

use fogcompute::ErrorCode;
use pyo3::prelude::*;

use crate::error;

/// Something that can be closed, and that a forked child must leave alone: its threads and file
/// locks stayed with the parent.
pub(crate) struct Handle<T: Send + Sync> {
    what: &'static str,
    process: u32,
    inner: RwLock<Option<Arc<T>>>,
}

impl<T: Send + Sync> Handle<T> {
    pub(crate) fn new(what: &'static str, inner: T) -> Self {
        Self {
            what,
            process: process::id(),
            inner: RwLock::new(Some(Arc::new(inner))),
        }
    }

    /// The object, unless it is closed or belongs to the process this one was forked from.
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<Arc<T>> {
        let closed = |why| {
            let message = format!("the {} {why}", self.what);
            error::of_code(py, ErrorCode::Closed, message)
        };
        if self.process != process::id() {
            return Err(closed("was made before this process was forked"));
        }
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.clone().ok_or_else(|| closed("is closed"))
    }

    /// Takes the object out: from now on it is closed.
    pub(crate) fn take(&self) -> Option<Arc<T>> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let inner = inner.take();
        if self.process == process::id() {
            return inner;
        }
        forget(inner);
        None
    }
}

impl<T: Send + Sync> Drop for Handle<T> {
    fn drop(&mut self) {
        let Some(inner) = self.take() else { return };
        // Dropping may wait for threads. Without an interpreter there is nobody to hold up.
        let mut inner = Some(inner);
        Python::try_attach(|py| py.detach(|| drop(inner.take())));
    }
}
