//! What a node does for its coordinator by their link: short tasks, one after the other on a few
//! threads, and the reports of all of them until the coordinator has them on its disk.
//!
//! Nothing of it is written down. A node that is killed has its tasks done by others, and doing a
//! short one again costs less than a disk that confirms every step of it; what runs longer is for
//! the [`Worker`](crate::Worker).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use fogcompute_base::TaskId;
use fogcompute_exec::executor::Permission;
use fogcompute_exec::{
    Control, CpuShare, Runtime, Session, TaskError, TaskReport, TaskSpec, Unobserved,
};
use tokio::sync::Notify;

use crate::protocol::{AttemptId, LINK_TASKS_MAX, ReportsMessage};

/// The node's end of the lane. Dropping it stops what runs.
pub(crate) struct Lane {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    /// Something may start, or the lane ends.
    work: Condvar,
    /// There is something to tell the coordinator.
    told: Notify,
    /// A slot has become free that somebody waits for.
    freed: Notify,
    runtime: Arc<dyn Runtime>,
}

struct State {
    queue: VecDeque<(AttemptId, TaskSpec)>,
    running: BTreeMap<TaskId, Running>,
    /// Tasks by the link that the worker does, and their attempts.
    journalled: BTreeMap<TaskId, u32>,
    /// Reports that the coordinator has not acknowledged, and the attempts they are of.
    reports: BTreeMap<TaskId, (u32, Vec<u8>)>,
    /// Those of them that this link has not carried.
    unsent: VecDeque<TaskId>,
    /// Attempts that did not begin and go back.
    returned: Vec<AttemptId>,
    /// What the device lends now.
    slots: usize,
    memory_bytes: u64,
    share: CpuShare,
    suspended: bool,
    /// Tasks that the worker has or is about to get: they go before those of the lane.
    held: usize,
    closed: bool,
}

struct Running {
    attempt: u32,
    control: Control,
    memory_bytes: u64,
    /// Nobody wants its report any more.
    revoked: bool,
}

/// What becomes of a task that comes by the link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    /// It has its turn, or is known.
    Kept,
    /// The worker should do it, and report by [`Lane::report`].
    Journalled,
}

impl State {
    fn knows(&mut self, attempt: AttemptId) -> bool {
        let AttemptId { task, number } = attempt;
        // The same task as another attempt is the same work.
        if let Some(running) = self.running.get_mut(&task)
            && !running.revoked
        {
            running.attempt = number;
            return true;
        }
        if let Some(known) = self.journalled.get_mut(&task) {
            *known = number;
            return true;
        }
        if let Some((known, _)) = self.reports.get_mut(&task) {
            if mem::replace(known, number) != number && !self.unsent.contains(&task) {
                self.unsent.push_back(task);
            }
            return true;
        }
        let mut queue = self.queue.iter_mut();
        if let Some((known, _)) = queue.find(|(known, _)| known.task == task) {
            known.number = number;
            return true;
        }
        false
    }

    fn len(&self) -> usize {
        self.queue.len() + self.running.len() + self.journalled.len() + self.reports.len()
    }

    fn slots_left(&self) -> usize {
        let taken = self.running.len() + self.held.min(self.slots);
        if self.suspended || self.closed {
            0
        } else {
            self.slots.saturating_sub(taken)
        }
    }

    /// The next task, if it may start.
    fn next(&mut self) -> Option<(AttemptId, TaskSpec, Control)> {
        while self.slots_left() > 0 {
            let (attempt, spec) = self.queue.front()?;
            let memory_bytes = spec.limits().memory_bytes;
            let held: u64 = self.running.values().map(|task| task.memory_bytes).sum();
            if memory_bytes > self.memory_bytes {
                // It was offered to this node when that lent more.
                let attempt = *attempt;
                self.queue.pop_front();
                self.end(attempt, Err(TaskError::Cancelled));
                continue;
            }
            // The task of a revoked attempt may be here again while that is being stopped.
            if held.saturating_add(memory_bytes) > self.memory_bytes
                || self.running.contains_key(&attempt.task)
            {
                return None;
            }
            let (attempt, spec) = self.queue.pop_front()?;
            let control = Control::new();
            control.set_cpu_share(self.share);
            self.running.insert(
                attempt.task,
                Running {
                    attempt: attempt.number,
                    control: control.clone(),
                    memory_bytes,
                    revoked: false,
                },
            );
            return Some((attempt, spec, control));
        }
        None
    }

