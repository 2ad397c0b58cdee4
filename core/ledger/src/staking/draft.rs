//! Operations and events worked out against a state, one after another, not yet part of it.

mod wish;

use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};

use super::arithmetic::{mul_div, mul_div_up};
use super::state::{Due, Hop, Overflow, Stake};
use super::{
    Corruption, Delegation, EventKind, Evidence, Loss, MATURE_MAX, Operation, Operator, Punished,
    Purses, Redelegation, Rules, Shares, Staking, StakingError, Unbonding,
};
use crate::{Amount, Movement, Ppm, Purse};

const FIRST_ACCOUNT: AccountId = AccountId::from_bytes([0; AccountId::LEN]);
const LAST_ACCOUNT: AccountId = AccountId::from_bytes([0xff; AccountId::LEN]);
const FIRST_NODE: NodeId = NodeId::from_bytes([0; NodeId::LEN]);
const LAST_NODE: NodeId = NodeId::from_bytes([0xff; NodeId::LEN]);

/// What operations or events make of a state, not yet part of it.
///
/// Each sees what those before it have done. Only what is touched is copied, so that a draft costs
/// what its steps touch, however much the state holds. A step that is refused may have been done by
/// half: the draft is then of no more use.
#[derive(Clone, Debug)]
pub(crate) struct Draft<'a> {
    base: &'a Staking,
    now: UnixMillis,
    /// The state as it will be, where it differs. An empty list is none, as is a `None`.
    changes: Changes,
    /// Stakes the step in hand has touched: one that ends leaves its fraction behind.
    touched: Vec<Stake>,
    /// Stakes whose worth may have changed since [`take_moved`](Self::take_moved) was asked.
    moved: BTreeSet<Stake>,
    /// Operators that were slashed since then: what everybody staked on them is worth less.
    slashed: BTreeSet<NodeId>,
    /// Nothing of the base up to here is due any more, so that no step looks at it again.
    matured: Bound<(UnixMillis, u64)>,
}

/// The finished draft: free of the state it was made for, which
/// [`absorb`](Staking::absorb)s it.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    pub(super) clock: UnixMillis,
    pub(super) operators: BTreeMap<NodeId, Operator>,
    pub(super) delegations: BTreeMap<Stake, Option<Delegation>>,
    pub(super) unbondings: BTreeMap<Stake, Vec<Unbonding>>,
    pub(super) redelegations: BTreeMap<Hop, Vec<Redelegation>>,
    pub(super) due_added: BTreeMap<(UnixMillis, u64), Due>,
    pub(super) due_removed: BTreeSet<(UnixMillis, u64)>,
    pub(super) receiving: BTreeMap<(AccountId, NodeId), Option<UnixMillis>>,
    pub(super) next_entry: u64,
    pub(super) purses: Purses,
    pub(super) claims_paid: BTreeSet<TransferId>,
}

impl Changes {
    /// Stakes, operators' unbondings and operators that accounts have more or fewer of than in the
    /// state these are the changes of.
    pub(super) fn ties(&self, base: &Staking) -> impl Iterator<Item = (AccountId, i32)> {
        let change = |after: bool, before: bool| i32::from(after) - i32::from(before);
        let stakes = self.delegations.iter().map(move |(key, delegation)| {
            let before = base.delegations.contains_key(key);
            (key.1, change(delegation.is_some(), before))
        });
        let leaving = self.unbondings.iter().map(move |(key, list)| {
            let before = base.unbondings.contains_key(key);
            (key.1, change(!list.is_empty(), before))
        });
        let operators = self.operators.iter().map(move |(operator, record)| {
            let before = base.operators.contains_key(operator);
            (record.account, change(true, before))
        });
        stakes
            .chain(leaving)
            .chain(operators)
            .filter(|it| it.1 != 0)
    }
}

impl<'a> Draft<'a> {
    /// Nothing done yet; what is done first is done at the time `now`.
    pub(crate) const fn new(base: &'a Staking, now: UnixMillis) -> Self {
        let mut draft = Self {
            base,
            now: base.clock,
            changes: Changes {
                clock: base.clock,
                operators: BTreeMap::new(),
                delegations: BTreeMap::new(),
                unbondings: BTreeMap::new(),
                redelegations: BTreeMap::new(),
                due_added: BTreeMap::new(),
                due_removed: BTreeSet::new(),
                receiving: BTreeMap::new(),
                next_entry: base.next_entry,
                purses: base.purses,
                claims_paid: BTreeSet::new(),
            },
            touched: Vec::new(),
            moved: BTreeSet::new(),
            slashed: BTreeSet::new(),
            matured: Bound::Unbounded,
        };
        draft.set_time(now);
        draft
    }

    /// Sets the time of what is done next. One before the last event is found by the next step.
    pub(crate) const fn set_time(&mut self, now: UnixMillis) {
        self.now = now;
    }

    /// Does what an operation asks, under those rules. Returns what happened, in order: one event,
    /// but for [`Operation::Mature`].
    ///
    /// # Errors
    /// Any [`StakingError`]; the draft is of no more use then.
    pub(crate) fn execute(
        &mut self,
        rules: &Rules,
        operation: &Operation,
    ) -> Result<Vec<EventKind>, StakingError> {
        self.on_time()?;
        if let Operation::Mature = operation {
            return self.mature();
        }
        let wish = self.wish(rules, operation)?;
        Ok(vec![self.perform(&wish)?])
    }

    /// Takes in an event that happened: works it out again and compares the effects.
    ///
    /// # Errors
    /// [`Corruption::Impossible`], [`Corruption::Inconsistent`]; the draft is of no more use then.
    pub(crate) fn repeat(&mut self, kind: &EventKind) -> Result<(), Corruption> {
        let done = self
            .perform(kind)
            .map_err(|reason| Corruption::Impossible { reason })?;
        if done == *kind {
            Ok(())
        } else {
            Err(Corruption::Inconsistent)
        }
    }

