//! The thread that owns a worker's rules and its file.

use std::collections::BTreeMap;
use std::mem;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::available_parallelism;
use std::time::Duration;

use fogcompute_base::limits::MODULE_BYTES_MAX;
use fogcompute_base::{Clock, Instant, JobId, OsEntropy, TaskId, UnixMillis};
use fogcompute_exec::executor::{
    Budget, Command, Event, Permission, Progress, Record, Start, Submitted, TaskCallError, TaskView,
};
use fogcompute_exec::lifecycle::{State, Transition};
use fogcompute_exec::{
    ContentId, Control, CpuShare, Executor, Grants, Input, Job, Limits, Runtime, RuntimeKind,
    SpecError, TaskError, TaskOutput,
};
use fogcompute_harvest::{
    Answer, Command as Order, DeviceClass, DeviceState, HarvestPolicy, HarvestRecord, HarvestState,
    Harvester, ProbeError,
};
use fogcompute_runtime::ProbeThread;
use fogcompute_store::{StoreError, TaskStore};
use tokio::sync::watch;

use super::attempt::{Running, Said, Threads, Work};
use super::{
    Message, Reply, TaskStatus, WorkerConfig, WorkerError, WorkerHarvest, WorkerHost, WorkerLog,
    WorkerStatus,
};

/// Longest wait between two attempts to write to a file that could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// How often the record of sessions is written while nothing changes.
const RECORD_EVERY: Duration = Duration::from_secs(60);

/// Messages that are handled before what they changed is written, in one transaction.
const MESSAGES_MAX: usize = 4_096;

/// Programs that are kept in memory.
const PROGRAMS_MAX: usize = 16;

/// Called when it is known whether all changes so far are on disk.
type Then = Box<dyn FnOnce(&mut Engine, Result<(), Arc<StoreError>>) + Send>;

pub(super) struct Engine {
    clock: Arc<dyn Clock>,
    config: WorkerConfig,
    runtimes: BTreeMap<RuntimeKind, Arc<dyn Runtime>>,
    executor: Executor,
    store: TaskStore,
    /// The file is yet to be opened again, and `store` holds nothing.
    closed: bool,
    /// Why the last write failed, until one succeeds.
    store_error: Option<Arc<StoreError>>,
    /// Bytes that records name for the first time.
    contents: Vec<Arc<[u8]>>,
    then: Vec<Then>,
    threads: Threads,
    running: BTreeMap<(TaskId, u32), Running>,
    programs: BTreeMap<ContentId, Arc<[u8]>>,
    harvest: Option<Harvest>,
    ends: BTreeMap<TaskId, Vec<Reply<TaskOutput>>>,
    logs: BTreeMap<TaskId, Vec<LogReader>>,
    progresses: BTreeMap<JobId, Vec<(Progress, Reply<Progress>)>>,
    /// What the device lends, for those who do tasks beside this worker.
    permission: watch::Sender<Permission>,
}

/// Who waits for more of a log.
struct LogReader {
    from: u64,
    bytes_max: usize,
    reply: Reply<WorkerLog>,
}

/// What says when to work.
struct Harvest {
    probe: ProbeThread,
    /// The policy until there is a harvester; `None` is that of the class.
    policy: Option<HarvestPolicy>,
    /// From the first reading on.
    harvester: Option<Harvester>,
    record: Option<HarvestRecord>,
    answer: Option<Answer>,
    device: Option<DeviceState>,
    shared_by: NonZeroU16,
    /// Of the last reading, for those that fail.
    class: DeviceClass,
    cores: Option<u32>,
    error: Option<ProbeError>,
    /// Readings that were looked at.
    seen: u64,
    state_written: Option<HarvestState>,
    written_at: Instant,
}

