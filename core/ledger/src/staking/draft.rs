//! One event worked out against the state, not yet part of it.

use std::collections::BTreeMap;

use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};

use super::arithmetic::{mul_div, mul_div_up};
use super::state::{Due, Hop, Overflow, Stake};
use super::{
    Delegation, EventKind, Evidence, Loss, Operator, Punished, Purses, Redelegation, Shares,
    Staking, StakingError, Unbonding,
};
use crate::{Amount, Movement, Ppm, Purse};

const FIRST_ACCOUNT: AccountId = AccountId::from_bytes([0; AccountId::LEN]);
const LAST_ACCOUNT: AccountId = AccountId::from_bytes([0xff; AccountId::LEN]);
const FIRST_NODE: NodeId = NodeId::from_bytes([0; NodeId::LEN]);
const LAST_NODE: NodeId = NodeId::from_bytes([0xff; NodeId::LEN]);

/// Records that an event changes, as they will be.
///
/// [`perform`](Self::perform) does what an event asks with its inputs, and returns the event with
/// the effects this has. Planning keeps the event; taking one in compares the effects.
pub(super) struct Draft<'a> {
    base: &'a Staking,
    now: UnixMillis,
    operators: BTreeMap<NodeId, Operator>,
    delegations: BTreeMap<Stake, Delegation>,
    unbondings: BTreeMap<Stake, Vec<Unbonding>>,
    redelegations: BTreeMap<Hop, Vec<Redelegation>>,
    due_added: Vec<(UnixMillis, u64, Due)>,
    due_removed: Vec<(UnixMillis, u64)>,
    next_entry: u64,
    purses: Purses,
    claim_paid: Option<TransferId>,
}

/// The finished draft: free of the state it was made for.
pub(super) struct Changes {
    pub(super) now: UnixMillis,
    pub(super) operators: BTreeMap<NodeId, Operator>,
    pub(super) delegations: BTreeMap<Stake, Delegation>,
    pub(super) unbondings: BTreeMap<Stake, Vec<Unbonding>>,
    pub(super) redelegations: BTreeMap<Hop, Vec<Redelegation>>,
    pub(super) due_added: Vec<(UnixMillis, u64, Due)>,
    pub(super) due_removed: Vec<(UnixMillis, u64)>,
    pub(super) next_entry: u64,
    pub(super) purses: Purses,
    pub(super) claim_paid: Option<TransferId>,
}

impl<'a> Draft<'a> {
    pub(super) const fn new(base: &'a Staking, now: UnixMillis) -> Self {
        Self {
            base,
            now,
            operators: BTreeMap::new(),
            delegations: BTreeMap::new(),
            unbondings: BTreeMap::new(),
            redelegations: BTreeMap::new(),
            due_added: Vec::new(),
            due_removed: Vec::new(),
            next_entry: base.next_entry,
            purses: base.purses,
            claim_paid: None,
        }
    }

    /// Does what the event asks. Its effects are ignored; the event is returned with those it has.
    pub(super) fn perform(
        mut self,
        wish: &EventKind,
    ) -> Result<(Changes, EventKind), StakingError> {
        if self.now < self.base.clock {
            return Err(StakingError::ClockBehind {
                now: self.now,
                last: self.base.clock,
            });
        }
        let done = self.effect(wish)?;
        for movement in done.movements() {
            self.account(&movement)?;
        }
        for (&(operator, _), delegation) in &self.delegations {
            if delegation.is_empty() {
                load_operator(&mut self.operators, self.base, operator)?
                    .take_fraction(delegation.fraction)
                    .map_err(|Overflow| StakingError::Overflow { operator })?;
            }
        }
        let changes = Changes {
            now: self.now,
            operators: self.operators,
            delegations: self.delegations,
            unbondings: self.unbondings,
            redelegations: self.redelegations,
            due_added: self.due_added,
            due_removed: self.due_removed,
            next_entry: self.next_entry,
            purses: self.purses,
            claim_paid: self.claim_paid,
        };
        Ok((changes, done))
    }

