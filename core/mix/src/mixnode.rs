//! The mixnode: unwrap, remember, hold, send on.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use fogcompute_base::{Instant, NodeId};

use crate::geometry::Geometry;
use crate::key::{PrivateKey, PublicKey};
use crate::packet::{Packet, Processed, SealedReply};
use crate::replay::{ReplayFilter, ReplayVerdict};
use crate::surb::SurbId;

/// Limits and duties of a [`Mixnode`].
#[derive(Clone, Debug)]
pub struct MixnodeConfig {
    /// The network's packet sizes.
    pub geometry: Geometry,
    /// Whether packets for others are taken. A receiver that only receives says no.
    pub relay: bool,
    /// Most packets held at once. When reached, further ones are dropped.
    pub queue_packets_max: usize,
    /// Most packets waiting for [`Mixnode::poll_delivery`]. When reached, further ones are dropped.
    pub deliveries_max: usize,
    /// Most replay tags, 32 bytes each. When reached, every packet is dropped: make a new key.
    pub replay_tags_max: usize,
    /// Longest delay a sender may ask for. A packet that asks for more is dropped.
    pub delay_max: Duration,
}

impl Default for MixnodeConfig {
    fn default() -> Self {
        Self {
            geometry: Geometry::DEFAULT,
            relay: true,
            queue_packets_max: 16_384,
            deliveries_max: 16_384,
            replay_tags_max: 4_000_000,
            delay_max: Duration::from_secs(600),
        }
    }
}

/// Why a packet was dropped. Its sender is never told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DropReason {
    /// Wrong length, tag, key or payload.
    Malformed,
    /// Processed before.
    Replayed,
    /// The replay filter is full.
    ReplayFilterFull,
    /// Too many packets are held.
    QueueFull,
    /// The sender asks for a longer delay than allowed.
    DelayTooLong,
    /// The packet is for somebody else and this node does not relay.
    NotARelay,
}

/// What a node counted since it started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MixStats {
    /// Packets that came in.
    pub received: u64,
    /// Packets sent on.
    pub forwarded: u64,
    /// Packets that were for this node.
    pub delivered: u64,
    /// Dropped: wrong length, tag, key or payload.
    pub malformed: u64,
    /// Dropped: processed before.
    pub replayed: u64,
    /// Dropped: a limit was reached.
    pub overloaded: u64,
    /// Dropped: the sender asked for what this node does not do.
    pub refused: u64,
}

impl MixStats {
    fn count_drop(&mut self, reason: DropReason) {
        match reason {
            DropReason::Malformed => self.malformed += 1,
            DropReason::Replayed => self.replayed += 1,
            DropReason::ReplayFilterFull | DropReason::QueueFull => self.overloaded += 1,
            DropReason::DelayTooLong | DropReason::NotARelay => self.refused += 1,
        }
    }
}

/// A packet to put on the link to a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// Where to.
    pub to: NodeId,
    /// What.
    pub packet: Packet,
}

/// A packet that was for this node.
#[derive(Debug)]
pub enum Delivery {
    /// One packet's worth of a message.
    Message(Vec<u8>),
    /// A reply to a reply block made here.
    Reply(SurbId, SealedReply),
}

#[derive(Debug)]
struct Held {
    due: Instant,
    order: u64,
    transmit: Transmit,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.order) == (other.due, other.order)
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

/// A mixnode's state machine: takes a layer off each packet, drops what it saw before, holds the
/// rest for the time its sender chose, and says when to send what to whom.
///
/// Every participant runs one; those that only receive set [`MixnodeConfig::relay`] to `false`.
#[derive(Debug)]
pub struct Mixnode {
    key: PrivateKey,
    config: MixnodeConfig,
    replay: ReplayFilter,
    held: BinaryHeap<Reverse<Held>>,
    deliveries: VecDeque<Delivery>,
    arrivals: u64,
    stats: MixStats,
}

impl Mixnode {
    /// A node with this mix key, which must not have been used by an earlier run.
    #[must_use]
    pub fn new(key: PrivateKey, config: MixnodeConfig) -> Self {
        Self {
            replay: ReplayFilter::new(config.replay_tags_max),
            key,
            config,
            held: BinaryHeap::new(),
            deliveries: VecDeque::new(),
            arrivals: 0,
            stats: MixStats::default(),
        }
    }

    /// The key senders encrypt to.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// The network's packet sizes.
    #[must_use]
    pub const fn geometry(&self) -> Geometry {
        self.config.geometry
    }

    /// What was counted since the start.
    #[must_use]
    pub const fn stats(&self) -> MixStats {
        self.stats
    }

    /// Takes a packet from a link. A bad one is dropped and counted, without a word to the sender.
    pub fn handle_input(&mut self, bytes: Vec<u8>, now: Instant) {
        self.stats.received += 1;
        if let Err(reason) = self.accept(bytes, now) {
            self.stats.count_drop(reason);
        }
    }

    fn accept(&mut self, bytes: Vec<u8>, now: Instant) -> Result<(), DropReason> {
        let unwrapped = Packet::from_bytes(self.config.geometry, bytes)
            .and_then(|packet| packet.process(&self.key))
            .map_err(|_| DropReason::Malformed)?;
        match self.replay.check(unwrapped.replay_tag) {
            ReplayVerdict::Fresh => {}
            ReplayVerdict::Replayed => return Err(DropReason::Replayed),
            ReplayVerdict::Full => return Err(DropReason::ReplayFilterFull),
        }
        let delivery = match unwrapped.outcome {
            Processed::Forward {
                next,
                delay,
                packet,
            } => {
                return self.hold(Transmit { to: next, packet }, delay, now);
            }
            Processed::Deliver { payload } => Delivery::Message(payload),
            Processed::Reply { surb, reply } => Delivery::Reply(surb, reply),
        };
        if self.deliveries.len() >= self.config.deliveries_max {
            return Err(DropReason::QueueFull);
        }
        self.deliveries.push_back(delivery);
        self.stats.delivered += 1;
        Ok(())
    }

