//! Engines on the loopback interface.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use fogcompute_base::SystemClock;
use fogcompute_mix::{Geometry, Hop, MixnodeConfig, Packet, PrivateKey};

use super::*;

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

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
        EngineConfig {
            workers,
            ..EngineConfig::default()
        },
    )
}

fn start_with(geometry: Geometry, config: EngineConfig) -> Running {
    let identity = Identity::random(&mut OsEntropy);
    let node = identity.node();
    let key = PrivateKey::random(&mut OsEntropy);
    let public = key.public();
    let mixnode = Mixnode::new(
        key,
        MixnodeConfig {
            geometry,
            ..MixnodeConfig::default()
        },
    );
    let clock = Arc::new(SystemClock::new());
    let (handle, delivered) =
        MixEngine::start(mixnode, identity, LOOPBACK.into(), config, clock).unwrap();
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
        let count = 300_u32;
        for burst in 0..count / 20 {
            let transmits = (0..20)
                .map(|n| packet(geometry, &route, &(20 * burst + n).to_be_bytes()))
                .collect();
            sender.handle.send(transmits).unwrap();
        }
        let mut arrived = BTreeMap::<_, u32>::new();
        for _ in 0..count {
            *arrived.entry(c.deliver()).or_default() += 1;
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
