//! What a coordinator answers submitters.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fogcompute_base::{AccountId, JobId, NodeId, TaskId};
use fogcompute_coord::token::{Action, Gate, GateConfig, Need, Pass, ReplayLimits};
use fogcompute_coord::{JobSpec, NodeView, Status, SubmitError};
use fogcompute_ledger::{Amount, PublicKey};
use fogcompute_runtime::check_preamble;
use fogcompute_store::{GateStore, JobRow, StoreError, TaskRow, Wait};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::{debug, info_span, warn};

use super::link::{Asked, Desk, Reply};
use super::protocol::{Answer, JOBS_MAX, JobOrder, NodeStatus, Reason, Request, Wanted};
use crate::coordinate::CoordinatorService;
use crate::error::NodeError;
use crate::protocol::Role;

/// Most requests that are looked at together: their passes and their jobs are written down at once.
const TOGETHER_MAX: usize = 64;

/// Most requests that wait for events, over all links.
const WATCHERS_MAX: usize = 1_024;

/// Calls that are remembered, of all and of one submitter: each result that is fetched is one. They
/// take some 200 bytes each.
const REPLAYS: ReplayLimits = ReplayLimits {
    calls_max: 500_000,
    calls_per_submitter_max: 100_000,
};

/// Whose tokens a coordinator honours, and where it remembers what was done with them.
#[derive(Clone, Debug)]
pub struct SubmittersConfig {
    /// Who may issue tokens.
    pub issuers: BTreeSet<PublicKey>,
    /// The file of calls and of what was used of tokens.
    pub gate: PathBuf,
}

/// The submitters of a coordinator.
pub(crate) struct Submitters {
    desk: Arc<Desk>,
    inbox: mpsc::Receiver<Asked>,
    door: Option<Door>,
    /// Jobs that have come together and were not looked at yet.
    coming: Vec<Submission>,
    /// Answers that nobody may see before what they say is written down.
    unwritten: Vec<(Reply, Promise)>,
    watchers: Vec<Watcher>,
    /// Calls that were refused.
    refused: u64,
}

#[derive(Debug)]
struct Door {
    gate: Gate,
    store: GateStore,
}

/// A job that somebody may submit.
struct Submission {
    reply: Reply,
    pass: Pass,
    order: JobOrder,
    /// Its room among those that come in.
    _room: Option<OwnedSemaphorePermit>,
}

/// What a job is at first sight.
enum Looked {
    New(JobSpec),
    /// It was admitted before, or another of its id, and is asked for with these tasks.
    Known(Vec<TaskId>),
}

/// What is answered once everything is written down.
#[derive(Debug)]
enum Promise {
    /// How a job stands, if it is the one that was submitted.
    Job {
        job: JobId,
        owner: AccountId,
        /// Its tasks, if it was there before and may be another.
        tasks: Option<Vec<TaskId>>,
    },
    Cancelled(u32),
    Done,
}

#[derive(Debug)]
struct Watcher {
    reply: Reply,
    owner: AccountId,
    wanted: Wanted,
    /// The number it has looked up to, for whoever gives up waiting.
    looked: Arc<AtomicU64>,
}

/// Why a request gets no other answer, with what people are told.
struct Refused(Reason, String);

impl Refused {
    fn of(reason: Reason) -> Self {
        Self(reason, reason.to_string())
    }
}

impl From<&SubmitError<StoreError>> for Refused {
    fn from(error: &SubmitError<StoreError>) -> Self {
        let reason = match error {
            SubmitError::NoTasks { .. } => Reason::NoTasks,
            SubmitError::TooManyTasks { .. } => Reason::TooManyTasks,
            SubmitError::KnownJob { .. } => Reason::JobTaken,
            SubmitError::KnownTask { .. } => Reason::TaskTaken,
            SubmitError::Shed(_) => Reason::Shed,
            SubmitError::Unroutable { .. } => Reason::Unroutable,
            SubmitError::Bank(_) => Reason::Funds,
            // There is one more in this workspace.
            _ => Reason::Stalled,
        };
        Self(reason, error.to_string())
    }
}

impl From<StoreError> for Refused {
    /// Where files are is nothing for submitters.
    fn from(error: StoreError) -> Self {
        warn!(%error, "files cannot be read");
        Self::of(Reason::Storage)
    }
}

impl From<Refused> for Answer {
    fn from(Refused(reason, said): Refused) -> Self {
        Self::Refused { reason, said }
    }
}

