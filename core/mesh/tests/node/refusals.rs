//! Bad input: each kind is refused, counted in its place, bounded in memory, and the sessions of others go on.

use crate::world::{BEGIN, World};
use fogcompute_base::{CryptoRng, Instant, Rng, UnixMillis};
use fogcompute_mesh::courier::{CourierTag, Envelope};
use fogcompute_mesh::noise::{Initiator, Responder, Session};
use fogcompute_mesh::{
    Announce, Content, Counters, Fragment, Gcs, Identity, LinkConfig, LinkId, MessageId, Node,
    NodeConfig, PAYLOAD_BYTES_MAX, Packet, PacketType, PeerId, RestoreError, SyncRequest,
};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const FRAMED: LinkConfig = LinkConfig::FRAMED;

/// A node with an honest neighbour it has a session with, and a link to somebody else.
struct Besieged {
    world: World,
    link: LinkId,
    /// Whoever is at the other end of the link, with an identity that was announced.
    enemy: Identity,
    rng: ChaCha8Rng,
    before: Counters,
}

impl Besieged {
    fn new() -> Self {
        let mut world = World::line(1, 2, FRAMED);
        world.send_private(1, 0, "hello");
        world.run(2);
        assert_eq!(world.privates(0), ["hello"]);
        let link = LinkId(1 << 40);
        let now = world.now;
        world.nodes[0].link_up(link, FRAMED, now);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let enemy = Identity::random(&mut rng);
        let mut besieged = Self {
            before: Counters::default(),
            world,
            link,
            enemy,
            rng,
        };
        let announce = besieged.announce(&besieged.enemy.clone());
        besieged.send(&announce);
        besieged.before = besieged.node().counters();
        assert_eq!(besieged.node().peers().count(), 2);
        besieged
    }

    fn node(&mut self) -> &mut Node {
        &mut self.world.nodes[0]
    }

    fn unix(&self) -> UnixMillis {
        self.world.nodes[0].unix(self.world.now)
    }

    fn input(&mut self, bytes: &[u8]) {
        let now = self.world.now;
        self.world.nodes[0].handle_input(self.link, bytes, now, &mut self.world.rng);
    }

    fn send(&mut self, packet: &Packet) {
        self.input(&packet.to_frame());
    }

    fn packet(&mut self, kind: PacketType, payload: &[u8]) -> Packet {
        let unix = self.unix();
        Packet::new(kind, self.enemy.peer_id(), unix, payload.to_vec()).unwrap()
    }

    fn signed(&mut self, kind: PacketType, payload: &[u8]) -> Packet {
        let mut packet = self.packet(kind, payload);
        packet.sign(&self.enemy);
        packet
    }

    fn announce(&mut self, identity: &Identity) -> Packet {
        let name = "enemy".to_owned();
        let announce = Announce::new(name, identity.noise_key(), identity.verify_key());
        let payload = announce.encode().unwrap();
        let unix = self.unix();
        let mut packet =
            Packet::new(PacketType::ANNOUNCE, identity.peer_id(), unix, payload).unwrap();
        packet.sign(identity);
        packet
    }

    /// A session of the enemy with the node.
    fn session(&mut self) -> Session {
        let to = self.node().id();
        let (initiator, first) = Initiator::new(&self.enemy, &mut self.rng);
        let packet = self.packet(PacketType::HANDSHAKE, &first).to(to);
        self.send(&packet);
        let second = loop {
            let transmit = self.node().poll_transmit().unwrap();
            let (packet, _) = Packet::decode(&transmit.bytes).unwrap();
            if transmit.link == self.link && packet.kind == PacketType::HANDSHAKE {
                break packet.into_payload();
            }
        };
        let (session, third) = initiator.finish(&second).unwrap();
        let packet = self.packet(PacketType::HANDSHAKE, &third).to(to);
        self.send(&packet);
        session
    }

    /// What was counted since the siege began, but for what comes with everything.
    fn counted(&mut self) -> Vec<(&'static str, u64)> {
        let (before, after) = (self.before, self.node().counters());
        before
            .iter()
            .zip(after.iter())
            .map(|((name, before), (_, after))| (name, after - before))
            .filter(|(name, count)| *count > 0 && !["received", "sent", "relayed"].contains(name))
            .collect()
    }

