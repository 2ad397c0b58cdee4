use super::*;
use crate::lifecycle::CheckpointError;
use crate::{ContentId, INPUTS_MAX, Input, Job, Limits, RetryPolicy, TaskError, TaskRef, Usage};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const OWNER: AccountId = AccountId::from_bytes([1; 16]);
const EPOCH: UnixMillis = UnixMillis(1_700_000_000_000);
const BUDGET: Budget = Budget {
    slots: 2,
    memory_bytes: 1 << 30,
    cpu_permille: 500,
    bits_per_second: 1_000_000,
};

fn task() -> Task {
    Task::wasm(ContentId::of(b"program"), vec![])
}

fn content(n: u64) -> ContentId {
    ContentId::of(&n.to_be_bytes())
}

/// An executor whose disk never fails, and a runtime that does what the test says.
struct World {
    executor: Executor,
    rng: ChaCha8Rng,
    now: Instant,
    records: Vec<Record>,
}

impl World {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let mut executor = Executor::new(config, EPOCH);
        executor.handle_permission(Permission::Run(BUDGET), Instant::ZERO);
        Self {
            executor,
            rng: ChaCha8Rng::seed_from_u64(1),
            now: Instant::ZERO,
            records: Vec::new(),
        }
    }

    fn submit(&mut self, tasks: Vec<Task>) -> Vec<TaskId> {
        let job = Job::new(OWNER, tasks);
        let submitted = self.executor.submit(&job, &mut self.rng, self.now);
        submitted.unwrap().task_ids().collect()
    }

    /// Saves everything and returns the commands.
    fn commands(&mut self) -> Vec<Command> {
        self.records.extend(self.executor.saved(usize::MAX));
        std::iter::from_fn(|| self.executor.poll_command()).collect()
    }

    /// Attempts that are to be started now.
    fn starts(&mut self) -> Vec<Start> {
        let commands = self.commands().into_iter();
        commands
            .map(|command| match command {
                Command::Start(start) => *start,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn tell(&mut self, target: Target, event: Event) -> Result<(), EventError> {
        let Target { task, attempt, .. } = target;
        let (rng, now) = (&mut self.rng, self.now);
        self.executor.handle_event(task, attempt, event, rng, now)
    }

    fn succeed(&mut self, target: Target, n: u64) {
        self.tell(target, Event::Started).unwrap();
        self.tell(target, returned(n)).unwrap();
    }

    fn run_until(&mut self, ms: u64) {
        self.now = Instant::from_millis(ms);
        self.executor.handle_timeout(&mut self.rng, self.now);
    }

    fn state(&self, task: TaskId) -> State {
        self.executor.task(task).unwrap().life.state
    }

    fn permit(&mut self, permission: Permission) {
        self.executor.handle_permission(permission, self.now);
    }

    /// Causes of a task's steps so far.
    fn causes(&mut self, task: TaskId) -> Vec<Cause> {
        self.records.extend(self.executor.saved(usize::MAX));
        let steps = self.records.iter().filter_map(|record| match record {
            Record::Step { transition, .. } if transition.task == task => Some(transition.cause),
            _ => None,
        });
        steps.collect()
    }

    /// The executor that another process makes of what was saved.
    fn restored(&self, now: Instant) -> Result<Executor, RestoreError> {
        let (jobs, tasks) = replay(&self.records);
        let config = self.executor.config;
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        Executor::restore(config, EPOCH, jobs, tasks, &mut rng, now)
    }
}

/// What a store would have after these records.
fn replay(records: &[Record]) -> (Vec<JobEntry>, Vec<TaskEntry>) {
    let (mut jobs, mut entries) = (BTreeMap::new(), BTreeMap::new());
    for record in records {
        match record {
            Record::Job { job, tasks } => {
                jobs.insert(job.id, job.clone());
                entries.extend(tasks.iter().map(|task| (task.number, task.clone())));
            }
            Record::Step { number, life, .. } => {
                entries.get_mut(number).unwrap().life = (**life).clone();
            }
            Record::Log { number, bytes, .. } => {
                entries.get_mut(number).unwrap().log_bytes += bytes.len() as u64;
            }
            Record::Forgotten { job } => {
                jobs.remove(&job.id);
                for number in job.numbers() {
                    entries.remove(&number);
                }
            }
        }
    }
    (
        jobs.into_values().collect(),
        entries.into_values().collect(),
    )
}

fn returned(n: u64) -> Event {
    Event::Succeeded {
        output: content(n),
        usage: Usage::default(),
    }
}

fn fault() -> Event {
    Event::Failed {
        error: TaskError::RuntimeFault,
    }
}

#[test]
fn task_passes_through_every_state_with_its_cause() {
    let mut world = World::new();
    let id = world.submit(vec![task()])[0];
    let target = world.starts()[0].target;
    assert_eq!((target.task, target.attempt, target.slot), (id, 1, 0));
    world.tell(target, Event::Started).unwrap();
    let checkpoint = Event::Checkpointed {
        content: content(1),
        bytes: 8,
        fuel: 100,
    };
    world.tell(target, checkpoint).unwrap();
    world.tell(target, Event::Suspended).unwrap();
    world.tell(target, Event::Resumed).unwrap();
    world.tell(target, returned(2)).unwrap();
    assert_eq!(world.state(id), State::Succeeded { output: content(2) });
    assert_eq!(
        world.causes(id),
        [
            Cause::Admitted,
            Cause::Ready,
            Cause::SlotFree,
            Cause::Started,
            Cause::Checkpointed { sequence: 1 },
            Cause::Suspended,
            Cause::Resumed,
            Cause::Returned
        ]
    );
    let late = world.tell(target, returned(3));
    assert_eq!(
        late,
        Err(EventError::Stale {
            attempt: 1,
            current: 1
        })
    );
}

#[test]
fn nothing_starts_before_it_is_on_disk_and_what_runs_is_stopped_all_the_same() {
    let mut world = World::new();
    let first = world.submit(vec![task()])[0];
    let target = world.starts()[0].target;
    world.tell(target, Event::Started).unwrap();
    // From here on the disk is full.
    let second = world.submit(vec![task()])[0];
    assert!(matches!(world.state(second), State::Assigned(_)));
    assert_eq!(world.executor.poll_command(), None);
    world.executor.cancel(first, world.now).unwrap();
    assert_eq!(world.executor.poll_command(), Some(Command::Cancel(target)));
    assert_eq!(world.executor.poll_command(), None);
    // Its time to start does not begin before it is told to.
    world.run_until(3_600_000);
    assert!(matches!(world.state(second), State::Assigned(_)));
    assert_eq!(world.starts().len(), 1);
    world.run_until(3_630_000);
    assert!(matches!(
        world.state(second),
        State::Stopping {
            stop: Stop::Restart,
            ..
        }
    ));
}

#[test]
fn same_key_and_content_is_the_same_job_and_other_content_is_refused() {
    let mut world = World::new();
    let key = IdempotencyKey::new("monday").unwrap();
    let job = Job::new(OWNER, vec![task()]).with_key(key.clone());
    let submit =
        |world: &mut World, job: &Job| world.executor.submit(job, &mut world.rng, world.now);
    let first = submit(&mut world, &job).unwrap();
    let again = submit(&mut world, &job).unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!((first.job, first.tasks), (again.job, again.tasks));
    assert_eq!(world.executor.open(), 1);
    let mut other = job.clone();
    other.tasks[0].priority = Priority::High;
    assert_eq!(
        submit(&mut world, &other),
        Err(SubmitError::KeyReused { job: first.job })
    );
    other.owner = AccountId::from_bytes([2; 16]);
    assert!(!submit(&mut world, &other).unwrap().replayed);
    assert_eq!(
        world.executor.job_of_key(OWNER, &key).map(|job| job.id),
        Some(first.job)
    );
}

#[test]
fn queue_and_memory_are_bounded_and_refuse_whole_jobs() {
    let mut world = World::with(Config {
        open_max: 3,
        tasks_max: 4,
        ..Config::default()
    });
    world.submit(vec![task(); 2]);
    let job = Job::new(OWNER, vec![task(); 2]);
    assert_eq!(
        world.executor.submit(&job, &mut world.rng, world.now),
        Err(SubmitError::QueueFull {
            open: 2,
            asked: 2,
            limit: 3
        })
    );
    for start in world.starts() {
        world.succeed(start.target, 1);
    }
    world.submit(vec![task()]);
    assert_eq!(
        world.executor.submit(&job, &mut world.rng, world.now),
        Err(SubmitError::MemoryFull {
            held: 3,
            asked: 2,
            limit: 4
        })
    );
    world.now = Instant::from_millis(1);
    let wall = UnixMillis(EPOCH.0 + 1);
    assert_eq!(world.executor.forget_ended(wall), 1);
    world
        .executor
        .submit(&job, &mut world.rng, world.now)
        .unwrap();
}

#[test]
fn urgent_tasks_go_first_and_equals_in_order_of_submission() {
    let mut world = World::new();
    world.permit(Permission::Stop);
    let with = |priority| Task { priority, ..task() };
    let ids = world.submit(vec![
        with(Priority::Bulk),
        with(Priority::Normal),
        with(Priority::Critical),
        with(Priority::Normal),
    ]);
    let budget = Budget { slots: 1, ..BUDGET };
    world.permit(Permission::Run(budget));
    let mut order = Vec::new();
    while let Some(start) = world.starts().pop() {
        order.push(start.target.task);
        world.succeed(start.target, 1);
    }
    assert_eq!(order, [ids[2], ids[1], ids[3], ids[0]]);
}

#[test]
fn outputs_become_inputs_and_reduce_waits_for_all() {
    let mut world = World::new();
    let inputs = [content(1), content(2), content(3)];
    let job = Job::map_reduce(OWNER, &task(), inputs, task());
    let submitted = world
        .executor
        .submit(&job, &mut world.rng, world.now)
        .unwrap();
    let reduce = task_id(submitted.job, 3);
    let mut outputs = Vec::new();
    while outputs.len() < 3 {
        assert_eq!(world.state(reduce), State::Admitted);
        for start in world.starts() {
            let n = 10 + outputs.len() as u64;
            outputs.push((start.inputs.clone(), content(n)));
            world.succeed(start.target, n);
        }
    }
    let start = world.starts().pop().unwrap();
    assert_eq!(start.target.task, reduce);
    let expected: Vec<ContentId> = inputs
        .iter()
        .map(|input| {
            let of = outputs.iter().find(|(inputs, _)| inputs == &[*input]);
            of.unwrap().1
        })
        .collect();
    assert_eq!(start.inputs, expected);
    world.succeed(start.target, 99);
    let progress = world.executor.progress(submitted.job).unwrap();
    assert_eq!((progress.succeeded, progress.open), (4, 0));
}

#[test]
fn those_that_wait_for_a_failure_are_skipped_and_those_that_wait_for_them() {
    let mut world = World::new();
    let after = |places: &[u32]| Task {
        after: places.iter().copied().map(TaskRef::Place).collect(),
        ..task()
    };
    let ids = world.submit(vec![
        task(),
        after(&[0]),
        after(&[1, 0]),
        after(&[2, 1]),
        task(),
    ]);
    let target = world.starts()[0].target;
    let error = TaskError::OutOfFuel { limit: 1 };
    world
        .tell(
            target,
            Event::Failed {
                error: error.clone(),
            },
        )
        .unwrap();
    assert_eq!(world.state(ids[0]), State::Failed);
    assert_eq!(world.executor.task(ids[0]).unwrap().life.error, Some(error));
    for id in &ids[1..4] {
        assert_eq!(world.state(*id), State::Skipped);
    }
    assert!(matches!(world.state(ids[4]), State::Assigned(_)));
    assert_eq!(
        world.causes(ids[1]).last(),
        Some(&Cause::DependencyEnded { task: ids[0] })
    );
    // A later job that waits for what has failed is skipped at once; for a stranger it is refused.
    let later = Task {
        after: vec![TaskRef::Task(ids[0])],
        ..task()
    };
    let later = world.submit(vec![later])[0];
    assert_eq!(world.state(later), State::Skipped);
    let stranger = TaskId::from_bytes([9; 16]);
    let waits = Task {
        inputs: vec![Input::Output(TaskRef::Task(stranger))],
        ..task()
    };
    let job = Job::new(OWNER, vec![waits]);
    assert_eq!(
        world.executor.submit(&job, &mut world.rng, world.now),
        Err(SubmitError::UnknownTask { task: stranger })
    );
}

#[test]
fn chain_as_long_as_a_job_can_be_is_skipped_without_a_deep_stack() {
    let mut world = World::new();
    let chain = (0..8_000).map(|place: u32| Task {
        after: place
            .checked_sub(1)
            .map(TaskRef::Place)
            .into_iter()
            .collect(),
        ..task()
    });
    let ids = world.submit(chain.collect());
    let target = world.starts()[0].target;
    world.executor.cancel(target.task, world.now).unwrap();
    world.tell(target, Event::Stopped).unwrap();
    assert_eq!(world.state(ids[7_999]), State::Skipped);
    assert_eq!(world.executor.open(), 0);
}

#[test]
fn faults_are_retried_after_a_growing_wait_and_then_fail() {
    let mut world = World::new();
    let id = world.submit(vec![task()])[0];
    let mut waits = Vec::new();
    for _ in 0..2 {
        let target = world.starts()[0].target;
        world.tell(target, fault()).unwrap();
        let State::Retrying { due } = world.state(id) else {
            panic!("{:?}", world.state(id));
        };
        let wall = EPOCH.0 + world.now.as_nanos() / 1_000_000;
        waits.push(due.0 - wall);
        let due = due.0 - EPOCH.0;
        assert_eq!(
            world.executor.poll_timeout(),
            Some(Instant::from_millis(due))
        );
        world.run_until(due - 1);
        assert_eq!(world.starts(), []);
        world.run_until(due);
    }
    assert!((500..=1_000).contains(&waits[0]), "{waits:?}");
    assert!((1_000..=2_000).contains(&waits[1]), "{waits:?}");
    let target = world.starts()[0].target;
    assert_eq!(target.attempt, 3);
    world.tell(target, fault()).unwrap();
    assert_eq!(world.state(id), State::Failed);
}

#[test]
fn vanished_attempts_are_retried_from_the_checkpoint_and_then_lost() {
    let mut world = World::new();
    let id = world.submit(vec![task()])[0];
    for attempt in 1..=3 {
        let start = world.starts().pop().unwrap();
        assert_eq!(
            start.resume.map(|checkpoint| checkpoint.sequence),
            (attempt > 1).then_some(attempt - 1)
        );
        world.tell(start.target, Event::Started).unwrap();
        let checkpoint = Event::Checkpointed {
            content: content(attempt),
            bytes: 8,
            fuel: attempt * 100,
        };
        world.tell(start.target, checkpoint).unwrap();
        world.tell(start.target, Event::Lost).unwrap();
        world.run_until(attempt * 1_000_000);
    }
    assert_eq!(world.state(id), State::Lost);
    let checkpoint = world.executor.task(id).unwrap().life.checkpoint.unwrap();
    assert_eq!((checkpoint.sequence, checkpoint.attempt), (3, 3));
}

#[test]
fn checkpoints_that_are_too_long_or_go_back_are_refused_and_the_task_goes_on() {
    let mut world = World::with(Config {
        checkpoint_bytes_max: 10,
        ..Config::default()
    });
    let id = world.submit(vec![task()])[0];
    let target = world.starts()[0].target;
    let checkpoint = |bytes, fuel| Event::Checkpointed {
        content: content(1),
        bytes,
        fuel,
    };
    assert!(matches!(
        world.tell(target, checkpoint(1, 1)),
        Err(EventError::NotAllowed { .. })
    ));
    world.tell(target, Event::Started).unwrap();
    assert_eq!(
        world.tell(target, checkpoint(11, 1)),
        Err(EventError::Checkpoint(CheckpointError::TooLong {
            actual: 11,
            limit: 10
        }))
    );
    world.tell(target, checkpoint(10, 5)).unwrap();
    assert_eq!(
        world.tell(target, checkpoint(10, 4)),
        Err(EventError::Checkpoint(CheckpointError::Backwards {
            actual: 4,
            last: 5
        }))
    );
    world.tell(target, returned(1)).unwrap();
    assert!(matches!(world.state(id), State::Succeeded { .. }));
}

#[test]
fn running_tasks_are_asked_for_checkpoints_at_the_interval() {
    let mut world = World::new();
    world.submit(vec![task()]);
    let target = world.starts()[0].target;
    world.tell(target, Event::Started).unwrap();
    for minute in 1..3 {
        world.run_until(60_000 * minute - 1);
        assert_eq!(world.commands(), []);
        world.run_until(60_000 * minute);
        assert_eq!(world.commands(), [Command::Checkpoint(target)]);
    }
}

#[test]
fn cancelled_task_ends_cancelled_whatever_the_runtime_says() {
    let endings = [
        Event::Stopped,
        Event::Lost,
        returned(1),
        fault(),
        Event::Failed {
            error: TaskError::OutOfFuel { limit: 1 },
        },
    ];
    for ending in endings {
        let mut world = World::new();
        let id = world.submit(vec![task()])[0];
        let target = world.starts()[0].target;
        world.tell(target, Event::Started).unwrap();
        world.executor.cancel(id, world.now).unwrap();
        world.executor.cancel(id, world.now).unwrap();
        assert_eq!(world.commands(), [Command::Cancel(target)]);
        assert!(!world.state(id).is_terminal());
        world.tell(target, ending).unwrap();
        assert_eq!(world.state(id), State::Cancelled);
        assert_eq!(
            world.executor.cancel(id, world.now),
            Err(TaskCallError::Ended {
                task: id,
                state: State::Cancelled
            })
        );
    }
}

#[test]
fn runtime_that_does_not_stop_loses_its_slot_until_it_does() {
    let mut world = World::new();
    let id = world.submit(vec![task()])[0];
    let target = world.starts()[0].target;
    world.tell(target, Event::Started).unwrap();
    world.executor.cancel(id, world.now).unwrap();
    world.run_until(10_000);
    assert_eq!(world.state(id), State::Cancelled);
    assert_eq!(world.causes(id).last(), Some(&Cause::StopUnconfirmed));
    assert_eq!(world.executor.stuck_slots(), [target]);
    // Forgotten, its slot could never be given back: nobody would know whose it was.
    let later = UnixMillis(EPOCH.0 + 10_001);
    assert_eq!(world.executor.forget_ended(later), 0);
    world.commands();
    world.submit(vec![task(); 2]);
    assert_eq!(world.starts()[0].target.slot, 1);
    assert!(matches!(
        world.tell(target, Event::Stopped),
        Err(EventError::Stale { .. })
    ));
    assert_eq!(world.executor.stuck_slots(), []);
    assert_eq!(world.executor.forget_ended(later), 1);
    assert_eq!(world.starts()[0].target.slot, 0);
}

#[test]
fn task_that_was_not_started_yet_is_cancelled_without_the_runtime() {
    let mut world = World::new();
    let ids = world.submit(vec![task(); 3]);
    for id in &ids {
        world.executor.cancel(*id, world.now).unwrap();
        assert_eq!(world.state(*id), State::Cancelled);
    }
    assert_eq!(world.commands(), []);
    let unknown = TaskId::from_bytes([0; 16]);
    assert_eq!(
        world.executor.cancel(unknown, world.now),
        Err(TaskCallError::UnknownTask { task: unknown })
    );
}

#[test]
fn deadline_ends_tasks_wherever_they_are() {
    let mut world = World::new();
    let late = Task {
        deadline: Some(Duration::from_secs(5)),
        ..task()
    };
    let ids = world.submit(vec![late.clone(), late.clone(), late]);
    let targets: Vec<_> = world.starts().iter().map(|start| start.target).collect();
    world.tell(targets[0], Event::Started).unwrap();
    world.tell(targets[1], Event::Suspended).unwrap();
    world.run_until(4_999);
    assert_eq!(world.commands(), []);
    world.run_until(5_000);
    assert_eq!(world.state(ids[2]), State::TimedOut);
    assert_eq!(world.commands().len(), 2);
    for target in &targets {
        world.tell(*target, returned(1)).unwrap();
        assert_eq!(world.state(target.task), State::TimedOut);
    }
}

#[test]
fn run_time_does_not_count_while_suspended() {
    let mut world = World::new();
    let limited = Task {
        run_time_max: Some(Duration::from_secs(10)),
        ..task()
    };
    let id = world.submit(vec![limited])[0];
    let target = world.starts()[0].target;
    world.tell(target, Event::Started).unwrap();
    world.run_until(6_000);
    world.tell(target, Event::Suspended).unwrap();
    world.run_until(50_000);
    world.tell(target, Event::Resumed).unwrap();
    world.run_until(53_999);
    assert!(matches!(world.state(id), State::Running(_)));
    world.run_until(54_000);
    assert!(matches!(
        world.state(id),
        State::Stopping {
            stop: Stop::TimeOut,
            ..
        }
    ));
    assert_eq!(world.causes(id).last(), Some(&Cause::RunTimeOver));
}

#[test]
fn budget_throttles_suspends_and_resumes_what_runs() {
    let mut world = World::new();
    world.submit(vec![task(); 3]);
    let targets: Vec<_> = world.starts().iter().map(|start| start.target).collect();
    for target in &targets {
        world.tell(*target, Event::Started).unwrap();
    }
    world.permit(Permission::Run(BUDGET));
    assert_eq!(world.commands(), []);
    let less = Budget {
        cpu_permille: 250,
        ..BUDGET
    };
    world.permit(Permission::Run(less));
    let throttle = |target: &Target| Command::Throttle {
        target: *target,
        cpu_permille: 250,
        bits_per_second: BUDGET.bits_per_second,
    };
    assert_eq!(
        world.commands(),
        targets.iter().map(throttle).collect::<Vec<_>>()
    );
    world.permit(Permission::Suspend);
    world.permit(Permission::Suspend);
    let suspend: Vec<_> = targets.iter().copied().map(Command::Suspend).collect();
    assert_eq!(world.commands(), suspend);
    world.tell(targets[0], Event::Suspended).unwrap();
    // One ends although it was to be suspended: nothing takes its place.
    world.tell(targets[1], returned(1)).unwrap();
    assert_eq!(world.commands(), []);
    world.permit(Permission::Run(less));
    let commands = world.commands();
    assert!(commands.contains(&throttle(&targets[0])), "{commands:?}");
    assert!(commands.contains(&Command::Resume(targets[0])));
    assert!(matches!(commands.last(), Some(Command::Start(_))));
    assert_eq!(commands.len(), 3);
}

#[test]
fn tasks_that_make_way_write_a_checkpoint_first_and_go_on_from_it() {
    let mut world = World::new();
    let ids = world.submit(vec![task(); 2]);
    let targets: Vec<_> = world.starts().iter().map(|start| start.target).collect();
    for target in &targets {
        world.tell(*target, Event::Started).unwrap();
    }
    world.permit(Permission::Vacate);
    let asked: Vec<_> = targets.iter().copied().map(Command::Checkpoint).collect();
    assert_eq!(world.commands(), asked);
    let checkpoint = Event::Checkpointed {
        content: content(7),
        bytes: 8,
        fuel: 9,
    };
    world.tell(targets[0], checkpoint).unwrap();
    assert_eq!(world.commands(), [Command::Cancel(targets[0])]);
    world.tell(targets[0], Event::Stopped).unwrap();
    assert_eq!(world.state(ids[0]), State::Queued);
    // The other writes none, and is stopped after the grace; a checkpoint may still come.
    world.run_until(10_000);
    assert_eq!(world.commands(), [Command::Cancel(targets[1])]);
    let late = Event::Checkpointed {
        content: content(8),
        bytes: 8,
        fuel: 9,
    };
    world.tell(targets[1], late).unwrap();
    world.tell(targets[1], Event::Stopped).unwrap();
    assert_eq!(world.commands(), []);
    world.permit(Permission::Run(BUDGET));
    let resumed: Vec<_> = world
        .starts()
        .iter()
        .map(|start| start.resume.unwrap().content)
        .collect();
    assert_eq!(resumed, [content(7), content(8)]);
    let life = world.executor.task(ids[0]).unwrap().life;
    assert_eq!((life.preemptions, life.failures, life.attempts), (1, 0, 2));
}

#[test]
fn smaller_budget_makes_the_least_urgent_way() {
    let mut world = World::new();
    let low = Task {
        priority: Priority::Low,
        ..task()
    };
    let ids = world.submit(vec![low, task()]);
    for start in world.starts() {
        world.tell(start.target, Event::Started).unwrap();
    }
    let budget = Budget { slots: 1, ..BUDGET };
    world.permit(Permission::Run(budget));
    let commands = world.commands();
    assert_eq!(commands.len(), 1);
    assert!(matches!(commands[0], Command::Checkpoint(target) if target.task == ids[0]));
}

#[test]
fn task_that_makes_way_too_often_is_lost() {
    let mut world = World::new();
    let impatient = Task {
        retry: RetryPolicy {
            preemptions_max: 1,
            ..RetryPolicy::default()
        },
        ..task()
    };
    let id = world.submit(vec![impatient])[0];
    for _ in 0..2 {
        let target = world.starts()[0].target;
        world.tell(target, Event::Started).unwrap();
        world.permit(Permission::Stop);
        world.commands();
        world.tell(target, Event::Stopped).unwrap();
        world.permit(Permission::Run(BUDGET));
    }
    assert_eq!(world.state(id), State::Lost);
}

#[test]
fn memory_of_running_tasks_stays_within_the_budget() {
    let mut world = World::new();
    let large = |memory_bytes| Task {
        limits: Limits {
            memory_bytes,
            ..Limits::default()
        },
        ..task()
    };
    let ids = world.submit(vec![large(1 << 30), large(1 << 29), large(1 << 16)]);
    assert_eq!(world.starts()[0].target.task, ids[0]);
    assert_eq!(world.state(ids[1]), State::Queued);
    let running = world.executor.target(1).unwrap();
    world.succeed(running, 1);
    let started: Vec<_> = world.starts().iter().map(|s| s.target.task).collect();
    assert_eq!(started, ids[1..]);
}

#[test]
fn short_tasks_are_handed_over_ahead_and_those_that_failed_are_not() {
    let mut world = World::with(Config {
        ahead_per_slot: 3,
        ..Config::default()
    });
    world.submit(vec![task(); 20]);
    // How long they run is not known yet.
    let first = world.starts();
    assert_eq!(first.len(), 2);
    world.succeed(first[0].target, 0);
    // One that runs and seven ahead.
    let ahead = world.starts();
    assert_eq!(ahead.len(), 7);
    // One of them fails: it is tried again only when it has a slot.
    world.tell(ahead[0].target, Event::Started).unwrap();
    world.tell(ahead[0].target, fault()).unwrap();
    let failed = ahead[0].target.task;
    assert_eq!(world.starts().len(), 1);
    let State::Retrying { due } = world.state(failed) else {
        panic!("{:?}", world.state(failed));
    };
    world.run_until(due.0 - EPOCH.0);
    assert_eq!(world.state(failed), State::Queued);
    world.tell(ahead[1].target, Event::Started).unwrap();
    world.tell(ahead[1].target, returned(1)).unwrap();
    let next = world.starts();
    assert!(next.iter().all(|start| start.target.task != failed));
    assert_eq!(world.state(failed), State::Queued);
    // Those that run long bring nothing ahead any more, and what waits for its turn is not late.
    world.tell(first[1].target, Event::Started).unwrap();
    world.tell(ahead[2].target, Event::Started).unwrap();
    world.run_until(45_000);
    let waiting = ahead[3].target;
    assert!(matches!(world.state(waiting.task), State::Assigned(_)));
    world.tell(first[1].target, returned(2)).unwrap();
    assert!(world.starts().is_empty());
}

#[test]
fn less_budget_takes_back_what_was_handed_over_ahead() {
    let mut world = World::with(Config {
        ahead_per_slot: 3,
        ..Config::default()
    });
    world.submit(vec![task(); 20]);
    let first = world.starts();
    world.succeed(first[0].target, 0);
    let ahead = world.starts();
    world.tell(first[1].target, Event::Started).unwrap();
    world.tell(ahead[0].target, Event::Started).unwrap();
    world.permit(Permission::Run(Budget { slots: 1, ..BUDGET }));
    // Four may be there: the one that runs, and three more.
    let told = world.commands();
    let cancelled = |command: &Command| matches!(command, Command::Cancel(_));
    assert_eq!(told.iter().filter(|told| cancelled(told)).count(), 4);
    assert_eq!(world.executor.active().len(), 4);
}

#[test]
fn log_is_kept_up_to_its_limit_and_the_rest_is_counted() {
    let mut world = World::new();
    let quiet = Task {
        log_bytes_max: 5,
        ..task()
    };
    let id = world.submit(vec![quiet])[0];
    let target = world.starts()[0].target;
    for text in ["abc", "defg", "h"] {
        let bytes = text.as_bytes().to_vec();
        world.tell(target, Event::Log { bytes }).unwrap();
    }
    let view = world.executor.task(id).unwrap();
    assert_eq!((view.log_bytes, view.log_bytes_dropped), (5, 3));
    let records = world.executor.saved(usize::MAX);
    let logs: Vec<_> = records
        .into_iter()
        .filter_map(|record| match record {
            Record::Log { offset, bytes, .. } => Some((offset, bytes)),
            _ => None,
        })
        .collect();
    assert_eq!(logs, [(0, b"abc".to_vec()), (3, b"de".to_vec())]);
}

#[test]
fn jobs_wait_for_admission_where_the_host_wants_that() {
    let mut world = World::with(Config {
        admit_at_once: false,
        ..Config::default()
    });
    let submit = |world: &mut World| {
        let job = Job::new(OWNER, vec![task(); 2]);
        world.executor.submit(&job, &mut world.rng, world.now)
    };
    let (taken, refused) = (submit(&mut world).unwrap(), submit(&mut world).unwrap());
    assert_eq!(world.commands(), []);
    world.executor.admit(taken.job, world.now).unwrap();
    world.executor.refuse(refused.job, world.now).unwrap();
    assert_eq!(world.starts().len(), 2);
    assert_eq!(world.state(task_id(refused.job, 1)), State::Failed);
    assert_eq!(
        world.executor.admit(taken.job, world.now),
        Err(TaskCallError::NotWaiting { job: taken.job })
    );
    let unknown = JobId::from_bytes([0; 16]);
    assert_eq!(
        world.executor.refuse(unknown, world.now),
        Err(TaskCallError::UnknownJob { job: unknown })
    );
}

#[test]
fn jobs_that_ended_are_forgotten_but_not_while_somebody_waits_for_them() {
    let mut world = World::new();
    let key = IdempotencyKey::new("k").unwrap();
    let job = Job::new(OWNER, vec![task()]).with_key(key.clone());
    let first = world
        .executor
        .submit(&job, &mut world.rng, world.now)
        .unwrap();
    let id = task_id(first.job, 0);
    let waits = Task {
        inputs: vec![Input::Output(TaskRef::Task(id)); 2],
        ..task()
    };
    let second = world.submit(vec![waits])[0];
    let start = world.starts().pop().unwrap();
    world.succeed(start.target, 5);
    let later = UnixMillis(EPOCH.0 + 1);
    assert_eq!(world.executor.forget_ended(EPOCH), 0);
    assert_eq!(world.executor.forget_ended(later), 0);
    let start = world.starts().pop().unwrap();
    assert_eq!(start.inputs, [content(5); 2]);
    world.succeed(start.target, 6);
    assert_eq!(world.executor.forget_ended(later), 2);
    assert!(world.executor.task(id).is_none() && world.executor.task(second).is_none());
    assert_eq!(world.executor.job_of_key(OWNER, &key), None);
    world.records.extend(world.executor.saved(usize::MAX));
    assert_eq!(replay(&world.records), (vec![], vec![]));
}

#[test]
fn restored_executor_goes_on_where_the_records_end() {
    let mut world = World::new();
    let after = Task {
        after: vec![TaskRef::Place(0)],
        ..task()
    };
    let ids = world.submit(vec![task(), after, task(), task()]);
    let targets: Vec<_> = world.starts().iter().map(|start| start.target).collect();
    world.tell(targets[0], Event::Started).unwrap();
    let checkpoint = Event::Checkpointed {
        content: content(3),
        bytes: 8,
        fuel: 9,
    };
    world.tell(targets[0], checkpoint).unwrap();
    let bytes = b"log".to_vec();
    world.tell(targets[0], Event::Log { bytes }).unwrap();
    world.executor.cancel(targets[1].task, world.now).unwrap();
    world.commands();

    let mut executor = world.restored(Instant::from_millis(7)).unwrap();
    let state = |executor: &Executor, id| executor.task(id).unwrap().life.state;
    assert!(matches!(state(&executor, ids[0]), State::Retrying { .. }));
    assert_eq!(executor.task(ids[0]).unwrap().log_bytes, 3);
    assert_eq!(state(&executor, ids[1]), State::Admitted);
    assert_eq!(state(&executor, ids[2]), State::Cancelled);
    assert_eq!(state(&executor, ids[3]), State::Queued);
    assert_eq!(executor.open(), 3);
    assert_eq!(executor.unsaved().len(), 2);

    world.executor = executor;
    world.permit(Permission::Run(BUDGET));
    world.run_until(2_000);
    let starts = world.starts();
    let first = starts.iter().find(|start| start.target.task == ids[0]);
    let first = first.unwrap();
    assert_eq!(first.target.attempt, 2);
    assert_eq!(first.resume.unwrap().content, content(3));
    // What the runtime of the first process still says is too late.
    assert!(matches!(
        world.tell(targets[0], returned(1)),
        Err(EventError::Stale { .. })
    ));
    world.succeed(first.target, 4);
    assert!(matches!(world.state(ids[1]), State::Assigned(_)));
    // New tasks do not take numbers of old ones.
    let more = world.submit(vec![task()])[0];
    executor = world.restored(Instant::from_millis(2_001)).unwrap();
    assert!(executor.task(more).is_none(), "it was not saved");
}

#[test]
fn damaged_stores_are_refused() {
    let mut world = World::new();
    let after = Task {
        inputs: vec![Input::Output(TaskRef::Place(0)); INPUTS_MAX.min(2)],
        ..task()
    };
    let ids = world.submit(vec![task(), after]);
    world.records.extend(world.executor.saved(usize::MAX));
    let (jobs, tasks) = replay(&world.records);
    let restore = |jobs: Vec<JobEntry>, tasks: Vec<TaskEntry>| {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let config = Config::default();
        Executor::restore(config, EPOCH, jobs, tasks, &mut rng, Instant::ZERO).map(|_| ())
    };
    assert_eq!(restore(jobs.clone(), tasks.clone()), Ok(()));
    assert_eq!(
        restore(jobs.clone(), tasks[..1].to_vec()),
        Err(RestoreError::Task { number: 2 })
    );
    assert_eq!(
        restore(vec![], tasks.clone()),
        Err(RestoreError::Task { number: 1 })
    );
    assert_eq!(
        restore([&jobs[..], &jobs[..]].concat(), tasks.clone()),
        Err(RestoreError::Job { job: jobs[0].id })
    );
    let mut running = tasks.clone();
    running[1].life.state = State::Queued;
    assert_eq!(
        restore(jobs.clone(), running),
        Err(RestoreError::Task { number: 2 })
    );
    let mut stranger = tasks;
    stranger[1].task.after = vec![TaskRef::Task(TaskId::from_bytes([9; 16]))];
    assert_eq!(
        restore(jobs, stranger),
        Err(RestoreError::Dependency {
            number: 2,
            task: TaskId::from_bytes([9; 16])
        })
    );
    assert!(world.executor.task(ids[1]).is_some());
}

/// What the runtime of the model does: it obeys, in its own time, and may be wrong.
#[derive(Clone, Copy, Debug)]
enum Act {
    Submit {
        waits: u8,
        deadline: bool,
    },
    Cancel(prop::sample::Index),
    Permit(u8),
    Wait(u16),
    /// Save so many records, and take the commands there are then.
    Save(u8),
    /// Say something about an attempt that was started.
    Say(prop::sample::Index, u8),
    /// Die, and be restored from what was saved.
    Crash,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0_u8..4, any::<bool>()).prop_map(|(waits, deadline)| Act::Submit { waits, deadline }),
        1 => any::<prop::sample::Index>().prop_map(Act::Cancel),
        1 => (0_u8..5).prop_map(Act::Permit),
        2 => (0_u16..20_000).prop_map(Act::Wait),
        5 => (0_u8..40).prop_map(Act::Save),
        9 => (any::<prop::sample::Index>(), 0_u8..12).prop_map(|(at, what)| Act::Say(at, what)),
        1 => Just(Act::Crash),
    ]
}