impl Engine {
    pub(super) fn new(
        config: WorkerConfig,
        host: WorkerHost,
        messages: Sender<Message>,
        permission: watch::Sender<Permission>,
    ) -> Result<Self, WorkerError> {
        let store = match &config.path {
            Some(path) => TaskStore::open(path, config.durability)?,
            None => TaskStore::in_memory()?,
        };
        let now = host.clock.now();
        let wall = host.clock.unix_now();
        // The wall time of `Instant::ZERO`.
        let epoch = UnixMillis(wall.0.saturating_sub(now.as_nanos() / 1_000_000));
        let executor = store.executor(config.tasks, epoch, &mut OsEntropy, now)?;
        let harvest = match host.harvest {
            Some(harvest) => Some(Harvest::new(harvest, &store, &host.clock, &messages)?),
            None => None,
        };
        let mut engine = Self {
            clock: host.clock,
            runtimes: host.runtimes,
            executor,
            store,
            closed: false,
            store_error: None,
            contents: Vec::new(),
            then: Vec::new(),
            threads: Threads::new(messages),
            running: BTreeMap::new(),
            programs: BTreeMap::new(),
            harvest,
            ends: BTreeMap::new(),
            logs: BTreeMap::new(),
            progresses: BTreeMap::new(),
            permission,
            config,
        };
        if engine.harvest.is_none() {
            engine.permit(Permission::Run(engine.whole_budget()), now);
        }
        Ok(engine)
    }