    /// What is to be taken in by the state this was made for.
    pub(crate) fn finish(self) -> Changes {
        self.changes
    }

    /// Whether an account takes part, as [`Staking::takes_part`].
    pub(crate) fn takes_part(&self, account: AccountId) -> bool {
        let before = self.base.ties.get(&account).copied().unwrap_or(0);
        let changes = self.changes.ties(self.base);
        let mine = changes.filter(|(changed, _)| *changed == account);
        mine.fold(i64::from(before), |sum, (_, change)| {
            sum + i64::from(change)
        }) > 0
    }

    /// The account of an operator, if there is such an operator.
    pub(crate) fn account_of(&self, operator: NodeId) -> Option<AccountId> {
        self.find_operator(operator).map(|record| record.account)
    }

    /// Stakes whose worth may have changed since this was asked last, and operators whose slash
    /// has changed the worth of everything staked on them.
    pub(crate) fn take_moved(&mut self) -> (BTreeSet<Stake>, BTreeSet<NodeId>) {
        let moved = std::mem::take(&mut self.moved);
        (moved, std::mem::take(&mut self.slashed))
    }

    /// The operators on whom an account has something staked.
    pub(crate) fn operators_of(&self, delegator: AccountId) -> Vec<NodeId> {
        let known = self.base.operators.keys();
        let ids: BTreeSet<_> = known
            .chain(self.changes.operators.keys())
            .copied()
            .collect();
        ids.into_iter()
            .filter(|operator| self.find_delegation((*operator, delegator)).is_some())
            .collect()
    }

    fn on_time(&self) -> Result<(), StakingError> {
        let (now, last) = (self.now, self.changes.clock);
        if now < last {
            return Err(StakingError::ClockBehind { now, last });
        }
        Ok(())
    }

    /// Does what an event asks. Its effects are ignored; it is returned with those it has.
    fn perform(&mut self, wish: &EventKind) -> Result<EventKind, StakingError> {
        self.on_time()?;
        self.changes.clock = self.now;
        let done = self.effect(wish)?;
        for movement in done.movements() {
            self.account(&movement)?;
        }
        if let EventKind::Slashed { operator, .. } = done {
            self.slashed.insert(operator);
        }
        for key in std::mem::take(&mut self.touched) {
            self.moved.insert(key);
            let Some(Some(delegation)) = self.changes.delegations.get(&key) else {
                continue;
            };
            if delegation.is_empty() {
                let (operator, fraction) = (key.0, delegation.fraction);
                self.operator(operator)?
                    .take_fraction(fraction)
                    .map_err(|Overflow| StakingError::Overflow { operator })?;
                self.changes.delegations.insert(key, None);
            }
        }
        Ok(done)
    }

    /// Closes what is due, soonest first.
    fn mature(&mut self) -> Result<Vec<EventKind>, StakingError> {
        let now = self.now;
        let stored = (self.base.due.range((self.matured, Bound::Unbounded)))
            .filter(|(key, _)| !self.changes.due_removed.contains(key));
        let due: Vec<_> = merged(stored, self.changes.due_added.iter())
            .take_while(|((matures, _), _)| *matures <= now)
            .take(MATURE_MAX)
            .map(|(&key, &due)| (key, due))
            .collect();
        self.matured = match due.last() {
            Some(&(key, _)) if due.len() == MATURE_MAX => Bound::Excluded(key),
            _ => Bound::Excluded((now, u64::MAX)),
        };
        due.into_iter()
            .map(|((_, entry), due)| {
                self.perform(&match due {
                    Due::Unbonding((operator, delegator)) => EventKind::Released {
                        operator,
                        delegator,
                        entry,
                        amount: Amount::ZERO,
                    },
                    Due::Redelegation((from, delegator, to)) => EventKind::RedelegationEnded {
                        delegator,
                        from,
                        to,
                        entry,
                    },
                })
            })
            .collect()
    }

