//! One ledger for many threads.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use fogcompute_base::UnixMillis;
use fogcompute_ledger::Receipt;

use super::{Asked, SqliteLedger};
use crate::{HomeProcess, StoreError};

/// Operations that one commit takes, about: what is waiting, but not more than this.
const GROUP_OPERATIONS: usize = 1_024;
/// Requests that may wait; who comes then waits for a place.
const QUEUE_REQUESTS: usize = 1_024;

type Reply = SyncSender<Result<Vec<Receipt>, StoreError>>;

enum Request {
    Execute {
        asked: Asked,
        now: UnixMillis,
        reply: Reply,
    },
    Ask(Box<dyn FnOnce(&mut SqliteLedger) + Send>),
}

/// A handle to a ledger that a thread of its own owns; clones are handles to the same one.
///
/// Batches that wait while the disk is busy are committed together, so that many callers share one
/// wait for the disk. A batch that comes alone is not held up. Each is all or nothing by itself:
/// one that is refused fails none of its neighbours, and none is acknowledged before it is on disk.
///
/// The file is closed when the last handle is dropped.
///
/// ```
/// use fogcompute_base::{AccountId, UnixMillis};
/// use fogcompute_ledger::{AccountKind, AssetId, Operation};
/// use fogcompute_store::{SharedLedger, SqliteLedger, StoreError};
///
/// let ledger = SharedLedger::new(SqliteLedger::in_memory()?)?;
/// let threads: Vec<_> = (0..4_u8)
///     .map(|n| {
///         let ledger = ledger.clone();
///         std::thread::spawn(move || {
///             let account = AccountId::from_bytes([n; 16]);
///             let (asset, kind) = (AssetId::CREDITS, AccountKind::Holder);
///             ledger.execute(vec![Operation::Open { account, asset, kind }], UnixMillis(5))
///         })
///     })
///     .collect();
/// for thread in threads {
///     thread.join().expect("no thread panics")?;
/// }
/// assert_eq!(ledger.with(|ledger| ledger.state().account_count())?, 4);
/// # Ok::<(), StoreError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedLedger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None` only while it is being dropped.
    requests: Option<SyncSender<Request>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    home: HomeProcess,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Request")
    }
}

impl SharedLedger {
    /// Gives the ledger to a thread.
    ///
    /// # Errors
    /// [`StoreError::Io`] if there can be no thread.
    pub fn new(ledger: SqliteLedger) -> Result<Self, StoreError> {
        let (requests, waiting) = sync_channel(QUEUE_REQUESTS);
        let thread = thread::Builder::new()
            .name("fogcompute-ledger".to_owned())
            .spawn(move || serve(ledger, &waiting))
            .map_err(|source| StoreError::Io { source })?;
        Ok(Self(Arc::new(Shared {
            requests: Some(requests),
            thread: Mutex::new(Some(thread)),
            home: HomeProcess::here(),
        })))
    }

    /// Carries a batch out at the time `now`, the host's own or a signed one: all of it or nothing,
    /// on disk before it returns.
    ///
    /// # Errors
    /// As [`SqliteLedger::execute`]; [`StoreError::GroupFailed`] if the disk failed a commit that
    /// others shared; [`StoreError::ThreadEnded`], [`StoreError::Forked`].
    pub fn execute(
        &self,
        batch: impl Into<Asked>,
        now: UnixMillis,
    ) -> Result<Vec<Receipt>, StoreError> {
        let (reply, answer) = sync_channel(1);
        let asked = batch.into();
        self.send(Request::Execute { asked, now, reply })?;
        answer.recv().map_err(|_| StoreError::ThreadEnded)?
    }

    /// Runs `ask` with the ledger, after what was asked for before: for queries, checks, copies.
    /// It keeps all others waiting.
    ///
    /// # Errors
    /// [`StoreError::ThreadEnded`] if an earlier `ask` panicked, or this one does;
    /// [`StoreError::Forked`].
    pub fn with<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut SqliteLedger) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = sync_channel(1);
        self.send(Request::Ask(Box::new(move |ledger| {
            // Whoever asked may have gone.
            drop(reply.send(ask(ledger)));
        })))?;
        answer.recv().map_err(|_| StoreError::ThreadEnded)
    }

    fn send(&self, request: Request) -> Result<(), StoreError> {
        self.0.home.check()?;
        let requests = self.0.requests.as_ref().expect("taken only on dropping");
        requests.send(request).map_err(|_| StoreError::ThreadEnded)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.requests = None;
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // A question that had the last handle is answered by the thread itself, which ends then.
        let waits = |thread: &JoinHandle<()>| {
            self.home.is_here() && thread.thread().id() != thread::current().id()
        };
        if let Some(thread) = thread.take().filter(waits) {
            // A panic of the thread was told by `ThreadEnded`.
            drop(thread.join());
        }
    }
}

fn serve(mut ledger: SqliteLedger, waiting: &Receiver<Request>) {
    let mut next = waiting.recv().ok();
    while let Some(request) = next.take() {
        let Request::Execute { asked, now, reply } = request else {
            if let Request::Ask(ask) = request {
                ask(&mut ledger);
            }
            next = waiting.recv().ok();
            continue;
        };
        let mut operations = asked.count();
        let (mut group, mut replies) = (vec![(asked, now)], vec![reply]);
        while operations < GROUP_OPERATIONS {
            match waiting.try_recv() {
                Ok(Request::Execute { asked, now, reply }) => {
                    operations += asked.count();
                    group.push((asked, now));
                    replies.push(reply);
                }
                Ok(ask) => {
                    next = Some(ask);
                    break;
                }
                Err(_) => break,
            }
        }
        let results = ledger.execute_group(&group);
        for (reply, result) in replies.into_iter().zip(results) {
            drop(reply.send(result));
        }
        if next.is_none() {
            next = waiting.recv().ok();
        }
    }
}