    /// The session with the neighbour goes on, and nothing takes more memory than it may.
    fn holds(&mut self) {
        self.world.take(0);
        self.world.send_private(1, 0, "still here");
        self.world.run(2);
        assert_eq!(self.world.privates(0), ["still here"]);
        assert!(self.node().queued_bytes() < 16 << 20);
    }
}

#[test]
fn what_is_cut_off_is_truncated() {
    let mut siege = Besieged::new();
    let bytes = siege.signed(PacketType::MESSAGE, b"hello").encode();
    for end in 0..bytes.len() {
        siege.input(&bytes[..end]);
    }
    assert_eq!(siege.counted(), [("truncated", bytes.len() as u64)]);
    siege.holds();
}

#[test]
fn what_is_too_long_is_oversized() {
    let mut siege = Besieged::new();
    let mut bytes = siege.packet(PacketType::FILE, b"x").encode();
    let length = u32::try_from(PAYLOAD_BYTES_MAX + 1).unwrap();
    bytes[12..16].copy_from_slice(&length.to_be_bytes());
    siege.input(&bytes);
    assert_eq!(siege.counted(), [("oversized", 1)]);
    siege.holds();
}

#[test]
fn another_version_is_malformed() {
    let mut siege = Besieged::new();
    let mut bytes = siege.packet(PacketType::MESSAGE, b"x").encode();
    bytes[0] = 3;
    siege.input(&bytes);
    assert_eq!(siege.counted(), [("malformed", 1)]);
    siege.holds();
}

#[test]
fn what_comes_twice_is_duplicated_and_shown_once() {
    let mut siege = Besieged::new();
    siege.world.take(0);
    let packet = siege.signed(PacketType::MESSAGE, b"hello");
    for _ in 0..3 {
        siege.send(&packet);
    }
    // The first repeat also keeps this node from passing it on.
    assert_eq!(
        siege.counted(),
        [("relays_cancelled", 1), ("duplicated", 2)]
    );
    assert_eq!(siege.world.publics(0), ["hello"]);
    siege.holds();
}

#[test]
fn a_message_of_a_session_that_comes_again_is_replayed() {
    let mut siege = Besieged::new();
    let mut session = siege.session();
    let to = siege.node().id();
    siege.before = siege.node().counters();
    siege.world.take(0);
    let content = Content::Private {
        id: MessageId::new("m1").unwrap(),
        text: "once".to_owned(),
    };
    let sealed = session.seal(&content.encode().unwrap()).unwrap();
    let mut packet = siege.packet(PacketType::ENCRYPTED, &sealed).to(to);
    siege.send(&packet);
    // As another packet, so that it is not known as a copy.
    packet.timestamp.0 += 1;
    siege.send(&packet);
    assert_eq!(siege.counted(), [("replayed", 1)]);
    assert_eq!(siege.world.privates(0), ["once"]);
    let mut changed = session.seal(&content.encode().unwrap()).unwrap();
    changed[9] ^= 1;
    let changed = siege.packet(PacketType::ENCRYPTED, &changed).to(to);
    siege.send(&changed);
    assert_eq!(siege.counted(), [("replayed", 1), ("unopened", 1)]);
    siege.holds();
}

#[test]
fn a_wrong_signature_and_none_are_mis_signed_and_do_not_keep_the_real_one_out() {
    let mut siege = Besieged::new();
    siege.world.take(0);
    let real = siege.signed(PacketType::MESSAGE, b"real");
    let mut forged = real.clone();
    forged.signature = Some([7; 64]);
    siege.send(&forged);
    forged.signature = None;
    siege.send(&forged);
    assert_eq!(siege.counted(), [("mis_signed", 2)]);
    siege.send(&real);
    assert_eq!(siege.world.publics(0), ["real"]);
    siege.holds();
}

#[test]
fn what_nobody_can_verify_waits_for_an_announce() {
    let mut siege = Besieged::new();
    siege.world.take(0);
    let stranger = Identity::random(&mut siege.rng);
    let unix = siege.unix();
    let id = stranger.peer_id();
    let mut packet = Packet::new(PacketType::MESSAGE, id, unix, b"who am I".to_vec()).unwrap();
    packet.sign(&stranger);
    siege.send(&packet);
    for number in 0..100_u8 {
        let flood = PeerId::from_bytes([number; 8]);
        let mut packet = Packet::new(PacketType::MESSAGE, flood, unix, vec![1]).unwrap();
        packet.signature = Some([1; 64]);
        if number < 60 {
            siege.send(&packet);
        }
    }
    assert_eq!(siege.counted(), [("unverified", 61)]);
    assert_eq!(siege.world.publics(0), [""; 0]);
    let announce = siege.announce(&stranger);
    siege.send(&announce);
    assert_eq!(siege.world.publics(0), ["who am I"]);
    siege.holds();
}

