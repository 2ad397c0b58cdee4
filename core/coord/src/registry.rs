//! The nodes of a fog.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::OnceLock;
use std::time::Duration;

use fogcompute_base::limits::NODES_MAX;
use fogcompute_base::{Instant, NodeId, TaskId};
use fogcompute_exec::ContentId;
use fogcompute_ledger::Amount;
use fogcompute_schedule::{NODES_MAX as PLACEMENT_NODES_MAX, Reputation};
use thiserror::Error;

use crate::breaker::{Breaker, Permit};
use crate::coordinates::Coordinate;
use crate::detector::Detector;
use crate::index::Index;
use crate::journal::StoredNode;
use crate::kind::{NodeKind, Status};
use crate::routing::{Candidate, Capacity, Content, Strategy};
use crate::task::TASK_CPU_MILLIS;

/// Most nodes one registry holds: no more than the optimiser places on at once.
pub(crate) const REGISTRY_NODES_MAX: usize = if NODES_MAX < PLACEMENT_NODES_MAX {
    NODES_MAX
} else {
    PLACEMENT_NODES_MAX
};

/// Highest latency of an offer, in milliseconds: more than a day is no connection. The optimiser
/// has a limit too, and a node beyond it would spoil the placement of everybody's tasks.
pub(crate) const LATENCY_MS_MAX: f64 = 1e8;

/// Why an offer makes no sense.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum OfferError {
    /// The latency is negative, not a number, or more than a day.
    #[error("latency of {millis} ms")]
    Latency {
        /// What was offered.
        millis: f64,
    },
    /// The node says it computes nothing per second but lends processors.
    #[error("offer lends {cpu_millis} thousandths of a processor at no speed")]
    Speed {
        /// What was offered.
        cpu_millis: u64,
    },
}

/// Why a node cannot register.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum RegisterError {
    /// The offer makes no sense.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The registry is full of nodes that are there. Lost ones make room.
    #[error("registry holds its limit of {limit} nodes")]
    Full {
        /// The limit.
        limit: usize,
    },
}

/// What a node lends now. All zero when its harvest policy says no.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Memory for tasks, in bytes.
    pub memory_bytes: u64,
    /// Fuel one processor burns in a second, measured by the node.
    pub fuel_per_second: u64,
    /// Base units for 10⁹ fuel.
    pub price_per_gigafuel: Amount,
    /// Time of a message to the node and back, in milliseconds, measured by the host.
    pub latency_ms: f64,
}

impl Offer {
    pub(crate) fn check(&self) -> Result<(), OfferError> {
        if !(0.0..=LATENCY_MS_MAX).contains(&self.latency_ms) {
            return Err(OfferError::Latency {
                millis: self.latency_ms,
            });
        }
        if self.cpu_millis > 0 && self.fuel_per_second == 0 {
            return Err(OfferError::Speed {
                cpu_millis: self.cpu_millis,
            });
        }
        Ok(())
    }

    /// Tasks the node runs at once: one for each whole processor. A share of less lends nothing,
    /// because the runtime does not slow a task down yet.
    #[must_use]
    pub fn slots(&self) -> usize {
        if self.memory_bytes == 0 {
            return 0;
        }
        usize::try_from(self.cpu_millis / 1000).unwrap_or(usize::MAX)
    }
}

/// One node as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// Which node.
    pub node: NodeId,
    /// How it is doing.
    pub status: Status,
    /// Whether it is left alone because it failed at its tasks.
    pub barred: bool,
    /// What it lends.
    pub offer: Offer,
    /// What is known of its reliability.
    pub reputation: Reputation,
    /// What kind of node it is.
    pub kind: NodeKind,
    /// Where it is among the others, once a round trip was measured.
    pub coordinate: Option<Coordinate>,
    /// Tasks it has for its processors, cancelled ones that it has not let go of included.
    pub running: usize,
    /// Memory those may take, in bytes.
    pub memory_bytes: u64,
    /// Tasks that it was given ahead of time and that wait there for a processor.
    pub ahead: usize,
    /// Tasks that wait for it.
    pub waiting: usize,
}

