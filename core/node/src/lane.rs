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
    Checkpoint, Control, CpuShare, Observer, Runtime, Session, TaskError, TaskReport, TaskSpec,
    Unobserved,
};
use tokio::sync::Notify;

use crate::protocol::{AttemptId, LINK_TASKS_MAX, REPORT_LOG_BYTES_MAX, Reported, ReportsMessage};

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

/// What a task has said so far, its end at least.
#[derive(Debug, Default)]
struct Heard(Mutex<String>);

impl Heard {
    fn with<T>(&self, call: impl FnOnce(&mut String) -> T) -> T {
        call(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn end(&self) -> String {
        Reported::end_of_log(self.with(mem::take))
    }
}

impl Observer for Heard {
    fn log(&self, line: &str) {
        self.with(|log| {
            log.push_str(line);
            log.push('\n');
            // Not with every line: what is moved is what is kept.
            if log.len() > 2 * REPORT_LOG_BYTES_MAX {
                *log = Reported::end_of_log(mem::take(log));
            }
        });
    }

    fn progress(&self, _: u16) {}

    fn checkpoint(&self, _: Checkpoint) {}
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
                self.end(attempt, Err(TaskError::Cancelled), String::new());
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

    fn end(
        &mut self,
        attempt: AttemptId,
        result: Result<fogcompute_exec::TaskOutput, TaskError>,
        log: String,
    ) {
        let task = attempt.task;
        let report = TaskReport { task, result };
        self.tell(attempt, Reported { report, log }.encode());
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
                if !state.unsent.is_empty() {
                    self.told.notify_one();
                }
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            // Most tasks may say nothing.
            let heard = Reported::log_bytes_max(&spec) > 0;
            let heard = heard.then(|| Arc::new(Heard::default()));
            let observer: Arc<dyn Observer> = match &heard {
                Some(heard) => Arc::clone(heard) as _,
                None => Arc::new(Unobserved),
            };
            let session = Session {
                control,
                observer,
                from: None,
            };
            let run = || self.runtime.execute(&spec, &session);
            let result = catch_unwind(AssertUnwindSafe(run));
            let result = result.unwrap_or(Err(TaskError::RuntimeFault));
            let log = heard.map_or_else(String::new, |heard| heard.end());
            state = self.state();
            if let Some(ended) = state.running.remove(&attempt.task)
                && !ended.revoked
            {
                let number = ended.attempt;
                state.end(AttemptId { number, ..attempt }, result, log);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::FromNode;
    use fogcompute_exec::Limits;
    use fogcompute_exec::executor::Budget;
    use fogcompute_runtime::{WasmConfig, WasmRuntime};

    const ECHO: &[u8] = include_bytes!("../../../examples/wasm/echo.wasm");
    const ENDLESS: &[u8] = include_bytes!("../../../bindings/vectors/endless.wasm");

    fn lane() -> Lane {
        Lane::new(Arc::new(WasmRuntime::new(WasmConfig::default())))
    }

    fn lends(slots: u32) -> Permission {
        Permission::Run(Budget {
            slots,
            memory_bytes: 1 << 30,
            cpu_permille: 1_000,
            bits_per_second: u64::MAX,
        })
    }

    fn attempt(task: u8, number: u32) -> AttemptId {
        AttemptId {
            task: TaskId::from_bytes([task; 16]),
            number,
        }
    }

    fn spec(module: &[u8], input: &[u8]) -> TaskSpec {
        let limits = Limits {
            fuel: u64::MAX / 4,
            ..Limits::default()
        };
        TaskSpec::new(module, input, limits).unwrap()
    }

    /// The reports that come next, as attempt and what the task returned.
    async fn told(lane: &Lane) -> Vec<(AttemptId, Result<Vec<u8>, TaskError>)> {
        loop {
            if let Some(message) = lane.reports() {
                let Ok(FromNode::Reports { reports }) = FromNode::decode(&message) else {
                    panic!("these are no reports");
                };
                let reports = reports.into_iter().map(|(number, reported)| {
                    let task = reported.report.task;
                    let output = reported.report.result.map(|output| output.output);
                    (AttemptId { task, number }, output)
                });
                return reports.collect();
            }
            lane.told().await;
        }
    }

    #[tokio::test]
    async fn reports_are_said_again_until_they_are_acknowledged() {
        let lane = lane();
        lane.permit(lends(1)).unwrap();
        lane.take(attempt(1, 1), spec(ECHO, b"one"), true);
        let report = (attempt(1, 1), Ok(b"one".to_vec()));
        assert_eq!(told(&lane).await, std::slice::from_ref(&report));
        assert_eq!(lane.reports(), None);
        // The coordinator asks once more on the next link, and the task is not done once more.
        lane.begin_link();
        assert_eq!(
            lane.take(attempt(1, 1), spec(ECHO, b"one"), true),
            Taken::Kept
        );
        assert_eq!(told(&lane).await, [report]);
        // As another attempt it is the same work.
        lane.take(attempt(1, 2), spec(ECHO, b"one"), true);
        assert_eq!(told(&lane).await, [(attempt(1, 2), Ok(b"one".to_vec()))]);
        lane.acknowledge(&[attempt(1, 1)]);
        lane.begin_link();
        assert_eq!(
            told(&lane).await.len(),
            1,
            "that was the report of another attempt"
        );
        lane.acknowledge(&[attempt(1, 2)]);
        lane.begin_link();
        assert_eq!(lane.reports(), None);
    }

    #[tokio::test]
    async fn what_has_not_begun_goes_back_and_what_runs_is_stopped() {
        let lane = lane();
        lane.permit(lends(1)).unwrap();
        for task in 1..=3 {
            lane.take(attempt(task, 1), spec(ENDLESS, b""), true);
        }
        while lane.shared.state().running.is_empty() {
            tokio::task::yield_now().await;
        }
        // One that runs, one that waits, and one that nobody has heard of.
        lane.recall(&[attempt(1, 1), attempt(2, 1), attempt(9, 1)]);
        assert_eq!(lane.returned(), [attempt(2, 1), attempt(9, 1)]);
        lane.revoke(&[attempt(1, 1)]);
        // The next one has its turn.
        while !lane
            .shared
            .state()
            .running
            .contains_key(&attempt(3, 1).task)
        {
            tokio::task::yield_now().await;
        }
        assert_eq!(lane.reports(), None, "nobody wants to hear of it");
        // The owner needs the device: what runs is given up, what waits goes back.
        lane.take(attempt(4, 1), spec(ENDLESS, b""), true);
        lane.permit(Permission::Vacate).unwrap();
        assert_eq!(
            told(&lane).await,
            [(attempt(3, 1), Err(TaskError::Cancelled))]
        );
        assert_eq!(lane.returned(), [attempt(4, 1)]);
    }

    #[tokio::test]
    async fn tasks_of_the_worker_go_first_and_nothing_runs_while_nothing_is_lent() {
        let lane = lane();
        lane.take(attempt(1, 1), spec(ENDLESS, b""), true);
        assert!(lane.shared.state().next().is_none());
        let held = lane.hold().await;
        lane.permit(lends(1)).unwrap();
        assert!(lane.shared.state().running.is_empty());
        drop(held);
        while lane.shared.state().running.is_empty() {
            tokio::task::yield_now().await;
        }
        // The next one of the worker waits for what runs.
        let hold = lane.hold();
        tokio::pin!(hold);
        assert!(futures_are_pending(hold.as_mut()));
        lane.take(attempt(2, 1), spec(ECHO, b"two"), true);
        lane.revoke(&[attempt(1, 1)]);
        let held = hold.await;
        assert!(lane.shared.state().next().is_none());
        drop(held);
        assert_eq!(told(&lane).await, [(attempt(2, 1), Ok(b"two".to_vec()))]);
    }

    fn futures_are_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        future.poll(&mut context).is_pending()
    }

    #[tokio::test]
    async fn what_a_task_says_goes_with_its_report_and_how_much_is_bounded() {
        let says = include_bytes!("../../../examples/wasm/says.wasm");
        let grants = fogcompute_exec::Grants {
            host_calls: true,
            ..Default::default()
        };
        let spec = spec(says, b"hello").with_grants(grants).unwrap();
        let lane = lane();
        lane.permit(lends(1)).unwrap();
        lane.take(attempt(1, 1), spec, true);
        let message = loop {
            match lane.reports() {
                Some(message) => break message,
                None => lane.told().await,
            }
        };
        let Ok(FromNode::Reports { reports }) = FromNode::decode(&message) else {
            panic!("these are no reports");
        };
        assert!(reports[0].1.log.contains("hello"), "{:?}", reports[0].1.log);
        let heard = Heard::default();
        for number in 0..100_000 {
            heard.log(&format!("line {number}"));
        }
        assert!(heard.with(|log| log.capacity()) <= 4 * REPORT_LOG_BYTES_MAX);
        let log = heard.end();
        assert!(log.len() <= REPORT_LOG_BYTES_MAX && log.ends_with("\nline 99999\n"));
    }

    #[tokio::test]
    async fn a_task_that_needs_more_than_is_lent_is_given_back() {
        let lane = lane();
        let Permission::Run(budget) = lends(1) else {
            return;
        };
        lane.permit(Permission::Run(Budget {
            memory_bytes: 1 << 16,
            ..budget
        }))
        .unwrap();
        lane.take(attempt(1, 1), spec(ECHO, b"one"), true);
        assert_eq!(
            told(&lane).await,
            [(attempt(1, 1), Err(TaskError::Cancelled))]
        );
    }
}
