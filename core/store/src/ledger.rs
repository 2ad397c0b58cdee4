//! The ledger on disk.

use std::path::Path;

use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};
use fogcompute_ledger::{
    Account, AccountKind, Amount, AssetId, Book, Entry, EntryKind, Head, Operation, Plan, Receipt,
    Restore,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows, TransactionBehavior, params};

use crate::database::{Database, Schema, array, integer};
use crate::{Durability, StoreError};

/// Most entries one page of [`SqliteLedger::entries`] or [`SqliteLedger::history`] has.
pub const ENTRIES_PAGE_MAX: usize = 10_000;

/// A query of entries whose columns are where [`read_entry`] looks for them.
macro_rules! entries {
    ($rest:literal) => {
        concat!(
            "SELECT sequence, time, kind, id, reservation, from_account, to_account, asset, ",
            "account_kind, amount, released, expires, chain FROM entries ",
            $rest
        )
    };
}

const SCHEMA: Schema = Schema {
    application: i32::from_be_bytes(*b"FOGL"),
    migrations: &[include_str!("ledger_1.sql")],
};

/// A [`Book`] whose every change is on disk before it is in memory.
///
/// The history is the truth; the accounts table is what it adds up to, kept for readers of the
/// file and compared on opening. Opening carries the whole history out again, so its time grows
/// with the history.
///
/// ```no_run
/// # use fogcompute_store::{Durability, SqliteLedger};
/// let ledger = SqliteLedger::open("fog-ledger.sqlite", Durability::Full)?;
/// println!("{} entries", ledger.book().head().sequence);
/// # Ok::<(), fogcompute_store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct SqliteLedger {
    database: Database,
    book: Book,
    /// A commit was not confirmed: memory and disk may differ from here on.
    uncertain: bool,
}

/// What [`SqliteLedger::verify`] went through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verification {
    /// Where the history ends; its sequence is the number of entries that were carried out again.
    pub head: Head,
    /// Accounts that were compared.
    pub accounts: usize,
    /// Reservations that hold something back.
    pub open_reservations: usize,
}

