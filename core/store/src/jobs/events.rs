//! What happened to jobs, in order, for whoever watches.

use std::collections::BTreeMap;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, JobId, NodeId, TaskId, UnixMillis};
use fogcompute_coord::Record;
use fogcompute_exec::TaskState;
use fogcompute_ledger::Amount;
use rusqlite::{Connection, OptionalExtension, params};

use super::JobStore;
use crate::StoreError;
use crate::database::array;

/// Most events that are kept; older ones are forgotten.
pub const EVENTS_MAX: u64 = 1_000_000;

/// Most events that one look goes through.
const LOOK_MAX: usize = 4_096;

/// Something that happened to a job, and is on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JobEvent {
    /// Its number: they count up from 1 over all jobs, without a gap.
    pub number: u64,
    /// When it was written down.
    pub at: UnixMillis,
    /// Which job.
    pub job: JobId,
    /// What happened.
    pub change: JobChange,
}

/// What happened to a job.
///
/// | tag | change | fields |
/// |---|---|---|
/// | 1 | admitted | tasks `u32` |
/// | 2 | assigned | task, node, attempt `u32` |
/// | 3 | queued again | task, attempts `u32` |
/// | 4 | task ended | task, state `u8` (0 succeeded, 1 failed, 2 cancelled, 3 lost), attempts `u32`, paid `u128` |
/// | 5 | job ended | |
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JobChange {
    /// The job was admitted.
    Admitted {
        /// Its tasks.
        tasks: u32,
    },
    /// A task goes to a node.
    Assigned {
        /// Which task.
        task: TaskId,
        /// Which node.
        node: NodeId,
        /// The attempt, from 1.
        attempt: u32,
    },
    /// An attempt came to nothing: the task waits again.
    Queued {
        /// Which task.
        task: TaskId,
        /// Attempts that were begun.
        attempts: u32,
    },
    /// A task ended.
    Ended {
        /// Which task.
        task: TaskId,
        /// How.
        state: TaskState,
        /// What was paid for it.
        paid: Amount,
    },
    /// All tasks of the job have ended.
    JobEnded,
}

/// A part of what happened.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct JobEvents {
    /// The events, in order.
    pub events: Vec<JobEvent>,
    /// The number up to which nothing else is to be found.
    pub last: u64,
    /// Events that were asked for and are forgotten, those of other accounts included.
    pub missed: u64,
}

impl JobChange {
    /// Appends the change to a message.
    pub fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Admitted { tasks } => {
                writer.u8(1);
                writer.u32(*tasks);
            }
            Self::Assigned {
                task,
                node,
                attempt,
            } => {
                writer.u8(2);
                writer.raw(task.as_bytes());
                writer.raw(node.as_bytes());
                writer.u32(*attempt);
            }
            Self::Queued { task, attempts } => {
                writer.u8(3);
                writer.raw(task.as_bytes());
                writer.u32(*attempts);
            }
            Self::Ended { task, state, paid } => {
                writer.u8(4);
                writer.raw(task.as_bytes());
                let (code, attempts) = match state {
                    TaskState::Succeeded => (0, 0),
                    TaskState::Failed => (1, 0),
                    TaskState::Cancelled => (2, 0),
                    TaskState::Lost { attempts } => (3, *attempts),
                    // No task ends so.
                    TaskState::Submitted
                    | TaskState::Queued { .. }
                    | TaskState::Assigned { .. } => (u8::MAX, 0),
                };
                writer.u8(code);
                writer.u32(attempts);
                writer.u128(paid.0);
            }
            Self::JobEnded => writer.u8(5),
        }
    }

    /// Reads a change from a message.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (at, tag) = (reader.position(), reader.u8()?);
        let unknown = |at, value: u64| DecodeError::Unknown { at, value };
        Ok(match tag {
            1 => Self::Admitted {
                tasks: reader.u32()?,
            },
            2 => Self::Assigned {
                task: TaskId::from_bytes(reader.array()?),
                node: NodeId::from_bytes(reader.array()?),
                attempt: reader.u32()?,
            },
            3 => Self::Queued {
                task: TaskId::from_bytes(reader.array()?),
                attempts: reader.u32()?,
            },
            4 => {
                let task = TaskId::from_bytes(reader.array()?);
                let at = reader.position();
                let (code, attempts) = (reader.u8()?, reader.u32()?);
                let state = match (code, attempts) {
                    (0, 0) => TaskState::Succeeded,
                    (1, 0) => TaskState::Failed,
                    (2, 0) => TaskState::Cancelled,
                    (3, attempts) => TaskState::Lost { attempts },
                    _ => return Err(unknown(at, code.into())),
                };
                let paid = Amount(reader.u128()?);
                Self::Ended { task, state, paid }
            }
            5 => Self::JobEnded,
            other => return Err(unknown(at, other.into())),
        })
    }

    /// Its task, if it is one's.
    #[must_use]
    pub const fn task(&self) -> Option<TaskId> {
        match self {
            Self::Assigned { task, .. } | Self::Queued { task, .. } | Self::Ended { task, .. } => {
                Some(*task)
            }
            Self::Admitted { .. } | Self::JobEnded => None,
        }
    }
}

