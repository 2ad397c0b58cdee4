//! The coordinator's state machine.

mod waiting;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::ops::Bound;
use std::time::Duration;

use fogcompute_base::limits::JOB_TASKS_MAX;
use fogcompute_base::{Instant, JobId, NodeId, Priority, Rng, TaskId, UnixMillis};
use fogcompute_exec::{
    ATTEMPTS_MAX, ContentId, TaskError, TaskEvent, TaskOutput, TaskReport, TaskSpec, TaskState,
};
use fogcompute_ledger::{Amount, Operation, Receipt};
use fogcompute_schedule::evolution::Nsga2;
use fogcompute_schedule::{
    self as placement, Constraint, Instance, PlacementError, Preference, Sharing,
};

use crate::admission::Watermarks;
use crate::bank::{Bank, open_node, pay, price, release, reservation_id, reserve};
use crate::breaker::{Breaker, BreakerConfig};
use crate::coordinates::{Coordinate, SampleError};
use crate::detector::{Detector, DetectorConfig, Health};
use crate::error::{
    CancelError, ConfigError, FlushError, Inconsistency, RecoverError, ReportError, SubmitError,
};
use crate::event::{Event, LossReason};
use crate::job::{JobSpec, JobSummary, TaskView};
use crate::journal::{Journal, Record, Stored, StoredNode};
use crate::kind::{NodeKind, PrivacyLevel, Status};
use crate::metrics::Metrics;
use crate::registry::{
    Attempt, Node, NodeView, Offer, OfferError, Outcome, REGISTRY_NODES_MAX, RegisterError,
    Registry,
};
use crate::routing::{Capacity, Request, Router, Strategy};
use crate::task::{TASK_CPU_MILLIS, Task, speed};
use crate::topology::{History, Snapshot};

pub use self::waiting::{WAITING_MAX, WaitReason, Waiting};

/// Most tasks that may be open at once, over all jobs: 128,000.
pub const OPEN_TASKS_MAX: usize = 16 * JOB_TASKS_MAX;

/// Most tasks that have ended and are still remembered. Of older ones the host's store knows more;
/// their ids stay taken, because the ledger remembers them.
pub const ENDED_TASKS_MAX: usize = 100_000;

/// Most jobs of which all tasks have ended that are remembered, if [`Config::ended_jobs_max`] does not
/// say otherwise.
pub const ENDED_JOBS_MAX: usize = 100_000;

/// Least time between two snapshots of the fog: with as many as are kept they reach back an hour and a
/// half.
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_mins(1);

/// The code of [`Status::Offline`].
const OFFLINE: u8 = Status::Offline as u8;

/// Most tasks the optimiser is given at once: as many as a job may have. Others wait until a node
/// has nothing to do.
const TASKS_PLACED_MAX: usize = JOB_TASKS_MAX;

/// How far down the queue a task is looked for that fits while those before it do not. It bounds the
/// work of one decision.
const BACKFILL_MAX: usize = 64;

/// How tasks come to nodes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Placement {
    /// All that wait are placed together, by NSGA-II over five objectives. For few tasks that run
    /// long: it takes milliseconds to seconds each time the fog changes.
    #[default]
    Optimised,
    /// One by one, in their turn, when a node has room. For many short tasks.
    Routed(Strategy),
}

/// How a coordinator behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// How tasks come to nodes.
    pub placement: Placement,
    /// The optimiser that places tasks, if it does.
    pub nsga2: Nsga2,
    /// Which point of its front is taken.
    pub preference: Preference,
    /// Most attempts at one task.
    pub attempts_max: u32,
    /// When a node that is silent is suspect, and when it is gone.
    pub detector: DetectorConfig,
    /// When a node that fails at its tasks is left alone, and for how long.
    pub breaker: BreakerConfig,
    /// Up to how many open tasks more are admitted.
    pub watermarks: Watermarks,
    /// Most jobs of which all tasks have ended that are remembered, the latest. Older ones are known
    /// to the host's store alone: it refuses whoever submits one of those again.
    pub ended_jobs_max: usize,
    /// Shortest lease of an attempt.
    pub lease_min: Duration,
    /// A lease is this many times the estimated run time, if that is longer.
    pub lease_factor: f64,
    /// How long a node may be kept busy by public tasks that it is given ahead of time, so that it
    /// does not wait for the next one after each. It gets one for each processor in any case, unless
    /// this is zero: then none.
    pub ahead: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nsga2: Nsga2 {
                population: 50,
                generations: 100,
                ..Nsga2::default()
            },
            preference: Preference::Knee,
            attempts_max: 5,
            placement: Placement::default(),
            detector: DetectorConfig::default(),
            breaker: BreakerConfig::default(),
            watermarks: Watermarks::default(),
            ended_jobs_max: ENDED_JOBS_MAX,
            lease_min: Duration::from_secs(60),
            lease_factor: 10.0,
            ahead: Duration::from_millis(50),
        }
    }
}

/// What the host lends the coordinator for one call: its ledger, chance, and the time.
#[derive(Debug)]
pub struct Host<'a, B, R> {
    /// Where money is moved.
    pub bank: &'a mut B,
    /// Where the optimiser draws from.
    pub rng: &'a mut R,
    /// Monotonic time.
    pub now: Instant,
    /// Wall time, for the ledger.
    pub wall: UnixMillis,
}

/// What jobs that come together would add to a coordinator.
#[derive(Debug, Default)]
struct Together {
    jobs: BTreeSet<JobId>,
    tasks: BTreeSet<TaskId>,
}

/// Whose turn it is among the tasks that wait: the urgent first, then whoever came first.
type Turn = (Priority, u64, TaskId);

/// What the ledger owes the coordinator.
#[derive(Clone, Debug)]
struct Due {
    /// The task it follows from the end of. `None` for the account of a node.
    task: Option<TaskId>,
    operations: Vec<Operation>,
}

/// See the [crate documentation](crate).
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    /// What places tasks, if the optimiser does not.
    router: Option<Box<dyn Router>>,
    registry: Registry,
    jobs: BTreeMap<JobId, JobSummary>,
    tasks: BTreeMap<TaskId, Task>,
    /// Tasks that have ended, in that order.
    ended: VecDeque<TaskId>,
    /// Jobs that have, in that order.
    ended_jobs: VecDeque<JobId>,
    /// Jobs of which some tasks are remembered no more.
    partial: BTreeSet<JobId>,
    /// Number of the next task.
    arrivals: u64,
    open: usize,
    /// Queued tasks to be placed when a node has nothing to do.
    unplaced: BTreeSet<Turn>,
    /// Of those, the ones for which no node had room when they were routed, nor has had since, but
    /// for those that the registry's index says are better.
    tried: BTreeSet<Turn>,
    /// Tasks that wait at a node.
    queues: BTreeSet<(Turn, NodeId)>,
    /// The node that was last chosen by a router.
    last: Option<NodeId>,
    /// Queued tasks that no node can take, until the fog changes.
    stuck: BTreeSet<Turn>,
    /// Queued tasks that only the mixnet may bring to a node, while it brings nothing.
    hidden: BTreeSet<Turn>,
    events: VecDeque<Event>,
    /// Events that nobody may see before what they follow from is written down and settled.
    withheld: VecDeque<Event>,
    /// What happened since the journal was last written.
    records: Vec<Record>,
    /// What the ledger has to do once the records are written.
    dues: VecDeque<Due>,
    /// Dues that the ledger refuses by its rules. Nothing is lost: what was reserved stays so.
    refused: Vec<Due>,
    /// Counters; the gauges are counted when they are asked for.
    metrics: Metrics,
    /// Where this coordinator is among the nodes.
    coordinate: Coordinate,
    history: History,
    /// When the last snapshot was taken.
    looked: Option<Instant>,
    /// Whether the last [`Coordinator::flush`] failed.
    stalled: bool,
    /// Nodes that were given tasks ahead of time, and perhaps have none left of them.
    ahead: BTreeSet<NodeId>,
    /// Whether the mixnet reaches no node: see [`Coordinator::hold`].
    held: bool,
}

