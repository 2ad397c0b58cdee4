//! What an engine does for every packet takes nothing from the heap, once it has run for a while.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::alloc::System;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::{Clock, NodeId, OsEntropy, SystemClock};
use fogcompute_mix::{
    Descriptor, EpochParity, Geometry, Hop, Mixnode, MixnodeConfig, Packet, PrivateKey,
};
use fogcompute_net::{
    DATAGRAM_OVERHEAD_BYTES, EngineConfig, Identity, MixEngine, UdpLink, UdpLinks, UdpLinksConfig,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

/// Counts for all threads of the process, so this file has one test.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const GEOMETRY: Geometry = Geometry::DATAGRAM;
const DATAGRAM_BYTES: usize = GEOMETRY.packet_bytes() + DATAGRAM_OVERHEAD_BYTES;
const PACKETS: usize = 2_000;
const WARM_UP: usize = 1_000;
/// Packets on their way at once: few enough for any socket.
const WINDOW: usize = 20;

/// The peer before and behind the engine.
struct Peer {
    links: UdpLinks,
    socket: UdpSocket,
    clock: SystemClock,
    datagram: Vec<u8>,
    frame: Vec<u8>,
}

impl Peer {
    /// Takes one datagram. Whether it was a packet.
    fn receive(&mut self) -> bool {
        let now = self.clock.now();
        let (length, from) = self.socket.recv_from(&mut self.datagram).unwrap();
        let datagram = &self.datagram[..length];
        if self.links.handle_input(from, datagram, now).is_err() {
            return self.links.open(datagram, &mut self.frame, now).is_ok();
        }
        self.transmit();
        false
    }

    fn transmit(&mut self) {
        while let Some((address, datagram)) = self.links.poll_transmit() {
            self.socket.send_to(&datagram, address).unwrap();
        }
    }

    fn connect(&mut self, to: NodeId) -> Arc<UdpLink> {
        loop {
            let (now, date) = (self.clock.now(), self.clock.unix_now());
            if let Some(link) = self.links.link(to.into(), now, date).unwrap() {
                return link;
            }
            self.transmit();
            self.receive();
        }
    }

    fn pass(&mut self, link: &UdpLink, packets: &[Packet]) {
        for window in packets.chunks(WINDOW) {
            for packet in window {
                let now = self.clock.now();
                link.seal(0, packet.as_bytes(), &mut self.datagram, now)
                    .unwrap();
                self.socket.send_to(&self.datagram, link.address()).unwrap();
            }
            let mut arrived = 0;
            while arrived < window.len() {
                arrived += usize::from(self.receive());
            }
        }
    }
}

fn descriptor(node: NodeId, address: SocketAddr) -> Descriptor {
    Descriptor {
        node,
        key: PrivateKey::from_bytes([1; 32]).public(),
        epoch: EpochParity::Even,
        address,
    }
}

#[test]
fn packets_that_are_sent_on_take_no_memory() {
    let identities = [(); 2].map(|()| Identity::random(&mut OsEntropy));
    let nodes = identities.each_ref().map(Identity::node);
    let [own, engine_own] = identities;
    let config = MixnodeConfig {
        geometry: GEOMETRY,
        ..MixnodeConfig::default()
    };
    let (engine, _deliveries) = MixEngine::start(
        Mixnode::new(PrivateKey::from_bytes([1; 32]), config),
        engine_own,
        LOOPBACK.into(),
        &EngineConfig {
            workers: 1,
            ..EngineConfig::default()
        },
        &(Arc::new(SystemClock::new()) as Arc<dyn Clock>),
    )
    .unwrap();
    let frame_bytes = GEOMETRY.packet_bytes();
    let config = UdpLinksConfig::default();
    let mut peer = Peer {
        links: UdpLinks::new(own, frame_bytes, config, &mut OsEntropy).unwrap(),
        socket: UdpSocket::bind(LOOPBACK).unwrap(),
        clock: SystemClock::new(),
        datagram: vec![0; DATAGRAM_BYTES],
        frame: vec![0; frame_bytes],
    };
    let places = [
        descriptor(nodes[1], engine.address()),
        descriptor(nodes[0], peer.socket.local_addr().unwrap()),
    ];
    engine.set_directory(&places[1..]).unwrap();
    peer.links.set_directory(&places[..1]).unwrap();
    let link = peer.connect(nodes[1]);

    let delay = Duration::from_millis(1);
    let route = places.map(|place| Hop::new(place.node, place.key, delay));
    let orders = vec![(&route[..], &b"fog"[..]); WARM_UP + PACKETS];
    let packets = Packet::build_batch(GEOMETRY, &orders, &mut OsEntropy).unwrap();
    let (warm_up, packets) = packets.split_at(WARM_UP);
    peer.pass(&link, warm_up);
    let region = Region::new(ALLOCATOR);
    peer.pass(&link, packets);
    let change = region.change();
    assert_eq!(change.allocations, 0);
    // A list may become longer than ever before, when this machine had no time for the engine for a
    // while: that is no matter of packets.
    assert!(change.reallocations <= 8, "{change:?}");
    let stats = engine.drain(Duration::from_secs(10));
    assert_eq!(stats.mix.forwarded, (WARM_UP + PACKETS) as u64);
}
