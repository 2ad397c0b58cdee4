//! Why the coordinator refuses.

use fogcompute_base::{JobId, NodeId, TaskId};
use fogcompute_exec::{TaskState, TransitionError};
use fogcompute_schedule::PreferenceError;
use fogcompute_schedule::evolution::ConfigError as Nsga2ConfigError;
use thiserror::Error;

use crate::admission::Shed;
use crate::breaker::BreakerConfigError;
use crate::detector::DetectorConfigError;
use crate::routing::Unroutable;

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
    /// What tells whether nodes are there.
    #[error(transparent)]
    Detector(#[from] DetectorConfigError),
    /// What leaves nodes that fail alone.
    #[error(transparent)]
    Breaker(#[from] BreakerConfigError),
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
    /// A task of this id was submitted before, or stands twice in the job. The ledger remembers all
    /// that were ever settled.
    #[error("task {task} was submitted before")]
    KnownTask {
        /// The task.
        task: TaskId,
    },
    /// Too many tasks are open for the job's priority. Submit again when some have ended.
    #[error(transparent)]
    Shed(#[from] Shed),
    /// No node of the fog could take the task, not even with nothing else to do.
    #[error("task {task} fits no node: {error}")]
    Unroutable {
        /// The task.
        task: TaskId,
        /// The nearest miss.
        error: Unroutable,
    },
    /// What happened before cannot be written down or settled, so nothing new is taken on. Submit
    /// again later.
    #[error("the coordinator cannot write down what happens; submit again later")]
    Stalled,
    /// The ledger does not hold the job's price back, for instance because funds are short.
    #[error("reserving the price: {0}")]
    Bank(#[source] E),
}

/// Why a report is not accepted. The task is as before, unless the variant says otherwise.
#[non_exhaustive]
#[derive(Debug, Error, PartialEq)]
pub enum ReportError {
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
}

/// Why a task cannot be cancelled. Nothing has changed then.
#[non_exhaustive]
#[derive(Debug, Error, PartialEq)]
pub enum CancelError {
    /// No such task was ever submitted.
    #[error("task {task} is not known")]
    UnknownTask {
        /// The task.
        task: TaskId,
    },
    /// The task has ended.
    #[error(transparent)]
    Transition(#[from] TransitionError),
}

/// Why what happened is not written down or settled yet. Nothing is lost: flush again.
#[non_exhaustive]
#[derive(Debug, Error, PartialEq)]
pub enum FlushError<J: std::error::Error + 'static, B: std::error::Error + 'static> {
    /// The journal writes nothing, for instance because the disk is full.
    #[error("journal: {0}")]
    Journal(#[source] J),
    /// The ledger does not settle.
    #[error("settlement: {0}")]
    Bank(#[source] B),
}

/// Why a coordinator cannot be made from what a store kept.
#[non_exhaustive]
#[derive(Debug, Error, PartialEq)]
pub enum RecoverError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A job stands twice.
    #[error("job {job} stands twice in the store")]
    JobTwice {
        /// The job.
        job: JobId,
    },
    /// A task stands twice.
    #[error("task {task} stands twice in the store")]
    TaskTwice {
        /// The task.
        task: TaskId,
    },
    /// A task belongs to a job that is not there.
    #[error("task {task} belongs to a job that is not in the store")]
    NoJob {
        /// The task.
        task: TaskId,
    },
    /// A task that has not ended does not say what to run.
    #[error("task {task} has not ended and has no module in the store")]
    NoSpec {
        /// The task.
        task: TaskId,
    },
    /// There are more nodes with tasks than a registry holds.
    #[error("task {task} is at a node for which the registry has no room")]
    NoNode {
        /// The task.
        task: TaskId,
    },
    /// A task is in a state that is never written.
    #[error("task {task} is in a state that no coordinator writes")]
    State {
        /// The task.
        task: TaskId,
    },
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
    /// What is looked up by says otherwise of a node than the node itself.
    #[error("the index is not true of node {node}")]
    Index {
        /// The node.
        node: NodeId,
    },
    /// A job's summary is not the sum of its tasks.
    #[error("summary of job {job} does not add up")]
    Summary {
        /// The job.
        job: JobId,
    },
}
