//! A whole mixnode on real sockets, beside the `sphinx-packet` crate's `process` alone.
//!
//! The peer opens no link, remembers no tag, holds no packet and sends none: no node that is built on
//! it can be faster.

use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cpu_time::{ProcessTime, ThreadTime};
use fogcompute::base::Rng;
use fogcompute::base::{Clock, Instant, OsEntropy, SystemClock};
use fogcompute::mix::{
    Contact, Descriptor, EpochParity, Geometry, Mixnode, MixnodeConfig, Packet, Transmit,
};
use fogcompute::net::{
    DATAGRAM_OVERHEAD_BYTES, EngineConfig, EngineHandle, Identity, MixEngine, Refusal, UdpLink,
    UdpLinks, UdpLinksConfig,
};
use fogcompute::{
    Hop, MixnetNode, MixnetNodeConfig, NodeId, PrivateKey, Processed, TopologyOptions,
};

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::measure::{Effort, median, quantile};
use crate::mix::{Route, peer_packet, peer_process};
use crate::row::{Output, Row, TIMES};

/// Peers that send to the node. The kernel deals them out to its threads by their ports, so it takes
/// many for the threads to have the same work: of 256, two threads have 128 each, give or take 8.
const SOURCES: usize = 256;
/// Datagrams that a source sends in one call, as a node of this crate does with what is due at once.
const BURST: usize = 16;
/// Buffers that the sink receives into in one call; the kernel puts up to 64 datagrams into each.
const SINK_BUFFERS: usize = 8;
const SINK_BUFFER_BYTES: usize = 65_536;
/// Mean delay that senders ask for.
const DELAY_MEAN: Duration = Duration::from_millis(2);
/// Most packets on their way at once, and memory of a socket for each of them: a packet takes more
/// of it than its length.
const WINDOW_MAX: usize = 1024;
const WINDOW_BYTES: usize = 8192;
/// The same at each hop of a round trip.
const HOP_DELAY_MEAN: Duration = Duration::from_millis(5);
const ROUNDS: usize = 5;
/// A packet that has not come by then is lost.
const LOST_AFTER: Duration = Duration::from_secs(2);
const HOPS: usize = 5;

/// Packets over the node to the sink. They can be used once for each node that is started.
struct Load {
    geometry: Geometry,
    key: PrivateKey,
    node: Identity,
    sink: Identity,
    packets: Vec<Packet>,
    delays: Vec<Duration>,
}

/// What a part of a run through a node took in which it always had work.
struct Run {
    /// Packets that came out of it.
    packets: u64,
    wall: Duration,
    /// CPU time of all but the threads that make the load.
    cpu: Duration,
}

impl Run {
    fn wall_nanos(&self) -> f64 {
        self.wall.as_secs_f64() * 1e9 / self.packets as f64
    }

    fn cpu_nanos(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.packets as f64
    }
}

pub(crate) fn run(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    for (payload_kib, geometry) in [(1, Geometry::DATAGRAM), (2, Geometry::new(HOPS, 2048)?)] {
        let load = Load::new(effort, geometry)?;
        let mut costs = Vec::new();
        for workers in [1, 2] {
            let name = |what| format!("{payload_kib} KiB, {workers} thr, {what}");
            let (ours, theirs) = throughput(effort, &load, workers)?;
            let n = ours[0].packets;
            let pair = |of: fn(&Run) -> f64| {
                let of = |runs: &[Run]| median(runs.iter().map(of).collect());
                (of(&ours), of(&theirs))
            };
            let (wall, cpu) = (pair(Run::wall_nanos), pair(Run::cpu_nanos));
            output.print(row(name("wall"), wall, n))?;
            output.print(row(name("CPU"), cpu, n))?;
            costs.push((wall, cpu, n));
            if workers == 1 {
                let rate = 1e9 / wall.0 / 2.0;
                let added = added(&load, rate)?;
                let alone = alone(effort, &load)?;
                for (what, share) in [("added p50", 0.5), ("added p99", 0.99)] {
                    let pair = (quantile(&added, share), quantile(&alone, share));
                    output.print(row(name(what), pair, added.len() as u64))?;
                }
            }
        }
        let [(wall_of_one, cpu_of_one, _), (wall_of_two, cpu_of_two, n)] = costs[..] else {
            unreachable!("the loop above measures both");
        };
        let times =
            |of_one: (f64, f64), of_two: (f64, f64)| (of_one.0 / of_two.0, of_one.1 / of_two.1);
        let (ours, theirs) = times(cpu_of_one, cpu_of_two);
        for (what, pair) in [
            ("wall", times(wall_of_one, wall_of_two)),
            ("CPU", (2.0 * ours, 2.0 * theirs)),
        ] {
            output.print(Row {
                unit: TIMES,
                ..row(format!("{payload_kib} KiB, scaling, {what}"), pair, n)
            })?;
        }
    }
    let (took, delays) = round_trips(effort)?;
    output.print(Row {
        peer: "delays asked for".to_owned(),
        peer_version: fogcompute::version().to_owned(),
        ..row(
            "3 hops of 5 ms, p50".to_owned(),
            (quantile(&took, 0.5), quantile(&delays, 0.5)),
            took.len() as u64,
        )
    })?;
    Ok(())
}

