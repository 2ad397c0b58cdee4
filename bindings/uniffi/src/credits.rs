//! The ledger.

use std::sync::Arc;

use fogcompute::{AccountId, AccountKind, Amount, TransferId};

use crate::FogError;
use crate::error::guarded;

/// What an account may do.
#[uniffi::remote(Enum)]
pub enum AccountKind {
    /// Puts credits out and takes them back: its debits may exceed its credits.
    Issuer,
    /// Holds what it was given.
    Holder,
}

/// An account as it stands. Amounts are decimal text of base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Account {
    /// Id, 32 hexadecimal digits.
    pub id: String,
    /// What it may do.
    pub kind: AccountKind,
    /// What may be transferred or reserved from it now.
    pub available: String,
    /// All it ever received.
    pub credits_posted: String,
    /// All it ever gave.
    pub debits_posted: String,
    /// What open reservations may still bring.
    pub credits_pending: String,
    /// What open reservations hold back.
    pub debits_pending: String,
}

impl From<fogcompute::Account> for Account {
    fn from(account: fogcompute::Account) -> Self {
        Self {
            id: account.id.to_string(),
            kind: account.kind,
            available: account.available().to_string(),
            credits_posted: account.credits_posted.to_string(),
            debits_posted: account.debits_posted.to_string(),
            credits_pending: account.credits_pending.to_string(),
            debits_pending: account.debits_pending.to_string(),
        }
    }
}

/// What an operation did.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Receipt {
    /// Place of its entry in the history, from 1 without gaps.
    pub sequence: u64,
    /// Whether it had been done before: nothing moved this time.
    pub replayed: bool,
}

impl From<fogcompute::Receipt> for Receipt {
    fn from(receipt: fogcompute::Receipt) -> Self {
        Self {
            sequence: receipt.entry.sequence,
            replayed: receipt.replayed,
        }
    }
}

/// What a check of the whole history went through.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Verification {
    /// Entries that were carried out again.
    pub entries: u64,
    /// Digest of the last entry and so of the whole history, 64 hexadecimal digits.
    pub chain: String,
    /// Accounts that were compared.
    pub accounts: u64,
    /// Reservations that hold something back.
    pub open_reservations: u64,
}

impl From<fogcompute::store::Verification> for Verification {
    fn from(verification: fogcompute::store::Verification) -> Self {
        Self {
            entries: verification.head.sequence,
            chain: verification.head.chain.to_string(),
            accounts: verification.accounts as u64,
            open_reservations: verification.open_reservations as u64,
        }
    }
}

/// Double-entry credits in a SQLite file, or in memory. Every call is one transaction; the calls
/// of several threads take turns.
///
/// Accounts, transfers and reservations are named by 32 hexadecimal digits, amounts are decimal
/// text of base units: one credit is 10¹⁸ of them. An operation that is asked for again under its
/// id moves nothing and returns a receipt that says so.
#[derive(uniffi::Object)]
pub struct Ledger(fogcompute::Ledger);

#[uniffi::export]
impl Ledger {
    /// Opens a ledger's file, or makes it. Every change waits for the disk.
    ///
    /// # Errors
    /// [`FogError::Storage`], [`FogError::StorageLocked`], [`FogError::StorageCorrupt`].
    #[uniffi::constructor]
    pub fn open(path: String) -> Result<Arc<Self>, FogError> {
        guarded(|| Ok(Arc::new(Self(fogcompute::Ledger::open(path)?))))
    }

    /// A ledger that ends with the process.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    #[uniffi::constructor]
    pub fn in_memory() -> Result<Arc<Self>, FogError> {
        guarded(|| Ok(Arc::new(Self(fogcompute::Ledger::in_memory()?))))
    }

    /// Opens an account for credits.
    ///
    /// # Errors
    /// [`FogError::AccountExists`] if it is open with another kind.
    pub fn open_account(&self, account: String, kind: AccountKind) -> Result<Receipt, FogError> {
        guarded(|| Ok(self.0.open_account(account.parse()?, kind)?.into()))
    }

