//! A thread that drives what is asynchronous.

use std::future::Future;
use std::io;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use fogcompute_store::HomeProcess;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// Starts a runtime of everything asynchronous.
pub(crate) fn runtime() -> io::Result<Runtime> {
    #[cfg(unix)]
    {
        // Tokio panics when it finds no descriptors for its signals, so it is tried whether as many
        // as the runtime takes are to be had; they are free again for it.
        let pairs: [_; 4] = std::array::from_fn(|_| std::os::unix::net::UnixStream::pair());
        for pair in pairs {
            pair?;
        }
    }
    Builder::new_current_thread().enable_all().build()
}

/// Ends when it is asked to.
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Ends when the thread is asked to end.
    pub(super) async fn asked(&mut self) {
        // Nobody can ask any more if the asker is gone.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}

/// A thread with a runtime.
#[derive(Debug)]
pub(super) struct FogThread {
    handle: Handle,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    home: HomeProcess,
}

impl FogThread {
    /// Starts a thread that does `main` until that ends, and with it everything else on its runtime.
    pub(super) fn start<F>(
        name: &str,
        main: impl FnOnce(Stop) -> F + Send + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()>,
    {
        let runtime = runtime()?;
        let handle = runtime.handle().clone();
        let (stop, asked) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || runtime.block_on(main(Stop(asked))))?;
        Ok(Self {
            handle,
            stop,
            thread: Mutex::new(Some(thread)),
            home: HomeProcess::here(),
        })
    }

    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.stop.borrow()
    }

    pub(super) const fn home(&self) -> HomeProcess {
        self.home
    }

    /// Asks the thread to end, and waits until it has, unless it asks itself. Does nothing in a forked
    /// child, nor the second time.
    pub(super) fn close(&self) {
        if !self.home.is_here() {
            return;
        }
        self.stop.send_replace(true);
        let thread = self.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for FogThread {
    fn drop(&mut self) {
        self.close();
        if !self.home.is_here() {
            // The memory that tells of the thread may be used for something else by now.
            let thread = self.thread.get_mut();
            mem::forget(thread.unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}