impl Coordinator {
    /// A coordinator of an empty fog.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.nsga2.validate()?;
        config.preference.validate()?;
        if config.attempts_max == 0 {
            return Err(ConfigError::NoAttempts);
        }
        if config.attempts_max > ATTEMPTS_MAX {
            return Err(ConfigError::TooManyAttempts {
                actual: config.attempts_max,
                limit: ATTEMPTS_MAX,
            });
        }
        let detector = Detector::new(config.detector, Instant::ZERO)?;
        let breaker = Breaker::new(config.breaker)?;
        if config.lease_min.is_zero() {
            return Err(ConfigError::NoLease);
        }
        if config.lease_factor.is_nan() || config.lease_factor < 1.0 {
            return Err(ConfigError::LeaseFactor {
                factor: config.lease_factor,
            });
        }
        let strategy = match config.placement {
            Placement::Optimised => None,
            Placement::Routed(strategy) => Some(strategy),
        };
        let router = strategy.map(Strategy::router);
        Ok(Self {
            registry: Registry::new(detector, breaker, strategy),
            config,
            router,
            jobs: BTreeMap::new(),
            tasks: BTreeMap::new(),
            ended: VecDeque::new(),
            ended_jobs: VecDeque::new(),
            partial: BTreeSet::new(),
            arrivals: 0,
            open: 0,
            unplaced: BTreeSet::new(),
            tried: BTreeSet::new(),
            queues: BTreeSet::new(),
            last: None,
            stuck: BTreeSet::new(),
            hidden: BTreeSet::new(),
            events: VecDeque::new(),
            withheld: VecDeque::new(),
            records: Vec::new(),
            dues: VecDeque::new(),
            refused: Vec::new(),
            metrics: Metrics::default(),
            coordinate: Coordinate::default(),
            history: History::default(),
            looked: None,
            stalled: false,
            ahead: BTreeSet::new(),
            held: false,
        })
    }

    /// The coordinator that a store remembers. Nodes are lost until they register. Whoever was running
    /// a task may still be at it, or have done it: each attempt has a lease again from `now`, may
    /// report, and is dispatched once more, as the same attempt, when its node registers.
    ///
    /// What the ledger had still to do for tasks that have ended is done by the next
    /// [`Coordinator::flush`], once more if it had been done: the ledger does nothing twice. Their
    /// ends are told again then, and those of their jobs: a host may hear of one twice, of none never.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub fn recover(config: Config, stored: Stored, now: Instant) -> Result<Self, RecoverError> {
        let mut this = Self::new(config)?;
        this.arrivals = stored.arrivals;
        for node in stored.nodes {
            this.registry.remember(node, now);
        }
        for job in stored.jobs {
            if this.jobs.insert(job.id, job.summary).is_some() {
                return Err(RecoverError::JobTwice { job: job.id });
            }
            // A store gives no task that has ended and is settled.
            this.partial.insert(job.id);
            if job.summary.open == 0 {
                this.ended_jobs.push_back(job.id);
            }
        }
        let mut ended_jobs = BTreeMap::new();
        for mut stored in stored.tasks {
            let id = stored.id;
            // Whether anybody has heard of it is not known.
            let end = stored.end();
            if !this.jobs.contains_key(&stored.job) {
                return Err(RecoverError::NoJob { task: id });
            }
            let task = Task {
                job: stored.job,
                priority: stored.priority,
                privacy: stored.privacy,
                arrival: stored.arrival,
                memory_bytes: stored
                    .spec
                    .as_ref()
                    .map_or(0, |spec| spec.limits().memory_bytes),
                spec: stored.spec,
                fuel_estimate: stored.fuel_estimate,
                price_max: stored.price_max,
                state: stored.state,
                attempts: match stored.state {
                    TaskState::Submitted => return Err(RecoverError::State { task: id }),
                    TaskState::Queued { attempts } | TaskState::Lost { attempts } => attempts,
                    TaskState::Assigned { attempt, .. } => attempt,
                    TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled => 0,
                },
                avoid: stored.avoid,
                told: None,
                paid: stored.paid,
                lost: None,
            };
            if task.state.is_terminal() {
                this.withheld.extend(end);
                if let Some(summary) = this.jobs.get(&stored.job)
                    && summary.open == 0
                {
                    ended_jobs.insert(stored.job, *summary);
                }
                let operations = match stored.payee {
                    Some(node) => pay(id, node, stored.paid),
                    None => vec![release(id)],
                };
                this.dues.push_back(Due {
                    task: Some(id),
                    operations,
                });
                this.ended.push_back(id);
            } else {
                if task.spec.is_none() {
                    return Err(RecoverError::NoSpec { task: id });
                }
                this.open += 1;
            }
            match task.state {
                TaskState::Queued { .. } => {
                    this.unplaced.insert(task.turn(id));
                }
                TaskState::Assigned { node, attempt } => {
                    this.registry.remember(StoredNode::new(node), now);
                    // Its speed is not known before it registers.
                    let lease = now + this.config.lease_min.max(this.config.detector.timeout);
                    let remembered = this.registry.update(node, |known| {
                        let held = Attempt {
                            number: attempt,
                            lease,
                            memory_bytes: task.memory_bytes,
                            price_per_gigafuel: stored.price_per_gigafuel,
                            dispatched: false,
                            inherited: true,
                            permit: known.breaker.begin(now),
                            fuel_estimate: task.fuel_estimate,
                            // What it has not begun is not known. With time, all of it gets slots.
                            ahead: false,
                            recalled: false,
                        };
                        known.begin(id, held);
                    });
                    if remembered.is_none() {
                        return Err(RecoverError::NoNode { task: id });
                    }
                }
                _ => {}
            }
            if this.tasks.insert(id, task).is_some() {
                return Err(RecoverError::TaskTwice { task: id });
            }
        }
        let ended = ended_jobs.into_iter();
        this.withheld
            .extend(ended.map(|(job, summary)| Event::JobEnded { job, summary }));
        this.forget_jobs();
        Ok(this)
    }

    /// Writes down what has happened since the last call, lets the ledger do what follows from it,
    /// and releases the events that depend on it: nobody hears of anything that a crash could undo.
    ///
    /// Call it after every input, or after as many as come together: one call costs the host one
    /// transaction of its journal and one of its ledger.
    ///
    /// # Errors
    /// [`FlushError`]. Nothing is lost: call again. Until a call succeeds no event comes out and no
    /// job is admitted.
    pub fn flush<J: Journal, B: Bank>(
        &mut self,
        journal: &mut J,
        bank: &mut B,
        wall: UnixMillis,
    ) -> Result<(), FlushError<J::Error, B::Error>> {
        let written = self.write_down(journal, bank, wall);
        self.stalled = written.is_err();
        self.metrics.flushes_failed += u64::from(self.stalled);
        written?;
        self.events.append(&mut self.withheld);
        Ok(())
    }

    fn write_down<J: Journal, B: Bank>(
        &mut self,
        journal: &mut J,
        bank: &mut B,
        wall: UnixMillis,
    ) -> Result<(), FlushError<J::Error, B::Error>> {
        if !self.records.is_empty() {
            journal
                .commit(&self.records, wall)
                .map_err(FlushError::Journal)?;
            self.records.clear();
        }
        self.settle(bank, wall).map_err(FlushError::Bank)
    }

    /// Whether a call of [`Coordinator::flush`] has something to do.
    #[must_use]
    pub fn needs_flush(&self) -> bool {
        !(self.records.is_empty() && self.dues.is_empty() && self.withheld.is_empty())
    }

    /// Tasks that have ended and whose money the ledger refuses to move by its rules, for instance
    /// because a node's account is closed. It stays reserved.
    pub fn unsettled(&self) -> impl Iterator<Item = TaskId> {
        self.refused.iter().filter_map(|due| due.task)
    }

    /// Asks the ledger again for what it refused: something may have changed.
    pub fn settle_again(&mut self) {
        self.dues.extend(self.refused.drain(..));
    }

    /// Lets the ledger do what is due: all of it in one batch, or, if it refuses that, one by one.
    fn settle<B: Bank>(&mut self, bank: &mut B, wall: UnixMillis) -> Result<(), B::Error> {
        if self.dues.is_empty() {
            return Ok(());
        }
        let batch: Vec<_> = self
            .dues
            .iter()
            .flat_map(|due| due.operations.iter().cloned())
            .collect();
        match bank.execute(&batch, wall) {
            Ok(_) => {
                while let Some(due) = self.dues.pop_front() {
                    self.settled(&due);
                }
                return Ok(());
            }
            Err(error) if !B::is_refusal(&error) => return Err(error),
            Err(_) => {}
        }
        while let Some(due) = self.dues.front() {
            match bank.execute(&due.operations, wall) {
                Ok(_) => {
                    if let Some(due) = self.dues.pop_front() {
                        self.settled(&due);
                    }
                }
                Err(error) if B::is_refusal(&error) => {
                    let Some(due) = self.dues.pop_front() else {
                        break;
                    };
                    if let Some(task) = due.task {
                        self.metrics.settlements_refused += 1;
                        self.withheld.push_back(Event::SettlementRefused { task });
                    }
                    self.refused.push(due);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn settled(&mut self, due: &Due) {
        self.metrics.settlements += u64::from(due.task.is_some());
        // Written with whatever comes next: asking the ledger twice does no harm.
        self.records
            .extend(due.task.map(|task| Record::Settled { task }));
    }

    /// The next thing the host should do or know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Coordinator::handle_timeout`] next has something to do.
    ///
    /// Complexity: O(1) amortised.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.registry.index().next_due()
    }

    /// Every node ever seen.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeView> {
        self.registry.views()
    }

    /// What it counts, for whoever shows it. [`Metrics::calls_refused`],
    /// [`Metrics::links_refused`] and [`Metrics::connections_displaced`] are the host's to count.
    ///
    /// Complexity: O(tasks that wait).
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let mut queue_depth = [0; 5];
        let waiting = [&self.unplaced, &self.stuck, &self.hidden];
        let waiting = waiting.into_iter().flatten().map(|turn| turn.0);
        for priority in waiting.chain(self.queues.iter().map(|(turn, _)| turn.0)) {
            queue_depth[priority as usize] += 1;
        }
        let index = self.registry.index();
        Metrics {
            nodes: index.statuses().map(|count| count as u64),
            queue_depth,
            tasks_open: self.open as u64,
            tasks_queued: queue_depth.iter().sum(),
            tasks_running: index.running() as u64,
            settlements_due: self.dues.len() as u64,
            ..self.metrics
        }
    }

    /// The fog as it is now.
    ///
    /// Complexity: O(nodes).
    #[must_use]
    pub fn topology(&self, at: UnixMillis) -> Snapshot {
        let nodes = self.registry.nodes().iter();
        Snapshot::of(at, nodes.map(|(id, node)| node.candidate(*id)))
    }

    /// The fog as it was: a snapshot is taken with inputs, at most one in [`SNAPSHOT_INTERVAL`].
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    fn take_snapshot(&mut self, now: Instant, wall: UnixMillis) {
        let soon = |last: Instant| now < last + SNAPSHOT_INTERVAL;
        if !self.looked.is_some_and(soon) {
            self.looked = Some(now);
            self.history.push(self.topology(wall));
        }
    }

    /// Says what kind of node one is; until then it is there to compute. Kinds that run no tasks get
    /// none: [`NodeKind::runs_tasks`]. Says whether the node is there.
    pub fn classify<B: Bank, R: Rng>(
        &mut self,
        node: NodeId,
        kind: NodeKind,
        host: &mut Host<'_, B, R>,
    ) -> bool {
        if !self.is_there(node) {
            return false;
        }
        let was = self
            .registry
            .update(node, |known| mem::replace(&mut known.kind, kind));
        if was != Some(kind) {
            self.place(host);
        }
        true
    }

    /// Where this coordinator is among the nodes, as far as round trips have told.
    #[must_use]
    pub const fn coordinate(&self) -> &Coordinate {
        &self.coordinate
    }

    /// A message went to a node and back in that time. `place` is where the node says it is, if it
    /// says so; if not, its place is worked out from here. Routing by proximity goes by the places
    /// instead of by the last round trip from then on. Says whether the node is there.
    ///
    /// # Errors
    /// [`SampleError`]: such a round trip is no measurement, and nothing has changed.
    pub fn measured<R: Rng>(
        &mut self,
        node: NodeId,
        round_trip: Duration,
        place: Option<Coordinate>,
        rng: &mut R,
    ) -> Result<bool, SampleError> {
        if !self.is_there(node) {
            return Ok(false);
        }
        let rtt_ms = round_trip.as_secs_f64() * 1e3;
        let known = self.registry.nodes().get(&node);
        let before = known.and_then(|known| known.place).map(|(place, _)| place);
        let mut there = place.or(before).unwrap_or_default();
        let here = self.coordinate;
        self.coordinate.update(rtt_ms, &there, rng)?;
        if place.is_none() {
            there.update(rtt_ms, &here, rng)?;
        }
        let distance_ms = self.coordinate.distance_ms(&there);
        self.registry
            .update(node, |known| known.place = Some((there, distance_ms)));
        Ok(true)
    }

    /// What became of a job so far. `None` also if it ended long ago: see
    /// [`Config::ended_jobs_max`].
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<JobSummary> {
        self.jobs.get(&job).copied()
    }

    /// One task as it stands.
    #[must_use]
    pub fn task(&self, task: TaskId) -> Option<TaskView> {
        self.tasks.get(&task).map(|task| TaskView {
            job: task.job,
            state: task.state,
            attempts: task.attempts,
            paid: task.paid,
        })
    }

    /// Tasks that are placed nowhere: no node that lends compute now can take them, or has room, or
    /// can be reached as privately as they ask for.
    #[must_use]
    pub fn unplaced(&self) -> usize {
        self.unplaced.len() + self.stuck.len() + self.hidden.len()
    }

    /// A node joins, or joins again after it was lost.
    ///
    /// A node that is there already keeps its tasks: it lost its connection, not its memory. If it
    /// did lose them, their leases will end.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn register<B: Bank, R: Rng>(
        &mut self,
        node: NodeId,
        offer: Offer,
        host: &mut Host<'_, B, R>,
    ) -> Result<(), RegisterError> {
        offer.check()?;
        // Before the account: strangers must not fill the ledger when they are not let in.
        if !self.registry.has_room(node) {
            return Err(RegisterError::Full {
                limit: REGISTRY_NODES_MAX,
            });
        }
        // Opening is idempotent: a node that comes back gets its account again.
        self.dues.push_back(Due {
            task: None,
            operations: vec![open_node(node)],
        });
        let inserted = self.registry.insert(node, offer, host.now);
        debug_assert!(inserted, "there was room");
        self.take_snapshot(host.now, host.wall);
        self.dispatch_again(node, host.now);
        // It may have nothing left since before a crash.
        self.tell_drained(node);
        self.place(host);
        Ok(())
    }

    /// Dispatches what a node had when the coordinator was killed: neither knows whether the other
    /// still does. What the node has no room for now is dispatched when it has; until then it may
    /// come all the same, before its lease is over.
    fn dispatch_again(&mut self, id: NodeId, now: Instant) {
        let known = self.registry.nodes().get(&id);
        if !known.is_some_and(|node| !node.lost && node.has_undispatched()) {
            return;
        }
        self.registry.update(id, |node| {
            let started = node.running().values();
            let dispatched = started.filter(|held| held.dispatched && !held.ahead);
            let (mut slots, mut memory_bytes) = (0, 0_u64);
            for held in dispatched {
                slots += 1;
                memory_bytes = memory_bytes.saturating_add(held.memory_bytes);
            }
            let mut again = Vec::new();
            for (&task, held) in node.running() {
                let known = self.tasks.get(&task);
                let Some((known, spec)) =
                    known.and_then(|known| Some((known, known.spec.clone()?)))
                else {
                    continue;
                };
                if self.held && known.privacy.needs_mixnet() {
                    continue;
                }
                let needed = memory_bytes.saturating_add(held.memory_bytes);
                if held.dispatched
                    || slots == node.offer.slots()
                    || needed > node.offer.memory_bytes
                {
                    continue;
                }
                (slots, memory_bytes) = (slots + 1, needed);
                again.push((
                    task,
                    now + lease(&self.config, known.fuel_estimate, &node.offer),
                ));
                self.withheld.push_back(Event::Dispatch {
                    node: id,
                    task,
                    attempt: held.number,
                    privacy: known.privacy,
                    spec,
                });
            }
            for (task, lease) in again {
                node.set_dispatched(task, true);
                node.renew(task, lease);
            }
        });
    }

    /// A node is alive and lends this now. Says whether the node is registered: if not, it was lost
    /// or never seen, and should register.
    ///
    /// # Errors
    /// [`OfferError`]; the node counts as heard of all the same.
    pub fn heartbeat<B: Bank, R: Rng>(
        &mut self,
        node: NodeId,
        offer: Offer,
        host: &mut Host<'_, B, R>,
    ) -> Result<bool, OfferError> {
        if !self.is_there(node) {
            return Ok(false);
        }
        let sensible = offer.check();
        let heard = self.registry.update(node, |known| {
            let was_suspect = known.hear(host.now);
            let before = known.offer;
            if sensible.is_ok() {
                known.offer = offer;
            }
            (was_suspect, before)
        });
        let Some((was_suspect, before)) = heard else {
            return Ok(false);
        };
        sensible?;
        self.withdraw_unsaid(node, host.now);
        self.dispatch_again(node, host.now);
        if self.router.is_some() {
            self.route(host);
            return Ok(true);
        }
        if !was_suspect && offer == before && self.unplaced.is_empty() {
            return Ok(true);
        }
        let tasks = &self.tasks;
        let fits = |id: &TaskId, offer| tasks.get(id).is_some_and(|task| task.fits(offer));
        let known = self.registry.nodes().get(&node);
        let mut waiting = known.into_iter().flat_map(|known| &known.waiting);
        // Placing is expensive, and memory and latency are a little different with every heartbeat.
        // So it is done only if a task should go elsewhere or could come here.
        let changed = was_suspect
            || offer.slots() != before.slots()
            || waiting.any(|id| !fits(id, &offer))
            || self
                .stuck
                .iter()
                .any(|(_, _, id)| fits(id, &offer) && !fits(id, &before));
        if changed {
            self.place(host);
        } else {
            self.dispatch_at(node, host.now);
            self.take_over(vec![node], host.now);
        }
        Ok(true)
    }

    /// A node should leave: it finishes what it has and gets nothing more, until
    /// [`Coordinator::undrain`]. [`Event::Drained`] says when it has nothing left. Says whether it is
    /// there.
    pub fn drain<B: Bank, R: Rng>(&mut self, node: NodeId, host: &mut Host<'_, B, R>) -> bool {
        if !self.is_there(node) {
            return false;
        }
        let was_draining = |known: &mut Node| mem::replace(&mut known.draining, true);
        if self.registry.update(node, was_draining) == Some(false) {
            self.write_draining(node, true);
            self.withdraw_unsaid(node, host.now);
            self.recall(node, usize::MAX);
            self.tell_drained(node);
            // What waits for it goes to others.
            self.place(host);
        }
        true
    }

    /// A node that was drained takes tasks again. Says whether it is there.
    pub fn undrain<B: Bank, R: Rng>(&mut self, node: NodeId, host: &mut Host<'_, B, R>) -> bool {
        if !self.is_there(node) {
            return false;
        }
        let was_draining = |known: &mut Node| mem::take(&mut known.draining);
        if self.registry.update(node, was_draining) == Some(true) {
            self.write_draining(node, false);
            self.place(host);
        }
        true
    }

    fn write_draining(&mut self, node: NodeId, draining: bool) {
        self.records.push(Record::Draining { node, draining });
    }

    fn is_there(&self, node: NodeId) -> bool {
        let known = self.registry.nodes().get(&node);
        known.is_some_and(|known| !known.lost)
    }

    /// While nothing can be written down, nobody hears of what is decided. What a node was to get in
    /// that time and has no room for any more goes elsewhere, as if it had never been decided: it
    /// costs the task nothing but the number of the attempt, which may be written already.
    fn withdraw_unsaid(&mut self, id: NodeId, now: Instant) {
        if !self.stalled {
            return;
        }
        let unsaid: Vec<_> = self.unsaid().filter(|(node, ..)| *node == id).collect();
        for (_, task_id, attempt) in unsaid.into_iter().rev() {
            let node = self.registry.nodes().get(&id);
            let fits = node.is_some_and(|node| {
                !(node.lost || node.draining)
                    && node.running().len() - node.ahead.len() <= node.offer.slots()
                    && node.held(0) <= node.offer.memory_bytes
            });
            if fits || !self.runs(task_id, id, attempt) {
                continue;
            }
            self.withheld.retain(|event| {
                !matches!(event, Event::Dispatch { task, attempt: number, .. }
                    if (*task, *number) == (task_id, attempt))
            });
            let inherited = self.registry.update(id, |node| {
                let held = node.running().get(&task_id);
                let inherited = held.is_some_and(|held| held.inherited);
                if inherited {
                    node.set_dispatched(task_id, false);
                }
                inherited
            });
            // It may be at it since an earlier life: it is only not asked again.
            if inherited == Some(true) {
                continue;
            }
            let Some(task) = self.tasks.get_mut(&task_id) else {
                continue;
            };
            let event = TaskEvent::Requeue { node: id, attempt };
            let Ok(state) = task.state.advance(event) else {
                continue;
            };
            task.state = state;
            let turn = task.turn(task_id);
            self.queue(turn);
            self.records.push(Record::Queued {
                task: task_id,
                attempts: attempt,
                avoid: None,
            });
            self.free_slot(id, task_id, attempt, now);
        }
    }

    /// Attempts of which nobody has heard yet.
    fn unsaid(&self) -> impl Iterator<Item = (NodeId, TaskId, u32)> {
        self.withheld.iter().filter_map(|event| match event {
            Event::Dispatch {
                node,
                task,
                attempt,
                ..
            } => Some((*node, *task, *attempt)),
            _ => None,
        })
    }

    fn tell_drained(&mut self, node: NodeId) {
        let known = self.registry.nodes().get(&node);
        if known.is_some_and(|known| known.draining && known.running().is_empty()) {
            self.withheld.push_back(Event::Drained { node });
        }
    }

    /// The host can send nothing through the mixnet for now. What needs it, by
    /// [`PrivacyLevel::needs_mixnet`], is neither placed nor dispatched until
    /// [`Coordinator::resume`]; such jobs are admitted and wait. What was dispatched before stays
    /// under way, with its lease, and what is public goes on.
    pub fn hold<B: Bank, R: Rng>(&mut self, host: &mut Host<'_, B, R>) {
        if !mem::replace(&mut self.held, true) {
            // Each goes where it belongs now, also what waits at a node.
            self.tried.clear();
            let waiting = mem::take(&mut self.unplaced);
            for turn in waiting {
                self.queue(turn);
            }
            self.place(host);
        }
    }

    /// The host can send through the mixnet again: what waited is placed.
    pub fn resume<B: Bank, R: Rng>(&mut self, host: &mut Host<'_, B, R>) {
        if mem::take(&mut self.held) {
            let there = self.registry.nodes().iter();
            let there: Vec<_> = there
                .filter(|(_, node)| !node.lost && !node.running().is_empty())
                .map(|(id, _)| *id)
                .collect();
            for node in there {
                self.dispatch_again(node, host.now);
            }
            self.unplaced.append(&mut self.hidden);
            self.place(host);
        }
    }

    /// A task waits, for a node or for the mixnet.
    fn queue(&mut self, turn: Turn) {
        let hidden = self.held
            && self
                .tasks
                .get(&turn.2)
                .is_some_and(|task| task.privacy.needs_mixnet());
        if hidden {
            self.hidden.insert(turn);
        } else {
            self.unplaced.insert(turn);
        }
    }

    /// A job comes in: its price is reserved, its tasks are placed. The host gives no job that its
    /// store knows and this has forgotten.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn submit<B: Bank, R: Rng>(
        &mut self,
        job: JobSpec,
        host: &mut Host<'_, B, R>,
    ) -> Result<(), SubmitError<B::Error>> {
        let admitted = self.admit_all(vec![job], host);
        let mut admitted = admitted.into_iter();
        next(&mut admitted)
    }

    /// Jobs come in together: each is admitted or refused as if it came after those before it, and
    /// the ledger is asked for all of their prices at once. One of those before that the ledger
    /// refuses counts for this among the tasks that are open, and its ids are taken.
    ///
    /// # Errors
    /// For each job as [`Coordinator::submit`].
    pub fn submit_all<B: Bank, R: Rng>(
        &mut self,
        jobs: Vec<JobSpec>,
        host: &mut Host<'_, B, R>,
    ) -> Vec<Result<(), SubmitError<B::Error>>> {
        self.admit_all(jobs, host)
    }

    fn admit_all<B: Bank, R: Rng>(
        &mut self,
        jobs: Vec<JobSpec>,
        host: &mut Host<'_, B, R>,
    ) -> Vec<Result<(), SubmitError<B::Error>>> {
        let (mut together, mut escrows) = (Together::default(), Vec::new());
        let mut checked = Vec::with_capacity(jobs.len());
        for job in jobs {
            let is_sound = match self.stalled {
                true => Err(SubmitError::Stalled),
                false => self.check_job(&job, &mut together),
            };
            checked.push(is_sound.map(|()| {
                let orders = job.tasks.iter();
                let escrow = orders.map(|it| reserve(it.id, job.owner, it.price_max));
                escrows.push(escrow.collect());
                job
            }));
        }
        let mut receipts = match escrows.is_empty() {
            true => Vec::new(),
            false => host.bank.execute_group(escrows, host.wall),
        }
        .into_iter();
        let admitted = checked.into_iter().map(|job| {
            let admitted = job.and_then(|job| {
                let receipts = next(&mut receipts).map_err(SubmitError::Bank)?;
                self.admit(job, &receipts, host)
            });
            match &admitted {
                Ok(()) => self.metrics.jobs_admitted += 1,
                Err(error) => {
                    self.metrics.jobs_refused += 1;
                    self.metrics.jobs_shed += u64::from(matches!(error, SubmitError::Shed(_)));
                }
            }
            admitted
        });
        admitted.collect()
    }

    /// Admits a job whose price the ledger holds back.
    fn admit<B: Bank, R: Rng>(
        &mut self,
        job: JobSpec,
        receipts: &[Receipt],
        host: &mut Host<'_, B, R>,
    ) -> Result<(), SubmitError<B::Error>> {
        // What is reserved already was asked for before a crash, and the job was not written down.
        // It is still there in full, so it is this job's. What was spent or released is not.
        let mut spent = None;
        for (order, receipt) in job.tasks.iter().zip(receipts) {
            if receipt.replayed
                && !host
                    .bank
                    .is_reserved(reservation_id(order.id))
                    .map_err(SubmitError::Bank)?
            {
                spent = Some(order.id);
            }
        }
        if let Some(task) = spent {
            let fresh = job.tasks.iter().zip(receipts);
            let undo: Vec<_> = fresh
                .filter(|(_, receipt)| !receipt.replayed)
                .map(|(order, _)| release(order.id))
                .collect();
            if !undo.is_empty() {
                host.bank
                    .execute(&undo, host.wall)
                    .map_err(SubmitError::Bank)?;
            }
            return Err(SubmitError::KnownTask { task });
        }

        self.jobs.insert(job.id, JobSummary::open(&job));
        self.open += job.tasks.len();
        self.withheld.push_back(Event::Admitted { job: job.id });
        let record = Record::Submitted {
            job: job.clone(),
            arrival: self.arrivals,
        };
        self.records.push(record);
        for order in job.tasks {
            let task = Task {
                job: job.id,
                priority: job.priority,
                privacy: job.privacy,
                arrival: self.arrivals,
                memory_bytes: order.spec.limits().memory_bytes,
                spec: Some(order.spec),
                fuel_estimate: order.fuel_estimate,
                price_max: order.price_max,
                state: TaskState::Queued { attempts: 0 },
                attempts: 0,
                avoid: BTreeSet::new(),
                told: None,
                paid: Amount::ZERO,
                lost: None,
            };
            let turn = task.turn(order.id);
            self.tasks.insert(order.id, task);
            self.queue(turn);
            self.arrivals += 1;
        }
        if !self.place_if_idle(None, host) {
            self.tell_waiting();
        }
        Ok(())
    }

    /// Refuses what can be refused without asking the ledger. What passes is `together` with those
    /// that did before it.
    fn check_job<E: std::error::Error + 'static>(
        &self,
        job: &JobSpec,
        together: &mut Together,
    ) -> Result<(), SubmitError<E>> {
        let asked = job.tasks.len();
        if asked == 0 {
            return Err(SubmitError::NoTasks { job: job.id });
        }
        if asked > JOB_TASKS_MAX {
            return Err(SubmitError::TooManyTasks {
                job: job.id,
                actual: asked,
                limit: JOB_TASKS_MAX,
            });
        }
        if self.jobs.contains_key(&job.id) || together.jobs.contains(&job.id) {
            return Err(SubmitError::KnownJob { job: job.id });
        }
        let mut seen = BTreeSet::new();
        for order in &job.tasks {
            let is_known = self.tasks.contains_key(&order.id) || together.tasks.contains(&order.id);
            if is_known || !seen.insert(order.id) {
                return Err(SubmitError::KnownTask { task: order.id });
            }
        }
        let watermarks = &self.config.watermarks;
        watermarks.admit(job.priority, self.open + together.tasks.len(), asked)?;
        self.check_reachable(job)?;
        together.jobs.insert(job.id);
        together.tasks.append(&mut seen);
        Ok(())
    }

    /// A task that no node of the fog could take even if it had nothing else to do is refused: it
    /// would wait for a node that nobody has. As long as there is no node, or one that lends nothing
    /// just now, nobody knows what there will be.
    fn check_reachable<E: std::error::Error + 'static>(
        &self,
        job: &JobSpec,
    ) -> Result<(), SubmitError<E>> {
        let nodes = self.registry.nodes();
        let there = nodes.len() - self.registry.index().statuses()[usize::from(OFFLINE)];
        if there == 0 {
            return Ok(());
        }
        let mut asked = BTreeSet::new();
        for order in &job.tasks {
            // Tasks of a job are often alike.
            let (memory_bytes, fuel) = (order.spec.limits().memory_bytes, order.fuel_estimate);
            if !asked.insert((memory_bytes, fuel, order.price_max)) {
                continue;
            }
            let mut nodes = nodes.iter().filter(|(_, node)| !node.lost);
            let request = Request {
                fuel_estimate: order.fuel_estimate,
                price_max: order.price_max,
                privacy: job.privacy,
                ..Request::new(job.id, needs(order.spec.limits().memory_bytes))
            };
            let candidates = nodes.clone().map(|(id, node)| node.candidate(*id));
            let Err(error) = request.could_fit_any(candidates) else {
                continue;
            };
            if !nodes.any(|(_, node)| node.kind.runs_tasks() && node.offer.slots() == 0) {
                return Err(SubmitError::Unroutable {
                    task: order.id,
                    error,
                });
            }
        }
        Ok(())
    }

    /// A node reports on an attempt. Returns what it was paid.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn report<B: Bank, R: Rng>(
        &mut self,
        node: NodeId,
        attempt: u32,
        report: TaskReport,
        host: &mut Host<'_, B, R>,
    ) -> Result<Amount, ReportError> {
        let id = report.task;
        let Some(task) = self.tasks.get(&id) else {
            self.metrics.reports_refused += 1;
            return Err(ReportError::UnknownTask { task: id });
        };
        let (event, lost) = match &report.result {
            Ok(output) if exceeds_limits(output, task.spec.as_ref()) => (
                TaskEvent::Requeue { node, attempt },
                Some(LossReason::OverLimits),
            ),
            Ok(_) => (TaskEvent::Succeed { node, attempt }, None),
            Err(error) if error.is_deterministic() => (TaskEvent::Fail { node, attempt }, None),
            Err(_) => (
                TaskEvent::Requeue { node, attempt },
                Some(LossReason::GivenBack),
            ),
        };
        let state = match task.state.advance(event) {
            Ok(state) => state,
            Err(error) => {
                self.metrics.reports_refused += 1;
                // The result comes too late, but the node has a slot free again.
                let freed =
                    |known: &mut Node| known.free_slot(id, attempt, Outcome::Nothing, host.now);
                if self.registry.update(node, freed) == Some(true) {
                    self.tell_drained(node);
                    self.dispatch_again(node, host.now);
                    self.place_if_idle(Some(node), host);
                }
                return Err(error.into());
            }
        };
        if let Some(reason) = lost {
            self.lose_attempt(id, node, reason, host.now);
            self.registry.update(node, |known| known.hear(host.now));
            self.dispatch_again(node, host.now);
            self.place(host);
            return if reason == LossReason::OverLimits {
                Err(ReportError::OverLimits { task: id })
            } else {
                Ok(Amount::ZERO)
            };
        }
        let paid = match &report.result {
            Ok(output) => {
                // What the node asked for when it got the task, whatever it asks for now.
                let rate = self
                    .registry
                    .nodes()
                    .get(&node)
                    .and_then(|known| known.running().get(&id))
                    .map_or(Amount::ZERO, |attempt| attempt.price_per_gigafuel);
                // The ledger moves no zero amounts.
                if rate == Amount::ZERO {
                    Amount::ZERO
                } else {
                    price(output.usage.fuel, rate, task.price_max)
                }
            }
            Err(_) => Amount::ZERO,
        };
        let payee = (paid > Amount::ZERO).then_some(node);

        let succeeded = report.result.is_ok();
        let outcome = if succeeded {
            Outcome::Success
        } else {
            Outcome::Nothing
        };
        self.registry.update(node, |known| {
            known.free_slot(id, attempt, outcome, host.now);
            known.hear(host.now);
            // A task that fails on every node says nothing about this one.
            if succeeded {
                let reputation = known.record(true);
                self.records.push(Record::Node { node, reputation });
            }
        });
        let result = Some(report.result.clone());
        self.withheld.push_back(Event::TaskEnded {
            task: id,
            node,
            attempt,
            result: report.result,
            paid,
        });
        self.end_task(id, state, result, payee, paid);
        self.tell_drained(node);
        self.dispatch_again(node, host.now);
        self.place_if_idle(Some(node), host);
        Ok(paid)
    }

    /// A node gives back an attempt that it has not begun, because it was recalled or lends less now.
    /// That is no failure: the task waits again. Says whether the node had that attempt.
    pub fn gave_back<B: Bank, R: Rng>(
        &mut self,
        node: NodeId,
        task: TaskId,
        attempt: u32,
        host: &mut Host<'_, B, R>,
    ) -> bool {
        let known = self.registry.nodes().get(&node);
        let held = known.and_then(|known| known.running().get(&task));
        if held.is_none_or(|held| held.number != attempt) {
            return false;
        }
        if attempt >= self.config.attempts_max && self.runs(task, node, attempt) {
            // A node that gives back whatever it gets must not have it for ever.
            self.lose_attempt(task, node, LossReason::GivenBack, host.now);
            self.dispatch_again(node, host.now);
            self.place_if_idle(Some(node), host);
            return true;
        }
        self.free_slot(node, task, attempt, host.now);
        if let Some(given) = self.tasks.get_mut(&task)
            && let Ok(state) = given.state.advance(TaskEvent::Requeue { node, attempt })
        {
            given.state = state;
            let turn = given.turn(task);
            self.queue(turn);
            self.records.push(Record::Queued {
                task,
                attempts: attempt,
                avoid: None,
            });
            self.withheld.push_back(Event::AttemptLost {
                task,
                node,
                attempt,
                reason: LossReason::GivenBack,
            });
        }
        self.tell_drained(node);
        self.dispatch_again(node, host.now);
        self.place_if_idle(Some(node), host);
        true
    }

    /// Every attempt that a node has: the task, the number of the attempt, and what to do.
    pub fn attempts(
        &self,
        node: NodeId,
    ) -> impl Iterator<Item = (TaskId, u32, PrivacyLevel, &TaskSpec)> {
        let known = self.registry.nodes().get(&node).into_iter();
        known.flat_map(Node::running).filter_map(|(id, held)| {
            let task = self.tasks.get(id)?;
            Some((*id, held.number, task.privacy, task.spec.as_ref()?))
        })
    }

    /// The submitter no longer wants a task: its reservation is released, its attempt revoked.
    ///
    /// # Errors
    /// [`CancelError`].
    pub fn cancel<B: Bank, R: Rng>(
        &mut self,
        id: TaskId,
        host: &mut Host<'_, B, R>,
    ) -> Result<(), CancelError> {
        let Some(task) = self.tasks.get(&id) else {
            return Err(CancelError::UnknownTask { task: id });
        };
        let before = task.state;
        let state = before.advance(TaskEvent::Cancel)?;
        let turn = task.turn(id);
        self.leave_queue(turn);
        let mut waited_at = None;
        if let TaskState::Assigned { node, attempt } = before {
            self.withheld.push_back(Event::Revoke {
                node,
                task: id,
                attempt,
            });
        } else {
            let first = NodeId::from_bytes([0; 32]);
            let mut holders = self.queues.range((turn, first)..);
            let holder = holders.next().filter(|(of, _)| *of == turn);
            if let Some(&(_, node)) = holder {
                self.leave_node(node, turn);
                waited_at = Some(node);
            }
        }
        self.withheld.push_back(Event::TaskCancelled { task: id });
        self.end_unpaid(id, state);
        if waited_at.is_some() {
            // It may have kept smaller ones behind it from starting.
            self.place_if_idle(waited_at, host);
        }
        Ok(())
    }

    /// A node is gone: its tasks go to others, its reputation falls.
    pub fn node_lost<B: Bank, R: Rng>(
        &mut self,
        node: NodeId,
        reason: LossReason,
        host: &mut Host<'_, B, R>,
    ) {
        let known = self.registry.nodes().get(&node);
        if known.is_none_or(|known| known.lost && known.running().is_empty()) {
            return;
        }
        self.take_down(node, reason, host.now);
        self.place(host);
    }

    /// Acts on what is due: silent nodes are suspect, then lost; lapsed leases end their attempts;
    /// nodes that were left alone get another chance.
    pub fn handle_timeout<B: Bank, R: Rng>(&mut self, host: &mut Host<'_, B, R>) {
        let now = host.now;
        let (mut silent, mut lapsed, mut changed) = (Vec::new(), Vec::new(), false);
        // A lease begins when its node can have heard of it.
        let unsaid: BTreeSet<_> = if self.stalled {
            self.unsaid().collect()
        } else {
            BTreeSet::new()
        };
        for id in self.registry.index().due(now) {
            self.registry.update(id, |node| {
                if !node.lost {
                    let health = node.detector.health(now);
                    if health == Health::Dead {
                        silent.push(id);
                    }
                    let suspect = health == Health::Suspect;
                    self.metrics.nodes_suspected += u64::from(suspect && !node.suspect);
                    changed |= mem::replace(&mut node.suspect, suspect) != suspect;
                    let barred = !node.breaker.permits(now);
                    changed |= mem::replace(&mut node.barred, barred) != barred;
                }
                for (task, number) in node.lapsed(now).collect::<Vec<_>>() {
                    if unsaid.contains(&(id, task, number)) {
                        let fuel = self.tasks.get(&task).map_or(0, |task| task.fuel_estimate);
                        node.renew(task, now + lease(&self.config, fuel, &node.offer));
                    } else {
                        lapsed.push((id, task, number));
                    }
                }
            });
        }
        self.take_snapshot(now, host.wall);
        if silent.is_empty() && lapsed.is_empty() && !changed {
            return;
        }
        // All of them before any task is placed again: else it would go to the next that is due.
        for node in silent {
            self.take_down(node, LossReason::Silent, now);
        }
        let freed: BTreeSet<_> = lapsed.iter().map(|(node, ..)| *node).collect();
        for (node, task, attempt) in lapsed {
            if self.runs(task, node, attempt) {
                self.lose_attempt(task, node, LossReason::LeaseExpired, now);
            } else {
                self.free_slot(node, task, attempt, now);
                self.tell_drained(node);
            }
        }
        for node in freed {
            self.dispatch_again(node, now);
        }
        self.place(host);
    }

    /// Ends everything on a node. The caller places the tasks again.
    fn take_down(&mut self, node: NodeId, reason: LossReason, now: Instant) {
        let running = self.registry.update(node, |known| {
            self.metrics.nodes_died += 1;
            if reason == LossReason::Silent {
                let silence = now.duration_since(known.heard).as_millis();
                self.metrics.nodes_silent += 1;
                self.metrics.detection_millis += u64::try_from(silence).unwrap_or(u64::MAX);
            }
            known.lost = true;
            known.suspect = false;
            let running = known.running().iter();
            let running: Vec<_> = running.map(|(task, held)| (*task, held.number)).collect();
            running
        });
        if running.is_none() {
            return;
        }
        self.withdraw_unsaid(node, now);
        for (task, attempt) in running.into_iter().flatten() {
            if self.runs(task, node, attempt) {
                self.lose_attempt(task, node, reason, now);
            } else {
                self.free_slot(node, task, attempt, now);
            }
        }
        self.withheld.push_back(Event::NodeLost { node, reason });
    }

    /// Frees the slot of an attempt that says nothing of its node.
    fn free_slot(&mut self, node: NodeId, task: TaskId, attempt: u32, now: Instant) {
        self.registry.update(node, |known| {
            known.free_slot(task, attempt, Outcome::Nothing, now);
        });
    }

    /// Whether this attempt is the one that may end its task.
    fn runs(&self, task: TaskId, node: NodeId, attempt: u32) -> bool {
        self.tasks
            .get(&task)
            .is_some_and(|task| task.state == TaskState::Assigned { node, attempt })
    }

    /// Ends the running attempt without a result: the task waits again, or is given up.
    fn lose_attempt(&mut self, id: TaskId, node: NodeId, reason: LossReason, now: Instant) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let TaskState::Assigned { attempt, .. } = task.state else {
            return;
        };
        let held = self.registry.nodes().get(&node);
        let held = held.and_then(|known| known.running().get(&id));
        let begun = held.is_none_or(|held| !held.ahead);
        // What was never begun says nothing about the task, nor about the node.
        let give_up = attempt >= self.config.attempts_max && (begun || attempt >= ATTEMPTS_MAX);
        let event = if give_up {
            TaskEvent::Lose
        } else {
            TaskEvent::Requeue { node, attempt }
        };
        let Ok(state) = task.state.advance(event) else {
            return;
        };
        task.avoid.insert(node);
        task.lost = Some(now);
        self.metrics.attempts_lost += 1;
        let outcome = match reason {
            _ if !begun => Outcome::Nothing,
            LossReason::LeaseExpired | LossReason::OverLimits => Outcome::Failure,
            // It left, or lends nothing any more: the tasks it takes it does well.
            LossReason::Disconnected | LossReason::Silent | LossReason::GivenBack => {
                Outcome::Nothing
            }
        };
        self.registry.update(node, |known| {
            let pause = known.breaker.poll_timeout();
            known.free_slot(id, attempt, outcome, now);
            let opened = known
                .breaker
                .poll_timeout()
                .is_some_and(|until| pause != Some(until));
            self.metrics.breakers_opened += u64::from(opened);
            if begun {
                let reputation = known.record(false);
                self.records.push(Record::Node { node, reputation });
            }
        });
        self.withheld.push_back(Event::AttemptLost {
            task: id,
            node,
            attempt,
            reason,
        });
        if reason == LossReason::LeaseExpired {
            // The node is there and may still be at it.
            self.withheld.push_back(Event::Revoke {
                node,
                task: id,
                attempt,
            });
        }
        if give_up {
            self.withheld.push_back(Event::TaskLost { task: id });
            self.end_unpaid(id, state);
        } else {
            task.state = state;
            let turn = task.turn(id);
            self.queue(turn);
            self.records.push(Record::Queued {
                task: id,
                attempts: attempt,
                avoid: Some(node),
            });
        }
        self.tell_drained(node);
    }

    /// Ends a task of which no node returned anything.
    fn end_unpaid(&mut self, id: TaskId, state: TaskState) {
        self.end_task(id, state, None, None, Amount::ZERO);
    }

    /// Brings a task to its end, counts it, and says what the ledger has to do.
    fn end_task(
        &mut self,
        id: TaskId,
        state: TaskState,
        result: Option<Result<TaskOutput, TaskError>>,
        payee: Option<NodeId>,
        paid: Amount,
    ) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        match state {
            TaskState::Succeeded => self.metrics.tasks_succeeded += 1,
            TaskState::Failed => self.metrics.tasks_failed += 1,
            TaskState::Cancelled => self.metrics.tasks_cancelled += 1,
            _ => self.metrics.tasks_lost += 1,
        }
        task.state = state;
        task.paid = paid;
        task.spec = None;
        task.avoid = BTreeSet::new();
        task.told = None;
        self.open -= 1;
        self.ended.push_back(id);
        self.dues.push_back(Due {
            task: Some(id),
            operations: match payee {
                Some(node) => pay(id, node, paid),
                None => vec![release(id)],
            },
        });
        let (job, reserved) = (task.job, task.price_max);
        let Some(summary) = self.jobs.get_mut(&job) else {
            return;
        };
        summary.count_end(state, reserved, paid);
        self.records.push(Record::Ended {
            task: id,
            state,
            result,
            payee,
            paid,
            job,
            summary: *summary,
        });
        if summary.open == 0 {
            self.withheld.push_back(Event::JobEnded {
                job,
                summary: *summary,
            });
            self.ended_jobs.push_back(job);
        }
        if self.ended.len() > ENDED_TASKS_MAX
            && let Some(oldest) = self.ended.pop_front()
            && let Some(forgotten) = self.tasks.remove(&oldest)
            && self.jobs.contains_key(&forgotten.job)
        {
            self.partial.insert(forgotten.job);
        }
        self.forget_jobs();
    }

    /// Of jobs that have ended the latest are remembered.
    fn forget_jobs(&mut self) {
        while self.ended_jobs.len() > self.config.ended_jobs_max
            && let Some(oldest) = self.ended_jobs.pop_front()
        {
            self.jobs.remove(&oldest);
            self.partial.remove(&oldest);
        }
    }

    /// Places every task that is not running, those that wait at a node included: the fog has
    /// changed, and what was best may not be any more.
    fn place<B: Bank, R: Rng>(&mut self, host: &mut Host<'_, B, R>) {
        for turn in mem::take(&mut self.stuck) {
            self.queue(turn);
        }
        if self.router.is_some() {
            self.route(host);
            self.give_ahead(None, host.now);
            return;
        }
        for (turn, node) in mem::take(&mut self.queues) {
            self.registry.update(node, |node| node.waiting.clear());
            self.queue(turn);
        }
        self.place_unplaced(host.rng);
        self.dispatch(host.now);
        let nodes = self.registry.nodes();
        let idle = self.registry.index().idle().iter();
        let idle = idle.filter_map(|id| Some((nodes.get(id)?.offer.fuel_per_second, *id)));
        let mut idle: Vec<_> = idle.collect();
        // The fastest chooses first: the last one is taken first.
        idle.sort_unstable_by_key(|&(speed, id)| (speed, Reverse(id)));
        self.take_over(idle.into_iter().map(|(_, id)| id).collect(), host.now);
        self.recall_for(None);
        self.tell_waiting();
    }

    /// Places tasks only if a node would otherwise stand idle: tasks that come one by one while all
    /// nodes are busy are placed together when the first is free. Says whether it did. `changed` is
    /// the node that has come to have less to do, if one has.
    fn place_if_idle<B: Bank, R: Rng>(
        &mut self,
        changed: Option<NodeId>,
        host: &mut Host<'_, B, R>,
    ) -> bool {
        if self.router.is_some() {
            self.route(host);
            self.give_ahead(changed, host.now);
            return false;
        }
        if let Some(changed) = changed {
            self.dispatch_at(changed, host.now);
            self.take_over(vec![changed], host.now);
        }
        self.recall_for(changed);
        let idle = !self.unplaced.is_empty() && !self.registry.index().idle().is_empty();
        if idle {
            self.place(host);
        }
        idle
    }

    /// Gives the tasks that wait, in their turn, to nodes that have room for them now. One that fits
    /// nowhere lets smaller ones pass, but not many: its turn is not put off for long.
    ///
    /// A task that has found no room is not held against the same nodes again, but only against those
    /// that have more room since.
    fn route<B: Bank, R: Rng>(&mut self, host: &mut Host<'_, B, R>) {
        if self.registry.index().is_as_before() && self.unplaced.len() == self.tried.len() {
            return;
        }
        let Some(mut router) = self.router.take() else {
            return;
        };
        let better = self.registry.index_mut().take_better();
        let (mut passed, mut from) = (0, None);
        while self.registry.index().slots() > 0 {
            let next = match from {
                None => self.unplaced.first(),
                Some(last) => self
                    .unplaced
                    .range((Bound::Excluded(last), Bound::Unbounded))
                    .next(),
            };
            let Some(&turn) = next else {
                break;
            };
            if passed == BACKFILL_MAX {
                // Those from here on were not held against who is better now.
                self.tried.split_off(&turn);
                break;
            }
            from = Some(turn);
            if !self.route_one(router.as_mut(), turn, &better, host) {
                passed += 1;
            }
        }
        self.router = Some(router);
    }

    /// Gives one task to a node, if one has room for it.
    fn route_one<B: Bank, R: Rng>(
        &mut self,
        router: &mut dyn Router,
        turn: Turn,
        better: &[NodeId],
        host: &mut Host<'_, B, R>,
    ) -> bool {
        let id = turn.2;
        let Some((task, spec)) = self
            .tasks
            .get(&id)
            .and_then(|task| Some((task, task.spec.as_ref()?)))
        else {
            debug_assert!(false, "task {id} waits and is not known");
            return false;
        };
        let module = ContentId::from_bytes(*spec.module_digest().as_bytes());
        let content = [(module, spec.module().len() as u64)];
        let request = Request {
            fuel_estimate: task.fuel_estimate,
            price_max: task.price_max,
            privacy: task.privacy,
            content: &content,
            avoid: &task.avoid,
            ..Request::new(task.job, needs(task.memory_bytes))
        };
        let (nodes, index) = (self.registry.nodes(), self.registry.index());
        let mut chosen = if self.tried.contains(&turn) {
            let better = better.iter().filter(|id| {
                let node = nodes.get(id);
                node.is_some_and(|node| node.free_slots() > 0)
            });
            let mut better = better.filter_map(|id| Some(nodes.get(id)?.candidate(*id)));
            router.route(&request, &mut better, host.rng).ok()
        } else {
            index.choose(nodes, router, &request, self.last, host.rng)
        };
        if chosen.is_none() && !task.avoid.is_empty() {
            // Only those that let an attempt lapse can take it now, if any. Better one of them than
            // none, unless another will have room.
            let others = nodes.iter();
            let others = others.filter(|(id, node)| !node.lost && !task.avoid.contains(id));
            let others = others.map(|(id, node)| node.candidate(*id));
            if request.could_fit_any(others).is_err() {
                let anywhere = BTreeSet::new();
                let request = Request {
                    avoid: &anywhere,
                    ..request
                };
                chosen = index.choose(nodes, router, &request, self.last, host.rng);
            }
        }
        let Some(node) = chosen else {
            // Whether it may go back to one that it avoids hangs on all others, and is asked anew.
            if task.avoid.is_empty() {
                self.tried.insert(turn);
            }
            return false;
        };
        self.last = chosen;
        self.leave_queue(turn);
        self.registry.keep(node, module);
        self.start(node, id, host.now)
    }

    /// A node that could take a task that is said to have found no room. Where more has changed than
    /// was looked at yet, nothing is said.
    fn has_room_after_all(&self, turn: Turn) -> Option<NodeId> {
        let task = self.tasks.get(&turn.2)?;
        let request = Request {
            fuel_estimate: task.fuel_estimate,
            price_max: task.price_max,
            privacy: task.privacy,
            avoid: &task.avoid,
            ..Request::new(task.job, needs(task.memory_bytes))
        };
        let nodes = self.registry.nodes().iter();
        let mut nodes = nodes.filter(|_| self.registry.index().is_as_before());
        let room = nodes.find(|(id, node)| request.fits(&node.candidate(**id)).is_ok());
        room.map(|(id, _)| *id)
    }

    /// A task waits no more, unless it waits at a node.
    fn leave_queue(&mut self, turn: Turn) {
        self.unplaced.remove(&turn);
        self.tried.remove(&turn);
        self.stuck.remove(&turn);
        self.hidden.remove(&turn);
    }

    /// A task waits at a node from now on, behind those that do.
    fn wait_at(&mut self, node: NodeId, turn: Turn) {
        self.registry
            .update(node, |known| known.waiting.push_back(turn.2));
        self.queues.insert((turn, node));
    }

    /// A task waits at its node no more.
    fn leave_node(&mut self, node: NodeId, turn: Turn) {
        self.registry
            .update(node, |known| known.waiting.retain(|id| *id != turn.2));
        self.queues.remove(&(turn, node));
    }

    /// Whether a node that has no room for a task may get it all the same, to do it next.
    fn goes_ahead(&self, node: &Node, task: &Task) -> bool {
        task.may_go_ahead(&node.offer) && node.has_room_ahead(task.fuel_estimate, self.config.ahead)
    }

    /// Gives nodes that have no room for public tasks some of those that wait, to be done as soon as
    /// they have. `changed` is the only node with less to do than before; `None` is any.
    fn give_ahead(&mut self, changed: Option<NodeId>, now: Instant) {
        let mut next = self.unplaced.iter().take(BACKFILL_MAX);
        let is_public = |task: &Task| !task.privacy.needs_mixnet();
        if !self.config.ahead.is_zero()
            && next.any(|turn| self.tasks.get(&turn.2).is_some_and(is_public))
        {
            let mut nodes: Vec<_> = match changed {
                Some(node) => vec![node],
                None => self.registry.nodes().keys().copied().collect(),
            };
            // One each, in turns.
            while !nodes.is_empty() && !self.unplaced.is_empty() {
                nodes.retain(|node| self.give_one_ahead(*node, now));
            }
        }
        self.recall_for(changed);
    }

    /// Says whether the node has got one.
    fn give_one_ahead(&mut self, id: NodeId, now: Instant) -> bool {
        let Some(node) = self.registry.nodes().get(&id) else {
            return false;
        };
        let next = self.unplaced.iter().take(BACKFILL_MAX).find(|turn| {
            let task = self.tasks.get(&turn.2);
            task.is_some_and(|task| !task.avoid.contains(&id) && self.goes_ahead(node, task))
        });
        let Some(turn) = next.copied() else {
            return false;
        };
        self.leave_queue(turn);
        self.start(id, turn.2, now)
    }

    /// If a node has nothing more to do, the one that was given most ahead of time is asked for half
    /// of it. `changed` is the only node with less to do than before; `None` is any.
    fn recall_for(&mut self, changed: Option<NodeId>) {
        let nodes = self.registry.nodes();
        let is_idle = match changed {
            Some(node) => nodes.get(&node).is_some_and(Node::is_idle),
            None => !self.registry.index().idle().is_empty(),
        };
        if !is_idle || !self.unplaced.is_empty() {
            return;
        }
        let count = |id: &NodeId| nodes.get(id).map_or(0, |node| node.ahead.len());
        self.ahead.retain(|id| count(id) > 0);
        let most = self.ahead.iter().map(|id| (count(id), *id)).max();
        if let Some((count, node)) = most {
            self.recall(node, count.div_ceil(2));
        }
    }

    /// Asks a node for the last of what it was given ahead of time.
    fn recall(&mut self, id: NodeId, count: usize) {
        let attempts_max = self.config.attempts_max;
        let recalled = self.registry.update(id, |node| {
            let last: Vec<_> = node.ahead.iter().rev().take(count).copied().collect();
            let last = last.into_iter();
            // The last attempt stays where it is.
            last.filter_map(|task| Some((task, node.recall(task, attempts_max)?)))
                .collect::<Vec<_>>()
        });
        for (task, attempt) in recalled.into_iter().flatten() {
            // What was cancelled is revoked already.
            if !self.runs(task, id, attempt) {
                continue;
            }
            self.withheld.push_back(Event::Recall {
                node: id,
                task,
                attempt,
            });
        }
    }

    fn tell_waiting(&mut self) {
        let tasks = self.unplaced();
        if tasks > 0 {
            self.withheld.push_back(Event::Waiting { tasks });
        }
    }

    fn place_unplaced(&mut self, rng: &mut impl Rng) {
        let nodes = self.candidates();
        if nodes.is_empty() || self.unplaced.is_empty() {
            return;
        }
        // The optimiser knows what nodes are, not how long they are busy yet. Where there is a free
        // slot for everybody, nobody is sent to queue.
        let at_once = self.unplaced.len() as u128 <= self.registry.index().slots();
        // Those no node can take are sorted out one by one: one of them would stop all others.
        let mut jobs = Vec::new();
        let mut stuck = Vec::new();
        for &turn in &self.unplaced {
            if jobs.len() == TASKS_PLACED_MAX {
                break;
            }
            match self.placement_job(turn.2, &nodes, at_once) {
                Ok(job) => jobs.push(job),
                Err(error) => stuck.push((turn, error)),
            }
        }
        for (turn, error) in stuck {
            self.unplaced.remove(&turn);
            self.stuck.insert(turn);
            let id = turn.2;
            let Some(task) = self.tasks.get_mut(&id) else {
                continue;
            };
            if task.told.as_ref() != Some(&error) {
                task.told = Some(error.clone());
                self.withheld
                    .push_back(Event::Unplaceable { task: id, error });
            }
        }
        if jobs.is_empty() {
            return;
        }
        let plan = Instance::new(jobs, nodes, Sharing::Queued)
            .and_then(|instance| instance.place(&self.config.nsga2, rng));
        let plan = match plan {
            // A preference that is not valid was refused by `Coordinator::new`.
            Ok(plan) => plan.clone().prefer(self.config.preference).unwrap_or(plan),
            Err(error) => {
                self.withheld.push_back(Event::NotPlaced { error });
                return;
            }
        };
        let assignment = &plan.chosen().assignment;
        for (id, node) in assignment {
            let Some(task) = self.tasks.get_mut(id) else {
                continue;
            };
            task.told = None;
            let turn = task.turn(*id);
            self.leave_queue(turn);
            self.wait_at(*node, turn);
        }
        self.withheld.push_back(Event::Placed {
            tasks: assignment.len(),
            plan,
        });
    }

    fn candidates(&self) -> Vec<placement::Node> {
        self.registry
            .nodes()
            .iter()
            .filter(|(_, node)| node.takes_tasks() && node.offer.slots() > 0)
            .map(|(id, node)| {
                let offer = &node.offer;
                let per_second =
                    price(offer.fuel_per_second, offer.price_per_gigafuel, Amount::MAX);
                placement::Node {
                    speed: speed(offer),
                    latency_ms: offer.latency_ms,
                    trust: node.trust(),
                    price_per_cpu_second: u64::try_from(per_second.0).unwrap_or(u64::MAX),
                    ..placement::Node::new(*id, offer.cpu_millis, offer.memory_bytes)
                }
            })
            .collect()
    }

    /// The task as the optimiser sees it, or why no node can take it. If it should run `at_once`,
    /// nodes where it would have to wait are left out, unless there are no others.
    fn placement_job(
        &self,
        id: TaskId,
        nodes: &[placement::Node],
        at_once: bool,
    ) -> Result<placement::Job, PlacementError> {
        let task = &self.tasks[&id];
        // A node that expects more than may be paid is not asked.
        let too_dear: Vec<_> = nodes
            .iter()
            .map(|node| node.id)
            .filter(|id| task.is_too_dear_at(&self.registry.nodes()[id].offer))
            .collect();
        let alone = |excluded| {
            let job = task.to_placement_job(id, excluded);
            Instance::new(vec![job.clone()], nodes.to_vec(), Sharing::Queued).map(|_| job)
        };
        let busy = nodes
            .iter()
            .map(|node| node.id)
            .filter(|id| at_once && !self.registry.nodes()[id].has_room(task.memory_bytes));
        let mut unwanted = too_dear.clone();
        unwanted.extend(&task.avoid);
        let wanted = unwanted.len();
        unwanted.extend(busy);
        if unwanted.len() > wanted
            && let Ok(job) = alone(unwanted.clone())
        {
            return Ok(job);
        }
        unwanted.truncate(wanted);
        if !task.avoid.is_empty()
            && let Ok(job) = alone(unwanted)
        {
            return Ok(job);
        }
        // Only those that let an attempt lapse can take it, if any: they are asked again.
        alone(too_dear).map_err(blame_cost)
    }

    /// Lets nodes that would stand idle run what waits at others, whoever came first before the
    /// rest. A plan says where tasks queue; it is made with estimates and without knowing how long
    /// nodes are busy, so it is no reason to queue while a slot is free. The last node chooses
    /// first.
    fn take_over(&mut self, mut idle: Vec<NodeId>, now: Instant) {
        while let Some(&id) = idle.last() {
            let Some((turn, holder)) = self.waits_in_vain(id) else {
                idle.pop();
                continue;
            };
            self.leave_node(holder, turn);
            self.wait_at(id, turn);
            self.dispatch_at(id, now);
            // It may have kept smaller ones behind it from starting, and have been the last.
            self.dispatch_at(holder, now);
            idle.insert(0, holder);
        }
    }

    /// Which of the tasks that wait at nodes, the earliest of them, could run at a node that has a
    /// slot nothing waits for.
    fn waits_in_vain(&self, id: NodeId) -> Option<(Turn, NodeId)> {
        let node = self.registry.nodes().get(&id);
        let node = node.filter(|node| node.is_idle())?;
        let could_run = |task: &Task, holder: &NodeId| {
            // Better to wait than to run where an attempt lapsed, unless one lapsed there too.
            let trusted = !task.avoid.contains(&id) || task.avoid.contains(holder);
            trusted && task.fits(&node.offer) && node.has_room(task.memory_bytes)
        };
        self.queues
            .iter()
            .find(|((_, _, task), holder)| could_run(&self.tasks[task], holder))
            .copied()
    }

    /// Gives every free slot its next task. Nobody overtakes at a node: the optimiser counts on it.
    fn dispatch(&mut self, now: Instant) {
        let waited_for: BTreeSet<_> = self.queues.iter().map(|(_, node)| *node).collect();
        for id in waited_for {
            self.dispatch_at(id, now);
        }
    }

    fn dispatch_at(&mut self, id: NodeId, now: Instant) {
        loop {
            let Some(node) = self.registry.nodes().get(&id) else {
                return;
            };
            let next = node.waiting.front();
            let next = next.and_then(|id| Some((*id, self.tasks.get(id)?)));
            let Some((task, known)) = next else {
                return;
            };
            if !node.has_room(known.memory_bytes) && !self.goes_ahead(node, known) {
                return;
            }
            let turn = known.turn(task);
            self.leave_node(id, turn);
            self.start(id, task, now);
        }
    }

    /// Begins an attempt at a node that has room for it, now or ahead of time. Says whether it did.
    fn start(&mut self, id: NodeId, task_id: TaskId, now: Instant) -> bool {
        let Some(task) = self.tasks.get_mut(&task_id) else {
            debug_assert!(false, "task {task_id} is to start and is not known");
            return false;
        };
        let state = task.state.advance(TaskEvent::Assign { node: id });
        let (Ok(state @ TaskState::Assigned { attempt, .. }), Some(spec)) =
            (state, task.spec.clone())
        else {
            debug_assert!(false, "task {task_id} is to start and is {:?}", task.state);
            return false;
        };
        let config = &self.config;
        let mut is_ahead = false;
        let begun = self.registry.update(id, |node| {
            let ahead = !node.has_room(task.memory_bytes);
            is_ahead = ahead;
            // It begins when one of those that run has ended, at the latest with its lease.
            let leases = node.running().values().filter(|held| ahead && !held.ahead);
            let begins = leases.map(|held| held.lease).max().unwrap_or(now);
            let held = Attempt {
                number: attempt,
                lease: begins.max(now) + lease(config, task.fuel_estimate, &node.offer),
                memory_bytes: task.memory_bytes,
                price_per_gigafuel: node.offer.price_per_gigafuel,
                dispatched: true,
                inherited: false,
                permit: node.breaker.begin(now),
                fuel_estimate: task.fuel_estimate,
                ahead,
                recalled: false,
            };
            node.barred = !node.breaker.permits(now);
            node.begin(task_id, held);
            held.price_per_gigafuel
        });
        let Some(price_per_gigafuel) = begun else {
            debug_assert!(false, "node {id} is to get a task and is not known");
            return false;
        };
        if is_ahead {
            self.ahead.insert(id);
        }
        task.state = state;
        task.attempts = attempt;
        self.metrics.tasks_dispatched += 1;
        if let Some(lost) = task.lost.take() {
            let waited = now.duration_since(lost).as_millis();
            self.metrics.attempts_reassigned += 1;
            self.metrics.reassignment_millis += u64::try_from(waited).unwrap_or(u64::MAX);
        }
        self.records.push(Record::Assigned {
            task: task_id,
            node: id,
            attempt,
            price_per_gigafuel,
        });
        self.withheld.push_back(Event::Dispatch {
            node: id,
            task: task_id,
            attempt,
            privacy: task.privacy,
            spec,
        });
        true
    }

    /// Compares everything with everything: for tests and simulations, after every step.
    ///
    /// # Errors
    /// [`Inconsistency`], the first that is found.
    pub fn check(&self) -> Result<(), Inconsistency> {
        let nodes = self.registry.nodes();
        if let Some(node) = self.registry.index().is_true_of(nodes) {
            return Err(Inconsistency::Index { node });
        }
        let mut waiting = BTreeMap::<TaskId, usize>::new();
        for id in nodes.values().flat_map(|node| &node.waiting) {
            *waiting.entry(*id).or_default() += 1;
        }
        for ((_, _, task), node) in &self.queues {
            let known = nodes.get(node);
            if known.is_none_or(|known| !known.waiting.contains(task)) {
                return Err(Inconsistency::Index { node: *node });
            }
        }
        let held: usize = nodes.values().map(|node| node.waiting.len()).sum();
        if held != self.queues.len() || !self.tried.is_subset(&self.unplaced) {
            return Err(Inconsistency::Strays {
                count: held.abs_diff(self.queues.len()),
            });
        }
        let mut named = 0;
        for (&id, task) in &self.tasks {
            let turn = task.turn(id);
            let waits = usize::from(self.unplaced.contains(&turn))
                + usize::from(self.stuck.contains(&turn))
                + usize::from(self.hidden.contains(&turn))
                + waiting.get(&id).copied().unwrap_or(0);
            let holds = |node: &NodeId, number| {
                nodes
                    .get(node)
                    .and_then(|node| node.running().get(&id))
                    .is_some_and(|held| held.number == number)
            };
            let places = match task.state {
                TaskState::Queued { .. } => waits,
                TaskState::Assigned { node, attempt } => usize::from(holds(&node, attempt)),
                _ => 1,
            };
            if places != 1 {
                return Err(Inconsistency::Misplaced {
                    task: id,
                    state: task.state,
                    places,
                });
            }
            if !task.state.is_terminal() {
                named += 1;
            }
        }
        // Slots of cancelled attempts are the only ones whose task is elsewhere.
        let cancelled = nodes
            .values()
            .flat_map(|node| node.running().keys())
            .filter(|id| {
                let task = self.tasks.get(id);
                task.is_some_and(|task| task.state == TaskState::Cancelled)
            })
            .count();
        let held: usize = nodes
            .values()
            .map(|node| node.waiting.len() + node.running().len())
            .sum();
        let count = (held + self.unplaced()).abs_diff(named + cancelled);
        if count > 0 || named != self.open {
            return Err(Inconsistency::Strays { count });
        }
        for &node in nodes.keys() {
            if let Some(((_, _, task), _)) = self.waits_in_vain(node) {
                return Err(Inconsistency::Idle { node, task });
            }
        }
        for turn in &self.tried {
            if let Some(node) = self.has_room_after_all(*turn) {
                let task = turn.2;
                return Err(Inconsistency::Idle { node, task });
            }
        }
        let mut sums = BTreeMap::<JobId, JobSummary>::new();
        for task in self.tasks.values() {
            let sum = sums.entry(task.job).or_default();
            match task.state {
                TaskState::Succeeded => sum.succeeded += 1,
                TaskState::Failed => sum.failed += 1,
                TaskState::Cancelled => sum.cancelled += 1,
                state if state.is_terminal() => sum.lost += 1,
                _ => sum.open += 1,
            }
            if task.state.is_terminal() {
                sum.paid.0 += task.paid.0;
                sum.released.0 += task.price_max.0 - task.paid.0;
            } else {
                sum.reserved.0 += task.price_max.0;
            }
        }
        for (&job, summary) in &self.jobs {
            let sum = sums.get(&job).copied().unwrap_or_default();
            let adds_up = if self.partial.contains(&job) {
                (sum.open, sum.reserved) == (summary.open, summary.reserved)
            } else {
                sum == *summary
            };
            if !adds_up {
                return Err(Inconsistency::Summary { job });
            }
        }
        Ok(())
    }
}

