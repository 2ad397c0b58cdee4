//! What is waited for once, and can be given up.

use std::future::{self, Future};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::FogError;
use crate::error::guarded;

type Outcome<T> = Pin<Box<dyn Future<Output = Result<T, FogError>> + Send>>;

/// An outcome that is not there yet. Swift's tasks do not drop the futures they wait for, so to
/// give one up is a call of its own.
pub(crate) struct Waiting<T> {
    outcome: Mutex<Option<Outcome<T>>>,
    waker: Mutex<Option<Waker>>,
    given_up: AtomicBool,
}

impl<T> Waiting<T> {
    pub(crate) fn new(outcome: impl Future<Output = Result<T, FogError>> + Send + 'static) -> Self {
        Self {
            outcome: Mutex::new(Some(Box::pin(outcome))),
            waker: Mutex::new(None),
            given_up: AtomicBool::new(false),
        }
    }

    /// Waits for the outcome. It can be taken once. A wait that is dropped gives it up.
    pub(crate) async fn wait(&self) -> Result<T, FogError> {
        let outcome = lock(&self.outcome).take();
        let Some(mut outcome) = outcome else {
            return Err(if self.given_up.load(Ordering::Acquire) {
                given_up()
            } else {
                let message = "the outcome was waited for already".to_owned();
                FogError::Closed { message }
            });
        };
        future::poll_fn(|context| {
            *lock(&self.waker) = Some(context.waker().clone());
            // After the waker is there, so that whoever gives up meanwhile finds it.
            if self.given_up.load(Ordering::Acquire) {
                return Poll::Ready(Err(given_up()));
            }
            match guarded(|| Ok(outcome.as_mut().poll(context))) {
                Ok(polled) => polled,
                Err(panic) => Poll::Ready(Err(panic)),
            }
        })
        .await
    }

    /// Ends the wait with [`FogError::Cancelled`], unless the outcome is there.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        let outcome = lock(&self.outcome).take();
        let waker = lock(&self.waker).take();
        // Both run the code of others, so no lock is held.
        drop(outcome);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn given_up() -> FogError {
    let message = "the wait was given up".to_owned();
    FogError::Cancelled { message }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Release);
        }
    }

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn never() -> Waiting<()> {
        Waiting::new(future::pending())
    }

    #[test]
    fn an_outcome_is_taken_once() {
        let waiting = Waiting::new(async { Ok(5) });
        assert!(matches!(poll(pin!(waiting.wait())), Poll::Ready(Ok(5))));
        let again = poll(pin!(waiting.wait()));
        assert!(matches!(again, Poll::Ready(Err(FogError::Closed { .. }))));
    }

    #[test]
    fn giving_up_ends_the_wait_and_drops_what_is_waited_for() {
        let (held, waiting) = (Arc::new(()), never());
        let outcome = Arc::clone(&held);
        *lock(&waiting.outcome) = Some(Box::pin(async move {
            future::pending::<()>().await;
            drop(outcome);
            Ok(())
        }));
        let woken = Arc::new(Woken::default());
        {
            let mut wait = pin!(waiting.wait());
            let waker = Waker::from(Arc::clone(&woken));
            let polled = wait.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            waiting.give_up();
            assert!(woken.0.load(Ordering::Acquire));
            let polled = poll(wait.as_mut());
            assert!(matches!(
                polled,
                Poll::Ready(Err(FogError::Cancelled { .. }))
            ));
        }
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn what_is_given_up_before_the_wait_is_dropped_at_once() {
        let held = Arc::new(());
        let outcome = Arc::clone(&held);
        let waiting = Waiting::new(async move {
            drop(outcome);
            Ok(())
        });
        waiting.give_up();
        assert_eq!(Arc::strong_count(&held), 1);
        let polled = poll(pin!(waiting.wait()));
        assert!(matches!(
            polled,
            Poll::Ready(Err(FogError::Cancelled { .. }))
        ));
    }

    #[test]
    fn a_panic_while_waiting_becomes_an_error() {
        let waiting: Waiting<()> = Waiting::new(async { panic!("within") });
        let polled = poll(pin!(waiting.wait()));
        assert!(
            matches!(polled, Poll::Ready(Err(FogError::Panic { message })) if message == "within")
        );
    }
}
