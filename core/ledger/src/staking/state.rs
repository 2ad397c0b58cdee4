//! The records of staking.

use ethnum::U256;
use fogcompute_base::{AccountId, NodeId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::arithmetic::mul_div;
use super::{Evidence, Shares};
use crate::{Amount, Ppm};

/// Binary digits after the point of rewards per share. All rewards ever, 2¹²⁸ at most, then leave 8
/// of 256 bits for the remainder, and 2⁸⁰ shares (a million credits) are rounded to 2⁻⁴⁰ base
/// units.
const SCALE_BITS: u32 = 120;

/// What a delegator may lack for a whole base unit and have it: 2⁻²⁰ base units.
const LACK_BITS: u32 = SCALE_BITS - 20;

/// An operator: what is staked on it and what it and its delegators have earned.
///
/// Every share has earned the same since it came: the difference between the index now and the
/// index then. A reward raises the index by its part per share, in units of 2⁻¹²⁰; what does not
/// divide is kept in the remainder, whose whole base units go out with the next reward. A third of
/// 15 is not a number of binary digits; so a delegator who lacks less than 2⁻²⁰ base units for a
/// whole one takes them from the remainder, which holds just what was cut off, and is paid 5.
///
/// Source: Ojha and Goes 2019, "F1 Fee Distribution", as Cosmos x/distribution has it, and
/// simplified: a slash takes tokens and leaves shares, so that no slash needs a record of its own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Operator {
    /// Receives its commission.
    pub account: AccountId,
    /// Its part of every reward.
    pub commission: Ppm,
    /// When that was set.
    pub commission_set: UnixMillis,
    /// What is staked on it.
    pub tokens: Amount,
    /// The shares of its delegators.
    pub shares: Shares,
    /// Rewards of its delegators that are not claimed yet, the remainder included.
    pub unclaimed: Amount,
    /// Its own commission that is not claimed yet.
    pub commission_due: Amount,
    /// When it may come back, if it is in jail.
    pub jailed_until: Option<UnixMillis>,
    /// Whether it will never come back.
    pub tombstoned: bool,
    /// Infractions that were punished and are not too old to be brought up again.
    pub punished: Vec<Punished>,
    /// What slashes took of the stake on it, as long as evidence can reach back to before.
    pub losses: Vec<Loss>,
    /// Rewards per share since it was registered, in units of 2⁻¹²⁰ base units.
    pub(super) index: U256,
    /// What of the rewards is in no index and no fraction yet, in units of 2⁻¹²⁰ base units.
    pub(super) remainder: U256,
}

/// An infraction that was punished.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Punished {
    /// What the operator did.
    pub evidence: Evidence,
    /// When it did so.
    pub infraction: UnixMillis,
}

/// What a slash took of the bonded stake on an operator.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Loss {
    /// When it was taken.
    pub time: UnixMillis,
    /// Base units.
    pub amount: Amount,
}

/// A delegator's stake on one operator.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Delegation {
    /// Its part of the operator's stake.
    pub shares: Shares,
    /// Rewards that are settled and not claimed yet.
    pub accrued: Amount,
    /// The operator's index up to which rewards are settled.
    pub(super) index: U256,
    /// Of the settled rewards, what is less than a base unit, in units of 2⁻¹²⁰.
    pub(super) fraction: u128,
}

/// Stake on its way out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Unbonding {
    /// Its number. Later ones are greater, across all operators, and redelegations count along.
    pub entry: u64,
    /// When it began to leave.
    pub started: UnixMillis,
    /// When it will be paid out.
    pub matures: UnixMillis,
    /// What left, but for what came back: slashes take their part of this.
    pub initial: Amount,
    /// What slashes have left of it.
    pub balance: Amount,
}

/// Stake that went from one operator to another and still answers for the first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Redelegation {
    /// Its number, from the same sequence as those of unbondings.
    pub entry: u64,
    /// When it moved.
    pub started: UnixMillis,
    /// Until when infractions of the first operator reach it.
    pub matures: UnixMillis,
    /// What moved.
    pub initial: Amount,
    /// The shares it became at the second operator.
    pub shares: Shares,
}

/// A counter would overflow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overflow;

impl Operator {
    pub(super) const fn new(account: AccountId, commission: Ppm, now: UnixMillis) -> Self {
        Self {
            account,
            commission,
            commission_set: now,
            tokens: Amount::ZERO,
            shares: Shares::ZERO,
            unclaimed: Amount::ZERO,
            commission_due: Amount::ZERO,
            jailed_until: None,
            tombstoned: false,
            punished: Vec::new(),
            losses: Vec::new(),
            index: U256::ZERO,
            remainder: U256::ZERO,
        }
    }

    /// What so many of its shares are worth, rounded down. Nothing if there are no shares.
    #[must_use]
    pub fn worth(&self, shares: Shares) -> Amount {
        Amount(mul_div(shares.0, self.tokens.0, self.shares.0).unwrap_or(0))
    }

    /// Whether its stake has a right to rewards.
    pub(super) const fn has_stake(&self) -> bool {
        // No shares, no tokens; but tokens may be slashed to nothing.
        !self.tokens.is_zero()
    }