    fn end(&mut self, attempt: AttemptId, result: Result<fogcompute_exec::TaskOutput, TaskError>) {
        let task = attempt.task;
        self.tell(attempt, TaskReport { task, result }.encode());
    }

    fn tell(&mut self, attempt: AttemptId, report: Vec<u8>) {
        self.reports.insert(attempt.task, (attempt.number, report));
        self.unsent.push_back(attempt.task);
    }

    fn permit(&mut self, permission: Permission) {
        let stop = match permission {
            Permission::Run(budget) => {
                self.slots = usize::try_from(budget.slots).unwrap_or(usize::MAX);
                self.memory_bytes = budget.memory_bytes;
                let permille = u16::try_from(budget.cpu_permille).unwrap_or(u16::MAX);
                self.share = CpuShare::from_permille(permille);
                self.suspended = self.slots == 0;
                false
            }
            Permission::Suspend => {
                self.suspended = true;
                false
            }
            Permission::Vacate | Permission::Stop => {
                self.slots = 0;
                true
            }
        };
        for running in self.running.values() {
            running.control.set_cpu_share(self.share);
            if stop {
                running.control.cancel();
            } else if self.suspended {
                running.control.suspend();
            } else {
                running.control.resume();
            }
        }
        if stop {
            // Others can have them.
            let queued = self.queue.drain(..).map(|(attempt, _)| attempt);
            self.returned.extend(queued);
        }
    }
}

impl Shared {
    /// What a thread does with the state leaves it whole, so a poisoned lock is usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut state = self.state();
        loop {
            let next = state.next();
            let Some((attempt, spec, control)) = next else {
                if state.closed {
                    return;
                }
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let session = Session {
                control,
                observer: Arc::new(Unobserved),
                from: None,
            };
            let run = || self.runtime.execute(&spec, &session);
            let result = catch_unwind(AssertUnwindSafe(run));
            let result = result.unwrap_or(Err(TaskError::RuntimeFault));
            state = self.state();
            if let Some(ended) = state.running.remove(&attempt.task)
                && !ended.revoked
            {
                let number = ended.attempt;
                state.end(AttemptId { number, ..attempt }, result);
                self.told.notify_one();
            }
            if state.held > 0 {
                self.freed.notify_waiters();
            }
        }
    }
}

