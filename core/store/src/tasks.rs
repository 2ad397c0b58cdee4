//! The tasks of one device, and the content that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fogcompute_base::{AccountId, Digest, Instant, JobId, Rng, TaskId, UnixMillis};
use fogcompute_exec::executor::{Config, JobEntry, Record, TaskEntry};
use fogcompute_exec::job::task_id;
use fogcompute_exec::lifecycle::{Cause, Life, State, Transition};
use fogcompute_exec::{CONTENT_BYTES_MAX, ContentId, Executor, IdempotencyKey, Input, Task};
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::{Absent, Database, Schema, array, integer};
use crate::{Durability, StoreError};

/// Checkpoints that are kept of a task: the last, and the one before in case it is damaged.
const CHECKPOINTS_KEPT: i64 = 2;

/// Content that is stored again within that time, in milliseconds, is not written again, not even to
/// say that it was.
const FRESH_MS: i64 = 3_600_000;

/// Statements that a save uses, and some that reading does.
const STATEMENTS: usize = 32;

const SCHEMA: Schema = Schema {
    application: i32::from_be_bytes(*b"FOGT"),
    migrations: &[include_str!("tasks_1.sql"), include_str!("tasks_2.sql")],
    carry_over: |_| Ok(()),
};

/// What an [`Executor`] has to remember, and programs, inputs, outputs, checkpoints and logs of its
/// tasks.
///
/// [`TaskStore::save`] writes what the executor has done, all in one transaction, and lets it go on.
/// [`TaskStore::executor`] makes the executor again from what was written.
///
/// The file holds the content of tasks in the clear; it is created readable by its owner only.
///
/// ```
/// use fogcompute_base::{AccountId, Instant, OsEntropy, UnixMillis};
/// use fogcompute_exec::executor::Config;
/// use fogcompute_exec::{Job, Task};
/// use fogcompute_store::TaskStore;
///
/// let (now, wall) = (Instant::ZERO, UnixMillis(1_800_000_000_000));
/// let mut store = TaskStore::in_memory()?;
/// let mut executor = store.executor(Config::default(), wall, &mut OsEntropy, now)?;
///
/// let program = store.put(b"\0asm\x01\0\0\0", wall)?;
/// let job = Job::new(AccountId::from_bytes([1; 16]), vec![Task::wasm(program, vec![])]);
/// let submitted = executor.submit(&job, &mut OsEntropy, now)?;
/// store.save(&mut executor, &[], wall)?; // now it may be acknowledged
///
/// let executor = store.executor(Config::default(), wall, &mut OsEntropy, now)?;
/// assert_eq!(executor.progress(submitted.job).map(|job| job.open), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TaskStore {
    database: Database,
    /// A commit was not confirmed: the executor and the disk may differ from here on.
    uncertain: bool,
}

