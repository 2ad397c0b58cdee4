//! Who passes votes on to whom, on one topic.

use std::collections::{BTreeMap, HashMap, HashSet};

use fogcompute_base::AccountId;
use serde::{Deserialize, Serialize};

use super::{Part, ProposalKind};

/// An account and what its votes are about.
pub(super) type Topic = (AccountId, ProposalKind);

/// How far power has come when it reaches an account, at most: through how many delegations, and
/// into how many ways it was split.
///
/// The accounts that are reached from one are at most the ways times the delegations, since the
/// ways to the ends are at most as many as the largest product of splits along one of them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Reach {
    pub(crate) depth: u32,
    pub(crate) ways: u64,
}

impl Reach {
    pub(super) const START: Self = Self { depth: 0, ways: 1 };

    /// After one more delegation, into so many parts.
    pub(super) fn through(self, parts: usize) -> Self {
        let parts = u64::try_from(parts).unwrap_or(u64::MAX);
        Self {
            depth: self.depth.saturating_add(1),
            ways: self.ways.saturating_mul(parts),
        }
    }
}

/// How often power arrives in which way at an account: one for each that delegates to it. Their
/// number is not bounded; the number of different depths and ways is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Upstream {
    depths: BTreeMap<u32, u32>,
    ways: BTreeMap<u64, u32>,
}

impl Upstream {
    pub(super) fn is_empty(&self) -> bool {
        self.depths.is_empty()
    }

    pub(super) fn reach(&self) -> Reach {
        let depth = self.depths.last_key_value();
        let ways = self.ways.last_key_value();
        Reach {
            depth: depth.map_or(0, |(depth, _)| *depth),
            ways: ways.map_or(1, |(ways, _)| *ways),
        }
    }

    pub(super) fn add(&mut self, reach: Reach) {
        *self.depths.entry(reach.depth).or_default() += 1;
        *self.ways.entry(reach.ways).or_default() += 1;
    }

    pub(super) fn remove(&mut self, reach: Reach) {
        take(&mut self.depths, reach.depth);
        take(&mut self.ways, reach.ways);
    }
}

fn take<K: Copy + Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// Those accounts and all that power from them reaches, givers before receivers.
///
/// `parts` gives what an account delegates; there is no circle. Nothing recurses, so that a chain of
/// any length fits the stack.
pub(super) fn downstream(
    start: impl IntoIterator<Item = AccountId>,
    parts: impl Fn(AccountId) -> Vec<Part>,
) -> Vec<AccountId> {
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    for first in start {
        if !seen.insert(first) {
            continue;
        }
        let mut stack = vec![(first, parts(first).into_iter())];
        while let Some((account, rest)) = stack.last_mut() {
            match rest.next() {
                Some(part) => {
                    if seen.insert(part.to) {
                        stack.push((part.to, parts(part.to).into_iter()));
                    }
                }
                None => {
                    order.push(*account);
                    stack.pop();
                }
            }
        }
    }
    order.reverse();
    order
}

/// How far power goes from an account on, at most. `order` is that of [`downstream`].
pub(super) fn beyond(
    order: &[AccountId],
    parts: impl Fn(AccountId) -> Vec<Part>,
) -> HashMap<AccountId, Reach> {
    let mut found: HashMap<AccountId, Reach> = HashMap::new();
    for &account in order.iter().rev() {
        let parts = parts(account);
        let reaches: Vec<_> = (parts.iter())
            .filter_map(|part| found.get(&part.to))
            .map(|reach| reach.through(parts.len()))
            .collect();
        let reach = Reach {
            depth: reaches.iter().map(|reach| reach.depth).max().unwrap_or(0),
            ways: reaches.iter().map(|reach| reach.ways).max().unwrap_or(1),
        };
        found.insert(account, reach);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ppm;

    fn account(n: u8) -> AccountId {
        AccountId::from_bytes([n; 16])
    }

    fn graph(edges: &'static [(u8, u8)]) -> impl Fn(AccountId) -> Vec<Part> {
        move |from| {
            let of = edges
                .iter()
                .filter(move |(giver, _)| account(*giver) == from);
            of.map(|(_, to)| Part {
                to: account(*to),
                part: Ppm::percent(50),
            })
            .collect()
        }
    }

    #[test]
    fn givers_come_before_receivers() {
        let edges: &[(u8, u8)] = &[(1, 4), (1, 2), (2, 3), (3, 4), (4, 5)];
        let order = downstream([account(1)], graph(edges));
        let place = |n| order.iter().position(|found| *found == account(n)).unwrap();
        assert_eq!(order.len(), 5);
        for &(giver, receiver) in edges {
            assert!(place(giver) < place(receiver));
        }
        let beyond = beyond(&order, graph(edges));
        assert_eq!(beyond[&account(1)], Reach { depth: 4, ways: 2 });
        assert_eq!(beyond[&account(5)], Reach::START);
    }

    #[test]
    fn the_farthest_that_arrives_counts_until_it_leaves() {
        let mut upstream = Upstream::default();
        let (near, far) = (Reach { depth: 1, ways: 8 }, Reach { depth: 3, ways: 1 });
        upstream.add(near);
        upstream.add(near);
        upstream.add(far);
        assert_eq!(upstream.reach(), Reach { depth: 3, ways: 8 });
        upstream.remove(far);
        upstream.remove(near);
        assert_eq!(upstream.reach(), near);
        upstream.remove(near);
        assert!(upstream.is_empty());
        assert_eq!(upstream.reach(), Reach::START);
    }
}
