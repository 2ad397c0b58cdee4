use super::*;
use crate::SqliteLedger;
use fogcompute_base::{Instant, OsEntropy};
use fogcompute_coord::{
    Config, Coordinator, Event, Host, LossReason, MemoryJournal, Offer, PrivacyLevel, TaskOrder,
    genesis,
};
use fogcompute_exec::{Grants, Limits, TaskError, TaskOutput, Usage};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tempfile::TempDir;

const OWNER: AccountId = AccountId::from_bytes([9; 16]);
const FUEL: u64 = 1_000_000_000;
const OFFER: Offer = Offer {
    cpu_millis: 2_000,
    memory_bytes: 1 << 30,
    fuel_per_second: FUEL,
    price_per_gigafuel: Amount(100),
    latency_ms: 1.0,
};
const A: NodeId = NodeId::from_bytes([1; 32]);
const B: NodeId = NodeId::from_bytes([2; 32]);

/// A coordinator whose journal is a file and, to compare, memory.
struct World {
    rules: Coordinator,
    store: JobStore,
    memory: MemoryJournal,
    ledger: SqliteLedger,
    rng: ChaCha8Rng,
    seconds: u64,
    running: Vec<(NodeId, TaskId, u32)>,
}

struct Both<'a>(&'a mut JobStore, &'a mut MemoryJournal);

impl Journal for Both<'_> {
    type Error = StoreError;

    fn commit(&mut self, records: &[Record], now: UnixMillis) -> Result<(), StoreError> {
        self.0.commit(records, now)?;
        // As after a commit that was not confirmed.
        self.0.commit(records, now)?;
        let Ok(()) = self.1.commit(records, now);
        Ok(())
    }
}

impl World {
    fn new(store: JobStore) -> Self {
        let mut ledger = SqliteLedger::in_memory().unwrap();
        ledger
            .execute(&genesis(OWNER, Amount(1_000_000)), UnixMillis(0))
            .unwrap();
        Self {
            rules: Coordinator::new(Config::default()).unwrap(),
            store,
            memory: MemoryJournal::default(),
            ledger,
            rng: ChaCha8Rng::seed_from_u64(1),
            seconds: 1,
            running: Vec::new(),
        }
    }

    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Coordinator, &mut Host<'_, SqliteLedger, ChaCha8Rng>) -> T,
    ) -> T {
        self.seconds += 1;
        let wall = UnixMillis(self.seconds * 1_000);
        let mut host = Host {
            bank: &mut self.ledger,
            rng: &mut self.rng,
            now: Instant::from_millis(self.seconds * 1_000),
            wall,
        };
        let result = call(&mut self.rules, &mut host);
        let mut journal = Both(&mut self.store, &mut self.memory);
        self.rules
            .flush(&mut journal, &mut self.ledger, wall)
            .unwrap();
        while let Some(event) = self.rules.poll_event() {
            match event {
                Event::Dispatch {
                    node,
                    task,
                    attempt,
                    ..
                } => self.running.push((node, task, attempt)),
                Event::AttemptLost { task, attempt, .. } => self
                    .running
                    .retain(|(_, of, number)| (*of, *number) != (task, attempt)),
                _ => {}
            }
        }
        assert_eq!(
            format!("{:?}", self.store.stored().unwrap()),
            format!("{:?}", self.memory.stored())
        );
        result
    }

    fn submit(&mut self, job: u8, count: u8) {
        let tasks = (0..count)
            .map(|index| TaskOrder {
                id: task(job, index),
                spec: spec(index),
                fuel_estimate: FUEL,
                price_max: Amount(1_000),
            })
            .collect();
        let job = JobSpec {
            id: JobId::from_bytes([job; 16]),
            owner: OWNER,
            priority: Priority::High,
            privacy: PrivacyLevel::ALL[usize::from(job) % 4],
            tasks,
        };
        self.call(|rules, host| rules.submit(job, host)).unwrap();
    }

    fn report(&mut self, result: Result<TaskOutput, TaskError>) -> TaskId {
        let (node, task, attempt) = self.running.remove(0);
        let report = TaskReport { task, result };
        self.call(|rules, host| rules.report(node, attempt, report, host))
            .unwrap();
        task
    }
}

fn task(job: u8, index: u8) -> TaskId {
    let mut id = [job; 16];
    id[15] = index;
    TaskId::from_bytes(id)
}

/// Two modules, and one task that is granted something.
fn spec(index: u8) -> TaskSpec {
    let spec = TaskSpec::new(vec![index % 2; 40], vec![index], Limits::default()).unwrap();
    if index == 3 {
        let grants = Grants {
            clock: fogcompute_exec::ClockGrant::System,
            ..Grants::default()
        };
        spec.with_grants(grants).unwrap()
    } else {
        spec
    }
}

