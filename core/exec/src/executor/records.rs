//! What an executor writes down.

use fogcompute_base::{AccountId, Digest, JobId, TaskId};

use crate::lifecycle::{Life, Transition};
use crate::{IdempotencyKey, Task};

/// A job as it is stored, without its tasks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobEntry {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub owner: AccountId,
    /// The submitter's key.
    pub key: Option<IdempotencyKey>,
    /// [`Job::content`](crate::Job::content).
    pub content: Digest,
    /// Number of its first task; the others follow.
    pub first: u64,
    /// Tasks it has.
    pub tasks: u32,
}

/// A task as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEntry {
    /// Its number: in order of submission.
    pub number: u64,
    /// What was submitted.
    pub task: Task,
    /// What changes.
    pub life: Life,
    /// Log that was kept, in bytes.
    pub log_bytes: u64,
}

/// What the host writes to disk, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A job was submitted. Its tasks have made their first step, [`Life::first_step`].
    Job {
        /// The job.
        job: JobEntry,
        /// Its tasks.
        tasks: Vec<TaskEntry>,
    },
    /// A task made a step.
    Step {
        /// Number of the task.
        number: u64,
        /// The step.
        transition: Transition,
        /// The task after it.
        life: Box<Life>,
    },
    /// A task wrote to its log.
    Log {
        /// Number of the task.
        number: u64,
        /// The task.
        task: TaskId,
        /// Which attempt wrote it.
        attempt: u32,
        /// Where in the task's log it starts, in bytes.
        offset: u64,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// A job that has ended, and its tasks, are forgotten.
    Forgotten {
        /// The job.
        job: JobEntry,
    },
}