#[test]
fn other_bytes_than_padding_are_wrongly_padded() {
    let mut siege = Besieged::new();
    let mut bytes = siege.signed(PacketType::MESSAGE, b"hello").encode();
    bytes.extend([4, 4, 4]);
    siege.input(&bytes);
    assert_eq!(siege.counted(), [("wrongly_padded", 1)]);
    siege.holds();
}

#[test]
fn a_bomb_is_a_bomb() {
    let mut siege = Besieged::new();
    let mut packet = siege.packet(PacketType::FILE, &vec![0; 1 << 20]).encode();
    // It says that it unpacks to a KiB less.
    let at = 16 + 8;
    let length = (1_u32 << 20) - 1024;
    packet[at..at + 4].copy_from_slice(&length.to_be_bytes());
    siege.input(&packet);
    assert_eq!(siege.counted(), [("bombs", 1)]);
    siege.holds();
}

#[test]
fn impossible_fragments_and_sets_that_never_finish_are_given_up() {
    let mut siege = Besieged::new();
    let fragment = |id: u32, index, total| {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&id.to_be_bytes());
        Fragment {
            id: bytes,
            index,
            total,
            kind: PacketType::FILE,
            data: &[7; 400],
        }
        .encode()
    };
    for (index, total) in [(5, 5), (0, 0), (0, 20_000)] {
        let packet = siege.packet(PacketType::FRAGMENT, &fragment(1, index, total));
        siege.send(&packet);
    }
    let short = siege.packet(PacketType::FRAGMENT, &[1; 13]);
    siege.send(&short);
    assert_eq!(siege.counted(), [("bad_fragments", 4)]);
    // A whole one whose packet is of somebody else.
    let other = Packet::new(
        PacketType::MESSAGE,
        PeerId::BROADCAST,
        siege.unix(),
        vec![1],
    )
    .unwrap();
    let inner = other.encode();
    let whole = Fragment {
        id: [9; 8],
        index: 0,
        total: 1,
        kind: PacketType::MESSAGE,
        data: &inner,
    };
    let packet = siege.packet(PacketType::FRAGMENT, &whole.encode());
    siege.send(&packet);
    assert_eq!(siege.counted(), [("bad_fragments", 5)]);

    for id in 0..1000 {
        let packet = siege.packet(PacketType::FRAGMENT, &fragment(id, 0, 2));
        siege.send(&packet);
        assert!(siege.node().queued_bytes() < 5 << 20);
    }
    siege.holds();
    siege.world.run(31);
    let counted = siege.counted();
    assert!(
        counted.contains(&("fragments_given_up", 1000)),
        "{counted:?}"
    );
    siege.holds();
}

#[test]
fn who_claims_anothers_identifier_is_refused() {
    let mut siege = Besieged::new();
    let honest = siege.world.id(1);
    let (enemy, unix) = (siege.enemy.clone(), siege.unix());
    // With a key of its own.
    let announce = Announce::new("me".to_owned(), enemy.noise_key(), enemy.verify_key());
    let payload = announce.encode().unwrap();
    let mut packet = Packet::new(PacketType::ANNOUNCE, honest, unix, payload).unwrap();
    packet.sign(&enemy);
    siege.send(&packet);
    assert_eq!(siege.counted(), [("wrong_id", 1)]);
    // With the other's Noise key, which everybody knows, and a signing key of its own.
    let key = siege.node().peer(honest).unwrap().noise_key;
    let announce = Announce::new("me".to_owned(), key, enemy.verify_key());
    let payload = announce.encode().unwrap();
    let mut packet = Packet::new(PacketType::ANNOUNCE, honest, unix, payload).unwrap();
    packet.sign(&enemy);
    siege.send(&packet);
    assert_eq!(siege.counted(), [("wrong_id", 1), ("changed_key", 1)]);
    // In a handshake, which it can finish only as itself.
    let to = siege.node().id();
    let (initiator, first) = Initiator::new(&enemy, &mut siege.rng);
    let handshake = |payload: Vec<u8>| {
        let packet = Packet::new(PacketType::HANDSHAKE, honest, unix, payload).unwrap();
        packet.to(to).to_frame()
    };
    siege.input(&handshake(first));
    let second = loop {
        let transmit = siege.node().poll_transmit().unwrap();
        let (packet, _) = Packet::decode(&transmit.bytes).unwrap();
        if packet.kind == PacketType::HANDSHAKE {
            break packet.into_payload();
        }
    };
    let (_, third) = initiator.finish(&second).unwrap();
    siege.input(&handshake(third));
    assert_eq!(siege.counted(), [("wrong_id", 2), ("changed_key", 1)]);
    siege.holds();
}

