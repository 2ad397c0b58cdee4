//! The tasks of one device: kept on disk, run when its owner permits.

mod attempt;
mod engine;
mod error;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::mem;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::{JoinHandle, available_parallelism};
use std::time::Duration;

use fogcompute_base::limits::INPUT_BYTES_MAX;
use fogcompute_base::{AccountId, Clock, JobId, Priority, SystemClock, TaskId, UnixMillis};
use fogcompute_exec::executor::{self, Permission, Progress, Submitted};
use fogcompute_exec::lifecycle::{State, Transition};
use fogcompute_exec::{
    ContentId, Grants, IdempotencyKey, Job, Limits, RetryPolicy, Runtime, RuntimeKind, SpecError,
    Task, TaskOutput, TaskSpec, Usage,
};
use fogcompute_harvest::{
    Answer, DeviceProbe, DeviceState, HarvestPolicy, HarvestRecord, ProbeError,
};
use fogcompute_runtime::{WasmConfig, WasmRuntime};
use fogcompute_store::{Durability, HomeProcess, StoreError};
use tokio::sync::{oneshot, watch};

use self::attempt::Said;
use self::engine::Engine;
pub use self::error::WorkerError;

/// What a job names, to be stored with it.
type Contents = Vec<Arc<[u8]>>;

/// Short tasks that wait for each slot beside the one that runs: more than a disk takes to write down
/// what became of those before.
const AHEAD_PER_SLOT: u32 = 16;

/// How a worker behaves.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The file that keeps tasks, what they name, and the device's sessions; `None` keeps them in
    /// memory, until the worker is dropped.
    pub path: Option<PathBuf>,
    /// When a change counts as written.
    pub durability: Durability,
    /// Most tasks at a time; not 0.
    pub slots: u32,
    /// Memory of all running tasks together, by their limits, in bytes; not 0. A policy may lend
    /// less.
    pub memory_bytes: u64,
    /// How tasks are kept.
    pub tasks: executor::Config,
}

impl Default for WorkerConfig {
    /// In memory, confirmed by the disk if there is one, a slot for each processor, 4 GiB, short tasks
    /// ahead.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Self {
            path: None,
            durability: Durability::Full,
            slots: u32::try_from(processors).unwrap_or(u32::MAX),
            memory_bytes: 4 << 30,
            tasks: executor::Config {
                ahead_per_slot: AHEAD_PER_SLOT,
                ..executor::Config::default()
            },
        }
    }
}

/// Whose policy says when a worker works.
pub struct WorkerHarvest {
    /// The policy; `None` is that of the device's class, see [`HarvestPolicy::for_class`].
    pub policy: Option<HarvestPolicy>,
    /// Reads the device, on a thread of its own.
    pub probe: Box<dyn DeviceProbe>,
    /// From one reading to the next; not 0. With a second, whatever changes is noticed within it.
    pub reading_every: Duration,
    /// Workers that share the device, this one among them: each has its part of what the policy lends
    /// of processors, memory and bandwidth.
    pub shared_by: NonZeroU16,
}

impl WorkerHarvest {
    /// That policy, a reading a second, and the whole device.
    #[must_use]
    pub fn new(policy: Option<HarvestPolicy>, probe: Box<dyn DeviceProbe>) -> Self {
        Self {
            policy,
            probe,
            reading_every: Duration::from_secs(1),
            shared_by: NonZeroU16::MIN,
        }
    }
}

impl fmt::Debug for WorkerHarvest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerHarvest")
            .field("policy", &self.policy)
            .field("reading_every", &self.reading_every)
            .field("shared_by", &self.shared_by)
            .finish_non_exhaustive()
    }
}

/// What a worker runs on.
pub struct WorkerHost {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What runs tasks of each kind.
    pub runtimes: BTreeMap<RuntimeKind, Arc<dyn Runtime>>,
    /// When it may work; `None` is always, with all its slots.
    pub harvest: Option<WorkerHarvest>,
}

impl Default for WorkerHost {
    /// The machine's clock, WebAssembly in wasmi, always.
    fn default() -> Self {
        let wasm: Arc<dyn Runtime> = Arc::new(WasmRuntime::new(WasmConfig::default()));
        Self {
            clock: Arc::new(SystemClock::new()),
            runtimes: BTreeMap::from([(RuntimeKind::wasm(), wasm)]),
            harvest: None,
        }
    }
}