fn done() -> Result<TaskOutput, TaskError> {
    Ok(TaskOutput {
        output: b"done".to_vec(),
        usage: Usage {
            fuel: FUEL,
            ..Usage::default()
        },
    })
}

#[test]
fn a_file_keeps_what_memory_would() {
    let mut world = World::new(JobStore::in_memory().unwrap());
    world
        .call(|rules, host| rules.register(A, OFFER, host))
        .unwrap();
    world.submit(1, 5);
    world
        .call(|rules, host| rules.register(B, OFFER, host))
        .unwrap();
    world.report(done());
    world.report(Err(TaskError::Cancelled));
    world.report(Err(TaskError::OutOfFuel { limit: 1 }));
    world.submit(2, 4);
    world
        .call(|rules, host| rules.cancel(task(2, 3), host))
        .unwrap();
    // One that has a reputation, and one that has none yet.
    for node in [A, B] {
        world.call(|rules, host| rules.drain(node, host));
    }
    world.call(|rules, host| rules.undrain(B, host));
    world.call(|rules, host| rules.undrain(A, host));
    world.call(|rules, host| rules.node_lost(A, LossReason::Silent, host));
    world
        .call(|rules, host| rules.register(A, OFFER, host))
        .unwrap();
    while !world.running.is_empty() {
        world.report(done());
    }
    let summary = world.rules.job(JobId::from_bytes([1; 16])).unwrap();
    assert_eq!((summary.open, summary.failed), (0, 1));
}

#[test]
fn jobs_tasks_and_results_can_be_looked_up() {
    let mut world = World::new(JobStore::in_memory().unwrap());
    world
        .call(|rules, host| rules.register(A, OFFER, host))
        .unwrap();
    world.submit(1, 3);
    world.submit(2, 1);
    let ended = world.report(done());
    let job = JobId::from_bytes([1; 16]);
    let row = world.store.job(job).unwrap().unwrap();
    assert_eq!((row.owner, row.priority), (OWNER, Priority::High));
    assert_eq!(row.privacy, PrivacyLevel::Private);
    assert_eq!(Some(row.summary), world.rules.job(job));
    let latest: Vec<_> = world
        .store
        .jobs(1)
        .unwrap()
        .iter()
        .map(|job| job.id)
        .collect();
    assert_eq!(latest, [JobId::from_bytes([2; 16])]);
    assert_eq!(world.store.jobs(10).unwrap().len(), 2);

    let rows = world.store.tasks(job).unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, [task(1, 0), task(1, 1), task(1, 2)]);
    let row = world.store.task(ended).unwrap().unwrap();
    assert_eq!((row.state, row.node), (TaskState::Succeeded, Some(A)));
    assert_eq!(row.paid, Amount(100));
    let report = world.store.report(ended).unwrap().unwrap();
    assert_eq!((report.task, report.result), (ended, done()));
    assert_eq!(world.store.report(task(2, 0)).unwrap(), None);
    assert_eq!(world.store.report(task(7, 0)).unwrap(), None);
    assert_eq!(world.store.task(task(7, 0)).unwrap(), None);

    assert_eq!(world.store.forget_results(UnixMillis(0)).unwrap(), 0);
    // It is settled in the ledger; that is written with what comes next.
    world.submit(3, 1);
    assert_eq!(world.store.forget_results(UnixMillis(u64::MAX)).unwrap(), 1);
    assert_eq!(world.store.report(ended).unwrap(), None);
    assert_eq!(world.store.task(ended).unwrap(), Some(row));
}

#[test]
fn what_a_task_said_is_kept_with_its_end_and_forgotten_with_its_result() {
    let mut world = World::new(JobStore::in_memory().unwrap());
    world
        .call(|rules, host| rules.register(A, OFFER, host))
        .unwrap();
    world.submit(1, 2);
    let (_, first, _) = world.running[0];
    world.store.keep_log(first, "one\ntwo\n".to_owned());
    // Nothing is written of a task that goes on.
    world.submit(2, 1);
    assert_eq!(world.store.log(first).unwrap(), None);
    assert_eq!(world.report(done()), first);
    assert_eq!(world.store.log(first).unwrap().unwrap(), "one\ntwo\n");
    assert!(world.store.logs.is_empty());
    let silent = world.report(done());
    assert_eq!(world.store.log(silent).unwrap(), None);
    world.submit(3, 1);
    world.store.forget_results(UnixMillis(u64::MAX)).unwrap();
    assert_eq!(world.store.log(first).unwrap(), None);
}