#[test]
fn what_is_old_or_of_tomorrow_is_refused() {
    let mut siege = Besieged::new();
    let unix = siege.unix();
    let mut send = |offset_ms: i64, answer: bool, kind| {
        let mut packet = siege.packet(kind, b"when");
        packet.timestamp = UnixMillis(unix.0.saturating_add_signed(offset_ms));
        packet.answer = answer;
        packet.sign(&siege.enemy.clone());
        siege.send(&packet);
    };
    // Two minutes either way are taken.
    send(-120_000, false, PacketType::MESSAGE);
    send(120_000, false, PacketType::MESSAGE);
    send(-120_001, false, PacketType::MESSAGE);
    send(120_001, false, PacketType::MESSAGE);
    // Voice is of now, and answers are for who asked.
    send(-30_001, false, PacketType::VOICE);
    send(-130_000, true, PacketType::MESSAGE);
    let texts = siege.world.publics(0);
    assert_eq!(texts, ["when", "when"]);
    assert_eq!(
        siege.counted(),
        [("expired", 1), ("clock_skew", 2), ("unasked", 1)]
    );
    siege.holds();
    // When it was asked for, an answer may be older, and still not as old as one likes.
    siege.world.run(10);
    siege.before = siege.node().counters();
    let unix = siege.unix();
    for (hours, taken) in [(5, 1), (7, 0)] {
        siege.world.take(0);
        let mut packet = siege.packet(PacketType::MESSAGE, b"then");
        packet.timestamp = UnixMillis(unix.0 - hours * 3_600_000);
        packet.answer = true;
        packet.ttl = 0;
        packet.sign(&siege.enemy.clone());
        siege.send(&packet);
        assert_eq!(siege.world.publics(0).len(), taken);
    }
    assert_eq!(siege.counted(), [("expired", 1)]);
}

#[test]
fn a_flood_from_one_link_is_cut() {
    let mut siege = Besieged::new();
    for number in 0..5000_u64 {
        let mut packet = siege.packet(PacketType(0x77), &number.to_be_bytes());
        packet.ttl = 1;
        siege.send(&packet);
    }
    let counted = siege.counted();
    let [("flooded", count)] = counted[..] else {
        panic!("{counted:?}");
    };
    assert!((2900..=3100).contains(&count), "{count}");
    siege.holds();
}

#[test]
fn handshakes_from_one_link_are_limited() {
    let mut siege = Besieged::new();
    let to = siege.node().id();
    for number in 0..100_u8 {
        let (_, first) = Initiator::new(&siege.enemy, &mut siege.rng);
        let claimed = PeerId::from_bytes([number; 8]);
        let unix = siege.unix();
        let packet = Packet::new(PacketType::HANDSHAKE, claimed, unix, first).unwrap();
        siege.send(&packet.to(to));
    }
    assert_eq!(siege.counted(), [("handshakes_limited", 70)]);
    siege.holds();
}

#[test]
fn what_is_of_no_session_and_what_is_no_handshake_is_counted() {
    let mut siege = Besieged::new();
    let to = siege.node().id();
    let packet = siege.packet(PacketType::ENCRYPTED, &[1; 40]).to(to);
    siege.send(&packet);
    for length in [5, 64, 96] {
        let packet = siege.packet(PacketType::HANDSHAKE, &vec![1; length]).to(to);
        siege.send(&packet);
    }
    // The node starts a handshake with who believes in a session, and that one's second message is bad.
    assert_eq!(siege.counted(), [("unopened", 3), ("without_session", 1)]);
    siege.holds();
}

