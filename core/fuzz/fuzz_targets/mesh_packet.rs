//! Packets of a mesh: anything, and sound ones with damage. What is read is written the same but for what
//! means nothing, and a signature holds for nothing that was changed.

#![no_main]

use arbitrary::Arbitrary;
use fogcompute_base::UnixMillis;
use fogcompute_fuzz::{Damage, damage};
use fogcompute_mesh::{Identity, Packet, PacketType, PeerId, Tail};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Raw(&'a [u8]),
    Sound {
        kind: u8,
        payload: Vec<u8>,
        /// Bytes that are repeated, so that payloads are packed.
        repeat: u8,
        recipient: Option<[u8; 8]>,
        route: Option<Vec<[u8; 8]>>,
        damages: Vec<Damage>,
    },
}

fuzz_target!(|input: Input<'_>| {
    let identity = Identity::from_bytes([1; 32], [2; 32]);
    match input {
        Input::Raw(bytes) => read(bytes),
        Input::Sound {
            kind,
            payload,
            repeat,
            recipient,
            route,
            damages,
        } => {
            let payload = payload.repeat(usize::from(repeat) + 1);
            let kind = PacketType(kind);
            let Ok(mut packet) = Packet::new(kind, identity.peer_id(), UnixMillis(9), payload)
            else {
                return;
            };
            packet.recipient = recipient.map(PeerId::from_bytes);
            if let Some(route) = route {
                let route = route.into_iter().map(PeerId::from_bytes).collect();
                if packet.set_route(route).is_err() {
                    return;
                }
            }
            packet.sign(&identity);
            let mut bytes = packet.to_frame();
            let (sound, tail) = Packet::decode(&bytes).expect("a sound packet is read");
            assert!(sound == packet && !matches!(tail, Tail::Other(_)));
            damage(&mut bytes, &damages);
            if let Ok((read, _)) = Packet::decode(&bytes) {
                let same = read.signing_preimage() == packet.signing_preimage()
                    && read.signature == packet.signature;
                assert_eq!(read.verify(&identity.verify_key()), same);
            }
            read(&bytes);
        }
    }
});

fn read(bytes: &[u8]) {
    if let Ok((packet, _)) = Packet::decode(bytes) {
        assert_eq!(
            Packet::decode(&packet.encode()),
            Ok((packet, Tail::None)),
            "what was read is read again"
        );
    }
}
