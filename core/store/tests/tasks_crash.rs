//! A writer of tasks is killed at any moment; whatever it acknowledged must be there, whole.
//!
//! As `crash.rs` does for the ledger: the test starts this very binary again as the writer, counts
//! the acknowledgements on its standard output, and kills it (SIGKILL on Unix) after a different
//! number of them each round. Nothing sleeps. This is about the death of a process, not a power cut.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};

use fogcompute_base::{AccountId, Instant, OsEntropy, Rng, UnixMillis};
use fogcompute_exec::executor::{Budget, Command, Config, Event, Permission};
use fogcompute_exec::job::task_id;
use fogcompute_exec::lifecycle::State;
use fogcompute_exec::{ContentId, Executor, IdempotencyKey, Input, Job, Task, TaskRef, Usage};
use fogcompute_store::{Durability, TaskStore};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use tempfile::TempDir;

const ROUNDS: u64 = 60;
/// Rounds that share one file before the next starts with none, so that creation is hit too.
const ROUNDS_A_FILE: u64 = 15;
const FILE: &str = "FOGCOMPUTE_TASKS_CRASH_TEST_FILE";
/// After so many acknowledgements the writer halts behind the next checkpoint; without it, never.
const HALT: &str = "FOGCOMPUTE_TASKS_CRASH_TEST_HALT";
const OWNER: AccountId = AccountId::from_bytes([1; 16]);
const WALL: UnixMillis = UnixMillis(1_700_000_000_000);

/// A task, and one that waits for its output.
fn job(number: u64) -> Job {
    let first = Task::wasm(ContentId::of(b"program"), vec![]);
    let second = Task {
        inputs: vec![Input::Output(TaskRef::Place(0))],
        ..first.clone()
    };
    let key = IdempotencyKey::new(&number.to_string()).unwrap();
    Job::new(OWNER, vec![first, second]).with_key(key)
}

fn open(path: &Path) -> (TaskStore, Executor) {
    let mut store = TaskStore::open(path, Durability::Full).unwrap();
    let (mut rng, now) = (OsEntropy, Instant::ZERO);
    let mut executor = store
        .executor(Config::default(), WALL, &mut rng, now)
        .unwrap();
    store.save(&mut executor, &[], WALL).unwrap();
    (store, executor)
}

/// What the test kills.
fn write_until_killed(path: &OsString) {
    let halt = std::env::var(HALT).map_or(usize::MAX, |count| count.parse().unwrap());
    let mut acknowledged = 0;
    let (mut store, mut executor) = open(Path::new(path));
    let mut out = std::io::stdout().lock();
    let mut rng = OsEntropy;
    let budget = Budget {
        slots: 2,
        memory_bytes: 1 << 30,
        cpu_permille: 1_000,
        bits_per_second: 1,
    };
    // What a killed writer ran is tried again after its wait, which is over here.
    let now = Instant::from_millis(3_600_000);
    executor.handle_timeout(&mut rng, now);
    executor.handle_permission(Permission::Run(budget), now);
    let known = executor.tasks().count() as u64 / 2;
    for number in known.. {
        executor.submit(&job(number), &mut rng, now).unwrap();
        store.save(&mut executor, &[], WALL).unwrap();
        // The harness has left its own line unfinished. A closed pipe means the parent is gone.
        if writeln!(out, "\nsubmitted {number}").is_err() {
            return;
        }
        acknowledged += 1;
        while let Some(command) = executor.poll_command() {
            let Command::Start(start) = command else {
                continue;
            };
            let (task, attempt) = (start.target.task, start.target.attempt);
            let state = task.as_bytes().repeat(300);
            let (output, content) = (ContentId::of(task.as_bytes()), ContentId::of(&state));
            let bytes = state.len() as u64;
            for event in [
                Event::Started,
                Event::Checkpointed {
                    content,
                    bytes,
                    fuel: u64::MAX,
                },
            ] {
                let told = executor.handle_event(task, attempt, event, &mut rng, now);
                told.unwrap();
            }
            store.save(&mut executor, &[&state], WALL).unwrap();
            if acknowledged >= halt {
                writeln!(out, "\nhalted").unwrap();
                // Whoever is to kill it holds the other end.
                std::io::stdin().read_line(&mut String::new()).unwrap();
                return;
            }
            let usage = Usage::default();
            let event = Event::Succeeded { output, usage };
            let told = executor.handle_event(task, attempt, event, &mut rng, now);
            told.unwrap();
            store.save(&mut executor, &[task.as_bytes()], WALL).unwrap();
            if writeln!(out, "\nfinished {task}").is_err() {
                return;
            }
            acknowledged += 1;
        }
    }
}