fn row(case: String, (ours, theirs): (f64, f64), n: u64) -> Row {
    Row {
        area: "node",
        case,
        ours,
        unit: "ns",
        peer: "sphinx-packet".to_owned(),
        peer_version: env!("PEER_SPHINX_PACKET").to_owned(),
        theirs,
        ratio: theirs / ours,
        n,
    }
}

/// Exponential, in whole microseconds as packets carry it.
fn delay() -> Duration {
    let uniform = (OsEntropy.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let delay = DELAY_MEAN.mul_f64(-(1.0 - uniform).ln());
    Duration::from_micros(delay.as_micros() as u64)
}

/// Our node and the peer in turns.
fn throughput(
    effort: Effort,
    load: &Load,
    workers: usize,
) -> Result<(Vec<Run>, Vec<Run>), Box<dyn Error>> {
    let rounds = if effort == Effort::Smoke { 1 } else { ROUNDS };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(load.through_node(workers)?);
        theirs.push(load.through_peer(workers)?);
    }
    Ok((ours, theirs))
}

/// The node and who sends to it, with all links made.
struct Bed {
    handle: EngineHandle,
    sources: Vec<(UdpSocket, Arc<UdpLink>)>,
    sink: UdpSocket,
    sink_links: UdpLinks,
    clock: Arc<SystemClock>,
    window: usize,
    sealed: Vec<u8>,
    received: Vec<u8>,
    frame: Vec<u8>,
}

impl Load {
    fn new(effort: Effort, geometry: Geometry) -> Result<Self, Box<dyn Error>> {
        let count = if effort == Effort::Smoke { 300 } else { 20_000 };
        let key = PrivateKey::random(&mut OsEntropy);
        let [node, sink] = [(); 2].map(|()| Identity::random(&mut OsEntropy));
        let delays: Vec<_> = (0..count).map(|_| delay()).collect();
        let routes: Vec<_> = delays
            .iter()
            .map(|delay| {
                [
                    Hop::new(node.node(), key.public(), *delay),
                    Hop::new(sink.node(), key.public(), Duration::ZERO),
                ]
            })
            .collect();
        let orders: Vec<_> = routes
            .iter()
            .map(|route| (&route[..], &b"bench"[..]))
            .collect();
        let packets = Packet::build_batch(geometry, &orders, &mut OsEntropy)?;
        Ok(Self {
            geometry,
            key,
            node,
            sink,
            packets,
            delays,
        })
    }