    fn effect(&mut self, wish: &EventKind) -> Result<EventKind, StakingError> {
        match *wish {
            EventKind::Registered {
                operator,
                account,
                commission,
            } => {
                if self.find_operator(operator).is_some() {
                    return Err(StakingError::OperatorExists { operator });
                }
                let record = Operator::new(account, commission, self.now);
                self.changes.operators.insert(operator, record);
                Ok(*wish)
            }
            EventKind::CommissionSet {
                operator,
                commission,
            } => {
                let now = self.now;
                let record = self.operator(operator)?;
                record.commission = commission;
                record.commission_set = now;
                Ok(*wish)
            }
            EventKind::Bonded {
                operator,
                delegator,
                amount,
                ..
            } => {
                positive(amount)?;
                self.free(operator)?;
                let shares = self.join((operator, delegator), amount)?;
                Ok(EventKind::Bonded {
                    operator,
                    delegator,
                    amount,
                    shares,
                })
            }
            EventKind::Unbonded {
                operator,
                delegator,
                amount,
                matures,
                ..
            } => self.unbond((operator, delegator), amount, matures),
            EventKind::UnbondingCancelled {
                operator,
                delegator,
                entry,
                amount,
                ..
            } => self.cancel((operator, delegator), entry, amount),
            EventKind::Redelegated {
                delegator,
                from,
                to,
                amount,
                matures,
                ..
            } => self.redelegate((from, delegator, to), amount, matures),
            EventKind::Claimed {
                operator,
                delegator,
                ..
            } => {
                let (record, delegation) = self.stake((operator, delegator))?;
                let amount = delegation.accrued;
                if amount.is_zero() {
                    return Err(StakingError::NothingToClaim {
                        operator,
                        delegator,
                    });
                }
                delegation.accrued = Amount::ZERO;
                record.unclaimed = minus(record.unclaimed, amount, operator)?;
                Ok(EventKind::Claimed {
                    operator,
                    delegator,
                    amount,
                })
            }
            EventKind::CommissionClaimed { operator, .. } => {
                let record = self.operator(operator)?;
                let (account, amount) = (record.account, record.commission_due);
                if amount.is_zero() {
                    return Err(StakingError::NoCommission { operator });
                }
                record.commission_due = Amount::ZERO;
                Ok(EventKind::CommissionClaimed {
                    operator,
                    account,
                    amount,
                })
            }
            EventKind::Rewarded {
                operator,
                source,
                amount,
                ..
            } => self.reward(operator, source, amount),
            EventKind::Slashed { .. } => self.slash(wish),
            EventKind::Unjailed { operator } => {
                let now = self.now;
                let record = self.operator(operator)?;
                if record.tombstoned {
                    return Err(StakingError::Tombstoned { operator });
                }
                match record.jailed_until {
                    None => return Err(StakingError::NotJailed { operator }),
                    Some(until) if until > now => {
                        return Err(StakingError::Jailed { operator, until });
                    }
                    Some(_) => record.jailed_until = None,
                }
                Ok(*wish)
            }
            EventKind::Released {
                operator,
                delegator,
                entry,
                ..
            } => self.release((operator, delegator), entry),
            EventKind::RedelegationEnded {
                delegator,
                from,
                to,
                entry,
            } => self.end((from, delegator, to), entry).map(|()| *wish),
            EventKind::InsurancePaid { claim, amount, .. } => {
                positive(amount)?;
                let paid = &mut self.changes.claims_paid;
                if self.base.claims_paid.contains(&claim) || !paid.insert(claim) {
                    return Err(StakingError::ClaimRepeated { claim });
                }
                if amount > self.changes.purses.insurance {
                    return Err(StakingError::InsuranceShort {
                        available: self.changes.purses.insurance,
                        asked: amount,
                    });
                }
                Ok(*wish)
            }
        }
    }

    fn unbond(
        &mut self,
        key: Stake,
        amount: Amount,
        matures: UnixMillis,
    ) -> Result<EventKind, StakingError> {
        let (operator, delegator) = key;
        let shares = self.leave(key, amount)?;
        let entry = self.entry();
        if !amount.is_zero() {
            let started = self.now;
            self.unbondings_mut(key).push(Unbonding {
                entry,
                started,
                matures,
                initial: amount,
                balance: amount,
            });
            self.add_due(matures, entry, Due::Unbonding(key));
        }
        Ok(EventKind::Unbonded {
            operator,
            delegator,
            amount,
            shares,
            matures,
            entry,
        })
    }

    fn cancel(
        &mut self,
        key: Stake,
        entry: u64,
        amount: Amount,
    ) -> Result<EventKind, StakingError> {
        let (operator, delegator) = key;
        positive(amount)?;
        self.free(operator)?;
        let now = self.now;
        let list = self.unbondings_mut(key);
        let (place, unbonding) = find(list, |unbonding| unbonding.entry, key, entry)?;
        let Unbonding {
            matures, balance, ..
        } = *unbonding;
        if matures <= now {
            return Err(StakingError::EntryMatured { entry, matures });
        }
        let left = balance
            .checked_sub(amount)
            .ok_or(StakingError::ExceedsEntry {
                entry,
                balance,
                asked: amount,
            })?;
        unbonding.balance = left;
        unbonding.initial = Amount(unbonding.initial.0.saturating_sub(amount.0));
        if left.is_zero() {
            list.remove(place);
            self.remove_due(matures, entry);
        }
        let shares = self.join(key, amount)?;
        Ok(EventKind::UnbondingCancelled {
            operator,
            delegator,
            entry,
            amount,
            shares,
        })
    }

    fn redelegate(
        &mut self,
        hop: Hop,
        amount: Amount,
        matures: UnixMillis,
    ) -> Result<EventKind, StakingError> {
        let (from, delegator, to) = hop;
        positive(amount)?;
        if from == to {
            return Err(StakingError::SameOperator { operator: from });
        }
        if let Some(until) = self.receiving((delegator, from))
            && until > self.now
        {
            return Err(StakingError::TransitiveRedelegation {
                operator: from,
                delegator,
                until,
            });
        }
        self.free(to)?;
        let left = self.leave((from, delegator), amount)?;
        let joined = self.join((to, delegator), amount)?;
        let (entry, started) = (self.entry(), self.now);
        self.redelegations_mut(hop).push(Redelegation {
            entry,
            started,
            matures,
            initial: amount,
            shares: joined,
        });
        self.add_due(matures, entry, Due::Redelegation(hop));
        let until = self.receiving((delegator, to)).max(Some(matures));
        self.changes.receiving.insert((delegator, to), until);
        Ok(EventKind::Redelegated {
            delegator,
            from,
            to,
            amount,
            left,
            joined,
            matures,
            entry,
        })
    }

    fn reward(
        &mut self,
        operator: NodeId,
        source: Purse,
        amount: Amount,
    ) -> Result<EventKind, StakingError> {
        positive(amount)?;
        if !matches!(source, Purse::Account(_) | Purse::Treasury | Purse::Mint) {
            return Err(StakingError::SourceNotAllowed { purse: source });
        }
        self.free(operator)?;
        let record = self.operator(operator)?;
        let (commission, treasury) = if record.has_stake() {
            let commission = record.commission.of(amount);
            let overflow = |Overflow| StakingError::Overflow { operator };
            record
                .reward(Amount(amount.0 - commission.0))
                .map_err(overflow)?;
            record.commission_due = plus(record.commission_due, commission, operator)?;
            (commission, Amount::ZERO)
        } else {
            (Amount::ZERO, amount)
        };
        Ok(EventKind::Rewarded {
            operator,
            source,
            amount,
            commission,
            treasury,
        })
    }