    fn hold(
        &mut self,
        transmit: Transmit,
        delay: Duration,
        now: Instant,
    ) -> Result<(), DropReason> {
        if !self.config.relay {
            return Err(DropReason::NotARelay);
        }
        if delay > self.config.delay_max {
            return Err(DropReason::DelayTooLong);
        }
        if self.held.len() >= self.config.queue_packets_max {
            return Err(DropReason::QueueFull);
        }
        self.arrivals += 1;
        self.held.push(Reverse(Held {
            due: now + delay,
            order: self.arrivals,
            transmit,
        }));
        Ok(())
    }

    /// The next packet whose delay is over at `now`.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if self.held.peek()?.0.due > now {
            return None;
        }
        self.stats.forwarded += 1;
        self.held.pop().map(|Reverse(held)| held.transmit)
    }

    /// The next packet that was for this node.
    pub fn poll_delivery(&mut self) -> Option<Delivery> {
        self.deliveries.pop_front()
    }

    /// When [`Mixnode::poll_transmit`] next has something, if nothing comes in before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.held.peek().map(|Reverse(held)| held.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::keys_and_route;
    use fogcompute_base::OsEntropy;

    fn packet_for(route: &[crate::Hop]) -> Vec<u8> {
        Packet::build(Geometry::DEFAULT, route, b"fog", &mut OsEntropy)
            .unwrap()
            .into_bytes()
    }

    fn node(config: MixnodeConfig) -> (Mixnode, Vec<crate::Hop>) {
        let (mut keys, route) = keys_and_route(2);
        (Mixnode::new(keys.swap_remove(0), config), route)
    }

    #[test]
    fn a_packet_is_held_for_the_senders_delay_and_sent_once() {
        let (mut mixnode, route) = node(MixnodeConfig::default());
        let start = Instant::from_millis(1000);
        mixnode.handle_input(packet_for(&route), start);
        let due = start + Duration::from_millis(1);
        assert_eq!(mixnode.poll_timeout(), Some(due));
        assert_eq!(mixnode.poll_transmit(start), None);
        let transmit = mixnode.poll_transmit(due).unwrap();
        assert_eq!(transmit.to, route[1].node);
        assert_eq!(
            transmit.packet.as_bytes().len(),
            Geometry::DEFAULT.packet_bytes()
        );
        assert_eq!(mixnode.poll_transmit(due), None);
        assert_eq!(mixnode.stats().forwarded, 1);
    }

    #[test]
    fn packets_leave_in_the_order_of_their_deadlines() {
        let (mut mixnode, mut route) = node(MixnodeConfig::default());
        for millis in [30, 10, 20] {
            route[0].delay = Duration::from_millis(millis);
            mixnode.handle_input(packet_for(&route), Instant::ZERO);
        }
        for millis in [10, 20, 30] {
            let due = Instant::from_millis(millis);
            assert_eq!(mixnode.poll_timeout(), Some(due));
            assert!(mixnode.poll_transmit(due).is_some());
        }
    }

    #[test]
    fn a_replay_is_dropped_even_with_the_top_bit_of_alpha_flipped() {
        let (mut mixnode, route) = node(MixnodeConfig::default());
        let mut packet = packet_for(&route);
        mixnode.handle_input(packet.clone(), Instant::ZERO);
        mixnode.handle_input(packet.clone(), Instant::ZERO);
        packet[31] ^= 0x80;
        mixnode.handle_input(packet, Instant::ZERO);
        assert_eq!(mixnode.stats().replayed, 2);
        let end = Instant::from_nanos(u64::MAX);
        assert!(mixnode.poll_transmit(end).is_some());
        assert_eq!(mixnode.poll_transmit(end), None);
    }

    #[test]
    fn limits_drop_and_count() {
        let config = MixnodeConfig {
            queue_packets_max: 1,
            replay_tags_max: 3,
            delay_max: Duration::from_millis(50),
            ..MixnodeConfig::default()
        };
        let (mut mixnode, mut route) = node(config);
        mixnode.handle_input(packet_for(&route), Instant::ZERO);
        mixnode.handle_input(packet_for(&route), Instant::ZERO);
        route[0].delay = Duration::from_millis(51);
        mixnode.handle_input(packet_for(&route), Instant::ZERO);
        mixnode.handle_input(packet_for(&route), Instant::ZERO);
        mixnode.handle_input(vec![1; 3], Instant::ZERO);
        let stats = mixnode.stats();
        assert_eq!(
            (stats.overloaded, stats.refused, stats.malformed),
            (2, 1, 1)
        );
        assert_eq!(stats.received, 5);
    }

    #[test]
    fn a_receiver_takes_its_own_packets_and_relays_none() {
        let config = MixnodeConfig {
            relay: false,
            deliveries_max: 1,
            ..MixnodeConfig::default()
        };
        let (mut mixnode, route) = node(config);
        mixnode.handle_input(packet_for(&route), Instant::ZERO);
        assert_eq!(mixnode.stats().refused, 1);
        for _ in 0..2 {
            mixnode.handle_input(packet_for(&route[..1]), Instant::ZERO);
        }
        assert!(matches!(mixnode.poll_delivery(), Some(Delivery::Message(m)) if m == b"fog"));
        assert!(mixnode.poll_delivery().is_none());
        assert_eq!(mixnode.stats().overloaded, 1);
    }
}