    pub(super) fn run(mut self, inbox: &Receiver<Message>) {
        self.turn();
        loop {
            let mut next = match inbox.recv_timeout(self.patience()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut handled = 0;
            while let Some(message) = next {
                if matches!(message, Message::Close) {
                    return self.end(inbox);
                }
                self.handle(message);
                handled += 1;
                next = if handled < MESSAGES_MAX {
                    inbox.try_recv().ok()
                } else {
                    None
                };
            }
            self.turn();
        }
        self.end(inbox);
    }

    /// Stops what runs, and writes where it was.
    fn end(mut self, inbox: &Receiver<Message>) {
        let now = self.clock.now();
        self.harvest = None;
        self.executor.handle_permission(Permission::Stop, now);
        self.carry_out();
        for running in self.running.values() {
            running.control.cancel();
        }
        self.threads.join();
        while let Ok(message) = inbox.try_recv() {
            if let Message::Said { .. } = message {
                self.handle(message);
            }
        }
        // What cannot be written now is as if the worker had been killed here.
        let _ = self.save();
    }

    fn patience(&self) -> Duration {
        let harvester = self.harvest.as_ref().and_then(|harvest| {
            let harvester = harvest.harvester.as_ref()?;
            harvester.poll_timeout()
        });
        let due = [self.executor.poll_timeout(), harvester];
        let now = self.clock.now();
        let due = due.into_iter().flatten().min();
        let due = due.map_or(Duration::MAX, |due| due.duration_since(now));
        if self.store_error.is_some() {
            due.min(WRITE_AGAIN)
        } else {
            due
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Call(call) => call(self),
            Message::Said {
                task,
                attempt,
                said,
            } => self.hear(task, attempt, said),
            Message::Look => {
                if let Some(harvest) = &self.harvest {
                    harvest.probe.ask();
                }
            }
            Message::HasRead | Message::Close => {}
        }
    }

    fn hear(&mut self, task: TaskId, attempt: u32, said: Said) {
        let (event, bytes) = match said {
            Said::Event(event, bytes) => (event, bytes),
            Said::Checkpoint => {
                let running = self.running.get(&(task, attempt));
                let Some(saved) = running.and_then(Running::take_checkpoint) else {
                    return;
                };
                let event = Event::Checkpointed {
                    content: ContentId::of(&saved.bytes),
                    bytes: saved.bytes.len() as u64,
                    fuel: saved.fuel,
                };
                (event, Some(saved.bytes))
            }
        };
        if event.ends_attempt() {
            self.running.remove(&(task, attempt));
        }
        let now = self.clock.now();
        // Late events are dropped, as the executor says.
        if self
            .executor
            .handle_event(task, attempt, event, &mut OsEntropy, now)
            .is_ok()
        {
            self.contents.extend(bytes.map(Arc::from));
        }
    }

    /// Everything that follows from what was heard.
    fn turn(&mut self) {
        self.read_device();
        let now = self.clock.now();
        self.executor.handle_timeout(&mut OsEntropy, now);
        let permission = self.executor.permission();
        self.permission.send_if_modified(|told| {
            let changed = *told != permission;
            *told = permission;
            changed
        });
        // What runs is slowed down and stopped whether or not the disk can be written.
        self.carry_out();
        loop {
            let records = self.save();
            let saved = match &self.store_error {
                Some(error) => Err(Arc::clone(error)),
                None => Ok(()),
            };
            for then in mem::take(&mut self.then) {
                then(self, saved.clone());
            }
            self.tell(&records);
            if saved.is_err() || !self.carry_out() {
                break;
            }
        }
        self.vacated();
    }

    /// Writes what is not written, and returns it.
    fn save(&mut self) -> Vec<Record> {
        match self.try_save() {
            Ok(records) => {
                self.contents.clear();
                self.store_error = None;
                records
            }
            Err(error) => {
                self.store_error = Some(Arc::new(error));
                Vec::new()
            }
        }
    }

    fn try_save(&mut self) -> Result<Vec<Record>, StoreError> {
        if self.closed {
            self.reopen()?;
        }
        let contents: Vec<&[u8]> = self.contents.iter().map(AsRef::as_ref).collect();
        let wall = self.clock.unix_now();
        let saved = self.store.save(&mut self.executor, &contents, wall);
        if let Err(StoreError::CommitFailed { .. } | StoreError::ReopenNeeded) = saved {
            // If it cannot be done now, it is tried before the next write.
            let _ = self.reopen();
        }
        saved
    }

    /// Begins again from what is on disk, after a write of which nobody knows whether it happened.
    fn reopen(&mut self) -> Result<(), StoreError> {
        let Some(path) = self.config.path.clone() else {
            return Ok(());
        };
        // The file has one owner, so the old handle goes first.
        self.store = TaskStore::in_memory()?;
        self.closed = true;
        let opened = TaskStore::open(&path, self.config.durability)?;
        let (now, wall) = (self.clock.now(), self.clock.unix_now());
        let epoch = UnixMillis(wall.0.saturating_sub(now.as_nanos() / 1_000_000));
        let executor = opened.executor(self.config.tasks, epoch, &mut OsEntropy, now)?;
        for running in mem::take(&mut self.running).values() {
            running.control.cancel();
        }
        let permission = self.executor.permission();
        self.store = opened;
        self.closed = false;
        self.executor = executor;
        self.executor.handle_permission(permission, now);
        self.contents.clear();
        Ok(())
    }

    fn permit(&mut self, permission: Permission, now: Instant) {
        Self::permit_with(&mut self.executor, &self.threads, permission, now);
    }

    /// Lets the executor and the threads know how much may run.
    fn permit_with(
        executor: &mut Executor,
        threads: &Threads,
        permission: Permission,
        now: Instant,
    ) {
        if let Permission::Run(budget) = permission {
            threads.set_running_max(budget.slots as usize);
        }
        executor.handle_permission(permission, now);
    }

    /// Does what the executor says, and tells whether there was anything.
    fn carry_out(&mut self) -> bool {
        let mut any = false;
        while let Some(command) = self.executor.poll_command() {
            any = true;
            let target = command.target();
            let key = (target.task, target.attempt);
            let event = match (command, self.running.get(&key)) {
                (Command::Start(start), _) => {
                    self.start(&start);
                    continue;
                }
                // It never began: it waits for its turn, or there was no thread or no content for it.
                (Command::Cancel(_), None) => Event::Stopped,
                (Command::Cancel(_), Some(running)) if running.take() => Event::Stopped,
                (Command::Cancel(_), Some(running)) => {
                    running.control.cancel();
                    continue;
                }
                (_, None) => continue,
                (Command::Suspend(_), Some(running)) => {
                    running.control.suspend();
                    Event::Suspended
                }
                (Command::Resume(_), Some(running)) => {
                    running.control.resume();
                    Event::Resumed
                }
                (Command::Checkpoint(_), Some(running)) => {
                    running.control.request_checkpoint();
                    continue;
                }
                (Command::Throttle { cpu_permille, .. }, Some(running)) => {
                    running.control.set_cpu_share(share(cpu_permille));
                    continue;
                }
            };
            self.hear(target.task, target.attempt, Said::Event(event, None));
        }
        any
    }

    fn start(&mut self, start: &Start) {
        let target = start.target;
        let control = Control::new();
        control.set_cpu_share(share(start.cpu_permille));
        let running = Running::new(control);
        let begun = self.work(start, running.clone()).and_then(|work| {
            self.running.insert((target.task, target.attempt), running);
            self.threads.run(work).map_err(|_| Event::Lost)
        });
        if let Err(event) = begun {
            self.hear(target.task, target.attempt, Said::Event(event, None));
        }
    }

    /// What an attempt needs, or how it has ended for want of it.
    fn work(&mut self, start: &Start, running: Running) -> Result<Work, Event> {
        let runtime = self.runtimes.get(&start.runtime).cloned();
        // Kinds are looked at when a job is submitted; this host may have fewer than the last.
        let runtime = runtime.ok_or(Event::Lost)?;
        let task = start.target.task;
        let program = match self.programs.get(&start.program) {
            Some(program) => Arc::clone(program),
            None => {
                let program: Arc<[u8]> = self.content(start.program)?.into();
                if self.programs.len() >= PROGRAMS_MAX {
                    self.programs.pop_first();
                }
                self.programs.insert(start.program, Arc::clone(&program));
                program
            }
        };
        let mut inputs = Vec::with_capacity(start.inputs.len());
        for input in &start.inputs {
            inputs.push(self.content(*input)?);
        }
        let from = start.resume.and_then(|resume| {
            // Without it the task begins at its beginning.
            let bytes = self.store.checkpoint(task, resume.content);
            bytes.ok().flatten()
        });
        let grants = if start.options.is_empty() {
            Grants::default()
        } else {
            // They were decoded when they were submitted.
            Grants::decode(&start.options).map_err(|_| Event::Lost)?
        };
        let view = self.executor.task(task).ok_or(Event::Lost)?;
        let limits = Limits {
            log_bytes: view.task.log_bytes_max.into(),
            // The executor ends WebAssembly in time. A program is given its limit too, which holds
            // when this process is gone.
            wall: view
                .task
                .run_time_max
                .filter(|_| start.runtime != RuntimeKind::wasm()),
            ..start.limits
        };
        Ok(Work {
            target: start.target,
            runtime,
            program,
            inputs,
            grants,
            limits,
            from,
            running,
        })
    }

    fn content(&self, id: ContentId) -> Result<Vec<u8>, Event> {
        self.store.content(id).ok().flatten().ok_or(Event::Lost)
    }

    /// Lets those know who wait for what was written.
    fn tell(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Step { transition, .. } if transition.to.is_terminal() => {
                    let task = transition.task;
                    for reply in self.ends.remove(&task).unwrap_or_default() {
                        let _ = reply.send(self.fetch(task));
                    }
                    self.answer_logs(task);
                    self.answer_progress(task);
                }
                Record::Step { transition, .. } => self.answer_progress(transition.task),
                Record::Log { task, .. } => self.answer_logs(*task),
                Record::Job { .. } | Record::Forgotten { .. } => {}
            }
        }
    }

    fn answer_logs(&mut self, task: TaskId) {
        for reader in self.logs.remove(&task).unwrap_or_default() {
            self.read_log(task, reader);
        }
    }

    fn answer_progress(&mut self, task: TaskId) {
        if self.progresses.is_empty() {
            return;
        }
        let Some(job) = self.executor.task(task).map(|view| view.job) else {
            return;
        };
        let (Some(waiting), Some(now)) =
            (self.progresses.remove(&job), self.executor.progress(job))
        else {
            return;
        };
        for (seen, reply) in waiting {
            if now == seen && now.open > 0 {
                self.progresses.entry(job).or_default().push((seen, reply));
            } else {
                let _ = reply.send(Ok(now));
            }
        }
    }

    /// Answers when everything so far is on disk.
    pub(super) fn read<T: Send + 'static>(
        &mut self,
        reply: Reply<T>,
        read: impl FnOnce(&mut Self) -> Result<T, WorkerError> + Send + 'static,
    ) {
        self.then.push(Box::new(move |engine, saved| {
            let answer = match saved {
                Ok(()) => read(engine),
                Err(error) => Err(WorkerError::Store(error)),
            };
            let _ = reply.send(answer);
        }));
    }

    pub(super) fn submit(&mut self, job: &Job, contents: Vec<Arc<[u8]>>, reply: Reply<Submitted>) {
        let submitted = match self.try_submit(job, &contents) {
            Ok(submitted) => submitted,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        if !submitted.replayed {
            self.contents.extend(contents);
        }
        self.then.push(Box::new(move |_, saved| {
            let answer = match saved {
                Ok(()) => Ok(submitted),
                Err(source) => Err(WorkerError::NotStored {
                    job: submitted.job,
                    source,
                }),
            };
            let _ = reply.send(answer);
        }));
    }

    fn try_submit(&mut self, job: &Job, contents: &[Arc<[u8]>]) -> Result<Submitted, WorkerError> {
        // A file that could not be written a moment ago is given another chance first, so that jobs
        // do not pile up in memory.
        if self.store_error.is_some() {
            let records = self.save();
            self.tell(&records);
            if let Some(error) = &self.store_error {
                return Err(WorkerError::Store(Arc::clone(error)));
            }
        }
        let handed: BTreeMap<ContentId, usize> = contents
            .iter()
            .map(|bytes| (ContentId::of(bytes), bytes.len()))
            .collect();
        let mut programs = BTreeMap::new();
        for task in &job.tasks {
            if !self.runtimes.contains_key(&task.runtime) {
                let kind = task.runtime.as_str().to_owned();
                return Err(WorkerError::UnknownRuntime { kind });
            }
            // The tasks of a job mostly have one program and one set of grants.
            if programs.insert(task.program, &task.options) != Some(&task.options) {
                self.check_content(task.program, &handed)?;
                if let Some(actual) = handed.get(&task.program)
                    && *actual > MODULE_BYTES_MAX
                {
                    return Err(SpecError::ModuleTooLarge {
                        actual: *actual,
                        limit: MODULE_BYTES_MAX,
                    }
                    .into());
                }
                if !task.options.is_empty() {
                    let grants = Grants::decode(&task.options).map_err(SpecError::from)?;
                    grants.validate()?;
                }
            }
            for input in &task.inputs {
                if let Input::Content(content) = input {
                    self.check_content(*content, &handed)?;
                }
            }
        }
        let now = self.clock.now();
        Ok(self.executor.submit(job, &mut OsEntropy, now)?)
    }

    fn check_content(
        &self,
        content: ContentId,
        handed: &BTreeMap<ContentId, usize>,
    ) -> Result<(), WorkerError> {
        if handed.contains_key(&content) || self.store.has_content(content)? {
            return Ok(());
        }
        Err(WorkerError::UnknownContent { content })
    }

    pub(super) fn task(&mut self, task: TaskId) -> Result<TaskStatus, WorkerError> {
        Ok(self.status_of(&self.view(task)?))
    }

    pub(super) fn tasks(
        &mut self,
        after: Option<TaskId>,
        count_max: usize,
    ) -> Result<Vec<TaskStatus>, WorkerError> {
        let first = match after {
            Some(task) => self.view(task)?.number + 1,
            None => 0,
        };
        let views = self.executor.tasks_from(first).take(count_max);
        Ok(views.map(|view| self.status_of(&view)).collect())
    }

    fn status_of(&self, view: &TaskView<'_>) -> TaskStatus {
        let attempt = view.life.state.attempt().map(|attempt| attempt.number);
        let running = attempt.and_then(|attempt| self.running.get(&(view.id, attempt)));
        TaskStatus {
            id: view.id,
            job: view.job,
            state: view.life.state,
            changed: view.life.changed,
            attempts: view.life.attempts,
            failures: view.life.failures,
            preemptions: view.life.preemptions,
            checkpoints: view.life.checkpoint.map_or(0, |last| last.sequence),
            permille: running.map_or(0, Running::permille),
            log_bytes: view.log_bytes,
            usage: view.life.usage,
            error: view.life.error.clone(),
        }
    }

    fn view(&self, task: TaskId) -> Result<TaskView<'_>, WorkerError> {
        let view = self.executor.task(task);
        Ok(view.ok_or(TaskCallError::UnknownTask { task })?)
    }

    pub(super) fn fetch(&mut self, task: TaskId) -> Result<TaskOutput, WorkerError> {
        let view = self.view(task)?;
        match view.life.state {
            State::Succeeded { output } => {
                let usage = view.life.usage;
                let content = self.store.content(output)?;
                let output = content.ok_or(WorkerError::UnknownContent { content: output })?;
                Ok(TaskOutput { output, usage })
            }
            State::Failed => Err(match view.life.error.clone() {
                Some(error) => WorkerError::Task(error),
                None => WorkerError::Lost { task },
            }),
            State::Cancelled => Err(TaskError::Cancelled.into()),
            State::TimedOut => Err(WorkerError::TimedOut { task }),
            State::Lost => Err(WorkerError::Lost { task }),
            State::Skipped => Err(WorkerError::Skipped { task }),
            _ => Err(WorkerError::NotEnded { task }),
        }
    }

    pub(super) fn output(&mut self, task: TaskId, reply: Reply<TaskOutput>) {
        self.then.push(Box::new(move |engine, saved| {
            let fetched = match saved {
                Ok(()) => engine.fetch(task),
                Err(error) => Err(WorkerError::Store(error)),
            };
            if matches!(fetched, Err(WorkerError::NotEnded { .. })) {
                let waiting = engine.ends.entry(task).or_default();
                // Those that do not wait any more would pile up behind somebody who polls.
                waiting.retain(|reply| !reply.is_closed());
                waiting.push(reply);
            } else {
                let _ = reply.send(fetched);
            }
        }));
    }

    pub(super) fn history(&mut self, task: TaskId) -> Result<Vec<Transition>, WorkerError> {
        self.view(task)?;
        Ok(self.store.history(task)?)
    }

    pub(super) fn log(
        &mut self,
        task: TaskId,
        from: u64,
        bytes_max: usize,
        reply: Reply<WorkerLog>,
    ) {
        self.then.push(Box::new(move |engine, saved| {
            if let Err(error) = saved {
                let _ = reply.send(Err(WorkerError::Store(error)));
                return;
            }
            let reader = LogReader {
                from,
                bytes_max,
                reply,
            };
            engine.read_log(task, reader);
        }));
    }

    fn read_log(&mut self, task: TaskId, reader: LogReader) {
        let read = self.view(task).and_then(|view| {
            let (ended, length) = (view.life.state.is_terminal(), view.log_bytes);
            let bytes = self.store.log(task, reader.from, reader.bytes_max)?;
            let next = reader.from.saturating_add(bytes.len() as u64);
            Ok(WorkerLog {
                bytes,
                next,
                ended: ended && next >= length,
            })
        });
        match read {
            Ok(log) if log.bytes.is_empty() && !log.ended && reader.bytes_max > 0 => {
                let waiting = self.logs.entry(task).or_default();
                waiting.retain(|reader| !reader.reply.is_closed());
                waiting.push(reader);
            }
            read => {
                let _ = reader.reply.send(read);
            }
        }
    }

    pub(super) fn progress(&mut self, job: JobId, seen: Option<Progress>, reply: Reply<Progress>) {
        self.then.push(Box::new(move |engine, saved| {
            let now = engine.executor.progress(job);
            let answer = match (saved, now) {
                (Err(error), _) => Err(WorkerError::Store(error)),
                (Ok(()), None) => Err(TaskCallError::UnknownJob { job }.into()),
                (Ok(()), Some(now)) => match seen {
                    Some(seen) if seen == now && now.open > 0 => {
                        let waiting = engine.progresses.entry(job).or_default();
                        waiting.retain(|(_, reply)| !reply.is_closed());
                        waiting.push((seen, reply));
                        return;
                    }
                    _ => Ok(now),
                },
            };
            let _ = reply.send(answer);
        }));
    }

    pub(super) fn cancel(&mut self, task: TaskId, reply: Reply<()>) {
        let now = self.clock.now();
        match self.executor.cancel(task, now) {
            Ok(()) => self.read(reply, |_| Ok(())),
            Err(error) => {
                let _ = reply.send(Err(error.into()));
            }
        }
    }

    pub(super) fn cancel_job(&mut self, job: JobId, reply: Reply<usize>) {
        let now = self.clock.now();
        match self.executor.cancel_job(job, now) {
            Ok(count) => self.read(reply, move |_| Ok(count)),
            Err(error) => {
                let _ = reply.send(Err(error.into()));
            }
        }
    }

    pub(super) fn forget_ended(&mut self, before: UnixMillis, reply: Reply<usize>) {
        let count = self.executor.forget_ended(before);
        self.read(reply, move |engine| {
            engine.store.sweep_content(before)?;
            Ok(count)
        });
    }

    pub(super) fn set_policy(&mut self, policy: HarvestPolicy) -> Result<(), WorkerError> {
        let now = self.clock.now();
        let Some(harvest) = &mut self.harvest else {
            return Ok(());
        };
        match &mut harvest.harvester {
            Some(harvester) => harvest.answer = Some(harvester.set_policy(policy, now)?),
            None => {
                policy.validate()?;
                harvest.policy = Some(policy);
            }
        }
        self.obey();
        Ok(())
    }

    pub(super) fn status(&mut self, reply: Reply<WorkerStatus>) {
        self.then.push(Box::new(move |engine, saved| {
            let now = engine.clock.now();
            let harvest = engine.harvest.as_ref();
            let harvester = harvest.and_then(|harvest| harvest.harvester.as_ref());
            let _ = reply.send(Ok(WorkerStatus {
                permission: engine.executor.permission(),
                device: harvest.and_then(|harvest| harvest.device.clone()),
                answer: harvest.and_then(|harvest| harvest.answer.clone()),
                record: harvester.map(|harvester| harvester.record(now)),
                readings: harvest.map_or(0, |harvest| harvest.seen),
                probe_error: harvest.and_then(|harvest| harvest.error.clone()),
                store_error: saved.err(),
                open: engine.executor.open(),
                queued: engine.executor.queued(),
                running: engine.running.values().filter(|it| it.is_taken()).count(),
            }));
        }));
    }

    /// Looks at the last reading, if it is new, and at the time.
    fn read_device(&mut self) {
        let (now, wall) = (self.clock.now(), self.clock.unix_now());
        let Some(harvest) = &mut self.harvest else {
            return;
        };
        let count = harvest.probe.wait(0, Duration::ZERO);
        if count > harvest.seen
            && let Some(reading) = harvest.probe.latest()
        {
            harvest.seen = count;
            harvest.read(reading, now, wall);
        } else if let Some(harvester) = &mut harvest.harvester
            && harvester.poll_timeout().is_some_and(|due| due <= now)
        {
            harvest.answer = Some(harvester.handle_timeout(now));
        }
        self.obey();
    }

    /// Lets the executor know what the harvester says.
    fn obey(&mut self) {
        let now = self.clock.now();
        let whole = self.whole_budget();
        let Some(harvest) = &mut self.harvest else {
            return;
        };
        let (cores, shared_by) = (harvest.cores, harvest.shared_by);
        let Some(harvester) = &mut harvest.harvester else {
            return;
        };
        if let Some(order) = harvester.poll_command() {
            let permission = match order {
                Order::Run(budget) => Permission::Run(part(whole, &budget, cores, shared_by)),
                Order::Suspend => Permission::Suspend,
                Order::Checkpoint { .. } => Permission::Vacate,
                Order::Kill => Permission::Stop,
            };
            Self::permit_with(&mut self.executor, &self.threads, permission, now);
        }
        let state = harvester.state();
        let old = now.duration_since(harvest.written_at) >= RECORD_EVERY;
        if harvest.state_written != Some(state) || old {
            let record = harvester.record(now).encode();
            // What is not written is tried again with the next reading.
            if !self.closed && self.store.put_harvest(&record).is_ok() {
                harvest.state_written = Some(state);
                harvest.written_at = now;
            }
        }
    }

    /// Tells the harvester when the last task has made way.
    fn vacated(&mut self) {
        let now = self.clock.now();
        let Some(harvest) = &mut self.harvest else {
            return;
        };
        if let Some(harvester) = &mut harvest.harvester
            && harvester.state() == HarvestState::Vacating
            && self.running.is_empty()
        {
            harvest.answer = Some(harvester.handle_vacated(now));
            self.obey();
        }
    }

    fn whole_budget(&self) -> Budget {
        Budget {
            slots: self.config.slots,
            memory_bytes: self.config.memory_bytes,
            cpu_permille: 1_000,
            bits_per_second: u64::MAX,
        }
    }
}

