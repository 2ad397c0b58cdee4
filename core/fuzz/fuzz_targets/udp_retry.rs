//! A node that asks for tokens, and a peer that dials it: damaged initiations, damaged retries,
//! retries of other initiations, anything. Nothing is answered by more than came, a retry that was
//! changed is refused, and in the end the peer has its link.

#![no_main]

use std::net::SocketAddr;

use arbitrary::Arbitrary;
use fogcompute_base::{Instant, OsEntropy, UnixMillis};
use fogcompute_fuzz::{Damage, damage};
use fogcompute_mix::{Descriptor, EpochParity, PrivateKey};
use fogcompute_net::{DATAGRAM_OVERHEAD_BYTES, Identity, Refusal, UdpLinks, UdpLinksConfig};
use libfuzzer_sys::fuzz_target;

/// Short, so that damage hits what has a meaning.
const FRAME: usize = 128;
const DATAGRAM: usize = FRAME + DATAGRAM_OVERHEAD_BYTES;
const DATE: UnixMillis = UnixMillis(1);
const NOW: Instant = Instant::from_millis(1);

#[derive(Arbitrary, Debug)]
enum Input {
    /// The initiation, damaged, to the node.
    Initiation(Vec<Damage>),
    /// The retry, damaged, to the peer.
    Retry(Vec<Damage>),
    /// Of a retry's kind, and this, to the peer.
    Padded(Vec<u8>),
    /// Of an initiation's kind, and this, to the node.
    Garbage(Vec<u8>),
}

fn node(number: u8) -> (UdpLinks, Descriptor) {
    let identity = Identity::from_bytes([number; 32]);
    let descriptor = Descriptor {
        node: identity.node(),
        key: PrivateKey::from_bytes([number; 32]).public(),
        epoch: EpochParity::Even,
        address: SocketAddr::from(([10, 0, 0, number], 7000)),
    };
    let config = UdpLinksConfig {
        handshakes_per_second_max: 1_000_000,
        handshakes_per_second_unproven_max: 1,
        handshakes_per_second_of_network_max: 1_000_000,
        ..UdpLinksConfig::default()
    };
    let links = UdpLinks::new(identity, FRAME, config, &mut OsEntropy).expect("frames fit");
    (links, descriptor)
}

fn padded(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(rest);
    bytes.resize(DATAGRAM, 0);
    bytes
}

fn dials(peer: &mut UdpLinks, to: &Descriptor) -> Vec<u8> {
    peer.set_directory([to]).expect("one node");
    let begun = peer.link(to.node.into(), NOW, DATE);
    assert!(begun.is_ok_and(|link| link.is_none()));
    peer.poll_transmit().expect("a handshake begins").1
}

fuzz_target!(|inputs: Vec<Input>| {
    let ((mut peer, peer_at), (mut bob, bob_at)) = (node(1), node(2));
    // As many as are worked on without a token.
    let (mut crowd, crowd_at) = node(3);
    let first = dials(&mut crowd, &bob_at);
    while bob.handle_input(crowd_at.address, &first, NOW) != Err(Refusal::Unproven) {}
    while bob.poll_transmit().is_some() {}

    let initiation = dials(&mut peer, &bob_at);
    let taken = bob.handle_input(peer_at.address, &initiation, NOW);
    assert_eq!(taken, Err(Refusal::Unproven));
    let (_, retry) = bob.poll_transmit().expect("a retry");
    assert_eq!(retry.len(), initiation.len());

    for input in inputs {
        let to_peer = matches!(input, Input::Retry(_) | Input::Padded(_));
        let (mut bytes, damages) = match &input {
            Input::Initiation(damages) => (initiation.clone(), &damages[..]),
            Input::Retry(damages) => (retry.clone(), &damages[..]),
            Input::Padded(rest) => (padded(0x14, rest), &[][..]),
            Input::Garbage(rest) => (padded(0x11, rest), &[][..]),
        };
        let changed = damage(&mut bytes, damages);
        let meant = bytes.get(..37) == Some(&retry[..37]) && bytes.len() == DATAGRAM;
        let (taken, links) = if to_peer {
            let taken = peer.handle_input(bob_at.address, &bytes, NOW);
            // It is taken once; what it is padded with means nothing.
            assert!(taken.is_err() || meant);
            (taken, &mut peer)
        } else {
            (bob.handle_input(peer_at.address, &bytes, NOW), &mut bob)
        };
        let answers: Vec<_> = std::iter::from_fn(|| links.poll_transmit()).collect();
        let answered: usize = answers.iter().map(|(_, answer)| answer.len()).sum();
        assert!(answered <= bytes.len());
        if to_peer && taken.is_ok() {
            // The peer has sent its initiation again, and was heard.
            assert!(!answers.is_empty());
            let (_, again) = &answers[0];
            bob.handle_input(peer_at.address, again, NOW)
                .expect("it has a token");
            let (_, response) = bob.poll_transmit().expect("it is answered");
            peer.handle_input(bob_at.address, &response, NOW)
                .expect("it is sound");
            return;
        }
        assert!(!changed || taken.is_err());
    }
    peer.handle_input(bob_at.address, &retry, NOW)
        .expect("nobody has used it up");
});
