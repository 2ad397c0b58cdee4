//! What one node keeps across restarts.

use std::path::Path;

use fogcompute_base::limits::MESSAGE_BYTES_MAX;
use fogcompute_base::{CryptoRng, Digest, TaskId, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::database::{Absent, Database, Schema, array, integer};
use crate::{Durability, StoreError};

/// Longest encoded report of one task, in bytes: what fits one message.
pub const RESULT_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

const SCHEMA: Schema = Schema {
    application: i32::from_be_bytes(*b"FOGN"),
    migrations: &[include_str!("node_1.sql")],
    carry_over: |_| Ok(()),
};

/// A node's identity, the results of tasks it finished, and how much it has worked.
///
/// The file holds a secret key in the clear: it is created readable by its owner only, and backups
/// of it are as secret as itself.
///
/// ```
/// use fogcompute_base::OsEntropy;
/// use fogcompute_store::NodeStore;
///
/// let mut store = NodeStore::in_memory()?;
/// let identity = store.identity(&mut OsEntropy)?;
/// assert_eq!(store.identity(&mut OsEntropy)?, identity);
/// # Ok::<(), fogcompute_store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct NodeStore {
    database: Database,
}

/// The outcome of a finished task, kept until its submitter can have fetched it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredResult {
    /// Digest of the task's output.
    pub digest: Digest,
    /// The encoded report, at most [`RESULT_BYTES_MAX`].
    pub body: Vec<u8>,
    /// When the task was finished.
    pub finished: UnixMillis,
}

/// What a node has worked since its store was created.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Usage {
    /// Fuel that sandboxes used.
    pub fuel: u64,
    /// Time that tasks ran, in milliseconds of wall time.
    pub wall_ms: u64,
}