/// The next of results of which there is one for each thing that was asked.
fn next<T>(results: &mut impl Iterator<Item = T>) -> T {
    results
        .next()
        .expect("there is one result for each that was asked")
}

/// What a task takes up: one whole processor, and its memory.
const fn needs(memory_bytes: u64) -> Capacity {
    Capacity {
        cpu_millis: TASK_CPU_MILLIS,
        memory_bytes,
        storage_bytes: 0,
    }
}

/// How long a node may take for a task.
fn lease(config: &Config, fuel_estimate: u64, offer: &Offer) -> Duration {
    let seconds = fuel_estimate as f64 / offer.fuel_per_second.max(1) as f64;
    Duration::try_from_secs_f64(seconds * config.lease_factor)
        .unwrap_or(Duration::MAX)
        .max(config.lease_min)
}

/// Whether a node claims to have used more than the task's limits. A task that has ended has none
/// any more, and no report matters to it.
fn exceeds_limits(output: &TaskOutput, spec: Option<&TaskSpec>) -> bool {
    let usage = &output.usage;
    spec.map(TaskSpec::limits).is_some_and(|limits| {
        usage.fuel > limits.fuel
            || usage.memory_bytes_peak > limits.memory_bytes
            || output.output.len() as u64 > limits.output_bytes
    })
}

/// Nodes that are too dear are excluded before the optimiser sees them; that is told as what it is.
fn blame_cost(mut error: PlacementError) -> PlacementError {
    if let PlacementError::Infeasible {
        removed_by,
        nearest_fails,
        ..
    } = &mut error
    {
        let excluded = mem::take(&mut removed_by[Constraint::Excluded as usize]);
        let cost = &mut removed_by[Constraint::Cost as usize];
        // A node may fail on both.
        *cost = excluded.max(*cost);
        for fails in nearest_fails.iter_mut() {
            if *fails == Constraint::Excluded {
                *fails = Constraint::Cost;
            }
        }
        nearest_fails.sort_unstable();
        nearest_fails.dedup();
    }
    error
}

#[cfg(test)]
mod tests;
