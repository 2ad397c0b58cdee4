//! Packets in parts, for links that carry less than a packet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fogcompute_base::Instant;
use fogcompute_base::wire::{Reader, Writer};
use thiserror::Error;

use crate::packet::{PAYLOAD_BYTES_MAX, Packet, PacketError, PacketType, PeerId};

/// Most fragments of a packet that is sent: what the Android app accepts.
pub const FRAGMENTS_SENT_MAX: usize = 256;
/// Most fragments of a packet that is received: what the iOS app sends.
pub const FRAGMENTS_RECEIVED_MAX: usize = 10_000;
/// Bytes of the packet in one fragment, unless a link carries less.
pub const FRAGMENT_BYTES: usize = 469;
/// Longest value of a Bluetooth attribute: fragments are passed on over links that carry no more.
pub(crate) const FRAGMENT_FRAME_BYTES: usize = 512;
/// Fewest bytes of the packet in one fragment.
const FRAGMENT_BYTES_MIN: usize = 64;
/// Longest packet that fragments may make.
const PACKET_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 4096;

const HEADER_BYTES: usize = 13;

/// The payload of a fragment: which packet, 8 random bytes; number and count, `u16`; type of the packet; its
/// bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fragment<'a> {
    /// The packet it is of.
    pub id: [u8; 8],
    /// Its number.
    pub index: u16,
    /// How many there are.
    pub total: u16,
    /// What the packet is.
    pub kind: PacketType,
    /// The packet's bytes.
    pub data: &'a [u8],
}

/// Why a packet is not cut, or a fragment not accepted.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FragmentError {
    /// The fragment has no header, or no bytes after it.
    #[error("fragment of {actual} bytes is too short")]
    Short {
        /// Its length.
        actual: usize,
    },
    /// A number that is not below the count, no fragments at all, or more than any packet has.
    #[error("fragment {index} of {total} cannot be")]
    Impossible {
        /// Its number.
        index: u16,
        /// How many it says there are.
        total: u16,
    },
    /// It differs from what is there of the same packet.
    #[error("fragment does not fit those before it")]
    Conflict,
    /// The packet is longer than is kept.
    #[error("fragments make more than {limit} bytes")]
    TooLong {
        /// Most bytes.
        limit: usize,
    },
    /// The packet would take more fragments than others accept.
    #[error("packet of {bytes} bytes takes more than {limit} fragments")]
    TooMany {
        /// The packet's length.
        bytes: usize,
        /// Most fragments.
        limit: usize,
    },
    /// A fragment's packet could not be made.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

impl<'a> Fragment<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`FragmentError::Short`], [`FragmentError::Impossible`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FragmentError> {
        let short = FragmentError::Short {
            actual: bytes.len(),
        };
        if bytes.len() <= HEADER_BYTES {
            return Err(short);
        }
        let mut reader = Reader::new(bytes);
        let read = |_| short;
        let id = reader.array().map_err(read)?;
        let index = reader.u16().map_err(read)?;
        let total = reader.u16().map_err(read)?;
        let kind = PacketType(reader.u8().map_err(read)?);
        if index >= total || usize::from(total) > FRAGMENTS_RECEIVED_MAX {
            return Err(FragmentError::Impossible { index, total });
        }
        Ok(Self {
            id,
            index,
            total,
            kind,
            data: &bytes[HEADER_BYTES..],
        })
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(&self.id);
        writer.u16(self.index);
        writer.u16(self.total);
        writer.u8(self.kind.0);
        writer.raw(self.data);
        writer.finish()
    }
}

/// Cuts a packet into fragments whose packets have at most `frame_bytes`, and never more than 512: they are
/// passed on over any link. `id` must be random.
///
/// # Errors
/// [`FragmentError::TooMany`].
pub fn split(
    packet: &Packet,
    frame_bytes: usize,
    id: [u8; 8],
) -> Result<Vec<Packet>, FragmentError> {
    let bytes = packet.encode();
    let around = match packet.route() {
        // Version 2, and the hops in every fragment.
        Some(hops) => 16 + 8 + 8 + 1 + 8 * hops.len() + HEADER_BYTES,
        None => 14 + 8 + HEADER_BYTES + if packet.recipient.is_some() { 8 } else { 0 },
    };
    let data_bytes = frame_bytes
        .min(FRAGMENT_FRAME_BYTES)
        .saturating_sub(around)
        .clamp(FRAGMENT_BYTES_MIN, FRAGMENT_BYTES);
    let count = bytes.len().div_ceil(data_bytes);
    let total = u16::try_from(count)
        .ok()
        .filter(|_| count <= FRAGMENTS_SENT_MAX)
        .ok_or(FragmentError::TooMany {
            bytes: bytes.len(),
            limit: FRAGMENTS_SENT_MAX,
        })?;
    (0..total)
        .zip(bytes.chunks(data_bytes))
        .map(|(index, data)| {
            let payload = Fragment {
                id,
                index,
                total,
                kind: packet.kind,
                data,
            };
            let mut fragment = Packet::new(
                PacketType::FRAGMENT,
                packet.sender,
                packet.timestamp,
                payload.encode(),
            )?
            .unpacked();
            fragment.recipient = packet.recipient;
            fragment.ttl = packet.ttl;
            if let Some(route) = packet.route() {
                fragment.set_route(route.to_vec())?;
            }
            Ok(fragment)
        })
        .collect()
}

