//! The coordinator's state machine.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::time::Duration;

use fogcompute_base::limits::JOB_TASKS_MAX;
use fogcompute_base::{Instant, JobId, NodeId, Rng, TaskId, UnixMillis};
use fogcompute_exec::{ATTEMPTS_MAX, TaskEvent, TaskOutput, TaskReport, TaskSpec, TaskState};
use fogcompute_ledger::Amount;
use fogcompute_schedule::evolution::Nsga2;
use fogcompute_schedule::{
    self as placement, Constraint, Instance, PlacementError, Preference, Reputation, Sharing,
};

use crate::bank::{Bank, open_node, pay, price, release, reserve};
use crate::error::{CancelError, ConfigError, Inconsistency, ReportError, SubmitError};
use crate::event::{Event, LossReason};
use crate::job::{JobSpec, JobSummary, TaskView};
use crate::registry::{
    Attempt, Node, NodeView, Offer, OfferError, REGISTRY_NODES_MAX, RegisterError, Registry,
};
use crate::task::{Task, speed};

/// Most tasks that may be open at once, over all jobs.
pub const OPEN_TASKS_MAX: usize = 10 * JOB_TASKS_MAX;

/// Most tasks the optimiser is given at once: as many as a job may have. Others wait until a node
/// has nothing to do.
const TASKS_PLACED_MAX: usize = JOB_TASKS_MAX;

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