/// An attempt that takes up a slot of its node: it was dispatched, and neither its report nor the
/// end of its lease has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Number of the attempt: what frees the slot must name it.
    pub number: u32,
    /// When the slot is free again, whatever the node says. A report can be lost on its way.
    pub lease: Instant,
    /// The task's memory limit.
    pub memory_bytes: u64,
    /// What the node asked for 10⁹ fuel when it got the task, and is paid.
    pub price_per_gigafuel: Amount,
    /// Whether it was dispatched in this life of the coordinator.
    pub dispatched: bool,
    /// Whether it began in an earlier life of the coordinator: its node may have heard of it then.
    pub inherited: bool,
    /// The breaker's. `None` if the node was left alone when the coordinator was killed.
    pub permit: Option<Permit>,
    /// The task's estimated fuel.
    pub fuel_estimate: u64,
    /// Whether it was given ahead of time and waits there: it takes up no slot.
    pub ahead: bool,
    /// Whether the node was asked to give it back.
    pub recalled: bool,
}

/// What the end of an attempt says of its node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Success,
    Failure,
    Nothing,
}

/// Most tasks that a node is given ahead of time.
const AHEAD_MAX: usize = 1_024;

/// What a short task takes a processor beside its fuel, in fractions of a second: an instance of its
/// own, and its part of the messages.
const OVERHEADS_PER_SECOND: u64 = 2_500;

/// Most modules that are remembered of a node.
const MODULES_MAX: usize = 32;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub offer: Offer,
    reputation: Reputation,
    /// The lower bound of that, which takes microseconds and is asked of many nodes for each task.
    trust: OnceLock<f64>,
    pub heard: Instant,
    pub detector: Detector,
    pub breaker: Breaker,
    pub lost: bool,
    /// Late with its heartbeat: it gets no new tasks.
    pub suspect: bool,
    /// Left alone by its breaker.
    pub barred: bool,
    /// To leave: it gets no new tasks.
    pub draining: bool,
    pub kind: NodeKind,
    /// Where it is, and how far that is in milliseconds, once a round trip was measured.
    pub place: Option<(Coordinate, f64)>,
    /// Modules it was sent, the latest at the back.
    modules: VecDeque<ContentId>,
    /// Dispatched and not reported; cancelled ones too, until the node has let go of them.
    running: BTreeMap<TaskId, Attempt>,
    /// When the leases of those end.
    leases: BTreeSet<(Instant, TaskId)>,
    /// Memory of those that have a slot, in bytes. Wide enough for whatever tasks may take.
    held_bytes: u128,
    /// Those of which the node has not heard in this life of the coordinator.
    undispatched: usize,
    /// Those of them that were given ahead of time, in their order there.
    pub ahead: VecDeque<TaskId>,
    /// The estimated fuel of those.
    ahead_fuel: u128,
    /// Placed here, to be dispatched when a slot is free.
    pub waiting: VecDeque<TaskId>,
}

impl Node {
    pub(crate) fn status(&self) -> Status {
        if self.lost {
            Status::Offline
        } else if self.draining && self.running.is_empty() {
            Status::Maintenance
        } else if self.draining {
            Status::Draining
        } else if self.suspect {
            Status::Suspect
        } else if self.free_slots() == 0 {
            Status::Busy
        } else if self.running.is_empty() {
            Status::Idle
        } else {
            Status::Active
        }
    }

    /// The probability of success that it exceeds with 95 % certainty.
    pub(crate) fn trust(&self) -> f64 {
        *self.trust.get_or_init(|| self.reputation.lower_bound())
    }

    /// Counts the outcome of an attempt. Returns what is then known of its reliability.
    pub(crate) fn record(&mut self, success: bool) -> Reputation {
        let recorded = self.reputation.record(success, 1.0);
        debug_assert!(recorded.is_ok(), "a weight of 1 is valid");
        self.trust.take();
        self.reputation
    }

