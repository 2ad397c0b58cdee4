//! Reply blocks of strangers, and replies that come by a block of our own.

#![no_main]

use arbitrary::Arbitrary;
use fogcompute_fuzz::{Damage, damage, keys, surb};
use fogcompute_mix::{Geometry, Packet, Processed, Surb};
use libfuzzer_sys::fuzz_target;

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
    let Ok(surb) = Surb::from_bytes(Geometry::DEFAULT, bytes) else {
        return;
    };
    assert_eq!(surb.to_bytes(), bytes);
    if let Ok((_, packet)) = surb.reply(reply) {
        assert_eq!(packet.as_bytes().len(), Geometry::DEFAULT.packet_bytes());
        let _ = packet.process(&keys()[0]);
    }
}

fuzz_target!(|input: Input| match input {
    Input::Foreign { raw, reply } => use_foreign(&raw, &reply),
    Input::Damaged { damages, reply } => {
        let mut bytes = surb().0.to_bytes();
        damage(&mut bytes, &damages);
        use_foreign(&bytes, &reply);
    }
    Input::Answer {
        reply,
        hop,
        damages,
    } => {
        let (surb, opens) = surb();
        let Ok((_, mut packet)) = surb.reply(&reply) else {
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
