//! A mixnode on UDP, with a thread for each processor.

mod shared;
mod socket;
mod stats;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use fogcompute_base::{Clock, OsEntropy};
use fogcompute_mix::{Delivery, Descriptor, EpochKey, EpochParity, Mixnode, Transmit};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::directory::DirectoryError;
use crate::identity::Identity;
use crate::udp::{LANES, UdpLinks, UdpLinksConfig, UdpLinksError};

use self::shared::Shared;
use self::worker::{Command, Worker};

pub use self::stats::EngineStats;

/// Limits of a [`MixEngine`].
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Threads that process packets; 0 is one for each processor. At most [`LANES`], and only 1
    /// where a system does not share a port between sockets, which is all but Linux and Android.
    ///
    /// Which of them gets the datagrams of a peer is the kernel's choice by the peer's address, so
    /// it takes many more peers than threads for all to have the same work.
    pub workers: usize,
    /// How long packets wait for others to be processed with. It is a part of their delay, so they
    /// leave later only if that is shorter.
    pub batch_wait_max: Duration,
    /// How long a packet waits for the handshake with its next hop.
    pub link_wait_max: Duration,
    /// Most packets of one thread that wait for handshakes. When reached, further ones are dropped.
    pub link_wait_packets_max: usize,
    /// Most packets for this node that its host has not taken yet. When reached, further ones are
    /// dropped.
    pub deliveries_max: usize,
    /// Most calls of [`EngineHandle::send`] that one thread has not begun with.
    pub sends_max: usize,
    /// Memory of each socket for what arrives and for what leaves, in bytes, as far as the system
    /// allows. What does not fit is lost, so it bridges the times when no thread runs.
    pub socket_buffer_bytes: usize,
    /// Limits of links.
    pub links: UdpLinksConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            workers: 0,
            batch_wait_max: Duration::from_micros(200),
            link_wait_max: Duration::from_secs(2),
            link_wait_packets_max: 1024,
            deliveries_max: 16_384,
            sends_max: 256,
            socket_buffer_bytes: 8 << 20,
            links: UdpLinksConfig::default(),
        }
    }
}

impl EngineConfig {
    /// The threads that an engine has: [`EngineConfig::workers`] with its limits, and on this machine.
    #[must_use]
    pub fn threads(&self) -> usize {
        if !cfg!(any(target_os = "linux", target_os = "android")) {
            return 1;
        }
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let count = if self.workers == 0 {
            processors()
        } else {
            self.workers
        };
        count.min(LANES)
    }
}

