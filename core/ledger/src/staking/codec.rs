//! Snapshots as bytes, and what else all byte formats of staking are read by.

use ethnum::U256;
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{NodeId, TransferId};

pub(super) use crate::read::{account, amount, flag, node, ppm, time};

use super::{
    Delegation, DelegationRow, Evidence, Loss, Operator, OperatorRow, Punished, Purses,
    Redelegation, RedelegationRow, Shares, Snapshot, Unbonding, UnbondingRow,
};
use crate::read::list;

const VERSION: u8 = 1;

/// A snapshot as bytes: 96 for each stake. Integers are big-endian ([`fogcompute_base::wire`]).
///
/// | bytes | item |
/// |---|---|
/// | 1 | version, 1 |
/// | 16 | clock `u64`, next entry `u64` |
/// | 96 | [`Purses`], six `u128` in their order |
/// | 4 | number of operators, `u32`; each: |
/// | 132 | operator 32, account 16, commission `u32`, set `u64`, tokens, shares, unclaimed, commission due (`u128` each), jailed flag 1, until `u64` if the flag is 1, tombstoned 1 |
/// | 64 | rewards per share 32, remainder 32 |
/// | 4 + 9 n | number of punished infractions `u32`, each [`Evidence::code`] 1, time `u64` |
/// | 4 + 24 n | number of losses `u32`, each time `u64`, amount `u128` |
/// | 4 | number of operators with stakes, `u32`; each: operator 32, number `u32`, not 0, and for each stake: |
/// | 96 | delegator 16, shares `u128`, accrued `u128`, index 32, fraction `u128` |
/// | 4 | number of operators with unbondings, `u32`; each: operator 32, number `u32`, not 0, and for each: |
/// | 72 | delegator 16, entry `u64`, started `u64`, matures `u64`, initial `u128`, balance `u128` |
/// | 4 | number of redelegations, `u32`; each: |
/// | 136 | from 32, delegator 16, to 32, entry `u64`, started `u64`, matures `u64`, initial `u128`, shares `u128` |
/// | 4 + 16 n | number of paid claims `u32`, each its id 16 |
impl Snapshot {
    /// Its bytes.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` rows of a kind, for which no memory suffices.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(VERSION);
        w.u64(self.clock.0);
        w.u64(self.next_entry);
        let purses = &self.purses;
        for amount in [
            purses.bonded,
            purses.unbonding,
            purses.rewards,
            purses.insurance,
            purses.rewards_paid_in,
            purses.rewards_claimed,
        ] {
            w.u128(amount.0);
        }
        count(&mut w, self.operators.len());
        for row in &self.operators {
            write_operator(&mut w, row);
        }
        let groups = self.delegations.chunk_by(|a, b| a.operator == b.operator);
        count(&mut w, groups.clone().count());
        for rows in groups {
            w.raw(rows[0].operator.as_bytes());
            count(&mut w, rows.len());
            for DelegationRow {
                delegator, record, ..
            } in rows
            {
                w.raw(delegator.as_bytes());
                w.u128(record.shares.0);
                w.u128(record.accrued.0);
                w.raw(&record.index.to_be_bytes());
                w.u128(record.fraction);
            }
        }
        let groups = self.unbondings.chunk_by(|a, b| a.operator == b.operator);
        count(&mut w, groups.clone().count());
        for rows in groups {
            w.raw(rows[0].operator.as_bytes());
            count(&mut w, rows.len());
            for UnbondingRow {
                delegator, record, ..
            } in rows
            {
                w.raw(delegator.as_bytes());
                w.u64(record.entry);
                w.u64(record.started.0);
                w.u64(record.matures.0);
                w.u128(record.initial.0);
                w.u128(record.balance.0);
            }
        }
        count(&mut w, self.redelegations.len());
        for row in &self.redelegations {
            w.raw(row.from.as_bytes());
            w.raw(row.delegator.as_bytes());
            w.raw(row.to.as_bytes());
            w.u64(row.record.entry);
            w.u64(row.record.started.0);
            w.u64(row.record.matures.0);
            w.u128(row.record.initial.0);
            w.u128(row.record.shares.0);
        }
        count(&mut w, self.claims_paid.len());
        for claim in &self.claims_paid {
            w.raw(claim.as_bytes());
        }
        w.finish()
    }

    /// Reads its bytes. Whether the rows add up is found by
    /// [`Staking::restore`](super::Staking::restore).
    ///
    /// # Errors
    /// [`DecodeError`] for whatever [`encode`](Self::encode) never writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let r = &mut reader;
        match r.u8()? {
            VERSION => {}
            version => {
                return Err(DecodeError::Unknown {
                    at: 0,
                    value: u64::from(version),
                });
            }
        }
        let (clock, next_entry) = (time(r)?, r.u64()?);
        let purses = Purses {
            bonded: amount(r)?,
            unbonding: amount(r)?,
            rewards: amount(r)?,
            insurance: amount(r)?,
            rewards_paid_in: amount(r)?,
            rewards_claimed: amount(r)?,
        };
        // Lists grow as they are read: an announced number costs nothing.
        let operators = list(r, read_operator)?;
        let delegations = groups(r, |r, operator| {
            Ok(DelegationRow {
                operator,
                delegator: account(r)?,
                record: Delegation {
                    shares: shares(r)?,
                    accrued: amount(r)?,
                    index: wide(r)?,
                    fraction: r.u128()?,
                },
            })
        })?;
        let unbondings = groups(r, |r, operator| {
            Ok(UnbondingRow {
                operator,
                delegator: account(r)?,
                record: Unbonding {
                    entry: r.u64()?,
                    started: time(r)?,
                    matures: time(r)?,
                    initial: amount(r)?,
                    balance: amount(r)?,
                },
            })
        })?;
        let redelegations = list(r, |r| {
            Ok(RedelegationRow {
                from: node(r)?,
                delegator: account(r)?,
                to: node(r)?,
                record: Redelegation {
                    entry: r.u64()?,
                    started: time(r)?,
                    matures: time(r)?,
                    initial: amount(r)?,
                    shares: shares(r)?,
                },
            })
        })?;
        let claims_paid = list(r, |r| r.array().map(TransferId::from_bytes))?;
        reader.finish()?;
        Ok(Self {
            clock,
            next_entry,
            purses,
            operators,
            delegations,
            unbondings,
            redelegations,
            claims_paid,
        })
    }
}

