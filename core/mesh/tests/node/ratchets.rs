//! Private messages under keys that are used once.

use fogcompute_mesh::ratchet::RatchetMessage;
use fogcompute_mesh::{
    Announce, Capabilities, Content, DeliveryState, Event, Identity, LinkConfig, Node, NodeConfig,
    Packet, PacketType, Protection, SendError,
};

use crate::talks::{restart_with, states};
use crate::world::World;

const FRAMED: LinkConfig = LinkConfig::FRAMED;

fn with_ratchet() -> NodeConfig {
    let capabilities = NodeConfig::default().capabilities;
    NodeConfig {
        capabilities: capabilities.with(Capabilities::RATCHET),
        ..NodeConfig::default()
    }
}

/// Nodes in a line that have ratchets and know each other.
fn line(seed: u64, count: usize) -> World {
    let mut world = World::with_config(seed, count, &with_ratchet());
    for index in 1..count {
        world.link(index - 1, index, FRAMED);
    }
    world.run(30);
    world
}

/// Private messages that a node was shown, with their protection.
fn privates(world: &mut World, node: usize) -> Vec<(String, Protection)> {
    let events = world.take(node).into_iter();
    let shown = events.filter_map(|event| match event {
        Event::Private {
            text, protection, ..
        } => Some((text, protection)),
        _ => None,
    });
    shown.collect()
}

fn ratcheted(texts: &[&str]) -> Vec<(String, Protection)> {
    let text = |text: &&str| ((*text).to_owned(), Protection::Ratchet);
    texts.iter().map(text).collect()
}

fn has_ratchet(world: &World, node: usize, with: usize) -> bool {
    let peer = world.nodes[node].peer(world.id(with));
    peer.is_some_and(|peer| peer.has_ratchet)
}

#[test]
fn private_messages_between_peers_that_have_ratchets_are_under_their_keys() {
    let mut world = line(1, 3);
    for node in 0..3 {
        world.take(node);
    }
    let id = world.send_private(0, 2, "there");
    world.run(5);
    assert_eq!(privates(&mut world, 2), ratcheted(&["there"]));
    assert!(has_ratchet(&world, 0, 2) && has_ratchet(&world, 2, 0));
    assert!(!has_ratchet(&world, 0, 1));
    let alice = world.id(0);
    let (now, rng) = (world.now, &mut world.rng);
    world.nodes[2]
        .mark_read(alice, id.clone(), now, rng)
        .unwrap();
    world.send_private(2, 0, "and back");
    world.run(5);
    let events = world.take(0);
    assert_eq!(
        states(&events, &id),
        [
            DeliveryState::Sent,
            DeliveryState::Delivered,
            DeliveryState::Read
        ]
    );
    let back = events.iter().any(|event| {
        matches!(event, Event::Private { text, protection, .. }
            if text == "and back" && *protection == Protection::Ratchet)
    });
    assert!(back, "{events:?}");
    for node in &world.nodes {
        let counters = node.counters();
        assert_eq!((counters.unratcheted, counters.replayed), (0, 0));
    }
}

#[test]
fn two_that_write_to_each_other_at_once_have_one_ratchet() {
    for seed in 0..8 {
        let mut world = line(seed, 2);
        for turn in ["first", "second"] {
            world.send_private(0, 1, turn);
            world.send_private(1, 0, turn);
            world.run(5);
        }
        for node in 0..2 {
            assert_eq!(
                privates(&mut world, node),
                ratcheted(&["first", "second"]),
                "seed {seed}"
            );
            assert_eq!(world.nodes[node].counters().unratcheted, 0, "seed {seed}");
        }
    }
}

#[test]
fn a_peer_without_ratchets_is_sent_the_same_bytes_as_before() {
    let sent = |config: &NodeConfig| {
        let mut world = World::with_config(3, 2, &NodeConfig::default());
        let alice = &world.nodes[0];
        let (identity, unix) = (alice.identity().clone(), alice.unix(world.now));
        world.nodes[0] = Node::new(identity, "alice", config.clone(), unix, world.now).unwrap();
        world.link(0, 1, FRAMED);
        world.run(30);
        let id = world.send_private(0, 1, "as before");
        world.send_private(1, 0, "and back");
        world.run(10);
        let bob = world.id(1);
        let (now, rng) = (world.now, &mut world.rng);
        world.nodes[0].mark_read(bob, id, now, rng).unwrap();
        world.run(60);
        assert_eq!(
            privates(&mut world, 1),
            [("as before".to_owned(), Protection::Noise)]
        );
        assert_eq!(
            privates(&mut world, 0),
            [("and back".to_owned(), Protection::Noise)]
        );
        std::mem::take(&mut world.sent)
    };
    let (before, after) = (sent(&NodeConfig::default()), sent(&with_ratchet()));
    assert_eq!(before.len(), after.len());
    let mut differ = Vec::new();
    for ((from, before), (same, after)) in before.iter().zip(&after) {
        if before == after {
            continue;
        }
        let lengths = (before.len(), after.len());
        let [before, after] = [before, after].map(|bytes| Packet::decode(bytes).unwrap().0);
        assert_eq!((from, before.kind), (same, after.kind));
        // Sets of what one has name announces by what they say.
        if before.kind == PacketType::SYNC {
            continue;
        }
        // An announce says one thing more, and so does what is said first in a session.
        assert_eq!((*from, lengths.0), (0, lengths.1));
        if before.kind == PacketType::ANNOUNCE {
            let [before, mut after] =
                [before, after].map(|packet| Announce::decode(packet.payload()).unwrap());
            let said = after.capabilities.as_mut().unwrap();
            assert!(said.has(Capabilities::RATCHET));
            said.0 ^= Capabilities::RATCHET.0;
            assert_eq!(before, after);
        } else {
            differ.push(before.kind);
        }
    }
    assert_eq!(differ, [PacketType::ENCRYPTED]);
}

