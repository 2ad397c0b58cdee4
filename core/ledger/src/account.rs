//! Accounts: four counters that only ever tell where amounts went.

use fogcompute_base::{AccountId, UnixMillis};
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

/// Bounds of an account beyond its kind's own; [`Limits::default`] sets none.
///
/// They are data of the account, set by [`crate::Operation::Limit`]. A limit that the account
/// already exceeds takes nothing back: it refuses what would exceed it further.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(default)]
pub struct Limits {
    /// Most that an issuer may have out at once, open reservations included, in base units.
    pub max_supply: Option<Amount>,
    /// An issuer takes back no more than it has put out, as `credits_must_not_exceed_debits` of
    /// TigerBeetle.
    pub credits_must_not_exceed_debits: bool,
    /// Most that transfers and posts may take from the account in one UTC day, in base units.
    pub spend_per_day: Option<Amount>,
}

/// What an account has given on the last UTC day on which it gave anything.
///
/// A clock that is set back does not renew a quota: an earlier day counts as this one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Spent {
    /// Days since 1970-01-01.
    pub day: u64,
    /// Base units that transfers and posts have taken on it.
    pub amount: Amount,
}

impl Spent {
    const DAY_MILLIS: u64 = 86_400_000;

    /// What counts at that time: nothing any more if a new day has begun.
    #[must_use]
    pub const fn at(self, now: UnixMillis) -> Self {
        let day = now.0 / Self::DAY_MILLIS;
        if day > self.day {
            Self {
                day,
                amount: Amount::ZERO,
            }
        } else {
            self
        }
    }

    /// When its day ends, and a quota with it.
    #[must_use]
    pub const fn renews_at(self) -> UnixMillis {
        UnixMillis(self.day.saturating_add(1).saturating_mul(Self::DAY_MILLIS))
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
    /// Bounds beyond those of its kind.
    #[serde(default)]
    pub limits: Limits,
    /// It gives and receives nothing any more.
    #[serde(default)]
    pub closed: bool,
    /// What counts against `spend_per_day`.
    #[serde(default)]
    pub spent: Spent,
}

impl Account {
    /// An account that was just opened.
    #[must_use]
    pub const fn new(id: AccountId, asset: AssetId, kind: AccountKind) -> Self {
        Self {
            id,
            asset,
            kind,
            credits_posted: Amount::ZERO,
            debits_posted: Amount::ZERO,
            credits_pending: Amount::ZERO,
            debits_pending: Amount::ZERO,
            limits: Limits {
                max_supply: None,
                credits_must_not_exceed_debits: false,
                spend_per_day: None,
            },
            closed: false,
            spent: Spent {
                day: 0,
                amount: Amount::ZERO,
            },
        }
    }

    /// What may be transferred or reserved from this account now.
    ///
    /// For a holder `credits_posted - debits_posted - debits_pending`; for an issuer what its
    /// limit on supply leaves, or its debit counter can still count. What a quota leaves of the day
    /// is [`Account::spend_left`].
    #[must_use]
    pub fn available(&self) -> Amount {
        let credits = match self.kind {
            AccountKind::Issuer => Amount::MAX,
            AccountKind::Holder => self.credits_posted,
        };
        // A valid holder never saturates; a row that was tampered with must not panic here.
        let room = Amount(
            credits
                .0
                .saturating_sub(self.debits_posted.0)
                .saturating_sub(self.debits_pending.0),
        );
        self.supply_left().map_or(room, |left| left.min(room))
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

    /// What transfers and posts may still take from the account on the day of `now`; `None` is no
    /// quota.
    #[must_use]
    pub fn spend_left(&self, now: UnixMillis) -> Option<Amount> {
        let quota = self.limits.spend_per_day?;
        let spent = self.spent.at(now).amount;
        Some(Amount(quota.0.saturating_sub(spent.0)))
    }

    /// What an issuer may still put out under its cap; `None` is no cap.
    #[must_use]
    pub fn supply_left(&self) -> Option<Amount> {
        let max = self.limits.max_supply?;
        let debits = self.debits_posted.0.saturating_add(self.debits_pending.0);
        let out = debits.saturating_sub(self.credits_posted.0);
        Some(Amount(max.0.saturating_sub(out)))
    }

    /// What an issuer may still take back; `None` is no limit.
    #[must_use]
    pub fn return_left(&self) -> Option<Amount> {
        let credits = self.credits_posted.0.saturating_add(self.credits_pending.0);
        let limited = self.limits.credits_must_not_exceed_debits;
        limited.then(|| Amount(self.debits_posted.0.saturating_sub(credits)))
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
    fn quota_counts_days_of_the_calendar_and_does_not_go_back() {
        let mut holder = account(AccountKind::Holder);
        assert_eq!(holder.spend_left(UnixMillis(0)), None);
        holder.limits.spend_per_day = Some(Amount(10));
        holder.spent = Spent {
            day: 2,
            amount: Amount(7),
        };
        for (millis, left) in [
            (0, 3),
            (2 * 86_400_000, 3),
            (3 * 86_400_000 - 1, 3),
            (3 * 86_400_000, 10),
        ] {
            assert_eq!(holder.spend_left(UnixMillis(millis)), Some(Amount(left)));
        }
        assert_eq!(holder.spent.renews_at(), UnixMillis(3 * 86_400_000));
        holder.limits.spend_per_day = Some(Amount(5));
        assert_eq!(holder.spend_left(UnixMillis(0)), Some(Amount::ZERO));
    }

    #[test]
    fn issuer_is_capped_by_what_is_out_and_promised() {
        let mut issuer = account(AccountKind::Issuer);
        assert_eq!((issuer.supply_left(), issuer.return_left()), (None, None));
        issuer.debits_posted = Amount(200);
        issuer.limits.max_supply = Some(Amount(150));
        issuer.limits.credits_must_not_exceed_debits = true;
        // 200 given and 20 promised, 100 back; 50 more are promised back.
        assert_eq!(issuer.supply_left(), Some(Amount(30)));
        assert_eq!(issuer.return_left(), Some(Amount(50)));
    }

    #[test]
    fn codes_name_the_kinds() {
        for kind in [AccountKind::Issuer, AccountKind::Holder] {
            assert_eq!(AccountKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(AccountKind::from_code(0), None);
    }
}
