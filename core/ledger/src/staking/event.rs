//! What happened: effects, not wishes, so that a replay needs no rules.

use std::collections::BTreeSet;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::codec::{account, amount, evidence, flag, node, ppm, shares, time as time_of};
use super::{Evidence, Operation, Shares};
use crate::purse::movements;
use crate::{Amount, Movement, Ppm, Purse};

/// What happened.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum EventKind {
    /// A node became an operator.
    Registered {
        /// The operator.
        operator: NodeId,
        /// Receives its commission.
        account: AccountId,
        /// Its part of every reward.
        commission: Ppm,
    },
    /// A commission was changed.
    CommissionSet {
        /// The operator.
        operator: NodeId,
        /// Its part of every later reward.
        commission: Ppm,
    },
    /// Stake was added.
    Bonded {
        /// The operator.
        operator: NodeId,
        /// Whose stake it is.
        delegator: AccountId,
        /// Base units.
        amount: Amount,
        /// What it is in shares.
        shares: Shares,
    },
    /// Stake began to leave.
    Unbonded {
        /// The operator.
        operator: NodeId,
        /// Whose stake it is.
        delegator: AccountId,
        /// Base units. Nothing if slashes had left nothing; then there is no entry.
        amount: Amount,
        /// What it was in shares.
        shares: Shares,
        /// When it will be paid out.
        matures: UnixMillis,
        /// The unbonding's number.
        entry: u64,
    },
    /// Stake that was leaving came back.
    UnbondingCancelled {
        /// The operator.
        operator: NodeId,
        /// Whose stake it is.
        delegator: AccountId,
        /// The unbonding.
        entry: u64,
        /// Base units.
        amount: Amount,
        /// What they are in shares.
        shares: Shares,
    },
    /// Stake changed its operator.
    Redelegated {
        /// Whose stake it is.
        delegator: AccountId,
        /// The operator it left.
        from: NodeId,
        /// The operator it went to.
        to: NodeId,
        /// Base units.
        amount: Amount,
        /// What it was in shares of the first operator.
        left: Shares,
        /// What it is in shares of the second.
        joined: Shares,
        /// Until when infractions of the first reach it.
        matures: UnixMillis,
        /// The redelegation's number.
        entry: u64,
    },
    /// A delegator's rewards were paid out.
    Claimed {
        /// The operator.
        operator: NodeId,
        /// Whose rewards they were.
        delegator: AccountId,
        /// Base units.
        amount: Amount,
    },
    /// An operator's commission was paid out.
    CommissionClaimed {
        /// The operator.
        operator: NodeId,
        /// Received it.
        account: AccountId,
        /// Base units.
        amount: Amount,
    },
    /// A reward was shared out.
    Rewarded {
        /// The operator.
        operator: NodeId,
        /// Paid it.
        source: Purse,
        /// Base units.
        amount: Amount,
        /// Of them, the operator's commission.
        commission: Amount,
        /// Of them, what nobody's stake had a right to: it went to the treasury. All or nothing.
        treasury: Amount,
    },
    /// An infraction was punished.
    Slashed {
        /// The operator.
        operator: NodeId,
        /// What it did.
        evidence: Evidence,
        /// When it did so.
        infraction: UnixMillis,
        /// Its stake at that time.
        power: Amount,
        /// The part of that stake that was to be taken.
        fraction: Ppm,
        /// The part of what was taken that goes to the insurance fund.
        insured: Ppm,
        /// When the operator may come back.
        jailed_until: UnixMillis,
        /// Whether it may never come back.
        tombstone: bool,
        /// Evidence of infractions before this time is too old ever to come again.
        forget_before: UnixMillis,
        /// Base units taken from bonded stake, of whichever operator.
        bonded: Amount,
        /// Base units taken from stake on its way out.
        unbonding: Amount,
    },
    /// An operator came back.
    Unjailed {
        /// The operator.
        operator: NodeId,
    },
    /// An unbonding was paid out.
    Released {
        /// The operator.
        operator: NodeId,
        /// Whose stake it was.
        delegator: AccountId,
        /// The unbonding.
        entry: u64,
        /// Base units: what slashes had left of it.
        amount: Amount,
    },
    /// Redelegated stake is free of the operator it left.
    RedelegationEnded {
        /// Whose stake it is.
        delegator: AccountId,
        /// The operator it left.
        from: NodeId,
        /// The operator it went to.
        to: NodeId,
        /// The redelegation.
        entry: u64,
    },
    /// The insurance fund paid.
    InsurancePaid {
        /// The claim that was granted.
        claim: TransferId,
        /// Received it.
        to: AccountId,
        /// Base units.
        amount: Amount,
    },
}

