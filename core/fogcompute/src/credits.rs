//! A durable ledger that can be shared between threads.

mod economy;
mod entry;
mod governance;
mod group;
mod signing;

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ed25519_dalek::SigningKey;
use fogcompute_base::{AccountId, Clock, SystemClock, TransferId, UnixMillis};
use fogcompute_ledger::{
    Account, AccountKind, Amount, AssetId, Head, LedgerError, Limits, Memo, Operation, PublicKey,
    Receipt, SignedBatch, SignedCheckpoint,
};
use fogcompute_store::{
    Asked, Durability, HomeProcess, LedgerOptions, Opening, SqliteLedger, Standing, StoreError,
    TextFormat, Verification,
};

pub use self::economy::{
    EconomyOperator, EconomyReceipt, EconomyStake, LedgerEconomy, earn_request, economy_from_json,
    economy_to_json, moved, purse_account,
};
pub use self::entry::LedgerEntry;
pub use self::governance::{
    GovernanceMember, GovernanceOverview, GovernanceProposal, LedgerGovernance, action_from_json,
    action_to_json, governance_records_to_json, proposal_from_json, proposal_to_json,
};
use self::group::Group;
pub use self::signing::{
    batch_message, decode_batch, decode_checkpoint, owner_key, sign_batch, verify_checkpoint,
};
use crate::Error;

/// Most accounts, entries or reservations that one page has.
pub const LEDGER_PAGE_MAX: usize = fogcompute_store::ENTRIES_PAGE_MAX;

/// A moment of a ledger's past.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// After the entry of that sequence.
    Sequence(u64),
    /// After the last entry that was made by that time.
    Time(UnixMillis),
}

/// Double-entry credits in a SQLite file, or in memory. Every call is one transaction; the calls of
/// several threads take turns, and batches that wait while the disk is busy share one wait for it.
///
/// What is reserved until a certain time is free again from then on: expired reservations are
/// released before anything else is done, and before an account is told of.
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
    group: Group,
    clock: SystemClock,
    /// The time that was set in place of the clock's.
    time: Mutex<Option<UnixMillis>>,
    home: HomeProcess,
}

