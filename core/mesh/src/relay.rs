//! Who passes what on, when, and to whom.

use std::time::Duration;

use fogcompute_base::Rng;
use sha2::{Digest, Sha256};

use crate::packet::{Packet, PacketType, TTL_MAX};

/// Links from which on a place is crowded.
const CROWDED: usize = 6;

/// How a packet is passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Relay {
    /// The time to live it gets.
    pub ttl: u8,
    /// How long to wait, in case somebody else passes it on first.
    pub delay: Duration,
}

/// Whether and how a packet that is not for here is passed on by a peer with `degree` links.
#[must_use]
pub fn relay(packet: &Packet, degree: usize, rng: &mut impl Rng) -> Option<Relay> {
    if packet.ttl <= 1 || packet.kind == PacketType::SYNC || packet.answer {
        return None;
    }
    let (cap, delay_ms) = match packet.kind {
        PacketType::HANDSHAKE => (u8::MAX, 10..=35),
        _ if !packet.is_broadcast() => (u8::MAX, 20..=60),
        PacketType::FRAGMENT | PacketType::VOICE if degree >= CROWDED => (5, 8..=25),
        PacketType::FRAGMENT | PacketType::VOICE => (TTL_MAX, 8..=25),
        kind => {
            let cap = match degree {
                _ if degree >= CROWDED => 5,
                0..=2 => u8::MAX,
                _ if kind == PacketType::ANNOUNCE => TTL_MAX,
                _ => 6,
            };
            let delay_ms = match degree {
                0..=2 => 10..=40,
                3..=5 => 60..=150,
                6..=9 => 80..=180,
                _ => 100..=220,
            };
            (cap, delay_ms)
        }
    };
    let span = delay_ms.end() - delay_ms.start() + 1;
    let delay_ms = delay_ms.start() + rng.next_u64() % span;
    Some(Relay {
        // Nothing lives longer than what starts here, whatever its sender claims.
        ttl: packet.ttl.min(cap).min(TTL_MAX) - 1,
        delay: Duration::from_millis(delay_ms),
    })
}

/// How many of `links` links get a broadcast: enough that it gets everywhere, and fewer than all where there
/// are many.
#[must_use]
pub fn fan_out_count(kind: PacketType, links: usize) -> usize {
    let everywhere = matches!(
        kind,
        PacketType::ANNOUNCE | PacketType::FRAGMENT | PacketType::SYNC
    );
    if everywhere || links <= 2 {
        return links;
    }
    let log = usize::try_from(links.next_power_of_two().ilog2()).unwrap_or(links);
    links.min(log + 1)
}

/// What links are chosen by, the lowest first: the same for everybody who knows the message and the link, and
/// for nobody else to foresee.
#[must_use]
pub fn fan_out_order(message: u64, link: u64) -> [u8; 32] {
    Sha256::digest(format!("{message:016x}::{link}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PeerId;
    use fogcompute_base::UnixMillis;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn packet(kind: PacketType, ttl: u8) -> Packet {
        let sender = PeerId::from_bytes([1; 8]);
        let mut packet = Packet::new(kind, sender, UnixMillis(1), vec![]).unwrap();
        packet.ttl = ttl;
        packet
    }

    #[test]
    fn what_has_lived_its_time_is_not_passed_on() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for ttl in [0, 1] {
            assert_eq!(relay(&packet(PacketType::MESSAGE, ttl), 1, &mut rng), None);
        }
        assert_eq!(relay(&packet(PacketType::SYNC, 7), 1, &mut rng), None);
        let mut answer = packet(PacketType::MESSAGE, 7);
        answer.answer = true;
        assert_eq!(relay(&answer, 1, &mut rng), None);
    }

    #[test]
    fn crowds_pass_on_later_and_less_far() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let directed = |kind| packet(kind, 7).to(PeerId::from_bytes([2; 8]));
        let message = packet(PacketType::MESSAGE, 7);
        for (packet, degree, ttl, from, to) in [
            (message.clone(), 2, 6, 10, 40),
            (message.clone(), 3, 5, 60, 150),
            (message.clone(), 6, 4, 80, 180),
            (message, 10, 4, 100, 220),
            (packet(PacketType::ANNOUNCE, 7), 3, 6, 60, 150),
            (packet(PacketType::VOICE, 7), 3, 6, 8, 25),
            (packet(PacketType::VOICE, 7), 6, 4, 8, 25),
            (packet(PacketType::MESSAGE, 255), 1, 6, 10, 40),
            (directed(PacketType::HANDSHAKE), 10, 6, 10, 35),
            (directed(PacketType::ENCRYPTED), 10, 6, 20, 60),
            (packet(PacketType(0x77), 3), 4, 2, 60, 150),
        ] {
            for _ in 0..50 {
                let relay = relay(&packet, degree, &mut rng).unwrap();
                assert_eq!(relay.ttl, ttl, "{packet:?} {degree}");
                let range = Duration::from_millis(from)..=Duration::from_millis(to);
                assert!(range.contains(&relay.delay), "{relay:?}");
            }
        }
    }

    #[test]
    fn a_broadcast_goes_over_one_link_more_than_the_logarithm() {
        let counts: Vec<_> = (0..10)
            .map(|links| fan_out_count(PacketType::MESSAGE, links))
            .collect();
        assert_eq!(counts, [0, 1, 2, 3, 3, 4, 4, 4, 4, 5]);
        assert_eq!(fan_out_count(PacketType::ANNOUNCE, 9), 9);
        assert_ne!(fan_out_order(1, 2), fan_out_order(2, 1));
    }
}
