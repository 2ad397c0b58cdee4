//! What runs a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{TaskError, TaskOutput, TaskSpec};

/// Stops a running task from another thread. Clones stop the same task.
///
/// ```
/// use fogcompute_exec::CancelToken;
///
/// let token = CancelToken::new();
/// let other = token.clone();
/// other.cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the task to stop. It stays asked.
    pub fn cancel(&self) {
        // The flag carries no other data, so nothing needs to be ordered around it.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the task should stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A sandbox that runs tasks of the ABI in the crate's documentation.
///
/// A call blocks its thread until the task ends. Calls may run side by side. An implementation
/// passes `runtime_conformance!` (feature `testing`).
pub trait Runtime: Send + Sync {
    /// Engine and version of its metering, for example `wasmi-2`.
    ///
    /// Two runtimes with one name give the same output, error and fuel for the same task. With
    /// different names only outputs may be compared, not fuel.
    fn name(&self) -> &'static str;

    /// Runs a task until it ends or `cancel` asks it to stop, which it notices within
    /// milliseconds ([`START_FUEL_MAX`](crate::START_FUEL_MAX) in a start function).
    ///
    /// # Errors
    /// [`TaskError`]; [`TaskError::is_deterministic`] tells whether another node would fail too.
    fn run_cancellable(
        &self,
        spec: &TaskSpec,
        cancel: &CancelToken,
    ) -> Result<TaskOutput, TaskError>;

    /// Runs a task until it ends.
    ///
    /// # Errors
    /// As [`Runtime::run_cancellable`], but never [`TaskError::Cancelled`].
    fn run(&self, spec: &TaskSpec) -> Result<TaskOutput, TaskError> {
        self.run_cancellable(spec, &CancelToken::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_token_are_cancelled_together_and_others_are_not() {
        let (token, other) = (CancelToken::new(), CancelToken::new());
        let clone = token.clone();
        assert!(!clone.is_cancelled());
        token.cancel();
        assert!(clone.is_cancelled());
        assert!(!other.is_cancelled());
    }

    #[test]
    fn runtime_is_object_safe() {
        struct Refuses;
        impl Runtime for Refuses {
            fn name(&self) -> &'static str {
                "refuses"
            }
            fn run_cancellable(
                &self,
                _: &TaskSpec,
                _: &CancelToken,
            ) -> Result<TaskOutput, TaskError> {
                Err(TaskError::Cancelled)
            }
        }
        let runtime: Box<dyn Runtime> = Box::new(Refuses);
        let spec = TaskSpec::new(vec![1], vec![], crate::Limits::default()).unwrap();
        assert_eq!(runtime.run(&spec), Err(TaskError::Cancelled));
    }
}
