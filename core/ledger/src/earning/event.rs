//! What was earned and what was paid.

use std::collections::{BTreeMap, BTreeSet};

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{FeeSplit, Name, Operation};
use crate::purse::movements;
use crate::{Amount, Movement, Purse};

/// Most facts of one contribution.
pub const FACTS_MAX: usize = 32;

/// What a reward was granted for.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Basis {
    /// A contribution.
    Contribution {
        /// What was told, in thousandths: at most [`FACTS_MAX`] facts.
        facts: BTreeMap<Name, u64>,
    },
    /// A session of computing.
    Session {
        /// The device's power, in thousandths.
        power_milli: u64,
        /// How long it computed, in milliseconds.
        duration_ms: u64,
        /// The sum of its bonuses, in thousandths.
        bonus_per_mille: u32,
    },
}

impl Basis {
    /// The basis's number in the canonical encoding.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Contribution { .. } => 1,
            Self::Session { .. } => 2,
        }
    }

    fn encode_into(&self, w: &mut Writer) {
        w.u8(self.code());
        match self {
            Self::Contribution { facts } => {
                // More than can be counted are more than are ever read.
                w.u8(u8::try_from(facts.len()).unwrap_or(u8::MAX));
                for (fact, value) in facts {
                    w.text(fact.as_str());
                    w.u64(*value);
                }
            }
            Self::Session {
                power_milli,
                duration_ms,
                bonus_per_mille,
            } => {
                w.u64(*power_milli);
                w.u64(*duration_ms);
                w.u32(*bonus_per_mille);
            }
        }
    }

    fn decode_from(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.position();
        match r.u8()? {
            1 => facts(r).map(|facts| Self::Contribution { facts }),
            2 => Ok(Self::Session {
                power_milli: r.u64()?,
                duration_ms: r.u64()?,
                bonus_per_mille: r.u32()?,
            }),
            code => Err(DecodeError::Unknown {
                at,
                value: u64::from(code),
            }),
        }
    }
}

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
        /// What it was granted for, so that it can be audited.
        basis: Basis,
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

    /// Whether this is what that operation asks for: of the same kind, for the same, on the same
    /// basis. What rules decide is not compared: what is granted, as what a session counts, and how
    /// a fee is divided.
    #[must_use]
    pub fn answers(&self, operation: &Operation) -> bool {
        match (self, operation) {
            (
                Self::Earned {
                    rule,
                    account,
                    basis: Basis::Contribution { facts },
                    ..
                },
                Operation::Earn {
                    rule: name,
                    account: receiver,
                    facts: told,
                },
            ) => (rule, account, facts) == (name, receiver, told),
            (
                Self::Earned {
                    account,
                    basis:
                        Basis::Session {
                            power_milli,
                            duration_ms,
                            bonus_per_mille,
                        },
                    ..
                },
                Operation::Session {
                    account: receiver,
                    power_milli: power,
                    duration_ms: duration,
                    bonus_per_mille: bonus,
                },
            ) => {
                (account, power_milli, duration_ms, bonus_per_mille)
                    == (receiver, power, duration, bonus)
            }
            (
                Self::FeePaid {
                    payer,
                    payee,
                    split,
                },
                Operation::Fee {
                    payer: from,
                    payee: to,
                    amount,
                },
            ) => (payer, payee, split.total()) == (from, to, Some(*amount)),
            _ => false,
        }
    }

    /// Writes its canonical bytes: those of an [`Event`] after the time.
    pub(crate) fn encode_into(&self, w: &mut Writer) {
        w.u8(self.code());
        match self {
            Self::Earned {
                rule,
                account,
                granted,
                cut_by_limit,
                basis,
            } => {
                w.text(rule.as_str());
                w.raw(account.as_bytes());
                w.u128(granted.0);
                w.u128(cut_by_limit.0);
                basis.encode_into(w);
            }
            Self::FeePaid {
                payer,
                payee,
                split,
            } => {
                w.raw(payer.as_bytes());
                w.raw(payee.as_bytes());
                w.u128(split.treasury.0);
                w.u128(split.sovereign_fund.0);
                w.u128(split.payee.0);
            }
        }
    }

    /// Reads what [`encode_into`](Self::encode_into) writes, and no further.
    pub(crate) fn decode_from(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.position();
        Ok(match r.u8()? {
            1 => Self::Earned {
                rule: name(r)?,
                account: AccountId::from_bytes(r.array()?),
                granted: Amount(r.u128()?),
                cut_by_limit: Amount(r.u128()?),
                basis: Basis::decode_from(r)?,
            },
            2 => Self::FeePaid {
                payer: AccountId::from_bytes(r.array()?),
                payee: AccountId::from_bytes(r.array()?),
                split: FeeSplit {
                    treasury: Amount(r.u128()?),
                    sovereign_fund: Amount(r.u128()?),
                    payee: Amount(r.u128()?),
                },
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

/// Something that happened, and when.
///
/// Canonical encoding, integers big-endian ([`fogcompute_base::wire`]):
///
/// | bytes | item |
/// |---|---|
/// | 8 | time, Unix milliseconds, `u64` |
/// | 1 | [`EventKind::code`] |
/// | earned | rule (text of 1 to 32 bytes), account 16, granted `u128`, cut by limit `u128`, [`Basis::code`] 1, basis |
/// | basis: contribution | number of facts 1, at most 32; each: name (text of 1 to 32 bytes), value `u64`; in ascending order of names |
/// | basis: session | power `u64`, duration `u64`, bonus `u32` |
/// | fee paid | payer 16, payee 16, treasury `u128`, sovereign fund `u128`, payee's part `u128` |
///
/// An event of more facts, which [`Earning::apply`](super::Earning::apply) refuses, has bytes that are
/// refused too.
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
        self.kind.encode_into(&mut writer);
        writer.finish()
    }

    /// Reads canonical bytes: exactly one event.
    ///
    /// # Errors
    /// [`DecodeError`] for whatever [`encode`](Self::encode) never writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let time = UnixMillis(reader.u64()?);
        let kind = EventKind::decode_from(&mut reader)?;
        reader.finish()?;
        Ok(Self { time, kind })
    }
}

fn facts(r: &mut Reader<'_>) -> Result<BTreeMap<Name, u64>, DecodeError> {
    let at = r.position();
    let count = r.u8()?;
    if usize::from(count) > FACTS_MAX {
        return Err(DecodeError::Unknown {
            at,
            value: u64::from(count),
        });
    }
    let mut facts = BTreeMap::new();
    for place in 0..count {
        let at = r.position();
        let fact = name(r)?;
        if facts
            .last_key_value()
            .is_some_and(|(last, _)| *last >= fact)
        {
            return Err(DecodeError::Unknown {
                at,
                value: u64::from(place),
            });
        }
        facts.insert(fact, r.u64()?);
    }
    Ok(facts)
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
            facts in proptest::collection::btree_map("[a-z0-9_]{1,32}", any::<u64>(), 0..=FACTS_MAX),
            session in any::<Option<(u64, u64, u32)>>(),
        ) -> EventKind {
            let (account, payee) = (AccountId::from_bytes(a), AccountId::from_bytes(b));
            if earned {
                EventKind::Earned {
                    rule: rule.parse().unwrap(), account,
                    granted: Amount(x), cut_by_limit: Amount(y),
                    basis: match session {
                        Some((power_milli, duration_ms, bonus_per_mille)) => {
                            Basis::Session { power_milli, duration_ms, bonus_per_mille }
                        }
                        None => Basis::Contribution {
                            facts: (facts.iter())
                                .map(|(fact, value)| (fact.parse().unwrap(), *value))
                                .collect(),
                        },
                    },
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

    fn person(n: u8) -> AccountId {
        AccountId::from_bytes([n; 16])
    }

    fn contribution(facts: BTreeMap<Name, u64>) -> EventKind {
        EventKind::Earned {
            rule: Name::fixed("bug"),
            account: person(1),
            granted: Amount(1),
            cut_by_limit: Amount(2),
            basis: Basis::Contribution { facts },
        }
    }

    #[test]
    fn facts_are_few_and_in_order_and_each_is_told_once() {
        let fact = |n: usize| -> Name { format!("fact_{n:03}").parse().unwrap() };
        let encoded = |count: usize| {
            let facts = (0..count).map(|n| (fact(n), 0)).collect();
            let kind = contribution(facts);
            Event {
                time: UnixMillis(0),
                kind,
            }
            .encode()
        };
        // Time 8, code 1, rule 4 and 3, account 16, amounts 32, basis 1.
        let at = 65;
        assert!(Event::decode(&encoded(32)).is_ok());
        for (count, written) in [(33, 33), (255, 255), (300, 255)] {
            let refused = DecodeError::Unknown { at, value: written };
            assert_eq!(Event::decode(&encoded(count)), Err(refused));
        }
        // Each fact is 4 and 8 bytes of name and 8 of value. The second is said to be the first,
        // and then to come before it.
        for last in [b'0', b'/'] {
            let mut bytes = encoded(3);
            let second = at + 1 + 20;
            assert_eq!(bytes[second + 11], b'1');
            bytes[second + 11] = last;
            let expected = if last == b'0' { 1 } else { 8 };
            let refused = DecodeError::Unknown {
                at: second,
                value: expected,
            };
            assert_eq!(Event::decode(&bytes), Err(refused));
        }
        let mut bytes = encoded(3);
        let first = at + 1;
        bytes[first + 11] = b'2';
        let refused = DecodeError::Unknown {
            at: first + 20,
            value: 1,
        };
        assert_eq!(Event::decode(&bytes), Err(refused));
    }

    #[test]
    fn an_event_answers_what_asked_for_it_and_nothing_that_differs_in_a_field() {
        let facts = |value| BTreeMap::from([(Name::fixed("verified"), value)]);
        let earn = |rule, n, facts| Operation::Earn {
            rule: Name::fixed(rule),
            account: person(n),
            facts,
        };
        let session = |n, power_milli, duration_ms, bonus_per_mille| Operation::Session {
            account: person(n),
            power_milli,
            duration_ms,
            bonus_per_mille,
        };
        let fee = |payer, payee, amount| Operation::Fee {
            payer: person(payer),
            payee: person(payee),
            amount: Amount(amount),
        };
        let computed = EventKind::Earned {
            rule: Name::fixed("compute"),
            account: person(1),
            granted: Amount(1),
            cut_by_limit: Amount(2),
            basis: Basis::Session {
                power_milli: 10,
                duration_ms: 20,
                bonus_per_mille: 30,
            },
        };
        let split = FeeSplit {
            treasury: Amount(1),
            sovereign_fund: Amount(2),
            payee: Amount(3),
        };
        let paid = EventKind::FeePaid {
            payer: person(1),
            payee: person(2),
            split,
        };
        let all = [
            (
                contribution(facts(1_000)),
                vec![
                    earn("bug", 1, facts(1_000)),
                    earn("bugs", 1, facts(1_000)),
                    earn("bug", 2, facts(1_000)),
                    earn("bug", 1, facts(1_001)),
                    earn("bug", 1, BTreeMap::new()),
                ],
            ),
            (
                computed,
                vec![
                    session(1, 10, 20, 30),
                    session(2, 10, 20, 30),
                    session(1, 11, 20, 30),
                    session(1, 10, 21, 30),
                    session(1, 10, 20, 31),
                ],
            ),
            (
                paid,
                vec![fee(1, 2, 6), fee(2, 2, 6), fee(1, 1, 6), fee(1, 2, 5)],
            ),
        ];
        for (event, asked) in &all {
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
        assert_eq!(all[0].0.accounts(), [person(1)]);
        assert_eq!(all[2].0.accounts(), [person(1), person(2)]);
    }

    #[test]
    fn a_fee_whose_parts_no_amount_can_count_answers_nothing() {
        let (payer, payee) = (person(1), person(2));
        let split = FeeSplit {
            treasury: Amount::MAX,
            sovereign_fund: Amount(1),
            payee: Amount::ZERO,
        };
        let kind = EventKind::FeePaid {
            payer,
            payee,
            split,
        };
        for amount in [Amount::ZERO, Amount::MAX] {
            assert!(!kind.answers(&Operation::Fee {
                payer,
                payee,
                amount
            }));
        }
    }
}
