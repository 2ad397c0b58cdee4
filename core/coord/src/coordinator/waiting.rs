//! Why tasks wait.

use std::collections::BTreeMap;

use fogcompute_base::{JobId, TaskId};
use fogcompute_ledger::Amount;
use fogcompute_schedule::PlacementError;
use thiserror::Error;

use super::{Coordinator, Turn, needs};
use crate::routing::{Candidate, Request, Unroutable};
use crate::task::Task;

/// Most kinds of tasks of one job that [`Coordinator::waiting`] tells of: each is compared with every
/// node.
pub const WAITING_MAX: usize = 8;

/// Why a task waits.
#[non_exhaustive]
#[derive(Clone, Debug, Error, PartialEq)]
pub enum WaitReason {
    /// What happens cannot be written down, so nobody is given anything.
    #[error("the coordinator cannot write down what happens")]
    Stalled,
    /// There is no compute node. Start one.
    #[error("no compute node is there")]
    NoNode,
    /// It goes through the mixnet alone, and a layer of that has no mixnode. Start one.
    #[error("a layer of the mixnet has no mixnode that answers")]
    NoMixnet,
    /// No node lends anything just now. Their policies decide when they do.
    #[error("{nodes} nodes are there, and none lends anything just now")]
    NothingLent {
        /// Compute nodes that are there.
        nodes: usize,
    },
    /// No node that is there takes it as it is now, not even with nothing else to do.
    #[error(transparent)]
    NoFit(Unroutable),
    /// The optimiser has no place for it.
    #[error(transparent)]
    NotPlaced(PlacementError),
    /// Nodes that can take it have others to do first.
    #[error("nodes that can take it are busy; {before} tasks are before it")]
    Busy {
        /// Tasks of the fog that wait and whose turn is before.
        before: usize,
    },
}

/// Tasks of a job that ask for the same, and wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// The first of them, in their turn.
    pub task: TaskId,
    /// How many.
    pub tasks: usize,
    /// Why the first one waits.
    pub reason: WaitReason,
}

/// What tells the tasks of a job apart for nodes: memory, fuel, price, and whether it waits for the
/// mixnet.
type Kind = (u64, u64, Amount, bool);

impl Coordinator {
    /// Why tasks of a job wait, if any do: told for each kind of them, the first [`WAITING_MAX`]. What
    /// a node was given already does not wait.
    ///
    /// Complexity: O(tasks that wait + nodes), for each kind.
    #[must_use]
    pub fn waiting(&self, job: JobId) -> Vec<Waiting> {
        let mut kinds = BTreeMap::<Kind, (Turn, usize)>::new();
        for turn in self.turns() {
            let Some(task) = self.tasks.get(&turn.2).filter(|task| task.job == job) else {
                continue;
            };
            let hidden = self.hidden.contains(&turn);
            let kind = (
                task.memory_bytes,
                task.fuel_estimate,
                task.price_max,
                hidden,
            );
            let (first, count) = kinds.entry(kind).or_insert((turn, 0));
            *first = (*first).min(turn);
            *count += 1;
        }
        let mut kinds: Vec<_> = kinds.into_values().collect();
        kinds.sort_unstable();
        let kinds = kinds.into_iter().take(WAITING_MAX);
        let told = kinds.filter_map(|(turn, tasks)| {
            Some(Waiting {
                task: turn.2,
                tasks,
                reason: self.wait_reason(turn, self.tasks.get(&turn.2)?),
            })
        });
        told.collect()
    }

    /// All that wait.
    fn turns(&self) -> impl Iterator<Item = Turn> {
        let waiting = [&self.unplaced, &self.stuck, &self.hidden];
        let at_nodes = self.queues.iter().map(|(turn, _)| *turn);
        waiting.into_iter().flatten().copied().chain(at_nodes)
    }

    fn wait_reason(&self, turn: Turn, task: &Task) -> WaitReason {
        if self.stalled {
            return WaitReason::Stalled;
        }
        let nodes = self.registry.nodes().iter();
        let nodes = nodes.filter(|(_, node)| !node.lost && node.kind.runs_tasks());
        let there = nodes.clone().count();
        if there == 0 {
            return WaitReason::NoNode;
        }
        if self.hidden.contains(&turn) {
            return WaitReason::NoMixnet;
        }
        if nodes.clone().all(|(_, node)| node.offer.slots() == 0) {
            return WaitReason::NothingLent { nodes: there };
        }
        let request = Request {
            fuel_estimate: task.fuel_estimate,
            price_max: task.price_max,
            privacy: task.privacy,
            ..Request::new(task.job, needs(task.memory_bytes))
        };
        let candidates = nodes.clone().map(|(id, node)| node.candidate(*id));
        if let Err(error) = request.could_fit_any(candidates) {
            return WaitReason::NoFit(error);
        }
        // Some are large enough. They may be leaving, or be silent.
        let able = nodes.map(|(id, node)| node.candidate(*id));
        let able = able.filter(|candidate| request.could_fit(candidate).is_ok());
        let is_out = |candidate: &Candidate<'_>| !candidate.status.takes_tasks();
        if able.clone().all(|candidate| is_out(&candidate)) {
            let first = able.clone().next();
            let obstacle = |it: Candidate<'_>| Some((it.node, request.fits(&it).err()?));
            return WaitReason::NoFit(Unroutable {
                nodes: able.count(),
                nearest: first.and_then(obstacle),
            });
        }
        if let Some(error) = task.told.as_ref().filter(|_| self.stuck.contains(&turn)) {
            return WaitReason::NotPlaced(error.clone());
        }
        let before = self.turns().filter(|other| *other < turn).count();
        WaitReason::Busy { before }
    }
}
