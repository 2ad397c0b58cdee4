//! A whole fog inside one process.

use std::collections::BTreeMap;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use fogcompute_base::{
    AccountId, Clock, CryptoRng, JobId, NodeId, OsEntropy, Priority, SystemClock, TaskId,
};
use fogcompute_coord::{
    Config, ConfigError, Coordinator, Event, Forgetful, Host, JobSpec, LossReason, NodeView, Offer,
    PrivacyLevel, RegisterError, ReportError, Status, SubmitError, TaskOrder, genesis,
};
use fogcompute_exec::{CancelToken, Runtime, TaskError, TaskOutput, TaskReport, TaskSpec};
use fogcompute_ledger::{Amount, Book, LedgerError};
use fogcompute_runtime::{WasmConfig, WasmRuntime};
use fogcompute_schedule::PlacementError;
use fogcompute_schedule::evolution::Nsga2;
use fogcompute_store::HomeProcess;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::device::measure_speed;

/// Most workers of one fog.
pub const WORKERS_MAX: usize = 1024;

/// Why an in-process fog cannot start or do something.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum FogError {
    /// The number of workers is outside its range.
    #[error("fog of {actual} workers, must have 1 to {max}")]
    Workers {
        /// What was asked for.
        actual: usize,
        /// Most workers.
        max: usize,
    },
    /// Workers that lend no memory can run nothing.
    #[error("workers must lend some memory")]
    NoMemory,
    /// The fog was closed.
    #[error("the fog is closed")]
    Closed,
    /// The fog was made before this process was forked: its threads stayed with the parent.
    #[error("the fog was made before this process was forked")]
    Forked,
    /// The task ended with an error.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The task was given up: every attempt was lost.
    #[error("task {task} was given up")]
    Lost {
        /// The task.
        task: TaskId,
    },
    /// The job was not admitted.
    #[error(transparent)]
    Submit(#[from] SubmitError<LedgerError>),
    /// No worker of the fog can take the task.
    #[error(transparent)]
    Unplaceable(PlacementError),
    /// The ledger refused something.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The sandbox does not work on this machine.
    #[error("self-test of the sandbox: {0}")]
    SelfTest(#[source] TaskError),
    /// A worker could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The coordinator's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The operating system gives no thread.
    #[error("thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// How an in-process fog is made.
#[derive(Clone, Debug)]
pub struct FogConfig {
    /// Worker threads, each a node of its own.
    pub workers: usize,
    /// Credits the fog's owner starts with, to pay its workers from.
    pub endowment: Amount,
    /// Base units a worker asks for 10⁹ fuel. A task costs at least one base unit, however short it
    /// is, unless this is 0: then nothing is paid, and one base unit is held back while it runs.
    pub price_per_gigafuel: Amount,
    /// Memory each worker lends, in bytes; not 0. A task whose limit is higher is refused.
    pub memory_bytes: u64,
    /// Seed of the optimiser that places tasks.
    pub seed: u64,
}

impl Default for FogConfig {
    fn default() -> Self {
        Self {
            workers: 2,
            endowment: Amount::from_credits(1_000_000),
            price_per_gigafuel: Amount::from_credits(1),
            memory_bytes: 1 << 30,
            seed: 0,
        }
    }
}

/// A fog inside this process: a coordinator, worker threads with WASM sandboxes, and a ledger in
/// memory. Tasks are admitted, reserved for, placed, run in the sandbox, and paid for, as in a fog
/// of many machines; no packet leaves the process.
///
/// A forked child has none of its threads: there every call fails with [`FogError::Forked`].
///
/// ```
/// use fogcompute_node::{Fog, FogConfig};
/// use fogcompute_exec::{Limits, TaskSpec};
///
/// let echo = include_bytes!("../../../examples/wasm/echo.wasm");
/// let fog = Fog::new(FogConfig::default())?;
/// let task = fog.submit(TaskSpec::new(&echo[..], b"hello".as_slice(), Limits::default())?)?;
/// assert_eq!(task.wait()?.output, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Fog {
    commands: Sender<Command>,
    engine: Mutex<Option<JoinHandle<()>>>,
    home: HomeProcess,
}

/// A task of a [`Fog`]: wait for it on a thread, await it, or cancel it.
///
/// Dropping it cancels the task, as dropping any future ends its work.
#[derive(Debug)]
pub struct FogTask {
    canceller: FogCanceller,
    /// `None` once the result was taken: nothing is left to cancel.
    result: Option<oneshot::Receiver<Result<TaskOutput, FogError>>>,
}

/// What a fog has done so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FogStats {
    /// Tasks that ended with an output.
    pub succeeded: u64,
    /// Tasks that ended otherwise.
    pub failed: u64,
    /// What the owner can still spend.
    pub available: Amount,
    /// What was paid to workers.
    pub paid: Amount,
}

