//! What a node does for every packet takes nothing from the heap.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use allocation_counter::measure;
use fogcompute_base::{NodeId, OsEntropy};
use fogcompute_mix::{
    EpochParity, Geometry, Hop, KeyRing, Packet, PacketError, PrivateKey, Suite, open_header,
    open_headers,
};

const PACKETS: usize = 40;

struct Case {
    geometry: Geometry,
    keys: KeyRing,
    route: Vec<Hop>,
    packets: Vec<Vec<u8>>,
}

/// Packets of one and of more hops, in turns, so that some are delivered and others forwarded.
fn case(geometry: Geometry) -> Case {
    let keys: Vec<_> = (0..3).map(|_| PrivateKey::random(&mut OsEntropy)).collect();
    let route: Vec<_> = keys
        .iter()
        .zip(1..)
        .map(|(key, id)| Hop::new(NodeId::from_bytes([id; 32]), key.public(), Duration::ZERO))
        .collect();
    let packets = (0..PACKETS)
        .map(|n| {
            let route = &route[..1 + 2 * (n % 2)];
            Packet::build(geometry, route, b"fog", &mut OsEntropy)
                .unwrap()
                .into_bytes()
        })
        .collect();
    Case {
        geometry,
        keys: KeyRing::new(EpochParity::Even, keys[0].clone()),
        route,
        packets,
    }
}

fn cases() -> impl Iterator<Item = Case> {
    [Geometry::DEFAULT, Geometry::DATAGRAM]
        .into_iter()
        .flat_map(|geometry| [geometry, geometry.with_suite(Suite::ChaCha20)])
        .map(case)
}

#[test]
fn opening_a_packet_allocates_nothing() {
    for mut case in cases() {
        let info = measure(|| {
            for packet in &mut case.packets {
                let header = open_header(case.geometry, &case.keys, packet).unwrap();
                header.open_payload(packet).unwrap();
            }
        });
        assert_eq!((info.count_total, info.bytes_total), (0, 0));
    }
}

#[test]
fn opening_a_batch_allocates_nothing_once_its_results_have_room() {
    for mut case in cases() {
        let mut opened = Vec::with_capacity(PACKETS);
        case.packets[7].clear();
        let info = measure(|| {
            open_headers(case.geometry, &case.keys, &mut case.packets, &mut opened);
            for (header, packet) in opened.drain(..).zip(&mut case.packets) {
                let Ok(header) = header else { continue };
                header.open_payload(packet).unwrap();
            }
        });
        assert_eq!((info.count_total, info.bytes_total), (0, 0));
    }
}

#[test]
fn refusing_a_packet_allocates_nothing() {
    let mut case = case(Geometry::DEFAULT);
    for packet in &mut case.packets {
        packet[100] ^= 1;
    }
    let info = measure(|| {
        for packet in &mut case.packets {
            let refused = open_header(case.geometry, &case.keys, packet).err();
            assert_eq!(refused, Some(PacketError::Header));
        }
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn building_a_packet_in_a_buffer_allocates_nothing() {
    for mut case in cases() {
        let packet = &mut case.packets[0];
        let info = measure(|| {
            Packet::build_into(case.geometry, &case.route, b"fog", &mut OsEntropy, packet).unwrap();
        });
        assert_eq!((info.count_total, info.bytes_total), (0, 0));
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(vec![1_u8; 100])).count_total, 1);
}
