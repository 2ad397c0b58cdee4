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

use fogcompute_base::{AccountId, Instant, JobId, Priority, Rng, TaskId, UnixMillis};

use crate::job::{ms, task_id};
use crate::lifecycle::{Cause, Life, State, Stop};
use crate::{IdempotencyKey, Task};

mod errors;
mod events;
mod messages;
mod records;
mod steps;
mod submission;
#[cfg(test)]
mod tests;

pub use self::errors::{EventError, RestoreError, SubmitError, TaskCallError};
pub use self::messages::{Budget, Command, Event, Permission, Start, Target};
pub use self::records::{JobEntry, Record, TaskEntry};

/// Waiting tasks that are looked at for one that fits what memory is left. Behind that many larger
/// ones a small task waits too.
const FITTING_MAX: usize = 64;

/// Weight of the latest attempt in the mean of how long attempts run: one in so many.
const PACE_OF: u64 = 8;

/// While attempts run longer than this on average, in milliseconds, none is handed over ahead.
const AHEAD_PACE_MS: u64 = 5;

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
    /// How many tasks the runtime is given ahead for each slot, so that while the disk is written it
    /// has something to do: it runs no more than there are slots at a time, in the order in which
    /// it was told. Only while tasks run for milliseconds, and none that failed before: an attempt
    /// that was handed over counts, whether or not it ran when the host crashes.
    pub ahead_per_slot: u32,
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
    /// 100,000 open tasks, a million in all; none ahead; checkpoints of up to 128 MiB each 60 s (as BOINC), 10 s
    /// of it on making way; 30 s to start and 10 s to stop.
    fn default() -> Self {
        Self {
            open_max: 100_000,
            tasks_max: 1_000_000,
            admit_at_once: true,
            ahead_per_slot: 0,
            checkpoint_bytes_max: crate::CONTENT_BYTES_MAX as u64,
            checkpoint_every: Duration::from_secs(60),
            vacate_grace: Duration::from_secs(10),
            start_grace: Duration::from_secs(30),
            stop_grace: Duration::from_secs(10),
        }
    }
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
    /// How long attempts run, in milliseconds times `PACE_OF`, the latest ones most. `None` before the
    /// first.
    pace: Option<u64>,
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
            pace: None,
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
        self.tasks_from(0)
    }

    /// The tasks whose numbers are that or higher, in order of submission.
    pub fn tasks_from(&self, number: u64) -> impl Iterator<Item = TaskView<'_>> {
        let entries = self.entries.range(number..);
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