/// What records tell watchers, as it is kept: all of a commit in one row, so that it costs a commit
/// next to nothing. Of a change that is a task's the job is looked up by whoever reads.
#[derive(Debug, Default)]
pub(super) struct Telling {
    body: Writer,
    count: u64,
}

impl Telling {
    pub(super) fn record(&mut self, record: &Record) {
        match record {
            Record::Submitted { job, .. } => {
                let tasks = u32::try_from(job.tasks.len()).unwrap_or(u32::MAX);
                self.of_job(job.id, &JobChange::Admitted { tasks });
            }
            Record::Assigned {
                task,
                node,
                attempt,
                ..
            } => self.of_task(&JobChange::Assigned {
                task: *task,
                node: *node,
                attempt: *attempt,
            }),
            Record::Queued { task, attempts, .. } => self.of_task(&JobChange::Queued {
                task: *task,
                attempts: *attempts,
            }),
            Record::Ended {
                task,
                state,
                paid,
                job,
                summary,
                ..
            } => {
                self.of_task(&JobChange::Ended {
                    task: *task,
                    state: *state,
                    paid: *paid,
                });
                if summary.open == 0 {
                    self.of_job(*job, &JobChange::JobEnded);
                }
            }
            _ => {}
        }
    }

    fn of_task(&mut self, change: &JobChange) {
        change.encode(&mut self.body);
        self.count += 1;
    }

    fn of_job(&mut self, job: JobId, change: &JobChange) {
        change.encode(&mut self.body);
        self.body.raw(job.as_bytes());
        self.count += 1;
    }

    /// Writes them behind what is there.
    pub(super) fn write(self, connection: &Connection, now: i64) -> Result<(), StoreError> {
        if self.count == 0 {
            return Ok(());
        }
        let first = last(connection)? + 1;
        connection
            .prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                first.cast_signed(),
                self.count.cast_signed(),
                now,
                self.body.finish()
            ])?;
        let forgotten = (first + self.count).saturating_sub(EVENTS_MAX + 1);
        connection
            .prepare_cached("DELETE FROM events WHERE first + count - 1 <= ?1 AND first <= ?1")?
            .execute([forgotten.cast_signed()])?;
        Ok(())
    }
}

/// The number of the latest event.
pub(super) fn last(connection: &Connection) -> Result<u64, StoreError> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT first + count - 1 FROM events ORDER BY first DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.map_or(0, i64::cast_unsigned))
}

impl JobStore {
    /// What happened after the event of that number, of the jobs of one account or of all: at most
    /// `count_max` events. Asking again with [`JobEvents::last`] goes on where this ended. The latest
    /// [`EVENTS_MAX`] events are kept.
    ///
    /// # Errors
    /// [`StoreError::BadTask`], [`StoreError::Malformed`], [`StoreError::Sqlite`].
    pub fn events(
        &self,
        owner: Option<AccountId>,
        after: u64,
        count_max: usize,
    ) -> Result<JobEvents, StoreError> {
        let connection = self.database.read()?;
        let (newest, oldest) = (last(connection)?, oldest(connection)?);
        // A number that was never given is of another coordinator, or of a file that was set back.
        let after = after.min(newest);
        let mut found = JobEvents {
            last: after,
            missed: oldest.saturating_sub(after + 1),
            ..JobEvents::default()
        };
        found.last += found.missed;
        let mut statement = connection.prepare_cached(
            "SELECT first, at, body FROM events
             WHERE first >= (SELECT coalesce(max(first), 0) FROM events WHERE first <= ?1)
             ORDER BY first",
        )?;
        let mut rows = statement.query([(found.last + 1).cast_signed()])?;
        let mut owners = Owners {
            connection,
            known: BTreeMap::new(),
        };
        let mut looked = 0;
        while let Some(row) = rows.next()? {
            let mut number = row.get::<_, i64>(0)?.cast_unsigned();
            let at = UnixMillis(row.get::<_, i64>(1)?.cast_unsigned());
            let body: Vec<u8> = row.get(2)?;
            let mut reader = Reader::new(&body);
            while reader.remaining() > 0 {
                let (change, job) = read(&mut reader).map_err(|_| StoreError::BadTask {
                    number,
                    column: "event",
                })?;
                if number > found.last {
                    let job = match job {
                        Some(job) => Some(job),
                        None => owners.job_of(change.task())?,
                    };
                    if let Some(job) = job
                        && (owner.is_none() || owners.owner_of(job)? == owner)
                    {
                        found.events.push(JobEvent {
                            number,
                            at,
                            job,
                            change,
                        });
                    }
                    found.last = number;
                    looked += 1;
                    if looked >= LOOK_MAX || found.events.len() >= count_max {
                        return Ok(found);
                    }
                }
                number += 1;
            }
        }
        Ok(found)
    }
}