impl EventKind {
    /// The kind's number in the canonical encoding.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Registered { .. } => 1,
            Self::CommissionSet { .. } => 2,
            Self::Bonded { .. } => 3,
            Self::Unbonded { .. } => 4,
            Self::UnbondingCancelled { .. } => 5,
            Self::Redelegated { .. } => 6,
            Self::Claimed { .. } => 7,
            Self::CommissionClaimed { .. } => 8,
            Self::Rewarded { .. } => 9,
            Self::Slashed { .. } => 10,
            Self::Unjailed { .. } => 11,
            Self::Released { .. } => 12,
            Self::RedelegationEnded { .. } => 13,
            Self::InsurancePaid { .. } => 14,
        }
    }

    /// The money that moves with it, at most four movements.
    #[must_use]
    pub fn movements(&self) -> Vec<Movement> {
        match *self {
            Self::Bonded {
                delegator, amount, ..
            } => movements([(Purse::Account(delegator), Purse::Bonded, amount)]),
            Self::Unbonded { amount, .. } => movements([(Purse::Bonded, Purse::Unbonding, amount)]),
            Self::UnbondingCancelled { amount, .. } => {
                movements([(Purse::Unbonding, Purse::Bonded, amount)])
            }
            Self::Claimed {
                delegator, amount, ..
            } => movements([(Purse::Rewards, Purse::Account(delegator), amount)]),
            Self::CommissionClaimed {
                account, amount, ..
            } => movements([(Purse::Rewards, Purse::Account(account), amount)]),
            Self::Rewarded {
                source,
                amount,
                treasury,
                ..
            } => movements([
                (source, Purse::Treasury, treasury),
                (
                    source,
                    Purse::Rewards,
                    Amount(amount.0.saturating_sub(treasury.0)),
                ),
            ]),
            Self::Slashed {
                insured,
                bonded,
                unbonding,
                ..
            } => {
                let total = Amount(bonded.0.saturating_add(unbonding.0));
                let insured = insured.of(total);
                // The fund is filled from bonded stake first.
                let first = insured.min(bonded);
                let second = Amount(insured.0 - first.0);
                movements([
                    (Purse::Bonded, Purse::Insurance, first),
                    (Purse::Bonded, Purse::Mint, Amount(bonded.0 - first.0)),
                    (Purse::Unbonding, Purse::Insurance, second),
                    (
                        Purse::Unbonding,
                        Purse::Mint,
                        Amount(unbonding.0.saturating_sub(second.0)),
                    ),
                ])
            }
            Self::Released {
                delegator, amount, ..
            } => movements([(Purse::Unbonding, Purse::Account(delegator), amount)]),
            Self::InsurancePaid { to, amount, .. } => {
                movements([(Purse::Insurance, Purse::Account(to), amount)])
            }
            Self::Registered { .. }
            | Self::CommissionSet { .. }
            | Self::Redelegated { .. }
            | Self::Unjailed { .. }
            | Self::RedelegationEnded { .. } => Vec::new(),
        }
    }

    /// The accounts its movements touch, in order, each once.
    #[must_use]
    pub fn accounts(&self) -> Vec<AccountId> {
        let touched: BTreeSet<_> = (self.movements().iter())
            .flat_map(|movement| [movement.from, movement.to])
            .filter_map(|purse| match purse {
                Purse::Account(account) => Some(account),
                _ => None,
            })
            .collect();
        touched.into_iter().collect()
    }

    /// Whether [`Operation::asks_for_all`] can have made it.
    pub(crate) const fn may_be_of_all(&self) -> bool {
        matches!(
            self,
            Self::Unbonded { .. } | Self::UnbondingCancelled { .. } | Self::Redelegated { .. }
        )
    }

    /// Whether this is what that operation asks for: of the same kind, for the same, of as much if
    /// it says how much. Effects and what rules decide are not compared.
    #[must_use]
    pub fn answers(&self, operation: &Operation) -> bool {
        match (*self, *operation) {
            (
                Self::Registered {
                    operator,
                    account,
                    commission,
                },
                Operation::Register {
                    operator: node,
                    account: receiver,
                    commission: part,
                },
            ) => (operator, account, commission) == (node, receiver, part),
            (
                Self::CommissionSet {
                    operator,
                    commission,
                },
                Operation::SetCommission {
                    operator: node,
                    commission: part,
                },
            ) => (operator, commission) == (node, part),
            (
                Self::Bonded {
                    operator,
                    delegator,
                    amount,
                    ..
                },
                Operation::Bond {
                    operator: node,
                    delegator: owner,
                    amount: asked,
                },
            ) => (operator, delegator, amount) == (node, owner, asked),
            (
                Self::Unbonded {
                    operator,
                    delegator,
                    amount,
                    ..
                },
                Operation::Unbond {
                    operator: node,
                    delegator: owner,
                    amount: asked,
                },
            ) => (operator, delegator) == (node, owner) && as_asked(amount, asked),
            (
                Self::UnbondingCancelled {
                    operator,
                    delegator,
                    entry,
                    amount,
                    ..
                },
                Operation::CancelUnbonding {
                    operator: node,
                    delegator: owner,
                    entry: number,
                    amount: asked,
                },
            ) => (operator, delegator, entry) == (node, owner, number) && as_asked(amount, asked),
            (
                Self::Redelegated {
                    delegator,
                    from,
                    to,
                    amount,
                    ..
                },
                Operation::Redelegate {
                    delegator: owner,
                    from: first,
                    to: second,
                    amount: asked,
                },
            ) => (delegator, from, to) == (owner, first, second) && as_asked(amount, asked),
            (
                Self::Claimed {
                    operator,
                    delegator,
                    ..
                },
                Operation::Claim {
                    operator: node,
                    delegator: owner,
                },
            ) => (operator, delegator) == (node, owner),
            (
                Self::CommissionClaimed { operator, .. },
                Operation::ClaimCommission { operator: node },
            )
            | (Self::Unjailed { operator }, Operation::Unjail { operator: node }) => {
                operator == node
            }
            (
                Self::Rewarded {
                    operator,
                    source,
                    amount,
                    ..
                },
                Operation::Reward {
                    operator: node,
                    source: payer,
                    amount: asked,
                },
            ) => (operator, source, amount) == (node, payer, asked),
            (
                Self::Slashed {
                    operator,
                    evidence,
                    infraction,
                    power,
                    ..
                },
                Operation::Slash {
                    operator: node,
                    evidence: kind,
                    infraction: time,
                    power: stake,
                },
            ) => (operator, evidence, infraction, power) == (node, kind, time, stake),
            (Self::Released { .. } | Self::RedelegationEnded { .. }, Operation::Mature) => true,
            (
                Self::InsurancePaid { claim, to, amount },
                Operation::PayInsurance {
                    claim: id,
                    to: receiver,
                    amount: asked,
                },
            ) => (claim, to, amount) == (id, receiver, asked),
            _ => false,
        }
    }

    /// Writes its canonical bytes: those of an [`Event`] after the time.
    pub(crate) fn encode_into(&self, w: &mut Writer) {
        w.u8(self.code());
        match *self {
            Self::Registered {
                operator,
                account,
                commission,
            } => {
                w.raw(operator.as_bytes());
                w.raw(account.as_bytes());
                w.u32(commission.get());
            }
            Self::CommissionSet {
                operator,
                commission,
            } => {
                w.raw(operator.as_bytes());
                w.u32(commission.get());
            }
            Self::Bonded {
                operator,
                delegator,
                amount,
                shares,
            } => {
                w.raw(operator.as_bytes());
                w.raw(delegator.as_bytes());
                w.u128(amount.0);
                w.u128(shares.0);
            }
            Self::Unbonded {
                operator,
                delegator,
                amount,
                shares,
                matures,
                entry,
            } => {
                w.raw(operator.as_bytes());
                w.raw(delegator.as_bytes());
                w.u128(amount.0);
                w.u128(shares.0);
                w.u64(matures.0);
                w.u64(entry);
            }
            Self::UnbondingCancelled {
                operator,
                delegator,
                entry,
                amount,
                shares,
            } => {
                w.raw(operator.as_bytes());
                w.raw(delegator.as_bytes());
                w.u64(entry);
                w.u128(amount.0);
                w.u128(shares.0);
            }
            Self::Redelegated {
                delegator,
                from,
                to,
                amount,
                left,
                joined,
                matures,
                entry,
            } => {
                w.raw(delegator.as_bytes());
                w.raw(from.as_bytes());
                w.raw(to.as_bytes());
                w.u128(amount.0);
                w.u128(left.0);
                w.u128(joined.0);
                w.u64(matures.0);
                w.u64(entry);
            }
            Self::Claimed {
                operator,
                delegator: account,
                amount,
            }
            | Self::CommissionClaimed {
                operator,
                account,
                amount,
            } => {
                w.raw(operator.as_bytes());
                w.raw(account.as_bytes());
                w.u128(amount.0);
            }
            Self::Rewarded {
                operator,
                source,
                amount,
                commission,
                treasury,
            } => {
                w.raw(operator.as_bytes());
                source.write(w);
                w.u128(amount.0);
                w.u128(commission.0);
                w.u128(treasury.0);
            }
            Self::Slashed {
                operator,
                evidence,
                infraction,
                power,
                fraction,
                insured,
                jailed_until,
                tombstone,
                forget_before,
                bonded,
                unbonding,
            } => {
                w.raw(operator.as_bytes());
                w.u8(evidence.code());
                w.u64(infraction.0);
                w.u128(power.0);
                w.u32(fraction.get());
                w.u32(insured.get());
                w.u64(jailed_until.0);
                w.u8(u8::from(tombstone));
                w.u64(forget_before.0);
                w.u128(bonded.0);
                w.u128(unbonding.0);
            }
            Self::Unjailed { operator } => w.raw(operator.as_bytes()),
            Self::Released {
                operator,
                delegator,
                entry,
                amount,
            } => {
                w.raw(operator.as_bytes());
                w.raw(delegator.as_bytes());
                w.u64(entry);
                w.u128(amount.0);
            }
            Self::RedelegationEnded {
                delegator,
                from,
                to,
                entry,
            } => {
                w.raw(delegator.as_bytes());
                w.raw(from.as_bytes());
                w.raw(to.as_bytes());
                w.u64(entry);
            }
            Self::InsurancePaid { claim, to, amount } => {
                w.raw(claim.as_bytes());
                w.raw(to.as_bytes());
                w.u128(amount.0);
            }
        }
    }

    /// Reads what [`encode_into`](Self::encode_into) writes, and no further.
    pub(crate) fn decode_from(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.position();
        Ok(match r.u8()? {
            1 => Self::Registered {
                operator: node(r)?,
                account: account(r)?,
                commission: ppm(r)?,
            },
            2 => Self::CommissionSet {
                operator: node(r)?,
                commission: ppm(r)?,
            },
            3 => Self::Bonded {
                operator: node(r)?,
                delegator: account(r)?,
                amount: amount(r)?,
                shares: shares(r)?,
            },
            4 => Self::Unbonded {
                operator: node(r)?,
                delegator: account(r)?,
                amount: amount(r)?,
                shares: shares(r)?,
                matures: time_of(r)?,
                entry: r.u64()?,
            },
            5 => Self::UnbondingCancelled {
                operator: node(r)?,
                delegator: account(r)?,
                entry: r.u64()?,
                amount: amount(r)?,
                shares: shares(r)?,
            },
            6 => Self::Redelegated {
                delegator: account(r)?,
                from: node(r)?,
                to: node(r)?,
                amount: amount(r)?,
                left: shares(r)?,
                joined: shares(r)?,
                matures: time_of(r)?,
                entry: r.u64()?,
            },
            7 => Self::Claimed {
                operator: node(r)?,
                delegator: account(r)?,
                amount: amount(r)?,
            },
            8 => Self::CommissionClaimed {
                operator: node(r)?,
                account: account(r)?,
                amount: amount(r)?,
            },
            9 => Self::Rewarded {
                operator: node(r)?,
                source: Purse::read(r)?,
                amount: amount(r)?,
                commission: amount(r)?,
                treasury: amount(r)?,
            },
            10 => Self::Slashed {
                operator: node(r)?,
                evidence: evidence(r)?,
                infraction: time_of(r)?,
                power: amount(r)?,
                fraction: ppm(r)?,
                insured: ppm(r)?,
                jailed_until: time_of(r)?,
                tombstone: flag(r)?,
                forget_before: time_of(r)?,
                bonded: amount(r)?,
                unbonding: amount(r)?,
            },
            11 => Self::Unjailed { operator: node(r)? },
            12 => Self::Released {
                operator: node(r)?,
                delegator: account(r)?,
                entry: r.u64()?,
                amount: amount(r)?,
            },
            13 => Self::RedelegationEnded {
                delegator: account(r)?,
                from: node(r)?,
                to: node(r)?,
                entry: r.u64()?,
            },
            14 => Self::InsurancePaid {
                claim: TransferId::from_bytes(r.array()?),
                to: account(r)?,
                amount: amount(r)?,
            },
            code => {
                return Err(DecodeError::Unknown {
                    at,
                    value: u64::from(code),
                });
            }
        })
    }
}

