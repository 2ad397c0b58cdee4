//! The threads on which tasks run.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use fogcompute_base::TaskId;
use fogcompute_exec::executor::{Event, Target};
use fogcompute_exec::{
    Checkpoint, ContentId, Control, Grants, GuestText, Limits, Observer, Runtime, Session,
    SpecError, TaskError, TaskOutput, TaskSpec, join_inputs,
};

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
            permille: Arc::new(AtomicU16::new(0)),
            checkpoint: Arc::new(Mutex::new(None)),
        }
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

/// As many threads as attempts have run at a time.
pub(super) struct Threads {
    work: Option<Sender<Work>>,
    queue: Arc<Mutex<Receiver<Work>>>,
    engine: Sender<Message>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(super) fn new(engine: Sender<Message>) -> Self {
        let (work, queue) = channel();
        Self {
            work: Some(work),
            queue: Arc::new(Mutex::new(queue)),
            engine,
            handles: Vec::new(),
        }
    }

    /// Runs `work`, which makes `busy` attempts that run.
    pub(super) fn run(&mut self, work: Work, busy: usize) -> io::Result<()> {
        if self.handles.len() < busy {
            let (queue, engine) = (Arc::clone(&self.queue), self.engine.clone());
            let thread = thread::Builder::new()
                .name("fog-task".to_owned())
                .spawn(move || serve(&queue, &engine))?;
            self.handles.push(thread);
        }
        if let Some(sender) = &self.work {
            // The threads have the other end, and end after this one.
            let _ = sender.send(work);
        }
        Ok(())
    }

    /// Waits for all attempts, which were told to stop.
    pub(super) fn join(&mut self) {
        self.work = None;
        for thread in self.handles.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(queue: &Mutex<Receiver<Work>>, engine: &Sender<Message>) {
    loop {
        // The lock is held while waiting, and given on with the work.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = next else {
            return;
        };
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