    fn bed(&self, workers: usize) -> Result<Bed, Box<dyn Error>> {
        let clock = Arc::new(SystemClock::new());
        let config = MixnodeConfig {
            geometry: self.geometry,
            ..MixnodeConfig::default()
        };
        // All sources come at once and from one address, which is not what the limits are for.
        let links_config = UdpLinksConfig {
            handshakes_per_second_max: u32::MAX,
            handshakes_per_second_unproven_max: u32::MAX,
            handshakes_per_second_of_network_max: u32::MAX,
            ..UdpLinksConfig::default()
        };
        let loopback = (Ipv4Addr::LOCALHOST, 0);
        let (handle, _) = MixEngine::start(
            Mixnode::new(self.key.clone(), config),
            self.node.clone(),
            loopback.into(),
            &EngineConfig {
                workers,
                links: links_config,
                ..EngineConfig::default()
            },
            &(Arc::clone(&clock) as Arc<dyn Clock>),
        )?;
        let sink = UdpSocket::bind(loopback)?;
        sink.set_read_timeout(Some(LOST_AFTER))?;
        let place = |node: NodeId, address| Descriptor {
            node,
            key: self.key.public(),
            epoch: EpochParity::Even,
            address,
        };
        let to_node = place(self.node.node(), handle.address());
        handle.set_directory([&place(self.sink.node(), sink.local_addr()?)])?;
        let frame_bytes = self.geometry.packet_bytes();
        let links = |identity| {
            UdpLinks::new(
                identity,
                frame_bytes,
                UdpLinksConfig::default(),
                &mut OsEntropy,
            )
        };
        let mut sources = Vec::new();
        for _ in 0..SOURCES {
            let mut links = links(Identity::random(&mut OsEntropy))?;
            links.set_directory([&to_node])?;
            let socket = UdpSocket::bind(loopback)?;
            let link = connect(&mut links, &socket, to_node.node, &*clock)?;
            sources.push((socket, link));
        }
        let window = receive_bytes(&sink)? / WINDOW_BYTES;
        Ok(Bed {
            handle,
            window: window.clamp(1, WINDOW_MAX),
            sources,
            sink,
            sink_links: links(self.sink.clone())?,
            clock,
            sealed: vec![0; frame_bytes + DATAGRAM_OVERHEAD_BYTES],
            received: vec![0; frame_bytes + DATAGRAM_OVERHEAD_BYTES],
            frame: vec![0; frame_bytes],
        })
    }

    /// Closed loop: as many packets as the node takes with the bed's window on their way. Fails if any is
    /// lost. Nothing is sealed while the clock runs, and many datagrams are sent and received in one
    /// call, so that the load leaves the processors to the node.
    fn through_node(&self, workers: usize) -> Result<Run, Box<dyn Error>> {
        let mut bed = self.bed(workers)?;
        let all = self.packets.len();
        let (window, warm_up) = (bed.window.min(all / 4), all / 10);
        let bursts = bed.seal_all(&self.packets)?;
        let senders = bed
            .sources
            .iter()
            .map(|(socket, _)| UdpSocketState::new(UdpSockRef::from(socket)))
            .collect::<io::Result<Vec<_>>>()?;
        let mut sink = Sink::new(&bed.sink)?;
        let (mut sent, mut arrived) = (0, 0);
        let mut start: Option<(Instant, ProcessTime, ThreadTime, usize)> = None;
        let mut run = None;
        let mut bursts = bursts.iter().enumerate().peekable();
        while arrived < all {
            while let Some((number, burst)) = bursts
                .next_if(|(_, burst)| sent == arrived || sent + burst.count - arrived <= window)
            {
                let source = number % SOURCES;
                let (socket, link) = &bed.sources[source];
                burst.send(socket, &senders[source], link.address())?;
                sent += burst.count;
            }
            // When the last one has left, the node begins to have less to do than it could.
            if bursts.peek().is_none()
                && let Some((at, process, thread, before)) = start.take()
            {
                run = Some(Run {
                    packets: (arrived - before) as u64,
                    wall: bed.clock.now().duration_since(at),
                    cpu: process.elapsed().saturating_sub(thread.elapsed()),
                });
            }
            arrived += bed
                .receive(&mut sink)
                .map_err(|_| lost(sent, arrived, &bed.handle))?;
            if arrived >= warm_up && start.is_none() && run.is_none() {
                let (at, process) = (bed.clock.now(), ProcessTime::now());
                start = Some((at, process, ThreadTime::now(), arrived));
            }
        }
        Ok(run.ok_or("too few packets")?)
    }

    /// The peer's `process` on so many threads.
    fn through_peer(&self, workers: usize) -> Result<Run, Box<dyn Error>> {
        let payload = vec![7; self.geometry.payload_bytes()];
        let calls = self.packets.len() / 10;
        let route = Route::new(3);
        let packet = peer_packet(&route, &payload)?;
        peer_process(&route, &packet)?;
        let clock = SystemClock::new();
        let (at, process) = (clock.now(), ProcessTime::now());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    for _ in 0..calls {
                        let _ = black_box(peer_process(&route, black_box(&packet)));
                    }
                });
            }
        });
        Ok(Run {
            packets: (calls * workers) as u64,
            wall: clock.now().duration_since(at),
            cpu: process.elapsed(),
        })
    }
}