    fn effect(&mut self, wish: &EventKind) -> Result<EventKind, StakingError> {
        match *wish {
            EventKind::Registered {
                operator,
                account,
                commission,
            } => {
                if self.base.operators.contains_key(&operator) {
                    return Err(StakingError::OperatorExists { operator });
                }
                self.operators
                    .insert(operator, Operator::new(account, commission, self.now));
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
                if self.base.claims_paid.contains(&claim) {
                    return Err(StakingError::ClaimRepeated { claim });
                }
                self.claim_paid = Some(claim);
                if amount > self.purses.insurance {
                    return Err(StakingError::InsuranceShort {
                        available: self.purses.insurance,
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
            self.due_added.push((matures, entry, Due::Unbonding(key)));
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
            self.due_removed.push((matures, entry));
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
        if let Some(&until) = self.base.receiving.get(&(delegator, from))
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
        self.due_added
            .push((matures, entry, Due::Redelegation(hop)));
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
        self.due_removed.push((matures, entry));
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
        self.due_removed.push((matures, entry));
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
        if let Some(record) = self.base.operators.get(&operator) {
            count(record.tokens);
            for loss in record.losses.iter().filter(|loss| loss.time >= at) {
                count(loss.amount);
            }
        }
        for (_, list) in self.base.unbondings.range(stakes_of(operator)) {
            for entry in list.iter().filter(|entry| entry.started >= at) {
                count(entry.initial);
            }
        }
        for (_, list) in self.base.redelegations.range(hops_from(operator)) {
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
        let (base, now) = (self.base, self.now);
        for (&key, list) in base.unbondings.range(stakes_of(operator)) {
            for (place, entry) in list.iter().enumerate() {
                if entry.started < infraction || entry.matures <= now {
                    continue;
                }
                let wanted = fraction.of(entry.initial);
                taken.want(wanted, operator)?;
                let take = wanted.min(entry.balance);
                if !take.is_zero() {
                    self.unbondings_mut(key)[place].balance.0 -= take.0;
                    taken.unbonding = sum(taken.unbonding, take.0, operator)?;
                }
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
        let (base, now) = (self.base, self.now);
        for (&(_, delegator, to), list) in base.redelegations.range(hops_from(operator)) {
            for moved in list {
                if moved.started < infraction || moved.matures <= now {
                    continue;
                }
                let mut wanted = fraction.of(moved.initial);
                taken.want(wanted, operator)?;
                // Stake that left the second operator since it came is taken before what is there.
                if base.unbondings.contains_key(&(to, delegator)) {
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
        let Some(delegation) = self
            .delegations
            .get(&key)
            .or_else(|| self.base.delegations.get(&key))
        else {
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
        if !self.base.delegations.contains_key(&key) {
            self.delegations
                .entry(key)
                .or_insert_with(|| Delegation::new(index));
        }
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
        let entry = self.next_entry;
        // One entry a nanosecond would need 584 years to get there.
        self.next_entry = entry.saturating_add(1);
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

    fn operator(&mut self, operator: NodeId) -> Result<&mut Operator, StakingError> {
        load_operator(&mut self.operators, self.base, operator)
    }

    /// An operator and a delegation on it, its rewards settled.
    fn stake(&mut self, key: Stake) -> Result<(&mut Operator, &mut Delegation), StakingError> {
        let (operator, delegator) = key;
        let record = load_operator(&mut self.operators, self.base, operator)?;
        let delegation = match self.delegations.entry(key) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let stored = self.base.find_delegation(key);
                entry.insert(*stored.ok_or(StakingError::UnknownDelegator {
                    operator,
                    delegator,
                })?)
            }
        };
        delegation
            .settle(record)
            .map_err(|Overflow| StakingError::Overflow { operator })?;
        Ok((record, delegation))
    }

    fn unbondings_mut(&mut self, key: Stake) -> &mut Vec<Unbonding> {
        let base = self.base;
        self.unbondings
            .entry(key)
            .or_insert_with(|| base.unbondings.get(&key).cloned().unwrap_or_default())
    }

    fn redelegations_mut(&mut self, hop: Hop) -> &mut Vec<Redelegation> {
        let base = self.base;
        self.redelegations
            .entry(hop)
            .or_insert_with(|| base.redelegations.get(&hop).cloned().unwrap_or_default())
    }

    /// Counts a movement in the purses.
    fn account(&mut self, movement: &Movement) -> Result<(), StakingError> {
        let Movement { from, to, amount } = *movement;
        if let Some(held) = purse(&mut self.purses, from) {
            *held = held
                .checked_sub(amount)
                .ok_or(StakingError::PurseOverflow { purse: from })?;
        }
        let full = StakingError::PurseOverflow { purse: to };
        if let Some(held) = purse(&mut self.purses, to) {
            *held = held.checked_add(amount).ok_or(full)?;
        }
        let total = match (from, to) {
            (_, Purse::Rewards) => &mut self.purses.rewards_paid_in,
            (Purse::Rewards, _) => &mut self.purses.rewards_claimed,
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

fn load_operator<'o>(
    operators: &'o mut BTreeMap<NodeId, Operator>,
    base: &Staking,
    operator: NodeId,
) -> Result<&'o mut Operator, StakingError> {
    match operators.entry(operator) {
        std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
        std::collections::btree_map::Entry::Vacant(entry) => {
            let stored = base.find_operator(operator);
            Ok(entry.insert(
                stored
                    .ok_or(StakingError::UnknownOperator { operator })?
                    .clone(),
            ))
        }
    }
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

fn stakes_of(operator: NodeId) -> std::ops::RangeInclusive<Stake> {
    (operator, FIRST_ACCOUNT)..=(operator, LAST_ACCOUNT)
}

fn hops_from(operator: NodeId) -> std::ops::RangeInclusive<Hop> {
    (operator, FIRST_ACCOUNT, FIRST_NODE)..=(operator, LAST_ACCOUNT, LAST_NODE)
}
