//! Groups whose members write under keys of their own.

use std::collections::BTreeSet;

use fogcompute_mesh::group::{GroupId, Role};
use fogcompute_mesh::large_group::SENDER_MESSAGES_MAX;
use fogcompute_mesh::{
    Capabilities, DeliveryState, Event, LinkConfig, NodeConfig, Packet, PacketType, PeerId,
    SendError,
};

use crate::talks::restart_with;
use crate::world::World;

const FRAMED: LinkConfig = LinkConfig::FRAMED;

fn config() -> NodeConfig {
    let ours = Capabilities::RATCHET.with(Capabilities::LARGE_GROUPS);
    let capabilities = NodeConfig::default().capabilities.with(ours);
    NodeConfig {
        capabilities,
        ..NodeConfig::default()
    }
}

/// Nodes around one, who know each other.
fn star(seed: u64, count: usize) -> World {
    let mut world = World::with_config(seed, count, &config());
    for index in 1..count {
        world.link(0, index, FRAMED);
    }
    world.run(40);
    for node in 0..count {
        world.take(node);
    }
    world
}

fn create(world: &mut World, members: std::ops::Range<usize>) -> GroupId {
    let members: Vec<_> = members.map(|node| world.id(node)).collect();
    let (now, rng) = (world.now, &mut world.rng);
    let group = world.nodes[0].create_large_group("many", &members, now, rng);
    group.unwrap()
}

fn change(world: &mut World, group: GroupId, members: &[usize]) {
    let members: Vec<PeerId> = members.iter().map(|node| world.id(*node)).collect();
    let (now, rng) = (world.now, &mut world.rng);
    world.nodes[0]
        .change_group(group, &members, now, rng)
        .unwrap();
}

fn write(world: &mut World, from: usize, group: GroupId, text: &str) {
    let (now, rng) = (world.now, &mut world.rng);
    world.nodes[from].send_group(group, text, now, rng).unwrap();
}

/// What a node was shown of a group.
fn texts(world: &mut World, node: usize) -> Vec<String> {
    let events = world.take(node).into_iter();
    let shown = events.filter_map(|event| match event {
        Event::GroupMessage { text, .. } => Some(text),
        _ => None,
    });
    shown.collect()
}

/// What was written to a group while nobody was there was forgotten with its writer, or after a quarter of an hour.
#[test]
fn what_nobody_heard_is_said_when_somebody_comes_and_after_a_restart() {
    for is_large in [false, true] {
        let mut world = star(20, 3);
        let group = if is_large {
            create(&mut world, 1..3)
        } else {
            let members = [world.id(1), world.id(2)];
            let (now, rng) = (world.now, &mut world.rng);
            world.nodes[0]
                .create_group("few", &members, now, rng)
                .unwrap()
        };
        world.run(30);
        write(&mut world, 0, group, "heard");
        world.run(40);
        assert_eq!(world.nodes[0].unheard().count(), 0, "a neighbour says it");
        for other in [1, 2] {
            assert_eq!(texts(&mut world, other), ["heard"]);
            world.unlink(0, other);
        }
        world.run(100);
        write(&mut world, 0, group, "alone");
        world.run(5);
        let unheard: Vec<_> = world.nodes[0].unheard().map(|(of, _)| of).collect();
        assert_eq!(unheard, [group]);
        restart_with(&mut world, 0, &config());
        world.run(3600);
        assert_eq!(world.nodes[0].unheard().count(), 1);
        world.link(0, 1, FRAMED);
        world.run(60);
        assert_eq!(texts(&mut world, 1), ["alone"], "large: {is_large}");
        assert_eq!(world.nodes[0].unheard().count(), 0);
        world.link(0, 2, FRAMED);
        world.run(60);
        assert_eq!(texts(&mut world, 2), ["alone"], "large: {is_large}");
        world.run(1800);
        for other in [1, 2] {
            assert_eq!(texts(&mut world, other), [""; 0]);
        }
    }
}

/// Nobody says that it has a message, and nobody is shown it twice.
#[test]
fn what_is_sent_to_a_group_again_is_shown_once_and_given_up_after_a_day() {
    let mut world = star(21, 2);
    let members = [world.id(1)];
    let (now, rng) = (world.now, &mut world.rng);
    let group = world.nodes[0]
        .create_group("two", &members, now, rng)
        .unwrap();
    world.run(30);
    // Everything that the other one says is lost, but its announces.
    world.is_lost = |from, bytes| {
        let packet = Packet::decode(bytes);
        from == 1 && packet.is_ok_and(|(packet, _)| packet.kind != PacketType::ANNOUNCE)
    };
    world.take(0);
    write(&mut world, 0, group, "anybody?");
    world.run(3600);
    assert_eq!(world.nodes[0].unheard().count(), 1);
    assert_eq!(texts(&mut world, 1), ["anybody?"]);
    assert!(world.nodes[1].counters().duplicated > 0, "it came again");
    world.unlink(0, 1);
    world.run(24 * 3600);
    assert_eq!(world.nodes[0].unheard().count(), 0);
    let events = world.take(0);
    let end = events.iter().rev().find_map(|event| match event {
        Event::Delivery { state, .. } => Some(*state),
        _ => None,
    });
    assert_eq!(end, Some(DeliveryState::GivenUp));
}

