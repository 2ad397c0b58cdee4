//! What must never happen, looked for while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fogcompute_base::{Instant, JobId, NodeId, TaskId};
use fogcompute_coord::{
    Config, Event, Inconsistency, JobSpec, JobSummary, LossReason, Offer, RecoverError,
    clearing_account, node_account,
};
use fogcompute_exec::{TaskError, TaskOutput, TaskReport, TaskSpec, TaskState};
use fogcompute_ledger::{Amount, Book, Corruption};
use thiserror::Error;

use crate::fog::coordinator::CoordinatorProcess;
use crate::fog::figures::{Figures, Minute};
use crate::fog::member::{Fact, Kept, Member};
use crate::fog::message::FogMessage;
use crate::fog::work::{job_of, node_id, result_of};
use crate::process::ProcessId;
use crate::world::{Observer, World};

/// Something that must never happen.
#[non_exhaustive]
#[derive(Debug, Error, PartialEq)]
pub enum Violation {
    /// A task has not ended, long after everything was whole again.
    #[error("task {task} has not ended: {state:?}")]
    NeverEnds {
        /// Which.
        task: TaskId,
        /// Where it is; `None` if the coordinator does not know it.
        state: Option<TaskState>,
    },
    /// A submitter has heard no answer, long after everything was whole again.
    #[error("job {job} was never answered for")]
    NeverAnswered {
        /// Which.
        job: JobId,
    },
    /// A job that its submitter was told is admitted is known no more.
    #[error("job {job} was admitted and is forgotten")]
    Forgotten {
        /// Which.
        job: JobId,
    },
    /// A task that had ended has not, or not so.
    #[error("task {task} had ended as {before:?} and is {now:?}")]
    Reopened {
        /// Which.
        task: TaskId,
        /// How it had ended.
        before: End,
        /// Where it is now.
        now: Option<TaskState>,
    },
    /// A task ended a second time.
    #[error("task {task} ended as {first:?} and then as {second:?}")]
    EndedTwice {
        /// Which.
        task: TaskId,
        /// How it had ended.
        first: End,
        /// How it ended again.
        second: End,
    },
    /// An attempt that was over, or never was, ended its task.
    #[error("attempt {attempt} of task {task} on node {node} was over and ended it")]
    Unfenced {
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
        /// Its node.
        node: NodeId,
    },
    /// A task ended with what its node never said.
    #[error("node {node} never reported what ended attempt {attempt} of task {task}")]
    NotReported {
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
        /// The node that is said to have reported.
        node: NodeId,
    },
    /// A task ended with a wrong output, and its node is honest.
    #[error("task {task} ended with another output than its own")]
    WrongOutput {
        /// Which.
        task: TaskId,
    },
    /// An attempt was sent that must not be: an earlier one still runs, its number was used, or
    /// the task has ended or was never submitted.
    #[error("attempt {attempt} of task {task} was sent to node {node}, after attempt {before}")]
    WrongAttempt {
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
        /// Where it was sent.
        node: NodeId,
        /// The last attempt before it.
        before: u32,
    },
    /// A node was sent more than it said it can run.
    #[error("node {node} was sent {tasks} tasks of {memory_bytes} bytes, over its offer")]
    Overcommitted {
        /// Which.
        node: NodeId,
        /// Tasks it had then.
        tasks: usize,
        /// Their memory, in bytes.
        memory_bytes: u64,
    },
    /// The clearing account is not empty, though no settlement is under way.
    #[error("{amount} base units are stuck in clearing")]
    Clearing {
        /// How much.
        amount: Amount,
    },
    /// A node has another amount than it was paid.
    #[error("node {node} has {found} base units and was paid {paid}")]
    Paid {
        /// Which.
        node: NodeId,
        /// The sum of what ended tasks say it was paid.
        paid: Amount,
        /// What is on its account.
        found: Amount,
    },
    /// Nodes have together another amount than jobs say was paid.
    #[error("nodes have {found} base units, and jobs say {paid} were paid")]
    PaidTogether {
        /// The jobs' sum.
        paid: Amount,
        /// The nodes' sum.
        found: Amount,
    },
    /// The ledger holds another amount back than jobs say is reserved.
    #[error("{found} base units are reserved, and jobs say {reserved}")]
    Reserved {
        /// The jobs' sum.
        reserved: Amount,
        /// The ledger's.
        found: Amount,
    },
    /// The ledger does not add up.
    #[error(transparent)]
    Ledger(#[from] Corruption),
    /// The coordinator's state does not.
    #[error(transparent)]
    Rules(#[from] Inconsistency),
    /// A task of a job that is known is known no more, and nobody ever heard that it ended.
    #[error("task {task} has vanished")]
    Vanished {
        /// Which.
        task: TaskId,
    },
    /// A coordinator cannot go on from what it kept.
    #[error("the coordinator cannot go on: {0}")]
    NotRecovered(#[source] RecoverError),
    /// A submitter was told two different ends of one job.
    #[error("job {job} ended in two ways")]
    TwoEnds {
        /// Which.
        job: JobId,
    },
}

/// How a task ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// With an output.
    Succeeded,
    /// With an error of its own.
    Failed,
    /// Given up.
    Lost,
    /// Cancelled.
    Cancelled,
}

impl End {
    fn of(state: TaskState) -> Option<Self> {
        match state {
            TaskState::Succeeded => Some(Self::Succeeded),
            TaskState::Failed => Some(Self::Failed),
            TaskState::Lost { .. } => Some(Self::Lost),
            TaskState::Cancelled => Some(Self::Cancelled),
            _ => None,
        }
    }
}

/// What is known of a task from outside.
#[derive(Debug)]
struct TaskWatch {
    spec: TaskSpec,
    fuel_estimate: u64,
    price_max: Amount,
    heard: Instant,
    /// The attempt that may end it.
    live: Option<(NodeId, u32)>,
    /// The highest attempt that was sent.
    attempts: u32,
    /// The coordinator began again, and what it goes on from has not been looked at.
    uncertain: bool,
    /// An attempt of its earlier life that it may send once more, to the same node.
    again: Option<(NodeId, u32)>,
    ended: Option<End>,
    /// What reached the coordinator about it.
    reports: Vec<(NodeId, u32, Result<TaskOutput, TaskError>)>,
    /// When the node that had it died.
    orphaned: Option<Instant>,
}

#[derive(Debug, Default)]
struct NodeWatch {
    lies: bool,
    offer: Option<Offer>,
    /// Attempts that take up a slot, by task: the attempt, its memory, and when its lease is over.
    held: BTreeMap<TaskId, (u32, u64, Instant)>,
    paid: Amount,
    /// When it died, and with which tasks, until the coordinator says so.
    died: Option<Instant>,
}

/// Looks at everything that leaves and enters the coordinator, and keeps its own account of it.
#[derive(Debug)]
pub(crate) struct Checker {
    coordinator: ProcessId,
    rules: Config,
    drift_ppm: i32,
    full_every: u64,
    tasks: BTreeMap<TaskId, TaskWatch>,
    nodes: BTreeMap<NodeId, NodeWatch>,
    /// Jobs that reached the coordinator.
    jobs: BTreeSet<JobId>,
    acknowledged: BTreeSet<JobId>,
    finished: BTreeMap<JobId, JobSummary>,
    /// The nodes that settlements since the last look were for.
    settled: BTreeSet<NodeId>,
    /// Whether the coordinator did anything since the last look.
    touched: bool,
    /// Whether it began since the last full look.
    begun: bool,
    /// Whether it could not write since it last did: what comes out then was decided earlier.
    stalled: bool,
    since_full: u64,
    up: u64,
    violation: Option<Violation>,
    pub(crate) figures: Figures,
}

impl Checker {
    pub(crate) fn new(
        coordinator: ProcessId,
        rules: Config,
        drift_ppm: i32,
        full_every: u64,
    ) -> Self {
        Self {
            coordinator,
            rules,
            drift_ppm,
            full_every: full_every.max(1),
            tasks: BTreeMap::new(),
            nodes: BTreeMap::new(),
            jobs: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            finished: BTreeMap::new(),
            settled: BTreeSet::new(),
            touched: false,
            begun: false,
            stalled: false,
            since_full: 0,
            up: 0,
            violation: None,
            figures: Figures::default(),
        }
    }

    pub(crate) fn expect_node(&mut self, process: ProcessId, lies: bool) {
        self.nodes.entry(node_id(process)).or_default().lies = lies;
    }

    /// After every event: what is cheap to see, and now and then everything.
    ///
    /// # Errors
    /// [`Violation`], the first that was found.
    pub(crate) fn look(&mut self, world: &World<Member>) -> Result<(), Violation> {
        if let Some(violation) = self.violation.take() {
            return Err(violation);
        }
        // What a coordinator goes on from is looked at as soon as it is settled, be it by a tick that
        // tells nobody anything: settled tasks are soon forgotten.
        if !std::mem::take(&mut self.touched) && !self.begun {
            return Ok(());
        }
        let coordinator = coordinator(world, self.coordinator);
        let Some(coordinator) = coordinator.filter(|coordinator| coordinator.is_flushed()) else {
            // What is under way, or was when it died, is finished later.
            return Ok(());
        };
        self.stalled = false;
        let Some(book) = book(world, self.coordinator) else {
            return Ok(());
        };
        if let Some(clearing) = book.account(clearing_account())
            && clearing.balance() != Amount::ZERO
        {
            let amount = clearing.balance();
            return Err(Violation::Clearing { amount });
        }
        self.since_full += 1;
        if std::mem::take(&mut self.begun) {
            self.compare_after_boot(coordinator, book)?;
        } else if self.since_full < self.full_every {
            let settled = std::mem::take(&mut self.settled);
            return settled
                .into_iter()
                .try_for_each(|node| self.check_node(node, book));
        }
        self.look_at_everything(coordinator, book)
    }

    /// At the end: everything, and that nothing is left.
    ///
    /// # Errors
    /// [`Violation`], the first that is found.
    pub(crate) fn look_at_end(&mut self, world: &World<Member>) -> Result<(), Violation> {
        let rules = coordinator(world, self.coordinator).map(CoordinatorProcess::rules);
        for &job in &self.acknowledged {
            if rules.is_none_or(|rules| rules.job(job).is_none()) {
                return Err(Violation::Forgotten { job });
            }
        }
        let admitted = self
            .tasks
            .iter()
            .filter(|(task, _)| self.acknowledged.contains(&job_of(**task)));
        for (&task, watch) in admitted {
            let state = rules
                .and_then(|rules| rules.task(task))
                .map(|view| view.state);
            // What ended before the coordinator began is known by its job's sums alone.
            if !state.map_or(watch.ended.is_some(), TaskState::is_terminal) {
                return Err(Violation::NeverEnds { task, state });
            }
        }
        if let Some(&job) = self
            .acknowledged
            .iter()
            .find(|job| !self.finished.contains_key(job))
        {
            return Err(Violation::NeverAnswered { job });
        }
        let (Some(coordinator), Some(book)) = (
            coordinator(world, self.coordinator),
            book(world, self.coordinator),
        ) else {
            return Ok(());
        };
        self.look_at_everything(coordinator, book)
    }

    fn look_at_everything(
        &mut self,
        coordinator: &CoordinatorProcess,
        book: &Book,
    ) -> Result<(), Violation> {
        self.since_full = 0;
        self.settled.clear();
        self.figures.checks += 1;
        let rules = coordinator.rules();
        rules.check()?;
        book.check()?;
        let (mut paid, mut reserved) = (0, 0);
        for &job in &self.jobs {
            if let Some(summary) = rules.job(job) {
                paid += summary.paid.0;
                reserved += summary.reserved.0;
            }
        }
        let mut found = 0;
        for &node in self.nodes.keys() {
            self.check_node(node, book)?;
            found += balance(book, node).0;
        }
        let (paid, found) = (Amount(paid), Amount(found));
        if paid != found {
            return Err(Violation::PaidTogether { paid, found });
        }
        let held = book.open_reservations();
        let found = Amount(held.map(|reservation| reservation.amount.0).sum());
        // A coordinator that died between reserving a job's price and writing the job down finds it
        // reserved when the job is submitted again.
        let asked_for: u128 = self
            .tasks
            .iter()
            .filter(|(task, _)| rules.job(job_of(**task)).is_none())
            .map(|(_, watch)| watch.price_max.0)
            .sum();
        if !(reserved..=reserved + asked_for).contains(&found.0) {
            let reserved = Amount(reserved);
            return Err(Violation::Reserved { reserved, found });
        }
        for (&task, watch) in &self.tasks {
            let now = rules.task(task).map(|view| view.state);
            if let (Some(before), Some(state)) = (watch.ended, now)
                && End::of(state) != Some(before)
            {
                return Err(Violation::Reopened { task, before, now });
            }
        }
        Ok(())
    }

    fn check_node(&self, node: NodeId, book: &Book) -> Result<(), Violation> {
        let found = balance(book, node);
        let paid = self
            .nodes
            .get(&node)
            .map_or(Amount::ZERO, |watch| watch.paid);
        if found == paid {
            Ok(())
        } else {
            Err(Violation::Paid { node, paid, found })
        }
    }

    /// A coordinator that died between a commit and what it would have said of it has said
    /// nothing. Where it begins again, what it has is taken for what happened; that it adds up is
    /// checked, and that it is no less than what was seen.
    fn compare_after_boot(
        &mut self,
        coordinator: &CoordinatorProcess,
        book: &Book,
    ) -> Result<(), Violation> {
        let rules = coordinator.rules();
        for &job in &self.acknowledged {
            if rules.job(job).is_none() {
                return Err(Violation::Forgotten { job });
            }
        }
        for (&task, watch) in &mut self.tasks {
            let Some(view) = rules.task(task) else {
                // What ended is forgotten, once everybody was told and the money has moved.
                if watch.ended.is_none() && rules.job(job_of(task)).is_some() {
                    return Err(Violation::Vanished { task });
                }
                continue;
            };
            if !view.state.is_terminal() && view.attempts < watch.attempts {
                // The next attempt would have a number that a node has seen.
                return Err(Violation::WrongAttempt {
                    task,
                    attempt: view.attempts,
                    node: watch
                        .live
                        .map_or(NodeId::from_bytes([0; 32]), |(node, _)| node),
                    before: watch.attempts,
                });
            }
            watch.uncertain = false;
            watch.again = None;
            match view.state {
                TaskState::Assigned { node, attempt } => {
                    watch.live = Some((node, attempt));
                    watch.again = watch.live;
                    watch.attempts = attempt;
                }
                TaskState::Queued { attempts } => {
                    watch.live = None;
                    watch.attempts = attempts;
                }
                _ => {}
            }
            if watch.ended.is_none()
                && let Some(end) = End::of(view.state)
            {
                watch.ended = Some(end);
                count(&mut self.figures, end);
            }
        }
        for (&node, watch) in &mut self.nodes {
            watch.paid = balance(book, node);
        }
        Ok(())
    }

    fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    fn minute(&mut self, now: Instant) -> &mut Minute {
        let minute = now.as_nanos() / 60_000_000_000;
        let up = self.up;
        let minute = self.figures.minutes.entry(minute).or_default();
        minute.up = up;
        minute
    }

    fn submitted(&mut self, now: Instant, job: &JobSpec) {
        self.jobs.insert(job.id);
        for order in &job.tasks {
            if self.tasks.contains_key(&order.id) {
                continue;
            }
            self.figures.tasks += 1;
            let watch = TaskWatch {
                spec: order.spec.clone(),
                fuel_estimate: order.fuel_estimate,
                price_max: order.price_max,
                heard: now,
                live: None,
                attempts: 0,
                uncertain: false,
                again: None,
                ended: None,
                reports: Vec::new(),
                orphaned: None,
            };
            self.tasks.insert(order.id, watch);
        }
    }

    fn reported(&mut self, node: NodeId, attempt: u32, report: &TaskReport) {
        if let Some(watch) = self.nodes.get_mut(&node)
            && watch
                .held
                .get(&report.task)
                .is_some_and(|held| held.0 == attempt)
        {
            watch.held.remove(&report.task);
        }
        if let Some(watch) = self.tasks.get_mut(&report.task)
            && watch.ended.is_none()
        {
            let known = watch.reports.iter().any(|(from, number, result)| {
                (*from, *number) == (node, attempt) && *result == report.result
            });
            if !known {
                watch.reports.push((node, attempt, report.result.clone()));
            }
        }
    }

    fn dispatched(&mut self, now: Instant, node: NodeId, task: TaskId, attempt: u32) {
        self.figures.dispatched += 1;
        let wrong = |before| Violation::WrongAttempt {
            task,
            attempt,
            node,
            before,
        };
        let Some(watch) = self.tasks.get_mut(&task) else {
            return self.violate(wrong(0));
        };
        // A coordinator that begins again sends again what it had sent, or was about to.
        let uncertain = watch.uncertain;
        let is_live = watch.live == Some((node, attempt));
        let is_repeat = watch.again == Some((node, attempt)) || (uncertain && is_live);
        let is_next = attempt > watch.attempts && (watch.live.is_none() || uncertain);
        if watch.ended.is_some() || !(is_repeat || is_next) {
            let before = watch.attempts;
            return self.violate(wrong(before));
        }
        watch.live = Some((node, attempt));
        watch.attempts = attempt;
        watch.uncertain = false;
        watch.again = None;
        if let Some(orphaned) = watch.orphaned.take() {
            let time = now.duration_since(orphaned);
            self.figures.reassignment.add(time);
        }

        let memory_bytes = watch.spec.limits().memory_bytes;
        let fuel_estimate = watch.fuel_estimate;
        let Some(known) = self.nodes.get_mut(&node) else {
            return self.violate(wrong(attempt));
        };
        let Some(offer) = known.offer else {
            return self.violate(Violation::Overcommitted {
                node,
                tasks: 1,
                memory_bytes,
            });
        };
        known.held.retain(|_, held| held.2 > now);
        let seconds = fuel_estimate as f64 / offer.fuel_per_second.max(1) as f64;
        let lease = Duration::try_from_secs_f64(seconds * self.rules.lease_factor)
            .unwrap_or(Duration::MAX)
            .max(self.rules.lease_min);
        // In true time, by the coordinator's clock, and a little less for the rounding.
        let drift = f64::from(self.drift_ppm) / 1e6;
        let lease = Duration::try_from_secs_f64(lease.as_secs_f64() / (1.0 + drift) - 1e-6);
        let until = if self.stalled {
            // It was decided earlier, nobody knows when.
            now
        } else {
            now + lease.unwrap_or(Duration::MAX)
        };
        known.held.insert(task, (attempt, memory_bytes, until));
        let tasks = known.held.len();
        let memory_bytes = known
            .held
            .values()
            .fold(0_u64, |sum, held| sum.saturating_add(held.1));
        let slots = usize::try_from(offer.cpu_millis / 1_000).unwrap_or(usize::MAX);
        // What a node has already is no new burden.
        let is_new = !is_repeat && !uncertain;
        if is_new && (tasks > slots || memory_bytes > offer.memory_bytes) {
            self.violate(Violation::Overcommitted {
                node,
                tasks,
                memory_bytes,
            });
        }
    }

    fn decided(&mut self, now: Instant, event: Event) {
        match event {
            Event::TaskEnded {
                task,
                node,
                attempt,
                result,
                paid,
            } => self.ended(now, task, (node, attempt), &result, paid),
            Event::TaskLost { task } => self.end(now, task, End::Lost),
            Event::TaskCancelled { task } => self.end(now, task, End::Cancelled),
            Event::AttemptLost {
                task,
                node,
                attempt,
                ..
            } => {
                self.figures.attempts_lost += 1;
                self.minute(now).attempts_lost += 1;
                if let Some(watch) = self.tasks.get_mut(&task)
                    && watch.live == Some((node, attempt))
                {
                    watch.live = None;
                }
                if let Some(known) = self.nodes.get_mut(&node)
                    && known.held.get(&task).is_some_and(|held| held.0 == attempt)
                {
                    known.held.remove(&task);
                }
            }
            Event::NodeLost { node, reason } => {
                if let Some(known) = self.nodes.get_mut(&node) {
                    known.held.clear();
                    if let Some(died) = known.died.take() {
                        let times = if reason == LossReason::Silent {
                            &mut self.figures.detection
                        } else {
                            &mut self.figures.disconnection
                        };
                        times.add(now.duration_since(died));
                    }
                }
            }
            _ => {}
        }
    }

    fn ended(
        &mut self,
        now: Instant,
        task: TaskId,
        (node, attempt): (NodeId, u32),
        result: &Result<TaskOutput, TaskError>,
        paid: Amount,
    ) {
        let end = if result.is_ok() {
            End::Succeeded
        } else {
            End::Failed
        };
        if self.is_told_again(task, end) {
            return;
        }
        let Some(watch) = self.tasks.get(&task) else {
            return self.violate(Violation::Unfenced {
                task,
                attempt,
                node,
            });
        };
        let said = |(from, number, said): &(NodeId, u32, _)| {
            (*from, *number) == (node, attempt) && said == result
        };
        let is_live = watch.live == Some((node, attempt)) || watch.uncertain;
        let was_reported = watch.reports.iter().any(said);
        let is_right = *result == result_of(&watch.spec);
        if !is_live {
            self.violate(Violation::Unfenced {
                task,
                attempt,
                node,
            });
        } else if !was_reported {
            self.violate(Violation::NotReported {
                task,
                attempt,
                node,
            });
        }
        if !is_right {
            if self.nodes.get(&node).is_some_and(|known| known.lies) {
                self.figures.lies_believed += 1;
            } else {
                self.violate(Violation::WrongOutput { task });
            }
        }
        if let Some(known) = self.nodes.get_mut(&node) {
            known.paid = Amount(known.paid.0 + paid.0);
            self.settled.insert(node);
        }
        self.end(now, task, end);
    }

    /// A coordinator that begins again tells once more of what it had not settled, or had and has not
    /// written so.
    fn is_told_again(&self, task: TaskId, end: End) -> bool {
        let watch = self.tasks.get(&task);
        watch.is_some_and(|watch| watch.uncertain && watch.ended == Some(end))
    }

    fn end(&mut self, now: Instant, task: TaskId, end: End) {
        if self.is_told_again(task, end) {
            return;
        }
        let Some(watch) = self.tasks.get_mut(&task) else {
            return;
        };
        if let Some(first) = watch.ended {
            return self.violate(Violation::EndedTwice {
                task,
                first,
                second: end,
            });
        }
        watch.ended = Some(end);
        watch.live = None;
        watch.reports = Vec::new();
        let turnaround = now.duration_since(watch.heard);
        self.figures.turnaround.add(turnaround);
        count(&mut self.figures, end);
        if matches!(end, End::Succeeded | End::Failed) {
            self.minute(now).ended += 1;
        }
    }
}

impl Observer<Member> for Checker {
    fn sent(&mut self, now: Instant, from: ProcessId, to: ProcessId, message: &FogMessage) {
        if from == self.coordinator
            && let FogMessage::Dispatch { task, attempt, .. } = message
        {
            self.dispatched(now, node_id(to), *task, *attempt);
        }
    }

    fn receives(&mut self, now: Instant, from: ProcessId, to: ProcessId, message: &FogMessage) {
        if to != self.coordinator {
            return;
        }
        self.touched = true;
        match message {
            FogMessage::Submit(job) => self.submitted(now, job),
            FogMessage::Report { attempt, report } => {
                self.reported(node_id(from), *attempt, report);
            }
            FogMessage::Register(offer) | FogMessage::Heartbeat(offer) => {
                self.nodes.entry(node_id(from)).or_default().offer = Some(*offer);
            }
            _ => {}
        }
    }

    fn told(&mut self, now: Instant, process: ProcessId, fact: Fact) {
        self.touched |= process == self.coordinator;
        match fact {
            Fact::Decided { event, .. } => self.decided(now, event),
            Fact::Acknowledged { job } => {
                if self.acknowledged.insert(job) {
                    self.figures.jobs_admitted += 1;
                }
            }
            Fact::Finished { job, summary } => {
                if *self.finished.entry(job).or_insert(summary) != summary {
                    self.violate(Violation::TwoEnds { job });
                }
            }
            Fact::Forgotten { job } => self.violate(Violation::Forgotten { job }),
            Fact::NotRecovered(error) => self.violate(Violation::NotRecovered(error)),
            Fact::Stalled => self.stalled = true,
            Fact::Refused { .. } | Fact::Done { .. } => {}
        }
    }

    fn booted(&mut self, now: Instant, process: ProcessId) {
        if process == self.coordinator {
            self.touched = true;
            self.begun = true;
            for watch in self.tasks.values_mut() {
                watch.uncertain = true;
            }
            for watch in self.nodes.values_mut() {
                watch.held.clear();
            }
        }
        if let Some(watch) = self.nodes.get_mut(&node_id(process)) {
            watch.died = None;
            self.up += 1;
            self.minute(now);
        }
    }

    fn crashed(&mut self, now: Instant, process: ProcessId) {
        let node = node_id(process);
        let Some(watch) = self.nodes.get_mut(&node) else {
            return;
        };
        watch.died = Some(now);
        self.up -= 1;
        for task in watch.held.keys() {
            if let Some(task) = self.tasks.get_mut(task)
                && task.live.is_some_and(|(at, _)| at == node)
            {
                task.orphaned = Some(now);
            }
        }
        self.minute(now).deaths += 1;
    }
}

fn count(figures: &mut Figures, end: End) {
    match end {
        End::Succeeded => figures.succeeded += 1,
        End::Failed => figures.failed += 1,
        End::Lost => figures.lost += 1,
        End::Cancelled => figures.cancelled += 1,
    }
}

fn coordinator(world: &World<Member>, id: ProcessId) -> Option<&CoordinatorProcess> {
    match world.process(id)? {
        Member::Coordinator(coordinator) => Some(coordinator),
        _ => None,
    }
}

fn book(world: &World<Member>, id: ProcessId) -> Option<&Book> {
    let kept: &Kept = world.disk(id)?.kept();
    kept.coordinator().map(|kept| &kept.book)
}

fn balance(book: &Book, node: NodeId) -> Amount {
    let account = book.account(node_account(node));
    account.map_or(Amount::ZERO, fogcompute_ledger::Account::balance)
}
