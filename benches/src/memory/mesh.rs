//! What a mesh node keeps of others.

use std::error::Error;

use fogcompute::base::{Instant, UnixMillis};
use fogcompute_mesh::{
    Announce, Identity, LinkConfig, LinkId, Node, NodeConfig, Packet, PacketType,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::counted;

const COUNT: usize = 1000;
const BEGIN: UnixMillis = UnixMillis(1_760_000_000_000);
const LINK: LinkId = LinkId(1);

/// Bytes that a node keeps of frames, beside the bytes of the frames.
fn kept(
    node: &mut Node,
    frames: &[Vec<u8>],
    rng: &mut ChaCha8Rng,
) -> Result<(f64, f64), Box<dyn Error>> {
    let now = Instant::ZERO;
    let refused = |node: &Node| {
        let counters = node.counters();
        counters.flooded + counters.mis_signed + counters.unverified + counters.duplicated
    };
    let ((), bytes) = counted(|| {
        for frame in frames {
            node.handle_input(LINK, frame, now, rng);
            while node.poll_event().is_some() {}
        }
    });
    if refused(node) > 0 {
        return Err("the node refused something".into());
    }
    let least: usize = frames.iter().map(Vec::len).sum();
    Ok((bytes, least as f64))
}

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let config = NodeConfig {
        peers_max: COUNT + 1,
        ..NodeConfig::default()
    };
    let mut node = Node::new(Identity::random(rng), "node", config, BEGIN, Instant::ZERO)?;
    // Room for all that comes at once.
    node.link_up(LINK, LinkConfig::FRAMED, Instant::ZERO);
    let mut announces = Vec::new();
    let mut identities = Vec::new();
    for index in 0..COUNT {
        let identity = Identity::random(rng);
        let name = format!("peer {index}");
        let announce = Announce::new(name, identity.noise_key(), identity.verify_key());
        let kind = PacketType::ANNOUNCE;
        let mut packet = Packet::new(kind, identity.peer_id(), BEGIN, announce.encode()?)?;
        packet.ttl -= 1;
        packet.sign(&identity);
        announces.push(packet.to_frame());
        identities.push(identity);
    }
    let (peers, announces) = kept(&mut node, &announces, rng)?;
    let mut messages = Vec::new();
    for (index, identity) in identities.iter().enumerate() {
        let text =
            format!("message {index}: what is said to everybody near, as long as such things are.");
        let kind = PacketType::MESSAGE;
        let mut packet = Packet::new(kind, identity.peer_id(), BEGIN, text.into_bytes())?;
        packet.sign(identity);
        messages.push(packet.to_frame());
    }
    let (thousand_messages, thousand_packets) = kept(&mut node, &messages, rng)?;
    println!(
        "{{\"idle_peer\":{},\"announce\":{},\"thousand_messages\":{thousand_messages},\
         \"thousand_packets\":{thousand_packets}}}",
        peers / COUNT as f64,
        announces / COUNT as f64,
    );
    Ok(())
}