#[test]
fn payloads_that_are_none_are_bad() {
    let mut siege = Besieged::new();
    let to = siege.node().id();
    let bad = [
        siege.signed(PacketType::ANNOUNCE, &[1]),
        siege.signed(PacketType::MESSAGE, &[0xff]),
        siege.signed(PacketType::MESSAGE, b""),
        siege.signed(PacketType::FILE, &[1]),
        siege.signed(PacketType::VOICE, &[1]),
        siege.signed(PacketType::PREKEYS, &[1]),
        siege.signed(PacketType::GROUP, &[1]),
        siege.signed(PacketType::SYNC, &[1]),
        siege.signed(PacketType::HANDSHAKE, &[1]),
        siege.signed(PacketType::ENCRYPTED, &[1]),
        {
            let mut packet = siege.packet(PacketType::COURIER, &[1]).to(to);
            packet.sign(&siege.enemy.clone());
            packet
        },
    ];
    for (number, packet) in (1..).zip(&bad) {
        siege.send(packet);
        assert_eq!(siege.counted(), [("bad_payload", number)], "{packet:?}");
    }
    siege.holds();
}

#[test]
fn sync_requests_are_answered_eight_times_in_half_a_minute() {
    let mut siege = Besieged::new();
    let request = SyncRequest {
        set: Gcs::new(&[], 400),
        types: None,
        since: None,
        fragments: vec![],
    };
    for number in 0..20 {
        let mut packet = siege.packet(PacketType::SYNC, &request.encode().unwrap());
        packet.timestamp.0 += number;
        packet.ttl = 0;
        siege.send(&packet);
    }
    assert_eq!(siege.counted(), [("sync_limited", 12)]);
    siege.holds();
}

#[test]
fn envelopes_beyond_what_is_carried_are_refused() {
    let mut siege = Besieged::new();
    let to = siege.node().id();
    for number in 0..5_u8 {
        let envelope = Envelope {
            tag: CourierTag([number; 16]),
            expiry: UnixMillis(siege.unix().0 + 3_600_000),
            sealed: vec![number; 200],
            copies: 8,
            prekey: None,
        };
        let mut packet = siege
            .packet(PacketType::COURIER, &envelope.encode().unwrap())
            .to(to);
        packet.sign(&siege.enemy.clone());
        siege.send(&packet);
    }
    // Two of a stranger.
    assert_eq!(siege.counted(), [("envelopes_refused", 3)]);
    assert_eq!(siege.node().carried(), 2);
    // One that is for this node and does not open.
    let key = siege.node().identity().noise_key();
    let envelope = Envelope {
        tag: CourierTag::new(key, fogcompute_mesh::courier::day(siege.unix())),
        expiry: UnixMillis(siege.unix().0 + 3_600_000),
        sealed: vec![9; 200],
        copies: 1,
        prekey: Some(3),
    };
    let mut packet = siege
        .packet(PacketType::COURIER, &envelope.encode().unwrap())
        .to(to);
    packet.sign(&siege.enemy.clone());
    siege.send(&packet);
    assert_eq!(siege.counted(), [("unopened", 1), ("envelopes_refused", 3)]);
    siege.holds();
}

#[test]
fn a_link_that_takes_nothing_holds_up_nobody_and_its_queue_ends() {
    let mut siege = Besieged::new();
    let config = NodeConfig::default();
    let link = siege.link;
    siege.node().set_blocked(link, true);
    for number in 0..60_u64 {
        let (now, rng) = (siege.world.now, &mut siege.world.rng);
        let mut content = vec![0; 100_000];
        rng.fill_bytes(&mut content);
        content[..8].copy_from_slice(&number.to_be_bytes());
        let file = fogcompute_mesh::file::File {
            name: None,
            mime: None,
            content,
        };
        siege.world.nodes[0].send_file(&file, now, rng).unwrap();
        siege.world.run_for(std::time::Duration::from_millis(10));
    }
    let counted = siege.counted();
    assert!(
        matches!(counted[..], [("queue_full", count)] if count > 10),
        "{counted:?}"
    );
    let most = 2 * config.queue_bytes_max + config.delayed_bytes_max;
    assert!(siege.node().queued_bytes() <= most);
    siege.holds();
}

#[test]
fn input_over_a_link_that_is_not_there_is_counted() {
    let mut siege = Besieged::new();
    let now = siege.world.now;
    siege.world.nodes[0].handle_input(LinkId(77), &[1], now, &mut siege.world.rng);
    assert_eq!(siege.counted(), [("unknown_link", 1)]);
}

