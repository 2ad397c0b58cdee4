//! The ledger on disk.

mod journal;
mod migration;
mod projection;
mod shared;
mod snapshot;
mod transcript;

use std::io::{BufRead, Write};
use std::path::Path;

use ed25519_dalek::SigningKey;
use fogcompute_base::{AccountId, TransferId, UnixMillis};
use fogcompute_ledger::{
    Account, Amount, Batch, Checkpoint, Corruption, Entry, EntryKind, Head, History, Operation,
    Plan, PublicKey, Receipt, ReservationState, Restore, SignedBatch, SignedCheckpoint, State,
    Verified,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, TransactionBehavior, params};

use self::journal::{Journal, Pending, Record};
use self::projection::Comparison;
pub use self::projection::Standing;
pub use self::shared::SharedLedger;
pub use self::snapshot::Opening;
pub use self::transcript::TextFormat;
use crate::database::{Absent, Database, Schema};
use crate::{Durability, StoreError};

/// Most entries one page of [`SqliteLedger::entries`] or [`SqliteLedger::history`] has.
pub const ENTRIES_PAGE_MAX: usize = 10_000;

/// Entries that the tables for SQL are taken on by in one transaction, about.
const PROJECTION_STEP: usize = 8_192;
/// How many entries the tables may be behind for closing to bring them up to date.
const PROJECTION_ON_CLOSING: u64 = 65_536;

const SCHEMA: Schema = Schema {
    application: i32::from_be_bytes(*b"FOGL"),
    migrations: &[include_str!("ledger_1.sql"), include_str!("ledger_2.sql")],
    carry_over: migration::carry_over,
};

/// What one of a group asks for: [`SqliteLedger::execute_group`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Asked {
    /// A batch of the host's own.
    Operations(Vec<Operation>),
    /// A batch that the owner of an account has signed.
    Signed(SignedBatch),
}

impl Asked {
    /// How many operations it has.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Operations(batch) => batch.len(),
            Self::Signed(batch) => batch.operations.len(),
        }
    }
}

impl From<Vec<Operation>> for Asked {
    fn from(batch: Vec<Operation>) -> Self {
        Self::Operations(batch)
    }
}

impl From<SignedBatch> for Asked {
    fn from(batch: SignedBatch) -> Self {
        Self::Signed(batch)
    }
}

/// What one of a group asks for, as far as it is known to be sound.
#[derive(Clone, Copy)]
#[expect(
    clippy::large_enum_variant,
    reason = "of a group where it matters, most are of the largest variant"
)]
enum Work<'a> {
    Operations(&'a [Operation]),
    Signed(&'a SignedBatch),
    Verified(Verified<'a>),
}

/// How a ledger is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LedgerOptions {
    /// What a power cut may cost.
    pub durability: Durability,
    /// Entries between two snapshots; more if there are more accounts than that. Opening after a
    /// crash carries at most about that many out again.
    pub snapshot_entries: u64,
}

impl Default for LedgerOptions {
    /// [`Durability::Full`], and 131,072 entries: a fraction of a second.
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            snapshot_entries: 1 << 17,
        }
    }
}