impl fmt::Debug for WorkerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerHost")
            .field("runtimes", &self.runtimes.keys())
            .field("harvest", &self.harvest)
            .finish_non_exhaustive()
    }
}

/// One module that is run on each of some inputs.
#[derive(Clone, Debug)]
pub struct WorkerJob {
    /// Whose it is.
    pub owner: AccountId,
    /// Makes a repeated submission the same one.
    pub key: Option<IdempotencyKey>,
    /// What to run.
    pub module: Arc<[u8]>,
    /// What runs it.
    pub runtime: RuntimeKind,
    /// What it is run on: a task for each.
    pub inputs: Vec<Vec<u8>>,
    /// What each task may use. Of these, `log_bytes` is also what is kept of its log, and `wall` is
    /// how long one attempt may run.
    pub limits: Limits,
    /// What each task may see of its host: at most
    /// [`OPTIONS_BYTES_MAX`](fogcompute_exec::job::OPTIONS_BYTES_MAX) bytes encoded.
    pub grants: Grants,
    /// Which of several waiting tasks goes first.
    pub priority: Priority,
    /// Every task is over so long after the submission.
    pub deadline: Option<Duration>,
    /// How often each is tried.
    pub retry: RetryPolicy,
}

impl WorkerJob {
    /// WebAssembly with the usual limits, the calls for logs, progress and checkpoints, and no
    /// deadline.
    #[must_use]
    pub fn new(module: impl Into<Arc<[u8]>>, inputs: Vec<Vec<u8>>) -> Self {
        Self {
            owner: AccountId::from_bytes([0; AccountId::LEN]),
            key: None,
            module: module.into(),
            runtime: RuntimeKind::wasm(),
            inputs,
            limits: Limits::default(),
            grants: Grants {
                host_calls: true,
                ..Grants::default()
            },
            priority: Priority::default(),
            deadline: None,
            retry: RetryPolicy::default(),
        }
    }

    /// The job, and the content that it names.
    fn into_job(self) -> Result<(Job, Contents), WorkerError> {
        TaskSpec::new(Arc::clone(&self.module), Vec::new(), self.limits)?;
        self.grants.validate()?;
        let too_large = self
            .inputs
            .iter()
            .map(Vec::len)
            .find(|len| *len > INPUT_BYTES_MAX);
        if let Some(actual) = too_large {
            let limit = INPUT_BYTES_MAX;
            return Err(SpecError::InputTooLarge { actual, limit }.into());
        }
        let task = Task {
            runtime: self.runtime,
            options: self.grants.encode(),
            limits: Limits {
                wall: None,
                ..self.limits
            },
            priority: self.priority,
            deadline: self.deadline,
            run_time_max: self.limits.wall,
            retry: self.retry,
            log_bytes_max: u32::try_from(self.limits.log_bytes).unwrap_or(u32::MAX),
            ..Task::wasm(ContentId::of(&self.module), Vec::new())
        };
        let inputs: Vec<Arc<[u8]>> = self.inputs.into_iter().map(Arc::from).collect();
        let names = inputs.iter().map(|input| ContentId::of(input));
        let mut job = Job::map(self.owner, &task, names);
        job.key = self.key;
        Ok((job, [vec![self.module], inputs].concat()))
    }
}

/// A task, as a worker tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskStatus {
    /// Its id.
    pub id: TaskId,
    /// Its job.
    pub job: JobId,
    /// Where it is.
    pub state: State,
    /// When it came there.
    pub changed: UnixMillis,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Attempts that failed or vanished.
    pub failures: u32,
    /// Attempts that made way for the device's owner.
    pub preemptions: u32,
    /// Number of its last checkpoint, from 1; 0 without one.
    pub checkpoints: u64,
    /// How much the running attempt says is done, in thousandths: not to be trusted.
    pub permille: u16,
    /// Log that was kept, in bytes.
    pub log_bytes: u64,
    /// What the attempt that succeeded has used.
    pub usage: Usage,
    /// Why the last attempt failed, if it said so.
    pub error: Option<fogcompute_exec::TaskError>,
}