impl Submitters {
    pub(crate) fn new(desk: Arc<Desk>, inbox: mpsc::Receiver<Asked>) -> Self {
        Self {
            desk,
            inbox,
            door: None,
            coming: Vec::new(),
            unwritten: Vec::new(),
            watchers: Vec::new(),
            refused: 0,
        }
    }

    /// The next request. Dropping the future loses nothing.
    pub(crate) async fn asked(&mut self) -> Asked {
        match self.inbox.recv().await {
            Some(asked) => asked,
            // The desk holds a sender, so this does not happen.
            None => std::future::pending().await,
        }
    }
}

impl CoordinatorService {
    /// Lets submitters in that hold tokens of these issuers. Until then they are told that nobody
    /// listens.
    ///
    /// # Errors
    /// [`NodeError::Store`].
    pub fn open_to_submitters(&mut self, config: SubmittersConfig) -> Result<(), NodeError> {
        let store = GateStore::open(&config.gate)?;
        let issuers = config.issuers.iter().copied();
        let gate = store.gate(GateConfig {
            replays: REPLAYS,
            ..GateConfig::new(self.descriptor().node, issuers)
        })?;
        self.submitters.door = Some(Door { gate, store });
        self.submitters.desk.open(config.issuers);
        Ok(())
    }

    /// Calls of submitters that no token permitted.
    #[must_use]
    pub const fn calls_refused(&self) -> u64 {
        self.submitters.refused
    }

    /// Links of submitters that were closed because there were too many.
    pub(crate) fn links_refused(&self) -> u64 {
        self.submitters.desk.links_refused()
    }

    /// Deals with a request, and with those that came with it.
    pub(crate) fn answer(&mut self, first: Asked) {
        let mut together = vec![first];
        while together.len() < TOGETHER_MAX
            && let Ok(next) = self.submitters.inbox.try_recv()
        {
            together.push(next);
        }
        let mut let_in = Vec::with_capacity(together.len());
        for asked in together {
            match self.let_in(&asked) {
                Ok(pass) => let_in.push((asked, pass)),
                Err(refused) => {
                    self.submitters.refused += 1;
                    let _ = asked.reply.send(refused.into());
                }
            }
        }
        let kept = self.keep(&let_in);
        if let Err(error) = &kept {
            warn!(%error, "calls cannot be remembered");
        }
        for (asked, pass) in let_in {
            if kept.is_ok() {
                self.carry_out(asked, pass);
                continue;
            }
            // The call could be made again after a restart, so it does nothing.
            self.give_back(&pass);
            let _ = asked.reply.send(Refused::of(Reason::Stalled).into());
        }
        self.take_jobs();
    }

    /// Whether a call is permitted, each once.
    fn let_in(&mut self, asked: &Asked) -> Result<Pass, Refused> {
        let need = match &asked.request {
            // Once more the same job takes nothing more.
            Request::Submit(job) if !self.knows(job.id)? => Need {
                tasks: job.tasks.len() as u64,
                spend: (job.tasks.iter().map(|order| order.price_max))
                    .try_fold(Amount::ZERO, Amount::checked_add)
                    .unwrap_or(Amount::MAX),
            },
            _ => Need::NOTHING,
        };
        let wall = self.wall();
        let Some(door) = &mut self.submitters.door else {
            return Err(Refused::of(Reason::Closed));
        };
        if asked.call.action != asked.request.action() {
            return Err(Refused::of(Reason::Protocol));
        }
        let admitted = door.gate.admit(&asked.call, &asked.body, need, wall);
        admitted.map_err(|error| Refused(Reason::from(&error), error.to_string()))
    }

    /// Remembers calls that were let through, before any of them does anything.
    fn keep(&mut self, let_in: &[(Asked, Pass)]) -> Result<(), StoreError> {
        let Some(door) = &mut self.submitters.door else {
            return Ok(());
        };
        if let_in.is_empty() {
            return Ok(());
        }
        let looks = |(asked, _): &(Asked, Pass)| asked.request.action() == Action::Query;
        let wait = match let_in.iter().all(looks) {
            true => Wait::System,
            false => Wait::Disk,
        };
        let passes = let_in.iter().map(|(_, pass)| pass);
        door.store.keep(passes, &door.gate, wait)
    }

