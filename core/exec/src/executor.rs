//! Keeps the tasks of one device: which run, which wait, what becomes of each.
//!
//! The [`Executor`] is sans-IO. It is told what happens (a job is submitted, the runtime started or
//! ended something, the device's budget changed, time passed) and answers with [`Command`]s for the
//! runtime and [`Record`]s for the disk.
//!
//! # What is on disk before something happens
//!
//! Every change leaves records in [`Executor::unsaved`]. The host writes them, in one transaction,
//! and says so with [`Executor::saved`]; only then does [`Executor::poll_command`] start what
//! follows from them, and only then may the host acknowledge a submission or a cancellation. So what
//! was acknowledged or started is known after a crash. While a disk is full, records stay and are
//! offered again: nothing new starts, and what runs is suspended and stopped as ever.
//!
//! # Time
//!
//! Calls take a monotonic [`Instant`]; what is stored has wall time, of whole milliseconds, which is
//! [`Instant::ZERO`]'s wall time (given at the start) and the time since. It never goes back during
//! a run, whatever is done to the system's clock.
//!
//! # What becomes of a task whose attempt ends
//!
//! | what happens | what follows |
//! |---|---|
//! | an output | `Succeeded` |
//! | an error that another attempt would repeat | `Failed` |
//! | another error | `Retrying`, after the last attempt `Failed` |
//! | the runtime's thread, process or node is gone, or the executor was started again | `Retrying`, after the last attempt `Lost` |
//! | it made way for the device's owner | `Retrying` at once, after the last preemption `Lost` |
//! | it is cancelled, whatever it returns meanwhile | `Cancelled` |
//! | it passes its deadline or run time, whatever it returns meanwhile | `TimedOut` |
//!
//! The next attempt begins at the last checkpoint. When a task ends otherwise than `Succeeded`,
//! all that wait for it are `Skipped`, and all that wait for those.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fogcompute_base::{AccountId, Digest, Instant, JobId, Priority, Rng, TaskId, UnixMillis};
use thiserror::Error;

use crate::job::{ms, task_id};
use crate::lifecycle::{
    Attempt, Cause, CheckpointError, CheckpointRecord, Life, State, Stop, Transition,
};
use crate::{
    ContentId, IdempotencyKey, Input, Job, JobError, Limits, RuntimeKind, Task, TaskError, Usage,
};

#[cfg(test)]
mod tests;

/// Waiting tasks that are looked at for one that fits what memory is left. Behind that many larger
/// ones a small task waits too.
const FITTING_MAX: usize = 64;

/// How an executor behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// Most tasks that have not ended.
    pub open_max: usize,
    /// Most tasks that are remembered, those that have ended too. See [`Executor::forget_ended`].
    pub tasks_max: usize,
    /// Whether jobs are admitted when they are submitted. Otherwise they wait for
    /// [`Executor::admit`] or [`Executor::refuse`].
    pub admit_at_once: bool,
    /// Longest checkpoint, in bytes.
    pub checkpoint_bytes_max: u64,
    /// How often a running task is asked for a checkpoint.
    pub checkpoint_every: Duration,
    /// How long a task that makes way may take for a checkpoint before it is stopped.
    pub vacate_grace: Duration,
    /// How long the runtime may take to start a task.
    pub start_grace: Duration,
    /// How long the runtime may take to stop a task before the task is given up without it.
    pub stop_grace: Duration,
}

impl Default for Config {
    /// 100,000 open tasks, a million in all; checkpoints of up to 128 MiB each 60 s (as BOINC), 10 s
    /// of it on making way; 30 s to start and 10 s to stop.
    fn default() -> Self {
        Self {
            open_max: 100_000,
            tasks_max: 1_000_000,
            admit_at_once: true,
            checkpoint_bytes_max: crate::CONTENT_BYTES_MAX as u64,
            checkpoint_every: Duration::from_secs(60),
            vacate_grace: Duration::from_secs(10),
            start_grace: Duration::from_secs(30),
            stop_grace: Duration::from_secs(10),
        }
    }
}

/// What the device lends now.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Budget {
    /// Tasks at a time.
    pub slots: u32,
    /// Memory of all running tasks together, by their limits, in bytes.
    pub memory_bytes: u64,
    /// Processor time that each task may take, in thousandths of one processor.
    pub cpu_permille: u32,
    /// Network traffic of each task, in bits a second.
    pub bits_per_second: u64,
}

/// Whether tasks may run now.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Permission {
    /// They may, with that budget.
    Run(Budget),
    /// Those that run keep their memory and pause; none starts.
    Suspend,
    /// Those that run write a checkpoint and make way.
    Vacate,
    /// Those that run are stopped at once.
    Stop,
}

/// What the runtime, or the host, tells the executor about an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It runs.
    Started,
    /// It was suspended.
    Suspended,
    /// It goes on.
    Resumed,
    /// It has written a checkpoint. The host hands the bytes to its store together with the record
    /// that follows.
    Checkpointed {
        /// The bytes, by name.
        content: ContentId,
        /// Their length.
        bytes: u64,
        /// Fuel used so far, in all attempts that led there.
        fuel: u64,
    },
    /// It has written to its log.
    Log {
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// It returned an output. It is over.
    Succeeded {
        /// The output, by name.
        output: ContentId,
        /// What the attempt used.
        usage: Usage,
    },
    /// It ended with an error. It is over.
    Failed {
        /// The error.
        error: TaskError,
    },
    /// It was stopped, as [`Command::Cancel`] asked. It is over.
    Stopped,
    /// What ran it is gone: a thread, a process, a node. It is over.
    Lost,
}

impl Event {
    /// Whether the attempt is over with it.
    #[must_use]
    pub const fn ends_attempt(&self) -> bool {
        matches!(
            self,
            Self::Succeeded { .. } | Self::Failed { .. } | Self::Stopped | Self::Lost
        )
    }
}

/// Names the attempt that a command is about; events name it by task and attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Target {
    /// The task.
    pub task: TaskId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The slot it has.
    pub slot: u32,
}

/// What a runtime needs to start an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The attempt.
    pub target: Target,
    /// What runs it.
    pub runtime: RuntimeKind,
    /// The program, by name.
    pub program: ContentId,
    /// The inputs, by name; see [`join_inputs`](crate::join_inputs).
    pub inputs: Vec<ContentId>,
    /// For the runtime.
    pub options: Vec<u8>,
    /// What it may use.
    pub limits: Limits,
    /// Where to go on. If its bytes are not to be had, the attempt begins at the start.
    pub resume: Option<CheckpointRecord>,
    /// Processor time, in thousandths of one processor.
    pub cpu_permille: u32,
    /// Network traffic, in bits a second.
    pub bits_per_second: u64,
}

/// What the runtime is to do. Commands about one attempt are carried out in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Start it, then say [`Event::Started`].
    Start(Box<Start>),
    /// Stop it for good, then say [`Event::Stopped`], or how it ended if it was faster.
    Cancel(Target),
    /// Pause it, then say [`Event::Suspended`].
    Suspend(Target),
    /// Let it go on, then say [`Event::Resumed`].
    Resume(Target),
    /// Ask it for a checkpoint; [`Event::Checkpointed`] may follow or not.
    Checkpoint(Target),
    /// Change what it may take from the device.
    Throttle {
        /// The attempt.
        target: Target,
        /// Processor time, in thousandths of one processor.
        cpu_permille: u32,
        /// Network traffic, in bits a second.
        bits_per_second: u64,
    },
}

