//! The threads on which tasks run.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use fogcompute_base::TaskId;
use fogcompute_exec::executor::{Event, Target};
use fogcompute_exec::{
    Checkpoint, ContentId, Control, Grants, GuestText, Limits, Observer, Runtime, Session,
    SpecError, TaskError, TaskOutput, TaskSpec, join_inputs,
};
use fogcompute_runtime::spawn_task_thread;

use super::Message;

/// What an attempt needs, read from the store.
pub(super) struct Work {
    pub(super) target: Target,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) program: Arc<[u8]>,
    pub(super) inputs: Vec<Vec<u8>>,
    pub(super) grants: Grants,
    pub(super) limits: Limits,
    /// The bytes of the checkpoint to go on from.
    pub(super) from: Option<Vec<u8>>,
    pub(super) running: Running,
}

/// What the engine and the thread of an attempt share.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) control: Control,
    /// Whether a thread has begun it, or it was taken back before.
    taken: Arc<AtomicBool>,
    /// How much the task says is done, in thousandths.
    permille: Arc<AtomicU16>,
    /// The last checkpoint that the engine has not fetched: a task that makes them faster than a
    /// disk can write fills no queue.
    checkpoint: Arc<Mutex<Option<Saved>>>,
}

/// A checkpoint as bytes.
pub(super) struct Saved {
    pub(super) bytes: Vec<u8>,
    pub(super) fuel: u64,
}

impl Running {
    pub(super) fn new(control: Control) -> Self {
        Self {
            control,
            taken: Arc::default(),
            permille: Arc::new(AtomicU16::new(0)),
            checkpoint: Arc::new(Mutex::new(None)),
        }
    }

    /// Takes it, for a thread to begin it or for the engine to take it back: one of them may.
    pub(super) fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn permille(&self) -> u16 {
        self.permille.load(Ordering::Relaxed)
    }

    pub(super) fn take_checkpoint(&self) -> Option<Saved> {
        let mut checkpoint = self.checkpoint.lock();
        checkpoint
            .as_mut()
            .map_or_else(|poisoned| poisoned.get_mut().take(), |slot| slot.take())
    }
}

/// What an attempt says.
pub(super) enum Said {
    /// Something the executor wants to know, with the bytes that it names.
    Event(Event, Option<Vec<u8>>),
    /// There is a checkpoint to fetch.
    Checkpoint,
}