    /// A call came to nothing, so it took nothing of its token.
    fn give_back(&mut self, pass: &Pass) {
        if let Some(door) = &mut self.submitters.door
            && (pass.need.tasks > 0 || pass.need.spend > Amount::ZERO)
        {
            door.gate.give_back(pass);
            if let Err(error) = door.store.give_back(pass, &door.gate) {
                warn!(%error, "what a token has left is not written down");
            }
        }
    }

    fn carry_out(&mut self, asked: Asked, pass: Pass) {
        let (reply, owner) = (asked.reply, pass.account);
        // What is asked for after a job may be about it.
        let goes_on = match &asked.request {
            Request::Submit(order) => {
                let mut coming = self.submitters.coming.iter();
                coming.all(|it| it.order.id != order.id)
            }
            _ => false,
        };
        if !goes_on {
            self.take_jobs();
        }
        let answer = match asked.request {
            Request::Submit(order) => {
                return self.submitters.coming.push(Submission {
                    reply,
                    pass,
                    order,
                    _room: asked._room,
                });
            }
            Request::CancelJob(job) => match self.cancel_job(job, owner) {
                Ok(count) => return self.promise_cancelled(reply, count),
                Err(refused) => Err(refused),
            },
            Request::CancelTask(task) => match self.cancel_task(task, owner) {
                Ok(count) => return self.promise_cancelled(reply, count),
                Err(refused) => Err(refused),
            },
            Request::Events(wanted) => {
                return self.watch(Watcher {
                    reply,
                    owner,
                    wanted,
                    looked: asked.looked,
                });
            }
            Request::Job(job) => self.job_of(job, owner).map(Answer::Job),
            Request::Tasks(job) => self.tasks_of(job, owner).map(Answer::Tasks),
            Request::Task(task) => (self.task_of(task, owner)).map(|it| Answer::Tasks(vec![it])),
            Request::Jobs { count_max } => self
                .jobs()
                .jobs_of(owner, count_max.min(JOBS_MAX).into())
                .map(Answer::Jobs)
                .map_err(Refused::from),
            Request::Result(task) => self.result_of(task, owner),
            Request::Log(task) => self.log_of(task, owner).map(Answer::Log),
            Request::Nodes => Ok(Answer::Nodes(self.node_statuses())),
            Request::Drain(node) => match self.drain(node) {
                Ok(()) => return self.submitters.unwritten.push((reply, Promise::Done)),
                Err(refused) => Err(refused),
            },
            Request::Undrain(node) => match self.undrain(node) {
                Ok(()) => return self.submitters.unwritten.push((reply, Promise::Done)),
                Err(refused) => Err(refused),
            },
            Request::Metrics => Ok(Answer::Metrics(self.metrics_text())),
            Request::Topology => Ok(Answer::Topology(self.fog_topology())),
            Request::Waiting(job) => self
                .job_of(job, owner)
                .map(|_| Answer::Waiting(self.waiting(job))),
        };
        let _ = reply.send(answer.unwrap_or_else(Answer::from));
    }

    /// Takes the jobs that have come together: the ledger is asked, and its disk waited for, once.
    fn take_jobs(&mut self) {
        let (mut waiting, mut jobs) = (Vec::new(), Vec::new());
        for submission in std::mem::take(&mut self.submitters.coming) {
            let Submission {
                reply, pass, order, ..
            } = submission;
            let (job, owner, count) = (order.id, pass.account, order.tasks.len());
            match self.look_at(order, owner) {
                Ok(Looked::New(spec)) => {
                    jobs.push(spec);
                    let span = info_span!("submit", %job, tasks = count);
                    waiting.push((reply, pass, job, span));
                }
                Ok(Looked::Known(tasks)) => {
                    self.give_back(&pass);
                    let tasks = Some(tasks);
                    let promise = Promise::Job { job, owner, tasks };
                    self.submitters.unwritten.push((reply, promise));
                }
                Err(refused) => {
                    self.give_back(&pass);
                    let _ = reply.send(refused.into());
                }
            }
        }
        if jobs.is_empty() {
            return;
        }
        let taken = self.with_rules(|rules, host| rules.submit_all(jobs, host));
        for ((reply, pass, job, span), taken) in waiting.into_iter().zip(taken) {
            let _entered = span.enter();
            let owner = pass.account;
            match taken {
                Ok(()) => {
                    debug!("taken");
                    let tasks = None;
                    let promise = Promise::Job { job, owner, tasks };
                    self.submitters.unwritten.push((reply, promise));
                }
                Err(error) => {
                    debug!(%error, "refused");
                    self.give_back(&pass);
                    let _ = reply.send(Refused::from(&error).into());
                }
            }
        }
    }