    /// Whether it may get tasks, as far as it has room.
    pub(crate) const fn takes_tasks(&self) -> bool {
        self.kind.runs_tasks() && !(self.lost || self.suspect || self.barred || self.draining)
    }

    /// The node gave a sign of life. Says whether it was suspect.
    pub(crate) fn hear(&mut self, now: Instant) -> bool {
        self.heard = now;
        self.detector.heard(now);
        mem::take(&mut self.suspect)
    }

    /// Modules it was sent.
    pub(crate) const fn modules(&self) -> &VecDeque<ContentId> {
        &self.modules
    }

    /// When something is due: it is late, its breaker lets it try again, or a lease is over.
    pub(crate) fn due(&self) -> Option<Instant> {
        let health = self.detector.poll_timeout().filter(|_| !self.lost);
        let pause = self.breaker.poll_timeout();
        let pause = pause.filter(|_| self.barred && !self.lost);
        let lease = self.leases.first().map(|(lease, _)| *lease);
        lease.into_iter().chain(health).chain(pause).min()
    }

    /// What it was given and has not reported on; cancelled attempts too, until it has let go of them.
    pub(crate) const fn running(&self) -> &BTreeMap<TaskId, Attempt> {
        &self.running
    }

    /// Spoils what is known of attempts: for tests of who looks after it.
    #[cfg(test)]
    pub(crate) const fn running_mut(&mut self) -> &mut BTreeMap<TaskId, Attempt> {
        &mut self.running
    }

    /// Attempts whose lease is over.
    pub(crate) fn lapsed(&self, now: Instant) -> impl Iterator<Item = (TaskId, u32)> {
        let over = self
            .leases
            .iter()
            .take_while(move |(lease, _)| *lease <= now);
        over.filter_map(|(_, task)| Some((*task, self.running.get(task)?.number)))
    }

    /// Whether there are attempts of which it has not heard in this life of the coordinator.
    pub(crate) const fn has_undispatched(&self) -> bool {
        self.undispatched > 0
    }

    /// An attempt ends at another time than was said.
    pub(crate) fn renew(&mut self, task: TaskId, lease: Instant) {
        if let Some(attempt) = self.running.get_mut(&task) {
            self.leases.remove(&(attempt.lease, task));
            self.leases.insert((lease, task));
            attempt.lease = lease;
        }
    }

    /// The node is told of an attempt, or is not told after all.
    pub(crate) fn set_dispatched(&mut self, task: TaskId, dispatched: bool) {
        if let Some(attempt) = self.running.get_mut(&task) {
            match (attempt.dispatched, dispatched) {
                (false, true) => self.undispatched -= 1,
                (true, false) => self.undispatched += 1,
                _ => {}
            }
            attempt.dispatched = dispatched;
        }
    }

    /// The node is asked to give an attempt back. The number of that attempt, if it was not asked
    /// before and the attempt is not the last one.
    pub(crate) fn recall(&mut self, task: TaskId, attempts_max: u32) -> Option<u32> {
        let attempt = self.running.get_mut(&task);
        let attempt = attempt.filter(|attempt| attempt.number < attempts_max)?;
        (!mem::replace(&mut attempt.recalled, true)).then_some(attempt.number)
    }

    /// Memory that nothing is promised of.
    pub(crate) fn free_memory(&self) -> u64 {
        self.offer.memory_bytes.saturating_sub(self.held(0))
    }

    /// How far it is, in milliseconds.
    pub(crate) fn distance_ms(&self) -> f64 {
        let placed = self.place.map(|(_, distance_ms)| distance_ms);
        placed.unwrap_or(self.offer.latency_ms)
    }