impl SqliteLedger {
    /// Opens or creates a ledger file, owns it until dropped, and proves what it reads.
    ///
    /// # Errors
    /// [`StoreError::SpecialPath`], [`StoreError::NulInPath`];
    /// [`StoreError::CannotOpen`], [`StoreError::IsFolder`], [`StoreError::NoFolder`],
    /// [`StoreError::Locked`], [`StoreError::ReadOnly`],
    /// [`StoreError::NotADatabase`], [`StoreError::OtherDatabase`], [`StoreError::SchemaTooNew`];
    /// [`StoreError::Corruption`], [`StoreError::BadEntry`], [`StoreError::BadAccount`],
    /// [`StoreError::Malformed`] when the file was changed from outside; [`StoreError::DiskFull`],
    /// [`StoreError::Sqlite`].
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        Self::with(SCHEMA.open(path.as_ref(), durability)?)
    }

    /// Creates a ledger that is gone when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::with(SCHEMA.in_memory()?)
    }

    fn with(database: Database) -> Result<Self, StoreError> {
        let book = restore(database.read()?)?;
        Ok(Self {
            database,
            book,
            uncertain: false,
        })
    }

    /// Carries a batch out at the time `now`: all of it or nothing, on disk before it returns.
    ///
    /// # Errors
    /// [`StoreError::Ledger`], [`StoreError::TimeOutOfRange`], [`StoreError::DiskFull`],
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`]: nothing changed.
    /// [`StoreError::CommitFailed`]: memory has not changed, the disk may have; this handle
    /// answers [`StoreError::ReopenNeeded`] from then on.
    pub fn execute(
        &mut self,
        batch: &[Operation],
        now: UnixMillis,
    ) -> Result<Vec<Receipt>, StoreError> {
        self.writable()?;
        let plan = self.book.plan(batch, now)?;
        self.carry_out(plan)
    }

    /// Releases reservations whose time has come: at most
    /// [`BATCH_OPERATIONS_MAX`](fogcompute_ledger::BATCH_OPERATIONS_MAX) of them. Call again until
    /// there are no receipts. [`Book::next_expiry`] tells when it is due.
    ///
    /// # Errors
    /// As [`SqliteLedger::execute`], but for [`StoreError::Ledger`].
    pub fn expire(&mut self, now: UnixMillis) -> Result<Vec<Receipt>, StoreError> {
        self.writable()?;
        let plan = self.book.expire(now);
        self.carry_out(plan)
    }

    fn writable(&self) -> Result<(), StoreError> {
        // Refused before the rules are asked: they would say what is true of another process.
        self.database.read()?;
        if self.uncertain {
            return Err(StoreError::ReopenNeeded);
        }
        Ok(())
    }

    fn carry_out(&mut self, plan: Plan) -> Result<Vec<Receipt>, StoreError> {
        if !plan.is_empty() {
            let stored = self.store(&plan);
            self.uncertain = matches!(stored, Err(StoreError::CommitFailed { .. }));
            self.database.blame(stored)?;
        }
        let receipts = self.book.commit(plan);
        Ok(receipts.expect("the plan was made for this book, which nobody else can change"))
    }

    fn store(&mut self, plan: &Plan) -> Result<(), StoreError> {
        let transaction = self
            .database
            .write()?
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        write(&transaction, plan)?;
        transaction
            .commit()
            .map_err(|source| StoreError::CommitFailed { source })
    }

    /// What a power cut may cost, as SQLite has it. In memory, everything.
    ///
    /// # Errors
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn durability(&self) -> Result<Durability, StoreError> {
        self.database.durability()
    }

    /// The book in memory: accounts, reservations, ids, the head. In a forked child it is what it
    /// was when that was forked.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// The account, if it is open.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.book.account(id)
    }

    /// Posted balance of the account, if it is open: [`Account::balance`].
    #[must_use]
    pub fn balance(&self, id: AccountId) -> Option<Amount> {
        self.account(id).map(Account::balance)
    }

    /// Entries after that sequence, in order: at most `limit`, at most [`ENTRIES_PAGE_MAX`].
    ///
    /// # Errors
    /// [`StoreError::BadEntry`], [`StoreError::Malformed`], [`StoreError::Sqlite`],
    /// [`StoreError::Forked`].
    pub fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut statement = self
            .database
            .read()?
            .prepare_cached(entries!("WHERE sequence > ?1 ORDER BY sequence LIMIT ?2"))?;
        read_entries(statement.query(params![position(after), page(limit)])?)
    }

    /// Entries after that sequence that name the account, in order: at most `limit`, at most
    /// [`ENTRIES_PAGE_MAX`].
    ///
    /// # Errors
    /// As [`SqliteLedger::entries`].
    pub fn history(
        &self,
        account: AccountId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut statement = self.database.read()?.prepare_cached(entries!(
            "WHERE (from_account = ?1 OR to_account = ?1) AND sequence > ?2 \
             ORDER BY sequence LIMIT ?3"
        ))?;
        read_entries(statement.query(params![account.as_bytes(), position(after), page(limit)])?)
    }

    /// Proves the file: SQLite's own check of pages and indexes, then the whole history carried out
    /// again and compared with the stored accounts and with memory.
    ///
    /// Pages that SQLite has cached are not read from disk again; to check the disk itself, open
    /// the file anew.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Corruption`], [`StoreError::BadEntry`],
    /// [`StoreError::BadAccount`], [`StoreError::HeadDiffers`], [`StoreError::Malformed`],
    /// [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn verify(&self) -> Result<Verification, StoreError> {
        let connection = self.database.read()?;
        let mut problems = 0;
        for check in ["integrity_check", "foreign_key_check"] {
            connection.pragma_query(None, check, |row| {
                let fine = row.get_ref(0)? == ValueRef::Text(b"ok");
                problems += usize::from(!fine);
                Ok(())
            })?;
        }
        if problems > 0 {
            return Err(StoreError::Damaged { problems });
        }
        let stored = restore(connection)?;
        if stored.head() != self.book.head() {
            return Err(StoreError::HeadDiffers {
                stored: stored.head(),
                book: self.book.head(),
            });
        }
        Ok(Verification {
            head: stored.head(),
            accounts: stored.accounts().len(),
            open_reservations: stored.open_reservations().len(),
        })
    }
}