    fn release(&mut self, key: Stake, entry: u64) -> Result<EventKind, StakingError> {
        let now = self.now;
        let list = self.unbondings_mut(key);
        let (place, &mut Unbonding { matures, .. }) =
            find(list, |unbonding| unbonding.entry, key, entry)?;
        if matures > now {
            return Err(StakingError::EntryNotMature { entry, matures });
        }
        let amount = list.remove(place).balance;
        self.remove_due(matures, entry);
        Ok(EventKind::Released {
            operator: key.0,
            delegator: key.1,
            entry,
            amount,
        })
    }

    fn end(&mut self, hop: Hop, entry: u64) -> Result<(), StakingError> {
        let now = self.now;
        let list = self.redelegations_mut(hop);
        let (place, &mut Redelegation { matures, .. }) =
            find(list, |moved| moved.entry, (hop.0, hop.1), entry)?;
        if matures > now {
            return Err(StakingError::EntryNotMature { entry, matures });
        }
        list.remove(place);
        self.remove_due(matures, entry);
        let key = (hop.1, hop.2);
        if self.receiving(key) <= Some(now) {
            self.changes.receiving.insert(key, None);
        }
        Ok(())
    }

    /// As Cosmos x/staking, `Keeper.Slash`: the part of the stake at the infraction is taken first
    /// from what left since (each entry its own part, whatever others have), the rest from what
    /// is bonded.
    ///
    /// Entries pay in the order of delegator, operator and number, so that rounding is the same
    /// everywhere.
    ///
    /// Unlike there, redelegated stake that is unbonding pays no more than its part even if some
    /// of it is still bonded, and only what began to unbond after it came is taken.
    fn slash(&mut self, wish: &EventKind) -> Result<EventKind, StakingError> {
        let &EventKind::Slashed {
            operator,
            evidence,
            infraction,
            power,
            fraction,
            jailed_until,
            tombstone,
            forget_before,
            ..
        } = wish
        else {
            unreachable!("called for slashes only");
        };
        positive(power)?;
        let now = self.now;
        if infraction > now {
            return Err(StakingError::InfractionInFuture { infraction, now });
        }
        let punished = Punished {
            evidence,
            infraction,
        };
        let record = self.operator(operator)?;
        if record.tombstoned {
            return Err(StakingError::Tombstoned { operator });
        }
        if record.punished.contains(&punished) {
            return Err(StakingError::EvidenceRepeated {
                operator,
                evidence,
                infraction,
            });
        }
        if let (Evidence::Downtime, Some(until)) = (evidence, record.jailed_until) {
            // In jail it is not expected to be there: x/slashing, `HandleValidatorSignature`.
            return Err(StakingError::Jailed { operator, until });
        }
        let most = self.power_most(operator, infraction);
        if power > most {
            return Err(StakingError::PowerTooLarge {
                operator,
                power,
                most,
            });
        }
        let mut remaining = fraction.of(power);
        let left = self.slash_unbondings(operator, infraction, fraction)?;
        remaining.0 = remaining.0.saturating_sub(left.wanted);
        let moved = self.slash_redelegations(operator, infraction, fraction, forget_before)?;
        remaining.0 = remaining.0.saturating_sub(moved.wanted);

        let record = self.operator(operator)?;
        let taken = remaining.min(record.tokens);
        lose(record, now, forget_before, taken, operator)?;
        record.punished.push(punished);
        record
            .punished
            .retain(|punished| punished.infraction >= forget_before);
        record.jailed_until = record.jailed_until.max(Some(jailed_until));
        record.tombstoned = tombstone;
        let mut done = *wish;
        if let EventKind::Slashed {
            bonded, unbonding, ..
        } = &mut done
        {
            *bonded = plus(taken, Amount(moved.bonded), operator)?;
            *unbonding = plus(Amount(left.unbonding), Amount(moved.unbonding), operator)?;
        }
        Ok(done)
    }

    /// The most that can have been staked on an operator at a time: what is there now, what left
    /// since and what was slashed since.
    fn power_most(&self, operator: NodeId, at: UnixMillis) -> Amount {
        let mut most = 0_u128;
        let mut count = |amount: Amount| most = most.saturating_add(amount.0);
        if let Some(record) = self.changes.operators.get(&operator) {
            count(record.tokens);
            for loss in record.losses.iter().filter(|loss| loss.time >= at) {
                count(loss.amount);
            }
        }
        for (_, list) in self.unbondings_of(operator) {
            for entry in list.iter().filter(|entry| entry.started >= at) {
                count(entry.initial);
            }
        }
        for (_, list) in self.redelegations_from(operator) {
            for entry in list.iter().filter(|entry| entry.started >= at) {
                count(entry.initial);
            }
        }
        Amount(most)
    }

    fn slash_unbondings(
        &mut self,
        operator: NodeId,
        infraction: UnixMillis,
        fraction: Ppm,
    ) -> Result<Taken, StakingError> {
        let mut taken = Taken::default();
        let now = self.now;
        let reached = self.unbondings_of(operator).flat_map(|(&key, list)| {
            let list = list.iter().enumerate();
            list.map(move |(place, entry)| (key, place, *entry))
        });
        let reached: Vec<_> = reached
            .filter(|(_, _, entry)| entry.started >= infraction && entry.matures > now)
            .collect();
        for (key, place, entry) in reached {
            let wanted = fraction.of(entry.initial);
            taken.want(wanted, operator)?;
            let take = wanted.min(entry.balance);
            if !take.is_zero() {
                self.unbondings_mut(key)[place].balance.0 -= take.0;
                taken.unbonding = sum(taken.unbonding, take.0, operator)?;
            }
        }
        Ok(taken)
    }