/// A [`State`] whose every change is on disk before it is in memory.
///
/// The truth is a journal of batches: a commit is one row. Snapshots of the state spare opening the
/// whole history; they are made now and then, and on closing. A damaged one is passed over
/// ([`opening`](Self::opening) tells). Opening trusts the journal before a snapshot,
/// [`verify`](Self::verify) does not.
///
/// For people and their SQL there are tables `entries` and `accounts`, which are brought up to date
/// behind the journal: when they are asked ([`history`](Self::history), [`as_of`](Self::as_of)), by
/// [`catch_up`](Self::catch_up), and on closing if there is little to do. The table `projection`
/// says how far they are.
///
/// ```no_run
/// # use fogcompute_store::{Durability, SqliteLedger};
/// let ledger = SqliteLedger::open("fog-ledger.sqlite", Durability::Full)?;
/// println!("{} entries", ledger.state().head().sequence);
/// # Ok::<(), fogcompute_store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct SqliteLedger {
    database: Database,
    state: State,
    options: LedgerOptions,
    opening: Opening,
    /// Sequence from which on a snapshot is due.
    snapshot_due: u64,
    /// Where the last snapshot was made.
    snapshot: u64,
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
    /// Opens or creates a ledger file and owns it until dropped. An empty file is a new ledger;
    /// one that holds anything else than a ledger is refused and left as it is.
    ///
    /// # Errors
    /// [`StoreError::SpecialPath`], [`StoreError::NulInPath`];
    /// [`StoreError::CannotOpen`], [`StoreError::IsFolder`], [`StoreError::NoFolder`],
    /// [`StoreError::Locked`], [`StoreError::ReadOnly`],
    /// [`StoreError::NotADatabase`], [`StoreError::OtherDatabase`], [`StoreError::SchemaTooNew`];
    /// [`StoreError::Corruption`], [`StoreError::BadBatch`], [`StoreError::BadEntry`],
    /// [`StoreError::BadAccount`], [`StoreError::Malformed`] when the file was changed from outside;
    /// [`StoreError::DiskFull`], [`StoreError::Sqlite`].
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        Self::open_with(
            path,
            LedgerOptions {
                durability,
                ..LedgerOptions::default()
            },
        )
    }

    /// Opens or creates a ledger file with options of its own.
    ///
    /// # Errors
    /// As [`SqliteLedger::open`].
    pub fn open_with(path: impl AsRef<Path>, options: LedgerOptions) -> Result<Self, StoreError> {
        let database = SCHEMA.open(path.as_ref(), options.durability, Absent::Create)?;
        Self::with(database, options)
    }

    /// Opens a ledger file that is there already, so that a mistyped name makes no new ledger. An
    /// empty file is no ledger.
    ///
    /// # Errors
    /// [`StoreError::Missing`]; as [`SqliteLedger::open`].
    pub fn open_existing(
        path: impl AsRef<Path>,
        options: LedgerOptions,
    ) -> Result<Self, StoreError> {
        let database = SCHEMA.open(path.as_ref(), options.durability, Absent::Refuse)?;
        Self::with(database, options)
    }

    /// Creates a ledger that is gone when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::with(SCHEMA.in_memory()?, LedgerOptions::default())
    }

    fn with(database: Database, options: LedgerOptions) -> Result<Self, StoreError> {
        let (state, opening) = snapshot::load(database.read()?)?;
        let snapshot = opening.snapshot.unwrap_or(0);
        Ok(Self {
            database,
            snapshot_due: snapshot.saturating_add(options.snapshot_entries),
            snapshot,
            state,
            options,
            opening,
            uncertain: false,
        })
    }

    /// What opening found.
    #[must_use]
    pub const fn opening(&self) -> Opening {
        self.opening
    }

    /// Carries a batch out at the time `now`: all of it or nothing, on disk before it returns.
    ///
    /// # Errors
    /// [`StoreError::Ledger`], [`StoreError::TimeOutOfRange`], [`StoreError::DiskFull`],
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`]: nothing changed.
    /// [`StoreError::CommitFailed`]: memory has not changed, the disk may have; this handle
    /// answers [`StoreError::ReopenNeeded`] from then on. When an id comes again and its first entry
    /// cannot be read: [`StoreError::BadBatch`], [`StoreError::BadEntry`],
    /// [`StoreError::Corruption`].
    pub fn execute(
        &mut self,
        batch: &[Operation],
        now: UnixMillis,
    ) -> Result<Vec<Receipt>, StoreError> {
        self.writable()?;
        let journal = Journal::new(self.database.read()?);
        let plan = self.state.plan(&journal, batch, now)?;
        self.carry_out(plan)
    }

    /// Carries a batch out that the owner of an account has signed.
    ///
    /// # Errors
    /// As [`SqliteLedger::execute`]; what is wrong with a signature is a [`StoreError::Ledger`].
    pub fn execute_signed(
        &mut self,
        batch: &SignedBatch,
        now: UnixMillis,
    ) -> Result<Vec<Receipt>, StoreError> {
        self.writable()?;
        let journal = Journal::new(self.database.read()?);
        let plan = self.state.plan_signed(&journal, batch, now)?;
        self.carry_out(plan)
    }

    /// Carries batches out, one after the other, and waits for the disk once. Each is all or
    /// nothing by itself, as if it came alone; signatures are checked together
    /// ([`State::verify`]).
    ///
    /// There is one result for each batch: as [`SqliteLedger::execute`], or
    /// [`StoreError::GroupFailed`] where the disk failed all of them.
    pub fn execute_group(
        &mut self,
        group: &[(Asked, UnixMillis)],
    ) -> Vec<Result<Vec<Receipt>, StoreError>> {
        let mut works = self.works(group);
        if let [(work, now)] = works[..] {
            let plan = self.plan_next(work, now, &[]);
            return vec![plan.and_then(|plan| self.carry_out(plan))];
        }
        let mut results = Vec::with_capacity(group.len());
        let mut records = Vec::with_capacity(group.len());
        let mut entries = Vec::new();
        for (work, now) in works.drain(..) {
            results.push(self.plan_next(work, now, &entries).map(|plan| {
                if !plan.is_empty() {
                    entries.extend_from_slice(plan.entries());
                    records.push(record(&plan));
                }
                self.take_in(plan)
            }));
        }
        if records.is_empty() {
            return results;
        }
        let stored = self.store(&records);
        let Err(error) = self.database.blame(stored) else {
            self.snapshot_if_due();
            return results;
        };
        // Memory is ahead of the disk: what it knows is read again.
        let unsure = matches!(error, StoreError::CommitFailed { .. });
        match self.database.read().and_then(snapshot::load) {
            Ok((state, _)) if !unsure => self.state = state,
            _ => self.uncertain = true,
        }
        let mut error = Some(error);
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = Err(error.take().unwrap_or(StoreError::GroupFailed { unsure }));
        }
        results
    }

    /// What a group asks for, with its signatures checked together. Those that do not pass are
    /// looked at again in their turn: an owner may be registered by what comes before.
    fn works<'a>(&self, group: &'a [(Asked, UnixMillis)]) -> Vec<(Work<'a>, UnixMillis)> {
        let signed: Vec<_> = group
            .iter()
            .filter_map(|(asked, _)| match asked {
                Asked::Signed(batch) => Some(batch),
                Asked::Operations(_) => None,
            })
            .collect();
        // One is checked when it is planned.
        let mut verified = if signed.len() > 1 {
            self.state.verify(&signed)
        } else {
            Vec::new()
        }
        .into_iter();
        group
            .iter()
            .map(|(asked, now)| {
                let work = match asked {
                    Asked::Operations(batch) => Work::Operations(batch),
                    Asked::Signed(batch) => match verified.next() {
                        Some(Ok(batch)) => Work::Verified(batch),
                        _ => Work::Signed(batch),
                    },
                };
                (work, *now)
            })
            .collect()
    }

    fn plan_next(
        &self,
        work: Work<'_>,
        now: UnixMillis,
        entries: &[Entry],
    ) -> Result<Plan, StoreError> {
        self.writable()?;
        let journal = Journal::new(self.database.read()?);
        let history = Pending {
            journal: &journal,
            entries,
        };
        let plan = match work {
            Work::Operations(batch) => self.state.plan(&history, batch, now),
            Work::Signed(batch) => self.state.plan_signed(&history, batch, now),
            Work::Verified(batch) => self.state.plan_verified(&history, batch, now),
        }?;
        storable(&plan)?;
        Ok(plan)
    }

    /// Releases reservations whose time has come: at most
    /// [`BATCH_OPERATIONS_MAX`](fogcompute_ledger::BATCH_OPERATIONS_MAX) of them. Call again until
    /// there are no receipts. [`State::next_expiry`] tells when it is due.
    ///
    /// # Errors
    /// As [`SqliteLedger::execute`], but for [`StoreError::Ledger`].
    pub fn expire(&mut self, now: UnixMillis) -> Result<Vec<Receipt>, StoreError> {
        self.writable()?;
        let plan = self.state.expire(now);
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
        if plan.is_empty() {
            return Ok(self.take_in(plan));
        }
        storable(&plan)?;
        let stored = self.store(&[record(&plan)]);
        self.uncertain = matches!(stored, Err(StoreError::CommitFailed { .. }));
        self.database.blame(stored)?;
        let receipts = self.take_in(plan);
        self.snapshot_if_due();
        Ok(receipts)
    }

    fn take_in(&mut self, plan: Plan) -> Vec<Receipt> {
        let receipts = self.state.commit(plan);
        receipts.expect("the plan was made for this state, which nobody else can change")
    }

    fn store(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.transaction(|connection| {
            records
                .iter()
                .try_for_each(|record| journal::append(connection, record))
        })
    }

    fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self
            .database
            .write()?
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let written = write(&transaction)?;
        transaction
            .commit()
            .map_err(|source| StoreError::CommitFailed { source })?;
        Ok(written)
    }

    fn snapshot_if_due(&mut self) {
        let sequence = self.state.head().sequence;
        if sequence < self.snapshot_due {
            return;
        }
        // The batch is on disk whatever becomes of this; if it fails, it is tried again later.
        drop(self.snapshot());
        let size = self.state.account_count() + self.state.open_reservations().len();
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        self.snapshot_due = sequence.saturating_add(self.options.snapshot_entries.max(size));
    }

    /// Makes a snapshot now, so that opening has nothing to carry out again.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], [`StoreError::ReopenNeeded`], [`StoreError::BadBatch`],
    /// [`StoreError::BadEntry`], [`StoreError::Malformed`], [`StoreError::CommitFailed`],
    /// [`StoreError::Sqlite`], [`StoreError::Forked`]. The ledger itself is not touched.
    pub fn snapshot(&mut self) -> Result<(), StoreError> {
        self.writable()?;
        let again = self.opening.damaged > 0;
        let transaction = self
            .database
            .write()?
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if again {
            // Which part of a damaged one is sound is not known.
            snapshot::clear(&transaction)?;
        }
        snapshot::write(&transaction, &self.state)?;
        transaction
            .commit()
            .map_err(|source| StoreError::CommitFailed { source })?;
        self.opening.damaged = 0;
        self.snapshot = self.state.head().sequence;
        Ok(())
    }

    /// What a power cut may cost, as SQLite has it. In memory, everything.
    ///
    /// # Errors
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn durability(&self) -> Result<Durability, StoreError> {
        self.database.durability()
    }

    /// The state in memory: accounts, reservations, ids, the head. In a forked child it is what it
    /// was when that was forked.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The account, if it was opened.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.state.account(id)
    }

    /// Posted balance of the account, if it was opened: [`Account::balance`].
    #[must_use]
    pub fn balance(&self, id: AccountId) -> Option<Amount> {
        self.account(id).map(Account::balance)
    }

    /// The entry an id was used for, to learn what became of a request whose answer was lost.
    ///
    /// # Errors
    /// As [`SqliteLedger::entries`].
    pub fn entry(&self, id: TransferId) -> Result<Option<Entry>, StoreError> {
        let journal = Journal::new(self.database.read()?);
        let sequence = self.state.sequence_of(id);
        sequence.map(|sequence| journal.entry(sequence)).transpose()
    }

    /// Entries after that sequence, in order: at most `limit`, at most [`ENTRIES_PAGE_MAX`].
    ///
    /// # Errors
    /// [`StoreError::BadBatch`], [`StoreError::BadEntry`], [`StoreError::Corruption`],
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let limit = limit.min(ENTRIES_PAGE_MAX);
        let journal = Journal::new(self.database.read()?);
        let mut entries: Vec<Entry> = Vec::new();
        while entries.len() < limit {
            let last = entries.last().map_or(after, |entry| entry.sequence);
            let Some(batch) = journal.batch(last.saturating_add(1))? else {
                break;
            };
            let next = batch.into_iter().filter(|entry| entry.sequence > last);
            entries.extend(next.take(limit - entries.len()));
        }
        Ok(entries)
    }

    /// Entries after that sequence that name the account, in order: at most `limit`, at most
    /// [`ENTRIES_PAGE_MAX`]. Brings the tables for SQL up to date first.
    ///
    /// # Errors
    /// As [`SqliteLedger::catch_up`].
    pub fn history(
        &mut self,
        account: AccountId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.catch_up()?;
        let query = format!(
            "SELECT {} FROM entries WHERE (from_account = ?1 OR to_account = ?1) \
             AND sequence > ?2 ORDER BY sequence LIMIT ?3",
            projection::ENTRY
        );
        let mut statement = self.database.read()?.prepare_cached(&query)?;
        let limit = i64::try_from(limit.min(ENTRIES_PAGE_MAX)).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![account.as_bytes(), position(after), limit])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(projection::read_entry(row)?);
        }
        Ok(entries)
    }

    /// What the account's posted counters were after the entry of that sequence; `None` if it was
    /// not opened by then. Brings the tables for SQL up to date first.
    ///
    /// # Errors
    /// As [`SqliteLedger::catch_up`].
    pub fn as_of(
        &mut self,
        account: AccountId,
        sequence: u64,
    ) -> Result<Option<Standing>, StoreError> {
        self.catch_up()?;
        projection::standing(self.database.read()?, account, sequence)
    }

    /// The same at a time: after the last entry that was made by then. Where clocks were set back,
    /// an entry counts from the latest time before it.
    ///
    /// # Errors
    /// As [`SqliteLedger::catch_up`].
    pub fn as_of_time(
        &mut self,
        account: AccountId,
        at: UnixMillis,
    ) -> Result<Option<Standing>, StoreError> {
        let sequence = self.sequence_at(at)?;
        projection::standing(self.database.read()?, account, sequence)
    }

    /// Sequence of the last entry that was made by that time, as [`as_of_time`](Self::as_of_time)
    /// counts; 0 if there is none. Brings the tables for SQL up to date first.
    ///
    /// # Errors
    /// As [`SqliteLedger::catch_up`].
    pub fn sequence_at(&mut self, at: UnixMillis) -> Result<u64, StoreError> {
        self.catch_up()?;
        projection::sequence_at(self.database.read()?, at)
    }

    /// Brings the tables for SQL up to date.
    ///
    /// # Errors
    /// [`StoreError::BadProjection`], [`StoreError::BadAccount`], [`StoreError::BadBatch`],
    /// [`StoreError::BadEntry`], [`StoreError::Corruption`], [`StoreError::DiskFull`],
    /// [`StoreError::CommitFailed`], [`StoreError::Malformed`], [`StoreError::Sqlite`],
    /// [`StoreError::Forked`]. The ledger itself is not touched.
    pub fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            let (projected, _) = projection::position_of(self.database.read()?)?;
            if projected >= self.state.head().sequence {
                return Ok(());
            }
            let step = |connection: &Connection| projection::advance(connection, PROJECTION_STEP);
            let advanced = self.transaction(step);
            if self.database.blame(advanced)? == 0 {
                return Ok(());
            }
        }
    }

    /// Makes the tables for SQL anew, from the history.
    ///
    /// # Errors
    /// As [`SqliteLedger::catch_up`].
    pub fn project_anew(&mut self) -> Result<(), StoreError> {
        let cleared = self.transaction(|connection| {
            connection.execute_batch(
                "DELETE FROM entries; DELETE FROM accounts; DELETE FROM projection;
                 INSERT INTO projection VALUES (1, 0, 0);",
            )?;
            Ok(())
        });
        self.database.blame(cleared)?;
        self.catch_up()
    }

    /// SQLite's own check of pages, indexes and rows.
    ///
    /// Pages that SQLite has cached are not read from disk again; to check the disk itself, open
    /// the file anew.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Malformed`], [`StoreError::Sqlite`],
    /// [`StoreError::Forked`].
    pub fn check_integrity(&self) -> Result<(), StoreError> {
        let mut problems = 0;
        for check in ["integrity_check", "foreign_key_check"] {
            self.database.read()?.pragma_query(None, check, |row| {
                let fine = row.get_ref(0)? == ValueRef::Text(b"ok");
                problems += usize::from(!fine);
                Ok(())
            })?;
        }
        match problems {
            0 => Ok(()),
            problems => Err(StoreError::Damaged { problems }),
        }
    }

    /// Proves the file: [`check_integrity`](Self::check_integrity), then the whole history carried
    /// out again, from the first entry on, and compared with its digests, with the tables for SQL,
    /// and with memory.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Corruption`], [`StoreError::BadBatch`],
    /// [`StoreError::BadEntry`], [`StoreError::BadAccount`], [`StoreError::BadProjection`],
    /// [`StoreError::ProjectionDiffers`], [`StoreError::HeadDiffers`],
    /// [`StoreError::StateDiffers`], [`StoreError::Malformed`], [`StoreError::Sqlite`],
    /// [`StoreError::Forked`].
    pub fn verify(&self) -> Result<Verification, StoreError> {
        self.verify_against(None)
    }

    /// Proves the file as [`verify`](Self::verify) does, and that it is the history of which `key`
    /// signed a checkpoint: nothing before that was rewritten since.
    ///
    /// # Errors
    /// [`StoreError::Corruption`] with [`Corruption::CheckpointForged`],
    /// [`Corruption::CheckpointDiffers`], [`Corruption::CheckpointMissing`]; as
    /// [`SqliteLedger::verify`].
    pub fn verify_since(
        &self,
        checkpoint: &SignedCheckpoint,
        key: &PublicKey,
    ) -> Result<Verification, StoreError> {
        self.verify_against(Some(checkpoint.verify(key)?))
    }

    fn verify_against(&self, checkpoint: Option<Checkpoint>) -> Result<Verification, StoreError> {
        self.check_integrity()?;
        let connection = self.database.read()?;
        let mut restore = Restore::new();
        let mut comparison = Comparison::new(connection)?;
        let mut ahead = checkpoint;
        let meet = |restore: &Restore, ahead: &mut Option<Checkpoint>| match ahead
            .filter(|it| it.head.sequence == restore.state().head().sequence)
        {
            Some(checkpoint) => {
                *ahead = None;
                checkpoint.compare(restore.state())
            }
            None => Ok(()),
        };
        meet(&restore, &mut ahead)?;
        journal::each_after(connection, 0, |stored| {
            // A checkpoint may fall into a batch: an import cuts the history anew.
            let inside = ahead.and_then(|it| {
                let count = it.head.sequence.checked_sub(stored.batch.first)?;
                let count = usize::try_from(count.checked_add(1)?).ok()?;
                (count < stored.batch.kinds.len()).then_some(count)
            });
            if let Some(count) = inside {
                let (before, after) = split(&stored.batch, count);
                restore.push_batch(&before)?;
                meet(&restore, &mut ahead)?;
                restore.push_batch(&after)?;
            } else {
                restore.push_batch(&stored.batch)?;
                meet(&restore, &mut ahead)?;
            }
            journal::chained(&restore, &stored)?;
            comparison.push(&stored.batch)?;
            Ok(true)
        })?;
        let stored = restore.finish_alone()?;
        if let Some(checkpoint) = ahead {
            return Err(Corruption::CheckpointMissing {
                checkpoint: checkpoint.head,
                end: stored.head().sequence,
            }
            .into());
        }
        if stored.head() != self.state.head() {
            return Err(StoreError::HeadDiffers {
                stored: stored.head(),
                book: self.state.head(),
            });
        }
        comparison.finish()?;
        if stored != self.state {
            return Err(StoreError::StateDiffers);
        }
        Ok(Verification {
            head: stored.head(),
            accounts: stored.account_count(),
            open_reservations: stored.open_reservations().len(),
        })
    }

    /// A statement about the ledger as it is now, for others to keep.
    #[must_use]
    pub fn checkpoint(&self, now: UnixMillis, secret: &SigningKey) -> SignedCheckpoint {
        SignedCheckpoint::new(Checkpoint::of(&self.state, now), secret)
    }

    /// Copies the ledger into a new file while it is open. The copy is a ledger of its own.
    ///
    /// # Errors
    /// [`StoreError::Exists`]; [`StoreError::SpecialPath`], [`StoreError::NulInPath`],
    /// [`StoreError::IsFolder`], [`StoreError::NoFolder`], [`StoreError::CannotOpen`];
    /// [`StoreError::DiskFull`], [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<(), StoreError> {
        self.database.backup(path.as_ref())
    }

    /// Writes the history as text; says how many entries that were.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::BadBatch`], [`StoreError::BadEntry`],
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn export(&self, format: TextFormat, out: &mut impl Write) -> Result<u64, StoreError> {
        transcript::export(self.database.read()?, format, out)
    }

    /// Reads a history that was written as text into this ledger, which must be empty. Every entry
    /// is carried out again and must come out the same, digest included; all of them or nothing.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`], [`StoreError::BadLine`], [`StoreError::Io`],
    /// [`StoreError::Corruption`], [`StoreError::TimeOutOfRange`]; as [`SqliteLedger::execute`].
    pub fn import(
        &mut self,
        format: TextFormat,
        input: &mut impl BufRead,
    ) -> Result<(), StoreError> {
        self.writable()?;
        let entries = self.state.head().sequence;
        if entries > 0 {
            return Err(StoreError::NotEmpty { entries });
        }
        let imported = self.transaction(|connection| {
            transcript::import(connection, format, input)?;
            Ok(())
        });
        self.uncertain = matches!(imported, Err(StoreError::CommitFailed { .. }));
        self.database.blame(imported)?;
        let (state, opening) = snapshot::load(self.database.read()?)?;
        (self.state, self.opening) = (state, opening);
        self.snapshot_if_due();
        Ok(())
    }

    /// Closes the ledger: makes a snapshot, and brings the tables for SQL up to date if there is
    /// little to do. Dropping does the same and keeps quiet about what fails.
    ///
    /// # Errors
    /// As [`SqliteLedger::snapshot`] and [`SqliteLedger::catch_up`].
    pub fn close(mut self) -> Result<(), StoreError> {
        self.settle()
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        self.writable()?;
        let head = self.state.head().sequence;
        if self.snapshot < head || self.opening.damaged > 0 {
            self.snapshot()?;
        }
        let (projected, _) = projection::position_of(self.database.read()?)?;
        if head.saturating_sub(projected) <= PROJECTION_ON_CLOSING {
            self.catch_up()?;
        }
        Ok(())
    }
}