    /// Raises the index by a reward of the delegators and the whole base units of the remainder.
    /// There must be shares.
    ///
    /// What is less stays in the remainder, for those from whom it was cut off.
    pub(super) fn reward(&mut self, amount: Amount) -> Result<(), Overflow> {
        let one = U256::ONE << SCALE_BITS;
        let carried = self.remainder - self.remainder % one;
        let shared = scaled(amount).checked_add(carried).ok_or(Overflow)?;
        let shares = U256::from(self.shares.0);
        let per_share = shared.checked_div(shares).ok_or(Overflow)?;
        self.index = self.index.checked_add(per_share).ok_or(Overflow)?;
        self.remainder = (self.remainder - carried)
            .checked_add(shared - per_share * shares)
            .ok_or(Overflow)?;
        self.unclaimed = self.unclaimed.checked_add(amount).ok_or(Overflow)?;
        Ok(())
    }

    /// Takes back what is less than a base unit from a delegation that ends.
    pub(super) fn take_fraction(&mut self, fraction: u128) -> Result<(), Overflow> {
        self.remainder = self
            .remainder
            .checked_add(U256::from(fraction))
            .ok_or(Overflow)?;
        Ok(())
    }
}

impl Delegation {
    pub(super) const fn new(index: U256) -> Self {
        Self {
            shares: Shares::ZERO,
            accrued: Amount::ZERO,
            index,
            fraction: 0,
        }
    }

    /// All its rewards up to the operator's index, in units of 2⁻¹²⁰ base units, without those
    /// settled earlier.
    pub(super) fn earned(&self, operator: &Operator) -> Result<U256, Overflow> {
        // Its shares never exceed those among which any reward was divided, so that this is at most
        // all rewards ever paid, 2^(128 + 120).
        operator
            .index
            .checked_sub(self.index)
            .and_then(|rise| rise.checked_mul(U256::from(self.shares.0)))
            .and_then(|earned| earned.checked_add(U256::from(self.fraction)))
            .ok_or(Overflow)
    }

    /// What settling would make of it: whole base units to accrue, the fraction that stays, and
    /// what of the operator's remainder makes up a whole one.
    fn settling(&self, operator: &Operator) -> Result<(Amount, u128, U256), Overflow> {
        let earned = self.earned(operator)?;
        let lack = (U256::ONE << SCALE_BITS) - earned % (U256::ONE << SCALE_BITS);
        let lack = if lack < (U256::ONE << LACK_BITS) && lack <= operator.remainder {
            lack
        } else {
            U256::ZERO
        };
        let earned = earned.checked_add(lack).ok_or(Overflow)?;
        let whole = u128::try_from(earned >> SCALE_BITS).map_err(|_| Overflow)?;
        let fraction = (earned % (U256::ONE << SCALE_BITS)).as_u128();
        Ok((Amount(whole), fraction, lack))
    }

    /// Brings it to the operator's index.
    pub(super) fn settle(&mut self, operator: &mut Operator) -> Result<(), Overflow> {
        let (whole, fraction, lack) = self.settling(operator)?;
        self.accrued = self.accrued.checked_add(whole).ok_or(Overflow)?;
        self.fraction = fraction;
        self.index = operator.index;
        operator.remainder -= lack;
        Ok(())
    }

    /// Its rewards in whole base units.
    pub(super) fn claimable(&self, operator: &Operator) -> Result<Amount, Overflow> {
        let (whole, _, _) = self.settling(operator)?;
        self.accrued.checked_add(whole).ok_or(Overflow)
    }

    /// Settled and unsettled rewards and its fraction, in units of 2⁻¹²⁰ base units.
    pub(super) fn total(&self, operator: &Operator) -> Result<U256, Overflow> {
        self.earned(operator)?
            .checked_add(U256::from(self.accrued.0) << SCALE_BITS)
            .ok_or(Overflow)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.shares.0 == 0 && self.accrued.is_zero()
    }
}

/// Base units in units of 2⁻¹²⁰.
pub(super) fn scaled(amount: Amount) -> U256 {
    U256::from(amount.0) << SCALE_BITS
}

/// A delegator's stake on an operator.
pub(crate) type Stake = (NodeId, AccountId);
/// A delegator's way from the first operator to the last.
pub(super) type Hop = (NodeId, AccountId, NodeId);

/// What an entry that becomes due belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    Unbonding(Stake),
    Redelegation(Hop),
}

/// What staking holds, and all it was paid in rewards. A host's book must hold the same.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Purses {
    /// In [`Purse::Bonded`](crate::Purse::Bonded).
    pub bonded: Amount,
    /// In [`Purse::Unbonding`](crate::Purse::Unbonding).
    pub unbonding: Amount,
    /// In [`Purse::Rewards`](crate::Purse::Rewards).
    pub rewards: Amount,
    /// In [`Purse::Insurance`](crate::Purse::Insurance).
    pub insurance: Amount,
    /// All that was ever paid into the rewards.
    pub rewards_paid_in: Amount,
    /// All that was ever claimed from the rewards.
    pub rewards_claimed: Amount,
}