#[test]
fn twenty_members_read_what_each_of_them_writes_once() {
    let mut world = star(1, 20);
    let group = create(&mut world, 1..20);
    world.run(40);
    let creator = world.nodes[0].identity().noise_key().fingerprint();
    for node in 1..20 {
        let own = world.nodes[node].identity().noise_key().fingerprint();
        let joined = world.take(node).contains(&Event::Group { group, creator });
        assert!(joined, "{node}");
        let state = world.nodes[node].large_groups().next().unwrap();
        assert_eq!(state.members.len(), 20);
        assert_eq!(
            (state.role(&creator), state.role(&own)),
            (Some(Role::Creator), Some(Role::Member))
        );
    }
    for from in [0, 7] {
        write(&mut world, from, group, &format!("from {from}"));
        world.run(60);
        for node in (0..20).filter(|node| *node != from) {
            assert_eq!(texts(&mut world, node), [format!("from {from}")], "{node}");
        }
    }
    // The second message of one needs nothing but itself: all have the key.
    world.sent.clear();
    write(&mut world, 7, group, "again");
    world.run(60);
    let sealed = world.sent.iter().filter(|(_, bytes)| {
        let (packet, _) = Packet::decode(bytes).unwrap();
        packet.kind == PacketType::ENCRYPTED
    });
    assert_eq!(sealed.count(), 0);
    for node in (0..20).filter(|node| *node != 7) {
        assert_eq!(texts(&mut world, node), ["again"], "{node}");
    }
}

#[test]
fn a_removed_member_reads_nothing_later_and_a_new_one_nothing_earlier() {
    let mut world = star(2, 5);
    let group = create(&mut world, 1..4);
    world.run(40);
    write(&mut world, 1, group, "of old");
    world.run(40);
    for node in [0, 2, 3] {
        assert_eq!(texts(&mut world, node), ["of old"]);
    }
    change(&mut world, group, &[1, 2, 4]);
    world.run(40);
    for (from, text) in [(0, "from the creator"), (1, "from a member")] {
        write(&mut world, from, group, text);
        world.run(40);
        for node in [0, 1, 2, 4] {
            let expected: &[&str] = if node == from { &[] } else { &[text] };
            assert_eq!(texts(&mut world, node), expected, "{node}");
        }
    }
    // Carol was not told, and what she writes is read by nobody.
    assert_eq!(texts(&mut world, 3), Vec::<String>::new());
    write(&mut world, 3, group, "from outside");
    world.run(40);
    for node in [0, 1, 2, 4] {
        assert_eq!(texts(&mut world, node), Vec::<String>::new(), "{node}");
    }
    let (members, now) = (vec![world.id(0)], world.now);
    let changed = world.nodes[1].change_group(group, &members, now, &mut world.rng);
    assert_eq!(changed, Err(SendError::NotCreator { group }));
    assert!(world.nodes[1].leave_group(group));
    assert_eq!(world.nodes[1].large_groups().count(), 0);
}

#[test]
fn who_was_away_gets_the_keys_and_the_messages_when_it_is_back() {
    let mut world = star(3, 4);
    world.unlink(0, 3);
    let group = create(&mut world, 1..4);
    world.run(40);
    write(&mut world, 1, group, "meanwhile");
    world.run(90);
    for node in [0, 2] {
        assert_eq!(texts(&mut world, node), ["meanwhile"]);
    }
    for node in [0, 1, 3] {
        restart_with(&mut world, node, &config());
    }
    world.link(0, 1, FRAMED);
    world.link(0, 2, FRAMED);
    world.link(0, 3, FRAMED);
    world.run(180);
    assert_eq!(texts(&mut world, 3), ["meanwhile"]);
    write(&mut world, 3, group, "back");
    world.run(60);
    for node in [0, 1, 2] {
        assert_eq!(texts(&mut world, node), ["back"], "{node}");
    }
    assert_eq!(texts(&mut world, 3), Vec::<String>::new());
}

#[test]
fn everything_is_read_once_though_links_lose_a_fifth_and_keys_are_replaced() {
    let mut world = star(4, 4);
    let group = create(&mut world, 1..4);
    world.run(40);
    world.loss_percent = 20;
    let count = SENDER_MESSAGES_MAX + 20;
    for number in 0..count {
        write(&mut world, 1, group, &number.to_string());
        world.run(2);
    }
    world.loss_percent = 0;
    world.run(300);
    for node in [0, 2, 3] {
        let shown = texts(&mut world, node);
        let once: BTreeSet<_> = shown.iter().collect();
        assert_eq!(once.len(), shown.len(), "{node}");
        // What was overtaken by more than keys are kept for is lost.
        assert!(
            shown.len() as u32 >= count * 3 / 4,
            "{node}: {}",
            shown.len()
        );
    }
}

#[test]
fn only_peers_that_have_large_groups_are_taken_into_one() {
    let mut world = World::with_config(5, 2, &config());
    let plain = World::new(6, 1).nodes.remove(0);
    world.add(plain);
    world.link(0, 1, FRAMED);
    world.link(0, 2, FRAMED);
    world.run(40);
    let [bob, old, stranger] = [world.id(1), world.id(2), PeerId::from_bytes([9; 8])];
    let (now, rng) = (world.now, &mut world.rng);
    let alice = &mut world.nodes[0];
    let mut created = |peer| {
        alice
            .create_large_group("some", &[bob, peer], now, rng)
            .map(|_| ())
    };
    assert_eq!(created(old), Err(SendError::NotUnderstood { peer: old }));
    assert_eq!(
        created(stranger),
        Err(SendError::UnknownPeer { peer: stranger })
    );
    // Twice the same is none.
    assert_eq!(created(bob), Err(SendError::MemberTwice { peer: bob }));
    assert_eq!(world.nodes[0].large_groups().count(), 0);
}
