//! Why the coordinator refuses.

use fogcompute_base::{JobId, NodeId, TaskId};
use fogcompute_exec::{TaskState, TransitionError};
use fogcompute_schedule::PreferenceError;
use fogcompute_schedule::evolution::ConfigError as Nsga2ConfigError;
use thiserror::Error;

/// A configuration that cannot work.
#[non_exhaustive]
#[derive(Debug, Error, PartialEq)]
pub enum ConfigError {
    /// The optimiser's parameters.
    #[error(transparent)]
    Nsga2(#[from] Nsga2ConfigError),
    /// No attempt would ever be made.
    #[error("attempts_max is 0")]
    NoAttempts,
    /// More attempts than a task can have.
    #[error("attempts_max is {actual}, at most {limit} are possible")]
    TooManyAttempts {
        /// What was given.
        actual: u32,
        /// The limit.
        limit: u32,
    },
    /// Every node would be gone as soon as it was heard.
    #[error("silence_max is zero")]
    NoSilence,
    /// An attempt at a task of no estimated work would be over as soon as it began.
    #[error("lease_min is zero")]
    NoLease,
    /// The preference.
    #[error(transparent)]
    Preference(#[from] PreferenceError),
    /// The lease factor is below 1 or not a number.
    #[error("lease factor {factor} is below 1")]
    LeaseFactor {
        /// What was given.
        factor: f64,
    },
}

/// Why a job is not admitted. Nothing has changed then.
#[non_exhaustive]
#[derive(Debug, Error, PartialEq)]
pub enum SubmitError<E: std::error::Error + 'static> {
    /// The job has no task.
    #[error("job {job} has no task")]
    NoTasks {
        /// The job.
        job: JobId,
    },
    /// The job has too many tasks.
    #[error("job {job} has {actual} tasks, at most {limit} are admitted")]
    TooManyTasks {
        /// The job.
        job: JobId,
        /// Its tasks.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// A job of this id was submitted before.
    #[error("job {job} was submitted before")]
    KnownJob {
        /// The job.
        job: JobId,
    },
    /// A task of this id was submitted before, or stands twice in the job. The ledger remembers
    /// tasks of earlier coordinators too.
    #[error("task {task} was submitted before")]
    KnownTask {
        /// The task.
        task: TaskId,
    },
    /// Too many tasks are open. Submit again when some have ended.
    #[error("{open} tasks are open and {asked} more asked for, at most {limit} are kept")]
    Full {
        /// Tasks that have not ended.
        open: usize,
        /// Tasks of the job.
        asked: usize,
        /// The limit.
        limit: usize,
    },
    /// The ledger does not hold the job's price back, for instance because funds are short.
    #[error("reserving the price: {0}")]
    Bank(#[source] E),
}

/// Why a report is not accepted. The task is as before, unless the variant says otherwise.
#[non_exhaustive]
#[derive(Debug, Error, PartialEq)]
pub enum ReportError<E: std::error::Error + 'static> {
    /// No such task was ever dispatched.
    #[error("task {task} is not known")]
    UnknownTask {
        /// The task.
        task: TaskId,
    },
    /// The attempt is over: another node has the task, it waits for one, or it has ended. If the
    /// attempt still held a slot of its node, that is free now.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The node claims more fuel, memory or output than the task's limits allow. The attempt was
    /// taken from it.
    #[error("report of task {task} exceeds the task's limits")]
    OverLimits {
        /// The task.
        task: TaskId,
    },
    /// The ledger does not settle. Report again.
    #[error("settlement: {0}")]
    Bank(#[source] E),
}

/// Why a task cannot be cancelled. Nothing has changed then.
#[non_exhaustive]
#[derive(Debug, Error, PartialEq)]
pub enum CancelError<E: std::error::Error + 'static> {
    /// No such task was ever submitted.
    #[error("task {task} is not known")]
    UnknownTask {
        /// The task.
        task: TaskId,
    },
    /// The task has ended.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The ledger does not release the reservation.
    #[error("releasing the reservation: {0}")]
    Bank(#[source] E),
}

/// Something a coordinator must never let happen: a fault of this crate.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Inconsistency {
    /// A task is not in the one place that its state says.
    #[error("task {task} is {state:?} and in {places} places")]
    Misplaced {
        /// The task.
        task: TaskId,
        /// Its state.
        state: TaskState,
        /// In how many of the places it is in which a task of its state may be.
        places: usize,
    },
    /// A place names a task that has no business there.
    #[error("{count} places name tasks that belong elsewhere")]
    Strays {
        /// How many.
        count: usize,
    },
    /// A node stands idle while a task that it could run waits at another.
    #[error("node {node} is idle while task {task} waits elsewhere")]
    Idle {
        /// The node.
        node: NodeId,
        /// The task.
        task: TaskId,
    },
    /// A job's summary is not the sum of its tasks.
    #[error("summary of job {job} does not add up")]
    Summary {
        /// The job.
        job: JobId,
    },
}