fn write_operator(w: &mut Writer, row: &OperatorRow) {
    let Operator {
        account,
        commission,
        commission_set,
        tokens,
        shares,
        unclaimed,
        commission_due,
        jailed_until,
        tombstoned,
        punished,
        losses,
        index,
        remainder,
    } = &row.record;
    w.raw(row.operator.as_bytes());
    w.raw(account.as_bytes());
    w.u32(commission.get());
    w.u64(commission_set.0);
    w.u128(tokens.0);
    w.u128(shares.0);
    w.u128(unclaimed.0);
    w.u128(commission_due.0);
    w.u8(u8::from(jailed_until.is_some()));
    if let Some(until) = jailed_until {
        w.u64(until.0);
    }
    w.u8(u8::from(*tombstoned));
    w.raw(&index.to_be_bytes());
    w.raw(&remainder.to_be_bytes());
    count(w, punished.len());
    for Punished {
        evidence,
        infraction,
    } in punished
    {
        w.u8(evidence.code());
        w.u64(infraction.0);
    }
    count(w, losses.len());
    for Loss { time, amount } in losses {
        w.u64(time.0);
        w.u128(amount.0);
    }
}

fn read_operator(r: &mut Reader<'_>) -> Result<OperatorRow, DecodeError> {
    let operator = node(r)?;
    let account = account(r)?;
    let commission = ppm(r)?;
    let commission_set = time(r)?;
    let (tokens, shares) = (amount(r)?, shares(r)?);
    let (unclaimed, commission_due) = (amount(r)?, amount(r)?);
    let jailed_until = if flag(r)? { Some(time(r)?) } else { None };
    let tombstoned = flag(r)?;
    let (index, remainder) = (wide(r)?, wide(r)?);
    let punished = list(r, |r| {
        Ok(Punished {
            evidence: evidence(r)?,
            infraction: time(r)?,
        })
    })?;
    let losses = list(r, |r| {
        Ok(Loss {
            time: time(r)?,
            amount: amount(r)?,
        })
    })?;
    Ok(OperatorRow {
        operator,
        record: Operator {
            account,
            commission,
            commission_set,
            tokens,
            shares,
            unclaimed,
            commission_due,
            jailed_until,
            tombstoned,
            punished,
            losses,
            index,
            remainder,
        },
    })
}

fn count(w: &mut Writer, rows: usize) {
    w.u32(u32::try_from(rows).expect("so many rows do not fit in memory"));
}

/// Rows of one operator after another. A group is not empty, and the next one is another
/// operator's, so that rows have one encoding.
fn groups<T>(
    r: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>, NodeId) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut rows = Vec::new();
    let mut last = None;
    for _ in 0..r.u32()? {
        let operator = node(r)?;
        let at = r.position();
        let count = r.u32()?;
        if count == 0 || last == Some(operator) {
            return Err(DecodeError::Unknown {
                at,
                value: u64::from(count),
            });
        }
        last = Some(operator);
        for _ in 0..count {
            rows.push(read(r, operator)?);
        }
    }
    Ok(rows)
}

fn wide(r: &mut Reader<'_>) -> Result<U256, DecodeError> {
    r.array().map(U256::from_be_bytes)
}

pub(super) fn shares(r: &mut Reader<'_>) -> Result<Shares, DecodeError> {
    r.u128().map(Shares)
}