    fn slash_redelegations(
        &mut self,
        operator: NodeId,
        infraction: UnixMillis,
        fraction: Ppm,
        forget_before: UnixMillis,
    ) -> Result<Taken, StakingError> {
        let mut taken = Taken::default();
        let now = self.now;
        let reached = self.redelegations_from(operator);
        let reached: Vec<_> = reached
            .flat_map(|(&hop, list)| list.iter().map(move |moved| (hop, *moved)))
            .filter(|(_, moved)| moved.started >= infraction && moved.matures > now)
            .collect();
        for ((_, delegator, to), moved) in reached {
            let mut wanted = fraction.of(moved.initial);
            taken.want(wanted, operator)?;
            // Stake that left the second operator since it came is taken before what is there.
            if !self.unbondings((to, delegator)).is_empty() {
                for entry in self.unbondings_mut((to, delegator)) {
                    if entry.entry < moved.entry || entry.matures <= now {
                        continue;
                    }
                    let take = wanted.min(entry.balance);
                    entry.balance.0 -= take.0;
                    wanted.0 -= take.0;
                    taken.unbonding = sum(taken.unbonding, take.0, operator)?;
                }
            }
            let seized = self.seize(
                (to, delegator),
                wanted,
                fraction.of(Amount(moved.shares.0)).0,
                forget_before,
            )?;
            taken.bonded = sum(taken.bonded, seized.0, operator)?;
        }
        Ok(taken)
    }

    /// Takes stake that came by redelegation from its delegation at the second operator: what is
    /// wanted, but no more than so many shares.
    fn seize(
        &mut self,
        key: Stake,
        wanted: Amount,
        shares_most: u128,
        forget_before: UnixMillis,
    ) -> Result<Amount, StakingError> {
        let Some(delegation) = self.find_delegation(key) else {
            return Ok(Amount::ZERO);
        };
        let held = delegation.shares;
        let now = self.now;
        let record = self.operator(key.0)?;
        let most = shares_most.min(held.0);
        let needed =
            mul_div_up(wanted.0, record.shares.0, record.tokens.0).map_or(most, |n| n.min(most));
        let taken = record.worth(Shares(needed));
        if taken.is_zero() {
            return Ok(Amount::ZERO);
        }
        let (record, delegation) = self.stake(key)?;
        delegation.shares.0 -= needed;
        record.shares.0 -= needed;
        lose(record, now, forget_before, taken, key.0)?;
        Ok(taken)
    }

    /// Adds stake. Returns its shares: so many that the others' are worth no less than before.
    fn join(&mut self, key: Stake, amount: Amount) -> Result<Shares, StakingError> {
        let operator = key.0;
        let record = self.operator(operator)?;
        let shares = if record.shares == Shares::ZERO {
            amount.0
        } else if record.tokens.is_zero() {
            return Err(StakingError::Worthless {
                operator,
                shares: record.shares,
            });
        } else {
            mul_div(amount.0, record.shares.0, record.tokens.0)
                .ok_or(StakingError::Overflow { operator })?
        };
        let index = record.index;
        load_delegation(&mut self.changes.delegations, self.base, key)
            .get_or_insert_with(|| Delegation::new(index));
        let (record, delegation) = self.stake(key)?;
        record.tokens = plus(record.tokens, amount, operator)?;
        record.shares = Shares(sum(record.shares.0, shares, operator)?);
        delegation.shares = Shares(sum(delegation.shares.0, shares, operator)?);
        Ok(Shares(shares))
    }

    /// Removes stake worth that much. Returns its shares: the fewest that are worth it, or all if
    /// all is asked for, so that no crumbs stay.
    fn leave(&mut self, key: Stake, amount: Amount) -> Result<Shares, StakingError> {
        let (operator, delegator) = key;
        let (record, delegation) = self.stake(key)?;
        let staked = record.worth(delegation.shares);
        if amount > staked {
            return Err(StakingError::ExceedsStake {
                operator,
                delegator,
                staked,
                asked: amount,
            });
        }
        let overflow = StakingError::Overflow { operator };
        let shares = if amount == staked {
            delegation.shares
        } else {
            Shares(mul_div_up(amount.0, record.shares.0, record.tokens.0).ok_or(overflow)?)
        };
        if delegation.shares == Shares::ZERO {
            return Err(StakingError::UnknownDelegator {
                operator,
                delegator,
            });
        }
        if shares == Shares::ZERO {
            return Err(StakingError::AmountZero);
        }
        record.tokens = minus(record.tokens, amount, operator)?;
        record.shares = Shares(record.shares.0.checked_sub(shares.0).ok_or(overflow)?);
        delegation.shares = Shares(delegation.shares.0.checked_sub(shares.0).ok_or(overflow)?);
        Ok(shares)
    }

    const fn entry(&mut self) -> u64 {
        let entry = self.changes.next_entry;
        // One entry a nanosecond would need 584 years to get there.
        self.changes.next_entry = entry.saturating_add(1);
        entry
    }

    /// Refuses an operator that takes no stake and no rewards.
    fn free(&mut self, operator: NodeId) -> Result<(), StakingError> {
        let record = self.operator(operator)?;
        if record.tombstoned {
            return Err(StakingError::Tombstoned { operator });
        }
        record.jailed_until.map_or(Ok(()), |until| {
            Err(StakingError::Jailed { operator, until })
        })
    }

    fn find_operator(&self, operator: NodeId) -> Option<&Operator> {
        let changed = self.changes.operators.get(&operator);
        changed.or_else(|| self.base.find_operator(operator))
    }

    fn find_delegation(&self, key: Stake) -> Option<&Delegation> {
        match self.changes.delegations.get(&key) {
            Some(changed) => changed.as_ref(),
            None => self.base.find_delegation(key),
        }
    }

