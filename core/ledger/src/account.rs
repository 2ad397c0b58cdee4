//! Accounts: four counters that only ever tell where amounts went.

use fogcompute_base::AccountId;
use serde::{Deserialize, Serialize};

use crate::{Amount, AssetId};

/// What an account may do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum AccountKind {
    /// Puts an asset out and takes it back: its debits may exceed its credits, and by how much is
    /// the supply it has put out.
    Issuer,
    /// Holds what it was given: its credits always cover its debits and its open reservations.
    Holder,
}

impl AccountKind {
    /// The kind's number in the canonical encoding and in stores.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Issuer => 1,
            Self::Holder => 2,
        }
    }

    /// The kind of that number, if there is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Issuer),
            2 => Some(Self::Holder),
            _ => None,
        }
    }
}

/// An account: its counters since it was opened, in base units of its asset.
///
/// Posted counters only grow. Pending counters are the sums of the open reservations. For either
/// side, posted and pending together never exceed [`Amount::MAX`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Account {
    /// The account's name.
    pub id: AccountId,
    /// The one asset it holds.
    pub asset: AssetId,
    /// What it may do.
    pub kind: AccountKind,
    /// All it ever received.
    pub credits_posted: Amount,
    /// All it ever gave.
    pub debits_posted: Amount,
    /// What open reservations may still bring.
    pub credits_pending: Amount,
    /// What open reservations hold back.
    pub debits_pending: Amount,
}

impl Account {
    pub(crate) const fn new(id: AccountId, asset: AssetId, kind: AccountKind) -> Self {
        Self {
            id,
            asset,
            kind,
            credits_posted: Amount::ZERO,
            debits_posted: Amount::ZERO,
            credits_pending: Amount::ZERO,
            debits_pending: Amount::ZERO,
        }
    }

    /// What may be transferred or reserved from this account now.
    ///
    /// For a holder `credits_posted - debits_posted - debits_pending`; for an issuer what its
    /// debit counter can still count.
    #[must_use]
    pub const fn available(&self) -> Amount {
        let credits = match self.kind {
            AccountKind::Issuer => Amount::MAX,
            AccountKind::Holder => self.credits_posted,
        };
        // A valid holder never saturates; a row that was tampered with must not panic here.
        Amount(
            credits
                .0
                .saturating_sub(self.debits_posted.0)
                .saturating_sub(self.debits_pending.0),
        )
    }

    /// Posted balance, including what open reservations hold back. Zero for an issuer that has
    /// put out more than it took back: see [`Account::issued`].
    #[must_use]
    pub const fn balance(&self) -> Amount {
        Amount(self.credits_posted.0.saturating_sub(self.debits_posted.0))
    }

    /// How far the account's posted balance is below zero: the supply an issuer has put out. Zero
    /// for a holder.
    #[must_use]
    pub const fn issued(&self) -> Amount {
        Amount(self.debits_posted.0.saturating_sub(self.credits_posted.0))
    }

    /// What the debit counters can still count.
    pub(crate) const fn debit_room(&self) -> Amount {
        Amount(u128::MAX - self.debits_posted.0 - self.debits_pending.0)
    }

    /// What the credit counters can still count.
    pub(crate) const fn credit_room(&self) -> Amount {
        Amount(u128::MAX - self.credits_posted.0 - self.credits_pending.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(kind: AccountKind) -> Account {
        Account {
            credits_posted: Amount(100),
            debits_posted: Amount(30),
            credits_pending: Amount(50),
            debits_pending: Amount(20),
            ..Account::new(AccountId::from_bytes([1; 16]), AssetId::CREDITS, kind)
        }
    }

    #[test]
    fn holder_has_available_what_is_neither_spent_nor_reserved() {
        let holder = account(AccountKind::Holder);
        assert_eq!(holder.available(), Amount(50));
        assert_eq!(holder.balance(), Amount(70));
        assert_eq!(holder.issued(), Amount::ZERO);
    }

    #[test]
    fn issuer_is_limited_by_its_counter_only() {
        let mut issuer = account(AccountKind::Issuer);
        assert_eq!(issuer.available(), Amount(u128::MAX - 50));
        issuer.debits_posted = Amount(250);
        assert_eq!(issuer.balance(), Amount::ZERO);
        assert_eq!(issuer.issued(), Amount(150));
    }

    #[test]
    fn codes_name_the_kinds() {
        for kind in [AccountKind::Issuer, AccountKind::Holder] {
            assert_eq!(AccountKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(AccountKind::from_code(0), None);
    }
}
