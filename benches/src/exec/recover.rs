//! What an executor of many tasks takes to come back after a crash.

use std::error::Error;
use std::time::Instant;

use fogcompute::AccountId;
use fogcompute::base::{Instant as Moment, OsEntropy, UnixMillis};
use fogcompute::exec::executor::{Budget, Command, Config, Event, Permission};
use fogcompute::exec::{ContentId, Executor, Input, Job, Task, Usage};
use fogcompute::store::{Durability, TaskStore};
use tempfile::TempDir;

use crate::measure::{Effort, median};
use crate::row::{Output, Row};

const WALL: UnixMillis = UnixMillis(1_700_000_000_000);
const NOW: Moment = Moment::ZERO;
/// Seconds that the project asks opening a hundred thousand tasks to stay below.
const RECOVER_SECONDS: f64 = 5.0;
const JOB: u32 = 1_000;

pub(crate) fn run(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let (jobs, rounds) = match effort {
        Effort::Full => (100, 5),
        Effort::Smoke => (1, 1),
    };
    let folder = TempDir::new()?;
    let path = folder.path().join("tasks");
    let (mut store, mut executor) = (TaskStore::open(&path, Durability::Full)?, idle());
    for number in 0..jobs {
        let inputs = (0..JOB).map(|place| {
            let input = (number * JOB + place).to_be_bytes();
            ContentId::of(&input)
        });
        let task = Task::wasm(ContentId::of(b"program"), Vec::<Input>::new());
        let job = Job::map(AccountId::from_bytes([1; 16]), &task, inputs);
        executor.submit(&job, &mut OsEntropy, NOW)?;
        store.save(&mut executor, &[], WALL)?;
    }
    // Half of them have ended, some run, the others wait.
    executor.handle_permission(Permission::Run(budget()), NOW);
    store.save(&mut executor, &[], WALL)?;
    for _ in 0..jobs * JOB / 2 {
        let Some(Command::Start(start)) = executor.poll_command() else {
            return Err("there is nothing to start".into());
        };
        let (task, attempt) = (start.target.task, start.target.attempt);
        let returned = Event::Succeeded {
            output: ContentId::of(b"output"),
            usage: Usage::default(),
        };
        for event in [Event::Started, returned] {
            executor.handle_event(task, attempt, event, &mut OsEntropy, NOW)?;
        }
        if executor.unsaved().len() > 1_000 {
            store.save(&mut executor, &[b"output"], WALL)?;
        }
    }
    store.save(&mut executor, &[b"output"], WALL)?;
    drop((store, executor));

    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = now();
        let store = TaskStore::open(&path, Durability::Full)?;
        let executor = store.executor(Config::default(), WALL, &mut OsEntropy, NOW)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if executor.open() != (jobs * JOB / 2) as usize {
            return Err("tasks were lost".into());
        }
    }
    output.print(Row {
        area: "exec",
        case: format!("recover {} tasks", jobs * JOB),
        ours: median(times),
        unit: "ms",
        peer: "limit".to_owned(),
        peer_version: "issue".to_owned(),
        theirs: RECOVER_SECONDS * 1e3,
        ratio: 0.0,
        n: rounds,
    })
}

fn idle() -> Executor {
    Executor::new(Config::default(), WALL)
}

/// So many slots that there is always one to start before the last start was saved.
fn budget() -> Budget {
    Budget {
        slots: 2_000,
        memory_bytes: u64::MAX,
        cpu_permille: 1_000,
        bits_per_second: u64::MAX,
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures elapsed time")]
fn now() -> Instant {
    Instant::now()
}
