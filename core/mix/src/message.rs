//! Messages longer than a packet: splitting and putting together.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{CryptoRng, Instant};
use thiserror::Error;

/// Bytes of each packet's payload that say which part of which message it is.
pub const FRAGMENT_HEADER_BYTES: usize = 20;

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

/// Splits a message into payloads of at most `payload_bytes`.
///
/// | bytes | content |
/// |---|---|
/// | 0..16 | message id |
/// | 16..18 | index of this fragment |
/// | 18..20 | number of fragments, at least 1 |
/// | 20.. | its part of the message; all but the last are full |
pub(crate) fn split(
    id: MessageId,
    message: &[u8],
    payload_bytes: usize,
    max: usize,
) -> Result<Vec<Vec<u8>>, MessageError> {
    let part_bytes = payload_bytes - FRAGMENT_HEADER_BYTES;
    let count = fragment_count(message.len(), payload_bytes);
    let too_large = MessageError::TooLarge {
        actual: message.len(),
        max,
    };
    if message.len() > max {
        return Err(too_large);
    }
    let count = u16::try_from(count).map_err(|_| too_large)?;
    let part = |index: u16| {
        let start = usize::from(index) * part_bytes;
        let end = message.len().min(start + part_bytes);
        let mut writer = Writer::new();
        writer.raw(id.as_bytes());
        writer.u16(index);
        writer.u16(count);
        writer.raw(&message[start..end]);
        writer.finish()
    };
    Ok((0..count).map(part).collect())
}

/// Packets a message of `message_bytes` takes.
pub(crate) const fn fragment_count(message_bytes: usize, payload_bytes: usize) -> usize {
    let part_bytes = payload_bytes - FRAGMENT_HEADER_BYTES;
    let full = message_bytes.div_ceil(part_bytes);
    if full == 0 { 1 } else { full }
}

#[derive(Debug)]
struct Partial {
    parts: Vec<Option<Vec<u8>>>,
    missing: usize,
    bytes: usize,
    started: Instant,
}

/// Puts messages together from fragments in any order.
///
/// It holds at most `bytes_max` bytes; what stays incomplete for `timeout` is dropped.
#[derive(Debug)]
pub(crate) struct Reassembler {
    partial: BTreeMap<MessageId, Partial>,
    bytes: usize,
    bytes_max: usize,
    timeout: Duration,
}

impl Reassembler {
    pub(crate) const fn new(bytes_max: usize, timeout: Duration) -> Self {
        Self {
            partial: BTreeMap::new(),
            bytes: 0,
            bytes_max,
            timeout,
        }
    }

    /// Takes a fragment; returns the message it completes.
    pub(crate) fn accept(
        &mut self,
        fragment: &[u8],
        now: Instant,
    ) -> Result<Option<(MessageId, Vec<u8>)>, MessageError> {
        self.expire(now);
        let mut reader = Reader::new(fragment);
        let id = MessageId(reader.array()?);
        let index = reader.u16()?;
        let count = reader.u16()?;
        let body = reader.take(reader.remaining())?;
        if index >= count {
            return Err(MessageError::Contradiction { index });
        }
        if count == 1 {
            return Ok(Some((id, body.to_vec())));
        }
        // Each slot costs its place in `parts` even while it is empty.
        let slots = usize::from(count) * size_of::<Option<Vec<u8>>>();
        let known = self.partial.get(&id);
        if known.is_some_and(|partial| partial.parts.len() != usize::from(count)) {
            return Err(MessageError::Contradiction { index });
        }
        let growth = body.len() + if known.is_some() { 0 } else { slots };
        if self.bytes + growth > self.bytes_max {
            return Err(MessageError::Full {
                limit_bytes: self.bytes_max,
            });
        }
        let partial = self.partial.entry(id).or_insert_with(|| Partial {
            parts: vec![None; usize::from(count)],
            missing: usize::from(count),
            bytes: slots,
            started: now,
        });
        self.bytes += if partial.missing == partial.parts.len() {
            slots
        } else {
            0
        };
        let slot = &mut partial.parts[usize::from(index)];
        if slot.is_some() {
            return Ok(None);
        }
        *slot = Some(body.to_vec());
        partial.missing -= 1;
        partial.bytes += body.len();
        self.bytes += body.len();
        if partial.missing > 0 {
            return Ok(None);
        }
        let message = self.forget(id).into_iter().flatten().flatten().collect();
        Ok(Some((id, message)))
    }

    fn forget(&mut self, id: MessageId) -> Vec<Option<Vec<u8>>> {
        self.partial.remove(&id).map_or_else(Vec::new, |partial| {
            self.bytes -= partial.bytes;
            partial.parts
        })
    }

    fn expire(&mut self, now: Instant) {
        let timeout = self.timeout;
        let old: Vec<_> = self
            .partial
            .iter()
            .filter(|(_, partial)| now.duration_since(partial.started) > timeout)
            .map(|(id, _)| *id)
            .collect();
        for id in old {
            self.forget(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: MessageId = MessageId::from_bytes([1; 16]);

    fn reassembler() -> Reassembler {
        Reassembler::new(1 << 20, Duration::from_secs(10))
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
        assert_eq!(reassembler.accept(&fragments[0], Instant::ZERO), Ok(None));
        let mut wrong = fragments[1].clone();
        wrong[19] = 3;
        assert_eq!(
            reassembler.accept(&wrong, Instant::ZERO),
            Err(MessageError::Contradiction { index: 1 })
        );
        wrong[19] = 1;
        assert_eq!(
            reassembler.accept(&wrong, Instant::ZERO),
            Err(MessageError::Contradiction { index: 1 })
        );
        assert!(matches!(
            reassembler.accept(&[0; 5], Instant::ZERO),
            Err(MessageError::Fragment(_))
        ));
        assert_eq!(
            reassembler.accept(&fragments[1], Instant::ZERO),
            Ok(Some((ID, vec![7; 600])))
        );
        assert_eq!(reassembler.bytes, 0);
    }

    #[test]
    fn incomplete_messages_are_dropped_after_the_timeout_and_memory_is_bounded() {
        let mut reassembler = Reassembler::new(1200, Duration::from_secs(10));
        let fragments = split(ID, &[7; 1000], 512, 1000).unwrap();
        assert_eq!(reassembler.accept(&fragments[0], Instant::ZERO), Ok(None));
        let other = split(MessageId::from_bytes([2; 16]), &[7; 1400], 512, 2000).unwrap();
        assert_eq!(reassembler.accept(&other[0], Instant::ZERO), Ok(None));
        assert_eq!(
            reassembler.accept(&other[1], Instant::ZERO),
            Err(MessageError::Full { limit_bytes: 1200 })
        );
        let later = Instant::from_millis(10_001);
        assert_eq!(reassembler.accept(&other[1], later), Ok(None));
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
                if let Some(done) = reassembler.accept(&fragments[index], Instant::ZERO).unwrap() {
                    whole = Some(done);
                    break;
                }
            }
            prop_assert_eq!(whole, Some((ID, message)));
            prop_assert_eq!(reassembler.bytes, 0);
        }

        #[test]
        fn foreign_fragments_never_panic(
            fragments in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let mut reassembler = Reassembler::new(4096, Duration::from_secs(1));
            for fragment in fragments {
                let _ = reassembler.accept(&fragment, Instant::ZERO);
                prop_assert!(reassembler.bytes <= 4096);
            }
        }
    }
}
