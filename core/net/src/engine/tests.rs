//! Engines on the loopback interface.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};

use fogcompute_base::SystemClock;
use fogcompute_mix::{Geometry, Hop, MixnodeConfig, Packet, PrivateKey};

use super::*;
use crate::udp::DATAGRAM_OVERHEAD_BYTES;

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

struct Running {
    descriptor: Descriptor,
    handle: EngineHandle,
    delivered: mpsc::Receiver<Delivery>,
}

impl Running {
    fn hop(&self, delay: Duration) -> Hop {
        Hop::new(self.descriptor.node, self.descriptor.key, delay)
    }

    fn deliver(&mut self) -> Vec<u8> {
        match self.delivered.blocking_recv() {
            Some(Delivery::Message(message)) => message,
            other => panic!("a message was sent: {other:?}"),
        }
    }
}

fn start(geometry: Geometry, workers: usize) -> Running {
    start_with(
        geometry,
        &EngineConfig {
            workers,
            ..EngineConfig::default()
        },
    )
}

fn start_with(geometry: Geometry, config: &EngineConfig) -> Running {
    let identity = Identity::random(&mut OsEntropy);
    let node = identity.node();
    let key = PrivateKey::random(&mut OsEntropy);
    let public = key.public();
    let mixnode = Mixnode::new(
        key,
        MixnodeConfig {
            geometry,
            // However busy the machine is that runs this.
            lateness_max: Duration::from_secs(60),
            ..MixnodeConfig::default()
        },
    );
    let (handle, delivered) =
        MixEngine::start(mixnode, identity, LOOPBACK.into(), config, &clock()).unwrap();
    Running {
        descriptor: Descriptor {
            node,
            key: public,
            epoch: EpochParity::Even,
            address: handle.address(),
        },
        handle,
        delivered,
    }
}

fn network<const N: usize>(geometry: Geometry, workers: usize) -> [Running; N] {
    let nodes = std::array::from_fn(|_| start(geometry, workers));
    know_each_other(&nodes);
    nodes
}

fn know_each_other(nodes: &[Running]) {
    for node in nodes {
        node.handle
            .set_directory(nodes.iter().map(|node| &node.descriptor))
            .unwrap();
    }
}

fn packet(geometry: Geometry, route: &[Hop], message: &[u8]) -> Transmit {
    Transmit {
        to: route[0].node.into(),
        packet: Packet::build(geometry, route, message, &mut OsEntropy).unwrap(),
    }
}

#[test]
fn packets_cross_three_engines_and_each_arrives_once() {
    for (geometry, workers) in [(Geometry::DATAGRAM, 2), (Geometry::DEFAULT, 1)] {
        let [sender, a, b, mut c] = network(geometry, workers);
        let route = [&a, &b, &c].map(|node| node.hop(Duration::from_millis(1)));
        let (bursts, burst) = (15, 20_u32);
        let count = bursts * burst;
        let mut arrived = BTreeMap::<_, u32>::new();
        for start in (0..count).step_by(burst as usize) {
            let transmits = (start..start + burst)
                .map(|n| packet(geometry, &route, &n.to_be_bytes()))
                .collect();
            sender.handle.send(transmits).unwrap();
            // No more on their way than any socket has room for.
            for _ in 0..burst {
                *arrived.entry(c.deliver()).or_default() += 1;
            }
        }
        assert_eq!(arrived.len(), count as usize);
        for node in [sender, a, b, c] {
            let stats = node.handle.drain(Duration::from_secs(10));
            let dropped = EngineStats {
                mix: Default::default(),
                datagrams: 0,
                sent: 0,
                links_sent: 0,
                ..stats
            };
            assert_eq!(dropped, EngineStats::default());
            assert_eq!(
                (stats.mix.malformed, stats.mix.replayed, stats.mix.late),
                (0, 0, 0)
            );
            let sent = u64::from(if stats.mix.delivered > 0 { 0 } else { count });
            assert_eq!(stats.sent, sent);
        }
    }
}

/// A host of one thread: a peer that can do what an engine does not.
struct Peer {
    links: UdpLinks,
    socket: UdpSocket,
    descriptor: Descriptor,
}

impl Peer {
    fn new(geometry: Geometry, knows: &[&Running]) -> Self {
        let identity = Identity::random(&mut OsEntropy);
        let socket = UdpSocket::bind(LOOPBACK).unwrap();
        let descriptor = Descriptor {
            node: identity.node(),
            key: PrivateKey::random(&mut OsEntropy).public(),
            epoch: EpochParity::Even,
            address: socket.local_addr().unwrap(),
        };
        let bytes = geometry.packet_bytes();
        let mut links =
            UdpLinks::new(identity, bytes, UdpLinksConfig::default(), &mut OsEntropy).unwrap();
        links
            .set_directory(knows.iter().map(|node| &node.descriptor))
            .unwrap();
        Self {
            links,
            socket,
            descriptor,
        }
    }

