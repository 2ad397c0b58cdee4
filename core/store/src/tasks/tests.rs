use super::*;
use fogcompute_base::OsEntropy;
use fogcompute_exec::executor::{Budget, Command, Event, Permission, Start};
use fogcompute_exec::{Job, TaskRef, Usage};
use std::path::PathBuf;
use tempfile::TempDir;

const OWNER: AccountId = AccountId::from_bytes([1; 16]);
const WALL: UnixMillis = UnixMillis(1_700_000_000_000);
const NOW: Instant = Instant::ZERO;
const BUDGET: Budget = Budget {
    slots: 4,
    memory_bytes: 1 << 30,
    cpu_permille: 500,
    bits_per_second: 1,
};

fn file() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tasks");
    (folder, path)
}

fn open(path: &Path) -> (TaskStore, Executor) {
    let store = TaskStore::open(path, Durability::Full).unwrap();
    let executor = executor(&store).unwrap();
    (store, executor)
}

fn executor(store: &TaskStore) -> Result<Executor, StoreError> {
    let mut executor = store.executor(Config::default(), WALL, &mut OsEntropy, NOW)?;
    executor.handle_permission(Permission::Run(BUDGET), NOW);
    Ok(executor)
}

fn task() -> Task {
    Task::wasm(ContentId::of(b"program"), vec![])
}

fn submit(executor: &mut Executor, tasks: Vec<Task>) -> Vec<TaskId> {
    let job = Job::new(OWNER, tasks);
    let submitted = executor.submit(&job, &mut OsEntropy, NOW).unwrap();
    submitted.task_ids().collect()
}

fn start(executor: &mut Executor) -> Start {
    match executor.poll_command() {
        Some(Command::Start(start)) => *start,
        other => panic!("{other:?}"),
    }
}

fn tell(executor: &mut Executor, start: &Start, event: Event) {
    let (task, attempt) = (start.target.task, start.target.attempt);
    let told = executor.handle_event(task, attempt, event, &mut OsEntropy, NOW);
    told.unwrap();
}

fn succeed(executor: &mut Executor, start: &Start, output: &[u8]) {
    let output = ContentId::of(output);
    let usage = Usage::default();
    tell(executor, start, Event::Succeeded { output, usage });
}

fn checkpoint(executor: &mut Executor, start: &Start, bytes: &[u8], fuel: u64) {
    let checkpoint = Event::Checkpointed {
        content: ContentId::of(bytes),
        bytes: bytes.len() as u64,
        fuel,
    };
    tell(executor, start, checkpoint);
}

/// Everything about the tasks but what a restart changes.
fn image(executor: &Executor) -> Vec<(TaskId, Task, Life, u64)> {
    let tasks = executor.tasks();
    tasks
        .map(|task| {
            (
                task.id,
                task.task.clone(),
                task.life.clone(),
                task.log_bytes,
            )
        })
        .collect()
}

fn change(store: &mut TaskStore, sql: &str) {
    store.database.write().unwrap().execute_batch(sql).unwrap();
}

#[test]
fn what_was_saved_is_there_when_the_file_is_opened_again() {
    let (_folder, path) = file();
    let (mut store, mut executor) = open(&path);
    let program = store.put(b"program", WALL).unwrap();
    let waits = Task {
        inputs: vec![Input::Output(TaskRef::Place(0)), Input::Content(program)],
        ..task()
    };
    let ids = submit(&mut executor, vec![task(), waits, task()]);
    let saved = store.save(&mut executor, &[], WALL).unwrap();
    assert!(matches!(saved[0], Record::Job { .. }));
    let first = start(&mut executor);
    tell(&mut executor, &first, Event::Started);
    for text in ["one, ", "two"] {
        let bytes = text.as_bytes().to_vec();
        tell(&mut executor, &first, Event::Log { bytes });
    }
    succeed(&mut executor, &first, b"output");
    executor.cancel(ids[2], NOW).unwrap();
    store.save(&mut executor, &[b"output"], WALL).unwrap();
    let before = image(&executor);
    drop(store);

    let (store, executor) = open(&path);
    assert_eq!(image(&executor)[0], before[0]);
    let states: Vec<_> = ids
        .iter()
        .map(|id| executor.task(*id).unwrap().life.state.name())
        .collect();
    assert_eq!(states, ["succeeded", "retrying", "cancelled"]);
    let output = ContentId::of(b"output");
    assert_eq!(store.content(output).unwrap().unwrap(), b"output");
    assert_eq!(store.content(program).unwrap().unwrap(), b"program");
    assert_eq!(store.content(ContentId::of(b"other")).unwrap(), None);
    let causes: Vec<_> = store
        .history(ids[0])
        .unwrap()
        .iter()
        .map(|step| step.cause.name())
        .collect();
    assert_eq!(
        causes,
        [
            "submitted",
            "admitted",
            "ready",
            "slot-free",
            "started",
            "returned"
        ]
    );
    assert_eq!(store.log(ids[0], 0, 100).unwrap(), b"one, two");
    assert_eq!(store.log(ids[0], 3, 4).unwrap(), b", tw");
    assert_eq!(store.log(ids[0], 5, 1).unwrap(), b"t");
    assert_eq!(store.log(ids[0], 8, 9).unwrap(), b"");
    assert_eq!(store.log(ids[0], u64::MAX, 9).unwrap(), b"");
    assert_eq!(store.log(ids[1], 0, 9).unwrap(), b"");
}