fn oldest(connection: &Connection) -> Result<u64, StoreError> {
    let first: Option<i64> =
        connection.query_row("SELECT min(first) FROM events", [], |row| row.get(0))?;
    Ok(first.map_or(1, i64::cast_unsigned))
}

/// A change as [`Telling`] keeps it.
fn read(reader: &mut Reader<'_>) -> Result<(JobChange, Option<JobId>), DecodeError> {
    let change = JobChange::decode(reader)?;
    let job = match change.task() {
        Some(_) => None,
        None => Some(JobId::from_bytes(reader.array()?)),
    };
    Ok((change, job))
}

/// Whose jobs they are, each looked up once.
struct Owners<'a> {
    connection: &'a Connection,
    known: BTreeMap<JobId, Option<AccountId>>,
}

impl Owners<'_> {
    fn job_of(&self, task: Option<TaskId>) -> Result<Option<JobId>, StoreError> {
        let Some(task) = task else {
            return Ok(None);
        };
        let mut statement =
            (self.connection).prepare_cached("SELECT job FROM tasks WHERE id = ?1")?;
        let mut rows = statement.query([task.as_bytes()])?;
        Ok(match rows.next()? {
            Some(row) => array(row.get_ref(0)?).map(JobId::from_bytes),
            None => None,
        })
    }

    fn owner_of(&mut self, job: JobId) -> Result<Option<AccountId>, StoreError> {
        if let Some(owner) = self.known.get(&job) {
            return Ok(*owner);
        }
        let mut statement =
            (self.connection).prepare_cached("SELECT owner FROM jobs WHERE id = ?1")?;
        let mut rows = statement.query([job.as_bytes()])?;
        let owner = match rows.next()? {
            Some(row) => array(row.get_ref(0)?).map(AccountId::from_bytes),
            None => None,
        };
        self.known.insert(job, owner);
        Ok(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Unsure;
    use fogcompute_base::Priority;
    use fogcompute_coord::{JobSpec, JobSummary, Journal as _, PrivacyLevel, TaskOrder};
    use fogcompute_exec::{Limits, TaskSpec};
    use proptest::prelude::*;

    const ANA: AccountId = AccountId::from_bytes([1; 16]);
    const BEN: AccountId = AccountId::from_bytes([2; 16]);
    const NODE: NodeId = NodeId::from_bytes([3; 32]);

    fn job(number: u8, owner: AccountId) -> JobSpec {
        JobSpec {
            id: JobId::from_bytes([number; 16]),
            owner,
            priority: Priority::default(),
            privacy: PrivacyLevel::default(),
            tasks: vec![TaskOrder {
                id: TaskId::from_bytes([number; 16]),
                spec: TaskSpec::new(vec![1], [], Limits::default()).unwrap(),
                fuel_estimate: 1,
                price_max: Amount(5),
            }],
        }
    }

    fn submitted(number: u8, owner: AccountId) -> Record {
        let job = job(number, owner);
        let arrival = number.into();
        Record::Submitted { job, arrival }
    }

    fn assigned(number: u8) -> Record {
        Record::Assigned {
            task: TaskId::from_bytes([number; 16]),
            node: NODE,
            attempt: 1,
            price_per_gigafuel: Amount(1),
        }
    }

    fn ended(number: u8, owner: AccountId) -> Record {
        let job = job(number, owner);
        Record::Ended {
            task: job.tasks[0].id,
            state: TaskState::Succeeded,
            result: None,
            payee: None,
            paid: Amount(2),
            job: job.id,
            summary: JobSummary {
                open: 0,
                ..JobSummary::open(&job)
            },
        }
    }

    fn commit(store: &mut JobStore, records: &[Record]) {
        store.commit(records, UnixMillis(7)).unwrap();
    }

    fn seen(found: &JobEvents) -> Vec<(u64, u8)> {
        let seen = found.events.iter();
        seen.map(|it| (it.number, it.job.as_bytes()[0])).collect()
    }

    #[test]
    fn events_come_in_order_and_each_account_sees_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.sqlite");
        let mut store = JobStore::open(&path, crate::Durability::Full).unwrap();
        commit(&mut store, &[submitted(1, ANA), submitted(2, BEN)]);
        commit(&mut store, &[assigned(1), assigned(2)]);
        commit(&mut store, &[ended(2, BEN), ended(1, ANA)]);
        // A coordinator that is started again goes on counting.
        drop(store);
        let mut store = JobStore::open(&path, crate::Durability::Full).unwrap();
        commit(&mut store, &[submitted(3, ANA)]);
        let all = store.events(None, 0, 100).unwrap();
        let jobs = [1, 2, 1, 2, 2, 2, 1, 1, 3];
        assert_eq!(seen(&all), (1..).zip(jobs).collect::<Vec<_>>());
        assert_eq!((all.last, all.missed), (9, 0));
        let ana = store.events(Some(ANA), 0, 100).unwrap();
        assert_eq!(seen(&ana), [(1, 1), (3, 1), (7, 1), (8, 1), (9, 3)]);
        let changes: Vec<_> = ana.events.iter().map(|it| it.change).collect();
        let task = TaskId::from_bytes([1; 16]);
        assert_eq!(
            changes,
            [
                JobChange::Admitted { tasks: 1 },
                JobChange::Assigned {
                    task,
                    node: NODE,
                    attempt: 1
                },
                JobChange::Ended {
                    task,
                    state: TaskState::Succeeded,
                    paid: Amount(2)
                },
                JobChange::JobEnded,
                JobChange::Admitted { tasks: 1 },
            ]
        );
        // From every cursor on, in steps of every size: the same, each once.
        for after in 0..10 {
            for step in 1..4 {
                let (mut at, mut walked) = (after, Vec::new());
                loop {
                    let some = store.events(Some(ANA), at, step).unwrap();
                    walked.extend(seen(&some));
                    if some.last == at {
                        break;
                    }
                    at = some.last;
                }
                let wanted = seen(&ana).into_iter().filter(|it| it.0 > after);
                assert_eq!(walked, wanted.collect::<Vec<_>>());
            }
        }
        // A cursor of somebody else's file is not believed.
        assert_eq!(store.events(None, 1 << 40, 10).unwrap().last, 9);
        assert_eq!(store.jobs_of(ANA, 10).unwrap().len(), 2);
        assert_eq!(store.jobs_of(BEN, 10).unwrap().len(), 1);
    }

    #[test]
    fn who_asks_for_what_is_forgotten_is_told_how_much() {
        let mut store = JobStore::in_memory().unwrap();
        for number in 1..=4 {
            commit(&mut store, &[submitted(number, ANA)]);
        }
        // As if there had been as many as are kept.
        let connection = store.database.write().unwrap();
        connection
            .execute(
                "UPDATE events SET first = first + ?1 WHERE first > 2",
                [EVENTS_MAX.cast_signed()],
            )
            .unwrap();
        commit(&mut store, &[submitted(5, ANA)]);
        let found = store.events(Some(ANA), 1, 100).unwrap();
        let first = EVENTS_MAX + 3;
        assert_eq!(seen(&found), [(first, 3), (first + 1, 4), (first + 2, 5)]);
        assert_eq!(found.missed, first - 2);
    }

    #[test]
    fn what_was_told_before_a_doubt_is_not_told_again() {
        let mut store = JobStore::in_memory().unwrap();
        commit(&mut store, &[submitted(1, ANA)]);
        let unsure = |last| Unsure { last, records: 1 };
        // The commit was made after all, and comes again with more.
        store.unsure = Some(unsure(0));
        commit(&mut store, &[submitted(1, ANA), assigned(1)]);
        let found = store.events(None, 0, 10).unwrap();
        assert_eq!(seen(&found), [(1, 1), (2, 1)]);
        // It was not.
        store.unsure = Some(unsure(2));
        commit(&mut store, &[ended(1, ANA)]);
        assert_eq!(store.events(None, 2, 10).unwrap().events.len(), 2);
    }

    proptest! {
        #[test]
        fn a_change_is_read_as_it_was_written(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            tag in 0_u8..7,
        ) {
            let bytes = [&[tag][..], &bytes].concat();
            if let Ok(change) = JobChange::decode(&mut Reader::new(&bytes)) {
                let mut writer = Writer::new();
                change.encode(&mut writer);
                let written = writer.finish();
                prop_assert!(bytes.starts_with(&written));
            }
        }
    }
}