#[test]
fn a_restart_goes_on_with_the_same_ratchet() {
    let mut world = line(4, 2);
    world.send_private(0, 1, "before");
    world.run(5);
    assert_eq!(privates(&mut world, 1), ratcheted(&["before"]));
    for node in [0, 1] {
        restart_with(&mut world, node, &with_ratchet());
        assert!(has_ratchet(&world, node, 1 - node));
        world.link(0, 1, FRAMED);
        world.run(30);
        world.sent.clear();
        world.send_private(0, 1, "after");
        world.send_private(1, 0, "after");
        world.run(5);
        for node in 0..2 {
            assert_eq!(privates(&mut world, node), ratcheted(&["after"]));
            assert_eq!(world.nodes[node].counters().unratcheted, 0);
        }
    }
}

#[test]
fn who_goes_on_from_long_ago_gets_another_ratchet_and_what_was_written() {
    for who in 0..2 {
        let mut world = line(5, 2);
        // Before there was a ratchet.
        let node = &world.nodes[who];
        let (identity, saved) = (node.identity().clone(), node.save());
        world.send_private(0, 1, "one");
        world.run(5);
        assert_eq!(privates(&mut world, 1), ratcheted(&["one"]));
        let unix = world.nodes[who].unix(world.now);
        let old = Node::restore(identity, &saved, with_ratchet(), unix, world.now).unwrap();
        world.replace(who, old);
        world.link(0, 1, FRAMED);
        world.run(30);
        world.take(1);
        world.send_private(0, 1, "two");
        world.send_private(1, 0, "three");
        world.run(120);
        assert_eq!(privates(&mut world, 1), ratcheted(&["two"]), "{who}");
        assert_eq!(privates(&mut world, 0), ratcheted(&["three"]), "{who}");
    }
}

#[test]
fn everything_arrives_once_though_the_links_lose_a_fifth() {
    for seed in 0..4 {
        let mut world = line(seed, 3);
        world.loss_percent = 20;
        let texts: Vec<_> = (0..20).map(|n| format!("text {n}")).collect();
        for text in &texts {
            world.send_private(0, 2, text);
            world.send_private(2, 0, text);
            world.run(3);
        }
        world.loss_percent = 0;
        world.run(1200);
        for node in [0, 2] {
            let mut shown = privates(&mut world, node);
            assert!(
                shown
                    .iter()
                    .filter(|(_, how)| *how == Protection::Ratchet)
                    .count()
                    > 10,
                "seed {seed}: {shown:?}"
            );
            shown.sort_by_key(|(text, _)| texts.iter().position(|known| known == text));
            let shown: Vec<_> = shown.into_iter().map(|(text, _)| text).collect();
            assert_eq!(shown, texts, "seed {seed}");
            assert_eq!(world.nodes[node].outbox().count(), 0);
        }
    }
}

#[test]
fn couriers_carry_what_is_under_a_key_of_a_ratchet() {
    let mut world = line(6, 2);
    world.send_private(0, 1, "near");
    world.run(5);
    // Bob goes, and Carol carries to him what Alice writes.
    world.unlink(0, 1);
    let unix = world.nodes[0].unix(world.now);
    let carol = Identity::from_bytes([7; 32], [7; 32]);
    let carol = Node::new(carol, "carol", NodeConfig::default(), unix, world.now).unwrap();
    world.add(carol);
    world.link(0, 2, FRAMED);
    world.run(90);
    world.take(0);
    world.take(1);
    let id = world.send_private(0, 1, "carried");
    world.run(5);
    assert_eq!(
        states(&world.take(0), &id).last(),
        Some(&DeliveryState::Relayed)
    );
    world.unlink(0, 2);
    world.link(2, 1, FRAMED);
    world.run(60);
    assert_eq!(privates(&mut world, 1), ratcheted(&["carried"]));
    assert_eq!(world.nodes[1].counters().unratcheted, 0);
}

#[test]
fn a_text_waits_for_a_ratchet_and_not_for_ever() {
    let mut world = line(8, 2);
    // Nothing that Bob says in the session arrives.
    world.is_lost = |from, bytes| {
        let (packet, _) = Packet::decode(bytes).unwrap();
        from == 1 && packet.kind == PacketType::ENCRYPTED
    };
    world.send_private(0, 1, "in time");
    world.run(8);
    assert_eq!(privates(&mut world, 1), []);
    world.run(4);
    let shown = ("in time".to_owned(), Protection::Noise);
    assert_eq!(privates(&mut world, 1), [shown]);
    world.is_lost = |_, _| false;
    world.run(60);
    world.send_private(0, 1, "with a ratchet");
    world.run(5);
    assert_eq!(privates(&mut world, 1), ratcheted(&["with a ratchet"]));
}

#[test]
fn steps_of_ratchets_go_to_nobody_who_has_none() {
    let mut world = World::line(9, 2, FRAMED);
    let bob = world.id(1);
    let (now, rng) = (world.now, &mut world.rng);
    let content = Content::Ratchet(RatchetMessage::Ask);
    let refused = world.nodes[0].send_content(bob, &content, now, rng);
    assert_eq!(refused, Err(SendError::NotUnderstood { peer: bob }));
}