#[test]
fn retried_task_goes_on_from_the_checkpoint_that_was_saved() {
    let (_folder, path) = file();
    let (mut store, mut executor) = open(&path);
    let id = submit(&mut executor, vec![task()])[0];
    store.save(&mut executor, &[], WALL).unwrap();
    let first = start(&mut executor);
    tell(&mut executor, &first, Event::Started);
    checkpoint(&mut executor, &first, b"one", 1);
    checkpoint(&mut executor, &first, b"two", 2);
    store.save(&mut executor, &[b"one", b"two"], WALL).unwrap();
    checkpoint(&mut executor, &first, b"three", 3);
    store.save(&mut executor, &[b"three"], WALL).unwrap();
    drop(store);

    let (mut store, mut executor) = open(&path);
    let body =
        |store: &TaskStore, bytes: &[u8]| store.checkpoint(id, ContentId::of(bytes)).unwrap();
    assert_eq!(body(&store, b"one"), None);
    assert_eq!(body(&store, b"two").unwrap(), b"two");
    assert_eq!(body(&store, b"three").unwrap(), b"three");
    // Checkpoints are no content: they go when their task has ended.
    assert_eq!(store.content(ContentId::of(b"three")).unwrap(), None);
    executor.handle_timeout(&mut OsEntropy, Instant::from_millis(10_000));
    store.save(&mut executor, &[], WALL).unwrap();
    let second = start(&mut executor);
    let resume = second.resume.unwrap();
    assert_eq!((resume.sequence, resume.fuel), (3, 3));
    assert_eq!(resume.content, ContentId::of(b"three"));
    succeed(&mut executor, &second, b"three");
    store.save(&mut executor, &[b"three"], WALL).unwrap();
    assert_eq!(body(&store, b"three"), None);
    assert_eq!(
        store.content(ContentId::of(b"three")).unwrap().unwrap(),
        b"three"
    );
}

#[test]
fn output_or_checkpoint_that_was_not_handed_over_is_asked_for() {
    let mut store = TaskStore::in_memory().unwrap();
    let mut executor = executor(&store).unwrap();
    submit(&mut executor, vec![task()]);
    store.save(&mut executor, &[], WALL).unwrap();
    let first = start(&mut executor);
    tell(&mut executor, &first, Event::Started);
    checkpoint(&mut executor, &first, b"state", 1);
    let refused = |store: &mut TaskStore, executor: &mut Executor, bytes: &[u8]| {
        let error = store.save(executor, &[b"unasked"], WALL).unwrap_err();
        assert!(
            matches!(error, StoreError::MissingContent { content } if content.names(bytes)),
            "{error}"
        );
    };
    refused(&mut store, &mut executor, b"state");
    assert_eq!(executor.unsaved().len(), 2);
    store.save(&mut executor, &[b"state"], WALL).unwrap();
    succeed(&mut executor, &first, b"output");
    refused(&mut store, &mut executor, b"output");
    store.put(b"output", WALL).unwrap();
    store.save(&mut executor, &[], WALL).unwrap();
    assert_eq!(executor.unsaved(), []);
}