impl Drop for SqliteLedger {
    fn drop(&mut self) {
        if self.database.has_file() {
            // What is not done now is done on opening or on asking.
            drop(self.settle());
        }
    }
}

fn record(plan: &Plan) -> Record {
    Record {
        first: plan.base().sequence.saturating_add(1),
        time: plan.time(),
        head: plan.head(),
        body: plan.record(),
    }
}

/// Refuses times that the tables for SQL cannot hold.
fn storable(plan: &Plan) -> Result<(), StoreError> {
    if !plan.is_empty() {
        time(plan.time())?;
    }
    for entry in plan.entries() {
        if let EntryKind::Reserved {
            expires: Some(expires),
            ..
        } = entry.kind
        {
            time(expires)?;
        }
    }
    Ok(())
}

/// A batch as two, of which the first has `count` entries.
fn split(batch: &Batch, count: usize) -> (Batch, Batch) {
    let (before, after) = batch.kinds.split_at(count);
    let part = |first, kinds: &[EntryKind]| Batch {
        first,
        time: batch.time,
        kinds: kinds.to_vec(),
    };
    let middle = batch.first.saturating_add(count as u64);
    (part(batch.first, before), part(middle, after))
}

fn position(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn time(time: UnixMillis) -> Result<i64, StoreError> {
    i64::try_from(time.0).map_err(|_| StoreError::TimeOutOfRange { time })
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

    fn execute_group(
        &mut self,
        batches: Vec<Vec<Operation>>,
        now: UnixMillis,
    ) -> Vec<Result<Vec<Receipt>, StoreError>> {
        let group = batches
            .into_iter()
            .map(|batch| (Asked::Operations(batch), now));
        Self::execute_group(self, &group.collect::<Vec<_>>())
    }

    fn is_reserved(&self, id: TransferId) -> Result<bool, StoreError> {
        Ok(self.state().reservation_state(id) == Some(ReservationState::Open))
    }

    fn is_refusal(error: &StoreError) -> bool {
        matches!(error, StoreError::Ledger(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_ledger::{AccountKind, AssetId, LedgerError, Limits, Memo, verify_chain};
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
            memo: Memo::NONE,
        }
    }

    fn reserve(n: u8, amount: u128, expires: Option<UnixMillis>) -> Operation {
        Operation::Reserve {
            id: id(n),
            from: account(ANA),
            to: account(BEN),
            amount: Amount(amount),
            expires,
            memo: Memo::NONE,
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
                 DROP TRIGGER IF EXISTS batches_are_not_changed;
                 DROP TRIGGER IF EXISTS batches_are_not_deleted;
                 {sql};
                 PRAGMA ignore_check_constraints = OFF;"
            ))
            .unwrap();
    }

    #[test]
    fn file_that_must_exist_is_neither_created_nor_filled() {
        let (_folder, path) = file();
        let existing = || SqliteLedger::open_existing(&path, LedgerOptions::default());
        let error = existing().unwrap_err();
        assert!(
            matches!(&error, StoreError::Missing { path: it } if *it == path),
            "{error}"
        );
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        let error = existing().unwrap_err();
        assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        // Nor one that SQLite has made and nobody has filled.
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("VACUUM").unwrap();
        drop(connection);
        let before = fs::read(&path).unwrap();
        let error = existing().unwrap_err();
        assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
        assert!(before == fs::read(&path).unwrap());
        live(&mut reopen(&path).unwrap());
        assert_eq!(existing().unwrap().state().head().sequence, 11);
    }

    #[test]
    fn reopened_ledger_is_the_same() {
        for durability in [Durability::Full, Durability::Normal] {
            let (_folder, path) = file();
            let mut ledger = SqliteLedger::open(&path, durability).unwrap();
            live(&mut ledger);
            let (book, entries) = (ledger.state().clone(), ledger.entries(0, 100).unwrap());
            drop(ledger);

            let mut ledger = SqliteLedger::open(&path, durability).unwrap();
            assert_eq!(*ledger.state(), book);
            assert_eq!(ledger.entries(0, 100).unwrap(), entries);
            assert_eq!(verify_chain(Head::GENESIS, &entries), Ok(book.head()));
            assert_eq!(ledger.balance(account(BEN)), Some(Amount(19)));
            assert_eq!(ledger.balance(account(9)), None);
            assert_eq!(ledger.state().open_reservations().len(), 1);
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
        const NONE: [u64; 0] = [];
        let sequences = |entries: Vec<Entry>| -> Vec<u64> {
            entries.iter().map(|entry| entry.sequence).collect()
        };
        let all = ledger.entries(0, usize::MAX).unwrap();
        assert_eq!(sequences(all.clone()), (1..=11).collect::<Vec<_>>());
        assert_eq!(sequences(ledger.entries(3, 2).unwrap()), [4, 5]);
        assert_eq!(sequences(ledger.entries(11, 5).unwrap()), NONE);
        assert_eq!(sequences(ledger.entries(u64::MAX, 5).unwrap()), NONE);
        assert_eq!(sequences(ledger.entries(0, 0).unwrap()), NONE);

        let mut history =
            |n, after, limit| sequences(ledger.history(account(n), after, limit).unwrap());
        assert_eq!(history(MINT, 0, 100), [1, 4]);
        assert_eq!(history(ANA, 0, 100), [2, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(history(BEN, 4, 3), [5, 6, 7]);
        assert_eq!(history(9, 0, 100), NONE);
    }

    #[test]
    fn refused_batch_leaves_disk_and_memory_alone() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        let before = ledger.state().clone();
        let batch = [transfer(20, ANA, BEN, 1), transfer(21, BEN, ANA, 1_000)];
        let error = ledger.execute(&batch, LATER).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Ledger(LedgerError::InsufficientFunds { .. })
            ),
            "{error}"
        );
        assert_eq!(*ledger.state(), before);
        assert_eq!(ledger.verify().unwrap().head, before.head());
    }

    #[test]
    fn failing_disk_leaves_disk_and_memory_alone() {
        let (_folder, path) = file();
        let mut ledger = reopen(&path).unwrap();
        live(&mut ledger);
        let before = ledger.state().clone();
        // SQLite raises the limit to what the file has, so the next new page does not fit.
        ledger
            .database
            .write()
            .unwrap()
            .pragma_update_and_check(None, "max_page_count", 1, |_| Ok(()))
            .unwrap();
        // More than the pages that the migration has left empty.
        let batch: Vec<_> = (20_u128..3_020)
            .map(|n| Operation::Transfer {
                id: TransferId::from_bytes(n.to_be_bytes()),
                from: account(ANA),
                to: account(BEN),
                amount: Amount(1),
                memo: Memo::NONE,
            })
            .collect();
        let error = ledger.execute(&batch, LATER).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("disk is full: {}", path.display())
        );
        assert!(std::error::Error::source(&error).is_none(), "{error:?}");
        assert_eq!(*ledger.state(), before);
        assert_eq!(ledger.verify().unwrap().head, before.head());

        ledger
            .database
            .write()
            .unwrap()
            .pragma_update_and_check(None, "max_page_count", 10_000, |_| Ok(()))
            .unwrap();
        ledger.execute(&batch, LATER).unwrap();
        assert_eq!(ledger.balance(account(BEN)), Some(Amount(3_019)));
        let book = ledger.state().clone();
        drop(ledger);
        assert_eq!(*reopen(&path).unwrap().state(), book);
    }

    #[test]
    fn statement_that_fails_leaves_disk_and_memory_alone() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        let before = ledger.state().clone();
        tamper(
            ledger.database.read().unwrap(),
            "CREATE TEMP TRIGGER no AFTER INSERT ON batches WHEN new.last_sequence = 13
             BEGIN SELECT raise(ABORT, 'no'); END",
        );
        let batch = [transfer(20, ANA, BEN, 1), transfer(21, ANA, BEN, 1)];
        let error = ledger.execute(&batch, LATER).unwrap_err();
        assert!(matches!(error, StoreError::Sqlite { .. }), "{error}");
        assert_eq!(*ledger.state(), before);
        assert_eq!(ledger.verify().unwrap().head, before.head());
        ledger.execute(&batch[..1], LATER).unwrap();
    }

    #[test]
    fn handle_stops_writing_after_a_commit_that_failed() {
        let (_folder, path) = file();
        let mut ledger = reopen(&path).unwrap();
        live(&mut ledger);
        let before = ledger.state().clone();
        // A deferred constraint is the one thing that lets every statement pass and the commit not.
        ledger
            .database
            .write()
            .unwrap()
            .execute_batch(
                "CREATE TABLE odd (
                     x REFERENCES batches (first_sequence) DEFERRABLE INITIALLY DEFERRED
                 );
                 CREATE TRIGGER odd AFTER INSERT ON batches
                 BEGIN INSERT INTO odd VALUES (-1); END;",
            )
            .unwrap();
        let batch = [transfer(20, ANA, BEN, 1)];
        let error = ledger.execute(&batch, LATER).unwrap_err();
        assert!(matches!(error, StoreError::CommitFailed { .. }), "{error}");
        assert_eq!(*ledger.state(), before);
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
        assert_eq!(*ledger.state(), before);
        assert!(!ledger.execute(&batch, LATER).unwrap()[0].replayed);
    }

    #[test]
    fn time_that_sqlite_cannot_hold_is_refused() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        let before = ledger.state().clone();
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
            assert_eq!(*ledger.state(), before);
        }
        let error = ledger.expire(end).unwrap_err();
        assert!(matches!(error, StoreError::TimeOutOfRange { .. }));
        let latest = UnixMillis(u64::MAX >> 1);
        ledger
            .execute(&[reserve(20, 1, Some(latest))], LATER)
            .unwrap();
        ledger.verify().unwrap();
    }

    /// What a proof says of a file that was changed.
    fn found(sql: &str) -> StoreError {
        let (_folder, path) = tampered(sql);
        reopen(&path)
            .and_then(|ledger| ledger.verify())
            .expect_err(sql)
    }

    #[test]
    fn changed_rows_of_the_history_are_named() {
        type Expected = fn(&StoreError) -> bool;
        // The batches start at entries 1, 5 and 11.
        let cases: [(&str, Expected); 10] = [
            (
                // The last byte of the last amount.
                "UPDATE batches SET body = CAST(substr(body, 1, length(body) - 1) || x'07' AS BLOB) \
                 WHERE first_sequence = 1",
                |it| {
                    matches!(
                        it,
                        StoreError::Corruption(Corruption::ChainBroken { sequence: 4 })
                    )
                },
            ),
            (
                "UPDATE batches SET chain = zeroblob(32) WHERE first_sequence = 1",
                |it| {
                    matches!(
                        it,
                        StoreError::Corruption(Corruption::ChainBroken { sequence: 4 })
                    )
                },
            ),
            (
                "UPDATE batches SET time = time + 1 WHERE first_sequence = 5",
                |it| {
                    matches!(
                        it,
                        StoreError::BadEntry {
                            sequence: 5,
                            column: "time"
                        }
                    )
                },
            ),
            (
                "UPDATE batches SET last_sequence = 5 WHERE first_sequence = 5",
                |it| {
                    matches!(
                        it,
                        StoreError::BadEntry {
                            sequence: 5,
                            column: "last_sequence"
                        }
                    )
                },
            ),
            (
                "UPDATE batches SET first_sequence = 2 WHERE first_sequence = 1",
                |it| {
                    matches!(
                        it,
                        StoreError::BadEntry {
                            sequence: 2,
                            column: "first_sequence"
                        }
                    )
                },
            ),
            (
                "UPDATE batches SET chain = x'00' WHERE first_sequence = 5",
                |it| matches!(it, StoreError::Damaged { problems: 1 }),
            ),
            (
                "UPDATE batches SET body = x'0100' WHERE first_sequence = 5",
                |it| matches!(it, StoreError::BadBatch { sequence: 5, .. }),
            ),
            // 100 for 19 that were posted: more than was reserved.
            (
                "UPDATE batches SET body = unhex(replace(hex(body), \
                 '00000000000000000000000000000013', '00000000000000000000000000000064')) \
                 WHERE first_sequence = 5",
                |it| {
                    let reason = |reason: &LedgerError| {
                        matches!(reason, LedgerError::PostExceedsReservation { .. })
                    };
                    matches!(it, StoreError::Corruption(Corruption::Impossible { sequence: 9, reason: it })
                        if reason(it))
                },
            ),
            ("DELETE FROM batches WHERE first_sequence = 5", |it| {
                let gap = Corruption::SequenceGap {
                    expected: 5,
                    found: 11,
                };
                matches!(it, StoreError::Corruption(it) if *it == gap)
            }),
            // Cut short it proves itself; the tables remember.
            ("DELETE FROM batches WHERE first_sequence = 11", |it| {
                matches!(
                    it,
                    StoreError::ProjectionDiffers { sequence: 11 }
                        | StoreError::Corruption(Corruption::AccountDiffers { .. })
                )
            }),
        ];
        for (sql, expected) in cases {
            let error = found(sql);
            assert!(expected(&error), "{sql}: {error:?}");
        }
    }

    #[test]
    fn changed_rows_of_the_tables_are_named_and_made_anew() {
        type Expected = fn(&StoreError) -> bool;
        let differs: Expected = |it| matches!(it, StoreError::ProjectionDiffers { sequence: 4 });
        let cases: [(&str, Expected); 15] = [
            ("UPDATE entries SET amount = zeroblob(16) WHERE sequence = 4", differs),
            ("UPDATE entries SET to_credits = zeroblob(16) WHERE sequence = 4", differs),
            ("UPDATE entries SET moment = 4 WHERE sequence = 4", differs),
            ("UPDATE entries SET code = 4, reference = zeroblob(16) WHERE sequence = 4", differs),
            ("UPDATE entries SET chain = zeroblob(32) WHERE sequence = 4", differs),
            ("DELETE FROM entries WHERE sequence = 4", differs),
            (
                "INSERT INTO entries SELECT 99, time, moment, kind, zeroblob(16), reservation,
                 from_account, to_account, asset, account_kind, amount, released, expires, code,
                 reference, detail, chain, from_credits, from_debits, to_credits, to_debits
                 FROM entries WHERE sequence = 4",
                |it| matches!(it, StoreError::ProjectionDiffers { sequence: 12 }),
            ),
            (
                "UPDATE entries SET kind = 77 WHERE sequence = 4",
                |it| matches!(it, StoreError::BadEntry { sequence: 4, column: "kind" }),
            ),
            (
                "UPDATE entries SET id = x'00' WHERE sequence = 4",
                |it| matches!(it, StoreError::BadEntry { sequence: 4, column: "id" }),
            ),
            (
                "UPDATE entries SET released = NULL WHERE sequence = 10",
                |it| matches!(it, StoreError::BadEntry { sequence: 10, column: "released" }),
            ),
            (
                "UPDATE accounts SET credits_posted = zeroblob(16) WHERE hex(id) LIKE '0303%'",
                |it| matches!(it, StoreError::Corruption(Corruption::AccountDiffers { account: it, .. })
                    if *it == account(BEN)),
            ),
            ("DELETE FROM accounts WHERE hex(id) LIKE '0303%'", |it| {
                matches!(it, StoreError::Corruption(Corruption::AccountMissing { account: it })
                    if *it == account(BEN))
            }),
            (
                "INSERT INTO accounts SELECT x'09090909090909090909090909090909', asset, kind,
                 credits_posted, debits_posted, credits_pending, debits_pending, closed, max_supply,
                 credits_must_not_exceed_debits, spend_per_day FROM accounts WHERE kind = 2 LIMIT 1",
                |it| matches!(it, StoreError::Corruption(Corruption::AccountUnknown { account: it })
                    if *it == account(9)),
            ),
            ("UPDATE accounts SET kind = 0 WHERE hex(id) LIKE '0303%'", |it| {
                matches!(it, StoreError::BadAccount { account: it, column: "kind" }
                    if *it == Some(account(BEN)))
            }),
            ("UPDATE projection SET moment = -1", |it| {
                matches!(it, StoreError::BadProjection { column: "moment" })
            }),
        ];
        for (sql, expected) in cases {
            let error = found(sql);
            assert!(expected(&error), "{sql}: {error:?}");
            let (_folder, path) = tampered(sql);
            let mut ledger = reopen(&path).unwrap();
            ledger.project_anew().unwrap();
            ledger.verify().unwrap();
        }
    }

    #[test]
    fn rows_that_the_constraints_refuse_are_damage() {
        let error = found("UPDATE accounts SET debits_pending = x'00' WHERE kind = 1");
        assert!(
            matches!(error, StoreError::Damaged { problems: 1 }),
            "{error}"
        );
    }

    #[test]
    fn verify_finds_what_changed_under_an_open_handle() {
        let lived = |sql| {
            let mut ledger = SqliteLedger::in_memory().unwrap();
            live(&mut ledger);
            ledger
                .execute(&[open(9, AccountKind::Holder)], LATER)
                .unwrap();
            ledger.verify().unwrap();
            tamper(ledger.database.read().unwrap(), sql);
            ledger.verify().unwrap_err()
        };
        let error = lived("UPDATE batches SET chain = zeroblob(32) WHERE first_sequence = 5");
        assert!(
            matches!(
                error,
                StoreError::Corruption(Corruption::ChainBroken { sequence: 10 })
            ),
            "{error}"
        );
        let error = lived("DELETE FROM batches WHERE first_sequence = 12");
        assert!(
            matches!(error, StoreError::HeadDiffers { stored, book }
                if (stored.sequence, book.sequence) == (11, 12)),
            "{error}"
        );
    }

    /// A file whose snapshots are at entries 4, 10 and 11, of which the last two are kept; entry 12
    /// has come after them.
    fn with_snapshots(folder: &TempDir) -> (PathBuf, State) {
        let path = folder.path().join("ledger");
        let options = LedgerOptions {
            snapshot_entries: 1,
            ..LedgerOptions::default()
        };
        let mut ledger = SqliteLedger::open_with(&path, options).unwrap();
        live(&mut ledger);
        ledger.snapshot().unwrap();
        ledger.snapshot_due = u64::MAX;
        ledger.execute(&[transfer(20, ANA, BEN, 3)], LATER).unwrap();
        let state = ledger.state().clone();
        // As if it were killed.
        ledger.uncertain = true;
        (path, state)
    }

    #[test]
    fn opening_goes_on_from_the_newest_sound_snapshot() {
        let cases = [
            ("", Some(11), 0, 1),
            (
                "UPDATE snapshot_chunks SET body = zeroblob(9) WHERE sequence = 11",
                Some(10),
                1,
                2,
            ),
            (
                "UPDATE snapshots SET digest = x'00' WHERE sequence = 11",
                Some(10),
                1,
                2,
            ),
            (
                "UPDATE snapshots SET chain = zeroblob(32) WHERE sequence = 11",
                Some(10),
                1,
                2,
            ),
            (
                "DELETE FROM snapshot_chunks WHERE sequence = 11",
                Some(10),
                1,
                2,
            ),
            (
                "UPDATE id_segments SET body = zeroblob(48) WHERE last_sequence = 11",
                Some(10),
                1,
                2,
            ),
            (
                "DELETE FROM id_segments WHERE last_sequence = 4",
                None,
                2,
                12,
            ),
            (
                "UPDATE id_segments SET first_sequence = 2 WHERE last_sequence = 4",
                None,
                2,
                12,
            ),
            ("UPDATE snapshot_chunks SET body = x''", None, 2, 12),
            ("DELETE FROM snapshots", None, 0, 12),
            (
                "DROP TABLE snapshots; CREATE TABLE snapshots (a)",
                None,
                1,
                12,
            ),
        ];
        for (sql, snapshot, damaged, replayed) in cases {
            let folder = TempDir::new().unwrap();
            let (path, state) = with_snapshots(&folder);
            tamper(&Connection::open(&path).unwrap(), sql);
            let ledger = reopen(&path).unwrap();
            assert_eq!(*ledger.state(), state, "{sql}");
            let expected = Opening {
                snapshot,
                damaged,
                replayed,
            };
            assert_eq!(ledger.opening(), expected, "{sql}");
            ledger.verify().unwrap();
            // Closing puts a sound one in place of what was damaged.
            let repaired = !sql.contains("DROP");
            drop(ledger);
            let ledger = reopen(&path).unwrap();
            assert_eq!(*ledger.state(), state, "{sql}");
            assert_eq!(ledger.opening().snapshot == Some(12), repaired, "{sql}");
        }
    }

    #[test]
    fn signatures_and_quotas_survive_a_restart() {
        let (_folder, path) = file();
        let mut ledger = reopen(&path).unwrap();
        live(&mut ledger);
        let secret = SigningKey::from_bytes(&[7; 32]);
        let limits = Limits {
            spend_per_day: Some(Amount(30)),
            ..Limits::default()
        };
        let batch = [
            Operation::Own {
                id: id(20),
                account: account(ANA),
                key: PublicKey::of(&secret),
            },
            Operation::Limit {
                id: id(21),
                account: account(ANA),
                limits,
            },
        ];
        ledger.execute(&batch, NOW).unwrap();
        let signed = |nonce, n, amount| {
            let pay = vec![transfer(n, ANA, BEN, amount)];
            SignedBatch::new(account(ANA), nonce, UnixMillis(u64::MAX), pay, &secret)
        };
        ledger.execute_signed(&signed(1, 22, 5), NOW).unwrap();
        // 19 were posted before.
        for kill in [true, false] {
            ledger.uncertain = kill;
            drop(ledger);
            ledger = reopen(&path).unwrap();
            let replayed = ledger.execute_signed(&signed(1, 22, 5), NOW).unwrap_err();
            assert!(
                matches!(
                    replayed,
                    StoreError::Ledger(LedgerError::SignatureReplayed { next: 2, .. })
                ),
                "{replayed}"
            );
            let error = ledger.execute_signed(&signed(2, 23, 7), NOW).unwrap_err();
            assert!(
                matches!(error, StoreError::Ledger(LedgerError::QuotaExceeded { left, .. })
                    if left == Amount(6)),
                "{error}"
            );
        }
        ledger.execute_signed(&signed(2, 23, 6), NOW).unwrap();
        ledger.catch_up().unwrap();
        ledger.verify().unwrap();
        let entries = ledger.history(account(ANA), 11, 10).unwrap();
        let kinds: Vec<u8> = entries.iter().map(|entry| entry.kind.code()).collect();
        assert_eq!(kinds, [9, 7, 10, 2, 10, 2]);
        assert_eq!(ledger.entry(id(22)).unwrap(), Some(entries[3].clone()));
    }

    #[test]
    fn balances_of_any_moment_are_known() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        let late = UnixMillis(LATER.0 + 10);
        ledger.execute(&[transfer(20, ANA, BEN, 3)], late).unwrap();
        // A clock was set back; what came later still comes later.
        ledger.execute(&[transfer(21, BEN, ANA, 2)], NOW).unwrap();
        let mut balance = |n, sequence| {
            let standing = ledger.as_of(account(n), sequence).unwrap();
            standing.map(|it| (it.sequence, it.balance().0))
        };
        assert_eq!(balance(BEN, 2), None);
        assert_eq!(balance(BEN, 3), Some((3, 0)));
        assert_eq!(balance(BEN, 8), Some((8, 0)));
        assert_eq!(balance(BEN, 9), Some((9, 19)));
        assert_eq!(balance(BEN, 11), Some((11, 19)));
        assert_eq!(balance(BEN, 12), Some((12, 22)));
        assert_eq!(balance(BEN, u64::MAX), Some((13, 20)));
        assert_eq!(balance(9, 13), None);
        let mut balance = |at| {
            let standing = ledger.as_of_time(account(BEN), at).unwrap();
            standing.map(|it| it.balance().0)
        };
        assert_eq!(balance(UnixMillis(NOW.0 - 1)), None);
        assert_eq!(balance(NOW), Some(19));
        assert_eq!(balance(UnixMillis(late.0 - 1)), Some(19));
        assert_eq!(balance(UnixMillis(u64::MAX)), Some(20));
        let moments = [UnixMillis(NOW.0 - 1), late, UnixMillis(u64::MAX)];
        let sequences = moments.map(|at| ledger.sequence_at(at).unwrap());
        assert_eq!(sequences, [0, 13, 13]);
        // Against the history carried out again, at each of its moments.
        let entries = ledger.entries(0, 100).unwrap();
        for count in 1..=entries.len() {
            let mut restore = Restore::new();
            restore.push(&entries[..count]).unwrap();
            for n in [MINT, ANA, BEN] {
                let standing = ledger.as_of(account(n), count as u64).unwrap();
                let known = restore.state().account(account(n));
                assert_eq!(
                    standing.map(|it| (it.credits_posted, it.debits_posted)),
                    known.map(|it| (it.credits_posted, it.debits_posted))
                );
            }
        }
    }

    #[test]
    fn group_is_committed_together_and_refused_apart() {
        let (_folder, path) = file();
        let mut ledger = reopen(&path).unwrap();
        live(&mut ledger);
        let one = |n, from, to, amount| (vec![transfer(n, from, to, amount)].into(), LATER);
        let group = [
            one(20, ANA, BEN, 5),
            one(21, BEN, ANA, 1_000),
            // What came before in the group counts, and is known when it comes again.
            one(22, BEN, ANA, 24),
            one(20, ANA, BEN, 5),
            one(20, ANA, BEN, 6),
            (vec![].into(), LATER),
            (vec![transfer(23, ANA, BEN, 1)].into(), UnixMillis(u64::MAX)),
            one(24, ANA, BEN, 1),
        ];
        let results = ledger.execute_group(&group);
        let ok: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(ok, [true, false, true, true, false, false, false, true]);
        assert!(results[3].as_ref().unwrap()[0].replayed);
        assert!(matches!(
            results[4],
            Err(StoreError::Ledger(LedgerError::IdReused { .. }))
        ));
        assert!(matches!(results[6], Err(StoreError::TimeOutOfRange { .. })));
        assert_eq!(ledger.balance(account(BEN)), Some(Amount(1)));
        assert_eq!(ledger.state().head().sequence, 14);
        ledger.verify().unwrap();
        let state = ledger.state().clone();
        ledger.uncertain = true;
        drop(ledger);
        assert_eq!(*reopen(&path).unwrap().state(), state);
    }

    #[test]
    fn group_may_register_the_owner_whose_signature_comes_next() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        let secret = SigningKey::from_bytes(&[9; 32]);
        let own = Operation::Own {
            id: id(40),
            account: account(ANA),
            key: PublicKey::of(&secret),
        };
        let later = UnixMillis(LATER.0 + 1);
        let pay = |nonce, n| {
            let operations = vec![transfer(n, ANA, BEN, 1)];
            SignedBatch::new(account(ANA), nonce, later, operations, &secret).into()
        };
        let group = [
            (pay(1, 41), LATER),
            (vec![own].into(), LATER),
            (pay(1, 41), LATER),
            (pay(2, 42), LATER),
            (pay(2, 43), LATER),
            (pay(3, 44), later),
        ];
        let results = ledger.execute_group(&group);
        let ok: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(ok, [false, true, true, true, false, false]);
        assert_eq!(ledger.state().owner(account(ANA)).unwrap().nonce, 2);
        ledger.verify().unwrap();
    }

    #[test]
    fn group_that_the_disk_fails_leaves_nothing() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        let before = ledger.state().clone();
        tamper(
            ledger.database.read().unwrap(),
            "CREATE TEMP TRIGGER no AFTER INSERT ON batches WHEN new.last_sequence = 13
             BEGIN SELECT raise(ABORT, 'no'); END",
        );
        let one = |n, amount| (vec![transfer(n, ANA, BEN, amount)].into(), LATER);
        let group = [one(20, 1), one(21, u128::MAX), one(22, 1), one(23, 1)];
        let results = ledger.execute_group(&group);
        assert!(matches!(results[0], Err(StoreError::Sqlite { .. })));
        assert!(matches!(results[1], Err(StoreError::Ledger(_))));
        for result in &results[2..] {
            let failed = StoreError::GroupFailed { unsure: false };
            assert_eq!(result.as_ref().unwrap_err().to_string(), failed.to_string());
        }
        assert_eq!(*ledger.state(), before);
        ledger.verify().unwrap();
        ledger.execute(&[transfer(20, ANA, BEN, 1)], LATER).unwrap();
    }

    #[test]
    fn threads_share_a_ledger() {
        let (_folder, path) = file();
        let mut ledger = reopen(&path).unwrap();
        live(&mut ledger);
        let shared = SharedLedger::new(ledger).unwrap();
        let threads: Vec<_> = (0..8_u8)
            .map(|thread| {
                let shared = shared.clone();
                std::thread::spawn(move || {
                    for n in 0..20 {
                        let id = TransferId::from_bytes([
                            100 + thread,
                            n,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                        ]);
                        let pay = |amount| Operation::Transfer {
                            id,
                            from: account(ANA),
                            to: account(BEN),
                            amount: Amount(amount),
                            memo: Memo::NONE,
                        };
                        // Every other one asks for what nobody has.
                        let refused = shared.execute(vec![pay(u128::MAX)], LATER);
                        assert!(matches!(refused, Err(StoreError::Ledger(_))));
                        let receipts = shared.execute(vec![pay(1)], LATER).unwrap();
                        assert!(!receipts[0].replayed);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let verified = shared.with(|ledger| ledger.verify()).unwrap().unwrap();
        assert_eq!(verified.head.sequence, 11 + 160);
        let panicked = shared.with(|_| assert_eq!(1, 2, "on purpose"));
        assert!(matches!(panicked, Err(StoreError::ThreadEnded)));
        drop(shared);
        // The last handle lets go of the file.
        let ledger = reopen(&path).unwrap();
        assert_eq!(ledger.balance(account(BEN)), Some(Amount(19 + 160)));
    }

    #[test]
    fn copy_made_while_open_is_a_ledger_of_its_own() {
        let (folder, path) = file();
        let mut ledger = reopen(&path).unwrap();
        live(&mut ledger);
        let copy = folder.path().join("copy");
        ledger.backup(&copy).unwrap();
        let error = ledger.backup(&copy).unwrap_err();
        assert!(matches!(error, StoreError::Exists { .. }), "{error}");
        ledger.execute(&[transfer(20, ANA, BEN, 1)], LATER).unwrap();
        let copied = reopen(&copy).unwrap();
        copied.verify().unwrap();
        assert_eq!(copied.state().head().sequence, 11);
        assert_eq!(ledger.state().head().sequence, 12);
    }

    #[test]
    fn history_goes_through_text_unchanged() {
        for format in [TextFormat::Csv, TextFormat::JsonLines] {
            let mut ledger = SqliteLedger::in_memory().unwrap();
            live(&mut ledger);
            let memo = Operation::Transfer {
                id: id(20),
                from: account(ANA),
                to: account(BEN),
                amount: Amount(3),
                memo: Memo {
                    code: 9,
                    reference: [7; 16],
                },
            };
            let close = Operation::Close {
                id: id(21),
                account: account(9),
            };
            let batch = [memo, open(9, AccountKind::Holder), close];
            ledger.execute(&batch, LATER).unwrap();
            let mut text = Vec::new();
            assert_eq!(ledger.export(format, &mut text).unwrap(), 14);
            let mut other = SqliteLedger::in_memory().unwrap();
            other.import(format, &mut &text[..]).unwrap();
            assert_eq!(other.state(), ledger.state());
            other.catch_up().unwrap();
            other.verify().unwrap();
            let error = other.import(format, &mut &text[..]).unwrap_err();
            assert!(
                matches!(error, StoreError::NotEmpty { entries: 14 }),
                "{error}"
            );
        }
    }

    #[test]
    fn changed_text_is_not_imported() {
        for format in [TextFormat::Csv, TextFormat::JsonLines] {
            let mut ledger = SqliteLedger::in_memory().unwrap();
            live(&mut ledger);
            let mut text = Vec::new();
            ledger.export(format, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            let changed: Vec<String> = vec![
                // Another amount, a line less, two lines in another order, what is no line.
                text.replacen(",19,", ",18,", 1)
                    .replacen("\"19\"", "\"18\"", 1),
                text.replacen(lines[3], "", 1).replace("\n\n", "\n"),
                text.replacen(lines[4], lines[5], 1),
                text.replacen(lines[2], "x", 1),
                text.replacen(lines[2], &"9".repeat(10_000), 1),
            ];
            for text in changed {
                let mut other = SqliteLedger::in_memory().unwrap();
                let error = other.import(format, &mut text.as_bytes()).unwrap_err();
                assert!(
                    matches!(
                        error,
                        StoreError::BadLine { .. } | StoreError::Corruption(_)
                    ),
                    "{error}"
                );
                assert_eq!(*other.state(), State::new());
                live(&mut other);
                other.verify().unwrap();
            }
        }
    }

    #[test]
    fn auditor_with_a_checkpoint_notices_any_rewriting() {
        let secret = SigningKey::from_bytes(&[7; 32]);
        let key = PublicKey::of(&secret);
        let mut ledger = SqliteLedger::in_memory().unwrap();
        let empty = ledger.checkpoint(NOW, &secret);
        live(&mut ledger);
        let checkpoint = ledger.checkpoint(LATER, &secret);
        ledger.execute(&[transfer(20, ANA, BEN, 1)], LATER).unwrap();
        for checkpoint in [&empty, &checkpoint] {
            ledger.verify_since(checkpoint, &key).unwrap();
        }
        let other = PublicKey::of(&SigningKey::from_bytes(&[8; 32]));
        let error = ledger.verify_since(&checkpoint, &other).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Corruption(Corruption::CheckpointForged { .. })
            ),
            "{error}"
        );
        // A history that proves itself, but is not the one of the checkpoint.
        let mut rewritten = SqliteLedger::in_memory().unwrap();
        live(&mut rewritten);
        let later = UnixMillis(LATER.0 + 1);
        rewritten
            .execute(&[transfer(20, ANA, BEN, 1)], later)
            .unwrap();
        rewritten.verify_since(&checkpoint, &key).unwrap();
        let mut rewritten = SqliteLedger::in_memory().unwrap();
        let batch = [
            credits(MINT, AccountKind::Issuer),
            credits(ANA, AccountKind::Holder),
        ];
        rewritten.execute(&batch, NOW).unwrap();
        let error = rewritten.verify_since(&checkpoint, &key).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Corruption(Corruption::CheckpointMissing { end: 2, .. })
            ),
            "{error}"
        );
        // As long a history or longer, in one batch that goes over the checkpoint.
        let mints: Vec<_> = (20..40).map(|n| transfer(n, MINT, ANA, 1)).collect();
        rewritten.execute(&mints, NOW).unwrap();
        let error = rewritten.verify_since(&checkpoint, &key).unwrap_err();
        assert!(
            matches!(error, StoreError::Corruption(Corruption::CheckpointDiffers { checkpoint: it })
                if it.sequence == 11),
            "{error}"
        );
    }

    /// A ledger's file as the first version of this store wrote it.
    fn version_1(path: &Path, ledger: &SqliteLedger) {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch(SCHEMA.migrations[0]).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE schema_version (version INTEGER PRIMARY KEY) STRICT;
                 INSERT INTO schema_version VALUES (1); PRAGMA journal_mode = WAL;",
            )
            .unwrap();
        connection
            .pragma_update(None, "application_id", SCHEMA.application)
            .unwrap();
        let blob = |amount: Amount| amount.0.to_be_bytes();
        for account in ledger.state().accounts() {
            let row = params![
                account.id.as_bytes(),
                account.asset.0,
                account.kind.code(),
                blob(account.credits_posted),
                blob(account.debits_posted),
                blob(account.credits_pending),
                blob(account.debits_pending),
            ];
            let insert = "INSERT INTO accounts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            connection.execute(insert, row).unwrap();
        }
        for entry in ledger.entries(0, 100).unwrap() {
            let columns = projection::Columns::of(&entry);
            let row = params![
                position(entry.sequence),
                position(entry.time.0),
                entry.kind.code(),
                columns.id.as_ref().map(TransferId::as_bytes),
                columns.reservation.as_ref().map(TransferId::as_bytes),
                columns.from.as_bytes(),
                columns.to.as_ref().map(AccountId::as_bytes),
                columns.asset.map(|asset| asset.0),
                columns.account_kind.map(AccountKind::code),
                columns.amount.map(blob),
                columns.released.map(blob),
                columns.expires.map(|it| position(it.0)),
                entry.chain.as_bytes(),
            ];
            let insert = "INSERT INTO entries VALUES \
                 (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
            connection.execute(insert, row).unwrap();
        }
    }

    #[test]
    fn file_of_the_first_version_is_carried_over() {
        let (_folder, path) = file();
        let mut first = SqliteLedger::in_memory().unwrap();
        live(&mut first);
        version_1(&path, &first);
        for opening in [(None, 11), (Some(11), 0)] {
            let mut ledger = reopen(&path).unwrap();
            assert_eq!(ledger.state(), first.state());
            let found = ledger.opening();
            assert_eq!((found.snapshot, found.replayed), opening);
            assert_eq!(
                ledger.entries(0, 100).unwrap(),
                first.entries(0, 100).unwrap()
            );
            ledger.verify().unwrap();
            assert_eq!(ledger.history(account(MINT), 0, 10).unwrap().len(), 2);
        }
    }

    #[test]
    fn changed_file_of_the_first_version_is_refused_and_stays_what_it_is() {
        let mut first = SqliteLedger::in_memory().unwrap();
        live(&mut first);
        for sql in [
            "UPDATE entries SET amount = zeroblob(16) WHERE sequence = 4",
            "UPDATE entries SET kind = 77 WHERE sequence = 4",
            "DELETE FROM entries WHERE sequence = 6",
            "UPDATE accounts SET credits_posted = zeroblob(16) WHERE hex(id) LIKE '0303%'",
        ] {
            let (_folder, path) = file();
            version_1(&path, &first);
            let connection = Connection::open(&path).unwrap();
            let triggers = "DROP TRIGGER entries_are_not_changed; \
                            DROP TRIGGER entries_are_not_deleted;";
            let again = "CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries \
                 BEGIN SELECT 1; END; CREATE TRIGGER entries_are_not_deleted \
                 BEFORE DELETE ON entries BEGIN SELECT 1; END;";
            tamper(&connection, &format!("{triggers} {sql}; {again}"));
            drop(connection);
            let error = reopen(&path).unwrap_err();
            assert!(
                matches!(
                    error,
                    StoreError::Corruption(_) | StoreError::BadEntry { .. }
                ),
                "{sql}: {error}"
            );
            let connection = Connection::open(&path).unwrap();
            let version: i64 = connection
                .query_row("SELECT max(version) FROM schema_version", [], |row| {
                    row.get(0)
                })
                .unwrap();
            assert_eq!(version, 1);
        }
    }

    #[test]
    fn history_is_not_changed_by_mistake() {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        live(&mut ledger);
        for sql in ["UPDATE batches SET time = 0", "DELETE FROM batches"] {
            assert!(ledger.database.read().unwrap().execute_batch(sql).is_err());
        }
        ledger.verify().unwrap();
    }

    #[test]
    fn no_changed_byte_of_the_file_changes_the_book() {
        let (folder, path) = file();
        let mut ledger = reopen(&path).unwrap();
        live(&mut ledger);
        let book = ledger.state().clone();
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
                Ok(ledger) => assert_eq!(*ledger.state(), book, "byte {position}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 10, "only {refused} changes were noticed");
    }

    #[test]
    fn damaged_schema_is_malformed() {
        // Its tables may be readable all the same: what fails is SQLite's own check of them.
        for (from, to) in [("length(", "leogth("), ("entries (id)", "entries (ie)")] {
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
