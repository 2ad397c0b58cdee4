//! Two nodes and what can happen to the datagrams between them.

use std::net::SocketAddr;
use std::time::Duration;

use fogcompute_base::{Instant, NodeId, OsEntropy, UnixMillis};
use fogcompute_mix::{Descriptor, EpochParity, Geometry, NodeRef, PrivateKey};
use proptest::prelude::*;

use super::links::{
    ANSWER_AFTER, ATTEMPTS_MAX, GRACE, HALF_OPEN_MAX, OVERLAP, QUIET_MAX, SILENCE_MAX, SWEEP,
    UdpLinks, UdpLinksConfig, UdpLinksError, Unreachable,
};
use super::*;
use crate::identity::Identity;

const FRAME: usize = Geometry::DATAGRAM.packet_bytes();
const DATAGRAM: usize = FRAME + DATAGRAM_OVERHEAD_BYTES;
const DATE: UnixMillis = UnixMillis(1_000_000);

struct Node {
    links: UdpLinks,
    descriptor: Descriptor,
}

impl Node {
    fn new(number: u8) -> Self {
        Self::with(number, UdpLinksConfig::default())
    }

    fn with(number: u8, config: UdpLinksConfig) -> Self {
        let identity = Identity::from_bytes([number; 32]);
        Self {
            descriptor: Descriptor {
                node: identity.node(),
                key: PrivateKey::from_bytes([number; 32]).public(),
                epoch: EpochParity::Even,
                address: ([10, 0, 0, number], 7000).into(),
            },
            links: UdpLinks::new(identity, FRAME, config, &mut OsEntropy).unwrap(),
        }
    }

    fn reference(&self) -> NodeRef {
        self.descriptor.node.into()
    }

    fn knows(&mut self, others: &[&Self]) {
        let others = others.iter().map(|other| &other.descriptor);
        self.links.set_directory(others).unwrap();
    }

    fn link(
        &mut self,
        to: &Self,
        now: Instant,
    ) -> Result<Option<std::sync::Arc<UdpLink>>, Unreachable> {
        self.links.link(to.reference(), now, DATE)
    }

    /// The datagram that it sends to `to` next.
    fn sends(&mut self, to: &Self) -> Vec<u8> {
        let (address, datagram) = self.links.poll_transmit().unwrap();
        assert_eq!((address, datagram.len()), (to.descriptor.address, DATAGRAM));
        datagram
    }

    fn takes(&mut self, from: &Self, datagram: &[u8], now: Instant) -> Result<(), Refusal> {
        self.links
            .handle_input(from.descriptor.address, datagram, now)
    }

    fn opens(&mut self, datagram: &[u8], now: Instant) -> Result<Vec<u8>, Refusal> {
        let mut frame = vec![0; FRAME];
        self.links.open(datagram, &mut frame, now).map(|_| frame)
    }
}

/// Two nodes that know each other.
fn strangers() -> (Node, Node) {
    let (mut alice, mut bob) = (Node::new(1), Node::new(2));
    alice.knows(&[&bob]);
    bob.knows(&[&alice]);
    (alice, bob)
}

/// Makes a link that `one` begins and, with a first frame, confirms.
fn connect(one: &mut Node, other: &mut Node, now: Instant) -> std::sync::Arc<UdpLink> {
    assert!(one.link(other, now).unwrap().is_none());
    exchange(one, other, now);
    let link = one.link(other, now).unwrap().unwrap();
    other.opens(&sealed(&link, 1, now), now).unwrap();
    link
}

/// Carries an initiation and its answer.
fn exchange(one: &mut Node, other: &mut Node, now: Instant) {
    let initiation = one.sends(other);
    other.takes(one, &initiation, now).unwrap();
    let response = other.sends(one);
    one.takes(other, &response, now).unwrap();
}

fn sealed(link: &UdpLink, byte: u8, now: Instant) -> Vec<u8> {
    let mut datagram = vec![0; DATAGRAM];
    link.seal(3, &[byte; FRAME], &mut datagram, now).unwrap();
    datagram
}

fn seconds(seconds: u64) -> Instant {
    Instant::from_millis(1000 * seconds)
}

fn after(start: Instant, time: Duration) -> Instant {
    start + time + Duration::from_millis(1)
}

#[test]
fn a_link_carries_frames_both_ways_once_both_have_shown_their_keys() {
    let now = seconds(1);
    let (mut alice, mut bob) = strangers();
    assert!(alice.link(&bob, now).unwrap().is_none());
    let initiation = alice.sends(&bob);
    bob.takes(&alice, &initiation, now).unwrap();
    // Whoever sent that may only have recorded it: bob says nothing on this link and begins his own.
    let response = bob.sends(&alice);
    assert!(bob.links.table().link_to(alice.reference()).is_none());
    assert!(bob.link(&alice, now).unwrap().is_none());
    bob.sends(&alice);
    alice.takes(&bob, &response, now).unwrap();
    let link = alice.link(&bob, now).unwrap().unwrap();
    assert_eq!(
        (link.peer(), link.address()),
        (bob.descriptor.node, bob.descriptor.address)
    );
    assert_eq!(bob.opens(&sealed(&link, 7, now), now), Ok(vec![7; FRAME]));
    let back = bob.link(&alice, now).unwrap().unwrap();
    assert_eq!(back.peer(), alice.descriptor.node);
    assert_eq!(alice.opens(&sealed(&back, 8, now), now), Ok(vec![8; FRAME]));
    // The tables of both lead to the same.
    let table = bob.links.table();
    let datagram = sealed(&link, 9, now);
    assert_eq!(table.link_of(&datagram).unwrap().index(), back.index());
    assert_eq!(
        table.link_to(alice.reference()).unwrap().index(),
        back.index()
    );
}