/// Whether an amount is what was asked for, if it was said.
fn as_asked(amount: Amount, asked: Option<Amount>) -> bool {
    asked.is_none_or(|asked| asked == amount)
}

/// Something that happened, and when.
///
/// Canonical encoding, integers big-endian ([`fogcompute_base::wire`]):
///
/// | bytes | item |
/// |---|---|
/// | 8 | time, Unix milliseconds, `u64` |
/// | 1 | [`EventKind::code`] |
/// | registered | operator 32, account 16, commission `u32` |
/// | commission set | operator 32, commission `u32` |
/// | bonded | operator 32, delegator 16, amount `u128`, shares `u128` |
/// | unbonded | operator 32, delegator 16, amount `u128`, shares `u128`, matures `u64`, entry `u64` |
/// | unbonding cancelled | operator 32, delegator 16, entry `u64`, amount `u128`, shares `u128` |
/// | redelegated | delegator 16, from 32, to 32, amount `u128`, left `u128`, joined `u128`, matures `u64`, entry `u64` |
/// | claimed | operator 32, delegator 16, amount `u128` |
/// | commission claimed | operator 32, account 16, amount `u128` |
/// | rewarded | operator 32, source ([`Purse::code`] 1, account 16 if it is one), amount `u128`, commission `u128`, treasury `u128` |
/// | slashed | operator 32, [`Evidence::code`] 1, infraction `u64`, power `u128`, fraction `u32`, insured `u32`, jailed until `u64`, tombstone 1, forget before `u64`, bonded `u128`, unbonding `u128` |
/// | unjailed | operator 32 |
/// | released | operator 32, delegator 16, entry `u64`, amount `u128` |
/// | redelegation ended | delegator 16, from 32, to 32, entry `u64` |
/// | insurance paid | claim 16, to 16, amount `u128` |
///
/// Parts per million are at most 1,000,000 and flags are 0 or 1; anything else is refused, so each
/// event has one encoding.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Event {
    /// When it was planned.
    pub time: UnixMillis,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// Its canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u64(self.time.0);
        self.kind.encode_into(&mut w);
        w.finish()
    }

    /// Reads canonical bytes: exactly one event.
    ///
    /// # Errors
    /// [`DecodeError`] for whatever [`encode`](Self::encode) never writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let r = &mut reader;
        let time = time_of(r)?;
        let kind = EventKind::decode_from(r)?;
        reader.finish()?;
        Ok(Self { time, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node_id() -> impl Strategy<Value = NodeId> {
        any::<[u8; 32]>().prop_map(NodeId::from_bytes)
    }

    fn account_id() -> impl Strategy<Value = AccountId> {
        any::<[u8; 16]>().prop_map(AccountId::from_bytes)
    }

    fn money() -> impl Strategy<Value = Amount> {
        any::<u128>().prop_map(Amount)
    }

    fn part() -> impl Strategy<Value = Ppm> {
        (0..=1_000_000_u32).prop_map(|ppm| Ppm::new(ppm).unwrap())
    }

    fn purse() -> impl Strategy<Value = Purse> {
        prop_oneof![
            account_id().prop_map(Purse::Account),
            Just(Purse::Bonded),
            Just(Purse::Unbonding),
            Just(Purse::Rewards),
            Just(Purse::Insurance),
            Just(Purse::Treasury),
            Just(Purse::SovereignFund),
            Just(Purse::Mint),
        ]
    }

    prop_compose! {
        fn kind()(
            code in 1..=14_u8,
            (operator, to) in (node_id(), node_id()),
            delegator in account_id(),
            (amount, other, third) in (money(), money(), money()),
            (commission, insured) in (part(), part()),
            (matures, entry) in (any::<u64>(), any::<u64>()),
            source in purse(),
            (evidence, tombstone) in (1..=3_u8, any::<bool>()),
        ) -> EventKind {
            let (shares, matures) = (Shares(other.0), UnixMillis(matures));
            match code {
                1 => EventKind::Registered { operator, account: delegator, commission },
                2 => EventKind::CommissionSet { operator, commission },
                3 => EventKind::Bonded { operator, delegator, amount, shares },
                4 => EventKind::Unbonded { operator, delegator, amount, shares, matures, entry },
                5 => EventKind::UnbondingCancelled { operator, delegator, entry, amount, shares },
                6 => EventKind::Redelegated {
                    delegator, from: operator, to, amount, left: shares,
                    joined: Shares(third.0), matures, entry,
                },
                7 => EventKind::Claimed { operator, delegator, amount },
                8 => EventKind::CommissionClaimed { operator, account: delegator, amount },
                9 => EventKind::Rewarded {
                    operator, source, amount, commission: other, treasury: third,
                },
                10 => EventKind::Slashed {
                    operator, evidence: Evidence::from_code(evidence).unwrap(),
                    infraction: matures, power: amount, fraction: commission, insured,
                    jailed_until: UnixMillis(entry), tombstone, forget_before: matures,
                    bonded: other, unbonding: third,
                },
                11 => EventKind::Unjailed { operator },
                12 => EventKind::Released { operator, delegator, entry, amount },
                13 => EventKind::RedelegationEnded { delegator, from: operator, to, entry },
                _ => EventKind::InsurancePaid {
                    claim: TransferId::from_bytes(*delegator.as_bytes()), to: delegator, amount,
                },
            }
        }
    }

    proptest! {
        #[test]
        fn events_round_trip(time in any::<u64>(), kind in kind()) {
            let event = Event { time: UnixMillis(time), kind };
            let bytes = event.encode();
            prop_assert_eq!(Event::decode(&bytes), Ok(event));
            let text = serde_json::to_string(&event).unwrap();
            prop_assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
            // Strict: neither shorter nor longer.
            prop_assert!(Event::decode(&bytes[..bytes.len() - 1]).is_err());
            let longer = [bytes.as_slice(), &[0]].concat();
            prop_assert_eq!(Event::decode(&longer), Err(DecodeError::Trailing { count: 1 }));
            // Whatever amounts a foreign event holds, its movements are worked out without panic.
            let _ = kind.movements();
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            code in 0..=16_u8,
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [&[0; 8][..], &[code], &body].concat();
            if let Ok(event) = Event::decode(&bytes) {
                prop_assert_eq!(event.encode(), bytes);
            }
        }
    }

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn person(n: u8) -> AccountId {
        AccountId::from_bytes([n; 16])
    }

    /// An event of each kind, and operations: the first is what it answers, and each other differs
    /// from that in one field.
    fn answers() -> Vec<(EventKind, Vec<Operation>)> {
        let (a, b, ana, ben) = (node(1), node(2), person(1), person(2));
        let (ten, nine, tenth, ninth) = (Amount(10), Amount(9), Ppm::percent(10), Ppm::percent(9));
        let (shares, matures) = (Shares(7), UnixMillis(70));
        let register = |operator, account, commission| Operation::Register {
            operator,
            account,
            commission,
        };
        let set = |operator, commission| Operation::SetCommission {
            operator,
            commission,
        };
        let bond = |operator, delegator, amount| Operation::Bond {
            operator,
            delegator,
            amount,
        };
        let unbond = |operator, delegator, amount| Operation::Unbond {
            operator,
            delegator,
            amount,
        };
        let cancel = |operator, delegator, entry, amount| Operation::CancelUnbonding {
            operator,
            delegator,
            entry,
            amount,
        };
        let redelegate = |delegator, from, to, amount| Operation::Redelegate {
            delegator,
            from,
            to,
            amount,
        };
        let claim = |operator, delegator| Operation::Claim {
            operator,
            delegator,
        };
        let reward = |operator, source, amount| Operation::Reward {
            operator,
            source,
            amount,
        };
        let slash = |operator, evidence, infraction, power| Operation::Slash {
            operator,
            evidence,
            infraction: UnixMillis(infraction),
            power,
        };
        let pay = |claim, to, amount| Operation::PayInsurance {
            claim: TransferId::from_bytes([claim; 16]),
            to,
            amount,
        };
        let (down, wrong) = (Evidence::Downtime, Evidence::InvalidResult);
        vec![
            (
                EventKind::Registered {
                    operator: a,
                    account: ana,
                    commission: tenth,
                },
                vec![
                    register(a, ana, tenth),
                    register(b, ana, tenth),
                    register(a, ben, tenth),
                    register(a, ana, ninth),
                ],
            ),
            (
                EventKind::CommissionSet {
                    operator: a,
                    commission: tenth,
                },
                vec![set(a, tenth), set(b, tenth), set(a, ninth)],
            ),
            (
                EventKind::Bonded {
                    operator: a,
                    delegator: ana,
                    amount: ten,
                    shares,
                },
                vec![
                    bond(a, ana, ten),
                    bond(b, ana, ten),
                    bond(a, ben, ten),
                    bond(a, ana, nine),
                ],
            ),
            (
                EventKind::Unbonded {
                    operator: a,
                    delegator: ana,
                    amount: ten,
                    shares,
                    matures,
                    entry: 1,
                },
                vec![
                    unbond(a, ana, Some(ten)),
                    unbond(b, ana, None),
                    unbond(a, ben, None),
                    unbond(a, ana, Some(nine)),
                ],
            ),
            (
                EventKind::UnbondingCancelled {
                    operator: a,
                    delegator: ana,
                    entry: 1,
                    amount: ten,
                    shares,
                },
                vec![
                    cancel(a, ana, 1, Some(ten)),
                    cancel(b, ana, 1, None),
                    cancel(a, ben, 1, None),
                    cancel(a, ana, 2, None),
                    cancel(a, ana, 1, Some(nine)),
                ],
            ),
            (
                EventKind::Redelegated {
                    delegator: ana,
                    from: a,
                    to: b,
                    amount: ten,
                    left: shares,
                    joined: shares,
                    matures,
                    entry: 1,
                },
                vec![
                    redelegate(ana, a, b, Some(ten)),
                    redelegate(ben, a, b, None),
                    redelegate(ana, b, b, None),
                    redelegate(ana, a, a, None),
                    redelegate(ana, a, b, Some(nine)),
                ],
            ),
            (
                EventKind::Claimed {
                    operator: a,
                    delegator: ana,
                    amount: ten,
                },
                vec![claim(a, ana), claim(b, ana), claim(a, ben)],
            ),
            (
                EventKind::CommissionClaimed {
                    operator: a,
                    account: ana,
                    amount: ten,
                },
                vec![
                    Operation::ClaimCommission { operator: a },
                    Operation::ClaimCommission { operator: b },
                ],
            ),
            (
                EventKind::Rewarded {
                    operator: a,
                    source: Purse::Mint,
                    amount: ten,
                    commission: nine,
                    treasury: Amount::ZERO,
                },
                vec![
                    reward(a, Purse::Mint, ten),
                    reward(b, Purse::Mint, ten),
                    reward(a, Purse::Treasury, ten),
                    reward(a, Purse::Mint, nine),
                ],
            ),
            (
                EventKind::Slashed {
                    operator: a,
                    evidence: down,
                    infraction: UnixMillis(5),
                    power: ten,
                    fraction: tenth,
                    insured: tenth,
                    jailed_until: matures,
                    tombstone: false,
                    forget_before: UnixMillis(0),
                    bonded: nine,
                    unbonding: Amount::ZERO,
                },
                vec![
                    slash(a, down, 5, ten),
                    slash(b, down, 5, ten),
                    slash(a, wrong, 5, ten),
                    slash(a, down, 6, ten),
                    slash(a, down, 5, nine),
                ],
            ),
            (
                EventKind::Unjailed { operator: a },
                vec![
                    Operation::Unjail { operator: a },
                    Operation::Unjail { operator: b },
                ],
            ),
            (
                EventKind::Released {
                    operator: a,
                    delegator: ana,
                    entry: 1,
                    amount: ten,
                },
                vec![Operation::Mature],
            ),
            (
                EventKind::RedelegationEnded {
                    delegator: ana,
                    from: a,
                    to: b,
                    entry: 1,
                },
                vec![Operation::Mature],
            ),
            (
                EventKind::InsurancePaid {
                    claim: TransferId::from_bytes([1; 16]),
                    to: ana,
                    amount: ten,
                },
                vec![
                    pay(1, ana, ten),
                    pay(2, ana, ten),
                    pay(1, ben, ten),
                    pay(1, ana, nine),
                ],
            ),
        ]
    }

    #[test]
    fn an_event_answers_what_asked_for_it_and_nothing_that_differs_in_a_field() {
        let all = answers();
        for (place, (event, asked)) in all.iter().enumerate() {
            assert_eq!(usize::from(event.code()), place + 1);
            assert!(event.answers(&asked[0]), "{event:?}");
            for other in &asked[1..] {
                assert!(!event.answers(other), "{event:?} {other:?}");
            }
            for (_, others) in &all {
                if others[0] != asked[0] {
                    assert!(!event.answers(&others[0]), "{event:?} {:?}", others[0]);
                }
            }
        }
    }

    #[test]
    fn an_operation_that_asks_for_all_is_answered_by_any_amount() {
        for (event, asked) in answers() {
            let mut all = asked[0];
            if let Operation::Unbond { amount, .. }
            | Operation::CancelUnbonding { amount, .. }
            | Operation::Redelegate { amount, .. } = &mut all
            {
                *amount = None;
            }
            assert!(event.answers(&all), "{event:?}");
        }
    }

    #[test]
    fn accounts_are_those_whose_money_moves_and_no_purses() {
        for (event, _) in answers() {
            let expected = match event.code() {
                // Bonded, claimed, commission claimed, released, insurance paid.
                3 | 7 | 8 | 12 | 14 => vec![person(1)],
                _ => vec![],
            };
            assert_eq!(event.accounts(), expected, "{event:?}");
        }
        let from_an_account = EventKind::Rewarded {
            operator: node(1),
            source: Purse::Account(person(2)),
            amount: Amount(10),
            commission: Amount(1),
            treasury: Amount(3),
        };
        assert_eq!(from_an_account.accounts(), [person(2)]);
    }
}