impl Lane {
    /// A lane that nothing is lent to yet.
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> Self {
        let state = State {
            queue: VecDeque::new(),
            running: BTreeMap::new(),
            journalled: BTreeMap::new(),
            reports: BTreeMap::new(),
            unsent: VecDeque::new(),
            returned: Vec::new(),
            slots: 0,
            memory_bytes: 0,
            share: CpuShare::FULL,
            suspended: true,
            held: 0,
            closed: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                work: Condvar::new(),
                told: Notify::new(),
                freed: Notify::new(),
                runtime,
            }),
            threads: Mutex::new(Vec::new()),
        }
    }

    /// The device lends this from now on.
    ///
    /// # Errors
    /// There is no thread for a slot.
    pub(crate) fn permit(&self, permission: Permission) -> io::Result<()> {
        let mut state = self.shared.state();
        state.permit(permission);
        let slots = state.slots;
        drop(state);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        while threads.len() < slots {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("fog-short".to_owned());
            threads.push(thread.spawn(move || shared.serve())?);
        }
        drop(threads);
        self.shared.work.notify_all();
        self.shared.told.notify_one();
        self.shared.freed.notify_waiters();
        Ok(())
    }

    /// Takes a task; a long one is for the worker.
    pub(crate) fn take(&self, attempt: AttemptId, spec: TaskSpec, is_short: bool) -> Taken {
        let mut state = self.shared.state();
        if state.knows(attempt) {
            drop(state);
            self.shared.told.notify_one();
            return Taken::Kept;
        }
        if state.len() >= LINK_TASKS_MAX {
            state.returned.push(attempt);
            self.shared.told.notify_one();
            return Taken::Kept;
        }
        if !is_short {
            state.journalled.insert(attempt.task, attempt.number);
            return Taken::Journalled;
        }
        state.queue.push_back((attempt, spec));
        let starts = state.slots_left() > 0;
        drop(state);
        if starts {
            self.shared.work.notify_one();
        }
        Taken::Kept
    }

    /// The worker has ended a task that came by the link.
    pub(crate) fn report(&self, task: TaskId, report: Vec<u8>) {
        let mut state = self.shared.state();
        if let Some(number) = state.journalled.remove(&task) {
            state.tell(AttemptId { task, number }, report);
            self.shared.told.notify_one();
        }
    }

    /// Makes room for a task of the worker, and waits until it is there.
    pub(crate) fn hold(&self) -> impl Future<Output = Held> + use<> {
        let shared = Arc::clone(&self.shared);
        shared.state().held += 1;
        let held = Held(shared);
        async move {
            loop {
                let freed = held.0.freed.notified();
                tokio::pin!(freed);
                // From here on no slot that becomes free is missed.
                freed.as_mut().enable();
                {
                    let state = held.0.state();
                    let taken = state.running.len() + state.held.min(state.slots);
                    if taken <= state.slots || state.running.is_empty() {
                        break;
                    }
                }
                freed.await;
            }
            held
        }
    }

    /// These attempts are over: nobody wants to hear of them.
    pub(crate) fn revoke(&self, attempts: &[AttemptId]) {
        let mut state = self.shared.state();
        let revoked: BTreeSet<_> = attempts.iter().copied().collect();
        state
            .queue
            .retain(|(attempt, _)| !revoked.contains(attempt));
        for AttemptId { task, number } in revoked {
            if let Some(running) = state.running.get_mut(&task)
                && running.attempt == number
            {
                running.revoked = true;
                running.control.cancel();
            }
            if state.journalled.get(&task) == Some(&number) {
                state.journalled.remove(&task);
            }
            state.forget_report(task, number);
        }
    }

    /// Others could do these now: what has not begun goes back, and what is not known.
    pub(crate) fn recall(&self, attempts: &[AttemptId]) {
        let mut state = self.shared.state();
        let recalled: BTreeSet<_> = attempts.iter().copied().collect();
        state
            .queue
            .retain(|(attempt, _)| !recalled.contains(attempt));
        for attempt in recalled {
            let task = attempt.task;
            let begun = state.running.contains_key(&task)
                || state.journalled.contains_key(&task)
                || state.reports.contains_key(&task);
            if !begun {
                state.returned.push(attempt);
            }
        }
        self.shared.told.notify_one();
    }

    /// The coordinator has these reports.
    pub(crate) fn acknowledge(&self, attempts: &[AttemptId]) {
        let mut state = self.shared.state();
        for attempt in attempts {
            state.forget_report(attempt.task, attempt.number);
        }
    }

    /// There is a new link, which has carried nothing yet.
    pub(crate) fn begin_link(&self) {
        let mut state = self.shared.state();
        state.unsent = state.reports.keys().copied().collect();
        self.shared.told.notify_one();
    }

    /// Ends when there may be something to tell the coordinator.
    pub(crate) async fn told(&self) {
        self.shared.told.notified().await;
    }

    /// Whether more is to come soon, so that it can be told together.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.shared.state();
        !state.queue.is_empty() && !state.running.is_empty()
    }

    /// What the coordinator was not told of yet: the next message of reports, if there are any.
    pub(crate) fn reports(&self) -> Option<Vec<u8>> {
        let mut state = self.shared.state();
        let mut message = ReportsMessage::new();
        while let Some(task) = state.unsent.front().copied() {
            if let Some((attempt, report)) = state.reports.get(&task) {
                if message.is_full_for(report) {
                    break;
                }
                message.push(*attempt, report);
            }
            state.unsent.pop_front();
        }
        (!message.is_empty()).then(|| message.finish())
    }

    /// Attempts that go back.
    pub(crate) fn returned(&self) -> Vec<AttemptId> {
        mem::take(&mut self.shared.state().returned)
    }
}

impl State {
    fn forget_report(&mut self, task: TaskId, number: u32) {
        if self
            .reports
            .get(&task)
            .is_some_and(|(known, _)| *known == number)
        {
            self.reports.remove(&task);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        state.queue.clear();
        for running in state.running.values() {
            running.control.cancel();
        }
        drop(state);
        self.shared.work.notify_all();
        let threads = self.threads.get_mut();
        for thread in threads.unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
    }
}

/// A slot that the worker has, until this is dropped.
pub(crate) struct Held(Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.held -= 1;
        drop(state);
        self.0.work.notify_all();
        self.0.freed.notify_waiters();
    }
}