impl Harvest {
    fn new(
        harvest: WorkerHarvest,
        store: &TaskStore,
        clock: &Arc<dyn Clock>,
        messages: &Sender<Message>,
    ) -> Result<Self, WorkerError> {
        let record = match store.harvest()? {
            Some(bytes) => {
                let record = HarvestRecord::decode(&bytes);
                Some(record.map_err(|_| WorkerError::BadRecord)?)
            }
            None => None,
        };
        let messages = messages.clone();
        let probe = ProbeThread::start_with(
            harvest.probe,
            harvest.reading_every,
            Arc::clone(clock),
            move || {
                let _ = messages.send(Message::HasRead);
            },
        );
        Ok(Self {
            probe: probe.map_err(|error| WorkerError::Thread(Arc::new(error)))?,
            policy: harvest.policy,
            harvester: None,
            record,
            answer: None,
            device: None,
            shared_by: harvest.shared_by,
            // What is unknown is refused most readily for a phone.
            class: DeviceClass::Phone,
            cores: None,
            error: None,
            seen: 0,
            state_written: None,
            written_at: Instant::ZERO,
        })
    }

    fn read(&mut self, reading: Result<DeviceState, ProbeError>, now: Instant, wall: UnixMillis) {
        let state = match reading {
            Ok(state) => {
                self.error = None;
                self.class = state.class;
                self.cores = state.cpu_cores;
                state
            }
            Err(error) => {
                self.error = Some(error);
                DeviceState::unknown(self.class, now)
            }
        };
        if self.harvester.is_none() {
            if self.error.is_some() {
                // Nothing runs yet, and the class that the policy follows from is not known.
                return;
            }
            let policy = self.policy.take();
            let policy = policy.unwrap_or_else(|| HarvestPolicy::for_class(state.class));
            let record = self.record.take().unwrap_or(HarvestRecord {
                written_at: wall,
                ..HarvestRecord::default()
            });
            let harvester = Harvester::restore(policy, &record, now, wall);
            self.harvester = Some(harvester.expect("policies are checked when they are given"));
        }
        if let Some(harvester) = &mut self.harvester {
            self.answer = Some(harvester.handle_reading(&state, now));
            self.device = Some(state);
        }
    }
}