    /// The node as a router sees it.
    pub(crate) fn candidate(&self, id: NodeId) -> Candidate<'_> {
        let capacity = |slots: usize, memory_bytes| Capacity {
            cpu_millis: (slots as u64).saturating_mul(TASK_CPU_MILLIS),
            memory_bytes,
            storage_bytes: 0,
        };
        Candidate {
            kind: self.kind,
            status: self.status(),
            coordinate: self.place.map(|(place, _)| place),
            free: capacity(self.free_slots(), self.free_memory()),
            running: self.running.len() - self.ahead.len(),
            waiting: self.waiting.len() + self.ahead.len(),
            price_per_gigafuel: self.offer.price_per_gigafuel,
            trust: self.trust(),
            latency_ms: self.distance_ms(),
            // Every task reaches its node through it.
            mixnet: true,
            content: Content::Few(&self.modules),
            ..Candidate::new(id, capacity(self.offer.slots(), self.offer.memory_bytes))
        }
    }

    /// Whether a task that may take `memory_bytes` can start now.
    pub(crate) fn has_room(&self, memory_bytes: u64) -> bool {
        self.has_free_slot() && self.held(memory_bytes) <= self.offer.memory_bytes
    }

    /// Memory of the tasks that have a slot, and so much more.
    pub(crate) fn held(&self, more: u64) -> u64 {
        u64::try_from(self.held_bytes + u128::from(more)).unwrap_or(u64::MAX)
    }

    /// Whether a task may be given to the node ahead of time, so that it never waits for one: as many
    /// as its processors do within `ahead`, but one for each in any case.
    pub(crate) fn has_room_ahead(&self, fuel_estimate: u64, ahead: Duration) -> bool {
        let slots = self.offer.slots();
        if ahead.is_zero() || !self.takes_tasks() || self.has_free_slot() || slots == 0 {
            return false;
        }
        // It lends less than what it has takes.
        let started = self.running.len() - self.ahead.len();
        if started > slots || self.held(0) > self.offer.memory_bytes {
            return false;
        }
        if self.ahead.len() >= AHEAD_MAX {
            return false;
        }
        if self.ahead.len() < slots {
            return true;
        }
        let overheads = (self.ahead.len() + 1) as f64 / OVERHEADS_PER_SECOND as f64;
        let fuel = self.ahead_fuel + u128::from(fuel_estimate);
        let seconds = overheads + fuel as f64 / self.offer.fuel_per_second.max(1) as f64;
        seconds <= ahead.as_secs_f64() * slots as f64
    }

    /// An attempt that was dispatched.
    pub(crate) fn begin(&mut self, task: TaskId, attempt: Attempt) {
        // Only a store that contradicts itself has a task twice.
        self.forget(task);
        if attempt.ahead {
            self.ahead.push_back(task);
            self.ahead_fuel += u128::from(attempt.fuel_estimate);
        } else {
            self.held_bytes += u128::from(attempt.memory_bytes);
        }
        self.undispatched += usize::from(!attempt.dispatched);
        self.leases.insert((attempt.lease, task));
        self.running.insert(task, attempt);
    }

    /// What was counted of an attempt is counted no more.
    fn forget(&mut self, task: TaskId) {
        let Some(held) = self.running.remove(&task) else {
            return;
        };
        self.leases.remove(&(held.lease, task));
        self.undispatched -= usize::from(!held.dispatched);
        if held.ahead {
            self.ahead.retain(|ahead| *ahead != task);
            self.ahead_fuel -= u128::from(held.fuel_estimate);
        } else {
            self.held_bytes -= u128::from(held.memory_bytes);
        }
        if self.running.is_empty() {
            // An emptied map keeps a leaf with room for eleven attempts, and an emptied queue all that
            // it ever had: more than the rest of what is known of a node.
            self.running = BTreeMap::new();
            self.leases = BTreeSet::new();
            self.ahead = VecDeque::new();
        }
    }

    /// What was given ahead of time gets the slots that are free.
    fn start_ahead(&mut self) {
        while let Some(next) = self.ahead.front()
            && let Some(attempt) = self.running.get(next)
            && !self.lost
            && self.running.len() - self.ahead.len() < self.offer.slots()
            && self.held(attempt.memory_bytes) <= self.offer.memory_bytes
        {
            if let Some(task) = self.ahead.pop_front()
                && let Some(attempt) = self.running.get_mut(&task)
            {
                attempt.ahead = false;
                self.ahead_fuel -= u128::from(attempt.fuel_estimate);
                self.held_bytes += u128::from(attempt.memory_bytes);
            }
        }
    }

    /// Whether the node has a slot that nothing waits for.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.has_free_slot()
    }

    /// Tasks that could start now, if memory were no matter.
    pub(crate) fn free_slots(&self) -> usize {
        if !self.takes_tasks() {
            return 0;
        }
        let started = self.running.len() - self.ahead.len();
        self.offer.slots().saturating_sub(started)
    }

    fn has_free_slot(&self) -> bool {
        self.free_slots() > 0
    }

    /// Frees the slot of an attempt. `false` if that attempt holds none.
    pub(crate) fn free_slot(
        &mut self,
        task: TaskId,
        number: u32,
        outcome: Outcome,
        now: Instant,
    ) -> bool {
        let held = self.running.get(&task);
        let Some(held) = held.filter(|held| held.number == number).copied() else {
            return false;
        };
        self.forget(task);
        self.start_ahead();
        if let Some(permit) = held.permit {
            match outcome {
                Outcome::Success => self.breaker.succeeded(permit),
                Outcome::Failure => self.breaker.failed(permit, now),
                Outcome::Nothing => self.breaker.abandoned(permit),
            }
        }
        self.barred = !self.breaker.permits(now);
        true
    }
}

