//! The whole state in rows, and whether it adds up.

use std::collections::BTreeMap;

use ethnum::U256;
use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::state::{Due, scaled};
use super::{Corruption, Delegation, Operator, Purses, Redelegation, Staking, Unbonding};
use crate::{Amount, Purse};

/// The whole state, without the rules: rows in order of their ids, so that equal states have equal
/// snapshots.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Snapshot {
    /// The time of the last event.
    pub clock: UnixMillis,
    /// The number of the next unbonding or redelegation.
    pub next_entry: u64,
    /// What staking holds.
    pub purses: Purses,
    /// All operators.
    pub operators: Vec<OperatorRow>,
    /// All stakes.
    pub delegations: Vec<DelegationRow>,
    /// All stake on its way out.
    pub unbondings: Vec<UnbondingRow>,
    /// All redelegated stake that still answers for the operator it left.
    pub redelegations: Vec<RedelegationRow>,
    /// All claims the insurance has paid.
    pub claims_paid: Vec<TransferId>,
}

/// An operator in a [`Snapshot`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OperatorRow {
    /// Its id.
    pub operator: NodeId,
    /// The record.
    pub record: Operator,
}

/// A stake in a [`Snapshot`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DelegationRow {
    /// The operator.
    pub operator: NodeId,
    /// Whose stake it is.
    pub delegator: AccountId,
    /// The record.
    pub record: Delegation,
}

/// An unbonding in a [`Snapshot`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UnbondingRow {
    /// The operator it leaves.
    pub operator: NodeId,
    /// Whose stake it is.
    pub delegator: AccountId,
    /// The record.
    pub record: Unbonding,
}

/// A redelegation in a [`Snapshot`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RedelegationRow {
    /// The operator it left.
    pub from: NodeId,
    /// Whose stake it is.
    pub delegator: AccountId,
    /// The operator it went to.
    pub to: NodeId,
    /// The record.
    pub record: Redelegation,
}

