//! One thread of an engine.

use std::collections::VecDeque;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use fogcompute_base::{Clock, Instant};
use fogcompute_mix::{Delivery, EpochKey, EpochParity, Mixnode, NodeRef, Transmit};
use tokio::sync::mpsc;

use crate::udp::{DATA, Unreachable};
use crate::udp::{DATAGRAM_OVERHEAD_BYTES, Opened, Refusal, UdpLink, UdpLinks, UdpTable};

use super::EngineConfig;
use super::shared::{Mode, Shared};
use super::socket::{ReceiveBuffers, Socket, wait};
use super::stats::EngineStats;

/// Packets whose layers are taken off together. More are hardly faster, and hold the first one up.
const BATCH: usize = 16;
/// Packets that are put together by their next hop.
const GROUP: usize = 64;
/// Buffers of packets that are kept for the next ones.
const POOL_MAX: usize = 16_384;

/// How often a thread whose packets wait for a link looks whether another has made it.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What a host asks of a thread.
pub(super) enum Command {
    Send(Vec<Transmit>),
    SetKey(EpochParity, EpochKey),
    RemoveKey(EpochParity),
}

/// What a [`Worker`] is made of.
pub(super) struct Parts {
    pub(super) number: usize,
    pub(super) mixnode: Mixnode,
    pub(super) socket: Socket,
    pub(super) woken: UnixStream,
    pub(super) shared: Arc<Shared>,
    pub(super) commands: Receiver<Command>,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: EngineConfig,
}

pub(super) struct Worker {
    parts: Parts,
    frame_bytes: usize,
    table: Arc<UdpTable>,
    version: u64,
    /// Buffers of a packet's length.
    pool: Vec<Vec<u8>>,
    /// Packets that came in, when each came, and when the first of them was read.
    batch: Vec<Vec<u8>>,
    arrivals: Vec<Instant>,
    batch_since: Instant,
    /// What is to be sent now.
    outgoing: Vec<Option<(Arc<UdpLink>, Vec<u8>)>>,
    /// Datagrams for one peer, one after the other.
    sealed: Box<[u8]>,
    /// Packets that wait for a link, and for which version of the links.
    waiting: VecDeque<Waiting>,
    waited_version: u64,
    stats: EngineStats,
    published: EngineStats,
}

struct Waiting {
    until: Instant,
    to: NodeRef,
    bytes: Vec<u8>,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> Self {
        let frame_bytes = parts.mixnode.geometry().packet_bytes();
        let seal_bytes = parts.socket.segments_max() * (frame_bytes + DATAGRAM_OVERHEAD_BYTES);
        Self {
            frame_bytes,
            table: Arc::default(),
            version: 0,
            pool: Vec::new(),
            batch: Vec::with_capacity(BATCH),
            arrivals: Vec::with_capacity(BATCH),
            batch_since: Instant::ZERO,
            outgoing: Vec::with_capacity(GROUP),
            sealed: vec![0; seal_bytes].into_boxed_slice(),
            waiting: VecDeque::new(),
            waited_version: 0,
            stats: EngineStats::default(),
            published: EngineStats::default(),
            parts,
        }
    }

    pub(super) fn run(mut self) {
        let mut buffers = self.parts.socket.receive_buffers();
        let mut drain_until = None;
        self.refresh();
        loop {
            let mode = self.parts.shared.mode();
            let now = self.parts.clock.now();
            let is_draining = mode != Mode::Run;
            let received = self.receive(&mut buffers, is_draining);
            if self.batch_due(is_draining).is_some_and(|due| due <= now) {
                self.process();
            }
            self.run_commands();
            self.keep_links(now);
            self.send_due();
            self.publish_stats();
            match mode {
                Mode::Run => {}
                Mode::Drain(within) => {
                    let until = *drain_until.get_or_insert(now + within);
                    if self.held() == 0 || now >= until {
                        break;
                    }
                }
                Mode::Stop => break,
            }
            if !received {
                self.wait(is_draining, drain_until);
            }
        }
        self.stats.undrained += self.held() as u64;
        self.publish_stats();
    }

    /// Packets that are neither sent nor dropped yet.
    fn held(&self) -> usize {
        self.parts.mixnode.held_packets() + self.batch.len() + self.waiting.len()
    }

    /// When what came in is to be processed.
    fn batch_due(&self, is_draining: bool) -> Option<Instant> {
        if self.batch.is_empty() {
            return None;
        }
        let wait = if is_draining {
            Duration::ZERO
        } else {
            self.parts.config.batch_wait_max
        };
        Some(self.batch_since + wait)
    }

