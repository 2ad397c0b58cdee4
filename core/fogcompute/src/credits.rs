//! A durable ledger that can be shared between threads.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fogcompute_base::{AccountId, Clock, SystemClock, TransferId, UnixMillis};
use fogcompute_ledger::{Account, AccountKind, Amount, AssetId, Memo, Operation, Receipt};
use fogcompute_store::{Durability, HomeProcess, SqliteLedger, Verification};

use crate::Error;

/// Double-entry credits in a SQLite file, or in memory. Every call is one transaction; the calls of
/// several threads take turns.
///
/// What is reserved until a certain time is free again from then on: expired reservations are
/// released before anything else is done, and before a balance is told.
///
/// A ledger stays with the process that opened it: in a forked child every call fails and touches
/// nothing ([`StoreError::Forked`](fogcompute_store::StoreError::Forked)).
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
    home: HomeProcess,
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
            home: HomeProcess::here(),
        }
    }

    fn store(&self) -> Result<MutexGuard<'_, SqliteLedger>, Error> {
        // Before the lock: a thread that only the parent of this process has may hold it.
        self.home.check()?;
        // A panic of another thread cannot leave the store half-changed: it commits or does not.
        Ok(self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store, without what has expired, and the time.
    fn store_now(&self) -> Result<(MutexGuard<'_, SqliteLedger>, UnixMillis), Error> {
        let mut store = self.store()?;
        let now = self.clock.unix_now();
        while store.state().next_expiry().is_some_and(|due| due <= now) {
            store.expire(now)?;
        }
        Ok((store, now))
    }

    /// Executes a batch as a whole or not at all.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn execute(&self, batch: &[Operation]) -> Result<Vec<Receipt>, Error> {
        let (mut store, now) = self.store_now()?;
        Ok(store.execute(batch, now)?)
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
            memo: Memo::NONE,
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
            memo: Memo::NONE,
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
    /// [`Error::UnknownAccount`], [`Error::Store`].
    pub fn account(&self, account: AccountId) -> Result<Account, Error> {
        let (store, _) = self.store_now()?;
        let found = store.account(account).copied();
        found.ok_or(Error::UnknownAccount { account })
    }

    /// What a holder can spend: credits less debits less what is reserved.
    ///
    /// # Errors
    /// [`Error::UnknownAccount`], [`Error::Store`].
    pub fn balance(&self, account: AccountId) -> Result<Amount, Error> {
        Ok(self.account(account)?.available())
    }

    /// Checks the whole history against its chain of digests and the balances.
    ///
    /// # Errors
    /// [`Error::Store`] says what is damaged.
    pub fn verify(&self) -> Result<Verification, Error> {
        Ok(self.store()?.verify()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use fogcompute_store::StoreError;
    use tempfile::TempDir;

    const MINT: AccountId = AccountId::from_bytes([1; 16]);
    const ANA: AccountId = AccountId::from_bytes([2; 16]);
    const BEN: AccountId = AccountId::from_bytes([3; 16]);

    fn id(n: u8) -> TransferId {
        TransferId::from_bytes([n; 16])
    }

    fn open(folder: &TempDir) -> Ledger {
        Ledger::open(folder.path().join("ledger")).unwrap()
    }

    /// Ana has 10, of which 7 were reserved until a second of the year 2023.
    fn with_expired_reservation() -> TempDir {
        let then = UnixMillis(1_700_000_000_000);
        let credits = |account, kind| Operation::Open {
            account,
            asset: AssetId::CREDITS,
            kind,
        };
        let batch = [
            credits(MINT, AccountKind::Issuer),
            credits(ANA, AccountKind::Holder),
            credits(BEN, AccountKind::Holder),
            Operation::Transfer {
                id: id(1),
                from: MINT,
                to: ANA,
                amount: Amount(10),
                memo: Memo::NONE,
            },
            Operation::Reserve {
                id: id(2),
                from: ANA,
                to: BEN,
                amount: Amount(7),
                expires: Some(UnixMillis(then.0 + 1_000)),
                memo: Memo::NONE,
            },
        ];
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger");
        let mut store = SqliteLedger::open(path, Durability::Full).unwrap();
        store.execute(&batch, then).unwrap();
        assert_eq!(store.account(ANA).unwrap().available(), Amount(3));
        folder
    }

    #[test]
    fn what_has_expired_is_free_again_without_asking() {
        // Nobody called `expire`, so the money stayed reserved for as long as the ledger was used.
        let ledger = open(&with_expired_reservation());
        assert_eq!(ledger.balance(ANA).unwrap(), Amount(10));
        let ledger = open(&with_expired_reservation());
        ledger.transfer(id(3), ANA, BEN, Amount(10)).unwrap();
        let ledger = open(&with_expired_reservation());
        assert_eq!(ledger.account(ANA).unwrap().debits_pending, Amount(0));
        assert_eq!(ledger.verify().unwrap().open_reservations, 0);
    }

    #[test]
    fn changes_wait_for_the_disk() {
        let folder = TempDir::new().unwrap();
        let ledger = open(&folder);
        let durability = ledger.store().unwrap().durability().unwrap();
        assert_eq!(durability, Durability::Full);
    }

    #[test]
    fn forked_child_is_refused_before_it_waits_for_a_lock() {
        let mut ledger = Ledger::in_memory().unwrap();
        ledger.open_account(ANA, AccountKind::Holder).unwrap();
        ledger.home = HomeProcess::of(std::process::id() + 1);
        // What a thread of the parent held when the child was made is never let go of.
        let held = ledger.store.lock().unwrap();
        for error in [
            ledger.execute(&[]).unwrap_err(),
            ledger.balance(ANA).unwrap_err(),
            ledger.account(ANA).unwrap_err(),
            ledger.verify().unwrap_err(),
        ] {
            assert!(
                matches!(error, Error::Store(StoreError::Forked { .. })),
                "{error}"
            );
            assert_eq!(error.code(), ErrorCode::Closed);
        }
        drop(held);
    }

    #[test]
    fn what_is_no_file_is_an_argument_that_is_refused() {
        for path in ["", ":memory:", "file:x", "a\0b"] {
            let error = Ledger::open(path).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
        }
    }

    #[test]
    fn reservation_that_never_was_is_unknown() {
        let ledger = Ledger::in_memory().unwrap();
        for error in [
            ledger.post(id(1), id(9), None).unwrap_err(),
            ledger.void(id(1), id(9)).unwrap_err(),
        ] {
            assert_eq!(error.code(), ErrorCode::UnknownReservation, "{error}");
        }
    }
}