#[test]
fn full_disk_is_named_and_nothing_is_lost_or_started_until_there_is_room() {
    let (_folder, path) = file();
    let (mut store, mut executor) = open(&path);
    let limit = |store: &mut TaskStore, pages: i64| {
        let database = store.database.write().unwrap();
        let set = database.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()));
        set.unwrap();
    };
    limit(&mut store, 1);
    let ids = submit(&mut executor, vec![task(); 400]);
    for _ in 0..2 {
        let error = store.save(&mut executor, &[], WALL).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("disk is full: {}", path.display())
        );
        assert_eq!(executor.poll_command(), None);
        let error = store.put(&vec![7; 100_000], WALL).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    }
    limit(&mut store, 100_000);
    store.save(&mut executor, &[], WALL).unwrap();
    assert_eq!(start(&mut executor).target.task, ids[0]);
    drop(store);
    let (_store, executor) = open(&path);
    assert_eq!(executor.open(), 400);
}

#[test]
fn handle_stops_writing_after_a_commit_that_failed() {
    let (_folder, path) = file();
    let (mut store, mut executor) = open(&path);
    // A deferred constraint is the one thing that lets every statement pass and the commit not.
    change(
        &mut store,
        "CREATE TABLE odd (x REFERENCES tasks (number) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER odd AFTER INSERT ON jobs BEGIN INSERT INTO odd VALUES (-1); END;",
    );
    let id = submit(&mut executor, vec![task()])[0];
    let error = store.save(&mut executor, &[], WALL).unwrap_err();
    assert!(matches!(error, StoreError::CommitFailed { .. }), "{error}");
    for error in [
        store.save(&mut executor, &[], WALL).unwrap_err(),
        store.put(b"x", WALL).unwrap_err(),
        store.sweep_content(WALL).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::ReopenNeeded), "{error}");
    }
    change(&mut store, "DROP TRIGGER odd; DROP TABLE odd;");
    drop(store);
    let (_store, executor) = open(&path);
    assert!(executor.task(id).is_none());
}

#[test]
fn content_that_was_changed_from_outside_is_noticed_and_can_be_stored_again() {
    let mut store = TaskStore::in_memory().unwrap();
    let id = store.put(b"right", WALL).unwrap();
    change(&mut store, "UPDATE content SET body = x'00'");
    let error = store.content(id).unwrap_err();
    assert!(
        matches!(error, StoreError::BadContent { content } if content == id),
        "{error}"
    );
    assert_eq!(store.put(b"right", WALL).unwrap(), id);
    assert_eq!(store.content(id).unwrap().unwrap(), b"right");
}

#[test]
fn rows_that_make_no_sense_are_named() {
    for (sql, column) in [
        ("UPDATE tasks SET life = x'01' WHERE number = 2", "life"),
        ("UPDATE tasks SET task = x'01' WHERE number = 2", "task"),
        ("UPDATE jobs SET key = char(10), first = 2", "key"),
    ] {
        let mut store = TaskStore::in_memory().unwrap();
        let mut tasks = executor(&store).unwrap();
        submit(&mut tasks, vec![task(); 2]);
        store.save(&mut tasks, &[], WALL).unwrap();
        change(&mut store, sql);
        let error = executor(&store).unwrap_err();
        assert!(
            matches!(error, StoreError::BadTask { number: 2, column: bad } if bad == column),
            "{error}"
        );
    }
    let mut store = TaskStore::in_memory().unwrap();
    let mut tasks = executor(&store).unwrap();
    let id = submit(&mut tasks, vec![task(); 2])[1];
    store.save(&mut tasks, &[], WALL).unwrap();
    change(&mut store, "UPDATE steps SET body = x'01'");
    let error = store.history(id).unwrap_err();
    assert!(matches!(error, StoreError::BadTask { .. }), "{error}");
    change(&mut store, "DELETE FROM tasks WHERE number = 1");
    let error = executor(&store).unwrap_err();
    assert!(matches!(error, StoreError::Restore(_)), "{error}");
}