#[test]
fn a_frame_of_zeros_is_cover() {
    let now = seconds(1);
    let (mut alice, mut bob) = strangers();
    let link = connect(&mut alice, &mut bob, now);
    let (mut frame, cover) = (vec![1; FRAME], sealed(&link, 0, now));
    assert_eq!(bob.links.open(&cover, &mut frame, now), Ok(Opened::Cover));
    let packet = sealed(&link, 0x11, now);
    assert_eq!(bob.links.open(&packet, &mut frame, now), Ok(Opened::Frame));
}

#[test]
fn initiations_are_sent_again_less_and_less_often_until_the_peer_counts_as_silent() {
    let (mut alice, bob) = strangers();
    let mut now = seconds(1);
    assert!(alice.link(&bob, now).unwrap().is_none());
    let mut waits = Vec::new();
    let mut seen = vec![alice.sends(&bob)];
    while let Some(due) = alice.links.poll_timeout() {
        // Asking again does not hurry it.
        match alice.link(&bob, now) {
            Ok(link) => assert!(link.is_none()),
            Err(_) => break,
        }
        waits.push(due.duration_since(now).as_millis());
        now = due;
        alice.links.handle_timeout(now, DATE);
        if let Some((_, datagram)) = alice.links.poll_transmit() {
            assert!(!seen.contains(&datagram));
            seen.push(datagram);
        }
    }
    assert_eq!(seen.len(), ATTEMPTS_MAX as usize);
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 4000, 4000, 4000, 4000]);
    let node = bob.reference();
    assert!(
        matches!(alice.link(&bob, now), Err(Unreachable::Silent { node: silent }) if silent == node)
    );
    now = after(now, UdpLinksConfig::default().redial_after);
    assert!(alice.link(&bob, now).unwrap().is_none());
    alice.sends(&bob);
}

#[test]
fn a_late_answer_to_an_earlier_initiation_is_refused_and_that_to_the_last_is_taken() {
    let (mut alice, mut bob) = strangers();
    let mut now = seconds(1);
    assert!(alice.link(&bob, now).unwrap().is_none());
    let first = alice.sends(&bob);
    now = alice.links.poll_timeout().unwrap();
    alice.links.handle_timeout(now, DATE);
    let second = alice.sends(&bob);
    bob.takes(&alice, &first, now).unwrap();
    let early = bob.sends(&alice);
    bob.takes(&alice, &second, now).unwrap();
    let last = bob.sends(&alice);
    assert_eq!(alice.takes(&bob, &early, now), Err(Refusal::Index));
    assert_eq!(alice.takes(&bob, &last, now), Ok(()));
    assert_eq!(alice.takes(&bob, &last, now), Err(Refusal::Index));
    let link = alice.link(&bob, now).unwrap().unwrap();
    assert!(bob.opens(&sealed(&link, 1, now), now).is_ok());
}

#[test]
fn nodes_outside_the_directory_are_not_dialled_but_answered_on_their_link() {
    let now = seconds(1);
    let (mut alice, mut bob) = (Node::new(1), Node::new(2));
    let node = bob.reference();
    assert!(
        matches!(alice.link(&bob, now), Err(Unreachable::Unknown { node: unknown }) if unknown == node)
    );
    alice.knows(&[&bob]);
    connect(&mut alice, &mut bob, now);
    let back = bob.link(&alice, now).unwrap().unwrap();
    assert_eq!(alice.opens(&sealed(&back, 5, now), now), Ok(vec![5; FRAME]));
}

#[test]
fn whoever_has_not_the_key_gets_no_link() {
    let now = seconds(1);
    let (mut alice, mut bob) = (Node::new(1), Node::new(2));
    // Alice is told that carol is where bob is.
    let carol = Node {
        descriptor: Descriptor {
            address: bob.descriptor.address,
            ..Node::new(3).descriptor
        },
        ..Node::new(3)
    };
    alice.knows(&[&carol]);
    assert!(alice.link(&carol, now).unwrap().is_none());
    let initiation = alice.sends(&bob);
    assert_eq!(bob.takes(&alice, &initiation, now), Err(Refusal::Forged));
    assert!(bob.links.poll_transmit().is_none());
    // Bob answers all the same, by an answer to somebody else with alice's index put in.
    let mut dave = Node::new(4);
    dave.knows(&[&bob]);
    assert!(dave.link(&bob, now).unwrap().is_none());
    let other = dave.sends(&bob);
    bob.takes(&dave, &other, now).unwrap();
    let (_, mut response) = bob.links.poll_transmit().unwrap();
    for slot in 0..=u16::MAX {
        response[1..3].copy_from_slice(&slot.to_be_bytes());
        assert!(alice.takes(&bob, &response, now).is_err());
    }
    assert!(alice.link(&carol, now).unwrap().is_none());
}