    fn wait(&mut self, is_draining: bool, drain_until: Option<Instant>) {
        let now = self.parts.clock.now();
        let due = [
            self.parts.mixnode.poll_timeout(),
            self.batch_due(is_draining),
            self.parts.shared.timeout(),
            // The link may be made by another thread.
            (!self.waiting.is_empty()).then(|| now + LOOK_AGAIN),
            drain_until,
        ];
        let due = due.into_iter().flatten().min();
        if due.is_some_and(|due| due <= now) {
            return;
        }
        wait(
            &self.parts.socket,
            &self.parts.woken,
            due.map(|due| due.duration_since(now)),
        );
        let mut bytes = [0; 64];
        // However many wake-ups there are, one round serves them all.
        while matches!((&self.parts.woken).read(&mut bytes), Ok(1..)) {}
    }

    /// Takes what has arrived. `false` if nothing has.
    fn receive(&mut self, buffers: &mut ReceiveBuffers, is_draining: bool) -> bool {
        // An error is either that there is nothing, or of a datagram sent earlier.
        let Ok(count) = self.parts.socket.receive(buffers) else {
            return false;
        };
        let now = self.parts.clock.now();
        for (from, age, datagram) in buffers.datagrams(count) {
            self.stats.datagrams += 1;
            match self.handle_datagram(from, datagram, now) {
                Ok(Some(frame)) if is_draining => {
                    self.stats.draining += 1;
                    self.give_back(frame);
                }
                Ok(Some(frame)) => {
                    if self.batch.is_empty() {
                        self.batch_since = now;
                    }
                    self.arrivals.push(now - age);
                    self.batch.push(frame);
                    if self.batch.len() == BATCH {
                        self.process();
                        self.send_due();
                    }
                }
                Ok(None) => {}
                Err(refusal) => self.stats.count_refusal(refusal),
            }
        }
        count > 0
    }

    /// What a datagram holds, if it is a packet.
    fn handle_datagram(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        if datagram.len() != self.frame_bytes + DATAGRAM_OVERHEAD_BYTES {
            return Err(Refusal::Length);
        }
        if datagram[0] != DATA {
            return self
                .with_links(|links| links.handle_input(from, datagram, now))
                .map(|()| None);
        }
        let mut link = self.table.link_of(datagram);
        if link.is_none() && self.version != self.parts.shared.version() {
            self.refresh();
            link = self.table.link_of(datagram);
        }
        let link = Arc::clone(link.ok_or(Refusal::Index)?);
        let mut frame = self.pool.pop().unwrap_or_else(|| vec![0; self.frame_bytes]);
        let opened = link.open(datagram, &mut frame, now);
        if matches!(opened, Ok(_) | Err(Refusal::OverRate)) && !link.is_confirmed() {
            self.with_links(|links| links.confirm(&link, now));
        }
        match opened {
            Ok(Opened::Frame) => return Ok(Some(frame)),
            Ok(Opened::Cover) => {
                self.stats.cover += 1;
                self.give_back(frame);
            }
            Err(refusal) => {
                self.give_back(frame);
                return Err(refusal);
            }
        }
        Ok(None)
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        if self.pool.len() < POOL_MAX && buffer.len() == self.frame_bytes {
            self.pool.push(buffer);
        }
    }

    /// Takes the layers off what came in. Delays count from when each packet came, in the socket
    /// already where the system tells.
    fn process(&mut self) {
        self.parts
            .mixnode
            .handle_arrivals(&mut self.batch, &self.arrivals);
        self.arrivals.clear();
        while let Some(spare) = self.parts.mixnode.poll_spare() {
            self.give_back(spare);
        }
        while let Some(delivery) = self.parts.mixnode.poll_delivery() {
            if self.parts.deliveries.try_send(delivery).is_err() {
                self.stats.undelivered += 1;
            }
        }
    }

    fn send_due(&mut self) {
        let now = self.parts.clock.now();
        while let Some(transmit) = self.parts.mixnode.poll_transmit(now) {
            self.send(transmit, now);
        }
        while let Some(spare) = self.parts.mixnode.poll_spare() {
            self.give_back(spare);
        }
        self.flush(now);
    }

    fn send(&mut self, transmit: Transmit, now: Instant) {
        let to = transmit.to;
        let bytes = transmit.packet.into_bytes();
        let link = match self.table.link_to(to) {
            Some(link) => Ok(Some(Arc::clone(link))),
            None => self.link(to, now),
        };
        match link {
            Ok(Some(link)) => {
                self.outgoing.push(Some((link, bytes)));
                if self.outgoing.len() == GROUP {
                    self.flush(now);
                }
            }
            Ok(None) if self.waiting.len() < self.parts.config.link_wait_packets_max => {
                let until = now + self.parts.config.link_wait_max;
                self.waiting.push_back(Waiting { until, to, bytes });
            }
            Err(Unreachable::Unknown { .. }) => {
                self.stats.unknown_peer += 1;
                self.give_back(bytes);
            }
            Ok(None) | Err(_) => {
                self.stats.unreachable += 1;
                self.give_back(bytes);
            }
        }
    }

