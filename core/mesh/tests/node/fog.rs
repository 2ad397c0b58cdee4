//! Nodes that talk only to the members of their fog, and who listens.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::world::World;
use fogcompute_base::Instant;
use fogcompute_mesh::{
    DeliveryState, Event, FogConfig, FogKey, Identity, LinkConfig, Node, NodeConfig, Packet,
    PacketType, PeerId,
};

const PERIOD: Duration = Duration::from_secs(60);
const BLUETOOTH: LinkConfig = LinkConfig::BLUETOOTH;

fn of_fog(byte: u8) -> NodeConfig {
    let mut fog = FogConfig::new(FogKey::from_bytes([byte; 32]));
    fog.period = PERIOD;
    NodeConfig {
        fog: Some(fog),
        ..NodeConfig::default()
    }
}

fn line(seed: u64, count: usize, link: LinkConfig) -> World {
    let mut world = World::with_config(seed, count, &of_fog(1));
    for index in 1..count {
        world.link(index - 1, index, link);
    }
    world.run(30);
    world
}

/// What a frame shows behind its time: every four bytes of it that stand together.
fn shown(frame: &[u8]) -> BTreeSet<&[u8]> {
    frame[16..].windows(4).collect()
}

fn sender(frame: &[u8]) -> PeerId {
    let (packet, _) = Packet::decode(frame).unwrap();
    assert_eq!((packet.kind, packet.ttl), (PacketType::SEALED, 1));
    assert_eq!((packet.recipient, packet.signature), (None, None));
    packet.sender
}

#[test]
fn who_listens_cannot_tell_that_announces_of_two_periods_are_of_one_peer() {
    let mut world = line(1, 2, BLUETOOTH);
    let mut periods = Vec::new();
    for _ in 0..2 {
        // From the start of a period to its end, where nothing but announces and requests is sent.
        let ms = world.nodes[0].unix(world.now).0 % 60_000;
        world.run_for(Duration::from_millis(60_000 - ms));
        let air: BTreeSet<_> = world
            .nodes
            .iter()
            .map(|node| node.air_id(world.now))
            .collect();
        world.sent.clear();
        world.run(59);
        let heard: Vec<_> = std::mem::take(&mut world.sent)
            .into_iter()
            .map(|(_, frame)| frame)
            .collect();
        let senders: BTreeSet<_> = heard.iter().map(|frame| sender(frame)).collect();
        assert_eq!(senders, air);
        assert!(heard.len() > 6 && heard.iter().all(|frame| frame.len() == 512));
        periods.push((heard, senders));
    }
    let [(first, of_first), (second, of_second)] = &periods[..] else {
        unreachable!("there are two");
    };
    assert!(of_first.is_disjoint(of_second));
    for one in first {
        for other in second {
            assert!(shown(one).is_disjoint(&shown(other)));
        }
    }
    for node in &world.nodes {
        let identity = node.identity();
        let (noise, verify) = (identity.noise_key(), identity.verify_key());
        let id = node.id();
        let known: [&[u8]; 4] = [
            noise.as_bytes(),
            verify.as_bytes(),
            id.as_bytes(),
            node.nickname().as_bytes(),
        ];
        for frame in first.iter().chain(second) {
            for known in known {
                assert!(!frame.windows(known.len()).any(|bytes| bytes == known));
            }
        }
    }
}

#[test]
fn members_know_each_other_and_a_session_lasts_through_many_periods() {
    let mut world = line(2, 3, BLUETOOTH);
    let (alice, carol) = (world.id(0), world.id(2));
    let mut names = BTreeSet::new();
    let mut received = Vec::new();
    let mut sent = Vec::new();
    let mut last = None;
    for number in 0..40 {
        names.insert(world.nodes[0].air_id(world.now));
        let text = format!("message {number}");
        last = Some(world.send_private(0, 2, &text));
        sent.push(text);
        world.run(10);
    }
    let events = world.take(2);
    let mut sessions = 0;
    for event in events {
        match event {
            Event::Private { from, text, .. } => {
                assert_eq!(from, alice);
                received.push(text);
            }
            Event::SessionReady { peer, .. } => {
                assert_eq!(peer, alice);
                sessions += 1;
            }
            _ => {}
        }
    }
    assert_eq!(received, sent);
    assert_eq!(sessions, 1);
    assert!(names.len() >= 7, "{}", names.len());
    let last = last.unwrap();
    assert!(world.take(0).contains(&Event::Delivery {
        id: last,
        state: DeliveryState::Delivered
    }));
    assert!(world.nodes[0].peer(carol).unwrap().is_reachable);
    assert_eq!(world.nodes[0].peers().count(), 2);
}