#[test]
fn a_datagram_is_opened_once_and_not_in_the_other_direction() {
    let now = seconds(1);
    let (mut alice, mut bob) = strangers();
    let link = connect(&mut alice, &mut bob, now);
    let (first, second) = (sealed(&link, 1, now), sealed(&link, 2, now));
    assert!(bob.opens(&second, now).is_ok() && bob.opens(&first, now).is_ok());
    assert_eq!(bob.opens(&first, now), Err(Refusal::Replayed));
    assert_eq!(bob.opens(&second, now), Err(Refusal::Replayed));
    let back = bob.link(&alice, now).unwrap().unwrap();
    let mut frame = vec![0; FRAME];
    assert!(link.open(&first, &mut frame, now).is_err());
    let mut turned = first;
    turned[1..5].copy_from_slice(&link.index().to_be_bytes());
    assert_eq!(link.open(&turned, &mut frame, now), Err(Refusal::Forged));
    assert_ne!(back.peer(), link.peer());
}

#[test]
fn a_replayed_initiation_changes_nothing() {
    let now = seconds(1);
    let (mut alice, mut bob) = strangers();
    assert!(alice.link(&bob, now).unwrap().is_none());
    let initiation = alice.sends(&bob);
    bob.takes(&alice, &initiation, now).unwrap();
    let response = bob.sends(&alice);
    assert_eq!(bob.takes(&alice, &initiation, now), Err(Refusal::Replayed));
    assert!(bob.links.poll_transmit().is_none());
    alice.takes(&bob, &response, now).unwrap();
    let link = alice.link(&bob, now).unwrap().unwrap();
    assert!(bob.opens(&sealed(&link, 1, now), now).is_ok());
    // After a restart the stamp is forgotten: an answer goes out, and no link is ever used.
    let mut again = Node::new(2);
    again.knows(&[&alice]);
    again.takes(&alice, &initiation, now).unwrap();
    again.sends(&alice);
    assert!(again.links.table().link_to(alice.reference()).is_none());
    again.links.handle_timeout(now + SWEEP, DATE);
    again.links.handle_timeout(after(now, HALF_OPEN_MAX), DATE);
    assert!(
        again
            .links
            .table()
            .link_of(&sealed(&link, 1, now))
            .is_none()
    );
    assert_eq!(again.links.poll_timeout(), None);
}

#[test]
fn garbage_of_every_length_is_refused() {
    let now = seconds(1);
    let (mut alice, mut bob) = strangers();
    let link = connect(&mut alice, &mut bob, now);
    let back = bob.link(&alice, now).unwrap().unwrap();
    let version = bob.links.version();
    for length in (0..DATAGRAM + 100).chain([DATAGRAM_BYTES_MAX]) {
        for kind in [0, 0x10, 0x11, 0x12, 0x13, 0x14, 0xff] {
            let mut garbage = vec![0xA5; length];
            if let Some(first) = garbage.first_mut() {
                *first = kind;
            }
            if length > 5 {
                garbage[1..5].copy_from_slice(&back.index().to_be_bytes());
            }
            let expected = if length == DATAGRAM {
                None
            } else {
                Some(Refusal::Length)
            };
            let refusals = [
                bob.takes(&alice, &garbage, now).err(),
                bob.opens(&garbage, now).err(),
            ];
            for refusal in refusals {
                assert!(refusal.is_some() && (expected.is_none() || refusal == expected));
            }
            let _ = bob.links.table().link_of(&garbage);
            // Whatever room the caller gives.
            let mut frame = vec![0; length.saturating_sub(26)];
            assert!(link.open(&garbage, &mut frame, now).is_err());
        }
    }
    assert_eq!(bob.links.version(), version);
    assert!(bob.links.poll_transmit().is_none());
}

