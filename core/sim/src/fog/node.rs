//! A node, honest or not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fogcompute_base::{Instant, TaskId};
use fogcompute_coord::Offer;
use fogcompute_exec::{TaskError, TaskOutput, TaskReport, TaskSpec, Usage};

use crate::chance::{below, between, happens};
use crate::fog::member::{Fact, FogContext};
use crate::fog::message::FogMessage;
use crate::fog::work::{job_id, result_of, run_time, task_id};
use crate::process::ProcessId;

/// Attempts whose end a node remembers, so that it does not do them again.
const DONE_MAX: usize = 1_000;

/// How a node lies.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Lie {
    /// It says it has four times the processors it has.
    Capacity,
    /// It says it has done what it has not, with an output it made up.
    Garbage,
    /// It reports on other nodes' tasks, attempts that never were, and tasks that do not exist.
    Others,
    /// It says a task took more fuel than the task may have.
    TooMuchFuel,
    /// It takes tasks and never answers for them.
    Mute,
}

impl Lie {
    /// Every way to lie.
    pub const ALL: [Self; 5] = [
        Self::Capacity,
        Self::Garbage,
        Self::Others,
        Self::TooMuchFuel,
        Self::Mute,
    ];
}

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeSetup {
    /// Where it registers.
    pub coordinator: ProcessId,
    /// What it really lends.
    pub offer: Offer,
    /// How it lies, if it does.
    pub lie: Option<Lie>,
    /// Time from one heartbeat to the next.
    pub heartbeat: Duration,
    /// After so long it says again what was not answered.
    pub again: Duration,
    /// Heartbeats of a million at which it has come to lend nothing, because its owner is back; it
    /// keeps what it has. The next such heartbeat ends it.
    pub vacates_ppm: u32,
}

type AttemptKey = (TaskId, u32);

/// What a node's disk keeps.
#[derive(Debug, Default)]
pub struct NodeKept {
    /// Reports that the coordinator has not taken.
    pub reports: BTreeMap<AttemptKey, TaskReport>,
    /// Attempts that have ended here, in the order they did.
    done: VecDeque<AttemptKey>,
    known: BTreeSet<AttemptKey>,
}