    /// Moves an amount from one account to another. From an issuer it mints, to one it burns.
    ///
    /// # Errors
    /// [`FogError::InsufficientFunds`], [`FogError::UnknownAccount`], [`FogError::IdReused`],
    /// [`FogError::InvalidOperation`].
    pub fn transfer(
        &self,
        id: String,
        from: String,
        to: String,
        amount: String,
    ) -> Result<Receipt, FogError> {
        guarded(|| {
            let (id, from, to, amount) = movement(&id, &from, &to, &amount)?;
            Ok(self.0.transfer(id, from, to, amount)?.into())
        })
    }

    /// Holds an amount back for a later `post` or `void`.
    ///
    /// # Errors
    /// As for `transfer`.
    pub fn reserve(
        &self,
        id: String,
        from: String,
        to: String,
        amount: String,
    ) -> Result<Receipt, FogError> {
        guarded(|| {
            let (id, from, to, amount) = movement(&id, &from, &to, &amount)?;
            Ok(self.0.reserve(id, from, to, amount)?.into())
        })
    }

    /// Moves a reserved amount, or part of it; what is left is released.
    ///
    /// # Errors
    /// [`FogError::UnknownReservation`], [`FogError::ReservationClosed`],
    /// [`FogError::InsufficientFunds`], [`FogError::IdReused`].
    #[uniffi::method(default(amount = None))]
    pub fn post(
        &self,
        id: String,
        reservation: String,
        amount: Option<String>,
    ) -> Result<Receipt, FogError> {
        guarded(|| {
            let amount = amount.map(|amount| amount.parse()).transpose()?;
            let (id, reservation) = (id.parse()?, reservation.parse()?);
            Ok(self.0.post(id, reservation, amount)?.into())
        })
    }

    /// Releases a reservation.
    ///
    /// # Errors
    /// [`FogError::UnknownReservation`], [`FogError::ReservationClosed`], [`FogError::IdReused`].
    pub fn void(&self, id: String, reservation: String) -> Result<Receipt, FogError> {
        guarded(|| Ok(self.0.void(id.parse()?, reservation.parse()?)?.into()))
    }

    /// What a holder can spend, in base units: credits less debits less what is reserved.
    ///
    /// # Errors
    /// [`FogError::UnknownAccount`].
    pub fn balance(&self, account: String) -> Result<String, FogError> {
        guarded(|| Ok(self.0.balance(account.parse()?)?.to_string()))
    }

    /// An account as it stands.
    ///
    /// # Errors
    /// [`FogError::UnknownAccount`].
    pub fn account(&self, account: String) -> Result<Account, FogError> {
        guarded(|| Ok(self.0.account(account.parse()?)?.into()))
    }

    /// Checks the whole history against its chain of digests and the balances.
    ///
    /// # Errors
    /// [`FogError::StorageCorrupt`] says what is damaged.
    pub fn verify(&self) -> Result<Verification, FogError> {
        guarded(|| Ok(self.0.verify()?.into()))
    }
}

fn movement(
    id: &str,
    from: &str,
    to: &str,
    amount: &str,
) -> Result<(TransferId, AccountId, AccountId, Amount), FogError> {
    Ok((id.parse()?, from.parse()?, to.parse()?, amount.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> String {
        format!("{byte:02x}").repeat(16)
    }

    #[test]
    fn amounts_and_ids_go_through_as_text() {
        let ledger = Ledger::in_memory().unwrap();
        ledger.open_account(id(1), AccountKind::Issuer).unwrap();
        ledger.open_account(id(2), AccountKind::Holder).unwrap();
        let amount = "340282366920938463463374607431768211455";
        let receipt = ledger.transfer(id(3), id(1), id(2), amount.to_owned());
        assert!(!receipt.unwrap().replayed);
        assert_eq!(ledger.balance(id(2)).unwrap(), amount);
        assert_eq!(ledger.verify().unwrap().entries, 3);
        let error = ledger.transfer(id(4), id(1), id(2), "1.5".to_owned());
        assert!(matches!(error, Err(FogError::InvalidArgument { .. })));
        let error = ledger.balance("zz".to_owned());
        assert!(matches!(error, Err(FogError::InvalidArgument { .. })));
    }
}
