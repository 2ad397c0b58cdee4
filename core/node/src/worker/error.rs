//! Why a worker cannot do what it is asked.

use std::io;
use std::sync::Arc;

use fogcompute_base::{JobId, TaskId};
use fogcompute_exec::executor::{SubmitError, TaskCallError};
use fogcompute_exec::{ContentId, GrantsError, SpecError, TaskError};
use fogcompute_harvest::PolicyError;
use fogcompute_store::StoreError;
use thiserror::Error;

/// Why a worker cannot start, or do something.
#[non_exhaustive]
#[derive(Clone, Debug, Error)]
pub enum WorkerError {
    /// A worker without slots or memory can run nothing.
    #[error("a worker must have at least one slot and some memory")]
    NothingLent,
    /// The time between two readings is no time at all.
    #[error("the time between two readings must not be zero")]
    NoInterval,
    /// The policy contradicts itself.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The operating system gives no thread.
    #[error("thread: {0}")]
    Thread(#[source] Arc<io::Error>),
    /// The worker was closed.
    #[error("the worker is closed")]
    Closed,
    /// The worker was made before this process was forked: its threads stayed with the parent.
    #[error("the worker was made before this process was forked")]
    Forked,
    /// The file of tasks cannot be opened, read or written. What was asked for did not happen. While
    /// the file cannot be written, nothing new starts; the worker tries again by itself.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The job was taken but could not be written: if the worker ends before it can, the job is
    /// forgotten; otherwise it runs. Submit it again with its key, or ask for the job.
    #[error("job {job} was not written: {source}")]
    NotStored {
        /// The job.
        job: JobId,
        /// Why.
        #[source]
        source: Arc<StoreError>,
    },
    /// A record of the device's sessions in the file is damaged.
    #[error("the stored record of sessions is damaged")]
    BadRecord,
    /// The module, input or limits of a task are not usable.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The grants of a task are not usable.
    #[error(transparent)]
    Grants(#[from] GrantsError),
    /// The job cannot be taken.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// A job names content that is neither stored nor handed over.
    #[error("content {content} is not known")]
    UnknownContent {
        /// The content.
        content: ContentId,
    },
    /// There is no runtime of that kind here.
    #[error("there is no runtime {kind}")]
    UnknownRuntime {
        /// The kind, as the task names it.
        kind: String,
    },
    /// A call about a task or job does nothing.
    #[error(transparent)]
    Call(#[from] TaskCallError),
    /// The task ended with an error.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The task ended by its deadline or its longest run time.
    #[error("task {task} took too long")]
    TimedOut {
        /// The task.
        task: TaskId,
    },
    /// The task was given up: its attempts kept vanishing, or it had to make way too often.
    #[error("task {task} was given up")]
    Lost {
        /// The task.
        task: TaskId,
    },
    /// The task never ran: one that it waited for did not succeed.
    #[error("task {task} was skipped, because one that it waited for did not succeed")]
    Skipped {
        /// The task.
        task: TaskId,
    },
    /// The task has not ended: there is no output yet.
    #[error("task {task} has not ended")]
    NotEnded {
        /// The task.
        task: TaskId,
    },
}

impl From<StoreError> for WorkerError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