    /// Makes a link to a node, over the real socket.
    fn connect(&mut self, to: &Running) -> Arc<crate::UdpLink> {
        let clock = SystemClock::new();
        let mut datagram = vec![0; 65_536];
        loop {
            let node = to.descriptor.node.into();
            if let Some(link) = self
                .links
                .link(node, clock.now(), clock.unix_now())
                .unwrap()
            {
                return link;
            }
            while let Some((address, datagram)) = self.links.poll_transmit() {
                self.socket.send_to(&datagram, address).unwrap();
            }
            let (length, from) = self.socket.recv_from(&mut datagram).unwrap();
            let _ = self
                .links
                .handle_input(from, &datagram[..length], clock.now());
        }
    }

    fn send(&self, link: &crate::UdpLink, transmit: Transmit) -> Vec<u8> {
        let frame = transmit.packet.into_bytes();
        let mut datagram = vec![0; frame.len() + DATAGRAM_OVERHEAD_BYTES];
        link.seal(0, &frame, &mut datagram, fogcompute_base::Instant::ZERO)
            .unwrap();
        self.socket.send_to(&datagram, link.address()).unwrap();
        datagram
    }
}

/// Waits for a counter, which follows what it counts.
fn until(node: &Running, reached: impl Fn(&EngineStats) -> bool) -> EngineStats {
    loop {
        let stats = node.handle.stats();
        if reached(&stats) {
            return stats;
        }
        std::thread::yield_now();
    }
}

#[test]
fn garbage_is_counted_and_others_are_served() {
    let geometry = Geometry::DATAGRAM;
    let [sender, a, mut b] = network(geometry, 1);
    let mut peer = Peer::new(geometry, &[&a]);
    let link = peer.connect(&a);
    let datagram_bytes = geometry.packet_bytes() + DATAGRAM_OVERHEAD_BYTES;
    let address = a.descriptor.address;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let is_stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        // As fast as one thread can: other lengths, other kinds, no link, a link without its key,
        // initiations.
        scope.spawn(|| {
            let socket = UdpSocket::bind(LOOPBACK).unwrap();
            let mut garbage = vec![0xA5; datagram_bytes + 1];
            let mut sound = vec![0; datagram_bytes];
            let frame = vec![0; geometry.packet_bytes()];
            link.seal(0, &frame, &mut sound, fogcompute_base::Instant::ZERO)
                .unwrap();
            while !is_stopped() {
                socket.send_to(&garbage, address).unwrap();
                socket.send_to(&garbage[..0], address).unwrap();
                for kind in [0x00, 0x11, 0x12, 0x13] {
                    garbage[0] = kind;
                    socket.send_to(&garbage[..datagram_bytes], address).unwrap();
                }
                let last = sound.len() - 1;
                sound[last] ^= 1;
                socket.send_to(&sound, address).unwrap();
                sound[last] ^= 1;
            }
        });
        let flooded = |stats: &EngineStats| {
            [stats.length, stats.kind, stats.index, stats.forged]
                .iter()
                .all(|count| *count > 100)
        };
        until(&a, flooded);
        // While it lasts the socket overflows, so some packets are lost: others are sent until the
        // last has come.
        let route = [&a, &b].map(|node| node.hop(Duration::ZERO));
        let mut arrived = 0;
        while arrived < 50 {
            let transmits = (0..10)
                .map(|_| packet(geometry, &route, b"served"))
                .collect();
            // A busy engine is offered them again in the next round.
            let _ = sender.handle.send(transmits);
            while let Ok(delivery) = b.delivered.try_recv() {
                assert!(matches!(delivery, Delivery::Message(message) if message == b"served"));
                arrived += 1;
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let stats = a.handle.stats();
    assert_eq!(stats.mix.malformed, 0);
}

#[test]
fn a_flood_of_handshakes_without_answers_does_not_keep_a_new_peer_out() {
    let geometry = Geometry::DATAGRAM;
    let config = EngineConfig {
        workers: 1,
        links: UdpLinksConfig {
            handshakes_per_second_unproven_max: 1,
            ..UdpLinksConfig::default()
        },
        ..EngineConfig::default()
    };
    let mut a = start_with(geometry, &config);
    // Initiations that are sound but for what is at their address, where nobody reads.
    let clock = SystemClock::new();
    let mut flooder = Peer::new(geometry, &[&a]);
    let node = a.descriptor.node.into();
    let begun = flooder.links.link(node, clock.now(), clock.unix_now());
    assert!(begun.unwrap().is_none());
    let (address, initiation) = flooder.links.poll_transmit().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let is_stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_stopped() {
                let socket = UdpSocket::bind(LOOPBACK).unwrap();
                for _ in 0..100 {
                    socket.send_to(&initiation, address).unwrap();
                }
            }
        });
        until(&a, |stats| stats.unproven > 1000);
        let sender = start(geometry, 1);
        sender.handle.set_directory([&a.descriptor]).unwrap();
        let route = [a.hop(Duration::ZERO)];
        // What does not find room in the socket is lost, so others are sent until one has come.
        let arrived = loop {
            let _ = sender.handle.send(vec![packet(geometry, &route, b"new")]);
            if let Ok(delivery) = a.delivered.try_recv() {
                break delivery;
            }
            std::thread::yield_now();
        };
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(arrived, Delivery::Message(message) if message == b"new"));
    });
    assert_eq!(a.handle.stats().forged, 0);
}

