//! Sphinx packets and reply blocks, beside the `sphinx-packet` crate.
//!
//! In this version `fogcompute-mix` stands on that crate, so ratios near 1 say that our checks
//! (length, weak keys, repeated nodes, replay tag) cost little, and nothing else.

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use fogcompute::base::OsEntropy;
use fogcompute::mix::{Geometry, Packet, Surb};
use fogcompute::{Hop, NodeId, PrivateKey, Processed};
use sphinx_packet::header::delays::Delay;
use sphinx_packet::payload::PAYLOAD_OVERHEAD_SIZE;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{ProcessedPacketData, SURB, SURBMaterial, SphinxPacket, SphinxPacketBuilder};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::measure::{Effort, Pair, in_turns};
use crate::row::{Output, Row};

const DELAY: Duration = Duration::from_millis(5);

/// The same route in both crates' terms.
struct Route {
    keys: Vec<PrivateKey>,
    ours: Vec<Hop>,
    peer_key: StaticSecret,
    nodes: Vec<Node>,
    delays: Vec<Delay>,
    destination: Destination,
}

impl Route {
    fn new(hops: u8) -> Self {
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
    for hops in [3, 4] {
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
    output.print(row("surb build 3 hops".to_owned(), surb_build(effort)?))?;
    output.print(row("surb reply 2 KiB".to_owned(), surb_reply(effort)?))
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
    let geometry = Geometry::new(payload_bytes)?;
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
    if ours()?.len() != theirs()?.len() {
        return Err("the two crates' packets differ in length".into());
    }
    Ok(in_turns(
        effort,
        || drop(black_box(ours())),
        || drop(black_box(theirs())),
    ))
}

fn process(effort: Effort, payload_bytes: usize) -> Result<Pair, Box<dyn Error>> {
    let route = Route::new(3);
    let geometry = Geometry::new(payload_bytes)?;
    let payload = vec![7; payload_bytes];
    let packet = Packet::build(geometry, &route.ours, &payload, &mut OsEntropy)?.into_bytes();
    let ours = || -> Result<Vec<u8>, Box<dyn Error>> {
        let packet = Packet::from_bytes(geometry, black_box(&packet).clone())?;
        match packet.process(&route.keys[0])?.outcome {
            Processed::Forward { packet, .. } => Ok(packet.into_bytes()),
            _ => Err("the first of three hops did not forward".into()),
        }
    };
    let theirs = || -> Result<Vec<u8>, Box<dyn Error>> {
        let packet = SphinxPacket::from_bytes(black_box(&packet))?;
        match packet.process(&route.peer_key)?.data {
            ProcessedPacketData::ForwardHop {
                next_hop_packet, ..
            } => Ok(next_hop_packet.to_bytes()),
            ProcessedPacketData::FinalHop { .. } => {
                Err("the first of three hops did not forward".into())
            }
        }
    };
    if ours()? != theirs()? {
        return Err("the two crates made different packets of one".into());
    }
    Ok(in_turns(
        effort,
        || drop(black_box(ours())),
        || drop(black_box(theirs())),
    ))
}

fn surb_build(effort: Effort) -> Result<Pair, Box<dyn Error>> {
    let route = Route::new(3);
    let ours =
        || Surb::new(black_box(&route.ours), &mut OsEntropy).map(|(surb, _)| surb.to_bytes());
    let theirs = || peer_surb(&route).map(|surb| surb.to_bytes());
    if ours()?.len() != theirs()?.len() {
        return Err("the two crates' reply blocks differ in length".into());
    }
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
    let block = peer_surb(&route)?.to_bytes();
    let payload = vec![7; 2048];
    let ours = || -> Result<Vec<u8>, Box<dyn Error>> {
        let (_, packet) =
            Surb::from_bytes(black_box(&block))?.reply(Geometry::DEFAULT, black_box(&payload))?;
        Ok(packet.into_bytes())
    };
    let theirs = || -> Result<Vec<u8>, Box<dyn Error>> {
        let size = payload.len() + PAYLOAD_OVERHEAD_SIZE;
        let (packet, _) =
            SURB::from_bytes(black_box(&block))?.use_surb(black_box(&payload), size)?;
        Ok(packet.to_bytes())
    };
    if ours()? != theirs()? {
        return Err("the two crates made different packets of one reply block".into());
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
        for hops in [3, 4] {
            assert_eq!(build(Effort::Smoke, hops, 2048).unwrap().n, 3);
        }
        assert_eq!(process(Effort::Smoke, 1024).unwrap().n, 3);
        assert_eq!(surb_build(Effort::Smoke).unwrap().n, 3);
        assert_eq!(surb_reply(Effort::Smoke).unwrap().n, 3);
    }
}
