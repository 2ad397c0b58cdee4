//! A mixnode's loop cover: packets through the network back to itself.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant};
use fogcompute_mix::{
    Client, ClientConfig, Contact, CoverConfig, CoverStats, Delivery, Geometry, Topology, Transmit,
};

/// Loops by which the network is judged.
const JUDGED: usize = 20;
/// Fewer say nothing.
const JUDGED_MIN: usize = 10;

/// What the last loops say of the network around the node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// More than half came back, or nothing is known yet.
    #[default]
    Sound,
    /// Half or more did not come back.
    Losing {
        /// Loops that were lost.
        lost: usize,
        /// Of so many, the last ones.
        of: usize,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sound => f.write_str("ok"),
            Self::Losing { lost, of } => write!(f, "{lost} of the last {of} loops were lost"),
        }
    }
}

/// Sends loops and watches which come back.
///
/// They are made by [`Client`], like everybody's packets, and their times are a Poisson process
/// that depends on nothing else.
pub(super) struct Loops {
    client: Client,
    mean: Option<Duration>,
    /// Whether each of the last ones came back.
    outcomes: VecDeque<bool>,
    counted: CoverStats,
}

impl Loops {
    /// Loops of a node, `mean` apart on average. One that is not back after `timeout` is lost.
    pub(super) fn new(
        contact: Contact,
        geometry: Geometry,
        mean: Option<Duration>,
        timeout: Duration,
    ) -> Self {
        let config = ClientConfig {
            geometry,
            loop_timeout: timeout,
            ..ClientConfig::default()
        };
        Self {
            client: Client::new(contact, config),
            mean,
            outcomes: VecDeque::new(),
            counted: CoverStats::default(),
        }
    }

    /// Sends loops so far apart on average, from the next [`Loops::turn`] on.
    pub(super) const fn set_mean(&mut self, mean: Option<Duration>) {
        self.mean = mean;
    }

    /// Sends loops from now on to this key of the node, or with nowhere to send them to, none.
    pub(super) fn turn(
        &mut self,
        contact: Option<Contact>,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        if let Some(contact) = contact {
            self.client.set_contact(contact);
        }
        let cover = CoverConfig {
            loops: self.mean.filter(|_| contact.is_some()),
            drops: None,
        };
        // To start anew is no different from having waited.
        self.client.set_cover(cover, now, rng);
    }

    /// The loops that are due.
    pub(super) fn poll(
        &mut self,
        topology: &Topology,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Vec<Transmit> {
        // One that has no way counts as lost. It is for the next to be tried.
        let mut due = Vec::new();
        while let Ok(Some(transmit)) = self.client.poll_transmit(topology, now, rng) {
            due.push(transmit);
        }
        self.judge();
        due
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    /// Takes a packet that was for the node. What is no cover is nobody's.
    pub(super) fn take(&mut self, delivery: &Delivery, now: Instant) {
        self.client.handle_cover(delivery, now);
        self.judge();
    }

    fn judge(&mut self) {
        let stats = self.client.cover_stats();
        let returned = stats.loops_returned - self.counted.loops_returned;
        let lost = stats.loops_lost - self.counted.loops_lost;
        self.counted = stats;
        for (count, outcome) in [(returned, true), (lost, false)] {
            for _ in 0..count.min(JUDGED as u64) {
                self.outcomes.push_back(outcome);
            }
        }
        let excess = self.outcomes.len().saturating_sub(JUDGED);
        self.outcomes.drain(..excess);
    }

    pub(super) fn stats(&self) -> CoverStats {
        self.client.cover_stats()
    }

    pub(super) fn verdict(&self) -> Verdict {
        let lost = self.outcomes.iter().filter(|returned| !**returned).count();
        let of = self.outcomes.len();
        if of < JUDGED_MIN || 2 * lost < of {
            Verdict::Sound
        } else {
            Verdict::Losing { lost, of }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::NodeId;
    use fogcompute_mix::{Descriptor, EpochParity, Mixnode, MixnodeConfig, NodeRef, PrivateKey};
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use std::collections::BTreeMap;

    /// One node in each of three layers.
    fn network() -> (BTreeMap<NodeRef, Mixnode>, Topology) {
        let mut nodes = BTreeMap::new();
        let mut layers = Vec::new();
        for id in 1..=3 {
            let key = PrivateKey::from_bytes([id; 32]);
            let node = NodeId::from_bytes([id; 32]);
            layers.push(vec![Descriptor {
                node,
                key: key.public(),
                epoch: EpochParity::Even,
                address: ([127, 0, 0, 1], u16::from(id)).into(),
            }]);
            nodes.insert(node.into(), Mixnode::new(key, MixnodeConfig::default()));
        }
        let topology = Topology::new(layers, Duration::from_millis(5)).unwrap();
        (nodes, topology)
    }

    fn loops(topology: &Topology, rng: &mut ChaCha20Rng) -> Loops {
        let contact = topology.layers()[1][0].contact();
        let (mean, timeout) = (Duration::from_secs(1), Duration::from_secs(10));
        let mut loops = Loops::new(contact, Geometry::DEFAULT, Some(mean), timeout);
        loops.turn(Some(contact), Instant::ZERO, rng);
        loops
    }

    #[test]
    fn loops_that_come_back_are_sound_and_lost_ones_are_told_until_they_come_back_again() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (mut nodes, topology) = network();
        let mut loops = loops(&topology, &mut rng);
        let own = NodeRef::from(topology.layers()[1][0].node);
        let mut verdicts = Vec::new();
        for (rounds, is_lost) in [(40, false), (40, true), (40, false)] {
            for _ in 0..rounds {
                let now = loops.poll_timeout().unwrap();
                let mut wire = loops.poll(&topology, now, &mut rng);
                assert_eq!(wire.len(), 1);
                if is_lost {
                    continue;
                }
                let later = now + Duration::from_millis(400);
                while let Some(transmit) = wire.pop() {
                    let node = nodes.get_mut(&transmit.to).unwrap();
                    node.handle_input(transmit.packet.into_bytes(), now);
                    wire.extend(node.poll_transmit(later));
                }
                let delivery = nodes.get_mut(&own).unwrap().poll_delivery().unwrap();
                loops.take(&delivery, later);
            }
            verdicts.push(loops.verdict());
        }
        assert_eq!(verdicts[0], Verdict::Sound);
        assert!(matches!(verdicts[1], Verdict::Losing { of: JUDGED, .. }));
        assert_eq!(verdicts[2], Verdict::Sound);
        let stats = loops.stats();
        assert_eq!((stats.loops_sent, stats.loops_returned), (120, 80));
        assert_eq!(stats.loops_lost, 40);
        assert!(verdicts[1].to_string().contains("of the last 20 loops"));
    }

    #[test]
    fn without_a_key_in_the_topology_there_are_none() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let (_, topology) = network();
        let mut loops = loops(&topology, &mut rng);
        loops.turn(None, Instant::ZERO, &mut rng);
        assert_eq!(loops.poll_timeout(), None);
        let later = Instant::from_millis(1_000_000);
        assert!(loops.poll(&topology, later, &mut rng).is_empty());
        assert_eq!(loops.verdict(), Verdict::Sound);
    }
}
