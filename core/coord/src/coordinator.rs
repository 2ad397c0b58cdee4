//! The coordinator's state machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fogcompute_base::limits::JOB_TASKS_MAX;
use fogcompute_base::{Instant, JobId, NodeId, Priority, Rng, TaskId, UnixMillis};
use fogcompute_exec::{TaskEvent, TaskReport, TaskState, TransitionError};
use fogcompute_ledger::Amount;
use fogcompute_schedule::evolution::{ConfigError as Nsga2ConfigError, Nsga2};
use fogcompute_schedule::{
    self as placement, Instance, PlacementError, Preference, PreferenceError, Sharing,
};
use thiserror::Error;

use crate::bank::{Bank, open_node, pay, price, release, reserve};
use crate::event::{Event, LossReason};
use crate::job::{JobSpec, JobSummary, TaskOrder, TaskView};
use crate::registry::{Node, NodeView, Offer, OfferError, RegisterError, Registry};

/// A node of speed 1 burns this much fuel in a second: the scheduler's unit of speed.
const REFERENCE_FUEL_PER_SECOND: f64 = 1e9;

/// What a task asks of a node: one whole processor.
const TASK_CPU_MILLIS: u64 = 1000;

/// A configuration that cannot work.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The optimiser's parameters.
    #[error(transparent)]
    Nsga2(#[from] Nsga2ConfigError),
    /// No attempt would ever be made.
    #[error("attempts_max is 0")]
    NoAttempts,
    /// The preference.
    #[error(transparent)]
    Preference(#[from] PreferenceError),
    /// The lease factor is below 1 or not a number.
    #[error("lease factor {factor} is below 1")]
    LeaseFactor {
        /// What was given.
        factor: f64,
    },
}

/// Why a job is not admitted. Nothing has changed then.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum SubmitError<E: std::error::Error + 'static> {
    /// The job has no task.
    #[error("job {job} has no task")]
    NoTasks {
        /// The job.
        job: JobId,
    },
    /// The job has too many tasks.
    #[error("job {job} has {actual} tasks, at most {limit} are admitted")]
    TooManyTasks {
        /// The job.
        job: JobId,
        /// Its tasks.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// A job of this id was submitted before.
    #[error("job {job} was submitted before")]
    KnownJob {
        /// The job.
        job: JobId,
    },
    /// A task of this id was submitted before, or stands twice in the job.
    #[error("task {task} was submitted before")]
    KnownTask {
        /// The task.
        task: TaskId,
    },
    /// The ledger does not hold the job's price back, for instance because funds are short.
    #[error("escrow: {0}")]
    Bank(#[source] E),
}

/// Why a report is not accepted. Nothing has changed then.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum ReportError<E: std::error::Error + 'static> {
    /// No such task was ever dispatched.
    #[error("task {task} is not known")]
    UnknownTask {
        /// The task.
        task: TaskId,
    },
    /// The attempt is over: another node has the task, or it has ended.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The node claims more than the task's limits allow. The attempt was taken from it.
    #[error("report of task {task} exceeds the task's limits")]
    OverLimits {
        /// The task.
        task: TaskId,
    },
    /// The ledger does not settle. Report again.
    #[error("settlement: {0}")]
    Bank(#[source] E),
}

/// Why a task cannot be cancelled. Nothing has changed then.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum CancelError<E: std::error::Error + 'static> {
    /// No such task was ever submitted.
    #[error("task {task} is not known")]
    UnknownTask {
        /// The task.
        task: TaskId,
    },
    /// The task has ended.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The ledger does not release the reservation.
    #[error("escrow: {0}")]
    Bank(#[source] E),
}

/// How a coordinator behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The optimiser that places tasks.
    pub nsga2: Nsga2,
    /// Which point of the front is taken.
    pub preference: Preference,
    /// Most attempts at one task.
    pub attempts_max: u32,
    /// A node that was silent for so long is gone.
    pub silence_max: Duration,
    /// Shortest lease of an attempt.
    pub lease_min: Duration,
    /// A lease is this many times the estimated run time, if that is longer.
    pub lease_factor: f64,
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
            silence_max: Duration::from_secs(90),
            lease_min: Duration::from_secs(60),
            lease_factor: 10.0,
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

#[derive(Debug)]
struct Task {
    job: JobId,
    order: TaskOrder,
    state: TaskState,
    attempts: u32,
    lease: Option<Instant>,
    /// Nodes that let an attempt lapse; not tried again while there are others.
    avoid: BTreeSet<NodeId>,
    paid: Amount,
}

/// See the [crate documentation](crate).
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    registry: Registry,
    jobs: BTreeMap<JobId, JobSummary>,
    tasks: BTreeMap<TaskId, Task>,
    /// Queued tasks that are placed nowhere, in the order they came.
    unplaced: VecDeque<TaskId>,
    events: VecDeque<Event>,
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
        if config.lease_factor.is_nan() || config.lease_factor < 1.0 {
            return Err(ConfigError::LeaseFactor {
                factor: config.lease_factor,
            });
        }
        Ok(Self {
            config,
            registry: Registry::default(),
            jobs: BTreeMap::new(),
            tasks: BTreeMap::new(),
            unplaced: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    /// The next thing the host should do or know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Coordinator::handle_timeout`] next has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silences = self
            .registry
            .nodes
            .values()
            .filter(|node| !node.lost)
            .map(|node| node.heard + self.config.silence_max);
        let leases = self.tasks.values().filter_map(|task| task.lease);
        silences.chain(leases).min()
    }

    /// Every node ever seen.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeView> {
        self.registry.views()
    }

    /// What became of a job so far.
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

    /// A node joins, or joins again after it was lost.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn register<B: Bank, R: Rng>(
        &mut self,
        node: NodeId,
        offer: Offer,
        host: &mut Host<'_, B, R>,
    ) -> Result<(), RegisterError<B::Error>> {
        offer.check()?;
        // Opening is idempotent: a node that comes back gets its account again.
        host.bank
            .execute(&[open_node(node)], host.wall)
            .map_err(RegisterError::Bank)?;
        if !self.registry.insert(node, offer, host.now) {
            return Err(RegisterError::Full {
                limit: fogcompute_base::limits::NODES_MAX,
            });
        }
        self.place(host);
        Ok(())
    }

    /// A node is alive and lends this now. Says whether the node is registered.
    ///
    /// # Errors
    /// [`OfferError`]; the node counts as heard of all the same.
    pub fn heartbeat<B: Bank, R: Rng>(
        &mut self,
        node: NodeId,
        offer: Offer,
        host: &mut Host<'_, B, R>,
    ) -> Result<bool, OfferError> {
        let Some(known) = self
            .registry
            .nodes
            .get_mut(&node)
            .filter(|known| !known.lost)
        else {
            return Ok(false);
        };
        known.heard = host.now;
        offer.check()?;
        let lent_before = known.offer.slots();
        known.offer = offer;
        if offer.slots() < lent_before {
            // Running tasks stay; what only waits there can run elsewhere.
            let waiting = std::mem::take(&mut known.waiting);
            self.unplaced.extend(waiting);
        }
        if offer.slots() != lent_before {
            self.place(host);
        }
        Ok(true)
    }

    /// A job comes in: its price is reserved, its tasks are placed.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn submit<B: Bank, R: Rng>(
        &mut self,
        job: JobSpec,
        host: &mut Host<'_, B, R>,
    ) -> Result<(), SubmitError<B::Error>> {
        let id = job.id;
        if job.tasks.is_empty() {
            return Err(SubmitError::NoTasks { job: id });
        }
        if job.tasks.len() > JOB_TASKS_MAX {
            let actual = job.tasks.len();
            return Err(SubmitError::TooManyTasks {
                job: id,
                actual,
                limit: JOB_TASKS_MAX,
            });
        }
        if self.jobs.contains_key(&id) {
            return Err(SubmitError::KnownJob { job: id });
        }
        let mut seen = BTreeSet::new();
        for order in &job.tasks {
            if self.tasks.contains_key(&order.id) || !seen.insert(order.id) {
                return Err(SubmitError::KnownTask { task: order.id });
            }
        }
        let escrow: Vec<_> = job
            .tasks
            .iter()
            .map(|order| reserve(order.id, job.owner, order.price_max))
            .collect();
        host.bank
            .execute(&escrow, host.wall)
            .map_err(SubmitError::Bank)?;

        let reserved = job.tasks.iter().map(|order| order.price_max.0).sum();
        let summary = JobSummary {
            open: job.tasks.len(),
            reserved: Amount(reserved),
            ..JobSummary::default()
        };
        self.jobs.insert(id, summary);
        for order in job.tasks {
            self.unplaced.push_back(order.id);
            let task = Task {
                job: id,
                state: TaskState::Queued { attempts: 0 },
                attempts: 0,
                lease: None,
                avoid: BTreeSet::new(),
                paid: Amount(0),
                order,
            };
            self.tasks.insert(task.order.id, task);
        }
        self.place_if_idle(host);
        if !self.unplaced.is_empty() {
            self.events.push_back(Event::Waiting {
                tasks: self.unplaced.len(),
            });
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
    ) -> Result<Amount, ReportError<B::Error>> {
        let id = report.task;
        let Some(task) = self.tasks.get(&id) else {
            return Err(ReportError::UnknownTask { task: id });
        };
        let limits = task.order.spec.limits();
        let (event, over_limits) = match &report.result {
            Ok(output)
                if output.usage.fuel > limits.fuel
                    || output.output.len() as u64 > limits.output_bytes =>
            {
                (TaskEvent::Requeue { node, attempt }, true)
            }
            Ok(_) => (TaskEvent::Succeed { node, attempt }, false),
            Err(error) if error.is_deterministic() => (TaskEvent::Fail { node, attempt }, false),
            Err(_) => (TaskEvent::Requeue { node, attempt }, false),
        };
        let state = match task.state.advance(event) {
            Ok(state) => state,
            Err(error) => {
                // The result comes too late, but the node has a slot free again.
                if let Some(known) = self.registry.nodes.get_mut(&node) {
                    if known.running.remove(&id) {
                        self.place_if_idle(host);
                    }
                }
                return Err(error.into());
            }
        };
        if matches!(event, TaskEvent::Requeue { .. }) {
            if let Some(known) = self.registry.nodes.get_mut(&node) {
                known.heard = host.now;
            }
            self.lose_attempt(id, node, LossReason::GivenBack, host)
                .map_err(ReportError::Bank)?;
            self.place(host);
            return if over_limits {
                Err(ReportError::OverLimits { task: id })
            } else {
                Ok(Amount(0))
            };
        }
        let rate = self
            .registry
            .nodes
            .get(&node)
            .map_or(Amount(0), |known| known.offer.price_per_gigafuel);
        let (paid, settlement) = match &report.result {
            Ok(output) => {
                let paid = price(output.usage.fuel, rate, task.order.price_max);
                (paid, pay(id, node, paid))
            }
            Err(_) => (Amount(0), vec![release(id)]),
        };
        host.bank
            .execute(&settlement, host.wall)
            .map_err(ReportError::Bank)?;

        let succeeded = report.result.is_ok();
        let reserved = task.order.price_max;
        let job = task.job;
        if let Some(task) = self.tasks.get_mut(&id) {
            task.state = state;
            task.paid = paid;
            task.lease = None;
        }
        if let Some(known) = self.registry.nodes.get_mut(&node) {
            known.running.remove(&id);
            known.heard = host.now;
            // A task that fails on every node says nothing about this one.
            if succeeded {
                record(&mut known.reputation, true, 1.0);
            }
        }
        self.events.push_back(Event::TaskEnded {
            task: id,
            node,
            attempt,
            result: report.result,
            paid,
        });
        self.end_task(job, reserved, paid, |summary| {
            if succeeded {
                summary.succeeded += 1;
            } else {
                summary.failed += 1;
            }
        });
        self.place_if_idle(host);
        Ok(paid)
    }

    /// The submitter no longer wants a task: its reservation is released, its attempt revoked.
    ///
    /// # Errors
    /// [`CancelError`].
    pub fn cancel<B: Bank, R: Rng>(
        &mut self,
        id: TaskId,
        host: &mut Host<'_, B, R>,
    ) -> Result<(), CancelError<B::Error>> {
        let Some(task) = self.tasks.get_mut(&id) else {
            return Err(CancelError::UnknownTask { task: id });
        };
        let state = task.state.advance(TaskEvent::Cancel)?;
        host.bank
            .execute(&[release(id)], host.wall)
            .map_err(CancelError::Bank)?;
        let before = std::mem::replace(&mut task.state, state);
        task.lease = None;
        let (job, reserved) = (task.job, task.order.price_max);
        self.unplaced.retain(|waiting| *waiting != id);
        for node in self.registry.nodes.values_mut() {
            node.waiting.retain(|waiting| *waiting != id);
        }
        if let TaskState::Assigned { node, attempt } = before {
            self.events.push_back(Event::Revoke {
                node,
                task: id,
                attempt,
            });
        }
        self.events.push_back(Event::TaskCancelled { task: id });
        self.end_task(job, reserved, Amount(0), |summary| summary.lost += 1);
        Ok(())
    }

    /// A node is gone: its tasks go to others, its reputation falls.
    ///
    /// # Errors
    /// The ledger's error, if a task had to be given up and its reservation is not released; call
    /// again.
    pub fn node_lost<B: Bank, R: Rng>(
        &mut self,
        node: NodeId,
        reason: LossReason,
        host: &mut Host<'_, B, R>,
    ) -> Result<(), B::Error> {
        let Some(known) = self
            .registry
            .nodes
            .get_mut(&node)
            .filter(|known| !known.lost)
        else {
            return Ok(());
        };
        let running: Vec<_> = known.running.iter().copied().collect();
        for task in running {
            self.lose_attempt(task, node, reason, host)?;
        }
        if let Some(known) = self.registry.nodes.get_mut(&node) {
            known.lost = true;
            // Revoked attempts are all that can be left: they end with the node.
            known.running.clear();
            self.unplaced.extend(std::mem::take(&mut known.waiting));
        }
        self.events.push_back(Event::NodeLost { node, reason });
        self.place(host);
        Ok(())
    }

    /// Acts on what is due: silent nodes are lost, lapsed leases end their attempts.
    ///
    /// # Errors
    /// As [`Coordinator::node_lost`].
    pub fn handle_timeout<B: Bank, R: Rng>(
        &mut self,
        host: &mut Host<'_, B, R>,
    ) -> Result<(), B::Error> {
        let silent: Vec<_> = self
            .registry
            .nodes
            .iter()
            .filter(|(_, node)| !node.lost && node.heard + self.config.silence_max <= host.now)
            .map(|(id, _)| *id)
            .collect();
        for node in silent {
            self.node_lost(node, LossReason::Silent, host)?;
        }
        let lapsed: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.lease.is_some_and(|lease| lease <= host.now))
            .filter_map(|(id, task)| match task.state {
                TaskState::Assigned { node, .. } => Some((*id, node)),
                _ => None,
            })
            .collect();
        for &(task, node) in &lapsed {
            self.lose_attempt(task, node, LossReason::LeaseExpired, host)?;
        }
        if !lapsed.is_empty() {
            self.place(host);
        }
        Ok(())
    }

    /// Ends the running attempt without a result: the task waits again, or is given up.
    fn lose_attempt<B: Bank, R: Rng>(
        &mut self,
        id: TaskId,
        node: NodeId,
        reason: LossReason,
        host: &mut Host<'_, B, R>,
    ) -> Result<(), B::Error> {
        let Some(task) = self.tasks.get_mut(&id) else {
            return Ok(());
        };
        let TaskState::Assigned { attempt, .. } = task.state else {
            return Ok(());
        };
        let give_up = attempt >= self.config.attempts_max;
        let event = if give_up {
            TaskEvent::Lose
        } else {
            TaskEvent::Requeue { node, attempt }
        };
        let Ok(state) = task.state.advance(event) else {
            return Ok(());
        };
        if give_up {
            host.bank.execute(&[release(id)], host.wall)?;
        }
        task.state = state;
        task.lease = None;
        task.avoid.insert(node);
        let (job, reserved) = (task.job, task.order.price_max);
        if let Some(known) = self.registry.nodes.get_mut(&node) {
            known.running.remove(&id);
            record(&mut known.reputation, false, 1.0);
        }
        self.events.push_back(Event::AttemptLost {
            task: id,
            node,
            attempt,
            reason,
        });
        if give_up {
            self.events.push_back(Event::TaskLost { task: id });
            self.end_task(job, reserved, Amount(0), |summary| summary.lost += 1);
        } else {
            self.unplaced.push_back(id);
        }
        Ok(())
    }

    fn end_task(
        &mut self,
        job: JobId,
        reserved: Amount,
        paid: Amount,
        count: impl FnOnce(&mut JobSummary),
    ) {
        let Some(summary) = self.jobs.get_mut(&job) else {
            return;
        };
        count(summary);
        summary.open -= 1;
        summary.reserved = Amount(summary.reserved.0 - reserved.0);
        summary.paid = Amount(summary.paid.0 + paid.0);
        summary.released = Amount(summary.released.0 + (reserved.0 - paid.0));
        if summary.open == 0 {
            self.events.push_back(Event::JobEnded {
                job,
                summary: *summary,
            });
        }
    }

    /// Places every task that is not running, those that wait at a node included: the fog has
    /// changed, and what was best may not be any more.
    fn place<B: Bank, R: Rng>(&mut self, host: &mut Host<'_, B, R>) {
        for node in self.registry.nodes.values_mut() {
            self.unplaced.extend(std::mem::take(&mut node.waiting));
        }
        self.place_unplaced(host.rng);
        self.dispatch(host.now);
        if !self.unplaced.is_empty() {
            self.events.push_back(Event::Waiting {
                tasks: self.unplaced.len(),
            });
        }
    }

    /// Places tasks only if a node would otherwise stand idle: tasks that come one by one while all
    /// nodes are busy are placed together when the first is free.
    fn place_if_idle<B: Bank, R: Rng>(&mut self, host: &mut Host<'_, B, R>) {
        self.dispatch(host.now);
        let idle = self.registry.nodes.values().any(Node::has_free_slot);
        if idle && !self.unplaced.is_empty() {
            self.place(host);
        }
    }

    fn place_unplaced(&mut self, rng: &mut impl Rng) {
        let nodes = self.candidates();
        if nodes.is_empty() {
            return;
        }
        let mut batch: BTreeSet<TaskId> = self.unplaced.iter().copied().collect();
        // Each round drops at least one task that no node can take, so this ends.
        while !batch.is_empty() {
            let jobs = batch
                .iter()
                .filter_map(|id| self.placement_job(*id, &nodes))
                .collect();
            let plan = Instance::new(jobs, nodes.clone(), Sharing::Queued)
                .and_then(|instance| instance.place(&self.config.nsga2, rng));
            match plan {
                Ok(plan) => {
                    // A preference that is not valid was refused by `Coordinator::new`.
                    let plan = plan.clone().prefer(self.config.preference).unwrap_or(plan);
                    let chosen = plan.chosen();
                    for (task, node) in &chosen.assignment {
                        if let Some(known) = self.registry.nodes.get_mut(node) {
                            known.waiting.push_back(*task);
                        }
                    }
                    let placed: BTreeSet<_> =
                        chosen.assignment.iter().map(|(task, _)| *task).collect();
                    self.unplaced.retain(|task| !placed.contains(task));
                    self.events.push_back(Event::Placed {
                        tasks: placed.len(),
                        plan,
                    });
                    return;
                }
                Err(error) => {
                    // Only the first is about one task; what else can be wrong is about all of them.
                    let PlacementError::Infeasible { job: task, .. } = error else {
                        self.events.push_back(Event::NotPlaced { error });
                        return;
                    };
                    batch.remove(&task);
                    self.events.push_back(Event::Unplaceable { task, error });
                }
            }
        }
    }

    fn candidates(&self) -> Vec<placement::Node> {
        self.registry
            .nodes
            .iter()
            .filter(|(_, node)| !node.lost && node.offer.slots() > 0)
            .map(|(id, node)| {
                let offer = &node.offer;
                let per_second = price(
                    offer.fuel_per_second,
                    offer.price_per_gigafuel,
                    Amount(u128::MAX),
                );
                placement::Node {
                    id: *id,
                    cpu_millis_total: offer.cpu_millis,
                    cpu_millis_free: offer.cpu_millis,
                    memory_bytes_free: offer.memory_bytes,
                    speed: offer.fuel_per_second as f64 / REFERENCE_FUEL_PER_SECOND,
                    latency_ms: offer.latency_ms,
                    trust: node.reputation.lower_bound(),
                    price_per_cpu_second: u64::try_from(per_second.0).unwrap_or(u64::MAX),
                }
            })
            .collect()
    }

    fn placement_job(&self, id: TaskId, nodes: &[placement::Node]) -> Option<placement::Job> {
        let task = self.tasks.get(&id)?;
        let millis = task.order.fuel_estimate as f64 / REFERENCE_FUEL_PER_SECOND * 1e3;
        // A node that expects more than may be paid is not asked. Compared in base units, as the
        // settlement will: the optimiser's own costs are rounded.
        let too_dear = |node: NodeId| {
            self.registry.nodes.get(&node).is_none_or(|known| {
                let rate = known.offer.price_per_gigafuel;
                price(task.order.fuel_estimate, rate, Amount::MAX) > task.order.price_max
            })
        };
        let (mut excluded, rest): (Vec<_>, Vec<_>) = nodes
            .iter()
            .map(|node| node.id)
            .partition(|node| too_dear(*node));
        if !rest.iter().all(|node| task.avoid.contains(node)) {
            excluded.extend(&task.avoid);
        }
        Some(placement::Job {
            id,
            cpu_millis: TASK_CPU_MILLIS,
            memory_bytes: task.order.spec.limits().memory_bytes,
            duration_ms: millis.ceil().max(1.0) as u64,
            priority: Priority::Normal,
            min_trust: 0.0,
            max_cost: None,
            max_latency_ms: None,
            excluded,
        })
    }

    /// Gives every free slot its next task.
    fn dispatch(&mut self, now: Instant) {
        for (&id, node) in &mut self.registry.nodes {
            while node.has_free_slot() {
                let Some(task_id) = node.waiting.pop_front() else {
                    break;
                };
                let Some(task) = self.tasks.get_mut(&task_id) else {
                    continue;
                };
                let Ok(state) = task.state.advance(TaskEvent::Assign { node: id }) else {
                    continue;
                };
                let TaskState::Assigned { attempt, .. } = state else {
                    continue;
                };
                let seconds =
                    task.order.fuel_estimate as f64 / node.offer.fuel_per_second.max(1) as f64;
                let lease = Duration::try_from_secs_f64(seconds * self.config.lease_factor)
                    .unwrap_or(Duration::MAX)
                    .max(self.config.lease_min);
                task.state = state;
                task.attempts = attempt;
                task.lease = Some(now + lease);
                node.running.insert(task_id);
                self.events.push_back(Event::Dispatch {
                    node: id,
                    task: task_id,
                    attempt,
                    spec: task.order.spec.clone(),
                });
            }
        }
    }
}

/// Weight 1 and the evidence kept by the registry are valid, so recording cannot fail.
fn record(reputation: &mut fogcompute_schedule::Reputation, success: bool, weight: f64) {
    let recorded = reputation.record(success, weight);
    debug_assert!(recorded.is_ok(), "a weight of {weight} is valid");
}