impl Command {
    /// The attempt it is about.
    #[must_use]
    pub const fn target(&self) -> Target {
        match self {
            Self::Start(start) => start.target,
            Self::Cancel(target)
            | Self::Suspend(target)
            | Self::Resume(target)
            | Self::Checkpoint(target)
            | Self::Throttle { target, .. } => *target,
        }
    }
}

/// A job as it is stored, without its tasks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobEntry {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub owner: AccountId,
    /// The submitter's key.
    pub key: Option<IdempotencyKey>,
    /// [`Job::content`].
    pub content: Digest,
    /// Number of its first task; the others follow.
    pub first: u64,
    /// Tasks it has.
    pub tasks: u32,
}

/// A task as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEntry {
    /// Its number: in order of submission.
    pub number: u64,
    /// What was submitted.
    pub task: Task,
    /// What changes.
    pub life: Life,
    /// Log that was kept, in bytes.
    pub log_bytes: u64,
}

/// What the host writes to disk, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A job was submitted. Its tasks have made their first step, [`Life::first_step`].
    Job {
        /// The job.
        job: JobEntry,
        /// Its tasks.
        tasks: Vec<TaskEntry>,
    },
    /// A task made a step.
    Step {
        /// Number of the task.
        number: u64,
        /// The step.
        transition: Transition,
        /// The task after it.
        life: Box<Life>,
    },
    /// A task wrote to its log.
    Log {
        /// Number of the task.
        number: u64,
        /// The task.
        task: TaskId,
        /// Which attempt wrote it.
        attempt: u32,
        /// Where in the task's log it starts, in bytes.
        offset: u64,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// A job that has ended, and its tasks, are forgotten.
    Forgotten {
        /// The job.
        job: JobEntry,
    },
}

/// What a submission is answered with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Submitted {
    /// The job.
    pub job: JobId,
    /// Its tasks; [`task_id`] names each.
    pub tasks: u32,
    /// It had been submitted before, with the same key.
    pub replayed: bool,
}

impl Submitted {
    /// The ids of the tasks, in order.
    pub fn task_ids(&self) -> impl Iterator<Item = TaskId> + use<> {
        let job = self.job;
        (0..self.tasks).map(move |place| task_id(job, place))
    }
}

/// Why a job is not taken. Nothing of it is.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SubmitError {
    /// It cannot be accepted at any time.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Its owner has used the key for another job.
    #[error("key was used for job {job}, which is another")]
    KeyReused {
        /// That job.
        job: JobId,
    },
    /// A task of it waits for one that is not there, or was forgotten.
    #[error("task {task} is not known")]
    UnknownTask {
        /// That task.
        task: TaskId,
    },
    /// Too many tasks have not ended. Try later.
    #[error("{open} tasks are open, {asked} more exceed {limit}")]
    QueueFull {
        /// Tasks that have not ended.
        open: usize,
        /// Tasks of the job.
        asked: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many tasks are remembered. Forget those that have ended.
    #[error("{held} tasks are remembered, {asked} more exceed {limit}")]
    MemoryFull {
        /// Tasks that are remembered.
        held: usize,
        /// Tasks of the job.
        asked: usize,
        /// The limit.
        limit: usize,
    },
}

/// Why a call about a task or a job does nothing.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TaskCallError {
    /// There is no such task.
    #[error("task {task} is not known")]
    UnknownTask {
        /// The task.
        task: TaskId,
    },
    /// There is no such job.
    #[error("job {job} is not known")]
    UnknownJob {
        /// The job.
        job: JobId,
    },
    /// The task has ended.
    #[error("task {task} has ended as {}", state.name())]
    Ended {
        /// The task.
        task: TaskId,
        /// How.
        state: State,
    },
    /// Every task of the job has ended, or was admitted before.
    #[error("job {job} does not wait to be admitted")]
    NotWaiting {
        /// The job.
        job: JobId,
    },
}

/// Why an event changes nothing. None of it is the runtime's fault but [`EventError::NotAllowed`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum EventError {
    /// There is no such task. It may have been forgotten.
    #[error("task {task} is not known")]
    UnknownTask {
        /// The task.
        task: TaskId,
    },
    /// The attempt is over. Drop the event; if it ended the attempt, its slot is free now.
    #[error("attempt {attempt} is over, the task has begun {current}")]
    Stale {
        /// The attempt of the event.
        attempt: u32,
        /// Attempts that were begun.
        current: u32,
    },
    /// The attempt was never begun.
    #[error("attempt {attempt} has not begun, the task has begun {current}")]
    NotBegun {
        /// The attempt of the event.
        attempt: u32,
        /// Attempts that were begun.
        current: u32,
    },
    /// The event cannot happen in that state.
    #[error("event cannot happen to a task that is {}", state.name())]
    NotAllowed {
        /// The task's state.
        state: State,
    },
    /// The checkpoint is not taken. The task goes on.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Why stored jobs and tasks do not make an executor. The store is damaged.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RestoreError {
    /// A task of a job is missing, or one is there twice or without its job.
    #[error("stored task {number} is missing, or does not belong to its job")]
    Task {
        /// Number of the task.
        number: u64,
    },
    /// A task waits for one that is not there.
    #[error("stored task {number} waits for task {task}, which is missing")]
    Dependency {
        /// Number of the task.
        number: u64,
        /// The one it waits for.
        task: TaskId,
    },
    /// Two jobs have one id, or one owner's key.
    #[error("stored job {job} is there twice")]
    Job {
        /// The job.
        job: JobId,
    },
}

/// A task, to look at.
#[derive(Clone, Copy, Debug)]
pub struct TaskView<'a> {
    /// Its id.
    pub id: TaskId,
    /// Its job.
    pub job: JobId,
    /// Its number: in order of submission.
    pub number: u64,
    /// What was submitted.
    pub task: &'a Task,
    /// Where it is.
    pub life: &'a Life,
    /// Log that was kept, in bytes.
    pub log_bytes: u64,
    /// Log that was beyond the limit since the executor was started, in bytes.
    pub log_bytes_dropped: u64,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Tasks it has.
    pub tasks: u32,
    /// Tasks that have not ended.
    pub open: u32,
    /// Tasks that the runtime has.
    pub running: u32,
    /// Tasks that succeeded.
    pub succeeded: u32,
    /// Tasks that ended otherwise.
    pub unsuccessful: u32,
}

#[derive(Clone, Debug)]
struct Entry {
    id: TaskId,
    job: JobId,
    task: Task,
    life: Life,
    /// Tasks it waits for that have not succeeded.
    waiting: u32,
    /// Tasks that wait for it, by number.
    dependents: Vec<u64>,
    log_bytes: u64,
    log_bytes_dropped: u64,
    /// When `fire` looks at it next.
    timer: Option<u64>,
    /// Until when the runtime has time to start it, once it is told to.
    start_by: Option<u64>,
    /// The runtime was told to suspend it, and not yet to resume it.
    suspend_asked: bool,
    /// When it is stopped, although it was asked for a checkpoint.
    vacate_by: Option<u64>,
    /// When it is asked for a checkpoint next.
    checkpoint_due: u64,
}

/// Who has a slot.
#[derive(Clone, Copy, Debug)]
struct Holder {
    number: u64,
    attempt: u32,
    memory_bytes: u64,
}

