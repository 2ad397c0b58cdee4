//! What was earned and what was paid.

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{FeeSplit, Name};
use crate::purse::movements;
use crate::{Amount, Movement, Purse};

/// What happened.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum EventKind {
    /// A reward was granted.
    Earned {
        /// The rule that counts it towards its daily limit.
        rule: Name,
        /// Receives.
        account: AccountId,
        /// Base units.
        granted: Amount,
        /// Base units that the daily limit cut off.
        cut_by_limit: Amount,
    },
    /// A fee was paid and divided.
    FeePaid {
        /// Pays.
        payer: AccountId,
        /// Receives what the funds leave.
        payee: AccountId,
        /// Who gets what.
        split: FeeSplit,
    },
}

impl EventKind {
    /// The kind's number in the canonical encoding.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Earned { .. } => 1,
            Self::FeePaid { .. } => 2,
        }
    }

    /// The money that moves with it.
    #[must_use]
    pub fn movements(&self) -> Vec<Movement> {
        match *self {
            Self::Earned {
                account, granted, ..
            } => movements([(Purse::Mint, Purse::Account(account), granted)]),
            Self::FeePaid {
                payer,
                payee,
                split,
            } => {
                let payer = Purse::Account(payer);
                movements([
                    (payer, Purse::Treasury, split.treasury),
                    (payer, Purse::SovereignFund, split.sovereign_fund),
                    (payer, Purse::Account(payee), split.payee),
                ])
            }
        }
    }
}

/// Something that happened, and when.
///
/// Canonical encoding, integers big-endian ([`fogcompute_base::wire`]):
///
/// | bytes | item |
/// |---|---|
/// | 8 | time, Unix milliseconds, `u64` |
/// | 1 | [`EventKind::code`] |
/// | earned | rule (text of 1 to 32 bytes), account 16, granted `u128`, cut by limit `u128` |
/// | fee paid | payer 16, payee 16, treasury `u128`, sovereign fund `u128`, payee's part `u128` |
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
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
        let mut writer = Writer::new();
        writer.u64(self.time.0);
        writer.u8(self.kind.code());
        match &self.kind {
            EventKind::Earned {
                rule,
                account,
                granted,
                cut_by_limit,
            } => {
                writer.text(rule.as_str());
                writer.raw(account.as_bytes());
                writer.u128(granted.0);
                writer.u128(cut_by_limit.0);
            }
            EventKind::FeePaid {
                payer,
                payee,
                split,
            } => {
                writer.raw(payer.as_bytes());
                writer.raw(payee.as_bytes());
                writer.u128(split.treasury.0);
                writer.u128(split.sovereign_fund.0);
                writer.u128(split.payee.0);
            }
        }
        writer.finish()
    }

    /// Reads canonical bytes: exactly one event.
    ///
    /// # Errors
    /// [`DecodeError`] for whatever [`encode`](Self::encode) never writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let time = UnixMillis(reader.u64()?);
        let at = reader.position();
        let kind = match reader.u8()? {
            1 => EventKind::Earned {
                rule: name(&mut reader)?,
                account: AccountId::from_bytes(reader.array()?),
                granted: Amount(reader.u128()?),
                cut_by_limit: Amount(reader.u128()?),
            },
            2 => EventKind::FeePaid {
                payer: AccountId::from_bytes(reader.array()?),
                payee: AccountId::from_bytes(reader.array()?),
                split: FeeSplit {
                    treasury: Amount(reader.u128()?),
                    sovereign_fund: Amount(reader.u128()?),
                    payee: Amount(reader.u128()?),
                },
            },
            code => {
                return Err(DecodeError::Unknown {
                    at,
                    value: u64::from(code),
                });
            }
        };
        reader.finish()?;
        Ok(Self { time, kind })
    }
}

pub(super) fn name(reader: &mut Reader<'_>) -> Result<Name, DecodeError> {
    let at = reader.position();
    let text = reader.text(Name::BYTES_MAX)?;
    // The only number to tell of a text that is no name is its length.
    text.parse().map_err(|_| DecodeError::Unknown {
        at,
        value: u64::try_from(text.len()).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn kind()(
            earned in any::<bool>(), rule in "[a-z0-9_]{1,32}",
            (a, b) in (any::<[u8; 16]>(), any::<[u8; 16]>()),
            (x, y, z) in (any::<u128>(), any::<u128>(), any::<u128>()),
        ) -> EventKind {
            let (account, payee) = (AccountId::from_bytes(a), AccountId::from_bytes(b));
            if earned {
                EventKind::Earned {
                    rule: rule.parse().unwrap(), account,
                    granted: Amount(x), cut_by_limit: Amount(y),
                }
            } else {
                EventKind::FeePaid {
                    payer: account, payee,
                    split: FeeSplit {
                        treasury: Amount(x), sovereign_fund: Amount(y), payee: Amount(z),
                    },
                }
            }
        }
    }

    proptest! {
        #[test]
        fn events_round_trip(time in any::<u64>(), kind in kind()) {
            let event = Event { time: UnixMillis(time), kind };
            let bytes = event.encode();
            prop_assert_eq!(Event::decode(&bytes), Ok(event.clone()));
            let text = serde_json::to_string(&event).unwrap();
            prop_assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
            prop_assert!(Event::decode(&bytes[..bytes.len() - 1]).is_err());
            let longer = [bytes.as_slice(), &[0]].concat();
            prop_assert_eq!(Event::decode(&longer), Err(DecodeError::Trailing { count: 1 }));
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            code in 0..4_u8,
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let bytes = [&[0; 8][..], &[code], &body].concat();
            if let Ok(event) = Event::decode(&bytes) {
                prop_assert_eq!(event.encode(), bytes);
            }
        }
    }
}
