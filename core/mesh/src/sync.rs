//! What peers tell each other of what they have, so that each gets what it missed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fogcompute_base::UnixMillis;
use thiserror::Error;

use crate::gcs::{Gcs, GcsError};
use crate::packet::{Packet, PacketType, PeerId};
use crate::tlv::{FormatError, array, fields16, from_le, minimal_le, once, put16, required, text};

/// Most fragments that a request may name.
pub const SYNC_FRAGMENTS_MAX: usize = 60;

/// Kinds of packets that peers give each other again, as a bit field.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SyncTypes(pub u64);

impl SyncTypes {
    /// Announces.
    pub const ANNOUNCES: Self = Self(1 << 0);
    /// Public messages.
    pub const MESSAGES: Self = Self(1 << 1);
    /// Fragments.
    pub const FRAGMENTS: Self = Self(1 << 5);
    /// Public files.
    pub const FILES: Self = Self(1 << 7);
    /// One-time keys.
    pub const PREKEYS: Self = Self(1 << 9);
    /// Messages to groups.
    pub const GROUPS: Self = Self(1 << 10);

    /// What has all bits of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of the other are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bit of a packet's type, if packets of it are given again.
    #[must_use]
    pub const fn of(kind: PacketType) -> Option<Self> {
        match kind {
            PacketType::ANNOUNCE => Some(Self::ANNOUNCES),
            PacketType::MESSAGE => Some(Self::MESSAGES),
            PacketType::FRAGMENT => Some(Self::FRAGMENTS),
            PacketType::FILE => Some(Self::FILES),
            PacketType::PREKEYS => Some(Self::PREKEYS),
            PacketType::GROUP => Some(Self::GROUPS),
            _ => None,
        }
    }
}

/// Why a request is refused.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SyncError {
    /// It is not of its format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Its set is none.
    #[error(transparent)]
    Set(#[from] GcsError),
}

/// What a peer has.
///
/// | tag | content |
/// |---|---|
/// | 01 | bits of a remainder, 1 byte |
/// | 02 | range, `u32` |
/// | 03 | coded set, at most 1,024 bytes |
/// | 04 | types, little-endian, as short as it can be; without it announces and messages |
/// | 05 | packets since, `u64` in ms; may be missing |
/// | 06 | fragments, ASCII: 16 digits each, commas between, at most 60; may be missing |
///
/// Each field is its tag, its length as `u16`, and the content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SyncRequest {
    /// The packets it has.
    pub set: Gcs,
    /// Which types it asks for.
    pub types: Option<SyncTypes>,
    /// Since when it asks.
    pub since: Option<UnixMillis>,
    /// Fragments it asks for, by the id of their packet.
    pub fragments: Vec<[u8; 8]>,
}