/// Limits of a [`Reassembler`].
#[derive(Clone, Copy, Debug)]
pub struct ReassemblyConfig {
    /// Most packets that are incomplete.
    pub sets_max: usize,
    /// Most bytes of all of them.
    pub bytes_max: usize,
    /// How long after its first fragment a packet is given up.
    pub timeout: Duration,
}

impl Default for ReassemblyConfig {
    fn default() -> Self {
        Self {
            sets_max: 128,
            bytes_max: 4 << 20,
            timeout: Duration::from_secs(30),
        }
    }
}

type Key = (PeerId, [u8; 8]);

struct Set {
    /// Where the first fragment came from.
    source: u64,
    until: Instant,
    total: u16,
    kind: PacketType,
    parts: BTreeMap<u16, Vec<u8>>,
    bytes: usize,
}

/// What a fragment costs beside its bytes: a flood of short ones must not take more than was allowed.
const PART_OVERHEAD_BYTES: usize = 64;

/// Puts packets together.
///
/// When there is no room, what gives way is the oldest packet of the source that has most: a flood over one
/// link takes room from itself.
pub struct Reassembler {
    config: ReassemblyConfig,
    sets: BTreeMap<Key, Set>,
    /// In the order of their first fragments.
    order: VecDeque<Key>,
    bytes: usize,
    given_up: u64,
}

impl Reassembler {
    /// Nothing yet.
    #[must_use]
    pub const fn new(config: ReassemblyConfig) -> Self {
        Self {
            config,
            sets: BTreeMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            given_up: 0,
        }
    }

    /// Packets that are incomplete.
    #[must_use]
    pub fn incomplete(&self) -> usize {
        self.sets.len()
    }