impl TaskStore {
    /// Opens or creates a file of tasks and owns it until dropped.
    ///
    /// # Errors
    /// [`StoreError::SpecialPath`], [`StoreError::NulInPath`], [`StoreError::CannotOpen`],
    /// [`StoreError::IsFolder`], [`StoreError::NoFolder`], [`StoreError::Locked`],
    /// [`StoreError::ReadOnly`], [`StoreError::NotADatabase`], [`StoreError::OtherDatabase`],
    /// [`StoreError::SchemaTooNew`], [`StoreError::Malformed`], [`StoreError::DiskFull`],
    /// [`StoreError::Sqlite`].
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
            uncertain: false,
        })
    }

    /// The executor that was saved here, or a new one.
    ///
    /// Attempts that ran when it was last saved are over, see [`Executor::restore`]: save it before
    /// anything else. `epoch` is the wall time of [`Instant::ZERO`].
    ///
    /// # Errors
    /// [`StoreError::BadTask`], [`StoreError::Restore`], [`StoreError::Malformed`],
    /// [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn executor(
        &self,
        config: Config,
        epoch: UnixMillis,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Executor, StoreError> {
        let connection = self.database.read()?;
        let (jobs, tasks) = (read_jobs(connection)?, read_tasks(connection)?);
        Ok(Executor::restore(config, epoch, jobs, tasks, rng, now)?)
    }

    /// Writes what the executor has not saved, with the outputs and checkpoints that it names, in
    /// one transaction; tells it so; and returns what may now be acknowledged and shown. Of a task
    /// the last two checkpoints are kept, and none when it has ended.
    ///
    /// `contents` are bytes that records name for the first time; others may be among them. Hand
    /// them over until a save succeeds.
    ///
    /// # Errors
    /// [`StoreError::MissingContent`], [`StoreError::ContentTooLong`],
    /// [`StoreError::TimeOutOfRange`], [`StoreError::DiskFull`], [`StoreError::Replaced`],
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`]: nothing changed, and
    /// the same call may be made again.
    /// [`StoreError::CommitFailed`]: the disk may have changed; this handle answers
    /// [`StoreError::ReopenNeeded`] from then on.
    pub fn save(
        &mut self,
        executor: &mut Executor,
        contents: &[&[u8]],
        now: UnixMillis,
    ) -> Result<Vec<Record>, StoreError> {
        let records = executor.unsaved();
        if !records.is_empty() || !contents.is_empty() {
            self.transaction(|connection| write(connection, records, contents, now))?;
        }
        let count = records.len();
        Ok(executor.saved(count))
    }

    /// Stores content, and names it. Storing it again is fine.
    ///
    /// # Errors
    /// As [`TaskStore::save`], but [`StoreError::MissingContent`].
    pub fn put(&mut self, bytes: &[u8], now: UnixMillis) -> Result<ContentId, StoreError> {
        let id = name(bytes)?;
        self.transaction(|connection| write_content(connection, id, bytes, millis(now)?))?;
        Ok(id)
    }

    /// Content that was stored.
    ///
    /// # Errors
    /// [`StoreError::BadContent`], [`StoreError::Malformed`], [`StoreError::Sqlite`],
    /// [`StoreError::Forked`].
    pub fn content(&self, id: ContentId) -> Result<Option<Vec<u8>>, StoreError> {
        let mut statement = self
            .database
            .read()?
            .prepare_cached("SELECT body FROM content WHERE id = ?1")?;
        let body = statement
            .query_row([id.as_bytes()], |row| row.get(0))
            .optional()?;
        checked(id, body)
    }

    /// Whether content of that name was stored. Its bytes are not looked at.
    ///
    /// # Errors
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn has_content(&self, id: ContentId) -> Result<bool, StoreError> {
        let mut statement = self
            .database
            .read()?
            .prepare_cached("SELECT 1 FROM content WHERE id = ?1")?;
        Ok(statement.exists([id.as_bytes()])?)
    }

    /// Stores the sessions, rest and quotas of the device that does the tasks, in the encoding of
    /// whoever counts them; what was stored before is replaced.
    ///
    /// # Errors
    /// As [`TaskStore::save`], but [`StoreError::MissingContent`].
    pub fn put_harvest(&mut self, record: &[u8]) -> Result<(), StoreError> {
        self.transaction(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO harvest VALUES (1, ?1)")?
                .execute([record])?;
            Ok(())
        })
    }

    /// What [`TaskStore::put_harvest`] stored.
    ///
    /// # Errors
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn harvest(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut statement = self
            .database
            .read()?
            .prepare_cached("SELECT body FROM harvest WHERE id = 1")?;
        Ok(statement.query_row([], |row| row.get(0)).optional()?)
    }

    /// The bytes of a task's checkpoint, if it is one of the last two and the task has not ended.
    ///
    /// # Errors
    /// As [`TaskStore::content`].
    pub fn checkpoint(&self, task: TaskId, id: ContentId) -> Result<Option<Vec<u8>>, StoreError> {
        let mut statement = self.database.read()?.prepare_cached(
            "SELECT body FROM checkpoints JOIN tasks USING (number)
             WHERE tasks.id = ?1 AND content = ?2 ORDER BY sequence DESC LIMIT 1",
        )?;
        let body = statement
            .query_row(params![task.as_bytes(), id.as_bytes()], |row| row.get(0))
            .optional()?;
        checked(id, body)
    }

    /// Every step of a task's life, in order; none if the task is not known.
    ///
    /// # Errors
    /// [`StoreError::BadTask`], [`StoreError::Malformed`], [`StoreError::Sqlite`],
    /// [`StoreError::Forked`].
    pub fn history(&self, task: TaskId) -> Result<Vec<Transition>, StoreError> {
        let mut statement = self.database.read()?.prepare_cached(
            "SELECT number, body FROM steps
             WHERE number = (SELECT number FROM tasks WHERE id = ?1) ORDER BY step",
        )?;
        let mut rows = statement.query([task.as_bytes()])?;
        let mut steps = Vec::new();
        while let Some(row) = rows.next()? {
            let number = row.get::<_, i64>(0)?.cast_unsigned();
            let step = row.get_ref(1)?.as_blob().ok();
            let step = step.and_then(|body| Transition::decode(body).ok());
            steps.push(step.ok_or(StoreError::BadTask {
                number,
                column: "step",
            })?);
        }
        Ok(steps)
    }

    /// At most `bytes_max` bytes of a task's log, from byte `from` on; none if there are none yet.
    ///
    /// # Errors
    /// As [`TaskStore::history`].
    pub fn log(&self, task: TaskId, from: u64, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let mut log = Vec::new();
        let Ok(start) = i64::try_from(from) else {
            return Ok(log);
        };
        // The piece in which `from` lies, and those behind it.
        let mut statement = self.database.read()?.prepare_cached(
            "WITH of (number) AS (SELECT number FROM tasks WHERE id = ?1)
             SELECT logs.number, position, body FROM logs JOIN of USING (number)
             WHERE position >= (SELECT coalesce(max(position), 0) FROM logs JOIN of USING (number)
                                WHERE position <= ?2)
             ORDER BY position",
        )?;
        let mut rows = statement.query(params![task.as_bytes(), start])?;
        while let Some(row) = rows.next()? {
            let number = row.get::<_, i64>(0)?.cast_unsigned();
            let bad = |column| StoreError::BadTask { number, column };
            let position: u64 = integer(row.get_ref(1)?).ok_or_else(|| bad("log position"))?;
            let body = row.get_ref(2)?.as_blob().map_err(|_| bad("log"))?;
            let skipped = usize::try_from(from.saturating_sub(position)).unwrap_or(usize::MAX);
            let wanted = body.get(skipped..).unwrap_or_default();
            let room = bytes_max - log.len();
            log.extend(&wanted[..room.min(wanted.len())]);
            if log.len() == bytes_max {
                break;
            }
        }
        Ok(log)
    }

    /// Forgets content that was last stored an hour before that time, or earlier, and that no task
    /// names, and says how many they were. Forget tasks first: [`Executor::forget_ended`], then save
    /// it.
    ///
    /// Complexity: O(tasks and content).
    ///
    /// # Errors
    /// [`StoreError::BadTask`], and those of [`TaskStore::save`].
    pub fn sweep_content(&mut self, before: UnixMillis) -> Result<usize, StoreError> {
        // No stored time is later than i64::MAX, so the saturated bound still means "all".
        let before = i64::try_from(before.0).map_or(i64::MAX, |before| before - FRESH_MS);
        self.transaction(|connection| {
            let mut named = BTreeSet::new();
            for entry in read_tasks(connection)? {
                named.insert(entry.task.program);
                named.extend(entry.task.inputs.iter().filter_map(|input| match input {
                    Input::Content(content) => Some(*content),
                    Input::Output(_) => None,
                }));
                if let State::Succeeded { output } = entry.life.state {
                    named.insert(output);
                }
            }
            let mut old = connection.prepare("SELECT rowid, id FROM content WHERE added < ?1")?;
            let mut rows = old.query([before])?;
            let mut unnamed: Vec<i64> = Vec::new();
            while let Some(row) = rows.next()? {
                let id = array(row.get_ref(1)?).map(ContentId::from_bytes);
                if id.is_none_or(|id| !named.contains(&id)) {
                    unnamed.push(row.get(0)?);
                }
            }
            let mut delete = connection.prepare("DELETE FROM content WHERE rowid = ?1")?;
            for row in &unnamed {
                delete.execute([row])?;
            }
            Ok(unnamed.len())
        })
    }

    fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.database.read()?;
        if self.uncertain {
            return Err(StoreError::ReopenNeeded);
        }
        let written = self.database.transaction(write);
        self.uncertain = matches!(written, Err(StoreError::CommitFailed { .. }));
        self.database.blame(written)
    }
}

fn name(bytes: &[u8]) -> Result<ContentId, StoreError> {
    if bytes.len() > CONTENT_BYTES_MAX {
        return Err(StoreError::ContentTooLong {
            actual: bytes.len(),
            limit: CONTENT_BYTES_MAX,
        });
    }
    Ok(ContentId::of(bytes))
}

fn checked(id: ContentId, body: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError> {
    match body {
        Some(body) if !id.names(&body) => Err(StoreError::BadContent { content: id }),
        body => Ok(body),
    }
}

fn millis(time: UnixMillis) -> Result<i64, StoreError> {
    i64::try_from(time.0).map_err(|_| StoreError::TimeOutOfRange { time })
}

/// A number that counts up from 1 by one for each task or byte, so it never comes near 2^63.
fn row(number: u64) -> i64 {
    number.cast_signed()
}

fn write_content(
    connection: &Connection,
    id: ContentId,
    bytes: &[u8],
    added: i64,
) -> Result<(), StoreError> {
    // What is there is written again only if it is damaged, or was stored long ago.
    connection
        .prepare_cached(
            "INSERT INTO content VALUES (?1, ?2, ?3) ON CONFLICT (id)
             DO UPDATE SET added = max(added, excluded.added), body = excluded.body
             WHERE added < excluded.added - ?4 OR body <> excluded.body",
        )?
        .execute(params![id.as_bytes(), added, bytes, FRESH_MS])?;
    Ok(())
}

/// What the records of one save have in common.
struct Batch<'a> {
    connection: &'a Connection,
    /// What was handed over.
    contents: BTreeMap<ContentId, &'a [u8]>,
    /// How each task is after the last of its records: the only one that is written.
    lives: BTreeMap<u64, &'a Life>,
    /// How long its log is then.
    logs: BTreeMap<u64, u64>,
}

fn write(
    connection: &Connection,
    records: &[Record],
    contents: &[&[u8]],
    now: UnixMillis,
) -> Result<(), StoreError> {
    let mut batch = Batch {
        connection,
        contents: BTreeMap::new(),
        lives: BTreeMap::new(),
        logs: BTreeMap::new(),
    };
    for bytes in contents {
        batch.contents.insert(name(bytes)?, bytes);
    }
    let (mut checkpoints, mut outputs) = (BTreeSet::new(), BTreeSet::new());
    for record in records {
        match record {
            Record::Step { number, life, .. } => {
                batch.lives.insert(*number, life);
                checkpoints.extend(life.checkpoint.map(|checkpoint| checkpoint.content));
                if let State::Succeeded { output } = life.state {
                    outputs.insert(output);
                }
            }
            Record::Log {
                number,
                offset,
                bytes,
                ..
            } => {
                let end = offset + bytes.len() as u64;
                batch.logs.insert(*number, end);
            }
            Record::Job { .. } | Record::Forgotten { .. } => {}
        }
    }
    // A checkpoint is stored beside its task, where it does not outlive it.
    let now = millis(now)?;
    for (id, bytes) in &batch.contents {
        if !checkpoints.contains(id) || outputs.contains(id) {
            write_content(connection, *id, bytes, now)?;
        }
    }
    records.iter().try_for_each(|record| batch.record(record))?;
    batch.finish()
}

impl Batch<'_> {
    fn record(&mut self, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::Job { job, tasks } => self.job(job, tasks),
            Record::Step {
                number,
                transition,
                life,
            } => self.step(*number, transition, life),
            Record::Log {
                number,
                attempt,
                offset,
                bytes,
                ..
            } => {
                self.connection
                    .prepare_cached("INSERT INTO logs VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![row(*number), row(*offset), attempt, bytes])?;
                Ok(())
            }
            Record::Forgotten { job } => self.forget(job),
        }
    }

    fn job(&mut self, job: &JobEntry, tasks: &[TaskEntry]) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT INTO jobs VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                row(job.first),
                job.tasks,
                job.id.as_bytes(),
                job.owner.as_bytes(),
                job.key.as_ref().map(IdempotencyKey::as_str),
                job.content.as_bytes(),
            ])?;
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO tasks VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        for (place, entry) in (0..).zip(tasks) {
            let id = task_id(job.id, place);
            let life = self.lives.remove(&entry.number).unwrap_or(&entry.life);
            let log_bytes = self.logs.remove(&entry.number).unwrap_or(entry.log_bytes);
            insert.execute(params![
                row(entry.number),
                id.as_bytes(),
                entry.task.encode(),
                life.encode(),
                life.state.name(),
                row(log_bytes),
            ])?;
            self.transition(entry.number, &entry.life.first_step(id))?;
        }
        Ok(())
    }

    fn transition(&self, number: u64, transition: &Transition) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT INTO steps VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                row(number),
                transition.number,
                millis(transition.time)?,
                transition.to.name(),
                transition.cause.name(),
                transition.encode(),
            ])?;
        Ok(())
    }

    fn step(&self, number: u64, transition: &Transition, life: &Life) -> Result<(), StoreError> {
        self.transition(number, transition)?;
        if let (Cause::Checkpointed { sequence }, Some(checkpoint)) =
            (transition.cause, life.checkpoint)
        {
            let content = checkpoint.content;
            let body = self.contents.get(&content);
            let body = body.ok_or(StoreError::MissingContent { content })?;
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO checkpoints VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![
                    row(number),
                    row(sequence),
                    content.as_bytes(),
                    body
                ])?;
            self.connection
                .prepare_cached("DELETE FROM checkpoints WHERE number = ?1 AND sequence <= ?2")?
                .execute(params![row(number), row(sequence) - CHECKPOINTS_KEPT])?;
        }
        if let State::Succeeded { output } = life.state
            && !self.contents.contains_key(&output)
        {
            let stored = self
                .connection
                .prepare_cached("SELECT 1 FROM content WHERE id = ?1")?
                .exists([output.as_bytes()])?;
            if !stored {
                return Err(StoreError::MissingContent { content: output });
            }
        }
        if life.state.is_terminal() && life.checkpoint.is_some() {
            self.connection
                .prepare_cached("DELETE FROM checkpoints WHERE number = ?1")?
                .execute([row(number)])?;
        }
        Ok(())
    }

    fn forget(&mut self, job: &JobEntry) -> Result<(), StoreError> {
        let range = params![row(job.first), row(job.first) + i64::from(job.tasks) - 1];
        for delete in [
            "DELETE FROM tasks WHERE number BETWEEN ?1 AND ?2",
            "DELETE FROM steps WHERE number BETWEEN ?1 AND ?2",
            "DELETE FROM checkpoints WHERE number BETWEEN ?1 AND ?2",
            "DELETE FROM logs WHERE number BETWEEN ?1 AND ?2",
            "DELETE FROM jobs WHERE first BETWEEN ?1 AND ?2",
        ] {
            self.connection.prepare_cached(delete)?.execute(range)?;
        }
        Ok(())
    }

    /// Writes how tasks are that were there before.
    fn finish(self) -> Result<(), StoreError> {
        let mut update = self
            .connection
            .prepare_cached("UPDATE tasks SET life = ?2, state = ?3 WHERE number = ?1")?;
        for (number, life) in self.lives {
            update.execute(params![row(number), life.encode(), life.state.name()])?;
        }
        let mut update = self
            .connection
            .prepare_cached("UPDATE tasks SET log_bytes = ?2 WHERE number = ?1")?;
        for (number, log_bytes) in self.logs {
            update.execute([row(number), row(log_bytes)])?;
        }
        Ok(())
    }
}

fn read_jobs(connection: &Connection) -> Result<Vec<JobEntry>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT first, tasks, id, owner, key, content FROM jobs ORDER BY first")?;
    let mut rows = statement.query([])?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let bad = |column| StoreError::BadTask {
            number: number.cast_unsigned(),
            column,
        };
        let key = row.get_ref(4)?;
        let key = match key.as_str_or_null().map_err(|_| bad("key"))? {
            Some(key) => Some(IdempotencyKey::new(key).map_err(|_| bad("key"))?),
            None => None,
        };
        jobs.push(JobEntry {
            first: integer(row.get_ref(0)?).ok_or_else(|| bad("number"))?,
            tasks: integer(row.get_ref(1)?).ok_or_else(|| bad("number of tasks"))?,
            id: array(row.get_ref(2)?)
                .map(JobId::from_bytes)
                .ok_or_else(|| bad("job id"))?,
            owner: array(row.get_ref(3)?)
                .map(AccountId::from_bytes)
                .ok_or_else(|| bad("owner"))?,
            key,
            content: array(row.get_ref(5)?)
                .map(Digest::from_bytes)
                .ok_or_else(|| bad("content"))?,
        });
    }
    Ok(jobs)
}

fn read_tasks(connection: &Connection) -> Result<Vec<TaskEntry>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT number, task, life, log_bytes FROM tasks ORDER BY number")?;
    let mut rows = statement.query([])?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let bad = |column| StoreError::BadTask {
            number: number.cast_unsigned(),
            column,
        };
        let task = row.get_ref(1)?.as_blob().ok();
        let life = row.get_ref(2)?.as_blob().ok();
        tasks.push(TaskEntry {
            number: integer(row.get_ref(0)?).ok_or_else(|| bad("number"))?,
            task: task
                .and_then(|task| Task::decode(task).ok())
                .ok_or_else(|| bad("task"))?,
            life: life
                .and_then(|life| Life::decode(life).ok())
                .ok_or_else(|| bad("life"))?,
            log_bytes: integer(row.get_ref(3)?).ok_or_else(|| bad("length of its log"))?,
        });
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests;
