//! Snapshots of the state, so that opening need not carry the whole history out again.

use fogcompute_base::Digest;
use fogcompute_ledger::{Head, Restore, Snapshot, State};
use rusqlite::{Connection, params};

use super::{journal, position};
use crate::StoreError;
use crate::database::{array, integer};

/// Bytes of one row of an image.
const CHUNK_BYTES: usize = 1 << 20;
/// Entries whose ids make a segment, about.
const SEGMENT_ENTRIES: usize = 1 << 17;
/// Snapshots that are kept: the last one, and one in case it is damaged.
const KEPT: i64 = 2;

const IMAGE: &str = "fogcompute 2026-11-21 ledger snapshot image v1";
const SEGMENT: &str = "fogcompute 2026-11-21 ledger snapshot segment v1";

/// How a ledger was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Opening {
    /// Sequence of the snapshot it started from, if there was a sound one.
    pub snapshot: Option<u64>,
    /// Snapshots after it that were damaged. They are replaced by the next one; a copy of the file
    /// should be at hand all the same.
    pub damaged: usize,
    /// Entries after the snapshot that were carried out again.
    pub replayed: u64,
}

/// The state that the history adds up to, from the newest sound snapshot on.
pub(super) fn load(connection: &Connection) -> Result<(State, Opening), StoreError> {
    let mut opening = Opening::default();
    let mut state = State::new();
    // A snapshot that cannot be read costs time, not the ledger.
    let heads = heads(connection).unwrap_or_else(|_| {
        opening.damaged += 1;
        Vec::new()
    });
    for head in heads {
        match read(connection, head) {
            Ok(Some(sound)) => {
                state = sound;
                opening.snapshot = Some(head.sequence);
                break;
            }
            Ok(None) | Err(_) => opening.damaged += 1,
        }
    }
    let mut restore = Restore::from_state(state);
    opening.replayed = journal::replay(connection, &mut restore)?;
    Ok((restore.finish_alone()?, opening))
}

/// Where snapshots were made, the newest first.
fn heads(connection: &Connection) -> Result<Vec<Head>, StoreError> {
    let mut statement =
        connection.prepare("SELECT sequence, chain FROM snapshots ORDER BY sequence DESC")?;
    let mut rows = statement.query([])?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next()? {
        heads.push(Head {
            sequence: integer(row.get_ref(0)?).unwrap_or(u64::MAX),
            chain: Digest::from_bytes(array(row.get_ref(1)?).unwrap_or_default()),
        });
    }
    Ok(heads)
}

/// The snapshot's state, if it is sound and of this history.
fn read(connection: &Connection, head: Head) -> Result<Option<State>, StoreError> {
    if !journal::has_head(connection, head)? {
        return Ok(None);
    }
    let sequence = position(head.sequence);
    let digest = connection.query_row(
        "SELECT digest FROM snapshots WHERE sequence = ?1",
        [sequence],
        |row| Ok(array(row.get_ref(0)?).map(Digest::from_bytes)),
    )?;
    let mut image = Vec::new();
    let mut statement = connection
        .prepare("SELECT body FROM snapshot_chunks WHERE sequence = ?1 ORDER BY number")?;
    let mut rows = statement.query([sequence])?;
    while let Some(row) = rows.next()? {
        image.extend(row.get_ref(0)?.as_blob().unwrap_or_default());
    }
    if digest != Some(Digest::derive(IMAGE, &image)) {
        return Ok(None);
    }
    let bytes: i64 = connection.query_row(
        "SELECT coalesce(sum(length(body)), 0) FROM id_segments WHERE last_sequence <= ?1",
        [sequence],
        |row| row.get(0),
    )?;
    let Ok(mut snapshot) = Snapshot::new(&image, usize::try_from(bytes).unwrap_or(0)) else {
        return Ok(None);
    };
    drop(image);
    let mut statement = connection.prepare(
        "SELECT first_sequence, last_sequence, digest, body FROM id_segments \
         WHERE last_sequence <= ?1 ORDER BY last_sequence",
    )?;
    let mut rows = statement.query([sequence])?;
    let mut end = 0_u64;
    while let Some(row) = rows.next()? {
        let first = integer::<u64>(row.get_ref(0)?);
        let body = row.get_ref(3)?.as_blob().unwrap_or_default();
        let digest = array(row.get_ref(2)?).map(Digest::from_bytes);
        let sound = first == Some(end.saturating_add(1))
            && digest == Some(Digest::derive(SEGMENT, body))
            && snapshot.push(body).is_ok();
        if !sound {
            return Ok(None);
        }
        end = integer(row.get_ref(1)?).unwrap_or(0);
    }
    if end != head.sequence || snapshot.head() != head {
        return Ok(None);
    }
    Ok(snapshot.finish())
}

/// Writes a snapshot of the state, which is that of the whole stored history.
pub(super) fn write(connection: &Connection, state: &State) -> Result<(), StoreError> {
    let head = state.head();
    let mut insert =
        connection.prepare_cached("INSERT INTO id_segments VALUES (?1, ?2, ?3, ?4)")?;
    let segments: Option<i64> =
        connection.query_row("SELECT max(last_sequence) FROM id_segments", [], |row| {
            row.get(0)
        })?;
    let segments = segments
        .and_then(|last| u64::try_from(last).ok())
        .unwrap_or(0);
    let mut first = segments + 1;
    let mut batches = Vec::new();
    let mut entries = 0;
    let mut segment = |batches: &mut Vec<fogcompute_ledger::Batch>| {
        let Some(last) = batches.last().map(fogcompute_ledger::Batch::last) else {
            return Ok(());
        };
        let body = state.ids_of(&*batches);
        let digest = Digest::derive(SEGMENT, &body);
        insert.execute(params![
            position(last),
            position(first),
            digest.as_bytes(),
            body
        ])?;
        first = last + 1;
        batches.clear();
        Ok::<_, StoreError>(())
    };
    journal::each_after(connection, segments, |stored| {
        entries += stored.batch.kinds.len();
        batches.push(stored.batch);
        if entries >= SEGMENT_ENTRIES {
            entries = 0;
            segment(&mut batches)?;
        }
        Ok(true)
    })?;
    segment(&mut batches)?;

    let sequence = position(head.sequence);
    let image = state.image();
    connection.execute("DELETE FROM snapshots WHERE sequence = ?1", [sequence])?;
    connection.execute(
        "DELETE FROM snapshot_chunks WHERE sequence = ?1",
        [sequence],
    )?;
    connection.execute(
        "INSERT INTO snapshots VALUES (?1, ?2, ?3)",
        params![
            sequence,
            head.chain.as_bytes(),
            Digest::derive(IMAGE, &image).as_bytes()
        ],
    )?;
    for (number, chunk) in (0_i64..).zip(image.chunks(CHUNK_BYTES)) {
        connection.execute(
            "INSERT INTO snapshot_chunks VALUES (?1, ?2, ?3)",
            params![sequence, number, chunk],
        )?;
    }
    connection.execute(
        "DELETE FROM snapshots WHERE sequence NOT IN \
         (SELECT sequence FROM snapshots ORDER BY sequence DESC LIMIT ?1)",
        [KEPT],
    )?;
    connection.execute(
        "DELETE FROM snapshot_chunks WHERE sequence NOT IN (SELECT sequence FROM snapshots)",
        [],
    )?;
    Ok(())
}

/// Forgets all snapshots, so that the next one is made of the whole history.
pub(super) fn clear(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch(
        "DELETE FROM snapshots; DELETE FROM snapshot_chunks; DELETE FROM id_segments;",
    )?;
    Ok(())
}
