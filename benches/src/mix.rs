//! Packets and reply blocks, beside the `sphinx-packet` crate.
//!
//! The formats differ (see `benches/README.md`), so each case makes sure that both sides did the
//! same for their user: the message arrives, the packet is forwarded at its length.

use std::collections::HashSet;
use std::error::Error;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

use fogcompute::base::OsEntropy;
use fogcompute::mix::{
    EpochParity, Geometry, KeyRing, Layer, Packet, ReplayFilter, ReplayTag, ReplayVerdict, Surb,
    open_header, open_headers,
};
use fogcompute::{Hop, NodeId, PrivateKey, Processed};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sphinx_packet::header::delays::Delay;
use sphinx_packet::payload::PAYLOAD_OVERHEAD_SIZE;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{ProcessedPacketData, SURB, SURBMaterial, SphinxPacket, SphinxPacketBuilder};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::measure::{Effort, Pair, in_turns};
use crate::row::{Output, Row};

const DELAY: Duration = Duration::from_millis(5);

/// Packets that are unwrapped together.
const BATCH: usize = 32;

/// Hops that the peer's header has room for; ours has the same here.
const PEER_HOPS: usize = 5;

/// The same route in both crates' terms.
pub(crate) struct Route {
    keys: Vec<PrivateKey>,
    ours: Vec<Hop>,
    peer_key: StaticSecret,
    nodes: Vec<Node>,
    delays: Vec<Delay>,
    destination: Destination,
}

impl Route {
    pub(crate) fn new(hops: u8) -> Self {
        let keys: Vec<_> = (0..hops)
            .map(|_| PrivateKey::random(&mut OsEntropy))
            .collect();
        let named = || keys.iter().zip(1..);
        Self {
            ours: named()
                .map(|(key, id)| Hop::new(NodeId::from_bytes([id; 32]), key.public(), DELAY))
                .collect(),
            nodes: named()
                .map(|(key, id)| {
                    let key = PublicKey::from(*key.public().as_bytes());
                    Node::new(NodeAddressBytes::from_bytes([id; 32]), key)
                })
                .collect(),
            delays: vec![Delay::new_from_nanos(5_000_000); hops.into()],
            destination: Destination::new(DestinationAddressBytes::from_bytes([hops; 32]), [7; 16]),
            peer_key: StaticSecret::from(keys[0].to_bytes()),
            keys,
        }
    }
}

pub(crate) fn run(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    for hops in [3, 4, 5] {
        output.print(row(
            format!("build {hops} hops 2 KiB"),
            build(effort, hops, 2048)?,
        ))?;
    }
    for (payload_bytes, size) in [(1024, "1 KiB"), (2048, "2 KiB")] {
        output.print(row(
            format!("process one hop {size}"),
            process(effort, payload_bytes)?,
        ))?;
    }
    output.print(row("unwrap one hop 2 KiB".to_owned(), unwrap(effort)?))?;
    output.print(row(
        format!("unwrap 2 KiB in {BATCH}s"),
        unwrap_batched(effort)?,
    ))?;
    output.print(row("surb build 3 hops".to_owned(), surb_build(effort)?))?;
    output.print(row("surb reply 2 KiB".to_owned(), surb_reply(effort)?))?;
    output.print(Row {
        peer: "Mutex<HashSet>".to_owned(),
        peer_version: "std".to_owned(),
        ..row("replay check of a million".to_owned(), replay(effort))
    })
}