    /// What a delegation is worth, as [`Staking::staked`].
    pub(crate) fn staked(&self, key: Stake) -> Amount {
        let stake = self.find_operator(key.0).zip(self.find_delegation(key));
        stake.map_or(Amount::ZERO, |(operator, delegation)| {
            operator.worth(delegation.shares)
        })
    }

    fn unbondings(&self, key: Stake) -> &[Unbonding] {
        let list = self.changes.unbondings.get(&key);
        list.or_else(|| self.base.unbondings.get(&key))
            .map_or(&[], Vec::as_slice)
    }

    fn redelegations(&self, hop: Hop) -> &[Redelegation] {
        let list = self.changes.redelegations.get(&hop);
        list.or_else(|| self.base.redelegations.get(&hop))
            .map_or(&[], Vec::as_slice)
    }

    /// All stake on its way out of an operator, by delegator.
    fn unbondings_of(&self, operator: NodeId) -> impl Iterator<Item = (&Stake, &Vec<Unbonding>)> {
        let all = (operator, FIRST_ACCOUNT)..=(operator, LAST_ACCOUNT);
        merged(
            self.base.unbondings.range(all.clone()),
            self.changes.unbondings.range(all),
        )
    }

    /// All stake that went from an operator to others, by delegator and where it went.
    fn redelegations_from(
        &self,
        operator: NodeId,
    ) -> impl Iterator<Item = (&Hop, &Vec<Redelegation>)> {
        let all = (operator, FIRST_ACCOUNT, FIRST_NODE)..=(operator, LAST_ACCOUNT, LAST_NODE);
        merged(
            self.base.redelegations.range(all.clone()),
            self.changes.redelegations.range(all),
        )
    }

    fn receiving(&self, key: (AccountId, NodeId)) -> Option<UnixMillis> {
        match self.changes.receiving.get(&key) {
            Some(changed) => *changed,
            None => self.base.receiving.get(&key).copied(),
        }
    }

    fn operator(&mut self, operator: NodeId) -> Result<&mut Operator, StakingError> {
        load_operator(&mut self.changes.operators, self.base, operator)
    }

    /// An operator and a delegation on it, its rewards settled.
    fn stake(&mut self, key: Stake) -> Result<(&mut Operator, &mut Delegation), StakingError> {
        let (operator, delegator) = key;
        self.touched.push(key);
        let Changes {
            operators,
            delegations,
            ..
        } = &mut self.changes;
        let record = load_operator(operators, self.base, operator)?;
        let delegation = load_delegation(delegations, self.base, key)
            .as_mut()
            .ok_or(StakingError::UnknownDelegator {
                operator,
                delegator,
            })?;
        delegation
            .settle(record)
            .map_err(|Overflow| StakingError::Overflow { operator })?;
        Ok((record, delegation))
    }

    fn unbondings_mut(&mut self, key: Stake) -> &mut Vec<Unbonding> {
        let stored = &self.base.unbondings;
        (self.changes.unbondings.entry(key))
            .or_insert_with(|| stored.get(&key).cloned().unwrap_or_default())
    }

    fn redelegations_mut(&mut self, hop: Hop) -> &mut Vec<Redelegation> {
        let stored = &self.base.redelegations;
        (self.changes.redelegations.entry(hop))
            .or_insert_with(|| stored.get(&hop).cloned().unwrap_or_default())
    }

    fn add_due(&mut self, matures: UnixMillis, entry: u64, due: Due) {
        self.changes.due_added.insert((matures, entry), due);
    }

    fn remove_due(&mut self, matures: UnixMillis, entry: u64) {
        let key = (matures, entry);
        if self.changes.due_added.remove(&key).is_none() {
            self.changes.due_removed.insert(key);
        }
    }

    /// Counts a movement in the purses.
    fn account(&mut self, movement: &Movement) -> Result<(), StakingError> {
        let Movement { from, to, amount } = *movement;
        if let Some(held) = purse(&mut self.changes.purses, from) {
            *held = held
                .checked_sub(amount)
                .ok_or(StakingError::PurseOverflow { purse: from })?;
        }
        let full = StakingError::PurseOverflow { purse: to };
        if let Some(held) = purse(&mut self.changes.purses, to) {
            *held = held.checked_add(amount).ok_or(full)?;
        }
        let total = match (from, to) {
            (_, Purse::Rewards) => &mut self.changes.purses.rewards_paid_in,
            (Purse::Rewards, _) => &mut self.changes.purses.rewards_claimed,
            _ => return Ok(()),
        };
        *total = total.checked_add(amount).ok_or(full)?;
        Ok(())
    }
}

/// What slashes took, and what they would have taken had it been there.
#[derive(Default)]
struct Taken {
    wanted: u128,
    bonded: u128,
    unbonding: u128,
}

impl Taken {
    fn want(&mut self, wanted: Amount, operator: NodeId) -> Result<(), StakingError> {
        self.wanted = sum(self.wanted, wanted.0, operator)?;
        Ok(())
    }
}

/// Both in order of their keys; of two with one key, the changed one.
fn merged<'m, K: Ord + 'm, V: 'm>(
    stored: impl Iterator<Item = (&'m K, &'m V)>,
    changed: impl Iterator<Item = (&'m K, &'m V)>,
) -> impl Iterator<Item = (&'m K, &'m V)> {
    let (mut stored, mut changed) = (stored.peekable(), changed.peekable());
    std::iter::from_fn(move || {
        let order = match (stored.peek(), changed.peek()) {
            (Some((stored, _)), Some((changed, _))) => stored.cmp(changed),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        if order == Ordering::Less {
            return stored.next();
        }
        if order == Ordering::Equal {
            stored.next();
        }
        changed.next()
    })
}

fn load_operator<'o>(
    operators: &'o mut BTreeMap<NodeId, Operator>,
    base: &Staking,
    operator: NodeId,
) -> Result<&'o mut Operator, StakingError> {
    match operators.entry(operator) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => {
            let stored = base.find_operator(operator);
            let stored = stored.ok_or(StakingError::UnknownOperator { operator })?;
            Ok(entry.insert(stored.clone()))
        }
    }
}

