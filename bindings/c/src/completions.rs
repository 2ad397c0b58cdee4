//! Waits for outcomes on one thread, and tells C of each, once.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;

use fogcompute::store::HomeProcess;

use crate::fog_status;
use crate::support::Failure;

/// What C passes through us to its callback.
pub(crate) struct UserData(*mut c_void);

// SAFETY: callers of functions with a callback promise that its data may be used from another
// thread.
unsafe impl Send for UserData {}

impl UserData {
    pub(crate) const fn new(user_data: *mut c_void) -> Self {
        Self(user_data)
    }

    pub(crate) const fn into_pointer(self) -> *mut c_void {
        self.0
    }

    pub(crate) const fn pointer(&self) -> *mut c_void {
        self.0
    }
}

type Tell<T> = Box<dyn FnOnce(Result<T, Failure>) + Send>;

/// How C is told of one outcome.
pub(crate) struct Callback<T> {
    tell: Option<Tell<T>>,
}

impl<T> Callback<T> {
    pub(crate) fn new(tell: impl FnOnce(Result<T, Failure>) + Send + 'static) -> Self {
        Self {
            tell: Some(Box::new(tell)),
        }
    }

    /// Forgets the callback: nothing was begun, and C learns that from the call itself.
    pub(crate) fn forget(mut self) {
        self.tell = None;
    }

    fn complete(mut self, result: Result<T, Failure>) {
        if let Some(tell) = self.tell.take() {
            tell(result);
        }
    }
}

impl<T> Drop for Callback<T> {
    /// Whatever happens to the thread, C is told.
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(Err(Failure {
                status: fog_status::Panic,
                message: "the library lost what was asked for".to_owned(),
            }));
        }
    }
}

/// Something that ends by telling C.
type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Event {
    Added(Waiting),
    Woken { id: u64 },
    Last,
}

struct Wakeup {
    id: u64,
    events: Sender<Event>,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        // The thread has ended if there is nobody to listen, and waits for nothing any more.
        let _ = self.events.send(Event::Woken { id: self.id });
    }
}

/// The thread that runs the callbacks of one handle, started with the first of them.
///
/// It is no runtime of tokio, so that callbacks may call what waits.
#[derive(Default)]
pub(crate) struct Completions(Mutex<Option<Started>>);

struct Started {
    events: Sender<Event>,
    thread: JoinHandle<()>,
    home: HomeProcess,
}

impl Completions {
    /// Starts the thread unless it runs. In a forked child, whose parent may have held the lock, it
    /// must not be called.
    pub(crate) fn start(&self) -> io::Result<()> {
        let mut started = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if started.is_some() {
            return Ok(());
        }
        let (events, inbox) = channel();
        let wakeups = events.clone();
        let thread = std::thread::Builder::new()
            .name("fog-callbacks".to_owned())
            .spawn(move || run_callbacks(&inbox, &wakeups))?;
        *started = Some(Started {
            events,
            thread,
            home: HomeProcess::here(),
        });
        Ok(())
    }

    /// Tells C of an outcome as soon as it is there. Comes after [`Completions::start`].
    pub(crate) fn add<T, E>(
        &self,
        outcome: impl Future<Output = Result<T, E>> + Send + 'static,
        callback: Callback<T>,
    ) where
        T: 'static,
        Failure: From<E>,
    {
        let waiting = Box::pin(async move {
            let result = outcome.await.map_err(Failure::from);
            callback.complete(result);
        });
        let started = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(started) = started.as_ref() {
            // The thread ends after `finish` only. Were it gone, what is dropped here tells C.
            let _ = started.events.send(Event::Added(waiting));
        }
    }

    /// Waits until all callbacks have run, unless it is called from one of them or from a forked
    /// child, where none will.
    pub(crate) fn finish(&mut self) {
        let started = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(started) = started.take() else {
            return;
        };
        if !started.home.is_here() {
            std::mem::forget(started);
            return;
        }
        let _ = started.events.send(Event::Last);
        if started.thread.thread().id() != std::thread::current().id() {
            let _ = started.thread.join();
        }
    }
}

fn run_callbacks(inbox: &Receiver<Event>, events: &Sender<Event>) {
    let mut all_waiting: BTreeMap<u64, Waiting> = BTreeMap::new();
    let mut is_last = false;
    let mut added = 0;
    while !is_last || !all_waiting.is_empty() {
        // This thread has a sender itself, so receiving never fails.
        let id = match inbox.recv() {
            Ok(Event::Added(waiting)) => {
                added += 1;
                all_waiting.insert(added, waiting);
                added
            }
            Ok(Event::Woken { id }) => id,
            Ok(Event::Last) | Err(_) => {
                is_last = true;
                continue;
            }
        };
        let Some(waiting) = all_waiting.get_mut(&id) else {
            continue;
        };
        let wakeup = Wakeup {
            id,
            events: events.clone(),
        };
        let waker = Waker::from(Arc::new(wakeup));
        if let Poll::Ready(()) = waiting.as_mut().poll(&mut Context::from_waker(&waker)) {
            all_waiting.remove(&id);
        }
    }
}