/// Fresh tags into a filter that fills up to a million, and then anew.
fn replay(effort: Effort) -> Pair {
    const TAGS: usize = 1_000_000;
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let secret = [rng.next_u64(), rng.next_u64()];
    let mut numbers = rng.clone();
    let mut filter = ReplayFilter::new(TAGS, secret);
    let mut checked = 0;
    let ours = || {
        if checked == TAGS {
            (filter, checked) = (ReplayFilter::new(TAGS, secret), 0);
        }
        checked += 1;
        let verdict = filter.check(tag(&mut rng));
        assert_eq!(black_box(verdict), ReplayVerdict::Fresh);
    };
    let mut set = Mutex::new(HashSet::with_capacity(TAGS));
    let theirs = || {
        let tag = tag(&mut numbers);
        let seen = set.get_mut().expect("no thread has panicked");
        if seen.len() == TAGS {
            seen.clear();
        }
        assert!(black_box(
            set.lock().expect("no thread has panicked").insert(tag)
        ));
    };
    in_turns(effort, ours, theirs)
}

fn tag(rng: &mut ChaCha20Rng) -> ReplayTag {
    let mut bytes = [0; ReplayTag::LEN];
    rng.fill_bytes(&mut bytes);
    ReplayTag::from_bytes(bytes)
}

fn row(case: String, pair: Pair) -> Row {
    Row {
        area: "mix",
        case,
        ours: pair.ours,
        unit: "ns",
        peer: "sphinx-packet".to_owned(),
        peer_version: env!("PEER_SPHINX_PACKET").to_owned(),
        theirs: pair.theirs,
        ratio: pair.theirs / pair.ours,
        n: pair.n,
    }
}

fn build(effort: Effort, hops: u8, payload_bytes: usize) -> Result<Pair, Box<dyn Error>> {
    let route = Route::new(hops);
    let geometry = Geometry::new(PEER_HOPS, payload_bytes)?;
    let payload = vec![7; payload_bytes];
    let ours = || {
        Packet::build(
            geometry,
            black_box(&route.ours),
            black_box(&payload),
            &mut OsEntropy,
        )
        .map(Packet::into_bytes)
    };
    let theirs = || {
        SphinxPacketBuilder::new()
            .with_payload_size(payload_bytes + PAYLOAD_OVERHEAD_SIZE)
            .build_packet(
                black_box(&payload),
                black_box(&route.nodes),
                &route.destination,
                &route.delays,
            )
            .map(|packet| packet.to_bytes())
    };
    if deliver_ours(geometry, &route, ours()?)? != payload
        || deliver_theirs(&route, &theirs()?)? != payload
    {
        return Err("a packet did not deliver its message".into());
    }
    Ok(in_turns(
        effort,
        || drop(black_box(ours())),
        || drop(black_box(theirs())),
    ))
}

fn deliver_ours(
    geometry: Geometry,
    route: &Route,
    packet: Vec<u8>,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut packet = Packet::from_bytes(geometry, packet)?;
    for key in &route.keys {
        match packet.process(key)?.outcome {
            Processed::Forward { packet: inner, .. } => packet = inner,
            Processed::Deliver { payload } => return Ok(payload),
            Processed::Reply { .. } => break,
        }
    }
    Err("our packet reached no receiver".into())
}

fn deliver_theirs(route: &Route, packet: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut packet = SphinxPacket::from_bytes(packet)?;
    for key in &route.keys {
        match packet.process(&StaticSecret::from(key.to_bytes()))?.data {
            ProcessedPacketData::ForwardHop {
                next_hop_packet, ..
            } => packet = next_hop_packet,
            ProcessedPacketData::FinalHop { payload, .. } => {
                return Ok(payload.recover_plaintext()?);
            }
        }
    }
    Err("the peer's packet reached no receiver".into())
}

/// A packet of the peer's over the route.
pub(crate) fn peer_packet(route: &Route, payload: &[u8]) -> Result<Vec<u8>, sphinx_packet::Error> {
    SphinxPacketBuilder::new()
        .with_payload_size(payload.len() + PAYLOAD_OVERHEAD_SIZE)
        .build_packet(payload, &route.nodes, &route.destination, &route.delays)
        .map(|packet| packet.to_bytes())
}

