//! A durable ledger that can be shared between threads.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fogcompute_base::{AccountId, Clock, SystemClock, TransferId};
use fogcompute_ledger::{Account, AccountKind, Amount, AssetId, Operation, Receipt};
use fogcompute_store::{Durability, SqliteLedger, Verification};

use crate::Error;

/// Double-entry credits in a SQLite file, or in memory. Every call is one transaction; the calls of
/// several threads take turns.
///
/// ```
/// use fogcompute::{AccountId, AccountKind, Amount, Ledger, TransferId};
///
/// let ledger = Ledger::in_memory()?;
/// let (mint, alice) = (AccountId::from_bytes([1; 16]), AccountId::from_bytes([2; 16]));
/// ledger.open_account(mint, AccountKind::Issuer)?;
/// ledger.open_account(alice, AccountKind::Holder)?;
/// let id = TransferId::from_bytes([3; 16]);
/// ledger.transfer(id, mint, alice, Amount::from_credits(5))?;
/// assert_eq!(ledger.balance(alice)?, Amount::from_credits(5));
/// // The same request again moves nothing.
/// assert!(ledger.transfer(id, mint, alice, Amount::from_credits(5))?.replayed);
/// # Ok::<(), fogcompute::Error>(())
/// ```
#[derive(Debug)]
pub struct Ledger {
    store: Mutex<SqliteLedger>,
    clock: SystemClock,
}

impl Ledger {
    /// Opens a ledger's file, or makes it. Every change waits for the disk.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::new(SqliteLedger::open(path, Durability::Full)?))
    }

    /// A ledger that ends with the process.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn in_memory() -> Result<Self, Error> {
        Ok(Self::new(SqliteLedger::in_memory()?))
    }

    fn new(store: SqliteLedger) -> Self {
        Self {
            store: Mutex::new(store),
            clock: SystemClock::new(),
        }
    }

    /// A panic of another thread cannot leave the store half-changed: it commits or does not.
    fn store(&self) -> MutexGuard<'_, SqliteLedger> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Executes a batch as a whole or not at all.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn execute(&self, batch: &[Operation]) -> Result<Vec<Receipt>, Error> {
        Ok(self.store().execute(batch, self.clock.unix_now())?)
    }

    fn execute_one(&self, operation: Operation) -> Result<Receipt, Error> {
        let receipts = self.execute(&[operation])?;
        Ok(*receipts.first().expect("a batch of one has one receipt"))
    }

    /// Opens an account for credits.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn open_account(&self, account: AccountId, kind: AccountKind) -> Result<Receipt, Error> {
        self.execute_one(Operation::Open {
            account,
            asset: AssetId::CREDITS,
            kind,
        })
    }

    /// Moves an amount from one account to another. From an issuer it mints, to one it burns.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn transfer(
        &self,
        id: TransferId,
        from: AccountId,
        to: AccountId,
        amount: Amount,
    ) -> Result<Receipt, Error> {
        self.execute_one(Operation::Transfer {
            id,
            from,
            to,
            amount,
        })
    }

    /// Holds an amount back for a later [`Ledger::post`] or [`Ledger::void`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn reserve(
        &self,
        id: TransferId,
        from: AccountId,
        to: AccountId,
        amount: Amount,
    ) -> Result<Receipt, Error> {
        self.execute_one(Operation::Reserve {
            id,
            from,
            to,
            amount,
            expires: None,
        })
    }

    /// Moves a reserved amount, or part of it; what is left is released.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn post(
        &self,
        id: TransferId,
        reservation: TransferId,
        amount: Option<Amount>,
    ) -> Result<Receipt, Error> {
        self.execute_one(Operation::Post {
            id,
            reservation,
            amount,
        })
    }

    /// Releases a reservation.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn void(&self, id: TransferId, reservation: TransferId) -> Result<Receipt, Error> {
        self.execute_one(Operation::Void { id, reservation })
    }

    /// An account as it stands.
    ///
    /// # Errors
    /// [`Error::UnknownAccount`].
    pub fn account(&self, account: AccountId) -> Result<Account, Error> {
        let found = self.store().account(account).copied();
        found.ok_or(Error::UnknownAccount { account })
    }

    /// What a holder can spend: credits less debits less what is reserved.
    ///
    /// # Errors
    /// [`Error::UnknownAccount`].
    pub fn balance(&self, account: AccountId) -> Result<Amount, Error> {
        Ok(self.account(account)?.available())
    }

    /// Checks the whole history against its chain of digests and the balances.
    ///
    /// # Errors
    /// [`Error::Store`] says what is damaged.
    pub fn verify(&self) -> Result<Verification, Error> {
        Ok(self.store().verify()?)
    }
}