/// See the [module](self).
///
/// ```
/// use std::time::Duration;
/// use fogcompute_base::{AccountId, Instant, OsEntropy, UnixMillis};
/// use fogcompute_exec::executor::{Budget, Command, Config, Event, Permission};
/// use fogcompute_exec::lifecycle::State;
/// use fogcompute_exec::{ContentId, Executor, Job, Task, Usage};
///
/// let (now, mut rng) = (Instant::ZERO, OsEntropy);
/// let mut executor = Executor::new(Config::default(), UnixMillis(1_800_000_000_000));
/// let budget = Budget {
///     slots: 1,
///     memory_bytes: 1 << 30,
///     cpu_permille: 1_000,
///     bits_per_second: 10_000_000,
/// };
/// executor.handle_permission(Permission::Run(budget), now);
///
/// let owner = AccountId::from_bytes([1; 16]);
/// let task = Task::wasm(ContentId::of(b"program"), vec![]);
/// let submitted = executor.submit(&Job::new(owner, vec![task]), &mut rng, now)?;
/// assert!(executor.poll_command().is_none(), "nothing is on disk yet");
///
/// let written = executor.unsaved().len(); // a store would write them
/// executor.saved(written);
/// let Some(Command::Start(start)) = executor.poll_command() else { unreachable!() };
/// let (task, attempt) = (start.target.task, start.target.attempt);
/// executor.handle_event(task, attempt, Event::Started, &mut rng, now)?;
/// let output = ContentId::of(b"output");
/// let returned = Event::Succeeded { output, usage: Usage::default() };
/// executor.handle_event(task, attempt, returned, &mut rng, now)?;
/// assert_eq!(executor.task(task).map(|task| task.life.state), Some(State::Succeeded { output }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Executor {
    config: Config,
    /// Wall time of [`Instant::ZERO`], in milliseconds.
    epoch: u64,
    /// The latest wall time so far.
    moment: u64,
    permission: Permission,
    jobs: BTreeMap<JobId, JobEntry>,
    keys: BTreeMap<(AccountId, IdempotencyKey), JobId>,
    entries: BTreeMap<u64, Entry>,
    numbers: BTreeMap<TaskId, u64>,
    next_number: u64,
    /// Tasks that have not ended.
    open: usize,
    queue: BTreeSet<(Priority, u64)>,
    timers: BTreeSet<(u64, u64)>,
    slots: BTreeMap<u32, Holder>,
    records: Vec<Record>,
    /// Records there have been, and how many of them are on disk.
    records_made: u64,
    records_saved: u64,
    /// What the runtime is not yet told, about attempts that it knows.
    commands: VecDeque<Command>,
    /// Attempts that it does not know yet, each with the number of records that have to be on disk
    /// before.
    starts: VecDeque<(u64, Start)>,
}

impl Executor {
    /// An executor without tasks, which may not run any: see [`Executor::handle_permission`].
    ///
    /// `epoch` is the wall time of [`Instant::ZERO`].
    #[must_use]
    pub fn new(config: Config, epoch: UnixMillis) -> Self {
        Self {
            config,
            epoch: epoch.0,
            moment: epoch.0,
            permission: Permission::Stop,
            jobs: BTreeMap::new(),
            keys: BTreeMap::new(),
            entries: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next_number: 1,
            open: 0,
            queue: BTreeSet::new(),
            timers: BTreeSet::new(),
            slots: BTreeMap::new(),
            records: Vec::new(),
            records_made: 0,
            records_saved: 0,
            commands: VecDeque::new(),
            starts: VecDeque::new(),
        }
    }

    /// The executor that stored these jobs and tasks.
    ///
    /// Attempts that the runtime had are over: the runtime must have ended them, which a process
    /// that it started survives otherwise. Their tasks are tried again, from their last checkpoint,
    /// or are cancelled or timed out if that was asked. That leaves records to save.
    ///
    /// Complexity: O(n log n) for n tasks and their inputs.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(
        config: Config,
        epoch: UnixMillis,
        jobs: impl IntoIterator<Item = JobEntry>,
        tasks: impl IntoIterator<Item = TaskEntry>,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Self, RestoreError> {
        let mut executor = Self::new(config, epoch);
        let mut by_first = BTreeMap::new();
        for job in jobs {
            let repeated = RestoreError::Job { job: job.id };
            if let Some(key) = job.key.clone()
                && executor.keys.insert((job.owner, key), job.id).is_some()
            {
                return Err(repeated);
            }
            by_first.insert(job.first, (job.id, job.tasks));
            if executor.jobs.insert(job.id, job).is_some() {
                return Err(repeated);
            }
        }
        for TaskEntry {
            number,
            task,
            life,
            log_bytes,
        } in tasks
        {
            let wrong = RestoreError::Task { number };
            let (first, (job, count)) = by_first.range(..=number).next_back().ok_or(wrong)?;
            let place = u32::try_from(number - first).map_err(|_| wrong)?;
            if place >= *count {
                return Err(wrong);
            }
            executor.moment = executor.moment.max(life.changed.0);
            executor.next_number = executor.next_number.max(number.saturating_add(1));
            let entry = Entry::new(task_id(*job, place), *job, task, life, log_bytes);
            if executor.numbers.insert(entry.id, number).is_some() {
                return Err(wrong);
            }
            executor.entries.insert(number, entry);
        }
        for job in executor.jobs.values() {
            let missing = (job.first..).take(job.tasks as usize);
            if let Some(number) = missing
                .into_iter()
                .find(|number| !executor.entries.contains_key(number))
            {
                return Err(RestoreError::Task { number });
            }
            executor.next_number = executor
                .next_number
                .max(job.first.saturating_add(job.tasks.into()));
        }
        executor.reconnect()?;
        executor.restart(rng, now);
        Ok(executor)
    }

    /// Finds again who waits for whom.
    fn reconnect(&mut self) -> Result<(), RestoreError> {
        let numbers: Vec<u64> = self.entries.keys().copied().collect();
        for number in numbers {
            let entry = &self.entries[&number];
            if entry.life.state.is_terminal() {
                continue;
            }
            self.open += 1;
            let mut waiting = 0;
            for task in entry.dependencies() {
                let missing = RestoreError::Dependency { number, task };
                let dependency = *self.numbers.get(&task).ok_or(missing)?;
                let dependency = self.entries.get_mut(&dependency).ok_or(missing)?;
                dependency.dependents.push(number);
                waiting += u32::from(!matches!(dependency.life.state, State::Succeeded { .. }));
            }
            let entry = self.entry_mut(number);
            entry.waiting = waiting;
            let before_waiting = matches!(entry.life.state, State::Submitted | State::Admitted);
            if waiting > 0 && !before_waiting {
                return Err(RestoreError::Task { number });
            }
        }
        Ok(())
    }