impl NodeStore {
    /// Opens or creates a node's file and owns it until dropped. Every change waits for the disk.
    ///
    /// # Errors
    /// [`StoreError::CannotOpen`], [`StoreError::IsFolder`], [`StoreError::NoFolder`],
    /// [`StoreError::Locked`], [`StoreError::ReadOnly`],
    /// [`StoreError::NotADatabase`], [`StoreError::OtherDatabase`], [`StoreError::SchemaTooNew`],
    /// [`StoreError::Malformed`], [`StoreError::DiskFull`], [`StoreError::Sqlite`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let database = SCHEMA.open(path.as_ref(), Durability::Full, Absent::Create)?;
        Ok(Self { database })
    }

    /// Creates a store that is gone when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn in_memory() -> Result<Self, StoreError> {
        let database = SCHEMA.in_memory()?;
        Ok(Self { database })
    }

    /// The node's secret: 32 bytes from `rng` on first use, the same ever after.
    ///
    /// # Errors
    /// [`StoreError::BadIdentity`], [`StoreError::CommitFailed`], [`StoreError::DiskFull`],
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`]. A secret is returned only once it is on
    /// disk.
    pub fn identity(&mut self, rng: &mut impl CryptoRng) -> Result<[u8; 32], StoreError> {
        let secret = self.read_or_draw(rng);
        self.database.blame(secret)
    }

    fn read_or_draw(&mut self, rng: &mut impl CryptoRng) -> Result<[u8; 32], StoreError> {
        let transaction = self
            .database
            .write()?
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let secret = read_or_draw(&transaction, rng)?;
        commit(transaction)?;
        Ok(secret)
    }

    /// The stored result of a task.
    ///
    /// # Errors
    /// [`StoreError::BadTaskResult`], [`StoreError::Malformed`], [`StoreError::Sqlite`].
    pub fn task_result(&self, task: TaskId) -> Result<Option<StoredResult>, StoreError> {
        read_result(self.database.read()?, task)
    }

    /// Stores the result of a task. Storing the same output and report again is fine and keeps the
    /// first time; storing others is an error.
    ///
    /// # Errors
    /// [`StoreError::TaskResultTooLong`], [`StoreError::TaskResultDiffers`],
    /// [`StoreError::TimeOutOfRange`], [`StoreError::BadTaskResult`], [`StoreError::DiskFull`],
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`]: nothing changed.
    /// [`StoreError::CommitFailed`]: it may have.
    pub fn save_task_result(
        &mut self,
        task: TaskId,
        result: &StoredResult,
    ) -> Result<(), StoreError> {
        if result.body.len() > RESULT_BYTES_MAX {
            return Err(StoreError::TaskResultTooLong {
                actual: result.body.len(),
                limit: RESULT_BYTES_MAX,
            });
        }
        let stored = self.store_result(task, result);
        self.database.blame(stored)
    }

    fn store_result(&mut self, task: TaskId, result: &StoredResult) -> Result<(), StoreError> {
        let finished =
            i64::try_from(result.finished.0).map_err(|_| StoreError::TimeOutOfRange {
                time: result.finished,
            })?;
        let transaction = self
            .database
            .write()?
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(stored) = read_result(&transaction, task)? {
            if (stored.digest, &stored.body) == (result.digest, &result.body) {
                return Ok(());
            }
            return Err(StoreError::TaskResultDiffers {
                task,
                stored: stored.digest,
                given: result.digest,
            });
        }
        transaction.execute(
            "INSERT INTO task_results VALUES (?1, ?2, ?3, ?4)",
            params![
                task.as_bytes(),
                result.digest.as_bytes(),
                result.body,
                finished
            ],
        )?;
        commit(transaction)?;
        Ok(())
    }

    /// Forgets results of tasks that finished before that time and returns how many they were.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], [`StoreError::Malformed`], [`StoreError::Sqlite`].
    pub fn prune_task_results(&mut self, before: UnixMillis) -> Result<usize, StoreError> {
        let database = self.database.write()?;
        // No stored time is later than i64::MAX, so the saturated bound still means "all".
        let pruned = match i64::try_from(before.0) {
            Ok(before) => {
                database.execute("DELETE FROM task_results WHERE finished < ?1", [before])
            }
            Err(_) => database.execute("DELETE FROM task_results", []),
        };
        self.database.blame(pruned.map_err(StoreError::from))
    }

    /// Adds to the usage counters.
    ///
    /// # Errors
    /// [`StoreError::UsageOverflow`], [`StoreError::BadUsage`], [`StoreError::DiskFull`],
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`]: nothing changed.
    /// [`StoreError::CommitFailed`]: it may have.
    pub fn add_usage(&mut self, fuel: u64, wall_ms: u64) -> Result<(), StoreError> {
        let added = self.store_usage(fuel, wall_ms);
        self.database.blame(added)
    }

    fn store_usage(&mut self, fuel: u64, wall_ms: u64) -> Result<(), StoreError> {
        let transaction = self
            .database
            .write()?
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let usage = read_usage(&transaction)?;
        let add = |counter: u64, more, column| {
            counter
                .checked_add(more)
                .map(u64::to_be_bytes)
                .ok_or(StoreError::UsageOverflow { column })
        };
        let fuel = add(usage.fuel, fuel, "fuel")?;
        let wall_ms = add(usage.wall_ms, wall_ms, "wall_ms")?;
        transaction.execute(
            "INSERT OR REPLACE INTO usage VALUES (1, ?1, ?2)",
            params![fuel, wall_ms],
        )?;
        commit(transaction)?;
        Ok(())
    }

    /// The usage counters.
    ///
    /// # Errors
    /// [`StoreError::BadUsage`], [`StoreError::Malformed`], [`StoreError::Sqlite`].
    pub fn usage(&self) -> Result<Usage, StoreError> {
        read_usage(self.database.read()?)
    }
}

/// The secret in the table `identity`, drawn now if there is none.
pub(crate) fn read_or_draw(
    connection: &Connection,
    rng: &mut impl CryptoRng,
) -> Result<[u8; 32], StoreError> {
    let stored = connection
        .query_row("SELECT secret FROM identity", [], |row| {
            Ok(array(row.get_ref(0)?))
        })
        .optional()?;
    if let Some(secret) = stored {
        return secret.ok_or(StoreError::BadIdentity);
    }
    let mut secret = [0; 32];
    rng.fill_bytes(&mut secret);
    connection.execute("INSERT INTO identity VALUES (1, ?1)", [secret])?;
    Ok(secret)
}

fn commit(transaction: Transaction<'_>) -> Result<(), StoreError> {
    transaction
        .commit()
        .map_err(|source| StoreError::CommitFailed { source })
}

fn read_result(connection: &Connection, task: TaskId) -> Result<Option<StoredResult>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT digest, body, finished FROM task_results WHERE task = ?1")?;
    let mut rows = statement.query([task.as_bytes()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let bad = |column| StoreError::BadTaskResult { task, column };
    Ok(Some(StoredResult {
        digest: array(row.get_ref(0)?)
            .map(Digest::from_bytes)
            .ok_or_else(|| bad("digest"))?,
        body: row.get_ref(1)?.as_blob().map_err(|_| bad("body"))?.to_vec(),
        finished: integer(row.get_ref(2)?)
            .map(UnixMillis)
            .ok_or_else(|| bad("finished"))?,
    }))
}

fn read_usage(connection: &Connection) -> Result<Usage, StoreError> {
    let mut statement = connection.prepare_cached("SELECT fuel, wall_ms FROM usage")?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Ok(Usage::default());
    };
    Ok(Usage {
        fuel: counter(row, 0, "fuel")?,
        wall_ms: counter(row, 1, "wall_ms")?,
    })
}

fn counter(row: &Row<'_>, index: usize, column: &'static str) -> Result<u64, StoreError> {
    array(row.get_ref(index)?)
        .map(u64::from_be_bytes)
        .ok_or(StoreError::BadUsage { column })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::OsEntropy;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;
    use tempfile::TempDir;

    fn task(n: u8) -> TaskId {
        TaskId::from_bytes([n; 16])
    }

    fn result(body: &[u8], finished: u64) -> StoredResult {
        StoredResult {
            digest: Digest::of(body),
            body: body.to_vec(),
            finished: UnixMillis(finished),
        }
    }

    #[test]
    fn identity_is_drawn_once_and_kept() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("node");
        let mut store = NodeStore::open(&path).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let first = store.identity(&mut rng).unwrap();
        assert_ne!(first, [0; 32]);
        assert_eq!(store.identity(&mut OsEntropy).unwrap(), first);
        drop(store);
        let mut store = NodeStore::open(&path).unwrap();
        assert_eq!(store.identity(&mut OsEntropy).unwrap(), first);
        let mut other = NodeStore::in_memory().unwrap();
        assert_ne!(other.identity(&mut rng).unwrap(), first);
    }

    #[test]
    fn identity_that_is_not_32_bytes_is_not_replaced() {
        let mut store = NodeStore::in_memory().unwrap();
        store
            .database
            .read()
            .unwrap()
            .execute_batch(
                "PRAGMA ignore_check_constraints = ON; INSERT INTO identity VALUES (1, x'00');",
            )
            .unwrap();
        for _ in 0..2 {
            let error = store.identity(&mut OsEntropy).unwrap_err();
            assert!(matches!(error, StoreError::BadIdentity), "{error}");
        }
    }

    #[test]
    fn task_result_survives_and_cannot_be_replaced() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("node");
        let mut store = NodeStore::open(&path).unwrap();
        assert_eq!(store.task_result(task(1)).unwrap(), None);
        let first = result(b"42", 1_000);
        store.save_task_result(task(1), &first).unwrap();
        drop(store);

        let mut store = NodeStore::open(&path).unwrap();
        assert_eq!(store.task_result(task(1)).unwrap(), Some(first.clone()));
        // The same again, later: the first time stays.
        store
            .save_task_result(task(1), &result(b"42", 2_000))
            .unwrap();
        assert_eq!(store.task_result(task(1)).unwrap(), Some(first.clone()));
        let other_body = StoredResult {
            body: b"43".to_vec(),
            ..first.clone()
        };
        for other in [result(b"43", 1_000), other_body] {
            let error = store.save_task_result(task(1), &other).unwrap_err();
            assert!(
                matches!(error, StoreError::TaskResultDiffers { task: t, stored, given }
                    if (t, stored, given) == (task(1), first.digest, other.digest)),
                "{error}"
            );
        }
        assert_eq!(store.task_result(task(1)).unwrap(), Some(first));
    }

    #[test]
    fn task_result_has_a_longest_length_and_a_latest_time() {
        let mut store = NodeStore::in_memory().unwrap();
        let mut long = result(b"", 1);
        long.body = vec![0; RESULT_BYTES_MAX];
        store.save_task_result(task(1), &long).unwrap();
        long.body.push(0);
        let error = store.save_task_result(task(2), &long).unwrap_err();
        assert!(
            matches!(error, StoreError::TaskResultTooLong { actual, limit }
                if (actual, limit) == (RESULT_BYTES_MAX + 1, RESULT_BYTES_MAX)),
            "{error}"
        );
        let late = result(b"", u64::MAX);
        let error = store.save_task_result(task(2), &late).unwrap_err();
        assert!(
            matches!(error, StoreError::TimeOutOfRange { .. }),
            "{error}"
        );
        assert_eq!(store.task_result(task(2)).unwrap(), None);
    }

    #[test]
    fn results_before_a_time_are_pruned() {
        let mut store = NodeStore::in_memory().unwrap();
        for n in 1..=5_u8 {
            let stored = result(&[n], u64::from(n) * 10);
            store.save_task_result(task(n), &stored).unwrap();
        }
        assert_eq!(store.prune_task_results(UnixMillis(10)).unwrap(), 0);
        assert_eq!(store.prune_task_results(UnixMillis(30)).unwrap(), 2);
        assert_eq!(store.task_result(task(2)).unwrap(), None);
        assert!(store.task_result(task(3)).unwrap().is_some());
        assert_eq!(store.prune_task_results(UnixMillis(u64::MAX)).unwrap(), 3);
    }

    #[test]
    fn usage_adds_up_and_survives() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("node");
        let mut store = NodeStore::open(&path).unwrap();
        assert_eq!(store.usage().unwrap(), Usage::default());
        store.add_usage(u64::MAX - 10, 5).unwrap();
        store.add_usage(10, 6).unwrap();
        drop(store);
        let mut store = NodeStore::open(&path).unwrap();
        let usage = Usage {
            fuel: u64::MAX,
            wall_ms: 11,
        };
        assert_eq!(store.usage().unwrap(), usage);
        for (fuel, wall_ms, name) in [(1, 0, "fuel"), (0, u64::MAX, "wall_ms")] {
            let error = store.add_usage(fuel, wall_ms).unwrap_err();
            assert!(
                matches!(error, StoreError::UsageOverflow { column } if column == name),
                "{error}"
            );
        }
        assert_eq!(store.usage().unwrap(), usage);
    }

    #[test]
    fn rows_that_make_no_sense_are_named() {
        let mut store = NodeStore::in_memory().unwrap();
        store
            .database
            .read()
            .unwrap()
            .execute_batch("PRAGMA ignore_check_constraints = ON;")
            .unwrap();
        store.save_task_result(task(1), &result(b"", 1)).unwrap();
        for (change, undo, name) in [
            ("digest = x'00'", "digest = zeroblob(32)", "digest"),
            ("finished = -1", "finished = 1", "finished"),
        ] {
            let set = |change| {
                let sql = format!("UPDATE task_results SET {change}");
                store.database.read().unwrap().execute(&sql, []).unwrap()
            };
            set(change);
            let error = store.task_result(task(1)).unwrap_err();
            assert!(
                matches!(error, StoreError::BadTaskResult { task: t, column }
                    if (t, column) == (task(1), name)),
                "{error}"
            );
            set(undo);
        }
        for (change, name) in [("fuel", "fuel"), ("wall_ms", "wall_ms")] {
            store
                .database
                .read()
                .unwrap()
                .execute("DELETE FROM usage", [])
                .unwrap();
            store.add_usage(1, 1).unwrap();
            let sql = format!("UPDATE usage SET {change} = x'00'");
            store.database.read().unwrap().execute(&sql, []).unwrap();
            for error in [
                store.usage().unwrap_err(),
                store.add_usage(1, 1).unwrap_err(),
            ] {
                assert!(
                    matches!(error, StoreError::BadUsage { column } if column == name),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn commit_that_is_not_confirmed_says_so() {
        let mut store = NodeStore::in_memory().unwrap();
        // A deferred constraint lets every statement pass and the commit not.
        store
            .database
            .read()
            .unwrap()
            .execute_batch(
                "CREATE TABLE odd (x REFERENCES task_results (task) DEFERRABLE INITIALLY DEFERRED);
                 CREATE TRIGGER odd AFTER INSERT ON usage
                 BEGIN INSERT INTO odd VALUES (x'00'); END;",
            )
            .unwrap();
        let error = store.add_usage(1, 1).unwrap_err();
        assert!(matches!(error, StoreError::CommitFailed { .. }), "{error}");
        assert_eq!(store.usage().unwrap(), Usage::default());
    }

    #[test]
    fn second_handle_cannot_open_the_store() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("node");
        let _first = NodeStore::open(&path).unwrap();
        let error = NodeStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    }

    #[test]
    fn ledger_file_is_not_a_node_store() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger");
        drop(crate::SqliteLedger::open(&path, Durability::Full).unwrap());
        let error = NodeStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::OtherDatabase { .. }), "{error}");
    }

    #[test]
    fn forked_child_is_refused() {
        let mut store = NodeStore::in_memory().unwrap();
        store.identity(&mut OsEntropy).unwrap();
        store.database.fork();
        let refused = |error| assert!(matches!(error, StoreError::Forked { .. }), "{error}");
        refused(store.identity(&mut OsEntropy).unwrap_err());
        refused(store.task_result(task(1)).unwrap_err());
        refused(
            store
                .save_task_result(task(1), &result(b"1", 1))
                .unwrap_err(),
        );
        refused(store.prune_task_results(UnixMillis(1)).unwrap_err());
        refused(store.add_usage(1, 1).unwrap_err());
        refused(store.usage().unwrap_err());
    }
}