pub(super) fn evidence(r: &mut Reader<'_>) -> Result<Evidence, DecodeError> {
    let at = r.position();
    let code = r.u8()?;
    Evidence::from_code(code).ok_or(DecodeError::Unknown {
        at,
        value: u64::from(code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Amount, Ppm};
    use fogcompute_base::{AccountId, UnixMillis};
    use proptest::prelude::*;

    fn row(operator: u8, n: u8) -> DelegationRow {
        DelegationRow {
            operator: NodeId::from_bytes([operator; 32]),
            delegator: AccountId::from_bytes([n; 16]),
            record: Delegation {
                shares: Shares(u128::from(n)),
                accrued: Amount(7),
                index: U256::MAX - U256::from(n),
                fraction: u128::MAX,
            },
        }
    }

    prop_compose! {
        fn snapshot()(
            clock in any::<u64>(), numbers in proptest::collection::vec(any::<u128>(), 10),
            operators in proptest::collection::vec((any::<u8>(), 0..4_usize, any::<bool>()), 0..4),
            delegations in proptest::collection::vec((0..4_u8, any::<u8>()), 0..8),
            exits in proptest::collection::vec((0..4_u8, any::<u64>()), 0..8),
        ) -> Snapshot {
            let money = |n: usize| Amount(numbers[n]);
            let when = UnixMillis(clock);
            let exit = |(operator, entry): (u8, u64)| UnbondingRow {
                operator: NodeId::from_bytes([operator; 32]),
                delegator: AccountId::from_bytes([operator; 16]),
                record: Unbonding {
                    entry, started: when, matures: UnixMillis(entry),
                    initial: money(6), balance: money(7),
                },
            };
            Snapshot {
                clock: when,
                next_entry: clock,
                purses: Purses {
                    bonded: money(0), unbonding: money(1), rewards: money(2), insurance: money(3),
                    rewards_paid_in: money(4), rewards_claimed: money(5),
                },
                operators: operators.into_iter().map(|(n, count, yes)| {
                    let mut record =
                        Operator::new(AccountId::from_bytes([n; 16]), Ppm::percent(n), when);
                    record.tombstoned = yes;
                    record.jailed_until = yes.then_some(when);
                    record.tokens = money(8);
                    record.index = U256::from_words(numbers[0], numbers[1]);
                    record.remainder = U256::from_words(numbers[2], numbers[3]);
                    let punished = Punished { evidence: Evidence::Downtime, infraction: when };
                    record.punished = vec![punished; count];
                    record.losses = vec![Loss { time: when, amount: money(9) }; count];
                    OperatorRow { operator: NodeId::from_bytes([n; 32]), record }
                }).collect(),
                delegations: delegations.into_iter().map(|(o, d)| row(o, d)).collect(),
                unbondings: exits.iter().copied().map(exit).collect(),
                redelegations: exits.iter().map(|&(o, entry)| RedelegationRow {
                    from: NodeId::from_bytes([o; 32]),
                    delegator: AccountId::from_bytes([o; 16]),
                    to: NodeId::from_bytes([9; 32]),
                    record: Redelegation {
                        entry, started: when, matures: when,
                        initial: money(1), shares: Shares(numbers[2]),
                    },
                }).collect(),
                claims_paid: exits
                    .iter()
                    .map(|&(o, _)| TransferId::from_bytes([o; 16]))
                    .collect(),
            }
        }
    }

    #[test]
    fn a_stake_takes_96_bytes() {
        let rows = |count| {
            let mut snapshot = super::super::Staking::default().snapshot();
            snapshot.delegations = (0..count).map(|n| row(1, n)).collect();
            snapshot.encode().len()
        };
        assert_eq!(rows(101) - rows(1), 9_600);
    }

    proptest! {
        #[test]
        fn snapshots_round_trip(snapshot in snapshot()) {
            let bytes = snapshot.encode();
            prop_assert_eq!(Snapshot::decode(&bytes), Ok(snapshot.clone()));
            prop_assert!(Snapshot::decode(&bytes[..bytes.len() - 1]).is_err());
            let longer = [bytes.as_slice(), &[0]].concat();
            prop_assert_eq!(Snapshot::decode(&longer), Err(DecodeError::Trailing { count: 1 }));
            let text = serde_json::to_string(&snapshot).unwrap();
            prop_assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
        }

        #[test]
        fn damaged_snapshots_are_read_without_panic_and_have_one_encoding(
            snapshot in snapshot(), place in any::<usize>(), value in any::<u8>(),
        ) {
            let mut bytes = snapshot.encode();
            let place = place % bytes.len();
            bytes[place] = value;
            if let Ok(read) = Snapshot::decode(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
                // What was read is checked, not believed.
                let _ = super::super::Staking::restore(&read);
            }
        }
    }
}