    fn link(&mut self, to: NodeRef, now: Instant) -> Result<Option<Arc<UdpLink>>, Unreachable> {
        let date = self.parts.clock.unix_now();
        self.with_links(|links| links.link(to, now, date))
    }

    /// Seals and sends what is outgoing, in one call for each peer if the system can.
    fn flush(&mut self, now: Instant) {
        let datagram_bytes = self.frame_bytes + DATAGRAM_OVERHEAD_BYTES;
        let room = self.parts.socket.segments_max() * datagram_bytes;
        let mut outgoing = std::mem::take(&mut self.outgoing);
        for first in 0..outgoing.len() {
            let Some(link) = outgoing[first].as_ref().map(|(link, _)| Arc::clone(link)) else {
                continue;
            };
            let mut sealed = 0;
            for entry in &mut outgoing[first..] {
                let Some((_, bytes)) = entry.take_if(|(other, _)| Arc::ptr_eq(other, &link)) else {
                    continue;
                };
                let datagram = &mut self.sealed[sealed..sealed + datagram_bytes];
                match link.seal(self.parts.number, &bytes, datagram, now) {
                    Ok(()) => sealed += datagram_bytes,
                    Err(_) => self.stats.unreachable += 1,
                }
                self.give_back(bytes);
                if sealed + datagram_bytes > room {
                    self.send_sealed(link.address(), sealed);
                    sealed = 0;
                }
            }
            self.send_sealed(link.address(), sealed);
        }
        outgoing.clear();
        self.outgoing = outgoing;
    }

    fn send_sealed(&mut self, to: SocketAddr, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let count = bytes / (self.frame_bytes + DATAGRAM_OVERHEAD_BYTES);
        let sent = self.parts.socket.send(to, &self.sealed[..bytes]);
        self.stats.sent += sent as u64;
        self.stats.unsent += (count - sent) as u64;
    }

    fn run_commands(&mut self) {
        while let Ok(command) = self.parts.commands.try_recv() {
            match command {
                Command::Send(transmits) => {
                    let now = self.parts.clock.now();
                    for transmit in transmits {
                        self.send(transmit, now);
                    }
                    self.flush(now);
                }
                Command::SetKey(epoch, key) => self.parts.mixnode.set_epoch_key(epoch, key),
                Command::RemoveKey(epoch) => self.parts.mixnode.remove_key(epoch),
            }
        }
    }

    /// Does what links have to do now, and sends what has waited for one.
    fn keep_links(&mut self, now: Instant) {
        if self.parts.shared.timeout().is_some_and(|due| due <= now) {
            let date = self.parts.clock.unix_now();
            self.with_links(|links| links.handle_timeout(now, date));
        }
        if self.version != self.parts.shared.version() {
            self.refresh();
        }
        let is_over = |waiting: &Waiting| waiting.until <= now;
        if self.version != self.waited_version || self.waiting.front().is_some_and(is_over) {
            self.waited_version = self.version;
            for waiting in std::mem::take(&mut self.waiting) {
                self.send_waiting(waiting, now);
            }
            self.flush(now);
        }
    }

    fn send_waiting(&mut self, waiting: Waiting, now: Instant) {
        if let Some(link) = self.table.link_to(waiting.to) {
            self.outgoing.push(Some((Arc::clone(link), waiting.bytes)));
            if self.outgoing.len() == GROUP {
                self.flush(now);
            }
        } else if waiting.until <= now {
            self.stats.unreachable += 1;
            self.give_back(waiting.bytes);
        } else {
            self.waiting.push_back(waiting);
        }
    }

    fn refresh(&mut self) {
        self.with_links(|_| ());
    }

    /// Calls the links, which all threads share, and sends what they have to send.
    fn with_links<R>(&mut self, call: impl FnOnce(&mut UdpLinks) -> R) -> R {
        let outcome = self.parts.shared.with_links(call);
        self.table = outcome.table;
        self.version = outcome.version;
        for (to, datagram) in outcome.transmits {
            if self.parts.socket.send(to, &datagram) == 1 {
                self.stats.links_sent += 1;
            } else {
                self.stats.unsent += 1;
            }
        }
        outcome.result
    }

    fn publish_stats(&mut self) {
        self.stats.mix = self.parts.mixnode.stats();
        if self.stats != self.published {
            self.published = self.stats;
            self.parts
                .shared
                .publish_stats(self.parts.number, &self.stats);
        }
    }
}