#[test]
fn a_file_that_is_opened_again_says_the_same() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jobs.db");
    let mut world = World::new(JobStore::open(&path, Durability::Full).unwrap());
    let secret = world.store.identity(&mut OsEntropy).unwrap();
    world
        .call(|rules, host| rules.register(A, OFFER, host))
        .unwrap();
    world.submit(1, 5);
    world.report(done());
    let before = format!("{:?}", world.store.stored().unwrap());
    let World { store, .. } = world;
    drop(store);
    let mut store = JobStore::open(&path, Durability::Full).unwrap();
    assert_eq!(store.identity(&mut OsEntropy).unwrap(), secret);
    assert_eq!(format!("{:?}", store.stored().unwrap()), before);
    let rules =
        Coordinator::recover(Config::default(), store.stored().unwrap(), Instant::ZERO).unwrap();
    assert_eq!(rules.check(), Ok(()));
    assert_eq!(
        rules.task(task(1, 4)).unwrap().job,
        JobId::from_bytes([1; 16])
    );
}

#[test]
fn a_file_of_the_first_version_is_brought_up_to_date_and_its_jobs_stay_private() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jobs.db");
    let mut world = World::new(JobStore::open(&path, Durability::Full).unwrap());
    world
        .call(|rules, host| rules.register(A, OFFER, host))
        .unwrap();
    // The job of number 1 is private.
    world.submit(1, 5);
    world.report(done());
    // The first version counted what was cancelled with what was lost.
    world
        .call(|rules, host| rules.cancel(task(1, 4), host))
        .unwrap();
    let before = format!("{:?}", world.store.stored().unwrap());
    assert!(before.contains("lost: 0, cancelled: 1"), "{before}");
    let World { store, .. } = world;
    drop(store);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "UPDATE jobs SET lost = cancelled; ALTER TABLE jobs DROP COLUMN cancelled;
             ALTER TABLE jobs DROP COLUMN privacy; ALTER TABLE tasks DROP COLUMN privacy;
             DROP TABLE events; DROP INDEX jobs_of_owner; ALTER TABLE nodes DROP COLUMN draining;
             ALTER TABLE tasks DROP COLUMN log;
             DELETE FROM schema_version WHERE version > 1",
        )
        .unwrap();
    // That is what the first version made.
    let first = Connection::open_in_memory().unwrap();
    first.execute_batch(SCHEMA.migrations[0]).unwrap();
    let made = |connection: &Connection, table: &str| -> String {
        let sql = "SELECT sql FROM sqlite_schema WHERE name = ?1";
        connection
            .query_row(sql, [table], |row| row.get(0))
            .unwrap()
    };
    for table in ["jobs", "tasks", "nodes"] {
        assert_eq!(made(&connection, table), made(&first, table));
    }
    drop(connection);
    let store = JobStore::open(&path, Durability::Full).unwrap();
    assert_eq!(format!("{:?}", store.stored().unwrap()), before);
    let row = store.job(JobId::from_bytes([1; 16])).unwrap().unwrap();
    assert_eq!(row.privacy, PrivacyLevel::Private);
}

#[test]
fn a_row_that_makes_no_sense_is_named() {
    let mut world = World::new(JobStore::in_memory().unwrap());
    world
        .call(|rules, host| rules.register(A, OFFER, host))
        .unwrap();
    world.submit(1, 2);
    let damage = |store: &mut JobStore, sql: &str| {
        let connection = store.database.write().unwrap();
        connection.execute(sql, []).unwrap();
        let error = store.stored().unwrap_err();
        match error {
            StoreError::BadTask { column, .. } => column,
            other => panic!("{other}"),
        }
    };
    let store = &mut world.store;
    let column = damage(store, "UPDATE tasks SET state = 'dozing' WHERE arrival = 1");
    assert_eq!(column, "state");
    store
        .transaction(|connection| {
            Ok(connection.execute("UPDATE tasks SET state = 'queued' WHERE arrival = 1", [])?)
        })
        .unwrap();
    assert_eq!(damage(store, "UPDATE tasks SET privacy = 4"), "privacy");
    store
        .transaction(|connection| Ok(connection.execute("UPDATE tasks SET privacy = 1", [])?))
        .unwrap();
    assert_eq!(damage(store, "UPDATE modules SET body = x'00'"), "module");
    assert_eq!(damage(store, "UPDATE tasks SET avoid = x'00'"), "module");
    assert_eq!(damage(store, "UPDATE tasks SET spec = x'00'"), "task");
}
