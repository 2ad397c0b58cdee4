//! An executor under any calls: every task ends once, nothing starts that has ended, and what was
//! saved gives it back.

#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::Arbitrary;
use fogcompute_base::{AccountId, Instant, TaskId, UnixMillis};
use fogcompute_exec::executor::{
    Budget, Command, Config, Event, Executor, JobEntry, Permission, Record, TaskEntry,
};
use fogcompute_exec::lifecycle::State;
use fogcompute_exec::{ContentId, Input, Job, Task, TaskError, TaskRef, Usage};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const EPOCH: UnixMillis = UnixMillis(1_000);

#[derive(Arbitrary, Debug)]
enum Act {
    Submit {
        tasks: u8,
        chained: bool,
        deadline: Option<u16>,
        run_time: Option<u16>,
    },
    Cancel {
        task: u8,
    },
    Permit {
        slots: u8,
        memory: u32,
        cpu: u16,
    },
    Suspend,
    Vacate,
    Stop,
    Wait {
        ms: u16,
    },
    Save {
        count: u8,
    },
    Say {
        task: u8,
        attempt: u8,
        what: u8,
        value: u16,
    },
    Forget,
    Restart,
}

fn event(what: u8, value: u16) -> Event {
    let content = ContentId::of(&value.to_be_bytes());
    match what % 10 {
        0 => Event::Started,
        1 => Event::Suspended,
        2 => Event::Resumed,
        3 => Event::Checkpointed {
            content,
            bytes: value.into(),
            fuel: value.into(),
        },
        4 => Event::Log {
            bytes: vec![what; value.into()],
        },
        5 => Event::Succeeded {
            output: content,
            usage: Usage::default(),
        },
        6 => Event::Failed {
            error: TaskError::RuntimeFault,
        },
        7 => Event::Failed {
            error: TaskError::OutOfFuel { limit: 1 },
        },
        8 => Event::Stopped,
        _ => Event::Lost,
    }
}

/// What a disk would have.
#[derive(Default)]
struct Disk {
    jobs: BTreeMap<u64, JobEntry>,
    tasks: BTreeMap<u64, TaskEntry>,
}

impl Disk {
    fn write(&mut self, record: Record) {
        match record {
            Record::Job { job, tasks } => {
                self.jobs.insert(job.first, job);
                self.tasks
                    .extend(tasks.into_iter().map(|task| (task.number, task)));
            }
            Record::Step {
                number,
                transition,
                life,
            } => {
                let task = self.tasks.get_mut(&number).expect("its job was written");
                assert!(task.life.state.may_become(&transition.to));
                assert_eq!(task.life.steps + 1, transition.number);
                task.life = *life;
            }
            Record::Log { number, bytes, .. } => {
                let task = self.tasks.get_mut(&number).expect("its job was written");
                task.log_bytes += bytes.len() as u64;
                assert!(task.log_bytes <= task.task.log_bytes_max.into());
            }
            Record::Forgotten { job } => {
                self.jobs.remove(&job.first);
                self.tasks.retain(|number, _| {
                    !(job.first..job.first + u64::from(job.tasks)).contains(number)
                });
            }
        }
    }
}

fuzz_target!(|acts: Vec<Act>| {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let config = Config {
        open_max: 40,
        tasks_max: 60,
        ahead_per_slot: 2,
        ..Config::default()
    };
    let mut executor = Executor::new(config, EPOCH);
    let (mut now, mut disk) = (Instant::ZERO, Disk::default());
    for act in acts {
        let ids: Vec<TaskId> = executor.tasks().map(|task| task.id).collect();
        let known = |at: u8| ids.get(usize::from(at) % ids.len().max(1)).copied();
        match act {
            Act::Submit {
                tasks,
                chained,
                deadline,
                run_time,
            } => {
                let ms = |ms: Option<u16>| ms.map(|ms| Duration::from_millis(ms.into()));
                let tasks = (0..u32::from(tasks % 4)).map(|place| {
                    let before = place.checked_sub(1).filter(|_| chained).map(TaskRef::Place);
                    let mut inputs: Vec<_> = before.map(Input::Output).into_iter().collect();
                    inputs.extend(ids.last().map(|id| Input::Output(TaskRef::Task(*id))));
                    Task {
                        deadline: ms(deadline),
                        run_time_max: ms(run_time),
                        ..Task::wasm(ContentId::of(b""), inputs)
                    }
                });
                let job = Job::new(AccountId::from_bytes([0; 16]), tasks.collect());
                let _ = executor.submit(&job, &mut rng, now);
            }
            Act::Cancel { task } => {
                if let Some(task) = known(task) {
                    let _ = executor.cancel(task, now);
                }
            }
            Act::Permit { slots, memory, cpu } => {
                let budget = Budget {
                    slots: slots.into(),
                    memory_bytes: memory.into(),
                    cpu_permille: cpu.into(),
                    bits_per_second: 1,
                };
                executor.handle_permission(Permission::Run(budget), now);
            }
            Act::Suspend => executor.handle_permission(Permission::Suspend, now),
            Act::Vacate => executor.handle_permission(Permission::Vacate, now),
            Act::Stop => executor.handle_permission(Permission::Stop, now),
            Act::Wait { ms } => {
                now = now + Duration::from_millis(ms.into());
                executor.handle_timeout(&mut rng, now);
                let due = executor.poll_timeout();
                assert!(due.is_none_or(|due| due > now), "{due:?} at {now:?}");
            }
            Act::Save { count } => {
                executor
                    .saved(count.into())
                    .into_iter()
                    .for_each(|record| disk.write(record));
                while let Some(command) = executor.poll_command() {
                    let target = command.target();
                    let state = executor
                        .task(target.task)
                        .expect("it has a task")
                        .life
                        .state;
                    if let Command::Start(_) = command {
                        let attempt = state.attempt().expect("it may run");
                        assert_eq!(
                            (attempt.number, attempt.slot),
                            (target.attempt, target.slot)
                        );
                    }
                }
            }
            Act::Say {
                task,
                attempt,
                what,
                value,
            } => {
                if let Some(task) = known(task) {
                    let event = event(what, value);
                    let _ = executor.handle_event(task, attempt.into(), event, &mut rng, now);
                }
            }
            Act::Forget => {
                executor.forget_ended(UnixMillis(u64::MAX));
            }
            Act::Restart => {
                let (jobs, tasks) = (disk.jobs.values().cloned(), disk.tasks.values().cloned());
                let permission = executor.permission();
                executor = Executor::restore(config, EPOCH, jobs, tasks, &mut rng, now)
                    .expect("what was saved belongs together");
                executor.handle_permission(permission, now);
            }
        }
        let ended = |state: State| state.is_terminal();
        let open = executor
            .tasks()
            .filter(|task| !ended(task.life.state))
            .count();
        assert_eq!(open, executor.open());
    }
});
