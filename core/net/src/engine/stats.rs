//! What an engine counts.

use fogcompute_mix::MixStats;

use crate::udp::Refusal;

/// What a [`MixEngine`](crate::MixEngine) counted since its start, over all threads.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EngineStats {
    /// What the mixnode counted.
    pub mix: MixStats,
    /// Datagrams that came in.
    pub datagrams: u64,
    /// Cover that came in.
    pub cover: u64,
    /// Packets sent.
    pub sent: u64,
    /// Datagrams of handshakes, and cover, sent.
    pub links_sent: u64,
    /// Datagrams dropped: another length than those of this network.
    pub length: u64,
    /// Datagrams dropped: neither data nor of a handshake.
    pub kind: u64,
    /// Datagrams dropped: no such link or handshake, or no more.
    pub index: u64,
    /// Datagrams dropped: did not verify.
    pub forged: u64,
    /// Datagrams dropped: came before.
    pub replayed: u64,
    /// Initiations dropped while many came: the sender's address is not proven; a retry went there.
    pub unproven: u64,
    /// Datagrams dropped: the peer, or all who start handshakes, are over their rate.
    pub over_rate: u64,
    /// Initiations dropped: no room for another link.
    pub full: u64,
    /// Packets dropped on their way in: the engine is ending.
    pub draining: u64,
    /// Packets dropped: their next hop is in no directory.
    pub unknown_peer: u64,
    /// Packets dropped: no link to their next hop in time.
    pub unreachable: u64,
    /// Packets and datagrams of handshakes dropped: the system did not send them.
    pub unsent: u64,
    /// Packets for this node dropped: the host does not take them.
    pub undelivered: u64,
    /// Packets dropped: still held when the engine ended.
    pub undrained: u64,
}

impl EngineStats {
    /// Datagrams that were dropped before a packet was seen, for whatever reason.
    #[must_use]
    pub const fn link_refused(&self) -> u64 {
        self.length
            + self.kind
            + self.index
            + self.forged
            + self.replayed
            + self.over_rate
            + self.full
            + self.unproven
    }

    pub(super) fn count_refusal(&mut self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::Length => &mut self.length,
            Refusal::Kind => &mut self.kind,
            Refusal::Index => &mut self.index,
            Refusal::Forged => &mut self.forged,
            Refusal::Replayed => &mut self.replayed,
            Refusal::Unproven => &mut self.unproven,
            Refusal::OverRate => &mut self.over_rate,
            Refusal::Full => &mut self.full,
        };
        *counter += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        let mut other = *other;
        for (sum, other) in self.counters().into_iter().zip(other.counters()) {
            *sum += *other;
        }
    }

    /// Every counter there is: a new one belongs here.
    fn counters(&mut self) -> [&mut u64; 26] {
        let Self {
            mix:
                MixStats {
                    received,
                    forwarded,
                    delivered,
                    malformed,
                    replayed: mix_replayed,
                    overloaded,
                    late,
                    refused,
                },
            datagrams,
            cover,
            sent,
            links_sent,
            length,
            kind,
            index,
            forged,
            replayed,
            unproven,
            over_rate,
            full,
            draining,
            unknown_peer,
            unreachable,
            unsent,
            undelivered,
            undrained,
        } = self;
        [
            received,
            forwarded,
            delivered,
            malformed,
            mix_replayed,
            overloaded,
            late,
            refused,
            datagrams,
            cover,
            sent,
            links_sent,
            length,
            kind,
            index,
            forged,
            replayed,
            unproven,
            over_rate,
            full,
            draining,
            unknown_peer,
            unreachable,
            unsent,
            undelivered,
            undrained,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_added() {
        let mut one = EngineStats::default();
        for (counter, value) in one.counters().into_iter().zip(1..) {
            *counter = value;
        }
        let mut sum = one;
        sum.add(&one);
        let doubled: Vec<_> = sum.counters().into_iter().map(|counter| *counter).collect();
        assert_eq!(doubled, (1..=26).map(|value| 2 * value).collect::<Vec<_>>());
    }

    #[test]
    fn every_refusal_has_its_counter() {
        let mut stats = EngineStats::default();
        for refusal in [
            Refusal::Length,
            Refusal::Kind,
            Refusal::Index,
            Refusal::Forged,
            Refusal::Replayed,
            Refusal::Unproven,
            Refusal::OverRate,
            Refusal::Full,
        ] {
            stats.count_refusal(refusal);
        }
        assert_eq!(stats.link_refused(), 8);
        let counters = stats.counters().into_iter().map(|counter| *counter);
        let counted: Vec<_> = counters
            .enumerate()
            .filter(|(_, value)| *value == 1)
            .collect();
        assert_eq!(counted.len(), 8);
    }
}
