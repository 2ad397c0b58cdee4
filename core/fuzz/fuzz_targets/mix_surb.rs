//! Reply blocks of strangers, and replies that come by a block of our own.

#![no_main]

use arbitrary::Arbitrary;
use fogcompute_fuzz::{Damage, SURB, damage, keys, route};
use fogcompute_mix::{Geometry, Packet, Processed, Surb};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

#[derive(Arbitrary, Debug)]
enum Input {
    /// A block that came in a message, used for this reply.
    Foreign { raw: Vec<u8>, reply: Vec<u8> },
    /// The sound block, damaged.
    Damaged {
        damages: Vec<Damage>,
        reply: Vec<u8>,
    },
    /// A reply to a block of our own, damaged at one hop.
    Answer {
        reply: Vec<u8>,
        hop: u8,
        damages: Vec<Damage>,
    },
}

fn use_foreign(bytes: &[u8], reply: &[u8]) {
    let Ok(surb) = Surb::from_bytes(bytes) else {
        return;
    };
    assert_eq!(surb.to_bytes(), bytes);
    if let Ok((_, packet)) = surb.reply(Geometry::DEFAULT, reply) {
        assert_eq!(packet.as_bytes().len(), Geometry::DEFAULT.packet_bytes());
        let _ = packet.process(&keys()[0]);
    }
}

fuzz_target!(|input: Input| match input {
    Input::Foreign { raw, reply } => use_foreign(&raw, &reply),
    Input::Damaged { damages, reply } => {
        let mut bytes = SURB.to_vec();
        damage(&mut bytes, &damages);
        use_foreign(&bytes, &reply);
    }
    Input::Answer {
        reply,
        hop,
        damages,
    } => {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let (surb, opens) = Surb::new(&route(), &mut rng).expect("the route is sound");
        let Ok((_, mut packet)) = surb.reply(Geometry::DEFAULT, &reply) else {
            assert!(reply.len() > Geometry::DEFAULT.payload_bytes());
            return;
        };
        let mut damaged = false;
        for (index, key) in keys().iter().enumerate() {
            if index == usize::from(hop) % 3 {
                let mut bytes = packet.into_bytes();
                damaged = damage(&mut bytes, &damages);
                packet = Packet::from_bytes(Geometry::DEFAULT, bytes).expect("its length");
            }
            match packet.process(key) {
                Ok(unwrapped) => match unwrapped.outcome {
                    Processed::Forward { packet: inner, .. } => packet = inner,
                    Processed::Reply {
                        surb,
                        reply: sealed,
                    } => {
                        assert_eq!(surb, opens.id());
                        let opened = opens.open(sealed);
                        assert_eq!(opened.as_ref() == Ok(&reply), !damaged);
                        return;
                    }
                    Processed::Deliver { .. } => panic!("a reply is not a message"),
                },
                Err(error) => {
                    assert!(damaged, "{error}");
                    return;
                }
            }
        }
        panic!("the last hop receives");
    }
});