    /// Ends what the runtime had, and arms what waits.
    fn restart(&mut self, rng: &mut impl Rng, now: Instant) {
        let now = self.tick(now);
        let open: Vec<(u64, State)> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.life.state.is_terminal())
            .map(|(number, entry)| (*number, entry.life.state))
            .collect();
        for (number, state) in open {
            let cause = Cause::ExecutorRestarted;
            match state {
                State::Queued => {
                    let priority = self.entry(number).task.priority;
                    self.queue.insert((priority, number));
                }
                State::Stopping { stop, .. } => self.end_stop(number, stop, cause, rng, now),
                State::Assigned(_) | State::Running(_) | State::Suspended(_) => {
                    self.fail_attempt(number, cause, rng, now);
                }
                State::Submitted if self.config.admit_at_once => {
                    self.step(number, State::Admitted, Cause::Admitted, now);
                    self.settle_admitted(number, now);
                }
                State::Admitted => self.settle_admitted(number, now),
                _ => {}
            }
            self.rearm(number);
        }
    }

    /// Takes a job, or finds that it has it already.
    ///
    /// Acknowledge it only when its records are saved. Submitted again with its key, it is the same
    /// job, so a submitter who got no answer simply asks again.
    ///
    /// # Errors
    /// [`SubmitError`]: nothing changed.
    pub fn submit(
        &mut self,
        job: &Job,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Submitted, SubmitError> {
        job.validate()?;
        let content = job.content();
        if let Some(key) = &job.key
            && let Some(known) = self.keys.get(&(job.owner, key.clone()))
            && let Some(known) = self.jobs.get(known)
        {
            if known.content != content {
                return Err(SubmitError::KeyReused { job: known.id });
            }
            return Ok(Submitted {
                job: known.id,
                tasks: known.tasks,
                replayed: true,
            });
        }
        self.check_room(job)?;
        let id = loop {
            let mut id = [0; JobId::LEN];
            rng.fill_bytes(&mut id);
            let id = JobId::from_bytes(id);
            if !self.jobs.contains_key(&id) {
                break id;
            }
        };
        let now = self.tick(now);
        let entry = JobEntry {
            id,
            owner: job.owner,
            key: job.key.clone(),
            content,
            first: self.next_number,
            // At most JOB_TASKS_MAX, as validated.
            tasks: u32::try_from(job.tasks.len()).unwrap_or(u32::MAX),
        };
        let submitted = Submitted {
            job: id,
            tasks: entry.tasks,
            replayed: false,
        };
        self.insert(entry, &job.tasks, now);
        if self.config.admit_at_once {
            self.admit_tasks(id, now);
        }
        self.dispatch(now);
        Ok(submitted)
    }

    fn check_room(&self, job: &Job) -> Result<(), SubmitError> {
        let asked = job.tasks.len();
        if self.open + asked > self.config.open_max {
            return Err(SubmitError::QueueFull {
                open: self.open,
                asked,
                limit: self.config.open_max,
            });
        }
        if self.entries.len() + asked > self.config.tasks_max {
            return Err(SubmitError::MemoryFull {
                held: self.entries.len(),
                asked,
                limit: self.config.tasks_max,
            });
        }
        let earlier = job.tasks.iter().flat_map(Task::waits);
        for wait in earlier {
            if let crate::TaskRef::Task(task) = wait
                && !self.numbers.contains_key(&task)
            {
                return Err(SubmitError::UnknownTask { task });
            }
        }
        Ok(())
    }

    fn insert(&mut self, job: JobEntry, tasks: &[Task], now: u64) {
        let mut stored = Vec::with_capacity(tasks.len());
        for (place, task) in (0..).zip(tasks) {
            let number = job.first + u64::from(place);
            let deadline = task
                .deadline
                .map(|deadline| UnixMillis(now.saturating_add(ms(deadline))));
            let life = Life::new(UnixMillis(now), deadline);
            stored.push(TaskEntry {
                number,
                task: task.clone(),
                life: life.clone(),
                log_bytes: 0,
            });
            let entry = Entry::new(task_id(job.id, place), job.id, task.clone(), life, 0);
            self.numbers.insert(entry.id, number);
            self.entries.insert(number, entry);
        }
        self.open += tasks.len();
        self.next_number += u64::from(job.tasks);
        if let Some(key) = job.key.clone() {
            self.keys.insert((job.owner, key), job.id);
        }
        self.record(Record::Job {
            job: job.clone(),
            tasks: stored,
        });
        for number in job.numbers() {
            let mut waiting = 0;
            for task in self.entry(number).dependencies() {
                let dependency = self.numbers[&task];
                let dependency = self.entry_mut(dependency);
                dependency.dependents.push(number);
                waiting += u32::from(!matches!(dependency.life.state, State::Succeeded { .. }));
            }
            self.entry_mut(number).waiting = waiting;
            self.rearm(number);
        }
        self.jobs.insert(job.id, job);
    }

    /// Accepts a job that waits for that.
    ///
    /// # Errors
    /// [`TaskCallError::UnknownJob`], [`TaskCallError::NotWaiting`].
    pub fn admit(&mut self, job: JobId, now: Instant) -> Result<(), TaskCallError> {
        self.check_waiting(job)?;
        let now = self.tick(now);
        self.admit_tasks(job, now);
        self.dispatch(now);
        Ok(())
    }

    /// Does not accept a job that waits for that: its tasks fail.
    ///
    /// # Errors
    /// [`TaskCallError::UnknownJob`], [`TaskCallError::NotWaiting`].
    pub fn refuse(&mut self, job: JobId, now: Instant) -> Result<(), TaskCallError> {
        let waiting = self.check_waiting(job)?;
        let now = self.tick(now);
        for number in waiting {
            self.step(number, State::Failed, Cause::Refused, now);
        }
        self.dispatch(now);
        Ok(())
    }

    fn check_waiting(&self, job: JobId) -> Result<Vec<u64>, TaskCallError> {
        let entry = self
            .jobs
            .get(&job)
            .ok_or(TaskCallError::UnknownJob { job })?;
        let waiting: Vec<u64> = entry
            .numbers()
            .filter(|number| self.entry(*number).life.state == State::Submitted)
            .collect();
        if waiting.is_empty() {
            return Err(TaskCallError::NotWaiting { job });
        }
        Ok(waiting)
    }

    fn admit_tasks(&mut self, job: JobId, now: u64) {
        let numbers: Vec<u64> = self.jobs[&job].numbers().collect();
        for number in numbers {
            if self.entry(number).life.state == State::Submitted {
                self.step(number, State::Admitted, Cause::Admitted, now);
                self.settle_admitted(number, now);
            }
        }
    }

    /// Queues or skips a task whose dependencies are over.
    fn settle_admitted(&mut self, number: u64, now: u64) {
        let entry = self.entry(number);
        if entry.life.state != State::Admitted {
            return;
        }
        if entry.waiting == 0 {
            self.step(number, State::Queued, Cause::Ready, now);
            return;
        }
        let ended = entry.dependencies().into_iter().find(|task| {
            let state = self.entry(self.numbers[task]).life.state;
            state.is_terminal() && !matches!(state, State::Succeeded { .. })
        });
        if let Some(task) = ended {
            self.step(number, State::Skipped, Cause::DependencyEnded { task }, now);
        }
    }

    /// Ends a task: at once if the runtime does not have it, otherwise when the runtime has stopped
    /// it, or has not for [`Config::stop_grace`]. From now on it cannot succeed. Asking again is fine.
    ///
    /// # Errors
    /// [`TaskCallError::UnknownTask`], [`TaskCallError::Ended`].
    pub fn cancel(&mut self, task: TaskId, now: Instant) -> Result<(), TaskCallError> {
        let number = self.number(task)?;
        let state = self.entry(number).life.state;
        if state.is_terminal() {
            return Err(TaskCallError::Ended { task, state });
        }
        let now = self.tick(now);
        self.cancel_number(number, now);
        self.dispatch(now);
        Ok(())
    }

    /// Ends all tasks of a job that have not ended, as [`Executor::cancel`] does, and says how many
    /// they are.
    ///
    /// # Errors
    /// [`TaskCallError::UnknownJob`].
    pub fn cancel_job(&mut self, job: JobId, now: Instant) -> Result<usize, TaskCallError> {
        let entry = self
            .jobs
            .get(&job)
            .ok_or(TaskCallError::UnknownJob { job })?;
        let open: Vec<u64> = entry
            .numbers()
            .filter(|number| !self.entry(*number).life.state.is_terminal())
            .collect();
        let now = self.tick(now);
        // From the end, so that few are skipped because another was cancelled.
        for number in open.iter().rev() {
            self.cancel_number(*number, now);
        }
        self.dispatch(now);
        Ok(open.len())
    }

    fn cancel_number(&mut self, number: u64, now: u64) {
        let cause = Cause::CancelAsked;
        match self.entry(number).life.state {
            state if state.is_terminal() => {}
            State::Stopping {
                stop: Stop::Cancel | Stop::TimeOut,
                ..
            } => {}
            state if state.attempt().is_none() => {
                self.step(number, State::Cancelled, cause, now);
            }
            _ => self.stop(number, Stop::Cancel, cause, now),
        }
    }

    /// What the device lends from now on. Running tasks are throttled, suspended, resumed, or make
    /// way, as it says.
    pub fn handle_permission(&mut self, permission: Permission, now: Instant) {
        let now = self.tick(now);
        let before = std::mem::replace(&mut self.permission, permission);
        let active: Vec<u64> = self.active();
        match permission {
            Permission::Run(budget) => {
                let throttled = !matches!(before, Permission::Run(old)
                    if (old.cpu_permille, old.bits_per_second)
                        == (budget.cpu_permille, budget.bits_per_second));
                for number in active {
                    let Some(target) = self.target(number) else {
                        continue;
                    };
                    self.entry_mut(number).vacate_by = None;
                    if throttled {
                        self.throttle(target, budget);
                    }
                    if std::mem::take(&mut self.entry_mut(number).suspend_asked) {
                        self.commands.push_back(Command::Resume(target));
                    }
                    self.rearm(number);
                }
                self.shed(budget, now);
                self.dispatch(now);
            }
            Permission::Suspend => {
                for number in active {
                    let Some(target) = self.target(number) else {
                        continue;
                    };
                    if self.starts.iter().any(|(_, start)| start.target == target) {
                        self.stop(number, Stop::Preempt, Cause::Preempted, now);
                        continue;
                    }
                    let entry = self.entry_mut(number);
                    entry.vacate_by = None;
                    if !std::mem::replace(&mut entry.suspend_asked, true) {
                        self.commands.push_back(Command::Suspend(target));
                    }
                    self.rearm(number);
                }
            }
            Permission::Vacate => {
                for number in active {
                    self.vacate(number, now);
                }
            }
            Permission::Stop => {
                for number in active {
                    self.stop(number, Stop::Preempt, Cause::Preempted, now);
                }
            }
        }
    }

    /// Tasks that the runtime has and was not told to stop.
    fn active(&self) -> Vec<u64> {
        let held = self.slots.values().filter(|holder| {
            let entry = self.entries.get(&holder.number);
            entry.is_some_and(|entry| {
                let state = entry.life.state;
                let same = state.attempt().map(|attempt| attempt.number) == Some(holder.attempt);
                same && !matches!(state, State::Stopping { .. })
            })
        });
        held.map(|holder| holder.number).collect()
    }

    /// Lets the least urgent make way until what is left fits the budget.
    fn shed(&mut self, budget: Budget, now: u64) {
        let mut active = self.active();
        active.sort_unstable_by_key(|number| (self.entry(*number).task.priority, *number));
        // Those that are stopping make room by themselves.
        let mut memory = 0_u64;
        let mut slots = 0_u32;
        for number in active {
            let needs = self.entry(number).task.limits.memory_bytes;
            let with = memory.saturating_add(needs);
            if slots < budget.slots && with <= budget.memory_bytes {
                slots += 1;
                memory = with;
            } else if self.entry(number).vacate_by.is_none() {
                self.vacate(number, now);
            }
        }
    }

    /// Asks a running task for a checkpoint, after which it is stopped. Others are stopped now.
    fn vacate(&mut self, number: u64, now: u64) {
        let entry = self.entry(number);
        if entry.vacate_by.is_some() {
            return;
        }
        let suspended = entry.suspend_asked || matches!(entry.life.state, State::Suspended(_));
        match (entry.life.state, self.target(number)) {
            (State::Running(_), Some(target)) if !suspended => {
                let by = now.saturating_add(ms(self.config.vacate_grace));
                self.entry_mut(number).vacate_by = Some(by);
                self.commands.push_back(Command::Checkpoint(target));
                self.rearm(number);
            }
            _ => self.stop(number, Stop::Preempt, Cause::Preempted, now),
        }
    }

    fn throttle(&mut self, target: Target, budget: Budget) {
        let unknown = self
            .starts
            .iter_mut()
            .find(|(_, start)| start.target == target);
        if let Some((_, start)) = unknown {
            start.cpu_permille = budget.cpu_permille;
            start.bits_per_second = budget.bits_per_second;
        } else {
            self.commands.push_back(Command::Throttle {
                target,
                cpu_permille: budget.cpu_permille,
                bits_per_second: budget.bits_per_second,
            });
        }
    }

    /// What happened to an attempt.
    ///
    /// # Errors
    /// [`EventError`]: drop the event. A slot is free all the same if the event ends the attempt
    /// that has it.
    pub fn handle_event(
        &mut self,
        task: TaskId,
        attempt: u32,
        event: Event,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<(), EventError> {
        let number = *self
            .numbers
            .get(&task)
            .ok_or(EventError::UnknownTask { task })?;
        let now = self.tick(now);
        let held = self
            .slots
            .iter()
            .find(|(_, holder)| (holder.number, holder.attempt) == (number, attempt))
            .map(|(slot, _)| *slot);
        if let Some(slot) = held
            && event.ends_attempt()
        {
            self.slots.remove(&slot);
            // What it was still to be told is too late.
            let over = Target {
                task,
                attempt,
                slot,
            };
            self.commands.retain(|command| command.target() != over);
        }
        let life = &self.entry(number).life;
        let current = life.attempts;
        let result = if life.state.attempt().map(|now| now.number) == Some(attempt) {
            self.apply(number, event, rng, now)
        } else if attempt > current || attempt == 0 {
            Err(EventError::NotBegun { attempt, current })
        } else {
            Err(EventError::Stale { attempt, current })
        };
        self.rearm(number);
        self.dispatch(now);
        result
    }

    /// Applies an event of the attempt that the runtime has.
    fn apply(
        &mut self,
        number: u64,
        event: Event,
        rng: &mut impl Rng,
        now: u64,
    ) -> Result<(), EventError> {
        let state = self.entry(number).life.state;
        let Some(attempt) = state.attempt() else {
            return Err(EventError::NotAllowed { state });
        };
        match (event, state) {
            (Event::Started, State::Assigned(_)) => {
                self.step(number, State::Running(attempt), Cause::Started, now);
            }
            (Event::Suspended, State::Assigned(_) | State::Running(_)) => {
                self.step(number, State::Suspended(attempt), Cause::Suspended, now);
            }
            (Event::Resumed, State::Suspended(_)) => {
                self.step(number, State::Running(attempt), Cause::Resumed, now);
            }
            (Event::Started | Event::Suspended | Event::Resumed, _) => {}
            (Event::Log { bytes }, _) => self.log(number, attempt.number, bytes),
            (
                Event::Checkpointed {
                    content,
                    bytes,
                    fuel,
                },
                _,
            ) => {
                let found = (content, bytes, fuel);
                return self.checkpoint(number, state, attempt, found, now);
            }
            (
                event,
                State::Stopping {
                    stop: stop @ (Stop::Cancel | Stop::TimeOut),
                    ..
                },
            ) => {
                debug_assert!(event.ends_attempt(), "all others are above");
                self.end_stop(number, stop, Cause::StopConfirmed, rng, now);
            }
            (Event::Succeeded { output, usage }, _) => {
                self.entry_mut(number).life.usage = usage;
                self.step(number, State::Succeeded { output }, Cause::Returned, now);
            }
            (Event::Failed { error }, _) if error.is_deterministic() => {
                self.entry_mut(number).life.error = Some(error);
                self.step(number, State::Failed, Cause::TaskFailed, now);
            }
            (_, State::Stopping { stop, .. }) => {
                self.end_stop(number, stop, Cause::StopConfirmed, rng, now);
            }
            (Event::Failed { error }, _) => {
                self.entry_mut(number).life.error = Some(error);
                self.fail_attempt(number, Cause::TaskFailed, rng, now);
            }
            (Event::Stopped | Event::Lost, _) => {
                self.fail_attempt(number, Cause::AttemptLost, rng, now);
            }
        }
        Ok(())
    }

    fn checkpoint(
        &mut self,
        number: u64,
        state: State,
        attempt: Attempt,
        (content, bytes, fuel): (ContentId, u64, u64),
        now: u64,
    ) -> Result<(), EventError> {
        match state {
            State::Assigned(_) => return Err(EventError::NotAllowed { state }),
            // Nobody goes on from it.
            State::Stopping {
                stop: Stop::Cancel | Stop::TimeOut,
                ..
            } => return Ok(()),
            _ => {}
        }
        let limit = self.config.checkpoint_bytes_max;
        if bytes > limit {
            return Err(CheckpointError::TooLong {
                actual: bytes,
                limit,
            }
            .into());
        }
        let entry = self.entry_mut(number);
        let last = entry.life.checkpoint;
        let fuel_before = last.map_or(0, |last| last.fuel);
        if fuel < fuel_before {
            return Err(CheckpointError::Backwards {
                actual: fuel,
                last: fuel_before,
            }
            .into());
        }
        let sequence = last.map_or(0, |last| last.sequence).saturating_add(1);
        entry.life.checkpoint = Some(CheckpointRecord {
            sequence,
            content,
            bytes,
            fuel,
            attempt: attempt.number,
        });
        let vacates = entry.vacate_by.is_some();
        self.step(number, state, Cause::Checkpointed { sequence }, now);
        if vacates && !matches!(state, State::Stopping { .. }) {
            self.stop(number, Stop::Preempt, Cause::Preempted, now);
        }
        Ok(())
    }

    fn log(&mut self, number: u64, attempt: u32, mut bytes: Vec<u8>) {
        let entry = self.entry_mut(number);
        let room = u64::from(entry.task.log_bytes_max).saturating_sub(entry.log_bytes);
        let kept = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
        entry.log_bytes_dropped += (bytes.len() - kept) as u64;
        bytes.truncate(kept);
        if bytes.is_empty() {
            return;
        }
        let offset = entry.log_bytes;
        entry.log_bytes += bytes.len() as u64;
        let task = entry.id;
        self.record(Record::Log {
            number,
            task,
            attempt,
            offset,
            bytes,
        });
    }

    /// Does what is due: see [`Executor::poll_timeout`].
    pub fn handle_timeout(&mut self, rng: &mut impl Rng, now: Instant) {
        let now = self.tick(now);
        while let Some((due, number)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.remove(&(due, number));
            self.entry_mut(number).timer = None;
            self.fire(number, rng, now);
            self.rearm(number);
        }
        self.dispatch(now);
    }

    /// Does what is due for one task. One thing at a time: `rearm` finds what else is.
    fn fire(&mut self, number: u64, rng: &mut impl Rng, now: u64) {
        let entry = self.entry(number);
        let life = &entry.life;
        let late = life.deadline.is_some_and(|deadline| deadline.0 <= now);
        match life.state {
            state if state.is_terminal() => {}
            State::Stopping { stop, .. } => {
                if late && matches!(stop, Stop::Preempt | Stop::Restart) {
                    self.stop(number, Stop::TimeOut, Cause::DeadlinePassed, now);
                } else if life.changed.0.saturating_add(ms(self.config.stop_grace)) <= now {
                    self.end_stop(number, stop, Cause::StopUnconfirmed, rng, now);
                }
            }
            state if late => match state.attempt() {
                None => self.step(number, State::TimedOut, Cause::DeadlinePassed, now),
                Some(_) => self.stop(number, Stop::TimeOut, Cause::DeadlinePassed, now),
            },
            State::Retrying { due } if due.0 <= now => {
                self.step(number, State::Queued, Cause::BackoffOver, now);
            }
            State::Assigned(_) if entry.start_by.is_some_and(|by| by <= now) => {
                self.stop(number, Stop::Restart, Cause::NotStarted, now);
            }
            State::Running(_) => {
                if entry.run_time_over().is_some_and(|over| over <= now) {
                    self.stop(number, Stop::TimeOut, Cause::RunTimeOver, now);
                } else if entry.vacate_by.is_some_and(|by| by <= now) {
                    self.stop(number, Stop::Preempt, Cause::Preempted, now);
                } else if entry.checkpoint_due <= now {
                    let every = ms(self.config.checkpoint_every).max(1);
                    self.entry_mut(number).checkpoint_due = now.saturating_add(every);
                    if let Some(target) = self.target(number) {
                        self.commands.push_back(Command::Checkpoint(target));
                    }
                }
            }
            _ => {}
        }
    }

    /// When [`Executor::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (due, _) = self.timers.first()?;
        Some(Instant::from_millis(due.saturating_sub(self.epoch)))
    }

    /// The next command for the runtime. A task is started once its records are on disk.
    pub fn poll_command(&mut self) -> Option<Command> {
        if let Some(command) = self.commands.pop_front() {
            return Some(command);
        }
        let (needed, _) = self.starts.front()?;
        if *needed > self.records_saved {
            return None;
        }
        let (_, start) = self.starts.pop_front()?;
        // A disk that is full for long is not the runtime's fault: its time starts here.
        let by = self.moment.saturating_add(ms(self.config.start_grace));
        let number = self.numbers[&start.target.task];
        self.entry_mut(number).start_by = Some(by);
        self.rearm(number);
        Some(Command::Start(Box::new(start)))
    }

    /// Records that are not on disk yet, in the order in which they are written.
    #[must_use]
    pub fn unsaved(&self) -> &[Record] {
        &self.records
    }

    /// Says that the first `count` of [`Executor::unsaved`] are on disk, or all if there are fewer,
    /// and returns them: what a host may now acknowledge and show.
    pub fn saved(&mut self, count: usize) -> Vec<Record> {
        let count = count.min(self.records.len());
        self.records_saved += count as u64;
        self.records.drain(..count).collect()
    }

    /// Forgets jobs whose tasks all ended before that time, of which none has a stuck slot and that
    /// no open task waits for, and says how many. Their keys may be used again.
    ///
    /// Complexity: O(tasks and their dependents).
    pub fn forget_ended(&mut self, before: UnixMillis) -> usize {
        let over = |job: &&JobEntry| {
            job.numbers().all(|number| {
                let entry = self.entry(number);
                let ended = entry.life.state.is_terminal() && entry.life.changed < before;
                // The runtime may still say of an attempt that was given up that it has stopped.
                let held = self.slots.values().any(|holder| holder.number == number);
                let wanted = entry.dependents.iter().any(|dependent| {
                    let entry = self.entries.get(dependent);
                    entry.is_some_and(|entry| !entry.life.state.is_terminal())
                });
                ended && !held && !wanted
            })
        };
        let forgotten: Vec<JobEntry> = self.jobs.values().filter(over).cloned().collect();
        for job in &forgotten {
            self.jobs.remove(&job.id);
            if let Some(key) = job.key.clone() {
                self.keys.remove(&(job.owner, key));
            }
            for number in job.numbers() {
                if let Some(entry) = self.entries.remove(&number) {
                    self.numbers.remove(&entry.id);
                }
            }
            self.record(Record::Forgotten { job: job.clone() });
        }
        forgotten.len()
    }

    /// A task.
    #[must_use]
    pub fn task(&self, task: TaskId) -> Option<TaskView<'_>> {
        let number = *self.numbers.get(&task)?;
        Some(self.entry(number).view(number))
    }

    /// All tasks, in order of submission.
    pub fn tasks(&self) -> impl Iterator<Item = TaskView<'_>> {
        let entries = self.entries.iter();
        entries.map(|(number, entry)| entry.view(*number))
    }

    /// A job.
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<&JobEntry> {
        self.jobs.get(&job)
    }

    /// The job of that owner with that key.
    #[must_use]
    pub fn job_of_key(&self, owner: AccountId, key: &IdempotencyKey) -> Option<&JobEntry> {
        let job = self.keys.get(&(owner, key.clone()))?;
        self.jobs.get(job)
    }

    /// How far a job is. Complexity: O(its tasks).
    #[must_use]
    pub fn progress(&self, job: JobId) -> Option<Progress> {
        let job = self.jobs.get(&job)?;
        let mut progress = Progress {
            tasks: job.tasks,
            ..Progress::default()
        };
        for number in job.numbers() {
            let state = self.entry(number).life.state;
            match state {
                State::Succeeded { .. } => progress.succeeded += 1,
                state if state.is_terminal() => progress.unsuccessful += 1,
                state => {
                    progress.open += 1;
                    progress.running += u32::from(state.attempt().is_some());
                }
            }
        }
        Some(progress)
    }

    /// Tasks that have not ended.
    #[must_use]
    pub const fn open(&self) -> usize {
        self.open
    }

    /// Tasks that wait for a slot.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Slots that are taken by attempts which were given up because the runtime did not say that
    /// they have stopped. They are free when it says how they ended.
    #[must_use]
    pub fn stuck_slots(&self) -> Vec<Target> {
        let stuck = self.slots.iter().filter_map(|(slot, holder)| {
            let entry = self.entries.get(&holder.number)?;
            let now = entry.life.state.attempt().map(|attempt| attempt.number);
            (now != Some(holder.attempt)).then_some(Target {
                task: entry.id,
                attempt: holder.attempt,
                slot: *slot,
            })
        });
        stuck.collect()
    }

    /// What the device lends now.
    #[must_use]
    pub const fn permission(&self) -> Permission {
        self.permission
    }

    /// Wall time, which never goes back.
    fn tick(&mut self, now: Instant) -> u64 {
        let wall = self.epoch.saturating_add(now.as_nanos() / 1_000_000);
        self.moment = self.moment.max(wall);
        self.moment
    }

    fn number(&self, task: TaskId) -> Result<u64, TaskCallError> {
        let number = self.numbers.get(&task);
        number.copied().ok_or(TaskCallError::UnknownTask { task })
    }

    fn entry(&self, number: u64) -> &Entry {
        self.entries.get(&number).expect("numbers are of entries")
    }

    fn entry_mut(&mut self, number: u64) -> &mut Entry {
        self.entries
            .get_mut(&number)
            .expect("numbers are of entries")
    }

    fn target(&self, number: u64) -> Option<Target> {
        let entry = self.entry(number);
        entry.life.state.attempt().map(|attempt| Target {
            task: entry.id,
            attempt: attempt.number,
            slot: attempt.slot,
        })
    }

    fn record(&mut self, record: Record) {
        self.records_made += 1;
        self.records.push(record);
    }

    /// Takes a task to its next state, and all that wait for it with it if it ends.
    fn step(&mut self, number: u64, to: State, cause: Cause, now: u64) {
        let mut steps = VecDeque::from([(number, to, cause)]);
        while let Some((number, to, cause)) = steps.pop_front() {
            self.step_one(number, to, cause, now);
            if !to.is_terminal() {
                continue;
            }
            let entry = self.entry(number);
            let (task, dependents) = (entry.id, entry.dependents.clone());
            let succeeded = matches!(to, State::Succeeded { .. });
            for dependent in dependents {
                let Some(entry) = self.entries.get_mut(&dependent) else {
                    continue;
                };
                entry.waiting -= u32::from(succeeded);
                if entry.life.state != State::Admitted {
                    continue;
                }
                if !succeeded {
                    let cause = Cause::DependencyEnded { task };
                    // It may wait for several that end in this very step.
                    if !steps.iter().any(|(queued, ..)| *queued == dependent) {
                        steps.push_back((dependent, State::Skipped, cause));
                    }
                } else if entry.waiting == 0 {
                    steps.push_back((dependent, State::Queued, Cause::Ready));
                }
            }
        }
    }

    fn step_one(&mut self, number: u64, to: State, cause: Cause, now: u64) {
        let every = ms(self.config.checkpoint_every).max(1);
        let entry = self.entry_mut(number);
        let from = entry.life.state;
        debug_assert!(from.may_become(&to), "{from:?} to {to:?}");
        if matches!(from, State::Running(_)) {
            let ran = now.saturating_sub(entry.life.changed.0);
            entry.life.ran_ms = entry.life.ran_ms.saturating_add(ran);
        }
        match to {
            State::Assigned(attempt) => {
                entry.life.attempts = attempt.number;
                entry.life.ran_ms = 0;
                entry.start_by = None;
                entry.suspend_asked = false;
                entry.vacate_by = None;
            }
            State::Running(_) => entry.checkpoint_due = now.saturating_add(every),
            _ => {}
        }
        entry.life.state = to;
        entry.life.changed = UnixMillis(now);
        entry.life.steps = entry.life.steps.saturating_add(1);
        let transition = Transition {
            task: entry.id,
            number: entry.life.steps,
            time: UnixMillis(now),
            to,
            cause,
        };
        let life = Box::new(entry.life.clone());
        let priority = entry.task.priority;
        self.record(Record::Step {
            number,
            transition,
            life,
        });
        if from == State::Queued {
            self.queue.remove(&(priority, number));
        }
        if to == State::Queued {
            self.queue.insert((priority, number));
        }
        if to.is_terminal() {
            self.open -= 1;
        }
        self.rearm(number);
    }

    /// Tells the runtime to stop an attempt that it has, unless it was told already.
    fn stop(&mut self, number: u64, stop: Stop, cause: Cause, now: u64) {
        let state = self.entry(number).life.state;
        let Some(attempt) = state.attempt() else {
            return;
        };
        let told = matches!(state, State::Stopping { .. });
        let target = Target {
            task: self.entry(number).id,
            attempt: attempt.number,
            slot: attempt.slot,
        };
        self.step(number, State::Stopping { attempt, stop }, cause, now);
        let start = self
            .starts
            .iter()
            .position(|(_, start)| start.target == target);
        if let Some(start) = start {
            // The runtime does not know it: it is taken back, and has stopped.
            self.starts.remove(start);
            self.slots.remove(&target.slot);
            let cause = Cause::StopConfirmed;
            match stop {
                Stop::Cancel => self.step(number, State::Cancelled, cause, now),
                Stop::TimeOut => self.step(number, State::TimedOut, cause, now),
                Stop::Preempt | Stop::Restart => self.preempt_attempt(number, cause, now),
            }
        } else if !told {
            self.commands.push_back(Command::Cancel(target));
        }
    }

    /// What becomes of a task that has stopped, or was given up.
    fn end_stop(&mut self, number: u64, stop: Stop, cause: Cause, rng: &mut impl Rng, now: u64) {
        match stop {
            Stop::Cancel => self.step(number, State::Cancelled, cause, now),
            Stop::TimeOut => self.step(number, State::TimedOut, cause, now),
            Stop::Preempt => self.preempt_attempt(number, cause, now),
            Stop::Restart => self.fail_attempt(number, cause, rng, now),
        }
    }

    /// An attempt is over without a result.
    fn fail_attempt(&mut self, number: u64, cause: Cause, rng: &mut impl Rng, now: u64) {
        let entry = self.entry_mut(number);
        entry.life.failures = entry.life.failures.saturating_add(1);
        let failures = entry.life.failures;
        let to = if failures < entry.task.retry.attempts_max {
            let wait = entry.task.retry.backoff_ms(failures, rng);
            State::Retrying {
                due: UnixMillis(now.saturating_add(wait)),
            }
        } else if cause == Cause::TaskFailed {
            State::Failed
        } else {
            State::Lost
        };
        self.step(number, to, cause, now);
    }

    /// An attempt is over because it made way.
    fn preempt_attempt(&mut self, number: u64, cause: Cause, now: u64) {
        let entry = self.entry_mut(number);
        entry.life.preemptions = entry.life.preemptions.saturating_add(1);
        if entry.life.preemptions > entry.task.retry.preemptions_max {
            self.step(number, State::Lost, cause, now);
            return;
        }
        let due = UnixMillis(now);
        self.step(number, State::Retrying { due }, cause, now);
        self.step(number, State::Queued, Cause::BackoffOver, now);
    }

    /// Sets the one timer of a task to what is due next.
    fn rearm(&mut self, number: u64) {
        let Some(entry) = self.entries.get(&number) else {
            return;
        };
        let due = entry.due(&self.config);
        if entry.timer == due {
            return;
        }
        if let Some(old) = entry.timer {
            self.timers.remove(&(old, number));
        }
        if let Some(due) = due {
            self.timers.insert((due, number));
        }
        self.entry_mut(number).timer = due;
    }

    /// Gives free slots to waiting tasks.
    fn dispatch(&mut self, now: u64) {
        let Permission::Run(budget) = self.permission else {
            return;
        };
        while self.slots.len() < budget.slots as usize {
            let held = self.slots.values().map(|holder| holder.memory_bytes);
            let used = held.fold(0, u64::saturating_add);
            let room = budget.memory_bytes.saturating_sub(used);
            let fits = |(_, number): &&(Priority, u64)| {
                self.entry(*number).task.limits.memory_bytes <= room
            };
            let first = self.queue.iter().take(FITTING_MAX).find(fits);
            let Some((_, number)) = first.copied() else {
                return;
            };
            self.assign(number, budget, now);
        }
    }

    fn assign(&mut self, number: u64, budget: Budget, now: u64) {
        let free = |slot: &u32| !self.slots.contains_key(slot);
        let slot = (0..)
            .find(free)
            .expect("fewer slots are taken than there are");
        let entry = self.entry(number);
        let attempt = Attempt {
            number: entry.life.attempts.saturating_add(1),
            slot,
        };
        let holder = Holder {
            number,
            attempt: attempt.number,
            memory_bytes: entry.task.limits.memory_bytes,
        };
        let inputs = entry.task.inputs.iter().map(|input| match input {
            Input::Content(content) => *content,
            Input::Output(task) => {
                let source = self.entry(self.numbers[&task.resolve(entry.job)]);
                match source.life.state {
                    State::Succeeded { output } => output,
                    _ => unreachable!("a task is queued when all it waits for have succeeded"),
                }
            }
        });
        let start = Start {
            target: Target {
                task: entry.id,
                attempt: attempt.number,
                slot,
            },
            runtime: entry.task.runtime.clone(),
            program: entry.task.program,
            inputs: inputs.collect(),
            options: entry.task.options.clone(),
            limits: entry.task.limits,
            resume: entry.life.checkpoint,
            cpu_permille: budget.cpu_permille,
            bits_per_second: budget.bits_per_second,
        };
        self.slots.insert(slot, holder);
        self.step(number, State::Assigned(attempt), Cause::SlotFree, now);
        self.starts.push_back((self.records_made, start));
    }
}