/// The peer's way to take a layer off: bytes in, bytes out.
pub(crate) fn peer_process(route: &Route, packet: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let packet = SphinxPacket::from_bytes(packet)?;
    match packet.process(&route.peer_key)?.data {
        ProcessedPacketData::ForwardHop {
            next_hop_packet, ..
        } => Ok(next_hop_packet.to_bytes()),
        ProcessedPacketData::FinalHop { .. } => {
            Err("the first of three hops did not forward".into())
        }
    }
}

fn process(effort: Effort, payload_bytes: usize) -> Result<Pair, Box<dyn Error>> {
    let route = Route::new(3);
    let geometry = Geometry::new(PEER_HOPS, payload_bytes)?;
    let payload = vec![7; payload_bytes];
    let packet = Packet::build(geometry, &route.ours, &payload, &mut OsEntropy)?.into_bytes();
    let peer_packet = peer_packet(&route, &payload)?;
    let ours = || -> Result<Vec<u8>, Box<dyn Error>> {
        let packet = Packet::from_bytes(geometry, black_box(&packet).clone())?;
        match packet.process(&route.keys[0])?.outcome {
            Processed::Forward { packet, .. } => Ok(packet.into_bytes()),
            _ => Err("the first of three hops did not forward".into()),
        }
    };
    let theirs = || peer_process(&route, black_box(&peer_packet));
    if ours()?.len() != packet.len() || theirs()?.len() != peer_packet.len() {
        return Err("a packet changed its length".into());
    }
    Ok(in_turns(
        effort,
        || drop(black_box(ours())),
        || drop(black_box(theirs())),
    ))
}

/// A mixnode's way: in the buffer the packet came in, header first. The copy that fills the buffer
/// again is measured too.
fn unwrap(effort: Effort) -> Result<Pair, Box<dyn Error>> {
    let route = Route::new(5);
    let geometry = Geometry::new(PEER_HOPS, 2048)?;
    let payload = vec![7; 2048];
    let packet = Packet::build(geometry, &route.ours, &payload, &mut OsEntropy)?.into_bytes();
    let peer_packet = peer_packet(&route, &payload)?;
    let keys = KeyRing::new(EpochParity::Even, route.keys[0].clone());
    let mut buffer = packet.clone();
    let mut ours = || -> Result<bool, Box<dyn Error>> {
        buffer.copy_from_slice(black_box(&packet));
        let header = open_header(geometry, &keys, &mut buffer)?;
        black_box(header.replay_tag());
        let layer = header.open_payload(&mut buffer)?;
        Ok(matches!(layer, Layer::Forward { .. }))
    };
    let theirs = || peer_process(&route, black_box(&peer_packet));
    if !ours()? || theirs()?.len() != peer_packet.len() {
        return Err("the first of five hops did not forward".into());
    }
    Ok(in_turns(
        effort,
        || drop(black_box(ours())),
        || drop(black_box(theirs())),
    ))
}

/// As [`unwrap`], many packets at once; the figures are of one packet.
fn unwrap_batched(effort: Effort) -> Result<Pair, Box<dyn Error>> {
    let route = Route::new(5);
    let geometry = Geometry::new(PEER_HOPS, 2048)?;
    let payload = vec![7; 2048];
    let orders = vec![(&route.ours[..], &payload[..]); BATCH];
    let packets: Vec<_> = Packet::build_batch(geometry, &orders, &mut OsEntropy)?
        .into_iter()
        .map(Packet::into_bytes)
        .collect();
    let peer_packet = peer_packet(&route, &payload)?;
    let keys = KeyRing::new(EpochParity::Even, route.keys[0].clone());
    let mut buffers = packets.clone();
    let mut opened = Vec::new();
    let mut ours = || -> Result<usize, Box<dyn Error>> {
        for (buffer, packet) in buffers.iter_mut().zip(black_box(&packets)) {
            buffer.copy_from_slice(packet);
        }
        open_headers(geometry, &keys, &mut buffers, &mut opened);
        let mut forwarded = 0;
        for (header, buffer) in opened.drain(..).zip(&mut buffers) {
            let header = header?;
            black_box(header.replay_tag());
            let layer = header.open_payload(buffer)?;
            forwarded += usize::from(matches!(layer, Layer::Forward { .. }));
        }
        Ok(forwarded)
    };
    let theirs = || (0..BATCH).all(|_| peer_process(&route, black_box(&peer_packet)).is_ok());
    if ours()? != BATCH || !theirs() {
        return Err("the first of five hops did not forward".into());
    }
    let pair = in_turns(
        effort,
        || drop(black_box(ours())),
        || {
            black_box(theirs());
        },
    );
    Ok(Pair {
        ours: pair.ours / BATCH as f64,
        theirs: pair.theirs / BATCH as f64,
        n: pair.n * BATCH as u64,
    })
}

