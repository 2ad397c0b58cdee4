//! One link to a neighbour: what waits to leave over it, and how much may come in.

use std::collections::VecDeque;
use std::time::Duration;

use fogcompute_base::Instant;

use crate::packet::{PAYLOAD_BYTES_MAX, PacketError, PeerId, frame_length};

/// A link, as the host numbers them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkId(pub u64);

/// What a link can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkConfig {
    /// Most bytes of one frame. What is longer is sent in fragments.
    pub frame_bytes_max: usize,
    /// Whether what is written at once may come in several pieces, or joined. Where it does not, every
    /// input is one frame.
    pub joins_writes: bool,
}

impl LinkConfig {
    /// Bluetooth with the MTU that the apps ask for: a value has at most 512 bytes.
    pub const BLUETOOTH: Self = Self {
        frame_bytes_max: 512,
        joins_writes: true,
    };
    /// A link that keeps frames apart, however long they are: TCP with lengths before them.
    pub const FRAMED: Self = Self {
        frame_bytes_max: PAYLOAD_BYTES_MAX + 4096,
        joins_writes: false,
    };
}

/// A frame that stays incomplete for so long is dropped.
const JOIN_TIMEOUT: Duration = Duration::from_millis(250);
/// Longest packet, with its header, route and signature.
const FRAME_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 4096;

/// Cuts what a link joined into packets.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    bytes: Vec<u8>,
    since: Instant,
}

impl Joined {
    /// Takes what came; gives whole packets. `Err` says how many beginnings were dropped because they stayed
    /// incomplete or can be no packet.
    pub(crate) fn push(&mut self, input: &[u8], now: Instant) -> (Vec<Vec<u8>>, Vec<PacketError>) {
        let mut errors = Vec::new();
        if !self.bytes.is_empty() && now.duration_since(self.since) >= JOIN_TIMEOUT {
            let cut = fogcompute_base::wire::DecodeError::Truncated {
                at: self.bytes.len(),
                needed: 1,
            };
            errors.push(PacketError::Truncated(cut));
            self.bytes.clear();
        }
        self.bytes.extend_from_slice(input);
        self.since = now;
        let mut frames = Vec::new();
        let mut at = 0;
        while at < self.bytes.len() {
            // Padding, or what is left of something that was cut.
            if !matches!(self.bytes[at], 1 | 2) {
                at += 1;
                continue;
            }
            match frame_length(&self.bytes[at..]) {
                Ok(Some(length)) if length <= self.bytes.len() - at => {
                    frames.push(self.bytes[at..at + length].to_vec());
                    at += length;
                }
                Ok(Some(length)) if length > FRAME_BYTES_MAX => {
                    errors.push(PacketError::TooLong {
                        actual: length,
                        limit: FRAME_BYTES_MAX,
                    });
                    at += 1;
                }
                Ok(_) => break,
                Err(error) => {
                    errors.push(error);
                    at += 1;
                }
            }
        }
        self.bytes.drain(..at);
        (frames, errors)
    }
}

/// How many packets a link may bring: so many at once, and so many more in a second.
#[derive(Debug)]
pub(crate) struct Budget {
    burst: u64,
    per_second: u64,
    /// In packets times 10⁹.
    tokens: u64,
    since: Instant,
}

const NANOS: u64 = 1_000_000_000;

impl Budget {
    pub(crate) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        let burst = u64::from(burst) * NANOS;
        Self {
            burst,
            per_second: per_second.into(),
            tokens: burst,
            since: now,
        }
    }

    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let elapsed = u64::try_from(now.duration_since(self.since).as_nanos()).unwrap_or(u64::MAX);
        let gained = elapsed.saturating_mul(self.per_second);
        self.tokens = self.tokens.saturating_add(gained).min(self.burst);
        self.since = now;
        match self.tokens.checked_sub(NANOS) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) config: LinkConfig,
    /// Who said so in an announce that came with its full time to live.
    pub(crate) announced: Option<PeerId>,
    /// Who made a session over it.
    pub(crate) proved: Option<PeerId>,
    pub(crate) queue: VecDeque<Vec<u8>>,
    pub(crate) queued_bytes: usize,
    pub(crate) is_blocked: bool,
    pub(crate) joined: Joined,
    pub(crate) budget: Budget,
    /// Until when answers to a sync request are expected.
    pub(crate) asked_until: Instant,
    /// When sync requests of the neighbour were answered.
    pub(crate) answered: VecDeque<Instant>,
    /// When each group of types is asked for next.
    pub(crate) sync_due: [Option<Instant>; 3],
    /// When the neighbour is next told what couriers tell each other.
    pub(crate) news_due: Instant,
}

