//! The whole state in rows, and as bytes.

use std::collections::BTreeMap;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{Corruption, Earning, Name, event};
use crate::Amount;

const VERSION: u8 = 1;

/// The whole state, without the rules, in rows in order.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Snapshot {
    /// The time of the last event.
    pub clock: UnixMillis,
    /// What was granted on its day.
    pub granted: Vec<GrantedRow>,
}

/// What an account was granted under one rule, in a [`Snapshot`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GrantedRow {
    /// The rule.
    pub rule: Name,
    /// Received it.
    pub account: AccountId,
    /// Base units.
    pub granted: Amount,
}

impl Snapshot {
    /// Its bytes.
    ///
    /// | bytes | item |
    /// |---|---|
    /// | 1 | version, 1 |
    /// | 8 | clock `u64` |
    /// | 4 | number of rows `u32`; each: |
    /// | 37 to 68 | rule (text of 1 to 32 bytes), account 16, granted `u128` |
    ///
    /// # Panics
    /// If there are more than `u32::MAX` rows, for which no memory suffices.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(VERSION);
        w.u64(self.clock.0);
        w.u32(u32::try_from(self.granted.len()).expect("so many rows do not fit in memory"));
        for row in &self.granted {
            w.text(row.rule.as_str());
            w.raw(row.account.as_bytes());
            w.u128(row.granted.0);
        }
        w.finish()
    }

    /// Reads its bytes. Whether the rows are in order is found by [`Earning::restore`].
    ///
    /// # Errors
    /// [`DecodeError`] for whatever [`encode`](Self::encode) never writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        match r.u8()? {
            VERSION => {}
            version => {
                return Err(DecodeError::Unknown {
                    at: 0,
                    value: u64::from(version),
                });
            }
        }
        let clock = UnixMillis(r.u64()?);
        let count = r.u32()?;
        // The list grows as it is read: an announced number costs nothing.
        let granted = (0..count).map(|_| {
            Ok(GrantedRow {
                rule: event::name(&mut r)?,
                account: AccountId::from_bytes(r.array()?),
                granted: Amount(r.u128()?),
            })
        });
        let granted = granted.collect::<Result<_, _>>()?;
        r.finish()?;
        Ok(Self { clock, granted })
    }
}

impl Earning {
    /// The whole state, in rows.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let rows = self.granted.iter();
        Snapshot {
            clock: self.clock,
            granted: rows
                .map(|((rule, account), granted)| GrantedRow {
                    rule: rule.clone(),
                    account: *account,
                    granted: *granted,
                })
                .collect(),
        }
    }

    /// The state of a snapshot.
    ///
    /// # Errors
    /// [`Corruption::Misplaced`], [`Corruption::Amounts`].
    pub fn restore(snapshot: &Snapshot) -> Result<Self, Corruption> {
        let mut earning = Self {
            clock: snapshot.clock,
            granted: BTreeMap::new(),
        };
        for row in &snapshot.granted {
            if row.granted.is_zero() {
                return Err(Corruption::Amounts);
            }
            let key = (row.rule.clone(), row.account);
            let last = earning.granted.last_key_value();
            if last.is_some_and(|(last, _)| *last >= key) {
                return Err(Corruption::Misplaced { rule: key.0 });
            }
            earning.granted.insert(key, row.granted);
        }
        Ok(earning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn snapshots_round_trip(
            clock in any::<u64>(),
            rows in proptest::collection::vec(
                ("[a-z0-9_]{1,32}", any::<[u8; 16]>(), any::<u128>()), 0..6,
            ),
            place in any::<usize>(), value in any::<u8>(),
        ) {
            let granted = rows.into_iter().map(|(rule, account, granted)| GrantedRow {
                rule: rule.parse().unwrap(),
                account: AccountId::from_bytes(account),
                granted: Amount(granted),
            });
            let snapshot = Snapshot { clock: UnixMillis(clock), granted: granted.collect() };
            let mut bytes = snapshot.encode();
            prop_assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
            prop_assert!(Snapshot::decode(&bytes[..bytes.len() - 1]).is_err());
            // Damaged bytes are refused, or mean something else that is written the same.
            let place = place % bytes.len();
            bytes[place] = value;
            if let Ok(read) = Snapshot::decode(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
                let _ = Earning::restore(&read);
            }
        }
    }
}