#[test]
fn events_that_nobody_takes_are_lost_from_the_front() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let config = NodeConfig {
        events_max: 3,
        ..NodeConfig::default()
    };
    let now = Instant::ZERO;
    let mut node = Node::new(Identity::random(&mut rng), "n", config, BEGIN, now).unwrap();
    for text in ["1", "2", "3", "4", "5"] {
        node.send_public(text, now, &mut rng).unwrap();
    }
    assert_eq!(std::iter::from_fn(|| node.poll_event()).count(), 3);
    assert_eq!(node.counters().events_lost, 2);
}

#[test]
fn what_was_saved_in_another_way_is_refused() {
    let world = World::line(3, 2, FRAMED);
    let node = &world.nodes[0];
    let saved = node.save();
    let restore = |bytes: &[u8]| {
        let identity = node.identity().clone();
        Node::restore(identity, bytes, NodeConfig::default(), BEGIN, Instant::ZERO).map(|_| ())
    };
    assert_eq!(restore(&saved), Ok(()));
    for end in 0..saved.len() {
        assert!(matches!(
            restore(&saved[..end]),
            Err(RestoreError::Malformed(_))
        ));
    }
    let mut other = saved.to_vec();
    other[0] = 9;
    assert_eq!(
        restore(&other),
        Err(RestoreError::Version {
            actual: 9,
            known: 4
        })
    );
}

/// A node whose links bring anything.
fn bombarded(inputs: &[(u8, u8, Vec<u8>)], rng: &mut impl CryptoRng) -> Node {
    let identity = Identity::from_bytes([1; 32], [2; 32]);
    let mut now = Instant::from_millis(1_000_000);
    let mut node = Node::new(identity, "n", NodeConfig::default(), BEGIN, now).unwrap();
    node.link_up(LinkId(0), FRAMED, now);
    node.link_up(LinkId(1), LinkConfig::BLUETOOTH, now);
    let peers = [[3; 32], [4; 32]].map(|bytes| Identity::from_bytes(bytes, bytes));
    for (kind, how, payload) in inputs {
        now = now + std::time::Duration::from_millis(u64::from(*how));
        let link = LinkId(u64::from(how & 1));
        let sender = &peers[usize::from(how >> 1 & 1)];
        let unix = node.unix(now);
        let bytes = if how & 0x80 == 0 {
            payload.clone()
        } else {
            let kind = PacketType(kind % 0x32);
            let mut packet = Packet::new(kind, sender.peer_id(), unix, payload.clone()).unwrap();
            packet.ttl = how >> 2 & 7;
            packet.answer = how & 0x40 != 0;
            if how & 0x20 != 0 {
                packet.recipient = Some(node.id());
            }
            packet.sign(sender);
            packet.to_frame()
        };
        node.handle_input(link, &bytes, now, rng);
        node.handle_timeout(now, rng);
        while node.poll_transmit().is_some() {}
        while node.poll_event().is_some() {}
    }
    node
}

proptest! {
    #[test]
    fn whatever_comes_in_a_node_goes_on(
        inputs in proptest::collection::vec(
            (any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..60),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let node = bombarded(&inputs, &mut rng);
        prop_assert!(node.queued_bytes() < 1 << 20);
        let identity = Identity::from_bytes([1; 32], [2; 32]);
        let saved = node.save();
        let now = Instant::from_millis(9_000_000);
        let again = Node::restore(identity, &saved, NodeConfig::default(), BEGIN, now).unwrap();
        prop_assert_eq!(again.save(), saved);
    }
}

#[test]
fn a_responder_is_not_made_to_speak_for_another() {
    // A handshake by hand, so that the enemy is the responder of a session that the node starts.
    let mut siege = Besieged::new();
    let enemy = siege.enemy.peer_id();
    let now = siege.world.now;
    siege.world.nodes[0]
        .send_private(enemy, "for the enemy", now, &mut siege.world.rng)
        .unwrap();
    let first = loop {
        let transmit = siege.node().poll_transmit().unwrap();
        let (packet, _) = Packet::decode(&transmit.bytes).unwrap();
        if packet.kind == PacketType::HANDSHAKE {
            break packet.into_payload();
        }
    };
    let somebody = Identity::random(&mut siege.rng);
    let (_, second) = Responder::new(&somebody, &first, &mut siege.rng).unwrap();
    let to = siege.node().id();
    let packet = siege.packet(PacketType::HANDSHAKE, &second).to(to);
    siege.send(&packet);
    assert_eq!(siege.counted(), [("wrong_id", 1)]);
    assert!(!siege.node().peer(enemy).unwrap().has_session);
    siege.holds();
}