fn share(permille: u32) -> CpuShare {
    CpuShare::from_permille(u16::try_from(permille).unwrap_or(u16::MAX))
}

/// The part of the worker that a policy lends, one of so many of the device: its share of all
/// processors in as few slots as hold it, each of them slowed down to what is left of a processor.
fn part(
    whole: Budget,
    lent: &fogcompute_harvest::Budget,
    cores: Option<u32>,
    shared_by: NonZeroU16,
) -> Budget {
    let processors = cores.map_or_else(
        || available_parallelism().map_or(1.0, |count| count.get() as f64),
        f64::from,
    );
    // At most as many thousandths as there are in all slots, so it fits.
    let most = f64::from(whole.slots) * 1_000.0;
    let share = lent.cpu_share / f64::from(shared_by.get());
    let permille = (processors * share * 1_000.0).clamp(0.0, most) as u32;
    let slots = permille.div_ceil(1_000).clamp(1, whole.slots);
    Budget {
        slots: if permille == 0 { 0 } else { slots },
        memory_bytes: whole
            .memory_bytes
            .min(lent.memory_bytes / u64::from(shared_by.get())),
        cpu_permille: permille / slots,
        bits_per_second: lent.bandwidth_bits_per_second
            / u64::from(slots)
            / u64::from(shared_by.get()),
    }
}