#[test]
fn what_is_on_its_way_when_names_change_arrives() {
    let mut world = line(3, 2, BLUETOOTH);
    world.send_private(0, 1, "hello");
    world.run(5);
    assert_eq!(world.privates(1), ["hello"]);
    world.delay = PERIOD + Duration::from_secs(5);
    let before = world.nodes[0].air_id(world.now);
    world.send_private(0, 1, "slowly");
    world.run_for(world.delay);
    assert_ne!(world.nodes[0].air_id(world.now), before);
    assert_eq!(world.privates(1), ["slowly"]);
}

#[test]
fn long_things_fit_into_frames_of_a_radio() {
    let mut world = line(4, 3, BLUETOOTH);
    let mut content = vec![0; 90 * 1024];
    fogcompute_base::Rng::fill_bytes(&mut world.rng, &mut content);
    let file = fogcompute_mesh::file::File {
        name: Some("noise.bin".to_owned()),
        mime: None,
        content,
    };
    world.take(2);
    let now = world.now;
    world.nodes[0]
        .send_file(&file, now, &mut world.rng)
        .unwrap();
    world.run(30);
    assert!(world.sent.iter().all(|(_, frame)| frame.len() <= 512));
    let got = |event: &Event| matches!(event, Event::File { file: got, .. } if *got == file);
    assert!(world.take(2).iter().any(got));
}

fn add(world: &mut World, name: &str, config: NodeConfig) -> usize {
    let identity = Identity::random(&mut world.rng);
    let unix = world.nodes[0].unix(world.now);
    let node = Node::new(identity, name, config, unix, world.now).unwrap();
    world.nodes.push(node);
    world.events.push(Vec::new());
    world.nodes.len() - 1
}

#[test]
fn strangers_learn_nothing_and_are_not_heard() {
    let mut world = line(5, 2, BLUETOOTH);
    let plain = add(&mut world, "plain", NodeConfig::default());
    let other = add(&mut world, "other fog", of_fog(2));
    for stranger in [plain, other] {
        world.link(1, stranger, BLUETOOTH);
    }
    // Another plain one, to which the first would pass on what it hears.
    let behind = add(&mut world, "behind", NodeConfig::default());
    world.link(plain, behind, BLUETOOTH);
    world.run(60);
    world.send_public(plain, "is anybody there");
    world.send_public(0, "among us");
    world.run(30);
    assert_eq!(world.publics(1), ["among us"]);
    assert_eq!(world.publics(other), [""; 0]);
    assert_eq!(world.publics(plain), [""; 0]);
    let counts = [1, plain, other, behind].map(|node| world.nodes[node].peers().count());
    assert_eq!(counts, [1, 1, 0, 1]);
    assert!(world.nodes[1].counters().strangers > 0);
    assert!(world.nodes[other].counters().strangers > 0);
    // Nobody passed on what is sealed: each was sent once.
    let sealed = world
        .sent
        .iter()
        .map(|(_, frame)| Packet::decode(frame).unwrap().0);
    let sealed = sealed.filter(|packet| packet.kind == PacketType::SEALED);
    let sealed: Vec<_> = sealed.map(Packet::into_payload).collect();
    let different: BTreeSet<_> = sealed.iter().collect();
    assert_eq!(different.len(), sealed.len());
}

#[test]
fn what_is_sent_again_is_refused_at_once_and_late() {
    let mut world = line(6, 2, BLUETOOTH);
    world.run(60);
    let enemy = world.nodes[0].air_id(world.now);
    let frames = world.sent.iter().map(|(_, frame)| frame);
    let frames: Vec<_> = frames
        .filter(|frame| sender(frame) == enemy)
        .cloned()
        .collect();
    let link = world.nodes[1].links().next().unwrap().0;
    let again = |world: &mut World, at: Instant| {
        let before = world.nodes[1].counters();
        for frame in &frames {
            world.nodes[1].handle_input(link, frame, at, &mut world.rng);
        }
        let after = world.nodes[1].counters();
        [
            after.received - before.received,
            after.replayed - before.replayed,
            after.clock_skew - before.clock_skew,
        ]
    };
    let count = frames.len() as u64;
    assert!(count > 0);
    let now = world.now;
    assert_eq!(again(&mut world, now), [0, count, 0]);
    let late = now + Duration::from_secs(300);
    assert_eq!(again(&mut world, late), [0, 0, count]);
}
