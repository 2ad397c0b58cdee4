//! A mixnode on sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fogcompute_base::{Clock, Instant, NodeId};
use fogcompute_mix::{Delivery, Descriptor, MixStats, Mixnode, NodeRef, Transmit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::directory::{Directory, DirectoryError, directory};
use crate::identity::Identity;
use crate::link::{Link, LinkReader, LinkWriter, Purpose};

/// Most packets processed together. More would not be faster, only hold the first one up.
const BATCH_PACKETS_MAX: usize = 32;

/// Limits of a [`MixService`].
#[derive(Clone, Debug)]
pub struct MixServiceConfig {
    /// Most links accepted at once. When reached, further ones wait in the kernel's backlog.
    pub links_max: usize,
    /// Most packets waiting for one peer. When reached, packets to that peer are dropped.
    pub peer_queue_packets_max: usize,
    /// Most packets and commands waiting for the mixnode. When reached, links are read no further.
    pub input_queue_max: usize,
    /// How long a peer that cannot be reached is not dialled again.
    pub redial_after: Duration,
}

impl Default for MixServiceConfig {
    fn default() -> Self {
        Self {
            links_max: 1024,
            peer_queue_packets_max: 16_384,
            input_queue_max: 1024,
            redial_after: Duration::from_secs(1),
        }
    }
}

/// What the links of a service counted since its start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LinkStats {
    /// Packets written to links.
    pub sent: u64,
    /// Packets dropped: their next hop is in no directory.
    pub unknown_peer: u64,
    /// Packets dropped: their next hop's queue was full or it could not be reached.
    pub unreachable: u64,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    unknown_peer: AtomicU64,
    unreachable: AtomicU64,
}

enum Command {
    Packet(Vec<u8>),
    Send(Vec<Transmit>),
    Directory(Directory),
    Stats(oneshot::Sender<MixStats>),
}

/// Runs one mixnode: accepts links, processes packets, holds them, sends them on.
#[derive(Debug)]
pub struct MixService;

/// The host's end of a running [`MixService`]. The service ends when it is dropped.
#[derive(Debug)]
pub struct MixHandle {
    commands: mpsc::Sender<Command>,
    counters: Arc<Counters>,
    // Dropping the set aborts the service's tasks.
    _tasks: JoinSet<()>,
}

impl MixService {
    /// Starts the service on `listener`.
    ///
    /// Deliveries come out of the returned receiver. Links opened for another purpose than mixing
    /// go to `control`, or are closed if there is none.
    pub fn spawn(
        mixnode: Mixnode,
        identity: Identity,
        listener: TcpListener,
        control: Option<mpsc::Sender<Link>>,
        clock: Arc<dyn Clock>,
        config: MixServiceConfig,
    ) -> (MixHandle, mpsc::Receiver<Delivery>) {
        let (commands, inbox) = mpsc::channel(config.input_queue_max);
        let (deliveries, delivered) = mpsc::channel(config.input_queue_max);
        let counters = Arc::new(Counters::default());
        let mut tasks = JoinSet::new();
        let accept = accept_links(
            listener,
            identity.clone(),
            commands.clone(),
            control,
            config.links_max,
        );
        tasks.spawn(accept);
        let links = Links {
            identity,
            directory: BTreeMap::new(),
            peers: BTreeMap::new(),
            counters: Arc::clone(&counters),
            clock: Arc::clone(&clock),
            config,
        };
        tasks.spawn(run(mixnode, inbox, deliveries, links, clock));
        (
            MixHandle {
                commands,
                counters,
                _tasks: tasks,
            },
            delivered,
        )
    }
}

impl MixHandle {
    /// Puts packets on the links to their next hops. Waits while the service is busy.
    pub async fn send(&self, transmits: Vec<Transmit>) {
        // The service ends only with this handle, so there is somebody to receive it.
        let _ = self.commands.send(Command::Send(transmits)).await;
    }

    /// Replaces what is known of where nodes accept links. If a node stands there twice, the later
    /// address counts.
    ///
    /// # Errors
    /// [`DirectoryError::SameRef`]; then what was known before stays.
    pub async fn set_directory<'a>(
        &self,
        nodes: impl IntoIterator<Item = &'a Descriptor>,
    ) -> Result<(), DirectoryError> {
        let directory = directory(nodes)?;
        let _ = self.commands.send(Command::Directory(directory)).await;
        Ok(())
    }

    /// What the mixnode counted since the start.
    pub async fn mix_stats(&self) -> MixStats {
        let (reply, stats) = oneshot::channel();
        let _ = self.commands.send(Command::Stats(reply)).await;
        stats.await.unwrap_or_default()
    }

    /// What the links counted since the start.
    #[must_use]
    pub fn link_stats(&self) -> LinkStats {
        LinkStats {
            sent: self.counters.sent.load(Ordering::Relaxed),
            unknown_peer: self.counters.unknown_peer.load(Ordering::Relaxed),
            unreachable: self.counters.unreachable.load(Ordering::Relaxed),
        }
    }
}

