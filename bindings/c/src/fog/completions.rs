//! Waits for submitted tasks on one thread, and tells C how they ended.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;

use fogcompute::store::HomeProcess;
use fogcompute::{FogTask, TaskOutput};

use super::{fog_completion, fog_output};
use crate::fog_status;
use crate::support::{Failure, c_string};

/// What C wants to be told, once.
pub(super) struct Callback {
    done: Option<unsafe extern "C" fn(*mut c_void, fog_status, *const fog_output, *const c_char)>,
    user_data: *mut c_void,
}

// SAFETY: the caller of `fog_fog_submit` promises that its function and data may be used from
// another thread.
unsafe impl Send for Callback {}

impl Callback {
    pub(super) fn new(done: fog_completion, user_data: *mut c_void) -> Result<Self, Failure> {
        if done.is_none() {
            return Err(Failure::argument("done is NULL"));
        }
        Ok(Self { done, user_data })
    }

    /// Forgets the callback: the task was not accepted, and C learns that from the call itself.
    pub(super) fn forget(mut self) {
        self.done = None;
    }

    fn complete(mut self, result: Result<TaskOutput, Failure>) {
        match result {
            Ok(output) => self.tell(fog_status::Ok, &raw const *Box::new(fog_output(output)), ""),
            Err(failure) => self.tell(failure.status, ptr::null(), &failure.message),
        }
    }

    fn tell(&mut self, status: fog_status, output: *const fog_output, message: &str) {
        let Some(done) = self.done.take() else {
            return;
        };
        let message = c_string(message);
        // SAFETY: the output and the message outlive the call; the rest is as promised to `new`.
        unsafe { done(self.user_data, status, output, message.as_ptr()) };
    }
}

impl Drop for Callback {
    /// Whatever happens to the thread, C is told.
    fn drop(&mut self) {
        self.tell(fog_status::Panic, ptr::null(), "the library lost the task");
    }
}

enum Event {
    Submitted { task: FogTask, callback: Callback },
    Woken { id: u64 },
    Last,
}

struct Wakeup {
    id: u64,
    events: Sender<Event>,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        // The thread has ended if there is nobody to listen, and has no tasks left.
        let _ = self.events.send(Event::Woken { id: self.id });
    }
}

/// The thread that runs the callbacks of one fog.
///
/// It is no runtime of tokio, so that callbacks may call what waits.
pub(super) struct Completions {
    events: Sender<Event>,
    thread: JoinHandle<()>,
    home: HomeProcess,
}

impl Completions {
    pub(super) fn start() -> Result<Self, Failure> {
        let (events, inbox) = channel();
        let wakeups = events.clone();
        let thread = std::thread::Builder::new()
            .name("fog-callbacks".to_owned())
            .spawn(move || complete_tasks(&inbox, &wakeups))
            .map_err(|error| Failure {
                status: fog_status::TaskLost,
                message: format!("thread: {error}"),
            })?;
        Ok(Self {
            events,
            thread,
            home: HomeProcess::here(),
        })
    }

    pub(super) fn add(&self, task: FogTask, callback: Callback) {
        // The thread ends after `finish` only. Were it gone, dropping the callback would tell C.
        let _ = self.events.send(Event::Submitted { task, callback });
    }

    /// Waits until all callbacks have run, unless it is called from one of them or from a forked
    /// child, where none will.
    pub(super) fn finish(self) {
        if !self.home.is_here() {
            std::mem::forget(self);
            return;
        }
        let _ = self.events.send(Event::Last);
        if self.thread.thread().id() != std::thread::current().id() {
            let _ = self.thread.join();
        }
    }
}

fn complete_tasks(inbox: &Receiver<Event>, events: &Sender<Event>) {
    let mut waiting: BTreeMap<u64, (FogTask, Callback)> = BTreeMap::new();
    let mut is_last = false;
    let mut submitted = 0;
    while !is_last || !waiting.is_empty() {
        // This thread has a sender itself, so receiving never fails.
        let id = match inbox.recv() {
            Ok(Event::Submitted { task, callback }) => {
                submitted += 1;
                waiting.insert(submitted, (task, callback));
                submitted
            }
            Ok(Event::Woken { id }) => id,
            Ok(Event::Last) | Err(_) => {
                is_last = true;
                continue;
            }
        };
        let Some((task, _)) = waiting.get_mut(&id) else {
            continue;
        };
        let wakeup = Wakeup {
            id,
            events: events.clone(),
        };
        let waker = Waker::from(Arc::new(wakeup));
        let Poll::Ready(result) = Pin::new(task).poll(&mut Context::from_waker(&waker)) else {
            continue;
        };
        if let Some((_, callback)) = waiting.remove(&id) {
            callback.complete(result.map_err(Failure::from));
        }
    }
}
