//! Who passes votes on to whom, and what flows there.

use std::collections::{BTreeMap, BTreeSet};

use fogcompute_base::{AccountId, UnixMillis};

use super::Draft;
use crate::Ppm;
use crate::dao::graph::{Reach, Topic, Upstream, beyond, downstream};
use crate::dao::{DELEGATES_MAX, DaoError, Part, ProposalKind, Rules, Weight};

/// What an account receives more, and what less.
type Flow = (u128, u128);

impl Draft<'_> {
    /// Checks what can be seen from a delegation alone.
    pub(super) fn sound_parts(
        &self,
        voter: AccountId,
        topics: &[ProposalKind],
        to: &[Part],
    ) -> Result<(), DaoError> {
        if let Some(pair) = topics.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(DaoError::TopicRepeated { topic: pair[1] });
        }
        let (actual, limit) = (to.len(), DELEGATES_MAX);
        if actual > limit {
            return Err(DaoError::TooManyDelegates {
                voter,
                actual,
                limit,
            });
        }
        let mut seen = BTreeSet::new();
        let mut sum = 0;
        for part in to {
            let delegate = part.to;
            if delegate == voter {
                return Err(DaoError::SelfDelegation { voter });
            }
            if !seen.insert(delegate) {
                return Err(DaoError::DelegateRepeated { delegate });
            }
            if part.part == Ppm::ZERO {
                return Err(DaoError::PartZero { delegate });
            }
            sum += u64::from(part.part.get());
        }
        if sum > u64::from(Ppm::WHOLE.get()) {
            return Err(DaoError::PartsExceedWhole { voter, sum });
        }
        let delegated = |topic: &ProposalKind| !self.parts(voter, *topic).is_empty();
        if to.is_empty() && !topics.iter().any(delegated) {
            return Err(DaoError::NothingDelegated { voter });
        }
        Ok(())
    }

    /// Checks that nothing flows back.
    pub(super) fn no_circle(
        &self,
        voter: AccountId,
        topic: ProposalKind,
        to: &[Part],
    ) -> Result<(), DaoError> {
        let order = downstream(to.iter().map(|part| part.to), |account| {
            // What the voter delegated before is replaced.
            if account == voter {
                Vec::new()
            } else {
                self.parts(account, topic).to_vec()
            }
        });
        let back = |account: &AccountId| {
            let mut parts = self.parts(*account, topic).iter();
            *account != voter && parts.any(|part| part.to == voter)
        };
        match order.into_iter().find(back) {
            Some(closes) => Err(DaoError::CircularDelegation {
                voter,
                topic,
                closes,
            }),
            None => Ok(()),
        }
    }

    /// Checks how far power would go.
    pub(super) fn within_reach(
        &self,
        rules: &Rules,
        voter: AccountId,
        topic: ProposalKind,
        to: &[Part],
    ) -> Result<(), DaoError> {
        if to.is_empty() {
            return Ok(());
        }
        let parts = |account| self.parts(account, topic).to_vec();
        let order = downstream(to.iter().map(|part| part.to), parts);
        let beyond = beyond(&order, parts);
        let before = self.upstream((voter, topic)).reach().through(to.len());
        for part in to {
            let after = beyond.get(&part.to).copied().unwrap_or(Reach::START);
            let depth = before.depth.saturating_add(after.depth);
            let limit = rules.delegation_depth_max;
            if depth > limit {
                return Err(DaoError::DelegationTooDeep {
                    topic,
                    depth,
                    limit,
                });
            }
            let paths = before.ways.saturating_mul(after.ways);
            let limit = rules.delegation_paths_max;
            if paths > u64::from(limit) {
                return Err(DaoError::DelegationTooWide {
                    topic,
                    paths,
                    limit,
                });
            }
        }
        Ok(())
    }

    /// Replaces what a voter delegates.
    pub(super) fn delegate(
        &mut self,
        voter: AccountId,
        topics: &[ProposalKind],
        to: &[Part],
    ) -> Result<(), DaoError> {
        if !self.is_enrolled(voter) {
            self.enrol(voter);
        }
        for &topic in topics {
            self.no_circle(voter, topic, to)?;
            let before = self.parts(voter, topic).to_vec();
            let key = (voter, topic);
            self.restack(key, &before, to);
            let (base, now) = (&self.base.delegations, self.now);
            (self.changes.delegations).push(base, key, now, to.to_vec());
            let power = self.power(key)?;
            let mut flows = BTreeMap::new();
            for part in &before {
                flow(&mut flows, part.to, Weight::ZERO, part.of(power))?;
            }
            for part in to {
                flow(&mut flows, part.to, part.of(power), Weight::ZERO)?;
            }
            self.pass_on(topic, flows)?;
        }
        let mut member = self.member(voter).unwrap_or_default();
        for topic in topics {
            member.delegates_on &= !topic.bit();
            if !to.is_empty() {
                member.delegates_on |= topic.bit();
            }
        }
        self.changes.members.insert(voter, member);
        Ok(())
    }

    /// Passes on that an account's own weight has changed.
    pub(super) fn pass_on_own(
        &mut self,
        account: AccountId,
        topic: ProposalKind,
        before: Weight,
        after: Weight,
    ) -> Result<(), DaoError> {
        let received = self.received((account, topic));
        let (before, after) = (sum(before, received)?, sum(after, received)?);
        let mut flows = BTreeMap::new();
        for part in self.parts(account, topic) {
            flow(&mut flows, part.to, part.of(after), part.of(before))?;
        }
        self.pass_on(topic, flows)
    }

    /// Adds to and takes from what accounts receive, and passes the difference on: each account
    /// downstream is visited once.
    fn pass_on(
        &mut self,
        topic: ProposalKind,
        mut flows: BTreeMap<AccountId, Flow>,
    ) -> Result<(), DaoError> {
        let order = downstream(flows.keys().copied(), |account| {
            self.parts(account, topic).to_vec()
        });
        let now = self.changes_from();
        for account in order {
            let Some((more, less)) = flows.remove(&account).filter(|(more, less)| more != less)
            else {
                continue;
            };
            let (key, own) = ((account, topic), self.own(account));
            let before = self.received(key);
            let after = before.0.checked_add(more);
            let after = after.and_then(|after| after.checked_sub(less));
            let after = Weight(after.ok_or(DaoError::WeightOverflow)?);
            (self.changes.received).push(&self.base.received, key, now, after);
            let (before, after) = (sum(own, before)?, sum(own, after)?);
            for part in self.parts(account, topic) {
                flow(&mut flows, part.to, part.of(after), part.of(before))?;
            }
        }
        Ok(())
    }

    /// Counts anew how far power has come when it reaches those downstream of a voter.
    fn restack(&mut self, (voter, topic): Topic, before: &[Part], to: &[Part]) {
        let start = self.upstream((voter, topic)).reach();
        let mut pending: BTreeMap<AccountId, Vec<(Reach, bool)>> = BTreeMap::new();
        for (parts, arrives) in [(before, false), (to, true)] {
            for part in parts {
                let change = (start.through(parts.len()), arrives);
                pending.entry(part.to).or_default().push(change);
            }
        }
        let parts = |account| self.parts(account, topic).to_vec();
        let order = downstream(pending.keys().copied(), parts);
        for account in order {
            let Some(changes) = pending.remove(&account) else {
                continue;
            };
            let mut upstream = self.upstream((account, topic));
            let before = upstream.reach();
            // What arrives first, so that nothing is taken that is not there.
            for &(reach, _) in changes.iter().filter(|(_, arrives)| *arrives) {
                upstream.add(reach);
            }
            for &(reach, _) in changes.iter().filter(|(_, arrives)| !*arrives) {
                upstream.remove(reach);
            }
            let after = upstream.reach();
            self.changes.upstream.insert((account, topic), upstream);
            if before == after {
                continue;
            }
            let parts = self.parts(account, topic);
            for part in parts {
                pending.entry(part.to).or_default().extend([
                    (before.through(parts.len()), false),
                    (after.through(parts.len()), true),
                ]);
            }
        }
    }

    fn upstream(&self, key: Topic) -> Upstream {
        let changed = self.changes.upstream.get(&key);
        let found = changed.or_else(|| self.base.upstream.get(&key));
        found.cloned().unwrap_or_default()
    }

    fn parts(&self, account: AccountId, topic: ProposalKind) -> &[Part] {
        self.parts_at(account, topic, UnixMillis(u64::MAX))
    }

    fn received(&self, key: Topic) -> Weight {
        let received = self.changes.received.last(&self.base.received, key);
        received.copied().unwrap_or_default()
    }

    fn power(&self, key: Topic) -> Result<Weight, DaoError> {
        sum(self.own(key.0), self.received(key))
    }
}

fn sum(a: Weight, b: Weight) -> Result<Weight, DaoError> {
    let sum = a.0.checked_add(b.0);
    sum.map(Weight).ok_or(DaoError::WeightOverflow)
}

fn flow(
    flows: &mut BTreeMap<AccountId, Flow>,
    to: AccountId,
    more: Weight,
    less: Weight,
) -> Result<(), DaoError> {
    let (plus, minus) = flows.entry(to).or_default();
    *plus = plus.checked_add(more.0).ok_or(DaoError::WeightOverflow)?;
    *minus = minus.checked_add(less.0).ok_or(DaoError::WeightOverflow)?;
    Ok(())
}
