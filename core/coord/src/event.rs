//! What a coordinator tells its host.

use std::fmt;

use fogcompute_base::{JobId, NodeId, TaskId};
use fogcompute_exec::{TaskError, TaskOutput, TaskSpec};
use fogcompute_ledger::Amount;
use fogcompute_schedule::{PlacementError, Plan};

use crate::job::JobSummary;
use crate::kind::PrivacyLevel;

/// Why an attempt ended without a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LossReason {
    /// The node's connection ended.
    Disconnected,
    /// The node was silent for too long.
    Silent,
    /// The attempt took longer than its lease.
    LeaseExpired,
    /// The node gave the task back.
    GivenBack,
    /// The node claimed to have used more than the task's limits.
    OverLimits,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "disconnected",
            Self::Silent => "silent for too long",
            Self::LeaseExpired => "lease expired",
            Self::GivenBack => "given back",
            Self::OverLimits => "over the limits",
        })
    }
}

/// What the host should do or may want to show.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Send this task to this node. Its report must carry the attempt.
    Dispatch {
        /// Which node.
        node: NodeId,
        /// Which task.
        task: TaskId,
        /// The attempt, from 1: a fencing token.
        attempt: u32,
        /// By which way: [`PrivacyLevel::needs_mixnet`].
        privacy: PrivacyLevel,
        /// What to run.
        spec: TaskSpec,
    },
    /// A job is admitted: it is written down, and its price reserved.
    Admitted {
        /// Which job.
        job: JobId,
    },
    /// A task has ended, and the ledger refuses by its rules to move its money, for instance because
    /// the node's account is closed. What was reserved stays reserved:
    /// [`Coordinator::settle_again`](crate::Coordinator::settle_again).
    SettlementRefused {
        /// Which task.
        task: TaskId,
    },
    /// Tasks were placed; the front says what else was possible.
    Placed {
        /// Tasks that were placed, in the order of the plan's assignments.
        tasks: usize,
        /// The front, the chosen point and why.
        plan: Plan,
    },
    /// No node of the fog as it is can take this task. It waits for one that can. Told again only
    /// when the reason has changed.
    Unplaceable {
        /// Which task.
        task: TaskId,
        /// Which constraint removed how many nodes, and the nearest miss. Nodes that expect more
        /// than may be paid for the task fail on cost.
        error: PlacementError,
    },
    /// The tasks that wait could not be placed together; they wait for the fog to change.
    NotPlaced {
        /// Why.
        error: PlacementError,
    },
    /// Tasks wait, because no node that lends compute now can take them.
    Waiting {
        /// How many.
        tasks: usize,
    },
    /// A task ended.
    TaskEnded {
        /// Which task.
        task: TaskId,
        /// The node it ran on.
        node: NodeId,
        /// The attempt that ended it.
        attempt: u32,
        /// Its output, or its error.
        result: Result<TaskOutput, TaskError>,
        /// What the node was paid.
        paid: Amount,
    },
    /// An attempt ended without a result; the task will be placed again.
    AttemptLost {
        /// Which task.
        task: TaskId,
        /// The node that had it.
        node: NodeId,
        /// The attempt.
        attempt: u32,
        /// Why.
        reason: LossReason,
    },
    /// A task was cancelled by its submitter.
    TaskCancelled {
        /// Which task.
        task: TaskId,
    },
    /// Others could do this now: the node should give it back by [`Coordinator::gave_back`] if it has
    /// not begun. Said once for each attempt.
    ///
    /// [`Coordinator::gave_back`]: crate::Coordinator::gave_back
    Recall {
        /// Which node.
        node: NodeId,
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
    },
    /// Stop this attempt: the task was cancelled, or its lease is over. The slot of a cancelled
    /// attempt is free when it has reported, at the latest when its lease is over.
    Revoke {
        /// Which node.
        node: NodeId,
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
    },
    /// A task was given up after its last attempt.
    TaskLost {
        /// Which task.
        task: TaskId,
    },
    /// A node is gone. It may register again.
    NodeLost {
        /// Which node.
        node: NodeId,
        /// Why.
        reason: LossReason,
    },
    /// A node that is drained has nothing left: it may leave.
    Drained {
        /// Which node.
        node: NodeId,
    },
    /// All tasks of a job have ended.
    JobEnded {
        /// Which job.
        job: JobId,
        /// What became of it.
        summary: JobSummary,
    },
}