enum Command {
    Submit {
        task: TaskId,
        spec: TaskSpec,
        reply: Reply,
    },
    Done {
        node: NodeId,
        attempt: u32,
        report: TaskReport,
    },
    Cancel {
        task: TaskId,
    },
    Stats {
        reply: oneshot::Sender<FogStats>,
    },
    Close,
}

type Reply = oneshot::Sender<Result<TaskOutput, FogError>>;

struct Assignment {
    task: TaskId,
    attempt: u32,
    spec: TaskSpec,
    cancel: CancelToken,
}

impl Fog {
    /// Starts a fog: measures this machine's speed, registers the workers, opens the accounts.
    ///
    /// # Errors
    /// [`FogError`], every variant but those of a task.
    pub fn new(config: FogConfig) -> Result<Self, FogError> {
        if config.workers == 0 || config.workers > WORKERS_MAX {
            return Err(FogError::Workers {
                actual: config.workers,
                max: WORKERS_MAX,
            });
        }
        if config.memory_bytes == 0 {
            return Err(FogError::NoMemory);
        }
        Self::start(config)
    }

    #[expect(clippy::needless_pass_by_value, reason = "a configuration is used up")]
    fn start(config: FogConfig) -> Result<Self, FogError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let runtime = Arc::new(WasmRuntime::new(WasmConfig::default()));
        let fuel_per_second = measure_speed(&runtime, &clock).map_err(FogError::SelfTest)?;
        let owner = AccountId::from_bytes(random(&mut OsEntropy));
        let mut bank = Book::new();
        bank.execute(&genesis(owner, config.endowment), clock.unix_now())?;
        let (commands, inbox) = channel();
        let mut engine = Engine {
            rules: Coordinator::new(Config {
                nsga2: Nsga2 {
                    population: 20,
                    generations: 20,
                    ..Nsga2::default()
                },
                ..Config::default()
            })?,
            bank,
            owner,
            rng: rand_core::SeedableRng::seed_from_u64(config.seed),
            clock,
            workers: BTreeMap::new(),
            running: BTreeMap::new(),
            replies: BTreeMap::new(),
            threads: Vec::new(),
            rate: config.price_per_gigafuel,
            stats: FogStats::default(),
        };
        let offer = Offer {
            cpu_millis: 1000,
            memory_bytes: config.memory_bytes,
            fuel_per_second,
            price_per_gigafuel: config.price_per_gigafuel,
            latency_ms: 0.0,
        };
        for _ in 0..config.workers {
            engine.add_worker(offer, &runtime, &commands)?;
        }
        let thread = std::thread::Builder::new()
            .name("fog-engine".to_owned())
            .spawn(move || engine.run(&inbox))
            .map_err(FogError::Thread)?;
        Ok(Self {
            commands,
            engine: Mutex::new(Some(thread)),
            home: HomeProcess::here(),
        })
    }

    fn check_home(&self) -> Result<(), FogError> {
        self.home.check().map_err(|_| FogError::Forked)
    }

    /// Hands a task in.
    ///
    /// # Errors
    /// [`FogError::Closed`], [`FogError::Forked`]. What goes wrong later comes out of the
    /// [`FogTask`].
    pub fn submit(&self, spec: TaskSpec) -> Result<FogTask, FogError> {
        self.check_home()?;
        let id = TaskId::from_bytes(random(&mut OsEntropy));
        let (reply, result) = oneshot::channel();
        self.commands
            .send(Command::Submit {
                task: id,
                spec,
                reply,
            })
            .map_err(|_| FogError::Closed)?;
        let canceller = FogCanceller {
            id,
            commands: self.commands.clone(),
            home: self.home,
        };
        Ok(FogTask {
            canceller,
            result: Some(result),
        })
    }

    /// Runs a task and waits for its output on this thread.
    ///
    /// # Errors
    /// [`FogError`].
    pub fn run(&self, spec: TaskSpec) -> Result<TaskOutput, FogError> {
        self.submit(spec)?.wait()
    }

    /// What the fog has done so far.
    ///
    /// # Errors
    /// [`FogError::Closed`], [`FogError::Forked`].
    pub fn stats(&self) -> Result<FogStats, FogError> {
        self.check_home()?;
        let (reply, stats) = oneshot::channel();
        self.commands
            .send(Command::Stats { reply })
            .map_err(|_| FogError::Closed)?;
        stats.blocking_recv().map_err(|_| FogError::Closed)
    }

    /// Stops the fog: running tasks are cancelled, waiting ones end with [`FogError::Closed`].
    /// Closing again does nothing, nor does closing in a forked child. Dropping the fog closes it.
    pub fn close(&self) {
        if !self.home.is_here() {
            return;
        }
        let _ = self.commands.send(Command::Close);
        let engine = self
            .engine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(engine) = engine {
            let _ = engine.join();
        }
    }
}

