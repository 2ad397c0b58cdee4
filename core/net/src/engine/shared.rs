//! What the threads of an engine share.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogcompute_base::Instant;

use crate::udp::{UdpLinks, UdpTable};

use super::stats::EngineStats;

const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const STOPPED: u8 = 2;

/// No timeout.
const NEVER: u64 = u64::MAX;

/// What an engine is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    Run,
    /// Send what is held; the time for it.
    Drain(Duration),
    Stop,
}

pub(super) struct Shared {
    links: Mutex<Guarded>,
    /// Of the table that is in `links`.
    version: AtomicU64,
    /// When the links have to be called again, in nanoseconds since the host's origin.
    timeout: AtomicU64,
    mode: AtomicU8,
    drain_nanos: AtomicU64,
    next: AtomicUsize,
    stats: Box<[Mutex<EngineStats>]>,
}

struct Guarded {
    links: UdpLinks,
    table: Arc<UdpTable>,
}

/// What came out of a call to the links.
pub(super) struct Outcome<R> {
    pub(super) result: R,
    pub(super) table: Arc<UdpTable>,
    pub(super) version: u64,
    pub(super) transmits: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Shared {
    pub(super) fn new(links: UdpLinks, workers: usize) -> Self {
        Self {
            version: AtomicU64::new(links.version()),
            timeout: AtomicU64::new(NEVER),
            links: Mutex::new(Guarded {
                table: Arc::new(links.table()),
                links,
            }),
            mode: AtomicU8::new(RUNNING),
            drain_nanos: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            stats: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// Calls the links and publishes what has changed.
    pub(super) fn with_links<R>(&self, call: impl FnOnce(&mut UdpLinks) -> R) -> Outcome<R> {
        let mut guarded = lock(&self.links);
        let result = call(&mut guarded.links);
        let version = guarded.links.version();
        if version != self.version.load(Ordering::Relaxed) {
            guarded.table = Arc::new(guarded.links.table());
            self.version.store(version, Ordering::Release);
        }
        let timeout = guarded
            .links
            .poll_timeout()
            .map_or(NEVER, Instant::as_nanos);
        self.timeout.store(timeout, Ordering::Relaxed);
        Outcome {
            result,
            table: Arc::clone(&guarded.table),
            version,
            transmits: guarded.links.take_transmits(),
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        let nanos = self.timeout.load(Ordering::Relaxed);
        (nanos != NEVER).then(|| Instant::from_nanos(nanos))
    }

    pub(super) fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            RUNNING => Mode::Run,
            DRAINING => Mode::Drain(Duration::from_nanos(
                self.drain_nanos.load(Ordering::Relaxed),
            )),
            _ => Mode::Stop,
        }
    }

    pub(super) fn start_draining(&self, within: Duration) {
        let nanos = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
        self.drain_nanos.store(nanos, Ordering::Relaxed);
        self.mode.store(DRAINING, Ordering::Release);
    }

    pub(super) fn stop(&self) {
        self.mode.store(STOPPED, Ordering::Release);
    }

    pub(super) fn next_worker(&self, workers: usize) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % workers.max(1)
    }

    pub(super) fn publish_stats(&self, worker: usize, stats: &EngineStats) {
        *lock(&self.stats[worker]) = *stats;
    }

    pub(super) fn stats(&self) -> EngineStats {
        let mut sum = EngineStats::default();
        for stats in &self.stats {
            sum.add(&lock(stats));
        }
        sum
    }
}

/// A thread that panicked has left counters or links in some state between two calls, which both
/// are sound in.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