/// Runs a writer until it has acknowledged `count` lines, kills it, and returns all it acknowledged.
///
/// With `halting` it is killed behind the first checkpoint after them, before its task has finished.
fn run_and_kill(path: &Path, count: usize, halting: bool) -> Vec<String> {
    let mut process = Process::new(std::env::current_exe().expect("a test knows where it is"));
    if halting {
        process.env(HALT, count.to_string());
    }
    let mut writer = process
        .args([
            "--exact",
            "killed_writer_loses_no_task_it_acknowledged",
            "--nocapture",
        ])
        .env(FILE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test starts again");
    let lines = BufReader::new(writer.stdout.take().expect("it is piped")).lines();
    let mut acknowledged = lines.map_while(Result::ok).filter(|line| {
        line == "halted" || line.starts_with("submitted ") || line.starts_with("finished ")
    });
    let count = count + usize::from(halting);
    let mut seen: Vec<String> = acknowledged.by_ref().take(count).collect();
    assert_eq!(seen.len(), count, "the writer goes on until killed");
    while halting && seen.last().is_some_and(|line| line != "halted") {
        seen.push(acknowledged.next().expect("it halts behind a checkpoint"));
    }
    writer.kill().expect("it is ours to kill");
    // What it wrote into the pipe before it died was acknowledged as well.
    seen.extend(acknowledged);
    let end = writer.wait().expect("it is ours to wait for");
    assert!(!end.success(), "it was killed");
    seen.retain(|line| line != "halted");
    seen
}

#[test]
fn killed_writer_loses_no_task_it_acknowledged() {
    // The writer is this very test, told so by its environment.
    if let Some(path) = std::env::var_os(FILE) {
        return write_until_killed(&path);
    }
    let mut rng = ChaCha20Rng::seed_from_u64(0xf06);
    let (mut submitted, mut finished, mut resumed) = (0, 0, 0);
    for _ in 0..ROUNDS / ROUNDS_A_FILE {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tasks");
        let (mut jobs, mut done) = (0, Vec::new());
        for round in 0..ROUNDS_A_FILE {
            let count = usize::try_from(rng.next_u32() % 24).unwrap();
            for line in run_and_kill(&path, count, round % 3 == 0) {
                match line.split_once(' ').unwrap() {
                    ("submitted", number) => jobs = number.parse::<u64>().unwrap() + 1,
                    (_, task) => done.push(task.parse().unwrap()),
                }
            }
            let (store, executor) = open(&path);
            for number in 0..jobs {
                let key = IdempotencyKey::new(&number.to_string()).unwrap();
                let found = executor.job_of_key(OWNER, &key);
                let found = found.unwrap_or_else(|| panic!("job {number} was acknowledged"));
                assert_eq!(found.content, job(number).content());
            }
            // One more may have reached the disk without its acknowledgement reaching the pipe.
            let stored = executor.tasks().count() as u64 / 2;
            assert!((jobs..=jobs + 1).contains(&stored), "{jobs}, {stored}");
            for task in &done {
                let output = ContentId::of(fogcompute_base::TaskId::as_bytes(task));
                let state = executor.task(*task).unwrap().life.state;
                assert_eq!(state, State::Succeeded { output });
                assert!(store.content(output).unwrap().is_some());
            }
            for task in executor.tasks() {
                let history = store.history(task.id).unwrap();
                assert_eq!(history.len(), task.life.steps as usize, "{task:?}");
                assert_eq!(history.last().unwrap().to, task.life.state);
                assert!((0..2).any(|place| task_id(task.job, place) == task.id));
                if let (Some(checkpoint), false) =
                    (task.life.checkpoint, task.life.state.is_terminal())
                {
                    let body = store.checkpoint(task.id, checkpoint.content).unwrap();
                    assert_eq!(body.unwrap().len() as u64, checkpoint.bytes);
                    resumed += 1;
                }
            }
        }
        submitted += jobs;
        finished += done.len();
    }
    assert!(submitted > 100, "only {submitted} jobs were submitted");
    assert!(finished > 100, "only {finished} tasks were finished");
    assert!(resumed > 0, "no writer was killed behind a checkpoint");
}