/// See the [crate documentation](crate).
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    registry: Registry,
    jobs: BTreeMap<JobId, JobSummary>,
    tasks: BTreeMap<TaskId, Task>,
    /// Number of the next task.
    arrivals: u64,
    open: usize,
    /// Queued tasks to be placed when a node has nothing to do, in the order of arrival.
    unplaced: BTreeSet<(u64, TaskId)>,
    /// Queued tasks that no node can take, until the fog changes.
    stuck: BTreeSet<(u64, TaskId)>,
    events: VecDeque<Event>,
    /// Whether the host can reach no node: see [`Coordinator::hold`].
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
        if config.silence_max.is_zero() {
            return Err(ConfigError::NoSilence);
        }
        if config.lease_min.is_zero() {
            return Err(ConfigError::NoLease);
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
            arrivals: 0,
            open: 0,
            unplaced: BTreeSet::new(),
            stuck: BTreeSet::new(),
            events: VecDeque::new(),
            held: false,
        })
    }

    /// The next thing the host should do or know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Coordinator::handle_timeout`] next has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let nodes = self.registry.nodes.values();
        let silences = nodes
            .clone()
            .filter(|node| !node.lost)
            .map(|node| node.heard + self.config.silence_max);
        let leases = nodes.flat_map(|node| node.running.values().map(|attempt| attempt.lease));
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

    /// Tasks that are placed nowhere: no node that lends compute now can take them, or has room.
    #[must_use]
    pub fn unplaced(&self) -> usize {
        self.unplaced.len() + self.stuck.len()
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
    ) -> Result<(), RegisterError<B::Error>> {
        offer.check()?;
        // Before the account: strangers must not fill the ledger when they are not let in.
        if !self.registry.has_room(node) {
            return Err(RegisterError::Full {
                limit: REGISTRY_NODES_MAX,
            });
        }
        // Opening is idempotent: a node that comes back gets its account again.
        host.bank
            .execute(&[open_node(node)], host.wall)
            .map_err(RegisterError::Bank)?;
        let inserted = self.registry.insert(node, offer, host.now);
        debug_assert!(inserted, "there was room");
        self.place(host);
        Ok(())
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
        let before = mem::replace(&mut known.offer, offer);
        let tasks = &self.tasks;
        let fits = |id: &TaskId, offer| tasks.get(id).is_some_and(|task| task.fits(offer));
        // Placing is expensive, and memory and latency are a little different with every heartbeat.
        // So it is done only if a task should go elsewhere or could come here.
        let changed = offer.slots() != before.slots()
            || known.waiting.iter().any(|id| !fits(id, &offer))
            || self
                .stuck
                .iter()
                .any(|(_, id)| fits(id, &offer) && !fits(id, &before));
        if changed {
            self.place(host);
        } else {
            self.dispatch_at(node, host.now);
            self.take_over(vec![node], host.now);
        }
        Ok(true)
    }

    /// The host cannot send anything to any node for now. Nothing is placed or dispatched until
    /// [`Coordinator::resume`]; jobs are admitted and wait. What was dispatched before stays under
    /// way, with its lease.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// The host can send to nodes again: what waited is placed.
    pub fn resume<B: Bank, R: Rng>(&mut self, host: &mut Host<'_, B, R>) {
        if mem::take(&mut self.held) {
            self.place(host);
        }
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
        self.check_job(&job)?;
        let escrow: Vec<_> = job
            .tasks
            .iter()
            .map(|order| reserve(order.id, job.owner, order.price_max))
            .collect();
        let receipts = host
            .bank
            .execute(&escrow, host.wall)
            .map_err(SubmitError::Bank)?;
        // The ledger outlives coordinators. What was reserved for a task of an earlier one may be
        // spent by now, so it is not taken for this job's.
        let (known, fresh): (Vec<_>, Vec<_>) = job
            .tasks
            .iter()
            .map(|order| order.id)
            .zip(&receipts)
            .partition(|(_, receipt)| receipt.replayed);
        if let Some(&(task, _)) = known.first() {
            let undo: Vec<_> = fresh.into_iter().map(|(id, _)| release(id)).collect();
            if !undo.is_empty() {
                host.bank
                    .execute(&undo, host.wall)
                    .map_err(SubmitError::Bank)?;
            }
            return Err(SubmitError::KnownTask { task });
        }

        // The ledger has reserved them together, so their sum fits.
        let reserved = job.tasks.iter().map(|order| order.price_max.0).sum();
        let summary = JobSummary {
            open: job.tasks.len(),
            reserved: Amount(reserved),
            ..JobSummary::default()
        };
        self.jobs.insert(job.id, summary);
        self.open += job.tasks.len();
        for order in job.tasks {
            let task = Task {
                job: job.id,
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
            };
            self.unplaced.insert((task.arrival, order.id));
            self.tasks.insert(order.id, task);
            self.arrivals += 1;
        }
        if !self.place_if_idle(None, host) {
            self.tell_waiting();
        }
        Ok(())
    }

    /// Refuses what can be refused without asking the ledger.
    fn check_job<E: std::error::Error + 'static>(
        &self,
        job: &JobSpec,
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
        if self.jobs.contains_key(&job.id) {
            return Err(SubmitError::KnownJob { job: job.id });
        }
        let mut seen = BTreeSet::new();
        for order in &job.tasks {
            if self.tasks.contains_key(&order.id) || !seen.insert(order.id) {
                return Err(SubmitError::KnownTask { task: order.id });
            }
        }
        if asked > OPEN_TASKS_MAX - self.open {
            return Err(SubmitError::Full {
                open: self.open,
                asked,
                limit: OPEN_TASKS_MAX,
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
                // The result comes too late, but the node has a slot free again.
                let known = self.registry.nodes.get_mut(&node);
                if known.is_some_and(|known| known.free_slot(id, attempt)) {
                    self.place_if_idle(Some(node), host);
                }
                return Err(error.into());
            }
        };
        if let Some(reason) = lost {
            self.lose_attempt(id, node, reason, host)
                .map_err(ReportError::Bank)?;
            if let Some(known) = self.registry.nodes.get_mut(&node) {
                known.heard = host.now;
            }
            self.place(host);
            return if reason == LossReason::OverLimits {
                Err(ReportError::OverLimits { task: id })
            } else {
                Ok(Amount::ZERO)
            };
        }
        let (paid, settlement) = match &report.result {
            Ok(output) => {
                // What the node asked for when it got the task, whatever it asks for now.
                let rate = self
                    .registry
                    .nodes
                    .get(&node)
                    .and_then(|known| known.running.get(&id))
                    .map_or(Amount::ZERO, |attempt| attempt.price_per_gigafuel);
                if rate == Amount::ZERO {
                    // The ledger moves no zero amounts.
                    (Amount::ZERO, vec![release(id)])
                } else {
                    let paid = price(output.usage.fuel, rate, task.price_max);
                    (paid, pay(id, node, paid))
                }
            }
            Err(_) => (Amount::ZERO, vec![release(id)]),
        };
        host.bank
            .execute(&settlement, host.wall)
            .map_err(ReportError::Bank)?;

        let succeeded = report.result.is_ok();
        if let Some(known) = self.registry.nodes.get_mut(&node) {
            known.free_slot(id, attempt);
            known.heard = host.now;
            // A task that fails on every node says nothing about this one.
            if succeeded {
                record(&mut known.reputation, true);
            }
        }
        self.events.push_back(Event::TaskEnded {
            task: id,
            node,
            attempt,
            result: report.result,
            paid,
        });
        self.end_task(id, state, paid);
        self.place_if_idle(Some(node), host);
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
        let Some(task) = self.tasks.get(&id) else {
            return Err(CancelError::UnknownTask { task: id });
        };
        let before = task.state;
        let state = before.advance(TaskEvent::Cancel)?;
        host.bank
            .execute(&[release(id)], host.wall)
            .map_err(CancelError::Bank)?;
        let place = (task.arrival, id);
        self.unplaced.remove(&place);
        self.stuck.remove(&place);
        let mut waited_at = None;
        if let TaskState::Assigned { node, attempt } = before {
            self.events.push_back(Event::Revoke {
                node,
                task: id,
                attempt,
            });
        } else {
            for (&node, known) in &mut self.registry.nodes {
                if let Some(index) = known.waiting.iter().position(|waiting| *waiting == id) {
                    known.waiting.remove(index);
                    waited_at = Some(node);
                }
            }
        }
        self.events.push_back(Event::TaskCancelled { task: id });
        self.end_task(id, state, Amount::ZERO);
        if waited_at.is_some() {
            // It may have kept smaller ones behind it from starting.
            self.place_if_idle(waited_at, host);
        }
        Ok(())
    }

    /// A node is gone: its tasks go to others, its reputation falls.
    ///
    /// # Errors
    /// The ledger's error, if a task had to be given up and its reservation is not released; call
    /// again. The node gets no more tasks meanwhile.
    pub fn node_lost<B: Bank, R: Rng>(
        &mut self,
        node: NodeId,
        reason: LossReason,
        host: &mut Host<'_, B, R>,
    ) -> Result<(), B::Error> {
        let known = self.registry.nodes.get(&node);
        if known.is_none_or(|known| known.lost && known.running.is_empty()) {
            return Ok(());
        }
        let done = self.take_down(node, reason, host);
        self.place(host);
        done
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
        let lapsed: Vec<_> = self
            .registry
            .nodes
            .iter()
            .flat_map(|(id, node)| node.running.iter().map(|(task, held)| (*id, *task, *held)))
            .filter(|(_, _, held)| held.lease <= host.now)
            .map(|(node, task, held)| (node, task, held.number))
            .collect();
        if silent.is_empty() && lapsed.is_empty() {
            return Ok(());
        }
        // All of them before any task is placed again: else it would go to the next that is due.
        let done = self.take_down_due(&silent, &lapsed, host);
        self.place(host);
        done
    }

    fn take_down_due<B: Bank, R: Rng>(
        &mut self,
        silent: &[NodeId],
        lapsed: &[(NodeId, TaskId, u32)],
        host: &mut Host<'_, B, R>,
    ) -> Result<(), B::Error> {
        for &node in silent {
            self.take_down(node, LossReason::Silent, host)?;
        }
        for &(node, task, attempt) in lapsed {
            if self.runs(task, node, attempt) {
                self.lose_attempt(task, node, LossReason::LeaseExpired, host)?;
            } else if let Some(known) = self.registry.nodes.get_mut(&node) {
                known.free_slot(task, attempt);
            }
        }
        Ok(())
    }

    /// Ends everything on a node. The caller places the tasks again.
    fn take_down<B: Bank, R: Rng>(
        &mut self,
        node: NodeId,
        reason: LossReason,
        host: &mut Host<'_, B, R>,
    ) -> Result<(), B::Error> {
        let Some(known) = self.registry.nodes.get_mut(&node) else {
            return Ok(());
        };
        // First of all, so that nothing is placed here again if the ledger fails below.
        known.lost = true;
        let running: Vec<_> = known
            .running
            .iter()
            .map(|(task, held)| (*task, held.number))
            .collect();
        for (task, attempt) in running {
            if self.runs(task, node, attempt) {
                self.lose_attempt(task, node, reason, host)?;
            } else if let Some(known) = self.registry.nodes.get_mut(&node) {
                known.free_slot(task, attempt);
            }
        }
        self.events.push_back(Event::NodeLost { node, reason });
        Ok(())
    }

    /// Whether this attempt is the one that may end its task.
    fn runs(&self, task: TaskId, node: NodeId, attempt: u32) -> bool {
        self.tasks
            .get(&task)
            .is_some_and(|task| task.state == TaskState::Assigned { node, attempt })
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
        task.avoid.insert(node);
        if let Some(known) = self.registry.nodes.get_mut(&node) {
            known.free_slot(id, attempt);
            record(&mut known.reputation, false);
        }
        self.events.push_back(Event::AttemptLost {
            task: id,
            node,
            attempt,
            reason,
        });
        if reason == LossReason::LeaseExpired {
            // The node is there and may still be at it.
            self.events.push_back(Event::Revoke {
                node,
                task: id,
                attempt,
            });
        }
        if give_up {
            self.events.push_back(Event::TaskLost { task: id });
            self.end_task(id, state, Amount::ZERO);
        } else {
            task.state = state;
            self.unplaced.insert((task.arrival, id));
        }
        Ok(())
    }

    /// Brings a task to its end and counts it. Its money has moved before.
    fn end_task(&mut self, id: TaskId, state: TaskState, paid: Amount) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        task.state = state;
        task.paid = paid;
        task.spec = None;
        task.avoid = BTreeSet::new();
        task.told = None;
        self.open -= 1;
        let (job, reserved) = (task.job, task.price_max);
        let Some(summary) = self.jobs.get_mut(&job) else {
            return;
        };
        match state {
            TaskState::Succeeded => summary.succeeded += 1,
            TaskState::Failed => summary.failed += 1,
            _ => summary.lost += 1,
        }
        summary.open -= 1;
        // Neither overflows: they are parts of what the job reserved together.
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
        self.unplaced.append(&mut self.stuck);
        for node in self.registry.nodes.values_mut() {
            for id in node.waiting.drain(..) {
                if let Some(task) = self.tasks.get(&id) {
                    self.unplaced.insert((task.arrival, id));
                }
            }
        }
        self.place_unplaced(host.rng);
        self.dispatch(host.now);
        let mut idle: Vec<_> = self
            .registry
            .nodes
            .iter()
            .filter(|(_, node)| node.is_idle())
            .map(|(id, node)| (node.offer.fuel_per_second, *id))
            .collect();
        // The fastest chooses first: the last one is taken first.
        idle.sort_unstable_by_key(|&(speed, id)| (speed, Reverse(id)));
        self.take_over(idle.into_iter().map(|(_, id)| id).collect(), host.now);
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
        self.dispatch(host.now);
        self.take_over(changed.into_iter().collect(), host.now);
        let idle = !self.unplaced.is_empty() && self.registry.nodes.values().any(Node::is_idle);
        if idle {
            self.place(host);
        }
        idle
    }

    fn tell_waiting(&mut self) {
        let tasks = self.unplaced();
        if tasks > 0 {
            self.events.push_back(Event::Waiting { tasks });
        }
    }

    fn place_unplaced(&mut self, rng: &mut impl Rng) {
        let nodes = self.candidates();
        if self.held || nodes.is_empty() || self.unplaced.is_empty() {
            return;
        }
        // The optimiser knows what nodes are, not how long they are busy yet. Where there is a free
        // slot for everybody, nobody is sent to queue.
        let free = self
            .registry
            .nodes
            .values()
            .fold(0_usize, |sum, node| sum.saturating_add(node.free_slots()));
        let at_once = self.unplaced.len() <= free;
        // Those no node can take are sorted out one by one: one of them would stop all others.
        let mut jobs = Vec::new();
        let mut stuck = Vec::new();
        for &(arrival, id) in &self.unplaced {
            if jobs.len() == TASKS_PLACED_MAX {
                break;
            }
            match self.placement_job(id, &nodes, at_once) {
                Ok(job) => jobs.push(job),
                Err(error) => stuck.push((arrival, id, error)),
            }
        }
        for (arrival, id, error) in stuck {
            self.unplaced.remove(&(arrival, id));
            self.stuck.insert((arrival, id));
            let Some(task) = self.tasks.get_mut(&id) else {
                continue;
            };
            if task.told.as_ref() != Some(&error) {
                task.told = Some(error.clone());
                self.events
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
                self.events.push_back(Event::NotPlaced { error });
                return;
            }
        };
        let assignment = &plan.chosen().assignment;
        for (id, node) in assignment {
            let (Some(task), Some(known)) =
                (self.tasks.get_mut(id), self.registry.nodes.get_mut(node))
            else {
                continue;
            };
            known.waiting.push_back(*id);
            self.unplaced.remove(&(task.arrival, *id));
            task.told = None;
        }
        self.events.push_back(Event::Placed {
            tasks: assignment.len(),
            plan,
        });
    }

    fn candidates(&self) -> Vec<placement::Node> {
        self.registry
            .nodes
            .iter()
            .filter(|(_, node)| !node.lost && node.offer.slots() > 0)
            .map(|(id, node)| {
                let offer = &node.offer;
                let per_second =
                    price(offer.fuel_per_second, offer.price_per_gigafuel, Amount::MAX);
                placement::Node {
                    speed: speed(offer),
                    latency_ms: offer.latency_ms,
                    trust: node.reputation.lower_bound(),
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
            .filter(|id| task.is_too_dear_at(&self.registry.nodes[id].offer))
            .collect();
        let alone = |excluded| {
            let job = task.to_placement_job(id, excluded);
            Instance::new(vec![job.clone()], nodes.to_vec(), Sharing::Queued).map(|_| job)
        };
        let busy = nodes
            .iter()
            .map(|node| node.id)
            .filter(|id| at_once && !self.registry.nodes[id].has_room(task.memory_bytes));
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
        idle.retain(|id| self.registry.nodes.get(id).is_some_and(Node::is_idle));
        if idle.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        while let Some(&id) = idle.last() {
            let Some(index) = self.waits_in_vain(id, &waiting) else {
                idle.pop();
                continue;
            };
            let (_, task, holder) = waiting.swap_remove(index);
            let nodes = &mut self.registry.nodes;
            let Some(held) = nodes.get_mut(&holder) else {
                continue;
            };
            held.waiting.retain(|waiting| *waiting != task);
            if let Some(node) = nodes.get_mut(&id) {
                node.waiting.push_back(task);
            }
            self.dispatch_at(id, now);
            // It may have kept smaller ones behind it from starting, and have been the last.
            self.dispatch_at(holder, now);
            idle.insert(0, holder);
        }
    }

    /// Every task that waits at a node, as its arrival, itself and the node.
    fn waiting(&self) -> Vec<(u64, TaskId, NodeId)> {
        let mut waiting = Vec::new();
        for (&holder, node) in &self.registry.nodes {
            for &id in &node.waiting {
                waiting.extend(self.tasks.get(&id).map(|task| (task.arrival, id, holder)));
            }
        }
        waiting
    }

    /// Which of the tasks that wait, the earliest of them, could run at a node that has a slot
    /// nothing waits for.
    fn waits_in_vain(&self, id: NodeId, waiting: &[(u64, TaskId, NodeId)]) -> Option<usize> {
        let node = self.registry.nodes.get(&id).filter(|node| node.is_idle())?;
        let could_run = |task: &Task, holder: &NodeId| {
            // Better to wait than to run where an attempt lapsed, unless one lapsed there too.
            let trusted = !task.avoid.contains(&id) || task.avoid.contains(holder);
            // What has started meanwhile waits no more.
            let waits = matches!(task.state, TaskState::Queued { .. });
            waits && trusted && task.fits(&node.offer) && node.has_room(task.memory_bytes)
        };
        waiting
            .iter()
            .enumerate()
            .filter(|(_, (_, task, holder))| could_run(&self.tasks[task], holder))
            .min_by_key(|(_, (arrival, ..))| *arrival)
            .map(|(index, _)| index)
    }

    /// Gives every free slot its next task. Nobody overtakes at a node: the optimiser counts on it.
    fn dispatch(&mut self, now: Instant) {
        let nodes = self.registry.nodes.iter();
        let waited_for: Vec<_> = nodes
            .filter(|(_, node)| !node.waiting.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in waited_for {
            self.dispatch_at(id, now);
        }
    }

    fn dispatch_at(&mut self, id: NodeId, now: Instant) {
        if self.held {
            return;
        }
        if let Some(node) = self.registry.nodes.get_mut(&id) {
            while let Some(task_id) = node.waiting.front().copied() {
                let Some(task) = self.tasks.get_mut(&task_id) else {
                    debug_assert!(false, "task {task_id} waits and is not known");
                    node.waiting.pop_front();
                    continue;
                };
                if !node.has_room(task.memory_bytes) {
                    break;
                }
                node.waiting.pop_front();
                let state = task.state.advance(TaskEvent::Assign { node: id });
                let (Ok(state @ TaskState::Assigned { attempt, .. }), Some(spec)) =
                    (state, task.spec.clone())
                else {
                    debug_assert!(false, "task {task_id} waits and is {:?}", task.state);
                    continue;
                };
                let seconds = task.fuel_estimate as f64 / node.offer.fuel_per_second.max(1) as f64;
                let lease = Duration::try_from_secs_f64(seconds * self.config.lease_factor)
                    .unwrap_or(Duration::MAX)
                    .max(self.config.lease_min);
                task.state = state;
                task.attempts = attempt;
                let held = Attempt {
                    number: attempt,
                    lease: now + lease,
                    memory_bytes: task.memory_bytes,
                    price_per_gigafuel: node.offer.price_per_gigafuel,
                };
                node.running.insert(task_id, held);
                self.events.push_back(Event::Dispatch {
                    node: id,
                    task: task_id,
                    attempt,
                    spec,
                });
            }
        }
    }

    /// Compares everything with everything: for tests and simulations, after every step.
    ///
    /// # Errors
    /// [`Inconsistency`], the first that is found.
    pub fn check(&self) -> Result<(), Inconsistency> {
        let nodes = &self.registry.nodes;
        let mut waiting = BTreeMap::<TaskId, usize>::new();
        for id in nodes.values().flat_map(|node| &node.waiting) {
            *waiting.entry(*id).or_default() += 1;
        }
        let mut named = 0;
        for (&id, task) in &self.tasks {
            let place = (task.arrival, id);
            let waits = usize::from(self.unplaced.contains(&place))
                + usize::from(self.stuck.contains(&place))
                + waiting.get(&id).copied().unwrap_or(0);
            let holds = |node: &NodeId, number| {
                nodes
                    .get(node)
                    .and_then(|node| node.running.get(&id))
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
            .flat_map(|node| node.running.keys())
            .filter(|id| {
                let task = self.tasks.get(id);
                task.is_some_and(|task| task.state == TaskState::Cancelled)
            })
            .count();
        let held: usize = nodes
            .values()
            .map(|node| node.waiting.len() + node.running.len())
            .sum();
        let count = (held + self.unplaced()).abs_diff(named + cancelled);
        if count > 0 || named != self.open {
            return Err(Inconsistency::Strays { count });
        }
        let waiting = self.waiting();
        for &node in nodes.keys() {
            if let Some(index) = self.waits_in_vain(node, &waiting) {
                let (_, task, _) = waiting[index];
                return Err(Inconsistency::Idle { node, task });
            }
        }
        for (&job, summary) in &self.jobs {
            let mut sum = JobSummary::default();
            for task in self.tasks.values().filter(|task| task.job == job) {
                match task.state {
                    TaskState::Succeeded => sum.succeeded += 1,
                    TaskState::Failed => sum.failed += 1,
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
            if sum != *summary {
                return Err(Inconsistency::Summary { job });
            }
        }
        Ok(())
    }
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

/// Counts one outcome. Weight 1 is valid, so this cannot fail.
fn record(reputation: &mut Reputation, success: bool) {
    let recorded = reputation.record(success, 1.0);
    debug_assert!(recorded.is_ok(), "a weight of 1 is valid");
}

#[cfg(test)]
mod tests;
