//! What an operation asks for, checked against the rules.

use fogcompute_base::{AccountId, NodeId, UnixMillis};

use super::Draft;
use crate::staking::rules::DAY_MS;
use crate::staking::{EventKind, Operation, Rules, Shares, StakingError};
use crate::{Amount, Ppm};

impl Draft<'_> {
    /// The event an operation asks for, checked against the rules; its effects are still to be
    /// worked out.
    pub(super) fn wish(
        &self,
        rules: &Rules,
        operation: &Operation,
    ) -> Result<EventKind, StakingError> {
        let now = self.now;
        let later = |ms: u64| UnixMillis(now.0.saturating_add(ms));
        Ok(match *operation {
            Operation::Register {
                operator,
                account,
                commission,
            } => {
                commission_allowed(rules, commission)?;
                EventKind::Registered {
                    operator,
                    account,
                    commission,
                }
            }
            Operation::SetCommission {
                operator,
                commission,
            } => {
                self.commission_changes(rules, operator, commission)?;
                EventKind::CommissionSet {
                    operator,
                    commission,
                }
            }
            Operation::Bond {
                operator,
                delegator,
                amount,
            } => EventKind::Bonded {
                operator,
                delegator,
                amount,
                shares: Shares::ZERO,
            },
            Operation::Unbond {
                operator,
                delegator,
                amount,
            } => {
                let open = self.unbondings((operator, delegator)).len();
                entry_allowed(rules, open, operator, delegator)?;
                EventKind::Unbonded {
                    operator,
                    delegator,
                    amount: asked(amount, || self.staked((operator, delegator)))?,
                    shares: Shares::ZERO,
                    matures: later(rules.unbonding_ms),
                    entry: 0,
                }
            }
            Operation::CancelUnbonding {
                operator,
                delegator,
                entry,
                amount,
            } => {
                let all = || {
                    let list = self.unbondings((operator, delegator));
                    let found = list.iter().find(|unbonding| unbonding.entry == entry);
                    found.ok_or(StakingError::UnknownEntry {
                        operator,
                        delegator,
                        entry,
                    })
                };
                EventKind::UnbondingCancelled {
                    operator,
                    delegator,
                    entry,
                    amount: match amount {
                        Some(amount) => amount,
                        None => all()?.balance,
                    },
                    shares: Shares::ZERO,
                }
            }
            Operation::Redelegate {
                delegator,
                from,
                to,
                amount,
            } => {
                let open = self.redelegations((from, delegator, to)).len();
                entry_allowed(rules, open, from, delegator)?;
                EventKind::Redelegated {
                    delegator,
                    from,
                    to,
                    amount: asked(amount, || self.staked((from, delegator)))?,
                    left: Shares::ZERO,
                    joined: Shares::ZERO,
                    matures: later(rules.unbonding_ms),
                    entry: 0,
                }
            }
            Operation::Claim {
                operator,
                delegator,
            } => EventKind::Claimed {
                operator,
                delegator,
                amount: Amount::ZERO,
            },
            Operation::ClaimCommission { operator } => EventKind::CommissionClaimed {
                operator,
                account: AccountId::from_bytes([0; AccountId::LEN]),
                amount: Amount::ZERO,
            },
            Operation::Reward {
                operator,
                source,
                amount,
            } => EventKind::Rewarded {
                operator,
                source,
                amount,
                commission: Amount::ZERO,
                treasury: Amount::ZERO,
            },
            Operation::Slash {
                operator,
                evidence,
                infraction,
                power,
            } => {
                let oldest = UnixMillis(now.0.saturating_sub(rules.evidence_age_ms));
                if infraction < oldest {
                    return Err(StakingError::EvidenceTooOld { infraction, oldest });
                }
                let penalty = rules.penalty(evidence);
                EventKind::Slashed {
                    operator,
                    evidence,
                    infraction,
                    power,
                    fraction: penalty.fraction,
                    insured: rules.insured,
                    jailed_until: later(penalty.jail_ms),
                    tombstone: penalty.tombstone,
                    forget_before: oldest,
                    bonded: Amount::ZERO,
                    unbonding: Amount::ZERO,
                }
            }
            Operation::Unjail { operator } => EventKind::Unjailed { operator },
            Operation::PayInsurance { claim, to, amount } => {
                EventKind::InsurancePaid { claim, to, amount }
            }
            Operation::Mature => unreachable!("done by `mature`"),
        })
    }

    /// As Cosmos x/staking, `Commission.ValidateNewRate`: a limited step, once in 24 hours.
    fn commission_changes(
        &self,
        rules: &Rules,
        operator: NodeId,
        asked: Ppm,
    ) -> Result<(), StakingError> {
        commission_allowed(rules, asked)?;
        let record = self
            .find_operator(operator)
            .ok_or(StakingError::UnknownOperator { operator })?;
        let again = UnixMillis(record.commission_set.0.saturating_add(DAY_MS));
        if self.now < again {
            return Err(StakingError::CommissionTooSoon { operator, again });
        }
        let (current, step) = (record.commission, rules.commission_step);
        if asked.get().abs_diff(current.get()) > step.get() {
            return Err(StakingError::CommissionTooFast {
                asked,
                current,
                step,
            });
        }
        Ok(())
    }
}

fn commission_allowed(rules: &Rules, asked: Ppm) -> Result<(), StakingError> {
    let limit = rules.commission_max;
    if asked > limit {
        return Err(StakingError::CommissionTooLarge { asked, limit });
    }
    Ok(())
}

fn entry_allowed(
    rules: &Rules,
    open: usize,
    operator: NodeId,
    delegator: AccountId,
) -> Result<(), StakingError> {
    let limit = rules.entries_max;
    if u32::try_from(open).is_ok_and(|open| open < limit) {
        return Ok(());
    }
    Err(StakingError::TooManyEntries {
        operator,
        delegator,
        limit,
    })
}

/// What was asked for, or all. Nothing may not be asked for, but all may be nothing.
fn asked(amount: Option<Amount>, all: impl FnOnce() -> Amount) -> Result<Amount, StakingError> {
    match amount {
        Some(Amount::ZERO) => Err(StakingError::AmountZero),
        Some(amount) => Ok(amount),
        None => Ok(all()),
    }
}
