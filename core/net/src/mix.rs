//! A mixnode on sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fogcompute_base::{Clock, Instant, NodeId};
use fogcompute_mix::{Delivery, Descriptor, MixStats, Mixnode, NodeRef, Transmit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::directory::{Directory, DirectoryError, directory};
use crate::identity::Identity;
use crate::link::{HANDSHAKE_TIMEOUT, Link, LinkReader, LinkWriter, Purpose};
use crate::places::{Doorstep, Places, passed};

/// Most packets processed together. More would not be faster, only hold the first one up.
const BATCH_PACKETS_MAX: usize = 32;

/// Longest frame on a link of packets, in bytes: longer than a packet of any geometry.
const PACKET_FRAME_BYTES_MAX: usize = 128 << 10;

/// How long peers may be silent on links they opened, unless configured otherwise. Nodes tell their
/// coordinator something every 90 seconds at least.
pub const LINK_IDLE_MAX: Duration = Duration::from_secs(200);

/// Limits of a [`MixService`].
#[derive(Clone, Debug)]
pub struct MixServiceConfig {
    /// Most links accepted at once, for whatever purpose. When reached, further ones wait in the
    /// kernel's backlog. A process may often have 1,024 open files, and needs some for itself.
    pub links_max: usize,
    /// Most connections from one IP address at once that have not finished their handshake; at least
    /// one, and of version 6 from one network of 64 bits. When reached, the oldest of them is closed,
    /// so that no address keeps others out.
    pub handshakes_per_address_max: usize,
    /// Most control links of one peer, 1 or 2. With one, a newer one replaces the one that is there.
    /// With two, it comes beside it, and the host ends one of them; a third replaces the second.
    pub control_per_peer_max: usize,
    /// Most packets waiting for one peer. When reached, packets to that peer are dropped.
    pub peer_queue_packets_max: usize,
    /// Most packets and commands waiting for the mixnode. When reached, links are read no further.
    pub input_queue_max: usize,
    /// How long a peer that cannot be reached is not dialled again.
    pub redial_after: Duration,
    /// How long a handshake may take, and after it the first frame of who dialled.
    pub handshake_max: Duration,
    /// How long a peer may send nothing on a link it opened before the link is closed. Longer than
    /// twice the pause between the heartbeats of a node, which keep its control link open. Links
    /// this service opened are closed, by itself, after half the time without a packet: so no
    /// packet is written to a link that the other side is just about to close.
    pub idle_max: Duration,
    /// Where links for [`Purpose::Submit`] go; without it they are closed.
    pub submit: Option<mpsc::Sender<Link>>,
}

impl Default for MixServiceConfig {
    fn default() -> Self {
        Self {
            links_max: 768,
            handshakes_per_address_max: 768 / 4,
            control_per_peer_max: 1,
            peer_queue_packets_max: 16_384,
            input_queue_max: 1024,
            redial_after: Duration::from_secs(1),
            handshake_max: HANDSHAKE_TIMEOUT,
            idle_max: LINK_IDLE_MAX,
            submit: None,
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
    /// Connections closed: newer ones from the same address came before they finished their handshake.
    pub displaced: u64,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    unknown_peer: AtomicU64,
    unreachable: AtomicU64,
}

#[derive(Debug)]
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
    doorstep: Arc<Doorstep>,
    // Dropping the set aborts the service's tasks.
    _tasks: JoinSet<()>,
}

impl MixService {
    /// Starts the service on `listener`.
    ///
    /// Deliveries come out of the returned receiver. Control links go to `control`, or are closed if
    /// there is none.
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
        let doorstep = Arc::new(Doorstep::new(config.handshakes_per_address_max));
        let accept = accept_links(
            listener,
            Arc::clone(&doorstep),
            identity.clone(),
            commands.clone(),
            control,
            Arc::clone(&clock),
            config.clone(),
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
                doorstep,
                _tasks: tasks,
            },
            delivered,
        )
    }
}

