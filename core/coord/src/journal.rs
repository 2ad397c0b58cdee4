//! What a coordinator writes down, so that it can go on after it was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use fogcompute_base::{JobId, NodeId, Priority, TaskId, UnixMillis};
use fogcompute_exec::{TaskError, TaskOutput, TaskSpec, TaskState};
use fogcompute_ledger::Amount;
use fogcompute_schedule::Reputation;

use crate::event::Event;
use crate::job::{JobSpec, JobSummary};
use crate::kind::PrivacyLevel;

/// One thing that happened, in the words a store keeps it in.
#[expect(
    clippy::large_enum_variant,
    reason = "most are of the largest variant, the end of a task"
)]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Record {
    /// A job was admitted: its price is reserved.
    Submitted {
        /// The job with its tasks.
        job: JobSpec,
        /// Number of its first task; the others follow. Whoever came first is placed first.
        arrival: u64,
    },
    /// A task was given to a node. No later attempt may have this number.
    Assigned {
        /// Which task.
        task: TaskId,
        /// The node.
        node: NodeId,
        /// Number of the attempt: the fencing token.
        attempt: u32,
        /// What the node asks for 10⁹ fuel, and will be paid.
        price_per_gigafuel: Amount,
    },
    /// An attempt ended without a result: the task waits again.
    Queued {
        /// Which task.
        task: TaskId,
        /// Attempts that were begun.
        attempts: u32,
        /// The node that let the attempt lapse.
        avoid: Option<NodeId>,
    },
    /// A task ended. What follows for the ledger is done after this is written.
    Ended {
        /// Which task.
        task: TaskId,
        /// How: a terminal state.
        state: TaskState,
        /// What it returned, if a node did.
        result: Option<Result<TaskOutput, TaskError>>,
        /// Who is paid.
        payee: Option<NodeId>,
        /// How much. The rest of what was reserved is released.
        paid: Amount,
        /// Its job.
        job: JobId,
        /// What has become of the job.
        summary: JobSummary,
    },
    /// The ledger has done what followed from the end of a task.
    Settled {
        /// Which task.
        task: TaskId,
    },
    /// What is known of a node's reliability.
    Node {
        /// Which node.
        node: NodeId,
        /// Its reputation.
        reputation: Reputation,
    },
    /// A node is to leave, or takes tasks again.
    Draining {
        /// Which node.
        node: NodeId,
        /// Whether it is to leave.
        draining: bool,
    },
}

/// Where a coordinator writes down what happens: the host's store.
pub trait Journal {
    /// Why nothing was written.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Writes all of `records` or none, in their order. When it returns, they outlive a crash.
    ///
    /// Writing the same records once more must change nothing: after an error it may not be known
    /// whether they were written.
    ///
    /// # Errors
    /// The store's error. The same records are given again at the next call.
    fn commit(&mut self, records: &[Record], now: UnixMillis) -> Result<(), Self::Error>;
}

/// A journal that keeps nothing, for a fog that ends with its process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Forgetful;

impl Journal for Forgetful {
    type Error = Infallible;

    fn commit(&mut self, _: &[Record], _: UnixMillis) -> Result<(), Infallible> {
        Ok(())
    }
}

/// What a store kept, for [`Coordinator::recover`](crate::Coordinator::recover).
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Jobs in the order of their submission: all with tasks that are given below, and of others as
    /// many of the latest as a coordinator remembers.
    pub jobs: Vec<StoredJob>,
    /// Tasks that have not ended, and those that have and are not settled.
    pub tasks: Vec<StoredTask>,
    /// Nodes that are known.
    pub nodes: Vec<StoredNode>,
    /// Number of the next task.
    pub arrivals: u64,
}

/// One node as a store kept it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoredNode {
    /// Which node.
    pub id: NodeId,
    /// What is known of its reliability.
    pub reputation: Reputation,
    /// Whether it is to leave.
    pub draining: bool,
}

impl StoredNode {
    /// A node of which nothing is known.
    #[must_use]
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            reputation: Reputation::default(),
            draining: false,
        }
    }
}

/// One job as a store kept it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoredJob {
    /// Which job.
    pub id: JobId,
    /// What became of it so far.
    pub summary: JobSummary,
}

/// One task as a store kept it.
#[derive(Clone, Debug)]
pub struct StoredTask {
    /// Which task.
    pub id: TaskId,
    /// Its job.
    pub job: JobId,
    /// How urgent the job is.
    pub priority: Priority,
    /// How well it must be hidden.
    pub privacy: PrivacyLevel,
    /// Number of the task in the order of admission.
    pub arrival: u64,
    /// What to run. `None` if it has ended.
    pub spec: Option<TaskSpec>,
    /// Fuel it was said to take.
    pub fuel_estimate: u64,
    /// Most that may be paid.
    pub price_max: Amount,
    /// Where it is in its life.
    pub state: TaskState,
    /// What the node that has it is paid for 10⁹ fuel.
    pub price_per_gigafuel: Amount,
    /// Nodes that let an attempt lapse.
    pub avoid: BTreeSet<NodeId>,
    /// Who is paid, if it has ended and somebody is.
    pub payee: Option<NodeId>,
    /// What was paid for it.
    pub paid: Amount,
    /// What it returned, with the node and the attempt, if it has ended and a node returned
    /// something.
    pub result: Option<(NodeId, u32, Result<TaskOutput, TaskError>)>,
}

