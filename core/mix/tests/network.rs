//! Twenty nodes in one deterministic world: packets get lost, a mixnode dies, keys change, and
//! every message that was acknowledged has arrived, once and unchanged.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use fogcompute_base::{Instant, NodeId, Rng};
use fogcompute_mix::{
    Client, ClientConfig, ClientEvent, Contact, CoverConfig, Descriptor, EpochParity, Geometry,
    Incoming, MessageId, Mixnode, MixnodeConfig, NodeRef, PrivateKey, ReliabilityConfig, Topology,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const LAYERS: usize = 3;
const PER_LAYER: usize = 4;
const CLIENTS: usize = 8;
const MIXES: usize = LAYERS * PER_LAYER;

/// When it arrives, its number, where, and what.
type OnTheWire = (Instant, u64, NodeRef, Vec<u8>);

struct World {
    rng: ChaCha20Rng,
    now: Instant,
    /// Of each node: its keys of both parities.
    keys: Vec<[PrivateKey; 2]>,
    nodes: Vec<Mixnode>,
    clients: Vec<Client>,
    topology: Topology,
    wire: BinaryHeap<Reverse<OnTheWire>>,
    sent: u64,
    /// One packet in so many is lost on each link; none if 0.
    loss_one_in: u64,
    arrived: BTreeMap<MessageId, (usize, Vec<u8>)>,
    events: Vec<ClientEvent>,
}

fn id(index: usize) -> NodeId {
    NodeId::from_bytes([index as u8 + 1; 32])
}

fn config(index: usize) -> MixnodeConfig {
    MixnodeConfig {
        relay: index < MIXES,
        geometry: Geometry::DATAGRAM,
        replay_tags_max: 100_000,
        ..MixnodeConfig::default()
    }
}

impl World {
    fn new(seed: u64, loss_one_in: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let keys: Vec<_> = (0..MIXES + CLIENTS)
            .map(|_| [PrivateKey::random(&mut rng), PrivateKey::random(&mut rng)])
            .collect();
        let nodes = keys
            .iter()
            .enumerate()
            .map(|(index, keys)| Mixnode::new(keys[0].clone(), config(index)))
            .collect();
        let topology = topology(&keys, EpochParity::Even);
        let client_config = ClientConfig {
            geometry: Geometry::DATAGRAM,
            reliability: ReliabilityConfig {
                timeout_initial: Duration::from_secs(1),
                ..ReliabilityConfig::default()
            },
            ..ClientConfig::default()
        };
        let clients = (MIXES..MIXES + CLIENTS)
            .map(|index| {
                let contact = contact(&keys, index, EpochParity::Even);
                let mut client = Client::new(contact, client_config.clone());
                client.set_entries(topology.entries());
                client
            })
            .collect();
        Self {
            rng,
            now: Instant::ZERO,
            keys,
            nodes,
            clients,
            topology,
            wire: BinaryHeap::new(),
            sent: 0,
            loss_one_in,
            arrived: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    fn put(&mut self, to: NodeRef, packet: Vec<u8>) {
        assert_eq!(packet.len(), Geometry::DATAGRAM.packet_bytes());
        self.sent += 1;
        if self.loss_one_in > 0 && self.rng.next_u64().is_multiple_of(self.loss_one_in) {
            return;
        }
        let latency = Duration::from_micros(500 + self.rng.next_u64() % 5_000);
        self.wire
            .push(Reverse((self.now + latency, self.sent, to, packet)));
    }

    /// Does what is due now.
    fn step(&mut self) {
        while let Some(Reverse((at, ..))) = self.wire.peek()
            && *at <= self.now
        {
            let Some(Reverse((_, _, to, packet))) = self.wire.pop() else {
                unreachable!("it was just seen");
            };
            let index = (0..self.nodes.len())
                .find(|index| NodeRef::from(id(*index)) == to)
                .unwrap();
            self.nodes[index].handle_input(packet, self.now);
        }
        for index in 0..self.nodes.len() {
            while let Some(transmit) = self.nodes[index].poll_transmit(self.now) {
                self.put(transmit.to, transmit.packet.into_bytes());
            }
            while let Some(delivery) = self.nodes[index].poll_delivery() {
                // What ends at a mixnode is cover.
                let Some(client) = index.checked_sub(MIXES) else {
                    continue;
                };
                // A reply block that was used up, or whose key is gone, is no message.
                let incoming = self.clients[client].handle_delivery(delivery, self.now);
                if let Ok(Some(Incoming::Message { id, body, .. })) = incoming {
                    let before = self.arrived.insert(id, (client, body));
                    assert!(before.is_none(), "{id:?} came twice");
                }
            }
        }
        for client in 0..self.clients.len() {
            // Errors are those of a moment between two epochs.
            while let Ok(Some(transmit)) =
                self.clients[client].poll_transmit(&self.topology, self.now, &mut self.rng)
            {
                self.put(transmit.to, transmit.packet.into_bytes());
            }
            self.events
                .extend(std::iter::from_fn(|| self.clients[client].poll_event()));
        }
    }

    fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) {
        while self.now < end && !done(self) {
            self.step();
            let nodes = self.nodes.iter().filter_map(Mixnode::poll_timeout);
            let clients = self.clients.iter().filter_map(Client::poll_timeout);
            let wire = self.wire.peek().map(|Reverse((at, ..))| *at);
            let next = nodes.chain(clients).chain(wire).min().unwrap_or(end);
            // Time goes on, even if somebody wants to be called at once.
            self.now = next.max(self.now + Duration::from_micros(100)).min(end);
        }
    }

    fn send(&mut self, from: usize, to: usize, body: &[u8]) -> MessageId {
        let receiver = contact(&self.keys, MIXES + to, self.topology.epoch());
        self.clients[from]
            .send_reliably(&self.topology, receiver, body, 0, self.now, &mut self.rng)
            .unwrap()
    }

    /// Every node gets a key of the other parity; senders change over to them.
    fn change_epoch(&mut self, to: EpochParity) {
        for (node, keys) in self.nodes.iter_mut().zip(&self.keys) {
            node.set_key(to, keys[to as usize].clone());
        }
        self.topology = topology(&self.keys, to);
        for client in 0..CLIENTS {
            let own = contact(&self.keys, MIXES + client, to);
            self.clients[client].set_contact(own);
            for other in 0..CLIENTS {
                let other = contact(&self.keys, MIXES + other, to);
                self.clients[client].set_receiver(other);
            }
        }
    }

    /// A mixnode dies with all it holds, and comes back with new keys.
    fn crash(&mut self, index: usize) {
        let epoch = self.topology.epoch();
        self.keys[index] = [
            PrivateKey::random(&mut self.rng),
            PrivateKey::random(&mut self.rng),
        ];
        let key = self.keys[index][epoch as usize].clone();
        self.nodes[index] = Mixnode::new(key.clone(), config(index));
        if epoch == EpochParity::Odd {
            self.nodes[index].remove_key(EpochParity::Even);
            self.nodes[index].set_key(epoch, key);
        }
        self.topology = topology(&self.keys, epoch);
    }

    fn delivered(&self) -> Vec<MessageId> {
        let delivered = |event: &ClientEvent| match event {
            ClientEvent::Delivered { id } => Some(*id),
            ClientEvent::GivenUp { .. } => None,
        };
        self.events.iter().filter_map(delivered).collect()
    }
}

fn contact(keys: &[[PrivateKey; 2]], index: usize, epoch: EpochParity) -> Contact {
    Contact {
        node: id(index),
        key: keys[index][epoch as usize].public(),
        epoch,
    }
}

fn topology(keys: &[[PrivateKey; 2]], epoch: EpochParity) -> Topology {
    let descriptor = |index: usize| {
        let Contact { node, key, epoch } = contact(keys, index, epoch);
        let address = ([127, 0, 0, 1], 4_000 + index as u16).into();
        Descriptor {
            node,
            key,
            epoch,
            address,
        }
    };
    let layers = (0..LAYERS)
        .map(|layer| {
            (0..PER_LAYER)
                .map(|n| descriptor(layer * PER_LAYER + n))
                .collect()
        })
        .collect();
    Topology::new(layers, Duration::from_millis(10)).unwrap()
}

#[test]
fn everything_arrives_over_loss_crashes_and_a_change_of_keys() {
    let mut world = World::new(0xf06, 20);
    let mut expected = BTreeMap::new();
    let mut send = |world: &mut World, count: usize| {
        for _ in 0..count {
            let from = (world.rng.next_u64() % CLIENTS as u64) as usize;
            let to = (from + 1 + (world.rng.next_u64() % (CLIENTS as u64 - 1)) as usize) % CLIENTS;
            let mut body = vec![0; (world.rng.next_u64() % 60_000) as usize];
            world.rng.fill_bytes(&mut body);
            expected.insert(world.send(from, to, &body), (to, body));
        }
    };
    send(&mut world, 8);
    world.run_until(Instant::from_millis(300), |_| false);
    world.crash(5);
    send(&mut world, 4);
    world.run_until(Instant::from_millis(1_500), |_| false);
    assert!(
        !world.delivered().is_empty(),
        "something is there before the keys change"
    );
    send(&mut world, 4);
    world.run_until(Instant::from_millis(1_600), |_| false);
    world.change_epoch(EpochParity::Odd);
    send(&mut world, 4);
    world.run_until(Instant::from_millis(3_000), |_| false);
    for node in &mut world.nodes {
        node.remove_key(EpochParity::Even);
    }
    world.crash(0);
    let all = expected.len();
    world.run_until(Instant::from_millis(600_000), |world| {
        world.events.len() == all
    });

    let mut delivered = world.delivered();
    delivered.sort_unstable();
    assert!(delivered.iter().eq(expected.keys()), "{:?}", world.events);
    assert_eq!(world.arrived, expected);
    let replayed: u64 = world.nodes.iter().map(|node| node.stats().replayed).sum();
    assert_eq!(replayed, 0, "nobody sent a packet twice");
}

#[test]
fn without_losses_nothing_is_sent_twice() {
    let mut world = World::new(7, 0);
    let body = vec![9; 200_000];
    let id = world.send(0, 1, &body);
    world.run_until(Instant::from_millis(60_000), |world| {
        !world.events.is_empty()
    });
    assert_eq!(world.events, [ClientEvent::Delivered { id }]);
    assert_eq!(world.arrived[&id], (1, body.clone()));
    // Four links for each packet of data, and at most half as much to have them acknowledged.
    let data = body.len().div_ceil(1_024 - 21) as u64;
    let most = 4 * data * 3 / 2;
    assert!(
        world.sent >= 4 * data && world.sent <= most,
        "{} of {most}",
        world.sent
    );
}

#[test]
fn a_receiver_that_is_gone_is_given_up_and_leaves_nothing() {
    let mut world = World::new(9, 0);
    let id = world.send(0, 1, &[1; 5_000]);
    world.nodes[MIXES + 1].remove_key(EpochParity::Even);
    world.run_until(Instant::from_millis(3_600_000), |world| {
        !world.events.is_empty()
    });
    let given_up = ClientEvent::GivenUp {
        id,
        arrived: 0,
        packets: 5,
    };
    assert_eq!(world.events, [given_up]);
    assert_eq!(world.clients[0].poll_timeout(), None);
    // The next message has the whole window again.
    world.nodes[MIXES + 1].set_key(EpochParity::Even, world.keys[MIXES + 1][0].clone());
    let id = world.send(0, 1, &vec![2; 50_000]);
    let end = world.now + Duration::from_secs(600);
    world.run_until(end, |world| world.events.len() == 2);
    assert_eq!(world.events[1], ClientEvent::Delivered { id });
}

#[test]
fn cover_loops_return_and_those_through_a_dead_node_are_missed() {
    let mut world = World::new(11, 0);
    let cover = CoverConfig {
        loops: Some(Duration::from_millis(100)),
        drops: Some(Duration::from_millis(100)),
    };
    for client in 0..CLIENTS {
        world.clients[client].set_cover(cover, world.now, &mut world.rng);
    }
    world.run_until(Instant::from_millis(10_000), |_| false);
    let sum = |world: &World, of: fn(&fogcompute_mix::CoverStats) -> u64| -> u64 {
        world
            .clients
            .iter()
            .map(|client| of(&client.cover_stats()))
            .sum()
    };
    let returned = sum(&world, |stats| stats.loops_returned);
    assert_eq!(sum(&world, |stats| stats.loops_lost), 0);
    // 800 expected, with a standard deviation of 28; some are still out.
    assert!((700..900).contains(&returned), "{returned}");
    world.nodes[0].remove_key(EpochParity::Even);
    world.run_until(Instant::from_millis(20_000), |_| false);
    for client in 0..CLIENTS {
        world.clients[client].set_cover(CoverConfig::default(), world.now, &mut world.rng);
    }
    world.run_until(Instant::from_millis(90_000), |_| false);
    for client in &mut world.clients {
        assert_eq!(client.poll_event(), None);
    }
    world.step();
    let lost = sum(&world, |stats| stats.loops_lost);
    let sent = sum(&world, |stats| stats.loops_sent);
    assert_eq!(sent, lost + sum(&world, |stats| stats.loops_returned));
    // One of four nodes of the first layer is dead: a quarter of 800.
    assert!((130..270).contains(&lost), "{lost} of {sent}");
}