/// A piece of a task's log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct WorkerLog {
    /// The bytes, whole lines each ended by a line feed unless the log or the piece was cut.
    pub bytes: Vec<u8>,
    /// Where the next piece begins, in bytes from the log's beginning.
    pub next: u64,
    /// Nothing will follow: the task has ended, and this is its log's end.
    pub ended: bool,
}

/// How a worker is.
#[derive(Clone, Debug)]
pub struct WorkerStatus {
    /// What the device lends now.
    pub permission: Permission,
    /// The last reading; `None` without a policy or a reading. What could not be read is unknown.
    pub device: Option<DeviceState>,
    /// What the policy said last, with every reason; `None` without a policy or a reading.
    pub answer: Option<Answer>,
    /// Sessions, rest, quotas and time; `None` without a policy or a reading.
    pub record: Option<HarvestRecord>,
    /// Readings that were looked at, failed ones too.
    pub readings: u64,
    /// Why the last reading failed, if it did. The device is then unknown.
    pub probe_error: Option<ProbeError>,
    /// Why the file cannot be written now, if it cannot.
    pub store_error: Option<Arc<StoreError>>,
    /// Tasks that have not ended.
    pub open: usize,
    /// Tasks that wait for a slot.
    pub queued: usize,
    /// Attempts that a runtime has.
    pub running: usize,
}

/// What the engine's thread is told.
enum Message {
    /// Asked for by a handle. Answered at once, or when everything is on disk.
    Call(Box<dyn FnOnce(&mut Engine) + Send>),
    /// Said by an attempt.
    Said {
        task: TaskId,
        attempt: u32,
        said: Said,
    },
    /// The probe has read.
    HasRead,
    /// Asks the probe to read, and looks at the clock.
    Look,
    Close,
}

type Reply<T> = oneshot::Sender<Result<T, WorkerError>>;

/// What a worker was asked for: await it, or wait for it on a thread.
///
/// Dropping it takes nothing back.
#[derive(Debug)]
pub struct WorkerCall<T> {
    result: oneshot::Receiver<Result<T, WorkerError>>,
    home: HomeProcess,
}

impl<T> WorkerCall<T> {
    /// Waits for the answer on this thread.
    ///
    /// # Errors
    /// [`WorkerError`].
    ///
    /// # Panics
    /// Inside an asynchronous context of tokio: await it there.
    pub fn wait(self) -> Result<T, WorkerError> {
        self.home.check().map_err(|_| WorkerError::Forked)?;
        let result = self.result.blocking_recv();
        result.unwrap_or(Err(WorkerError::Closed))
    }
}

impl<T> Future for WorkerCall<T> {
    type Output = Result<T, WorkerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.home.is_here() {
            return Poll::Ready(Err(WorkerError::Forked));
        }
        let polled = Pin::new(&mut self.result).poll(context);
        polled.map(|result| result.unwrap_or(Err(WorkerError::Closed)))
    }
}

/// Does tasks on this device, when its owner permits: a queue on disk, sandboxes, and a policy that
/// is asked at every reading of the device.
///
/// What is acknowledged is on disk. A worker that is opened again, after a crash too, goes on with
/// its tasks from their last checkpoints. While a policy forbids work, running tasks are slowed
/// down, suspended, or make way; a running task notices within a second of the reading.
///
/// A forked child has none of its threads: there every call fails with [`WorkerError::Forked`].
///
/// ```
/// use fogcompute_node::{Worker, WorkerConfig, WorkerHost, WorkerJob};
///
/// let sum = include_bytes!("../../../../examples/wasm/sum.wasm");
/// let worker = Worker::start(WorkerConfig::default(), WorkerHost::default())?;
/// let job = WorkerJob::new(&sum[..], vec![vec![1, 2], vec![3]]);
/// let submitted = worker.submit(job).wait()?;
/// for (task, sum) in submitted.task_ids().zip([3_u64, 3]) {
///     assert_eq!(worker.output(task).wait()?.output, sum.to_le_bytes());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Worker {
    messages: Sender<Message>,
    engine: Mutex<Option<JoinHandle<()>>>,
    permission: watch::Receiver<Permission>,
    home: HomeProcess,
}