#[test]
fn every_bit_of_data_counts() {
    let now = seconds(1);
    let (mut alice, mut bob) = strangers();
    let link = connect(&mut alice, &mut bob, now);
    let mut datagram = sealed(&link, 1, now);
    for bit in 0..8 * DATAGRAM {
        datagram[bit / 8] ^= 1 << (bit % 8);
        assert!(bob.opens(&datagram, now).is_err(), "bit {bit}");
        datagram[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(bob.opens(&datagram, now).is_ok());
}

#[test]
fn every_byte_of_a_handshake_counts_and_a_forged_answer_does_not_end_it() {
    let config = UdpLinksConfig {
        handshakes_per_second_max: 1_000_000,
        ..UdpLinksConfig::default()
    };
    let now = seconds(1);
    let (mut alice, mut bob) = (Node::new(1), Node::with(2, config));
    alice.knows(&[&bob]);
    assert!(alice.link(&bob, now).unwrap().is_none());
    let mut initiation = alice.sends(&bob);
    let key = super::handshake::greeting_key(bob.descriptor.node);
    for at in 0..DATAGRAM {
        initiation[at] ^= 1;
        assert!(bob.takes(&alice, &initiation, now).is_err(), "byte {at}");
        if at % 50 == 1 && at < DATAGRAM - 16 {
            // By somebody who knows bob's public key, as all do.
            let mut greeted = initiation.clone();
            super::handshake::greet(&key, &mut greeted);
            assert_eq!(
                bob.takes(&alice, &greeted, now),
                Err(Refusal::Forged),
                "byte {at}"
            );
        }
        initiation[at] ^= 1;
    }
    bob.takes(&alice, &initiation, now).unwrap();
    let (_, mut response) = bob.links.poll_transmit().unwrap();
    for at in (0..40).chain((40..DATAGRAM).step_by(50)) {
        response[at] ^= 1;
        assert!(alice.takes(&bob, &response, now).is_err(), "byte {at}");
        response[at] ^= 1;
    }
    alice.takes(&bob, &response, now).unwrap();
}

#[test]
fn a_place_in_the_table_that_is_used_again_has_another_index() {
    let now = seconds(1);
    let (mut alice, mut bob) = strangers();
    let link = connect(&mut alice, &mut bob, now);
    let late = sealed(&link, 1, now);
    let before = bob.links.table().link_of(&late).unwrap().index();
    bob.knows(&[]);
    assert!(bob.links.table().link_of(&late).is_none());
    let mut carol = Node::new(3);
    carol.knows(&[&bob]);
    connect(&mut carol, &mut bob, now);
    let index = bob.link(&carol, now).unwrap().unwrap().index();
    assert_eq!(index & 0xffff, before & 0xffff);
    assert_eq!(bob.opens(&late, now), Err(Refusal::Index));
}

#[test]
fn an_old_link_is_replaced_while_it_still_works() {
    let start = seconds(1);
    let (mut alice, mut bob) = strangers();
    let old = connect(&mut alice, &mut bob, start);
    let now = after(start, UdpLinksConfig::default().renew_after);
    // Only if it is used.
    alice.links.handle_timeout(now, DATE);
    assert!(alice.links.poll_transmit().is_none());
    let back = bob.link(&alice, start).unwrap().unwrap();
    bob.opens(&sealed(&old, 1, now), now).unwrap();
    alice.opens(&sealed(&back, 1, now), now).unwrap();
    for node in [&mut alice, &mut bob] {
        node.links.handle_timeout(now + SWEEP, DATE);
    }
    // The one that began the old one begins the new one, the other waits.
    assert!(bob.links.poll_transmit().is_none());
    let now = now + SWEEP;
    let on_its_way = sealed(&old, 1, now);
    exchange(&mut alice, &mut bob, now);
    let new = alice.link(&bob, now).unwrap().unwrap();
    assert_ne!(new.index(), old.index());
    // Until the new one is confirmed bob sends on the old one, then on the new one.
    assert_eq!(
        bob.link(&alice, now).unwrap().unwrap().index(),
        back.index()
    );
    bob.opens(&sealed(&new, 1, now), now).unwrap();
    assert_ne!(
        bob.link(&alice, now).unwrap().unwrap().index(),
        back.index()
    );
    assert!(bob.opens(&on_its_way, now).is_ok());
    let later = after(now, OVERLAP);
    bob.links.handle_timeout(later, DATE);
    assert_eq!(bob.opens(&sealed(&old, 1, now), later), Err(Refusal::Index));
    assert!(bob.opens(&sealed(&new, 1, now), later).is_ok());
}

#[test]
fn a_link_that_nobody_renews_ends() {
    let start = seconds(1);
    let (mut alice, mut bob) = strangers();
    let link = connect(&mut alice, &mut bob, start);
    let end = after(start, UdpLinksConfig::default().renew_after + GRACE);
    bob.links.handle_timeout(end, DATE);
    assert_eq!(bob.opens(&sealed(&link, 1, end), end), Err(Refusal::Index));
    assert_eq!(bob.links.poll_timeout(), None);
}

#[test]
fn a_lane_at_its_end_sends_no_more_and_long_before_there_is_a_new_link() {
    let now = seconds(1);
    let (mut alice, mut bob) = strangers();
    let link = connect(&mut alice, &mut bob, now);
    link.set_count(3, (1 << 32) - 1);
    let last = sealed(&link, 1, now);
    assert!(bob.opens(&last, now).is_ok());
    let mut datagram = vec![0; DATAGRAM];
    let peer = bob.descriptor.node;
    for _ in 0..2 {
        let sealed = link.seal(3, &[1; FRAME], &mut datagram, now);
        assert_eq!(sealed, Err(LinkExhausted { peer }));
    }
    assert!(link.seal(4, &[1; FRAME], &mut datagram, now).is_ok());
    assert!(bob.opens(&datagram, now).is_ok());
    alice.links.handle_timeout(after(now, SWEEP), DATE);
    exchange(&mut alice, &mut bob, now);
    assert_ne!(
        alice.link(&bob, now).unwrap().unwrap().index(),
        link.index()
    );
}

#[test]
fn a_peer_over_its_rate_is_refused_until_time_has_passed() {
    let now = seconds(1);
    let config = UdpLinksConfig {
        link_packets_per_second_max: 10,
        link_burst_packets_max: 3,
        ..UdpLinksConfig::default()
    };
    let (mut alice, mut bob) = (Node::new(1), Node::with(2, config));
    alice.knows(&[&bob]);
    let link = connect(&mut alice, &mut bob, now);
    assert!(bob.opens(&sealed(&link, 1, now), now).is_ok());
    let third = sealed(&link, 1, now);
    assert!(bob.opens(&third, now).is_ok());
    assert_eq!(
        bob.opens(&sealed(&link, 1, now), now),
        Err(Refusal::OverRate)
    );
    // A replay is none of the peer's doing and takes nothing of its rate.
    let later = after(now, Duration::from_millis(100));
    assert_eq!(bob.opens(&third, later), Err(Refusal::Replayed));
    assert!(bob.opens(&sealed(&link, 1, later), later).is_ok());
}

#[test]
fn handshakes_over_the_rate_are_refused() {
    let now = seconds(1);
    let config = UdpLinksConfig {
        handshakes_per_second_max: 20,
        ..UdpLinksConfig::default()
    };
    let mut bob = Node::with(100, config);
    let mut answered = 0;
    for number in 1..=30 {
        let mut peer = Node::new(number);
        peer.knows(&[&bob]);
        assert!(peer.link(&bob, now).unwrap().is_none());
        let initiation = peer.sends(&bob);
        match bob.takes(&peer, &initiation, now) {
            Ok(()) => answered += 1,
            Err(refusal) => assert_eq!(refusal, Refusal::OverRate),
        }
    }
    assert_eq!(answered, 20);
    assert_eq!(
        std::iter::from_fn(|| bob.links.poll_transmit()).count(),
        answered
    );
}

/// A node that asks for tokens, because many initiations have come from invented addresses.
fn crowded(now: Instant) -> Node {
    let config = UdpLinksConfig {
        handshakes_per_second_unproven_max: 1,
        ..UdpLinksConfig::default()
    };
    let mut bob = Node::with(2, config);
    let key = super::handshake::greeting_key(bob.descriptor.node);
    let (mut worked_on, version) = (0, bob.links.version());
    for number in 0..3000_u16 {
        // Whoever reads more of it than the greeting finds that it does not verify.
        let mut garbage = vec![0xA5; DATAGRAM];
        garbage[0] = 0x11;
        super::handshake::greet(&key, &mut garbage);
        let [high, low] = number.to_be_bytes();
        let from = ([198, 51, high, low], 7000).into();
        match bob.links.handle_input(from, &garbage, now) {
            Err(Refusal::Forged) => worked_on += 1,
            refused => {
                assert_eq!(refused, Err(Refusal::Unproven));
                let (to, retry) = bob.links.poll_transmit().unwrap();
                assert_eq!((to, retry.len()), (from, DATAGRAM));
            }
        }
        assert!(bob.links.poll_transmit().is_none());
    }
    assert_eq!(worked_on, 16);
    // Of all that nothing is kept.
    assert_eq!(
        (bob.links.version(), bob.links.poll_timeout()),
        (version, None)
    );
    bob
}

#[test]
fn a_flood_from_invented_addresses_keeps_nobody_out_who_gets_its_token() {
    let now = seconds(1);
    let (mut alice, mut bob) = (Node::new(1), crowded(now));
    alice.knows(&[&bob]);
    assert!(alice.link(&bob, now).unwrap().is_none());
    let first = alice.sends(&bob);
    assert_eq!(bob.takes(&alice, &first, now), Err(Refusal::Unproven));
    let retry = bob.sends(&alice);
    alice.takes(&bob, &retry, now).unwrap();
    exchange(&mut alice, &mut bob, now);
    let link = alice.link(&bob, now).unwrap().unwrap();
    assert!(bob.opens(&sealed(&link, 1, now), now).is_ok());
    // The same initiation from where its token is not from.
    let mut carol = Node::new(3);
    carol.knows(&[&bob]);
    assert!(carol.link(&bob, now).unwrap().is_none());
    let first = carol.sends(&bob);
    assert_eq!(bob.takes(&carol, &first, now), Err(Refusal::Unproven));
    let retry = bob.sends(&carol);
    carol.takes(&bob, &retry, now).unwrap();
    let second = carol.sends(&bob);
    assert_eq!(bob.takes(&alice, &second, now), Err(Refusal::Unproven));
    bob.sends(&alice);
    bob.takes(&carol, &second, now).unwrap();
}

#[test]
fn a_retry_counts_once_and_only_from_who_has_seen_the_initiation() {
    let now = seconds(1);
    let (mut alice, mut bob) = (Node::new(1), crowded(now));
    alice.knows(&[&bob]);
    assert!(alice.link(&bob, now).unwrap().is_none());
    let first = alice.sends(&bob);
    bob.takes(&alice, &first, now).unwrap_err();
    let mut retry = bob.sends(&alice);
    for at in 0..37 {
        retry[at] ^= 1;
        assert!(alice.takes(&bob, &retry, now).is_err(), "byte {at}");
        retry[at] ^= 1;
    }
    // One for another initiation.
    let mut other = Node::new(1);
    other.knows(&[&bob]);
    assert!(other.link(&bob, now).unwrap().is_none());
    let foreign = other.sends(&bob);
    bob.takes(&other, &foreign, now).unwrap_err();
    let mut foreign = bob.sends(&other);
    foreign[1..5].copy_from_slice(&retry[1..5]);
    assert_eq!(alice.takes(&bob, &foreign, now), Err(Refusal::Forged));
    assert!(alice.links.poll_transmit().is_none());
    alice.takes(&bob, &retry, now).unwrap();
    assert_ne!(alice.sends(&bob), first);
    // Again it proves nothing, for the initiation is another one now.
    assert_eq!(alice.takes(&bob, &retry, now), Err(Refusal::Forged));
    // The next attempt has the token from the start. Bob restarts and knows it no more: his retry
    // waits for the attempt after that, so that the two never send in a circle.
    let due = alice.links.poll_timeout().unwrap();
    alice.links.handle_timeout(due, DATE);
    let next = alice.sends(&bob);
    let mut bob = crowded(due);
    assert_eq!(bob.takes(&alice, &next, due), Err(Refusal::Unproven));
    let retry = bob.sends(&alice);
    alice.takes(&bob, &retry, due).unwrap();
    assert!(alice.links.poll_transmit().is_none());
    let due = alice.links.poll_timeout().unwrap();
    alice.links.handle_timeout(due, DATE);
    exchange(&mut alice, &mut bob, due);
}

#[test]
fn strangers_have_so_many_places_and_nodes_of_the_directory_their_own() {
    let now = seconds(1);
    let config = UdpLinksConfig {
        strangers_max: 2,
        half_open_max: 2,
        ..UdpLinksConfig::default()
    };
    let (mut bob, mut friend) = (Node::with(100, config), Node::new(101));
    bob.knows(&[&friend]);
    friend.knows(&[&bob]);
    let mut peers: Vec<_> = (1..=3).map(Node::new).collect();
    for peer in &mut peers {
        peer.knows(&[&bob]);
        assert!(peer.link(&bob, now).unwrap().is_none());
        exchange(peer, &mut bob, now);
    }
    // One of the first two, of which nothing has come yet, made room for the third.
    let links: Vec<_> = peers
        .iter_mut()
        .map(|peer| peer.link(&bob, now).unwrap().unwrap())
        .collect();
    let opened = links
        .iter()
        .filter(|link| bob.opens(&sealed(link, 1, now), now).is_ok())
        .count();
    assert_eq!(opened, 2);
    // Now both have shown their keys, and there is no room.
    let mut late = Node::new(4);
    late.knows(&[&bob]);
    assert!(late.link(&bob, now).unwrap().is_none());
    let initiation = late.sends(&bob);
    assert_eq!(bob.takes(&late, &initiation, now), Err(Refusal::Full));
    connect(&mut friend, &mut bob, now);
}

/// A node with room for four strangers, and a way to be one of them at an address.
struct Popular {
    node: Node,
    made: u8,
}

impl Popular {
    fn new() -> Self {
        let config = UdpLinksConfig {
            strangers_max: 4,
            ..UdpLinksConfig::default()
        };
        Self {
            node: Node::with(100, config),
            made: 0,
        }
    }

    /// The peer's link when its handshake is through, of which nothing has come yet.
    fn meet(&mut self, ip: &str, now: Instant) -> Result<std::sync::Arc<UdpLink>, Refusal> {
        self.made += 1;
        let mut peer = Node::new(self.made);
        peer.descriptor.address = (ip.parse::<std::net::IpAddr>().unwrap(), 7000).into();
        peer.knows(&[&self.node]);
        assert!(peer.link(&self.node, now).unwrap().is_none());
        let initiation = peer.sends(&self.node);
        self.node.takes(&peer, &initiation, now)?;
        let response = self.node.sends(&peer);
        peer.takes(&self.node, &response, now).unwrap();
        Ok(peer.link(&self.node, now).unwrap().unwrap())
    }

    fn hears(&mut self, link: &UdpLink, now: Instant) -> Result<(), Refusal> {
        self.node.opens(&sealed(link, 1, now), now).map(drop)
    }

    fn join(&mut self, ip: &str, now: Instant) -> Result<std::sync::Arc<UdpLink>, Refusal> {
        let link = self.meet(ip, now)?;
        self.hears(&link, now)?;
        Ok(link)
    }

    fn refusal(&mut self, ip: &str, now: Instant) -> Option<Refusal> {
        self.join(ip, now).err()
    }
}

#[test]
fn one_network_with_all_places_for_strangers_makes_room_for_others() {
    // One address had all of them for more than an hour with invented identities.
    let mut bob = Popular::new();
    let crowd: Vec<_> = (1..=4)
        .map(|second| bob.join("203.0.113.9", seconds(second)).unwrap())
        .collect();
    // All but the third go on sending.
    let now = seconds(10);
    for at in [0, 1, 3] {
        bob.hears(&crowd[at], now).unwrap();
    }
    let first = bob.join("198.51.100.1", now).unwrap();
    assert_eq!(bob.hears(&crowd[2], now), Err(Refusal::Index));
    let second = bob.join("192.0.2.1", now).unwrap();
    let left = [0, 1, 3].map(|at| bob.hears(&crowd[at], now).is_ok());
    assert_eq!(left.iter().filter(|left| **left).count(), 2);
    // Nobody has more than one more than the next would have.
    assert_eq!(bob.refusal("203.0.113.9", now), Some(Refusal::Full));
    assert_eq!(bob.refusal("192.0.2.1", now), Some(Refusal::Full));
    assert_eq!(bob.refusal("100.64.0.1", now), None);
    assert_eq!(bob.refusal("100.64.1.1", now), Some(Refusal::Full));
    for link in [first, second] {
        bob.hears(&link, now).unwrap();
    }
}

#[test]
fn many_addresses_of_one_provider_count_as_one_network_when_each_has_few_places() {
    for (crowd, next) in [
        (["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"], "10.0.1.1"),
        (
            [
                "2001:db8::1",
                "2001:db8:0:1::1",
                "2001:db8:0:2::1",
                "2001:db8:0:3::1",
            ],
            "2001:db8:1::1",
        ),
    ] {
        let mut bob = Popular::new();
        let links = crowd.map(|ip| bob.join(ip, seconds(1)).unwrap());
        bob.join(next, seconds(2)).unwrap();
        let left = links
            .iter()
            .filter(|link| bob.hears(link, seconds(2)).is_ok());
        assert_eq!(left.count(), 3);
    }
}

#[test]
fn who_was_quiet_for_minutes_gives_way_to_anybody_and_who_was_not_does_not() {
    let mut bob = Popular::new();
    let ip = "203.0.113.9";
    let links: Vec<_> = (1..=4)
        .map(|at| bob.join(ip, seconds(at)).unwrap())
        .collect();
    let now = seconds(1) + QUIET_MAX;
    let before = seconds(0) + QUIET_MAX;
    assert_eq!(bob.refusal(ip, before), Some(Refusal::Full));
    bob.join(ip, now).unwrap();
    let left: Vec<_> = links
        .iter()
        .map(|link| bob.hears(link, now).is_ok())
        .collect();
    assert_eq!(left, [false, true, true, true]);
}

#[test]
fn nobody_gives_way_to_who_has_only_sent_initiations() {
    let now = seconds(1);
    let mut bob = Popular::new();
    let links: Vec<_> = (0..4)
        .map(|_| bob.join("203.0.113.9", now).unwrap())
        .collect();
    // Anybody can send those from invented addresses, and they do not keep each other out.
    let met: Vec<_> = (1..=9)
        .map(|network| bob.meet(&format!("198.51.{network}.1"), now).unwrap())
        .collect();
    for link in &links {
        bob.hears(link, now).unwrap();
    }
    // As many as have their share; what is left of the others' links ends when they send on them.
    for link in &met {
        bob.hears(link, now).unwrap();
    }
    let sent: Vec<_> = met
        .iter()
        .map(|link| bob.hears(link, now).is_ok())
        .collect();
    assert_eq!(sent.iter().filter(|sent| **sent).count(), 3);
    let left = links.iter().filter(|link| bob.hears(link, now).is_ok());
    assert_eq!(left.count(), 1);
    assert_eq!(
        bob.node
            .links
            .table()
            .link_of(&sealed(&met[8], 1, now))
            .map(drop),
        None
    );
}

#[test]
fn half_open_links_are_few_and_the_oldest_gives_way() {
    let config = UdpLinksConfig {
        half_open_max: 2,
        ..UdpLinksConfig::default()
    };
    let mut bob = Node::with(100, config);
    let mut links = Vec::new();
    for number in 1..=4 {
        let now = seconds(u64::from(number));
        let mut peer = Node::new(number);
        peer.knows(&[&bob]);
        assert!(peer.link(&bob, now).unwrap().is_none());
        exchange(&mut peer, &mut bob, now);
        links.push(peer.link(&bob, now).unwrap().unwrap());
    }
    let now = seconds(5);
    let opened = links
        .iter()
        .map(|link| bob.opens(&sealed(link, 1, now), now).is_ok());
    assert_eq!(opened.collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn who_only_receives_sends_cover_and_a_peer_that_does_not_is_called_again() {
    let start = seconds(1);
    let (mut alice, mut bob) = strangers();
    let link = connect(&mut alice, &mut bob, start);
    // Alice sends on and on, bob has nothing to say.
    let now = after(start, ANSWER_AFTER);
    bob.opens(&sealed(&link, 1, now), now).unwrap();
    bob.links.handle_timeout(now, DATE);
    let cover = bob.sends(&alice);
    let mut frame = vec![1; FRAME];
    assert_eq!(alice.links.open(&cover, &mut frame, now), Ok(Opened::Cover));
    bob.links.handle_timeout(now + SWEEP, DATE);
    assert!(bob.links.poll_transmit().is_none());
    // A pause is no silence, for nobody was spoken to.
    let now = after(now, 2 * SILENCE_MAX);
    let first = sealed(&link, 1, now);
    alice.links.handle_timeout(now, DATE);
    assert!(alice.links.poll_transmit().is_none() && bob.opens(&first, now).is_ok());
    // Bob restarts.
    let mut bob = Node::new(2);
    bob.knows(&[&alice]);
    let now = after(now, SILENCE_MAX);
    assert_eq!(bob.opens(&sealed(&link, 1, now), now), Err(Refusal::Index));
    alice.links.handle_timeout(now, DATE);
    exchange(&mut alice, &mut bob, now);
    let link = alice.link(&bob, now).unwrap().unwrap();
    assert!(bob.opens(&sealed(&link, 1, now), now).is_ok());
}

#[test]
fn a_node_that_moves_or_leaves_loses_its_links() {
    let now = seconds(1);
    let (mut alice, mut bob) = strangers();
    let link = connect(&mut alice, &mut bob, now);
    alice.knows(&[&bob]);
    assert_eq!(
        alice.link(&bob, now).unwrap().unwrap().index(),
        link.index()
    );
    bob.descriptor.address.set_port(7001);
    alice.knows(&[&bob]);
    assert!(alice.link(&bob, now).unwrap().is_none());
    alice.sends(&bob);
    alice.knows(&[]);
    assert!(alice.link(&bob, now).is_err());
    assert_eq!(
        alice
            .links
            .poll_timeout()
            .map(|_| alice.links.poll_transmit()),
        Some(None)
    );
}

#[test]
fn a_node_that_looks_like_one_of_the_directory_gets_none_of_its_packets() {
    let now = seconds(1);
    let (mut alice, mut bob) = (Node::new(1), Node::new(2));
    alice.knows(&[&bob]);
    connect(&mut alice, &mut bob, now);
    assert!(bob.links.table().link_to(alice.reference()).is_some());
    let mut real = *alice.descriptor.node.as_bytes();
    real[31] ^= 1;
    let real = Descriptor {
        node: NodeId::from_bytes(real),
        ..alice.descriptor
    };
    bob.links.set_directory([&real]).unwrap();
    assert!(bob.links.table().link_to(alice.reference()).is_none());
}

#[test]
fn a_node_can_have_a_link_to_itself() {
    let now = seconds(1);
    let mut alice = Node::new(1);
    let own = Node::new(1);
    alice.knows(&[&own]);
    assert!(alice.link(&own, now).unwrap().is_none());
    let initiation = alice.sends(&own);
    alice.takes(&own, &initiation, now).unwrap();
    let response = alice.sends(&own);
    alice.takes(&own, &response, now).unwrap();
    let link = alice.link(&own, now).unwrap().unwrap();
    assert_eq!(alice.opens(&sealed(&link, 6, now), now), Ok(vec![6; FRAME]));
}

#[test]
fn frames_that_do_not_fit_are_refused() {
    let make = |bytes| {
        let identity = Identity::from_bytes([1; 32]);
        UdpLinks::new(identity, bytes, UdpLinksConfig::default(), &mut OsEntropy)
    };
    let (min, max) = (119, 65_481);
    for actual in [0, min - 1, max + 1, usize::MAX] {
        assert_eq!(
            make(actual).err(),
            Some(UdpLinksError::FrameBytes { actual, min, max })
        );
    }
    for bytes in [min, max] {
        // The shortest and the longest really work.
        let mut alice = make(bytes).unwrap();
        let bob = Identity::from_bytes([2; 32]);
        let address: SocketAddr = ([10, 0, 0, 2], 7).into();
        let descriptor = Descriptor {
            node: bob.node(),
            address,
            ..Node::new(2).descriptor
        };
        alice.set_directory([&descriptor]).unwrap();
        let mut bob = UdpLinks::new(bob, bytes, UdpLinksConfig::default(), &mut OsEntropy).unwrap();
        let now = seconds(1);
        assert!(
            alice
                .link(descriptor.node.into(), now, DATE)
                .unwrap()
                .is_none()
        );
        let (_, initiation) = alice.poll_transmit().unwrap();
        bob.handle_input(address, &initiation, now).unwrap();
        let (_, response) = bob.poll_transmit().unwrap();
        alice.handle_input(address, &response, now).unwrap();
        let link = alice
            .link(descriptor.node.into(), now, DATE)
            .unwrap()
            .unwrap();
        let (frame, mut opened) = (vec![9; bytes], vec![0; bytes]);
        let mut datagram = vec![0; bob.datagram_bytes()];
        link.seal(0, &frame, &mut datagram, now).unwrap();
        assert_eq!(bob.open(&datagram, &mut opened, now), Ok(Opened::Frame));
        assert_eq!((opened == frame, datagram.len()), (true, bytes + 26));
    }
}

/// What a network does with a datagram.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrive,
    Lose,
    Twice,
    /// Arrives after what is sent later.
    Late,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Arrive),
        3 => Just(Fate::Lose),
        1 => Just(Fate::Twice),
        2 => Just(Fate::Late),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is lost, doubled or late, and whoever begins: as soon as datagrams arrive again both
    /// have a link, and on it every frame is opened exactly once.
    #[test]
    fn handshakes_survive_the_network(
        both in any::<bool>(),
        fates in proptest::collection::vec(fate(), 0..12),
    ) {
        let (alice, bob) = strangers();
        let mut nodes = [alice, bob];
        let addresses = nodes.each_ref().map(|node| node.descriptor.address);
        let references = nodes.each_ref().map(Node::reference);
        let mut fates = fates.into_iter();
        let mut late: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut now = seconds(1);
        let mut done = false;
        for round in 0..60 {
            let mut arriving: Vec<(usize, Vec<u8>)> = Vec::new();
            for (own, node) in nodes.iter_mut().enumerate() {
                if own == 0 || both {
                    // Beyond what can be lost nobody stays silent for good.
                    let _ = node.links.link(references[1 - own], now, DATE);
                }
                node.links.handle_timeout(now, DATE);
                while let Some((_, datagram)) = node.links.poll_transmit() {
                    match fates.next().unwrap_or(Fate::Arrive) {
                        Fate::Arrive => arriving.push((1 - own, datagram)),
                        Fate::Lose => {}
                        Fate::Twice => {
                            arriving.push((1 - own, datagram.clone()));
                            arriving.push((1 - own, datagram));
                        }
                        Fate::Late => late.push((1 - own, datagram)),
                    }
                }
            }
            if round % 3 == 2 {
                arriving.append(&mut late);
            }
            for (to, datagram) in arriving {
                let _ = nodes[to].links.handle_input(addresses[1 - to], &datagram, now);
            }
            // Data goes both ways as soon as there is a link.
            let tables = nodes.each_ref().map(|node| node.links.table());
            let mut open = 0;
            for own in 0..2 {
                if let Some(link) = tables[own].link_to(references[1 - own]) {
                    let datagram = sealed(link, 0x11, now);
                    prop_assert!(nodes[1 - own].opens(&datagram, now).is_ok());
                    prop_assert_eq!(nodes[1 - own].opens(&datagram, now), Err(Refusal::Replayed));
                    open += 1;
                }
            }
            done = open == 2;
            if done && fates.len() == 0 && late.is_empty() {
                break;
            }
            now = now + Duration::from_millis(500);
        }
        prop_assert!(done);
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..1600), fit in any::<bool>()) {
        let mut bytes = bytes;
        if fit {
            bytes.resize(DATAGRAM, 0x5a);
            bytes[0] = 0x11 + bytes[0] % 3;
        }
        let now = seconds(1);
        let (mut alice, mut bob) = strangers();
        connect(&mut alice, &mut bob, now);
        prop_assert!(bob.takes(&alice, &bytes, now).is_err());
        prop_assert!(bob.opens(&bytes, now).is_err());
    }
}
