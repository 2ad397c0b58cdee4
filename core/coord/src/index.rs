//! Which nodes have to be looked at, so that nobody has to look at all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use fogcompute_base::{Instant, NodeId, Rng};
use fogcompute_exec::ContentId;
use fogcompute_ledger::Amount;

use crate::kind::Status;
use crate::registry::Node;
use crate::routing::{Request, Router, Strategy, job_point, lottery_weight};

/// Up to so many nodes with a free slot, a router is shown all of them.
pub(crate) const SHOWN_MAX: usize = 64;

/// How many of more it is shown, where it compares them.
const SAMPLE: usize = 8;

/// How many that are equally near it is shown. Two would do nearly as well as all.
const EQUALS: usize = 4;

/// How often a node is drawn by lot before all are looked at.
const DRAWS_MAX: usize = 1_024;

/// What the index knows a node by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Keys {
    /// When something is due.
    deadline: Option<Instant>,
    /// Since when it is lost, with nothing left to settle.
    lost: Option<Instant>,
    status: Status,
    /// Tasks that could start now, and the memory they could have.
    slots: usize,
    memory_bytes: u64,
    price: Amount,
    /// Whether it has a slot that nothing waits for.
    idle: bool,
    running: usize,
    /// How far it is, as bits that order as the distance does.
    distance: u64,
}

impl Keys {
    fn of(node: &Node) -> Self {
        Self {
            deadline: node.due(),
            lost: (node.lost && node.running().is_empty()).then_some(node.heard),
            status: node.status(),
            slots: node.free_slots(),
            memory_bytes: node.free_memory(),
            price: node.offer.price_per_gigafuel,
            idle: node.is_idle(),
            running: node.running().len() - node.ahead.len(),
            // What is checked to be from zero on orders as its bits do.
            distance: (node.distance_ms() + 0.0).to_bits(),
        }
    }

    /// Whether a task that found no room before may find it now.
    fn is_better_than(&self, before: &Self) -> bool {
        self.slots > 0
            && (self.slots > before.slots
                || self.memory_bytes > before.memory_bytes
                || self.price < before.price)
    }
}

/// Sets of nodes, kept up to date with every change of one.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By which strategy tasks are routed, if they are.
    strategy: Option<Strategy>,
    /// What is known of each.
    keys: BTreeMap<NodeId, Keys>,
    deadlines: BTreeSet<(Instant, NodeId)>,
    lost: BTreeSet<(Instant, NodeId)>,
    idle: BTreeSet<NodeId>,
    statuses: [usize; Status::ALL.len()],
    running: usize,
    /// Free slots of all. Wide enough for whatever nodes claim.
    slots: u128,
    /// Nodes with a free slot, and where each stands in `drawn`.
    free: BTreeMap<NodeId, usize>,
    /// The same in no order, to draw from.
    drawn: Vec<NodeId>,
    /// The same by distance, where tasks are routed by it.
    near: BTreeSet<(u64, NodeId)>,
    /// The same by what they hold, where tasks are routed by it.
    holders: BTreeSet<(ContentId, NodeId)>,
    /// Nodes that have more room than when this was last emptied.
    better: BTreeSet<NodeId>,
}

impl Index {
    pub(crate) fn new(strategy: Option<Strategy>) -> Self {
        Self {
            strategy,
            ..Self::default()
        }
    }

    /// A node has changed, or is new.
    pub(crate) fn refresh(&mut self, id: NodeId, node: &Node) {
        let now = Keys::of(node);
        let before = self.keys.insert(id, now);
        if before == Some(now) {
            return;
        }
        self.move_in_sets(id, before.as_ref(), Some(&now));
        let was_free = before.is_some_and(|before| before.slots > 0);
        if was_free != (now.slots > 0) {
            self.set_free(id, node, now.slots > 0);
        }
        if self.strategy.is_some() && before.is_none_or(|before| now.is_better_than(&before)) {
            self.better.insert(id);
        }
    }

    /// A node is forgotten.
    pub(crate) fn remove(&mut self, id: NodeId, node: &Node) {
        if let Some(before) = self.keys.remove(&id) {
            self.move_in_sets(id, Some(&before), None);
            if before.slots > 0 {
                self.set_free(id, node, false);
            }
            self.better.remove(&id);
        }
    }

