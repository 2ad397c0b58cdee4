//! What a submitter asks for, and what became of it.

use fogcompute_base::{AccountId, JobId, Priority, TaskId};
use fogcompute_exec::{TaskSpec, TaskState};
use fogcompute_ledger::Amount;

use crate::kind::PrivacyLevel;

/// One task of a job.
#[derive(Clone, Debug)]
pub struct TaskOrder {
    /// Names the task; chosen by the submitter, never used twice.
    pub id: TaskId,
    /// What to run.
    pub spec: TaskSpec,
    /// Fuel the task will take, as well as the submitter can tell: placement plans with it.
    pub fuel_estimate: u64,
    /// Most that may be paid. It is reserved until the task has ended.
    pub price_max: Amount,
}

/// A job: tasks that are admitted, placed and paid for together.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// Names the job; chosen by the submitter, never used twice.
    pub id: JobId,
    /// Who pays.
    pub owner: AccountId,
    /// How urgent it is: the tasks of urgent jobs are placed first.
    pub priority: Priority,
    /// How well its tasks are hidden on their way to a node and back: which way they go.
    pub privacy: PrivacyLevel,
    /// What to run.
    pub tasks: Vec<TaskOrder>,
}

/// What became of a job so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct JobSummary {
    /// Tasks that ended with an output.
    pub succeeded: usize,
    /// Tasks that ended with an error.
    pub failed: usize,
    /// Tasks that were given up after their last attempt.
    pub lost: usize,
    /// Tasks that were cancelled.
    pub cancelled: usize,
    /// Tasks that have not ended.
    pub open: usize,
    /// Base units paid to nodes.
    pub paid: Amount,
    /// Base units reserved for tasks that have not ended.
    pub reserved: Amount,
    /// Base units that were reserved and released again.
    pub released: Amount,
}

/// One task as it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TaskView {
    /// Which job it belongs to.
    pub job: JobId,
    /// Where it is in its life.
    pub state: TaskState,
    /// Attempts that were begun.
    pub attempts: u32,
    /// What was paid for it.
    pub paid: Amount,
}
