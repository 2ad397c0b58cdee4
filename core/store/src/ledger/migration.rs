//! From schema 1, which had a row for each entry and nothing else.

use fogcompute_ledger::{Account, Batch, Entry, Restore};
use rusqlite::Connection;

use super::journal::{self, Record};
use super::projection::{read_account, read_entry};
use crate::StoreError;

/// Most entries of one batch.
const BATCH_ENTRIES: usize = 1_024;

/// Carries over what the tables of schema 1 had, proves it on the way, and drops them.
pub(super) fn carry_over(connection: &Connection) -> Result<(), StoreError> {
    let mut restore = Restore::new();
    let mut run = Vec::<Entry>::new();
    {
        let mut statement = connection.prepare(
            "SELECT sequence, time, kind, id, reservation, from_account, to_account, asset, \
             account_kind, amount, released, expires, NULL, NULL, NULL, chain \
             FROM entries_1 ORDER BY sequence",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let entry = read_entry(row)?;
            let other = run.last().is_some_and(|last| last.time != entry.time);
            if other || run.len() >= BATCH_ENTRIES {
                append(connection, &mut restore, &mut run)?;
            }
            run.push(entry);
        }
        append(connection, &mut restore, &mut run)?;

        let mut statement = connection.prepare(
            "SELECT id, asset, kind, credits_posted, debits_posted, credits_pending, \
             debits_pending, 0, NULL, 0, NULL FROM accounts_1 ORDER BY id",
        )?;
        let mut rows = statement.query([])?;
        let mut accounts = Vec::new();
        while let Some(row) = rows.next()? {
            let stored = read_account(row)?;
            // What an account has spent today was not counted yet.
            let known = restore.state().account(stored.id);
            let spent = known.map_or(stored.spent, |known| known.spent);
            accounts.push(Account { spent, ..stored });
        }
        restore.finish(accounts)?;
    }
    connection.execute_batch("DROP TABLE entries_1; DROP TABLE accounts_1;")?;
    Ok(())
}

/// Appends entries of one time as a batch.
pub(super) fn append(
    connection: &Connection,
    restore: &mut Restore,
    run: &mut Vec<Entry>,
) -> Result<(), StoreError> {
    let Some((first, last)) = run.first().zip(run.last()) else {
        return Ok(());
    };
    restore.push(run)?;
    let batch = Batch {
        first: first.sequence,
        time: first.time,
        kinds: run.iter().map(|entry| entry.kind.clone()).collect(),
    };
    let record = Record {
        first: batch.first,
        time: batch.time,
        head: last.head(),
        body: batch.encode(),
    };
    journal::append(connection, &record)?;
    run.clear();
    Ok(())
}