impl Worker {
    /// Opens the file of tasks, and starts what may run.
    ///
    /// # Errors
    /// [`WorkerError::NothingLent`], [`WorkerError::NoInterval`], [`WorkerError::Policy`],
    /// [`WorkerError::Thread`], [`WorkerError::Store`], [`WorkerError::BadRecord`].
    pub fn start(config: WorkerConfig, host: WorkerHost) -> Result<Self, WorkerError> {
        if config.slots == 0 || config.memory_bytes == 0 {
            return Err(WorkerError::NothingLent);
        }
        if let Some(harvest) = &host.harvest {
            if harvest.reading_every.is_zero() {
                return Err(WorkerError::NoInterval);
            }
            if let Some(policy) = &harvest.policy {
                policy.validate()?;
            }
        }
        let (messages, inbox) = channel();
        let (told, permission) = watch::channel(Permission::Stop);
        let engine = Engine::new(config, host, messages.clone(), told)?;
        let thread = std::thread::Builder::new()
            .name("fog-worker".to_owned())
            .spawn(move || engine.run(&inbox))
            .map_err(|error| WorkerError::Thread(Arc::new(error)))?;
        Ok(Self {
            messages,
            engine: Mutex::new(Some(thread)),
            permission,
            home: HomeProcess::here(),
        })
    }

    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Engine, Reply<T>) + Send + 'static,
    ) -> WorkerCall<T> {
        let (reply, result) = oneshot::channel();
        if self.home.is_here() {
            // A closed worker drops the message, and its reply with it.
            let call = Box::new(|engine: &mut Engine| call(engine, reply));
            let _ = self.messages.send(Message::Call(call));
        }
        WorkerCall {
            result,
            home: self.home,
        }
    }

    fn refuse<T>(&self, error: WorkerError) -> WorkerCall<T> {
        let (reply, result) = oneshot::channel();
        let _ = reply.send(Err(error));
        WorkerCall {
            result,
            home: self.home,
        }
    }

    /// Takes a job: one module on each of its inputs. It is acknowledged when it is on disk.
    ///
    /// # Errors
    /// [`WorkerError::Spec`], [`WorkerError::Grants`], [`WorkerError::UnknownRuntime`],
    /// [`WorkerError::Submit`], [`WorkerError::Store`], [`WorkerError::NotStored`],
    /// [`WorkerError::Closed`], [`WorkerError::Forked`].
    pub fn submit(&self, job: WorkerJob) -> WorkerCall<Submitted> {
        match job.into_job() {
            Ok((job, contents)) => self.submit_job(job, contents),
            Err(error) => self.refuse(error),
        }
    }

    /// Takes a job whose tasks may wait for each other, with content that it names and that is not
    /// stored yet. The options of a task are its encoded [`Grants`], or empty.
    ///
    /// # Errors
    /// Those of [`Worker::submit`], and [`WorkerError::UnknownContent`].
    pub fn submit_job(&self, job: Job, contents: Vec<Arc<[u8]>>) -> WorkerCall<Submitted> {
        self.call(move |engine, reply| engine.submit(&job, contents, reply))
    }

    /// A task as it is now.
    ///
    /// # Errors
    /// [`WorkerError::Call`], [`WorkerError::Store`], [`WorkerError::Closed`],
    /// [`WorkerError::Forked`].
    pub fn task(&self, task: TaskId) -> WorkerCall<TaskStatus> {
        self.call(move |engine, reply| engine.read(reply, move |engine| engine.task(task)))
    }

    /// At most `count_max` tasks, in the order in which they were submitted: those behind `after`, or
    /// from the oldest on.
    ///
    /// # Errors
    /// As [`Worker::task`].
    pub fn tasks(&self, after: Option<TaskId>, count_max: usize) -> WorkerCall<Vec<TaskStatus>> {
        self.call(move |engine, reply| {
            engine.read(reply, move |engine| engine.tasks(after, count_max));
        })
    }

    /// How far a job is, as soon as that is something else than `seen`; at once if all its tasks
    /// have ended, or without `seen`.
    ///
    /// # Errors
    /// As [`Worker::task`].
    pub fn progress(&self, job: JobId, seen: Option<Progress>) -> WorkerCall<Progress> {
        self.call(move |engine, reply| engine.progress(job, seen, reply))
    }

    /// Waits until a task has ended, and gives its output.
    ///
    /// # Errors
    /// [`WorkerError::Task`], [`WorkerError::TimedOut`], [`WorkerError::Lost`],
    /// [`WorkerError::Skipped`], and those of [`Worker::task`].
    pub fn output(&self, task: TaskId) -> WorkerCall<TaskOutput> {
        self.call(move |engine, reply| engine.output(task, reply))
    }

    /// The output of a task that has ended.
    ///
    /// # Errors
    /// [`WorkerError::NotEnded`], and those of [`Worker::output`].
    pub fn fetch(&self, task: TaskId) -> WorkerCall<TaskOutput> {
        self.call(move |engine, reply| engine.read(reply, move |engine| engine.fetch(task)))
    }

    /// At most `bytes_max` bytes of a task's log, from byte `from` on: as soon as there are some, or
    /// the task has ended.
    ///
    /// # Errors
    /// As [`Worker::task`].
    pub fn log(&self, task: TaskId, from: u64, bytes_max: usize) -> WorkerCall<WorkerLog> {
        self.call(move |engine, reply| engine.log(task, from, bytes_max, reply))
    }

    /// Every step of a task's life.
    ///
    /// # Errors
    /// As [`Worker::task`].
    pub fn history(&self, task: TaskId) -> WorkerCall<Vec<Transition>> {
        self.call(move |engine, reply| engine.read(reply, move |engine| engine.history(task)))
    }

    /// Ends a task. It is acknowledged when it is on disk that the task cannot succeed any more; what
    /// runs stops within a second. Asking again is fine.
    ///
    /// # Errors
    /// As [`Worker::task`].
    pub fn cancel(&self, task: TaskId) -> WorkerCall<()> {
        self.call(move |engine, reply| engine.cancel(task, reply))
    }

    /// Ends all tasks of a job that have not ended, and says how many they were.
    ///
    /// # Errors
    /// As [`Worker::task`].
    pub fn cancel_job(&self, job: JobId) -> WorkerCall<usize> {
        self.call(move |engine, reply| engine.cancel_job(job, reply))
    }

    /// Forgets jobs that ended before that time, with their logs and with content that nothing names
    /// any more, and says how many they were.
    ///
    /// # Errors
    /// As [`Worker::task`].
    pub fn forget_ended(&self, before: UnixMillis) -> WorkerCall<usize> {
        self.call(move |engine, reply| engine.forget_ended(before, reply))
    }

    /// Goes on under another policy. Without effect on a worker that has none.
    ///
    /// # Errors
    /// [`WorkerError::Policy`], [`WorkerError::Closed`], [`WorkerError::Forked`].
    pub fn set_policy(&self, policy: HarvestPolicy) -> WorkerCall<()> {
        self.call(move |engine, reply| {
            let _ = reply.send(engine.set_policy(policy));
        })
    }

    /// How the worker is. Also tells when the file cannot be written.
    ///
    /// # Errors
    /// [`WorkerError::Closed`], [`WorkerError::Forked`].
    pub fn status(&self) -> WorkerCall<WorkerStatus> {
        self.call(Engine::status)
    }

    /// What the device lends, as it changes, until the worker is closed.
    pub(crate) fn permission(&self) -> watch::Receiver<Permission> {
        self.permission.clone()
    }

    /// Reads the device and looks at the clock now: for hosts that know of a change, and for those
    /// whose clock is not the machine's.
    pub fn look(&self) {
        if self.home.is_here() {
            let _ = self.messages.send(Message::Look);
        }
    }

    /// Stops running tasks, which go on when the worker is started again, and closes the file.
    /// Waits until all that is done; no task outlives it. Closing again does nothing, nor does
    /// closing in a forked child. Dropping the worker closes it.
    pub fn close(&self) {
        if !self.home.is_here() {
            return;
        }
        let _ = self.messages.send(Message::Close);
        let engine = self.engine.lock();
        let engine = engine.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(engine) = engine {
            let _ = engine.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
        if !self.home.is_here() {
            // The memory that tells of the thread may be used for something else by now.
            let engine = self.engine.get_mut();
            mem::forget(engine.unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}