#[test]
fn a_replayed_datagram_is_refused_by_the_link_and_a_replayed_packet_by_the_node() {
    let geometry = Geometry::DATAGRAM;
    let [a, mut b] = network(geometry, 1);
    let mut peer = Peer::new(geometry, &[&a]);
    let link = peer.connect(&a);
    let transmit = packet(
        geometry,
        &[&a, &b].map(|node| node.hop(Duration::ZERO)),
        b"once",
    );
    let datagram = peer.send(&link, transmit.clone());
    assert_eq!(b.deliver(), b"once");
    peer.socket.send_to(&datagram, link.address()).unwrap();
    peer.send(&link, transmit);
    let stats = until(&a, |stats| stats.replayed == 1 && stats.mix.replayed == 1);
    assert_eq!((stats.sent, stats.mix.received), (1, 2));
}

#[test]
fn draining_sends_what_is_held_and_takes_no_more() {
    let geometry = Geometry::DATAGRAM;
    let [sender, a, mut b] = network(geometry, 2);
    let hops = |millis| [a.hop(Duration::from_millis(millis)), b.hop(Duration::ZERO)];
    let (soon, never) = (hops(300), hops(3_600_000));
    let mut transmits: Vec<_> = (0..40).map(|_| packet(geometry, &soon, b"held")).collect();
    // More than a sender may ask for is refused.
    transmits.push(packet(geometry, &never, b"never"));
    sender.handle.send(transmits).unwrap();
    until(&a, |stats| stats.mix.received == 41);
    let stats = a.handle.drain(Duration::from_secs(60));
    assert_eq!((stats.sent, stats.undrained, stats.mix.refused), (40, 0, 1));
    for _ in 0..40 {
        assert_eq!(b.deliver(), b"held");
    }
    // What is due later than that is given up.
    let far = [b.hop(Duration::from_secs(500)), sender.hop(Duration::ZERO)];
    sender
        .handle
        .send(vec![packet(geometry, &far, b"far")])
        .unwrap();
    until(&b, |stats| stats.mix.received == 41);
    let stats = b.handle.drain(Duration::from_millis(1));
    assert_eq!((stats.undrained, stats.sent), (1, 0));
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    for workers in [1, 2] {
        let first = start(Geometry::DATAGRAM, workers);
        let again = |address: SocketAddr| {
            let mixnode =
                Mixnode::new(PrivateKey::random(&mut OsEntropy), MixnodeConfig::default());
            let identity = Identity::random(&mut OsEntropy);
            let config = EngineConfig {
                workers,
                ..EngineConfig::default()
            };
            MixEngine::start(mixnode, identity, address, &config, &clock()).map(drop)
        };
        let taken = first.handle.address();
        assert!(
            matches!(again(taken), Err(EngineError::AddressInUse { address }) if address == taken)
        );
        // One that this machine does not have.
        let absent: SocketAddr = ([192, 0, 2, 1], 7000).into();
        assert!(
            matches!(again(absent), Err(EngineError::Bind { address, .. }) if address == absent)
        );
        // And when the first one has ended the address is free.
        drop(first);
        again(taken).unwrap();
    }
}

#[test]
fn packets_too_large_for_a_datagram_are_an_error() {
    let geometry = Geometry::new(7, 65_536).unwrap();
    let config = MixnodeConfig {
        geometry,
        ..MixnodeConfig::default()
    };
    let mixnode = Mixnode::new(PrivateKey::random(&mut OsEntropy), config);
    let started = MixEngine::start(
        mixnode,
        Identity::random(&mut OsEntropy),
        LOOPBACK.into(),
        &EngineConfig::default(),
        &clock(),
    );
    let actual = geometry.packet_bytes();
    assert!(matches!(
        started.map(drop),
        Err(EngineError::Links(UdpLinksError::FrameBytes { actual: bytes, .. })) if bytes == actual
    ));
}

