//! What was asked for and is not there yet.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};

use fogcompute_mix::MessageId;
use tokio::sync::oneshot;

use super::driver::Shared;
use super::{CLIENT, MixnetError};

/// The outcome of a message that was sent: await it, or wait for it on a thread.
///
/// Dropping the outcome of a request forgets its reply blocks: an answer that still comes is
/// dropped. A message without an answer is sent to its end whether or not anybody waits.
pub struct Pending<T> {
    result: oneshot::Receiver<Result<T, MixnetError>>,
    id: MessageId,
    request: Option<Weak<Shared>>,
}

impl<T> Pending<T> {
    pub(super) const fn new(
        id: MessageId,
        result: oneshot::Receiver<Result<T, MixnetError>>,
        request: Option<Weak<Shared>>,
    ) -> Self {
        Self {
            result,
            id,
            request,
        }
    }

    /// The message's id.
    #[must_use]
    pub const fn id(&self) -> MessageId {
        self.id
    }

    /// Waits for the outcome on this thread.
    ///
    /// # Errors
    /// [`MixnetError`].
    ///
    /// # Panics
    /// Inside an asynchronous context of tokio: await it there. After it was polled to its end, as
    /// every future.
    pub fn wait(mut self) -> Result<T, MixnetError> {
        let (_, never) = oneshot::channel();
        let result = std::mem::replace(&mut self.result, never);
        let result = result.blocking_recv();
        self.request = None;
        result.unwrap_or(Err(MixnetError::Closed { what: CLIENT }))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, MixnetError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.result).poll(context);
        if polled.is_ready() {
            self.request = None;
        }
        polled.map(|result| result.unwrap_or(Err(MixnetError::Closed { what: CLIENT })))
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.request.take().and_then(|shared| shared.upgrade()) {
            shared.forget(self.id);
        }
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending({:?})", self.id)
    }
}