impl Ledger {
    /// Opens a ledger's file, or makes it. Every change waits for the disk.
    ///
    /// An empty file is a new ledger: it is what a process leaves that was killed while it made
    /// one. A file that holds anything else is refused
    /// ([`ErrorCode::StorageForeign`](crate::ErrorCode::StorageForeign)) and left as it is.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, LedgerOptions::default())
    }

    /// Opens a ledger's file, or makes it, with options: what a power cut may cost, and how often
    /// a snapshot is made.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn open_with(path: impl AsRef<Path>, options: LedgerOptions) -> Result<Self, Error> {
        Ok(Self::new(SqliteLedger::open_with(path, options)?))
    }

    /// Opens a ledger's file that is there already, so that a mistyped name makes no new ledger.
    /// An empty file is no ledger.
    ///
    /// # Errors
    /// [`Error::Store`]: without a file with the code
    /// [`ErrorCode::StorageMissing`](crate::ErrorCode::StorageMissing).
    pub fn open_existing(path: impl AsRef<Path>, options: LedgerOptions) -> Result<Self, Error> {
        Ok(Self::new(SqliteLedger::open_existing(path, options)?))
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
            group: Group::default(),
            clock: SystemClock::new(),
            time: Mutex::new(None),
            home: HomeProcess::here(),
        }
    }

    fn store(&self) -> Result<MutexGuard<'_, SqliteLedger>, Error> {
        // Before the lock: a thread that only the parent of this process has may hold it.
        self.home.check()?;
        // A panic of another thread cannot leave the store half-changed: it commits or does not.
        Ok(self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The time. Only for who knows that this is the process that opened the ledger.
    fn time(&self) -> UnixMillis {
        let set = *self.time.lock().unwrap_or_else(PoisonError::into_inner);
        set.unwrap_or_else(|| self.clock.unix_now())
    }

    /// The store, without what has expired, and the time.
    fn store_now(&self) -> Result<(MutexGuard<'_, SqliteLedger>, UnixMillis), Error> {
        let mut store = self.store()?;
        let now = self.time();
        release(&mut store, now)?;
        Ok((store, now))
    }

    /// Executes a batch as a whole or not at all. There is a receipt for each operation.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn execute(&self, batch: impl Into<Vec<Operation>>) -> Result<Vec<Receipt>, Error> {
        let batch: Vec<Operation> = batch.into();
        self.carry_out(batch.into())
    }

    /// Waits for a turn, and carries out everything that is waiting then.
    fn carry_out(&self, asked: Asked) -> Result<Vec<Receipt>, Error> {
        self.home.check()?;
        let ticket = self.group.enter(asked);
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = ticket.outcome() {
                return Ok(outcome?);
            }
            // Nobody takes batches but who holds the store: the own one is waiting still.
            let now = self.time();
            if let Err(error) = release(&mut store, now) {
                self.group.leave(&ticket);
                return Err(error);
            }
            let next = self.group.next();
            if next.is_empty() {
                // Whoever took it has panicked.
                return Err(StoreError::GroupFailed { unsure: true }.into());
            }
            let (group, tickets): (Vec<_>, Vec<_>) = next
                .into_iter()
                .map(|(asked, ticket)| ((asked, now), ticket))
                .unzip();
            for (outcome, ticket) in store.execute_group(&group).into_iter().zip(tickets) {
                ticket.settle(outcome);
            }
        }
    }

    /// Executes one operation.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn perform(&self, operation: Operation) -> Result<Receipt, Error> {
        self.execute(vec![operation]).map(only)
    }

    /// Executes a batch that the owner of an account has signed, as a whole or not at all.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn execute_signed(&self, batch: &SignedBatch) -> Result<Vec<Receipt>, Error> {
        self.carry_out(batch.clone().into())
    }

    /// Executes many signed batches, each as a whole or not at all by itself, with one wait for
    /// the disk and the signatures checked together. There is an outcome for each.
    ///
    /// # Errors
    /// [`Error::Store`] if none could be tried.
    pub fn execute_all_signed(
        &self,
        batches: Vec<SignedBatch>,
    ) -> Result<Vec<Result<Vec<Receipt>, Error>>, Error> {
        let (mut store, now) = self.store_now()?;
        let group: Vec<_> = (batches.into_iter())
            .map(|batch| (Asked::Signed(batch), now))
            .collect();
        let outcomes = store.execute_group(&group).into_iter();
        Ok(outcomes.map(|outcome| Ok(outcome?)).collect())
    }

    /// Opens an account for credits.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn open_account(&self, account: AccountId, kind: AccountKind) -> Result<Receipt, Error> {
        self.perform(Operation::Open {
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
        self.perform(Operation::Transfer {
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
        self.perform(Operation::Reserve {
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
        self.perform(Operation::Post {
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
        self.perform(Operation::Void { id, reservation })
    }

    /// Sets all limits of an account anew.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn limit(
        &self,
        id: TransferId,
        account: AccountId,
        limits: Limits,
    ) -> Result<Receipt, Error> {
        self.perform(Operation::Limit {
            id,
            account,
            limits,
        })
    }

    /// Closes an account for good. It must be empty, and nothing reserved from or for it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn close_account(&self, id: TransferId, account: AccountId) -> Result<Receipt, Error> {
        self.perform(Operation::Close { id, account })
    }

    /// Registers the key whose signatures move an account's money. Once governance is established, a
    /// key that is there is replaced by a signature under it alone
    /// ([`execute_signed`](Self::execute_signed)).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn own(
        &self,
        id: TransferId,
        account: AccountId,
        key: PublicKey,
    ) -> Result<Receipt, Error> {
        self.perform(Operation::Own { id, account, key })
    }

    /// Number of the next signature for an account.
    ///
    /// # Errors
    /// [`Error::Store`] with [`LedgerError::NoOwner`] if nobody can sign for it.
    pub fn next_nonce(&self, account: AccountId) -> Result<u64, Error> {
        let owner = self.store()?.state().owner(account);
        let owner = owner.ok_or(StoreError::Ledger(LedgerError::NoOwner { account }))?;
        Ok(owner.nonce.saturating_add(1))
    }

    /// The key whose signatures move an account's money, if one was registered.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn owner(&self, account: AccountId) -> Result<Option<PublicKey>, Error> {
        Ok(self.store()?.state().owner(account).map(|owner| owner.key))
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

    /// Accounts with an id above `after`, by id: at most `limit`, at most [`LEDGER_PAGE_MAX`].
    ///
    /// Complexity: O(accounts · log accounts).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn accounts(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<Account>, Error> {
        let (store, _) = self.store_now()?;
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let accounts = store.state().accounts();
        Ok(accounts
            .filter(|account| (after, Bound::Unbounded).contains(&account.id))
            .take(limit.min(LEDGER_PAGE_MAX))
            .copied()
            .collect())
    }

    /// What a holder has: credits less debits, including what open reservations hold back
    /// ([`Account::balance`]).
    ///
    /// # Errors
    /// [`Error::UnknownAccount`], [`Error::Store`].
    pub fn balance(&self, account: AccountId) -> Result<Amount, Error> {
        Ok(self.account(account)?.balance())
    }

    /// What a holder can spend: its balance less what open reservations hold back
    /// ([`Account::available`]).
    ///
    /// # Errors
    /// [`Error::UnknownAccount`], [`Error::Store`].
    pub fn available(&self, account: AccountId) -> Result<Amount, Error> {
        Ok(self.account(account)?.available())
    }

    /// What an account had received and given at some moment; `None` if it was opened later.
    ///
    /// # Errors
    /// [`Error::UnknownAccount`], [`Error::Store`].
    pub fn balance_as_of(
        &self,
        account: AccountId,
        moment: Moment,
    ) -> Result<Option<Standing>, Error> {
        let (mut store, _) = self.store_now()?;
        if store.account(account).is_none() {
            return Err(Error::UnknownAccount { account });
        }
        Ok(match moment {
            Moment::Sequence(sequence) => store.as_of(account, sequence)?,
            Moment::Time(time) => store.as_of_time(account, time)?,
        })
    }

    /// What all holders of an asset have together, in base units; `None` if it cannot be counted.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn supply(&self, asset: AssetId) -> Result<Option<Amount>, Error> {
        Ok(self.store()?.state().supply(asset))
    }

    /// The entry that an id was used for, to learn what became of a request whose answer was lost.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn entry(&self, id: TransferId) -> Result<Option<LedgerEntry>, Error> {
        Ok(self.store()?.entry(id)?.as_ref().map(Into::into))
    }

    /// Entries after that sequence, in order: at most `limit`, at most [`LEDGER_PAGE_MAX`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn entries(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, Error> {
        let entries = self.store_now()?.0.entries(after, limit)?;
        Ok(entries.iter().map(Into::into).collect())
    }

    /// Entries after that sequence that name the account, in order: at most `limit`, at most
    /// [`LEDGER_PAGE_MAX`].
    ///
    /// # Errors
    /// [`Error::UnknownAccount`], [`Error::Store`].
    pub fn history(
        &self,
        account: AccountId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, Error> {
        let (mut store, _) = self.store_now()?;
        if store.account(account).is_none() {
            return Err(Error::UnknownAccount { account });
        }
        let entries = store.history(account, after, limit)?;
        Ok(entries.iter().map(Into::into).collect())
    }

    /// The time at which an operation would happen now: the wall clock's, or the one that was set.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn now(&self) -> Result<UnixMillis, Error> {
        self.home.check()?;
        Ok(self.time())
    }

    /// Lets everything happen at that time from now on, for simulations and tests, or at the wall
    /// clock's again if there is none. It is not part of the file.
    ///
    /// Nothing happens by this alone: [`expire`](Self::expire), or the next call, does what the time
    /// brings. Staking and earning never go back: before the time of their last operation they
    /// refuse ([`ErrorCode::ClockBehind`](crate::ErrorCode::ClockBehind)), also once the wall clock
    /// has its say again.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn set_time(&self, time: Option<UnixMillis>) -> Result<(), Error> {
        self.home.check()?;
        if let Some(time) = time.filter(|time| i64::try_from(time.0).is_err()) {
            // No file could hold what is done then.
            return Err(StoreError::TimeOutOfRange { time }.into());
        }
        *self.time.lock().unwrap_or_else(PoisonError::into_inner) = time;
        Ok(())
    }

    /// Does what time brings: releases the reservations whose time has come, pays out stake that
    /// has left and frees stake that has moved. Says how many they were. Every other call does so
    /// before it begins; this is for ledgers that nobody calls.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn expire(&self) -> Result<usize, Error> {
        let mut store = self.store()?;
        release(&mut store, self.time())
    }

    /// Where the history ends.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn head(&self) -> Result<Head, Error> {
        Ok(self.store()?.state().head())
    }

    /// What opening found: the snapshot it started from, and whether one was damaged.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn opening(&self) -> Result<Opening, Error> {
        Ok(self.store()?.opening())
    }

    /// What a power cut may cost, as the file has it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn durability(&self) -> Result<Durability, Error> {
        Ok(self.store()?.durability()?)
    }

    /// Checks the whole history against its chain of digests and the balances.
    ///
    /// # Errors
    /// [`Error::Store`] says what is damaged.
    pub fn verify(&self) -> Result<Verification, Error> {
        Ok(self.store()?.verify()?)
    }

    /// The same, and that this is the history of which `key` signed a checkpoint: nothing before
    /// that was rewritten since.
    ///
    /// # Errors
    /// [`Error::Store`] says what is damaged, forged or missing.
    pub fn verify_since(
        &self,
        checkpoint: &SignedCheckpoint,
        key: &PublicKey,
    ) -> Result<Verification, Error> {
        Ok(self.store()?.verify_since(checkpoint, key)?)
    }

    /// A statement about the ledger as it is now, signed with an Ed25519 secret, for others to
    /// keep.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn checkpoint(&self, secret: &[u8; 32]) -> Result<SignedCheckpoint, Error> {
        let (store, now) = self.store_now()?;
        Ok(store.checkpoint(now, &SigningKey::from_bytes(secret)))
    }

    /// SQLite's own check of pages, indexes and rows.
    ///
    /// # Errors
    /// [`Error::Store`] says what is damaged.
    pub fn check_integrity(&self) -> Result<(), Error> {
        Ok(self.store()?.check_integrity()?)
    }

    /// Makes a snapshot now, so that opening has nothing to carry out again.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn snapshot(&self) -> Result<(), Error> {
        Ok(self.store()?.snapshot()?)
    }

    /// Copies the ledger into a new file, which is a ledger of its own.
    ///
    /// # Errors
    /// [`Error::Store`]; an existing file is not replaced.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.store()?.backup(path)?)
    }

    /// Writes the history into a new file as text, and says how many entries that were. Without a
    /// format it is the one that the file's name tells ([`TextFormat::of_name`]).
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::File`], [`Error::UnknownFormat`]; an existing file is not
    /// replaced, and a failure leaves none.
    pub fn export(&self, path: impl AsRef<Path>, format: Option<TextFormat>) -> Result<u64, Error> {
        let path = path.as_ref();
        let format = format_of(path, format)?;
        let store = self.store()?;
        let file = File::create_new(path).map_err(|source| Error::file(path, source))?;
        let exported = store.export(format, &mut BufWriter::new(file));
        exported.map_err(|error| {
            // What is there is part of a history only, and no more can be done if it stays.
            drop(fs::remove_file(path));
            of_file(path, error)
        })
    }

    /// Reads a history that [`export`](Self::export) wrote into this ledger, which must be empty.
    /// Every entry is carried out again and must come out the same; all of them or nothing. Without
    /// a format it is the one that the file's name tells.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::File`], [`Error::UnknownFormat`].
    pub fn import(&self, path: impl AsRef<Path>, format: Option<TextFormat>) -> Result<(), Error> {
        let path = path.as_ref();
        let format = format_of(path, format)?;
        let mut store = self.store()?;
        let file = File::open(path).map_err(|source| Error::file(path, source))?;
        let imported = store.import(format, &mut BufReader::new(file));
        imported.map_err(|error| of_file(path, error))
    }
}

