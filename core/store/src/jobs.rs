//! The jobs of a coordinator.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use fogcompute_base::{AccountId, CryptoRng, Digest, JobId, NodeId, Priority, TaskId, UnixMillis};
use fogcompute_coord::{
    ENDED_JOBS_MAX, JobSpec, JobSummary, Journal, PrivacyLevel, Record, Stored, StoredJob,
    StoredNode, StoredTask,
};
use fogcompute_exec::{TaskReport, TaskSpec, TaskState};
use fogcompute_ledger::Amount;
use fogcompute_schedule::Reputation;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use self::events::Telling;
use crate::database::{Absent, Database, Schema, array, integer};
use crate::{Durability, StoreError};

mod events;

pub use self::events::{EVENTS_MAX, JobChange, JobEvent, JobEvents};

/// Statements that a commit uses, and some that reading does.
const STATEMENTS: usize = 32;

const SCHEMA: Schema = Schema {
    application: i32::from_be_bytes(*b"FOGJ"),
    migrations: &[
        include_str!("jobs_1.sql"),
        include_str!("jobs_2.sql"),
        include_str!("jobs_3.sql"),
        include_str!("jobs_4.sql"),
        include_str!("jobs_5.sql"),
        include_str!("jobs_6.sql"),
    ],
    carry_over: |_| Ok(()),
};

/// What a coordinator has to remember: its key, jobs, tasks, their results, and how reliable nodes
/// were. Its money is in a ledger.
///
/// It is the [`Journal`] of a [`Coordinator`](fogcompute_coord::Coordinator);
/// [`JobStore::stored`] is what [`Coordinator::recover`](fogcompute_coord::Coordinator::recover)
/// goes on from. Modules are kept once, whatever number of tasks has them.
///
/// The file holds a secret key, and the content of tasks, in the clear: it is created readable by its
/// owner only.
///
/// ```
/// use fogcompute_base::{Instant, OsEntropy, UnixMillis};
/// use fogcompute_coord::{Config, Coordinator};
/// use fogcompute_store::{JobStore, SqliteLedger};
///
/// let (mut store, mut ledger) = (JobStore::in_memory()?, SqliteLedger::in_memory()?);
/// let identity = store.identity(&mut OsEntropy)?;
/// let mut rules = Coordinator::recover(Config::default(), store.stored()?, Instant::ZERO)?;
/// // ... jobs, nodes, reports ...
/// rules.flush(&mut store, &mut ledger, UnixMillis(1_800_000_000_000))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct JobStore {
    database: Database,
    /// The last commit, if nobody knows whether it was made.
    unsure: Option<Unsure>,
    /// Logs that are written with the ends of their tasks.
    logs: BTreeMap<TaskId, String>,
}

#[derive(Clone, Copy, Debug)]
struct Unsure {
    /// The last event before it.
    last: u64,
    /// Records it had.
    records: usize,
}

/// A job as it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JobRow {
    /// Which job.
    pub id: JobId,
    /// Who pays.
    pub owner: AccountId,
    /// How urgent it is.
    pub priority: Priority,
    /// How well its tasks are hidden.
    pub privacy: PrivacyLevel,
    /// When it was admitted.
    pub submitted: UnixMillis,
    /// What has become of it.
    pub summary: JobSummary,
}

/// A task as it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TaskRow {
    /// Which task.
    pub id: TaskId,
    /// Its job.
    pub job: JobId,
    /// Where it is in its life.
    pub state: TaskState,
    /// Attempts that were begun.
    pub attempts: u32,
    /// The node that has it, or that ended it.
    pub node: Option<NodeId>,
    /// What was paid for it.
    pub paid: Amount,
    /// When it last changed.
    pub changed: UnixMillis,
}

