//! Where money of the economy lies, and how it moves: what rules say to a [`Book`](crate::Book).

use std::fmt;

use fogcompute_base::AccountId;
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{AccountKind, Amount};

/// A place that holds money: an account of the book.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Purse {
    /// Somebody's account.
    Account(AccountId),
    /// Stake that works: the sum of the tokens of all operators.
    Bonded,
    /// Stake on its way out.
    Unbonding,
    /// Rewards that were paid in and not claimed yet, commissions included.
    Rewards,
    /// The insurance fund: a share of what is slashed, for those whom it harmed.
    Insurance,
    /// The treasury, which governance spends.
    Treasury,
    /// The sovereign fund, which governance only lets grow.
    SovereignFund,
    /// The issuer: money comes into being when it leaves here and ceases to be when it returns.
    Mint,
}

impl Purse {
    /// The purse's number in the canonical encoding.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Account(_) => 1,
            Self::Bonded => 2,
            Self::Unbonding => 3,
            Self::Rewards => 4,
            Self::Insurance => 5,
            Self::Treasury => 6,
            Self::SovereignFund => 7,
            Self::Mint => 8,
        }
    }

    /// The purses that an economy has, but for accounts.
    pub const ALL: [Self; 7] = [
        Self::Bonded,
        Self::Unbonding,
        Self::Rewards,
        Self::Insurance,
        Self::Treasury,
        Self::SovereignFund,
        Self::Mint,
    ];

    /// The account that holds it. Those of an economy have names for ids: ASCII text, zeros after
    /// it.
    #[must_use]
    pub const fn account(self) -> AccountId {
        AccountId::from_bytes(*match self {
            Self::Account(account) => return account,
            Self::Bonded => b"purse:bonded\0\0\0\0",
            Self::Unbonding => b"purse:unbonding\0",
            Self::Rewards => b"purse:rewards\0\0\0",
            Self::Insurance => b"purse:insurance\0",
            Self::Treasury => b"purse:treasury\0\0",
            Self::SovereignFund => b"purse:sovereign\0",
            Self::Mint => b"purse:mint\0\0\0\0\0\0",
        })
    }

    /// The purse of an economy that an account holds, if it holds one.
    #[must_use]
    pub fn of(account: AccountId) -> Option<Self> {
        let bytes = account.as_bytes();
        if !bytes.starts_with(b"purse:") {
            return None;
        }
        Self::ALL
            .into_iter()
            .find(|purse| purse.account() == account)
    }

    /// The purse that money in an account is in: one of the economy, or somebody's.
    #[must_use]
    pub fn held_by(account: AccountId) -> Self {
        Self::of(account).unwrap_or(Self::Account(account))
    }

    /// What kind of account holds it.
    #[must_use]
    pub const fn account_kind(self) -> AccountKind {
        match self {
            Self::Mint => AccountKind::Issuer,
            _ => AccountKind::Holder,
        }
    }

    pub(crate) fn write(self, writer: &mut Writer) {
        writer.u8(self.code());
        if let Self::Account(account) = self {
            writer.raw(account.as_bytes());
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        Ok(match reader.u8()? {
            1 => Self::Account(AccountId::from_bytes(reader.array()?)),
            2 => Self::Bonded,
            3 => Self::Unbonding,
            4 => Self::Rewards,
            5 => Self::Insurance,
            6 => Self::Treasury,
            7 => Self::SovereignFund,
            8 => Self::Mint,
            code => {
                return Err(DecodeError::Unknown {
                    at,
                    value: u64::from(code),
                });
            }
        })
    }
}

impl fmt::Display for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => write!(f, "account {account}"),
            Self::Bonded => f.write_str("bonded stake"),
            Self::Unbonding => f.write_str("unbonding stake"),
            Self::Rewards => f.write_str("rewards"),
            Self::Insurance => f.write_str("insurance fund"),
            Self::Treasury => f.write_str("treasury"),
            Self::SovereignFund => f.write_str("sovereign fund"),
            Self::Mint => f.write_str("mint"),
        }
    }
}

/// Money that must move for an event to be true. Never of nothing, never to where it came from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Movement {
    /// Gives.
    pub from: Purse,
    /// Receives.
    pub to: Purse,
    /// Base units.
    pub amount: Amount,
}

/// Movements in the making: those of nothing are left out.
pub(crate) fn movements<const N: usize>(list: [(Purse, Purse, Amount); N]) -> Vec<Movement> {
    list.into_iter()
        .filter(|(from, to, amount)| !amount.is_zero() && from != to)
        .map(|(from, to, amount)| Movement { from, to, amount })
        .collect()
}

/// A part of a whole, in parts per million: 10,000 of them are one per cent.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(into = "u32", try_from = "u32")]
pub struct Ppm(u32);

/// A part is greater than its whole.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{ppm} parts per million are more than the whole")]
pub struct PpmTooLarge {
    /// What was given.
    pub ppm: u32,
}

impl Ppm {
    /// Nothing of it.
    pub const ZERO: Self = Self(0);
    /// All of it.
    pub const WHOLE: Self = Self(1_000_000);

    /// That many millionths.
    ///
    /// # Errors
    /// [`PpmTooLarge`] above 1,000,000.
    pub const fn new(ppm: u32) -> Result<Self, PpmTooLarge> {
        if ppm <= Self::WHOLE.0 {
            Ok(Self(ppm))
        } else {
            Err(PpmTooLarge { ppm })
        }
    }

    /// That many per cent; all of it above 100.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        if percent >= 100 {
            Self::WHOLE
        } else {
            // `u32::from` is not const. At most 990,000.
            Self(percent as u32 * 10_000)
        }
    }

    /// That many millionths; all of it above a million.
    pub(crate) const fn millionths(ppm: u32) -> Self {
        match Self::new(ppm) {
            Ok(part) => part,
            Err(_) => Self::WHOLE,
        }
    }

    /// The number of millionths.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// This part of an amount, rounded down.
    #[must_use]
    pub fn of(self, amount: Amount) -> Amount {
        let (whole, rest) = (amount.0 / 1_000_000, amount.0 % 1_000_000);
        let ppm = u128::from(self.0);
        // Split so that nothing overflows: both terms together are at most `amount`.
        Amount(whole * ppm + rest * ppm / 1_000_000)
    }
}

impl From<Ppm> for u32 {
    fn from(ppm: Ppm) -> Self {
        ppm.0
    }
}

impl TryFrom<u32> for Ppm {
    type Error = PpmTooLarge;

    fn try_from(ppm: u32) -> Result<Self, PpmTooLarge> {
        Self::new(ppm)
    }
}

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ppm", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ethnum::U256;
    use proptest::prelude::*;

    #[test]
    fn parts_beyond_the_whole_are_refused() {
        assert_eq!(Ppm::new(1_000_000), Ok(Ppm::WHOLE));
        assert_eq!(Ppm::new(1_000_001), Err(PpmTooLarge { ppm: 1_000_001 }));
        assert!(serde_json::from_str::<Ppm>("1000001").is_err());
        assert_eq!(Ppm::percent(15).get(), 150_000);
        assert_eq!(Ppm::percent(200), Ppm::WHOLE);
        assert_eq!(Ppm::WHOLE.of(Amount::MAX), Amount::MAX);
    }

    proptest! {
        #[test]
        fn part_is_rounded_down_exactly(amount in any::<u128>(), ppm in 0..=1_000_000_u32) {
            let exact = U256::from(amount) * U256::from(ppm) / U256::from(1_000_000_u32);
            prop_assert_eq!(Ppm::new(ppm).unwrap().of(Amount(amount)).0, exact.as_u128());
        }
    }
}
