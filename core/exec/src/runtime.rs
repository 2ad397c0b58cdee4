//! What runs a task.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use crate::{Checkpoint, TaskError, TaskOutput, TaskSpec};

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

/// How much of a processor a task may take, in thousandths.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CpuShare(u16);

impl CpuShare {
    /// A whole processor.
    pub const FULL: Self = Self(1_000);

    /// `permille` thousandths of a processor: 1 to 1000, others become the nearest of these.
    /// A task that shall not run at all is suspended.
    #[must_use]
    pub fn from_permille(permille: u16) -> Self {
        Self(permille.clamp(1, 1_000))
    }

    /// The share, in thousandths.
    #[must_use]
    pub const fn as_permille(self) -> u16 {
        self.0
    }
}

#[derive(Debug)]
struct Wishes {
    cancel: CancelToken,
    suspended: AtomicBool,
    checkpoint: AtomicBool,
    share_permille: AtomicU16,
}

/// Steers a running task from another thread. Clones steer the same task.
///
/// A runtime looks at it at least every 50 ms while the task computes.
///
/// ```
/// use fogcompute_exec::{Control, CpuShare};
///
/// let control = Control::new();
/// control.set_cpu_share(CpuShare::from_permille(500));
/// control.suspend();
/// assert!(control.clone().is_suspended());
/// ```
#[derive(Clone, Debug)]
pub struct Control(Arc<Wishes>);

impl Default for Control {
    fn default() -> Self {
        Self::with_cancel(CancelToken::new())
    }
}

impl Control {
    /// Of a task that runs, with a whole processor.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, of a task that `cancel` stops as well.
    #[must_use]
    pub fn with_cancel(cancel: CancelToken) -> Self {
        Self(Arc::new(Wishes {
            cancel,
            suspended: AtomicBool::new(false),
            checkpoint: AtomicBool::new(false),
            share_permille: AtomicU16::new(CpuShare::FULL.0),
        }))
    }

    /// Asks the task to stop, suspended or not. It stays asked.
    pub fn cancel(&self) {
        self.0.cancel.cancel();
    }

    /// Whether the task should stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancel.is_cancelled()
    }

    /// Halts the task where it is; it keeps its memory.
    pub fn suspend(&self) {
        self.0.suspended.store(true, Ordering::Relaxed);
    }

    /// Lets the task go on.
    pub fn resume(&self) {
        self.0.suspended.store(false, Ordering::Relaxed);
    }

    /// Whether the task should halt.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.0.suspended.load(Ordering::Relaxed)
    }

    /// Slows the task down to a share of a processor.
    pub fn set_cpu_share(&self, share: CpuShare) {
        self.0.share_permille.store(share.0, Ordering::Relaxed);
    }

    /// The share of a processor that the task may take.
    #[must_use]
    pub fn cpu_share(&self) -> CpuShare {
        CpuShare(self.0.share_permille.load(Ordering::Relaxed))
    }

    /// Asks the task for a checkpoint as soon as it can make one. A task that makes none does not
    /// notice.
    pub fn request_checkpoint(&self) {
        self.0.checkpoint.store(true, Ordering::Relaxed);
    }

    /// Whether a checkpoint was asked for that was not made yet.
    #[must_use]
    pub fn is_checkpoint_requested(&self) -> bool {
        self.0.checkpoint.load(Ordering::Relaxed)
    }

    /// Runtimes say here that a checkpoint was made.
    pub fn clear_checkpoint_request(&self) {
        self.0.checkpoint.store(false, Ordering::Relaxed);
    }
}

/// Hears what a task says while it runs, on the task's thread: a call that takes long holds the task
/// up.
pub trait Observer: Send + Sync {
    /// A line of the task's log, without its end: at most 4 KiB, control characters replaced.
    ///
    /// When the task's log limit is reached, one last line says so.
    fn log(&self, line: &str);

    /// The task says how much of its work is done, in thousandths: not to be trusted.
    fn progress(&self, permille: u16);

    /// The task made a checkpoint, which replaces those before it.
    fn checkpoint(&self, checkpoint: Checkpoint);
}

/// The [`Observer`] that forgets everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn log(&self, _: &str) {}
    fn progress(&self, _: u16) {}
    fn checkpoint(&self, _: Checkpoint) {}
}

/// One attempt to run a task: who steers it, who listens, where it begins.
#[derive(Clone)]
pub struct Session {
    /// Steers the task.
    pub control: Control,
    /// Hears what it says.
    pub observer: Arc<dyn Observer>,
    /// Where to go on; `None` begins at the beginning.
    pub from: Option<Checkpoint>,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            control: Control::new(),
            observer: Arc::new(Unobserved),
            from: None,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("control", &self.control)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// A sandbox that runs tasks: WebAssembly of the ABI in the crate's documentation, or programs.
///
/// A call blocks its thread until the task ends. Calls may run side by side. An implementation
/// passes `runtime_conformance!` (feature `testing`).
pub trait Runtime: Send + Sync {
    /// Engine and version of its metering, for example `wasmi-2`.
    ///
    /// Two runtimes with one name give the same output, error and fuel for the same task. With
    /// different names only outputs may be compared, not fuel.
    fn name(&self) -> &'static str;

    /// Runs a task until it ends or the session's control asks it to stop, which it notices within
    /// a second ([`START_FUEL_MAX`](crate::START_FUEL_MAX) in a start function).
    ///
    /// # Errors
    /// [`TaskError`]; [`TaskError::is_deterministic`] tells whether another node would fail too.
    fn execute(&self, spec: &TaskSpec, session: &Session) -> Result<TaskOutput, TaskError>;

    /// Runs a task until it ends or `cancel` asks it to stop.
    ///
    /// # Errors
    /// As [`Runtime::execute`].
    fn run_cancellable(
        &self,
        spec: &TaskSpec,
        cancel: &CancelToken,
    ) -> Result<TaskOutput, TaskError> {
        let session = Session {
            control: Control::with_cancel(cancel.clone()),
            ..Session::default()
        };
        self.execute(spec, &session)
    }

    /// Runs a task until it ends.
    ///
    /// # Errors
    /// As [`Runtime::execute`], but never [`TaskError::Cancelled`].
    fn run(&self, spec: &TaskSpec) -> Result<TaskOutput, TaskError> {
        self.execute(spec, &Session::default())
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
    fn wishes_reach_every_clone_and_the_token_cancels_too() {
        let token = CancelToken::new();
        let control = Control::with_cancel(token.clone());
        let clone = control.clone();
        control.suspend();
        control.request_checkpoint();
        control.set_cpu_share(CpuShare::from_permille(0));
        assert!(clone.is_suspended() && clone.is_checkpoint_requested());
        assert_eq!(clone.cpu_share().as_permille(), 1);
        clone.resume();
        clone.clear_checkpoint_request();
        assert!(!control.is_suspended() && !control.is_checkpoint_requested());
        assert!(!control.is_cancelled());
        token.cancel();
        assert!(control.is_cancelled());
    }

    #[test]
    fn runtime_is_object_safe() {
        struct Refuses;
        impl Runtime for Refuses {
            fn name(&self) -> &'static str {
                "refuses"
            }
            fn execute(&self, _: &TaskSpec, _: &Session) -> Result<TaskOutput, TaskError> {
                Err(TaskError::Cancelled)
            }
        }
        let runtime: Box<dyn Runtime> = Box::new(Refuses);
        let spec = TaskSpec::new(vec![1], vec![], crate::Limits::default()).unwrap();
        assert_eq!(runtime.run(&spec), Err(TaskError::Cancelled));
    }
}