/// As many threads as attempts have run at a time, and the attempts that wait for one.
pub(super) struct Threads {
    queue: Arc<Queue>,
    engine: Sender<Message>,
    handles: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Work>,
    running: usize,
    running_max: usize,
    closed: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next attempt, when it may run, in the place of the one that the thread has ended.
    fn next(&self, ended: bool) -> Option<Work> {
        let mut state = self.state();
        state.running -= usize::from(ended);
        loop {
            if state.closed || state.running < state.running_max {
                if let Some(work) = state.waiting.pop_front() {
                    state.running += 1;
                    return Some(work);
                }
                if state.closed {
                    return None;
                }
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Threads {
    pub(super) fn new(engine: Sender<Message>) -> Self {
        Self {
            queue: Arc::default(),
            engine,
            handles: Vec::new(),
        }
    }

    /// How many attempts may run at a time from now on.
    pub(super) fn set_running_max(&self, running_max: usize) {
        self.queue.state().running_max = running_max;
        self.queue.changed.notify_all();
    }

    /// Runs `work` when its turn comes.
    pub(super) fn run(&mut self, work: Work) -> io::Result<()> {
        let wanted = {
            let state = self.queue.state();
            (state.running + state.waiting.len() + 1).min(state.running_max)
        };
        if self.handles.len() < wanted {
            let (queue, engine) = (Arc::clone(&self.queue), self.engine.clone());
            let thread = spawn_task_thread("fog-task", move || serve(&queue, &engine))?;
            self.handles.push(thread);
        }
        self.queue.state().waiting.push_back(work);
        self.queue.changed.notify_one();
        Ok(())
    }

    /// Waits for all attempts, which were told to stop.
    pub(super) fn join(&mut self) {
        self.queue.state().closed = true;
        self.queue.changed.notify_all();
        for thread in self.handles.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(queue: &Queue, engine: &Sender<Message>) {
    let mut ended = false;
    while let Some(work) = queue.next(ended) {
        ended = true;
        if !work.running.take() {
            continue;
        }
        let (task, attempt) = (work.target.task, work.target.attempt);
        let say = |said| {
            let _ = engine.send(Message::Said {
                task,
                attempt,
                said,
            });
        };
        say(Said::Event(Event::Started, None));
        let ended = catch_unwind(AssertUnwindSafe(|| execute(&work, engine)));
        say(match ended {
            Ok(Ok(TaskOutput { output, usage })) => {
                let id = ContentId::of(&output);
                Said::Event(Event::Succeeded { output: id, usage }, Some(output))
            }
            Ok(Err(TaskError::Cancelled)) => Said::Event(Event::Stopped, None),
            Ok(Err(error)) => Said::Event(Event::Failed { error }, None),
            Err(_) => Said::Event(Event::Lost, None),
        });
    }
}

fn execute(work: &Work, engine: &Sender<Message>) -> Result<TaskOutput, TaskError> {
    let spec = spec(work)?;
    let from = work
        .from
        .as_deref()
        .and_then(|bytes| Checkpoint::decode(bytes, work.limits.memory_bytes).ok());
    let mut session = Session {
        control: work.running.control.clone(),
        observer: Arc::new(Listener {
            task: work.target.task,
            attempt: work.target.attempt,
            running: work.running.clone(),
            engine: engine.clone(),
        }),
        from,
    };
    let result = work.runtime.execute(&spec, &session);
    // A checkpoint that does not fit is worth less than none: the task begins at its beginning.
    if session.from.is_some() && matches!(result, Err(TaskError::UnfitCheckpoint { .. })) {
        session.from = None;
        return work.runtime.execute(&spec, &session);
    }
    result
}

/// What the runtime is given. Each task was looked at when it was submitted; what is wrong here is
/// the length of other tasks' outputs.
fn spec(work: &Work) -> Result<TaskSpec, TaskError> {
    let too_large = |actual: usize, limit: usize| TaskError::InputTooLarge {
        actual: actual as u64,
        limit: limit as u64,
    };
    let input = join_inputs(&work.inputs).map_err(|_| {
        let actual = work.inputs.iter().map(Vec::len).sum();
        too_large(actual, fogcompute_exec::CONTENT_BYTES_MAX)
    })?;
    let malformed = |error: SpecError| TaskError::MalformedModule {
        offset: 0,
        reason: GuestText::new(&error.to_string()),
    };
    let spec = TaskSpec::new(Arc::clone(&work.program), input, work.limits);
    let spec = spec.map_err(|error| match error {
        SpecError::InputTooLarge { actual, limit } => too_large(actual, limit),
        error => malformed(error),
    })?;
    spec.with_grants(work.grants.clone()).map_err(malformed)
}

/// Tells the engine what a task says.
struct Listener {
    task: TaskId,
    attempt: u32,
    running: Running,
    engine: Sender<Message>,
}

impl Listener {
    fn say(&self, said: Said) {
        let _ = self.engine.send(Message::Said {
            task: self.task,
            attempt: self.attempt,
            said,
        });
    }
}

impl Observer for Listener {
    fn log(&self, line: &str) {
        let bytes = format!("{line}\n").into_bytes();
        self.say(Said::Event(Event::Log { bytes }, None));
    }

    fn progress(&self, permille: u16) {
        self.running.permille.store(permille, Ordering::Relaxed);
    }

    fn checkpoint(&self, checkpoint: Checkpoint) {
        let saved = Saved {
            bytes: checkpoint.encode(),
            fuel: checkpoint.fuel,
        };
        let mut slot = self
            .running
            .checkpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if slot.replace(saved).is_none() {
            drop(slot);
            self.say(Said::Checkpoint);
        }
    }
}