    /// Whether a job is there already, or may be taken as far as can be seen of itself.
    fn look_at(&self, order: JobOrder, owner: AccountId) -> Result<Looked, Refused> {
        if self.knows(order.id)? {
            let tasks = order.tasks.iter().map(|order| order.id);
            return Ok(Looked::Known(tasks.collect()));
        }
        for task in &order.tasks {
            // The rest of it is for a node to look at.
            check_preamble(task.spec.module())
                .map_err(|error| Refused(Reason::NoModule, format!("task {}: {error}", task.id)))?;
        }
        Ok(Looked::New(JobSpec {
            id: order.id,
            owner,
            priority: order.priority,
            privacy: order.privacy,
            tasks: order.tasks,
        }))
    }

    /// Whether a job was admitted, now or however long ago: the rules forget those that have ended.
    pub(crate) fn knows(&self, job: JobId) -> Result<bool, StoreError> {
        Ok(self.rules().job(job).is_some() || self.jobs().job(job)?.is_some())
    }

    /// How a job stands that was submitted, now or before.
    fn submitted(
        &self,
        job: JobId,
        owner: AccountId,
        tasks: Option<&[TaskId]>,
    ) -> Result<JobRow, Refused> {
        let known = self.job_of(job, owner);
        let Some(tasks) = tasks else {
            return known;
        };
        // Somebody else's job is no other to him than one of other tasks.
        let known = known.map_err(|_| Refused::of(Reason::JobTaken))?;
        let there = self.jobs().tasks(job)?;
        match there.iter().map(|task| task.id).eq(tasks.iter().copied()) {
            true => Ok(known),
            false => Err(Refused::of(Reason::JobTaken)),
        }
    }

    fn job_of(&self, job: JobId, owner: AccountId) -> Result<JobRow, Refused> {
        let known = self.jobs().job(job)?;
        // Of other accounts' jobs nobody learns that they are there.
        known
            .filter(|known| known.owner == owner)
            .ok_or_else(|| Refused::of(Reason::UnknownJob))
    }

    fn tasks_of(&self, job: JobId, owner: AccountId) -> Result<Vec<TaskRow>, Refused> {
        self.job_of(job, owner)?;
        Ok(self.jobs().tasks(job)?)
    }

    fn task_of(&self, task: TaskId, owner: AccountId) -> Result<TaskRow, Refused> {
        let unknown = || Refused::of(Reason::UnknownTask);
        let known = self.jobs().task(task)?.ok_or_else(unknown)?;
        self.job_of(known.job, owner).map_err(|_| unknown())?;
        Ok(known)
    }

    fn result_of(&self, task: TaskId, owner: AccountId) -> Result<Answer, Refused> {
        let known = self.task_of(task, owner)?;
        if !known.state.is_terminal() {
            return Err(Refused::of(Reason::NotEnded));
        }
        match self.jobs().report(task)? {
            Some(report) => Ok(Answer::Result(report)),
            None => Err(Refused::of(Reason::NoResult)),
        }
    }

    fn log_of(&self, task: TaskId, owner: AccountId) -> Result<String, Refused> {
        let known = self.task_of(task, owner)?;
        if !known.state.is_terminal() {
            return Err(Refused::of(Reason::NotEnded));
        }
        Ok(self.jobs().log(task)?.unwrap_or_default())
    }

    /// Ends what has not ended of a job. Once more it ends nothing.
    fn cancel_job(&mut self, job: JobId, owner: AccountId) -> Result<u32, Refused> {
        let tasks = self.tasks_of(job, owner)?;
        let open = tasks.iter().filter(|task| !task.state.is_terminal());
        let open: Vec<_> = open.map(|task| task.id).collect();
        Ok(open.into_iter().map(|task| self.cancel(task)).sum())
    }

    fn cancel_task(&mut self, task: TaskId, owner: AccountId) -> Result<u32, Refused> {
        self.task_of(task, owner)?;
        Ok(self.cancel(task))
    }

    /// Says how many tasks that ended.
    fn cancel(&mut self, task: TaskId) -> u32 {
        match self.with_rules(|rules, host| rules.cancel(task, host)) {
            Ok(()) => 1,
            // It has ended, perhaps a moment ago.
            Err(_) => 0,
        }
    }