fn load_delegation<'d>(
    delegations: &'d mut BTreeMap<Stake, Option<Delegation>>,
    base: &Staking,
    key: Stake,
) -> &'d mut Option<Delegation> {
    delegations
        .entry(key)
        .or_insert_with(|| base.find_delegation(key).copied())
}

/// Takes what a slash takes of an operator's bonded stake, and keeps count of it.
fn lose(
    record: &mut Operator,
    now: UnixMillis,
    forget_before: UnixMillis,
    amount: Amount,
    operator: NodeId,
) -> Result<(), StakingError> {
    record.tokens = minus(record.tokens, amount, operator)?;
    record.losses.retain(|loss| loss.time >= forget_before);
    match record.losses.last_mut() {
        Some(last) if last.time == now => last.amount = plus(last.amount, amount, operator)?,
        _ if amount.is_zero() => {}
        _ => record.losses.push(Loss { time: now, amount }),
    }
    Ok(())
}

fn find<T>(
    list: &mut [T],
    number: impl Fn(&T) -> u64,
    (operator, delegator): Stake,
    entry: u64,
) -> Result<(usize, &mut T), StakingError> {
    list.iter_mut()
        .enumerate()
        .find(|(_, item)| number(item) == entry)
        .ok_or(StakingError::UnknownEntry {
            operator,
            delegator,
            entry,
        })
}

const fn positive(amount: Amount) -> Result<(), StakingError> {
    if amount.is_zero() {
        Err(StakingError::AmountZero)
    } else {
        Ok(())
    }
}

fn sum(a: u128, b: u128, operator: NodeId) -> Result<u128, StakingError> {
    a.checked_add(b).ok_or(StakingError::Overflow { operator })
}

fn plus(a: Amount, b: Amount, operator: NodeId) -> Result<Amount, StakingError> {
    sum(a.0, b.0, operator).map(Amount)
}

fn minus(a: Amount, b: Amount, operator: NodeId) -> Result<Amount, StakingError> {
    a.checked_sub(b).ok_or(StakingError::Overflow { operator })
}