impl Staking {
    /// The whole state, in rows.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut delegations: Vec<_> = self
            .delegations
            .iter()
            .map(|(&(operator, delegator), &record)| DelegationRow {
                operator,
                delegator,
                record,
            })
            .collect();
        delegations.sort_unstable_by_key(|row| (row.operator, row.delegator));
        Snapshot {
            clock: self.clock,
            next_entry: self.next_entry,
            purses: self.purses,
            operators: self
                .operators
                .iter()
                .map(|(&operator, record)| OperatorRow {
                    operator,
                    record: record.clone(),
                })
                .collect(),
            delegations,
            unbondings: self
                .unbondings
                .iter()
                .flat_map(|(&(operator, delegator), list)| {
                    list.iter().map(move |&record| UnbondingRow {
                        operator,
                        delegator,
                        record,
                    })
                })
                .collect(),
            redelegations: self
                .redelegations
                .iter()
                .flat_map(|(&(from, delegator, to), list)| {
                    list.iter().map(move |&record| RedelegationRow {
                        from,
                        delegator,
                        to,
                        record,
                    })
                })
                .collect(),
            claims_paid: self.claims_paid.iter().copied().collect(),
        }
    }

    /// The state of a snapshot, checked as by [`check`](Self::check).
    ///
    /// # Errors
    /// Any [`Corruption`] of snapshots.
    pub fn restore(snapshot: &Snapshot) -> Result<Self, Corruption> {
        let mut staking = Self {
            clock: snapshot.clock,
            next_entry: snapshot.next_entry,
            purses: snapshot.purses,
            ..Self::default()
        };
        for OperatorRow { operator, record } in &snapshot.operators {
            if staking
                .operators
                .insert(*operator, record.clone())
                .is_some()
            {
                return Err(misplaced(*operator));
            }
        }
        for row in &snapshot.delegations {
            let key = (row.operator, row.delegator);
            let known = staking.operators.contains_key(&row.operator);
            if !known
                || row.record.is_empty()
                || staking.delegations.insert(key, row.record).is_some()
            {
                return Err(misplaced(row.operator));
            }
        }
        for row in &snapshot.unbondings {
            let (key, record) = ((row.operator, row.delegator), row.record);
            let list = staking.unbondings.entry(key).or_default();
            let follows = list.last().is_none_or(|last| last.entry < record.entry);
            list.push(record);
            staking.take_entry(
                row.operator,
                follows,
                record.entry,
                record.matures,
                Due::Unbonding(key),
            )?;
        }
        for row in &snapshot.redelegations {
            let (hop, record) = ((row.from, row.delegator, row.to), row.record);
            let list = staking.redelegations.entry(hop).or_default();
            let follows = list.last().is_none_or(|last| last.entry < record.entry);
            list.push(record);
            staking.take_entry(
                row.from,
                follows,
                record.entry,
                record.matures,
                Due::Redelegation(hop),
            )?;
            let until = staking
                .receiving
                .entry((row.delegator, row.to))
                .or_insert(record.matures);
            *until = record.matures.max(*until);
        }
        for &claim in &snapshot.claims_paid {
            if staking.claims_paid.last() >= Some(&claim) {
                return Err(Corruption::ClaimMisplaced { claim });
            }
            staking.claims_paid.insert(claim);
        }
        staking.tie_all();
        staking.check()?;
        Ok(staking)
    }

    fn take_entry(
        &mut self,
        operator: NodeId,
        follows: bool,
        entry: u64,
        matures: UnixMillis,
        due: Due,
    ) -> Result<(), Corruption> {
        let fits = follows && entry < self.next_entry && self.operators.contains_key(&operator);
        if !fits || self.due.insert((matures, entry), due).is_some() {
            return Err(misplaced(operator));
        }
        Ok(())
    }

    /// Checks that the state adds up: shares of operators are those of their delegators; what
    /// delegators may claim and what is carried is what was paid in for them, to 2⁻¹²⁰ base units;
    /// purses hold the sums of their records. Walks through everything.
    ///
    /// # Errors
    /// [`Corruption::SharesDiffer`], [`Corruption::RewardsDiffer`], [`Corruption::PurseDiffers`],
    /// [`Corruption::Misplaced`].
    pub fn check(&self) -> Result<(), Corruption> {
        // `None` is more than can be counted. Faults are told in the order of operators: that of
        // the walk through delegations differs from run to run.
        let mut sums: BTreeMap<NodeId, (Option<u128>, Option<U256>)> = BTreeMap::new();
        for (&(operator, _), delegation) in &self.delegations {
            let (shares, rewards) = sums.entry(operator).or_insert((Some(0), Some(U256::ZERO)));
            *shares = shares.and_then(|sum| sum.checked_add(delegation.shares.0));
            let total =
                (self.operators.get(&operator)).and_then(|record| delegation.total(record).ok());
            *rewards = rewards
                .zip(total)
                .and_then(|(sum, total)| sum.checked_add(total));
        }
        let lost = sums
            .keys()
            .find(|operator| !self.operators.contains_key(operator));
        if let Some(&operator) = lost {
            return Err(Corruption::Misplaced { operator });
        }
        let mut bonded = Some(Amount::ZERO);
        let mut rewards = Some(Amount::ZERO);
        for (&operator, record) in &self.operators {
            let nothing = (Some(0), Some(U256::ZERO));
            let (shares, earned) = sums.get(&operator).copied().unwrap_or(nothing);
            // A share is worth at most one token.
            if shares != Some(record.shares.0) || record.tokens.0 > record.shares.0 {
                return Err(Corruption::SharesDiffer { operator });
            }
            let owed = earned.and_then(|earned| earned.checked_add(record.remainder));
            if owed != Some(scaled(record.unclaimed)) {
                return Err(Corruption::RewardsDiffer { operator });
            }
            bonded = bonded.and_then(|sum| sum.checked_add(record.tokens));
            rewards = rewards
                .and_then(|sum| sum.checked_add(record.unclaimed))
                .and_then(|sum| sum.checked_add(record.commission_due));
        }
        let unbonding = self
            .unbondings
            .values()
            .flatten()
            .try_fold(Amount::ZERO, |sum, entry| sum.checked_add(entry.balance));
        let paid = self.purses.rewards_paid_in;
        let held = paid.checked_sub(self.purses.rewards_claimed);
        for (purse, sum, holds) in [
            (Purse::Bonded, bonded, self.purses.bonded),
            (Purse::Unbonding, unbonding, self.purses.unbonding),
            (Purse::Rewards, rewards, self.purses.rewards),
            (Purse::Rewards, held, self.purses.rewards),
        ] {
            if sum != Some(holds) {
                return Err(Corruption::PurseDiffers { purse });
            }
        }
        Ok(())
    }
}

const fn misplaced(operator: NodeId) -> Corruption {
    Corruption::Misplaced { operator }
}
