//! A worker's process is killed, and another goes on with its task.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fogcompute_base::TaskId;
use fogcompute_node::{TaskStatus, Worker, WorkerConfig, WorkerHost, WorkerJob};
use tempfile::TempDir;

/// Names the file of tasks to the process that is killed.
const FILE: &str = "FOG_TEST_WORKER_FILE";

const CHECKPOINTED: &str = "checkpointed ";

/// Makes a checkpoint and runs until it is stopped. Goes on by returning what only the checkpoint
/// has: the length of its input.
const WAITS: &str = r#"(module
    (import "fog" "checkpoint_completed" (func $completed))
    (memory (export "memory") 1)
    (func (export "fog_alloc") (param i32) (result i32) (i32.const 256))
    (func (export "fog_run") (param $ptr i32) (param $len i32) (result i64)
        (i32.store (i32.const 0) (local.get $len))
        (call $completed)
        (loop $for_ever (br $for_ever))
        (i64.const 0))
    (func (export "fog_resume") (result i64)
        (i64.store (i32.const 8) (i64.extend_i32_u (i32.load (i32.const 0))))
        (i64.const 0x800000008)))"#;

fn start(path: &Path) -> Worker {
    let config = WorkerConfig {
        path: Some(path.to_owned()),
        slots: 1,
        ..WorkerConfig::default()
    };
    Worker::start(config, WorkerHost::default()).unwrap()
}

/// What the test kills.
fn work_until_killed(path: &OsStr) {
    let worker = start(Path::new(path));
    let mut job = WorkerJob::new(wat::parse_str(WAITS).unwrap(), vec![b"seven b".to_vec()]);
    job.limits.fuel = u64::MAX;
    job.retry.backoff_first = Duration::from_millis(1);
    let submitted = worker.submit(job).wait().unwrap();
    let task = submitted.task_ids().next().unwrap();
    let has_checkpoint = |task: &TaskStatus| task.checkpoints > 0;
    while !has_checkpoint(&worker.task(task).wait().unwrap()) {
        std::thread::yield_now();
    }
    // The harness has left its own line unfinished.
    println!("\n{CHECKPOINTED}{task}");
    // Until the parent is gone, if it does not kill.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn task_of_a_killed_process_goes_on_from_its_checkpoint_in_the_next() {
    // What is killed is this very test, told so by its environment.
    if let Some(path) = std::env::var_os(FILE) {
        return work_until_killed(&path);
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tasks");
    let mut killed = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "task_of_a_killed_process_goes_on_from_its_checkpoint_in_the_next",
            "--nocapture",
        ])
        .env(FILE, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    let mut tasks = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix(CHECKPOINTED)?.parse::<TaskId>().ok());
    let task = tasks.next().expect("the task makes a checkpoint");
    killed.kill().unwrap();
    assert!(!killed.wait().unwrap().success(), "it was killed");

    let worker = start(&path);
    let output = worker.output(task).wait().unwrap();
    assert_eq!(output.output, 7_u64.to_le_bytes());
    let ended = worker.task(task).wait().unwrap();
    assert_eq!((ended.attempts, ended.failures), (2, 1));
    let steps = worker.history(task).wait().unwrap();
    let causes: Vec<&str> = steps.iter().map(|step| step.cause.name()).collect();
    let at = |cause| causes.iter().position(|found| *found == cause);
    assert!(at("checkpointed") < at("executor-restarted"), "{causes:?}");
    assert!(at("executor-restarted") < at("returned"), "{causes:?}");
}
