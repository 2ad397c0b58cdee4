//! The history: a row for each batch.

use std::cell::RefCell;

use fogcompute_base::Digest;
use fogcompute_ledger::{Batch, Corruption, Entry, Head, History, LedgerError, Restore};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{position, time};
use crate::StoreError;
use crate::database::{array, integer};

const COLUMNS: &str = "first_sequence, last_sequence, time, chain, body";

/// A batch as it is stored, and the digest that is kept with it.
pub(super) struct Stored {
    pub(super) batch: Batch,
    pub(super) chain: Digest,
}

/// Appends a batch.
pub(super) fn append(connection: &Connection, record: &Record) -> Result<(), StoreError> {
    let mut insert =
        connection.prepare_cached("INSERT INTO batches VALUES (?1, ?2, ?3, ?4, ?5)")?;
    insert.execute(params![
        position(record.first),
        position(record.head.sequence),
        time(record.time)?,
        record.head.chain.as_bytes(),
        record.body,
    ])?;
    Ok(())
}

/// What is appended for a batch.
pub(super) struct Record {
    pub(super) first: u64,
    pub(super) time: fogcompute_base::UnixMillis,
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
}

fn read(row: &Row<'_>) -> Result<Stored, StoreError> {
    // The row's own key is an integer by construction; a negative one fits no body.
    let sequence = integer(row.get_ref(0)?).unwrap_or(0);
    let bad = |column| StoreError::BadEntry { sequence, column };
    let body = row.get_ref(4)?.as_blob().map_err(|_| bad("body"))?;
    let batch = Batch::decode(body).map_err(|source| StoreError::BadBatch { sequence, source })?;
    if batch.first != sequence {
        return Err(bad("first_sequence"));
    }
    if integer(row.get_ref(1)?) != Some(batch.last()) {
        return Err(bad("last_sequence"));
    }
    if integer(row.get_ref(2)?) != Some(batch.time.0) {
        return Err(bad("time"));
    }
    let chain = array(row.get_ref(3)?).ok_or_else(|| bad("chain"))?;
    Ok(Stored {
        batch,
        chain: Digest::from_bytes(chain),
    })
}

/// Calls `take` with the batches after that sequence, in order, until it says that it has enough.
pub(super) fn each_after(
    connection: &Connection,
    sequence: u64,
    mut take: impl FnMut(Stored) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let query =
        format!("SELECT {COLUMNS} FROM batches WHERE first_sequence > ?1 ORDER BY first_sequence");
    let mut statement = connection.prepare_cached(&query)?;
    let mut rows = statement.query([position(sequence)])?;
    while let Some(row) = rows.next()? {
        if !take(read(row)?)? {
            break;
        }
    }
    Ok(())
}

/// Carries the batches after the state's head out again.
pub(super) fn replay(connection: &Connection, restore: &mut Restore) -> Result<u64, StoreError> {
    let start = restore.state().head().sequence;
    each_after(connection, start, |stored| {
        restore.push_batch(&stored.batch)?;
        chained(restore, &stored)?;
        Ok(true)
    })?;
    Ok(restore.state().head().sequence - start)
}

/// Compares the digest that a batch came to with the one it was stored with.
pub(super) fn chained(restore: &Restore, stored: &Stored) -> Result<(), StoreError> {
    let head = restore.state().head();
    if head.chain == stored.chain {
        return Ok(());
    }
    let sequence = head.sequence;
    Err(Corruption::ChainBroken { sequence }.into())
}

/// The head of the history up to the batch before the one that starts at `first`.
fn last_before(connection: &Connection, first: i64) -> Result<Head, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT first_sequence, last_sequence, chain FROM batches WHERE first_sequence < ?1 \
         ORDER BY first_sequence DESC LIMIT 1",
    )?;
    let mut rows = statement.query([first])?;
    let Some(row) = rows.next()? else {
        return Ok(Head::GENESIS);
    };
    let first = integer(row.get_ref(0)?).unwrap_or(0);
    let bad = |column| StoreError::BadEntry {
        sequence: first,
        column,
    };
    let sequence = integer(row.get_ref(1)?).ok_or_else(|| bad("last_sequence"))?;
    let chain = array(row.get_ref(2)?).ok_or_else(|| bad("chain"))?;
    Ok(Head {
        sequence,
        chain: Digest::from_bytes(chain),
    })
}

/// The head before the batch that starts at `first`.
pub(super) fn before(connection: &Connection, first: u64) -> Result<Head, StoreError> {
    last_before(connection, position(first))
}

/// Whether a batch of the history ends with that head.
pub(super) fn has_head(connection: &Connection, head: Head) -> Result<bool, StoreError> {
    if head == Head::GENESIS {
        return Ok(true);
    }
    let next = position(head.sequence).saturating_add(1);
    Ok(last_before(connection, next)? == head)
}

/// Reads single entries; the batch read last is kept, because what is asked for comes in batches.
pub(super) struct Journal<'a> {
    connection: &'a Connection,
    last: RefCell<Vec<Entry>>,
}

impl<'a> Journal<'a> {
    pub(super) const fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            last: RefCell::new(Vec::new()),
        }
    }

    /// Entries of the batch that has the sequence, if there is one.
    pub(super) fn batch(&self, sequence: u64) -> Result<Option<Vec<Entry>>, StoreError> {
        let query = format!(
            "SELECT {COLUMNS} FROM batches WHERE first_sequence <= ?1 \
             ORDER BY first_sequence DESC LIMIT 1"
        );
        let mut statement = self.connection.prepare_cached(&query)?;
        let stored = statement
            .query_row([position(sequence)], |row| Ok(read(row)))
            .optional()?;
        let Some(stored) = stored.transpose()? else {
            return Ok(None);
        };
        if stored.batch.last() < sequence {
            return Ok(None);
        }
        let before = last_before(self.connection, position(stored.batch.first))?;
        let entries = stored.batch.entries(before.chain);
        if entries.last().map(|entry| entry.chain) != Some(stored.chain) {
            return Err(Corruption::ChainBroken {
                sequence: stored.batch.last(),
            }
            .into());
        }
        Ok(Some(entries))
    }
}

impl History for Journal<'_> {
    type Error = StoreError;

    fn entry(&self, sequence: u64) -> Result<Entry, StoreError> {
        let find = |entries: &[Entry]| {
            let first = entries.first()?.sequence;
            let index = usize::try_from(sequence.checked_sub(first)?).ok()?;
            entries.get(index).cloned()
        };
        if let Some(entry) = find(&self.last.borrow()) {
            return Ok(entry);
        }
        let entries = self.batch(sequence)?.unwrap_or_default();
        let found = find(&entries).ok_or(LedgerError::HistoryTooShort { sequence })?;
        self.last.replace(entries);
        Ok(found)
    }
}

/// A history of which the end is not stored yet.
pub(super) struct Pending<'a> {
    pub(super) journal: &'a Journal<'a>,
    pub(super) entries: &'a [Entry],
}

impl History for Pending<'_> {
    type Error = StoreError;

    fn entry(&self, sequence: u64) -> Result<Entry, StoreError> {
        let first = self
            .entries
            .first()
            .map_or(u64::MAX, |entry| entry.sequence);
        let index = sequence.checked_sub(first);
        let index = index.and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| self.entries.get(index)) {
            Some(entry) => Ok(entry.clone()),
            None => self.journal.entry(sequence),
        }
    }
}