impl Link {
    /// Who is at the other end, as far as it is known.
    pub(crate) fn peer(&self) -> Option<PeerId> {
        self.proved.or(self.announced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, PacketType};
    use fogcompute_base::UnixMillis;
    use proptest::prelude::*;

    fn frame(kind: PacketType, length: usize) -> (Vec<u8>, Vec<u8>) {
        let sender = PeerId::from_bytes([5; 8]);
        let packet = Packet::new(kind, sender, UnixMillis(9), vec![0xcc; length]).unwrap();
        (packet.encode(), packet.to_frame())
    }

    #[test]
    fn an_incomplete_frame_is_dropped_in_time() {
        let (packet, _) = frame(PacketType::MESSAGE, 50);
        let mut joined = Joined::default();
        let at = Instant::from_millis;
        assert_eq!(joined.push(&packet[..30], at(0)).0.len(), 0);
        let (frames, _) = joined.push(&packet[30..], at(249));
        assert_eq!(frames, std::slice::from_ref(&packet));
        joined.push(&packet[..30], at(300));
        let (frames, errors) = joined.push(&packet, at(550));
        assert_eq!(frames, [packet]);
        assert!(matches!(errors[..], [PacketError::Truncated(_)]));
    }

    #[test]
    fn a_length_over_the_limit_does_not_make_it_wait() {
        let (mut bad, _) = frame(PacketType::FILE, 5);
        bad[12] = 0xff;
        let (good, _) = frame(PacketType::MESSAGE, 5);
        let mut joined = Joined::default();
        let (frames, errors) = joined.push(&[bad, good.clone()].concat(), Instant::ZERO);
        assert_eq!(frames.last(), Some(&good));
        assert!(matches!(errors[0], PacketError::TooLong { .. }));
    }

    #[test]
    fn a_budget_is_spent_and_comes_back() {
        let mut budget = Budget::new(3, 2, Instant::ZERO);
        let mut taken = |ms| {
            (0..5)
                .filter(|_| budget.take(Instant::from_millis(ms)))
                .count()
        };
        assert_eq!(
            (taken(0), taken(499), taken(500), taken(60_000)),
            (3, 0, 1, 3)
        );
    }

    proptest! {
        #[test]
        fn frames_are_cut_wherever_they_were_joined(
            lengths in proptest::collection::vec((any::<bool>(), 0_usize..300), 1..6),
            cut in 1_usize..100,
        ) {
            let mut bytes = Vec::new();
            let mut sent = Vec::new();
            for (padded, length) in lengths {
                let kind = if padded { PacketType::ENCRYPTED } else { PacketType::MESSAGE };
                let (packet, frame) = frame(kind, length);
                // Padding of one or two bytes looks like the start of a packet.
                prop_assume!(!matches!(frame.len() - packet.len(), 1 | 2));
                sent.push(packet);
                bytes.extend(frame);
            }
            let mut joined = Joined::default();
            let mut received = Vec::new();
            for piece in bytes.chunks(cut) {
                received.extend(joined.push(piece, Instant::ZERO).0);
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn any_bytes_are_cut_without_panic(
            pieces in proptest::collection::vec(proptest::collection::vec(0_u8..6, 0..60), 0..20),
        ) {
            let mut joined = Joined::default();
            for piece in pieces {
                joined.push(&piece, Instant::ZERO);
            }
        }
    }
}