    /// Bytes they take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Packets that were given up, out of time or out of room.
    #[must_use]
    pub const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// When the oldest incomplete packet is given up.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.order
            .front()
            .and_then(|key| Some(self.sets.get(key)?.until))
    }

    /// Gives up what is out of time.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.order.front().copied()
            && self.sets.get(&key).is_none_or(|set| set.until <= now)
        {
            self.give_up(key);
        }
    }

    /// Takes a fragment that came over `source`; gives the packet's bytes when it is whole. A fragment that
    /// was there already changes nothing.
    ///
    /// # Errors
    /// [`FragmentError::Conflict`], [`FragmentError::TooLong`].
    pub fn insert(
        &mut self,
        sender: PeerId,
        fragment: &Fragment<'_>,
        source: u64,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, FragmentError> {
        self.handle_timeout(now);
        let key = (sender, fragment.id);
        let cost = fragment.data.len() + PART_OVERHEAD_BYTES;
        if let Some(set) = self.sets.get(&key) {
            if set.total != fragment.total || set.kind != fragment.kind {
                return Err(FragmentError::Conflict);
            }
            if let Some(part) = set.parts.get(&fragment.index) {
                return if part == fragment.data {
                    Ok(None)
                } else {
                    Err(FragmentError::Conflict)
                };
            }
        }
        let limit = PACKET_BYTES_MAX.min(self.config.bytes_max);
        let held = self.sets.get(&key).map_or(0, |set| set.bytes);
        if held + cost > limit {
            if self.sets.contains_key(&key) {
                self.give_up(key);
            }
            return Err(FragmentError::TooLong { limit });
        }
        let new = !self.sets.contains_key(&key);
        while self.bytes + cost > self.config.bytes_max
            || new && self.sets.len() >= self.config.sets_max.max(1)
        {
            self.make_room(key);
        }
        let until = now + self.config.timeout;
        let set = self.sets.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            Set {
                source,
                until,
                total: fragment.total,
                kind: fragment.kind,
                parts: BTreeMap::new(),
                bytes: 0,
            }
        });
        set.parts.insert(fragment.index, fragment.data.to_vec());
        set.bytes += cost;
        self.bytes += cost;
        if set.parts.len() < usize::from(set.total) {
            return Ok(None);
        }
        let set = self.remove(key).expect("it was filled just now");
        Ok(Some(set.parts.into_values().flatten().collect()))
    }

    fn remove(&mut self, key: Key) -> Option<Set> {
        let set = self.sets.remove(&key)?;
        self.order.retain(|other| *other != key);
        self.bytes -= set.bytes;
        Some(set)
    }

    fn give_up(&mut self, key: Key) {
        if self.remove(key).is_some() {
            self.given_up += 1;
        }
    }

    /// Gives up one packet, and another one than `but` if there is any.
    fn make_room(&mut self, but: Key) {
        let mut of_source = BTreeMap::<u64, usize>::new();
        for (_, set) in self.sets.iter().filter(|(key, _)| **key != but) {
            *of_source.entry(set.source).or_default() += set.bytes;
        }
        let most = of_source
            .into_iter()
            .max_by_key(|(source, bytes)| (*bytes, *source))
            .map(|(source, _)| source);
        let oldest = self
            .order
            .iter()
            .copied()
            .find(|key| *key != but && self.sets.get(key).map(|set| set.source) == most)
            .unwrap_or(but);
        self.give_up(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::UnixMillis;
    use proptest::prelude::*;

    const SENDER: PeerId = PeerId::from_bytes([1; 8]);

    fn packet(payload: &[u8]) -> Packet {
        // Signed, and so of a length that does not depend on what is in it.
        Packet::new(PacketType::FILE, SENDER, UnixMillis(9), payload.to_vec()).unwrap()
    }

    fn fragment(id: u8, index: u16, total: u16, data: &[u8]) -> Fragment<'_> {
        Fragment {
            id: [id; 8],
            index,
            total,
            kind: PacketType::FILE,
            data,
        }
    }

    #[test]
    fn impossible_fragments_are_refused() {
        for (index, total) in [(0, 0), (1, 1), (5, 4), (0, 10_001)] {
            let bytes = fragment(1, index, total, &[1]).encode();
            assert_eq!(
                Fragment::decode(&bytes),
                Err(FragmentError::Impossible { index, total })
            );
        }
        assert_eq!(
            Fragment::decode(&fragment(1, 0, 1, &[]).encode()),
            Err(FragmentError::Short { actual: 13 })
        );
    }

    #[test]
    fn a_packet_that_takes_more_than_256_is_not_cut() {
        let noise: Vec<u8> = (0..FRAGMENT_BYTES * 256_usize)
            .map(|n| ((n * n) >> 3) as u8 ^ n as u8)
            .collect();
        let fits = packet(&noise[24..]);
        assert_eq!(split(&fits, 512, [1; 8]).map(|all| all.len()), Ok(256));
        assert!(matches!(
            split(&packet(&noise), 512, [1; 8]),
            Err(FragmentError::TooMany { limit: 256, .. })
        ));
    }

    #[test]
    fn what_never_finishes_is_given_up_in_time() {
        let mut held = Reassembler::new(ReassemblyConfig::default());
        let second = Duration::from_secs(1);
        let now = Instant::ZERO;
        held.insert(SENDER, &fragment(1, 0, 2, &[1]), 0, now)
            .unwrap();
        held.insert(SENDER, &fragment(2, 0, 2, &[1]), 0, now + second)
            .unwrap();
        assert_eq!(held.poll_timeout(), Some(now + second * 30));
        held.handle_timeout(now + second * 30);
        assert_eq!((held.incomplete(), held.given_up()), (1, 1));
        // Fragments that come later do not give it more time.
        held.insert(SENDER, &fragment(2, 0, 2, &[1]), 0, now + second * 30)
            .unwrap();
        held.handle_timeout(now + second * 31);
        assert_eq!((held.incomplete(), held.bytes()), (0, 0));
    }

    #[test]
    fn a_fragment_that_differs_from_one_before_it_is_refused() {
        let mut held = Reassembler::new(ReassemblyConfig::default());
        let mut insert = |fragment: &Fragment<'_>| held.insert(SENDER, fragment, 0, Instant::ZERO);
        assert_eq!(insert(&fragment(1, 0, 2, &[1])), Ok(None));
        assert_eq!(insert(&fragment(1, 0, 2, &[1])), Ok(None));
        for other in [fragment(1, 0, 2, &[2]), fragment(1, 1, 3, &[2])] {
            assert_eq!(insert(&other), Err(FragmentError::Conflict));
        }
        assert_eq!(insert(&fragment(1, 1, 2, &[2])), Ok(Some(vec![1, 2])));
    }

    #[test]
    fn a_flood_over_one_link_takes_no_room_from_another() {
        let config = ReassemblyConfig {
            sets_max: 8,
            bytes_max: 16 * (PART_OVERHEAD_BYTES + 100),
            ..ReassemblyConfig::default()
        };
        let mut held = Reassembler::new(config);
        let now = Instant::ZERO;
        held.insert(SENDER, &fragment(255, 0, 2, &[7]), 1, now)
            .unwrap();
        for id in 0..100 {
            for index in 0..3 {
                let flood = fragment(id, index, 9, &[0; 100]);
                held.insert(PeerId::from_bytes([id; 8]), &flood, 2, now)
                    .unwrap();
            }
            assert!(held.bytes() <= config.bytes_max && held.incomplete() <= 8);
        }
        assert_eq!(
            held.insert(SENDER, &fragment(255, 1, 2, &[8]), 1, now),
            Ok(Some(vec![7, 8]))
        );
    }

    #[test]
    fn one_packet_takes_no_more_than_a_packet() {
        let mut held = Reassembler::new(ReassemblyConfig {
            bytes_max: 1000,
            ..ReassemblyConfig::default()
        });
        let now = Instant::ZERO;
        held.insert(SENDER, &fragment(1, 0, 9, &[0; 900]), 0, now)
            .unwrap();
        assert_eq!(
            held.insert(SENDER, &fragment(1, 1, 9, &[0; 900]), 0, now),
            Err(FragmentError::TooLong { limit: 1000 })
        );
        assert_eq!((held.incomplete(), held.bytes()), (0, 0));
    }

    proptest! {
        #[test]
        fn packets_are_put_together_from_fragments_in_any_order(
            payload in proptest::collection::vec(any::<u8>(), 0..5000),
            frame_bytes in 0_usize..700, routed in any::<bool>(), seed in any::<u64>(),
        ) {
            let mut whole = packet(&payload).to(SENDER);
            if routed {
                whole.set_route(vec![SENDER, SENDER]).unwrap();
            }
            let mut fragments = split(&whole, frame_bytes, [3; 8]).unwrap();
            for fragment in &fragments {
                let least = 16 + 8 + 8 + 1 + 16 + HEADER_BYTES + FRAGMENT_BYTES_MIN;
                prop_assert!(fragment.encode().len() <= frame_bytes.max(least).min(512));
            }
            // A permutation, and everything twice.
            let count = fragments.len();
            for index in 0..count {
                let other = (seed as usize).wrapping_mul(index + 1) % count;
                fragments.swap(index, other);
            }
            let mut held = Reassembler::new(ReassemblyConfig::default());
            let mut made = None;
            for fragment in fragments.iter().flat_map(|fragment| [fragment, fragment]) {
                let read = Fragment::decode(fragment.payload()).unwrap();
                let put = held.insert(SENDER, &read, 0, Instant::ZERO).unwrap();
                made = made.or(put);
                if made.is_some() {
                    break;
                }
            }
            let (read, _) = Packet::decode(&made.unwrap()).unwrap();
            prop_assert_eq!(read, whole);
            prop_assert_eq!(held.bytes(), 0);
        }

        #[test]
        fn any_fragments_stay_within_the_limits(
            inserts in proptest::collection::vec((0_u8..6, 0_u16..5, 1_u16..6, 0_usize..300, 0_u64..3), 0..80),
        ) {
            let config = ReassemblyConfig { sets_max: 3, bytes_max: 900, ..ReassemblyConfig::default() };
            let mut held = Reassembler::new(config);
            for (id, index, total, length, source) in inserts {
                let data = vec![id; length];
                let bytes = fragment(id, index, total, &data).encode();
                if let Ok(read) = Fragment::decode(&bytes) {
                    let _ = held.insert(SENDER, &read, source, Instant::ZERO);
                }
                prop_assert!(held.incomplete() <= 3 && held.bytes() <= 900);
                prop_assert_eq!(held.order.len(), held.sets.len());
            }
        }
    }
}