    fn promise_cancelled(&mut self, reply: Reply, count: u32) {
        self.submitters
            .unwritten
            .push((reply, Promise::Cancelled(count)));
    }

    fn drain(&mut self, node: NodeId) -> Result<(), Refused> {
        match self.with_rules(|rules, host| rules.drain(node, host)) {
            true => Ok(()),
            false => Err(Refused::of(Reason::UnknownNode)),
        }
    }

    fn undrain(&mut self, node: NodeId) -> Result<(), Refused> {
        match self.with_rules(|rules, host| rules.undrain(node, host)) {
            true => Ok(()),
            false => Err(Refused::of(Reason::UnknownNode)),
        }
    }

    /// What happened, or nothing if it is to be waited for: then it is known up to where there is
    /// nothing.
    fn look(&self, owner: AccountId, wanted: &mut Wanted) -> Result<Option<Answer>, Refused> {
        loop {
            let before = wanted.after;
            let found = (self.jobs()).events(Some(owner), before, wanted.count_max.into())?;
            // A number that this coordinator never gave: whoever asks is told where it is.
            let is_ahead = found.last < before;
            let is_news = !found.events.is_empty() || found.missed > 0 || is_ahead;
            if is_news || wanted.wait_ms == 0 {
                return Ok(Some(Answer::Events(found)));
            }
            if found.last == before {
                return Ok(None);
            }
            wanted.after = found.last;
        }
    }

    /// Answers somebody who wants events, now or when there are some.
    fn watch(&mut self, mut watcher: Watcher) {
        if watcher.reply.is_closed() {
            return;
        }
        let answer = match self.look(watcher.owner, &mut watcher.wanted) {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                let watchers = &mut self.submitters.watchers;
                if watchers.len() >= WATCHERS_MAX {
                    watchers.retain(|it| !it.reply.is_closed());
                }
                if watchers.len() < WATCHERS_MAX {
                    watcher
                        .looked
                        .store(watcher.wanted.after, Ordering::Relaxed);
                    watchers.push(watcher);
                    return;
                }
                Refused::of(Reason::TooManyCalls).into()
            }
            Err(refused) => refused.into(),
        };
        let _ = watcher.reply.send(answer);
    }

    /// Everything is written down: who waited for that is answered.
    pub(crate) fn answer_what_is_written(&mut self) {
        for (reply, promise) in std::mem::take(&mut self.submitters.unwritten) {
            let answer = match promise {
                Promise::Cancelled(tasks) => Answer::Cancelled { tasks },
                Promise::Done => Answer::Done,
                Promise::Job { job, owner, tasks } => self
                    .submitted(job, owner, tasks.as_deref())
                    .map_or_else(Answer::from, Answer::Job),
            };
            let _ = reply.send(answer);
        }
        for watcher in std::mem::take(&mut self.submitters.watchers) {
            self.watch(watcher);
        }
    }

    /// Whether somebody waits for what is written down already.
    pub(crate) fn has_promised(&self) -> bool {
        !self.submitters.unwritten.is_empty()
    }

    /// Every node that is there.
    pub(crate) fn node_statuses(&self) -> Vec<NodeStatus> {
        let views = self.rules().nodes();
        let view = |node: NodeId| -> Option<&NodeView> {
            let found = views.binary_search_by_key(&node, |view| view.node).ok()?;
            views.get(found)
        };
        let count = |tasks: usize| u32::try_from(tasks).unwrap_or(u32::MAX);
        self.nodes()
            .map(|(node, record)| {
                let known = match record.role {
                    Role::Compute => view(node),
                    Role::Mix { .. } => None,
                };
                let status = match (record.role, known) {
                    (Role::Mix { .. }, _) if record.answered => Status::Active,
                    (_, Some(known)) => known.status,
                    _ => Status::Suspect,
                };
                let offer = &record.offer;
                NodeStatus {
                    node,
                    role: record.role,
                    address: record.descriptor.address,
                    status,
                    barred: known.is_some_and(|known| known.barred),
                    cpu_millis: offer.cpu_millis,
                    memory_bytes: offer.memory_bytes,
                    fuel_per_second: offer.fuel_per_second,
                    price_per_gigafuel: offer.price_per_gigafuel,
                    latency_ms: offer.latency_ms,
                    trust: known.map_or(1.0, |known| known.reputation.lower_bound()),
                    running: known.map_or(0, |known| count(known.running)),
                    waiting: known.map_or(0, |known| count(known.waiting)),
                }
            })
            .collect()
    }
}