fn position(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn page(limit: usize) -> i64 {
    i64::try_from(limit.min(ENTRIES_PAGE_MAX)).unwrap_or(i64::MAX)
}

fn time(time: UnixMillis) -> Result<i64, StoreError> {
    i64::try_from(time.0).map_err(|_| StoreError::TimeOutOfRange { time })
}

fn restore(connection: &Connection) -> Result<Book, StoreError> {
    let mut restore = Restore::new();
    let mut statement = connection.prepare(entries!("ORDER BY sequence"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        restore.push(&read_entry(row)?)?;
    }
    let mut statement = connection.prepare(concat!(
        "SELECT id, asset, kind, credits_posted, debits_posted, credits_pending, ",
        "debits_pending FROM accounts ORDER BY id"
    ))?;
    let mut rows = statement.query([])?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next()? {
        accounts.push(read_account(row)?);
    }
    Ok(restore.finish(accounts)?)
}

fn write(connection: &Connection, plan: &Plan) -> Result<(), StoreError> {
    // Accounts first: entries refer to them.
    let mut statement = connection.prepare_cached(concat!(
        "INSERT INTO accounts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO UPDATE SET ",
        "credits_posted = excluded.credits_posted, debits_posted = excluded.debits_posted, ",
        "credits_pending = excluded.credits_pending, debits_pending = excluded.debits_pending"
    ))?;
    for account in plan.accounts() {
        statement.execute(params![
            account.id.as_bytes(),
            account.asset.0,
            account.kind.code(),
            blob(account.credits_posted),
            blob(account.debits_posted),
            blob(account.credits_pending),
            blob(account.debits_pending),
        ])?;
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    for entry in plan.entries() {
        let columns = Columns::of(&entry.kind);
        statement.execute(params![
            position(entry.sequence),
            time(entry.time)?,
            entry.kind.code(),
            columns.id.as_ref().map(TransferId::as_bytes),
            columns.reservation.as_ref().map(TransferId::as_bytes),
            columns.from.as_bytes(),
            columns.to.as_ref().map(AccountId::as_bytes),
            columns.asset.map(|asset| asset.0),
            columns.account_kind.map(AccountKind::code),
            columns.amount.map(blob),
            columns.released.map(blob),
            columns.expires.map(time).transpose()?,
            entry.chain.as_bytes(),
        ])?;
    }
    Ok(())
}

/// Big-endian, so that SQLite compares blobs as it would compare the numbers.
const fn blob(amount: Amount) -> [u8; 16] {
    amount.0.to_be_bytes()
}

/// What the kinds of entries have between them, as the table has it.
struct Columns {
    id: Option<TransferId>,
    reservation: Option<TransferId>,
    from: AccountId,
    to: Option<AccountId>,
    asset: Option<AssetId>,
    account_kind: Option<AccountKind>,
    amount: Option<Amount>,
    released: Option<Amount>,
    expires: Option<UnixMillis>,
}

impl Columns {
    fn of(kind: &EntryKind) -> Self {
        let (reservation, amount, released, expires) = match *kind {
            EntryKind::Opened {
                account,
                asset,
                kind,
            } => {
                return Self {
                    id: None,
                    reservation: None,
                    from: account,
                    to: None,
                    asset: Some(asset),
                    account_kind: Some(kind),
                    amount: None,
                    released: None,
                    expires: None,
                };
            }
            EntryKind::Transferred { amount, .. } => (None, Some(amount), None, None),
            EntryKind::Reserved {
                amount, expires, ..
            } => (None, Some(amount), None, expires),
            EntryKind::Posted {
                reservation,
                amount,
                released,
                ..
            } => (Some(reservation), Some(amount), Some(released), None),
            EntryKind::Voided {
                reservation,
                released,
                ..
            }
            | EntryKind::Expired {
                reservation,
                released,
                ..
            } => (Some(reservation), None, Some(released), None),
        };
        let (from, to) = kind
            .parties()
            .expect("only an opened account has no parties");
        Self {
            id: kind.id(),
            reservation,
            from,
            to: Some(to),
            asset: None,
            account_kind: None,
            amount,
            released,
            expires,
        }
    }
}

fn read_account(row: &Row<'_>) -> Result<Account, StoreError> {
    let id = array(row.get_ref(0)?).map(AccountId::from_bytes);
    let bad = |column| StoreError::BadAccount {
        account: id,
        column,
    };
    let amount = |index, column| {
        let bytes = array(row.get_ref(index)?).ok_or_else(|| bad(column))?;
        Ok::<_, StoreError>(Amount(u128::from_be_bytes(bytes)))
    };
    Ok(Account {
        id: id.ok_or_else(|| bad("id"))?,
        asset: integer(row.get_ref(1)?)
            .map(AssetId)
            .ok_or_else(|| bad("asset"))?,
        kind: integer(row.get_ref(2)?)
            .and_then(AccountKind::from_code)
            .ok_or_else(|| bad("kind"))?,
        credits_posted: amount(3, "credits_posted")?,
        debits_posted: amount(4, "debits_posted")?,
        credits_pending: amount(5, "credits_pending")?,
        debits_pending: amount(6, "debits_pending")?,
    })
}

fn read_entries(mut rows: Rows<'_>) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(read_entry(row)?);
    }
    Ok(entries)
}

fn read_entry(row: &Row<'_>) -> Result<Entry, StoreError> {
    // The row's own key is an integer by construction; a negative one fails the sequence check.
    let sequence = integer(row.get_ref(0)?).unwrap_or(0);
    let read = EntryRow { row, sequence };
    let kind = match read.integer::<u8>(2, "kind")? {
        1 => EntryKind::Opened {
            account: read.account(5, "from_account")?,
            asset: AssetId(read.integer(7, "asset")?),
            kind: AccountKind::from_code(read.integer(8, "account_kind")?)
                .ok_or_else(|| read.bad("account_kind"))?,
        },
        2 => EntryKind::Transferred {
            id: read.transfer(3, "id")?,
            from: read.account(5, "from_account")?,
            to: read.account(6, "to_account")?,
            amount: read.amount(9, "amount")?,
        },
        3 => EntryKind::Reserved {
            id: read.transfer(3, "id")?,
            from: read.account(5, "from_account")?,
            to: read.account(6, "to_account")?,
            amount: read.amount(9, "amount")?,
            expires: match row.get_ref(11)? {
                ValueRef::Null => None,
                _ => Some(UnixMillis(read.integer(11, "expires")?)),
            },
        },
        4 => EntryKind::Posted {
            id: read.transfer(3, "id")?,
            reservation: read.transfer(4, "reservation")?,
            from: read.account(5, "from_account")?,
            to: read.account(6, "to_account")?,
            amount: read.amount(9, "amount")?,
            released: read.amount(10, "released")?,
        },
        5 => EntryKind::Voided {
            id: read.transfer(3, "id")?,
            reservation: read.transfer(4, "reservation")?,
            from: read.account(5, "from_account")?,
            to: read.account(6, "to_account")?,
            released: read.amount(10, "released")?,
        },
        6 => EntryKind::Expired {
            reservation: read.transfer(4, "reservation")?,
            from: read.account(5, "from_account")?,
            to: read.account(6, "to_account")?,
            released: read.amount(10, "released")?,
        },
        0 | 7.. => return Err(read.bad("kind")),
    };
    Ok(Entry {
        sequence,
        time: UnixMillis(read.integer(1, "time")?),
        kind,
        chain: read.array(12, "chain").map(Digest::from_bytes)?,
    })
}

/// A row of the history being read, to name what is wrong with it.
struct EntryRow<'a, 'stmt> {
    row: &'a Row<'stmt>,
    sequence: u64,
}

impl EntryRow<'_, '_> {
    const fn bad(&self, column: &'static str) -> StoreError {
        StoreError::BadEntry {
            sequence: self.sequence,
            column,
        }
    }

    fn integer<T: TryFrom<i64>>(
        &self,
        index: usize,
        column: &'static str,
    ) -> Result<T, StoreError> {
        integer(self.row.get_ref(index)?).ok_or_else(|| self.bad(column))
    }

    fn array<const N: usize>(
        &self,
        index: usize,
        column: &'static str,
    ) -> Result<[u8; N], StoreError> {
        array(self.row.get_ref(index)?).ok_or_else(|| self.bad(column))
    }

    fn account(&self, index: usize, column: &'static str) -> Result<AccountId, StoreError> {
        self.array(index, column).map(AccountId::from_bytes)
    }

    fn transfer(&self, index: usize, column: &'static str) -> Result<TransferId, StoreError> {
        self.array(index, column).map(TransferId::from_bytes)
    }

    fn amount(&self, index: usize, column: &'static str) -> Result<Amount, StoreError> {
        let bytes = self.array(index, column)?;
        Ok(Amount(u128::from_be_bytes(bytes)))
    }
}

impl fogcompute_coord::Bank for SqliteLedger {
    type Error = StoreError;

    fn execute(
        &mut self,
        batch: &[Operation],
        now: UnixMillis,
    ) -> Result<Vec<Receipt>, StoreError> {
        Self::execute(self, batch, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_ledger::{Corruption, LedgerError, verify_chain};
    use std::fs;
    use std::path::PathBuf;
    use tempfile::TempDir;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
    const LATER: UnixMillis = UnixMillis(NOW.0 + 1_000);
    const MINT: u8 = 1;
    const ANA: u8 = 2;
    const BEN: u8 = 3;

    fn account(n: u8) -> AccountId {
        AccountId::from_bytes([n; 16])
    }

    fn id(n: u8) -> TransferId {
        TransferId::from_bytes([n; 16])
    }

    fn open(n: u8, kind: AccountKind) -> Operation {
        Operation::Open {
            account: account(n),
            asset: AssetId(n.into()),
            kind,
        }
    }

    fn credits(n: u8, kind: AccountKind) -> Operation {
        Operation::Open {
            account: account(n),
            asset: AssetId::CREDITS,
            kind,
        }
    }

    fn transfer(n: u8, from: u8, to: u8, amount: u128) -> Operation {
        Operation::Transfer {
            id: id(n),
            from: account(from),
            to: account(to),
            amount: Amount(amount),
        }
    }

    fn reserve(n: u8, amount: u128, expires: Option<UnixMillis>) -> Operation {
        Operation::Reserve {
            id: id(n),
            from: account(ANA),
            to: account(BEN),
            amount: Amount(amount),
            expires,
        }
    }

    /// Makes an entry of every kind: 1-3 opened, 4 transferred, 5-8 reserved, 9 posted, 10 voided,
    /// 11 expired. One reservation stays open.
    fn live(ledger: &mut SqliteLedger) {
        let batch = [
            credits(MINT, AccountKind::Issuer),
            credits(ANA, AccountKind::Holder),
            credits(BEN, AccountKind::Holder),
            transfer(1, MINT, ANA, u128::MAX / 2),
        ];
        ledger.execute(&batch, NOW).unwrap();
        let batch = [
            reserve(2, 20, None),
            reserve(3, 30, Some(UnixMillis(LATER.0 + 1))),
            reserve(4, 40, Some(LATER)),
            reserve(5, 50, Some(UnixMillis(LATER.0 + 1))),
            Operation::Post {
                id: id(6),
                reservation: id(2),
                amount: Some(Amount(19)),
            },
            Operation::Void {
                id: id(7),
                reservation: id(3),
            },
        ];
        ledger.execute(&batch, NOW).unwrap();
        assert_eq!(ledger.expire(LATER).unwrap().len(), 1);
    }

    fn file() -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger");
        (folder, path)
    }

    fn reopen(path: &Path) -> Result<SqliteLedger, StoreError> {
        SqliteLedger::open(path, Durability::Full)
    }

    /// A lived ledger's file after somebody ran SQL on it.
    fn tampered(sql: &str) -> (TempDir, PathBuf) {
        let (folder, path) = file();
        live(&mut reopen(&path).unwrap());
        tamper(&Connection::open(&path).unwrap(), sql);
        (folder, path)
    }

    fn tamper(connection: &Connection, sql: &str) {
        connection
            .execute_batch(&format!(
                "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;
                 DROP TRIGGER IF EXISTS entries_are_not_changed;
                 DROP TRIGGER IF EXISTS entries_are_not_deleted;
                 {sql};
                 PRAGMA ignore_check_constraints = OFF;"
            ))
            .unwrap();
    }

    #[test]
    fn reopened_ledger_is_the_same() {
        for durability in [Durability::Full, Durability::Normal] {
            let (_folder, path) = file();
            let mut ledger = SqliteLedger::open(&path, durability).unwrap();
            live(&mut ledger);
            let (book, entries) = (ledger.book().clone(), ledger.entries(0, 100).unwrap());
            drop(ledger);

            let mut ledger = SqliteLedger::open(&path, durability).unwrap();
            assert_eq!(*ledger.book(), book);
            assert_eq!(ledger.entries(0, 100).unwrap(), entries);
            assert_eq!(verify_chain(Head::GENESIS, &entries), Ok(book.head()));
            assert_eq!(ledger.balance(account(BEN)), Some(Amount(19)));
            assert_eq!(ledger.balance(account(9)), None);
            assert_eq!(ledger.book().open_reservations().len(), 1);
            let again = ledger.execute(&[transfer(1, MINT, ANA, u128::MAX / 2)], LATER);
            let again = again.unwrap();
            assert!(again[0].replayed);
            assert_eq!(again[0].entry, entries[3]);
            assert_eq!(
                ledger.verify().unwrap(),
                Verification {
                    head: book.head(),
                    accounts: 3,
                    open_reservations: 1
                }
            );
        }
    }

    #[test]
    fn pages_of_the_history_are_in_order_and_limited() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        let sequences = |entries: Vec<Entry>| -> Vec<u64> {
            entries.iter().map(|entry| entry.sequence).collect()
        };
        let all = ledger.entries(0, usize::MAX).unwrap();
        assert_eq!(sequences(all.clone()), (1..=11).collect::<Vec<_>>());
        assert_eq!(sequences(ledger.entries(3, 2).unwrap()), [4, 5]);
        assert_eq!(sequences(ledger.entries(11, 5).unwrap()), []);
        assert_eq!(sequences(ledger.entries(u64::MAX, 5).unwrap()), []);
        assert_eq!(sequences(ledger.entries(0, 0).unwrap()), []);

        let history =
            |n, after, limit| sequences(ledger.history(account(n), after, limit).unwrap());
        assert_eq!(history(MINT, 0, 100), [1, 4]);
        assert_eq!(history(ANA, 0, 100), [2, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(history(BEN, 4, 3), [5, 6, 7]);
        assert_eq!(history(9, 0, 100), []);
    }

    #[test]
    fn refused_batch_leaves_disk_and_memory_alone() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        let before = ledger.book().clone();
        let batch = [transfer(20, ANA, BEN, 1), transfer(21, BEN, ANA, 1_000)];
        let error = ledger.execute(&batch, LATER).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Ledger(LedgerError::InsufficientFunds { .. })
            ),
            "{error}"
        );
        assert_eq!(*ledger.book(), before);
        assert_eq!(ledger.verify().unwrap().head, before.head());
    }

    #[test]
    fn failing_disk_leaves_disk_and_memory_alone() {
        let (_folder, path) = file();
        let mut ledger = reopen(&path).unwrap();
        live(&mut ledger);
        let before = ledger.book().clone();
        // SQLite raises the limit to what the file has, so the next new page does not fit.
        ledger
            .database
            .write()
            .unwrap()
            .pragma_update_and_check(None, "max_page_count", 1, |_| Ok(()))
            .unwrap();
        let batch: Vec<_> = (20..220).map(|n| transfer(n, ANA, BEN, 1)).collect();
        let error = ledger.execute(&batch, LATER).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("disk is full: {}", path.display())
        );
        assert!(std::error::Error::source(&error).is_none(), "{error:?}");
        assert_eq!(*ledger.book(), before);
        assert_eq!(ledger.verify().unwrap().head, before.head());

        ledger
            .database
            .write()
            .unwrap()
            .pragma_update_and_check(None, "max_page_count", 10_000, |_| Ok(()))
            .unwrap();
        ledger.execute(&batch, LATER).unwrap();
        assert_eq!(ledger.balance(account(BEN)), Some(Amount(219)));
        let book = ledger.book().clone();
        drop(ledger);
        assert_eq!(*reopen(&path).unwrap().book(), book);
    }

    #[test]
    fn statement_that_fails_leaves_disk_and_memory_alone() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        let before = ledger.book().clone();
        tamper(
            ledger.database.read().unwrap(),
            "CREATE TEMP TRIGGER no AFTER INSERT ON entries WHEN new.sequence = 13
             BEGIN SELECT raise(ABORT, 'no'); END",
        );
        let batch = [transfer(20, ANA, BEN, 1), transfer(21, ANA, BEN, 1)];
        let error = ledger.execute(&batch, LATER).unwrap_err();
        assert!(matches!(error, StoreError::Sqlite { .. }), "{error}");
        assert_eq!(*ledger.book(), before);
        assert_eq!(ledger.verify().unwrap().head, before.head());
        ledger.execute(&batch[..1], LATER).unwrap();
    }

    #[test]
    fn handle_stops_writing_after_a_commit_that_failed() {
        let (_folder, path) = file();
        let mut ledger = reopen(&path).unwrap();
        live(&mut ledger);
        let before = ledger.book().clone();
        // A deferred constraint is the one thing that lets every statement pass and the commit not.
        ledger
            .database
            .write()
            .unwrap()
            .execute_batch(
                "CREATE TABLE odd (x REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED);
                 CREATE TRIGGER odd AFTER INSERT ON entries
                 BEGIN INSERT INTO odd VALUES (x'00'); END;",
            )
            .unwrap();
        let batch = [transfer(20, ANA, BEN, 1)];
        let error = ledger.execute(&batch, LATER).unwrap_err();
        assert!(matches!(error, StoreError::CommitFailed { .. }), "{error}");
        assert_eq!(*ledger.book(), before);
        let error = ledger.execute(&batch, LATER).unwrap_err();
        assert!(matches!(error, StoreError::ReopenNeeded), "{error}");
        let error = ledger.expire(LATER).unwrap_err();
        assert!(matches!(error, StoreError::ReopenNeeded), "{error}");
        ledger
            .database
            .write()
            .unwrap()
            .execute_batch("DROP TRIGGER odd; DROP TABLE odd;")
            .unwrap();
        drop(ledger);
        let mut ledger = reopen(&path).unwrap();
        assert_eq!(*ledger.book(), before);
        assert!(!ledger.execute(&batch, LATER).unwrap()[0].replayed);
    }

    #[test]
    fn time_that_sqlite_cannot_hold_is_refused() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        let before = ledger.book().clone();
        let end = UnixMillis(u64::MAX);
        for (operation, now) in [
            (transfer(20, ANA, BEN, 1), end),
            (reserve(20, 1, Some(end)), LATER),
        ] {
            let error = ledger.execute(&[operation], now).unwrap_err();
            assert!(
                matches!(error, StoreError::TimeOutOfRange { time } if time == end),
                "{error}"
            );
            assert_eq!(*ledger.book(), before);
        }
        let error = ledger.expire(end).unwrap_err();
        assert!(matches!(error, StoreError::TimeOutOfRange { .. }));
        let latest = UnixMillis(u64::MAX >> 1);
        ledger
            .execute(&[reserve(20, 1, Some(latest))], LATER)
            .unwrap();
        ledger.verify().unwrap();
    }

    #[test]
    fn changed_rows_are_named_on_opening() {
        type Expected = fn(&Corruption) -> bool;
        let cases: [(&str, Expected); 9] = [
            (
                "UPDATE entries SET amount = zeroblob(16) WHERE sequence = 4",
                |it| matches!(it, Corruption::ChainBroken { sequence: 4 }),
            ),
            (
                "UPDATE entries SET chain = zeroblob(32) WHERE sequence = 11",
                |it| matches!(it, Corruption::ChainBroken { sequence: 11 }),
            ),
            (
                "UPDATE entries SET time = time + 1 WHERE sequence = 1",
                |it| matches!(it, Corruption::ChainBroken { sequence: 1 }),
            ),
            (
                "UPDATE entries SET account_kind = 1 WHERE sequence = 2",
                |it| matches!(it, Corruption::ChainBroken { sequence: 2 }),
            ),
            ("DELETE FROM entries WHERE sequence = 6", |it| {
                matches!(
                    it,
                    Corruption::SequenceGap {
                        expected: 6,
                        found: 7
                    }
                )
            }),
            ("DELETE FROM entries WHERE sequence = 11", |it| {
                matches!(it, Corruption::AccountDiffers { account, .. }
                    if *account == AccountId::from_bytes([ANA; 16]))
            }),
            (
                "UPDATE accounts SET credits_posted = zeroblob(16) WHERE hex(id) LIKE '0303%'",
                |it| {
                    matches!(it, Corruption::AccountDiffers { account, .. }
                        if *account == AccountId::from_bytes([BEN; 16]))
                },
            ),
            ("DELETE FROM accounts WHERE hex(id) LIKE '0303%'", |it| {
                matches!(it, Corruption::AccountMissing { account }
                        if *account == AccountId::from_bytes([BEN; 16]))
            }),
            (
                "INSERT INTO accounts SELECT x'09090909090909090909090909090909', asset, kind,
                 credits_posted, debits_posted, credits_pending, debits_pending FROM accounts
                 WHERE kind = 2 LIMIT 1",
                |it| {
                    matches!(it, Corruption::AccountUnknown { account }
                        if *account == AccountId::from_bytes([9; 16]))
                },
            ),
        ];
        for (sql, expected) in cases {
            let (_folder, path) = tampered(sql);
            match reopen(&path).unwrap_err() {
                StoreError::Corruption(corruption) => {
                    assert!(expected(&corruption), "{sql}: {corruption}");
                }
                error => unreachable!("{sql}: {error}"),
            }
        }
    }

    #[test]
    fn columns_that_make_no_sense_are_named_on_opening() {
        let cases = [
            ("kind = 0", 4, "kind"),
            ("kind = 7", 4, "kind"),
            ("kind = -1", 4, "kind"),
            ("time = -1", 4, "time"),
            ("id = x'00'", 4, "id"),
            ("id = NULL", 5, "id"),
            ("from_account = x'00'", 5, "from_account"),
            ("to_account = NULL", 9, "to_account"),
            ("amount = NULL", 4, "amount"),
            ("amount = zeroblob(17)", 9, "amount"),
            ("released = x'05'", 9, "released"),
            ("released = NULL", 10, "released"),
            ("reservation = NULL", 11, "reservation"),
            ("expires = -5", 7, "expires"),
            ("asset = -1", 1, "asset"),
            ("asset = NULL", 1, "asset"),
            ("account_kind = 3", 1, "account_kind"),
            ("chain = x'00'", 1, "chain"),
        ];
        for (change, entry, name) in cases {
            let sql = format!("UPDATE entries SET {change} WHERE sequence = {entry}");
            let (_folder, path) = tampered(&sql);
            let error = reopen(&path).unwrap_err();
            assert!(
                matches!(error, StoreError::BadEntry { sequence, column }
                    if (sequence, column) == (entry, name)),
                "{sql}: {error}"
            );
        }
        let ana = Some(account(ANA));
        let cases = [
            ("id = x'00'", None, "id"),
            ("asset = 4294967296", ana, "asset"),
            ("kind = 0", ana, "kind"),
            ("credits_posted = x'00'", ana, "credits_posted"),
            ("debits_posted = zeroblob(15)", ana, "debits_posted"),
            ("credits_pending = zeroblob(17)", ana, "credits_pending"),
            ("debits_pending = x''", ana, "debits_pending"),
        ];
        for (change, whose, name) in cases {
            let sql = format!("UPDATE accounts SET {change} WHERE hex(id) LIKE '0202%'");
            let (_folder, path) = tampered(&sql);
            let error = reopen(&path).unwrap_err();
            assert!(
                matches!(error, StoreError::BadAccount { account, column }
                    if (account, column) == (whose, name)),
                "{sql}: {error}"
            );
        }
    }

    #[test]
    fn verify_finds_what_changed_under_an_open_handle() {
        let lived = |sql| {
            let mut ledger = SqliteLedger::in_memory().unwrap();
            live(&mut ledger);
            let extra = open(9, AccountKind::Holder);
            ledger.execute(&[extra], LATER).unwrap();
            ledger.verify().unwrap();
            tamper(ledger.database.read().unwrap(), sql);
            ledger.verify().unwrap_err()
        };
        let error = lived("UPDATE entries SET time = 5 WHERE sequence = 3");
        assert!(
            matches!(
                error,
                StoreError::Corruption(Corruption::ChainBroken { sequence: 3 })
            ),
            "{error}"
        );
        let error = lived("UPDATE accounts SET asset = 5 WHERE kind = 1");
        assert!(
            matches!(
                error,
                StoreError::Corruption(Corruption::AccountDiffers { .. })
            ),
            "{error}"
        );
        // A history cut short together with its accounts still proves itself, but not to memory.
        let error = lived(
            "DELETE FROM entries WHERE sequence = 12;
             DELETE FROM accounts WHERE hex(id) LIKE '0909%'",
        );
        assert!(
            matches!(error, StoreError::HeadDiffers { stored, book }
                if (stored.sequence, book.sequence) == (11, 12)),
            "{error}"
        );
        for sql in [
            "UPDATE accounts SET debits_pending = x'00' WHERE hex(id) LIKE '0909%'",
            "UPDATE entries SET to_account = zeroblob(16) WHERE sequence = 4",
        ] {
            let error = lived(sql);
            assert!(
                matches!(error, StoreError::Damaged { problems: 1 }),
                "{sql}: {error}"
            );
        }
    }

    #[test]
    fn history_is_not_changed_by_mistake() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        for sql in ["UPDATE entries SET time = 0", "DELETE FROM entries"] {
            assert!(ledger.database.read().unwrap().execute_batch(sql).is_err());
        }
        ledger.verify().unwrap();
    }

    #[test]
    fn no_changed_byte_of_the_file_changes_the_book() {
        let (folder, path) = file();
        let mut ledger = reopen(&path).unwrap();
        live(&mut ledger);
        let book = ledger.book().clone();
        drop(ledger);
        let sound = fs::read(&path).unwrap();
        let mut refused = 0;
        // A prime stride, so that all columns of all pages have their turn.
        for position in (0..sound.len()).step_by(149) {
            let mut bytes = sound.clone();
            bytes[position] ^= 0x55;
            let copy = folder.path().join("copy");
            fs::write(&copy, bytes).unwrap();
            match reopen(&copy) {
                Ok(ledger) => assert_eq!(*ledger.book(), book, "byte {position}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 10, "only {refused} changes were noticed");
    }

    #[test]
    fn damaged_schema_is_malformed() {
        // Its tables may be readable all the same: what fails is SQLite's own check of them.
        for (from, to) in [("length(", "leogth("), ("accounts (id)", "accounts (ie)")] {
            let (_folder, path) = file();
            live(&mut reopen(&path).unwrap());
            let mut bytes = fs::read(&path).unwrap();
            let places: Vec<_> = (0..bytes.len())
                .filter(|&at| bytes[at..].starts_with(from.as_bytes()))
                .collect();
            assert!(!places.is_empty(), "{from}");
            for at in places {
                bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            }
            fs::write(&path, bytes).unwrap();
            let error = reopen(&path)
                .and_then(|ledger| ledger.verify())
                .unwrap_err();
            assert!(matches!(error, StoreError::Malformed { .. }), "{error:?}");
        }
    }

    #[test]
    fn overwritten_page_is_malformed() {
        let (_folder, path) = file();
        live(&mut reopen(&path).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        bytes[4_096..].fill(0xee);
        fs::write(&path, bytes).unwrap();
        let error = reopen(&path).unwrap_err();
        assert!(matches!(error, StoreError::Malformed { .. }), "{error}");
    }

    #[test]
    fn second_handle_cannot_open_the_ledger() {
        let (_folder, path) = file();
        let mut first = reopen(&path).unwrap();
        let error = reopen(&path).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
        live(&mut first);
        first.verify().unwrap();
    }

    #[test]
    fn forked_child_is_refused_and_leaves_the_file_alone() {
        // Parent and child wrote one file through two copies of one handle, and destroyed it.
        let (folder, path) = file();
        let mut ledger = reopen(&path).unwrap();
        live(&mut ledger);
        let files = || {
            let names = ["ledger", "ledger-wal"].map(|name| folder.path().join(name));
            names.map(|name| fs::read(name).unwrap())
        };
        let before = files();
        ledger.database.fork();
        let refused = |error| assert!(matches!(error, StoreError::Forked { .. }), "{error}");
        refused(
            ledger
                .execute(&[transfer(20, ANA, BEN, 1)], LATER)
                .unwrap_err(),
        );
        // Not even what would change nothing, or what the rules refuse.
        refused(ledger.execute(&[], LATER).unwrap_err());
        refused(
            ledger
                .execute(&[transfer(21, BEN, ANA, 1_000)], LATER)
                .unwrap_err(),
        );
        refused(ledger.expire(UnixMillis(LATER.0 + 1)).unwrap_err());
        refused(ledger.entries(0, 1).unwrap_err());
        refused(ledger.history(account(ANA), 0, 1).unwrap_err());
        refused(ledger.verify().unwrap_err());
        drop(ledger);
        assert_eq!(files(), before);
        // The parent, of which the child's copy is no part, still has its lock.
        let error = reopen(&path).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    }

    #[test]
    fn ledger_moves_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<SqliteLedger>();
    }
}
