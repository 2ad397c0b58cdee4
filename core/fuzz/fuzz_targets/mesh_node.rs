//! A node of a mesh whose links bring anything, signed by peers it knows and by nobody: it goes on, and what it
//! saves is read again.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use fogcompute_base::{Instant, UnixMillis};
use fogcompute_mesh::{Identity, LinkConfig, LinkId, Node, NodeConfig, Packet, PacketType};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Raw {
        link: u8,
        bytes: &'a [u8],
    },
    Signed {
        link: u8,
        by: bool,
        kind: u8,
        ttl: u8,
        answer: bool,
        for_node: bool,
        payload: Vec<u8>,
    },
    Wait {
        ms: u16,
    },
    Send {
        text: &'a str,
    },
}

const BEGIN: UnixMillis = UnixMillis(1_760_000_000_000);

fuzz_target!(|steps: Vec<Step<'_>>| {
    let identity = Identity::from_bytes([1; 32], [2; 32]);
    let peers = [[3; 32], [4; 32]].map(|bytes| Identity::from_bytes(bytes, bytes));
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut now = Instant::from_millis(1_000_000);
    let config = NodeConfig::default();
    let node = Node::new(identity.clone(), "node", config.clone(), BEGIN, now);
    let mut node = node.expect("the name is short");
    node.link_up(LinkId(0), LinkConfig::FRAMED, now);
    node.link_up(LinkId(1), LinkConfig::BLUETOOTH, now);
    for step in steps {
        match step {
            Step::Raw { link, bytes } => {
                node.handle_input(LinkId(u64::from(link % 3)), bytes, now, &mut rng);
            }
            Step::Signed {
                link,
                by,
                kind,
                ttl,
                answer,
                for_node,
                payload,
            } => {
                let signer = &peers[usize::from(by)];
                let (kind, unix) = (PacketType(kind % 0x32), node.unix(now));
                let Ok(mut packet) = Packet::new(kind, signer.peer_id(), unix, payload) else {
                    continue;
                };
                packet.ttl = ttl;
                packet.answer = answer;
                packet.recipient = for_node.then(|| node.id());
                packet.sign(signer);
                let frame = packet.to_frame();
                node.handle_input(LinkId(u64::from(link % 2)), &frame, now, &mut rng);
            }
            Step::Wait { ms } => now = now + Duration::from_millis(ms.into()),
            Step::Send { text } => {
                let _ = node.send_public(text, now, &mut rng);
                for peer in &peers {
                    let _ = node.send_private(peer.peer_id(), text, now, &mut rng);
                }
            }
        }
        node.handle_timeout(now, &mut rng);
        assert!(node.poll_timeout().is_some_and(|due| due > now));
        while node.poll_transmit().is_some() {}
        while node.poll_event().is_some() {}
    }
    let saved = node.save();
    let again = Node::restore(identity, &saved, config, node.unix(now), now);
    assert_eq!(again.expect("what was saved is read").save(), saved);
});