fn event(what: u8, n: u64) -> Event {
    match what {
        0..=2 => Event::Started,
        3 => Event::Suspended,
        4 => Event::Resumed,
        5 => Event::Checkpointed {
            content: content(n),
            bytes: 8,
            fuel: n,
        },
        6 => Event::Log { bytes: vec![7; 9] },
        7 => fault(),
        8 => Event::Failed {
            error: TaskError::OutOfFuel { limit: 1 },
        },
        9 => Event::Stopped,
        10 => Event::Lost,
        _ => returned(n),
    }
}

/// Checks every record as it is written, against nothing but the records before it.
#[derive(Default)]
struct Watch {
    states: BTreeMap<u64, (State, u32)>,
    tasks: BTreeMap<u64, Task>,
}

impl Watch {
    fn see(&mut self, record: &Record) {
        match record {
            Record::Job { job, tasks } => {
                for task in tasks {
                    let first = task.life.first_step(task_id(job.id, 0));
                    assert_eq!((first.to, first.number), (task.life.state, task.life.steps));
                    self.states.insert(task.number, (first.to, 0));
                    self.tasks.insert(task.number, task.task.clone());
                }
            }
            Record::Step {
                number,
                transition,
                life,
            } => {
                assert_eq!(life.state, transition.to);
                assert_eq!(life.steps, transition.number);
                let before = self.states.insert(*number, (transition.to, life.attempts));
                let (from, attempts) = before.unwrap();
                assert!(from.may_become(&transition.to), "{from:?} {transition:?}");
                let rise = u32::from(matches!(transition.to, State::Assigned(_)));
                assert_eq!(life.attempts, attempts + rise);
                let policy = self.tasks[number].retry;
                let most = policy.attempts_max + policy.preemptions_max;
                assert!(life.failures <= policy.attempts_max);
                assert!(life.preemptions <= policy.preemptions_max + 1);
                assert!(life.attempts <= most, "{life:?}");
            }
            Record::Log { .. } | Record::Forgotten { .. } => {}
        }
    }
}