    fn move_in_sets(&mut self, id: NodeId, before: Option<&Keys>, now: Option<&Keys>) {
        let dated = |keys: Option<&Keys>, of: fn(&Keys) -> Option<Instant>| {
            keys.and_then(of).map(|at| (at, id))
        };
        for (set, of) in [
            (
                &mut self.deadlines,
                (|keys| keys.deadline) as fn(&Keys) -> Option<Instant>,
            ),
            (&mut self.lost, |keys| keys.lost),
        ] {
            let (from, to) = (dated(before, of), dated(now, of));
            if from != to {
                from.map(|entry| set.remove(&entry));
                set.extend(to);
            }
        }
        if let Some(before) = before {
            self.statuses[usize::from(before.status.code())] -= 1;
            self.running -= before.running;
            self.slots -= before.slots as u128;
            if before.slots > 0 {
                self.near.remove(&(before.distance, id));
            }
            self.idle.remove(&id);
        }
        if let Some(now) = now {
            self.statuses[usize::from(now.status.code())] += 1;
            self.running += now.running;
            self.slots += now.slots as u128;
            if now.slots > 0 && self.strategy == Some(Strategy::Proximity) {
                self.near.insert((now.distance, id));
            }
            if now.idle {
                self.idle.insert(id);
            }
        }
    }

    /// A node has come to have a free slot, or has none any more.
    fn set_free(&mut self, id: NodeId, node: &Node, free: bool) {
        if free {
            self.free.insert(id, self.drawn.len());
            self.drawn.push(id);
        } else if let Some(place) = self.free.remove(&id) {
            self.drawn.swap_remove(place);
            if let Some(moved) = self.drawn.get(place) {
                self.free.insert(*moved, place);
            }
        }
        if self.strategy == Some(Strategy::Affinity) {
            for &module in node.modules() {
                if free {
                    self.holders.insert((module, id));
                } else {
                    self.holders.remove(&(module, id));
                }
            }
        }
    }

    /// A node was sent a module, and has let go of another.
    pub(crate) fn keeps(&mut self, id: NodeId, module: ContentId, instead: Option<ContentId>) {
        if self.strategy == Some(Strategy::Affinity) && self.free.contains_key(&id) {
            self.holders.insert((module, id));
            if let Some(gone) = instead {
                self.holders.remove(&(gone, id));
            }
        }
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Nodes with something due by `now`, in the order of their ids.
    pub(crate) fn due(&self, now: Instant) -> Vec<NodeId> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        let mut due: Vec<_> = due.map(|(_, id)| *id).collect();
        due.sort_unstable();
        due
    }

    /// The node that was lost first and of which nothing is left to settle.
    pub(crate) fn longest_lost(&self) -> Option<NodeId> {
        self.lost.first().map(|(_, id)| *id)
    }

    /// Nodes with a slot that nothing waits for.
    pub(crate) const fn idle(&self) -> &BTreeSet<NodeId> {
        &self.idle
    }

    /// Nodes by the code of their status.
    pub(crate) const fn statuses(&self) -> [usize; Status::ALL.len()] {
        self.statuses
    }

    /// Slots that are taken, of all nodes.
    pub(crate) const fn running(&self) -> usize {
        self.running
    }

    /// Slots that are free, of all nodes.
    pub(crate) const fn slots(&self) -> u128 {
        self.slots
    }

    /// Nodes with a free slot that have more room than before, and forgets which they were.
    pub(crate) fn take_better(&mut self) -> Vec<NodeId> {
        let better = std::mem::take(&mut self.better).into_iter();
        better.filter(|id| self.free.contains_key(id)).collect()
    }

    /// Whether nothing has come to have more room.
    pub(crate) fn is_as_before(&self) -> bool {
        self.better.is_empty()
    }