const fn purse(purses: &mut Purses, purse: Purse) -> Option<&mut Amount> {
    match purse {
        Purse::Bonded => Some(&mut purses.bonded),
        Purse::Unbonding => Some(&mut purses.unbonding),
        Purse::Rewards => Some(&mut purses.rewards),
        Purse::Insurance => Some(&mut purses.insurance),
        Purse::Account(_) | Purse::Treasury | Purse::SovereignFund | Purse::Mint => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DELAY: u64 = 1_000;

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn account(n: u8) -> AccountId {
        AccountId::from_bytes([n; 16])
    }

    /// Slashes that bite, and a delay of a second or none.
    fn rules(delay: u64) -> Rules {
        let mut rules = Rules {
            unbonding_ms: delay,
            evidence_age_ms: delay,
            entries_max: 3,
            ..Rules::default()
        };
        rules.invalid_result.fraction = Ppm::percent(33);
        rules.invalid_result.jail_ms = 0;
        rules.downtime.fraction = Ppm::WHOLE;
        rules.downtime.jail_ms = 50;
        rules
    }

    /// One event after another, as by somebody who uses staking alone.
    fn run_alone(
        staking: &mut Staking,
        rules: &Rules,
        operation: &Operation,
        now: UnixMillis,
    ) -> Result<Vec<EventKind>, StakingError> {
        let plan = staking.plan(rules, operation, now)?;
        for event in &plan.events {
            staking.apply(event).unwrap();
        }
        Ok(plan.events.iter().map(|event| event.kind).collect())
    }

    #[derive(Clone, Copy, Debug)]
    struct Step {
        wait: u64,
        short: bool,
        code: u8,
        nodes: (u8, u8),
        delegator: u8,
        amount: u128,
        all: bool,
        which: usize,
    }

    prop_compose! {
        fn step()(
            wait in prop_oneof![6 => Just(0), 3 => 1..200_u64, 1 => Just(DELAY)],
            short in prop_oneof![5 => Just(false), 1 => Just(true)],
            code in 0..32_u8,
            nodes in (0..3_u8, 0..4_u8),
            delegator in 0..3_u8,
            amount in prop_oneof![1..2_000_u128, Just(10_u128.pow(20))],
            all in any::<bool>(),
            which in any::<usize>(),
        ) -> Step {
            Step { wait, short, code, nodes, delegator, amount, all, which }
        }
    }

    /// What a step asks of a state that is such.
    fn operation(staking: &Staking, step: Step, now: UnixMillis) -> Operation {
        let (operator, other) = (node(step.nodes.0), node(step.nodes.1));
        let (delegator, amount) = (account(step.delegator), Amount(step.amount));
        let staked = staking.staked(operator, delegator);
        let some = (!step.all).then_some(Amount(staked.0 / 3));
        match step.code {
            0..=5 => Operation::Bond {
                operator,
                delegator,
                amount,
            },
            6..=9 => Operation::Unbond {
                operator,
                delegator,
                amount: some,
            },
            10..=12 => {
                let rows = staking.snapshot().unbondings;
                let Some(row) = rows.get(step.which % rows.len().max(1)) else {
                    return Operation::Mature;
                };
                Operation::CancelUnbonding {
                    operator: row.operator,
                    delegator: row.delegator,
                    entry: row.record.entry,
                    amount: (!step.all).then_some(Amount(row.record.balance.0 / 3)),
                }
            }
            13..=16 => Operation::Redelegate {
                delegator,
                from: operator,
                to: other,
                amount: some,
            },
            17..=19 => Operation::Reward {
                operator,
                source: Purse::Mint,
                amount,
            },
            20..=22 => Operation::Claim {
                operator,
                delegator,
            },
            23 => Operation::ClaimCommission { operator },
            24..=26 => Operation::Slash {
                operator,
                evidence: Evidence::ALL[1 + step.which % 2],
                infraction: UnixMillis(now.0.saturating_sub(u64::from(step.nodes.1) * 70)),
                power: staking
                    .operator(operator)
                    .map_or(amount, |record| record.tokens),
            },
            27 | 28 => Operation::Unjail { operator },
            29 => Operation::Mature,
            30 => Operation::Register {
                operator: other,
                account: delegator,
                commission: Ppm::percent(10),
            },
            _ if step.all => Operation::PayInsurance {
                claim: TransferId::from_bytes([step.delegator; 16]),
                to: delegator,
                amount: Amount(step.amount % 50),
            },
            _ => Operation::SetCommission {
                operator,
                commission: Ppm::percent(11),
            },
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn many_steps_through_one_draft_do_what_they_do_one_by_one(
            before in proptest::collection::vec(step(), 0..80),
            batch in proptest::collection::vec(step(), 1..120),
        ) {
            let mut base = Staking::default();
            let mut now = UnixMillis(10_000);
            for n in 0..3 {
                let register = Operation::Register {
                    operator: node(n), account: account(9), commission: Ppm::percent(10),
                };
                run_alone(&mut base, &rules(DELAY), &register, now).unwrap();
            }
            for step in before {
                now.0 += step.wait;
                let asked = operation(&base, step, now);
                // What is refused is of no interest here.
                let _ = run_alone(&mut base, &rules(DELAY), &asked, now);
            }
            let mut alone = base.clone();
            let mut draft = Draft::new(&base, now);
            let mut again = Draft::new(&base, now);
            for step in batch {
                now.0 += step.wait;
                let rules = rules(if step.short { 0 } else { DELAY });
                let asked = operation(&alone, step, now);
                let mut next = draft.clone();
                next.set_time(now);
                let done = next.execute(&rules, &asked);
                prop_assert_eq!(&done, &run_alone(&mut alone, &rules, &asked, now));
                let Ok(kinds) = done else { continue };
                draft = next;
                again.set_time(now);
                for kind in &kinds {
                    prop_assert_eq!(again.repeat(kind), Ok(()));
                }
            }
            let (changes, repeated) = (draft.finish(), again.finish());
            let mut replayed = base.clone();
            base.absorb(changes);
            prop_assert_eq!(&base, &alone);
            prop_assert_eq!(base.check(), Ok(()));
            replayed.absorb(repeated);
            prop_assert_eq!(&replayed, &alone);
        }
    }

    #[test]
    fn what_is_due_is_closed_in_order_wherever_it_began() {
        let rules = Rules {
            entries_max: u32::MAX,
            ..rules(DELAY)
        };
        let (operator, delegator) = (node(1), account(1));
        let mut base = Staking::default();
        let start = UnixMillis(1);
        for asked in [
            Operation::Register {
                operator,
                account: delegator,
                commission: Ppm::ZERO,
            },
            Operation::Bond {
                operator,
                delegator,
                amount: Amount(10_000),
            },
        ] {
            run_alone(&mut base, &rules, &asked, start).unwrap();
        }
        let leave = Operation::Unbond {
            operator,
            delegator,
            amount: Some(Amount(1)),
        };
        for _ in 0..1_500 {
            run_alone(&mut base, &rules, &leave, start).unwrap();
        }
        let mut draft = Draft::new(&base, start);
        for _ in 0..700 {
            draft.execute(&rules, &leave).unwrap();
        }
        // The first of all comes back and is no longer due.
        let back = Operation::CancelUnbonding {
            operator,
            delegator,
            entry: 1,
            amount: None,
        };
        draft.execute(&rules, &back).unwrap();
        draft.set_time(UnixMillis(1 + DELAY));
        let mut closed = Vec::new();
        for count in [1_024, 1_024, 151, 0] {
            let kinds = draft.execute(&rules, &Operation::Mature).unwrap();
            assert_eq!(kinds.len(), count);
            closed.extend(kinds.into_iter().map(|kind| match kind {
                EventKind::Released { entry, .. } => entry,
                other => panic!("{other:?}"),
            }));
        }
        assert!(closed.into_iter().eq(2..=2_200));
        let changes = draft.finish();
        base.absorb(changes);
        assert_eq!(base.next_due(), None);
        base.check().unwrap();
    }

    #[test]
    fn clock_that_is_set_back_within_a_draft_is_found() {
        let base = Staking::default();
        let rules = Rules::default();
        let mut draft = Draft::new(&base, UnixMillis(100));
        let register = |n| Operation::Register {
            operator: node(n),
            account: account(1),
            commission: Ppm::ZERO,
        };
        // Nothing is due and nothing has happened: the clock stands where it was.
        assert_eq!(draft.execute(&rules, &Operation::Mature), Ok(Vec::new()));
        draft.set_time(UnixMillis(50));
        assert_eq!(draft.execute(&rules, &Operation::Mature), Ok(Vec::new()));
        let kinds = draft.execute(&rules, &register(1)).unwrap();
        draft.set_time(UnixMillis(49));
        let behind = StakingError::ClockBehind {
            now: UnixMillis(49),
            last: UnixMillis(50),
        };
        assert_eq!(draft.execute(&rules, &register(2)), Err(behind));
        assert_eq!(draft.execute(&rules, &Operation::Mature), Err(behind));
        let impossible = Corruption::Impossible { reason: behind };
        assert_eq!(draft.repeat(&kinds[0]), Err(impossible));
    }
}