struct Model {
    world: World,
    watch: Watch,
    /// Attempts that the runtime was told to start and that are not over.
    alive: Vec<Target>,
    said: u64,
}

impl Model {
    fn save(&mut self, count: usize) {
        for record in self.world.executor.saved(count) {
            self.watch.see(&record);
            self.world.records.push(record);
        }
        while let Some(command) = self.world.executor.poll_command() {
            let target = command.target();
            if let Command::Start(_) = command {
                // Nothing is started that a confirmed end has gone before, nor twice.
                let state = self.world.state(target.task);
                assert_eq!(state.attempt().map(|now| now.number), Some(target.attempt));
                assert!(!self.alive.iter().any(|other| other.slot == target.slot));
                self.alive.push(target);
            } else {
                assert!(self.alive.contains(&target), "{command:?}");
            }
        }
    }

    fn act(&mut self, act: Act) {
        self.said += 1;
        let world = &mut self.world;
        match act {
            Act::Submit { waits, deadline } => {
                let known: Vec<TaskId> = world.executor.tasks().map(|task| task.id).collect();
                let old = known.iter().rev().take(usize::from(waits));
                let waits = old.map(|id| TaskRef::Task(*id));
                let first = Task {
                    after: waits.collect(),
                    deadline: deadline.then_some(Duration::from_secs(30)),
                    retry: RetryPolicy {
                        preemptions_max: 3,
                        ..RetryPolicy::default()
                    },
                    ..task()
                };
                let second = Task {
                    inputs: vec![Input::Output(TaskRef::Place(0))],
                    ..task()
                };
                world.submit(vec![first, second]);
            }
            Act::Cancel(at) => {
                let open = world.executor.tasks().map(|task| task.id);
                let all: Vec<TaskId> = open.collect();
                if !all.is_empty() {
                    let _ = world.executor.cancel(*at.get(&all), world.now);
                }
            }
            Act::Permit(which) => world.permit(match which {
                0 => Permission::Suspend,
                1 => Permission::Vacate,
                2 => Permission::Stop,
                3 => Permission::Run(Budget { slots: 1, ..BUDGET }),
                _ => Permission::Run(BUDGET),
            }),
            Act::Wait(ms) => {
                let now = world.now + Duration::from_millis(ms.into());
                world.now = now;
                world.executor.handle_timeout(&mut world.rng, now);
            }
            Act::Save(count) => self.save(count.into()),
            Act::Say(at, what) => {
                if !self.alive.is_empty() {
                    let at = at.index(self.alive.len());
                    let event = event(what, self.said);
                    let target = self.alive[at];
                    if event.ends_attempt() {
                        self.alive.remove(at);
                    }
                    let _ = self.world.tell(target, event);
                }
            }
            Act::Crash => {
                let restored = world.restored(world.now).unwrap();
                let permission = world.executor.permission();
                world.executor = restored;
                world.permit(permission);
                self.alive.clear();
            }
        }
        self.check();
    }