impl Drop for Fog {
    fn drop(&mut self) {
        self.close();
        if !self.home.is_here() {
            // The memory that tells of the thread may be used for something else by now.
            let engine = self.engine.get_mut();
            mem::forget(engine.unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

impl FogTask {
    /// The task's id.
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.canceller.id
    }

    /// Asks the task to stop: it ends with [`TaskError::Cancelled`] unless it ends otherwise first.
    pub fn cancel(&self) {
        self.canceller.cancel();
    }

    /// What [`FogTask::cancel`] does, for another thread while this one waits.
    #[must_use]
    pub fn canceller(&self) -> FogCanceller {
        self.canceller.clone()
    }

    /// Waits for the output on this thread.
    ///
    /// # Errors
    /// [`FogError`].
    ///
    /// # Panics
    /// Inside an asynchronous context of tokio: await the task there.
    pub fn wait(mut self) -> Result<TaskOutput, FogError> {
        self.canceller.check_home()?;
        let result = self
            .result
            .take()
            .and_then(|result| result.blocking_recv().ok());
        result.unwrap_or(Err(FogError::Closed))
    }
}

impl Drop for FogTask {
    fn drop(&mut self) {
        if self.result.is_some() {
            self.cancel();
        }
    }
}

/// Cancels one task of a [`Fog`].
#[derive(Clone, Debug)]
pub struct FogCanceller {
    id: TaskId,
    commands: Sender<Command>,
    home: HomeProcess,
}

impl FogCanceller {
    fn check_home(&self) -> Result<(), FogError> {
        self.home.check().map_err(|_| FogError::Forked)
    }

    /// Asks the task to stop. Does nothing in a forked child: the task is its parent's.
    pub fn cancel(&self) {
        if !self.home.is_here() {
            return;
        }
        let _ = self.commands.send(Command::Cancel { task: self.id });
    }
}

impl Future for FogTask {
    type Output = Result<TaskOutput, FogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.canceller.check_home()?;
        let Some(result) = self.result.as_mut() else {
            return Poll::Ready(Err(FogError::Closed));
        };
        let polled = Pin::new(result).poll(context);
        if polled.is_ready() {
            self.result = None;
        }
        polled.map(|result| result.unwrap_or(Err(FogError::Closed)))
    }
}

/// The thread that owns the coordinator.
struct Engine {
    rules: Coordinator,
    bank: Book,
    owner: AccountId,
    rng: rand_chacha::ChaCha20Rng,
    clock: Arc<dyn Clock>,
    workers: BTreeMap<NodeId, Sender<Assignment>>,
    running: BTreeMap<TaskId, CancelToken>,
    replies: BTreeMap<TaskId, Reply>,
    threads: Vec<JoinHandle<()>>,
    rate: Amount,
    stats: FogStats,
}

impl Engine {
    fn add_worker(
        &mut self,
        offer: Offer,
        runtime: &Arc<WasmRuntime>,
        commands: &Sender<Command>,
    ) -> Result<(), FogError> {
        let node = NodeId::from_bytes(random(&mut OsEntropy));
        let (assignments, inbox) = channel::<Assignment>();
        let (runtime, commands) = (Arc::clone(runtime), commands.clone());
        let work = move || {
            while let Ok(Assignment {
                task,
                attempt,
                spec,
                cancel,
            }) = inbox.recv()
            {
                let report = TaskReport {
                    task,
                    result: runtime.run_cancellable(&spec, &cancel),
                };
                if commands
                    .send(Command::Done {
                        node,
                        attempt,
                        report,
                    })
                    .is_err()
                {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("fog-worker".to_owned())
            .spawn(work)
            .map_err(FogError::Thread)?;
        self.threads.push(thread);
        self.workers.insert(node, assignments);
        self.with_rules(|rules, host| rules.register(node, offer, host))?;
        Ok(())
    }

    fn with_rules<T>(
        &mut self,
        call: impl FnOnce(&mut Coordinator, &mut Host<'_, Book, rand_chacha::ChaCha20Rng>) -> T,
    ) -> T {
        let wall = self.clock.unix_now();
        let mut host = Host {
            bank: &mut self.bank,
            rng: &mut self.rng,
            now: self.clock.now(),
            wall,
        };
        let result = call(&mut self.rules, &mut host);
        let flushed = self.rules.flush(&mut Forgetful, &mut self.bank, wall);
        debug_assert!(
            flushed.is_ok(),
            "a ledger in memory is never out of order: {flushed:?}"
        );
        result
    }

    fn run(mut self, inbox: &Receiver<Command>) {
        loop {
            self.handle_events();
            let wait = self
                .rules
                .poll_timeout()
                .map_or(Duration::MAX, |due| due.duration_since(self.clock.now()));
            match inbox.recv_timeout(wait) {
                Ok(Command::Submit { task, spec, reply }) => self.submit(task, spec, reply),
                Ok(Command::Done {
                    node,
                    attempt,
                    report,
                }) => self.done(node, attempt, report),
                Ok(Command::Cancel { task }) => self.cancel(task),
                Ok(Command::Stats { reply }) => {
                    let available = self
                        .bank
                        .account(self.owner)
                        .map_or(Amount(0), fogcompute_ledger::Account::available);
                    let _ = reply.send(FogStats {
                        available,
                        ..self.stats
                    });
                }
                Err(RecvTimeoutError::Timeout) => self.tend(),
                Ok(Command::Close) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        for token in self.running.values() {
            token.cancel();
        }
        self.workers.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }

    /// Workers of this process are alive as long as it is, so they are never silent.
    fn tend(&mut self) {
        let views = self.rules.nodes();
        for view in views
            .into_iter()
            .filter(|view| view.status != Status::Offline)
        {
            let heard = self.with_rules(|rules, host| rules.heartbeat(view.node, view.offer, host));
            debug_assert_eq!(heard, Ok(true), "workers stay registered");
        }
        self.with_rules(Coordinator::handle_timeout);
    }

    fn submit(&mut self, task: TaskId, spec: TaskSpec, reply: Reply) {
        let fuel = spec.limits().fuel;
        let order = TaskOrder {
            id: task,
            fuel_estimate: fuel,
            price_max: Amount(
                (self.rate.0.saturating_mul(u128::from(fuel)) / 1_000_000_000).max(1),
            ),
            spec,
        };
        let job = JobSpec {
            id: JobId::from_bytes(*task.as_bytes()),
            owner: self.owner,
            priority: Priority::default(),
            privacy: PrivacyLevel::Public,
            tasks: vec![order],
        };
        match self.with_rules(|rules, host| rules.submit(job, host)) {
            Ok(()) => {
                self.replies.insert(task, reply);
            }
            Err(error) => {
                let _ = reply.send(Err(error.into()));
            }
        }
    }

    fn done(&mut self, node: NodeId, attempt: u32, report: TaskReport) {
        let reported = self.with_rules(|rules, host| rules.report(node, attempt, report, host));
        debug_assert!(
            matches!(reported, Ok(_) | Err(ReportError::Transition(_))),
            "workers of this process report what they were given, late at most: {reported:?}"
        );
    }

    fn cancel(&mut self, task: TaskId) {
        // One that has ended meanwhile has been answered.
        let _ = self.with_rules(|rules, host| rules.cancel(task, host));
    }

    fn handle_events(&mut self) {
        while let Some(event) = self.rules.poll_event() {
            match event {
                Event::Dispatch {
                    node,
                    task,
                    attempt,
                    spec,
                    ..
                } => {
                    let cancel = CancelToken::new();
                    self.running.insert(task, cancel.clone());
                    let assignment = Assignment {
                        task,
                        attempt,
                        spec,
                        cancel,
                    };
                    let sent = self
                        .workers
                        .get(&node)
                        .is_some_and(|worker| worker.send(assignment).is_ok());
                    if !sent {
                        self.worker_lost(node);
                    }
                }
                Event::TaskEnded {
                    task, result, paid, ..
                } => {
                    self.running.remove(&task);
                    self.stats.paid = Amount(self.stats.paid.0 + paid.0);
                    self.answer(task, result.map_err(FogError::Task));
                }
                // A fog of one process gets no further nodes, so waiting would be for ever.
                Event::Unplaceable { task, error } => {
                    let reply = self.replies.remove(&task);
                    self.cancel(task);
                    if let Some(reply) = reply {
                        let _ = reply.send(Err(FogError::Unplaceable(error)));
                    }
                }
                Event::NotPlaced { error } => self.end_waiting(&error),
                Event::Waiting { .. } => {
                    let views = self.rules.nodes();
                    let lends =
                        |view: &NodeView| view.status != Status::Offline && view.offer.slots() > 0;
                    if !views.iter().any(lends) {
                        self.end_waiting(&PlacementError::NoNodes);
                    }
                }
                Event::AttemptLost { task, .. } => {
                    self.running.remove(&task);
                }
                Event::Revoke { task, .. } => {
                    if let Some(token) = self.running.remove(&task) {
                        token.cancel();
                    }
                }
                Event::TaskCancelled { task } => {
                    self.answer(task, Err(FogError::Task(TaskError::Cancelled)));
                }
                Event::TaskLost { task } => {
                    self.running.remove(&task);
                    self.answer(task, Err(FogError::Lost { task }));
                }
                _ => {}
            }
        }
    }

    /// The thread of a worker has ended, which only a panic can have done.
    fn worker_lost(&mut self, node: NodeId) {
        self.workers.remove(&node);
        self.with_rules(|rules, host| rules.node_lost(node, LossReason::Disconnected, host));
    }

    /// Ends every task that does not run.
    fn end_waiting(&mut self, error: &PlacementError) {
        for (task, reply) in mem::take(&mut self.replies) {
            if self.running.contains_key(&task) {
                self.replies.insert(task, reply);
            } else {
                self.cancel(task);
                let _ = reply.send(Err(FogError::Unplaceable(error.clone())));
            }
        }
    }

    fn answer(&mut self, task: TaskId, result: Result<TaskOutput, FogError>) {
        if result.is_ok() {
            self.stats.succeeded += 1;
        } else {
            self.stats.failed += 1;
        }
        if let Some(reply) = self.replies.remove(&task) {
            let _ = reply.send(result);
        }
    }
}

fn random<const N: usize>(rng: &mut impl CryptoRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_exec::Limits;

    const ECHO: &[u8] = include_bytes!("../../../examples/wasm/echo.wasm");
    const MANDELBROT: &[u8] = include_bytes!("../../../examples/wasm/mandelbrot.wasm");

    fn echo(input: &[u8]) -> TaskSpec {
        TaskSpec::new(ECHO, input, Limits::default()).unwrap()
    }

    /// A task that would run for many seconds.
    fn endless() -> TaskSpec {
        let view = crate::mandelbrot::View {
            width: 1000,
            height: 1000,
            centre_x: 0.0,
            centre_y: 0.0,
            span: 0.01,
            ..Default::default()
        };
        let limits = Limits {
            fuel: 12_000_000_000,
            ..Limits::default()
        };
        TaskSpec::new(MANDELBROT, view.input(0, 1000), limits).unwrap()
    }

    #[test]
    fn many_tasks_run_and_are_paid_for() {
        let fog = Fog::new(FogConfig {
            workers: 3,
            ..FogConfig::default()
        })
        .unwrap();
        let tasks: Vec<_> = (0..50_u8)
            .map(|n| fog.submit(echo(&[n])).unwrap())
            .collect();
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(task.wait().unwrap().output, [n]);
        }
        let stats = fog.stats().unwrap();
        assert_eq!((stats.succeeded, stats.failed), (50, 0));
        assert!(stats.paid > Amount(0));
        let endowment = FogConfig::default().endowment;
        assert_eq!(stats.available.0 + stats.paid.0, endowment.0);
    }

    #[test]
    fn a_failing_task_is_a_typed_error_and_costs_nothing() {
        let fog = Fog::new(FogConfig::default()).unwrap();
        let spec = TaskSpec::new(&b"nonsense"[..], b"".as_slice(), Limits::default()).unwrap();
        assert!(matches!(
            fog.run(spec),
            Err(FogError::Task(TaskError::MalformedModule { .. }))
        ));
        let stats = fog.stats().unwrap();
        assert_eq!((stats.failed, stats.paid), (1, Amount(0)));
        assert_eq!(stats.available, FogConfig::default().endowment);
    }

    #[test]
    fn cancelling_stops_a_task_and_frees_its_worker() {
        let fog = Fog::new(FogConfig {
            workers: 1,
            ..FogConfig::default()
        })
        .unwrap();
        let (running, waiting) = (
            fog.submit(endless()).unwrap(),
            fog.submit(endless()).unwrap(),
        );
        running.cancel();
        assert!(matches!(
            running.wait(),
            Err(FogError::Task(TaskError::Cancelled))
        ));
        // Dropping is cancelling, too: else the echo would wait for it.
        drop(waiting);
        assert_eq!(fog.run(echo(b"free")).unwrap().output, b"free");
    }

    #[test]
    fn closing_ends_what_runs_and_refuses_what_comes() {
        let fog = Fog::new(FogConfig {
            workers: 1,
            ..FogConfig::default()
        })
        .unwrap();
        let task = fog.submit(endless()).unwrap();
        fog.close();
        let ended = task.wait();
        assert!(matches!(ended, Err(FogError::Closed)), "{ended:?}");
        assert!(matches!(fog.submit(echo(b"")), Err(FogError::Closed)));
        assert!(matches!(fog.stats(), Err(FogError::Closed)));
        fog.close();
    }

    #[test]
    fn a_task_no_worker_can_take_and_one_too_dear_are_refused() {
        let fog = Fog::new(FogConfig {
            memory_bytes: 1 << 20,
            ..FogConfig::default()
        })
        .unwrap();
        assert!(matches!(
            fog.run(echo(b"")),
            Err(FogError::Submit(SubmitError::Unroutable { .. }))
        ));
        let poor = FogConfig {
            endowment: Amount(1),
            ..FogConfig::default()
        };
        let fog = Fog::new(poor).unwrap();
        assert!(matches!(
            fog.run(echo(b"")),
            Err(FogError::Submit(SubmitError::Bank(
                LedgerError::InsufficientFunds { .. }
            )))
        ));
    }

    #[test]
    fn a_task_may_cost_more_than_18_credits() {
        let fog = Fog::new(FogConfig::default()).unwrap();
        // Base units of this are more than 64 bits hold.
        let limits = Limits {
            fuel: 1_000_000_000_000,
            ..Limits::default()
        };
        let spec = TaskSpec::new(ECHO, b"dear".as_slice(), limits).unwrap();
        assert_eq!(fog.run(spec).unwrap().output, b"dear");
    }

    #[test]
    fn workers_without_memory_are_refused_and_tasks_nobody_can_run_end() {
        let config = FogConfig {
            memory_bytes: 0,
            ..FogConfig::default()
        };
        assert!(matches!(Fog::new(config.clone()), Err(FogError::NoMemory)));
        // Nor does a task wait for ever in a fog that has lost all its workers.
        let fog = Fog::start(config).unwrap();
        let tasks = [(); 3].map(|()| fog.submit(echo(b"")).unwrap());
        for task in tasks {
            assert!(matches!(
                task.wait(),
                Err(FogError::Unplaceable(PlacementError::NoNodes))
            ));
        }
        let stats = fog.stats().unwrap();
        assert_eq!((stats.succeeded, stats.failed), (0, 3));
        assert_eq!(stats.available, FogConfig::default().endowment);
    }

    #[test]
    fn workers_that_ask_for_nothing_are_paid_nothing() {
        let fog = Fog::new(FogConfig {
            price_per_gigafuel: Amount(0),
            ..FogConfig::default()
        })
        .unwrap();
        assert_eq!(fog.run(echo(b"free")).unwrap().output, b"free");
        let stats = fog.stats().unwrap();
        assert_eq!((stats.succeeded, stats.paid), (1, Amount(0)));
        assert_eq!(stats.available, FogConfig::default().endowment);
    }

    #[test]
    fn a_lone_task_runs_beside_a_long_one() {
        let fog = Fog::new(FogConfig::default()).unwrap();
        // It sat behind the long task whenever the optimiser drew that worker.
        let long = fog.submit(endless()).unwrap();
        for n in 0..20_u8 {
            assert_eq!(fog.run(echo(&[n])).unwrap().output, [n]);
        }
        long.cancel();
        let ended = long.wait();
        assert!(
            matches!(ended, Err(FogError::Task(TaskError::Cancelled))),
            "{ended:?}"
        );
    }

    #[test]
    fn a_forked_child_is_refused_and_waits_for_nothing() {
        let elsewhere = HomeProcess::of(std::process::id() + 1);
        let mut fog = Fog::new(FogConfig::default()).unwrap();
        let mut tasks = [(); 3].map(|()| fog.submit(endless()).unwrap());
        let ours = fog.commands.clone();
        fog.home = elsewhere;
        for task in &mut tasks {
            task.canceller.home = elsewhere;
        }
        let [waited, mut awaited, dropped] = tasks;
        assert!(matches!(fog.submit(echo(b"")), Err(FogError::Forked)));
        assert!(matches!(fog.run(echo(b"")), Err(FogError::Forked)));
        assert!(matches!(fog.stats(), Err(FogError::Forked)));
        assert!(matches!(waited.wait(), Err(FogError::Forked)));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let polled = Pin::new(&mut awaited).poll(&mut context);
        assert!(matches!(polled, Poll::Ready(Err(FogError::Forked))));
        awaited.cancel();
        drop((awaited, dropped));
        fog.close();
        drop(fog);
        // What the parent has goes on all the same, until the parent ends it.
        let (reply, stats) = oneshot::channel();
        ours.send(Command::Stats { reply }).unwrap();
        assert_eq!(stats.blocking_recv().unwrap().failed, 0);
        ours.send(Command::Close).unwrap();
    }

    #[test]
    fn the_number_of_workers_has_limits() {
        for workers in [0, WORKERS_MAX + 1] {
            let refused = Fog::new(FogConfig {
                workers,
                ..FogConfig::default()
            });
            assert!(matches!(refused, Err(FogError::Workers { actual, .. }) if actual == workers));
        }
    }
}
