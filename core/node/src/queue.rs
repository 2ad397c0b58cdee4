//! What happened and was not taken yet: a queue from a thread to its users, on threads and in futures.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogcompute_base::Clock;
use tokio::sync::Notify;

/// A queue whose readers can wait.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    changed: Notify,
    bytes_of: fn(&T) -> usize,
    items_max: usize,
    bytes_max: usize,
}

struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    dropped: u64,
    closed: bool,
}

/// What [`Queue::take`] found.
pub(crate) enum Taken<T> {
    /// The oldest.
    Item(T),
    /// Nothing, and nothing will come.
    Closed,
    /// Nothing yet.
    Empty,
}

impl<T> Queue<T> {
    /// A queue that takes whatever comes: whoever puts asks how much there is. `bytes_of` says what one takes.
    pub(crate) const fn new(bytes_of: fn(&T) -> usize) -> Self {
        Self::bounded(bytes_of, usize::MAX, usize::MAX)
    }

    /// A queue that drops the oldest when there are more, or more bytes; the newest always stays.
    pub(crate) const fn bounded(
        bytes_of: fn(&T) -> usize,
        items_max: usize,
        bytes_max: usize,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
                dropped: 0,
                closed: false,
            }),
            arrived: Condvar::new(),
            changed: Notify::const_new(),
            bytes_of,
            items_max,
            bytes_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait, and their bytes.
    pub(crate) fn len(&self) -> (usize, usize) {
        let state = self.lock();
        (state.items.len(), state.bytes)
    }

    /// How many were dropped because nobody took them.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Adds some, and wakes nobody.
    pub(crate) fn put(&self, items: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        for item in items {
            state.bytes += (self.bytes_of)(&item);
            state.items.push_back(item);
            while state.items.len() > 1
                && (state.items.len() > self.items_max || state.bytes > self.bytes_max)
            {
                self.pop(&mut state);
                state.dropped += 1;
            }
        }
    }

    /// Wakes who waits, after [`Queue::put`].
    pub(crate) fn wake(&self) {
        self.arrived.notify_all();
        self.changed.notify_waiters();
    }

    /// Nothing more comes. What is there can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    fn pop(&self, state: &mut State<T>) -> Option<T> {
        let item = state.items.pop_front()?;
        state.bytes -= (self.bytes_of)(&item);
        Some(item)
    }

    fn take_from(&self, state: &mut State<T>) -> Taken<T> {
        match self.pop(state) {
            Some(item) => Taken::Item(item),
            None if state.closed => Taken::Closed,
            None => Taken::Empty,
        }
    }

    pub(crate) fn take(&self) -> Taken<T> {
        self.take_from(&mut self.lock())
    }

    /// The same, but waits on this thread for one, the end, or `timeout`.
    pub(crate) fn take_within(&self, timeout: Duration, clock: &(impl Clock + ?Sized)) -> Taken<T> {
        let end = clock.now() + timeout;
        let mut state = self.lock();
        loop {
            let taken = self.take_from(&mut state);
            if !matches!(taken, Taken::Empty) {
                return taken;
            }
            let left = end.duration_since(clock.now());
            if left.is_zero() {
                return Taken::Empty;
            }
            let waited = self.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends when there is one to take, or none will come.
    pub(crate) async fn readable(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before looking, so that nothing comes unnoticed between the two.
            changed.as_mut().enable();
            {
                let state = self.lock();
                if !state.items.is_empty() || state.closed {
                    return;
                }
            }
            changed.await;
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (items, bytes) = self.len();
        write!(f, "Queue({items} of {bytes} bytes)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &Queue<Vec<u8>>) -> Vec<usize> {
        let items = std::iter::from_fn(|| match queue.take() {
            Taken::Item(item) => Some(item.len()),
            Taken::Closed | Taken::Empty => None,
        });
        items.collect()
    }

    #[test]
    fn what_nobody_takes_is_dropped_oldest_first_and_counted() {
        let queue = Queue::bounded(Vec::len, 3, 10);
        queue.put((0..5).map(|length| vec![0; length]));
        assert_eq!((queue.len(), queue.dropped()), ((3, 9), 2));
        queue.put([vec![0; 2]]);
        assert_eq!(queue.len(), (3, 9));
        queue.put([vec![0; 11]]);
        queue.close();
        assert_eq!((queue.dropped(), taken(&queue)), (6, vec![11]));
        assert!(matches!(queue.take(), Taken::Closed));
    }

    #[test]
    fn who_waits_is_woken_by_what_comes_and_by_the_end() {
        let queue = Queue::new(Vec::len);
        let clock = fogcompute_base::SystemClock::new();
        // Longer than anything takes that works.
        let patience = Duration::from_secs(60);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let first = matches!(queue.take_within(patience, &clock), Taken::Item(_));
                let second = matches!(queue.take_within(patience, &clock), Taken::Closed);
                first && second
            });
            queue.put([vec![1]]);
            queue.wake();
            queue.close();
            assert!(waits.join().unwrap());
        });
        assert!(matches!(
            queue.take_within(Duration::ZERO, &clock),
            Taken::Closed
        ));
    }
}