impl StoredTask {
    /// What is told of its end.
    pub(crate) fn end(&mut self) -> Option<Event> {
        let task = self.id;
        Some(match self.state {
            TaskState::Succeeded | TaskState::Failed => {
                let (node, attempt, result) = self.result.take()?;
                Event::TaskEnded {
                    task,
                    node,
                    attempt,
                    result,
                    paid: self.paid,
                }
            }
            TaskState::Cancelled => Event::TaskCancelled { task },
            TaskState::Lost { .. } => Event::TaskLost { task },
            _ => return None,
        })
    }
}

impl JobSummary {
    /// The summary of a job whose tasks wait.
    #[must_use]
    pub fn open(job: &JobSpec) -> Self {
        // The ledger has reserved them together, so their sum fits.
        let reserved = job.tasks.iter().map(|order| order.price_max.0).sum();
        Self {
            open: job.tasks.len(),
            reserved: Amount(reserved),
            ..Self::default()
        }
    }

    /// Counts the end of one task for which `price_max` was reserved.
    pub(crate) fn count_end(&mut self, state: TaskState, price_max: Amount, paid: Amount) {
        match state {
            TaskState::Succeeded => self.succeeded += 1,
            TaskState::Failed => self.failed += 1,
            TaskState::Cancelled => self.cancelled += 1,
            _ => self.lost += 1,
        }
        self.open -= 1;
        // None overflows: they are parts of what the job reserved together.
        self.reserved = Amount(self.reserved.0 - price_max.0);
        self.paid = Amount(self.paid.0 + paid.0);
        self.released = Amount(self.released.0 + (price_max.0 - paid.0));
    }
}

/// A journal in memory that says what a store would have kept: for tests and simulations, which
/// let it outlive a coordinator. Jobs whose tasks have all ended and are settled keep their summary.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    jobs: BTreeMap<JobId, JobSummary>,
    tasks: BTreeMap<TaskId, StoredTask>,
    nodes: BTreeMap<NodeId, StoredNode>,
    /// Jobs in the order of their submission.
    order: Vec<JobId>,
    arrivals: u64,
}

impl MemoryJournal {
    /// What was written so far.
    #[must_use]
    pub fn stored(&self) -> Stored {
        let jobs = self.order.iter();
        let jobs = jobs.filter_map(|id| Some((*id, *self.jobs.get(id)?)));
        let mut tasks: Vec<_> = self.tasks.values().cloned().collect();
        tasks.sort_unstable_by_key(|task| task.arrival);
        Stored {
            jobs: jobs
                .map(|(id, summary)| StoredJob { id, summary })
                .collect(),
            tasks,
            nodes: self.nodes.values().copied().collect(),
            arrivals: self.arrivals,
        }
    }

    fn node(&mut self, id: NodeId) -> &mut StoredNode {
        let known = self.nodes.entry(id);
        known.or_insert_with(|| StoredNode::new(id))
    }

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Submitted { job, arrival } => {
                if self.jobs.insert(job.id, JobSummary::open(job)).is_none() {
                    self.order.push(job.id);
                }
                for (order, arrival) in job.tasks.iter().zip(*arrival..) {
                    let task = StoredTask {
                        id: order.id,
                        job: job.id,
                        priority: job.priority,
                        privacy: job.privacy,
                        arrival,
                        spec: Some(order.spec.clone()),
                        fuel_estimate: order.fuel_estimate,
                        price_max: order.price_max,
                        state: TaskState::Queued { attempts: 0 },
                        price_per_gigafuel: Amount::ZERO,
                        avoid: BTreeSet::new(),
                        payee: None,
                        paid: Amount::ZERO,
                        result: None,
                    };
                    self.tasks.insert(order.id, task);
                    self.arrivals = arrival + 1;
                }
            }
            Record::Assigned {
                task,
                node,
                attempt,
                price_per_gigafuel,
            } => {
                if let Some(task) = self.tasks.get_mut(task) {
                    task.state = TaskState::Assigned {
                        node: *node,
                        attempt: *attempt,
                    };
                    task.price_per_gigafuel = *price_per_gigafuel;
                }
            }
            Record::Queued {
                task,
                attempts,
                avoid,
            } => {
                if let Some(task) = self.tasks.get_mut(task) {
                    task.state = TaskState::Queued {
                        attempts: *attempts,
                    };
                    task.avoid.extend(*avoid);
                }
            }
            Record::Ended {
                task,
                state,
                payee,
                paid,
                job,
                summary,
                result,
            } => {
                self.jobs.insert(*job, *summary);
                if let Some(task) = self.tasks.get_mut(task) {
                    if let TaskState::Assigned { node, attempt } = task.state {
                        task.result = result.clone().map(|result| (node, attempt, result));
                    }
                    task.state = *state;
                    task.spec = None;
                    task.avoid.clear();
                    task.payee = *payee;
                    task.paid = *paid;
                }
            }
            Record::Settled { task } => {
                self.tasks.remove(task);
            }
            Record::Node { node, reputation } => {
                self.node(*node).reputation = *reputation;
            }
            Record::Draining { node, draining } => {
                self.node(*node).draining = *draining;
            }
        }
    }
}

impl Journal for MemoryJournal {
    type Error = Infallible;

    fn commit(&mut self, records: &[Record], _: UnixMillis) -> Result<(), Infallible> {
        for record in records {
            self.apply(record);
        }
        Ok(())
    }
}