/// Takes as much memory for a socket as the system gives; returns how much that is.
fn receive_bytes(socket: &UdpSocket) -> Result<usize, Box<dyn Error>> {
    use rustix::net::sockopt;
    let wanted = WINDOW_MAX * WINDOW_BYTES;
    #[cfg(target_os = "linux")]
    let forced = sockopt::set_socket_recv_buffer_size_force(socket, wanted).is_ok();
    #[cfg(not(target_os = "linux"))]
    let forced = false;
    if !forced {
        sockopt::set_socket_recv_buffer_size(socket, wanted)?;
    }
    Ok(sockopt::socket_recv_buffer_size(socket)?)
}

fn lost(sent: usize, arrived: usize, handle: &EngineHandle) -> String {
    let stats = handle.stats();
    format!("{} of {sent} packets were lost: {stats:?}", sent - arrived)
}

fn connect(
    links: &mut UdpLinks,
    socket: &UdpSocket,
    node: NodeId,
    clock: &dyn Clock,
) -> Result<Arc<UdpLink>, Box<dyn Error>> {
    socket.set_read_timeout(Some(LOST_AFTER))?;
    let mut datagram = vec![0; links.datagram_bytes()];
    loop {
        let now = clock.now();
        if let Some(link) = links.link(node.into(), now, clock.unix_now())? {
            return Ok(link);
        }
        while let Some((address, datagram)) = links.poll_transmit() {
            socket.send_to(&datagram, address)?;
        }
        let (length, from) = socket.recv_from(&mut datagram)?;
        links.handle_input(from, &datagram[..length], now)?;
    }
}

/// Sealed datagrams of one source, one after the other.
struct Burst {
    datagrams: Vec<u8>,
    count: usize,
}

impl Burst {
    fn send(
        &self,
        socket: &UdpSocket,
        state: &UdpSocketState,
        to: SocketAddr,
    ) -> Result<(), Box<dyn Error>> {
        let bytes = self.datagrams.len() / self.count;
        let together = state.max_gso_segments().clamp(1, BURST);
        for contents in self.datagrams.chunks(bytes * together) {
            let transmit = quinn_udp::Transmit {
                destination: to,
                ecn: None,
                contents,
                segment_size: (contents.len() > bytes).then_some(bytes),
                src_ip: None,
            };
            while let Err(error) = state.try_send(UdpSockRef::from(socket), &transmit) {
                if error.kind() != io::ErrorKind::WouldBlock {
                    return Err(error.into());
                }
                wait(socket, PollFlags::OUT)?;
            }
        }
        Ok(())
    }
}

/// Fails if there is nothing for so long that packets count as lost.
fn wait(socket: &UdpSocket, what: PollFlags) -> io::Result<()> {
    let longest = Timespec {
        tv_sec: LOST_AFTER.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: LOST_AFTER.subsec_nanos().into(),
    };
    if poll(&mut [PollFd::new(socket, what)], Some(&longest))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(())
}

/// Receives many datagrams in one call.
struct Sink {
    state: UdpSocketState,
    bytes: Vec<u8>,
    metas: [RecvMeta; SINK_BUFFERS],
}

impl Sink {
    fn new(socket: &UdpSocket) -> io::Result<Self> {
        Ok(Self {
            state: UdpSocketState::new(UdpSockRef::from(socket))?,
            bytes: vec![0; SINK_BUFFERS * SINK_BUFFER_BYTES],
            metas: [RecvMeta::default(); SINK_BUFFERS],
        })
    }

    /// Waits for datagrams; returns in how many buffers they are.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        loop {
            let mut rest = self.bytes.chunks_exact_mut(SINK_BUFFER_BYTES);
            let mut slices: [_; SINK_BUFFERS] =
                std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
            let socket_ref = UdpSockRef::from(socket);
            match self.state.recv(socket_ref, &mut slices, &mut self.metas) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(socket, PollFlags::IN)?;
                }
                received => return received,
            }
        }
    }
}

impl Bed {
    /// The packets, dealt out to the sources in bursts, as they leave.
    fn seal_all(&mut self, packets: &[Packet]) -> Result<Vec<Burst>, Box<dyn Error>> {
        let mut bursts = Vec::new();
        for (number, packets) in packets.chunks(BURST).enumerate() {
            let (_, link) = &self.sources[number % SOURCES];
            let mut datagrams = Vec::with_capacity(packets.len() * self.sealed.len());
            for packet in packets {
                link.seal(0, packet.as_bytes(), &mut self.sealed, self.clock.now())?;
                datagrams.extend_from_slice(&self.sealed);
            }
            bursts.push(Burst {
                datagrams,
                count: packets.len(),
            });
        }
        Ok(bursts)
    }