impl JobStore {
    /// Opens or creates a coordinator's file and owns it until dropped.
    ///
    /// # Errors
    /// As [`TaskStore::open`](crate::TaskStore::open).
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        Self::new(SCHEMA.open(path.as_ref(), durability, Absent::Create)?)
    }

    /// Creates a store that is gone when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::new(SCHEMA.in_memory()?)
    }

    fn new(database: Database) -> Result<Self, StoreError> {
        database
            .read()?
            .set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self {
            database,
            unsure: None,
            logs: BTreeMap::new(),
        })
    }

    /// The coordinator's secret: 32 bytes from `rng` on first use, the same ever after.
    ///
    /// # Errors
    /// [`StoreError::BadIdentity`], [`StoreError::CommitFailed`], [`StoreError::DiskFull`],
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`]. A secret is returned only once it is on
    /// disk.
    pub fn identity(&mut self, rng: &mut impl CryptoRng) -> Result<[u8; 32], StoreError> {
        self.transaction(|connection| crate::node::read_or_draw(connection, rng))
    }

    /// Everything a coordinator goes on from. Of jobs that have ended only the latest are in it:
    /// [`JobStore::job`] knows all.
    ///
    /// Complexity: O(jobs and tasks that are not settled).
    ///
    /// # Errors
    /// [`StoreError::BadTask`], [`StoreError::Malformed`], [`StoreError::Sqlite`],
    /// [`StoreError::Forked`].
    pub fn stored(&self) -> Result<Stored, StoreError> {
        let connection = self.database.read()?;
        let next: Option<i64> =
            connection.query_row("SELECT max(arrival) FROM tasks", [], |row| row.get(0))?;
        Ok(Stored {
            jobs: read_jobs(connection)?,
            tasks: read_tasks(connection)?,
            nodes: read_nodes(connection)?,
            arrivals: next.map_or(0, |last| last.cast_unsigned() + 1),
        })
    }

    /// One job.
    ///
    /// # Errors
    /// As [`JobStore::stored`].
    pub fn job(&self, job: JobId) -> Result<Option<JobRow>, StoreError> {
        let mut statement = self.database.read()?.prepare_cached(
            "SELECT succeeded, failed, lost, cancelled, open, paid, reserved, released, id, owner,
                    priority, submitted, privacy
             FROM jobs WHERE id = ?1",
        )?;
        let mut rows = statement.query([job.as_bytes()])?;
        rows.next()?.map(job_row).transpose()
    }

    /// At most `count_max` jobs, the latest first.
    ///
    /// # Errors
    /// As [`JobStore::stored`].
    pub fn jobs(&self, count_max: usize) -> Result<Vec<JobRow>, StoreError> {
        let mut statement = self.database.read()?.prepare_cached(
            "SELECT succeeded, failed, lost, cancelled, open, paid, reserved, released, id, owner,
                    priority, submitted, privacy
             FROM jobs ORDER BY submitted DESC, id LIMIT ?1",
        )?;
        let mut rows = statement.query([i64::try_from(count_max).unwrap_or(i64::MAX)])?;
        let mut jobs = Vec::new();
        while let Some(row) = rows.next()? {
            jobs.push(job_row(row)?);
        }
        Ok(jobs)
    }

    /// At most `count_max` jobs of one account, the latest first.
    ///
    /// # Errors
    /// As [`JobStore::stored`].
    pub fn jobs_of(&self, owner: AccountId, count_max: usize) -> Result<Vec<JobRow>, StoreError> {
        let mut statement = self.database.read()?.prepare_cached(
            "SELECT succeeded, failed, lost, cancelled, open, paid, reserved, released, id, owner,
                    priority, submitted, privacy
             FROM jobs WHERE owner = ?1 ORDER BY submitted DESC, id LIMIT ?2",
        )?;
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![owner.as_bytes(), count_max])?;
        let mut jobs = Vec::new();
        while let Some(row) = rows.next()? {
            jobs.push(job_row(row)?);
        }
        Ok(jobs)
    }

    /// One task.
    ///
    /// # Errors
    /// As [`JobStore::stored`].
    pub fn task(&self, task: TaskId) -> Result<Option<TaskRow>, StoreError> {
        let mut statement = self.database.read()?.prepare_cached(
            "SELECT arrival, id, job, state, attempts, node, paid, changed FROM tasks WHERE id = ?1",
        )?;
        let mut rows = statement.query([task.as_bytes()])?;
        rows.next()?.map(task_row).transpose()
    }

    /// The tasks of a job, in the order of its submission.
    ///
    /// # Errors
    /// As [`JobStore::stored`].
    pub fn tasks(&self, job: JobId) -> Result<Vec<TaskRow>, StoreError> {
        let mut statement = self.database.read()?.prepare_cached(
            "SELECT arrival, id, job, state, attempts, node, paid, changed FROM tasks
             WHERE job = ?1 ORDER BY arrival",
        )?;
        let mut rows = statement.query([job.as_bytes()])?;
        let mut tasks = Vec::new();
        while let Some(row) = rows.next()? {
            tasks.push(task_row(row)?);
        }
        Ok(tasks)
    }

    /// What a task returned, if it has ended and a node returned something.
    ///
    /// # Errors
    /// As [`JobStore::stored`].
    pub fn report(&self, task: TaskId) -> Result<Option<TaskReport>, StoreError> {
        let mut statement = self
            .database
            .read()?
            .prepare_cached("SELECT arrival, result FROM tasks WHERE id = ?1")?;
        let found = statement
            .query_row([task.as_bytes()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?))
            })
            .optional()?;
        let Some((arrival, Some(body))) = found else {
            return Ok(None);
        };
        match TaskReport::decode(&body) {
            Ok(report) => Ok(Some(report)),
            Err(_) => Err(bad(arrival, "result")),
        }
    }

    /// Keeps what a task has said, with the commit that says that the task has ended. Until then it
    /// is in memory only, so give none of a task that does not end.
    pub fn keep_log(&mut self, task: TaskId, log: String) {
        self.logs.insert(task, log);
    }

    /// What a task has said, if it has ended and a log came with its report.
    ///
    /// # Errors
    /// As [`JobStore::stored`].
    pub fn log(&self, task: TaskId) -> Result<Option<String>, StoreError> {
        let mut statement = self
            .database
            .read()?
            .prepare_cached("SELECT log FROM tasks WHERE id = ?1")?;
        let found: Option<Option<String>> = statement
            .query_row([task.as_bytes()], |row| row.get(0))
            .optional()?;
        Ok(found.flatten())
    }

    /// Forgets what tasks returned and said that ended before that time, and says how many they
    /// were. Jobs and tasks themselves are kept.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], [`StoreError::Malformed`], [`StoreError::Sqlite`].
    pub fn forget_results(&mut self, before: UnixMillis) -> Result<usize, StoreError> {
        let before = i64::try_from(before.0).unwrap_or(i64::MAX);
        self.transaction(|connection| {
            Ok(connection
                .prepare_cached(
                    "UPDATE tasks SET result = NULL, log = NULL
                     WHERE result IS NOT NULL AND settled = 1 AND changed < ?1",
                )?
                .execute([before])?)
        })
    }

    fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let written = self.database.transaction(write);
        self.database.blame(written)
    }
}

impl Journal for JobStore {
    type Error = StoreError;

    /// What was not confirmed may be written all the same; writing it again changes nothing.
    fn commit(&mut self, records: &[Record], now: UnixMillis) -> Result<(), StoreError> {
        let now = i64::try_from(now.0).map_err(|_| StoreError::TimeOutOfRange { time: now })?;
        let unsure = self.unsure;
        let mut last = 0;
        let logs = std::mem::take(&mut self.logs);
        let written = self.transaction(|connection| {
            last = events::last(connection)?;
            // The same records come again, and what they told was told if they were written.
            let told = unsure.filter(|it| it.last < last);
            let told = told.map_or(0, |it| it.records.min(records.len()));
            let mut telling = Telling::default();
            for record in &records[told..] {
                telling.record(record);
            }
            let mut writing = Writing {
                connection,
                now,
                logs: &logs,
                summaries: BTreeMap::new(),
                nodes: BTreeMap::new(),
                draining: BTreeMap::new(),
            };
            for record in records {
                writing.record(record)?;
            }
            writing.finish()?;
            telling.write(connection, now)
        });
        self.unsure = match &written {
            Err(StoreError::CommitFailed { .. }) => {
                let records = records.len();
                Some(Unsure { last, records })
            }
            Err(_) => unsure,
            Ok(()) => None,
        };
        self.logs = logs;
        if written.is_ok() && !self.logs.is_empty() {
            for record in records {
                if let Record::Ended { task, .. } = record {
                    self.logs.remove(task);
                }
            }
        }
        written
    }
}

/// A commit under way. Of what a batch changes often, the last state is written once.
struct Writing<'a> {
    connection: &'a Connection,
    now: i64,
    logs: &'a BTreeMap<TaskId, String>,
    summaries: BTreeMap<JobId, JobSummary>,
    nodes: BTreeMap<NodeId, Reputation>,
    draining: BTreeMap<NodeId, bool>,
}

impl Writing<'_> {
    fn record(&mut self, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::Submitted { job, arrival } => self.job(job, *arrival)?,
            Record::Assigned {
                task,
                node,
                attempt,
                price_per_gigafuel,
            } => {
                self.connection
                    .prepare_cached(
                        "UPDATE tasks SET state = 'assigned', attempts = ?2, node = ?3, rate = ?4,
                                          changed = ?5
                         WHERE id = ?1",
                    )?
                    .execute(params![
                        task.as_bytes(),
                        attempt,
                        node.as_bytes(),
                        amount(*price_per_gigafuel),
                        self.now,
                    ])?;
            }
            Record::Queued {
                task,
                attempts,
                avoid,
            } => {
                self.connection
                    .prepare_cached(
                        "UPDATE tasks SET state = 'queued', attempts = ?2, node = NULL,
                                avoid = CASE WHEN ?3 IS NULL OR instr(avoid, ?3) THEN avoid ELSE
                                             CAST(avoid || ?3 AS BLOB) END,
                                changed = ?4
                         WHERE id = ?1",
                    )?
                    .execute(params![
                        task.as_bytes(),
                        attempts,
                        avoid.as_ref().map(NodeId::as_bytes),
                        self.now
                    ])?;
            }
            Record::Ended {
                task,
                state,
                result,
                payee,
                paid,
                job,
                summary,
            } => {
                let report = result.as_ref().map(|result| {
                    let report = TaskReport {
                        task: *task,
                        result: result.clone(),
                    };
                    report.encode()
                });
                self.connection
                    .prepare_cached(
                        "UPDATE tasks SET state = ?2, payee = ?3, paid = ?4, result = ?5, avoid = x'',
                                          changed = ?6, log = coalesce(?7, log)
                         WHERE id = ?1",
                    )?
                    .execute(params![
                        task.as_bytes(),
                        name(*state),
                        payee.as_ref().map(NodeId::as_bytes),
                        amount(*paid),
                        report,
                        self.now,
                        self.logs.get(task),
                    ])?;
                self.summaries.insert(*job, *summary);
            }
            Record::Settled { task } => {
                self.connection
                    .prepare_cached("UPDATE tasks SET settled = 1 WHERE id = ?1")?
                    .execute([task.as_bytes()])?;
            }
            Record::Node { node, reputation } => {
                self.nodes.insert(*node, *reputation);
            }
            Record::Draining { node, draining } => {
                self.draining.insert(*node, *draining);
            }
            // A coordinator of this workspace says nothing that its store does not know.
            other => debug_assert!(false, "{other:?} is not kept"),
        }
        Ok(())
    }

    fn job(&mut self, job: &JobSpec, arrival: u64) -> Result<(), StoreError> {
        let open = JobSummary::open(job);
        self.connection
            .prepare_cached(
                "INSERT OR IGNORE INTO jobs VALUES (?1, ?2, ?3, ?4, 0, 0, 0, ?5, ?6, ?7, ?6, ?8, 0)",
            )?
            .execute(params![
                job.id.as_bytes(),
                job.owner.as_bytes(),
                job.priority as u8,
                self.now,
                count(open.open),
                amount(Amount::ZERO),
                amount(open.reserved),
                job.privacy.code(),
            ])?;
        let mut module = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO modules VALUES (?1, ?2)")?;
        let mut task = self.connection.prepare_cached(
            "INSERT OR IGNORE INTO tasks VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'queued', 0, NULL, NULL, x'', NULL, NULL, NULL, ?8, 0, ?9,
              NULL)",
        )?;
        let mut last = None;
        for (order, arrival) in job.tasks.iter().zip(arrival..) {
            let digest = order.spec.module_digest();
            if last != Some(digest) {
                module.execute(params![digest.as_bytes(), &order.spec.module()[..]])?;
                last = Some(digest);
            }
            task.execute(params![
                arrival.cast_signed(),
                order.id.as_bytes(),
                job.id.as_bytes(),
                job.priority as u8,
                without_module(&order.spec),
                order.fuel_estimate.cast_signed(),
                amount(order.price_max),
                self.now,
                job.privacy.code(),
            ])?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), StoreError> {
        let mut update = self.connection.prepare_cached(
            "UPDATE jobs SET succeeded = ?2, failed = ?3, lost = ?4, cancelled = ?5, open = ?6,
                             paid = ?7, reserved = ?8, released = ?9
             WHERE id = ?1",
        )?;
        for (job, summary) in self.summaries {
            update.execute(params![
                job.as_bytes(),
                count(summary.succeeded),
                count(summary.failed),
                count(summary.lost),
                count(summary.cancelled),
                count(summary.open),
                amount(summary.paid),
                amount(summary.reserved),
                amount(summary.released),
            ])?;
        }
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO nodes (id, successes, failures) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET successes = ?2, failures = ?3",
        )?;
        for (node, reputation) in self.nodes {
            insert.execute(params![
                node.as_bytes(),
                reputation.successes(),
                reputation.failures()
            ])?;
        }
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO nodes (id, successes, failures, draining) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET draining = ?4",
        )?;
        for (node, draining) in self.draining {
            let fresh = StoredNode::new(node).reputation;
            insert.execute(params![
                node.as_bytes(),
                fresh.successes(),
                fresh.failures(),
                draining
            ])?;
        }
        Ok(())
    }
}

/// A task's encoding, with the digest of its module in the place of the module.
fn without_module(spec: &TaskSpec) -> Vec<u8> {
    let digest = spec.module_digest();
    let named = TaskSpec::new(&digest.as_bytes()[..], spec.input(), spec.limits())
        .and_then(|named| named.with_grants(spec.grants().clone()));
    // The parts are those of a task, and a digest is a module of 32 bytes.
    named.map_or_else(|_| Vec::new(), |named| named.encode())
}

/// The inverse of [`without_module`]: the digest of the module, and the task with another in its
/// place.
fn named_module(spec: &TaskSpec) -> Option<Digest> {
    Some(Digest::from_bytes((&spec.module()[..]).try_into().ok()?))
}

fn with_module(named: &TaskSpec, module: Arc<[u8]>) -> Option<TaskSpec> {
    TaskSpec::new(module, named.input(), named.limits())
        .and_then(|spec| spec.with_grants(named.grants().clone()))
        .ok()
}

const fn name(state: TaskState) -> &'static str {
    match state {
        TaskState::Submitted | TaskState::Queued { .. } => "queued",
        TaskState::Assigned { .. } => "assigned",
        TaskState::Succeeded => "succeeded",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
        TaskState::Lost { .. } => "lost",
    }
}

fn state(name: &str, attempts: u32, node: Option<NodeId>) -> Option<TaskState> {
    Some(match name {
        "queued" => TaskState::Queued { attempts },
        "assigned" => TaskState::Assigned {
            node: node?,
            attempt: attempts,
        },
        "succeeded" => TaskState::Succeeded,
        "failed" => TaskState::Failed,
        "cancelled" => TaskState::Cancelled,
        "lost" => TaskState::Lost { attempts },
        _ => return None,
    })
}

const fn amount(amount: Amount) -> [u8; 16] {
    amount.0.to_be_bytes()
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

const fn bad(arrival: i64, column: &'static str) -> StoreError {
    StoreError::BadTask {
        number: arrival.cast_unsigned(),
        column,
    }
}

fn read_amount(value: ValueRef<'_>) -> Option<Amount> {
    array(value).map(|bytes| Amount(u128::from_be_bytes(bytes)))
}

fn read_priority(value: ValueRef<'_>) -> Option<Priority> {
    let number: i64 = integer(value)?;
    [
        Priority::Critical,
        Priority::High,
        Priority::Normal,
        Priority::Low,
        Priority::Bulk,
    ]
    .into_iter()
    .find(|priority| i64::from(*priority as u8) == number)
}

fn read_privacy(value: ValueRef<'_>) -> Option<PrivacyLevel> {
    let code: i64 = integer(value)?;
    PrivacyLevel::from_code(u8::try_from(code).ok()?).ok()
}

fn read_summary(row: &Row<'_>) -> Result<JobSummary, StoreError> {
    let number = |column| -> Result<usize, StoreError> {
        integer::<i64>(row.get_ref(column)?)
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| bad(0, "count of a job"))
    };
    let money = |column| -> Result<Amount, StoreError> {
        read_amount(row.get_ref(column)?).ok_or_else(|| bad(0, "amount of a job"))
    };
    Ok(JobSummary {
        succeeded: number(0)?,
        failed: number(1)?,
        lost: number(2)?,
        cancelled: number(3)?,
        open: number(4)?,
        paid: money(5)?,
        reserved: money(6)?,
        released: money(7)?,
    })
}

fn job_row(row: &Row<'_>) -> Result<JobRow, StoreError> {
    Ok(JobRow {
        summary: read_summary(row)?,
        id: array(row.get_ref(8)?)
            .map(JobId::from_bytes)
            .ok_or_else(|| bad(0, "job id"))?,
        owner: array(row.get_ref(9)?)
            .map(AccountId::from_bytes)
            .ok_or_else(|| bad(0, "owner"))?,
        priority: read_priority(row.get_ref(10)?).ok_or_else(|| bad(0, "priority"))?,
        submitted: UnixMillis(row.get::<_, i64>(11)?.cast_unsigned()),
        privacy: read_privacy(row.get_ref(12)?).ok_or_else(|| bad(0, "privacy"))?,
    })
}

fn task_row(row: &Row<'_>) -> Result<TaskRow, StoreError> {
    let arrival: i64 = row.get(0)?;
    let attempts = integer::<i64>(row.get_ref(4)?)
        .and_then(|attempts| u32::try_from(attempts).ok())
        .ok_or_else(|| bad(arrival, "attempts"))?;
    let node = optional(row.get_ref(5)?)
        .map_err(|()| bad(arrival, "node"))?
        .map(NodeId::from_bytes);
    let found = row.get_ref(3)?.as_str().ok();
    Ok(TaskRow {
        id: array(row.get_ref(1)?)
            .map(TaskId::from_bytes)
            .ok_or_else(|| bad(arrival, "task id"))?,
        job: array(row.get_ref(2)?)
            .map(JobId::from_bytes)
            .ok_or_else(|| bad(arrival, "job id"))?,
        state: found
            .and_then(|name| state(name, attempts, node))
            .ok_or_else(|| bad(arrival, "state"))?,
        attempts,
        node,
        paid: match row.get_ref(6)? {
            ValueRef::Null => Amount::ZERO,
            value => read_amount(value).ok_or_else(|| bad(arrival, "payment"))?,
        },
        changed: UnixMillis(row.get::<_, i64>(7)?.cast_unsigned()),
    })
}

/// A blob of exactly `N` bytes, or nothing.
fn optional<const N: usize>(value: ValueRef<'_>) -> Result<Option<[u8; N]>, ()> {
    match value {
        ValueRef::Null => Ok(None),
        value => array(value).map(Some).ok_or(()),
    }
}

fn read_jobs(connection: &Connection) -> Result<Vec<StoredJob>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT succeeded, failed, lost, cancelled, open, paid, reserved, released, id FROM jobs
         WHERE id IN (SELECT job FROM tasks WHERE settled = 0) OR
               id IN (SELECT id FROM jobs WHERE open = 0 ORDER BY submitted DESC LIMIT ?1)
         ORDER BY submitted, id",
    )?;
    let mut rows = statement.query([count(ENDED_JOBS_MAX)])?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(StoredJob {
            id: array(row.get_ref(8)?)
                .map(JobId::from_bytes)
                .ok_or_else(|| bad(0, "job id"))?,
            summary: read_summary(row)?,
        });
    }
    Ok(jobs)
}

fn read_tasks(connection: &Connection) -> Result<Vec<StoredTask>, StoreError> {
    let mut module = connection.prepare_cached("SELECT body FROM modules WHERE id = ?1")?;
    let mut modules: BTreeMap<Digest, Arc<[u8]>> = BTreeMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT arrival, id, job, state, attempts, node, paid, changed, priority, spec, fuel,
                price_max, rate, avoid, payee, privacy, result
         FROM tasks WHERE settled = 0 ORDER BY arrival",
    )?;
    let mut rows = statement.query([])?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        let arrival: i64 = row.get(0)?;
        let task = task_row(row)?;
        let spec = if task.state.is_terminal() {
            None
        } else {
            let spec = row.get_ref(9)?.as_blob().ok();
            let named = spec
                .and_then(|spec| TaskSpec::decode(spec).ok())
                .ok_or_else(|| bad(arrival, "task"))?;
            let digest = named_module(&named).ok_or_else(|| bad(arrival, "name of its module"))?;
            let body = match modules.get(&digest) {
                Some(body) => Arc::clone(body),
                None => {
                    let body: Option<Vec<u8>> = module
                        .query_row([digest.as_bytes()], |row| row.get(0))
                        .optional()?;
                    let body: Arc<[u8]> = body
                        .filter(|body| Digest::of(body) == digest)
                        .ok_or_else(|| bad(arrival, "module"))?
                        .into();
                    modules.insert(digest, Arc::clone(&body));
                    body
                }
            };
            Some(with_module(&named, body).ok_or_else(|| bad(arrival, "task"))?)
        };
        let avoid = row
            .get_ref(13)?
            .as_blob()
            .map_err(|_| bad(arrival, "nodes to avoid"))?;
        let (nodes, rest) = avoid.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(bad(arrival, "nodes to avoid"));
        }
        let result = match (row.get_ref(16)?, task.node) {
            (ValueRef::Blob(report), Some(node)) => {
                let report = TaskReport::decode(report).map_err(|_| bad(arrival, "result"))?;
                Some((node, task.attempts, report.result))
            }
            _ => None,
        };
        let avoid: BTreeSet<_> = nodes.iter().copied().map(NodeId::from_bytes).collect();
        tasks.push(StoredTask {
            id: task.id,
            job: task.job,
            priority: read_priority(row.get_ref(8)?).ok_or_else(|| bad(arrival, "priority"))?,
            privacy: read_privacy(row.get_ref(15)?).ok_or_else(|| bad(arrival, "privacy"))?,
            arrival: arrival.cast_unsigned(),
            spec,
            fuel_estimate: row.get::<_, i64>(10)?.cast_unsigned(),
            price_max: read_amount(row.get_ref(11)?).ok_or_else(|| bad(arrival, "price"))?,
            state: task.state,
            price_per_gigafuel: match row.get_ref(12)? {
                ValueRef::Null => Amount::ZERO,
                value => read_amount(value).ok_or_else(|| bad(arrival, "rate"))?,
            },
            avoid,
            payee: optional(row.get_ref(14)?)
                .map_err(|()| bad(arrival, "payee"))?
                .map(NodeId::from_bytes),
            paid: task.paid,
            result,
        });
    }
    Ok(tasks)
}

fn read_nodes(connection: &Connection) -> Result<Vec<StoredNode>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT id, successes, failures, draining FROM nodes")?;
    let mut rows = statement.query([])?;
    let mut nodes = Vec::new();
    while let Some(row) = rows.next()? {
        let id = array(row.get_ref(0)?)
            .map(NodeId::from_bytes)
            .ok_or_else(|| bad(0, "node id"))?;
        let reputation = Reputation::from_evidence(row.get(1)?, row.get(2)?)
            .map_err(|_| bad(0, "reputation of a node"))?;
        nodes.push(StoredNode {
            id,
            reputation,
            draining: row.get(3)?,
        });
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests;