/// The receipt of a batch of one.
fn only(receipts: Vec<Receipt>) -> Receipt {
    let receipt = receipts.into_iter().next();
    receipt.expect("a batch of one has one receipt")
}

/// Does what time brings; says how much that was.
fn release(store: &mut SqliteLedger, now: UnixMillis) -> Result<usize, Error> {
    let mut released = 0;
    while store.state().next_expiry().is_some_and(|due| due <= now) {
        let done = store.expire(now)?.len();
        if done == 0 {
            // Stake whose owner's counter is full stays due, and nobody else waits for it.
            break;
        }
        released += done;
    }
    Ok(released)
}

/// The format that is asked for, or that the file's name tells.
fn format_of(path: &Path, asked: Option<TextFormat>) -> Result<TextFormat, Error> {
    let format = asked.or_else(|| TextFormat::of_name(path));
    format.ok_or_else(|| Error::UnknownFormat {
        path: path.to_owned(),
    })
}

/// Names the text file that could not be read or written.
fn of_file(path: &Path, error: StoreError) -> Error {
    match error {
        StoreError::Io { source } => Error::file(path, source),
        error => error.into(),
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
    fn a_balance_is_the_same_of_a_ledger_of_an_account_and_of_the_past() {
        // The ledger's balance left out what was reserved, and the account's did not.
        let ledger = Ledger::in_memory().unwrap();
        ledger.open_account(MINT, AccountKind::Issuer).unwrap();
        ledger.open_account(ANA, AccountKind::Holder).unwrap();
        ledger.transfer(id(1), MINT, ANA, Amount(10)).unwrap();
        ledger.reserve(id(2), ANA, MINT, Amount(7)).unwrap();
        let account = ledger.account(ANA).unwrap();
        let past = ledger.balance_as_of(ANA, Moment::Sequence(4)).unwrap();
        assert_eq!(account.balance(), Amount(10));
        assert_eq!(past.unwrap().balance(), Amount(10));
        assert_eq!(ledger.balance(ANA).unwrap(), Amount(10));
        assert_eq!(account.available(), Amount(3));
        assert_eq!(ledger.available(ANA).unwrap(), Amount(3));
    }

    #[test]
    fn a_history_is_written_as_the_name_of_its_file_tells() {
        // Python and C++ wrote CSV whatever the name was.
        let folder = TempDir::new().unwrap();
        let ledger = Ledger::in_memory().unwrap();
        ledger.open_account(MINT, AccountKind::Issuer).unwrap();
        let path = |name| folder.path().join(name);
        for (name, start) in [
            ("a.csv", "sequence,"),
            ("a.CSV", "sequence,"),
            ("a.jsonl", "{"),
        ] {
            assert_eq!(ledger.export(path(name), None).unwrap(), 1);
            let text = fs::read_to_string(path(name)).unwrap();
            assert!(text.starts_with(start), "{name}: {text}");
            let copy = Ledger::in_memory().unwrap();
            copy.import(path(name), None).unwrap();
            assert_eq!(copy.head().unwrap(), ledger.head().unwrap());
        }
        for name in ["a", "csv", "a.json", "a.csv.gz"] {
            let written = ledger.export(path(name), None).unwrap_err();
            assert_eq!(written.code(), ErrorCode::InvalidArgument, "{written}");
            assert!(written.to_string().contains(name), "{written}");
            assert!(!path(name).exists());
            let read = ledger.import(path(name), None).unwrap_err();
            assert_eq!(read.code(), ErrorCode::InvalidArgument, "{read}");
        }
        // What is asked for counts before the name.
        let format = Some(TextFormat::JsonLines);
        ledger.export(path("b.csv"), format).unwrap();
        assert!(fs::read_to_string(path("b.csv")).unwrap().starts_with('{'));
    }

    #[test]
    fn a_ledger_that_must_be_there_is_not_made() {
        // There was no way to open a ledger without making one of a mistyped name.
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger");
        let code = |path: &Path| {
            let opened = Ledger::open_existing(path, LedgerOptions::default());
            opened.unwrap_err().code()
        };
        assert_eq!(code(&path), ErrorCode::StorageMissing);
        let elsewhere = folder.path().join("no").join("ledger");
        assert_eq!(code(&elsewhere), ErrorCode::StorageNoFolder);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        for (bytes, made) in [(&b"S"[..], false), (b"", true)] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(code(&path), ErrorCode::StorageForeign);
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert_eq!(Ledger::open(&path).is_ok(), made, "{bytes:?}");
        }
        open(&folder)
            .open_account(MINT, AccountKind::Issuer)
            .unwrap();
        let again = Ledger::open_existing(&path, LedgerOptions::default()).unwrap();
        assert!(again.account(MINT).is_ok());
    }

    #[test]
    fn what_has_expired_is_free_again_without_asking() {
        // Nobody called `expire`, so the money stayed reserved for as long as the ledger was used.
        let folder = with_expired_reservation();
        let ledger = open(&folder);
        assert_eq!(ledger.available(ANA).unwrap(), Amount(10));
        let folder = with_expired_reservation();
        let ledger = open(&folder);
        ledger.transfer(id(3), ANA, BEN, Amount(10)).unwrap();
        let folder = with_expired_reservation();
        let ledger = open(&folder);
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
            ledger.execute([]).unwrap_err(),
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

    /// Ana has 10 of what the mint gave out.
    fn funded() -> Ledger {
        let ledger = Ledger::in_memory().unwrap();
        ledger.open_account(MINT, AccountKind::Issuer).unwrap();
        ledger.open_account(ANA, AccountKind::Holder).unwrap();
        ledger.open_account(BEN, AccountKind::Holder).unwrap();
        ledger.transfer(id(1), MINT, ANA, Amount(10)).unwrap();
        ledger
    }

    fn pay(n: u8, amount: u128) -> Operation {
        Operation::Transfer {
            id: id(n),
            from: ANA,
            to: BEN,
            amount: Amount(amount),
            memo: Memo {
                code: 7,
                reference: [n; 16],
            },
        }
    }

    #[test]
    fn a_batch_happens_as_a_whole_or_not_at_all() {
        let ledger = funded();
        let error = ledger.execute([pay(2, 4), pay(3, 7)]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InsufficientFunds);
        assert_eq!(ledger.balance(ANA).unwrap(), Amount(10));
        let receipts = ledger.execute([pay(2, 4), pay(3, 6), pay(2, 4)]).unwrap();
        let told: Vec<_> = receipts
            .iter()
            .map(|receipt| (receipt.entry.sequence, receipt.replayed))
            .collect();
        assert_eq!(told, [(5, false), (6, false), (5, true)]);
        assert_eq!(
            ledger.execute([]).unwrap_err().code(),
            ErrorCode::BatchEmpty
        );
    }

    #[test]
    fn batches_of_many_threads_are_each_all_or_nothing() {
        let ledger = &funded();
        std::thread::scope(|scope| {
            for thread in 10..20_u8 {
                scope.spawn(move || {
                    let paid = ledger.execute([pay(thread, 1), pay(thread + 100, 0)]);
                    assert_eq!(paid.unwrap_err().code(), ErrorCode::ZeroAmount);
                    ledger.execute([pay(thread, 1)]).unwrap();
                });
            }
        });
        assert_eq!(ledger.balance(BEN).unwrap(), Amount(10));
        assert_eq!(ledger.verify().unwrap().head.sequence, 14);
    }

    #[test]
    fn a_batch_that_somebody_lost_in_a_panic_is_not_said_to_be_done() {
        let ledger = funded();
        let held = ledger.store.lock().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| ledger.execute([pay(2, 1)]));
            // Whoever holds the store takes the batch, and never settles it.
            while ledger.group.next().is_empty() {
                std::thread::yield_now();
            }
            drop(held);
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(error.code(), ErrorCode::StorageUncertain);
        });
        ledger.execute([pay(2, 1)]).unwrap();
    }

    #[test]
    fn what_is_taken_back_is_not_carried_out() {
        let ledger = funded();
        let ticket = ledger.group.enter(vec![pay(2, 1)].into());
        ledger.group.leave(&ticket);
        ledger.execute([pay(3, 1)]).unwrap();
        assert!(ticket.outcome().is_none());
        assert_eq!(ledger.entry(id(2)).unwrap(), None);
    }

    #[test]
    fn history_is_told_flat_and_in_pages() {
        let ledger = funded();
        ledger.execute([pay(2, 4)]).unwrap();
        ledger.reserve(id(3), ANA, BEN, Amount(5)).unwrap();
        ledger.post(id(4), id(3), Some(Amount(2))).unwrap();
        let kinds = |entries: &[LedgerEntry]| -> Vec<_> {
            entries
                .iter()
                .map(|entry| (entry.sequence, entry.kind, entry.amount.0, entry.released.0))
                .collect()
        };
        let ben = ledger.history(BEN, 0, 10).unwrap();
        let expected = [
            (3, "opened", 0, 0),
            (5, "transferred", 4, 0),
            (6, "reserved", 5, 0),
            (7, "posted", 2, 3),
        ];
        assert_eq!(kinds(&ben), expected);
        assert_eq!(ben[1].memo.code, 7);
        assert_eq!(ben[3].reservation, Some(id(3)));
        assert_eq!(ledger.history(BEN, 5, 1).unwrap(), ben[2..3]);
        assert_eq!(ledger.entries(5, 9).unwrap(), ben[2..]);
        assert_eq!(ledger.entry(id(4)).unwrap().as_ref(), ben.last());
        assert_eq!(ledger.head().unwrap().chain, ben[3].chain);
        let nobody = ledger.history(AccountId::from_bytes([9; 16]), 0, 1);
        assert_eq!(nobody.unwrap_err().code(), ErrorCode::UnknownAccount);
    }

    #[test]
    fn many_signed_batches_are_answered_one_by_one() {
        let ledger = funded();
        ledger.own(id(2), ANA, owner_key(&[7; 32])).unwrap();
        let later = UnixMillis(u64::MAX);
        let signed =
            |nonce, n, amount, secret| sign_batch(ANA, nonce, later, vec![pay(n, amount)], secret);
        let batches = vec![
            signed(1, 3, 4, &[7; 32]),
            signed(2, 4, 1, &[8; 32]),
            signed(2, 4, 1, &[7; 32]),
            signed(2, 4, 1, &[7; 32]),
        ];
        let outcomes = ledger.execute_all_signed(batches).unwrap();
        let codes: Vec<_> = outcomes
            .iter()
            .map(|outcome| outcome.as_ref().err().map(Error::code))
            .collect();
        let (forged, replayed) = (ErrorCode::SignatureForged, ErrorCode::SignatureReplayed);
        assert_eq!(codes, [None, Some(forged), None, Some(replayed)]);
        assert_eq!(ledger.balance(BEN).unwrap(), Amount(5));
        assert!(ledger.execute_all_signed(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn the_past_is_told_by_number_and_by_time() {
        let ledger = funded();
        ledger.execute([pay(2, 4)]).unwrap();
        let then = |moment| ledger.balance_as_of(ANA, moment).unwrap();
        assert_eq!(then(Moment::Sequence(4)).unwrap().balance(), Amount(10));
        assert_eq!(then(Moment::Sequence(1)), None);
        let now = Moment::Time(UnixMillis(u64::MAX));
        assert_eq!(then(now).unwrap().balance(), Amount(6));
        assert_eq!(then(Moment::Time(UnixMillis(0))), None);
        assert_eq!(ledger.supply(AssetId::CREDITS).unwrap(), Some(Amount(10)));
    }

    #[test]
    fn accounts_are_listed_in_pages_by_their_id() {
        let ledger = funded();
        let ids = |after, limit| -> Vec<_> {
            let page = ledger.accounts(after, limit).unwrap();
            page.iter().map(|account| account.id).collect()
        };
        assert_eq!(ids(None, 2), [MINT, ANA]);
        assert_eq!(ids(Some(ANA), 2), [BEN]);
        assert_eq!(ids(Some(BEN), 2), []);
    }

    #[test]
    fn owners_sign_in_order_and_for_themselves() {
        let ledger = funded();
        let error = ledger.next_nonce(ANA).unwrap_err();
        assert_eq!(error.code(), ErrorCode::NoOwner);
        let secret = [7; 32];
        ledger.own(id(2), ANA, owner_key(&secret)).unwrap();
        assert_eq!(ledger.owner(ANA).unwrap(), Some(owner_key(&secret)));
        let later = UnixMillis(u64::MAX);
        let signed = |nonce, amount| sign_batch(ANA, nonce, later, vec![pay(3, amount)], &secret);
        let first = signed(ledger.next_nonce(ANA).unwrap(), 4);
        assert_eq!(decode_batch(&first.encode()).unwrap(), first);
        assert_eq!(ledger.execute_signed(&first).unwrap().len(), 1);
        assert_eq!(ledger.next_nonce(ANA).unwrap(), 2);
        let code = |batch: &SignedBatch| ledger.execute_signed(batch).unwrap_err().code();
        assert_eq!(code(&first), ErrorCode::SignatureReplayed);
        assert_eq!(code(&signed(3, 4)), ErrorCode::NonceSkipped);
        let forged = SignedBatch {
            nonce: 2,
            ..signed(3, 4)
        };
        assert_eq!(code(&forged), ErrorCode::SignatureForged);
        let bad = decode_batch(&[2]).unwrap_err();
        assert_eq!(bad.code(), ErrorCode::InvalidArgument);
    }

    #[test]
    fn a_checkpoint_tells_a_history_from_another() {
        let ledger = funded();
        let (secret, other) = ([7; 32], [8; 32]);
        let key = owner_key(&secret);
        let checkpoint = ledger.checkpoint(&secret).unwrap();
        let read = decode_checkpoint(&checkpoint.encode()).unwrap();
        assert_eq!(verify_checkpoint(&read, &key).unwrap().head.sequence, 4);
        let forged = verify_checkpoint(&read, &owner_key(&other)).unwrap_err();
        assert_eq!(forged.code(), ErrorCode::CheckpointForged);
        ledger.execute([pay(2, 4)]).unwrap();
        ledger.verify_since(&read, &key).unwrap();
        let code = |ledger: &Ledger| ledger.verify_since(&read, &key).unwrap_err().code();
        let empty = Ledger::in_memory().unwrap();
        assert_eq!(code(&empty), ErrorCode::CheckpointMissing);
        let rewritten = Ledger::in_memory().unwrap();
        for n in 1..=4 {
            let account = AccountId::from_bytes([n; 16]);
            rewritten
                .open_account(account, AccountKind::Holder)
                .unwrap();
        }
        assert_eq!(code(&rewritten), ErrorCode::CheckpointDiffers);
    }

    #[test]
    fn text_goes_out_and_comes_in_again() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("history.csv");
        let ledger = funded();
        assert_eq!(ledger.export(&path, Some(TextFormat::Csv)).unwrap(), 4);
        let again = ledger.export(&path, Some(TextFormat::Csv)).unwrap_err();
        assert_eq!(again.code(), ErrorCode::StorageExists);
        let copy = Ledger::in_memory().unwrap();
        copy.import(&path, Some(TextFormat::Csv)).unwrap();
        assert_eq!(copy.head().unwrap(), ledger.head().unwrap());
        let code = |ledger: &Ledger, format| ledger.import(&path, format).unwrap_err().code();
        assert_eq!(
            code(&copy, Some(TextFormat::Csv)),
            ErrorCode::StorageNotEmpty
        );
        let empty = Ledger::in_memory().unwrap();
        assert_eq!(
            code(&empty, Some(TextFormat::JsonLines)),
            ErrorCode::InvalidTranscript
        );
        let missing = empty.import(folder.path().join("none"), Some(TextFormat::Csv));
        assert_eq!(missing.unwrap_err().code(), ErrorCode::StorageNoFolder);
        ledger.backup(folder.path().join("copy")).unwrap();
        let copy = Ledger::open(folder.path().join("copy")).unwrap();
        assert_eq!(copy.verify().unwrap(), ledger.verify().unwrap());
    }

    #[test]
    fn limits_hold_and_closed_accounts_stay_closed() {
        let ledger = funded();
        let limits = Limits {
            spend_per_day: Some(Amount(5)),
            ..Limits::default()
        };
        ledger.limit(id(2), ANA, limits).unwrap();
        let error = ledger.execute([pay(3, 6)]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::QuotaExceeded);
        let error = ledger.close_account(id(4), ANA).unwrap_err();
        assert_eq!(error.code(), ErrorCode::AccountInUse);
        ledger.close_account(id(4), BEN).unwrap();
        let error = ledger.execute([pay(5, 1)]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::AccountClosed);
    }
}