    /// Waits for datagrams; returns how many of them were packets.
    fn receive(&mut self, sink: &mut Sink) -> Result<usize, Box<dyn Error>> {
        let buffers = sink.receive(&self.sink)?;
        let now = self.clock.now();
        let mut packets = 0;
        let filled = sink.bytes.chunks_exact(SINK_BUFFER_BYTES).zip(&sink.metas);
        for (bytes, meta) in filled.take(buffers) {
            for datagram in bytes[..meta.len].chunks(meta.stride.max(1)) {
                match self.sink_links.handle_input(meta.addr, datagram, now) {
                    Err(Refusal::Kind) => packets += 1,
                    taken => taken?,
                }
            }
        }
        while let Some((address, datagram)) = self.sink_links.poll_transmit() {
            self.sink.send_to(&datagram, address)?;
        }
        Ok(packets)
    }

    /// Waits for a datagram. Whether it was a packet: what is no handshake counts, unopened.
    fn count(&mut self) -> Result<bool, Box<dyn Error>> {
        let (length, from) = self.sink.recv_from(&mut self.received)?;
        let datagram = &self.received[..length];
        match self
            .sink_links
            .handle_input(from, datagram, self.clock.now())
        {
            Err(Refusal::Kind) => return Ok(true),
            taken => taken?,
        }
        while let Some((address, datagram)) = self.sink_links.poll_transmit() {
            self.sink.send_to(&datagram, address)?;
        }
        Ok(false)
    }
}

/// Nanoseconds from before a packet is sealed for the node to after it was opened by the sink, less
/// the delay it asked for; at a rate of packets a second, sorted. So two sockets are in it, and two
/// link layers beyond the node's.
fn added(load: &Load, rate: f64) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut bed = load.bed(1)?;
    // What the sink will see of each packet: the point for the next hop.
    let point = |bytes: &[u8]| bytes[2..34].to_vec();
    let mut numbers = HashMap::new();
    for (number, packet) in load.packets.iter().enumerate() {
        if let Processed::Forward { packet, .. } = packet.process(&load.key)?.outcome {
            numbers.insert(point(packet.as_bytes()), number);
        }
    }
    let sent_at: Vec<_> = load.packets.iter().map(|_| AtomicU64::new(0)).collect();
    let (sources, clock) = (std::mem::take(&mut bed.sources), Arc::clone(&bed.clock));
    let interval = Duration::from_secs_f64(1.0 / rate);
    let mut added = Vec::new();
    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let sender = scope.spawn(|| {
            let mut sealed = vec![0; load.geometry.packet_bytes() + DATAGRAM_OVERHEAD_BYTES];
            let mut due = clock.now();
            for (number, packet) in load.packets.iter().enumerate() {
                due = due + interval;
                loop {
                    let wait = due.duration_since(clock.now());
                    if wait.is_zero() {
                        break;
                    }
                    std::thread::park_timeout(wait);
                }
                let (socket, link) = &sources[number % SOURCES];
                let now = clock.now();
                sent_at[number].store(now.as_nanos(), Ordering::Relaxed);
                if link.seal(0, packet.as_bytes(), &mut sealed, now).is_err()
                    || socket.send_to(&sealed, link.address()).is_err()
                {
                    // The sink misses it and says so.
                    return;
                }
            }
        });
        let mut arrived = 0;
        while arrived < load.packets.len() {
            if !bed
                .count()
                .map_err(|_| lost(load.packets.len(), arrived, &bed.handle))?
            {
                continue;
            }
            arrived += 1;
            let now = bed.clock.now();
            bed.sink_links.open(&bed.received, &mut bed.frame, now)?;
            let now = bed.clock.now();
            let number = numbers[&point(&bed.frame)];
            let sent = Instant::from_nanos(sent_at[number].load(Ordering::Relaxed));
            let took = now.duration_since(sent).saturating_sub(load.delays[number]);
            // The first ones wait for the handshake with the sink.
            if arrived > load.packets.len() / 10 {
                added.push(took.as_secs_f64() * 1e9);
            }
        }
        let _ = sender.join();
        Ok(())
    })?;
    added.sort_by(f64::total_cmp);
    Ok(added)
}