/// All nodes ever seen, so that reputation outlives a connection; the longest lost are forgotten
/// when there are too many.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Changed through [`Registry::update`] only, so that the index is true.
    nodes: BTreeMap<NodeId, Node>,
    index: Index,
    /// Of nobody: those of the nodes judge as these do.
    detector: Detector,
    breaker: Breaker,
}

impl Registry {
    /// A registry without nodes, which watches them as this detector and this breaker do.
    pub(crate) fn new(detector: Detector, breaker: Breaker, strategy: Option<Strategy>) -> Self {
        Self {
            nodes: BTreeMap::new(),
            index: Index::new(strategy),
            detector,
            breaker,
        }
    }

    fn node(&self, offer: Offer, reputation: Reputation, lost: bool, now: Instant) -> Node {
        Node {
            offer,
            reputation,
            trust: OnceLock::new(),
            heard: now,
            detector: self.detector.another(now),
            breaker: self.breaker.another(),
            lost,
            suspect: false,
            barred: false,
            draining: false,
            kind: NodeKind::Compute,
            place: None,
            modules: VecDeque::new(),
            running: BTreeMap::new(),
            leases: BTreeSet::new(),
            held_bytes: 0,
            undispatched: 0,
            ahead: VecDeque::new(),
            ahead_fuel: 0,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) const fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) const fn index_mut(&mut self) -> &mut Index {
        &mut self.index
    }

    /// Changes a node, if it is known.
    pub(crate) fn update<T>(
        &mut self,
        id: NodeId,
        change: impl FnOnce(&mut Node) -> T,
    ) -> Option<T> {
        let node = self.nodes.get_mut(&id)?;
        let changed = change(node);
        self.index.refresh(id, node);
        Some(changed)
    }