#[test]
fn every_datagram_has_one_size() {
    for geometry in [
        Geometry::DATAGRAM,
        Geometry::DEFAULT,
        Geometry::new(3, 16 * 1024).unwrap(),
    ] {
        let a = start(geometry, 1);
        let mut peer = Peer::new(geometry, &[&a]);
        a.handle
            .set_directory([&a.descriptor, &peer.descriptor])
            .unwrap();
        let link = peer.connect(&a);
        let next = Hop::new(peer.descriptor.node, peer.descriptor.key, Duration::ZERO);
        for message in [&b""[..], &[7; 1000]] {
            peer.send(
                &link,
                packet(geometry, &[a.hop(Duration::ZERO), next], message),
            );
        }
        let expected = geometry.packet_bytes() + DATAGRAM_OVERHEAD_BYTES;
        let mut datagram = vec![0; 65_536];
        for _ in 0..2 {
            let (length, from) = peer.socket.recv_from(&mut datagram).unwrap();
            assert_eq!((length, from), (expected, a.descriptor.address));
            let mut frame = vec![0; geometry.packet_bytes()];
            let now = fogcompute_base::Instant::ZERO;
            assert_eq!(
                peer.links.open(&datagram[..length], &mut frame, now),
                Ok(crate::Opened::Frame)
            );
        }
    }
}

#[test]
fn what_has_no_way_is_dropped_by_reason() {
    let geometry = Geometry::DATAGRAM;
    let config = EngineConfig {
        workers: 1,
        link_wait_max: Duration::from_millis(500),
        link_wait_packets_max: 2,
        deliveries_max: 1,
        ..EngineConfig::default()
    };
    let node = start_with(geometry, &config);
    let silent = Peer::new(geometry, &[]);
    node.handle
        .set_directory([&node.descriptor, &silent.descriptor])
        .unwrap();
    let to = |descriptor: &Descriptor| {
        let hop = Hop::new(descriptor.node, descriptor.key, Duration::ZERO);
        packet(geometry, &[hop], b"")
    };
    // Its own packets take the way over the socket too. The host takes none.
    node.handle
        .send((0..2).map(|_| to(&node.descriptor)).collect())
        .unwrap();
    until(&node, |stats| stats.undelivered == 1);
    let stranger = Peer::new(geometry, &[]).descriptor;
    node.handle.send(vec![to(&stranger)]).unwrap();
    // Two wait until they have waited long enough, the third finds no place.
    node.handle
        .send((0..3).map(|_| to(&silent.descriptor)).collect())
        .unwrap();
    let stats = until(&node, |stats| stats.unreachable == 3);
    assert_eq!(
        (stats.unknown_peer, stats.undelivered, stats.unsent),
        (1, 1, 0)
    );
}

#[test]
fn keys_change_in_all_threads() {
    let geometry = Geometry::DATAGRAM;
    let [sender, mut a] = network(geometry, 2);
    let key = PrivateKey::random(&mut OsEntropy);
    let (mut hop, old) = (a.hop(Duration::ZERO), a.hop(Duration::ZERO));
    hop.key = key.public();
    hop.epoch = EpochParity::Odd;
    a.handle
        .set_epoch_key(EpochParity::Odd, &EpochKey::new(key, 1000));
    a.handle.remove_key(EpochParity::Even);
    sender
        .handle
        .send(vec![
            packet(geometry, &[old], b"old"),
            packet(geometry, &[hop], b"new"),
        ])
        .unwrap();
    assert_eq!(a.deliver(), b"new");
    until(&a, |stats| stats.mix.malformed == 1);
}

#[test]
fn a_busy_engine_gives_packets_back() {
    let geometry = Geometry::DATAGRAM;
    let node = start_with(
        geometry,
        &EngineConfig {
            workers: 1,
            sends_max: 1,
            ..EngineConfig::default()
        },
    );
    let transmit = packet(geometry, &[node.hop(Duration::ZERO)], b"");
    let mut taken = 0;
    // The thread takes them as well, so it has to be outrun.
    let busy = loop {
        match node.handle.send(vec![transmit.clone(); 200]) {
            Ok(()) => taken += 200,
            Err(busy) => break busy,
        }
    };
    assert_eq!(busy.transmits, vec![transmit; 200]);
    assert!(taken >= 200);
}
