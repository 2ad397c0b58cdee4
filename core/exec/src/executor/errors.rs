//! Why an executor refuses something.

use fogcompute_base::{JobId, TaskId};
use thiserror::Error;

use crate::JobError;
use crate::lifecycle::{CheckpointError, State};

/// Why a job is not taken. Nothing of it is.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SubmitError {
    /// It cannot be accepted at any time.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Its owner has used the key for another job.
    #[error("key was used for job {job}, which is another")]
    KeyReused {
        /// That job.
        job: JobId,
    },
    /// A task of it waits for one that is not there, or was forgotten.
    #[error("task {task} is not known")]
    UnknownTask {
        /// That task.
        task: TaskId,
    },
    /// Too many tasks have not ended. Try later.
    #[error("{open} tasks are open, {asked} more exceed {limit}")]
    QueueFull {
        /// Tasks that have not ended.
        open: usize,
        /// Tasks of the job.
        asked: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many tasks are remembered. Forget those that have ended.
    #[error("{held} tasks are remembered, {asked} more exceed {limit}")]
    MemoryFull {
        /// Tasks that are remembered.
        held: usize,
        /// Tasks of the job.
        asked: usize,
        /// The limit.
        limit: usize,
    },
}

/// Why a call about a task or a job does nothing.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TaskCallError {
    /// There is no such task.
    #[error("task {task} is not known")]
    UnknownTask {
        /// The task.
        task: TaskId,
    },
    /// There is no such job.
    #[error("job {job} is not known")]
    UnknownJob {
        /// The job.
        job: JobId,
    },
    /// The task has ended.
    #[error("task {task} has ended as {}", state.name())]
    Ended {
        /// The task.
        task: TaskId,
        /// How.
        state: State,
    },
    /// Every task of the job has ended, or was admitted before.
    #[error("job {job} does not wait to be admitted")]
    NotWaiting {
        /// The job.
        job: JobId,
    },
}

/// Why an event changes nothing. None of it is the runtime's fault but [`EventError::NotAllowed`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum EventError {
    /// There is no such task. It may have been forgotten.
    #[error("task {task} is not known")]
    UnknownTask {
        /// The task.
        task: TaskId,
    },
    /// The attempt is over. Drop the event; if it ended the attempt, its slot is free now.
    #[error("attempt {attempt} is over, the task has begun {current}")]
    Stale {
        /// The attempt of the event.
        attempt: u32,
        /// Attempts that were begun.
        current: u32,
    },
    /// The attempt was never begun.
    #[error("attempt {attempt} has not begun, the task has begun {current}")]
    NotBegun {
        /// The attempt of the event.
        attempt: u32,
        /// Attempts that were begun.
        current: u32,
    },
    /// The event cannot happen in that state.
    #[error("event cannot happen to a task that is {}", state.name())]
    NotAllowed {
        /// The task's state.
        state: State,
    },
    /// The checkpoint is not taken. The task goes on.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Why stored jobs and tasks do not make an executor. The store is damaged.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RestoreError {
    /// A task of a job is missing, or one is there twice or without its job.
    #[error("stored task {number} is missing, or does not belong to its job")]
    Task {
        /// Number of the task.
        number: u64,
    },
    /// A task waits for one that is not there.
    #[error("stored task {number} waits for task {task}, which is missing")]
    Dependency {
        /// Number of the task.
        number: u64,
        /// The one it waits for.
        task: TaskId,
    },
    /// Two jobs have one id, or one owner's key.
    #[error("stored job {job} is there twice")]
    Job {
        /// The job.
        job: JobId,
    },
}