    fn check(&self) {
        let executor = &self.world.executor;
        let open = executor
            .tasks()
            .filter(|task| !task.life.state.is_terminal());
        assert_eq!(open.count(), executor.open());
        let queued = executor
            .tasks()
            .filter(|task| task.life.state == State::Queued);
        assert_eq!(queued.count(), executor.queued());
        for task in executor.tasks() {
            let states = task.task.waits().map(|wait| {
                let of = executor.task(wait.resolve(task.job)).unwrap();
                of.life.state
            });
            let states: Vec<_> = states.collect();
            let all = states
                .iter()
                .all(|state| matches!(state, State::Succeeded { .. }));
            // Whoever is past waiting has everything; whoever waits does not.
            match task.life.state {
                State::Admitted => assert!(!all),
                State::Skipped => {
                    assert!(states.iter().any(|state| {
                        state.is_terminal() && !matches!(state, State::Succeeded { .. })
                    }));
                }
                State::Cancelled | State::TimedOut | State::Submitted => {}
                _ => assert!(all, "{task:?}"),
            }
        }
    }

    /// Lets a friendly runtime and disk finish what there is.
    fn finish(&mut self) {
        self.world.permit(Permission::Run(BUDGET));
        for _ in 0..10_000 {
            self.save(usize::MAX);
            if let Some(target) = self.alive.pop() {
                self.said += 1;
                let _ = self.world.tell(target, returned(self.said));
            } else if let Some(due) = self.world.executor.poll_timeout() {
                let now = self.world.now.max(due);
                self.world.now = now;
                self.world.executor.handle_timeout(&mut self.world.rng, now);
            } else {
                return;
            }
        }
        panic!("it does not end");
    }
}

proptest! {
    #[test]
    fn every_task_ends_once_whatever_happens(
        acts in proptest::collection::vec(any_act(), 1..150),
        seed in any::<u64>(),
        ahead_per_slot in 0..3_u32,
    ) {
        let mut world = World::with(Config { ahead_per_slot, ..Config::default() });
        world.rng = ChaCha8Rng::seed_from_u64(seed);
        let mut model = Model { world, watch: Watch::default(), alive: Vec::new(), said: 0 };
        for act in acts {
            model.act(act);
        }
        model.finish();
        prop_assert_eq!(model.world.executor.open(), 0);
        prop_assert_eq!(model.world.executor.unsaved().len(), 0);
        // What was saved is what there is.
        let restored = model.world.restored(model.world.now).unwrap();
        let image = |executor: &Executor| {
            let tasks = executor.tasks().map(|task| {
                (task.id, task.number, task.life.clone(), task.log_bytes)
            });
            tasks.collect::<Vec<_>>()
        };
        prop_assert_eq!(image(&restored), image(&model.world.executor));
        for task in restored.tasks() {
            prop_assert!(task.life.state.is_terminal());
        }
    }
}
