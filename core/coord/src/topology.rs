//! What a fog looks like, now and before.

use std::collections::VecDeque;

use fogcompute_base::UnixMillis;

use crate::kind::{NodeKind, Status};
use crate::routing::{Candidate, Capacity};

/// Snapshots that a [`History`] keeps.
pub const SNAPSHOTS_MAX: usize = 100;

/// A fog at one moment, in numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// When.
    pub at: UnixMillis,
    /// Nodes by the code of their [`NodeKind`], offline ones included.
    pub kinds: [usize; NodeKind::ALL.len()],
    /// Nodes by the code of their [`Status`].
    pub statuses: [usize; Status::ALL.len()],
    /// What the nodes that are there lend, together.
    pub total: Capacity,
    /// What of it nothing is promised of.
    pub free: Capacity,
    /// Tasks that run on them.
    pub running: usize,
    /// Tasks that wait for them.
    pub waiting: usize,
}

impl Snapshot {
    /// The fog of these nodes. Sums that are too large stay at the largest number.
    #[must_use]
    pub fn of<'a>(at: UnixMillis, nodes: impl IntoIterator<Item = Candidate<'a>>) -> Self {
        let mut snapshot = Self {
            at,
            kinds: Default::default(),
            statuses: Default::default(),
            total: Capacity::default(),
            free: Capacity::default(),
            running: 0,
            waiting: 0,
        };
        for node in nodes {
            snapshot.kinds[usize::from(node.kind.code())] += 1;
            snapshot.statuses[usize::from(node.status.code())] += 1;
            if node.status.is_there() {
                add(&mut snapshot.total, &node.total);
                add(&mut snapshot.free, &node.free);
                snapshot.running = snapshot.running.saturating_add(node.running);
                snapshot.waiting = snapshot.waiting.saturating_add(node.waiting);
            }
        }
        snapshot
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.kinds.iter().sum()
    }

    /// Nodes of a kind.
    #[must_use]
    pub const fn of_kind(&self, kind: NodeKind) -> usize {
        self.kinds[kind as usize]
    }

    /// Nodes that do so.
    #[must_use]
    pub const fn of_status(&self, status: Status) -> usize {
        self.statuses[status as usize]
    }
}

fn add(sum: &mut Capacity, more: &Capacity) {
    sum.cpu_millis = sum.cpu_millis.saturating_add(more.cpu_millis);
    sum.memory_bytes = sum.memory_bytes.saturating_add(more.memory_bytes);
    sum.storage_bytes = sum.storage_bytes.saturating_add(more.storage_bytes);
}

/// The last [`SNAPSHOTS_MAX`] snapshots.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History(VecDeque<Snapshot>);

impl History {
    /// Adds one, and forgets the oldest if there is no room.
    pub fn push(&mut self, snapshot: Snapshot) {
        if self.0.len() == SNAPSHOTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(snapshot);
    }

    /// The newest.
    #[must_use]
    pub fn latest(&self) -> Option<&Snapshot> {
        self.0.back()
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Snapshot> + ExactSizeIterator {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::NodeId;

    fn node(number: u8, kind: NodeKind, status: Status) -> Candidate<'static> {
        let total = Capacity {
            cpu_millis: 4_000,
            memory_bytes: 100,
            storage_bytes: 7,
        };
        Candidate {
            kind,
            status,
            free: Capacity {
                cpu_millis: 1_000,
                memory_bytes: 30,
                storage_bytes: 7,
            },
            running: 3,
            waiting: 1,
            ..Candidate::new(NodeId::from_bytes([number; 32]), total)
        }
    }

    #[test]
    fn a_fog_is_counted_and_who_is_gone_lends_nothing() {
        let snapshot = Snapshot::of(
            UnixMillis(5),
            [
                node(1, NodeKind::Compute, Status::Active),
                node(2, NodeKind::Compute, Status::Offline),
                node(3, NodeKind::EdgeDevice, Status::Draining),
            ],
        );
        assert_eq!(snapshot.nodes(), 3);
        assert_eq!(snapshot.of_kind(NodeKind::Compute), 2);
        assert_eq!(snapshot.of_kind(NodeKind::EdgeDevice), 1);
        assert_eq!(snapshot.of_kind(NodeKind::Relay), 0);
        for status in Status::ALL {
            let expected = matches!(status, Status::Active | Status::Offline | Status::Draining);
            assert_eq!(snapshot.of_status(status), usize::from(expected));
        }
        assert_eq!(snapshot.total.cpu_millis, 8_000);
        assert_eq!(snapshot.total.memory_bytes, 200);
        assert_eq!(snapshot.free.cpu_millis, 2_000);
        assert_eq!(snapshot.free.storage_bytes, 14);
        assert_eq!((snapshot.running, snapshot.waiting), (6, 2));
    }

    #[test]
    fn absurd_claims_do_not_wrap() {
        let mut liar = node(1, NodeKind::Compute, Status::Idle);
        liar.total.memory_bytes = u64::MAX;
        liar.running = usize::MAX;
        let snapshot = Snapshot::of(UnixMillis(0), [liar, liar]);
        assert_eq!(snapshot.total.memory_bytes, u64::MAX);
        assert_eq!(snapshot.running, usize::MAX);
    }

    #[test]
    fn the_last_hundred_are_kept() {
        let mut history = History::default();
        assert_eq!(history.latest(), None);
        for at in 0..250 {
            history.push(Snapshot::of(UnixMillis(at), []));
        }
        assert_eq!(history.iter().len(), SNAPSHOTS_MAX);
        let times: Vec<_> = history.iter().map(|it| it.at.0).collect();
        assert_eq!(times, (150..250).collect::<Vec<_>>());
        assert_eq!(history.latest().map(|it| it.at), Some(UnixMillis(249)));
    }
}