async fn accept_links(
    listener: TcpListener,
    identity: Identity,
    commands: mpsc::Sender<Command>,
    control: Option<mpsc::Sender<Link>>,
    links_max: usize,
) {
    let slots = Arc::new(Semaphore::new(links_max));
    let mut links = JoinSet::new();
    loop {
        while links.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files or a connection that ended in the backlog: neither ends the node.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (identity, commands, control) = (identity.clone(), commands.clone(), control.clone());
        links.spawn(async move {
            let _slot = slot;
            match Link::accept(stream, &identity).await {
                Ok((link, Purpose::Mix)) => read_packets(link.into_split().0, commands).await,
                Ok((link, Purpose::Control)) => {
                    if let Some(control) = control {
                        let _ = control.send(link).await;
                    }
                }
                // A peer that fails its handshake is not told more than that the link closed.
                Err(_) => {}
            }
        });
    }
}

async fn read_packets(mut reader: LinkReader, commands: mpsc::Sender<Command>) {
    while let Ok(packet) = reader.receive().await {
        if commands.send(Command::Packet(packet)).await.is_err() {
            return;
        }
    }
}

async fn run(
    mut mixnode: Mixnode,
    mut inbox: mpsc::Receiver<Command>,
    deliveries: mpsc::Sender<Delivery>,
    mut links: Links,
    clock: Arc<dyn Clock>,
) {
    let mut packets = Vec::new();
    let mut waiting = None;
    loop {
        let now = clock.now();
        while let Some(transmit) = mixnode.poll_transmit(now) {
            links.send(transmit);
        }
        while let Some(delivery) = mixnode.poll_delivery() {
            if deliveries.send(delivery).await.is_err() {
                return;
            }
        }
        let wait = mixnode
            .poll_timeout()
            .map(|due| due.duration_since(clock.now()));
        let command = match waiting.take() {
            Some(command) => Some(command),
            None => tokio::select! {
                command = inbox.recv() => command,
                () = sleep(wait) => continue,
            },
        };
        match command {
            Some(Command::Packet(bytes)) => {
                // What waits already is processed together with it, for that is faster.
                packets.push(bytes);
                while packets.len() < BATCH_PACKETS_MAX {
                    match inbox.try_recv() {
                        Ok(Command::Packet(bytes)) => packets.push(bytes),
                        Ok(other) => {
                            waiting = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                mixnode.handle_inputs(&mut packets, clock.now());
            }
            Some(Command::Send(transmits)) => {
                for transmit in transmits {
                    links.send(transmit);
                }
            }
            Some(Command::Directory(directory)) => links.set_directory(directory),
            Some(Command::Stats(reply)) => {
                let _ = reply.send(mixnode.stats());
            }
            None => return,
        }
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

struct Peer {
    queue: mpsc::Sender<Vec<u8>>,
    // Dropping the set ends the link.
    _task: JoinSet<()>,
}

/// The links this node opened, one a peer, each with its own bounded queue.
struct Links {
    identity: Identity,
    directory: Directory,
    peers: BTreeMap<NodeRef, Peer>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    config: MixServiceConfig,
}

impl Links {
    fn send(&mut self, transmit: Transmit) {
        let Some(&(node, address)) = self.directory.get(&transmit.to) else {
            self.counters.unknown_peer.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let peer = self.peers.entry(transmit.to).or_insert_with(|| {
            let (queue, packets) = mpsc::channel(self.config.peer_queue_packets_max);
            let mut task = JoinSet::new();
            task.spawn(write_packets(
                self.identity.clone(),
                node,
                address,
                packets,
                Arc::clone(&self.counters),
                Arc::clone(&self.clock),
                self.config.redial_after,
            ));
            Peer { queue, _task: task }
        });
        if peer.queue.try_send(transmit.packet.into_bytes()).is_err() {
            self.counters.unreachable.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn set_directory(&mut self, directory: Directory) {
        // A peer that left or moved loses its link; what still waits for it is dropped.
        let old = std::mem::replace(&mut self.directory, directory);
        self.peers
            .retain(|node, _| old.get(node) == self.directory.get(node));
    }
}

/// Sends one peer's packets; dials when there is something to send and no link.
async fn write_packets(
    identity: Identity,
    node: NodeId,
    address: SocketAddr,
    mut packets: mpsc::Receiver<Vec<u8>>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    redial_after: Duration,
) {
    let mut link: Option<LinkWriter> = None;
    let mut failed_at: Option<Instant> = None;
    while let Some(packet) = packets.recv().await {
        let may_dial = failed_at.is_none_or(|at| clock.now().duration_since(at) >= redial_after);
        if link.is_none() && may_dial {
            link = dial(&identity, node, address).await;
            failed_at = link.is_none().then(|| clock.now());
        }
        let sent = match link.as_mut() {
            Some(writer) => writer.send(&packet).await.is_ok(),
            None => false,
        };
        if sent {
            counters.sent.fetch_add(1, Ordering::Relaxed);
        } else {
            counters.unreachable.fetch_add(1, Ordering::Relaxed);
            if link.take().is_some() {
                failed_at = None;
            }
        }
    }
}

async fn dial(identity: &Identity, node: NodeId, address: SocketAddr) -> Option<LinkWriter> {
    let stream = TcpStream::connect(address).await.ok()?;
    let link = Link::dial(stream, identity, node, Purpose::Mix)
        .await
        .ok()?;
    Some(link.into_split().1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::{OsEntropy, SystemClock};
    use fogcompute_mix::{
        Client, ClientConfig, EpochParity, Geometry, Hop, Incoming, MixnodeConfig, Packet,
        PrivateKey, Topology,
    };

    struct Running {
        descriptor: Descriptor,
        handle: MixHandle,
        delivered: mpsc::Receiver<Delivery>,
    }

    async fn start(relay: bool) -> Running {
        let key = PrivateKey::random(&mut OsEntropy);
        let identity = Identity::random(&mut OsEntropy);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let descriptor = Descriptor {
            node: identity.node(),
            key: key.public(),
            epoch: EpochParity::Even,
            address: listener.local_addr().unwrap(),
        };
        let mixnode = Mixnode::new(
            key,
            MixnodeConfig {
                relay,
                ..MixnodeConfig::default()
            },
        );
        let (handle, delivered) = MixService::spawn(
            mixnode,
            identity,
            listener,
            None,
            Arc::new(SystemClock::new()),
            MixServiceConfig::default(),
        );
        Running {
            descriptor,
            handle,
            delivered,
        }
    }

    #[tokio::test]
    async fn a_request_and_its_answer_cross_real_sockets() {
        let mut nodes = Vec::new();
        for index in 0..5 {
            nodes.push(start(index < 3).await);
        }
        let all: Vec<_> = nodes.iter().map(|node| node.descriptor).collect();
        for node in &nodes {
            node.handle.set_directory(&all).await.unwrap();
        }
        let layers = all[..3].iter().map(|node| vec![*node]).collect();
        let topology = Topology::new(layers, Duration::from_millis(2)).unwrap();
        let (mut alice, mut bob) = (nodes.pop().unwrap(), nodes.pop().unwrap());
        let client =
            |node: &Running| Client::new(node.descriptor.contact(), ClientConfig::default());
        let (mut alice_mix, mut bob_mix) = (client(&alice), client(&bob));
        let clock = SystemClock::new();

        let (request, transmits) = alice_mix
            .send(
                &topology,
                bob.descriptor.contact(),
                &[1; 5000],
                4,
                clock.now(),
                &mut OsEntropy,
            )
            .unwrap();
        alice.handle.send(transmits).await;
        let surbs = loop {
            let delivery = bob.delivered.recv().await.unwrap();
            if let Some(Incoming::Message { body, surbs, .. }) =
                bob_mix.handle_delivery(delivery, clock.now()).unwrap()
            {
                assert_eq!(body, vec![1; 5000]);
                break surbs;
            }
        };
        bob.handle
            .send(bob_mix.reply(surbs, &[2; 6000], &mut OsEntropy).unwrap())
            .await;
        loop {
            let delivery = alice.delivered.recv().await.unwrap();
            if let Some(Incoming::Reply { id, body }) =
                alice_mix.handle_delivery(delivery, clock.now()).unwrap()
            {
                assert_eq!((id, body), (request, vec![2; 6000]));
                break;
            }
        }
        let forwarded = nodes[0].handle.mix_stats().await.forwarded;
        assert_eq!(forwarded, nodes[0].handle.link_stats().sent);
        assert!(forwarded > 0);
    }

    #[tokio::test]
    async fn unknown_and_unreachable_peers_cost_their_packets_only() {
        let node = start(true).await;
        let gone = {
            let other = start(true).await;
            other.descriptor
        };
        node.handle.set_directory([&gone]).await.unwrap();
        let packet = |to| {
            let hop = Hop::new(to, gone.key, Duration::ZERO);
            let packet = Packet::build(Geometry::DEFAULT, &[hop], b"", &mut OsEntropy).unwrap();
            Transmit {
                to: to.into(),
                packet,
            }
        };
        let nobody = NodeId::from_bytes([1; 32]);
        node.handle
            .send(vec![packet(nobody), packet(gone.node)])
            .await;
        // The counters follow the command; wait for them rather than for a time.
        while node.handle.link_stats().unreachable == 0 {
            tokio::task::yield_now().await;
        }
        let stats = node.handle.link_stats();
        assert_eq!(
            (stats.sent, stats.unknown_peer, stats.unreachable),
            (0, 1, 1)
        );
    }
}