#[test]
fn forgotten_jobs_leave_nothing_and_content_without_tasks_is_swept() {
    let (_folder, path) = file();
    let (mut store, mut executor) = open(&path);
    store.put(b"program", WALL).unwrap();
    store.put(b"input", WALL).unwrap();
    let with_input = Task {
        inputs: vec![Input::Content(ContentId::of(b"input"))],
        ..task()
    };
    submit(&mut executor, vec![with_input]);
    let kept = submit(&mut executor, vec![task()])[0];
    store.save(&mut executor, &[], WALL).unwrap();
    for output in [b"output 1", b"output 2"] {
        let start = start(&mut executor);
        let bytes = b"log".to_vec();
        tell(&mut executor, &start, Event::Log { bytes });
        if start.target.task != kept {
            succeed(&mut executor, &start, output);
            store.save(&mut executor, &[output], WALL).unwrap();
        }
    }
    let later = UnixMillis(WALL.0 + 7_200_000);
    assert_eq!(store.sweep_content(later).unwrap(), 0);
    assert_eq!(executor.forget_ended(later), 1);
    store.save(&mut executor, &[], later).unwrap();
    assert_eq!(store.sweep_content(UnixMillis(WALL.0 + 1)).unwrap(), 0);
    assert_eq!(store.sweep_content(later).unwrap(), 2);
    assert_eq!(store.content(ContentId::of(b"input")).unwrap(), None);
    assert!(store.content(ContentId::of(b"program")).unwrap().is_some());
    let count = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table} WHERE number = 1");
        let connection = store.database.read().unwrap();
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    for table in ["tasks", "steps", "checkpoints", "logs"] {
        assert_eq!(count(table), 0, "{table}");
    }
    drop(store);
    let (_store, executor) = open(&path);
    assert_eq!(executor.tasks().count(), 1);
}

#[test]
fn content_over_the_limit_and_a_time_that_cannot_be_stored_are_refused() {
    let mut store = TaskStore::in_memory().unwrap();
    let error = store
        .put(&vec![0; CONTENT_BYTES_MAX + 1], WALL)
        .unwrap_err();
    assert!(
        matches!(error, StoreError::ContentTooLong { .. }),
        "{error}"
    );
    let error = store.put(b"", UnixMillis(u64::MAX)).unwrap_err();
    assert!(
        matches!(error, StoreError::TimeOutOfRange { .. }),
        "{error}"
    );
}

#[test]
fn other_stores_and_second_handles_are_refused() {
    let (_folder, path) = file();
    let (store, _) = open(&path);
    let error = TaskStore::open(&path, Durability::Full).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(store);
    let error = crate::NodeStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::OtherDatabase { .. }), "{error}");
}

#[test]
fn forked_child_is_refused() {
    let mut store = TaskStore::in_memory().unwrap();
    let mut tasks = executor(&store).unwrap();
    let id = submit(&mut tasks, vec![task()])[0];
    store.database.fork();
    let refused = |error| assert!(matches!(error, StoreError::Forked { .. }), "{error}");
    refused(store.save(&mut tasks, &[], WALL).unwrap_err());
    refused(store.put(b"", WALL).unwrap_err());
    refused(store.content(ContentId::of(b"")).unwrap_err());
    refused(store.has_content(ContentId::of(b"")).unwrap_err());
    refused(store.put_harvest(b"").unwrap_err());
    refused(store.harvest().unwrap_err());
    refused(store.checkpoint(id, ContentId::of(b"")).unwrap_err());
    refused(store.history(id).unwrap_err());
    refused(store.log(id, 0, 1).unwrap_err());
    refused(store.sweep_content(WALL).unwrap_err());
    refused(executor(&store).unwrap_err());
}

#[test]
fn record_of_the_device_is_kept_and_replaced() {
    let (_folder, path) = file();
    let mut store = TaskStore::open(&path, Durability::Full).unwrap();
    assert_eq!(store.harvest().unwrap(), None);
    store.put_harvest(b"one session").unwrap();
    store.put_harvest(b"two").unwrap();
    drop(store);
    let store = TaskStore::open(&path, Durability::Full).unwrap();
    assert_eq!(store.harvest().unwrap().as_deref(), Some(&b"two"[..]));
}

#[test]
fn content_is_known_by_its_name() {
    let mut store = TaskStore::in_memory().unwrap();
    let id = store.put(b"content", WALL).unwrap();
    assert!(store.has_content(id).unwrap());
    assert!(!store.has_content(ContentId::of(b"other")).unwrap());
}
