//! Messages longer than a packet: splitting and putting together.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{CryptoRng, Instant};
use thiserror::Error;

/// Bytes of each packet's payload that say which part of which message it is.
pub const FRAGMENT_HEADER_BYTES: usize = 21;

const FRAGMENT: u8 = 0;
const FRAGMENT_WITH_SURB: u8 = 1;
const ASK: u8 = 2;
const ACKNOWLEDGEMENT: u8 = 3;
const LOOP: u8 = 4;
const DROP: u8 = 5;

/// Whole messages whose ids are remembered, so that a fragment that comes again starts nothing.
const DONE_MAX: usize = 65_536;

/// Why a message cannot be sent or put together.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum MessageError {
    /// The message is over the limit.
    #[error("message of {actual} bytes exceeds {max}")]
    TooLarge {
        /// Bytes of the message.
        actual: usize,
        /// Most bytes.
        max: usize,
    },
    /// The fragment's bytes are not a fragment.
    #[error("malformed fragment")]
    Fragment(#[from] DecodeError),
    /// The fragment contradicts an earlier one of its message.
    #[error("fragment {index} contradicts the message it belongs to")]
    Contradiction {
        /// The fragment's index.
        index: u16,
    },
    /// Too much is being put together already.
    #[error("reassembly holds its limit of {limit_bytes} bytes")]
    Full {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
}

/// Names a message between its sender and its receiver.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// A new id.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Takes an id from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// What one packet carries between clients.
///
/// | kind | bytes after it | content |
/// |---|---|---|
/// | 0 | id 16, index 2, count 2, part | a fragment of a message; all but the last are full |
/// | 1 | id 16, index 2, count 2, reply block, part | the same, with a reply block to acknowledge it |
/// | 2 | id 16, reply blocks | reply blocks to acknowledge that message's fragments |
/// | 3 | id 16, bits | fragments that arrived, lowest bit of a byte first |
/// | 4 | id 16 | a loop of cover traffic, on its way back to who sent it |
/// | 5 | none | cover traffic to be thrown away |
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Parcel<'a> {
    Fragment(Fragment<'a>),
    Ask { id: MessageId, surbs: &'a [u8] },
    Acknowledgement { id: MessageId, bits: &'a [u8] },
    Loop { id: MessageId },
    Drop,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fragment<'a> {
    pub id: MessageId,
    pub index: u16,
    pub count: u16,
    pub surb: Option<&'a [u8]>,
    pub part: &'a [u8],
}

impl<'a> Parcel<'a> {
    /// Reads a payload; reply blocks of the network have `surb_bytes`.
    pub(crate) fn decode(payload: &'a [u8], surb_bytes: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let kind = reader.u8()?;
        if kind == DROP {
            return Ok(Self::Drop);
        }
        let id = MessageId(reader.array()?);
        match kind {
            FRAGMENT | FRAGMENT_WITH_SURB => {
                let (index, count) = (reader.u16()?, reader.u16()?);
                let surb = (kind == FRAGMENT_WITH_SURB)
                    .then(|| reader.take(surb_bytes))
                    .transpose()?;
                let part = reader.take(reader.remaining())?;
                Ok(Self::Fragment(Fragment {
                    id,
                    index,
                    count,
                    surb,
                    part,
                }))
            }
            ASK => Ok(Self::Ask {
                id,
                surbs: reader.take(reader.remaining())?,
            }),
            ACKNOWLEDGEMENT => Ok(Self::Acknowledgement {
                id,
                bits: reader.take(reader.remaining())?,
            }),
            LOOP => Ok(Self::Loop { id }),
            _ => Err(DecodeError::Unknown {
                at: 0,
                value: kind.into(),
            }),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let start = |writer: &mut Writer, kind, id: &MessageId| {
            writer.u8(kind);
            writer.raw(id.as_bytes());
        };
        match self {
            Self::Fragment(fragment) => {
                let kind = if fragment.surb.is_some() {
                    FRAGMENT_WITH_SURB
                } else {
                    FRAGMENT
                };
                start(&mut writer, kind, &fragment.id);
                writer.u16(fragment.index);
                writer.u16(fragment.count);
                writer.raw(fragment.surb.unwrap_or_default());
                writer.raw(fragment.part);
            }
            Self::Ask { id, surbs } => {
                start(&mut writer, ASK, id);
                writer.raw(surbs);
            }
            Self::Acknowledgement { id, bits } => {
                start(&mut writer, ACKNOWLEDGEMENT, id);
                writer.raw(bits);
            }
            Self::Loop { id } => start(&mut writer, LOOP, id),
            Self::Drop => writer.u8(DROP),
        }
        writer.finish()
    }
}

/// Cuts a message into the parts of its fragments, for payloads of at most `payload_bytes`.
pub(crate) fn parts(
    message: &[u8],
    payload_bytes: usize,
    max: usize,
) -> Result<Vec<&[u8]>, MessageError> {
    let too_large = MessageError::TooLarge {
        actual: message.len(),
        max,
    };
    if message.len() > max || u16::try_from(fragment_count(message.len(), payload_bytes)).is_err() {
        return Err(too_large);
    }
    if message.is_empty() {
        return Ok(vec![message]);
    }
    Ok(message
        .chunks(payload_bytes - FRAGMENT_HEADER_BYTES)
        .collect())
}

/// Cuts a message into whole payloads.
pub(crate) fn split(
    id: MessageId,
    message: &[u8],
    payload_bytes: usize,
    max: usize,
) -> Result<Vec<Vec<u8>>, MessageError> {
    let parts = parts(message, payload_bytes, max)?;
    // `parts` has seen that they can be counted.
    let count = parts.len() as u16;
    let payload = |(index, part): (u16, &&[u8])| {
        Parcel::Fragment(Fragment {
            id,
            index,
            count,
            surb: None,
            part,
        })
        .encode()
    };
    Ok((0..).zip(&parts).map(payload).collect())
}

/// Packets a message of `message_bytes` takes.
pub(crate) const fn fragment_count(message_bytes: usize, payload_bytes: usize) -> usize {
    let part_bytes = payload_bytes - FRAGMENT_HEADER_BYTES;
    let full = message_bytes.div_ceil(part_bytes);
    if full == 0 { 1 } else { full }
}

#[derive(Debug)]
struct Partial {
    /// Only those that came, so that a number of fragments which is only claimed costs nothing.
    parts: BTreeMap<u16, Vec<u8>>,
    count: u16,
    bytes: usize,
    /// When it is dropped, unless a fragment comes that is not there yet.
    until: Instant,
}

/// An incomplete message that is kept across a restart.
pub(crate) struct KeptPartial {
    pub id: MessageId,
    pub count: u16,
    /// How long it is kept unless it grows.
    pub left: Duration,
    pub parts: BTreeMap<u16, Vec<u8>>,
}

/// What a [`Reassembler`] takes across a restart. Its senders have been told what is here, so they do
/// not send it again; and what was whole must not be whole again.
#[derive(Default)]
pub(crate) struct KeptParts {
    pub partial: Vec<KeptPartial>,
    /// Messages that were whole, with their number of fragments.
    pub done: Vec<(MessageId, u16, Duration)>,
}

impl KeptParts {
    /// Time has passed: what is over by now is left out.
    pub(crate) fn age(&mut self, elapsed: Duration) {
        let age = |left: &mut Duration| {
            *left = left.saturating_sub(elapsed);
            !left.is_zero()
        };
        self.partial.retain_mut(|kept| age(&mut kept.left));
        self.done.retain_mut(|(_, _, left)| age(left));
    }
}

/// What a fragment is taken to cost beside its bytes.
const PART_OVERHEAD_BYTES: usize = 64;

/// Puts messages together from fragments in any order.
///
/// It holds at most `bytes_max` bytes; what does not grow for `timeout` is dropped.
#[derive(Debug)]
pub(crate) struct Reassembler {
    partial: BTreeMap<MessageId, Partial>,
    /// When messages are to be looked at again, whole ones included.
    partial_order: VecDeque<(Instant, MessageId)>,
    /// Messages that were whole, with their number of fragments, and until when that is remembered.
    done: BTreeMap<MessageId, u16>,
    done_order: VecDeque<(Instant, MessageId)>,
    bytes: usize,
    bytes_max: usize,
    timeout: Duration,
}

impl Reassembler {
    pub(crate) const fn new(bytes_max: usize, timeout: Duration) -> Self {
        Self {
            partial: BTreeMap::new(),
            partial_order: VecDeque::new(),
            done: BTreeMap::new(),
            done_order: VecDeque::new(),
            bytes: 0,
            bytes_max,
            timeout,
        }
    }

    /// Takes a fragment; returns the message it completes, once.
    pub(crate) fn accept(
        &mut self,
        fragment: Fragment<'_>,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, MessageError> {
        self.expire(now);
        let until = now + self.timeout;
        let Fragment {
            id,
            index,
            count,
            part,
            ..
        } = fragment;
        if index >= count {
            return Err(MessageError::Contradiction { index });
        }
        if self.done.contains_key(&id) {
            return Ok(None);
        }
        if count == 1 {
            if self.partial.contains_key(&id) {
                return Err(MessageError::Contradiction { index });
            }
            self.finish(id, count, now);
            return Ok(Some(part.to_vec()));
        }
        let known = self.partial.get(&id);
        if known.is_some_and(|partial| partial.count != count) {
            return Err(MessageError::Contradiction { index });
        }
        if known.is_some_and(|partial| partial.parts.contains_key(&index)) {
            return Ok(None);
        }
        let growth = part.len() + PART_OVERHEAD_BYTES;
        if self.bytes + growth > self.bytes_max {
            return Err(MessageError::Full {
                limit_bytes: self.bytes_max,
            });
        }
        let partial = self.partial.entry(id).or_insert_with(|| {
            self.partial_order.push_back((until, id));
            Partial {
                parts: BTreeMap::new(),
                count,
                bytes: 0,
                until,
            }
        });
        partial.parts.insert(index, part.to_vec());
        partial.until = until;
        partial.bytes += growth;
        self.bytes += growth;
        if partial.parts.len() < usize::from(count) {
            return Ok(None);
        }
        let message = self.forget(id).into_values().flatten().collect();
        self.finish(id, count, now);
        Ok(Some(message))
    }

    fn finish(&mut self, id: MessageId, count: u16, now: Instant) {
        if self.done_order.len() >= DONE_MAX
            && let Some((_, oldest)) = self.done_order.pop_front()
        {
            self.done.remove(&oldest);
        }
        self.done.insert(id, count);
        self.done_order.push_back((now + self.timeout, id));
    }

    /// Which fragments of a message have come, lowest bit of a byte first. `None` if none has.
    pub(crate) fn arrived(&self, id: MessageId) -> Option<Vec<u8>> {
        let bits = |count: usize, has: &dyn Fn(usize) -> bool| {
            let mut bits = vec![0_u8; count.div_ceil(8)];
            for index in (0..count).filter(|index| has(*index)) {
                bits[index / 8] |= 1 << (index % 8);
            }
            bits
        };
        if let Some(count) = self.done.get(&id) {
            return Some(bits(usize::from(*count), &|_| true));
        }
        let partial = self.partial.get(&id)?;
        Some(bits(usize::from(partial.count), &|index| {
            partial.parts.contains_key(&(index as u16))
        }))
    }

    fn forget(&mut self, id: MessageId) -> BTreeMap<u16, Vec<u8>> {
        self.partial
            .remove(&id)
            .map_or_else(BTreeMap::new, |partial| {
                self.bytes -= partial.bytes;
                partial.parts
            })
    }

    /// In the order of their start, so that nobody can make this slow with many messages.
    fn expire(&mut self, now: Instant) {
        while let Some((look, id)) = self.partial_order.front().copied()
            && now > look
        {
            self.partial_order.pop_front();
            match self.partial.get(&id).map(|partial| partial.until) {
                // Its sender has been told of fragments that are here, so it is kept as long as it
                // grows.
                Some(until) if now <= until => {
                    self.partial_order.push_back((now + self.timeout, id));
                }
                Some(_) => drop(self.forget(id)),
                None => {}
            }
        }
        while let Some((until, id)) = self.done_order.front().copied()
            && now > until
        {
            self.done.remove(&id);
            self.done_order.pop_front();
        }
    }

    /// What is kept across a restart.
    pub(crate) fn into_kept(mut self, now: Instant) -> KeptParts {
        self.expire(now);
        let kept = |(id, partial): (MessageId, Partial)| KeptPartial {
            id,
            count: partial.count,
            left: partial.until.duration_since(now),
            parts: partial.parts,
        };
        let done = self.done_order.iter();
        KeptParts {
            done: done
                .filter_map(|(until, id)| {
                    Some((*id, *self.done.get(id)?, until.duration_since(now)))
                })
                .collect(),
            partial: self.partial.into_iter().map(kept).collect(),
        }
    }

    /// Goes on with what was kept. It may hold more than the limit then, and takes no more until it
    /// holds less.
    pub(crate) fn restore(&mut self, kept: KeptParts, now: Instant) {
        let until = |left: Duration| now + left.min(self.timeout);
        let (mut partial, mut done) = (kept.partial, kept.done);
        partial.sort_by_key(|kept| kept.left);
        done.sort_by_key(|(_, _, left)| *left);
        for KeptPartial {
            id,
            count,
            left,
            parts,
        } in partial
        {
            let lengths = parts.values().map(|part| part.len() + PART_OVERHEAD_BYTES);
            let bytes = lengths.sum();
            let until = until(left);
            let partial = Partial {
                parts,
                count,
                bytes,
                until,
            };
            if let Entry::Vacant(free) = self.partial.entry(id) {
                free.insert(partial);
                self.bytes += bytes;
                self.partial_order.push_back((until, id));
            }
        }
        for (id, count, left) in done {
            self.done.insert(id, count);
            self.done_order.push_back((until(left), id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: MessageId = MessageId::from_bytes([1; 16]);

    const SURB_BYTES: usize = 100;

    fn accept(
        reassembler: &mut Reassembler,
        payload: &[u8],
        now: Instant,
    ) -> Result<Option<Vec<u8>>, MessageError> {
        match Parcel::decode(payload, SURB_BYTES)? {
            Parcel::Fragment(fragment) => reassembler.accept(fragment, now),
            other => panic!("{other:?} is no fragment"),
        }
    }

    fn reassembler() -> Reassembler {
        Reassembler::new(1 << 20, Duration::from_secs(10))
    }

    #[test]
    fn a_number_of_fragments_that_is_only_claimed_costs_nothing() {
        let mut reassembler = reassembler();
        for n in 0..10_000_u128 {
            let claim = Fragment {
                id: MessageId::from_bytes(n.to_le_bytes()),
                index: 0,
                count: u16::MAX,
                surb: None,
                part: b"x",
            };
            assert_eq!(reassembler.accept(claim, Instant::ZERO), Ok(None));
        }
        let message = vec![7; 300_000];
        let whole = split(ID, &message, 2048, 1 << 20)
            .unwrap()
            .iter()
            .filter_map(|payload| accept(&mut reassembler, payload, Instant::ZERO).unwrap())
            .next();
        assert_eq!(whole, Some(message));
    }

    #[test]
    fn a_message_that_grows_is_kept_and_one_that_does_not_is_dropped() {
        let mut reassembler = reassembler();
        let payloads = split(ID, &[7; 6_000], 2048, 1 << 20).unwrap();
        assert_eq!(payloads.len(), 3);
        // The timeout is 10 s.
        for (payload, second) in payloads[..2].iter().zip([0, 9]) {
            let now = Instant::from_millis(second * 1000);
            assert_eq!(accept(&mut reassembler, payload, now), Ok(None));
        }
        reassembler.expire(Instant::from_millis(18_000));
        assert!(reassembler.arrived(ID).is_some());
        reassembler.expire(Instant::from_millis(29_000));
        assert!(reassembler.arrived(ID).is_none());
    }

    #[test]
    fn a_message_over_the_limit_is_refused() {
        assert_eq!(
            split(ID, &[0; 11], 512, 10),
            Err(MessageError::TooLarge {
                actual: 11,
                max: 10
            })
        );
    }

    #[test]
    fn contradicting_and_malformed_fragments_are_refused() {
        let mut reassembler = reassembler();
        let fragments = split(ID, &[7; 600], 512, 1000).unwrap();
        assert_eq!(
            accept(&mut reassembler, &fragments[0], Instant::ZERO),
            Ok(None)
        );
        let mut wrong = fragments[1].clone();
        wrong[20] = 3;
        assert_eq!(
            accept(&mut reassembler, &wrong, Instant::ZERO),
            Err(MessageError::Contradiction { index: 1 })
        );
        wrong[20] = 1;
        assert_eq!(
            accept(&mut reassembler, &wrong, Instant::ZERO),
            Err(MessageError::Contradiction { index: 1 })
        );
        assert!(matches!(
            accept(&mut reassembler, &[0; 5], Instant::ZERO),
            Err(MessageError::Fragment(_))
        ));
        assert_eq!(
            accept(&mut reassembler, &fragments[1], Instant::ZERO),
            Ok(Some(vec![7; 600]))
        );
        assert_eq!(reassembler.bytes, 0);
    }

    #[test]
    fn incomplete_messages_are_dropped_after_the_timeout_and_memory_is_bounded() {
        let mut reassembler = Reassembler::new(1200, Duration::from_secs(10));
        let fragments = split(ID, &[7; 1000], 512, 1000).unwrap();
        assert_eq!(
            accept(&mut reassembler, &fragments[0], Instant::ZERO),
            Ok(None)
        );
        let other = split(MessageId::from_bytes([2; 16]), &[7; 1400], 512, 2000).unwrap();
        assert_eq!(accept(&mut reassembler, &other[0], Instant::ZERO), Ok(None));
        assert_eq!(
            accept(&mut reassembler, &other[1], Instant::ZERO),
            Err(MessageError::Full { limit_bytes: 1200 })
        );
        let later = Instant::from_millis(10_001);
        assert_eq!(accept(&mut reassembler, &other[1], later), Ok(None));
        assert_eq!(reassembler.partial.len(), 1);
    }

    proptest! {
        #[test]
        fn fragments_in_any_order_with_repeats_give_the_message(
            message in proptest::collection::vec(any::<u8>(), 0..5000),
            order in any::<Vec<prop::sample::Index>>(),
        ) {
            let fragments = split(ID, &message, 512, 5000).unwrap();
            prop_assert_eq!(fragments.len(), fragment_count(message.len(), 512));
            let mut reassembler = reassembler();
            let mut whole = None;
            let shuffled = order.iter().map(|index| index.index(fragments.len()));
            for index in shuffled.chain(0..fragments.len()) {
                if let Some(done) = accept(&mut reassembler, &fragments[index], Instant::ZERO).unwrap() {
                    whole = Some(done);
                    break;
                }
            }
            prop_assert_eq!(whole, Some(message));
            prop_assert_eq!(reassembler.bytes, 0);
        }

        #[test]
        fn foreign_fragments_never_panic(
            fragments in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let mut reassembler = Reassembler::new(4096, Duration::from_secs(1));
            for payload in fragments {
                if let Ok(Parcel::Fragment(fragment)) = Parcel::decode(&payload, 10) {
                    let _ = reassembler.accept(fragment, Instant::ZERO);
                }
                prop_assert!(reassembler.bytes <= 4096);
            }
        }
    }

    #[test]
    fn a_whole_message_comes_once_and_is_known_for_a_while() {
        let mut reassembler = reassembler();
        let fragments = split(ID, &[7; 1000], 512, 1000).unwrap();
        assert_eq!(reassembler.arrived(ID), None);
        assert_eq!(
            accept(&mut reassembler, &fragments[2], Instant::ZERO),
            Ok(None)
        );
        assert_eq!(reassembler.arrived(ID), Some(vec![0b100]));
        for (fragment, whole) in fragments.iter().zip([None, Some(vec![7; 1000]), None]) {
            assert_eq!(accept(&mut reassembler, fragment, Instant::ZERO), Ok(whole));
        }
        assert_eq!(reassembler.arrived(ID), Some(vec![0b111]));
        reassembler.expire(Instant::from_millis(10_001));
        assert_eq!(reassembler.arrived(ID), None);
        // What is remembered is bounded.
        for n in 0..=DONE_MAX as u128 {
            let id = MessageId::from_bytes(n.to_be_bytes());
            let single = split(id, b"", 512, 1000).unwrap();
            let whole = accept(&mut reassembler, &single[0], Instant::ZERO);
            assert_eq!(whole, Ok(Some(vec![])));
        }
        assert_eq!(reassembler.done.len(), DONE_MAX);
        assert_eq!(reassembler.arrived(MessageId::from_bytes([0; 16])), None);
    }

    proptest! {
        #[test]
        fn parcels_round_trip(
            kind in 0_usize..6,
            index in any::<u16>(),
            count in any::<u16>(),
            rest in proptest::collection::vec(any::<u8>(), SURB_BYTES..300),
        ) {
            let (surb, part) = rest.split_at(SURB_BYTES);
            let fragment = |surb| Parcel::Fragment(Fragment { id: ID, index, count, surb, part });
            let parcel = match kind {
                0 => fragment(None),
                1 => fragment(Some(surb)),
                2 => Parcel::Ask { id: ID, surbs: &rest },
                3 => Parcel::Acknowledgement { id: ID, bits: &rest },
                4 => Parcel::Loop { id: ID },
                _ => Parcel::Drop,
            };
            let bytes = parcel.encode();
            prop_assert_eq!(Parcel::decode(&bytes, SURB_BYTES), Ok(parcel));
        }

        #[test]
        fn foreign_parcels_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Parcel::decode(&bytes, SURB_BYTES);
        }
    }
}
