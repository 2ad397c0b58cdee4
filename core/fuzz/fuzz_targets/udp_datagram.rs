//! Datagrams of strangers at a node with a link and a handshake under way: damaged ones of every
//! kind, repeated ones, anything. What was changed is refused, what came before is refused, the link
//! still works afterwards, and nothing is answered by more than came.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use fogcompute_base::{Instant, OsEntropy, UnixMillis};
use fogcompute_fuzz::{Damage, damage};
use fogcompute_mix::{Descriptor, EpochParity, PrivateKey};
use fogcompute_net::{DATAGRAM_OVERHEAD_BYTES, Identity, UdpLinks, UdpLinksConfig};
use libfuzzer_sys::fuzz_target;

/// Short, so that damage hits what has a meaning.
const FRAME: usize = 128;
const DATAGRAM: usize = FRAME + DATAGRAM_OVERHEAD_BYTES;
const DATE: UnixMillis = UnixMillis(1);

#[derive(Arbitrary, Debug)]
enum Input {
    /// The next frame of the link, damaged.
    Data(Vec<Damage>),
    /// The first frame again.
    Again,
    /// The initiation that was answered, damaged.
    Initiation(Vec<Damage>),
    /// The answer to this node's own initiation, damaged.
    Response(Vec<Damage>),
    /// The right length and this beginning.
    Padded(Vec<u8>),
    /// Anything.
    Raw(Vec<u8>),
    /// Nothing comes for so long.
    Wait(u16),
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
        // Time moves by what is fuzzed only.
        handshakes_per_second_max: 1_000_000,
        handshakes_per_second_unproven_max: 1_000_000,
        ..UdpLinksConfig::default()
    };
    let links = UdpLinks::new(identity, FRAME, config, &mut OsEntropy).expect("frames fit");
    (links, descriptor)
}

fuzz_target!(|inputs: Vec<Input>| {
    let mut now = Instant::from_millis(1);
    let ((mut alice, alice_at), (mut bob, bob_at), (mut carol, carol_at)) =
        (node(1), node(2), node(3));
    alice.set_directory([&bob_at]).expect("one node");
    bob.set_directory([&carol_at]).expect("one node");
    let begun = alice.link(bob_at.node.into(), now, DATE);
    assert!(begun.is_ok_and(|link| link.is_none()));
    let (_, initiation) = alice.poll_transmit().expect("a handshake begins");
    bob.handle_input(alice_at.address, &initiation, now)
        .expect("it is sound");
    let (_, response) = bob.poll_transmit().expect("it is answered");
    alice
        .handle_input(bob_at.address, &response, now)
        .expect("it is sound");
    let link = alice
        .link(bob_at.node.into(), now, DATE)
        .ok()
        .flatten()
        .expect("there is a link");
    let (mut datagram, mut opened) = (vec![0; DATAGRAM], vec![0; FRAME]);
    link.seal(0, &[9; FRAME], &mut datagram, now)
        .expect("the first");
    let first = datagram.clone();
    bob.open(&first, &mut opened, now).expect("it is sound");
    // A handshake of bob's own, whose answer is on its way.
    assert!(
        bob.link(carol_at.node.into(), now, DATE)
            .is_ok_and(|link| link.is_none())
    );
    let (_, own) = bob.poll_transmit().expect("a handshake begins");
    carol
        .handle_input(bob_at.address, &own, now)
        .expect("it is sound");
    let (_, answer) = carol.poll_transmit().expect("it is answered");

    for input in inputs {
        let mut bytes = match &input {
            Input::Data(_) => {
                link.seal(0, &[9; FRAME], &mut datagram, now)
                    .expect("few are sent");
                datagram.clone()
            }
            Input::Again => first.clone(),
            Input::Initiation(_) => initiation.clone(),
            Input::Response(_) => answer.clone(),
            Input::Padded(start) => {
                let mut bytes = start.clone();
                bytes.resize(DATAGRAM, 0);
                bytes
            }
            Input::Raw(bytes) => bytes.clone(),
            Input::Wait(millis) => {
                now = now + Duration::from_millis((*millis).into());
                bob.handle_timeout(now, DATE);
                while bob.poll_transmit().is_some() {}
                continue;
            }
        };
        let changed = match &input {
            Input::Data(damages) | Input::Initiation(damages) | Input::Response(damages) => {
                damage(&mut bytes, damages)
            }
            _ => false,
        };
        let taken = bob.handle_input(alice_at.address, &bytes, now);
        let read = bob.open(&bytes, &mut opened, now);
        let _ = bob.table().link_of(&bytes);
        let answers: usize = std::iter::from_fn(|| bob.poll_transmit())
            .map(|(_, datagram)| datagram.len())
            .sum();
        assert!(answers <= bytes.len());
        assert!(!changed || (taken.is_err() && read.is_err() && answers == 0));
        match input {
            Input::Again => assert!(read.is_err()),
            // Until it is old the link stays, whatever came.
            Input::Data(_) if !changed && now < Instant::from_millis(3_000_000) => {
                assert!(read.is_ok() && opened == [9; FRAME]);
            }
            _ => {}
        }
    }
});
