//! Who submits.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use fogcompute_base::{JobId, NodeId, TaskId};
use fogcompute_exec::TaskReport;
use fogcompute_store::{HomeProcess, JobRow, TaskRow};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::thread::FogThread;
use super::watch::FogWatch;
use crate::submit::{
    FogClient, FogClientConfig, FogClientError, FogTopology, JobOrder, NodeStatus,
};

/// What a fog was asked: await it on any executor, or wait for it on a thread.
///
/// Dropping it gives up waiting, and takes back nothing.
#[derive(Debug)]
pub struct FogCall<T> {
    answer: oneshot::Receiver<Result<T, FogClientError>>,
    asking: Option<AbortHandle>,
    home: HomeProcess,
}

impl<T> FogCall<T> {
    /// Waits for the answer on this thread.
    ///
    /// # Errors
    /// [`FogClientError`].
    ///
    /// # Panics
    /// Inside an asynchronous context of tokio: await it there.
    pub fn wait(mut self) -> Result<T, FogClientError> {
        self.check()?;
        let (_, never) = oneshot::channel();
        let answer = mem::replace(&mut self.answer, never);
        answer.blocking_recv().unwrap_or(Err(FogClientError::Ended))
    }

    fn check(&self) -> Result<(), FogClientError> {
        self.home.check().map_err(|_| FogClientError::Forked)
    }
}

impl<T> Future for FogCall<T> {
    type Output = Result<T, FogClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.check()?;
        let polled = Pin::new(&mut self.answer).poll(context);
        polled.map(|answer| answer.unwrap_or(Err(FogClientError::Ended)))
    }
}

impl<T> Drop for FogCall<T> {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking
            && self.home.is_here()
        {
            asking.abort();
        }
    }
}

/// A [`FogClient`] with a thread of its own, for any thread and any executor.
///
/// A forked child has none of its threads: there every call fails with [`FogClientError::Forked`].
#[derive(Debug)]
pub struct FogAccess {
    client: FogClient,
    thread: FogThread,
}

impl FogAccess {
    /// Makes a client of a coordinator, which is dialled at the first question.
    ///
    /// # Errors
    /// [`FogClientError::Thread`].
    pub fn start(config: FogClientConfig) -> Result<Self, FogClientError> {
        let thread = FogThread::start("fog-client", |mut stop| async move { stop.asked().await });
        let thread = thread.map_err(FogClientError::Thread)?;
        let entered = thread.handle().enter();
        let client = FogClient::new(config);
        drop(entered);
        Ok(Self { client, thread })
    }

    fn ask<T, F>(&self, ask: impl FnOnce(FogClient) -> F) -> FogCall<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, FogClientError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let home = self.thread.home();
        // On a runtime that has ended nothing is done, and the reply is dropped.
        let asking = home.is_here().then(|| {
            let asked = ask(self.client.clone());
            let asking = self.thread.handle().spawn(async move {
                let _ = reply.send(asked.await);
            });
            asking.abort_handle()
        });
        FogCall {
            answer,
            asking,
            home,
        }
    }

    /// [`FogClient::submit`].
    pub fn submit(&self, job: JobOrder) -> FogCall<JobRow> {
        self.ask(move |client| async move { client.submit(job).await })
    }

    /// [`FogClient::job`].
    pub fn job(&self, job: JobId) -> FogCall<JobRow> {
        self.ask(move |client| async move { client.job(job).await })
    }

    /// [`FogClient::jobs`].
    pub fn jobs(&self, count_max: u16) -> FogCall<Vec<JobRow>> {
        self.ask(move |client| async move { client.jobs(count_max).await })
    }

    /// [`FogClient::ended`].
    pub fn ended(&self, job: JobId) -> FogCall<JobRow> {
        self.ask(move |client| async move { client.ended(job).await })
    }

    /// [`FogClient::tasks`].
    pub fn tasks(&self, job: JobId) -> FogCall<Vec<TaskRow>> {
        self.ask(move |client| async move { client.tasks(job).await })
    }

    /// [`FogClient::task`].
    pub fn task(&self, task: TaskId) -> FogCall<TaskRow> {
        self.ask(move |client| async move { client.task(task).await })
    }

    /// [`FogClient::result`].
    pub fn result(&self, task: TaskId) -> FogCall<TaskReport> {
        self.ask(move |client| async move { client.result(task).await })
    }

    /// [`FogClient::log`].
    pub fn log(&self, task: TaskId) -> FogCall<String> {
        self.ask(move |client| async move { client.log(task).await })
    }

    /// [`FogClient::cancel`].
    pub fn cancel(&self, job: JobId) -> FogCall<u32> {
        self.ask(move |client| async move { client.cancel(job).await })
    }

    /// [`FogClient::cancel_task`].
    pub fn cancel_task(&self, task: TaskId) -> FogCall<bool> {
        self.ask(move |client| async move { client.cancel_task(task).await })
    }

    /// [`FogClient::nodes`].
    pub fn nodes(&self) -> FogCall<Vec<NodeStatus>> {
        self.ask(move |client| async move { client.nodes().await })
    }

    /// [`FogClient::topology`].
    pub fn topology(&self) -> FogCall<FogTopology> {
        self.ask(move |client| async move { client.topology().await })
    }

    /// [`FogClient::drain`].
    pub fn drain(&self, node: NodeId) -> FogCall<()> {
        self.ask(move |client| async move { client.drain(node).await })
    }

    /// [`FogClient::undrain`].
    pub fn undrain(&self, node: NodeId) -> FogCall<()> {
        self.ask(move |client| async move { client.undrain(node).await })
    }

    /// [`FogClient::metrics`].
    pub fn metrics(&self) -> FogCall<String> {
        self.ask(move |client| async move { client.metrics().await })
    }

    /// [`FogClient::last_event`].
    pub fn last_event(&self) -> FogCall<u64> {
        self.ask(move |client| async move { client.last_event().await })
    }

    /// Watches what happens to the jobs of the account after the event of that number: 0 for everything
    /// that is remembered.
    ///
    /// # Errors
    /// [`FogClientError::Forked`].
    pub fn watch(&self, after: u64) -> Result<FogWatch, FogClientError> {
        let home = self.thread.home();
        home.check().map_err(|_| FogClientError::Forked)?;
        let watch = self.client.watch(after);
        Ok(FogWatch::start(watch, after, &self.thread))
    }

    /// Ends the client: what was asked and not answered ends with [`FogClientError::Ended`], and so does
    /// whoever watches, after what has come. Closing again does nothing. Dropping it closes it.
    pub fn close(&self) {
        self.thread.close();
    }
}

impl Drop for FogAccess {
    fn drop(&mut self) {
        if !self.thread.home().is_here() {
            // To end its tasks would take locks of threads that stayed with the parent.
            mem::forget(self.client.clone());
        }
    }
}