/// Nanoseconds of single calls of the peer's `process`, sorted.
fn alone(effort: Effort, load: &Load) -> Result<Vec<f64>, Box<dyn Error>> {
    let payload = vec![7; load.geometry.payload_bytes()];
    let route = Route::new(3);
    let packet = peer_packet(&route, &payload)?;
    let clock = SystemClock::new();
    let calls = if effort == Effort::Smoke { 10 } else { 5_000 };
    let mut times = Vec::new();
    for _ in 0..calls {
        let start = clock.now();
        black_box(peer_process(&route, black_box(&packet))?);
        times.push(clock.now().duration_since(start).as_secs_f64() * 1e9);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Nanoseconds that packets take through three mixnodes, one of each layer, and back to their sender,
/// and those that they were asked to be held; both sorted. One is on its way at a time.
fn round_trips(effort: Effort) -> Result<(Vec<f64>, Vec<f64>), Box<dyn Error>> {
    let count = if effort == Effort::Smoke { 20 } else { 1_000 };
    let nodes = (0..3)
        .map(|_| MixnetNode::start(MixnetNodeConfig::default()))
        .collect::<Result<Vec<_>, _>>()?;
    let layers = nodes.iter().map(|node| vec![node.descriptor()]).collect();
    let network = fogcompute::topology(
        layers,
        &TopologyOptions {
            delay_mean: HOP_DELAY_MEAN,
            ..TopologyOptions::default()
        },
    )?;
    for node in &nodes {
        node.set_topology(&network)?;
    }
    let (key, identity) = (
        PrivateKey::random(&mut OsEntropy),
        Identity::random(&mut OsEntropy),
    );
    let contact = Contact {
        node: identity.node(),
        key: key.public(),
        epoch: EpochParity::Even,
    };
    let clock = Arc::new(SystemClock::new());
    let config = MixnodeConfig {
        relay: false,
        ..MixnodeConfig::default()
    };
    let (handle, mut deliveries) = MixEngine::start(
        Mixnode::new(key, config),
        identity,
        (Ipv4Addr::LOCALHOST, 0).into(),
        &EngineConfig {
            workers: 1,
            ..EngineConfig::default()
        },
        &(Arc::clone(&clock) as Arc<dyn Clock>),
    )?;
    handle.set_directory(network.topology.layers().iter().flatten())?;
    let send = |route: &[Hop]| -> Result<(), Box<dyn Error>> {
        let packet = Packet::build(network.geometry, route, b"", &mut OsEntropy)?;
        let to = route[0].node.into();
        Ok(handle.send(vec![Transmit { to, packet }])?)
    };
    // The last node sends to us only over a link that we opened.
    send(&[Hop::at(nodes[2].descriptor().contact(), Duration::ZERO)])?;
    let (mut took, mut delays) = (Vec::new(), Vec::new());
    for number in 0..=count {
        let route = network.topology.route(contact, &mut OsEntropy)?;
        let asked: Duration = route.iter().map(|hop| hop.delay).sum();
        let start = clock.now();
        send(&route)?;
        deliveries.blocking_recv().ok_or("a packet is lost")?;
        // The first one waits for the handshakes.
        if number > 0 {
            took.push(clock.now().duration_since(start).as_secs_f64() * 1e9);
            delays.push(asked.as_secs_f64() * 1e9);
        }
    }
    took.sort_by(f64::total_cmp);
    delays.sort_by(f64::total_cmp);
    Ok((took, delays))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_of_a_load_comes_through_a_node() {
        let load = Load::new(Effort::Smoke, Geometry::DATAGRAM).unwrap();
        for workers in [1, 2] {
            // What came while all were still being sent.
            let run = load.through_node(workers).unwrap();
            assert!((1..=270).contains(&run.packets), "{}", run.packets);
            assert!(run.wall > Duration::ZERO);
        }
        assert_eq!(added(&load, 2_000.0).unwrap().len(), 270);
        assert_eq!(alone(Effort::Smoke, &load).unwrap().len(), 10);
    }

    #[test]
    fn packets_come_back_no_sooner_than_they_asked() {
        let (took, delays) = round_trips(Effort::Smoke).unwrap();
        assert_eq!((took.len(), delays.len()), (20, 20));
        assert!(took.iter().zip(&delays).all(|(took, delay)| took >= delay));
    }
}