    /// A node is sent a module, and has it from now on.
    pub(crate) fn keep(&mut self, id: NodeId, module: ContentId) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if node.modules.contains(&module) {
            return;
        }
        node.modules.push_back(module);
        let instead = (node.modules.len() > MODULES_MAX)
            .then(|| node.modules.pop_front())
            .flatten();
        self.index.keeps(id, module, instead);
    }

    /// Whether there is room for a node: it is known, there is a place, or a lost one makes room.
    pub(crate) fn has_room(&self, node: NodeId) -> bool {
        self.nodes.len() < REGISTRY_NODES_MAX
            || self.nodes.contains_key(&node)
            || self.index.longest_lost().is_some()
    }

    /// Adds a node or brings it back. `false` if the registry is full.
    pub(crate) fn insert(&mut self, node: NodeId, offer: Offer, now: Instant) -> bool {
        let known = self.update(node, |known| {
            known.offer = offer;
            known.hear(now);
            known.barred = !known.breaker.permits(now);
            known.lost = false;
        });
        if known.is_some() {
            return true;
        }
        if self.nodes.len() >= REGISTRY_NODES_MAX {
            let Some(id) = self.index.longest_lost() else {
                return false;
            };
            if let Some(forgotten) = self.nodes.remove(&id) {
                self.index.remove(id, &forgotten);
            }
        }
        self.add(node, self.node(offer, Reputation::default(), false, now));
        true
    }

    /// Adds a node that is known from an earlier life and has not registered in this one. Without
    /// room it is forgotten.
    pub(crate) fn remember(&mut self, node: StoredNode, now: Instant) {
        if self.nodes.contains_key(&node.id) || self.nodes.len() >= REGISTRY_NODES_MAX {
            return;
        }
        let nothing = Offer {
            cpu_millis: 0,
            memory_bytes: 0,
            fuel_per_second: 0,
            price_per_gigafuel: Amount::ZERO,
            latency_ms: 0.0,
        };
        let absent = Node {
            draining: node.draining,
            ..self.node(nothing, node.reputation, true, now)
        };
        self.add(node.id, absent);
    }

    fn add(&mut self, id: NodeId, node: Node) {
        self.index.refresh(id, &node);
        self.nodes.insert(id, node);
    }

    /// Spoils the index: for tests of who looks after it.
    #[cfg(test)]
    pub(crate) fn forget_in_index(&mut self, id: NodeId) {
        self.index.remove(id, &self.nodes[&id]);
    }

    pub(crate) fn views(&self) -> Vec<NodeView> {
        self.nodes
            .iter()
            .map(|(id, node)| NodeView {
                node: *id,
                status: node.status(),
                barred: node.barred,
                offer: node.offer,
                reputation: node.reputation,
                kind: node.kind,
                coordinate: node.place.map(|(place, _)| place),
                running: node.running.len() - node.ahead.len(),
                memory_bytes: node.held(0),
                ahead: node.ahead.len(),
                waiting: node.waiting.len(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::BreakerConfig;
    use crate::detector::DetectorConfig;

    const OFFER: Offer = Offer {
        cpu_millis: 2_000,
        memory_bytes: 100,
        fuel_per_second: 1,
        price_per_gigafuel: Amount(1),
        latency_ms: 0.0,
    };
    const TASK: TaskId = TaskId::from_bytes([1; 16]);

    fn node(index: usize) -> NodeId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(index as u64).to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    fn attempt(number: u32, memory_bytes: u64) -> Attempt {
        Attempt {
            number,
            lease: Instant::ZERO,
            memory_bytes,
            price_per_gigafuel: Amount(1),
            dispatched: true,
            inherited: false,
            permit: None,
            fuel_estimate: 0,
            ahead: false,
            recalled: false,
        }
    }

    #[test]
    fn what_was_given_ahead_of_time_takes_the_slots_that_become_free() {
        let mut registry = registry();
        let offer = Offer {
            fuel_per_second: 1_000_000,
            ..OFFER
        };
        assert!(registry.insert(node(1), offer, Instant::ZERO));
        let node = registry.nodes.get_mut(&node(1)).unwrap();
        let task = |number| TaskId::from_bytes([number; 16]);
        let ahead = Duration::from_millis(50);
        assert!(!node.has_room_ahead(1, ahead), "it has free slots");
        node.begin(task(1), attempt(1, 40));
        node.begin(task(2), attempt(1, 60));
        let waits = |fuel_estimate, memory_bytes| Attempt {
            fuel_estimate,
            ahead: true,
            ..attempt(1, memory_bytes)
        };
        assert!(!node.has_room_ahead(1, Duration::ZERO));
        for number in 3..5 {
            // However long they take, one for each processor.
            assert!(node.has_room_ahead(u64::MAX, ahead));
            node.begin(task(number), waits(40_000, 50));
        }
        // 80 ms of work wait for two processors, and what they cost beside it.
        assert!(node.has_room_ahead(18_000, ahead));
        assert!(!node.has_room_ahead(20_000, ahead));
        assert_eq!((node.free_slots(), node.held(0)), (0, 100));

        // There is a slot, but no memory.
        assert!(node.free_slot(task(1), 1, Outcome::Nothing, Instant::ZERO));
        assert_eq!((node.ahead.len(), node.held(0)), (2, 60));
        assert!(node.free_slot(task(2), 1, Outcome::Nothing, Instant::ZERO));
        assert_eq!((node.ahead.len(), node.held(0)), (0, 100));
        assert_eq!(node.ahead_fuel, 0);
        for number in 3..5 {
            assert!(node.free_slot(task(number), 1, Outcome::Nothing, Instant::ZERO));
        }
        assert!(node.is_idle());
    }

    fn registry() -> Registry {
        let detector = Detector::new(DetectorConfig::default(), Instant::ZERO);
        let breaker = Breaker::new(BreakerConfig::default());
        Registry::new(detector.unwrap(), breaker.unwrap(), None)
    }

    fn fresh(offer: Offer) -> Node {
        let mut registry = registry();
        assert!(registry.insert(node(1), offer, Instant::ZERO));
        registry.nodes.remove(&node(1)).unwrap()
    }

    #[test]
    fn a_slot_is_a_whole_processor_and_needs_memory() {
        let slots = |cpu_millis, memory_bytes| {
            Offer {
                cpu_millis,
                memory_bytes,
                ..OFFER
            }
            .slots()
        };
        assert_eq!(slots(999, 1), 0);
        assert_eq!(slots(1_000, 1), 1);
        assert_eq!(slots(3_999, 1), 3);
        assert_eq!(slots(4_000, 0), 0);
        assert_eq!(fresh(OFFER).status(), Status::Idle);
        let nothing = Offer {
            memory_bytes: 0,
            ..OFFER
        };
        assert_eq!(fresh(nothing).status(), Status::Busy);
    }

    #[test]
    fn there_is_room_while_slots_and_memory_last() {
        let mut node = fresh(OFFER);
        assert!(node.has_room(100));
        assert!(!node.has_room(101));
        node.begin(TASK, attempt(1, 60));
        assert!(node.has_room(40));
        assert!(!node.has_room(41));
        assert!(!node.has_room(u64::MAX));
        node.begin(TaskId::from_bytes([2; 16]), attempt(1, 0));
        assert!(!node.has_room(0));
        assert!(!node.is_idle());
        assert!(node.free_slot(TASK, 1, Outcome::Nothing, Instant::ZERO));
        assert!(node.is_idle());
        node.waiting.push_back(TASK);
        assert!(!node.is_idle());
        node.lost = true;
        assert!(!node.has_room(0));
        assert_eq!(node.status(), Status::Offline);
    }

    #[test]
    fn what_is_counted_is_what_a_look_at_all_attempts_would_say() {
        let mut node = fresh(OFFER);
        let at = |millis| Instant::from_millis(millis);
        let task = |number| TaskId::from_bytes([number; 16]);
        let is_true = |node: &Node| {
            let running = node.running.values();
            let held = running.clone().filter(|held| !held.ahead);
            assert_eq!(
                node.held(0),
                held.map(|held| held.memory_bytes).sum::<u64>()
            );
            let leases = running.clone().map(|held| held.lease);
            let due = leases.chain(node.detector.poll_timeout()).min();
            assert_eq!(node.due(), due);
            let unheard = running.filter(|held| !held.dispatched).count();
            assert_eq!(node.has_undispatched(), unheard > 0);
        };
        for number in 1..=4 {
            let begun = Attempt {
                lease: at(u64::from(number)),
                dispatched: number % 2 == 0,
                ahead: number > 2,
                ..attempt(1, 30)
            };
            node.begin(task(number), begun);
            is_true(&node);
        }
        assert_eq!(
            node.lapsed(at(2)).collect::<Vec<_>>(),
            [(task(1), 1), (task(2), 1)]
        );
        node.renew(task(1), at(9));
        assert_eq!(node.lapsed(at(2)).collect::<Vec<_>>(), [(task(2), 1)]);
        for (number, dispatched) in [(1, true), (1, true), (2, false), (3, true)] {
            node.set_dispatched(task(number), dispatched);
            is_true(&node);
        }
        assert_eq!(node.recall(task(4), 1), None, "it is the last attempt");
        assert_eq!(node.recall(task(4), 2), Some(1));
        assert_eq!(node.recall(task(4), 2), None);
        for number in 1..=4 {
            assert!(node.free_slot(task(number), 1, Outcome::Nothing, Instant::ZERO));
            is_true(&node);
        }
        assert_eq!(
            (node.held_bytes, node.undispatched, node.leases.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn only_the_attempt_that_holds_a_slot_frees_it() {
        let mut node = fresh(OFFER);
        node.begin(TASK, attempt(2, 1));
        assert!(!node.free_slot(TASK, 1, Outcome::Nothing, Instant::ZERO));
        assert!(!node.free_slot(
            TaskId::from_bytes([2; 16]),
            2,
            Outcome::Nothing,
            Instant::ZERO
        ));
        assert_eq!(node.running.len(), 1);
        assert!(node.free_slot(TASK, 2, Outcome::Nothing, Instant::ZERO));
        assert!(!node.free_slot(TASK, 2, Outcome::Nothing, Instant::ZERO));
    }

    #[test]
    fn the_longest_lost_makes_room_in_a_full_registry() {
        let mut registry = registry();
        for index in 0..REGISTRY_NODES_MAX {
            let heard = Instant::from_millis(index as u64);
            assert!(registry.insert(node(index), OFFER, heard));
        }
        let stranger = node(usize::MAX);
        assert!(!registry.has_room(stranger));
        assert!(!registry.insert(stranger, OFFER, Instant::ZERO));
        assert!(registry.has_room(node(5)));
        for lost in [9, 3, 2] {
            registry
                .update(node(lost), |node| node.lost = true)
                .unwrap();
        }
        // What is not settled is not forgotten.
        let unsettled = |node: &mut Node| node.begin(TASK, attempt(1, 1));
        registry.update(node(2), unsettled).unwrap();
        assert!(registry.has_room(stranger));
        assert!(registry.insert(stranger, OFFER, Instant::ZERO));
        assert!(!registry.nodes.contains_key(&node(3)));
        assert_eq!(registry.nodes.len(), REGISTRY_NODES_MAX);
    }

    #[test]
    fn trust_is_that_of_the_reputation_as_it_is_now() {
        let mut node = fresh(OFFER);
        for success in [true, true, false, true] {
            let before = node.trust();
            let reputation = node.record(success);
            assert_eq!(node.trust().to_bits(), reputation.lower_bound().to_bits());
            assert_eq!(node.trust() > before, success);
        }
    }

    #[test]
    fn a_node_that_did_its_tasks_keeps_no_room_for_them() {
        let mut node = fresh(OFFER);
        let task = |number: u8| TaskId::from_bytes([number; 16]);
        for number in 0..100 {
            let ahead = Attempt {
                ahead: number > 1,
                ..attempt(1, 1)
            };
            node.begin(task(number), ahead);
        }
        assert!(node.ahead.capacity() > 0);
        for number in 0..100 {
            assert!(node.free_slot(task(number), 1, Outcome::Nothing, Instant::ZERO));
        }
        assert_eq!(node.ahead.capacity(), 0);
    }

    #[test]
    fn a_node_that_comes_back_keeps_its_reputation() {
        let mut registry = registry();
        registry.insert(node(1), OFFER, Instant::ZERO);
        let reputation = registry.update(node(1), |known| {
            known.lost = true;
            known.record(true)
        });
        let offer = Offer {
            cpu_millis: 0,
            ..OFFER
        };
        registry.insert(node(1), offer, Instant::from_millis(7));
        let view = &registry.views()[0];
        assert_eq!(Some(view.reputation), reputation);
        assert_eq!(view.offer, offer);
        assert_eq!(view.status, Status::Busy);
        assert_eq!(registry.nodes[&node(1)].heard, Instant::from_millis(7));
    }
}
