//! Packets that go over a way their sender chose, what that saves, and what becomes of them when it is broken.

use std::collections::BTreeSet;

use crate::world::World;
use fogcompute_mesh::call::{CallId, CallSignal, CallStep};
use fogcompute_mesh::{Content, Event, LinkConfig, NodeConfig, Packet, PacketType};

const FRAMED: LinkConfig = LinkConfig::FRAMED;

fn world(seed: u64, count: usize, links: &[(usize, usize)], routes: bool) -> World {
    let config = NodeConfig {
        routes,
        ..NodeConfig::default()
    };
    let mut world = World::with_config(seed, count, &config);
    for (a, b) in links {
        world.link(*a, *b, FRAMED);
    }
    // Until everybody has heard who is next to whom.
    world.run(50);
    world.sent.clear();
    world
}

/// Sixteen in four rows, each with a link to those beside it.
fn grid(routes: bool) -> World {
    let mut links = Vec::new();
    for at in 0..16 {
        if at % 4 < 3 {
            links.push((at, at + 1));
        }
        if at < 12 {
            links.push((at, at + 4));
        }
    }
    world(1, 16, &links, routes)
}

/// Packets for one peer that were sent, and how often they were.
fn directed(world: &mut World) -> (Vec<Packet>, usize) {
    let sent = std::mem::take(&mut world.sent);
    let packets = sent
        .iter()
        .map(|(_, frame)| Packet::decode(frame).unwrap().0);
    let kinds = [PacketType::HANDSHAKE, PacketType::ENCRYPTED];
    let packets: Vec<_> = packets
        .filter(|packet| kinds.contains(&packet.kind))
        .collect();
    let different: BTreeSet<_> = packets.iter().map(Packet::dedup_key).collect();
    (packets, different.len())
}

#[test]
fn from_corner_to_corner_of_a_grid_a_packet_is_sent_as_often_as_there_are_steps() {
    let mut sent = Vec::new();
    for routes in [true, false] {
        let mut world = grid(routes);
        let (near, far) = (world.id(0), world.id(15));
        let hears = |world: &World, node: usize, of| {
            let view = world.nodes[node].peer(of);
            view.is_some_and(|view| view.is_reachable)
        };
        // Announces do not get everywhere at once: relays give way to each other.
        while !hears(&world, 0, far) || !hears(&world, 15, near) {
            world.run(5);
        }
        world.sent.clear();
        world.send_private(0, 15, "hello");
        let mut received = Vec::new();
        while received.is_empty() {
            world.run(5);
            received = world.privates(15);
        }
        assert_eq!(received, ["hello"]);
        let (packets, different) = directed(&mut world);
        assert!(
            packets
                .iter()
                .all(|packet| packet.route().is_some() == routes)
        );
        let hops = packets.iter().filter_map(|packet| packet.route());
        assert!(hops.clone().all(|route| route.len() == 5));
        if routes {
            // Three of a handshake, what both say first, the message and its receipt.
            assert_eq!((different, packets.len()), (7, 7 * 6));
        }
        sent.push(packets.len() / different);
    }
    assert!(sent[1] > 2 * sent[0], "{sent:?}");
}

#[test]
fn next_to_each_other_and_over_who_does_not_understand_no_route_is_sent() {
    let mut near = world(2, 2, &[(0, 1)], true);
    near.send_private(0, 1, "near");
    near.run(5);
    assert_eq!(near.privates(1), ["near"]);
    let (packets, _) = directed(&mut near);
    assert!(packets.iter().all(|packet| packet.route().is_none()));

    // The apps pass on what is for everybody to find; nobody knows whether they understand routes.
    let mut world = World::new(3, 2);
    let app = NodeConfig {
        routes: false,
        ..NodeConfig::default()
    };
    let node = World::with_config(4, 1, &app).nodes.remove(0);
    world.nodes.push(node);
    world.events.push(Vec::new());
    for (a, b) in [(0, 2), (2, 1)] {
        world.link(a, b, FRAMED);
    }
    world.run(50);
    world.sent.clear();
    world.send_private(0, 1, "far");
    world.run(5);
    assert_eq!(world.privates(1), ["far"]);
    let (packets, _) = directed(&mut world);
    assert!(packets.iter().all(|packet| packet.route().is_none()));
}

/// Two ways from 0 to 3: over 1 and 2, and, longer, over 4, 5 and 6.
fn ring(seed: u64) -> World {
    let links = [(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (6, 3)];
    let mut world = world(seed, 7, &links, true);
    world.send_private(0, 3, "first");
    world.run(5);
    assert_eq!(world.privates(3), ["first"]);
    let (packets, _) = directed(&mut world);
    let way = [world.id(1), world.id(2)];
    let back = [world.id(2), world.id(1)];
    assert!(packets.iter().all(|packet| {
        let route = packet.route().unwrap();
        route == way || route == back
    }));
    world
}

#[test]
fn a_broken_route_sends_back_and_nothing_is_lost_though_it_is_sent_once() {
    for broken in [(0, 1), (1, 2), (2, 3)] {
        let mut world = ring(5);
        world.unlink(broken.0, broken.1);
        let signal = CallSignal {
            call: CallId([1; 16]),
            step: CallStep::Offer("v=0".to_owned()),
        };
        let (to, now) = (world.id(3), world.now);
        let call = Content::Call(signal.clone());
        world.nodes[0]
            .send_content(to, &call, now, &mut world.rng)
            .unwrap();
        world.send_private(0, 3, "second");
        world.run(2);
        let events = world.take(3);
        let got = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
        assert_eq!(
            got(|event| matches!(event, Event::Call { .. })),
            1,
            "{broken:?}"
        );
        assert_eq!(
            got(|event| matches!(event, Event::Private { .. })),
            1,
            "{broken:?}"
        );
        assert_eq!(world.nodes[0].outbox().count(), 0, "{broken:?}");
    }
}

#[test]
fn what_a_silent_hop_swallowed_is_sent_everywhere() {
    for silent in [1, 2] {
        let mut world = ring(6);
        world.deaf.insert(silent);
        world.send_private(0, 3, "second");
        world.run(30);
        assert_eq!(world.privates(3), ["second"], "{silent}");
        assert_eq!(world.nodes[0].outbox().count(), 0, "{silent}");
        // Nothing is heard of it: the other way is the shortest.
        world.run(120);
        world.sent.clear();
        world.send_private(0, 3, "third");
        world.run(5);
        assert_eq!(world.privates(3), ["third"], "{silent}");
        let way: Vec<_> = [4, 5, 6].map(|node| world.id(node)).into();
        let (packets, _) = directed(&mut world);
        let of_sender = packets.iter().filter(|packet| packet.sender == world.id(0));
        assert!(of_sender.clone().count() > 0);
        assert!(
            of_sender
                .clone()
                .all(|packet| packet.route() == Some(&way[..])),
            "{silent}"
        );
    }
}

#[test]
fn messages_arrive_once_over_routes_that_lose_a_fifth() {
    for seed in 0..4 {
        let mut world = ring(seed);
        world.loss_percent = 20;
        let texts: Vec<_> = (0..10).map(|number| format!("message {number}")).collect();
        for text in &texts {
            world.send_private(0, 3, text);
            world.run(1);
        }
        let mut received = Vec::new();
        for _ in 0..120 {
            world.run(10);
            received.extend(world.privates(3));
        }
        received.sort_unstable();
        assert_eq!(received, texts, "FOG_SEED={seed}");
    }
}