impl SyncRequest {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`SyncError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SyncError> {
        let (mut bits, mut range, mut coded) = (None, None, None);
        let (mut types, mut since, mut ids) = (None, None, None);
        let mut fields = fields16(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                1 => once(&mut bits, tag, array::<1>(tag, value)?[0])?,
                2 => once(&mut range, tag, u32::from_be_bytes(array(tag, value)?))?,
                3 => once(&mut coded, tag, value.to_vec())?,
                4 => once(&mut types, tag, SyncTypes(from_le(value)))?,
                5 => once(
                    &mut since,
                    tag,
                    UnixMillis(u64::from_be_bytes(array(tag, value)?)),
                )?,
                6 => once(&mut ids, tag, read_ids(tag, value)?)?,
                _ => {}
            }
        }
        Ok(Self {
            set: Gcs::from_parts(required(bits, 1)?, required(range, 2)?, required(coded, 3)?)?,
            types,
            since,
            fragments: ids.unwrap_or_default(),
        })
    }

    /// The payload.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] if too many fragments are named.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = Vec::new();
        put16(&mut out, 1, &[self.set.remainder_bits()])?;
        put16(&mut out, 2, &self.set.range().to_be_bytes())?;
        put16(&mut out, 3, self.set.coded())?;
        if let Some(types) = self.types {
            put16(&mut out, 4, &minimal_le(types.0))?;
        }
        if let Some(since) = self.since {
            put16(&mut out, 5, &since.0.to_be_bytes())?;
        }
        if self.fragments.len() > SYNC_FRAGMENTS_MAX {
            return Err(FormatError::TooLong {
                actual: self.fragments.len(),
                limit: SYNC_FRAGMENTS_MAX,
            });
        }
        if !self.fragments.is_empty() {
            let ids: Vec<_> = self
                .fragments
                .iter()
                .map(|id| PeerId::from_bytes(*id).to_string())
                .collect();
            put16(&mut out, 6, ids.join(",").as_bytes())?;
        }
        Ok(out)
    }

    /// Which types it asks for, said or not.
    #[must_use]
    pub const fn wanted(&self) -> SyncTypes {
        match self.types {
            Some(types) => types,
            None => SyncTypes::ANNOUNCES.with(SyncTypes::MESSAGES),
        }
    }
}

fn read_ids(tag: u8, value: &[u8]) -> Result<Vec<[u8; 8]>, FormatError> {
    let list = text(tag, value)?;
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let bad = FormatError::Value { tag };
    let ids = list
        .split(',')
        .take(SYNC_FRAGMENTS_MAX + 1)
        .map(|id| id.parse::<PeerId>().map(|id| *id.as_bytes()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| bad)?;
    if ids.len() > SYNC_FRAGMENTS_MAX {
        return Err(FormatError::TooLong {
            actual: ids.len(),
            limit: SYNC_FRAGMENTS_MAX,
        });
    }
    Ok(ids)
}

/// How many packets of a type are kept, and how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keep {
    /// Most packets.
    pub packets_max: usize,
    /// Most bytes of their payloads.
    pub bytes_max: usize,
    /// How long after it was made a packet is kept.
    pub age_max: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Keep {
    /// How packets of a type are kept unless a host says otherwise.
    #[must_use]
    pub const fn default_for(types: SyncTypes) -> Self {
        let (packets_max, bytes_max, minutes) = match types {
            SyncTypes::MESSAGES => (1000, 2 << 20, 6 * 60),
            SyncTypes::FRAGMENTS => (600, 512 << 10, 15),
            SyncTypes::FILES => (200, 8 << 20, 15),
            SyncTypes::PREKEYS => (200, 256 << 10, 24 * 60),
            SyncTypes::GROUPS => (1000, 2 << 20, 15),
            _ => (200, 256 << 10, 15),
        };
        Self {
            packets_max,
            bytes_max,
            age_max: MINUTE.saturating_mul(minutes),
        }
    }
}

/// Packets of one type that others may have missed, the newest last.
struct Shelf {
    keep: Keep,
    packets: VecDeque<([u8; 16], Packet)>,
    bytes: usize,
}

impl Shelf {
    fn drop_first(&mut self) {
        if let Some((_, packet)) = self.packets.pop_front() {
            self.bytes -= packet.payload().len();
        }
    }
}

/// What was sent and received and may be given again.
pub struct SyncStore {
    shelves: BTreeMap<u64, Shelf>,
}

impl SyncStore {
    /// Keeps packets as [`Keep::default_for`] says.
    #[must_use]
    pub fn new() -> Self {
        let shelves = [
            SyncTypes::ANNOUNCES,
            SyncTypes::MESSAGES,
            SyncTypes::FRAGMENTS,
            SyncTypes::FILES,
            SyncTypes::PREKEYS,
            SyncTypes::GROUPS,
        ]
        .map(|types| {
            let shelf = Shelf {
                keep: Keep::default_for(types),
                packets: VecDeque::new(),
                bytes: 0,
            };
            (types.0, shelf)
        });
        Self {
            shelves: shelves.into(),
        }
    }

    /// Packets that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shelves.values().map(|shelf| shelf.packets.len()).sum()
    }

    /// Whether there is nothing to give.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps a packet, if packets of its type are. Of announces and one-time keys the newest of each peer
    /// is enough.
    pub fn insert(&mut self, packet: &Packet, unix: UnixMillis) {
        let Some(types) = SyncTypes::of(packet.kind) else {
            return;
        };
        let Some(shelf) = self.shelves.get_mut(&types.0) else {
            return;
        };
        if is_old(packet, shelf.keep.age_max, unix) || packet.payload().len() > shelf.keep.bytes_max
        {
            return;
        }
        let id = packet.sync_id();
        let one_each = matches!(packet.kind, PacketType::ANNOUNCE | PacketType::PREKEYS);
        let mut freed = 0;
        let mut newer = false;
        shelf.packets.retain(|(other, held)| {
            let replaced = *other == id
                || one_each && held.sender == packet.sender && held.timestamp <= packet.timestamp;
            newer |= one_each && held.sender == packet.sender && !replaced;
            if replaced {
                freed += held.payload().len();
            }
            !replaced
        });
        shelf.bytes -= freed;
        if newer {
            return;
        }
        shelf.bytes += packet.payload().len();
        shelf.packets.push_back((id, packet.clone()));
        while shelf.packets.len() > shelf.keep.packets_max || shelf.bytes > shelf.keep.bytes_max {
            shelf.drop_first();
        }
    }

    /// Forgets what a peer announced: it has left.
    pub fn forget(&mut self, sender: PeerId) {
        if let Some(shelf) = self.shelves.get_mut(&SyncTypes::ANNOUNCES.0) {
            shelf.packets.retain(|(_, packet)| packet.sender != sender);
            shelf.bytes = shelf
                .packets
                .iter()
                .map(|(_, packet)| packet.payload().len())
                .sum();
        }
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, unix: UnixMillis) {
        for shelf in self.shelves.values_mut() {
            let age_max = shelf.keep.age_max;
            shelf
                .packets
                .retain(|(_, packet)| !is_old(packet, age_max, unix));
            shelf.bytes = shelf
                .packets
                .iter()
                .map(|(_, packet)| packet.payload().len())
                .sum();
        }
    }

    /// What is here of these types, as a request; the newest first, as far as `bytes_max` goes.
    #[must_use]
    pub fn request(&self, types: SyncTypes, bytes_max: usize) -> SyncRequest {
        let mut held: Vec<_> = self
            .of(types)
            .map(|(id, packet)| (packet.timestamp, *id))
            .collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        let ids: Vec<_> = held.into_iter().map(|(_, id)| id).collect();
        SyncRequest {
            set: Gcs::new(&ids, bytes_max),
            types: Some(types),
            since: None,
            fragments: Vec::new(),
        }
    }

    /// What the asker misses, at most `packets_max` of it, marked as an answer that goes no further. What is for one
    /// peer is given to that one alone.
    #[must_use]
    pub fn answer(
        &self,
        request: &SyncRequest,
        asker: Option<PeerId>,
        packets_max: usize,
        unix: UnixMillis,
    ) -> Vec<Packet> {
        let held = self
            .of(request.wanted())
            .filter(|(_, packet)| {
                let types = SyncTypes::of(packet.kind).unwrap_or_default();
                let always = matches!(packet.kind, PacketType::ANNOUNCE | PacketType::PREKEYS);
                let asked = request.since.is_none_or(|since| packet.timestamp >= since);
                let named = packet.kind != PacketType::FRAGMENT
                    || request.fragments.is_empty()
                    || request
                        .fragments
                        .iter()
                        .any(|id| packet.payload().starts_with(id));
                let keep = self.shelves.get(&types.0).map(|shelf| shelf.keep.age_max);
                let is_for_asker = packet.is_broadcast() || packet.recipient == asker;
                (always || asked)
                    && is_for_asker
                    && named
                    && keep.is_some_and(|age_max| !is_old(packet, age_max, unix))
            })
            .map(|(id, packet)| (id, packet));
        request
            .set
            .missing(held)
            .take(packets_max)
            .map(|packet| {
                let mut packet = packet.clone();
                packet.ttl = 0;
                packet.answer = true;
                packet
            })
            .collect()
    }

    fn of(&self, types: SyncTypes) -> impl Iterator<Item = &([u8; 16], Packet)> {
        self.shelves
            .iter()
            .filter(move |(bit, _)| types.has(SyncTypes(**bit)))
            .flat_map(|(_, shelf)| &shelf.packets)
    }
}

impl Default for SyncStore {
    fn default() -> Self {
        Self::new()
    }
}

fn is_old(packet: &Packet, age_max: Duration, unix: UnixMillis) -> bool {
    let age = unix.0.saturating_sub(packet.timestamp.0);
    Duration::from_millis(age) > age_max
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(100_000_000);

    fn message(sender: u8, text: &str, age_ms: u64) -> Packet {
        Packet::new(
            PacketType::MESSAGE,
            PeerId::from_bytes([sender; 8]),
            UnixMillis(NOW.0 - age_ms),
            text.as_bytes().to_vec(),
        )
        .unwrap()
    }

    fn texts(packets: &[Packet]) -> Vec<&str> {
        packets
            .iter()
            .map(|packet| std::str::from_utf8(packet.payload()).unwrap())
            .collect()
    }

    #[test]
    fn what_is_for_one_peer_is_given_to_that_one_alone() {
        let receiver = PeerId::from_bytes([2; 8]);
        let kind = PacketType::FRAGMENT;
        let sender = PeerId::from_bytes([1; 8]);
        let packet = Packet::new(kind, sender, NOW, vec![1; 40]).unwrap();
        let mut store = SyncStore::new();
        store.insert(&packet.to(receiver), NOW);
        let request = SyncStore::new().request(SyncTypes::FRAGMENTS, 400);
        for (asker, count) in [(None, 0), (Some(sender), 0), (Some(receiver), 1)] {
            assert_eq!(store.answer(&request, asker, 9, NOW).len(), count);
        }
    }

    #[test]
    fn who_asks_gets_what_it_has_not() {
        let (mut ours, mut theirs) = (SyncStore::new(), SyncStore::new());
        for (index, text) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let packet = message(1, text, index as u64);
            ours.insert(&packet, NOW);
            if index % 2 == 0 {
                theirs.insert(&packet, NOW);
            }
        }
        let request = theirs.request(SyncTypes::MESSAGES, 400);
        let request = SyncRequest::decode(&request.encode().unwrap()).unwrap();
        let answer = ours.answer(&request, None, 100, NOW);
        assert_eq!(texts(&answer), ["b", "d"]);
        assert!(answer.iter().all(|packet| packet.answer && packet.ttl == 0));
        assert_eq!(ours.answer(&request, None, 1, NOW).len(), 1);
        let since = SyncRequest {
            since: Some(UnixMillis(NOW.0 - 2)),
            ..request
        };
        assert_eq!(texts(&ours.answer(&since, None, 100, NOW)), ["b"]);
        assert_eq!(
            ours.answer(&theirs.request(SyncTypes::FILES, 400), None, 9, NOW)
                .len(),
            0
        );
    }

    #[test]
    fn what_is_old_is_neither_kept_nor_given() {
        let mut store = SyncStore::new();
        let hours = 6 * 3_600_000;
        store.insert(&message(1, "old", hours + 1), NOW);
        assert!(store.is_empty());
        store.insert(&message(1, "new", hours), NOW);
        let request = SyncStore::new().request(SyncTypes::MESSAGES, 400);
        assert_eq!(store.answer(&request, None, 9, NOW).len(), 1);
        let later = UnixMillis(NOW.0 + 1);
        assert_eq!(store.answer(&request, None, 9, later).len(), 0);
        store.expire(later);
        assert!(store.is_empty());
    }

    #[test]
    fn shelves_are_bounded_and_the_newest_announce_of_a_peer_is_enough() {
        let mut store = SyncStore::new();
        for index in 0..1100_u64 {
            store.insert(&message(1, &index.to_string(), index), NOW);
        }
        assert_eq!(store.len(), 1000);
        let announce = |age| {
            let mut packet = message(2, "announce", age);
            packet.kind = PacketType::ANNOUNCE;
            packet
        };
        for age in [9, 5, 7] {
            store.insert(&announce(age), NOW);
        }
        let request = SyncStore::new().request(SyncTypes::ANNOUNCES, 400);
        let answer = store.answer(&request, None, 9, NOW);
        assert_eq!(answer.len(), 1);
        assert_eq!(answer[0].timestamp.0, NOW.0 - 5);
        store.forget(PeerId::from_bytes([2; 8]));
        assert_eq!(store.len(), 1000);
    }

    #[test]
    fn fragments_are_named_by_sixty_digits_at_most() {
        let mut request = SyncStore::new().request(SyncTypes::FRAGMENTS, 400);
        request.fragments = vec![[0xab; 8]; 60];
        let bytes = request.encode().unwrap();
        assert_eq!(SyncRequest::decode(&bytes), Ok(request.clone()));
        request.fragments.push([1; 8]);
        assert!(request.encode().is_err());
        let mut raw = SyncStore::new()
            .request(SyncTypes::FRAGMENTS, 400)
            .encode()
            .unwrap();
        put16(&mut raw, 6, b"abababababababab,x").unwrap();
        assert!(SyncRequest::decode(&raw).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(request) = SyncRequest::decode(&bytes) {
                let again = request.encode().unwrap();
                prop_assert_eq!(SyncRequest::decode(&again), Ok(request.clone()));
                let mut store = SyncStore::new();
                store.insert(&message(1, "a", 0), NOW);
                prop_assert!(store.answer(&request, None, 9, NOW).len() <= 1);
            }
        }
    }
}