impl JobEntry {
    /// Numbers of its tasks.
    fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        self.first..self.first.saturating_add(self.tasks.into())
    }
}

impl Entry {
    fn new(id: TaskId, job: JobId, task: Task, life: Life, log_bytes: u64) -> Self {
        Self {
            id,
            job,
            task,
            life,
            waiting: 0,
            dependents: Vec::new(),
            log_bytes,
            log_bytes_dropped: 0,
            timer: None,
            start_by: None,
            suspend_asked: false,
            vacate_by: None,
            checkpoint_due: 0,
        }
    }

    fn view(&self, number: u64) -> TaskView<'_> {
        TaskView {
            id: self.id,
            job: self.job,
            number,
            task: &self.task,
            life: &self.life,
            log_bytes: self.log_bytes,
            log_bytes_dropped: self.log_bytes_dropped,
        }
    }

    /// The tasks it waits for, each once.
    fn dependencies(&self) -> BTreeSet<TaskId> {
        let waits = self.task.waits();
        waits.map(|wait| wait.resolve(self.job)).collect()
    }

    /// When the attempt has run as long as it may, if it goes on running.
    fn run_time_over(&self) -> Option<u64> {
        let left = ms(self.task.run_time_max?).saturating_sub(self.life.ran_ms);
        Some(self.life.changed.0.saturating_add(left))
    }

    /// When something is to be done about it.
    fn due(&self, config: &Config) -> Option<u64> {
        let after = |grace| Some(self.life.changed.0.saturating_add(ms(grace)));
        let deadline = self.life.deadline.map(|deadline| deadline.0);
        let others = match self.life.state {
            state if state.is_terminal() => return None,
            State::Stopping {
                stop: Stop::Cancel | Stop::TimeOut,
                ..
            } => return after(config.stop_grace),
            State::Stopping { .. } => [after(config.stop_grace), None, None],
            State::Assigned(_) => [self.start_by, None, None],
            State::Retrying { due } => [Some(due.0), None, None],
            State::Running(_) => [
                self.run_time_over(),
                self.vacate_by,
                Some(self.checkpoint_due),
            ],
            _ => [None, None, None],
        };
        others.into_iter().chain([deadline]).flatten().min()
    }
}