fn surb_build(effort: Effort) -> Result<Pair, Box<dyn Error>> {
    let route = Route::new(3);
    let geometry = Geometry::new(PEER_HOPS, 2048)?;
    let ours = || {
        Surb::new(geometry, black_box(&route.ours), &mut OsEntropy).map(|(surb, _)| surb.to_bytes())
    };
    let theirs = || peer_surb(&route).map(|surb| surb.to_bytes());
    Surb::from_bytes(geometry, &ours()?)?;
    SURB::from_bytes(&theirs()?)?;
    Ok(in_turns(
        effort,
        || drop(black_box(ours())),
        || drop(black_box(theirs())),
    ))
}

fn peer_surb(route: &Route) -> Result<SURB, sphinx_packet::Error> {
    SURBMaterial::new(
        black_box(&route.nodes).clone(),
        route.delays.clone(),
        route.destination.clone(),
        SINGLE_SEED_SURB_VERSION,
    )
    .construct_recoverable_SURB()
    .map(|(surb, _)| surb)
}

fn surb_reply(effort: Effort) -> Result<Pair, Box<dyn Error>> {
    let route = Route::new(3);
    let geometry = Geometry::new(PEER_HOPS, 2048)?;
    let block = Surb::new(geometry, &route.ours, &mut OsEntropy)?
        .0
        .to_bytes();
    let peer_block = peer_surb(&route)?.to_bytes();
    let payload = vec![7; 2048];
    let ours = || -> Result<Vec<u8>, Box<dyn Error>> {
        let (_, packet) =
            Surb::from_bytes(geometry, black_box(&block))?.reply(black_box(&payload))?;
        Ok(packet.into_bytes())
    };
    let theirs = || -> Result<Vec<u8>, Box<dyn Error>> {
        let size = payload.len() + PAYLOAD_OVERHEAD_SIZE;
        let (packet, _) =
            SURB::from_bytes(black_box(&peer_block))?.use_surb(black_box(&payload), size)?;
        Ok(packet.to_bytes())
    };
    let forwarded = Packet::from_bytes(geometry, ours()?)?.process(&route.keys[0])?;
    if !matches!(forwarded.outcome, Processed::Forward { .. })
        || peer_process(&route, &theirs()?).is_err()
    {
        return Err("the first of three hops did not forward a reply".into());
    }
    Ok(in_turns(
        effort,
        || drop(black_box(ours())),
        || drop(black_box(theirs())),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_crates_do_the_same_work_in_every_case() {
        // Each case compares the two results before it measures.
        for hops in [3, 4, 5] {
            assert_eq!(build(Effort::Smoke, hops, 2048).unwrap().n, 3);
        }
        assert_eq!(process(Effort::Smoke, 1024).unwrap().n, 3);
        assert_eq!(unwrap(Effort::Smoke).unwrap().n, 3);
        assert_eq!(unwrap_batched(Effort::Smoke).unwrap().n, 3 * BATCH as u64);
        assert_eq!(surb_build(Effort::Smoke).unwrap().n, 3);
        assert_eq!(surb_reply(Effort::Smoke).unwrap().n, 3);
    }
}