/// A place for packets in a [`MixService`], so that handing them over does not wait.
#[derive(Debug)]
pub struct MixPermit(mpsc::OwnedPermit<Command>);

impl MixPermit {
    /// Puts packets on the links to their next hops.
    pub fn send(self, transmits: Vec<Transmit>) {
        self.0.send(Command::Send(transmits));
    }
}

impl MixHandle {
    /// Waits until the service has room for packets. Dropping the future loses nothing, where
    /// dropping that of [`MixHandle::send`] loses the packets. `None` if the service has ended.
    pub async fn permit(&self) -> Option<MixPermit> {
        let permit = self.commands.clone().reserve_owned().await;
        permit.ok().map(MixPermit)
    }

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
            displaced: self.doorstep.displaced(),
        }
    }
}

async fn accept_links(
    listener: TcpListener,
    doorstep: Arc<Doorstep>,
    identity: Identity,
    commands: mpsc::Sender<Command>,
    control: Option<mpsc::Sender<Link>>,
    clock: Arc<dyn Clock>,
    config: MixServiceConfig,
) {
    let places = Places::new(config.links_max, config.control_per_peer_max);
    let (first_max, idle_max) = (config.handshake_max, config.idle_max);
    let mut links = JoinSet::new();
    for number in 0.. {
        while links.try_join_next().is_some() {}
        let slot = places.slot().await;
        let Ok((stream, from)) = listener.accept().await else {
            // Too many open files or a connection that ended in the backlog: neither ends the node.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (identity, commands, control) = (identity.clone(), commands.clone(), control.clone());
        let submit = config.submit.clone();
        let (places, clock) = (Arc::clone(&places), Arc::clone(&clock));
        let (from, door) = (from.ip(), Arc::clone(&doorstep));
        let attended = async move {
            let accepted = Link::accept_within(stream, &identity, first_max).await;
            door.leave(from, number);
            // A peer that fails its handshake is not told more than that the link closed.
            let Ok((link, purpose)) = accepted else {
                return;
            };
            let key = (link.peer(), purpose);
            let link = link.attended(places.take(key, slot, clock, first_max, idle_max));
            let host = match purpose {
                Purpose::Mix => return read_packets(link.into_split().0, commands).await,
                Purpose::Control => control,
                Purpose::Submit => submit,
                // Nobody here speaks that.
                Purpose::Frames => None,
            };
            if let Some(host) = host {
                let _ = host.send(link).await;
            }
        };
        doorstep.enter(from, number, || links.spawn(attended));
    }
}

async fn read_packets(mut reader: LinkReader, commands: mpsc::Sender<Command>) {
    while let Ok(packet) = reader.receive_up_to(PACKET_FRAME_BYTES_MAX).await {
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
    /// Whether it could not be reached when it was last dialled.
    failed: Arc<AtomicBool>,
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
        let Some(&whom) = self.directory.get(&transmit.to) else {
            self.counters.unknown_peer.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let peer = self.peers.entry(transmit.to).or_insert_with(|| {
            let (queue, packets) = mpsc::channel(self.config.peer_queue_packets_max);
            let failed = Arc::new(AtomicBool::new(false));
            let mut task = JoinSet::new();
            task.spawn(write_packets(
                self.identity.clone(),
                whom,
                packets,
                Arc::clone(&failed),
                Arc::clone(&self.counters),
                Arc::clone(&self.clock),
                self.config.clone(),
            ));
            Peer {
                queue,
                failed,
                _task: task,
            }
        });
        if peer.queue.try_send(transmit.packet.into_bytes()).is_err() {
            self.counters.unreachable.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn set_directory(&mut self, directory: Directory) {
        // A peer that left or moved loses its link; what still waits for it is dropped. One that could
        // not be reached is dialled at once: whoever has told of it has heard of it since.
        let old = std::mem::replace(&mut self.directory, directory);
        self.peers.retain(|node, peer| {
            old.get(node) == self.directory.get(node) && !peer.failed.load(Ordering::Relaxed)
        });
    }
}

/// Sends one peer's packets; dials when there is something to send and no link.
async fn write_packets(
    identity: Identity,
    (node, address): (NodeId, SocketAddr),
    mut packets: mpsc::Receiver<Vec<u8>>,
    failed: Arc<AtomicBool>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    config: MixServiceConfig,
) {
    let mut link: Option<(LinkReader, LinkWriter)> = None;
    let mut failed_at: Option<Instant> = None;
    loop {
        let packet = tokio::select! {
            biased;
            // A peer says nothing on the links it accepts: the link has ended. A packet written now
            // would be lost without an error.
            () = ended(&mut link), if link.is_some() => {
                link = None;
                continue;
            }
            packet = packets.recv() => packet,
            () = passed(&*clock, config.idle_max / 2), if link.is_some() => {
                link = None;
                continue;
            }
        };
        let Some(packet) = packet else { return };
        let mut sent = false;
        // A link that turns out to be broken is made anew, once.
        for _ in 0..2 {
            let may_dial =
                failed_at.is_none_or(|at| clock.now().duration_since(at) >= config.redial_after);
            if link.is_none() && may_dial {
                link = dial(&identity, node, address, config.handshake_max).await;
                failed_at = link.is_none().then(|| clock.now());
                failed.store(link.is_none(), Ordering::Relaxed);
            }
            let Some((_, writer)) = link.as_mut() else {
                break;
            };
            sent = writer.send(&packet).await.is_ok();
            if sent {
                break;
            }
            link = None;
        }
        if sent {
            counters.sent.fetch_add(1, Ordering::Relaxed);
        } else {
            counters.unreachable.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Returns when the peer has ended the link.
async fn ended(link: &mut Option<(LinkReader, LinkWriter)>) {
    if let Some((reader, _)) = link {
        let _ = reader.receive().await;
    }
}

async fn dial(
    identity: &Identity,
    node: NodeId,
    address: SocketAddr,
    limit: Duration,
) -> Option<(LinkReader, LinkWriter)> {
    let connected = tokio::time::timeout(limit, TcpStream::connect(address)).await;
    let stream = connected.ok()?.ok()?;
    let link = Link::dial_within(stream, identity, Some(node), Purpose::Mix, limit)
        .await
        .ok()?;
    Some(link.into_split())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::LinkError;
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
        let clock = Arc::new(SystemClock::new());
        start_with(relay, None, clock, MixServiceConfig::default()).await
    }

    async fn start_with(
        relay: bool,
        control: Option<mpsc::Sender<Link>>,
        clock: Arc<dyn Clock>,
        config: MixServiceConfig,
    ) -> Running {
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
        let (handle, delivered) =
            MixService::spawn(mixnode, identity, listener, control, clock, config);
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
        bob_mix.set_entries(topology.entries());
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

    /// A clock that stands still until it is moved.
    #[derive(Default)]
    struct Stopped(AtomicU64);

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            Instant::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn unix_now(&self) -> fogcompute_base::UnixMillis {
            fogcompute_base::UnixMillis(0)
        }
    }

    async fn dial_node(to: &Descriptor, as_whom: &Identity, purpose: Purpose) -> Link {
        let stream = TcpStream::connect(to.address).await.unwrap();
        Link::dial(stream, as_whom, to.node, purpose).await.unwrap()
    }

    /// Lets everything that can happen without time going on happen.
    async fn settle() {
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
    }

    fn packet(to: &Descriptor) -> Transmit {
        let hop = Hop::new(to.node, to.key, Duration::ZERO);
        Transmit {
            to: to.node.into(),
            packet: Packet::build(Geometry::DEFAULT, &[hop], b"", &mut OsEntropy).unwrap(),
        }
    }

    fn stranger() -> Identity {
        Identity::random(&mut OsEntropy)
    }

    /// A peer that the test plays itself, and where it listens.
    async fn peer() -> (Identity, TcpListener, Descriptor) {
        let identity = stranger();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let descriptor = Descriptor {
            node: identity.node(),
            key: PrivateKey::random(&mut OsEntropy).public(),
            epoch: EpochParity::Even,
            address: listener.local_addr().unwrap(),
        };
        (identity, listener, descriptor)
    }

    #[tokio::test]
    async fn a_packet_for_a_peer_that_was_started_again_is_not_written_to_its_old_link() {
        // The first write to a connection whose other end is gone fails nowhere.
        let node = start(true).await;
        let (identity, listener, descriptor) = peer().await;
        node.handle.set_directory([&descriptor]).await.unwrap();
        for _ in 0..3 {
            node.handle.send(vec![packet(&descriptor)]).await;
            let (stream, _) = listener.accept().await.unwrap();
            let (mut link, _) = Link::accept(stream, &identity).await.unwrap();
            assert!(!link.receive().await.unwrap().is_empty());
            drop(link);
            // The end of the link arrives in its own time; a packet that is sent before it does is
            // lost with the link, as on any network.
            settle().await;
        }
        assert_eq!(node.handle.link_stats().unreachable, 0);
    }

    #[tokio::test]
    async fn a_link_over_the_limit_waits_until_another_ends() {
        // Control links had given their slot back as soon as they were handed over.
        for purpose in [Purpose::Mix, Purpose::Control] {
            let (control, mut links) = mpsc::channel(8);
            let config = MixServiceConfig {
                links_max: 2,
                ..MixServiceConfig::default()
            };
            let clock = Arc::new(SystemClock::new());
            let node = start_with(true, Some(control), clock, config).await;
            let to = node.descriptor;
            let _first = dial_node(&to, &stranger(), purpose).await;
            let second = dial_node(&to, &stranger(), purpose).await;
            let third = tokio::spawn(async move { dial_node(&to, &stranger(), purpose).await });
            settle().await;
            assert!(!third.is_finished(), "{purpose:?}");
            drop(second);
            if purpose == Purpose::Control {
                let _first = links.recv().await.unwrap();
                drop(links.recv().await.unwrap());
                third.await.unwrap();
            } else {
                third.await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn one_address_keeps_nobody_out_by_handshakes_that_it_does_not_finish() {
        // One that opened as many connections as there are links had kept everybody out for as long
        // as a handshake may take.
        let config = MixServiceConfig {
            links_max: 8,
            handshakes_per_address_max: 2,
            ..MixServiceConfig::default()
        };
        let clock = Arc::new(SystemClock::new());
        let node = start_with(true, None, clock, config).await;
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(TcpStream::connect(node.descriptor.address).await.unwrap());
        }
        let _link = dial_node(&node.descriptor, &stranger(), Purpose::Mix).await;
        // All but the last one that was silent, and the one that is through, were closed for others.
        while node.handle.link_stats().displaced < 6 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn of_two_control_links_of_a_peer_the_older_one_stays() {
        let (control, mut links) = mpsc::channel(8);
        let clock = Arc::new(SystemClock::new());
        let config = MixServiceConfig {
            control_per_peer_max: 2,
            ..MixServiceConfig::default()
        };
        let node = start_with(true, Some(control), clock, config).await;
        let alice = stranger();
        let mut first = dial_node(&node.descriptor, &alice, Purpose::Control).await;
        let mut one = links.recv().await.unwrap();
        let _second = dial_node(&node.descriptor, &alice, Purpose::Control).await;
        let mut two = links.recv().await.unwrap();
        let mut third = dial_node(&node.descriptor, &alice, Purpose::Control).await;
        let mut three = links.recv().await.unwrap();
        let error = two.receive().await.unwrap_err();
        assert!(matches!(error, LinkError::Replaced), "{error}");
        first.send(b"here").await.unwrap();
        assert_eq!(one.receive().await.unwrap(), b"here");
        // When it has gone, there is room beside the one that is left.
        drop((one, two));
        let _fourth = dial_node(&node.descriptor, &alice, Purpose::Control).await;
        let _four = links.recv().await.unwrap();
        third.send(b"there").await.unwrap();
        assert_eq!(three.receive().await.unwrap(), b"there");
    }

    #[tokio::test]
    async fn a_peer_that_opened_a_link_and_says_nothing_is_disconnected() {
        // 1,024 such links had closed a node for good.
        for purpose in [Purpose::Mix, Purpose::Control] {
            let (control, mut links) = mpsc::channel(8);
            let limit = Duration::from_millis(1);
            let config = MixServiceConfig {
                idle_max: limit,
                ..MixServiceConfig::default()
            };
            let clock = Arc::new(Stopped::default());
            let node = start_with(true, Some(control), Arc::clone(&clock) as _, config).await;
            let mut link = dial_node(&node.descriptor, &stranger(), purpose).await;
            link.send(b"one frame").await.unwrap();
            let attended = async {
                if purpose == Purpose::Control {
                    let mut accepted = links.recv().await.unwrap();
                    assert_eq!(accepted.receive().await.unwrap(), b"one frame");
                    let error = accepted.receive().await.unwrap_err();
                    assert!(matches!(error, LinkError::Idle { limit: l } if l == limit));
                }
            };
            let later = async {
                settle().await;
                clock.0.store(60_000, Ordering::Relaxed);
            };
            let (closed, (), ()) = tokio::join!(link.receive(), attended, later);
            assert!(matches!(closed, Err(LinkError::Io(_))));
        }
    }

    #[tokio::test]
    async fn frames_keep_a_link_open() {
        let (control, mut links) = mpsc::channel(8);
        let config = MixServiceConfig {
            handshake_max: Duration::from_secs(20),
            idle_max: Duration::from_secs(90),
            ..MixServiceConfig::default()
        };
        let clock = Arc::new(Stopped::default());
        let node = start_with(true, Some(control), Arc::clone(&clock) as _, config).await;
        let mut link = dial_node(&node.descriptor, &stranger(), Purpose::Control).await;
        let mut accepted = links.recv().await.unwrap();
        for _ in 0..5 {
            link.send(b"here").await.unwrap();
            assert_eq!(accepted.receive().await.unwrap(), b"here");
            clock.0.fetch_add(80_000, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_newer_link_of_a_peer_replaces_the_one_for_the_same_purpose() {
        let (control, mut links) = mpsc::channel(8);
        let clock = Arc::new(SystemClock::new());
        let node = start_with(true, Some(control), clock, MixServiceConfig::default()).await;
        let alice = stranger();
        let mut mixing = dial_node(&node.descriptor, &alice, Purpose::Mix).await;
        let _older = dial_node(&node.descriptor, &alice, Purpose::Control).await;
        let mut older = links.recv().await.unwrap();
        let mut newer = dial_node(&node.descriptor, &alice, Purpose::Control).await;
        let mut accepted = links.recv().await.unwrap();
        let error = older.receive().await.unwrap_err();
        assert!(matches!(error, LinkError::Replaced), "{error}");
        // That the older one ends late does not end the newer one.
        drop(older);
        newer.send(b"new").await.unwrap();
        assert_eq!(accepted.receive().await.unwrap(), b"new");
        // The other purpose has its own place.
        let _again = dial_node(&node.descriptor, &alice, Purpose::Mix).await;
        assert!(matches!(mixing.receive().await, Err(LinkError::Io(_))));
        newer.send(b"still").await.unwrap();
        assert_eq!(accepted.receive().await.unwrap(), b"still");
    }

    #[tokio::test]
    async fn a_peer_that_left_or_moved_loses_its_link() {
        for moved in [false, true] {
            let node = start(true).await;
            let (identity, listener, descriptor) = peer().await;
            node.handle.set_directory([&descriptor]).await.unwrap();
            node.handle.send(vec![packet(&descriptor)]).await;
            let (stream, _) = listener.accept().await.unwrap();
            let (mut link, _) = Link::accept(stream, &identity).await.unwrap();
            link.receive().await.unwrap();
            // Told the same again, the node keeps the link.
            node.handle.set_directory([&descriptor]).await.unwrap();
            node.handle.send(vec![packet(&descriptor)]).await;
            link.receive().await.unwrap();
            let elsewhere = Descriptor {
                address: ([127, 0, 0, 1], 9).into(),
                ..descriptor
            };
            let directory = if moved { vec![&elsewhere] } else { Vec::new() };
            node.handle.set_directory(directory).await.unwrap();
            let closed = tokio::time::timeout(Duration::from_secs(60), link.receive()).await;
            assert!(matches!(closed, Ok(Err(LinkError::Io(_)))), "{closed:?}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_cannot_be_reached_is_left_alone_for_a_while() {
        let clock = Arc::new(Stopped::default());
        let config = MixServiceConfig {
            redial_after: Duration::from_secs(5),
            ..MixServiceConfig::default()
        };
        let node = start_with(true, None, Arc::clone(&clock) as _, config).await;
        let (_, listener, descriptor) = peer().await;
        node.handle.set_directory([&descriptor]).await.unwrap();
        let unreachable = async |count| {
            while node.handle.link_stats().unreachable < count {
                tokio::task::yield_now().await;
            }
        };
        node.handle.send(vec![packet(&descriptor)]).await;
        // Whoever is there hangs up at once.
        drop(listener.accept().await.unwrap());
        unreachable(1).await;
        node.handle.send(vec![packet(&descriptor)]).await;
        let dialled = tokio::select! {
            biased;
            _ = listener.accept() => true,
            () = unreachable(2) => false,
        };
        assert!(!dialled, "no time has passed");
        clock.0.store(5_000, Ordering::Relaxed);
        node.handle.send(vec![packet(&descriptor)]).await;
        drop(listener.accept().await.unwrap());
        unreachable(3).await;
        // Reports to a coordinator that was started again were dropped, and their tasks waited for the
        // end of a lease.
        node.handle.set_directory([&descriptor]).await.unwrap();
        node.handle.send(vec![packet(&descriptor)]).await;
        drop(listener.accept().await.unwrap());
        unreachable(4).await;
    }

    #[tokio::test]
    async fn an_idle_link_is_closed_by_who_opened_it_and_opened_again() {
        let clock = Arc::new(Stopped::default());
        let config = MixServiceConfig {
            idle_max: Duration::from_millis(2),
            ..MixServiceConfig::default()
        };
        let node = start_with(true, None, Arc::clone(&clock) as _, config).await;
        let (identity, listener, descriptor) = peer().await;
        node.handle.set_directory([&descriptor]).await.unwrap();
        for round in 1..3 {
            node.handle.send(vec![packet(&descriptor)]).await;
            let (stream, _) = listener.accept().await.unwrap();
            let (mut link, _) = Link::accept(stream, &identity).await.unwrap();
            link.receive().await.unwrap();
            clock.0.fetch_add(60_000, Ordering::Relaxed);
            assert!(matches!(link.receive().await, Err(LinkError::Io(_))));
            assert_eq!(node.handle.link_stats().sent, round);
        }
    }

    #[test]
    fn who_shows_less_gets_less_time() {
        // A stranger that proves nothing holds a place shorter than a peer that is merely quiet,
        // and a node may be as quiet as its longest pause between two heartbeats allows.
        let config = MixServiceConfig::default();
        assert!(config.handshake_max * 10 <= config.idle_max);
        assert!(config.idle_max > Duration::from_secs(2 * 90));
    }
}
