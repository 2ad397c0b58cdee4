//! A mixnode's input: damaged packets and anything else. What is damaged in its header is dropped,
//! and whatever is damaged is not delivered as if it were whole.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use fogcompute_base::Instant;
use fogcompute_fuzz::{Damage, MESSAGE, PACKET, damage, keys};
use fogcompute_mix::{Delivery, Geometry, Mixnode, MixnodeConfig, Packet, Processed};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input {
    /// The sound packet after so many hops, damaged.
    Damaged { hop: u8, damages: Vec<Damage> },
    /// A packet of the right length that starts with these bytes.
    Padded { hop: u8, start: Vec<u8> },
    /// Anything.
    Raw(Vec<u8>),
}

/// The packet as it reaches a hop.
fn packet_at(hop: usize) -> Vec<u8> {
    let mut packet = Packet::from_bytes(Geometry::DEFAULT, PACKET.to_vec()).expect("its length");
    for key in &keys()[..hop] {
        let outcome = packet.process(key).expect("the packet is sound").outcome;
        let Processed::Forward { packet: inner, .. } = outcome else {
            panic!("the first hops forward");
        };
        packet = inner;
    }
    packet.into_bytes()
}

fuzz_target!(|input: Input| {
    let (hop, mut bytes, damages) = match input {
        Input::Damaged { hop, damages } => {
            let hop = usize::from(hop) % 3;
            (hop, packet_at(hop), damages)
        }
        Input::Padded { hop, start } => {
            let mut bytes = start;
            bytes.resize(Geometry::DEFAULT.packet_bytes(), 0);
            (usize::from(hop) % 3, bytes, vec![])
        }
        Input::Raw(bytes) => (0, bytes, vec![]),
    };
    let whole = bytes.len() == PACKET.len() && bytes == packet_at(hop);
    let damaged = !whole || damage(&mut bytes, &damages);
    let key = keys().into_iter().nth(hop).expect("one of three");
    // So that one look at a later time sees whatever was held.
    let config = MixnodeConfig {
        lateness_max: Duration::MAX,
        ..MixnodeConfig::default()
    };
    let mut mixnode = Mixnode::new(key, config);
    for _ in 0..2 {
        mixnode.handle_input(bytes.clone(), Instant::ZERO);
    }
    let later = Instant::ZERO + Duration::from_secs(3600);
    let forwarded = mixnode.poll_transmit(later);
    let delivered = mixnode.poll_delivery();
    let stats = mixnode.stats();
    assert_eq!(stats.received, 2);
    if damaged {
        // A changed payload is noticed where it is opened, not on its way.
        assert!(hop < 2 || delivered.is_none());
    } else if hop < 2 {
        assert!(forwarded.is_some() && stats.replayed == 1);
    } else {
        assert!(matches!(delivered, Some(Delivery::Message(message)) if message == MESSAGE));
    }
    assert!(mixnode.poll_transmit(later).is_none() && mixnode.poll_delivery().is_none());
});