    /// Chooses a node with a free slot for a task, by the router's strategy.
    ///
    /// Of many nodes the router is shown some: round robin and both lotteries choose as if it had seen
    /// all, and proximity one of the nearest; among the least loaded, and among the equals of affinity
    /// and of proximity, it compares those that it is shown.
    ///
    /// Complexity: O(log n), if the task fits most nodes with a free slot. O(n) if it fits none.
    ///
    /// Source of comparing some: Mitzenmacher 2001, "The power of two choices in randomized load
    /// balancing".
    pub(crate) fn choose(
        &self,
        nodes: &BTreeMap<NodeId, Node>,
        router: &mut dyn Router,
        request: &Request<'_>,
        last: Option<NodeId>,
        rng: &mut dyn Rng,
    ) -> Option<NodeId> {
        let mut show = |ids: &mut dyn Iterator<Item = NodeId>, rng: &mut dyn Rng| {
            let mut shown = ids.filter_map(|id| Some(nodes.get(&id)?.candidate(id)));
            router.route(request, &mut shown, rng).ok()
        };
        let fits = |id: &NodeId| {
            let node = nodes.get(id);
            node.is_some_and(|node| request.fits(&node.candidate(*id)).is_ok())
        };
        let many = self.drawn.len() > SHOWN_MAX;
        match self.strategy.filter(|_| many) {
            Some(Strategy::RoundRobin) => {
                let mut next = from(&self.free, last).filter(fits).take(1);
                return show(&mut next, rng);
            }
            Some(Strategy::Proximity) => {
                let mut nearest = None;
                let near = self.near.iter().filter(|(_, id)| fits(id));
                let equals = near.take_while(|(at, _)| *nearest.get_or_insert(*at) == *at);
                let equals: Vec<_> = equals.map(|(_, id)| *id).take(EQUALS).collect();
                return show(&mut equals.into_iter(), rng);
            }
            Some(Strategy::Affinity) => {
                let point = job_point(request.job);
                for (module, _) in request.content {
                    let holders = |low, high| {
                        let range = (low, high);
                        self.holders.range(range).map(|(_, id)| *id)
                    };
                    let (first, end) = (NodeId::from_bytes([0; 32]), NodeId::from_bytes([255; 32]));
                    let after = holders(
                        Bound::Included((*module, point)),
                        Bound::Included((*module, end)),
                    );
                    let before = holders(
                        Bound::Included((*module, first)),
                        Bound::Excluded((*module, point)),
                    );
                    let held: Vec<_> = after.chain(before).filter(fits).take(SAMPLE).collect();
                    if !held.is_empty() {
                        return show(&mut held.into_iter(), rng);
                    }
                }
                let mut some = from(&self.free, Some(point)).filter(fits).take(SAMPLE);
                return show(&mut some, rng);
            }
            Some(strategy @ (Strategy::PrivacyAware | Strategy::Random)) => {
                for _ in 0..DRAWS_MAX {
                    let id = self.drawn[below(self.drawn.len(), rng)];
                    let Some(node) = nodes.get(&id) else {
                        continue;
                    };
                    // Whoever is drawn is taken as often as its weight says, so that of those who
                    // are taken each is in proportion to its weight.
                    let taken =
                        strategy == Strategy::Random || unit(rng) < lottery_weight(node.trust());
                    if taken && fits(&id) {
                        return show(&mut std::iter::once(id), rng);
                    }
                }
            }
            Some(Strategy::LeastLoaded) => {
                let mut some: Vec<_> = (0..SAMPLE)
                    .map(|_| self.drawn[below(self.drawn.len(), rng)])
                    .collect();
                some.sort_unstable();
                some.dedup();
                let chosen = show(&mut some.into_iter(), rng);
                if chosen.is_some() {
                    return chosen;
                }
            }
            None => {}
        }
        show(&mut self.free.keys().copied(), rng)
    }

    /// Whether it says of these nodes what it would say if it was made anew: for tests.
    pub(crate) fn is_true_of(&self, nodes: &BTreeMap<NodeId, Node>) -> Option<NodeId> {
        let known = self.keys.keys().find(|id| !nodes.contains_key(id));
        let stale = nodes
            .iter()
            .find(|(id, node)| self.keys.get(id) != Some(&Keys::of(node)));
        known.copied().or(stale.map(|(id, _)| *id)).or_else(|| {
            let mut anew = Self::new(self.strategy);
            for (id, node) in nodes {
                anew.refresh(*id, node);
            }
            let alike = anew.deadlines == self.deadlines
                && anew.lost == self.lost
                && anew.idle == self.idle
                && anew.statuses == self.statuses
                && (anew.running, anew.slots) == (self.running, self.slots)
                && anew.free.keys().eq(self.free.keys())
                && (anew.near, anew.holders) == (self.near.clone(), self.holders.clone())
                && self.free.len() == self.drawn.len()
                && self.free.iter().all(|(id, at)| self.drawn[*at] == *id);
            nodes.keys().next().copied().filter(|_| !alike)
        })
    }
}

/// All keys, those after this one first.
fn from(free: &BTreeMap<NodeId, usize>, last: Option<NodeId>) -> impl Iterator<Item = NodeId> {
    let after = last.map_or(Bound::Unbounded, Bound::Excluded);
    let before = last.map(|last| free.range(..=last));
    let before = before.into_iter().flatten();
    free.range((after, Bound::Unbounded))
        .chain(before)
        .map(|(id, _)| *id)
}

/// A number from 0 to one less than `limit`, which is not 0.
fn below(limit: usize, rng: &mut dyn Rng) -> usize {
    let product = u128::from(rng.next_u64()) * limit as u128;
    usize::try_from(product >> 64).unwrap_or(0)
}

/// A number from 0 to 1, 1 left out.
fn unit(rng: &mut dyn Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}