/// Why an engine does not start.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum EngineError {
    /// Another program, or another engine of this one, has the address.
    #[error("address {address} is in use")]
    AddressInUse {
        /// Where the engine should listen.
        address: SocketAddr,
    },
    /// The address is not one of this machine, or the system does not allow it.
    #[error("cannot listen at {address}: {source}")]
    Bind {
        /// Where the engine should listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A socket cannot be set up.
    #[error("socket: {0}")]
    Socket(#[source] io::Error),
    /// The system gives no further thread.
    #[error("thread: {0}")]
    Thread(#[source] io::Error),
    /// The network's packets do not fit datagrams.
    #[error(transparent)]
    Links(#[from] UdpLinksError),
}

/// Packets that were not taken because the engine is busy. Send them later.
#[derive(Debug, Error)]
#[error("engine is busy: {} packets were not taken", .transmits.len())]
pub struct Busy {
    /// The packets.
    pub transmits: Vec<Transmit>,
}

/// Runs one mixnode on UDP.
///
/// Each of its threads has a socket on the same port and a sibling of the mixnode: it receives up to
/// some hundred datagrams in one call, opens what its links sealed, takes off layers sixteen at a
/// time, holds packets for their delays, seals what is due and sends what goes to the same peer in
/// one call. Buffers go round: once it has run for a while, a packet that is sent on takes nothing
/// from the heap.
///
/// A packet's delay counts from when its datagram arrived, or was read where the system does not
/// tell, so the time that it waits and is processed is a part of the delay. What is due in the same tick of 100 µs is in random order; then what goes to the same
/// peer is put together, up to 64 packets, peers in the order in which they come up first. Grouping
/// looks at nothing but the random order and the peers, both of which a watcher of the wire sees
/// anyway, so it tells nothing of the order in which packets came.
///
/// What it does not do: it does not pass work between threads, follow a peer that changes its
/// address before its next handshake, or say how much the kernel dropped because a socket was full.
#[derive(Debug)]
pub struct MixEngine;

/// The host's end of a running [`MixEngine`]. The engine ends when it is dropped.
pub struct EngineHandle {
    shared: Arc<Shared>,
    address: SocketAddr,
    workers: Vec<WorkerEnd>,
}

struct WorkerEnd {
    commands: SyncSender<Command>,
    waker: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl MixEngine {
    /// Starts a mixnode on `address`; port 0 is any that is free.
    ///
    /// What is for this node comes out of the returned receiver, which a host can read with or
    /// without an async runtime.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn start(
        mixnode: Mixnode,
        identity: Identity,
        address: SocketAddr,
        config: &EngineConfig,
        clock: &Arc<dyn Clock>,
    ) -> Result<(EngineHandle, mpsc::Receiver<Delivery>), EngineError> {
        let frame_bytes = mixnode.geometry().packet_bytes();
        let links = UdpLinks::new(identity, frame_bytes, config.links.clone(), &mut OsEntropy)?;
        let datagram_bytes = links.datagram_bytes();
        let sockets = socket::bind(
            address,
            config.threads(),
            datagram_bytes,
            config.socket_buffer_bytes,
        )?;
        let address = sockets
            .first()
            .map_or(Ok(address), socket::Socket::local_address)
            .map_err(EngineError::Socket)?;
        let shared = Arc::new(Shared::new(links, sockets.len()));
        let (deliveries, delivered) = mpsc::channel(config.deliveries_max.max(1));
        let mut mixnodes = vec![mixnode];
        for number in 1..sockets.len() {
            mixnodes.push(mixnodes[0].sibling(number as u32));
        }
        // From here on, dropping the handle ends what was started.
        let mut handle = EngineHandle {
            shared: Arc::clone(&shared),
            address,
            workers: Vec::new(),
        };
        for (number, (socket, mixnode)) in sockets.into_iter().zip(mixnodes).enumerate() {
            let (waker, woken) = UnixStream::pair().map_err(EngineError::Socket)?;
            for end in [&waker, &woken] {
                end.set_nonblocking(true).map_err(EngineError::Socket)?;
            }
            let (commands, inbox) = sync_channel(config.sends_max.max(1));
            let worker = Worker::new(worker::Parts {
                number,
                mixnode,
                socket,
                woken,
                shared: Arc::clone(&shared),
                commands: inbox,
                deliveries: deliveries.clone(),
                clock: Arc::clone(clock),
                config: config.clone(),
            });
            let thread = std::thread::Builder::new()
                .name(format!("mix-{number}"))
                .spawn(|| worker.run())
                .map_err(EngineError::Thread)?;
            handle.workers.push(WorkerEnd {
                commands,
                waker,
                thread: Some(thread),
            });
        }
        Ok((handle, delivered))
    }
}

impl EngineHandle {
    /// Where the engine listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Threads that process packets.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Puts packets on the links to their next hops, at once and without waiting.
    ///
    /// # Errors
    /// [`Busy`], with the packets, if no thread has room for another call.
    pub fn send(&self, transmits: Vec<Transmit>) -> Result<(), Busy> {
        let mut command = Command::Send(transmits);
        let first = self.shared.next_worker(self.workers.len());
        for offset in 0..self.workers.len() {
            let worker = &self.workers[(first + offset) % self.workers.len()];
            match worker.commands.try_send(command) {
                Ok(()) => {
                    worker.wake();
                    return Ok(());
                }
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => command = back,
            }
        }
        match command {
            Command::Send(transmits) => Err(Busy { transmits }),
            Command::SetKey(..) | Command::RemoveKey(..) => Ok(()),
        }
    }

    /// Replaces what is known of where nodes accept links. If a node stands there twice, the later
    /// address counts.
    ///
    /// # Errors
    /// [`DirectoryError::SameRef`]; then what was known before stays.
    pub fn set_directory<'a>(
        &self,
        nodes: impl IntoIterator<Item = &'a Descriptor>,
    ) -> Result<(), DirectoryError> {
        let directory = crate::directory::directory(nodes)?;
        self.shared
            .with_links(|links| links.replace_directory(directory));
        self.wake();
        Ok(())
    }

    /// Puts a mix key, never used before, in the place of the one of its parity, in all threads.
    /// Waits for those that are busy.
    pub fn set_epoch_key(&self, epoch: EpochParity, key: &EpochKey) {
        self.command(|| Command::SetKey(epoch, key.clone()));
    }

    /// Erases the mix key of a parity in all threads. Waits for those that are busy.
    pub fn remove_key(&self, epoch: EpochParity) {
        self.command(|| Command::RemoveKey(epoch));
    }

    fn command(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            worker.wake();
            // A thread that ended has no key any more.
            let _ = worker.commands.send(command());
            worker.wake();
        }
    }

    /// What all threads counted since the start.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.shared.stats()
    }

    /// Takes no further packets, sends what is held when it is due, and ends: when nothing is held
    /// any more, or after `within`. Blocks until then. What was held longer is counted as
    /// [`undrained`](EngineStats::undrained) and lost.
    #[must_use]
    pub fn drain(mut self, within: Duration) -> EngineStats {
        self.shared.start_draining(within);
        self.wake();
        self.join();
        self.shared.stats()
    }

    fn wake(&self) {
        for worker in &self.workers {
            worker.wake();
        }
    }

    fn join(&mut self) {
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A panic is a bug that the thread has reported; the others are still to be ended.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        self.shared.stop();
        self.wake();
        self.join();
    }
}

impl fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "EngineHandle({}, {} workers)",
            self.address,
            self.workers.len()
        )
    }
}

impl WorkerEnd {
    fn wake(&self) {
        // If the pipe is full the thread has been woken often enough.
        let _ = (&self.waker).write(&[1]);
    }
}