impl NodeKept {
    fn remember(&mut self, attempt: AttemptKey, report: TaskReport) {
        self.reports.insert(attempt, report);
        if self.known.insert(attempt) {
            self.done.push_back(attempt);
        }
        if self.done.len() > DONE_MAX
            && let Some(oldest) = self.done.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// A device that lends compute: it runs what it is sent for as long as that takes, keeps results
/// until they are taken, and never runs an attempt twice.
#[derive(Debug)]
pub struct Node {
    setup: NodeSetup,
    registered: bool,
    lends: bool,
    running: BTreeMap<AttemptKey, (Instant, TaskSpec)>,
    /// When what runs ends, in order.
    ends: BTreeSet<(Instant, AttemptKey)>,
    waiting: VecDeque<(AttemptKey, TaskSpec)>,
    heartbeat_at: Instant,
    again_at: Instant,
}

impl Node {
    pub(crate) fn boot(setup: &NodeSetup, context: &mut FogContext<'_>) -> Self {
        let mut node = Self {
            setup: setup.clone(),
            registered: false,
            lends: true,
            running: BTreeMap::new(),
            ends: BTreeSet::new(),
            waiting: VecDeque::new(),
            heartbeat_at: context.now(),
            again_at: context.now(),
        };
        node.speak_again(context);
        node.set_timer(context);
        node
    }

    /// Tasks that it really runs now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    fn slots(&self) -> usize {
        usize::try_from(self.setup.offer.cpu_millis / 1_000).unwrap_or(usize::MAX)
    }

    /// What it says it lends.
    fn offer(&self) -> Offer {
        let mut offer = self.setup.offer;
        if self.setup.lie == Some(Lie::Capacity) {
            offer.cpu_millis *= 4;
            offer.memory_bytes *= 4;
        }
        if !self.lends {
            offer.cpu_millis = 0;
        }
        offer
    }

    pub(crate) fn receive(&mut self, message: FogMessage, context: &mut FogContext<'_>) {
        match message {
            FogMessage::Registered => {
                self.registered = true;
                self.heartbeat_at = context.now() + self.setup.heartbeat;
            }
            FogMessage::Heard { known: false } => {
                self.registered = false;
                self.register(context);
            }
            FogMessage::Dispatch {
                task,
                attempt,
                spec,
            } => self.take((task, attempt), spec, context),
            FogMessage::Revoke { task, attempt } => self.revoke((task, attempt), context),
            FogMessage::ReportTaken { task, attempt } => {
                let key = (task, attempt);
                if context
                    .kept()
                    .node()
                    .is_some_and(|kept| kept.reports.contains_key(&key))
                {
                    // If that fails, it is said and taken once more.
                    let _ = context.commit(|kept| kept.node_mut().reports.remove(&key));
                }
            }
            _ => {}
        }
        self.set_timer(context);
    }

    pub(crate) fn wake(&mut self, context: &mut FogContext<'_>) {
        let now = context.now();
        while let Some(&(at, key)) = self.ends.first() {
            if at > now {
                break;
            }
            self.ends.pop_first();
            if let Some((_, spec)) = self.running.remove(&key) {
                self.end(key, &spec, context);
            }
        }
        self.start_waiting(now);
        if self.registered && self.heartbeat_at <= now {
            if happens(context.rng(), self.setup.vacates_ppm) {
                self.lends = !self.lends;
            }
            context.send(self.setup.coordinator, FogMessage::Heartbeat(self.offer()));
            self.heartbeat_at = now + self.setup.heartbeat;
            if self.setup.lie == Some(Lie::Others) {
                self.report_on_others(context);
            }
        }
        if self.again_at <= now {
            self.speak_again(context);
        }
        self.set_timer(context);
    }

    pub(crate) fn hung_up(&mut self, context: &mut FogContext<'_>) {
        self.registered = false;
        self.again_at = context.now() + self.setup.again;
        self.set_timer(context);
    }

    fn register(&mut self, context: &mut FogContext<'_>) {
        context.send(self.setup.coordinator, FogMessage::Register(self.offer()));
        self.again_at = context.now() + self.setup.again;
    }

    /// Says what was not answered.
    fn speak_again(&mut self, context: &mut FogContext<'_>) {
        if !self.registered {
            self.register(context);
        }
        let kept = context.kept().node().map(|kept| kept.reports.clone());
        for ((_, attempt), report) in kept.into_iter().flatten() {
            context.send(
                self.setup.coordinator,
                FogMessage::Report { attempt, report },
            );
        }
        self.again_at = context.now() + self.setup.again;
    }

    fn take(&mut self, key: AttemptKey, spec: TaskSpec, context: &mut FogContext<'_>) {
        let has_ended = context
            .kept()
            .node()
            .is_some_and(|kept| kept.known.contains(&key));
        let waits = self.waiting.iter().any(|(waiting, _)| *waiting == key);
        // A message can come twice. What has ended here is reported until it is taken.
        if has_ended || waits || self.running.contains_key(&key) {
            return;
        }
        match self.setup.lie {
            Some(Lie::Mute) => return,
            Some(Lie::Garbage) => {
                let fuel = between(context.rng(), 1, spec.limits().fuel);
                let made_up = Ok(TaskOutput {
                    output: b"made up".to_vec(),
                    usage: Usage {
                        fuel,
                        ..Usage::default()
                    },
                });
                self.report(key, made_up, context);
                return;
            }
            _ => {}
        }
        self.waiting.push_back((key, spec));
        self.start_waiting(context.now());
    }

    fn start_waiting(&mut self, now: Instant) {
        while self.running.len() < self.slots() {
            let Some((key, spec)) = self.waiting.pop_front() else {
                break;
            };
            let end = now + run_time(&spec, self.setup.offer.fuel_per_second);
            self.ends.insert((end, key));
            self.running.insert(key, (end, spec));
        }
    }

    fn end(&mut self, key: AttemptKey, spec: &TaskSpec, context: &mut FogContext<'_>) {
        let mut result = result_of(spec);
        if self.setup.lie == Some(Lie::TooMuchFuel)
            && let Ok(output) = &mut result
        {
            output.usage.fuel = spec.limits().fuel.saturating_add(1);
        }
        self.report(key, result, context);
    }

    fn revoke(&mut self, key: AttemptKey, context: &mut FogContext<'_>) {
        let before = self.waiting.len();
        self.waiting.retain(|(waiting, _)| *waiting != key);
        let mut stopped = self.waiting.len() < before;
        if let Some((end, _)) = self.running.remove(&key) {
            self.ends.remove(&(end, key));
            stopped = true;
        }
        if stopped && self.setup.lie != Some(Lie::Mute) {
            self.report(key, Err(TaskError::Cancelled), context);
        }
        self.start_waiting(context.now());
    }

    /// Keeps a report, and says it. What does not fit on a full disk is lost: the lease will end.
    fn report(
        &self,
        key: AttemptKey,
        result: Result<TaskOutput, TaskError>,
        context: &mut FogContext<'_>,
    ) {
        let report = TaskReport {
            task: key.0,
            result,
        };
        let kept = report.clone();
        if context
            .commit(|disk| disk.node_mut().remember(key, kept))
            .is_err()
        {
            return;
        }
        context.tell(Fact::Done {
            task: key.0,
            attempt: key.1,
        });
        let attempt = key.1;
        context.send(
            self.setup.coordinator,
            FogMessage::Report { attempt, report },
        );
    }

    /// Guesses: a submitter, one of its jobs, one of its tasks, an attempt.
    fn report_on_others(&self, context: &mut FogContext<'_>) {
        let rng = context.rng();
        let submitter = ProcessId(u32::try_from(between(rng, 1, 3)).unwrap_or(1));
        let job = job_id(submitter, below(rng, 12));
        let task = task_id(job, u32::try_from(below(rng, 8)).unwrap_or(0));
        let attempt = u32::try_from(between(rng, 0, 3)).unwrap_or(0);
        let result = Ok(TaskOutput {
            output: b"not mine".to_vec(),
            usage: Usage {
                fuel: 1,
                ..Usage::default()
            },
        });
        let report = TaskReport { task, result };
        context.send(
            self.setup.coordinator,
            FogMessage::Report { attempt, report },
        );
    }

    fn set_timer(&self, context: &mut FogContext<'_>) {
        let unanswered = !self.registered
            || context
                .kept()
                .node()
                .is_some_and(|kept| !kept.reports.is_empty());
        let next = [
            self.ends.first().map(|(at, _)| *at),
            self.registered.then_some(self.heartbeat_at),
            unanswered.then_some(self.again_at.max(context.now())),
        ];
        if let Some(at) = next.into_iter().flatten().min() {
            context.wake_at(at);
        }
    }
}
